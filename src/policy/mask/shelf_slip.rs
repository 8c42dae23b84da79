//! `shelf_slip`: the printer's lines, composed by the engine from other output fields.

use super::*;

/// The names of the output fields that make a slip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShelfSlip {
    /// The first line, and the start of the second.
    pub shelf_mark: String,
    /// The end of the second line.
    pub initial: String,
    /// A line each.
    pub lines: Vec<String>,
}

impl MaskRule for ShelfSlip {
    /// A slip shows only what other output fields show already.
    fn exposure(&self) -> Exposure {
        Exposure::Part
    }
}

/// Calls `line` with each printable line of a shelf slip: the mark, even if missing; mark and
/// initial separated by a space, unless both are missing; then every present field of `rest`.
///
/// `buffer` is scratch space.
pub fn for_each_slip_line<'a>(
    shelf_mark: Option<&'a str>,
    initial: Option<&'a str>,
    rest: impl Iterator<Item = Option<&'a str>>,
    buffer: &mut String,
    mut line: impl FnMut(&str),
) {
    buffer.clear();
    push_printable_line(shelf_mark, buffer);
    line(buffer);
    let marked = buffer.len();
    if marked > 0 {
        buffer.push(' ');
    }
    if !push_printable_line(initial, buffer) {
        buffer.truncate(marked);
    }
    if !buffer.is_empty() {
        line(buffer);
    }
    for one in rest {
        buffer.clear();
        if push_printable_line(one, buffer) {
            line(buffer);
        }
    }
}

/// Appends a value as one printable line. Returns `false` and leaves `out` unchanged if nothing of
/// it is visible.
fn push_printable_line(value: Option<&str>, out: &mut String) -> bool {
    let start = out.len();
    text::push_printable(value.unwrap_or_default(), out);
    let seen = out.get(start..).is_some_and(|added| !text::is_blank(added));
    if !seen {
        out.truncate(start);
    }
    seen
}

const SLIP_MARK_ARG: ArgDef = ArgDef {
    name: "mark",
    description: "the output field that is the first line and begins the second",
    default: Some(ArgLiteral::Text("shelf_mark")),
    constraint: ArgConstraint::OutputFieldName,
};
const SLIP_INITIAL_ARG: ArgDef = ArgDef {
    name: "initial",
    description: "the output field that ends the second line",
    default: Some(ArgLiteral::Text("initial")),
    constraint: ArgConstraint::OutputFieldName,
};
const SLIP_LINES_ARG: ArgDef = ArgDef {
    name: "lines",
    description: "the output fields that follow, a line each",
    default: None,
    constraint: ArgConstraint::OutputFieldNames,
};
const SLIP_ARGUMENTS: ExampleArguments =
    &[("lines", ArgLiteral::Texts(&["card_suffix", "title", "pickup_branch", "expires_on"]))];

/// Mark, initial and lines; the slip has `/` between its lines.
const fn slip_example(fields: NeedValues, output: &'static str) -> MaskExample {
    without_input(fields, SLIP_ARGUMENTS, Some(output))
}

pub(super) const DEF: MaskDef = MaskDef {
    name: "shelf_slip",
    description: "lists the printer's lines of a slip, made of other output fields of the recipient",
    description_nl: "geeft de regels van een bon, gemaakt van andere velden van deze uitvoer",
    takes: ANY_FIELD,
    arguments: &[SLIP_MARK_ARG, SLIP_INITIAL_ARG, SLIP_LINES_ARG],
    examples: &[
        slip_example(
            &[
                Some("Be"),
                Some("IJ"),
                Some("67890"),
                Some("De avonden"),
                Some("Centrum"),
                Some("2024-03-09"),
            ],
            "Be/Be IJ/67890/De avonden/Centrum/2024-03-09",
        ),
        slip_example(&[Some("L"), None, None, Some("De avonden")], "L/L/De avonden"),
        slip_example(&[None, Some("J"), Some("67890")], "/J/67890"),
        slip_example(&[None, None, Some("04567"), Some(" ")], "/04567"),
        slip_example(&[None, None], ""),
        slip_example(&[Some("Be"), Some("J"), Some(" De  avonden ")], "Be/Be J/ De  avonden "),
        slip_example(
            &[Some("Be"), Some("J"), Some("De\r\navonden\u{2028}II"), Some("\u{1b}@Centrum")],
            "Be/Be J/De avonden II/@Centrum",
        ),
        slip_example(&[Some("Be"), None, Some("\u{1b}\n"), Some("Centrum")], "Be/Be/Centrum"),
    ],
    compile: |arguments| {
        let mark = arguments.read_text(&SLIP_MARK_ARG);
        let initial = arguments.read_text(&SLIP_INITIAL_ARG);
        let lines = arguments.read_unique_texts(&SLIP_LINES_ARG);
        Some(Mask::ShelfSlip(ShelfSlip { shelf_mark: mark?, initial: initial?, lines: lines? }))
    },
};
