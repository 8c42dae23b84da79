//! From a file of `config/intake` to a compiled mapping: every mistake at once, with
//! its line and what was meant.

mod csv;
mod expression;
mod record;

use std::path::Path;

use jiff::tz::TimeZone;

use crate::config::Mistake;
use crate::config::document::{
    Located, TomlTable, TomlValue, describe_value, nearest_name, read_toml,
};
use crate::policy::catalogue::RecordKind;

use super::envelope::{ENVELOPES, Envelope, FRAMINGS, Framing};
use super::expression::Condition;
use super::lookup::{LookupDef, LookupStep};
use super::path::RowPath;
use super::topic::TopicPattern;
use super::{Intake, KEEP_REMOVED_DAYS_MAX, Opening};

use expression::ConditionRole;

/// Where a mapping says nothing: 512 MiB.
const LOOKUP_BYTES_DEFAULT: usize = 512 << 20;
/// Where a mapping says nothing: 1 GiB, six million records.
const VERSION_BYTES_DEFAULT: usize = 1 << 30;
/// Where a mapping says nothing.
const KEEP_REMOVED_DAYS_DEFAULT: i32 = 90;

/// Reads every `.toml` file of `folder`, in the order of their names; none where
/// there is no such folder.
///
/// # Errors
///
/// Every mistake of every file.
pub fn load_folder(folder: &Path, kinds: &[RecordKind]) -> Result<Vec<Intake>, Vec<Mistake>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.and_then(Iterator::collect::<Result<Vec<_>, _>>),
    };
    let entries = entries.map_err(|error| vec![unreadable(folder, &error)])?;
    let paths = entries.iter().map(std::fs::DirEntry::path);
    let is_toml = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "toml");
    let mut paths: Vec<_> = paths.filter(is_toml).collect();
    paths.sort();
    let mut intakes = Vec::new();
    let mut mistakes = Vec::new();
    for path in paths {
        match load_file(&path, kinds) {
            Ok(intake) => intakes.push(intake),
            Err(more) => mistakes.extend(more),
        }
    }
    if mistakes.is_empty() { Ok(intakes) } else { Err(mistakes) }
}

/// Reads one mapping.
///
/// # Errors
///
/// Every mistake of the file.
pub fn load_file(path: &Path, kinds: &[RecordKind]) -> Result<Intake, Vec<Mistake>> {
    let file = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| vec![unreadable(path, &error)])?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        vec![Mistake::new(&file, line, "bytes that are no UTF-8", "UTF-8 text")]
    })?;
    load_named(&file, &path.file_stem().unwrap_or_default().to_string_lossy(), &text, kinds)
}

/// Reads the text of a mapping that is called `name`.
#[cfg(test)]
pub(super) fn load_text(
    name: &str,
    text: &str,
    kinds: &[RecordKind],
) -> Result<Intake, Vec<Mistake>> {
    load_named(&format!("{name}.toml"), name, text, kinds)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Mistake {
    Mistake::new(&path.display().to_string(), 0, format!("cannot be read: {error}"), "a mapping")
}

fn load_named(
    file: &str,
    stem: &str,
    text: &str,
    kinds: &[RecordKind],
) -> Result<Intake, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let intake = read_toml(file, text, &mut mistakes, |table| read_intake(table, stem, kinds));
    match intake.flatten() {
        Some(intake) if mistakes.is_empty() => Ok(intake),
        _ => Err(mistakes),
    }
}

/// What the parts of a mapping know of each other.
pub(super) struct MappingContext<'a> {
    pub(super) kinds: &'a [RecordKind],
    pub(super) zone: TimeZone,
    /// The names of the lookups, each with those of its columns.
    pub(super) lookups: Vec<(String, Vec<String>)>,
}

impl MappingContext<'_> {
    /// The column that `written` names, as `item.barcode`.
    pub(super) fn resolve_step(
        &self,
        table: &TomlTable<'_>,
        written: &Located<String>,
    ) -> Option<LookupStep> {
        let find = || {
            let (lookup, column) = written.value.split_once('.')?;
            let lookup = self.lookups.iter().position(|(name, _)| name == lookup)?;
            let (_, columns) = self.lookups.get(lookup)?;
            let column = columns.iter().position(|name| name == column)?;
            Some(LookupStep { lookup, column })
        };
        let step = find();
        if step.is_none() {
            let known = self.lookups.iter();
            let known = known.flat_map(|(lookup, columns)| {
                columns.iter().map(move |column| format!("{lookup}.{column}"))
            });
            let known: Vec<String> = known.collect();
            let near = nearest_name(&written.value, known.iter().map(String::as_str));
            let found = format!("unknown lookup column `{}`", written.value);
            let expected = "a lookup and one of the columns that it keeps, as `item.barcode`";
            let mistake = Mistake::new(table.file(), written.line, found, expected);
            table.push_mistake(mistake.with_suggestion(near));
        }
        step
    }
}

fn read_intake(table: &TomlTable<'_>, stem: &str, kinds: &[RecordKind]) -> Option<Intake> {
    let name = table.require_string("name", "the mapping's name, which is the file's");
    if let Some(at) = name.filter(|at| at.value != stem) {
        let found = format!("`name` is \"{}\"", at.value);
        table.report_mistake(at.line, found, format!("\"{stem}\", as the file is called"));
    }
    table.string("system", "which system and connector it reads, for people");
    table.require_key("envelope", ENVELOPE_EXPECTED, None);
    let envelope = table.choice("envelope", ENVELOPES, ENVELOPE_EXPECTED);
    let envelope = envelope.map_or(Envelope::Row, |at| at.value);
    let framing = table.choice("framing", FRAMINGS, "what stands before a value");
    let framing = framing.map_or(Framing::Bare, |at| at.value);
    let zone = read_zone(table);
    let body = read_body(table);
    let lookup_bytes = read_bytes(table, "lookup_bytes_max", "lookups");
    let version_bytes = read_bytes(table, "version_bytes_max", "versions");
    let keep_removed_days = read_keep_removed_days(table);
    let mut context = MappingContext { kinds, zone, lookups: Vec::new() };
    let file = Opening { framing, envelope, body: body.as_ref() };
    let csv = csv::read_csv_files(table, envelope);
    let lookups = read_lookups(table, file, &mut context);
    let records = record::read_records(table, &context);
    Some(Intake {
        name: stem.to_owned(),
        framing,
        envelope,
        body,
        lookups,
        records,
        lookup_bytes_max: lookup_bytes.unwrap_or(LOOKUP_BYTES_DEFAULT),
        version_bytes_max: version_bytes.unwrap_or(VERSION_BYTES_DEFAULT),
        keep_removed_days,
        csv,
    })
}

const ENVELOPE_EXPECTED: &str = "what stands around a row";

fn read_bytes(table: &TomlTable<'_>, key: &str, of: &str) -> Option<usize> {
    let expected = format!("the memory that all {of} may have together, in bytes");
    let bytes = table.integer(key, 1..=1 << 40, &expected)?;
    usize::try_from(bytes.value).ok()
}

fn read_keep_removed_days(table: &TomlTable<'_>) -> i32 {
    let expected = "how long the version of a record is known that was taken back";
    let bounds = 1..=i64::from(KEEP_REMOVED_DAYS_MAX);
    let days = table.integer("keep_removed_days", bounds, expected);
    let days = days.and_then(|at| i32::try_from(at.value).ok());
    days.unwrap_or(KEEP_REMOVED_DAYS_DEFAULT)
}

fn read_zone(table: &TomlTable<'_>) -> TimeZone {
    let expected = "the time zone of the system's clocks, as \"Europe/Amsterdam\"";
    let Some(at) = table.require_string("zone", expected) else {
        return TimeZone::UTC;
    };
    TimeZone::get(&at.value).unwrap_or_else(|_| {
        let known: Vec<String> =
            jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
        let near = nearest_name(&at.value, known.iter().map(String::as_str));
        let found = format!("`zone` is \"{}\"", at.value);
        let mistake = Mistake::new(table.file(), at.line, found, expected);
        table.push_mistake(mistake.with_suggestion(near));
        TimeZone::UTC
    })
}

/// `body = { from = "jsonb", as = "json_text" }`.
fn read_body(table: &TomlTable<'_>) -> Option<RowPath> {
    let inner = table.table("body", "the column with the record as a JSON text")?;
    let from = inner.require_string("from", "the column's name");
    inner.require_key("as", "`json_text`", None);
    inner.choice("as", &[("json_text", ())], "how the column holds the record");
    inner.finish();
    let from = from?;
    let path = RowPath::parse(&from.value).filter(|_| !from.value.contains(['.', '[']));
    if path.is_none() {
        let found = format!("`from` is \"{}\"", from.value);
        table.report_mistake(from.line, found, "the name of a column");
    }
    path
}

/// A path into a row, told of where it is none.
pub(super) fn read_path(table: &TomlTable<'_>, written: &Located<String>) -> Option<RowPath> {
    let path = RowPath::parse(&written.value);
    if path.is_none() {
        let found = format!("\"{}\"", written.value);
        table.report_mistake(
            written.line,
            found,
            "a path, as `personal.email` or `addresses[primary=true].city`",
        );
    }
    path
}

/// A string or a list of them; none where the key is missing.
fn read_one_or_more(table: &TomlTable<'_>, key: &str, expected: &str) -> Vec<Located<String>> {
    let is_list = table.value(key).is_some_and(|at| at.value.get_ref().is_array());
    match is_list {
        true => table.strings(key, expected).map(|at| at.value).unwrap_or_default(),
        false => table.string(key, expected).into_iter().collect(),
    }
}

/// One topic or a list of them, each a name or a pattern.
pub(super) fn read_topics(table: &TomlTable<'_>) -> Vec<TopicPattern> {
    let expected = "the topics that it is read from, with `*` for any part without a dot";
    table.require_key("topic", expected, None);
    let written = read_one_or_more(table, "topic", expected);
    let parse = |at: &Located<String>| {
        let pattern = TopicPattern::parse(&at.value);
        if pattern.is_none() {
            table.report_mistake(at.line, format!("\"{}\" in `topic`", at.value), expected);
        }
        pattern
    };
    written.iter().filter_map(parse).collect()
}

fn read_lookups(
    table: &TomlTable<'_>,
    file: Opening<'_>,
    context: &mut MappingContext<'_>,
) -> Vec<LookupDef> {
    let Some(inner) = table.table("lookups", "tables by id, each with the columns it keeps") else {
        return Vec::new();
    };
    let mut lookups = Vec::new();
    for (name, value) in inner.entries() {
        let Some(lookup) = inner.as_table(value, name.line) else {
            let found = format!("`{}` is {}", name.value, describe_value(value.get_ref()));
            inner.report_mistake(name.line, found, "a table with `topic`, `id` and `keep`");
            continue;
        };
        let columns = read_columns(&lookup);
        context
            .lookups
            .push((name.value.clone(), columns.iter().map(|(column, _)| column.clone()).collect()));
        if let Some(read) = read_lookup(&lookup, file, context) {
            lookups.push(LookupDef { name: name.value, columns, ..read });
        }
        lookup.finish();
    }
    lookups
}

/// A lookup, without its name and columns; one that names no envelope has that of
/// the file, and its body.
fn read_lookup(
    table: &TomlTable<'_>,
    file: Opening<'_>,
    context: &MappingContext<'_>,
) -> Option<LookupDef> {
    let topics = read_topics(table);
    let own = table.choice("envelope", ENVELOPES, ENVELOPE_EXPECTED);
    let body = match (&own, read_body(table)) {
        (None, None) => file.body.cloned(),
        (_, body) => body,
    };
    let id = table.require_string("id", "the column that `through` looks a row up by");
    let conditions: Vec<Condition> =
        expression::read_conditions(table, "where", context, ConditionRole::InRow);
    let id = read_path(table, &id?)?;
    Some(LookupDef {
        name: String::new(),
        topics,
        envelope: own.map_or(file.envelope, |at| at.value),
        body,
        id,
        columns: Vec::new(),
        conditions,
    })
}

/// `keep`: a list of columns, or a table of names and paths.
fn read_columns(table: &TomlTable<'_>) -> Vec<(String, RowPath)> {
    let expected = "the columns that are kept: a list of them, or a table of names and paths";
    table.require_key("keep", expected, None);
    let is_table = table.value("keep").is_some_and(|at| at.value.get_ref().is_table());
    let written = match is_table {
        false => {
            let columns = table.strings("keep", expected).map(|at| at.value).unwrap_or_default();
            columns.into_iter().map(|column| (column.value.clone(), column)).collect()
        }
        true => {
            let inner = table.table("keep", expected);
            inner.map(|inner| read_named_paths(&inner)).unwrap_or_default()
        }
    };
    let parse = |(name, path): (String, Located<String>)| Some((name, read_path(table, &path)?));
    written.into_iter().filter_map(parse).collect()
}

fn read_named_paths(table: &TomlTable<'_>) -> Vec<(String, Located<String>)> {
    let entries = table.entries();
    let read = |(name, _): (Located<String>, &TomlValue<'_>)| {
        Some((name.value.clone(), table.string(&name.value, "a path")?))
    };
    entries.into_iter().filter_map(read).collect()
}
