//! Reads a file of `config/records`: a kind of record and its fields.

use super::prohibition::read_prohibitions;
use super::term::read_term;
use crate::config::document::{
    Located, Mistake, TomlTable, TomlValue, describe_type, join_quoted, nearest_name,
};
use crate::policy::catalogue::{
    CatalogueField, DataClass, FieldType, RecordKind, Role, SourceDeletionRule,
};
use crate::policy::field_name::{self, SensitiveName};
use crate::policy::form::TextFormat;
use crate::policy::name::{FIELD_PATH, NameFormat, SNAKE_CASE_NAME, TOPIC_NAME};

/// A kind, with the lines of what may clash with other files.
pub(crate) struct KindDraft {
    pub(crate) kind: RecordKind,
    pub(crate) file: String,
    pub(crate) topic_line: usize,
    pub(crate) role_line: usize,
    pub(crate) settles_line: usize,
    /// Paths of fields with an invalid type or class.
    pub(crate) untyped_fields: Vec<String>,
    /// Warnings; nothing is wrong.
    pub(crate) notes: Vec<String>,
}

/// Whether records are keyed by their patron, and whether they may lack one.
const MESSAGE_KEYS: &[(&str, (bool, bool))] =
    &[("patron", (true, false)), ("patron_or_id", (true, true)), ("none", (false, false))];

/// Reads one kind. Invalid parts get a stand-in, so that references to them are no further
/// mistakes.
pub(crate) fn read_kind(table: &TomlTable<'_>, stem: &str) -> KindDraft {
    let name = require_name(table, "name", SNAKE_CASE_NAME, "the kind's name, which is the file's");
    if let Some(at) = &name
        && at.value != stem
    {
        let found = format!("`name` is \"{}\"", at.value);
        table.report_mistake(at.line, found, format!("\"{stem}\", as the file is called"));
    }
    let title = table.require_string("title", "the kind's name in Dutch, for people");
    let topic = require_name(table, "topic", TOPIC_NAME, "the topic that the records come from");
    let role = table.word("role", "what the kind is to the pipeline");
    let id = table.require_string("id", "the path of the record's own id");
    let key = table.choice("key", MESSAGE_KEYS, "what a message's key is");
    let closed =
        table.boolean_or("closed", false, "whether a field beyond the list refuses the record");
    let other_library = table.boolean_or(
        "other_library",
        false,
        "whether a record may be of another library than its patron's",
    );
    let settles = table.string("settles", "the kind whose records it settles");
    let gone = table.string("gone", GONE_EXPECTED);
    let mut findings = FieldFindings::default();
    let fields = read_fields(table, &mut findings);
    let FieldFindings { untyped_fields, notes } = findings;
    let (is_keyed_by_patron, may_lack_patron) = key.map_or((true, false), |at| at.value);
    let mut kind = RecordKind {
        name: stem.to_owned(),
        title: title.map_or_else(String::new, |at| at.value),
        topic: topic.map_or_else(|| stem.to_owned(), |at| at.value),
        role: role.as_ref().map_or(Role::Record, |at| at.value),
        id_path: id.map_or_else(String::new, |at| at.value),
        is_keyed_by_patron,
        may_lack_patron,
        is_closed: closed,
        must_not_exist: Vec::new(),
        anonymous_paths: Vec::new(),
        allows_other_library: other_library,
        settles: settles.map(|at| at.value),
        gone_path: gone.as_ref().map(|at| at.value.clone()),
        source_deletion: None,
        other_person_path: None,
        fields,
    };
    kind.source_deletion = read_source_deletion(table, &kind, &untyped_fields);
    read_prohibitions(table, &mut kind, &untyped_fields);
    check_identifiers(table, &kind, &untyped_fields);
    kind.other_person_path = read_other_person(table, &kind);
    check_card_numbers(table, &kind, &untyped_fields);
    check_gate_kind(table, &kind, &untyped_fields);
    check_settlement_kind(table, &kind);
    if let Some(gone) = &gone {
        check_gone(table, &kind, (gone, &untyped_fields));
    }
    KindDraft {
        topic_line: table.line_of_key("topic"),
        role_line: table.line_of_key("role"),
        settles_line: table.line_of_key("settles"),
        file: table.file().to_owned(),
        untyped_fields,
        notes,
        kind,
    }
}

/// Reads a required string of a format.
pub(crate) fn require_name(
    table: &TomlTable<'_>,
    key: &str,
    form: NameFormat,
    expected: &str,
) -> Option<Located<String>> {
    let text = table.require_string(key, expected)?;
    if !(form.is_valid)(&text.value) {
        let found = format!("`{key}` is \"{}\"", text.value);
        table.report_mistake(text.line, found, form.description);
    }
    Some(text)
}

/// Collected while fields are read.
#[derive(Default)]
struct FieldFindings {
    untyped_fields: Vec<String>,
    notes: Vec<String>,
}

fn read_fields(table: &TomlTable<'_>, findings: &mut FieldFindings) -> Vec<CatalogueField> {
    let expected = "the fields by their paths";
    table.require_key("fields", expected, None);
    let Some(inner) = table.table("fields", expected) else {
        return Vec::new();
    };
    let mut fields: Vec<CatalogueField> = Vec::new();
    for (path, value) in inner.entries() {
        let Some(field) = read_field(&inner, &path, value, findings) else {
            continue;
        };
        if let Some(clash) = fields.iter().find(|other| do_paths_clash(&other.path, &field.path)) {
            let found = format!("`{}` beside `{}`", field.path, clash.path);
            inner.report_mistake(
                path.line,
                found,
                "a path that is one value, one object or one list",
            );
        }
        fields.push(field);
    }
    fields
}

/// Returns whether one path is a value and the other goes through it.
fn do_paths_clash(one: &str, other: &str) -> bool {
    let into = |outer: &str, inner: &str| {
        let outer = outer.strip_suffix("[]").unwrap_or(outer);
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.starts_with('.') || rest.starts_with("[]"))
    };
    into(one, other) || into(other, one)
}

fn read_field(
    table: &TomlTable<'_>,
    path: &Located<String>,
    value: &TomlValue<'_>,
    findings: &mut FieldFindings,
) -> Option<CatalogueField> {
    if !(FIELD_PATH.is_valid)(&path.value) {
        let found = format!("path `{}`", path.value);
        table.report_mistake(path.line, found, FIELD_PATH.description);
    }
    let Some(entry) = table.as_table(value, path.line) else {
        let found = format!("`{}` is {}", path.value, describe_type(value.get_ref()));
        table.report_mistake(path.line, found, "a table: `type`, `class` and `meaning`");
        return None;
    };
    if !entry.contains_key("type") && !entry.contains_key("class") && has_nested_table(&entry) {
        let found = format!("fields under `{}` without quotes", path.value);
        let expected = format!("the whole path in quotes, as \"{}.name\" = {{ ... }}", path.value);
        table.report_mistake(path.line, found, expected);
        return None;
    }
    let (kind, class) = (read_type(&entry), read_class(&entry));
    if kind.is_none() || class.is_none() {
        findings.untyped_fields.push(path.value.clone());
    }
    let kind = kind.unwrap_or(FieldType::Text(None));
    if class == Some(DataClass::Event) && !kind.is_date_or_instant() {
        let found = format!("`{}` of the class `event`", path.value);
        entry.report_mistake(entry.line_of_key("class"), found, "a date or an instant");
    }
    let declared = class.unwrap_or(DataClass::Plain);
    let class = class_from_field_name(&path.value, declared);
    if class != declared {
        findings.notes.push(format!(
            "{}:{}: `{}` counts as `{}`, as its name says what it is",
            table.file(),
            path.line,
            path.value,
            class.into_str()
        ));
    }
    let field = CatalogueField {
        path: path.value.clone(),
        field_type: kind,
        class,
        meaning: read_meaning(&entry),
        meaning_nl: read_meaning_nl(&entry),
        allowed_values: read_values(&entry),
    };
    entry.finish();
    Some(field)
}

fn has_nested_table(table: &TomlTable<'_>) -> bool {
    let entries = table.entries();
    entries.iter().any(|(_, value)| value.get_ref().is_table())
}

fn read_type(table: &TomlTable<'_>) -> Option<FieldType> {
    const EXPECTED: &str = "what the values are";
    table.require_key("type", EXPECTED, None);
    let word = table.string("type", EXPECTED)?;
    let kind = FieldType::all().find(|(name, _)| *name == word.value).map(|(_, kind)| kind);
    if kind.is_none() {
        let words: Vec<_> = FieldType::all().map(|(name, _)| name.to_owned()).collect();
        let suggestion = nearest_name(&word.value, words.iter().map(String::as_str));
        let found = format!("unknown type `{}`", word.value);
        let expected = format!("one of {}", join_quoted(&words));
        table.push_mistake(
            Mistake::new(table.file(), word.line, found, expected).with_suggestion(suggestion),
        );
    }
    kind
}

fn read_class(table: &TomlTable<'_>) -> Option<DataClass> {
    const EXPECTED: &str = "what the field is to the law";
    table.require_key("class", EXPECTED, None);
    table.word("class", EXPECTED).map(|at| at.value)
}

/// Returns the class that a field's name implies, or else the declared one.
fn class_from_field_name(path: &str, declared: DataClass) -> DataClass {
    match field_name::sensitive_name(path) {
        // Secret is the strictest.
        _ if declared == DataClass::Secret => declared,
        Some(SensitiveName::Bsn | SensitiveName::Rijksregisternummer) => DataClass::NationalId,
        Some(SensitiveName::Secret) => DataClass::Secret,
        None => declared,
    }
}

fn read_meaning(table: &TomlTable<'_>) -> String {
    table
        .require_string("meaning", "what the field says, in a few words")
        .map_or_else(String::new, |at| at.value)
}

fn read_meaning_nl(table: &TomlTable<'_>) -> Option<String> {
    table.string("meaning_nl", "the same in Dutch, for partners").map(|at| at.value)
}

fn read_values(table: &TomlTable<'_>) -> Vec<String> {
    let texts = table.strings("values", "the values that conditions may name");
    texts.map_or_else(Vec::new, |at| at.value.into_iter().map(|text| text.value).collect())
}

const GONE_EXPECTED: &str =
    "the path of the boolean that says that the source no longer has a record";

/// Checks that the source's word for a record that is gone is one boolean of the kind, and that
/// the kind may have one: a patron is erased by a null, and what a patron said is never gone.
fn check_gone(
    table: &TomlTable<'_>,
    kind: &RecordKind,
    (gone, untyped_fields): (&Located<String>, &[String]),
) {
    let name = &kind.name;
    if kind.role == Role::Patron || matches!(name.as_str(), "consent" | "objection") {
        let found = format!("`gone` in the kind `{name}`");
        let expected = "none: a patron is erased by a null, and a consent or an objection is \
                        replaced by a later version";
        return table.report_mistake(gone.line, found, expected);
    }
    let Some(field) = kind.field(&gone.value) else {
        let near = kind.fields.iter().map(|field| field.path.as_str());
        let suggestion = nearest_name(&gone.value, near);
        let found = format!("no field `{}`", gone.value);
        return table.push_mistake(
            Mistake::new(table.file(), gone.line, found, GONE_EXPECTED).with_suggestion(suggestion),
        );
    };
    let is_typed = !untyped_fields.contains(&field.path);
    if is_typed && (field.field_type != FieldType::Boolean || field.path.contains("[]")) {
        let found = format!("`gone` is \"{}\", which is no boolean", gone.value);
        table.report_mistake(gone.line, found, GONE_EXPECTED);
    }
}

/// Reads until when the source must have deleted its own copy of a record.
fn read_source_deletion(
    table: &TomlTable<'_>,
    kind: &RecordKind,
    untyped_fields: &[String],
) -> Option<SourceDeletionRule> {
    const EXPECTED: &str = "{ field = \"source_deleted_at\", from = \"at\", within = \"P7D\" }";
    let inner = table.table("source_deletion", EXPECTED)?;
    if kind.role != Role::Record {
        let found = format!("`source_deletion` in the kind `{}`", kind.name);
        inner.report_mistake(inner.line(), found, "none: only plain records are passed on");
    }
    let read = |key| {
        let at = inner.require_string(key, "the path of a date or an instant")?;
        check_dated_field(&inner, kind, (&at, untyped_fields));
        Some(at.value)
    };
    let (deleted_path, start_path) = (read("field"), read("from"));
    let within = read_term(&inner, "within");
    inner.finish();
    Some(SourceDeletionRule {
        deleted_path: deleted_path?,
        start_path: start_path?,
        within: within?,
    })
}

/// Checks that a path is of one date or instant of the kind.
fn check_dated_field(
    table: &TomlTable<'_>,
    kind: &RecordKind,
    (at, untyped_fields): (&Located<String>, &[String]),
) {
    const EXPECTED: &str = "a date or an instant of the kind";
    let Some(field) = kind.field(&at.value) else {
        let near = kind.fields.iter().map(|field| field.path.as_str());
        let suggestion = nearest_name(&at.value, near);
        let found = format!("no field `{}`", at.value);
        return table.push_mistake(
            Mistake::new(table.file(), at.line, found, EXPECTED).with_suggestion(suggestion),
        );
    };
    let is_single = !field.path.contains("[]");
    let is_typed = !untyped_fields.contains(&field.path);
    if is_typed && !(is_single && field.field_type.is_date_or_instant()) {
        let found = format!("`{}`, which is neither a date nor an instant", at.value);
        table.report_mistake(at.line, found, EXPECTED);
    }
}

/// Checks that gate kinds have the fields that decide: without one, they would silently stop
/// nothing.
fn check_gate_kind(table: &TomlTable<'_>, kind: &RecordKind, untyped_fields: &[String]) {
    let fields: &[(&str, Option<TextFormat>)] = match kind.name.as_str() {
        "consent" => &[
            ("purpose", None),
            ("recipient", None),
            ("decision", None),
            ("manner", None),
            ("at", Some(TextFormat::Instant)),
        ],
        "objection" => &[("kind", None), ("purpose", None), ("status", None)],
        _ => return,
    };
    let name = &kind.name;
    if kind.role != Role::Gate {
        let found = format!("`{name}` without the role of a gate");
        table.report_mistake(table.line_of_key("role"), found, "`role = \"gate\"`");
    }
    if !kind.is_keyed_by_patron {
        let found = format!("`{name}` without a patron");
        table.report_mistake(table.line_of_key("key"), found, "`key = \"patron\"`");
    }
    if kind.fields.is_empty() {
        return;
    }
    for (path, form) in fields {
        let line = table.line_of_key("fields");
        let Some(field) = kind.field(path) else {
            let suggestion =
                nearest_name(path, kind.fields.iter().map(|field| field.path.as_str()));
            let found = format!("no field `{path}` in `{name}`");
            let expected = "it among the fields: what patrons decide is read from it";
            table.push_mistake(
                Mistake::new(table.file(), line, found, expected).with_suggestion(suggestion),
            );
            continue;
        };
        let word = FieldType::Text(*form).name();
        if field.field_type != FieldType::Text(*form) && !untyped_fields.contains(&field.path) {
            let found = format!("`{path}` of another type in `{name}`");
            table.report_mistake(line, found, format!("the type `{word}`"));
        }
    }
}

/// Checks that a kind that settles others is a gate of patrons, so that it is read first.
fn check_settlement_kind(table: &TomlTable<'_>, kind: &RecordKind) {
    if kind.settles.is_none() {
        return;
    }
    let line = table.line_of_key("settles");
    if kind.role != Role::Gate {
        table.report_mistake(line, "`settles` without the role of a gate", "`role = \"gate\"`");
    }
    if !kind.is_keyed_by_patron {
        table.report_mistake(line, "`settles` without a patron", "`key = \"patron\"`");
    }
    if matches!(kind.name.as_str(), "consent" | "objection") {
        let found = format!("`settles` in `{}`", kind.name);
        table.report_mistake(line, found, "a kind of its own for what settles others");
    }
}

/// Checks that what a kind settles is there, and that its records can name one.
pub(super) fn check_settled_kind(draft: &KindDraft, kinds: &[KindDraft]) -> Option<Mistake> {
    let settled = draft.kind.settles.as_ref()?;
    let mistake = |found: String, expected: String| {
        Some(Mistake::new(&draft.file, draft.settles_line, found, expected))
    };
    let Some(of) = kinds.iter().map(|one| &one.kind).find(|kind| kind.name == *settled) else {
        let names = kinds.iter().map(|one| one.kind.name.as_str());
        let suggestion = nearest_name(settled, names);
        let found = format!("no kind of record is called `{settled}`");
        return mistake(found, "the name of a kind, as its file is called".to_owned())
            .map(|mistake| mistake.with_suggestion(suggestion));
    };
    if of.role != Role::Record || !of.is_keyed_by_patron {
        let found = format!("`settles = \"{settled}\"`");
        return mistake(found, "a kind of records of patrons".to_owned());
    }
    let named = draft.kind.field(&of.id_path).map(|field| field.field_type);
    if named != Some(FieldType::Text(None)) {
        let found = format!("no text `{}` in `{}`", of.id_path, draft.kind.name);
        return mistake(found, format!("it among the fields: it names the `{settled}`"));
    }
    None
}

/// The fields that tell whether a card number is a national number.
const CARD_NUMBER_FIELDS: [&str; 3] = ["card_number", "card_kind", "rijksregisternummer"];

/// Checks that a card number has its type and [`CARD_NUMBER_FIELDS`]; otherwise it would be
/// released unchecked.
fn check_card_numbers(table: &TomlTable<'_>, kind: &RecordKind, untyped_fields: &[String]) {
    let typed = |field: &&CatalogueField| !untyped_fields.contains(&field.path);
    let line = table.line_of_key("fields");
    let is_patron = kind.role == Role::Patron;
    for field in kind.fields.iter().filter(typed) {
        let is_text = matches!(field.field_type, FieldType::Text(None) | FieldType::TextOrNumber);
        if is_patron && is_text && field_name::is_card_number_name(&field.path) {
            let found = format!("`{}` of another type", field.path);
            table.report_mistake(line, found, "the type `card_number`");
        }
    }
    let mut cards = kind.fields.iter().filter(typed);
    let Some(card) = cards.find(|field| field.field_type == FieldType::CardNumber) else {
        return;
    };
    let lacking = CARD_NUMBER_FIELDS.iter().find(|path| kind.field(path).is_none());
    if let Some(path) = lacking {
        let found = format!("the card number `{}` without `{path}`", card.path);
        let expected = "`card_number`, `card_kind` and `rijksregisternummer` among the fields: they \
                        tell whether a card number is a national number";
        table.report_mistake(line, found, expected);
    }
}

/// Checks that the catalogue has the fields required of every record.
/// Reads which field is the id of another patron.
fn read_other_person(table: &TomlTable<'_>, kind: &RecordKind) -> Option<String> {
    const EXPECTED: &str = "the path of another patron's id in an object, as guarantor.patron_id";
    let at = table.string("other_person", EXPECTED)?;
    let Some(field) = kind.field(&at.value) else {
        let suggestion =
            nearest_name(&at.value, kind.fields.iter().map(|field| field.path.as_str()));
        let found = format!("no field `{}`", at.value);
        let mistake = Mistake::new(table.file(), at.line, found, EXPECTED);
        table.push_mistake(mistake.with_suggestion(suggestion));
        return None;
    };
    let is_text = matches!(field.field_type, FieldType::Text(_));
    let is_id = is_text && field.class == DataClass::Identifier;
    if !is_id || !at.value.contains('.') || at.value.contains("[]") {
        let found = format!("`{}` is no such id", at.value);
        table.report_mistake(at.line, found, format!("{EXPECTED}, text of the class `identifier`"));
        return None;
    }
    Some(at.value)
}

fn check_identifiers(table: &TomlTable<'_>, kind: &RecordKind, untyped_fields: &[String]) {
    let mut needed = vec![(kind.id_path.as_str(), "id", DataClass::Identifier)];
    if kind.is_keyed_by_patron {
        needed.push(("patron_id", "key", DataClass::Identifier));
        needed.push(("library", "key", DataClass::Plain));
    }
    needed.retain(|(path, ..)| !path.is_empty() && !kind.fields.is_empty());
    needed.dedup_by_key(|(path, ..)| path.to_owned());
    for (path, key, class) in needed {
        let line = table.line_of_key(key);
        let Some(field) = kind.field(path) else {
            let suggestion =
                nearest_name(path, kind.fields.iter().map(|field| field.path.as_str()));
            let found = format!("no field `{path}`");
            let expected = "it among the fields: every record must have it";
            table.push_mistake(
                Mistake::new(table.file(), line, found, expected).with_suggestion(suggestion),
            );
            continue;
        };
        if untyped_fields.contains(&field.path) {
            continue;
        }
        if !matches!(field.field_type, FieldType::Text(_)) || field.path.contains("[]") {
            table.report_mistake(line, format!("`{path}` is no text"), "one string");
        }
        if class == DataClass::Identifier && field.class != class {
            table.report_mistake(
                line,
                format!("`{path}` has another class"),
                "the class `identifier`",
            );
        }
    }
    if kind.role == Role::Patron && kind.id_path != "patron_id" && !kind.id_path.is_empty() {
        let found = format!("`id` is \"{}\" in the kind of patrons", kind.id_path);
        table.report_mistake(table.line_of_key("id"), found, "\"patron_id\"");
    }
    if kind.role == Role::Patron && !kind.is_keyed_by_patron {
        table.report_mistake(
            table.line_of_key("key"),
            "patrons without a key",
            "`key = \"patron\"`",
        );
    }
}
