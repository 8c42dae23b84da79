//! What holds for any message: what is not named has no influence, the order of
//! members has none, and no bytes panic.

use proptest::prelude::*;
use serde_json::{Map, Value};
use zeef::intake::{Intake, LookupTables, RawMessage};

use super::{load_mapping, repository};

/// A mapping with the messages of all its cases.
pub(super) struct Corpus {
    pub(super) intake: Intake,
    pub(super) lookups: LookupTables,
    pub(super) messages: Vec<(String, Value)>,
}

fn load_corpus(mapping: &str) -> Corpus {
    let intake = load_mapping(mapping);
    let folder = repository().join("tests/intake/cases").join(mapping);
    let mut messages = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_str().unwrap().ends_with(".in.ndjson") {
            continue;
        }
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            if let (Some(topic), Some(value)) = (line["topic"].as_str(), line.get("value"))
                && value.is_object()
            {
                messages.push((topic.to_owned(), value.clone()));
            }
        }
    }
    let mut lookups = intake.empty_lookups();
    for (topic, value) in &messages {
        let bytes = value.to_string();
        let message = RawMessage { topic, value: Some(bytes.as_bytes()), schema: None };
        intake.apply_to_lookups(&message, &mut lookups).unwrap();
    }
    Corpus { intake, lookups, messages }
}

pub(super) fn corpora() -> &'static [Corpus] {
    static CORPORA: std::sync::LazyLock<Vec<Corpus>> = std::sync::LazyLock::new(|| {
        ["koha-debezium", "folio", "folio-debezium", "rows", "versions"].map(load_corpus).into()
    });
    &CORPORA
}

fn convert(corpus: &Corpus, topic: &str, bytes: &[u8]) -> String {
    let message = RawMessage { topic, value: Some(bytes), schema: None };
    format!("{:?}", corpus.intake.convert(&message, &corpus.lookups))
}

/// A place below which members may be added: every object of a message.
fn visit_objects(value: &mut Value, visit: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(|inner| visit_objects(inner, visit));
            visit(members);
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| visit_objects(inner, visit)),
        _ => {}
    }
}

/// Writes the members of every object in the order of `key(name)`.
fn write_shuffled(value: &Value, seed: u64, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut order: Vec<&String> = members.keys().collect();
            order.sort_by_key(|name| {
                let text = name
                    .bytes()
                    .fold(seed, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
                text.rotate_left(17)
            });
            out.push('{');
            for (at, name) in order.into_iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write_shuffled(&members[name], seed, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                write_shuffled(item, seed, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn unnamed_members_have_no_influence(
        at in any::<prop::sample::Index>(),
        which in 0..5_usize,
        name in "unnamed_[a-z]{0,6}|password|secret|x-okapi-token|opacnote|lang",
        value in "CANARY[ -~é]{0,20}",
    ) {
        let corpus = &corpora()[which];
        let (topic, message) = &corpus.messages[at.index(corpus.messages.len())];
        let plain = message.to_string();
        let mut more = message.clone();
        visit_objects(&mut more, &mut |members| {
            // Two members and no more are what Kafka Connect wraps.
            if !members.contains_key("payload") {
                members.insert(name.clone(), Value::from(value.clone()));
            }
        });
        let found = convert(corpus, topic, more.to_string().as_bytes());
        prop_assert!(!found.contains("CANARY"));
        prop_assert_eq!(found, convert(corpus, topic, plain.as_bytes()));
    }

    #[test]
    fn order_of_members_has_no_influence(
        at in any::<prop::sample::Index>(),
        which in 0..5_usize,
        seed in any::<u64>(),
    ) {
        let corpus = &corpora()[which];
        let (topic, message) = &corpus.messages[at.index(corpus.messages.len())];
        let mut shuffled = String::new();
        write_shuffled(message, seed, &mut shuffled);
        let plain = convert(corpus, topic, message.to_string().as_bytes());
        prop_assert_eq!(convert(corpus, topic, shuffled.as_bytes()), plain);
    }

    #[test]
    fn any_bytes_convert_or_refuse(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cut in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        which in 0..5_usize,
    ) {
        let corpus = &corpora()[which];
        let (topic, message) = &corpus.messages[at.index(corpus.messages.len())];
        convert(corpus, topic, &bytes);
        // A message with some bytes of it replaced.
        let mut message = message.to_string().into_bytes();
        let start = cut.index(message.len());
        let end = (start + bytes.len() / 20).min(message.len());
        message.splice(start..end, bytes.iter().copied().take(8));
        convert(corpus, topic, &message);
        let mut lookups = corpus.intake.empty_lookups();
        let message = RawMessage { topic, value: Some(&message), schema: None };
        let _ = corpus.intake.apply_to_lookups(&message, &mut lookups);
    }
}

/// What is written is JSON with the identifiers that the engine asks for.
#[test]
fn converted_records_have_their_identifiers() {
    let mut count = 0;
    for corpus in corpora() {
        for (topic, message) in &corpus.messages {
            let bytes = message.to_string();
            let message = RawMessage { topic, value: Some(bytes.as_bytes()), schema: None };
            for record in corpus.intake.convert(&message, &corpus.lookups).records {
                let Some(value) = &record.value else {
                    assert_eq!(record.kind.as_ref(), "patron");
                    continue;
                };
                let value: Value = serde_json::from_slice(value).unwrap();
                if value.as_object().unwrap().is_empty() {
                    continue;
                }
                count += 1;
                assert_eq!(value["patron_id"], Value::from(record.key.clone()));
                assert!(value["library"].is_string());
            }
        }
    }
    assert!(count > 60, "{count}");
}
