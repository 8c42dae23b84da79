//! What a recipient has is sent again where that was asked for, once, whatever
//! breaks it off.

use zeef::transport::commands::{Command, CommandText};

use crate::site::{Layout, Setup, Site};
use crate::story::START_MS;

const PATRONS: usize = 60;
const TOPIC: &str = "out.service-message";

fn ask(site: &mut Site, recipient: &str) {
    let recipient = recipient.to_owned();
    let text = CommandText::new(Command::Refill { recipient }, String::new(), String::new());
    let end = site.commands.end;
    site.commands.add(end, &text.write()).expect("a command");
}

/// Patrons with an open loan each, and one that came back.
fn site(setup: Setup) -> Site {
    let mut site = Site::new(setup, START_MS);
    for number in 0..PATRONS {
        let partition = i32::try_from(number).unwrap() % setup.partitions;
        let id = format!("p{number}");
        let mut push = |source: &str, fields: &str| {
            let value = format!(r#"{{"patron_id":"{id}","library":"NL-AmrBKW",{fields}}}"#);
            site.push(
                source,
                partition,
                Some(id.as_bytes()),
                Some(value.as_bytes()),
            );
        };
        let member = r#""membership":{"id":"M","status":"active"}"#;
        push(
            "patron",
            &format!(r#""kind":"person","surname":"Berg",{member}"#),
        );
        let status = if number == 0 { "returned" } else { "open" };
        let due = r#""due_on":"2026-06-01""#;
        push(
            "loan",
            &format!(r#""loan_id":"l{number}","status":"{status}",{due}"#),
        );
    }
    site.run().expect("a run to the end");
    site
}

#[track_caller]
fn check(setup: Setup, once: bool) {
    let mut site = site(setup);
    let (values, sent) = (site.values(), site.sent_to(TOPIC));
    let others = site.sent_to("out.kb-recognition");
    ask(&mut site, "service-message");
    site.restart();
    site.run().expect("a run to the end");
    assert_eq!(site.values(), values, "{setup:?}");
    let (again, nulls) = site.sent_to(TOPIC);
    assert_eq!(nulls, sent.1, "{setup:?}");
    let more = again - sent.0;
    assert!(more >= PATRONS - 1, "{more}: {setup:?}");
    assert!(!once || more == PATRONS - 1, "{more}: {setup:?}");
    assert_eq!(site.sent_to("out.kb-recognition"), others, "{setup:?}");
    // It is done: no later start does it again.
    site.restart();
    site.run().expect("a run to the end");
    assert_eq!(site.sent_to(TOPIC), (again, nulls), "{setup:?}");
    ask(&mut site, "service-message");
    site.restart();
    site.run().expect("a run to the end");
    assert!(site.sent_to(TOPIC).0 >= again + PATRONS - 1, "{setup:?}");
}

#[test]
fn all_that_a_recipient_has_is_sent_again_once() {
    check(Setup::PLAIN, true);
    for layout in [Layout::Two, Layout::Each] {
        check(
            Setup {
                layout,
                partitions: 3,
                ..Setup::PLAIN
            },
            true,
        );
    }
}

#[test]
fn a_refill_that_is_broken_off_is_done_in_the_end() {
    for (fail_every, interrupt_at) in [(Some(2), None), (Some(3), None), (None, Some(1))] {
        check(
            Setup {
                batch: 7,
                partitions: 2,
                fail_every,
                interrupt_at,
                ..Setup::PLAIN
            },
            false,
        );
    }
}
