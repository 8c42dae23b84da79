//! What a lane writes of itself into the ledger.

use super::Lane;
use crate::ledger::keys::LedgerKeys;
use crate::ledger::register::{Activity, RegisterEntries};
use crate::ledger::{LEDGER_TOPIC, REGISTER_TOPIC};
use crate::message::{OutputId, OutputRole};
use crate::policy::Policy;
use crate::policy::refusal_class::RefusalClass;

/// How a lane writes the ledger.
#[derive(Clone, Debug)]
pub struct LedgerSetup {
    pub keys: LedgerKeys,
    pub refusals: Vec<RefusalClass>,
    /// Precedes the ids of activities in their URIs.
    pub register_uri: String,
}

/// A lane's part of the ledger.
#[derive(Debug)]
pub struct LaneLedger {
    pub setup: LedgerSetup,
    pub blocks_output: OutputId,
    pub register_output: OutputId,
    /// By recipient, former ones behind the others.
    pub activities: Vec<Activity>,
    pub register: RegisterEntries,
}

impl Lane {
    /// Makes the lane write a ledger. `policy` is the one that it was compiled from.
    pub fn enable_ledger(&mut self, policy: &Policy, setup: LedgerSetup) {
        let served = self.recipients.iter().map(|program| &program.name);
        let former = self.former_recipients.iter().map(|former| &former.name);
        let activities = served.chain(former).map(|name| Activity::of_state_name(policy, name));
        let activities: Vec<Activity> = activities.collect();
        let register = RegisterEntries::new(
            (&policy.version, &policy.canonical_text),
            &activities,
            &setup.register_uri,
        );
        let blocks_output = self.add_internal_output(LEDGER_TOPIC, OutputRole::Ledger);
        let register_output = self.add_internal_output(REGISTER_TOPIC, OutputRole::Register);
        self.ledger = Some(Box::new(LaneLedger {
            setup,
            blocks_output,
            register_output,
            activities,
            register,
        }));
    }
}
