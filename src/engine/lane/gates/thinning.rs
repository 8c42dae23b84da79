//! When an output goes without the fields that point at a person. No row of the table, as it
//! refuses nothing.

use super::instants::term_end_ms;
use super::loan_history::LoanHistoryGate;
use super::*;
use crate::policy::term::Term;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThinningTest {
    /// The record is gone.
    pub when_gone: bool,
    when_history_off: Option<LoanHistoryGate>,
    /// A term is over that runs from a date or an instant.
    after: Option<(Term, FieldLocation)>,
}

impl ThinningTest {
    pub(super) fn compile(
        source: GateSource<'_>,
        fields: &mut dyn GateFields,
    ) -> Result<Option<ThinningTest>, CompileError> {
        let Some(rule) = &source.recipient.thinned else {
            return Ok(None);
        };
        let when_history_off = match rule.when_history_off {
            true => Some(LoanHistoryGate::find_fields(source, fields)?),
            false => None,
        };
        let after = match &rule.after {
            Some((term, from)) => Some((*term, fields.want_single_value(from)?)),
            None => None,
        };
        Ok(Some(ThinningTest { when_gone: rule.when_gone, when_history_off, after }))
    }

    /// Returns from when on an output is thinned, in milliseconds since 1970: [`i64::MIN`] if
    /// whatever the time, [`i64::MAX`] if time alone will not thin it.
    #[must_use]
    pub fn start_ms(&self, input: &GateInput<'_>, is_gone: bool) -> i64 {
        let is_history_off =
            self.when_history_off.as_ref().is_some_and(|history| history.is_off(input));
        if is_history_off || (self.when_gone && is_gone) {
            return i64::MIN;
        }
        let term_end_ms = |(term, from)| term_end_ms(term, input.text(from)?);
        self.after.and_then(term_end_ms).unwrap_or(i64::MAX)
    }
}
