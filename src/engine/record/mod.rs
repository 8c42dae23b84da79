//! One record, read once: bytes to slots of the wanted paths.
//!
//! What nobody wants is passed over, but still checked to be JSON and UTF-8.
//! A record is used again for the next one of its source, so that reading
//! allocates nothing in steady state, and knows which key comes next.

pub(in crate::engine) mod key_cache;
pub mod national_number;
pub(in crate::engine) mod plain;
pub mod shape;
pub(in crate::engine) mod template;
pub mod value;

use super::record::key_cache::KeyCache;
use super::record::plain::RecordReader;
use super::record::shape::{RecordShape, SLOTS_MAX};
use super::record::template::RecordTemplate;
use super::record::value::{FieldValue, SPAN_MAX, SlotState, ValueSlot};
pub use crate::config::settings::RecordLimits;
use crate::json::quotes::Quotes;
use crate::json::scan::{ScanError, Scanner, cold_path};
use crate::policy::reason::Reason;

/// A wanted list.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListSpan {
    pub(super) state: SlotState,
    /// Its first element's first value in `elements`, and how many elements.
    pub(super) first_element: usize,
    pub(super) element_count: usize,
    /// Where the list itself stands in the record's text and how long it is, if
    /// it can be copied as it stands.
    pub(super) verbatim_span: Option<(usize, usize)>,
}

const MISSING_LIST: ListSpan =
    ListSpan { state: SlotState::Missing, first_element: 0, element_count: 0, verbatim_span: None };

/// The wanted values of one record.
#[derive(Clone, Debug)]
pub struct Record {
    shape: RecordShape,
    /// By node of the shape.
    key_caches: Vec<KeyCache>,
    template: RecordTemplate,
    quotes: Quotes,
    values: RecordValues,
}

/// What was read of a record.
#[derive(Clone, Debug)]
pub(super) struct RecordValues {
    /// Strings that had escapes, decoded.
    pub(super) decoded: String,
    /// The last is that of strings that nobody wants.
    pub(super) slots: [ValueSlot; SLOTS_MAX],
    pub(super) lists: Vec<ListSpan>,
    pub(super) elements: Vec<ValueSlot>,
    /// How many strings did not fit their form.
    pub(super) format_errors: u32,
    /// A member that the shape does not have was met in the record.
    pub(super) has_unlisted: bool,
    /// Some wanted value is malformed.
    pub(super) has_malformed: bool,
}

impl RecordValues {
    fn new() -> RecordValues {
        RecordValues {
            decoded: String::new(),
            slots: [ValueSlot::MISSING; SLOTS_MAX],
            lists: Vec::new(),
            elements: Vec::new(),
            format_errors: 0,
            has_unlisted: false,
            has_malformed: false,
        }
    }

    /// Keeps a string of the record's own that has no escapes and was not there
    /// before. It starts behind its quote; an empty one is missing, as it was.
    #[inline(always)]
    pub(super) fn keep_string(&mut self, slot: u16, start: usize, length: usize) {
        let kept = match length {
            0 => {
                cold_path();
                ValueSlot::MISSING
            }
            _ => ValueSlot::plain_string(start, length),
        };
        *self.slot_mut(slot) = kept;
    }

    #[inline(always)]
    pub(super) fn slot(&self, slot: u16) -> ValueSlot {
        self.slots[usize::from(slot) % SLOTS_MAX]
    }

    #[inline(always)]
    pub(super) fn slot_mut(&mut self, slot: u16) -> &mut ValueSlot {
        &mut self.slots[usize::from(slot) % SLOTS_MAX]
    }

    /// Has strings that do not fit their form count as missing.
    #[inline(never)]
    fn check_forms(&mut self, shape: &RecordShape, text: &str) {
        let text = text.as_bytes();
        for &(slot, fits) in &shape.form_tests {
            let kept = self.slot(slot);
            let inside = if kept.is_verbatim() {
                let from = text.get(kept.start() + 1..);
                from.and_then(|from| from.get(..kept.verbatim_length() - 2))
            } else if kept.state() == SlotState::DecodedString {
                self.decoded.as_bytes().get(kept.start()..kept.end())
            } else {
                continue;
            };
            if !fits(inside.unwrap_or_default()) {
                self.format_errors += 1;
                *self.slot_mut(slot) = ValueSlot::MISSING;
            }
        }
    }

    fn reset(&mut self, shape: &RecordShape) {
        self.decoded.clear();
        let slots = usize::from(shape.discard_slot()) + 1;
        self.slots[..slots.min(SLOTS_MAX)].fill(ValueSlot::MISSING);
        self.lists.clear();
        self.lists.resize(shape.list_strides.len(), MISSING_LIST);
        self.elements.clear();
        self.format_errors = 0;
        self.has_unlisted = false;
        self.has_malformed = false;
    }
}

impl Record {
    /// Empties what holds values. The text that was read last can no longer be viewed.
    pub(super) fn clear_values(&mut self) {
        self.values.decoded.clear();
    }

    /// Makes a record of what `shape` wants, to be read again and again.
    #[must_use]
    pub fn new(shape: &RecordShape) -> Record {
        let nodes = shape.nodes.iter();
        Record {
            shape: shape.clone(),
            key_caches: nodes.map(|node| KeyCache::new(node, shape.discard_slot())).collect(),
            template: RecordTemplate::default(),
            quotes: Quotes::default(),
            values: RecordValues::new(),
        }
    }

    /// Reads `bytes`. Returns them as the text that [`Record::view`] takes.
    ///
    /// # Errors
    ///
    /// The [`Reason`] for which the record is refused whole.
    pub fn read<'a>(&mut self, bytes: &'a [u8], limits: &RecordLimits) -> Result<&'a str, Reason> {
        self.values.reset(&self.shape);
        self.quotes.clear();
        if bytes.len() > limits.max_bytes.min(SPAN_MAX) {
            return Err(Reason::TooLarge);
        }
        let text = simdutf8::basic::from_utf8(bytes).map_err(|_| Reason::NotUtf8)?;
        let scan = Scanner::new(text, limits.scan_limits.max_depth);
        let start = scan.skip_whitespace(0);
        let object = scan.byte_at(start) == b'{';
        let outcome = if object {
            self.read_object(scan, text, start, limits)
        } else {
            let mut keys_left = limits.scan_limits.max_keys;
            scan.skip_value(start, 0, &mut keys_left)
        };
        outcome.and_then(|after| scan.expect_end(after)).map_err(|error| match error {
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
    fn read_object(
        &mut self,
        scan: Scanner<'_>,
        text: &str,
        start: usize,
        limits: &RecordLimits,
    ) -> Result<usize, ScanError> {
        let mut reader = RecordReader {
            scanner: scan,
            text,
            shape: &self.shape,
            key_caches: &mut self.key_caches,
            quotes: &mut self.quotes,
            keys_left: limits.scan_limits.max_keys,
            values: &mut self.values,
        };
        if self.template.should_follow() {
            if let Some(after) = self.template.follow(&mut reader, start) {
                self.template.on_hit(&self.values);
                return Ok(after);
            }
            reader.keys_left = limits.scan_limits.max_keys;
            reader.values.reset(&self.shape);
        }
        let after = reader.read_object(start, 0, None, 0)?;
        if scan.expect_end(after).is_ok() {
            self.template.on_miss(text, &self.shape);
        }
        Ok(after)
    }

    /// What was read of `text`.
    #[inline]
    #[must_use]
    pub fn view<'a>(&'a self, text: &'a str) -> RecordView<'a> {
        RecordView { text, values: &self.values }
    }

    /// Fills a derived slot.
    pub fn set_derived(&mut self, slot: u16, value: ValueSlot) {
        self.values.has_malformed |= value.is_malformed();
        *self.values.slot_mut(slot) = value;
    }

    /// Fills a slot with a short text of its own.
    pub fn set_derived_text(&mut self, slot: u16, text: &str) {
        let start = self.values.decoded.len();
        self.values.decoded.push_str(text);
        let end = self.values.decoded.len();
        *self.values.slot_mut(slot) = match end <= SPAN_MAX && end > start {
            true => ValueSlot::span(start, end, SlotState::DecodedString),
            false => ValueSlot::MISSING,
        };
    }

    /// Forgets how many strings did not fit: the next message may hold none at all.
    #[inline]
    pub fn reset_format_errors(&mut self) {
        self.values.format_errors = 0;
    }

    /// How many strings at wanted paths did not fit their form.
    #[must_use]
    pub fn format_errors(&self) -> u32 {
        self.values.format_errors
    }

    /// Whether a field stood in the record that the shape does not have.
    #[must_use]
    pub fn has_unlisted_field(&self) -> bool {
        self.values.has_unlisted
    }
}

/// The wanted values of one record, with the text that they lie in.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    text: &'a str,
    values: &'a RecordValues,
}

impl<'a> RecordView<'a> {
    /// The value in a slot.
    #[inline]
    #[must_use]
    pub fn value(self, slot: u16) -> FieldValue<'a> {
        self.value_of(self.slot(slot))
    }

    /// The text in a slot, as [`FieldValue::as_text`] has it.
    #[inline]
    #[must_use]
    pub fn text(self, slot: u16) -> Option<&'a str> {
        let slot = self.slot(slot);
        match slot.state() {
            SlotState::PlainString => self.text.get(slot.start() + 1..slot.end() - 1),
            SlotState::Missing => None,
            _ => self.value_of(slot).as_text(),
        }
    }

    /// What a slot holds, as it is kept.
    #[inline]
    #[must_use]
    pub fn slot(self, slot: u16) -> ValueSlot {
        self.values.slot(slot)
    }

    /// The text that slots of this state are spans of.
    #[inline]
    #[must_use]
    pub fn backing_text(self, state: SlotState) -> &'a str {
        match state {
            SlotState::DecodedString => &self.values.decoded,
            _ => self.text,
        }
    }

    /// Whether any wanted value is malformed, in a list too.
    #[inline]
    #[must_use]
    pub fn has_malformed(self) -> bool {
        self.values.has_malformed
    }

    /// Whether the list itself is malformed.
    #[must_use]
    pub fn is_list_malformed(self, list: u16) -> bool {
        let lists = &self.values.lists;
        lists.get(usize::from(list)).is_some_and(|list| list.state == SlotState::Malformed)
    }

    /// How many elements a list has.
    #[must_use]
    pub fn list_len(self, list: u16) -> usize {
        let lists = &self.values.lists;
        lists.get(usize::from(list)).map_or(0, |list| list.element_count)
    }

    /// One value of one element of a list whose elements have `stride` values.
    #[must_use]
    pub fn element(self, list: u16, stride: u16, index: usize, slot: u16) -> FieldValue<'a> {
        let lists = &self.values.lists;
        lists
            .get(usize::from(list))
            .and_then(|list| {
                let at = list.first_element + index * usize::from(stride) + usize::from(slot);
                self.values.elements.get(at)
            })
            .map_or(FieldValue::Missing, |&slot| self.value_of(slot))
    }

    /// Where a list of scalars stands in the record's text, and how long it is, if
    /// it can be copied as it stands.
    #[inline]
    #[must_use]
    pub fn verbatim_list(self, list: u16) -> Option<(usize, usize)> {
        let list = self.values.lists.get(usize::from(list))?;
        list.verbatim_span.filter(|_| list.state == SlotState::PlainString)
    }

    /// Returns the elements of a list of scalars, as they are kept.
    #[must_use]
    pub fn elements(self, list: u16) -> &'a [ValueSlot] {
        self.list_slots(list, 1)
    }

    /// Returns all values of a list whose elements have `stride` values, as they are
    /// kept.
    #[inline]
    #[must_use]
    pub fn list_slots(self, list: u16, stride: u16) -> &'a [ValueSlot] {
        let list = self.values.lists.get(usize::from(list));
        list.and_then(|list| {
            let end = list.first_element + list.element_count * usize::from(stride);
            self.values.elements.get(list.first_element..end)
        })
        .unwrap_or_default()
    }

    /// What a slot of this record means.
    #[inline]
    #[must_use]
    pub fn value_of(self, slot: ValueSlot) -> FieldValue<'a> {
        let (start, end) = (slot.start(), slot.end());
        let text = |from: &'a str, start, end| from.get(start..end).unwrap_or_default();
        match slot.state() {
            SlotState::Missing => FieldValue::Missing,
            SlotState::Malformed => FieldValue::Malformed,
            SlotState::PlainString => {
                FieldValue::Text { text: text(self.text, start + 1, end - 1), is_plain: true }
            }
            SlotState::DecodedString => {
                FieldValue::Text { text: text(&self.values.decoded, start, end), is_plain: false }
            }
            SlotState::Number => FieldValue::Number(text(self.text, start, end)),
            SlotState::True => FieldValue::Boolean(true),
            SlotState::False => FieldValue::Boolean(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::scan::ScanLimits;
    use crate::policy::catalogue::FieldType;
    use crate::policy::form::TextFormat;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    /// Reads records with one memory of keys; says which are JSON.
    #[track_caller]
    fn check_json_validity(records: &[(&str, bool)]) {
        let mut shape = RecordShape::default();
        for path in ["a", "b", "c.a"] {
            shape.add_path(path, FieldType::Text(None)).unwrap();
        }
        let mut record = Record::new(&shape);
        for (text, is_json) in records {
            let read = record.read(text.as_bytes(), &RecordLimits::default());
            assert_eq!(read.is_ok(), *is_json, "{text}");
        }
    }

    fn test_shape() -> RecordShape {
        let mut shape = RecordShape::default();
        for (path, kind) in [
            ("id", FieldType::Text(None)),
            ("day", FieldType::Text(Some(TextFormat::Date))),
            ("at.city", FieldType::Text(None)),
            ("at.in.floor", FieldType::Integer),
            ("at.note", FieldType::Text(None)),
            ("open", FieldType::Boolean),
            ("count", FieldType::Integer),
            ("tags[]", FieldType::Text(None)),
            ("copies[].id", FieldType::Text(None)),
            ("last", FieldType::TextOrNumber),
        ] {
            shape.add_path(path, kind).unwrap();
        }
        shape
    }

    /// What was read of a record, or why it was refused.
    fn describe_record(record: &mut Record, text: &str, limits: &RecordLimits) -> String {
        let read = record.read(text.as_bytes(), limits);
        if let Err(reason) = read {
            return format!("{reason:?}");
        }
        let values = &record.values;
        let reading = record.view(text);
        let views = |slots: &[ValueSlot]| -> Vec<String> {
            let views = slots.iter().map(|&slot| format!("{:?}", reading.value_of(slot)));
            views.collect()
        };
        format!(
            "{:?} {:?} {:?} {} {} {}",
            views(&values.slots[..usize::from(record.shape.slot_count)]),
            values.lists,
            views(&values.elements),
            values.format_errors,
            values.has_unlisted,
            values.has_malformed
        )
    }

    /// A record that read many of the usual ones: it knows how they lie, and how
    /// long their strings are.
    fn warmed_up_record(depth: u32) -> Record {
        let mut record = Record::new(&test_shape());
        let mixed = TYPICAL_RECORD
            .replace("\"open\":true,", "\"else\":\"e\",\"open\":true,")
            .replace("\"city\":\"Gent\"", "\"street\":\"s\"")
            .replacen("\"id\"", if depth.is_multiple_of(2) { "\"other\"" } else { "\"new\"" }, 1);
        // The script of it and of what only some have.
        for text in std::iter::once(&*mixed).chain(std::iter::repeat_n(TYPICAL_RECORD, 1_000)) {
            record.read(text.as_bytes(), &RecordLimits::default()).unwrap();
        }
        record
    }

    const TYPICAL_RECORD: &str = "{\"id\":\"P-1\",\"day\":\"2026-11-23\",\"at\":{\"city\":\"Gent\",\"in\":{\"floor\":3},\"note\":\"a\"},\"other\":\"x\",\"open\":true,\"count\":42,\"tags\":[\"a\",\"b\"],\"more\":{\"y\":[1,{}]},\"copies\":[{\"id\":\"c\"}],\"last\":\"a string of more than thirty-two characters\"}";

    #[test]
    fn record_list_elements_do_not_depend_on_its_spelling() {
        let long = "x".repeat(31);
        let longer = "y".repeat(32);
        let mut record = Record::new(&test_shape());
        let limits = RecordLimits::default();
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
            (&format!(r#"["a","{longer}"]"#), Some(vec!["a", &*longer]), true),
        ] {
            // In the middle of a record, and at its end.
            for rest in [r#","count":1234567890123456789012345678901234567890"#, ""] {
                let text = format!(r#"{{"id":"1","tags":{list}{rest}}}"#);
                let read = record.read(text.as_bytes(), &limits).unwrap();
                let reading = record.view(read);
                let elements = reading.elements(0).iter();
                let read: Option<Vec<_>> =
                    elements.map(|&slot| reading.value_of(slot).as_text()).collect();
                assert_eq!(reading.has_malformed(), want.is_none(), "{text}");
                if want.is_some() {
                    assert_eq!(read, want, "{text}");
                }
                assert_eq!(reading.verbatim_list(0).is_some(), whole, "{text}");
                let copied = reading.verbatim_list(0).map(|(at, length)| &text[at..at + length]);
                assert!(copied.is_none_or(|copied| copied == list), "{text}");
            }
        }
        for broken in [r#"["a","b"#, r#"["a","b""#, r#"["a";"b"]"#, r#"["a",]"#, "[\"a\u{1}\"]"] {
            for rest in [r#","count":1,"last":"a string of some length"}"#, ""] {
                let text = format!(r#"{{"tags":{broken}{rest}"#);
                assert!(record.read(text.as_bytes(), &limits).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn template_is_followed_by_records_with_fewer_members() {
        let mut record = Record::new(&test_shape());
        let limits = RecordLimits::default();
        for _ in 0..2 {
            describe_record(&mut record, TYPICAL_RECORD, &limits);
        }
        for (text, follows) in [
            (TYPICAL_RECORD, true),
            ("{\"day\":\"2026-11-23\"}", true),
            ("{\"at\":{\"note\":\"n\"},\"last\":\"\"}", true),
            ("{\"id\":\"\\u0041\",\"tags\":null}", true),
            ("{\"id\":\"\\u0041\",\"count\":7}", true),
            ("{}", false),
            ("{\"at\":{}}", false),
            ("{\"day\":\"2026-11-23\",\"id\":\"P\"}", false),
        ] {
            let before = record.template.score();
            let mut fresh = Record::new(&test_shape());
            let (one, other) = (
                describe_record(&mut record, text, &limits),
                describe_record(&mut fresh, text, &limits),
            );
            assert_eq!(one, other, "{text}");
            assert_eq!(record.template.score() > before, follows, "{text}");
        }
    }

    #[test]
    fn template_grows_by_members_of_some_records() {
        let mut record = Record::new(&test_shape());
        let limits = RecordLimits::default();
        let some = [
            "{\"id\":\"a\",\"at\":{\"city\":\"Gent\"},\"count\":1}",
            "{\"id\":\"a\",\"day\":\"2026-11-23\",\"at\":{\"note\":\"n\"}}",
            "{\"id\":\"a\",\"at\":{\"in\":{\"floor\":1},\"note\":\"n\"},\"x\":\"y\",\"count\":2}",
            "{\"open\":true}",
        ];
        for text in some {
            describe_record(&mut record, text, &limits);
        }
        for text in some.into_iter().chain([
            "{\"id\":\"a\",\"day\":\"x\",\"at\":{\"in\":{\"floor\":7}},\"x\":\"y\",\"count\":3}",
        ]) {
            let before = record.template.score();
            let mut fresh = Record::new(&test_shape());
            assert_eq!(
                describe_record(&mut record, text, &limits),
                describe_record(&mut fresh, text, &limits)
            );
            assert!(record.template.score() > before, "{text}");
        }
        // What stands twice is never taken once.
        let twice = "{\"id\":\"a\",\"count\":1,\"id\":\"b\"}";
        let mut fresh = Record::new(&test_shape());
        let (one, other) = (
            describe_record(&mut record, twice, &limits),
            describe_record(&mut fresh, twice, &limits),
        );
        assert_eq!(one, other);
    }

    #[test]
    fn template_usual_length_changes_no_result() {
        let limits = RecordLimits::default();
        let mut record = warmed_up_record(0);
        for text in [
            TYPICAL_RECORD.to_owned(),
            TYPICAL_RECORD.replace("Gent", "Aalst"),
            TYPICAL_RECORD.replace("Gent", "Ath"),
            TYPICAL_RECORD.replace("Gent", ""),
            TYPICAL_RECORD.replace("Gent", "G\\u0065nt"),
            TYPICAL_RECORD.replace("Gent", "Ge\\\""),
            TYPICAL_RECORD.replace("Gent", "Ge\\\"\",\"x\":\"y"),
            TYPICAL_RECORD.replace("Gent", "Ge\"nt"),
            TYPICAL_RECORD.replace("Gent", "Ge\u{1}t"),
            TYPICAL_RECORD.replace("2026-11-23", "2026-13-23"),
            TYPICAL_RECORD.replace("2026-11-23", "2026-11-2"),
            TYPICAL_RECORD.replace("2026-11-23", "2026-11-230"),
        ] {
            let mut fresh = Record::new(&test_shape());
            assert_eq!(
                describe_record(&mut record, &text, &limits),
                describe_record(&mut fresh, &text, &limits),
                "{text}"
            );
        }
        assert!(record.template.usual_length_count() > 3);
    }

    #[test]
    fn template_is_paused_when_few_records_follow_it() {
        let mut record = Record::new(&test_shape());
        let limits = RecordLimits::default();
        for round in 0..200 {
            let text = match round % 3 {
                0 => "{\"id\":\"a\",\"open\":true,\"count\":1}",
                1 => "{\"open\":true,\"count\":1,\"id\":\"a\"}",
                _ => "{\"count\":1,\"id\":\"a\",\"open\":true}",
            };
            describe_record(&mut record, text, &limits);
        }
        assert!(!record.template.should_follow());
    }

    /// What is put where in a text, for how many bytes of it.
    type TextEdits = Vec<(usize, usize, String)>;

    fn any_edits(count: std::ops::Range<usize>) -> impl Strategy<Value = TextEdits> {
        let put = "[{}\\[\\],:\" \\\\0-9a-dentru.é-]{0,3}|,\"id\":\"x\"|\\{\"id\":\"x\",|\"\\},\"tags\"|,\"more\":null";
        proptest::collection::vec((0usize..400, 0usize..12, put), count)
    }

    fn apply_edits(text: &str, edits: &TextEdits) -> String {
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
    const ALL_MEMBERS: [&str; 12] = [
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
    fn record_without_template() -> Record {
        let mut record = Record::new(&test_shape());
        record.template.disable();
        let text = format!("{{{}}}", ALL_MEMBERS.join(","));
        record.read(text.as_bytes(), &RecordLimits::default()).unwrap();
        record
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6_000))]
        #[test]
        fn key_cache_changes_no_result(
            records in proptest::collection::vec(
                (Just(ALL_MEMBERS.to_vec()).prop_shuffle(), 1..=ALL_MEMBERS.len(), 0..4usize, any_edits(0..3)),
                1..4,
            ),
            depth in 1u32..5,
            keys in 10u32..30,
        ) {
            static KNOWING: LazyLock<Record> = LazyLock::new(record_without_template);
            let mut record = KNOWING.clone();
            let limits = RecordLimits { max_bytes: 1 << 20, scan_limits: ScanLimits { max_depth: depth, max_keys: keys } };
            for (members, count, spaces, edits) in &records {
                let text = format!("{{{}}}", members[..*count].join(","));
                let text = match spaces {
                    1 => text.replace("\":", "\": "),
                    2 => text.replace(",\"", ",\n \"").replace("\":", "\" : "),
                    _ => text,
                };
                let text = apply_edits(&text, edits);
                let mut fresh = Record::new(&test_shape());
                prop_assert_eq!(describe_record(&mut record, &text, &limits), describe_record(&mut fresh, &text, &limits), "{}", text);
            }
        }

        #[test]
        fn template_changes_no_result(edits in any_edits(1..4), depth in 1u32..5, keys in 10u32..30) {
            let text = apply_edits(TYPICAL_RECORD, &edits);
            static USED: LazyLock<[Record; 2]> = LazyLock::new(|| [warmed_up_record(0), warmed_up_record(1)]);
            let mut record = USED[depth as usize % 2].clone();
            let limits = RecordLimits { max_bytes: 1 << 20, scan_limits: ScanLimits { max_depth: depth, max_keys: keys } };
            let mut fresh = Record::new(&test_shape());
            prop_assert_eq!(describe_record(&mut record, &text, &limits), describe_record(&mut fresh, &text, &limits), "{}", text);
        }
    }

    #[test]
    fn key_cache_tells_first_from_later_members() {
        let either = [("{\"a\":\"1\",\"b\":\"2\"}", true), ("{\"b\":\"1\"}", true)];
        let wrong = "{\"a\":\"1\"{\"b\":\"2\"}";
        check_json_validity(&[either[0], either[1], (wrong, false), either[0]]);
        check_json_validity(&[either[0], ("{,\"b\":\"2\"}", false), ("{\"b\":\"2\",}", false)]);
        let inner = "{\"c\":{\"a\":\"1\"},\"b\":\"2\"}";
        check_json_validity(&[(inner, true), ("{\"c\":{\"a\":\"1\"}{\"b\":\"2\"}", false)]);
        check_json_validity(&[
            (inner, true),
            ("{\"c\":{}}", true),
            ("{}", true),
            ("{\"c\":{ }}", true),
        ]);
    }
}
