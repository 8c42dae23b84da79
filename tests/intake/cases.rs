//! Every case of `tests/intake/cases`: `MAPPING/CASE.in.ndjson` in, `CASE.out.ndjson`
//! and what stderr says, `CASE.err.txt`, out.
//!
//! `UPDATE_GOLDEN=1 cargo test --test intake` writes them again; read the difference
//! before you keep it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use zeef::intake::Refusal;

use super::{mapping_path, repository};

fn zeef(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeef"));
    let config = repository().join("config");
    command.args(arguments).arg("--config").arg(config).current_dir(folder).env_remove("COLUMNS");
    command
}

fn case_folder(mapping: &str) -> PathBuf {
    repository().join("tests/intake/cases").join(mapping)
}

fn case_names(mapping: &str) -> Vec<String> {
    let entries = fs::read_dir(case_folder(mapping)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = names.filter_map(|name| Some(name.strip_suffix(".in.ndjson")?.to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn convert_case(mapping: &str, case: &str) -> Output {
    let mapping_file = mapping_path(mapping);
    let arguments = ["intake", "convert", "--intake", mapping_file.to_str().unwrap()];
    let input = format!("{case}.in.ndjson");
    zeef(&arguments, &case_folder(mapping)).arg(input).output().unwrap()
}

#[track_caller]
fn check_file(path: &Path, found: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, found).unwrap();
    }
    let want = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(found, want, "{}", path.display());
}

const MAPPINGS: &[&str] = &["koha-debezium", "folio", "folio-debezium", "rows", "versions"];

#[test]
fn cases_convert_as_their_files_say() {
    for mapping in MAPPINGS {
        let names = case_names(mapping);
        assert!(!names.is_empty(), "{mapping}");
        for case in names {
            let output = convert_case(mapping, &case);
            let folder = case_folder(mapping);
            let stderr = String::from_utf8(output.stderr).unwrap();
            check_file(
                &folder.join(format!("{case}.out.ndjson")),
                &String::from_utf8(output.stdout).unwrap(),
            );
            check_file(&folder.join(format!("{case}.err.txt")), &stderr);
            let code = i32::from(stderr.contains("refused as"));
            assert_eq!(output.status.code(), Some(code), "{mapping}/{case}");
        }
    }
}

/// Headers, tokens and columns that no mapping names hold this in every case.
#[test]
fn no_unnamed_value_is_anywhere_in_what_is_written() {
    let mut canaries = 0;
    for mapping in MAPPINGS {
        for case in case_names(mapping) {
            let input = case_folder(mapping).join(format!("{case}.in.ndjson"));
            canaries += fs::read_to_string(input).unwrap().matches("CANARY").count();
            let output = convert_case(mapping, &case);
            for text in [output.stdout, output.stderr] {
                assert!(!String::from_utf8(text).unwrap().contains("CANARY"), "{mapping}/{case}");
            }
        }
    }
    assert!(canaries > 300, "{canaries}");
}

/// What stands on stderr has no value of a record, not even of a named column.
#[test]
fn refusals_hold_no_value() {
    let values = [
        "Karekiet",
        "Noor",
        "2999",
        "3999",
        "Duindorp",
        "NERGENS",
        "LOS",
        "twee",
        "NIEUW",
        "Kwijt",
        "Verdwenen",
        "RESTORED",
        "17.95",
        "0.333333",
        "8001",
        "example.org",
    ];
    for mapping in MAPPINGS {
        for case in case_names(mapping) {
            let stderr = String::from_utf8(convert_case(mapping, &case).stderr).unwrap();
            for value in values {
                assert!(!stderr.contains(value), "{mapping}/{case}: {value} in {stderr}");
            }
        }
    }
}

/// Each refusal is met by some case, but for one whose bytes no text file holds, and those of
/// framed values (`framed_json_is_read_where_the_mapping_says_so`,
/// `bad_avro_is_refused_by_what_is_wrong_with_it`).
#[test]
fn every_refusal_has_a_case() {
    let mut all = String::new();
    for mapping in MAPPINGS {
        for case in case_names(mapping) {
            all += &String::from_utf8(convert_case(mapping, &case).stderr).unwrap();
        }
    }
    let elsewhere = [
        Refusal::NotUtf8,
        Refusal::NotFramed,
        Refusal::UnknownSchema,
        Refusal::UnreadableSchema,
        Refusal::NotAvro,
    ];
    for refusal in Refusal::ALL.iter().filter(|one| !elsewhere.contains(one)) {
        let is_met = all.contains(&format!("refused as {refusal}"));
        assert!(is_met, "{refusal} in no case");
    }
}

#[test]
fn stdin_and_several_files_convert_as_one_file() {
    let mapping = mapping_path("koha-debezium");
    let folder = case_folder("koha-debezium");
    let text = fs::read_to_string(folder.join("loan-check-in.in.ndjson")).unwrap();
    let whole = convert_case("koha-debezium", "loan-check-in");
    let convert = ["intake", "convert", "-q", "--intake", mapping.to_str().unwrap()];
    let mut child = zeef(&convert, &folder)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let piped = child.wait_with_output().unwrap();
    assert_eq!(piped.stdout, whole.stdout);
    assert_eq!(piped.stderr, b"");
    // Lookups may stand in a file behind the records.
    let split = tempfile::tempdir().unwrap();
    let is_lookup = |line: &&str| !line.contains("koha.issues");
    let (lookups, records): (Vec<&str>, Vec<&str>) = text.lines().partition(is_lookup);
    fs::write(split.path().join("a"), records.join("\n")).unwrap();
    fs::write(split.path().join("b"), lookups.join("\n")).unwrap();
    let split = zeef(&convert, split.path()).args(["a", "b"]).output().unwrap();
    assert_eq!(split.stdout, whole.stdout);
}

#[test]
fn converted_records_are_what_project_and_run_read() {
    let mapping = mapping_path("koha-debezium");
    let folder = case_folder("koha-debezium");
    let work = tempfile::tempdir().unwrap();
    let directory = work.path().join("library");
    let convert = ["intake", "convert", "-q", "--intake", mapping.to_str().unwrap()];
    let inputs = ["patron.in.ndjson", "reservation.in.ndjson"];
    let lines = zeef(&convert, &folder).args(inputs).output().unwrap().stdout;
    let mut child = zeef(&["project", "--time", "2026-11-25T12:00:00Z"], &folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&lines).unwrap();
    let projected = child.wait_with_output().unwrap();
    let slips = String::from_utf8(projected.stdout).unwrap();
    assert!(slips.contains(r#""shelf_mark":"Ka","initial":"N""#), "{slips}");
    let stderr = String::from_utf8(projected.stderr).unwrap();
    assert!(!stderr.contains("refused"), "{stderr}");
    for _ in 0..2 {
        let output = zeef(&convert, &folder)
            .args(inputs)
            .arg("--directory")
            .arg(&directory)
            .output()
            .unwrap();
        assert_eq!(output.stdout, b"");
    }
    let patrons = fs::read_to_string(directory.join("in/patron.ndjson")).unwrap();
    let want = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(br#"{"source":"patron""#));
    assert_eq!(patrons.lines().count(), 2 * want.count(), "a second run appends");
    assert!(patrons.starts_with(r#"{"key":"NL-AmrBKW:17","value":{"patron_id""#), "{patrons}");
}

#[test]
fn unreadable_patron_is_a_dead_letter_of_the_engine() {
    let folder = case_folder("koha-debezium");
    let mut child = zeef(&["project"], &folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let line = br#"{"source":"patron","key":"NL-AmrBKW:20","value":{}}"#;
    child.stdin.take().unwrap().write_all(line).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("1 record refused as identifier"), "{stderr}");
}

#[test]
fn convert_exit_codes_are_those_of_other_commands() {
    let folder = repository();
    let code = |arguments: &[&str]| {
        let output = zeef(arguments, &folder).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let koha = "config/intake/koha-debezium.toml";
    let (exit, stderr) = code(&["intake", "convert", "--intake", koha, "none.ndjson"]);
    assert_eq!(exit, Some(2), "{stderr}");
    let (exit, stderr) = code(&["intake", "convert", "--intake", "none.toml", "-"]);
    assert_eq!(exit, Some(2), "{stderr}");
    let (exit, stderr) = code(&["intake", "convert", "--intake", "config/zeef.toml", "Cargo.toml"]);
    assert_eq!(exit, Some(78), "{stderr}");
}
