//! Kinds with `newer_by`: messages that come twice and in any order end as each of them once and in
//! order, whatever happens to the intake, and what is remembered for it holds no value.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde_json::{Value, json};
use zeef::daemon::intake::IntakeSetup;
use zeef::daemon::worker::WorkerExit;
use zeef::intake::{CanonicalRecord, Conversion, Intake, RawMessage, RecordVersions};
use zeef::message::{Fault, LanePlan};
use zeef::policy::pseudonym::HmacKey;
use zeef::transport::memory::{MemoryTransport, PublishedOutput};

use super::lane::{CONFIG, RawRecord, bounded_worker, push_to_partition};
use super::load_mapping;

pub(super) const MAPPING: &str = "versions";
pub(super) const STATE: &str = "zeef.intake-state.versions";
/// In every message, in a column that no mapping names.
const CANARY: &str = "CANARY";

pub(super) static INTAKE: LazyLock<Intake> = LazyLock::new(|| load_mapping(MAPPING));

pub(super) fn state_key() -> HmacKey {
    HmacKey::parse("k1:MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY").unwrap()
}

/// The mapping, as `change` makes it.
pub(super) fn changed_mapping(change: impl FnOnce(&str) -> String) -> Intake {
    let text = std::fs::read_to_string(super::mapping_path(MAPPING)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("versions.toml");
    std::fs::write(&path, change(&text)).unwrap();
    zeef::intake::load_file(&path, &super::record_kinds()).unwrap()
}

pub(super) fn setup() -> Arc<IntakeSetup> {
    setup_of(load_mapping(MAPPING))
}

pub(super) fn setup_of(intake: Intake) -> Arc<IntakeSetup> {
    let mut setup = IntakeSetup::new(intake, &CONFIG, "");
    setup.state_key = Some(state_key());
    Arc::new(setup)
}

/// What happens to a record next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// It is written, as one of this borrower.
    Write(usize),
    /// It stays as nobody's.
    Anonymise,
    Delete,
}

pub(super) fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..3_usize).prop_map(Step::Write),
        1 => Just(Step::Anonymise),
        1 => Just(Step::Delete),
    ]
}

/// How the versions of a topic are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VersionSource {
    /// Of the change, by the envelope: a deletion has its own, and a record may come back.
    Envelope,
    /// Of the row, by a column: a deletion has that of the last write.
    Column,
}

/// The row of version `version`.
fn row(id: &str, borrower: Option<usize>, version: i64) -> Value {
    // Each offset of the clock is the same time.
    let hour = if version % 2 == 0 { "10" } else { "09" };
    let offset = if version % 2 == 0 { "+01:00" } else { "Z" };
    json!({
        "id": id, "borrower": borrower.map(|number| format!("borrower-{number}")), "version": version,
        "state": "open", "updated": format!("2026-11-20T{hour}:00:00.{version:03}{offset}"),
        "secret": CANARY,
    })
}

/// The messages of a record's history, in order, each with its row before and after.
pub(super) fn history(
    topic: &str,
    id: &str,
    versions: VersionSource,
    steps: &[Step],
) -> Vec<RawRecord> {
    let mut messages = Vec::new();
    let mut before: Option<Value> = None;
    for (version, step) in (1_i64..).zip(steps) {
        let after = match step {
            Step::Write(borrower) => Some(row(id, Some(*borrower), version)),
            Step::Anonymise if topic == "borrowers" => continue,
            Step::Anonymise => Some(row(id, None, version)),
            Step::Delete => None,
        };
        let op = match (&before, &after) {
            (None, None) => continue,
            (None, Some(_)) => "c",
            (Some(_), Some(_)) => "u",
            (Some(_), None) => "d",
        };
        // Several changes have one time, and are told apart by the position.
        let source =
            json!({ "ts_ms": 1_795_000_000_000 + version / 3, "pos": version, "x": CANARY });
        let value = json!({ "before": before, "after": after, "op": op, "source": source });
        messages.push(RawRecord {
            topic: topic.to_owned(),
            key_hash: id.bytes().map(i32::from).sum(),
            value: Some(value.to_string().into_bytes()),
        });
        before = after;
        if before.is_none() && versions == VersionSource::Column {
            break;
        }
    }
    messages
}

/// The histories of some records of each kind.
pub(super) fn histories(steps: &[Vec<Step>]) -> Vec<RawRecord> {
    let topics = [
        ("loans", VersionSource::Envelope),
        ("holds", VersionSource::Column),
        ("borrowers", VersionSource::Column),
    ];
    let mut all = Vec::new();
    for (number, steps) in steps.iter().enumerate() {
        let (topic, versions) = topics[number % topics.len()];
        all.extend(history(topic, &format!("record-{number}"), versions, steps));
    }
    all
}

pub(super) fn convert(raw: &RawRecord) -> Conversion {
    let message = RawMessage { topic: &raw.topic, value: raw.value.as_deref(), schema: None };
    let conversion = INTAKE.convert(&message, &INTAKE.empty_lookups());
    assert_eq!(conversion.refused, []);
    conversion
}

/// By kind, patron and own id what is there in the end.
pub(super) type LiveRecords = BTreeMap<(String, String, String), Value>;

fn apply(live: &mut LiveRecords, kind: &str, key: &str, value: Option<&[u8]>) {
    let value: Option<Value> = value.map(|value| serde_json::from_slice(value).unwrap());
    let id = match &value {
        Some(value) if kind != "patron" => {
            let id = value.get("loan_id").or_else(|| value.get("reservation_id"));
            id.and_then(Value::as_str).unwrap().to_owned()
        }
        _ => String::new(),
    };
    let place = (kind.to_owned(), key.to_owned(), id);
    match value.filter(|value| value["gone"] != true) {
        Some(value) => live.insert(place, value),
        None => live.remove(&place),
    };
}

pub(super) fn apply_records(live: &mut LiveRecords, records: &[CanonicalRecord]) {
    for record in records {
        apply(live, &record.kind, &record.key, record.value.as_deref());
    }
}

pub(super) fn new_versions() -> RecordVersions {
    INTAKE.empty_versions(&state_key()).unwrap()
}

/// What is there behind these messages, and how many records were dropped as older.
pub(super) fn live_behind<'r>(
    messages: impl Iterator<Item = &'r RawRecord>,
) -> (LiveRecords, usize) {
    let mut versions = new_versions();
    let (mut live, mut older) = (LiveRecords::new(), 0);
    for raw in messages {
        let mut conversion = convert(raw);
        versions.take_out_older(0, &mut conversion).unwrap();
        apply_records(&mut live, &conversion.records);
        older += conversion.older.len();
    }
    (live, older)
}

/// Each message at least once, some twice, in any order.
fn shuffle(
    messages: &[RawRecord],
    order: &[u32],
    repeated: &[prop::sample::Index],
) -> Vec<RawRecord> {
    let again = repeated.iter().map(|index| index.index(messages.len()));
    let mut all: Vec<(u32, usize)> = (0..messages.len())
        .chain(again)
        .enumerate()
        .map(|(at, index)| {
            (order[at % order.len()].rotate_left(u32::try_from(at % 31).unwrap()), index)
        })
        .collect();
    all.sort_unstable();
    all.into_iter().map(|(_, index)| messages[index].clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn messages_in_any_order_and_twice_end_as_in_order_and_once(
        steps in prop::collection::vec(prop::collection::vec(any_step(), 1..7), 1..7),
        order in prop::collection::vec(any::<u32>(), 1..60),
        repeated in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let messages = histories(&steps);
        prop_assume!(!messages.is_empty());
        let (want, older) = live_behind(messages.iter());
        prop_assert_eq!(older, 0, "in order nothing is dropped");
        let shuffled = shuffle(&messages, &order, &repeated);
        let (found, _) = live_behind(shuffled.iter());
        prop_assert_eq!(found, want);
        // Whatever comes again behind all of them changes nothing.
        let again = shuffled.iter().chain(&shuffled).rev();
        prop_assert_eq!(live_behind(again).0, live_behind(messages.iter()).0);
    }
}

/// Without `newer_by` the same messages bring older states back: the property can fail.
#[test]
fn older_state_comes_back_where_versions_are_not_compared() {
    let messages =
        history("loans", "record-1", VersionSource::Envelope, &[Step::Write(0), Step::Write(1)]);
    let mut live = LiveRecords::new();
    for raw in messages.iter().chain(&messages[..1]) {
        apply_records(&mut live, &convert(raw).records);
    }
    assert_eq!(live.len(), 2, "two patrons have the loan: {live:?}");
    let (live, older) = live_behind(messages.iter().chain(&messages[..1]));
    assert_eq!((live.len(), older), (1, 1));
}

/// The rows of a partition say nothing of another one, as another worker may write them.
#[test]
fn versions_are_compared_within_a_partition_number() {
    let messages =
        history("loans", "record-1", VersionSource::Envelope, &[Step::Write(0), Step::Write(0)]);
    let mut versions = new_versions();
    let mut dropped = |partition: i32, raw: &RawRecord| {
        let mut conversion = convert(raw);
        versions.take_out_older(partition, &mut conversion).unwrap();
        conversion.older.len()
    };
    assert_eq!([dropped(0, &messages[1]), dropped(0, &messages[0])], [0, 1]);
    assert_eq!([dropped(1, &messages[0]), dropped(0, &messages[0])], [0, 1]);
}

#[test]
fn kind_without_newer_by_is_never_dropped() {
    let debt = |version: i64| RawRecord {
        topic: "debts".to_owned(),
        key_hash: 0,
        value: Some(
            json!({ "before": null, "after": row("d", Some(1), version), "op": "c" })
                .to_string()
                .into_bytes(),
        ),
    };
    let mut versions = new_versions();
    for version in [2, 1] {
        let mut conversion = convert(&debt(version));
        versions.take_out_older(0, &mut conversion).unwrap();
        assert_eq!((conversion.records.len(), conversion.older.len()), (1, 0));
    }
    versions.commit();
    assert_eq!(versions.row_count(), 0);
}

/// A batch that is not committed leaves nothing behind; rows that were written are read again as
/// they were, and rows of another key, or that were changed, are not.
#[test]
fn rows_are_undone_restored_and_checked() {
    let messages =
        history("loans", "record-1", VersionSource::Envelope, &[Step::Write(0), Step::Write(1)]);
    let drops = |versions: &mut RecordVersions, raw: &RawRecord| {
        let mut conversion = convert(raw);
        versions.take_out_older(3, &mut conversion).unwrap();
        !conversion.older.is_empty()
    };
    let mut versions = new_versions();
    assert!(!drops(&mut versions, &messages[1]));
    assert!(drops(&mut versions, &messages[0]));
    versions.roll_back();
    assert!(!drops(&mut versions, &messages[0]), "what was undone counts no more");
    assert!(!drops(&mut versions, &messages[1]));
    let mut rows = Vec::new();
    versions.for_each_pending(|partition, key, value| {
        rows.push((partition, key.to_vec(), value.unwrap().to_vec()));
    });
    versions.commit();
    assert_eq!((rows.len(), versions.row_count()), (1, 1));
    assert!(versions.bytes() > 50);
    let (partition, key, value) = &rows[0];
    assert_eq!(*partition, 3);

    let mut restored = new_versions();
    restored.restore_row(3, key, Some(value)).unwrap();
    assert!(drops(&mut restored, &messages[0]));
    restored.restore_row(3, key, None).unwrap();
    assert_eq!((restored.row_count(), restored.bytes()), (0, 0));
    assert!(!drops(&mut restored, &messages[0]));

    let mut changed = value.clone();
    let at = changed.iter().position(|byte| byte.is_ascii_digit()).unwrap();
    for (partition, key, value) in [
        (4, key.as_slice(), value.as_slice()),
        (3, b"AAAAAAAAAAAAAAAAAAAAAA".as_slice(), value.as_slice()),
        (3, key.as_slice(), b"{}".as_slice()),
        (3, b"next:loan".as_slice(), value.as_slice()),
    ] {
        assert!(new_versions().restore_row(partition, key, Some(value)).is_err());
    }
    changed[at] ^= 1;
    assert!(new_versions().restore_row(3, key, Some(&changed)).is_err());
    let other = HmacKey::generate("other").unwrap();
    let mut other = INTAKE.empty_versions(&other).unwrap();
    assert!(other.restore_row(3, key, Some(value)).is_err());
}

/// Rows by another `newer_by` do not compare: what comes first counts.
#[test]
fn rows_of_another_rule_count_for_nothing() {
    let messages =
        history("loans", "record-1", VersionSource::Envelope, &[Step::Write(0), Step::Write(0)]);
    let mut versions = new_versions();
    versions.take_out_older(0, &mut convert(&messages[1])).unwrap();
    let mut rows = Vec::new();
    versions.for_each_pending(|_, key, value| rows.push((key.to_vec(), value.unwrap().to_vec())));

    let intake = changed_mapping(|text| {
        text.replace("[\"envelope.source.ts_ms\", \"envelope.source.pos\"]", "\"version\"")
    });
    let mut versions = intake.empty_versions(&state_key()).unwrap();
    for (key, value) in &rows {
        versions.restore_row(0, key, Some(value)).unwrap();
    }
    let raw = &messages[0];
    let message = RawMessage { topic: &raw.topic, value: raw.value.as_deref(), schema: None };
    let mut conversion = intake.convert(&message, &intake.empty_lookups());
    versions.take_out_older(0, &mut conversion).unwrap();
    assert_eq!((conversion.records.len(), conversion.older.len()), (1, 0));
}

/// A row that goes from one record of the mapping to another one of the same kind is written and
/// taken back by one message: it is there, however often that comes.
#[test]
fn what_a_message_writes_decides_over_what_it_takes_back() {
    let intake = changed_mapping(|text| {
        let (head, rest) = text.split_once("[[record]]").unwrap();
        let (loan, _) = rest.split_once("[[record]]").unwrap();
        let of_state = |state: &str| {
            let condition =
                format!("only = [{{ from = \"state\", is = [\"{state}\"] }}]\nnewer_by");
            format!("[[record]]{}", loan.replacen("newer_by", &condition, 1))
        };
        let late = of_state("late").replace("open = \"open\"", "late = \"overdue\"");
        format!("{head}{}{late}", of_state("open"))
    });
    let mut after = row("record-1", Some(0), 2);
    after["state"] = "late".into();
    let value = json!({
        "before": row("record-1", Some(0), 1), "after": after, "op": "u",
        "source": { "ts_ms": 2_000, "pos": 1 },
    });
    let value = value.to_string();
    let message = RawMessage { topic: "loans", value: Some(value.as_bytes()), schema: None };
    let mut versions = intake.empty_versions(&state_key()).unwrap();
    for _ in 0..3 {
        let mut conversion = intake.convert(&message, &intake.empty_lookups());
        assert_eq!((conversion.records.len(), conversion.refused.len()), (2, 0));
        versions.take_out_older(0, &mut conversion).unwrap();
        let mut live = LiveRecords::new();
        apply_records(&mut live, &conversion.records);
        assert_eq!(live.len(), 1, "{conversion:?}");
    }
}

/// By topic and key all values in their order, without the state.
type Published = BTreeMap<(String, String), Vec<Option<String>>>;

fn published(transport: &MemoryTransport) -> Published {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut all = Published::new();
    for output in transport.published().iter().filter(|output| output.topic != STATE) {
        let key = output.key.as_deref().map(text).unwrap_or_default();
        all.entry((output.topic.clone(), key)).or_default().push(output.value.as_deref().map(text));
    }
    all
}

pub(super) fn live_of(transport: &MemoryTransport) -> LiveRecords {
    let mut live = LiveRecords::new();
    for PublishedOutput { topic, key, value, .. } in transport.published() {
        if topic != STATE {
            let key = std::str::from_utf8(key.as_deref().unwrap()).unwrap();
            apply(&mut live, topic, key, value.as_deref());
        }
    }
    live
}

pub(super) fn run_to_end(
    setup: &Arc<IntakeSetup>,
    plan: &LanePlan,
    transport: MemoryTransport,
    records: u64,
) -> Result<MemoryTransport, Fault> {
    let mut worker = bounded_worker(setup, plan, transport, records);
    assert_eq!(worker.run()?, WorkerExit::EndOfInput);
    let mut transport = worker.transport;
    transport.restart();
    Ok(transport)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn intake_drops_the_same_versions_for_any_batches_aborts_and_restarts(
        steps in prop::collection::vec(prop::collection::vec(any_step(), 1..7), 1..7),
        order in prop::collection::vec(any::<u32>(), 1..60),
        repeated in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        batch_records in 1_u64..20,
        abort_every in prop::option::of(2_u32..6),
        rebalance_every in prop::option::of(2_u32..9),
        (runs, partitions) in (1_usize..5, 1_i32..4),
    ) {
        let (setup, messages) = (setup(), histories(&steps));
        prop_assume!(!messages.is_empty());
        let plan = setup.plan(&BTreeSet::new()).unwrap();
        let shuffled = shuffle(&messages, &order, &repeated);
        let new = || MemoryTransport::new(&plan).with_partitions(usize::try_from(partitions).unwrap());
        let push = |transport: &mut MemoryTransport, part: &[RawRecord]| {
            for raw in part {
                push_to_partition(transport, &plan, (raw, raw.key_hash % partitions));
            }
        };
        // Partitions are polled in the same order, message by message or all at once.
        let mut want = new();
        let mut transport =
            new().with_abort_every(abort_every).with_rebalance_every(rebalance_every);
        for part in shuffled.chunks(shuffled.len().div_ceil(runs)) {
            push(&mut want, part);
            push(&mut transport, part);
            want = run_to_end(&setup, &plan, want, 1).unwrap();
            transport = run_to_end(&setup, &plan, transport, batch_records).unwrap();
        }
        prop_assert_eq!(published(&transport), published(&want));
        prop_assert_eq!(live_of(&transport), live_behind(messages.iter()).0);
        for output in transport.published_to(STATE) {
            let bytes = [output.key.clone().unwrap(), output.value.clone().unwrap()].concat();
            let row = String::from_utf8(bytes).unwrap();
            for value in [CANARY, "NL-DuiBIB", "borrower-", "record-", "open"] {
                prop_assert!(!row.contains(value), "{} in {}", value, row);
            }
        }
    }
}

/// A transport whose state was written, with a run of some messages behind it.
fn transport_with_state(setup: &Arc<IntakeSetup>, plan: &LanePlan) -> MemoryTransport {
    let mut transport = MemoryTransport::new(plan);
    for raw in
        history("loans", "record-1", VersionSource::Envelope, &[Step::Write(0), Step::Write(1)])
    {
        push_to_partition(&mut transport, plan, (&raw, 0));
    }
    run_to_end(setup, plan, transport, 10).unwrap()
}

#[test]
fn intake_stops_where_its_state_was_lost_or_changed() {
    let setup = setup();
    let plan = setup.plan(&BTreeSet::new()).unwrap();
    let stop = |change: &dyn Fn(&mut MemoryTransport)| {
        let mut transport = transport_with_state(&setup, &plan);
        change(&mut transport);
        run_to_end(&setup, &plan, transport, 10).map(|_| ()).map_err(|fault| fault.to_string())
    };
    assert_eq!(stop(&|_| {}), Ok(()));
    let lost = stop(&|transport| {
        transport.drop_committed(|output| output.topic == STATE);
    });
    assert!(lost.clone().unwrap_err().contains("lacks rows that were committed"), "{lost:?}");
    // An older copy of the state, too.
    let mut newer = transport_with_state(&setup, &plan);
    let batches = newer.committed_batches();
    let more = history("loans", "record-2", VersionSource::Envelope, &[Step::Write(0)]);
    push_to_partition(&mut newer, &plan, (&more[0], 0));
    let mut newer = run_to_end(&setup, &plan, newer, 10).unwrap();
    newer.drop_committed(|output| output.topic == STATE && output.batch_number > batches);
    let rolled_back = run_to_end(&setup, &plan, newer, 10).unwrap_err().to_string();
    assert!(rolled_back.contains("lacks rows that were committed"), "{rolled_back}");
    let changed = stop(&|transport| {
        transport.rewrite_committed(|output| {
            if output.topic == STATE {
                output.value.as_mut().unwrap()[3] ^= 1;
            }
        });
    });
    assert!(changed.clone().unwrap_err().contains("is damaged"), "{changed:?}");
    let mut keyless = IntakeSetup::clone(&setup);
    keyless.state_key = None;
    assert!(keyless.empty_versions().is_err());
}

/// `newer_by` in a mapping that ran without it: what comes first counts.
#[test]
fn newer_by_may_be_added_to_an_intake_that_ran() {
    let with = setup();
    let plan = with.plan(&BTreeSet::new()).unwrap();
    let intake = changed_mapping(|text| {
        let lines = text.lines().filter(|line| !line.starts_with("newer_by"));
        lines.collect::<Vec<_>>().join("\n")
    });
    let without = Arc::new(IntakeSetup::new(intake, &CONFIG, ""));
    assert_eq!(without.state_topic(), None);
    let plan_without = without.plan(&BTreeSet::new()).unwrap();
    assert_eq!(plan_without.outputs.len() + 1, plan.outputs.len());

    let messages =
        history("loans", "record-1", VersionSource::Envelope, &[Step::Write(0), Step::Write(1)]);
    let mut transport = MemoryTransport::new(&plan_without);
    push_to_partition(&mut transport, &plan, (&messages[1], 0));
    let mut transport = run_to_end(&without, &plan_without, transport, 10).unwrap();
    transport.set_plan(&plan);
    push_to_partition(&mut transport, &plan, (&messages[0], 0));
    let mut transport = run_to_end(&with, &plan, transport, 10).unwrap();
    let loans = transport.published_to("loan").count();
    assert_eq!(loans, 3, "two of the change, and the one that came first since");
    push_to_partition(&mut transport, &plan, (&messages[1], 0));
    push_to_partition(&mut transport, &plan, (&messages[0], 0));
    let transport = run_to_end(&with, &plan, transport, 10).unwrap();
    assert_eq!(live_of(&transport), live_behind(messages.iter()).0);
}
