//! `shelf_name`: the first letters of a surname and an initial, as on a slip, for a machine that
//! wants a name (SIP2).

use super::first_letters::{FirstLetters, LETTERS_SHOWN_ARG, SURNAME_KEY_ARG, SurnameKey};
use super::initial::{IJ_INITIAL_ARG, Initial};
use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShelfName {
    pub letters: FirstLetters,
    pub initial: Initial,
}

impl MaskRule for ShelfName {
    fn needs(&self) -> Vec<MaskNeed> {
        let mut needs = vec![MaskNeed::Sibling("initials")];
        needs.extend(self.initial.needs());
        needs.extend(self.letters.needs());
        needs
    }

    fn exposure(&self) -> Exposure {
        self.letters.exposure()
    }

    fn need_exposure(&self) -> Exposure {
        self.exposure().max(Exposure::Part)
    }

    fn canonical_arguments(&self) -> String {
        format!("{},{}", self.letters.canonical_arguments(), self.initial.canonical_arguments())
    }

    fn describe_arguments(&self) -> String {
        let (letters, initial) =
            (self.letters.describe_arguments(), self.initial.describe_arguments());
        if initial.is_empty() { letters } else { format!("{letters}, {initial}") }
    }

    fn apply(&self, input: MaskInput<'_>, out: &mut String, short_values: &mut ShortValueCounts) {
        // The initials and the given name; what the surname needs follows.
        let Some((of_initial, of_letters)) = input.needs.split_at_checked(2) else {
            return;
        };
        let letters = MaskInput { needs: of_letters, ..input };
        let initial = MaskInput { value: of_initial[0], needs: &of_initial[1..] };
        let start = out.len();
        self.letters.apply(letters, out, short_values);
        let after_letters = out.len();
        if after_letters > start {
            out.push(' ');
        }
        let before_initial = out.len();
        self.initial.apply(initial, out, short_values);
        if out.len() == before_initial {
            out.truncate(after_letters);
        }
    }
}

pub(super) const DEF: MaskDef = MaskDef {
    name: "shelf_name",
    description: "shows the first letters of a surname, a space and the initial, as `first_letters` and \
                  `initial` do",
    description_nl: "toont de eerste letters van de achternaam, een spatie en de voorletter",
    takes: PLAIN_TEXT,
    arguments: &[LETTERS_SHOWN_ARG, SURNAME_KEY_ARG, IJ_INITIAL_ARG],
    examples: &[
        example("Berg", &[Some("J.P."), None, Some("van der"), Some("NL")], &[], Some("Be J")),
        example("Berg", &[None, Some("Jan"), Some("van der"), Some("NL")], &[], Some("Be J")),
        example("Broeck", &[Some("A."), None, Some("Van den"), Some("BE")], &[], Some("Va A")),
        example("Li", &[Some("IJ."), None, None, Some("NL")], &[], Some("L IJ")),
        example("Berg", &[Some("."), Some(""), None, Some("NL")], &[], Some("Be")),
        example("007", &[Some("J.P."), None, None, Some("NL")], &[], Some("J")),
        without_input(&[Some("J.P."), None, None, None], &[], Some("J")),
        without_input(&[None, None, None, None], &[], None),
        example(
            "van der Berg",
            &[Some("IJ."), None],
            &[
                ("count", ArgLiteral::Integer(3)),
                ("surname_key", ArgLiteral::Text("kernwoord")),
                ("ij_initial", ArgLiteral::Text("I")),
            ],
            Some("Ber I"),
        ),
    ],
    compile: |arguments| {
        let count = arguments.read_integer(&LETTERS_SHOWN_ARG);
        let key = arguments.read_text(&SURNAME_KEY_ARG);
        let ij = arguments.read_text(&IJ_INITIAL_ARG);
        let letters = FirstLetters { count: count?, surname_key: SurnameKey::from_name(&key?) };
        Some(Mask::ShelfName(ShelfName { letters, initial: Initial { ij_is_one: ij? == "IJ" } }))
    },
};
