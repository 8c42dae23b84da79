//! Lists of words that a text may hold: whole, whatever their case and accents.

use std::cmp::Ordering;
use std::sync::Arc;

use super::DetectorBuffers;
use super::folding::fold_value_into;

/// A list of words. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordList {
    pub name: String,
    /// Folded, sorted, each once.
    words: Arc<[String]>,
}

impl WordList {
    /// Makes a list of words as people write them.
    #[must_use]
    pub fn new<'w>(name: &str, words: impl IntoIterator<Item = &'w str>) -> WordList {
        let mut words: Vec<String> = words.into_iter().map(fold_word).collect();
        words.sort_unstable();
        words.dedup();
        WordList { name: name.to_owned(), words: words.into() }
    }

    /// Returns the words, folded and sorted.
    pub fn words(&self) -> impl Iterator<Item = &String> {
        self.words.iter()
    }

    /// Returns whether some word of the list is a whole word of `text`.
    #[must_use]
    pub fn occurs_in(&self, buffers: &mut DetectorBuffers, text: &str) -> bool {
        let folded = buffers.fold_buffers.fold_text(text);
        let mut words = folded.text().split(|c: char| !c.is_alphanumeric());
        words.any(|word| self.contains(word))
    }

    /// `word` is folded, but may have ASCII capitals.
    fn contains(&self, word: &str) -> bool {
        let order = |known: &String| -> Ordering {
            known.bytes().cmp(word.bytes().map(|byte| byte.to_ascii_lowercase()))
        };
        !word.is_empty() && self.words.binary_search_by(order).is_ok()
    }
}

/// Returns a word as it is compared.
#[must_use]
pub fn fold_word(word: &str) -> String {
    let mut folded = String::new();
    fold_value_into(word, &mut folded);
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_is_found_whole_in_any_case_and_with_any_accents() {
        let list = WordList::new("test", ["patiënt", "HIV", "ziek"]);
        let mut buffers = DetectorBuffers::default();
        let mut check = |text: &str, want: bool| {
            assert_eq!(list.occurs_in(&mut buffers, text), want, "{text:?}");
        };
        for text in [
            "ziek",
            "Is ZIEK.",
            "patient",
            "Patie\u{308}nt",
            "PATIËNT,",
            "hiv-positief",
            "zie\u{AD}k",
            "(zíék)",
            "ｚｉｅｋ",
        ] {
            check(text, true);
        }
        for text in ["", "zieker", "muziek", "hiv1", "zie k", "patienten", "\u{1F600}"] {
            check(text, false);
        }
    }
}
