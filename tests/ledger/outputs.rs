//! What the ledger says against what was sent.

use std::collections::{BTreeMap, BTreeSet};

use zeef::engine::lane::Lane;
use zeef::ledger::Operation;
use zeef::ledger::block::Block;
use zeef::ledger::fields::leaf_names;
use zeef::ledger::keys::{YearKey, utc_year};
use zeef::ledger::register::recipient_of_activity;
use zeef::policy::reason::Reason;
use zeef::transport::memory::PublishedOutput;
use zeef_test_kit::deployment::{DeploymentSetup, ledger_keys};
use zeef_test_kit::scenario_runner::run_scenario;
use zeef_test_kit::{scenario, worker};

use super::{STEPS, blocks_of, play, register_of, setups, value_of};

/// Adds the paths of the values in JSON.
fn add_paths(value: &serde_json::Value, path: &str, paths: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Null => {}
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                let dot = if path.is_empty() { "" } else { "." };
                add_paths(value, &format!("{path}{dot}{name}"), paths);
            }
        }
        serde_json::Value::Array(values) => {
            values.iter().for_each(|value| add_paths(value, &format!("{path}[]"), paths));
        }
        _ => drop(paths.insert(path.to_owned())),
    }
}

/// What a transaction sent: the hash of each output's key, whether it is a tombstone, and the
/// names of its fields.
type Sent = Vec<(String, bool, BTreeSet<String>)>;

fn sent_by_batch(
    outputs: &[PublishedOutput],
    keys: &BTreeMap<u32, YearKey>,
) -> BTreeMap<u32, Sent> {
    let mut sent = BTreeMap::<u32, Sent>::new();
    for output in outputs.iter().filter(|output| output.topic.starts_with("out.")) {
        let key = keys.get(&output.batch_number).expect("a batch with outputs has a block");
        let hash = key.output_hash(&output.topic, output.key.as_deref().expect("a key"));
        let mut paths = BTreeSet::new();
        if let Some(value) = &output.value {
            add_paths(&serde_json::from_slice(value).expect("JSON"), "", &mut paths);
        }
        let one = (hash, output.value.is_none(), paths);
        sent.entry(output.batch_number).or_default().push(one);
    }
    sent.values_mut().for_each(|sent| sent.sort());
    sent
}

/// Checks that the lines of each transaction are its outputs, key for key.
pub(crate) fn check_lane(lane: &Lane, outputs: &[PublishedOutput]) -> BTreeMap<Operation, usize> {
    let register = register_of(outputs);
    let (mut keys, mut told, mut counts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut ids = BTreeSet::new();
    let patrons = patron_references(outputs);
    for output in blocks_of(outputs) {
        let block: Block<'_> = serde_json::from_slice(value_of(output)).expect("a block");
        let key = ledger_keys().of_year(utc_year(block.time));
        keys.insert(output.batch_number, key);
        assert!(register.policies.contains_key(&*block.policy));
        check_other_persons(lane, &block);
        for line in &block.lines {
            assert!(ids.insert(line.id.to_string()), "an id stands twice");
            if line.parent.is_some() {
                continue;
            }
            *counts.entry(line.operation).or_insert(0) += 1;
            let activity = &register.activities[&*block.activities[usize::from(line.activity)]];
            let fields = leaf_names(&activity.leaves, line.field_bits()).map(str::to_owned);
            let fields: BTreeSet<String> = fields.collect();
            if let Some(patron) = &line.patron {
                assert!(patrons.contains(&**patron), "no patron has the reference {patron}");
            }
            let is_null = match line.operation {
                Operation::Release | Operation::Correct => false,
                Operation::Retract => true,
                Operation::Forget | Operation::Refuse => continue,
            };
            let key = line.key.as_deref().expect("a key").to_owned();
            let sent: &mut Sent = told.entry(output.batch_number).or_default();
            sent.push((key, is_null, fields));
        }
    }
    told.values_mut().for_each(|sent| sent.sort());
    let sent = sent_by_batch(outputs, &keys);
    for (batch, sent) in &sent {
        assert_eq!(told.get(batch), Some(sent), "lane {} batch {batch}", lane.name);
    }
    assert_eq!(told.len(), sent.len());
    counts
}

/// Checks the lines about other persons: each stands behind that of its operation, and what a
/// grant names a patron for has one.
fn check_other_persons(lane: &Lane, block: &Block<'_>) {
    let mut parent = None;
    for (index, line) in block.lines.iter().enumerate() {
        if line.parent.is_none() {
            parent = Some(line);
            let recipient = recipient_of_activity(block.activity_of(line));
            let program = lane.recipients.iter().find(|program| program.name == recipient);
            let is_named = program.is_some_and(|program| program.is_for_named_patrons());
            let rest = &block.lines[index + 1..];
            let children = rest.iter().take_while(|child| child.parent.is_some()).count();
            assert!(!is_named || line.operation == Operation::Refuse || children == 1, "{line:?}");
            continue;
        }
        let parent = parent.expect("a line before it");
        assert_eq!(line.parent.as_deref(), Some(&*parent.id));
        assert_eq!((&line.trace, &line.key), (&parent.trace, &parent.key));
        assert_eq!(line.activity, parent.activity);
        assert_ne!(line.patron, parent.patron);
        assert_eq!(line.field_bits() & !parent.field_bits(), 0);
    }
}

/// The references of all patrons that have rows, in all years of scenarios.
fn patron_references(outputs: &[PublishedOutput]) -> BTreeSet<String> {
    let mut hashes = BTreeSet::new();
    for output in outputs {
        let row = output.value.as_deref().unwrap_or_default();
        let row: serde_json::Value = serde_json::from_slice(row).unwrap_or_default();
        let patron = row["patron"].as_str().filter(|_| row["to"].is_object());
        hashes.extend(patron.map(str::to_owned));
    }
    let to_bits = |hash: &String| {
        zeef::engine::memory::deliveries::row_json::decode_bits(hash.as_bytes()).expect("a hash")
    };
    let ids = (0..60).map(|number| worker::state_keys().patron_hash(&format!("p{number}")).0);
    let all: BTreeSet<u128> = hashes.iter().map(to_bits).chain(ids).collect();
    let years = 2025..2036;
    years
        .flat_map(|year| {
            let key = ledger_keys().of_year(year);
            all.iter().map(|hash| key.patron_reference(*hash)).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn ledger_equals_outputs_key_for_key() {
    let mut counts = BTreeMap::<Operation, usize>::new();
    for seed in 0..4 {
        for setup in setups() {
            for (lane, outputs) in play(seed, setup).lanes {
                for (operation, count) in check_lane(&lane, &outputs) {
                    *counts.entry(operation).or_default() += count;
                }
            }
        }
    }
    let found: Vec<Operation> = counts.keys().copied().collect();
    use Operation::{Correct, Forget, Refuse, Release, Retract};
    assert_eq!(found, [Release, Correct, Retract, Forget, Refuse], "{counts:?}");
}

/// Every patron's lines and none of another's are found by its id.
#[test]
fn patron_lines_are_those_of_rows_with_its_outputs() {
    for (lane, outputs) in play(3, DeploymentSetup::DEFAULT).lanes {
        let mut patron_of_key = BTreeMap::new();
        for output in &outputs {
            let row = output.value.as_deref().unwrap_or_default();
            let row: serde_json::Value = serde_json::from_slice(row).unwrap_or_default();
            let Some(to) = row["to"].as_object() else { continue };
            for entry in to.values().filter(|entry| entry["key"].is_string()) {
                let place = (entry["topic"].to_string(), entry["key"].to_string());
                patron_of_key.insert(place, row["patron"].as_str().unwrap().to_owned());
            }
        }
        let mut patron_of_hash = BTreeMap::new();
        for ((topic, key), patron) in &patron_of_key {
            for year in 2026..2036 {
                let of_year = ledger_keys().of_year(year);
                let hash =
                    of_year.output_hash(topic.trim_matches('"'), key.trim_matches('"').as_bytes());
                let bits =
                    zeef::engine::memory::deliveries::row_json::decode_bits(patron.as_bytes());
                patron_of_hash.insert(hash, of_year.patron_reference(bits.unwrap()));
            }
        }
        let mut count = 0;
        for output in blocks_of(&outputs) {
            let block: Block<'_> = serde_json::from_slice(value_of(output)).expect("a block");
            for line in block.lines.iter().filter(|line| line.parent.is_none()) {
                let recipient =
                    recipient_of_activity(&block.activities[usize::from(line.activity)]);
                if let (Some(key), Some(patron)) = (&line.key, &line.patron) {
                    let owner = patron_of_hash.get(&**key);
                    assert!(owner.is_none_or(|owner| *owner == **patron), "{recipient}");
                    count += usize::from(owner.is_some());
                }
            }
        }
        assert!(count > 50, "{} {count}", lane.name);
    }
}

/// Without a ledger nothing is written otherwise; with one nothing else is.
#[test]
fn ledger_changes_nothing_else() {
    let steps = scenario::generate_scenario(5, STEPS);
    let is_of_ledger =
        |output: &PublishedOutput| ["zeef.ledger", "zeef.policy"].contains(&output.topic.as_str());
    let without_head = |output: &PublishedOutput| {
        let mut output = output.clone();
        // Rows say whom lines name beside the patron.
        let row = output.value.as_deref().unwrap_or_default();
        let mut row: serde_json::Value = serde_json::from_slice(row).unwrap_or_default();
        if output.topic.starts_with("zeef.state.") && row["to"].is_object() {
            row["to"].as_object_mut().into_iter().flatten().for_each(|(_, entry)| {
                entry.as_object_mut().expect("an entry").remove("about");
            });
            row["mac"] = serde_json::Value::Null;
            output.value = Some(serde_json::to_vec(&row).expect("JSON"));
        }
        if output.key.as_deref() == Some(b"mark") {
            let mark = output.value.as_deref().expect("a mark");
            let mut mark: serde_json::Value = serde_json::from_slice(mark).expect("JSON");
            let mark = mark.as_object_mut().expect("a mark");
            mark.remove("ledger");
            mark.remove("mac");
            // Made of the rows.
            mark["rows"]["sum"] = serde_json::Value::Null;
            output.value = Some(serde_json::to_vec(&mark).expect("JSON"));
        }
        output
    };
    let play = |has_ledger: bool| {
        let deployment = zeef_test_kit::deployment::InMemoryDeployment::new(
            DeploymentSetup { has_ledger, ..DeploymentSetup::DEFAULT },
            scenario::START_MS,
        );
        run_to_first_end(deployment, &steps)
    };
    let (with, without) = (play(true), play(false));
    assert!(with.iter().any(is_of_ledger) && !without.iter().any(is_of_ledger));
    let marks = without.iter().filter(|output| output.key.as_deref() == Some(b"mark"));
    for mark in marks {
        assert!(!String::from_utf8_lossy(value_of(mark)).contains("\"ledger\""));
    }
    let rest = with.iter().filter(|output| !is_of_ledger(output));
    let rest: Vec<PublishedOutput> = rest.map(without_head).collect();
    let without: Vec<PublishedOutput> = without.iter().map(without_head).collect();
    assert_eq!(rest, without);
}

/// Pushes the messages of a scenario and runs to their end at each of its clock's times.
fn run_to_first_end(
    mut deployment: zeef_test_kit::deployment::InMemoryDeployment,
    steps: &[scenario::ScenarioStep],
) -> Vec<PublishedOutput> {
    use scenario::ScenarioStep;
    for step in steps {
        match step {
            ScenarioStep::PushMessage { source, key, value, arrived_ms } => {
                deployment.set_arrival_time(*arrived_ms);
                let key = key.as_deref().map(str::as_bytes);
                deployment.push_message(source, 0, key, value.as_deref().map(str::as_bytes));
            }
            ScenarioStep::SetClock(now_ms) => deployment.set_clock(*now_ms),
            ScenarioStep::RunToEnd => deployment.run_to_end().expect("a run"),
            _ => {}
        }
    }
    deployment.run_to_end().expect("a run");
    deployment.lanes_with_outputs().remove(0).1
}

/// The model finds no trace of an erased patron in any topic, the ledger's among them, and no
/// value that was ever sent is in a block.
#[test]
fn ledger_holds_no_value_key_or_id() {
    let steps = scenario::generate_scenario(8, STEPS);
    let setup = DeploymentSetup { has_ledger: true, ..DeploymentSetup::DEFAULT };
    let result = run_scenario(&steps, setup).expect("a scenario");
    let (mut markers, mut texts) = (BTreeSet::new(), String::new());
    for step in &steps {
        if let scenario::ScenarioStep::PushMessage { value: Some(value), .. } = step {
            let value: serde_json::Value = serde_json::from_str(value).unwrap_or_default();
            collect_texts(&value, &mut markers);
        }
    }
    let mut keys = BTreeSet::new();
    for (_, outputs) in &result.lanes {
        for block in blocks_of(outputs) {
            texts.push_str(&String::from_utf8_lossy(value_of(block)));
        }
        let sent = outputs.iter().filter(|output| output.topic.starts_with("out."));
        let sent_keys = sent.filter_map(|output| output.key.as_deref());
        keys.extend(sent_keys.map(|key| String::from_utf8_lossy(key).into_owned()));
    }
    assert!(markers.len() > 50 && keys.len() > 20 && texts.len() > 10_000);
    for text in markers.iter().chain(&keys) {
        assert!(!texts.contains(&format!(":\"{text}\"")), "`{text}` is in the ledger");
    }
}

/// Adds the texts of a record that no block may have, but for words of zeef's own.
fn collect_texts(value: &serde_json::Value, texts: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::String(text) => {
            let is_word = Reason::from_name(text).is_some();
            texts.extend((text.len() > 3 && !is_word).then(|| text.clone()));
        }
        serde_json::Value::Array(values) => values.iter().for_each(|one| collect_texts(one, texts)),
        serde_json::Value::Object(members) => {
            members.values().for_each(|one| collect_texts(one, texts));
        }
        _ => {}
    }
}
