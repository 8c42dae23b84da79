//! Whatever is lost, changed or replaced stops the next start before anything is committed, and a
//! running process as well; ordinary days do not.

use std::os::unix::fs::{MetadataExt, symlink};

use super::*;

impl TestDirectory {
    /// A directory after a run: patrons, loans, outputs and a state.
    fn new_after_run() -> Self {
        let world = TestDirectory::new();
        world.append_messages("patron", 40);
        world.append_messages("loan", 300);
        copy_to_end(&mut world.open_lane().unwrap(), 200).unwrap();
        world
    }

    fn read_text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn write_text(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Changes a file in place.
    fn replace_text(&self, name: &str, from: &str, to: &str) {
        let text = self.read_text(name);
        assert!(text.contains(from), "{name} has no {from}");
        self.write_text(name, text.replacen(from, to, 1));
    }

    fn truncate_lines(&self, name: &str, lines: usize) {
        let text = self.read_text(name);
        let left: Vec<&str> = text.split_inclusive('\n').take(lines).collect();
        self.write_text(name, left.concat());
    }

    fn remove_file(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Returns every file that zeef wrote, except those it holds open.
    fn read_written_files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        fn add_files(folder: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => add_files(&path, all),
                    false => drop(all.insert(path.clone(), fs::read(&path).unwrap())),
                }
            }
        }
        let mut all = BTreeMap::new();
        for name in ["out", ".zeef"] {
            if self.path(name).exists() {
                add_files(&self.path(name), &mut all);
            }
        }
        all
    }
}

type DirectoryChange = fn(&TestDirectory);

const STATE_FILE: &str = ".zeef/zeef.state.main.ndjson";
const RUNS_FILE: &str = ".zeef/runs";
const MARK_FILE: &str = ".zeef/committed.json";
const OUTPUT_FILE: &str = "out/main/main.all.ndjson";

/// What is changed, what the message says, and how many findings can be accepted.
const CHANGES: [(&str, DirectoryChange, &[&str], usize); 22] = [
    (
        "an input is shorter",
        |world| world.truncate_lines("in/loan.ndjson", 299),
        &["in/loan.ndjson", "may only grow"],
        1,
    ),
    (
        "an input is emptied",
        |world| world.write_text("in/loan.ndjson", ""),
        &["in/loan.ndjson", "bytes long"],
        1,
    ),
    (
        "an input is gone",
        |world| world.remove_file("in/loan.ndjson"),
        &["in/loan.ndjson", "0 bytes long"],
        1,
    ),
    (
        "a gate is gone",
        |world| world.remove_file("in/patron.ndjson"),
        &["in/patron.ndjson", "an objection"],
        1,
    ),
    (
        "a gate is another one, of the same length",
        |world| world.replace_text("in/patron.ndjson", "\"patron-7\"", "\"patrom-7\""),
        &["in/patron.ndjson", "something else"],
        1,
    ),
    (
        "a gate has its lines in another order",
        |world| {
            let text = world.read_text("in/patron.ndjson");
            let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
            lines.swap(3, 4);
            world.write_text("in/patron.ndjson", lines.concat());
        },
        &["in/patron.ndjson", "something else"],
        1,
    ),
    (
        "an input is another one and longer",
        |world| {
            world.remove_file("in/loan.ndjson");
            world.append_text("loan", "{\"key\":\"other\",\"value\":7}\n".repeat(900));
        },
        &["in/loan.ndjson", "something else"],
        1,
    ),
    (
        "an input lost its first line and gained others",
        |world| {
            let text = world.read_text("in/loan.ndjson");
            let (_, rest) = text.split_once('\n').unwrap();
            world.write_text("in/loan.ndjson", format!("{rest}{text}"));
        },
        &["in/loan.ndjson", "something else"],
        1,
    ),
    (
        "the runs are gone",
        |world| world.remove_file(".zeef/runs"),
        &[".zeef/runs", "before an erasure", "loan up to byte 0"],
        0,
    ),
    (
        "the runs are an older copy",
        |world| world.truncate_lines(".zeef/runs", 1),
        &[".zeef/runs", "before an erasure"],
        0,
    ),
    (
        "a time in the runs is another one",
        |world| world.replace_text(".zeef/runs", "\"ms\":1", "\"ms\":2"),
        &[".zeef/runs", "not those that zeef wrote", "before an erasure"],
        1,
    ),
    (
        "the mark is gone",
        |world| world.remove_file(MARK_FILE),
        &["committed.json", "missing", "read again"],
        1,
    ),
    (
        "all of .zeef is gone",
        |world| fs::remove_dir_all(world.path(".zeef")).unwrap(),
        &["committed.json", "missing", "zeef forget"],
        0,
    ),
    (
        "the state is gone",
        |world| world.remove_file(STATE_FILE),
        &["zeef.state.main", "missing", "zeef forget"],
        0,
    ),
    (
        "the state is shorter",
        |world| world.truncate_lines(STATE_FILE, 100),
        &["zeef.state.main", "can never be taken back"],
        1,
    ),
    (
        "a row is edited by hand",
        |world| world.replace_text(STATE_FILE, "\"value\":0", "\"value\":1"),
        &["zeef.state.main", "not those that zeef wrote"],
        1,
    ),
    (
        "a row is half gone",
        |world| {
            let text = world.read_text(STATE_FILE);
            world.write_text(STATE_FILE, &text[..text.len() - 3]);
        },
        &["zeef.state.main", "no rows"],
        0,
    ),
    (
        "rows without positions",
        |world| world.write_text(".zeef/zeef.state.other.ndjson", "{\"key\":\"a\",\"value\":1}\n"),
        &["zeef.state.other"],
        1,
    ),
    (
        "an output is gone",
        |world| world.remove_file(OUTPUT_FILE),
        &["main.all", "missing or empty", "Put the file back"],
        1,
    ),
    (
        "an output is shorter",
        |world| world.truncate_lines(OUTPUT_FILE, 3),
        &["main.all", "may miss"],
        1,
    ),
    (
        "somebody wrote to an output",
        |world| {
            world.write_text(
                OUTPUT_FILE,
                world.read_text(OUTPUT_FILE) + "{\"key\":\"x\",\"value\":1}\n",
            )
        },
        &["main.all", "older copy"],
        1,
    ),
    (
        "an output that zeef never wrote",
        |world| {
            fs::create_dir(world.path("out/other")).unwrap();
            world.write_text("out/other/out.other.ndjson", "{\"key\":\"x\",\"value\":1}\n");
        },
        &["out.other"],
        1,
    ),
];

#[test]
fn directory_lost_or_changed_file_stops_before_any_commit() {
    for (name, change, words, codes) in CHANGES {
        let world = TestDirectory::new_after_run();
        change(&world);
        // What arrived in the night must not be decided either.
        if world.path("in/loan.ndjson").exists() {
            world.append_text("loan", "{\"key\":\"new\",\"value\":3}\n");
        }
        let before = world.read_written_files();
        for _ in 0..2 {
            assert_stops(world.open_lane(), words);
            assert_stops(world.open_directory().compact(), words);
        }
        let mut after = world.read_written_files();
        after.retain(|path, _| !path.ends_with("lock") || before.contains_key(path));
        assert_eq!(after, before, "{name}");
        assert_eq!(world.finding_codes().len(), codes, "{name}");
    }
}

/// Damage that a start finds before it compares anything, and what it says.
const UNREADABLE: [(&str, DirectoryChange, &[&str]); 6] = [
    (
        "the mark is edited",
        |world| world.replace_text(MARK_FILE, "\"taken_back\": false", "\"taken_back\": true"),
        &["committed.json", "not as zeef wrote it"],
    ),
    (
        "the mark is cut off",
        |world| world.truncate_lines(MARK_FILE, 3),
        &["committed.json", "damaged"],
    ),
    (
        "the mark is of a newer version",
        |world| world.write_text(MARK_FILE, "{\"format\":5,\"more\":1}"),
        &["committed.json", "format 5"],
    ),
    (
        "a journal is damaged",
        |world| world.write_text(".zeef/journal", "half"),
        &["journal", "damaged"],
    ),
    (
        "the runs are damaged",
        |world| world.write_text(".zeef/runs", "{\"topic\":7}\n"),
        &[".zeef/runs", "damaged"],
    ),
    (
        "the commands are damaged",
        |world| world.write_text(".zeef/commands.ndjson", "{\"format\":\n"),
        &["commands.ndjson line 1"],
    ),
];

impl TestDirectory {
    /// Opens a lane that follows a directory after a run, has read everything, and has a batch
    /// that is not committed.
    fn follow_after_run(&mut self, check_interval: Duration) -> (Directory, DirectoryTransport) {
        (self.follow, self.check_interval) = (true, check_interval);
        let directory = self.open_directory();
        let mut lane = directory.lane_transport(&lane_plan("main"), StopSignal::default()).unwrap();
        assign_and_resume(&mut lane);
        lane.find_changes().unwrap();
        self.append_text("loan", "{\"key\":\"new\",\"value\":3}\n");
        assert_eq!(poll_once(&mut lane, 9).0.len(), 1);
        let mut outbox = Outbox::default();
        outbox.push(ALL_OUTPUT, Some(0), Some(b"new"), |bytes| bytes.extend(b"3"));
        lane.publish(&outbox, 0).unwrap();
        (directory, lane)
    }
}

/// Returns what stopped a lane.
#[track_caller]
fn stop_text<T>(result: Result<T, Fault>, name: &str) -> String {
    match result {
        Err(Fault::Stop(cause)) => cause.to_string(),
        Err(fault) => panic!("{name}: {fault:?}"),
        Ok(_) => panic!("{name}: nothing was found"),
    }
}

/// Every damage that stops a start stops the process that runs meanwhile, at its next comparison,
/// in the same words and with the same codes, and nothing is committed after it.
#[test]
fn directory_damage_stops_a_running_process_as_it_stops_a_start() {
    for (name, change, words, codes) in CHANGES {
        for by_commit in [false, true] {
            let mut world = copied_after_run();
            let interval = if by_commit { Duration::ZERO } else { Duration::from_secs(3_600) };
            let (directory, mut lane) = world.follow_after_run(interval);
            change(&world);
            let before = world.read_written_files();
            if !by_commit {
                directory.lock_store().must_verify = true;
                assert_stops(lane.find_changes(), words);
            }
            let text = stop_text(lane.commit(), name);
            assert_stops(directory.compact(), words);
            assert_stops(directory.compact_if_due(), words);
            assert_eq!(world.read_written_files(), before, "{name}");
            drop((lane, directory));
            assert_eq!(stop_text(world.open_lane(), name), text, "{name}");
            let found = world.finding_codes();
            assert_eq!(found.len(), codes, "{name}");
            assert!(found.iter().all(|code| text.contains(code.as_str())), "{name}: {text}");
        }
    }
    for (name, change, words) in UNREADABLE {
        let mut world = copied_after_run();
        let (directory, mut lane) = world.follow_after_run(Duration::ZERO);
        change(&world);
        assert_stops(lane.find_changes(), words);
        drop((lane, directory));
        let opened = Directory::open(world.settings()).and_then(|found| found.read_commands());
        assert_stops(opened, words);
        assert!(!world.read_output("main.all").contains("new"), "{name}");
    }
}

/// A copy of everything that belongs together stops a running process, too: what it has in memory
/// is of another one. A start goes on from the copy.
#[test]
fn directory_put_back_as_a_whole_stops_a_running_process_only() {
    let mut world = copied_after_run();
    let files = world.read_written_files();
    let (directory, mut lane) = world.follow_after_run(Duration::ZERO);
    lane.commit().unwrap();
    for (path, bytes) in files {
        fs::write(path, bytes).unwrap();
    }
    assert_stops(lane.find_changes(), &["committed.json", "put back a copy"]);
    drop((lane, directory));
    world.follow = false;
    copy_to_end(&mut world.open_lane().unwrap(), 9).unwrap_or_else(|fault| panic!("{fault}"));
}

/// A comparison is never older than its interval when something is committed, whoever commits and
/// however busy the lanes are; one lane's comparison is that of all.
#[test]
fn directory_commits_nothing_on_an_old_comparison() {
    let mut world = copied_after_run();
    let (directory, mut lane) = world.follow_after_run(Duration::from_millis(200));
    world.replace_text("in/patron.ndjson", "\"patron-7\"", "\"patrom-7\"");
    let verified_at = directory.lock_store().verified_at.unwrap();
    thread::sleep(Duration::from_millis(201).saturating_sub(verified_at.elapsed()));
    assert_stops(lane.commit(), &["in/patron.ndjson", "something else"]);
    // From then on every lane stops, also when somebody puts the file back: they may have read it.
    world.replace_text("in/patron.ndjson", "\"patrom-7\"", "\"patron-7\"");
    let other = directory.lane_transport(&lane_plan("other"), StopSignal::default());
    assert_stops(other, &["in/patron.ndjson"]);
}

/// Compacted, an edited row would be as zeef wrote it for ever.
#[test]
fn directory_compaction_takes_over_no_edited_row_and_no_foreign_line() {
    for (name, change, words, _) in CHANGES {
        let world = copied_after_run();
        let directory = world.open_directory();
        directory.check_continuity().unwrap();
        change(&world);
        if !world.path(MARK_FILE).exists() || words[0].starts_with("in/") {
            continue;
        }
        let before = world.read_written_files();
        match directory.lock_store().compact(true) {
            Ok(files) => assert_eq!(files, [], "{name}"),
            Err(fault) => assert!(matches!(fault, Fault::Stop(_)), "{name}: {fault:?}"),
        }
        let mut after = world.read_written_files();
        after.retain(|path, _| !path.to_string_lossy().ends_with(".new"));
        assert_eq!(after, before, "{name}");
    }
}

/// Files that nobody changed are not read again once their last change is old enough, except when
/// that was not done for an hour.
#[test]
fn directory_running_comparison_reads_only_what_changed() {
    let mut world = copied_after_run();
    thread::sleep(Duration::from_millis(2_100));
    let (directory, mut lane) = world.follow_after_run(Duration::ZERO);
    let mut compare = || {
        lane.find_changes().unwrap();
        directory.lock_store().read_files.read_count
    };
    assert_eq!([compare(), compare()], [0, 0]);
    // A line of a gate makes that one file be read, and as long as it is new.
    world.append_messages("patron", 1);
    assert_eq!([compare(), compare()], [1, 1]);
    thread::sleep(Duration::from_millis(2_100));
    assert_eq!([compare(), compare()], [1, 0]);
}

/// The log of runs grows for years. A comparison does not read what this process wrote there,
/// however long it is, and finds what somebody else changes in between.
#[test]
fn directory_running_comparison_reads_runs_only_if_somebody_else_changed_them() {
    for keeps_time in [false, true] {
        let mut world = copied_after_run();
        thread::sleep(Duration::from_millis(2_100));
        let (directory, mut lane) = world.follow_after_run(Duration::ZERO);
        let read_count = || directory.lock_store().read_files.read_count;
        let length = || fs::metadata(world.path(RUNS_FILE)).unwrap().len();
        for _ in 0..3 {
            let before = length();
            world.append_text("loan", "{\"key\":\"more\",\"value\":3}\n");
            assert_eq!(poll_once(&mut lane, 9).0.len(), 1);
            assert!(length() > before);
            lane.find_changes().unwrap();
            assert_eq!(read_count(), 0);
        }
        // In place, and then this process writes there again.
        let modified = fs::metadata(world.path(RUNS_FILE)).unwrap().modified().unwrap();
        world.replace_text(RUNS_FILE, "\"ms\":1", "\"ms\":2");
        if keeps_time {
            let file = fs::File::options().write(true).open(world.path(RUNS_FILE)).unwrap();
            file.set_modified(modified).unwrap();
        }
        world.append_text("loan", "{\"key\":\"more\",\"value\":3}\n");
        assert_eq!(poll_once(&mut lane, 9).0.len(), 1);
        assert_stops(lane.find_changes(), &[".zeef/runs", "not those that zeef wrote"]);
        assert_stops(lane.commit(), &[".zeef/runs"]);
    }
}

/// A mark of an older version says nothing of the runs; the next commit does.
#[test]
fn directory_mark_without_runs_gets_them_with_the_next_commit() {
    let world = copied_after_run();
    let old = DirectoryCommit { format: 3, runs: None, ..world.read_committed() };
    world.write_text(MARK_FILE, old.encode(&fingerprinter()));
    world.append_text("loan", "{\"key\":\"new\",\"value\":3}\n");
    copy_to_end(&mut world.open_lane().unwrap(), 9).unwrap();
    let committed = world.read_committed();
    assert_eq!(committed.format, committed::FORMAT);
    let runs = committed.runs.unwrap();
    assert_eq!(runs.length, fs::metadata(world.path(RUNS_FILE)).unwrap().len());
}

/// A gate whose topic no kind has any more stops a start, and is forgotten once that is accepted.
#[test]
fn directory_gate_that_is_read_no_more_stops_until_accepted() {
    let world = copied_after_run();
    let mut settings = world.settings();
    settings.configured_topics = Some(ConfiguredTopics {
        gates: BTreeMap::from([("member".to_owned(), "patron".to_owned())]),
        others: BTreeSet::from(["loan".to_owned(), "patron".to_owned()]),
    });
    let mut plan = lane_plan("main");
    for source in plan.sources.iter_mut().filter(|source| source.is_gate()) {
        "member".clone_into(&mut source.topic);
    }
    let open = || DirectoryTransport::open(settings.clone(), &plan, StopSignal::default());
    let before = world.read_written_files();
    assert_stops(open(), &["in/patron.ndjson", "read as the gate `patron`", "Accepted"]);
    assert_eq!(world.read_written_files(), before);
    let directory = Directory::open(settings.clone()).unwrap();
    let code = directory.findings().unwrap()[0].code.clone().unwrap();
    directory.accept_finding(&code, "a test").unwrap().unwrap();
    drop(directory);
    open().unwrap();
    assert!(!world.read_committed().lanes["main"].contains_key("patron"));
}

/// What lies among the inputs and is no source stops a run as it stops a start, and so does a
/// source whose file is gone, also one that never had a line.
#[test]
fn directory_followed_run_stops_at_files_that_a_start_refuses() {
    let ordinary = [".hidden.ndjson", "loan.ndjson.tmp", "notes.txt", "loans.csv"];
    let refused: [(&str, &[&str]); 3] = [
        ("loans.ndjson", &["in/loans.ndjson is no source", "did you mean in/loan.ndjson"]),
        ("Patron.ndjson", &["in/Patron.ndjson is no source", "did you mean in/patron.ndjson"]),
        ("other-things.ndjson", &["in/other-things.ndjson is no source", "expected one of loan"]),
    ];
    for (name, words) in refused {
        let mut world = copied_after_run();
        let (_directory, mut lane) = world.follow_after_run(Duration::ZERO);
        for name in ordinary {
            world.write_text(&format!("in/{name}"), "x");
        }
        lane.find_changes().unwrap();
        world.write_text(&format!("in/{name}"), "");
        assert_stops(lane.find_changes(), words);
        assert_stops(lane.commit(), words);
    }
    let world = TestDirectory { check_interval: Duration::ZERO, ..TestDirectory::new_following() };
    for name in ["in/loan.ndjson", "in/patron.ndjson"] {
        world.write_text(name, "");
    }
    let mut lane = world.open_lane().unwrap();
    lane.find_changes().unwrap();
    world.remove_file("in/patron.ndjson");
    assert_stops(lane.find_changes(), &["in/patron.ndjson is missing"]);
}

#[test]
fn directory_acceptance_holds_for_one_finding_once() {
    for (name, change, _, codes) in CHANGES {
        let world = TestDirectory::new_after_run();
        change(&world);
        for code in world.finding_codes() {
            let accepted = world.open_directory().accept_finding(&code, "a test").unwrap();
            assert!(accepted.is_some(), "{name}");
            assert_eq!(world.open_directory().accept_finding("000000000000", "no").unwrap(), None);
        }
        if codes == 0 {
            continue;
        }
        copy_to_end(&mut world.open_lane().unwrap(), 50)
            .unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert_eq!(world.open_directory().findings().unwrap(), [], "{name}");
        copy_to_end(&mut world.open_lane().unwrap(), 50).unwrap();
        // Losing the same again is another finding.
        if fs::metadata(world.path("in/loan.ndjson")).is_ok_and(|found| found.len() > 0) {
            world.remove_file("in/loan.ndjson");
            assert_stops(world.open_lane(), &["in/loan.ndjson"]);
        }
    }
}

#[test]
fn directory_accepted_input_is_read_from_its_beginning() {
    let world = TestDirectory::new_after_run();
    let length = i64::try_from(world.read_text("in/loan.ndjson").len()).unwrap();
    world
        .write_text("in/loan.ndjson", "{\"key\":\"a\",\"value\":1}\n{\"key\":\"b\",\"value\":2}\n");
    let [code] = &world.finding_codes()[..] else {
        panic!("one finding");
    };
    world.open_directory().accept_finding(code, "a new export").unwrap();
    let mut lane = world.open_lane().unwrap();
    assign_and_resume(&mut lane);
    let (shown, _) = poll_once(&mut lane, 9);
    // Its lines are other records than those at these offsets before.
    assert_eq!(shown, [format!("loan {length} a 1"), format!("loan {} b 2", length + 22)]);
    check_reread(
        &mut lane,
        &[(LOAN, 0), (LOAN, length + 22)],
        &["-", &format!("loan {} b 2", length + 22)],
    );
    lane.commit().unwrap();
    drop(lane);
    world.append_text("loan", "{\"key\":\"c\",\"value\":3}\n");
    let mut lane = world.open_lane().unwrap();
    assign_and_resume(&mut lane);
    assert_eq!(poll_once(&mut lane, 9).0, [format!("loan {} c 3", length + 44)]);
}

#[test]
fn directory_rolled_back_mark_is_found() {
    let world = TestDirectory::new_after_run();
    let (mark, state) = (world.read_text(MARK_FILE), world.read_text(STATE_FILE));
    world.append_text("loan", "{\"key\":\"new\",\"value\":3}\n");
    copy_to_end(&mut world.open_lane().unwrap(), 50).unwrap();
    world.write_text(MARK_FILE, &mark);
    assert_stops(world.open_lane(), &["zeef.state.main", "main.all", "older copy"]);
    world.write_text(STATE_FILE, &state);
    assert_stops(world.open_lane(), &["main.all", "older copy"]);
}

#[test]
fn directory_continuity_covers_lanes_that_do_not_run() {
    let world = TestDirectory::new_after_run();
    world.replace_text("in/patron.ndjson", "\"patron-7\"", "\"patrom-7\"");
    let other = world.open_directory().lane_transport(&lane_plan("other"), StopSignal::default());
    assert_stops(other, &["lane main", "in/patron.ndjson"]);
}

#[test]
fn directory_changed_recipient_or_state_key_is_found() {
    let world = TestDirectory::new();
    let print =
        |id: &str, print: &str| KeyFingerprint { id: id.to_owned(), print: print.to_owned() };
    let with = |keys: &[(&str, KeyFingerprint)], number: u64| DirectorySettings {
        key_fingerprints: keys
            .iter()
            .map(|(name, print)| ((*name).to_owned(), print.clone()))
            .collect(),
        fingerprinter: Fingerprinter::new([number; 4]),
        ..world.settings()
    };
    let lane =
        |settings| DirectoryTransport::open(settings, &lane_plan("main"), StopSignal::default());
    let (state, a) = ((STATE_KEY_NAME, print("s1", "x")), ("a", print("k1", "y")));
    drop(lane(with(&[state.clone(), a.clone()], 1)).unwrap());
    // A new recipient and a disabled one are no finding.
    drop(lane(with(&[state.clone(), ("b", print("k2", "z"))], 1)).unwrap());
    drop(lane(with(&[state.clone(), a], 1)).unwrap());
    let other = with(&[state.clone(), ("a", print("k3", "w"))], 1);
    assert_stops(lane(other.clone()), &["key of a", "`k1`", "`k3`"]);
    let findings = Directory::open(other.clone()).unwrap().findings().unwrap();
    let code = findings[0].code.clone().unwrap();
    Directory::open(other.clone()).unwrap().accept_finding(&code, "rotated").unwrap();
    drop(lane(other).unwrap());
    // Under another state key nothing is known.
    let other = with(&[(STATE_KEY_NAME, print("s2", "v"))], 2);
    assert_stops(Directory::open(other), &["`s1`", "`s2`", "zeef forget"]);
}

#[test]
fn directory_edited_mark_stops() {
    let world = TestDirectory::new_after_run();
    world.replace_text(MARK_FILE, "\"taken_back\": false", "\"taken_back\": true");
    assert_stops(Directory::open(world.settings()), &["not as zeef wrote it"]);
}

#[test]
fn directory_ordinary_runs_have_no_findings() {
    let world = TestDirectory::new();
    for _ in 0..3 {
        copy_to_end(&mut world.open_lane().unwrap(), 9).unwrap();
    }
    for night in 0..20 {
        world.append_messages("loan", night * 7);
        world.append_messages("patron", night % 3);
        if night % 4 == 0 {
            world.append_text("patron", "{\"key\":\"patron-1\",\"value\":null}\n\n\n");
        }
        if night % 5 == 0 {
            // An export copied over the previous one, and longer.
            let text = world.read_text("in/loan.ndjson");
            world.remove_file("in/loan.ndjson");
            world.write_text("in/loan.ndjson", text);
        }
        let directory = world.open_directory();
        let mut lane = directory.lane_transport(&lane_plan("main"), StopSignal::default()).unwrap();
        copy_to_end(&mut lane, 9).unwrap();
        directory.compact_if_due().unwrap();
    }
    assert_eq!(world.open_directory().findings().unwrap(), []);
    // Another line limit makes no other file.
    let settings = DirectorySettings { max_line_bytes: 20, ..world.settings() };
    assert_eq!(Directory::open(settings).unwrap().findings().unwrap(), []);
}

#[test]
fn directory_forget_lane_starts_over_after_any_damage() {
    let state = "zeef.state.main";
    let forget = |world: &TestDirectory| forget_lane(world.settings(), "main", state).unwrap();
    for change in [
        |_: &TestDirectory| {},
        |world: &TestDirectory| world.remove_file(STATE_FILE),
        |world: &TestDirectory| world.remove_file(MARK_FILE),
        |world: &TestDirectory| {
            world.replace_text(MARK_FILE, "\"taken_back\": false", "\"taken_back\": true")
        },
        |world: &TestDirectory| fs::remove_dir_all(world.path(".zeef")).unwrap(),
        |world: &TestDirectory| world.write_text(".zeef/journal", "half"),
    ] {
        let world = TestDirectory::new_after_run();
        let lines = world.read_output("main.all").lines().count();
        change(&world);
        forget(&world);
        copy_to_end(&mut world.open_lane().unwrap(), 50).unwrap();
        assert_eq!(world.read_output("main.all").lines().count(), 2 * lines);
        assert_eq!(world.open_directory().findings().unwrap(), []);
    }
}

#[test]
fn directory_unterminated_last_line_stops_a_finite_run() {
    for (source, other) in [("patron", "loan"), ("loan", "patron")] {
        let world = TestDirectory::new();
        world.append_messages(other, 2);
        world.append_messages(source, 1);
        let at = world.read_text(&format!("in/{source}.ndjson")).len();
        world.append_text(source, "{\"key\":\"p9\",\"value\":1}");
        let mut lane = world.open_lane().unwrap();
        let words = [source, &format!("byte {at}"), "no line end"];
        assert_stops(copy_to_end(&mut lane, 1), &words);
        assert_eq!(world.read_output("main.all"), "", "nothing is decided before");
        world.append_text(source, "\n");
        copy_to_end(&mut lane, 1).unwrap();
        assert_eq!(world.read_output("main.all").lines().count(), 4);
        // Blanks are no line.
        world.append_text(source, " \t");
        drop(lane);
        copy_to_end(&mut world.open_lane().unwrap(), 1).unwrap();
    }
    // A line that arrives during the run is not left behind either.
    let world = TestDirectory::new();
    world.append_messages("loan", 3);
    let mut lane = world.open_lane().unwrap();
    assign_and_resume(&mut lane);
    assert_eq!(poll_once(&mut lane, 1).0.len(), 1);
    lane.commit().unwrap();
    world.append_text("patron", "{\"key\":\"p9\",\"value\":1}");
    assert_eq!(poll_once(&mut lane, 9).0.len(), 2);
    lane.commit().unwrap();
    assert_stops(poll_once(&mut lane, 9).1, &["patron", "byte 0"]);
    // Nor a long one.
    let world = TestDirectory::new();
    world.append_text("loan", "x".repeat(700_000));
    assert_stops(copy_to_end(&mut world.open_lane().unwrap(), 1), &["loan", "byte 0"]);
}

#[test]
fn directory_utf16_input_stops() {
    let world = TestDirectory::new();
    let text = "\u{feff}{\"key\":\"p1\",\"value\":1}\n";
    for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
        let text: Vec<u8> = text.encode_utf16().flat_map(bytes).collect();
        world.write_text("in/patron.ndjson", text);
        assert_stops(world.open_lane(), &["in/patron.ndjson", "byte 0", "UTF-16"]);
    }
}

#[test]
fn directory_refused_gate_line_is_delivered_for_each_key() {
    let world = TestDirectory::new();
    let two = "{\"key\":\"p1\",\"value\":1}{\"key\":\"p2\",\"value\":2}\n";
    let marked = "\u{feff}{\"key\":\"p3\",\"value\":3}\n";
    for source in ["patron", "loan"] {
        world.append_text(source, [marked, two, marked].concat());
    }
    let mut lane = world.open_lane().unwrap();
    assign_and_resume(&mut lane);
    let want = [
        "patron 0 p3 3",
        "patron 26 p1 ! not_a_message",
        "patron 49 p2 ! not_a_message",
        "patron 71 p3 ! not_a_message",
        "loan 0 p3 3",
        "loan 26 p1 ! not_a_message",
        "loan 71 - ! not_a_message",
    ];
    assert_eq!(poll_once(&mut lane, 99).0, want);
}

#[track_caller]
fn assert_mode(world: &TestDirectory, name: &str, want: u32) {
    let mode = fs::metadata(world.path(name)).unwrap().mode() & 0o777;
    assert_eq!(mode, want, "{name}: {mode:o}");
}

#[test]
fn directory_files_have_private_or_group_modes() {
    for (group_read, file, folder) in [(false, 0o600, 0o700), (true, 0o640, 0o750)] {
        let world = TestDirectory::new();
        world.append_messages("loan", 3);
        let settings = DirectorySettings { group_read, ..world.settings() };
        let directory = Directory::open(settings).unwrap();
        let mut lane = directory.lane_transport(&lane_plan("main"), StopSignal::default()).unwrap();
        copy_to_end(&mut lane, 9).unwrap();
        directory.create_input("patron").unwrap();
        for name in [STATE_FILE, MARK_FILE, ".zeef/lock", "in/patron.ndjson"] {
            assert_mode(&world, name, 0o600);
        }
        assert_mode(&world, ".zeef", 0o700);
        for name in ["out", "out/main", "out/zeef"] {
            assert_mode(&world, name, folder);
        }
        assert_mode(&world, OUTPUT_FILE, file);
    }
}

#[test]
fn directory_never_writes_through_a_link() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target");
    for name in
        ["out", ".zeef", "out/main", OUTPUT_FILE, STATE_FILE, ".zeef/lock", ".zeef/journal.new"]
    {
        let world = TestDirectory::new();
        world.append_messages("loan", 3);
        let path = world.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(&target, &path).unwrap();
        let ran = world.open_lane().and_then(|mut lane| copy_to_end(&mut lane, 9));
        let swept = name.ends_with(".new");
        assert_eq!(ran.is_ok(), swept, "{name}: {ran:?}");
        assert!(!target.exists(), "{name}");
    }
}

/// Returns a directory after a run, made once and copied.
fn copied_after_run() -> TestDirectory {
    static BASE: std::sync::OnceLock<TestDirectory> = std::sync::OnceLock::new();
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let to = to.join(path.file_name().unwrap());
            match path.is_dir() {
                true => copy(&path, &to),
                false => drop(fs::copy(&path, &to).unwrap()),
            }
        }
    }
    let base = BASE.get_or_init(TestDirectory::new_after_run);
    let world = TestDirectory::new();
    copy(base.folder.path(), world.folder.path());
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn directory_any_changed_or_lost_byte_is_found(
        file in prop::sample::select(vec!["in/patron.ndjson", MARK_FILE, STATE_FILE, RUNS_FILE]),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
        cut in any::<bool>(),
    ) {
        let world = copied_after_run();
        let path = world.path(file);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        match cut {
            true => bytes.truncate(at),
            false => bytes[at] ^= 1 << bit,
        }
        let before = world.read_committed();
        fs::write(&path, bytes).unwrap();
        // The mark may be formatted differently, as long as it says the same.
        let now = read_committed(&Layout::new(world.folder.path(), false));
        if file == MARK_FILE && now.is_ok_and(|now| now == before) {
            return Ok(());
        }
        let stopped = world.open_lane().err().map(|fault| fault.to_string());
        prop_assert!(stopped.is_some_and(|text| text.starts_with("stopped")));
    }

    /// Also where the editor sets back the time of the last modification.
    #[test]
    fn directory_any_changed_byte_stops_a_running_process(
        file in prop::sample::select(vec!["in/patron.ndjson", MARK_FILE, STATE_FILE, RUNS_FILE]),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
        keeps_time in any::<bool>(),
    ) {
        let mut world = copied_after_run();
        let (_directory, mut lane) = world.follow_after_run(Duration::ZERO);
        let path = world.path(file);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let before = world.read_committed();
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, bytes).unwrap();
        if keeps_time {
            fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        }
        let now = read_committed(&Layout::new(world.folder.path(), false));
        if file == MARK_FILE && now.is_ok_and(|now| now == before) {
            return Ok(());
        }
        prop_assert!(matches!(lane.find_changes(), Err(Fault::Stop(_))));
        prop_assert!(matches!(lane.commit(), Err(Fault::Stop(_))));
    }
}
