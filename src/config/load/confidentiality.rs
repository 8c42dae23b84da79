//! Reads whether patrons are told of what a recipient gets.

use toml::de::DeValue;

use super::path::{FieldResolver, PathShape};
use super::term::read_day;
use crate::config::document::{TomlTable, describe_value};
use crate::policy::catalogue::FieldType;
use crate::policy::confidentiality::Confidentiality;
use crate::policy::recipient::FieldRef;

const EXPECTED: &str = "true, or { until = \"YYYY-MM-DD\", unless_false = \"FIELD\" }: patrons are \
                        not told of it, up to the end of that day in UTC, unless that field of the \
                        record is false";

/// The mark, and the field whose `false` lets a patron be told.
type MarkAndField = (Option<Confidentiality>, Option<FieldRef>);

/// Reads `confidential`. A mark that is not understood counts, for all records, and is a mistake.
pub(super) fn read_confidentiality(
    table: &TomlTable<'_>,
    resolver: &FieldResolver<'_>,
) -> MarkAndField {
    let Some(at) = table.value("confidential") else {
        return (None, None);
    };
    let endless = Some(Confidentiality { until: None });
    match at.value.get_ref() {
        DeValue::Boolean(is_marked) => return (endless.filter(|_| *is_marked), None),
        DeValue::Table(_) => {}
        other => {
            let found = format!("`confidential` is {}", describe_value(other));
            table.report_mistake(at.line, found, EXPECTED);
            return (endless, None);
        }
    }
    let Some(inner) = table.table("confidential", EXPECTED) else {
        return (endless, None);
    };
    let field = inner.string("unless_false", UNLESS_EXPECTED);
    let until = match field.is_none() || inner.value("until").is_some() {
        true => read_day(&inner, "until", "its last day, as \"2027-01-31\""),
        false => None,
    };
    inner.finish();
    let told_unless = field.and_then(|field| {
        let found = resolver.resolve(&inner, field.line, &field.value)?;
        let is_single = matches!(found.shape, PathShape::Scalar(_));
        let is_boolean = found.field_matches(|field| field.field_type == FieldType::Boolean);
        if found.field_ref.is_joined || !is_single || !is_boolean {
            let text = format!("`unless_false` is \"{}\"", field.value);
            inner.report_mistake(field.line, text, UNLESS_EXPECTED);
            return None;
        }
        Some(found.field_ref)
    });
    (Some(Confidentiality { until }), told_unless)
}

const UNLESS_EXPECTED: &str = "a truth value of the record itself";
