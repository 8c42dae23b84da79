//! Topics that lost something, or were made anew: no start and no running
//! process goes on.

use std::fs;
use std::path::{Path, PathBuf};

use super::ContinuityFixture;
use super::fixture::{PATRON_COUNT, granted_consent};
use crate::harness::{ConsumedMessage, ProducerRecord, eventually};
use crate::operations::test_site::{WAIT_TIMEOUT, objection_record};

/// Others that object or agree: more than lay there before.
fn records_of_other_patrons(record: impl Fn(&str) -> ProducerRecord) -> Vec<ProducerRecord> {
    (20..25).map(|n| record(&format!("P{n}"))).collect()
}

#[test]
fn gate_log_truncation_stops_a_start() {
    for (test, topic) in [("cut-objection", "objection"), ("cut-consent", "consent")] {
        let Some(fixture) = ContinuityFixture::with_records_read(test) else {
            return;
        };
        fixture.0.topics.delete_records_before(topic, 0, 1);
        fixture.expect_next_start_stops(&["gate log cut", topic]);
    }
}

#[test]
fn gate_log_truncation_stops_a_running_process() {
    let Some(fixture) = ContinuityFixture::with_records_read("cut-live") else {
        return;
    };
    fixture.expect_running_process_stops(|fixture| {
        fixture.0.topics.delete_records_before("objection", 0, 1)
    });
}

#[test]
fn gate_log_recreated_empty_stops_a_start() {
    let Some(fixture) = ContinuityFixture::with_records_read("consent-empty") else {
        return;
    };
    fixture.recreate_topic("consent");
    fixture.expect_next_start_stops(&["shorter than what was read", "consent"]);
}

#[test]
fn gate_log_recreated_longer_stops_a_start() {
    let Some(fixture) = ContinuityFixture::with_records_read("objection-longer") else {
        return;
    };
    fixture.recreate_topic("objection");
    fixture.write("objection", &records_of_other_patrons(objection_record));
    fixture.expect_next_start_stops(&["replaced", "objection"]);
}

#[test]
fn gate_log_recreated_longer_stops_a_running_process() {
    let Some(fixture) = ContinuityFixture::with_records_read("consent-live") else {
        return;
    };
    fixture.expect_running_process_stops(|fixture| {
        fixture.recreate_topic("consent");
        fixture.write("consent", &records_of_other_patrons(granted_consent));
    });
}

#[test]
fn gate_log_recreated_empty_stops_a_running_process() {
    for (test, topic) in [("consent-gone", "consent"), ("objection-gone", "objection")] {
        let Some(fixture) = ContinuityFixture::with_records_read(test) else {
            return;
        };
        fixture.expect_running_process_stops(|fixture| fixture.recreate_topic(topic));
    }
}

#[test]
fn source_recreated_longer_stops_a_start() {
    let Some(fixture) = ContinuityFixture::with_records_read("loan-longer") else {
        return;
    };
    fixture.recreate_topic("loan");
    fixture.write_loans("M", 0..PATRON_COUNT);
    fixture.write_loans("N", 0..PATRON_COUNT);
    fixture.expect_next_start_stops(&["replaced", "loan"]);
}

#[test]
fn patron_topic_recreated_empty_stops_a_start() {
    let Some(fixture) = ContinuityFixture::with_records_read("patron-empty") else {
        return;
    };
    fixture.recreate_topic("patron");
    fixture.expect_next_start_stops(&["shorter than what was read", "patron"]);
}

#[test]
fn state_topic_recreated_stops_a_start() {
    let Some(fixture) = ContinuityFixture::with_records_read("state-anew") else {
        return;
    };
    fixture.0.topics.delete("zeef.state.main");
    let said = fixture.0.expect_run_exit(&["--until-end"], 78);
    assert!(said.contains("zeef.state.main"), "{said}");
    eventually("the topic is made", WAIT_TIMEOUT, || {
        let mut zeef = fixture.0.spawn_command(&["topics", "--apply"]);
        let done = zeef.wait_exit(WAIT_TIMEOUT) == 0;
        (done && fixture.0.topics.list().contains(&"zeef.state.main".to_owned())).then_some(())
    });
    fixture.expect_next_start_stops(&["state missing", "zeef forget"]);
}

/// The group is lost as well: only the outputs tell that there was a state.
#[test]
fn state_topic_recreated_and_group_deleted_stops_a_start() {
    let Some(fixture) = ContinuityFixture::with_records_read("both-anew") else {
        return;
    };
    fixture.recreate_topic("zeef.state.main");
    fixture.run_consumer_groups_tool(&["--delete"]);
    fixture.expect_next_start_stops(&["state missing", "neither group nor state"]);
}

/// A copy of yesterday is put back, while the group's offsets stayed.
#[test]
fn state_restored_from_an_older_copy_stops_a_start() {
    let Some(fixture) = ContinuityFixture::with_records_read("state-older") else {
        return;
    };
    let copy = fixture.0.topics.read_committed("zeef.state.main");
    fixture.write("patron", &[ProducerRecord::tombstone("P2")]);
    fixture.run_until_end();
    fixture.recreate_topic("zeef.state.main");
    let rows = copy.iter().map(|row| {
        let key = row.key.as_deref().unwrap_or_default();
        let record = match &row.value {
            Some(value) => ProducerRecord::new(key, value),
            None => ProducerRecord::tombstone(key),
        };
        record.in_partition(row.partition)
    });
    fixture.write("zeef.state.main", &rows.collect::<Vec<_>>());
    fixture.expect_next_start_stops(&["state older than the offsets"]);
}

#[test]
fn state_row_missing_beside_its_mark_stops_a_start() {
    let Some(fixture) = ContinuityFixture::with_records_read("rows-gone") else {
        return;
    };
    let rows = fixture.0.topics.read_committed("zeef.state.main");
    let row = rows.iter().find(|row| row.key_text() != "mark").unwrap();
    let row = ProducerRecord::tombstone(row.key.clone().unwrap()).in_partition(row.partition);
    fixture.write("zeef.state.main", &[row]);
    fixture.expect_next_start_stops(&["rows differ"]);
}

#[test]
fn state_row_edited_by_hand_stops_a_start() {
    let Some(fixture) = ContinuityFixture::with_records_read("row-edited") else {
        return;
    };
    let rows = fixture.0.topics.read_committed("zeef.state.main");
    let released = |row: &&ConsumedMessage| {
        let text = row.value_text().unwrap_or_default();
        row.key_text() != "mark" && text.contains("\"released\"")
    };
    let row = rows.iter().rev().find(released).unwrap();
    let edited = row.value_text().unwrap().replace("\"released\"", "\"withheld\"");
    let edited = ProducerRecord::new(row.key.clone().unwrap(), edited).in_partition(row.partition);
    fixture.write("zeef.state.main", &[edited]);
    fixture.expect_next_start_stops(&["zeef.state.main"]);
}

/// The run that read the null has ended with it: no later mark says of its row.
#[test]
fn patrons_topic_recreated_empty_stops_a_start() {
    let Some(fixture) = ContinuityFixture::with_an_erasure("erasures-empty") else {
        return;
    };
    fixture.register_erased_patron_again();
    fixture.recreate_topic("zeef.patrons");
    fixture.expect_next_start_stops(&["zeef.patrons", "erasures lost", "from a copy"]);
}

#[test]
fn patrons_topic_recreated_longer_stops_a_start() {
    let Some(fixture) = ContinuityFixture::with_an_erasure("erasures-longer") else {
        return;
    };
    fixture.run_until_end();
    let rows = fixture.0.topics.read_committed("zeef.patrons");
    fixture.recreate_topic("zeef.patrons");
    let other = rows[0].value_text().unwrap().replace("\"offset\":", "\"offset\":9");
    let other = ProducerRecord::new(rows[0].key.clone().unwrap(), other).in_partition(0);
    fixture.write("zeef.patrons", &vec![other; 9]);
    let said = fixture.expect_next_start_stops(&["zeef.patrons", "erasures lost"]);
    fixture.accept_findings(&said);
    fixture.run_until_end();
    fixture.run_until_end();
}

#[test]
fn patrons_topic_truncation_stops_a_start() {
    let Some(fixture) = ContinuityFixture::with_an_erasure("erasures-cut") else {
        return;
    };
    // Kafka refuses to cut a compacted topic.
    let topics = &fixture.0.topics;
    topics.alter_settings("zeef.patrons", &[("cleanup.policy", "delete")]);
    topics.delete_records_before("zeef.patrons", 0, 1);
    topics.alter_settings("zeef.patrons", &[("cleanup.policy", "compact")]);
    fixture.expect_next_start_stops(&["zeef.patrons", "erasures lost"]);
}

#[test]
fn patrons_topic_recreated_stops_a_running_process() {
    let Some(fixture) = ContinuityFixture::with_an_erasure("erasures-live") else {
        return;
    };
    fixture.expect_running_process_stops(|fixture| fixture.recreate_topic("zeef.patrons"));
}

#[test]
fn state_topic_recreated_stops_a_running_process() {
    let Some(fixture) = ContinuityFixture::with_records_read("state-live") else {
        return;
    };
    fixture.expect_running_process_stops(|fixture| fixture.recreate_topic("zeef.state.main"));
}

/// The file of a kind of record, its text, and the line of its topic.
fn read_kind(fixture: &ContinuityFixture, kind: &str) -> (PathBuf, String, String) {
    let path = Path::new(fixture.0.config_path()).join(format!("records/{kind}.toml"));
    let text = fs::read_to_string(&path).unwrap();
    let topic = text.lines().find(|line| line.starts_with("topic")).unwrap().to_owned();
    (path, text, topic)
}

/// Whichever gate it is: also `patron`, whose mark has no hash.
#[test]
fn gate_that_the_config_reads_no_more_stops_a_start() {
    for gate in ["objection", "consent", "patron"] {
        let test = format!("renamed-{gate}");
        let Some(fixture) = ContinuityFixture::with_records_read(&test) else {
            return;
        };
        let (path, text, topic) = read_kind(&fixture, gate);
        fs::write(&path, text.replacen(&topic, "topic = \"renamed\"", 1)).unwrap();
        fixture.run_command(&["topics", "--apply"], 0);
        fixture.expect_next_start_stops(&["read no more", gate]);
        fs::write(&path, text).unwrap();
        fixture.run_until_end();
    }
}

#[test]
fn gates_that_exchange_their_topics_stop_a_start() {
    let Some(fixture) = ContinuityFixture::with_records_read("exchanged-gates") else {
        return;
    };
    let (path, text, topic) = read_kind(&fixture, "objection");
    let (other_path, other_text, other_topic) = read_kind(&fixture, "consent");
    fs::write(&path, text.replacen(&topic, &other_topic, 1)).unwrap();
    fs::write(&other_path, other_text.replacen(&other_topic, &topic, 1)).unwrap();
    fixture.expect_next_start_stops(&["read no more", "as the gate `consent`", "`objection` now"]);
    fs::write(&path, text).unwrap();
    fs::write(&other_path, other_text).unwrap();
    fixture.run_until_end();
}
