//! Detectors that a config adds: regular expressions, matched against folded text.

use std::ops::Range;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::folding::FoldBuffers;
use super::table::DETECTORS;

/// How many detectors a config may add.
pub const CUSTOM_DETECTORS_MAX: usize = 16;

/// The compiled size of one pattern, in bytes; bounds memory and the time per byte.
const PATTERN_SIZE_MAX: usize = 1 << 20;

/// A pattern whose longest match has so many bytes reads at most so far behind a match to tell
/// where it ends: all its matches together take time linear in the text.
const MATCH_BYTES_MAX: usize = 512;

/// A pattern without a longest match may read to the end of the text for each match. So many are
/// looked for; the last one takes in all that follows it.
const UNBOUNDED_MATCHES_MAX: usize = 64;

/// A detector of a config.
#[derive(Debug)]
pub struct CustomDetector {
    /// Its name in a recipient's file, in metrics, and in brackets in the output.
    pub name: String,
    /// What it finds, in one sentence.
    pub description: String,
    pub pattern: CustomPattern,
    /// Texts in which it finds something.
    pub hits: Vec<String>,
    /// Texts in which it finds nothing.
    pub misses: Vec<String>,
}

impl PartialEq for CustomDetector {
    fn eq(&self, other: &CustomDetector) -> bool {
        self.name == other.name && self.pattern.as_str() == other.pattern.as_str()
    }
}

impl Eq for CustomDetector {}

/// All detectors of a config, sorted by name. Clones share them.
pub type CustomDetectors = Arc<[CustomDetector]>;

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// One line, without the pattern.
    #[error("{0}")]
    Invalid(String),
    #[error("it is too large when compiled")]
    TooLarge,
    #[error("it finds the empty text")]
    FindsNothing,
}

/// A regular expression that finds something in time linear in the text.
///
/// Case is ignored. The text is folded first: digits, spaces, dashes and apostrophes of every
/// script are ASCII, and letters have no marks.
#[derive(Debug)]
pub struct CustomPattern {
    regex: Regex,
    /// The match with this number takes in the rest of the text.
    matches_max: usize,
}

impl CustomPattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    ///
    /// It is no regular expression, is too large, or matches the empty text, which is everywhere.
    pub fn new(pattern: &str) -> Result<CustomPattern, PatternError> {
        let built = RegexBuilder::new(pattern)
            .case_insensitive(true)
            .size_limit(PATTERN_SIZE_MAX)
            .dfa_size_limit(PATTERN_SIZE_MAX)
            .build();
        let regex = built.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default();
                PatternError::Invalid(last.trim_start_matches("error: ").to_owned())
            }
        })?;
        if regex.is_match("") {
            return Err(PatternError::FindsNothing);
        }
        let is_bounded = match_bytes_max(pattern).is_some_and(|bytes| bytes <= MATCH_BYTES_MAX);
        let matches_max = if is_bounded { usize::MAX } else { UNBOUNDED_MATCHES_MAX };
        Ok(CustomPattern { regex, matches_max })
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        self.regex.as_str()
    }

    /// Returns whether it finds something in `text`.
    #[must_use]
    pub fn finds_any(&self, text: &str) -> bool {
        self.regex.is_match(FoldBuffers::default().fold_text(text).text())
    }

    pub(super) fn finds_any_in_folded(&self, folded: &str) -> bool {
        self.regex.is_match(folded)
    }

    /// Yields the ranges found in a folded text; none is empty.
    pub(super) fn find_in_folded(&self, folded: &str) -> impl Iterator<Item = Range<usize>> {
        let ranges = self.regex.find_iter(folded).map(|hit| hit.range());
        let ranges = ranges.filter(|range| !range.is_empty()).take(self.matches_max);
        ranges.enumerate().map(|(at, range)| match at + 1 == self.matches_max {
            true => range.start..folded.len(),
            false => range,
        })
    }
}

/// Returns the length of the longest match in bytes; `None` without a bound.
fn match_bytes_max(pattern: &str) -> Option<usize> {
    let mut parser = regex_syntax::ParserBuilder::new().case_insensitive(true).build();
    parser.parse(pattern).ok()?.properties().maximum_len()
}

/// Returns whether a detector of zeef has this name.
#[must_use]
pub fn is_built_in(name: &str) -> bool {
    DETECTORS.iter().any(|def| def.name == name)
}
