//! `present`: `true` if there is a value.

use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present;

impl MaskRule for Present {
    fn output_form(&self) -> MaskOutputForm {
        MaskOutputForm::of_words(["true".to_owned()])
    }

    fn exposure(&self) -> Exposure {
        Exposure::OneBit
    }

    fn apply(&self, input: MaskInput<'_>, out: &mut String, _: &mut ShortValueCounts) {
        out.push_str(input.value().map_or("", |_| "true"));
    }
}

pub(super) const DEF: MaskDef = MaskDef {
    name: "present",
    description: "shows true where there is a value, and nothing of it",
    description_nl: "toont true als er een waarde is, en niets van de waarde",
    takes: ANY_FIELD,
    arguments: &[],
    examples: &[
        input_only("jan@example.org", Some("true")),
        input_only("false", Some("true")),
        input_only(".", Some("true")),
        input_only("", None),
        input_only(" \u{200B}", None),
        without_input(&[], &[], None),
    ],
    compile: |_| Some(Mask::Present(Present)),
};
