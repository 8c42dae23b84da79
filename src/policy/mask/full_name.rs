//! `full_name`: initials, prefix and surname.

use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullName;

impl MaskRule for FullName {
    fn needs(&self) -> Vec<MaskNeed> {
        vec![MaskNeed::Sibling("initials"), MaskNeed::Sibling("surname_prefix")]
    }

    fn apply(&self, input: MaskInput<'_>, out: &mut String, _: &mut ShortValueCounts) {
        let parts = [input.need(0), input.need(1), input.value()];
        for (index, part) in parts.into_iter().flatten().enumerate() {
            if index > 0 {
                out.push(' ');
            }
            out.push_str(&text::clean(part));
        }
    }
}

pub(super) const DEF: MaskDef = MaskDef {
    name: "full_name",
    description: "shows initials, prefix and surname with a space between, leaving out what is missing",
    description_nl: "toont voorletters, voorvoegsel en achternaam met een spatie ertussen; wat ontbreekt valt weg",
    takes: PLAIN_TEXT,
    arguments: &[],
    examples: &[
        example("Berg", &[Some("J.P."), Some("van der")], &[], Some("J.P. van der Berg")),
        example("Jansen", &[Some("A."), None], &[], Some("A. Jansen")),
        example("Jansen", &[None, None], &[], Some("Jansen")),
        example("Jansen", &[Some(" "), Some("")], &[], Some("Jansen")),
        without_input(&[Some("A."), Some("de")], &[], Some("A. de")),
        without_input(&[None, None], &[], None),
        example("", &[Some(""), Some("\u{200B}")], &[], None),
        example(
            " Van  den\u{A0}Broeck ",
            &[Some("A.\t B."), None],
            &[],
            Some("A. B. Van den Broeck"),
        ),
        example("O\u{2019}Brien", &[Some("Th."), None], &[], Some("Th. O\u{2019}Brien")),
        example("\u{132}zerman", &[None, None], &[], Some("\u{132}zerman")),
        example("O\u{308}zdemir", &[None, None], &[], Some("O\u{308}zdemir")),
        example("Be\u{AD}rg", &[None, None], &[], Some("Berg")),
        example(".", &[Some("."), None], &[], Some(". .")),
    ],
    compile: |_| Some(Mask::FullName(FullName)),
};
