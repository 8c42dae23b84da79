//! `pseudonym`: a keyed hash, computed by the engine, which holds the recipient's key.

use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pseudonym {
    /// The field of the source whose month is hashed too, so that nothing joins across months.
    pub month_of: Option<String>,
    /// Shown in hexadecimal, 32 digits, for where base64url does not fit.
    pub is_hexadecimal: bool,
}

impl MaskRule for Pseudonym {
    fn output_form(&self) -> MaskOutputForm {
        match self.is_hexadecimal {
            true => MaskOutputForm::of_pattern("^[0-9a-f]{32}$", "0123456789abcdef".repeat(2)),
            false => MaskOutputForm::of_pattern(PSEUDONYM_PATTERN, PSEUDONYM_EXAMPLE),
        }
    }

    fn needs(&self) -> Vec<MaskNeed> {
        self.month_of.iter().map(|path| MaskNeed::SourceField(path.clone())).collect()
    }

    fn exposure(&self) -> Exposure {
        Exposure::Pseudonym
    }

    fn canonical_arguments(&self) -> String {
        let month_of = self.month_of.as_ref().map(|path| format!("month_of={path}"));
        let encoding = self.is_hexadecimal.then(|| "encoding=hexadecimal".to_owned());
        month_of.into_iter().chain(encoding).collect::<Vec<_>>().join(",")
    }

    fn describe_arguments(&self) -> String {
        let month_of = self.month_of.as_ref().map(|path| format!("by month of {path}"));
        let encoding = self.is_hexadecimal.then(|| "in hexadecimal".to_owned());
        month_of.into_iter().chain(encoding).collect::<Vec<_>>().join(", ")
    }
}

/// The pattern of a pseudonym in base64url, as of every output key.
pub const PSEUDONYM_PATTERN: &str = "^[A-Za-z0-9_-]{22}$";
/// A pseudonym that belongs to nothing.
pub const PSEUDONYM_EXAMPLE: &str = "AAAAAAAAAAAAAAAAAAAAAA";

const PSEUDONYM_MONTH_OF_ARG: ArgDef = ArgDef {
    name: "month_of",
    description: "the date or instant of the source whose month, as written, is hashed too: the same \
              value is another pseudonym each month",
    default: Some(ArgLiteral::Text("")),
    constraint: ArgConstraint::FieldPath,
};
const ENCODING_ARG: ArgDef = ArgDef {
    name: "encoding",
    description: "how the 128 bits are shown: 22 characters of base64url, or 32 hexadecimal digits",
    default: Some(ArgLiteral::Text("base64url")),
    constraint: ArgConstraint::OneOf(&["base64url", HEXADECIMAL]),
};
const HEXADECIMAL: &str = "hexadecimal";

pub(super) const DEF: MaskDef = MaskDef {
    name: "pseudonym",
    description: "shows a keyed hash of the value, 22 characters (32 in hexadecimal) that differ for each \
                  recipient",
    description_nl: "toont een versleutelde verwijzing in plaats van de waarde; die is voor elke ontvanger anders",
    takes: TEXT_OR_CARD_NUMBER,
    arguments: &[PSEUDONYM_MONTH_OF_ARG, ENCODING_ARG],
    examples: &[],
    compile: |arguments| {
        let month_of = arguments.read_optional_path(&PSEUDONYM_MONTH_OF_ARG);
        let is_hexadecimal = arguments.read_text(&ENCODING_ARG)? == HEXADECIMAL;
        Some(Mask::Pseudonym(Pseudonym { month_of, is_hexadecimal }))
    },
};
