//! Every golden case, through the engine, through the model, and with the shipped config.
//!
//! `tests/golden/README.md` tells what is fixed for all cases.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests are tests too")]

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;
use zeef::config::LoadedConfig;
use zeef::engine::lane::{CompileOptions, Lane};
use zeef::policy::flow::{FLOWS, FlowEnforcement};
use zeef::policy::pseudonym::Pseudonymiser;
use zeef_test_kit::config::{load_shipped_config, repository};
use zeef_test_kit::engine::{EngineRunner, new_key};
use zeef_test_kit::golden::{GOLDEN_KEY, GoldenCase, NOW_MS, read_cases};
use zeef_test_kit::model::{ModelLimits, PolicyModel, SourceMessage};

/// The lane of one recipient, or of all of them.
fn compile_lane(loaded: &LoadedConfig, recipient: Option<&str>) -> Arc<Lane> {
    let lane = Lane::compile(
        "golden",
        &loaded.policy,
        |one| recipient.is_none_or(|name| one.name == name),
        |_| Some(Pseudonymiser::new(&new_key("golden", GOLDEN_KEY))),
        CompileOptions::default(),
    );
    Arc::new(lane.expect("a lane"))
}

/// What the recipient of a case gets: the lines that `decide` says are released.
fn recipient_output(
    case: &GoldenCase,
    mut decide: impl FnMut(&SourceMessage) -> Vec<String>,
) -> String {
    // Some have a topic for each receiving party.
    let topics = format!("out.{}", case.recipient);
    let is_own = |topic: &str| {
        topic.strip_prefix(&topics).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let mut text = String::new();
    for (offset, line) in (0..).zip(&case.input) {
        let message = SourceMessage {
            kind: line.source.clone(),
            partition: 0,
            offset,
            key: line.key.clone(),
            value: line.value.clone(),
        };
        for outcome in decide(&message) {
            let released = outcome.strip_prefix("released ").and_then(|rest| rest.split_once(' '));
            let Some((topic, output)) = released.filter(|(topic, _)| is_own(topic)) else {
                continue;
            };
            let (key, value) = output.split_once(' ').unwrap();
            writeln!(text, r#"{{"topic":"{topic}","key":"{key}","value":{value}}}"#).unwrap();
        }
    }
    text
}

fn engine_output(lane: &Arc<Lane>, case: &GoldenCase) -> String {
    let mut engine = EngineRunner::new(lane, NOW_MS);
    recipient_output(case, |message| match engine.reads_kind(&message.kind) {
        true => engine.decide_message(message),
        false => Vec::new(),
    })
}

fn model_output(loaded: &LoadedConfig, case: &GoldenCase) -> String {
    let key_of = |_: &str| GOLDEN_KEY.to_vec();
    let mut model = PolicyModel::new(&loaded.policy, key_of, ModelLimits::DEFAULT, NOW_MS);
    recipient_output(case, |message| model.decide_message(message))
}

/// The lines that differ, expected before found.
fn line_difference(want: &str, found: &str) -> String {
    let (want, found): (Vec<_>, Vec<_>) = (want.lines().collect(), found.lines().collect());
    let mut text = String::new();
    for at in 0..want.len().max(found.len()) {
        let (want, found) = (want.get(at), found.get(at));
        if want != found {
            let shown = |line: Option<&&str>| line.map_or("(nothing)", |line| line).to_owned();
            writeln!(text, "  line {}\n    want  {}", at + 1, shown(want)).unwrap();
            writeln!(text, "    found {}", shown(found)).unwrap();
        }
    }
    text
}

#[track_caller]
fn check_all_cases(output_of: impl Fn(&GoldenCase) -> String) {
    let mut wrong = String::new();
    let cases = read_cases();
    assert!(cases.len() > 50, "{} cases", cases.len());
    for case in &cases {
        let found = output_of(case);
        if found != case.output {
            let difference = line_difference(&case.output, &found);
            writeln!(wrong, "{}/{}\n{difference}", case.recipient, case.name).unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn golden_cases_match_byte_for_byte() {
    let loaded = load_shipped_config();
    let all = compile_lane(&loaded, None);
    check_all_cases(|case| engine_output(&all, case));
}

#[test]
fn golden_cases_match_in_single_recipient_lanes() {
    let loaded = load_shipped_config();
    check_all_cases(|case| engine_output(&compile_lane(&loaded, Some(&case.recipient)), case));
}

/// `UPDATE_GOLDEN=1` writes the outputs anew, from the model alone.
#[test]
fn golden_cases_match_model() {
    let loaded = load_shipped_config();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        for case in read_cases() {
            std::fs::write(&case.output_path, model_output(&loaded, &case)).unwrap();
        }
    }
    check_all_cases(|case| model_output(&loaded, case));
}

/// Every recipient has cases that release something and that do not, and all of its
/// output fields are released in some case.
#[test]
fn golden_cases_show_every_output_field() {
    let cases = read_cases();
    for recipient in &load_shipped_config().policy.recipients {
        let own = || cases.iter().filter(|case| case.recipient == recipient.name);
        let is_empty = |case: &GoldenCase| case.output.is_empty();
        assert!(own().any(is_empty) && !own().all(is_empty), "{}", recipient.name);
        let lines = own().flat_map(|case| case.output.lines());
        let values: Vec<Value> = lines
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["value"].take())
            .collect();
        for field in &recipient.output_fields {
            let is_shown = values.iter().any(|value| value.get(&field.name).is_some());
            assert!(is_shown, "{} {}", recipient.name, field.name);
        }
    }
}

/// Ids of flows whose recipients are not there yet.
const FLOWS_TO_COME: &[&str] = &[];

/// Every id that recipients enforce has a recipient with golden cases, every id that a recipient
/// names is one of a flow, and every file that is said to test one is there.
#[test]
fn every_flow_has_recipients_with_golden_cases() {
    let policy = load_shipped_config().policy;
    let cases = read_cases();
    for flow in FLOWS {
        for path in flow.tests {
            assert!(repository().join(path).is_file(), "{}: {path}", flow.id);
        }
        let serving =
            || policy.recipients.iter().filter(|one| one.flows.iter().any(|id| id == flow.id));
        for recipient in serving() {
            let has_cases = cases.iter().any(|case| case.recipient == recipient.name);
            assert!(has_cases, "{}: {} has no golden cases", flow.id, recipient.name);
        }
        let is_served = serving().next().is_some() || FLOWS_TO_COME.contains(&flow.id);
        let must_be_served = flow.enforcement == FlowEnforcement::Recipients;
        assert!(is_served || !must_be_served, "{} has no recipient", flow.id);
    }
    for recipient in &policy.recipients {
        for id in &recipient.flows {
            assert!(FLOWS.iter().any(|flow| flow.id == id), "{}: {id}", recipient.name);
        }
    }
}
