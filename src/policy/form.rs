//! The forms that some strings must have: dates, instants, numbers that check.
//!
//! A value that does not fit the form of its field counts as missing; nothing
//! here repairs one, guesses at one, or looks at a clock.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use super::bytes::{self, all, between, digits, letters, only, places_in_halves, places_in_pair};

/// What a string must look like to be what its field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// A calendar date, `YYYY-MM-DD`.
    Date,
    /// A point in time by RFC 3339.
    Instant,
    /// An e-mail address.
    Email,
    /// A telephone number, however it is grouped.
    Phone,
    /// An international bank account number.
    Iban,
    /// A Dutch citizen service number.
    Bsn,
    /// A Belgian national register number.
    Rijksregisternummer,
    /// A library's identifier.
    Isil,
    /// A currency's code.
    Currency,
}

impl Form {
    /// Every form, in the order of the enum.
    pub const ALL: &[Form] = &[
        Form::Date,
        Form::Instant,
        Form::Email,
        Form::Phone,
        Form::Iban,
        Form::Bsn,
        Form::Rijksregisternummer,
        Form::Isil,
        Form::Currency,
    ];

    /// The word that a catalogue has for the form.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Form::Date => "date",
            Form::Instant => "instant",
            Form::Email => "email",
            Form::Phone => "phone",
            Form::Iban => "iban",
            Form::Bsn => "bsn",
            Form::Rijksregisternummer => "rijksregisternummer",
            Form::Isil => "isil",
            Form::Currency => "currency",
        }
    }

    /// Finds the form that a catalogue names.
    #[must_use]
    pub fn named(name: &str) -> Option<Form> {
        Form::ALL.iter().copied().find(|form| form.name() == name)
    }

    /// Tells whether a value has this form, from its first character to its last.
    ///
    /// BSN, rijksregisternummer and IBAN may be grouped by single spaces, dots
    /// and hyphens (`85.07.30-033.28`, `NL91 ABNA 0417 1643 00`); an IBAN's
    /// letters are capitals.
    #[must_use]
    #[inline]
    pub fn fits(self, value: &str) -> bool {
        self.test()(value.as_bytes())
    }

    /// What tells whether the bytes of a text have this form.
    #[must_use]
    pub(crate) fn test(self) -> fn(&[u8]) -> bool {
        match self {
            Form::Date => is_date,
            Form::Instant => is_instant,
            Form::Email => is_email,
            Form::Phone => is_phone,
            Form::Iban => {
                |value| Ungrouped::<34>::read(value).is_some_and(|iban| is_iban(iban.text()))
            }
            Form::Bsn => |value| Ungrouped::<9>::read(value).is_some_and(|bsn| is_bsn(bsn.text())),
            Form::Rijksregisternummer => |value| {
                Ungrouped::<11>::read(value)
                    .is_some_and(|number| is_rijksregisternummer(number.text()))
            },
            Form::Isil => is_isil,
            Form::Currency => |value| value.len() == 3 && value.iter().all(u8::is_ascii_uppercase),
        }
    }
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A day of the Gregorian calendar, in the years 1 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Date {
    /// 1 to 9999.
    pub year: i16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to the last day of the month.
    pub day: u8,
}

impl Date {
    /// Makes a date of its parts, if the calendar has it.
    #[must_use]
    #[inline]
    pub fn new(year: i16, month: u8, day: u8) -> Option<Date> {
        let longest = DAYS.get(usize::from(month)).copied().unwrap_or(0);
        let real = (1..=9999).contains(&year)
            && (1..=longest).contains(&day)
            && (month != 2 || day != 29 || is_leap(year));
        real.then_some(Date { year, month, day })
    }

    /// Reads `YYYY-MM-DD`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Date> {
        Date::from_bytes(text.as_bytes().try_into().ok()?)
    }

    #[inline]
    fn from_bytes(text: &[u8; 10]) -> Option<Date> {
        const FIRST: Pattern = Pattern::new(b"0000-00-");
        const LAST: Pattern = Pattern::new(b"00-00-00");
        let first = FIRST.pairs(text.first_chunk()?)?;
        let last = LAST.pairs(text.last_chunk()?)?;
        let year = i16::from(first[1]) * 100 + i16::from(first[3]);
        Date::new(year, first[6], last[7])
    }

    /// Counts the milliseconds from 1970 to 00:00 UTC of this day.
    #[must_use]
    pub fn to_unix_ms(self) -> i64 {
        self.to_unix_days() * 86_400_000
    }

    /// Counts the days from 1970-01-01 by years that begin in March, so that a
    /// leap day is the last of its year.
    fn to_unix_days(self) -> i64 {
        const DAYS_FROM_MARCH_OF_YEAR_0_TO_1970: i64 = 719_468;
        let (year, month) = if self.month > 2 {
            (i64::from(self.year), i64::from(self.month) - 3)
        } else {
            (i64::from(self.year) - 1, i64::from(self.month) + 9)
        };
        let leap_days = year / 4 - year / 100 + year / 400;
        let day_of_year = (153 * month + 2) / 5 + i64::from(self.day) - 1;
        365 * year + leap_days + day_of_year - DAYS_FROM_MARCH_OF_YEAR_0_TO_1970
    }

    /// Counts the full years from `birth` to this day; none before the birth.
    ///
    /// Who was born on 29 February is a year older on 1 March of common years.
    #[must_use]
    pub fn full_years_since(self, birth: Date) -> Option<u16> {
        let had_birthday = (self.month, self.day) >= (birth.month, birth.day);
        let years = self.year - birth.year - i16::from(!had_birthday);
        u16::try_from(years).ok()
    }
}

/// A point in time, and the day on which its writer saw it.
///
/// Compares by time alone, to the nanosecond; finer digits are cut off.
#[derive(Clone, Copy, Debug)]
pub struct Instant {
    unix_seconds: i64,
    nanoseconds: u32,
    date: Date,
}

impl Instant {
    /// Reads an RFC 3339 date-time: capital `T`, capital `Z` or an offset, no
    /// 60th second, any number of digits in the fraction.
    #[must_use]
    pub fn parse(text: &str) -> Option<Instant> {
        let written = Written::read(text.as_bytes())?;
        let [hour, minute, second] = written.time.map(i64::from);
        let time = hour * 3600 + minute * 60 + second - written.ahead;
        Some(Instant {
            unix_seconds: written.date.to_unix_days() * 86_400 + time,
            nanoseconds: nanoseconds(written.fraction),
            date: written.date,
        })
    }

    /// Counts the milliseconds from 1970, rounded down.
    #[must_use]
    pub fn unix_ms(self) -> i64 {
        self.unix_seconds * 1000 + i64::from(self.nanoseconds / 1_000_000)
    }

    /// Counts the nanoseconds from 1970.
    #[must_use]
    pub fn unix_nanoseconds(self) -> i128 {
        i128::from(self.unix_seconds) * 1_000_000_000 + i128::from(self.nanoseconds)
    }

    /// The date as it is written, whatever the offset.
    #[must_use]
    pub const fn date_as_written(self) -> Date {
        self.date
    }
}

impl PartialEq for Instant {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Instant {}

impl PartialOrd for Instant {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Instant {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.unix_seconds, self.nanoseconds).cmp(&(other.unix_seconds, other.nanoseconds))
    }
}

impl Hash for Instant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.unix_seconds, self.nanoseconds).hash(state);
    }
}

/// Reads the date of a date or of an instant, as it is written.
#[must_use]
pub fn date_of(text: &str) -> Option<Date> {
    Date::parse(text).or_else(|| Instant::parse(text).map(Instant::date_as_written))
}

/// Tells whether 9 digits, or 8 that lack a leading zero, are a BSN.
#[must_use]
pub fn is_bsn(digits: &[u8]) -> bool {
    const WEIGHTS: [i32; 9] = [9, 8, 7, 6, 5, 4, 3, 2, -1];
    let missing = match digits.len() {
        9 => 0,
        8 => 1,
        _ => return false,
    };
    if !digits.iter().all(u8::is_ascii_digit) || digits.iter().all(|&b| b == b'0') {
        return false;
    }
    let sum: i32 = digits
        .iter()
        .zip(&WEIGHTS[missing..])
        .map(|(&b, weight)| i32::from(b - b'0') * weight)
        .sum();
    sum % 11 == 0
}

/// How many digits a rijksregisternummer has.
const REGISTER_DIGITS: usize = 11;

/// Tells whether 11 digits are a rijksregisternummer or a BIS number.
///
/// Only the check digits decide: month and day may be zero where they are not
/// known, a BIS number has 20 or 40 added to its month, and numbers that ran out
/// go beyond the calendar.
#[must_use]
pub fn is_rijksregisternummer(digits: &[u8]) -> bool {
    if digits.len() != REGISTER_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let number = |part: &[u8]| {
        part.iter()
            .fold(0_u64, |sum, &b| sum * 10 + u64::from(b - b'0'))
    };
    let (nine, check) = (number(&digits[..9]), number(&digits[9..]));
    [nine, nine + 2_000_000_000]
        .iter()
        .any(|n| 97 - n % 97 == check)
}

/// Tells whether a Belgian library's card number is a national number: whether its
/// last 11 digits, of any script, are one, and all digits before them zeros.
#[must_use]
pub fn is_national_card(card_number: &str) -> bool {
    let (mut last, mut count, mut significant) = ([b'0'; REGISTER_DIGITS], 0, 0);
    for digit in super::text::ascii_digits(card_number) {
        last.rotate_left(1);
        last[REGISTER_DIGITS - 1] = digit as u8;
        count += 1;
        significant += usize::from(digit != '0' || significant > 0);
    }
    count >= REGISTER_DIGITS && significant <= REGISTER_DIGITS && is_rijksregisternummer(&last)
}

/// How long an IBAN is, by country: all that the SWIFT registry has.
const IBAN_LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// The longest IBAN that there is.
pub(crate) const IBAN_LENGTH_MAX: usize = 33;

/// Returns how long an IBAN of a country is, by its first two letters, which are
/// capitals; `None` where the registry has no such country.
#[must_use]
pub(crate) fn iban_length(country: &[u8]) -> Option<usize> {
    let mut known = IBAN_LENGTHS.iter();
    let (_, length) = known.find(|(name, _)| *name == country)?;
    Some(*length)
}

/// Tells whether capitals and digits without separators are an IBAN: of a country
/// of the registry, as long as that says, and with its check digits.
#[must_use]
pub fn is_iban(text: &[u8]) -> bool {
    let length = text.get(..2).and_then(iban_length);
    length == Some(text.len())
        && text[2..4].iter().all(u8::is_ascii_digit)
        && text
            .iter()
            .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
        && iban_remainder(text) == 1
}

fn iban_remainder(text: &[u8]) -> u32 {
    let (head, tail) = text.split_at(4);
    tail.iter().chain(head).fold(0, |rest, &b| {
        if b.is_ascii_digit() {
            (rest * 10 + u32::from(b - b'0')) % 97
        } else {
            (rest * 100 + u32::from(b - b'A') + 10) % 97
        }
    })
}

/// Reads the four digits of a postcode that has its country's form.
///
/// Spaces around it do not count; of other countries than `NL` and `BE` nothing
/// is read.
#[must_use]
pub fn postcode_digits<'a>(value: &'a str, country: &str) -> Option<&'a str> {
    let value = value.trim();
    let (digits, rest) = value.as_bytes().split_first_chunk::<4>()?;
    let starts_well = matches!(digits[0], b'1'..=b'9') && digits.iter().all(u8::is_ascii_digit);
    let fits = match country {
        "NL" => is_postcode_letters(rest.strip_prefix(b" ").unwrap_or(rest)),
        "BE" => rest.is_empty(),
        _ => false,
    };
    if starts_well && fits {
        value.get(..4)
    } else {
        None
    }
}

/// Tells whether these are the two letters of a Dutch postcode, in any case.
pub(crate) fn is_postcode_letters(letters: &[u8]) -> bool {
    let [first, second] = letters else {
        return false;
    };
    let pair = [first.to_ascii_uppercase(), second.to_ascii_uppercase()];
    pair.iter().all(u8::is_ascii_uppercase) && !matches!(&pair, b"SA" | b"SD" | b"SS")
}

/// Up to `LIMIT` letters and digits, without what stood between them.
struct Ungrouped<const LIMIT: usize> {
    text: [u8; LIMIT],
    length: usize,
}

impl<const LIMIT: usize> Ungrouped<LIMIT> {
    /// Takes out single spaces, dots and hyphens between letters and digits;
    /// nothing where other characters stand, or where too many are left.
    fn read(text: &[u8]) -> Option<Self> {
        let mut out = Ungrouped {
            text: [0; LIMIT],
            length: 0,
        };
        let mut separated = true;
        for &b in text {
            match b {
                b' ' | b'.' | b'-' if !separated => separated = true,
                _ if b.is_ascii_alphanumeric() => {
                    *out.text.get_mut(out.length)? = b;
                    out.length += 1;
                    separated = false;
                }
                _ => return None,
            }
        }
        (!separated).then_some(out)
    }

    fn text(&self) -> &[u8] {
        &self.text[..self.length]
    }
}

/// What a byte may be part of: a bit each.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric() {
            classes[byte] |= EMAIL_LOCAL | EMAIL_LABEL | ISIL_UNIT;
        }
        if b.is_ascii_digit() {
            classes[byte] |= PHONE;
        }
        byte += 1;
    }
    classes[b'-' as usize] |= EMAIL_LABEL | ISIL_UNIT;
    classes[b'/' as usize] |= ISIL_UNIT;
    classes[b':' as usize] |= ISIL_UNIT;
    let locals = b".!#$%&'*+/=?^_{|}~-";
    let mut at = 0;
    while at < locals.len() {
        classes[locals[at] as usize] |= EMAIL_LOCAL;
        at += 1;
    }
    let marks = b" +()-./";
    let mut at = 0;
    while at < marks.len() {
        classes[marks[at] as usize] |= PHONE;
        at += 1;
    }
    classes
};

const EMAIL_LOCAL: u8 = 1;
const EMAIL_LABEL: u8 = 2;
const PHONE: u8 = 4;
const ISIL_UNIT: u8 = 8;

const fn is_in(class: u8, b: u8) -> bool {
    CLASSES[b as usize] & class != 0
}

#[inline(never)]
fn is_date(value: &[u8]) -> bool {
    value
        .try_into()
        .is_ok_and(|text| Date::from_bytes(text).is_some())
}

#[inline(never)]
fn is_instant(value: &[u8]) -> bool {
    Written::read(value).is_some()
}

/// Most addresses have 8 to 32 letters, digits, dots, hyphens and at signs, and
/// are judged by the places of the last; others byte by byte.
#[inline(never)]
fn is_email(value: &[u8]) -> bool {
    let usual = |chunk| {
        let apart = only(chunk, b'@') | only(chunk, b'.') | only(chunk, b'-');
        letters(chunk) | digits(chunk) | apart
    };
    let length = value.len();
    if let Some(pair) = bytes::pair(value)
        && all(usual(pair[0]) & usual(pair[1]))
    {
        let places = |byte| places_in_pair(pair.map(|chunk| only(chunk, byte)), length);
        return has_email_shape(places(b'@'), places(b'.'), length);
    }
    if let Some(halves) = bytes::halves(value)
        && all(usual(halves))
    {
        let places = |byte| places_in_halves(only(halves, byte), length);
        return has_email_shape(places(b'@'), places(b'.'), length);
    }
    is_email_by_bytes(value)
}

/// Judges an address of letters, digits and hyphens by the places of its at
/// signs and dots.
#[inline(always)]
fn has_email_shape(at: u32, dots: u32, length: usize) -> bool {
    // The at sign and the dots behind it.
    let ends = at | (dots & at.wrapping_neg());
    at.is_power_of_two()
        && at != 1
        && ends != at
        && ends & (ends >> 1) == 0
        && (ends >> (length - 1)) == 0
}

fn is_email_by_bytes(value: &[u8]) -> bool {
    let local = value.iter().take_while(|&&b| is_email_local(b)).count();
    let Some((b'@', domain)) = value[local..].split_first() else {
        return false;
    };
    let (mut label, mut dots) = (0, 0);
    for &b in domain {
        if is_email_label(b) {
            label += 1;
        } else if b == b'.' && label > 0 {
            label = 0;
            dots += 1;
        } else {
            return false;
        }
    }
    local > 0 && label > 0 && dots > 0
}

/// Tells whether a byte may stand before the `@` of an address.
pub(crate) const fn is_email_local(b: u8) -> bool {
    is_in(EMAIL_LOCAL, b)
}

/// Tells whether a byte may stand in a label after the `@` of an address.
pub(crate) const fn is_email_label(b: u8) -> bool {
    is_in(EMAIL_LABEL, b)
}

#[inline(never)]
fn is_phone(value: &[u8]) -> bool {
    let Some(halves) = bytes::halves(value) else {
        return is_phone_by_bytes(value);
    };
    let digits = digits(halves);
    let others = only(halves, b'*') | only(halves, b',');
    let marks = between(halves, b'(', b'/') & !others;
    all(digits | marks | only(halves, b' '))
        && places_in_halves(digits, value.len()).count_ones() >= PHONE_DIGITS_MIN
}

const PHONE_DIGITS_MIN: u32 = 6;

fn is_phone_by_bytes(value: &[u8]) -> bool {
    let mut digits = 0;
    let fits = value.iter().all(|&b| {
        digits += u32::from(b.is_ascii_digit());
        is_in(PHONE, b)
    });
    fits && digits >= PHONE_DIGITS_MIN
}

/// One to four capitals, a hyphen, and one to eleven of what else there may be.
#[inline(never)]
fn is_isil(value: &[u8]) -> bool {
    let Some(halves) = bytes::halves(value) else {
        return is_isil_by_bytes(value);
    };
    let hyphens = only(halves, b'-');
    // The slash and the colon stand right beside the digits.
    let unit = letters(halves) | between(halves, b'/', b':') | hyphens;
    let capitals = between(halves, b'A', b'Z').to_bitmask();
    // The first byte that is no capital is the first hyphen.
    let prefix = (!capitals).trailing_zeros();
    all(unit)
        && (1..=4).contains(&prefix)
        && (hyphens.to_bitmask() >> prefix) & 1 == 1
        && (2..=12).contains(&(value.len() - prefix as usize))
}

fn is_isil_by_bytes(value: &[u8]) -> bool {
    let prefix = value.iter().take(5).take_while(|b| b.is_ascii_uppercase());
    let prefix = prefix.count();
    let Some((b'-', unit)) = value[prefix..].split_first() else {
        return false;
    };
    (1..=4).contains(&prefix)
        && (1..=11).contains(&unit.len())
        && unit.iter().all(|&b| is_in(ISIL_UNIT, b))
}

/// What eight bytes must be: any digit where it has a zero, else the same byte.
struct Pattern {
    bytes: u64,
    /// Added to a byte's distance from the pattern's byte, it sets the highest
    /// bit of what is too far.
    room: u64,
}

impl Pattern {
    const fn new(pattern: &[u8; 8]) -> Pattern {
        let mut room = [0x7f; 8];
        let mut at = 0;
        while at < room.len() {
            if pattern[at] == b'0' {
                room[at] = 0x80 - 10;
            }
            at += 1;
        }
        Pattern {
            bytes: u64::from_le_bytes(*pattern),
            room: u64::from_le_bytes(room),
        }
    }

    /// Reads each byte together with the one before as a number of two digits,
    /// all eight at once. No sum is too big for its byte where all of them fit.
    #[inline(always)]
    fn pairs(&self, text: &[u8; 8]) -> Option<[u8; 8]> {
        const HIGHEST: u64 = 0x8080_8080_8080_8080;
        let values = u64::from_le_bytes(*text) ^ self.bytes;
        let too_far = (values | values.wrapping_add(self.room)) & HIGHEST;
        (too_far == 0).then(|| values.wrapping_mul(10 * 256 + 1).to_le_bytes())
    }
}

/// The days of each month in a leap year; there is no month 0, nor 13 to 15.
const DAYS: [u8; 16] = [0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0];

fn is_leap(year: i16) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// The parts of an instant, as it is written.
struct Written<'t> {
    date: Date,
    /// Hour, minute and second.
    time: [u8; 3],
    /// The digits of its fraction, or none.
    fraction: &'t [u8],
    /// The seconds that its clock is ahead of UTC.
    ahead: i64,
}

impl<'t> Written<'t> {
    #[inline(always)]
    fn read(text: &'t [u8]) -> Option<Written<'t>> {
        let (start, text) = text.split_first_chunk::<19>()?;
        let date = Date::from_bytes(start.first_chunk()?)?;
        let time = clock(start.last_chunk()?)?;
        let (fraction, ahead) = match text {
            b"Z" => (&b""[..], 0),
            _ => fraction_and_offset(text)?,
        };
        (start[10] == b'T').then_some(Written {
            date,
            time,
            fraction,
            ahead,
        })
    }
}

/// Reads hour, minute and second of `HH:MM:SS`.
#[inline(always)]
fn clock(text: &[u8; 8]) -> Option<[u8; 3]> {
    const TIME: Pattern = Pattern::new(b"00:00:00");
    let [_, hour, _, _, minute, _, _, second] = TIME.pairs(text)?;
    (hour < 24 && minute < 60 && second < 60).then_some([hour, minute, second])
}

/// Reads the digits of a fraction, if there is one, and the offset that follows.
fn fraction_and_offset(text: &[u8]) -> Option<(&[u8], i64)> {
    let Some(text) = text.strip_prefix(b".") else {
        return Some((b"", offset(text)?));
    };
    let length = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, text) = text.split_at(length);
    (length > 0).then_some((digits, offset(text)?))
}

/// Counts the nanoseconds of a fraction's digits.
fn nanoseconds(digits: &[u8]) -> u32 {
    digits
        .iter()
        .chain(std::iter::repeat(&b'0'))
        .take(9)
        .fold(0, |sum, &b| sum * 10 + u32::from(b - b'0'))
}

/// Reads the seconds that a clock is ahead of UTC.
fn offset(text: &[u8]) -> Option<i64> {
    match *text {
        [b'Z'] => Some(0),
        [sign, h1, h2, b':', m1, m2] => {
            let [hour, minute, _] = clock(&[h1, h2, b':', m1, m2, b':', b'0', b'0'])?;
            let ahead = i64::from(hour) * 3600 + i64::from(minute) * 60;
            match sign {
                b'+' => Some(ahead),
                b'-' => Some(-ahead),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(form: Form, fits: &[&str], misfits: &[&str]) {
        for value in fits {
            assert!(form.fits(value), "{form}: {value:?}");
        }
        for value in misfits {
            assert!(!form.fits(value), "{form}: {value:?}");
        }
    }

    #[test]
    fn names_are_read_back() {
        for form in Form::ALL {
            assert_eq!(Form::named(form.name()), Some(*form));
        }
        assert_eq!(Form::named("Date"), None);
    }

    #[test]
    fn dates() {
        check(
            Form::Date,
            &[
                "2024-02-29",
                "2000-02-29",
                "0001-01-01",
                "9999-12-31",
                "1985-07-30",
            ],
            &[
                "",
                "2023-02-29",
                "1900-02-29",
                "0000-01-01",
                "2024-13-01",
                "2024-00-10",
                "2024-04-31",
                "2024-01-00",
                "2024-1-01",
                "24-01-01",
                "20240101",
                "2024-01-01 ",
                "2024-01-01\n",
                "+2024-01-01",
                "2024\u{2010}01-01",
                "\u{662}024-01-01",
                "２０２４-01-01",
                "2024-01-01T00:00:00Z",
                "12024-01-01",
            ],
        );
    }

    #[test]
    fn instants() {
        check(
            Form::Instant,
            &[
                "2024-02-29T23:59:59Z",
                "2024-01-01T00:00:00.1Z",
                "2024-01-01T00:00:00.123456789012345678901234567890Z",
                "2024-01-01T00:00:00+00:00",
                "2024-01-01T00:00:00-00:00",
                "2024-01-01T12:34:56.7-23:59",
                "0001-01-01T00:00:00+23:59",
                "9999-12-31T23:59:59-23:59",
            ],
            &[
                "2024-01-01",
                "2024-01-01T00:00:00",
                "2024-01-01t00:00:00Z",
                "2024-01-01T00:00:00z",
                "2024-01-01 00:00:00Z",
                "2024-01-01T00:00Z",
                "2024-01-01T00:00:60Z",
                "2016-12-31T23:59:60Z",
                "2024-01-01T24:00:00Z",
                "2024-01-01T00:60:00Z",
                "2024-01-01T00:00:00.Z",
                "2024-01-01T00:00:00,5Z",
                "2024-01-01T00:00:00+0100",
                "2024-01-01T00:00:00+01",
                "2024-01-01T00:00:00+24:00",
                "2024-01-01T00:00:00+01:60",
                "2024-01-01T00:00:00\u{2212}01:00",
                "2024-01-01T00:00:00Z ",
                "2024-01-01T00:00:00ZZ",
                "2023-02-29T00:00:00Z",
                "0000-01-01T00:00:00Z",
                "2024-01-01T00:00:00.\u{661}Z",
            ],
        );
    }

    #[test]
    fn contacts() {
        check(
            Form::Email,
            &[
                "jan@example.org",
                "Jan.de+Vries@sub.example.org",
                "o'brien@example.org",
                "a@b.c",
                ".@-.-",
                "!#$%&'*+/=?^_{|}~-@example.org",
            ],
            &[
                "",
                "jan",
                "@example.org",
                "jan@localhost",
                "jan@example.",
                "jan@.org",
                "jan@a..b",
                "jan@@example.org",
                "a@b@c.d",
                "jan de@example.org",
                "`a@example.org",
                "jörg@example.org",
                "jan@exämple.org",
                "jan@example.org ",
                "jan@example.o_g",
                "\"jan\"@example.org",
            ],
        );
        check(
            Form::Phone,
            &[
                "0600000000",
                "06-00000000",
                "+31 (0)6 0000.0000",
                "020/0000000",
                "000000",
                " 000 000 ",
            ],
            &[
                "",
                "00000",
                "06-0000000x",
                "tel 0600000000",
                "06\u{A0}00000000",
                "０６００００００００",
                "06\t00000000",
            ],
        );
    }

    #[test]
    fn national_numbers() {
        check(
            Form::Bsn,
            &[
                "111222333",
                "1112.22.333",
                "111 222 333",
                "123456782",
                "012345672",
                "12345672",
            ],
            &[
                "",
                "111222334",
                "000000000",
                "00000000",
                "1112223330",
                "111--222333",
                "-111222333",
                "111222333 ",
                "１１１222333",
                "11122233A",
            ],
        );
        check(
            Form::Rijksregisternummer,
            &[
                "85073003328",
                "85.07.30-033.28",
                "17.07.30-033.84",
                "850730 033 28",
            ],
            &[
                "85073003329",
                "17073003385",
                "8507300332",
                "850730033280",
                "85.07.30--033.28",
                "",
            ],
        );
    }

    /// Adds the check digits to nine digits, as people born before 2000 have them.
    fn register_number(nine: u64) -> String {
        format!("{nine:09}{:02}", 97 - nine % 97)
    }

    #[test]
    fn register_number_check_digits_alone_decide() {
        for month in 0..100 {
            for day in 0..100 {
                let nine = 850_000_033 + month * 100_000 + day * 1_000;
                let number = register_number(nine);
                assert!(is_rijksregisternummer(number.as_bytes()), "{number}");
                let after_2000 = format!("{nine:09}{:02}", 97 - (nine + 2_000_000_000) % 97);
                assert!(
                    is_rijksregisternummer(after_2000.as_bytes()),
                    "{after_2000}"
                );
            }
        }
        assert!(!is_rijksregisternummer(b"00000000000"));
    }

    #[test]
    fn national_card_is_a_register_number_behind_zeros() {
        for card in [
            "85073003328",
            "00085073003328",
            "0-850730/033 28",
            "A85073003328",
            "\u{660}\u{660}85073003328",
        ] {
            assert!(is_national_card(card), "{card}");
        }
        for card in [
            "",
            "5073003328",
            "185073003328",
            "850730033280",
            "85073003329",
            "000000000000000",
        ] {
            assert!(!is_national_card(card), "{card}");
        }
    }

    #[test]
    fn iban_length_is_that_of_the_registry() {
        assert_eq!(IBAN_LENGTHS.len(), 89);
        assert!(IBAN_LENGTHS.is_sorted_by_key(|(country, _)| *country));
        let longest = IBAN_LENGTHS.iter().map(|(_, length)| *length).max();
        assert_eq!(longest, Some(IBAN_LENGTH_MAX));
        for (country, length) in IBAN_LENGTHS {
            let country = std::str::from_utf8(*country).unwrap();
            for (given, fits) in [(*length, true), (*length - 1, false), (*length + 1, false)] {
                let body = "1".repeat(given - 4);
                let open = format!("{country}00{body}");
                let check = 98 - iban_remainder(open.as_bytes());
                let iban = format!("{country}{check:02}{body}");
                assert_eq!(is_iban(iban.as_bytes()), fits, "{iban}");
            }
        }
        // Its check digits are right, but no country of the registry is called so.
        assert!(!is_iban(b"ZZ06100000000000000"));
    }

    #[test]
    fn ibans() {
        check(
            Form::Iban,
            &[
                "NL91ABNA0417164300",
                "NL91 ABNA 0417 1643 00",
                "BE68539007547034",
                "BE68 5390 0754 7034",
                "DE89370400440532013000",
                "GB82.WEST.1234.5698.7654.32",
            ],
            &[
                "",
                "NL",
                "NL91ABNA0417164301",
                "nl91abna0417164300",
                "NL91ABNA041716430",
                "BE685390075470340",
                "NL91  ABNA 0417 1643 00",
                "N191ABNA0417164300",
                "NLA1ABNA0417164300",
                "NL91ABNA0417164300 ",
                "NL91ÄBNA0417164300",
            ],
        );
    }

    #[test]
    fn identifiers_of_libraries_and_money() {
        check(
            Form::Isil,
            &[
                "NL-AmrBKW",
                "BE-GNT00",
                "ABCD-1",
                "X-a/b:c-d",
                "O-12345678901",
            ],
            &[
                "",
                "NL",
                "NL-",
                "-AmrBKW",
                "nl-AmrBKW",
                "ABCDE-1",
                "NL-123456789012",
                "NL-Amr BKW",
                "NL-Amr_",
            ],
        );
        check(Form::Currency, &["EUR"], &["eur", "EURO", "EU", "€", ""]);
    }

    #[track_caller]
    fn check_postcode(value: &str, country: &str, want: Option<&str>) {
        assert_eq!(
            postcode_digits(value, country),
            want,
            "{value:?} in {country}"
        );
    }

    #[test]
    fn postcodes() {
        check_postcode("1234 AB", "NL", Some("1234"));
        check_postcode("1234AB", "NL", Some("1234"));
        check_postcode(" 1234 ab\u{A0}", "NL", Some("1234"));
        check_postcode("9000", "BE", Some("9000"));
        check_postcode("\t9000\n", "BE", Some("9000"));
        for value in [
            "",
            "1234",
            "0234 AB",
            "1234  AB",
            "1234 SA",
            "1234 sd",
            "1234Ss",
            "1234 ABC",
            "1234 A",
            "1234 A1",
            "12345",
            "é23 AB",
            "1234-AB",
            "1234\u{A0}AB",
        ] {
            check_postcode(value, "NL", None);
        }
        check_postcode("1234 SB", "NL", Some("1234"));
        for value in ["0900", "900", "90000", "9000 AB", "B-9000", "９０００"] {
            check_postcode(value, "BE", None);
        }
        check_postcode("1234 AB", "BE", None);
        check_postcode("9000", "NL", None);
        check_postcode("1234 AB", "nl", None);
        check_postcode("1234 AB", "DE", None);
    }

    #[test]
    fn an_instant_keeps_its_written_date() {
        let late = Instant::parse("2024-01-01T00:30:00+01:00").expect("an instant");
        let same = Instant::parse("2023-12-31T23:30:00.000Z").expect("an instant");
        assert_eq!(late, same);
        assert_eq!(
            late.date_as_written(),
            Date::new(2024, 1, 1).expect("a date")
        );
        assert_eq!(date_of("2024-01-01T00:30:00+01:00"), date_of("2024-01-01"));
        assert_eq!(date_of("2024-01-01T"), None);
        let before_1970 = Instant::parse("1969-12-31T23:59:59.9999Z").expect("an instant");
        assert_eq!(before_1970.unix_ms(), -1);
        assert_eq!(before_1970.unix_nanoseconds(), -100_000);
    }

    #[track_caller]
    fn check_years(birth: &str, day: &str, want: Option<u16>) {
        let (birth, day) = (Date::parse(birth), Date::parse(day));
        assert_eq!(
            day.expect("a date")
                .full_years_since(birth.expect("a date")),
            want
        );
    }

    #[test]
    fn full_years() {
        check_years("2004-02-29", "2022-02-28", Some(17));
        check_years("2004-02-29", "2022-03-01", Some(18));
        check_years("2004-02-29", "2024-02-29", Some(20));
        check_years("2004-02-29", "2024-02-28", Some(19));
        check_years("2004-05-06", "2004-05-06", Some(0));
        check_years("2004-05-06", "2004-05-05", None);
        check_years("2004-05-06", "2003-12-31", None);
        check_years("0001-01-01", "9999-12-31", Some(9998));
    }

    proptest! {
        #[test]
        fn never_panics(value in any::<String>(), country in "NL|BE|.*") {
            for form in Form::ALL {
                let _ = form.fits(&value);
            }
            let _ = postcode_digits(&value, &country);
            let _ = date_of(&value);
        }

        #[test]
        fn dates_agree_with_jiff(year in 0_i16..=9999, month in 0_u8..=13, day in 0_u8..=32) {
            let text = format!("{year:04}-{month:02}-{day:02}");
            let theirs = i8::try_from(month).ok().zip(i8::try_from(day).ok())
                .and_then(|(month, day)| jiff::civil::Date::new(year, month, day).ok())
                .filter(|_| year > 0);
            let ours = Date::parse(&text);
            prop_assert_eq!(ours.is_some(), theirs.is_some());
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                let midnight = theirs.to_zoned(jiff::tz::TimeZone::UTC).expect("in range");
                prop_assert_eq!(ours.to_unix_ms(), midnight.timestamp().as_millisecond());
            }
        }

        #[test]
        fn instants_agree_with_jiff(
            year in 2_i16..=9998, month in 1_u8..=12, day in 1_u8..=31,
            time in "(0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?",
            offset in "Z|[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]",
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{time}{offset}");
            let ours = Instant::parse(&text).map(Instant::unix_nanoseconds);
            let theirs = text.parse::<jiff::Timestamp>().ok().map(|at| at.as_nanosecond());
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn ages_agree_with_jiff(birth in -30_000_i32..30_000, later in 0_i32..40_000) {
            let epoch = jiff::civil::date(1970, 1, 1);
            let span = jiff::Span::new();
            let birth = epoch.checked_add(span.days(birth)).expect("in range");
            let day = birth.checked_add(span.days(later)).expect("in range");
            prop_assume!(birth.month() != 2 || birth.day() != 29);
            let years = birth.until((jiff::Unit::Year, day)).expect("a span").get_years();
            let ours = |date: jiff::civil::Date| Date::parse(&date.to_string()).expect("a date");
            prop_assert_eq!(
                ours(day).full_years_since(ours(birth)).map(i16::try_from),
                Some(Ok(years))
            );
        }
    }
    /// Some forms, read one character after the other.
    mod model {
        use super::super::*;

        fn two_digits(tens: u8, ones: u8) -> Option<u8> {
            (tens.is_ascii_digit() && ones.is_ascii_digit())
                .then(|| (tens - b'0') * 10 + (ones - b'0'))
        }

        pub(super) fn date(text: &[u8]) -> Option<Date> {
            let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text else {
                return None;
            };
            let year = i16::from(two_digits(y1, y2)?) * 100 + i16::from(two_digits(y3, y4)?);
            let (month, day) = (two_digits(m1, m2)?, two_digits(d1, d2)?);
            let days = match month {
                2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let real = (1..=9999).contains(&year)
                && (1..=12).contains(&month)
                && (1..=days).contains(&day);
            real.then_some(Date { year, month, day })
        }

        fn clock(hour: u8, minute: u8) -> Option<i64> {
            (hour < 24 && minute < 60).then(|| i64::from(hour) * 3600 + i64::from(minute) * 60)
        }

        pub(super) fn instant(text: &str) -> Option<(i64, u32, Date)> {
            let (day, text) = text.as_bytes().split_first_chunk::<10>()?;
            let day = date(day)?;
            let (time, text) = text.split_first_chunk::<9>()?;
            let [b'T', h1, h2, b':', m1, m2, b':', s1, s2] = *time else {
                return None;
            };
            let time = clock(two_digits(h1, h2)?, two_digits(m1, m2)?)?;
            let second = two_digits(s1, s2).filter(|&second| second < 60)?;
            let (fraction, text) = match text.strip_prefix(b".") {
                Some(text) => text.split_at(text.iter().take_while(|b| b.is_ascii_digit()).count()),
                None => (&b"0"[..], text),
            };
            let nine = format!("{:0<9.9}", std::str::from_utf8(fraction).expect("digits"));
            let nanoseconds = nine.parse().ok().filter(|_| !fraction.is_empty())?;
            let ahead = match *text {
                [b'Z'] => 0,
                [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
                    let ahead = clock(two_digits(h1, h2)?, two_digits(m1, m2)?)?;
                    if sign == b'-' { -ahead } else { ahead }
                }
                _ => return None,
            };
            let seconds = day.to_unix_days() * 86_400 + time + i64::from(second) - ahead;
            Some((seconds, nanoseconds, day))
        }

        pub(super) fn is_email(value: &str) -> bool {
            let is_local = |c: char| c.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_{|}~-".contains(c);
            let is_label = |c: char| c.is_ascii_alphanumeric() || c == '-';
            value.split_once('@').is_some_and(|(local, domain)| {
                !local.is_empty()
                    && local.chars().all(is_local)
                    && domain.contains('.')
                    && domain
                        .split('.')
                        .all(|label| !label.is_empty() && label.chars().all(is_label))
            })
        }

        pub(super) fn is_phone(value: &str) -> bool {
            let digits = value.chars().filter(char::is_ascii_digit).count();
            let may = |c: char| c.is_ascii_digit() || " +()-./".contains(c);
            digits >= 6 && value.chars().all(may)
        }

        pub(super) fn is_isil(value: &str) -> bool {
            value.split_once('-').is_some_and(|(prefix, unit)| {
                (1..=4).contains(&prefix.len())
                    && prefix.bytes().all(|b| b.is_ascii_uppercase())
                    && (1..=11).contains(&unit.len())
                    && unit
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"/:-".contains(&b))
            })
        }

        pub(super) fn ungrouped(text: &str, limit: usize) -> Option<String> {
            let mut out = String::new();
            let mut separated = true;
            for c in text.chars() {
                match c {
                    ' ' | '.' | '-' if !separated => separated = true,
                    _ if c.is_ascii_alphanumeric() && out.len() < limit => {
                        out.push(c);
                        separated = false;
                    }
                    _ => return None,
                }
            }
            (!separated).then_some(out)
        }
    }

    /// What fits a form, what nearly does, and what does not at all.
    fn values() -> impl Strategy<Value = String> {
        let valid = prop_oneof![
            "[0-9]{4}-[01][0-9]-[0-3][0-9]",
            "(19|20)[0-9][0-9]-02-(28|29|30)",
            "20[0-9]{2}-0[1-9]-[0-2][1-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,12})?\
             (Z|[+-][0-2][0-9]:[0-6][0-9])",
            "[a-z0-9.-]{1,20}@[a-zA-Z0-9-]{1,12}(\\.[a-z]{1,4}){1,3}",
            "[a-z.]{0,4}@?[a-z.@]{1,10}\\.[a-z.]{0,22}",
            "[!-~]{1,6}@[a-z]{1,9}\\.[a-z]{2}",
            "[0-9 ()+./-]{3,20}",
            "[+0]?[0-9]{2,4}[ -]?[0-9]{5,9}",
            "[A-Z]{0,5}-[A-Za-z0-9/:-]{0,12}",
            "[A-Z0-9]([ .-]?[A-Za-z0-9]){7,35}",
            any::<String>(),
        ];
        let odd = prop_oneof![
            "[ -~]",
            "[0-9@./:,*-]",
            "[\u{660}-\u{669}０-９é\u{A0}\u{2010}\u{80}\u{FF}\0\n]",
            Just(String::new()),
            any::<char>().prop_map(String::from),
        ];
        let changes =
            proptest::collection::vec((any::<prop::sample::Index>(), 0..2_usize, odd), 0..3);
        (valid, changes).prop_map(|(mut value, changes)| {
            for (place, gone, odd) in changes {
                let ends = value.char_indices().map(|(at, _)| at);
                let ends: Vec<usize> = ends.chain([value.len()]).collect();
                let place = place.index(ends.len());
                let end = ends[(place + gone).min(ends.len() - 1)];
                value.replace_range(ends[place]..end, &odd);
            }
            value
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn forms_are_what_the_model_says(value in values()) {
            prop_assert_eq!(Date::parse(&value), model::date(value.as_bytes()));
            let instant = Instant::parse(&value);
            prop_assert_eq!(
                instant.map(|at| (at.unix_seconds, at.nanoseconds, at.date)),
                model::instant(&value)
            );
            check_by_model(&value);
            let number = |limit| model::ungrouped(&value, limit);
            let iban = number(34).is_some_and(|text| is_iban(text.as_bytes()));
            prop_assert_eq!(Form::Iban.fits(&value), iban);
            let bsn = Ungrouped::<9>::read(value.as_bytes()).map(|text| text.text().to_vec());
            prop_assert_eq!(bsn, number(9).map(String::into_bytes));
        }
    }

    /// Every byte in every place of what fits, and every length of it.
    #[test]
    fn forms_are_what_the_model_says_of_every_byte() {
        for value in [
            "2024-02-29",
            "2024-02-29T23:59:59Z",
            "2024-02-29T23:59:59.5+01:00",
            "a-b@c.nl",
            "jan.de-vries@example.org",
            "lener19999@example.org",
            "06-00000000",
            "020-0000000",
            "NL-AmrBKW",
            "NL-Amr/:BKW-X01",
        ] {
            for place in 0..value.len() {
                for other in (0..=0xff).map(char::from) {
                    let mut changed = value.to_owned();
                    changed.replace_range(place..=place, other.encode_utf8(&mut [0; 4]));
                    check_by_model(&changed);
                }
                check_by_model(&value[place..]);
                check_by_model(&value[..place]);
            }
        }
    }

    #[track_caller]
    fn check_by_model(value: &str) {
        let want = [
            (Form::Date, model::date(value.as_bytes()).is_some()),
            (Form::Instant, model::instant(value).is_some()),
            (Form::Email, model::is_email(value)),
            (Form::Phone, model::is_phone(value)),
            (Form::Isil, model::is_isil(value)),
        ];
        for (form, want) in want {
            assert_eq!(form.fits(value), want, "{form}: {value:?}");
        }
    }
}
