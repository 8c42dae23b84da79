//! Text made comparable: one plain alphabet, with the way back.
//!
//! Never used as output; what is replaced is replaced in the text itself.

use unicode_normalization::char::decompose_compatible;

use crate::policy::text::{decimal_digit, is_format, is_mark};

/// What stands for a character that is neither letter, digit, space, dash nor
/// apostrophe.
const OTHER: char = '\u{1}';

/// The buffers of folding, used again for every text.
#[derive(Debug, Default)]
pub(super) struct Folding {
    text: String,
    /// Where the character that became each byte begins.
    places: Vec<u32>,
}

impl Folding {
    pub(super) fn fold<'a>(&'a mut self, text: &'a str) -> Folded<'a> {
        let folded = (!text.is_ascii()).then(|| {
            self.text.clear();
            self.places.clear();
            for (place, c) in text.char_indices() {
                fold_char(c, &mut self.text);
                // No record is so long.
                let place = u32::try_from(place).unwrap_or(u32::MAX);
                self.places.resize(self.text.len(), place);
            }
            (self.text.as_str(), self.places.as_slice())
        });
        Folded { text, folded }
    }
}

/// A text in which every script's digits, spaces, dashes and apostrophes are
/// ASCII, and letters have lost their marks.
///
/// ASCII text stands as it is, capitals too. Other letters are in lower case.
pub(super) struct Folded<'a> {
    text: &'a str,
    folded: Option<(&'a str, &'a [u32])>,
}

impl Folded<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        self.folded
            .map_or(self.text, |(folded, _)| folded)
            .as_bytes()
    }

    /// Finds the bytes of the text that became these bytes, whole characters
    /// with the marks that follow them.
    pub(super) fn original(&self, start: usize, end: usize) -> (usize, usize) {
        let Some((_, places)) = self.folded else {
            return (start, end);
        };
        let place = |at: usize| {
            places
                .get(at)
                .map_or(self.text.len(), |&place| place as usize)
        };
        let last = place(end.saturating_sub(1));
        let after = (end..places.len()).find(|&at| place(at) != last);
        (place(start), after.map_or(self.text.len(), place))
    }
}

/// Folds a value to compare a text with, all in lower case, behind what stands in
/// `folded`.
pub(super) fn fold(value: &str, folded: &mut String) {
    if value.is_ascii() {
        folded.push_str(value);
    } else {
        value.chars().for_each(|c| fold_char(c, folded));
    }
    folded.make_ascii_lowercase();
}

fn fold_char(c: char, folded: &mut String) {
    if c.is_ascii() {
        folded.push(c);
    } else if c.is_numeric() {
        let digit = decimal_digit(c).map(|digit| char::from(b'0' + digit));
        folded.push(digit.unwrap_or(OTHER));
    } else if c >= FIRST_WORD && letters_of(c) > LETTERS_MAX {
        folded.push(c);
    } else {
        decompose_compatible(c, |part| push(part, folded));
    }
}

/// A character that stands for more letters is compared as it stands: some stand
/// for a whole sentence, and would make a text many times longer.
const LETTERS_MAX: usize = 4;
/// No character before this one stands for so many.
const FIRST_WORD: char = '\u{3200}';

fn letters_of(c: char) -> usize {
    let mut count = 0;
    decompose_compatible(c, |_| count += 1);
    count
}

fn push(c: char, folded: &mut String) {
    match c {
        '\u{2018}' | '\u{2019}' | '\u{2BB}' | '\u{2BC}' | '\u{B4}' => folded.push('\''),
        // Part of a letter, which a capital has as a letter of its own.
        '\u{345}' => folded.push('ι'),
        'æ' | 'Æ' => folded.push_str("ae"),
        'œ' | 'Œ' => folded.push_str("oe"),
        'ø' | 'Ø' => folded.push('o'),
        'ł' | 'Ł' => folded.push('l'),
        'đ' | 'Đ' => folded.push('d'),
        'ı' => folded.push('i'),
        // A sign such as U+33E0 is no number, although one stands in it.
        _ if c.is_ascii_digit() => folded.push(OTHER),
        _ if c.is_ascii() => folded.push(c),
        _ if is_mark(c) || is_format(c) => {}
        _ if c.is_whitespace() => folded.push(' '),
        '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}' => folded.push('-'),
        _ if c.is_alphanumeric() => folded.extend(case_folded(c).filter(|&c| !is_mark(c))),
        _ => folded.push(OTHER),
    }
}

/// What all cases of a letter have in common: the small letters of the capitals of
/// its small letter, as some letters have two small ones (σ and ς), or a capital of
/// two (ß and SS), or one that is small already (ẞ).
fn case_folded(c: char) -> impl Iterator<Item = char> {
    c.to_lowercase()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let mut folding = Folding::default();
        let folded = folding.fold(text);
        assert_eq!(std::str::from_utf8(folded.bytes()).expect("UTF-8"), want);
    }

    #[test]
    fn folding() {
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

    /// Whatever case a letter is in, it is the same letter.
    #[test]
    fn folding_is_the_same_for_all_cases_of_a_letter() {
        let folded = |text: &str| {
            let mut out = String::new();
            fold(text, &mut out);
            out
        };
        for c in ('\0'..=char::MAX).filter(|c| !is_mark(*c)) {
            let want = folded(&c.to_string());
            assert_eq!(folded(&c.to_lowercase().to_string()), want, "{c:?}");
            assert_eq!(folded(&c.to_uppercase().to_string()), want, "{c:?}");
        }
    }

    #[test]
    fn folding_makes_no_character_much_longer() {
        for c in '\0'..=char::MAX {
            let mut out = String::new();
            fold_char(c, &mut out);
            assert!(out.len() <= 4 * LETTERS_MAX, "{c:?}");
        }
    }

    #[test]
    fn the_way_back() {
        let text = "x e\u{301}\u{200B}a\u{132}z";
        let mut folding = Folding::default();
        let folded = folding.fold(text);
        assert_eq!(folded.bytes(), b"x eaIJz");
        assert_eq!(folded.original(2, 3), (2, 8));
        assert_eq!(folded.original(3, 4), (8, 9));
        assert_eq!(folded.original(4, 5), (9, 11));
        assert_eq!(folded.original(6, 7), (11, 12));
        let plain = folding.fold("abc");
        assert_eq!(plain.original(1, 2), (1, 2));
    }
}
