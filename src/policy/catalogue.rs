//! The catalogue: what is known of each kind of record, field by field.

use super::form::Form;

/// What a field is to the law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    Plain,
    Personal,
    Contact,
    Identifier,
    Financial,
    NationalId,
    Special,
    FreeText,
    Secret,
}

/// What a field's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// A string; one that does not fit its form counts as missing.
    Text(Option<Form>),
    /// A string, and a national number where the card is one (docs/rules.md, section 4):
    /// then it is left out of every output.
    CardNumber,
    /// An integer as JSON writes it.
    Integer,
    Boolean,
    /// A string or a number, copied as written.
    TextOrNumber,
}

impl Type {
    /// Whether any string is a value of this type, but for an empty one.
    #[inline]
    #[must_use]
    pub fn takes_any_text(self) -> bool {
        matches!(
            self,
            Type::Text(None) | Type::CardNumber | Type::TextOrNumber
        )
    }
}

/// One known field of a kind.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its place: `surname`, `item.title`, `items[].due_on`, `interests[]`.
    pub path: String,
    pub kind: Type,
    pub class: Class,
    pub meaning: String,
    /// The values that conditions may name, where the field has a closed list.
    pub values: Vec<String>,
}

/// Which national number a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NationalNumber {
    /// The Dutch one, which nobody may have.
    Bsn,
    /// Any other one, which a recipient may be authorised to have.
    Other,
}

/// What fields that hold a Dutch national number are called.
const BSN_NAMES: [&str; 2] = ["bsn", "burgerservicenummer"];
/// What fields that hold a Belgian one are called.
const REGISTER_NAMES: [&str; 4] = ["rijksregisternummer", "rrn", "insz", "niss"];

impl Field {
    /// Which national number the field holds, by its name, its form or its class;
    /// `None` where it holds none.
    #[must_use]
    pub fn national_number(&self) -> Option<NationalNumber> {
        let last = self.path.rsplit('.').next().unwrap_or_default();
        let name = last.trim_end_matches("[]").to_ascii_lowercase();
        if BSN_NAMES.contains(&name.as_str()) || self.kind == Type::Text(Some(Form::Bsn)) {
            return Some(NationalNumber::Bsn);
        }
        let other = REGISTER_NAMES.contains(&name.as_str()) || self.is_national();
        other.then_some(NationalNumber::Other)
    }

    /// Whether it is a national number, by its form or by its class.
    #[must_use]
    pub fn is_national(&self) -> bool {
        let form = self.kind == Type::Text(Some(Form::Rijksregisternummer));
        form || self.class == Class::NationalId
    }
}

/// What a kind is to the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Fills the table; a null value erases.
    Patron,
    /// Decides over other records: read before them.
    Gate,
    Record,
}

/// One kind of record.
#[derive(Clone, Debug)]
pub struct Kind {
    pub name: String,
    pub title: String,
    /// The topic it comes from, without any prefix.
    pub topic: String,
    pub role: Role,
    /// The path of the record's own id.
    pub id: String,
    /// The message key is the patron id.
    pub keyed: bool,
    /// A field beyond the list refuses the record.
    pub closed: bool,
    /// A record may be of another library than its patron's (ILL).
    pub other_library: bool,
    pub fields: Vec<Field>,
}

impl Kind {
    /// The field at `path`.
    #[must_use]
    pub fn field(&self, path: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.path == path)
    }
}
