//! What operators accept and ask for: one finding at a time, a refill, a lane
//! that begins anew.

use super::Town;
use super::town::{MESSAGES, PATRONS, RECIPIENTS, STATISTICS, codes};
use crate::operations::site::{loan_that_is, objection};

#[test]
fn an_acceptance_is_for_one_finding() {
    let Some(town) = Town::new("accept") else {
        return;
    };
    town.write("objection", &[objection("P3")]);
    town.run();
    let before = town.sent();
    town.0.topics.cut("objection", 0, 1);
    let first = town.still_stops(&before, &["gate log cut"]);
    // Something else is lost meanwhile.
    town.0.topics.cut("objection", 0, 2);
    town.accept(&first);
    let second = town.still_stops(&before, &["gate log cut"]);
    assert_ne!(codes(&first), codes(&second));
    town.command(&["accept", "nothing", "--reason", "a test"], 2);
    town.accept(&second);
    let zeef = town.run();
    assert!(zeef.stderr().contains("accepted by an operator"));
    // It is as it is from now on.
    town.write_loans("N", 0..1);
    town.run();
    assert!(town.loans().contains(&"N0".to_owned()));
}

#[test]
fn a_source_made_anew_is_read_from_its_beginning_once_accepted() {
    let Some(town) = Town::new("accept-anew") else {
        return;
    };
    let before = town.sent();
    town.make_anew("loan");
    // A later version of the last loan comes where the first one lay.
    town.write("loan", &[loan_that_is("returned", "L5", "P5")]);
    town.write_loans("L", 0..PATRONS - 1);
    town.write_loans("N", 0..PATRONS);
    let said = town.still_stops(&before, &["replaced"]);
    town.accept(&said);
    town.run();
    let rows = town.0.outputs(MESSAGES);
    let nulls = rows.iter().filter(|row| row.value.is_none());
    assert_eq!(nulls.count(), 1, "the loan that was returned");
    // What they have already is not sent again.
    assert_eq!(rows.len(), 2 * PATRONS + 1);
}

#[test]
fn an_output_made_anew_is_filled_again() {
    let Some(town) = Town::new("refill") else {
        return;
    };
    let values = |recipient: &str| {
        let mut rows: Vec<_> = town.0.outputs(recipient);
        rows.sort_by(|one, other| one.key.cmp(&other.key));
        let rows = rows.into_iter().map(|row| (row.key, row.value));
        rows.collect::<Vec<_>>()
    };
    let before = RECIPIENTS.map(values);
    let topic = format!("out.{STATISTICS}");
    town.make_anew(&topic);
    let said = town.0.refused(&["--until-end"], 70);
    assert!(said.contains("output shorter"), "{said}");
    assert!(town.0.outputs(STATISTICS).is_empty());
    town.command(&["refill", "nobody", "--reason", "a test"], 2);
    town.command(&["refill", MESSAGES, "--reason", "the wrong one"], 0);
    town.0.refused(&["--until-end"], 70);
    town.command(&["refill", STATISTICS, "--reason", "a test"], 0);
    town.run();
    assert_eq!(values(STATISTICS), before[2]);
    // Once, and not at each start.
    let sent = town.sent();
    town.run();
    assert_eq!(town.sent(), sent);
}

#[test]
fn an_output_made_anew_while_zeef_runs() {
    let Some(town) = Town::new("output-live") else {
        return;
    };
    let mut zeef = town.0.ready(&[]);
    town.make_anew(&format!("out.{MESSAGES}"));
    let wait = crate::operations::site::WAIT;
    assert_eq!(zeef.wait_exit(wait), 70, "{}", zeef.stderr());
}

#[test]
fn a_lane_begins_anew_on_purpose() {
    let Some(town) = Town::new("forget") else {
        return;
    };
    let zeef = town.0.ready(&[]);
    let forget = ["forget", "main", "--reason", "a test"];
    let said = town.command(&forget, 75);
    assert!(said.contains("members"), "{said}");
    town.stop(zeef);
    let would = town.command(&["forget", "main", "--dry-run"], 0);
    assert!(
        would.contains(&format!("{MESSAGES}: {PATRONS} outputs")),
        "{would}"
    );
    let before = town.sent();
    town.run();
    assert_eq!(town.sent(), before, "a dry run changes nothing");

    let said = town.command(&forget, 0);
    assert!(
        said.contains(&format!("{STATISTICS}: {} outputs", PATRONS - 1)),
        "{said}"
    );
    town.run();
    // All is sent again.
    assert_eq!(town.sent().len(), 2 * before.len());
    let again = town.sent();
    town.run();
    assert_eq!(town.sent(), again);
}

/// What was said of one loss is no word about the next.
#[test]
fn a_lane_that_was_forgotten_once_stops_at_the_next_loss() {
    let Some(town) = Town::new("forget-once") else {
        return;
    };
    town.command(&["forget", "main", "--reason", "a test"], 0);
    town.run();
    town.make_anew("zeef.state.main");
    town.group(&["--delete"]);
    town.stops(&["state missing"]);
}
