//! Mappings with mistakes: all at once, each with its line and what was meant.

use std::fs;

use zeef::config::Mistake;
use zeef::intake::{load_file, load_folder};

use super::{record_kinds, repository};

fn mistakes_of(name: &str, text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("{name}.toml"));
    fs::write(&path, text).unwrap();
    let mistakes: Vec<Mistake> = load_file(&path, &record_kinds()).err().unwrap_or_default();
    let place = format!("{}/", folder.path().display());
    mistakes.iter().map(|mistake| mistake.to_string().replace(&place, "")).collect()
}

const HEAD: &str = r#"name = "a"
envelope = "row"
zone = "Europe/Amsterdam"
library = { const = "NL-DuiBIB" }
patron = { text = "p-{patron}" }
[lookups]
item = { topic = "items", id = "id", keep = ["barcode"] }
[[record]]
kind = "loan"
topic = "loans"
[record.fields]
loan_id = "id"
"#;

/// The mistakes of a mapping whose loan has one more line, which is line 13.
#[track_caller]
fn check_line(line: &str, want: &[&str]) {
    let found = mistakes_of("a", &format!("{HEAD}{line}\n"));
    let want: Vec<String> = want.iter().map(|text| format!("a.toml:13: {text}")).collect();
    assert_eq!(found, want, "{line}");
}

#[test]
fn mapping_without_mistake_loads() {
    check_line("", &[]);
    assert_eq!(load_folder(&repository().join("config/intake"), &record_kinds()).unwrap().len(), 4);
    assert!(load_folder(&repository().join("no-such-folder"), &record_kinds()).unwrap().is_empty());
}

#[test]
fn mistyped_names_have_suggestions() {
    check_line(
        r#"renewal = "n""#,
        &[
            "unknown field `renewal` of `loan`: did you mean `renewals`? (expected a field of `zeef list fields loan`)",
        ],
    );
    check_line(
        r#"due_on = { from = "d", as = "date_of_day" }"#,
        &[
            "unknown conversion `date_of_day`: did you mean `date_of_days`? (expected one of `zeef list conversions`)",
        ],
    );
    check_line(
        r#""item.barcode" = { from = "i", through = ["item.barcod"] }"#,
        &[
            "unknown lookup column `item.barcod`: did you mean `item.barcode`? (expected a lookup and one of the columns that it keeps, as `item.barcode`)",
        ],
    );
    check_line(r#"branch = { form = "b" }"#, &["unknown key `form`: did you mean `from`?"]);
    check_line(
        r#"status = { from = "s", map = { O = "opne" } }"#,
        &[
            "`status` may be \"opne\": did you mean `open`? (expected one of `open`, `overdue`, `returned`, `lost`, `damaged`)",
        ],
    );
}

#[test]
fn mismatched_types_are_mistakes() {
    check_line(
        r#"renewals = { from = "n", as = "text" }"#,
        &["`renewals` is converted to text, expected a conversion to integer"],
    );
    check_line(
        r#"due_on = { from = "d", as = "instant" }"#,
        &["`due_on` is converted to instant, expected a conversion to date"],
    );
    check_line(
        r#"renewals = { const = "none" }"#,
        &["`renewals` may be \"none\", expected integer"],
    );
    check_line(
        r#"due_on = { const = "2026-02-30" }"#,
        &["`due_on` may be \"2026-02-30\", expected date"],
    );
}

#[test]
fn contradicting_members_are_mistakes() {
    check_line(
        r#"branch = { from = "b", const = "x" }"#,
        &["`from` and `const` together, expected one of them"],
    );
    check_line(
        r#"branch = { const = "x", through = ["item.barcode"] }"#,
        &["`through` beside `const`, expected `from`"],
    );
    check_line(r#"branch = { from = "b", else = "x" }"#, &["`else` without `map`, expected both"]);
    check_line(
        r#"branch = { from = "b", as = "text", scale = 2 }"#,
        &["`scale` beside `text`, expected none"],
    );
    check_line(
        r#"branch = { text = "a-{b" }"#,
        &["\"a-{b\", expected a path between each `{` and its `}`"],
    );
    check_line(
        r#"branch = 7"#,
        &["7, expected a path, or a table with one of `from`, `first`, `const` and `text`"],
    );
    check_line(
        r#"branch = "a..b""#,
        &["\"a..b\", expected a path, as `personal.email` or `addresses[primary=true].city`"],
    );
    check_line(r#"library = "l""#, &["`library` among the fields, expected `library` above them"]);
}

/// How much versions may need, and how long those of removed records are known.
#[test]
fn bounds_of_versions_out_of_range_are_mistakes() {
    let with = |line: &str| mistakes_of("a", &format!("{line}\n{HEAD}"));
    for fine in ["version_bytes_max = 1", "keep_removed_days = 1", "keep_removed_days = 36500"] {
        assert_eq!(with(fine), Vec::<String>::new(), "{fine}");
    }
    for wrong in ["version_bytes_max = 0", "keep_removed_days = 0", "keep_removed_days = 36501"] {
        let found = with(wrong);
        assert_eq!(found.len(), 1, "{wrong}: {found:?}");
        let (key, value) = wrong.split_once(" = ").unwrap();
        let want = format!("a.toml:1: `{key}` is {value}, expected a whole number from 1 to ");
        assert!(found[0].starts_with(&want), "{found:?}");
    }
}

/// `newer_by` is a path or a list of them, the same wherever a kind comes from.
#[test]
fn newer_by_that_names_nothing_or_differs_is_a_mistake() {
    let with =
        |line: &str| HEAD.replacen("topic = \"loans\"", &format!("topic = \"loans\"\n{line}"), 1);
    for fine in ["newer_by = \"updated\"", "newer_by = [\"envelope.source.ts_ms\", \"row.pos\"]"] {
        assert_eq!(mistakes_of("a", &with(fine)), Vec::<String>::new());
    }
    let expected = "what is greater in the newer version of a record: a path, or a list of them";
    for (line, want) in [
        ("newer_by = []", format!("`newer_by` names nothing, expected {expected}")),
        ("newer_by = \"\"", format!("`newer_by` is empty, expected {expected}")),
        ("newer_by = 7", format!("`newer_by` is 7, expected a string: {expected}")),
        (
            "newer_by = \"a..b\"",
            "\"a..b\", expected a path, as `personal.email` or `addresses[primary=true].city`"
                .to_owned(),
        ),
    ] {
        assert_eq!(mistakes_of("a", &with(line)), [format!("a.toml:11: {want}")]);
    }
    let second =
        "[[record]]\nkind = \"loan\"\ntopic = \"old_loans\"\n[record.fields]\nloan_id = \"id\"\n";
    let text = format!("{}{second}", with("newer_by = \"updated\""));
    let want = "a.toml:15: another `newer_by` of `loan` than above, expected the same for all records of a kind";
    assert_eq!(mistakes_of("a", &text), [want]);
}

#[test]
fn mistyped_framing_has_a_suggestion() {
    let text = HEAD.replacen("zone", "framing = \"avroo\"\nzone", 1);
    assert_eq!(
        mistakes_of("a", &text),
        [
            "a.toml:3: `framing` is \"avroo\": did you mean `avro`? (expected what stands before a value: one of `none`, `json_schema`, `avro`)"
        ]
    );
}

#[test]
fn all_mistakes_of_a_mapping_are_told_at_once() {
    let text = r#"name = "b"
envelope = "debezum"
zone = "Europe/Amsterdm"
[[record]]
kind = "laon"
topic = "a b"
[[record]]
kind = "patron"
topic = "users"
delete = "gone"
[record.fields]
pin_hash = "password"
[[record]]
kind = "objection"
topic = "objections"
library = { const = "NL-DuiBIB" }
patron = { text = "{library}:{id}" }
erased = [{ from = "x", is = ["1"] }]
only = [{ from = "x" }]
[record.fields]
kind = { const = "direct_marketing" }
"#;
    let want = [
        "a.toml:1: `name` is \"b\", expected \"a\", as the file is called",
        "a.toml:2: `envelope` is \"debezum\": did you mean `debezium`? (expected what stands around a row: one of `debezium`, `folio`, `folio-inventory`, `row`)",
        "a.toml:3: `zone` is \"Europe/Amsterdm\": did you mean `Europe/Amsterdam`? (expected the time zone of the system's clocks, as \"Europe/Amsterdam\")",
        "a.toml:4: no `library`, expected the ISIL of the library, as { const = \"NL-AmrBKW\" }",
        "a.toml:4: no `patron`, expected the patron's id, as { text = \"{library}:{borrowernumber}\" }",
        "a.toml:5: unknown kind `laon`: did you mean `loan`? (expected a kind of `config/records`)",
        "a.toml:6: \"a b\" in `topic`, expected the topics that it is read from, with `*` for any part without a dot",
        "a.toml:7: no `library`, expected the ISIL of the library, as { const = \"NL-AmrBKW\" }",
        "a.toml:7: no `patron`, expected the patron's id, as { text = \"{library}:{borrowernumber}\" }",
        "a.toml:10: `delete` is \"gone\", expected what a deleted row means: one of `erased`, `ignore`",
        "a.toml:12: `pin_hash`, a secret, expected no mapping: it never leaves the library system",
        "a.toml:13: no `delete`, expected what a deleted row means: one of `ignore`",
        "a.toml:18: `erased`, expected none: only patrons are erased",
        "a.toml:19: no `is`, expected `is` or `is_not`, with words",
        "a.toml:20: no `objection_id` in `fields`, expected the record's own id",
    ];
    assert_eq!(mistakes_of("a", text), want);
}
