//! G04: only written and digital grants count.

use crate::driver::{SHIPPED, check_records};
use crate::patron::*;

#[test]
fn g04_oral_consent_grants_nothing_and_refuses() {
    for (statements, want) in [
        (&[("a", ORAL_GRANT)][..], "no_consent"),
        (&[("a", GRANT), ("b", ORAL_GRANT)], "released"),
        (&[("a", REFUSAL), ("b", ORAL_GRANT)], "no_consent"),
        (
            &[
                ("a", LATER_GRANT),
                ("b", r#""decision":"refused","manner":"oral","at":"2025-09-01T00:00:00Z""#),
            ],
            "no_consent",
        ),
    ] {
        check_kb_membership(ACTIVE_MEMBER, statements, want);
    }
    let patron = [("patron", MEMBER_WITH_ACCOUNT)];
    check_records(&SHIPPED, "kb-membership", &patron, "released");
}
