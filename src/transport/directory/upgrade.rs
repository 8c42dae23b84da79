//! Upgrades a directory from the previous format, in which outputs lay in `out` itself and
//! nothing in `.zeef` was sealed.
//!
//! One commit moves each output into its owner's folder and writes the mark. Its journal
//! names every move, so that a process may die at any step of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use super::committed::{
    DirectoryCommit, DirectoryCommitV2, POSITION_V2_TAIL_BYTES, SourcePositionV2,
};
use super::journal::{FileAppend, Journal, OutputMove};
use super::layout::file_length;
use super::line_reader::LineReader;
use super::run_log::RunLog;
use super::store::Store;
use super::{DirectorySettings, now_ms, source, to_fault};
use crate::message::continuity::SourceProgress;
use crate::message::{AbortReason, Cause, Fault};
use crate::transport::file::FileError;

impl DirectorySettings {
    /// Returns the folder of an output. Without an owner, such as for a removed recipient,
    /// it has the name of its topic.
    fn output_owner<'a>(&'a self, topic: &'a str) -> &'a str {
        let known = self.output_owners.get(topic).map(String::as_str);
        known.unwrap_or_else(|| topic.strip_prefix("out.").unwrap_or(topic))
    }
}

impl Store {
    /// Upgrades the files.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if something is not as the previous version left it, or the disk
    /// refuses; the call may be repeated.
    pub(super) fn upgrade_from_v2(&mut self, older: &DirectoryCommitV2) -> Result<(), Fault> {
        // Otherwise an old mark would undo all that the new one contains.
        if let Some((name, _)) = self.layout.list_files(false).map_err(to_fault)?.first() {
            return Err(Fault::stop(format!(
                "{} is of an earlier version, which wrote nothing like out/{name}: move that away, \
                 or, if this version has run here, restore .zeef as it was",
                self.layout.display_path(&self.layout.committed_path())
            )));
        }
        let mut committed = DirectoryCommit {
            commit: older.commit + 1,
            taken_back: older.taken_back,
            keys: self.settings.key_fingerprints.clone(),
            ..DirectoryCommit::default()
        };
        let mut moves = Vec::new();
        for topic in older.outputs.keys() {
            let length = file_length(&self.layout.previous_output_path(topic)).map_err(to_fault)?;
            if length > 0 {
                let name = format!("{}/{topic}", self.settings.output_owner(topic));
                committed.outputs.insert(name.clone(), length);
                moves.push(OutputMove { topic: topic.clone(), name });
            }
        }
        let mut appends = Vec::new();
        for (topic, length) in &older.state {
            let file = self.read_state_file(topic, *length).map_err(to_fault)?;
            let file = file.ok_or_else(|| {
                let error = io::Error::other("it does not end with a whole row");
                let path = self.layout.written_path(topic, true);
                to_fault(FileError::wrap("read", &path)(error))
            })?;
            committed.state.insert(topic.clone(), file);
            // Adds nothing, and truncates the file behind its committed length.
            appends.push(FileAppend {
                name: topic.as_str().into(),
                is_state: true,
                length_before: *length,
                bytes: b"",
            });
        }
        let run_log_path = self.layout.run_log_path();
        let mut run_log =
            RunLog::open(&run_log_path, self.settings.fingerprinter, (now_ms(), false))
                .map_err(to_fault)?;
        for (lane, positions) in &older.lanes {
            let progress_by_topic = self.read_all_progress(positions)?;
            for (topic, position) in positions {
                run_log.record_end(topic, position.offset, now_ms()).map_err(to_fault)?;
            }
            committed.lanes.insert(lane.clone(), progress_by_topic);
        }
        tracing::info!(
            outputs = moves.len(),
            "upgrading the directory from an earlier version: each output moves to a folder of its recipient"
        );
        let journal = Journal { appends, moves, committed, ..Journal::default() };
        self.commit_journal(&journal).map_err(|fault| match fault {
            Fault::Abort(AbortReason::CallFailed { code: Some(_), .. }, cause)
            | Fault::TransportLost(cause) => Fault::Io(cause),
            other => Fault::stop(Cause::from_error(other)),
        })
    }

    /// Reads each source up to its position again, for the anchors.
    fn read_all_progress(
        &self,
        positions: &BTreeMap<String, SourcePositionV2>,
    ) -> Result<BTreeMap<String, SourceProgress>, Fault> {
        let mut progress_by_topic = BTreeMap::new();
        for (topic, position) in positions {
            let path = self.layout.source_path(topic);
            if !has_tail_checksum(&path, *position).map_err(to_fault)? {
                return Err(Fault::stop(format!(
                    "{} was read up to byte {}, and now it is another file or shorter: an input may \
                     only grow. Put the file back as it was and append to it",
                    self.layout.display_path(&path),
                    position.offset
                )));
            }
            let mut reader = LineReader::new(path, self.settings.max_line_bytes, 0);
            reader.open().map_err(to_fault)?;
            let configured = self.settings.configured_topics.as_ref();
            let gate = configured.is_some_and(|topics| topics.gates.contains_key(topic));
            let progress =
                source::read_progress(&mut reader, gate, position.offset, &self.fingerprinter());
            progress_by_topic.insert(topic.clone(), progress.map_err(to_fault)?);
        }
        Ok(progress_by_topic)
    }

    /// Moves an output into its owner's folder, unless that is done.
    pub(super) fn move_output(&mut self, topic: &str, name: &str) -> Result<(), FileError> {
        let (from, to) =
            (self.layout.previous_output_path(topic), self.layout.written_path(name, false));
        let found = match fs::symlink_metadata(&from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found.map_err(FileError::wrap("look at", &from))?,
        };
        if !found.is_file() {
            let error = io::Error::other("it is no file");
            return Err(FileError::wrap("move", &from)(error));
        }
        let folder = to.parent().unwrap_or(&to);
        self.disk.ensure_folder(folder, self.layout.folder_mode(false))?;
        self.disk.rename(&from, &to)?;
        self.disk.open(&to, self.layout.file_mode(false))?;
        self.disk.sync_folder(folder)?;
        self.disk.sync_folder(&self.layout.output_folder)
    }
}

/// Returns whether the bytes before a position have the recorded checksum.
fn has_tail_checksum(
    path: &std::path::Path,
    position: SourcePositionV2,
) -> Result<bool, FileError> {
    if position.offset == 0 {
        return Ok(true);
    }
    if file_length(path)? < position.offset {
        return Ok(false);
    }
    let length = position.offset.min(POSITION_V2_TAIL_BYTES);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let file = File::open(path).map_err(FileError::wrap("open", path))?;
    let read = file.read_exact_at(&mut bytes, position.offset - length);
    read.map_err(FileError::wrap("read", path))?;
    Ok(crc32fast::hash(&bytes) == position.tail)
}
