//! `postcode_area`: the four digits of a postcode.

use super::*;
use crate::policy::form::postcode_digits;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostcodeArea;

impl MaskRule for PostcodeArea {
    fn output_form(&self) -> MaskOutputForm {
        MaskOutputForm::of_pattern("^[1-9][0-9]{3}$", "1234")
    }

    fn needs(&self) -> Vec<MaskNeed> {
        vec![MaskNeed::Sibling("address.country"), MaskNeed::Country]
    }

    /// Returns the area is that of thousands of people.
    fn exposure(&self) -> Exposure {
        Exposure::Part
    }

    fn need_exposure(&self) -> Exposure {
        Exposure::OneBit
    }

    fn apply(&self, input: MaskInput<'_>, out: &mut String, _: &mut ShortValueCounts) {
        if let (Some(postcode), Some(country)) = (input.value(), input.need(0).or(input.need(1))) {
            out.push_str(postcode_digits(postcode, country).unwrap_or_default());
        }
    }
}

pub(super) const DEF: MaskDef = MaskDef {
    name: "postcode_area",
    description: "shows the four digits of a Dutch or Belgian postcode that has its country's form",
    description_nl: "toont de vier cijfers van een Nederlandse of Belgische postcode die de vorm van haar land heeft",
    takes: PLAIN_TEXT,
    arguments: &[],
    examples: &[
        example("1234 AB", &[Some("NL"), Some("NL")], &[], Some("1234")),
        example("1234AB", &[None, Some("NL")], &[], Some("1234")),
        example(" 1234 ab ", &[None, Some("NL")], &[], Some("1234")),
        example("9000", &[None, Some("BE")], &[], Some("9000")),
        example("9000", &[Some("BE"), Some("NL")], &[], Some("9000")),
        example("9000", &[Some(""), Some("BE")], &[], Some("9000")),
        example("1234 AB", &[Some("BE"), Some("NL")], &[], None),
        example("9000", &[Some("NL"), Some("BE")], &[], None),
        example("1234 AB", &[Some("DE"), Some("NL")], &[], None),
        example("1234 AB", &[None, None], &[], None),
        example("1234 SS", &[None, Some("NL")], &[], None),
        example("1234 SB", &[None, Some("NL")], &[], Some("1234")),
        example("0123 AB", &[None, Some("NL")], &[], None),
        example("1234  AB", &[None, Some("NL")], &[], None),
        example("1234 AB Utrecht", &[None, Some("NL")], &[], None),
        example("1234", &[None, Some("NL")], &[], None),
        example("", &[None, Some("NL")], &[], None),
        without_input(&[None, Some("NL")], &[], None),
    ],
    compile: |_| Some(Mask::PostcodeArea(PostcodeArea)),
};
