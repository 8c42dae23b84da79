//! The same with a directory of files: lines are appended to its sources, and
//! each night a process reads them to their end.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use zeef::daemon::worker::WorkerExit;
use zeef::engine::lane::Lane;
use zeef::message::Fault;
use zeef::message::continuity::Fingerprinter;
use zeef::transport::StopSignal;
use zeef::transport::directory::{Directory, DirectorySettings};

use zeef_test_kit::config::files_below;
use zeef_test_kit::convergence_model::ConvergenceModel;
use zeef_test_kit::deployment::{
    DeploymentSetup, LaneLayout, ValuesByTopic, cached_lanes, check_state, new_worker,
    recipient_topics,
};
use zeef_test_kit::model::json;
use zeef_test_kit::scenario::{self, ScenarioStep};
use zeef_test_kit::scenario_runner::compare_with_model;

/// Appends a line to a source; a value that is no JSON makes it a broken one.
fn append_line(root: &Path, source: &str, key: Option<&str>, value: Option<&str>) {
    let path = root.join("in").join(format!("{source}.ndjson"));
    let file = OpenOptions::new().create(true).append(true).open(path);
    let key = key.map_or("null".to_owned(), json::quote);
    let value = value.unwrap_or("null");
    let line = format!("{{\"key\":{key},\"value\":{value}}}\n");
    let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
    written.expect("append a line");
}

/// One run, as the daemon makes it.
fn run_lanes(
    root: &Path,
    setup: DeploymentSetup,
    lanes: &[Arc<Lane>],
    clock: &Arc<AtomicI64>,
) -> Result<(), Fault> {
    let settings = DirectorySettings {
        max_line_bytes: 1 << 20,
        ..DirectorySettings::new(root, Fingerprinter::new([1, 2, 3, 4]))
    };
    let directory = Directory::open_at(settings, clock.load(Ordering::Relaxed))?;
    for lane in lanes {
        let transport = directory.lane_transport(&lane.transport_plan(), StopSignal::default())?;
        let ended = new_worker(lane, transport, setup, clock).run()?;
        assert_eq!(ended, WorkerExit::EndOfInput);
    }
    directory.compact_if_due()?;
    Ok(())
}

/// How long the outputs are.
fn output_bytes(root: &Path) -> u64 {
    let outputs = files_below(&root.join("out")).into_iter();
    outputs.map(|path| fs::read(path).expect("what it holds").len() as u64).sum()
}

/// The last line of each key, of all files that zeef wrote.
fn last_values_by_topic(root: &Path) -> ValuesByTopic {
    let mut topics = ValuesByTopic::new();
    for folder in ["out", ".zeef"] {
        for path in files_below(&root.join(folder)) {
            let Some("ndjson") = path.extension().and_then(|end| end.to_str()) else {
                continue;
            };
            let topic = path.file_stem().unwrap_or_default().to_string_lossy();
            let values = topics.entry(topic.into_owned()).or_default();
            for line in fs::read_to_string(&path).expect("lines").lines() {
                let members = json::raw_members(line).expect("a line");
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
fn find_text(root: &Path, texts: &[String]) -> Option<String> {
    for folder in ["out", ".zeef"] {
        for path in files_below(&root.join(folder)) {
            let held = fs::read(&path).expect("what it holds");
            let held = String::from_utf8_lossy(&held);
            if texts.iter().any(|text| held.contains(text)) {
                return Some(path.display().to_string());
            }
        }
    }
    None
}

fn play_on_directory(steps: &[ScenarioStep], setup: DeploymentSetup) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    fs::create_dir(root.join("in")).expect("a folder");
    let clock = Arc::new(AtomicI64::new(scenario::START_MS));
    let mut model = ConvergenceModel::new(scenario::START_MS);
    let mut lanes = cached_lanes(setup.layout, false);
    let mut unread = Vec::new();
    let mut arrived_ms = 0;
    for step in steps {
        match step {
            ScenarioStep::PushMessage { source, key, value, .. } => {
                append_line(root, source, key.as_deref(), value.as_deref());
                unread.push((*source, key.clone(), value.clone()));
            }
            ScenarioStep::SetClock(now_ms) => {
                clock.store(*now_ms, Ordering::Relaxed);
                model.set_clock(*now_ms);
            }
            ScenarioStep::RunToEnd => {
                // What lies in the files of one night came at one time.
                arrived_ms = clock.load(Ordering::Relaxed).max(arrived_ms + 1);
                for (source, key, value) in unread.drain(..) {
                    let key = key.as_deref().map(str::as_bytes);
                    let value = value.as_deref().map(str::as_bytes);
                    model.push_message(source, 0, (key, value), arrived_ms);
                }
                run_lanes(root, setup, lanes, &clock).map_err(|fault| fault.to_string())?;
                let before = output_bytes(root);
                run_lanes(root, setup, lanes, &clock).map_err(|fault| fault.to_string())?;
                if before != output_bytes(root) {
                    let after = output_bytes(root);
                    return Err(format!(
                        "a night in which nothing came wrote something: {before:?}, {after:?}"
                    ));
                }
                let topics = last_values_by_topic(root);
                check_state(&topics, lanes)?;
                compare_with_model(&mut model, recipient_topics(topics))?;
                for patron_id in model.erased_patron_ids() {
                    if let Some(found) = find_text(root, &scenario::traces_of(patron_id)) {
                        return Err(format!("{patron_id} is erased, and still in {found}"));
                    }
                }
            }
            ScenarioStep::SwitchPolicy(changed) => {
                lanes = cached_lanes(setup.layout, *changed);
                model.set_policy(*changed);
            }
            // Files do not lose lines, and no night is broken off here.
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn convergence_holds_for_directory_runs() {
    for seed in crate::seeds(3) {
        let steps = scenario::generate_scenario(seed, 30);
        let layout = if seed % 2 == 0 { LaneLayout::OneLane } else { LaneLayout::TwoLanes };
        let setup = DeploymentSetup { layout, batch_records: 7, ..DeploymentSetup::DEFAULT };
        if let Err(difference) = play_on_directory(&steps, setup) {
            panic!("seed {seed}, {setup:?}: {difference}");
        }
    }
}
