//! `zeef contract` and `zeef check --against`: what partners and upstreams can test
//! themselves by.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]

mod against;
mod avro;
mod documents;
mod examples;
mod json_schema;
mod outputs;
mod retractions;

use std::sync::OnceLock;

use zeef::config::LoadedConfig;
use zeef::contract::ContractView;
use zeef::policy::recipient::Recipient;
use zeef_test_kit::config::load_shipped_config;

use json_schema::SchemaCheck;

/// The shipped config with every recipient switched on.
fn shipped() -> &'static LoadedConfig {
    static SHIPPED: OnceLock<LoadedConfig> = OnceLock::new();
    SHIPPED.get_or_init(load_shipped_config)
}

fn recipients() -> &'static [Recipient] {
    let policy = &shipped().policy;
    assert!(policy.disabled_recipients.is_empty());
    &policy.recipients
}

fn view(recipient: &str) -> ContractView<'static> {
    ContractView::of_recipient(&shipped().policy, recipient).unwrap()
}
