//! `[intakes]`: which mappings of library systems run inside the daemon.

use std::io;
use std::path::Path;

use super::{Number, read_section, set_integer};
use crate::config::document::{Mistake, TomlTable, nearest_name};

/// The intakes that `zeef run` starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntakeSettings {
    /// Names of files in `intake`, in the order of the setting.
    pub enabled: Vec<String>,
    /// How many threads each has; each of them holds all rows of its lookups.
    pub workers: usize,
}

impl Default for IntakeSettings {
    fn default() -> Self {
        IntakeSettings { enabled: Vec::new(), workers: 1 }
    }
}

/// `folder` is that of the config. What is in the mappings is checked by whoever loads them.
pub(super) fn read_intakes(root: &TomlTable<'_>, folder: &Path) -> IntakeSettings {
    const TITLE: &str = "which mappings run: `enabled`, a list of files in `intake`";
    read_section(root, "intakes", TITLE, |table, settings: &mut IntakeSettings| {
        const ENABLED: &str = "names of files in `intake`, without `.toml`";
        let known = mapping_names(folder).unwrap_or_else(|error| {
            let found = format!("{} cannot be read: {error}", folder.join("intake").display());
            table.report_mistake(table.line(), found, "a folder of mappings");
            Vec::new()
        });
        for at in table.strings("enabled", ENABLED).map_or_else(Vec::new, |at| at.value) {
            if settings.enabled.contains(&at.value) {
                let found = format!("`{}` twice in `enabled`", at.value);
                table.report_mistake(at.line, found, "each once");
            } else if known.contains(&at.value) {
                settings.enabled.push(at.value);
            } else {
                let suggestion = nearest_name(&at.value, known.iter().map(String::as_str));
                let found = format!("unknown intake `{}`", at.value);
                let expected = match suggestion {
                    Some(_) => "",
                    None => ENABLED,
                };
                let mistake = Mistake::new(table.file(), at.line, found, expected);
                table.push_mistake(mistake.with_suggestion(suggestion));
            }
        }
        let number = Number("workers", 1..=256, "how many threads of each intake");
        set_integer(table, number, &mut settings.workers);
    })
}

/// Returns the names of the mappings in `folder`, sorted; none where there is no folder of them.
fn mapping_names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder.join("intake")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?.collect::<io::Result<Vec<_>>>()?,
    };
    let paths = entries.iter().map(std::fs::DirEntry::path);
    let of_toml = paths.filter(|path| path.extension().is_some_and(|end| end == "toml"));
    let mut names: Vec<String> =
        of_toml.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}
