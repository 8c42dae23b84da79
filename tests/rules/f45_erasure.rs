//! F45: an erasure reaches every recipient and ends an epoch.

use crate::driver::{Message, SHIPPED, check, p1_record};
use crate::patron::*;

#[test]
fn f45_erasure_takes_back_everything_and_ends_grants() {
    let patron = p1_record("patron", ACTIVE_MEMBER);
    let grant = format!(r#""purpose":"online-library",{GRANT}"#);
    let grant = p1_record("consent", &grant);
    let loan = p1_record("loan", r#""status":"open","due_on":"2026-02-01""#);
    let key = Some(&b"p1"[..]);
    let messages: [Message<'_>; 6] = [
        ("consent", key, Some(grant.as_bytes())),
        ("patron", key, Some(patron.as_bytes())),
        ("loan", key, Some(loan.as_bytes())),
        ("patron", key, None),
        ("patron", key, Some(patron.as_bytes())),
        ("loan", key, Some(loan.as_bytes())),
    ];
    for (count, recipient, want) in [
        (2, "kb-membership", "released"),
        (3, "service-message", "released"),
        (4, "kb-membership", "patron_erased"),
        // Whoever has the id next consented to nothing.
        (5, "kb-membership", "no_consent"),
        (6, "service-message", "released"),
    ] {
        check(&SHIPPED, &messages[..count], &[(recipient, want)]);
    }
}
