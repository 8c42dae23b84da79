//! `zeef keys`: make a recipient's key or that of the state, and list which
//! there are.
//!
//! Never shows a secret, and never replaces a key.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;

use crate::policy::Loaded;
use crate::policy::pseudonym::{Key, STATE_KEY};
use crate::policy::settings::SecretSource;

use super::arguments::{KeysArguments, KeysCommand, KeysListArguments, KeysNewArguments};
use super::config::load;
use super::exit::{Exit, Failure};
use super::key::{Keys, is_missing};
use super::screen::{BAD, FAINT, Screen};
use super::table::{Cell, Table};

pub(super) fn run(arguments: &KeysArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    match &arguments.command {
        KeysCommand::New(arguments) => new(arguments, screen),
        KeysCommand::List(arguments) => list(arguments, screen),
    }
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
/// The file is there already, or cannot be written; nothing is then changed.
pub(super) fn write_new(path: &Path, key: &Key) -> anyhow::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
        create_folder(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    let mut file = create(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => anyhow::anyhow!(
            "{} is there already, and a key is never replaced: with another one all pseudonyms \
             change, or what recipients have is no longer known. Move it away if that is what \
             you want",
            path.display()
        ),
        _ => anyhow::Error::new(error).context(format!("{} cannot be written", path.display())),
    })?;
    let written = file
        .write_all(key.line().expose())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a key is of no use, and would be in the way of the next one.
        let _ = fs::remove_file(path);
    }
    Ok(written?)
}

#[cfg(unix)]
fn create_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

#[cfg(not(unix))]
fn create_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
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
            None if keys.missing.iter().any(|missing| missing == name) => {
                Cell::styled(BAD, "missing")
            }
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
    if !keys.missing.is_empty() {
        writeln!(screen, "make what is missing with `zeef keys new --all`")?;
    }
    let fine = keys.missing.is_empty() && keys.broken.is_empty();
    Ok(if fine { Exit::Fine } else { Exit::Failed })
}
