//! A broker that goes away and stays away, and a run that would take the name of
//! another one.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Broker, Options as BrokerOptions, Writer, Zeef, eventually};

use super::site::WAIT;
use super::{Options, Site, loan, patron};

/// The session of the sites here, which is as short as a broker allows.
const SESSION: Duration = Duration::from_secs(6);
/// What a machine that does much else may add to a bound.
const SLACK: Duration = Duration::from_secs(4);
/// A process that was asked to stop is gone by then, whatever is open.
const STOPPED: Duration = Duration::from_secs(20);

fn options() -> Options<'static> {
    Options {
        kafka: "session_timeout_ms = 6000",
        ..Options::default()
    }
}

/// A site on a broker of its own, with some loans.
fn site<'a>(broker: &'a Broker, test: &str) -> Site<'a> {
    site_with(broker, test, options())
}

fn site_with<'a>(broker: &'a Broker, test: &str, options: Options<'_>) -> Site<'a> {
    let site = Site::on(broker, test, options);
    site.apply();
    let patrons: Vec<String> = (0..20).map(|number| format!("P{number}")).collect();
    let records: Vec<_> = patrons.iter().map(|id| patron(id, "Berg")).collect();
    site.topics.write("patron", &records);
    write_loans(&site, 0..20);
    site
}

fn write_loans(site: &Site<'_>, numbers: std::ops::Range<usize>) {
    let loans: Vec<_> = numbers
        .map(|number| loan(&format!("L{number}"), &format!("P{}", number % 20)))
        .collect();
    site.topics.write("loan", &loans);
}

fn health(zeef: &Zeef) -> (u16, String) {
    zeef.fetch("/health/ready").unwrap_or_default()
}

#[test]
fn a_lost_broker_makes_a_process_unready_within_its_session_and_it_comes_back() {
    let Some(broker) = Broker::own(BrokerOptions::default()) else {
        return;
    };
    // What it depends on is looked at all the time: that is broken off, and no fault.
    let busy = Options {
        tables: "[state]\ncheck_seconds = 1",
        ..options()
    };
    let site = site_with(&broker, "unready", busy);
    let mut zeef = site.ready(&[]);
    site.consumed(&zeef, "main", "loan", 20);
    assert_eq!(zeef.metric("zeef_ready", &[]), Some(1.0));
    broker.kill();
    let lost = Instant::now();
    eventually("it is unready", WAIT, || {
        let (status, report) = health(&zeef);
        (status == 503).then(|| assert!(report.contains("no partitions"), "{report}"))
    });
    assert!(lost.elapsed() < SESSION + SLACK, "{:?}", lost.elapsed());
    assert_eq!(zeef.metric("zeef_ready", &[]), Some(0.0));
    assert_eq!(zeef.fetch("/health/live").unwrap().0, 200);
    // However long that takes, it waits.
    std::thread::sleep(6 * SESSION);
    assert_eq!(zeef.exited(), None, "{}", zeef.stderr());
    broker.start();
    eventually("it is ready again", WAIT, || zeef.ready().then_some(()));
    write_loans(&site, 20..30);
    eventually("it goes on", WAIT, || {
        let committed = zeef.metric("zeef_records_consumed_total", &[("topic", "loan")]);
        (committed? >= 30.0).then_some(())
    });
    site.check_loans((0..30).map(|number| format!("L{number}")));
}

#[test]
fn a_process_ends_soon_when_it_is_asked_to_while_the_broker_is_away() {
    let Some(broker) = Broker::own(BrokerOptions::default()) else {
        return;
    };
    let site = site(&broker, "stop");
    // While the member's session still lasts, and when it is over.
    for after in [Duration::ZERO, SESSION + Duration::from_secs(1)] {
        let mut zeef = site.ready(&[]);
        broker.kill();
        std::thread::sleep(after);
        check_stops(&mut zeef);
        broker.start();
    }
    // While it reads the gates, of which one is behind an open transaction.
    let long = Duration::from_secs(300);
    let upstream = Writer::transactional(&broker, &site.topics.name("upstream"), long);
    upstream.begin();
    upstream.write(&site.topics.name("patron"), &[patron("P99", "Berg")]);
    let mut zeef = site.run(&["--until-end"]);
    eventually("it builds", WAIT, || {
        assert_eq!(zeef.exited(), None, "{}", zeef.stderr());
        health(&zeef).1.contains("building").then_some(())
    });
    broker.kill();
    check_stops(&mut zeef);
}

#[test]
fn a_process_with_an_open_batch_ends_soon_too_and_loses_nothing() {
    const LOANS: usize = 20_000;
    let Some(broker) = Broker::own(BrokerOptions::default()) else {
        return;
    };
    let small = Options {
        tables: "[batch]\nrecords = 50",
        ..options()
    };
    let site = site_with(&broker, "open", small);
    write_loans(&site, 20..LOANS);
    let mut zeef = site.run(&[]);
    eventually("it is in the middle", WAIT, || {
        assert_eq!(zeef.exited(), None, "{}", zeef.stderr());
        let committed = zeef.metric("zeef_records_consumed_total", &[("topic", "loan")]);
        (committed? > 200.0).then_some(())
    });
    broker.kill();
    check_stops(&mut zeef);
    let warned = zeef.stderr().contains("stopped without its last batch");
    assert!(warned, "{}", zeef.stderr());
    broker.start();
    site.until_end(&[]);
    site.check_loans((0..LOANS).map(|number| format!("L{number}")));
}

#[track_caller]
fn check_stops(zeef: &mut Zeef) {
    let asked = Instant::now();
    zeef.signal(Signal::TERM);
    let code = zeef.wait_exit(WAIT);
    let took = asked.elapsed();
    assert!(took < STOPPED, "{took:?}: {}", zeef.stderr());
    assert_eq!(code, 0, "{}", zeef.stderr());
}

#[test]
fn a_run_that_ends_takes_the_name_of_nobody_who_is_alive() {
    let Some(site) = Site::new("names", options()) else {
        return;
    };
    site.topics.write("patron", &[patron("P1", "Berg")]);
    site.topics.write("loan", &[loan("L1", "P1")]);
    let mut zeef = site.ready(&[]);
    site.consumed(&zeef, "main", "loan", 1);
    let said = site.refused(&["--until-end"], 75);
    assert!(said.contains("`main-one-0` is a member"), "{said}");
    assert!(said.contains("--instance"), "{said}");
    // The other one noticed nothing, and goes on.
    assert_eq!(zeef.exited(), None, "{}", zeef.stderr());
    assert!(zeef.ready());
    site.topics.write("loan", &[loan("L2", "P1")]);
    site.consumed(&zeef, "main", "loan", 2);
    // Under a name of its own it works beside it.
    site.until_end(&["--instance", "two"]);
    assert_eq!(zeef.exited(), None, "{}", zeef.stderr());
    // Who was stopped keeps its name for its session only.
    eventually("it has its partitions back", WAIT, || {
        zeef.ready().then_some(())
    });
    zeef.signal(Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT), 0);
    site.topics.write("loan", &[loan("L3", "P1")]);
    site.until_end(&[]);
    site.check_loans(["L1", "L2", "L3"].map(str::to_owned));
}

#[test]
fn idle_connections_to_the_admin_address_end_no_lane() {
    let Some(site) = Site::new("idle-admin", options()) else {
        return;
    };
    site.topics.write("patron", &[patron("P1", "Berg")]);
    let zeef = site.ready(&[]);
    let address = zeef.admin();
    // The test needs as many of its own.
    zeef::daemon::process::set_limits();
    let idle: Vec<std::net::TcpStream> = (0..1_100)
        .filter_map(|_| std::net::TcpStream::connect(address).ok())
        .collect();
    assert!(idle.len() > 1_000, "{}", idle.len());
    assert!(zeef.ready());
    let open = zeef.metric("process_open_fds", &[]).unwrap();
    assert!(open < 300.0, "{open}");
    site.topics.write("loan", &[loan("L1", "P1")]);
    site.consumed(&zeef, "main", "loan", 1);
    site.check_loans(["L1".to_owned()]);
}
