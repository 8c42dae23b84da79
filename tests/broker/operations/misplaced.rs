//! Records in other partitions than their keys belong in, as a producer with
//! another partitioner writes them: none of them is passed over in silence.

use std::collections::BTreeMap;

use zeef::transport::kafka::partitioner::{KeyPlacement, Partitioner as Spread};

use crate::harness::{ProducerPartitioner, ProducerRecord, ZeefProcess, eventually};

use super::test_site::{WAIT_TIMEOUT, consent_record, objection_record, text_field};
use super::{SiteOptions, TestSite, open_loan, patron_record};

const PARTITIONS: i32 = 4;

fn gate_options() -> SiteOptions<'static> {
    SiteOptions {
        recipients: &["service-message", "statistics", "kb-membership"],
        partitions: PARTITIONS as usize,
        ..SiteOptions::default()
    }
}

fn patron_ids(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("P{number}")).collect()
}

fn home_partition(key: &str) -> i32 {
    let placement = KeyPlacement::new(Spread::Murmur2, PARTITIONS).unwrap();
    placement.home_partition(key.as_bytes())
}

/// The same record where it does not belong.
fn to_wrong_partition(key: &str, record: ProducerRecord) -> ProducerRecord {
    record.in_partition((home_partition(key) + 1) % PARTITIONS)
}

/// What a recipient has now: the last value of each key.
fn latest_outputs(
    site: &TestSite<'_>,
    recipient: &str,
) -> BTreeMap<String, crate::harness::ConsumedMessage> {
    let mut rows = BTreeMap::new();
    for row in site.read_outputs(recipient) {
        match row.value_text() {
            Some(_) => rows.insert(row.key_text().to_owned(), row),
            None => rows.remove(row.key_text()),
        };
    }
    rows
}

/// Waits until a recipient has so many outputs: a commit is seen a moment after
/// it was made.
#[track_caller]
fn wait_for_output_count(site: &TestSite<'_>, recipient: &str, count: usize) {
    eventually(&format!("{count} outputs of {recipient}"), WAIT_TIMEOUT, || {
        (latest_outputs(site, recipient).len() == count).then_some(())
    });
}

#[track_caller]
fn check_latest_fields(site: &TestSite<'_>, recipient: &str, field: &str, want: &[String]) {
    let rows = latest_outputs(site, recipient);
    let mut found: Vec<String> = rows.values().map(|row| text_field(row, field)).collect();
    let mut want = want.to_vec();
    found.sort();
    want.sort();
    assert_eq!(found, want, "{recipient}");
}

/// Runs a command of `zeef gates`, which must end with `code`.
#[track_caller]
fn run_gates_command(site: &TestSite<'_>, args: &[&str], code: i32) -> String {
    let mut zeef: ZeefProcess = site.spawn_command(&[&["gates"], args].concat());
    let found = zeef.wait_exit(WAIT_TIMEOUT);
    assert_eq!(found, code, "{}{}", zeef.stdout(), zeef.stderr());
    zeef.stdout()
}

fn write_patrons_with_loans_and_consents(site: &TestSite<'_>, people: &[String]) {
    let patrons: Vec<_> = people.iter().map(|id| patron_record(id, "Berg")).collect();
    let loans: Vec<_> = people.iter().map(|id| open_loan(&format!("L-{id}"), id)).collect();
    let grants: Vec<_> = people.iter().map(|id| consent_record(id, "granted")).collect();
    site.topics.write_records("patron", &patrons);
    site.topics.write_records("consent", &grants);
    site.topics.write_records("loan", &loans);
}

/// How many of these keys lie elsewhere than they belong, by the broker.
fn count_misplaced(site: &TestSite<'_>, topic: &str) -> usize {
    let rows = site.topics.read_committed(topic);
    let away = rows.iter().filter(|row| home_partition(row.key_text()) != row.partition);
    away.count()
}

#[test]
fn misplaced_gate_records_count_after_gates_repair() {
    let Some(site) = TestSite::new("misplaced", gate_options()) else {
        return;
    };
    write_patrons_with_loans_and_consents(&site, &patron_ids(0..40));
    let mut zeef = site.spawn_ready_run(&[]);
    site.wait_consumed(&zeef, "main", "loan", 40);
    wait_for_output_count(&site, "statistics", 40);
    wait_for_output_count(&site, "kb-membership", 40);

    // librdkafka's own partitioner.
    let objections: Vec<_> = patron_ids(0..15).iter().map(|id| objection_record(id)).collect();
    let withdrawals: Vec<_> =
        patron_ids(15..30).iter().map(|id| consent_record(id, "withdrawn")).collect();
    let erasures: Vec<_> = patron_ids(30..40).iter().map(ProducerRecord::tombstone).collect();
    for (topic, records) in
        [("objection", &objections), ("consent", &withdrawals), ("patron", &erasures)]
    {
        site.topics.write_with_partitioner(ProducerPartitioner::Crc32, topic, records);
        assert!(count_misplaced(&site, topic) > 0, "{topic}");
    }
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 70, "{}", zeef.stderr());
    let said = zeef.stderr();
    assert!(said.contains("zeef gates repair"), "{said}");
    assert!(said.contains(" offset "), "{said}");
    assert!(!said.contains("P1"), "{said}");

    // No start goes on without a repair.
    let mut again = site.spawn_run(&["--until-end"]);
    let code = again.wait_exit(WAIT_TIMEOUT);
    assert!([70, 78].contains(&code), "{}", again.stderr());
    assert!(again.stderr().contains("zeef gates repair"), "{}", again.stderr());

    let before: usize =
        ["objection", "consent", "patron"].iter().map(|topic| count_misplaced(&site, topic)).sum();
    run_gates_command(&site, &["census"], 1);
    let told = run_gates_command(&site, &["repair", "--dry-run"], 0);
    assert!(told.contains("would be rewritten"), "{told}");
    let told = run_gates_command(&site, &["repair", "--apply"], 0);
    assert!(told.contains("rewritten:"), "{told}");
    let written: Vec<_> = ["objection", "consent", "patron"]
        .iter()
        .map(|topic| site.topics.read_committed(topic).len())
        .collect();
    // A second time there is nothing to write.
    let told = run_gates_command(&site, &["repair", "--apply"], 0);
    let mut lines = told.lines().filter(|line| !line.is_empty()).peekable();
    assert!(lines.peek().is_some());
    assert!(lines.all(|line| line.contains(" 0 misplaced")), "{told}");
    let again: Vec<_> = ["objection", "consent", "patron"]
        .iter()
        .map(|topic| site.topics.read_committed(topic).len())
        .collect();
    assert_eq!(again, written);
    run_gates_command(&site, &["census"], 0);

    site.run_until_end(&[]);
    let loans: Vec<String> = patron_ids(0..30).iter().map(|id| format!("L-{id}")).collect();
    check_latest_fields(&site, "service-message", "title", &loans);
    let members: Vec<String> = patron_ids(0..15).iter().map(|id| format!("M-{id}")).collect();
    check_latest_fields(&site, "kb-membership", "member_ref", &members);
    assert_eq!(latest_outputs(&site, "statistics").len(), 15);
    // Each of them is a dead letter, once.
    let letters = site.read_dead_letters();
    let misplaced = letters.iter().filter(|one| one["reason"] == "misplaced");
    assert_eq!(misplaced.count(), before, "{letters:?}");
    assert_eq!(letters.len(), before);
    // And it goes on as ever.
    write_patrons_with_loans_and_consents(&site, &patron_ids(40..45));
    site.run_until_end(&[]);
    assert_eq!(latest_outputs(&site, "statistics").len(), 20);
    assert_eq!(site.read_dead_letters().len(), before);
}

#[test]
fn one_misplaced_gate_record_stops_the_lane() {
    let Some(site) = TestSite::new("misplaced-one", gate_options()) else {
        return;
    };
    write_patrons_with_loans_and_consents(&site, &patron_ids(0..30));
    for (topic, key, record) in [
        ("objection", "P3", objection_record("P3")),
        ("consent", "P4", consent_record("P4", "withdrawn")),
        ("patron", "P5", ProducerRecord::tombstone("P5")),
        ("patron", "P6", patron_record("P6", "Meer")),
    ] {
        let mut zeef = site.spawn_ready_run(&[]);
        site.topics.write_records(topic, &[to_wrong_partition(key, record)]);
        assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 70, "{}", zeef.stderr());
        let name = format!("`{}` partition", site.topics.full_name(topic));
        assert!(zeef.stderr().contains(&name), "{}", zeef.stderr());
        run_gates_command(&site, &["repair", "--apply", "--topic", topic], 0);
    }
    site.run_until_end(&[]);
    assert_eq!(latest_outputs(&site, "statistics").len(), 28);
    assert_eq!(latest_outputs(&site, "kb-membership").len(), 28);
    assert_eq!(latest_outputs(&site, "service-message").len(), 29);
    let names = latest_outputs(&site, "service-message");
    let meer = names.values().filter(|row| text_field(row, "name") == "Meer");
    assert_eq!(meer.count(), 1);
}

#[test]
fn misplaced_loans_are_dead_letters_until_over_ten_stop_the_lane() {
    let Some(site) = TestSite::new("misplaced-loans", gate_options()) else {
        return;
    };
    let people = patron_ids(0..30);
    write_patrons_with_loans_and_consents(&site, &people);
    let mut zeef = site.spawn_ready_run(&[]);
    site.wait_consumed(&zeef, "main", "loan", 30);
    let stray = |id: &String| to_wrong_partition(id, open_loan(&format!("S-{id}"), id));
    let ten: Vec<_> = people[..10].iter().map(stray).collect();
    site.topics.write_records("loan", &ten);
    site.topics.write_records("loan", &[open_loan("later", "P1")]);
    site.wait_consumed(&zeef, "main", "loan", 41);
    assert_eq!(zeef.exit_code(), None, "{}", zeef.stderr());
    wait_for_output_count(&site, "service-message", 31);
    eventually("ten dead letters", WAIT_TIMEOUT, || {
        (site.read_dead_letters().len() == 10).then_some(())
    });

    site.topics.write_records("loan", &[stray(&people[10])]);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 70, "{}", zeef.stderr());
    let said = zeef.stderr();
    let name = format!("topic `{}`: 11 of ", site.topics.full_name("loan"));
    assert!(said.contains(&name), "{said}");
    site.expect_run_exit(&["--until-end"], 78);

    // Set aside they no longer count; nothing was written.
    let before = site.topics.read_committed("loan").len();
    run_gates_command(&site, &["repair", "--apply", "--topic", "loan"], 0);
    assert_eq!(site.topics.read_committed("loan").len(), before);
    site.run_until_end(&[]);
    assert_eq!(latest_outputs(&site, "service-message").len(), 31);
    assert_eq!(site.read_dead_letters().len(), 11);
}

#[test]
fn first_start_refuses_with_a_census_of_misplaced_gate_records() {
    let Some(site) = TestSite::new("census", gate_options()) else {
        return;
    };
    write_patrons_with_loans_and_consents(&site, &patron_ids(0..30));
    // Older than what lies in its place: a patron that was erased since.
    let old = patron_record("P0", "Oud").at_timestamp(1_700_000_000_000);
    site.topics.write_records("patron", &[to_wrong_partition("P0", old)]);
    site.topics.write_records("patron", &[ProducerRecord::tombstone("P0")]);
    site.topics.write_records("objection", &[to_wrong_partition("P1", objection_record("P1"))]);
    // What no repair can mend.
    let quoted = ProducerRecord::new("\"P2\"", "{}");
    site.topics.write_records("consent", &[quoted, ProducerRecord::without_key("{")]);

    let said = site.expect_run_exit(&["--until-end"], 78);
    assert!(said.contains("2 records of patrons, consents and objections"), "{said}");
    assert!(said.contains("zeef gates repair --dry-run"), "{said}");
    assert!(said.contains("census"), "{said}");
    let told = run_gates_command(&site, &["census", "--json"], 1);
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

    run_gates_command(&site, &["repair", "--apply"], 0);
    // The erased one stays erased, in its place too.
    let rows = site.topics.read_committed("patron");
    let in_place =
        rows.iter().rfind(|row| row.key_text() == "P0" && row.partition == home_partition("P0"));
    assert_eq!(in_place.unwrap().value_text(), None);
    // What no repair can mend an operator has to accept.
    let said = site.expect_run_exit(&["--until-end"], 70);
    let code = said.split("zeef accept ").nth(1).expect("a code");
    let code = code.split_whitespace().next().expect("a code");
    let mut accept = site.spawn_command(&["accept", code, "--reason", "a test"]);
    assert_eq!(accept.wait_exit(WAIT_TIMEOUT), 0, "{}", accept.stderr());
    site.run_until_end(&[]);
    assert_eq!(latest_outputs(&site, "service-message").len(), 29);
    assert_eq!(latest_outputs(&site, "statistics").len(), 28);
    run_gates_command(&site, &["census"], 0);
}

/// The worker that meets it is not the one that has the patron.
#[test]
fn misplaced_gate_record_stops_every_worker_of_the_lane() {
    let options = SiteOptions { extra_tables: "[lanes.main]\nworkers = 2", ..gate_options() };
    let Some(site) = TestSite::new("misplaced-workers", options) else {
        return;
    };
    write_patrons_with_loans_and_consents(&site, &patron_ids(0..20));
    let mut zeef = site.spawn_ready_run(&[]);
    let mut other = site.spawn_ready_run(&["--instance", "two"]);
    // Their place says that the producer is not another one.
    let in_place: Vec<_> = patron_ids(8..16).iter().map(|id| objection_record(id)).collect();
    site.topics.write_records("objection", &in_place);
    wait_for_output_count(&site, "statistics", 12);
    site.topics.write_records("objection", &[to_wrong_partition("P7", objection_record("P7"))]);
    for process in [&mut zeef, &mut other] {
        assert_eq!(process.wait_exit(WAIT_TIMEOUT), 70, "{}", process.stderr());
        let said = process.stderr();
        assert!(said.contains("zeef gates repair"), "{said}");
    }
    site.topics.write_records("loan", &[open_loan("after", "P7")]);
    // No worker starts, as another one than that which meets it has the patron.
    let said = site.expect_run_exit(&["--until-end"], 78);
    assert!(said.contains("zeef gates repair"), "{said}");
    assert_eq!(latest_outputs(&site, "statistics").len(), 12);
    run_gates_command(&site, &["repair", "--apply"], 0);
    site.run_until_end(&[]);
    assert_eq!(latest_outputs(&site, "statistics").len(), 11);
}
