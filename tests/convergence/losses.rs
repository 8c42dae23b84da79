//! A lane stops before it takes back too much, and goes on on ordinary days.

use crate::site::{Layout, Setup, Site};
use crate::story::START_MS;

const DAY_MS: i64 = 86_400_000;
/// How many patrons there are, each with a loan.
const PATRONS: usize = 250;

/// All patrons and their loans, released.
fn site(setup: Setup) -> Site {
    let mut site = Site::new(setup, START_MS);
    for number in 0..PATRONS {
        let membership = r#""membership":{"id":"M","status":"active"}"#;
        let fields = format!(r#""kind":"person","surname":"Berg",{membership}"#);
        patron(&mut site, number, Some(&fields));
        grant(&mut site, number, "granted", 1);
        loan(&mut site, number, "open", "2026-06-01");
    }
    site.run().expect("a run to the end");
    assert_eq!(has(&site), PATRONS);
    site
}

fn id(number: usize) -> String {
    format!("p{number}")
}

fn push(site: &mut Site, source: &str, number: usize, fields: Option<&str>) {
    let id = id(number);
    let value =
        fields.map(|fields| format!(r#"{{"patron_id":"{id}","library":"NL-AmrBKW",{fields}}}"#));
    let value = value.as_deref().map(str::as_bytes);
    site.push(source, 0, Some(id.as_bytes()), value);
}

fn patron(site: &mut Site, number: usize, fields: Option<&str>) {
    push(site, "patron", number, fields);
}

fn loan(site: &mut Site, number: usize, status: &str, due_on: &str) {
    let fields = format!(r#""loan_id":"l{number}","status":"{status}","due_on":"{due_on}""#);
    push(site, "loan", number, Some(&fields));
}

fn grant(site: &mut Site, number: usize, decision: &str, day: u8) {
    let said =
        format!(r#""decision":"{decision}","manner":"written","at":"2026-01-0{day}T00:00:00Z""#);
    let fields = format!(r#""consent_id":"c{number}","purpose":"own-written",{said}"#);
    push(site, "consent", number, Some(&fields));
}

/// How many outputs service-message has.
fn has(site: &Site) -> usize {
    site.values()
        .get("service-message")
        .map_or(0, |values| values.len())
}

/// What a start that may not go on says; it commits nothing.
#[track_caller]
fn stopped_at_start(site: &mut Site) -> String {
    let before = site.committed();
    site.restart();
    let said = site.run().expect_err("too much is taken back");
    assert_eq!(site.committed(), before, "{said}");
    assert!(said.contains("would be taken back"), "{said}");
    said
}

fn codes(said: &str) -> Vec<String> {
    let parts = said.split("code ").skip(1);
    parts.map(|part| part.chars().take(10).collect()).collect()
}

/// What happened while nobody ran stops the start, and is done once it is accepted.
#[track_caller]
fn check_start(happens: impl Fn(&mut Site), reason: &str, left: usize) {
    let mut site = site(Setup::PLAIN);
    happens(&mut site);
    let said = stopped_at_start(&mut site);
    assert!(said.contains(reason), "{said}");
    let codes = codes(&said);
    // Another finding's code is none.
    site.accept(&["0123456789".to_owned()]);
    assert_eq!(stopped_at_start(&mut site), said);
    site.accept(&codes);
    site.restart();
    site.run().expect("it was accepted");
    assert_eq!(has(&site), left);
    site.check_state().expect("the state as the topics");
}

fn erase_all(site: &mut Site) {
    (0..PATRONS).for_each(|number| patron(site, number, None));
}

#[test]
fn a_start_stops_before_it_has_taken_anything_back() {
    check_start(erase_all, "patron_erased 250", 0);
    // Erased, and compacted away; or the topic is made anew.
    check_start(
        |site| {
            erase_all(site);
            site.each("patron", |memory, source| {
                memory.compact(source).drop_nulls(source);
            });
        },
        "patron_erased 250",
        0,
    );
    let cut = |site: &mut Site| {
        site.each("patron", |memory, source| {
            memory.cut(source, 0, i64::MAX);
        });
    };
    check_start(cut, "patron_erased 250", 0);
    // A connector that sends what nobody can read.
    let broken = |site: &mut Site| {
        for number in 0..PATRONS {
            site.push("patron", 0, Some(id(number).as_bytes()), Some(b"[]"));
        }
    };
    check_start(broken, "patron_unknown 250", 0);
    let withdraw = |site: &mut Site| {
        (0..PATRONS).for_each(|number| grant(site, number, "withdrawn", 2));
    };
    check_start(withdraw, "no_consent 250", PATRONS);
}

#[test]
fn a_running_lane_stops_at_half_though_each_batch_is_small() {
    for (layout, fail_every) in [(Layout::One, None), (Layout::Each, Some(3))] {
        let setup = Setup {
            batch: 20,
            chunk: 20,
            layout,
            fail_every,
            ..Setup::PLAIN
        };
        let mut site = site(setup);
        erase_all(&mut site);
        let said = site.run().expect_err("too much is taken back");
        assert!(said.contains("patron_erased"), "{said}");
        assert!(has(&site) >= PATRONS / 2, "{} are left", has(&site));
        if matches!(layout, Layout::One) {
            let said = stopped_at_start(&mut site);
            site.accept(&codes(&said));
            site.restart();
            site.run().expect("it was accepted");
            assert_eq!(has(&site), 0);
        }
    }
}

#[test]
fn what_was_taken_back_an_hour_ago_counts_no_more() {
    let mut site = site(Setup::PLAIN);
    for number in 0..PATRONS {
        if number % 100 == 0 {
            let hours = i64::try_from(number / 100).expect("few") + 1;
            site.set_clock(START_MS + hours * 61 * 60_000);
        }
        patron(&mut site, number, None);
        if number % 100 == 99 {
            site.run().expect("no more than a hundred");
        }
    }
    site.run().expect("no more than a hundred");
    assert_eq!(has(&site), 0);
}

/// A day on which nobody is to be asked.
#[track_caller]
fn check_ordinary(happens: impl Fn(&mut Site), left: usize) {
    for restarts in [false, true] {
        let mut site = site(Setup::PLAIN);
        happens(&mut site);
        if restarts {
            site.restart();
        }
        site.run().expect("an ordinary day");
        assert_eq!(has(&site), left);
        site.check_state().expect("the state as the topics");
    }
}

#[test]
fn ordinary_days_go_on() {
    // Everything is brought back.
    let returned = |site: &mut Site| {
        (0..PATRONS).for_each(|number| loan(site, number, "returned", "2026-06-01"));
    };
    check_ordinary(returned, 0);
    // All terms are over.
    check_ordinary(|site| site.set_clock(START_MS + 800 * DAY_MS), 0);
    // Memberships end long ago.
    let ended = |site: &mut Site| {
        for number in 0..PATRONS {
            let membership = r#""membership":{"status":"ended","ends_on":"2023-07-31"}"#;
            patron(site, number, Some(membership));
        }
    };
    check_ordinary(ended, 0);
    // Few, though they are all that there is of them in a quarter.
    let some = |count: usize| {
        move |site: &mut Site| (0..count).for_each(|number| patron(site, number, None))
    };
    check_ordinary(some(1), PATRONS - 1);
    check_ordinary(some(100), PATRONS - 100);
    check_ordinary(some(125), PATRONS - 125);
    // Retention takes what was read.
    let cut = |site: &mut Site| {
        site.each("loan", |memory, source| {
            memory.cut(source, 0, i64::MAX);
        });
    };
    check_ordinary(cut, PATRONS);
}

#[test]
fn one_more_than_half_is_too_much() {
    let mut site = site(Setup::PLAIN);
    (0..126).for_each(|number| patron(&mut site, number, None));
    let said = site.run().expect_err("too much is taken back");
    assert!(
        said.contains("126 of the 250 outputs that `service-message` has"),
        "{said}"
    );
    assert_eq!(has(&site), PATRONS);
}

#[test]
fn a_changed_policy_takes_back_what_it_says() {
    let mut site = site(Setup::PLAIN);
    site.changed = true;
    site.restart();
    site.run().expect("the config says so");
    site.check_state().expect("the state as the topics");
}

#[test]
fn time_never_runs_backwards() {
    let mut site = site(Setup::PLAIN);
    site.set_clock(START_MS + 800 * DAY_MS);
    loan(&mut site, 0, "open", "2026-06-01");
    site.run().expect("a run to the end");
    assert_eq!(has(&site), 0);
    // What lapsed does not come again because a clock was set back.
    site.set_clock(START_MS);
    (0..PATRONS).for_each(|number| loan(&mut site, number, "open", "2026-06-02"));
    site.run().expect("a run to the end");
    assert_eq!(has(&site), 0);
}
