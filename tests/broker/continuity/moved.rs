//! The group's offsets, as an operator or time moves them.

use super::Town;
use super::town::PATRONS;
use crate::operations::site::WAIT;
use rustix::process::Signal;

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
    let path = std::path::Path::new(town.0.config()).join("recipients/service-message.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"open\", \"overdue\"", "\"open\"")).unwrap();
    let mut new = town.0.run(&["--instance", "two"]);
    crate::harness::eventually("the new one is in the group", WAIT, || {
        new.ready().then_some(())
    });
    // The old one makes way, whoever has the partition first.
    old.signal(Signal::TERM);
    assert_eq!(old.wait_exit(WAIT), 0, "{}", old.stderr());
    town.write_loans("N", 0..1);
    crate::harness::eventually("the new one decides", WAIT, || {
        (town.loans().len() == PATRONS + 1).then_some(())
    });
    std::fs::write(&path, text).unwrap();
    let mut old = town.0.run(&["--instance", "three"]);
    new.signal(Signal::TERM);
    assert_eq!(new.wait_exit(WAIT), 0, "{}", new.stderr());
    crate::harness::eventually("the policy that was started last decides", WAIT, || {
        assert_eq!(old.exited(), None, "{}", old.stderr());
        old.ready().then_some(())
    });
}
