//! A recipient that may only be fed slowly, in a lane of its own.

use std::time::Instant;

use crate::harness::eventually;

use super::site::WAIT;
use super::{Options, Site, loan, patron};

const RATE: f64 = 60.0;
const BURST: f64 = 20.0;
const LOANS: usize = 300;

#[test]
fn a_slow_recipient_is_paced_loses_nothing_and_delays_nobody() {
    let options = Options {
        tables: "[lanes.slow]\nrecipients = [\"statistics\"]\n\
                 [rates]\nstatistics = { records_per_s = 60, burst = 20 }",
        ..Options::default()
    };
    let Some(site) = Site::new("rate", options) else {
        return;
    };
    site.topics
        .write("patron", &[patron("P1", "Berg"), patron("P2", "Dijk")]);
    let ids: Vec<String> = (0..LOANS).map(|number| format!("L{number}")).collect();
    let loans: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(number, id)| loan(id, if number % 2 == 0 { "P1" } else { "P2" }))
        .collect();
    site.topics.write("loan", &loans);

    let started = Instant::now();
    let zeef = site.run(&[]);
    let released = |recipient: &str| {
        zeef.metric("zeef_records_released_total", &[("recipient", recipient)])
            .unwrap_or_default()
    };
    let waited = |lane: &str| {
        zeef.metric("zeef_rate_limit_wait_seconds_sum", &[("lane", lane)])
            .unwrap_or_default()
    };
    let all = LOANS as f64;
    let mut slow_when_fast_was_done = None;
    let mut waits = Vec::new();
    eventually("all loans are released", WAIT, || {
        let slow = released("statistics");
        let most = BURST + RATE * started.elapsed().as_secs_f64() * 1.1;
        assert!(slow <= most, "{slow} after {:?}", started.elapsed());
        if slow_when_fast_was_done.is_none() && released("service-message") >= all {
            slow_when_fast_was_done = Some(slow);
        }
        waits.push(waited("slow"));
        (slow >= all).then_some(())
    });

    let least = (all - BURST) / RATE * 0.9;
    assert!(started.elapsed().as_secs_f64() > least, "too fast");
    let slow = slow_when_fast_was_done.expect("the other lane is done first");
    assert!(slow < all / 2.0, "the other lane was delayed: {slow}");
    assert!(waits.is_sorted() && waits.last() > Some(&1.0), "{waits:?}");
    assert_eq!(waited("main"), 0.0);
    site.check_loans(ids);
    assert_eq!(site.fields("statistics", "loan_ref").len(), LOANS);
    let mut refs = site.fields("statistics", "loan_ref");
    refs.dedup();
    assert_eq!(refs.len(), LOANS);
}
