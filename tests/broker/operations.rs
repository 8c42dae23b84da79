//! What operators and partners see of zeef on a real Kafka: commands, refusals,
//! the nightly run, health and pace.
//!
//! What is released to whom is told elsewhere; here it only has to arrive.

mod admin;
mod erasure;
mod explain;
mod gates;
mod generate;
mod holds;
mod idle;
mod lanes;
mod login;
mod misplaced;
mod outage;
mod partitions;
mod partner;
mod policy;
mod rate;
mod refusals;
mod retraction;
mod rights;
pub(crate) mod site;
mod topics;
mod until_end;

use site::{Options, Site, loan, patron};
