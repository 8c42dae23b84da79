//! The admin door while zeef runs on Kafka.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;
use zeef::daemon::metrics::{METRICS, Sort};

use crate::harness::{Record, Writer, Zeef, eventually};

use super::site::WAIT;
use super::{Options, Site, loan, patron};

/// The partitions of a topic of which a process shows a lag.
fn lags(zeef: &Zeef, topic: &str) -> BTreeSet<u32> {
    let text = zeef.metrics().unwrap_or_default();
    let start = format!("zeef_consumer_lag{{lane=\"main\",topic=\"{topic}\",partition=\"");
    text.lines()
        .filter_map(|line| line.strip_prefix(&start)?.split('"').next()?.parse().ok())
        .collect()
}

#[test]
fn it_is_live_at_once_and_ready_when_the_table_is_built() {
    let Some(site) = Site::new("ready", Options::default()) else {
        return;
    };
    // The patrons behind an open transaction are not known yet.
    let long = Duration::from_secs(300);
    let upstream = Writer::transactional(site.broker, &site.topics.name("upstream"), long);
    upstream.begin();
    upstream.write(&site.topics.name("patron"), &[patron("P1", "Berg")]);
    site.topics.write("loan", &[loan("L1", "P1")]);

    let zeef = site.run(&[]);
    eventually("zeef is live", WAIT, || {
        (zeef.fetch("/health/live").ok()?.0 == 200).then_some(())
    });
    assert_eq!(zeef.fetch("/health/ready").unwrap().0, 503);
    eventually("it builds", WAIT, || {
        let (status, report) = zeef.fetch("/health/ready").ok()?;
        assert_eq!(status, 503, "{report}");
        (report == "main/0 building\n").then_some(())
    });
    upstream.commit();
    eventually("it is ready", WAIT, || zeef.ready().then_some(()));
    assert_eq!(
        zeef.fetch("/health/ready").unwrap(),
        (200, "main/0 ready\n".to_owned())
    );
    site.consumed(&zeef, "main", "loan", 1);
    site.check_loans(["L1".to_owned()]);
    assert_eq!(zeef.fetch("/nothing").unwrap().0, 404);
}

#[test]
fn a_standby_is_ready_and_takes_over() {
    let options = Options {
        partitions: 1,
        kafka: "session_timeout_ms = 6000",
        ..Options::default()
    };
    let Some(site) = Site::new("standby", options) else {
        return;
    };
    site.topics.write("patron", &[patron("P1", "Berg")]);
    let mut first = site.ready(&[]);
    site.consumed(&first, "main", "patron", 1);
    let second = site.ready(&["--instance", "two"]);
    eventually("one of them has the partition", WAIT, || {
        (first.ready() && second.ready()).then_some(())
    });
    let owners = || [&first, &second].map(|zeef| lags(zeef, "loan").len());
    eventually("lag is shown once", WAIT, || {
        (owners().iter().sum::<usize>() == 1).then_some(())
    });

    first.signal(Signal::KILL);
    first.wait_exit(WAIT);
    site.topics.write("loan", &[loan("L1", "P1")]);
    site.consumed(&second, "main", "loan", 1);
    site.check_loans(["L1".to_owned()]);
    eventually("it shows the lag", WAIT, || {
        (lags(&second, "loan") == BTreeSet::from([0])).then_some(())
    });
}

#[test]
fn a_process_shows_the_lag_of_its_own_partitions_only() {
    let Some(site) = Site::new("lag", Options::default()) else {
        return;
    };
    site.topics.write("patron", &[patron("P1", "Berg")]);
    let first = site.ready(&[]);
    let both = BTreeSet::from([0, 1]);
    for topic in ["patron", "consent", "loan"] {
        eventually("lag of all partitions", WAIT, || {
            (lags(&first, topic) == both).then_some(())
        });
    }
    let second = site.ready(&["--instance", "two"]);
    for topic in ["patron", "consent", "loan"] {
        eventually("each shows half", WAIT, || {
            let (one, two) = (lags(&first, topic), lags(&second, topic));
            let halves = one.len() == 1 && two.len() == 1;
            (halves && one.union(&two).copied().eq(both.iter().copied())).then_some(())
        });
    }
}

#[test]
fn every_metric_that_applies_is_shown() {
    let options = Options {
        recipients: &["service-message", "statistics", "kb-recognition"],
        tables: "[rates]\nkb-recognition = { records_per_s = 1, burst = 1 }",
        ..Options::default()
    };
    let Some(site) = Site::new("metrics", options) else {
        return;
    };
    site.topics
        .write("patron", &[patron("P1", "Berg"), patron("P2", "Dijk")]);
    let returned = Record::new(
        "P1",
        r#"{"loan_id":"L2","patron_id":"P1","library":"NL-AmrBKW","status":"returned","due_on":"soon"}"#,
    );
    let untitled = Record::new(
        "P1",
        r#"{"loan_id":"L3","patron_id":"P1","library":"NL-AmrBKW","status":"open","item":7}"#,
    );
    let torn = Record::new("P1", "{");
    site.topics
        .write("loan", &[loan("L1", "P1"), returned, untitled, torn]);
    let consent = r#"{"consent_id":"C1","patron_id":"P1","library":"NL-AmrBKW","purpose":"knitting","decision":"refused"}"#;
    site.topics.write("consent", &[Record::new("P1", consent)]);

    let zeef = site.ready(&[]);
    site.consumed(&zeef, "main", "loan", 4);
    eventually("the lag is known", WAIT, || {
        (!lags(&zeef, "loan").is_empty()).then_some(())
    });
    let text = zeef.metrics().unwrap();
    // No shipped recipient of these has free text or a mask with a limit.
    // Nor has one a paper that ends.
    let absent = [
        "zeef_detector_hits_total",
        "zeef_mask_limits_total",
        "zeef_agreement_days_left",
        "zeef_authorisation_days_left",
        // And nothing is taken back here.
        "zeef_retractions_total",
    ];
    for metric in METRICS
        .iter()
        .filter(|metric| !absent.contains(&metric.name))
    {
        let series = match metric.sort {
            Sort::Histogram => format!("{}_bucket{{", metric.name),
            Sort::Counter | Sort::Gauge if metric.labels.is_empty() => format!("{} ", metric.name),
            Sort::Counter | Sort::Gauge => format!("{}{{", metric.name),
        };
        let shown = text.lines().find(|line| line.starts_with(&series));
        let shown = shown.unwrap_or_else(|| panic!("expected {} in {text}", metric.name));
        for label in metric.labels.split(", ").filter(|label| !label.is_empty()) {
            assert!(shown.contains(&format!("{label}=\"")), "{label}: {shown}");
        }
    }
    for (name, labels, want) in [
        ("zeef_records_consumed_total", &[("topic", "loan")][..], 4.0),
        (
            "zeef_records_released_total",
            &[("recipient", "kb-recognition")],
            2.0,
        ),
        ("zeef_records_refused_total", &[("reason", "not_json")], 1.0),
        ("zeef_records_applied_total", &[("topic", "consent")], 1.0),
        // One whole, and one for each recipient that needs the item.
        ("zeef_dead_letters_total", &[], 3.0),
        ("zeef_batches_aborted_total", &[], 0.0),
        ("zeef_table_patrons", &[], 2.0),
    ] {
        assert_eq!(zeef.metric(name, labels), Some(want), "{name} {labels:?}");
    }
}
