//! What other commands say of intakes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::repository;

fn run_zeef(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeef"));
    command.args(arguments).current_dir(repository()).env_remove("COLUMNS");
    let output = command.env_remove("ZEEF_CONFIG").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

pub(super) fn copy_config(to: &Path) {
    for folder in ["", "detectors", "records", "recipients", "intake"] {
        fs::create_dir_all(to.join(folder)).unwrap();
        for entry in fs::read_dir(repository().join("config").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, to.join(folder).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
}

#[test]
fn check_reads_every_mapping_of_the_config() {
    let config = tempfile::tempdir().unwrap();
    copy_config(config.path());
    let folder = config.path().to_str().unwrap();
    let (exit, stdout, stderr) = run_zeef(&["check", "--config", folder]);
    assert_eq!(exit, Some(0), "{stderr}");
    assert!(stdout.contains("intake  folio: patron, loan, reservation\n"), "{stdout}");
    let koha = config.path().join("intake/koha-debezium.toml");
    let text = fs::read_to_string(&koha).unwrap();
    fs::write(&koha, text.replace("as = \"cents\"", "as = \"cent\"")).unwrap();
    fs::write(config.path().join("intake/other.toml"), "name = \"other\"\n").unwrap();
    let (exit, _, stderr) = run_zeef(&["check", "--config", folder]);
    assert_eq!(exit, Some(78), "{stderr}");
    assert!(stderr.contains("unknown conversion `cent`: did you mean `cents`?"), "{stderr}");
    assert!(stderr.contains("other.toml:1: no `envelope`"), "{stderr}");
    fs::remove_dir_all(config.path().join("intake")).unwrap();
    let (exit, stdout, stderr) = run_zeef(&["check", "--config", folder]);
    assert_eq!(exit, Some(0), "{stderr}");
    assert!(!stdout.contains("intake"), "{stdout}");
}

#[test]
fn list_conversions_shows_the_tables() {
    let (exit, stdout, _) = run_zeef(&["list", "conversions"]);
    assert_eq!(exit, Some(0));
    for word in ["through", "date_of_wall_ms", "EXPRESSIONS", "CONVERSIONS", "REFUSALS", "unmapped"]
    {
        assert!(stdout.contains(word), "{word} in {stdout}");
    }
    let (exit, one, _) = run_zeef(&["list", "conversions", "cents"]);
    assert_eq!(exit, Some(0));
    assert!(one.contains("4700") && !one.contains("date_of_days"), "{one}");
    let (exit, json, _) = run_zeef(&["list", "conversions", "--json"]);
    assert_eq!(exit, Some(0));
    let rows: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert!(rows.iter().any(|row| row["name"] == "instant_of_wall_ms"), "{json}");
    let (exit, _, stderr) = run_zeef(&["list", "conversions", "cent"]);
    assert_eq!(exit, Some(2));
    assert!(stderr.contains("did you mean `cents`?"), "{stderr}");
}

/// The document names every conversion and every refusal, and no other.
#[test]
fn docs_name_every_conversion_and_refusal() {
    let docs = fs::read_to_string(repository().join("docs/intake.md")).unwrap();
    let names = zeef::intake::CONVERSIONS.iter().map(|conversion| conversion.name);
    let refusals = zeef::intake::Refusal::ALL.iter().map(|refusal| refusal.as_str());
    for name in names.chain(refusals) {
        assert!(docs.contains(&format!("`{name}`")), "{name}");
    }
}

/// The mapping that the document shows is one.
#[test]
fn docs_mapping_loads() {
    let docs = fs::read_to_string(repository().join("docs/intake.md")).unwrap();
    let blocks = docs.split("```toml\n").skip(1).map(|block| block.split_once("```").unwrap().0);
    let text = blocks.into_iter().find(|text| text.starts_with("name ")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("koha-debezium.toml");
    fs::write(&path, text).unwrap();
    let loaded = zeef::intake::load_file(&path, &super::record_kinds());
    assert!(loaded.is_ok(), "{:?}", loaded.err());
}

#[test]
fn lookups_beyond_their_bound_end_the_conversion() {
    let folder = tempfile::tempdir().unwrap();
    let mapping = folder.path().join("koha-debezium.toml");
    let text = fs::read_to_string(super::mapping_path("koha-debezium")).unwrap();
    fs::write(&mapping, format!("lookup_bytes_max = 300\n{text}")).unwrap();
    let input = repository().join("tests/intake/cases/koha-debezium/patron.in.ndjson");
    let (mapping, input) = (mapping.to_str().unwrap(), input.to_str().unwrap());
    let (exit, stdout, stderr) = run_zeef(&["intake", "convert", "--intake", mapping, input]);
    assert_eq!((exit, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("the lookup tables need more than 300 bytes"), "{stderr}");
}

/// Writes a night's export as CSV, in windows-1252 and with other line ends in the values.
pub(super) fn write_export(folder: &Path, patrons: &str, loans: &str) {
    let header = "lener;pas;voorletters;tussenvoegsel;achternaam;geboren;email;straat;huisnummer;postcode;plaats;soort;einddatum\r\n";
    let text = format!("{header}{patrons}");
    let (bytes, _, _) = encoding_rs::WINDOWS_1252.encode(&text);
    fs::write(folder.join("leners-2026.csv"), bytes).unwrap();
    let header = "uitlening;lener;inleverdatum;status;vestiging;titel\n";
    fs::write(folder.join("uitleningen.csv"), format!("{header}{loans}")).unwrap();
}

pub(super) const PATRON_ROW: &str = "42;20013004567890;R.;van der;Zwaluwé;1985-07-30;lid@example.org;Veldzicht;12;1811 AB;Alkmaar;volwassene;\r\n";
pub(super) const LOAN_ROW: &str = "1001;42;2099-01-21;uit;Centrale;\"Hoogwater; deel \"\"1\"\"\"\n";

#[test]
fn csv_export_becomes_records_and_a_snapshot() {
    let work = tempfile::tempdir().unwrap();
    write_export(work.path(), PATRON_ROW, LOAN_ROW);
    let path = |name: &str| work.path().join(name).to_str().unwrap().to_owned();
    let (patrons, loans) = (path("leners-2026.csv"), path("uitleningen.csv"));
    let mapping = "config/intake/nightly-csv.toml";
    let convert = ["intake", "convert", "--intake", mapping];
    let (exit, stdout, stderr) = run_zeef(&[&convert[..], &[&patrons, &loans]].concat());
    assert_eq!(exit, Some(0), "{stderr}");
    let lines: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{stdout}");
    assert_eq!(lines[0]["key"], "NL-AmrBKW:42");
    assert_eq!(lines[0]["value"]["surname"], "Zwaluwé");
    assert_eq!(lines[0]["value"]["membership"]["status"], "active");
    assert_eq!(lines[1]["value"]["item"]["title"], "Hoogwater; deel \"1\"");
    // Twice as a whole export: the second one has no loan.
    let directory = path("library");
    let snapshot = ["--directory", directory.as_str(), "--snapshot"];
    let config = tempfile::tempdir().unwrap();
    copy_config(config.path());
    let config = config.path().to_str().unwrap();
    run_zeef(&["keys", "new", "--all", "--config", config]);
    let titles = || {
        let out = Path::new(&directory).join("out/service-message/out.service-message.ndjson");
        let text = fs::read_to_string(out).unwrap();
        let line = text.lines().last().map(|line| serde_json::from_str::<Value>(line).unwrap());
        line.map(|line| line["value"]["title"].clone())
    };
    for (loans_of_night, want) in [(LOAN_ROW, "Hoogwater; deel \"1\""), ("", "")] {
        write_export(work.path(), PATRON_ROW, loans_of_night);
        let (exit, _, stderr) =
            run_zeef(&[&convert[..], &[&patrons, &loans], &snapshot[..]].concat());
        assert_eq!(exit, Some(0), "{stderr}");
        fs::create_dir_all(Path::new(&directory).join("in")).unwrap();
        let (exit, _, stderr) =
            run_zeef(&[&["run", "--config", config][..], &snapshot[..]].concat());
        assert_eq!(exit, Some(0), "{stderr}");
        let title = titles().unwrap();
        assert_eq!(title.as_str().unwrap_or_default(), want);
    }
}

#[test]
fn csv_rows_that_do_not_fit_are_refused_by_line() {
    let work = tempfile::tempdir().unwrap();
    write_export(work.path(), PATRON_ROW, &format!("{LOAN_ROW}1002;42\n1003;42;x;uit;C;T\n"));
    let loans = work.path().join("uitleningen.csv");
    let loans = loans.to_str().unwrap();
    let mapping = "config/intake/nightly-csv.toml";
    let check = ["intake", "check", "--intake", mapping];
    let (exit, stdout, stderr) = run_zeef(&[&check[..], &[loans]].concat());
    assert_eq!(exit, Some(1), "{stderr}");
    assert!(stderr.contains("refused as not_a_message") && stderr.contains("line 3"), "{stderr}");
    assert!(stderr.contains("refused as malformed at loan.due_on"), "{stderr}");
    assert!(stdout.contains("loan") && stdout.contains("returned_at"), "{stdout}");
    let (exit, ..) = run_zeef(&check);
    assert_eq!(exit, Some(0));
    for (name, want) in
        [("leners.txt.csv", "no file of `[csv]`"), ("leners.csv", "is not in UTF-8")]
    {
        let path = work.path().join(name);
        fs::write(&path, b"a\n\xff\n").unwrap();
        let text = fs::read_to_string(repository().join(mapping)).unwrap();
        let own = work.path().join("nightly-csv.toml");
        fs::write(&own, text.replace("windows-1252", "utf-8")).unwrap();
        let own = own.to_str().unwrap();
        let words = ["intake", "convert", "--intake", own, path.to_str().unwrap()];
        let (exit, _, stderr) = run_zeef(&words);
        assert_ne!(exit, Some(0));
        assert!(stderr.contains(want), "{stderr}");
    }
}

#[test]
fn intake_columns_lists_what_a_connector_may_leave_out() {
    let mapping = "config/intake/koha-debezium.toml";
    let (exit, json, _) = run_zeef(&["intake", "columns", "--json", "--intake", mapping]);
    assert_eq!(exit, Some(0));
    let topics: Vec<Value> = serde_json::from_str(&json).unwrap();
    let columns = |topic: &str| {
        let one = topics.iter().find(|one| one["topic"] == topic);
        let columns = one.unwrap()["columns"].as_array().unwrap().clone();
        columns.iter().map(|name| name.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(columns("koha.koha_library.branches"), ["branchcode", "branchname", "marcorgcode"]);
    let borrowers = columns("koha.koha_library.borrowers");
    for name in ["borrowernumber", "categorycode", "anonymized", "cardnumber", "branchcode"] {
        assert!(borrowers.contains(&name.to_owned()), "{name} in {borrowers:?}");
    }
    for name in ["password", "userid", "borrowernotes", "secret"] {
        assert!(!borrowers.contains(&name.to_owned()), "{name} in {borrowers:?}");
    }
    // A record in a column: that column.
    let folio = "config/intake/folio-debezium.toml";
    let (_, text, _) = run_zeef(&["intake", "columns", "--intake", folio]);
    assert!(text.contains("jsonb"), "{text}");
}

#[test]
fn intake_explain_shows_values_only_when_asked() {
    let work = tempfile::tempdir().unwrap();
    write_export(work.path(), PATRON_ROW, LOAN_ROW);
    let loans = work.path().join("uitleningen.csv");
    let mapping = "config/intake/nightly-csv.toml";
    let words = ["intake", "explain", "--intake", mapping, loans.to_str().unwrap()];
    let (exit, plain, stderr) = run_zeef(&words);
    assert_eq!(exit, Some(0), "{stderr}");
    for want in ["line 2", "inleverdatum", "text", "as date", "a value", "by a map of 2 words"] {
        assert!(plain.contains(want), "{want} in {plain}");
    }
    assert!(!plain.contains("Hoogwater") && !plain.contains("2099"), "{plain}");
    let (_, shown, _) = run_zeef(&[&words[..], &["--values", "--line", "2"]].concat());
    assert!(shown.contains("Hoogwater") && shown.contains("2099-01-21"), "{shown}");
    let (exit, _, stderr) = run_zeef(&[&words[..], &["--line", "9"]].concat());
    assert_eq!(exit, Some(2), "{stderr}");
}

/// What `newer_by` reads, and what it makes of a message.
#[test]
fn intake_commands_tell_of_newer_by() {
    let mapping = "tests/intake/mappings/versions.toml";
    let input = "tests/intake/cases/versions/patron.in.ndjson";
    let (exit, stdout, stderr) = run_zeef(&["intake", "check", "--intake", mapping, input]);
    assert_eq!(exit, Some(1), "{stderr}");
    let rule = "loan: older versions are dropped, by envelope.source.ts_ms, envelope.source.pos";
    assert!(stdout.contains(rule), "{stdout}");
    assert!(!stdout.contains("debt: older"), "{stdout}");
    assert!(
        stderr.contains("patron: 2 written, 1 erased, 2 unreadable, 2 dropped as older"),
        "{stderr}"
    );
    let words = ["intake", "explain", "--intake", mapping, input];
    let (_, plain, _) = run_zeef(&words);
    assert!(
        plain.contains("(newer_by)") && plain.contains("refused as version_missing"),
        "{plain}"
    );
    assert!(!plain.contains("2026-11-20"), "{plain}");
    let (_, shown, _) = run_zeef(&[&words[..], &["--values", "--line", "1"]].concat());
    assert!(shown.contains("2026-11-20T10:00:00.000+01:00"), "{shown}");
    let (_, columns, _) = run_zeef(&["intake", "columns", "--intake", mapping]);
    assert_eq!(columns.matches("updated").count(), 3, "{columns}");
    assert!(!columns.contains("ts_ms"), "the envelope is in no column: {columns}");
}

#[test]
fn project_reads_raw_messages_of_a_mapping() {
    let raw = [
        r#"{"topic":"leners","value":{"lener":"42","pas":"20013004567890","voorletters":"R.","tussenvoegsel":null,"achternaam":"Zwaluw","geboren":"1985-07-30","email":"lid@example.org","straat":null,"huisnummer":null,"postcode":null,"plaats":null,"soort":"volwassene","einddatum":null}}"#,
        r#"{"topic":"uitleningen","value":{"uitlening":"1","lener":"42","inleverdatum":"2099-01-21","status":"uit","vestiging":"Centrale","titel":"Zee"}}"#,
    ]
    .join("\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeef"));
    command.args(["project", "--intake", "config/intake/nightly-csv.toml"]);
    command.current_dir(repository()).env_remove("ZEEF_CONFIG");
    let output = zeef_test_kit::process::run_with_stdin(&mut command, raw.as_bytes());
    output.check(0, &[]);
    assert!(output.stdout.contains("\"title\":\"Zee\""), "{}", output.stdout);
}

/// The five bytes of a schema registry are taken off where the mapping says that they are there.
#[test]
fn framed_json_is_read_where_the_mapping_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(repository().join("tests/intake/mappings/rows.toml")).unwrap();
    let load = |framing: &str| {
        let path = folder.path().join("rows.toml");
        fs::write(&path, text.replacen("zone ", &format!("{framing}\nzone "), 1)).unwrap();
        zeef::intake::load_file(&path, &super::record_kinds()).unwrap()
    };
    let (framed, bare) = (load("framing = \"json_schema\""), load("framing = \"none\""));
    let value = br#"{"id":"1","patron":"42","state":"ready","wanted":"2026-01-01T00:00:00Z"}"#;
    let with_frame = [b"\0\0\0\x01\x02".as_slice(), value].concat();
    let convert = |intake: &zeef::intake::Intake, value: &[u8]| {
        let message = zeef::intake::RawMessage { topic: "holds", value: Some(value), schema: None };
        intake.convert(&message, &intake.empty_lookups())
    };
    assert_eq!(convert(&framed, &with_frame), convert(&bare, value));
    assert_eq!(convert(&bare, value).records.len(), 1);
    for (intake, value, want) in [
        (&bare, with_frame.as_slice(), "framed"),
        (&framed, value.as_slice(), "not_framed"),
        (&framed, b"\0\0\0\x01".as_slice(), "not_framed"),
    ] {
        let refused = convert(intake, value).refused;
        assert_eq!(refused[0].refusal.as_str(), want);
    }
}

/// The columns of a connector's `column.include.list`, by table.
fn sent_columns(list: &str) -> BTreeMap<String, BTreeSet<String>> {
    let names = |part: &str| -> Vec<String> {
        let inner = part.trim_start_matches('(').trim_end_matches(')');
        inner.split('|').map(str::to_owned).collect()
    };
    let mut columns = BTreeMap::<String, BTreeSet<String>>::new();
    for entry in list.split(',') {
        let parts: Vec<&str> = entry.split("\\.").collect();
        let [_, tables, listed] = parts[..] else { panic!("{entry}") };
        for table in names(tables) {
            columns.entry(table).or_default().extend(names(listed));
        }
    }
    columns
}

fn read_upstream(name: &str) -> String {
    fs::read_to_string(repository().join("deploy/upstream").join(name)).unwrap()
}

/// The columns of the tables that the shipped Koha connector sends.
fn connector_columns() -> BTreeMap<String, BTreeSet<String>> {
    let connector: Value = serde_json::from_str(&read_upstream("koha-debezium.json")).unwrap();
    let config = &connector["config"];
    let sent = sent_columns(config["column.include.list"].as_str().unwrap());
    let tables = config["table.include.list"].as_str().unwrap().split(',');
    let tables: BTreeSet<String> =
        tables.map(|table| table.rsplit('.').next().unwrap().to_owned()).collect();
    assert_eq!(sent.keys().cloned().collect::<BTreeSet<_>>(), tables);
    sent
}

/// The statements of a file of SQL, without comments, each in one line.
fn statements(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.starts_with("--"));
    let text = lines.collect::<Vec<_>>().join(" ");
    let words = |statement: &str| statement.split_whitespace().collect::<Vec<_>>().join(" ");
    text.split(';').map(words).filter(|statement| !statement.is_empty()).collect()
}

#[test]
fn shipped_koha_connector_sends_the_columns_of_its_mapping_and_no_others() {
    let sent = connector_columns();
    let mut wanted = BTreeMap::<String, BTreeSet<String>>::new();
    for topic in super::load_mapping("koha-debezium").columns() {
        let table = topic.topic.rsplit('.').next().unwrap().to_owned();
        // A table and its archive are one topic.
        let both = ["issues", "reserves"].contains(&table.as_str());
        for table in
            [Some(table.clone()), both.then(|| format!("old_{table}"))].into_iter().flatten()
        {
            wanted.entry(table).or_default().extend(topic.columns.iter().cloned());
        }
    }
    // The primary key, which Debezium needs for a message's key.
    wanted.entry("biblioitems".to_owned()).or_default().insert("biblioitemnumber".to_owned());
    assert_eq!(sent, wanted);
}

/// What the connector sends is what its user may read, by SQL, and nothing else.
#[test]
fn shipped_koha_user_may_read_the_columns_that_its_connector_sends_and_no_others() {
    let mut granted = BTreeMap::<String, BTreeSet<String>>::new();
    let mut global = Vec::new();
    for statement in statements(&read_upstream("koha-user.sql")) {
        let Some(grant) = statement.strip_prefix("GRANT ") else {
            assert!(statement.starts_with("CREATE USER "), "{statement}");
            continue;
        };
        let Some(grant) = grant.strip_prefix("REFERENCES, SELECT (") else {
            global.push(grant.split(" ON *.* ").next().unwrap().to_owned());
            continue;
        };
        let (columns, rest) = grant.split_once(") ON koha_library.").unwrap();
        let table = rest.split(' ').next().unwrap().to_owned();
        let columns = columns.split(", ").map(str::to_owned).collect();
        assert_eq!(granted.insert(table, columns), None, "{statement}");
    }
    assert_eq!(granted, connector_columns());
    assert_eq!(global, ["REPLICATION SLAVE, BINLOG MONITOR, RELOAD"]);
}

#[test]
fn shipped_folio_role_has_the_tables_of_its_mapping_whole_before_a_change() {
    let statements = statements(&read_upstream("folio-role.sql"));
    let tables_between = |start: &str, end: &str| -> BTreeSet<String> {
        let list = statements
            .iter()
            .find_map(|statement| statement.strip_prefix(start)?.strip_suffix(end));
        list.unwrap().split(", ").map(str::to_owned).collect()
    };
    let intake = super::load_mapping("folio-debezium");
    let tables = |topics: BTreeSet<String>| -> BTreeSet<String> {
        topics.iter().map(|topic| topic.replace("folio_pg.*_", "amrland_")).collect()
    };
    let records = tables(intake.record_topics(|_| true).into_iter().collect());
    let mut all = tables(intake.lookup_topics().into_iter().collect());
    all.extend(records.iter().cloned());
    assert_eq!(tables_between("CREATE PUBLICATION zeef FOR TABLE ", ""), all);
    assert_eq!(tables_between("GRANT SELECT ON ", " TO debezium"), all);
    let whole: BTreeSet<String> = statements
        .iter()
        .filter_map(|statement| {
            statement.strip_prefix("ALTER TABLE ")?.strip_suffix(" REPLICA IDENTITY FULL")
        })
        .map(str::to_owned)
        .collect();
    assert_eq!(whole, records);
}
