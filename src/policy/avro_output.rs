//! A recipient's outputs in Avro: the schema that follows from its contract, and the bytes of an
//! output by it.
//!
//! Values are those of the JSON output: dates and instants stay texts, and what is missing there
//! is null here.

use std::fmt;

use serde_json::{Map, Number, Value, json};
use sha2::{Digest as _, Sha256};

use super::Policy;
use super::contract::{ContractField, FieldForm, OutputContract, ScalarForm, ScalarType};
use super::recipient::Recipient;

/// The schema of a recipient's outputs, and what writes them by it.
#[derive(Debug)]
pub struct AvroOutput {
    schema: String,
    layout_hash: u64,
    fields: Vec<AvroField>,
}

#[derive(Debug)]
struct AvroField {
    name: String,
    form: AvroForm,
    /// A union with null, which is its first branch.
    is_nullable: bool,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum AvroScalar {
    Text,
    Long,
    Double,
    Boolean,
}

#[derive(Debug)]
enum AvroForm {
    Scalar(AvroScalar),
    /// One of several.
    Union(Vec<AvroScalar>),
    Record(Vec<AvroField>),
    List(Box<AvroForm>),
}

/// An output has a value that its schema does not: the path of its field, and no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAvro(pub String);

impl fmt::Display for NotAvro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field `{}` has a value that its Avro schema does not", self.0)
    }
}

impl AvroOutput {
    /// Returns the schema of a recipient of `policy`, whatever its format.
    #[must_use]
    pub fn of_recipient(recipient: &Recipient, policy: &Policy) -> AvroOutput {
        let contract = OutputContract::of_recipient(recipient, policy);
        let name = format!("zeef.{}.output", recipient.name.replace('-', "_"));
        let mut schema = record_schema(&name, &contract.fields, true);
        schema["doc"] = Value::from(recipient.title.as_str());
        let layout = record_schema(&name, &contract.fields, false).to_string();
        let digest: [u8; 32] = Sha256::digest(layout.as_bytes()).into();
        let first = digest.first_chunk().copied().unwrap_or_default();
        AvroOutput {
            schema: schema.to_string(),
            layout_hash: u64::from_le_bytes(first),
            fields: contract.fields.iter().map(AvroField::of_contract).collect(),
        }
    }

    /// The schema, as a registry gets it.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// A hash of the schema without its texts for people: outputs by another one are others, even
    /// if they have the same bytes.
    #[must_use]
    pub fn layout_hash(&self) -> u64 {
        self.layout_hash
    }

    /// Appends an output, which is JSON, in Avro.
    ///
    /// # Errors
    ///
    /// It has a value that the schema does not, as a whole number of more than 64 bits.
    pub fn encode(&self, json: &[u8], out: &mut Vec<u8>) -> Result<(), NotAvro> {
        let output: Map<String, Value> =
            serde_json::from_slice(json).map_err(|_| NotAvro(String::new()))?;
        write_record(&self.fields, &output, out)
    }
}

impl AvroField {
    fn of_contract(field: &ContractField) -> AvroField {
        AvroField {
            name: field.name.clone(),
            form: AvroForm::of_contract(&field.form),
            is_nullable: !field.is_always_present,
        }
    }
}

impl AvroForm {
    fn of_contract(form: &FieldForm) -> AvroForm {
        match form {
            FieldForm::Scalar(scalar) => AvroForm::of_scalars(scalars_of(scalar)),
            FieldForm::OneOf(forms) => AvroForm::of_scalars(all_scalars(forms)),
            FieldForm::Object(fields) => {
                AvroForm::Record(fields.iter().map(AvroField::of_contract).collect())
            }
            FieldForm::List(element) => AvroForm::List(Box::new(AvroForm::of_contract(element))),
        }
    }

    fn of_scalars(scalars: Vec<AvroScalar>) -> AvroForm {
        match scalars.as_slice() {
            [one] => AvroForm::Scalar(*one),
            _ => AvroForm::Union(scalars),
        }
    }
}

impl AvroScalar {
    fn word(self) -> &'static str {
        match self {
            AvroScalar::Text => "string",
            AvroScalar::Long => "long",
            AvroScalar::Double => "double",
            AvroScalar::Boolean => "boolean",
        }
    }

    /// Whether a value is written so without a change.
    fn takes(self, value: &Value) -> bool {
        match (self, value) {
            (AvroScalar::Text, Value::String(_)) | (AvroScalar::Boolean, Value::Bool(_)) => true,
            (AvroScalar::Long, Value::Number(number)) => whole_number(number).is_some(),
            (AvroScalar::Double, Value::Number(number)) => is_double(number),
            _ => false,
        }
    }
}

/// A whole number of 64 bits; -0, which JSON can say, is one.
fn whole_number(number: &Number) -> Option<i64> {
    let zero = number.as_f64().filter(|number| *number == 0.0 && number.is_sign_negative());
    number.as_i64().or(zero.map(|_| 0))
}

/// A number that is no whole one of 64 bits, nor a larger whole one, whose digits would be lost.
fn is_double(number: &Number) -> bool {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let is_exact = |number: f64| number.fract() != 0.0 || number.abs() < EXACT_MAX;
    number.is_f64() && number.as_f64().is_some_and(is_exact)
}

/// The types that a single value may have.
fn scalars_of(form: &ScalarForm) -> Vec<AvroScalar> {
    if !form.words.is_empty() {
        let all = [AvroScalar::Text, AvroScalar::Long, AvroScalar::Double, AvroScalar::Boolean];
        let is_used = |one: &AvroScalar| form.words.iter().any(|word| one.takes(word));
        return all.into_iter().filter(is_used).collect();
    }
    match form.scalar_type {
        ScalarType::Text | ScalarType::SlipLine | ScalarType::Date | ScalarType::Instant => {
            vec![AvroScalar::Text]
        }
        ScalarType::Integer | ScalarType::Count => vec![AvroScalar::Long],
        ScalarType::Boolean => vec![AvroScalar::Boolean],
        ScalarType::TextOrNumber => {
            vec![AvroScalar::Text, AvroScalar::Long, AvroScalar::Double]
        }
    }
}

fn all_scalars(forms: &[ScalarForm]) -> Vec<AvroScalar> {
    let mut all = Vec::new();
    for scalar in forms.iter().flat_map(scalars_of) {
        if !all.contains(&scalar) {
            all.push(scalar);
        }
    }
    all
}

/// A record by its full name; what is in it has names below that.
fn record_schema(name: &str, fields: &[ContractField], has_docs: bool) -> Value {
    let fields: Vec<Value> = fields
        .iter()
        .map(|field| {
            let inner = form_schema(&format!("{name}.{}", field.name), &field.form, has_docs);
            let mut schema = match field.is_always_present {
                true => json!({ "name": field.name, "type": inner }),
                false => json!({ "name": field.name, "type": or_null(inner), "default": null }),
            };
            let meanings: Vec<&str> =
                field.origins.iter().map(|origin| origin.meaning.as_str()).collect();
            if has_docs && !meanings.is_empty() {
                schema["doc"] = Value::from(meanings.join("; or else "));
            }
            schema
        })
        .collect();
    json!({ "type": "record", "name": name, "fields": fields })
}

fn form_schema(name: &str, form: &FieldForm, has_docs: bool) -> Value {
    let words = |scalars: Vec<AvroScalar>| {
        let words: Vec<&str> = scalars.into_iter().map(AvroScalar::word).collect();
        match words.as_slice() {
            [one] => json!(one),
            _ => json!(words),
        }
    };
    match form {
        FieldForm::Scalar(scalar) => words(scalars_of(scalar)),
        FieldForm::OneOf(forms) => words(all_scalars(forms)),
        FieldForm::Object(fields) => record_schema(name, fields, has_docs),
        FieldForm::List(element) => {
            json!({ "type": "array", "items": form_schema(name, element, has_docs) })
        }
    }
}

fn or_null(schema: Value) -> Value {
    match schema {
        Value::Array(branches) => {
            Value::Array([Value::from("null")].into_iter().chain(branches).collect())
        }
        one => json!(["null", one]),
    }
}

fn write_record(
    fields: &[AvroField],
    values: &Map<String, Value>,
    out: &mut Vec<u8>,
) -> Result<(), NotAvro> {
    // One that the schema does not have would be lost.
    if let Some(other) = values.keys().find(|name| fields.iter().all(|one| one.name != **name)) {
        return Err(NotAvro(other.clone()));
    }
    for field in fields {
        let written = match values.get(&field.name) {
            Some(value) => write_field(field, value, out),
            None if field.is_nullable => {
                write_long(0, out);
                Ok(())
            }
            None => Err(NotAvro(String::new())),
        };
        written.map_err(|NotAvro(below)| match below.is_empty() {
            true => NotAvro(field.name.clone()),
            false => NotAvro(format!("{}.{below}", field.name)),
        })?;
    }
    Ok(())
}

fn write_field(field: &AvroField, value: &Value, out: &mut Vec<u8>) -> Result<(), NotAvro> {
    if let AvroForm::Union(scalars) = &field.form {
        return write_union(scalars, i64::from(field.is_nullable), (value, out));
    }
    if field.is_nullable {
        write_long(1, out);
    }
    write_value(&field.form, value, out)
}

fn write_value(form: &AvroForm, value: &Value, out: &mut Vec<u8>) -> Result<(), NotAvro> {
    match (form, value) {
        (AvroForm::Scalar(scalar), value) if scalar.takes(value) => {
            write_scalar(value, out);
            Ok(())
        }
        (AvroForm::Union(scalars), value) => write_union(scalars, 0, (value, out)),
        (AvroForm::Record(fields), Value::Object(values)) => write_record(fields, values, out),
        (AvroForm::List(element), Value::Array(items)) => {
            if !items.is_empty() {
                write_length(items.len(), out);
                items.iter().try_for_each(|item| write_value(element, item, out))?;
            }
            write_long(0, out);
            Ok(())
        }
        _ => Err(NotAvro(String::new())),
    }
}

/// Writes the first branch that takes the value; branches before them come first.
fn write_union(
    scalars: &[AvroScalar],
    before: i64,
    (value, out): (&Value, &mut Vec<u8>),
) -> Result<(), NotAvro> {
    let mut branches = (before..).zip(scalars);
    let branch = branches.find(|(_, scalar)| scalar.takes(value));
    let (index, _) = branch.ok_or_else(|| NotAvro(String::new()))?;
    write_long(index, out);
    write_scalar(value, out);
    Ok(())
}

/// Writes a value that some scalar takes.
fn write_scalar(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => {
            write_length(text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::Number(number) => match (whole_number(number), number.as_f64()) {
            (Some(number), _) => write_long(number, out),
            (None, Some(number)) => out.extend_from_slice(&number.to_le_bytes()),
            (None, None) => {}
        },
        Value::Null | Value::Array(_) | Value::Object(_) => {}
    }
}

fn write_length(length: usize, out: &mut Vec<u8>) {
    write_long(i64::try_from(length).unwrap_or(i64::MAX), out);
}

/// Writes a whole number: zigzag, seven bits a byte, the lowest first.
fn write_long(number: i64, out: &mut Vec<u8>) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        let [low, ..] = rest.to_le_bytes();
        out.push(low | 0x80);
        rest >>= 7;
    }
    let [low, ..] = rest.to_le_bytes();
    out.push(low);
}
