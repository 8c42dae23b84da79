//! A document of the recipient is in force: its agreement, or its authorisation for
//! national numbers.

use super::*;
use crate::policy::recipient::ExpiryAction;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgreementGate(Validity);

/// Only where national numbers are released at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorisationGate(Validity);

/// When a document is in force, and what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Validity {
    from_ms: i64,
    /// The first later millisecond at which it is not.
    until_ms: i64,
    after: ExpiryAction,
}

impl Validity {
    fn new((from_ms, until_ms): (i64, i64), after: ExpiryAction) -> Validity {
        Validity { from_ms, until_ms, after }
    }

    fn check(&self, now_ms: i64, reason: Reason, recheck_due_ms: &mut i64) -> Result<(), Refusal> {
        for edge in [self.from_ms, self.until_ms] {
            if edge > now_ms {
                *recheck_due_ms = (*recheck_due_ms).min(edge);
            }
        }
        if (self.from_ms..self.until_ms).contains(&now_ms) {
            return Ok(());
        }
        let keep_output = self.after == ExpiryAction::Keep;
        Err(Refusal { keep_output, ..Refusal::changeable(reason) })
    }
}

impl GateRule for AgreementGate {
    const TEXTS: GateTexts = GateTexts {
        describe: |recipient, _| {
            let paper = recipient.agreement.as_ref()?;
            Some(format!(
                "{}, in force from {} to {}, with clauses on {}; {}",
                paper.reference,
                paper.from,
                paper.until,
                paper.clauses.join(", "),
                after_expiry(paper.after),
            ))
        },
        question: |recipient, _| {
            let paper = recipient.agreement.as_ref()?;
            Some(format!("the agreement is in force, {} to {}", paper.from, paper.until))
        },
        ..GateTexts::NONE
    };

    fn compile(
        source: GateSource<'_>,
        _: &mut dyn GateFields,
    ) -> Result<Option<Self>, CompileError> {
        let paper = source.recipient.agreement.as_ref();
        let validity = paper.map(|paper| Validity::new(paper.in_force_interval_ms(), paper.after));
        Ok(validity.map(AgreementGate))
    }

    fn judge(&self, input: &GateInput<'_>, recheck_due_ms: &mut i64) -> Result<(), Refusal> {
        self.0.check(input.now_ms, Reason::AgreementLapsed, recheck_due_ms)
    }

    fn add_to_fingerprint(&self, _: &GateInput<'_>, _: &mut GateFingerprint) {}
}

impl GateRule for AuthorisationGate {
    const TEXTS: GateTexts = GateTexts {
        describe: |recipient, _| {
            let paper = recipient.authorisation.as_ref()?;
            let place = match paper.jurisdiction.as_str() {
                "" => String::new(),
                place => format!(" in {place}"),
            };
            Some(format!(
                "{}, approved by {} on {}, in force from {} to {}{place}; {}",
                paper.reference,
                paper.approved_by,
                paper.approved_on,
                paper.first_day_in_force(),
                paper.until,
                after_expiry(paper.after),
            ))
        },
        question: |recipient, policy| {
            let paper = recipient.authorisation.as_ref()?;
            recipient.releases_national_numbers(&policy.record_kinds).then(|| {
                format!(
                    "the authorisation is in force, {} to {}",
                    paper.first_day_in_force(),
                    paper.until
                )
            })
        },
        ..GateTexts::NONE
    };

    fn compile(
        GateSource { recipient, policy, .. }: GateSource<'_>,
        _: &mut dyn GateFields,
    ) -> Result<Option<Self>, CompileError> {
        let paper = recipient.authorisation.as_ref();
        let paper = paper.filter(|_| recipient.releases_national_numbers(&policy.record_kinds));
        let validity = paper.map(|paper| Validity::new(paper.in_force_interval_ms(), paper.after));
        Ok(validity.map(AuthorisationGate))
    }

    fn judge(&self, input: &GateInput<'_>, recheck_due_ms: &mut i64) -> Result<(), Refusal> {
        self.0.check(input.now_ms, Reason::AuthorisationLapsed, recheck_due_ms)
    }

    fn add_to_fingerprint(&self, _: &GateInput<'_>, _: &mut GateFingerprint) {}
}

fn after_expiry(after: ExpiryAction) -> &'static str {
    match after {
        ExpiryAction::Keep => "outside of that nothing is sent, and what it has stays",
        ExpiryAction::Retract => "outside of that nothing is sent, and what it has is taken back",
    }
}
