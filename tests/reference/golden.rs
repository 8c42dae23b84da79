//! Reading the golden cases under `tests/golden`.
//!
//! It never writes but when asked by `UPDATE_GOLDEN=1`, and then only from
//! the model.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Model, Outcome, json};

/// The key that every recipient has in the golden cases.
pub const KEY: &[u8; 32] = b"zeef-golden-key-0123456789abcdef";

/// The time of the batch: 2026-01-15T12:00:00Z.
pub const NOW_MS: i64 = 1_768_478_400_000;

/// One message of a case, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub source: String,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

/// One case: what goes in, and the lines that one recipient must get.
#[derive(Clone, Debug)]
pub struct Case {
    pub recipient: String,
    pub name: String,
    pub input: Vec<Line>,
    pub output: String,
    pub output_path: PathBuf,
}

/// Reads every case, in the order of their names.
pub fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases = Vec::new();
    for directory in entries(&root).into_iter().filter(|path| path.is_dir()) {
        for file in entries(&directory) {
            let name = file_name(&file);
            if let Some(name) = name.strip_suffix(".in.ndjson") {
                cases.push(case(&directory, name));
            }
        }
    }
    cases
}

/// The lines that the model gives to the recipient of a case.
pub fn expected(case: &Case) -> String {
    let mut model = Model::with_key(KEY, NOW_MS);
    let mut lines = String::new();
    for line in &case.input {
        let verdicts = model.offer(&line.source, line.key.as_deref(), line.value.as_deref());
        for verdict in verdicts {
            let Outcome::Released { key, value } = verdict.outcome else {
                continue;
            };
            if verdict.recipient == Some(case.recipient.as_str()) {
                let topic = json::quoted(&format!("out.{}", case.recipient));
                let (key, value) = (json::quoted(&key), String::from_utf8_lossy(&value));
                lines.push_str(&format!(
                    "{{\"topic\":{topic},\"key\":{key},\"value\":{value}}}\n"
                ));
            }
        }
    }
    lines
}

fn case(directory: &Path, name: &str) -> Case {
    let input = directory.join(format!("{name}.in.ndjson"));
    let output_path = directory.join(format!("{name}.out.ndjson"));
    let input = fs::read_to_string(input).expect("the input of a case");
    Case {
        recipient: file_name(directory),
        name: name.to_owned(),
        input: input.lines().map(line).collect(),
        output: fs::read_to_string(&output_path).unwrap_or_default(),
        output_path,
    }
}

/// Reads `{"source":...,"key":...,"value":...}`; the value keeps its bytes.
pub fn line(text: &str) -> Line {
    let mut line = Line {
        source: String::new(),
        key: None,
        value: None,
    };
    for (name, raw) in json::members(text).expect("a line of a case") {
        match (name.as_str(), json::read(raw)) {
            ("source", Ok(json::Node::Text(text))) => line.source = text.chars,
            ("key", Ok(json::Node::Text(text))) => line.key = Some(text.chars.into_bytes()),
            ("value", Ok(json::Node::Null)) | ("key", Ok(json::Node::Null)) => {}
            ("value", _) => line.value = Some(raw.as_bytes().to_vec()),
            _ => panic!("a line of a case has a field too many"),
        }
    }
    line
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(directory).expect("the golden cases");
    let mut paths: Vec<PathBuf> = read.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().expect("a file name");
    name.to_string_lossy().into_owned()
}
