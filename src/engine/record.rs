//! One record, read once: bytes to slots of the wanted paths.
//!
//! What nobody wants is passed over, but still checked to be JSON and UTF-8.
//! A record is used again for the next one of its source, so that reading
//! allocates nothing in steady state, and knows which key comes next.

use super::keys::Keys;
use super::reader::Reader;
use super::script::Script;
use super::shape::{SLOTS_MAX, Shape};
use super::value::{SPAN_MAX, Slot, State, Value};
use crate::json::quotes::Quotes;
use crate::json::scan::{Bounds, ScanError, Scanner, cold_path};
use crate::policy::reason::Reason;

/// The limits of a record.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub bytes: usize,
    pub bounds: Bounds,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            bytes: 1 << 20,
            bounds: Bounds {
                depth: 64,
                keys: 4_096,
            },
        }
    }
}

/// A wanted list.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub(super) state: State,
    /// Its first element's first value in `elements`, and how many elements.
    pub(super) start: usize,
    pub(super) count: usize,
    /// Where the list itself stands in the record's text and how long it is, if
    /// it can be copied as it stands.
    pub(super) whole: Option<(usize, usize)>,
}

const NO_LIST: List = List {
    state: State::Missing,
    start: 0,
    count: 0,
    whole: None,
};

/// The wanted values of one record.
#[derive(Clone, Debug)]
pub struct Record {
    shape: Shape,
    /// By node of the shape.
    keys: Vec<Keys>,
    script: Script,
    quotes: Quotes,
    values: Values,
}

/// What was read of a record.
#[derive(Clone, Debug)]
pub(super) struct Values {
    /// Strings that had escapes, decoded.
    pub(super) decoded: String,
    /// The last is that of strings that nobody wants.
    pub(super) slots: [Slot; SLOTS_MAX],
    pub(super) lists: Vec<List>,
    pub(super) elements: Vec<Slot>,
    /// How many strings did not fit their form.
    pub(super) unfit: u32,
    /// A member that the shape does not have was met in the record.
    pub(super) unlisted: bool,
    /// Some wanted value is malformed.
    pub(super) malformed: bool,
}

impl Values {
    fn new() -> Values {
        Values {
            decoded: String::new(),
            slots: [Slot::MISSING; SLOTS_MAX],
            lists: Vec::new(),
            elements: Vec::new(),
            unfit: 0,
            unlisted: false,
            malformed: false,
        }
    }

    /// Keeps a string of the record's own that has no escapes and was not there
    /// before. It starts behind its quote; an empty one is missing, as it was.
    #[inline(always)]
    pub(super) fn keep(&mut self, slot: u16, start: usize, length: usize) {
        let kept = match length {
            0 => {
                cold_path();
                Slot::MISSING
            }
            _ => Slot::plain(start, length),
        };
        *self.slot_mut(slot) = kept;
    }

    #[inline(always)]
    pub(super) fn slot(&self, slot: u16) -> Slot {
        self.slots[usize::from(slot) % SLOTS_MAX]
    }

    #[inline(always)]
    pub(super) fn slot_mut(&mut self, slot: u16) -> &mut Slot {
        &mut self.slots[usize::from(slot) % SLOTS_MAX]
    }

    /// Has strings that do not fit their form count as missing.
    #[inline(never)]
    fn check_forms(&mut self, shape: &Shape, text: &str) {
        let text = text.as_bytes();
        for &(slot, fits) in &shape.forms {
            let kept = self.slot(slot);
            let inside = if kept.is_in_text() {
                let from = text.get(kept.start() + 1..);
                from.and_then(|from| from.get(..kept.copied_length() - 2))
            } else if kept.state() == State::Decoded {
                self.decoded.as_bytes().get(kept.start()..kept.end())
            } else {
                continue;
            };
            if !fits(inside.unwrap_or_default()) {
                self.unfit += 1;
                *self.slot_mut(slot) = Slot::MISSING;
            }
        }
    }

    fn reset(&mut self, shape: &Shape) {
        self.decoded.clear();
        let slots = usize::from(shape.unlisted()) + 1;
        self.slots[..slots.min(SLOTS_MAX)].fill(Slot::MISSING);
        self.lists.clear();
        self.lists.resize(shape.lists.len(), NO_LIST);
        self.elements.clear();
        self.unfit = 0;
        self.unlisted = false;
        self.malformed = false;
    }
}

impl Record {
    /// Makes a record of what `shape` wants, to be read again and again.
    #[must_use]
    pub fn new(shape: &Shape) -> Record {
        let nodes = shape.nodes.iter();
        Record {
            shape: shape.clone(),
            keys: nodes
                .map(|node| Keys::new(node, shape.unlisted()))
                .collect(),
            script: Script::default(),
            quotes: Quotes::default(),
            values: Values::new(),
        }
    }

    /// Reads `bytes`. Returns them as the text that [`Record::reading`] takes.
    ///
    /// # Errors
    ///
    /// The [`Reason`] for which the record is refused whole.
    pub fn read<'a>(&mut self, bytes: &'a [u8], limits: &Limits) -> Result<&'a str, Reason> {
        self.values.reset(&self.shape);
        self.quotes.clear();
        if bytes.len() > limits.bytes.min(SPAN_MAX) {
            return Err(Reason::TooLarge);
        }
        let text = simdutf8::basic::from_utf8(bytes).map_err(|_| Reason::NotUtf8)?;
        let scan = Scanner::new(text, limits.bounds.depth);
        let start = scan.space(0);
        let object = scan.byte(start) == b'{';
        let outcome = if object {
            self.object(scan, text, start, limits)
        } else {
            let mut keys_left = limits.bounds.keys;
            scan.skip(start, 0, &mut keys_left)
        };
        outcome
            .and_then(|after| scan.finish(after))
            .map_err(|error| match error {
                ScanError::Syntax => Reason::NotJson,
                ScanError::TooDeep => Reason::TooDeep,
                ScanError::TooManyKeys => Reason::TooManyKeys,
            })?;
        if object {
            self.values.check_forms(&self.shape, text);
            Ok(text)
        } else {
            Err(Reason::NotAnObject)
        }
    }

    /// Reads the object at `start`, by the script if it can be followed.
    #[inline(always)]
    fn object(
        &mut self,
        scan: Scanner<'_>,
        text: &str,
        start: usize,
        limits: &Limits,
    ) -> Result<usize, ScanError> {
        let mut reader = Reader {
            scan,
            text,
            shape: &self.shape,
            keys: &mut self.keys,
            quotes: &mut self.quotes,
            keys_left: limits.bounds.keys,
            values: &mut self.values,
        };
        if self.script.is_of_use() {
            if let Some(after) = self.script.follow(&mut reader, start) {
                self.script.followed(&self.values);
                return Ok(after);
            }
            reader.keys_left = limits.bounds.keys;
            reader.values.reset(&self.shape);
        }
        let after = reader.object(start, 0, None, 0)?;
        if scan.finish(after).is_ok() {
            self.script.missed(text, &self.shape);
        }
        Ok(after)
    }

    /// What was read of `text`.
    #[inline]
    #[must_use]
    pub fn reading<'a>(&'a self, text: &'a str) -> Reading<'a> {
        Reading {
            text,
            values: &self.values,
        }
    }

    /// Fills a derived slot.
    pub fn derive(&mut self, slot: u16, value: Slot) {
        self.values.malformed |= value.is_malformed();
        *self.values.slot_mut(slot) = value;
    }

    /// Fills a slot with a short text of its own.
    pub fn derive_text(&mut self, slot: u16, text: &str) {
        let start = self.values.decoded.len();
        self.values.decoded.push_str(text);
        let end = self.values.decoded.len();
        *self.values.slot_mut(slot) = match end <= SPAN_MAX && end > start {
            true => Slot::span(start, end, State::Decoded),
            false => Slot::MISSING,
        };
    }

    /// Forgets how many strings did not fit: the next message may hold none at all.
    #[inline]
    pub fn forget(&mut self) {
        self.values.unfit = 0;
    }

    /// How many strings at wanted paths did not fit their form.
    #[must_use]
    pub fn unfit(&self) -> u32 {
        self.values.unfit
    }

    /// Whether a field stood in the record that the shape does not have.
    #[must_use]
    pub fn unlisted(&self) -> bool {
        self.values.unlisted
    }
}

/// The wanted values of one record, with the text that they lie in.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    text: &'a str,
    values: &'a Values,
}

impl<'a> Reading<'a> {
    /// The value in a slot.
    #[inline]
    #[must_use]
    pub fn value(self, slot: u16) -> Value<'a> {
        self.view(self.slot(slot))
    }

    /// The text in a slot, as [`Value::as_text`] has it.
    #[inline]
    #[must_use]
    pub fn text(self, slot: u16) -> Option<&'a str> {
        let slot = self.slot(slot);
        match slot.state() {
            State::Plain => self.text.get(slot.start() + 1..slot.end() - 1),
            State::Missing => None,
            _ => self.view(slot).as_text(),
        }
    }

    /// What a slot holds, as it is kept.
    #[inline]
    #[must_use]
    pub fn slot(self, slot: u16) -> Slot {
        self.values.slot(slot)
    }

    /// The text that slots of this state are spans of.
    #[inline]
    #[must_use]
    pub fn text_of(self, state: State) -> &'a str {
        match state {
            State::Decoded => &self.values.decoded,
            _ => self.text,
        }
    }

    /// Whether any wanted value is malformed, in a list too.
    #[inline]
    #[must_use]
    pub fn malformed(self) -> bool {
        self.values.malformed
    }

    /// Whether the list itself is malformed.
    #[must_use]
    pub fn list_malformed(self, list: u16) -> bool {
        let lists = &self.values.lists;
        lists
            .get(usize::from(list))
            .is_some_and(|list| list.state == State::Malformed)
    }

    /// How many elements a list has.
    #[must_use]
    pub fn list_len(self, list: u16) -> usize {
        let lists = &self.values.lists;
        lists.get(usize::from(list)).map_or(0, |list| list.count)
    }

    /// One value of one element of a list whose elements have `stride` values.
    #[must_use]
    pub fn element(self, list: u16, stride: u16, index: usize, slot: u16) -> Value<'a> {
        let lists = &self.values.lists;
        lists
            .get(usize::from(list))
            .and_then(|list| {
                let at = list.start + index * usize::from(stride) + usize::from(slot);
                self.values.elements.get(at)
            })
            .map_or(Value::Missing, |&slot| self.view(slot))
    }

    /// Where a list of scalars stands in the record's text, and how long it is, if
    /// it can be copied as it stands.
    #[inline]
    #[must_use]
    pub fn whole_list(self, list: u16) -> Option<(usize, usize)> {
        let list = self.values.lists.get(usize::from(list))?;
        list.whole.filter(|_| list.state == State::Plain)
    }

    /// The elements of a list of scalars, as they are kept.
    #[must_use]
    pub fn elements(self, list: u16) -> &'a [Slot] {
        let list = self.values.lists.get(usize::from(list));
        list.and_then(|list| {
            self.values
                .elements
                .get(list.start..list.start + list.count)
        })
        .unwrap_or_default()
    }

    /// What a slot of this record means.
    #[inline]
    #[must_use]
    pub fn view(self, slot: Slot) -> Value<'a> {
        let (start, end) = (slot.start(), slot.end());
        let text = |from: &'a str, start, end| from.get(start..end).unwrap_or_default();
        match slot.state() {
            State::Missing => Value::Missing,
            State::Malformed => Value::Malformed,
            State::Plain => Value::Text {
                text: text(self.text, start + 1, end - 1),
                plain: true,
            },
            State::Decoded => Value::Text {
                text: text(&self.values.decoded, start, end),
                plain: false,
            },
            State::Number => Value::Number(text(self.text, start, end)),
            State::True => Value::Boolean(true),
            State::False => Value::Boolean(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::catalogue::Type;
    use crate::policy::form::Form;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    /// Reads records with one memory of keys; says which are JSON.
    #[track_caller]
    fn check(records: &[(&str, bool)]) {
        let mut shape = Shape::default();
        for path in ["a", "b", "c.a"] {
            shape.want(path, Type::Text(None)).unwrap();
        }
        let mut record = Record::new(&shape);
        for (text, is_json) in records {
            let read = record.read(text.as_bytes(), &Limits::default());
            assert_eq!(read.is_ok(), *is_json, "{text}");
        }
    }

    fn shape() -> Shape {
        let mut shape = Shape::default();
        for (path, kind) in [
            ("id", Type::Text(None)),
            ("day", Type::Text(Some(Form::Date))),
            ("at.city", Type::Text(None)),
            ("at.in.floor", Type::Integer),
            ("at.note", Type::Text(None)),
            ("open", Type::Boolean),
            ("count", Type::Integer),
            ("tags[]", Type::Text(None)),
            ("copies[].id", Type::Text(None)),
            ("last", Type::TextOrNumber),
        ] {
            shape.want(path, kind).unwrap();
        }
        shape
    }

    /// What was read of a record, or why it was refused.
    fn told(record: &mut Record, text: &str, limits: &Limits) -> String {
        let read = record.read(text.as_bytes(), limits);
        if let Err(reason) = read {
            return format!("{reason:?}");
        }
        let values = &record.values;
        let reading = record.reading(text);
        let views = |slots: &[Slot]| -> Vec<String> {
            let views = slots
                .iter()
                .map(|&slot| format!("{:?}", reading.view(slot)));
            views.collect()
        };
        format!(
            "{:?} {:?} {:?} {} {} {}",
            views(&values.slots[..usize::from(record.shape.slots)]),
            values.lists,
            views(&values.elements),
            values.unfit,
            values.unlisted,
            values.malformed
        )
    }

    /// A record that read many of the usual ones: it knows how they lie, and how
    /// long their strings are.
    fn used(depth: u32) -> Record {
        let mut record = Record::new(&shape());
        let mixed = USUAL
            .replace("\"open\":true,", "\"else\":\"e\",\"open\":true,")
            .replace("\"city\":\"Gent\"", "\"street\":\"s\"")
            .replacen(
                "\"id\"",
                if depth.is_multiple_of(2) {
                    "\"other\""
                } else {
                    "\"new\""
                },
                1,
            );
        // The script of it and of what only some have.
        for text in std::iter::once(&*mixed).chain(std::iter::repeat_n(USUAL, 1_000)) {
            record.read(text.as_bytes(), &Limits::default()).unwrap();
        }
        record
    }

    const USUAL: &str = "{\"id\":\"P-1\",\"day\":\"2026-11-23\",\"at\":{\"city\":\"Gent\",\"in\":{\"floor\":3},\"note\":\"a\"},\"other\":\"x\",\"open\":true,\"count\":42,\"tags\":[\"a\",\"b\"],\"more\":{\"y\":[1,{}]},\"copies\":[{\"id\":\"c\"}],\"last\":\"a string of more than thirty-two characters\"}";

    #[test]
    fn a_list_has_its_elements_however_it_is_written() {
        let long = "x".repeat(31);
        let longer = "y".repeat(32);
        let mut record = Record::new(&shape());
        let limits = Limits::default();
        for (list, want, whole) in [
            (r#"["a","b"]"#, Some(vec!["a", "b"]), true),
            (r#"["a"]"#, Some(vec!["a"]), true),
            (r#"["a", "b"]"#, Some(vec!["a", "b"]), false),
            (r#"["a","b" ]"#, Some(vec!["a", "b"]), false),
            (r#"["a",""]"#, Some(vec!["a"]), false),
            (r#"["a",null]"#, Some(vec!["a"]), false),
            (r#"["\u0061","b"]"#, Some(vec!["a", "b"]), false),
            (r#"["a",1]"#, None, false),
            (&format!(r#"["{long}","a"]"#), Some(vec![&*long, "a"]), true),
            (
                &format!(r#"["a","{longer}"]"#),
                Some(vec!["a", &*longer]),
                true,
            ),
        ] {
            // In the middle of a record, and at its end.
            for rest in [r#","count":1234567890123456789012345678901234567890"#, ""] {
                let text = format!(r#"{{"id":"1","tags":{list}{rest}}}"#);
                let read = record.read(text.as_bytes(), &limits).unwrap();
                let reading = record.reading(read);
                let elements = reading.elements(0).iter();
                let read: Option<Vec<_>> =
                    elements.map(|&slot| reading.view(slot).as_text()).collect();
                assert_eq!(reading.malformed(), want.is_none(), "{text}");
                if want.is_some() {
                    assert_eq!(read, want, "{text}");
                }
                assert_eq!(reading.whole_list(0).is_some(), whole, "{text}");
                let copied = reading
                    .whole_list(0)
                    .map(|(at, length)| &text[at..at + length]);
                assert!(copied.is_none_or(|copied| copied == list), "{text}");
            }
        }
        for broken in [
            r#"["a","b"#,
            r#"["a","b""#,
            r#"["a";"b"]"#,
            r#"["a",]"#,
            "[\"a\u{1}\"]",
        ] {
            for rest in [r#","count":1,"last":"a string of some length"}"#, ""] {
                let text = format!(r#"{{"tags":{broken}{rest}"#);
                assert!(record.read(text.as_bytes(), &limits).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn a_record_with_fewer_members_follows_the_script() {
        let mut record = Record::new(&shape());
        let limits = Limits::default();
        for _ in 0..2 {
            told(&mut record, USUAL, &limits);
        }
        for (text, follows) in [
            (USUAL, true),
            ("{\"day\":\"2026-11-23\"}", true),
            ("{\"at\":{\"note\":\"n\"},\"last\":\"\"}", true),
            ("{\"id\":\"\\u0041\",\"tags\":null}", true),
            ("{\"id\":\"\\u0041\",\"count\":7}", true),
            ("{}", false),
            ("{\"at\":{}}", false),
            ("{\"day\":\"2026-11-23\",\"id\":\"P\"}", false),
        ] {
            let before = record.script.score();
            let mut fresh = Record::new(&shape());
            let (one, other) = (
                told(&mut record, text, &limits),
                told(&mut fresh, text, &limits),
            );
            assert_eq!(one, other, "{text}");
            assert_eq!(record.script.score() > before, follows, "{text}");
        }
    }

    #[test]
    fn a_script_grows_by_what_only_some_records_have() {
        let mut record = Record::new(&shape());
        let limits = Limits::default();
        let some = [
            "{\"id\":\"a\",\"at\":{\"city\":\"Gent\"},\"count\":1}",
            "{\"id\":\"a\",\"day\":\"2026-11-23\",\"at\":{\"note\":\"n\"}}",
            "{\"id\":\"a\",\"at\":{\"in\":{\"floor\":1},\"note\":\"n\"},\"x\":\"y\",\"count\":2}",
            "{\"open\":true}",
        ];
        for text in some {
            told(&mut record, text, &limits);
        }
        for text in some.into_iter().chain([
            "{\"id\":\"a\",\"day\":\"x\",\"at\":{\"in\":{\"floor\":7}},\"x\":\"y\",\"count\":3}",
        ]) {
            let before = record.script.score();
            let mut fresh = Record::new(&shape());
            assert_eq!(
                told(&mut record, text, &limits),
                told(&mut fresh, text, &limits)
            );
            assert!(record.script.score() > before, "{text}");
        }
        // What stands twice is never taken once.
        let twice = "{\"id\":\"a\",\"count\":1,\"id\":\"b\"}";
        let mut fresh = Record::new(&shape());
        let (one, other) = (
            told(&mut record, twice, &limits),
            told(&mut fresh, twice, &limits),
        );
        assert_eq!(one, other);
    }

    #[test]
    fn a_usual_length_is_no_rule() {
        let limits = Limits::default();
        let mut record = used(0);
        for text in [
            USUAL.to_owned(),
            USUAL.replace("Gent", "Aalst"),
            USUAL.replace("Gent", "Ath"),
            USUAL.replace("Gent", ""),
            USUAL.replace("Gent", "G\\u0065nt"),
            USUAL.replace("Gent", "Ge\\\""),
            USUAL.replace("Gent", "Ge\\\"\",\"x\":\"y"),
            USUAL.replace("Gent", "Ge\"nt"),
            USUAL.replace("Gent", "Ge\u{1}t"),
            USUAL.replace("2026-11-23", "2026-13-23"),
            USUAL.replace("2026-11-23", "2026-11-2"),
            USUAL.replace("2026-11-23", "2026-11-230"),
        ] {
            let mut fresh = Record::new(&shape());
            assert_eq!(
                told(&mut record, &text, &limits),
                told(&mut fresh, &text, &limits),
                "{text}"
            );
        }
        assert!(record.script.usual() > 3);
    }

    #[test]
    fn a_script_that_is_of_no_use_is_let_go() {
        let mut record = Record::new(&shape());
        let limits = Limits::default();
        for round in 0..200 {
            let text = match round % 3 {
                0 => "{\"id\":\"a\",\"open\":true,\"count\":1}",
                1 => "{\"open\":true,\"count\":1,\"id\":\"a\"}",
                _ => "{\"count\":1,\"id\":\"a\",\"open\":true}",
            };
            told(&mut record, text, &limits);
        }
        assert!(!record.script.is_of_use());
    }

    /// What is put where in a text, for how many bytes of it.
    type Edits = Vec<(usize, usize, String)>;

    fn edits(count: std::ops::Range<usize>) -> impl Strategy<Value = Edits> {
        let put = "[{}\\[\\],:\" \\\\0-9a-dentru.é-]{0,3}|,\"id\":\"x\"|\\{\"id\":\"x\",|\"\\},\"tags\"|,\"more\":null";
        proptest::collection::vec((0usize..400, 0usize..12, put), count)
    }

    fn edited(text: &str, edits: &Edits) -> String {
        let mut text = text.to_owned();
        for (at, removed, put) in edits {
            let from = (*at).min(text.len());
            let to = (from + removed).min(text.len());
            if text.is_char_boundary(from) && text.is_char_boundary(to) {
                text.replace_range(from..to, put);
            }
        }
        text
    }

    /// The members of a record that has most of what is wanted, and more.
    const MEMBERS: [&str; 12] = [
        "\"id\":\"P-1\"",
        "\"day\":\"2026-11-23\"",
        "\"at\":{\"city\":\"Gent\",\"in\":{\"floor\":3},\"note\":\"a\"}",
        "\"other\":\"x\"",
        "\"open\":true",
        "\"count\":42",
        "\"tags\":[\"a\",\"b\"]",
        "\"more\":{\"y\":[1,{}]}",
        "\"copies\":[{\"id\":\"c\",\"x\":\"y\"},{\"x\":\"z\",\"id\":\"d\"}]",
        "\"last\":\"a string of more than thirty-two characters\"",
        "\"a key of more than thirty-two bytes\":\"\"",
        "\"note\":\"a string that reaches further than sixty-four bytes from where its key began\"",
    ];

    /// A record without a script: by what it knows of keys alone.
    fn without_script() -> Record {
        let mut record = Record::new(&shape());
        record.script.stop();
        let text = format!("{{{}}}", MEMBERS.join(","));
        record.read(text.as_bytes(), &Limits::default()).unwrap();
        record
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6_000))]
        #[test]
        fn what_is_known_of_keys_changes_nothing(
            records in proptest::collection::vec(
                (Just(MEMBERS.to_vec()).prop_shuffle(), 1..=MEMBERS.len(), 0..4usize, edits(0..3)),
                1..4,
            ),
            depth in 1u32..5,
            keys in 10u32..30,
        ) {
            static KNOWING: LazyLock<Record> = LazyLock::new(without_script);
            let mut record = KNOWING.clone();
            let limits = Limits { bytes: 1 << 20, bounds: Bounds { depth, keys } };
            for (members, count, spaces, edits) in &records {
                let text = format!("{{{}}}", members[..*count].join(","));
                let text = match spaces {
                    1 => text.replace("\":", "\": "),
                    2 => text.replace(",\"", ",\n \"").replace("\":", "\" : "),
                    _ => text,
                };
                let text = edited(&text, edits);
                let mut fresh = Record::new(&shape());
                prop_assert_eq!(told(&mut record, &text, &limits), told(&mut fresh, &text, &limits), "{}", text);
            }
        }

        #[test]
        fn a_script_changes_nothing(edits in edits(1..4), depth in 1u32..5, keys in 10u32..30) {
            let text = edited(USUAL, &edits);
            static USED: LazyLock<[Record; 2]> = LazyLock::new(|| [used(0), used(1)]);
            let mut record = USED[depth as usize % 2].clone();
            let limits = Limits { bytes: 1 << 20, bounds: Bounds { depth, keys } };
            let mut fresh = Record::new(&shape());
            prop_assert_eq!(told(&mut record, &text, &limits), told(&mut fresh, &text, &limits), "{}", text);
        }
    }

    #[test]
    fn what_was_first_is_not_taken_for_what_follows() {
        let either = [("{\"a\":\"1\",\"b\":\"2\"}", true), ("{\"b\":\"1\"}", true)];
        let wrong = "{\"a\":\"1\"{\"b\":\"2\"}";
        check(&[either[0], either[1], (wrong, false), either[0]]);
        check(&[
            either[0],
            ("{,\"b\":\"2\"}", false),
            ("{\"b\":\"2\",}", false),
        ]);
        let inner = "{\"c\":{\"a\":\"1\"},\"b\":\"2\"}";
        check(&[(inner, true), ("{\"c\":{\"a\":\"1\"}{\"b\":\"2\"}", false)]);
        check(&[
            (inner, true),
            ("{\"c\":{}}", true),
            ("{}", true),
            ("{\"c\":{ }}", true),
        ]);
    }
}
