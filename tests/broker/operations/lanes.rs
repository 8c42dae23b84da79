//! Recipients that move to another lane, or are served no longer.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::harness::{ProducerRecord, ZeefProcess, eventually};
use rustix::process::Signal;
use zeef::transport::kafka::lane_states::{PartitionRows, StateReader, StateRewriter};
use zeef::transport::kafka::topics::TopicError;

use super::test_site::WAIT_TIMEOUT;
use super::{SiteOptions, TestSite, open_loan, patron_record};

const RECIPIENTS: &[&str] = &["service-message", "statistics"];
const MESSAGE_LANE_SECTION: &str = "[lanes.message]\nrecipients = [\"service-message\"]\n";
const FORMER_SECTION: &str =
    "[former.service-message]\ntopics = [\"out.service-message\"]\nwhat = \"retract\"\n";

fn lanes_options(tables: &'static str) -> SiteOptions<'static> {
    SiteOptions { recipients: RECIPIENTS, extra_tables: tables, ..SiteOptions::default() }
}

/// Runs `zeef lanes apply`; yields what it said.
#[track_caller]
fn run_lanes_apply(site: &TestSite<'_>, arguments: &[&str], code: i32) -> String {
    let mut zeef: ZeefProcess = site.spawn_command(&[&["lanes", "apply"], arguments].concat());
    let found = zeef.wait_exit(WAIT_TIMEOUT);
    let said = format!("{}{}", zeef.stdout(), zeef.stderr());
    assert_eq!(found, code, "{said}");
    said
}

/// How many outputs the recipient was sent, and how many nulls.
fn count_outputs_and_nulls(site: &TestSite<'_>) -> (usize, usize) {
    let rows = site.read_outputs("service-message");
    let nulls = rows.iter().filter(|row| row.value_text().is_none()).count();
    (rows.len() - nulls, nulls)
}

#[test]
fn lanes_apply_moves_a_recipient_with_its_outputs_and_back() {
    let Some(site) = TestSite::new("lanes", lanes_options("")) else {
        return;
    };
    let ids: Vec<String> = (0..12).map(|number| format!("P{number}")).collect();
    let patrons: Vec<ProducerRecord> = ids.iter().map(|id| patron_record(id, "Berg")).collect();
    site.topics.write_records("patron", &patrons);
    let loans = ids.iter().map(|id| open_loan(&format!("L{id}"), id));
    site.topics.write_records("loan", &loans.collect::<Vec<_>>());
    site.run_until_end(&[]);
    assert_eq!(count_outputs_and_nulls(&site), (12, 0));

    site.write_config(lanes_options(MESSAGE_LANE_SECTION));
    site.apply_topics();
    let said = site.expect_run_exit(&[], 78);
    assert!(said.contains("12 outputs") && said.contains("zeef lanes apply"), "{said}");
    let said = run_lanes_apply(&site, &["--dry-run"], 0);
    assert!(said.contains("service-message: would move from lane main to message"), "{said}");
    site.expect_run_exit(&[], 78);

    // An erasure before, and one after.
    site.topics.write_records("patron", &[ProducerRecord::tombstone("P0")]);
    let said = run_lanes_apply(&site, &[], 0);
    assert!(said.contains("moved from lane main to message, with 12 outputs"), "{said}");
    let said = run_lanes_apply(&site, &[], 0);
    assert!(said.contains("nothing to do"), "{said}");
    site.topics.write_records("patron", &[ProducerRecord::tombstone("P1")]);
    site.topics.write_records("loan", &[open_loan("LNew", "P2")]);
    site.run_until_end(&[]);
    assert_eq!(count_outputs_and_nulls(&site), (13, 2));
    site.run_until_end(&[]);
    assert_eq!(count_outputs_and_nulls(&site), (13, 2));

    // Nobody may run meanwhile.
    let mut alive = site.spawn_ready_run(&[]);
    site.write_config(lanes_options(""));
    let said = run_lanes_apply(&site, &[], 78);
    assert!(said.contains("stop all processes first"), "{said}");
    alive.send_signal(Signal::TERM);
    assert_eq!(alive.wait_exit(WAIT_TIMEOUT), 0, "{}", alive.stderr());
    site.topics.write_records("patron", &[ProducerRecord::tombstone("P2")]);
    // Killed at any time it goes on where it was.
    for milliseconds in [200, 500, 900, 1_400] {
        let zeef = site.spawn_command(&["lanes", "apply"]);
        std::thread::sleep(Duration::from_millis(milliseconds));
        zeef.send_signal(Signal::KILL);
    }
    run_lanes_apply(&site, &[], 0);
    site.run_until_end(&[]);
    assert_eq!(count_outputs_and_nulls(&site), (13, 4));
    site.run_until_end(&[]);
    assert_eq!(count_outputs_and_nulls(&site), (13, 4));

    // Served no longer: what it has is taken back as the config says.
    let file = Path::new(site.config_path()).join("recipients/service-message.toml");
    fs::remove_file(file).unwrap();
    let statistics = |tables| SiteOptions { recipients: &["statistics"], ..lanes_options(tables) };
    site.write_config(statistics(""));
    let said = site.expect_run_exit(&[], 78);
    assert!(said.contains(FORMER_SECTION.trim_end()), "{said}");
    site.write_config(statistics(FORMER_SECTION));
    site.run_until_end(&[]);
    assert_eq!(count_outputs_and_nulls(&site), (13, 13));
    site.write_config(statistics(""));
    site.run_until_end(&[]);
    assert_eq!(count_outputs_and_nulls(&site), (13, 13));
}

/// Renames the recipient of messages: its file and, the first time, its key. Its topic stays.
fn rename_recipient(site: &TestSite<'_>) {
    let config = Path::new(site.config_path());
    let paths = |name: &str| {
        let (file, key) = (format!("recipients/{name}.toml"), format!("keys/{name}.key"));
        (config.join(file), config.join(key))
    };
    let ((file, key), (new_file, new_key)) = (paths("service-message"), paths("due-message"));
    let text = fs::read_to_string(&file).unwrap();
    fs::remove_file(file).unwrap();
    fs::write(new_file, text.replacen("\"service-message\"", "\"due-message\"", 1)).unwrap();
    if key.exists() {
        fs::rename(key, new_key).unwrap();
    }
}

/// How many keys of the topic of messages have a value.
fn count_live_messages(site: &TestSite<'_>) -> usize {
    let rows = site.read_outputs("service-message");
    let last: BTreeMap<_, _> =
        rows.iter().map(|row| (row.key.clone(), row.value_text().is_some())).collect();
    last.values().filter(|is_live| **is_live).count()
}

/// Under the same key on the same topic both names have one message: it stays with the served one,
/// and a lane takes nothing back on the topic of another.
#[test]
fn renamed_recipient_keeps_its_messages_whatever_is_said_of_its_former_name() {
    let Some(site) = TestSite::new("renamed", lanes_options("")) else {
        return;
    };
    let patrons = ["P0", "P1", "P2"];
    site.topics.write_records("patron", &patrons.map(|id| patron_record(id, "Berg")));
    site.topics.write_records("loan", &patrons.map(|id| open_loan(&format!("L{id}"), id)));
    site.run_until_end(&[]);
    assert_eq!(count_outputs_and_nulls(&site), (3, 0));

    let keep = FORMER_SECTION.replace("retract", "keep");
    let write_renamed = |tables: &str| {
        site.write_config(SiteOptions { extra_tables: tables, ..lanes_options("") });
        rename_recipient(&site);
    };
    write_renamed(&format!("[lanes.message]\nrecipients = [\"due-message\"]\n{keep}"));
    site.apply_topics();
    let said = site.expect_run_exit(&[], 78);
    assert!(said.contains("lane `message` serves `due-message` there"), "{said}");
    assert!(said.contains("run `zeef lanes apply`"), "{said}");
    let said = run_lanes_apply(&site, &[], 0);
    assert!(said.contains("service-message: moved from lane main to message"), "{said}");
    site.run_until_end(&[]);
    assert_eq!(count_outputs_and_nulls(&site), (6, 0));

    write_renamed(&format!("[lanes.message]\nrecipients = [\"due-message\"]\n{FORMER_SECTION}"));
    site.run_until_end(&[]);
    assert_eq!(count_outputs_and_nulls(&site), (6, 0));
    site.topics.write_records("patron", &[ProducerRecord::tombstone("P0")]);
    site.run_until_end(&[]);
    assert_eq!(count_outputs_and_nulls(&site), (6, 1));
    assert_eq!(count_live_messages(&site), 2);
}

/// The lines that a start asks for end the matter, also with a lane whose recipients are off,
/// and for a lane that comes later.
#[test]
fn former_recipient_makes_no_lane_run_or_count_its_outputs() {
    const IDLE: &str = "[lanes.idle]\nrecipients = [\"newsletter\"]\n";
    let with = |tables| SiteOptions {
        recipients: &["service-message", "statistics", "newsletter", "reservation-slip"],
        ..lanes_options(tables)
    };
    let Some(site) = TestSite::without_topics("former-lanes", with("")) else {
        return;
    };
    let switch_off = |names: &[&str]| {
        for name in names {
            let file = Path::new(site.config_path()).join(format!("recipients/{name}.toml"));
            let text = fs::read_to_string(&file).unwrap();
            let text = text.replace("enabled      = true\n", "").replace("enabled = true\n", "");
            fs::write(&file, text.replacen("name ", "enabled = false\nname ", 1)).unwrap();
        }
    };
    let former = format!("{IDLE}{FORMER_SECTION}");
    let new_lane = format!("{former}[lanes.pickup]\nrecipients = [\"reservation-slip\"]\n");
    site.write_config(with(IDLE));
    switch_off(&["newsletter", "reservation-slip"]);
    site.apply_topics();
    let ids: Vec<String> = (0..6).map(|number| format!("P{number}")).collect();
    let patrons: Vec<ProducerRecord> = ids.iter().map(|id| patron_record(id, "Berg")).collect();
    site.topics.write_records("patron", &patrons);
    let loans = ids.iter().map(|id| open_loan(&format!("L{id}"), id));
    site.topics.write_records("loan", &loans.collect::<Vec<_>>());
    site.run_until_end(&[]);
    assert_eq!(count_outputs_and_nulls(&site), (6, 0));

    switch_off(&["service-message"]);
    let said = site.expect_run_exit(&[], 78);
    assert!(said.contains(FORMER_SECTION.trim_end()), "{said}");
    site.write_config(SiteOptions { extra_tables: &former, ..with("") });
    switch_off(&["newsletter", "reservation-slip", "service-message"]);
    site.run_until_end(&[]);
    assert_eq!(count_outputs_and_nulls(&site), (6, 6));
    site.apply_topics();
    site.run_until_end(&[]);

    site.write_config(SiteOptions { extra_tables: &new_lane, ..with("") });
    switch_off(&["newsletter", "service-message"]);
    site.apply_topics();
    site.run_until_end(&[]);
    assert_eq!(count_outputs_and_nulls(&site), (6, 6));
}

/// A process that starts after `lanes apply` looked for members is seen before the commit.
#[test]
fn lanes_apply_commits_nothing_while_a_worker_runs() {
    let Some(site) = TestSite::new("lanes-running", lanes_options("")) else {
        return;
    };
    let settings = site.topics.kafka_settings();
    let writer = StateRewriter::open(&settings).unwrap();
    let row = |key| PartitionRows {
        topic: "zeef.state.main",
        partition: 0,
        rows: vec![(key, Some(b"{}".as_slice()))],
    };
    let mut alive = site.spawn_ready_run(&[]);
    let refused = writer.write(&["message", "main"], &[row(b"first".as_slice())], &[]);
    assert!(matches!(refused, Err(TopicError::StillRunning { members: 1, .. })), "{refused:?}");
    alive.send_signal(Signal::KILL);
    alive.wait_exit(WAIT_TIMEOUT);
    // The member stays for its session.
    let reader = StateReader::open(&settings).unwrap();
    eventually("the member is gone", WAIT_TIMEOUT, || {
        (reader.member_count("main").unwrap() == 0).then_some(())
    });
    writer.write(&["message", "main"], &[row(b"second".as_slice())], &[]).unwrap();
    let mut keys = Vec::new();
    reader.read_rows(("zeef.state.main", 0), &mut |key, _| keys.push(key.to_vec())).unwrap();
    assert!(keys.contains(&b"second".to_vec()), "{keys:?}");
    assert!(!keys.contains(&b"first".to_vec()), "{keys:?}");
}
