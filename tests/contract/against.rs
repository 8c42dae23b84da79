//! `zeef check --against`: what an upstream is told of its records.

use std::fs;
use std::path::Path;

use zeef_test_kit::config::copy_shipped_config;
use zeef_test_kit::process::{self, CommandOutput};

/// A mark that stands in every value.
const CANARY: &str = "canary-4b1e";

fn check_against(file: &Path, more: &[&str]) -> CommandOutput {
    let folder = copy_shipped_config();
    let config = folder.path().to_str().unwrap();
    let file = file.to_str().unwrap();
    let arguments = ["check", "--config", config, "--against", file];
    let mut command = process::zeef_command(env!("CARGO_BIN_EXE_zeef"), &arguments);
    CommandOutput::of(command.args(more))
}

fn check_lines(lines: &[String], more: &[&str]) -> (i32, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.ndjson");
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    let result = check_against(&path, more);
    let all = format!("{}{}", result.stdout, result.stderr);
    assert!(!all.contains(CANARY), "{all}");
    let prefix = format!("{}:", path.display());
    let found = result.stdout.lines().map(|line| line.strip_prefix(&prefix).unwrap().to_owned());
    (result.exit_code, found.collect())
}

/// A loan with other members: `"due_on":7`.
fn loan(members: &str) -> String {
    format!(
        r#"{{"key":"{CANARY}","value":{{"loan_id":"{CANARY}","patron_id":"{CANARY}","library":"NL-AmrBKW",{members}}}}}"#
    )
}

#[test]
fn check_against_names_line_pointer_and_reason() {
    let lines = [
        loan(r#""due_on":"2026-01-31","status":"open""#),
        loan(r#""due_on":"31-01-2026""#),
        loan(r#""renewals":"two""#),
        loan(r#""renewals":1.5"#),
        loan(&format!(r#""item":{{"title":7,"unlisted":"{CANARY}"}}"#)),
        loan(&format!(r#""status":"{CANARY}""#)),
        loan(r#""item":[]"#),
        loan(r#""branch":"a","branch":"b""#),
        loan(r#""due_on":null,"branch":"""#),
        format!(
            r#"{{"key":"other","value":{{"loan_id":"{CANARY}","patron_id":"{CANARY}","library":"NL-AmrBKW"}}}}"#
        ),
        format!(r#"{{"key":"{CANARY}","value":{{"loan_id":"","patron_id":"{CANARY}"}}}}"#),
        format!(r#"{{"key":"{CANARY}","value":null}}"#),
        format!(r#"{{"key":"{CANARY}","value":[]}}"#),
        format!(r#"{{"key":"{CANARY}","value":{{"a":}}}}"#),
        "nonsense".to_owned(),
    ];
    let (code, found) = check_lines(&lines, &["--source", "loan"]);
    assert_eq!(code, 1);
    let want = [
        "2: /due_on: wrong_format: expected a date, as 2026-01-31",
        "3: /renewals: wrong_type: expected an integer",
        "4: /renewals: wrong_type: expected an integer",
        "5: /item/title: wrong_type: expected a text",
        "6: /status: unknown_word: expected one of open, overdue, returned, lost, damaged",
        "7: /item: wrong_type: expected an object",
        "8: /branch: duplicate_field: expected the field once",
        "10: (record): miskeyed: expected the patron id as the message's key",
        "11: /library: identifier: expected one text that is not empty",
        "11: /loan_id: identifier: expected one text that is not empty",
        "12: (record): null_value: expected a record: only a patron is erased by a null",
        "13: (record): not_an_object: expected an object",
        "14: (record): not_json: expected one JSON value",
        r#"15: (record): not_a_message: expected {"key":...,"value":...}, and a source or --source"#,
    ];
    assert_eq!(found, want);
}

/// Lines of several sources, as `zeef generate --stdout` writes them.
#[test]
fn check_against_accepts_generated_records() {
    let mut command = process::zeef_command(
        env!("CARGO_BIN_EXE_zeef"),
        &["generate", "--patrons", "200", "--seed", "7", "--stdout"],
    );
    let generated = CommandOutput::of(&mut command);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.ndjson");
    fs::write(&path, generated.stdout).unwrap();
    let result = check_against(&path, &[]);
    // Some of them have an address or a number of another form, which counts as missing.
    assert!(
        result.stdout.lines().all(|line| line.contains(": wrong_format: ")),
        "{}",
        result.stdout
    );
    assert!(result.stdout.lines().count() < 10, "{}", result.stdout);
    assert!(!result.stderr.contains("warning"), "{}", result.stderr);
}

#[test]
fn check_against_of_closed_kind_refuses_an_unlisted_field() {
    let question = |more: &str| {
        format!(
            r#"{{"source":"question","key":null,"value":{{"question_id":"q-1","library":"NL-AmrBKW"{more}}}}}"#
        )
    };
    let lines = [question(""), question(&format!(r#","{CANARY}":"x""#))];
    let (code, found) = check_lines(&lines, &[]);
    assert_eq!(code, 1);
    assert_eq!(
        found,
        ["2: (record): unlisted_field: expected no field that the kind does not list"]
    );
}

#[test]
fn check_against_refuses_unknown_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.ndjson");
    fs::write(&path, "").unwrap();
    check_against(&path, &["--source", "loans"]).check(2, &["did you mean `loan`?"]);
    check_against(&folder.path().join("none.ndjson"), &[]).check(1, &["cannot read"]);
    check_against(&path, &[]).check(0, &["0 records: nothing is wrong"]);
}
