//! The admin door while zeef runs on Kafka.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;
use zeef::daemon::metrics::{METRICS, MetricKind};

use crate::harness::{ProducerRecord, TestProducer, ZeefProcess, eventually};

use super::test_site::WAIT_TIMEOUT;
use super::{SiteOptions, TestSite, open_loan, patron_record};

/// The partitions of a topic of which a process shows a lag.
fn partitions_with_lag(zeef: &ZeefProcess, topic: &str) -> BTreeSet<u32> {
    let text = zeef.fetch_metrics().unwrap_or_default();
    let start = format!("zeef_consumer_lag{{lane=\"main\",topic=\"{topic}\",partition=\"");
    text.lines()
        .filter_map(|line| line.strip_prefix(&start)?.split('"').next()?.parse().ok())
        .collect()
}

#[test]
fn health_is_live_at_once_and_ready_when_the_table_is_built() {
    let Some(site) = TestSite::new("ready", SiteOptions::default()) else {
        return;
    };
    // The patrons behind an open transaction are not known yet.
    let long = Duration::from_secs(300);
    let upstream =
        TestProducer::transactional(site.broker, &site.topics.full_name("upstream"), long);
    upstream.begin_transaction();
    upstream.write_records(&site.topics.full_name("patron"), &[patron_record("P1", "Berg")]);
    site.topics.write_records("loan", &[open_loan("L1", "P1")]);

    let zeef = site.spawn_run(&[]);
    eventually("zeef is live", WAIT_TIMEOUT, || {
        (zeef.get_admin_path("/health/live").ok()?.0 == 200).then_some(())
    });
    assert_eq!(zeef.get_admin_path("/health/ready").unwrap().0, 503);
    eventually("it builds", WAIT_TIMEOUT, || {
        let (status, report) = zeef.get_admin_path("/health/ready").ok()?;
        assert_eq!(status, 503, "{report}");
        (report == "main/0 building\n").then_some(())
    });
    upstream.commit_transaction();
    eventually("it is ready", WAIT_TIMEOUT, || zeef.is_ready().then_some(()));
    assert_eq!(zeef.get_admin_path("/health/ready").unwrap(), (200, "main/0 ready\n".to_owned()));
    site.wait_consumed(&zeef, "main", "loan", 1);
    site.check_loans_delivered(["L1".to_owned()]);
    assert_eq!(zeef.get_admin_path("/nothing").unwrap().0, 404);
}

#[test]
fn standby_process_is_ready_and_takes_over() {
    let options = SiteOptions {
        partitions: 1,
        kafka_lines: "session_timeout_ms = 6000",
        ..SiteOptions::default()
    };
    let Some(site) = TestSite::new("standby", options) else {
        return;
    };
    site.topics.write_records("patron", &[patron_record("P1", "Berg")]);
    let mut first = site.spawn_ready_run(&[]);
    site.wait_consumed(&first, "main", "patron", 1);
    let second = site.spawn_ready_run(&["--instance", "two"]);
    eventually("one of them has the partition", WAIT_TIMEOUT, || {
        (first.is_ready() && second.is_ready()).then_some(())
    });
    let owners = || [&first, &second].map(|zeef| partitions_with_lag(zeef, "loan").len());
    eventually("lag is shown once", WAIT_TIMEOUT, || {
        (owners().iter().sum::<usize>() == 1).then_some(())
    });

    first.send_signal(Signal::KILL);
    first.wait_exit(WAIT_TIMEOUT);
    site.topics.write_records("loan", &[open_loan("L1", "P1")]);
    site.wait_consumed(&second, "main", "loan", 1);
    site.check_loans_delivered(["L1".to_owned()]);
    eventually("it shows the lag", WAIT_TIMEOUT, || {
        (partitions_with_lag(&second, "loan") == BTreeSet::from([0])).then_some(())
    });
}

#[test]
fn lag_metric_covers_the_owned_partitions_only() {
    let Some(site) = TestSite::new("lag", SiteOptions::default()) else {
        return;
    };
    site.topics.write_records("patron", &[patron_record("P1", "Berg")]);
    let first = site.spawn_ready_run(&[]);
    let both = BTreeSet::from([0, 1]);
    for topic in ["patron", "consent", "loan"] {
        eventually("lag of all partitions", WAIT_TIMEOUT, || {
            (partitions_with_lag(&first, topic) == both).then_some(())
        });
    }
    let second = site.spawn_ready_run(&["--instance", "two"]);
    for topic in ["patron", "consent", "loan"] {
        eventually("each shows half", WAIT_TIMEOUT, || {
            let (one, two) =
                (partitions_with_lag(&first, topic), partitions_with_lag(&second, topic));
            let halves = one.len() == 1 && two.len() == 1;
            (halves && one.union(&two).copied().eq(both.iter().copied())).then_some(())
        });
    }
}

/// What the site of the next test has no reason to show.
const ABSENT_METRICS: [&str; 10] = [
    // No shipped recipient of these has free text or a mask with a limit.
    "zeef_detector_hits_total",
    "zeef_mask_limits_total",
    // Nor has one a paper that ends.
    "zeef_agreement_days_left",
    "zeef_authorisation_days_left",
    // And nothing is taken back here, nor is anything marketing.
    "zeef_retractions_total",
    "zeef_marketing_stop_seconds",
    // No shipped recipient acknowledges, or names its group.
    "zeef_retractions_unacknowledged",
    "zeef_retractions_overdue",
    "zeef_acknowledgements_total",
    "zeef_partner_read_lag",
];

#[test]
fn metrics_endpoint_shows_every_metric_that_applies() {
    let options = SiteOptions {
        recipients: &["service-message", "statistics", "kb-recognition"],
        extra_tables: "[rates]\nkb-recognition = { records_per_s = 1, burst = 1 }",
        ..SiteOptions::default()
    };
    let Some(site) = TestSite::new("metrics", options) else {
        return;
    };
    site.topics
        .write_records("patron", &[patron_record("P1", "Berg"), patron_record("P2", "Dijk")]);
    let returned = ProducerRecord::new(
        "P1",
        r#"{"loan_id":"L2","patron_id":"P1","library":"NL-AmrBKW","status":"returned","due_on":"soon"}"#,
    );
    let untitled = ProducerRecord::new(
        "P1",
        r#"{"loan_id":"L3","patron_id":"P1","library":"NL-AmrBKW","status":"open","item":7}"#,
    );
    let torn = ProducerRecord::new("P1", "{");
    site.topics.write_records("loan", &[open_loan("L1", "P1"), returned, untitled, torn]);
    let consent = r#"{"consent_id":"C1","patron_id":"P1","library":"NL-AmrBKW","purpose":"knitting","decision":"refused"}"#;
    site.topics.write_records("consent", &[ProducerRecord::new("P1", consent)]);

    let zeef = site.spawn_ready_run(&[]);
    site.wait_consumed(&zeef, "main", "loan", 4);
    eventually("the lag is known", WAIT_TIMEOUT, || {
        (!partitions_with_lag(&zeef, "loan").is_empty()).then_some(())
    });
    let text = zeef.fetch_metrics().unwrap();
    // Those of an intake are looked at where one runs.
    let is_absent = |name: &str| {
        // Neither intakes nor checkpoints are switched on.
        let prefixes = ["zeef_intake_", "zeef_checkpoint_"];
        ABSENT_METRICS.contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    for metric in METRICS.iter().filter(|metric| !is_absent(metric.name)) {
        let series = match metric.kind {
            MetricKind::Histogram => format!("{}_bucket{{", metric.name),
            MetricKind::Counter | MetricKind::Gauge if metric.labels.is_empty() => {
                format!("{} ", metric.name)
            }
            MetricKind::Counter | MetricKind::Gauge => format!("{}{{", metric.name),
        };
        let shown = text.lines().find(|line| line.starts_with(&series));
        let shown = shown.unwrap_or_else(|| panic!("expected {} in {text}", metric.name));
        for label in metric.labels.split(", ").filter(|label| !label.is_empty()) {
            assert!(shown.contains(&format!("{label}=\"")), "{label}: {shown}");
        }
    }
    for (name, labels, want) in [
        ("zeef_records_consumed_total", &[("topic", "loan")][..], 4.0),
        ("zeef_records_released_total", &[("recipient", "kb-recognition")], 2.0),
        ("zeef_records_refused_total", &[("reason", "not_json")], 1.0),
        ("zeef_records_applied_total", &[("topic", "consent")], 1.0),
        // One whole, and one for each recipient that needs the item.
        ("zeef_dead_letters_total", &[], 3.0),
        ("zeef_batches_aborted_total", &[], 0.0),
        ("zeef_table_patrons", &[], 2.0),
    ] {
        assert_eq!(zeef.fetch_metric_sum(name, labels), Some(want), "{name} {labels:?}");
    }
}
