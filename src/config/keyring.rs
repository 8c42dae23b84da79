//! The keys of recipients and of the state, read from where the settings say. Never prints a key.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::settings::{KeySettings, LedgerSettings, SecretError, SecretSource};
use crate::policy::pseudonym::{HmacKey, KeyParseError};

/// The name of zeef's own key, which makes the keys and hashes of state rows. No valid recipient
/// has this name.
pub const STATE_KEY_NAME: &str = "zeef.state";
/// The name of the ledger's key, which makes the references of patrons in its lines.
pub const LEDGER_KEY_NAME: &str = "zeef.ledger";
/// The name of the key that signs the checkpoints of the ledger.
pub const CHECKPOINT_KEY_NAME: &str = "zeef.checkpoints";

/// A key that cannot be loaded, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLoadError {
    /// Or [`STATE_KEY_NAME`].
    pub recipient: String,
    pub kind: KeyLoadErrorKind,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyLoadErrorKind {
    /// Its file is missing; `zeef keys new` makes it.
    FileMissing,
    VariableNotSet,
    /// It exists but is invalid or unreadable.
    Unusable,
}

impl fmt::Display for KeyLoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.recipient.as_str() {
            STATE_KEY_NAME => write!(f, "key of the state, `{STATE_KEY_NAME}`: {}", self.message),
            CHECKPOINT_KEY_NAME => {
                write!(f, "key of the checkpoints, `{CHECKPOINT_KEY_NAME}`: {}", self.message)
            }
            LEDGER_KEY_NAME => {
                write!(f, "key of the ledger, `{LEDGER_KEY_NAME}`: {}", self.message)
            }
            recipient => write!(f, "key of recipient `{recipient}`: {}", self.message),
        }
    }
}

/// The format of a key, for whoever sets one.
const KEY_LINE_FORMAT: &str =
    "one line, ID:SECRET, the secret at least 32 bytes in base64url without padding";

/// Explains how to provide a key; `zeef keys new` only creates missing files.
fn explain_secret_error(error: &SecretError, name: &str) -> (KeyLoadErrorKind, String) {
    match error {
        SecretError::Unreadable(_, why) if why.kind() == ErrorKind::NotFound => {
            (KeyLoadErrorKind::FileMissing, format!("make one with `zeef keys new {name}`"))
        }
        SecretError::Unreadable(..) => (
            KeyLoadErrorKind::Unusable,
            "it has to be a file that zeef's user may read, and nobody else may write".to_owned(),
        ),
        SecretError::NotSet(_) => {
            (KeyLoadErrorKind::VariableNotSet, format!("put a key into it: {KEY_LINE_FORMAT}"))
        }
        SecretError::NotUtf8(_) => {
            (KeyLoadErrorKind::Unusable, format!("put a key into it: {KEY_LINE_FORMAT}"))
        }
        SecretError::Empty(source) => {
            (KeyLoadErrorKind::Unusable, replacement_advice(source, name))
        }
    }
}

/// Explains how to replace a key that is invalid.
fn replacement_advice(source: &SecretSource, name: &str) -> String {
    match source {
        SecretSource::Environment(_) => format!("put another key into it: {KEY_LINE_FORMAT}"),
        SecretSource::File(_) => format!(
            "restore it; or move it away and make another one with `zeef keys new {name}`, which \
             changes all that is made with it"
        ),
    }
}

/// The keys of recipients and of the state.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    keys: BTreeMap<String, HmacKey>,
    /// Warnings, as for key files that others may read.
    pub notes: Vec<String>,
}

impl KeyRing {
    /// Reads the key of each recipient and of the state from where `settings` say.
    ///
    /// # Errors
    ///
    /// Every key that cannot be loaded; never quotes a secret.
    pub fn load<'a>(
        settings: &KeySettings,
        recipients: impl IntoIterator<Item = &'a str>,
    ) -> Result<KeyRing, Vec<KeyLoadError>> {
        KeyRing::load_only(settings, recipients.into_iter().chain([STATE_KEY_NAME]))
    }

    /// Reads the keys of these names only; may include [`STATE_KEY_NAME`].
    ///
    /// # Errors
    ///
    /// As [`KeyRing::load`].
    pub fn load_only<'a>(
        settings: &KeySettings,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<KeyRing, Vec<KeyLoadError>> {
        let mut ring = KeyRing::default();
        let mut mistakes = Vec::new();
        for recipient in names {
            match ring.read_key(settings, recipient) {
                Ok(key) => {
                    ring.keys.insert(recipient.to_owned(), key);
                }
                Err((fault, text)) => mistakes.push(KeyLoadError {
                    recipient: recipient.to_owned(),
                    kind: fault,
                    message: text,
                }),
            }
        }
        ring.notes.extend(settings.folder_warning(ring.keys.keys()));
        if mistakes.is_empty() { Ok(ring) } else { Err(mistakes) }
    }

    /// Builds a key ring of existing keys by name.
    #[must_use]
    pub fn from_keys(keys: impl IntoIterator<Item = (String, HmacKey)>) -> KeyRing {
        KeyRing { keys: keys.into_iter().collect(), notes: Vec::new() }
    }

    #[must_use]
    pub fn key(&self, recipient: &str) -> Option<&HmacKey> {
        self.keys.get(recipient)
    }

    #[must_use]
    pub fn state_key(&self) -> Option<&HmacKey> {
        self.keys.get(STATE_KEY_NAME)
    }

    /// `None` if it was not loaded: a run without a ledger needs none.
    #[must_use]
    pub fn ledger_key(&self) -> Option<&HmacKey> {
        self.keys.get(LEDGER_KEY_NAME)
    }

    /// As [`ledger_key`](Self::ledger_key), for the key that signs checkpoints.
    #[must_use]
    pub fn checkpoint_key(&self) -> Option<&HmacKey> {
        self.keys.get(CHECKPOINT_KEY_NAME)
    }

    fn read_key(
        &mut self,
        settings: &KeySettings,
        recipient: &str,
    ) -> Result<HmacKey, (KeyLoadErrorKind, String)> {
        let source = settings.source_of(recipient);
        let secret = source.read().map_err(|error| {
            let (fault, advice) = explain_secret_error(&error, recipient);
            (fault, format!("{error}; {advice}"))
        })?;
        let unusable = |why: &str| {
            let advice = replacement_advice(&source, recipient);
            (KeyLoadErrorKind::Unusable, format!("{source}: {why}; {advice}"))
        };
        self.notes.extend(source.permission_warning());
        let key = secret
            .expose_text()
            .ok_or(KeyParseError::Format)
            .and_then(HmacKey::parse)
            .map_err(|error| unusable(&error.to_string()))?;
        let duplicate = self.keys.iter().find(|(_, other)| other.has_same_secret(&key));
        match duplicate {
            Some((other, _)) => Err(unusable(&format!(
                "the same secret as that of `{other}`, so that the two could join their data"
            ))),
            None => Ok(key),
        }
    }
}

/// Returns the names of the keys that a ledger needs.
pub fn ledger_key_names(ledger: &LedgerSettings) -> impl Iterator<Item = &str> {
    let of_ledger = ledger.is_enabled.then_some(LEDGER_KEY_NAME);
    let is_signed = ledger.is_enabled && ledger.checkpoints.is_enabled;
    of_ledger.into_iter().chain(is_signed.then_some(CHECKPOINT_KEY_NAME))
}

/// Returns the path of a key in a folder of keys.
#[must_use]
pub fn key_file(directory: &Path, recipient: &str) -> PathBuf {
    directory.join(format!("{recipient}.key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID_KEY_LINE: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    #[test]
    fn key_ring_reports_all_errors_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let settings =
            KeySettings { directory: folder.path().to_owned(), ..KeySettings::default() };
        std::fs::write(key_file(folder.path(), "good"), VALID_KEY_LINE).unwrap();
        std::fs::write(key_file(folder.path(), "twin"), VALID_KEY_LINE.replace("k1", "k2"))
            .unwrap();
        std::fs::write(key_file(folder.path(), "short"), "a:AAEC").unwrap();
        let names = ["good", "twin", "short", "absent"];
        let mistakes = KeyRing::load_only(&settings, names).unwrap_err();
        let shown: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), 3, "{shown:?}");
        assert!(shown[0].contains("`twin`") && shown[0].contains("`good`"), "{shown:?}");
        assert!(shown[1].contains("fewer than 32 bytes"), "{shown:?}");
        assert!(shown[2].contains("; make one with `zeef keys new absent`"), "{shown:?}");
        // Existing files are never replaced.
        assert!(shown[1].contains("move it away"), "{shown:?}");
        let faults: Vec<_> = mistakes.iter().map(|mistake| mistake.kind).collect();
        use KeyLoadErrorKind::{FileMissing, Unusable, VariableNotSet};
        assert_eq!(faults, [Unusable, Unusable, FileMissing]);
        let variable = SecretSource::Environment("ZEEF_TEST_NOT_SET".to_owned());
        let elsewhere = KeySettings { state: Some(variable), ..settings.clone() };
        let mistakes = KeyRing::load(&elsewhere, []).unwrap_err();
        assert_eq!(mistakes[0].kind, VariableNotSet);
        let shown = mistakes[0].to_string();
        assert!(shown.contains("ZEEF_TEST_NOT_SET is not set; put a key into it"), "{shown}");
        assert!(!shown.contains("keys new"), "{shown}");
        let ring = KeyRing::load_only(&settings, ["good"]).unwrap();
        assert_eq!(ring.key("good").map(HmacKey::id), Some("k1"));
    }

    #[test]
    fn key_ring_requires_a_separate_state_key() {
        let folder = tempfile::tempdir().unwrap();
        let settings =
            KeySettings { directory: folder.path().to_owned(), ..KeySettings::default() };
        std::fs::write(key_file(folder.path(), "good"), VALID_KEY_LINE).unwrap();
        let mistakes = KeyRing::load(&settings, ["good"]).unwrap_err();
        let shown = mistakes[0].to_string();
        assert!(shown.starts_with("key of the state, `zeef.state`:"), "{shown}");
        assert!(shown.contains("zeef keys new zeef.state"), "{shown}");
        let path = folder.path().join("zeef.state.key");
        std::fs::write(&path, VALID_KEY_LINE).unwrap();
        let twins = KeyRing::load(&settings, ["good"]).unwrap_err();
        assert!(twins[0].to_string().contains("the same secret"), "{twins:?}");
        let line = HmacKey::generate("s1").unwrap().to_line();
        std::fs::write(&path, line.expose_text().unwrap()).unwrap();
        let ring = KeyRing::load(&settings, ["good"]).unwrap();
        assert_eq!(ring.state_key().map(HmacKey::id), Some("s1"));
        let elsewhere = KeySettings {
            state: Some(SecretSource::File(key_file(folder.path(), "good"))),
            ..settings
        };
        let ring = KeyRing::load(&elsewhere, []).unwrap();
        assert_eq!(ring.state_key().map(HmacKey::id), Some("k1"));
    }

    #[test]
    fn key_file_readable_by_others_is_noted_and_writable_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let settings =
            KeySettings { directory: folder.path().to_owned(), ..KeySettings::default() };
        let path = key_file(folder.path(), "a");
        std::fs::write(&path, VALID_KEY_LINE).unwrap();
        let set_mode = |path: &Path, mode: u32| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for (of_folder, of_file, notes) in
            [(0o700, 0o600, 0), (0o700, 0o640, 1), (0o755, 0o600, 1), (0o1777, 0o640, 2)]
        {
            set_mode(folder.path(), of_folder);
            set_mode(&path, of_file);
            assert_eq!(KeyRing::load_only(&settings, ["a"]).unwrap().notes.len(), notes);
        }
        set_mode(&path, 0o620);
        let refused = KeyRing::load_only(&settings, ["a"]).unwrap_err();
        assert!(refused[0].message.contains("may write"), "{refused:?}");
        assert!(!refused[0].message.contains("keys new"), "{refused:?}");
    }
}
