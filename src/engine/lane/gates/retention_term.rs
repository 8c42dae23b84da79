//! How long a recipient may have a record. No row of the table, as it has an end, not an
//! answer: what a recipient has keeps it.

use super::instants::term_end_ms;
use super::patron_term::MEMBERSHIP_END_PATH;
use super::{CompileError, GateFields};
use crate::engine::record::shape::FieldLocation;
use crate::engine::record::value::FieldValue;
use crate::policy::recipient::{RetentionAction, RetentionRule};
use crate::policy::term::Term;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionTerm {
    pub term: Term,
    pub from: FieldLocation,
    /// The term does not run while the membership is active.
    pub is_paused_by_membership: bool,
    pub after: RetentionAction,
}

impl RetentionTerm {
    pub(super) fn compile(
        rule: &RetentionRule,
        fields: &mut dyn GateFields,
    ) -> Result<RetentionTerm, CompileError> {
        Ok(RetentionTerm {
            term: rule.term,
            from: fields.want_field(&rule.start_field)?,
            is_paused_by_membership: rule.start_field == fields.patron_field(MEMBERSHIP_END_PATH),
            after: rule.after,
        })
    }

    /// When the term is over. `first_ms` is when the record was first decided: the term runs
    /// from then if `start` is no date.
    #[inline]
    #[must_use]
    pub fn end_ms(self, start: FieldValue<'_>, is_active_member: bool, first_ms: i64) -> i64 {
        if self.is_paused_by_membership && is_active_member {
            return i64::MAX;
        }
        let end_ms = start.as_text().and_then(|text| term_end_ms(self.term, text));
        end_ms.unwrap_or_else(|| self.term.end_from_ms(first_ms))
    }
}
