//! Messages as a connector with an Avro converter writes them: whatever the mapping, they give
//! what the same messages give as JSON.

use std::fs;

use apache_avro::Decimal;
use apache_avro::types::Value as AvroValue;
use serde_json::{Value, json};
use zeef::intake::{
    AvroSchema, Conversion, Intake, LookupTables, RawMessage, Refusal, RegisteredSchema, SchemaId,
    load_file,
};
use zeef_test_kit::schema_registry::{AvroMessage, frame};

use super::properties::corpora;
use super::{mapping_path, record_kinds};

/// A mapping, of which every value is framed as Avro.
pub(super) fn load_avro_mapping(name: &str) -> Intake {
    let text = fs::read_to_string(mapping_path(name)).unwrap();
    load_text(name, &format!("framing = \"avro\"\n{text}"))
}

fn load_text(name: &str, text: &str) -> Intake {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("{name}.toml"));
    fs::write(&path, text).unwrap();
    load_file(&path, &record_kinds()).unwrap()
}

/// Hands `avro` to `take` as a message of the topic.
fn with_message<T>(topic: &str, avro: &AvroMessage, take: impl FnOnce(&RawMessage<'_>) -> T) -> T {
    let schema = RegisteredSchema::Avro(AvroSchema::parse(&avro.schema).unwrap());
    let value = frame(7, &avro.bytes);
    take(&RawMessage { topic, value: Some(&value), schema: Some(&schema) })
}

#[test]
fn shipped_mappings_give_the_same_records_from_avro_as_from_json() {
    let names = ["koha-debezium", "folio", "folio-debezium", "rows"];
    let mut records = 0;
    for (corpus, name) in corpora().iter().zip(names) {
        let intake = load_avro_mapping(name);
        let mut lookups = intake.empty_lookups();
        let messages: Vec<(&str, AvroMessage)> = corpus
            .messages
            .iter()
            .map(|(topic, value)| (topic.as_str(), AvroMessage::from_json(value)))
            .collect();
        for (topic, avro) in &messages {
            with_message(topic, avro, |message| {
                intake.apply_to_lookups(message, &mut lookups).unwrap();
            });
        }
        assert_eq!(lookups.row_counts(), corpus.lookups.row_counts(), "{name}");
        for ((topic, avro), (_, value)) in messages.iter().zip(&corpus.messages) {
            let found = with_message(topic, avro, |message| intake.convert(message, &lookups));
            let json = value.to_string();
            let message = RawMessage { topic, value: Some(json.as_bytes()), schema: None };
            assert_eq!(found, corpus.intake.convert(&message, &corpus.lookups), "{name} {json}");
            assert!(!format!("{found:?}").contains("CANARY"), "{name} {json}");
            records += found.records.len();
        }
    }
    assert!(records > 80, "{records}");
}

const DEBTS: &str = r#"name = "debts"
envelope = "debezium"
zone = "Europe/Amsterdam"
library = { const = "NL-DuiBIB" }
patron = { text = "NL-DuiBIB:{borrowernumber}" }
[[record]]
kind = "debt"
topic = "debts"
delete = "gone"
only = [{ from = "debit_type", is = ["OVERDUE"] }]
[record.fields]
debt_id = { text = "koha-{id}" }
kind = { const = "late" }
amount_cents = { from = "amount", as = "cents_of_base64", scale = 6 }
currency = { const = "EUR" }
status = { from = "is_closed", map = { "0" = "open", "1" = "settled" } }
reminded_at = { from = "reminded", as = "instant_of_wall_ms" }
invoiced_at = { from = "invoiced", as = "instant_of_wall_us" }
referred_at = { from = "referred", as = "instant" }
"items[].due_on" = { from = "due", as = "date_of_days" }
"items[].title" = "title"
"items[].amount_cents" = { from = "fee", as = "cents" }
"#;

/// The value schema that Debezium's connector for MariaDB has with Confluent's `AvroConverter`:
/// semantic types by name, and the row defined once.
fn debezium_schema() -> Value {
    let optional = |schema: Value| json!(["null", schema]);
    let named = |base: &str, name: &str| json!({ "type": base, "connect.version": 1, "connect.name": name });
    let field = |name: &str, schema: Value| json!({ "name": name, "type": schema });
    let decimal = json!({
        "type": "bytes", "scale": 6, "precision": 28, "connect.version": 1,
        "connect.parameters": { "scale": "6", "connect.decimal.precision": "28" },
        "connect.name": "org.apache.kafka.connect.data.Decimal", "logicalType": "decimal",
    });
    let row = json!({
        "type": "record", "name": "Value", "connect.name": "koha.koha_library.debts.Value",
        "fields": [
            field("id", json!("int")),
            field("borrowernumber", optional(json!("int"))),
            field("amount", optional(decimal)),
            field("debit_type", optional(json!({
                "type": "string", "connect.version": 1, "connect.name": "io.debezium.data.Enum",
                "connect.parameters": { "allowed": "OVERDUE,LOST" },
            }))),
            json!({
                "name": "is_closed", "default": 0,
                "type": { "type": "int", "connect.default": 0, "connect.type": "int16" },
            }),
            field("reminded", optional(named("long", "io.debezium.time.Timestamp"))),
            field("invoiced", optional(named("long", "io.debezium.time.MicroTimestamp"))),
            field("referred", optional(named("string", "io.debezium.time.ZonedTimestamp"))),
            field("due", optional(named("int", "io.debezium.time.Date"))),
            field("title", optional(json!("string"))),
            field("fee", optional(json!("double"))),
            field("opac_secret", optional(json!("bytes"))),
        ],
    });
    let source = json!({
        "type": "record", "name": "Source", "namespace": "io.debezium.connector.mariadb",
        "fields": [field("table", optional(json!("string")))],
    });
    json!({
        "type": "record", "name": "Envelope", "namespace": "koha.koha_library.debts",
        "connect.version": 2, "connect.name": "koha.koha_library.debts.Envelope",
        "fields": [
            json!({ "name": "before", "type": ["null", row], "default": null }),
            json!({ "name": "after", "type": ["null", "Value"], "default": null }),
            field("source", source),
            field("op", json!("string")),
            json!({ "name": "ts_ms", "type": ["null", "long"], "default": null }),
        ],
    })
}

fn some(value: AvroValue) -> AvroValue {
    AvroValue::Union(1, Box::new(value))
}

fn none() -> AvroValue {
    AvroValue::Union(0, Box::new(AvroValue::Null))
}

fn debezium_row() -> AvroValue {
    let members = [
        ("id", AvroValue::Int(41)),
        ("borrowernumber", some(AvroValue::Int(17))),
        // 2.5 with six digits behind the point.
        ("amount", some(AvroValue::Decimal(Decimal::from([0x26, 0x25, 0xa0])))),
        ("debit_type", some(AvroValue::String("OVERDUE".to_owned()))),
        ("is_closed", AvroValue::Int(0)),
        ("reminded", some(AvroValue::Long(1_795_518_312_000))),
        ("invoiced", some(AvroValue::Long(1_795_518_312_000_000))),
        ("referred", some(AvroValue::String("2026-11-24T10:05:12Z".to_owned()))),
        ("due", some(AvroValue::Int(20_780))),
        ("title", some(AvroValue::String("Wind over Wad".to_owned()))),
        ("fee", some(AvroValue::Double(2.5))),
        ("opac_secret", some(AvroValue::Bytes(b"CANARY".to_vec()))),
    ];
    AvroValue::Record(members.map(|(name, value)| (name.to_owned(), value)).into())
}

fn debezium_message(before: AvroValue, after: AvroValue, op: &str) -> AvroMessage {
    let source = AvroValue::Record(vec![(
        "table".to_owned(),
        some(AvroValue::String("accountlines".to_owned())),
    )]);
    let members = [
        ("before", before),
        ("after", after),
        ("source", source),
        ("op", AvroValue::String(op.to_owned())),
        ("ts_ms", none()),
    ];
    let value = AvroValue::Record(members.map(|(name, value)| (name.to_owned(), value)).into());
    AvroMessage::encode(&debezium_schema(), value)
}

fn convert_debt(intake: &Intake, avro: &AvroMessage) -> Conversion {
    with_message("debts", avro, |message| intake.convert(message, &intake.empty_lookups()))
}

#[test]
fn debezium_types_are_read_as_json_converter_writes_them() {
    let intake = load_text("debts", &format!("framing = \"avro\"\n{DEBTS}"));
    let as_json = load_text("debts", DEBTS);
    let row = json!({
        "id": 41, "borrowernumber": 17, "amount": "JiWg", "debit_type": "OVERDUE", "is_closed": 0,
        "reminded": 1_795_518_312_000_i64, "invoiced": 1_795_518_312_000_000_i64,
        "referred": "2026-11-24T10:05:12Z", "due": 20_780, "title": "Wind over Wad", "fee": 2.5,
        "opac_secret": "Q0FOQVJZ",
    });
    let cases = [
        (debezium_message(none(), some(debezium_row()), "c"), json!({ "after": row, "op": "c" })),
        (debezium_message(some(debezium_row()), none(), "d"), json!({ "before": row, "op": "d" })),
        (debezium_message(none(), some(debezium_row()), "u"), json!({ "after": row, "op": "u" })),
        (debezium_message(none(), none(), "t"), json!({ "op": "t" })),
        (debezium_message(none(), none(), "x"), json!({ "op": "x" })),
    ];
    for (avro, json) in cases {
        let json = json.to_string();
        let message = RawMessage { topic: "debts", value: Some(json.as_bytes()), schema: None };
        let want = as_json.convert(&message, &as_json.empty_lookups());
        assert_eq!(convert_debt(&intake, &avro), want, "{json}");
    }
    let found = convert_debt(&intake, &debezium_message(none(), some(debezium_row()), "c"));
    let value: Value = serde_json::from_slice(found.records[0].value.as_deref().unwrap()).unwrap();
    let want = json!({
        "debt_id": "koha-41", "patron_id": "NL-DuiBIB:17", "library": "NL-DuiBIB", "kind": "late",
        "amount_cents": 250, "currency": "EUR", "status": "open",
        "reminded_at": "2026-11-24T11:05:12+01:00", "invoiced_at": "2026-11-24T11:05:12+01:00",
        "referred_at": "2026-11-24T10:05:12Z",
        "items": [{ "due_on": "2026-11-23", "title": "Wind over Wad", "amount_cents": 250 }],
    });
    assert_eq!(value, want);
}

#[test]
fn bad_avro_is_refused_by_what_is_wrong_with_it() {
    let intake = load_text("debts", &format!("framing = \"avro\"\n{DEBTS}"));
    let avro = debezium_message(none(), some(debezium_row()), "c");
    let schema = RegisteredSchema::Avro(AvroSchema::parse(&avro.schema).unwrap());
    let framed = frame(7, &avro.bytes);
    let cut = framed.strip_suffix(&[0]).unwrap();
    let lookups: LookupTables = intake.empty_lookups();
    let refusal = |value: &[u8], schema: Option<&RegisteredSchema>| {
        let message = RawMessage { topic: "debts", value: Some(value), schema };
        let conversion = intake.convert(&message, &lookups);
        assert!(conversion.records.is_empty());
        conversion.refused[0].refusal
    };
    assert_eq!(refusal(cut, Some(&schema)), Refusal::NotAvro);
    assert_eq!(refusal(&framed, Some(&RegisteredSchema::Unknown)), Refusal::UnknownSchema);
    assert_eq!(refusal(&framed, Some(&RegisteredSchema::Unreadable)), Refusal::UnreadableSchema);
    assert_eq!(refusal(&framed, None), Refusal::UnknownSchema);
    assert_eq!(refusal(b"{\"op\":\"c\"}", None), Refusal::NotFramed);
    assert_eq!(refusal(&[0, 0, 0, 7], None), Refusal::NotFramed);
    assert_eq!(intake.schema_id(&framed), Some(SchemaId::Number(7)));
    assert_eq!(intake.schema_id(b"{}"), None);
    assert_eq!(load_text("debts", DEBTS).schema_id(&framed), None);
}
