//! F28: the panel for market research, for who joined it, until they leave or object.

use crate::driver::{SHIPPED, check_records};

#[test]
fn f28_panel_has_who_joined_and_did_not_object() {
    let patron = r#""kind":"person","birth_date":"1985-07-30","email":"lid@example.org","initials":"J.A.","surname_prefix":"van der","surname":"Berg","card_number":"20013004567890""#;
    let child = patron.replace("1985", "2015");
    let joined = r#""consent_id":"c","purpose":"panel","decision":"granted","manner":"digital","at":"2025-07-01T00:00:00Z""#;
    let by_guardian = format!(r#"{joined},"given_by":"guardian","signature_ref":"S-1""#);
    let left =
        r#""consent_id":"d","purpose":"panel","decision":"withdrawn","at":"2025-08-01T00:00:00Z""#;
    let objection = r#""objection_id":"o","kind":"special_circumstances""#;
    let lodged = format!(r#"{objection},"purpose":"panel","status":"lodged""#);
    let dismissed = format!(r#"{objection},"purpose":"panel","status":"dismissed""#);
    let other = format!(r#"{objection},"purpose":"statistics","status":"lodged""#);
    let marketing = r#""objection_id":"p","kind":"direct_marketing","status":"lodged""#;
    let whole = r#"{"name":"J.A. van der Berg","email":"lid@example.org"}"#;
    let joins = ("consent", joined);
    for (records, patron, want) in [
        (&[][..], patron, "no_consent"),
        (&[joins], patron, whole),
        (&[joins, ("consent", left)], patron, "no_consent"),
        (&[joins, ("objection", &lodged)], patron, "objection"),
        (&[joins, ("objection", &lodged), ("objection", &dismissed)], patron, whole),
        (&[joins, ("objection", &other)], patron, whole),
        (&[joins, ("objection", marketing)], patron, whole),
        (&[joins], &child, "no_consent"),
        (&[("consent", &by_guardian)], &child, whole),
    ] {
        let all = [records, &[("patron", patron)]].concat();
        check_records(&SHIPPED, "panel", &all, want);
    }
}
