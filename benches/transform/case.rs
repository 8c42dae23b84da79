//! The policies of the cases: made of the files that are there, by copying
//! recipients under other names, and by leaving lines out.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::common::serde_value::{Field, PROFILES, Profile};

/// A policy of the patron source.
pub(crate) struct Case {
    pub(crate) name: String,
    /// The recipients of the benches' own policy, each so many times.
    of: &'static [&'static str],
    copies: usize,
    pseudonyms: bool,
    scrub: bool,
}

const ALL: &[&str] = &["desk", "letters", "membership", "programming"];

impl Case {
    pub(crate) fn all() -> Vec<Case> {
        let case = |of: &'static [&'static str], copies, pseudonyms, scrub| {
            let count = of.len() * copies;
            let recipients = if count == 1 {
                "recipient"
            } else {
                "recipients"
            };
            let left_out = match (pseudonyms, scrub) {
                (true, true) => "",
                (false, true) => " without pseudonyms",
                (true, false) => " without scrub",
                (false, false) => " without pseudonyms and scrub",
            };
            Case {
                name: format!("{count} {recipients}{left_out}"),
                of,
                copies,
                pseudonyms,
                scrub,
            }
        };
        vec![
            case(&["desk"], 1, true, true),
            case(ALL, 1, true, true),
            case(ALL, 4, true, true),
            case(ALL, 1, false, true),
            case(ALL, 1, true, false),
            case(ALL, 1, false, false),
        ]
    }

    pub(crate) fn recipients(&self) -> usize {
        self.of.len() * self.copies
    }

    /// Every recipient and its copies, in the order of their names.
    fn names(&self) -> impl Iterator<Item = (&'static str, String)> {
        let copies = 1..=self.copies;
        self.of.iter().flat_map(move |of| {
            copies.clone().map(move |copy| match copy {
                1 => (*of, (*of).to_owned()),
                _ => (*of, format!("{of}-{copy}")),
            })
        })
    }

    /// Writes the policy into a folder of its own.
    pub(crate) fn folder(&self, base: &Path) -> TempDir {
        let folder = start(base);
        for (of, name) in self.names() {
            let text = recipient(base, of)
                .replace(&format!("\"{of}\""), &format!("\"{name}\""))
                .replace(&format!("\"out.{of}\""), &format!("\"out.{name}\""));
            let text = without(&text, |line| self.leaves_out(line));
            write(&folder, &name, &text);
        }
        folder
    }

    fn leaves_out(&self, line: &str) -> bool {
        (!self.pseudonyms && is_pseudonym(line)) || (!self.scrub && line.contains("detect ="))
    }

    /// The same policy, as the way with `Value` has it.
    pub(crate) fn profiles(&self) -> impl Iterator<Item = Profile> {
        self.names().map(|(of, name)| {
            let mut profiles = PROFILES.iter();
            let (_, fields) = profiles.find(|(one, _)| *one == of).expect("a profile");
            let fields = fields.iter().copied().filter(|(_, field)| match field {
                Field::PatronRef => self.pseudonyms,
                Field::Note => self.scrub,
                Field::At(..) | Field::Object(..) => true,
            });
            (name, fields.collect())
        })
    }
}

/// The shipped policy, or a part of it.
pub(crate) struct Shipped {
    folder: TempDir,
    /// Some line was left out.
    pub(crate) changed: bool,
}

impl Shipped {
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Writes the shipped policy, as far as it is of `recipients`, into a folder.
pub(crate) fn shipped(recipients: &[&str], pseudonyms: bool) -> Shipped {
    let base = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config"));
    let folder = start(base);
    drop_lanes(&folder, recipients);
    let mut changed = false;
    for name in recipients {
        let text = recipient(base, name);
        let left = without(&text, |line| !pseudonyms && is_pseudonym(line));
        changed |= left != text;
        write(&folder, name, &left);
    }
    Shipped { folder, changed }
}

fn is_pseudonym(line: &str) -> bool {
    line.contains("mask = \"pseudonym\"")
}

/// Drops the lane of statistics where that recipient is not there.
fn drop_lanes(folder: &TempDir, recipients: &[&str]) {
    const LANE: &str = "[lanes.statistics]\nrecipients = [\"statistics\"]\n";
    if recipients.contains(&"statistics") {
        return;
    }
    let path = folder.path().join("zeef.toml");
    let text = fs::read_to_string(&path).expect("a file");
    assert!(text.contains(LANE), "the shipped config has the lane");
    fs::write(&path, text.replace(LANE, "")).expect("a file");
}

/// A folder with the settings and the kinds of `base`, and no recipient yet.
fn start(base: &Path) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for below in ["records", "recipients"] {
        fs::create_dir(folder.path().join(below)).expect("a folder");
    }
    fs::copy(base.join("zeef.toml"), folder.path().join("zeef.toml")).expect("a file");
    for entry in fs::read_dir(base.join("records")).expect("a folder") {
        let entry = entry.expect("a file");
        let to = folder.path().join("records").join(entry.file_name());
        fs::copy(entry.path(), to).expect("a file");
    }
    folder
}

fn recipient(base: &Path, name: &str) -> String {
    let path = base.join(format!("recipients/{name}.toml"));
    fs::read_to_string(path).expect("a recipient")
}

fn write(folder: &TempDir, name: &str, text: &str) {
    let path = folder.path().join(format!("recipients/{name}.toml"));
    fs::write(path, text).expect("a file");
}

fn without(text: &str, left_out: impl Fn(&str) -> bool) -> String {
    let lines = text.lines().filter(|line| !left_out(line));
    lines.flat_map(|line| [line, "\n"]).collect()
}
