//! The hot path: one record in, what each recipient gets out.
//!
//! Pure and synchronous: no clock, no I/O, no global. [`pipeline`] is the file to read
//! first. A record walks down the rooms in this order, and a room uses only those before
//! it:

pub mod record;

pub mod memory;

pub mod lane;

pub mod decide;

pub mod delivery;

pub mod batch;
mod ledger_lines;
pub mod meter;
mod patron_reads;
pub mod pipeline;
pub mod tally;
