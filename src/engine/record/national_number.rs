//! National numbers of a patron: their digits, and whether a value has them.
//!
//! A number never leaves this module but in the patron's row, and is in no text that it
//! makes.

use std::fmt;

use super::RecordView;
use super::shape::FEW_DIGITS_MAX;
use super::value::{FieldValue, SlotState, ValueSlot};
use crate::policy::catalogue;
use crate::policy::form::simd::{ShortSpan, may_have_min_digits, pack_digits};
use crate::policy::form::{is_bsn, is_rijksregisternummer};
use crate::policy::text::digit_values;

/// A number with fewer digits is no national number. Leading zeros count only up to
/// this length.
const DIGITS_MIN: usize = 8;
/// Of a longer number only the last digits are searched for.
const DIGITS_MAX: usize = 14;
const BSN_DIGITS: usize = 9;
const RIJKSREGISTERNUMMER_DIGITS: usize = 11;

/// A slot of a record that holds a national number of its patron, valid or not.
#[derive(Clone, Copy, Debug)]
pub struct NationalNumberSlot {
    pub slot: u16,
    pub kind: catalogue::NationalNumberKind,
}

/// The digits of a patron's national number, valid or not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NationalNumber {
    digits: Digits,
    kind: catalogue::NationalNumberKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Digits {
    /// The last `length` digits, four bits each.
    Known { value: u64, length: usize },
    /// The field is malformed, so any valid number of its kind that is all the digits
    /// of a text counts as a match.
    Unreadable,
}

/// Never prints the digits.
impl fmt::Debug for NationalNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NationalNumber")
    }
}

impl NationalNumber {
    /// Parses the value of a field. `None` if it is not a number.
    #[must_use]
    pub fn parse(
        value: FieldValue<'_>,
        number: catalogue::NationalNumberKind,
    ) -> Option<NationalNumber> {
        let digits = match value {
            FieldValue::Missing => return None,
            FieldValue::Malformed | FieldValue::Boolean(_) => Digits::Unreadable,
            FieldValue::Text { text, .. } | FieldValue::Number(text) => Digits::parse(text)?,
        };
        Some(NationalNumber { digits, kind: number })
    }

    /// Packs the number into at most 55 bits, for the patron's row.
    #[must_use]
    pub fn pack(self) -> u64 {
        let (value, length) = match self.digits {
            Digits::Known { value, length } => (decimal(value), length as u64),
            Digits::Unreadable => (0, 0),
        };
        let is_bsn = u64::from(self.kind == catalogue::NationalNumberKind::Bsn);
        value << 5 | length << 1 | is_bsn
    }

    /// The inverse of [`pack`](Self::pack).
    #[must_use]
    pub fn unpack(packed: u64) -> NationalNumber {
        let digits = match (packed >> 1 & 0xf) as usize {
            0 => Digits::Unreadable,
            length => Digits::Known { value: nibbles(packed >> 5), length },
        };
        let number = match packed & 1 {
            0 => catalogue::NationalNumberKind::Other,
            _ => catalogue::NationalNumberKind::Bsn,
        };
        NationalNumber { digits, kind: number }
    }

    /// Returns the texts that detectors search for. `None` if the field is malformed.
    #[must_use]
    pub fn written_forms(self) -> Option<WrittenNumber> {
        let Digits::Known { value, length } = self.digits else {
            return None;
        };
        let full_length = match self.kind {
            catalogue::NationalNumberKind::Bsn => BSN_DIGITS,
            catalogue::NationalNumberKind::Other => RIJKSREGISTERNUMMER_DIGITS,
        };
        Some(WrittenNumber { digits: ascii(value), lengths: [length.max(full_length), length] })
    }

    /// Returns how many digits a text needs to contain this number.
    fn min_digits(self) -> usize {
        match (self.digits, self.kind) {
            (Digits::Known { length, .. }, _) => length,
            // Its leading zero may be left out.
            (Digits::Unreadable, catalogue::NationalNumberKind::Bsn) => BSN_DIGITS - 1,
            (Digits::Unreadable, catalogue::NationalNumberKind::Other) => {
                RIJKSREGISTERNUMMER_DIGITS
            }
        }
    }

    /// Returns whether the digits of a text contain this number, or may be it if it is
    /// unknown.
    #[cold]
    #[inline(never)]
    fn is_in(self, text: &[u8]) -> bool {
        match self.digits {
            Digits::Known { value, length } => {
                let mut search = DigitSearch::new(value, length);
                each_digit(text, |digit| search.push(digit));
                search.is_found
            }
            Digits::Unreadable => {
                let (mut window, mut count) = (0, 0);
                each_digit(text, |digit| {
                    window = window << 4 | digit;
                    count += 1;
                });
                match self.kind {
                    catalogue::NationalNumberKind::Bsn => {
                        (self.min_digits()..=BSN_DIGITS).contains(&count)
                            && is_bsn(&ascii::<BSN_DIGITS>(window))
                    }
                    catalogue::NationalNumberKind::Other => {
                        count == RIJKSREGISTERNUMMER_DIGITS
                            && is_rijksregisternummer(&ascii::<RIJKSREGISTERNUMMER_DIGITS>(window))
                    }
                }
            }
        }
    }

    /// Returns whether it is in one of these values of a record.
    #[inline(always)]
    fn is_in_slots(
        self,
        record: RecordView<'_>,
        mut slots: impl Iterator<Item = ValueSlot>,
    ) -> bool {
        let text = record.backing_text(SlotState::PlainString).as_bytes();
        let (value, length) = match self.digits {
            Digits::Known { value, length } => (value, length),
            Digits::Unreadable => (0, self.min_digits()),
        };
        let is_known = self.digits != Digits::Unreadable;
        let digit = |nibble: u64| b'0' + (nibble & 0xf) as u8;
        let (first, last) = (digit(value >> (4 * (length - 1))), digit(value));
        slots.any(|slot| {
            // Most values are too short. Quotes are no digits, and may stay.
            let bytes = slot.verbatim_length();
            if bytes < length {
                return false;
            }
            match ShortSpan::new(text, slot.start(), bytes) {
                Some(span) if is_known => {
                    span.may_contain(first, last, length) && self.is_in_span(span)
                }
                _ => self.is_in_slot(record, slot),
            }
        })
    }

    #[inline(never)]
    fn is_in_span(self, span: ShortSpan<'_>) -> bool {
        let Digits::Known { value, length } = self.digits else {
            return self.is_in(span.value());
        };
        if !span.is_ascii() {
            return self.is_in(span.value());
        }
        let (mut search, mut digits) = (DigitSearch::new(value, length), span.digits());
        while digits != 0 {
            let digit = span.bytes[digits.trailing_zeros() as usize % 32] & 0xf;
            search.push(u64::from(digit));
            digits &= digits - 1;
        }
        search.is_found
    }

    #[cold]
    #[inline(never)]
    fn is_in_slot(self, record: RecordView<'_>, slot: ValueSlot) -> bool {
        let text = record.value_of(slot).as_text().map(str::as_bytes);
        text.is_some_and(|text| may_have_min_digits(text, self.min_digits()) && self.is_in(text))
    }
}

/// Looks for a number in digits that come one by one.
struct DigitSearch {
    value: u64,
    mask: u64,
    window: u64,
    is_found: bool,
}

impl DigitSearch {
    fn new(value: u64, length: usize) -> DigitSearch {
        // Bits that are no digit: nothing is found before `length` digits.
        DigitSearch { value, mask: mask(length), window: u64::MAX, is_found: false }
    }

    #[inline(always)]
    fn push(&mut self, digit: u64) {
        self.window = self.window << 4 | digit;
        self.is_found |= self.window & self.mask == self.value;
    }
}

/// A national number as text, with and without leading zeros.
#[derive(Clone, Copy)]
pub struct WrittenNumber {
    digits: [u8; DIGITS_MAX],
    lengths: [usize; 2],
}

impl WrittenNumber {
    /// Returns both forms.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.lengths.iter().map(|&length| {
            let digits = self.digits.get(DIGITS_MAX - length..);
            digits.and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default()
        })
    }
}

impl Digits {
    /// Returns the digits of a text; `None` if they are too few, or all zeros.
    fn parse(text: &str) -> Option<Digits> {
        let (mut window, mut count, mut shifted_out) = (0_u64, 0, 0);
        if let Some(packed) = pack_digits(text.as_bytes()) {
            (window, count) = (packed, text.len());
        } else {
            each_digit(text.as_bytes(), |digit| {
                shifted_out |= window >> 60;
                window = window << 4 | digit;
                count += 1;
            });
        }
        if count < DIGITS_MIN || window | shifted_out == 0 {
            return None;
        }
        let significant = match shifted_out {
            0 => (u64::BITS - window.leading_zeros()).div_ceil(4) as usize,
            _ => DIGITS_MAX,
        };
        let length = significant.clamp(DIGITS_MIN, DIGITS_MAX);
        Some(Digits::Known { value: window & mask(length), length })
    }
}

/// Calls `take` with each decimal digit of a text, in any script.
#[inline(always)]
fn each_digit(text: &[u8], mut take: impl FnMut(u64)) {
    if text.is_ascii() {
        for byte in text {
            let digit = byte.wrapping_sub(b'0');
            if digit < 10 {
                take(u64::from(digit));
            }
        }
    } else if let Ok(text) = std::str::from_utf8(text) {
        digit_values(text).for_each(take);
    }
}

/// A mask of the last `length` digits.
#[inline(always)]
const fn mask(length: usize) -> u64 {
    (1 << (4 * length)) - 1
}

/// Converts digits of four bits each to a number.
fn decimal(nibbles: u64) -> u64 {
    let place = |place: usize| nibbles >> (4 * place) & 0xf;
    (0..DIGITS_MAX).rev().fold(0, |number, at| number * 10 + place(at))
}

/// The inverse of [`decimal`].
fn nibbles(mut number: u64) -> u64 {
    let mut nibbles = 0;
    for place in 0..DIGITS_MAX {
        nibbles |= (number % 10) << (4 * place);
        number /= 10;
    }
    nibbles
}

/// Returns the last `N` digits as text.
fn ascii<const N: usize>(mut window: u64) -> [u8; N] {
    let mut text = [b'0'; N];
    for place in text.iter_mut().rev() {
        *place += (window & 0xf) as u8;
        window >>= 4;
    }
    text
}

/// The national numbers of a record's patron.
#[derive(Clone, Debug, Default)]
pub struct PatronNationalNumbers {
    numbers: Vec<NationalNumber>,
    /// A text with fewer digits contains none of them.
    min_digits: usize,
}

impl PatronNationalNumbers {
    pub(in crate::engine) fn clear(&mut self) {
        self.numbers.clear();
    }

    /// Replaces the numbers by those of a record and of its patron's row.
    pub(in crate::engine) fn collect_for_record(
        &mut self,
        national: &[NationalNumberSlot],
        record: RecordView<'_>,
        in_row: impl Iterator<Item = NationalNumber>,
    ) {
        self.numbers.clear();
        for of in national {
            let slot = record.slot(of.slot);
            if !slot.is_missing() {
                self.numbers.extend(NationalNumber::parse(record.value_of(slot), of.kind));
            }
        }
        self.numbers.extend(in_row);
        self.update_min_digits();
    }

    /// Adds the value of a field, if it is a number.
    pub(in crate::engine) fn add(
        &mut self,
        value: FieldValue<'_>,
        kind: catalogue::NationalNumberKind,
    ) {
        if let Some(number) = NationalNumber::parse(value, kind) {
            self.numbers.push(number);
            self.update_min_digits();
        }
    }

    fn update_min_digits(&mut self) {
        let digit_counts = self.numbers.iter().map(|number| number.min_digits());
        self.min_digits = digit_counts.min().unwrap_or(usize::MAX);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = NationalNumber> + '_ {
        self.numbers.iter().copied()
    }

    /// Returns whether the digits of a text contain one of them. If `is_authorised`,
    /// only a BSN counts.
    #[inline]
    #[must_use]
    pub fn occur_in(&self, text: &str, is_authorised: bool) -> bool {
        self.are_in_bytes(text.as_bytes(), is_authorised)
    }

    #[inline(always)]
    fn are_in_bytes(&self, text: &[u8], is_authorised: bool) -> bool {
        may_have_min_digits(text, self.min_digits) && self.search_digits(text, is_authorised)
    }

    #[cold]
    #[inline(never)]
    fn search_digits(&self, text: &[u8], is_authorised: bool) -> bool {
        let counts =
            |one: &NationalNumber| !is_authorised || one.kind == catalogue::NationalNumberKind::Bsn;
        self.numbers.iter().any(|one| counts(one) && one.is_in(text))
    }

    /// Returns whether one of them is in a kept value of a record.
    pub(in crate::engine) fn occur_in_slot(&self, record: RecordView<'_>, slot: ValueSlot) -> bool {
        self.numbers.iter().any(|number| number.is_in_slots(record, std::iter::once(slot)))
    }

    /// Returns whether one of them is in a value that some recipient of a source may
    /// get as it stands in the record.
    #[inline(never)]
    pub(in crate::engine) fn occur_in_copied_slots(
        &self,
        copied: &CopiedSlots,
        record: RecordView<'_>,
    ) -> bool {
        let CopiedSlots { slots, slots_of_few_digits, lists } = copied;
        let is_in = |number: &NationalNumber, slots: &[u16]| {
            number.is_in_slots(record, slots.iter().map(|&slot| record.slot(slot)))
        };
        self.numbers.iter().any(|number| is_in(number, slots))
            || (self.min_digits <= FEW_DIGITS_MAX
                && self.numbers.iter().any(|number| is_in(number, slots_of_few_digits)))
            || lists.iter().any(|&list| self.occur_in_list(record, list))
    }

    /// Returns whether one of them is in a value of a list, whose elements have
    /// `stride`.
    pub(in crate::engine) fn occur_in_list(
        &self,
        record: RecordView<'_>,
        (list, stride): (u16, u16),
    ) -> bool {
        let slots = record.list_slots(list, stride);
        self.numbers.iter().any(|number| number.is_in_slots(record, slots.iter().copied()))
    }
}

/// The values that outputs copy from records. All others are inspected where they are
/// made.
#[derive(Clone, Debug, Default)]
pub struct CopiedSlots {
    pub slots: Vec<u16>,
    /// Slots whose values have at most `FEW_DIGITS_MAX` digits.
    pub slots_of_few_digits: Vec<u16>,
    /// Lists, with the number of values per element.
    pub lists: Vec<(u16, u16)>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

    use super::*;
    use crate::engine::record::shape::RecordShape;
    use crate::engine::record::{Record, RecordLimits};
    use crate::json::write;
    use crate::policy::catalogue::FieldType;
    use crate::policy::catalogue::NationalNumberKind::{Bsn, Other};

    fn text_value(text: &str) -> FieldValue<'_> {
        FieldValue::Text { text, is_plain: true }
    }

    fn parse_numbers(all: &[(&str, catalogue::NationalNumberKind)]) -> PatronNationalNumbers {
        let all = all.iter();
        let mut numbers = PatronNationalNumbers {
            numbers: all
                .filter_map(|(digits, number)| NationalNumber::parse(text_value(digits), *number))
                .collect(),
            min_digits: 0,
        };
        numbers.update_min_digits();
        numbers
    }

    /// Looks for the numbers in a record's value, with another one behind it.
    fn occurs_in_record(numbers: &PatronNationalNumbers, text: &str, behind: &str) -> bool {
        let mut shape = RecordShape::default();
        shape.add_path("a", FieldType::Text(None)).unwrap();
        let mut json = b"{\"a\":".to_vec();
        write::string(&mut json, text);
        json.extend(format!(",\"b\":\"{behind}\"}}").bytes());
        let mut record = Record::new(&shape);
        let read = record.read(&json, &RecordLimits::default()).unwrap();
        let view = record.view(read);
        numbers.occur_in_slot(view, view.slot(0))
    }

    #[track_caller]
    fn assert_found(
        number: (&str, catalogue::NationalNumberKind),
        found_in: &[&str],
        not_in: &[&str],
    ) {
        let numbers = parse_numbers(&[number]);
        for text in found_in {
            assert!(numbers.occur_in(text, false), "{text:?}");
            assert!(occurs_in_record(&numbers, text, ""), "{text:?}");
        }
        for text in not_in {
            assert!(!numbers.occur_in(text, false), "{text:?}");
            assert!(!occurs_in_record(&numbers, text, number.0), "{text:?}");
        }
    }

    #[test]
    fn s01_national_number_is_found_among_all_digits_of_a_text() {
        assert_found(
            ("111222333", Bsn),
            &[
                "111222333",
                "111.222.333",
                "bsn 1-1-1 a 2-2-2 b 3-3-3!",
                "4111222333",
                "1112223334",
                "1,1,1, 2,2,2 en 333",
                "\u{661}\u{661}\u{661}２２２333",
            ],
            &["", "11122233", "111222433", "111222 boeken 433", "333222111"],
        );
        assert_found(("111.222.333", Bsn), &["111222333"], &[]);
        assert_found(("\u{661}11222333", Bsn), &["111222333"], &[]);
        // It does not fit its form, and is looked for as it stands.
        assert_found(("111222334", Bsn), &["111222334"], &["111222333"]);
        assert_found(
            ("85.07.30-033.28", Other),
            &["85073003328", "0085073003328"],
            &["8507300332"],
        );
    }

    #[test]
    fn national_number_leading_zeros_count_only_up_to_eight_digits() {
        for bsn in ["012345672", "12345672"] {
            assert_found((bsn, Bsn), &["012345672", "12345672", "0012345672"], &["2345672"]);
        }
        assert_found(("00010112345", Other), &["10112345", "00010112345"], &["112345"]);
        assert_found(("00000012345", Other), &["00012345", "100012345"], &["12345", "000012346"]);
    }

    #[test]
    fn national_number_parse_rejects_short_or_zero_digits() {
        for nothing in ["", "onbekend", "1234567", "000000000"] {
            assert_eq!(NationalNumber::parse(text_value(nothing), Bsn), None, "{nothing:?}");
        }
        assert_eq!(NationalNumber::parse(FieldValue::Missing, Bsn), None);
        assert!(NationalNumber::parse(FieldValue::Number("111222333"), Bsn).is_some());
    }

    #[test]
    fn unreadable_national_number_matches_any_valid_whole_text() {
        let unreadable = |number| {
            let all = NationalNumber::parse(FieldValue::Malformed, number).into_iter();
            let mut numbers = PatronNationalNumbers { numbers: all.collect(), min_digits: 0 };
            numbers.update_min_digits();
            numbers
        };
        assert!(unreadable(Bsn).occur_in("bsn 111.222.333", false));
        assert!(!unreadable(Bsn).occur_in("111222334", false));
        assert!(!unreadable(Bsn).occur_in("1112223330", false));
        assert!(unreadable(Other).occur_in("850730-033-28", false));
        assert!(!unreadable(Other).occur_in("850730-033-28", true));
        assert!(!unreadable(Other).occur_in("111222333", false));
    }

    #[test]
    fn s01_authorisation_covers_every_national_number_but_a_bsn() {
        let both = parse_numbers(&[("111222333", Bsn), ("85073003328", Other)]);
        assert!(both.occur_in("85073003328", false));
        assert!(!both.occur_in("85073003328", true));
        assert!(both.occur_in("111222333", true));
    }

    #[test]
    fn national_number_debug_output_hides_digits() {
        let both = parse_numbers(&[("111222333", Bsn), ("85073003328", Other)]);
        let text = format!("{both:?}");
        assert!(!text.contains("111222333") && !text.contains("85073003328"));
    }

    #[test]
    fn digit_prefilter_accepts_every_unicode_decimal_digit() {
        for c in '\u{80}'..=char::MAX {
            if c.general_category() == GeneralCategory::DecimalNumber {
                let nine = c.to_string().repeat(9);
                assert!(may_have_min_digits(nine.as_bytes(), 9), "{c:?}");
            }
        }
    }

    /// All digits of a text, of any script, by Unicode's runs of ten.
    fn unicode_digits_of(text: &str) -> String {
        let is_digit = |code: u32| {
            let c = char::from_u32(code);
            c.is_some_and(|c| c.general_category() == GeneralCategory::DecimalNumber)
        };
        let digit = |c: char| {
            let code = c as u32;
            let before = (1..=code).take_while(|back| is_digit(code - back)).count() as u32;
            is_digit(code).then(|| char::from_digit(before % 10, 10)).flatten()
        };
        text.chars().filter_map(digit).collect()
    }

    fn digit_strings() -> impl Strategy<Value = String> {
        prop_oneof!["[0-9]{8,16}", "0{2,4}[0-9]{6,10}", "[01]{8,11}"]
    }

    /// Text that often has the digits in it, with anything between them.
    fn text_containing(number: String) -> impl Strategy<Value = String> {
        let pieces = prop::collection::vec("[ a-z.,/-]{0,2}|é|Ж", number.len());
        ("[0-9a-z ]{0,9}", pieces, "[0-9a-z ]{0,9}", 0..3_usize).prop_map(
            move |(before, between, after, script)| {
                let zero = ['0', '\u{660}', '\u{FF10}'][script] as u32;
                let digit = |c: char| char::from_u32(zero + c as u32 - '0' as u32);
                let digits = number.chars().filter_map(digit);
                let inner: String = digits
                    .zip(between)
                    .flat_map(|(digit, between)| {
                        format!("{digit}{between}").chars().collect::<Vec<_>>()
                    })
                    .collect();
                format!("{before}{inner}{after}")
            },
        )
    }

    proptest! {
        #[test]
        fn national_number_search_equals_plain_substring_search(
            (number, carrier) in digit_strings().prop_flat_map(|number| (Just(number.clone()), text_containing(number))),
            other in any::<String>(),
            plain in "[0-9 .a-z]{0,40}",
            behind in "[0-9]{0,40}",
        ) {
            let numbers = parse_numbers(&[(&number, Other)]);
            let digits = unicode_digits_of(&number);
            let short = digits.trim_start_matches('0');
            let longest = &short[short.len().saturating_sub(14)..];
            let needle = match short.len() {
                0..8 => &digits[digits.len() - 8..],
                _ => longest,
            };
            let is_number = !short.is_empty();
            for text in [&number, &carrier, &other, &plain] {
                let want = is_number && unicode_digits_of(text).contains(needle);
                prop_assert_eq!(numbers.occur_in(text, false), want, "{} in {}", needle, text);
                let in_record = occurs_in_record(&numbers, text, &behind);
                prop_assert_eq!(in_record, want, "{} in {} of a record", needle, text);
            }
            prop_assert!(!is_number || numbers.occur_in(&carrier, false));
        }

        #[test]
        fn national_number_pack_round_trips(digits in digit_strings(), bsn in any::<bool>(), readable in any::<bool>()) {
            let value = if readable { text_value(&digits) } else { FieldValue::Malformed };
            let number = NationalNumber::parse(value, if bsn { Bsn } else { Other });
            if let Some(number) = number {
                prop_assert!(number.pack() >> 56 == 0);
                prop_assert_eq!(NationalNumber::unpack(number.pack()), number);
            }
        }
    }
}
