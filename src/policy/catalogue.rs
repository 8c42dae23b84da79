//! The catalogue: kinds of record and their fields.

use super::field_name::{self, SensitiveName};
use super::form::TextFormat;
use super::term::Term;
use strum::VariantArray as _;

/// The legal class of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum DataClass {
    Plain,
    Personal,
    Contact,
    Identifier,
    Financial,
    NationalId,
    Special,
    FreeText,
    Secret,
    /// A day or an instant on which the patron did something; may imply consent.
    Event,
}

impl DataClass {
    /// Returns whether values of this class are about a person and may identify one.
    #[must_use]
    pub fn is_personal_data(self) -> bool {
        match self {
            DataClass::Plain | DataClass::FreeText | DataClass::Secret => false,
            DataClass::Personal
            | DataClass::Contact
            | DataClass::Identifier
            | DataClass::Financial
            | DataClass::NationalId
            | DataClass::Special
            | DataClass::Event => true,
        }
    }

    /// Returns whether detectors search for values of this class in free text.
    #[must_use]
    pub fn is_searched_as_own_value(self) -> bool {
        matches!(
            self,
            DataClass::Personal
                | DataClass::Contact
                | DataClass::Identifier
                | DataClass::Financial
                | DataClass::NationalId
        )
    }
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// A string; counts as missing if it does not match its format.
    Text(Option<TextFormat>),
    /// A string; omitted from every output if it is a national number (docs/rules.md, section 4).
    CardNumber,
    /// An integer as JSON writes it.
    Integer,
    Boolean,
    /// A string or a number, copied as written.
    TextOrNumber,
}

impl FieldType {
    const WITHOUT_FORMAT: [(&str, FieldType); 5] = [
        ("text", FieldType::Text(None)),
        ("card_number", FieldType::CardNumber),
        ("integer", FieldType::Integer),
        ("boolean", FieldType::Boolean),
        ("text_or_number", FieldType::TextOrNumber),
    ];

    /// Returns every type with its word in the catalogue.
    pub fn all() -> impl Iterator<Item = (&'static str, FieldType)> {
        let with_format = TextFormat::VARIANTS.iter();
        let with_format = with_format.map(|form| (form.into_str(), FieldType::Text(Some(*form))));
        FieldType::WITHOUT_FORMAT.into_iter().chain(with_format)
    }

    /// Returns the word of the type in the catalogue.
    #[must_use]
    pub fn name(self) -> &'static str {
        FieldType::all().find(|(_, one)| *one == self).map_or("", |(name, _)| name)
    }

    /// Returns whether any string except the empty one is valid.
    #[inline]
    #[must_use]
    pub fn accepts_any_text(self) -> bool {
        matches!(self, FieldType::Text(None) | FieldType::CardNumber | FieldType::TextOrNumber)
    }

    /// Returns whether its values are dates or instants.
    #[must_use]
    pub fn is_date_or_instant(self) -> bool {
        matches!(self, FieldType::Text(Some(TextFormat::Date | TextFormat::Instant)))
    }
}

/// One known field of a kind.
#[derive(Clone, Debug)]
pub struct CatalogueField {
    /// As `surname`, `item.title`, `items[].due_on`, `interests[]`.
    pub path: String,
    pub field_type: FieldType,
    pub class: DataClass,
    pub meaning: String,
    /// The meaning in Dutch, for partners and patrons.
    pub meaning_nl: Option<String>,
    /// The only values that conditions may name; empty for any.
    pub allowed_values: Vec<String>,
}

/// Which national number a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NationalNumberKind {
    /// Never released.
    Bsn,
    /// Released with an authorisation.
    Other,
}

impl CatalogueField {
    /// Returns the kind of national number by the field's name, format or class; `None` if it is
    /// none.
    #[must_use]
    pub fn national_number_kind(&self) -> Option<NationalNumberKind> {
        match self.is_bsn() {
            true => Some(NationalNumberKind::Bsn),
            false => self.is_national_number().then_some(NationalNumberKind::Other),
        }
    }

    /// Returns whether the field is a national number by its format, class or name.
    #[must_use]
    pub fn is_national_number(&self) -> bool {
        let form = self.field_type == FieldType::Text(Some(TextFormat::Rijksregisternummer));
        let named =
            || field_name::sensitive_name(&self.path) == Some(SensitiveName::Rijksregisternummer);
        form || self.class == DataClass::NationalId || self.is_bsn() || named()
    }

    /// Returns whether the field is a BSN by its format or name.
    #[must_use]
    pub fn is_bsn(&self) -> bool {
        let form = self.field_type == FieldType::Text(Some(TextFormat::Bsn));
        form || field_name::sensitive_name(&self.path) == Some(SensitiveName::Bsn)
    }

    /// Returns whether an authority that the law lets ask for a field may get it (F36).
    #[must_use]
    pub fn may_be_demanded(&self) -> bool {
        let is_kept = matches!(self.class, DataClass::Secret | DataClass::FreeText);
        !is_kept && !self.is_national_number()
    }

    /// Returns whether values may identify a person, by class or type.
    #[must_use]
    pub fn is_personal_data(&self) -> bool {
        let by_type = match self.field_type {
            FieldType::CardNumber => true,
            FieldType::Text(Some(form)) => matches!(
                form,
                TextFormat::Email
                    | TextFormat::Phone
                    | TextFormat::Iban
                    | TextFormat::Bsn
                    | TextFormat::Rijksregisternummer
            ),
            FieldType::Text(None)
            | FieldType::Integer
            | FieldType::Boolean
            | FieldType::TextOrNumber => false,
        };
        by_type || self.class.is_personal_data()
    }

    /// Returns whether the field is a date or year of birth by its name.
    #[must_use]
    pub fn is_birth_date(&self) -> bool {
        field_name::is_birth_date_name(&self.path, self.field_type.is_date_or_instant())
    }

    /// Returns whether values are finer than a day, by type or, if that does not tell, by name.
    #[must_use]
    pub fn has_time_of_day(&self) -> bool {
        match self.field_type {
            FieldType::Text(Some(form)) => form == TextFormat::Instant,
            FieldType::Text(None) | FieldType::Integer | FieldType::TextOrNumber => {
                field_name::is_time_name(&self.path)
            }
            FieldType::CardNumber | FieldType::Boolean => false,
        }
    }
}

/// The role of a kind in the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Role {
    /// Fills the patron table; a null erases.
    Patron,
    /// Decides over other records, and is read before them.
    Gate,
    Record,
}

/// A field that refuses its record whole by every text that is not listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForbiddenWords {
    pub path: String,
    pub except: Vec<String>,
}

/// Until when the source of a record must have deleted its own copy (F39).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceDeletionRule {
    /// The path of the date or instant of the deletion; missing, the source still has its copy.
    pub deleted_path: String,
    /// The path of the date or instant that the term runs from.
    pub start_path: String,
    pub within: Term,
}

/// One kind of record.
#[derive(Clone, Debug)]
pub struct RecordKind {
    pub name: String,
    pub title: String,
    /// Without any prefix.
    pub topic: String,
    pub role: Role,
    /// The path of the record's id.
    pub id_path: String,
    /// The message key is the patron id.
    pub is_keyed_by_patron: bool,
    /// A record may lack the patron id: its message key is then its own id, and it has no patron.
    pub may_lack_patron: bool,
    /// An unlisted field refuses the record; where there are no patrons, a message key does, too.
    pub is_closed: bool,
    /// What refuses a record whole beside that.
    pub must_not_exist: Vec<ForbiddenWords>,
    /// Texts in which no detector may find anything, or the record is refused whole.
    pub anonymous_paths: Vec<String>,
    /// A record may be of another library than its patron (ILL).
    pub allows_other_library: bool,
    /// The kind whose records it settles, by naming their ids (F10). Only of a gate kind.
    pub settles: Option<String>,
    /// The path of the boolean that says that the source no longer has a record, or no longer
    /// knows whose it is; `None` if the kind has none.
    pub gone_path: Option<String>,
    /// Until when the source must have deleted its own copy; `None` if it need not.
    pub source_deletion: Option<SourceDeletionRule>,
    /// The path of another patron's id: it and the fields beside it in its object are about that
    /// person.
    pub other_person_path: Option<String>,
    pub fields: Vec<CatalogueField>,
}

impl RecordKind {
    /// Returns the field at `path`.
    #[must_use]
    pub fn field(&self, path: &str) -> Option<&CatalogueField> {
        self.fields.iter().find(|field| field.path == path)
    }

    /// Returns the path of the id of the other person whom a field is about, if it is.
    #[must_use]
    pub fn other_person_of(&self, path: &str) -> Option<&str> {
        let id_path = self.other_person_path.as_deref()?;
        let (object, _) = id_path.rsplit_once('.')?;
        let rest = path.strip_prefix(object)?;
        rest.starts_with('.').then_some(id_path)
    }

    /// Returns the paths without which a record is refused whole, each once.
    #[must_use]
    pub fn required_paths(&self) -> Vec<&str> {
        let has_patron = self.is_keyed_by_patron && !self.may_lack_patron;
        let patron_id = has_patron.then_some("patron_id");
        let library = self.field("library").map(|_| "library");
        let others = patron_id.into_iter().chain(library);
        std::iter::once(self.id_path.as_str())
            .chain(others.filter(|path| *path != self.id_path))
            .collect()
    }
}
