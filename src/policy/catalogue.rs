//! The catalogue: what is known of each kind of record, field by field.

use super::field_name::{self, Named};
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
    /// An instant at which the patron did something, which may imply a consent.
    Event,
}

impl Class {
    /// Whether a value of this class is one of a person, so that it may point at
    /// one.
    #[must_use]
    pub fn is_of_a_person(self) -> bool {
        match self {
            Class::Plain | Class::FreeText | Class::Secret => false,
            Class::Personal
            | Class::Contact
            | Class::Identifier
            | Class::Financial
            | Class::NationalId
            | Class::Special
            | Class::Event => true,
        }
    }

    /// Whether a detector of the patron's own values looks for values of this class.
    #[must_use]
    pub fn is_own_value(self) -> bool {
        matches!(
            self,
            Class::Personal
                | Class::Contact
                | Class::Identifier
                | Class::Financial
                | Class::NationalId
        )
    }
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

    /// Whether its values are dates or instants.
    #[must_use]
    pub fn is_dated(self) -> bool {
        matches!(self, Type::Text(Some(Form::Date | Form::Instant)))
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

impl Field {
    /// Returns which national number the field holds, by its name, its form or its
    /// class; `None` where it holds none.
    #[must_use]
    pub fn national_number(&self) -> Option<NationalNumber> {
        match self.is_bsn() {
            true => Some(NationalNumber::Bsn),
            false => self.is_national().then_some(NationalNumber::Other),
        }
    }

    /// Whether it is a national number: by its form, its class or its name.
    #[must_use]
    pub fn is_national(&self) -> bool {
        let form = self.kind == Type::Text(Some(Form::Rijksregisternummer));
        let named = || field_name::named(&self.path) == Some(Named::Rijksregisternummer);
        form || self.class == Class::NationalId || self.is_bsn() || named()
    }

    /// Whether it is a BSN: by its form or its name.
    #[must_use]
    pub fn is_bsn(&self) -> bool {
        let form = self.kind == Type::Text(Some(Form::Bsn));
        form || field_name::named(&self.path) == Some(Named::Bsn)
    }

    /// Whether its values may point at a person: by its class, or by a type that
    /// only persons have.
    #[must_use]
    pub fn is_of_a_person(&self) -> bool {
        let by_type = match self.kind {
            Type::CardNumber => true,
            Type::Text(Some(form)) => matches!(
                form,
                Form::Email | Form::Phone | Form::Iban | Form::Bsn | Form::Rijksregisternummer
            ),
            Type::Text(None) | Type::Integer | Type::Boolean | Type::TextOrNumber => false,
        };
        by_type || self.class.is_of_a_person()
    }

    /// Whether it is a date or year of birth, by its name.
    #[must_use]
    pub fn is_birth(&self) -> bool {
        field_name::is_birth(&self.path, self.kind.is_dated())
    }

    /// Whether its values are points of time finer than a day: by its type, or by
    /// its name where the type does not say what they are.
    #[must_use]
    pub fn is_finer_than_a_day(&self) -> bool {
        match self.kind {
            Type::Text(Some(form)) => form == Form::Instant,
            Type::Text(None) | Type::Integer | Type::TextOrNumber => {
                field_name::is_time(&self.path)
            }
            Type::CardNumber | Type::Boolean => false,
        }
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
