//! What several test programs share.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// A copy of the shipped config, without keys.
pub(crate) fn shipped_config() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for below in ["", "records", "recipients"] {
        fs::create_dir_all(folder.path().join(below)).unwrap();
        for entry in fs::read_dir(root.join(below)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "toml") {
                let to = folder.path().join(below).join(path.file_name().unwrap());
                fs::copy(&path, to).unwrap();
            }
        }
    }
    folder
}

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
