//! Everything of a record and its patron that can influence what a recipient has:
//! an output, its key, its topic, or whether there is one.
//!
//! One list of it, from which every rule over fields works, and which people are
//! shown. What is not in it cannot matter; how much of each field is seen is said
//! as if the recipient knew its own file.

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::{Field, Kind, Role, Type};
use super::mask::{Mask, Need, SurnameKey, are_wide};
use super::recipient::{
    After, Condition, FieldRef, OutputField, OutputValue, Projection, Recipient, Test, Topics,
};

/// How much of a field is seen, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Seen {
    /// One bit, as whether there is a value.
    Bit,
    /// Which values are equal: a keyed hash.
    Pseudonym,
    /// A part that hides the value itself.
    Part,
    /// The day, month or year of a date or an instant.
    Date,
    /// All of it, or so much that it counts as all.
    Whole,
}

impl Seen {
    /// The word for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Seen::Bit => "one bit",
            Seen::Pseudonym => "a pseudonym",
            Seen::Part => "a part",
            Seen::Date => "its date",
            Seen::Whole => "whole",
        }
    }
}

/// By which way a field influences; output fields, conditions and stages by their
/// place in the recipient's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// As the value of an output field.
    Field(usize),
    /// As what the mask of an output field looks at beside its input.
    Beside(usize),
    /// As what decides whether something is left out of an output field.
    LeftOut(usize),
    Key,
    /// As what a key has beside its field.
    BesideKey,
    Topic,
    Condition(usize),
    Stage(usize),
    Retention,
    /// As the event that implies consent.
    Event,
    /// As what a gate asks that no recipient is without, or that only withholds.
    Gate,
}

impl Way {
    /// The words for people.
    #[must_use]
    pub fn describe(self, recipient: &Recipient) -> String {
        let name = |place: usize| {
            let field = recipient.fields.get(place);
            field.map_or("", |field| field.name.as_str())
        };
        match self {
            Way::Field(place) => format!("in {}", name(place)),
            Way::Beside(place) => format!("beside {}", name(place)),
            Way::LeftOut(place) => format!("left out of {}", name(place)),
            Way::Key | Way::BesideKey => "in the key".to_owned(),
            Way::Topic => "as the topic".to_owned(),
            Way::Condition(_) => "as a condition".to_owned(),
            Way::Stage(_) => "as a stage".to_owned(),
            Way::Retention => "as the start of the term".to_owned(),
            Way::Event => "as the event that implies consent".to_owned(),
            Way::Gate => "in a gate".to_owned(),
        }
    }
}

/// One way in which one field influences what a recipient has.
#[derive(Clone, Debug)]
pub struct Influence<'a> {
    pub at: FieldRef,
    /// The field as the catalogue knows it.
    pub field: &'a Field,
    pub seen: Seen,
    pub way: Way,
}

/// Returns all that influences what `recipient` has, in the order of its file.
/// A field that the catalogue does not know is left out.
#[must_use]
pub fn influences<'a>(recipient: &Recipient, kinds: &'a [Kind]) -> Vec<Influence<'a>> {
    let Some(source) = kinds.get(recipient.source) else {
        return Vec::new();
    };
    let mut collector = Collector {
        source,
        patron: kinds.iter().find(|kind| kind.role == Role::Patron),
        narrow: narrow_ages(&recipient.fields),
        all: Vec::new(),
    };
    collector.conditions(&recipient.when);
    for (place, stage) in recipient.stages.iter().enumerate() {
        collector.add(stage, Seen::Bit, Way::Stage(place));
    }
    if let Topics::Each { by, .. } = &recipient.topics {
        collector.add(by, Seen::Whole, Way::Topic);
    }
    collector.key(&recipient.key);
    for (place, field) in recipient.fields.iter().enumerate() {
        collector.output(place, &field.value);
    }
    collector.gates(recipient);
    collector.all
}

struct Collector<'a> {
    source: &'a Kind,
    patron: Option<&'a Kind>,
    /// Dates of which several age bands together show too much.
    narrow: Vec<FieldRef>,
    all: Vec<Influence<'a>>,
}

impl<'a> Collector<'a> {
    fn field(&self, at: &FieldRef) -> Option<&'a Field> {
        let kind = if at.joined {
            self.patron
        } else {
            Some(self.source)
        };
        kind?.field(&at.path)
    }

    fn add(&mut self, at: &FieldRef, seen: Seen, way: Way) {
        let Some(field) = self.field(at) else {
            return;
        };
        self.all.push(Influence {
            at: at.clone(),
            field,
            seen,
            way,
        });
    }

    fn add_path(&mut self, joined: bool, path: &str, seen: Seen, way: Way) {
        let path = path.to_owned();
        self.add(&FieldRef { joined, path }, seen, way);
    }

    /// Whether a field is a date, an instant or a birth, whatever its type.
    fn is_time(&self, at: &FieldRef) -> bool {
        self.field(at).is_some_and(|field| {
            field.kind.is_dated() || field.is_birth() || field.is_finer_than_a_day()
        })
    }

    /// Adds a field of the record's patron, from the table or the record itself.
    fn add_of_patron(&mut self, path: &str, way: Way) {
        if self.source.keyed {
            let joined = self.source.role != Role::Patron;
            self.add_path(joined, path, Seen::Bit, way);
        }
    }

    /// What fits a listed value is known to be one of them.
    fn conditions(&mut self, conditions: &[Condition]) {
        for (place, condition) in conditions.iter().enumerate() {
            let seen = match condition.test {
                Test::Is(_) => Seen::Whole,
                Test::Present | Test::Absent => Seen::Bit,
            };
            self.add(&condition.field, seen, Way::Condition(place));
        }
    }

    fn key(&mut self, key: &FieldRef) {
        self.add(key, Seen::Pseudonym, Way::Key);
        for beside in ["patron_id", "library"] {
            if key.path != beside {
                self.add_path(key.joined, beside, Seen::Pseudonym, Way::BesideKey);
            }
        }
    }

    fn output(&mut self, place: usize, value: &OutputValue) {
        match value {
            OutputValue::Scalar(projection) => self.scalar(place, projection),
            OutputValue::Scalars { from } => self.copied(place, from.joined, &from.path),
            OutputValue::Object { from, fields } | OutputValue::List { from, fields } => {
                for field in fields {
                    self.copied(place, from.joined, &field.path);
                }
            }
            // Made of other output fields, which are in the list.
            OutputValue::Slip { .. } => {}
        }
    }

    fn copied(&mut self, place: usize, joined: bool, path: &str) {
        self.add_path(joined, path, Seen::Whole, Way::Field(place));
        self.card(place, joined, path);
    }

    /// A card number is left out where it is a national number.
    fn card(&mut self, place: usize, joined: bool, path: &str) {
        let path = path.to_owned();
        let field = self.field(&FieldRef { joined, path });
        if field.is_some_and(|field| field.kind == Type::CardNumber) {
            for beside in ["card_number", "card_kind", "rijksregisternummer"] {
                self.add_path(joined, beside, Seen::Bit, Way::LeftOut(place));
            }
        }
    }

    fn scalar(&mut self, place: usize, projection: &Projection) {
        let Some(from) = &projection.from else {
            return;
        };
        let mask = projection.mask.as_ref();
        let seen = match mask {
            Some(Mask::AgeBand { .. }) if self.narrow.contains(from) => Seen::Whole,
            // The last digits of a date are its day, those of an instant its second.
            Some(Mask::LastDigits { .. }) if self.is_time(from) => Seen::Whole,
            Some(mask) => shown(mask),
            None => Seen::Whole,
        };
        self.add(from, seen, Way::Field(place));
        self.card(place, from.joined, &from.path);
        if matches!(mask, Some(Mask::Pseudonym { .. })) {
            // A patron's id is hashed with the patron's library, wherever it stands.
            let of_patron = from.path == "patron_id" && self.source.role != Role::Patron;
            let joined = from.joined || of_patron;
            self.add_path(joined, "library", Seen::Pseudonym, Way::Beside(place));
        }
        for (need, seen) in mask.map(needs).unwrap_or_default() {
            self.need(place, from.joined, &need, seen);
        }
        if projection
            .detect
            .as_ref()
            .is_some_and(|one| one.needs_own_values())
        {
            self.own_values(place);
        }
    }

    fn need(&mut self, place: usize, joined: bool, need: &Need, seen: Seen) {
        let way = Way::Beside(place);
        match need {
            Need::Sibling(path) => self.add_path(joined, path, seen, way),
            Need::Source(path) => self.add_path(false, path, seen, way),
            Need::Country => {
                for path in ["country", "library"] {
                    self.add_path(joined, path, seen, way);
                }
            }
        }
    }

    /// What the patron's own values are is taken out of free text.
    fn own_values(&mut self, place: usize) {
        let joined = self.source.role != Role::Patron;
        let of = |kind: &Kind, joined: bool| -> Vec<FieldRef> {
            let own = kind
                .fields
                .iter()
                .filter(|field| field.class.is_own_value());
            own.map(|field| FieldRef {
                joined,
                path: field.path.clone(),
            })
            .collect()
        };
        let patrons = self.patron.filter(|_| joined && self.source.keyed);
        let patrons = patrons.map(|kind| of(kind, true)).unwrap_or_default();
        for at in of(self.source, false).iter().chain(&patrons) {
            self.add(at, Seen::Bit, Way::LeftOut(place));
        }
    }

    fn gates(&mut self, recipient: &Recipient) {
        let retention = &recipient.retention;
        // When something is taken back says when the term began.
        let seen = match retention.after {
            After::Retract => Seen::Date,
            After::Forget => Seen::Bit,
        };
        self.add(&retention.from, seen, Way::Retention);
        if let Some(period) = &recipient.period {
            self.add(&period.of, Seen::Date, Way::Gate);
        }
        let consent = recipient.consent.as_ref();
        if let Some(event) = consent.and_then(|consent| consent.implied_by.as_ref()) {
            self.add(event, Seen::Bit, Way::Event);
        }
        self.add_path(false, "library", Seen::Bit, Way::Gate);
        if self.source.role != Role::Patron {
            self.add_of_patron("library", Way::Gate);
        }
        if recipient.loan_history {
            self.add_path(false, "status", Seen::Bit, Way::Gate);
            self.add_of_patron("loan_history", Way::Gate);
        }
        self.add_of_patron("membership.status", Way::Gate);
        if recipient.outlives_membership.is_none() {
            self.add_of_patron("membership.ends_on", Way::Gate);
        }
    }
}

/// What a mask shows of its input.
fn shown(mask: &Mask) -> Seen {
    match mask {
        Mask::Present | Mask::Constant { .. } => Seen::Bit,
        Mask::Pseudonym { .. } => Seen::Pseudonym,
        Mask::Year | Mask::Month => Seen::Date,
        _ if mask.hides() => Seen::Part,
        _ => Seen::Whole,
    }
}

/// Returns the dates of which some output fields show age bands that cut each
/// other into narrow ones: two bands of ten years may leave one of two.
fn narrow_ages(fields: &[OutputField]) -> Vec<FieldRef> {
    let mut ages: BTreeMap<&FieldRef, BTreeSet<u16>> = BTreeMap::new();
    for field in fields {
        if let OutputValue::Scalar(projection) = &field.value
            && let (Some(from), Some(Mask::AgeBand { bands, .. })) =
                (&projection.from, &projection.mask)
        {
            let edges = bands.iter().map(|band| band.from);
            ages.entry(from).or_default().extend(edges);
        }
    }
    ages.retain(|_, edges| !are_wide(edges.iter().copied()));
    ages.into_keys().cloned().collect()
}

/// What a mask looks at beside its input, and what it shows of that.
fn needs(mask: &Mask) -> Vec<(Need, Seen)> {
    let seen = |need: &Need| match (mask, need) {
        (_, Need::Country) => Seen::Bit,
        (Mask::FullName, _) => Seen::Whole,
        // The first letters may be those of the prefix.
        (Mask::FirstLetters { key, .. }, _) if *key != SurnameKey::Kernwoord => shown(mask),
        (Mask::Initial { .. } | Mask::Pseudonym { .. }, _) => shown(mask),
        _ => Seen::Bit,
    };
    let needs = mask.needs().into_iter();
    needs.map(|need| (need.clone(), seen(&need))).collect()
}
