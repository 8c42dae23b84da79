//! The lane of an intake: raw topics of a library system in, canonical topics out, in one
//! transaction with the input offsets.
//!
//! Remembers the rows of lookups, which it reads again at each start, and of kinds with `newer_by`
//! the versions that it wrote last, which are its state.

mod raw_batch;
pub mod raw_topics;
mod setup;
mod supervisor;
mod version_state;
mod worker;

pub use setup::{IntakeKind, IntakeSetup, SetupError};
pub(super) use supervisor::IntakeSupervisor;
pub use worker::IntakeWorker;
