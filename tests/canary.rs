//! Invariant 5: no value of a record in anything the process says of itself. And
//! none of an erased patron in anything that lies in a directory.
//!
//! Marked patrons' values go through every way a record can take, good and
//! bad; then everything that the process wrote, but for the outputs, is
//! searched for the marks. After an erasure the outputs are searched, too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]

mod common;
#[path = "common/marked.rs"]
mod marked;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{copy_folder, publish_at_once, switch_on};
use marked::{Line, Marked, expect_nothing};

/// A word that stands in every value of the marked records.
const CANARY: &str = "kanarie7Q";

/// Lines per source; each carries the mark, some cannot be read.
fn sources() -> Vec<(&'static str, Vec<String>)> {
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
                line(&key, &loan(&format!(r#","due_on":["{CANARY}"]"#))),
                line(
                    &key,
                    &loan(&format!(r#","branch":"{CANARY}","branch":"{CANARY}""#)),
                ),
                line(
                    &format!("{CANARY}-nobody"),
                    &loan("").replace("-p", "-nobody"),
                ),
                line(&key, "null"),
                line(&key, &format!("\"{CANARY}\"")),
                line(
                    &key,
                    &format!("{}\"{CANARY}\"{}", "[".repeat(70), "]".repeat(70)),
                ),
                format!(r#"{{"key":"{key}","value":"{CANARY}","value":1}}"#),
                format!(r#"{{"key":"{key}"}}"#),
                format!(r#"{{"key":["{CANARY}"],"value":{}}}"#, loan("")),
                format!(r#"{{"key":"{key}","value":{{"{CANARY}":tru}}}}"#),
            ],
        ),
        (
            "consent",
            vec![line(&key, &format!(r#"{{"consent_id":"{CANARY}"}}"#))],
        ),
    ]
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn zeef(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeef"));
    command.args(arguments);
    command
}

fn fetch(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[track_caller]
fn check(what: &str, text: &str) {
    if let Some(at) = text.find(CANARY) {
        let start = text[..at].rfind('\n').map_or(0, |line| line + 1);
        let end = text[at..].find('\n').map_or(text.len(), |line| at + line);
        panic!("{what} carries a value of a record: {}", &text[start..end]);
    }
}

#[test]
fn nothing_the_process_says_carries_a_value() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let config = root.join("config");
    copy_folder(Path::new("config"), &config);
    let config = config.to_str().unwrap();
    let keys = zeef(&["keys", "new", "--all", "--config", config])
        .output()
        .unwrap();
    assert!(
        keys.status.success(),
        "{}",
        String::from_utf8_lossy(&keys.stderr)
    );
    fs::create_dir(root.join("in")).unwrap();
    let mut all = String::new();
    for (source, lines) in sources() {
        for line in &lines {
            all += &format!(
                "{{\"source\":\"{source}\",{}\n",
                line.get(1..).unwrap_or_default()
            );
        }
        let mut text = lines.join("\n").into_bytes();
        // A gate's line that names nobody would stop the lane.
        text.extend_from_slice(format!("\n{{\"key\":\"{CANARY}-k\",").as_bytes());
        text.push(0xff);
        text.extend_from_slice(CANARY.as_bytes());
        text.push(b'\n');
        fs::write(root.join(format!("in/{source}.ndjson")), text).unwrap();
    }

    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let log = fs::File::create(root.join("log")).unwrap();
    let child = zeef(&[
        "run",
        "--follow",
        "--log-level",
        "trace",
        "--config",
        config,
    ])
    .args([
        "--directory",
        root.to_str().unwrap(),
        "--admin",
        &format!("127.0.0.1:{port}"),
    ])
    .env("RUST_BACKTRACE", "1")
    .stdout(log.try_clone().unwrap())
    .stderr(log)
    .stdin(Stdio::null())
    .spawn()
    .unwrap();
    let running = Running(child);
    let taken = |metrics: &str| -> f64 {
        metrics
            .lines()
            .filter(|line| line.starts_with("zeef_records_consumed_total{"))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    };
    let wanted: usize = sources().iter().map(|(_, lines)| lines.len() + 1).sum();
    let deadline = Instant::now() + Duration::from_secs(30);
    let metrics = loop {
        let metrics = fetch(port, "/metrics").unwrap_or_default();
        if taken(&metrics) >= wanted as f64 {
            break metrics;
        }
        let log = fs::read_to_string(root.join("log")).unwrap_or_default();
        assert!(
            Instant::now() < deadline,
            "{wanted} records were not taken in: {metrics} {log}"
        );
        std::thread::yield_now();
    };
    let health = fetch(port, "/health/ready").unwrap();
    drop(running);

    let log = fs::read_to_string(root.join("log")).unwrap();
    assert!(log.contains("zeef starts"), "{log}");
    check("the log", &log);
    check("/metrics", &metrics);
    check("/health/ready", &health);
    let letters = fs::read_to_string(root.join("out/zeef/zeef.dead-letters.ndjson")).unwrap();
    assert!(letters.lines().count() > 12, "{letters}");
    check("a dead letter", &letters);
    let slips =
        fs::read_to_string(root.join("out/service-message/out.service-message.ndjson")).unwrap();
    assert!(slips.contains(CANARY), "the canary never sang: {slips}");
    for entry in fs::read_dir(root.join(".zeef")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            check(
                "the transport's own file",
                &String::from_utf8_lossy(&fs::read(path).unwrap()),
            );
        }
    }

    let mut project = zeef(&["project", "--config", config])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    project
        .stdin
        .take()
        .unwrap()
        .write_all(all.as_bytes())
        .unwrap();
    let said = project.wait_with_output().unwrap();
    check(
        "what project says on stderr",
        &String::from_utf8_lossy(&said.stderr),
    );
}

/// Every file below `folder`, by its path.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            found.insert(path.to_str().unwrap().to_owned(), text);
        }
    }
    found
}

/// A directory, and the log of what ran on it.
struct Nightly<'a> {
    config: &'a str,
    root: &'a Path,
}

impl Nightly<'_> {
    fn append(&self, lines: &[Line]) {
        for line in lines {
            let path = self.root.join(format!("in/{}.ndjson", line.source));
            let mut file = fs::OpenOptions::new();
            let mut file = file.create(true).append(true).open(path).unwrap();
            file.write_all(line.text().as_bytes()).unwrap();
        }
    }

    /// Runs to the end, and searches what it said.
    fn run(&self, all: &[Marked]) {
        let run = ["run", "--log-level", "trace", "--config", self.config];
        let ran = zeef(&run).arg("--directory").arg(self.root).output();
        let ran = ran.unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{said}");
        assert!(said.contains("zeef starts"), "{said}");
        for &patron in all {
            expect_nothing("what a run says", &said, patron);
        }
    }

    /// Runs, and is killed after `wait`, wherever it is then.
    fn kill(&self, wait: Duration) {
        let mut command = zeef(&["run", "--config", self.config]);
        command.arg("--directory").arg(self.root);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = Running(command.spawn().unwrap());
        let until = Instant::now() + wait;
        while Instant::now() < until && running.0.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
    }

    /// What zeef wrote, by file.
    fn written(&self) -> BTreeMap<String, String> {
        let mut written = files(&self.root.join("out"));
        written.extend(files(&self.root.join(".zeef")));
        written
    }

    fn output(&self, recipient: &str) -> String {
        let path = self
            .root
            .join(format!("out/{recipient}/out.{recipient}.ndjson"));
        fs::read_to_string(path).unwrap()
    }
}

const RECIPIENTS: [&str; 8] = [
    "deurwaarder",
    "ill-library",
    "ill-library-contact",
    "kb-membership",
    "kb-recognition",
    "reservation-slip",
    "service-message",
    "statistics",
];

#[test]
fn nothing_of_an_erased_patron_stays_in_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    copy_folder(Path::new("config"), &config);
    switch_on(&config);
    publish_at_once(&config);
    let config = config.to_str().unwrap();
    let keys = zeef(&["keys", "new", "--all", "--config", config]).output();
    assert!(keys.unwrap().status.success());
    let nightly = Nightly {
        config,
        root: &folder.path().join("nightly"),
    };
    fs::create_dir_all(nightly.root.join("in")).unwrap();

    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let today = today.date();
    let all: Vec<Marked> = (0..8).map(Marked).collect();
    // Two have no record of their own yet, so what is theirs is held.
    let (known, held) = all.split_at(6);
    let (erased, kept) = known.split_at(3);
    for patron in &all {
        nightly.append(&patron.records(today));
    }
    for patron in known {
        nightly.append(&[patron.patron()]);
    }
    nightly.run(&all);
    for recipient in RECIPIENTS {
        for patron in known {
            let output = nightly.output(recipient);
            assert!(output.contains(&patron.mark()), "{recipient} {patron:?}");
        }
    }
    let outputs: String = RECIPIENTS.iter().map(|one| nightly.output(one)).collect();
    let mut marks = known[0].marks();
    marks.retain(|mark| outputs.contains(mark));
    assert_eq!(marks.len(), 15, "found in outputs: {marks:?}");
    let letters = nightly.written().remove(
        nightly
            .root
            .join("out/zeef/zeef.dead-letters.ndjson")
            .to_str()
            .unwrap(),
    );
    assert!(letters.unwrap().lines().count() >= 5 * all.len());

    // Another name first, and two versions of one patron nobody can read.
    let unreadable = Line {
        value: Some(format!("[\"{}\"]", erased[1].mark())),
        ..erased[1].erased()
    };
    nightly.append(&[erased[0].patron_named(" anders"), unreadable]);
    nightly.append(&[kept[0].patron_named(" anders")]);
    nightly.run(&all);
    assert!(nightly.output("service-message").contains(" anders"));
    let gone: Vec<Marked> = erased.iter().chain(&held[..1]).copied().collect();
    let lines: Vec<Line> = gone.iter().map(|patron| patron.erased()).collect();
    nightly.append(&lines);
    for round in 0..12 {
        nightly.kill(Duration::from_millis(20 + round * 10));
    }
    nightly.run(&all);

    for (name, text) in nightly.written() {
        for &patron in &gone {
            expect_nothing(&name, &text, patron);
        }
    }
    for recipient in RECIPIENTS {
        for patron in kept {
            let output = nightly.output(recipient);
            assert!(output.contains(&patron.mark()), "{recipient} {patron:?}");
        }
    }

    // The one that is held still comes, and it is as if nothing had been. Of one who
    // was erased and is back counts what is written from then on.
    nightly.append(&[held[1].patron(), gone[0].patron()]);
    nightly.run(&all);
    for recipient in RECIPIENTS {
        let output = nightly.output(recipient);
        assert!(output.contains(&held[1].mark()), "{recipient}");
        let own = recipient.starts_with("kb-");
        assert_eq!(output.contains(&gone[0].mark()), own, "{recipient}");
    }
    nightly.append(&gone[0].records(today));
    nightly.run(&all);
    for recipient in RECIPIENTS {
        let output = nightly.output(recipient);
        assert!(output.contains(&gone[0].mark()), "{recipient}");
    }
}

/// Lines with the mark in every key and value, damaged at many places, so that none is
/// a record any more.
fn damaged() -> Vec<Vec<u8>> {
    const PUT_IN: [&[u8]; 9] = [
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"\xff",
        b"\0",
        b"\xed\xa0\x80",
        b"\\ud800",
    ];
    let mut damaged = Vec::new();
    for (source, lines) in sources() {
        for line in &lines {
            let rest = line.get(1..).unwrap_or_default();
            let line = format!("{{\"source\":\"{source}\",{rest}").into_bytes();
            for at in (1..line.len()).step_by(3) {
                let (before, after) = line.split_at(at);
                damaged.push(before.to_vec());
                let put_in = PUT_IN[at % PUT_IN.len()];
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
fn reads(words: &[&str], input: &[u8]) -> (Option<i32>, String) {
    let mut command = zeef(words);
    command.env("RUST_BACKTRACE", "1");
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = pipes.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // What refuses its input need not have read it.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let said = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let err = String::from_utf8_lossy(&said.stderr).into_owned();
    check(&format!("stderr of {words:?}"), &err);
    check(
        &format!("stdout of {words:?}"),
        &String::from_utf8_lossy(&said.stdout),
    );
    (said.status.code(), err)
}

#[test]
fn nothing_that_cannot_be_read_is_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    copy_folder(Path::new("config"), &config);
    let config = config.to_str().unwrap();
    let keys = zeef(&["keys", "new", "--all", "--config", config]).output();
    assert!(keys.unwrap().status.success());
    let damaged = damaged();
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
        let (code, err) = reads(&command, &lines.join(&b"\n"[..]));
        assert!(code.is_some() && !err.contains("panicked"), "{err}");
        ended.insert(code);
        for line in gates.iter().step_by(17) {
            ended.insert(reads(&command, line).0);
        }
        // Nor is what is no source, or a record that is quite another one.
        for line in [
            format!(r#"{{"source":"{CANARY}","key":"{CANARY}","value":{{}}}}"#),
            format!(r#"{{"source":["{CANARY}"],"key":"{CANARY}","value":{{}}}}"#),
            format!(r#"{{"source":"loan","key":{{"{CANARY}":1}},"value":"{CANARY}"}}"#),
            format!(r#"{{"{CANARY}":"loan"}}"#),
            CANARY.to_owned(),
        ] {
            ended.insert(reads(&command, line.as_bytes()).0);
        }
    }
    assert!(
        ended.contains(&Some(0)) && ended.contains(&Some(2)),
        "{ended:?}"
    );
}
