//! `or_else`: the value, or another text where there is none.

use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrElse {
    pub value: String,
}

impl MaskRule for OrElse {
    fn canonical_arguments(&self) -> String {
        serde_json::Value::from(self.value.as_str()).to_string()
    }

    fn describe_arguments(&self) -> String {
        format!("\"{}\"", self.value)
    }

    fn apply(&self, input: MaskInput<'_>, out: &mut String, _: &mut ShortValueCounts) {
        out.push_str(input.value().unwrap_or(&self.value));
    }
}

const OTHER_VALUE_ARG: ArgDef = ArgDef {
    name: "value",
    description: "what is shown where there is no value",
    default: None,
    constraint: ArgConstraint::Text,
};
const EURO_ARGUMENTS: ExampleArguments = &[("value", ArgLiteral::Text("EUR"))];

pub(super) const DEF: MaskDef = MaskDef {
    name: "or_else",
    description: "shows the value as it is, or where there is none another, which hides nothing",
    description_nl: "toont de waarde zelf, of zonder waarde een andere; dat verbergt niets",
    takes: ANY_TEXT,
    arguments: &[OTHER_VALUE_ARG],
    examples: &[
        example("USD", &[], EURO_ARGUMENTS, Some("USD")),
        example(" Usd", &[], EURO_ARGUMENTS, Some(" Usd")),
        example("", &[], EURO_ARGUMENTS, Some("EUR")),
        example(" \u{200B}", &[], EURO_ARGUMENTS, Some("EUR")),
        without_input(&[], EURO_ARGUMENTS, Some("EUR")),
    ],
    compile: |arguments| {
        let value = arguments.read_text(&OTHER_VALUE_ARG)?;
        Some(Mask::OrElse(OrElse { value }))
    },
};
