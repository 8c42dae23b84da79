//! Every class of JSON text, each at every place where a record can have it.
//!
//! The classes are those of the public JSON parsing test suite: what every reader
//! must take, what every reader must refuse, and what each may do as it likes. The
//! texts are our own; `table` has them with the answer.

mod table;

use serde::de::IgnoredAny;

use crate::engine::Engine;
use crate::generated::World;
use crate::plain::{Message, Model};
use crate::policies::NOW_MS;
use crate::written::{kind, load, recipient, without_key};
use table::{Answer, Field, Shape, shapes};

/// Where a text is put into a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Whole,
    /// The value of a field that no catalogue has.
    Unlisted,
    /// As that, in an object of which another field is wanted.
    Beside,
    /// As that, inside a list of an object of a list.
    Nested,
    /// The value of a wanted field.
    Wanted,
    /// In front of a colon.
    Key,
}

const PLACES: [Place; 6] = [
    Place::Whole,
    Place::Unlisted,
    Place::Beside,
    Place::Nested,
    Place::Wanted,
    Place::Key,
];

impl Place {
    fn record(self, text: &[u8]) -> Vec<u8> {
        let (before, after) = match self {
            Place::Whole => ("", ""),
            Place::Unlisted => (r#"{"id":"1","unlisted":"#, r#","seen":"s"}"#),
            Place::Beside => (r#"{"id":"1","box":{"other":"#, r#","seen":"b"}}"#),
            Place::Nested => (r#"{"id":"1","deep":[0,{"a":[0,"#, r#"]}],"seen":"s"}"#),
            Place::Wanted => (r#"{"id":"1","wanted":"#, r#","seen":"s"}"#),
            Place::Key => (r#"{"id":"1","#, r#":1,"seen":"s"}"#),
        };
        [before.as_bytes(), text, after.as_bytes()].concat()
    }

    /// What both recipients get of a record that is read.
    fn seen(self) -> &'static str {
        match self {
            Place::Beside => r#"{"boxed":{"seen":"b"}}"#,
            _ => r#"{"seen":"s"}"#,
        }
    }
}

/// One kind of record and two recipients; only the second one wants `wanted`.
fn world() -> World {
    let event = kind(
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
    load(&[
        event,
        recipient("one", settings, seen),
        recipient("two", settings, &wants),
    ])
    .unwrap()
}

/// What has to come of a shape at a place.
fn expected(shape: &Shape, place: Place) -> Vec<String> {
    let starts = |with: &[u8]| shape.text.trim_ascii_start().starts_with(with);
    let refused = match (place, shape.answer) {
        (Place::Whole, Answer::Taken(_)) if shape.text.trim_ascii() == b"null" => "null_value",
        (Place::Whole, Answer::Taken(_)) if starts(b"{") => "identifier",
        (Place::Whole, Answer::Taken(_)) => "not_an_object",
        (Place::Key, Answer::Taken(_)) if !starts(b"\"") => "not_json",
        (Place::Key, Answer::Refused("too_deep")) => "not_json",
        (_, Answer::Refused(reason)) => reason,
        (_, Answer::Taken(field)) => return taken(place, field),
    };
    vec![
        format!("dead letter {refused} (whole)"),
        format!("refused {refused}"),
    ]
}

fn taken(place: Place, field: Field) -> Vec<String> {
    let seen = place.seen();
    let one = format!("one {seen}");
    if place != Place::Wanted {
        return vec![one, format!("two {seen}")];
    }
    match field {
        Field::Shown(value) => {
            let value = String::from_utf8_lossy(value);
            vec![one, format!(r#"two {{"wanted":{value},"seen":"s"}}"#)]
        }
        Field::Missing => vec![one, format!("two {seen}")],
        Field::Malformed => vec![
            "dead letter malformed two".to_owned(),
            one,
            "two withheld malformed".to_owned(),
        ],
    }
}

/// Whether serde_json takes the record, too deep or not.
fn is_json(record: &[u8]) -> bool {
    std::str::from_utf8(record).is_ok() && serde_json::from_slice::<IgnoredAny>(record).is_ok()
}

#[test]
fn every_shape_at_every_place() {
    let world = world();
    let mut engine = Engine::new(&world.lane, NOW_MS);
    let mut model = Model::new(&world.policy, world.bounds, NOW_MS);
    let shapes = shapes();
    let mut wrong = Vec::new();
    for (offset, (shape, place)) in (0..).zip(
        shapes
            .iter()
            .flat_map(|shape| PLACES.map(|place| (shape, place))),
    ) {
        let record = place.record(&shape.text);
        let message = Message {
            kind: "event".to_owned(),
            partition: 0,
            offset,
            key: None,
            value: Some(record.clone()),
        };
        let mut found: Vec<String> = engine.offer(&message);
        let plain = model.offer(&message);
        assert_eq!(
            found, plain,
            "left the engine, right the plain model, {}",
            shape.name
        );
        found = found.iter().map(|line| without_key(line)).collect();
        found.sort();
        let want = expected(shape, place);
        if found != want {
            wrong.push(format!(
                "{} at {place:?}: found {found:?}, want {want:?}",
                shape.name
            ));
        }
        // A second opinion of what is JSON at all.
        let refused = want.iter().any(|line| {
            line.starts_with("refused not_json") || line.starts_with("refused not_utf8")
        });
        let is_too_deep = want.iter().any(|line| line == "refused too_deep");
        if !is_too_deep && is_json(&record) == refused {
            wrong.push(format!("{} at {place:?}: serde_json differs", shape.name));
        }
    }
    assert!(shapes.len() > 250, "{} shapes", shapes.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same texts in the middle of a long record, at every offset of a word and
/// at the very end of what is read.
#[test]
fn every_shape_at_every_offset() {
    let world = world();
    let mut engine = Engine::new(&world.lane, NOW_MS);
    let mut model = Model::new(&world.policy, world.bounds, NOW_MS);
    let shapes = shapes();
    let short = shapes.iter().filter(|shape| shape.text.len() < 100);
    for (offset, shape) in (0..).zip(short) {
        for pad in 0..9 {
            let mut text = br#"{"id":""#.to_vec();
            text.extend("x".repeat(pad + 1).bytes());
            text.extend_from_slice(br#"","wanted":"#);
            text.extend_from_slice(&shape.text);
            text.push(b'}');
            let message = Message {
                kind: "event".to_owned(),
                partition: 0,
                offset,
                key: None,
                value: Some(text),
            };
            let (found, plain) = (engine.offer(&message), model.offer(&message));
            assert_eq!(
                found, plain,
                "left the engine, right the plain model, {} behind {pad}",
                shape.name
            );
        }
    }
}
