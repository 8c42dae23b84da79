//! Every record that a sum, count or list is made of can be read.

use super::*;

/// An output with a wrong sum is worse than none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordsGate(Summaries);

impl GateRule for RecordsGate {
    const TEXTS: GateTexts = GateTexts {
        describe: |recipient, _| describe(recipient),
        question: |recipient, _| describe(recipient),
        ..GateTexts::NONE
    };

    fn compile(
        _: GateSource<'_>,
        fields: &mut dyn GateFields,
    ) -> Result<Option<Self>, CompileError> {
        let summaries = fields.summaries()?;
        Ok(summaries.0.is_some().then_some(RecordsGate(summaries)))
    }

    fn judge(&self, input: &GateInput<'_>, recheck_due_ms: &mut i64) -> Result<(), Refusal> {
        match self.0.iter().all(|summary| summary.evaluate(input, recheck_due_ms).is_ok()) {
            true => Ok(()),
            false => Err(Refusal::changeable(Reason::RecordsUnreadable)),
        }
    }

    fn add_to_fingerprint(&self, input: &GateInput<'_>, fingerprint: &mut GateFingerprint) {
        for summary in self.0.iter() {
            summary.add_to_fingerprint(input, fingerprint);
        }
    }
}

fn describe(recipient: &Recipient) -> Option<String> {
    let names: BTreeSet<&str> = recipient.summaries().map(|one| one.kind_name.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    (!names.is_empty())
        .then(|| format!("every {} of the patron that counts can be read", names.join(" and ")))
}
