//! The same with a directory of files: lines are appended to its sources, and
//! each night a process reads them to their end.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use zeef::daemon::worker::Ended;
use zeef::engine::lane::Lane;
use zeef::transport::continuity::Fingerprinter;
use zeef::transport::directory::{Directory, DirectorySettings};
use zeef::transport::{Fault, Stop};

use crate::play::hold;
use crate::reference::{golden, json};
use crate::site::{Layout, Setup, Topics, by_recipient, check_state, compiled, worker};
use crate::story::{self, Step};
use crate::world::World;

/// Appends a line to a source; a value that is no JSON makes it a broken one.
fn append(root: &Path, source: &str, key: Option<&str>, value: Option<&str>) {
    let path = root.join("in").join(format!("{source}.ndjson"));
    let file = OpenOptions::new().create(true).append(true).open(path);
    let key = key.map_or("null".to_owned(), json::quoted);
    let value = value.unwrap_or("null");
    let line = format!("{{\"key\":{key},\"value\":{value}}}\n");
    let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
    written.expect("append a line");
}

/// One run, as the daemon makes it.
fn night(
    root: &Path,
    setup: Setup,
    lanes: &[Arc<Lane>],
    clock: &Arc<AtomicI64>,
) -> Result<(), Fault> {
    let settings = DirectorySettings {
        line_bytes_max: 1 << 20,
        ..DirectorySettings::new(root, Fingerprinter::new([1, 2, 3, 4]))
    };
    let directory = Directory::open_at(settings, clock.load(Ordering::Relaxed))?;
    for lane in lanes {
        let transport = directory.transport(&lane.plan(), Stop::default())?;
        let ended = worker(lane, transport, setup, clock).run()?;
        assert_eq!(ended, Ended::AtEnd);
    }
    directory.compact_if_due()?;
    Ok(())
}

/// How long the outputs are.
fn written(root: &Path) -> u64 {
    let outputs = files(&root.join("out")).into_iter();
    outputs
        .map(|path| fs::read(path).expect("what it holds").len() as u64)
        .sum()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a file").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

/// The last line of each key, of all files that zeef wrote.
fn last_lines(root: &Path) -> Topics {
    let mut topics = Topics::new();
    for folder in ["out", ".zeef"] {
        for path in files(&root.join(folder)) {
            let Some("ndjson") = path.extension().and_then(|end| end.to_str()) else {
                continue;
            };
            let topic = path.file_stem().unwrap_or_default().to_string_lossy();
            let values = topics.entry(topic.into_owned()).or_default();
            for line in fs::read_to_string(&path).expect("lines").lines() {
                let members = json::members(line).expect("a line");
                let member = |name| members.iter().find(|(member, _)| member == name);
                let text = |name| member(name).map_or("null", |(_, text)| *text);
                let key = text("key").trim_matches('"').to_owned();
                match text("value") {
                    "null" => values.remove(&key),
                    value => values.insert(key, value.as_bytes().to_vec()),
                };
            }
        }
    }
    topics
}

/// Looks for any of some texts in all files that zeef wrote.
fn search(root: &Path, texts: &[String]) -> Option<String> {
    for folder in ["out", ".zeef"] {
        for path in files(&root.join(folder)) {
            let held = fs::read(&path).expect("what it holds");
            let held = String::from_utf8_lossy(&held);
            if texts.iter().any(|text| held.contains(text)) {
                return Some(path.display().to_string());
            }
        }
    }
    None
}

fn tell(steps: &[Step], setup: Setup) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    fs::create_dir(root.join("in")).expect("a folder");
    let clock = Arc::new(AtomicI64::new(story::START_MS));
    let mut world = World::new(crate::recipients(false), golden::KEY, (story::START_MS, 1));
    let mut lanes = compiled(setup.layout, false);
    let mut unread = Vec::new();
    let mut came_ms = 0;
    for step in steps {
        match step {
            Step::Push {
                source, key, value, ..
            } => {
                append(root, source, key.as_deref(), value.as_deref());
                unread.push((*source, key.clone(), value.clone()));
            }
            Step::Clock(now_ms) => {
                clock.store(*now_ms, Ordering::Relaxed);
                world.set_clock(*now_ms);
            }
            Step::Run => {
                // What lies in the files of one night came at one time.
                came_ms = clock.load(Ordering::Relaxed).max(came_ms + 1);
                for (source, key, value) in unread.drain(..) {
                    let key = key.as_deref().map(str::as_bytes);
                    let value = value.as_deref().map(str::as_bytes);
                    world.push(source, 0, (key, value), came_ms);
                }
                night(root, setup, lanes, &clock).map_err(|fault| fault.to_string())?;
                let before = written(root);
                night(root, setup, lanes, &clock).map_err(|fault| fault.to_string())?;
                if before != written(root) {
                    let after = written(root);
                    return Err(format!(
                        "a night in which nothing came wrote something: {before:?}, {after:?}"
                    ));
                }
                let topics = last_lines(root);
                check_state(&topics, lanes)?;
                hold(&mut world, by_recipient(topics).collect())?;
                for patron_id in world.gone() {
                    if let Some(found) = search(root, &story::traces_of(patron_id)) {
                        return Err(format!("{patron_id} is erased, and still in {found}"));
                    }
                }
            }
            Step::Policy(changed) => {
                lanes = compiled(setup.layout, *changed);
                world.set_policy(*changed, crate::recipients(*changed));
            }
            // Files do not lose lines, and no night is broken off here.
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn nights_over_a_directory_end_alike() {
    for seed in crate::seeds(3) {
        let steps = story::story(seed, 30);
        let layout = if seed % 2 == 0 {
            Layout::One
        } else {
            Layout::Two
        };
        let setup = Setup {
            layout,
            batch: 7,
            ..Setup::PLAIN
        };
        if let Err(difference) = tell(&steps, setup) {
            panic!("seed {seed}, {setup:?}: {difference}");
        }
    }
}
