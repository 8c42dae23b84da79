//! A year is forgotten when its term is over: its lines, and the key that made its references.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeef::config::keyring::{KeyRing, STATE_KEY_NAME};
use zeef::daemon::run::directory_settings;
use zeef::ledger::block::{Block, ChainName};
use zeef::ledger::chain::ChainVerifier;
use zeef::ledger::forget::ForgetPlan;
use zeef::ledger::register::Register;
use zeef::message::continuity::{ContinuityMark, LedgerHead, MARK_ROW_KEY};
use zeef::policy::Policy;
use zeef::transport::directory::{Directory, LedgerPart, read_ledger};
use zeef_test_kit::config::copy_dir;
use zeef_test_kit::deployment::LEDGER_SECRET;
use zeef_test_kit::rng::TestRng;
use zeef_test_kit::worker::{STATE_SECRET, state_keys};

use super::audit::run_in_directory;
use super::chains::{by_chain, mutate, run_script};
use super::command_line::{CANARY, Deployment, check_script, patron, reservation};
use super::directory::{DAY_MS, LAST_DAY_MS, append_line, open, run, run_in, run_over_new_year};
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

/// A directory with lines of the year before last and of this one, and the keys that wrote them.
struct OldLibrary {
    deployment: Deployment,
    old_year: i16,
    now_ms: i64,
}

/// When a command is killed.
#[derive(Clone, Copy)]
enum KillTime {
    After(Duration),
    /// As soon as the lines of the year are gone.
    LinesGone,
}

impl OldLibrary {
    fn new() -> OldLibrary {
        let deployment = Deployment::new();
        for (file, id, secret) in
            [("zeef.state.key", "state", STATE_SECRET), ("zeef.ledger.key", "y2024", LEDGER_SECRET)]
        {
            let path = deployment.path("config/keys").join(file);
            assert!(path.exists(), "{file}");
            fs::write(path, format!("{id}:{}\n", URL_SAFE_NO_PAD.encode(secret))).unwrap();
        }
        let settings = deployment.path("config/zeef.toml");
        let text = fs::read_to_string(&settings).unwrap();
        fs::write(&settings, text.replacen("operator =", "keep_years = 0\noperator =", 1)).unwrap();
        let now = jiff::Timestamp::now();
        let old_year = now.to_zoned(jiff::tz::TimeZone::UTC).year() - 2;
        let then: jiff::Timestamp = format!("{old_year}-06-15T12:00:00Z").parse().unwrap();
        let now_ms = now.as_millisecond();
        let library = OldLibrary { deployment, old_year, now_ms };
        let root = library.root();
        append_line(
            &root,
            "patron",
            r#"{"patron_id":"p1","library":"NL-AmrBKW","kind":"person","surname":"Berg","card_number":"20013004567890","membership":{"id":"M","status":"active"}}"#,
        );
        for (number, at_ms) in [then.as_millisecond(), now_ms].into_iter().enumerate() {
            let loaned_at = jiff::Timestamp::from_millisecond(at_ms).unwrap();
            let due_on = jiff::Timestamp::from_millisecond(at_ms + 20 * DAY_MS).unwrap();
            let due_on = due_on.to_zoned(jiff::tz::TimeZone::UTC).date();
            append_line(
                &root,
                "loan",
                &format!(
                    r#"{{"patron_id":"p1","library":"NL-AmrBKW","loan_id":"l{number}","status":"open","loaned_at":"{loaned_at}","due_on":"{due_on}"}}"#
                ),
            );
            library.run(at_ms);
        }
        library
    }

    /// Runs lanes of the tests at a time, on a directory that is opened as the program does it.
    fn run(&self, now_ms: i64) {
        let loaded = Policy::load(&self.deployment.path("config")).unwrap();
        let keys = KeyRing::load_only(&loaded.daemon.keys, [STATE_KEY_NAME]).unwrap();
        let settings = directory_settings(&self.root(), &loaded, &keys).unwrap();
        run_in(&Directory::open_at(settings, now_ms).unwrap(), now_ms).unwrap();
    }

    fn root(&self) -> std::path::PathBuf {
        self.deployment.path("data")
    }

    fn key_text(&self) -> String {
        fs::read_to_string(self.deployment.path("config/keys/zeef.ledger.key")).unwrap()
    }

    /// The blocks of the old year, and of all others.
    fn count_blocks(&self) -> (usize, usize) {
        let folder = self.root().join(".zeef/ledger");
        let (mut old, mut others) = (0, 0);
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("policy.ndjson") {
                continue;
            }
            for line in fs::read(&path).unwrap().split(|byte| *byte == b'\n') {
                if line.is_empty() {
                    continue;
                }
                match zeef::ledger::keys::utc_year(read(line).time) == self.old_year {
                    true => old += 1,
                    false => others += 1,
                }
            }
        }
        (old, others)
    }

    fn forget(&self) {
        let year = self.old_year.to_string();
        let ran = run_in_directory(&self.deployment, &["ledger", "forget", &year]);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }

    /// Starts the command and kills it, unless it ended before.
    fn kill_forget(&self, when: KillTime) {
        let (year, root) = (self.old_year.to_string(), self.root());
        let words = ["ledger", "forget", &year, "--directory", root.to_str().unwrap()];
        let mut command = self.deployment.command(&words);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let lines = root.join(format!(".zeef/ledger/{}.ndjson", self.old_year));
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            let is_time = match when {
                KillTime::After(delay) => started.elapsed() >= delay,
                KillTime::LinesGone => fs::metadata(&lines).map_or(0, |file| file.len()) == 0,
            };
            if is_time {
                child.kill().unwrap();
                break;
            }
        }
        child.wait().unwrap();
    }

    /// Both verifiers find the ledger whole.
    fn check_whole(&self) {
        let verified = self.deployment.ledger(&["verify"]);
        assert!(verified.starts_with("ok "), "{verified}");
        check_script(&self.deployment);
    }
}

/// Killed at any time, it is done by doing it again, and the ledger is whole at each time.
#[test]
fn year_is_forgotten_by_the_program_however_often_it_is_killed() {
    let library = OldLibrary::new();
    let (old, others) = library.count_blocks();
    assert!(old > 0 && others > 0, "{old} {others}");
    let of_p1 = |library: &OldLibrary| library.deployment.ledger(&["patron", "p1", "--json"]);
    let old_day = format!("\"time\": \"{}-06-15", library.old_year);
    assert!(of_p1(&library).contains(&old_day));
    let key = library.key_text();
    let [data, keys] = ["data", "config/keys"].map(|name| library.deployment.path(name));
    let [old_data, old_keys] = ["old-data", "old-keys"].map(|name| library.deployment.path(name));
    copy_dir(&data, &old_data);
    copy_dir(&keys, &old_keys);
    let mut stages = BTreeSet::new();
    for round in 0..16 {
        for (from, to) in [(&old_data, &data), (&old_keys, &keys)] {
            fs::remove_dir_all(to).unwrap();
            copy_dir(from, to);
        }
        library.kill_forget(match round % 2 {
            0 => KillTime::After(Duration::from_millis(8 * round)),
            _ => KillTime::LinesGone,
        });
        stages.insert((library.count_blocks().0 > 0, library.key_text() == key));
        library.check_whole();
        library.forget();
        assert_eq!(library.count_blocks(), (0, others), "round {round}");
        let new = library.key_text();
        assert!(new.starts_with(&format!("y{}-derived:", library.old_year + 1)), "another id");
        library.check_whole();
    }
    // It was killed before the lines went, and between them and the key.
    for stage in [(true, true), (false, true)] {
        assert!(stages.contains(&stage), "{stages:?}");
    }
    let answer = of_p1(&library);
    assert!(!answer.contains(&old_day) && answer.contains("\"release\""), "{answer}");
    library.run(library.now_ms + DAY_MS);
    library.check_whole();
}
