//! Records in other partitions than their keys belong in, as a producer with
//! another partitioner writes them: none of them is passed over in silence.

use std::collections::BTreeMap;

use zeef::transport::kafka::partitioner::{Partitioner as Spread, Placement};

use crate::harness::{Partitioner, Record, Zeef, eventually};

use super::site::{WAIT, member, objection};
use super::{Options, Site, loan, patron};

const PARTITIONS: i32 = 4;

fn options() -> Options<'static> {
    Options {
        recipients: &["service-message", "statistics", "kb-membership"],
        partitions: PARTITIONS as usize,
        ..Options::default()
    }
}

fn ids(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("P{number}")).collect()
}

fn home(key: &str) -> i32 {
    let placement = Placement::new(Spread::Murmur2, PARTITIONS).unwrap();
    placement.partition_of(key.as_bytes())
}

/// The same record where it does not belong.
fn astray(key: &str, record: Record) -> Record {
    record.to((home(key) + 1) % PARTITIONS)
}

fn consent(id: &str, decision: &str) -> Record {
    let value = format!(
        concat!(
            r#"{{"consent_id":"C-{id}-{decision}","patron_id":"{id}","library":"NL-AmrBKW","#,
            r#""purpose":"online-library","decision":"{decision}","manner":"digital","#,
            r#""at":"2026-0{month}-01T10:00:00Z"}}"#
        ),
        id = id,
        decision = decision,
        month = if decision == "granted" { 1 } else { 2 },
    );
    Record::new(id, value)
}

/// What a recipient has now: the last value of each key.
fn has(site: &Site<'_>, recipient: &str) -> BTreeMap<String, crate::harness::Row> {
    let mut rows = BTreeMap::new();
    for row in site.outputs(recipient) {
        match row.text() {
            Some(_) => rows.insert(row.key_text().to_owned(), row),
            None => rows.remove(row.key_text()),
        };
    }
    rows
}

/// Waits until a recipient has so many outputs: a commit is seen a moment after
/// it was made.
#[track_caller]
fn wait_has(site: &Site<'_>, recipient: &str, count: usize) {
    eventually(&format!("{count} outputs of {recipient}"), WAIT, || {
        (has(site, recipient).len() == count).then_some(())
    });
}

#[track_caller]
fn check_has(site: &Site<'_>, recipient: &str, field: &str, want: &[String]) {
    let rows = has(site, recipient);
    let mut found: Vec<String> = rows.values().map(|row| member(row, field)).collect();
    let mut want = want.to_vec();
    found.sort();
    want.sort();
    assert_eq!(found, want, "{recipient}");
}

/// Runs a command of `zeef gates`, which must end with `code`.
#[track_caller]
fn gates(site: &Site<'_>, args: &[&str], code: i32) -> String {
    let mut zeef: Zeef = site.zeef(&[&["gates"], args].concat());
    let found = zeef.wait_exit(WAIT);
    assert_eq!(found, code, "{}{}", zeef.stdout(), zeef.stderr());
    zeef.stdout()
}

fn write_people(site: &Site<'_>, people: &[String]) {
    let patrons: Vec<_> = people.iter().map(|id| patron(id, "Berg")).collect();
    let loans: Vec<_> = people
        .iter()
        .map(|id| loan(&format!("L-{id}"), id))
        .collect();
    let grants: Vec<_> = people.iter().map(|id| consent(id, "granted")).collect();
    site.topics.write("patron", &patrons);
    site.topics.write("consent", &grants);
    site.topics.write("loan", &loans);
}

/// How many of these keys lie elsewhere than they belong, by the broker.
fn strays(site: &Site<'_>, topic: &str) -> usize {
    let rows = site.topics.committed(topic);
    let away = rows
        .iter()
        .filter(|row| home(row.key_text()) != row.partition);
    away.count()
}

#[test]
fn what_a_producer_with_another_partitioner_says_is_honoured_after_a_repair() {
    let Some(site) = Site::new("misplaced", options()) else {
        return;
    };
    write_people(&site, &ids(0..40));
    let mut zeef = site.ready(&[]);
    site.consumed(&zeef, "main", "loan", 40);
    wait_has(&site, "statistics", 40);
    wait_has(&site, "kb-membership", 40);

    // librdkafka's own partitioner.
    let objections: Vec<_> = ids(0..15).iter().map(|id| objection(id)).collect();
    let withdrawals: Vec<_> = ids(15..30)
        .iter()
        .map(|id| consent(id, "withdrawn"))
        .collect();
    let erasures: Vec<_> = ids(30..40).iter().map(Record::tombstone).collect();
    for (topic, records) in [
        ("objection", &objections),
        ("consent", &withdrawals),
        ("patron", &erasures),
    ] {
        site.topics.write_by(Partitioner::Crc32, topic, records);
        assert!(strays(&site, topic) > 0, "{topic}");
    }
    assert_eq!(zeef.wait_exit(WAIT), 70, "{}", zeef.stderr());
    let said = zeef.stderr();
    assert!(said.contains("zeef gates repair"), "{said}");
    assert!(said.contains(" offset "), "{said}");
    assert!(!said.contains("P1"), "{said}");

    // No start goes on without a repair.
    let mut again = site.run(&["--until-end"]);
    let code = again.wait_exit(WAIT);
    assert!([70, 78].contains(&code), "{}", again.stderr());
    assert!(
        again.stderr().contains("zeef gates repair"),
        "{}",
        again.stderr()
    );

    let before: usize = ["objection", "consent", "patron"]
        .iter()
        .map(|topic| strays(&site, topic))
        .sum();
    gates(&site, &["census"], 1);
    let told = gates(&site, &["repair", "--dry-run"], 0);
    assert!(told.contains("would be written once more"), "{told}");
    let told = gates(&site, &["repair", "--apply"], 0);
    assert!(told.contains("written once more"), "{told}");
    let written: Vec<_> = ["objection", "consent", "patron"]
        .iter()
        .map(|topic| site.topics.committed(topic).len())
        .collect();
    // A second time there is nothing to write.
    let told = gates(&site, &["repair", "--apply"], 0);
    assert_eq!(told.matches("0 misplaced").count(), 3, "{told}");
    let again: Vec<_> = ["objection", "consent", "patron"]
        .iter()
        .map(|topic| site.topics.committed(topic).len())
        .collect();
    assert_eq!(again, written);
    gates(&site, &["census"], 0);

    site.until_end(&[]);
    let loans: Vec<String> = ids(0..30).iter().map(|id| format!("L-{id}")).collect();
    check_has(&site, "service-message", "title", &loans);
    let members: Vec<String> = ids(0..15).iter().map(|id| format!("M-{id}")).collect();
    check_has(&site, "kb-membership", "member_ref", &members);
    assert_eq!(has(&site, "statistics").len(), 15);
    // Each of them is a dead letter, once.
    let letters = site.dead_letters();
    let misplaced = letters.iter().filter(|one| one["reason"] == "misplaced");
    assert_eq!(misplaced.count(), before, "{letters:?}");
    assert_eq!(letters.len(), before);
    // And it goes on as ever.
    write_people(&site, &ids(40..45));
    site.until_end(&[]);
    assert_eq!(has(&site, "statistics").len(), 20);
    assert_eq!(site.dead_letters().len(), before);
}

#[test]
fn a_single_misplaced_record_of_a_gate_stops_the_lane_wherever_it_is_met() {
    let Some(site) = Site::new("misplaced-one", options()) else {
        return;
    };
    write_people(&site, &ids(0..30));
    for (topic, key, record) in [
        ("objection", "P3", objection("P3")),
        ("consent", "P4", consent("P4", "withdrawn")),
        ("patron", "P5", Record::tombstone("P5")),
        ("patron", "P6", patron("P6", "Meer")),
    ] {
        let mut zeef = site.ready(&[]);
        site.topics.write(topic, &[astray(key, record)]);
        assert_eq!(zeef.wait_exit(WAIT), 70, "{}", zeef.stderr());
        let name = format!("`{}` partition", site.topics.name(topic));
        assert!(zeef.stderr().contains(&name), "{}", zeef.stderr());
        gates(&site, &["repair", "--apply", "--topic", topic], 0);
    }
    site.until_end(&[]);
    assert_eq!(has(&site, "statistics").len(), 28);
    assert_eq!(has(&site, "kb-membership").len(), 28);
    assert_eq!(has(&site, "service-message").len(), 29);
    let names = has(&site, "service-message");
    let meer = names.values().filter(|row| member(row, "name") == "Meer");
    assert_eq!(meer.count(), 1);
}

#[test]
fn misplaced_records_of_other_sources_are_dead_letters_up_to_a_bound() {
    let Some(site) = Site::new("misplaced-loans", options()) else {
        return;
    };
    let people = ids(0..30);
    write_people(&site, &people);
    let mut zeef = site.ready(&[]);
    site.consumed(&zeef, "main", "loan", 30);
    let stray = |id: &String| astray(id, loan(&format!("S-{id}"), id));
    let ten: Vec<_> = people[..10].iter().map(stray).collect();
    site.topics.write("loan", &ten);
    site.topics.write("loan", &[loan("later", "P1")]);
    site.consumed(&zeef, "main", "loan", 41);
    assert_eq!(zeef.exited(), None, "{}", zeef.stderr());
    wait_has(&site, "service-message", 31);
    eventually("ten dead letters", WAIT, || {
        (site.dead_letters().len() == 10).then_some(())
    });

    site.topics.write("loan", &[stray(&people[10])]);
    assert_eq!(zeef.wait_exit(WAIT), 70, "{}", zeef.stderr());
    let said = zeef.stderr();
    let name = format!("topic `{}`: 11 of ", site.topics.name("loan"));
    assert!(said.contains(&name), "{said}");
    site.refused(&["--until-end"], 78);

    // Set aside they no longer count; nothing was written.
    let before = site.topics.committed("loan").len();
    gates(&site, &["repair", "--apply", "--topic", "loan"], 0);
    assert_eq!(site.topics.committed("loan").len(), before);
    site.until_end(&[]);
    assert_eq!(has(&site, "service-message").len(), 31);
    assert_eq!(site.dead_letters().len(), 11);
}

#[test]
fn a_first_start_is_a_census_of_the_gates() {
    let Some(site) = Site::new("census", options()) else {
        return;
    };
    write_people(&site, &ids(0..30));
    // Older than what lies in its place: a patron that was erased since.
    let old = patron("P0", "Oud").at(1_700_000_000_000);
    site.topics.write("patron", &[astray("P0", old)]);
    site.topics.write("patron", &[Record::tombstone("P0")]);
    site.topics
        .write("objection", &[astray("P1", objection("P1"))]);
    // What no repair can mend.
    let quoted = Record::new("\"P2\"", "{}");
    site.topics
        .write("consent", &[quoted, Record::keyless("{")]);

    let said = site.refused(&["--until-end"], 78);
    assert!(
        said.contains("2 records of patrons, consents and objections"),
        "{said}"
    );
    assert!(said.contains("zeef gates repair --dry-run"), "{said}");
    assert!(said.contains("census"), "{said}");
    let told = gates(&site, &["census", "--json"], 1);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let count = |topic: &str, what: &str| {
        let gates = told["gates"].as_array().unwrap();
        let gate = gates.iter().find(|gate| gate["topic"] == topic).unwrap();
        gate[what].as_u64().unwrap()
    };
    assert_eq!(count("patron", "misplaced"), 1);
    assert_eq!(count("patron", "nulls"), 1);
    assert_eq!(count("objection", "misplaced"), 1);
    assert_eq!(count("consent", "near_keys"), 1);
    assert_eq!(count("consent", "keyless"), 1);
    assert_eq!(count("consent", "unreadable"), 2);
    assert_eq!(told["patrons"], 3);

    gates(&site, &["repair", "--apply"], 0);
    // The erased one stays erased, in its place too.
    let rows = site.topics.committed("patron");
    let in_place = rows
        .iter()
        .rfind(|row| row.key_text() == "P0" && row.partition == home("P0"));
    assert_eq!(in_place.unwrap().text(), None);
    // What no repair can mend an operator has to accept.
    let said = site.refused(&["--until-end"], 70);
    let code = said.split("zeef accept ").nth(1).expect("a code");
    let code = code.split_whitespace().next().expect("a code");
    let mut accept = site.zeef(&["accept", code, "--reason", "a test"]);
    assert_eq!(accept.wait_exit(WAIT), 0, "{}", accept.stderr());
    site.until_end(&[]);
    assert_eq!(has(&site, "service-message").len(), 29);
    assert_eq!(has(&site, "statistics").len(), 28);
    gates(&site, &["census"], 0);
}

/// The worker that meets it is not the one that has the patron.
#[test]
fn all_workers_of_a_lane_stop() {
    let options = Options {
        tables: "[lanes.main]\nworkers = 2",
        ..options()
    };
    let Some(site) = Site::new("misplaced-workers", options) else {
        return;
    };
    write_people(&site, &ids(0..20));
    let mut zeef = site.ready(&[]);
    let mut other = site.ready(&["--instance", "two"]);
    // Their place says that the producer is not another one.
    let in_place: Vec<_> = ids(8..16).iter().map(|id| objection(id)).collect();
    site.topics.write("objection", &in_place);
    wait_has(&site, "statistics", 12);
    site.topics
        .write("objection", &[astray("P7", objection("P7"))]);
    for process in [&mut zeef, &mut other] {
        assert_eq!(process.wait_exit(WAIT), 70, "{}", process.stderr());
        let said = process.stderr();
        assert!(said.contains("zeef gates repair"), "{said}");
    }
    site.topics.write("loan", &[loan("after", "P7")]);
    // No worker starts, as another one than that which meets it has the patron.
    let said = site.refused(&["--until-end"], 78);
    assert!(said.contains("zeef gates repair"), "{said}");
    assert_eq!(has(&site, "statistics").len(), 12);
    gates(&site, &["repair", "--apply"], 0);
    site.until_end(&[]);
    assert_eq!(has(&site, "statistics").len(), 11);
}
