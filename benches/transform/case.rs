//! The policies of the cases: made of the files that are there, by copying
//! recipients under other names, and by leaving lines out.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::common::serde_value::{PROFILES, PartnerProfile, ProfileField};

/// A policy of the patron source.
pub(crate) struct TransformCase {
    pub(crate) name: String,
    /// The recipients of the benches' own policy, each so many times.
    base_recipients: &'static [&'static str],
    copies: usize,
    with_pseudonyms: bool,
    with_scrub: bool,
}

const ALL_RECIPIENTS: &[&str] = &["desk", "letters", "membership", "programming"];

impl TransformCase {
    pub(crate) fn all() -> Vec<TransformCase> {
        let case = |of: &'static [&'static str], copies, pseudonyms, scrub| {
            let count = of.len() * copies;
            let recipients = if count == 1 { "recipient" } else { "recipients" };
            let left_out = match (pseudonyms, scrub) {
                (true, true) => "",
                (false, true) => " without pseudonyms",
                (true, false) => " without scrub",
                (false, false) => " without pseudonyms and scrub",
            };
            TransformCase {
                name: format!("{count} {recipients}{left_out}"),
                base_recipients: of,
                copies,
                with_pseudonyms: pseudonyms,
                with_scrub: scrub,
            }
        };
        vec![
            case(&["desk"], 1, true, true),
            case(ALL_RECIPIENTS, 1, true, true),
            case(ALL_RECIPIENTS, 4, true, true),
            case(ALL_RECIPIENTS, 1, false, true),
            case(ALL_RECIPIENTS, 1, true, false),
            case(ALL_RECIPIENTS, 1, false, false),
        ]
    }

    pub(crate) fn n_recipients(&self) -> usize {
        self.base_recipients.len() * self.copies
    }

    /// Every recipient and its copies, in the order of their names.
    fn recipient_names(&self) -> impl Iterator<Item = (&'static str, String)> {
        let copies = 1..=self.copies;
        self.base_recipients.iter().flat_map(move |of| {
            copies.clone().map(move |copy| match copy {
                1 => (*of, (*of).to_owned()),
                _ => (*of, format!("{of}-{copy}")),
            })
        })
    }

    /// Writes the policy into a folder of its own.
    pub(crate) fn write_policy(&self, base: &Path) -> TempDir {
        let folder = new_policy_dir(base);
        for (of, name) in self.recipient_names() {
            let text = read_recipient(base, of)
                .replace(&format!("\"{of}\""), &format!("\"{name}\""))
                .replace(&format!("\"out.{of}\""), &format!("\"out.{name}\""));
            let text = without_lines(&text, |line| self.omits_line(line));
            write_recipient(&folder, &name, &text);
        }
        folder
    }

    fn omits_line(&self, line: &str) -> bool {
        (!self.with_pseudonyms && is_pseudonym_line(line))
            || (!self.with_scrub && line.contains("detect ="))
    }

    /// The same policy, as the way with `Value` has it.
    pub(crate) fn profiles(&self) -> impl Iterator<Item = PartnerProfile> {
        self.recipient_names().map(|(of, name)| {
            let mut profiles = PROFILES.iter();
            let (_, fields) = profiles.find(|(one, _)| *one == of).expect("a profile");
            let fields = fields.iter().copied().filter(|(_, field)| match field {
                ProfileField::PatronRef => self.with_pseudonyms,
                ProfileField::ScrubbedNote => self.with_scrub,
                ProfileField::Path(..) | ProfileField::Object(..) => true,
            });
            (name, fields.collect())
        })
    }
}

/// The shipped policy, or a part of it.
pub(crate) struct ShippedPolicy {
    folder: TempDir,
    /// Some line was left out.
    pub(crate) is_changed: bool,
}

impl ShippedPolicy {
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Writes the shipped policy, as far as it is of `recipients`, into a folder.
pub(crate) fn write_shipped_policy(recipients: &[&str], pseudonyms: bool) -> ShippedPolicy {
    let base = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config"));
    let folder = new_policy_dir(base);
    remove_absent_lanes(&folder, recipients);
    let mut changed = false;
    for name in recipients {
        let text = read_recipient(base, name);
        let left = without_lines(&text, |line| !pseudonyms && is_pseudonym_line(line));
        changed |= left != text;
        write_recipient(&folder, name, &left);
    }
    ShippedPolicy { folder, is_changed: changed }
}

/// A field that is a pseudonym, or a rule that leaves such fields out.
fn is_pseudonym_line(line: &str) -> bool {
    line.contains("mask = \"pseudonym\"") || line.starts_with("thinned")
}

/// Drops the lanes of pseudonymised recipients that are not there.
fn remove_absent_lanes(folder: &TempDir, recipients: &[&str]) {
    let path = folder.path().join("zeef.toml");
    let mut text = fs::read_to_string(&path).expect("a file");
    for name in ["statistics", "city-monitoring"].iter().filter(|name| !recipients.contains(name)) {
        let section = format!("[lanes.{name}]\nrecipients = [\"{name}\"]\n");
        assert!(text.contains(&section), "the shipped config has the lane of {name}");
        text = text.replace(&section, "");
    }
    fs::write(&path, text).expect("a file");
}

/// A folder with the settings and the kinds of `base`, and no recipient yet.
fn new_policy_dir(base: &Path) -> TempDir {
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

fn read_recipient(base: &Path, name: &str) -> String {
    let path = base.join(format!("recipients/{name}.toml"));
    fs::read_to_string(path).expect("a recipient")
}

fn write_recipient(folder: &TempDir, name: &str, text: &str) {
    let path = folder.path().join(format!("recipients/{name}.toml"));
    fs::write(path, text).expect("a file");
}

fn without_lines(text: &str, left_out: impl Fn(&str) -> bool) -> String {
    let lines = text.lines().filter(|line| !left_out(line));
    lines.flat_map(|line| [line, "\n"]).collect()
}
