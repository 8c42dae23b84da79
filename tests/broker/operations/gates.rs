//! Gates first: what lay on a gate's topic before a record is known when that
//! record is decided.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::harness::{ProducerPartitioner, TestProducer, ZeefProcess, eventually};

use super::test_site::{WAIT_TIMEOUT, consent_record, objection_record, text_field};
use super::{SiteOptions, TestSite, open_loan, patron_record};

const PATRON_COUNT: usize = 6;
const ROUND_COUNT: usize = 30;

#[test]
fn gate_patron_version_before_a_loan_is_never_overtaken() {
    let options =
        SiteOptions { recipients: &["service-message"], partitions: 4, ..SiteOptions::default() };
    let Some(site) = TestSite::new("gates", options) else {
        return;
    };
    let zeef = site.spawn_ready_run(&[]);
    let writer = TestProducer::new(site.broker, ProducerPartitioner::Murmur2);
    let (patrons, loans) = (site.topics.full_name("patron"), site.topics.full_name("loan"));
    for round in 0..ROUND_COUNT {
        // Each write returns when the broker has it. In each round another
        // patron's records lie between, and loans come in other numbers.
        for turn in 0..PATRON_COUNT {
            let id = format!("P{}", (turn * 5 + round) % PATRON_COUNT);
            writer.write_records(&patrons, &[patron_record(&id, &format!("V{round:03}"))]);
            let number = 1 + (turn + round) % 3;
            let records: Vec<_> = (0..number)
                .map(|copy| open_loan(&format!("{round:03}-{id}-{copy}"), &id))
                .collect();
            writer.write_records(&loans, &records);
        }
    }
    let total: usize = (0..ROUND_COUNT * PATRON_COUNT)
        .map(|step| 1 + (step % PATRON_COUNT + step / PATRON_COUNT) % 3)
        .sum();
    site.wait_consumed(&zeef, "main", "loan", total);

    // A loan is sent again whenever its patron's name changes.
    let outputs = site.read_outputs("service-message");
    assert!(outputs.len() >= total);
    let mut names = BTreeMap::new();
    for row in &outputs {
        let (title, name) = (text_field(row, "title"), text_field(row, "name"));
        let version = format!("V{}", &title[..3]);
        assert!(name >= version, "loan {title} was decided with patron {name}");
        names.insert(title, name);
    }
    assert_eq!(names.len(), total, "each loan");
    let last = format!("V{:03}", ROUND_COUNT - 1);
    assert!(names.values().all(|name| *name == last), "{names:?}");
    assert!(site.read_dead_letters().is_empty());
}

/// Longer than any test, so that no transaction ends by itself.
const NEVER_EXPIRES: Duration = Duration::from_secs(300);

fn statistics_options<'a>(tables: &'a str) -> SiteOptions<'a> {
    SiteOptions {
        recipients: &["statistics"],
        partitions: 1,
        extra_tables: tables,
        ..SiteOptions::default()
    }
}

/// What `/health/ready` answers.
fn fetch_readiness(zeef: &ZeefProcess) -> (u16, String) {
    zeef.get_admin_path("/health/ready").unwrap_or_default()
}

#[test]
fn g06_objection_behind_an_open_transaction_holds_back_loans() {
    let options = statistics_options("[limits]\ngate_wait_seconds = 1");
    let Some(site) = TestSite::new("hidden", options) else {
        return;
    };
    site.topics.write_records("patron", &[patron_record("P1", "Berg"), patron_record("P2", "Dal")]);
    let zeef = site.spawn_ready_run(&[]);
    site.wait_consumed(&zeef, "main", "patron", 2);
    let name = site.topics.full_name("objection");
    let other =
        TestProducer::transactional(site.broker, &site.topics.full_name("other"), NEVER_EXPIRES);
    for commits in [false, true] {
        other.begin_transaction();
        other.write_records(&name, &[objection_record("P9")]);
        // Committed, and no reader of committed records sees it.
        let patron = if commits { "P1" } else { "P2" };
        site.topics.write_records("objection", &[objection_record(patron)]);
        site.topics.write_records("loan", &[open_loan(&format!("L-{patron}"), patron)]);
        let place = format!("topic {name} partition 0 offset ");
        eventually("it is not ready, and says why", WAIT_TIMEOUT, || {
            let (status, report) = fetch_readiness(&zeef);
            (status == 503 && report.contains(&place)).then_some(())
        });
        let labels = [("topic", "objection")];
        let lag = zeef.fetch_metric_sum("zeef_consumer_lag", &labels);
        assert!(lag >= Some(2.0), "{lag:?}");
        assert!(zeef.stderr().contains("a gate source is not read to its end"));
        assert!(site.read_outputs("statistics").is_empty(), "nothing is released");
        if commits {
            other.commit_transaction();
        } else {
            other.abort_transaction();
        }
        eventually("it is ready again", WAIT_TIMEOUT, || zeef.is_ready().then_some(()));
    }
    site.wait_consumed(&zeef, "main", "loan", 2);
    assert!(site.read_outputs("statistics").is_empty(), "both objected");
}

#[test]
fn withdrawal_behind_an_open_transaction_holds_back_its_patron() {
    let options = SiteOptions {
        recipients: &["kb-membership"],
        partitions: 1,
        extra_tables: "[limits]\ngate_wait_seconds = 1",
        ..SiteOptions::default()
    };
    let Some(site) = TestSite::new("hidden-withdrawal", options) else {
        return;
    };
    let grants = ["P1", "P2"].map(|id| consent_record(id, "granted"));
    site.topics.write_records("consent", &grants);
    site.topics.write_records("patron", &[patron_record("P1", "Berg")]);
    let zeef = site.spawn_ready_run(&[]);
    site.wait_consumed(&zeef, "main", "patron", 1);
    let name = site.topics.full_name("consent");
    let other =
        TestProducer::transactional(site.broker, &site.topics.full_name("other"), NEVER_EXPIRES);
    other.begin_transaction();
    other.write_records(&name, &[consent_record("P9", "granted")]);
    // Committed, and no reader of committed records sees it.
    site.topics.write_records("consent", &[consent_record("P2", "withdrawn")]);
    site.topics.write_records("patron", &[patron_record("P2", "Dal"), patron_record("P3", "Vos")]);
    let place = format!("topic {name} partition 0 offset ");
    eventually("it is not ready, and says why", WAIT_TIMEOUT, || {
        let (status, report) = fetch_readiness(&zeef);
        (status == 503 && report.contains(&place)).then_some(())
    });
    assert_eq!(site.read_outputs("kb-membership").len(), 1, "nothing more is released");
    other.commit_transaction();
    site.wait_consumed(&zeef, "main", "patron", 3);
    eventually("it is ready again", WAIT_TIMEOUT, || zeef.is_ready().then_some(()));
    site.topics.write_records("consent", &[consent_record("P3", "granted")]);
    eventually("a grant releases", WAIT_TIMEOUT, || {
        (site.read_outputs("kb-membership").len() > 1).then_some(())
    });
    assert_eq!(site.read_outputs("kb-membership").len(), 2, "P1 and P3, never P2");
}

#[test]
fn gates_with_always_open_transactions_still_let_loans_through() {
    const LOAN_COUNT: usize = 5;
    let Some(site) = TestSite::new("always-open", statistics_options("")) else {
        return;
    };
    site.topics.write_records("patron", &[patron_record("P1", "Berg")]);
    let zeef = site.spawn_ready_run(&[]);
    // Two connectors in turn on each of two gates: on each of them one
    // transaction is open at any time, and they end at different times.
    let gates = ["patron", "objection"].map(|gate| site.topics.full_name(gate));
    let writers = [0, 1, 2, 3].map(|number| {
        let id = site.topics.full_name(&format!("connector-{number}"));
        TestProducer::transactional(site.broker, &id, NEVER_EXPIRES)
    });
    let record = |gate: usize, id: &str| match gate {
        0 => patron_record(id, "Dal"),
        _ => objection_record(id),
    };
    for gate in [0, 1] {
        writers[gate].begin_transaction();
        writers[gate].write_records(&gates[gate], &[record(gate, "P7")]);
    }
    let mut step = 0;
    for number in 0..LOAN_COUNT {
        site.topics.write_records("loan", &[open_loan(&format!("L{number}"), "P1")]);
        eventually("a loan comes through", WAIT_TIMEOUT, || {
            let gate = step % 2;
            let turn = (step / 2) % 2;
            let (open, next) = (&writers[gate + 2 * turn], &writers[gate + 2 - 2 * turn]);
            next.begin_transaction();
            next.write_records(&gates[gate], &[record(gate, &format!("P8-{step}"))]);
            open.commit_transaction();
            step += 1;
            let labels = [("lane", "main"), ("topic", "loan")];
            let consumed = zeef.fetch_metric_sum("zeef_records_consumed_total", &labels);
            (consumed > Some(number as f64)).then_some(())
        });
    }
    eventually("each loan is released", WAIT_TIMEOUT, || {
        (site.read_outputs("statistics").len() == LOAN_COUNT).then_some(())
    });
}

#[test]
fn silent_source_makes_readiness_fail_also_after_a_restart() {
    const DAY_SECONDS: u64 = 86_400;
    let options = statistics_options("[sources]\nobjection = { expect_within = \"P7D\" }");
    let Some(site) = TestSite::new("silent", options) else {
        return;
    };
    site.topics.alter_settings("objection", &[("message.timestamp.type", "CreateTime")]);
    let since = SystemTime::UNIX_EPOCH;
    let now = SystemTime::now().duration_since(since).unwrap();
    let old = now - Duration::from_secs(8 * DAY_SECONDS);
    let old_ms = i64::try_from(old.as_millis()).unwrap();
    site.topics.write_records("patron", &[patron_record("P1", "Berg")]);
    site.topics.write_records("objection", &[objection_record("P1").at_timestamp(old_ms)]);
    let labels = [("source", "objection")];
    let age = |zeef: &ZeefProcess| {
        zeef.fetch_metric_sum("zeef_source_newest_record_age_seconds", &labels)
    };
    for _ in 0..2 {
        let mut zeef = site.spawn_run(&[]);
        eventually("it is not ready, and says why", WAIT_TIMEOUT, || {
            let (status, report) = fetch_readiness(&zeef);
            let silent = "source objection has no record newer than ";
            (status == 503 && report.contains(silent) && report.contains("main/0 ready"))
                .then_some(())
        });
        let found = age(&zeef).unwrap();
        let want = (8 * DAY_SECONDS) as f64;
        assert!(found >= want && found < want * 1.05, "{found}");
        assert!(zeef.stderr().contains("expected within P7D"));
        zeef.send_signal(rustix::process::Signal::TERM);
        assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0);
    }
    site.topics.write_records("objection", &[objection_record("P2")]);
    let zeef = site.spawn_ready_run(&[]);
    assert!(age(&zeef) < Some(600.0));
}
