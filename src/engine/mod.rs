//! The hot path: one record in, what each recipient gets out.
//!
//! Pure and synchronous: no clock, no I/O, no global. [`pipeline`] is the file
//! to read first.

pub mod admit;
pub mod dead_letter;
mod decide;
pub mod explain;
pub mod gates;
pub mod holding;
pub mod inspect;
mod keys;
pub mod lane;
pub mod meter;
pub mod patrons;
pub mod pipeline;
pub mod project;
mod reader;
pub mod record;
pub mod said;
mod script;
pub mod shape;
pub mod speech;
pub mod state;
pub mod table;
pub mod tally;
pub mod unreadable;
pub mod value;
