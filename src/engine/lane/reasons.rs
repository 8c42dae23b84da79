//! Which reasons may be given at all: for who shows numbers that are still nought.

use super::{Program, Route, Source};
use crate::policy::catalogue::Role;
use crate::policy::reason::Reason;
use crate::policy::recipient::Libraries;

impl Program {
    /// Returns the reasons for which a record of `source` may be withheld from the
    /// recipient.
    pub fn withheld_reasons(&self, source: &Source) -> impl Iterator<Item = Reason> {
        let gates = &self.gates;
        let objections = gates.objections;
        let keyed = source.kind.keyed;
        let by_patron = self.key.value.own_slot() == source.patron_id;
        given([
            (Reason::TooLarge, true),
            (Reason::Malformed, !self.needs.is_empty()),
            (
                Reason::Condition,
                !self.conditions.is_empty() || gates.period.is_some(),
            ),
            (
                Reason::Library,
                matches!(self.libraries, Libraries::Only(_)),
            ),
            (
                Reason::LibraryConflict,
                self.joined && !source.kind.other_library,
            ),
            (Reason::PatronErased, keyed),
            (Reason::NoConsent, gates.consent.is_some()),
            (Reason::LoanHistoryOff, gates.loan_history.is_some()),
            (Reason::PeriodOpen, gates.period.is_some()),
            (Reason::Unpublished, gates.period.is_some()),
            (Reason::KeyMissing, !by_patron),
            (
                Reason::ReceiverUnlisted,
                matches!(self.route, Route::Each { .. }),
            ),
            (Reason::AgreementLapsed, gates.agreement.is_some()),
            (Reason::AuthorisationLapsed, gates.authorisation.is_some()),
            (
                Reason::ObjectionUnreadable,
                objections.marketing || objections.special,
            ),
            (Reason::ObjectionMarketing, objections.marketing),
            (Reason::Objection, objections.special || objections.refusal),
            (
                Reason::ConsentUnreadable,
                gates.consent.is_some() || objections.refusal,
            ),
            (Reason::Stages, !gates.stages.is_empty()),
            (Reason::PatronLapsed, gates.membership.ends_on.is_some()),
            (Reason::Lapsed, true),
            (Reason::HoldFull, self.joined),
        ])
    }
}

impl Source {
    /// Returns the reasons for which a record of the source may become a dead letter.
    pub fn dead_letter_reasons(&self) -> impl Iterator<Item = Reason> {
        let kind = &self.kind;
        let decided = !self.recipients.is_empty();
        let says = kind.role == Role::Gate;
        given([
            (Reason::NotUtf8, true),
            (Reason::NotJson, true),
            (Reason::NotAnObject, true),
            (Reason::TooLarge, true),
            (Reason::TooDeep, true),
            (Reason::TooManyKeys, true),
            (Reason::Identifier, true),
            (Reason::Miskeyed, kind.keyed),
            (Reason::Misplaced, kind.keyed),
            (Reason::NullValue, kind.role != Role::Patron),
            (Reason::ForeignKey, kind.role == Role::Patron),
            (Reason::UnlistedField, kind.closed),
            (Reason::Malformed, decided || says),
            (Reason::Unclear, says),
            (Reason::NationalNumber, decided),
            (Reason::HoldFull, self.joins()),
            (Reason::HoldExpired, self.joins()),
        ])
    }
}

fn given<const N: usize>(reasons: [(Reason, bool); N]) -> impl Iterator<Item = Reason> {
    let reasons = reasons.into_iter();
    reasons.filter_map(|(reason, may_be)| may_be.then_some(reason))
}
