//! The bytes of a value, read by the schema of their writer.
//!
//! Depth, names and items are bounded whatever the schema says: one that contains itself, or
//! lists of values without bytes, end in a refusal.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::schema::{AvroSchema, AvroType, TypeIndex};
use crate::intake::refusal::Refusal;
use crate::intake::value::{DEPTH_MAX, JsonValue, ValueLimits, has_duplicate};

/// Items of all lists together: one may take no byte at all.
const ITEMS_MAX: u32 = 1 << 20;
/// Seven bits each; a tenth byte has the last of 64.
const VARINT_BYTES_MAX: u32 = 10;

/// Reads all of `bytes` as a value of `schema`.
///
/// # Errors
///
/// [`Refusal::TooLarge`], [`Refusal::DuplicateMember`], or [`Refusal::NotAvro`] if the bytes are
/// no value of the schema, or more than one.
pub(in crate::intake) fn decode<'a>(
    schema: &'a AvroSchema,
    bytes: &'a [u8],
    limits: ValueLimits,
) -> Result<JsonValue<'a>, Refusal> {
    if bytes.len() > limits.bytes {
        return Err(Refusal::TooLarge);
    }
    let mut decoder =
        Decoder { schema, rest: bytes, names_left: limits.keys, items_left: ITEMS_MAX };
    let value = decoder.read_value(schema.root(), 0)?;
    match decoder.rest.is_empty() {
        true => Ok(value),
        false => Err(Refusal::NotAvro),
    }
}

struct Decoder<'a> {
    schema: &'a AvroSchema,
    rest: &'a [u8],
    /// Members of all objects together.
    names_left: u32,
    items_left: u32,
}

impl<'a> Decoder<'a> {
    /// Reads a value of the type at `at`, inside of `depth` objects and lists.
    fn read_value(&mut self, at: TypeIndex, depth: u32) -> Result<JsonValue<'a>, Refusal> {
        Ok(match self.schema.type_at(at).ok_or(Refusal::UnreadableSchema)? {
            AvroType::Null => JsonValue::Null,
            AvroType::Boolean => match self.read_array()? {
                [0] => JsonValue::Boolean(false),
                [1] => JsonValue::Boolean(true),
                _ => return Err(Refusal::NotAvro),
            },
            AvroType::Int => {
                let number = i32::try_from(self.read_long()?).map_err(|_| Refusal::NotAvro)?;
                JsonValue::Number(number.to_string().into())
            }
            AvroType::Long => JsonValue::Number(self.read_long()?.to_string().into()),
            AvroType::Float => {
                let number = f32::from_le_bytes(self.read_array()?);
                write_float(f64::from(number), format!("{number:?}"))
            }
            AvroType::Double => {
                let number = f64::from_le_bytes(self.read_array()?);
                write_float(number, format!("{number:?}"))
            }
            AvroType::Bytes => write_bytes(self.read_sized()?),
            AvroType::Text => JsonValue::Text(Cow::Borrowed(self.read_text()?)),
            AvroType::Fixed(size) => write_bytes(self.read_bytes(*size)?),
            AvroType::FixedUuid => JsonValue::Text(write_uuid(self.read_array()?).into()),
            AvroType::Enum(symbols) => {
                let symbol = self.read_index(symbols)?;
                JsonValue::Text(Cow::Borrowed(symbol))
            }
            AvroType::Record(fields) => self.read_record(fields, deeper(depth)?)?,
            AvroType::List(items) => self.read_list(*items, deeper(depth)?)?,
            AvroType::Map(values) => self.read_map(*values, deeper(depth)?)?,
            // No union is directly in another one.
            AvroType::Union(branches) => {
                let branch = *self.read_index(branches)?;
                self.read_value(branch, depth)?
            }
        })
    }

    fn read_record(
        &mut self,
        fields: &'a [(String, TypeIndex)],
        depth: u32,
    ) -> Result<JsonValue<'a>, Refusal> {
        let mut members = Vec::with_capacity(fields.len());
        for (name, field) in fields {
            self.count_name()?;
            let value = self.read_value(*field, depth)?;
            members.push((Cow::Borrowed(name.as_str()), value));
        }
        Ok(JsonValue::Object(members))
    }

    fn read_list(&mut self, item: TypeIndex, depth: u32) -> Result<JsonValue<'a>, Refusal> {
        let mut items = Vec::new();
        loop {
            let count = self.read_block_count()?;
            if count == 0 {
                return Ok(JsonValue::List(items));
            }
            for _ in 0..count {
                self.items_left = self.items_left.checked_sub(1).ok_or(Refusal::TooLarge)?;
                items.push(self.read_value(item, depth)?);
            }
        }
    }

    fn read_map(&mut self, value: TypeIndex, depth: u32) -> Result<JsonValue<'a>, Refusal> {
        let mut members = Vec::new();
        loop {
            let count = self.read_block_count()?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                self.count_name()?;
                let name = Cow::Borrowed(self.read_text()?);
                members.push((name, self.read_value(value, depth)?));
            }
        }
        match has_duplicate(&members) {
            true => Err(Refusal::DuplicateMember),
            false => Ok(JsonValue::Object(members)),
        }
    }

    fn count_name(&mut self) -> Result<(), Refusal> {
        self.names_left = self.names_left.checked_sub(1).ok_or(Refusal::TooLarge)?;
        Ok(())
    }

    /// How many items come before the next count; a negative count has the bytes of its items
    /// behind it, for who skips them.
    fn read_block_count(&mut self) -> Result<u64, Refusal> {
        let count = self.read_long()?;
        if count < 0 && self.read_long()? < 0 {
            return Err(Refusal::NotAvro);
        }
        Ok(count.unsigned_abs())
    }

    fn read_index<T>(&mut self, all: &'a [T]) -> Result<&'a T, Refusal> {
        let index = usize::try_from(self.read_long()?).map_err(|_| Refusal::NotAvro)?;
        all.get(index).ok_or(Refusal::NotAvro)
    }

    fn read_text(&mut self) -> Result<&'a str, Refusal> {
        simdutf8::basic::from_utf8(self.read_sized()?).map_err(|_| Refusal::NotAvro)
    }

    /// Bytes behind their number.
    fn read_sized(&mut self) -> Result<&'a [u8], Refusal> {
        let size = usize::try_from(self.read_long()?).map_err(|_| Refusal::NotAvro)?;
        self.read_bytes(size)
    }

    fn read_bytes(&mut self, size: usize) -> Result<&'a [u8], Refusal> {
        let (bytes, rest) = self.rest.split_at_checked(size).ok_or(Refusal::NotAvro)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn read_array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Refusal::NotAvro)?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// A whole number: seven bits a byte, the lowest first, zigzag.
    fn read_long(&mut self) -> Result<i64, Refusal> {
        let mut number = 0_u64;
        for at in 0..VARINT_BYTES_MAX {
            let [byte] = self.read_array()?;
            let bits = u64::from(byte & 0x7f);
            let shifted = bits << (7 * at);
            if shifted >> (7 * at) != bits {
                return Err(Refusal::NotAvro);
            }
            number |= shifted;
            if byte & 0x80 == 0 {
                return Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed());
            }
        }
        Err(Refusal::NotAvro)
    }
}

fn deeper(depth: u32) -> Result<u32, Refusal> {
    match depth < DEPTH_MAX {
        true => Ok(depth + 1),
        false => Err(Refusal::TooLarge),
    }
}

/// A number, by its shortest digits; what no JSON number is, by the word that Jackson has for it.
fn write_float(number: f64, digits: String) -> JsonValue<'static> {
    if number.is_nan() {
        return JsonValue::Text("NaN".into());
    }
    match (number.is_infinite(), number.is_sign_negative()) {
        (false, _) => JsonValue::Number(digits.into()),
        (true, false) => JsonValue::Text("Infinity".into()),
        (true, true) => JsonValue::Text("-Infinity".into()),
    }
}

fn write_bytes(bytes: &[u8]) -> JsonValue<'static> {
    JsonValue::Text(STANDARD.encode(bytes).into())
}

fn write_uuid(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
