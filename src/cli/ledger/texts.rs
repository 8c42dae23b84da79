//! The words of answers, in Dutch and English.

use crate::contract::Language;
use crate::export::page_label;
use crate::export::pdf::LetterWords;
use crate::ledger::Operation;
use crate::ledger::retractions::OpenCounts;
use crate::policy::reason::Reason;
use crate::policy::recipient::RetentionAction;
use crate::register::class_word;

/// The words of one language.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texts(pub(super) Language);

impl Texts {
    fn choose<'a>(self, english: &'a str, dutch: &'a str) -> &'a str {
        self.0.pick(english, dutch)
    }

    pub(super) fn now_heading(self) -> &'static str {
        self.choose("What recipients have now", "Wat ontvangers nu hebben")
    }

    pub(super) fn history_heading(self) -> &'static str {
        self.choose("What happened (times in UTC)", "Wat er gebeurd is (tijden in UTC)")
    }

    pub(super) fn nothing_now(self) -> &'static str {
        self.choose(
            "No recipient has anything of this patron.",
            "Geen ontvanger heeft iets van deze lener.",
        )
    }

    pub(super) fn no_history(self) -> &'static str {
        self.choose(
            "The ledger has no line of this patron.",
            "Het logboek heeft geen regel van deze lener.",
        )
    }

    pub(super) fn now_columns(self) -> [&'static str; 6] {
        match self.0 {
            Language::English => ["RECIPIENT", "PURPOSE", "BASIS", "RECORDS", "SINCE", "FIELDS"],
            Language::Dutch => ["ONTVANGER", "DOEL", "GRONDSLAG", "RECORDS", "SINDS", "GEGEVENS"],
        }
    }

    pub(super) fn history_columns(self) -> [&'static str; 6] {
        match self.0 {
            Language::English => ["WHEN", "RECIPIENT", "WHAT", "RECORDS", "WHY", "FIELDS"],
            Language::Dutch => ["WANNEER", "ONTVANGER", "WAT", "RECORDS", "WAAROM", "GEGEVENS"],
        }
    }

    pub(super) fn before_ledger(self) -> &'static str {
        self.choose("(given before the years of the ledger)", "(van voor de jaren van het logboek)")
    }

    pub(super) fn losses_heading(self) -> &'static str {
        self.choose(
            "An erasure takes back from each recipient what it has now:",
            "Bij wissen wordt van elke ontvanger teruggenomen wat hij nu heeft:",
        )
    }

    /// Tells whether a patron is erased everywhere.
    pub(super) fn erasure_verdict(self, is_complete: bool, is_nothing_left: bool) -> &'static str {
        match (is_complete, is_nothing_left) {
            (true, _) => self.choose(
                "Erased: no recipient has anything of this patron any more. Taken back (times in UTC):",
                "Gewist: geen ontvanger heeft nog iets van deze lener. Teruggenomen (tijden in UTC):",
            ),
            (false, true) => self.choose(
                "No recipient has anything of this patron, and nothing was taken back by an erasure.",
                "Geen ontvanger heeft iets van deze lener, en er is niets teruggenomen door wissen.",
            ),
            (false, false) => self.choose(
                "Not erased: recipients still have something of this patron.",
                "Niet gewist: ontvangers hebben nog iets van deze lener.",
            ),
        }
    }

    /// Tells how much a recipient has not acknowledged, and when the oldest of it was or is due.
    pub(super) fn unacknowledged(self, title: &str, counts: OpenCounts, due: &str) -> String {
        let OpenCounts { open, overdue, .. } = counts;
        match (self.0, overdue) {
            (Language::English, 0) => format!(
                "{title} has to confirm by {due} that it erased what was taken back ({open})."
            ),
            (Language::English, _) => format!(
                "{title} has not confirmed that it erased what was taken back ({open}); it had to \
                 by {due}."
            ),
            (Language::Dutch, 0) => format!(
                "{title} moet uiterlijk {due} bevestigen dat gewist is wat is teruggenomen ({open})."
            ),
            (Language::Dutch, _) => format!(
                "{title} heeft niet bevestigd dat gewist is wat is teruggenomen ({open}); dat \
                 bevestigen moest uiterlijk {due}."
            ),
        }
    }

    /// What a letter on paper says beside its text.
    pub(super) fn letter_words(self) -> LetterWords<'static> {
        match self.0 {
            Language::English => LetterWords {
                language: "en",
                foot: "Confidential: contains personal data",
                page_label: |number, total| format!("page {number} of {total}"),
            },
            Language::Dutch => LetterWords {
                language: "nl-NL",
                foot: "Vertrouwelijk: bevat persoonsgegevens",
                page_label,
            },
        }
    }

    /// What stands above the values that recipients have, behind how the identity was checked, and
    /// behind the number of outputs that are not on their topics.
    pub(super) fn values_labels(self) -> [&'static str; 3] {
        match self.0 {
            Language::English => [
                "What it says (times in UTC)",
                "identity checked by",
                "more are not on their topics any more",
            ],
            Language::Dutch => [
                "Wat erin staat (tijden in UTC)",
                "identiteit gecontroleerd met",
                "meer staan niet meer op hun topics",
            ],
        }
    }

    pub(super) fn kept(self) -> &'static str {
        self.choose("(kept after its term)", "(gehouden na de termijn)")
    }

    pub(super) fn of_other_patron(self) -> &'static str {
        self.choose(
            "(in what is given of another patron)",
            "(in wat van een andere lener is verstrekt)",
        )
    }

    /// Tells a legal basis by its word in a recipient's file.
    pub(super) fn legal_basis(self, word: &str) -> String {
        let dutch = match word {
            "consent" => "toestemming",
            "contract" => "overeenkomst",
            "legal_obligation" => "wettelijke verplichting",
            "vital" => "vitaal belang",
            "public_task" => "taak van algemeen belang",
            "legitimate_interest" => "gerechtvaardigd belang",
            other => other,
        };
        match self.0 {
            Language::Dutch => dutch.to_owned(),
            Language::English => word.replace('_', " "),
        }
    }

    /// What stands before purpose, basis, times and fields in an answer to a patron.
    pub(super) fn access_labels(self) -> [&'static str; 5] {
        match self.0 {
            Language::English => ["For", "On the basis of", "Since", "Until", "Which data"],
            Language::Dutch => ["Waarvoor", "Op grond van", "Sinds", "Tot", "Welke gegevens"],
        }
    }

    /// Tells until when a recipient has something: a term from the meaning of a field.
    pub(super) fn retention(self, term: &str, from: &str, after: RetentionAction) -> String {
        match (self.0, after) {
            (Language::English, RetentionAction::Retract) => {
                format!("{term} from this day: {from}. Then we take it back; sometimes earlier.")
            }
            (Language::English, RetentionAction::Forget) => {
                format!("{term} from this day: {from}. After that the recipient may keep it.")
            }
            (Language::Dutch, RetentionAction::Retract) => {
                format!("{term} na deze dag: {from}. Dan nemen wij het terug; soms eerder.")
            }
            (Language::Dutch, RetentionAction::Forget) => {
                format!("{term} na deze dag: {from}. Daarna mag de ontvanger het houden.")
            }
        }
    }

    /// Tells a class of data by its word in the catalogue.
    pub(super) fn data_class(self, word: &'static str) -> &'static str {
        match self.0 {
            Language::English => match word {
                "national_id" => "national number",
                "free_text" => "free text",
                other => other,
            },
            Language::Dutch => class_word(word),
        }
    }

    pub(super) fn operation(self, operation: Operation) -> &'static str {
        let (english, dutch) = match operation {
            Operation::Release => ("given", "gegeven"),
            Operation::Correct => ("corrected", "verbeterd"),
            Operation::Retract => ("taken back", "teruggenomen"),
            Operation::Forget => ("kept, term over", "gehouden, termijn voorbij"),
            Operation::Refuse => ("refused", "geweigerd"),
        };
        self.choose(english, dutch)
    }

    /// Tells a reason by its word in the ledger.
    pub(super) fn reason(self, word: &str) -> String {
        let dutch = Reason::from_name(word).and_then(dutch_reason);
        match (self.0, dutch) {
            (Language::Dutch, Some(text)) => text.to_owned(),
            _ => word.replace('_', " "),
        }
    }

    /// What stands above the ids of patrons, and behind the number of those without one.
    pub(super) fn named_patrons(self) -> [&'static str; 2] {
        match self.0 {
            Language::English => ["PATRONS", "more are no longer in the patron source"],
            Language::Dutch => ["LENERS", "meer staan niet meer in de bron van leners"],
        }
    }

    pub(super) fn recipient_summary(self) -> [&'static str; 5] {
        match self.0 {
            Language::English => [
                "patrons (once a year each)",
                "records",
                "records without a patron",
                "LINES",
                "FIELDS THAT WENT OUT",
            ],
            Language::Dutch => [
                "leners (elk jaar één keer geteld)",
                "records",
                "records zonder lener",
                "REGELS",
                "VERSTREKTE GEGEVENS",
            ],
        }
    }
}

/// Returns `None` for a reason that a patron is never told.
fn dutch_reason(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::PatronErased => "lener gewist",
        Reason::NoConsent => "geen toestemming",
        Reason::ConsentUnreadable => "toestemming onleesbaar",
        Reason::LoanHistoryOff => "leenhistorie staat uit",
        Reason::Objection => "bezwaar",
        Reason::ObjectionMarketing => "bezwaar tegen marketing",
        Reason::ObjectionUnreadable => "bezwaar onleesbaar",
        Reason::AgreementLapsed => "overeenkomst niet van kracht",
        Reason::AuthorisationLapsed => "machtiging niet van kracht",
        Reason::PaperPending => "stuk nog niet van kracht",
        Reason::Condition => "voorwaarde niet vervuld",
        Reason::Library | Reason::LibraryConflict => "andere bibliotheek",
        Reason::PatronLapsed => "termijn na lidmaatschap voorbij",
        Reason::Lapsed => "termijn voorbij",
        Reason::SourceGone | Reason::RecordGone => "record bestaat niet meer",
        Reason::Rekeyed => "onder een andere sleutel gegeven",
        Reason::RecipientRemoved => "ontvanger bestaat niet meer",
        Reason::Settled => "voldaan",
        Reason::PatronUnknown => "lener onbekend",
        Reason::Malformed => "gegeven ongeldig",
        _ => return None,
    })
}
