//! Outputs and dead letters as those who read them see them: nothing of the
//! input but what the profile names.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::{Record, Row, eventually};

use super::site::WAIT;
use super::{Options, Site, loan, patron};

const DAY_MS: i64 = 86_400_000;

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// The version that the process says is in force.
fn policy_version(text: &str) -> &str {
    let (_, rest) = text.split_once("zeef_policy_info{version=\"").unwrap();
    rest.split_once('"').unwrap().0
}

#[track_caller]
fn check_shape(row: &Row, version: &str) {
    let want = [
        (
            "content-type".to_owned(),
            Some(b"application/json".to_vec()),
        ),
        (
            "zeef-policy-version".to_owned(),
            Some(version.as_bytes().to_vec()),
        ),
    ];
    assert_eq!(row.headers, want);
    let key = row.key_text();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    assert!(key.len() == 22 && key.bytes().all(fits), "{key}");
}

#[test]
fn nothing_of_the_input_leaks_beside_the_profile() {
    let options = Options {
        tables: "[lanes.statistics]\nrecipients = [\"statistics\"]",
        by_period: true,
        ..Options::default()
    };
    let Some(site) = Site::new("partner", options) else {
        return;
    };
    let started = now_ms();
    let odd = started - 500 * DAY_MS + 12_345;
    let mark = "canary-7c3f";
    let with_headers = |record: Record| {
        record
            .at(odd)
            .header("x-secret", mark)
            .header("content-type", "text/plain")
            .header("traceparent", mark)
    };
    // With a sign that no pseudonym has.
    let ids = ["P:1", "P:2", "P:3"];
    let people: Vec<_> = ids
        .iter()
        .map(|id| with_headers(patron(id, "Berg")))
        .collect();
    let loans: Vec<_> = ids
        .iter()
        .map(|id| with_headers(loan(&format!("L-{id}"), id)))
        .collect();
    site.topics.write("patron", &people);
    site.topics.write("loan", &loans);

    let zeef = site.ready(&[]);
    site.consumed(&zeef, "main", "loan", 3);
    let metrics = zeef.metrics().unwrap();
    let version = policy_version(&metrics);
    // A first start publishes by period, too.
    let statistics = eventually("statistics", WAIT, || {
        Some(site.outputs("statistics")).filter(|rows| rows.len() == 3)
    });
    let ended = now_ms();

    let messages = site.outputs("service-message");
    assert_eq!((messages.len(), statistics.len()), (3, 3));
    let days = started - started.rem_euclid(DAY_MS)..=ended;
    // What changes for others does not show in the header of who has a period.
    let (_, own) = statistics[0].headers[1].clone();
    let own = String::from_utf8(own.unwrap()).unwrap();
    assert!(own.len() == version.len() && own != version, "{own}");
    let versions = messages.iter().map(|_| version);
    let versions = versions.chain(statistics.iter().map(|_| own.as_str()));
    for (row, version) in messages.iter().chain(&statistics).zip(versions) {
        check_shape(row, version);
        let text = format!("{} {}", row.key_text(), row.text().unwrap());
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
        assert!(!row.text().unwrap().contains("P:1"), "{row:?}");
    }
    check_outside(&site, version);
}

/// The same, as Kafka's own consumer prints it.
#[track_caller]
fn check_outside(site: &Site<'_>, version: &str) {
    let topic = site.topics.name("out.service-message");
    let shown = site.broker.tool(
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
    let headers = format!("content-type:application/json,zeef-policy-version:{version}\t");
    assert_eq!(shown.lines().count(), 3, "{shown}");
    for line in shown.lines() {
        let value = line.strip_prefix(headers.as_str());
        let value = value.expect("expected the two headers first");
        assert!(
            value.starts_with("{\"name\":\"Berg\",\"email\":\"someone@example.org\",\"title\":"),
            "{line}"
        );
    }
}

#[test]
fn a_dead_letter_points_and_tells_no_value() {
    let Some(site) = Site::new("dead-letters", Options::default()) else {
        return;
    };
    let mark = "canary-51d0";
    site.topics
        .write("patron", &[patron("P1", "Berg").header("x", mark)]);
    let whole = format!(r#"{{"loan_id":"{mark}","patron_id":"P1""#);
    let untitled = format!(
        r#"{{"loan_id":"{mark}","patron_id":"P1","library":"NL-AmrBKW","item":{{"title":7}},"status":"open"}}"#
    );
    let miskeyed = Record::new(
        mark,
        r#"{"loan_id":"L","patron_id":"P1","library":"NL-AmrBKW"}"#,
    );
    let stranger = loan(mark, "P9");
    let fine = loan("fine", "P1");
    let poison = [
        Record::new("P1", whole).header("x", mark),
        Record::new("P1", untitled).header("x", mark),
        miskeyed,
        stranger,
        Record::keyless(mark),
        Record::tombstone("P1"),
        fine,
    ];
    site.topics.write("loan", &poison);
    site.until_end(&[]);
    site.check_loans(["fine".to_owned()]);

    let inputs = site.topics.uncommitted("loan");
    let mut found = BTreeSet::new();
    for (letter, row) in site
        .dead_letters()
        .iter()
        .zip(site.topics.committed("zeef.dead-letters"))
    {
        assert_eq!(row.key, None);
        assert_eq!(row.headers.len(), 2);
        let text = row.text().unwrap();
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
        assert_eq!(
            (&letter["format"], &letter["lane"]),
            (&1.into(), &"main".into())
        );
        assert_eq!(letter["topic"], site.topics.name("loan"));
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
