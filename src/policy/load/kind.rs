//! A file of `config/records`: one kind of record and its fields.

use crate::policy::canonical::class_word;
use crate::policy::catalogue::{Class, Field, Kind, Role, Type};
use crate::policy::document::{At, Mistake, Table, Value, kind_of, listed, near};
use crate::policy::field_name::{self, Named};
use crate::policy::form::Form;
use crate::policy::name::{NameForm, PATH, SNAKE, TOPIC};

/// A kind, and where the parts of it stand that other files may clash with.
pub(super) struct KindDraft {
    pub(super) kind: Kind,
    pub(super) file: String,
    pub(super) topic_line: usize,
    pub(super) role_line: usize,
    /// Paths of fields whose type or class is mistaken.
    pub(super) untyped: Vec<String>,
    /// What an operator should know; nothing is wrong.
    pub(super) notes: Vec<String>,
}

const ROLES: &[(&str, Role)] = &[
    ("patron", Role::Patron),
    ("gate", Role::Gate),
    ("record", Role::Record),
];

const KEYS: &[(&str, bool)] = &[("patron", true), ("none", false)];

const CLASSES: &[(&str, Class)] = &[
    ("plain", Class::Plain),
    ("personal", Class::Personal),
    ("contact", Class::Contact),
    ("identifier", Class::Identifier),
    ("financial", Class::Financial),
    ("national_id", Class::NationalId),
    ("special", Class::Special),
    ("free_text", Class::FreeText),
    ("secret", Class::Secret),
    ("event", Class::Event),
];

/// Reads one kind. Where a part is mistaken, a stand-in takes its place, so
/// that what names it elsewhere is no mistake too.
pub(super) fn read(table: &Table<'_>, stem: &str) -> KindDraft {
    let name = checked(table, "name", SNAKE, "the kind's name, which is the file's");
    if let Some(at) = &name
        && at.value != stem
    {
        let found = format!("`name` is \"{}\"", at.value);
        table.mistake(at.line, found, format!("\"{stem}\", as the file is called"));
    }
    let title = table.need_text("title", "the kind's name in Dutch, for people");
    let topic = checked(
        table,
        "topic",
        TOPIC,
        "the topic that the records come from",
    );
    let role = table.choice("role", ROLES, "what the kind is to the pipeline");
    let id = table.need_text("id", "the path of the record's own id");
    let keyed = table.choice("key", KEYS, "what a message's key is");
    let closed = table.switch(
        "closed",
        false,
        "whether a field beyond the list refuses the record",
    );
    let other = table.switch(
        "other_library",
        false,
        "whether a record may be of another library than its patron's",
    );
    let mut read = ReadFields::default();
    let fields = fields(table, &mut read);
    let ReadFields { untyped, notes } = read;
    let kind = Kind {
        name: stem.to_owned(),
        title: title.map_or_else(String::new, |at| at.value),
        topic: topic.map_or_else(|| stem.to_owned(), |at| at.value),
        role: role.as_ref().map_or(Role::Record, |at| at.value),
        id: id.map_or_else(String::new, |at| at.value),
        keyed: keyed.is_none_or(|at| at.value),
        closed,
        other_library: other,
        fields,
    };
    identifiers(table, &kind, &untyped);
    cards(table, &kind, &untyped);
    gate(table, &kind, &untyped);
    KindDraft {
        topic_line: table.line_of("topic"),
        role_line: table.line_of("role"),
        file: table.file().to_owned(),
        untyped,
        notes,
        kind,
    }
}

/// A string of a form that has to be there.
pub(super) fn checked(
    table: &Table<'_>,
    key: &str,
    form: NameForm,
    expected: &str,
) -> Option<At<String>> {
    let text = table.need_text(key, expected)?;
    if !(form.fits)(&text.value) {
        let found = format!("`{key}` is \"{}\"", text.value);
        table.mistake(text.line, found, form.expected);
    }
    Some(text)
}

/// What is found while fields are read, beside them.
#[derive(Default)]
struct ReadFields {
    untyped: Vec<String>,
    notes: Vec<String>,
}

fn fields(table: &Table<'_>, read: &mut ReadFields) -> Vec<Field> {
    let expected = "the fields by their paths";
    table.need("fields", expected, None);
    let Some(inner) = table.table("fields", expected) else {
        return Vec::new();
    };
    let mut fields: Vec<Field> = Vec::new();
    for (path, value) in inner.entries() {
        let Some(field) = field(&inner, &path, value, read) else {
            continue;
        };
        if let Some(clash) = fields
            .iter()
            .find(|other| clashes(&other.path, &field.path))
        {
            let found = format!("`{}` beside `{}`", field.path, clash.path);
            inner.mistake(
                path.line,
                found,
                "a path that is one value, one object or one list",
            );
        }
        fields.push(field);
    }
    fields
}

/// Whether one path is a value and the other goes into it.
fn clashes(one: &str, other: &str) -> bool {
    let into = |outer: &str, inner: &str| {
        let outer = outer.strip_suffix("[]").unwrap_or(outer);
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.starts_with('.') || rest.starts_with("[]"))
    };
    into(one, other) || into(other, one)
}

fn field(
    table: &Table<'_>,
    path: &At<String>,
    value: &Value<'_>,
    read: &mut ReadFields,
) -> Option<Field> {
    if !(PATH.fits)(&path.value) {
        let found = format!("path `{}`", path.value);
        table.mistake(path.line, found, PATH.expected);
    }
    let Some(entry) = table.as_table(value, path.line) else {
        let found = format!("`{}` is {}", path.value, kind_of(value.get_ref()));
        table.mistake(path.line, found, "a table: `type`, `class` and `meaning`");
        return None;
    };
    if !entry.has("type") && !entry.has("class") && nested(&entry) {
        let found = format!("fields under `{}` without quotes", path.value);
        let expected = format!(
            "the whole path in quotes, as \"{}.name\" = {{ ... }}",
            path.value
        );
        table.mistake(path.line, found, expected);
        return None;
    }
    let (kind, class) = (kind(&entry), class(&entry));
    if kind.is_none() || class.is_none() {
        read.untyped.push(path.value.clone());
    }
    let kind = kind.unwrap_or(Type::Text(None));
    if class == Some(Class::Event) && kind != Type::Text(Some(Form::Instant)) {
        let found = format!("`{}` of the class `event`", path.value);
        entry.mistake(entry.line_of("class"), found, "an instant");
    }
    let declared = class.unwrap_or(Class::Plain);
    let class = class_by_name(&path.value, declared);
    if class != declared {
        read.notes.push(format!(
            "{}:{}: `{}` counts as `{}`, as its name says what it is",
            table.file(),
            path.line,
            path.value,
            class_word(class)
        ));
    }
    let field = Field {
        path: path.value.clone(),
        kind,
        class,
        meaning: meaning(&entry),
        values: values(&entry),
    };
    entry.finish();
    Some(field)
}

fn nested(table: &Table<'_>) -> bool {
    let entries = table.entries();
    entries.iter().any(|(_, value)| value.get_ref().is_table())
}

fn kind(table: &Table<'_>) -> Option<Type> {
    const EXPECTED: &str = "what the values are";
    table.need("type", EXPECTED, None);
    let word = table.text("type", EXPECTED)?;
    let kind = type_named(&word.value);
    if kind.is_none() {
        let words = type_words();
        let close = near(&word.value, words.iter().map(String::as_str));
        let found = format!("unknown type `{}`", word.value);
        let expected = format!("one of {}", listed(&words));
        table.push(Mistake::new(table.file(), word.line, found, expected).near(close));
    }
    kind
}

fn type_named(word: &str) -> Option<Type> {
    match word {
        "text" => Some(Type::Text(None)),
        "card_number" => Some(Type::CardNumber),
        "integer" => Some(Type::Integer),
        "boolean" => Some(Type::Boolean),
        "text_or_number" => Some(Type::TextOrNumber),
        form => Form::named(form).map(|form| Type::Text(Some(form))),
    }
}

fn type_words() -> Vec<String> {
    let own = [
        "text",
        "card_number",
        "integer",
        "boolean",
        "text_or_number",
    ];
    own.into_iter()
        .chain(Form::ALL.iter().map(|form| form.name()))
        .map(str::to_owned)
        .collect()
}

fn class(table: &Table<'_>) -> Option<Class> {
    const EXPECTED: &str = "what the field is to the law";
    table.need("class", EXPECTED, None);
    table.choice("class", CLASSES, EXPECTED).map(|at| at.value)
}

/// The class of a field whose name says what it is, whatever is declared.
fn class_by_name(path: &str, declared: Class) -> Class {
    match field_name::named(path) {
        // Nothing is stricter.
        _ if declared == Class::Secret => declared,
        Some(Named::Bsn | Named::Rijksregisternummer) => Class::NationalId,
        Some(Named::Secret) => Class::Secret,
        None => declared,
    }
}

fn meaning(table: &Table<'_>) -> String {
    table
        .need_text("meaning", "what the field says, in a few words")
        .map_or_else(String::new, |at| at.value)
}

fn values(table: &Table<'_>) -> Vec<String> {
    let texts = table.texts("values", "the values that conditions may name");
    texts.map_or_else(Vec::new, |at| {
        at.value.into_iter().map(|text| text.value).collect()
    })
}

/// Checks that the kinds by which patrons decide can do so: one that lacked a
/// field would stop nothing, and nobody would know.
fn gate(table: &Table<'_>, kind: &Kind, untyped: &[String]) {
    let fields: &[(&str, Option<Form>)] = match kind.name.as_str() {
        "consent" => &[
            ("purpose", None),
            ("recipient", None),
            ("decision", None),
            ("manner", None),
            ("at", Some(Form::Instant)),
        ],
        "objection" => &[("kind", None), ("purpose", None), ("status", None)],
        _ => return,
    };
    let name = &kind.name;
    if kind.role != Role::Gate {
        let found = format!("`{name}` without the role of a gate");
        table.mistake(table.line_of("role"), found, "`role = \"gate\"`");
    }
    if !kind.keyed {
        let found = format!("`{name}` without a patron");
        table.mistake(table.line_of("key"), found, "`key = \"patron\"`");
    }
    if kind.fields.is_empty() {
        return;
    }
    for (path, form) in fields {
        let line = table.line_of("fields");
        let Some(field) = kind.field(path) else {
            let close = near(path, kind.fields.iter().map(|field| field.path.as_str()));
            let found = format!("no field `{path}` in `{name}`");
            let expected = "it among the fields: what patrons decide is read from it";
            table.push(Mistake::new(table.file(), line, found, expected).near(close));
            continue;
        };
        let word = form.map_or("text", Form::name);
        if field.kind != Type::Text(*form) && !untyped.contains(&field.path) {
            let found = format!("`{path}` of another type in `{name}`");
            table.mistake(line, found, format!("the type `{word}`"));
        }
    }
}

/// What tells whether a card number is a national number.
const CARD_FIELDS: [&str; 3] = ["card_number", "card_kind", "rijksregisternummer"];

/// Checks that a card number is known as one, with what tells whether it is a
/// national number: else it would be shown as it stands.
fn cards(table: &Table<'_>, kind: &Kind, untyped: &[String]) {
    let typed = |field: &&Field| !untyped.contains(&field.path);
    let line = table.line_of("fields");
    let is_patron = kind.role == Role::Patron;
    for field in kind.fields.iter().filter(typed) {
        let is_text = matches!(field.kind, Type::Text(None) | Type::TextOrNumber);
        if is_patron && is_text && field_name::is_card_number(&field.path) {
            let found = format!("`{}` of another type", field.path);
            table.mistake(line, found, "the type `card_number`");
        }
    }
    let mut cards = kind.fields.iter().filter(typed);
    let Some(card) = cards.find(|field| field.kind == Type::CardNumber) else {
        return;
    };
    let lacking = CARD_FIELDS.iter().find(|path| kind.field(path).is_none());
    if let Some(path) = lacking {
        let found = format!("the card number `{}` without `{path}`", card.path);
        let expected = "`card_number`, `card_kind` and `rijksregisternummer` among the fields: they \
                        tell whether a card number is a national number";
        table.mistake(line, found, expected);
    }
}

/// Checks that the fields which every record must have are in the catalogue.
fn identifiers(table: &Table<'_>, kind: &Kind, untyped: &[String]) {
    let mut needed = vec![(kind.id.as_str(), "id", Class::Identifier)];
    if kind.keyed {
        needed.push(("patron_id", "key", Class::Identifier));
        needed.push(("library", "key", Class::Plain));
    }
    needed.retain(|(path, ..)| !path.is_empty() && !kind.fields.is_empty());
    needed.dedup_by_key(|(path, ..)| path.to_owned());
    for (path, key, class) in needed {
        let line = table.line_of(key);
        let Some(field) = kind.field(path) else {
            let close = near(path, kind.fields.iter().map(|field| field.path.as_str()));
            let found = format!("no field `{path}`");
            let expected = "it among the fields: every record must have it";
            table.push(Mistake::new(table.file(), line, found, expected).near(close));
            continue;
        };
        if untyped.contains(&field.path) {
            continue;
        }
        if !matches!(field.kind, Type::Text(_)) || field.path.contains("[]") {
            table.mistake(line, format!("`{path}` is no text"), "one string");
        }
        if class == Class::Identifier && field.class != class {
            table.mistake(
                line,
                format!("`{path}` has another class"),
                "the class `identifier`",
            );
        }
    }
    if kind.role == Role::Patron && kind.id != "patron_id" && !kind.id.is_empty() {
        let found = format!("`id` is \"{}\" in the kind of patrons", kind.id);
        table.mistake(table.line_of("id"), found, "\"patron_id\"");
    }
    if kind.role == Role::Patron && !kind.keyed {
        table.mistake(
            table.line_of("key"),
            "patrons without a key",
            "`key = \"patron\"`",
        );
    }
}
