//! Erasure to the end: after the broker's own compaction no topic of zeef has a
//! value of an erased patron, and what zeef says never had one.

use std::collections::BTreeSet;
use std::time::Instant;

use rustix::process::Signal;

use crate::harness::{Broker, Options as BrokerOptions, Record, Writer, Zeef, eventually};
use crate::marked::{Line, Marked, expect_nothing};

use super::site::{RECIPIENTS, SOURCES, WAIT, today};
use super::{Options, Site};

/// Compaction as quick as it can be; an hour is a second here.
const QUICK: [(&str, &str); 3] = [
    ("segment.ms", "1000"),
    ("max.compaction.lag.ms", "1000"),
    ("min.cleanable.dirty.ratio", "0.01"),
];

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
    assert_eq!(topics.len(), RECIPIENTS.len() + 4, "{topics:?}");
    topics
}

/// Waits until every topic of zeef has nothing of `gone`, while all recipients
/// still have what is of `kept`; does something before each look.
#[track_caller]
fn wait_gone(site: &Site<'_>, gone: &[Marked], kept: &[Marked], mut before: impl FnMut()) {
    let topics = own_topics(site);
    let marks: Vec<String> = gone.iter().flat_map(|patron| patron.marks()).collect();
    let found = |topic: &String| {
        let text = all_of(site, topic);
        let mark = marks.iter().find(|mark| text.contains(*mark))?;
        Some(format!("{topic} has {mark}"))
    };
    let started = Instant::now();
    loop {
        before();
        let Some(left) = topics.iter().find_map(found) else {
            break;
        };
        assert!(started.elapsed() < WAIT, "not compacted: {left}");
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

    // A first run, so that what lies in the outputs before the next is no surprise.
    site.until_end(&[]);

    let all: Vec<Marked> = (0..9).map(Marked).collect();
    // Two have no record of their own yet, so what is theirs is held.
    let (known, held) = all.split_at(7);
    let (erased, kept) = known.split_at(3);
    for patron in &all {
        site.write(&patron.records(today()));
    }
    for patron in known {
        site.write(&[patron.patron()]);
    }
    // As an earlier run may have left it.
    let aborted = site.topics.name("aborted");
    let aborted = Writer::transactional(&broker, &aborted, WAIT);
    aborted.begin();
    let output = Record::new("AAAAAAAAAAAAAAAAAAAAAQ", all[0].mark()).to(0);
    aborted.write(&site.topics.name("out.service-message"), &[output]);
    aborted.abort();
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

    // Another name, and a version that nobody can read; then the patrons are
    // erased, one who never came too.
    let unreadable = Line {
        value: Some(format!("[\"{}\"]", erased[1].mark())),
        ..erased[1].erased()
    };
    site.write(&[erased[0].patron_named(" anders"), unreadable]);
    site.write(&[kept[0].patron_named(" anders")]);
    let corrected = [("recipient", "service-message")];
    eventually("the corrections are there", WAIT, || {
        let corrections = zeef.metric("zeef_corrections_total", &corrected);
        (corrections? >= 2.0).then_some(())
    });
    let gone: Vec<Marked> = erased.iter().chain(&held[..1]).copied().collect();
    let lines: Vec<Line> = gone.iter().map(|patron| patron.erased()).collect();
    site.write(&lines);
    eventually("what they had is taken back", WAIT, || {
        (taken_back(&zeef, "patron_erased") > 0.0).then_some(())
    });
    wait_gone(&site, &gone, kept, || ());

    // Only who is still unknown is waited for.
    let mut holds = site.zeef(&["holds", "--json"]);
    assert_eq!(holds.wait_exit(WAIT), 0, "{}", holds.stderr());
    let waiting: Vec<serde_json::Value> = serde_json::from_str(&holds.stdout()).unwrap();
    let whose: BTreeSet<&str> = waiting
        .iter()
        .filter_map(|one| one["patron"].as_str())
        .collect();
    assert_eq!(whose.len(), 1, "{waiting:?}");
    for &patron in &all {
        expect_nothing("holds", &holds.stdout(), patron);
    }
    site.write(&[held[1].patron()]);
    let of_held = held[1].mark();
    eventually("what waited is released", WAIT, || {
        let waited = outputs
            .iter()
            .all(|topic| all_of(&site, topic).contains(&of_held));
        waited.then_some(())
    });
    stop(zeef, &all);

    let [.., second, last] = *kept else {
        panic!("expected two more to erase");
    };
    let kept = &kept[..kept.len() - 2];
    forgotten_while_down(&site, last, &[kept, &[second]].concat(), &all);
    by_runs_that_end(&site, second, kept);
}

/// One more is erased while nothing runs, and the broker forgets even the null.
fn forgotten_while_down(site: &Site<'_>, patron: Marked, kept: &[Marked], all: &[Marked]) {
    site.write(&[patron.erased()]);
    let forget = [&QUICK[..], &[("delete.retention.ms", "0")]].concat();
    site.topics.alter("patron", &forget);
    // Without an append no segment is rolled; these lie in both partitions.
    let others: Vec<Line> = (50..58).map(|number| Marked(number).erased()).collect();
    eventually("the null is compacted away", WAIT, || {
        site.write(&others);
        let rows = site.topics.uncommitted("patron");
        let id = patron.id();
        let is_there = rows
            .iter()
            .any(|row| row.key.as_deref() == Some(id.as_bytes()));
        (!is_there).then_some(())
    });

    let zeef = site.ready(&["--log-level", "trace"]);
    wait_gone(site, &[patron], kept, || ());
    assert!(taken_back(&zeef, "patron_erased") >= RECIPIENTS.len() as f64);
    stop(zeef, all);
}

/// Each run ends before a segment could be rolled; the next one sees to it.
fn by_runs_that_end(site: &Site<'_>, patron: Marked, kept: &[Marked]) {
    site.write(&[patron.erased()]);
    wait_gone(site, &[patron], kept, || {
        site.until_end(&[]);
    });
}
