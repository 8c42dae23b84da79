//! `zeef keys`: make a recipient's key or that of the state, and list which
//! there are.
//!
//! Never shows a secret, and replaces a key only where that is asked for by name.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::engine::holding::print_of;
use crate::policy::Loaded;
use crate::policy::pseudonym::{Key, KeyFault, STATE_KEY};
use crate::policy::secret_file::check_folder;
use crate::policy::settings::SecretSource;
use crate::transport::commands::Command;
use crate::transport::file::{self, Mode, create_file, create_folders, sync_folder};

use super::arguments::{
    KeysArguments, KeysCommand, KeysListArguments, KeysNewArguments, KeysRotateArguments,
};
use super::ask::Place;
use super::config::load;
use super::directory;
use super::exit::{Exit, Failure};
use super::key::{self, Keys, is_missing};
use super::screen::{BAD, FAINT, Screen};
use super::table::{Cell, Table};

pub(super) fn run(arguments: &KeysArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    match &arguments.command {
        KeysCommand::New(arguments) => new(arguments, screen),
        KeysCommand::Rotate(arguments) => rotate(arguments, screen),
        KeysCommand::List(arguments) => list(arguments, screen),
    }
}

/// Asks for another key of a recipient's outputs, and puts it in place.
///
/// The command comes first: where this is broken off, the key in use is either the
/// old one, or one that was asked for.
fn rotate(arguments: &KeysRotateArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = load(&arguments.config.config)?;
    let name = &arguments.recipient;
    super::config::check_recipient(&loaded.policy, name)?;
    let old = key::load(&loaded.daemon.keys, [name.as_str()])?;
    let new = match (loaded.daemon.keys.source(name), arguments.in_place) {
        (_, true) => None,
        (SecretSource::File(path), false) => Some((path, new_key()?)),
        (SecretSource::Environment(variable), false) => {
            let text = format!(
                "the key of `{name}` lies in the environment variable {variable}: set the new one \
                 there, and say --in-place"
            );
            return Err(Failure::Usage(text).into());
        }
    };
    let Some(old) = old.key(name) else {
        return Err(Failure::Usage(format!("there is no key of `{name}`")).into());
    };
    let print = print_of(new.as_ref().map_or(old, |(_, key)| key)).print;
    let directory = arguments.directory.as_deref();
    let (config, brokers) = (&arguments.config, &arguments.brokers);
    let command = Command::Rotate {
        recipient: name.clone(),
        print: print.clone(),
    };
    Place::with(&loaded, config, brokers, directory, |place| {
        place.give(vec![command], &arguments.reason)
    })?;
    if let Some((path, key)) = &new {
        let kept = replace(path, old, key)?;
        writeln!(
            screen,
            "{name}: new key in {}; the old one is kept in {}",
            path.display(),
            kept.display()
        )?;
    }
    if let Some(root) = directory {
        accept_key(root, &loaded, (name, &arguments.reason))?;
    }
    writeln!(
        screen,
        "{name}: the next start takes back all outputs under the old key and sends them under the \
         one with the fingerprint {print}"
    )?;
    Ok(Exit::Fine)
}

/// Puts a key in the place of another one, which stays beside it. Returns where.
fn replace(path: &Path, old: &Key, new: &Key) -> anyhow::Result<PathBuf> {
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
    let kept = free.into_iter().find(|path| !path.exists());
    let kept = kept.unwrap_or_else(|| beside("old"));
    let fresh = beside("new");
    let _ = fs::remove_file(&fresh);
    write_new(&fresh, new)?;
    fs::hard_link(path, &kept).with_context(|| format!("cannot keep {}", kept.display()))?;
    fs::rename(&fresh, path).with_context(|| format!("cannot replace {}", path.display()))?;
    Ok(kept)
}

/// Accepts, in a directory, that the outputs of a recipient have another key.
fn accept_key(root: &Path, loaded: &Loaded, (name, reason): (&str, &str)) -> anyhow::Result<()> {
    let names = loaded.policy.recipients.iter();
    let names = names.map(|recipient| recipient.name.as_str());
    let keys = key::load(&loaded.daemon.keys, names.chain([STATE_KEY]))?;
    let directory = directory::open(directory::with_keys(root, loaded, &keys)?)?;
    let subject = format!("the key of {name}:");
    let findings = directory.findings()?.into_iter();
    let of_key = findings.filter(|finding| finding.text.starts_with(&subject));
    for code in of_key.filter_map(|finding| finding.code) {
        directory.accept(&code, reason.trim())?;
    }
    Ok(())
}

fn new(arguments: &KeysNewArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = load(&arguments.config.config)?;
    let names = match &arguments.recipient {
        Some(name) => vec![known(&loaded, name)?],
        None => without_key(&loaded),
    };
    if names.is_empty() {
        writeln!(
            screen,
            "every enabled recipient has a key already, and so has the state"
        )?;
    }
    let settings = &loaded.daemon.keys;
    for name in names {
        let path = match settings.source(&name) {
            SecretSource::File(path) => path,
            SecretSource::Environment(variable) => {
                let text = format!(
                    "zeef.toml says that the key of `{name}` lies in the environment variable \
                     {variable}, not in a file"
                );
                return Err(Failure::Usage(text).into());
            }
        };
        write_new(&path, &new_key()?)
            .with_context(|| format!("cannot write the key of `{name}`"))?;
        writeln!(screen, "{name}: new key in {}", path.display())?;
    }
    Ok(Exit::Fine)
}

/// The name of a recipient, also of one that is switched off, or the state's.
fn known(loaded: &Loaded, name: &str) -> Result<String, Failure> {
    let policy = &loaded.policy;
    let all = policy.recipients.iter().chain(&policy.disabled);
    let names = all.map(|recipient| recipient.name.as_str());
    let names: Vec<&str> = names.chain([STATE_KEY]).collect();
    if names.contains(&name) {
        return Ok(name.to_owned());
    }
    let text = super::config::unknown("recipient", name, names);
    Err(Failure::Usage(text))
}

/// Those whose key is to lie in a file, and does not.
fn without_key(loaded: &Loaded) -> Vec<String> {
    let settings = &loaded.daemon.keys;
    names(loaded)
        .filter(|name| matches!(settings.source(name), SecretSource::File(_)))
        .filter(|name| is_missing(settings, name))
        .map(str::to_owned)
        .collect()
}

/// The names of all keys that a run needs.
fn names(loaded: &Loaded) -> impl Iterator<Item = &str> {
    let recipients = loaded.policy.recipients.iter();
    let recipients = recipients.map(|recipient| recipient.name.as_str());
    recipients.chain([STATE_KEY])
}

/// A key whose id is the day on which it was made.
pub(super) fn new_key() -> anyhow::Result<Key> {
    let day = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    Ok(Key::generate(&day)?)
}

/// Writes a key to a file that only its owner may read.
///
/// # Errors
///
/// The file is there already, cannot be written, or would lie in a folder whose files
/// others may replace; nothing is then changed.
pub(super) fn write_new(path: &Path, key: &Key) -> anyhow::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    create_folders(folder, Mode::folder(false))?;
    check_folder(folder)?;
    let mut file = create_file(path, Mode::file(false)).map_err(|failure| {
        if failure.source.kind() != io::ErrorKind::AlreadyExists {
            return anyhow::Error::new(failure);
        }
        anyhow::anyhow!(
            "{} is there already, and a key is never replaced: with another one all pseudonyms \
             change, or what recipients have is no longer known. Move it away if that is what \
             you want",
            path.display()
        )
    })?;
    let written = (file.file.write_all(key.line().expose()))
        .and_then(|()| file.file.write_all(b"\n"))
        .and_then(|()| file.file.sync_all())
        .map_err(file::Failure::to("write", path))
        .and_then(|()| sync_folder(folder));
    if written.is_err() {
        // Half a key is of no use, and would be in the way of the next one.
        let _ = fs::remove_file(path);
    }
    Ok(written?)
}

fn list(arguments: &KeysListArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = load(&arguments.config.config)?;
    let settings = &loaded.daemon.keys;
    let names: Vec<&str> = names(&loaded).collect();
    let keys = Keys::find(settings, &names);
    let mut table = Table::new(&["NAME", "KEY", "WHERE"]);
    for name in names {
        let id = match keys.ring.key(name) {
            Some(key) => Cell::from(key.id()),
            None if key::names(&keys.missing).contains(&name) => Cell::styled(BAD, "missing"),
            None => Cell::styled(BAD, "cannot be used"),
        };
        let place = settings.source(name).to_string();
        table.row([name.into(), id, Cell::styled(FAINT, place)]);
    }
    let width = screen.width();
    table.write(screen, width)?;
    for note in &keys.ring.notes {
        writeln!(screen, "{note}")?;
    }
    for mistake in &keys.broken {
        writeln!(screen, "{mistake}")?;
    }
    let unset = keys.missing.iter();
    for mistake in unset.filter(|mistake| mistake.fault == KeyFault::Unset) {
        writeln!(screen, "{mistake}")?;
    }
    if let Some(advice) = key::advice(&keys.missing) {
        writeln!(screen, "{advice}")?;
    }
    let fine = keys.missing.is_empty() && keys.broken.is_empty();
    Ok(if fine { Exit::Fine } else { Exit::Failed })
}
