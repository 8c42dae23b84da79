//! The law as data: what is known of records, and who may have which of it.
//!
//! Nothing here reads a record, a clock or a network.

pub mod detect;
pub mod form;
pub mod mask;
pub mod reason;
pub mod text;
