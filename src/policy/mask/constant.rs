//! `constant`: the same value for every record.

use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constant {
    pub value: String,
}

impl MaskRule for Constant {
    fn output_form(&self) -> MaskOutputForm {
        MaskOutputForm::of_words([self.value.clone()])
    }

    fn exposure(&self) -> Exposure {
        Exposure::OneBit
    }

    fn canonical_arguments(&self) -> String {
        serde_json::Value::from(self.value.as_str()).to_string()
    }

    fn describe_arguments(&self) -> String {
        format!("\"{}\"", self.value)
    }

    fn apply(&self, _: MaskInput<'_>, out: &mut String, _: &mut ShortValueCounts) {
        out.push_str(&self.value);
    }
}

const CONSTANT_VALUE_ARG: ArgDef = ArgDef {
    name: "value",
    description: "what is shown",
    default: None,
    constraint: ArgConstraint::Text,
};

pub(super) const DEF: MaskDef = MaskDef {
    name: "constant",
    description: "shows the same value for every record, whatever it holds",
    description_nl: "toont voor elk record dezelfde waarde, wat er ook staat",
    takes: ANY_FIELD,
    arguments: &[CONSTANT_VALUE_ARG],
    examples: &[
        without_input(&[], &[("value", ArgLiteral::Text("zeef"))], Some("zeef")),
        example("Jansen", &[], &[("value", ArgLiteral::Text("zeef"))], Some("zeef")),
    ],
    compile: |arguments| {
        let value = arguments.read_text(&CONSTANT_VALUE_ARG)?;
        Some(Mask::Constant(Constant { value }))
    },
};
