//! A recipient, compiled: who gets which fields of which records, and when.

use super::catalogue::Kind;
use super::detect::Detectors;
use super::form::Date;
use super::influence::{Way, influences};
use super::mask::Mask;
use super::term::Term;

/// A field of the recipient's source, or of the record's patron.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldRef {
    /// From the table, by the record's patron id (`patron.` before the path),
    /// in a recipient whose source is another kind than patron.
    pub joined: bool,
    /// The catalogue's path, of the source's kind or of patron.
    pub path: String,
}

/// A value that a condition compares with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal {
    Text(String),
    Boolean(bool),
    Integer(i64),
}

/// What a condition asks of its field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    Is(Vec<Literal>),
    Present,
    Absent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub field: FieldRef,
    pub test: Test,
}

/// How one value gets from a field into an output.
#[derive(Clone, Debug)]
pub struct Projection {
    /// `None` only for a constant.
    pub from: Option<FieldRef>,
    pub mask: Option<Mask>,
    pub detect: Option<Detectors>,
}

/// A listed sub-field of an object or of a list's elements.
#[derive(Clone, Debug)]
pub struct SubField {
    pub name: String,
    /// The catalogue's full path, as `address.street` or `items[].title`.
    pub path: String,
}

#[derive(Clone, Debug)]
pub enum OutputValue {
    Scalar(Projection),
    /// An object with listed sub-fields.
    Object {
        from: FieldRef,
        fields: Vec<SubField>,
    },
    /// A list of objects with listed sub-fields; `from.path` ends in `[]`.
    List {
        from: FieldRef,
        fields: Vec<SubField>,
    },
    /// A list of scalars; `from.path` ends in `[]`.
    Scalars {
        from: FieldRef,
    },
    /// The printer's lines, made of other output fields by their places.
    Slip {
        mark: usize,
        initial: usize,
        rest: Vec<usize>,
    },
}

/// One field of an output, in profile order.
#[derive(Clone, Debug)]
pub struct OutputField {
    pub name: String,
    pub value: OutputValue,
}

/// Where a recipient's outputs go. A record never names a topic itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topics {
    One(String),
    /// A topic for each receiving party: the values of a field that are listed,
    /// each with its topic. A record of another party goes nowhere.
    Each {
        by: FieldRef,
        of: Vec<(String, String)>,
    },
}

impl Topics {
    /// Every topic, in the order written.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let (one, each) = match self {
            Topics::One(topic) => (Some(topic.as_str()), &[][..]),
            Topics::Each { of, .. } => (None, of.as_slice()),
        };
        one.into_iter()
            .chain(each.iter().map(|(_, topic)| topic.as_str()))
    }
}

impl std::fmt::Display for Topics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Topics::One(topic) => f.write_str(topic),
            Topics::Each { by, of } => {
                let prefix = if by.joined { "patron." } else { "" };
                write!(f, "by {prefix}{}", by.path)?;
                of.iter()
                    .try_for_each(|(party, topic)| write!(f, ", {party}: {topic}"))
            }
        }
    }
}

/// Which libraries a recipient serves: the record's and the patron's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Libraries {
    All,
    Only(Vec<String>),
}

/// GDPR article 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LegalBasis {
    Consent,
    Contract,
    LegalObligation,
    Vital,
    PublicTask,
    LegitimateInterest,
}

/// The consent that a recipient needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentGate {
    pub purpose: String,
    /// An instant of the patron that counts as a digital grant.
    pub implied_by: Option<FieldRef>,
    /// Special categories: explicit and written.
    pub explicit: bool,
}

/// What happens when a recipient's term is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum After {
    Retract,
    Forget,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    pub term: Term,
    pub from: FieldRef,
    pub after: After,
}

/// How often the outputs of a pseudonymised recipient are published: once after
/// each month, so that order and time of what happens do not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// The date or instant of the record that says of which month it is.
    pub of: FieldRef,
}

/// What happens to what a recipient has when its paper is no longer in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PaperAfter {
    /// It stays as it is until a new paper is there.
    #[default]
    Keep,
    Retract,
}

/// A processor's agreement (GDPR art. 28).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    pub reference: String,
    pub clauses: Vec<String>,
    /// The first day, `YYYY-MM-DD`.
    pub from: String,
    /// The last day, `YYYY-MM-DD`.
    pub until: String,
    pub after: PaperAfter,
}

impl Agreement {
    /// When it is in force, in milliseconds since 1970: from the first until
    /// before the second.
    #[must_use]
    pub fn in_force_ms(&self) -> (i64, i64) {
        in_force_ms(&self.from, &self.until)
    }
}

/// Leave to have national numbers (GDPR art. 87).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorisation {
    pub reference: String,
    pub approved_by: String,
    pub approved_on: String,
    /// The first day, `YYYY-MM-DD`.
    pub from: String,
    /// The last day, `YYYY-MM-DD`.
    pub until: String,
    pub jurisdiction: String,
    pub after: PaperAfter,
}

impl Authorisation {
    /// When it is in force, in milliseconds since 1970: from the first until
    /// before the second. Never before the day on which it was approved.
    #[must_use]
    pub fn in_force_ms(&self) -> (i64, i64) {
        in_force_ms(self.first_day(), &self.until)
    }

    /// The first day on which it is in force, `YYYY-MM-DD`.
    #[must_use]
    pub fn first_day(&self) -> &str {
        (&self.from).max(&self.approved_on)
    }
}

/// From 00:00 UTC of the first day until 00:00 UTC of the day after the last;
/// never, where one of the two is no day.
fn in_force_ms(from: &str, until: &str) -> (i64, i64) {
    const DAY_MS: i64 = 86_400_000;
    match (Date::parse(from), Date::parse(until)) {
        (Some(from), Some(until)) => (from.to_unix_ms(), until.to_unix_ms() + DAY_MS),
        _ => (i64::MAX, i64::MIN),
    }
}

/// What the record of processing (GDPR art. 30) says beside the controller;
/// empty where the file does not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Register {
    pub contact: String,
    /// Categories of persons.
    pub persons: String,
    pub transfers: String,
    pub security: String,
}

#[derive(Clone, Debug)]
pub struct Recipient {
    pub name: String,
    pub title: String,
    pub topics: Topics,
    /// The place of its source in the policy's kinds.
    pub source: usize,
    pub purpose: String,
    pub purpose_text: String,
    pub legal_basis: LegalBasis,
    pub controller: String,
    pub register: Register,
    pub libraries: Libraries,
    /// The output key is the pseudonym of this field.
    pub key: FieldRef,
    pub when: Vec<Condition>,
    /// Instants or dates of the record that must not precede one another.
    pub stages: Vec<FieldRef>,
    pub fields: Vec<OutputField>,
    pub consent: Option<ConsentGate>,
    pub retention: Retention,
    /// Only of a pseudonymised recipient, and of each of them.
    pub period: Option<Period>,
    /// Gets loan history: no returned loans of patrons who switched it off.
    pub loan_history: bool,
    pub marketing: bool,
    /// Objections for special circumstances stop it, whatever its legal basis.
    pub stops_on_objection: bool,
    /// Why the patron's term does not apply to it, where it does not.
    pub outlives_membership: Option<String>,
    pub pseudonymised: bool,
    pub processor: bool,
    pub agreement: Option<Agreement>,
    pub authorisation: Option<Authorisation>,
    /// Why card number and birth date or year go together unmasked (S05).
    pub credential_reason: Option<String>,
    /// Why free text is released without all detectors, or decides.
    pub free_text_reason: Option<String>,
    /// The flow ids that the recipient serves.
    pub flows: Vec<String>,
}

impl Recipient {
    /// Whether objections for special circumstances stop it (GDPR art. 21(1)).
    #[must_use]
    pub fn yields_to_objections(&self) -> bool {
        let basis = matches!(
            self.legal_basis,
            LegalBasis::PublicTask | LegalBasis::LegitimateInterest
        );
        basis || self.stops_on_objection
    }

    /// Whether a national number can influence what it has; what is only left out
    /// of an output because of one does not count.
    #[must_use]
    pub fn releases_national(&self, kinds: &[Kind]) -> bool {
        let all = influences(self, kinds);
        let mut shown = all.iter().filter(|one| !matches!(one.way, Way::LeftOut(_)));
        shown.any(|one| one.field.is_national())
    }
}
