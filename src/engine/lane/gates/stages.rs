//! Stages come in their order (F12), and have come (F36).

use super::instants::{lower_due, parse_exact_ns};
use super::*;
use crate::policy::consent::clamp_ns;
use crate::policy::recipient::NOW;

/// Dates or instants: of those that are there, none is earlier than one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagesGate {
    stages: Vec<FieldLocation>,
    /// None is later than now.
    end_now: bool,
}

impl GateRule for StagesGate {
    const TEXTS: GateTexts = GateTexts {
        describe: |recipient, _| {
            let names = stage_names(recipient);
            let (first, rest) = names.split_first()?;
            Some(format!("{first}, and not before it {}", rest.join(", then ")))
        },
        question: |recipient, _| {
            let names = stage_names(recipient);
            (!names.is_empty()).then(|| format!("{} come in that order", names.join(", ")))
        },
        ..GateTexts::NONE
    };

    fn compile(
        source: GateSource<'_>,
        fields: &mut dyn GateFields,
    ) -> Result<Option<Self>, CompileError> {
        let stages = source.recipient.stages.iter();
        let stages: Vec<_> =
            stages.map(|stage| fields.want_single_value(stage)).collect::<Result<_, _>>()?;
        let end_now = source.recipient.stages_end_now;
        Ok(Some(StagesGate { stages, end_now }).filter(|gate| !gate.stages.is_empty()))
    }

    fn judge(&self, input: &GateInput<'_>, recheck_due_ms: &mut i64) -> Result<(), Refusal> {
        let mut latest = None;
        for &stage in &self.stages {
            let at = input.text(stage).and_then(parse_exact_ns);
            if at.is_some() && at < latest {
                return Err(Refusal::permanent(Reason::Stages));
            }
            latest = at.or(latest);
        }
        let now_ns = i128::from(input.now_ms) * 1_000_000;
        match latest {
            Some(latest_ns) if self.end_now && latest_ns > now_ns => {
                lower_due(recheck_due_ms, Some(clamp_ns(latest_ns)));
                Err(Refusal::changeable(Reason::StageInFuture))
            }
            _ => Ok(()),
        }
    }

    fn add_to_fingerprint(&self, _: &GateInput<'_>, _: &mut GateFingerprint) {}

    fn may_refuse_with(&self, reason: Reason) -> bool {
        reason != Reason::StageInFuture || self.end_now
    }
}

/// The stages as the recipient's file has them.
fn stage_names(recipient: &Recipient) -> Vec<String> {
    let stages = recipient.stages.iter().map(ToString::to_string);
    stages.chain(recipient.stages_end_now.then(|| NOW.to_owned())).collect()
}
