//! Why a record was not released: a closed list of static texts.

// What follows from a reason, where several share it.
const REFUSED: &str = "refused for all, with a dead letter";
const WITHHELD: &str = "withheld; what the recipient has is taken back";
const REFUSED_AND_TAKEN_BACK: &str =
    "refused for all, with a dead letter; what recipients have of an earlier version is taken back";
const AS_PAPER_SAYS: &str =
    "withheld; what the recipient has stays, or is taken back, as the paper's `after` says";
const HELD_NO_LONGER: &str = "held no longer, with a dead letter";

/// Declares the reasons: name, meaning, outcome.
macro_rules! reasons {
    ($($variant:ident: $meaning:literal, $outcome:expr;)+) => {
        /// Why a record was refused, or withheld from one recipient.
        ///
        /// A variant's name in snake case is its word in metrics and dead letters; it never carries data of
        /// a record.
        #[derive(
            Clone,
            Copy,
            Debug,
            PartialEq,
            Eq,
            Hash,
            PartialOrd,
            Ord,
            strum::IntoStaticStr,
            strum::VariantArray,
        )]
        #[strum(serialize_all = "snake_case", const_into_str)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = $meaning] $variant,)+
        }

        impl Reason {
            /// Returns the meaning in one sentence for operators.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Reason::$variant => $meaning,)+
                }
            }

            /// Returns the consequence for the record and for what a recipient has of it, in one
            /// sentence for operators.
            #[must_use]
            pub const fn outcome(self) -> &'static str {
                match self {
                    $(Reason::$variant => $outcome,)+
                }
            }
        }
    };
}

reasons! {
    // Refused whole: a dead letter.
    NotUtf8: "the bytes are not UTF-8", REFUSED;
    NotJson: "the bytes are not one JSON value", REFUSED;
    NotAnObject: "the value is no JSON object", REFUSED;
    NotAMessage: "the line is no {\"key\":...,\"value\":...}", REFUSED;
    TooLarge:
        "the record or an output of it is over the size limit",
        "refused for all, or withheld from the recipient; with a dead letter";
    TooDeep: "objects and lists are nested deeper than the limit", REFUSED;
    TooManyKeys: "the record has more keys than the limit", REFUSED;
    Identifier: "patron id, library or the record's own id is missing or malformed", REFUSED;
    Miskeyed:
        "the message's key is not the record's patron id, nor its own where it has no patron",
        REFUSED;
    NullValue: "a null on a source where nothing can be erased", REFUSED;
    UnlistedField: "a closed kind of record has a field beyond its list", REFUSED;
    PatronUnknown: "the record's patron is not known", "held until the patron is known";

    // Withheld from one recipient.
    Malformed:
        "a field that the recipient needs is malformed",
        "withheld, with a dead letter; what the recipient has is taken back";
    Condition: "a condition of the recipient does not hold", WITHHELD;
    Library: "the recipient does not serve this library", WITHHELD;
    LibraryConflict: "the record is of another library than its patron", WITHHELD;
    PatronErased: "the patron was erased", WITHHELD;
    NoConsent: "no consent is in force, as far as is known", WITHHELD;
    LoanHistoryOff:
        "the patron keeps no loan history, or kept none when the loan was returned",
        WITHHELD;
    KeyMissing: "the field that the output key is made of is missing", WITHHELD;
    PartyUnlisted: "the receiving party is none of those that are listed", WITHHELD;
    AgreementLapsed: "the recipient's agreement is not in force", AS_PAPER_SAYS;
    AuthorisationLapsed:
        "the recipient's authorisation for national numbers is not in force",
        AS_PAPER_SAYS;
    ObjectionUnreadable:
        "an objection of the patron could not be read, and may be against this",
        WITHHELD;
    ObjectionMarketing: "the patron objected to marketing", WITHHELD;
    Objection: "the patron objected to the purpose, and it is not dismissed", WITHHELD;
    ConsentUnreadable:
        "a consent of the patron could not be read, and may be a withdrawal",
        WITHHELD;
    Stages: "a stage is dated before one that must come first", WITHHELD;
    PatronLapsed: "the membership ended, and the term for the patron's data is over", WITHHELD;
    Lapsed:
        "the recipient's retention term is over",
        "withheld; what the recipient has is taken back, or forgotten, as its `after` says";
    SourceGone:
        "the record was to be decided anew, and its source no longer has it",
        "dropped; what the recipient has is taken back";

    // Held no longer: a dead letter.
    HoldFull: "too many records wait for their patrons", HELD_NO_LONGER;
    HoldExpired: "the record waited too long for its patron", HELD_NO_LONGER;

    // Taken back for another cause than what was decided.
    Rekeyed:
        "the output's key is made in another way, or with another key",
        "taken back under the key before, and sent again under the new one";
    // Refused whole, too: a dead letter.
    ForeignKey:
        "the key of a patron's message is JSON, quoted or binary, and no patron's id",
        "refused for all, with a dead letter; nobody is erased";
    // Refused whole: a dead letter.
    Unclear:
        "a consent or an objection is not understood in full",
        "refused, with a dead letter; it stops all that it may be about until a later version \
         can be read";
    // Refused whole by the transport: a dead letter.
    Misplaced: "the record lies in another partition than its key belongs in", REFUSED;
    RecipientRemoved:
        "the recipient is no longer served, or not on this topic",
        "taken back, as `former` in zeef.toml says";
    // A field is left out: a dead letter.
    NationalNumber:
        "a value has the patron's national number among its digits",
        "released without the field that a dead letter names, or that part of it";
    // Withheld from a recipient that is published to once a month.
    PeriodOpen: "the month of the record is not over yet", "decided again when its month is over";
    Unpublished:
        "what was decided waits for the first run of a month",
        "decided again and published in the first run of a month; what the recipient has \
         stays until then";
    // Withheld from one recipient, too.
    Settled: "a settlement of the patron names the record", WITHHELD;
    // Withheld from every recipient.
    RecordGone:
        "the source no longer has the record, or no longer knows whose it is",
        "withheld; what the recipient has is taken back, or replaced by what its `thinned` leaves";
    // Withheld from one recipient, too.
    PaperPending:
        "an advice, approval, notice or acceptance of terms of the recipient is dated later",
        WITHHELD;
    NoChannel: "the patron can be reached by none of the recipient's channels", WITHHELD;
    RecordsUnreadable:
        "a record of the patron that a sum, count or list is made of cannot be read, or the \
         sum is too large",
        WITHHELD;
    // Refused whole, with what recipients have of an earlier version: a dead letter.
    MustNotExist: "there must be no record of what it is about", REFUSED_AND_TAKEN_BACK;
    PersonalData: "a text that must have no personal data has some", REFUSED_AND_TAKEN_BACK;
    // Withheld from one recipient.
    SpecialWords:
        "a text has words of special categories of data, and no complete written consent is \
         in force",
        WITHHELD;
    // Withheld from one recipient: what a condition of its file asks for is not there.
    NotWritten: "the demand is not in writing", WITHHELD;
    NoLawArticle: "the demand names no article of a law", WITHHELD;
    NothingDemanded: "the demand names no field", WITHHELD;
    NoTeamLeader: "no team leader is named who took the demand in", WITHHELD;
    NoReceipt: "when the demand was received is missing", WITHHELD;
    NoAdvice: "there is no advice on the demand, or no time of it", WITHHELD;
    NoDecision: "there is no decision on the demand, or no time of it", WITHHELD;
    NotGranted: "it was not decided to grant the demand", WITHHELD;
    NoLegalDuty: "no legal duty to answer the demand is established", WITHHELD;
    // Withheld from one recipient.
    StageInFuture:
        "the last stage is dated in the future",
        "withheld until its time has come; what the recipient has is taken back";
    NamedPatrons:
        "the recipient gets an output for each patron that a grant names, and none of the record \
         alone",
        "decided for each patron that a grant names, who gives an output of its own";
}

impl Reason {
    /// Every reason, in the order of the enum.
    pub const ALL: &[Reason] = <Reason as strum::VariantArray>::VARIANTS;

    /// The reasons that a condition of a recipient's file may give in place of
    /// [`Reason::Condition`].
    pub const OF_CONDITIONS: &[Reason] = &[
        Reason::NotWritten,
        Reason::NoLawArticle,
        Reason::NothingDemanded,
        Reason::NoTeamLeader,
        Reason::NoReceipt,
        Reason::NoAdvice,
        Reason::NoDecision,
        Reason::NotGranted,
        Reason::NoLegalDuty,
    ];

    /// Whether a condition that does not hold may give it.
    #[must_use]
    pub fn is_of_condition(self) -> bool {
        self == Reason::Condition || Reason::OF_CONDITIONS.contains(&self)
    }

    /// Finds a reason by its word, or by the one that it had in an earlier version.
    #[must_use]
    pub fn from_name(word: &str) -> Option<Reason> {
        if word == "receiver_unlisted" {
            return Some(Reason::PartyUnlisted);
        }
        let mut all = Reason::ALL.iter().copied();
        all.find(|reason| reason.as_str() == word)
    }

    /// Returns the word in metrics and dead letters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
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
    fn reason_is_found_by_its_word_and_by_its_earlier_one() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_name(reason.as_str()), Some(*reason));
        }
        assert_eq!(Reason::from_name("receiver_unlisted"), Some(Reason::PartyUnlisted));
        assert_eq!(Reason::from_name("party_unlised"), None);
    }

    #[test]
    fn reason_discriminants_follow_order_of_all() {
        for (place, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place);
        }
    }
}
