//! `DIR/.zeef/committed.json`, the directory's mark.
//!
//! The file is replaced whole at the end of each commit. It contains lengths, positions and
//! keyed hashes, and nothing of any record. Its last member is a seal: an edit by hand
//! stops the next start.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{DirectorySettings, to_fault};

use crate::message::Fault;
use crate::message::continuity::{Fingerprinter, KeyFingerprint, SourceProgress, hex};
use crate::transport::file::FileError;

/// The format version of the files in `.zeef`.
pub(super) const FORMAT: u32 = 4;
/// The oldest format that is sealed, and read as the current one: the log of runs was not in it.
pub(super) const OLDEST_SEALED_FORMAT: u32 = 3;
/// A format in which outputs lay in `out` itself, and nothing was sealed.
pub(super) const PREVIOUS_FORMAT: u32 = 2;
/// The name of the state's own key in [`DirectoryCommit::keys`].
pub(super) const STATE_KEY_NAME: &str = "zeef.state";

/// Everything that holds after a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DirectoryCommit {
    pub(super) format: u32,
    /// Counts the commits of all lanes; the number of this mark.
    pub(super) commit: u64,
    /// Length of each output file in bytes, by `OWNER/TOPIC`.
    pub(super) outputs: BTreeMap<String, u64>,
    /// Each lane's state, by topic.
    pub(super) state: BTreeMap<String, CommittedStateFile>,
    /// Something was retracted since the last compaction.
    pub(super) taken_back: bool,
    /// Position of each lane in its sources, by lane and topic. Offsets are bytes after
    /// `start`, which is 0 unless a replaced file was accepted.
    pub(super) lanes: BTreeMap<String, BTreeMap<String, SourceProgress>>,
    /// The keys behind outputs and state, by recipient.
    pub(super) keys: BTreeMap<String, KeyFingerprint>,
    /// The log of runs; `None` in a mark of an older version. What lies behind it was written
    /// since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) runs: Option<CommittedStateFile>,
}

/// What is committed of a lane's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CommittedStateFile {
    /// In bytes; whatever lies behind it does not count.
    pub(super) length: u64,
    pub(super) rows: u64,
    /// The hash of all rows in order.
    #[serde(with = "hex")]
    pub(super) hash: u64,
}

impl CommittedStateFile {
    /// Adds a row, without its line end.
    pub(super) fn add_row(&mut self, fingerprinter: &Fingerprinter, row: &[u8]) {
        self.length += row.len() as u64 + 1;
        self.rows += 1;
        self.hash = fingerprinter.hash_chained(self.hash, Some(row), None);
    }

    /// Adds whole lines.
    pub(super) fn add_lines(&mut self, fingerprinter: &Fingerprinter, lines: &[u8]) {
        let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
        if !lines.is_empty() {
            for row in lines.split(|byte| *byte == b'\n') {
                self.add_row(fingerprinter, row);
            }
        }
    }
}

impl Default for DirectoryCommit {
    fn default() -> Self {
        Self {
            format: FORMAT,
            commit: 0,
            outputs: BTreeMap::new(),
            state: BTreeMap::new(),
            taken_back: false,
            lanes: BTreeMap::new(),
            keys: BTreeMap::new(),
            runs: None,
        }
    }
}

/// What was found at the mark's path.
#[derive(Debug)]
pub(super) enum CommittedFile {
    Missing,
    Current(DirectoryCommit),
    PreviousFormat(DirectoryCommitV2),
}

/// [`DirectoryCommit`] in the previous format.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct DirectoryCommitV2 {
    pub(super) commit: u64,
    /// By topic.
    pub(super) outputs: BTreeMap<String, u64>,
    pub(super) state: BTreeMap<String, u64>,
    pub(super) taken_back: bool,
    pub(super) lanes: BTreeMap<String, BTreeMap<String, SourcePositionV2>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct SourcePositionV2 {
    pub(super) offset: u64,
    /// The CRC-32 of up to [`POSITION_V2_TAIL_BYTES`] before it.
    pub(super) tail: u32,
}

/// How many bytes before a position its checksum covers.
pub(super) const POSITION_V2_TAIL_BYTES: u64 = 256;

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

#[derive(Deserialize)]
struct SealOnly {
    seal: String,
}

impl CommittedFile {
    /// Reads the file, and checks its seal if `seal_check` is given.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if the file is damaged or changed, or was written in another format or
    /// under another key; [`Fault::Io`] if the system refuses to read it.
    pub(super) fn read(path: &Path, seal_check: Option<SealCheck<'_>>) -> Result<Self, Fault> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(CommittedFile::Missing);
            }
            Err(error) => return Err(to_fault(FileError::wrap("read", path)(error))),
        };
        match serde_json::from_slice::<FormatOnly>(&bytes) {
            Ok(found) if found.format > FORMAT => Err(newer_format_fault(path, found.format)),
            Ok(found) if found.format < PREVIOUS_FORMAT => {
                Err(old_format_fault(path, found.format))
            }
            Ok(found) if found.format == PREVIOUS_FORMAT => serde_json::from_slice(&bytes)
                .map(CommittedFile::PreviousFormat)
                .map_err(|_| damaged_fault(path)),
            _ => {
                let committed = serde_json::from_slice(&bytes).map_err(|_| damaged_fault(path))?;
                if let Some(seal_check) = seal_check {
                    seal_check.verify(path, &committed, &bytes)?;
                }
                Ok(CommittedFile::Current(committed))
            }
        }
    }
}

impl DirectoryCommit {
    /// Returns the sealed text of the file.
    pub(super) fn encode(&self, fingerprinter: &Fingerprinter) -> Vec<u8> {
        let (mut text, seal) = self.text_and_seal(fingerprinter);
        if text.ends_with(b"\n}") {
            text.truncate(text.len() - 2);
        }
        text.extend_from_slice(format!(",\n  \"seal\": \"{seal}\"\n}}\n").as_bytes());
        text
    }

    /// Returns the text without its seal, and the seal.
    fn text_and_seal(&self, fingerprinter: &Fingerprinter) -> (Vec<u8>, String) {
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        let seal = format!("{:016x}", fingerprinter.hash_text(&text));
        (text, seal)
    }
}

/// What to check a seal with.
#[derive(Clone, Copy, Debug)]
pub(super) struct SealCheck<'a> {
    pub(super) fingerprinter: &'a Fingerprinter,
    /// The public part of the state's key.
    pub(super) state_key: Option<&'a KeyFingerprint>,
}

impl DirectorySettings {
    pub(super) fn seal_check(&self) -> SealCheck<'_> {
        SealCheck {
            fingerprinter: &self.fingerprinter,
            state_key: self.key_fingerprints.get(STATE_KEY_NAME),
        }
    }
}

impl SealCheck<'_> {
    fn verify(&self, path: &Path, committed: &DirectoryCommit, bytes: &[u8]) -> Result<(), Fault> {
        let found = serde_json::from_slice::<SealOnly>(bytes).map_err(|_| damaged_fault(path))?;
        if found.seal == committed.text_and_seal(self.fingerprinter).1 {
            return Ok(());
        }
        let path = path.display();
        Err(Fault::stop(match (committed.keys.get(STATE_KEY_NAME), self.state_key) {
            (Some(theirs), Some(ours)) if theirs != ours => format!(
                "{path} was sealed under the state key `{}`, and the key here is {} `{}`: put back \
                 the key it was made with, or what recipients have can never be taken back \
                 (`zeef forget` begins so on purpose)",
                theirs.id,
                if theirs.id == ours.id { "another" } else { "the" },
                ours.id
            ),
            _ => format!(
                "{path} is not as zeef wrote it: restore the directory as a whole (in, out and \
                 .zeef) from a copy; `zeef forget` begins anew, and what recipients have can then \
                 never be taken back"
            ),
        }))
    }
}

fn newer_format_fault(path: &Path, found: u32) -> Fault {
    let path = path.display();
    Fault::stop(format!(
        "{path} has format {found}, expected {FORMAT}: another version of zeef wrote it, run that one"
    ))
}

fn old_format_fault(path: &Path, found: u32) -> Fault {
    let path = path.display();
    Fault::stop(format!(
        "{path} has format {found}, expected {FORMAT}: it is of a time when no state was kept. To \
         read all input again from its beginning, move the out folder away and remove the .zeef \
         folder beside it"
    ))
}

/// Returns the fault for a damaged file in `.zeef`.
pub(super) fn damaged_fault(path: &Path) -> Fault {
    let path = path.display();
    Fault::stop(format!(
        "{path} is damaged: restore the directory as a whole (in, out and .zeef) from a copy"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_file_edited_by_hand_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("committed.json");
        let fingerprinter = Fingerprinter::new([1, 2, 3, 4]);
        let mut committed = DirectoryCommit { commit: 7, ..DirectoryCommit::default() };
        committed.outputs.insert("a/out.a".to_owned(), 12);
        let key = |id: &str| KeyFingerprint { id: id.to_owned(), print: format!("print of {id}") };
        committed.keys.insert(STATE_KEY_NAME.to_owned(), key("k1"));
        let text = String::from_utf8(committed.encode(&fingerprinter)).unwrap();
        let read = |text: &str, fingerprinter: &Fingerprinter, id: &str| {
            fs::write(&path, text).unwrap();
            let key = key(id);
            let sealed = SealCheck { fingerprinter, state_key: Some(&key) };
            CommittedFile::read(&path, Some(sealed))
        };
        let found = read(&text, &fingerprinter, "k1").unwrap();
        assert!(matches!(found, CommittedFile::Current(found) if found == committed));
        for (from, to) in [("12", "13"), (": 7", ": 6"), ("a/out.a", "b/out.a")] {
            let other = text.replacen(from, to, 1);
            assert_ne!(other, text);
            let fault = read(&other, &fingerprinter, "k1").unwrap_err().to_string();
            assert!(fault.contains("not as zeef wrote it"), "{fault}");
        }
        let other = Fingerprinter::new([0; 4]);
        let fault = read(&text, &other, "k2").unwrap_err().to_string();
        assert!(fault.contains("`k1`") && fault.contains("`k2`"), "{fault}");
    }
}
