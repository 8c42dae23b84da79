//! Writes a record as JSON in the styles of different systems: order, spaces and escapes, never
//! values.

use super::day::{Day, SampleTimestamp};
use super::rng::Rng;
use std::fmt::Write as _;

/// How optional escapes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EscapeStyle {
    Minimal,
    /// Everything beyond ASCII, too.
    AsciiOnly,
    /// As `AsciiOnly`, and some characters that need no escape.
    Excessive,
}

/// How a field without a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MissingValue {
    Omitted,
    Null,
    EmptyString,
}

/// The style of the system that wrote a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonStyle {
    pub(super) is_shuffled: bool,
    pub(super) is_spaced: bool,
    /// Adds fields that no catalogue has.
    pub(super) has_unknown_fields: bool,
    pub(super) escape: EscapeStyle,
    pub(super) missing_value: MissingValue,
}

impl JsonStyle {
    /// The style of nine records in ten.
    pub(super) const PLAIN: JsonStyle = JsonStyle {
        is_shuffled: false,
        is_spaced: false,
        has_unknown_fields: false,
        escape: EscapeStyle::Minimal,
        missing_value: MissingValue::Omitted,
    };

    /// Draws the style of one record.
    pub(super) fn random(tricky: bool, rng: &mut Rng) -> JsonStyle {
        if !tricky || !rng.chance_per_mille(100) {
            return JsonStyle::PLAIN;
        }
        JsonStyle {
            is_shuffled: rng.chance_per_mille(500),
            is_spaced: rng.chance_per_mille(250),
            has_unknown_fields: rng.chance_per_mille(500),
            escape: rng.choose_weighted(&[
                (2, EscapeStyle::Minimal),
                (1, EscapeStyle::AsciiOnly),
                (1, EscapeStyle::Excessive),
            ]),
            missing_value: rng.choose_weighted(&[
                (1, MissingValue::Omitted),
                (1, MissingValue::Null),
                (1, MissingValue::EmptyString),
            ]),
        }
    }
}

#[derive(Debug)]
pub(super) struct JsonWriter {
    style: JsonStyle,
    text: String,
    /// Start of each top-level field.
    field_starts: Vec<usize>,
    depth: u32,
    /// The next entry needs no comma.
    is_first: bool,
}

impl JsonWriter {
    pub(super) fn new(style: JsonStyle) -> JsonWriter {
        JsonWriter {
            style,
            text: String::with_capacity(1024),
            field_starts: Vec::with_capacity(32),
            depth: 0,
            is_first: true,
        }
    }

    pub(super) fn style(&self) -> JsonStyle {
        self.style
    }

    pub(super) fn write_string(&mut self, key: &str, value: &str) {
        self.write_key(key);
        push_json_string(value, self.style.escape, &mut self.text);
    }

    pub(super) fn write_optional_string(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => self.write_string(key, value),
            None => self.write_missing(key),
        }
    }

    pub(super) fn write_integer(&mut self, key: &str, value: i64) {
        self.write_key(key);
        // Writing to a `String` cannot fail.
        let _ = write!(self.text, "{value}");
    }

    pub(super) fn write_boolean(&mut self, key: &str, value: bool) {
        self.write_raw(key, if value { "true" } else { "false" });
    }

    pub(super) fn write_raw(&mut self, key: &str, json: &str) {
        self.write_key(key);
        self.text.push_str(json);
    }

    pub(super) fn write_date(&mut self, key: &str, value: Option<Day>) {
        let Some(day) = value else {
            return self.write_missing(key);
        };
        self.write_key(key);
        self.text.push('"');
        day.write_date(&mut self.text);
        self.text.push('"');
    }

    pub(super) fn write_timestamp(&mut self, key: &str, value: Option<SampleTimestamp>) {
        let Some(instant) = value else {
            return self.write_missing(key);
        };
        self.write_key(key);
        self.text.push('"');
        instant.write_rfc3339(&mut self.text);
        self.text.push('"');
    }

    pub(super) fn write_strings<'a>(
        &mut self,
        key: &str,
        values: impl IntoIterator<Item = &'a str>,
    ) {
        self.write_key(key);
        self.write_nested('[', ']', |json| {
            for value in values {
                json.write_comma();
                push_json_string(value, json.style.escape, &mut json.text);
            }
        });
    }

    pub(super) fn write_object(&mut self, key: &str, fill: impl FnOnce(&mut JsonWriter)) {
        self.write_key(key);
        self.write_nested('{', '}', fill);
    }

    pub(super) fn write_objects(
        &mut self,
        key: &str,
        count: u64,
        mut fill: impl FnMut(&mut JsonWriter, u64),
    ) {
        self.write_key(key);
        self.write_nested('[', ']', |json| {
            for number in 0..count {
                json.write_comma();
                json.write_nested('{', '}', |json| fill(json, number));
            }
        });
    }

    /// Returns the record, with fields reordered if the style says so.
    pub(super) fn finish(self, rng: &mut Rng) -> String {
        let mut order: Vec<usize> = (0..self.field_starts.len()).collect();
        if self.style.is_shuffled {
            for last in (1..order.len()).rev() {
                order.swap(last, rng.below(last as u64 + 1) as usize);
            }
        }
        let mut out = String::with_capacity(self.text.len() + order.len() * 2 + 2);
        out.push('{');
        for (index, &field) in order.iter().enumerate() {
            let start = self.field_starts[field];
            let end = self.field_starts.get(field + 1).copied();
            out.push_str(match (index, self.style.is_spaced) {
                (0, _) => "",
                (_, true) => " ,\t",
                (_, false) => ",",
            });
            out.push_str(&self.text[start..end.unwrap_or(self.text.len())]);
        }
        out.push('}');
        out
    }

    fn write_missing(&mut self, key: &str) {
        match self.style.missing_value {
            MissingValue::Omitted => {}
            MissingValue::Null => self.write_raw(key, "null"),
            MissingValue::EmptyString => self.write_raw(key, "\"\""),
        }
    }

    fn write_key(&mut self, key: &str) {
        if self.depth == 0 {
            self.field_starts.push(self.text.len());
        } else {
            self.write_comma();
        }
        push_json_string(key, EscapeStyle::Minimal, &mut self.text);
        self.text.push_str(if self.style.is_spaced { " : " } else { ":" });
    }

    fn write_comma(&mut self) {
        if !self.is_first {
            self.text.push(',');
        }
        self.is_first = false;
    }

    fn write_nested(&mut self, open: char, close: char, fill: impl FnOnce(&mut JsonWriter)) {
        self.text.push(open);
        self.depth += 1;
        self.is_first = true;
        fill(self);
        self.depth -= 1;
        self.is_first = false;
        self.text.push(close);
    }
}

/// Appends `value` as a JSON string.
fn push_json_string(value: &str, escape: EscapeStyle, out: &mut String) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    out.push('"');
    if escape == EscapeStyle::Minimal && value.bytes().all(plain) {
        out.push_str(value);
    } else {
        for (index, character) in value.chars().enumerate() {
            push_json_char(index, character, escape, out);
        }
    }
    out.push('"');
}

fn push_json_char(index: usize, character: char, escape: EscapeStyle, out: &mut String) {
    let is_excessive = escape == EscapeStyle::Excessive;
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '/' if is_excessive => out.push_str("\\/"),
        '@' if is_excessive => out.push_str("\\u0040"),
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        _ if character < ' ' => push_unicode_escape(character, false, out),
        _ if !character.is_ascii() && escape != EscapeStyle::Minimal => {
            push_unicode_escape(character, is_excessive, out)
        }
        _ if is_excessive && index == 0 => push_unicode_escape(character, true, out),
        _ => out.push(character),
    }
}

fn push_unicode_escape(character: char, upper: bool, out: &mut String) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        let _ = if upper { write!(out, "\\u{unit:04X}") } else { write!(out, "\\u{unit:04x}") };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::rng::RngStream;

    const VALUES: [&str; 6] = ["", "a/b@c", "\"\\\n\t\u{1}", "é王\u{10348}", "O'Brien", "{}[],:"];

    #[track_caller]
    fn assert_style_keeps_values(style: JsonStyle, seed: u64) {
        let mut json = JsonWriter::new(style);
        for (number, value) in VALUES.iter().enumerate() {
            json.write_string(&format!("k{number}"), value);
        }
        json.write_optional_string("none", None);
        json.write_object("o", |json| {
            json.write_integer("i", -5);
            json.write_strings("t", VALUES);
            json.write_objects("l", 3, |json, number| json.write_integer("n", number as i64));
            json.write_boolean("f", true);
        });
        let text = json.finish(&mut Rng::new(seed, 0, RngStream::Patron));
        let value: serde_json::Value = serde_json::from_str(&text).expect(&text);
        for (number, want) in VALUES.iter().enumerate() {
            assert_eq!(value[format!("k{number}")], *want);
        }
        assert_eq!(value["o"]["t"], serde_json::json!(VALUES));
        assert_eq!(value["o"]["l"], serde_json::json!([{"n":0},{"n":1},{"n":2}]));
        assert_eq!(value["o"]["f"], true);
        assert!(value["none"].is_null() || value["none"] == "");
    }

    #[test]
    fn json_style_never_changes_the_values() {
        for seed in 0..500 {
            let mut rng = Rng::new(seed, 0, RngStream::Person);
            assert_style_keeps_values(JsonStyle::random(true, &mut rng), seed);
        }
        assert_style_keeps_values(JsonStyle::PLAIN, 0);
    }
}
