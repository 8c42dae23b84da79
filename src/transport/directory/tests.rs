//! The directory from outside, and commits that die after any of their steps.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use std::fs;

use super::output_files::OutputLines;
use super::*;
use crate::message::{
    Coordinates, Input, Outbox, OutputId, OutputPlan, OutputRole, Payload, SourceId, SourcePlan,
};
use crate::transport::file::{FileMode, NamedFile};
use crate::transport::{
    AssignedPartition, PartitionLag, PollFlow, PollOutcome, ReadOutcome, Transport,
};

const LOAN: SourceId = SourceId(0);
const PATRON: SourceId = SourceId(1);
const ALL_OUTPUT: OutputId = OutputId(0);
const ODD_OUTPUT: OutputId = OutputId(1);
const DEAD_LETTER_OUTPUT: OutputId = OutputId(2);
const STATE_OUTPUT: OutputId = OutputId(3);

/// More steps than any run here takes.
const UNLIMITED_STEPS: usize = 100_000;

/// A lane that writes `LANE.all`, `LANE.odd`, `zeef.dead-letters` and its state.
fn lane_plan(lane: &str) -> LanePlan {
    let source = |topic: &str, gate: bool| SourcePlan {
        topic: topic.to_owned(),
        gate_rank: gate.then_some(0),
        is_rebuilt: gate,
        is_joined: true,
        retention: crate::message::continuity::SourceRetention::Limited,
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
        has_day_timestamps: false,
        version_override: None,
        contract_version: None,
        encoding: None,
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
        fingerprinter: None,
        forget_offset_totals: Vec::new(),
        known_former_topics: BTreeSet::new(),
        configured_topics: None,
        intake: None,
    }
}

fn fingerprinter() -> Fingerprinter {
    Fingerprinter::new([1, 2, 3, 4])
}

/// Returns the name of an output of the lanes here, by its topic.
fn output_name(topic: &str) -> String {
    let owner = topic.split('.').next().unwrap_or_default();
    format!("{owner}/{topic}")
}

struct TestDirectory {
    folder: TempDir,
    follow: bool,
    check_interval: Duration,
}

impl TestDirectory {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("in")).unwrap();
        Self { folder, follow: false, check_interval: Duration::from_secs(3_600) }
    }

    fn new_following() -> Self {
        Self { follow: true, ..Self::new() }
    }

    fn settings(&self) -> DirectorySettings {
        DirectorySettings {
            configured_topics: Some(ConfiguredTopics {
                gates: BTreeMap::from([("patron".to_owned(), "patron".to_owned())]),
                others: BTreeSet::from(["loan".to_owned()]),
            }),
            output_owners: BTreeMap::from([
                ("main.all".to_owned(), "main".to_owned()),
                ("main.odd".to_owned(), "main".to_owned()),
                ("zeef.dead-letters".to_owned(), "zeef".to_owned()),
            ]),
            follow: self.follow,
            max_line_bytes: 200,
            check_interval: self.check_interval,
            ..DirectorySettings::new(self.folder.path(), fingerprinter())
        }
    }

    fn open_directory(&self) -> Directory {
        Directory::open(self.settings()).unwrap()
    }

    fn open_lane(&self) -> Result<DirectoryTransport, Fault> {
        DirectoryTransport::open(self.settings(), &lane_plan("main"), StopSignal::default())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append_text(&self, source: &str, text: impl AsRef<[u8]>) {
        let path = self.path(&format!("in/{source}.ndjson"));
        let mut options = fs::OpenOptions::new();
        let mut file = options.append(true).create(true).open(path).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    /// Appends numbered messages with keys that differ per source.
    fn append_messages(&self, source: &str, count: usize) {
        let line = |number| format!("{{\"key\":\"{source}-{number}\",\"value\":{number}}}\n");
        self.append_text(source, (0..count).map(line).collect::<String>());
    }

    fn read_output(&self, topic: &str) -> String {
        fs::read_to_string(self.output_path(topic)).unwrap_or_default()
    }

    fn output_path(&self, topic: &str) -> PathBuf {
        self.path(&format!("out/{}.ndjson", output_name(topic)))
    }

    fn read_committed(&self) -> DirectoryCommit {
        read_committed(&Layout::new(self.folder.path(), false)).unwrap()
    }

    /// As [`read_committed`](Self::read_committed), without what the time of the run changes.
    fn read_timeless_commit(&self) -> DirectoryCommit {
        DirectoryCommit { runs: None, ..self.read_committed() }
    }

    /// Returns the codes of the present findings.
    fn finding_codes(&self) -> Vec<String> {
        let findings = self.open_directory().findings().unwrap();
        findings.into_iter().filter_map(|one| one.code).collect()
    }
}

/// Formats an input: source, offset, key and value.
fn describe_input(input: &Input<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let value = match input.payload {
        Payload::Null => "null".to_owned(),
        Payload::Bytes(bytes) => text(bytes),
        Payload::Refused(reason) | Payload::RefusedBytes(reason, _) => format!("! {reason}"),
    };
    let source = if input.source == PATRON { "patron" } else { "loan" };
    let key = input.key.map_or("-".to_owned(), text);
    format!("{source} {} {key} {value}", input.offset)
}

/// A worker that copies: everything to `all`, odd values also to `odd`, a refused record as
/// a pointer to the dead letters. Its state is the place of the last record of each key.
fn copy_record(input: &Input<'_>, outbox: &mut Outbox) {
    if let Some(key) = input.key {
        let offset = input.offset.to_string();
        outbox.push(STATE_OUTPUT, Some(0), Some(key), |bytes| bytes.extend(offset.bytes()));
    }
    let mut push = |output, key: Option<&[u8]>, value: &[u8]| {
        outbox.push(output, None, key, |bytes| bytes.extend_from_slice(value));
    };
    match input.payload {
        Payload::Bytes(value) => {
            push(ALL_OUTPUT, input.key, value);
            if value.last().is_some_and(|digit| digit % 2 == 1) {
                push(ODD_OUTPUT, input.key, value);
            }
        }
        Payload::Refused(_) | Payload::RefusedBytes(..) => {
            push(DEAD_LETTER_OUTPUT, None, input.offset.to_string().as_bytes())
        }
        Payload::Null => outbox.push_tombstone(ALL_OUTPUT, None, input.key.unwrap_or_default()),
    }
}

/// Polls once. Returns the inputs and the outcome.
fn poll_once(
    lane: &mut DirectoryTransport,
    max_records: usize,
) -> (Vec<String>, Result<PollOutcome, Fault>) {
    let mut shown = Vec::new();
    let polled = lane.poll(Duration::ZERO, &mut |input| {
        shown.push(describe_input(&input));
        if shown.len() >= max_records { PollFlow::BatchFull } else { PollFlow::Continue }
    });
    (shown, polled)
}

fn assign_and_resume(lane: &mut DirectoryTransport) {
    let assigned = AssignedPartition { partition: 0, is_unchanged: false };
    assert_eq!(poll_once(lane, 9), (vec![], Ok(PollOutcome::Assigned(vec![assigned]))));
    assert_eq!(poll_once(lane, 9), (vec![], Ok(PollOutcome::Idle)));
    lane.resume().unwrap();
}

/// Runs the copying worker to the end of the input.
fn copy_to_end(lane: &mut DirectoryTransport, batch_records: usize) -> Result<(), Fault> {
    let mut outbox = Outbox::default();
    loop {
        let mut taken = 0;
        let polled = lane.poll(Duration::ZERO, &mut |input| {
            copy_record(&input, &mut outbox);
            taken += 1;
            if taken >= batch_records { PollFlow::BatchFull } else { PollFlow::Continue }
        })?;
        match polled {
            PollOutcome::Assigned(_) => lane.resume()?,
            PollOutcome::End => return Ok(()),
            _ => {
                lane.publish(&outbox, 0)?;
                outbox.clear();
                lane.commit()?;
            }
        }
    }
}

#[track_caller]
fn assert_stops<T>(result: Result<T, Fault>, words: &[&str]) {
    match result {
        Err(Fault::Stop(cause)) => {
            let text = cause.to_string();
            let missing: Vec<_> = words.iter().filter(|word| !text.contains(**word)).collect();
            assert!(missing.is_empty(), "{missing:?} not in: {text}");
        }
        Err(fault) => panic!("expected a stop, found {fault:?}"),
        Ok(_) => panic!("expected a stop, found none"),
    }
}

#[test]
fn directory_poll_delivers_gates_first_with_byte_offsets() {
    let world = TestDirectory::new_following();
    world.append_text(
        "loan",
        "{\"key\":\"p1\",\"value\":{\"a\": 1}}\r\n\r\n{\"key\":\"é\",\"value\":2}\n",
    );
    world.append_text("patron", "{\"key\":\"p1\",\"value\":null}\n \t\n\n{\"key\":3");
    let mut lane = world.open_lane().unwrap();
    assign_and_resume(&mut lane);
    let want = ["patron 0 p1 null", "loan 0 p1 {\"a\": 1}", "loan 33 é 2"];
    let (shown, polled) = poll_once(&mut lane, 9);
    assert_eq!(
        (shown.as_slice(), polled),
        (&want.map(String::from)[..], Ok(PollOutcome::Records(3)))
    );
    assert!(lane.has_uncommitted());
    assert_eq!(poll_once(&mut lane, 9), (vec![], Ok(PollOutcome::Idle)));
    lane.commit().unwrap();
    assert!(!lane.has_uncommitted());
    assert_eq!(poll_once(&mut lane, 9), (vec![], Ok(PollOutcome::Idle)));
    let behind = |source, behind| PartitionLag { source, partition: 0, behind };
    assert_eq!(lane.lag(), [behind(LOAN, 0), behind(PATRON, 8)]);
}

#[test]
fn directory_poll_delivers_malformed_lines_as_refused() {
    let world = TestDirectory::new();
    world.append_text("loan", "nonsense\n{\"key\":\"p1\",\"value\":[}\n");
    world.append_text("loan", b"{\"key\":\"p2\",\"value\":\"\xff\"}\n");
    world.append_text("loan", format!("{{\"key\":\"p3\",\"value\":\"{}\"}}\n", "x".repeat(300)));
    world.append_text("loan", "{\"key\":\"p4\",\"value\":4}\n");
    let mut lane = world.open_lane().unwrap();
    assign_and_resume(&mut lane);
    let want = [
        "loan 0 - ! not_a_message",
        "loan 9 p1 ! not_a_message",
        "loan 32 p2 ! not_utf8",
        "loan 57 p3 ! too_large",
        "loan 381 p4 4",
    ];
    assert_eq!(poll_once(&mut lane, 9).0, want);
}

#[test]
fn directory_batch_ends_when_full_and_rewind_redelivers_it() {
    let world = TestDirectory::new();
    world.append_messages("patron", 2);
    world.append_messages("loan", 3);
    let mut lane = world.open_lane().unwrap();
    assign_and_resume(&mut lane);
    let first = poll_once(&mut lane, 3);
    assert_eq!((first.0.len(), &first.1), (3, &Ok(PollOutcome::Records(3))));
    let mut outbox = Outbox::default();
    outbox.push_tombstone(ALL_OUTPUT, None, b"k1");
    lane.publish(&outbox, 0).unwrap();
    lane.rewind().unwrap();
    assert!(!lane.has_uncommitted());
    assert_eq!(poll_once(&mut lane, 3), first);
    lane.commit().unwrap();
    assert_eq!(world.read_output("main.all"), "");
    assert_eq!(poll_once(&mut lane, 9).0.len(), 2);
    drop(lane);
    let mut lane = world.open_lane().unwrap();
    assign_and_resume(&mut lane);
    assert_eq!(poll_once(&mut lane, 9).0.len(), 2);
}

#[test]
fn directory_commit_appends_output_lines() {
    let world = TestDirectory::new();
    let mut lane = world.open_lane().unwrap();
    let mut outbox = Outbox::default();
    outbox.push_tombstone(ALL_OUTPUT, None, b"k\"1");
    outbox.push(ALL_OUTPUT, Some(3), None, |bytes| bytes.extend(b"{\"price\":12.50}"));
    lane.publish(&outbox, 0).unwrap();
    assert_eq!(world.read_output("main.all"), "");
    lane.commit().unwrap();
    let want = "{\"key\":\"k\\\"1\",\"value\":null}\n{\"key\":null,\"value\":{\"price\":12.50}}\n";
    assert_eq!(world.read_output("main.all"), want);
    let lengths = committed_lengths(world.folder.path()).unwrap();
    assert_eq!(lengths["main/main.all"], want.len() as u64);
    assert!(!world.path(".zeef/journal").exists());
}

#[test]
fn directory_publish_refuses_output_that_is_not_one_line() {
    for (key, value) in [(&b"k\xff"[..], &b"1"[..]), (b"k", b"1\n2")] {
        let world = TestDirectory::new();
        let mut lane = world.open_lane().unwrap();
        let mut outbox = Outbox::default();
        outbox.push(ALL_OUTPUT, None, Some(key), |bytes| bytes.extend(value));
        assert_stops(lane.publish(&outbox, 0), &["main.all"]);
    }
}

#[test]
fn directory_outputs_of_one_topic_share_a_file() {
    let world = TestDirectory::new();
    let mut plan = lane_plan("main");
    plan.outputs[1].topic = "main.all".to_owned();
    let mut lane = world.open_directory().lane_transport(&plan, StopSignal::default()).unwrap();
    let mut outbox = Outbox::default();
    for (output, key) in [(ALL_OUTPUT, b"a"), (ODD_OUTPUT, b"b"), (ALL_OUTPUT, b"c")] {
        outbox.push_tombstone(output, None, key);
    }
    lane.publish(&outbox, 0).unwrap();
    lane.commit().unwrap();
    assert_eq!(world.read_output("main.all").lines().count(), 3);
}

#[test]
fn directory_follow_picks_up_new_lines_and_files() {
    let world = TestDirectory::new_following();
    let mut lane = world.open_lane().unwrap();
    assign_and_resume(&mut lane);
    assert_eq!(poll_once(&mut lane, 9), (vec![], Ok(PollOutcome::Idle)));
    world.append_text("loan", "{\"key\":\"p1\",\"va");
    assert_eq!(poll_once(&mut lane, 9), (vec![], Ok(PollOutcome::Idle)));
    assert!(!lane.has_uncommitted());
    world.append_text("loan", "lue\":1}\n{\"key\"");
    assert_eq!(poll_once(&mut lane, 9).0, ["loan 0 p1 1"]);
    world.append_text("patron", "{\"key\":\"p2\",\"value\":2}\n");
    world.append_text("loan", ":\"p2\",\"value\":3}\n");
    assert_eq!(poll_once(&mut lane, 9).0, ["patron 0 p2 2", "loan 23 p2 3"]);
    lane.commit().unwrap();
    world.append_text("loan", "\n\n");
    assert_eq!(poll_once(&mut lane, 9), (vec![], Ok(PollOutcome::Idle)));
    assert!(lane.has_uncommitted());
    lane.commit().unwrap();
    assert_eq!(world.read_committed().lanes["main"]["loan"].next, 48);
}

#[test]
fn directory_poll_waits_for_new_lines() {
    let world = TestDirectory::new_following();
    let mut lane = world.open_lane().unwrap();
    assign_and_resume(&mut lane);
    thread::scope(|scope| {
        scope.spawn(|| world.append_messages("loan", 1));
        let polled = lane.poll(Duration::from_secs(60), &mut |_| PollFlow::BatchFull);
        assert_eq!(polled, Ok(PollOutcome::Records(1)));
    });
}

#[test]
fn directory_stop_signal_ends_poll_pause_and_rebuild() {
    let world = TestDirectory::new_following();
    let stop = StopSignal::default();
    let directory = world.open_directory();
    let mut lane = directory.lane_transport(&lane_plan("main"), stop.clone()).unwrap();
    assign_and_resume(&mut lane);
    thread::scope(|scope| {
        scope.spawn(|| stop.request());
        let polled = lane.poll(Duration::from_secs(3600), &mut |_| PollFlow::Continue);
        assert_eq!(polled, Ok(PollOutcome::Idle));
    });
    lane.pause(Duration::from_secs(3600)).unwrap();
    world.append_messages("patron", 2);
    assert_eq!(lane.rebuild(PATRON, 0, &mut |_| ()), Ok(ReadOutcome::Interrupted));
    assert_eq!(poll_once(&mut lane, 9), (vec![], Ok(PollOutcome::Idle)));
}

#[test]
fn directory_later_gate_lines_come_before_remaining_other_lines() {
    for follow in [true, false] {
        let world = TestDirectory { follow, ..TestDirectory::new() };
        world.append_messages("loan", 4);
        let mut lane = world.open_lane().unwrap();
        assign_and_resume(&mut lane);
        assert_eq!(poll_once(&mut lane, 1).0, ["loan 0 loan-0 0"]);
        world.append_messages("patron", 1);
        assert_eq!(poll_once(&mut lane, 1).0, ["loan 27 loan-1 1"], "not within the batch");
        lane.commit().unwrap();
        let next = poll_once(&mut lane, 9).0;
        assert_eq!((next.len(), next[0].as_str()), (3, "patron 0 patron-0 0"));
    }
}

#[test]
fn directory_run_ends_at_known_ends_while_input_grows() {
    let world = TestDirectory::new();
    world.append_messages("loan", 1);
    world.append_messages("patron", 1);
    let mut lane = world.open_lane().unwrap();
    assign_and_resume(&mut lane);
    assert_eq!(poll_once(&mut lane, 9).0.len(), 2);
    world.append_messages("loan", 1);
    world.append_messages("patron", 1);
    lane.commit().unwrap();
    assert_eq!(poll_once(&mut lane, 9), (vec![], Ok(PollOutcome::End)));
    drop(lane);
    let mut lane = world.open_lane().unwrap();
    copy_to_end(&mut lane, 9).unwrap();
    assert_eq!(world.read_output("main.all").lines().count(), 2);
}

#[test]
fn directory_rebuild_reads_all_lines_and_moves_no_position() {
    let world = TestDirectory::new();
    world.append_messages("patron", 2);
    copy_to_end(&mut world.open_lane().unwrap(), 9).unwrap();
    world.append_text("patron", "broken\n");
    let mut lane = world.open_lane().unwrap();
    let mut shown = Vec::new();
    let rebuilt = lane.rebuild(PATRON, 0, &mut |input| shown.push(describe_input(&input)));
    assert_eq!(rebuilt, Ok(ReadOutcome::Done));
    let want = ["patron 0 patron-0 0", "patron 29 patron-1 1", "patron 58 - ! not_a_message"];
    assert_eq!(shown, want);
    assert_eq!(lane.rebuild(LOAN, 0, &mut |_| panic!("no loan")), Ok(ReadOutcome::Done));
    assert!(!lane.has_uncommitted());
    assert_stops(lane.rebuild(PATRON, 1, &mut |_| ()), &["partition 1"]);
}

#[test]
fn directory_replay_ends_at_committed_position() {
    let world = TestDirectory::new();
    world.append_messages("loan", 2);
    let replay = |lane: &mut DirectoryTransport| {
        let mut offsets = Vec::new();
        let read = lane.replay(LOAN, 0, &mut |input| offsets.push(input.offset));
        assert_eq!(read, Ok(ReadOutcome::Done));
        offsets
    };
    let mut lane = world.open_lane().unwrap();
    assert!(replay(&mut lane).is_empty());
    copy_to_end(&mut lane, 9).unwrap();
    drop(lane);
    world.append_messages("loan", 3);
    let mut lane = world.open_lane().unwrap();
    assert_eq!(replay(&mut lane).len(), 2);
    assert!(!lane.has_uncommitted());
    assert_stops(lane.replay(LOAN, 1, &mut |_| ()), &["partition 1"]);
}

/// Returns the rows of a lane's state, in order.
fn restored_rows(lane: &mut DirectoryTransport) -> Result<Vec<String>, Fault> {
    let mut rows = Vec::new();
    let restored = lane.restore(STATE_OUTPUT, 0, &mut |row| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let value = row.value.map_or("-".to_owned(), text);
        rows.push(format!("{} {value}", row.key.map_or("-".to_owned(), text)));
    })?;
    assert_eq!(restored, ReadOutcome::Done);
    Ok(rows)
}

#[test]
fn directory_restore_returns_committed_rows_only() {
    let world = TestDirectory::new();
    world.append_messages("patron", 2);
    let mut lane = world.open_lane().unwrap();
    assert_eq!(restored_rows(&mut lane).unwrap(), [""; 0]);
    copy_to_end(&mut lane, 1).unwrap();
    let mut outbox = Outbox::default();
    outbox.push_tombstone(STATE_OUTPUT, Some(0), b"k\"1");
    lane.publish(&outbox, 0).unwrap();
    let want = ["patron-0 0", "patron-1 29"];
    assert_eq!(restored_rows(&mut lane).unwrap(), want);
    lane.commit().unwrap();
    let want = ["patron-0 0", "patron-1 29", "k\"1 -"];
    assert_eq!(restored_rows(&mut lane).unwrap(), want);
    assert!(!world.path("out/zeef.state.main.ndjson").exists());
    assert!(!committed_lengths(world.folder.path()).unwrap().contains_key("zeef.state.main"));
    assert_stops(lane.restore(STATE_OUTPUT, 1, &mut |_| ()), &["partition 1"]);
    assert_stops(lane.restore(ALL_OUTPUT, 0, &mut |_| ()), &["no state"]);
}

#[test]
fn directory_changed_state_file_stops() {
    for damage in [
        |text: &str| text[..text.len() - 1].to_owned(),
        |text: &str| text.replace("key", "k\u{e9}"),
        |text: &str| text.replace('\n', " "),
    ] {
        let world = TestDirectory::new();
        world.append_messages("patron", 2);
        copy_to_end(&mut world.open_lane().unwrap(), 9).unwrap();
        let path = world.path(".zeef/zeef.state.main.ndjson");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, damage(&text)).unwrap();
        assert_stops(world.open_lane(), &["zeef.state.main.ndjson", "rows"]);
    }
    let world = TestDirectory::new();
    world.append_messages("patron", 2);
    let mut lane = world.open_lane().unwrap();
    copy_to_end(&mut lane, 9).unwrap();
    fs::write(world.path(".zeef/zeef.state.main.ndjson"), "").unwrap();
    let mut outbox = Outbox::default();
    outbox.push_tombstone(STATE_OUTPUT, Some(0), b"k");
    lane.publish(&outbox, 0).unwrap();
    assert_stops(lane.commit(), &["missing or empty", "zeef forget"]);
    drop(lane);
    assert_stops(world.open_lane(), &["missing or empty", "zeef forget"]);
    assert_eq!(world.finding_codes(), [""; 0]);
}

#[track_caller]
fn check_reread(lane: &mut DirectoryTransport, wanted: &[(SourceId, i64)], want: &[&str]) {
    let wanted: Vec<Coordinates> = wanted
        .iter()
        .map(|&(source, offset)| Coordinates { source, partition: 0, offset })
        .collect();
    let mut shown = Vec::new();
    let read = lane.reread_records(&wanted, &mut |place, input| {
        assert_eq!(place, shown.len());
        shown.push(input.map_or("-".to_owned(), |input| describe_input(&input)));
    });
    assert_eq!(
        (read, shown),
        (Ok(ReadOutcome::Done), want.iter().map(|s| (*s).to_owned()).collect())
    );
}

#[test]
fn directory_reread_returns_lines_at_exact_offsets() {
    let world = TestDirectory::new();
    world.append_messages("patron", 3);
    world.append_text("patron", "\nbroken\n");
    world.append_messages("loan", 1);
    let mut lane = world.open_lane().unwrap();
    copy_to_end(&mut lane, 9).unwrap();
    check_reread(&mut lane, &[], &[]);
    check_reread(
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
    assert!(!lane.has_uncommitted());
    let nowhere = Coordinates { source: PATRON, partition: 1, offset: 0 };
    assert_stops(lane.reread_records(&[nowhere], &mut |_, _| ()), &["one partition"]);
    fs::write(world.path("in/patron.ndjson"), "").unwrap();
    let first = Coordinates { partition: 0, ..nowhere };
    assert_stops(lane.reread_records(&[first], &mut |_, _| ()), &["may only grow"]);
}

#[test]
fn directory_reread_of_many_lines_equals_rebuild() {
    let world = TestDirectory::new();
    world.append_messages("loan", 50_000);
    let mut lane = world.open_lane().unwrap();
    let mut all = Vec::new();
    let done = lane.rebuild(LOAN, 0, &mut |input| {
        all.push((input.offset, describe_input(&input)));
    });
    assert_eq!(done, Ok(ReadOutcome::Done));
    for step in [1, 7, 5_000] {
        let some = all.iter().step_by(step);
        let wanted: Vec<_> = some.clone().map(|(offset, _)| (LOAN, *offset)).collect();
        let want: Vec<_> = some.map(|(_, shown)| shown.as_str()).collect();
        check_reread(&mut lane, &wanted, &want);
    }
}

#[test]
fn directory_input_that_shrank_or_was_replaced_stops() {
    let line = "{\"key\":\"loan-0\",\"value\":7}\n";
    let cases: [(&str, Option<String>); 4] = [
        ("removed", None),
        ("shorter", Some(line.to_owned())),
        ("another of the same length", Some(line.repeat(3))),
        ("another and longer", Some(line.repeat(9))),
    ];
    for (name, text) in cases {
        for follow in [true, false] {
            let world =
                TestDirectory { follow, check_interval: Duration::ZERO, ..TestDirectory::new() };
            world.append_messages("loan", 3);
            world.append_text("patron", "");
            let mut lane = world.open_lane().unwrap();
            assign_and_resume(&mut lane);
            assert_eq!(poll_once(&mut lane, 9).0.len(), 3);
            lane.commit().unwrap();
            let path = world.path("in/loan.ndjson");
            fs::remove_file(&path).unwrap();
            if let Some(text) = &text {
                fs::write(&path, text).unwrap();
            }
            let words = ["in/loan.ndjson", "byte 81", "may only grow"];
            match follow && !name.contains("same length") {
                true => assert_stops(poll_once(&mut lane, 9).1, &words),
                // What has the same length is found by the comparison of each minute.
                false => assert_stops(lane.find_changes(), &words),
            }
            drop(lane);
            assert_stops(world.open_lane(), &words);
        }
    }
}

#[test]
fn directory_input_may_be_replaced_by_an_extended_copy() {
    let world = TestDirectory::new_following();
    world.append_messages("loan", 3);
    let mut lane = world.open_lane().unwrap();
    assign_and_resume(&mut lane);
    assert_eq!(poll_once(&mut lane, 9).0.len(), 3);
    lane.commit().unwrap();
    let (path, copy) = (world.path("in/loan.ndjson"), world.path("copy"));
    fs::copy(&path, &copy).unwrap();
    fs::rename(&copy, &path).unwrap();
    world.append_text("loan", "{\"key\":\"p1\",\"value\":1}\n");
    assert_eq!(poll_once(&mut lane, 9).0, ["loan 81 p1 1"]);
}

#[test]
fn directory_open_is_fenced_while_another_process_holds_it() {
    let world = TestDirectory::new();
    let directory = world.open_directory();
    assert!(matches!(world.open_lane(), Err(Fault::Fenced(_))));
    let lane = directory.lane_transport(&lane_plan("main"), StopSignal::default()).unwrap();
    drop(directory);
    assert!(matches!(world.open_lane(), Err(Fault::Fenced(_))));
    drop(lane);
    assert!(world.open_lane().is_ok());
}

#[test]
fn directory_open_refuses_missing_damaged_and_foreign_files() {
    let folder = tempfile::tempdir().unwrap();
    let settings = DirectorySettings::new(&folder.path().join("nowhere"), fingerprinter());
    let opened = Directory::open(settings).map(|_| ());
    assert!(matches!(&opened, Err(Fault::Io(cause)) if cause.to_string().contains("nowhere/in")));
    let world = TestDirectory::new();
    let mut plan = lane_plan("main");
    plan.outputs[0].topic = "../escaped".to_owned();
    assert_stops(
        world.open_directory().lane_transport(&plan, StopSignal::default()),
        &["../escaped"],
    );
    fs::write(world.path(".zeef/committed.json"), "{\"format\":5,\"more\":1}").unwrap();
    assert_stops(world.open_lane(), &["committed.json", "format 5"]);
    fs::write(world.path(".zeef/committed.json"), "{\"format\":1}").unwrap();
    assert_stops(world.open_lane(), &["format 1", "no state", "move the out folder"]);
    fs::write(world.path(".zeef/committed.json"), "{\"format\":2").unwrap();
    assert_stops(world.open_lane(), &["committed.json", "damaged"]);
    fs::remove_file(world.path(".zeef/committed.json")).unwrap();
    fs::write(world.path(".zeef/journal"), "half").unwrap();
    assert_stops(world.open_lane(), &["journal", "damaged"]);
}

#[test]
fn directory_lanes_of_one_process_share_an_output() {
    let world = TestDirectory::new();
    world.append_text("loan", "nonsense\n".repeat(40));
    world.append_messages("patron", 40);
    let directory = world.open_directory();
    thread::scope(|scope| {
        for (lane, batch) in [("first", 1), ("second", 3), ("third", 7)] {
            let directory = &directory;
            scope.spawn(move || {
                let mut lane =
                    directory.lane_transport(&lane_plan(lane), StopSignal::default()).unwrap();
                copy_to_end(&mut lane, batch).unwrap();
            });
        }
    });
    let mut dead: Vec<String> =
        world.read_output("zeef.dead-letters").lines().map(String::from).collect();
    dead.sort_unstable();
    assert_eq!(dead.len(), 120);
    dead.dedup();
    assert_eq!(dead.len(), 40);
    for lane in ["first", "second", "third"] {
        assert_eq!(world.read_output(&format!("{lane}.all")).lines().count(), 40);
        assert_eq!(world.read_committed().lanes[lane]["loan"].next, 360);
    }
}

#[test]
fn directory_store_survives_a_panicked_lane() {
    let world = TestDirectory::new();
    world.append_messages("loan", 3);
    let directory = world.open_directory();
    let panicked = thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let _store = directory.lock_store();
            panic!("on purpose");
        });
        holder.join().is_err()
    });
    assert!(panicked);
    let mut lane = directory.lane_transport(&lane_plan("main"), StopSignal::default()).unwrap();
    copy_to_end(&mut lane, 2).unwrap();
    assert_eq!(world.read_output("main.all").lines().count(), 3);
}

#[test]
fn directory_large_input_is_copied_completely() {
    let world = TestDirectory::new();
    world.append_messages("loan", 100_000);
    copy_to_end(&mut world.open_lane().unwrap(), 20_000).unwrap();
    assert_eq!(world.read_output("main.all").lines().count(), 100_000);
    assert_eq!(world.read_output("main.odd").lines().count(), 50_000);
    assert_eq!(world.read_committed().commit, 6);
}

/// A disk on which the process dies after some steps: the next write is torn, any other
/// step does not happen, and nothing after it does.
struct CrashingDisk {
    steps_left: Arc<AtomicUsize>,
}

impl CrashingDisk {
    fn count_step(&mut self) -> Result<(), FileError> {
        let left = self.steps_left.load(Ordering::Relaxed);
        self.steps_left.store(left.saturating_sub(1), Ordering::Relaxed);
        match left {
            0 => Err(FileError::wrap("live", Path::new("here"))(ErrorKind::Other.into())),
            _ => Ok(()),
        }
    }
}

impl Directory {
    /// As [`open_at`](Self::open_at), by a process that dies after `steps_left` steps.
    pub(crate) fn open_crashing(
        settings: DirectorySettings,
        steps_left: &Arc<AtomicUsize>,
        now_ms: i64,
    ) -> Result<Self, Fault> {
        let disk = Box::new(CrashingDisk { steps_left: Arc::clone(steps_left) });
        Self::open_inner(settings, disk, now_ms)
    }
}

impl Disk for CrashingDisk {
    fn create(&mut self, path: &Path, mode: FileMode) -> Result<NamedFile, FileError> {
        self.count_step()?;
        RealDisk.create(path, mode)
    }

    fn open(&mut self, path: &Path, mode: FileMode) -> Result<NamedFile, FileError> {
        self.count_step()?;
        RealDisk.open(path, mode)
    }

    fn ensure_folder(&mut self, path: &Path, mode: FileMode) -> Result<(), FileError> {
        self.count_step()?;
        RealDisk.ensure_folder(path, mode)
    }

    fn write_at(
        &mut self,
        file: &mut NamedFile,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), FileError> {
        if self.steps_left.load(Ordering::Relaxed) == 1 {
            RealDisk.write_at(file, offset, &bytes[..bytes.len() / 2])?;
            self.count_step()?;
        }
        self.count_step()?;
        RealDisk.write_at(file, offset, bytes)
    }

    fn set_length(&mut self, file: &NamedFile, length: u64) -> Result<(), FileError> {
        self.count_step()?;
        RealDisk.set_length(file, length)
    }

    // A process that dies takes nothing from the page cache, so syncs do not matter here,
    // and the tests are quick without them.
    fn sync(&mut self, _file: &NamedFile) -> Result<(), FileError> {
        self.count_step()
    }

    fn sync_folder(&mut self, _path: &Path) -> Result<(), FileError> {
        self.count_step()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), FileError> {
        self.count_step()?;
        RealDisk.rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> Result<(), FileError> {
        self.count_step()?;
        RealDisk.remove(path)
    }
}

impl TestDirectory {
    fn new_for_crashes() -> Self {
        let world = Self::new();
        world.append_messages("patron", 3);
        world.append_text("loan", "nonsense\n");
        world.append_messages("loan", 5);
        world
    }

    /// Runs to the end, or until the process dies; `Ok` with the steps left.
    fn run_steps(&self, steps: usize, batch_records: usize) -> Result<usize, Fault> {
        let left = Arc::new(AtomicUsize::new(steps));
        let disk = Box::new(CrashingDisk { steps_left: Arc::clone(&left) });
        let directory = Directory::open_with_disk(self.settings(), disk)?;
        copy_to_end(
            &mut directory.lane_transport(&lane_plan("main"), StopSignal::default())?,
            batch_records,
        )?;
        Ok(left.load(Ordering::Relaxed))
    }

    fn read_outputs(&self) -> [String; 4] {
        let state = fs::read_to_string(self.path(".zeef/zeef.state.main.ndjson"));
        let [all, odd, dead] =
            ["main.all", "main.odd", "zeef.dead-letters"].map(|topic| self.read_output(topic));
        [all, odd, dead, state.unwrap_or_default()]
    }

    /// Checks that what is committed now is a whole number of batches.
    #[track_caller]
    fn assert_whole_batches(&self, after_commit: &[DirectoryCommit], outputs: &[String; 4]) {
        let committed = self.read_timeless_commit();
        let number = usize::try_from(committed.commit).unwrap();
        assert_eq!(committed, after_commit[number]);
        for (whole, found) in outputs.iter().zip(self.read_outputs()) {
            assert!(whole.starts_with(&found), "a reader saw what does not stay");
        }
        for (name, length) in &committed.outputs {
            let found = fs::metadata(self.path(&format!("out/{name}.ndjson")));
            assert!(found.unwrap().len() >= *length);
        }
        for file in committed.state.values() {
            assert!(self.read_outputs()[3].len() as u64 >= file.length);
        }
    }
}

/// Returns what is committed after each batch of an undisturbed run, and its outputs.
fn run_undisturbed(batch_records: usize) -> (Vec<DirectoryCommit>, [String; 4]) {
    let world = TestDirectory::new_for_crashes();
    let disk = CrashingDisk { steps_left: Arc::new(AtomicUsize::new(UNLIMITED_STEPS)) };
    let directory = Directory::open_with_disk(world.settings(), Box::new(disk)).unwrap();
    let mut lane = directory.lane_transport(&lane_plan("main"), StopSignal::default()).unwrap();
    let mut after_commit = vec![DirectoryCommit::default(), world.read_timeless_commit()];
    lane.poll(Duration::ZERO, &mut |_| PollFlow::BatchFull).unwrap();
    lane.resume().unwrap();
    let mut outbox = Outbox::default();
    loop {
        let mut taken = 0;
        let polled = lane.poll(Duration::ZERO, &mut |input| {
            copy_record(&input, &mut outbox);
            taken += 1;
            if taken >= batch_records { PollFlow::BatchFull } else { PollFlow::Continue }
        });
        if polled == Ok(PollOutcome::End) {
            return (after_commit, world.read_outputs());
        }
        lane.publish(&outbox, 0).unwrap();
        outbox.clear();
        lane.commit().unwrap();
        after_commit.push(world.read_timeless_commit());
    }
}

#[test]
fn directory_commit_survives_a_crash_at_any_step() {
    let (after_commit, outputs) = run_undisturbed(4);
    let steps =
        UNLIMITED_STEPS - TestDirectory::new_for_crashes().run_steps(UNLIMITED_STEPS, 4).unwrap();
    assert!(steps > 40, "{steps}");
    for first in 0..steps {
        let world = TestDirectory::new_for_crashes();
        assert!(world.run_steps(first, 4).is_err());
        world.assert_whole_batches(&after_commit, &outputs);
        // It dies again during recovery.
        assert!(world.run_steps(first % 12, 4).is_err() || first + 12 > steps);
        world.assert_whole_batches(&after_commit, &outputs);
        world.run_steps(UNLIMITED_STEPS, 4).unwrap();
        assert_eq!(world.read_outputs(), outputs, "died after step {first}");
        assert_eq!(world.read_timeless_commit(), after_commit[after_commit.len() - 1]);
        for name in ["journal", "journal.new", "committed.json.new"] {
            assert!(!world.path(".zeef").join(name).exists());
        }
    }
}

/// What commands that read find of a ledger: its lines, and what the state says.
fn read_ledger_and_state(root: &Path) -> (Vec<String>, String) {
    let mut lines = Vec::new();
    let differences = read_ledger(root, LedgerPart::Blocks, &mut |(file, _), line| {
        lines.push(format!("{file} {}", String::from_utf8_lossy(line)));
    });
    assert_eq!(differences.unwrap(), [], "files are longer or shorter than they should be");
    let mut state = Vec::new();
    read_state(root, "zeef.state.main", &mut |row| state = row.value.unwrap_or_default().to_vec())
        .unwrap();
    (lines, String::from_utf8(state).unwrap())
}

/// A year is whole or gone for whoever reads after a crash, with the mark that belongs to it, and
/// the next attempt ends it.
#[test]
fn forgotten_year_is_whole_or_gone_after_a_crash_at_any_step() {
    let rows = |value: &str| {
        let row: StateRow = (MARK_ROW_KEY.to_vec(), format!("{value:?}").into_bytes());
        BTreeMap::from([("zeef.state.main".to_owned(), vec![row])])
    };
    let steps_left = Arc::new(AtomicUsize::new(0));
    let mut is_done = false;
    for steps in 0.. {
        let world = TestDirectory::new();
        let root = world.folder.path();
        let open = |steps: usize| {
            steps_left.store(UNLIMITED_STEPS, Ordering::Relaxed);
            let disk = Box::new(CrashingDisk { steps_left: Arc::clone(&steps_left) });
            let directory = Directory::open_with_disk(world.settings(), disk).unwrap();
            steps_left.store(steps, Ordering::Relaxed);
            directory
        };
        let lines =
            |name, lines| OutputLines { name, is_state: true, lines, has_tombstones: false };
        let directory = open(UNLIMITED_STEPS);
        let of_state = rows("whole");
        let states = state_lines(&of_state).unwrap();
        let ledger = [
            lines("ledger/2024", &b"{\"a\":1}\n{\"b\":1}\n"[..]),
            lines("ledger/2025", b"{\"c\":1}\n"),
            lines("ledger/2026", b"{\"d\":1}\n"),
        ];
        let all = ledger.into_iter().chain(lines_of_states(&states));
        directory.lock_store().commit("main", BTreeMap::new(), all).unwrap();
        drop(directory);
        let whole = read_ledger_and_state(root);
        assert_eq!((whole.0.len(), whole.1.as_str()), (4, "\"whole\""));

        let ended = open(steps).forget_ledger_years(2025, &rows("gone"));
        finish_interrupted_commit(world.settings()).unwrap();
        let found = read_ledger_and_state(root);
        let gone = (vec![whole.0[3].clone()], "\"gone\"".to_owned());
        assert!(found == whole || found == gone, "after step {steps}: {found:?}");
        assert!(found == gone || ended.is_err());
        is_done |= found == gone;
        open(UNLIMITED_STEPS).forget_ledger_years(2025, &rows("gone")).unwrap();
        assert_eq!(read_ledger_and_state(root), gone, "after step {steps}");
        if ended.is_ok() {
            assert!(steps > 15 && is_done, "{steps}");
            return;
        }
    }
}

#[test]
fn directory_interrupted_commit_is_recovered_by_the_next_lane() {
    for steps in 0..60 {
        let world = TestDirectory::new_for_crashes();
        let left = Arc::new(AtomicUsize::new(UNLIMITED_STEPS));
        let disk = Box::new(CrashingDisk { steps_left: Arc::clone(&left) });
        let directory = Directory::open_with_disk(world.settings(), disk).unwrap();
        let lane = |name| directory.lane_transport(&lane_plan(name), StopSignal::default());
        let mut first = lane("first").unwrap();
        let mut second = lane("second").unwrap();
        left.store(steps, Ordering::Relaxed);
        let broken = copy_to_end(&mut first, 4);
        left.store(UNLIMITED_STEPS, Ordering::Relaxed);
        copy_to_end(&mut second, 2).unwrap();
        if let Err(fault) = broken {
            match fault {
                Fault::Abort(..) => first.rewind().unwrap(),
                Fault::TransportLost(_) => first = lane("first").unwrap(),
                other => panic!("{other:?}"),
            }
            copy_to_end(&mut first, 4).unwrap();
        }
        assert_eq!(world.read_output("zeef.dead-letters").lines().count(), 2);
        assert_eq!(world.read_output("first.all"), world.read_output("second.all"));
        assert_eq!(world.read_output("first.all").lines().count(), 8);
    }
}

impl TestDirectory {
    /// Outputs and a state with values above their nulls, and dead letters.
    fn new_for_compaction() -> Self {
        let world = Self::new();
        world.append_messages("patron", 4);
        world.append_text("patron", "{\"key\":\"patron-1\",\"value\":null}\n");
        world.append_text("patron", "{\"key\":\"patron-3\",\"value\":33}\n");
        world.append_text("loan", "nonsense\n".repeat(2));
        world
    }

    fn open_crashing(&self, steps: usize) -> (Arc<AtomicUsize>, Result<Directory, Fault>) {
        let left = Arc::new(AtomicUsize::new(steps));
        let disk = Box::new(CrashingDisk { steps_left: Arc::clone(&left) });
        let directory = Directory::open_with_disk(self.settings(), disk);
        (left, directory)
    }

    /// Returns what a reader of each file ends up with: the last line of each key, and the
    /// lines without one.
    fn last_lines(&self) -> Vec<String> {
        let mut last = Vec::new();
        for text in self.read_outputs() {
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

    fn count_leftovers(&self) -> usize {
        let folders = ["out/main", "out/zeef", ".zeef"]
            .map(|folder| fs::read_dir(self.path(folder)).unwrap());
        let names = folders.into_iter().flatten().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.as_encoded_bytes().ends_with(b".new")).count()
    }
}

#[test]
fn directory_compaction_keeps_last_line_of_each_key() {
    let world = TestDirectory::new_for_compaction();
    let directory = world.open_directory();
    let mut lane = directory.lane_transport(&lane_plan("main"), StopSignal::default()).unwrap();
    copy_to_end(&mut lane, 4).unwrap();
    let mut outbox = Outbox::default();
    outbox.push_tombstone(STATE_OUTPUT, Some(0), b"patron-2");
    lane.publish(&outbox, 0).unwrap();
    lane.commit().unwrap();
    assert!(world.read_committed().taken_back);
    let done = directory.compact_if_due().unwrap();
    let lines = |topic: &str| {
        let file = done.iter().find(|file| file.name.ends_with(topic));
        file.map(|file| (file.lines_before, file.lines_after))
    };
    assert_eq!(lines("main.all"), Some((6, 4)));
    assert_eq!(lines("zeef.state.main"), Some((7, 3)));
    assert_eq!((lines("main.odd"), lines("zeef.dead-letters")), (Some((3, 2)), None));
    let [all, odd, dead, state] = world.read_outputs();
    let want = "{\"key\":\"patron-0\",\"value\":0}\n{\"key\":\"patron-2\",\"value\":2}\n\
        {\"key\":\"patron-1\",\"value\":null}\n{\"key\":\"patron-3\",\"value\":33}\n";
    assert_eq!(all, want);
    assert_eq!(odd.lines().count(), 2);
    assert_eq!(dead.lines().count(), 2);
    assert!(!state.contains("null") && !state.contains("patron-2"), "{state}");
    assert_eq!(restored_rows(&mut lane).unwrap().len(), 3);
    let committed = world.read_committed();
    assert!(!committed.taken_back);
    assert_eq!(committed.outputs["main/main.all"], all.len() as u64);
    let file = committed.state["zeef.state.main"];
    assert_eq!((file.length, file.rows), (state.len() as u64, 3));
    assert_eq!(directory.compact().unwrap(), []);
    assert_eq!(world.read_committed(), committed);
    // Later lines are appended behind it.
    lane.publish(&outbox, 0).unwrap();
    lane.commit().unwrap();
    assert_eq!(restored_rows(&mut lane).unwrap().last().unwrap(), "patron-2 -");
}

#[test]
fn directory_state_is_compacted_when_half_is_superseded() {
    let world = TestDirectory::new();
    let directory = world.open_directory();
    let mut lane = directory.lane_transport(&lane_plan("main"), StopSignal::default()).unwrap();
    let mut outbox = Outbox::default();
    for key in [b"a", b"b", b"a", b"a"] {
        outbox.clear();
        for output in [ALL_OUTPUT, STATE_OUTPUT] {
            outbox.push(output, Some(0), Some(key), |bytes| bytes.extend(b"1"));
        }
        lane.publish(&outbox, 0).unwrap();
        lane.commit().unwrap();
        let done = directory.compact_if_due().unwrap();
        let lines = fs::read_to_string(world.path(".zeef/zeef.state.main.ndjson")).unwrap();
        match done.len() {
            0 => assert!(lines.lines().count() <= 3),
            1 => assert_eq!((done[0].is_state, lines.lines().count()), (true, 2)),
            _ => panic!("{done:?}"),
        }
    }
    assert_eq!(world.read_output("main.all").lines().count(), 4);
    assert_eq!(restored_rows(&mut lane).unwrap(), ["b 1", "a 1"]);
}

#[test]
fn directory_compaction_survives_a_crash_at_any_step() {
    let whole = TestDirectory::new_for_compaction();
    copy_to_end(&mut whole.open_lane().unwrap(), 4).unwrap();
    whole.open_directory().compact().unwrap();
    let compacted = whole.read_outputs();
    let mut steps = 0;
    loop {
        let world = TestDirectory::new_for_compaction();
        world.run_steps(UNLIMITED_STEPS, 4).unwrap();
        let last = world.last_lines();
        let (_, directory) = world.open_crashing(steps);
        let died = directory.and_then(|directory| directory.compact()).is_err();
        assert_eq!(world.last_lines(), last, "died after step {steps}");
        // It dies again during recovery.
        let (_, mending) = world.open_crashing(steps % 12);
        drop(mending);
        assert_eq!(world.last_lines(), last, "died after step {steps}, twice");
        let mut lane = world.open_lane().unwrap();
        let rows = restored_rows(&mut lane).unwrap();
        assert_eq!(world.count_leftovers(), 0);
        assert!(rows.len() == 6 || rows.len() == 4, "{rows:?}");
        for (name, length) in &world.read_committed().outputs {
            let found = fs::metadata(world.path(&format!("out/{name}.ndjson")));
            assert_eq!(found.unwrap().len(), *length);
        }
        drop(lane);
        world.open_directory().compact().unwrap();
        assert_eq!(world.read_outputs(), compacted);
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
    fn directory_outputs_are_independent_of_crashes_and_batches(
        deaths in prop::collection::vec((0_usize..90, 1_usize..10), 0..6),
        batch_records in 1_usize..10,
    ) {
        let (_, outputs) = run_undisturbed(4);
        let world = TestDirectory::new_for_crashes();
        for (steps, batch_records) in deaths {
            let _ = world.run_steps(steps, batch_records);
        }
        world.run_steps(UNLIMITED_STEPS, batch_records).unwrap();
        prop_assert_eq!(world.read_outputs(), outputs);
        let lane = &world.read_committed().lanes["main"];
        for source in ["loan", "patron"] {
            let length = fs::metadata(world.path(&format!("in/{source}.ndjson"))).unwrap().len();
            prop_assert_eq!(lane[source].next, i64::try_from(length).unwrap());
        }
    }
}

mod continuity;
mod upgrade;
