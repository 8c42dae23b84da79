//! `initial`: the first letter of the initials or the given name.

use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initial {
    /// `IJ` and `ij` count as one letter.
    pub ij_is_one: bool,
}

impl MaskRule for Initial {
    fn needs(&self) -> Vec<MaskNeed> {
        vec![MaskNeed::Sibling("given_name")]
    }

    fn exposure(&self) -> Exposure {
        Exposure::Part
    }

    fn canonical_arguments(&self) -> String {
        format!("ij_is_one={}", self.ij_is_one)
    }

    fn describe_arguments(&self) -> String {
        if self.ij_is_one { String::new() } else { "I for IJ".to_owned() }
    }

    fn apply(&self, input: MaskInput<'_>, out: &mut String, _: &mut ShortValueCounts) {
        for name in [input.value(), input.need(0)].into_iter().flatten() {
            let name = text::clean_name(name);
            let Some((letter, rest)) = text::split_first_letter(&name) else {
                continue;
            };
            out.push_str(letter);
            let second = match letter {
                "I" => "J",
                "i" => "j",
                _ => return,
            };
            if self.ij_is_one && text::first_grapheme(rest) == Some(second) {
                out.push_str(second);
            }
            return;
        }
    }
}

pub(super) const IJ_INITIAL_ARG: ArgDef = ArgDef {
    name: "ij_initial",
    description: "whether IJ or ij at the start counts as one letter",
    default: Some(ArgLiteral::Text("IJ")),
    constraint: ArgConstraint::OneOf(&["IJ", "I"]),
};
const I_ALONE_ARGUMENTS: ExampleArguments = &[("ij_initial", ArgLiteral::Text("I"))];

pub(super) const DEF: MaskDef = MaskDef {
    name: "initial",
    description: "shows the first letter of the initials, or where those hold none of the given name",
    description_nl: "toont de eerste voorletter, of zonder voorletters die van de voornaam",
    takes: PLAIN_TEXT,
    arguments: &[IJ_INITIAL_ARG],
    examples: &[
        input_only("J.P.", Some("J")),
        input_only("Th.O.", Some("T")),
        input_only("j", Some("j")),
        input_only("  (A.)", Some("A")),
        input_only("1e A.", Some("e")),
        without_input(&[Some("Jan")], &[], Some("J")),
        without_input(&[Some("Jan-Willem")], &[], Some("J")),
        without_input(&[Some("'t Jan")], &[], Some("t")),
        example("", &[Some("An")], &[], Some("A")),
        example("\u{200B}", &[Some("An")], &[], Some("A")),
        example(".", &[Some("An")], &[], Some("A")),
        example("A.", &[Some("Bert")], &[], Some("A")),
        example(".", &[Some(".")], &[], None),
        without_input(&[None], &[], None),
        without_input(&[Some("")], &[], None),
        without_input(&[Some("IJsbrand")], &[], Some("IJ")),
        without_input(&[Some("(IJsbrand)")], &[], Some("IJ")),
        without_input(&[Some("\u{132}sbrand")], &[], Some("IJ")),
        without_input(&[Some("\u{133}sbrand")], &[], Some("ij")),
        without_input(&[Some("ijsbrand")], &[], Some("ij")),
        without_input(&[Some("Ijeoma")], &[], Some("I")),
        without_input(&[Some("iJsbrand")], &[], Some("i")),
        without_input(&[Some("IJsbrand")], I_ALONE_ARGUMENTS, Some("I")),
        input_only("IJ.", Some("IJ")),
        input_only("I.J.", Some("I")),
        input_only("I J", Some("I")),
        input_only("I\u{200D}J.", Some("IJ")),
        input_only("I\u{301}J\u{301}.", Some("\u{CD}")),
        input_only("IJ\u{301}.", Some("I")),
        without_input(&[Some("S\u{327}eyma")], &[], Some("\u{15E}")),
        without_input(&[Some("\u{C5}sa")], &[], Some("\u{C5}")),
        without_input(&[Some("伟")], &[], Some("伟")),
        without_input(&[Some("иван")], &[], Some("и")),
    ],
    compile: |arguments| {
        let ij = arguments.read_text(&IJ_INITIAL_ARG)?;
        Some(Mask::Initial(Initial { ij_is_one: ij == "IJ" }))
    },
};
