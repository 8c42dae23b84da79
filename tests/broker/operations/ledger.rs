//! The ledger's audit, checkpoints and forgotten years on Kafka.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};
use zeef::config::keyring::{KeyRing, STATE_KEY_NAME};
use zeef::engine::memory::deliveries::StateKeys;
use zeef::ledger::LEDGER_TOPIC;
use zeef::ledger::block::{Block, ChainName, digest_hex};
use zeef::ledger::forget::ForgetPlan;
use zeef::message::continuity::{ContinuityMark, Fingerprinter, MARK_ROW_KEY};
use zeef::policy::Policy;
use zeef::transport::kafka::KafkaSettings;
use zeef::transport::kafka::lane_states::{PartitionRows, StateReader, StateRewriter};
use zeef::transport::kafka::read_topic::read_rows_with_offsets;
use zeef::transport::kafka::topics::{delete_records_before, fetch_ends};

use zeef_test_kit::schema_registry::{RegistryMood, TestRegistry};
use zeef_test_kit::timestamp_authority::{AUTHORITY_NAME, AuthorityOptions, TestAuthority};

use crate::harness::eventually;

use super::repartition::recreate_sources;
use super::test_site::WAIT_TIMEOUT;
use super::{SiteOptions, TestSite, open_loan, patron_record};

const LEDGER_TABLE: &str = r#"
[ledger]
enabled    = true
operator   = "beheer"
keep_years = 0
"#;

const TABLES: &str = r#"
[ledger]
enabled    = true
operator   = "beheer"
keep_years = 0

[ledger.checkpoints]
enabled       = true
every_seconds = 1
copy          = "outside.checkpoint"
"#;

fn ledger_ends(settings: &KafkaSettings) -> BTreeMap<i32, i64> {
    (0..).zip(fetch_ends(settings, LEDGER_TOPIC).unwrap().unwrap()).collect()
}

fn options(partitions: usize) -> SiteOptions<'static> {
    SiteOptions {
        recipients: &["service-message"],
        partitions,
        extra_tables: TABLES,
        ..SiteOptions::default()
    }
}

fn ledger_site(test: &str) -> Option<TestSite<'static>> {
    TestSite::new(test, options(2))
}

/// Runs a command that has to end with `code`; returns what it printed.
#[track_caller]
pub(super) fn run_command(site: &TestSite<'_>, words: &[&str], code: i32) -> String {
    let mut zeef = site.spawn_command(words);
    let ended = zeef.wait_exit(WAIT_TIMEOUT);
    assert_eq!(ended, code, "{words:?}: {}{}", zeef.stdout(), zeef.stderr());
    match code {
        0 => zeef.stdout(),
        _ => format!("{}{}", zeef.stdout(), zeef.stderr()),
    }
}

fn write_loans(site: &TestSite<'_>, from: usize) {
    let patrons: Vec<String> = (0..4).map(|number| format!("P{number}")).collect();
    let loans: Vec<_> =
        patrons.iter().map(|patron| open_loan(&format!("L{from}-{patron}"), patron)).collect();
    if from == 0 {
        let records: Vec<_> = patrons.iter().map(|id| patron_record(id, "Berg")).collect();
        site.topics.write_records("patron", &records);
    }
    site.topics.write_records("loan", &loans);
}

#[test]
fn audit_on_kafka_is_one_chain_however_many_write_at_once() {
    let Some(site) = ledger_site("audit") else {
        return;
    };
    write_loans(&site, 0);
    site.run_until_end(&[]);
    let mut commands: Vec<_> =
        (0..4).map(|_| site.spawn_command(&["ledger", "patron", "P1", "--json"])).collect();
    for command in &mut commands {
        let code = command.wait_exit(WAIT_TIMEOUT);
        assert_eq!(code, 0, "{}", command.stderr());
        assert!(command.stdout().contains("service-message"), "{}", command.stdout());
    }
    let listed = run_command(&site, &["ledger", "audit", "--json"], 0);
    let lines: Vec<Value> =
        listed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let actions: Vec<&str> = lines.iter().filter_map(|line| line["action"].as_str()).collect();
    assert_eq!(
        actions,
        ["run", "ledger patron", "ledger patron", "ledger patron", "ledger patron"]
    );
    let patrons: Vec<&Value> = lines.iter().map(|line| &line["patron"]).collect();
    assert!(patrons[1].is_string() && patrons[1..].iter().all(|one| *one == patrons[1]));
    for message in site.topics.read_committed("zeef.audit") {
        assert!(!message.value_text().unwrap().contains("\"P1\""));
    }
    let verified = run_command(&site, &["ledger", "verify"], 0);
    assert!(verified.contains("audit: 5 lines"), "{verified}");
    // Without its topic nothing is shown.
    site.topics.delete("zeef.audit");
    let refused = run_command(&site, &["ledger", "patron", "P1"], 1);
    assert!(refused.contains("audit") && !refused.contains("service-message"), "{refused}");
}

#[test]
fn checkpoints_on_kafka_beside_a_copy_show_that_they_were_rolled_back() {
    let Some(site) = ledger_site("checkpoints") else {
        return;
    };
    let copy = Path::new(site.config_path()).join("outside.checkpoint");
    write_loans(&site, 0);
    site.run_until_end(&[]);
    // Two processes sign one tree.
    let one = site.spawn_ready_run(&["--instance", "one"]);
    let two = site.spawn_ready_run(&["--instance", "two"]);
    write_loans(&site, 1);
    eventually("lines of both rounds", WAIT_TIMEOUT, || {
        let stats = run_command(&site, &["ledger", "stats", "--json"], 0);
        let stats: Value = serde_json::from_str(stats.trim()).ok()?;
        (stats["lines"].as_u64()? >= 8).then_some(())
    });
    // While they go on, not at their end.
    let number_in_copy =
        || -> Option<u64> { std::fs::read_to_string(&copy).ok()?.lines().nth(1)?.parse().ok() };
    let before = number_in_copy();
    write_loans(&site, 2);
    eventually("a checkpoint of the third round", WAIT_TIMEOUT, || {
        (number_in_copy() > before).then_some(())
    });
    drop((one, two));
    site.run_until_end(&[]);
    let verify = ["ledger", "verify", "--from", copy.to_str().unwrap()];
    let verified = run_command(&site, &verify, 0);
    assert!(verified.contains("checkpoints, each behind"), "{verified}");
    let text = std::fs::read_to_string(&copy).unwrap();
    assert!(text.starts_with("zeef.ledger\n"), "{text}");
    for message in site.topics.read_committed("zeef.checkpoints") {
        assert!(!message.value_text().unwrap().contains("P1"));
    }
    site.topics.delete("zeef.checkpoints");
    site.apply_topics();
    let said = site.expect_run_exit(&["--until-end"], 70);
    assert!(said.contains("rolled back together"), "{said}");
    let said = run_command(&site, &verify, 1);
    assert!(said.contains("rolled back"), "{said}");
}

/// The server has what the topic has, and the timestamps lie on a topic of their own.
#[test]
fn checkpoints_on_kafka_are_posted_and_have_a_timestamp() {
    let server = TestRegistry::default();
    server.set_mood(RegistryMood::Says(200, String::new()));
    let webhook = format!("webhook = {{ url = \"{}/hook\" }}\n", server.url());
    let tables = format!("{TABLES}{webhook}");
    let site = TestSite::new("timestamps", SiteOptions { extra_tables: &tables, ..options(2) });
    let Some(site) = site else {
        return;
    };
    write_loans(&site, 0);
    site.run_until_end(&[]);
    let newest = || site.topics.read_committed("zeef.checkpoints").pop().unwrap();
    let posted = server.requests();
    let posted = String::from_utf8_lossy(&posted.last().unwrap().body).into_owned();
    assert_eq!(Some(posted), newest().value_text().map(str::to_owned));
    let folder = Path::new(site.config_path()).join("tsa");
    let authority = TestAuthority::new(&folder, AuthorityOptions::default());
    let (url, ca) = (format!("http://{}", authority.serve(200, 1)), authority.ca_file());
    let ca = ca.to_str().unwrap();
    let request = ["ledger", "timestamp", "request", "--url", &url, "--ca", ca];
    let said = run_command(&site, &request, 0);
    assert!(said.contains("was there at") && said.contains(AUTHORITY_NAME), "{said}");
    // A run goes on behind its checkpoints, whatever is asked.
    write_loans(&site, 1);
    site.run_until_end(&[]);
    let verified = run_command(&site, &["ledger", "verify", "--ca", ca], 0);
    assert!(verified.contains("1 timestamp; checkpoint"), "{verified}");
    site.topics.delete("zeef.timestamps");
    let said = run_command(&site, &request, 1);
    assert!(said.contains("zeef.timestamps") && said.contains("zeef topics --apply"), "{said}");
    let verified = run_command(&site, &["ledger", "verify"], 0);
    assert!(!verified.contains("timestamp"), "{verified}");
}

#[test]
fn forgotten_year_on_kafka_is_deleted_and_a_start_goes_on() {
    let Some(site) = ledger_site("years") else {
        return;
    };
    write_loans(&site, 0);
    site.run_until_end(&[]);
    let year = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).year();
    let refused = run_command(&site, &["ledger", "forget", &year.to_string()], 2);
    assert!(refused.contains("is not over yet"), "{refused}");
    // No line is of last year, so nothing goes, and a start goes on.
    let forgotten = run_command(&site, &["ledger", "forget", &(year - 1).to_string()], 0);
    assert!(forgotten.contains("0 blocks"), "{forgotten}");
    write_loans(&site, 1);
    site.run_until_end(&[]);
    run_command(&site, &["ledger", "verify"], 0);
    // As the command does once this year is over.
    forget_all(&site, year);
    write_loans(&site, 2);
    site.run_until_end(&[]);
    run_command(&site, &["ledger", "verify"], 0);
    assert_eq!(blocks(&site), site.topics.read_committed("zeef.ledger").len());
    // What is deleted besides is missed.
    for partition in 0..2 {
        let ends = ledger_ends(&site.topics.kafka_settings());
        site.topics.delete_records_before("zeef.ledger", partition, ends[&partition]);
    }
    let said = site.expect_run_exit(&["--until-end"], 70);
    assert!(said.contains("ledger shorter than it was"), "{said}");
    run_command(&site, &["ledger", "verify"], 1);
}

/// The blocks of a year before, killed at several times, and done again.
#[test]
fn older_year_on_kafka_is_forgotten_however_often_it_is_killed() {
    let options = SiteOptions { extra_tables: LEDGER_TABLE, ..options(2) };
    let Some(site) = TestSite::new("old_year", options) else {
        return;
    };
    let year = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).year();
    let key = Path::new(site.config_path()).join("keys/zeef.ledger.key");
    let text = std::fs::read_to_string(&key).unwrap();
    let old_key = text.replacen(&format!("y{year}"), &format!("y{}", year - 2), 1);
    assert_ne!(old_key, text);
    std::fs::write(&key, &old_key).unwrap();
    write_loans(&site, 0);
    site.run_until_end(&[]);
    check_script(&site, Outputs::Compared);
    let old = blocks(&site);
    move_blocks_back(&site, 2 * 366 * 86_400);
    run_command(&site, &["ledger", "verify"], 0);
    write_loans(&site, 1);
    site.run_until_end(&[]);
    let all = blocks(&site);
    assert!(old > 0 && all > old, "{old} of {all}");

    let year_word = (year - 1).to_string();
    let forget = ["ledger", "forget", year_word.as_str()];
    let dry_run = run_command(&site, &[&forget[..], &["--dry-run"]].concat(), 0);
    assert!(dry_run.contains(&format!("{old} blocks")), "{dry_run}");
    let mut kills = 0;
    for wait_ms in [200, 500, 900, 1_400, 2_000] {
        let mut command = site.spawn_command(&forget);
        std::thread::sleep(std::time::Duration::from_millis(wait_ms));
        if command.exit_code().is_none() {
            kills += 1;
            command.send_signal(Signal::KILL);
        }
        command.wait_exit(WAIT_TIMEOUT);
        // Whatever is gone already, nothing is missed.
        run_command(&site, &["ledger", "verify"], 0);
    }
    assert!(kills > 0, "it was never killed");
    run_command(&site, &forget, 0);
    assert_eq!(blocks(&site), all - old);
    let new_key = std::fs::read_to_string(&key).unwrap();
    assert!(new_key.starts_with(&format!("y{year}-derived:")), "another id");
    assert!(!new_key.contains(old_key.trim_end().split(':').nth(1).unwrap()));
    run_command(&site, &["ledger", "verify"], 0);
    check_script(&site, Outputs::Left);
    write_loans(&site, 2);
    site.run_until_end(&[]);
    run_command(&site, &["ledger", "verify"], 0);
    check_script(&site, Outputs::Left);
    let answer = run_command(&site, &["ledger", "patron", "P1", "--json"], 0);
    let answer: Value = serde_json::from_str(answer.trim()).unwrap();
    assert_eq!(answer["history"].as_array().unwrap().len(), 2, "{answer}");
    assert_eq!(answer["now"][0]["records"], 3, "{answer}");
}

/// Writes all blocks anew as if they were older, with the heads that belong to them.
fn move_blocks_back(site: &TestSite<'_>, seconds: i64) {
    let settings = site.topics.kafka_settings();
    let ends = ledger_ends(&settings);
    let mut by_partition = BTreeMap::<i32, (String, Vec<Vec<u8>>)>::new();
    read_rows_with_offsets(&settings, LEDGER_TOPIC, &mut |_, row| {
        let mut block: Block<'_> = serde_json::from_slice(row.value.unwrap()).unwrap();
        let (last, blocks) = by_partition.entry(row.partition.unwrap()).or_default();
        block.time -= seconds;
        if block.sequence > 1 {
            block.previous = last.clone().into();
        }
        let bytes = serde_json::to_vec(&block).unwrap();
        *last = digest_hex(&bytes);
        blocks.push(bytes);
    })
    .unwrap();
    let states = StateReader::open(&settings).unwrap();
    let state = states.list_topics("zeef.state.main").unwrap().remove(0);
    let fingerprinter = fingerprinter(site);
    let mut rows = Vec::new();
    let mut marks = BTreeMap::new();
    for (partition, mark) in states.read_marks_by_partition(&state).unwrap() {
        let mut mark = ContinuityMark::decode(&fingerprinter, &mark).unwrap();
        if let (Some(head), Some((hash, _))) = (&mut mark.ledger, by_partition.get(&partition)) {
            head.hash.clone_from(hash);
            marks.insert(partition, mark.encode(&fingerprinter));
        }
    }
    for (&partition, (_, blocks)) in &by_partition {
        let blocks = blocks.iter().map(|block| (&b""[..], Some(block.as_slice())));
        rows.push(PartitionRows { topic: LEDGER_TOPIC, partition, rows: blocks.collect() });
        let mark = vec![(MARK_ROW_KEY, Some(marks[&partition].as_slice()))];
        rows.push(PartitionRows { topic: &state.name, partition, rows: mark });
    }
    StateRewriter::open(&settings).unwrap().write(&["main"], &rows, &[]).unwrap();
    delete_records_before(&settings, LEDGER_TOPIC, &ends).unwrap();
}

/// Whether the script compares outputs with the ledger.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outputs {
    Compared,
    /// What was sent in a forgotten year is in no ledger any more.
    Left,
}

/// The script finds what a read_committed consumer gets whole, with the heads of the states.
fn check_script(site: &TestSite<'_>, outputs: Outputs) {
    let folder = tempfile::tempdir().unwrap();
    let [blocks, register, audit, heads, sent] =
        ["blocks", "register", "audit", "heads", "sent"].map(|name| folder.path().join(name));
    let messages = site.topics.read_committed("out.service-message");
    let lines = messages.iter().map(|one| {
        json!({"topic": "out.service-message", "key": one.key_text(), "payload": one.value_text()})
            .to_string()
    });
    std::fs::write(&sent, lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
    for (path, topic) in
        [(&blocks, "zeef.ledger"), (&register, "zeef.policy"), (&audit, "zeef.audit")]
    {
        let messages = site.topics.read_committed(topic);
        let lines: Vec<&str> = messages.iter().filter_map(|one| one.value_text()).collect();
        std::fs::write(path, lines.join("\n") + "\n").unwrap();
    }
    run_command(site, &["ledger", "verify", "--heads", heads.to_str().unwrap()], 0);
    let mut script = std::process::Command::new("python3");
    script.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/verify_ledger.py"));
    script.args([&blocks, &audit]).arg("--register").arg(&register).arg("--heads").arg(&heads);
    if outputs == Outputs::Compared {
        assert!(!messages.is_empty());
        script.args(["--outputs", "service-message"]).arg(&sent);
    }
    let ran = script.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}");
}

fn fingerprinter(site: &TestSite<'_>) -> Fingerprinter {
    let loaded = Policy::load(Path::new(site.config_path())).unwrap();
    let keys = KeyRing::load_only(&loaded.daemon.keys, [STATE_KEY_NAME]).unwrap();
    StateKeys::new(keys.state_key().unwrap()).fingerprinter()
}

/// Of one patron alone, and only behind a line of the audit.
#[test]
fn values_on_kafka_are_those_of_one_patron() {
    let Some(site) = ledger_site("values") else {
        return;
    };
    write_loans(&site, 0);
    site.run_until_end(&[]);
    write_loans(&site, 1);
    site.run_until_end(&[]);
    let words = ["ledger", "patron", "P1", "--values", "--identity-checked", "passport", "--json"];
    let answer: Value = serde_json::from_str(&run_command(&site, &words, 0)).unwrap();
    let values = answer["values"].as_array().unwrap();
    let titles: Vec<&str> =
        values.iter().filter_map(|one| one["value"]["title"].as_str()).collect();
    let mut sorted = titles.clone();
    sorted.sort_unstable();
    assert_eq!((sorted, values.len()), (vec!["L0-P1", "L1-P1"], 2), "{answer}");
    let listed = run_command(&site, &["ledger", "audit", "--json"], 0);
    assert!(listed.lines().last().unwrap().contains("ledger patron --values"), "{listed}");
}

/// Asks for the lines of a patron over HTTP; yields status and body.
fn ask_read_interface(address: &str, token: &str, patron: &str) -> (u16, Value) {
    let (host, path) = address.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let body = serde_json::json!({
        "dpl.core.data_subject_id": patron, "dpl.core.data_subject_id_type": "patron",
    });
    let body = body.to_string();
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

#[test]
fn read_interface_on_kafka_answers_what_was_given_to_one_patron() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let Some(site) = ledger_site("serve") else {
        return;
    };
    write_loans(&site, 0);
    site.run_until_end(&[]);
    let file = format!("{}/read.token", site.config_path());
    std::fs::write(&file, TOKEN).unwrap();
    let words = ["ledger", "serve", "--token-file", &file, "--listen", "127.0.0.1:0"];
    let mut service = site.spawn_command(&words);
    let address = eventually("it listens", WAIT_TIMEOUT, || {
        let said = service.stdout();
        Some(said.lines().next()?.strip_prefix("listening on ")?.to_owned())
    });
    let count = |patron: &str| {
        let (status, answer) = ask_read_interface(&address, TOKEN, patron);
        assert_eq!(status, 200, "{answer}");
        answer["processingActivities"].as_array().unwrap().len()
    };
    assert_eq!((count("P1"), count("nobody")), (1, 0));
    // What is committed meanwhile is in the next answer.
    write_loans(&site, 1);
    site.run_until_end(&[]);
    assert_eq!(count("P1"), 2);
    let (status, problem) = ask_read_interface(&address, "another", "P1");
    assert_eq!((status, &problem["status"]), (401, &401.into()), "{problem}");
    service.send_signal(Signal::TERM);
    assert_eq!(service.wait_exit(WAIT_TIMEOUT), 0, "{}", service.stderr());
    let listed = run_command(&site, &["ledger", "audit", "--json"], 0);
    assert_eq!(listed.matches("\"ledger serve\"").count(), 3, "{listed}");
}

#[test]
fn repartition_widens_the_ledger_and_its_chains_go_on() {
    let Some(site) = ledger_site("widened") else {
        return;
    };
    write_loans(&site, 0);
    site.run_until_end(&[]);
    recreate_sources(&site, options(4));
    write_loans(&site, 0);
    run_command(&site, &["lanes", "apply", "--repartition"], 0);
    let ledger = site.topics.full_name("zeef.ledger");
    assert_eq!(site.broker.partitions(&ledger).len(), 4);
    write_loans(&site, 1);
    site.run_until_end(&[]);
    run_command(&site, &["ledger", "verify"], 0);
    let answer = run_command(&site, &["ledger", "patron", "P1", "--json"], 0);
    let answer: Value = serde_json::from_str(answer.trim()).unwrap();
    assert_eq!(answer["now"][0]["records"], 2, "{answer}");
}

/// How many blocks lie on Kafka.
fn blocks(site: &TestSite<'_>) -> usize {
    let mut count = 0;
    read_rows_with_offsets(&site.topics.kafka_settings(), LEDGER_TOPIC, &mut |_, _| count += 1)
        .unwrap();
    count
}

fn forget_all(site: &TestSite<'_>, year: i16) {
    let settings = site.topics.kafka_settings();
    let fingerprinter = fingerprinter(site);
    let ends = ledger_ends(&settings);
    let mut plan = ForgetPlan::new(year);
    read_rows_with_offsets(&settings, LEDGER_TOPIC, &mut |offset, row| {
        let block: Block<'_> = serde_json::from_slice(row.value.unwrap()).unwrap();
        plan.add_block((row.partition.unwrap(), offset), &block);
    })
    .unwrap();
    assert!(plan.blocks_removed > 0 && plan.first_kept.is_empty());
    let states = StateReader::open(&settings).unwrap();
    let state = states.list_topics("zeef.state.main").unwrap().remove(0);
    let mut marks = BTreeMap::new();
    for (partition, mark) in states.read_marks_by_partition(&state).unwrap() {
        let mut mark = ContinuityMark::decode(&fingerprinter, &mark).unwrap();
        let Some(head) = &mut mark.ledger else {
            continue;
        };
        let chain = ChainName { lane: "main".to_owned(), partition, born: head.born };
        assert!(plan.move_start(&chain.to_string(), head));
        marks.insert(partition, mark.encode(&fingerprinter));
    }
    let rows: Vec<PartitionRows<'_>> = marks
        .iter()
        .map(|(partition, mark)| PartitionRows {
            topic: &state.name,
            partition: *partition,
            rows: vec![(MARK_ROW_KEY, Some(mark.as_slice()))],
        })
        .collect();
    StateRewriter::open(&settings).unwrap().write(&["main"], &rows, &[]).unwrap();
    delete_records_before(&settings, LEDGER_TOPIC, &ends).unwrap();
    assert_eq!(blocks(site), 0);
}

/// The operation of the upstream, as the header of a message says it: in the lines of its record,
/// once, also after a kill; and in no output.
#[test]
fn foreign_operations_on_kafka_are_those_of_the_headers() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319";
    const OPERATION: &str = "b7ad6b7169203331";
    let extra_tables = LEDGER_TABLE;
    let Some(site) = TestSite::new("trace", SiteOptions { extra_tables, ..options(2) }) else {
        return;
    };
    let traced = |number: usize| {
        let parent = format!("00-{TRACE}{number:x}-{OPERATION}-01");
        open_loan(&format!("L{number}"), "P0").with_header("traceparent", parent)
    };
    site.topics.write_records("patron", &[patron_record("P0", "Berg")]);
    site.topics.write_records("loan", &(0..8).map(traced).collect::<Vec<_>>());
    let zeef = site.spawn_ready_run(&[]);
    site.topics.write_records("loan", &(8..16).map(traced).collect::<Vec<_>>());
    zeef.send_signal(Signal::KILL);
    // Of these none is told: it has two, one that cannot be read, or none.
    let malformed = format!("00-{TRACE}-{OPERATION}-01");
    let whole = format!("00-{TRACE}0-{OPERATION}-01");
    let others = [
        open_loan("L16", "P0")
            .with_header("traceparent", &whole)
            .with_header("traceparent", &whole),
        open_loan("L17", "P0").with_header("traceparent", &malformed),
        open_loan("L18", "P0").with_header("Traceparent", &whole),
        open_loan("L19", "P0"),
    ];
    site.topics.write_records("loan", &others);
    site.run_until_end(&[]);
    let (mut told, mut releases) = (Vec::new(), 0);
    for message in site.topics.read_committed(LEDGER_TOPIC) {
        let block: Block<'_> = serde_json::from_str(message.value_text().unwrap()).unwrap();
        releases += block.lines.iter().filter(|line| line.is_given()).count();
        told.extend(block.lines.iter().filter_map(|line| {
            let one = line.foreign_operation.as_ref()?;
            Some(format!("{}-{}", one.trace, one.operation))
        }));
    }
    told.sort();
    let want: Vec<String> =
        (0..16).map(|number| format!("{TRACE}{number:x}-{OPERATION}")).collect();
    assert_eq!((told, releases), (want, 20));
    let outputs = site.read_outputs("service-message");
    assert_eq!(outputs.len(), 20);
    for row in outputs {
        let text = format!("{:?} {:?} {:?}", row.key_text(), row.value_text(), row.headers);
        assert!(!text.contains(TRACE) && !text.contains("traceparent"), "{text}");
    }
    assert!(run_command(&site, &["ledger", "verify"], 0).starts_with("ok "));
}
