//! `postcode`: a whole Dutch postcode in one spelling.

use super::*;
use crate::policy::form::postcode_digits;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postcode;

impl MaskRule for Postcode {
    fn output_form(&self) -> MaskOutputForm {
        MaskOutputForm::of_pattern("^[1-9][0-9]{3}[A-Z]{2}$", "1234AB")
    }

    fn needs(&self) -> Vec<MaskNeed> {
        vec![MaskNeed::Sibling("address.country"), MaskNeed::Country]
    }

    /// A whole postcode is that of a few houses.
    fn exposure(&self) -> Exposure {
        Exposure::Full
    }

    fn need_exposure(&self) -> Exposure {
        Exposure::OneBit
    }

    fn apply(&self, input: MaskInput<'_>, out: &mut String, _: &mut ShortValueCounts) {
        let country = input.need(0).or(input.need(1));
        let (Some(postcode), Some("NL")) = (input.value(), country) else {
            return;
        };
        if postcode_digits(postcode, "NL").is_some() {
            let letters = postcode.chars().filter(char::is_ascii_alphanumeric);
            out.extend(letters.map(|letter| letter.to_ascii_uppercase()));
        }
    }
}

pub(super) const DEF: MaskDef = MaskDef {
    name: "postcode",
    description: "shows a Dutch postcode without its space, in capitals",
    description_nl: "toont een Nederlandse postcode zonder spatie, in hoofdletters",
    takes: PLAIN_TEXT,
    arguments: &[],
    examples: &[
        example("1234 AB", &[Some("NL"), Some("NL")], &[], Some("1234AB")),
        example("1234ab", &[None, Some("NL")], &[], Some("1234AB")),
        example(" 1234 ab ", &[None, Some("NL")], &[], Some("1234AB")),
        example("1234 AB", &[Some(""), Some("NL")], &[], Some("1234AB")),
        example("1234 AB", &[Some("BE"), Some("NL")], &[], None),
        example("9000", &[None, Some("BE")], &[], None),
        example("1234 SS", &[None, Some("NL")], &[], None),
        example("0123 AB", &[None, Some("NL")], &[], None),
        example("1234  AB", &[None, Some("NL")], &[], None),
        example("1234 AB Utrecht", &[None, Some("NL")], &[], None),
        example("1234", &[None, Some("NL")], &[], None),
        example("1234 AB", &[None, None], &[], None),
        without_input(&[None, Some("NL")], &[], None),
    ],
    compile: |_| Some(Mask::Postcode(Postcode)),
};
