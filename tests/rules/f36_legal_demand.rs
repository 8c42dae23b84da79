//! F36: what an authority demands by law, and never more.

use std::collections::BTreeSet;

use serde_json::Value;
use zeef::ledger::block::Block;
use zeef::ledger::register::{Register, recipient_of_activity};
use zeef::ledger::{LEDGER_TOPIC, REGISTER_TOPIC};
use zeef_test_kit::config::load_shipped_config;
use zeef_test_kit::deployment::{DeploymentSetup, InMemoryDeployment};
use zeef_test_kit::golden::NOW_MS;
use zeef_test_kit::rng::TestRng;

use crate::demands::{demand, granted};
use crate::driver::{SHIPPED, check, check_records, p1_record};

const PATRON: &str = r#""kind":"person","country":"NL","card_number":"20013004567890","card_kind":"library","previous_card_numbers":["20013000000001"],"initials":"IJ.","surname":"Berg","birth_date":"1985-07-30","email":"ij@example.org","address":{"street":"Dorpsstraat","house_number":12,"city":"Alkmaar"},"bsn":"111222333","rijksregisternummer":"85073003328","membership":{"status":"active","fee_cents":4950},"interests":["tuinen","koken"],"loan_history":true,"pin_hash":"x","note":"Belt liever niet""#;

#[track_caller]
fn check_answer(patron: &str, fields: &str, want: &str) {
    let start = r#"{"authority":"politie","law_article":"126nd Sv","demand_id":"r1""#;
    let want = match want {
        "" => format!("{start}}}"),
        _ if want.starts_with('{') => format!("{start},\"patron\":{want}}}"),
        _ => want.to_owned(),
    };
    let records = [("patron", patron), ("demand", &*demand(fields, ""))];
    check_records(&SHIPPED, "legal-demand", &records, &want);
}

#[test]
fn f36_answer_is_what_was_demanded_in_order_of_the_catalogue() {
    for (fields, want) in [
        (r#"["surname"]"#, r#"{"surname":"Berg"}"#),
        (
            r#"["email","surname","initials"]"#,
            r#"{"initials":"IJ.","surname":"Berg","email":"ij@example.org"}"#,
        ),
        (
            r#"["address.city","interests[]","address.house_number","loan_history"]"#,
            r#"{"address":{"house_number":12,"city":"Alkmaar"},"interests":["tuinen","koken"],"loan_history":true}"#,
        ),
        (
            r#"["card_number","birth_date","previous_card_numbers[]","membership.fee_cents"]"#,
            r#"{"card_number":"20013004567890","previous_card_numbers":["20013000000001"],"birth_date":"1985-07-30","membership":{"fee_cents":4950}}"#,
        ),
        // Never these, whatever is demanded; nor what is no field of the catalogue.
        (r#"["bsn","rijksregisternummer","pin_hash","note"]"#, ""),
        (r#"["address","interests","Surname","shoe_size","patron.surname"]"#, ""),
        // What the patron has not.
        (r#"["mobile","gender"]"#, ""),
    ] {
        check_answer(PATRON, fields, want);
    }
}

#[test]
fn f36_only_demanded_fields_are_needed() {
    let patron = PATRON.replace("\"Berg\"", "7").replace("\"1985-07-30\"", "\"1985\"");
    check_answer(&patron, r#"["initials","birth_date"]"#, r#"{"initials":"IJ."}"#);
    check_answer(&patron, r#"["initials","surname"]"#, "malformed");
    let patron = PATRON.replace("\"interests\":[\"tuinen\"", "\"interests\":[1");
    check_answer(&patron, r#"["email"]"#, r#"{"email":"ij@example.org"}"#);
    check_answer(&patron, r#"["interests[]"]"#, "malformed");
}

#[test]
fn f36_national_number_is_left_out_of_an_answer() {
    let patron = PATRON.replace("\"Berg\"", "\"Berg 111.222.333\"");
    check_answer(&patron, r#"["initials","surname"]"#, r#"{"initials":"IJ."}"#);
    for card in [r#""20013004567890","card_kind":"eid""#, r#""85.07.30-033.28""#] {
        let with_card = format!("\"card_number\":{card},\"x\"");
        let patron = PATRON
            .replace("\"card_kind\":\"library\",", "")
            .replace("\"card_number\":\"20013004567890\"", &format!("{with_card}:1"));
        check_answer(&patron, r#"["initials","card_number"]"#, r#"{"initials":"IJ."}"#);
    }
}

#[test]
fn f36_each_missing_element_has_a_reason_of_its_own() {
    crate::demands::check_each_element("legal-demand");
}

#[test]
fn f36_unlisted_authority_is_told_nothing() {
    let records = granted().replacen("politie", "Politie", 1);
    let records = [("patron", PATRON), ("demand", &*records)];
    check_records(&SHIPPED, "legal-demand", &records, "party_unlisted");
    let institution = PATRON.replacen("person", "institution", 1);
    let records = [("patron", &*institution), ("demand", &*granted())];
    check_records(&SHIPPED, "legal-demand", &records, "condition");
}

/// The driver compares what is left at the end by engine and model, after each restart.
#[test]
fn f36_answer_follows_patron_and_demand() {
    let key = Some(b"p1".as_slice());
    let patron = p1_record("patron", PATRON);
    let moved = p1_record("patron", &PATRON.replace("ij@example.org", "moved@example.org"));
    let noted = p1_record("patron", &PATRON.replace("Belt liever niet", "Belt graag"));
    let unreadable = p1_record("patron", "\"surname\":");
    let asked = p1_record("demand", &granted());
    let less = p1_record("demand", &demand(r#"["surname"]"#, ""));
    let refused = p1_record("demand", &granted().replacen("granted", "refused", 1));
    let objection = p1_record(
        "objection",
        r#""kind":"special_circumstances","status":"lodged","at":"2025-12-01T10:00:00Z""#,
    );
    let [patron, moved, noted, unreadable, asked, less, refused, objection] =
        [&patron, &moved, &noted, &unreadable, &asked, &less, &refused, &objection]
            .map(|text| Some(text.as_bytes()));
    let answer = |email: &str| {
        format!(
            r#"{{"authority":"politie","law_article":"126nd Sv","demand_id":"r1","patron":{{"surname":"Berg","email":"{email}"}}}}"#
        )
    };
    let (first, second) = (answer("ij@example.org"), answer("moved@example.org"));
    let is_told = |messages: &[(&'static str, Option<&[u8]>)], want: &str| {
        let messages: Vec<_> = messages.iter().map(|(kind, value)| (*kind, key, *value)).collect();
        check(&SHIPPED, &messages, &[("legal-demand", want)]);
    };
    is_told(&[("patron", patron), ("demand", asked)], &first);
    is_told(&[("patron", patron), ("objection", objection), ("demand", asked)], &first);
    is_told(&[("patron", patron), ("patron", moved), ("demand", asked)], &second);
    is_told(&[("patron", patron), ("patron", None), ("demand", asked)], "patron_erased");
    is_told(&[("patron", unreadable), ("demand", asked)], "held");
    is_told(&[("demand", asked)], "held");
    is_told(&[("patron", patron), ("demand", asked), ("demand", refused)], "not_granted");
    for later in [
        vec![("patron", moved)],
        vec![("patron", noted)],
        vec![("patron", None)],
        vec![("patron", None), ("patron", moved)],
        vec![("patron", unreadable), ("patron", moved)],
        vec![("demand", less)],
        vec![("demand", less), ("patron", moved), ("demand", asked)],
    ] {
        let mut messages = vec![("patron", key, patron), ("demand", key, asked)];
        messages.extend(later.into_iter().map(|(kind, value)| (kind, key, value)));
        check(&SHIPPED, &messages, &[]);
    }
    check(&SHIPPED, &[("demand", key, asked), ("patron", key, patron)], &[]);
}

/// Every path to a value of an object; of a list, to its elements.
fn paths_of(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                let dot = if path.is_empty() { "" } else { "." };
                paths_of(inner, &format!("{path}{dot}{name}"), found);
            }
        }
        Value::Array(elements) => {
            elements.iter().for_each(|element| paths_of(element, &format!("{path}[]"), found));
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn f36_answer_never_holds_more_than_was_demanded() {
    let loaded = load_shipped_config();
    let kind = loaded.policy.patron_kind().unwrap();
    let paths: Vec<&str> = kind.fields.iter().map(|field| &*field.path).collect();
    let never = ["bsn", "rijksregisternummer", "pin_hash", "note"];
    let mut answered = 0;
    for seed in 0..60 {
        let mut rng = TestRng::new(seed);
        let demanded: Vec<&str> =
            paths.iter().copied().filter(|_| rng.chance(30)).chain(["shoe_size"]).collect();
        let present: BTreeSet<&str> = paths.iter().copied().filter(|_| rng.chance(70)).collect();
        let mut patron: Value = serde_json::from_str(&format!("{{{PATRON}}}")).unwrap();
        patron
            .as_object_mut()
            .unwrap()
            .retain(|name, _| name == "kind" || present.contains(&**name));
        let patron = patron.to_string();
        let patron = &patron[1..patron.len() - 1];
        let fields = serde_json::to_string(&demanded).unwrap();
        let key = Some(b"p1".as_slice());
        let (patron, asked) =
            (p1_record("patron", patron), p1_record("demand", &demand(&fields, "")));
        let messages =
            [("patron", key, Some(patron.as_bytes())), ("demand", key, Some(asked.as_bytes()))];
        let outcomes = check(&SHIPPED, &messages, &[("legal-demand", "released")]);
        let released = outcomes.iter().find(|line| line.contains("out.legal-demand.")).unwrap();
        let value: Value = serde_json::from_str(released.splitn(4, ' ').nth(3).unwrap()).unwrap();
        let mut shown = BTreeSet::new();
        paths_of(value.get("patron").unwrap_or(&Value::Null), "", &mut shown);
        shown.remove("");
        answered += shown.len();
        for path in &shown {
            let is_allowed = demanded.contains(&&**path) && !never.contains(&&**path);
            assert!(is_allowed, "{path} of {demanded:?}: {value}");
        }
    }
    assert!(answered > 60, "{answered}");
}

/// What it says of itself decides for the ledger whether its patron is told, and changes nothing of
/// what the authority gets.
#[test]
fn f36_demand_is_of_the_activity_that_its_own_mark_chooses() {
    for (mark, is_told) in [
        ("", false),
        (r#""confidential":true"#, false),
        (r#""confidential":null"#, false),
        (r#""confidential":"false""#, false),
        (r#""confidential":0"#, false),
        (r#""confidential":false"#, true),
    ] {
        let asked = demand(r#"["surname"]"#, mark);
        let value = r#"{"authority":"politie","law_article":"126nd Sv","demand_id":"r1","patron":{"surname":"Berg"}}"#;
        let records = [("patron", PATRON), ("demand", &*asked)];
        check_records(&SHIPPED, "legal-demand", &records, value);
        let setup = DeploymentSetup { has_ledger: true, ..DeploymentSetup::DEFAULT };
        let mut deployment = InMemoryDeployment::new(setup, NOW_MS);
        for (kind, members) in records {
            let value = p1_record(kind, members);
            deployment.push_message(kind, 0, Some(b"p1"), Some(value.as_bytes()));
        }
        deployment.run_to_end().expect("a run to the end");
        let (_, outputs) = deployment.lanes_with_outputs().remove(0);
        let values = |topic: &str| -> Vec<&[u8]> {
            let of_topic = outputs.iter().filter(|one| one.topic == topic);
            of_topic.filter_map(|one| one.value.as_deref()).collect()
        };
        let mut register = Register::default();
        for entry in values(REGISTER_TOPIC) {
            register.add_message(entry).expect("an entry of the register");
        }
        let mut found = Vec::new();
        for block in values(LEDGER_TOPIC) {
            let block: Block<'_> = serde_json::from_slice(block).expect("a block");
            let activities = block.lines.iter().map(|line| block.activity_of(line));
            let own = activities.filter(|id| recipient_of_activity(id) == "legal-demand");
            found.extend(own.map(|id| register.activities[id].clone()));
        }
        assert_eq!(found.len(), 1, "{mark}");
        assert_eq!((found[0].is_told, found[0].confidentiality.is_some()), (is_told, !is_told));
        // The register of the ledger has both, whichever is used.
        let of_demands = register.activities.keys();
        let of_demands = of_demands.filter(|id| recipient_of_activity(id) == "legal-demand");
        assert_eq!(of_demands.count(), 2);
    }
}
