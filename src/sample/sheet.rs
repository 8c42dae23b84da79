//! One record as JSON text, in the many manners in which systems write it.
//!
//! Never makes up a value: it only decides on order, spaces and escapes.

use super::day::{Day, Instant};
use super::dice::Dice;
use std::fmt::Write as _;

/// How characters are written that JSON could also escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    /// Only where JSON requires it.
    Least,
    /// Everything beyond ASCII too.
    Ascii,
    /// As `Ascii`, and characters that need no escape at all.
    Needless,
}

/// How a field that has no value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blank {
    LeftOut,
    Null,
    Empty,
}

/// The habits of the system that wrote a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) shuffled: bool,
    pub(super) spaced: bool,
    /// Fields that no catalogue knows are added.
    pub(super) extras: bool,
    pub(super) escape: Escape,
    pub(super) blank: Blank,
}

impl Manner {
    /// The manner of nine records in ten.
    pub(super) const PLAIN: Manner = Manner {
        shuffled: false,
        spaced: false,
        extras: false,
        escape: Escape::Least,
        blank: Blank::LeftOut,
    };

    /// Rolls the manner of one record.
    pub(super) fn roll(tricky: bool, dice: &mut Dice) -> Manner {
        if !tricky || !dice.per_mille(100) {
            return Manner::PLAIN;
        }
        Manner {
            shuffled: dice.per_mille(500),
            spaced: dice.per_mille(250),
            extras: dice.per_mille(500),
            escape: dice.weighted(&[
                (2, Escape::Least),
                (1, Escape::Ascii),
                (1, Escape::Needless),
            ]),
            blank: dice.weighted(&[(1, Blank::LeftOut), (1, Blank::Null), (1, Blank::Empty)]),
        }
    }
}

/// A JSON object that is being written.
#[derive(Debug)]
pub(super) struct Sheet {
    manner: Manner,
    text: String,
    /// Where each field of the record itself starts.
    starts: Vec<usize>,
    depth: u32,
    /// The next entry of the innermost object or list needs no comma.
    first: bool,
}

impl Sheet {
    pub(super) fn new(manner: Manner) -> Sheet {
        Sheet {
            manner,
            text: String::with_capacity(1024),
            starts: Vec::with_capacity(32),
            depth: 0,
            first: true,
        }
    }

    pub(super) fn manner(&self) -> Manner {
        self.manner
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        quote(value, self.manner.escape, &mut self.text);
    }

    pub(super) fn maybe(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(key, value),
            None => self.blank(key),
        }
    }

    pub(super) fn integer(&mut self, key: &str, value: i64) {
        self.key(key);
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{value}");
    }

    pub(super) fn flag(&mut self, key: &str, value: bool) {
        self.raw(key, if value { "true" } else { "false" });
    }

    /// Writes a value that is JSON already.
    pub(super) fn raw(&mut self, key: &str, json: &str) {
        self.key(key);
        self.text.push_str(json);
    }

    pub(super) fn date(&mut self, key: &str, value: Option<Day>) {
        let Some(day) = value else {
            return self.blank(key);
        };
        self.key(key);
        self.text.push('"');
        day.write(&mut self.text);
        self.text.push('"');
    }

    pub(super) fn instant(&mut self, key: &str, value: Option<Instant>) {
        let Some(instant) = value else {
            return self.blank(key);
        };
        self.key(key);
        self.text.push('"');
        instant.write(&mut self.text);
        self.text.push('"');
    }

    pub(super) fn texts<'a>(&mut self, key: &str, values: impl IntoIterator<Item = &'a str>) {
        self.key(key);
        self.nested('[', ']', |sheet| {
            for value in values {
                sheet.comma();
                quote(value, sheet.manner.escape, &mut sheet.text);
            }
        });
    }

    pub(super) fn object(&mut self, key: &str, fill: impl FnOnce(&mut Sheet)) {
        self.key(key);
        self.nested('{', '}', fill);
    }

    pub(super) fn objects(&mut self, key: &str, count: u64, mut fill: impl FnMut(&mut Sheet, u64)) {
        self.key(key);
        self.nested('[', ']', |sheet| {
            for number in 0..count {
                sheet.comma();
                sheet.nested('{', '}', |sheet| fill(sheet, number));
            }
        });
    }

    /// Ends the record; fields change places where the manner says so.
    pub(super) fn finish(self, dice: &mut Dice) -> String {
        let mut order: Vec<usize> = (0..self.starts.len()).collect();
        if self.manner.shuffled {
            for last in (1..order.len()).rev() {
                order.swap(last, dice.below(last as u64 + 1) as usize);
            }
        }
        let mut out = String::with_capacity(self.text.len() + order.len() * 2 + 2);
        out.push('{');
        for (place, &field) in order.iter().enumerate() {
            let start = self.starts[field];
            let end = self.starts.get(field + 1).copied();
            out.push_str(match (place, self.manner.spaced) {
                (0, _) => "",
                (_, true) => " ,\t",
                (_, false) => ",",
            });
            out.push_str(&self.text[start..end.unwrap_or(self.text.len())]);
        }
        out.push('}');
        out
    }

    fn blank(&mut self, key: &str) {
        match self.manner.blank {
            Blank::LeftOut => {}
            Blank::Null => self.raw(key, "null"),
            Blank::Empty => self.raw(key, "\"\""),
        }
    }

    fn key(&mut self, key: &str) {
        if self.depth == 0 {
            self.starts.push(self.text.len());
        } else {
            self.comma();
        }
        quote(key, Escape::Least, &mut self.text);
        self.text
            .push_str(if self.manner.spaced { " : " } else { ":" });
    }

    fn comma(&mut self) {
        if !self.first {
            self.text.push(',');
        }
        self.first = false;
    }

    fn nested(&mut self, open: char, close: char, fill: impl FnOnce(&mut Sheet)) {
        self.text.push(open);
        self.depth += 1;
        self.first = true;
        fill(self);
        self.depth -= 1;
        self.first = false;
        self.text.push(close);
    }
}

/// Appends `value` as a JSON string.
fn quote(value: &str, escape: Escape, out: &mut String) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    out.push('"');
    if escape == Escape::Least && value.bytes().all(plain) {
        out.push_str(value);
    } else {
        for (place, character) in value.chars().enumerate() {
            quote_one(place, character, escape, out);
        }
    }
    out.push('"');
}

fn quote_one(place: usize, character: char, escape: Escape, out: &mut String) {
    let needless = escape == Escape::Needless;
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '/' if needless => out.push_str("\\/"),
        '@' if needless => out.push_str("\\u0040"),
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        _ if character < ' ' => quote_hex(character, false, out),
        _ if !character.is_ascii() && escape != Escape::Least => {
            quote_hex(character, needless, out)
        }
        _ if needless && place == 0 => quote_hex(character, true, out),
        _ => out.push(character),
    }
}

fn quote_hex(character: char, upper: bool, out: &mut String) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        let _ = if upper {
            write!(out, "\\u{unit:04X}")
        } else {
            write!(out, "\\u{unit:04x}")
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::dice::Stream;
    use super::*;

    const VALUES: [&str; 6] = [
        "",
        "a/b@c",
        "\"\\\n\t\u{1}",
        "é王\u{10348}",
        "O'Brien",
        "{}[],:",
    ];

    #[track_caller]
    fn check(manner: Manner, seed: u64) {
        let mut sheet = Sheet::new(manner);
        for (number, value) in VALUES.iter().enumerate() {
            sheet.text(&format!("k{number}"), value);
        }
        sheet.maybe("none", None);
        sheet.object("o", |sheet| {
            sheet.integer("i", -5);
            sheet.texts("t", VALUES);
            sheet.objects("l", 3, |sheet, number| sheet.integer("n", number as i64));
            sheet.flag("f", true);
        });
        let text = sheet.finish(&mut Dice::new(seed, 0, Stream::Patron));
        let value: serde_json::Value = serde_json::from_str(&text).expect(&text);
        for (number, want) in VALUES.iter().enumerate() {
            assert_eq!(value[format!("k{number}")], *want);
        }
        assert_eq!(value["o"]["t"], serde_json::json!(VALUES));
        assert_eq!(
            value["o"]["l"],
            serde_json::json!([{"n":0},{"n":1},{"n":2}])
        );
        assert_eq!(value["o"]["f"], true);
        assert!(value["none"].is_null() || value["none"] == "");
    }

    #[test]
    fn every_manner_says_the_same() {
        for seed in 0..500 {
            let mut dice = Dice::new(seed, 0, Stream::Person);
            check(Manner::roll(true, &mut dice), seed);
        }
        check(Manner::PLAIN, 0);
    }
}
