//! Demands of an authority, and what makes them complete.

use crate::driver::{SHIPPED, check_records};
use crate::patron::ACTIVE_MEMBER;

const RECEIVED: &str = r#""received_at":"2025-11-03T09:00:00+01:00""#;
const ADVICE: &str = r#""advice":{"by":"J. Urist","at":"2025-11-04T10:00:00Z","advice":"refuse"}"#;
const DECISION: &str = r#""decision":{"role":"directeur","at":"2025-11-05T11:00:00Z","decision":"granted","legal_duty":true}"#;

/// The members of a complete demand for these fields, and others.
pub fn demand(fields: &str, others: &str) -> String {
    let comma = if others.is_empty() { "" } else { "," };
    format!(
        r#""authority":"politie","law_article":"126nd Sv","manner":"written","fields":{fields},{RECEIVED},"team_leader":"T. Eam",{ADVICE},{DECISION}{comma}{others}"#
    )
}

/// The members of a complete demand for two fields.
pub fn granted() -> String {
    demand(r#"["surname","email"]"#, "")
}

/// What is changed of a complete demand, and what the recipient is then told.
const CHANGES: &[(&str, &str, &str)] = &[
    ("\"written\"", "\"digital\"", "not_written"),
    ("\"written\"", "\"oral\"", "not_written"),
    ("\"written\"", "\"letter\"", "not_written"),
    ("\"126nd Sv\"", "\"\"", "no_law_article"),
    ("[\"surname\",\"email\"]", "[]", "nothing_demanded"),
    ("[\"surname\",\"email\"]", "[\"\",null]", "nothing_demanded"),
    ("[\"surname\",\"email\"]", "\"surname\"", "malformed"),
    ("[\"surname\",\"email\"]", "[\"surname\",1]", "malformed"),
    ("\"T. Eam\"", "null", "no_team_leader"),
    ("\"2025-11-03T09:00:00+01:00\"", "\"2025-11-03\"", "no_receipt"),
    ("\"refuse\"", "\"perhaps\"", "no_advice"),
    ("\"2025-11-04T10:00:00Z\"", "null", "no_advice"),
    ("\"granted\"", "\"perhaps\"", "no_decision"),
    ("\"2025-11-05T11:00:00Z\"", "\"\"", "no_decision"),
    ("\"granted\"", "\"refused\"", "not_granted"),
    ("true", "false", "no_legal_duty"),
    ("true", "null", "no_legal_duty"),
    ("true", "\"true\"", "malformed"),
    ("2025-11-03T09", "2025-11-04T12", "stages"),
    ("2025-11-04T10:00:00Z", "2025-11-05T11:00:00.000000001Z", "stages"),
    ("2025-11-05", "2025-11-01", "stages"),
    ("2025-11-05T11:00:00Z", "2026-01-15T12:00:00.000000001Z", "stage_in_future"),
    ("2025-11-05T11:00:00Z", "2026-01-15T13:00:00+01:00", "released"),
    ("2025-11-04T10:00:00Z", "2025-11-03T08:00:00Z", "released"),
    ("\"refuse\"", "\"grant\"", "released"),
];

#[track_caller]
pub fn check_each_element(recipient: &str) {
    for (from, to, want) in CHANGES {
        let changed = granted().replacen(from, to, 1);
        assert_ne!(changed, granted(), "{from}");
        let records = [("patron", ACTIVE_MEMBER), ("demand", &*changed)];
        check_records(&SHIPPED, recipient, &records, want);
    }
}
