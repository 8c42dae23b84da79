//! The lane of an intake: raw topics of a library system in, canonical topics out, in one
//! transaction with the input offsets.
//!
//! Remembers nothing but the rows of lookups, which it reads again at each start.

mod raw_batch;
pub mod raw_topics;
mod setup;
mod supervisor;
mod worker;

pub use setup::{IntakeKind, IntakeSetup, SetupError};
pub(super) use supervisor::IntakeSupervisor;
pub use worker::IntakeWorker;
