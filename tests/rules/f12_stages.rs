//! F12: the stages of a debt, in their order.

use crate::driver::{SHIPPED, check_records};
use crate::patron::*;

#[test]
fn f12_debt_stages_must_be_in_order() {
    let head = r#""debt_id":"d","stage":"collection","status":"open""#;
    for (moments, want) in [
        (("2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z", ""), "released"),
        (("2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z", "2025-03-01T00:00:00Z"), "released"),
        (("2025-02-01T00:00:00Z", "2025-02-01T01:00:00+01:00", "2025-02-01T00:00:00Z"), "released"),
        (("2025-02-01T00:00:01Z", "2025-02-01T01:00:00+01:00", ""), "stages"),
        (("2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z", "2025-01-15T00:00:00Z"), "stages"),
        (("2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z", "2024-12-01T00:00:00Z"), "stages"),
        (("2025-01-01T00:00:00Z", "", "2024-12-01T00:00:00Z"), "condition"),
        (("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z", "2021-01-15T12:00:00Z"), "lapsed"),
        (("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z", "2021-01-15T12:00:01Z"), "released"),
    ] {
        let (reminded, invoiced, referred) = moments;
        let debt = format!(
            r#"{head},"reminded_at":"{reminded}","invoiced_at":"{invoiced}","referred_at":"{referred}""#
        );
        check_records(&SHIPPED, "deurwaarder", &[("patron", ACTIVE_MEMBER), ("debt", &debt)], want);
    }
}
