//! Outputs in Avro: what the Apache project's library reads by the schema of a contract is what
//! the JSON output says, and nothing else is written.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as AvroValue;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use zeef::contract::{ContractView, asyncapi_document, contract_page};
use zeef::intake::AvroSchema;
use zeef::policy::avro_output::AvroOutput;
use zeef_test_kit::config::{copy_shipped_config, enable_all_recipients, load_folder};
use zeef_test_kit::process::{CommandOutput, run_with_stdin, zeef_command};

use crate::outputs::{project_sample, with_a_field_more};
use crate::{recipients, shipped};

/// A recipient's outputs, and its schema as the library reads it.
struct AvroCheck {
    avro: AvroOutput,
    theirs: Schema,
    ours: AvroSchema,
}

impl AvroCheck {
    fn by_recipient() -> BTreeMap<String, AvroCheck> {
        let checks = recipients().iter().map(|recipient| {
            let avro = AvroOutput::of_recipient(recipient, &shipped().policy);
            let theirs = Schema::parse_str(avro.schema()).unwrap();
            let ours = AvroSchema::parse(avro.schema()).unwrap();
            (recipient.name.clone(), AvroCheck { avro, theirs, ours })
        });
        checks.collect()
    }

    #[track_caller]
    fn holds(&self, output: &Value) {
        let mut bytes = Vec::new();
        self.avro.encode(output.to_string().as_bytes(), &mut bytes).unwrap();
        let reader = GenericDatumReader::builder(&self.theirs).build().unwrap();
        let mut rest = bytes.as_slice();
        let want = without_negative_zero(output.clone());
        assert_eq!(to_json(reader.read_value(&mut rest).unwrap()), want);
        assert!(rest.is_empty());
        let read = self.ours.to_json(&bytes).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&read).unwrap(), want);
        for more in with_a_field_more(output) {
            let refused = self.avro.encode(more.to_string().as_bytes(), &mut Vec::new());
            assert!(refused.unwrap_err().to_string().contains("unlisted"));
        }
    }
}

/// JSON can say -0 of a whole number; a `long` cannot.
fn without_negative_zero(value: Value) -> Value {
    match value {
        Value::Number(number) if number.as_f64() == Some(0.0) => 0.into(),
        Value::Array(items) => items.into_iter().map(without_negative_zero).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| (name, without_negative_zero(value)))
            .collect::<Map<_, _>>()
            .into(),
        other => other,
    }
}

/// Whether a `long` cannot hold some number of an output.
fn has_large_number(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            number.as_i64().is_none() && number.as_f64().is_some_and(|number| number.abs() > 1e18)
        }
        Value::Array(items) => items.iter().any(has_large_number),
        Value::Object(members) => members.values().any(has_large_number),
        _ => false,
    }
}

/// Without members that are null.
fn to_json(value: AvroValue) -> Value {
    match value {
        AvroValue::Null => Value::Null,
        AvroValue::Boolean(value) => value.into(),
        AvroValue::Long(value) => value.into(),
        AvroValue::Double(value) => value.into(),
        AvroValue::String(value) => value.into(),
        AvroValue::Union(_, inner) => to_json(*inner),
        AvroValue::Array(items) => items.into_iter().map(to_json).collect(),
        AvroValue::Record(members) => {
            let members = members.into_iter().map(|(name, value)| (name, to_json(value)));
            let there: Map<String, Value> = members.filter(|(_, value)| !value.is_null()).collect();
            Value::Object(there)
        }
        other => panic!("no output has {other:?}"),
    }
}

#[test]
fn avro_schema_of_a_contract_holds_every_golden_output() {
    let checks = AvroCheck::by_recipient();
    let mut counts = BTreeMap::new();
    let mut refused = 0;
    for case in zeef_test_kit::golden::read_cases() {
        for line in case.output.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if let Some(value) = line.get("value").filter(|value| !value.is_null()) {
                let check = &checks[&case.recipient];
                if has_large_number(value) {
                    let text = value.to_string();
                    assert!(check.avro.encode(text.as_bytes(), &mut Vec::new()).is_err());
                    refused += 1;
                    continue;
                }
                check.holds(value);
                *counts.entry(case.recipient.clone()).or_insert(0) += 1;
            }
        }
    }
    assert_eq!(counts.len(), recipients().len(), "{counts:?}");
    assert_eq!(refused, 2, "two cases have a whole number that is no `long`");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, ..ProptestConfig::default() })]

    #[test]
    fn avro_schema_of_a_contract_holds_every_output(seed in any::<u64>()) {
        let checks = AvroCheck::by_recipient();
        let by_topic: BTreeMap<&str, &AvroCheck> = recipients()
            .iter()
            .flat_map(|one| one.topics.names().map(|topic| (topic, &checks[&one.name])))
            .collect();
        let outputs = project_sample(seed);
        for (topic, value) in &outputs {
            by_topic[topic.as_str()].holds(value);
        }
        prop_assert!(outputs.len() > 200, "{}", outputs.len());
    }
}

const DEURWAARDER: &str = "recipients/deurwaarder.toml";
const REGISTRY: &str = "\n[schema_registry]\nurl = \"http://127.0.0.1:1\"\n";

/// The shipped config, in which the deurwaarder has outputs in Avro.
fn avro_config() -> tempfile::TempDir {
    let folder = copy_shipped_config();
    enable_all_recipients(folder.path());
    let path = folder.path().join(DEURWAARDER);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, format!("format = \"avro\"\n{text}")).unwrap();
    let settings = folder.path().join("zeef.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(settings, format!("{text}{REGISTRY}")).unwrap();
    folder
}

fn run(config: &Path, words: &[&str]) -> CommandOutput {
    let mut command = zeef_command(env!("CARGO_BIN_EXE_zeef"), words);
    CommandOutput::of(command.arg("--config").arg(config))
}

#[test]
fn contract_of_avro_outputs_shows_their_schema() {
    let config = avro_config();
    let shown = run(config.path(), &["contract", "deurwaarder", "--format", "avro"]);
    assert_eq!(shown.exit_code, 0, "{}", shown.stderr);
    let schema: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(schema["name"], "zeef.deurwaarder.output");
    let debt = schema["fields"].as_array().unwrap().iter().find(|field| field["name"] == "debt_id");
    assert_eq!(debt.unwrap()["type"], json!(["null", "string"]));
    assert_eq!(debt.unwrap()["default"], Value::Null);
    assert!(debt.unwrap()["doc"].is_string());
    let policy = load_folder(config.path()).unwrap();
    let view = ContractView::of_recipient(&policy, "deurwaarder").unwrap();
    let document = asyncapi_document(&view);
    let message = &document["components"]["messages"]["output"];
    assert_eq!(message["contentType"], "application/avro");
    assert_eq!(message["payload"]["schema"], schema);
    assert!(contract_page(&view).contains("Avro"));
    let as_json = crate::view("deurwaarder");
    assert_ne!(view.contract.version(), as_json.contract.version());
    assert!(!contract_page(&as_json).contains("Avro"));
    let refused = run(config.path(), &["contract", "statistics", "--format", "avro"]);
    assert_eq!(refused.exit_code, 2);
    assert!(refused.stderr.contains("outputs of statistics are JSON"), "{}", refused.stderr);
}

#[test]
fn avro_without_a_registry_is_a_mistake_of_the_recipients_file() {
    let config = avro_config();
    let settings = config.path().join("zeef.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(settings, text.replace(REGISTRY, "\n[schema_registry]\nfolder = \"schemas\"\n"))
        .unwrap();
    let checked = run(config.path(), &["check"]);
    assert_eq!(checked.exit_code, 78, "{}", checked.stdout);
    let want = "deurwaarder.toml:1: `format` is \"avro\", where no registry takes its schema, \
                expected `[schema_registry]` with `url` in zeef.toml";
    assert!(checked.stderr.contains(want), "{}", checked.stderr);
    let path = config.path().join(DEURWAARDER);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replace("\"avro\"", "\"avor\"")).unwrap();
    let checked = run(config.path(), &["check"]);
    let want = "deurwaarder.toml:1: `format` is \"avor\": did you mean `avro`?";
    assert!(checked.stderr.contains(want), "{}", checked.stderr);
}

/// The messages of a golden case, the amount of its debt replaced.
fn debt_of(amount: &str) -> Vec<u8> {
    let folder = zeef_test_kit::config::repository().join("tests/golden/deurwaarder");
    let text = fs::read_to_string(folder.join("full-record.in.ndjson")).unwrap();
    let (there, new) = ("],\"amount_cents\":1250", format!("],\"amount_cents\":{amount}"));
    assert!(text.contains(there));
    text.replace(there, &new).into_bytes()
}

fn project(config: &Path, lines: &[u8]) -> CommandOutput {
    let time = "2026-01-15T12:00:00Z";
    let words = ["project", "--recipient", "deurwaarder", "--time", time, "--config"];
    let mut command = zeef_command(env!("CARGO_BIN_EXE_zeef"), &words);
    run_with_stdin(command.arg(config), lines)
}

/// A whole number that Avro cannot hold would be another one: such an output is withheld, and
/// never stops its lane.
#[test]
fn number_that_avro_does_not_have_is_withheld_as_malformed() {
    let plain = copy_shipped_config();
    enable_all_recipients(plain.path());
    let avro = avro_config();
    let largest = i64::MAX.to_string();
    for (amount, in_avro) in [(largest.as_str(), true), ("9223372036854775808", false)] {
        let lines = debt_of(amount);
        let found = format!("\"amount_cents\":{amount}");
        let as_json = project(plain.path(), &lines);
        assert!(as_json.stdout.contains(&found), "{} {}", as_json.stdout, as_json.stderr);
        let in_avro_found = project(avro.path(), &lines);
        assert_eq!(in_avro_found.stdout.contains(&found), in_avro, "{}", in_avro_found.stderr);
        assert_eq!(
            in_avro_found.stderr.contains("malformed"),
            !in_avro,
            "{}",
            in_avro_found.stderr
        );
    }
}
