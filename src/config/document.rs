//! Reads one TOML file to its end and keeps every mistake with its line.
//!
//! Every accessor marks its key as known; unknown keys are reported with the nearest known one.
//! Never stops at the first mistake or quotes what may be a secret.

use std::cell::RefCell;
use std::fmt;
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A mistake in the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Or the folder that lacks a file.
    pub file: String,
    /// Counted from 1; 0 if unknown.
    pub line: usize,
    pub found: String,
    /// Empty if `found` says it all.
    pub expected: String,
    /// The nearest known name, if mistyped.
    pub suggestion: Option<String>,
    /// The broken rule of [`LINTS`](super::lint::LINTS).
    pub rule: Option<&'static str>,
}

impl Mistake {
    pub(crate) fn new(
        file: &str,
        line: usize,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Mistake {
        Mistake {
            file: file.to_owned(),
            line,
            found: found.into(),
            expected: expected.into(),
            suggestion: None,
            rule: None,
        }
    }

    pub(crate) fn with_suggestion(mut self, suggestion: Option<&str>) -> Mistake {
        self.suggestion = suggestion.map(str::to_owned);
        self
    }

    pub(crate) fn with_rule(mut self, rule: &'static str) -> Mistake {
        self.rule = Some(rule);
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.found)?,
            line => write!(f, "{}:{line}: {}", self.file, self.found)?,
        }
        match (&self.suggestion, self.expected.is_empty()) {
            (Some(near), true) => write!(f, ": did you mean `{near}`?")?,
            (Some(near), false) => {
                write!(f, ": did you mean `{near}`? (expected {})", self.expected)?;
            }
            (None, true) => {}
            (None, false) => write!(f, ", expected {}", self.expected)?,
        }
        match self.rule {
            Some(rule) => write!(f, " [rule {rule}]"),
            None => Ok(()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) line: usize,
}

pub(crate) type TomlValue<'a> = Spanned<DeValue<'a>>;

/// A file being read.
pub(crate) struct TomlDocument<'a> {
    file: &'a str,
    line_starts: Vec<usize>,
    mistakes: RefCell<Vec<Mistake>>,
}

/// Reads `text` with `body`, and appends all mistakes to `mistakes`.
///
/// Returns `None` if the text is not TOML, which is a mistake too.
pub(crate) fn read_toml<T>(
    file: &str,
    text: &str,
    mistakes: &mut Vec<Mistake>,
    body: impl FnOnce(&TomlTable<'_>) -> T,
) -> Option<T> {
    let document =
        TomlDocument { file, line_starts: line_starts(text), mistakes: RefCell::default() };
    let (root, errors) = DeTable::parse_recoverable(text);
    let read = if errors.is_empty() {
        let table = TomlTable::new(&document, root.get_ref(), 1);
        let read = body(&table);
        table.finish();
        Some(read)
    } else {
        document.push_syntax_error(&errors);
        None
    };
    let mut found = document.mistakes.into_inner();
    found.sort_by_key(|mistake| mistake.line);
    mistakes.append(&mut found);
    read
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)).collect()
}

impl TomlDocument<'_> {
    fn line_of_offset(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    fn push_mistake(&self, mistake: Mistake) {
        self.mistakes.borrow_mut().push(mistake);
    }

    /// Reports the first error only, as others may follow from it.
    fn push_syntax_error(&self, errors: &[toml::de::Error]) {
        let line = |error: &toml::de::Error| {
            error.span().map_or(1, |span| self.line_of_offset(span.start))
        };
        if let Some(error) = errors.iter().min_by_key(|error| line(error)) {
            let found = format!("not TOML: {}", error.message());
            self.push_mistake(Mistake::new(self.file, line(error), found, ""));
        }
    }
}

/// A table being read.
pub(crate) struct TomlTable<'a> {
    document: &'a TomlDocument<'a>,
    entries: &'a DeTable<'a>,
    line: usize,
    known_keys: RefCell<Vec<String>>,
    /// Required keys that are missing.
    missing_keys: RefCell<Vec<(String, Mistake)>>,
}

impl<'a> TomlTable<'a> {
    fn new(document: &'a TomlDocument<'a>, entries: &'a DeTable<'a>, line: usize) -> TomlTable<'a> {
        TomlTable {
            document,
            entries,
            line,
            known_keys: RefCell::default(),
            missing_keys: RefCell::default(),
        }
    }

    pub(crate) fn line(&self) -> usize {
        self.line
    }

    pub(crate) fn file(&self) -> &'a str {
        self.document.file
    }

    pub(crate) fn push_mistake(&self, mistake: Mistake) {
        self.document.push_mistake(mistake);
    }

    pub(crate) fn report_mistake(
        &self,
        line: usize,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.push_mistake(Mistake::new(self.file(), line, found, expected));
    }

    /// Reports every unknown key, and every missing one unless a mistyped key is nearest to it.
    pub(crate) fn finish(&self) {
        let known = self.known_keys.borrow();
        let mut missing = self.missing_keys.borrow_mut();
        for (key, line) in self.keys_with_lines() {
            if known.contains(&key) {
                continue;
            }
            let suggestion = nearest_name(&key, known.iter().map(String::as_str));
            missing.retain(|(name, _)| Some(name.as_str()) != suggestion);
            let expected = match suggestion {
                Some(_) => String::new(),
                None => format!("one of {}", join_quoted(&known)),
            };
            let found = format!("unknown key `{key}`");
            self.push_mistake(
                Mistake::new(self.file(), line, found, expected).with_suggestion(suggestion),
            );
        }
        for (_, mistake) in missing.drain(..) {
            self.push_mistake(mistake);
        }
    }

    /// Returns whether it has a key that was not asked for so far.
    pub(crate) fn has_unknown_key(&self) -> bool {
        let known = self.known_keys.borrow();
        self.entries.keys().any(|key| known.iter().all(|known| known != key.get_ref().as_ref()))
    }

    /// Returns the keys in the order of the file, with lines.
    fn keys_with_lines(&self) -> Vec<(String, usize)> {
        let mut keys: Vec<_> =
            self.entries.keys().map(|key| (key.span().start, key.get_ref().to_string())).collect();
        keys.sort();
        keys.into_iter().map(|(start, key)| (key, self.document.line_of_offset(start))).collect()
    }

    /// Returns all entries in the order of the file, and marks them known.
    pub(crate) fn entries(&self) -> Vec<(Located<String>, &'a TomlValue<'a>)> {
        self.keys_with_lines()
            .into_iter()
            .filter_map(|(key, line)| {
                let value = self.value(&key)?.value;
                Some((Located { value: key, line }, value))
            })
            .collect()
    }

    /// Returns the value of `key` with the line of the key.
    pub(crate) fn value(&self, key: &str) -> Option<Located<&'a TomlValue<'a>>> {
        let mut known = self.known_keys.borrow_mut();
        if !known.iter().any(|other| other == key) {
            known.push(key.to_owned());
        }
        let (written, value) = self.entries.iter().find(|(written, _)| written.get_ref() == key)?;
        let line = self.document.line_of_offset(written.span().start);
        Some(Located { value, line })
    }

    pub(crate) fn contains_key(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Returns the line of `key`, or of the table if the key is missing.
    pub(crate) fn line_of_key(&self, key: &str) -> usize {
        self.value(key).map_or(self.line, |at| at.line)
    }

    /// Marks `key` as required.
    pub(crate) fn require_key(&self, key: &str, expected: &str, rule: Option<&'static str>) {
        if self.contains_key(key) {
            return;
        }
        let found = format!("no `{key}`");
        let mut mistake = Mistake::new(self.file(), self.line, found, expected);
        mistake.rule = rule;
        self.missing_keys.borrow_mut().push((key.to_owned(), mistake));
    }

    fn report_wrong_type(&self, key: &str, value: Located<&TomlValue<'_>>, expected: String) {
        let found = format!("`{key}` is {}", describe_value(value.value.get_ref()));
        self.report_mistake(value.line, found, expected);
    }

    /// Reads a non-empty string.
    pub(crate) fn string(&self, key: &str, expected: &str) -> Option<Located<String>> {
        let at = self.value(key)?;
        match at.value.get_ref() {
            DeValue::String(text) if text.trim().is_empty() => {
                self.report_mistake(at.line, format!("`{key}` is empty"), expected);
                None
            }
            DeValue::String(text) => Some(Located { value: text.to_string(), line: at.line }),
            _ => {
                self.report_wrong_type(key, at, format!("a string: {expected}"));
                None
            }
        }
    }

    /// Reads a required string.
    pub(crate) fn require_string(&self, key: &str, expected: &str) -> Option<Located<String>> {
        self.require_key(key, expected, None);
        self.string(key, expected)
    }

    pub(crate) fn boolean(&self, key: &str, expected: &str) -> Option<Located<bool>> {
        let at = self.value(key)?;
        match at.value.get_ref() {
            DeValue::Boolean(value) => Some(Located { value: *value, line: at.line }),
            _ => {
                self.report_wrong_type(key, at, format!("true or false: {expected}"));
                None
            }
        }
    }

    /// Returns `default` if missing or invalid.
    pub(crate) fn boolean_or(&self, key: &str, default: bool, expected: &str) -> bool {
        self.boolean(key, expected).map_or(default, |at| at.value)
    }

    /// Reads a whole number within `bounds`.
    pub(crate) fn integer(
        &self,
        key: &str,
        bounds: RangeInclusive<i64>,
        expected: &str,
    ) -> Option<Located<i64>> {
        let at = self.value(key)?;
        let wanted = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        match parse_i64(at.value.get_ref()) {
            Some(value) if bounds.contains(&value) => Some(Located { value, line: at.line }),
            _ => {
                self.report_wrong_type(key, at, format!("{wanted}: {expected}"));
                None
            }
        }
    }

    /// Reads one of `choices` by its word.
    pub(crate) fn choice<T: Copy>(
        &self,
        key: &str,
        choices: &[(&str, T)],
        expected: &str,
    ) -> Option<Located<T>> {
        let text = self.string(key, expected)?;
        let found = choices.iter().find(|(word, _)| *word == text.value);
        if let Some((_, value)) = found {
            return Some(Located { value: *value, line: text.line });
        }
        let words: Vec<_> = choices.iter().map(|(word, _)| (*word).to_owned()).collect();
        let suggestion = nearest_name(&text.value, words.iter().map(String::as_str));
        let found = format!("`{key}` is \"{}\"", text.value);
        let expected = format!("{expected}: one of {}", join_quoted(&words));
        self.push_mistake(
            Mistake::new(self.file(), text.line, found, expected).with_suggestion(suggestion),
        );
        None
    }

    /// Reads one of an enum's words.
    pub(crate) fn word<T>(&self, key: &str, expected: &str) -> Option<Located<T>>
    where
        T: Copy + Into<&'static str> + strum::VariantArray,
    {
        let choices: Vec<_> = T::VARIANTS.iter().map(|&one| (one.into(), one)).collect();
        self.choice(key, &choices, expected)
    }

    /// Reads a list of distinct, non-empty strings.
    pub(crate) fn strings(
        &self,
        key: &str,
        expected: &str,
    ) -> Option<Located<Vec<Located<String>>>> {
        let at = self.value(key)?;
        let DeValue::Array(items) = at.value.get_ref() else {
            self.report_wrong_type(key, at, format!("a list of strings: {expected}"));
            return None;
        };
        let mut texts: Vec<Located<String>> = Vec::new();
        for item in items.iter() {
            let line = self.line_of_value(item);
            match item.get_ref().as_str() {
                Some(text) if texts.iter().any(|other| other.value == text) => {
                    self.report_mistake(line, format!("\"{text}\" twice in `{key}`"), "it once");
                }
                Some(text) if !text.trim().is_empty() => {
                    texts.push(Located { value: text.to_owned(), line })
                }
                Some(_) => {
                    self.report_mistake(line, format!("an empty string in `{key}`"), expected)
                }
                None => {
                    let found = format!("{} in `{key}`", describe_value(item.get_ref()));
                    self.report_mistake(line, found, format!("a list of strings: {expected}"));
                }
            }
        }
        Some(Located { value: texts, line: at.line })
    }

    pub(crate) fn line_of_value(&self, value: &TomlValue<'_>) -> usize {
        self.document.line_of_offset(value.span().start)
    }

    pub(crate) fn table(&self, key: &str, expected: &str) -> Option<TomlTable<'a>> {
        let at = self.value(key)?;
        let table = self.as_table(at.value, at.line);
        if table.is_none() {
            self.report_wrong_type(key, at, format!("a table: {expected}"));
        }
        table
    }

    /// Reads a list of tables.
    pub(crate) fn tables(&self, key: &str, expected: &str) -> Vec<TomlTable<'a>> {
        let Some(at) = self.value(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = at.value.get_ref() else {
            self.report_wrong_type(key, at, format!("a list of tables: {expected}"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items.iter() {
            let line = self.line_of_value(item);
            match self.as_table(item, line) {
                Some(table) => tables.push(table),
                None => {
                    let found = format!("{} in `{key}`", describe_value(item.get_ref()));
                    self.report_mistake(line, found, format!("a list of tables: {expected}"));
                }
            }
        }
        tables
    }

    /// Returns `value` as a table, with `line` as its line.
    pub(crate) fn as_table(&self, value: &'a TomlValue<'a>, line: usize) -> Option<TomlTable<'a>> {
        match value.get_ref() {
            DeValue::Table(entries) => Some(TomlTable::new(self.document, entries, line)),
            _ => None,
        }
    }
}

/// Returns the number if it fits an `i64`.
pub(crate) fn parse_i64(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Returns a value in an operator's words.
pub(crate) fn describe_value(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{text}\""),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        other => describe_type(other).to_owned(),
    }
}

/// Returns the type of a value, without the value.
pub(crate) fn describe_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time without quotes",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

pub(crate) fn join_quoted(words: &[String]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

/// Returns the candidate within a few typos of `word`, in any case of letters.
pub fn nearest_spelling<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// Returns the candidate within a few typos of `word`, or else the only one with its last segment.
pub fn nearest_name<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    nearest_spelling(word, candidates.clone()).or_else(|| {
        let lower = word.to_lowercase();
        let mut same = candidates.filter(|name| last_segment(name) == last_segment(&lower));
        same.next().filter(|_| same.next().is_none())
    })
}

fn last_segment(path: &str) -> &str {
    let end = path.rsplit('.').next().unwrap_or(path);
    end.strip_suffix("[]").unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_mistakes(text: &str, want: &[&str]) {
        let mut mistakes = Vec::new();
        read_toml("a.toml", text, &mut mistakes, |root| {
            root.require_string("topic", "the topic that the partner reads");
            root.integer("count", 1..=9, "letters to keep");
            root.strings("lines", "names of fields");
            root.choice("role", &[("gate", 1), ("record", 2)], "what it is");
            root.boolean_or("enabled", true, "whether it runs");
            for table in root.tables("when", "conditions") {
                table.string("field", "a path");
                table.finish();
            }
        });
        let shown: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(shown, want);
    }

    #[test]
    fn toml_table_reports_every_mistake_with_its_line() {
        assert_mistakes("topic = \"a\"\ncount = 3\nlines = [\"x\"]", &[]);
        assert_mistakes("", &["a.toml:1: no `topic`, expected the topic that the partner reads"]);
        assert_mistakes("topik = \"a\"", &["a.toml:1: unknown key `topik`: did you mean `topic`?"]);
        assert_mistakes(
            "topic = \"a\"\nwhatever = 1",
            &["a.toml:2: unknown key `whatever`, expected one of `topic`, `count`, `lines`, \
                 `role`, `enabled`, `when`"],
        );
        assert_mistakes(
            "topic = 3\ncount = 10\nlines = [\"x\", 1, \"x\", \"\"]\nrole = \"gats\"\nenabled = \"yes\"",
            &[
                "a.toml:1: `topic` is 3, expected a string: the topic that the partner reads",
                "a.toml:2: `count` is 10, expected a whole number from 1 to 9: letters to keep",
                "a.toml:3: 1 in `lines`, expected a list of strings: names of fields",
                "a.toml:3: \"x\" twice in `lines`, expected it once",
                "a.toml:3: an empty string in `lines`, expected names of fields",
                "a.toml:4: `role` is \"gats\": did you mean `gate`? (expected what it is: one of \
                 `gate`, `record`)",
                "a.toml:5: `enabled` is \"yes\", expected true or false: whether it runs",
            ],
        );
        assert_mistakes(
            "topic = \"a\"\nwhen = [\n  { field = \"x\" },\n  { feild = \"y\" },\n  7,\n]",
            &[
                "a.toml:4: unknown key `feild`: did you mean `field`?",
                "a.toml:5: 7 in `when`, expected a list of tables: conditions",
            ],
        );
        assert_mistakes(
            "topic = \" \"",
            &["a.toml:1: `topic` is empty, expected the topic that the partner reads"],
        );
    }

    #[test]
    fn invalid_toml_reports_the_first_syntax_error_only() {
        let mut mistakes = Vec::new();
        let text = "name = \"a\"\nname = \"b\"\ntopic = \nx = 1";
        assert!(read_toml("a.toml", text, &mut mistakes, |_| ()).is_none());
        let lines: Vec<_> = mistakes.iter().map(|mistake| mistake.line).collect();
        assert_eq!(lines, [2], "{mistakes:?}");
    }

    #[test]
    fn nearest_name_finds_the_mistyped_word() {
        let words = ["patron.surname", "patron.address.street", "item.title", "interests[]"];
        let suggestion = |word: &str| nearest_name(word, words.iter().copied());
        assert_eq!(suggestion("patron.surnam"), Some("patron.surname"));
        assert_eq!(suggestion("Patron.Surname"), Some("patron.surname"));
        assert_eq!(suggestion("patron.street"), Some("patron.address.street"));
        assert_eq!(suggestion("title"), Some("item.title"));
        assert_eq!(suggestion("interests"), Some("interests[]"));
        assert_eq!(suggestion("zzz"), None);
    }
}
