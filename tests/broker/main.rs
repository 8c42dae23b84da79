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
mod exactly_once;
mod facts;
mod harness;
#[path = "../common/marked.rs"]
mod marked;
mod operations;
mod transport;
