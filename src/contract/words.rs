//! Terms and cells of tables, as documents for people have them.

use super::Language;
use crate::policy::Policy;
use crate::policy::recipient::{FieldRef, Recipient};
use crate::policy::term::Term;

/// Tells a term in words.
#[must_use]
pub fn describe_term(term: Term, language: Language) -> String {
    let units = language.pick(
        [("year", "years"), ("month", "months"), ("day", "days")],
        [("jaar", "jaar"), ("maand", "maanden"), ("dag", "dagen")],
    );
    let parts = [term.years, term.months, term.days].into_iter().zip(units);
    let parts = parts
        .filter(|(number, _)| *number > 0)
        .map(|(number, (one, many))| format!("{number} {}", if number == 1 { one } else { many }));
    parts.collect::<Vec<_>>().join(language.pick(" and ", " en "))
}

/// Returns what a field that a recipient's file names means; its path if the catalogue lacks it.
#[must_use]
pub fn field_meaning(
    (policy, recipient): (&Policy, &Recipient),
    field: &FieldRef,
    language: Language,
) -> String {
    let kind = match field.is_joined {
        true => policy.patron_kind(),
        false => policy.record_kinds.get(recipient.source_kind_index),
    };
    let known = kind.and_then(|kind| kind.field(&field.path));
    known.map_or_else(
        || field.to_string(),
        |known| {
            let dutch = known.meaning_nl.as_ref().unwrap_or(&known.meaning);
            language.pick(&known.meaning, dutch).clone()
        },
    )
}

/// Escapes what would end a cell of a Markdown table or its line.
#[must_use]
pub fn markdown_cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}
