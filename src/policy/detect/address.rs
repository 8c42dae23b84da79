//! What begins with a letter or ends in one: e-mail, IBAN, postcode, month.
//!
//! Judges from one place on; each function yields the end of what it found.

use super::number::{count, gap, is_alphanumeric};
use crate::policy::form::{
    Date, IBAN_LENGTH_MAX, iban_length, is_email_label, is_email_local, is_iban,
    is_postcode_letters,
};

/// Finds the end of the domain of an e-mail address, whose at sign stands at `at`;
/// letters of any script count.
pub(super) fn email_domain(text: &[u8], at: usize) -> Option<usize> {
    if text.get(at) != Some(&b'@') {
        return None;
    }
    let label = |at: usize| count(text, at, usize::MAX, |b| is_email_label(b) || !b.is_ascii());
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

/// Measures the name before the at sign of an address, from `at` on.
pub(super) fn email_name(text: &[u8], at: usize) -> usize {
    count(text, at, usize::MAX, is_local)
}

pub(super) const fn is_local(b: u8) -> bool {
    is_email_local(b) || !b.is_ascii()
}

/// Finds the end of an IBAN, in any case of letters, with anything between its
/// characters that may stand between digits, but for the letters of its country.
pub(super) fn iban(text: &[u8], at: usize) -> Option<usize> {
    let country = [text.get(at)?, text.get(at + 1)?].map(u8::to_ascii_uppercase);
    let length = iban_length(&country)?;
    let mut compact = [0; IBAN_LENGTH_MAX];
    let compact = compact.get_mut(..length)?;
    let mut end = at;
    for (place, letter) in compact.iter_mut().enumerate() {
        if place > 1 {
            end += gap(text, end);
        }
        let b = *text.get(end).filter(|b| b.is_ascii_alphanumeric())?;
        *letter = b.to_ascii_uppercase();
        end += 1;
    }
    is_iban(compact).then_some(end)
}

/// Dutch words of two letters that may follow a number.
const TWO_LETTER_WORDS: &[&[u8; 2]] = &[
    b"al", b"de", b"en", b"er", b"ik", b"in", b"is", b"je", b"me", b"na", b"nu", b"of", b"om",
    b"op", b"te", b"uw", b"we", b"ze", b"zo",
];

/// Finds the end of a Dutch postcode.
fn dutch_postcode(text: &[u8], at: usize) -> Option<usize> {
    let letters = at + belgian_postcode(text, at)?;
    let spaces = count(text, letters, 2, |b| b == b' ');
    let start = letters + spaces;
    let pair: &[u8; 2] = text.get(start..start + 2)?.try_into().ok()?;
    let is_word = spaces > 0 && TWO_LETTER_WORDS.contains(&pair);
    let goes_on = text.get(start + 2).is_some_and(|&b| is_letter(b));
    (is_postcode_letters(pair) && !is_word && !goes_on).then_some(start + 2)
}

/// Measures four digits, the first no zero.
fn belgian_postcode(text: &[u8], at: usize) -> Option<usize> {
    let digits = count(text, at, 5, |b| b.is_ascii_digit());
    (digits == 4 && text.get(at) != Some(&b'0')).then_some(digits)
}

/// Finds the end of a house number with what is added to it: `12`, `12a`,
/// `12-3`, `12 bus 4`.
fn house_number(text: &[u8], at: usize) -> Option<usize> {
    let digits = count(text, at, 6, |b| b.is_ascii_digit());
    if digits == 0 || digits > 5 {
        return None;
    }
    let end = at + digits;
    let hyphen = count(text, end, 1, |b| b == b'-' || b == b'/');
    let added = count(text, end + hyphen, 5, is_alphanumeric);
    let end = match added {
        1..=4 => end + hyphen + added,
        _ => end,
    };
    Some(box_number(text, end).unwrap_or(end))
}

fn box_number(text: &[u8], at: usize) -> Option<usize> {
    let start = at + count(text, at, 2, |b| b == b' ' || b == b',');
    let word = text.get(start..start + 3)?;
    let number = start + 3 + count(text, start + 3, 1, |b| b == b' ');
    let length = count(text, number, 5, is_alphanumeric);
    (word.eq_ignore_ascii_case(b"bus") && (1..=4).contains(&length)).then_some(number + length)
}

/// Finds the end of a Dutch postcode and a house number, in either order, or of
/// a house number, a comma and a Belgian postcode with its town.
pub(super) fn postcode_house_number(text: &[u8], at: usize) -> Option<usize> {
    postcode_first(text, at)
        .into_iter()
        .chain(house_number_first(text, at))
        .max()
}

fn postcode_first(text: &[u8], at: usize) -> Option<usize> {
    let postcode = dutch_postcode(text, at)?;
    let start = postcode + count(text, postcode, 3, is_between_lines);
    let word = count(text, start, 11, |b| is_letter(b) || b == b'.');
    let named = [
        &b"nr"[..],
        b"nr.",
        b"no",
        b"no.",
        b"huisnr",
        b"huisnr.",
        b"huisnummer",
    ]
    .iter()
    .any(|name| name.eq_ignore_ascii_case(&text[start..start + word]));
    let number = if named {
        start + word + count(text, start + word, 2, |b| b == b' ' || b == b':')
    } else {
        start
    };
    house_number(text, number)
}

fn house_number_first(text: &[u8], at: usize) -> Option<usize> {
    let number = house_number(text, at)?;
    let digits = at + count(text, at, 5, |b| b.is_ascii_digit());
    // What looks like an addition may be the next line: 12-1234 AB.
    [number, digits].into_iter().find_map(|end| {
        let between = count(text, end, 4, is_between_lines);
        let start = end + between;
        let parted = text[end..start].iter().any(|b| b",;\r\n".contains(b));
        let dutch = (between > 0).then(|| dutch_postcode(text, start)).flatten();
        dutch.or_else(|| parted.then(|| belgian_town(text, start)).flatten())
    })
}

fn belgian_town(text: &[u8], at: usize) -> Option<usize> {
    let prefixed = text
        .get(at..at + 2)
        .is_some_and(|two| two.eq_ignore_ascii_case(b"B-"));
    let start = at + if prefixed { 2 } else { 0 };
    let end = start + belgian_postcode(text, start)?;
    let town = text.get(end) == Some(&b' ')
        && text
            .get(end + 1)
            .is_some_and(|&b| b.is_ascii_uppercase() || !b.is_ascii());
    town.then_some(end)
}

fn is_between_lines(b: u8) -> bool {
    b.is_ascii_whitespace() || b",;-".contains(&b)
}

pub(super) fn is_letter(b: u8) -> bool {
    b.is_ascii_alphabetic() || !b.is_ascii()
}

/// The months in Dutch, French, German and English, without accents.
pub(super) const MONTHS: [&[&str]; 12] = [
    &["januari", "jan", "janvier", "janv", "januar", "january"],
    &[
        "februari", "feb", "febr", "fevrier", "fev", "februar", "february",
    ],
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
pub(super) struct WrittenDate {
    pub(super) end: usize,
    /// All four digits of it, or the last two.
    pub(super) year: i16,
    pub(super) month: u8,
    pub(super) day: u8,
    is_whole: bool,
}

/// Finds the end of a date with its month in letters, as `12 maart 1985`.
pub(super) fn written_date(text: &[u8], at: usize) -> Option<usize> {
    let date = date_in_words(text, at)?;
    let real =
        (1900..=2099).contains(&date.year) && Date::new(date.year, date.month, date.day).is_some();
    (date.is_whole && real).then_some(date.end)
}

/// Reads a date with its month in letters, which may come first: `12 maart 1985`,
/// `maart 12, 85`. Whether the calendar has it is not looked at.
pub(super) fn date_in_words(text: &[u8], at: usize) -> Option<WrittenDate> {
    let (first, month_at) = (day(text, at), |end| end + gap(text, end));
    let (day, month, end) = match first {
        Some((day, end)) => {
            let (month, end) = month(text, month_at(end))?;
            (day, month, end)
        }
        None => {
            let (month, end) = month(text, at)?;
            let (day, end) = self::day(text, month_at(end))?;
            (day, month, end)
        }
    };
    let start = end + gap(text, end);
    let digits = count(text, start, 5, |b| b.is_ascii_digit());
    let year = decimal(text.get(start..start + digits)?);
    matches!(digits, 2 | 4).then_some(WrittenDate {
        end: start + digits,
        year,
        month,
        day: u8::try_from(day).ok()?,
        is_whole: digits == 4,
    })
}

fn day(text: &[u8], at: usize) -> Option<(i16, usize)> {
    let digits = count(text, at, 3, |b| b.is_ascii_digit());
    let day = decimal(text.get(at..at + digits)?);
    (1..=2).contains(&digits).then_some((day, at + digits))
}

fn month(text: &[u8], at: usize) -> Option<(u8, usize)> {
    let length = count(text, at, 10, is_letter);
    let word = text.get(at..at + length)?;
    let is = |name: &&str| word.eq_ignore_ascii_case(name.as_bytes());
    let mut months = (1..=12_u8).zip(MONTHS);
    let (month, _) = months.find(|(_, names)| names.iter().any(is))?;
    Some((month, at + length))
}

/// The number that a few digits make.
fn decimal(digits: &[u8]) -> i16 {
    digits
        .iter()
        .fold(0, |sum, &b| sum * 10 + i16::from(b - b'0'))
}
