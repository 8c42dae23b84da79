//! What the Apache project's library writes is read as it was meant, and no bytes are read else.

use apache_avro::types::Value as AvroValue;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Decimal, Schema};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::decode;
use super::schema::AvroSchema;
use crate::intake::refusal::Refusal;
use crate::intake::value::{JsonValue, ValueLimits};

const LIMITS: ValueLimits = ValueLimits { bytes: 1 << 20, keys: 10_000 };

/// A value, of which schema, bytes and tree are made.
#[derive(Clone, Debug)]
enum Shape {
    Null,
    Boolean(bool),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    Bytes(Vec<u8>),
    Text(String),
    Fixed(Vec<u8>),
    FixedUuid([u8; 16]),
    Symbol(usize),
    Date(i32),
    TimestampMillis(i64),
    TimestampMicros(i64),
    Decimal(i64),
    /// So many times the same.
    List(Box<Shape>, usize),
    Map(Box<Shape>, Vec<String>),
    Optional(Box<Shape>, bool),
    Record(Vec<Shape>),
}

struct Built {
    schema: Value,
    value: AvroValue,
    tree: JsonValue<'static>,
}

fn number(number: impl ToString) -> JsonValue<'static> {
    JsonValue::Number(number.to_string().into())
}

fn text(text: impl Into<String>) -> JsonValue<'static> {
    JsonValue::Text(text.into().into())
}

fn base64_text(bytes: &[u8]) -> JsonValue<'static> {
    text(STANDARD.encode(bytes))
}

/// As Jackson writes what is no number in JSON.
fn float(value: f64, digits: String) -> JsonValue<'static> {
    match value {
        value if value.is_nan() => text("NaN"),
        f64::INFINITY => text("Infinity"),
        f64::NEG_INFINITY => text("-Infinity"),
        _ => number(digits),
    }
}

/// The fewest bytes of a number in two's complement, as Java writes them.
fn fewest_bytes(number: i64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let is_needed = |at: &usize| {
        let sign = if number < 0 { 0xff } else { 0 };
        bytes[*at] != sign || (bytes[at + 1] ^ sign) & 0x80 != 0
    };
    let start = (0..7).find(is_needed).unwrap_or(7);
    bytes[start..].to_vec()
}

/// Counts the names that were given.
#[derive(Default)]
struct Builder(usize);

impl Builder {
    fn name(&mut self) -> String {
        self.0 += 1;
        format!("N{}", self.0)
    }

    fn scalar(&mut self, shape: &Shape) -> Built {
        let (schema, value, tree) = match shape {
            Shape::Boolean(value) => {
                (json!("boolean"), AvroValue::Boolean(*value), JsonValue::Boolean(*value))
            }
            Shape::Int(value) => (json!("int"), AvroValue::Int(*value), number(value)),
            Shape::Long(value) => {
                let schema =
                    json!({ "type": "long", "connect.name": "io.debezium.time.Timestamp" });
                (schema, AvroValue::Long(*value), number(value))
            }
            Shape::Float(value) => {
                let tree = float(f64::from(*value), format!("{value:?}"));
                (json!("float"), AvroValue::Float(*value), tree)
            }
            Shape::Double(value) => {
                (json!("double"), AvroValue::Double(*value), float(*value, format!("{value:?}")))
            }
            Shape::Bytes(value) => {
                (json!("bytes"), AvroValue::Bytes(value.clone()), base64_text(value))
            }
            Shape::Text(value) => {
                (json!("string"), AvroValue::String(value.clone()), text(value.clone()))
            }
            Shape::Fixed(value) => {
                let schema = json!({ "type": "fixed", "name": self.name(), "size": value.len() });
                (schema, AvroValue::Fixed(value.len(), value.clone()), base64_text(value))
            }
            Shape::FixedUuid(value) => {
                let schema = json!({
                    "type": "fixed", "name": self.name(), "size": 16, "logicalType": "uuid",
                });
                let uuid = apache_avro::Uuid::from_bytes(*value);
                (schema, AvroValue::Uuid(uuid), text(uuid.to_string()))
            }
            Shape::Symbol(at) => {
                let symbols = ["OPEN", "CLOSED", "LOST"];
                let schema = json!({ "type": "enum", "name": self.name(), "symbols": symbols });
                let index = u32::try_from(*at).unwrap();
                (schema, AvroValue::Enum(index, symbols[*at].to_owned()), text(symbols[*at]))
            }
            Shape::Date(value) => {
                let schema = json!({ "type": "int", "logicalType": "date" });
                (schema, AvroValue::Date(*value), number(value))
            }
            Shape::TimestampMillis(value) => {
                let schema = json!({ "type": "long", "logicalType": "timestamp-millis" });
                (schema, AvroValue::TimestampMillis(*value), number(value))
            }
            Shape::TimestampMicros(value) => {
                let schema = json!({ "type": "long", "logicalType": "timestamp-micros" });
                (schema, AvroValue::TimestampMicros(*value), number(value))
            }
            Shape::Decimal(value) => {
                let bytes = fewest_bytes(*value);
                let schema = json!({
                    "type": "bytes", "logicalType": "decimal", "precision": 28, "scale": 6,
                    "connect.name": "org.apache.kafka.connect.data.Decimal",
                });
                (schema, AvroValue::Decimal(Decimal::from(&bytes)), base64_text(&bytes))
            }
            _ => (json!("null"), AvroValue::Null, JsonValue::Null),
        };
        Built { schema, value, tree }
    }

    fn build(&mut self, shape: &Shape) -> Built {
        match shape {
            Shape::List(item, count) => {
                let item = self.build(item);
                let value = AvroValue::Array(vec![item.value; *count]);
                let schema = json!({ "type": "array", "items": item.schema });
                Built { schema, value, tree: JsonValue::List(vec![item.tree; *count]) }
            }
            Shape::Map(item, names) => {
                let item = self.build(item);
                let values = names.iter().map(|name| (name.clone(), item.value.clone()));
                let value = AvroValue::Map(values.collect());
                let members = names.iter().map(|name| (name.clone().into(), item.tree.clone()));
                let tree = JsonValue::Object(members.collect());
                Built { schema: json!({ "type": "map", "values": item.schema }), value, tree }
            }
            Shape::Optional(inner, is_there) => {
                let inner = self.build(inner);
                if inner.schema == "null" || inner.schema.is_array() {
                    return inner;
                }
                let schema = json!(["null", inner.schema]);
                let (index, value, tree) = match is_there {
                    true => (1, inner.value, inner.tree),
                    false => (0, AvroValue::Null, JsonValue::Null),
                };
                Built { schema, value: AvroValue::Union(index, Box::new(value)), tree }
            }
            Shape::Record(fields) => {
                let name = self.name();
                let built: Vec<(String, Built)> =
                    fields.iter().map(|field| (self.name(), self.build(field))).collect();
                let fields: Vec<Value> = built
                    .iter()
                    .map(|(name, field)| json!({ "name": name, "type": field.schema }))
                    .collect();
                let values = built.iter().map(|(name, field)| (name.clone(), field.value.clone()));
                let value = AvroValue::Record(values.collect());
                let members =
                    built.iter().map(|(name, field)| (name.clone().into(), field.tree.clone()));
                let tree = JsonValue::Object(members.collect());
                let schema = json!({
                    "type": "record", "name": name, "namespace": "koha.issues", "fields": fields,
                });
                Built { schema, value, tree }
            }
            scalar => self.scalar(scalar),
        }
    }
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let scalar = prop_oneof![
        Just(Shape::Null),
        any::<bool>().prop_map(Shape::Boolean),
        any::<i32>().prop_map(Shape::Int),
        any::<i64>().prop_map(Shape::Long),
        any::<f32>().prop_map(Shape::Float),
        prop_oneof![any::<f64>(), Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)]
            .prop_map(Shape::Double),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Shape::Bytes),
        "\\PC{0,12}".prop_map(Shape::Text),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Shape::Fixed),
        any::<[u8; 16]>().prop_map(Shape::FixedUuid),
        (0..3_usize).prop_map(Shape::Symbol),
        any::<i32>().prop_map(Shape::Date),
        any::<i64>().prop_map(Shape::TimestampMillis),
        any::<i64>().prop_map(Shape::TimestampMicros),
        prop_oneof![any::<i64>(), -300..300_i64].prop_map(Shape::Decimal),
    ];
    scalar.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            (inner.clone(), 0..4_usize).prop_map(|(item, count)| Shape::List(item.into(), count)),
            // More than one, in an order that only the library knows, would have to be sorted.
            (inner.clone(), prop::collection::vec("\\PC{1,6}", 0..2))
                .prop_map(|(item, names)| Shape::Map(item.into(), names)),
            (inner.clone(), any::<bool>())
                .prop_map(|(one, there)| Shape::Optional(one.into(), there)),
            prop::collection::vec(inner, 0..5).prop_map(Shape::Record),
        ]
    })
}

fn encode(schema: &Schema, value: AvroValue) -> Vec<u8> {
    GenericDatumWriter::builder(schema).build().unwrap().write_value_to_vec(value).unwrap()
}

/// Schema, bytes and tree of a shape.
fn write(shape: &Shape) -> (String, Vec<u8>, JsonValue<'static>) {
    let built = Builder::default().build(shape);
    let schema = built.schema.to_string();
    let theirs = Schema::parse_str(&schema).unwrap();
    (schema, encode(&theirs, built.value), built.tree)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn avro_values_of_the_apache_library_are_read_as_they_were_meant(shape in any_shape()) {
        let (schema, bytes, tree) = write(&shape);
        let schema = AvroSchema::parse(&schema).unwrap();
        prop_assert_eq!(decode(&schema, &bytes, LIMITS), Ok(tree));
    }

    #[test]
    fn avro_values_with_a_byte_more_or_less_are_refused(
        shape in any_shape(),
        cut in any::<prop::sample::Index>(),
        more in any::<u8>(),
    ) {
        let (schema, mut bytes, _) = write(&shape);
        let schema = AvroSchema::parse(&schema).unwrap();
        if !bytes.is_empty() {
            let start = &bytes[..cut.index(bytes.len())];
            prop_assert_eq!(decode(&schema, start, LIMITS), Err(Refusal::NotAvro));
        }
        bytes.push(more);
        prop_assert_eq!(decode(&schema, &bytes, LIMITS), Err(Refusal::NotAvro));
    }

    #[test]
    fn any_bytes_are_a_value_or_refused(
        shape in any_shape(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        for schema in [write(&shape).0, LINKED_LIST.to_owned(), NULLS.to_owned()] {
            let schema = AvroSchema::parse(&schema).unwrap();
            let _ = decode(&schema, &bytes, LIMITS);
        }
    }

    #[test]
    fn any_text_is_a_schema_or_refused(text in "\\PC{0,60}|[\\[\\]{}\":,a-z]{0,60}") {
        let _ = AvroSchema::parse(&text);
    }
}

const LINKED_LIST: &str =
    r#"{"type":"record","name":"Row","fields":[{"name":"next","type":["null","Row"]}]}"#;
const NULLS: &str = r#"{"type":"array","items":"null"}"#;

#[track_caller]
fn check_decoded(schema: &str, bytes: &[u8], want: Result<JsonValue<'_>, Refusal>) {
    let schema = AvroSchema::parse(schema).unwrap();
    assert_eq!(decode(&schema, bytes, LIMITS), want);
}

#[test]
fn avro_numbers_are_written_as_json_has_them() {
    check_decoded("\"double\"", &2.0_f64.to_le_bytes(), Ok(JsonValue::Number("2.0".into())));
    check_decoded("\"double\"", &17.95_f64.to_le_bytes(), Ok(JsonValue::Number("17.95".into())));
    check_decoded("\"float\"", &0.1_f32.to_le_bytes(), Ok(JsonValue::Number("0.1".into())));
    check_decoded("\"double\"", &1e-9_f64.to_le_bytes(), Ok(JsonValue::Number("1e-9".into())));
    check_decoded("\"long\"", &[1], Ok(JsonValue::Number("-1".into())));
    let least = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    check_decoded("\"long\"", &least, Ok(JsonValue::Number(i64::MIN.to_string().into())));
    check_decoded("\"int\"", &least, Err(Refusal::NotAvro));
    let too_long = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
    check_decoded("\"long\"", &too_long, Err(Refusal::NotAvro));
    check_decoded("\"long\"", &[0x80; 11], Err(Refusal::NotAvro));
    check_decoded("\"boolean\"", &[2], Err(Refusal::NotAvro));
    check_decoded("\"string\"", &[2, 0xff], Err(Refusal::NotAvro));
    check_decoded("\"bytes\"", &least, Err(Refusal::NotAvro));
}

#[test]
fn avro_blocks_with_their_size_are_read() {
    let two = JsonValue::List(vec![JsonValue::Number("1".into()), JsonValue::Number("2".into())]);
    let list = r#"{"type":"array","items":"int"}"#;
    check_decoded(list, &[4, 2, 4, 0], Ok(two.clone()));
    check_decoded(list, &[3, 4, 2, 4, 0], Ok(two.clone()));
    check_decoded(list, &[2, 2, 1, 2, 4, 0], Ok(two));
    check_decoded(list, &[3, 1, 2, 4, 0], Err(Refusal::NotAvro));
    let map = r#"{"type":"map","values":"int"}"#;
    check_decoded(map, &[4, 2, b'a', 2, 2, b'a', 2, 0], Err(Refusal::DuplicateMember));
}

/// Neither a schema that contains itself nor lists of nothing take time or memory without bound.
#[test]
fn avro_depth_items_and_names_are_bounded() {
    let nested = |depth: usize| [vec![2; depth], vec![0]].concat();
    let schema = AvroSchema::parse(LINKED_LIST).unwrap();
    assert!(decode(&schema, &nested(63), LIMITS).is_ok());
    check_decoded(LINKED_LIST, &nested(64), Err(Refusal::TooLarge));
    check_decoded(LINKED_LIST, &nested(100_000), Err(Refusal::TooLarge));
    let endless = r#"{"type":"record","name":"Row","fields":[{"name":"row","type":"Row"}]}"#;
    check_decoded(endless, &[], Err(Refusal::TooLarge));
    // 2^31 nulls, in five bytes.
    let many = [0x80, 0x80, 0x80, 0x80, 0x10, 0];
    check_decoded(NULLS, &many, Err(Refusal::TooLarge));
    let empty = r#"{"type":"array","items":{"type":"record","name":"E","fields":[{"name":"a","type":"null"}]}}"#;
    check_decoded(empty, &many, Err(Refusal::TooLarge));
    check_decoded("\"bytes\"", &vec![0; LIMITS.bytes + 1], Err(Refusal::TooLarge));
}
