//! Who has something is never forgotten: recipients that are switched off, renamed,
//! moved to other topics, kinds or lanes, as people do it with files.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests are tests too")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use zeef_test_kit::config::{copy_dir, write_shipped_config};
use zeef_test_kit::process::{CommandOutput, zeef_command};

const ZEEF: &str = env!("CARGO_BIN_EXE_zeef");

/// A config, a directory, and the keys.
struct DirectoryFixture {
    folder: TempDir,
}

/// By output file: the last value of each key; null where it was taken back.
type OutputsByFile = BTreeMap<String, BTreeMap<String, Value>>;

impl DirectoryFixture {
    /// With invented records, and a first run behind it.
    fn new() -> DirectoryFixture {
        let folder = TempDir::new().unwrap();
        write_shipped_config(&folder.path().join("config"));
        let fixture = DirectoryFixture { folder };
        fixture.run_zeef(0, &["keys", "new", "--all"], &[]);
        let mut generate = zeef_command(ZEEF, &["generate", "--patrons", "60", "--directory"]);
        CommandOutput::of(generate.arg(fixture.path("data"))).check(0, &[]);
        fixture.run_directory(0, &[]);
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[track_caller]
    fn run_zeef(&self, code: i32, words: &[&str], want: &[&str]) {
        let mut command = zeef_command(ZEEF, words);
        CommandOutput::of(command.arg("--config").arg(self.path("config"))).check(code, want);
    }

    #[track_caller]
    fn run_directory(&self, code: i32, want: &[&str]) {
        let data = self.path("data");
        self.run_zeef(code, &["run", "--directory", data.to_str().unwrap()], want);
    }

    fn replace_in_file(&self, file: &str, from: &str, to: &str) {
        let path = self.path("config").join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    /// Adds a record that nobody understands, so that the gate has one.
    fn append_gate_record(&self, gate: &str) {
        let path = self.path(&format!("data/in/{gate}.ndjson"));
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"{\"key\":\"somebody\",\"value\":{}}\n").unwrap();
    }

    /// The file of a kind of record, its text, and the line of its topic.
    fn read_kind(&self, kind: &str) -> (PathBuf, String, String) {
        let path = self.path("config").join(format!("records/{kind}.toml"));
        let text = fs::read_to_string(&path).unwrap();
        let topic = text.lines().find(|line| line.starts_with("topic")).unwrap().to_owned();
        (path, text, topic)
    }

    fn append_settings(&self, lines: &str) {
        let path = self.path("config/zeef.toml");
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
    }

    /// Erases every third patron, beginning with one of the first three.
    fn erase_every_third(&self, first: usize) {
        let path = self.path("data/in/patron.ndjson");
        let text = fs::read_to_string(&path).unwrap();
        let keys = text.lines().map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["key"].as_str().unwrap().to_owned()
        });
        let nulls = keys.skip(first).step_by(3).take(12);
        let nulls: String =
            nulls.map(|key| format!("{{\"key\":{key:?},\"value\":null}}\n")).collect();
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(nulls.as_bytes()).unwrap();
    }

    fn outputs(&self) -> OutputsByFile {
        let mut has = OutputsByFile::new();
        for owner in fs::read_dir(self.path("data/out")).unwrap() {
            let owner = owner.unwrap().path();
            if owner.ends_with("zeef") {
                continue;
            }
            for file in fs::read_dir(&owner).unwrap() {
                let file = file.unwrap().path();
                let name = file.file_name().unwrap().to_str().unwrap().to_owned();
                has.insert(name, read_values(&file));
            }
        }
        has
    }

    /// How many lines all outputs have.
    fn count_output_lines(&self) -> usize {
        let owners = fs::read_dir(self.path("data/out")).unwrap();
        let files = owners.flat_map(|owner| fs::read_dir(owner.unwrap().path()).unwrap());
        let text = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
        text.map(|text| text.lines().count()).sum()
    }

    fn outputs_of_topic(&self, topic: &str) -> BTreeMap<String, Value> {
        let file = format!("{topic}.ndjson");
        self.outputs().remove(&file).unwrap_or_default()
    }

    /// How many outputs are there, and how many were taken back.
    fn count_present_and_retracted(&self, topic: &str) -> (usize, usize) {
        count_nulls(&self.outputs_of_topic(topic))
    }
}

/// The last value of each key in an output file.
fn read_values(file: &Path) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (line["key"].as_str().unwrap().to_owned(), line["value"].clone())).collect()
}

/// How many values are there, and how many are null.
fn count_nulls(values: &BTreeMap<String, Value>) -> (usize, usize) {
    let nulls = values.values().filter(|value| value.is_null()).count();
    (values.len() - nulls, nulls)
}

const FINANCE_LANE: &str = "[lanes.finance]\nrecipients = [\"reservation-slip\"]\n";
const FINANCE_LANE_OF_TWO: &str =
    "[lanes.finance]\nrecipients = [\"reservation-slip\", \"service-message\"]\n";

/// One night: which lanes there are, whom an erasure reaches before it.
type DailyRun = (&'static str, Option<usize>);

/// What recipients have never depends on lanes: whatever way they go, outputs end as
/// they do without any of that, and nothing is sent twice.
#[test]
fn lane_moves_there_and_back_leave_same_outputs() {
    let stories: [&[DailyRun]; 4] = [
        &[(FINANCE_LANE, None), ("", None)],
        &[(FINANCE_LANE, Some(0)), ("", Some(1)), (FINANCE_LANE, Some(2))],
        &[(FINANCE_LANE_OF_TWO, Some(1)), (FINANCE_LANE, None), ("", Some(0))],
        &[
            (FINANCE_LANE, None),
            (FINANCE_LANE_OF_TWO, Some(2)),
            (FINANCE_LANE_OF_TWO, None),
            ("", None),
        ],
    ];
    for story in stories {
        let (moving, still) = (DirectoryFixture::new(), DirectoryFixture::new());
        assert!(moving.count_present_and_retracted("out.reservation-slip").0 > 5);
        fs::remove_dir_all(still.path("data")).unwrap();
        fs::remove_dir_all(still.path("config/keys")).unwrap();
        copy_dir(&moving.path("data"), &still.path("data"));
        copy_dir(&moving.path("config/keys"), &still.path("config/keys"));
        let zeef = fs::read_to_string(moving.path("config/zeef.toml")).unwrap();
        let mut before = "";
        for (lanes, erased) in story {
            for fixture in [&moving, &still] {
                if let Some(first) = erased {
                    fixture.erase_every_third(*first);
                }
            }
            fs::write(moving.path("config/zeef.toml"), format!("{zeef}\n{lanes}")).unwrap();
            let moved =
                [&["recipient moves to another lane"][..], &[]][usize::from(*lanes == before)];
            moving.run_directory(0, moved);
            before = lanes;
            still.run_directory(0, &[]);
            assert_eq!(moving.outputs(), still.outputs());
            assert_eq!(moving.count_output_lines(), still.count_output_lines());
        }
    }
}

const SLIP_FILE: &str = "recipients/reservation-slip.toml";
const SLIP_TOPIC: &str = "out.reservation-slip";

fn former_toml(topic: &str, what: &str) -> String {
    format!("\n[former.reservation-slip]\ntopics = [\"{topic}\"]\nwhat = \"{what}\"\n")
}

#[test]
fn deleted_recipient_outputs_are_retracted() {
    let fixture = DirectoryFixture::new();
    let (had, _) = fixture.count_present_and_retracted(SLIP_TOPIC);
    assert!(had > 5);
    let before = fixture.outputs();
    fs::remove_file(fixture.path("config").join(SLIP_FILE)).unwrap();
    let number = format!("has {had} outputs on `{SLIP_TOPIC}`");
    let line = "[former.reservation-slip]\ntopics = [\"out.reservation-slip\"]\nwhat = \"retract\"";
    fixture.run_directory(78, &[&number, line]);
    assert_eq!(fixture.outputs(), before);
    fixture.append_settings(&former_toml(SLIP_TOPIC, "retract"));
    fixture.run_directory(0, &[]);
    assert_eq!(fixture.count_present_and_retracted(SLIP_TOPIC), (0, had));
    fixture.run_directory(0, &["`[former.reservation-slip]`", "may go"]);
    fixture.replace_in_file("zeef.toml", &former_toml(SLIP_TOPIC, "retract"), "");
    fixture.run_directory(0, &[]);
    let mut others = fixture.outputs();
    others.remove(&format!("{SLIP_TOPIC}.ndjson"));
    let mut wanted = before;
    wanted.remove(&format!("{SLIP_TOPIC}.ndjson"));
    assert_eq!(others, wanted);
}

#[test]
fn kept_outputs_are_erased_with_their_patron() {
    for first in 0..3 {
        let (fixture, control) = (DirectoryFixture::new(), DirectoryFixture::new());
        fs::remove_dir_all(control.path("data")).unwrap();
        fs::remove_dir_all(control.path("config/keys")).unwrap();
        copy_dir(&fixture.path("data"), &control.path("data"));
        copy_dir(&fixture.path("config/keys"), &control.path("config/keys"));
        let before = fixture.outputs_of_topic(SLIP_TOPIC);
        fixture.replace_in_file(SLIP_FILE, "name ", "enabled = false\nname ");
        fixture.run_directory(78, &["is switched off"]);
        fixture.append_settings(&former_toml(SLIP_TOPIC, "keep"));
        fixture.run_directory(0, &[]);
        assert_eq!(fixture.outputs_of_topic(SLIP_TOPIC), before);
        for one in [&fixture, &control] {
            one.erase_every_third(first);
            one.run_directory(0, &[]);
        }
        assert!(control.count_present_and_retracted(SLIP_TOPIC).1 > 0);
        assert_eq!(fixture.outputs_of_topic(SLIP_TOPIC), control.outputs_of_topic(SLIP_TOPIC));
        // Switched on again, it goes on with what it has.
        fixture.replace_in_file(SLIP_FILE, "enabled = false\n", "");
        fixture.replace_in_file("zeef.toml", &former_toml(SLIP_TOPIC, "keep"), "");
        let lines = fixture.count_output_lines();
        fixture.run_directory(0, &[]);
        assert_eq!(fixture.outputs_of_topic(SLIP_TOPIC), control.outputs_of_topic(SLIP_TOPIC));
        assert_eq!(fixture.count_output_lines(), lines);
    }
}

#[test]
fn renamed_topic_leaves_no_output_behind() {
    for (what, kept) in [("retract", false), ("keep", true)] {
        let fixture = DirectoryFixture::new();
        let (had, _) = fixture.count_present_and_retracted(SLIP_TOPIC);
        fixture.replace_in_file(SLIP_FILE, "\"out.reservation-slip\"", "\"out.slips\"");
        fixture.run_directory(78, &["is served on another topic", "[former.reservation-slip]"]);
        fixture.append_settings(&former_toml(SLIP_TOPIC, what));
        fixture.run_directory(0, &[]);
        fixture.run_directory(0, &[]);
        assert_eq!(
            fixture.count_present_and_retracted(SLIP_TOPIC),
            if kept { (had, 0) } else { (0, had) }
        );
        assert_eq!(fixture.count_present_and_retracted("out.slips"), (had, 0));
        fixture.erase_every_third(0);
        fixture.run_directory(0, &[]);
        let gone = fixture.count_present_and_retracted("out.slips").1;
        assert!(gone > 0);
        assert_eq!(
            fixture.count_present_and_retracted(SLIP_TOPIC).1,
            if kept { gone } else { had }
        );
        // And back: what was kept is its own again.
        fixture.replace_in_file(SLIP_FILE, "\"out.slips\"", "\"out.reservation-slip\"");
        fixture.replace_in_file("zeef.toml", &former_toml(SLIP_TOPIC, what), "");
        fixture.run_directory(78, &["out.slips"]);
        let both = "\n[former.reservation-slip]\ntopics = [\"out.slips\", \"out.reservation-slip\"]\nwhat = \"retract\"\n";
        fixture.append_settings(both);
        fixture.run_directory(0, &[]);
        fixture.run_directory(0, &["may go"]);
        assert_eq!(fixture.count_present_and_retracted(SLIP_TOPIC), (had - gone, gone));
        assert_eq!(fixture.count_present_and_retracted("out.slips").0, 0);
    }
}

/// In a directory each recipient has a folder: what its former name has lies in another file.
#[test]
fn renamed_recipient_leaves_no_output_behind() {
    for (what, kept) in [("retract", false), ("keep", true)] {
        let fixture = DirectoryFixture::new();
        let (had, _) = fixture.count_present_and_retracted(SLIP_TOPIC);
        let config = fixture.path("config");
        fixture.replace_in_file(SLIP_FILE, "\"reservation-slip\"", "\"pickup-slip\"");
        fs::rename(config.join(SLIP_FILE), config.join("recipients/pickup-slip.toml")).unwrap();
        let key = |name: &str| config.join(format!("keys/{name}.key"));
        fs::rename(key("reservation-slip"), key("pickup-slip")).unwrap();
        fixture.run_directory(78, &["`reservation-slip` is none of the recipients"]);
        fixture.append_settings(&former_toml(SLIP_TOPIC, what));
        fixture.run_directory(0, &[]);
        let counts = |owner: &str| {
            let file = fixture.path("data/out").join(owner).join(format!("{SLIP_TOPIC}.ndjson"));
            count_nulls(&read_values(&file))
        };
        let at_first = if kept { (had, 0) } else { (0, had) };
        assert_eq!((counts("reservation-slip"), counts("pickup-slip")), (at_first, (had, 0)));
        fixture.erase_every_third(0);
        fixture.run_directory(0, &[]);
        let gone = counts("pickup-slip").1;
        assert!(gone > 0);
        let at_last = if kept { (had - gone, gone) } else { (0, had) };
        assert_eq!(counts("reservation-slip"), at_last);
        if kept {
            let [keep, retract] = ["keep", "retract"].map(|what| former_toml(SLIP_TOPIC, what));
            fixture.replace_in_file("zeef.toml", &keep, &retract);
            fixture.run_directory(0, &[]);
            assert_eq!(counts("reservation-slip"), (0, had));
        }
        assert_eq!(counts("pickup-slip"), (had - gone, gone));
    }
}

#[test]
fn renamed_kind_leaves_no_output_behind() {
    let fixture = DirectoryFixture::new();
    let (had, _) = fixture.count_present_and_retracted(SLIP_TOPIC);
    let records = fixture.path("config/records");
    fs::rename(records.join("reservation.toml"), records.join("booking.toml")).unwrap();
    fixture.replace_in_file(
        SLIP_FILE,
        "source       = \"reservation\"",
        "source       = \"booking\"",
    );
    fixture.replace_in_file(
        "recipients/self-service.toml",
        "count = \"reservation\"",
        "count = \"booking\"",
    );
    let text = fs::read_to_string(records.join("booking.toml")).unwrap();
    let named = text.contains("name ");
    if named {
        let text = text.replacen("\"reservation\"", "\"booking\"", 1);
        fs::write(records.join("booking.toml"), text).unwrap();
    }
    fixture.run_directory(78, &["another kind of records", "[former.reservation-slip]"]);
    fixture.append_settings(&former_toml(SLIP_TOPIC, "retract"));
    fixture.run_directory(0, &[]);
    // Under its new kind the records have other keys.
    assert_eq!(fixture.count_present_and_retracted(SLIP_TOPIC), (had, had));
    fixture.run_directory(0, &["may go"]);
}

/// What a gate said counts until somebody says that it does not: whichever gate it is, and
/// whether its topic has another name or its kind is gone.
#[test]
fn gate_that_the_config_reads_no_more_stops_the_start() {
    let fixture = DirectoryFixture::new();
    // So few patrons object and pay so little that there may be no record of it.
    for gate in ["objection", "settlement"] {
        fixture.append_gate_record(gate);
    }
    fixture.run_directory(0, &[]);
    let before = fixture.outputs();
    for gate in ["objection", "consent", "settlement", "patron"] {
        let (path, text, topic) = fixture.read_kind(gate);
        fs::write(&path, text.replacen(&topic, "topic = \"renamed\"", 1)).unwrap();
        let words = [format!("in/{gate}.ndjson"), "counts for nothing from now on".to_owned()];
        let words = words.each_ref().map(String::as_str);
        fixture.run_directory(70, &words);
        assert!(!fixture.path("data/in/renamed.ndjson").exists());
        if gate == "settlement" {
            fs::remove_file(&path).unwrap();
            fixture.run_directory(70, &words);
        }
        fs::write(&path, text).unwrap();
        assert_eq!(fixture.outputs(), before, "{gate}");
    }
    fixture.run_directory(0, &[]);
}

/// Whatever two gates exchange their topics, what each said would be read as the other's.
#[test]
fn gates_that_exchange_their_topics_stop_the_start() {
    let fixture = DirectoryFixture::new();
    let gates = ["objection", "consent", "settlement", "patron"];
    for gate in gates {
        fixture.append_gate_record(gate);
    }
    fixture.run_directory(0, &[]);
    let before = fixture.outputs();
    for (at, one) in gates.iter().enumerate() {
        for other in &gates[at + 1..] {
            let topics = [one, other].map(|gate| fixture.read_kind(gate));
            let [(path, text, topic), (other_path, other_text, other_topic)] = &topics;
            fs::write(path, text.replacen(topic, other_topic, 1)).unwrap();
            fs::write(other_path, other_text.replacen(other_topic, topic, 1)).unwrap();
            let words = [one, other].map(|gate| format!("in/{gate}.ndjson"));
            let words = words.iter().map(String::as_str).chain(["it was read as the gate"]);
            fixture.run_directory(70, &words.collect::<Vec<_>>());
            assert_eq!(fixture.outputs(), before, "{one} and {other}");
            for (path, text, _) in &topics {
                fs::write(path, text).unwrap();
            }
        }
    }
    fixture.run_directory(0, &[]);
}

/// Commands that are lost were carried out, or are given again: none is ignored for being fewer.
#[test]
fn refill_is_carried_out_after_commands_were_lost() {
    let fixture = DirectoryFixture::new();
    let data = fixture.path("data");
    let refill = |recipient: &str| {
        let words = ["refill", recipient, "--reason", "a test", "--directory"];
        fixture.run_zeef(0, &[&words[..], &[data.to_str().unwrap()]].concat(), &[]);
        fixture.run_directory(0, &[]);
    };
    refill("reservation-slip");
    refill("kb-recognition");
    fs::remove_file(fixture.path("data/.zeef/commands.ndjson")).unwrap();
    fixture.run_directory(0, &["created anew"]);
    let (before, had) =
        (fixture.count_output_lines(), fixture.count_present_and_retracted(SLIP_TOPIC));
    refill("reservation-slip");
    assert_eq!(fixture.count_output_lines(), before + had.0);
    // Once, and not at each start.
    fixture.run_directory(0, &[]);
    assert_eq!(fixture.count_output_lines(), before + had.0);
}

#[test]
fn removed_lane_leaves_no_output_behind() {
    let fixture = DirectoryFixture::new();
    let (had, _) = fixture.count_present_and_retracted(SLIP_TOPIC);
    fixture.append_settings(FINANCE_LANE);
    fixture.run_directory(0, &["recipient moves to another lane"]);
    // Lane and recipient at once: what it has goes to the main lane.
    fs::remove_file(fixture.path("config").join(SLIP_FILE)).unwrap();
    fixture.replace_in_file("zeef.toml", FINANCE_LANE, "");
    fixture.run_directory(78, &["[former.reservation-slip]", "lane `main`"]);
    fixture.append_settings(&former_toml(SLIP_TOPIC, "retract"));
    fixture.run_directory(0, &[]);
    assert_eq!(fixture.count_present_and_retracted(SLIP_TOPIC), (0, had));
}

/// Outputs in another format, or by another schema, are others: they are sent again, once.
#[test]
fn change_of_format_sends_every_output_again_once() {
    let fixture = DirectoryFixture::new();
    let topic = "out.service-message";
    let (present, _) = fixture.count_present_and_retracted(topic);
    assert!(present > 5, "{present}");
    fixture.append_settings("\n[schema_registry]\nurl = \"http://127.0.0.1:1\"\n");
    fixture.run_directory(0, &[]);
    let before = fixture.count_output_lines();
    let file = "recipients/service-message.toml";
    fixture.replace_in_file(file, "\ntopic ", "\nformat = \"avro\"\ntopic ");
    for _ in 0..2 {
        fixture.run_directory(0, &[]);
        assert_eq!(fixture.count_output_lines(), before + present);
    }
    // Another field name, with the same bytes in Avro.
    fixture.replace_in_file(file, "\ndue_on ", "\ndue_date ");
    for _ in 0..2 {
        fixture.run_directory(0, &[]);
        assert_eq!(fixture.count_output_lines(), before + 2 * present);
    }
    assert_eq!(fixture.count_present_and_retracted(topic).0, present);
}
