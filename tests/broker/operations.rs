//! What operators and partners see of zeef on a real Kafka: commands, refusals,
//! the nightly run, health and pace.
//!
//! What is released to whom is told elsewhere; here it only has to arrive.

mod acknowledgements;
mod acls;
mod added_partitions;
mod admin_endpoints;
mod broker_outage;
mod erasure;
mod explain;
mod export;
mod gates;
mod generate;
mod holds;
mod idle;
mod lanes;
mod ledger;
mod misplaced;
mod partner_view;
mod policy_change;
mod rate_limit;
mod repartition;
mod retraction;
mod sasl_login;
mod start_refusals;
pub(crate) mod test_site;
mod topics;
mod until_end;

use test_site::{SiteOptions, TestSite, open_loan, patron_record};
