//! What is sent again, by a refill or under a new key, is in the ledger, too.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use zeef::ledger::Operation;
use zeef::ledger::block::Block;
use zeef::ledger::keys::LedgerKeys;
use zeef::message::commands::{CommandRecord, OperatorCommand};
use zeef::policy::pseudonym::HmacKey;
use zeef_test_kit::deployment::{DeploymentSetup, InMemoryDeployment};
use zeef_test_kit::scenario::START_MS;

use super::audit::run_in_directory;
use super::command_line::{Deployment, patron, reservation};
use super::outputs::check_lane;
use super::setups;

const PATRONS: usize = 20;
const RECIPIENT: &str = "service-message";
const TOPIC: &str = "out.service-message";

/// Runs to the end, and compares the ledger of each lane with what it sent. Returns how many
/// outputs of records were corrected, as the ledger says.
fn count_corrections(deployment: &mut InMemoryDeployment) -> usize {
    deployment.run_to_end().expect("a run to the end");
    let lanes = deployment.lanes_with_outputs().into_iter();
    let counts = lanes.map(|(lane, outputs)| check_lane(&lane, &outputs));
    counts.map(|counts| counts.get(&Operation::Correct).copied().unwrap_or(0)).sum()
}

#[test]
fn ledger_equals_outputs_key_for_key_over_a_refill() {
    for setup in setups() {
        let setup = DeploymentSetup { has_ledger: true, ..setup };
        let mut deployment = InMemoryDeployment::new(setup, START_MS);
        for number in 0..PATRONS {
            let partition = i32::try_from(number).unwrap() % setup.partitions;
            let id = format!("p{number}");
            let mut push = |source: &str, fields: &str| {
                let value = format!(r#"{{"patron_id":"{id}","library":"NL-AmrBKW",{fields}}}"#);
                let (key, value) = (Some(id.as_bytes()), Some(value.as_bytes()));
                deployment.push_message(source, partition, key, value);
            };
            push(
                "patron",
                r#""kind":"person","surname":"Berg","membership":{"id":"M","status":"active"}"#,
            );
            push(
                "loan",
                &format!(r#""loan_id":"l{number}","status":"open","due_on":"2026-06-01""#),
            );
        }
        let before = count_corrections(&mut deployment);
        let sent = deployment.count_sent_to(TOPIC).0;
        assert_eq!(sent, PATRONS);
        let refill = OperatorCommand::Refill { recipient: RECIPIENT.to_owned() };
        let command = CommandRecord::new(refill, String::new(), String::new());
        let end = deployment.commands.end_offset;
        deployment.commands.add_message(end, &command.encode()).expect("a command");
        deployment.restart();
        let corrections = count_corrections(&mut deployment) - before;
        let sent_again = deployment.count_sent_to(TOPIC).0 - sent;
        assert!(sent_again >= PATRONS, "{sent_again}");
        assert_eq!(corrections, sent_again, "{setup:?}");
    }
}

const RESERVATION_SLIP: &str = "reservation-slip";

/// Outputs by the hash of their key, and whether each is a tombstone; oldest first.
type Outputs = Vec<(String, bool)>;

/// What is left once the outputs of each key but the last are compacted away.
fn compacted(outputs: &Outputs) -> BTreeMap<&str, bool> {
    outputs.iter().map(|(key, is_null)| (key.as_str(), *is_null)).collect()
}

fn sorted(outputs: &Outputs) -> Outputs {
    let mut outputs = outputs.clone();
    outputs.sort();
    outputs
}

/// The lines of a file.
fn lines_of(path: &Path) -> Vec<Vec<u8>> {
    let text = fs::read(path).unwrap();
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

pub(crate) fn files_in(folder: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// What lies in the outputs of a directory, and what its ledger says was sent; and the operations.
fn sent_and_told(deployment: &Deployment) -> (Outputs, Outputs, Vec<Operation>) {
    let data = deployment.path("data");
    let key = fs::read_to_string(deployment.path("config/keys/zeef.ledger.key")).unwrap();
    let keys = LedgerKeys::new(&HmacKey::parse(&key).unwrap()).unwrap();
    let (mut told, mut operations, mut time) = (Vec::new(), Vec::new(), 0);
    let mut blocks = files_in(&data.join(".zeef/ledger"));
    blocks.retain(|path| !path.ends_with("policy.ndjson"));
    for line in blocks.iter().flat_map(|path| lines_of(path)) {
        let block: Block<'_> = serde_json::from_slice(&line).unwrap();
        time = block.time;
        for line in block.lines.iter().filter(|line| line.parent.is_none()) {
            operations.push(line.operation);
            if !matches!(line.operation, Operation::Forget | Operation::Refuse) {
                let is_null = line.operation == Operation::Retract;
                told.push((line.key.as_deref().unwrap().to_owned(), is_null));
            }
        }
    }
    let mut sent = Vec::new();
    let owners = files_in(&data.join("out")).into_iter().filter(|owner| !owner.ends_with("zeef"));
    for path in owners.flat_map(|owner| files_in(&owner)) {
        let topic = path.file_stem().unwrap().to_str().unwrap();
        for line in lines_of(&path) {
            let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
            let key = line["key"].as_str().unwrap().as_bytes();
            sent.push((keys.at(time).output_hash(topic, key), line["value"].is_null()));
        }
    }
    (sent, told, operations)
}

#[test]
fn directory_ledger_has_a_line_for_each_output_of_a_refill_and_of_a_new_key() {
    let deployment = Deployment::new();
    deployment.append("patron", "p1", &patron("p1"));
    deployment.append("reservation", "p1", &reservation("p1", "ready_for_pickup"));
    deployment.run();
    let (sent, told, first) = sent_and_told(&deployment);
    assert_eq!(sorted(&sent), sorted(&told));
    assert!(first.contains(&Operation::Release));
    check_script(&deployment);
    let mut count = first.len();
    for (words, wanted) in [
        // The same output once more, and then one under another key.
        (&["refill", "reservation-slip"][..], &[Operation::Correct][..]),
        (&["keys", "rotate", "reservation-slip"], &[Operation::Retract, Operation::Correct]),
    ] {
        let ran = run_in_directory(&deployment, &[words, &["--reason", "a test"]].concat());
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        deployment.run();
        let (sent, told, operations) = sent_and_told(&deployment);
        assert_eq!(compacted(&sent), compacted(&told), "{words:?}");
        // The retraction of the former key has the file compacted.
        if !wanted.contains(&Operation::Retract) {
            assert_eq!(sorted(&sent), sorted(&told), "{words:?}");
            check_script(&deployment);
        }
        assert_eq!(&operations[count..], wanted, "{words:?}");
        count = operations.len();
    }
    assert!(deployment.ledger(&["verify"]).starts_with("ok "));
    let (code, said) = run_script(&deployment, &[]);
    assert_eq!(code, 0, "{said}");
}

pub(crate) fn run_script(deployment: &Deployment, outputs: &[&Path]) -> (i32, String) {
    let mut script = Command::new("python3");
    script.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/verify_ledger.py"));
    script.arg(deployment.path("data/.zeef/ledger"));
    for path in outputs {
        script.args(["--outputs", RESERVATION_SLIP]).arg(path);
    }
    let ran = script.output().expect("python3");
    (ran.status.code().unwrap(), String::from_utf8_lossy(&ran.stdout).into_owned())
}

/// The script finds that what the recipient got is what the ledger says; and that it is not, for
/// each message that is missing, came twice, or is a null in the other's place.
fn check_script(deployment: &Deployment) {
    let owner = deployment.path("data/out").join(RESERVATION_SLIP);
    let outputs = files_in(&owner).remove(0);
    let (code, said) = run_script(deployment, &[&outputs]);
    assert_eq!(code, 0, "{said}");
    let lines = lines_of(&outputs);
    for index in 0..lines.len() {
        let mut null: serde_json::Value = serde_json::from_slice(&lines[index]).unwrap();
        null["value"] = serde_json::Value::Null;
        let null = null.to_string().into_bytes();
        for changed in [vec![], vec![lines[index].clone(); 2], vec![null]] {
            let mut changed_lines = lines.clone();
            changed_lines.splice(index..=index, changed);
            let file = deployment.path("changed.ndjson");
            fs::write(&file, changed_lines.join(&b"\n"[..])).unwrap();
            let (code, said) = run_script(deployment, &[&file]);
            assert!(code == 1 && said.contains("broken: reservation-slip: {"), "{code} {said}");
        }
    }
}
