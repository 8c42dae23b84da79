//! How long a patron's data may be used after the membership (R01, R02).

use super::instants::term_end_ms;
use super::*;
use crate::policy::term::Term;

pub(super) const MEMBERSHIP_END_PATH: &str = "membership.ends_on";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatronTermGate {
    ends_on: FieldLocation,
    /// How long after its end a patron's data may be used.
    term: Term,
}

impl GateRule for PatronTermGate {
    const TEXTS: GateTexts = GateTexts {
        question: |recipient, _| {
            let text = "the patron's data may still be used";
            recipient.without_patron.is_none().then(|| text.to_owned())
        },
        ..GateTexts::NONE
    };

    fn compile(
        GateSource { recipient, policy, .. }: GateSource<'_>,
        fields: &mut dyn GateFields,
    ) -> Result<Option<Self>, CompileError> {
        if recipient.outlives_membership.is_some() {
            return Ok(None);
        }
        let ends_on = fields.want_membership_field(MEMBERSHIP_END_PATH)?;
        Ok(ends_on.map(|ends_on| PatronTermGate { ends_on, term: policy.patron_retention }))
    }

    #[inline]
    fn judge(&self, input: &GateInput<'_>, recheck_due_ms: &mut i64) -> Result<(), Refusal> {
        if input.is_active_member {
            return Ok(());
        }
        let Some(over_ms) = input.text(self.ends_on).and_then(|text| term_end_ms(self.term, text))
        else {
            return Ok(());
        };
        if over_ms <= input.now_ms {
            return Err(Refusal::changeable(Reason::PatronLapsed));
        }
        *recheck_due_ms = (*recheck_due_ms).min(over_ms);
        Ok(())
    }

    fn add_to_fingerprint(&self, input: &GateInput<'_>, fingerprint: &mut GateFingerprint) {
        let mut term_ms = i64::MAX;
        fingerprint.is_patron_lapsed = self.judge(input, &mut term_ms).is_err();
        // An output that is kept without a document in force is taken back then.
        if fingerprint.refusal.is_none_or(|refusal| refusal.keep_output) {
            fingerprint.recheck_due_ms = fingerprint.recheck_due_ms.min(term_ms);
        }
    }
}
