//! A directory of the version before: outputs lay in `out` itself, and nothing
//! in `.zeef` was sealed.
//!
//! One commit brings each output into its owner's folder and writes the mark.
//! Its journal names every move, so that a process may die at any step of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use super::committed::{Committed, OLDER_TAIL_BYTES, Older, OlderPosition};
use super::journal::{Append, Journal, Move};
use super::layout::length_of;
use super::reader::Reader;
use super::store::Store;
use super::{DirectorySettings, source, stop};
use crate::transport::Fault;
use crate::transport::continuity::Trail;
use crate::transport::file::Failure;

impl DirectorySettings {
    /// Returns the folder of an output. An output of nobody, as of a recipient
    /// that is no longer there, has the name of its topic.
    fn owner_of<'a>(&'a self, topic: &'a str) -> &'a str {
        let known = self.owners.get(topic).map(String::as_str);
        known.unwrap_or_else(|| topic.strip_prefix("out.").unwrap_or(topic))
    }
}

impl Store {
    /// Makes this version's files of the older one's.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where something is not as that version left it, or the
    /// disk refuses; the same call can be made again.
    pub(super) fn upgrade(&mut self, older: &Older) -> Result<(), Fault> {
        // Or an old mark would undo all that the new one holds.
        if let Some((name, _)) = self.layout.files(false).map_err(stop)?.first() {
            return Err(Fault::Stop(format!(
                "{} is of an earlier version, which wrote nothing like out/{name}: move that away, \
                 or, if this version has run here, restore .zeef as it was",
                self.layout.shown(&self.layout.committed())
            )));
        }
        let mut committed = Committed {
            commit: older.commit + 1,
            taken_back: older.taken_back,
            keys: self.settings.keys.clone(),
            ..Committed::default()
        };
        let mut moves = Vec::new();
        for topic in older.outputs.keys() {
            let length = length_of(&self.layout.older_output(topic)).map_err(stop)?;
            if length > 0 {
                let name = format!("{}/{topic}", self.settings.owner_of(topic));
                committed.outputs.insert(name.clone(), length);
                moves.push(Move {
                    topic: topic.clone(),
                    name,
                });
            }
        }
        let mut appends = Vec::new();
        for (topic, length) in &older.state {
            let file = self.state_file(topic, *length).map_err(stop)?;
            committed.state.insert(topic.clone(), file);
            // Nothing is added, and what lies behind the end is cut off.
            appends.push(Append {
                name: topic.as_str().into(),
                state: true,
                before: *length,
                bytes: b"",
            });
        }
        for (lane, positions) in &older.lanes {
            let trails = self.trails(positions)?;
            committed.lanes.insert(lane.clone(), trails);
        }
        tracing::info!(
            outputs = moves.len(),
            "the directory is of an earlier version: each output comes into a folder of its recipient"
        );
        let journal = Journal {
            appends,
            moves,
            committed,
            ..Journal::default()
        };
        self.carry_out(&journal)
            .map_err(|fault| Fault::Stop(fault.to_string()))
    }

    /// Reads each source up to its position once more, for the anchors.
    fn trails(
        &self,
        positions: &BTreeMap<String, OlderPosition>,
    ) -> Result<BTreeMap<String, Trail>, Fault> {
        let mut trails = BTreeMap::new();
        for (topic, position) in positions {
            let path = self.layout.source(topic);
            if !tail_is(&path, *position).map_err(stop)? {
                return Err(Fault::Stop(format!(
                    "{} was read up to byte {}, and now it is another file or shorter: an input may \
                     only grow. Put the file back as it was and append to it",
                    self.layout.shown(&path),
                    position.offset
                )));
            }
            let mut reader = Reader::new(path, self.settings.line_bytes_max, 0);
            reader.open().map_err(stop)?;
            let gate = self.settings.gates.contains(topic);
            let trail = source::read_trail(&mut reader, gate, position.offset, &self.prints());
            trails.insert(topic.clone(), trail.map_err(stop)?);
        }
        Ok(trails)
    }

    /// Moves an output into its owner's folder, unless that is done.
    pub(super) fn move_output(&mut self, topic: &str, name: &str) -> Result<(), Failure> {
        let (from, to) = (
            self.layout.older_output(topic),
            self.layout.written(name, false),
        );
        let found = match fs::symlink_metadata(&from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found.map_err(Failure::to("look at", &from))?,
        };
        if !found.is_file() {
            let error = io::Error::other("it is no file");
            return Err(Failure::to("move", &from)(error));
        }
        let folder = to.parent().unwrap_or(&to);
        self.disk
            .make_folder(folder, self.layout.folder_mode(false))?;
        self.disk.rename(&from, &to)?;
        self.disk.open(&to, self.layout.file_mode(false))?;
        self.disk.sync_folder(folder)?;
        self.disk.sync_folder(&self.layout.output)
    }
}

/// Whether the bytes before a position have the checksum that was kept of them.
fn tail_is(path: &std::path::Path, position: OlderPosition) -> Result<bool, Failure> {
    if position.offset == 0 {
        return Ok(true);
    }
    if length_of(path)? < position.offset {
        return Ok(false);
    }
    let length = position.offset.min(OLDER_TAIL_BYTES);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let file = File::open(path).map_err(Failure::to("open", path))?;
    let read = file.read_exact_at(&mut bytes, position.offset - length);
    read.map_err(Failure::to("read", path))?;
    Ok(crc32fast::hash(&bytes) == position.tail)
}
