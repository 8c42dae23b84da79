//! The ledger says what recipients got and lost, key for key, and nothing else; and nobody
//! changes a byte of it unseen.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]

mod acknowledgements;
mod activities;
mod audit;
mod chains;
mod checkpoints;
mod command_line;
mod confidential;
mod confidential_demands;
mod directory;
mod erase;
mod foreign_operation;
mod forget;
mod letter;
mod other_persons;
mod outputs;
mod sent_again;
mod serve;
mod timestamps;
mod values;
mod webhook;
mod years;

use std::collections::BTreeMap;

use zeef::ledger::block::ChainName;
use zeef::ledger::register::Register;
use zeef::ledger::{LEDGER_TOPIC, REGISTER_TOPIC};
use zeef::message::continuity::{ContinuityMark, LedgerHead, MARK_ROW_KEY};
use zeef::transport::memory::PublishedOutput;
use zeef_test_kit::deployment::DeploymentSetup;
use zeef_test_kit::scenario;
use zeef_test_kit::scenario_runner::{ScenarioResult, run_scenario};
use zeef_test_kit::worker::state_keys;

/// How long random scenarios are.
const STEPS: usize = 160;

/// Plays a random scenario with a ledger.
fn play(seed: u64, setup: DeploymentSetup) -> ScenarioResult {
    play_steps(seed, STEPS, setup)
}

fn play_steps(seed: u64, length: usize, setup: DeploymentSetup) -> ScenarioResult {
    let steps = scenario::generate_scenario(seed, length);
    let setup = DeploymentSetup { has_ledger: true, ..setup };
    run_scenario(&steps, setup).unwrap_or_else(|text| panic!("seed {seed}: {text}"))
}

/// The setups that disturb a run most.
fn setups() -> [DeploymentSetup; 3] {
    use zeef_test_kit::deployment::LaneLayout::{OneLane, TwoLanes};
    [
        DeploymentSetup { layout: OneLane, ..DeploymentSetup::DEFAULT },
        DeploymentSetup {
            batch_records: 5,
            fail_every: Some(3),
            partitions: 3,
            ..DeploymentSetup::DEFAULT
        },
        DeploymentSetup {
            layout: TwoLanes,
            batch_records: 20,
            rebalance_every: Some(4),
            fail_every: Some(5),
            ..DeploymentSetup::DEFAULT
        },
    ]
}

/// The blocks of a lane, oldest first.
fn blocks_of(outputs: &[PublishedOutput]) -> impl Iterator<Item = &PublishedOutput> {
    outputs.iter().filter(|output| output.topic == LEDGER_TOPIC)
}

fn value_of(output: &PublishedOutput) -> &[u8] {
    output.value.as_deref().expect("no tombstone")
}

/// The register of a lane.
fn register_of(outputs: &[PublishedOutput]) -> Register {
    let mut register = Register::default();
    for output in outputs.iter().filter(|output| output.topic == REGISTER_TOPIC) {
        register.add_message(value_of(output)).expect("an entry of the register");
    }
    register
}

/// The heads of the chains of a lane, as its last marks say.
fn heads_of(lane: &str, outputs: &[PublishedOutput]) -> BTreeMap<String, LedgerHead> {
    let mut heads = BTreeMap::new();
    for row in outputs.iter().filter(|output| output.key.as_deref() == Some(MARK_ROW_KEY)) {
        let mark = ContinuityMark::decode(&state_keys().fingerprinter(), value_of(row));
        let partition = row.partition.expect("a partition");
        if let Some(head) = mark.expect("a mark").ledger {
            let name = ChainName { lane: lane.to_owned(), partition, born: head.born };
            heads.insert(name.to_string(), head);
        }
    }
    heads
}
