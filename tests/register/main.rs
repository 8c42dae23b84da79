//! `zeef register` and `zeef list matrix`: what the privacy officer and the board are shown.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use zeef_test_kit::config::{
    copy_dir, copy_shipped_config, enable_all_recipients, files_below, shipped_config,
};
use zeef_test_kit::process::{self, CommandOutput};

fn run_zeef(arguments: &[&str], config: &Path) -> CommandOutput {
    let config = config.to_str().unwrap();
    let mut command = process::zeef_command(env!("CARGO_BIN_EXE_zeef"), arguments);
    CommandOutput::of(command.args(["--config", config]))
}

/// The shipped config with `config/register`.
fn copy_config() -> TempDir {
    let folder = copy_shipped_config();
    copy_dir(&shipped_config().join("register"), &folder.path().join("register"));
    folder
}

/// What a library fills in before its register is complete.
const FILLED_IN: &[(&str, &str)] = &[
    ("Bibliotheek Voorbeeld", "Bibliotheek De Linde"),
    ("Voorbeeldplein 1, 1234 AB Voorbeeldstad", "Lindeplein 1, 1234 AB Lindedorp"),
    ("library.example.org", "delinde.test"),
    (" op de website (set your own)", " op de website"),
];

fn complete_config() -> TempDir {
    let folder = copy_config();
    for path in files_below(folder.path()) {
        let text = fs::read_to_string(&path).unwrap();
        let filled = FILLED_IN.iter().fold(text, |text, (from, to)| text.replace(from, to));
        fs::write(path, filled).unwrap();
    }
    folder
}

#[test]
fn register_of_shipped_config_says_what_is_missing() {
    let folder = copy_config();
    let result = run_zeef(&["register"], folder.path());
    result.check(1, &["the register is not complete", "is nog een voorbeeldtekst"]);
    assert!(result.stdout.contains("## Wat ontbreekt"), "{}", result.stdout);
    fs::remove_dir_all(folder.path().join("register")).unwrap();
    let result = run_zeef(&["register"], folder.path());
    result.check(1, &["verwerkingsverantwoordelijke: naam ontbreekt"]);
}

#[test]
fn register_is_complete_once_every_text_is_filled_in() {
    let folder = complete_config();
    let result = run_zeef(&["register"], folder.path());
    result.check(0, &["Bibliotheek De Linde"]);
    assert_eq!(result.stderr, "");
    insta::assert_snapshot!("register.markdown", result.stdout);
    for flow in ["F14", "F30", "F31", "F33", "F34", "F35", "F38", "F46", "F47", "F48", "F49"] {
        assert!(result.stdout.contains(&format!("| stroom | {flow} |")), "{flow}");
    }
}

/// Every text that the law asks for is missed where it is not there.
#[test]
fn register_misses_each_text_that_is_not_there() {
    for (key, label) in [
        ("purpose", "doel"),
        ("legal_basis", "grondslag"),
        ("persons", "betrokkenen"),
        ("data", "gegevens"),
        ("recipients", "ontvangers"),
        ("transfers", "doorgifte"),
        ("retention", "bewaartermijn"),
        ("security", "beveiliging"),
        ("notice", "kennisgeving"),
    ] {
        let folder = complete_config();
        let path = folder.path().join("register/camera.toml");
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.split('=').next().map(str::trim) != Some(key))
            .collect();
        fs::write(&path, lines.join("\n")).unwrap();
        let result = run_zeef(&["register"], folder.path());
        result.check(1, &[&format!("camera: {label} ontbreekt")]);
    }
    let folder = complete_config();
    let path = folder.path().join("recipients/invoice.toml");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("persons")).collect();
    fs::write(&path, lines.join("\n")).unwrap();
    run_zeef(&["register"], folder.path()).check(1, &["invoice: betrokkenen ontbreekt"]);
}

#[test]
fn register_formats_say_the_same() {
    let folder = complete_config();
    let json = run_zeef(&["register", "--format", "json"], folder.path());
    json.check(0, &[]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let csv = run_zeef(&["register", "--format", "csv"], folder.path());
    csv.check(0, &[]);
    let mut reader = csv::Reader::from_reader(csv.stdout.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let html = run_zeef(&["register", "--format", "html"], folder.path());
    html.check(0, &["<html lang=\"nl\">"]);
    let entries = json["processing"].as_array().unwrap();
    assert_eq!(rows.len(), entries.len());
    assert!(entries.len() > 40, "{}", entries.len());
    for (entry, row) in entries.iter().zip(&rows) {
        let name = entry["name"].as_str().unwrap();
        assert_eq!(&row[0], name);
        assert!(html.stdout.contains(&format!("<section id=\"{name}\">")), "{name}");
        let purpose = entry["purpose"][0].as_str().unwrap();
        assert!(row.iter().any(|cell| cell == purpose), "{name}");
    }
    assert_eq!(json["missing"], serde_json::json!([]));
    for forbidden in ["http://", "<script", "<link", "<img"] {
        assert!(!html.stdout.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn register_escapes_what_a_library_writes() {
    let folder = complete_config();
    let path = folder.path().join("register/camera.toml");
    let text = fs::read_to_string(&path).unwrap();
    let text =
        text.replace("title       = \"Cameratoezicht\"", "title = \"<b>Camera|toezicht</b>\"");
    fs::write(&path, text.replace("[\"camerabeelden\"]", "[\"=1+1\"]")).unwrap();
    let html = run_zeef(&["register", "--format", "html"], folder.path());
    assert!(html.stdout.contains("&lt;b&gt;Camera|toezicht&lt;/b&gt;"));
    let csv = run_zeef(&["register", "--format", "csv"], folder.path());
    assert!(csv.stdout.contains(",'=1+1,"), "{}", csv.stdout);
}

#[test]
fn register_mistakes_come_with_file_and_line() {
    let folder = complete_config();
    let path = folder.path().join("register/camera.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("purpose ", "purpos ")).unwrap();
    let result = run_zeef(&["register"], folder.path());
    result.check(78, &["register/camera.toml:9", "purpos", "did you mean `purpose`?"]);
    assert_eq!(result.stdout, "");
    // A check finds them, too.
    run_zeef(&["check"], folder.path()).check(78, &["register/camera.toml:9"]);
    // A key that went to another file says where.
    let path = folder.path().join("register/controller.toml");
    fs::write(&path, "base_uri = \"https://example.org/register\"\n").unwrap();
    let result = run_zeef(&["register"], folder.path());
    result.check(
        78,
        &["controller.toml:1", "`base_uri` is no longer a key", "[ledger] of zeef.toml"],
    );
}

#[test]
fn s01_f09_register_lists_where_national_numbers_go() {
    let folder = copy_config();
    let result = run_zeef(&["register", "--rrn"], folder.path());
    result
        .check(0, &["deurwaarder-rrn", "staat uit: niet verstrekt", "`bsn`", "gaat naar niemand"]);
    insta::assert_snapshot!("national_numbers.shipped", result.stdout);
    enable_all_recipients(folder.path());
    let result = run_zeef(&["register", "--rrn"], folder.path());
    result.check(0, &["deurwaarder-rrn", "wordt verstrekt", "13/2013"]);
    insta::assert_snapshot!("national_numbers.enabled", result.stdout);
    let json = run_zeef(&["register", "--rrn", "--format", "json"], folder.path());
    let rows: Value = serde_json::from_str(&json.stdout).unwrap();
    let told = rows.as_array().unwrap().iter();
    let told: Vec<&str> = told.map(|row| row["waar"].as_str().unwrap()).collect();
    assert_eq!(told.iter().filter(|one| one.starts_with("ontvanger")).count(), 1, "{told:?}");
}

#[test]
fn matrix_has_each_recipients_fields_with_their_masks() {
    let folder = copy_shipped_config();
    let text = run_zeef(&["list", "matrix", "reservation-slip"], folder.path());
    text.check(0, &["first_letters (2)", "patron.surname", "key: pseudonym"]);
    insta::assert_snapshot!("matrix.reservation-slip", text.stdout);
    let markdown = run_zeef(&["list", "matrix", "--format", "markdown"], folder.path());
    markdown.check(0, &["| field | class |"]);
    insta::assert_snapshot!("matrix.markdown", markdown.stdout);
    let csv = run_zeef(&["list", "matrix", "--format", "csv"], folder.path());
    csv.check(0, &[]);
    let mut reader = csv::Reader::from_reader(csv.stdout.as_bytes());
    let columns = reader.headers().unwrap().len();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    for flag in [&["list", "matrix", "--json"][..], &["list", "matrix", "--format", "json"]] {
        let json: Value = serde_json::from_str(&run_zeef(flag, folder.path()).stdout).unwrap();
        let recipients = json["recipients"].as_array().unwrap();
        assert_eq!(recipients.len() + 2, columns);
        assert_eq!(json["fields"].as_array().unwrap().len(), rows.len());
    }
    // A BSN is in no cell.
    assert!(rows.iter().all(|row| &row[0] != "patron.bsn"), "{rows:?}");
}

#[test]
fn matrix_refuses_what_there_is_not() {
    let folder = copy_shipped_config();
    run_zeef(&["list", "matrix", "newsleter"], folder.path())
        .check(2, &["did you mean `newsletter`?"]);
    run_zeef(&["list", "masks", "--format", "csv"], folder.path())
        .check(2, &["only `list matrix` takes a format"]);
}

/// On a terminal the table comes in parts that fit.
#[test]
fn matrix_fits_the_terminal() {
    let folder = copy_shipped_config();
    let config = folder.path().to_str().unwrap();
    let mut command =
        process::zeef_command(env!("CARGO_BIN_EXE_zeef"), &["list", "matrix", "--config", config]);
    let result = CommandOutput::of(command.env("COLUMNS", "120"));
    result.check(0, &["deurwaarder"]);
    let widest = result.stdout.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(widest <= 120, "{widest}");
}
