//! Reads a file of `config/detectors`: a list of words by category.

use std::collections::BTreeMap;

use super::kind::require_name;
use crate::config::document::{Located, TomlTable};
use crate::policy::detect::{WordList, fold_word};
use crate::policy::name::SNAKE_CASE_NAME;

/// Reads one list. Words that cannot be found are reported and left out.
pub(crate) fn read_word_list(table: &TomlTable<'_>, stem: &str) -> WordList {
    let name = require_name(table, "name", SNAKE_CASE_NAME, "the list's name, which is the file's");
    if let Some(at) = name.filter(|at| at.value != stem) {
        let found = format!("`name` is \"{}\"", at.value);
        table.report_mistake(at.line, found, format!("\"{stem}\", as the file is called"));
    }
    table.require_string("title", "the list's name in Dutch, for people");
    const WORDS: &str = "lists of words by category, as health = [\"ziek\"]";
    table.require_key("words", WORDS, None);
    let mut words = Vec::new();
    if let Some(inner) = table.table("words", WORDS) {
        for (category, _) in inner.entries() {
            let listed = inner.strings(&category.value, "whole words of letters");
            words.extend(listed.map_or_else(Vec::new, |at| at.value));
        }
        if words.is_empty() {
            inner.report_mistake(inner.line(), "no word in `words`", WORDS);
        }
    }
    check_words(table, &words);
    WordList::new(stem, words.iter().map(|at| at.value.as_str()))
}

/// Reports what is no single word, and words that are found as another one is.
fn check_words(table: &TomlTable<'_>, words: &[Located<String>]) {
    let mut seen: BTreeMap<String, &Located<String>> = BTreeMap::new();
    for at in words {
        let folded = fold_word(&at.value);
        if folded.is_empty() || !folded.chars().all(char::is_alphanumeric) {
            let found = format!("\"{}\" in a list of words", at.value);
            table.report_mistake(at.line, found, "one word, of letters and digits alone");
        } else if let Some(other) = seen.insert(folded, at) {
            let found =
                format!("\"{}\", as \"{}\" is in line {}", at.value, other.value, other.line);
            table.report_mistake(at.line, found, "each word once, whatever its case and accents");
        }
    }
}
