//! What zeef's tests share: a model of the rules, scenarios and their runner, generators
//! of records, and fixtures.

pub mod adversarial;
pub mod config;
pub mod convergence_model;
pub mod deployment;
pub mod directory_outputs;
pub mod engine;
pub mod golden;
pub mod ledger;
pub mod library_fixture;
pub mod linkage_attack;
pub mod marked_patrons;
pub mod model;
pub mod mutations;
pub mod parallel;
pub mod process;
pub mod rebalancing_transport;
pub mod rng;
pub mod scenario;
pub mod scenario_runner;
pub mod schema_registry;
pub mod test_recipients;
pub mod timestamp_authority;
pub mod worker;
