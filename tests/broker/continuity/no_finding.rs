//! Ordinary days, of which none is a stop.

use super::ContinuityFixture;
use super::fixture::PATRON_COUNT;
use crate::harness::{Broker, BrokerOptions, eventually};
use crate::operations::test_site::{SiteOptions, TestSite, WAIT_TIMEOUT, open_loan, patron_record};

#[test]
fn first_start_on_empty_topics_and_restart_is_no_finding() {
    let Some(fixture) = ContinuityFixture::without_records("first") else {
        return;
    };
    let zeef = fixture.0.spawn_ready_run(&[]);
    fixture.stop_process(zeef);
    fixture.run_until_end();
    let zeef = fixture.0.spawn_ready_run(&[]);
    fixture.write_all(PATRON_COUNT);
    eventually("loans come out", WAIT_TIMEOUT, || {
        (fixture.delivered_loans().len() == PATRON_COUNT).then_some(())
    });
    fixture.stop_process(zeef);
    fixture.run_until_end();
    assert_eq!(fixture.delivered_loans().len(), PATRON_COUNT);
}

#[test]
fn retention_of_records_already_read_is_no_finding() {
    let Some(fixture) = ContinuityFixture::with_records_read("retention") else {
        return;
    };
    let before = fixture.read_all_outputs();
    // Some of it, then all: a quiet source is emptied.
    fixture.0.topics.delete_records_before("loan", 0, 3);
    fixture.run_until_end();
    fixture.0.topics.delete_records_before("loan", 0, i64::try_from(PATRON_COUNT).unwrap());
    let zeef = fixture.0.spawn_ready_run(&[]);
    assert_eq!(fixture.read_all_outputs(), before);
    fixture.write_loans("N", 0..1);
    eventually("the loan comes out", WAIT_TIMEOUT, || {
        fixture.delivered_loans().contains(&"N0".to_owned()).then_some(())
    });
    fixture.stop_process(zeef);
    fixture.run_until_end();
}

/// The broker restarts, and compaction takes records that anchors point at.
#[test]
fn compaction_of_anchors_and_a_broker_restart_is_no_finding() {
    let options = BrokerOptions { fast_cleaner: true, ..BrokerOptions::default() };
    let Some(broker) = Broker::start_own(options) else {
        return;
    };
    let options = SiteOptions {
        recipients: &["service-message"],
        partitions: 1,
        extra_tables: "[state]\ncheck_seconds = 1",
        ..SiteOptions::default()
    };
    let site = TestSite::on_broker(&broker, "compaction", options);
    site.apply_topics();
    let quick = [("segment.ms", "500"), ("min.cleanable.dirty.ratio", "0.01")];
    site.topics.alter_settings("patron", &quick);
    site.topics.write_records("patron", &[patron_record("P0", "Berg")]);
    site.topics.write_records("loan", &[open_loan("L0", "P0")]);
    site.run_until_end(&[]);
    let zeef = site.spawn_ready_run(&[]);
    eventually("compaction takes the first record", WAIT_TIMEOUT, || {
        site.topics.write_records("patron", &[patron_record("P0", "Berg")]);
        let rows = site.topics.read_committed("patron");
        (rows.first()?.offset > 0).then_some(())
    });
    broker.restart();
    site.topics.write_records("loan", &[open_loan("L1", "P0")]);
    eventually("the loan comes out", WAIT_TIMEOUT, || {
        (site.read_outputs("service-message").len() == 2).then_some(())
    });
    let mut zeef = zeef;
    assert_eq!(zeef.exit_code(), None, "{}", zeef.stderr());
    zeef.send_signal(rustix::process::Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0, "{}", zeef.stderr());
    site.run_until_end(&[]);
}
