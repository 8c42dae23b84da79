//! Policies by hand, as small as can be, of what the shipped ones never do: what
//! the rules say comes out of the engine and of the plain model.

use crate::handwritten_policy::compile_files;
use crate::policy_generator::NOW_MS;
use zeef_test_kit::config::{PolicyFile, kind_file, recipient_file};
use zeef_test_kit::engine::{EngineRunner, without_output_key};
use zeef_test_kit::model::SourceMessage;

fn patron_kind(closed: bool) -> PolicyFile {
    kind_file(
        "patron",
        &format!("role = \"patron\"\nid = \"patron_id\"\nkey = \"patron\"\nclosed = {closed}"),
        r#"
        patron_id = { type = "text", class = "identifier", meaning = "m" }
        library = { type = "isil", class = "plain", meaning = "m" }
        card_number = { type = "card_number", class = "identifier", meaning = "m" }
        card_kind = { type = "text", class = "plain", meaning = "m" }
        rijksregisternummer = { type = "rijksregisternummer", class = "national_id", meaning = "m" }
        "wards[].number" = { type = "rijksregisternummer", class = "national_id", meaning = "m" }
        born_on = { type = "date", class = "plain", meaning = "m" }
        "membership.ends_on" = { type = "date", class = "plain", meaning = "m" }
        member = { type = "boolean", class = "plain", meaning = "m" }
        "#,
    )
}

fn visit_kind(key: &str) -> PolicyFile {
    kind_file(
        "visit",
        &format!("id = \"visit_id\"\nkey = \"{key}\""),
        r#"
        visit_id = { type = "text", class = "identifier", meaning = "m" }
        patron_id = { type = "text", class = "identifier", meaning = "m" }
        library = { type = "isil", class = "plain", meaning = "m" }
        on = { type = "date", class = "plain", meaning = "m" }
        first_at = { type = "instant", class = "plain", meaning = "m" }
        then_at = { type = "instant", class = "plain", meaning = "m" }
        remark = { type = "text", class = "free_text", meaning = "m" }
        insz = { type = "text", class = "national_id", meaning = "m" }
        "rows[].a" = { type = "text", class = "plain", meaning = "m" }
        "codes[]" = { type = "integer", class = "plain", meaning = "m" }
        "#,
    )
}

const PATRON_SETTINGS: &str = "source = \"patron\"\nkey = { pseudonym = \"patron_id\" }\n\
     retention = { term = \"P1Y\", from = \"born_on\", after = \"retract\" }";
const VISIT_SETTINGS: &str = "source = \"visit\"\nkey = { pseudonym = \"visit_id\" }\n\
     retention = { term = \"P1Y\", from = \"on\", after = \"retract\" }";
const AUTHORISATION: &str = "authorisation = { reference = \"A\", approved_by = \"B\", \
     approved_on = \"2026-01-01\", from = \"2026-01-01\", until = \"2030-01-01\" }";

/// Offers records of one patron in turn, and compares what the last one comes
/// to, pseudonyms aside.
#[track_caller]
fn check_last_outcome(files: &[PolicyFile], records: &[(&str, &str)], want: &[&str]) {
    let compiled = compile_files(files).unwrap();
    let mut engine = EngineRunner::new(&compiled.lane, NOW_MS);
    let mut model = compiled.new_model();
    let (mut found, mut by_model) = (Vec::new(), Vec::new());
    for (offset, (kind, value)) in (0..).zip(records) {
        let message = SourceMessage {
            kind: (*kind).to_owned(),
            partition: 0,
            offset,
            key: Some(b"p1".to_vec()),
            value: Some(value.as_bytes().to_vec()),
        };
        found = engine.decide_message(&message);
        by_model = model.decide_message(&message);
    }
    let mut shown: Vec<String> = found.iter().map(|line| without_output_key(line)).collect();
    shown.sort();
    assert_eq!(shown, want, "the engine");
    assert_eq!(by_model, found, "left the plain model, right the engine");
}

const VISIT_WITH_LISTS: &str = r#"{"visit_id":"v","patron_id":"p1","library":"NL-A","rows":[{"a":"1"},{"a":"2"}],"codes":[3,4]}"#;

#[test]
fn list_fields_work_in_lane_without_patrons() {
    let fields = "rows = { from = \"rows[]\", fields = [\"a\"] }\ncodes = { from = \"codes[]\" }";
    check_last_outcome(
        &[visit_kind("none"), recipient_file("r", VISIT_SETTINGS, fields)],
        &[("visit", VISIT_WITH_LISTS)],
        &[r#"r {"rows":[{"a":"1"},{"a":"2"}],"codes":[3,4]}"#],
    );
}

/// The digits are compared as they stand, whatever form the number has.
#[test]
fn card_number_equal_to_national_number_is_hidden() {
    let record = r#"{"patron_id":"p1","library":"NL-A","card_number":"85073003329","rijksregisternummer":"85073003329"}"#;
    let fields = "card = { from = \"card_number\" }\nlibrary = { from = \"library\" }";
    for closed in [false, true] {
        check_last_outcome(
            &[patron_kind(closed), recipient_file("r", PATRON_SETTINGS, fields)],
            &[("patron", record)],
            &[r#"r {"library":"NL-A"}"#],
        );
    }
}

/// A string that does not fit its form counts as missing, in a list too.
#[test]
fn national_numbers_in_a_list_need_their_form() {
    let record =
        r#"{"patron_id":"p1","library":"NL-A","wards":[{"number":"85073003328"},{"number":"x"}]}"#;
    let settings = format!("{PATRON_SETTINGS}\n{AUTHORISATION}");
    check_last_outcome(
        &[
            patron_kind(false),
            recipient_file("r", &settings, "wards = { from = \"wards[]\", fields = [\"number\"] }"),
        ],
        &[("patron", record)],
        &[r#"r {"wards":[{"number":"85073003328"}]}"#],
    );
}

/// How recipients are spread over lanes changes nothing for any of them: a card
/// number that a recipient may not have decides nothing for it either.
#[test]
fn card_number_hidden_whatever_another_recipient_may_see() {
    let records = [
        (
            "patron",
            r#"{"patron_id":"p1","library":"NL-A","card_kind":"eid","card_number":"A1234"}"#,
        ),
        ("visit", r#"{"visit_id":"v","patron_id":"p1","library":"NL-A","remark":"kaart A1234"}"#),
    ];
    let of_visits = format!("{VISIT_SETTINGS}\nfree_text_reason = \"on record\"");
    let asks =
        format!("{of_visits}\nwhen = [{{ field = \"patron.card_number\", present = true }}]");
    let fields = "remark = { from = \"remark\", detect = [\"own_values\"] }";
    let alone = [
        patron_kind(false),
        visit_kind("patron"),
        recipient_file("a", &asks, fields),
        recipient_file("b", &of_visits, fields),
    ];
    let want = ["a withheld condition", r#"b {"remark":"kaart A1234"}"#];
    check_last_outcome(&alone, &records, &want);
    let mut beside = alone.to_vec();
    let settings = format!("{PATRON_SETTINGS}\n{AUTHORISATION}");
    beside.push(recipient_file("c", &settings, "card = { from = \"card_number\" }"));
    check_last_outcome(&beside, &records, &want);
}

/// The record may know a number that the patron's own record only repeats, in
/// another field.
#[test]
fn national_number_of_record_is_removed_from_patron_fields() {
    let fields = "card = { from = \"patron.card_number\" }\non = { from = \"on\" }\n\
         codes = { from = \"codes[]\" }\nrows = { from = \"rows[]\", fields = [\"a\"] }";
    let files =
        [patron_kind(false), visit_kind("patron"), recipient_file("r", VISIT_SETTINGS, fields)];
    let patron = |more: &str| {
        format!(r#"{{"patron_id":"p1","library":"NL-A","card_number":"1-850730-03328"{more}}}"#)
    };
    let visit = |more: &str| {
        format!(
            r#"{{"visit_id":"v","patron_id":"p1","library":"NL-A","on":"2026-01-01","codes":[85073003328,7],"rows":[{{"a":"85073003328"}},{{"a":"b"}}]{more}}}"#
        )
    };
    let number = r#","insz":"85.07.30-033.28""#;
    let known = r#","rijksregisternummer":85073003328"#;
    let whole = r#"r {"card":"1-850730-03328","on":"2026-01-01","codes":[85073003328,7],"rows":[{"a":"85073003328"},{"a":"b"}]}"#;
    let left = r#"r {"on":"2026-01-01","codes":[7],"rows":[{"a":"b"}]}"#;
    let dead_letter = "dead letter national_number r";
    for (of_patron, of_visit, want) in
        [("", "", vec![whole]), ("", number, vec![dead_letter, dead_letter, dead_letter, left])]
    {
        let (patron, visit) = (patron(of_patron), visit(of_visit));
        check_last_outcome(&files, &[("patron", &patron), ("visit", &visit)], &want);
    }
    // A number in place of a string makes the fact about the card malformed.
    let (patron, visit) = (patron(known), visit(""));
    let want = ["dead letter malformed r", "r withheld malformed"];
    check_last_outcome(&files, &[("patron", &patron), ("visit", &visit)], &want);
}

/// A slip shows what its fields show.
#[test]
fn shelf_slip_shows_boolean_fields() {
    let record = r#"{"patron_id":"p1","library":"NL-A","member":true}"#;
    let fields = "a = { from = \"library\" }\nb = { from = \"member\" }\n\
         s = { mask = \"shelf_slip\", mark = \"a\", initial = \"a\", lines = [\"b\"] }";
    check_last_outcome(
        &[patron_kind(false), recipient_file("r", PATRON_SETTINGS, fields)],
        &[("patron", record)],
        &[r#"r {"a":"NL-A","b":true,"s":["NL-A","NL-A NL-A","true"]}"#],
    );
}

/// Where the catalogue has no status, no membership is active.
#[test]
fn r01_membership_end_without_status_lapses() {
    let fields = "library = { from = \"library\" }";
    let files = [patron_kind(false), recipient_file("r", PATRON_SETTINGS, fields)];
    let record = |end: &str| {
        format!(r#"{{"patron_id":"p1","library":"NL-A","membership":{{"ends_on":"{end}"}}}}"#)
    };
    let over = record("2024-01-15");
    check_last_outcome(&files, &[("patron", &over)], &["r withheld patron_lapsed"]);
    let near = record("2024-01-16");
    check_last_outcome(&files, &[("patron", &near)], &[r#"r {"library":"NL-A"}"#]);
}

/// Stages are compared in any year.
#[test]
fn stages_are_compared_in_any_year() {
    let settings = format!("{VISIT_SETTINGS}\nstages = [\"first_at\", \"then_at\"]");
    let files =
        [visit_kind("none"), recipient_file("r", &settings, "codes = { from = \"codes[]\" }")];
    let record = |first: &str, then: &str| {
        format!(
            r#"{{"visit_id":"v","patron_id":"p1","library":"NL-A","codes":[1],"first_at":"{first}-01-01T00:00:00Z","then_at":"{then}-01-01T00:00:00Z"}}"#
        )
    };
    for (first, then, want) in [
        ("2400", "2300", "r withheld stages"),
        ("1500", "1400", "r withheld stages"),
        ("1400", "2400", r#"r {"codes":[1]}"#),
    ] {
        check_last_outcome(&files, &[("visit", &record(first, then))], &[want]);
    }
}

/// A kind by which patrons decide may be a recipient's source as any other.
#[test]
fn consent_kind_can_be_a_recipient_source() {
    let consent = kind_file(
        "consent",
        "id = \"consent_id\"\nkey = \"patron\"\nrole = \"gate\"",
        r#"
        consent_id = { type = "text", class = "identifier", meaning = "m" }
        patron_id = { type = "text", class = "identifier", meaning = "m" }
        library = { type = "isil", class = "plain", meaning = "m" }
        purpose = { type = "text", class = "plain", meaning = "m" }
        recipient = { type = "text", class = "plain", meaning = "m" }
        decision = { type = "text", class = "plain", meaning = "m" }
        manner = { type = "text", class = "plain", meaning = "m" }
        at = { type = "instant", class = "plain", meaning = "m" }
        "#,
    );
    let settings = "source = \"consent\"\nkey = { pseudonym = \"consent_id\" }\n\
         retention = { term = \"P1Y\", from = \"at\", after = \"retract\" }\n\
         consent = { purpose = \"p\" }";
    let fields = "decision = { from = \"decision\" }\nborn = { from = \"patron.born_on\" }";
    let files = [patron_kind(false), consent, recipient_file("r", settings, fields)];
    let of_patron = ("patron", r#"{"patron_id":"p1","library":"NL-A","born_on":"1985-07-30"}"#);
    let said = |decision: &str| {
        format!(
            r#"{{"consent_id":"c","patron_id":"p1","library":"NL-A","purpose":"p","decision":"{decision}","manner":"digital","at":"2026-01-15T12:00:00Z"}}"#
        )
    };
    let (granted, withdrawn) = (said("granted"), said("withdrawn"));
    let (granted, withdrawn) = (("consent", &*granted), ("consent", &*withdrawn));
    check_last_outcome(&files, &[granted], &["r held"]);
    let want = r#"r {"decision":"granted","born":"1985-07-30"}"#;
    check_last_outcome(&files, &[of_patron, granted], &[want]);
    let records = [of_patron, granted, withdrawn];
    check_last_outcome(&files, &records, &["r withheld no_consent"]);
    let erased = ("patron", "null");
    check_last_outcome(&files, &[erased, granted], &["r withheld patron_erased"]);
}

/// What cannot be compiled is refused with the other mistakes, and its line.
#[test]
fn g11_loan_history_needs_a_status_field() {
    let settings = format!("{PATRON_SETTINGS}\nloan_history = true");
    let loaded = compile_files(&[
        patron_kind(false),
        recipient_file("r", &settings, "library = { from = \"library\" }"),
    ]);
    let error_text = loaded.err().unwrap();
    assert!(error_text.contains("recipients/r.toml"), "{error_text}");
}

/// A list has no time at which something begins.
#[test]
fn retention_and_implied_consent_reject_list_fields() {
    let days = |(path, text): PolicyFile, kind: &str| {
        let field = format!(
            "[fields]\n\"days[]\" = {{ type = \"{kind}\", class = \"plain\", meaning = \"m\" }}"
        );
        (path, text.replace("[fields]", &field))
    };
    let fields = "library = { from = \"library\" }";
    let settings = PATRON_SETTINGS.replace("born_on", "days[]");
    let files = [days(patron_kind(false), "date"), recipient_file("r", &settings, fields)];
    let error_text = compile_files(&files).err().unwrap();
    assert!(error_text.contains("a term from `days[]`"), "{error_text}");
    let gate = "consent = { purpose = \"p\", implied_by = \"days[]\" }";
    let settings = format!("{PATRON_SETTINGS}\n{gate}");
    let files = [days(patron_kind(false), "instant"), recipient_file("r", &settings, fields)];
    let error_text = compile_files(&files).err().unwrap();
    assert!(error_text.contains("an instant of the patron"), "{error_text}");
}

/// The record's own id has to be there, also where it is called as a patron's.
#[test]
fn record_id_named_patron_id_is_required() {
    let event = kind_file(
        "event",
        "id = \"patron_id\"\nkey = \"none\"",
        r#"
        patron_id = { type = "text", class = "identifier", meaning = "m" }
        note_id = { type = "text", class = "identifier", meaning = "m" }
        on = { type = "date", class = "plain", meaning = "m" }
        "#,
    );
    let settings = "source = \"event\"\nkey = { pseudonym = \"note_id\" }\n\
         retention = { term = \"P1Y\", from = \"on\", after = \"retract\" }";
    check_last_outcome(
        &[event, recipient_file("r", settings, "on = { from = \"on\" }")],
        &[("event", r#"{"note_id":"n","on":"2026-01-01"}"#)],
        &["dead letter identifier (whole)", "refused identifier"],
    );
}
