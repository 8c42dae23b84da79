//! What recipients have in a directory that `zeef run` wrote.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::config::files_below;

/// What each recipient has, by file and key; the dead letters apart.
pub fn live_outputs(directory: &Path) -> BTreeMap<(String, String), Value> {
    let mut live = BTreeMap::new();
    for path in files_below(&directory.join("out")) {
        let file = path.strip_prefix(directory).unwrap().display().to_string();
        if file.starts_with("out/zeef") {
            continue;
        }
        for line in fs::read_to_string(&path).unwrap().lines() {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let key = line["key"].as_str().unwrap().to_owned();
            live.insert((file.clone(), key), line["value"].take());
        }
    }
    live.retain(|_, value| !value.is_null());
    live
}
