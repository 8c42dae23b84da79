//! Which reasons may be given at all: metrics start each of them at 0.

use super::{LaneSource, Program, Prohibitions, Route};
use crate::policy::catalogue::Role;
use crate::policy::reason::Reason;
use crate::policy::recipient::ServedLibraries;

impl Program {
    /// Returns the reasons for which a record of `source` may be withheld from the
    /// recipient.
    pub fn withheld_reasons(&self, source: &LaneSource) -> impl Iterator<Item = Reason> {
        let keyed = source.kind.is_keyed_by_patron;
        let is_keyed_by_patron = self.output_key.value.record_slot() == source.patron_id_slot;
        possible_reasons([
            (Reason::TooLarge, true),
            (Reason::Malformed, !self.needed_fields.is_empty() || source.gone_slot.is_some()),
            (Reason::Library, matches!(self.libraries, ServedLibraries::Only(_))),
            (Reason::LibraryConflict, self.is_joined && !self.allows_other_library),
            (Reason::PatronErased, keyed && !self.ignores_patron),
            (Reason::KeyMissing, !is_keyed_by_patron),
            (Reason::PartyUnlisted, matches!(self.route, Route::ByParty { .. })),
            (Reason::Lapsed, true),
            (Reason::HoldFull, self.is_joined),
            (Reason::RecordGone, source.gone_slot.is_some()),
        ])
        .chain(self.conditions.iter().map(|condition| condition.refusal_reason))
        .chain(self.gates.reasons())
        .chain(source.prohibitions.iter().flat_map(Prohibitions::reasons))
    }
}

impl LaneSource {
    /// Returns the reasons for which a record of the source may become a dead letter.
    pub fn dead_letter_reasons(&self) -> impl Iterator<Item = Reason> {
        let kind = &self.kind;
        let is_decided = !self.recipient_indices.is_empty();
        let is_gate = kind.role == Role::Gate;
        possible_reasons([
            (Reason::NotUtf8, true),
            (Reason::NotJson, true),
            (Reason::NotAnObject, true),
            (Reason::TooLarge, true),
            (Reason::TooDeep, true),
            (Reason::TooManyKeys, true),
            (Reason::Identifier, true),
            (Reason::Miskeyed, kind.is_keyed_by_patron),
            (Reason::Misplaced, kind.is_keyed_by_patron),
            (Reason::NullValue, kind.role != Role::Patron),
            (Reason::ForeignKey, kind.role == Role::Patron),
            (Reason::UnlistedField, kind.is_closed && kind.role != Role::Record),
            (Reason::Malformed, is_decided || is_gate),
            (Reason::Unclear, is_gate),
            (Reason::NationalNumber, is_decided),
            (Reason::HoldFull, self.joins_patrons()),
            (Reason::HoldExpired, self.joins_patrons()),
        ])
        .chain(self.prohibitions.iter().flat_map(Prohibitions::reasons))
    }
}

fn possible_reasons<const N: usize>(reasons: [(Reason, bool); N]) -> impl Iterator<Item = Reason> {
    let reasons = reasons.into_iter();
    reasons.filter_map(|(reason, is_possible)| is_possible.then_some(reason))
}
