//! Every output of invented records is what its recipient's contract says.

use std::collections::BTreeMap;
use std::io::Write as _;

use jiff::civil::Date;
use proptest::prelude::*;
use serde_json::Value;
use zeef::contract::output_schema;
use zeef::policy::contract::example_object;
use zeef::sample::{SampleLibrary, SampleSettings};
use zeef_test_kit::config::{copy_shipped_config, enable_all_recipients};
use zeef_test_kit::process::{self, CommandOutput};

use crate::{SchemaCheck, recipients, shipped, view};

/// The schema of each recipient by its topics.
fn schemas_by_topic() -> BTreeMap<String, (String, SchemaCheck)> {
    let mut schemas = BTreeMap::new();
    for recipient in recipients() {
        for topic in recipient.topics.names() {
            let schema = SchemaCheck::new(&output_schema(&view(&recipient.name)));
            schemas.insert(topic.to_owned(), (recipient.name.clone(), schema));
        }
    }
    schemas
}

/// The outputs of some lines, as (topic, value) without what is taken back.
fn project(lines: &[u8]) -> Vec<(String, Value)> {
    let folder = copy_shipped_config();
    enable_all_recipients(folder.path());
    let config = folder.path().to_str().unwrap();
    let arguments = ["project", "--quiet", "--time", "2026-01-15T12:00:00Z", "--config", config];
    let mut command = process::zeef_command(env!("CARGO_BIN_EXE_zeef"), &arguments);
    let result: CommandOutput = process::run_with_stdin(&mut command, lines);
    assert_eq!(result.exit_code, 0, "{}", result.stderr);
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        (line["topic"].as_str().unwrap().to_owned(), line["value"].clone())
    };
    result.stdout.lines().map(line).filter(|(_, value)| !value.is_null()).collect()
}

/// Checks outputs by their schemas, and that a field more is refused. Returns how many each
/// recipient has.
fn check_outputs(outputs: &[(String, Value)]) -> BTreeMap<String, usize> {
    let schemas = schemas_by_topic();
    let mut counts = BTreeMap::new();
    for (topic, value) in outputs {
        let (recipient, schema) = &schemas[topic];
        schema.accepts(value, recipient);
        for more in with_a_field_more(value) {
            schema.refuses(&more, recipient);
        }
        *counts.entry(recipient.clone()).or_default() += 1;
    }
    counts
}

/// The value with a field more, in each of its objects in turn.
pub(crate) fn with_a_field_more(value: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    if let Value::Object(members) = value {
        let mut more = members.clone();
        more.insert("unlisted".to_owned(), Value::from("x"));
        found.push(Value::Object(more));
        for (name, inner) in members {
            for inner in with_a_field_more(inner) {
                let mut more = members.clone();
                more.insert(name.clone(), inner);
                found.push(Value::Object(more));
            }
        }
    }
    if let Value::Array(elements) = value {
        for (at, inner) in elements.iter().enumerate() {
            for inner in with_a_field_more(inner) {
                let mut more = elements.clone();
                more[at] = inner;
                found.push(Value::Array(more));
            }
        }
    }
    found
}

/// The outputs of a library of invented people, unusual ones among them.
pub(crate) fn project_sample(seed: u64) -> Vec<(String, Value)> {
    let today = Date::constant(2026, 1, 15);
    let library = SampleLibrary::new(SampleSettings::new(seed, 300, today));
    let mut lines = Vec::new();
    for message in library.messages() {
        let key = message.key.map_or(Value::Null, Value::from);
        let value = message.value.as_deref().unwrap_or("null");
        let source = message.source;
        writeln!(lines, "{{\"source\":\"{source}\",\"key\":{key},\"value\":{value}}}").unwrap();
    }
    project(&lines)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn contract_schema_accepts_every_output_and_no_field_more(seed in any::<u64>()) {
        let counts = check_outputs(&project_sample(seed));
        prop_assert!(counts.len() > 12, "{counts:?}");
    }
}

/// The golden cases have every recipient.
#[test]
fn contract_schema_accepts_every_golden_output() {
    let schemas: BTreeMap<String, SchemaCheck> = recipients()
        .iter()
        .map(|one| (one.name.clone(), SchemaCheck::new(&output_schema(&view(&one.name)))))
        .collect();
    let mut counts = BTreeMap::new();
    for case in zeef_test_kit::golden::read_cases() {
        for line in case.output.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let Some(value) = line.get("value").filter(|value| !value.is_null()) else {
                continue;
            };
            let schema = &schemas[&case.recipient];
            schema.accepts(value, &format!("{}/{}", case.recipient, case.name));
            let leaves = view(&case.recipient).contract.leaves();
            let leaves: Vec<String> = leaves.into_iter().map(|leaf| leaf.path).collect();
            check_leaves(value, "", &leaves);
            for more in with_a_field_more(value) {
                schema.refuses(&more, &case.recipient);
            }
            *counts.entry(case.recipient.clone()).or_insert(0) += 1;
        }
    }
    assert_eq!(counts.len(), recipients().len(), "{counts:?}");
}

/// Every value of an output is a leaf.
fn check_leaves(value: &Value, path: &str, leaves: &[String]) {
    match value {
        Value::Object(members) => {
            let dot = if path.is_empty() { "" } else { "." };
            for (name, value) in members {
                check_leaves(value, &format!("{path}{dot}{name}"), leaves);
            }
        }
        Value::Array(values) => {
            values.iter().for_each(|value| check_leaves(value, &format!("{path}[]"), leaves));
        }
        _ => assert!(leaves.iter().any(|leaf| leaf == path), "{path} is none of {leaves:?}"),
    }
}

#[test]
fn contract_example_is_as_its_schema_says() {
    for recipient in recipients() {
        let view = view(&recipient.name);
        let schema = SchemaCheck::new(&output_schema(&view));
        schema.accepts(&example_object(&view.contract.fields), &recipient.name);
    }
}

/// An edited file of a recipient or kind, and whether its contract is another one.
#[test]
fn contract_version_changes_with_the_contract_alone() {
    let before = view("reservation-slip").contract.version();
    type Edit<'a> = (&'a str, &'a str, &'a str);
    let changed_with = |other: Option<Edit<'_>>, edit: Edit<'_>| {
        let folder = copy_shipped_config();
        enable_all_recipients(folder.path());
        for (file, from, to) in other.into_iter().chain([edit]) {
            let path = folder.path().join(file);
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{file}: {from}");
            std::fs::write(path, text.replacen(from, to, 1)).unwrap();
        }
        let policy = zeef_test_kit::config::load_folder(folder.path()).unwrap();
        assert_ne!(policy.version, "");
        let view = zeef::contract::ContractView::of_recipient(&policy, "reservation-slip");
        view.unwrap().contract.version() != before
    };
    let changed = |file: &str, from: &str, to: &str| changed_with(None, (file, from, to));
    let own = "recipients/reservation-slip.toml";
    assert!(changed(own, "mask = \"last_digits\", count = 5", "mask = \"last_digits\", count = 4"));
    assert!(changed(
        own,
        "expires_on    = { from = \"expires_on\" }\n",
        "expires_on    = { from = \"expires_on\" }\nbranch = { from = \"pickup_branch\" }\n"
    ));
    assert!(changed(own, "term = \"P14D\"", "term = \"P15D\""));
    assert!(changed(own, "topic        = \"out.reservation-slip\"", "topic        = \"out.slip\""));
    let ledger = ("zeef.toml", "\n[ledger]\n", "\n[ledger]\nenabled = true\n");
    let ack =
        "ack = { topic = \"ack.slip\", within = \"P7D\", since = \"2026-12-01\" }\nlibraries ";
    assert!(!changed(ledger.0, ledger.1, ledger.2));
    assert!(changed_with(Some(ledger), (own, "libraries ", ack)));
    assert!(changed(
        "records/reservation.toml",
        "the branch where it is collected",
        "where it lies"
    ));
    assert!(changed("zeef.toml", "# min_hidden = 3", "min_hidden = 4"));
    assert!(!changed(own, "privacy@library.example.org", "fg@library.example.org"));
    assert!(!changed(own, "Reserveringsbon in de afhaalkast", "Bon"));
    assert!(!changed("recipients/invoice.toml", "term = \"P1Y\"", "term = \"P2Y\""));
    assert!(!changed("records/reservation.toml", "what staff wrote", "what somebody wrote"));
    let names: Vec<String> =
        recipients().iter().map(|one| view(&one.name).contract.version()).collect();
    let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
    assert_eq!(shipped().policy.recipients.len(), names.len());
}
