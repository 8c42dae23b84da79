//! What several test programs share.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::fs;
use std::path::Path;

/// Switches on every recipient of a config.
pub(crate) fn switch_on(config: &Path) {
    for entry in fs::read_dir(config.join("recipients")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let on = text.replace("enabled      = false", "enabled      = true");
        if on != text {
            fs::write(path, on).unwrap();
        }
    }
}

/// Copies a folder and all that is in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Has a config's statistics get its outputs at once: for tests that need a recipient
/// of all loans, and no period.
#[allow(dead_code, reason = "not every test program has such tests")]
pub(crate) fn publish_at_once(config: &Path) {
    let path = config.join("recipients/statistics.toml");
    let Ok(text) = fs::read_to_string(&path) else {
        return;
    };
    let is_kept = |line: &&str| !line.starts_with("pseudonymised") && !line.starts_with("period");
    let lines: Vec<&str> = text.lines().filter(is_kept).collect();
    let text = lines.join("\n").replace(", month_of = \"loaned_at\"", "");
    fs::write(path, text + "\n").unwrap();
}
