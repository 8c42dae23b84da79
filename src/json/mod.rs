//! JSON, strictly by RFC 8259: reading in one pass, and writing as one form.
//!
//! Knows nothing of records or policies.

pub mod buffer;
pub mod members;
pub mod quotes;
pub mod scan;
pub mod write;
