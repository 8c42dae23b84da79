//! Who looked a patron up, exported, or gave a command stands in the audit first, and nobody
//! changes a line of it unseen.

use std::collections::BTreeMap;
use std::fs;
use std::process::Output;

use zeef::ledger::audit::{AuditEntry, AuditLine, make_audit_line};
use zeef::ledger::chain::ChainVerifier;
use zeef::message::continuity::LedgerHead;
use zeef_test_kit::deployment::ledger_keys;
use zeef_test_kit::rng::TestRng;
use zeef_test_kit::worker::state_keys;

use super::chains::{mutate, run_script};
use super::command_line::{CANARY, Deployment, patron, reservation};

/// A chain of some lines, and its head.
pub(crate) fn chain() -> (Vec<Vec<u8>>, BTreeMap<String, LedgerHead>) {
    let keys = ledger_keys();
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for number in 0..12 {
        let hash = state_keys().patron_hash(&format!("p{number}")).0;
        let entry = AuditEntry {
            operator: "privacy-desk",
            action: "ledger patron",
            subject: (number % 3 == 0).then_some("statistics"),
            patron: (number % 2 == 0).then_some((hash, &keys)),
        };
        let last = lines.last().map(Vec::as_slice);
        lines.push(make_audit_line(last, &entry, 1_798_761_590 + number));
    }
    let mut verifier = ChainVerifier::default();
    for line in &lines {
        verifier.add_audit_line(&String::new, line).expect("a line");
    }
    let head = |(name, chain): (String, zeef::ledger::chain::ChainSummary)| {
        let head =
            LedgerHead { sequence: chain.sequence, hash: chain.hash, ..LedgerHead::default() };
        (name, head)
    };
    (lines, verifier.chains.into_iter().map(head).collect())
}

fn problems(lines: &[Vec<u8>], heads: &BTreeMap<String, LedgerHead>) -> usize {
    let mut verifier = ChainVerifier::default();
    for line in lines {
        verifier.add_audit_line(&String::new, line);
    }
    verifier.compare_with_heads(heads);
    verifier.problems.len()
}

#[test]
fn every_change_of_the_audit_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, heads) = chain();
    assert_eq!(problems(&lines, &heads), 0);
    let (is_whole, said) = run_script(folder.path(), (&lines, &heads), &[]);
    assert!(is_whole, "{said}");
    let mut rng = TestRng::new(11);
    for number in 0..2_000 {
        let changed = mutate(&lines, &mut rng);
        if changed == lines {
            continue;
        }
        assert!(problems(&changed, &heads) > 0, "{number}");
        if number % 100 == 0 {
            let (is_whole, said) = run_script(folder.path(), (&changed, &heads), &[]);
            assert!(!is_whole, "{number}: {said}");
        }
    }
    for (at, line) in lines.iter().enumerate() {
        for byte in 0..line.len() {
            let mut changed = lines.clone();
            changed[at][byte] ^= 1;
            assert!(problems(&changed, &heads) > 0, "byte {byte} of line {at}");
        }
    }
}

/// A second chain, as whoever hides lines would begin it, is named.
#[test]
fn audit_that_begins_a_second_chain_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let (mut lines, _) = chain();
    let entry = AuditEntry { operator: "balie", action: "export", subject: None, patron: None };
    lines.push(make_audit_line(None, &entry, 1_799_000_000));
    let mut verifier = ChainVerifier::default();
    for line in &lines {
        verifier.add_audit_line(&String::new, line);
    }
    assert_eq!(verifier.problems.len(), 1, "{:?}", verifier.problems);
    let head = |(name, chain): (&String, &zeef::ledger::chain::ChainSummary)| {
        let (sequence, hash) = (chain.sequence, chain.hash.clone());
        (name.clone(), LedgerHead { sequence, hash, ..LedgerHead::default() })
    };
    let heads = verifier.chains.iter().map(head).collect();
    let (is_whole, said) = run_script(folder.path(), (&lines, &heads), &[]);
    assert!(!is_whole && said.contains("one chain"), "{said}");
}

/// A library with a patron who has a hold that is ready.
fn library() -> (Deployment, String) {
    let deployment = Deployment::new();
    let id = format!("{CANARY}-p");
    deployment.append("patron", &id, &patron(&id));
    deployment.append("reservation", &id, &reservation(&id, "ready_for_pickup"));
    deployment.run();
    (deployment, id)
}

fn audit_text(deployment: &Deployment) -> String {
    fs::read_to_string(deployment.path("data/.zeef/audit/audit.ndjson")).unwrap()
}

/// The words of the commands in the audit, with their operators.
fn audited(deployment: &Deployment) -> Vec<(String, String)> {
    let text = audit_text(deployment);
    let line = |line: &str| {
        let line: AuditLine<'_> = serde_json::from_str(line).unwrap();
        (line.operator.to_string(), line.action.to_string())
    };
    text.lines().map(line).collect()
}

pub(crate) fn run_in_directory(deployment: &Deployment, words: &[&str]) -> Output {
    let data = deployment.path("data");
    let place = ["--directory", data.to_str().unwrap()];
    deployment.command(&[words, &place[..]].concat()).output().unwrap()
}

#[test]
fn audit_names_each_look_up_and_command_and_no_patron_in_clear() {
    let (deployment, id) = library();
    let days = ["--from", "2020-01-01", "--until", "2090-01-01"];
    let recipient = [&["ledger", "recipient", "reservation-slip"][..], &days].concat();
    let refill = ["refill", "reservation-slip", "--reason", "r", "--operator", "beheer"];
    let asked: Vec<(Vec<&str>, &str)> = vec![
        (vec!["ledger", "patron", &id], "ledger patron"),
        (vec!["rights", "access", &id, "--identity", "paspoort"], "rights access"),
        ([&recipient[..], &["--patrons"]].concat(), "ledger recipient --patrons"),
        ([&["breach", "reservation-slip"][..], &days].concat(), "breach"),
        (vec!["ledger", "export", "--as", "csv"], "ledger export"),
        (vec!["export", "reservation-slip"], "export"),
        (vec!["explain", "reservation-slip", "--id", &id], "explain"),
        (vec!["ledger", "audit", "--patron", &id], "ledger audit --patron"),
        (vec!["keys", "rotate", "statistics", "--reason", "r"], "keys rotate"),
        (vec!["accept", "7k2m9x4c0qrt", "--reason", "r"], "accept"),
        (vec!["forget", "main"], "forget"),
    ];
    let mut want = vec![("privacy-desk".to_owned(), "run".to_owned())];
    for (words, action) in &asked {
        run_in_directory(&deployment, words);
        want.push(("privacy-desk".to_owned(), (*action).to_owned()));
        assert_eq!(audited(&deployment), want, "{words:?}");
    }
    run_in_directory(&deployment, &refill);
    want.push(("beheer".to_owned(), "refill".to_owned()));
    // Numbers alone are no look-up, and what only shows what would be done does nothing.
    run_in_directory(&deployment, &recipient);
    run_in_directory(&deployment, &["ledger", "stats"]);
    run_in_directory(&deployment, &["forget", "main", "--dry-run"]);
    assert_eq!(audited(&deployment), want);
    let text = audit_text(&deployment);
    assert!(!text.contains(CANARY), "{text}");
    let listed = deployment.ledger(&["audit", "--patron", &id, "--json"]);
    assert_eq!(listed.lines().count(), 4, "{listed}");
    assert!(listed.contains("rights access") && !listed.contains(CANARY), "{listed}");
    let of_other = deployment.ledger(&["audit", "--patron", "other", "--json"]);
    assert_eq!(of_other.lines().count(), 1, "{of_other}");
}

#[test]
fn ledger_recipient_names_the_patrons_that_the_source_still_has() {
    let (deployment, id) = library();
    deployment.append("patron", "erased", &patron("erased"));
    deployment.append("reservation", "erased", &reservation("erased", "ready_for_pickup"));
    deployment.append("patron", "other", &patron("other"));
    deployment.run();
    deployment.append("patron", "erased", "null");
    deployment.run();
    let question = [
        "recipient",
        "reservation-slip",
        "--from",
        "2020-01-01",
        "--until",
        "2090-01-01",
        "--patrons",
    ];
    let json = deployment.ledger(&[&question[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["patron_ids"], serde_json::json!([id]), "{json}");
    assert_eq!((&json["patrons"], &json["patrons_not_named"]), (&2.into(), &1.into()), "{json}");
    let text = deployment.ledger(&[&question[..], &["--lang", "nl"]].concat());
    assert!(text.contains("LENERS") && text.contains(&id), "{text}");
}

/// Who is not named, or whose line cannot be written, is shown nothing and changes nothing.
#[test]
fn audit_that_cannot_be_written_stops_the_command() {
    let (deployment, id) = library();
    let settings = deployment.path("config/zeef.toml");
    let with_operator = fs::read_to_string(&settings).unwrap();
    let without = with_operator.replace("operator = \"privacy-desk\"\n", "");
    assert_ne!(without, with_operator);
    let commands: [&[&str]; 4] = [
        &["ledger", "patron", &id],
        &["export", "reservation-slip"],
        &["refill", "reservation-slip", "--reason", "r"],
        &["ledger", "export", "--as", "ldv"],
    ];
    let before = audit_text(&deployment);
    fs::write(&settings, &without).unwrap();
    for words in commands {
        let ran = run_in_directory(&deployment, words);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!((ran.status.code(), ran.stdout.len()), (Some(2), 0), "{words:?}: {said}");
        assert!(said.contains("ZEEF_OPERATOR"), "{said}");
        let ran =
            run_in_directory(&deployment, &[words, &["--operator", "jan@example.org"]].concat());
        assert_eq!((ran.status.code(), ran.stdout.len()), (Some(2), 0), "{words:?}");
    }
    assert_eq!(audit_text(&deployment), before);
    fs::write(&settings, &with_operator).unwrap();
    let folder = deployment.path("data/.zeef/audit");
    fs::rename(&folder, deployment.path("aside")).unwrap();
    fs::write(&folder, "no folder").unwrap();
    for words in commands {
        let ran = run_in_directory(&deployment, words);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(!ran.status.success() && ran.stdout.is_empty(), "{words:?}: {said}");
        assert!(said.contains("audit"), "{said}");
    }
    assert!(!deployment.path("data/.zeef/commands.ndjson").exists());
    // A run has to say which policy came into force.
    let ran = run_in_directory(&deployment, &["run"]);
    assert!(!ran.status.success());
    fs::remove_file(&folder).unwrap();
    fs::rename(deployment.path("aside"), &folder).unwrap();
    deployment.run();
}

#[test]
fn ledger_verify_finds_a_changed_line_of_the_audit() {
    let (deployment, id) = library();
    deployment.ledger(&["patron", &id]);
    let verified = deployment.ledger(&["verify"]);
    assert!(verified.starts_with("ok ") && verified.contains("audit: 2 lines"), "{verified}");
    let path = deployment.path("data/.zeef/audit/audit.ndjson");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("privacy-desk", "somebody", 1)).unwrap();
    for words in [&["ledger", "verify"][..], &["ledger", "audit"]] {
        let ran = run_in_directory(&deployment, words);
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert_eq!(ran.status.code(), Some(1), "{said}");
        assert!(said.contains("does not follow"), "{said}");
    }
}
