//! Reads `config/register`: who answers, and the activities that are no recipient's.

use std::path::Path;

use crate::config::Mistake;
use crate::config::document::{TomlTable, read_toml};
use crate::policy::form::Date;

/// Who answers for all processing, and where patrons can ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controller {
    pub name: String,
    pub address: String,
    pub contact: String,
    /// The data protection officer.
    pub officer: String,
    pub officer_contact: String,
}

impl Controller {
    /// Returns its required texts with their labels.
    #[must_use]
    pub fn cells(&self) -> [(&'static str, &str); 5] {
        [
            ("naam", &self.name),
            ("adres", &self.address),
            ("contact", &self.contact),
            ("functionaris gegevensbescherming", &self.officer),
            ("contact van de functionaris", &self.officer_contact),
        ]
    }
}

/// A processing that zeef takes no part in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtherActivity {
    pub name: String,
    pub title: String,
    pub flow: String,
    pub purpose: String,
    pub legal_basis: String,
    pub persons: String,
    pub data: Vec<String>,
    pub recipients: Vec<String>,
    pub transfers: String,
    pub retention: String,
    pub security: String,
    /// The day and the place of the notice to patrons.
    pub notice: Option<(String, String)>,
    /// For what a national number is used in it, if one is.
    pub national_number: Option<String>,
}

/// What `config/register` says.
#[derive(Clone, Debug, Default)]
pub struct RegisterFiles {
    /// `None` without `controller.toml`.
    pub controller: Option<Controller>,
    /// Sorted by flow.
    pub activities: Vec<OtherActivity>,
}

const CONTROLLER_STEM: &str = "controller";

/// Reads every `.toml` file of `folder`; nothing where there is no such folder. What a file lacks
/// is no mistake: the register says that it is missing.
///
/// # Errors
///
/// Every mistake of every file.
pub fn load_folder(folder: &Path) -> Result<RegisterFiles, Vec<Mistake>> {
    let mut files = RegisterFiles::default();
    let unreadable = |path: &Path, error: std::io::Error| {
        let found = format!("cannot be read: {error}");
        vec![Mistake::new(&path.display().to_string(), 0, found, "a file of the register")]
    };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(files),
        entries => entries.map_err(|error| unreadable(folder, error))?,
    };
    let entries = entries.collect::<Result<Vec<_>, _>>();
    let entries = entries.map_err(|error| unreadable(folder, error))?;
    let paths = entries.iter().map(std::fs::DirEntry::path);
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "toml")).collect();
    paths.sort();
    let mut mistakes = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match std::fs::read_to_string(&path) {
            Err(error) => mistakes.extend(unreadable(&path, error)),
            Ok(text) if stem == CONTROLLER_STEM => {
                files.controller = read_toml(&name, &text, &mut mistakes, read_controller);
            }
            Ok(text) => {
                let read = |table: &TomlTable<'_>| read_activity(table, &stem);
                files.activities.extend(read_toml(&name, &text, &mut mistakes, read));
            }
        }
    }
    files.activities.sort_by(|one, other| (&one.flow, &one.name).cmp(&(&other.flow, &other.name)));
    if mistakes.is_empty() { Ok(files) } else { Err(mistakes) }
}

fn text(table: &TomlTable<'_>, key: &str, expected: &str) -> String {
    table.string(key, expected).map_or_else(String::new, |at| at.value)
}

fn read_controller(table: &TomlTable<'_>) -> Controller {
    if let Some(at) = table.string("base_uri", "") {
        let expected = "`register` in [ledger] of zeef.toml, which the ledger has, too";
        table.report_mistake(at.line, "`base_uri` is no longer a key", expected);
    }
    Controller {
        name: text(table, "name", "the library's name"),
        address: text(table, "address", "its postal address"),
        contact: text(table, "contact", "where patrons can ask"),
        officer: text(table, "officer", "the data protection officer"),
        officer_contact: text(table, "officer_contact", "where the officer is reached"),
    }
}

fn read_activity(table: &TomlTable<'_>, stem: &str) -> OtherActivity {
    if let Some(name) = table.require_string("name", "the activity's name, which is the file's")
        && name.value != stem
    {
        let found = format!("`name` is \"{}\"", name.value);
        table.report_mistake(name.line, found, format!("\"{stem}\", as the file is called"));
    }
    let list = |key: &str, expected: &str| {
        let texts = table.strings(key, expected);
        texts.map_or_else(Vec::new, |at| at.value.into_iter().map(|text| text.value).collect())
    };
    let national_number = table.string("national_number", "for what a national number is used");
    OtherActivity {
        name: stem.to_owned(),
        title: text(table, "title", "what it is called, in Dutch"),
        flow: text(table, "flow", "the id of its flow"),
        purpose: text(table, "purpose", "for what it is done"),
        legal_basis: text(table, "legal_basis", "its legal basis, with the article"),
        persons: text(table, "persons", "the categories of persons"),
        data: list("data", "the classes of data"),
        recipients: list("recipients", "who receives any of it"),
        transfers: text(table, "transfers", "transfers outside the European Economic Area"),
        retention: text(table, "retention", "for how long it is kept"),
        security: text(table, "security", "how it is protected"),
        notice: read_notice(table),
        national_number: national_number.map(|at| at.value),
    }
}

fn read_notice(table: &TomlTable<'_>) -> Option<(String, String)> {
    let notice = table.table("notice", "`{ on = \"2026-01-31\", where = \"...\" }`")?;
    let on = notice.require_string("on", "the day, as 2026-01-31");
    let place = notice.require_string("where", "where patrons can read it");
    if let Some(on) = on.as_ref().filter(|on| Date::parse(&on.value).is_none()) {
        notice.report_mistake(
            on.line,
            format!("`on` is \"{}\"", on.value),
            "a day of the calendar",
        );
    }
    notice.finish();
    Some((on?.value, place?.value))
}
