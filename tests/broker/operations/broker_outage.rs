//! A broker that goes away and stays away, and a run that would take the name of
//! another one.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Broker, BrokerOptions, TestProducer, ZeefProcess, eventually};

use super::test_site::WAIT_TIMEOUT;
use super::{SiteOptions, TestSite, open_loan, patron_record};

/// The session of the sites here, which is as short as a broker allows.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
/// What a machine that does much else may add to a bound.
const MACHINE_SLACK: Duration = Duration::from_secs(15);
/// As many files as the process may have open in the test of idle connections.
const OPEN_FILES_MAX: u32 = 256;
/// A process that was asked to stop is gone by then, whatever is open.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);

fn short_session_options() -> SiteOptions<'static> {
    SiteOptions { kafka_lines: "session_timeout_ms = 6000", ..SiteOptions::default() }
}

/// A site on a broker of its own, with some loans.
fn site_with_loans<'a>(broker: &'a Broker, test: &str) -> TestSite<'a> {
    site_with_loans_and_options(broker, test, short_session_options())
}

fn site_with_loans_and_options<'a>(
    broker: &'a Broker,
    test: &str,
    options: SiteOptions<'_>,
) -> TestSite<'a> {
    let site = TestSite::on_broker(broker, test, options);
    site.apply_topics();
    let patrons: Vec<String> = (0..20).map(|number| format!("P{number}")).collect();
    let records: Vec<_> = patrons.iter().map(|id| patron_record(id, "Berg")).collect();
    site.topics.write_records("patron", &records);
    write_loans(&site, 0..20);
    site
}

fn write_loans(site: &TestSite<'_>, numbers: std::ops::Range<usize>) {
    let loans: Vec<_> = numbers
        .map(|number| open_loan(&format!("L{number}"), &format!("P{}", number % 20)))
        .collect();
    site.topics.write_records("loan", &loans);
}

fn fetch_readiness(zeef: &ZeefProcess) -> (u16, String) {
    zeef.get_admin_path("/health/ready").unwrap_or_default()
}

#[test]
fn broker_outage_makes_unready_within_the_session_then_recovers() {
    let Some(broker) = Broker::start_own(BrokerOptions::default()) else {
        return;
    };
    // What it depends on is looked at all the time: that is broken off, and no fault.
    let busy =
        SiteOptions { extra_tables: "[state]\ncheck_seconds = 1", ..short_session_options() };
    let site = site_with_loans_and_options(&broker, "unready", busy);
    let mut zeef = site.spawn_ready_run(&[]);
    site.wait_consumed(&zeef, "main", "loan", 20);
    assert_eq!(zeef.fetch_metric_sum("zeef_ready", &[]), Some(1.0));
    broker.kill();
    let lost = Instant::now();
    eventually("it is unready", WAIT_TIMEOUT, || {
        let (status, report) = fetch_readiness(&zeef);
        (status == 503).then(|| assert!(report.contains("no partitions"), "{report}"))
    });
    assert!(lost.elapsed() < SESSION_TIMEOUT + MACHINE_SLACK, "{:?}", lost.elapsed());
    assert_eq!(zeef.fetch_metric_sum("zeef_ready", &[]), Some(0.0));
    assert_eq!(zeef.get_admin_path("/health/live").unwrap().0, 200);
    // However long that takes, it waits.
    std::thread::sleep(6 * SESSION_TIMEOUT);
    assert_eq!(zeef.exit_code(), None, "{}", zeef.stderr());
    broker.start();
    eventually("it is ready again", WAIT_TIMEOUT, || zeef.is_ready().then_some(()));
    write_loans(&site, 20..30);
    eventually("it goes on", WAIT_TIMEOUT, || {
        let committed = zeef.fetch_metric_sum("zeef_records_consumed_total", &[("topic", "loan")]);
        (committed? >= 30.0).then_some(())
    });
    site.check_loans_delivered((0..30).map(|number| format!("L{number}")));
}

#[test]
fn stop_during_a_broker_outage_ends_within_its_bound() {
    let Some(broker) = Broker::start_own(BrokerOptions::default()) else {
        return;
    };
    let site = site_with_loans(&broker, "stop");
    // While the member's session still lasts, and when it is over.
    for after in [Duration::ZERO, SESSION_TIMEOUT + Duration::from_secs(1)] {
        let mut zeef = site.spawn_ready_run(&[]);
        broker.kill();
        std::thread::sleep(after);
        check_stops_within_bound(&mut zeef);
        broker.start();
    }
    // While it reads the gates, of which one is behind an open transaction.
    let long = Duration::from_secs(300);
    let upstream = TestProducer::transactional(&broker, &site.topics.full_name("upstream"), long);
    upstream.begin_transaction();
    upstream.write_records(&site.topics.full_name("patron"), &[patron_record("P99", "Berg")]);
    let mut zeef = site.spawn_run(&["--until-end"]);
    eventually("it builds", WAIT_TIMEOUT, || {
        assert_eq!(zeef.exit_code(), None, "{}", zeef.stderr());
        fetch_readiness(&zeef).1.contains("building").then_some(())
    });
    broker.kill();
    check_stops_within_bound(&mut zeef);
}

#[test]
fn stop_in_an_outage_with_an_open_batch_loses_nothing() {
    const LOAN_COUNT: usize = 20_000;
    let Some(broker) = Broker::start_own(BrokerOptions::default()) else {
        return;
    };
    let small = SiteOptions { extra_tables: "[batch]\nrecords = 50", ..short_session_options() };
    let site = site_with_loans_and_options(&broker, "open", small);
    write_loans(&site, 20..LOAN_COUNT);
    let mut zeef = site.spawn_run(&[]);
    eventually("it is in the middle", WAIT_TIMEOUT, || {
        assert_eq!(zeef.exit_code(), None, "{}", zeef.stderr());
        let committed = zeef.fetch_metric_sum("zeef_records_consumed_total", &[("topic", "loan")]);
        (committed? > 200.0).then_some(())
    });
    broker.kill();
    check_stops_within_bound(&mut zeef);
    broker.start();
    // On a busy machine its coordinator loads for longer than a start waits.
    broker.group_offsets(&site.group_id("main"), &site.topics.full_name("loan"));
    site.run_until_end(&[]);
    site.check_loans_delivered((0..LOAN_COUNT).map(|number| format!("L{number}")));
}

/// librdkafka takes the offsets of a transaction only once the coordinator is back.
#[test]
fn stop_with_a_batch_that_cannot_be_committed_loses_nothing() {
    let Some(broker) = Broker::start_own(BrokerOptions::default()) else {
        return;
    };
    let slow = SiteOptions { extra_tables: "[batch]\nwait_ms = 4000", ..short_session_options() };
    let site = site_with_loans_and_options(&broker, "uncommitted", slow);
    let mut zeef = site.spawn_ready_run(&[]);
    site.wait_consumed(&zeef, "main", "loan", 20);
    write_loans(&site, 20..25);
    // The batch is open, and waits for more.
    std::thread::sleep(Duration::from_secs(1));
    broker.kill();
    std::thread::sleep(Duration::from_secs(1));
    check_stops_within_bound(&mut zeef);
    // Its last batch, or, where librdkafka waits for the broker, any answer.
    assert!(zeef.stderr().contains("stopped without "), "{}", zeef.stderr());
    broker.start();
    broker.group_offsets(&site.group_id("main"), &site.topics.full_name("loan"));
    site.run_until_end(&[]);
    site.check_loans_delivered((0..25).map(|number| format!("L{number}")));
}

#[track_caller]
fn check_stops_within_bound(zeef: &mut ZeefProcess) {
    let asked = Instant::now();
    zeef.send_signal(Signal::TERM);
    let code = zeef.wait_exit(WAIT_TIMEOUT);
    let took = asked.elapsed();
    assert!(took < STOP_TIMEOUT, "{took:?}: {}", zeef.stderr());
    assert_eq!(code, 0, "{}", zeef.stderr());
}

#[test]
fn until_end_run_refuses_an_instance_name_in_use() {
    let Some(site) = TestSite::new("names", short_session_options()) else {
        return;
    };
    site.topics.write_records("patron", &[patron_record("P1", "Berg")]);
    site.topics.write_records("loan", &[open_loan("L1", "P1")]);
    let mut zeef = site.spawn_ready_run(&[]);
    site.wait_consumed(&zeef, "main", "loan", 1);
    let said = site.expect_run_exit(&["--until-end"], 75);
    assert!(said.contains("`main-one-0` is a member"), "{said}");
    assert!(said.contains("--instance"), "{said}");
    // The other one noticed nothing, and goes on.
    assert_eq!(zeef.exit_code(), None, "{}", zeef.stderr());
    assert!(zeef.is_ready());
    site.topics.write_records("loan", &[open_loan("L2", "P1")]);
    site.wait_consumed(&zeef, "main", "loan", 2);
    // Under a name of its own it works beside it.
    site.run_until_end(&["--instance", "two"]);
    assert_eq!(zeef.exit_code(), None, "{}", zeef.stderr());
    // Who was stopped keeps its name for its session only.
    eventually("it has its partitions back", WAIT_TIMEOUT, || zeef.is_ready().then_some(()));
    zeef.send_signal(Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0);
    site.topics.write_records("loan", &[open_loan("L3", "P1")]);
    site.run_until_end(&[]);
    site.check_loans_delivered(["L1", "L2", "L3"].map(str::to_owned));
}

#[test]
fn idle_admin_connections_take_nothing_from_the_lanes() {
    let Some(site) = TestSite::new("idle-admin", short_session_options()) else {
        return;
    };
    site.topics.write_records("patron", &[patron_record("P1", "Berg")]);
    let zeef = site.spawn_ready_run(&[]);
    // Fewer descriptors than connections: so the test itself needs only few, and does not
    // depend on what the tests beside it have open.
    zeef.limit_open_files(OPEN_FILES_MAX.into());
    let address = zeef.admin_address().unwrap();
    let connect = |_| std::net::TcpStream::connect(address).unwrap();
    let idle: Vec<std::net::TcpStream> = (0..OPEN_FILES_MAX).map(connect).collect();
    eventually("it answers", WAIT_TIMEOUT, || zeef.is_ready().then_some(()));
    let open = zeef.fetch_metric_sum("process_open_fds", &[]).unwrap();
    assert!(open < f64::from(OPEN_FILES_MAX), "{open}");
    site.topics.write_records("loan", &[open_loan("L1", "P1")]);
    site.wait_consumed(&zeef, "main", "loan", 1);
    site.check_loans_delivered(["L1".to_owned()]);
    drop(idle);
}
