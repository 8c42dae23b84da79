//! The group's offsets, as an operator or time moves them.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use super::Town;
use super::town::{MESSAGES, PATRONS};
use crate::harness::eventually;
use crate::operations::site::WAIT;

#[test]
fn a_group_that_is_gone_goes_on_by_the_state() {
    let Some(town) = Town::new("group-gone") else {
        return;
    };
    town.group(&["--delete"]);
    let before = town.sent();
    town.run();
    assert_eq!(town.sent(), before);
    town.write_loans("N", 0..1);
    town.run();
    assert_eq!(town.sent().len(), before.len() + 2);
}

#[test]
fn a_group_that_was_set_back_sends_nothing_twice() {
    let Some(town) = Town::new("group-back") else {
        return;
    };
    let loans = town.0.topics.name("loan");
    town.group(&[
        "--reset-offsets",
        "--to-earliest",
        "--execute",
        "--topic",
        &loans,
    ]);
    let before = town.sent();
    let zeef = town.run();
    assert_eq!(town.sent(), before);
    assert!(
        zeef.stderr().contains("set back by hand"),
        "{}",
        zeef.stderr()
    );
    town.write_loans("N", 0..1);
    town.run();
    assert_eq!(town.sent().len(), before.len() + 2);
}

#[test]
fn a_group_that_was_moved_forward_stops() {
    let Some(town) = Town::new("group-forward") else {
        return;
    };
    let before = town.sent();
    town.write_loans("N", 0..PATRONS);
    let loans = town.0.topics.name("loan");
    town.group(&[
        "--reset-offsets",
        "--to-latest",
        "--execute",
        "--topic",
        &loans,
    ]);
    let said = town.still_stops(&before, &["offset moved ahead", "loan"]);
    town.accept(&said);
    town.run();
    assert_eq!(
        town.sent(),
        before,
        "the records in between are never decided"
    );
}

#[test]
fn an_offset_that_is_missing_beside_others_stops() {
    let Some(town) = Town::new("offset-gone") else {
        return;
    };
    let loans = town.0.topics.name("loan");
    town.group(&["--delete-offsets", "--topic", &loans]);
    town.stops(&["offset missing", "loan"]);
}

/// An older policy never decides what a newer one has decided.
#[test]
fn of_an_old_and_a_new_config_the_old_process_ends() {
    let Some(town) = Town::new("two-configs") else {
        return;
    };
    let mut old = town.0.ready(&[]);
    let path = Path::new(town.0.config()).join("recipients/service-message.toml");
    let text = fs::read_to_string(&path).unwrap();
    let narrower = text.replace("\"open\", \"overdue\"", "\"overdue\"");
    assert_ne!(text, narrower);
    fs::write(&path, narrower).unwrap();
    // Its name comes first: it is given the partition.
    let mut new = town.0.ready(&["--instance", "a"]);
    let taken_back = || {
        let rows = town.0.outputs(MESSAGES);
        rows.iter().filter(|row| row.value.is_none()).count()
    };
    eventually("the new one decides", WAIT, || {
        assert_eq!(old.exited(), None, "{}", old.stderr());
        (taken_back() == PATRONS).then_some(())
    });
    new.signal(Signal::TERM);
    assert_eq!(new.wait_exit(WAIT), 0, "{}", new.stderr());
    // The old one is given it back, and does not decide anew.
    let before = town.sent();
    assert_eq!(old.wait_exit(WAIT), 75, "{}", old.stderr());
    assert_eq!(town.sent(), before);
}
