//! `zeef list conversions`: the tables of expressions, conversions and refusals of an
//! intake, as they are.

use std::io::Write as _;

use serde_json::{Value, json};

use super::exit::CliFailure;
use super::listing::{select_by_name, write_heading, write_json, write_table};
use super::screen::{FAINT, HEADING, NAME, Screen, styled};
use super::table::{TableCell, TextTable};
use crate::intake::{CONVERSIONS, ConversionDef, EXPRESSIONS, ExpressionDef, Refusal};

/// A row of one of the tables.
enum ListedRow {
    Expression(&'static ExpressionDef),
    Conversion(&'static ConversionDef),
    Refusal(Refusal),
}

impl ListedRow {
    fn all() -> Vec<ListedRow> {
        let expressions = EXPRESSIONS.iter().map(ListedRow::Expression);
        let conversions = CONVERSIONS.iter().map(ListedRow::Conversion);
        let refusals = Refusal::ALL.iter().map(|refusal| ListedRow::Refusal(*refusal));
        expressions.chain(conversions).chain(refusals).collect()
    }

    fn name(&self) -> &'static str {
        match self {
            ListedRow::Expression(expression) => expression.name,
            ListedRow::Conversion(conversion) => conversion.name,
            ListedRow::Refusal(refusal) => refusal.as_str(),
        }
    }

    fn section(&self) -> &'static str {
        match self {
            ListedRow::Expression(_) => "EXPRESSIONS: what stands behind a field's `=`",
            ListedRow::Conversion(_) => {
                "CONVERSIONS: `as = \"NAME\"` (in the examples the zone is Europe/Amsterdam, `scale` 6)"
            }
            ListedRow::Refusal(_) => "REFUSALS: why a message or record is not converted",
        }
    }

    fn to_json(&self) -> Value {
        match self {
            ListedRow::Expression(expression) => {
                let examples = expression.examples.iter();
                let examples = examples.map(|example| {
                    json!({ "mapping": example.mapping, "row": example.row, "output": example.output })
                });
                json!({
                    "what": "expression",
                    "name": expression.name,
                    "does": expression.description,
                    "examples": examples.collect::<Vec<_>>(),
                })
            }
            ListedRow::Conversion(conversion) => {
                let examples = conversion.examples.iter();
                let examples = examples
                    .map(|example| json!({ "input": example.input, "output": example.output }));
                json!({
                    "what": "conversion",
                    "name": conversion.name,
                    "does": conversion.description,
                    "gives": conversion.output.word(),
                    "needs_scale": conversion.needs_scale,
                    "examples": examples.collect::<Vec<_>>(),
                })
            }
            ListedRow::Refusal(refusal) => json!({
                "what": "refusal",
                "name": refusal.as_str(),
                "meaning": refusal.meaning(),
                "advice": refusal.advice(),
            }),
        }
    }

    /// The examples, or what to do.
    fn table(&self) -> TextTable {
        let faint = |text: &str| TableCell::styled(FAINT, text);
        match self {
            ListedRow::Expression(expression) => {
                let mut table = TextTable::new(&["MAPPING", "ROW", "VALUE"]).indented(4);
                for example in expression.examples {
                    let output = example.output.map_or_else(|| faint("(none)"), TableCell::from);
                    table.add_row([example.mapping.into(), example.row.into(), output]);
                }
                table
            }
            ListedRow::Conversion(conversion) => {
                let mut table = TextTable::new(&["INPUT", "OUTPUT"]).indented(4);
                for example in conversion.examples {
                    let output = example.output.map_or_else(|| faint("(refused)"), TableCell::from);
                    table.add_row([example.input.into(), output]);
                }
                table
            }
            ListedRow::Refusal(refusal) => {
                let mut table = TextTable::new(&[]).indented(4);
                table.add_row([refusal.advice().into()]);
                table
            }
        }
    }

    fn description(&self) -> String {
        match self {
            ListedRow::Expression(expression) => expression.description.to_owned(),
            ListedRow::Conversion(conversion) => {
                format!("{}: {}", conversion.output.word(), conversion.description)
            }
            ListedRow::Refusal(refusal) => refusal.meaning().to_owned(),
        }
    }
}

/// Lists all rows, or the one of that name.
///
/// # Errors
///
/// [`CliFailure::Usage`] where there is none of that name.
pub(super) fn list(name: Option<&str>, json: bool, screen: &mut Screen) -> anyhow::Result<()> {
    let all = ListedRow::all();
    let some: Result<Vec<&ListedRow>, CliFailure> =
        select_by_name("conversion", name, &all, |row| row.name());
    let some = some?;
    if json {
        return write_json(&some.iter().map(|row| row.to_json()).collect(), screen);
    }
    let mut section = "";
    for (at, row) in some.into_iter().enumerate() {
        if at > 0 {
            writeln!(screen)?;
        }
        if section != row.section() {
            section = row.section();
            writeln!(screen, "{}\n", styled(HEADING, section))?;
        }
        write_heading(screen, row.name(), &row.description())?;
        write_table(screen, &row.table())?;
    }
    if name.is_none() {
        writeln!(screen, "\nMappings are files of {}.", styled(NAME, "config/intake"))?;
    }
    Ok(())
}
