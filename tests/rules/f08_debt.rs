//! F08: debts to the finance service.

use crate::patron::*;

#[test]
fn f08_debt_items_keep_only_listed_fields() {
    let head = r#""stage":"collection","status":"open","reminded_at":"2025-01-01T00:00:00Z","invoiced_at":"2025-02-01T00:00:00Z""#;
    for (items, want) in [
        ("[]", r#"{"debt_id":"r1"}"#),
        (r#"[{"barcode":"1"},{},null,"",[]]"#, r#"{"debt_id":"r1"}"#),
        (
            r#"[{"amount_cents":5,"barcode":1,"title":"A"},{"due_on":"2023-02-29"}]"#,
            r#"{"debt_id":"r1","items":[{"title":"A","amount_cents":5}]}"#,
        ),
        ("[1]", "malformed"),
        (r#"{"title":"A"}"#, "malformed"),
        ("{}", r#"{"debt_id":"r1"}"#),
        (r#"[{"title":"A","title":"A"}]"#, "malformed"),
        (r#"[{"title":"A","amount_cents":1.5}]"#, "malformed"),
        (r#"[{"title":"A"},[[{"title":"B"}]]]"#, "malformed"),
    ] {
        let record = format!(r#"{head},"items":{items}"#);
        check_output("deurwaarder", r#""kind":"person""#, "debt", &record, want);
    }
}
