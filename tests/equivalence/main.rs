//! The engine against a plain reading of the rules, for policies, records and
//! bytes that nobody wrote by hand.
//!
//! `plain` interprets any loaded policy over serde_json. What is held against it:
//! generated policies with streams of records (`generated`), what is
//! left at their recipients (`converged`), records with damage (`damaged`), what patrons say, so densely that it meets (`said`), policies by
//! hand of what the shipped ones never do (`cases`), every class of JSON text, good
//! and bad (`shapes`), and bytes that a fuzzer chooses (`fuzzed`). What comes from
//! seeds is the same in every run; the long runs are commands:
//!
//! ```text
//! cargo test --release --test equivalence -- --ignored
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
mod converged;
mod damage;
mod damaged;
mod dice;
mod engine;
mod fuzzed;
mod generated;
mod plain;
mod policies;
mod records;
#[path = "../reference/mod.rs"]
mod reference;
mod said;
mod shapes;
mod written;
