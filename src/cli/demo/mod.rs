//! `zeef demo`: all of it at work on a machine with nothing installed.
//!
//! Uses the real directory transport and the real worker, in a folder of its
//! own that is kept: three nights, up to this one. Everybody in it is invented.

mod member;
mod shipped;
mod show;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::daemon::clock::now_ms;
use crate::daemon::metrics::Metrics;
use crate::daemon::run::{LaneRun, holds, lanes};
use crate::daemon::worker::Worker;
use crate::engine::lane::Lane;
use crate::engine::pipeline::Pipeline;
use crate::engine::tally::Tally;
use crate::policy::Loaded;
use crate::policy::pseudonym::{KeyRing, STATE_KEY, key_file};
use crate::policy::recipient::Libraries;
use crate::sample::{Library, Member, Message, Settings};
use crate::transport::Stop;
use crate::transport::file::{Mode, create_folder, create_folders};

use super::arguments::DemoArguments;
use super::config::load;
use super::directory;
use super::exit::{Exit, Failure};
use super::generate::{DirectorySink, Existing, Sink, fill};
use super::key::Keys;
use super::keys::{new_key, write_new};
use super::logging;
use super::project::names;
use super::screen::Screen;
use member::Followed;

const DAY_MS: i64 = 86_400_000;
/// How many nights the demo has.
const NIGHTS: i64 = 3;

pub(super) fn run(arguments: &DemoArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    logging::quiet();
    let folder = new_folder(arguments.directory.as_deref())?;
    let (loaded, config, keys) = policy(arguments, &folder)?;
    let nights = Nights {
        loaded: &loaded,
        keys: &keys,
        folder: &folder,
        last_ms: now_ms(),
    };
    let library = Library::new(Settings::new(
        arguments.seed,
        arguments.patrons,
        nights.date(0),
    ));
    let isil = library_of(&loaded);
    let on = |night| Member::new(isil, nights.date(night));
    let mut sink = DirectorySink::open(&folder, Existing::Refuse)?;
    let mut records = fill(&library, true, &mut sink)?;
    records += put(&mut sink, &on(0).records())?;
    let started = Instant::now();
    let lanes = nights.work(0)?;
    let took = started.elapsed();
    let mut followed = Followed::new(&on(0), &nights)?;
    // Withdrawn by day, read in the night after it; then the same with the erasure.
    for (night, message) in [(1, on(1).withdrawal()), (2, on(2).erasure())] {
        let mut sink = DirectorySink::open(&folder, Existing::Append)?;
        put(&mut sink, &[message])?;
        nights.work(night)?;
        followed.look(&folder)?;
    }
    let done = Done {
        records,
        took,
        lanes,
        poison: library.poison().count(),
        searched: member::search(&folder)?,
        someone: library.patron_id(0),
        folder,
        config,
    };
    show::all(screen, &loaded, &library, &followed, &done)?;
    Ok(Exit::Fine)
}

/// What the demo did.
pub(super) struct Done {
    records: u64,
    /// The first night.
    took: Duration,
    lanes: Vec<(Arc<Lane>, Tally)>,
    /// How many records were made that must not pass.
    poison: usize,
    searched: member::Searched,
    /// Some patron.
    someone: String,
    folder: PathBuf,
    config: PathBuf,
}

/// The library of the member that is followed: one that the policy serves.
fn library_of(loaded: &Loaded) -> &str {
    let recipients = loaded.policy.recipients.iter();
    let mut listed = recipients.filter_map(|recipient| match &recipient.libraries {
        Libraries::All => None,
        Libraries::Only(libraries) => libraries.first(),
    });
    listed.next().map_or("NL-AmrBKW", String::as_str)
}

fn put(sink: &mut DirectorySink, messages: &[Message]) -> anyhow::Result<u64> {
    for message in messages {
        let value = message.value.as_deref().map(str::as_bytes);
        sink.put(message.source, Some(message.key.as_bytes()), value)?;
    }
    sink.finish()?;
    Ok(messages.len() as u64)
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

/// The nights of the demo; the last one is now.
struct Nights<'a> {
    loaded: &'a Loaded,
    keys: &'a KeyRing,
    folder: &'a Path,
    last_ms: i64,
}

impl Nights<'_> {
    /// When a night is, counted from 0.
    fn ms(&self, night: i64) -> i64 {
        self.last_ms - (NIGHTS - 1 - night) * DAY_MS
    }

    fn date(&self, night: i64) -> jiff::civil::Date {
        let time = jiff::Timestamp::from_millisecond(self.ms(night)).unwrap_or_default();
        time.to_zoned(jiff::tz::TimeZone::UTC).date()
    }

    /// Runs every lane to the end of its input, one after the other.
    fn work(&self, night: i64) -> anyhow::Result<Vec<(Arc<Lane>, Tally)>> {
        let (loaded, at_ms) = (self.loaded, self.ms(night));
        let metrics = Metrics::new(&loaded.policy.version)?;
        let settings = directory::with_keys(self.folder, loaded, self.keys)?;
        let directory = directory::open_at(settings, at_ms)?;
        let spinner = ProgressBar::new_spinner().with_message("deciding");
        spinner.enable_steady_tick(Duration::from_millis(100));
        let mut done = Vec::new();
        for run in lanes(loaded, self.keys, "")? {
            let LaneRun {
                lane, plan, namer, ..
            } = run;
            let transport = directory.transport(&plan, Stop::default())?;
            let holds = holds(&loaded.daemon);
            let pipeline = Pipeline::with_state(Arc::clone(&lane), namer, holds);
            let mut worker = Worker::new(pipeline, transport, metrics.worker(&lane, 0));
            worker.bounds = (&loaded.daemon.batch).into();
            worker.clock = Box::new(move || at_ms);
            worker.run()?;
            done.push((lane, worker.totals));
        }
        directory.compact_if_due()?;
        spinner.finish_and_clear();
        Ok(done)
    }
}
