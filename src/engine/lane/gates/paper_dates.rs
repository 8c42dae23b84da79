//! The papers of the recipient that have one day are not dated later: an advice, an approval,
//! accepted terms, and the notice to patrons (F09, F20, F23, F50).

use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaperDatesGate {
    /// 00:00 UTC of the last of the days.
    pub(super) from_ms: i64,
}

impl GateRule for PaperDatesGate {
    const TEXTS: GateTexts = GateTexts {
        describe: |recipient, _| {
            let papers: Vec<_> =
                recipient.papers.dated().map(|(name, on)| format!("{name} of {on}")).collect();
            (!papers.is_empty()).then(|| format!("{}; nothing before", papers.join(", ")))
        },
        question: |recipient, _| {
            let day = recipient.papers.last_day()?;
            Some(format!("no paper of the recipient is dated later, the last one {day}"))
        },
        ..GateTexts::NONE
    };

    fn compile(
        source: GateSource<'_>,
        _: &mut dyn GateFields,
    ) -> Result<Option<Self>, CompileError> {
        let from_ms = source.recipient.papers.in_force_from_ms();
        Ok(from_ms.map(|from_ms| PaperDatesGate { from_ms }))
    }

    fn judge(&self, input: &GateInput<'_>, recheck_due_ms: &mut i64) -> Result<(), Refusal> {
        if input.now_ms >= self.from_ms {
            return Ok(());
        }
        *recheck_due_ms = (*recheck_due_ms).min(self.from_ms);
        Err(Refusal::changeable(Reason::PaperPending))
    }

    fn add_to_fingerprint(&self, _: &GateInput<'_>, _: &mut GateFingerprint) {}
}
