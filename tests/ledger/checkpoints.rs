//! Checkpoints follow each other, are signed, and show beside a copy outside that everything was
//! rolled back together.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use zeef::ledger::block::digest_hex;
use zeef::ledger::checkpoint::note::{Checkpoint, CheckpointSigner};
use zeef::ledger::checkpoint::verify::CheckpointVerifier;
use zeef::ledger::checkpoint::{CheckpointMaker, CheckpointMessage, HeadList, ListedHead};
use zeef::policy::pseudonym::HmacKey;
use zeef_test_kit::config::copy_dir;
use zeef_test_kit::process::KillOnDrop;
use zeef_test_kit::rng::TestRng;

use super::audit::{chain, run_in_directory};
use super::chains::{mutate, run_script, write_lines};
use super::command_line::{CANARY, Deployment, patron, reservation};

const ORIGIN: &str = "example.org/zeef";

fn maker() -> CheckpointMaker {
    let line = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    let signer = CheckpointSigner::new(ORIGIN, &HmacKey::parse(line).unwrap()).unwrap();
    CheckpointMaker { keys: vec![signer.verifier()], signer }
}

/// A checkpoint behind each line of a chain.
fn checkpoints(lines: &[Vec<u8>], name: &str) -> Vec<Vec<u8>> {
    let maker = maker();
    let mut made: Vec<Vec<u8>> = Vec::new();
    for (sequence, line) in (1..).zip(lines) {
        let head = ListedHead { sequence, hash: digest_hex(line), start: None };
        let heads = HeadList::from([(name.to_owned(), head)]);
        let last = made.last().map(Vec::as_slice);
        made.push(maker.make_next(last, &heads, 1_798_761_600).unwrap().unwrap());
    }
    made
}

fn note_of(message: &[u8]) -> String {
    serde_json::from_slice::<CheckpointMessage>(message).unwrap().checkpoint
}

fn problems(messages: &[Vec<u8>], outside: &Checkpoint) -> usize {
    let keys = maker().keys;
    let mut verifier = CheckpointVerifier::new(ORIGIN, &keys, Some(outside));
    for message in messages {
        verifier.add_message(&String::new, message);
    }
    verifier.finish();
    verifier.problems.len()
}

#[test]
fn every_change_of_the_checkpoints_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, heads) = chain();
    let name = heads.keys().next().unwrap();
    let messages = checkpoints(&lines, name);
    let maker = maker();
    let note = note_of(messages.last().unwrap());
    let outside = zeef::ledger::checkpoint::note::open_note(&note, ORIGIN, &maker.keys).unwrap();
    assert_eq!(outside.size, lines.len() as u64);
    assert_eq!(problems(&messages, &outside), 0);
    let key = maker.signer.verifier().to_text();
    let script = |messages: &[Vec<u8>]| {
        let [file, from] = ["checkpoints.ndjson", "outside"].map(|name| folder.path().join(name));
        write_lines(&file, messages);
        fs::write(&from, &note).unwrap();
        let [file, from] = [&file, &from].map(|path| path.to_str().unwrap());
        let arguments = ["--checkpoints", file, "--key", &key, "--from", from];
        run_script(folder.path(), (&lines, &heads), &arguments)
    };
    let (is_whole, said) = script(&messages);
    assert!(is_whole && said.contains("12 checkpoints"), "{said}");
    let mut rng = TestRng::new(3);
    for number in 0..200 {
        let changed = mutate(&messages, &mut rng);
        if changed == messages {
            continue;
        }
        assert!(problems(&changed, &outside) > 0, "{number}");
        if number % 20 == 0 {
            let (is_whole, said) = script(&changed);
            assert!(!is_whole, "{number}: {said}");
        }
    }
    let shorter = &messages[..messages.len() - 1];
    assert!(problems(shorter, &outside) > 0);
    let (is_whole, said) = script(shorter);
    assert!(!is_whole && said.contains("is not there"), "{said}");
}

/// Whoever writes ledger and checkpoints anew without the key is found by both.
#[test]
fn checkpoints_of_another_key_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, heads) = chain();
    let messages = checkpoints(&lines, heads.keys().next().unwrap());
    let line = "k2:AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    let other = CheckpointSigner::new(ORIGIN, &HmacKey::parse(line).unwrap()).unwrap().verifier();
    let keys = [other.clone()];
    let mut verifier = CheckpointVerifier::new(ORIGIN, &keys, None);
    messages.iter().for_each(|message| verifier.add_message(&String::new, message));
    assert_eq!(verifier.problems.len(), messages.len());
    let file = folder.path().join("checkpoints.ndjson");
    write_lines(&file, &messages);
    let key = other.to_text();
    let arguments = ["--checkpoints", file.to_str().unwrap(), "--key", &key];
    let (is_whole, said) = run_script(folder.path(), (&lines, &heads), &arguments);
    assert!(!is_whole && said.contains("no known key signed it"), "{said}");
}

/// A library whose checkpoints are kept in a file elsewhere.
pub(crate) fn library() -> (Deployment, String) {
    let deployment = Deployment::new();
    let copy = deployment.path("elsewhere");
    add_settings(&deployment, &format!("enabled = true\norigin = \"{ORIGIN}\"\ncopy = {copy:?}"));
    deployment.zeef(&["keys", "new", "--ledger"]);
    let id = fill(&deployment);
    deployment.run();
    (deployment, id)
}

/// Adds lines to `[ledger.checkpoints]`.
pub(crate) fn add_settings(deployment: &Deployment, lines: &str) {
    let settings = deployment.path("config/zeef.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let table = "\n[ledger.checkpoints]\n";
    let changed = text.replacen(table, &format!("{table}{lines}\n"), 1);
    assert_ne!(changed, text);
    fs::write(&settings, changed).unwrap();
}

/// Adds a patron with a reservation. Returns its id.
pub(crate) fn fill(deployment: &Deployment) -> String {
    let id = format!("{CANARY}-p");
    deployment.append("patron", &id, &patron(&id));
    deployment.append("reservation", &id, &reservation(&id, "ready_for_pickup"));
    id
}

#[test]
fn directory_that_was_rolled_back_as_a_whole_stops_the_start() {
    let (deployment, id) = library();
    let [data, aside] = ["data", "aside"].map(|name| deployment.path(name));
    copy_dir(&data, &aside);
    deployment.append("reservation", &id, &reservation(&id, "collected"));
    deployment.run();
    let copy = deployment.path("elsewhere");
    let verify = ["ledger", "verify", "--from", copy.to_str().unwrap()];
    let ran = run_in_directory(&deployment, &verify);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success() && said.contains("2 checkpoints"), "{said}");
    let file = data.join(".zeef/checkpoints/checkpoints.ndjson");
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains(CANARY) && text.contains("zeef.audit/0/"), "{text}");
    check_script(&deployment, true);

    // All of it is as it was before, and nothing inside tells.
    let newer = deployment.path("newer");
    fs::rename(&data, &newer).unwrap();
    copy_dir(&aside, &data);
    assert!(run_in_directory(&deployment, &["ledger", "verify"]).status.success());
    let ran = run_in_directory(&deployment, &["run"]);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(70), "{said}");
    assert!(said.contains("rolled back together"), "{said}");
    let ran = run_in_directory(&deployment, &verify);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.code() == Some(1) && said.contains("rolled back"), "{said}");
    check_script(&deployment, false);
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&newer, &data).unwrap();
    deployment.run();

    // Without the copy nothing is compared, and another one is no checkpoint of this ledger.
    fs::write(&copy, fs::read_to_string(&copy).unwrap().replacen(ORIGIN, "example.org/b", 2))
        .unwrap();
    let ran = run_in_directory(&deployment, &["run"]);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.code() == Some(70) && said.contains("another ledger"), "{said}");
    fs::remove_file(&copy).unwrap();
    deployment.run();
    assert!(copy.exists());
}

/// A run that goes on signs at its interval what went on, and keeps the copy.
#[test]
fn checkpoints_are_made_while_a_run_goes_on_and_only_where_a_chain_did() {
    let (deployment, id) = library();
    let settings = deployment.path("config/zeef.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let on = "[ledger.checkpoints]\nevery_seconds = 1\n";
    fs::write(&settings, text.replacen("[ledger.checkpoints]\n", on, 1)).unwrap();
    let (data, copy) = (deployment.path("data"), deployment.path("elsewhere"));
    let number_in_copy = || -> u64 {
        let text = fs::read_to_string(&copy).unwrap();
        text.lines().nth(1).unwrap().parse().unwrap()
    };
    let first = number_in_copy();
    let words = ["run", "--follow", "--admin", "none", "--directory", data.to_str().unwrap()];
    let mut command = deployment.command(&words);
    let running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut running = KillOnDrop(running);
    let started = Instant::now();
    let wait_for = |number: u64| {
        while number_in_copy() < number {
            assert!(started.elapsed() < Duration::from_secs(60), "no checkpoint {number}");
            thread::sleep(Duration::from_millis(50));
        }
    };
    // The start has a line in the audit.
    wait_for(first + 1);
    deployment.append("reservation", &id, &reservation(&id, "collected"));
    wait_for(first + 2);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(number_in_copy(), first + 2);
    assert!(running.0.try_wait().unwrap().is_none(), "the run has ended");
    // What was signed is there, whatever becomes of the run.
    drop(running);
    check_script(&deployment, true);
}

/// What the script says of the directory, with the key and the copy.
pub(crate) fn check_script(deployment: &Deployment, is_whole: bool) {
    let listed = deployment.zeef(&["keys", "list"]);
    let key = listed.lines().find_map(|line| line.strip_prefix("checkpoints are verified with "));
    let ran = std::process::Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/verify_ledger.py"))
        .arg(deployment.path("data/.zeef/ledger"))
        .args(["--key", key.expect("a key"), "--from"])
        .arg(deployment.path("elsewhere"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert_eq!(ran.status.success(), is_whole, "{said}");
}

/// A ledger that was cut behind what a checkpoint lists is found without the state's help.
#[test]
fn chain_that_ends_before_its_checkpoint_is_found() {
    let (deployment, id) = library();
    deployment.ledger(&["patron", &id]);
    deployment.run();
    let audit = deployment.path("data/.zeef/audit/audit.ndjson");
    let text = fs::read_to_string(&audit).unwrap();
    let cut = text.trim_end().rfind('\n').unwrap() + 1;
    fs::write(&audit, &text[..cut]).unwrap();
    let ran = run_in_directory(&deployment, &["ledger", "verify"]);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.code() == Some(1) && said.contains("the checkpoint lists"), "{said}");
    let ran = run_in_directory(&deployment, &["run"]);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(!ran.status.success() && said.contains("zeef.audit/0/"), "{said}");
}

/// Whoever replaces the key says so, or nothing is signed behind the old one.
#[test]
fn checkpoints_go_on_under_a_new_key_only_if_the_former_one_is_named() {
    let (deployment, _) = library();
    let listed = deployment.zeef(&["keys", "list"]);
    let old = listed.lines().find_map(|line| line.strip_prefix("checkpoints are verified with "));
    let old = old.expect("a key").to_owned();
    let key = deployment.path("config/keys/zeef.checkpoints.key");
    let lost = deployment.path("lost.key");
    fs::rename(&key, &lost).unwrap();
    deployment.zeef(&["keys", "new", "--ledger"]);
    let ran = run_in_directory(&deployment, &["run"]);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.code() == Some(70) && said.contains("no known key signed it"), "{said}");
    let settings = deployment.path("config/zeef.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let named = format!("[ledger.checkpoints]\nformer_keys = [\"{old}\"]\n");
    fs::write(&settings, text.replace("[ledger.checkpoints]\n", &named)).unwrap();
    deployment.run();
    let verified = deployment.ledger(&["verify"]);
    assert!(verified.contains("2 checkpoints"), "{verified}");
    // The key that was found again.
    fs::rename(&lost, &key).unwrap();
    fs::write(&settings, &text).unwrap();
    let ran = run_in_directory(&deployment, &["ledger", "verify"]);
    assert_eq!(ran.status.code(), Some(1));
    let wrong =
        text.replace("[ledger.checkpoints]\n", "[ledger.checkpoints]\nformer_keys = [\"a+b\"]\n");
    fs::write(&settings, wrong).unwrap();
    let ran = run_in_directory(&deployment, &["run"]);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.code() == Some(78) && said.contains("NAME+HASH+KEY"), "{said}");
}

/// Storage elsewhere that is away is a warning, and a stop only where that is asked.
#[test]
fn checkpoint_that_cannot_be_kept_stops_a_run_only_if_that_is_asked() {
    let (deployment, _) = library();
    let copy = deployment.path("elsewhere");
    fs::remove_file(&copy).unwrap();
    fs::create_dir(&copy).unwrap();
    let settings = deployment.path("config/zeef.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let away = text.replace(copy.to_str().unwrap(), &format!("{}/not/there", copy.display()));
    assert_ne!(away, text);
    fs::write(&settings, &away).unwrap();
    let ran = run_in_directory(&deployment, &["run"]);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success() && said.contains("no checkpoint of the ledger"), "{said}");
    let on = "[ledger.checkpoints]\nstop_unanchored_after_seconds = 3600\n";
    fs::write(&settings, away.replace("[ledger.checkpoints]\n", on)).unwrap();
    let ran = run_in_directory(&deployment, &["run"]);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(
        ran.status.code() == Some(70) && said.contains("no checkpoint of the ledger"),
        "{said}"
    );
}

/// Without the package for signatures the script says so, and does not pass.
#[test]
fn script_without_ed25519_says_that_no_signature_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, heads) = chain();
    let file = folder.path().join("checkpoints.ndjson");
    write_lines(&file, &checkpoints(&lines, heads.keys().next().unwrap()));
    let package = folder.path().join("cryptography");
    fs::create_dir(&package).unwrap();
    fs::write(package.join("__init__.py"), "raise ImportError(\"no module cryptography\")\n")
        .unwrap();
    let blocks = folder.path().join("blocks.ndjson");
    write_lines(&blocks, &lines);
    let run = |arguments: &[&str]| {
        let ran = std::process::Command::new("python3")
            .env("PYTHONPATH", folder.path())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/verify_ledger.py"))
            .args([blocks.as_path(), Path::new("--checkpoints"), file.as_path()])
            .args(arguments)
            .output()
            .unwrap();
        (ran.status.code(), String::from_utf8_lossy(&ran.stdout).into_owned())
    };
    let key = maker().signer.verifier().to_text();
    let (code, said) = run(&["--key", &key]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is verified: ") && said.contains("cryptography"), "{said}");
    // Chains and roots need no package; that signatures are not proved is said.
    let (code, said) = run(&[]);
    assert!(code == Some(0) && said.contains("without --key"), "{said}");
}
