//! `zeef generate --brokers`: an invented library on Kafka.

use std::collections::BTreeMap;

use zeef::sample::{SampleLibrary, SampleSettings, SampleSource};

use crate::harness::ConsumedMessage;

use super::test_site::WAIT_TIMEOUT;
use super::{SiteOptions, TestSite};

const ALL_RECIPIENTS: &[&str] = &[
    "deurwaarder",
    "ill-library",
    "kb-membership",
    "kb-recognition",
    "reservation-slip",
    "service-message",
    "statistics",
];

/// What these read.
const READ_SOURCES: &[SampleSource] = &[
    SampleSource::Patron,
    SampleSource::Consent,
    SampleSource::Objection,
    SampleSource::Settlement,
    SampleSource::Loan,
    SampleSource::Reservation,
    SampleSource::IllRequest,
    SampleSource::Debt,
];

/// librdkafka's own limit of a message.
const MESSAGE_BYTES_LIMIT: usize = 1_000_000;

type MessagesByKey = BTreeMap<Option<Vec<u8>>, Vec<Option<Vec<u8>>>>;

fn messages_by_key(
    messages: impl Iterator<Item = (Option<Vec<u8>>, Option<Vec<u8>>)>,
) -> MessagesByKey {
    let mut all = MessagesByKey::new();
    for (key, value) in messages {
        all.entry(key).or_default().push(value);
    }
    all
}

#[test]
fn generate_writes_records_where_a_run_can_join_them() {
    let options = SiteOptions { recipients: ALL_RECIPIENTS, ..SiteOptions::default() };
    let Some(site) = TestSite::new("generate", options) else {
        return;
    };
    let patrons = 120;
    let args = ["generate", "--patrons", "120", "--seed", "7", "--today", "2026-01-15"];
    let mut generate = site.spawn_command(&[&args[..], &["--poison"]].concat());
    assert_eq!(generate.wait_exit(WAIT_TIMEOUT), 0, "{}", generate.stderr());
    assert!(generate.stderr().contains("records of 120"), "{}", generate.stderr());

    assert!(generate.stderr().contains("1 that Kafka takes from no producer"));

    let today = jiff::civil::date(2026, 1, 15);
    let library = SampleLibrary::new(SampleSettings::new(7, patrons, today));
    // Nobody here reads the other kinds, which have no topic.
    assert!(generate.stderr().contains("of kinds that no recipient reads"));
    for source in SampleSource::ALL.iter().filter(|source| READ_SOURCES.contains(source)) {
        let made = library.messages_of_source(*source).map(|message| {
            (message.key.map(String::into_bytes), message.value.map(String::into_bytes))
        });
        let poison = library
            .invalid_records()
            .filter(|message| message.source == source.as_str())
            // What no producer may send is left out.
            .filter(|message| message.value.as_ref().is_none_or(|v| v.len() < MESSAGE_BYTES_LIMIT))
            .map(|message| (message.key, message.value));
        let rows = site.topics.read_committed(source.as_str());
        let found = rows.into_iter().map(|row: ConsumedMessage| (row.key, row.value));
        assert!(
            messages_by_key(found) == messages_by_key(made.chain(poison)),
            "{}",
            source.as_str()
        );
    }

    let zeef = site.run_until_end(&[]);
    assert!(!site.read_outputs("service-message").is_empty(), "{}", zeef.stderr());
    assert!(!site.read_outputs("kb-recognition").is_empty());
    assert!(!site.read_dead_letters().is_empty());
}

#[test]
fn generate_names_the_missing_topic() {
    let Some(site) = TestSite::without_topics("generate-missing", SiteOptions::default()) else {
        return;
    };
    let mut generate = site.spawn_command(&["generate", "--patrons", "1"]);
    assert_eq!(generate.wait_exit(WAIT_TIMEOUT), 1, "{}", generate.stderr());
    let said = generate.stderr();
    assert!(said.contains(&site.topics.full_name("patron")), "{said}");
    assert!(said.contains("zeef topics --apply"), "{said}");
}
