//! A recipient that may only be fed slowly, in a lane of its own.

use std::time::Instant;

use crate::harness::eventually;

use super::test_site::WAIT_TIMEOUT;
use super::{SiteOptions, TestSite, open_loan, patron_record};

const RECORDS_PER_SECOND: f64 = 60.0;
const BURST_RECORDS: f64 = 20.0;
const LOAN_COUNT: usize = 300;

#[test]
fn rate_limited_recipient_loses_nothing_and_delays_no_other() {
    let options = SiteOptions {
        extra_tables: "[lanes.slow]\nrecipients = [\"statistics\"]\n\
                 [rates]\nstatistics = { records_per_s = 60, burst = 20 }",
        ..SiteOptions::default()
    };
    let Some(site) = TestSite::new("rate", options) else {
        return;
    };
    site.topics
        .write_records("patron", &[patron_record("P1", "Berg"), patron_record("P2", "Dijk")]);
    let ids: Vec<String> = (0..LOAN_COUNT).map(|number| format!("L{number}")).collect();
    let loans: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(number, id)| open_loan(id, if number % 2 == 0 { "P1" } else { "P2" }))
        .collect();
    site.topics.write_records("loan", &loans);

    let started = Instant::now();
    let zeef = site.spawn_run(&[]);
    let released = |recipient: &str| {
        zeef.fetch_metric_sum("zeef_records_released_total", &[("recipient", recipient)])
            .unwrap_or_default()
    };
    let waited = |lane: &str| {
        zeef.fetch_metric_sum("zeef_rate_limit_wait_seconds_sum", &[("lane", lane)])
            .unwrap_or_default()
    };
    let all = LOAN_COUNT as f64;
    let mut slow_when_fast_was_done = None;
    let mut waits = Vec::new();
    eventually("all loans are released", WAIT_TIMEOUT, || {
        let slow = released("statistics");
        let most = BURST_RECORDS + RECORDS_PER_SECOND * started.elapsed().as_secs_f64() * 1.1;
        assert!(slow <= most, "{slow} after {:?}", started.elapsed());
        if slow_when_fast_was_done.is_none() && released("service-message") >= all {
            slow_when_fast_was_done = Some(slow);
        }
        waits.push(waited("slow"));
        (slow >= all).then_some(())
    });

    let least = (all - BURST_RECORDS) / RECORDS_PER_SECOND * 0.9;
    assert!(started.elapsed().as_secs_f64() > least, "too fast");
    let slow = slow_when_fast_was_done.expect("the other lane is done first");
    assert!(slow < all / 2.0, "the other lane was delayed: {slow}");
    assert!(waits.is_sorted() && waits.last() > Some(&1.0), "{waits:?}");
    assert_eq!(waited("main"), 0.0);
    site.check_loans_delivered(ids);
    assert_eq!(site.read_output_fields("statistics", "loan_ref").len(), LOAN_COUNT);
    let mut refs = site.read_output_fields("statistics", "loan_ref");
    refs.dedup();
    assert_eq!(refs.len(), LOAN_COUNT);
}
