//! Ordinary days, of which none is a stop.

use super::ContinuityFixture;
use super::fixture::PATRON_COUNT;
use crate::harness::{Broker, BrokerOptions, ProducerRecord, eventually};
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

/// Another lane writes rows of its own to `zeef.patrons`, before a start and beside a run.
#[test]
fn rows_of_another_lane_in_patrons_topic_are_no_finding() {
    let Some(fixture) = ContinuityFixture::with_an_erasure("rows-of-others") else {
        return;
    };
    let row = fixture.0.topics.read_committed("zeef.patrons").remove(0);
    let write_same_row = |fixture: &ContinuityFixture| {
        let (key, value) = (row.key.clone().unwrap(), row.value.clone().unwrap());
        let same = ProducerRecord::new(key, value).in_partition(row.partition);
        fixture.write("zeef.patrons", &[same]);
    };
    write_same_row(&fixture);
    let zeef = fixture.0.spawn_ready_run(&[]);
    write_same_row(&fixture);
    fixture.write("patron", &[ProducerRecord::tombstone("P3")]);
    eventually("the row of the other erasure", WAIT_TIMEOUT, || {
        (fixture.0.topics.read_committed("zeef.patrons").len() == 4).then_some(())
    });
    // Checked every second.
    std::thread::sleep(std::time::Duration::from_secs(3));
    fixture.stop_process(zeef);
    write_same_row(&fixture);
    fixture.run_until_end();
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
    site.topics.alter_settings("zeef.patrons", &quick);
    site.topics.alter_settings("zeef.state.main", &quick);
    let erased = [patron_record("P9", "Berg"), ProducerRecord::tombstone("P9")];
    site.topics.write_records("patron", &erased);
    site.topics.write_records("patron", &[patron_record("P0", "Berg")]);
    site.topics.write_records("loan", &[open_loan("L0", "P0")]);
    site.run_until_end(&[]);
    let row = site.topics.read_committed("zeef.patrons").remove(0);
    let same_row = ProducerRecord::new(row.key.unwrap(), row.value.unwrap()).in_partition(0);
    let zeef = site.spawn_ready_run(&[]);
    eventually("compaction takes the first record", WAIT_TIMEOUT, || {
        site.topics.write_records("patron", &[patron_record("P0", "Berg")]);
        site.topics.write_records("zeef.patrons", std::slice::from_ref(&same_row));
        let is_compacted = |topic: &str| {
            site.topics.read_committed(topic).first().is_some_and(|first| first.offset > 0)
        };
        ["patron", "zeef.patrons", "zeef.state.main"].into_iter().all(is_compacted).then_some(())
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
