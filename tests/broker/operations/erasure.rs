//! Erasure to the end: after the broker's own compaction no topic of zeef has a
//! value of an erased patron, and what zeef says never had one.

use std::time::Duration;

use jiff::civil::Date;
use rustix::process::Signal;

use crate::harness::{Broker, Options as BrokerOptions, Record, Zeef, eventually};
use crate::marked::{Line, Marked, expect_nothing};

use super::site::WAIT;
use super::{Options, Site};

const RECIPIENTS: [&str; 8] = [
    "deurwaarder",
    "ill-library",
    "ill-library-contact",
    "kb-membership",
    "kb-recognition",
    "reservation-slip",
    "service-message",
    "statistics",
];
const SOURCES: [&str; 7] = [
    "patron",
    "consent",
    "objection",
    "loan",
    "reservation",
    "debt",
    "ill_request",
];
/// Compaction as quick as it can be; an hour is a second here.
const QUICK: [(&str, &str); 3] = [
    ("segment.ms", "1000"),
    ("max.compaction.lag.ms", "1000"),
    ("min.cleanable.dirty.ratio", "0.01"),
];

fn write(site: &Site<'_>, lines: &[Line]) {
    for source in SOURCES {
        let of_source = lines.iter().filter(|line| line.source == source);
        let records: Vec<Record> = of_source
            .map(|line| match &line.value {
                Some(value) => Record::new(&line.key, value),
                None => Record::tombstone(&line.key),
            })
            .collect();
        if !records.is_empty() {
            site.topics.write(source, &records);
        }
    }
}

/// What lies in a topic, that of aborted transactions too: a line per message.
fn all_of(site: &Site<'_>, topic: &str) -> String {
    let mut text = String::new();
    for row in site.topics.uncommitted(topic) {
        let parts = [row.key.as_deref(), row.value.as_deref()].into_iter();
        for part in parts.flatten() {
            text += &String::from_utf8_lossy(part);
            text.push(' ');
        }
        for (name, value) in &row.headers {
            let value = value.as_deref().unwrap_or_default();
            text += &format!("{name}={} ", String::from_utf8_lossy(value));
        }
        text.push('\n');
    }
    text
}

/// The topics of the site that zeef writes.
fn own_topics(site: &Site<'_>) -> Vec<String> {
    let mut topics = site.topics.list();
    topics.retain(|topic| !SOURCES.contains(&topic.as_str()));
    assert_eq!(topics.len(), RECIPIENTS.len() + 2, "{topics:?}");
    topics
}

/// Waits until every topic of zeef has nothing of `gone`, while all recipients
/// still have what is of `kept`.
#[track_caller]
fn wait_gone(site: &Site<'_>, gone: &[Marked], kept: &[Marked]) {
    let topics = own_topics(site);
    let mut left = String::new();
    let clean = |topic: &String, left: &mut String| {
        let text = all_of(site, topic);
        let mut marks = gone.iter().flat_map(|patron| patron.marks());
        let found = marks.find(|mark| text.contains(mark));
        if let Some(mark) = &found {
            *left = format!("{topic} has {mark}");
        }
        found.is_none()
    };
    let started = std::time::Instant::now();
    while !topics.iter().all(|topic| clean(topic, &mut left)) {
        assert!(started.elapsed() < WAIT, "not compacted: {left}");
        std::thread::sleep(Duration::from_millis(200));
    }
    for recipient in RECIPIENTS {
        let text = all_of(site, &format!("out.{recipient}"));
        for patron in kept {
            let mark = patron.mark();
            assert!(text.contains(&mark), "{recipient} lacks {mark}");
        }
    }
}

/// Nothing that the process says has a value of anybody.
fn check_said(zeef: &Zeef, all: &[Marked]) {
    let metrics = zeef.metrics().unwrap();
    let (_, health) = zeef.fetch("/health/ready").unwrap();
    for &patron in all {
        expect_nothing("/metrics", &metrics, patron);
        expect_nothing("/health/ready", &health, patron);
        expect_nothing("stderr", &zeef.stderr(), patron);
        expect_nothing("stdout", &zeef.stdout(), patron);
    }
}

fn stop(mut zeef: Zeef, all: &[Marked]) {
    check_said(&zeef, all);
    zeef.signal(Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT), 0);
    for &patron in all {
        expect_nothing("stderr", &zeef.stderr(), patron);
    }
}

fn today() -> Date {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    now.date()
}

/// How many outputs of some recipient were taken back for `reason`.
fn taken_back(zeef: &Zeef, reason: &str) -> f64 {
    let labels = [("reason", reason)];
    let found = zeef.metric("zeef_retractions_total", &labels);
    found.unwrap_or_default()
}

#[test]
fn after_an_erasure_compaction_leaves_nothing_of_the_patron() {
    let options = BrokerOptions {
        fast_cleaner: true,
        ..BrokerOptions::default()
    };
    let Some(broker) = Broker::own(options) else {
        return;
    };
    let site = Site::on(
        &broker,
        "erasure",
        Options {
            recipients: &RECIPIENTS,
            tables: "[state]\nsweep_seconds = 1",
            ..Options::default()
        },
    );
    site.apply();
    let outputs = RECIPIENTS.map(|recipient| format!("out.{recipient}"));
    for topic in outputs
        .iter()
        .map(String::as_str)
        .chain(["zeef.state.main"])
    {
        site.topics.alter(topic, &QUICK);
    }

    let all: Vec<Marked> = (0..9).map(Marked).collect();
    // Two have no record of their own yet, so what is theirs is held.
    let (known, held) = all.split_at(7);
    let (erased, kept) = known.split_at(3);
    for patron in &all {
        write(&site, &patron.records(today()));
    }
    for patron in known {
        write(&site, &[patron.patron()]);
    }
    let zeef = site.ready(&["--log-level", "trace"]);
    let loans = 7 * all.len();
    site.consumed(&zeef, "main", "loan", loans);
    for topic in &outputs {
        let text = all_of(&site, topic);
        for patron in known {
            assert!(text.contains(&patron.mark()), "{topic} {patron:?}");
        }
    }
    assert!(site.dead_letters().len() >= 6 * all.len());

    // Another name, a version that nobody can read, and an output that was
    // never committed; then the patrons are erased, one who never came too.
    let unreadable = Line {
        value: Some(format!("[\"{}\"]", erased[1].mark())),
        ..erased[1].erased()
    };
    write(&site, &[erased[0].patron_named(" anders"), unreadable]);
    write(&site, &[kept[0].patron_named(" anders")]);
    let aborted = site.topics.name("aborted");
    let aborted = crate::harness::Writer::transactional(&broker, &aborted, WAIT);
    aborted.begin();
    let output = Record::new("AAAAAAAAAAAAAAAAAAAAAQ", erased[0].mark()).to(0);
    aborted.write(&site.topics.name("out.service-message"), &[output]);
    aborted.abort();
    let corrected = [("recipient", "service-message")];
    eventually("the corrections are there", WAIT, || {
        let corrections = zeef.metric("zeef_corrections_total", &corrected);
        (corrections? >= 2.0).then_some(())
    });
    let gone: Vec<Marked> = erased.iter().chain(&held[..1]).copied().collect();
    let lines: Vec<Line> = gone.iter().map(|patron| patron.erased()).collect();
    write(&site, &lines);
    eventually("what they had is taken back", WAIT, || {
        (taken_back(&zeef, "patron_erased") > 0.0).then_some(())
    });
    wait_gone(&site, &gone, kept);

    // Only who is still unknown is waited for.
    let mut holds = site.zeef(&["holds", "--json"]);
    assert_eq!(holds.wait_exit(WAIT), 0, "{}", holds.stderr());
    let waiting: Vec<serde_json::Value> = serde_json::from_str(&holds.stdout()).unwrap();
    assert!(!waiting.is_empty());
    for &patron in &all {
        expect_nothing("holds", &holds.stdout(), patron);
    }
    write(&site, &[held[1].patron()]);
    let of_held = held[1].mark();
    eventually("what waited is released", WAIT, || {
        let waited = outputs
            .iter()
            .all(|topic| all_of(&site, topic).contains(&of_held));
        waited.then_some(())
    });
    stop(zeef, &all);
    down_while_erased(&site, kept, &gone, &all);
}

/// One more is erased while nothing runs, and the broker forgets even the null.
fn down_while_erased(site: &Site<'_>, kept: &[Marked], gone: &[Marked], all: &[Marked]) {
    let (last, kept) = kept.split_last().unwrap();
    write(site, &[last.erased()]);
    let forget = [&QUICK[..], &[("delete.retention.ms", "0")]].concat();
    site.topics.alter("patron", &forget);
    let someone = Marked(50);
    eventually("the null is compacted away", WAIT, || {
        // Without an append no segment is rolled: to each partition.
        let records = (0..2).map(|partition| Record::tombstone(someone.id()).to(partition));
        site.topics.write("patron", &records.collect::<Vec<_>>());
        std::thread::sleep(Duration::from_millis(300));
        let rows = site.topics.uncommitted("patron");
        let id = last.id();
        let found = rows
            .iter()
            .any(|row| row.key.as_deref() == Some(id.as_bytes()));
        (!found).then_some(())
    });

    let zeef = site.ready(&["--log-level", "trace"]);
    let gone = [gone, &[*last]].concat();
    wait_gone(site, &gone, kept);
    assert!(taken_back(&zeef, "patron_erased") >= RECIPIENTS.len() as f64);
    stop(zeef, all);
}
