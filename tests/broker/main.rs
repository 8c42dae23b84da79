//! What is tested against a real Apache Kafka, as one program.
//!
//! A broker starts with the first test that wants one, through
//! `deploy/dev/kafka`; `ZEEF_TEST_BROKERS` names another one. A library system's
//! database with Debezium starts through `deploy/dev/upstream`. Where they cannot
//! start, each test says what to install; with `CI=true` that fails the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test ends where something is not as expected"
)]
#![allow(unreachable_pub, reason = "modules of one test binary")]

mod avro_outputs;
mod continuity;
mod exactly_once;
mod facts;
mod harness;
mod intake;
mod intake_avro;
mod kafka_scenarios;
mod operations;
mod partner_join;
mod transport;
mod upstream;
