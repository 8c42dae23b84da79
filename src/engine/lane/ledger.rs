//! What a lane writes of itself into the ledger.

use super::{Action, CompiledSubField, Lane, ProjectionStep};
use crate::ledger::keys::LedgerKeys;
use crate::ledger::register::{Activity, RegisterEntries};
use crate::ledger::{LEDGER_TOPIC, REGISTER_TOPIC};
use crate::message::{OutputId, OutputRole};
use crate::policy::Policy;
use crate::policy::canonical::recipient_text;
use crate::policy::recipient::{OutputValue, SubField, SummaryFunction};
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
        let served = self.recipients.iter().map(|program| {
            let recipient = policy.recipient(&program.name);
            let values = recipient.map_or(&[][..], |recipient| &recipient.output_fields);
            let leaves = program.steps.iter().flat_map(|step| {
                let value = values.iter().find(|field| field.name == step.name);
                step_leaves(step, value.map(|field| &field.value))
            });
            let (title, text) = recipient.map_or_else(Default::default, |recipient| {
                (recipient.title.as_str(), recipient_text(policy, recipient))
            });
            Activity::new((&program.name, title), &text, leaves.collect())
        });
        let former = self.former_recipients.iter().map(|former| Activity::of_former(&former.name));
        let activities: Vec<Activity> = served.chain(former).collect();
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

/// Names the leaves of what a step writes, in order.
fn step_leaves(step: &ProjectionStep, value: Option<&OutputValue>) -> Vec<String> {
    let name = &step.name;
    let parts = |between: &str, fields: &[CompiledSubField]| {
        let names = fields.iter().map(|part| format!("{name}{between}{}", part.prefix.name()));
        names.collect()
    };
    match &step.action {
        Action::Object { fields } => parts(".", fields),
        Action::List { fields, .. } => parts("[].", fields),
        Action::CopyObject(copied) => {
            copied.iter().map(|part| format!("{name}.{}", part.prefix.name())).collect()
        }
        Action::ScalarList { .. } | Action::Slip { .. } => vec![format!("{name}[]")],
        Action::Demanded { paths } => paths.iter().map(|path| format!("{name}.{path}")).collect(),
        Action::Summary(_) => match value {
            Some(OutputValue::Summary(summary)) => match &summary.function {
                SummaryFunction::List { fields, .. } => {
                    let name_of = |part: &SubField| format!("{name}[].{}", part.name);
                    fields.iter().map(name_of).collect()
                }
                _ => vec![name.clone()],
            },
            _ => vec![name.clone()],
        },
        Action::CopySlot(_)
        | Action::Copy { .. }
        | Action::Mask(_)
        | Action::Pseudonym(_)
        | Action::OutputKey
        | Action::DemandedNumber { .. }
        | Action::First(_)
        | Action::ChannelWord => vec![name.clone()],
    }
}
