//! Reads the golden cases under `tests/golden`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::repository;
use crate::model::json::{self, JsonLimits, JsonNode};

/// The key that every recipient has in the golden cases.
pub const GOLDEN_KEY: &[u8; 32] = b"zeef-golden-key-0123456789abcdef";

/// The time of the batch: 2026-01-15T12:00:00Z.
pub const NOW_MS: i64 = 1_768_478_400_000;

/// One message of a case, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoldenLine {
    pub source: String,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

/// One case: what goes in, and the lines that one recipient must get.
#[derive(Clone, Debug)]
pub struct GoldenCase {
    pub recipient: String,
    pub name: String,
    pub input: Vec<GoldenLine>,
    pub output: String,
    pub output_path: PathBuf,
}

/// Reads every case, in the order of their names.
pub fn read_cases() -> Vec<GoldenCase> {
    let root = repository().join("tests/golden");
    let mut cases = Vec::new();
    for directory in sorted_paths(&root).into_iter().filter(|path| path.is_dir()) {
        for file in sorted_paths(&directory) {
            let name = file_name(&file);
            if let Some(name) = name.strip_suffix(".in.ndjson") {
                cases.push(read_case(&directory, name));
            }
        }
    }
    cases
}

fn read_case(directory: &Path, name: &str) -> GoldenCase {
    let input = directory.join(format!("{name}.in.ndjson"));
    let output_path = directory.join(format!("{name}.out.ndjson"));
    let input = fs::read_to_string(input).expect("the input of a case");
    GoldenCase {
        recipient: file_name(directory),
        name: name.to_owned(),
        input: input.lines().map(parse_line).collect(),
        output: fs::read_to_string(&output_path).unwrap_or_default(),
        output_path,
    }
}

/// Reads `{"source":...,"key":...,"value":...}`; the value keeps its bytes.
pub fn parse_line(text: &str) -> GoldenLine {
    let mut line = GoldenLine { source: String::new(), key: None, value: None };
    for (name, raw) in json::raw_members(text).expect("a line of a case") {
        match (name.as_str(), json::parse(raw, JsonLimits::DEFAULT)) {
            ("source", Ok(JsonNode::String(Some(text)))) => line.source = text,
            ("key", Ok(JsonNode::String(Some(text)))) => line.key = Some(text.into_bytes()),
            ("value" | "key", Ok(JsonNode::Null)) => {}
            ("value", _) => line.value = Some(raw.as_bytes().to_vec()),
            _ => panic!("a line of a case has a field too many"),
        }
    }
    line
}

fn sorted_paths(directory: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(directory).expect("the golden cases");
    let mut paths: Vec<PathBuf> = read.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().expect("a file name");
    name.to_string_lossy().into_owned()
}
