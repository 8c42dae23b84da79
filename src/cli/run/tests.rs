//! Recipients that move between the lanes of a directory, killed at any step.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::cli::generate::{DirectorySink, ExistingFiles, write_library};
use crate::cli::keys::generate_key;
use crate::cli::project::recipient_names;
use crate::config::keyring::STATE_KEY_NAME;
use crate::policy::Policy;
use crate::sample::{SampleLibrary, SampleSettings};

/// More steps than any night takes.
const UNLIMITED_STEPS: usize = 100_000;
const DAY_MS: i64 = 86_400_000;
const MOVED_TOPIC: &str = "reservation-slip/out.reservation-slip.ndjson";
const FINANCE_LANE: &str =
    "\n[lanes.finance]\nrecipients = [\"reservation-slip\", \"service-message\"]\n";

/// Where the recipients are.
struct LaneLayout {
    loaded: LoadedConfig,
    lanes: Vec<LaneSetup>,
}

struct LaneMoveFixture {
    folder: TempDir,
    keys: KeyRing,
    first_night_ms: i64,
    all_in_main: LaneLayout,
    some_in_finance: LaneLayout,
}

/// What happens to patrons at a time: two are corrected and two are erased, from this number on.
#[derive(Clone, Copy)]
struct PatronChanges(usize);

const PATRON_COUNT: u64 = 24;

/// Of each output file the last value of each key.
type FoundOutputs = BTreeMap<String, BTreeMap<String, Value>>;

impl LaneMoveFixture {
    fn new() -> LaneMoveFixture {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("config");
        zeef_test_kit::config::write_shipped_config(&config);
        let loaded = Policy::load(&config).unwrap();
        let names = recipient_names(&loaded.policy).chain([STATE_KEY_NAME]);
        let keys = names.map(|name| (name.to_owned(), generate_key().unwrap()));
        let keys = KeyRing::from_keys(keys);
        let layout = |loaded: LoadedConfig| {
            let lanes = run::compile_lanes(&loaded, &keys, LaneTransport::Directory).unwrap();
            LaneLayout { loaded, lanes }
        };
        let all_in_main = layout(loaded);
        let path = config.join("zeef.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text + FINANCE_LANE).unwrap();
        let some_in_finance = layout(Policy::load(&config).unwrap());
        let fixture = LaneMoveFixture {
            first_night_ms: now_ms() - 3 * DAY_MS,
            all_in_main,
            some_in_finance,
            keys,
            folder,
        };
        let root = fixture.root("start");
        let today = jiff::Timestamp::from_millisecond(fixture.first_night_ms).unwrap();
        let today = today.to_zoned(jiff::tz::TimeZone::UTC).date();
        let library = SampleLibrary::new(SampleSettings {
            reservations_per_patron: 4.0,
            ..SampleSettings::new(7, PATRON_COUNT, today)
        });
        let mut sink = DirectorySink::open(&root, ExistingFiles::Refuse).unwrap();
        write_library(&library, false, &mut sink).unwrap();
        drop(sink);
        fixture.run_night((&root, 0), &fixture.all_in_main);
        let values = count_values(&outputs(&root)[MOVED_TOPIC]);
        assert!(values > 3, "{values} slips");
        fixture
    }

    fn root(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A copy of the directory after the first night.
    fn copy_start(&self, name: &str) -> PathBuf {
        let root = self.root(name);
        zeef_test_kit::config::copy_dir(&self.root("start"), &root);
        root
    }

    /// Opens a directory whose process dies after some steps.
    fn open(
        &self,
        (root, night): (&Path, i64),
        layout: &LaneLayout,
        steps_left: &Arc<AtomicUsize>,
    ) -> anyhow::Result<Directory> {
        let settings = directory::settings_with_keys(root, &layout.loaded, &self.keys)?;
        let at_ms = self.first_night_ms + night * DAY_MS;
        Ok(Directory::open_crashing(settings, steps_left, at_ms)?)
    }

    /// Begins a night, and dies after some steps. Returns how many steps it took if it did not die
    /// before the lanes run.
    fn die_after(
        &self,
        steps: usize,
        night: (&Path, i64),
        layout: &LaneLayout,
    ) -> anyhow::Result<usize> {
        let left = Arc::new(AtomicUsize::new(steps));
        let directory = self.open(night, layout, &left)?;
        prepare_directory(&directory, (&layout.loaded, &self.keys), &layout.lanes)?;
        Ok(steps - left.load(Ordering::Relaxed))
    }

    fn run_night(&self, night: (&Path, i64), layout: &LaneLayout) {
        let left = Arc::new(AtomicUsize::new(UNLIMITED_STEPS));
        let directory = self.open(night, layout, &left).unwrap();
        let (loaded, mut lanes) = (&layout.loaded, layout.lanes.clone());
        let states = prepare_directory(&directory, (loaded, &self.keys), &lanes).unwrap();
        let commands = Arc::new(directory.read_commands().unwrap());
        lanes.retain(|lane| !states.unused_lanes.contains(&lane.lane.name));
        for lane in &mut lanes {
            lane.set_commands(&commands);
            lane.plan.known_former_topics.clone_from(&states.known_former_topics);
        }
        let endpoint = Endpoint::Directory(directory);
        let run = Run {
            loaded,
            endpoint: &endpoint,
            admin: None,
            stop: StopSignal::default(),
            stop_limit: None,
            intakes: Vec::new(),
            metrics: Arc::new(Metrics::new(&loaded.policy.version).unwrap()),
        };
        assert_eq!(run.run(lanes).unwrap(), RunOutcome::EndOfInput);
    }
}

/// Appends new versions of two patrons and the erasures of two others.
fn change_patrons(root: &Path, PatronChanges(first): PatronChanges) {
    let path = root.join("in/patron.ndjson");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    for line in &lines[first..first + 2] {
        let other = line.replacen("\"surname\":\"", "\"surname\":\"Ypma ", 1);
        assert_ne!(other, *line);
        writeln!(file, "{other}").unwrap();
    }
    for line in &lines[first + 2..first + 4] {
        let line: Value = serde_json::from_str(line).unwrap();
        writeln!(file, "{{\"key\":{},\"value\":null}}", line["key"]).unwrap();
    }
}

/// Dead letters apart, which have the time of their batch.
fn outputs(root: &Path) -> FoundOutputs {
    let out = root.join("out");
    let mut found = FoundOutputs::new();
    for path in zeef_test_kit::config::files_below(&out) {
        let name = path.strip_prefix(&out).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        if !name.starts_with("zeef/") {
            let values = lines.map(|line| (line["key"].to_string(), line["value"].clone()));
            found.insert(name, values.collect());
        }
    }
    found
}

fn count_values(values: &BTreeMap<String, Value>) -> usize {
    values.values().filter(|value| !value.is_null()).count()
}

/// Before a night, and between death and repeat.
const DAYS: [[PatronChanges; 2]; 2] =
    [[PatronChanges(0), PatronChanges(4)], [PatronChanges(8), PatronChanges(12)]];

/// Recipients go to another lane in one night and come back in the next. Each time the process dies
/// after the same step, and often again when it is started again; before the night and between
/// death and repeat somebody is corrected and somebody is erased. In the end every recipient has what
/// it has without lanes and without deaths.
#[test]
fn directory_lane_move_killed_at_any_step_ends_as_without_it() {
    let fixture = LaneMoveFixture::new();
    let nights = [&fixture.some_in_finance, &fixture.all_in_main];
    let control = fixture.copy_start("control");
    for (night, days) in (1..).zip(DAYS) {
        days.into_iter().for_each(|changes| change_patrons(&control, changes));
        fixture.run_night((&control, night), &fixture.all_in_main);
    }
    let wanted = outputs(&control);
    let values = &wanted[MOVED_TOPIC];
    assert!(values.len() > count_values(values), "nobody with a slip is erased");
    for steps in 0.. {
        let root = fixture.copy_start("moving");
        let mut has_died = false;
        for ((night, days), layout) in (1..).zip(DAYS).zip(nights) {
            change_patrons(&root, days[0]);
            has_died |= fixture.die_after(steps, (&root, night), layout).is_err();
            // Again while it finishes, or repeats, what the first one left.
            let _ = fixture.die_after(steps % 7, (&root, night), layout);
            change_patrons(&root, days[1]);
            fixture.run_night((&root, night), layout);
        }
        assert_eq!(outputs(&root), wanted, "died after step {steps}");
        fs::remove_dir_all(&root).unwrap();
        if !has_died {
            assert!(steps > 12, "{steps}");
            return;
        }
    }
}
