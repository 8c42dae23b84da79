//! The lane of an intake in memory: whatever the batches, aborts, rebalances and restarts, the
//! canonical topics get the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde_json::Value;
use zeef::config::LoadedConfig;
use zeef::daemon::intake::{IntakeSetup, IntakeWorker};
use zeef::daemon::metrics::Metrics;
use zeef::daemon::worker::{BatchBounds, WorkerExit};
use zeef::engine::lane::DEAD_LETTERS_TOPIC;
use zeef::intake::RawMessage;
use zeef::message::{Fault, LanePlan, Payload, SourceId};
use zeef::policy::Policy;
use zeef::transport::memory::MemoryTransport;

use super::{load_mapping, repository};

pub(super) static CONFIG: LazyLock<LoadedConfig> =
    LazyLock::new(|| Policy::load(&repository().join("config")).unwrap());

pub(super) fn koha_setup() -> IntakeSetup {
    IntakeSetup::new(load_mapping("koha-debezium"), &CONFIG, "")
}

/// A raw message, and what chooses its partition.
#[derive(Clone, Debug)]
pub(super) struct RawRecord {
    pub(super) topic: String,
    pub(super) key_hash: i32,
    pub(super) value: Option<Vec<u8>>,
}

impl RawRecord {
    fn parse(line: &str) -> Option<RawRecord> {
        let line: Value = serde_json::from_str(line).ok()?;
        let topic = line["topic"].as_str()?.to_owned();
        let key_hash = line["key"].to_string().bytes().map(i32::from).sum::<i32>();
        let value = match line.get("value")? {
            Value::Null => None,
            Value::String(text) => Some(text.clone().into_bytes()),
            value => Some(value.to_string().into_bytes()),
        };
        Some(RawRecord { topic, key_hash, value })
    }
}

/// The messages of all cases: rows of lookups, and records.
static CORPUS: LazyLock<(Vec<RawRecord>, Vec<RawRecord>)> = LazyLock::new(|| {
    let folder = repository().join("tests/intake/cases/koha-debezium");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let is_input = |path: &std::path::PathBuf| path.to_str().unwrap().ends_with(".in.ndjson");
    let texts: Vec<String> = paths
        .iter()
        .filter(|path| is_input(path))
        .map(|p| std::fs::read_to_string(p).unwrap())
        .collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    let intake = load_mapping("koha-debezium");
    let all = lines.filter_map(RawRecord::parse);
    all.partition(|raw| intake.reads_as_lookup(&raw.topic))
});

pub(super) fn bounded_worker(
    setup: &Arc<IntakeSetup>,
    plan: &LanePlan,
    transport: MemoryTransport,
    records: u64,
) -> IntakeWorker<MemoryTransport> {
    let metrics = Metrics::new("test").unwrap();
    let topics = plan.sources.iter().map(|source| source.topic.clone()).collect();
    let metrics = metrics.intake_metrics(&setup.intake, (&plan.name, 0), topics);
    let worker = IntakeWorker::new(Arc::clone(setup), plan.clone(), transport, metrics);
    let mut worker = worker.unwrap();
    worker.bounds = BatchBounds { records, ..BatchBounds::default() };
    worker
}

fn index_of(topics: &[String], topic: &str) -> Option<u16> {
    topics.iter().position(|one| one == topic).map(|index| u16::try_from(index).unwrap())
}

fn source_topics(plan: &LanePlan) -> Vec<String> {
    plan.sources.iter().map(|source| source.topic.clone()).collect()
}

pub(super) fn push_record(transport: &mut MemoryTransport, plan: &LanePlan, raw: &RawRecord) {
    push_to_partition(transport, plan, (raw, 0));
}

pub(super) fn push_to_partition(
    transport: &mut MemoryTransport,
    plan: &LanePlan,
    (raw, partition): (&RawRecord, i32),
) {
    if let Some(source) = index_of(&source_topics(plan), &raw.topic) {
        let payload = raw.value.as_deref().map_or(Payload::Null, Payload::Bytes);
        transport.push(SourceId(source), partition, None, payload);
    }
}

pub(super) fn push_rows(transport: &mut MemoryTransport, plan: &LanePlan, rows: &[RawRecord]) {
    let lookups = &plan.intake.as_ref().unwrap().lookups;
    for row in rows {
        if let (Some(lookup), Some(value)) = (index_of(lookups, &row.topic), &row.value) {
            transport.push_lookup_row(lookup, value);
        }
    }
}

/// By topic and key all values in their order; dead letters without their time.
type Published = BTreeMap<(String, String), Vec<Option<String>>>;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn published(transport: &MemoryTransport) -> Published {
    let mut all = Published::new();
    for output in transport.published() {
        let mut value = output.value.as_deref().map(text);
        if output.topic == DEAD_LETTERS_TOPIC {
            let mut letter: Value = serde_json::from_str(value.as_deref().unwrap()).unwrap();
            letter.as_object_mut().unwrap().remove("time");
            value = Some(letter.to_string());
        }
        let key = output.key.as_deref().map(text).unwrap_or_default();
        all.entry((output.topic.clone(), key)).or_default().push(value);
    }
    // They come in the order in which partitions are polled.
    for ((topic, _), values) in &mut all {
        if topic == DEAD_LETTERS_TOPIC {
            values.sort();
        }
    }
    all
}

/// What the conversion alone makes of the records, one after the other.
fn expected(
    setup: &IntakeSetup,
    plan: &LanePlan,
    (records, partitions): (&[RawRecord], i32),
) -> Published {
    let mut lookups = setup.intake.empty_lookups();
    for row in &CORPUS.0 {
        let message = RawMessage { topic: &row.topic, value: row.value.as_deref(), schema: None };
        setup.intake.apply_to_lookups(&message, &mut lookups).unwrap();
    }
    let topics = source_topics(plan);
    let kind = |name: &str| setup.kinds.iter().find(|kind| kind.name == name);
    let mut offsets: BTreeMap<(String, i32), i64> = BTreeMap::new();
    let mut all = Published::new();
    for raw in records.iter().filter(|raw| topics.contains(&raw.topic)) {
        let partition = raw.key_hash % partitions;
        let offset = offsets.entry((raw.topic.clone(), partition)).or_default();
        let message = RawMessage { topic: &raw.topic, value: raw.value.as_deref(), schema: None };
        let conversion = setup.intake.convert(&message, &lookups);
        for record in conversion.records {
            if let Some(kind) = kind(&record.kind) {
                let of_key = all.entry((kind.topic.clone(), record.key)).or_default();
                of_key.push(record.value.as_deref().map(text));
            }
        }
        for refused in conversion.refused {
            if refused.kind.as_deref().is_some_and(|name| kind(name).is_none()) {
                continue;
            }
            let mut letter = serde_json::json!({
                "format": 1, "lane": plan.name, "topic": raw.topic, "partition": partition,
                "offset": *offset, "reason": refused.refusal.as_str(),
                "policy_version": plan.policy_version,
            });
            if let Some(kind) = refused.kind {
                letter["kind"] = kind.into();
            }
            if !refused.field.is_empty() {
                letter["field"] = refused.field.into();
            }
            let of_letters = all.entry((DEAD_LETTERS_TOPIC.to_owned(), String::new())).or_default();
            of_letters.push(Some(letter.to_string()));
        }
        *offset += 1;
    }
    if let Some(letters) = all.get_mut(&(DEAD_LETTERS_TOPIC.to_owned(), String::new())) {
        letters.sort();
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn intake_lane_writes_the_same_bytes_for_any_batches_aborts_and_restarts(
        wanted in prop::collection::vec(any::<prop::sample::Index>(), 1..120),
        batch_records in 1_u64..40,
        poll_records in 1_usize..30,
        abort_every in prop::option::of(2_u32..6),
        rebalance_every in prop::option::of(2_u32..9),
        runs in 1_usize..5,
        partitions in 1_i32..4,
    ) {
        let setup = Arc::new(koha_setup());
        let plan = setup.plan(&BTreeSet::new()).unwrap();
        let records: Vec<RawRecord> =
            wanted.iter().map(|index| CORPUS.1[index.index(CORPUS.1.len())].clone()).collect();
        let mut transport = MemoryTransport::new(&plan)
            .with_partitions(usize::try_from(partitions).unwrap())
            .with_max_poll_records(poll_records)
            .with_abort_every(abort_every)
            .with_rebalance_every(rebalance_every);
        push_rows(&mut transport, &plan, &CORPUS.0);
        for part in records.chunks(records.len().div_ceil(runs)) {
            for raw in part {
                push_to_partition(&mut transport, &plan, (raw, raw.key_hash % partitions));
            }
            let mut worker = bounded_worker(&setup, &plan, transport, batch_records);
            prop_assert_eq!(worker.run(), Ok(WorkerExit::EndOfInput));
            transport = worker.transport;
            transport.restart();
        }
        let mut found = published(&transport);
        let mut want = expected(&setup, &plan, (&records, partitions));
        if partitions > 1 {
            // Between partitions there is no order.
            found.values_mut().chain(want.values_mut()).for_each(|values| values.sort());
        }
        prop_assert_eq!(found, want);
    }
}

#[test]
fn intake_lane_corpus_has_records_erasures_and_refusals() {
    let setup = koha_setup();
    let plan = setup.plan(&BTreeSet::new()).unwrap();
    let all = expected(&setup, &plan, (&CORPUS.1, 1));
    let count = |topic: &str| {
        all.iter().filter(|((one, _), _)| one == topic).map(|(_, v)| v.len()).sum::<usize>()
    };
    assert!(count("patron") > 5 && count("loan") > 10, "{} {}", count("patron"), count("loan"));
    assert!(count(DEAD_LETTERS_TOPIC) > 10, "{}", count(DEAD_LETTERS_TOPIC));
    assert!(all.values().flatten().any(Option::is_none), "an erasure");
    let raw = CORPUS.1.iter().filter_map(|raw| raw.value.as_deref());
    let marked = raw.filter(|value| text(value).contains("CANARY")).count();
    assert!(marked > 30, "{marked}");
    // Neither records nor dead letters have what no mapping names.
    assert!(!format!("{all:?}").contains("CANARY"));
}

/// A row of Koha, as Debezium writes it.
pub(super) fn debezium(topic: &str, row: Value) -> RawRecord {
    let table = topic.rsplit('.').next().unwrap();
    let value = serde_json::json!({
        "before": null, "after": row, "source": { "table": table }, "op": "c",
    });
    RawRecord { topic: topic.to_owned(), key_hash: 0, value: Some(value.to_string().into_bytes()) }
}

pub(super) fn branch_row() -> RawRecord {
    let row = serde_json::json!({
        "branchcode": "DUIN", "branchname": "Duinbibliotheek", "marcorgcode": "NL-DuiBIB",
    });
    debezium("koha.koha_library.branches", row)
}

pub(super) fn loan_row(number: i64) -> RawRecord {
    let row = serde_json::json!({
        "issue_id": number, "borrowernumber": 17, "itemnumber": 9501, "branchcode": "DUIN",
        "issuedate": 1_795_000_000_000_i64, "date_due": 1_797_000_000_000_i64,
        "returndate": null, "renewals_count": 0,
    });
    debezium("koha.issues", row)
}

pub(super) fn values_of(transport: &MemoryTransport, topic: &str) -> Vec<Value> {
    let values = transport.published_to(topic).filter_map(|output| output.value.as_deref());
    values.map(|value| serde_json::from_slice(value).unwrap()).collect()
}

/// Records are never written again for a row that came later; their next version has it.
#[test]
fn lookup_row_that_comes_later_counts_from_then_on() {
    let setup = Arc::new(koha_setup());
    let plan = setup.plan(&BTreeSet::new()).unwrap();
    let mut transport = MemoryTransport::new(&plan);
    push_record(&mut transport, &plan, &loan_row(1));
    let mut worker = bounded_worker(&setup, &plan, transport, 10);
    worker.run().unwrap();
    assert_eq!(values_of(&worker.transport, "loan"), Vec::<Value>::new());
    let letters = values_of(&worker.transport, DEAD_LETTERS_TOPIC);
    assert_eq!(letters.len(), 1);
    assert_eq!(
        [&letters[0]["reason"], &letters[0]["kind"], &letters[0]["topic"]],
        ["library_missing", "loan", "koha.issues"]
    );

    let item = serde_json::json!({ "itemnumber": 9501, "barcode": "3999", "itype": "BOEK", "biblionumber": 1 });
    for raw in [branch_row(), debezium("koha.koha_library.items", item)] {
        push_rows(&mut worker.transport, &plan, &[raw]);
    }
    worker.transport.restart();
    // The rows that were there already come again, once, and change nothing.
    push_record(&mut worker.transport, &plan, &loan_row(2));
    let mut worker = bounded_worker(&setup, &plan, worker.transport, 10);
    worker.run().unwrap();
    let loans = values_of(&worker.transport, "loan");
    assert_eq!(loans.len(), 1, "{loans:?}");
    assert_eq!(loans[0]["loan_id"], "koha-2");
    assert_eq!(loans[0]["item"]["barcode"], "3999");
}

/// Where the rows of lookups need more memory than the mapping allows, nothing is converted.
#[test]
fn lookups_over_their_bound_stop_the_intake() {
    let path = super::mapping_path("koha-debezium");
    let shipped = std::fs::read_to_string(path).unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("koha-debezium.toml");
    std::fs::write(&path, shipped.replacen("[lookups]", "lookup_bytes_max = 1024\n[lookups]", 1))
        .unwrap();
    let intake = zeef::intake::load_file(&path, &super::record_kinds()).unwrap();
    let setup = Arc::new(IntakeSetup::new(intake, &CONFIG, ""));
    let plan = setup.plan(&BTreeSet::new()).unwrap();
    let mut transport = MemoryTransport::new(&plan);
    for number in 0..100 {
        let title = serde_json::json!({ "biblionumber": number, "title": "Wad", "author": null });
        push_rows(&mut transport, &plan, &[debezium("koha.koha_library.biblio", title)]);
    }
    push_record(&mut transport, &plan, &loan_row(1));
    let mut worker = bounded_worker(&setup, &plan, transport, 10);
    let Err(Fault::Stop(why)) = worker.run() else {
        panic!("expected a stop");
    };
    assert!(why.to_string().contains("lookup_bytes_max"), "{why}");
    assert!(worker.transport.published().is_empty());
}

/// Once somebody has decided, the mapping says so, and nothing of before or after is lost.
#[test]
fn emptied_table_stops_the_intake_where_its_mapping_says_so() {
    let shipped = std::fs::read_to_string(super::mapping_path("koha-debezium")).unwrap();
    let load = |word: &str| {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("koha-debezium.toml");
        let loan = format!("kind   = \"loan\"\nall_gone = \"{word}\"\n");
        let text = shipped.replacen("kind   = \"loan\"\n", &loan, 1);
        assert_ne!(text, shipped);
        std::fs::write(&path, text).unwrap();
        let intake = zeef::intake::load_file(&path, &super::record_kinds()).unwrap();
        Arc::new(IntakeSetup::new(intake, &CONFIG, ""))
    };
    let truncated = serde_json::json!({ "before": null, "after": null, "op": "t", "source": {} });
    let truncated = |topic: &str| RawRecord {
        topic: topic.to_owned(),
        key_hash: 0,
        value: Some(truncated.to_string().into_bytes()),
    };
    let (stops, refuses) = (load("stop"), load("refuse"));
    let plan = stops.plan(&BTreeSet::new()).unwrap();
    let mut transport = MemoryTransport::new(&plan);
    push_rows(&mut transport, &plan, &[branch_row()]);
    // Of another table's mapping that says nothing.
    push_record(&mut transport, &plan, &truncated("koha.reserves"));
    for raw in [loan_row(1), truncated("koha.issues"), loan_row(2)] {
        push_record(&mut transport, &plan, &raw);
    }
    for _ in 0..2 {
        let mut worker = bounded_worker(&stops, &plan, transport, 10);
        let Err(Fault::Stop(why)) = worker.run() else {
            panic!("expected a stop");
        };
        let why = why.to_string();
        assert!(why.contains("offset 1: all rows of `koha.issues` were deleted"), "{why}");
        assert!(why.contains("`all_gone = \"refuse\"` for loan in"), "{why}");
        transport = worker.transport;
        transport.restart();
    }
    assert!(transport.published().is_empty());
    let mut worker = bounded_worker(&refuses, &plan, transport, 10);
    assert_eq!(worker.run(), Ok(WorkerExit::EndOfInput));
    let loans = values_of(&worker.transport, "loan");
    let ids: Vec<&Value> = loans.iter().map(|loan| &loan["loan_id"]).collect();
    assert_eq!(ids, ["koha-1", "koha-2"]);
    let letters = values_of(&worker.transport, DEAD_LETTERS_TOPIC);
    assert!(letters.len() == 2 && letters.iter().all(|letter| letter["reason"] == "all_gone"));
}

/// What no topic takes is a dead letter; a patron, whose row decides over others, is closed.
#[test]
fn record_too_large_for_its_topic_is_refused_and_closes_its_patron() {
    let mut setup = koha_setup();
    setup.output_bytes_max = 2_000;
    let setup = Arc::new(setup);
    let plan = setup.plan(&BTreeSet::new()).unwrap();
    let mut transport = MemoryTransport::new(&plan);
    let erased_nobody = CORPUS.1.iter().filter(|raw| raw.topic == "koha.koha_library.borrowers");
    let patron = erased_nobody
        .filter_map(|raw| serde_json::from_slice::<Value>(raw.value.as_deref()?).ok())
        .find(|value| value["after"]["surname"].is_string() && value["op"] == "c");
    let mut patron = patron.expect("a patron of the cases");
    patron["after"]["surname"] = "a".repeat(3_000).into();
    let raw = RawRecord {
        topic: "koha.koha_library.borrowers".to_owned(),
        key_hash: 0,
        value: Some(patron.to_string().into_bytes()),
    };
    push_rows(&mut transport, &plan, &CORPUS.0);
    push_record(&mut transport, &plan, &raw);
    let mut worker = bounded_worker(&setup, &plan, transport, 10);
    worker.run().unwrap();
    assert_eq!(values_of(&worker.transport, "patron"), [serde_json::json!({})]);
    let letters = values_of(&worker.transport, DEAD_LETTERS_TOPIC);
    assert_eq!(letters[0]["reason"], "too_large");
}

/// A topic of a mapping that zeef itself writes would be read and written in a circle.
#[test]
fn pattern_never_matches_a_topic_of_zeef() {
    let setup = IntakeSetup::new(load_mapping("folio"), &CONFIG, "folio.amrland.circulation.");
    let existing = [
        "folio.amrland.users.users",
        "folio.amrland.circulation.loan",
        "folio.other.circulation.loan",
        "folio.amrland.circulation.request",
        "folio.amrland.inventory.item",
        "folio.amrland.inventory.instance",
        "folio.amrland.inventory.service-point",
        "folio.amrland.inventory.material-type",
    ];
    let existing: BTreeSet<String> = existing.iter().map(|&name| name.to_owned()).collect();
    let plan = setup.plan(&existing).unwrap();
    let topics = source_topics(&plan);
    assert!(topics.contains(&"folio.other.circulation.loan".to_owned()), "{topics:?}");
    assert!(!topics.contains(&"folio.amrland.circulation.loan".to_owned()), "{topics:?}");
    let Err(Fault::Stop(why)) = setup.plan(&BTreeSet::new()) else {
        panic!("expected a stop");
    };
    assert!(why.to_string().contains("no topic matches `folio.*."), "{why}");
}
