//! The process: workers, and what an operator sees of them.
//!
//! Knows nothing of fields and masks. Tokio serves signals and HTTP here and never touches
//! a record.

mod abort_counter;
pub mod acls;
pub mod admin;
pub mod checkpoint_copies;
pub mod checkpoints;
pub mod clock;
pub mod compaction;
pub mod dead_letter_log;
pub mod expiry;
pub mod finding_code;
pub mod gate_census;
pub mod health;
pub mod http;
pub mod intake;
pub mod lane_moves;
pub mod lane_repartition;
pub mod loss_guard;
pub mod metrics;
pub mod partner_watch;
pub mod process;
mod restart;
pub mod retraction_follower;
pub mod run;
pub mod signals;
pub mod silence;
pub mod topics;
pub mod unserved_outputs;
pub mod worker;
