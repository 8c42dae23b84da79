//! The table against a plain map, and rows against the records they are of.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    PatronRow, PatronRowLayout, PatronRowWriter, PatronStatus, PatronTable, SensitiveValues,
};
use crate::engine::memory::transactional::Transactional;
use crate::engine::record::shape::{RecordShape, ValueLocation};
use crate::engine::record::value::FieldValue;
use crate::engine::record::{Record, RecordLimits};
use crate::policy::catalogue::FieldType;

/// A shape with two single values and two lists, all of them kept.
struct TableFixture {
    shape: RecordShape,
    layout: PatronRowLayout,
    names: ValueLocation,
    phones: ValueLocation,
    kinds: ValueLocation,
}

impl TableFixture {
    fn new() -> TableFixture {
        let mut shape = RecordShape::default();
        let mut want = |path, kind| shape.add_path(path, kind).unwrap();
        let places = [
            want("name", FieldType::Text(None)),
            want("active", FieldType::Boolean),
            want("names[]", FieldType::Text(None)),
            want("phones[].number", FieldType::TextOrNumber),
            want("phones[].kind", FieldType::Text(None)),
        ];
        let mut layout = PatronRowLayout::default();
        let kept = places.map(|place| layout.keep_value(place, shape.list_strides()));
        layout.set_strides(shape.list_strides());
        TableFixture { shape, layout, names: kept[2], phones: kept[3], kinds: kept[4] }
    }

    fn row(&self, json: &str, patron_id: &str, offset: i64) -> PatronRow {
        let mut record = Record::new(&self.shape);
        let text = record.read(json.as_bytes(), &RecordLimits::default()).unwrap();
        let reading = record.view(text);
        PatronRowWriter::default().build_row(
            &self.layout,
            reading,
            &SensitiveValues::default(),
            patron_id,
            offset,
        )
    }

    /// All values of a list's places, element by element.
    fn elements<'a>(&self, row: &'a PatronRow, places: &[ValueLocation]) -> Vec<FieldValue<'a>> {
        let mut found = Vec::new();
        let Some(ValueLocation::Element { list, .. }) = places.first() else {
            panic!("not in a list");
        };
        for index in 0..row.list_len(&self.layout, *list) {
            for place in places {
                let ValueLocation::Element { list, slot } = *place else {
                    panic!("not in a list");
                };
                found.push(row.element(&self.layout, list, index, slot));
            }
        }
        found
    }
}

fn plain_text(text: &str) -> FieldValue<'_> {
    FieldValue::Text { text, is_plain: true }
}

fn json_string(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[track_caller]
fn check_row(
    json: &str,
    name: FieldValue<'_>,
    active: FieldValue<'_>,
    names: &[FieldValue<'_>],
    phones: &[FieldValue<'_>],
) {
    let scene = TableFixture::new();
    let row = scene.row(json, "NL-1:7", 9);
    assert_eq!(row.status(), PatronStatus::Known(&row));
    assert_eq!((row.patron_id(), row.offset()), ("NL-1:7", 9));
    assert_eq!((row.value(0), row.value(1)), (name, active));
    assert_eq!(scene.elements(&row, &[scene.names]), names);
    assert_eq!(scene.elements(&row, &[scene.phones, scene.kinds]), phones);
}

#[test]
fn patron_row_returns_the_values_of_its_record() {
    use FieldValue::{Boolean, Malformed, Missing, Number};
    check_row("{}", Missing, Missing, &[], &[]);
    check_row(r#"{"name":"Ann","active":true}"#, plain_text("Ann"), Boolean(true), &[], &[]);
    check_row(
        r#"{"name":"Zo\u00eb","active":0,"names":["é","","\"x"]}"#,
        FieldValue::Text { text: "Zoë", is_plain: false },
        Malformed,
        &[plain_text("é"), FieldValue::Text { text: "\"x", is_plain: false }],
        &[],
    );
    check_row(
        r#"{"phones":[{"number":12.50},{"kind":"home","number":"06"},{}],"active":false}"#,
        Missing,
        Boolean(false),
        &[],
        &[Number("12.50"), Missing, plain_text("06"), plain_text("home")],
    );
}

#[test]
fn patron_row_holds_texts_and_lists_of_any_length() {
    for length in [2_035, 2_036, 2_041, 2_042, 2_043, 20_000, 300_000] {
        let name = "n".repeat(length);
        check_row(
            &format!(r#"{{"name":"{name}","names":["a","b"]}}"#),
            plain_text(&name),
            FieldValue::Missing,
            &[plain_text("a"), plain_text("b")],
            &[],
        );
    }
    for count in [2_046, 2_047, 2_048, 8_200, 50_000] {
        let names = vec!["1"; count];
        check_row(
            &format!(r#"{{"names":{names:?},"phones":[{{"number":1}}]}}"#),
            FieldValue::Missing,
            FieldValue::Missing,
            &vec![plain_text("1"); count],
            &[FieldValue::Number("1"), FieldValue::Missing],
        );
    }
}

#[test]
fn patron_row_malformed_list_has_no_elements() {
    let scene = TableFixture::new();
    let row = scene.row(r#"{"name":"Ann","names":"x","phones":[{"number":1}]}"#, "p", 0);
    let (ValueLocation::Element { list: names, .. }, ValueLocation::Element { list: phones, .. }) =
        (scene.names, scene.phones)
    else {
        panic!("not lists");
    };
    assert!(row.is_list_malformed(&scene.layout, names));
    assert_eq!(row.list_len(&scene.layout, names), 0);
    assert!(!row.is_list_malformed(&scene.layout, phones));
    assert_eq!(row.list_len(&scene.layout, phones), 1);
    assert_eq!(row.list_len(&scene.layout, 7), 0);
}

#[test]
fn patron_row_leaves_out_dropped_values() {
    let scene = TableFixture::new();
    let mut record = Record::new(&scene.shape);
    let json = br#"{"name":"111222333","active":true}"#;
    let text = record.read(json, &RecordLimits::default()).unwrap();
    let sensitive = SensitiveValues { dropped_slots: &[0], ..SensitiveValues::default() };
    let row =
        PatronRowWriter::default().build_row(&scene.layout, record.view(text), &sensitive, "p", 0);
    assert_eq!(row.value(0), FieldValue::Missing);
    assert_eq!(row.value(1), FieldValue::Boolean(true));
    assert_eq!(row.content_len(), 1);
    assert!(!format!("{row:?}").contains("111222333"));
}

#[test]
fn patron_row_without_values_tells_erased_from_unreadable() {
    for (id, offset) in [("p", 0), ("é", 1), (&*"x".repeat(3_000), i64::MAX)] {
        let (erased, unreadable) =
            (PatronRow::erased(id, offset), PatronRow::unreadable(id, offset));
        assert_eq!(erased.status(), PatronStatus::Erased);
        assert_eq!(unreadable.status(), PatronStatus::Unreadable);
        for row in [erased, unreadable] {
            assert_eq!((row.patron_id(), row.offset()), (id, offset));
            assert_eq!(row.value(0), FieldValue::Missing);
            assert_eq!(row.value(5), FieldValue::Missing);
        }
    }
}

/// What a step of the property sets a patron to.
#[derive(Clone, Debug)]
enum PatronChange {
    Name(String),
    Erased,
    Unreadable,
}

#[derive(Clone, Debug)]
enum TableStep {
    Put(i32, u8, PatronChange, i64),
    Restore(i32, u8, PatronChange, i64),
    Commit,
    Rollback,
    DropPartition(i32),
    RetainPartitions(BTreeSet<i32>),
}

type PartitionNumber = i32;
const PARTITIONS: std::ops::Range<PartitionNumber> = 0..3;

fn any_patron_change() -> impl Strategy<Value = PatronChange> {
    prop_oneof![
        4 => "[a-zé]{1,9}".prop_map(PatronChange::Name),
        1 => (2_000usize..2_100).prop_map(|length| PatronChange::Name("n".repeat(length))),
        1 => Just(PatronChange::Erased),
        1 => Just(PatronChange::Unreadable),
    ]
}

fn any_step() -> impl Strategy<Value = TableStep> {
    let place = || (PARTITIONS, 0u8..12, any_patron_change(), 0i64..40);
    prop_oneof![
        12 => place().prop_map(|(p, id, set, at)| TableStep::Put(p, id, set, at)),
        6 => place().prop_map(|(p, id, set, at)| TableStep::Restore(p, id, set, at)),
        2 => Just(TableStep::Commit),
        2 => Just(TableStep::Rollback),
        1 => PARTITIONS.prop_map(TableStep::DropPartition),
        1 => prop::collection::btree_set(PARTITIONS, 0..3).prop_map(TableStep::RetainPartitions),
    ]
}

/// What is known, as two plain maps: before the batch, and in it.
#[derive(Clone, Default)]
struct TableModel {
    committed: BTreeMap<(PartitionNumber, String), PatronRow>,
    current: BTreeMap<(PartitionNumber, String), PatronRow>,
}

impl TableModel {
    fn put(&mut self, partition: PartitionNumber, row: PatronRow) {
        let key = (partition, row.patron_id().to_owned());
        let newer = self.current.get(&key).is_some_and(|known| known.offset() > row.offset());
        if !newer {
            self.current.insert(key, row);
        }
    }

    fn retain_partitions(&mut self, kept: impl Fn(PartitionNumber) -> bool) {
        self.committed.retain(|(partition, _), _| kept(*partition));
        self.current.retain(|(partition, _), _| kept(*partition));
    }
}

fn patron_id_of(id: u8) -> String {
    // Some are longer than others, and none is a prefix of no other.
    "p".repeat(usize::from(id) + 1)
}

fn patron_row_of(scene: &TableFixture, id: u8, set: &PatronChange, offset: i64) -> PatronRow {
    match set {
        PatronChange::Name(name) => {
            scene.row(&format!(r#"{{"name":{}}}"#, json_string(name)), &patron_id_of(id), offset)
        }
        PatronChange::Erased => PatronRow::erased(&patron_id_of(id), offset),
        PatronChange::Unreadable => PatronRow::unreadable(&patron_id_of(id), offset),
    }
}

fn apply_step(
    scene: &TableFixture,
    table: &mut PatronTable,
    model: &mut TableModel,
    step: &TableStep,
) {
    match step {
        TableStep::Put(partition, id, set, offset) => {
            let row = patron_row_of(scene, *id, set, *offset);
            table.put(*partition, row.clone());
            model.put(*partition, row);
        }
        TableStep::Restore(partition, id, set, offset) => {
            // A partition is rebuilt when no batch is open.
            table.commit();
            model.committed = model.current.clone();
            let row = patron_row_of(scene, *id, set, *offset);
            table.restore(*partition, row.clone());
            let key = (*partition, patron_id_of(*id));
            model.committed.insert(key.clone(), row.clone());
            model.current.insert(key, row);
        }
        TableStep::Commit => {
            table.commit();
            model.committed = model.current.clone();
        }
        TableStep::Rollback => {
            table.rollback();
            model.current = model.committed.clone();
        }
        TableStep::DropPartition(partition) => {
            table.drop_partition(*partition);
            model.retain_partitions(|known| known != *partition);
        }
        TableStep::RetainPartitions(kept) => {
            table.retain_partitions(&|partition| kept.contains(&partition));
            model.retain_partitions(|partition| kept.contains(&partition));
        }
    }
}

fn assert_equals_model(table: &PatronTable, model: &TableModel) {
    assert_eq!(table.len(), model.current.len());
    assert_eq!(table.is_empty(), model.current.is_empty());
    for partition in PARTITIONS {
        for id in 0..13 {
            let id = patron_id_of(id);
            let want = model.current.get(&(partition, id.clone())).map(PatronRow::status);
            assert_eq!(table.find(partition, &id), want);
        }
    }
}

/// Once no batch is open, no id of an erased patron is in the table.
fn assert_has_no_erased_id(table: &PatronTable) {
    let rows = PARTITIONS.flat_map(|partition| table.rows(partition));
    for row in rows {
        let is_erased = row.status() == PatronStatus::Erased;
        assert_eq!((row.patron_id().is_empty(), row.hashed_id().is_some()), (is_erased, is_erased));
    }
}

proptest! {
    #[test]
    fn patron_table_equals_a_plain_map(steps in prop::collection::vec(any_step(), 0..80)) {
        let scene = TableFixture::new();
        let (mut table, mut model) = (PatronTable::default(), TableModel::default());
        for step in &steps {
            apply_step(&scene, &mut table, &mut model, step);
            assert_equals_model(&table, &model);
            if matches!(step, TableStep::Commit | TableStep::Rollback | TableStep::Restore(..)) {
                assert_has_no_erased_id(&table);
            }
        }
    }

    #[test]
    fn patron_table_rollback_leaves_no_trace(
        before in prop::collection::vec(any_step(), 0..40),
        batch in prop::collection::vec((PARTITIONS, 0u8..12, any_patron_change(), 0i64..40), 0..40),
    ) {
        let scene = TableFixture::new();
        let (mut table, mut model) = (PatronTable::default(), TableModel::default());
        for step in before.iter().chain([&TableStep::Commit]) {
            apply_step(&scene, &mut table, &mut model, step);
        }
        for (partition, id, set, offset) in &batch {
            table.put(*partition, patron_row_of(&scene, *id, set, *offset));
        }
        table.rollback();
        assert_equals_model(&table, &model);
    }

    #[test]
    fn patron_row_returns_any_text(name in "\\PC{0,40}", names in prop::collection::vec("\\PC{1,9}", 0..9)) {
        let scene = TableFixture::new();
        let json = serde_json::json!({ "name": name, "names": names }).to_string();
        let row = scene.row(&json, "p", 3);
        assert_eq!(row.value(0).as_text().unwrap_or_default(), name);
        let found = scene.elements(&row, &[scene.names]);
        let texts: Vec<&str> = found.into_iter().filter_map(FieldValue::as_text).collect();
        assert_eq!(texts, names);
    }
}
