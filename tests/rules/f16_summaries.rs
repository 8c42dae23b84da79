//! F16: sums, counts and lists of a patron's own records.

use std::sync::LazyLock;

use crate::driver::{Message, RulePolicy, check, check_records, p1_record};
use zeef_test_kit::config::{PolicyFile, kind_file, patron_kind_file, recipient_file};

const IDENTIFIERS: &str = r#"
    patron_id = { type = "text", class = "identifier", meaning = "m" }
    library = { type = "isil", class = "plain", meaning = "m" }
    gone = { type = "boolean", class = "plain", meaning = "m" }
    status = { type = "text", values = ["open", "overdue", "returned", "settled"], class = "plain", meaning = "m" }
"#;

fn record_kind(name: &str, settings: &str, fields: &str) -> PolicyFile {
    let own = format!("{name}_id = {{ type = \"text\", class = \"identifier\", meaning = \"m\" }}");
    let settings = format!("id = \"{name}_id\"\nkey = \"patron\"\n{settings}");
    kind_file(name, &settings, &format!("{IDENTIFIERS}{own}\n{fields}"))
}

/// A recipient of patrons with a field of each sort.
static SUMMARIES: LazyLock<RulePolicy> = LazyLock::new(|| {
    let own = r#"where = [
        { field = "status", is = ["open"] },
        { field = "library", same_as = "library" },
        { field = "currency", same_as = "currency", or_else = "EUR" },
    ]"#;
    let own = own.replace('\n', " ").replace(", ]", " ]");
    let fields = format!(
        r#"
        due = {{ sum = "debt.amount_cents", {own} }}
        loans = {{ count = "loan", where = [{{ field = "status", is = ["open", "overdue"] }}] }}
        blocked = {{ any = "debt", as = "yes", where = [{{ field = "stage", is = ["collection"] }}] }}
        list = {{ list = "loan", fields = ["due_on", "title"], order = ["due_on"], where = [{{ field = "status", is = ["open", "overdue"] }}] }}
        "#
    );
    let settings = r#"
        source = "patron"
        key = { pseudonym = "patron_id" }
        retention = { term = "P1Y", from = "born_on", after = "retract" }
    "#;
    let amounts = r#"
        amount_cents = { type = "integer", class = "financial", meaning = "m" }
        currency = { type = "currency", class = "plain", meaning = "m" }
        stage = { type = "text", values = ["invoice", "collection"], class = "plain", meaning = "m" }
    "#;
    let loan = r#"
        due_on = { type = "date", class = "personal", meaning = "m" }
        title = { type = "text", class = "personal", meaning = "m" }
    "#;
    let debt_id = r#"debt_id = { type = "text", class = "identifier", meaning = "m" }"#;
    RulePolicy::from_files(&[
        patron_kind_file(
            r#"currency = { type = "currency", class = "plain", meaning = "m" }
            bsn = { type = "bsn", class = "national_id", meaning = "m" }"#,
        ),
        record_kind("debt", "gone = \"gone\"", amounts),
        record_kind("loan", "gone = \"gone\"", loan),
        record_kind("settlement", "role = \"gate\"\nsettles = \"debt\"\ngone = \"gone\"", debt_id),
        recipient_file("sums", settings, &fields),
    ])
});

const PATRON: &str = r#""born_on":"2025-12-01""#;

/// Checks what the recipient has of a patron with these records, whichever comes first.
#[track_caller]
fn check_sums(records: &[(&str, &str)], want: &str) {
    let mut last: Vec<(&str, &str)> = records.to_vec();
    last.push(("patron", PATRON));
    check_records(&SUMMARIES, "sums", &last, want);
    // The other way round the driver compares what the recipient has in the end.
    let mut first = vec![("patron", PATRON)];
    first.extend(records);
    let values: Vec<(&str, String)> =
        first.iter().map(|(kind, members)| (*kind, p1_record(kind, members))).collect();
    let messages: Vec<Message<'_>> =
        values.iter().map(|(kind, value)| message(kind, value)).collect();
    check(&SUMMARIES, &messages, &[]);
}

fn message<'a>(kind: &'a str, value: &'a str) -> Message<'a> {
    (kind, Some(b"p1".as_slice()), Some(value.as_bytes()))
}

#[test]
fn f16_sum_is_of_the_records_that_count() {
    let debt = r#""debt_id":"d","status":"open","currency":"EUR","amount_cents":250"#;
    let other = r#""debt_id":"e","status":"open","currency":"EUR","amount_cents":1000"#;
    for (records, due) in [
        (&[][..], "0"),
        (&[debt], "250"),
        (&[debt, other], "1250"),
        // A later version replaces an earlier one.
        (&[debt, r#""debt_id":"d","status":"open","currency":"EUR","amount_cents":-50"#], "-50"),
        (&[debt, other, r#""debt_id":"d","status":"settled","currency":"EUR""#], "1000"),
        (&[debt, r#""debt_id":"e","status":"open","currency":"USD","amount_cents":1"#], "250"),
        (&[debt, r#""debt_id":"e","status":"open","amount_cents":1"#], "250"),
        (
            &[
                debt,
                r#""debt_id":"e","library":"NL-Other","status":"open","currency":"EUR","amount_cents":1"#,
            ],
            "250",
        ),
        (&[debt, r#""debt_id":"e","status":"unknown","currency":"EUR","amount_cents":1"#], "250"),
        // One that does not count may be malformed.
        (&[debt, r#""debt_id":"e","status":"settled","currency":"EUR","amount_cents":"x""#], "250"),
        (&[debt, r#""debt_id":"e","status":"open","currency":1,"library":"NL-Other""#], "250"),
    ] {
        let records: Vec<_> = records.iter().map(|record| ("debt", *record)).collect();
        check_sums(&records, &format!(r#"{{"due":{due},"loans":0}}"#));
    }
}

#[test]
fn f16_sum_that_cannot_be_read_withholds_the_output() {
    let max = i64::MAX;
    for records in [
        &[r#""debt_id":"d","status":"open","currency":"EUR""#.to_owned()][..],
        &[r#""debt_id":"d","status":"open","currency":"EUR","amount_cents":"250""#.to_owned()],
        &[r#""debt_id":"d","status":"open","currency":"EUR","amount_cents":2.5"#.to_owned()],
        &[r#""debt_id":"d","status":"open","currency":"EUR","amount_cents":9223372036854775808"#
            .to_owned()],
        &[r#""debt_id":"d","status":1,"currency":"EUR","amount_cents":1"#.to_owned()],
        &[r#""debt_id":"d","status":"open","currency":["EUR"],"amount_cents":1"#.to_owned()],
        &[
            format!(r#""debt_id":"d","status":"open","currency":"EUR","amount_cents":{max}"#),
            r#""debt_id":"e","status":"open","currency":"EUR","amount_cents":1"#.to_owned(),
        ],
    ] {
        let records: Vec<_> = records.iter().map(|record| ("debt", record.as_str())).collect();
        check_sums(&records, "records_unreadable");
        // Settled, it no longer counts.
        let mut settled = records.clone();
        settled.push(("settlement", r#""settlement_id":"s","debt_id":"d""#));
        let due = if records.len() > 1 { "1" } else { "0" };
        check_sums(&settled, &format!(r#"{{"due":{due},"loans":0}}"#));
    }
}

#[test]
fn f10_settled_debt_is_in_no_sum() {
    let debt = (
        "debt",
        r#""debt_id":"d","status":"open","currency":"EUR","amount_cents":250,"stage":"collection""#,
    );
    let settled = ("settlement", r#""settlement_id":"s","debt_id":"d""#);
    let gone = ("settlement", r#""settlement_id":"s","gone":true"#);
    let open = r#"{"due":250,"loans":0,"blocked":"yes"}"#;
    check_sums(&[debt], open);
    check_sums(&[debt, settled], r#"{"due":0,"loans":0}"#);
    check_sums(&[settled, debt], r#"{"due":0,"loans":0}"#);
    check_sums(&[debt, settled, gone], open);
}

#[test]
fn f16_record_that_is_gone_is_in_no_sum_until_it_comes_back() {
    let debt = r#""debt_id":"d","status":"open","currency":"EUR","amount_cents":250"#;
    let with = |rest: &str| format!("{debt}{rest}");
    let counts = r#"{"due":250,"loans":0}"#;
    let nothing = r#"{"due":0,"loans":0}"#;
    for (last, want) in [
        (r#""debt_id":"d","gone":true"#.to_owned(), nothing),
        (with(r#","gone":true"#), nothing),
        (with(r#","gone":false"#), counts),
        (with(r#","gone":"ja""#), "records_unreadable"),
        (r#""debt_id":"d","status":"settled","gone":"ja""#.to_owned(), nothing),
    ] {
        check_sums(&[("debt", debt), ("debt", &last)], want);
        check_sums(&[("debt", debt), ("debt", &last), ("debt", debt)], counts);
    }
}

#[test]
fn f16_list_is_sorted_by_its_dates_with_missing_ones_last() {
    let loan = |id: &str, rest: &str| format!(r#""loan_id":"{id}","status":"open"{rest}"#);
    let loans = [
        loan("c", r#","due_on":"2026-02-01","title":"C""#),
        loan("b", ""),
        loan("a", r#","due_on":"not a date","title":"A""#),
        loan("e", r#","due_on":"2026-01-20""#),
        loan("d", r#","due_on":"2026-01-20","title":"D""#),
        r#""loan_id":"f","status":"returned","due_on":"2026-01-01""#.to_owned(),
    ];
    let records: Vec<_> = loans.iter().map(|loan| ("loan", loan.as_str())).collect();
    let want = r#"{"due":0,"loans":5,"list":[{"due_on":"2026-01-20","title":"D"},{"due_on":"2026-01-20"},{"due_on":"2026-02-01","title":"C"},{"title":"A"}]}"#;
    check_sums(&records, want);
    let mut malformed = records.clone();
    malformed.push(("loan", r#""loan_id":"b","status":"open","due_on":1"#));
    check_sums(&malformed, "records_unreadable");
}

#[test]
fn f45_records_from_before_an_erasure_are_in_no_sum() {
    let debt =
        p1_record("debt", r#""debt_id":"d","status":"open","currency":"EUR","amount_cents":250"#);
    let patron = p1_record("patron", PATRON);
    let erasure = ("patron", Some(b"p1".as_slice()), None);
    let mut messages = vec![message("debt", &debt), message("patron", &patron), erasure];
    messages.push(message("patron", &patron));
    check(&SUMMARIES, &messages, &[("sums", r#"{"due":0,"loans":0}"#)]);
    messages.extend([message("debt", &debt), message("patron", &patron)]);
    check(&SUMMARIES, &messages, &[("sums", r#"{"due":250,"loans":0}"#)]);
}

#[test]
fn s01_sum_and_list_that_repeat_the_bsn_are_left_out() {
    let patron = r#""born_on":"2025-12-01","bsn":"111222333""#;
    let debt = r#""debt_id":"d","status":"open","currency":"EUR","amount_cents":111222333"#;
    let loan = r#""loan_id":"l","status":"open","title":"111 222 333","due_on":"2026-02-01""#;
    let records = [("debt", debt), ("loan", loan), ("patron", patron)];
    check_records(&SUMMARIES, "sums", &records, r#"{"loans":1,"list":[{"due_on":"2026-02-01"}]}"#);
}
