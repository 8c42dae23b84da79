//! Names and masks of section 3 of docs/rules.md, in the plainest form.
//!
//! A mask answers nothing where nothing may be shown; it never reads a record.

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_segmentation::UnicodeSegmentation;

use super::form::{Day, age};
use super::inspect::is_register_number;

/// What may stand before a Dutch surname without being part of its key.
const PARTICLES: &[&str] = &[
    "'s", "'t", "aan de", "bij de", "d'", "da", "de", "de la", "del", "den", "der", "di", "dos",
    "du", "el", "in 't", "in den", "in het", "l'", "la", "le", "lo", "op 't", "op de", "op den",
    "op het", "te", "ten", "ter", "uit de", "v.", "v.d.", "v. d.", "v/d", "vd", "van", "van 't",
    "van't", "van de", "van den", "van der", "van het", "von", "zur",
];

/// Removes format characters, joins white space, trims; nothing else.
pub fn cleaned(text: &str) -> String {
    let visible: String = text
        .chars()
        .filter(|c| c.general_category() != GeneralCategory::Format)
        .collect();
    let words: Vec<&str> = visible
        .split(char::is_whitespace)
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

/// Cleans a name as the masks see it.
pub fn cleaned_for_mask(text: &str) -> String {
    let mut out = String::new();
    for c in cleaned(text).chars() {
        match c {
            '\u{2018}' | '\u{2019}' | '\u{2bb}' | '\u{2bc}' | '`' | '\u{b4}' => out.push('\''),
            '\u{132}' => out.push_str("IJ"),
            '\u{133}' => out.push_str("ij"),
            _ => out.push(c),
        }
    }
    out.nfc().collect()
}

/// Joins the parts of a name that hold anything.
pub fn full_name(parts: &[Option<String>]) -> Option<String> {
    let present: Vec<String> = parts
        .iter()
        .flatten()
        .map(|part| cleaned(part))
        .filter(|part| !part.is_empty())
        .collect();
    (!present.is_empty()).then(|| present.join(" "))
}

/// Gives the first two letters of the name that counts in `country`.
pub fn shelf_mark(surname: Option<&str>, prefix: Option<&str>, country: &str) -> Option<String> {
    let surname = cleaned_for_mask(surname?);
    if surname.is_empty() {
        return None;
    }
    let prefix = prefix.map(cleaned_for_mask).unwrap_or_default();
    let counted = if country == "NL" {
        without_particle(&surname).to_owned()
    } else if prefix.is_empty() {
        surname
    } else {
        format!("{prefix} {surname}")
    };
    let letters: Vec<&str> = counted.graphemes(true).filter(|g| is_letter(g)).collect();
    match letters.len() {
        0 => None,
        1 | 2 => Some(letters[0].to_owned()),
        _ => Some(letters[..2].concat()),
    }
}

fn without_particle(surname: &str) -> &str {
    let mut rest = surname;
    let mut longest = 0;
    for particle in PARTICLES {
        let length = particle.chars().count();
        let head: String = surname.chars().take(length).collect();
        let fits = head.to_lowercase() == *particle && surname[head.len()..].starts_with(' ');
        if fits && length > longest {
            longest = length;
            rest = &surname[head.len() + 1..];
        }
    }
    rest
}

fn is_letter(cluster: &str) -> bool {
    let first = cluster.chars().next();
    first.is_some_and(|c| c.general_category_group() == GeneralCategoryGroup::Letter)
}

/// Gives the first letter of the initials, else of the given name.
pub fn initial(initials: Option<&str>, given_name: Option<&str>) -> Option<String> {
    let first = |name: &str| first_letter(&cleaned_for_mask(name));
    initials
        .and_then(first)
        .or_else(|| given_name.and_then(first))
}

fn first_letter(name: &str) -> Option<String> {
    let clusters: Vec<&str> = name.graphemes(true).collect();
    let at = clusters.iter().position(|cluster| is_letter(cluster))?;
    Some(match (clusters[at], clusters.get(at + 1).copied()) {
        ("I", Some("J")) => "IJ".to_owned(),
        ("i", Some("j")) => "ij".to_owned(),
        (letter, _) => letter.to_owned(),
    })
}

/// The decimal digits of any script, as ASCII.
pub fn digits(text: &str) -> String {
    text.chars().filter_map(digit).collect()
}

/// Decimal digits stand in runs of ten that begin with zero.
fn digit(c: char) -> Option<char> {
    let is_digit = |code: u32| {
        char::from_u32(code).is_some_and(|c| c.general_category() == GeneralCategory::DecimalNumber)
    };
    let code = c as u32;
    if !is_digit(code) {
        return None;
    }
    let before = (1..=code).take_while(|back| is_digit(code - back)).count();
    char::from_digit(u32::try_from(before % 10).ok()?, 10)
}

/// Gives the last five digits, where at least three others stay hidden.
pub fn card_suffix(card_number: &str) -> Option<String> {
    let digits = digits(card_number);
    (digits.len() >= 5 + 3).then(|| digits[digits.len() - 5..].to_owned())
}

/// Tells whether a card number is in truth a national number.
pub fn is_national(
    card_number: &str,
    card_kind: Option<&str>,
    rijksregisternummer: Option<&str>,
) -> bool {
    let card = digits(card_number);
    let same = |number: &str| !card.is_empty() && digits(number) == card;
    card_kind == Some("eid") || rijksregisternummer.is_some_and(same)
}

/// Tells whether the digits are a Belgian national number with nothing but zeros
/// before it.
pub fn is_register_number_behind_zeros(card_number: &str) -> bool {
    let digits = digits(card_number);
    let Some(before) = digits.len().checked_sub(11) else {
        return false;
    };
    digits[..before].chars().all(|c| c == '0') && is_register_number(&digits[before..])
}

/// A text as one line of a slip has it.
pub fn printed(text: &str) -> String {
    let breaks = [
        '\t', '\n', '\u{b}', '\u{c}', '\r', '\u{85}', '\u{2028}', '\u{2029}',
    ];
    let gone = |c: char| {
        let turns = ['\u{61c}', '\u{200e}', '\u{200f}'].contains(&c)
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c);
        (c.is_control() && !breaks.contains(&c)) || turns
    };
    let kept: String = text.chars().filter(|c| !gone(*c)).collect();
    let pieces: Vec<&str> = kept
        .split(breaks)
        .filter(|piece| !piece.is_empty())
        .collect();
    pieces.join(" ")
}

/// Gives the band of the age at `at`.
pub fn age_band(birth: Day, at: Day) -> Option<&'static str> {
    Some(match age(birth, at)? {
        0..=11 => "0-11",
        12..=17 => "12-17",
        18..=29 => "18-29",
        30..=49 => "30-49",
        50..=64 => "50-64",
        _ => "65+",
    })
}
