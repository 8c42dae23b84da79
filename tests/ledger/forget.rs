//! A year is forgotten when its term is over: its lines, and the key that made its references.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Stdio;

use zeef::ledger::block::{Block, ChainName};
use zeef::ledger::chain::ChainVerifier;
use zeef::ledger::forget::ForgetPlan;
use zeef::ledger::register::Register;
use zeef::message::continuity::{ContinuityMark, Fingerprinter, LedgerHead, MARK_ROW_KEY};
use zeef::transport::directory::{LedgerPart, read_ledger};
use zeef_test_kit::config::copy_dir;
use zeef_test_kit::engine::new_key;
use zeef_test_kit::rng::TestRng;
use zeef_test_kit::worker::state_keys;

use super::audit::run_in_directory;
use super::chains::{by_chain, mutate, run_script};
use super::command_line::{CANARY, Deployment, patron, reservation};
use super::directory::{DAY_MS, LAST_DAY_MS, append_line, open, run, run_over_new_year, run_with};
use super::{blocks_of, heads_of, play_steps, register_of, setups, value_of};

fn read(bytes: &[u8]) -> Block<'_> {
    serde_json::from_slice(bytes).expect("a block")
}

/// Blocks of all setups, each lane as its own ledger, spread over two years from the middle on.
#[test]
fn forgotten_year_leaves_chains_that_begin_at_their_start_and_nowhere_later() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = TestRng::new(5);
    for (lane, outputs) in setups().into_iter().flat_map(|setup| play_steps(1, 60, setup).lanes) {
        let blocks: Vec<Vec<u8>> = blocks_of(&outputs).map(|one| value_of(one).to_vec()).collect();
        let register = register_of(&outputs);
        let mut heads = heads_of(&lane.name, &outputs);
        // As if the year ended behind a third of the blocks.
        let cut = blocks.len() / 3;
        let mut plan = ForgetPlan::new(0);
        for (number, bytes) in blocks.iter().enumerate() {
            let mut block = read(bytes);
            block.time = if number < cut { -62_150_000_000 } else { block.time };
            plan.add_block((0, i64::try_from(number).unwrap()), &block);
        }
        assert_eq!(plan.blocks_removed, cut as u64);
        for (name, head) in &mut heads {
            plan.move_start(name, head);
        }
        let problems = |blocks: &[Vec<u8>]| verify(blocks, &register, &heads);
        // Not yet deleted, half deleted, deleted: the marks are written first.
        for deleted in [0, cut / 2, cut] {
            assert_eq!(problems(&blocks[deleted..]), [""; 0], "{deleted} of {}", lane.name);
        }
        let kept = &blocks[cut..];
        let (is_whole, said) = run_script(folder.path(), (kept, &heads), &[]);
        assert!(is_whole, "{said}");
        for number in 0..300 {
            let changed = mutate(kept, &mut rng);
            if by_chain(&changed) == by_chain(kept) {
                continue;
            }
            assert!(!problems(&changed).is_empty(), "{number}");
            if number % 60 == 0 {
                let (is_whole, said) = run_script(folder.path(), (&changed, &heads), &[]);
                assert!(!is_whole, "{number}: {said}");
            }
        }
        // One block more of any chain is missed.
        let chains: BTreeSet<String> = kept.iter().map(|one| read(one).chain.to_string()).collect();
        for chain in chains {
            let first = kept.iter().position(|one| *read(one).chain == chain).unwrap();
            let mut missing = kept.to_vec();
            missing.remove(first);
            assert!(!problems(&missing).is_empty(), "{chain}");
            let (is_whole, _) = run_script(folder.path(), (&missing, &heads), &[]);
            assert!(!is_whole, "{chain}");
        }
    }
}

fn verify(
    blocks: &[Vec<u8>],
    register: &Register,
    heads: &BTreeMap<String, LedgerHead>,
) -> Vec<String> {
    let starts = heads.iter().filter_map(|(name, head)| Some((name.clone(), head.start.clone()?)));
    let mut verifier = ChainVerifier { starts: starts.collect(), ..ChainVerifier::default() };
    for block in blocks {
        verifier.add_block(&String::new, block, register);
    }
    verifier.compare_with_heads(heads);
    verifier.problems.into_iter().map(|one| one.text).collect()
}

/// The blocks of the first year go, a start goes on, and a start without a later block stops.
#[test]
fn directory_that_forgot_a_year_goes_on_and_misses_any_other_block() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    run_over_new_year(root);
    let of_file = |year: i16| root.join(format!(".zeef/ledger/{year}.ndjson"));
    let later = fs::read(of_file(2027)).unwrap();
    // Twice: as after an interruption.
    for _ in 0..2 {
        forget_year(root, 2026);
        assert_eq!(fs::read(of_file(2026)).unwrap(), b"");
        assert_eq!(fs::read(of_file(2027)).unwrap(), later);
    }
    run(root, LAST_DAY_MS + 2 * DAY_MS).unwrap();
    let cut = later.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    fs::write(of_file(2027), &later[cut..]).unwrap();
    let fault = run(root, LAST_DAY_MS + 2 * DAY_MS).unwrap_err().to_string();
    assert!(fault.contains("2027.ndjson"), "{fault}");
    fs::write(of_file(2027), &later).unwrap();
    // Nothing of a chain is left, and it goes on behind its head.
    forget_year(root, 2027);
    append_line(
        root,
        "loan",
        r#"{"patron_id":"p1","library":"NL-AmrBKW","loan_id":"l9","status":"open","loaned_at":"2026-12-30T10:00:00Z","due_on":"2027-02-01"}"#,
    );
    run(root, LAST_DAY_MS + 400 * DAY_MS).unwrap();
    let heads = heads_in(root);
    assert!(heads.values().any(|head| head.start.as_ref().is_some_and(|one| one.sequence > 1)));
    let mut register = Register::default();
    read_ledger(root, LedgerPart::Register, &mut |_, line| register.add_message(line).unwrap())
        .unwrap();
    let mut blocks = Vec::new();
    read_ledger(root, LedgerPart::Blocks, &mut |_, line| blocks.push(line.to_vec())).unwrap();
    assert_eq!(verify(&blocks, &register, &heads), [""; 0]);
    let (is_whole, said) = run_script(folder.path(), (&blocks, &heads), &[]);
    assert!(is_whole, "{said}");
}

fn forget_year(root: &Path, year: i16) {
    let mut plan = ForgetPlan::new(year);
    let planned = read_ledger(root, LedgerPart::Blocks, &mut |(_, number), line| {
        plan.add_block((0, i64::try_from(number).unwrap()), &read(line));
    });
    assert_eq!(planned.unwrap(), []);
    let directory = open(root, LAST_DAY_MS).unwrap();
    let mut rows = BTreeMap::new();
    for (topic, mark) in directory.latest_marks().unwrap() {
        let mut mark = ContinuityMark::decode(&state_keys().fingerprinter(), &mark).unwrap();
        let name = chain_name(&topic, &mark);
        if let Some(head) = &mut mark.ledger
            && plan.move_start(&name, head)
        {
            let mark = mark.encode(&state_keys().fingerprinter());
            rows.insert(topic, vec![(MARK_ROW_KEY.to_vec(), mark)]);
        }
    }
    directory.forget_ledger_years(year, &rows).unwrap();
}

fn chain_name(topic: &str, mark: &ContinuityMark) -> String {
    let lane = topic.strip_prefix("zeef.state.").unwrap_or(topic).to_owned();
    let born = mark.ledger.as_ref().map_or(0, |head| head.born);
    ChainName { lane, partition: 0, born }.to_string()
}

fn heads_in(root: &Path) -> BTreeMap<String, LedgerHead> {
    let directory = open(root, LAST_DAY_MS).unwrap();
    let head = |(topic, mark): (String, Vec<u8>)| {
        let mark = ContinuityMark::decode(&state_keys().fingerprinter(), &mark).unwrap();
        Some((chain_name(&topic, &mark), mark.ledger?))
    };
    directory.latest_marks().unwrap().into_iter().filter_map(head).collect()
}

/// The key of the forgotten years is gone from its file, and that of this year is the same one.
#[test]
fn ledger_forget_destroys_the_key_and_keeps_what_is_not_over() {
    let deployment = Deployment::new();
    let id = format!("{CANARY}-p");
    let year = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).year();
    let key = deployment.path("config/keys/zeef.ledger.key");
    let old = fs::read_to_string(&key).unwrap();
    let old = old.replacen(&format!("y{year}"), &format!("y{}", year - 2), 1);
    fs::write(&key, &old).unwrap();
    deployment.append("patron", &id, &patron(&id));
    deployment.append("reservation", &id, &reservation(&id, "ready_for_pickup"));
    deployment.run();
    let forget = |year: i16, words: &[&str]| {
        let year = year.to_string();
        run_in_directory(&deployment, &[&["ledger", "forget", &year], words].concat())
    };
    for (of, words) in [(year, "is not over yet"), (year - 1, "keep_years")] {
        let ran = forget(of, &[]);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(fs::read_to_string(&key).unwrap(), old);
    let settings = deployment.path("config/zeef.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replacen("operator =", "keep_years = 0\noperator =", 1)).unwrap();
    assert!(forget(year - 1, &["--dry-run"]).status.success());
    assert_eq!(fs::read_to_string(&key).unwrap(), old);
    for _ in 0..2 {
        let ran = forget(year - 1, &[]);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let new = fs::read_to_string(&key).unwrap();
        assert!(new.starts_with(&format!("y{year}-derived:")), "another id");
        assert!(!new.contains(old.trim_end().split(':').nth(1).unwrap()));
    }
    let audit = fs::read_to_string(deployment.path("data/.zeef/audit/audit.ndjson")).unwrap();
    assert_eq!(audit.matches("\"action\":\"ledger forget\"").count(), 2, "{audit}");
    deployment.run();
    let answer = deployment.ledger(&["patron", &id]);
    assert!(answer.contains("reservation-slip") && answer.contains("given"), "{answer}");
    assert!(deployment.ledger(&["verify"]).starts_with("ok "));
}

/// What a directory and its keys show of how far the command came.
fn has_come_to(deployment: &Deployment, step: usize) -> bool {
    let ledger = |name: &str| deployment.path("data/.zeef").join(name);
    let key = deployment.path("config/keys/zeef.ledger.key");
    match step {
        0 => ledger("audit/audit.ndjson").exists(),
        1 => ledger("journal.new").exists(),
        2 => ledger("journal").exists(),
        3 => ledger("committed.json.new").exists(),
        4 => fs::metadata(ledger("ledger/2024.ndjson")).is_ok_and(|file| file.len() == 0),
        5 => key.with_extension("key.overwrite").exists(),
        6 => key.with_extension("key.new").exists(),
        _ => fs::read_to_string(key).is_ok_and(|text| text.starts_with("y2026-derived:")),
    }
}

/// The command is killed as soon as it has come to a step: `verify` finds nothing wrong, and the
/// next attempt ends it.
#[test]
fn ledger_forget_in_a_directory_is_ended_by_a_repeat_after_any_kill() {
    let made = Deployment::new();
    let keys = made.path("config/keys");
    for (name, id, secret) in [
        ("zeef.state", "state", &b"the-key-of-the-state-0123456789abc"[..]),
        ("zeef.ledger", "y2024", b"the-key-of-the-ledger-0123456789ab"),
    ] {
        let line = new_key(id, secret).to_line();
        fs::write(keys.join(format!("{name}.key")), [line.expose(), b"\n"].concat()).unwrap();
    }
    let settings = made.path("config/zeef.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replacen("operator =", "keep_years = 0\noperator =", 1)).unwrap();
    // Of 2024 and 2025, and of 2026: a day before the end of each year, and one behind it.
    run_in_years(&made.path("data"));
    assert!(made.ledger(&["verify"]).starts_with("ok "));

    let mut kills = 0;
    for step in 0..8 {
        let deployment = Deployment { folder: tempfile::tempdir().unwrap() };
        for part in ["config", "data"] {
            copy_dir(&made.path(part), &deployment.path(part));
        }
        let data = deployment.path("data");
        let words = ["ledger", "forget", "2025", "--directory", data.to_str().unwrap()];
        let mut command = deployment.command(&words);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // It goes on only where this test has looked, also on a busy machine.
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::setpriority_process(Some(pid), 19).unwrap();
        while child.try_wait().unwrap().is_none() {
            if has_come_to(&deployment, step) {
                child.kill().unwrap();
                break;
            }
        }
        kills += usize::from(!child.wait().unwrap().success());
        for _ in 0..2 {
            let said = deployment.ledger(&["verify"]);
            assert!(said.starts_with("ok "), "killed at step {step}: {said}");
            let said = run_in_directory(&deployment, &words[..3]);
            let said = String::from_utf8_lossy(&said.stderr).into_owned();
            assert!(!said.contains("error"), "killed at step {step}: {said}");
        }
        for (year, is_gone) in [(2024, true), (2025, true), (2026, false)] {
            let file = data.join(format!(".zeef/ledger/{year}.ndjson"));
            assert_eq!(fs::read(&file).unwrap().is_empty(), is_gone, "step {step}, {year}");
        }
        let mut left: Vec<String> = fs::read_dir(deployment.path("config/keys"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("zeef.ledger.key"))
            .collect();
        left.sort();
        assert_eq!(left, ["zeef.ledger.key"], "step {step}");
        assert!(has_come_to(&deployment, 7), "step {step}");
    }
    assert!(kills >= 2, "killed {kills} times");
}

/// Runs of three years, each with a loan of its own.
fn run_in_years(root: &Path) {
    append_line(
        root,
        "patron",
        r#"{"patron_id":"p1","library":"NL-AmrBKW","kind":"person","surname":"Berg","card_number":"20013004567890","membership":{"id":"M","status":"active"}}"#,
    );
    for (year, days) in [(2024, 731), (2025, 366), (2026, 40)] {
        append_line(
            root,
            "loan",
            &format!(
                r#"{{"patron_id":"p1","library":"NL-AmrBKW","loan_id":"l{year}","status":"open","loaned_at":"2024-01-03T10:00:00Z","due_on":"2027-02-01"}}"#
            ),
        );
        let now_ms = LAST_DAY_MS - days * DAY_MS;
        // As commands with this state key make it.
        let part = |number: u8| state_keys().hash_bytes(&[b"directory ", &[number][..]].concat());
        run_with(root, (now_ms, Fingerprinter::new([1, 2, 3, 4].map(part)))).unwrap();
    }
}
