//! What is tested against a real Apache Kafka, as one program.
//!
//! A broker starts with the first test that wants one, through
//! `deploy/dev/kafka`; `ZEEF_TEST_BROKERS` names another one. Where it cannot
//! start, each test says what to install; with `CI=true` that fails the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test ends where something is not as expected"
)]
#![allow(unreachable_pub, reason = "modules of one test binary")]

#[path = "../common/mod.rs"]
mod common;
mod continuity;
mod exactly_once;
mod facts;
mod harness;
#[path = "../common/marked.rs"]
mod marked;
mod operations;
mod partner;
mod stories;
mod transport;

// The town and its partner are those of `tests/partner`.
#[path = "../partner/attack.rs"]
mod attack;
#[path = "../partner/town.rs"]
mod town;

// The stories, and what the rules say of them, are those of `tests/convergence`.
#[path = "../convergence/live.rs"]
#[allow(dead_code, reason = "its own tests use more of it")]
mod live;
#[path = "../convergence/own.rs"]
#[allow(dead_code, reason = "its own tests use more of it")]
mod own;
#[path = "../convergence/play.rs"]
#[allow(dead_code, reason = "its own tests use more of it")]
mod play;
#[path = "../reference/mod.rs"]
mod reference;
#[path = "../convergence/site.rs"]
#[allow(dead_code, reason = "its own tests use more of it")]
mod site;
#[path = "../convergence/story.rs"]
#[allow(dead_code, reason = "its own tests use more of it")]
mod story;
#[path = "../convergence/world.rs"]
#[allow(dead_code, reason = "its own tests use more of it")]
mod world;

/// The recipients of the stories, as the first or the second policy has them.
fn recipients(changed: bool) -> Vec<&'static reference::recipient::Recipient> {
    own::all(changed)
}
