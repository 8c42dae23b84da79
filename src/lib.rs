//! zeef gives each partner of a public library exactly the fields it may see.
//!
//! The rooms, from the ground up. A room uses only rooms listed before it
//! (`tests/architecture.rs` holds this):

pub mod json;

pub mod policy;

pub mod transport;

pub mod engine;

pub mod sample;

pub mod daemon;

pub mod cli;
