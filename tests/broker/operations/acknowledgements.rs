//! What partners acknowledge on Kafka, and how far they have read.

use std::fs;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{
    Broker, BrokerOptions, ConsumedMessage, ProducerRecord, ZeefProcess, eventually,
};

use super::ledger::run_command;
use super::test_site::WAIT_TIMEOUT;
use super::{SiteOptions, TestSite, open_loan, patron_record};

const RECIPIENT: &str = "service-message";
const ACK_TOPIC: &str = "ack.service-message";
const GROUP: &str = "service-message.reader";
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/examples");
const KAFKA_SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/dev/kafka");

fn options() -> SiteOptions<'static> {
    SiteOptions {
        recipients: &[RECIPIENT],
        extra_tables: "[ledger]\nenabled = true\noperator = \"beheer\"\n",
        ..SiteOptions::default()
    }
}

/// A site whose recipient acknowledges, with two loans and one that is taken back.
fn site_with_retraction(test: &str) -> Option<TestSite<'static>> {
    let site = TestSite::without_topics(test, options())?;
    retract_one(&site);
    Some(site)
}

fn retract_one(site: &TestSite<'_>) {
    let file = format!("{}/recipients/{RECIPIENT}.toml", site.config_path());
    let text = fs::read_to_string(&file).unwrap();
    let lines = format!(
        "\ngroup = \"{GROUP}\"\n\
         ack = {{ topic = \"{ACK_TOPIC}\", within = \"P1D\", since = \"2020-01-01\" }}\nsource "
    );
    assert!(text.contains("\nsource "));
    fs::write(&file, text.replacen("\nsource ", &lines, 1)).unwrap();
    site.apply_topics();
    let patrons = [patron_record("P1", "Berg"), patron_record("P2", "Berg")];
    site.topics.write_records("patron", &patrons);
    site.topics.write_records("loan", &[open_loan("L1", "P1"), open_loan("L2", "P2")]);
    site.run_until_end(&[]);
    site.topics.write_records("patron", &[ProducerRecord::tombstone("P1")]);
    site.run_until_end(&[]);
}

fn retractions(site: &TestSite<'_>, words: &[&str]) -> Value {
    let words = [&["retractions", "--json"], words].concat();
    serde_json::from_str(&run_command(site, &words, 0)).unwrap()
}

/// Key and id of the one retraction.
fn retraction(site: &TestSite<'_>) -> (String, String) {
    let rows = site.topics.read_committed("out.service-message");
    let id_of = |row: &ConsumedMessage| {
        let (_, id) = row.headers.iter().find(|(name, _)| name == "zeef-retraction-id")?;
        let id = String::from_utf8(id.clone()?).unwrap();
        Some((row.key_text().to_owned(), id))
    };
    let found: Vec<_> = rows.iter().filter_map(id_of).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

fn wait_gauge(zeef: &ZeefProcess, name: &str, want: f64) {
    eventually(&format!("{name} is {want}"), WAIT_TIMEOUT, || {
        let found = zeef.fetch_metric_sum(name, &[("recipient", RECIPIENT)]);
        (found == Some(want)).then_some(())
    });
}

#[test]
fn retraction_is_acknowledged_on_kafka_by_key_and_id() {
    let Some(site) = site_with_retraction("acknowledged") else {
        return;
    };
    let (key, id) = retraction(&site);
    let open = retractions(&site, &["--open"]);
    assert_eq!(open.as_array().unwrap().len(), 1, "{open}");
    assert_eq!((open[0]["id"].as_str(), &open[0]["reason"]), (Some(id.as_str()), &"erase".into()));
    // Its group has read nothing yet.
    assert_eq!(open[0]["read"], false, "{open}");
    let zeef = site.spawn_ready_run(&[]);
    wait_gauge(&zeef, "zeef_retractions_unacknowledged", 1.0);
    wait_gauge(&zeef, "zeef_retractions_overdue", 0.0);
    let damaged = [
        ProducerRecord::new(&key, "not an id"),
        ProducerRecord::new("AAAAAAAAAAAAAAAAAAAAAA", &id),
        ProducerRecord::new(&key, "0".repeat(32)),
    ];
    site.topics.write_records(ACK_TOPIC, &damaged);
    eventually("the damaged one is counted", WAIT_TIMEOUT, || {
        let labels = [("recipient", RECIPIENT), ("outcome", "damaged")];
        let found = zeef.fetch_metric_sum("zeef_acknowledgements_total", &labels);
        (found == Some(1.0)).then_some(())
    });
    wait_gauge(&zeef, "zeef_retractions_unacknowledged", 1.0);
    assert!(zeef.stderr().contains("acknowledgements without a key"), "{}", zeef.stderr());
    assert!(!zeef.stderr().contains("not an id"), "{}", zeef.stderr());
    site.topics.write_records(ACK_TOPIC, &[ProducerRecord::new(&key, &id)]);
    wait_gauge(&zeef, "zeef_retractions_unacknowledged", 0.0);
    assert_eq!(retractions(&site, &["--open"]), serde_json::json!([]));
    let summary = retractions(&site, &[RECIPIENT]);
    let count = |name: &str| summary[0][name].as_u64().unwrap();
    let names = ["retracted", "open", "accepted", "unmatched", "damaged"];
    assert_eq!(names.map(count), [1, 0, 1, 2, 1], "{summary}");
}

/// What nobody can know is not shown, rather than what it was before.
#[test]
fn partner_gauges_are_left_out_while_the_broker_does_not_answer() {
    let Some(broker) = Broker::start_own(BrokerOptions::default()) else {
        return;
    };
    let site = TestSite::on_broker(&broker, "partner-outage", options());
    retract_one(&site);
    let zeef = site.spawn_ready_run(&[]);
    const GAUGES: [&str; 2] = ["zeef_partner_read_lag", "zeef_retractions_unacknowledged"];
    let wait_shown = |what: &str, shown: bool| {
        eventually(what, WAIT_TIMEOUT, || {
            let text = zeef.fetch_metrics()?;
            GAUGES.iter().all(|gauge| text.contains(gauge) == shown).then_some(())
        });
    };
    wait_shown("both gauges are shown", true);
    broker.stop();
    wait_shown("neither is shown", false);
    broker.start();
    wait_shown("both are shown again", true);
}

/// A consumer of `deploy/examples`, stopped when it is dropped.
struct ExampleConsumer(Child);

impl ExampleConsumer {
    /// Starts a program with the arguments that the contract gives.
    fn spawn(site: &TestSite<'_>, mut program: Command) -> ExampleConsumer {
        let words = ["contract", RECIPIENT, "--format", "asyncapi", "--config", site.config_path()];
        let mut told = ZeefProcess::spawn(&words, &[]);
        assert_eq!(told.wait_exit(WAIT_TIMEOUT), 0, "{}", told.stderr());
        let contract: Value = serde_json::from_str(&told.stdout()).unwrap();
        let child = program
            .arg(site.broker.bootstrap_server())
            .arg(site.topics.full_name("out.service-message"))
            .arg(site.topics.full_name(GROUP))
            .arg(contract["info"]["version"].as_str().unwrap())
            .arg(contract["channels"]["acknowledgements"]["address"].as_str().unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        ExampleConsumer(child)
    }
}

impl Drop for ExampleConsumer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What it acknowledges counts, and how far it has read is seen, also once it stopped.
fn check_example_consumer(site: &TestSite<'_>, program: Command) {
    let mut zeef = site.spawn_ready_run(&[]);
    eventually("the group is behind", WAIT_TIMEOUT, || {
        let lag = zeef.fetch_metric_sum("zeef_partner_read_lag", &[("recipient", RECIPIENT)])?;
        (lag >= 3.0).then_some(())
    });
    let mut consumer = ExampleConsumer::spawn(site, program);
    wait_gauge(&zeef, "zeef_retractions_unacknowledged", 0.0);
    wait_gauge(&zeef, "zeef_partner_read_lag", 0.0);
    assert!(consumer.0.try_wait().unwrap().is_none(), "the consumer ended");
    drop(consumer);
    site.topics.write_records("patron", &[ProducerRecord::tombstone("P2")]);
    wait_gauge(&zeef, "zeef_retractions_unacknowledged", 1.0);
    eventually("the group is behind again", WAIT_TIMEOUT, || {
        let lag = zeef.fetch_metric_sum("zeef_partner_read_lag", &[("recipient", RECIPIENT)])?;
        (lag >= 1.0).then_some(())
    });
    let open = retractions(site, &["--open"]);
    assert_eq!((&open[0]["read"], open.as_array().unwrap().len()), (&false.into(), 1), "{open}");
    let unacknowledged = |patron: &str| {
        let told = run_command(site, &["ledger", "patron", patron, "--json"], 0);
        let told: Value = serde_json::from_str(&told).unwrap();
        told["unacknowledged"].clone()
    };
    assert_eq!(unacknowledged("P2")[0]["retractions"], 1);
    assert_eq!(unacknowledged("P1"), serde_json::json!([]));
    zeef.send_signal(Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0, "{}", zeef.stderr());
}

#[test]
fn java_consumer_acknowledges_and_its_lag_is_seen() {
    let Some(site) = site_with_retraction("java-consumer") else {
        return;
    };
    // By the library that the broker itself has.
    let fetched = Command::new(KAFKA_SCRIPT).arg("fetch").output().unwrap();
    let jars = format!("{}/*", String::from_utf8_lossy(&fetched.stdout).trim());
    let mut java = Command::new("java");
    java.args(["-cp", &jars]).arg(format!("{EXAMPLES}/Consumer.java"));
    check_example_consumer(&site, java);
}

#[test]
fn python_consumer_acknowledges_and_its_lag_is_seen() {
    let has_library = Command::new("python3").args(["-c", "import confluent_kafka"]).output();
    if !has_library.is_ok_and(|ran| ran.status.success()) {
        // As tests of a broker do: never in CI.
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "confluent_kafka is needed");
        return;
    }
    let Some(site) = site_with_retraction("python-consumer") else {
        return;
    };
    let mut python = Command::new("python3");
    python.arg(format!("{EXAMPLES}/consumer.py"));
    check_example_consumer(&site, python);
}
