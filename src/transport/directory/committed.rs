//! What is committed: `DIR/.zeef/committed.json`.
//!
//! The file is replaced whole at the end of each commit. It holds lengths and
//! positions, and never anything of a record but a checksum.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::disk::Failure;
use crate::transport::Fault;

/// The version of the files in `.zeef`.
pub(super) const FORMAT: u32 = 2;

/// All that holds after a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Committed {
    pub(super) format: u32,
    /// How many commits there were, of all lanes.
    pub(super) commit: u64,
    /// The length of each output file in bytes, by topic.
    pub(super) outputs: BTreeMap<String, u64>,
    /// The length of each lane's state in bytes, by topic: the only truth about
    /// it, whatever lies behind that in the file.
    pub(super) state: BTreeMap<String, u64>,
    /// Something was taken back, and what it was may still stand in an output.
    pub(super) loose: bool,
    /// Where each lane goes on in its sources, by lane and topic.
    pub(super) lanes: BTreeMap<String, BTreeMap<String, Position>>,
}

/// Where a lane goes on in a source: at the start of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// In bytes from the file's beginning.
    pub(super) offset: u64,
    /// The checksum of the last bytes before it, by which another file under
    /// the same name is noticed.
    pub(super) tail: u32,
}

impl Default for Committed {
    fn default() -> Self {
        Self {
            format: FORMAT,
            commit: 0,
            outputs: BTreeMap::new(),
            state: BTreeMap::new(),
            loose: false,
            lanes: BTreeMap::new(),
        }
    }
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl Committed {
    pub(super) fn lengths_mut(&mut self, state: bool) -> &mut BTreeMap<String, u64> {
        if state {
            &mut self.state
        } else {
            &mut self.outputs
        }
    }

    /// Reads the file; where there is none yet, nothing is committed.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where it cannot be read, is damaged, or was written by
    /// another version.
    pub(super) fn read(path: &Path) -> Result<Self, Fault> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Fault::Stop(Failure::to("read", path)(error).to_string())),
        };
        match serde_json::from_slice::<FormatOnly>(&bytes) {
            Ok(found) if found.format > FORMAT => Err(newer(path, found.format)),
            Ok(found) if found.format < FORMAT => Err(older(path, found.format)),
            _ => serde_json::from_slice(&bytes).map_err(|_| damaged(path)),
        }
    }

    /// The file's text.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

fn newer(path: &Path, found: u32) -> Fault {
    let path = path.display();
    Fault::Stop(format!(
        "{path} has format {found}, expected {FORMAT}: another version of zeef wrote it, run that one"
    ))
}

fn older(path: &Path, found: u32) -> Fault {
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
