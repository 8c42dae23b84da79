//! Every golden case, through the real engine and the shipped config.
//!
//! What is fixed for all cases says `tests/golden/README.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of tests are tests too"
)]
#![allow(unreachable_pub, reason = "modules of one test binary")]
#![allow(
    dead_code,
    reason = "the model's helpers are shared with other binaries"
)]

mod common;
mod reference;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use reference::golden::{Case, KEY, Line, NOW_MS, cases};
use zeef::engine::lane::{Lane, Options};
use zeef::engine::pipeline::{BatchTime, Pipeline};
use zeef::policy::pseudonym::{Key, Pseudonymiser};
use zeef::policy::{Loaded, Policy};
use zeef::transport::{Input, Outbox, Payload, SourceId};

/// The shipped config, with every recipient that it has a file of.
fn shipped() -> Loaded {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    common::copy_folder(&root, folder.path());
    common::switch_on(folder.path());
    Policy::load(folder.path()).expect("the shipped config")
}

/// The lane of one recipient, or of all of them.
fn lane(loaded: &Loaded, recipient: Option<&str>) -> Lane {
    let key = Key::parse(&format!("golden:{}", URL_SAFE_NO_PAD.encode(KEY))).expect("a key");
    Lane::compile(
        "golden",
        &loaded.policy,
        |one| recipient.is_none_or(|name| one.name == name),
        |_| Some(Pseudonymiser::new(&key)),
        Options::default(),
    )
    .expect("a lane")
}

/// What the recipient of a case gets, decided line by line in one batch.
fn outputs(lane: &Arc<Lane>, case: &Case) -> String {
    let plan = lane.plan();
    let mut pipeline = Pipeline::new(Arc::clone(lane));
    pipeline.begin(BatchTime::from_ms(NOW_MS));
    let mut outbox = Outbox::default();
    for (offset, line) in case.input.iter().enumerate() {
        if let Some(source) = source_of(lane, line) {
            pipeline.decide(&input(source, offset, line), &mut outbox);
        }
    }
    let mut text = String::new();
    for output in outbox.iter() {
        let topic = &plan.outputs[usize::from(output.output.0)].topic;
        if *topic == format!("out.{}", case.recipient) {
            let key = String::from_utf8_lossy(output.key.expect("a key"));
            let value = String::from_utf8_lossy(output.value.expect("a value"));
            writeln!(
                text,
                r#"{{"topic":"{topic}","key":"{key}","value":{value}}}"#
            )
            .unwrap();
        }
    }
    text
}

fn source_of(lane: &Lane, line: &Line) -> Option<SourceId> {
    let mut sources = lane.sources.iter();
    let at = sources.position(|source| source.kind.name == line.source)?;
    Some(SourceId(u16::try_from(at).unwrap()))
}

fn input(source: SourceId, offset: usize, line: &Line) -> Input<'_> {
    Input {
        source,
        partition: 0,
        offset: i64::try_from(offset).unwrap(),
        timestamp_ms: None,
        appended: None,
        key: line.key.as_deref(),
        payload: line.value.as_deref().map_or(Payload::Null, Payload::Bytes),
    }
}

/// The lines that differ, expected before found.
fn difference(want: &str, found: &str) -> String {
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
fn check(lane_of: impl Fn(&Case) -> Arc<Lane>) {
    let mut wrong = String::new();
    let cases = cases();
    assert!(cases.len() > 50, "{} cases", cases.len());
    for case in &cases {
        let found = outputs(&lane_of(case), case);
        if found != case.output {
            let difference = difference(&case.output, &found);
            writeln!(wrong, "{}/{}\n{difference}", case.recipient, case.name).unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_case_comes_out_byte_for_byte() {
    let loaded = shipped();
    let all = Arc::new(lane(&loaded, None));
    check(|_| Arc::clone(&all));
}

#[test]
fn a_lane_of_its_own_changes_nothing() {
    let loaded = shipped();
    check(|case| Arc::new(lane(&loaded, Some(&case.recipient))));
}
