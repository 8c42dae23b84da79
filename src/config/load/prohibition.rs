//! Reads what refuses the records of a kind whole: words without which there must be no
//! record, and texts that must have no personal data.

use crate::config::document::{Located, Mistake, TomlTable, join_quoted, nearest_name};
use crate::policy::catalogue::{CatalogueField, FieldType, ForbiddenWords, RecordKind, Role};

/// Reads `must_not_exist` and `anonymous` into `kind`, whose fields are known.
pub(crate) fn read_prohibitions(
    table: &TomlTable<'_>,
    kind: &mut RecordKind,
    untyped_fields: &[String],
) {
    const WORDS: &str = "fields, as { field = \"manner\", except = [\"written\"] }";
    let reader = ProhibitionReader { table, kind, untyped_fields };
    let tables = table.tables("must_not_exist", WORDS);
    let must_not_exist = tables.iter().filter_map(|inner| reader.read_words(inner)).collect();
    let texts = table.strings("anonymous", "the texts that must have no personal data");
    let texts = texts.map_or_else(Vec::new, |at| at.value);
    let anonymous = texts.iter().filter_map(|at| reader.read_anonymous(at)).collect();
    for key in ["must_not_exist", "anonymous"] {
        if kind.role != Role::Record && table.contains_key(key) {
            let found = format!("`{key}` in a kind with another role than a record's");
            table.report_mistake(table.line_of_key(key), found, "a kind without `role`");
        }
    }
    if kind.may_lack_patron && kind.role != Role::Record {
        let found = "`key = \"patron_or_id\"` in a kind with another role than a record's";
        table.report_mistake(table.line_of_key("key"), found, "`key = \"patron\"`");
    }
    kind.must_not_exist = must_not_exist;
    kind.anonymous_paths = anonymous;
}

struct ProhibitionReader<'a> {
    table: &'a TomlTable<'a>,
    kind: &'a RecordKind,
    untyped_fields: &'a [String],
}

impl ProhibitionReader<'_> {
    fn read_words(&self, inner: &TomlTable<'_>) -> Option<ForbiddenWords> {
        const EXCEPT: &str = "the words with which a record may exist";
        let path = inner.require_string("field", "the path of a field with listed values");
        inner.require_key("except", EXCEPT, None);
        let except = inner.strings("except", EXCEPT);
        inner.finish();
        let path = path?;
        let field = self.find_text(inner, &path)?;
        let is_typed = !self.untyped_fields.contains(&field.path);
        if field.allowed_values.is_empty()
            || (is_typed && field.field_type != FieldType::Text(None))
        {
            let found = format!("`{}`, which has no list of words", path.value);
            inner.report_mistake(path.line, found, "a field of the type `text` with `values`");
        }
        let except = except?.value;
        for word in except.iter().filter(|word| !field.allowed_values.contains(&word.value)) {
            let near = nearest_name(&word.value, field.allowed_values.iter().map(String::as_str));
            let found = format!("\"{}\" in `except`", word.value);
            let expected = format!("one of {}", join_quoted(&field.allowed_values));
            let mistake = Mistake::new(inner.file(), word.line, found, expected);
            inner.push_mistake(mistake.with_suggestion(near));
        }
        let except = except.into_iter().map(|word| word.value).collect();
        Some(ForbiddenWords { path: path.value, except })
    }

    fn read_anonymous(&self, at: &Located<String>) -> Option<String> {
        self.find_text(self.table, at)?;
        if at.value == self.kind.id_path || ["patron_id", "library"].contains(&at.value.as_str()) {
            let found = format!("the identifier `{}` in `anonymous`", at.value);
            self.table.report_mistake(at.line, found, "a text that is no identifier");
        }
        Some(at.value.clone())
    }

    /// Returns the field if it is one text of the record, and reports it if it is not.
    fn find_text(&self, table: &TomlTable<'_>, at: &Located<String>) -> Option<&CatalogueField> {
        let fields = &self.kind.fields;
        let Some(field) = self.kind.field(&at.value) else {
            let near = nearest_name(&at.value, fields.iter().map(|field| field.path.as_str()));
            let found = format!("unknown field `{}`", at.value);
            let expected = format!("a field of `{}`", self.kind.name);
            let mistake = Mistake::new(table.file(), at.line, found, expected);
            table.push_mistake(mistake.with_suggestion(near));
            return None;
        };
        let is_text = matches!(field.field_type, FieldType::Text(_)) && !field.path.contains("[]");
        if !is_text && !self.untyped_fields.contains(&field.path) {
            table.report_mistake(at.line, format!("`{}` is no text", at.value), "one string");
        }
        Some(field)
    }
}
