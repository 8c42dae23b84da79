//! `zeef generate --brokers`: an invented library on Kafka.

use std::collections::BTreeMap;

use zeef::sample::{Library, Settings, Source};

use crate::harness::Row;

use super::site::WAIT;
use super::{Options, Site};

const EVERYONE: &[&str] = &[
    "deurwaarder",
    "ill-library",
    "kb-membership",
    "kb-recognition",
    "reservation-slip",
    "service-message",
    "statistics",
];

/// librdkafka's own limit of a message.
const LARGE: usize = 1_000_000;

type PerKey = BTreeMap<Option<Vec<u8>>, Vec<Option<Vec<u8>>>>;

fn per_key(messages: impl Iterator<Item = (Option<Vec<u8>>, Option<Vec<u8>>)>) -> PerKey {
    let mut all = PerKey::new();
    for (key, value) in messages {
        all.entry(key).or_default().push(value);
    }
    all
}

#[test]
fn generated_records_lie_where_a_run_can_join_them() {
    let options = Options {
        recipients: EVERYONE,
        ..Options::default()
    };
    let Some(site) = Site::new("generate", options) else {
        return;
    };
    let patrons = 120;
    let args = [
        "generate",
        "--patrons",
        "120",
        "--seed",
        "7",
        "--today",
        "2026-01-15",
    ];
    let mut generate = site.zeef(&[&args[..], &["--poison"]].concat());
    assert_eq!(generate.wait_exit(WAIT), 0, "{}", generate.stderr());
    assert!(
        generate.stderr().contains("records of 120"),
        "{}",
        generate.stderr()
    );

    assert!(
        generate
            .stderr()
            .contains("1 that Kafka takes from no producer")
    );

    let today = jiff::civil::date(2026, 1, 15);
    let library = Library::new(Settings::new(7, patrons, today));
    for source in Source::ALL {
        let made = library.source(*source).map(|message| {
            (
                Some(message.key.into_bytes()),
                message.value.map(String::into_bytes),
            )
        });
        let poison = library
            .poison()
            .filter(|message| message.source == source.as_str())
            // What no producer may send is left out.
            .filter(|message| message.value.as_ref().is_none_or(|v| v.len() < LARGE))
            .map(|message| (message.key, message.value));
        let rows = site.topics.committed(source.as_str());
        let found = rows.into_iter().map(|row: Row| (row.key, row.value));
        assert!(
            per_key(found) == per_key(made.chain(poison)),
            "{}",
            source.as_str()
        );
    }

    let zeef = site.until_end(&[]);
    assert!(
        !site.outputs("service-message").is_empty(),
        "{}",
        zeef.stderr()
    );
    assert!(!site.outputs("kb-recognition").is_empty());
    assert!(!site.dead_letters().is_empty());
}

#[test]
fn generate_says_which_topic_is_missing() {
    let Some(site) = Site::bare("generate-missing", Options::default()) else {
        return;
    };
    let mut generate = site.zeef(&["generate", "--patrons", "1"]);
    assert_eq!(generate.wait_exit(WAIT), 1, "{}", generate.stderr());
    let said = generate.stderr();
    assert!(said.contains(&site.topics.name("patron")), "{said}");
    assert!(said.contains("zeef topics --apply"), "{said}");
}
