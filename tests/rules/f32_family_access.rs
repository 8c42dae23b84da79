//! F32: what a patron has borrowed and owes, for each member of the family that it names.

use std::sync::LazyLock;

use crate::driver::{Message, RulePolicy, SHIPPED, check, count_outputs_under_both, p1_record};
use zeef_test_kit::config::{
    PolicyFile, kind_file, load_files, patron_kind_file, recipient_file, repository,
};
use zeef_test_kit::model::json;

const PATRON: &str = r#""kind":"person","initials":"J.","surname_prefix":"van der","surname":"Berg","birth_date":"1985-07-30""#;
const CHILD: &str = r#""kind":"person","surname":"Berg","birth_date":"2012-07-30""#;

/// A consent of the patron for family access.
fn consent(id: &str, recipient: &str, rest: &str) -> String {
    let recipient = match recipient {
        "" => String::new(),
        one => format!(r#","recipient":"{one}""#),
    };
    format!(r#""consent_id":"{id}","purpose":"family-access"{recipient},{rest}"#)
}

/// A written grant, eight months before the time of the tests.
fn grant(id: &str, recipient: &str) -> String {
    consent(id, recipient, r#""decision":"granted","manner":"written","at":"2025-05-15T10:00:00Z""#)
}

fn refusal(id: &str, recipient: &str) -> String {
    consent(id, recipient, r#""decision":"withdrawn","at":"2025-09-01T10:00:00Z""#)
}

/// Decides the patron's record after some records, and those after it as well; returns what
/// the portal gets of the last one, without keys.
#[track_caller]
fn outputs_of(records: &[(&str, &str)]) -> Vec<String> {
    let values: Vec<(&str, String)> =
        records.iter().map(|(kind, members)| (*kind, p1_record(kind, members))).collect();
    let key = Some(b"p1".as_slice());
    let messages: Vec<Message<'_>> =
        values.iter().map(|(kind, value)| (*kind, key, Some(value.as_bytes()))).collect();
    let outcomes = check(&SHIPPED, &messages, &[]);
    // What recipients have in the end does not depend on what came first.
    let mut turned = messages.clone();
    turned.rotate_right(1);
    check(&SHIPPED, &turned, &[]);
    let released = outcomes.iter().filter_map(|line| {
        let rest = line.strip_prefix("released out.family-access ")?;
        Some(rest.split_once(' ')?.1.to_owned())
    });
    released.collect()
}

/// How many outputs the portal gets of a patron after some consents.
#[track_caller]
fn count_after(consents: &[String], patron: &str) -> usize {
    let mut records: Vec<(&str, &str)> =
        consents.iter().map(|consent| ("consent", consent.as_str())).collect();
    records.push(("patron", patron));
    outputs_of(&records).len()
}

#[test]
fn f32_each_patron_that_a_grant_names_gives_an_output() {
    let loan = |id: &str, status: &str, due: &str| {
        format!(
            r#""loan_id":"{id}","status":"{status}","due_on":"{due}","item":{{"title":"Oeroeg"}}"#
        )
    };
    let loans = [
        loan("l1", "open", "2026-02-01"),
        loan("l2", "overdue", "2026-01-02"),
        loan("l3", "returned", "2026-01-01"),
        loan("l4", "open", ""),
    ];
    let debt = r#""debt_id":"d1","status":"open","currency":"EUR","amount_cents":250"#;
    let (first, second) = (grant("c1", "kees"), grant("c2", "anna"));
    let mut records = vec![("consent", first.as_str()), ("consent", &second), ("debt", debt)];
    records.extend(loans.iter().map(|loan| ("loan", loan.as_str())));
    records.push(("patron", PATRON));
    let outputs = outputs_of(&records);
    assert_eq!(outputs.len(), 2, "{outputs:?}");
    let rest = r#","name":"J. van der Berg","loans":[{"due_on":"2026-01-02"},{"due_on":"2026-02-01"}],"amount_due_cents":250}"#;
    let references: Vec<&str> = outputs
        .iter()
        .map(|output| output.strip_prefix(r#"{"for":""#).unwrap().strip_suffix(rest).unwrap())
        .collect();
    assert_ne!(references[0], references[1]);
    assert!(references.iter().all(|one| one.trim_end_matches('"').len() == 22), "{references:?}");
}

#[test]
fn f32_named_patron_is_not_looked_at() {
    // Neither whether it is known, nor what it says itself.
    let grant = grant("c", "kees");
    let records = [("consent", grant.as_str()), ("patron", PATRON)];
    let alone = outputs_of(&records);
    let kees = r#"{"patron_id":"kees","library":"NL-Other","kind":"institution"}"#;
    let values: Vec<(&str, String)> =
        records.iter().map(|(kind, members)| (*kind, p1_record(kind, members))).collect();
    let mut messages: Vec<Message<'_>> = vec![("patron", Some(b"kees"), Some(kees.as_bytes()))];
    let own =
        values.iter().map(|(kind, value)| (*kind, Some(b"p1".as_slice()), Some(value.as_bytes())));
    messages.extend(own);
    messages.insert(1, ("patron", Some(b"kees"), None));
    let outcomes = check(&SHIPPED, &messages, &[("family-access", "named_patrons")]);
    let found = outcomes.iter().find(|line| line.starts_with("released out.family-access"));
    assert!(found.unwrap().ends_with(&alone[0]), "{outcomes:?}");
}

#[test]
fn f32_consent_must_be_written_explicit_and_name_somebody() {
    let with = |rest: &str| consent("c", "kees", rest);
    for (said, want) in [
        (grant("c", "kees"), 1),
        (with(r#""decision":"granted","manner":"digital","at":"2025-05-15T10:00:00Z""#), 0),
        (with(r#""decision":"granted","manner":"oral","at":"2025-05-15T10:00:00Z""#), 0),
        (with(r#""decision":"granted","manner":"written""#), 0),
        (with(r#""decision":"granted","manner":"written","at":"2026-01-15T12:00:01Z""#), 0),
        (with(r#""decision":"granted","manner":"written","at":"2026-01-15T12:00:00Z""#), 1),
        (grant("c", ""), 0),
        // Nobody grants anything to oneself.
        (grant("c", "p1"), 0),
        // The name of a recipient, or nearly one, is no patron's id.
        (grant("c", "family-access"), 0),
        (grant("c", "Family-Access"), 0),
        (grant("c", "kees").replace("family-access", "newsletter"), 0),
        (
            with(
                r#""decision":"granted","manner":"written","at":"2025-05-15T10:00:00Z","library":"NL-Other""#,
            ),
            0,
        ),
    ] {
        assert_eq!(count_after(std::slice::from_ref(&said), PATRON), want, "{said}");
    }
}

#[test]
fn f32_grant_lasts_a_year_from_its_time() {
    for (at, want) in [
        ("2025-01-15T12:00:00Z", 0),
        ("2025-01-15T12:00:00.001Z", 1),
        ("2025-01-15T13:00:00+01:00", 0),
        ("2024-02-29T12:00:00Z", 0),
    ] {
        let said = grant("c", "kees").replace("2025-05-15T10:00:00Z", at);
        assert_eq!(count_after(&[said], PATRON), want, "{at}");
        // A later one lasts longer.
        let said = grant("c", "kees").replace("2025-05-15T10:00:00Z", at);
        assert_eq!(count_after(&[said, grant("d", "kees")], PATRON), 1, "{at}");
    }
}

#[test]
fn g03_refusal_of_family_access_counts_for_whom_it_names_or_for_all() {
    let given = [grant("c", "kees"), grant("d", "anna")];
    let later = grant("e", "kees").replace("2025-05", "2025-10");
    for (said, want) in [
        (vec![], 2),
        (vec![refusal("r", "kees")], 1),
        (vec![refusal("r", "piet")], 2),
        (vec![refusal("r", "")], 0),
        (vec![refusal("r", "family-access")], 0),
        (vec![refusal("r", "FAMILY-ACCESS")], 0),
        (vec![refusal("r", "newsletter")], 0),
        (vec![refusal("r", ""), later.clone()], 1),
        (vec![refusal("r", "kees"), later.clone()], 2),
        // A grant to nobody lifts nothing.
        (vec![refusal("r", ""), grant("e", "").replace("2025-05", "2025-10")], 0),
        // On a tie a refusal wins, and one without a time is the latest.
        (vec![refusal("r", "kees").replace("2025-09-01", "2025-05-15")], 1),
        (vec![refusal("r", "kees").replace(r#","at":"2025-09-01T10:00:00Z""#, ""), later], 1),
        // A later version replaces a consent, whatever it says.
        (vec![refusal("c", "piet")], 1),
        (vec![refusal("r", ""), grant("r", "piet")], 3),
    ] {
        let all = [&given[..], &said].concat();
        assert_eq!(count_after(&all, PATRON), want, "{said:?}");
    }
}

#[test]
fn f32_unreadable_consent_stops_all_named_patrons() {
    let given = [grant("c", "kees"), grant("d", "anna")];
    let unclear = r#""decision":"perhaps""#;
    for (said, want) in [
        (consent("e", "kees", unclear), 0),
        (consent("e", "piet", unclear), 0),
        (consent("e", "", unclear), 0),
        (consent("e", " ", r#""decision":"withdrawn""#), 0),
        (consent("e", "piet", unclear).replace("family-access", "family-acces"), 0),
        (consent("e", "family-access", unclear).replace(r#""purpose":"family-access","#, ""), 0),
        // Of something else.
        (consent("e", "panel", unclear).replace(r#""purpose":"family-access","#, ""), 2),
        (consent("e", "kees", unclear).replace("family-access", "newsletter"), 2),
        (consent("e", "kees", unclear).replace("family-access", "knitting"), 2),
    ] {
        let all = [&given[..], std::slice::from_ref(&said)].concat();
        assert_eq!(count_after(&all, PATRON), want, "{said}");
    }
}

#[test]
fn f32_guardian_grants_for_a_child() {
    let by_guardian =
        |id: &str| grant(id, "kees") + r#","given_by":"guardian","employee":"medewerker""#;
    assert_eq!(count_after(&[grant("c", "kees")], CHILD), 0);
    assert_eq!(count_after(&[by_guardian("c")], CHILD), 1);
    assert_eq!(count_after(&[by_guardian("c")], PATRON), 0);
    // A refusal counts whoever gave it.
    assert_eq!(count_after(&[by_guardian("c"), refusal("d", "kees")], CHILD), 0);
    // An unwitnessed guardian counts for nothing.
    assert_eq!(count_after(&[grant("c", "kees") + r#","given_by":"guardian""#], CHILD), 0);
}

#[test]
fn f32_other_gates_close_for_all_named_patrons() {
    let given = [grant("c", "kees"), grant("d", "anna")];
    let ended =
        |on: &str| format!(r#"{PATRON},"membership":{{"status":"ended","ends_on":"{on}"}}"#);
    let institution = PATRON.replace("person", "institution");
    for (patron, want) in [
        (PATRON.to_owned(), 2),
        (ended("2024-01-16"), 2),
        (ended("2024-01-15"), 0),
        (institution, 0),
        (format!(r#"{PATRON},"membership":{{"currency":1}}"#), 0),
    ] {
        assert_eq!(count_after(&given, &patron), want, "{patron}");
    }
    let unreadable = r#""debt_id":"d1","status":"open","currency":"EUR","amount_cents":"veel""#;
    let (first, second) = (given[0].as_str(), given[1].as_str());
    let records =
        [("consent", first), ("consent", second), ("debt", unreadable), ("patron", PATRON)];
    assert_eq!(outputs_of(&records), Vec::<String>::new());
    let lapsed = [("consent", first), ("patron", PATRON), ("debt", unreadable)];
    assert_eq!(outputs_of(&lapsed), Vec::<String>::new());
}

#[test]
fn f45_erasure_takes_back_what_every_named_patron_saw() {
    let values = [
        ("consent", p1_record("consent", &grant("c", "kees"))),
        ("consent", p1_record("consent", &grant("d", "anna"))),
        ("patron", p1_record("patron", PATRON)),
    ];
    let key = Some(b"p1".as_slice());
    let mut messages: Vec<Message<'_>> =
        values.iter().map(|(kind, value)| (*kind, key, Some(value.as_bytes()))).collect();
    messages.push(("patron", key, None));
    check(&SHIPPED, &messages, &[("family-access", "patron_erased")]);
    // Whoever has the id next granted nothing yet.
    messages.push(("patron", key, Some(values[2].1.as_bytes())));
    check(&SHIPPED, &messages, &[("family-access", "no_consent")]);
}

/// Another file's recipient, without a term for grants.
static OTHER_FILE: LazyLock<RulePolicy> =
    LazyLock::new(|| RulePolicy::from_files(&other_files(CONSENT, FIELDS)));

const CONSENT: &str = r#"consent = { purpose = "p", each = "recipient" }"#;
const FIELDS: &str = r#"
    who = { pseudonym_of = "named_patron" }
    own = { from = "patron_id", mask = "pseudonym" }
"#;

fn other_files(consent: &str, fields: &str) -> [PolicyFile; 3] {
    let settings = format!(
        r#"
        source = "patron"
        key = {{ pseudonym = "patron_id" }}
        retention = {{ term = "P1Y", from = "born_on", after = "retract" }}
        {consent}
        "#
    );
    let path = "records/consent.toml";
    let kind = std::fs::read_to_string(repository().join("config").join(path)).unwrap();
    [
        patron_kind_file(r#"nick_name = { type = "text", class = "identifier", meaning = "m" }"#),
        (path.to_owned(), kind),
        recipient_file("example", &settings, fields),
    ]
}

#[test]
fn f32_any_recipient_may_give_an_output_for_each_named_patron() {
    let said = grant("c", "kees").replace("family-access", "p").replace("2025-05", "2019-05");
    let patron = r#""born_on":"2025-12-01""#;
    let values =
        [("consent", p1_record("consent", &said)), ("patron", p1_record("patron", patron))];
    let messages: Vec<Message<'_>> = values
        .iter()
        .map(|(kind, value)| (*kind, Some(b"p1".as_slice()), Some(value.as_bytes())))
        .collect();
    // A grant without a term counts until it is withdrawn.
    let outcomes = check(&OTHER_FILE, &messages, &[("example", "named_patrons")]);
    let output = outcomes.iter().find_map(|line| line.strip_prefix("released example ")).unwrap();
    let (key, value) = output.split_once(' ').unwrap();
    let members = json::raw_members(value).unwrap();
    let shown: Vec<&str> = members.iter().map(|(_, raw)| raw.trim_matches('"')).collect();
    // Who it is for, whose it is, and the key are three pseudonyms.
    assert_eq!(members.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["who", "own"]);
    assert!(shown[0] != shown[1] && !shown.contains(&key), "{output}");
    let shorter =
        other_files(&CONSENT.replace("\"recipient\"", "\"recipient\", lasts = \"P6M\""), FIELDS);
    let (own, other) = (load_files(&other_files(CONSENT, FIELDS)), load_files(&shorter));
    assert_ne!(own.unwrap().version, other.unwrap().version);
}

#[test]
fn f32_check_refuses_what_names_no_patron() {
    let on_patrons = |consent: &str, fields: &str| load_files(&other_files(consent, fields));
    let of_loans = |files: [PolicyFile; 3]| {
        let [patron, consent, (path, text)] = files;
        let fields = r#"
            loan_id = { type = "text", class = "identifier", meaning = "m" }
            patron_id = { type = "text", class = "identifier", meaning = "m" }
            library = { type = "isil", class = "plain", meaning = "m" }
        "#;
        let loan = kind_file("loan", "id = \"loan_id\"\nkey = \"patron\"", fields);
        let text = text.replace("source = \"patron\"", "source = \"loan\"");
        let text = text.replace("pseudonym = \"patron_id\"", "pseudonym = \"loan_id\"");
        load_files(&[
            patron,
            consent,
            loan,
            (path, text.replace("\"born_on\"", "\"patron.born_on\"")),
        ])
    };
    let with = |more: &str| CONSENT.replace(" }", more);
    let both = format!("{CONSENT}\n");
    for (loaded, found) in [
        (on_patrons(&CONSENT.replace("\"recipient\"", "\"recipent\""), FIELDS), "recipent"),
        (
            on_patrons(
                "consent = { purpose = \"p\", lasts = \"P1Y\" }",
                "own = { from = \"nick_name\" }",
            ),
            "`lasts` without `each`",
        ),
        (on_patrons(&with(", lasts = \"1Y\" }"), FIELDS), "`lasts` is \\\"1Y\\\""),
        (on_patrons(&with(", implied_by = \"born_on\" }"), FIELDS), "`implied_by` beside `each`"),
        (on_patrons("", FIELDS), "field `who`, where a consent names no patron"),
        (
            on_patrons("consent = { purpose = \"p\" }", FIELDS),
            "field `who`, where a consent names no patron",
        ),
        (on_patrons(CONSENT, "who = { pseudonym_of = \"named_patrn\" }"), "named_patrn"),
        (
            on_patrons(CONSENT, "who = { pseudonym_of = \"named_patron\", from = \"nick_name\" }"),
            "`from` in field `who`",
        ),
        (on_patrons(&(both.clone() + "marketing = true"), FIELDS), "`marketing` beside `each`"),
        (of_loans(other_files(CONSENT, FIELDS)), "`each` of a recipient of other records"),
    ] {
        let mistakes = loaded.unwrap_err();
        assert!(mistakes.contains(found), "not {found}: {mistakes}");
        assert!(mistakes.contains("line: "), "{mistakes}");
    }
    let key = "pseudonym = \"patron_id\"";
    let [patron, consent, (path, text)] = other_files(CONSENT, FIELDS);
    let other_key = text.replace(key, "pseudonym = \"nick_name\"");
    let mistakes = load_files(&[patron.clone(), consent.clone(), (path.clone(), other_key)]);
    assert!(mistakes.unwrap_err().contains("a key of `nick_name` beside `each`"));
    // Another recipient would take the ids of patrons for its name.
    let settings = text.split("source = ").nth(1).unwrap();
    let settings = format!("source = {}", settings.split("[fields]").next().unwrap());
    let settings = settings.replace(CONSENT, "consent = { purpose = \"p\" }");
    let second = recipient_file("second", &settings, "own = { from = \"nick_name\" }");
    let mistakes = load_files(&[patron, consent, (path, text), second]).unwrap_err();
    assert!(mistakes.contains("`each` for a purpose that `second` has too"), "{mistakes}");
}

#[test]
fn f32_outputs_for_named_patrons_go_with_the_rule_that_gave_them() {
    let said = |id: &str, named: &str| {
        let said = grant(id, named).replace("family-access", "p");
        p1_record("consent", &said)
    };
    let patron = p1_record("patron", r#""born_on":"2025-12-01""#);
    let values =
        [("consent", said("c", "kees")), ("consent", said("d", "anna")), ("patron", patron)];
    let messages: Vec<Message<'_>> = values
        .iter()
        .map(|(kind, value)| (*kind, Some(b"p1".as_slice()), Some(value.as_bytes())))
        .collect();
    let own = "own = { from = \"patron_id\", mask = \"pseudonym\" }";
    let policy =
        |consent: &str, fields: &str| RulePolicy::from_files(&other_files(consent, fields));
    for (consent, fields, want) in [
        (CONSENT.to_owned(), FIELDS, 2),
        // The grants are eight months old.
        (CONSENT.replace("\"recipient\"", "\"recipient\", lasts = \"P6M\""), FIELDS, 0),
        // They name no recipient, whose consent is asked for now.
        ("consent = { purpose = \"p\" }".to_owned(), own, 0),
        // Nobody is asked: one output for the patron.
        (String::new(), own, 1),
    ] {
        let after = policy(&consent, fields);
        let counts = count_outputs_under_both((&OTHER_FILE, &after), "example", &messages);
        assert_eq!(counts, (2, want), "{consent}");
        // And back.
        let counts = count_outputs_under_both((&after, &OTHER_FILE), "example", &messages);
        assert_eq!(counts, (want, 2), "{consent}");
    }
}
