//! The process: workers, and what an operator sees of them.
//!
//! Knows nothing of fields and masks. Tokio serves signals and HTTP here and
//! never touches a record.

pub mod admin;
pub mod clock;
pub mod gates;
pub mod health;
pub mod metrics;
pub mod papers;
pub mod run;
pub mod topics;

pub mod worker;
