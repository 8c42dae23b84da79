//! What every recipient has, whatever happened on the way: the engine against
//! the last state of the sources.
//!
//! `story` tells what happens to a few patrons over some years, `site` is the
//! engine, `world` says by the rules what each recipient then has, `play` holds
//! one against the other, and `own` adds recipients for the gates that no
//! shipped one has. The rules themselves are in `tests/reference`.
//!
//! A normal run plays a few hundred stories, `.ci/run` a thousand. More of them,
//! from another seed:
//!
//! ```text
//! STORIES=5000 SEED=7 cargo test --test convergence
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test ends where something is not as expected"
)]
#![allow(unreachable_pub, reason = "modules of one test binary")]

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod holds;
mod identity;
mod live;
mod losses;
mod nights;
mod own;
mod periods;
mod play;
#[path = "../reference/mod.rs"]
mod reference;
mod refill;
mod site;
mod story;
mod world;

use std::collections::BTreeSet;

use play::{Played, play, shrink};
use reference::golden;
use reference::recipient::Recipient;
use site::{Layout, Setup, Values};
use story::Step;
use world::World;

/// All recipients, by the policy as it is or as it is changed.
fn recipients(changed: bool) -> Vec<&'static Recipient> {
    own::all(changed)
}

/// Tells a story to the world alone, which takes the first of its answers.
fn tell(steps: &[Step], met: &mut BTreeSet<String>) {
    let mut world = World::new(recipients(false), golden::KEY, (story::START_MS, 1));
    let mut unread = false;
    for step in steps {
        match step {
            Step::Push {
                source,
                key,
                value,
                came_ms,
            } => {
                let key = key.as_deref().map(str::as_bytes);
                let value = value.as_deref().map(str::as_bytes);
                world.push(source, 0, (key, value), *came_ms);
                unread = true;
            }
            Step::Clock(now_ms) => world.set_clock(*now_ms),
            Step::Run => {
                for (recipient, rows) in world.answers() {
                    for (id, answers) in rows {
                        if answers.len() > 1 {
                            met.insert(format!("{recipient} several answers"));
                        }
                        let answer = answers.into_iter().next_back().flatten();
                        world.found(recipient, &id, answer);
                    }
                }
                world.settled();
                unread = false;
            }
            Step::Cut(source) if !unread => world.cut(source, 0),
            Step::Vanish => world.lose_nulls(),
            Step::Policy(changed) => world.set_policy(*changed, recipients(*changed)),
            Step::Cut(_) | Step::Restart | Step::Compact => {}
        }
    }
    met.append(&mut world.met);
}

/// The stories must reach every recipient and every reason, or they prove little.
#[test]
fn stories_reach_everything() {
    let mut met = BTreeSet::new();
    for seed in 0..1_600 {
        tell(&story::story(seed, 40), &mut met);
    }
    let mut missing = Vec::new();
    let mut want = |what: String| {
        if !met.contains(&what) {
            missing.push(what);
        }
    };
    for recipient in recipients(false) {
        let name = recipient.name;
        let of_patron = recipient.source == "patron";
        let mut outcomes = vec![
            "released",
            "malformed",
            "patron_erased",
            "retracted for patron_erased",
            "retracted for malformed",
        ];
        if !recipient.outlives {
            outcomes.push("patron_lapsed");
        }
        if recipient.yields {
            outcomes.extend(["objection", "objection_unreadable"]);
            outcomes.extend(["retracted for objection"]);
            outcomes.extend(["consent_unreadable"]);
        }
        if !of_patron {
            outcomes.extend(["held", "retracted for held"]);
            outcomes.extend(["has of a source that is cut"]);
        }
        if !recipient.when.is_empty() {
            outcomes.extend(["condition", "retracted for condition"]);
        }
        if !of_patron && recipient.source != "ill_request" {
            outcomes.push("library_conflict");
        }
        if !of_patron && recipient.consent.is_none() {
            outcomes.push("source_gone");
        }
        if recipient.consent.is_some() {
            outcomes.extend(["no_consent", "consent_unreadable"]);
            outcomes.extend(["retracted for no_consent"]);
        }
        let needs_active = name.starts_with("kb-");
        if needs_active {
            outcomes.retain(|outcome| *outcome != "patron_lapsed");
        } else if !recipient.retention.forget {
            outcomes.extend(["lapsed", "retracted for lapsed"]);
        }
        if recipient.agreement.is_some_and(|paper| paper.retract) {
            outcomes.extend(["retracted for agreement_lapsed"]);
        }
        for outcome in outcomes {
            want(format!("{name} {outcome}"));
        }
    }
    for what in [
        "own-marketing objection_marketing",
        "own-marketing released against marketing",
        "consent refused unclear",
        "consent refused null_value",
        "objection refused unclear",
        "objection refused null_value",
        "own-marketing released by a policy",
        "own-circle released by a policy",
        "own-written released by a policy",
        "own-keeper released by a policy",
        "own-returner released by a policy",
        "own-joined released by a policy",
        "visitor released by a policy",
        "own-circle library",
        "own-keeper kept",
        "own-keeper agreement_lapsed",
        "own-national retracted for authorisation_lapsed",
        "deurwaarder stages",
        "statistics period_open",
        "statistics waits for its period",
        "statistics taken back before its period",
        "statistics loan_history_off",
        "statistics retracted for loan_history_off",
        "statistics forgotten",
        "statistics forgotten still",
        "statistics forgotten and erased",
        "statistics several answers",
        "own-keeper several answers",
        "erasure",
        "consent refused malformed",
        "patron refused identifier",
        "patron refused not_json",
        "loan refused miskeyed",
    ] {
        want(what.to_owned());
    }
    assert!(missing.is_empty(), "never happened: {missing:#?}");
}

fn number(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |text| text.parse().expect("a number"))
}

/// The seeds of one test: a share of all stories, and no other's.
fn seeds(share: u64) -> impl Iterator<Item = u64> {
    let count = number("STORIES", 240) * share / 100;
    let first = number("SEED", 1) * 1_000_000 + share * 10_000;
    first..first + count.max(1)
}

/// Plays a story, and tells a short one that fails alike where it does.
#[track_caller]
fn told(seed: u64, steps: &[Step], setup: Setup) -> Played {
    match play(steps, setup) {
        Ok(played) => played,
        Err(difference) => {
            let short = shrink(steps, |fewer| play(fewer, setup).is_err());
            let still = play(&short, setup).err().unwrap_or_default();
            let lines: Vec<String> = short.iter().map(|step| format!("{step:?}")).collect();
            let lines = lines.join("\n");
            panic!("seed {seed}, {setup:?}\n{difference}\nin short:\n{lines}\n{still}");
        }
    }
}

/// Both readers have the same, but where the rules leave it open.
#[track_caller]
fn same(seed: u64, one: &Played, other: &Played) {
    same_of(seed, one, other, |_| true);
}

/// The same of some recipients.
#[track_caller]
fn same_of(seed: u64, one: &Played, other: &Played, wanted: fn(&Recipient) -> bool) {
    let nothing = Values::new();
    for recipient in recipients(false).into_iter().filter(|one| wanted(one)) {
        let name = recipient.name;
        let values = [one, other].map(|played| played.values.get(name).unwrap_or(&nothing));
        let keys: BTreeSet<&String> = values.iter().flat_map(|values| values.keys()).collect();
        for key in keys {
            let place = (name, key.clone());
            if !one.open.contains(&place) && !other.open.contains(&place) {
                assert_eq!(
                    values[0].get(key),
                    values[1].get(key),
                    "seed {seed}, {name} {key}"
                );
            }
        }
    }
}

#[test]
fn convergence() {
    let setups = [
        Setup::PLAIN,
        Setup {
            partitions: 3,
            batch: 3,
            chunk: 2,
            ..Setup::PLAIN
        },
        Setup {
            batch: 5,
            fail_every: Some(3),
            ..Setup::PLAIN
        },
        Setup {
            partitions: 2,
            batch: 4,
            chunk: 3,
            rebalance_every: Some(5),
            ..Setup::PLAIN
        },
        Setup {
            partitions: 2,
            batch: 5,
            interrupt_at: Some(2),
            ..Setup::PLAIN
        },
    ];
    for (place, seed) in seeds(60).enumerate() {
        told(seed, &story::story(seed, 40), setups[place % setups.len()]);
    }
}

#[test]
fn two_interleavings_end_in_the_same_bytes() {
    for seed in seeds(10) {
        // When a record is first decided may matter, so time stands still.
        let steps = story::punctual(&story::story(seed, 40));
        let other = story::interleaved(seed, &steps);
        let one = told(seed, &steps, Setup::PLAIN);
        let other = told(seed, &other, Setup::PLAIN);
        // What waits for its period when its source loses it was published on one way
        // and not on the other: the model holds each way by itself.
        same_of(seed, &one, &other, |recipient| recipient.period.is_none());
    }
}

#[test]
fn batch_sizes_do_not_matter() {
    for seed in seeds(11) {
        let steps = story::story(seed, 40);
        let one = told(seed, &steps, Setup::PLAIN);
        for batch in [1, 4] {
            let setup = Setup {
                batch,
                ..Setup::PLAIN
            };
            same(seed, &one, &told(seed, &steps, setup));
        }
    }
}

#[test]
fn lanes_do_not_matter() {
    for seed in seeds(7) {
        let steps = story::story(seed, 40);
        let one = told(seed, &steps, Setup::PLAIN);
        for layout in [Layout::Two, Layout::Each] {
            let setup = Setup {
                layout,
                ..Setup::PLAIN
            };
            let other = told(seed, &steps, setup);
            // Also where the rules leave it open: it is the same engine.
            for (recipient, values) in &one.values {
                assert_eq!(
                    other.values.get(recipient),
                    Some(values),
                    "seed {seed}, {recipient}"
                );
            }
        }
    }
}
