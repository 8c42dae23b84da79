//! Numbers with check digits: BSN, rijksregisternummer, IBAN.

use crate::policy::text;

/// Returns whether 9 digits, or 8 without the leading zero, are a BSN.
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

const RIJKSREGISTERNUMMER_DIGITS: usize = 11;

/// Returns whether 11 digits are a rijksregisternummer or a BIS number.
///
/// Only the check digits count: month and day may be zero if unknown, a BIS number adds 20 or 40 to
/// the month, and exhausted ranges go beyond the calendar.
#[must_use]
pub fn is_rijksregisternummer(digits: &[u8]) -> bool {
    if digits.len() != RIJKSREGISTERNUMMER_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let number = |part: &[u8]| part.iter().fold(0_u64, |sum, &b| sum * 10 + u64::from(b - b'0'));
    let (nine, check) = (number(&digits[..9]), number(&digits[9..]));
    [nine, nine + 2_000_000_000].iter().any(|n| 97 - n % 97 == check)
}

/// Returns whether the card number of a Belgian library is a national number: its last 11 digits,
/// of any script, are one, and all digits before them zeros.
#[must_use]
pub fn is_national_number_card(card_number: &str) -> bool {
    let (mut last, mut count, mut significant) = ([b'0'; RIJKSREGISTERNUMMER_DIGITS], 0, 0);
    for digit in text::ascii_digits(card_number) {
        last.rotate_left(1);
        last[RIJKSREGISTERNUMMER_DIGITS - 1] = digit as u8;
        count += 1;
        significant += usize::from(digit != '0' || significant > 0);
    }
    count >= RIJKSREGISTERNUMMER_DIGITS
        && significant <= RIJKSREGISTERNUMMER_DIGITS
        && is_rijksregisternummer(&last)
}

/// The length of an IBAN by country: the whole SWIFT registry.
pub(super) const IBAN_LENGTHS: &[u8] = b"\
    AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 \
    DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 \
    GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 \
    LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 \
    PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 \
    SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30 ";

pub(crate) const IBAN_LENGTH_MAX: usize = 33;

/// Returns the length of an IBAN by its first two capitals, or `None` if the registry lacks the
/// country.
#[must_use]
pub(crate) fn iban_length(country: &[u8]) -> Option<usize> {
    let (entries, _) = IBAN_LENGTHS.as_chunks::<5>();
    let [.., tens, ones, _] = entries.iter().find(|entry| entry[..2] == *country)?;
    Some(usize::from(tens - b'0') * 10 + usize::from(ones - b'0'))
}

/// Returns whether capitals and digits without separators are an IBAN: of a country in the
/// registry, of its length, and with valid check digits.
#[must_use]
pub fn is_iban(text: &[u8]) -> bool {
    let length = text.get(..2).and_then(iban_length);
    length == Some(text.len())
        && text[2..4].iter().all(u8::is_ascii_digit)
        && text.iter().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
        && iban_remainder(text) == 1
}

pub(super) fn iban_remainder(text: &[u8]) -> u32 {
    let (head, tail) = text.split_at(4);
    tail.iter().chain(head).fold(0, |rest, &b| {
        if b.is_ascii_digit() {
            (rest * 10 + u32::from(b - b'0')) % 97
        } else {
            (rest * 100 + u32::from(b - b'A') + 10) % 97
        }
    })
}

/// Up to `LIMIT` letters and digits without separators.
pub(super) struct CompactText<const LIMIT: usize> {
    bytes: [u8; LIMIT],
    len: usize,
}

impl<const LIMIT: usize> CompactText<LIMIT> {
    /// Removes single spaces, dots and hyphens between letters and digits; `None` for other
    /// characters or if the rest is too long.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let mut out = CompactText { bytes: [0; LIMIT], len: 0 };
        let mut separated = true;
        for &b in text {
            match b {
                b' ' | b'.' | b'-' if !separated => separated = true,
                _ if b.is_ascii_alphanumeric() => {
                    *out.bytes.get_mut(out.len)? = b;
                    out.len += 1;
                    separated = false;
                }
                _ => return None,
            }
        }
        (!separated).then_some(out)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
