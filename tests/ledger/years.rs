//! References change by themselves at the turn of the year.

use std::collections::BTreeSet;

use zeef::ledger::block::Block;
use zeef_test_kit::deployment::{DeploymentSetup, InMemoryDeployment, ledger_keys};
use zeef_test_kit::worker::state_keys;

use super::chains::push_patron;
use super::{blocks_of, value_of};

/// 2026-12-31T23:59:59Z in milliseconds.
const LAST_SECOND_MS: i64 = 1_798_761_599_000;

#[test]
fn patron_reference_changes_with_the_utc_year() {
    let setup = DeploymentSetup { has_ledger: true, ..DeploymentSetup::DEFAULT };
    let mut deployment = InMemoryDeployment::new(setup, LAST_SECOND_MS);
    let loan = |number: usize| {
        format!(
            r#"{{"patron_id":"p1","library":"NL-AmrBKW","loan_id":"l{number}","status":"open","loaned_at":"2026-12-30T10:00:00Z","due_on":"2027-02-01"}}"#
        )
    };
    for (number, now_ms) in [LAST_SECOND_MS, LAST_SECOND_MS + 1_000].into_iter().enumerate() {
        deployment.set_clock(now_ms);
        deployment.set_arrival_time(now_ms);
        push_patron(&mut deployment, "p1");
        let value = loan(number);
        deployment.push_message("loan", 0, Some(b"p1"), Some(value.as_bytes()));
        deployment.run_to_end().unwrap();
    }
    let outputs = deployment.lanes_with_outputs().remove(0).1;
    let hash = state_keys().patron_hash("p1").0;
    let of_year = |year: i16| ledger_keys().of_year(year).patron_reference(hash);
    let mut seen = BTreeSet::new();
    for block in blocks_of(&outputs) {
        let block: Block<'_> = serde_json::from_slice(value_of(block)).unwrap();
        let year = if block.time < LAST_SECOND_MS / 1_000 + 1 { 2026 } else { 2027 };
        for patron in block.lines.iter().filter_map(|line| line.patron.as_deref()) {
            assert_eq!(patron, of_year(year));
            seen.insert(year);
        }
    }
    assert_eq!(seen, BTreeSet::from([2026, 2027]));
    assert_ne!(of_year(2026), of_year(2027));
    // One chain, over the turn of the year.
    let chains: BTreeSet<String> = blocks_of(&outputs)
        .map(|block| {
            let block: Block<'_> = serde_json::from_slice(value_of(block)).unwrap();
            block.chain.to_string()
        })
        .collect();
    assert_eq!(chains.len(), 1);
}
