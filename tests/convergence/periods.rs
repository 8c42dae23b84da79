//! Recipients with a period: outputs go out in the first run of a month, what is
//! taken back in the first run of a day, both sorted by key and in large chunks,
//! whatever breaks a run off.

use std::collections::BTreeSet;

use zeef::transport::commands::{Command, CommandText};
use zeef::transport::memory::Published;

use crate::site::{Layout, Setup, Site};
use crate::story::START_MS;

const TOPIC: &str = "out.statistics";
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

const EACH: Setup = Setup {
    layout: Layout::Each,
    batch: 7,
    ..Setup::PLAIN
};

/// A run of this time has a loan of a month that is over, and one that is not.
const LOANED: [&str; 2] = ["2025-12-20T10:00:00Z", "2026-01-10T10:00:00Z"];

fn push(site: &mut Site, source: &str, number: usize, fields: &str) {
    let id = format!("p{number}");
    let value = format!(r#"{{"patron_id":"{id}","library":"NL-AmrBKW",{fields}}}"#);
    site.push(source, 0, Some(id.as_bytes()), Some(value.as_bytes()));
}

fn patron(site: &mut Site, number: usize) {
    let member = r#""membership":{"id":"M","status":"active"}"#;
    let fields = format!(r#""kind":"person","surname":"Berg",{member}"#);
    push(site, "patron", number, &fields);
}

fn loan(site: &mut Site, number: usize, status: &str, loaned_at: &str) {
    let fields = format!(r#""loan_id":"l{number}","status":"{status}","loaned_at":"{loaned_at}""#);
    push(site, "loan", number, &fields);
}

fn erase(site: &mut Site, number: usize) {
    let id = format!("p{number}");
    site.push("patron", 0, Some(id.as_bytes()), None);
}

/// Patrons with a loan each.
fn site(setup: Setup, patrons: usize, loaned_at: &str) -> Site {
    let mut site = Site::new(setup, START_MS);
    for number in 0..patrons {
        patron(&mut site, number);
        loan(&mut site, number, "open", loaned_at);
    }
    site
}

#[track_caller]
fn run_at(site: &mut Site, now_ms: i64) -> Vec<Published> {
    let before = site.published_to(TOPIC).len();
    site.set_clock(now_ms);
    site.run().expect("a run to the end");
    site.published_to(TOPIC).split_off(before)
}

/// What was sent in one transaction each, checked for its order.
#[track_caller]
fn chunks(sent: &[Published]) -> Vec<usize> {
    let chunks = sent.chunk_by(|one, next| one.batch == next.batch);
    let chunks: Vec<&[Published]> = chunks.collect();
    for chunk in &chunks {
        assert!(chunk.is_sorted_by_key(|one| &one.key));
    }
    chunks.iter().map(|chunk| chunk.len()).collect()
}

#[test]
fn a_first_start_publishes_in_the_order_of_keys_and_in_large_chunks() {
    let mut site = site(EACH, 2_600, LOANED[0]);
    let sent = run_at(&mut site, START_MS);
    assert_eq!(chunks(&sent), [1_000, 1_600]);
    assert!(sent.is_sorted_by_key(|one| &one.key));
    let keys: BTreeSet<_> = sent.iter().map(|one| &one.key).collect();
    assert_eq!(keys.len(), 2_600);
}

#[test]
fn a_run_that_is_broken_off_goes_on_with_what_is_left() {
    for (fail_every, interrupt_at) in [(Some(2), None), (None, Some(1)), (None, Some(2))] {
        let setup = Setup {
            fail_every,
            interrupt_at,
            batch: 20_000,
            ..EACH
        };
        let mut site = site(setup, 2_600, LOANED[0]);
        site.chunk(1_000);
        let sent = run_at(&mut site, START_MS);
        let sizes = chunks(&sent);
        assert!(sizes.iter().all(|size| *size >= 600), "{sizes:?}");
        let keys: BTreeSet<_> = sent.iter().map(|one| &one.key).collect();
        assert_eq!((keys.len(), sent.len()), (2_600, 2_600), "{setup:?}");
        assert!(sent.is_sorted_by_key(|one| &one.key), "{setup:?}");
    }
}

#[test]
fn what_happens_within_a_month_is_published_in_the_next_one() {
    let mut site = site(EACH, 20, LOANED[0]);
    for number in 20..40 {
        patron(&mut site, number);
        loan(&mut site, number, "open", LOANED[1]);
    }
    assert_eq!(run_at(&mut site, START_MS).len(), 20);
    for number in 0..10 {
        loan(&mut site, number, "returned", LOANED[0]);
    }
    // Late, of a month that was published.
    patron(&mut site, 40);
    loan(&mut site, 40, "open", LOANED[0]);
    for day in 0..16 {
        assert!(run_at(&mut site, START_MS + day * DAY_MS).is_empty());
        site.restart();
    }
    let sent = run_at(&mut site, START_MS + 17 * DAY_MS);
    assert_eq!(chunks(&sent), [10 + 20 + 1]);
    site.restart();
    assert!(run_at(&mut site, START_MS + 18 * DAY_MS).is_empty());
}

#[test]
fn what_is_taken_back_goes_once_a_day() {
    let mut site = site(EACH, 40, LOANED[0]);
    assert_eq!(run_at(&mut site, START_MS).len(), 40);
    (0..5).for_each(|number| erase(&mut site, number));
    let objection = r#""objection_id":"o","kind":"special_circumstances","status":"lodged""#;
    (5..10).for_each(|number| push(&mut site, "objection", number, objection));
    // It was that day's run already.
    assert!(run_at(&mut site, START_MS + HOUR_MS).is_empty());
    site.restart();
    assert!(run_at(&mut site, START_MS + 2 * HOUR_MS).is_empty());
    // One thinks better of it before it goes.
    push(
        &mut site,
        "objection",
        9,
        &objection.replace("lodged", "dismissed"),
    );
    let sent = run_at(&mut site, START_MS + DAY_MS);
    assert!(sent.iter().all(|one| one.value.is_none()));
    assert_eq!(chunks(&sent), [9]);
    (10..12).for_each(|number| erase(&mut site, number));
    assert!(run_at(&mut site, START_MS + DAY_MS + HOUR_MS).is_empty());
    assert_eq!(run_at(&mut site, START_MS + 2 * DAY_MS).len(), 2);
    // An objection that is dismissed later is published in time.
    push(
        &mut site,
        "objection",
        5,
        &objection.replace("lodged", "dismissed"),
    );
    assert!(run_at(&mut site, START_MS + 3 * DAY_MS).is_empty());
    let sent = run_at(&mut site, START_MS + 17 * DAY_MS);
    assert!(sent.len() == 1 && sent[0].value.is_some());
}

#[test]
fn a_refill_is_a_run_at_once() {
    let mut site = site(EACH, 20, LOANED[0]);
    assert_eq!(run_at(&mut site, START_MS).len(), 20);
    let recipient = "statistics".to_owned();
    let text = CommandText::new(Command::Refill { recipient }, String::new(), String::new());
    let end = site.commands.end;
    site.commands.add(end, &text.write()).expect("a command");
    site.restart();
    let sent = run_at(&mut site, START_MS + DAY_MS);
    assert_eq!(chunks(&sent), [20]);
    site.restart();
    assert!(run_at(&mut site, START_MS + 2 * DAY_MS).is_empty());
}
