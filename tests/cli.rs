//! The commands, as people start them: the built binary, its words and its exit codes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the helpers of tests are tests too"
)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use common::shipped_config;

/// How a command ended, and what it said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

fn said(output: Output) -> Said {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Said {
        code: output.status.code().expect("an exit code"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

fn zeef() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeef"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("RUST_LOG")
        .env_remove("COLUMNS")
        .env_remove("ZEEF_CONFIG")
        .env_remove("ZEEF_BROKERS");
    command
}

fn run(arguments: &[&str]) -> Said {
    said(zeef().args(arguments).output().expect("zeef runs"))
}

fn run_with(arguments: &[&str], input: &[u8]) -> Said {
    let mut child = zeef()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("zeef runs");
    let mut stdin = child.stdin.take().expect("stdin");
    // A command that refuses its arguments reads nothing.
    let _ = stdin.write_all(input);
    drop(stdin);
    said(child.wait_with_output().expect("zeef ends"))
}

#[track_caller]
fn check(said: &Said, code: i32, want: &[&str]) {
    let all = format!("{}{}", said.out, said.err);
    assert_eq!(said.code, code, "{all}");
    for want in want {
        assert!(all.contains(want), "no {want:?} in:\n{all}");
    }
}

fn path(folder: &TempDir) -> &str {
    folder.path().to_str().expect("a path")
}

fn edit(folder: &TempDir, file: &str, from: &str, to: &str) {
    let path = folder.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn help_teaches_and_a_wrong_word_is_exit_2() {
    check(
        &run(&["--help"]),
        0,
        &["Exit codes", "75  another instance", "zeef demo"],
    );
    check(&run(&["nonsense"]), 2, &["unrecognized subcommand"]);
    check(&run(&["chekc"]), 2, &["similar", "check"]);
    check(&run(&[]), 2, &["Usage"]);
    check(&run(&["--version"]), 0, &["zeef 0."]);
    for command in [
        "check",
        "compact",
        "list",
        "project",
        "explain",
        "generate",
        "bench",
        "demo",
        "gates",
        "holds",
        "keys",
        "lanes",
        "completions",
    ] {
        check(&run(&[command, "--help"]), 0, &["Usage: zeef"]);
    }
    check(&run(&["completions", "bash"]), 0, &["complete", "zeef"]);
}

#[test]
fn check_tells_what_the_shipped_policy_says() {
    let said = run(&["check"]);
    check(
        &said,
        0,
        &[
            "config is fine",
            "policy  ",
            "lane    main",
            "kb-membership",
            "consent",
            "F05",
        ],
    );
    assert!(!said.out.contains('\u{1b}'), "colours in a pipe");
    let folder = shipped_config();
    check(
        &run(&["check", "--config", path(&folder)]),
        0,
        &["zeef keys new --all"],
    );
}

#[test]
fn check_tells_every_mistake_of_every_file() {
    let folder = shipped_config();
    edit(
        &folder,
        "recipients/reservation-slip.toml",
        "patron.surname",
        "patron.surnam",
    );
    edit(
        &folder,
        "recipients/statistics.toml",
        "legal_basis",
        "legal_bases",
    );
    edit(&folder, "zeef.toml", "[batch]", "[batches]");
    let said = run(&["check", "--config", path(&folder)]);
    check(
        &said,
        78,
        &[
            "recipients/reservation-slip.toml:",
            "did you mean `patron.surname`?",
            "recipients/statistics.toml:",
            "did you mean `legal_basis`?",
            "zeef.toml:",
            "did you mean `batch`?",
            "mistakes in the config",
        ],
    );
    assert_eq!(said.out, "");
}

#[test]
fn a_config_that_is_not_there_is_told_with_what_to_do() {
    check(
        &run(&["check", "--config", "/nowhere"]),
        78,
        &[
            "there is no folder `/nowhere`: expected one with zeef.toml",
            "ZEEF_CONFIG",
        ],
    );
    let empty = tempfile::tempdir().unwrap();
    let here = said(
        zeef()
            .arg("check")
            .current_dir(empty.path())
            .output()
            .unwrap(),
    );
    check(
        &here,
        78,
        &["there is no folder `config` here (/", "--config DIR"],
    );
    let folder = shipped_config();
    let named = zeef()
        .arg("check")
        .current_dir(empty.path())
        .env("ZEEF_CONFIG", folder.path())
        .output()
        .unwrap();
    check(&said(named), 0, &["is fine"]);
    fs::write(empty.path().join("config"), "").unwrap();
    let file = said(
        zeef()
            .arg("check")
            .current_dir(empty.path())
            .output()
            .unwrap(),
    );
    check(&file, 78, &["`config` is no folder"]);
    for command in [
        "list recipients",
        "keys list",
        "explain statistics",
        "project",
    ] {
        let words: Vec<_> = command.split(' ').chain(["--config", "/nowhere"]).collect();
        check(&run_with(&words, b""), 78, &["there is no folder"]);
    }
}

#[test]
fn check_finds_what_run_finds() {
    let folder = shipped_config();
    let with = |settings: &str| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/zeef.toml");
        let text = fs::read_to_string(root).unwrap();
        fs::write(
            folder.path().join("zeef.toml"),
            text.replace("[kafka.properties]", settings),
        )
        .unwrap();
        run(&["check", "--config", path(&folder)])
    };
    check(
        &with("[kafka.properties]\nsasl.mechansim = \"PLAIN\"\nacks = 1\nsasl.username = \"x\""),
        78,
        &[
            "zeef.toml:18: property `sasl.mechansim` is unknown to librdkafka: did you mean \
             `sasl.mechanism`?",
            "zeef.toml:19: property `acks` cannot be set: ",
        ],
    );
    check(
        &with("[kafka.properties]\nsasl.password = { env = \"ZEEF_TEST_UNSET\" }"),
        78,
        &[
            "zeef.toml:18: property `sasl.password`: environment variable ZEEF_TEST_UNSET is not set",
        ],
    );
    check(
        &with("[kafka.properties]\nsasl.password = { file = \"absent\" }"),
        78,
        &[
            "zeef.toml:18: property `sasl.password`: file ",
            "absent cannot be read",
        ],
    );
    check(
        &with("[kafka.properties]\nssl.ca.location = \"/nowhere/ca.pem\""),
        78,
        &["zeef.toml:18: property `ssl.ca.location` names what cannot be read"],
    );
    check(
        &with("[kafka.properties]\nsecurity.protocol = \"SASL_SSL\"\nsasl.mechanism = \"NO\""),
        78,
        &["librdkafka can make no client"],
    );
    let open = with("brokers = \"kafka.example.org:9092\"\n[kafka.properties]");
    check(&open, 0, &["kafka.example.org:9092: not encrypted"]);
    let shipped = with("[kafka.properties]");
    check(
        &shipped,
        0,
        &[
            "`controller` is still a placeholder in deurwaarder, ",
            "`contact` is still a placeholder",
        ],
    );
    assert!(!shipped.out.contains("not encrypted"), "{}", shipped.out);
}

#[test]
fn what_decides_beside_the_fields_is_listed() {
    let list = run(&["list", "recipients"]);
    let text = list.out.split_whitespace().collect::<Vec<_>>().join(" ");
    for want in [
        "looks at status (whole, as a condition)",
        "patron.loan_history (one bit, in a gate)",
        "patron.given_name (a part, beside initial)",
        "online_account.created_at (one bit, as the event that implies consent)",
        "loaned_at (one bit, as the start of the term)",
        "card_kind (one bit, left out of card_number)",
    ] {
        assert!(text.contains(want), "no {want} in {text}");
    }
    let json = run(&["list", "recipients", "--json"]);
    let all: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    let slip = all.as_array().unwrap().iter();
    let slip = slip
        .clone()
        .find(|one| one["name"] == "reservation-slip")
        .unwrap();
    let surname = serde_json::json!({
        "field": "patron.surname",
        "class": "personal",
        "seen": "a part",
        "how": "in shelf_mark",
    });
    assert!(
        slip["influences"].as_array().unwrap().contains(&surname),
        "{slip:#}"
    );
}

#[test]
fn a_key_that_the_config_names_has_to_be_there() {
    let folder = shipped_config();
    edit(
        &folder,
        "zeef.toml",
        "# statistics = { file = \"/run/secrets/statistics.key\" }",
        "statistics = { env = \"ZEEF_TEST_UNSET\" }",
    );
    let words = ["check", "--config", path(&folder)];
    let absent = run(&words);
    check(
        &absent,
        78,
        &[
            "ZEEF_TEST_UNSET is not set; put a key into it: one line",
            "1 key cannot",
        ],
    );
    assert!(!absent.err.contains("keys new"), "{}", absent.err);
    let list = run(&["keys", "list", "--config", path(&folder)]);
    check(
        &list,
        1,
        &[
            "ZEEF_TEST_UNSET is not set; put a key into it",
            "zeef keys new --all",
        ],
    );
    let key = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    let there = zeef()
        .args(words)
        .env("ZEEF_TEST_UNSET", key)
        .output()
        .unwrap();
    check(&said(there), 0, &["is fine"]);
}

#[test]
fn papers_that_end_are_noted_and_stop_no_check() {
    let folder = shipped_config();
    let paper = |from: &str, until: &str, approved: &str| {
        let lines = format!(
            "authorisation = {{ reference = \"A-1\", approved_by = \"DPO\", approved_on = {approved}, \
             from = {from}, until = {until} }}\nsource       = \"loan\""
        );
        fs::copy(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("config/recipients/service-message.toml"),
            folder.path().join("recipients/service-message.toml"),
        )
        .unwrap();
        edit(
            &folder,
            "recipients/service-message.toml",
            "source       = \"loan\"",
            &lines,
        );
        let said = run(&["check", "--config", path(&folder)]);
        check(&said, 0, &["is fine"]);
        said.out.replace('\n', " ")
    };
    let lapsed = paper("2020-01-01", "2020-12-31", "2020-01-01");
    assert!(lapsed.contains("no longer in force"), "{lapsed}");
    let early = paper("2020-01-01", "2099-12-31", "2099-01-01");
    assert!(
        early.contains("(2099-01-01 to 2099-12-31) not in force yet"),
        "{early}"
    );
    let sound = paper("2020-01-01", "2099-12-31", "2020-01-01");
    assert!(!sound.contains("in force"), "{sound}");
}

#[test]
fn lists_are_tables_for_people_and_json_for_programs() {
    for (what, want) in [
        ("recipients", "kb-recognition"),
        ("masks", "first_letters"),
        ("detectors", "rijksregisternummer"),
        ("fields", "items[].due_on"),
        ("rules", "consent-gate"),
        ("reasons", "objection_marketing"),
    ] {
        let table = run(&["list", what]);
        check(&table, 0, &[want]);
        let json = run(&["list", what, "--json"]);
        check(&json, 0, &[want]);
        let json: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
        assert!(json.as_array().is_some_and(|list| list.len() > 3), "{what}");
        let narrow = said(
            zeef()
                .args(["list", what])
                .env("COLUMNS", "80")
                .output()
                .unwrap(),
        );
        let widest = narrow.out.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{what} is {widest:?} wide");
    }
    let fields = run(&["list", "fields", "consent"]);
    check(&fields, 0, &["consent_id", "CLASS", "MEANING"]);
    assert!(!fields.out.contains("loan_id"));
    check(
        &run(&["list", "fields", "patrn"]),
        2,
        &["did you mean `patron`?"],
    );
    for (words, want) in [
        ("masks yaer", "unknown mask `yaer`: did you mean `year`?"),
        ("recipients statistic", "did you mean `statistics`?"),
        ("detectors mail", "unknown detector `mail`"),
        ("rules consent", "unknown rule `consent`"),
        ("reasons lapse", "did you mean `lapsed`?"),
        ("objections one", "takes no name"),
    ] {
        let words: Vec<_> = ["list"].into_iter().chain(words.split(' ')).collect();
        check(&run(&words), 2, &[want]);
    }
}

/// Everything that can be listed can be listed alone, by the name that the list has.
#[test]
fn each_entry_of_a_list_can_be_shown_alone() {
    let json = |words: &[&str]| -> Vec<serde_json::Value> {
        let said = run(&[&["list"], words, &["--json"]].concat());
        check(&said, 0, &[]);
        serde_json::from_str(&said.out).expect("JSON")
    };
    for what in [
        "recipients",
        "masks",
        "detectors",
        "fields",
        "rules",
        "reasons",
    ] {
        let all = json(&[what]);
        for one in [&all[0], &all[all.len() - 1]] {
            let name = one["name"].as_str().or(one["kind"].as_str()).unwrap();
            assert_eq!(
                json(&[what, name]),
                std::slice::from_ref(one),
                "{what} {name}"
            );
            let table = run(&["list", what, name]);
            check(&table, 0, &[name]);
        }
    }
    let slip = run(&["list", "recipients", "reservation-slip"]);
    let title = slip.out.lines().find(|line| line.contains("item.title  "));
    assert!(
        title.is_some_and(|line| line.ends_with("in full")),
        "{}",
        slip.out
    );
    assert!(!slip.out.contains("kb-recognition"), "{}", slip.out);
    let off = run(&["list", "recipients", "ill-library-contact"]);
    check(&off, 0, &["ill-library-contact (switched off)"]);
}

/// What `zeef topics --acls` writes is a script of Kafka's own tool, and nobody is asked.
#[test]
fn rights_are_commands_that_can_be_pasted() {
    let words = [
        "topics",
        "--acls",
        "--brokers",
        "kafka-1.example.org:1,kafka-2.example.org:1",
    ];
    let said = run(&words);
    check(
        &said,
        0,
        &[
            "# its consumer groups are called ill-library.NAME",
            "--operation Read --group ill-library. --resource-pattern-type prefixed",
            "User:statistics --operation Read --operation Describe --topic out.statistics",
            "read_committed",
        ],
    );
    let start = "kafka-acls.sh --bootstrap-server kafka-1.example.org:1,kafka-2.example.org:1 \
                 --add --allow-principal User:";
    let commands = said.out.lines().filter(|line| !line.is_empty());
    let mut commands = commands.filter(|line| !line.starts_with('#')).peekable();
    assert!(commands.peek().is_some());
    for command in commands {
        assert!(command.starts_with(start), "{command}");
    }
    check(
        &run(&["topics", "--acls", "--apply"]),
        2,
        &["cannot be used with"],
    );
    let folder = shipped_config();
    edit(
        &folder,
        "zeef.toml",
        "# security.protocol = \"SASL_SSL\"",
        "\"security.protocol\" = \"SSL\"",
    );
    let locked = run(&["topics", "--acls", "--config", path(&folder)]);
    check(&locked, 0, &[" --command-config admin.properties --add "]);
}

#[test]
fn a_recipient_is_shown_with_its_gates_and_papers() {
    let folder = shipped_config();
    edit(
        &folder,
        "recipients/service-message.toml",
        "legal_basis  = \"contract\"",
        "legal_basis = \"legitimate_interest\"\nrole = \"processor\"\nmarketing = true\nagreement = { reference \
         = \"A-1\", clauses = [\"use\", \"security\", \"confidentiality\"], from = \"2020-01-01\", until \
         = \"2020-12-31\", after = \"retract\" }",
    );
    let list = |words: &[&str]| {
        let all = [&["list", "recipients", "--config", path(&folder)], words].concat();
        run(&all)
    };
    check(
        &list(&[]),
        0,
        &[
            "in order  reminded_at, and not before it invoiced_at, then referred_at",
            "written or digital consent for online-library, implied by online_account.created_at",
            "the patron objects to direct marketing, once and for ever; or objects for special \
             circumstances, to service-message or to all",
            "A-1, in force from 2020-01-01 to 2020-12-31, with clauses on use, security, \
             confidentiality; outside of that nothing is sent, and what it has is taken back",
            "at most until 2 years after the end of the membership",
        ],
    );
    let json: serde_json::Value = serde_json::from_str(&list(&["--json"]).out).expect("JSON");
    let one = json.as_array().and_then(|all| {
        let mut all = all.iter();
        all.find(|one| one["name"] == "service-message")
    });
    let one = one.expect("the recipient");
    assert_eq!(one["agreement"]["after"], "retract");
    assert_eq!(one["marketing"], true);
    // Its agreement ended: a run goes on without it, and says so.
    check(
        &run(&["keys", "new", "--all", "--config", path(&folder)]),
        0,
        &[],
    );
    let work = folder.path().join("work");
    fs::create_dir_all(work.join("in")).unwrap();
    let words = ["run", "--config", path(&folder), "--directory"];
    let told = run(&[&words[..], &[work.to_str().unwrap()]].concat());
    check(
        &told,
        0,
        &["agreement no longer in force", "service-message", "A-1"],
    );
}

#[test]
fn objections_that_leave_a_recipient_are_listed_by_where_they_lie() {
    let folder = shipped_config();
    let work = folder.path().join("work");
    fs::create_dir_all(work.join("in")).unwrap();
    let objection = |patron: &str, id: &str, rest: &str| {
        format!(
            r#"{{"key":"{patron}","value":{{"patron_id":"{patron}","library":"NL-A","objection_id":"{id}",{rest}}}}}"#
        )
    };
    let special = |status: &str, purpose: &str| {
        format!(r#""kind":"special_circumstances","status":"{status}","purpose":"{purpose}""#)
    };
    let lines = [
        objection("p1", "a", &special("lodged", "pickup")),
        objection("p1", "b", &special("lodged", "statistics")),
        objection("p2", "a", &special("upheld", "debt-collection")),
        objection("p2", "b", r#""kind":"direct_marketing""#),
        objection("p3", "a", &special("lodged", "pickup")),
        objection("p3", "a", &special("dismissed", "pickup")),
        "no line".to_owned(),
    ];
    let offset: usize = lines[..2].iter().map(|line| line.len() + 1).sum();
    fs::write(work.join("in/objection.ndjson"), lines.join("\n") + "\n").unwrap();
    let list = |words: &[&str]| {
        let words = [&["list", "objections", "--config", path(&folder)], words].concat();
        run(&[&words[..], &["--directory", work.to_str().unwrap()]].concat())
    };
    let table = list(&[]);
    let places = ["objection-0@0", &format!("objection-0@{offset}")];
    check(&table, 0, &[places[0], places[1], "2 objections"]);
    for value in ["p1", "p2", "pickup", "debt-collection"] {
        assert!(!table.out.contains(value), "{}", table.out);
    }
    let json: serde_json::Value = serde_json::from_str(&list(&["--json"]).out).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(2));
    assert_eq!(json[1]["offset"], offset);
    check(
        &run(&["list", "masks", "--directory", "."]),
        2,
        &["only `list objections`"],
    );
}

/// Both patrons of one line are stopped, and a line that names nobody stops all.
#[test]
fn two_objections_on_one_line_are_heard_of_both_patrons() {
    let folder = shipped_config();
    let with = |words: &[&str]| run(&[words, &["--config", path(&folder)]].concat());
    check(&with(&["keys", "new", "--all"]), 0, &[]);
    let work = folder.path().join("work");
    fs::create_dir_all(work.join("in")).unwrap();
    let write = |source: &str, lines: &[String]| {
        let path = work.join(format!("in/{source}.ndjson"));
        fs::write(path, lines.join("\n") + "\n").unwrap();
    };
    let line = |patron: &str, rest: &str| {
        format!(r#"{{"key":"{patron}","value":{{"patron_id":"{patron}","library":"NL-A"{rest}}}}}"#)
    };
    let patrons = ["p1", "p2", "p3"];
    let of_each = |rest: &str| patrons.map(|patron| line(patron, &rest.replace("ID", patron)));
    write("patron", &of_each(r#","kind":"person""#));
    let loan = r#","loan_id":"l-ID","status":"open","loaned_at":"2026-01-05T10:00:00Z""#;
    write("loan", &of_each(loan));
    let lodged = r#","objection_id":"o","kind":"special_circumstances","status":"lodged""#;
    let both = line("p1", lodged) + &line("p2", lodged);
    write("objection", &[both]);
    let words = ["run", "--directory", work.to_str().unwrap()];
    check(&with(&words), 0, &[]);
    let out = fs::read_to_string(work.join("out/statistics/out.statistics.ndjson")).unwrap();
    assert_eq!(out.lines().count(), 1, "only p3 did not object");
    let mut objections = fs::read(work.join("in/objection.ndjson")).unwrap();
    objections.extend_from_slice(b"{\"value\":}\n");
    fs::write(work.join("in/objection.ndjson"), objections).unwrap();
    check(
        &with(&words),
        70,
        &["objection partition 0 offset", "names no patron"],
    );
}

#[test]
fn holds_are_listed_by_where_they_lie() {
    let folder = shipped_config();
    let with = |words: &[&str]| {
        let all = [words, &["--config", path(&folder)]].concat();
        run(&all)
    };
    check(&with(&["keys", "new", "--all"]), 0, &[]);
    let work = folder.path().join("work");
    let input = work.join("in");
    fs::create_dir_all(&input).unwrap();
    let work = work.to_str().unwrap();
    check(
        &with(&["holds", "--directory", "/nowhere"]),
        78,
        &["no folder"],
    );
    let holds = |words: &[&str]| with(&[&["holds", "--directory", work], words].concat());
    check(&holds(&[]), 0, &["nothing is held"]);
    let line = |text: &str, source: &str| {
        let text = text.replace(&format!("\"source\":\"{source}\","), "");
        fs::write(input.join(format!("{source}.ndjson")), text + "\n").unwrap();
    };
    line(LOAN, "loan");
    check(&with(&["run", "--directory", work]), 0, &[]);
    let said = holds(&[]);
    check(&said, 0, &["loan-0@0", "service-message", "2 records held"]);
    assert!(!said.out.contains("west"), "{}", said.out);
    let json = holds(&["--json"]);
    let list: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    let one = &list[0];
    // For each of two lanes.
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    assert_eq!((&one["topic"], &one["offset"]), (&"loan".into(), &0.into()));
    assert_eq!(one["patron"].as_str().map(str::len), Some(22));
    line(PATRON, "patron");
    check(&with(&["run", "--directory", work]), 0, &[]);
    check(&holds(&[]), 0, &["nothing is held"]);
    check(&holds(&["--json"]), 0, &["[]"]);
}

#[test]
fn dead_letters_and_silent_sources_are_heard() {
    let folder = shipped_config();
    check(
        &run(&["keys", "new", "--all", "--config", path(&folder)]),
        0,
        &[],
    );
    let settings = folder.path().join("zeef.toml");
    let text = "[lanes.statistics]\nrecipients = [\"statistics\"]\n[sources]\nobjection = { expect_within = \"P7D\" }\nconsent = { expect_within = \"P7D\" }\n";
    fs::write(settings, text).unwrap();
    let input = folder.path().join("work/in");
    fs::create_dir_all(&input).unwrap();
    let line = r#"{"key":"p1","value":{"objection_id":7}}"#;
    fs::write(input.join("objection.ndjson"), format!("{line}\n{line}\n")).unwrap();
    let loan = r#"{"key":"p1","value":{"loan_id":7}}"#;
    fs::write(input.join("loan.ndjson"), format!("{loan}\n").repeat(3)).unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(8 * 86_400);
    let consent = fs::File::create(input.join("consent.ndjson")).unwrap();
    consent.set_len(0).unwrap();
    let work = folder.path().join("work");
    let run_it = || {
        run(&[
            "run",
            "--config",
            path(&folder),
            "--directory",
            work.to_str().unwrap(),
        ])
    };
    let said = run_it();
    let heard = [
        "dead letter of a gate source",
        "topic=\"objection\" partition=0 offset=0 reason=identifier",
        &format!(
            "topic=\"objection\" partition=0 offset={} reason",
            line.len() + 1
        ),
        "counts=\"loan identifier 3\"",
        "the source has no record, one is expected within P7D source=consent",
    ];
    check(&said, 0, &[]);
    for text in heard {
        assert!(said.err.contains(text), "{text}: {}", said.err);
    }
    assert!(!said.err.contains("source=objection"), "{}", said.err);
    // The file's last change says how old it is.
    let objection = fs::File::options()
        .append(true)
        .open(input.join("objection.ndjson"))
        .unwrap();
    objection.set_modified(old).unwrap();
    let said = run_it();
    for text in ["the source has no record newer than ", " source=objection"] {
        assert!(said.err.contains(text), "{text}: {}", said.err);
    }
}

#[test]
fn a_run_that_would_take_back_too_much_stops() {
    const PATRONS: usize = 150;
    let folder = shipped_config();
    check(
        &run(&["keys", "new", "--all", "--config", path(&folder)]),
        0,
        &[],
    );
    let input = folder.path().join("work/in");
    fs::create_dir_all(&input).unwrap();
    let patron = |number: usize| {
        format!(
            r#"{{"key":"p{number}","value":{{"patron_id":"p{number}","library":"NL-AmrBKW","kind":"person","card_number":"2001300456{number:04}","membership":{{"id":"M{number}","status":"active"}}}}}}"#
        )
    };
    let lines = |line: &dyn Fn(usize) -> String| {
        let lines: Vec<String> = (0..PATRONS).map(line).collect();
        lines.join("\n") + "\n"
    };
    let patrons = lines(&patron);
    let file = input.join("patron.ndjson");
    fs::write(&file, &patrons).unwrap();
    let work = folder.path().join("work");
    let run_it = || {
        run(&[
            "run",
            "--config",
            path(&folder),
            "--directory",
            work.to_str().unwrap(),
        ])
    };
    check(&run_it(), 0, &[]);
    let nulls = lines(&|number| format!(r#"{{"key":"p{number}","value":null}}"#));
    fs::write(&file, patrons + &nulls).unwrap();
    // Another lane goes on.
    let committed = || {
        let text = fs::read(work.join(".zeef/committed.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let main = (&json["lanes"]["main"], &json["state"]["zeef.state.main"]);
        format!("{} {main:?}", json["outputs"])
    };
    let before = committed();
    for _ in 0..2 {
        let said = run_it();
        check(&said, 70, &[]);
        let numbers = "150 of the 150 outputs that `kb-recognition` has would be taken back \
                       (patron_erased 150): code ";
        assert!(said.err.contains(numbers), "{}", said.err);
        assert_eq!(committed(), before, "nothing was committed");
    }
}

#[test]
fn keys_are_made_once_and_never_shown() {
    let folder = shipped_config();
    let keys = |words: &[&str]| {
        let words: Vec<_> = ["keys"].iter().chain(words).copied().collect();
        run(&[&words[..], &["--config", path(&folder)]].concat())
    };
    check(
        &keys(&["list"]),
        1,
        &["statistics", "missing", "zeef.state.key"],
    );
    check(
        &keys(&["new", "statistics"]),
        0,
        &["statistics: new key in"],
    );
    let file = folder.path().join("keys/statistics.key");
    let key = fs::read_to_string(&file).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(&folder.path().join("keys")), 0o700);
    }
    check(&keys(&["new", "statistics"]), 1, &["never replaced"]);
    check(
        &keys(&["new", "--all"]),
        0,
        &["kb-membership: new key in", "zeef.state: new key in"],
    );
    check(&keys(&["new", "zeef.state"]), 1, &["never replaced"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), key);
    let list = keys(&["list"]);
    check(&list, 0, &["statistics.key"]);
    let secret = key.trim().split_once(':').expect("ID:SECRET").1;
    assert!(!list.out.contains(secret));
    check(&keys(&["new", "--all"]), 0, &["has a key already"]);
    check(
        &keys(&["new", "statistcs"]),
        2,
        &["did you mean `statistics`?"],
    );
    check(&keys(&["new"]), 2, &["Usage"]);
    let own = folder.path().join("keys/zeef.state.key");
    fs::remove_file(&own).unwrap();
    let lacking = run(&["check", "--config", path(&folder)]);
    check(&lacking, 0, &["zeef keys new zeef.state"]);
    let work = folder.path().join("work");
    let refused = run(&[
        "run",
        "--directory",
        work.to_str().unwrap(),
        "--config",
        path(&folder),
    ]);
    check(&refused, 78, &["zeef keys new zeef.state"]);
    check(
        &keys(&["new", "zeef.state"]),
        0,
        &["zeef.state: new key in"],
    );
    fs::write(&file, "rubbish\n").unwrap();
    let broken = run(&["check", "--config", path(&folder)]);
    check(&broken, 78, &["statistics", "1 key cannot be had"]);
    assert!(!broken.err.contains("rubbish"));
}

/// Gives a recipient the key of the golden cases.
fn golden_key(folder: &TempDir, recipient: &str) {
    use base64::Engine;
    let secret =
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode("zeef-golden-key-0123456789abcdef");
    let keys = folder.path().join("keys");
    fs::create_dir_all(&keys).unwrap();
    fs::write(
        keys.join(format!("{recipient}.key")),
        format!("golden:{secret}\n"),
    )
    .unwrap();
}

/// The files of a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = read.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn project_gives_what_the_golden_cases_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut count = 0;
    for folder in files(&root).into_iter().filter(|path| path.is_dir()) {
        let recipient = folder.file_name().unwrap().to_str().unwrap();
        let config = shipped_config();
        golden_key(&config, recipient);
        common::switch_on(config.path());
        let start = [
            "project",
            "--in-order",
            "--quiet",
            "--at",
            "2026-01-15T12:00:00Z",
        ];
        let words = [
            &start[..],
            &["--recipient", recipient, "--config", path(&config)],
        ]
        .concat();
        for input in files(&folder) {
            let Some(case) = input.to_str().unwrap().strip_suffix(".in.ndjson") else {
                continue;
            };
            let want = fs::read_to_string(format!("{case}.out.ndjson")).unwrap();
            let said = run_with(&words, &fs::read(&input).unwrap());
            check(&said, 0, &[]);
            assert_eq!(said.out, want, "{case}");
            count += 1;
        }
    }
    assert!(count > 50, "{count} cases");
}

const PATRON: &str = r#"{"source":"patron","key":"p1","value":{"patron_id":"p1","library":"NL-AmrBKW","kind":"person","surname":"Zwijgerman","initials":"Q.","membership":{"id":"M1","status":"active"}}}"#;
const LOAN: &str = r#"{"source":"loan","key":"p1","value":{"loan_id":"l1","patron_id":"p1","library":"NL-AmrBKW","status":"open","branch":"west","loaned_at":"2026-01-05T10:00:00Z"}}"#;

#[test]
fn project_reads_patrons_first_and_tells_bad_lines() {
    let input = format!(
        "{LOAN}\nnonsense\n{{\"source\":\"loan\",\"key\":\"p1\",\"value\":{{\"a\":}}}}\n{PATRON}\n"
    );
    let said = run_with(&["project"], input.as_bytes());
    check(
        &said,
        0,
        &[
            "throwaway",
            "1 record refused as not_json",
            "line 3",
            "no_source",
            "line 2",
        ],
    );
    let topics: Vec<_> = said
        .out
        .lines()
        .filter_map(|line| line.split('"').nth(3))
        .collect();
    assert_eq!(
        topics,
        [
            "out.kb-recognition",
            "out.service-message",
            "out.statistics"
        ]
    );
    assert!(!said.err.contains("Zwijgerman"), "{}", said.err);
    assert!(said.out.contains("Q. Zwijgerman"), "{}", said.out);
    let quiet = run_with(&["project", "--quiet"], input.as_bytes());
    assert!(!quiet.err.contains("RELEASED"), "{}", quiet.err);
}

/// What the last line of each key says, by topic.
fn last_values(out: &str) -> std::collections::BTreeMap<String, String> {
    let mut last = std::collections::BTreeMap::new();
    for line in out.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let name = format!("{} {}", line["topic"], line["key"]);
        last.insert(name, line["value"].to_string());
    }
    last.retain(|_, value| value != "null");
    last
}

#[test]
fn project_counts_gates_wherever_they_stand() {
    let patron = PATRON.replace(
        "\"surname\"",
        "\"online_account\":{\"created_at\":\"2026-01-02T00:00:00Z\"},\"surname\"",
    );
    let objection = r#"{"source":"consent","key":"p1","value":{"consent_id":"c1","patron_id":"p1","library":"NL-AmrBKW","purpose":"online-library","decision":"withdrawn","manner":"digital","at":"2026-01-03T00:00:00Z"}}"#;
    let null = r#"{"source":"patron","key":"p1","value":null}"#;
    let gone = patron.replace("\"person\"", "\"institution\"");
    let has = |lines: &[&str]| {
        let said = run_with(
            &["project", "--quiet"],
            (lines.join("\n") + "\n").as_bytes(),
        );
        check(&said, 0, &[]);
        let names = last_values(&said.out).into_keys();
        names
            .map(|name| name.split('"').nth(1).unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let all = [
        "out.kb-membership",
        "out.kb-recognition",
        "out.service-message",
        "out.statistics",
    ];
    assert_eq!(has(&[LOAN, &patron]), all);
    assert_eq!(has(&[&format!("\u{feff}{LOAN}"), &patron]), all);
    assert_eq!(has(&[&patron, LOAN, objection]), all[1..]);
    assert_eq!(has(&[&patron, LOAN, &gone]), all[2..3]);
    let nothing: [&str; 0] = [];
    assert_eq!(has(&[&patron, LOAN, null]), nothing);
    assert_eq!(has(&[null, &patron, LOAN]), all);
}

#[test]
fn project_refuses_what_does_not_exist() {
    let line = LOAN.replace("\"loan\"", "\"laon\"");
    let said = run_with(&["project"], line.as_bytes());
    check(&said, 2, &["line 1: unknown source: did you mean `loan`?"]);
    let said = run_with(&["project", "--recipient", "statistic"], b"");
    check(&said, 2, &["did you mean `statistics`?"]);
    check(&run(&["project", "--at", "yesterday"]), 2, &["--time"]);
}

#[test]
fn explain_tells_every_gate_and_field() {
    let input = format!("{PATRON}\n{LOAN}\n");
    let said = run_with(
        &["explain", "service-message", "--output"],
        input.as_bytes(),
    );
    check(
        &said,
        0,
        &[
            "RELEASED",
            "status is open or overdue",
            "full_name",
            "\"Q. Zwijgerman\"",
            "left out: not in the record",
            "OUTPUT",
        ],
    );
    let returned = input.replace("\"open\"", "\"returned\"");
    let said = run_with(&["explain", "service-message"], returned.as_bytes());
    check(
        &said,
        0,
        &[
            "WITHHELD  condition",
            "IF IT WERE RELEASED",
            "it is \"returned\"",
        ],
    );
    let said = run_with(&["explain", "service-message"], LOAN.as_bytes());
    check(&said, 0, &["HELD  patron_unknown", "when its patron comes"]);
    let closed = LOAN.replace("\"open\"", "\"returned\"");
    let said = run_with(&["explain", "service-message"], closed.as_bytes());
    check(&said, 0, &["WITHHELD  condition", "whoever the patron is"]);
    check(
        &run_with(&["explain", "deurwaarder"], input.as_bytes()),
        1,
        &["no line is a debt"],
    );
    check(
        &run_with(&["explain", "nobody"], b""),
        2,
        &["unknown recipient `nobody`"],
    );
}

#[test]
fn explain_tells_of_all_records_that_match_and_until_when() {
    let second = LOAN
        .replace("l1", "l2")
        .replace("\"branch\"", "\"due_on\":\"2026-01-20\",\"branch\"");
    let closed = second.replace("\"open\"", "\"returned\"");
    let input = format!("{PATRON}\n{LOAN}\n{second}\n\n{closed}\n");
    let explain = |words: &[&str]| {
        let start = [
            "explain",
            "service-message",
            "--time",
            "2026-01-15T12:00:00Z",
        ];
        run_with(&[&start[..], words].concat(), input.as_bytes())
    };
    let all = explain(&[]);
    check(
        &all,
        0,
        &["line 2, a loan", "line 3, a loan", "line 5, a loan"],
    );
    assert_eq!(all.out.matches("\nRELEASED").count(), 2, "{}", all.out);
    assert_eq!(all.out.matches("service-message").count(), 1, "{}", all.out);
    let one = explain(&["--id", "l1"]);
    check(
        &one,
        0,
        &[
            "line 2, a loan",
            "until 2027-01-15 12:00 UTC, then it is withheld: lapsed",
            "due_on is missing, so the term runs from when the record was first decided",
        ],
    );
    assert_eq!(one.out.matches(", a loan").count(), 1, "{}", one.out);
    let both = explain(&["--id", "l2"]);
    check(
        &both,
        0,
        &[
            "a later version of it counts: line 5",
            "until 2027-01-20 00:00 UTC, then it is withheld: lapsed",
            "time alone changes nothing of this",
        ],
    );
    let there = explain(&["--at", "loan-0@5"]);
    check(&there, 0, &["line 5, a loan", "WITHHELD  condition"]);
    assert!(!there.out.contains("line 3"), "{}", there.out);
    check(&explain(&["--id", "l9"]), 1, &["no loan has that id"]);
    check(&explain(&["--at", "loan-0@1"]), 1, &["no loan lies there"]);
    for (at, want) in [
        (
            "patron-0@1",
            "there lies a patron, and service-message gets something of each loan",
        ),
        ("laon-0@1", "unknown source `laon`: did you mean `loan`?"),
        ("loan-1", "as loan-3@1182"),
        ("loan-0@-1", "as loan-3@1182"),
        ("2026-01-15T12:00:00Z", "give it with --time"),
    ] {
        check(&explain(&["--at", at]), 2, &[want]);
    }
    check(
        &explain(&["--id", "l1", "--at", "loan-0@1"]),
        2,
        &["cannot be used with"],
    );
}

/// A paper that begins or ends is a moment at which time alone changes an answer.
#[test]
fn explain_foretells_when_a_paper_begins_and_ends() {
    let folder = shipped_config();
    edit(
        &folder,
        "recipients/service-message.toml",
        "legal_basis  = \"contract\"",
        "legal_basis = \"contract\"\nrole = \"processor\"\nagreement = { reference = \"A-1\", clauses = \
         [\"use\", \"security\", \"confidentiality\"], from = \"2026-02-01\", until = \"2026-06-30\" }",
    );
    let due = LOAN.replace("\"branch\"", "\"due_on\":\"2026-01-20\",\"branch\"");
    let input = format!("{PATRON}\n{due}\n");
    for (time, verdict, want) in [
        (
            "2026-01-15",
            "WITHHELD  agreement_lapsed",
            "until 2026-02-01 00:00 UTC, then it is released",
        ),
        (
            "2026-02-01",
            "RELEASED",
            "until 2026-07-01 00:00 UTC, then it is withheld: agreement_lapsed",
        ),
        (
            "2026-08-01",
            "WITHHELD  agreement_lapsed",
            "time alone changes nothing of this",
        ),
    ] {
        let time = format!("{time}T00:00:00Z");
        let words = [
            "explain",
            "service-message",
            "--time",
            &time,
            "--config",
            path(&folder),
        ];
        check(&run_with(&words, input.as_bytes()), 0, &[verdict, want]);
    }
}

/// A directory is explained as a run decides it, before the run, after it and beside it.
#[test]
fn explain_reads_a_directory_as_a_run_does() {
    let folder = shipped_config();
    let with = |words: &[&str]| run(&[words, &["--config", path(&folder)]].concat());
    check(&with(&["keys", "new", "--all"]), 0, &[]);
    let work = folder.path().join("work");
    fs::create_dir_all(work.join("in")).unwrap();
    let work_text = work.to_str().unwrap().to_owned();
    let append = |source: &str, line: &str| {
        let line = line.replace(&format!("\"source\":\"{source}\","), "");
        let mut options = fs::File::options();
        let path = work.join(format!("in/{source}.ndjson"));
        let mut file = options.create(true).append(true).open(path).unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    };
    let explain = |recipient: &str, words: &[&str]| {
        with(&[&["explain", recipient, "--directory", &work_text], words].concat())
    };
    append("loan", LOAN);
    append("patron", PATRON);
    let loan = ["--id", "l1"];
    check(
        &explain("service-message", &loan),
        0,
        &["loan-0@0, a loan", "RELEASED", "Zwijgerman"],
    );
    check(&explain("service-message", &[]), 2, &["which record?"]);
    check(
        &explain("service-message", &["--at", "loan-0@7"]),
        1,
        &["no loan lies there"],
    );
    assert!(
        !work.join(".zeef").exists(),
        "who only looks writes nothing"
    );
    let run_it = || check(&with(&["run", "--directory", &work_text]), 0, &[]);
    run_it();
    check(
        &explain("service-message", &["--at", "loan-0@0"]),
        0,
        &["RELEASED"],
    );
    // A refusal that cannot be read stops what it may be about, of whom it names.
    append(
        "consent",
        r#"{"key":"p1","value":{"patron_id":"p1","library":"NL-AmrBKW","consent_id":"c","purpose":"online-library","decision":"?"}}"#,
    );
    check(
        &explain("kb-membership", &["--id", "p1"]),
        0,
        &["patron-0@0, a patron", "WITHHELD  consent_unreadable"],
    );
    // Who has the id after an erasure has nothing of what came before it.
    append("patron", r#"{"key":"p1","value":null}"#);
    check(
        &explain("service-message", &loan),
        0,
        &["WITHHELD  patron_erased"],
    );
    run_it();
    append("patron", PATRON);
    check(
        &explain("service-message", &loan),
        0,
        &["WITHHELD  patron_erased"],
    );
    append("loan", LOAN);
    let later = LOAN.len() + 1 - "\"source\":\"loan\",".len();
    let again = explain("service-message", &loan);
    check(
        &again,
        0,
        &[
            "WITHHELD  patron_erased",
            "RELEASED",
            &format!("counts: loan-0@{later}"),
        ],
    );
    run_it();
    let out =
        fs::read_to_string(work.join("out/service-message/out.service-message.ndjson")).unwrap();
    assert!(out.lines().last().unwrap().contains("Zwijgerman"), "{out}");
    check(
        &with(&[
            "explain",
            "statistics",
            "--directory",
            "/nowhere",
            "--id",
            "x",
        ]),
        1,
        &["failed to open /nowhere"],
    );
}

fn generate(folder: &Path, words: &[&str]) -> Said {
    let folder = folder.to_str().unwrap();
    let start = [
        "generate",
        "--patrons",
        "20",
        "--today",
        "2026-01-15",
        "--directory",
        folder,
    ];
    run(&[&start[..], words].concat())
}

#[test]
fn generate_makes_the_same_records_for_the_same_seed() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let read = |at: usize, source: &str| -> Vec<u8> {
        fs::read(folders[at].path().join(format!("in/{source}.ndjson"))).unwrap()
    };
    check(
        &generate(folders[0].path(), &["--seed", "7"]),
        0,
        &["20 invented patrons"],
    );
    check(&generate(folders[1].path(), &["--seed", "7"]), 0, &[]);
    for source in [
        "patron",
        "loan",
        "debt",
        "consent",
        "objection",
        "reservation",
        "ill_request",
    ] {
        assert_eq!(read(0, source), read(1, source), "{source}");
    }
    check(
        &generate(folders[1].path(), &["--seed", "8"]),
        2,
        &["--append", "--force"],
    );
    assert_eq!(read(0, "patron"), read(1, "patron"));
    check(
        &generate(folders[1].path(), &["--seed", "8", "--force"]),
        0,
        &[],
    );
    assert_ne!(read(0, "patron"), read(1, "patron"));
    let before = read(1, "patron").len();
    check(
        &generate(folders[1].path(), &["--append", "--poison"]),
        0,
        &[],
    );
    assert!(read(1, "patron").len() > before);
    check(
        &run(&["generate", "--patrons", "1"]),
        2,
        &["--directory", "--stdout"],
    );
}

#[test]
fn what_is_generated_can_be_projected() {
    let words = [
        "generate",
        "--patrons",
        "30",
        "--poison",
        "--today",
        "2026-01-15",
        "--stdout",
    ];
    let made = zeef().args(words).output().unwrap();
    let said = run_with(&["project", "--at", "2026-01-15T12:00:00Z"], &made.stdout);
    check(&said, 0, &["statistics", "not_utf8", "too_deep"]);
    assert!(said.out.lines().count() > 50);
}

#[test]
fn demo_shows_one_patron_all_counts_and_where_it_is() {
    let root = tempfile::tempdir().unwrap();
    let folder: PathBuf = root.path().join("demo");
    let words = [
        "demo",
        "--patrons",
        "300",
        "--directory",
        folder.to_str().unwrap(),
    ];
    for columns in ["80", "160"] {
        let shown = said(zeef().args(words).env("COLUMNS", columns).output().unwrap());
        check(
            &shown,
            0,
            &[
                "invented",
                "WHO GOT WHAT",
                "WHAT THE LIBRARY HAS",
                "WHAT EACH PARTNER RECEIVED",
                "THREE NIGHTS",
                "none has her name",
                "EVERYBODY",
                " a second, each batch",
                "DEAD LETTERS",
                "not_an_object",
                "WHERE IT IS",
                "WHAT TO TRY",
            ],
        );
        let (main, _) = shown.out.split_once("WHERE IT IS").unwrap();
        let columns: usize = columns.parse().unwrap();
        for line in main.lines() {
            assert!(
                unicode_width::UnicodeWidthStr::width(line) <= columns,
                "{line}"
            );
        }
        assert!(folder.join("out/statistics/out.statistics.ndjson").exists());
        assert!(folder.join("config/keys/statistics.key").exists());
        check(&run(&words), 2, &["is there already"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}

/// The demo follows one member: who got which field of hers, and what is left when she
/// withdraws her consent, and when she is erased.
#[test]
fn demo_follows_a_member_to_her_erasure() {
    let root = tempfile::tempdir().unwrap();
    let folder: PathBuf = root.path().join("demo");
    let words = [
        "demo",
        "--patrons",
        "40",
        "--directory",
        folder.to_str().unwrap(),
    ];
    let shown = said(zeef().args(words).env("COLUMNS", "120").output().unwrap());
    check(&shown, 0, &["Fenna van der Proefkamp"]);
    assert_eq!(shown.err, "", "nothing but what is shown");
    let section = |from: &str, to: &str| {
        let (_, rest) = shown.out.split_once(from).unwrap();
        rest.split_once(to).unwrap().0.to_owned()
    };
    let fields = section("WHO GOT WHAT", "WHAT EACH PARTNER RECEIVED");
    let row = |name: &str| {
        let mut lines = fields.lines();
        let line = lines.find(|line| line.trim_start().starts_with(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {fields}"))
            .to_owned()
    };
    for name in ["email", "card_number", "address.street", "item.title"] {
        assert!(row(name).contains('●'), "{}", row(name));
    }
    for name in ["initials", "given_name", "reservation_id"] {
        assert!(row(name).contains('○'), "{}", row(name));
    }
    let outputs = section("WHAT EACH PARTNER RECEIVED", "THREE NIGHTS");
    // What has no mark stands in nobody's output.
    for (name, value) in [
        ("bsn", "111222333"),
        ("iban", "NL23ZEEF0000000000"),
        ("pin_hash", "$argon2id"),
        ("note", "Belt liever"),
        ("interests[0]", "koken"),
        ("online_account.created_at", "T00:00:00Z"),
        ("items[0].barcode", "30000000000004"),
    ] {
        let row = row(name);
        assert!(row.contains(value) && !row.contains(['●', '○']), "{row}");
        let is_named = name == "online_account.created_at";
        assert!(is_named || !outputs.contains(value), "{value}: {outputs}");
    }
    let mut blocks = Vec::<String>::new();
    for line in outputs.lines().filter(|line| !line.is_empty()) {
        match blocks.last_mut().filter(|_| line.starts_with("  ")) {
            Some(block) => block.push_str(line),
            None => blocks.push(String::new()),
        }
    }
    blocks.retain(|block| !block.is_empty());
    let different: std::collections::BTreeSet<&String> = blocks.iter().collect();
    assert!(blocks.len() >= 6, "{outputs}");
    assert_eq!(different.len(), blocks.len(), "no two outputs are alike");
    let nights = section("THREE NIGHTS", "EVERYBODY");
    let ends: Vec<Vec<&str>> = nights
        .lines()
        .filter(|line| line.contains(" fields "))
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect();
    assert!(ends.len() >= 6, "{nights}");
    for row in &ends {
        let want: &[&str] = match row[0] {
            "kb-membership" => &["taken back", "nothing"],
            _ => &["the same", "taken back"],
        };
        assert_eq!(&row[2..], want, "{nights}");
    }
    // What it says to try works.
    let explain = shown
        .out
        .lines()
        .find(|line| line.contains("zeef explain"))
        .unwrap();
    let explain: Vec<&str> = explain.split_whitespace().skip(1).collect();
    check(&run(&explain), 0, &["a patron", "GATES"]);
}

#[test]
fn compact_leaves_the_last_line_of_each_key() {
    let (config, folder) = (shipped_config(), TempDir::new().unwrap());
    let (config, directory) = (path(&config), path(&folder));
    let compact = || run(&["compact", "--config", config, "--directory", directory]);
    check(&compact(), 78, &["zeef.state"]);
    check(&run(&["keys", "new", "--all", "--config", config]), 0, &[]);
    check(&compact(), 78, &["there is no folder", "one SOURCE.ndjson"]);
    check(&generate(folder.path(), &[]), 0, &[]);
    check(
        &run(&["run", "--config", config, "--directory", directory]),
        0,
        &[],
    );
    check(&compact(), 0, &[]);
    let output = folder.path().join("out/statistics/out.statistics.ndjson");
    let text = fs::read_to_string(&output).unwrap();
    assert!(!text.is_empty());
    check(&compact(), 0, &["one line for each key already"]);
    // What is not as it was left is not touched, until somebody accepts it.
    fs::write(&output, text.repeat(3)).unwrap();
    let said = compact();
    check(
        &said,
        70,
        &["out/statistics/out.statistics.ndjson", "zeef accept"],
    );
    let code = said.err.split("zeef accept ").nth(1).unwrap();
    let code = code.split_whitespace().next().unwrap();
    let accept = |words: &[&str]| {
        let all = ["accept", "--config", config, "--directory", directory];
        run(&[&all[..], words].concat())
    };
    check(&accept(&[code]), 2, &["--reason"]);
    check(
        &accept(&["0000", "--reason", "x"]),
        2,
        &["`0000` is no code"],
    );
    check(
        &accept(&[code, "--reason", "a test"]),
        0,
        &["accepted", "out.statistics"],
    );
    check(&compact(), 0, &["out/statistics/out.statistics.ndjson"]);
    assert_eq!(fs::read_to_string(&output).unwrap(), text);
    // Nothing has it any more: it is of no use.
    check(
        &accept(&[code, "--reason", "again"]),
        0,
        &[code, "written down"],
    );
    fs::write(&output, text.repeat(2)).unwrap();
    check(&compact(), 70, &["zeef accept"]);
}

/// A key and a value of each line.
fn lines(path: &Path) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        (
            line["key"].as_str().unwrap().to_owned(),
            line["value"].clone(),
        )
    };
    text.lines().map(line).collect()
}

#[test]
fn an_output_of_a_directory_is_filled_again_and_moves_to_another_key() {
    let (config, folder) = (shipped_config(), TempDir::new().unwrap());
    let (config, directory) = (path(&config), path(&folder));
    let zeef = |words: &[&str]| {
        let place = ["--config", config, "--directory", directory];
        run(&[words, &place].concat())
    };
    check(&run(&["keys", "new", "--all", "--config", config]), 0, &[]);
    check(&generate(folder.path(), &[]), 0, &[]);
    check(&zeef(&["run"]), 0, &[]);
    let output = folder.path().join("out/statistics/out.statistics.ndjson");
    let before = lines(&output);
    assert!(!before.is_empty());

    fs::write(&output, "").unwrap();
    let said = zeef(&["run"]);
    check(&said, 70, &["out.statistics", "zeef accept"]);
    let code = said.err.split("zeef accept ").nth(1).unwrap();
    let code = code.split_whitespace().next().unwrap();
    check(&zeef(&["accept", code, "--reason", "lost"]), 0, &[]);
    check(
        &zeef(&["refill", "statistics", "--reason", "lost"]),
        0,
        &["statistics"],
    );
    check(&zeef(&["run"]), 0, &[]);
    assert_eq!(lines(&output), before);
    let length = fs::metadata(&output).unwrap().len();
    check(&zeef(&["run"]), 0, &[]);
    assert_eq!(fs::metadata(&output).unwrap().len(), length, "once");

    let output = folder
        .path()
        .join("out/service-message/out.service-message.ndjson");
    let before = lines(&output);
    let rotate = ["keys", "rotate", "service-message", "--reason", "yearly"];
    check(&zeef(&rotate), 0, &["the old one is kept in"]);
    check(&zeef(&["run"]), 0, &[]);
    let after = lines(&output);
    let living = |all: &BTreeMap<String, Value>| all.values().filter(|one| !one.is_null()).count();
    assert_eq!(living(&after), living(&before));
    for (key, value) in &before {
        assert!(
            value.is_null() || after[key].is_null(),
            "taken back under the old key"
        );
    }
}

#[test]
fn every_source_has_its_file_and_every_file_is_a_source() {
    let (config, folder) = (shipped_config(), TempDir::new().unwrap());
    let (config, directory) = (path(&config), path(&folder));
    check(&run(&["keys", "new", "--all", "--config", config]), 0, &[]);
    let zeef = |words: &[&str]| {
        run(&[
            &["run", "--config", config, "--directory", directory][..],
            words,
        ]
        .concat())
    };
    let input = |name: &str| folder.path().join("in").join(name);
    fs::create_dir(folder.path().join("in")).unwrap();
    check(&zeef(&["--until-end", "--follow"]), 2, &["--follow"]);
    for stray in [
        "objections.ndjson",
        "Objection.ndjson",
        "objection.json",
        "objection.ndjson.txt",
    ] {
        fs::write(input(stray), "").unwrap();
        let said = zeef(&[]);
        check(&said, 78, &[stray, "did you mean in/objection.ndjson"]);
        fs::remove_file(input(stray)).unwrap();
    }
    fs::write(input("unrelated.ndjson"), "").unwrap();
    check(
        &zeef(&[]),
        78,
        &["in/unrelated.ndjson is no source", "objection"],
    );
    fs::remove_file(input("unrelated.ndjson")).unwrap();
    // A new kind gets its file; then it has to stay.
    fs::write(input("README.txt"), "").unwrap();
    let said = zeef(&["--until-end"]);
    check(
        &said,
        0,
        &["in/objection.ndjson was not there", "in/consent.ndjson"],
    );
    check(&zeef(&[]), 0, &[]);
    fs::remove_file(input("objection.ndjson")).unwrap();
    let said = zeef(&[]);
    check(
        &said,
        78,
        &["in/objection.ndjson is missing", "put it back"],
    );
    assert!(!input("objection.ndjson").exists());
    fs::write(input("objection.ndjson"), "").unwrap();
    check(&zeef(&[]), 0, &[]);
    // A lane is forgotten by its name.
    let forget = |lane: &str| run(&["forget", lane, "--config", config, "--directory", directory]);
    check(&forget("mian"), 2, &["did you mean `main`"]);
    check(&forget("main"), 0, &["main"]);
    check(&zeef(&[]), 0, &[]);
}

/// `zeef bench` at its shortest: one round of few records.
fn bench(words: &[&str], input: &str) -> Said {
    let start = ["bench", "--rounds", "1"];
    run_with(&[&start[..], words].concat(), input.as_bytes())
}

fn figures(said: &Said) -> serde_json::Value {
    check(said, 0, &[]);
    serde_json::from_str(&said.out).expect("JSON")
}

#[test]
fn bench_tells_what_each_recipient_costs() {
    for (source, recipient, other) in [
        ("patron", "kb-recognition", "statistics"),
        ("loan", "statistics", "kb-recognition"),
        ("debt", "deurwaarder", "statistics"),
    ] {
        let said = bench(&["--source", source, "--count", "40"], "");
        let want = [
            source,
            "40 invented records",
            "records/s",
            "MB/s out",
            "WHERE THE TIME GOES",
            "reading",
            "pseudonyms",
            "detectors",
            "inspect",
            "throwaway key",
        ];
        check(&said, 0, &want);
        assert!(said.out.contains(recipient), "{}", said.out);
        assert!(!said.out.contains(other), "{}", said.out);
    }
}

#[test]
fn bench_says_the_unit_in_every_key_of_its_json() {
    let object = figures(&bench(&["--count", "40", "--json"], ""));
    for key in [
        "records_per_s",
        "input_mb_per_s",
        "output_mb_per_s",
        "ns_per_record",
        "fastest_ns_per_record",
        "slowest_ns_per_record",
        "input_bytes_per_record",
        "output_bytes_per_record",
        "reading_ns_per_record",
        "reading_share_percent",
        "together_ns_per_record",
        "pseudonyms_ns_per_record",
        "pseudonyms_share_percent",
        "pseudonyms_per_record",
        "detectors_ns_per_record",
        "detectors_share_percent",
        "inspect_ns_per_record",
        "inspect_share_percent",
        "inspected_records_percent",
    ] {
        assert!(object[key].is_number(), "{key}: {object}");
    }
    assert_eq!(object["records"], 40);
    assert_eq!(object["rounds"], 1);
    assert_eq!(object["source"], "patron");
    let recipients = object["recipients"].as_array().expect("a list");
    let names: Vec<_> = recipients.iter().map(|one| one["name"].as_str()).collect();
    assert_eq!(names, [Some("kb-membership"), Some("kb-recognition")]);
    for key in ["ns_per_record", "share_percent", "released_percent"] {
        assert!(recipients[0][key].is_number(), "{key}: {object}");
    }
    let whole = figures(&bench(&["--count", "40", "--json", "--no-shares"], ""));
    assert!(whole["records_per_s"].is_number(), "{whole}");
    assert!(whole["reading_ns_per_record"].is_null(), "{whole}");
    assert!(whole["recipients"][0]["share_percent"].is_null(), "{whole}");
    assert!(whole["recipients"][0]["released_percent"].is_number());
}

#[test]
fn bench_reads_the_lines_that_project_reads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.ndjson");
    let file = file.to_str().unwrap();
    fs::write(file, format!("{LOAN}\nnonsense\n{PATRON}\n")).unwrap();
    let said = bench(&["--source", "loan", "--records", file, "--json"], "");
    check(&said, 0, &["1 line left out", "line 2"]);
    let object = figures(&said);
    assert_eq!(object["records"], 1);
    assert_eq!(object["invented"], false);
    // Two keys, and in one of the outputs the loan's reference and the patron's.
    assert_eq!(object["outputs_per_record"], 2.0);
    assert_eq!(object["pseudonyms_per_record"], 4.0);
    assert_eq!(object["refused_records"], 0);
    let words = ["--source", "loan", "--records", "-", "--json"];
    let said = bench(&words, LOAN);
    check(&said, 0, &["1 record held"]);
    assert_eq!(figures(&said)["outputs_per_record"], 0.0);
    assert!(!said.err.contains("p1"), "{}", said.err);
}

#[test]
fn bench_refuses_what_cannot_be_measured() {
    for (words, input, code, want) in [
        ("--source laon", "", 2, "did you mean `loan`?"),
        ("--source consent", "", 2, "no recipient reads `consent`"),
        (
            "--source loan --records -",
            "",
            2,
            "no line is a record of `loan`",
        ),
        (
            "--source loan --records -",
            PATRON,
            2,
            "no line is a record of `loan`",
        ),
        ("--records /nowhere/at-all", "", 1, "cannot be read"),
        ("--records - --count 5", "", 2, "--count"),
        ("--count 0", "", 2, "--count"),
        ("--rounds 0", "", 2, "--rounds"),
        ("--config /nowhere", "", 78, "there is no folder"),
    ] {
        let words: Vec<_> = words.split(' ').collect();
        check(
            &run_with(&[&["bench"], &words[..]].concat(), input.as_bytes()),
            code,
            &[want],
        );
    }
    let line = LOAN.replace("\"loan\"", "\"laon\"");
    check(
        &bench(&["--records", "-"], &line),
        2,
        &["line 1: unknown source"],
    );
}

#[test]
fn bench_tells_when_a_source_cannot_be_made_up() {
    let folder = shipped_config();
    for (file, from, to) in [
        ("records/debt.toml", "name  = \"debt\"", "name  = \"claim\""),
        ("recipients/deurwaarder.toml", "\"debt\"", "\"claim\""),
    ] {
        edit(&folder, file, from, to);
    }
    let from = folder.path().join("records/debt.toml");
    fs::rename(from, folder.path().join("records/claim.toml")).unwrap();
    let words = ["--source", "claim", "--config", path(&folder)];
    check(
        &bench(&words, ""),
        2,
        &["unknown source to make up `claim`", "--records"],
    );
}
