//! Reads whether patrons are told of what a recipient gets.

use toml::de::DeValue;

use super::term::read_day;
use crate::config::document::{TomlTable, describe_value};
use crate::policy::confidentiality::Confidentiality;

const EXPECTED: &str = "true, or { until = \"YYYY-MM-DD\" }: patrons are not told of it, up to the \
                        end of that day in UTC";

/// Reads `confidential`. A mark that is not understood counts, and is a mistake.
pub(super) fn read_confidentiality(table: &TomlTable<'_>) -> Option<Confidentiality> {
    let at = table.value("confidential")?;
    let endless = Some(Confidentiality { until: None });
    match at.value.get_ref() {
        DeValue::Boolean(is_marked) => return endless.filter(|_| *is_marked),
        DeValue::Table(_) => {}
        other => {
            let found = format!("`confidential` is {}", describe_value(other));
            table.report_mistake(at.line, found, EXPECTED);
            return endless;
        }
    }
    let inner = table.table("confidential", EXPECTED)?;
    let until = read_day(&inner, "until", "its last day, as \"2027-01-31\"");
    inner.finish();
    Some(Confidentiality { until })
}
