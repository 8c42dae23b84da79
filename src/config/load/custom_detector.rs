//! Reads detectors of a config: `[detectors.NAME]` in a file of `config/detectors`.

use crate::config::document::{Located, TomlTable};
use crate::policy::detect::{CustomDetector, CustomPattern, is_built_in};
use crate::policy::name::SNAKE_CASE_NAME;

const DETECTORS: &str = "tables of detectors, as [detectors.school_number]";

/// Reads the detectors of one file; those with a mistake are reported and left out.
pub(crate) fn read_custom_detectors(table: &TomlTable<'_>) -> Vec<CustomDetector> {
    let Some(inner) = table.table("detectors", DETECTORS) else {
        return Vec::new();
    };
    let entries = inner.entries();
    if entries.is_empty() {
        inner.report_mistake(inner.line(), "no detector in `detectors`", DETECTORS);
    }
    let mut detectors = Vec::new();
    for (name, _) in entries {
        if !(SNAKE_CASE_NAME.is_valid)(&name.value) || is_built_in(&name.value) {
            let found = format!("the detector `{}`", name.value);
            let expected = "lower case with underscores, and no name of zeef's own detectors";
            table.report_mistake(name.line, found, expected);
        }
        if let Some(one) = inner.table(&name.value, "a table with pattern, hits and misses") {
            detectors.extend(read_detector(&one, name.value));
        }
    }
    detectors
}

fn read_detector(table: &TomlTable<'_>, name: String) -> Option<CustomDetector> {
    let description = table.require_string("description", "what it finds, in one sentence");
    let pattern = table.require_string("pattern", "a regular expression, between single quotes");
    table.require_key("hits", "texts in which it finds something", None);
    table.require_key("misses", "texts in which it finds nothing", None);
    let hits = table.strings("hits", "texts in which it finds something");
    let misses = table.strings("misses", "texts in which it finds nothing");
    table.finish();
    let (hits, misses, pattern) = (hits?, misses?, pattern?);
    let compiled = match CustomPattern::new(&pattern.value) {
        Ok(compiled) => compiled,
        Err(error) => {
            let found = format!("`pattern` cannot be used: {error}");
            let expected = "a regular expression of Rust's `regex`, which has no look-around";
            table.report_mistake(pattern.line, found, expected);
            return None;
        }
    };
    for (examples, key, is_hit) in [(&hits, "hits", true), (&misses, "misses", false)] {
        if examples.value.is_empty() {
            table.report_mistake(examples.line, format!("no text in `{key}`"), "at least one");
        }
        let wrong = examples.value.iter().filter(|at| compiled.finds_any(&at.value) != is_hit);
        for at in wrong {
            let does = if is_hit { "finds nothing in" } else { "finds something in" };
            let expected =
                format!("an example of `{key}` for which that holds, or another pattern");
            table.report_mistake(at.line, format!("`pattern` {does} \"{}\"", at.value), expected);
        }
    }
    let texts =
        |list: Located<Vec<Located<String>>>| list.value.into_iter().map(|at| at.value).collect();
    Some(CustomDetector {
        name,
        description: description?.value,
        pattern: compiled,
        hits: texts(hits),
        misses: texts(misses),
    })
}
