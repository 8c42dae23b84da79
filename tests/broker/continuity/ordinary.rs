//! Ordinary days, of which none is a stop.

use super::Town;
use super::town::PATRONS;
use crate::harness::{Broker, Options as BrokerOptions, eventually};
use crate::operations::site::{Options, Site, WAIT, loan, patron};

#[test]
fn a_first_start_on_empty_topics_a_stop_and_a_start() {
    let Some(town) = Town::empty("first") else {
        return;
    };
    let zeef = town.0.ready(&[]);
    town.stop(zeef);
    town.run();
    let zeef = town.0.ready(&[]);
    town.write_all(PATRONS);
    eventually("loans come out", WAIT, || {
        (town.loans().len() == PATRONS).then_some(())
    });
    town.stop(zeef);
    town.run();
    assert_eq!(town.loans().len(), PATRONS);
}

#[test]
fn retention_deletes_what_was_read() {
    let Some(town) = Town::new("retention") else {
        return;
    };
    let before = town.sent();
    // Some of it, then all: a quiet source is emptied.
    town.0.topics.cut("loan", 0, 3);
    town.run();
    town.0
        .topics
        .cut("loan", 0, i64::try_from(PATRONS).unwrap());
    let zeef = town.0.ready(&[]);
    assert_eq!(town.sent(), before);
    town.write_loans("N", 0..1);
    eventually("the loan comes out", WAIT, || {
        town.loans().contains(&"N0".to_owned()).then_some(())
    });
    town.stop(zeef);
    town.run();
}

/// The broker restarts, and compaction takes records that anchors point at.
#[test]
fn compaction_and_a_restart_of_the_broker() {
    let options = BrokerOptions {
        fast_cleaner: true,
        ..BrokerOptions::default()
    };
    let Some(broker) = Broker::own(options) else {
        return;
    };
    let options = Options {
        recipients: &["service-message"],
        partitions: 1,
        tables: "[state]\ncheck_seconds = 1",
        ..Options::default()
    };
    let site = Site::on(&broker, "compaction", options);
    site.apply();
    let quick = [("segment.ms", "500"), ("min.cleanable.dirty.ratio", "0.01")];
    site.topics.alter("patron", &quick);
    site.topics.write("patron", &[patron("P0", "Berg")]);
    site.topics.write("loan", &[loan("L0", "P0")]);
    site.until_end(&[]);
    let zeef = site.ready(&[]);
    eventually("compaction takes the first record", WAIT, || {
        site.topics.write("patron", &[patron("P0", "Berg")]);
        let rows = site.topics.committed("patron");
        (rows.first()?.offset > 0).then_some(())
    });
    broker.restart();
    site.topics.write("loan", &[loan("L1", "P0")]);
    eventually("the loan comes out", WAIT, || {
        (site.outputs("service-message").len() == 2).then_some(())
    });
    let mut zeef = zeef;
    assert_eq!(zeef.exited(), None, "{}", zeef.stderr());
    zeef.signal(rustix::process::Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT), 0, "{}", zeef.stderr());
    site.until_end(&[]);
}
