//! Topics that lost something, or were made anew: no start and no running
//! process goes on.

use super::Town;
use super::town::{PATRONS, consent};
use crate::harness::{Record, Row, eventually};
use crate::operations::site::{WAIT, objection};

/// Others that object or agree: more than lay there before.
fn others(record: impl Fn(&str) -> Record) -> Vec<Record> {
    (20..25).map(|n| record(&format!("P{n}"))).collect()
}

#[test]
fn a_gate_log_that_was_cut() {
    for (test, topic) in [("cut-objection", "objection"), ("cut-consent", "consent")] {
        let Some(town) = Town::new(test) else {
            return;
        };
        town.0.topics.cut(topic, 0, 1);
        town.stops(&["gate log cut", topic]);
    }
}

#[test]
fn a_gate_log_that_is_cut_while_zeef_runs() {
    let Some(town) = Town::new("cut-live") else {
        return;
    };
    town.stops_live(|town| town.0.topics.cut("objection", 0, 1));
}

#[test]
fn a_gate_log_made_anew_and_empty() {
    let Some(town) = Town::new("consent-empty") else {
        return;
    };
    town.make_anew("consent");
    town.stops(&["shorter than what was read", "consent"]);
}

#[test]
fn a_gate_log_made_anew_and_longer() {
    let Some(town) = Town::new("objection-longer") else {
        return;
    };
    town.make_anew("objection");
    town.write("objection", &others(objection));
    town.stops(&["replaced", "objection"]);
}

#[test]
fn a_gate_log_made_anew_and_longer_while_zeef_runs() {
    let Some(town) = Town::new("consent-live") else {
        return;
    };
    town.stops_live(|town| {
        town.make_anew("consent");
        town.write("consent", &others(consent));
    });
}

#[test]
fn a_source_made_anew_and_longer() {
    let Some(town) = Town::new("loan-longer") else {
        return;
    };
    town.make_anew("loan");
    town.write_loans("M", 0..PATRONS);
    town.write_loans("N", 0..PATRONS);
    town.stops(&["replaced", "loan"]);
}

#[test]
fn patrons_made_anew_and_empty() {
    let Some(town) = Town::new("patron-empty") else {
        return;
    };
    town.make_anew("patron");
    town.stops(&["shorter than what was read", "patron"]);
}

#[test]
fn a_state_made_anew() {
    let Some(town) = Town::new("state-anew") else {
        return;
    };
    town.0.topics.delete("zeef.state.main");
    let said = town.0.refused(&["--until-end"], 78);
    assert!(said.contains("zeef.state.main"), "{said}");
    eventually("the topic is made", WAIT, || {
        let mut zeef = town.0.zeef(&["topics", "--apply"]);
        let done = zeef.wait_exit(WAIT) == 0;
        (done && town.0.topics.list().contains(&"zeef.state.main".to_owned())).then_some(())
    });
    town.stops(&["state missing", "zeef forget"]);
}

/// The group is lost as well: only the outputs tell that there was a state.
#[test]
fn a_state_made_anew_and_the_group_deleted() {
    let Some(town) = Town::new("both-anew") else {
        return;
    };
    town.make_anew("zeef.state.main");
    town.group(&["--delete"]);
    town.stops(&["state missing", "neither group nor state"]);
}

#[test]
fn rows_that_are_gone_while_the_mark_is_there() {
    let Some(town) = Town::new("rows-gone") else {
        return;
    };
    let rows = town.0.topics.committed("zeef.state.main");
    let row = rows.iter().find(|row| row.key_text() != "mark").unwrap();
    let row = Record::tombstone(row.key.clone().unwrap()).to(row.partition);
    town.write("zeef.state.main", &[row]);
    town.stops(&["rows differ"]);
}

#[test]
fn a_row_that_was_edited() {
    let Some(town) = Town::new("row-edited") else {
        return;
    };
    let rows = town.0.topics.committed("zeef.state.main");
    let released = |row: &&Row| {
        let text = row.text().unwrap_or_default();
        row.key_text() != "mark" && text.contains("\"released\"")
    };
    let row = rows.iter().rev().find(released).unwrap();
    let edited = row.text().unwrap().replace("\"released\"", "\"withheld\"");
    let edited = Record::new(row.key.clone().unwrap(), edited).to(row.partition);
    town.write("zeef.state.main", &[edited]);
    town.stops(&["zeef.state.main"]);
}
