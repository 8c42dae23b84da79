//! Folds text to one plain alphabet, with a map back to the source.
//!
//! Never used as output; redaction replaces ranges of the source.

use unicode_normalization::char::decompose_compatible;

use crate::policy::text::{decimal_digit, is_combining_mark, is_format_char};

/// Replaces characters that are neither letter, digit, space, dash nor apostrophe.
const OTHER_CHAR_PLACEHOLDER: char = '\u{1}';

/// Reused for every text.
#[derive(Debug, Default)]
pub(super) struct FoldBuffers {
    text: String,
    /// The start of the source character of each byte.
    source_offsets: Vec<u32>,
}

impl FoldBuffers {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.source_offsets.clear();
    }

    pub(super) fn fold_text<'a>(&'a mut self, text: &'a str) -> FoldedText<'a> {
        let folded = (!text.is_ascii()).then(|| {
            self.clear();
            for (place, c) in text.char_indices() {
                fold_char_into(c, &mut self.text);
                // Records are shorter.
                let place = u32::try_from(place).unwrap_or(u32::MAX);
                self.source_offsets.resize(self.text.len(), place);
            }
            (self.text.as_str(), self.source_offsets.as_slice())
        });
        FoldedText { text, folded }
    }
}

/// A text in which digits, spaces, dashes and apostrophes of every script are ASCII, and letters
/// have no marks.
///
/// ASCII text is unchanged, capitals included; other letters are lower-case.
pub(super) struct FoldedText<'a> {
    text: &'a str,
    folded: Option<(&'a str, &'a [u32])>,
}

impl FoldedText<'_> {
    pub(super) fn text(&self) -> &str {
        self.folded.map_or(self.text, |(folded, _)| folded)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.text().as_bytes()
    }

    /// Returns the source range of folded bytes: whole characters and the marks that follow them.
    pub(super) fn source_range(&self, start: usize, end: usize) -> (usize, usize) {
        let Some((_, places)) = self.folded else {
            return (start, end);
        };
        let place = |at: usize| places.get(at).map_or(self.text.len(), |&place| place as usize);
        let last = place(end.saturating_sub(1));
        let after = (end..places.len()).find(|&at| place(at) != last);
        (place(start), after.map_or(self.text.len(), place))
    }
}

/// Appends a folded, lower-case value to `folded`.
pub(super) fn fold_value_into(value: &str, folded: &mut String) {
    if value.is_ascii() {
        folded.push_str(value);
    } else {
        value.chars().for_each(|c| fold_char_into(c, folded));
    }
    folded.make_ascii_lowercase();
}

fn fold_char_into(c: char, folded: &mut String) {
    if c.is_ascii() {
        folded.push(c);
    } else if c.is_numeric() {
        let digit = decimal_digit(c).map(|digit| char::from(b'0' + digit));
        folded.push(digit.unwrap_or(OTHER_CHAR_PLACEHOLDER));
    } else if c >= FIRST_EXPANDING_CHAR && expansion_len(c) > EXPANSION_MAX {
        folded.push(c);
    } else {
        decompose_compatible(c, |part| push_folded_char(part, folded));
    }
}

/// Characters that expand to more letters are kept: some stand for a whole sentence, and would blow
/// up a text.
const EXPANSION_MAX: usize = 4;
/// No earlier character expands to so many.
const FIRST_EXPANDING_CHAR: char = '\u{3200}';

fn expansion_len(c: char) -> usize {
    let mut count = 0;
    decompose_compatible(c, |_| count += 1);
    count
}

fn push_folded_char(c: char, folded: &mut String) {
    match c {
        '\u{2018}' | '\u{2019}' | '\u{2BB}' | '\u{2BC}' | '\u{B4}' => folded.push('\''),
        // Part of a letter; its capital has a letter of its own.
        '\u{345}' => folded.push('ι'),
        'æ' | 'Æ' => folded.push_str("ae"),
        'œ' | 'Œ' => folded.push_str("oe"),
        'ø' | 'Ø' => folded.push('o'),
        'ł' | 'Ł' => folded.push('l'),
        'đ' | 'Đ' => folded.push('d'),
        'ı' => folded.push('i'),
        // A sign such as U+33E0 contains a digit but is no number.
        _ if c.is_ascii_digit() => folded.push(OTHER_CHAR_PLACEHOLDER),
        _ if c.is_ascii() => folded.push(c),
        _ if is_combining_mark(c) || is_format_char(c) => {}
        _ if c.is_whitespace() => folded.push(' '),
        '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}' => folded.push('-'),
        _ if c.is_alphanumeric() => folded.extend(fold_case(c).filter(|&c| !is_combining_mark(c))),
        _ => folded.push(OTHER_CHAR_PLACEHOLDER),
    }
}

/// Returns the lower case of the upper case of the lower case of a letter, as some letters have two
/// lower-case forms (σ and ς), an upper case of two letters (ß and SS), or one that is rare (ẞ).
fn fold_case(c: char) -> impl Iterator<Item = char> {
    c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let mut folding = FoldBuffers::default();
        let folded = folding.fold_text(text);
        assert_eq!(std::str::from_utf8(folded.bytes()).expect("UTF-8"), want);
    }

    #[test]
    fn fold_maps_text_to_plain_alphabet() {
        check("O'Brien 12", "O'Brien 12");
        check("\u{D6}zdemir S\u{327}eyma", "Ozdemir Seyma");
        check("Иванов", "иванов");
        check("O\u{2019}Brien \u{2013} \u{132}", "O'Brien - IJ");
        check("１２\u{A0}\u{661}", "12 1");
        check("a\u{200B}b€", "ab\u{1}");
        check("½²\u{33E0}\u{1D7D9}", "\u{1}\u{1}\u{1}日1");
        check("jan＠example．org", "jan@example.org");
        check("Straße Øst", "Strasse ost");
        check("STRA\u{1E9E}E \u{130}\u{131}", "STRAssE Ii");
        check("ΟΔΟΣ οδος", "οδοσ οδοσ");
        check("ᾳ ᾼ ΑΙ", "αι αι αι");
        check("\u{FDFA}\u{FDFB}", "\u{FDFA}\u{FDFB}");
    }

    #[test]
    fn fold_is_case_insensitive() {
        let folded = |text: &str| {
            let mut out = String::new();
            fold_value_into(text, &mut out);
            out
        };
        for c in ('\0'..=char::MAX).filter(|c| !is_combining_mark(*c)) {
            let want = folded(&c.to_string());
            assert_eq!(folded(&c.to_lowercase().to_string()), want, "{c:?}");
            assert_eq!(folded(&c.to_uppercase().to_string()), want, "{c:?}");
        }
    }

    #[test]
    fn fold_bounds_expansion_of_a_character() {
        for c in '\0'..=char::MAX {
            let mut out = String::new();
            fold_char_into(c, &mut out);
            assert!(out.len() <= 4 * EXPANSION_MAX, "{c:?}");
        }
    }

    #[test]
    fn folded_range_maps_back_to_source() {
        let text = "x e\u{301}\u{200B}a\u{132}z";
        let mut folding = FoldBuffers::default();
        let folded = folding.fold_text(text);
        assert_eq!(folded.bytes(), b"x eaIJz");
        assert_eq!(folded.source_range(2, 3), (2, 8));
        assert_eq!(folded.source_range(3, 4), (8, 9));
        assert_eq!(folded.source_range(4, 5), (9, 11));
        assert_eq!(folded.source_range(6, 7), (11, 12));
        let plain = folding.fold_text("abc");
        assert_eq!(plain.source_range(1, 2), (1, 2));
    }
}
