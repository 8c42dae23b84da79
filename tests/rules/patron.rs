//! Records of patron `p1`, and what recipients are told after consents and objections.

use crate::driver::{SHIPPED, check_records};

pub const ACTIVE_MEMBER: &str =
    r#""kind":"person","birth_date":"1985-07-30","membership":{"id":"M","status":"active"}"#;
pub const MEMBER_WITH_ACCOUNT: &str = r#""kind":"person","birth_date":"1985-07-30","membership":{"id":"M","status":"active"},"online_account":{"created_at":"2025-06-01T00:00:00Z"}"#;
pub const GRANT: &str = r#""decision":"granted","manner":"written","at":"2025-07-01T00:00:00Z""#;
pub const REFUSAL: &str = r#""decision":"refused","manner":"oral","at":"2025-07-01T00:00:00Z""#;
pub const LATER_GRANT: &str =
    r#""decision":"granted","manner":"digital","at":"2025-08-01T00:00:00Z""#;
pub const LATER_REFUSAL: &str = r#""decision":"withdrawn","at":"2025-08-01T00:00:00Z""#;
pub const REFUSAL_WITHOUT_TIME: &str = r#""decision":"refused","at":"2025-08-01""#;
pub const FUTURE_GRANT: &str =
    r#""decision":"granted","manner":"written","at":"2026-01-15T12:00:01Z""#;
pub const FUTURE_REFUSAL: &str = r#""decision":"refused","at":"2030-01-01T00:00:00Z""#;
pub const ORAL_GRANT: &str = r#""decision":"granted","manner":"oral","at":"2025-08-01T00:00:00Z""#;
pub const GRANT_BY_NAME: &str = r#""recipient":"kb-membership","decision":"granted","manner":"written","at":"2025-09-01T00:00:00Z""#;
pub const REFUSAL_BY_NAME: &str =
    r#""recipient":"kb-membership","decision":"refused","at":"2025-06-01T00:00:00Z""#;
pub const REFUSAL_FOR_ANOTHER_RECIPIENT: &str =
    r#""recipient":"kb-recognition","decision":"refused","at":"2025-12-01T00:00:00Z""#;
pub const UNREADABLE_CONSENT: &str = r#""decision":"granted","at":1"#;
pub const OPEN_LOAN: &str = r#""loan_id":"l","status":"open","loaned_at":"2025-11-01T10:00:00Z""#;

pub fn consent_record(id: &str, rest: &str) -> (&'static str, String) {
    let fields = format!(r#""consent_id":"{id}","purpose":"online-library",{rest}"#);
    ("consent", fields)
}

/// What kb-membership is told of a patron who said this, one by one.
#[track_caller]
pub fn check_kb_membership(patron: &str, statements: &[(&str, &str)], want: &str) {
    let statements: Vec<(&str, String)> =
        statements.iter().map(|(id, rest)| consent_record(id, rest)).collect();
    let mut lines: Vec<(&str, &str)> = statements.iter().map(|(a, b)| (*a, b.as_str())).collect();
    lines.push(("patron", patron));
    check_records(&SHIPPED, "kb-membership", &lines, want);
    check_records(&SHIPPED, "kb-recognition", &lines, "released");
}

/// What statistics, a public task, is told of a loan of a patron who said this.
#[track_caller]
pub fn check_statistics(statements: &[(&str, &str)], want: &str) {
    let mut lines = statements.to_vec();
    lines.extend([("patron", ACTIVE_MEMBER), ("loan", OPEN_LOAN)]);
    check_records(&SHIPPED, "statistics", &lines, want);
}

/// Checks what a recipient gets of one record of a patron with these members.
#[track_caller]
pub fn check_output(recipient: &str, patron: &str, source: &str, record: &str, want: &str) {
    let records = [("patron", patron), (source, record)];
    let count = if source == "patron" { 1 } else { 2 };
    check_records(&SHIPPED, recipient, &records[..count], want);
}

/// A loan of a month that is over.
pub const LOAN_OF_CLOSED_MONTH: &str = r#""loaned_at":"2025-11-01T10:00:00Z""#;
