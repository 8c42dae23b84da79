//! `lowercase`: the cleaned value in lower case.

use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lowercase;

impl MaskRule for Lowercase {
    fn apply(&self, input: MaskInput<'_>, out: &mut String, _: &mut ShortValueCounts) {
        let Some(value) = input.value() else {
            return;
        };
        let value = text::clean(value);
        if value.is_ascii() {
            let start = out.len();
            out.push_str(&value);
            if let Some(added) = out.get_mut(start..) {
                added.make_ascii_lowercase();
            }
        } else {
            out.push_str(&value.to_lowercase());
        }
    }
}

pub(super) const DEF: MaskDef = MaskDef {
    name: "lowercase",
    description: "shows the value cleaned and in lower case, which hides nothing",
    description_nl: "toont de waarde opgeschoond en in kleine letters; dat verbergt niets",
    takes: ANY_TEXT,
    arguments: &[],
    examples: &[
        input_only("Jan@Example.org", Some("jan@example.org")),
        input_only(" Van  den Broeck", Some("van den broeck")),
        input_only("ÉÉN", Some("één")),
        input_only("ΟΔΟΣ", Some("οδος")),
        input_only("", None),
        without_input(&[], &[], None),
    ],
    compile: |_| Some(Mask::Lowercase(Lowercase)),
};
