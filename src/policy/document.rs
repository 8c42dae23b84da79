//! One TOML file, read to its end: every mistake is kept, with its line.
//!
//! Every accessor notes its key as known; what is left over at the end is a
//! mistake too, with the known key that comes nearest. Nothing here stops at
//! the first mistake, and nothing here quotes what may be a secret.

use std::cell::RefCell;
use std::fmt;
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One mistake in the config, for the operator who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file, or the folder where a file is missing.
    pub file: String,
    /// Counted from 1; 0 where no line can be named.
    pub line: usize,
    pub found: String,
    /// What is right; empty where `found` says it all.
    pub expected: String,
    /// The known name that comes nearest to a mistyped one.
    pub near: Option<String>,
    /// The rule of [`LINTS`](super::lint::LINTS) that does not hold.
    pub rule: Option<&'static str>,
}

impl Mistake {
    pub(super) fn new(
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
            near: None,
            rule: None,
        }
    }

    pub(super) fn near(mut self, near: Option<String>) -> Mistake {
        self.near = near;
        self
    }

    pub(super) fn rule(mut self, rule: &'static str) -> Mistake {
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
        match (&self.near, self.expected.is_empty()) {
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

/// A value and the line where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) line: usize,
}

/// A value as TOML has it.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// One file under reading: its lines and the mistakes so far.
pub(super) struct Document<'a> {
    file: &'a str,
    line_starts: Vec<usize>,
    mistakes: RefCell<Vec<Mistake>>,
}

/// Reads `text` with `body`, and appends all mistakes to `mistakes`.
///
/// `None` where the text is no TOML; that is then among the mistakes.
pub(super) fn read<T>(
    file: &str,
    text: &str,
    mistakes: &mut Vec<Mistake>,
    body: impl FnOnce(&Table<'_>) -> T,
) -> Option<T> {
    let document = Document {
        file,
        line_starts: line_starts(text),
        mistakes: RefCell::default(),
    };
    let (root, errors) = DeTable::parse_recoverable(text);
    let read = if errors.is_empty() {
        let table = Table::new(&document, root.get_ref(), 1);
        let read = body(&table);
        table.finish();
        Some(read)
    } else {
        document.syntax(&errors);
        None
    };
    let mut found = document.mistakes.into_inner();
    found.sort_by_key(|mistake| mistake.line);
    mistakes.append(&mut found);
    read
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0)
        .chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1))
        .collect()
}

impl Document<'_> {
    fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    fn push(&self, mistake: Mistake) {
        self.mistakes.borrow_mut().push(mistake);
    }

    /// Keeps the first error: the others may follow from it.
    fn syntax(&self, errors: &[toml::de::Error]) {
        let line = |error: &toml::de::Error| error.span().map_or(1, |span| self.line(span.start));
        if let Some(error) = errors.iter().min_by_key(|error| line(error)) {
            let found = format!("not TOML: {}", error.message());
            self.push(Mistake::new(self.file, line(error), found, ""));
        }
    }
}

/// A table under reading.
pub(super) struct Table<'a> {
    document: &'a Document<'a>,
    entries: &'a DeTable<'a>,
    line: usize,
    known: RefCell<Vec<String>>,
    /// Keys that were needed and not found, with what was expected.
    missing: RefCell<Vec<(String, Mistake)>>,
}

impl<'a> Table<'a> {
    fn new(document: &'a Document<'a>, entries: &'a DeTable<'a>, line: usize) -> Table<'a> {
        Table {
            document,
            entries,
            line,
            known: RefCell::default(),
            missing: RefCell::default(),
        }
    }

    /// The line where the table begins.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The file that the table stands in.
    pub(super) fn file(&self) -> &'a str {
        self.document.file
    }

    pub(super) fn push(&self, mistake: Mistake) {
        self.document.push(mistake);
    }

    /// Notes a mistake at `line`.
    pub(super) fn mistake(
        &self,
        line: usize,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.push(Mistake::new(self.file(), line, found, expected));
    }

    /// Reports every key that no accessor asked for, and every key that is
    /// missing and was not merely mistyped.
    pub(super) fn finish(&self) {
        let known = self.known.borrow();
        let mut missing = self.missing.borrow_mut();
        for (key, line) in self.keys() {
            if known.contains(&key) {
                continue;
            }
            let close = near(&key, known.iter().map(String::as_str));
            missing.retain(|(name, _)| Some(name) != close.as_ref());
            let expected = match close {
                Some(_) => String::new(),
                None => format!("one of {}", listed(&known)),
            };
            let found = format!("unknown key `{key}`");
            self.push(Mistake::new(self.file(), line, found, expected).near(close));
        }
        for (_, mistake) in missing.drain(..) {
            self.push(mistake);
        }
    }

    /// The keys as written, each with its line.
    fn keys(&self) -> Vec<(String, usize)> {
        let mut keys: Vec<_> = self
            .entries
            .keys()
            .map(|key| (key.span().start, key.get_ref().to_string()))
            .collect();
        keys.sort();
        keys.into_iter()
            .map(|(start, key)| (key, self.document.line(start)))
            .collect()
    }

    /// All entries in the order as written, every key of them known.
    pub(super) fn entries(&self) -> Vec<(At<String>, &'a Value<'a>)> {
        self.keys()
            .into_iter()
            .filter_map(|(key, line)| {
                let value = self.value(&key)?.value;
                Some((At { value: key, line }, value))
            })
            .collect()
    }

    /// The value under `key`, with the line of the key.
    pub(super) fn value(&self, key: &str) -> Option<At<&'a Value<'a>>> {
        let mut known = self.known.borrow_mut();
        if !known.iter().any(|other| other == key) {
            known.push(key.to_owned());
        }
        let (written, value) = self
            .entries
            .iter()
            .find(|(written, _)| written.get_ref() == key)?;
        let line = self.document.line(written.span().start);
        Some(At { value, line })
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// The line of `key`, or the table's own where it is not there.
    pub(super) fn line_of(&self, key: &str) -> usize {
        self.value(key).map_or(self.line, |at| at.line)
    }

    /// Notes that `key` has to be there.
    pub(super) fn need(&self, key: &str, expected: &str, rule: Option<&'static str>) {
        if self.has(key) {
            return;
        }
        let found = format!("no `{key}`");
        let mut mistake = Mistake::new(self.file(), self.line, found, expected);
        mistake.rule = rule;
        self.missing.borrow_mut().push((key.to_owned(), mistake));
    }

    fn wrong_type(&self, key: &str, value: At<&Value<'_>>, kind: &str, expected: &str) {
        let found = format!("`{key}` is {}", described(value.value.get_ref()));
        self.mistake(value.line, found, format!("{kind}: {expected}"));
    }

    /// A string that is not empty.
    pub(super) fn text(&self, key: &str, expected: &str) -> Option<At<String>> {
        let at = self.value(key)?;
        match at.value.get_ref() {
            DeValue::String(text) if text.trim().is_empty() => {
                self.mistake(at.line, format!("`{key}` is empty"), expected);
                None
            }
            DeValue::String(text) => Some(At {
                value: text.to_string(),
                line: at.line,
            }),
            _ => {
                self.wrong_type(key, at, "a string", expected);
                None
            }
        }
    }

    /// A string that has to be there.
    pub(super) fn need_text(&self, key: &str, expected: &str) -> Option<At<String>> {
        self.need(key, expected, None);
        self.text(key, expected)
    }

    pub(super) fn boolean(&self, key: &str, expected: &str) -> Option<At<bool>> {
        let at = self.value(key)?;
        match at.value.get_ref() {
            DeValue::Boolean(value) => Some(At {
                value: *value,
                line: at.line,
            }),
            _ => {
                self.wrong_type(key, at, "true or false", expected);
                None
            }
        }
    }

    /// `true` or `false`, and `default` where it is missing or mistaken.
    pub(super) fn switch(&self, key: &str, default: bool, expected: &str) -> bool {
        self.boolean(key, expected).map_or(default, |at| at.value)
    }

    /// A whole number within `bounds`.
    pub(super) fn integer(
        &self,
        key: &str,
        bounds: RangeInclusive<i64>,
        expected: &str,
    ) -> Option<At<i64>> {
        let at = self.value(key)?;
        let wanted = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        match whole(at.value.get_ref()) {
            Some(value) if bounds.contains(&value) => Some(At {
                value,
                line: at.line,
            }),
            _ => {
                self.wrong_type(key, at, &wanted, expected);
                None
            }
        }
    }

    /// One of `choices`, by its word.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &str,
        choices: &[(&str, T)],
        expected: &str,
    ) -> Option<At<T>> {
        let text = self.text(key, expected)?;
        let found = choices.iter().find(|(word, _)| *word == text.value);
        if let Some((_, value)) = found {
            return Some(At {
                value: *value,
                line: text.line,
            });
        }
        let words: Vec<_> = choices.iter().map(|(word, _)| (*word).to_owned()).collect();
        let close = near(&text.value, words.iter().map(String::as_str));
        let found = format!("`{key}` is \"{}\"", text.value);
        let expected = format!("{expected}: one of {}", listed(&words));
        self.push(Mistake::new(self.file(), text.line, found, expected).near(close));
        None
    }

    /// A list of strings, none of them empty or there twice.
    pub(super) fn texts(&self, key: &str, expected: &str) -> Option<At<Vec<At<String>>>> {
        let at = self.value(key)?;
        let DeValue::Array(items) = at.value.get_ref() else {
            self.wrong_type(key, at, "a list of strings", expected);
            return None;
        };
        let mut texts: Vec<At<String>> = Vec::new();
        for item in items.iter() {
            let line = self.line_at(item);
            match item.get_ref().as_str() {
                Some(text) if texts.iter().any(|other| other.value == text) => {
                    self.mistake(line, format!("\"{text}\" twice in `{key}`"), "it once");
                }
                Some(text) if !text.trim().is_empty() => texts.push(At {
                    value: text.to_owned(),
                    line,
                }),
                Some(_) => self.mistake(line, format!("an empty string in `{key}`"), expected),
                None => {
                    let found = format!("{} in `{key}`", described(item.get_ref()));
                    self.mistake(line, found, format!("a list of strings: {expected}"));
                }
            }
        }
        Some(At {
            value: texts,
            line: at.line,
        })
    }

    /// The line of a value that stands in the same file.
    pub(super) fn line_at(&self, value: &Value<'_>) -> usize {
        self.document.line(value.span().start)
    }

    pub(super) fn table(&self, key: &str, expected: &str) -> Option<Table<'a>> {
        let at = self.value(key)?;
        let table = self.as_table(at.value, at.line);
        if table.is_none() {
            self.wrong_type(key, at, "a table", expected);
        }
        table
    }

    /// The tables of a list, in their order.
    pub(super) fn tables(&self, key: &str, expected: &str) -> Vec<Table<'a>> {
        let Some(at) = self.value(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = at.value.get_ref() else {
            self.wrong_type(key, at, "a list of tables", expected);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items.iter() {
            let line = self.line_at(item);
            match self.as_table(item, line) {
                Some(table) => tables.push(table),
                None => {
                    let found = format!("{} in `{key}`", described(item.get_ref()));
                    self.mistake(line, found, format!("a list of tables: {expected}"));
                }
            }
        }
        tables
    }

    /// `value` as a table that begins at `line`.
    pub(super) fn as_table(&self, value: &'a Value<'a>, line: usize) -> Option<Table<'a>> {
        match value.get_ref() {
            DeValue::Table(entries) => Some(Table::new(self.document, entries, line)),
            _ => None,
        }
    }
}

/// A whole number, where the value is one that fits.
pub(super) fn whole(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A value in an operator's words.
pub(super) fn described(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{text}\""),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        other => kind_of(other).to_owned(),
    }
}

/// What kind of value it is, without the value.
pub(super) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time without quotes",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Words in backquotes, separated by commas.
pub(super) fn listed(words: &[String]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

/// The candidate that `word` is most likely a slip of, if any comes near.
pub fn near<'a>(word: &str, candidates: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let lower = word.to_lowercase();
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    let by_letters = candidates
        .clone()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&lower, &name.to_lowercase()),
                name,
            )
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min();
    if let Some((_, name)) = by_letters {
        return Some(name.to_owned());
    }
    let mut by_ending = candidates.filter(|name| last_part(name) == last_part(&lower));
    match (by_ending.next(), by_ending.next()) {
        (Some(only), None) => Some(only.to_owned()),
        _ => None,
    }
}

fn last_part(path: &str) -> &str {
    let end = path.rsplit('.').next().unwrap_or(path);
    end.strip_suffix("[]").unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        let mut mistakes = Vec::new();
        read("a.toml", text, &mut mistakes, |root| {
            root.need_text("topic", "the topic that the partner reads");
            root.integer("count", 1..=9, "letters to keep");
            root.texts("lines", "names of fields");
            root.choice("role", &[("gate", 1), ("record", 2)], "what it is");
            root.switch("enabled", true, "whether it runs");
            for table in root.tables("when", "conditions") {
                table.text("field", "a path");
                table.finish();
            }
        });
        let shown: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(shown, want);
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        check("topic = \"a\"\ncount = 3\nlines = [\"x\"]", &[]);
        check(
            "",
            &["a.toml:1: no `topic`, expected the topic that the partner reads"],
        );
        check(
            "topik = \"a\"",
            &["a.toml:1: unknown key `topik`: did you mean `topic`?"],
        );
        check(
            "topic = \"a\"\nwhatever = 1",
            &[
                "a.toml:2: unknown key `whatever`, expected one of `topic`, `count`, `lines`, \
                 `role`, `enabled`, `when`",
            ],
        );
        check(
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
        check(
            "topic = \"a\"\nwhen = [\n  { field = \"x\" },\n  { feild = \"y\" },\n  7,\n]",
            &[
                "a.toml:4: unknown key `feild`: did you mean `field`?",
                "a.toml:5: 7 in `when`, expected a list of tables: conditions",
            ],
        );
        check(
            "topic = \" \"",
            &["a.toml:1: `topic` is empty, expected the topic that the partner reads"],
        );
    }

    #[test]
    fn of_what_is_no_toml_the_first_error_is_told() {
        let mut mistakes = Vec::new();
        let text = "name = \"a\"\nname = \"b\"\ntopic = \nx = 1";
        assert!(read("a.toml", text, &mut mistakes, |_| ()).is_none());
        let lines: Vec<_> = mistakes.iter().map(|mistake| mistake.line).collect();
        assert_eq!(lines, [2], "{mistakes:?}");
    }

    #[test]
    fn a_slip_of_the_keyboard_finds_its_word() {
        let words = [
            "patron.surname",
            "patron.address.street",
            "item.title",
            "interests[]",
        ];
        let close = |word: &str| near(word, words.iter().copied());
        assert_eq!(close("patron.surnam").as_deref(), Some("patron.surname"));
        assert_eq!(close("Patron.Surname").as_deref(), Some("patron.surname"));
        assert_eq!(
            close("patron.street").as_deref(),
            Some("patron.address.street")
        );
        assert_eq!(close("title").as_deref(), Some("item.title"));
        assert_eq!(close("interests").as_deref(), Some("interests[]"));
        assert_eq!(close("zzz"), None);
    }
}
