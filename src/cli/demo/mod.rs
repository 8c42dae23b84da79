//! `zeef demo`: everything at work on a machine with nothing installed.
//!
//! Uses the real directory transport and the real worker, in a folder of its own that is
//! kept: three nights, up to this one. Everybody in it is invented.

mod followed_member;
mod shipped_config;
mod show;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::config::LoadedConfig;
use crate::config::keyring::{KeyRing, STATE_KEY_NAME, key_file};
use crate::daemon::clock::now_ms;
use crate::daemon::metrics::Metrics;
use crate::daemon::run::{LaneSetup, LaneTransport, compile_lanes};
use crate::daemon::worker::Worker;
use crate::engine::lane::Lane;
use crate::engine::pipeline::Pipeline;
use crate::engine::tally::Tally;
use crate::policy::recipient::ServedLibraries;
use crate::policy::term::DAY_MS;
use crate::sample::{DemoPatron, SampleLibrary, SampleMessage, SampleSettings};
use crate::transport::StopSignal;
use crate::transport::file::{FileMode, create_folder, create_folder_all};

use super::arguments::DemoArguments;
use super::config::load;
use super::directory;
use super::exit::{CliFailure, Exit};
use super::generate::{DirectorySink, ExistingFiles, MessageSink, write_library};
use super::key_lookup::FoundKeys;
use super::keys::{generate_key, write_new_key_file};
use super::logging;
use super::project::recipient_names;
use super::screen::Screen;
use followed_member::FollowedMember;

/// How many nights the demo has.
const RUN_COUNT: i64 = 3;

pub(super) fn run(arguments: &DemoArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    logging::start_errors_only();
    let folder = create_demo_folder(arguments.directory.as_deref())?;
    let (loaded, config, keys) = load_policy_and_keys(arguments, &folder)?;
    let directory_runs =
        DirectoryRuns { loaded: &loaded, keys: &keys, folder: &folder, last_run_ms: now_ms() };
    let library = SampleLibrary::new(SampleSettings::new(
        arguments.seed,
        arguments.patrons,
        directory_runs.run_date(0),
    ));
    let isil = served_library(&loaded);
    let on = |night| DemoPatron::new(isil, directory_runs.run_date(night));
    let mut sink = DirectorySink::open(&folder, ExistingFiles::Refuse)?;
    let mut records = write_library(&library, true, &mut sink)?;
    records += write_messages(&mut sink, &on(0).initial_messages())?;
    let started = Instant::now();
    let lanes = directory_runs.run_lanes(0)?;
    let took = started.elapsed();
    let mut followed = FollowedMember::new(&on(0), &directory_runs)?;
    // It happens by day and is read in the night after it; then the same with the erasure.
    let days = [(1, on(1).changes_of_second_day()), (2, vec![on(2).erasure_tombstone()])];
    for (night, messages) in days {
        let mut sink = DirectorySink::open(&folder, ExistingFiles::Append)?;
        write_messages(&mut sink, &messages)?;
        directory_runs.run_lanes(night)?;
        followed.read_outputs(&folder)?;
    }
    let done = DemoResult {
        patrons: library.settings().patrons,
        records,
        first_run_duration: took,
        lanes,
        invalid_records: library.invalid_records().count(),
        trace_search: followed_member::search_traces(&folder)?,
        example_patron_id: library.patron_id(0),
        folder,
        config,
    };
    show::write_demo(screen, &loaded, &followed, &done)?;
    Ok(Exit::Success)
}

/// The results of the demo.
pub(super) struct DemoResult {
    patrons: u64,
    records: u64,
    /// The first night.
    first_run_duration: Duration,
    lanes: Vec<(Arc<Lane>, Tally)>,
    /// How many of the records must not pass.
    invalid_records: usize,
    trace_search: followed_member::TraceSearch,
    example_patron_id: String,
    folder: PathBuf,
    config: PathBuf,
}

/// Returns the library of the followed member: one that the policy serves.
fn served_library(loaded: &LoadedConfig) -> &str {
    let recipients = loaded.policy.recipients.iter();
    let mut listed = recipients.filter_map(|recipient| match &recipient.libraries {
        ServedLibraries::All => None,
        ServedLibraries::Only(libraries) => libraries.first(),
    });
    listed.next().map_or("NL-AmrBKW", String::as_str)
}

fn write_messages(sink: &mut DirectorySink, messages: &[SampleMessage]) -> anyhow::Result<u64> {
    for message in messages {
        let value = message.value.as_deref().map(str::as_bytes);
        let key = message.key.as_deref().map(str::as_bytes);
        sink.write_message(message.source, key, value)?;
    }
    sink.finish()?;
    Ok(messages.len() as u64)
}

/// Creates the demo's folder, for this user alone; it must not exist.
fn create_demo_folder(wanted: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(folder) = wanted {
        if create_folder_if_absent(folder)? {
            return Ok(folder.to_owned());
        }
        let folder = folder.display();
        let text = format!("{folder} exists already: the demo needs a new folder");
        return Err(CliFailure::Usage(text).into());
    }
    let root = std::env::temp_dir();
    let stamp = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    for number in 1..100 {
        let more = match number {
            1 => String::new(),
            _ => format!("-{number}"),
        };
        let folder = root.join(format!("zeef-demo-{stamp}{more}"));
        if create_folder_if_absent(&folder)? {
            return Ok(folder);
        }
    }
    anyhow::bail!("cannot create a folder for the demo in {}", root.display())
}

/// Creates a folder. Returns false if something has its name already.
fn create_folder_if_absent(folder: &Path) -> anyhow::Result<bool> {
    if let Some(parent) = folder.parent().filter(|one| !one.as_os_str().is_empty()) {
        create_folder_all(parent, FileMode::for_folder(false))?;
    }
    match create_folder(folder, FileMode::for_folder(false)) {
        Err(failure) if failure.cause.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        created => Ok(created.map(|()| true)?),
    }
}

/// Returns the demo's policy, the folder of its files, and its keys.
fn load_policy_and_keys(
    arguments: &DemoArguments,
    folder: &Path,
) -> anyhow::Result<(LoadedConfig, PathBuf, KeyRing)> {
    if let Some(config) = &arguments.config {
        let loaded = load(config)?;
        let names: Vec<&str> = recipient_names(&loaded.policy).collect();
        let keys =
            FoundKeys::find_keys(&loaded.daemon.keys, &names).into_ring_with_throwaways(&names)?;
        return Ok((loaded, config.clone(), keys));
    }
    let config = folder.join("config");
    shipped_config::write_config(&config)?;
    let loaded = load(&config)?;
    let mut keys = Vec::new();
    for name in recipient_names(&loaded.policy).chain([STATE_KEY_NAME]) {
        let key = generate_key()?;
        write_new_key_file(&key_file(&loaded.daemon.keys.directory, name), &key)?;
        keys.push((name.to_owned(), key));
    }
    Ok((loaded, config, KeyRing::from_keys(keys)))
}

/// The nights of the demo; the last one is now.
struct DirectoryRuns<'a> {
    loaded: &'a LoadedConfig,
    keys: &'a KeyRing,
    folder: &'a Path,
    last_run_ms: i64,
}

impl DirectoryRuns<'_> {
    /// Returns the time of a night, counted from 0.
    fn run_time_ms(&self, run_number: i64) -> i64 {
        self.last_run_ms - (RUN_COUNT - 1 - run_number) * DAY_MS
    }

    fn run_date(&self, run_number: i64) -> jiff::civil::Date {
        let time =
            jiff::Timestamp::from_millisecond(self.run_time_ms(run_number)).unwrap_or_default();
        time.to_zoned(jiff::tz::TimeZone::UTC).date()
    }

    /// Runs every lane to the end of its input, one after the other.
    fn run_lanes(&self, run_number: i64) -> anyhow::Result<Vec<(Arc<Lane>, Tally)>> {
        let (loaded, at_ms) = (self.loaded, self.run_time_ms(run_number));
        let metrics = Metrics::new(&loaded.policy.version)?;
        let settings = directory::settings_with_keys(self.folder, loaded, self.keys)?;
        let directory = directory::open_directory_at(settings, at_ms)?;
        let spinner = ProgressBar::new_spinner().with_message("deciding");
        spinner.enable_steady_tick(Duration::from_millis(100));
        let mut done = Vec::new();
        for run in compile_lanes(loaded, self.keys, LaneTransport::Directory)? {
            let LaneSetup { lane, plan, state_keys, .. } = run;
            let transport = directory.lane_transport(&plan, StopSignal::default())?;
            let holds = loaded.daemon.holds;
            let pipeline = Pipeline::with_state(Arc::clone(&lane), state_keys, holds);
            let mut worker = Worker::new(pipeline, transport, metrics.worker_metrics(&lane, 0));
            worker.bounds = loaded.daemon.batch;
            worker.clock = Box::new(move || at_ms);
            worker.run()?;
            done.push((lane, worker.totals));
        }
        directory.compact_if_due()?;
        spinner.finish_and_clear();
        Ok(done)
    }
}
