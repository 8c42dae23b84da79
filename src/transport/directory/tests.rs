//! The directory from outside, and a commit that dies after any of its steps.

use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use std::fs;

use super::*;
use crate::transport::file::{Mode, OpenFile};
use crate::transport::{
    Assigned, Coordinates, Flow, Input, Lag, Outbox, OutputId, OutputPlan, OutputRole, Payload,
    Polled, Rebuilt, SourceId, SourcePlan, Transport,
};

const LOAN: SourceId = SourceId(0);
const PATRON: SourceId = SourceId(1);
const ALL: OutputId = OutputId(0);
const ODD: OutputId = OutputId(1);
const DEAD: OutputId = OutputId(2);
const STATE: OutputId = OutputId(3);

/// More steps than any run here has.
const STEPS_ENOUGH: usize = 100_000;

/// A lane that writes `LANE.all`, `LANE.odd`, `zeef.dead-letters` and its state.
fn plan(lane: &str) -> LanePlan {
    let source = |topic: &str, gate| SourcePlan {
        topic: topic.to_owned(),
        gate,
        rebuilt: gate,
        joined: true,
        kept: crate::transport::continuity::Kept::ForATime,
    };
    let output = |topic: String| OutputPlan {
        role: match topic.starts_with("zeef.state.") {
            true => OutputRole::State,
            false => OutputRole::Recipient,
        },
        owner: match topic.starts_with("zeef.") {
            true => "zeef".to_owned(),
            false => lane.to_owned(),
        },
        topic,
        day_only: false,
        version: None,
    };
    LanePlan {
        name: lane.to_owned(),
        sources: vec![source("loan", false), source("patron", true)],
        outputs: vec![
            output(format!("{lane}.all")),
            output(format!("{lane}.odd")),
            output("zeef.dead-letters".to_owned()),
            output(format!("zeef.state.{lane}")),
        ],
        policy_version: "1".to_owned(),
        prints: None,
        forgotten: Vec::new(),
    }
}

fn prints() -> Fingerprinter {
    Fingerprinter::new([1, 2, 3, 4])
}

/// The name of an output of the lanes here, by its topic.
fn named(topic: &str) -> String {
    let owner = topic.split('.').next().unwrap_or_default();
    format!("{owner}/{topic}")
}

struct World {
    folder: TempDir,
    follow: bool,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("in")).unwrap();
        Self {
            folder,
            follow: false,
        }
    }

    fn following() -> Self {
        Self {
            follow: true,
            ..Self::new()
        }
    }

    fn settings(&self) -> DirectorySettings {
        DirectorySettings {
            gates: BTreeSet::from(["patron".to_owned()]),
            owners: BTreeMap::from([
                ("main.all".to_owned(), "main".to_owned()),
                ("main.odd".to_owned(), "main".to_owned()),
                ("zeef.dead-letters".to_owned(), "zeef".to_owned()),
            ]),
            follow: self.follow,
            line_bytes_max: 200,
            ..DirectorySettings::new(self.folder.path(), prints())
        }
    }

    fn directory(&self) -> Directory {
        Directory::open(self.settings()).unwrap()
    }

    fn lane(&self) -> Result<DirectoryTransport, Fault> {
        DirectoryTransport::open(self.settings(), &plan("main"), Stop::default())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, source: &str, text: impl AsRef<[u8]>) {
        let path = self.path(&format!("in/{source}.ndjson"));
        let mut options = fs::OpenOptions::new();
        let mut file = options.append(true).create(true).open(path).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    /// Numbered messages, with keys that differ per source.
    fn fill(&self, source: &str, count: usize) {
        let line = |number| format!("{{\"key\":\"{source}-{number}\",\"value\":{number}}}\n");
        self.append(source, (0..count).map(line).collect::<String>());
    }

    fn output(&self, topic: &str) -> String {
        fs::read_to_string(self.output_path(topic)).unwrap_or_default()
    }

    fn output_path(&self, topic: &str) -> PathBuf {
        self.path(&format!("out/{}.ndjson", named(topic)))
    }

    fn committed(&self) -> Committed {
        read_committed(&Layout::new(self.folder.path(), false)).unwrap()
    }

    /// The codes of what is found now.
    fn codes(&self) -> Vec<String> {
        let findings = self.directory().findings().unwrap();
        findings.into_iter().filter_map(|one| one.code).collect()
    }
}

/// What was handed out: source, offset, key and value.
fn show(input: &Input<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let value = match input.payload {
        Payload::Null => "null".to_owned(),
        Payload::Bytes(bytes) => text(bytes),
        Payload::Refused(reason) | Payload::Unread(reason, _) => format!("! {reason}"),
    };
    let source = if input.source == PATRON {
        "patron"
    } else {
        "loan"
    };
    let key = input.key.map_or("-".to_owned(), text);
    format!("{source} {} {key} {value}", input.offset)
}

/// A worker that copies: everything to `all`, odd values also to `odd`, a
/// refused record as a pointer to the dead letters. Its state is where the last
/// record of each key lies.
fn copy(input: &Input<'_>, outbox: &mut Outbox) {
    if let Some(key) = input.key {
        let offset = input.offset.to_string();
        outbox.push(STATE, Some(0), Some(key), |bytes| {
            bytes.extend(offset.bytes())
        });
    }
    let mut push = |output, key: Option<&[u8]>, value: &[u8]| {
        outbox.push(output, None, key, |bytes| bytes.extend_from_slice(value));
    };
    match input.payload {
        Payload::Bytes(value) => {
            push(ALL, input.key, value);
            if value.last().is_some_and(|digit| digit % 2 == 1) {
                push(ODD, input.key, value);
            }
        }
        Payload::Refused(_) | Payload::Unread(..) => {
            push(DEAD, None, input.offset.to_string().as_bytes())
        }
        Payload::Null => outbox.push_null(ALL, None, input.key.unwrap_or_default()),
    }
}

/// Polls once; what was handed out, and what it came to.
fn poll(lane: &mut DirectoryTransport, most: usize) -> (Vec<String>, Result<Polled, Fault>) {
    let mut shown = Vec::new();
    let polled = lane.poll(Duration::ZERO, &mut |input| {
        shown.push(show(&input));
        if shown.len() >= most {
            Flow::Full
        } else {
            Flow::More
        }
    });
    (shown, polled)
}

fn start(lane: &mut DirectoryTransport) {
    let assigned = Assigned {
        partition: 0,
        returned: false,
    };
    assert_eq!(
        poll(lane, 9),
        (vec![], Ok(Polled::Assigned(vec![assigned])))
    );
    assert_eq!(poll(lane, 9), (vec![], Ok(Polled::Idle)));
    lane.resume().unwrap();
}

/// Runs the copying worker to the end of the input.
fn run(lane: &mut DirectoryTransport, batch_records: usize) -> Result<(), Fault> {
    let mut outbox = Outbox::default();
    loop {
        let mut taken = 0;
        let polled = lane.poll(Duration::ZERO, &mut |input| {
            copy(&input, &mut outbox);
            taken += 1;
            if taken >= batch_records {
                Flow::Full
            } else {
                Flow::More
            }
        })?;
        match polled {
            Polled::Assigned(_) => lane.resume()?,
            Polled::End => return Ok(()),
            _ => {
                lane.publish(&outbox, 0)?;
                outbox.clear();
                lane.commit()?;
            }
        }
    }
}

#[track_caller]
fn check_stop<T>(result: Result<T, Fault>, words: &[&str]) {
    match result {
        Err(Fault::Stop(text)) => {
            let missing: Vec<_> = words.iter().filter(|word| !text.contains(**word)).collect();
            assert!(missing.is_empty(), "{missing:?} not in: {text}");
        }
        Err(fault) => panic!("expected a stop, found {fault:?}"),
        Ok(_) => panic!("expected a stop, found none"),
    }
}

#[test]
fn gates_come_first_and_offsets_are_bytes() {
    let world = World::following();
    world.append(
        "loan",
        "{\"key\":\"p1\",\"value\":{\"a\": 1}}\r\n\r\n{\"key\":\"é\",\"value\":2}\n",
    );
    world.append(
        "patron",
        "{\"key\":\"p1\",\"value\":null}\n \t\n\n{\"key\":3",
    );
    let mut lane = world.lane().unwrap();
    start(&mut lane);
    let want = ["patron 0 p1 null", "loan 0 p1 {\"a\": 1}", "loan 33 é 2"];
    let (shown, polled) = poll(&mut lane, 9);
    assert_eq!(
        (shown.as_slice(), polled),
        (&want.map(String::from)[..], Ok(Polled::Records(3)))
    );
    assert!(lane.uncommitted());
    assert_eq!(poll(&mut lane, 9), (vec![], Ok(Polled::Idle)));
    lane.commit().unwrap();
    assert!(!lane.uncommitted());
    assert_eq!(poll(&mut lane, 9), (vec![], Ok(Polled::Idle)));
    let behind = |source, behind| Lag {
        source,
        partition: 0,
        behind,
    };
    assert_eq!(lane.lag(), [behind(LOAN, 0), behind(PATRON, 8)]);
}

#[test]
fn lines_that_are_no_messages_are_handed_out_as_such() {
    let world = World::new();
    world.append("loan", "nonsense\n{\"key\":\"p1\",\"value\":[}\n");
    world.append("loan", b"{\"key\":\"p2\",\"value\":\"\xff\"}\n");
    world.append(
        "loan",
        format!("{{\"key\":\"p3\",\"value\":\"{}\"}}\n", "x".repeat(300)),
    );
    world.append("loan", "{\"key\":\"p4\",\"value\":4}\n");
    let mut lane = world.lane().unwrap();
    start(&mut lane);
    let want = [
        "loan 0 - ! not_a_message",
        "loan 9 p1 ! not_a_message",
        "loan 32 p2 ! not_utf8",
        "loan 57 p3 ! too_large",
        "loan 381 p4 4",
    ];
    assert_eq!(poll(&mut lane, 9).0, want);
}

#[test]
fn a_batch_is_full_when_the_worker_says_so_and_can_be_rewound() {
    let world = World::new();
    world.fill("patron", 2);
    world.fill("loan", 3);
    let mut lane = world.lane().unwrap();
    start(&mut lane);
    let first = poll(&mut lane, 3);
    assert_eq!((first.0.len(), &first.1), (3, &Ok(Polled::Records(3))));
    let mut outbox = Outbox::default();
    outbox.push_null(ALL, None, b"k1");
    lane.publish(&outbox, 0).unwrap();
    lane.rewind().unwrap();
    assert!(!lane.uncommitted());
    assert_eq!(poll(&mut lane, 3), first);
    lane.commit().unwrap();
    assert_eq!(world.output("main.all"), "");
    assert_eq!(poll(&mut lane, 9).0.len(), 2);
    drop(lane);
    let mut lane = world.lane().unwrap();
    start(&mut lane);
    assert_eq!(poll(&mut lane, 9).0.len(), 2);
}

#[test]
fn outputs_are_lines() {
    let world = World::new();
    let mut lane = world.lane().unwrap();
    let mut outbox = Outbox::default();
    outbox.push_null(ALL, None, b"k\"1");
    outbox.push(ALL, Some(3), None, |bytes| {
        bytes.extend(b"{\"price\":12.50}")
    });
    lane.publish(&outbox, 0).unwrap();
    assert_eq!(world.output("main.all"), "");
    lane.commit().unwrap();
    let want = "{\"key\":\"k\\\"1\",\"value\":null}\n{\"key\":null,\"value\":{\"price\":12.50}}\n";
    assert_eq!(world.output("main.all"), want);
    let lengths = committed_lengths(world.folder.path()).unwrap();
    assert_eq!(lengths["main/main.all"], want.len() as u64);
    assert!(!world.path(".zeef/journal").exists());
}

#[test]
fn an_output_that_is_no_line_stops() {
    for (key, value) in [(&b"k\xff"[..], &b"1"[..]), (b"k", b"1\n2")] {
        let world = World::new();
        let mut lane = world.lane().unwrap();
        let mut outbox = Outbox::default();
        outbox.push(ALL, None, Some(key), |bytes| bytes.extend(value));
        check_stop(lane.publish(&outbox, 0), &["main.all"]);
    }
}

#[test]
fn two_outputs_of_one_topic_are_one_file() {
    let world = World::new();
    let mut plan = plan("main");
    plan.outputs[1].topic = "main.all".to_owned();
    let mut lane = world.directory().transport(&plan, Stop::default()).unwrap();
    let mut outbox = Outbox::default();
    for (output, key) in [(ALL, b"a"), (ODD, b"b"), (ALL, b"c")] {
        outbox.push_null(output, None, key);
    }
    lane.publish(&outbox, 0).unwrap();
    lane.commit().unwrap();
    assert_eq!(world.output("main.all").lines().count(), 3);
}

#[test]
fn a_run_that_follows_picks_up_lines_and_files() {
    let world = World::following();
    let mut lane = world.lane().unwrap();
    start(&mut lane);
    assert_eq!(poll(&mut lane, 9), (vec![], Ok(Polled::Idle)));
    world.append("loan", "{\"key\":\"p1\",\"va");
    assert_eq!(poll(&mut lane, 9), (vec![], Ok(Polled::Idle)));
    assert!(!lane.uncommitted());
    world.append("loan", "lue\":1}\n{\"key\"");
    assert_eq!(poll(&mut lane, 9).0, ["loan 0 p1 1"]);
    world.append("patron", "{\"key\":\"p2\",\"value\":2}\n");
    world.append("loan", ":\"p2\",\"value\":3}\n");
    assert_eq!(poll(&mut lane, 9).0, ["patron 0 p2 2", "loan 23 p2 3"]);
    lane.commit().unwrap();
    world.append("loan", "\n\n");
    assert_eq!(poll(&mut lane, 9), (vec![], Ok(Polled::Idle)));
    assert!(lane.uncommitted());
    lane.commit().unwrap();
    assert_eq!(world.committed().lanes["main"]["loan"].next, 48);
}

#[test]
fn a_poll_waits_for_what_comes() {
    let world = World::following();
    let mut lane = world.lane().unwrap();
    start(&mut lane);
    thread::scope(|scope| {
        scope.spawn(|| world.fill("loan", 1));
        let polled = lane.poll(Duration::from_secs(60), &mut |_| Flow::Full);
        assert_eq!(polled, Ok(Polled::Records(1)));
    });
}

#[test]
fn a_stop_ends_every_wait() {
    let world = World::following();
    let stop = Stop::default();
    let directory = world.directory();
    let mut lane = directory.transport(&plan("main"), stop.clone()).unwrap();
    start(&mut lane);
    thread::scope(|scope| {
        scope.spawn(|| stop.ask());
        let polled = lane.poll(Duration::from_secs(3600), &mut |_| Flow::More);
        assert_eq!(polled, Ok(Polled::Idle));
    });
    lane.pause(Duration::from_secs(3600)).unwrap();
    world.fill("patron", 2);
    assert_eq!(
        lane.rebuild(PATRON, 0, &mut |_| ()),
        Ok(Rebuilt::Interrupted)
    );
    assert_eq!(poll(&mut lane, 9), (vec![], Ok(Polled::Idle)));
}

#[test]
fn a_gate_that_grew_goes_before_the_rest_of_the_others() {
    for follow in [true, false] {
        let world = World {
            follow,
            ..World::new()
        };
        world.fill("loan", 4);
        let mut lane = world.lane().unwrap();
        start(&mut lane);
        assert_eq!(poll(&mut lane, 1).0, ["loan 0 loan-0 0"]);
        world.fill("patron", 1);
        assert_eq!(
            poll(&mut lane, 1).0,
            ["loan 27 loan-1 1"],
            "not within the batch"
        );
        lane.commit().unwrap();
        let next = poll(&mut lane, 9).0;
        assert_eq!((next.len(), next[0].as_str()), (3, "patron 0 patron-0 0"));
    }
}

#[test]
fn a_run_ends_however_its_input_grows() {
    let world = World::new();
    world.fill("loan", 1);
    world.fill("patron", 1);
    let mut lane = world.lane().unwrap();
    start(&mut lane);
    assert_eq!(poll(&mut lane, 9).0.len(), 2);
    world.fill("loan", 1);
    world.fill("patron", 1);
    lane.commit().unwrap();
    assert_eq!(poll(&mut lane, 9), (vec![], Ok(Polled::End)));
    drop(lane);
    let mut lane = world.lane().unwrap();
    run(&mut lane, 9).unwrap();
    assert_eq!(world.output("main.all").lines().count(), 2);
}

#[test]
fn a_rebuild_reads_all_and_moves_nothing() {
    let world = World::new();
    world.fill("patron", 2);
    run(&mut world.lane().unwrap(), 9).unwrap();
    world.append("patron", "broken\n");
    let mut lane = world.lane().unwrap();
    let mut shown = Vec::new();
    let rebuilt = lane.rebuild(PATRON, 0, &mut |input| shown.push(show(&input)));
    assert_eq!(rebuilt, Ok(Rebuilt::Done));
    let want = [
        "patron 0 patron-0 0",
        "patron 29 patron-1 1",
        "patron 58 - ! not_a_message",
    ];
    assert_eq!(shown, want);
    assert_eq!(
        lane.rebuild(LOAN, 0, &mut |_| panic!("no loan")),
        Ok(Rebuilt::Done)
    );
    assert!(!lane.uncommitted());
    check_stop(lane.rebuild(PATRON, 1, &mut |_| ()), &["partition 1"]);
}

#[test]
fn a_replay_ends_at_what_is_committed() {
    let world = World::new();
    world.fill("loan", 2);
    let replay = |lane: &mut DirectoryTransport| {
        let mut offsets = Vec::new();
        let read = lane.replay(LOAN, 0, &mut |input| offsets.push(input.offset));
        assert_eq!(read, Ok(Rebuilt::Done));
        offsets
    };
    let mut lane = world.lane().unwrap();
    assert!(replay(&mut lane).is_empty());
    run(&mut lane, 9).unwrap();
    drop(lane);
    world.fill("loan", 3);
    let mut lane = world.lane().unwrap();
    assert_eq!(replay(&mut lane).len(), 2);
    assert!(!lane.uncommitted());
    check_stop(lane.replay(LOAN, 1, &mut |_| ()), &["partition 1"]);
}

/// The rows of a lane's state, in their order.
fn restore(lane: &mut DirectoryTransport) -> Result<Vec<String>, Fault> {
    let mut rows = Vec::new();
    let restored = lane.restore(STATE, 0, &mut |row| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let value = row.value.map_or("-".to_owned(), text);
        rows.push(format!("{} {value}", row.key.map_or("-".to_owned(), text)));
    })?;
    assert_eq!(restored, Rebuilt::Done);
    Ok(rows)
}

#[test]
fn state_is_what_is_committed_of_it() {
    let world = World::new();
    world.fill("patron", 2);
    let mut lane = world.lane().unwrap();
    assert_eq!(restore(&mut lane).unwrap(), [""; 0]);
    run(&mut lane, 1).unwrap();
    let mut outbox = Outbox::default();
    outbox.push_null(STATE, Some(0), b"k\"1");
    lane.publish(&outbox, 0).unwrap();
    let want = ["patron-0 0", "patron-1 29"];
    assert_eq!(restore(&mut lane).unwrap(), want);
    lane.commit().unwrap();
    let want = ["patron-0 0", "patron-1 29", "k\"1 -"];
    assert_eq!(restore(&mut lane).unwrap(), want);
    assert!(!world.path("out/zeef.state.main.ndjson").exists());
    assert!(
        !committed_lengths(world.folder.path())
            .unwrap()
            .contains_key("zeef.state.main")
    );
    check_stop(lane.restore(STATE, 1, &mut |_| ()), &["partition 1"]);
    check_stop(lane.restore(ALL, 0, &mut |_| ()), &["no state"]);
}

#[test]
fn a_state_that_is_not_as_it_was_written_stops() {
    for damage in [
        |text: &str| text[..text.len() - 1].to_owned(),
        |text: &str| text.replace("key", "k\u{e9}"),
        |text: &str| text.replace('\n', " "),
    ] {
        let world = World::new();
        world.fill("patron", 2);
        run(&mut world.lane().unwrap(), 9).unwrap();
        let path = world.path(".zeef/zeef.state.main.ndjson");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, damage(&text)).unwrap();
        check_stop(world.lane(), &["zeef.state.main.ndjson", "rows"]);
    }
    let world = World::new();
    world.fill("patron", 2);
    let mut lane = world.lane().unwrap();
    run(&mut lane, 9).unwrap();
    fs::write(world.path(".zeef/zeef.state.main.ndjson"), "").unwrap();
    let mut outbox = Outbox::default();
    outbox.push_null(STATE, Some(0), b"k");
    lane.publish(&outbox, 0).unwrap();
    check_stop(lane.commit(), &["0 bytes long", "meanwhile"]);
    drop(lane);
    check_stop(world.lane(), &["missing or empty", "zeef forget"]);
    assert_eq!(world.codes(), [""; 0]);
}

#[track_caller]
fn check_again(lane: &mut DirectoryTransport, wanted: &[(SourceId, i64)], want: &[&str]) {
    let wanted: Vec<Coordinates> = wanted
        .iter()
        .map(|&(source, offset)| Coordinates {
            source,
            partition: 0,
            offset,
        })
        .collect();
    let mut shown = Vec::new();
    let read = lane.read_again(&wanted, &mut |place, input| {
        assert_eq!(place, shown.len());
        shown.push(input.map_or("-".to_owned(), |input| show(&input)));
    });
    assert_eq!(
        (read, shown),
        (
            Ok(Rebuilt::Done),
            want.iter().map(|s| (*s).to_owned()).collect()
        )
    );
}

#[test]
fn lines_are_read_again() {
    let world = World::new();
    world.fill("patron", 3);
    world.append("patron", "\nbroken\n");
    world.fill("loan", 1);
    let mut lane = world.lane().unwrap();
    run(&mut lane, 9).unwrap();
    check_again(&mut lane, &[], &[]);
    check_again(
        &mut lane,
        &[
            (LOAN, 0),
            (LOAN, 1),
            (PATRON, 0),
            (PATRON, 58),
            (PATRON, 87),
            (PATRON, 88),
            (PATRON, 900),
        ],
        &[
            "loan 0 loan-0 0",
            "-",
            "patron 0 patron-0 0",
            "patron 58 patron-2 2",
            "-",
            "patron 88 - ! not_a_message",
            "-",
        ],
    );
    assert!(!lane.uncommitted());
    let nowhere = Coordinates {
        source: PATRON,
        partition: 1,
        offset: 0,
    };
    check_stop(
        lane.read_again(&[nowhere], &mut |_, _| ()),
        &["one partition"],
    );
    fs::write(world.path("in/patron.ndjson"), "").unwrap();
    let first = Coordinates {
        partition: 0,
        ..nowhere
    };
    check_stop(
        lane.read_again(&[first], &mut |_, _| ()),
        &["may only grow"],
    );
}

#[test]
fn many_lines_are_read_again() {
    let world = World::new();
    world.fill("loan", 50_000);
    let mut lane = world.lane().unwrap();
    let mut all = Vec::new();
    let done = lane.rebuild(LOAN, 0, &mut |input| {
        all.push((input.offset, show(&input)));
    });
    assert_eq!(done, Ok(Rebuilt::Done));
    for step in [1, 7, 5_000] {
        let some = all.iter().step_by(step);
        let wanted: Vec<_> = some.clone().map(|(offset, _)| (LOAN, *offset)).collect();
        let want: Vec<_> = some.map(|(_, shown)| shown.as_str()).collect();
        check_again(&mut lane, &wanted, &want);
    }
}

#[test]
fn an_input_that_did_not_only_grow_stops() {
    let line = "{\"key\":\"loan-0\",\"value\":7}\n";
    let cases: [(&str, Option<String>); 4] = [
        ("removed", None),
        ("shorter", Some(line.to_owned())),
        ("another of the same length", Some(line.repeat(3))),
        ("another and longer", Some(line.repeat(9))),
    ];
    for (name, text) in cases {
        for follow in [true, false] {
            let world = World {
                follow,
                ..World::new()
            };
            world.fill("loan", 3);
            let mut lane = world.lane().unwrap();
            start(&mut lane);
            assert_eq!(poll(&mut lane, 9).0.len(), 3);
            lane.commit().unwrap();
            let path = world.path("in/loan.ndjson");
            fs::remove_file(&path).unwrap();
            if let Some(text) = &text {
                fs::write(&path, text).unwrap();
            }
            let words = ["in/loan.ndjson", "byte 81", "may only grow"];
            if follow && !name.contains("same length") {
                check_stop(poll(&mut lane, 9).1, &words);
            }
            drop(lane);
            check_stop(world.lane(), &words);
        }
    }
}

#[test]
fn an_input_may_be_replaced_by_itself_and_more() {
    let world = World::following();
    world.fill("loan", 3);
    let mut lane = world.lane().unwrap();
    start(&mut lane);
    assert_eq!(poll(&mut lane, 9).0.len(), 3);
    lane.commit().unwrap();
    let (path, copy) = (world.path("in/loan.ndjson"), world.path("copy"));
    fs::copy(&path, &copy).unwrap();
    fs::rename(&copy, &path).unwrap();
    world.append("loan", "{\"key\":\"p1\",\"value\":1}\n");
    assert_eq!(poll(&mut lane, 9).0, ["loan 81 p1 1"]);
}

#[test]
fn one_process_at_a_time() {
    let world = World::new();
    let directory = world.directory();
    assert!(matches!(world.lane(), Err(Fault::Twin(_))));
    let lane = directory.transport(&plan("main"), Stop::default()).unwrap();
    drop(directory);
    assert!(matches!(world.lane(), Err(Fault::Twin(_))));
    drop(lane);
    assert!(world.lane().is_ok());
}

#[test]
fn what_is_no_directory_stops() {
    let folder = tempfile::tempdir().unwrap();
    let settings = DirectorySettings::new(&folder.path().join("nowhere"), prints());
    check_stop(Directory::open(settings), &["nowhere/in", "SOURCE.ndjson"]);
    let world = World::new();
    let mut plan = plan("main");
    plan.outputs[0].topic = "../escaped".to_owned();
    check_stop(
        world.directory().transport(&plan, Stop::default()),
        &["../escaped"],
    );
    fs::write(
        world.path(".zeef/committed.json"),
        "{\"format\":4,\"more\":1}",
    )
    .unwrap();
    check_stop(world.lane(), &["committed.json", "format 4"]);
    fs::write(world.path(".zeef/committed.json"), "{\"format\":1}").unwrap();
    check_stop(
        world.lane(),
        &["format 1", "no state", "move the out folder"],
    );
    fs::write(world.path(".zeef/committed.json"), "{\"format\":2").unwrap();
    check_stop(world.lane(), &["committed.json", "damaged"]);
    fs::remove_file(world.path(".zeef/committed.json")).unwrap();
    fs::write(world.path(".zeef/journal"), "half").unwrap();
    check_stop(world.lane(), &["journal", "damaged"]);
}

#[test]
fn lanes_of_a_process_share_an_output() {
    let world = World::new();
    world.append("loan", "nonsense\n".repeat(40));
    world.fill("patron", 40);
    let directory = world.directory();
    thread::scope(|scope| {
        for (lane, batch) in [("first", 1), ("second", 3), ("third", 7)] {
            let directory = &directory;
            scope.spawn(move || {
                let mut lane = directory.transport(&plan(lane), Stop::default()).unwrap();
                run(&mut lane, batch).unwrap();
            });
        }
    });
    let mut dead: Vec<String> = world
        .output("zeef.dead-letters")
        .lines()
        .map(String::from)
        .collect();
    dead.sort_unstable();
    assert_eq!(dead.len(), 120);
    dead.dedup();
    assert_eq!(dead.len(), 40);
    for lane in ["first", "second", "third"] {
        assert_eq!(world.output(&format!("{lane}.all")).lines().count(), 40);
        assert_eq!(world.committed().lanes[lane]["loan"].next, 360);
    }
}

#[test]
fn a_lane_that_panicked_in_a_commit_does_not_hold_up_the_others() {
    let world = World::new();
    world.fill("loan", 3);
    let directory = world.directory();
    let panicked = thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let _store = directory.store();
            panic!("on purpose");
        });
        holder.join().is_err()
    });
    assert!(panicked);
    let mut lane = directory.transport(&plan("main"), Stop::default()).unwrap();
    run(&mut lane, 2).unwrap();
    assert_eq!(world.output("main.all").lines().count(), 3);
}

#[test]
fn many_lines() {
    let world = World::new();
    world.fill("loan", 100_000);
    run(&mut world.lane().unwrap(), 20_000).unwrap();
    assert_eq!(world.output("main.all").lines().count(), 100_000);
    assert_eq!(world.output("main.odd").lines().count(), 50_000);
    assert_eq!(world.committed().commit, 6);
}

/// A disk on which the process dies after some steps: the next write is torn,
/// any other step does not happen, and nothing after it does.
struct DyingDisk {
    left: Arc<AtomicUsize>,
}

impl DyingDisk {
    fn step(&mut self) -> Result<(), Failure> {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        match left {
            0 => Err(Failure::to("live", Path::new("here"))(
                ErrorKind::Other.into(),
            )),
            _ => Ok(()),
        }
    }
}

impl Disk for DyingDisk {
    fn create(&mut self, path: &Path, mode: Mode) -> Result<OpenFile, Failure> {
        self.step()?;
        RealDisk.create(path, mode)
    }

    fn open(&mut self, path: &Path, mode: Mode) -> Result<OpenFile, Failure> {
        self.step()?;
        RealDisk.open(path, mode)
    }

    fn make_folder(&mut self, path: &Path, mode: Mode) -> Result<(), Failure> {
        self.step()?;
        RealDisk.make_folder(path, mode)
    }

    fn write(&mut self, file: &mut OpenFile, offset: u64, bytes: &[u8]) -> Result<(), Failure> {
        if self.left.load(Ordering::Relaxed) == 1 {
            RealDisk.write(file, offset, &bytes[..bytes.len() / 2])?;
            self.step()?;
        }
        self.step()?;
        RealDisk.write(file, offset, bytes)
    }

    fn set_length(&mut self, file: &OpenFile, length: u64) -> Result<(), Failure> {
        self.step()?;
        RealDisk.set_length(file, length)
    }

    // A process that dies takes nothing from the page cache: what is synced is
    // of no matter here, and without it the tests are quick.
    fn sync(&mut self, _file: &OpenFile) -> Result<(), Failure> {
        self.step()
    }

    fn sync_folder(&mut self, _path: &Path) -> Result<(), Failure> {
        self.step()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), Failure> {
        self.step()?;
        RealDisk.rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> Result<(), Failure> {
        self.step()?;
        RealDisk.remove(path)
    }
}

impl World {
    fn for_crashes() -> Self {
        let world = Self::new();
        world.fill("patron", 3);
        world.append("loan", "nonsense\n");
        world.fill("loan", 5);
        world
    }

    /// Runs to the end, or until the process dies; `Ok` with the steps left.
    fn run_for(&self, steps: usize, batch_records: usize) -> Result<usize, Fault> {
        let left = Arc::new(AtomicUsize::new(steps));
        let disk = Box::new(DyingDisk {
            left: Arc::clone(&left),
        });
        let directory = Directory::open_on(self.settings(), disk)?;
        run(
            &mut directory.transport(&plan("main"), Stop::default())?,
            batch_records,
        )?;
        Ok(left.load(Ordering::Relaxed))
    }

    fn outputs(&self) -> [String; 4] {
        let state = fs::read_to_string(self.path(".zeef/zeef.state.main.ndjson"));
        let [all, odd, dead] =
            ["main.all", "main.odd", "zeef.dead-letters"].map(|topic| self.output(topic));
        [all, odd, dead, state.unwrap_or_default()]
    }

    /// Holds that what is committed now is a whole number of batches.
    #[track_caller]
    fn check_between(&self, after_commit: &[Committed], outputs: &[String; 4]) {
        let committed = self.committed();
        let number = usize::try_from(committed.commit).unwrap();
        assert_eq!(committed, after_commit[number]);
        for (whole, found) in outputs.iter().zip(self.outputs()) {
            assert!(whole.starts_with(&found), "a reader saw what does not stay");
        }
        for (name, length) in &committed.outputs {
            let found = fs::metadata(self.path(&format!("out/{name}.ndjson")));
            assert!(found.unwrap().len() >= *length);
        }
        for file in committed.state.values() {
            assert!(self.outputs()[3].len() as u64 >= file.length);
        }
    }
}

/// What is committed after each batch of an undisturbed run, and its outputs.
fn undisturbed(batch_records: usize) -> (Vec<Committed>, [String; 4]) {
    let world = World::for_crashes();
    let disk = DyingDisk {
        left: Arc::new(AtomicUsize::new(STEPS_ENOUGH)),
    };
    let directory = Directory::open_on(world.settings(), Box::new(disk)).unwrap();
    let mut lane = directory.transport(&plan("main"), Stop::default()).unwrap();
    let mut after_commit = vec![Committed::default(), world.committed()];
    lane.poll(Duration::ZERO, &mut |_| Flow::Full).unwrap();
    lane.resume().unwrap();
    let mut outbox = Outbox::default();
    loop {
        let mut taken = 0;
        let polled = lane.poll(Duration::ZERO, &mut |input| {
            copy(&input, &mut outbox);
            taken += 1;
            if taken >= batch_records {
                Flow::Full
            } else {
                Flow::More
            }
        });
        if polled == Ok(Polled::End) {
            return (after_commit, world.outputs());
        }
        lane.publish(&outbox, 0).unwrap();
        outbox.clear();
        lane.commit().unwrap();
        after_commit.push(world.committed());
    }
}

#[test]
fn a_process_may_die_after_any_step() {
    let (after_commit, outputs) = undisturbed(4);
    let steps = STEPS_ENOUGH - World::for_crashes().run_for(STEPS_ENOUGH, 4).unwrap();
    assert!(steps > 40, "{steps}");
    for first in 0..steps {
        let world = World::for_crashes();
        assert!(world.run_for(first, 4).is_err());
        world.check_between(&after_commit, &outputs);
        // It dies again, in the midst of mending.
        assert!(world.run_for(first % 12, 4).is_err() || first + 12 > steps);
        world.check_between(&after_commit, &outputs);
        world.run_for(STEPS_ENOUGH, 4).unwrap();
        assert_eq!(world.outputs(), outputs, "died after step {first}");
        assert_eq!(world.committed(), after_commit[after_commit.len() - 1]);
        for name in ["journal", "journal.new", "committed.json.new"] {
            assert!(!world.path(".zeef").join(name).exists());
        }
    }
}

#[test]
fn a_lane_whose_commit_broke_off_is_mended_by_the_next() {
    for steps in 0..60 {
        let world = World::for_crashes();
        let left = Arc::new(AtomicUsize::new(STEPS_ENOUGH));
        let disk = Box::new(DyingDisk {
            left: Arc::clone(&left),
        });
        let directory = Directory::open_on(world.settings(), disk).unwrap();
        let lane = |name| directory.transport(&plan(name), Stop::default());
        let mut first = lane("first").unwrap();
        let mut second = lane("second").unwrap();
        left.store(steps, Ordering::Relaxed);
        let broken = run(&mut first, 4);
        left.store(STEPS_ENOUGH, Ordering::Relaxed);
        run(&mut second, 2).unwrap();
        if let Err(fault) = broken {
            match fault {
                Fault::Abort(_) => first.rewind().unwrap(),
                Fault::Rebuild(_) => first = lane("first").unwrap(),
                other => panic!("{other:?}"),
            }
            run(&mut first, 4).unwrap();
        }
        assert_eq!(world.output("zeef.dead-letters").lines().count(), 2);
        assert_eq!(world.output("first.all"), world.output("second.all"));
        assert_eq!(world.output("first.all").lines().count(), 8);
    }
}

impl World {
    /// Outputs and a state with values above their nulls, and dead letters.
    fn for_compaction() -> Self {
        let world = Self::new();
        world.fill("patron", 4);
        world.append("patron", "{\"key\":\"patron-1\",\"value\":null}\n");
        world.append("patron", "{\"key\":\"patron-3\",\"value\":33}\n");
        world.append("loan", "nonsense\n".repeat(2));
        world
    }

    fn dying(&self, steps: usize) -> (Arc<AtomicUsize>, Result<Directory, Fault>) {
        let left = Arc::new(AtomicUsize::new(steps));
        let disk = Box::new(DyingDisk {
            left: Arc::clone(&left),
        });
        let directory = Directory::open_on(self.settings(), disk);
        (left, directory)
    }

    /// What a reader of each file has in the end: the last line of each key, and
    /// the lines without one.
    fn last_lines(&self) -> Vec<String> {
        let mut last = Vec::new();
        for text in self.outputs() {
            let mut lines: Vec<&str> = Vec::new();
            for line in text.lines() {
                let key = line.split(",\"value\"").next();
                lines.retain(|other| {
                    line.starts_with("{\"key\":null") || other.split(",\"value\"").next() != key
                });
                lines.push(line);
            }
            last.extend(lines.into_iter().map(str::to_owned));
        }
        last
    }

    fn leftovers(&self) -> usize {
        let folders = ["out/main", "out/zeef", ".zeef"]
            .map(|folder| fs::read_dir(self.path(folder)).unwrap());
        let names = folders
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.as_encoded_bytes().ends_with(b".new"))
            .count()
    }
}

#[test]
fn compaction_leaves_the_last_line_of_each_key() {
    let world = World::for_compaction();
    let directory = world.directory();
    let mut lane = directory.transport(&plan("main"), Stop::default()).unwrap();
    run(&mut lane, 4).unwrap();
    let mut outbox = Outbox::default();
    outbox.push_null(STATE, Some(0), b"patron-2");
    lane.publish(&outbox, 0).unwrap();
    lane.commit().unwrap();
    assert!(world.committed().taken_back);
    let done = directory.compact_if_due().unwrap();
    let lines = |topic: &str| {
        let file = done.iter().find(|file| file.name.ends_with(topic));
        file.map(|file| (file.lines_before, file.lines_after))
    };
    assert_eq!(lines("main.all"), Some((6, 4)));
    assert_eq!(lines("zeef.state.main"), Some((7, 3)));
    assert_eq!(
        (lines("main.odd"), lines("zeef.dead-letters")),
        (Some((3, 2)), None)
    );
    let [all, odd, dead, state] = world.outputs();
    let want = "{\"key\":\"patron-0\",\"value\":0}\n{\"key\":\"patron-2\",\"value\":2}\n\
        {\"key\":\"patron-1\",\"value\":null}\n{\"key\":\"patron-3\",\"value\":33}\n";
    assert_eq!(all, want);
    assert_eq!(odd.lines().count(), 2);
    assert_eq!(dead.lines().count(), 2);
    assert!(
        !state.contains("null") && !state.contains("patron-2"),
        "{state}"
    );
    assert_eq!(restore(&mut lane).unwrap().len(), 3);
    let committed = world.committed();
    assert!(!committed.taken_back);
    assert_eq!(committed.outputs["main/main.all"], all.len() as u64);
    let file = committed.state["zeef.state.main"];
    assert_eq!((file.length, file.rows), (state.len() as u64, 3));
    assert_eq!(directory.compact().unwrap(), []);
    assert_eq!(world.committed(), committed);
    // What comes after goes on behind it.
    lane.publish(&outbox, 0).unwrap();
    lane.commit().unwrap();
    assert_eq!(restore(&mut lane).unwrap().last().unwrap(), "patron-2 -");
}

#[test]
fn a_state_is_compacted_when_half_of_it_is_old() {
    let world = World::new();
    let directory = world.directory();
    let mut lane = directory.transport(&plan("main"), Stop::default()).unwrap();
    let mut outbox = Outbox::default();
    for key in [b"a", b"b", b"a", b"a"] {
        outbox.clear();
        for output in [ALL, STATE] {
            outbox.push(output, Some(0), Some(key), |bytes| bytes.extend(b"1"));
        }
        lane.publish(&outbox, 0).unwrap();
        lane.commit().unwrap();
        let done = directory.compact_if_due().unwrap();
        let lines = fs::read_to_string(world.path(".zeef/zeef.state.main.ndjson")).unwrap();
        match done.len() {
            0 => assert!(lines.lines().count() <= 3),
            1 => assert_eq!((done[0].state, lines.lines().count()), (true, 2)),
            _ => panic!("{done:?}"),
        }
    }
    assert_eq!(world.output("main.all").lines().count(), 4);
    assert_eq!(restore(&mut lane).unwrap(), ["b 1", "a 1"]);
}

#[test]
fn a_process_may_die_after_any_step_of_a_compaction() {
    let whole = World::for_compaction();
    run(&mut whole.lane().unwrap(), 4).unwrap();
    whole.directory().compact().unwrap();
    let compacted = whole.outputs();
    let mut steps = 0;
    loop {
        let world = World::for_compaction();
        world.run_for(STEPS_ENOUGH, 4).unwrap();
        let last = world.last_lines();
        let (_, directory) = world.dying(steps);
        let died = directory.and_then(|directory| directory.compact()).is_err();
        assert_eq!(world.last_lines(), last, "died after step {steps}");
        // It dies again, in the midst of mending.
        let (_, mending) = world.dying(steps % 12);
        drop(mending);
        assert_eq!(world.last_lines(), last, "died after step {steps}, twice");
        let mut lane = world.lane().unwrap();
        let rows = restore(&mut lane).unwrap();
        assert_eq!(world.leftovers(), 0);
        assert!(rows.len() == 6 || rows.len() == 4, "{rows:?}");
        for (name, length) in &world.committed().outputs {
            let found = fs::metadata(world.path(&format!("out/{name}.ndjson")));
            assert_eq!(found.unwrap().len(), *length);
        }
        drop(lane);
        world.directory().compact().unwrap();
        assert_eq!(world.outputs(), compacted);
        if !died {
            break;
        }
        steps += 1;
    }
    assert!(steps > 25, "{steps}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn deaths_and_batch_sizes_change_nothing(
        deaths in prop::collection::vec((0_usize..90, 1_usize..10), 0..6),
        batch_records in 1_usize..10,
    ) {
        let (_, outputs) = undisturbed(4);
        let world = World::for_crashes();
        for (steps, batch_records) in deaths {
            let _ = world.run_for(steps, batch_records);
        }
        world.run_for(STEPS_ENOUGH, batch_records).unwrap();
        prop_assert_eq!(world.outputs(), outputs);
        let lane = &world.committed().lanes["main"];
        for source in ["loan", "patron"] {
            let length = fs::metadata(world.path(&format!("in/{source}.ndjson"))).unwrap().len();
            prop_assert_eq!(lane[source].next, i64::try_from(length).unwrap());
        }
    }
}

mod continuity;
mod upgrade;
