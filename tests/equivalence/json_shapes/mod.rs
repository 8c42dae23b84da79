//! Every class of JSON text, each at every place where a record can have it.
//!
//! The classes are those of the public JSON parsing test suite: what every reader
//! must take, what every reader must refuse, and what each may do as it likes. The
//! texts are our own; `table` has them with the answer.

mod shape_table;

use serde::de::IgnoredAny;

use crate::generated_policies::CompiledPolicy;
use crate::handwritten_policy::compile_files;
use crate::policy_generator::NOW_MS;
use shape_table::{FieldOutcome, JsonShape, JsonVerdict, all_shapes};
use zeef_test_kit::config::{kind_file, recipient_file};
use zeef_test_kit::engine::EngineRunner;
use zeef_test_kit::engine::without_output_key;
use zeef_test_kit::model::SourceMessage;

/// Where a text is put into a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextPlacement {
    WholeRecord,
    /// The value of a field that no catalogue has.
    UnlistedValue,
    /// As that, in an object of which another field is wanted.
    UnlistedInObject,
    /// As that, inside a list of an object of a list.
    UnlistedNested,
    /// The value of a wanted field.
    WantedValue,
    /// In front of a colon.
    MemberName,
}

const PLACEMENTS: [TextPlacement; 6] = [
    TextPlacement::WholeRecord,
    TextPlacement::UnlistedValue,
    TextPlacement::UnlistedInObject,
    TextPlacement::UnlistedNested,
    TextPlacement::WantedValue,
    TextPlacement::MemberName,
];

impl TextPlacement {
    fn build_record(self, text: &[u8]) -> Vec<u8> {
        let (before, after) = match self {
            TextPlacement::WholeRecord => ("", ""),
            TextPlacement::UnlistedValue => (r#"{"id":"1","unlisted":"#, r#","seen":"s"}"#),
            TextPlacement::UnlistedInObject => (r#"{"id":"1","box":{"other":"#, r#","seen":"b"}}"#),
            TextPlacement::UnlistedNested => {
                (r#"{"id":"1","deep":[0,{"a":[0,"#, r#"]}],"seen":"s"}"#)
            }
            TextPlacement::WantedValue => (r#"{"id":"1","wanted":"#, r#","seen":"s"}"#),
            TextPlacement::MemberName => (r#"{"id":"1","#, r#":1,"seen":"s"}"#),
        };
        [before.as_bytes(), text, after.as_bytes()].concat()
    }

    /// What both recipients get of a record that is read.
    fn expected_output(self) -> &'static str {
        match self {
            TextPlacement::UnlistedInObject => r#"{"boxed":{"seen":"b"}}"#,
            _ => r#"{"seen":"s"}"#,
        }
    }
}

/// One kind of record and two recipients; only the second one wants `wanted`.
fn compile_policy() -> CompiledPolicy {
    let event = kind_file(
        "event",
        "id = \"id\"\nkey = \"none\"",
        r#"
        id = { type = "text", class = "identifier", meaning = "m" }
        on = { type = "date", class = "plain", meaning = "m" }
        seen = { type = "text", class = "plain", meaning = "m" }
        "box.seen" = { type = "text", class = "plain", meaning = "m" }
        wanted = { type = "text_or_number", class = "plain", meaning = "m" }
        "#,
    );
    let settings = "source = \"event\"\nkey = { pseudonym = \"id\" }\n\
         retention = { term = \"P1Y\", from = \"on\", after = \"retract\" }";
    let seen = "seen = { from = \"seen\" }\nboxed = { from = \"box\", fields = [\"seen\"] }\n";
    let wants = format!("wanted = {{ from = \"wanted\" }}\n{seen}");
    compile_files(&[
        event,
        recipient_file("one", settings, seen),
        recipient_file("two", settings, &wants),
    ])
    .unwrap()
}

/// What has to come of a shape at a place.
fn expected_outcome(shape: &JsonShape, placement: TextPlacement) -> Vec<String> {
    let starts = |with: &[u8]| shape.text.trim_ascii_start().starts_with(with);
    let refused = match (placement, shape.verdict) {
        (TextPlacement::WholeRecord, JsonVerdict::Accepted(_))
            if shape.text.trim_ascii() == b"null" =>
        {
            "null_value"
        }
        (TextPlacement::WholeRecord, JsonVerdict::Accepted(_)) if starts(b"{") => "identifier",
        (TextPlacement::WholeRecord, JsonVerdict::Accepted(_)) => "not_an_object",
        (TextPlacement::MemberName, JsonVerdict::Accepted(_)) if !starts(b"\"") => "not_json",
        (TextPlacement::MemberName, JsonVerdict::Refused("too_deep")) => "not_json",
        (_, JsonVerdict::Refused(reason)) => reason,
        (_, JsonVerdict::Accepted(field)) => return accepted_outcome(placement, field),
    };
    vec![format!("dead letter {refused} (whole)"), format!("refused {refused}")]
}

fn accepted_outcome(placement: TextPlacement, field: FieldOutcome) -> Vec<String> {
    let seen = placement.expected_output();
    let one = format!("one {seen}");
    if placement != TextPlacement::WantedValue {
        return vec![one, format!("two {seen}")];
    }
    match field {
        FieldOutcome::Shown(value) => {
            let value = String::from_utf8_lossy(value);
            vec![one, format!(r#"two {{"wanted":{value},"seen":"s"}}"#)]
        }
        FieldOutcome::Missing => vec![one, format!("two {seen}")],
        FieldOutcome::Malformed => {
            vec!["dead letter malformed two".to_owned(), one, "two withheld malformed".to_owned()]
        }
    }
}

/// Whether serde_json takes the record, too deep or not.
fn is_json(record: &[u8]) -> bool {
    std::str::from_utf8(record).is_ok() && serde_json::from_slice::<IgnoredAny>(record).is_ok()
}

#[test]
fn json_shape_at_every_placement_decides_as_model() {
    let compiled = compile_policy();
    let mut engine = EngineRunner::new(&compiled.lane, NOW_MS);
    let mut model = compiled.new_model();
    let shapes = all_shapes();
    let mut wrong = Vec::new();
    for (offset, (shape, placement)) in
        (0..).zip(shapes.iter().flat_map(|shape| PLACEMENTS.map(|placement| (shape, placement))))
    {
        let record = placement.build_record(&shape.text);
        let message = SourceMessage {
            kind: "event".to_owned(),
            partition: 0,
            offset,
            key: None,
            value: Some(record.clone()),
        };
        let mut found: Vec<String> = engine.decide_message(&message);
        let by_model = model.decide_message(&message);
        assert_eq!(found, by_model, "left the engine, right the plain model, {}", shape.name);
        found = found.iter().map(|line| without_output_key(line)).collect();
        found.sort();
        let want = expected_outcome(shape, placement);
        if found != want {
            wrong.push(format!("{} at {placement:?}: found {found:?}, want {want:?}", shape.name));
        }
        // A second opinion of what is JSON at all.
        let refused = want.iter().any(|line| {
            line.starts_with("refused not_json") || line.starts_with("refused not_utf8")
        });
        let is_too_deep = want.iter().any(|line| line == "refused too_deep");
        if !is_too_deep && is_json(&record) == refused {
            wrong.push(format!("{} at {placement:?}: serde_json differs", shape.name));
        }
    }
    assert!(shapes.len() > 250, "{} shapes", shapes.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same texts in the middle of a long record, at every offset of a word and
/// at the very end of what is read.
#[test]
fn json_shape_at_every_byte_offset_decides_as_model() {
    let compiled = compile_policy();
    let mut engine = EngineRunner::new(&compiled.lane, NOW_MS);
    let mut model = compiled.new_model();
    let shapes = all_shapes();
    let short = shapes.iter().filter(|shape| shape.text.len() < 100);
    for (offset, shape) in (0..).zip(short) {
        for pad in 0..9 {
            let mut text = br#"{"id":""#.to_vec();
            text.extend("x".repeat(pad + 1).bytes());
            text.extend_from_slice(br#"","wanted":"#);
            text.extend_from_slice(&shape.text);
            text.push(b'}');
            let message = SourceMessage {
                kind: "event".to_owned(),
                partition: 0,
                offset,
                key: None,
                value: Some(text),
            };
            let (found, by_model) =
                (engine.decide_message(&message), model.decide_message(&message));
            assert_eq!(
                found, by_model,
                "left the engine, right the plain model, {} behind {pad}",
                shape.name
            );
        }
    }
}
