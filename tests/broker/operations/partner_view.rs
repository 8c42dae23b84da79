//! Outputs and dead letters as those who read them see them: nothing of the
//! input but what the profile names.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::{ConsumedMessage, ProducerRecord, eventually};

use super::test_site::WAIT_TIMEOUT;
use super::{SiteOptions, TestSite, open_loan, patron_record};

const DAY_MS: i64 = 86_400_000;

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// The version that the process says is in force.
fn shown_policy_version(text: &str) -> &str {
    let (_, rest) = text.split_once("zeef_policy_info{version=\"").unwrap();
    rest.split_once('"').unwrap().0
}

#[track_caller]
fn check_headers_and_key(row: &ConsumedMessage, version: &str) {
    let want = [
        ("content-type".to_owned(), Some(b"application/json".to_vec())),
        ("zeef-policy-version".to_owned(), Some(version.as_bytes().to_vec())),
    ];
    let (contract, rest) = row.headers.split_last().unwrap();
    assert_eq!(rest, want);
    let (name, contract_version) = contract;
    assert_eq!(name, "zeef-contract-version");
    let contract_version = contract_version.as_deref().unwrap_or_default();
    let is_hexadecimal = contract_version.iter().all(u8::is_ascii_hexdigit);
    assert!(contract_version.len() == 12 && is_hexadecimal, "{row:?}");
    let key = row.key_text();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    assert!(key.len() == 22 && key.bytes().all(fits), "{key}");
}

#[test]
fn g09_outputs_carry_nothing_of_the_input_but_the_profile() {
    let options = SiteOptions {
        extra_tables: "[lanes.statistics]\nrecipients = [\"statistics\"]",
        is_published_by_period: true,
        ..SiteOptions::default()
    };
    let Some(site) = TestSite::new("partner", options) else {
        return;
    };
    let started = now_ms();
    let odd = started - 500 * DAY_MS + 12_345;
    let mark = "canary-7c3f";
    let with_headers = |record: ProducerRecord| {
        record
            .at_timestamp(odd)
            .with_header("x-secret", mark)
            .with_header("content-type", "text/plain")
            .with_header("traceparent", mark)
    };
    // With a sign that no pseudonym has.
    let ids = ["P:1", "P:2", "P:3"];
    let people: Vec<_> = ids.iter().map(|id| with_headers(patron_record(id, "Berg"))).collect();
    let loans: Vec<_> =
        ids.iter().map(|id| with_headers(open_loan(&format!("L-{id}"), id))).collect();
    site.topics.write_records("patron", &people);
    site.topics.write_records("loan", &loans);

    let zeef = site.spawn_ready_run(&[]);
    site.wait_consumed(&zeef, "main", "loan", 3);
    let metrics = zeef.fetch_metrics().unwrap();
    let version = shown_policy_version(&metrics);
    // A first start publishes by period, too.
    let statistics = eventually("statistics", WAIT_TIMEOUT, || {
        Some(site.read_outputs("statistics")).filter(|rows| rows.len() == 3)
    });
    let ended = now_ms();

    let messages = site.read_outputs("service-message");
    assert_eq!((messages.len(), statistics.len()), (3, 3));
    let days = started - started.rem_euclid(DAY_MS)..=ended;
    // What changes for others does not show in the header of who has a period.
    let (_, own) = statistics[0].headers[1].clone();
    let own = String::from_utf8(own.unwrap()).unwrap();
    assert!(own.len() == version.len() && own != version, "{own}");
    let versions = messages.iter().map(|_| version);
    let versions = versions.chain(statistics.iter().map(|_| own.as_str()));
    for (row, version) in messages.iter().chain(&statistics).zip(versions) {
        check_headers_and_key(row, version);
        let text = format!("{} {}", row.key_text(), row.value_text().unwrap());
        assert!(!text.contains(mark), "{text}");
        for id in ids {
            assert!(!row.key_text().contains(id), "{text}");
        }
    }
    for row in &messages {
        let at = row.timestamp_ms.unwrap();
        assert!((started..=ended).contains(&at), "{at}");
    }
    for row in &statistics {
        let at = row.timestamp_ms.unwrap();
        assert!(at % DAY_MS == 0 && days.contains(&at), "{at}");
        assert!(!row.value_text().unwrap().contains("P:1"), "{row:?}");
    }
    check_with_console_consumer(&site, version);
}

/// The same, as Kafka's own consumer prints it.
#[track_caller]
fn check_with_console_consumer(site: &TestSite<'_>, version: &str) {
    let topic = site.topics.full_name("out.service-message");
    let shown = site.broker.run_tool(
        "console-consumer",
        &[
            "--topic",
            &topic,
            "--from-beginning",
            "--isolation-level",
            "read_committed",
            "--formatter-property",
            "print.headers=true",
            "--max-messages",
            "3",
        ],
    );
    let headers = format!(
        "content-type:application/json,zeef-policy-version:{version},zeef-contract-version:"
    );
    assert_eq!(shown.lines().count(), 3, "{shown}");
    for line in shown.lines() {
        let value = line.strip_prefix(headers.as_str());
        let value = value.and_then(|rest| rest.split_once('\t'));
        let (_, value) = value.expect("expected the three headers first");
        assert!(
            value.starts_with("{\"name\":\"Berg\",\"email\":\"someone@example.org\",\"title\":"),
            "{line}"
        );
    }
}

#[test]
fn dead_letter_points_to_its_record_and_carries_no_value() {
    let Some(site) = TestSite::new("dead-letters", SiteOptions::default()) else {
        return;
    };
    let mark = "canary-51d0";
    site.topics.write_records("patron", &[patron_record("P1", "Berg").with_header("x", mark)]);
    let whole = format!(r#"{{"loan_id":"{mark}","patron_id":"P1""#);
    let untitled = format!(
        r#"{{"loan_id":"{mark}","patron_id":"P1","library":"NL-AmrBKW","item":{{"title":7}},"status":"open"}}"#
    );
    let miskeyed =
        ProducerRecord::new(mark, r#"{"loan_id":"L","patron_id":"P1","library":"NL-AmrBKW"}"#);
    let stranger = open_loan(mark, "P9");
    let fine = open_loan("fine", "P1");
    let poison = [
        ProducerRecord::new("P1", whole).with_header("x", mark),
        ProducerRecord::new("P1", untitled).with_header("x", mark),
        miskeyed,
        stranger,
        ProducerRecord::without_key(mark),
        ProducerRecord::tombstone("P1"),
        fine,
    ];
    site.topics.write_records("loan", &poison);
    site.run_until_end(&[]);
    site.check_loans_delivered(["fine".to_owned()]);

    let inputs = site.topics.read_uncommitted("loan");
    let mut found = BTreeSet::new();
    for (letter, row) in
        site.read_dead_letters().iter().zip(site.topics.read_committed("zeef.dead-letters"))
    {
        assert_eq!(row.key, None);
        assert_eq!(row.headers.len(), 2);
        let text = row.value_text().unwrap();
        assert!(!text.contains("canary") && !text.contains("P1"), "{text}");
        let object = letter.as_object().unwrap();
        let names: Vec<&str> = object.keys().map(String::as_str).collect();
        let mut want = vec![
            "format",
            "lane",
            "offset",
            "partition",
            "policy_version",
            "reason",
            "time",
            "topic",
        ];
        if object.contains_key("recipient") {
            want.insert(6, "recipient");
        }
        assert_eq!(names, want, "{text}");
        assert_eq!((&letter["format"], &letter["lane"]), (&1.into(), &"main".into()));
        assert_eq!(letter["topic"], site.topics.full_name("loan"));
        let pointed = inputs.iter().find(|input| {
            letter["partition"] == input.partition && letter["offset"] == input.offset
        });
        assert!(pointed.is_some(), "{text}");
        let said = |name: &str| letter[name].as_str().unwrap_or("all").to_owned();
        found.insert((said("reason"), said("recipient")));
    }
    let want: BTreeSet<(String, String)> = [
        ("not_json", "all"),
        ("malformed", "service-message"),
        ("miskeyed", "all"),
        ("null_value", "all"),
    ]
    .map(|(reason, recipient)| (reason.to_owned(), recipient.to_owned()))
    .into();
    assert_eq!(found, want);
}
