//! zeef gives each partner of a public library exactly the fields it may see.
//!
//! The rooms, from the ground up. A room uses only rooms listed before it
//! (`tests/architecture.rs` holds this):

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod json;

pub mod policy;

pub mod config;

pub mod http;

pub mod message;

pub mod ledger;

pub mod intake;

pub mod schemas;

pub mod export;

pub mod contract;

pub mod register;

pub mod engine;

pub mod transport;

pub mod sample;

pub mod daemon;

pub mod cli;
