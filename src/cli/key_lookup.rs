//! The keys that a command works with: those of the config, or throwaway ones.
//!
//! Never prints a secret.

use std::io::ErrorKind;

use crate::config::keyring::{
    KeyLoadError, KeyLoadErrorKind, KeyRing, LEDGER_KEY_NAME, STATE_KEY_NAME,
};
use crate::config::settings::{KeySettings, SecretError};
use crate::ledger::keys::key_id_of_year;
use crate::policy::pseudonym::HmacKey;

use super::exit::CliFailure;
use super::screen::{self, NoteKind};

/// The first year of a throwaway key of the ledger.
const FIRST_THROWAWAY_YEAR: i16 = 2000;

/// Loads the keys of these names only: recipients, or [`STATE_KEY_NAME`]. Warns of files
/// that others may read.
///
/// # Errors
///
/// [`CliFailure::Keys`] with every missing or unusable key.
pub(super) fn load_keys<'a>(
    settings: &KeySettings,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<KeyRing, CliFailure> {
    let ring = KeyRing::load_only(settings, names).map_err(CliFailure::Keys)?;
    print_key_notes(&ring);
    Ok(ring)
}

fn print_key_notes(ring: &KeyRing) {
    for note in &ring.notes {
        screen::print_note(NoteKind::Warning, note);
    }
}

pub(super) struct FoundKeys {
    pub(super) ring: KeyRing,
    /// Missing keys, and how to get one.
    pub(super) missing: Vec<KeyLoadError>,
    /// Keys that exist but cannot be used.
    pub(super) unusable: Vec<KeyLoadError>,
}

impl FoundKeys {
    /// Looks up the keys of these names: recipients, or [`STATE_KEY_NAME`].
    pub(super) fn find_keys(settings: &KeySettings, names: &[&str]) -> FoundKeys {
        let load = |some: &[&str]| KeyRing::load_only(settings, some.iter().copied());
        let mistakes = match load(names) {
            Ok(ring) => {
                return FoundKeys { ring, missing: Vec::new(), unusable: Vec::new() };
            }
            Err(mistakes) => mistakes,
        };
        let sound: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| mistakes.iter().all(|mistake| mistake.recipient != *name))
            .collect();
        let (broken, missing): (Vec<_>, Vec<_>) =
            mistakes.into_iter().partition(|mistake| mistake.kind == KeyLoadErrorKind::Unusable);
        FoundKeys { ring: load(&sound).unwrap_or_default(), missing, unusable: broken }
    }

    /// Returns the existing keys, with a throwaway one for each recipient without, which
    /// the operator is told of, and for the state.
    ///
    /// # Errors
    ///
    /// A key exists but cannot be used, or no new one could be generated.
    pub(super) fn into_ring_with_throwaways(self, recipients: &[&str]) -> anyhow::Result<KeyRing> {
        if !self.unusable.is_empty() {
            return Err(CliFailure::Keys(self.unusable).into());
        }
        print_key_notes(&self.ring);
        if !self.missing.is_empty() {
            screen::print_note(NoteKind::Warning, &throwaway_note(&self.missing));
        }
        let state = HmacKey::generate("throwaway")?;
        self.ring_with_throwaways(recipients, state)
    }

    /// Returns the existing keys, with a throwaway one for each recipient without, and the
    /// given key of the state.
    ///
    /// # Errors
    ///
    /// No new one could be generated.
    pub(super) fn ring_with_throwaways(
        &self,
        recipients: &[&str],
        state: HmacKey,
    ) -> anyhow::Result<KeyRing> {
        let ledger = match self.ring.ledger_key() {
            Some(key) => key.clone(),
            None => HmacKey::generate(&key_id_of_year(FIRST_THROWAWAY_YEAR))?,
        };
        let mut keys =
            vec![(STATE_KEY_NAME.to_owned(), state), (LEDGER_KEY_NAME.to_owned(), ledger)];
        for name in recipients {
            let key = match self.ring.key(name) {
                Some(key) => key.clone(),
                None => HmacKey::generate("throwaway")?,
            };
            keys.push(((*name).to_owned(), key));
        }
        Ok(KeyRing::from_keys(keys))
    }
}

fn throwaway_note(missing: &[KeyLoadError]) -> String {
    let (keys, theirs) = match missing {
        [_] => ("no key", "its"),
        _ => ("no keys", "their"),
    };
    format!(
        "{keys} for {}: {theirs} pseudonyms use a throwaway key, and differ each time{}",
        key_names(missing).join(", "),
        match missing_key_advice(missing) {
            Some(advice) => format!("; {advice}"),
            None => String::new(),
        }
    )
}

/// Returns how to get missing keys, or `None` if none of them is a file.
pub(super) fn missing_key_advice(missing: &[KeyLoadError]) -> Option<String> {
    let mut files = missing.iter().filter(|key| key.kind == KeyLoadErrorKind::FileMissing);
    let first = files.next()?;
    Some(match files.next() {
        None => format!("create a permanent one with `zeef keys new {}`", first.recipient),
        Some(_) => "make lasting ones with `zeef keys new --all`".to_owned(),
    })
}

/// Returns the names of keys.
pub(super) fn key_names(keys: &[KeyLoadError]) -> Vec<&str> {
    keys.iter().map(|key| key.recipient.as_str()).collect()
}

/// Returns whether nothing lies where the key of this name should.
pub(super) fn is_key_missing(settings: &KeySettings, name: &str) -> bool {
    match settings.source_of(name).read() {
        Err(SecretError::NotSet(_)) => true,
        Err(SecretError::Unreadable(_, error)) => error.kind() == ErrorKind::NotFound,
        Ok(_) | Err(_) => false,
    }
}
