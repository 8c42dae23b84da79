//! `month`: the year and month of a date or instant.

use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Month;

impl MaskRule for Month {
    fn output_form(&self) -> MaskOutputForm {
        MaskOutputForm::of_pattern("^[0-9]{4}-(0[1-9]|1[0-2])$", "2026-01")
    }

    fn exposure(&self) -> Exposure {
        Exposure::Date
    }

    fn apply(&self, input: MaskInput<'_>, out: &mut String, _: &mut ShortValueCounts) {
        super::year::push_date_prefix(input, 7, out);
    }
}

pub(super) const DEF: MaskDef = MaskDef {
    name: "month",
    description: "shows the year and month of a date, or of an instant as it is written",
    description_nl: "toont jaar en maand van een datum of tijdstip, zoals het geschreven is",
    takes: DATE_OR_INSTANT,
    arguments: &[],
    examples: &[
        input_only("2024-03-09", Some("2024-03")),
        input_only("2024-03-09T10:11:12Z", Some("2024-03")),
        input_only("2024-04-01T00:30:00.123+02:00", Some("2024-04")),
        input_only("2024-03-31T23:30:00-05:00", Some("2024-03")),
        input_only("2024-03-09T10:11:60Z", None),
        input_only("2024-03-09 10:11:12", None),
        input_only("2024-03", None),
        input_only("", None),
        without_input(&[], &[], None),
    ],
    compile: |_| Some(Mask::Month(Month)),
};
