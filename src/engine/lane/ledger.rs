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
    /// By recipient, as far as it has one, what is done with records of which patrons are told.
    pub told_activities: Vec<Option<Activity>>,
    pub register: RegisterEntries,
}

impl LaneLedger {
    /// Returns the activity of a recipient, for a record of which its patron is told or is not.
    #[must_use]
    pub fn activity_of(&self, recipient: u16, is_told: bool) -> Option<&Activity> {
        let index = usize::from(recipient);
        let told = self.told_activities.get(index).filter(|_| is_told);
        told.and_then(Option::as_ref).or_else(|| self.activities.get(index))
    }
}

impl Lane {
    /// Makes the lane write a ledger. `policy` is the one that it was compiled from.
    pub fn enable_ledger(&mut self, policy: &Policy, setup: LedgerSetup) {
        let served = self.recipients.iter().map(|program| &program.name);
        let former = self.former_recipients.iter().map(|former| &former.name);
        let names: Vec<&String> = served.chain(former).collect();
        let activities = names.iter().map(|name| Activity::of_state_name(policy, name));
        let activities: Vec<Activity> = activities.collect();
        let told = names.iter().map(|name| Activity::told_of_state_name(policy, name));
        let told_activities: Vec<Option<Activity>> = told.collect();
        let all = activities.iter().chain(told_activities.iter().flatten());
        let register = RegisterEntries::new(
            (&policy.version, &policy.canonical_text),
            all,
            &setup.register_uri,
        );
        let blocks_output = self.add_internal_output(LEDGER_TOPIC, OutputRole::Ledger);
        let register_output = self.add_internal_output(REGISTER_TOPIC, OutputRole::Register);
        self.ledger = Some(Box::new(LaneLedger {
            setup,
            blocks_output,
            register_output,
            activities,
            told_activities,
            register,
        }));
    }
}
