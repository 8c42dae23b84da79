//! Names and masks of section 3 of docs/rules.md. A mask returns `None` if nothing may
//! be shown.

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_segmentation::UnicodeSegmentation;

use super::form::is_register_number;

/// What may stand before a Dutch surname without being part of its key.
const PARTICLES: &[&str] = &[
    "'s", "'t", "aan de", "bij de", "d'", "da", "de", "de la", "del", "den", "der", "di", "dos",
    "du", "el", "in 't", "in den", "in het", "l'", "la", "le", "lo", "op 't", "op de", "op den",
    "op het", "te", "ten", "ter", "uit de", "v.", "v.d.", "v. d.", "v/d", "vd", "van", "van 't",
    "van't", "van de", "van den", "van der", "van het", "von", "zur",
];

/// Removes format characters, joins white space, trims; nothing else.
pub fn clean_text(text: &str) -> String {
    let visible: String =
        text.chars().filter(|c| c.general_category() != GeneralCategory::Format).collect();
    let words: Vec<&str> =
        visible.split(char::is_whitespace).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// Cleans a name as the masks see it.
pub fn clean_name(text: &str) -> String {
    let mut out = String::new();
    for c in clean_text(text).chars() {
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
        .map(|part| clean_text(part))
        .filter(|part| !part.is_empty())
        .collect();
    (!present.is_empty()).then(|| present.join(" "))
}

/// Gives the first `count` letters of a surname; the first alone if there are no more.
///
/// `prefix` is `None` if neither the prefix nor a particle counts.
pub fn first_letters(
    surname: Option<&str>,
    prefix: Option<Option<&str>>,
    count: usize,
) -> Option<String> {
    let surname = clean_name(surname?);
    if surname.is_empty() {
        return None;
    }
    let counted = match prefix {
        None => without_particle(&surname).to_owned(),
        Some(prefix) => format!("{} {surname}", clean_name(prefix.unwrap_or_default())),
    };
    let letters: Vec<&str> = counted.graphemes(true).filter(|g| is_letter(g)).collect();
    match letters.len() {
        0 => None,
        found if found <= count => Some(letters[0].to_owned()),
        _ => Some(letters[..count].concat()),
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
pub fn initial(
    initials: Option<&str>,
    given_name: Option<&str>,
    ij_is_one: bool,
) -> Option<String> {
    let first = |name: &str| first_letter(&clean_name(name), ij_is_one);
    initials.and_then(first).or_else(|| given_name.and_then(first))
}

fn first_letter(name: &str, ij_is_one: bool) -> Option<String> {
    let clusters: Vec<&str> = name.graphemes(true).collect();
    let at = clusters.iter().position(|cluster| is_letter(cluster))?;
    Some(match (clusters[at], clusters.get(at + 1).copied()) {
        ("I", Some("J")) if ij_is_one => "IJ".to_owned(),
        ("i", Some("j")) if ij_is_one => "ij".to_owned(),
        (letter, _) => letter.to_owned(),
    })
}

/// The decimal digits of any script, as ASCII.
pub fn unicode_digits(text: &str) -> String {
    text.chars().filter_map(unicode_digit).collect()
}

/// Decimal digits stand in runs of ten that begin with zero.
fn unicode_digit(c: char) -> Option<char> {
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

/// Gives the last `count` digits, if at least `min_hidden` others stay hidden.
pub fn last_digits(number: &str, count: usize, min_hidden: usize) -> Option<String> {
    let digits = unicode_digits(number);
    let hidden = digits.len().checked_sub(count)?;
    (hidden >= min_hidden).then(|| digits[hidden..].to_owned())
}

/// Tells whether the digits are a Belgian national number with nothing but zeros
/// before it.
pub fn is_zero_padded_register_number(digits: &str) -> bool {
    let Some(before) = digits.len().checked_sub(11) else {
        return false;
    };
    digits[..before].chars().all(|c| c == '0') && is_register_number(&digits[before..])
}

/// A text as one line of a slip has it.
fn slip_line(text: &str) -> String {
    let breaks = ['\t', '\n', '\u{b}', '\u{c}', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
    let gone = |c: char| {
        let turns = ['\u{61c}', '\u{200e}', '\u{200f}'].contains(&c)
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c);
        (c.is_control() && !breaks.contains(&c)) || turns
    };
    let kept: String = text.chars().filter(|c| !gone(*c)).collect();
    let pieces: Vec<&str> = kept.split(breaks).filter(|piece| !piece.is_empty()).collect();
    pieces.join(" ")
}

/// The lines of a shelf slip: the mark, which may be empty; mark and initial; the rest.
pub fn slip_lines<'a>(
    mark: Option<&'a str>,
    initial: Option<&'a str>,
    rest: impl Iterator<Item = Option<&'a str>>,
) -> Vec<String> {
    let line = |text: Option<&str>| text.map(slip_line).filter(|line| !clean_text(line).is_empty());
    let (mark, initial) = (line(mark), line(initial));
    let mut lines = vec![mark.clone().unwrap_or_default()];
    let both: Vec<String> = mark.into_iter().chain(initial).collect();
    lines.extend((!both.is_empty()).then(|| both.join(" ")));
    lines.extend(rest.filter_map(line));
    lines
}
