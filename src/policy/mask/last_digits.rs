//! `last_digits`: the last digits of a card number.

use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastDigits {
    pub count: usize,
    /// Nothing is shown if fewer digits would stay hidden.
    pub min_hidden: usize,
}

/// A mask that may leave fewer digits hidden hides nothing.
const DIGITS_HIDDEN_MIN: usize = 4;

impl MaskRule for LastDigits {
    fn output_form(&self) -> MaskOutputForm {
        let example: String = "1234567890".chars().cycle().take(self.count).collect();
        MaskOutputForm::of_pattern(format!("^[0-9]{{1,{}}}$", self.count), example)
    }

    fn exposure(&self) -> Exposure {
        match self.min_hidden >= DIGITS_HIDDEN_MIN && self.min_hidden >= self.count {
            true => Exposure::Part,
            false => Exposure::Full,
        }
    }

    fn canonical_arguments(&self) -> String {
        format!("count={},min_hidden={}", self.count, self.min_hidden)
    }

    fn describe_arguments(&self) -> String {
        format!("{}, {} hidden at least", self.count, self.min_hidden)
    }

    fn apply(&self, input: MaskInput<'_>, out: &mut String, short_values: &mut ShortValueCounts) {
        let Some(number) = input.value() else {
            return;
        };
        let hidden = text::ascii_digits(number).count().saturating_sub(self.count);
        if hidden < self.min_hidden {
            short_values.short_card_numbers += 1;
        } else {
            out.extend(text::ascii_digits(number).skip(hidden));
        }
    }
}

const DIGITS_SHOWN_ARG: ArgDef = ArgDef {
    name: "count",
    description: "how many digits are shown",
    default: Some(ArgLiteral::Integer(5)),
    constraint: ArgConstraint::Integer { min: 1, max: 20 },
};
const MIN_HIDDEN_ARG: ArgDef = ArgDef {
    name: "min_hidden",
    description: "how many digits must stay hidden, or nothing is shown",
    default: Some(ArgLiteral::Integer(3)),
    constraint: ArgConstraint::Integer { min: 1, max: 20 },
};

pub(super) const DEF: MaskDef = MaskDef {
    name: "last_digits",
    description: "shows the last digits of a card number, and nothing where too few would stay hidden",
    description_nl: "toont de laatste cijfers van een pasnummer, en niets als er te weinig verborgen zouden blijven",
    takes: TEXT_OR_CARD_NUMBER,
    arguments: &[DIGITS_SHOWN_ARG, MIN_HIDDEN_ARG],
    examples: &[
        input_only("20013004567890", Some("67890")),
        input_only("123456789X", Some("56789")),
        input_only("A20013004567B", Some("04567")),
        input_only("2001 3004-5678.90", Some("67890")),
        input_only("00000000", Some("00000")),
        input_only("12345678", Some("45678")),
        input_only("0470012", None),
        input_only("12345", None),
        input_only("1234", None),
        input_only("ABCDEFGHIJ", None),
        input_only(".", None),
        input_only("", None),
        without_input(&[], &[], None),
        input_only("\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}\u{667}\u{668}", Some("45678")),
        input_only("１２３４５６７８", Some("45678")),
        input_only("12345678²", Some("45678")),
        example("20013004567890", &[], &[("count", ArgLiteral::Integer(3))], Some("890")),
        example(
            "12345",
            &[],
            &[("count", ArgLiteral::Integer(3)), ("min_hidden", ArgLiteral::Integer(2))],
            Some("345"),
        ),
        example("12345", &[], &[("count", ArgLiteral::Integer(3))], None),
    ],
    compile: |arguments| {
        let count = arguments.read_integer(&DIGITS_SHOWN_ARG);
        let min_hidden = arguments.read_integer(&MIN_HIDDEN_ARG);
        Some(Mask::LastDigits(LastDigits { count: count?, min_hidden: min_hidden? }))
    },
};
