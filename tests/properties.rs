//! What holds for every record, whatever it is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use zeef::config::LoadedConfig;
use zeef::daemon::metrics::Metrics;
use zeef::daemon::worker::{BatchBounds, Worker, WorkerExit};
use zeef::engine::decide::explain::VerdictChange;
use zeef::engine::lane::{CompileOptions, DEAD_LETTERS_TOPIC, Lane};
use zeef::engine::pipeline::{BatchTime, Pipeline};
use zeef::message::{Input, Outbox, Payload, SourceId};
use zeef::policy::Policy;
use zeef::policy::pseudonym::{HmacKey, Pseudonymiser};
use zeef::policy::reason::Reason;
use zeef::sample::{SampleLibrary, SampleSettings};
use zeef::transport::memory::MemoryTransport;
use zeef_test_kit::engine;
use zeef_test_kit::parallel::map_parallel;

const NOW_MS: i64 = 1_768_478_400_000;
const TODAY: jiff::civil::Date = jiff::civil::date(2026, 1, 15);

static SHIPPED_CONFIG: LazyLock<LoadedConfig> =
    LazyLock::new(|| Policy::load(Path::new("config")).unwrap());
static LANE: LazyLock<Arc<Lane>> = LazyLock::new(|| Arc::new(compile_lane(|_| true)));
static LIBRARY: LazyLock<SampleLibrary> =
    LazyLock::new(|| SampleLibrary::new(SampleSettings::new(11, 400, TODAY)));

fn compile_lane(wanted: impl Fn(&str) -> bool) -> Lane {
    let key = HmacKey::parse(&format!("test:{}E", "A".repeat(42))).unwrap();
    Lane::compile(
        "main",
        &SHIPPED_CONFIG.policy,
        |recipient| wanted(&recipient.name),
        |_| Some(Pseudonymiser::new(&key)),
        CompileOptions::default(),
    )
    .unwrap()
}

fn source_id(lane: &Lane, name: &str) -> SourceId {
    engine::source_id(lane, name).unwrap()
}

fn new_pipeline(lane: &Arc<Lane>) -> Pipeline {
    let mut pipeline = Pipeline::new(Arc::clone(lane));
    pipeline.begin_batch(BatchTime::from_ms(NOW_MS));
    pipeline
}

/// What came of one message, per recipient: its key and value, or the numbers.
fn decide_and_collect(
    pipeline: &mut Pipeline,
    source: &str,
    key: &[u8],
    value: &[u8],
) -> Vec<String> {
    let lane = Arc::clone(&LANE);
    let mut outbox = Outbox::default();
    let input = Input {
        source: source_id(&lane, source),
        partition: 0,
        offset: 0,
        timestamp_ms: None,
        append_time: None,
        trace_parent: None,
        key: Some(key),
        payload: Payload::Bytes(value),
    };
    pipeline.decide(&input, &mut outbox);
    let tally = pipeline.tally().recipients.clone();
    let mut outcomes: Vec<String> =
        tally.iter().map(|tally| format!("{:?}", tally.withheld)).collect();
    for output in outbox.iter().filter(|output| output.output != lane.dead_letter_output) {
        let place = usize::from(output.output.0);
        outcomes[place] += &format!(
            "{} {}",
            String::from_utf8_lossy(output.key.unwrap()),
            String::from_utf8_lossy(output.value.unwrap())
        );
    }
    pipeline.commit();
    outcomes
}

/// A pipeline that knows the patron of every message of `index`, and those.
fn pipeline_with_patron(index: u64) -> (Pipeline, Vec<(String, String, String)>) {
    let mut pipeline = new_pipeline(&LANE);
    let mut messages = Vec::new();
    for message in LIBRARY.messages_of_patron(index) {
        let (Some(key), Some(value)) = (message.key, message.value) else { continue };
        if message.source == "patron" {
            decide_and_collect(&mut pipeline, "patron", key.as_bytes(), value.as_bytes());
        }
        messages.push((message.source.to_owned(), key, value));
    }
    (pipeline, messages)
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-zA-Z0-9@. ]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Adds `name` to the record and to every object in it.
fn insert_everywhere(value: &mut Value, name: &str, added: &Value) {
    match value {
        Value::Object(map) => {
            for inner in map.values_mut() {
                insert_everywhere(inner, name, added);
            }
            map.insert(name.to_owned(), added.clone());
        }
        Value::Array(list) => {
            list.iter_mut().for_each(|inner| insert_everywhere(inner, name, added))
        }
        _ => {}
    }
}

/// Sets the value at a catalogue's path; lists are replaced whole.
fn set_path(record: &mut Map<String, Value>, path: &str, value: Value) {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let name = first.trim_end_matches("[]").to_owned();
    if rest.is_empty() || first.ends_with("[]") {
        record.insert(name, value);
        return;
    }
    let inner = record.entry(name).or_insert_with(|| json!({}));
    if let Some(inner) = inner.as_object_mut() {
        set_path(inner, rest, value);
    }
}

/// What is explained of the records of one patron, for the one recipient of a lane.
fn explain_records(
    lane: &Arc<Lane>,
    messages: &[zeef::sample::SampleMessage],
    now_ms: i64,
) -> Vec<ExplainedAnswer> {
    let mut pipeline = Pipeline::new(Arc::clone(lane));
    pipeline.begin_batch(BatchTime::from_ms(now_ms));
    let inputs: Vec<Input<'_>> = messages
        .iter()
        .zip(0..)
        .filter(|(message, _)| lane.sources.iter().any(|one| one.kind.name == message.source))
        .map(|(message, offset)| Input {
            source: source_id(lane, message.source),
            partition: 0,
            offset,
            timestamp_ms: None,
            append_time: None,
            trace_parent: None,
            key: message.key.as_deref().map(str::as_bytes),
            payload: match &message.value {
                Some(value) => Payload::Bytes(value.as_bytes()),
                None => Payload::Null,
            },
        })
        .collect();
    for input in &inputs {
        pipeline.restore_gate_record(input);
    }
    let own = lane.recipients[0].source_index;
    let of_source = inputs.iter().filter(|input| usize::from(input.source.0) == own);
    of_source
        .filter_map(|input| pipeline.explain(input, None, 0))
        .map(|one| {
            let verdict = (one.withheld_reason, one.is_thinned);
            (verdict, one.next_change, one.is_term_from_first_decision)
        })
        .collect()
}

/// Why a record is withheld, and whether its output is thinned.
type ExplainedVerdict = (Option<Reason>, bool);

type ExplainedAnswer = (ExplainedVerdict, Option<VerdictChange>, bool);

/// `zeef explain` says until when: nothing but time passing changes an answer sooner,
/// and then it is the one that was foretold.
#[test]
fn explanation_holds_until_its_stated_time() {
    const YEARS_MS: i64 = 40 * 366 * 86_400_000;
    let mut changes = BTreeMap::<ExplainedVerdict, usize>::new();
    for recipient in &SHIPPED_CONFIG.policy.recipients {
        let lane = Arc::new(compile_lane(|name| name == recipient.name));
        // A consent that begins is rare.
        let patrons = match recipient.consent {
            Some(_) => LIBRARY.settings().patrons,
            None => 140,
        };
        for index in 0..patrons {
            let messages = LIBRARY.messages_of_patron(index);
            let before = explain_records(&lane, &messages, NOW_MS);
            for (at, &(verdict, change, from_first)) in before.iter().enumerate() {
                let spread = i64::try_from(index).unwrap() * 7_919 % 1_000;
                let looks = match change {
                    Some(change) => {
                        assert_ne!((change.withheld_reason, change.is_thinned), verdict);
                        let span = change.at_ms - NOW_MS;
                        vec![NOW_MS + span / 1_000 * spread, change.at_ms - 1]
                    }
                    None => vec![NOW_MS + YEARS_MS / 1_000 * spread, NOW_MS + YEARS_MS],
                };
                for look in looks {
                    let (then, ..) = explain_records(&lane, &messages, look)[at];
                    assert_eq!(then, verdict, "{} {index} at {look}", recipient.name);
                }
                let Some(change) = change else { continue };
                // A term that runs from the first decision begins anew with each look.
                if from_first && change.withheld_reason == Some(Reason::Lapsed) {
                    continue;
                }
                let (then, ..) = explain_records(&lane, &messages, change.at_ms)[at];
                let change = (change.withheld_reason, change.is_thinned);
                assert_eq!(then, change, "{} {index}", recipient.name);
                *changes.entry(change).or_default() += 1;
            }
        }
    }
    // Terms, ends of what a patron's data may be used for, consents that begin, and terms of
    // some fields.
    for verdict in [Some(Reason::Lapsed), Some(Reason::PatronLapsed), None] {
        assert!(changes.contains_key(&(verdict, false)), "{changes:?}");
    }
    assert!(changes.contains_key(&(None, true)), "{changes:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Invariant 1, for what no catalogue knows.
    #[test]
    fn an_unknown_field_changes_nothing(index in 0u64..400, name in "x_[a-z]{1,8}", added in any_json()) {
        let (mut pipeline, messages) = pipeline_with_patron(index);
        for (source, key, value) in messages {
            let before = decide_and_collect(&mut pipeline, &source, key.as_bytes(), value.as_bytes());
            // Twins and odd numbers would not survive a parser.
            let Ok(mut parsed) = serde_json::from_str::<Value>(&value) else { continue };
            let plain = serde_json::to_string(&parsed).unwrap();
            let plainly = decide_and_collect(&mut pipeline, &source, key.as_bytes(), plain.as_bytes());
            insert_everywhere(&mut parsed, &name, &added);
            let after = serde_json::to_string(&parsed).unwrap();
            let after = decide_and_collect(&mut pipeline, &source, key.as_bytes(), after.as_bytes());
            prop_assert_eq!(&plainly, &after, "{} of {}", name, source);
            prop_assert_eq!(before.len(), after.len());
        }
    }

    /// Invariant 1, for what the catalogue knows and a recipient does not need.
    #[test]
    fn a_field_that_a_recipient_does_not_need_changes_nothing_for_it(
        index in 0u64..400, picked in any::<prop::sample::Index>(), added in any_json()
    ) {
        let (mut pipeline, messages) = pipeline_with_patron(index);
        for (source, key, value) in messages {
            let Ok(Value::Object(parsed)) = serde_json::from_str(&value) else { continue };
            let place = source_id(&LANE, &source);
            let compiled = LANE.source(place).unwrap();
            let field = &compiled.kind.fields[picked.index(compiled.kind.fields.len())];
            // These decide for every recipient.
            let kind = &compiled.kind;
            let always_read =
                [Some("patron_id"), Some("library"), Some(&*kind.id_path), kind.gone_path.as_deref()];
            if always_read.contains(&Some(&*field.path)) {
                continue;
            }
            let mut changed = parsed.clone();
            set_path(&mut changed, &field.path, added.clone());
            let plain = serde_json::to_string(&parsed).unwrap();
            let changed = serde_json::to_string(&changed).unwrap();
            let before = decide_and_collect(&mut pipeline, &source, key.as_bytes(), plain.as_bytes());
            let after = decide_and_collect(&mut pipeline, &source, key.as_bytes(), changed.as_bytes());
            // A container that is replaced takes its other fields with it.
            let root = field.path.split(['.', '[']).next().unwrap();
            for &recipient in &compiled.recipient_indices {
                let program = &LANE.recipients[recipient];
                let needed = compiled.kind.fields.iter().any(|other| {
                    other.path.split(['.', '[']).next() == Some(root)
                        && program_needs(program, compiled, &other.path)
                });
                if !needed {
                    prop_assert_eq!(&before[recipient], &after[recipient], "{} {}", program.name, field.path);
                }
            }
            // The table has to be as it was for the next message.
            decide_and_collect(&mut pipeline, &source, key.as_bytes(), value.as_bytes());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), json in "[\\[\\]{}:,\"\\\\a-z0-9 .]{0,80}") {
        let mut pipeline = new_pipeline(&LANE);
        for source in ["patron", "loan", "debt", "consent"] {
            decide_and_collect(&mut pipeline, source, b"p", &bytes);
            decide_and_collect(&mut pipeline, source, b"p", json.as_bytes());
        }
    }
}

/// Whether a program needs a field, itself or by what is derived from it.
fn program_needs(
    program: &zeef::engine::lane::Program,
    source: &zeef::engine::lane::LaneSource,
    path: &str,
) -> bool {
    // What has one of them in it is left out of every output.
    if ["bsn", "rijksregisternummer"].contains(&path) {
        return true;
    }
    let derived = ["card_number", "card_kind"].contains(&path);
    source.shape.location(path).is_some_and(|place| {
        program
            .needed_fields
            .iter()
            .any(|need| !need.is_joined && (need.location == place || derived))
    })
}

/// Where a national number stands in a text.
fn disguise_number(digits: &str, way: usize) -> Value {
    let zero = ['\u{660}', '\u{966}', '\u{FF10}'][way % 3] as u32;
    let script = |c: char| char::from_u32(zero + c as u32 - '0' as u32).unwrap();
    match way {
        0..3 => digits.chars().map(script).collect::<String>().into(),
        3 => digits.parse::<u64>().unwrap().into(),
        4 => format!("bsn{digits}@example.org").into(),
        5 => digits.chars().flat_map(|c| [c, ' ', '-']).collect::<String>().into(),
        6 => format!("Nr. {}, of {}!\n", &digits[..4], &digits[4..]).into(),
        7 => format!("00{digits}99").into(),
        _ => digits.into(),
    }
}

/// Puts a value at a catalogue's path, also into a list.
fn plant_value(record: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once("[]") {
        Some((list, below)) => {
            let element = match below.strip_prefix('.') {
                Some(name) => json!({ name: value }),
                None => value,
            };
            set_path(record, list, json!([element, "x", {"title": "x"}]));
        }
        None => set_path(record, path, value),
    }
}

/// The decimal digits of a text, by Unicode's runs of ten.
fn unicode_digits(text: &str) -> String {
    use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
    let is_digit = |code: u32| {
        char::from_u32(code).is_some_and(|c| c.general_category() == GeneralCategory::DecimalNumber)
    };
    let digit = |c: char| {
        let before = (1..=c as u32).take_while(|back| is_digit(c as u32 - back)).count();
        is_digit(c as u32).then(|| char::from_digit(before as u32 % 10, 10)).flatten()
    };
    text.chars().filter_map(digit).collect()
}

/// An output without the values that have one of these numbers in them; none where
/// nothing is left. Says how many there were.
fn without_numbers(value: &Value, numbers: &[String], left_out: &mut usize) -> Option<Value> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Array(elements) => {
            let kept = elements.iter().filter_map(|one| without_numbers(one, numbers, left_out));
            let kept: Vec<Value> = kept.collect();
            return (!kept.is_empty()).then_some(Value::Array(kept));
        }
        Value::Object(members) => {
            let kept = members.iter().filter_map(|(name, value)| {
                Some((name.clone(), without_numbers(value, numbers, left_out)?))
            });
            let kept: Map<String, Value> = kept.collect();
            return (!kept.is_empty()).then_some(Value::Object(kept));
        }
        Value::Null | Value::Bool(_) => return Some(value.clone()),
    };
    let found = numbers.iter().any(|number| unicode_digits(&text).contains(number));
    *left_out += usize::from(found);
    (!found).then(|| value.clone())
}

fn is_national_number((_, dead_letter): &(String, Value)) -> bool {
    dead_letter["reason"] == "national_number"
}

/// Decides messages of one patron; returns each output's topic, key and value, and
/// the dead letters.
fn decide_messages(
    lane: &Arc<Lane>,
    messages: &[(String, String, String)],
) -> [Vec<(String, Value)>; 2] {
    let mut pipeline = new_pipeline(lane);
    let mut outbox = Outbox::default();
    for (source, key, value) in messages {
        let input = Input {
            source: source_id(lane, source),
            partition: 0,
            offset: 0,
            timestamp_ms: None,
            append_time: None,
            trace_parent: None,
            key: Some(key.as_bytes()),
            payload: Payload::Bytes(value.as_bytes()),
        };
        pipeline.decide(&input, &mut outbox);
    }
    let (mut outputs, mut dead_letters) = (Vec::new(), Vec::new());
    for output in outbox.iter() {
        let key = String::from_utf8_lossy(output.key.unwrap_or_default());
        let topic = &lane.outputs[usize::from(output.output.0)].topic;
        let value: Value = serde_json::from_slice(output.value.unwrap()).unwrap();
        match output.output == lane.dead_letter_output {
            true => dead_letters.push((topic.clone(), value)),
            false => outputs.push((format!("{topic} {key}"), value)),
        }
    }
    let counted = pipeline.tally().recipients.iter().map(|one| one.omitted_values);
    let named = dead_letters.iter().filter(|letter| is_national_number(letter));
    assert_eq!(counted.sum::<u64>(), named.count() as u64);
    [outputs, dead_letters]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Invariant 8: whatever field it came by, and nothing else is left out.
    #[test]
    fn s01_no_output_contains_national_number_of_its_patron(
        index in 0u64..400,
        bsn in "[1-9][0-9]{8}",
        register in "[1-9][0-9]{10}",
        as_kept in 0usize..9,
        plants in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0usize..9, any::<bool>()), 1..24),
        renamed in any::<bool>(),
    ) {
        static PLAIN: LazyLock<Arc<Lane>> = LazyLock::new(|| {
            let mut lane = compile_lane(|_| true);
            lane.sources.iter_mut().for_each(|source| source.national_number_slots.clear());
            Arc::new(lane)
        });
        let numbers = [bsn.clone(), register.clone()];
        let mut messages: Vec<(String, String, Map<String, Value>)> = Vec::new();
        for message in LIBRARY.messages_of_patron(index) {
            let parsed = message.value.as_deref().map(serde_json::from_str::<Value>);
            if let (Some(mut key), Some(Ok(Value::Object(mut record)))) = (message.key, parsed) {
                // Of who is no patron no number is known.
                if !record.contains_key("patron_id") {
                    continue;
                }
                if renamed {
                    key = format!("p-{bsn}");
                    record.insert("patron_id".to_owned(), key.clone().into());
                }
                messages.push((message.source.to_owned(), key, record));
            }
        }
        prop_assume!(!messages.is_empty());
        for (place, field, way, is_bsn) in &plants {
            let place = place.index(messages.len());
            let (source, _, record) = &mut messages[place];
            let kind = SHIPPED_CONFIG.policy.record_kinds.iter().find(|kind| kind.name == *source).unwrap();
            let field = &kind.fields[field.index(kind.fields.len())];
            let number = &numbers[usize::from(!is_bsn)];
            // A report of demands looks at no patron, and knows valid numbers alone.
            if *source == "demand" {
                continue;
            }
            if !["patron_id", "library"].contains(&field.path.as_str()) {
                plant_value(record, &field.path, disguise_number(number, *way));
            }
        }
        for (_, _, record) in messages.iter_mut().filter(|(source, ..)| source == "patron") {
            let as_kept = if as_kept == 7 { 8 } else { as_kept };
            record.insert("bsn".to_owned(), disguise_number(&bsn, as_kept));
            record.insert("rijksregisternummer".to_owned(), disguise_number(&register, as_kept));
        }
        let messages: Vec<(String, String, String)> = messages
            .into_iter()
            .map(|(source, key, record)| (source, key, Value::Object(record).to_string()))
            .collect();
        let [outputs, letters] = decide_messages(&LANE, &messages);
        let [plain, plain_letters] = decide_messages(&PLAIN, &messages);
        // A Belgian card number is one of its own, and is left out by both.
        let mut left_out = usize::from(plain_letters.iter().any(is_national_number));
        let want: Vec<(String, Value)> = plain
            .iter()
            .map(|(to, value)| (to.clone(), without_numbers(value, &numbers, &mut left_out).unwrap_or_else(|| json!({}))))
            .collect();
        prop_assert_eq!(&outputs, &want);
        prop_assert_eq!(left_out > 0, letters.iter().any(is_national_number), "{:?}", letters);
        for (_, letter) in &letters {
            for number in &numbers {
                prop_assert!(!letter.to_string().contains(number));
            }
        }
    }
}

/// Runs a library through the real worker, and says what was published per
/// topic, in order, without the time that dead letters carry.
fn run_worker(
    lane: Lane,
    records: u64,
    chunk: usize,
    fail_every: Option<u32>,
    rebalance_every: Option<u32>,
) -> BTreeMap<String, Vec<(String, String)>> {
    let lane = Arc::new(lane);
    let plan = lane.transport_plan();
    let mut transport = MemoryTransport::new(&plan)
        .with_max_poll_records(chunk)
        .with_abort_every(fail_every)
        .with_rebalance_every(rebalance_every);
    for message in LIBRARY.messages() {
        let Some(at) = lane.sources.iter().position(|s| s.kind.name == message.source) else {
            continue;
        };
        let Some(value) = message.value else { continue };
        let source = SourceId(u16::try_from(at).unwrap());
        let key = message.key.as_deref().map(str::as_bytes);
        transport.push(source, 0, key, Payload::Bytes(value.as_bytes()));
    }
    let metrics = Metrics::new("test").unwrap();
    let handles = metrics.worker_metrics(&lane, 0);
    let mut worker = Worker::new(Pipeline::new(lane), transport, handles);
    worker.clock = Box::new(|| NOW_MS);
    worker.continuity_check_interval = Duration::ZERO;
    worker.bounds = BatchBounds { records, bytes: 1 << 20, max_wait: Duration::from_secs(5) };
    assert_eq!(worker.run().unwrap(), WorkerExit::EndOfInput);
    let mut published: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for message in worker.transport.published() {
        let text =
            |bytes: &Option<Vec<u8>>| String::from_utf8(bytes.clone().unwrap_or_default()).unwrap();
        let entry = (text(&message.key), text(&message.value));
        published.entry(message.topic.clone()).or_default().push(entry);
    }
    check_counters_add_up(&metrics.render());
    published
}

/// Invariant 4: every record of its source is one of the outcomes, for every
/// recipient; and every record of a lane was released to none, some or all.
fn check_counters_add_up(text: &str) {
    let sum = |name: &str, label: &str| -> f64 {
        text.lines()
            .filter(|line| line.starts_with(name) && line.contains(label))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    };
    for recipient in &SHIPPED_CONFIG.policy.recipients {
        let of = format!("recipient=\"{}\"", recipient.name);
        let kind = &SHIPPED_CONFIG.policy.record_kinds[recipient.source_kind_index];
        let outcomes = sum("zeef_records_released_total{", &of)
            + sum("zeef_records_withheld_total{", &of)
            + sum("zeef_recipient_records_refused_total{", &of);
        if !text.contains(&of) {
            continue;
        }
        let topic = format!("topic=\"{}\"", kind.topic);
        let consumed = sum("zeef_records_consumed_total{", &topic);
        assert!((outcomes - consumed).abs() < 0.5, "{}: {outcomes} of {consumed}", recipient.name);
    }
}

#[test]
fn message_without_record_counts_no_format_error() {
    let mut pipeline = new_pipeline(&LANE);
    let unfit = br#"{"patron_id":"p","library":"NL-AmrBKW","birth_date":"yesterday"}"#;
    let source = source_id(&LANE, "patron");
    for payload in [Payload::Bytes(unfit), Payload::Null, Payload::Refused(Reason::TooLarge)] {
        let input = Input {
            source,
            partition: 0,
            offset: 0,
            timestamp_ms: None,
            append_time: None,
            trace_parent: None,
            key: Some(b"p"),
            payload,
        };
        pipeline.decide(&input, &mut Outbox::default());
        let tally = &pipeline.tally().sources[usize::from(source.0)];
        assert_eq!(tally.format_errors, 1, "{payload:?}");
    }
}

/// What a patron's loan comes to, where a misplaced record of `before` under the
/// patron's key was met before, by `restore` or by `decide`.
fn outputs_after_misplaced(before: Option<(SourceId, bool)>) -> Vec<(Option<Vec<u8>>, Vec<u8>)> {
    let base = r#""patron_id":"p","library":"NL-AmrBKW""#;
    let patron = format!(
        r#"{{{base},"kind":"person","surname":"Berg","email":"a@example.org","membership":{{"status":"active"}}}}"#
    );
    let loan = format!(
        r#"{{{base},"loan_id":"l","status":"open","due_on":"2026-01-26","item":{{"title":"t"}}}}"#
    );
    let mut pipeline = new_pipeline(&LANE);
    let mut outbox = Outbox::default();
    let input = |source, payload| Input {
        source,
        partition: 0,
        offset: 0,
        timestamp_ms: None,
        append_time: None,
        trace_parent: None,
        key: Some(b"p"),
        payload,
    };
    let patron = input(source_id(&LANE, "patron"), Payload::Bytes(patron.as_bytes()));
    pipeline.decide(&patron, &mut outbox);
    outbox.clear();
    if let Some((source, restored)) = before {
        let known = pipeline.table().len();
        for key in [&b"p"[..], b"somebody else"] {
            let misplaced = Input {
                key: Some(key),
                offset: 7,
                ..input(source, Payload::Refused(Reason::Misplaced))
            };
            match restored {
                true => pipeline.restore_gate_record(&misplaced),
                false => pipeline.decide(&misplaced, &mut outbox),
            }
        }
        assert_eq!(pipeline.table().len(), known);
        let dead_letters = outbox.iter().map(|output| {
            let text = std::str::from_utf8(output.value.unwrap()).unwrap();
            assert!(text.contains(r#""reason":"misplaced""#), "{text}");
            LANE.outputs[usize::from(output.output.0)].topic.clone()
        });
        let dead_letters: Vec<String> = dead_letters.collect();
        let want = if restored { 0 } else { 2 };
        assert_eq!(dead_letters, vec![DEAD_LETTERS_TOPIC; want]);
        outbox.clear();
    }
    let loan = input(source_id(&LANE, "loan"), Payload::Bytes(loan.as_bytes()));
    pipeline.decide(&loan, &mut outbox);
    outbox
        .iter()
        .map(|output| (output.key.map(<[u8]>::to_vec), output.value.unwrap_or_default().to_vec()))
        .collect()
}

#[test]
fn misplaced_record_is_a_dead_letter_and_decides_nothing() {
    let want = outputs_after_misplaced(None);
    assert!(!want.is_empty());
    for (place, source) in (0..).zip(&LANE.sources) {
        for restored in [false, true] {
            let found = outputs_after_misplaced(Some((SourceId(place), restored)));
            assert_eq!(found, want, "{} {restored}", source.topic);
        }
    }
}

#[test]
fn outputs_are_independent_of_batch_size_abort_and_rebalance() {
    let whole = run_worker(compile_lane(|_| true), 1_000_000, 1_000_000, None, None);
    // Nobody makes referrals and questions up.
    let is_made_up = |program: &&zeef::engine::lane::Program| {
        let kind = &LANE.sources[program.source_index].kind.name;
        !["referral", "question"].contains(&kind.as_str())
    };
    let served = LANE.recipients.iter().filter(is_made_up).count();
    assert!(whole.len() >= served, "{:?}", whole.keys());
    let ways = [
        (1, 1, None, None),
        (7, 3, None, None),
        (100, 1_000, Some(3), None),
        (1_000, 10, Some(2), None),
        (1, 40, None, Some(2)),
        (100, 10, Some(3), Some(7)),
    ];
    map_parallel(ways, |of| {
        let (records, chunk, fail_every, rebalance_every) = of;
        let other = run_worker(compile_lane(|_| true), records, chunk, fail_every, rebalance_every);
        assert_eq!(other, whole, "{of:?}");
    });
}

#[test]
fn how_recipients_are_spread_over_lanes_changes_nothing() {
    let whole = run_worker(compile_lane(|_| true), 500, 100, None, None);
    let mut spread = BTreeMap::new();
    for finance in [true, false] {
        let mut part = run_worker(
            compile_lane(|name| (name == "deurwaarder") == finance),
            500,
            100,
            None,
            None,
        );
        part.remove(DEAD_LETTERS_TOPIC);
        spread.extend(part);
    }
    let mut whole = whole;
    whole.remove(DEAD_LETTERS_TOPIC);
    assert_eq!(spread, whole);
}

/// A recipient with a topic per receiving party: what is not listed goes nowhere.
#[test]
fn record_goes_to_topic_of_its_receiving_party() {
    let folder = tempfile::tempdir().unwrap();
    let recipients = folder.path().join("recipients");
    std::fs::create_dir_all(&recipients).unwrap();
    std::fs::create_dir(folder.path().join("records")).unwrap();
    for entry in std::fs::read_dir("config/records").unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join("records").join(entry.file_name())).unwrap();
    }
    let text = std::fs::read_to_string("config/recipients/ill-library.toml").unwrap();
    let each = r#"{ by = "supplying_library", of = { "BE-GtB01" = "out.ill.gent", "NL-AmrBKW" = "out.ill.kennemer" } }"#;
    let text = text.replace("\"out.ill-library\"", each);
    std::fs::write(recipients.join("ill-library.toml"), text).unwrap();
    let loaded = Policy::load(folder.path()).unwrap();
    let key = HmacKey::parse(&format!("test:{}E", "A".repeat(42))).unwrap();
    let keyed = |_: &str| Some(Pseudonymiser::new(&key));
    let lane =
        Lane::compile("main", &loaded.policy, |_| true, keyed, CompileOptions::default()).unwrap();
    let lane = Arc::new(lane);
    let mut pipeline = new_pipeline(&lane);
    let mut outbox = Outbox::default();
    let mut offer = |source: &str, value: String| {
        let input = Input {
            source: source_id(&lane, source),
            partition: 0,
            offset: 0,
            timestamp_ms: None,
            append_time: None,
            trace_parent: None,
            key: Some(b"p"),
            payload: Payload::Bytes(value.as_bytes()),
        };
        pipeline.decide(&input, &mut outbox);
    };
    let base = r#""patron_id":"p","library":"NL-AmrBKW""#;
    offer("patron", format!("{{{base},\"surname\":\"Berg\"}}"));
    for supplier in ["BE-GtB01", "NL-AmrBKW", "NL-Other", ""] {
        offer(
            "ill_request",
            format!(
                r#"{{{base},"request_id":"r","status":"sent","supplying_library":"{supplier}"}}"#
            ),
        );
    }
    let topics: Vec<String> = outbox
        .iter()
        .map(|output| lane.outputs[usize::from(output.output.0)].topic.clone())
        .collect();
    assert_eq!(topics, ["out.ill.gent", "out.ill.kennemer"]);
    let withheld = pipeline.tally().recipients[0].withheld;
    assert_eq!(withheld[Reason::PartyUnlisted as usize], 2);
}
