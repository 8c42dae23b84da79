//! What is committed: `DIR/.zeef/committed.json`, the directory's mark.
//!
//! The file is replaced whole at the end of each commit. It holds lengths,
//! positions and keyed hashes, and never anything of a record. Its last member
//! is a seal: who edits it by hand stops the next start.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::transport::Fault;
use crate::transport::continuity::{Fingerprinter, KeyPrint, Trail, hex};
use crate::transport::file::Failure;

/// The version of the files in `.zeef`.
pub(super) const FORMAT: u32 = 3;
/// The version before: outputs lay in `out` itself, and nothing was sealed.
pub(super) const OLDER: u32 = 2;
/// The name of the state's own key in [`Committed::keys`].
pub(super) const STATE: &str = "zeef.state";

/// All that holds after a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Committed {
    pub(super) format: u32,
    /// Counts the commits of all lanes: the number of this mark.
    pub(super) commit: u64,
    /// The length of each output file in bytes, by `OWNER/TOPIC`.
    pub(super) outputs: BTreeMap<String, u64>,
    /// Each lane's state, by topic.
    pub(super) state: BTreeMap<String, StateFile>,
    /// Something was taken back, and what it was may still stand in an output.
    pub(super) taken_back: bool,
    /// Where each lane goes on in its sources, by lane and topic. Offsets are
    /// bytes behind the trail's `start`, which is 0 unless it was accepted that
    /// the file is another one.
    pub(super) lanes: BTreeMap<String, BTreeMap<String, Trail>>,
    /// The keys that outputs and state were made with, by recipient.
    pub(super) keys: BTreeMap<String, KeyPrint>,
}

/// What is committed of a lane's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StateFile {
    /// In bytes: the only truth about the file, whatever lies behind that.
    pub(super) length: u64,
    pub(super) rows: u64,
    /// The hash of all rows in their order.
    #[serde(with = "hex")]
    pub(super) hash: u64,
}

impl StateFile {
    /// Adds a row, without its line end.
    pub(super) fn add(&mut self, prints: &Fingerprinter, row: &[u8]) {
        self.length += row.len() as u64 + 1;
        self.rows += 1;
        self.hash = prints.chained(self.hash, Some(row), None);
    }

    /// Adds whole lines.
    pub(super) fn add_lines(&mut self, prints: &Fingerprinter, lines: &[u8]) {
        let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
        if !lines.is_empty() {
            for row in lines.split(|byte| *byte == b'\n') {
                self.add(prints, row);
            }
        }
    }
}

impl Default for Committed {
    fn default() -> Self {
        Self {
            format: FORMAT,
            commit: 0,
            outputs: BTreeMap::new(),
            state: BTreeMap::new(),
            taken_back: false,
            lanes: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }
}

/// What lies where the mark should.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    Committed(Committed),
    /// Of the version before.
    Older(Older),
}

/// [`Committed`] as the version before wrote it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Older {
    pub(super) commit: u64,
    /// By topic.
    pub(super) outputs: BTreeMap<String, u64>,
    pub(super) state: BTreeMap<String, u64>,
    pub(super) taken_back: bool,
    pub(super) lanes: BTreeMap<String, BTreeMap<String, OlderPosition>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct OlderPosition {
    pub(super) offset: u64,
    /// The CRC-32 of up to [`OLDER_TAIL_BYTES`] before it.
    pub(super) tail: u32,
}

/// How many bytes before a position its checksum covered.
pub(super) const OLDER_TAIL_BYTES: u64 = 256;

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

#[derive(Deserialize)]
struct SealOnly {
    seal: String,
}

impl Found {
    /// Reads the file; its seal is checked with `prints`, where it is given.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where it cannot be read, is damaged or changed, or was
    /// written by another version or under another key.
    pub(super) fn read(path: &Path, sealed: Option<Sealed<'_>>) -> Result<Self, Fault> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(Fault::Stop(Failure::to("read", path)(error).to_string())),
        };
        match serde_json::from_slice::<FormatOnly>(&bytes) {
            Ok(found) if found.format > FORMAT => Err(newer(path, found.format)),
            Ok(found) if found.format < OLDER => Err(too_old(path, found.format)),
            Ok(found) if found.format == OLDER => serde_json::from_slice(&bytes)
                .map(Found::Older)
                .map_err(|_| damaged(path)),
            _ => {
                let committed = serde_json::from_slice(&bytes).map_err(|_| damaged(path))?;
                if let Some(sealed) = sealed {
                    sealed.check(path, &committed, &bytes)?;
                }
                Ok(Found::Committed(committed))
            }
        }
    }
}

impl Committed {
    /// Returns the file's text, sealed.
    pub(super) fn encode(&self, prints: &Fingerprinter) -> Vec<u8> {
        let (mut text, seal) = self.sealed(prints);
        if text.ends_with(b"\n}") {
            text.truncate(text.len() - 2);
        }
        text.extend_from_slice(format!(",\n  \"seal\": \"{seal}\"\n}}\n").as_bytes());
        text
    }

    /// Returns the text without the seal, and the seal.
    fn sealed(&self, prints: &Fingerprinter) -> (Vec<u8>, String) {
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        let seal = format!("{:016x}", prints.text(&text));
        (text, seal)
    }
}

/// What a seal is checked with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed<'a> {
    pub(super) prints: &'a Fingerprinter,
    /// The state's key, as far as it may be shown.
    pub(super) key: Option<&'a KeyPrint>,
}

impl Sealed<'_> {
    fn check(&self, path: &Path, committed: &Committed, bytes: &[u8]) -> Result<(), Fault> {
        let found = serde_json::from_slice::<SealOnly>(bytes).map_err(|_| damaged(path))?;
        if found.seal == committed.sealed(self.prints).1 {
            return Ok(());
        }
        let path = path.display();
        Err(Fault::Stop(match (committed.keys.get(STATE), self.key) {
            (Some(theirs), Some(ours)) if theirs != ours => format!(
                "{path} was sealed under the state key `{}`, and the key here is {} `{}`: put back \
                 the key it was made with, or what recipients have can never be taken back \
                 (`zeef forget` begins so on purpose)",
                theirs.id,
                if theirs.id == ours.id {
                    "another"
                } else {
                    "the"
                },
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

fn newer(path: &Path, found: u32) -> Fault {
    let path = path.display();
    Fault::Stop(format!(
        "{path} has format {found}, expected {FORMAT}: another version of zeef wrote it, run that one"
    ))
}

fn too_old(path: &Path, found: u32) -> Fault {
    let path = path.display();
    Fault::Stop(format!(
        "{path} has format {found}, expected {FORMAT}: it is of a time when no state was kept. To \
         read all input again from its beginning, move the out folder away and remove the .zeef \
         folder beside it"
    ))
}

/// The fault of a file in `.zeef` that is not as it was written.
pub(super) fn damaged(path: &Path) -> Fault {
    let path = path.display();
    Fault::Stop(format!(
        "{path} is damaged: restore the directory as a whole (in, out and .zeef) from a copy"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_was_changed_by_hand_stops() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("committed.json");
        let prints = Fingerprinter::new([1, 2, 3, 4]);
        let mut committed = Committed {
            commit: 7,
            ..Committed::default()
        };
        committed.outputs.insert("a/out.a".to_owned(), 12);
        let key = |id: &str| KeyPrint {
            id: id.to_owned(),
            print: format!("print of {id}"),
        };
        committed.keys.insert(STATE.to_owned(), key("k1"));
        let text = String::from_utf8(committed.encode(&prints)).unwrap();
        let read = |text: &str, prints: &Fingerprinter, id: &str| {
            fs::write(&path, text).unwrap();
            let key = key(id);
            let sealed = Sealed {
                prints,
                key: Some(&key),
            };
            Found::read(&path, Some(sealed))
        };
        let found = read(&text, &prints, "k1").unwrap();
        assert!(matches!(found, Found::Committed(found) if found == committed));
        for (from, to) in [("12", "13"), (": 7", ": 6"), ("a/out.a", "b/out.a")] {
            let other = text.replacen(from, to, 1);
            assert_ne!(other, text);
            let fault = read(&other, &prints, "k1").unwrap_err().to_string();
            assert!(fault.contains("not as zeef wrote it"), "{fault}");
        }
        let other = Fingerprinter::new([0; 4]);
        let fault = read(&text, &other, "k2").unwrap_err().to_string();
        assert!(fault.contains("`k1`") && fault.contains("`k2`"), "{fault}");
    }
}
