//! The table against a plain map, and rows against the records they are of.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Draft, Known, Row, RowLayout, Sensitive, Table};
use crate::engine::record::{Limits, Record};
use crate::engine::shape::{Place, Shape};
use crate::engine::value::Value;
use crate::policy::catalogue::Type;

/// A shape with two single values and two lists, all of them kept.
struct Scene {
    shape: Shape,
    layout: RowLayout,
    names: Place,
    phones: Place,
    kinds: Place,
}

impl Scene {
    fn new() -> Scene {
        let mut shape = Shape::default();
        let mut want = |path, kind| shape.want(path, kind).unwrap();
        let places = [
            want("name", Type::Text(None)),
            want("active", Type::Boolean),
            want("names[]", Type::Text(None)),
            want("phones[].number", Type::TextOrNumber),
            want("phones[].kind", Type::Text(None)),
        ];
        let mut layout = RowLayout::default();
        let kept = places.map(|place| layout.keep(place, shape.strides()));
        layout.settle(shape.strides());
        Scene {
            shape,
            layout,
            names: kept[2],
            phones: kept[3],
            kinds: kept[4],
        }
    }

    fn row(&self, json: &str, patron_id: &str, offset: i64) -> Row {
        let mut record = Record::new(&self.shape);
        let text = record.read(json.as_bytes(), &Limits::default()).unwrap();
        let reading = record.reading(text);
        Draft::default().row(
            &self.layout,
            reading,
            &Sensitive::default(),
            patron_id,
            offset,
        )
    }

    /// All values of a list's places, element by element.
    fn elements<'a>(&self, row: &'a Row, places: &[Place]) -> Vec<Value<'a>> {
        let mut found = Vec::new();
        let Some(Place::Element { list, .. }) = places.first() else {
            panic!("not in a list");
        };
        for index in 0..row.list_len(&self.layout, *list) {
            for place in places {
                let Place::Element { list, slot } = *place else {
                    panic!("not in a list");
                };
                found.push(row.element(&self.layout, list, index, slot));
            }
        }
        found
    }
}

fn plain(text: &str) -> Value<'_> {
    Value::Text { text, plain: true }
}

fn text(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[track_caller]
fn check(
    json: &str,
    name: Value<'_>,
    active: Value<'_>,
    names: &[Value<'_>],
    phones: &[Value<'_>],
) {
    let scene = Scene::new();
    let row = scene.row(json, "NL-1:7", 9);
    assert_eq!(row.known(), Known::Patron(&row));
    assert_eq!((row.patron_id(), row.offset()), ("NL-1:7", 9));
    assert_eq!((row.value(0), row.value(1)), (name, active));
    assert_eq!(scene.elements(&row, &[scene.names]), names);
    assert_eq!(scene.elements(&row, &[scene.phones, scene.kinds]), phones);
}

#[test]
fn a_row_gives_back_what_the_record_had() {
    use Value::{Boolean, Malformed, Missing, Number};
    check("{}", Missing, Missing, &[], &[]);
    check(
        r#"{"name":"Ann","active":true}"#,
        plain("Ann"),
        Boolean(true),
        &[],
        &[],
    );
    check(
        r#"{"name":"Zo\u00eb","active":0,"names":["é","","\"x"]}"#,
        Value::Text {
            text: "Zoë",
            plain: false,
        },
        Malformed,
        &[
            plain("é"),
            Value::Text {
                text: "\"x",
                plain: false,
            },
        ],
        &[],
    );
    check(
        r#"{"phones":[{"number":12.50},{"kind":"home","number":"06"},{}],"active":false}"#,
        Missing,
        Boolean(false),
        &[],
        &[Number("12.50"), Missing, plain("06"), plain("home")],
    );
}

#[test]
fn a_row_holds_texts_and_lists_of_any_length() {
    for length in [2_035, 2_036, 2_041, 2_042, 2_043, 20_000, 300_000] {
        let name = "n".repeat(length);
        check(
            &format!(r#"{{"name":"{name}","names":["a","b"]}}"#),
            plain(&name),
            Value::Missing,
            &[plain("a"), plain("b")],
            &[],
        );
    }
    for count in [2_046, 2_047, 2_048, 8_200, 50_000] {
        let names = vec!["1"; count];
        check(
            &format!(r#"{{"names":{names:?},"phones":[{{"number":1}}]}}"#),
            Value::Missing,
            Value::Missing,
            &vec![plain("1"); count],
            &[Value::Number("1"), Value::Missing],
        );
    }
}

#[test]
fn a_list_that_is_malformed_has_no_elements() {
    let scene = Scene::new();
    let row = scene.row(
        r#"{"name":"Ann","names":"x","phones":[{"number":1}]}"#,
        "p",
        0,
    );
    let (Place::Element { list: names, .. }, Place::Element { list: phones, .. }) =
        (scene.names, scene.phones)
    else {
        panic!("not lists");
    };
    assert!(row.list_malformed(&scene.layout, names));
    assert_eq!(row.list_len(&scene.layout, names), 0);
    assert!(!row.list_malformed(&scene.layout, phones));
    assert_eq!(row.list_len(&scene.layout, phones), 1);
    assert_eq!(row.list_len(&scene.layout, 7), 0);
}

#[test]
fn a_dropped_value_is_not_in_the_row() {
    let scene = Scene::new();
    let mut record = Record::new(&scene.shape);
    let json = br#"{"name":"111222333","active":true}"#;
    let text = record.read(json, &Limits::default()).unwrap();
    let sensitive = Sensitive {
        dropped: &[0],
        ..Sensitive::default()
    };
    let row = Draft::default().row(&scene.layout, record.reading(text), &sensitive, "p", 0);
    assert_eq!(row.value(0), Value::Missing);
    assert_eq!(row.value(1), Value::Boolean(true));
    assert_eq!(row.text_len(), 1);
    assert!(!format!("{row:?}").contains("111222333"));
}

#[test]
fn rows_without_values_say_why() {
    for (id, offset) in [("p", 0), ("é", 1), (&*"x".repeat(3_000), i64::MAX)] {
        let (erased, unreadable) = (Row::erased(id, offset), Row::unreadable(id, offset));
        assert_eq!(erased.known(), Known::Erased);
        assert_eq!(unreadable.known(), Known::Unreadable);
        for row in [erased, unreadable] {
            assert_eq!((row.patron_id(), row.offset()), (id, offset));
            assert_eq!(row.value(0), Value::Missing);
            assert_eq!(row.value(5), Value::Missing);
        }
    }
}

/// What a step of the property sets a patron to.
#[derive(Clone, Debug)]
enum Set {
    Name(String),
    Erased,
    Unreadable,
}

#[derive(Clone, Debug)]
enum Step {
    Put(i32, u8, Set, i64),
    Restore(i32, u8, Set, i64),
    Merge,
    Abandon,
    Drop(i32),
    Retain(BTreeSet<i32>),
}

type Partition = i32;
const PARTITIONS: std::ops::Range<Partition> = 0..3;

fn any_set() -> impl Strategy<Value = Set> {
    prop_oneof![
        4 => "[a-zé]{1,9}".prop_map(Set::Name),
        1 => (2_000usize..2_100).prop_map(|length| Set::Name("n".repeat(length))),
        1 => Just(Set::Erased),
        1 => Just(Set::Unreadable),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let place = || (PARTITIONS, 0u8..12, any_set(), 0i64..40);
    prop_oneof![
        12 => place().prop_map(|(p, id, set, at)| Step::Put(p, id, set, at)),
        6 => place().prop_map(|(p, id, set, at)| Step::Restore(p, id, set, at)),
        2 => Just(Step::Merge),
        2 => Just(Step::Abandon),
        1 => PARTITIONS.prop_map(Step::Drop),
        1 => prop::collection::btree_set(PARTITIONS, 0..3).prop_map(Step::Retain),
    ]
}

/// What is known, as two plain maps: before the batch, and in it.
#[derive(Clone, Default)]
struct Model {
    settled: BTreeMap<(Partition, String), Row>,
    seen: BTreeMap<(Partition, String), Row>,
}

impl Model {
    fn put(&mut self, partition: Partition, row: Row) {
        let key = (partition, row.patron_id().to_owned());
        let newer = self
            .seen
            .get(&key)
            .is_some_and(|known| known.offset() > row.offset());
        if !newer {
            self.seen.insert(key, row);
        }
    }

    fn retain(&mut self, kept: impl Fn(Partition) -> bool) {
        self.settled.retain(|(partition, _), _| kept(*partition));
        self.seen.retain(|(partition, _), _| kept(*partition));
    }
}

fn id_of(id: u8) -> String {
    // Some are longer than others, and none is a prefix of no other.
    "p".repeat(usize::from(id) + 1)
}

fn row_of(scene: &Scene, id: u8, set: &Set, offset: i64) -> Row {
    match set {
        Set::Name(name) => scene.row(&format!(r#"{{"name":{}}}"#, text(name)), &id_of(id), offset),
        Set::Erased => Row::erased(&id_of(id), offset),
        Set::Unreadable => Row::unreadable(&id_of(id), offset),
    }
}

fn apply(scene: &Scene, table: &mut Table, model: &mut Model, step: &Step) {
    match step {
        Step::Put(partition, id, set, offset) => {
            let row = row_of(scene, *id, set, *offset);
            table.put(*partition, row.clone());
            model.put(*partition, row);
        }
        Step::Restore(partition, id, set, offset) => {
            // A partition is rebuilt when no batch is open.
            table.merge();
            model.settled = model.seen.clone();
            let row = row_of(scene, *id, set, *offset);
            table.restore(*partition, row.clone());
            let key = (*partition, id_of(*id));
            model.settled.insert(key.clone(), row.clone());
            model.seen.insert(key, row);
        }
        Step::Merge => {
            table.merge();
            model.settled = model.seen.clone();
        }
        Step::Abandon => {
            table.abandon();
            model.seen = model.settled.clone();
        }
        Step::Drop(partition) => {
            table.drop_partition(*partition);
            model.retain(|known| known != *partition);
        }
        Step::Retain(kept) => {
            table.retain(|partition| kept.contains(&partition));
            model.retain(|partition| kept.contains(&partition));
        }
    }
}

fn agree(table: &Table, model: &Model) {
    assert_eq!(table.len(), model.seen.len());
    assert_eq!(table.is_empty(), model.seen.is_empty());
    for partition in PARTITIONS {
        for id in 0..13 {
            let id = id_of(id);
            let want = model.seen.get(&(partition, id.clone())).map(Row::known);
            assert_eq!(table.find(partition, &id), want);
        }
    }
}

proptest! {
    #[test]
    fn the_table_does_as_a_plain_map_does(steps in prop::collection::vec(any_step(), 0..80)) {
        let scene = Scene::new();
        let (mut table, mut model) = (Table::default(), Model::default());
        for step in &steps {
            apply(&scene, &mut table, &mut model, step);
            agree(&table, &model);
        }
    }

    #[test]
    fn a_batch_that_is_abandoned_leaves_nothing(
        before in prop::collection::vec(any_step(), 0..40),
        batch in prop::collection::vec((PARTITIONS, 0u8..12, any_set(), 0i64..40), 0..40),
    ) {
        let scene = Scene::new();
        let (mut table, mut model) = (Table::default(), Model::default());
        for step in before.iter().chain([&Step::Merge]) {
            apply(&scene, &mut table, &mut model, step);
        }
        for (partition, id, set, offset) in &batch {
            table.put(*partition, row_of(&scene, *id, set, *offset));
        }
        table.abandon();
        agree(&table, &model);
    }

    #[test]
    fn any_texts_come_back(name in "\\PC{0,40}", names in prop::collection::vec("\\PC{1,9}", 0..9)) {
        let scene = Scene::new();
        let json = serde_json::json!({ "name": name, "names": names }).to_string();
        let row = scene.row(&json, "p", 3);
        assert_eq!(row.value(0).as_text().unwrap_or_default(), name);
        let found = scene.elements(&row, &[scene.names]);
        let texts: Vec<&str> = found.into_iter().filter_map(Value::as_text).collect();
        assert_eq!(texts, names);
    }
}
