//! `zeef keys`: generates a key of a recipient or the state, and lists the existing ones.
//!
//! Never shows a secret, and replaces a key only if that is asked for by name.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config::LoadedConfig;
use crate::config::keyring::{
    CHECKPOINT_KEY_NAME, KeyLoadErrorKind, LEDGER_KEY_NAME, STATE_KEY_NAME, ledger_key_names,
};
use crate::config::secret::ensure_folder_protected;
use crate::config::settings::SecretSource;
use crate::engine::delivery::key_fingerprint;
use crate::ledger::checkpoint::note::CheckpointSigner;
use crate::ledger::keys::{key_id_of_year, utc_year};
use crate::message::commands::OperatorCommand;
use crate::policy::pseudonym::HmacKey;
use crate::transport::file::{
    self, FileMode, create_file, create_folder_all, is_there, replace_file, sync_folder,
};

use super::arguments::{
    KeysArguments, KeysCommand, KeysListArguments, KeysNewArguments, KeysRotateArguments,
};
use super::audit::{AuditedAction, Auditor};
use super::command_target::{CommandTarget, TargetArguments};
use super::config::load;
use super::directory;
use super::exit::{CliFailure, Exit};
use super::key_lookup::{self, FoundKeys, is_key_missing};
use super::screen::{BAD, FAINT, Screen};
use super::table::{TableCell, TextTable};

pub(super) fn run(arguments: &KeysArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    match &arguments.command {
        KeysCommand::New(arguments) => create_keys(arguments, screen),
        KeysCommand::Rotate(arguments) => rotate_key(arguments, screen),
        KeysCommand::List(arguments) => list_keys(arguments, screen),
    }
}

/// Requests another key for a recipient's outputs, and puts it in place.
///
/// The command comes first: if this is interrupted, the key in use is either the old one or
/// one that was requested.
fn rotate_key(arguments: &KeysRotateArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = load(&arguments.config.config)?;
    let name = &arguments.recipient;
    super::config::require_recipient(&loaded.policy, name)?;
    let old = key_lookup::load_keys(&loaded.daemon.keys, [name.as_str()])?;
    let new = match (loaded.daemon.keys.source_of(name), arguments.in_place) {
        (_, true) => None,
        (SecretSource::File(path), false) => Some((path, generate_key()?)),
        (SecretSource::Environment(variable), false) => {
            let text = format!(
                "the key of `{name}` lies in the environment variable {variable}: set the new one \
                 there, and say --in-place"
            );
            return Err(CliFailure::Usage(text).into());
        }
    };
    let Some(old) = old.key(name) else {
        return Err(CliFailure::Usage(format!("there is no key of `{name}`")).into());
    };
    let print = key_fingerprint(new.as_ref().map_or(old, |(_, key)| key)).print;
    let directory = arguments.directory.as_deref();
    let target =
        TargetArguments { config: &arguments.config, brokers: &arguments.brokers, directory };
    let command = OperatorCommand::Rotate { recipient: name.clone(), print: print.clone() };
    let auditor = Auditor::new(&loaded, &arguments.operator)?;
    let action = AuditedAction { words: "keys rotate", subject: Some(name), patron: None };
    CommandTarget::with_target(&loaded, &target, |target| {
        auditor.record(&target.location(), action)?;
        target.send_commands(vec![command], &arguments.reason)
    })?;
    if let Some((path, key)) = &new {
        let kept = replace_key_file(path, old, key)?;
        writeln!(
            screen,
            "{name}: new key in {}; the old one is kept in {}",
            path.display(),
            kept.display()
        )?;
    }
    if let Some(root) = directory {
        accept_key_change(root, &loaded, (name, &arguments.reason))?;
    }
    writeln!(
        screen,
        "{name}: the next start takes back all outputs under the old key and sends them under the \
         one with the fingerprint {print}"
    )?;
    Ok(Exit::Success)
}

/// Replaces a key file and keeps the old one beside it. Returns its path.
fn replace_key_file(path: &Path, old: &HmacKey, new: &HmacKey) -> anyhow::Result<PathBuf> {
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(".");
        name.push(ending);
        PathBuf::from(name)
    };
    let free = (1..).map(|number| match number {
        1 => beside(old.id()),
        _ => beside(&format!("{}-{number}", old.id())),
    });
    let mut kept = beside("old");
    for path in free {
        if !is_there(&path)? {
            kept = path;
            break;
        }
    }
    let fresh = beside("new");
    let _ = fs::remove_file(&fresh);
    write_new_key_file(&fresh, new)?;
    fs::hard_link(path, &kept).with_context(|| format!("cannot keep {}", kept.display()))?;
    fs::rename(&fresh, path).with_context(|| format!("cannot replace {}", path.display()))?;
    Ok(kept)
}

/// Replaces a key file by another key, and overwrites what was in it.
///
/// The old key stays under a second name until it is overwritten, so that an attempt that was
/// interrupted is [finished](finish_overwriting) by the next one.
///
/// # Errors
///
/// The file cannot be written; it has one of the two keys then.
pub(super) fn overwrite_key_file(path: &Path, new: &HmacKey) -> anyhow::Result<()> {
    finish_overwriting(path)?;
    let old = old_key_path(path);
    fs::hard_link(path, &old).with_context(|| format!("cannot keep {}", old.display()))?;
    sync_folder(path.parent().unwrap_or(path))?;
    let mut line = new.to_line().expose().to_vec();
    line.push(b'\n');
    replace_file(path, FileMode::for_file(false), &line)?;
    finish_overwriting(path)
}

/// Overwrites and removes the key that a key file had before, if that is still there.
///
/// # Errors
///
/// The file cannot be read or written.
pub(super) fn finish_overwriting(path: &Path) -> anyhow::Result<()> {
    let old_path = old_key_path(path);
    let old_key = match fs::read(&old_path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("failed to read {}", old_path.display()));
        }
    };
    // It was interrupted before the key was replaced: both names are those of one file.
    let is_replaced =
        fs::read(path).with_context(|| format!("failed to read {}", path.display()))? != old_key;
    if is_replaced {
        let old = file::open_file(&old_path, FileMode::for_file(false), false)?;
        let zeros = vec![0; old_key.len()];
        let overwritten = (&old.file).write_all(&zeros).and_then(|()| old.file.sync_all());
        overwritten.map_err(file::FileError::wrap("overwrite", &old_path))?;
    }
    fs::remove_file(&old_path)
        .with_context(|| format!("failed to remove {}", old_path.display()))?;
    Ok(sync_folder(path.parent().unwrap_or(path))?)
}

/// Where a key lies until it is overwritten.
fn old_key_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".overwrite");
    PathBuf::from(name)
}

/// Accepts, in a directory, that the outputs of a recipient have another key.
fn accept_key_change(
    root: &Path,
    loaded: &LoadedConfig,
    (name, reason): (&str, &str),
) -> anyhow::Result<()> {
    let names = loaded.policy.recipients.iter();
    let names = names.map(|recipient| recipient.name.as_str());
    let keys = key_lookup::load_keys(&loaded.daemon.keys, names.chain([STATE_KEY_NAME]))?;
    let directory = directory::open_directory(directory::settings_with_keys(root, loaded, &keys)?)?;
    let subject = format!("the key of {name}:");
    let findings = directory.findings()?.into_iter();
    let of_key = findings.filter(|finding| finding.text.starts_with(&subject));
    for code in of_key.filter_map(|finding| finding.code) {
        directory.accept_finding(&code, reason.trim())?;
    }
    Ok(())
}

fn create_keys(arguments: &KeysNewArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = load(&arguments.config.config)?;
    let names = match &arguments.recipient {
        _ if arguments.ledger => names_of_ledger_keys(&loaded),
        Some(name) => vec![require_key_name(&loaded, name)?],
        None => names_without_key_file(&loaded),
    };
    if names.is_empty() {
        writeln!(screen, "every enabled recipient and the state already have a key")?;
    }
    let settings = &loaded.daemon.keys;
    for name in names {
        let path = match settings.source_of(&name) {
            SecretSource::File(path) => path,
            SecretSource::Environment(variable) => {
                let text = format!(
                    "zeef.toml says that the key of `{name}` lies in the environment variable \
                     {variable}, not in a file"
                );
                return Err(CliFailure::Usage(text).into());
            }
        };
        let key = match name.as_str() {
            LEDGER_KEY_NAME => generate_ledger_key()?,
            _ => generate_key()?,
        };
        write_new_key_file(&path, &key)
            .with_context(|| format!("cannot write the key of `{name}`"))?;
        writeln!(screen, "{name}: new key in {}", path.display())?;
        if name == CHECKPOINT_KEY_NAME {
            write_verifier_key(&loaded, &key, screen)?;
        }
    }
    Ok(Exit::Success)
}

/// Returns the ledger's key and, if checkpoints are made, theirs; only those that are missing,
/// unless none is.
fn names_of_ledger_keys(loaded: &LoadedConfig) -> Vec<String> {
    let signs = loaded.daemon.ledger.checkpoints.is_enabled;
    let all = [LEDGER_KEY_NAME].into_iter().chain(signs.then_some(CHECKPOINT_KEY_NAME));
    let all: Vec<String> = all.map(str::to_owned).collect();
    let is_missing = |name: &&String| is_key_missing(&loaded.daemon.keys, name);
    let missing: Vec<String> = all.iter().filter(is_missing).cloned().collect();
    if missing.is_empty() { all } else { missing }
}

/// Shows what verifies the checkpoints that a key signs.
fn write_verifier_key(
    loaded: &LoadedConfig,
    key: &HmacKey,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let signer = CheckpointSigner::new(&loaded.daemon.ledger.checkpoints.origin, key)?;
    writeln!(screen, "checkpoints are verified with {}", signer.verifier().to_text())?;
    Ok(())
}

/// Checks the name of a recipient, even a disabled one, or the state's.
fn require_key_name(loaded: &LoadedConfig, name: &str) -> Result<String, CliFailure> {
    let names = loaded.policy.all_recipients().map(|recipient| recipient.name.as_str());
    let names: Vec<&str> =
        names.chain([STATE_KEY_NAME, LEDGER_KEY_NAME, CHECKPOINT_KEY_NAME]).collect();
    if names.contains(&name) {
        return Ok(name.to_owned());
    }
    let text = super::config::unknown_name_text("recipient", name, names);
    Err(CliFailure::Usage(text))
}

/// Returns the names whose key should lie in a file and does not.
fn names_without_key_file(loaded: &LoadedConfig) -> Vec<String> {
    let settings = &loaded.daemon.keys;
    required_key_names(loaded)
        .filter(|name| matches!(settings.source_of(name), SecretSource::File(_)))
        .filter(|name| is_key_missing(settings, name))
        .map(str::to_owned)
        .collect()
}

/// Returns the names of all keys that a run needs.
fn required_key_names(loaded: &LoadedConfig) -> impl Iterator<Item = &str> {
    let recipients = loaded.policy.recipients.iter();
    let recipients = recipients.map(|recipient| recipient.name.as_str());
    recipients.chain([STATE_KEY_NAME]).chain(ledger_key_names(&loaded.daemon.ledger))
}

/// Generates a key whose id is today's date.
pub(super) fn generate_key() -> anyhow::Result<HmacKey> {
    let day = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    Ok(HmacKey::generate(&day)?)
}

/// Generates the ledger's key, whose first year is this one.
fn generate_ledger_key() -> anyhow::Result<HmacKey> {
    let year = utc_year(jiff::Timestamp::now().as_second());
    Ok(HmacKey::generate(&key_id_of_year(year))?)
}

/// Writes a key to a file that only its owner may read.
///
/// # Errors
///
/// The file exists, cannot be written, or would lie in a folder whose files others may
/// replace; nothing is changed then.
pub(super) fn write_new_key_file(path: &Path, key: &HmacKey) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    create_folder_all(folder, FileMode::for_folder(false))?;
    ensure_folder_protected(folder)?;
    let mut file = create_file(path, FileMode::for_file(false)).map_err(|failure| {
        if failure.cause.kind() != io::ErrorKind::AlreadyExists {
            return anyhow::Error::new(failure);
        }
        anyhow::anyhow!(
            "{} exists already, and a key is never replaced: with another one all pseudonyms \
             change, or what recipients have is no longer known. Move it away if that is what \
             you want",
            path.display()
        )
    })?;
    let written = (file.file.write_all(key.to_line().expose()))
        .and_then(|()| file.file.write_all(b"\n"))
        .and_then(|()| file.file.sync_all())
        .map_err(file::FileError::wrap("write", path))
        .and_then(|()| sync_folder(folder));
    if written.is_err() {
        // Half a key is useless, and would be in the way of the next one.
        let _ = fs::remove_file(path);
    }
    Ok(written?)
}

fn list_keys(arguments: &KeysListArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = load(&arguments.config.config)?;
    let settings = &loaded.daemon.keys;
    let names: Vec<&str> = required_key_names(&loaded).collect();
    let keys = FoundKeys::find_keys(settings, &names);
    let mut table = TextTable::new(&["NAME", "KEY", "WHERE"]);
    for name in names {
        let id = match keys.ring.key(name) {
            Some(key) => TableCell::from(key.id()),
            None if key_lookup::key_names(&keys.missing).contains(&name) => {
                TableCell::styled(BAD, "missing")
            }
            None => TableCell::styled(BAD, "cannot be used"),
        };
        let place = settings.source_of(name).to_string();
        table.add_row([name.into(), id, TableCell::styled(FAINT, place)]);
    }
    let width = screen.width();
    table.write(screen, width)?;
    if let Some(key) = keys.ring.checkpoint_key() {
        write_verifier_key(&loaded, key, screen)?;
    }
    for note in &keys.ring.notes {
        writeln!(screen, "{note}")?;
    }
    for mistake in &keys.unusable {
        writeln!(screen, "{mistake}")?;
    }
    let unset = keys.missing.iter();
    for mistake in unset.filter(|mistake| mistake.kind == KeyLoadErrorKind::VariableNotSet) {
        writeln!(screen, "{mistake}")?;
    }
    if let Some(advice) = key_lookup::missing_key_advice(&keys.missing) {
        writeln!(screen, "{advice}")?;
    }
    let fine = keys.missing.is_empty() && keys.unusable.is_empty();
    Ok(if fine { Exit::Success } else { Exit::Failed })
}
