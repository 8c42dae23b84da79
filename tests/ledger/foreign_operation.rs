//! The operation of the upstream that sent a record is in the ledger's lines of it, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use zeef::ledger::LEDGER_TOPIC;
use zeef::ledger::block::Block;
use zeef::message::TraceParent;
use zeef::transport::memory::PublishedOutput;
use zeef_test_kit::deployment::{DeploymentSetup, InMemoryDeployment, trace_parent_of};
use zeef_test_kit::scenario::START_MS;

use super::command_line::{Deployment, patron, reservation};
use super::sent_again::{files_in, run_script};
use super::serve::{Service, TOKEN};
use super::{blocks_of, play_steps, setups, value_of};

const MEMBER: &str = "foreign_operation";

fn lines_of(outputs: &[PublishedOutput]) -> Vec<Value> {
    let blocks = blocks_of(outputs);
    let blocks = blocks.map(|block| serde_json::from_slice::<Value>(value_of(block)).unwrap());
    blocks.flat_map(|mut block| std::mem::take(block["lines"].as_array_mut().unwrap())).collect()
}

/// What was published, the lines of the ledger in place of its blocks; without what the upstream's
/// operations are.
fn without_foreign_operations(outputs: &[PublishedOutput]) -> (Vec<PublishedOutput>, Vec<Value>) {
    let others = outputs.iter().filter(|one| one.topic != LEDGER_TOPIC && !is_mark(one));
    let mut lines = lines_of(outputs);
    for line in &mut lines {
        line.as_object_mut().unwrap().remove(MEMBER);
    }
    (others.cloned().collect(), lines)
}

/// A mark has the digest of the last block.
fn is_mark(output: &PublishedOutput) -> bool {
    output.key.as_deref() == Some(zeef::message::continuity::MARK_ROW_KEY)
}

#[test]
fn foreign_operation_changes_nothing_but_the_lines_that_name_it() {
    let mut named = 0;
    for (seed, setup) in setups().into_iter().enumerate() {
        let play = |has_trace_parents| {
            play_steps(seed as u64, 60, DeploymentSetup { has_trace_parents, ..setup }).lanes
        };
        for ((_, with), (_, without)) in play(true).into_iter().zip(play(false)) {
            let lines = lines_of(&with);
            named += lines.iter().filter(|line| line.get(MEMBER).is_some()).count();
            assert!(without_foreign_operations(&with) == without_foreign_operations(&without));
            for one in with.iter().filter(|one| one.topic != LEDGER_TOPIC) {
                let bytes = [one.key.as_deref(), one.value.as_deref()];
                let bytes: Vec<u8> = bytes.into_iter().flatten().flatten().copied().collect();
                for line in lines.iter().filter_map(|line| line.get(MEMBER)) {
                    let trace = line["trace"].as_str().unwrap().as_bytes();
                    assert!(!bytes.windows(trace.len()).any(|part| part == trace), "{}", one.topic);
                }
            }
        }
    }
    assert!(named > 50, "{named}");
}

/// The lines that name an operation of the upstream, without the ids that the number of the batch
/// makes.
fn named_lines(outputs: &[PublishedOutput]) -> Vec<String> {
    let lines = lines_of(outputs).into_iter().filter(|line| line.get(MEMBER).is_some());
    let texts = lines.map(|line| {
        let part = |name: &str| line.get(name).map(Value::to_string).unwrap_or_default();
        ["operation", "reason", "patron", "fields", "key", MEMBER].map(part).join(" ")
    });
    let mut texts: Vec<String> = texts.collect();
    texts.sort();
    assert!(texts.len() > 10, "{texts:?}");
    texts
}

#[test]
fn foreign_operation_is_the_same_in_all_lines_of_a_decision_and_after_aborts() {
    for (seed, setup) in setups().into_iter().enumerate() {
        let play = |fail_every| {
            let setup = DeploymentSetup {
                has_trace_parents: true,
                rebalance_every: None,
                fail_every,
                ..setup
            };
            play_steps(seed as u64, 60, setup).lanes
        };
        let (aborted, smooth) = (play(Some(3)), play(None));
        for ((_, aborted), (_, smooth)) in aborted.iter().zip(&smooth) {
            assert_eq!(named_lines(aborted), named_lines(smooth), "{seed}");
            let lines = lines_of(aborted);
            let mut by_trace = BTreeMap::new();
            for line in &lines {
                let foreign = line.get(MEMBER);
                let before = by_trace.entry(line["trace"].as_str().unwrap()).or_insert(foreign);
                assert_eq!(*before, foreign, "{line}");
            }
        }
    }
}

/// The operations of the lines, with what each names as the upstream's operation.
fn operations(deployment: &InMemoryDeployment) -> BTreeSet<(String, Option<String>)> {
    let mut found = BTreeSet::new();
    for (_, outputs) in deployment.lanes_with_outputs() {
        for block in blocks_of(&outputs) {
            let block: Block<'_> = serde_json::from_slice(value_of(block)).unwrap();
            found.extend(block.lines.iter().map(|line| {
                let foreign = line.foreign_operation.as_ref();
                let foreign = foreign.map(|one| format!("{}-{}", one.trace, one.operation));
                (<&str>::from(line.operation).to_owned(), foreign)
            }));
        }
    }
    found
}

/// A record is decided again because its patron changed: the operation that sent it is not why.
#[test]
fn record_that_is_decided_again_names_no_foreign_operation() {
    let setup =
        DeploymentSetup { has_ledger: true, has_trace_parents: true, ..DeploymentSetup::DEFAULT };
    let mut deployment = InMemoryDeployment::new(setup, START_MS);
    // Texts whose messages name an operation.
    let push = |deployment: &mut InMemoryDeployment, source: &str, text: &str| {
        let texts = (0..).map(|number| text.replace("NUMBER", &format!("n{number}")));
        let with_operation = |text: &String| {
            let found = trace_parent_of(Some(b"p1"), Some(text.as_bytes()));
            matches!(found, Some(TraceParent::Operation(_)))
        };
        let mut texts = texts;
        let text = texts.find(with_operation).unwrap();
        deployment.push_message(source, 0, Some(b"p1"), Some(text.as_bytes()));
        let Some(TraceParent::Operation(one)) = trace_parent_of(Some(b"p1"), Some(text.as_bytes()))
        else {
            unreachable!("it was looked for");
        };
        deployment.run_to_end().expect("a run to the end");
        format!("{:032x}-{:016x}", one.trace, one.operation)
    };
    let patron = |surname: &str| {
        format!(
            r#"{{"patron_id":"p1","library":"NL-AmrBKW","note":"NUMBER","kind":"person","surname":"{surname}","membership":{{"id":"M","status":"active"}}}}"#
        )
    };
    push(&mut deployment, "patron", &patron("Berg"));
    let loan = r#"{"patron_id":"p1","library":"NL-AmrBKW","note":"NUMBER","loan_id":"l1","status":"open","due_on":"2026-06-01"}"#;
    let of_loan = push(&mut deployment, "loan", loan);
    let before = operations(&deployment);
    assert!(before.contains(&("release".to_owned(), Some(of_loan))), "{before:?}");
    let of_patron = push(&mut deployment, "patron", &patron("Dijk"));
    let again: Vec<_> = operations(&deployment).difference(&before).cloned().collect();
    assert!(again.contains(&("correct".to_owned(), None)), "{again:?}");
    // The patron's own record was sent by it.
    let own = again.iter().filter_map(|(_, foreign)| foreign.as_ref());
    assert!(own.collect::<Vec<_>>().iter().all(|one| **one == of_patron), "{again:?}");
}

/// A trace of W3C's own examples.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const OPERATION: &str = "b7ad6b7169203331";

#[test]
fn directory_line_names_its_foreign_operation_in_every_form_of_the_ledger() {
    let deployment = Deployment::new();
    deployment.append("patron", "p1", &patron("p1"));
    let value = reservation("p1", "ready_for_pickup");
    deployment.append_line(
        "reservation",
        &format!(r#"{{"traceparent":"00-{TRACE}-{OPERATION}-01","key":"p1","value":{value}}}"#),
    );
    // The operation of a line that cannot be read counts for nothing, and the line counts.
    let value = value.replace("-r\"", "-r2\"");
    let malformed = format!(r#"{{"key":"p1","value":{value},"traceparent":"00-{TRACE}-x-01"}}"#);
    deployment.append_line("reservation", &malformed);
    deployment.run();
    let forms = [
        (
            "ldv",
            format!(
                "\"zeef.foreign_operation.operation_id\":\"{OPERATION}\",\"zeef.foreign_operation.trace_id\":\"{TRACE}\""
            ),
        ),
        ("otlp", format!("\"links\":[{{\"spanId\":\"{OPERATION}\",\"traceId\":\"{TRACE}\"}}]")),
        ("csv", format!(",{TRACE},{OPERATION}\n")),
    ];
    for (form, want) in &forms {
        let text = deployment.ledger(&["export", "--as", form]);
        assert_eq!(text.matches(want).count(), 1, "{form}: {text}");
        assert_eq!(text.matches(TRACE).count(), 1, "{form}: {text}");
    }
    let service = Service::start(&deployment);
    let body = r#"{"dpl.core.data_subject_id":"p1","dpl.core.data_subject_id_type":"patron"}"#;
    assert_eq!(service.ask(body, TOKEN).matches(&forms[0].1).count(), 1);
    let (code, said) = run_script(&deployment, &[]);
    assert_eq!(code, 0, "{said}");
    assert!(deployment.ledger(&["verify"]).starts_with("ok "));
    let owners = files_in(&deployment.path("data/out"));
    let files: Vec<_> = owners.iter().flat_map(|owner| files_in(owner)).collect();
    assert!(files.iter().any(|file| fs::metadata(file).unwrap().len() > 0), "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains(TRACE), "{}", file.display());
    }
}
