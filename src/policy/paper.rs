//! Documents and lists of a recipient, without which it is not switched on.
//!
//! That they are complete is a rule of the policy; that they are in force is a gate.

use super::form::Date;

/// What was decided over a recipient, by whom and when: an advice of the data protection officer,
/// or an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedDecision {
    pub by: String,
    /// `YYYY-MM-DD`.
    pub on: String,
    /// Where it is kept.
    pub document: String,
}

/// What patrons were told of a recipient's purpose before it began (F50).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// `YYYY-MM-DD`.
    pub on: String,
    /// Where it can be read.
    pub place: String,
}

/// Terms of use that the library accepted (F23).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedTerms {
    pub document: String,
    pub version: String,
    /// The day of acceptance, `YYYY-MM-DD`.
    pub on: String,
}

/// What a recipient's file may say that it cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Requirement {
    Agreement,
    Authorisation,
    Approval,
    DpoAdvice,
    Notice,
    Terms,
    AppId,
    Members,
    Devices,
    Scopes,
    Parties,
}

impl Requirement {
    /// Returns what it is, for messages.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Requirement::Agreement => "agreement",
            Requirement::Authorisation => "authorisation",
            Requirement::Approval => "approval",
            Requirement::DpoAdvice => "advice of the data protection officer",
            Requirement::Notice => "notice to patrons, or only a placeholder",
            Requirement::Terms => "accepted terms",
            Requirement::AppId => "id of the app",
            Requirement::Members => "libraries in `members`",
            Requirement::Devices => "device in `devices`",
            Requirement::Scopes => "field in `scopes`",
            Requirement::Parties => "receiving party",
        }
    }

    /// Returns how a recipient's file says it, for messages.
    #[must_use]
    pub const fn example(self) -> &'static str {
        match self {
            Requirement::Agreement => {
                "`agreement = \"NAME\"`, a file of config/agreements, or the agreement itself"
            }
            Requirement::Authorisation => {
                "`authorisation = \"NAME\"`, a file of config/authorisations, or the authorisation itself"
            }
            Requirement::Approval => {
                "`approval = { by = \"...\", on = \"2026-01-31\", document = \"...\" }`"
            }
            Requirement::DpoAdvice => {
                "`dpo_advice = { by = \"...\", on = \"2026-01-31\", document = \"...\" }`"
            }
            Requirement::Notice => {
                "`notice = { on = \"2026-01-31\", where = \"...\" }`, by which patrons were told"
            }
            Requirement::Terms => {
                "`terms = { document = \"...\", version = \"...\", on = \"2026-01-31\" }`"
            }
            Requirement::AppId => "`app_id = \"...\"`, by which the other side knows the app",
            Requirement::Members => "`members = [\"NL-...\"]`, the libraries of the network",
            Requirement::Devices => "`devices = [\"...\"]`, at least one",
            Requirement::Scopes => "`scopes = [\"...\"]`, of the names in `fields`",
            Requirement::Parties => {
                "`topic = { by = \"PATH\", of = { \"PARTY\" = \"TOPIC\" } }` with at least one party"
            }
        }
    }
}

/// The documents of a recipient beside its agreement and authorisation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientPapers {
    /// What the recipient is not switched on without.
    pub requires: Vec<Requirement>,
    /// The clauses that its agreement has beside those of every processor.
    pub clauses: Vec<String>,
    pub notice: Option<Notice>,
    pub dpo_advice: Option<RecordedDecision>,
    pub approval: Option<RecordedDecision>,
    pub terms: Option<AcceptedTerms>,
    pub app_id: Option<String>,
    /// The devices that read the recipient's topic.
    pub devices: Vec<String>,
}

impl RecipientPapers {
    /// Returns what each dated paper is called, and its day.
    pub fn dated(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("notice", self.notice.as_ref().map(|one| one.on.as_str())),
            ("dpo_advice", self.dpo_advice.as_ref().map(|one| one.on.as_str())),
            ("approval", self.approval.as_ref().map(|one| one.on.as_str())),
            ("terms", self.terms.as_ref().map(|one| one.on.as_str())),
        ]
        .into_iter()
        .filter_map(|(name, on)| Some((name, on?)))
    }

    /// Returns the last of these days, before which nothing is sent. `None` without any.
    #[must_use]
    pub fn last_day(&self) -> Option<&str> {
        self.dated().map(|(_, on)| on).max()
    }

    /// Returns 00:00 UTC of [`RecipientPapers::last_day`], in milliseconds since 1970; a day that is none
    /// never comes.
    #[must_use]
    pub fn in_force_from_ms(&self) -> Option<i64> {
        self.last_day().map(|day| Date::parse(day).map_or(i64::MAX, Date::to_unix_ms))
    }
}

/// Where a recipient's list of fields comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum FieldsSource {
    /// The library's document lists them.
    Document,
    /// No document does: they are what the purpose needs, and somebody has to decide.
    Proposed,
}

/// What is still to be decided of a recipient. It decides over no record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReviewState {
    /// Why the rule is not settled, if so.
    pub pending_reason: Option<String>,
    pub fields_source: Option<FieldsSource>,
}

impl ReviewState {
    /// Returns what is still to be decided, in words; `None` if nothing is.
    #[must_use]
    pub fn describe(&self) -> Option<String> {
        let pending = self.pending_reason.as_ref().map(|why| format!("pending: {why}"));
        let proposed = (self.fields_source == Some(FieldsSource::Proposed))
            .then(|| "its fields are proposed: no document lists them".to_owned());
        let all: Vec<String> = pending.into_iter().chain(proposed).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// Returns whether a text still is an example's: `...`, `TODO` or `privacy@example.org`.
#[must_use]
pub fn is_placeholder(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "todo",
        "tbd",
        "fixme",
        "xxx",
        "example",
        "voorbeeld",
        "placeholder",
        "changeme",
        "invullen",
    ];
    const PARTS: &[&str] = &["...", "\u{2026}", "set your own", "vul hier", "change me"];
    let text = text.to_lowercase();
    let mut words = text.split(|letter: char| !letter.is_alphanumeric());
    words.any(|word| WORDS.contains(&word)) || PARTS.iter().any(|part| text.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholder_texts_are_recognised() {
        for text in [
            "...",
            "\u{2026}",
            "TODO",
            "privacy@library.example.org",
            "The library (set your own name here)",
            "xxx",
            "<invullen>",
        ] {
            assert!(is_placeholder(text), "{text}");
        }
        for text in [
            "Stichting Openbare Bibliotheek",
            "fg@bibliotheek.nl",
            "Methodo B.V.",
            "an exemplary library",
        ] {
            assert!(!is_placeholder(text), "{text}");
        }
    }

    #[test]
    fn papers_are_in_force_from_the_last_of_their_days() {
        let decision = |on: &str| RecordedDecision {
            by: "FG".to_owned(),
            on: on.to_owned(),
            document: "A-1".to_owned(),
        };
        assert_eq!(RecipientPapers::default().in_force_from_ms(), None);
        let papers = RecipientPapers {
            dpo_advice: Some(decision("1970-01-03")),
            approval: Some(decision("1970-01-02")),
            ..RecipientPapers::default()
        };
        assert_eq!(papers.last_day(), Some("1970-01-03"));
        assert_eq!(papers.in_force_from_ms(), Some(2 * 86_400_000));
    }
}
