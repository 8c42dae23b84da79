//! Ways to reach a person or library: e-mail, telephone, postcode, ISIL.

use super::simd::{
    self, byte_mask, digit_mask, is_all_set, letter_mask, positions_from_8s, positions_from_16s,
    range_mask,
};

/// The classes of each byte, as bits.
const BYTE_CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric() {
            classes[byte] |= CLASS_EMAIL_LOCAL | CLASS_EMAIL_LABEL | CLASS_ISIL_UNIT;
        }
        if b.is_ascii_digit() {
            classes[byte] |= CLASS_PHONE;
        }
        byte += 1;
    }
    classes[b'-' as usize] |= CLASS_EMAIL_LABEL | CLASS_ISIL_UNIT;
    classes[b'/' as usize] |= CLASS_ISIL_UNIT;
    classes[b':' as usize] |= CLASS_ISIL_UNIT;
    let locals = b".!#$%&'*+/=?^_{|}~-";
    let mut at = 0;
    while at < locals.len() {
        classes[locals[at] as usize] |= CLASS_EMAIL_LOCAL;
        at += 1;
    }
    let marks = b" +()-./";
    let mut at = 0;
    while at < marks.len() {
        classes[marks[at] as usize] |= CLASS_PHONE;
        at += 1;
    }
    classes
};

const CLASS_EMAIL_LOCAL: u8 = 1;
const CLASS_EMAIL_LABEL: u8 = 2;
const CLASS_PHONE: u8 = 4;
const CLASS_ISIL_UNIT: u8 = 8;

const fn has_byte_class(class: u8, b: u8) -> bool {
    BYTE_CLASSES[b as usize] & class != 0
}

/// Most addresses consist of 8 to 32 letters, digits, dots, hyphens and at signs, and are checked
/// by the positions of dots and at signs; others byte by byte.
#[inline(never)]
pub(super) fn is_email(value: &[u8]) -> bool {
    let usual = |chunk| {
        let apart = byte_mask(chunk, b'@') | byte_mask(chunk, b'.') | byte_mask(chunk, b'-');
        letter_mask(chunk) | digit_mask(chunk) | apart
    };
    let length = value.len();
    if let Some(pair) = simd::first_and_last_16(value)
        && is_all_set(usual(pair[0]) & usual(pair[1]))
    {
        let places = |byte| positions_from_16s(pair.map(|chunk| byte_mask(chunk, byte)), length);
        return is_email_by_positions(places(b'@'), places(b'.'), length);
    }
    if let Some(halves) = simd::first_and_last_8(value)
        && is_all_set(usual(halves))
    {
        let places = |byte| positions_from_8s(byte_mask(halves, byte), length);
        return is_email_by_positions(places(b'@'), places(b'.'), length);
    }
    is_email_by_bytes(value)
}

/// Checks an address of letters, digits and hyphens by the positions of at signs and dots.
#[inline(always)]
fn is_email_by_positions(at: u32, dots: u32, length: usize) -> bool {
    // The at sign and the dots after it.
    let ends = at | (dots & at.wrapping_neg());
    at.is_power_of_two()
        && at != 1
        && ends != at
        && ends & (ends >> 1) == 0
        && (ends >> (length - 1)) == 0
}

fn is_email_by_bytes(value: &[u8]) -> bool {
    let local = value.iter().take_while(|&&b| is_email_local_byte(b)).count();
    let Some((b'@', domain)) = value[local..].split_first() else {
        return false;
    };
    let (mut label, mut dots) = (0, 0);
    for &b in domain {
        if is_email_label_byte(b) {
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

/// Returns whether a byte may occur before the `@` of an address.
pub(crate) const fn is_email_local_byte(b: u8) -> bool {
    has_byte_class(CLASS_EMAIL_LOCAL, b)
}

/// Returns whether a byte may occur in a label after the `@` of an address.
pub(crate) const fn is_email_label_byte(b: u8) -> bool {
    has_byte_class(CLASS_EMAIL_LABEL, b)
}

#[inline(never)]
pub(super) fn is_phone(value: &[u8]) -> bool {
    let Some(halves) = simd::first_and_last_8(value) else {
        return is_phone_by_bytes(value);
    };
    let digits = digit_mask(halves);
    let others = byte_mask(halves, b'*') | byte_mask(halves, b',');
    let marks = range_mask(halves, b'(', b'/') & !others;
    is_all_set(digits | marks | byte_mask(halves, b' '))
        && positions_from_8s(digits, value.len()).count_ones() >= PHONE_DIGITS_MIN
}

const PHONE_DIGITS_MIN: u32 = 6;

fn is_phone_by_bytes(value: &[u8]) -> bool {
    let mut digits = 0;
    let fits = value.iter().all(|&b| {
        digits += u32::from(b.is_ascii_digit());
        has_byte_class(CLASS_PHONE, b)
    });
    fits && digits >= PHONE_DIGITS_MIN
}

/// One to four capitals, a hyphen, and one to eleven alphanumerics, slashes, colons or hyphens.
#[inline(never)]
pub(super) fn is_isil(value: &[u8]) -> bool {
    let Some(halves) = simd::first_and_last_8(value) else {
        return is_isil_by_bytes(value);
    };
    let hyphens = byte_mask(halves, b'-');
    // Slash and colon are next to the digits.
    let unit = letter_mask(halves) | range_mask(halves, b'/', b':') | hyphens;
    let capitals = range_mask(halves, b'A', b'Z').to_bitmask();
    // The first byte that is no capital must be the first hyphen.
    let prefix = (!capitals).trailing_zeros();
    is_all_set(unit)
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
        && unit.iter().all(|&b| has_byte_class(CLASS_ISIL_UNIT, b))
}

/// Returns the four digits of a postcode that has its country's format.
///
/// Surrounding spaces are ignored; `None` for countries other than `NL` and `BE`.
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
    if starts_well && fits { value.get(..4) } else { None }
}

/// Returns whether these are the two letters of a Dutch postcode, in any case.
pub(crate) fn is_postcode_letters(letters: &[u8]) -> bool {
    let [first, second] = letters else {
        return false;
    };
    let pair = [first.to_ascii_uppercase(), second.to_ascii_uppercase()];
    pair.iter().all(u8::is_ascii_uppercase) && !matches!(&pair, b"SA" | b"SD" | b"SS")
}
