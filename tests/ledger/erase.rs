//! What recipients will lose by an erasure, and the proof that they lost it.

use super::audit::run_in_directory;
use super::command_line::{CANARY, Deployment};

#[test]
fn rights_erase_tells_what_will_be_lost_and_proves_that_it_is() {
    let (deployment, id) = Deployment::with_ready_reservation();
    let erase = |words: &[&str], code: i32| {
        let ran = run_in_directory(&deployment, &[&["rights", "erase", &id], words].concat());
        let said = String::from_utf8(ran.stdout).unwrap();
        let errors = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(code), "{words:?}: {said}{errors}");
        said
    };
    let before = erase(&["--dry-run", "--lang", "nl"], 0);
    assert!(before.contains("Bij wissen") && before.contains("reservation-slip"), "{before}");
    assert!(before.contains("shelf_mark"), "{before}");
    let json: serde_json::Value =
        serde_json::from_str(&erase(&["--dry-run", "--json"], 0)).unwrap();
    let losses = json["loses"].as_array().unwrap().clone();
    let not_yet = erase(&["--proof"], 1);
    assert!(
        not_yet.starts_with("Not erased") && not_yet.contains("reservation-slip: 1"),
        "{not_yet}"
    );
    erase(&[], 2);

    deployment.append("patron", &id, "null");
    deployment.run();
    let proof: serde_json::Value = serde_json::from_str(&erase(&["--proof", "--json"], 0)).unwrap();
    assert_eq!((&proof["erased"], &proof["still_had"]), (&true.into(), &serde_json::json!({})));
    // Each that had something lost it, as often as it had it.
    let taken_back = proof["taken_back"].as_array().unwrap();
    for loss in &losses {
        let of_recipient = taken_back.iter().filter(|one| one["recipient"] == loss["recipient"]);
        let count: u64 = of_recipient.map(|one| one["records"].as_u64().unwrap()).sum();
        assert_eq!(count, loss["records"].as_u64().unwrap(), "{loss} of {proof}");
    }
    assert!(losses.len() > 1, "{json}");
    let text = erase(&["--proof", "--lang", "nl"], 0);
    assert!(text.starts_with("Gewist: "), "{text}");
    assert!(erase(&["--dry-run"], 0).contains("No recipient has anything"));
    // Of whom nothing was taken back nothing is proved.
    let other = run_in_directory(&deployment, &["rights", "erase", "nobody", "--proof"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(![before, text, not_yet, proof.to_string()].concat().contains(CANARY));
}
