//! `[ledger]`: whether zeef writes down who received what, and how much of it.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::http_server::{ServerSettings, read_webhook};
use super::{Number, read_section, set_duration, set_integer};
use crate::config::document::{Mistake, TomlTable, nearest_name};
use crate::policy::refusal_class::RefusalClass;

/// The most characters of an operator's name.
const OPERATOR_MAX_CHARS: usize = 64;

/// Whether and how the ledger is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSettings {
    pub is_enabled: bool,
    /// Which refusals are written down.
    pub refusals: Vec<RefusalClass>,
    /// Precedes the ids of activities in their URIs.
    pub register_uri: String,
    /// Who gives commands, if the command line does not say it: a role or a pseudonym.
    pub operator: Option<String>,
    /// For how many years after its end the lines of a year are kept.
    pub keep_years: i16,
    pub checkpoints: CheckpointSettings,
}

/// Whether and how the ends of all chains are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointSettings {
    pub is_enabled: bool,
    pub interval: Duration,
    /// Which ledger it is; also the name of the key.
    pub origin: String,
    /// Where the newest one is kept outside.
    pub copy: Option<PathBuf>,
    /// Where each one is posted to.
    pub webhook: Option<ServerSettings>,
    /// How long a run goes on without a new checkpoint that could be kept; `None` for ever.
    pub stop_unanchored_after: Option<Duration>,
    /// What verifies those of former keys.
    pub former_keys: Vec<String>,
}

impl Default for CheckpointSettings {
    fn default() -> Self {
        CheckpointSettings {
            is_enabled: false,
            interval: Duration::from_secs(10),
            origin: "zeef.ledger".to_owned(),
            copy: None,
            webhook: None,
            stop_unanchored_after: None,
            former_keys: Vec::new(),
        }
    }
}

impl Default for LedgerSettings {
    fn default() -> Self {
        LedgerSettings {
            is_enabled: false,
            refusals: vec![
                RefusalClass::Consent,
                RefusalClass::Objection,
                RefusalClass::Authorisation,
                RefusalClass::Demand,
            ],
            register_uri: "urn:zeef:activity".to_owned(),
            operator: None,
            keep_years: 5,
            checkpoints: CheckpointSettings::default(),
        }
    }
}

/// Whether a name may stand for an operator. Neither a mail address nor a name with a space does,
/// so that few name a person.
#[must_use]
pub fn is_operator_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    (1..=OPERATOR_MAX_CHARS).contains(&name.len()) && name.chars().all(is_plain)
}

pub(super) fn read_ledger(root: &TomlTable<'_>, folder: &Path) -> LedgerSettings {
    const TITLE: &str = "who received what, written down";
    const REFUSALS: &str = "which refusals are written down: consent, objection, authorisation, \
                            demand, condition, term";
    const KEEP_YEARS: Number =
        Number("keep_years", 0..=100, "for how many years after its end a year is kept");
    const OPERATOR: &str = "who gives commands, a role or a pseudonym: up to 64 letters, digits, \
                            dots, slashes, underscores and hyphens";
    const REGISTER: &str = "a URI below which the activities of the register are found";
    read_section(root, "ledger", TITLE, |table, ledger: &mut LedgerSettings| {
        ledger.is_enabled = table.boolean_or("enabled", false, "whether the ledger is written");
        if let Some(named) = table.strings("refusals", REFUSALS) {
            let known: Vec<&str> = RefusalClass::ALL.iter().map(|&one| one.into()).collect();
            ledger.refusals.clear();
            for at in named.value {
                let mut all = RefusalClass::ALL.iter().copied();
                match all.find(|one| <&str>::from(*one) == at.value) {
                    Some(class) => ledger.refusals.push(class),
                    None => {
                        let suggestion = nearest_name(&at.value, known.iter().copied());
                        let found = format!("unknown refusal `{}`", at.value);
                        let expected = if suggestion.is_some() { "" } else { REFUSALS };
                        let mistake = Mistake::new(table.file(), at.line, found, expected);
                        table.push_mistake(mistake.with_suggestion(suggestion));
                    }
                }
            }
        }
        ledger.checkpoints = read_checkpoints(table, folder);
        set_integer(table, KEEP_YEARS, &mut ledger.keep_years);
        if let Some(at) = table.string("operator", OPERATOR) {
            match is_operator_name(&at.value) {
                true => ledger.operator = Some(at.value),
                false => {
                    table.report_mistake(at.line, "`operator` is not such a name", OPERATOR);
                }
            }
        }
        if let Some(at) = table.string("register", REGISTER) {
            if at.value.contains(':') && !at.value.contains(char::is_whitespace) {
                ledger.register_uri = at.value;
            } else {
                table.report_mistake(at.line, format!("`register` is \"{}\"", at.value), REGISTER);
            }
        }
    })
}

fn read_checkpoints(ledger: &TomlTable<'_>, folder: &Path) -> CheckpointSettings {
    const TITLE: &str = "the ends of all chains, signed";
    const ORIGIN: &str = "which ledger it is, without spaces and `+`, as example.org/zeef";
    const COPY: &str = "a file, from the config folder";
    const FORMER: &str = "what `zeef keys list` showed of former keys, as NAME+HASH+KEY";
    const SECONDS: RangeInclusive<i64> = 1..=31_536_000;
    read_section(ledger, "checkpoints", TITLE, |table, settings: &mut CheckpointSettings| {
        settings.is_enabled = table.boolean_or("enabled", false, "whether they are made");
        let every = Number("every_seconds", SECONDS, "how often the ends are looked at");
        set_duration(table, every, Duration::from_secs, &mut settings.interval);
        let stop = "for how long a run goes on while no checkpoint can be kept";
        let mut limit = Duration::ZERO;
        let seconds = Number("stop_unanchored_after_seconds", SECONDS, stop);
        set_duration(table, seconds, Duration::from_secs, &mut limit);
        settings.stop_unanchored_after = Some(limit).filter(|limit| !limit.is_zero());
        if let Some(at) = table.string("origin", ORIGIN) {
            let is_origin = !at.value.is_empty()
                && !at.value.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+');
            match is_origin {
                true => settings.origin = at.value,
                false => table.report_mistake(at.line, "`origin` is not such a name", ORIGIN),
            }
        }
        settings.webhook = read_webhook(table, folder);
        settings.copy = table.string("copy", COPY).map(|at| folder.join(at.value));
        if let Some(keys) = table.strings("former_keys", FORMER) {
            settings.former_keys = keys.value.into_iter().map(|key| key.value).collect();
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operator_names_are_roles_and_no_mail_addresses() {
        for name in ["balie", "privacy-desk", "ci/zeef.1", "Functionaris_G"] {
            assert!(is_operator_name(name), "{name}");
        }
        let long = "x".repeat(65);
        for name in ["", "Jan Jansen", "jan@example.org", "06-00000000 ", "é", "a\n", &long] {
            assert!(!is_operator_name(name), "{name}");
        }
    }
}
