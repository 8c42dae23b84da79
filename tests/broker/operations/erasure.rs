//! Erasure to the end: after the broker's own compaction no topic of zeef has a
//! value of an erased patron, and what zeef says never had one.

use std::collections::BTreeSet;
use std::time::Instant;

use rustix::process::Signal;

use crate::harness::{
    Broker, BrokerOptions, ProducerRecord, TestProducer, ZeefProcess, eventually,
};
use zeef_test_kit::marked_patrons::{MarkedLine, MarkedPatron, assert_no_traces};

use super::test_site::{ALL_RECIPIENTS, ALL_SOURCES, WAIT_TIMEOUT, today};
use super::{SiteOptions, TestSite};

/// Compaction as quick as it can be; an hour is a second here.
const FAST_COMPACTION: [(&str, &str); 3] = [
    ("segment.ms", "1000"),
    ("max.compaction.lag.ms", "1000"),
    ("min.cleanable.dirty.ratio", "0.01"),
];

/// What lies in a topic, that of aborted transactions too: a line per message.
fn read_topic_text(site: &TestSite<'_>, topic: &str) -> String {
    let mut text = String::new();
    for row in site.topics.read_uncommitted(topic) {
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
fn topics_written_by_zeef(site: &TestSite<'_>) -> Vec<String> {
    let mut topics = site.topics.list();
    topics.retain(|topic| !ALL_SOURCES.contains(&topic.as_str()));
    assert_eq!(topics.len(), ALL_RECIPIENTS.len() + 4, "{topics:?}");
    topics
}

/// Waits until every topic of zeef has nothing of `gone`, while all recipients
/// still have what is of `kept`; does something before each look.
#[track_caller]
fn wait_until_compacted_away(
    site: &TestSite<'_>,
    erased: &[MarkedPatron],
    kept: &[MarkedPatron],
    mut before_each_look: impl FnMut(),
) {
    let topics = topics_written_by_zeef(site);
    let marks: Vec<String> = erased.iter().flat_map(|patron| patron.distinctive_values()).collect();
    let found = |topic: &String| {
        let text = read_topic_text(site, topic);
        let mark = marks.iter().find(|mark| text.contains(*mark))?;
        Some(format!("{topic} has {mark}"))
    };
    let started = Instant::now();
    loop {
        before_each_look();
        let Some(left) = topics.iter().find_map(found) else {
            break;
        };
        assert!(started.elapsed() < WAIT_TIMEOUT, "not compacted: {left}");
    }
    for recipient in ALL_RECIPIENTS {
        let text = read_topic_text(site, &format!("out.{recipient}"));
        for patron in kept {
            let mark = patron.marker();
            assert!(text.contains(&mark), "{recipient} lacks {mark}");
        }
    }
}

/// Nothing that the process says has a value of anybody.
fn check_output_names_nobody(zeef: &ZeefProcess, all: &[MarkedPatron]) {
    let metrics = zeef.fetch_metrics().unwrap();
    let (_, health) = zeef.get_admin_path("/health/ready").unwrap();
    for &patron in all {
        assert_no_traces("/metrics", &metrics, patron);
        assert_no_traces("/health/ready", &health, patron);
        assert_no_traces("stderr", &zeef.stderr(), patron);
        assert_no_traces("stdout", &zeef.stdout(), patron);
    }
}

fn stop_and_check_output(mut zeef: ZeefProcess, all: &[MarkedPatron]) {
    check_output_names_nobody(&zeef, all);
    zeef.send_signal(Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0);
    for &patron in all {
        assert_no_traces("stderr", &zeef.stderr(), patron);
    }
}

/// How many outputs of some recipient were taken back for `reason`.
fn count_retractions(zeef: &ZeefProcess, reason: &str) -> f64 {
    let labels = [("reason", reason)];
    let found = zeef.fetch_metric_sum("zeef_retractions_total", &labels);
    found.unwrap_or_default()
}

#[test]
fn f45_erasure_and_compaction_leave_nothing_of_the_patron() {
    let options = BrokerOptions { fast_cleaner: true, ..BrokerOptions::default() };
    let Some(broker) = Broker::start_own(options) else {
        return;
    };
    let site = TestSite::on_broker(
        &broker,
        "erasure",
        SiteOptions {
            recipients: &ALL_RECIPIENTS,
            extra_tables: "[state]\nsweep_seconds = 1",
            ..SiteOptions::default()
        },
    );
    site.apply_topics();
    let outputs = ALL_RECIPIENTS.map(|recipient| format!("out.{recipient}"));
    for topic in outputs.iter().map(String::as_str).chain(["zeef.state.main"]) {
        site.topics.alter_settings(topic, &FAST_COMPACTION);
    }

    // A first run, so that what lies in the outputs before the next is no surprise.
    site.run_until_end(&[]);

    let all: Vec<MarkedPatron> = (0..9).map(MarkedPatron).collect();
    // Two have no record of their own yet, so what is theirs is held.
    let (known, held) = all.split_at(7);
    let (erased, kept) = known.split_at(3);
    for patron in &all {
        site.write_marked(&patron.record_lines(today()));
    }
    for patron in known {
        site.write_marked(&[patron.patron_line()]);
    }
    // As an earlier run may have left it.
    let aborted = site.topics.full_name("aborted");
    let aborted = TestProducer::transactional(&broker, &aborted, WAIT_TIMEOUT);
    aborted.begin_transaction();
    let output = ProducerRecord::new("AAAAAAAAAAAAAAAAAAAAAQ", all[0].marker()).in_partition(0);
    aborted.write_records(&site.topics.full_name("out.service-message"), &[output]);
    aborted.abort_transaction();
    let zeef = site.spawn_ready_run(&["--log-level", "trace"]);
    let loans = 7 * all.len();
    site.wait_consumed(&zeef, "main", "loan", loans);
    for topic in &outputs {
        let text = read_topic_text(&site, topic);
        for patron in known {
            assert!(text.contains(&patron.marker()), "{topic} {patron:?}");
        }
    }
    assert!(site.read_dead_letters().len() >= 6 * all.len());

    // Another name, and a version that nobody can read; then the patrons are
    // erased, one who never came too.
    let unreadable = MarkedLine {
        value: Some(format!("[\"{}\"]", erased[1].marker())),
        ..erased[1].erasure_line()
    };
    site.write_marked(&[erased[0].patron_line_with_surname_suffix(" anders"), unreadable]);
    site.write_marked(&[kept[0].patron_line_with_surname_suffix(" anders")]);
    let corrected = [("recipient", "service-message")];
    eventually("the corrections are there", WAIT_TIMEOUT, || {
        let corrections = zeef.fetch_metric_sum("zeef_corrections_total", &corrected);
        (corrections? >= 2.0).then_some(())
    });
    let gone: Vec<MarkedPatron> = erased.iter().chain(&held[..1]).copied().collect();
    let lines: Vec<MarkedLine> = gone.iter().map(|patron| patron.erasure_line()).collect();
    site.write_marked(&lines);
    eventually("what they had is taken back", WAIT_TIMEOUT, || {
        (count_retractions(&zeef, "patron_erased") > 0.0).then_some(())
    });
    wait_until_compacted_away(&site, &gone, kept, || ());

    // Only who is still unknown is waited for.
    let mut holds = site.spawn_command(&["holds", "--json"]);
    assert_eq!(holds.wait_exit(WAIT_TIMEOUT), 0, "{}", holds.stderr());
    let waiting: Vec<serde_json::Value> = serde_json::from_str(&holds.stdout()).unwrap();
    let whose: BTreeSet<&str> = waiting.iter().filter_map(|one| one["patron"].as_str()).collect();
    assert_eq!(whose.len(), 1, "{waiting:?}");
    for &patron in &all {
        assert_no_traces("holds", &holds.stdout(), patron);
    }
    site.write_marked(&[held[1].patron_line()]);
    let of_held = held[1].marker();
    eventually("what waited is released", WAIT_TIMEOUT, || {
        let waited = outputs.iter().all(|topic| read_topic_text(&site, topic).contains(&of_held));
        waited.then_some(())
    });
    stop_and_check_output(zeef, &all);

    let [.., second, last] = *kept else {
        panic!("expected two more to erase");
    };
    let kept = &kept[..kept.len() - 2];
    check_null_compacted_while_stopped(&site, last, &[kept, &[second]].concat(), &all);
    check_erasure_by_until_end_runs(&site, second, kept);
}

/// One more is erased while nothing runs, and the broker forgets even the null.
fn check_null_compacted_while_stopped(
    site: &TestSite<'_>,
    patron: MarkedPatron,
    kept: &[MarkedPatron],
    all: &[MarkedPatron],
) {
    site.write_marked(&[patron.erasure_line()]);
    let forget = [&FAST_COMPACTION[..], &[("delete.retention.ms", "0")]].concat();
    site.topics.alter_settings("patron", &forget);
    // Without an append no segment is rolled; these lie in both partitions.
    let others: Vec<MarkedLine> =
        (50..58).map(|number| MarkedPatron(number).erasure_line()).collect();
    eventually("the null is compacted away", WAIT_TIMEOUT, || {
        site.write_marked(&others);
        let rows = site.topics.read_uncommitted("patron");
        let id = patron.patron_id();
        let is_there = rows.iter().any(|row| row.key.as_deref() == Some(id.as_bytes()));
        (!is_there).then_some(())
    });

    let zeef = site.spawn_ready_run(&["--log-level", "trace"]);
    wait_until_compacted_away(site, &[patron], kept, || ());
    assert!(count_retractions(&zeef, "patron_erased") >= ALL_RECIPIENTS.len() as f64);
    stop_and_check_output(zeef, all);
}

/// Each run ends before a segment could be rolled; the next one sees to it.
fn check_erasure_by_until_end_runs(
    site: &TestSite<'_>,
    patron: MarkedPatron,
    kept: &[MarkedPatron],
) {
    site.write_marked(&[patron.erasure_line()]);
    wait_until_compacted_away(site, &[patron], kept, || {
        site.run_until_end(&[]);
    });
}
