//! Who has something is never forgotten: recipients that are switched off, renamed,
//! moved to other topics, kinds or lanes, as people do it with files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the helpers of tests are tests too"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// A config, a directory, and the keys.
struct Place {
    folder: TempDir,
}

/// By output file: the last value of each key; null where it was taken back.
type Has = BTreeMap<String, BTreeMap<String, Value>>;

impl Place {
    /// With invented records, and a first run behind it.
    fn new() -> Place {
        let folder = TempDir::new().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        for below in ["", "records", "recipients"] {
            let to = folder.path().join("config").join(below);
            fs::create_dir_all(&to).unwrap();
            for entry in fs::read_dir(root.join(below)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|ending| ending == "toml") {
                    fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
                }
            }
        }
        let place = Place { folder };
        place.zeef(0, &["keys", "new", "--all"], &[]);
        let output = Command::new(env!("CARGO_BIN_EXE_zeef"))
            .args(["generate", "--patrons", "60", "--directory"])
            .arg(place.path("data"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        place.run(0, &[]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[track_caller]
    fn zeef(&self, code: i32, words: &[&str], want: &[&str]) {
        let output = Command::new(env!("CARGO_BIN_EXE_zeef"))
            .args(words)
            .arg("--config")
            .arg(self.path("config"))
            .env_remove("RUST_LOG")
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        for want in want {
            assert!(said.contains(want), "no {want:?} in:\n{said}");
        }
    }

    #[track_caller]
    fn run(&self, code: i32, want: &[&str]) {
        let data = self.path("data");
        self.zeef(code, &["run", "--directory", data.to_str().unwrap()], want);
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path("config").join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    fn add(&self, lines: &str) {
        let path = self.path("config/zeef.toml");
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
    }

    /// Erases every third patron, beginning with one of the first three.
    fn erase(&self, first: usize) {
        let path = self.path("data/in/patron.ndjson");
        let text = fs::read_to_string(&path).unwrap();
        let keys = text.lines().map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["key"].as_str().unwrap().to_owned()
        });
        let nulls = keys.skip(first).step_by(3).take(12);
        let nulls: String = nulls
            .map(|key| format!("{{\"key\":{key:?},\"value\":null}}\n"))
            .collect();
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(nulls.as_bytes()).unwrap();
    }

    fn has(&self) -> Has {
        let mut has = Has::new();
        for owner in fs::read_dir(self.path("data/out")).unwrap() {
            let owner = owner.unwrap().path();
            if owner.ends_with("zeef") {
                continue;
            }
            for file in fs::read_dir(&owner).unwrap() {
                let file = file.unwrap().path();
                let text = fs::read_to_string(&file).unwrap();
                let mut values = BTreeMap::new();
                for line in text.lines() {
                    let line: Value = serde_json::from_str(line).unwrap();
                    let key = line["key"].as_str().unwrap().to_owned();
                    values.insert(key, line["value"].clone());
                }
                has.insert(
                    file.file_name().unwrap().to_str().unwrap().to_owned(),
                    values,
                );
            }
        }
        has
    }

    /// How many lines all outputs have.
    fn lines(&self) -> usize {
        let owners = fs::read_dir(self.path("data/out")).unwrap();
        let files = owners.flat_map(|owner| fs::read_dir(owner.unwrap().path()).unwrap());
        let text = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
        text.map(|text| text.lines().count()).sum()
    }

    fn of(&self, topic: &str) -> BTreeMap<String, Value> {
        let file = format!("{topic}.ndjson");
        self.has().remove(&file).unwrap_or_default()
    }

    /// How many outputs are there, and how many were taken back.
    fn counts(&self, topic: &str) -> (usize, usize) {
        let all = self.of(topic);
        let gone = all.values().filter(|value| value.is_null()).count();
        (all.len() - gone, gone)
    }
}

const FINANCE: &str = "[lanes.finance]\nrecipients = [\"reservation-slip\"]\n";
const BOTH: &str = "[lanes.finance]\nrecipients = [\"reservation-slip\", \"service-message\"]\n";

/// One night: which lanes there are, whom an erasure reaches before it.
type Night = (&'static str, Option<usize>);

/// What recipients have never depends on lanes: whatever way they go, outputs end as
/// they do without any of that, and nothing is sent twice.
#[test]
fn there_and_back_is_as_if_nobody_had_moved() {
    let stories: [&[Night]; 4] = [
        &[(FINANCE, None), ("", None)],
        &[(FINANCE, Some(0)), ("", Some(1)), (FINANCE, Some(2))],
        &[(BOTH, Some(1)), (FINANCE, None), ("", Some(0))],
        &[(FINANCE, None), (BOTH, Some(2)), (BOTH, None), ("", None)],
    ];
    for story in stories {
        let (moving, still) = (Place::new(), Place::new());
        assert!(moving.counts("out.reservation-slip").0 > 5);
        fs::remove_dir_all(still.path("data")).unwrap();
        fs::remove_dir_all(still.path("config/keys")).unwrap();
        copy(&moving.path("data"), &still.path("data"));
        copy(&moving.path("config/keys"), &still.path("config/keys"));
        let zeef = fs::read_to_string(moving.path("config/zeef.toml")).unwrap();
        let mut before = "";
        for (lanes, erased) in story {
            for place in [&moving, &still] {
                if let Some(first) = erased {
                    place.erase(*first);
                }
            }
            fs::write(moving.path("config/zeef.toml"), format!("{zeef}\n{lanes}")).unwrap();
            let moved = [&["moves to another lane"][..], &[]][usize::from(*lanes == before)];
            moving.run(0, moved);
            before = lanes;
            still.run(0, &[]);
            assert_eq!(moving.has(), still.has());
            assert_eq!(moving.lines(), still.lines());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(fs::copy(&path, &to).unwrap()),
        }
    }
}

const SLIP: &str = "recipients/reservation-slip.toml";
const TOPIC: &str = "out.reservation-slip";

fn former(topic: &str, what: &str) -> String {
    format!("\n[former.reservation-slip]\ntopics = [\"{topic}\"]\nwhat = \"{what}\"\n")
}

#[test]
fn what_a_deleted_recipient_has_is_taken_back() {
    let place = Place::new();
    let (had, _) = place.counts(TOPIC);
    assert!(had > 5);
    let before = place.has();
    fs::remove_file(place.path("config").join(SLIP)).unwrap();
    let number = format!("has {had} outputs on `{TOPIC}`");
    let line = "[former.reservation-slip]\ntopics = [\"out.reservation-slip\"]\nwhat = \"retract\"";
    place.run(78, &[&number, line]);
    assert_eq!(place.has(), before);
    place.add(&former(TOPIC, "retract"));
    place.run(0, &[]);
    assert_eq!(place.counts(TOPIC), (0, had));
    place.run(0, &["`[former.reservation-slip]`", "may go"]);
    place.edit("zeef.toml", &former(TOPIC, "retract"), "");
    place.run(0, &[]);
    let mut others = place.has();
    others.remove(&format!("{TOPIC}.ndjson"));
    let mut wanted = before;
    wanted.remove(&format!("{TOPIC}.ndjson"));
    assert_eq!(others, wanted);
}

#[test]
fn what_is_kept_is_erased_with_its_patron() {
    for first in 0..3 {
        let (place, control) = (Place::new(), Place::new());
        fs::remove_dir_all(control.path("data")).unwrap();
        fs::remove_dir_all(control.path("config/keys")).unwrap();
        copy(&place.path("data"), &control.path("data"));
        copy(&place.path("config/keys"), &control.path("config/keys"));
        let before = place.of(TOPIC);
        place.edit(SLIP, "name ", "enabled = false\nname ");
        place.run(78, &["is switched off"]);
        place.add(&former(TOPIC, "keep"));
        place.run(0, &[]);
        assert_eq!(place.of(TOPIC), before);
        for one in [&place, &control] {
            one.erase(first);
            one.run(0, &[]);
        }
        assert!(control.counts(TOPIC).1 > 0);
        assert_eq!(place.of(TOPIC), control.of(TOPIC));
        // Switched on again, it goes on with what it has.
        place.edit(SLIP, "enabled = false\n", "");
        place.edit("zeef.toml", &former(TOPIC, "keep"), "");
        let lines = place.lines();
        place.run(0, &[]);
        assert_eq!(place.of(TOPIC), control.of(TOPIC));
        assert_eq!(place.lines(), lines);
    }
}

#[test]
fn a_renamed_topic_leaves_nothing_behind() {
    for (what, kept) in [("retract", false), ("keep", true)] {
        let place = Place::new();
        let (had, _) = place.counts(TOPIC);
        place.edit(SLIP, "\"out.reservation-slip\"", "\"out.slips\"");
        place.run(
            78,
            &["is served on another topic", "[former.reservation-slip]"],
        );
        place.add(&former(TOPIC, what));
        place.run(0, &[]);
        place.run(0, &[]);
        assert_eq!(place.counts(TOPIC), if kept { (had, 0) } else { (0, had) });
        assert_eq!(place.counts("out.slips"), (had, 0));
        place.erase(0);
        place.run(0, &[]);
        let gone = place.counts("out.slips").1;
        assert!(gone > 0);
        assert_eq!(place.counts(TOPIC).1, if kept { gone } else { had });
        // And back: what was kept is its own again.
        place.edit(SLIP, "\"out.slips\"", "\"out.reservation-slip\"");
        place.edit("zeef.toml", &former(TOPIC, what), "");
        place.run(78, &["out.slips"]);
        let both = "\n[former.reservation-slip]\ntopics = [\"out.slips\", \"out.reservation-slip\"]\nwhat = \"retract\"\n";
        place.add(both);
        place.run(0, &[]);
        place.run(0, &["may go"]);
        assert_eq!(place.counts(TOPIC), (had - gone, gone));
        assert_eq!(place.counts("out.slips").0, 0);
    }
}

#[test]
fn a_renamed_kind_leaves_nothing_behind() {
    let place = Place::new();
    let (had, _) = place.counts(TOPIC);
    let records = place.path("config/records");
    fs::rename(
        records.join("reservation.toml"),
        records.join("booking.toml"),
    )
    .unwrap();
    place.edit(
        SLIP,
        "source       = \"reservation\"",
        "source       = \"booking\"",
    );
    let text = fs::read_to_string(records.join("booking.toml")).unwrap();
    let named = text.contains("name ");
    if named {
        let text = text.replacen("\"reservation\"", "\"booking\"", 1);
        fs::write(records.join("booking.toml"), text).unwrap();
    }
    place.run(
        78,
        &["another kind of records", "[former.reservation-slip]"],
    );
    place.add(&former(TOPIC, "retract"));
    place.run(0, &[]);
    // Under its new kind the records have other keys.
    assert_eq!(place.counts(TOPIC), (had, had));
    place.run(0, &["may go"]);
}

#[test]
fn a_lane_that_is_gone_leaves_nothing_behind() {
    let place = Place::new();
    let (had, _) = place.counts(TOPIC);
    place.add(FINANCE);
    place.run(0, &["moves to another lane"]);
    // Lane and recipient at once: what it has goes to the main lane.
    fs::remove_file(place.path("config").join(SLIP)).unwrap();
    place.edit("zeef.toml", FINANCE, "");
    place.run(78, &["[former.reservation-slip]", "lane `main`"]);
    place.add(&former(TOPIC, "retract"));
    place.run(0, &[]);
    assert_eq!(place.counts(TOPIC), (0, had));
}
