//! Inspect: the last check of a value before an output is published.
//!
//! No string or number of an output has, among all its digits in their order,
//! those of its patron's BSN, nor of another national number without an
//! authorisation that covers it, whatever field it came by. What has them is left
//! out. Pseudonyms are not looked at: they are made of a keyed hash, and of nothing
//! that anybody could read in them. A number never leaves this module but in the
//! patron's row, and is in no text that it makes.

use std::fmt;

use super::lane::{Facts, Program, Source};
use super::record::Reading;
use super::table::Row;
use super::value::{Slot, State, Value};
use crate::policy::bytes::may_have_digits;
use crate::policy::catalogue;
use crate::policy::form::{is_bsn, is_national_card, is_rijksregisternummer};
use crate::policy::text::digit_values;

/// Fewer digits are no national number, and zeros at the start count as far as
/// there are fewer without them.
const DIGITS_MIN: usize = 8;
/// Of longer numbers the last digits are looked for.
const DIGITS_MAX: usize = 14;
const BSN_DIGITS: usize = 9;
const REGISTER_DIGITS: usize = 11;

/// A slot of a record that holds a national number of its patron, as it stands
/// there, whatever its form.
#[derive(Clone, Copy, Debug)]
pub struct NationalSlot {
    pub slot: u16,
    pub number: catalogue::NationalNumber,
}

/// A national number of a patron: its digits, in any script, as they stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NationalNumber {
    digits: Digits,
    number: catalogue::NationalNumber,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Digits {
    /// The last `length` digits make this number.
    Known { value: u64, length: usize },
    /// The field cannot be read: it may be any number of its kind, and is taken for
    /// one where that is all that the digits of a text are.
    Unreadable,
}

/// It is never written anywhere.
impl fmt::Debug for NationalNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NationalNumber")
    }
}

impl NationalNumber {
    /// Reads what stands in a field; `None` where that is no number.
    #[must_use]
    pub fn read(value: Value<'_>, number: catalogue::NationalNumber) -> Option<NationalNumber> {
        let digits = match value {
            Value::Missing => return None,
            Value::Malformed | Value::Boolean(_) => Digits::Unreadable,
            Value::Text { text, .. } | Value::Number(text) => Digits::of(text)?,
        };
        Some(NationalNumber { digits, number })
    }

    /// The number in at most 55 bits, for the patron's row.
    #[must_use]
    pub fn pack(self) -> u64 {
        let (value, length) = match self.digits {
            Digits::Known { value, length } => (value, length as u64),
            Digits::Unreadable => (0, 0),
        };
        let is_bsn = u64::from(self.number == catalogue::NationalNumber::Bsn);
        value << 5 | length << 1 | is_bsn
    }

    /// What [`pack`](Self::pack) made of a number.
    #[must_use]
    pub fn unpack(packed: u64) -> NationalNumber {
        let digits = match (packed >> 1 & 0xf) as usize {
            0 => Digits::Unreadable,
            length => Digits::Known {
                value: packed >> 5,
                length,
            },
        };
        let number = match packed & 1 {
            0 => catalogue::NationalNumber::Other,
            _ => catalogue::NationalNumber::Bsn,
        };
        NationalNumber { digits, number }
    }

    /// The digits that free text is searched for; `None` where they could not be
    /// read.
    #[must_use]
    pub fn written(self) -> Option<WrittenNumber> {
        let Digits::Known { value, length } = self.digits else {
            return None;
        };
        let whole = match self.number {
            catalogue::NationalNumber::Bsn => BSN_DIGITS,
            catalogue::NationalNumber::Other => REGISTER_DIGITS,
        };
        Some(WrittenNumber {
            digits: decimals(value),
            lengths: [length.max(whole), length],
        })
    }

    /// How many digits a text has at least that has this number.
    fn least(self) -> usize {
        match (self.digits, self.number) {
            (Digits::Known { length, .. }, _) => length,
            (Digits::Unreadable, catalogue::NationalNumber::Bsn) => BSN_DIGITS,
            (Digits::Unreadable, catalogue::NationalNumber::Other) => REGISTER_DIGITS,
        }
    }

    /// Whether the digits before a place end in this number: `window` is the last
    /// of them, `count` how many they are.
    fn ends(self, window: u64, count: usize) -> bool {
        match self.digits {
            Digits::Known { value, length } => {
                count >= length && window % 10_u64.pow(length as u32) == value
            }
            Digits::Unreadable => false,
        }
    }

    /// Whether all digits of a text may be this number, where that is not known.
    fn may_be(self, window: u64, count: usize) -> bool {
        self.digits == Digits::Unreadable
            && count == self.least()
            && match self.number {
                catalogue::NationalNumber::Bsn => is_bsn(&decimals::<BSN_DIGITS>(window)),
                catalogue::NationalNumber::Other => {
                    is_rijksregisternummer(&decimals::<REGISTER_DIGITS>(window))
                }
            }
    }
}

/// A national number as text, with the zeros at its start and without them.
#[derive(Clone, Copy)]
pub struct WrittenNumber {
    digits: [u8; DIGITS_MAX],
    lengths: [usize; 2],
}

impl WrittenNumber {
    /// Both ways to write it.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.lengths.iter().map(|&length| {
            let digits = self.digits.get(DIGITS_MAX - length..);
            digits
                .and_then(|digits| std::str::from_utf8(digits).ok())
                .unwrap_or_default()
        })
    }
}

impl Digits {
    /// The digits of a text; `None` where they are too few, or all zeros.
    fn of(text: &str) -> Option<Digits> {
        let (mut value, mut count, mut significant) = (0, 0, 0);
        for digit in digit_values(text) {
            value = value % WINDOW * 10 + digit;
            count += 1;
            significant += usize::from(digit > 0 || significant > 0);
        }
        if count < DIGITS_MIN || significant == 0 {
            return None;
        }
        let length = significant.clamp(DIGITS_MIN, DIGITS_MAX);
        Some(Digits::Known { value, length })
    }
}

/// One digit fewer than the longest number that is looked for.
const WINDOW: u64 = 10_u64.pow(DIGITS_MAX as u32 - 1);

/// The last digits of a number, as text.
fn decimals<const N: usize>(mut number: u64) -> [u8; N] {
    let mut text = [b'0'; N];
    for place in text.iter_mut().rev() {
        *place += (number % 10) as u8;
        number /= 10;
    }
    text
}

/// The national numbers of the patron of one record.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    all: Vec<NationalNumber>,
    /// A text with fewer digits has none of them.
    least: usize,
}

impl Numbers {
    /// Takes the numbers of a record, and of its patron's row.
    pub(super) fn collect(
        &mut self,
        national: &[NationalSlot],
        record: Reading<'_>,
        row: Option<&Row>,
    ) {
        self.all.clear();
        let own = national.iter();
        self.all
            .extend(own.filter_map(|of| NationalNumber::read(record.value(of.slot), of.number)));
        if let Some(row) = row {
            self.all.extend(row.national_numbers());
        }
        self.note_least();
    }

    fn note_least(&mut self) {
        let least = self.all.iter().map(|number| number.least());
        self.least = least.min().unwrap_or(usize::MAX);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = NationalNumber> + '_ {
        self.all.iter().copied()
    }

    /// Whether one of them is in a text: among all its digits, in their order.
    /// `covered`: those that a recipient may be authorised to have do not count.
    #[inline]
    #[must_use]
    pub fn are_in(&self, text: &str, covered: bool) -> bool {
        may_have_digits(text.as_bytes(), self.least) && self.search(text, covered)
    }

    #[inline(never)]
    fn search(&self, text: &str, covered: bool) -> bool {
        let all = self.all.iter();
        let mut counting = all
            .filter(|one| !covered || one.number == catalogue::NationalNumber::Bsn)
            .copied();
        let (mut window, mut count) = (0, 0);
        for digit in digit_values(text) {
            window = window % WINDOW * 10 + digit;
            count += 1;
            if counting.clone().any(|number| number.ends(window, count)) {
                return true;
            }
        }
        counting.any(|number| number.may_be(window, count))
    }

    /// Whether one of them is in a kept value of a record.
    #[inline]
    pub(super) fn are_in_slot(&self, record: Reading<'_>, slot: Slot) -> bool {
        let text = match slot.state() {
            State::Plain => record
                .text_of(State::Plain)
                .get(slot.start() + 1..slot.end() - 1),
            State::Number | State::Decoded => {
                record.text_of(slot.state()).get(slot.start()..slot.end())
            }
            State::Missing | State::Malformed | State::True | State::False => None,
        };
        text.is_some_and(|text| self.are_in(text, false))
    }

    /// Whether one of them is in a value that some recipient of a source may get
    /// as it stands in the record.
    #[inline(never)]
    pub(super) fn are_in_record(&self, source: &Source, record: Reading<'_>) -> bool {
        let slots = source.copied.slots.iter();
        let mut slots = slots.map(|&slot| record.slot(slot));
        if slots.any(|slot| self.are_in_slot(record, slot)) {
            return true;
        }
        let mut lists = source.copied.lists.iter();
        lists.any(|&list| self.are_in_list(record, list))
    }

    /// Whether one of them is in a value of a list, whose elements have `stride`.
    pub(super) fn are_in_list(&self, record: Reading<'_>, (list, stride): (u16, u16)) -> bool {
        let mut elements = (0..record.list_len(list)).flat_map(|index| {
            (0..stride).map(move |slot| record.element(list, stride, index, slot))
        });
        elements.any(|value| {
            let text = value.as_text();
            text.is_some_and(|text| self.are_in(text, false))
        })
    }
}

/// The values of records that outputs repeat as they stand there: all other
/// values are looked at where they are made.
#[derive(Clone, Debug, Default)]
pub struct CopiedValues {
    pub slots: Vec<u16>,
    /// Lists, and how many values an element has.
    pub lists: Vec<(u16, u16)>,
}

/// Where in an output something was left out: a field by its place, and a part of
/// its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub step: usize,
    pub part: Option<usize>,
}

impl LeftOut {
    pub(super) const fn whole(step: usize) -> LeftOut {
        LeftOut { step, part: None }
    }

    pub(super) const fn part(step: usize, part: usize) -> LeftOut {
        LeftOut {
            step,
            part: Some(part),
        }
    }
}

/// Looks at the values of one output.
#[derive(Debug)]
pub(super) struct Inspector<'a> {
    numbers: Option<&'a Numbers>,
    /// The recipient may have national numbers now, but for a BSN.
    covered: bool,
    /// Copied values have to be looked at as well.
    pub(super) copies: bool,
    /// The library's cards may be national numbers by their digits alone.
    belgian: bool,
    left_out: &'a mut Vec<LeftOut>,
}

impl<'a> Inspector<'a> {
    pub(super) fn new(
        facts: &Facts<'a>,
        program: &Program,
        left_out: &'a mut Vec<LeftOut>,
    ) -> Inspector<'a> {
        Inspector {
            numbers: facts.numbers,
            covered: facts.is_authorised(program),
            copies: facts.suspect || (program.releases_national && facts.numbers.is_some()),
            belgian: facts.is_belgian(program),
            left_out,
        }
    }

    /// Whether a text must not be shown; notes where that is.
    #[inline]
    pub(super) fn leaves_out(&mut self, text: &str, at: LeftOut) -> bool {
        let found = self
            .numbers
            .is_some_and(|numbers| numbers.are_in(text, self.covered));
        if found && !self.left_out.contains(&at) {
            self.left_out.push(at);
        }
        found
    }

    /// The value, where it may be shown.
    #[inline]
    pub(super) fn pass<'v>(&mut self, value: Value<'v>, at: LeftOut) -> Value<'v> {
        match value.as_text() {
            Some(text) if self.copies && self.leaves_out(text, at) => Value::Missing,
            _ => value,
        }
    }

    /// The same of a value that may be a card number.
    pub(super) fn pass_card<'v>(&mut self, value: Value<'v>, card: bool, at: LeftOut) -> Value<'v> {
        let national = || value.as_text().is_some_and(is_national_card);
        if card && self.belgian && !self.covered && national() {
            return Value::Missing;
        }
        self.pass(value, at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

    use super::*;
    use crate::policy::catalogue::NationalNumber::{Bsn, Other};

    fn text(text: &str) -> Value<'_> {
        Value::Text { text, plain: true }
    }

    fn numbers(all: &[(&str, catalogue::NationalNumber)]) -> Numbers {
        let all = all.iter();
        let mut numbers = Numbers {
            all: all
                .filter_map(|(digits, number)| NationalNumber::read(text(digits), *number))
                .collect(),
            least: 0,
        };
        numbers.note_least();
        numbers
    }

    #[track_caller]
    fn check(number: (&str, catalogue::NationalNumber), found_in: &[&str], not_in: &[&str]) {
        let numbers = numbers(&[number]);
        for text in found_in {
            assert!(numbers.are_in(text, false), "{text:?}");
        }
        for text in not_in {
            assert!(!numbers.are_in(text, false), "{text:?}");
        }
    }

    #[test]
    fn number_is_found_among_all_digits_of_a_text() {
        check(
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
            &[
                "",
                "11122233",
                "111222433",
                "111222 boeken 433",
                "333222111",
            ],
        );
        check(("111.222.333", Bsn), &["111222333"], &[]);
        check(("\u{661}11222333", Bsn), &["111222333"], &[]);
        // It does not fit its form, and is looked for as it stands.
        check(("111222334", Bsn), &["111222334"], &["111222333"]);
        check(
            ("85.07.30-033.28", Other),
            &["85073003328", "0085073003328"],
            &["8507300332"],
        );
    }

    #[test]
    fn zeros_at_the_start_do_not_count_but_for_eight_digits() {
        for bsn in ["012345672", "12345672"] {
            check(
                (bsn, Bsn),
                &["012345672", "12345672", "0012345672"],
                &["2345672"],
            );
        }
        check(
            ("00010112345", Other),
            &["10112345", "00010112345"],
            &["112345"],
        );
        check(
            ("00000012345", Other),
            &["00012345", "100012345"],
            &["12345", "000012346"],
        );
    }

    #[test]
    fn what_is_no_number_is_not_looked_for() {
        for nothing in ["", "onbekend", "1234567", "000000000"] {
            assert_eq!(
                NationalNumber::read(text(nothing), Bsn),
                None,
                "{nothing:?}"
            );
        }
        assert_eq!(NationalNumber::read(Value::Missing, Bsn), None);
        assert!(NationalNumber::read(Value::Number("111222333"), Bsn).is_some());
    }

    #[test]
    fn unreadable_number_is_any_that_is_all_digits_of_a_text() {
        let unreadable = |number| {
            let all = NationalNumber::read(Value::Malformed, number).into_iter();
            let mut numbers = Numbers {
                all: all.collect(),
                least: 0,
            };
            numbers.note_least();
            numbers
        };
        assert!(unreadable(Bsn).are_in("bsn 111.222.333", false));
        assert!(!unreadable(Bsn).are_in("111222334", false));
        assert!(!unreadable(Bsn).are_in("1112223330", false));
        assert!(unreadable(Other).are_in("850730-033-28", false));
        assert!(!unreadable(Other).are_in("850730-033-28", true));
        assert!(!unreadable(Other).are_in("111222333", false));
    }

    #[test]
    fn authorisation_covers_all_but_a_bsn() {
        let both = numbers(&[("111222333", Bsn), ("85073003328", Other)]);
        assert!(both.are_in("85073003328", false));
        assert!(!both.are_in("85073003328", true));
        assert!(both.are_in("111222333", true));
    }

    #[test]
    fn number_is_in_no_debug_text() {
        let both = numbers(&[("111222333", Bsn), ("85073003328", Other)]);
        let text = format!("{both:?}");
        assert!(!text.contains("111222333") && !text.contains("85073003328"));
    }

    #[test]
    fn digits_beyond_ascii_begin_with_a_byte_that_is_looked_for() {
        for c in '\u{80}'..=char::MAX {
            if c.general_category() == GeneralCategory::DecimalNumber {
                let nine = c.to_string().repeat(9);
                assert!(may_have_digits(nine.as_bytes(), 9), "{c:?}");
            }
        }
    }

    /// All digits of a text, of any script, by Unicode's runs of ten.
    fn plainly(text: &str) -> String {
        let is_digit = |code: u32| {
            let c = char::from_u32(code);
            c.is_some_and(|c| c.general_category() == GeneralCategory::DecimalNumber)
        };
        let digit = |c: char| {
            let code = c as u32;
            let before = (1..=code).take_while(|back| is_digit(code - back)).count() as u32;
            is_digit(code)
                .then(|| char::from_digit(before % 10, 10))
                .flatten()
        };
        text.chars().filter_map(digit).collect()
    }

    fn digits() -> impl Strategy<Value = String> {
        prop_oneof!["[0-9]{8,16}", "0{2,4}[0-9]{6,10}", "[01]{8,11}"]
    }

    /// Text that often has the digits in it, with anything between them.
    fn carrier(number: String) -> impl Strategy<Value = String> {
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
        fn numbers_are_found_where_a_plain_search_finds_them(
            (number, carrier) in digits().prop_flat_map(|number| (Just(number.clone()), carrier(number))),
            other in any::<String>(),
            plain in "[0-9 .a-z]{0,40}",
        ) {
            let numbers = numbers(&[(&number, Other)]);
            let digits = plainly(&number);
            let short = digits.trim_start_matches('0');
            let longest = &short[short.len().saturating_sub(14)..];
            let needle = match short.len() {
                0..8 => &digits[digits.len() - 8..],
                _ => longest,
            };
            let is_number = !short.is_empty();
            for text in [&number, &carrier, &other, &plain] {
                let want = is_number && plainly(text).contains(needle);
                prop_assert_eq!(numbers.are_in(text, false), want, "{} in {}", needle, text);
            }
            prop_assert!(!is_number || numbers.are_in(&carrier, false));
        }

        #[test]
        fn packing_keeps_a_number(digits in digits(), bsn in any::<bool>(), readable in any::<bool>()) {
            let value = if readable { text(&digits) } else { Value::Malformed };
            let number = NationalNumber::read(value, if bsn { Bsn } else { Other });
            if let Some(number) = number {
                prop_assert!(number.pack() >> 56 == 0);
                prop_assert_eq!(NationalNumber::unpack(number.pack()), number);
            }
        }
    }
}
