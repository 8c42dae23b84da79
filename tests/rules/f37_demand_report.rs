//! F37: a report of the demands that were answered, of which nothing of a patron decides.

use crate::demands::{demand, granted};
use crate::driver::{SHIPPED, check, check_records, p1_record};
use crate::patron::ACTIVE_MEMBER;

const REPORT: &str = r#"{"month":"2025-11","authority":"politie","law_article":"126nd Sv","decided_by":"directeur","number_of_fields":2}"#;

#[test]
fn f37_report_counts_demanded_fields_that_the_catalogue_has() {
    for (fields, want) in [
        (r#"["surname","email"]"#, 2),
        (r#"["surname","surname","email"]"#, 2),
        (r#"["interests[]","address.street","bsn","shoe_size"]"#, 3),
        (r#"["interests","address","Surname"," surname"]"#, 0),
    ] {
        let want = REPORT.replace(":2}", &format!(":{want}}}"));
        let records = [("patron", ACTIVE_MEMBER), ("demand", &*demand(fields, ""))];
        check_records(&SHIPPED, "demand-report", &records, &want);
    }
}

#[test]
fn f37_report_depends_on_no_patron() {
    let demand = p1_record("demand", &granted());
    let patron = p1_record("patron", r#""library":"BE-GntB","kind":"institution""#);
    let unreadable = p1_record("patron", r#""surname":"#);
    let objection = p1_record(
        "objection",
        r#""kind":"special_circumstances","status":"lodged","at":"2025-12-01T10:00:00Z""#,
    );
    let key = Some(b"p1".as_slice());
    let [demand, patron, unreadable, objection] =
        [&demand, &patron, &unreadable, &objection].map(|text| Some(text.as_bytes()));
    let demand = ("demand", key, demand);
    for before in [
        vec![],
        vec![("patron", key, patron)],
        vec![("patron", key, patron), ("objection", key, objection)],
        vec![("patron", key, patron), ("patron", key, None)],
        vec![("patron", key, unreadable)],
    ] {
        let mut messages = before;
        messages.push(demand);
        check(&SHIPPED, &messages, &[("demand-report", REPORT)]);
    }
    // What came afterwards takes nothing back: the driver compares what is left at the end.
    for after in [("patron", key, patron), ("objection", key, objection), ("patron", key, None)] {
        check(&SHIPPED, &[("patron", key, patron), demand, after], &[]);
    }
    check(&SHIPPED, &[demand, ("patron", key, patron), ("patron", key, None), demand], &[]);
}

#[test]
fn f37_each_missing_element_has_a_reason_of_its_own() {
    crate::demands::check_each_element("demand-report");
}

/// No patron is looked at, so a number is left out whoever it is about.
#[test]
fn s01_report_repeats_no_national_number() {
    for number in
        ["111222333", "1112.22.333", "zaak 111 222 333 / 7", "１１１222333", "85.07.30-033.28"]
    {
        for (field, shown) in [
            ("authority", r#""authority":"politie","#),
            ("law_article", r#""law_article":"126nd Sv","#),
            ("role", r#""decided_by":"directeur","#),
        ] {
            let granted = granted();
            let (before, after) = granted.split_once(&format!("\"{field}\":\"")).unwrap();
            let (_, after) = after.split_once('"').unwrap();
            let record = format!("{before}\"{field}\":\"{number}\"{after}");
            let want = REPORT.replace(shown, "");
            check_records(&SHIPPED, "demand-report", &[("demand", &record)], &want);
        }
    }
    // What is no such number stays.
    let record = granted().replace("126nd Sv", "126nd Sv, 2026-11-03, 30-07-1985, 111222334");
    let want = REPORT.replace("126nd Sv", "126nd Sv, 2026-11-03, 30-07-1985, 111222334");
    check_records(&SHIPPED, "demand-report", &[("demand", &record)], &want);
}
