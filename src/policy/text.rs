//! Text as people write it: cleaning, letters and digits by Unicode.
//!
//! Never changes or allocates for a value that needs no change; plain ASCII has a fast path in
//! every function.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_segmentation::UnicodeSegmentation;

/// Removes invisible characters (category Cf), replaces each run of white space by one space, and
/// trims.
///
/// Borrows if nothing changes. Idempotent.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    if is_clean(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut had_space = false;
    for c in text.chars().filter(|&c| !is_format_char(c)) {
        if c.is_whitespace() {
            had_space = true;
            continue;
        }
        if had_space && !out.is_empty() {
            out.push(' ');
        }
        had_space = false;
        out.push(c);
    }
    Cow::Owned(out)
}

/// Appends the printable text on one line: runs of line breaks and tabs become a space, or nothing
/// at the ends; other control characters and those that change the direction of writing are
/// dropped. Nothing else changes.
pub fn push_printable(text: &str, out: &mut String) {
    if text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        out.push_str(text);
        return;
    }
    let start = out.len();
    let mut had_line_break = false;
    for c in text.chars() {
        if is_line_break(c) {
            had_line_break = true;
        } else if !c.is_control() && !is_bidi_control(c) {
            if had_line_break && out.len() > start {
                out.push(' ');
            }
            had_line_break = false;
            out.push(c);
        }
    }
}

fn is_line_break(c: char) -> bool {
    matches!(c, '\t'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_bidi_control(c: char) -> bool {
    matches!(
        c,
        '\u{61C}'
            | '\u{200E}'
            | '\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2066}'..='\u{2069}'
    )
}

/// Returns whether [`clean`] leaves nothing.
#[must_use]
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || is_format_char(c))
}

/// Cleans a name for masks: [`clean`], then NFC with look-alikes of the apostrophe as `'` and Dutch
/// ligatures as two letters.
#[must_use]
pub fn clean_name(text: &str) -> Cow<'_, str> {
    let cleaned = clean(text);
    let spelled = if cleaned.chars().any(|c| normalized_spelling(c).is_some()) {
        let mut out = String::with_capacity(cleaned.len());
        for c in cleaned.chars() {
            match normalized_spelling(c) {
                Some(instead) => out.push_str(instead),
                None => out.push(c),
            }
        }
        Cow::Owned(out)
    } else {
        cleaned
    };
    if spelled.is_ascii() || is_nfc_quick(spelled.chars()) == IsNormalized::Yes {
        return spelled;
    }
    Cow::Owned(spelled.nfc().collect())
}

/// Iterates over letters: extended grapheme clusters whose first character is of category L.
pub fn letters(text: &str) -> impl Iterator<Item = &str> {
    LetterIter { rest: text, is_ascii: text.is_ascii() }.map(|(letter, _)| letter)
}

/// Returns the first letter and the text right after it.
#[must_use]
pub fn split_first_letter(text: &str) -> Option<(&str, &str)> {
    LetterIter { rest: text, is_ascii: text.is_ascii() }.next()
}

/// Returns the first grapheme cluster, a letter or not.
#[must_use]
pub fn first_grapheme(text: &str) -> Option<&str> {
    text.graphemes(true).next()
}

/// Iterates over decimal digits of any script as ASCII digits.
pub fn ascii_digits(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().filter_map(|c| decimal_digit(c).map(|digit| char::from(b'0' + digit)))
}

/// Iterates over decimal digits of any script as numbers.
pub fn digit_values(text: &str) -> impl Iterator<Item = u64> + '_ {
    text.chars().filter_map(decimal_digit).map(u64::from)
}

/// Appends the decimal digits of any script to `out`, as ASCII digits.
pub fn push_ascii_digits(text: &str, out: &mut String) {
    out.extend(ascii_digits(text));
}

/// Returns the value of a decimal digit (category Nd) of any script.
///
/// Unicode allocates them in contiguous runs of ten from zero, so the value is the index in the
/// run.
#[must_use]
pub fn decimal_digit(c: char) -> Option<u8> {
    if c.is_ascii() {
        return c.is_ascii_digit().then(|| c as u8 - b'0');
    }
    if !is_decimal_digit(c) {
        return None;
    }
    let before = (1..)
        .map_while(|step| (c as u32).checked_sub(step))
        .take_while(|&code| char::from_u32(code).is_some_and(is_decimal_digit))
        .count();
    u8::try_from(before % 10).ok()
}

fn is_decimal_digit(c: char) -> bool {
    c.general_category() == GeneralCategory::DecimalNumber
}

/// Category Cf.
pub(crate) fn is_format_char(c: char) -> bool {
    c == '\u{AD}' || (c >= '\u{600}' && c.general_category() == GeneralCategory::Format)
}

/// Category M.
pub(crate) fn is_combining_mark(c: char) -> bool {
    c >= '\u{300}' && c.general_category_group() == GeneralCategoryGroup::Mark
}

fn is_letter(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphabetic();
    }
    c.general_category_group() == GeneralCategoryGroup::Letter
}

fn is_clean(text: &str) -> bool {
    let mut space = true;
    for c in text.chars() {
        if c == ' ' {
            if space {
                return false;
            }
            space = true;
        } else if c.is_whitespace() || is_format_char(c) {
            return false;
        } else {
            space = false;
        }
    }
    !space || text.is_empty()
}

fn normalized_spelling(c: char) -> Option<&'static str> {
    match c {
        '`' | '\u{B4}' | '\u{2018}' | '\u{2019}' | '\u{2BB}' | '\u{2BC}' => Some("'"),
        '\u{132}' => Some("IJ"),
        '\u{133}' => Some("ij"),
        _ => None,
    }
}

struct LetterIter<'a> {
    rest: &'a str,
    is_ascii: bool,
}

impl<'a> LetterIter<'a> {
    fn next_ascii(&mut self) -> Option<(&'a str, &'a str)> {
        let at = self.rest.bytes().position(|b| b.is_ascii_alphabetic())?;
        let letter = self.rest.get(at..=at)?;
        self.rest = self.rest.get(at + 1..)?;
        Some((letter, self.rest))
    }
}

impl<'a> Iterator for LetterIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_ascii {
            return self.next_ascii();
        }
        loop {
            let cluster = first_grapheme(self.rest)?;
            self.rest = self.rest.get(cluster.len()..)?;
            if cluster.chars().next().is_some_and(is_letter) {
                return Some((cluster, self.rest));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_clean(text: &str, want: &str) {
        assert_eq!(clean(text), want);
        assert_eq!(is_blank(text), want.is_empty());
    }

    #[test]
    fn clean_removes_invisible_and_extra_white_space() {
        check_clean("Berg", "Berg");
        check_clean("", "");
        check_clean(" \t\u{200B}\n ", "");
        check_clean("  van\u{A0}\u{2003}der \u{200B} Berg\r\n", "van der Berg");
        check_clean("Be\u{AD}rg\u{FEFF}", "Berg");
        check_clean("\u{202E}Berg\u{202C}", "Berg");
        check_clean("a\u{85}b\u{2028}c\u{3000}d", "a b c d");
        // Not White_Space, although other tables say so.
        check_clean("a\u{1F}b\u{180F}", "a\u{1F}b\u{180F}");
        check_clean("O\u{2019}Brien", "O\u{2019}Brien");
    }

    #[test]
    fn clean_borrows_text_that_is_clean() {
        assert!(matches!(clean("van der Berg"), Cow::Borrowed(_)));
        assert!(matches!(clean("Özdemir"), Cow::Borrowed(_)));
        assert!(matches!(clean_name("Özdemir 王"), Cow::Borrowed(_)));
    }

    #[test]
    fn clean_name_unifies_apostrophes_ligatures_and_nfc() {
        for (text, want) in [
            ("\u{2019}t Hooft", "'t Hooft"),
            ("O`Brien", "O'Brien"),
            ("O\u{B4}Brien O\u{2BC}Brien \u{2BB}Okina", "O'Brien O'Brien 'Okina"),
            ("\u{132}zerman \u{133}", "IJzerman ij"),
            ("O\u{308}zdemir", "\u{D6}zdemir"),
            ("S\u{327}eyma", "\u{15E}eyma"),
            ("\u{1112}\u{1161}\u{11AB}", "\u{D55C}"),
            // A hidden character between a letter and its mark.
            ("O\u{200D}\u{308}z", "\u{D6}z"),
        ] {
            assert_eq!(clean_name(text), want);
        }
    }

    #[track_caller]
    fn check_letters(text: &str, want: &[&str]) {
        assert_eq!(letters(text).collect::<Vec<_>>(), want);
    }

    #[test]
    fn letters_are_grapheme_clusters() {
        check_letters("O'B-r 9", &["O", "B", "r"]);
        check_letters("\u{D6}z", &["\u{D6}", "z"]);
        check_letters("x\u{323}\u{308}.", &["x\u{323}\u{308}"]);
        check_letters("\u{308}a 1\u{308}", &["a"]);
        check_letters("王伟", &["王", "伟"]);
        check_letters("\u{1F468}\u{1F3FD}!", &[]);
        check_letters("", &[]);
        check_letters("ª²Ⅷⅷ", &["ª"]);
        check_letters("क्षत्रिय", &["क्ष", "त्रि", "य"]);
    }

    #[test]
    fn push_printable_writes_one_line() {
        for (text, want) in [
            ("De  avonden ", "De  avonden "),
            ("De\navonden", "De avonden"),
            ("\r\nDe\r\n\tavonden\u{2028}", "De avonden"),
            ("\u{1b}@De\u{7}\u{9b}1m avonden\u{7f}", "@De1m avonden"),
            ("De \u{202e}avonden\u{202c}", "De avonden"),
            ("na\u{EF}ef\u{2029}\u{85}王", "na\u{EF}ef 王"),
            ("\0\n\u{1b}", ""),
        ] {
            let mut out = "# ".to_owned();
            push_printable(text, &mut out);
            assert_eq!(out, format!("# {want}"), "{text:?}");
        }
    }

    #[test]
    fn push_ascii_digits_reads_any_script() {
        let mut out = String::from("#");
        push_ascii_digits("A1\u{661}\u{966}\u{FF19} \u{1D7D8}\u{1D7FF}²½Ⅷ", &mut out);
        assert_eq!(out, "#110909");
    }

    #[test]
    fn decimal_digits_come_in_runs_of_ten() {
        let mut run = 0;
        for c in '\u{80}'..=char::MAX {
            if is_decimal_digit(c) {
                run += 1;
            } else {
                assert_eq!(run % 10, 0, "before {:x}", c as u32);
                run = 0;
            }
        }
    }

    #[test]
    fn char_fast_paths_agree_with_unicode_categories() {
        for c in '\0'..=char::MAX {
            assert_eq!(is_format_char(c), c.general_category() == GeneralCategory::Format);
            assert_eq!(is_letter(c), c.general_category_group() == GeneralCategoryGroup::Letter);
            assert_eq!(
                is_combining_mark(c),
                c.general_category_group() == GeneralCategoryGroup::Mark
            );
        }
    }

    proptest! {
        #[test]
        fn clean_is_idempotent(text in any::<String>()) {
            let once = clean(&text).into_owned();
            prop_assert_eq!(clean(&once), once.as_str());
            prop_assert!(matches!(clean(&once), Cow::Borrowed(_)));
        }

        #[test]
        fn push_printable_leaves_no_control_characters(text in any::<String>()) {
            let mut once = String::new();
            push_printable(&text, &mut once);
            prop_assert!(!once.chars().any(|c| c.is_control() || is_line_break(c)));
            let mut again = String::new();
            push_printable(&once, &mut again);
            prop_assert_eq!(again, once);
        }

        #[test]
        fn letters_agree_with_full_grapheme_segmentation(text in "[a-zA-Z '\\-\u{300}-\u{310}\u{900}-\u{d7f}\u{1100}-\u{1200}\u{1f1e6}-\u{1f1ff}\u{200d}]{0,20}") {
            let want: Vec<&str> = text
                .graphemes(true)
                .filter(|cluster| cluster.chars().next().is_some_and(is_letter))
                .collect();
            prop_assert_eq!(letters(&text).collect::<Vec<_>>(), want);
        }
    }
}
