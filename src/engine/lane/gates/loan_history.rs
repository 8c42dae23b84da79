//! No returned loans of a patron who keeps no loan history, or kept none then (G11).

use super::instants::parse_exact_ns;
use super::*;
use crate::policy::catalogue::Role;

/// Whether the loan history is off for a loan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoanHistoryGate {
    loan_status: FieldLocation,
    /// Whether the patron keeps loan history.
    patron_choice: FieldLocation,
    /// When the loan was returned, and when the patron's choice began; `None` if the catalogue
    /// lacks one of them.
    returned_and_since: Option<(FieldLocation, FieldLocation)>,
}

impl LoanHistoryGate {
    /// Finds the fields, whether or not the recipient gets loan history.
    pub(super) fn find_fields(
        source: GateSource<'_>,
        fields: &mut dyn GateFields,
    ) -> Result<LoanHistoryGate, CompileError> {
        let record_field = |path: &str| FieldRef { is_joined: false, path: path.to_owned() };
        let kinds = &source.policy.record_kinds;
        let source_kind = kinds.get(source.recipient.source_kind_index);
        let patron_kind = kinds.iter().find(|kind| kind.role == Role::Patron);
        let is_dated = source_kind.is_some_and(|kind| kind.field("returned_at").is_some())
            && patron_kind.is_some_and(|kind| kind.field("loan_history_since").is_some());
        let returned_and_since = match is_dated {
            true => Some((
                fields.want_single_value(&record_field("returned_at"))?,
                fields.want_single_value(&fields.patron_field("loan_history_since"))?,
            )),
            false => None,
        };
        Ok(LoanHistoryGate {
            loan_status: fields.want_field(&record_field("status"))?,
            patron_choice: fields.want_field(&fields.patron_field("loan_history"))?,
            returned_and_since,
        })
    }

    /// Whether the loan was returned, and the patron keeps no history or kept none then.
    pub fn is_off(&self, input: &GateInput<'_>) -> bool {
        if input.text(self.loan_status) != Some("returned") {
            return false;
        }
        let instant = |at| input.text(at).and_then(parse_exact_ns);
        input.value(self.patron_choice) == FieldValue::Boolean(false)
            || self.returned_and_since.is_some_and(|(returned_at, since)| {
                instant(returned_at)
                    .zip(instant(since))
                    .is_some_and(|(returned_ns, since_ns)| returned_ns < since_ns)
            })
    }
}

impl GateRule for LoanHistoryGate {
    const TEXTS: GateTexts = GateTexts {
        describe: |recipient, _| {
            let text = match thins_when_off(recipient) {
                true => "returned loans too",
                false => {
                    "returned loans too, but none of a patron who keeps no loan history, or kept \
                     none when it was returned"
                }
            };
            recipient.is_loan_history.then(|| text.to_owned())
        },
        question: |recipient, _| {
            let text = "returned loans only with loan history";
            (recipient.is_loan_history && !thins_when_off(recipient)).then(|| text.to_owned())
        },
        ..GateTexts::NONE
    };

    fn compile(
        source: GateSource<'_>,
        fields: &mut dyn GateFields,
    ) -> Result<Option<Self>, CompileError> {
        let recipient = source.recipient;
        match recipient.is_loan_history && !thins_when_off(recipient) {
            true => LoanHistoryGate::find_fields(source, fields).map(Some),
            false => Ok(None),
        }
    }

    fn judge(&self, input: &GateInput<'_>, _: &mut i64) -> Result<(), Refusal> {
        match self.is_off(input) {
            true => Err(Refusal::changeable(Reason::LoanHistoryOff)),
            false => Ok(()),
        }
    }

    fn add_to_fingerprint(&self, _: &GateInput<'_>, _: &mut GateFingerprint) {}
}

/// Whether the recipient gets such a loan all the same, without some fields.
fn thins_when_off(recipient: &Recipient) -> bool {
    recipient.thinned.as_ref().is_some_and(|rule| rule.when_history_off)
}
