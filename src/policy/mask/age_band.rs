//! `age_band`: the band of an age on a day.

use super::*;
use crate::policy::form::parse_written_date;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgeBand {
    /// The field of the source that holds the day.
    pub day_path: String,
    /// Ascending by age, at least one.
    pub bands: Vec<Band>,
}

/// The ages from one to the next band.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    pub min_age: u16,
    /// The output, as `12-17` or `65+`.
    pub label: String,
}

/// Bands of fewer years leave a year of birth readable.
const BAND_YEARS_MIN: u16 = 5;

/// Returns whether bands with these first ages, ascending, are wide enough to hide a year of birth.
pub(crate) fn are_wide_age_bands(ages: impl Iterator<Item = u16> + Clone) -> bool {
    let next = ages.clone().skip(1);
    ages.zip(next).all(|(from, next)| next - from >= BAND_YEARS_MIN)
}

impl MaskRule for AgeBand {
    fn output_form(&self) -> MaskOutputForm {
        MaskOutputForm::of_words(self.bands.iter().map(|band| band.label.clone()))
    }

    fn needs(&self) -> Vec<MaskNeed> {
        vec![MaskNeed::SourceField(self.day_path.clone())]
    }

    fn exposure(&self) -> Exposure {
        match are_wide_age_bands(self.bands.iter().map(|band| band.min_age)) {
            true => Exposure::Part,
            false => Exposure::Full,
        }
    }

    fn need_exposure(&self) -> Exposure {
        Exposure::OneBit
    }

    fn canonical_arguments(&self) -> String {
        let ages: Vec<_> = self.bands.iter().map(|band| band.min_age.to_string()).collect();
        format!("at={},bands=[{}]", self.day_path, ages.join(","))
    }

    fn describe_arguments(&self) -> String {
        format!("on {}", self.day_path)
    }

    fn apply(&self, input: MaskInput<'_>, out: &mut String, _: &mut ShortValueCounts) {
        out.push_str(self.band_label(input).unwrap_or_default());
    }
}

impl AgeBand {
    fn band_label(&self, input: MaskInput<'_>) -> Option<&str> {
        let birth = parse_written_date(input.value()?)?;
        let age = parse_written_date(input.need(0)?)?.full_years_since(birth)?;
        let band = self.bands.iter().rev().find(|band| band.min_age <= age)?;
        Some(&band.label)
    }
}

/// Labels the bands that begin at these ages.
fn build_age_bands(ages: &[u16]) -> Vec<Band> {
    let ends = ages.iter().skip(1).map(|next| Some(next - 1));
    ages.iter()
        .zip(ends.chain([None]))
        .map(|(&from, end)| Band {
            min_age: from,
            label: match end {
                Some(end) if end == from => from.to_string(),
                Some(end) => format!("{from}-{end}"),
                None => format!("{from}+"),
            },
        })
        .collect()
}

const AGE_AT_ARG: ArgDef = ArgDef {
    name: "at",
    description: "the field of the source that has the day of the age",
    default: None,
    constraint: ArgConstraint::FieldPath,
};
const AGE_BANDS_ARG: ArgDef = ArgDef {
    name: "bands",
    description: "the first age of each band; the last one has no end",
    default: Some(ArgLiteral::Integers(&[0, 12, 18, 30, 50, 65])),
    constraint: ArgConstraint::Ages,
};
const LOANED_AT_ARGUMENTS: ExampleArguments = &[("at", ArgLiteral::Text("loaned_at"))];

const fn age_on_day(
    birth: &'static str,
    day: NeedValues,
    output: Option<&'static str>,
) -> MaskExample {
    example(birth, day, LOANED_AT_ARGUMENTS, output)
}

pub(super) const DEF: MaskDef = MaskDef {
    name: "age_band",
    description: "shows the band of the age in full years on the day of a field of the source",
    description_nl: "toont de leeftijdsgroep op de dag van een ander veld van het record",
    takes: DATE,
    arguments: &[AGE_AT_ARG, AGE_BANDS_ARG],
    examples: &[
        age_on_day("1985-07-30", &[Some("2024-03-09T10:00:00Z")], Some("30-49")),
        age_on_day("2012-03-09", &[Some("2024-03-08T10:00:00Z")], Some("0-11")),
        age_on_day("2012-03-09", &[Some("2024-03-09T00:00:00+01:00")], Some("12-17")),
        age_on_day("2006-03-09", &[Some("2024-03-09")], Some("18-29")),
        age_on_day("1974-03-09", &[Some("2024-03-09")], Some("50-64")),
        age_on_day("1959-03-09", &[Some("2024-03-09")], Some("65+")),
        age_on_day("1899-12-31", &[Some("2024-03-09")], Some("65+")),
        age_on_day("2024-03-09", &[Some("2024-03-09")], Some("0-11")),
        age_on_day("2024-03-10", &[Some("2024-03-09")], None),
        age_on_day("2004-02-29", &[Some("2022-02-28T12:00:00Z")], Some("12-17")),
        age_on_day("2004-02-29", &[Some("2022-03-01T12:00:00Z")], Some("18-29")),
        age_on_day("1985-07-30", &[None], None),
        age_on_day("1985-07-30", &[Some("yesterday")], None),
        age_on_day("1985-02-30", &[Some("2024-03-09")], None),
        age_on_day("", &[Some("2024-03-09")], None),
        without_input(&[Some("2024-03-09")], LOANED_AT_ARGUMENTS, None),
        example(
            "2014-01-01",
            &[Some("2024-03-09")],
            &[
                ("at", ArgLiteral::Text("loaned_at")),
                ("bands", ArgLiteral::Integers(&[6, 10, 11, 18])),
            ],
            Some("10"),
        ),
        example(
            "2020-01-01",
            &[Some("2024-03-09")],
            &[("at", ArgLiteral::Text("loaned_at")), ("bands", ArgLiteral::Integers(&[6, 18]))],
            None,
        ),
    ],
    compile: |arguments| {
        let at = arguments.read_text(&AGE_AT_ARG);
        let bands = arguments.read_ages(&AGE_BANDS_ARG);
        Some(Mask::AgeBand(AgeBand { day_path: at?, bands: build_age_bands(&bands?) }))
    },
};
