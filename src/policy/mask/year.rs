//! `year`: the year of a date or instant.

use super::*;
use crate::policy::form::parse_written_date;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Year;

impl MaskRule for Year {
    fn output_form(&self) -> MaskOutputForm {
        MaskOutputForm::of_pattern("^[0-9]{4}$", "1985")
    }

    fn exposure(&self) -> Exposure {
        Exposure::Date
    }

    fn apply(&self, input: MaskInput<'_>, out: &mut String, _: &mut ShortValueCounts) {
        push_date_prefix(input, 4, out);
    }
}

/// Appends the first `length` bytes of a date, or of an instant as written.
pub(super) fn push_date_prefix(input: MaskInput<'_>, length: usize, out: &mut String) {
    let date = input.value().filter(|value| parse_written_date(value).is_some());
    out.push_str(date.and_then(|date| date.get(..length)).unwrap_or_default());
}

pub(super) const DEF: MaskDef = MaskDef {
    name: "year",
    description: "shows the year of a date, or of an instant as it is written",
    description_nl: "toont het jaar van een datum of tijdstip, zoals het geschreven is",
    takes: DATE_OR_INSTANT,
    arguments: &[],
    examples: &[
        input_only("1985-07-30", Some("1985")),
        input_only("0985-07-30", Some("0985")),
        input_only("2024-01-01T00:30:00+01:00", Some("2024")),
        input_only("2023-02-29", None),
        input_only("1985", None),
        input_only("30-07-1985", None),
        input_only("", None),
        without_input(&[], &[], None),
    ],
    compile: |_| Some(Mask::Year(Year)),
};
