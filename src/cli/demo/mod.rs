//! `zeef demo`: all of it at work on a machine with nothing installed.
//!
//! Uses the real directory transport and the real worker, in a folder of its
//! own that is kept. Everybody in it is invented.

mod patron;
mod shipped;
mod show;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::daemon::metrics::Metrics;
use crate::daemon::run::{LaneRun, holds, lanes};
use crate::daemon::worker::Worker;
use crate::engine::lane::Lane;
use crate::engine::pipeline::Pipeline;
use crate::engine::tally::Tally;
use crate::policy::Loaded;
use crate::policy::pseudonym::{KeyRing, STATE_KEY, key_file};
use crate::sample::{Library, Settings};
use crate::transport::Stop;
use crate::transport::file::{Mode, create_folder, create_folders};

use super::arguments::DemoArguments;
use super::config::load;
use super::directory;
use super::exit::{Exit, Failure};
use super::generate::{DirectorySink, Existing, Sink, fill, today};
use super::key::Keys;
use super::keys::{new_key, write_new};
use super::logging;
use super::project::names;
use super::screen::Screen;

pub(super) fn run(arguments: &DemoArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    logging::quiet();
    let folder = new_folder(arguments.directory.as_deref())?;
    let (loaded, config, keys) = policy(arguments, &folder)?;
    let library = Library::new(Settings::new(arguments.seed, arguments.patrons, today()));
    let mut sink = DirectorySink::open(&folder, Existing::Refuse)?;
    let records = fill(&library, true, &mut sink)?;
    sink.finish()?;
    let started = Instant::now();
    let lanes = work(&loaded, &keys, &folder)?;
    let done = Done {
        records,
        took: started.elapsed(),
        lanes,
        poison: library.poison().count(),
        seed: arguments.seed,
        folder,
        config,
    };
    let chosen = patron::choose(&library, &loaded, &keys, &done.folder)?;
    show::all(screen, &loaded, &library, chosen.as_ref(), &done)?;
    Ok(Exit::Fine)
}

/// What the demo did.
pub(super) struct Done {
    records: u64,
    took: Duration,
    lanes: Vec<(Arc<Lane>, Tally)>,
    /// How many records were made that must not pass.
    poison: usize,
    seed: u64,
    folder: PathBuf,
    config: PathBuf,
}

/// Makes the folder that everything happens in, for this user alone; it must not be
/// there yet.
fn new_folder(wanted: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(folder) = wanted {
        if create(folder)? {
            return Ok(folder.to_owned());
        }
        let folder = folder.display();
        let text = format!("{folder} is there already: the demo wants a folder of its own");
        return Err(Failure::Usage(text).into());
    }
    let root = std::env::temp_dir();
    let stamp = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    for number in 1..100 {
        let more = match number {
            1 => String::new(),
            _ => format!("-{number}"),
        };
        let folder = root.join(format!("zeef-demo-{stamp}{more}"));
        if create(&folder)? {
            return Ok(folder);
        }
    }
    anyhow::bail!("no folder for the demo could be made in {}", root.display())
}

/// Creates a folder; false where something has its name already.
fn create(folder: &Path) -> anyhow::Result<bool> {
    if let Some(parent) = folder.parent().filter(|one| !one.as_os_str().is_empty()) {
        create_folders(parent, Mode::folder(false))?;
    }
    match create_folder(folder, Mode::folder(false)) {
        Err(failure) if failure.source.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        created => Ok(created.map(|()| true)?),
    }
}

/// The policy of the demo, where its files are, and its keys.
fn policy(arguments: &DemoArguments, folder: &Path) -> anyhow::Result<(Loaded, PathBuf, KeyRing)> {
    if let Some(config) = &arguments.config {
        let loaded = load(config)?;
        let names: Vec<&str> = names(&loaded.policy).collect();
        let keys = Keys::find(&loaded.daemon.keys, &names).or_throwaway(&names)?;
        return Ok((loaded, config.clone(), keys));
    }
    let config = folder.join("config");
    shipped::write(&config)?;
    let loaded = load(&config)?;
    let mut keys = Vec::new();
    for name in names(&loaded.policy).chain([STATE_KEY]) {
        let key = new_key()?;
        write_new(&key_file(&loaded.daemon.keys.directory, name), &key)?;
        keys.push((name.to_owned(), key));
    }
    Ok((loaded, config, KeyRing::of(keys)))
}

/// Runs every lane to the end of its input, one after the other.
fn work(loaded: &Loaded, keys: &KeyRing, folder: &Path) -> anyhow::Result<Vec<(Arc<Lane>, Tally)>> {
    let metrics = Metrics::new(&loaded.policy.version)?;
    let directory = directory::open(directory::with_keys(folder, loaded, keys)?)?;
    let spinner = ProgressBar::new_spinner().with_message("deciding");
    spinner.enable_steady_tick(Duration::from_millis(100));
    let mut done = Vec::new();
    for run in lanes(loaded, keys, "")? {
        let LaneRun {
            lane, plan, namer, ..
        } = run;
        let transport = directory.transport(&plan, Stop::default())?;
        let holds = holds(&loaded.daemon);
        let pipeline = Pipeline::with_state(Arc::clone(&lane), namer, holds);
        let mut worker = Worker::new(pipeline, transport, metrics.worker(&lane, 0));
        worker.bounds = (&loaded.daemon.batch).into();
        worker.run()?;
        done.push((lane, worker.totals));
    }
    spinner.finish_and_clear();
    Ok(done)
}
