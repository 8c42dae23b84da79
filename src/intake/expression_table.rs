//! The table of expressions: a row each, with examples that a test runs.

/// An example: what the mapping says, the row, and the value; `None` = no value.
#[derive(Clone, Copy, Debug)]
pub struct ExpressionExample {
    /// What stands behind the field's `=`.
    pub mapping: &'static str,
    pub row: &'static str,
    pub output: Option<&'static str>,
}

/// One member of an expression.
#[derive(Clone, Copy, Debug)]
pub struct ExpressionDef {
    pub name: &'static str,
    pub description: &'static str,
    pub examples: &'static [ExpressionExample],
}

const fn example(
    mapping: &'static str,
    row: &'static str,
    output: Option<&'static str>,
) -> ExpressionExample {
    ExpressionExample { mapping, row, output }
}

/// Every member of an expression, in the order of the documentation. In the examples
/// the lookup `item` has row 5001 with barcode 30013 and biblionumber 301, and
/// `biblio` has row 301 with title Hoogwater.
pub const EXPRESSIONS: &[ExpressionDef] = &[
    ExpressionDef {
        name: "from",
        description: "the value at a path of the row, as it is; a path alone means the same. `envelope.` before it means the message around the row, `row.` the row around its body",
        examples: &[
            example(r#"{ from = "city" }"#, r#"{"city":"Alkmaar"}"#, Some("Alkmaar")),
            example(r#""personal.city""#, r#"{"personal":{"city":"Alkmaar"}}"#, Some("Alkmaar")),
            example(r#""city""#, r#"{"city":""}"#, None),
            example(r#""city""#, r#"{"city":null}"#, None),
        ],
    },
    ExpressionDef {
        name: "[member=value]",
        description: "in a path: the first item of a list whose member has that value",
        examples: &[
            example(
                r#""addresses[primary=true].city""#,
                r#"{"addresses":[{"primary":false,"city":"Bergen"},{"primary":true,"city":"Alkmaar"}]}"#,
                Some("Alkmaar"),
            ),
            example(r#""addresses[primary=true].city""#, r#"{"addresses":[]}"#, None),
        ],
    },
    ExpressionDef {
        name: "first",
        description: "the first of a list of expressions that has a value",
        examples: &[
            example(
                r#"{ first = ["mobile", "sms"] }"#,
                r#"{"mobile":null,"sms":"06 00"}"#,
                Some("06 00"),
            ),
            example(
                r#"{ first = [{ from = "lost", map = { "1" = "lost" }, else = "" }, { const = "open" }] }"#,
                r#"{"lost":0}"#,
                Some("open"),
            ),
        ],
    },
    ExpressionDef {
        name: "const",
        description: "always that value",
        examples: &[example(r#"{ const = "EUR" }"#, r#"{}"#, Some("EUR"))],
    },
    ExpressionDef {
        name: "text",
        description: "a text with paths in braces; nothing where one of them is missing",
        examples: &[
            example(r#"{ text = "koha-{issue_id}" }"#, r#"{"issue_id":1001}"#, Some("koha-1001")),
            example(r#"{ text = "koha-{issue_id}" }"#, r#"{"issue_id":null}"#, None),
        ],
    },
    ExpressionDef {
        name: "map",
        description: "a word for a word; one that is not listed refuses the record, unless `else` has a word for all others. An empty word is no value",
        examples: &[
            example(
                r#"{ from = "found", map = { W = "ready", T = "on its way" } }"#,
                r#"{"found":"W"}"#,
                Some("ready"),
            ),
            example(
                r#"{ from = "found", map = { W = "ready" }, else = "placed" }"#,
                r#"{"found":"X"}"#,
                Some("placed"),
            ),
            example(
                r#"{ from = "found", map = { W = "ready" }, else = "" }"#,
                r#"{"found":"X"}"#,
                None,
            ),
            example(r#"{ from = "found", map = { W = "ready" } }"#, r#"{"found":null}"#, None),
        ],
    },
    ExpressionDef {
        name: "present, absent",
        description: "a word for any value, and one for none",
        examples: &[
            example(
                r#"{ from = "returned", present = "returned", absent = "open" }"#,
                r#"{"returned":1797784803000}"#,
                Some("returned"),
            ),
            example(
                r#"{ from = "returned", present = "returned", absent = "open" }"#,
                r#"{"returned":null}"#,
                Some("open"),
            ),
        ],
    },
    ExpressionDef {
        name: "as",
        description: "a conversion, of those below; before `map`, behind `through`. Where it needs one, `scale` stands beside it",
        examples: &[
            example(r#"{ from = "number", as = "text" }"#, r#"{"number":42}"#, Some("42")),
            example(
                r#"{ from = "owed", as = "cents", map = { "0" = "settled" }, else = "open" }"#,
                r#"{"owed":"0.000000"}"#,
                Some("settled"),
            ),
        ],
    },
    ExpressionDef {
        name: "through",
        description: "what lookups say of the value, one after the other; nothing where a row is not there, but in what decides over a record that refuses it",
        examples: &[
            example(
                r#"{ from = "itemnumber", through = ["item.barcode"] }"#,
                r#"{"itemnumber":5001}"#,
                Some("30013"),
            ),
            example(
                r#"{ from = "itemnumber", through = ["item.biblionumber", "biblio.title"] }"#,
                r#"{"itemnumber":5001}"#,
                Some("Hoogwater"),
            ),
            example(
                r#"{ from = "itemnumber", through = ["item.barcode"] }"#,
                r#"{"itemnumber":5002}"#,
                None,
            ),
        ],
    },
    ExpressionDef {
        name: "where",
        description: "a value only while conditions hold, each with `is` or `is_not`",
        examples: &[
            example(
                r#"{ from = "until", where = [{ from = "found", is = ["W"] }] }"#,
                r#"{"until":"2026-11-30","found":"W"}"#,
                Some("2026-11-30"),
            ),
            example(
                r#"{ from = "until", where = [{ from = "found", is_not = ["F"] }] }"#,
                r#"{"until":"2026-11-30","found":"F"}"#,
                None,
            ),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::super::{LookupTables, RawMessage, Refusal, load::load_text};
    use super::*;
    use crate::policy::Policy;

    /// A mapping whose `item.title` is the example's expression.
    fn intake_text(mapping: &str) -> String {
        format!(
            r#"
name     = "example"
envelope = "row"
zone     = "Europe/Amsterdam"
library  = {{ const = "NL-AmrBKW" }}
patron   = {{ text = "p-{{envelope.patron}}" }}

[lookups]
item   = {{ topic = "items", id = "id", keep = ["barcode", "biblionumber"] }}
biblio = {{ topic = "biblio", id = "id", keep = ["title"] }}

[[record]]
kind  = "loan"
topic = "loans"
[record.fields]
loan_id      = {{ const = "l" }}
"item.title" = {mapping}
"#
        )
    }

    fn example_message<'a>(topic: &'a str, row: &'a str) -> RawMessage<'a> {
        RawMessage { topic, value: Some(row.as_bytes()), schema: None }
    }

    /// The title, or why there is no record.
    fn evaluate(example: &ExpressionExample) -> Result<Option<String>, Refusal> {
        let kinds = Policy::load("config".as_ref()).unwrap().policy.record_kinds;
        let intake = load_text("example", &intake_text(example.mapping), &kinds).unwrap();
        let mut lookups: LookupTables = intake.empty_lookups();
        for (topic, row) in [
            ("items", r#"{"id":5001,"barcode":"30013","biblionumber":301}"#),
            ("biblio", r#"{"id":"301","title":"Hoogwater"}"#),
        ] {
            let refused = intake.apply_to_lookups(&example_message(topic, row), &mut lookups);
            assert_eq!(refused, Ok(Vec::new()));
        }
        let row = example.row.replacen('{', r#"{"patron":1,"#, 1).replace(",}", "}");
        let conversion = intake.convert(&example_message("loans", &row), &lookups);
        if let Some(refused) = conversion.refused.first() {
            return Err(refused.refusal);
        }
        let value = conversion.records[0].value.as_ref().unwrap();
        let record: serde_json::Value = serde_json::from_slice(value).unwrap();
        Ok(record["item"]["title"].as_str().map(str::to_owned))
    }

    #[test]
    fn expression_examples_hold() {
        for expression in EXPRESSIONS {
            for example in expression.examples {
                let want = Ok(example.output.map(str::to_owned));
                assert_eq!(evaluate(example), want, "{} on {}", example.mapping, example.row);
            }
        }
    }

    #[test]
    fn unknown_word_and_undecided_lookup_refuse() {
        let unknown =
            example(r#"{ from = "found", map = { W = "ready" } }"#, r#"{"found":"X"}"#, None);
        assert_eq!(evaluate(&unknown), Err(Refusal::Unmapped));
        let missing = example(
            r#"{ from = "itemnumber", through = ["item.barcode"], present = "yes" }"#,
            r#"{"itemnumber":5002}"#,
            None,
        );
        assert_eq!(evaluate(&missing), Err(Refusal::LookupMissing));
    }
}
