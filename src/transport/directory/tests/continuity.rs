//! Whatever is lost, changed or put in another's place stops the next start
//! before anything is committed; ordinary days do not.

use std::os::unix::fs::{MetadataExt, symlink};

use super::*;

impl World {
    /// A directory after a run: patrons, loans, outputs and a state.
    fn after_a_run() -> Self {
        let world = World::new();
        world.fill("patron", 40);
        world.fill("loan", 300);
        run(&mut world.lane().unwrap(), 200).unwrap();
        world
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn set(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Changes a file in place.
    fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.text(name);
        assert!(text.contains(from), "{name} has no {from}");
        self.set(name, text.replacen(from, to, 1));
    }

    fn cut(&self, name: &str, lines: usize) {
        let text = self.text(name);
        let left: Vec<&str> = text.split_inclusive('\n').take(lines).collect();
        self.set(name, left.concat());
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Every file that zeef wrote, but what it holds open.
    fn written(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        fn add(folder: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => add(&path, all),
                    false => drop(all.insert(path.clone(), fs::read(&path).unwrap())),
                }
            }
        }
        let mut all = BTreeMap::new();
        for name in ["out", ".zeef"] {
            if self.path(name).exists() {
                add(&self.path(name), &mut all);
            }
        }
        all
    }
}

type Change = fn(&World);

const STATE_FILE: &str = ".zeef/zeef.state.main.ndjson";
const MARK: &str = ".zeef/committed.json";
const OUTPUT: &str = "out/main/main.all.ndjson";

/// What is changed, what the message says, and how many findings can be accepted.
const CHANGES: [(&str, Change, &[&str], usize); 19] = [
    (
        "an input is shorter",
        |world| world.cut("in/loan.ndjson", 299),
        &["in/loan.ndjson", "may only grow"],
        1,
    ),
    (
        "an input is emptied",
        |world| world.set("in/loan.ndjson", ""),
        &["in/loan.ndjson", "bytes long"],
        1,
    ),
    (
        "an input is gone",
        |world| world.remove("in/loan.ndjson"),
        &["in/loan.ndjson", "0 bytes long"],
        1,
    ),
    (
        "a gate is gone",
        |world| world.remove("in/patron.ndjson"),
        &["in/patron.ndjson", "an objection"],
        1,
    ),
    (
        "a gate is another one, of the same length",
        |world| world.edit("in/patron.ndjson", "\"patron-7\"", "\"patrom-7\""),
        &["in/patron.ndjson", "something else"],
        1,
    ),
    (
        "a gate has its lines in another order",
        |world| {
            let text = world.text("in/patron.ndjson");
            let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
            lines.swap(3, 4);
            world.set("in/patron.ndjson", lines.concat());
        },
        &["in/patron.ndjson", "something else"],
        1,
    ),
    (
        "an input is another one and longer",
        |world| {
            world.remove("in/loan.ndjson");
            world.append("loan", "{\"key\":\"other\",\"value\":7}\n".repeat(900));
        },
        &["in/loan.ndjson", "something else"],
        1,
    ),
    (
        "an input lost its first line and gained others",
        |world| {
            let text = world.text("in/loan.ndjson");
            let (_, rest) = text.split_once('\n').unwrap();
            world.set("in/loan.ndjson", format!("{rest}{text}"));
        },
        &["in/loan.ndjson", "something else"],
        1,
    ),
    (
        "the mark is gone",
        |world| world.remove(MARK),
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
        |world| world.remove(STATE_FILE),
        &["zeef.state.main", "missing", "zeef forget"],
        0,
    ),
    (
        "the state is shorter",
        |world| world.cut(STATE_FILE, 100),
        &["zeef.state.main", "can never be taken back"],
        1,
    ),
    (
        "a row is edited by hand",
        |world| world.edit(STATE_FILE, "\"value\":0", "\"value\":1"),
        &["zeef.state.main", "not those that zeef wrote"],
        1,
    ),
    (
        "a row is half gone",
        |world| {
            let text = world.text(STATE_FILE);
            world.set(STATE_FILE, &text[..text.len() - 3]);
        },
        &["zeef.state.main", "no rows"],
        0,
    ),
    (
        "rows without positions",
        |world| {
            world.set(
                ".zeef/zeef.state.other.ndjson",
                "{\"key\":\"a\",\"value\":1}\n",
            )
        },
        &["zeef.state.other"],
        1,
    ),
    (
        "an output is gone",
        |world| world.remove(OUTPUT),
        &["main.all", "missing or empty", "Put the file back"],
        1,
    ),
    (
        "an output is shorter",
        |world| world.cut(OUTPUT, 3),
        &["main.all", "may miss"],
        1,
    ),
    (
        "somebody wrote to an output",
        |world| world.set(OUTPUT, world.text(OUTPUT) + "{\"key\":\"x\",\"value\":1}\n"),
        &["main.all", "older copy"],
        1,
    ),
    (
        "an output that zeef never wrote",
        |world| {
            fs::create_dir(world.path("out/other")).unwrap();
            world.set(
                "out/other/out.other.ndjson",
                "{\"key\":\"x\",\"value\":1}\n",
            );
        },
        &["out.other"],
        1,
    ),
];

#[test]
fn what_is_lost_or_changed_stops_before_anything_is_committed() {
    for (name, change, words, codes) in CHANGES {
        let world = World::after_a_run();
        change(&world);
        // What came in the night must not be decided either.
        if world.path("in/loan.ndjson").exists() {
            world.append("loan", "{\"key\":\"new\",\"value\":3}\n");
        }
        let before = world.written();
        for _ in 0..2 {
            check_stop(world.lane(), words);
            check_stop(world.directory().compact(), words);
        }
        let mut after = world.written();
        after.retain(|path, _| !path.ends_with("lock") || before.contains_key(path));
        assert_eq!(after, before, "{name}");
        assert_eq!(world.codes().len(), codes, "{name}");
    }
}

#[test]
fn an_acceptance_is_for_one_finding_and_once() {
    for (name, change, _, codes) in CHANGES {
        let world = World::after_a_run();
        change(&world);
        for code in world.codes() {
            let accepted = world.directory().accept(&code, "a test").unwrap();
            assert!(accepted.is_some(), "{name}");
            assert_eq!(
                world.directory().accept("000000000000", "no").unwrap(),
                None
            );
        }
        if codes == 0 {
            continue;
        }
        run(&mut world.lane().unwrap(), 50).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert_eq!(world.directory().findings().unwrap(), [], "{name}");
        run(&mut world.lane().unwrap(), 50).unwrap();
        // The same once more is another finding.
        if fs::metadata(world.path("in/loan.ndjson")).is_ok_and(|found| found.len() > 0) {
            world.remove("in/loan.ndjson");
            check_stop(world.lane(), &["in/loan.ndjson"]);
        }
    }
}

#[test]
fn an_input_that_is_accepted_is_read_from_its_beginning() {
    let world = World::after_a_run();
    let length = i64::try_from(world.text("in/loan.ndjson").len()).unwrap();
    world.set(
        "in/loan.ndjson",
        "{\"key\":\"a\",\"value\":1}\n{\"key\":\"b\",\"value\":2}\n",
    );
    let [code] = &world.codes()[..] else {
        panic!("one finding");
    };
    world.directory().accept(code, "a new export").unwrap();
    let mut lane = world.lane().unwrap();
    start(&mut lane);
    let (shown, _) = poll(&mut lane, 9);
    // Its lines are other records than those that lay at these bytes before.
    assert_eq!(
        shown,
        [
            format!("loan {length} a 1"),
            format!("loan {} b 2", length + 22)
        ]
    );
    check_again(
        &mut lane,
        &[(LOAN, 0), (LOAN, length + 22)],
        &["-", &format!("loan {} b 2", length + 22)],
    );
    lane.commit().unwrap();
    drop(lane);
    world.append("loan", "{\"key\":\"c\",\"value\":3}\n");
    let mut lane = world.lane().unwrap();
    start(&mut lane);
    assert_eq!(poll(&mut lane, 9).0, [format!("loan {} c 3", length + 44)]);
}

#[test]
fn a_mark_that_is_rolled_back_is_noticed() {
    let world = World::after_a_run();
    let (mark, state) = (world.text(MARK), world.text(STATE_FILE));
    world.append("loan", "{\"key\":\"new\",\"value\":3}\n");
    run(&mut world.lane().unwrap(), 50).unwrap();
    world.set(MARK, &mark);
    check_stop(world.lane(), &["zeef.state.main", "main.all", "older copy"]);
    world.set(STATE_FILE, &state);
    check_stop(world.lane(), &["main.all", "older copy"]);
}

#[test]
fn a_lane_that_nobody_runs_is_compared_too() {
    let world = World::after_a_run();
    world.edit("in/patron.ndjson", "\"patron-7\"", "\"patrom-7\"");
    let other = world.directory().transport(&plan("other"), Stop::default());
    check_stop(other, &["lane main", "in/patron.ndjson"]);
}

#[test]
fn keys_are_known_again() {
    let world = World::new();
    let print = |id: &str, print: &str| KeyPrint {
        id: id.to_owned(),
        print: print.to_owned(),
    };
    let with = |keys: &[(&str, KeyPrint)], number: u64| DirectorySettings {
        keys: keys
            .iter()
            .map(|(name, print)| ((*name).to_owned(), print.clone()))
            .collect(),
        prints: Fingerprinter::new([number; 4]),
        ..world.settings()
    };
    let lane = |settings| DirectoryTransport::open(settings, &plan("main"), Stop::default());
    let (state, a) = ((STATE_KEY, print("s1", "x")), ("a", print("k1", "y")));
    drop(lane(with(&[state.clone(), a.clone()], 1)).unwrap());
    // A recipient that came, and one that is switched off, are no finding.
    drop(lane(with(&[state.clone(), ("b", print("k2", "z"))], 1)).unwrap());
    drop(lane(with(&[state.clone(), a], 1)).unwrap());
    let other = with(&[state.clone(), ("a", print("k3", "w"))], 1);
    check_stop(lane(other.clone()), &["key of a", "`k1`", "`k3`"]);
    let findings = Directory::open(other.clone()).unwrap().findings().unwrap();
    let code = findings[0].code.clone().unwrap();
    Directory::open(other.clone())
        .unwrap()
        .accept(&code, "rotated")
        .unwrap();
    drop(lane(other).unwrap());
    // Under another state key nothing can be known.
    let other = with(&[(STATE_KEY, print("s2", "v"))], 2);
    check_stop(Directory::open(other), &["`s1`", "`s2`", "zeef forget"]);
}

#[test]
fn a_mark_that_was_edited_stops() {
    let world = World::after_a_run();
    world.edit(MARK, "\"taken_back\": false", "\"taken_back\": true");
    check_stop(Directory::open(world.settings()), &["not as zeef wrote it"]);
}

#[test]
fn ordinary_nights_go_on() {
    let world = World::new();
    for _ in 0..3 {
        run(&mut world.lane().unwrap(), 9).unwrap();
    }
    for night in 0..20 {
        world.fill("loan", night * 7);
        world.fill("patron", night % 3);
        if night % 4 == 0 {
            world.append("patron", "{\"key\":\"patron-1\",\"value\":null}\n\n\n");
        }
        if night % 5 == 0 {
            // An export that is copied over the one before, and is longer.
            let text = world.text("in/loan.ndjson");
            world.remove("in/loan.ndjson");
            world.set("in/loan.ndjson", text);
        }
        let directory = world.directory();
        let mut lane = directory.transport(&plan("main"), Stop::default()).unwrap();
        run(&mut lane, 9).unwrap();
        directory.compact_if_due().unwrap();
    }
    assert_eq!(world.directory().findings().unwrap(), []);
    // A limit of lines that changes is no other file.
    let settings = DirectorySettings {
        line_bytes_max: 20,
        ..world.settings()
    };
    assert_eq!(Directory::open(settings).unwrap().findings().unwrap(), []);
}

#[test]
fn a_lane_can_be_forgotten() {
    let state = "zeef.state.main";
    let forget = |world: &World| forget(world.settings(), "main", state).unwrap();
    for change in [
        |_: &World| {},
        |world: &World| world.remove(STATE_FILE),
        |world: &World| world.remove(MARK),
        |world: &World| world.edit(MARK, "\"taken_back\": false", "\"taken_back\": true"),
        |world: &World| fs::remove_dir_all(world.path(".zeef")).unwrap(),
        |world: &World| world.set(".zeef/journal", "half"),
    ] {
        let world = World::after_a_run();
        let lines = world.output("main.all").lines().count();
        change(&world);
        forget(&world);
        run(&mut world.lane().unwrap(), 50).unwrap();
        assert_eq!(world.output("main.all").lines().count(), 2 * lines);
        assert_eq!(world.directory().findings().unwrap(), []);
    }
}

#[test]
fn a_last_line_without_its_end_stops_a_run_that_ends() {
    for (source, other) in [("patron", "loan"), ("loan", "patron")] {
        let world = World::new();
        world.fill(other, 2);
        world.fill(source, 1);
        let at = world.text(&format!("in/{source}.ndjson")).len();
        world.append(source, "{\"key\":\"p9\",\"value\":1}");
        let mut lane = world.lane().unwrap();
        let words = [source, &format!("byte {at}"), "no line end"];
        check_stop(run(&mut lane, 1), &words);
        assert_eq!(world.output("main.all"), "", "nothing is decided before");
        world.append(source, "\n");
        run(&mut lane, 1).unwrap();
        assert_eq!(world.output("main.all").lines().count(), 4);
        // Blanks are no line.
        world.append(source, " \t");
        drop(lane);
        run(&mut world.lane().unwrap(), 1).unwrap();
    }
    // One that comes while the run goes on is not left behind either.
    let world = World::new();
    world.fill("loan", 3);
    let mut lane = world.lane().unwrap();
    start(&mut lane);
    assert_eq!(poll(&mut lane, 1).0.len(), 1);
    lane.commit().unwrap();
    world.append("patron", "{\"key\":\"p9\",\"value\":1}");
    assert_eq!(poll(&mut lane, 9).0.len(), 2);
    lane.commit().unwrap();
    check_stop(poll(&mut lane, 9).1, &["patron", "byte 0"]);
    // Nor a long one.
    let world = World::new();
    world.append("loan", "x".repeat(700_000));
    check_stop(run(&mut world.lane().unwrap(), 1), &["loan", "byte 0"]);
}

#[test]
fn a_text_in_utf16_stops() {
    let world = World::new();
    let text = "\u{feff}{\"key\":\"p1\",\"value\":1}\n";
    for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
        let text: Vec<u8> = text.encode_utf16().flat_map(bytes).collect();
        world.set("in/patron.ndjson", text);
        check_stop(world.lane(), &["in/patron.ndjson", "byte 0", "UTF-16"]);
    }
}

#[test]
fn a_refused_line_of_a_gate_is_handed_out_for_each_key() {
    let world = World::new();
    let two = "{\"key\":\"p1\",\"value\":1}{\"key\":\"p2\",\"value\":2}\n";
    let marked = "\u{feff}{\"key\":\"p3\",\"value\":3}\n";
    for source in ["patron", "loan"] {
        world.append(source, [marked, two, marked].concat());
    }
    let mut lane = world.lane().unwrap();
    start(&mut lane);
    let want = [
        "patron 0 p3 3",
        "patron 26 p1 ! not_a_message",
        "patron 49 p2 ! not_a_message",
        "patron 71 p3 ! not_a_message",
        "loan 0 p3 3",
        "loan 26 p1 ! not_a_message",
        "loan 71 - ! not_a_message",
    ];
    assert_eq!(poll(&mut lane, 99).0, want);
}

#[track_caller]
fn check_mode(world: &World, name: &str, want: u32) {
    let mode = fs::metadata(world.path(name)).unwrap().mode() & 0o777;
    assert_eq!(mode, want, "{name}: {mode:o}");
}

#[test]
fn files_are_for_the_user_alone() {
    for (group_read, file, folder) in [(false, 0o600, 0o700), (true, 0o640, 0o750)] {
        let world = World::new();
        world.fill("loan", 3);
        let settings = DirectorySettings {
            group_read,
            ..world.settings()
        };
        let directory = Directory::open(settings).unwrap();
        let mut lane = directory.transport(&plan("main"), Stop::default()).unwrap();
        run(&mut lane, 9).unwrap();
        directory.make_input("patron").unwrap();
        for name in [STATE_FILE, MARK, ".zeef/lock", "in/patron.ndjson"] {
            check_mode(&world, name, 0o600);
        }
        check_mode(&world, ".zeef", 0o700);
        for name in ["out", "out/main", "out/zeef"] {
            check_mode(&world, name, folder);
        }
        check_mode(&world, OUTPUT, file);
    }
}

#[test]
fn nothing_is_written_through_a_link() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target");
    for name in [
        "out",
        ".zeef",
        "out/main",
        OUTPUT,
        STATE_FILE,
        ".zeef/lock",
        ".zeef/journal.new",
    ] {
        let world = World::new();
        world.fill("loan", 3);
        let path = world.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(&target, &path).unwrap();
        let ran = world.lane().and_then(|mut lane| run(&mut lane, 9));
        let swept = name.ends_with(".new");
        assert_eq!(ran.is_ok(), swept, "{name}: {ran:?}");
        assert!(!target.exists(), "{name}");
    }
}

/// A directory after a run, made once and copied.
fn copied() -> World {
    static BASE: std::sync::OnceLock<World> = std::sync::OnceLock::new();
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
    let base = BASE.get_or_init(World::after_a_run);
    let world = World::new();
    copy(base.folder.path(), world.folder.path());
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_byte_is_changed_or_lost_unnoticed(
        file in prop::sample::select(vec!["in/patron.ndjson", MARK, STATE_FILE]),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
        cut in any::<bool>(),
    ) {
        let world = copied();
        let path = world.path(file);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        match cut {
            true => bytes.truncate(at),
            false => bytes[at] ^= 1 << bit,
        }
        let before = world.committed();
        fs::write(&path, bytes).unwrap();
        // The mark may be written in another way, as long as it says the same.
        let now = read_committed(&Layout::new(world.folder.path(), false));
        if file == MARK && now.is_ok_and(|now| now == before) {
            return Ok(());
        }
        let stopped = world.lane().err().map(|fault| fault.to_string());
        prop_assert!(stopped.is_some_and(|text| text.starts_with("stopped")));
    }
}
