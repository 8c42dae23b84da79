//! The engine against the model of the rules, for policies, records and bytes that
//! nobody wrote by hand.
//!
//! What comes from seeds is the same in every run; the long runs are commands:
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
mod consents;
mod final_outputs;
mod generated_policies;
mod handwritten_policy;
mod json_shapes;
mod mutated_records;
mod outcome_fuzzer;
mod policy_generator;
mod record_generator;
