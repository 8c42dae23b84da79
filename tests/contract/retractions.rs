//! What a retraction says.

use zeef::message::{Outbox, OutputId};
use zeef::policy::reason::Reason;
use zeef::policy::retraction::RetractionReason;

/// A retraction tells nothing but one of the words of the contract.
#[test]
fn every_reason_is_told_as_a_word_of_the_contract() {
    let view = crate::view("newsletter");
    let headers = zeef::contract::contract_headers(&view.contract);
    let header = headers.iter().find(|one| one.name == "zeef-retraction-reason").unwrap();
    for reason in Reason::ALL {
        let told = RetractionReason::of(*reason).as_str();
        let words = header.schema["enum"].as_array().unwrap();
        assert!(words.iter().any(|word| word == told), "{reason}: {told}");
    }
    let statistics = crate::view("statistics");
    let headers = zeef::contract::contract_headers(&statistics.contract);
    let header = headers.iter().find(|one| one.name == "zeef-retraction-reason").unwrap();
    assert_eq!(header.schema["enum"], serde_json::json!(["ended"]));
    for reason in RetractionReason::ALL {
        assert_eq!(reason.told_to(true).as_str(), "ended");
    }
}

#[test]
fn outbox_keeps_the_reason_of_a_retraction_and_of_no_other_message() {
    let mut outbox = Outbox::default();
    outbox.push_tombstone(OutputId(0), None, b"a");
    outbox.push_retraction(OutputId(0), b"b", RetractionReason::Erase);
    outbox.push(OutputId(0), None, Some(b"c"), |value| value.push(b'1'));
    outbox.sort_by_key();
    let told: Vec<_> = outbox.iter().map(|one| (one.value.is_some(), one.retraction)).collect();
    assert_eq!(told, [(false, None), (false, Some(RetractionReason::Erase)), (true, None)]);
}
