//! Gates first: what lay on a gate's topic before a record is known when that
//! record is decided.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::harness::{Partitioner, Writer, Zeef, eventually};

use super::site::{WAIT, member, objection};
use super::{Options, Site, loan, patron};

const PATRONS: usize = 6;
const ROUNDS: usize = 30;

#[test]
fn a_patron_that_lay_there_before_a_loan_is_never_overtaken() {
    let options = Options {
        recipients: &["service-message"],
        partitions: 4,
        ..Options::default()
    };
    let Some(site) = Site::new("gates", options) else {
        return;
    };
    let zeef = site.ready(&[]);
    let writer = Writer::new(site.broker, Partitioner::Murmur2);
    let (patrons, loans) = (site.topics.name("patron"), site.topics.name("loan"));
    for round in 0..ROUNDS {
        // Each write returns when the broker has it. In each round another
        // patron's records lie between, and loans come in other numbers.
        for turn in 0..PATRONS {
            let id = format!("P{}", (turn * 5 + round) % PATRONS);
            writer.write(&patrons, &[patron(&id, &format!("V{round:03}"))]);
            let number = 1 + (turn + round) % 3;
            let records: Vec<_> = (0..number)
                .map(|copy| loan(&format!("{round:03}-{id}-{copy}"), &id))
                .collect();
            writer.write(&loans, &records);
        }
    }
    let total: usize = (0..ROUNDS * PATRONS)
        .map(|step| 1 + (step % PATRONS + step / PATRONS) % 3)
        .sum();
    site.consumed(&zeef, "main", "loan", total);

    // A loan is sent again whenever its patron's name changes.
    let outputs = site.outputs("service-message");
    assert!(outputs.len() >= total);
    let mut names = BTreeMap::new();
    for row in &outputs {
        let (title, name) = (member(row, "title"), member(row, "name"));
        let version = format!("V{}", &title[..3]);
        assert!(
            name >= version,
            "loan {title} was decided with patron {name}"
        );
        names.insert(title, name);
    }
    assert_eq!(names.len(), total, "each loan");
    let last = format!("V{:03}", ROUNDS - 1);
    assert!(names.values().all(|name| *name == last), "{names:?}");
    assert!(site.dead_letters().is_empty());
}

/// Longer than any test, so that no transaction ends by itself.
const LONG: Duration = Duration::from_secs(300);

fn statistics<'a>(tables: &'a str) -> Options<'a> {
    Options {
        recipients: &["statistics"],
        partitions: 1,
        tables,
        ..Options::default()
    }
}

/// What `/health/ready` answers.
fn health(zeef: &Zeef) -> (u16, String) {
    zeef.fetch("/health/ready").unwrap_or_default()
}

#[test]
fn an_objection_behind_an_open_transaction_holds_back_what_it_may_forbid() {
    let options = statistics("[limits]\ngate_wait_seconds = 1");
    let Some(site) = Site::new("hidden", options) else {
        return;
    };
    site.topics
        .write("patron", &[patron("P1", "Berg"), patron("P2", "Dal")]);
    let zeef = site.ready(&[]);
    site.consumed(&zeef, "main", "patron", 2);
    let name = site.topics.name("objection");
    let other = Writer::transactional(site.broker, &site.topics.name("other"), LONG);
    for commits in [false, true] {
        other.begin();
        other.write(&name, &[objection("P9")]);
        // Committed, and no reader of committed records sees it.
        let patron = if commits { "P1" } else { "P2" };
        site.topics.write("objection", &[objection(patron)]);
        site.topics
            .write("loan", &[loan(&format!("L-{patron}"), patron)]);
        let place = format!("topic {name} partition 0 offset ");
        eventually("it is not ready, and says why", WAIT, || {
            let (status, report) = health(&zeef);
            (status == 503 && report.contains(&place)).then_some(())
        });
        let labels = [("topic", "objection")];
        let lag = zeef.metric("zeef_consumer_lag", &labels);
        assert!(lag >= Some(2.0), "{lag:?}");
        assert!(
            zeef.stderr()
                .contains("a gate source is not read to its end")
        );
        assert!(site.outputs("statistics").is_empty(), "nothing is released");
        if commits {
            other.commit();
        } else {
            other.abort();
        }
        eventually("it is ready again", WAIT, || zeef.ready().then_some(()));
    }
    site.consumed(&zeef, "main", "loan", 2);
    assert!(site.outputs("statistics").is_empty(), "both objected");
}

#[test]
fn gates_whose_transactions_are_always_open_hold_back_nobody_for_ever() {
    const LOANS: usize = 5;
    let Some(site) = Site::new("always-open", statistics("")) else {
        return;
    };
    site.topics.write("patron", &[patron("P1", "Berg")]);
    let zeef = site.ready(&[]);
    // Two connectors in turn on each of two gates: on each of them one
    // transaction is open at any time, and they end at different times.
    let gates = ["patron", "objection"].map(|gate| site.topics.name(gate));
    let writers = [0, 1, 2, 3].map(|number| {
        let id = site.topics.name(&format!("connector-{number}"));
        Writer::transactional(site.broker, &id, LONG)
    });
    let record = |gate: usize, id: &str| match gate {
        0 => patron(id, "Dal"),
        _ => objection(id),
    };
    for gate in [0, 1] {
        writers[gate].begin();
        writers[gate].write(&gates[gate], &[record(gate, "P7")]);
    }
    let mut step = 0;
    for number in 0..LOANS {
        site.topics
            .write("loan", &[loan(&format!("L{number}"), "P1")]);
        eventually("a loan comes through", WAIT, || {
            let gate = step % 2;
            let turn = (step / 2) % 2;
            let (open, next) = (&writers[gate + 2 * turn], &writers[gate + 2 - 2 * turn]);
            next.begin();
            next.write(&gates[gate], &[record(gate, &format!("P8-{step}"))]);
            open.commit();
            step += 1;
            let labels = [("lane", "main"), ("topic", "loan")];
            let consumed = zeef.metric("zeef_records_consumed_total", &labels);
            (consumed > Some(number as f64)).then_some(())
        });
    }
    eventually("each loan is released", WAIT, || {
        (site.outputs("statistics").len() == LOANS).then_some(())
    });
}

#[test]
fn a_source_that_fell_silent_is_told_of_also_after_a_restart() {
    const DAY: u64 = 86_400;
    let options = statistics("[sources]\nobjection = { expect_within = \"P7D\" }");
    let Some(site) = Site::new("silent", options) else {
        return;
    };
    site.topics
        .alter("objection", &[("message.timestamp.type", "CreateTime")]);
    let since = SystemTime::UNIX_EPOCH;
    let now = SystemTime::now().duration_since(since).unwrap();
    let old = now - Duration::from_secs(8 * DAY);
    let old_ms = i64::try_from(old.as_millis()).unwrap();
    site.topics.write("patron", &[patron("P1", "Berg")]);
    site.topics
        .write("objection", &[objection("P1").at(old_ms)]);
    let labels = [("source", "objection")];
    let age = |zeef: &Zeef| zeef.metric("zeef_source_newest_record_age_seconds", &labels);
    for _ in 0..2 {
        let mut zeef = site.run(&[]);
        eventually("it is not ready, and says why", WAIT, || {
            let (status, report) = health(&zeef);
            let silent = "source objection has no record newer than ";
            (status == 503 && report.contains(silent) && report.contains("main/0 ready"))
                .then_some(())
        });
        let found = age(&zeef).unwrap();
        let want = (8 * DAY) as f64;
        assert!(found >= want && found < want * 1.05, "{found}");
        assert!(zeef.stderr().contains("expected within P7D"));
        zeef.signal(rustix::process::Signal::TERM);
        assert_eq!(zeef.wait_exit(WAIT), 0);
    }
    site.topics.write("objection", &[objection("P2")]);
    let zeef = site.ready(&[]);
    assert!(age(&zeef) < Some(600.0));
}
