//! Hits that begin or end with a letter: e-mail, IBAN, postcode, date in words.
//!
//! Each function starts at one position and returns the end of what it found.

use super::digit_runs::{count_while, is_alphanumeric, separator_len};
use crate::policy::form::{
    Date, IBAN_LENGTH_MAX, iban_length, is_email_label_byte, is_email_local_byte, is_iban,
    is_postcode_letters,
};

/// Returns the end of an e-mail address whose at sign is at `at`; letters of any script count.
pub(super) fn email_domain_end(text: &[u8], at: usize) -> Option<usize> {
    if text.get(at) != Some(&b'@') {
        return None;
    }
    let label =
        |at: usize| count_while(text, at, usize::MAX, |b| is_email_label_byte(b) || !b.is_ascii());
    let domain = at + 1;
    let first = domain + label(domain);
    let mut end = first;
    while text.get(end) == Some(&b'.') {
        let length = label(end + 1);
        if length == 0 {
            break;
        }
        end += 1 + length;
    }
    (first > domain && end > first).then_some(end)
}

/// Returns the length of a local part from `at` on.
pub(super) fn email_local_part_len(text: &[u8], at: usize) -> usize {
    count_while(text, at, usize::MAX, is_local_part_byte)
}

pub(super) const fn is_local_part_byte(b: u8) -> bool {
    is_email_local_byte(b) || !b.is_ascii()
}

/// Returns the end of an IBAN in any case of letters, with separators as in numbers except within
/// the country code.
pub(super) fn iban_end(text: &[u8], at: usize) -> Option<usize> {
    let country = [text.get(at)?, text.get(at + 1)?].map(u8::to_ascii_uppercase);
    let length = iban_length(&country)?;
    let mut compact = [0; IBAN_LENGTH_MAX];
    let compact = compact.get_mut(..length)?;
    let mut end = at;
    for (place, letter) in compact.iter_mut().enumerate() {
        if place > 1 {
            end += separator_len(text, end);
        }
        let b = *text.get(end).filter(|b| b.is_ascii_alphanumeric())?;
        *letter = b.to_ascii_uppercase();
        end += 1;
    }
    is_iban(compact).then_some(end)
}

/// Dutch two-letter words that may follow a number.
const TWO_LETTER_WORDS: &[&[u8; 2]] = &[
    b"al", b"de", b"en", b"er", b"ik", b"in", b"is", b"je", b"me", b"na", b"nu", b"of", b"om",
    b"op", b"te", b"uw", b"we", b"ze", b"zo",
];

fn dutch_postcode_end(text: &[u8], at: usize) -> Option<usize> {
    let letters = at + belgian_postcode_len(text, at)?;
    let between = separator_len(text, letters);
    // Beside white space one character: what stands behind a comma and a space is another word.
    let is_space = text[letters..letters + between].iter().all(u8::is_ascii_whitespace);
    if between > 1 && !is_space {
        return None;
    }
    let start = letters + between;
    let pair: &[u8; 2] = text.get(start..start + 2)?.try_into().ok()?;
    let is_word = between > 0 && TWO_LETTER_WORDS.contains(&pair);
    let goes_on = text.get(start + 2).is_some_and(|&b| is_letter(b));
    (is_postcode_letters(pair) && !is_word && !goes_on).then_some(start + 2)
}

/// Four digits, the first not zero.
fn belgian_postcode_len(text: &[u8], at: usize) -> Option<usize> {
    let digits = count_while(text, at, 5, |b| b.is_ascii_digit());
    (digits == 4 && text.get(at) != Some(&b'0')).then_some(digits)
}

/// Returns the end of a house number with its addition: `12`, `12a`, `12-3`, `12 bus 4`.
fn house_number_end(text: &[u8], at: usize) -> Option<usize> {
    let digits = count_while(text, at, 6, |b| b.is_ascii_digit());
    if digits == 0 || digits > 5 {
        return None;
    }
    let end = at + digits;
    let hyphen = count_while(text, end, 1, |b| b == b'-' || b == b'/');
    let added = count_while(text, end + hyphen, 5, is_alphanumeric);
    let end = match added {
        1..=4 => end + hyphen + added,
        _ => end,
    };
    Some(box_number_end(text, end).unwrap_or(end))
}

fn box_number_end(text: &[u8], at: usize) -> Option<usize> {
    let start = at + count_while(text, at, 2, |b| b == b' ' || b == b',');
    let word = text.get(start..start + 3)?;
    let number = start + 3 + count_while(text, start + 3, 1, |b| b == b' ');
    let length = count_while(text, number, 5, is_alphanumeric);
    (word.eq_ignore_ascii_case(b"bus") && (1..=4).contains(&length)).then_some(number + length)
}

/// Returns the end of a Dutch postcode and house number in either order, or of a house number,
/// comma, Belgian postcode and town.
pub(super) fn postcode_and_house_number_end(text: &[u8], at: usize) -> Option<usize> {
    postcode_then_house_number_end(text, at)
        .into_iter()
        .chain(house_number_then_postcode_end(text, at))
        .max()
}

fn postcode_then_house_number_end(text: &[u8], at: usize) -> Option<usize> {
    let postcode = dutch_postcode_end(text, at)?;
    let start = postcode + separator_len(text, postcode);
    let word = count_while(text, start, 11, |b| is_letter(b) || b == b'.');
    let named = [&b"nr"[..], b"nr.", b"no", b"no.", b"huisnr", b"huisnr.", b"huisnummer"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(&text[start..start + word]));
    let number = if named { start + word + separator_len(text, start + word) } else { start };
    house_number_end(text, number)
}

fn house_number_then_postcode_end(text: &[u8], at: usize) -> Option<usize> {
    let number = house_number_end(text, at)?;
    let digits = at + count_while(text, at, 5, |b| b.is_ascii_digit());
    // An apparent addition may be the next line: 12-1234 AB.
    [number, digits].into_iter().find_map(|end| {
        let between = separator_len(text, end);
        let start = end + between;
        let parted = text[end..start].iter().any(|b| !b" \t-.".contains(b));
        let dutch = (between > 0).then(|| dutch_postcode_end(text, start)).flatten();
        dutch.or_else(|| parted.then(|| belgian_postcode_and_town_end(text, start)).flatten())
    })
}

fn belgian_postcode_and_town_end(text: &[u8], at: usize) -> Option<usize> {
    let prefixed = text.get(at..at + 2).is_some_and(|two| two.eq_ignore_ascii_case(b"B-"));
    let start = at + if prefixed { 2 } else { 0 };
    let end = start + belgian_postcode_len(text, start)?;
    let town = text.get(end) == Some(&b' ')
        && text.get(end + 1).is_some_and(|&b| b.is_ascii_uppercase() || !b.is_ascii());
    town.then_some(end)
}

pub(super) fn is_letter(b: u8) -> bool {
    b.is_ascii_alphabetic() || !b.is_ascii()
}

/// In Dutch, French, German and English, without accents.
pub(super) const MONTH_NAMES: [&[&str]; 12] = [
    &["januari", "jan", "janvier", "janv", "januar", "january"],
    &["februari", "feb", "febr", "fevrier", "fev", "februar", "february"],
    &["maart", "mrt", "mars", "marz", "march", "mar"],
    &["april", "apr", "avril", "avr"],
    &["mei", "mai", "may"],
    &["juni", "jun", "juin", "june"],
    &["juli", "jul", "juillet", "juil", "july"],
    &["augustus", "aug", "aout", "august"],
    &["september", "sep", "sept", "septembre"],
    &["oktober", "okt", "octobre", "oct", "october"],
    &["november", "nov", "novembre"],
    &["december", "dec", "decembre", "dezember", "dez"],
];

/// A date with its month in letters.
pub(super) struct DateInWords {
    pub(super) end: usize,
    /// With four digits or the last two.
    pub(super) year: i16,
    pub(super) month: u8,
    pub(super) day: u8,
    has_full_year: bool,
}

/// Returns the end of a date such as `12 maart 1985`.
pub(super) fn date_in_words_end(text: &[u8], at: usize) -> Option<usize> {
    let date = read_date_in_words(text, at)?;
    let real =
        (1900..=2099).contains(&date.year) && Date::new(date.year, date.month, date.day).is_some();
    (date.has_full_year && real).then_some(date.end)
}

/// Parses a date with its month in letters, which may come first: `12 maart 1985`, `maart 12, 85`.
/// The calendar is not checked.
pub(super) fn read_date_in_words(text: &[u8], at: usize) -> Option<DateInWords> {
    let (first, month_at) = (read_day(text, at), |end| end + separator_len(text, end));
    let (day, month, end) = match first {
        Some((day, end)) => {
            let (month, end) = read_month(text, month_at(end))?;
            (day, month, end)
        }
        None => {
            let (month, end) = read_month(text, at)?;
            let (day, end) = self::read_day(text, month_at(end))?;
            (day, month, end)
        }
    };
    let start = end + separator_len(text, end);
    let digits = count_while(text, start, 5, |b| b.is_ascii_digit());
    let year = parse_decimal(text.get(start..start + digits)?);
    matches!(digits, 2 | 4).then_some(DateInWords {
        end: start + digits,
        year,
        month,
        day: u8::try_from(day).ok()?,
        has_full_year: digits == 4,
    })
}

fn read_day(text: &[u8], at: usize) -> Option<(i16, usize)> {
    let digits = count_while(text, at, 3, |b| b.is_ascii_digit());
    let day = parse_decimal(text.get(at..at + digits)?);
    (1..=2).contains(&digits).then_some((day, at + digits))
}

fn read_month(text: &[u8], at: usize) -> Option<(u8, usize)> {
    let length = count_while(text, at, 10, is_letter);
    let word = text.get(at..at + length)?;
    let is = |name: &&str| word.eq_ignore_ascii_case(name.as_bytes());
    let mut months = (1..=12_u8).zip(MONTH_NAMES);
    let (month, _) = months.find(|(_, names)| names.iter().any(is))?;
    Some((month, at + length))
}

fn parse_decimal(digits: &[u8]) -> i16 {
    digits.iter().fold(0, |sum, &b| sum * 10 + i16::from(b - b'0'))
}
