//! Why a record was not released: closed, static, and never a value.

/// Why a whole record, or a record for one recipient, was not released.
///
/// The text of a reason is a metric label and stands in dead letters; it never
/// carries anything of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    // Refused whole: a dead letter.
    /// The bytes are not UTF-8.
    NotUtf8,
    /// The bytes are not one JSON value by RFC 8259.
    NotJson,
    /// The value is JSON, but no object.
    NotAnObject,
    /// A line of a directory source is no `{"key":...,"value":...}`.
    NotAMessage,
    /// The record, or an output made of it, is larger than its limit.
    TooLarge,
    /// Objects and lists stand in each other deeper than the limit.
    TooDeep,
    /// The record has more keys than the limit, all objects together.
    TooManyKeys,
    /// Patron id, library or the record's own id is missing or malformed.
    Identifier,
    /// The message's key is not the record's patron id.
    Miskeyed,
    /// A null value on a source where nothing can be erased.
    NullValue,
    /// A closed kind has a field beyond its list.
    UnlistedField,
    /// The patron of the record is not known.
    PatronUnknown,

    // Withheld from one recipient.
    /// A field that the recipient needs is malformed; a dead letter names it.
    Malformed,
    /// A condition of the recipient does not hold.
    Condition,
    /// The recipient does not serve the record's or the patron's library.
    Library,
    /// The record is of another library than its patron.
    LibraryConflict,
    /// The patron was erased.
    PatronErased,
    /// Nobody consented, as far as is known.
    NoConsent,
    /// The patron keeps no loan history.
    LoanHistoryOff,
    /// The field whose pseudonym is the output key is missing.
    KeyMissing,
    /// The receiving party is none of those that the recipient lists.
    ReceiverUnlisted,
    /// The recipient's agreement is not in force.
    AgreementLapsed,
    /// The authorisation for national numbers is not in force.
    AuthorisationLapsed,
    /// An objection of the patron could not be read, and may be against this.
    ObjectionUnreadable,
    /// The patron objected to marketing.
    ObjectionMarketing,
    /// The patron objected to the purpose, and that is not dismissed.
    Objection,
    /// A consent of the patron could not be read, and may be a withdrawal.
    ConsentUnreadable,
    /// One stage is dated before the one that must precede it.
    Stages,
    /// The term for the patron's data is over.
    PatronLapsed,
    /// The recipient's retention term is over.
    Lapsed,
    /// The record would be decided anew, and its source no longer has it.
    SourceGone,

    // Held no longer: a dead letter.
    /// Too many records wait for their patrons.
    HoldFull,
    /// The record waited for its patron for too long.
    HoldExpired,

    // Taken back for another cause than what was decided.
    /// The output has another key now: it was taken back under the one before.
    Rekeyed,
    // Refused whole, too: a dead letter.
    /// The key of a message of the patron source is no patron's id, but JSON,
    /// quoted or binary.
    ForeignKey,
    // Refused whole: a dead letter.
    /// A consent or an objection that is not understood in full.
    Unclear,
    // Refused whole by the transport: a dead letter.
    /// The record lies in another partition than its key belongs in.
    Misplaced,
    /// The recipient is no longer served, or not on this topic.
    RecipientRemoved,
    // A field is left out: a dead letter.
    /// A value has the patron's national number in it; a dead letter names its field.
    NationalNumber,
    // Withheld from a recipient that is published to once a month.
    /// The month of the record is not over.
    PeriodOpen,
    /// It is decided, and goes out in the first run of the next month.
    Unpublished,
}

impl Reason {
    /// Every reason, in the order of the enum.
    pub const ALL: &[Reason] = &[
        Reason::NotUtf8,
        Reason::NotJson,
        Reason::NotAnObject,
        Reason::NotAMessage,
        Reason::TooLarge,
        Reason::TooDeep,
        Reason::TooManyKeys,
        Reason::Identifier,
        Reason::Miskeyed,
        Reason::NullValue,
        Reason::UnlistedField,
        Reason::PatronUnknown,
        Reason::Malformed,
        Reason::Condition,
        Reason::Library,
        Reason::LibraryConflict,
        Reason::PatronErased,
        Reason::NoConsent,
        Reason::LoanHistoryOff,
        Reason::KeyMissing,
        Reason::ReceiverUnlisted,
        Reason::AgreementLapsed,
        Reason::AuthorisationLapsed,
        Reason::ObjectionUnreadable,
        Reason::ObjectionMarketing,
        Reason::Objection,
        Reason::ConsentUnreadable,
        Reason::Stages,
        Reason::PatronLapsed,
        Reason::Lapsed,
        Reason::SourceGone,
        Reason::HoldFull,
        Reason::HoldExpired,
        Reason::Rekeyed,
        Reason::ForeignKey,
        Reason::Unclear,
        Reason::Misplaced,
        Reason::RecipientRemoved,
        Reason::NationalNumber,
        Reason::PeriodOpen,
        Reason::Unpublished,
    ];

    /// The reason of this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Reason> {
        let mut all = Reason::ALL.iter().copied();
        all.find(|reason| reason.as_str() == word)
    }

    /// The word that stands in metrics and dead letters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::NotUtf8 => "not_utf8",
            Reason::NotJson => "not_json",
            Reason::NotAnObject => "not_an_object",
            Reason::NotAMessage => "not_a_message",
            Reason::TooLarge => "too_large",
            Reason::TooDeep => "too_deep",
            Reason::TooManyKeys => "too_many_keys",
            Reason::Identifier => "identifier",
            Reason::Miskeyed => "miskeyed",
            Reason::NullValue => "null_value",
            Reason::UnlistedField => "unlisted_field",
            Reason::PatronUnknown => "patron_unknown",
            Reason::Malformed => "malformed",
            Reason::Condition => "condition",
            Reason::Library => "library",
            Reason::LibraryConflict => "library_conflict",
            Reason::PatronErased => "patron_erased",
            Reason::NoConsent => "no_consent",
            Reason::LoanHistoryOff => "loan_history_off",
            Reason::KeyMissing => "key_missing",
            Reason::ReceiverUnlisted => "receiver_unlisted",
            Reason::AgreementLapsed => "agreement_lapsed",
            Reason::AuthorisationLapsed => "authorisation_lapsed",
            Reason::ObjectionUnreadable => "objection_unreadable",
            Reason::ObjectionMarketing => "objection_marketing",
            Reason::Objection => "objection",
            Reason::ConsentUnreadable => "consent_unreadable",
            Reason::Stages => "stages",
            Reason::PatronLapsed => "patron_lapsed",
            Reason::Lapsed => "lapsed",
            Reason::SourceGone => "source_gone",
            Reason::HoldFull => "hold_full",
            Reason::HoldExpired => "hold_expired",
            Reason::Rekeyed => "rekeyed",
            Reason::ForeignKey => "foreign_key",
            Reason::Unclear => "unclear",
            Reason::Misplaced => "misplaced",
            Reason::RecipientRemoved => "recipient_removed",
            Reason::NationalNumber => "national_number",
            Reason::PeriodOpen => "period_open",
            Reason::Unpublished => "unpublished",
        }
    }

    /// What follows for the record, and for what a recipient has of it, in one
    /// sentence for an operator.
    #[must_use]
    pub const fn outcome(self) -> &'static str {
        match self {
            Reason::NotUtf8
            | Reason::NotJson
            | Reason::NotAnObject
            | Reason::NotAMessage
            | Reason::TooDeep
            | Reason::TooManyKeys
            | Reason::Identifier
            | Reason::Miskeyed
            | Reason::NullValue
            | Reason::UnlistedField
            | Reason::Misplaced => "refused for all, with a dead letter",
            Reason::TooLarge => {
                "refused for all, or withheld from the recipient; with a dead letter"
            }
            Reason::PatronUnknown => "held until the patron is known",
            Reason::Malformed => {
                "withheld, with a dead letter; what the recipient has is taken back"
            }
            Reason::Condition
            | Reason::Library
            | Reason::LibraryConflict
            | Reason::PatronErased
            | Reason::NoConsent
            | Reason::LoanHistoryOff
            | Reason::KeyMissing
            | Reason::ReceiverUnlisted
            | Reason::ObjectionUnreadable
            | Reason::ObjectionMarketing
            | Reason::Objection
            | Reason::ConsentUnreadable
            | Reason::Stages
            | Reason::PatronLapsed => "withheld; what the recipient has is taken back",
            Reason::AgreementLapsed | Reason::AuthorisationLapsed => {
                "withheld; what the recipient has stays, or is taken back, as the paper's `after` says"
            }
            Reason::Lapsed => {
                "withheld; what the recipient has is taken back, or forgotten, as its `after` says"
            }
            Reason::Rekeyed => "taken back under the key before, and sent again under the new one",
            Reason::RecipientRemoved => "taken back, as `former` in zeef.toml says",
            Reason::NationalNumber => {
                "released without the field that a dead letter names, or that part of it"
            }
            Reason::PeriodOpen => "decided again when its month is over",
            Reason::Unpublished => {
                "decided again and published in the first run of a month; what the recipient has \
                 stays until then"
            }
            Reason::SourceGone => "dropped; what the recipient has is taken back",
            Reason::HoldFull | Reason::HoldExpired => "held no longer, with a dead letter",
            Reason::ForeignKey => "refused for all, with a dead letter; nobody is erased",
            Reason::Unclear => {
                "refused, with a dead letter; it stops all that it may be about until a later version can be read"
            }
        }
    }

    /// What the reason means, in one sentence for an operator.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Reason::NotUtf8 => "the bytes are not UTF-8",
            Reason::NotJson => "the bytes are not one JSON value",
            Reason::NotAnObject => "the value is no JSON object",
            Reason::NotAMessage => "the line is no {\"key\":...,\"value\":...}",
            Reason::TooLarge => "the record or an output of it is over the size limit",
            Reason::TooDeep => "objects and lists are nested deeper than the limit",
            Reason::TooManyKeys => "the record has more keys than the limit",
            Reason::Identifier => {
                "patron id, library or the record's own id is missing or malformed"
            }
            Reason::Miskeyed => "the message's key is not the record's patron id",
            Reason::NullValue => "a null on a source where nothing can be erased",
            Reason::UnlistedField => "a closed kind of record has a field beyond its list",
            Reason::PatronUnknown => "the record's patron is not known",
            Reason::Malformed => "a field that the recipient needs is malformed",
            Reason::Condition => "a condition of the recipient does not hold",
            Reason::Library => "the recipient does not serve this library",
            Reason::LibraryConflict => "the record is of another library than its patron",
            Reason::PatronErased => "the patron was erased",
            Reason::NoConsent => "no consent is in force, as far as is known",
            Reason::LoanHistoryOff => "the patron keeps no loan history",
            Reason::ReceiverUnlisted => "the receiving party is none of those that are listed",
            Reason::KeyMissing => "the field that the output key is made of is missing",
            Reason::AgreementLapsed => "the recipient's agreement is not in force",
            Reason::AuthorisationLapsed => {
                "the recipient's authorisation for national numbers is not in force"
            }
            Reason::ObjectionUnreadable => {
                "an objection of the patron could not be read, and may be against this"
            }
            Reason::ObjectionMarketing => "the patron objected to marketing",
            Reason::Objection => "the patron objected to the purpose, and it is not dismissed",
            Reason::ConsentUnreadable => {
                "a consent of the patron could not be read, and may be a withdrawal"
            }
            Reason::Stages => "a stage is dated before one that must come first",
            Reason::PatronLapsed => {
                "the membership ended, and the term for the patron's data is over"
            }
            Reason::Lapsed => "the recipient's retention term is over",
            Reason::SourceGone => {
                "the record was to be decided anew, and its source no longer has it"
            }
            Reason::HoldFull => "too many records wait for their patrons",
            Reason::HoldExpired => "the record waited too long for its patron",
            Reason::Rekeyed => "the output's key is made in another way, or with another key",
            Reason::ForeignKey => {
                "the key of a patron's message is JSON, quoted or binary, and no patron's id"
            }
            Reason::Unclear => "a consent or an objection is not understood in full",
            Reason::Misplaced => "the record lies in another partition than its key belongs in",
            Reason::RecipientRemoved => "the recipient is no longer served, or not on this topic",
            Reason::NationalNumber => "a value has the patron's national number among its digits",
            Reason::PeriodOpen => "the month of the record is not over yet",
            Reason::Unpublished => "what was decided waits for the first run of a month",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn stands_at_its_place() {
        for (place, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place);
        }
    }
}
