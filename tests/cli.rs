//! The commands, as people start them: the built binary, its words and its exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests are tests too")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use zeef_test_kit::config::copy_shipped_config;
use zeef_test_kit::process::{self, CommandOutput};

fn zeef_command() -> Command {
    process::zeef_command(env!("CARGO_BIN_EXE_zeef"), &[])
}

fn run_zeef(arguments: &[&str]) -> CommandOutput {
    CommandOutput::of(zeef_command().args(arguments))
}

fn run_with_stdin(arguments: &[&str], input: &[u8]) -> CommandOutput {
    process::run_with_stdin(zeef_command().args(arguments), input)
}

#[track_caller]
fn check_output(result: &CommandOutput, code: i32, want: &[&str]) {
    result.check(code, want);
}

fn path_str(folder: &TempDir) -> &str {
    folder.path().to_str().expect("a path")
}

fn replace_in_file(folder: &TempDir, file: &str, from: &str, to: &str) {
    let path = folder.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn help_lists_exit_codes_and_typos_exit_2() {
    check_output(&run_zeef(&["--help"]), 0, &["Exit codes", "75  another instance", "zeef demo"]);
    check_output(&run_zeef(&["nonsense"]), 2, &["unrecognized subcommand"]);
    check_output(&run_zeef(&["chekc"]), 2, &["similar", "check"]);
    check_output(&run_zeef(&[]), 2, &["Usage"]);
    check_output(&run_zeef(&["--version"]), 0, &["zeef 0."]);
    for command in [
        "check",
        "compact",
        "contract",
        "list",
        "project",
        "explain",
        "export",
        "generate",
        "bench",
        "demo",
        "gates",
        "holds",
        "keys",
        "lanes",
        "register",
        "completions",
    ] {
        check_output(&run_zeef(&[command, "--help"]), 0, &["Usage: zeef"]);
    }
    check_output(&run_zeef(&["completions", "bash"]), 0, &["complete", "zeef"]);
}

#[test]
fn check_summarises_shipped_policy() {
    let result = run_zeef(&["check"]);
    check_output(
        &result,
        0,
        &["config is fine", "policy  ", "lane    main", "kb-membership", "consent", "F05"],
    );
    assert!(!result.stdout.contains('\u{1b}'), "colours in a pipe");
    let folder = copy_shipped_config();
    check_output(&run_zeef(&["check", "--config", path_str(&folder)]), 0, &["zeef keys new --all"]);
}

#[test]
fn check_reports_every_mistake_of_every_file() {
    let folder = copy_shipped_config();
    replace_in_file(&folder, "recipients/reservation-slip.toml", "patron.surname", "patron.surnam");
    replace_in_file(&folder, "recipients/statistics.toml", "legal_basis", "legal_bases");
    replace_in_file(&folder, "zeef.toml", "[batch]", "[batches]");
    let result = run_zeef(&["check", "--config", path_str(&folder)]);
    check_output(
        &result,
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
    assert_eq!(result.stdout, "");
}

#[test]
fn missing_config_exits_78_with_advice() {
    check_output(
        &run_zeef(&["check", "--config", "/nowhere"]),
        78,
        &["there is no folder `/nowhere`: expected one with zeef.toml", "ZEEF_CONFIG"],
    );
    let empty = tempfile::tempdir().unwrap();
    let here =
        CommandOutput::new(zeef_command().arg("check").current_dir(empty.path()).output().unwrap());
    check_output(&here, 78, &["there is no folder `config` here (/", "--config DIR"]);
    let folder = copy_shipped_config();
    let named = zeef_command()
        .arg("check")
        .current_dir(empty.path())
        .env("ZEEF_CONFIG", folder.path())
        .output()
        .unwrap();
    check_output(&CommandOutput::new(named), 0, &["is fine"]);
    fs::write(empty.path().join("config"), "").unwrap();
    let file =
        CommandOutput::new(zeef_command().arg("check").current_dir(empty.path()).output().unwrap());
    check_output(&file, 78, &["`config` is no folder"]);
    for command in ["list recipients", "keys list", "explain statistics", "project"] {
        let words: Vec<_> = command.split(' ').chain(["--config", "/nowhere"]).collect();
        check_output(&run_with_stdin(&words, b""), 78, &["there is no folder"]);
    }
}

#[test]
fn check_validates_kafka_properties_as_run_does() {
    let folder = copy_shipped_config();
    let with = |settings: &str| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/zeef.toml");
        let text = fs::read_to_string(root).unwrap();
        fs::write(folder.path().join("zeef.toml"), text.replace("[kafka.properties]", settings))
            .unwrap();
        run_zeef(&["check", "--config", path_str(&folder)])
    };
    check_output(
        &with("[kafka.properties]\nsasl.mechansim = \"PLAIN\"\nacks = 1\nsasl.username = \"x\""),
        78,
        &[
            "zeef.toml:18: property `sasl.mechansim` is unknown to librdkafka: did you mean \
             `sasl.mechanism`?",
            "zeef.toml:19: property `acks` cannot be set: ",
        ],
    );
    check_output(
        &with("[kafka.properties]\nsasl.password = { env = \"ZEEF_TEST_UNSET\" }"),
        78,
        &[
            "zeef.toml:18: property `sasl.password`: environment variable ZEEF_TEST_UNSET is not set",
        ],
    );
    check_output(
        &with("[kafka.properties]\nsasl.password = { file = \"absent\" }"),
        78,
        &["zeef.toml:18: property `sasl.password`: file ", "absent cannot be read"],
    );
    check_output(
        &with("[kafka.properties]\nssl.ca.location = \"/nowhere/ca.pem\""),
        78,
        &["zeef.toml:18: property `ssl.ca.location` refers to an unreadable file"],
    );
    check_output(
        &with("[kafka.properties]\nsecurity.protocol = \"SASL_SSL\"\nsasl.mechanism = \"NO\""),
        78,
        &["librdkafka cannot create a client"],
    );
    let open = with("brokers = \"kafka.example.org:9092\"\n[kafka.properties]");
    check_output(&open, 0, &["kafka.example.org:9092: not encrypted"]);
    let shipped = with("[kafka.properties]");
    check_output(
        &shipped,
        0,
        &[
            "`controller` is still a placeholder in acquisitions, ",
            "`contact` is still a placeholder",
        ],
    );
    assert!(!shipped.stdout.contains("not encrypted"), "{}", shipped.stdout);
}

#[test]
fn list_recipients_shows_every_influencing_field() {
    let list = run_zeef(&["list", "recipients"]);
    let text = list.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
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
    let json = run_zeef(&["list", "recipients", "--json"]);
    let all: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let slip = all.as_array().unwrap().iter();
    let slip = slip.clone().find(|one| one["name"] == "reservation-slip").unwrap();
    let surname = serde_json::json!({
        "field": "patron.surname",
        "class": "personal",
        "seen": "a part",
        "how": "in shelf_mark",
    });
    assert!(slip["influences"].as_array().unwrap().contains(&surname), "{slip:#}");
}

#[test]
fn check_fails_where_configured_key_is_unset() {
    let folder = copy_shipped_config();
    replace_in_file(
        &folder,
        "zeef.toml",
        "# statistics = { file = \"/run/secrets/statistics.key\" }",
        "statistics = { env = \"ZEEF_TEST_UNSET\" }",
    );
    let words = ["check", "--config", path_str(&folder)];
    let absent = run_zeef(&words);
    check_output(
        &absent,
        78,
        &["ZEEF_TEST_UNSET is not set; put a key into it: one line", "1 key cannot"],
    );
    assert!(!absent.stderr.contains("keys new"), "{}", absent.stderr);
    let list = run_zeef(&["keys", "list", "--config", path_str(&folder)]);
    check_output(
        &list,
        1,
        &["ZEEF_TEST_UNSET is not set; put a key into it", "zeef keys new --all"],
    );
    let key = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    let there = zeef_command().args(words).env("ZEEF_TEST_UNSET", key).output().unwrap();
    check_output(&CommandOutput::new(there), 0, &["is fine"]);
}

#[test]
fn check_notes_lapsed_papers_without_failing() {
    let folder = copy_shipped_config();
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
        replace_in_file(
            &folder,
            "recipients/service-message.toml",
            "source       = \"loan\"",
            &lines,
        );
        let result = run_zeef(&["check", "--config", path_str(&folder)]);
        check_output(&result, 0, &["is fine"]);
        result.stdout.replace('\n', " ")
    };
    let lapsed = paper("2020-01-01", "2020-12-31", "2020-01-01");
    assert!(lapsed.contains("no longer in force"), "{lapsed}");
    let early = paper("2020-01-01", "2099-12-31", "2099-01-01");
    assert!(early.contains("(2099-01-01 to 2099-12-31) not in force yet"), "{early}");
    let sound = paper("2020-01-01", "2099-12-31", "2020-01-01");
    assert!(!sound.contains("in force"), "{sound}");
}

#[test]
fn list_prints_tables_and_json() {
    for (what, want) in [
        ("recipients", "kb-recognition"),
        ("masks", "first_letters"),
        ("detectors", "rijksregisternummer"),
        ("fields", "items[].due_on"),
        ("rules", "consent-gate"),
        ("reasons", "objection_marketing"),
    ] {
        let table = run_zeef(&["list", what]);
        check_output(&table, 0, &[want]);
        let json = run_zeef(&["list", what, "--json"]);
        check_output(&json, 0, &[want]);
        let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
        assert!(json.as_array().is_some_and(|list| list.len() > 3), "{what}");
        let narrow = CommandOutput::new(
            zeef_command().args(["list", what]).env("COLUMNS", "80").output().unwrap(),
        );
        let widest = narrow.stdout.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{what} is {widest:?} wide");
    }
    let fields = run_zeef(&["list", "fields", "consent"]);
    check_output(&fields, 0, &["consent_id", "CLASS", "MEANING"]);
    assert!(!fields.stdout.contains("loan_id"));
    check_output(&run_zeef(&["list", "fields", "patrn"]), 2, &["did you mean `patron`?"]);
    for (words, want) in [
        ("masks yaer", "unknown mask `yaer`: did you mean `year`?"),
        ("recipients statistic", "did you mean `statistics`?"),
        ("detectors mail", "unknown detector `mail`"),
        ("rules consent", "unknown rule `consent`"),
        ("reasons lapse", "did you mean `lapsed`?"),
        ("objections one", "takes no name"),
    ] {
        let words: Vec<_> = ["list"].into_iter().chain(words.split(' ')).collect();
        check_output(&run_zeef(&words), 2, &[want]);
    }
}

/// Everything that can be listed can be listed alone, by the name that the list has.
#[test]
fn list_shows_single_entries_by_name() {
    let json = |words: &[&str]| -> Vec<serde_json::Value> {
        let result = run_zeef(&[&["list"], words, &["--json"]].concat());
        check_output(&result, 0, &[]);
        serde_json::from_str(&result.stdout).expect("JSON")
    };
    for what in ["recipients", "masks", "detectors", "fields", "rules", "reasons"] {
        let all = json(&[what]);
        for one in [&all[0], &all[all.len() - 1]] {
            let name = one["name"].as_str().or(one["kind"].as_str()).unwrap();
            assert_eq!(json(&[what, name]), std::slice::from_ref(one), "{what} {name}");
            let table = run_zeef(&["list", what, name]);
            check_output(&table, 0, &[name]);
        }
    }
    let slip = run_zeef(&["list", "recipients", "reservation-slip"]);
    let title = slip.stdout.lines().find(|line| line.contains("item.title  "));
    assert!(title.is_some_and(|line| line.ends_with("in full")), "{}", slip.stdout);
    assert!(!slip.stdout.contains("kb-recognition"), "{}", slip.stdout);
    let off = run_zeef(&["list", "recipients", "ill-library-contact"]);
    check_output(&off, 0, &["ill-library-contact (switched off)"]);
}

/// What `zeef topics --acls` writes is a script of Kafka's own tool, and nobody is asked.
#[test]
fn topics_acls_prints_kafka_acls_commands() {
    let words = ["topics", "--acls", "--brokers", "kafka-1.example.org:1,kafka-2.example.org:1"];
    let result = run_zeef(&words);
    check_output(
        &result,
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
    let commands = result.stdout.lines().filter(|line| !line.is_empty());
    let mut commands = commands.filter(|line| !line.starts_with('#')).peekable();
    assert!(commands.peek().is_some());
    for command in commands {
        assert!(command.starts_with(start), "{command}");
    }
    check_output(&run_zeef(&["topics", "--acls", "--apply"]), 2, &["cannot be used with"]);
    let folder = copy_shipped_config();
    replace_in_file(
        &folder,
        "zeef.toml",
        "# security.protocol = \"SASL_SSL\"",
        "\"security.protocol\" = \"SSL\"",
    );
    let locked = run_zeef(&["topics", "--acls", "--config", path_str(&folder)]);
    check_output(&locked, 0, &[" --command-config admin.properties --add "]);
}

#[test]
fn list_recipients_shows_gates_and_papers() {
    let folder = copy_shipped_config();
    replace_in_file(
        &folder,
        "recipients/service-message.toml",
        "legal_basis  = \"contract\"",
        "legal_basis = \"legitimate_interest\"\nrole = \"processor\"\nmarketing = true\nagreement = { reference \
         = \"A-1\", clauses = [\"use\", \"security\", \"confidentiality\"], from = \"2020-01-01\", until \
         = \"2020-12-31\", after = \"retract\" }",
    );
    let list = |words: &[&str]| {
        let all = [&["list", "recipients", "--config", path_str(&folder)], words].concat();
        run_zeef(&all)
    };
    check_output(
        &list(&[]),
        0,
        &[
            "reminded_at, and not before it invoiced_at, then referred_at",
            "written or digital consent for online-library, implied by online_account.created_at",
            "the patron objects to direct marketing, once and for ever; or objects for special \
             circumstances, to service-message or to all",
            "A-1, in force from 2020-01-01 to 2020-12-31, with clauses on use, security, \
             confidentiality; outside of that nothing is sent, and what it has is taken back",
            "at most until 2 years after the end of the membership",
        ],
    );
    let json: serde_json::Value = serde_json::from_str(&list(&["--json"]).stdout).expect("JSON");
    let one = json.as_array().and_then(|all| {
        let mut all = all.iter();
        all.find(|one| one["name"] == "service-message")
    });
    let one = one.expect("the recipient");
    assert_eq!(one["agreement"]["after"], "retract");
    assert_eq!(one["marketing"], true);
    // Its agreement ended: a run goes on without it, and says so.
    check_output(&run_zeef(&["keys", "new", "--all", "--config", path_str(&folder)]), 0, &[]);
    let work = folder.path().join("work");
    fs::create_dir_all(work.join("in")).unwrap();
    let words = ["run", "--config", path_str(&folder), "--directory"];
    let result = run_zeef(&[&words[..], &[work.to_str().unwrap()]].concat());
    check_output(&result, 0, &["agreement no longer in force", "service-message", "A-1"]);
}

#[test]
fn list_objections_by_topic_partition_and_offset() {
    let folder = copy_shipped_config();
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
        let words = [&["list", "objections", "--config", path_str(&folder)], words].concat();
        run_zeef(&[&words[..], &["--directory", work.to_str().unwrap()]].concat())
    };
    let table = list(&[]);
    let places = ["objection-0@0", &format!("objection-0@{offset}")];
    check_output(&table, 0, &[places[0], places[1], "2 objections"]);
    for value in ["p1", "p2", "pickup", "debt-collection"] {
        assert!(!table.stdout.contains(value), "{}", table.stdout);
    }
    let json: serde_json::Value = serde_json::from_str(&list(&["--json"]).stdout).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(2));
    assert_eq!(json[1]["offset"], offset);
    check_output(&run_zeef(&["list", "masks", "--directory", "."]), 2, &["only `list objections`"]);
}

/// Both patrons of one line are stopped, and a line that names nobody stops all.
#[test]
fn g06_two_objections_on_one_line_stop_both_patrons() {
    let folder = copy_shipped_config();
    let with = |words: &[&str]| run_zeef(&[words, &["--config", path_str(&folder)]].concat());
    check_output(&with(&["keys", "new", "--all"]), 0, &[]);
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
    check_output(&with(&words), 0, &[]);
    let out = fs::read_to_string(work.join("out/statistics/out.statistics.ndjson")).unwrap();
    assert_eq!(out.lines().count(), 1, "only p3 did not object");
    let mut objections = fs::read(work.join("in/objection.ndjson")).unwrap();
    objections.extend_from_slice(b"{\"value\":}\n");
    fs::write(work.join("in/objection.ndjson"), objections).unwrap();
    check_output(&with(&words), 70, &["objection partition 0 offset", "names no patron"]);
}

/// The shipped config with its keys, and the input folder of a directory below it.
fn copy_config_with_input() -> (TempDir, PathBuf) {
    let folder = copy_shipped_config();
    check_output(&run_zeef(&["keys", "new", "--all", "--config", path_str(&folder)]), 0, &[]);
    let input = folder.path().join("work/in");
    fs::create_dir_all(&input).unwrap();
    (folder, input)
}

#[test]
fn holds_lists_held_records_by_offset() {
    let (folder, input) = copy_config_with_input();
    let with = |words: &[&str]| run_zeef(&[words, &["--config", path_str(&folder)]].concat());
    let work = input.parent().and_then(Path::to_str).unwrap();
    check_output(&with(&["holds", "--directory", "/nowhere"]), 78, &["no folder"]);
    let holds = |words: &[&str]| with(&[&["holds", "--directory", work], words].concat());
    check_output(&holds(&[]), 0, &["nothing is held"]);
    let line = |text: &str, source: &str| {
        let text = text.replace(&format!("\"source\":\"{source}\","), "");
        fs::write(input.join(format!("{source}.ndjson")), text + "\n").unwrap();
    };
    line(LOAN_LINE, "loan");
    check_output(&with(&["run", "--directory", work]), 0, &[]);
    let result = holds(&[]);
    check_output(&result, 0, &["loan-0@0", "service-message", "2 records held"]);
    assert!(!result.stdout.contains("west"), "{}", result.stdout);
    let json = holds(&["--json"]);
    let list: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    let one = &list[0];
    // For each of two lanes.
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    assert_eq!((&one["topic"], &one["offset"]), (&"loan".into(), &0.into()));
    assert_eq!(one["patron"].as_str().map(str::len), Some(22));
    line(PATRON_LINE, "patron");
    check_output(&with(&["run", "--directory", work]), 0, &[]);
    check_output(&holds(&[]), 0, &["nothing is held"]);
    check_output(&holds(&["--json"]), 0, &["[]"]);
}

#[test]
fn f39_holds_lists_referrals_whose_source_has_not_deleted_its_copy() {
    let (folder, input) = copy_config_with_input();
    let with = |words: &[&str]| run_zeef(&[words, &["--config", path_str(&folder)]].concat());
    let work = input.parent().and_then(Path::to_str).unwrap();
    let referral = |id: &str, rest: &str| {
        let head = format!(r#""referral_id":"{id}","library":"NL-AmrBKW","manner":"written""#);
        format!(r#"{{"key":"{id}","value":{{{head},"surname":"Nergenshuizen"{rest}}}}}"#)
    };
    let now = jiff::Timestamp::now();
    let days_ago = |days: i64| now - jiff::SignedDuration::from_hours(24 * days);
    let at = |days: i64| format!(r#","at":"{}""#, days_ago(days));
    let deleted = |days: i64| format!(r#","source_deleted_at":"{}""#, days_ago(days));
    let write = |lines: &[String]| {
        fs::write(input.join("referral.ndjson"), lines.join("\n") + "\n").unwrap();
        check_output(&with(&["run", "--directory", work]), 0, &[]);
    };
    let overdue =
        |words: &[&str]| with(&[&["holds", "--overdue", "--directory", work], words].concat());
    let mut lines = vec![
        referral("late", &at(8)),
        referral("recent", &at(6)),
        referral("deleted", &(at(40) + &deleted(35))),
        // Its recipient lost it after thirty days.
        referral("lapsed", &at(40)),
        // There must be no record of it: it is refused, and nothing is awaited of it.
        referral("phone", &at(8)).replace("written", "phone"),
    ];
    write(&lines);
    let lapsed_at = lines[..3].iter().map(|line| line.len() + 1).sum::<usize>();
    let result = overdue(&[]);
    check_output(&result, 0, &["referral-0@0", &format!("referral-0@{lapsed_at}"), "2 records"]);
    assert!(!result.stdout.contains("Nergenshuizen"), "{}", result.stdout);
    let list: serde_json::Value = serde_json::from_str(&overdue(&["--json"]).stdout).expect("JSON");
    // Oldest first.
    assert_eq!((&list[0]["offset"], &list[1]["offset"]), (&lapsed_at.into(), &0.into()));
    lines.push(referral("late", &(at(8) + &deleted(0))));
    lines.push(referral("lapsed", &(at(40) + r#","gone":true"#)));
    write(&lines);
    check_output(&overdue(&[]), 0, &["nothing is overdue"]);
    check_output(&overdue(&["--json"]), 0, &["[]"]);
}

#[test]
fn run_logs_dead_letters_and_silent_sources() {
    let folder = copy_shipped_config();
    check_output(&run_zeef(&["keys", "new", "--all", "--config", path_str(&folder)]), 0, &[]);
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
    let run_it =
        || run_zeef(&["run", "--config", path_str(&folder), "--directory", work.to_str().unwrap()]);
    let result = run_it();
    let heard = [
        "dead letter of a gate source",
        "topic=\"objection\" partition=0 offset=0 reason=identifier",
        &format!("topic=\"objection\" partition=0 offset={} reason", line.len() + 1),
        "counts=\"loan identifier 3\"",
        "the source has no record, one is expected within P7D source=consent",
    ];
    check_output(&result, 0, &[]);
    for text in heard {
        assert!(result.stderr.contains(text), "{text}: {}", result.stderr);
    }
    assert!(!result.stderr.contains("source=objection"), "{}", result.stderr);
    // The file's last change says how old it is.
    let objection = fs::File::options().append(true).open(input.join("objection.ndjson")).unwrap();
    objection.set_modified(old).unwrap();
    let result = run_it();
    for text in ["the source has no record newer than ", " source=objection"] {
        assert!(result.stderr.contains(text), "{text}: {}", result.stderr);
    }
}

#[test]
fn loss_guard_stops_directory_run_before_mass_retraction() {
    const PATRONS: usize = 150;
    let folder = copy_shipped_config();
    check_output(&run_zeef(&["keys", "new", "--all", "--config", path_str(&folder)]), 0, &[]);
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
    let run_it =
        || run_zeef(&["run", "--config", path_str(&folder), "--directory", work.to_str().unwrap()]);
    check_output(&run_it(), 0, &[]);
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
        let result = run_it();
        check_output(&result, 70, &[]);
        let numbers = "150 of the 150 outputs that `kb-recognition` has would be taken back \
                       (patron_erased 150): code ";
        assert!(result.stderr.contains(numbers), "{}", result.stderr);
        assert_eq!(committed(), before, "nothing was committed");
    }
}

#[test]
fn keys_are_created_once_and_never_printed() {
    let folder = copy_shipped_config();
    let keys = |words: &[&str]| {
        let words: Vec<_> = ["keys"].iter().chain(words).copied().collect();
        run_zeef(&[&words[..], &["--config", path_str(&folder)]].concat())
    };
    check_output(&keys(&["list"]), 1, &["statistics", "missing", "zeef.state.key"]);
    check_output(&keys(&["new", "statistics"]), 0, &["statistics: new key in"]);
    let file = folder.path().join("keys/statistics.key");
    let key = fs::read_to_string(&file).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(&folder.path().join("keys")), 0o700);
    }
    check_output(&keys(&["new", "statistics"]), 1, &["never replaced"]);
    check_output(
        &keys(&["new", "--all"]),
        0,
        &["kb-membership: new key in", "zeef.state: new key in"],
    );
    check_output(&keys(&["new", "zeef.state"]), 1, &["never replaced"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), key);
    let list = keys(&["list"]);
    check_output(&list, 0, &["statistics.key"]);
    let secret = key.trim().split_once(':').expect("ID:SECRET").1;
    assert!(!list.stdout.contains(secret));
    check_output(&keys(&["new", "--all"]), 0, &["already have a key"]);
    check_output(&keys(&["new", "statistcs"]), 2, &["did you mean `statistics`?"]);
    check_output(&keys(&["new"]), 2, &["Usage"]);
    let own = folder.path().join("keys/zeef.state.key");
    fs::remove_file(&own).unwrap();
    let lacking = run_zeef(&["check", "--config", path_str(&folder)]);
    check_output(&lacking, 0, &["zeef keys new zeef.state"]);
    let work = folder.path().join("work");
    let refused =
        run_zeef(&["run", "--directory", work.to_str().unwrap(), "--config", path_str(&folder)]);
    check_output(&refused, 78, &["zeef keys new zeef.state"]);
    check_output(&keys(&["new", "zeef.state"]), 0, &["zeef.state: new key in"]);
    fs::write(&file, "rubbish\n").unwrap();
    let broken = run_zeef(&["check", "--config", path_str(&folder)]);
    check_output(&broken, 78, &["statistics", "1 key cannot be had"]);
    assert!(!broken.stderr.contains("rubbish"));
}

/// Gives a recipient the key of the golden cases.
fn write_golden_key(folder: &TempDir, recipient: &str) {
    use base64::Engine;
    let secret =
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode("zeef-golden-key-0123456789abcdef");
    let keys = folder.path().join("keys");
    fs::create_dir_all(&keys).unwrap();
    fs::write(keys.join(format!("{recipient}.key")), format!("golden:{secret}\n")).unwrap();
}

/// The files of a folder, in order.
fn sorted_paths(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = read.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn project_reproduces_golden_cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut count = 0;
    for folder in sorted_paths(&root).into_iter().filter(|path| path.is_dir()) {
        let recipient = folder.file_name().unwrap().to_str().unwrap();
        let config = copy_shipped_config();
        write_golden_key(&config, recipient);
        zeef_test_kit::config::enable_all_recipients(config.path());
        let start = ["project", "--in-order", "--quiet", "--at", "2026-01-15T12:00:00Z"];
        let words =
            [&start[..], &["--recipient", recipient, "--config", path_str(&config)]].concat();
        for input in sorted_paths(&folder) {
            let Some(case) = input.to_str().unwrap().strip_suffix(".in.ndjson") else {
                continue;
            };
            let want = fs::read_to_string(format!("{case}.out.ndjson")).unwrap();
            let result = run_with_stdin(&words, &fs::read(&input).unwrap());
            check_output(&result, 0, &[]);
            // What one record gives for several named patrons comes in no set order.
            let lines = |text: &str| -> Vec<String> {
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                if recipient == "family-access" {
                    lines.sort_unstable();
                }
                lines
            };
            assert_eq!(lines(&result.stdout), lines(&want), "{case}");
            count += 1;
        }
    }
    assert!(count > 50, "{count} cases");
}

const PATRON_LINE: &str = r#"{"source":"patron","key":"p1","value":{"patron_id":"p1","library":"NL-AmrBKW","kind":"person","surname":"Zwijgerman","initials":"Q.","membership":{"id":"M1","status":"active"}}}"#;
const LOAN_LINE: &str = r#"{"source":"loan","key":"p1","value":{"loan_id":"l1","patron_id":"p1","library":"NL-AmrBKW","status":"open","branch":"west","loaned_at":"2026-01-05T10:00:00Z"}}"#;

#[test]
fn project_reads_patrons_first_and_reports_bad_lines() {
    let input = format!(
        "{LOAN_LINE}\nnonsense\n{{\"source\":\"loan\",\"key\":\"p1\",\"value\":{{\"a\":}}}}\n{PATRON_LINE}\n"
    );
    let result = run_with_stdin(&["project"], input.as_bytes());
    check_output(
        &result,
        0,
        &["throwaway", "1 record refused as not_json", "line 3", "no_source", "line 2"],
    );
    let topics: Vec<_> = result.stdout.lines().filter_map(|line| line.split('"').nth(3)).collect();
    assert_eq!(topics, ["out.kb-recognition", "out.service-message", "out.statistics"]);
    assert!(!result.stderr.contains("Zwijgerman"), "{}", result.stderr);
    assert!(result.stdout.contains("Q. Zwijgerman"), "{}", result.stdout);
    let quiet = run_with_stdin(&["project", "--quiet"], input.as_bytes());
    assert!(!quiet.stderr.contains("RELEASED"), "{}", quiet.stderr);
}

/// What the last line of each key says, by topic.
fn last_value_by_output(out: &str) -> std::collections::BTreeMap<String, String> {
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
fn project_applies_gates_in_any_line_order() {
    let patron = PATRON_LINE.replace(
        "\"surname\"",
        "\"birth_date\":\"1980-01-01\",\"online_account\":{\"created_at\":\"2026-01-02T00:00:00Z\"},\"surname\"",
    );
    let objection = r#"{"source":"consent","key":"p1","value":{"consent_id":"c1","patron_id":"p1","library":"NL-AmrBKW","purpose":"online-library","decision":"withdrawn","manner":"digital","at":"2026-01-03T00:00:00Z"}}"#;
    let null = r#"{"source":"patron","key":"p1","value":null}"#;
    let gone = patron.replace("\"person\"", "\"institution\"");
    let has = |lines: &[&str]| {
        let result = run_with_stdin(&["project", "--quiet"], (lines.join("\n") + "\n").as_bytes());
        check_output(&result, 0, &[]);
        let names = last_value_by_output(&result.stdout).into_keys();
        names.map(|name| name.split('"').nth(1).unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let all = ["out.kb-membership", "out.kb-recognition", "out.service-message", "out.statistics"];
    assert_eq!(has(&[LOAN_LINE, &patron]), all);
    assert_eq!(has(&[&format!("\u{feff}{LOAN_LINE}"), &patron]), all);
    assert_eq!(has(&[&patron, LOAN_LINE, objection]), all[1..]);
    assert_eq!(has(&[&patron, LOAN_LINE, &gone]), all[2..3]);
    let nothing: [&str; 0] = [];
    assert_eq!(has(&[&patron, LOAN_LINE, null]), nothing);
    assert_eq!(has(&[null, &patron, LOAN_LINE]), all);
}

#[test]
fn project_rejects_unknown_source_and_recipient() {
    let line = LOAN_LINE.replace("\"loan\"", "\"laon\"");
    let result = run_with_stdin(&["project"], line.as_bytes());
    check_output(&result, 2, &["line 1: unknown source: did you mean `loan`?"]);
    let result = run_with_stdin(&["project", "--recipient", "statistic"], b"");
    check_output(&result, 2, &["did you mean `statistics`?"]);
    check_output(&run_zeef(&["project", "--at", "yesterday"]), 2, &["--time"]);
}

#[test]
fn explain_shows_every_gate_and_field() {
    let input = format!("{PATRON_LINE}\n{LOAN_LINE}\n");
    let result = run_with_stdin(&["explain", "service-message", "--output"], input.as_bytes());
    check_output(
        &result,
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
    let result = run_with_stdin(&["explain", "service-message"], returned.as_bytes());
    check_output(&result, 0, &["WITHHELD  condition", "IF IT WERE RELEASED", "it is \"returned\""]);
    let result = run_with_stdin(&["explain", "service-message"], LOAN_LINE.as_bytes());
    check_output(&result, 0, &["HELD  patron_unknown", "when its patron comes"]);
    let closed = LOAN_LINE.replace("\"open\"", "\"returned\"");
    let result = run_with_stdin(&["explain", "service-message"], closed.as_bytes());
    check_output(&result, 0, &["WITHHELD  condition", "whoever the patron is"]);
    check_output(
        &run_with_stdin(&["explain", "deurwaarder"], input.as_bytes()),
        1,
        &["no line is a debt"],
    );
    check_output(&run_with_stdin(&["explain", "nobody"], b""), 2, &["unknown recipient `nobody`"]);
}

#[test]
fn explain_shows_all_matching_records_and_until_when() {
    let second =
        LOAN_LINE.replace("l1", "l2").replace("\"branch\"", "\"due_on\":\"2026-01-20\",\"branch\"");
    let closed = second.replace("\"open\"", "\"returned\"");
    let input = format!("{PATRON_LINE}\n{LOAN_LINE}\n{second}\n\n{closed}\n");
    let explain = |words: &[&str]| {
        let start = ["explain", "service-message", "--time", "2026-01-15T12:00:00Z"];
        run_with_stdin(&[&start[..], words].concat(), input.as_bytes())
    };
    let all = explain(&[]);
    check_output(&all, 0, &["line 2, a loan", "line 3, a loan", "line 5, a loan"]);
    assert_eq!(all.stdout.matches("\nRELEASED").count(), 2, "{}", all.stdout);
    assert_eq!(all.stdout.matches("service-message").count(), 1, "{}", all.stdout);
    let one = explain(&["--id", "l1"]);
    check_output(
        &one,
        0,
        &[
            "line 2, a loan",
            "until 2027-01-15 12:00 UTC, then it is withheld: lapsed",
            "due_on is missing, so the term runs from when the record was first decided",
        ],
    );
    assert_eq!(one.stdout.matches(", a loan").count(), 1, "{}", one.stdout);
    let both = explain(&["--id", "l2"]);
    check_output(
        &both,
        0,
        &[
            "a later version of it counts: line 5",
            "until 2027-01-20 00:00 UTC, then it is withheld: lapsed",
            "time alone changes nothing of this",
        ],
    );
    let there = explain(&["--at", "loan-0@5"]);
    check_output(&there, 0, &["line 5, a loan", "WITHHELD  condition"]);
    assert!(!there.stdout.contains("line 3"), "{}", there.stdout);
    check_output(&explain(&["--id", "l9"]), 1, &["no loan has that id"]);
    check_output(&explain(&["--at", "loan-0@1"]), 1, &["no loan lies there"]);
    for (at, want) in [
        ("patron-0@1", "there lies a patron, and service-message gets something of each loan"),
        ("laon-0@1", "unknown source `laon`: did you mean `loan`?"),
        ("loan-1", "as loan-3@1182"),
        ("loan-0@-1", "as loan-3@1182"),
        ("2026-01-15T12:00:00Z", "give it with --time"),
    ] {
        check_output(&explain(&["--at", at]), 2, &[want]);
    }
    check_output(&explain(&["--id", "l1", "--at", "loan-0@1"]), 2, &["cannot be used with"]);
}

/// A paper that begins or ends is a moment at which time alone changes an answer.
#[test]
fn explain_predicts_start_and_end_of_paper() {
    let folder = copy_shipped_config();
    replace_in_file(
        &folder,
        "recipients/service-message.toml",
        "legal_basis  = \"contract\"",
        "legal_basis = \"contract\"\nrole = \"processor\"\nagreement = { reference = \"A-1\", clauses = \
         [\"use\", \"security\", \"confidentiality\"], from = \"2026-02-01\", until = \"2026-06-30\" }",
    );
    let due = LOAN_LINE.replace("\"branch\"", "\"due_on\":\"2026-01-20\",\"branch\"");
    let input = format!("{PATRON_LINE}\n{due}\n");
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
        ("2026-08-01", "WITHHELD  agreement_lapsed", "time alone changes nothing of this"),
    ] {
        let time = format!("{time}T00:00:00Z");
        let words = ["explain", "service-message", "--time", &time, "--config", path_str(&folder)];
        check_output(&run_with_stdin(&words, input.as_bytes()), 0, &[verdict, want]);
    }
}

/// A sum, count or list with a condition on time changes when the time comes.
#[test]
fn explain_predicts_when_time_changes_a_summary() {
    let folder = copy_shipped_config();
    replace_in_file(
        &folder,
        "recipients/kb-recognition.toml",
        "[fields]\n",
        "[fields]\nlate = { count = \"loan\", where = [{ field = \"status\", is = [\"open\"] }, { field = \
         \"due_on\", before = \"now\" }] }\nsoon = { list = \"loan\", fields = [\"due_on\"], where = [{ \
         field = \"status\", is = [\"open\"] }, { field = \"due_on\", not_before = \"now\", before = \
         \"now+P7D\" }] }\n",
    );
    let due = LOAN_LINE.replace("\"branch\"", "\"due_on\":\"2026-01-20\",\"branch\"");
    let input = format!("{PATRON_LINE}\n{due}\n");
    let other = "then it is released with other sums, counts or lists";
    for (time, until) in [
        ("2026-01-01T12:00:00Z", Some("2026-01-13 00:00")),
        ("2026-01-13T00:00:00Z", Some("2026-01-20 00:00")),
        ("2026-01-20T00:00:00Z", Some("2026-01-21 00:00")),
        ("2026-01-21T00:00:00Z", None),
    ] {
        let want = match until {
            Some(until) => format!("until {until} UTC, {other}"),
            None => "time alone changes nothing of this".to_owned(),
        };
        let words = ["explain", "kb-recognition", "--time", time, "--config", path_str(&folder)];
        let result = run_with_stdin(&words, input.as_bytes());
        check_output(&result, 0, &["RELEASED", &want]);
    }
}

/// A patron of whom one value is left out was read, unlike one whose record cannot be.
#[test]
fn run_tells_gate_records_that_were_not_read_from_values_left_out() {
    let folder = copy_shipped_config();
    let with = |words: &[&str]| run_zeef(&[words, &["--config", path_str(&folder)]].concat());
    check_output(&with(&["keys", "new", "--all"]), 0, &[]);
    let unknown = "its content is unknown";
    let left_out = PATRON_LINE
        .replace("\"M1\"", "\"111222333\"")
        .replace("\"surname\"", "\"bsn\":\"111222333\",\"surname\"");
    let unread = PATRON_LINE.replace("\"NL-AmrBKW\"", "5");
    for (number, line, is_told) in [(1, left_out, false), (2, unread, true)] {
        let work = folder.path().join(format!("work{number}"));
        fs::create_dir_all(work.join("in")).unwrap();
        let line = line.replace("\"source\":\"patron\",", "");
        fs::write(work.join("in/patron.ndjson"), format!("{line}\n")).unwrap();
        let result = with(&["run", "--directory", work.to_str().unwrap()]);
        check_output(&result, 0, &[]);
        assert!(result.stderr.contains("dead letter"), "{}", result.stderr);
        assert_eq!(result.stderr.contains(unknown), is_told, "{}", result.stderr);
    }
}

/// A directory is explained as a run decides it, before the run, after it and beside it.
#[test]
fn explain_agrees_with_run_on_a_directory() {
    let folder = copy_shipped_config();
    let with = |words: &[&str]| run_zeef(&[words, &["--config", path_str(&folder)]].concat());
    check_output(&with(&["keys", "new", "--all"]), 0, &[]);
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
    append("loan", LOAN_LINE);
    append("patron", PATRON_LINE);
    let loan = ["--id", "l1"];
    check_output(
        &explain("service-message", &loan),
        0,
        &["loan-0@0, a loan", "RELEASED", "Zwijgerman"],
    );
    check_output(&explain("service-message", &[]), 2, &["which record?"]);
    check_output(&explain("service-message", &["--at", "loan-0@7"]), 1, &["no loan lies there"]);
    assert!(!work.join(".zeef").exists(), "who only looks writes nothing");
    let run_it = || check_output(&with(&["run", "--directory", &work_text]), 0, &[]);
    run_it();
    check_output(&explain("service-message", &["--at", "loan-0@0"]), 0, &["RELEASED"]);
    // A refusal that cannot be read stops what it may be about, of whom it names.
    append(
        "consent",
        r#"{"key":"p1","value":{"patron_id":"p1","library":"NL-AmrBKW","consent_id":"c","purpose":"online-library","decision":"?"}}"#,
    );
    check_output(
        &explain("kb-membership", &["--id", "p1"]),
        0,
        &["patron-0@0, a patron", "WITHHELD  consent_unreadable"],
    );
    // Who has the id after an erasure has nothing of what came before it.
    append("patron", r#"{"key":"p1","value":null}"#);
    check_output(&explain("service-message", &loan), 0, &["WITHHELD  patron_erased"]);
    run_it();
    append("patron", PATRON_LINE);
    check_output(&explain("service-message", &loan), 0, &["WITHHELD  patron_erased"]);
    append("loan", LOAN_LINE);
    let later = LOAN_LINE.len() + 1 - "\"source\":\"loan\",".len();
    let again = explain("service-message", &loan);
    check_output(
        &again,
        0,
        &["WITHHELD  patron_erased", "RELEASED", &format!("counts: loan-0@{later}")],
    );
    run_it();
    let out =
        fs::read_to_string(work.join("out/service-message/out.service-message.ndjson")).unwrap();
    assert!(out.lines().last().unwrap().contains("Zwijgerman"), "{out}");
    check_output(
        &with(&["explain", "statistics", "--directory", "/nowhere", "--id", "x"]),
        78,
        &["there is no folder /nowhere"],
    );
}

fn run_generate(folder: &Path, words: &[&str]) -> CommandOutput {
    let folder = folder.to_str().unwrap();
    let start = ["generate", "--patrons", "20", "--today", "2026-01-15", "--directory", folder];
    run_zeef(&[&start[..], words].concat())
}

#[test]
fn generate_is_deterministic_by_seed() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let read = |at: usize, source: &str| -> Vec<u8> {
        fs::read(folders[at].path().join(format!("in/{source}.ndjson"))).unwrap()
    };
    check_output(&run_generate(folders[0].path(), &["--seed", "7"]), 0, &["20 invented patrons"]);
    check_output(&run_generate(folders[1].path(), &["--seed", "7"]), 0, &[]);
    let sources =
        ["patron", "loan", "debt", "consent", "objection", "reservation", "ill_request", "demand"];
    for source in sources {
        assert_eq!(read(0, source), read(1, source), "{source}");
    }
    check_output(&run_generate(folders[1].path(), &["--seed", "8"]), 2, &["--append", "--force"]);
    assert_eq!(read(0, "patron"), read(1, "patron"));
    check_output(&run_generate(folders[1].path(), &["--seed", "8", "--force"]), 0, &[]);
    assert_ne!(read(0, "patron"), read(1, "patron"));
    let before = read(1, "patron").len();
    check_output(&run_generate(folders[1].path(), &["--append", "--poison"]), 0, &[]);
    assert!(read(1, "patron").len() > before);
    check_output(&run_zeef(&["generate", "--patrons", "1"]), 2, &["--directory", "--stdout"]);
}

#[test]
fn project_accepts_generated_records() {
    let words = ["generate", "--patrons", "30", "--poison", "--today", "2026-01-15", "--stdout"];
    let made = zeef_command().args(words).output().unwrap();
    let result = run_with_stdin(&["project", "--at", "2026-01-15T12:00:00Z"], &made.stdout);
    check_output(&result, 0, &["statistics", "not_utf8", "too_deep"]);
    assert!(result.stdout.lines().count() > 50);
}

#[test]
fn demo_prints_all_sections_within_terminal_width() {
    let root = tempfile::tempdir().unwrap();
    let folder: PathBuf = root.path().join("demo");
    let words = ["demo", "--patrons", "300", "--directory", folder.to_str().unwrap()];
    for columns in ["80", "160"] {
        let shown = CommandOutput::new(
            zeef_command().args(words).env("COLUMNS", columns).output().unwrap(),
        );
        check_output(
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
        let (main, _) = shown.stdout.split_once("WHERE IT IS").unwrap();
        let columns: usize = columns.parse().unwrap();
        for line in main.lines() {
            assert!(unicode_width::UnicodeWidthStr::width(line) <= columns, "{line}");
        }
        assert!(folder.join("out/statistics/out.statistics.ndjson").exists());
        assert!(folder.join("config/keys/statistics.key").exists());
        check_output(&run_zeef(&words), 2, &["exists already"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}

/// The demo follows one member: who got which field of hers, and what is left when she
/// withdraws her consent, and when she is erased.
#[test]
fn demo_follows_a_member_to_erasure() {
    let root = tempfile::tempdir().unwrap();
    let folder: PathBuf = root.path().join("demo");
    let words = ["demo", "--patrons", "40", "--directory", folder.to_str().unwrap()];
    let shown =
        CommandOutput::new(zeef_command().args(words).env("COLUMNS", "120").output().unwrap());
    check_output(&shown, 0, &["Fenna van der Proefkamp"]);
    assert_eq!(shown.stderr, "", "nothing but what is shown");
    let section = |from: &str, to: &str| {
        let (_, rest) = shown.stdout.split_once(from).unwrap();
        rest.split_once(to).unwrap().0.to_owned()
    };
    let fields = section("WHO GOT WHAT", "WHAT EACH PARTNER RECEIVED");
    let row = |name: &str| {
        let mut lines = fields.lines();
        let line = lines.find(|line| line.trim_start().starts_with(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {fields}")).to_owned()
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
        ("online_account.created_at", "T00:00:00Z"),
        ("items[0].barcode", "30000000000004"),
    ] {
        let row = row(name);
        assert!(row.contains(value) && !row.contains(['●', '○']), "{row}");
        let is_named = name == "online_account.created_at";
        assert!(is_named || !outputs.contains(value), "{value}: {outputs}");
    }
    // What a member of her family sees of other records of hers.
    assert!(row("amount_cents").contains('○') && row("recipient").contains('○'), "{fields}");
    let family = outputs.split("family-access").nth(1).unwrap();
    let parts = ["for:", "name:", "loans[0].due_on:", "amount_due_cents:\u{a0}2450"];
    assert!(parts.iter().all(|part| family.contains(part)), "{outputs}");
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
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert!(ends.len() >= 6, "{nights}");
    for row in &ends {
        let want: &[&str] = match row[0] {
            "kb-membership" | "newsletter" | "deurwaarder" | "service-message" => {
                &["taken back", "nothing"]
            }
            "family-access" => &["corrected", "taken back"],
            _ => &["the same", "taken back"],
        };
        assert_eq!(&row[2..], want, "{nights}");
    }
    // What it says to try works.
    let explain = shown.stdout.lines().find(|line| line.contains("zeef explain")).unwrap();
    let explain: Vec<&str> = explain.split_whitespace().skip(1).collect();
    check_output(&run_zeef(&explain), 0, &["a patron", "GATES"]);
}

#[test]
fn compact_keeps_last_line_of_each_key() {
    let (config, folder) = (copy_shipped_config(), TempDir::new().unwrap());
    let (config, directory) = (path_str(&config), path_str(&folder));
    let compact = || run_zeef(&["compact", "--config", config, "--directory", directory]);
    check_output(&compact(), 78, &["zeef.state"]);
    check_output(&run_zeef(&["keys", "new", "--all", "--config", config]), 0, &[]);
    check_output(&compact(), 78, &["there is no folder", "one SOURCE.ndjson"]);
    check_output(&run_generate(folder.path(), &[]), 0, &[]);
    check_output(&run_zeef(&["run", "--config", config, "--directory", directory]), 0, &[]);
    check_output(&compact(), 0, &[]);
    let output = folder.path().join("out/statistics/out.statistics.ndjson");
    let text = fs::read_to_string(&output).unwrap();
    assert!(!text.is_empty());
    check_output(&compact(), 0, &["already has one line per key"]);
    // What is not as it was left is not touched, until somebody accepts it.
    fs::write(&output, text.repeat(3)).unwrap();
    let result = compact();
    check_output(&result, 70, &["out/statistics/out.statistics.ndjson", "zeef accept"]);
    let code = result.stderr.split("zeef accept ").nth(1).unwrap();
    let code = code.split_whitespace().next().unwrap();
    let accept = |words: &[&str]| {
        let all = ["accept", "--config", config, "--directory", directory];
        run_zeef(&[&all[..], words].concat())
    };
    check_output(&accept(&[code]), 2, &["--reason"]);
    check_output(&accept(&["0000", "--reason", "x"]), 2, &["`0000` is no code"]);
    check_output(&accept(&[code, "--reason", "a test"]), 0, &["accepted", "out.statistics"]);
    check_output(&compact(), 0, &["out/statistics/out.statistics.ndjson"]);
    assert_eq!(fs::read_to_string(&output).unwrap(), text);
    // Nothing has it any more: it is of no use.
    check_output(&accept(&[code, "--reason", "again"]), 0, &[code, "written down"]);
    fs::write(&output, text.repeat(2)).unwrap();
    check_output(&compact(), 70, &["zeef accept"]);
}

/// A key and a value of each line.
fn values_by_key(path: &Path) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        (line["key"].as_str().unwrap().to_owned(), line["value"].clone())
    };
    text.lines().map(line).collect()
}

#[test]
fn refill_and_key_rotation_rewrite_directory_outputs() {
    let (config, folder) = (copy_shipped_config(), TempDir::new().unwrap());
    let (config, directory) = (path_str(&config), path_str(&folder));
    let zeef = |words: &[&str]| {
        let place = ["--config", config, "--directory", directory];
        run_zeef(&[words, &place].concat())
    };
    check_output(&run_zeef(&["keys", "new", "--all", "--config", config]), 0, &[]);
    check_output(&run_generate(folder.path(), &[]), 0, &[]);
    check_output(&zeef(&["run"]), 0, &[]);
    let output = folder.path().join("out/statistics/out.statistics.ndjson");
    let before = values_by_key(&output);
    assert!(!before.is_empty());

    fs::write(&output, "").unwrap();
    let result = zeef(&["run"]);
    check_output(&result, 70, &["out.statistics", "zeef accept"]);
    let code = result.stderr.split("zeef accept ").nth(1).unwrap();
    let code = code.split_whitespace().next().unwrap();
    check_output(&zeef(&["accept", code, "--reason", "lost"]), 0, &[]);
    check_output(&zeef(&["refill", "statistics", "--reason", "lost"]), 0, &["statistics"]);
    check_output(&zeef(&["run"]), 0, &[]);
    assert_eq!(values_by_key(&output), before);
    let length = fs::metadata(&output).unwrap().len();
    check_output(&zeef(&["run"]), 0, &[]);
    assert_eq!(fs::metadata(&output).unwrap().len(), length, "once");

    let output = folder.path().join("out/service-message/out.service-message.ndjson");
    let before = values_by_key(&output);
    let rotate = ["keys", "rotate", "service-message", "--reason", "yearly"];
    check_output(&zeef(&rotate), 0, &["the old one is kept in"]);
    check_output(&zeef(&["run"]), 0, &[]);
    let after = values_by_key(&output);
    let living = |all: &BTreeMap<String, Value>| all.values().filter(|one| !one.is_null()).count();
    assert_eq!(living(&after), living(&before));
    for (key, value) in &before {
        assert!(value.is_null() || after[key].is_null(), "taken back under the old key");
    }
}

#[test]
fn run_rejects_missing_and_stray_source_files() {
    let (config, folder) = (copy_shipped_config(), TempDir::new().unwrap());
    let (config, directory) = (path_str(&config), path_str(&folder));
    check_output(&run_zeef(&["keys", "new", "--all", "--config", config]), 0, &[]);
    let zeef = |words: &[&str]| {
        run_zeef(&[&["run", "--config", config, "--directory", directory][..], words].concat())
    };
    let input = |name: &str| folder.path().join("in").join(name);
    fs::create_dir(folder.path().join("in")).unwrap();
    check_output(&zeef(&["--until-end", "--follow"]), 2, &["--follow"]);
    for stray in ["objections.ndjson", "Objection.ndjson", "objection.json", "objection.ndjson.txt"]
    {
        fs::write(input(stray), "").unwrap();
        let result = zeef(&[]);
        check_output(&result, 78, &[stray, "did you mean in/objection.ndjson"]);
        fs::remove_file(input(stray)).unwrap();
    }
    fs::write(input("unrelated.ndjson"), "").unwrap();
    check_output(&zeef(&[]), 78, &["in/unrelated.ndjson is no source", "objection"]);
    fs::remove_file(input("unrelated.ndjson")).unwrap();
    // A new kind gets its file; then it has to stay.
    fs::write(input("README.txt"), "").unwrap();
    let result = zeef(&["--until-end"]);
    check_output(&result, 0, &["in/objection.ndjson did not exist", "in/consent.ndjson"]);
    check_output(&zeef(&[]), 0, &[]);
    fs::remove_file(input("objection.ndjson")).unwrap();
    let result = zeef(&[]);
    check_output(&result, 78, &["in/objection.ndjson is missing", "put it back"]);
    assert!(!input("objection.ndjson").exists());
    fs::write(input("objection.ndjson"), "").unwrap();
    check_output(&zeef(&[]), 0, &[]);
    // A lane is forgotten by its name.
    let forget =
        |lane: &str| run_zeef(&["forget", lane, "--config", config, "--directory", directory]);
    check_output(&forget("mian"), 2, &["did you mean `main`"]);
    check_output(&forget("main"), 0, &["main"]);
    check_output(&zeef(&[]), 0, &[]);
}

/// `zeef bench` at its shortest: one round of few records.
fn run_bench(words: &[&str], input: &str) -> CommandOutput {
    let start = ["bench", "--rounds", "1"];
    run_with_stdin(&[&start[..], words].concat(), input.as_bytes())
}

fn parse_json_output(result: &CommandOutput) -> serde_json::Value {
    check_output(result, 0, &[]);
    serde_json::from_str(&result.stdout).expect("JSON")
}

#[test]
fn bench_prints_cost_of_each_recipient() {
    for (source, recipient, other) in [
        ("patron", "kb-recognition", "statistics"),
        ("loan", "statistics", "kb-recognition"),
        ("debt", "deurwaarder", "statistics"),
    ] {
        let result = run_bench(&["--source", source, "--count", "40"], "");
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
        check_output(&result, 0, &want);
        assert!(result.stdout.contains(recipient), "{}", result.stdout);
        assert!(!result.stdout.contains(other), "{}", result.stdout);
    }
}

#[test]
fn bench_json_keys_carry_units() {
    let object = parse_json_output(&run_bench(&["--count", "40", "--json"], ""));
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
    let of_patrons = [
        "acquisitions",
        "family-access",
        "kb-membership",
        "kb-recognition",
        "marketing",
        "newsletter",
        "panel",
    ];
    assert_eq!(names, of_patrons.map(Some));
    for key in ["ns_per_record", "share_percent", "released_percent"] {
        assert!(recipients[0][key].is_number(), "{key}: {object}");
    }
    let whole = parse_json_output(&run_bench(&["--count", "40", "--json", "--no-shares"], ""));
    assert!(whole["records_per_s"].is_number(), "{whole}");
    assert!(whole["reading_ns_per_record"].is_null(), "{whole}");
    assert!(whole["recipients"][0]["share_percent"].is_null(), "{whole}");
    assert!(whole["recipients"][0]["released_percent"].is_number());
}

#[test]
fn bench_accepts_input_lines_of_project() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.ndjson");
    let file = file.to_str().unwrap();
    fs::write(file, format!("{LOAN_LINE}\nnonsense\n{PATRON_LINE}\n")).unwrap();
    let result = run_bench(&["--source", "loan", "--records", file, "--json"], "");
    check_output(&result, 0, &["1 line left out", "line 2"]);
    let object = parse_json_output(&result);
    assert_eq!(object["records"], 1);
    assert_eq!(object["invented"], false);
    // Two keys, and in one of the outputs the loan's reference and the patron's.
    assert_eq!(object["outputs_per_record"], 2.0);
    assert_eq!(object["pseudonyms_per_record"], 4.0);
    assert_eq!(object["refused_records"], 0);
    let words = ["--source", "loan", "--records", "-", "--json"];
    let result = run_bench(&words, LOAN_LINE);
    check_output(&result, 0, &["1 record held"]);
    assert_eq!(parse_json_output(&result)["outputs_per_record"], 0.0);
    assert!(!result.stderr.contains("p1"), "{}", result.stderr);
}

#[test]
fn bench_rejects_invalid_arguments() {
    for (words, input, code, want) in [
        ("--source laon", "", 2, "did you mean `loan`?"),
        ("--source consent", "", 2, "no recipient reads `consent`"),
        ("--source loan --records -", "", 2, "no line is a record of `loan`"),
        ("--source loan --records -", PATRON_LINE, 2, "no line is a record of `loan`"),
        ("--records /nowhere/at-all", "", 1, "cannot be read"),
        ("--records - --count 5", "", 2, "--count"),
        ("--count 0", "", 2, "--count"),
        ("--rounds 0", "", 2, "--rounds"),
        ("--config /nowhere", "", 78, "there is no folder"),
    ] {
        let words: Vec<_> = words.split(' ').collect();
        check_output(
            &run_with_stdin(&[&["bench"], &words[..]].concat(), input.as_bytes()),
            code,
            &[want],
        );
    }
    let line = LOAN_LINE.replace("\"loan\"", "\"laon\"");
    check_output(&run_bench(&["--records", "-"], &line), 2, &["line 1: unknown source"]);
}

#[test]
fn bench_reports_source_it_cannot_generate() {
    let folder = copy_shipped_config();
    for (file, from, to) in [
        ("records/question.toml", "name   = \"question\"", "name   = \"claim\""),
        ("recipients/ido-output.toml", "\"question\"", "\"claim\""),
    ] {
        replace_in_file(&folder, file, from, to);
    }
    let from = folder.path().join("records/question.toml");
    fs::rename(from, folder.path().join("records/claim.toml")).unwrap();
    let words = ["--source", "claim", "--config", path_str(&folder)];
    check_output(&run_bench(&words, ""), 2, &["unknown source to make up `claim`", "--records"]);
}
