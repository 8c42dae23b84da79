//! The process: workers, and what an operator sees of them.
//!
//! Knows nothing of fields and masks. Tokio serves signals and HTTP here and
//! never touches a record.

pub mod acls;
pub mod admin;
pub mod clock;
pub mod compaction;
pub mod finding;
pub mod gates;
pub mod health;
pub mod holders;
pub mod lanes;
pub mod letters;
pub mod losses;
pub mod metrics;
pub mod papers;
pub mod process;
pub mod run;
pub mod signals;
pub mod silence;
pub mod topics;
pub mod worker;
