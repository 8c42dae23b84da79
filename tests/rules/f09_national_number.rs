//! F09: the list with the national number is for persons of Belgian libraries of whom it is known,
//! and has it once.

use crate::driver::{SHIPPED, check_records};

const DEBT: &str = r#""library":"BE-GntB","debt_id":"d","stage":"collection","status":"open","reminded_at":"2025-01-01T00:00:00Z","invoiced_at":"2025-02-01T00:00:00Z""#;

#[track_caller]
fn check(patron: &str, want: &str) {
    let patron = format!(r#""library":"BE-GntB",{patron}"#);
    check_records(&SHIPPED, "deurwaarder-rrn", &[("patron", &patron), ("debt", DEBT)], want);
}

#[test]
fn f09_number_is_sent_once_and_only_of_persons_who_have_one() {
    let number = r#""rijksregisternummer":"85.07.30-033.28""#;
    let with_card =
        r#"{"card_number":"0470012345","debt_id":"d","rijksregisternummer":"85.07.30-033.28"}"#;
    check(&format!(r#""kind":"person","card_number":"0470012345",{number}"#), with_card);
    let without_card = r#"{"debt_id":"d","rijksregisternummer":"85.07.30-033.28"}"#;
    for card in ["85073003328", "00085073003328", "85.07.30-033.28"] {
        check(&format!(r#""kind":"person","card_number":"{card}",{number}"#), without_card);
    }
    check(
        &format!(r#""kind":"person","card_kind":"eid","card_number":"5",{number}"#),
        without_card,
    );
    check(&format!(r#""kind":"institution",{number}"#), "condition");
    check(r#""kind":"person""#, "condition");
    check(r#""kind":"person","rijksregisternummer":"85.07.30-033.29""#, "condition");
}
