//! The keys that a command works with: those of the config, or throwaway ones.
//!
//! Never prints a secret.

use std::io::ErrorKind;

use crate::policy::pseudonym::{Key, KeyFault, KeyMistake, KeyRing, STATE_KEY};
use crate::policy::settings::{KeySettings, SecretError};

use super::exit::Failure;
use super::screen::{self, Tone};

/// Reads the keys of these names and no other: recipients, or [`STATE_KEY`]. The
/// operator is told of files that others may read.
///
/// # Errors
///
/// [`Failure::Keys`] with every key that cannot be had.
pub(super) fn load<'a>(
    settings: &KeySettings,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<KeyRing, Failure> {
    let ring = KeyRing::load_only(settings, names).map_err(Failure::Keys)?;
    tell_notes(&ring);
    Ok(ring)
}

fn tell_notes(ring: &KeyRing) {
    for note in &ring.notes {
        screen::note(Tone::Warning, note);
    }
}

/// What was found of some keys.
pub(super) struct Keys {
    pub(super) ring: KeyRing,
    /// Keys that are not there, and where one comes from.
    pub(super) missing: Vec<KeyMistake>,
    /// Keys that are there and cannot be used.
    pub(super) broken: Vec<KeyMistake>,
}

impl Keys {
    /// Looks for the keys of these names: recipients, or [`STATE_KEY`].
    pub(super) fn find(settings: &KeySettings, names: &[&str]) -> Keys {
        let load = |some: &[&str]| KeyRing::load_only(settings, some.iter().copied());
        let mistakes = match load(names) {
            Ok(ring) => {
                return Keys {
                    ring,
                    missing: Vec::new(),
                    broken: Vec::new(),
                };
            }
            Err(mistakes) => mistakes,
        };
        let sound: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| mistakes.iter().all(|mistake| mistake.recipient != *name))
            .collect();
        let (broken, missing): (Vec<_>, Vec<_>) = mistakes
            .into_iter()
            .partition(|mistake| mistake.fault == KeyFault::Unusable);
        Keys {
            ring: load(&sound).unwrap_or_default(),
            missing,
            broken,
        }
    }

    /// The keys that there are, and a new one for each recipient without; the
    /// operator is told of those. The state gets one too: none is kept.
    ///
    /// # Errors
    ///
    /// A key is there and cannot be used, or no new one could be made.
    pub(super) fn or_throwaway(self, recipients: &[&str]) -> anyhow::Result<KeyRing> {
        if !self.broken.is_empty() {
            return Err(Failure::Keys(self.broken).into());
        }
        tell_notes(&self.ring);
        if !self.missing.is_empty() {
            screen::note(Tone::Warning, &throwaway_note(&self.missing));
        }
        let state = Key::generate("throwaway")?;
        self.with_throwaway(recipients, state)
    }

    /// The keys that there are, with a new one for each recipient without, and this
    /// one of the state.
    ///
    /// # Errors
    ///
    /// No new one could be made.
    pub(super) fn with_throwaway(
        &self,
        recipients: &[&str],
        state: Key,
    ) -> anyhow::Result<KeyRing> {
        let mut keys = vec![(STATE_KEY.to_owned(), state)];
        for name in recipients {
            let key = match self.ring.key(name) {
                Some(key) => key.clone(),
                None => Key::generate("throwaway")?,
            };
            keys.push(((*name).to_owned(), key));
        }
        Ok(KeyRing::of(keys))
    }
}

fn throwaway_note(missing: &[KeyMistake]) -> String {
    let (keys, theirs) = match missing {
        [_] => ("no key", "its"),
        _ => ("no keys", "their"),
    };
    format!(
        "{keys} for {}: {theirs} pseudonyms are made with a throwaway key, and differ each time{}",
        names(missing).join(", "),
        match advice(missing) {
            Some(advice) => format!("; {advice}"),
            None => String::new(),
        }
    )
}

/// How missing keys come to be; `None` where none of them is a file.
pub(super) fn advice(missing: &[KeyMistake]) -> Option<String> {
    let mut files = missing.iter().filter(|key| key.fault == KeyFault::NoFile);
    let first = files.next()?;
    Some(match files.next() {
        None => format!(
            "make a lasting one with `zeef keys new {}`",
            first.recipient
        ),
        Some(_) => "make lasting ones with `zeef keys new --all`".to_owned(),
    })
}

/// The names of keys.
pub(super) fn names(keys: &[KeyMistake]) -> Vec<&str> {
    keys.iter().map(|key| key.recipient.as_str()).collect()
}

/// Whether nothing lies where the key of this name should.
pub(super) fn is_missing(settings: &KeySettings, name: &str) -> bool {
    match settings.source(name).read() {
        Err(SecretError::Unset(_)) => true,
        Err(SecretError::File(_, error)) => error.kind() == ErrorKind::NotFound,
        Ok(_) | Err(_) => false,
    }
}
