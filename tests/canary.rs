//! Invariant 5: no value of a record in anything the process says of itself. And
//! none of an erased patron in anything that lies in a directory.
//!
//! Marked values go through every way a record can take, good and bad; then everything
//! that the process wrote, but for the outputs, is searched for the marks. After an
//! erasure the outputs are searched, too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use zeef_test_kit::config::{
    copy_dir, enable_all_recipients, enable_intake, remove_statistics_period,
};
use zeef_test_kit::marked_patrons::{MarkedLine, MarkedPatron, assert_no_traces};
use zeef_test_kit::process::{self, ANY_ADMIN_ADDRESS, KillOnDrop};

/// A word that stands in every value of the marked records.
const CANARY: &str = "kanarie7Q";

/// Lines per source; each carries the mark, some cannot be read.
fn marked_lines_by_source() -> Vec<(&'static str, Vec<String>)> {
    let patron = format!(
        r#"{{"patron_id":"{CANARY}-p","library":"NL-AmrBKW","kind":"person","card_number":"2001{CANARY}300456789","surname":"{CANARY}berg","given_name":"{CANARY}a","initials":"{CANARY}","email":"{CANARY}@example.org","birth_date":"1980-01-02","note":"{CANARY} belt","membership":{{"id":"{CANARY}-m","status":"active"}},"online_account":{{"created_at":"2024-01-01T00:00:00Z"}}}}"#
    );
    let key = format!("{CANARY}-p");
    let line = |key: &str, value: &str| format!(r#"{{"key":"{key}","value":{value}}}"#);
    let loan = |extra: &str| {
        format!(
            r#"{{"loan_id":"{CANARY}-l","patron_id":"{CANARY}-p","library":"NL-AmrBKW","status":"open","loaned_at":"2026-01-01T10:00:00Z","item":{{"title":"{CANARY} titel"}}{extra}}}"#
        )
    };
    let bad_patron = format!(
        r#"{{"patron_id":"{CANARY}-q","library":"NL-AmrBKW","surname":{{"{CANARY}":"{CANARY}"}},"kind":"person","membership":{{"id":"{CANARY}","status":"active"}}}}"#
    );
    vec![
        (
            "patron",
            vec![
                line(&key, &patron),
                line(&format!("{CANARY}-q"), &bad_patron),
                line(&format!("{CANARY}-x"), &patron),
                line(&format!("{CANARY}-y"), "[1]"),
                format!("{CANARY} no json"),
                line(&format!("{CANARY}-z"), &format!(r#"{{"{CANARY}":"#)),
            ],
        ),
        (
            "loan",
            vec![
                line(&key, &loan("")),
                // Of this one the output stays.
                line(&key, &loan("").replace("-l\"", "-kept\"")),
                line(&key, &loan(&format!(r#","due_on":["{CANARY}"]"#))),
                line(&key, &loan(&format!(r#","branch":"{CANARY}","branch":"{CANARY}""#))),
                line(&format!("{CANARY}-nobody"), &loan("").replace("-p", "-nobody")),
                line(&key, "null"),
                line(&key, &format!("\"{CANARY}\"")),
                line(&key, &format!("{}\"{CANARY}\"{}", "[".repeat(70), "]".repeat(70))),
                format!(r#"{{"key":"{key}","value":"{CANARY}","value":1}}"#),
                format!(r#"{{"key":"{key}"}}"#),
                format!(r#"{{"key":["{CANARY}"],"value":{}}}"#, loan("")),
                format!(r#"{{"key":"{key}","value":{{"{CANARY}":tru}}}}"#),
            ],
        ),
        ("consent", vec![line(&key, &format!(r#"{{"consent_id":"{CANARY}"}}"#))]),
    ]
}

fn zeef_command(arguments: &[&str]) -> Command {
    process::zeef_command(env!("CARGO_BIN_EXE_zeef"), arguments)
}

fn http_get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[track_caller]
fn check_has_no_canary(what: &str, text: &str) {
    if let Some(at) = text.find(CANARY) {
        let start = text[..at].rfind('\n').map_or(0, |line| line + 1);
        let end = text[at..].find('\n').map_or(text.len(), |line| at + line);
        panic!("{what} carries a value of a record: {}", &text[start..end]);
    }
}

#[test]
fn canary_is_in_no_log_metric_or_dead_letter() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let config = root.join("config");
    copy_dir(Path::new("config"), &config);
    let config = config.to_str().unwrap();
    let keys = zeef_command(&["keys", "new", "--all", "--config", config]).output().unwrap();
    assert!(keys.status.success(), "{}", String::from_utf8_lossy(&keys.stderr));
    fs::create_dir(root.join("in")).unwrap();
    let mut all = String::new();
    for (source, lines) in marked_lines_by_source() {
        for line in &lines {
            all += &format!("{{\"source\":\"{source}\",{}\n", line.get(1..).unwrap_or_default());
        }
        let mut text = lines.join("\n").into_bytes();
        // A gate's line that names nobody would stop the lane.
        text.extend_from_slice(format!("\n{{\"key\":\"{CANARY}-k\",").as_bytes());
        text.push(0xff);
        text.extend_from_slice(CANARY.as_bytes());
        text.push(b'\n');
        fs::write(root.join(format!("in/{source}.ndjson")), text).unwrap();
    }

    let log = fs::File::create(root.join("log")).unwrap();
    let child = zeef_command(&["run", "--follow", "--log-level", "trace", "--config", config])
        .args(["--directory", root.to_str().unwrap(), "--admin", ANY_ADMIN_ADDRESS])
        .env("RUST_BACKTRACE", "1")
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = KillOnDrop(child);
    // By the lane whose outputs are asked for: others count the same records once more.
    let taken = |metrics: &str| -> f64 {
        metrics
            .lines()
            .filter(|line| line.starts_with("zeef_records_consumed_total{lane=\"main\""))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    };
    let wanted: usize = marked_lines_by_source().iter().map(|(_, lines)| lines.len() + 1).sum();
    let deadline = Instant::now() + Duration::from_secs(30);
    let (address, metrics) = loop {
        let log = fs::read_to_string(root.join("log")).unwrap_or_default();
        let address = process::admin_address_in(&log);
        let metrics = address.and_then(|address| http_get(address, "/metrics")).unwrap_or_default();
        if let Some(address) = address
            && taken(&metrics) >= wanted as f64
        {
            break (address, metrics);
        }
        assert!(Instant::now() < deadline, "{wanted} records were not taken in: {metrics} {log}");
        std::thread::yield_now();
    };
    let health = http_get(address, "/health/ready").unwrap();
    // It ends its batch: while one is committed, a file of zeef's own has its outputs.
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(running.0.wait().unwrap().success());

    let log = fs::read_to_string(root.join("log")).unwrap();
    assert!(log.contains("zeef starting"), "{log}");
    check_has_no_canary("the log", &log);
    check_has_no_canary("/metrics", &metrics);
    check_has_no_canary("/health/ready", &health);
    let dead_letters = fs::read_to_string(root.join("out/zeef/zeef.dead-letters.ndjson")).unwrap();
    assert!(dead_letters.lines().count() > 12, "{dead_letters}");
    check_has_no_canary("a dead letter", &dead_letters);
    let slips =
        fs::read_to_string(root.join("out/service-message/out.service-message.ndjson")).unwrap();
    assert!(slips.contains(CANARY), "the canary never sang: {slips}");
    for format in ["csv", "json", "xml", "slips", "pain008"] {
        let words = ["export", "service-message", "--as", format, "--log-level", "trace"];
        let mut export = zeef_command(&words);
        let export = export.args(["--config", config, "--directory", root.to_str().unwrap()]);
        let export = export.output().unwrap();
        let is_possible = !matches!(format, "slips" | "pain008");
        assert_eq!(String::from_utf8_lossy(&export.stdout).contains(CANARY), is_possible);
        check_has_no_canary("what export says", &String::from_utf8_lossy(&export.stderr));
    }
    for entry in fs::read_dir(root.join(".zeef")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            check_has_no_canary(
                "the transport's own file",
                &String::from_utf8_lossy(&fs::read(path).unwrap()),
            );
        }
    }

    let mut project = zeef_command(&["project", "--config", config])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    project.stdin.take().unwrap().write_all(all.as_bytes()).unwrap();
    let result = project.wait_with_output().unwrap();
    check_has_no_canary("what project says on stderr", &String::from_utf8_lossy(&result.stderr));
}

/// A word in all that no mapping names: columns, headers, keys.
const UNNAMED: &str = "naamloos9X";

/// Raw messages of Koha whose named columns carry the mark; some are refused.
fn marked_raw_lines() -> Vec<String> {
    let line = |topic: &str, row: &str| {
        format!(
            r#"{{"topic":"koha.{topic}","key":{{"{UNNAMED}":1}},"headers":[["token","{UNNAMED}"]],"value":{{"before":null,"after":{{{row},"password":"{UNNAMED}"}},"op":"c","source":{{"table":"x","{UNNAMED}":"{UNNAMED}"}}}}}}"#
        )
    };
    let borrower = |category: &str| {
        let names = ["cardnumber", "initials", "firstname", "middle_name", "surname", "email"];
        let named: String =
            names.iter().map(|name| format!(r#""{name}":"{CANARY}@example.org","#)).collect();
        let empty = ["sex", "phone", "mobile", "smsalertnumber", "address", "streetnumber"];
        let empty = empty.iter().chain(&["address2", "zipcode", "city", "updated_on"]);
        let empty: String = empty.map(|name| format!(r#""{name}":null,"#)).collect();
        let row = format!(
            r#"{named}{empty}"borrowernumber":17,"dateofbirth":10000,"dateenrolled":18000,"dateexpiry":40000,"branchcode":"DUIN","categorycode":"{category}","privacy":1,"anonymized":0"#
        );
        line("koha_library.borrowers", &row)
    };
    let loan = |issued: &str| {
        let row = format!(
            r#""issue_id":1,"borrowernumber":17,"itemnumber":9501,"branchcode":"DUIN","issuedate":{issued},"date_due":4000000000000,"returndate":null,"renewals_count":0"#
        );
        line("issues", &row)
    };
    vec![
        line(
            "koha_library.branches",
            &format!(r#""branchcode":"DUIN","branchname":"{CANARY}","marcorgcode":"NL-DuiBIB""#),
        ),
        line(
            "koha_library.categories",
            &format!(
                r#""categorycode":"VOL","description":"{CANARY}","enrolmentfee":null,"category_type":"A""#
            ),
        ),
        borrower("VOL"),
        borrower(CANARY),
        loan("1795000000000"),
        loan(&format!("\"{CANARY}\"")),
        loan(&format!("{{\"{UNNAMED}\":1}}")),
        format!("{UNNAMED} no json"),
    ]
}

/// What is converted in the same run says nothing of values, and what no mapping names stays
/// in the raw file.
#[test]
fn canary_of_raw_messages_is_in_no_log_and_no_unnamed_value_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let config = root.join("config");
    copy_dir(Path::new("config"), &config);
    enable_intake(&config, "koha-debezium");
    let config = config.to_str().unwrap();
    assert!(
        zeef_command(&["keys", "new", "--all", "--config", config])
            .output()
            .unwrap()
            .status
            .success()
    );
    let library = root.join("library");
    fs::create_dir_all(library.join("in")).unwrap();
    fs::create_dir_all(library.join("raw/koha-debezium")).unwrap();
    let raw = library.join("raw/koha-debezium/dump.ndjson");
    fs::write(&raw, marked_raw_lines().join("\n") + "\n").unwrap();
    let words = ["run", "--config", config, "--log-level", "trace", "--directory"];
    let run = zeef_command(&words).arg(&library).output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert_eq!(run.status.code(), Some(1), "something is refused: {said}");
    check_has_no_canary("what a run says", &said);
    assert!(!said.contains(UNNAMED), "{said}");
    let patrons = fs::read_to_string(library.join("in/patron.ndjson")).unwrap();
    assert!(patrons.contains(CANARY), "the canary never sang: {patrons}");
    for path in zeef_test_kit::config::files_below(&library) {
        let bytes = fs::read(&path).unwrap();
        let has_unnamed = String::from_utf8_lossy(&bytes).contains(UNNAMED);
        assert_eq!(has_unnamed, path == raw, "{}", path.display());
    }
}

/// Every file below `folder`, by its path.
fn files_by_path(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_by_path(&path));
        } else {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            found.insert(path.to_str().unwrap().to_owned(), text);
        }
    }
    found
}

/// A directory, and the log of what ran on it.
struct CanaryRuns<'a> {
    config: &'a str,
    root: &'a Path,
}

impl CanaryRuns<'_> {
    fn append_lines(&self, lines: &[MarkedLine]) {
        for line in lines {
            let path = self.root.join(format!("in/{}.ndjson", line.source));
            let mut file = fs::OpenOptions::new();
            let mut file = file.create(true).append(true).open(path).unwrap();
            file.write_all(line.to_ndjson().as_bytes()).unwrap();
        }
    }

    /// Runs to the end, and searches what it said.
    fn run_and_check(&self, all: &[MarkedPatron]) {
        let run = ["run", "--log-level", "trace", "--config", self.config];
        let ran = zeef_command(&run).arg("--directory").arg(self.root).output();
        let ran = ran.unwrap();
        let result = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{result}");
        assert!(result.contains("zeef starting"), "{result}");
        for &patron in all {
            assert_no_traces("what a run says", &result, patron);
        }
    }

    /// Runs, and is killed after `wait`, wherever it is then.
    fn kill_after(&self, wait: Duration) {
        let mut command = zeef_command(&["run", "--config", self.config]);
        command.arg("--directory").arg(self.root);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = KillOnDrop(command.spawn().unwrap());
        let until = Instant::now() + wait;
        while Instant::now() < until && running.0.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
    }

    /// What zeef wrote, by file.
    fn written_files(&self) -> BTreeMap<String, String> {
        let mut written = files_by_path(&self.root.join("out"));
        written.extend(files_by_path(&self.root.join(".zeef")));
        written
    }

    fn output_of(&self, recipient: &str) -> String {
        let party = if recipient == "legal-demand" { ".politie" } else { "" };
        let path = self.root.join(format!("out/{recipient}/out.{recipient}{party}.ndjson"));
        fs::read_to_string(path).unwrap()
    }
}

/// Of every kind of record one or more; a report on demands names no patron.
const RECIPIENTS: [&str; 9] = [
    "deurwaarder",
    "ill-library",
    "ill-library-contact",
    "kb-membership",
    "kb-recognition",
    "legal-demand",
    "reservation-slip",
    "service-message",
    "statistics",
];

#[test]
fn canary_of_erased_patron_is_in_no_directory_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    copy_dir(Path::new("config"), &config);
    enable_all_recipients(&config);
    remove_statistics_period(&config);
    let config = config.to_str().unwrap();
    let keys = zeef_command(&["keys", "new", "--all", "--config", config]).output();
    assert!(keys.unwrap().status.success());
    let runs = CanaryRuns { config, root: &folder.path().join("nightly") };
    fs::create_dir_all(runs.root.join("in")).unwrap();

    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let today = today.date();
    let all: Vec<MarkedPatron> = (0..8).map(MarkedPatron).collect();
    // Two have no record of their own yet, so what is theirs is held.
    let (known, held) = all.split_at(6);
    let (erased, kept) = known.split_at(3);
    for patron in &all {
        runs.append_lines(&patron.record_lines(today));
    }
    for patron in known {
        runs.append_lines(&[patron.patron_line()]);
    }
    runs.run_and_check(&all);
    for recipient in RECIPIENTS {
        for patron in known {
            let output = runs.output_of(recipient);
            assert!(output.contains(&patron.marker()), "{recipient} {patron:?}");
        }
    }
    let outputs: String = RECIPIENTS.iter().map(|one| runs.output_of(one)).collect();
    let mut marks = known[0].distinctive_values();
    marks.retain(|mark| outputs.contains(mark));
    assert_eq!(marks.len(), 15, "found in outputs: {marks:?}");
    let dead_letters = runs
        .written_files()
        .remove(runs.root.join("out/zeef/zeef.dead-letters.ndjson").to_str().unwrap());
    assert!(dead_letters.unwrap().lines().count() >= 5 * all.len());

    // Another name first, and two versions of one patron nobody can read.
    let unreadable = MarkedLine {
        value: Some(format!("[\"{}\"]", erased[1].marker())),
        ..erased[1].erasure_line()
    };
    runs.append_lines(&[erased[0].patron_line_with_surname_suffix(" anders"), unreadable]);
    runs.append_lines(&[kept[0].patron_line_with_surname_suffix(" anders")]);
    runs.run_and_check(&all);
    assert!(runs.output_of("service-message").contains(" anders"));
    let gone: Vec<MarkedPatron> = erased.iter().chain(&held[..1]).copied().collect();
    let lines: Vec<MarkedLine> = gone.iter().map(|patron| patron.erasure_line()).collect();
    runs.append_lines(&lines);
    for round in 0..12 {
        runs.kill_after(Duration::from_millis(20 + round * 10));
    }
    runs.run_and_check(&all);

    for (name, text) in runs.written_files() {
        for &patron in &gone {
            assert_no_traces(&name, &text, patron);
        }
    }
    for recipient in RECIPIENTS {
        for patron in kept {
            let output = runs.output_of(recipient);
            assert!(output.contains(&patron.marker()), "{recipient} {patron:?}");
        }
    }

    // The one that is held still comes, and it is as if nothing had been. Of one who
    // was erased and is back counts what is written from then on.
    runs.append_lines(&[held[1].patron_line(), gone[0].patron_line()]);
    runs.run_and_check(&all);
    for recipient in RECIPIENTS {
        let output = runs.output_of(recipient);
        assert!(output.contains(&held[1].marker()), "{recipient}");
        let own = recipient.starts_with("kb-");
        assert_eq!(output.contains(&gone[0].marker()), own, "{recipient}");
    }
    runs.append_lines(&gone[0].record_lines(today));
    runs.run_and_check(&all);
    for recipient in RECIPIENTS {
        let output = runs.output_of(recipient);
        assert!(output.contains(&gone[0].marker()), "{recipient}");
    }
}

/// Lines with the mark in every key and value, damaged at many places, so that none is
/// a record any more.
fn damaged_lines() -> Vec<Vec<u8>> {
    const INSERTIONS: [&[u8]; 9] =
        [b"\"", b"\\", b"{", b"}", b"[", b"\xff", b"\0", b"\xed\xa0\x80", b"\\ud800"];
    let mut damaged = Vec::new();
    for (source, lines) in marked_lines_by_source() {
        for line in &lines {
            let rest = line.get(1..).unwrap_or_default();
            let line = format!("{{\"source\":\"{source}\",{rest}").into_bytes();
            for at in (1..line.len()).step_by(3) {
                let (before, after) = line.split_at(at);
                damaged.push(before.to_vec());
                let put_in = INSERTIONS[at % INSERTIONS.len()];
                damaged.push([before, put_in, after].concat());
                // One half of it stands before the other.
                damaged.push([after, before].concat());
            }
        }
    }
    let is_whole = |line: &[u8]| serde_json::from_slice::<serde_json::Value>(line).is_ok();
    damaged.retain(|line| !is_whole(line));
    damaged
}

/// Runs a command that reads lines, and checks that neither what it says nor what it
/// writes has the mark; says how it ended.
#[track_caller]
fn run_with_stdin(words: &[&str], input: &[u8]) -> (Option<i32>, String) {
    let mut command = zeef_command(words);
    command.env("RUST_BACKTRACE", "1");
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = pipes.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // What refuses its input need not have read it.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let result = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let err = String::from_utf8_lossy(&result.stderr).into_owned();
    check_has_no_canary(&format!("stderr of {words:?}"), &err);
    check_has_no_canary(&format!("stdout of {words:?}"), &String::from_utf8_lossy(&result.stdout));
    (result.status.code(), err)
}

#[test]
fn canary_of_unparsable_line_is_never_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    copy_dir(Path::new("config"), &config);
    let config = config.to_str().unwrap();
    let keys = zeef_command(&["keys", "new", "--all", "--config", config]).output();
    assert!(keys.unwrap().status.success());
    let damaged = damaged_lines();
    assert!(damaged.len() > 2_000, "{}", damaged.len());
    let is_gate = |line: &[u8]| line.starts_with(b"{\"source\":\"consent\"");
    // A consent that cannot be read stops a run, so each stands alone.
    let (gates, others): (Vec<_>, Vec<_>) = damaged.iter().partition(|line| is_gate(line));
    let mut ended = std::collections::BTreeSet::new();
    for command in [
        "project",
        "project --in-order",
        "project --recipient statistics",
        "bench --records - --source loan --rounds 1",
    ] {
        let words = command.split(' ').chain(["--config", config]);
        let command: Vec<&str> = words.collect();
        let lines: Vec<&[u8]> = others.iter().map(|line| line.as_slice()).collect();
        let (code, err) = run_with_stdin(&command, &lines.join(&b"\n"[..]));
        assert!(code.is_some() && !err.contains("panicked"), "{err}");
        ended.insert(code);
        for line in gates.iter().step_by(17) {
            ended.insert(run_with_stdin(&command, line).0);
        }
        // Nor is what is no source, or a record that is quite another one.
        for line in [
            format!(r#"{{"source":"{CANARY}","key":"{CANARY}","value":{{}}}}"#),
            format!(r#"{{"source":["{CANARY}"],"key":"{CANARY}","value":{{}}}}"#),
            format!(r#"{{"source":"loan","key":{{"{CANARY}":1}},"value":"{CANARY}"}}"#),
            format!(r#"{{"{CANARY}":"loan"}}"#),
            CANARY.to_owned(),
        ] {
            ended.insert(run_with_stdin(&command, line.as_bytes()).0);
        }
    }
    assert!(ended.contains(&Some(0)) && ended.contains(&Some(2)), "{ended:?}");
}
