//! Reads periods and days, as terms and other rules have them.

use crate::config::document::TomlTable;
use crate::policy::form::Date;
use crate::policy::term::Term;

/// Reads a required period.
pub(super) fn read_term(table: &TomlTable<'_>, key: &str) -> Option<Term> {
    let at = table.require_string(key, "an ISO 8601 period, as P14D, P18M or P1Y")?;
    let term = Term::parse(&at.value);
    if term.is_none() {
        table.report_mistake(
            at.line,
            format!("`{key}` is \"{}\"", at.value),
            "an ISO 8601 period of years, months, weeks or days, as P14D, P18M or P1Y",
        );
    }
    term
}

/// Reads a required day.
pub(super) fn read_day(table: &TomlTable<'_>, key: &str, expected: &str) -> Option<Date> {
    let at = table.require_string(key, expected)?;
    let date = Date::parse(&at.value);
    if date.is_none() {
        table.report_mistake(at.line, format!("`{key}` is \"{}\"", at.value), expected);
    }
    date
}
