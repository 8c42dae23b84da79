//! Compares a directory with what zeef left there.
//!
//! Done after a start, before anything is decided, and again while a run goes on, for all lanes.
//! Every difference is a finding, which an operator accepts by its own code while no process runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::committed::{CommittedFile, CommittedStateFile, DirectoryCommit};
use super::layout::{Layout, file_length};
use super::ledger_files::is_ledger_file;
use super::line_reader::LineReader;
use super::read_files::ReadFiles;
use super::run_log::{RunLog, lock_run_log};
use super::source;
use super::store::{Store, read_state_file};
use super::{DirectorySettings, to_fault};
use crate::message::Fault;
use crate::message::continuity::{SourceProgress, format_code, unread_gates};
use crate::transport::file::{FileError, is_file};

/// A difference from what zeef left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryFinding {
    /// What was found, what is lost, and what accepting it means.
    pub text: String,
    /// Accepts this finding and no other; `None` if it cannot be accepted.
    pub code: Option<String>,
}

/// A finding without its code.
struct Difference {
    /// The file or key it is about.
    subject: String,
    detail: String,
    consequence: &'static str,
    /// How the mark changes if it is accepted.
    accepted_change: Option<AcceptedChange>,
}

enum AcceptedChange {
    /// An output has this length.
    Output(String, u64),
    State(String, CommittedStateFile),
    /// Everything is dropped, and every lane reads its sources from their beginning.
    Everything,
    /// A lane reads a source from its beginning.
    Source(String, String),
    /// A lane forgets a source.
    UnreadGate(String, String),
    Key(String),
    /// The log of runs is as it is there.
    Runs(CommittedStateFile),
}

const INPUT_CHANGED: &str = "An input may only grow: what it had was decided, and what it does not have any \
    more (an objection, an erasure) would count for nothing. Put the file back as it was and append \
    to it. Accepted, it is read from its beginning, as if all of it came now; what stood in it before \
    is gone";
const OUTPUT_TRUNCATED: &str = "An output is read in place, and grows between compactions: its recipient \
    may miss what it lost. Put the file back. Accepted, zeef goes on behind what is there, and sends \
    nothing of it again";
const OUTPUT_EXTENDED: &str = "Either .zeef is an older copy, or somebody else wrote to the output: what \
    is behind that length can never be taken back. Put back the newer .zeef. Accepted, the lines stay \
    as they are, and zeef may send some of them again";
const STATE_CHANGED: &str = "The state says what recipients have: what it does not say can never be taken \
    back. Restore in, out and .zeef together. Accepted, the rows that are there count, and no others";
const STATE_MISSING: &str = "The state says what recipients have: without it nothing of that can ever be \
    taken back. Restore in, out and .zeef together; `zeef forget LANE` begins anew on purpose";
const LEDGER_CHANGED: &str = "The ledger says who received what: what it does not say any more is \
    proved by nothing. Restore in, out and .zeef together. Accepted, it goes on behind what is there, \
    and `zeef ledger verify` names the gap from then on";
const MARK_MISSING: &str = "Nobody knows what was read, nor whether anything is missing. Restore in, out \
    and .zeef together. Accepted, all input is read again from its beginning, and the rows of the \
    states count as they are: what they do not say can never be taken back";
const MARK_AND_STATE_MISSING: &str = "Nobody knows what was read and what recipients have. Restore in, out and \
    .zeef together; `zeef forget LANE` begins anew on purpose, and what recipients have can then \
    never be taken back";
const RUNS_LOST: &str = "It says which lines came before an erasure, and which after it: without it what \
    was granted before one may count again. Restore in, out and .zeef together; `zeef forget LANE` \
    begins anew on purpose, and what recipients have can then never be taken back";
const RUNS_CHANGED: &str = "It says which lines came before an erasure, and which after it: with other times \
    what was granted before one may count again. Restore in, out and .zeef together. Accepted, the \
    times that stand there count from now on";
const RUNS_NOT_OWN: &str = "What this process has in memory is not what stands there. Start again: what \
    was read since the last commit is read again";
const GATE_FILE_NOT_READ: &str = "Give its kind of record that topic and role again. Accepted, whatever it said (an \
    erasure, an objection, a withdrawal, a payment) counts for nothing from now on; move the file out of \
    `in` then";
const KEY_CHANGED: &str = "A recipient would have two pseudonyms for one patron, and no way to see it. Put \
    back the key that is missing. Accepted, outputs get their new keys as their records change";

impl Store {
    /// Compares everything with the mark once, and applies what was accepted.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] with every finding that is not accepted.
    pub(super) fn check_continuity(&mut self) -> Result<(), Fault> {
        self.recover()?;
        if self.verified_at.is_some() {
            return Ok(());
        }
        let started = Instant::now();
        let mut committed = self.next_commit();
        let (mut left, mut accepted) = (Vec::new(), 0);
        let (differences, findings) = self.compare_with_mark()?;
        for (difference, finding) in differences.into_iter().zip(findings) {
            if !self.is_accepted(&finding).map_err(to_fault)? {
                left.push(finding);
            } else if let Some(change) = difference.accepted_change {
                tracing::warn!(finding = %finding.text, "accepted");
                self.apply_acceptance(change, &mut committed).map_err(to_fault)?;
                accepted += 1;
            }
        }
        if !left.is_empty() {
            return Err(self.stop_on_findings(&left));
        }
        if accepted > 0 {
            self.commit_journal(&super::journal::Journal { committed, ..Default::default() })?;
        }
        self.verified_at = Some(started);
        Ok(())
    }

    /// Compares everything with the mark again, unless that was done less than `max_age` ago.
    /// Returns whether it was. Does nothing before the first comparison.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] with every finding, as the next start has them, and from then on at each
    /// call: what was read meanwhile may be of the damaged files. [`Fault::Io`] if the system
    /// refuses to read something, until it does not.
    pub(super) fn verify_if_due(&mut self, max_age: Duration) -> Result<bool, Fault> {
        self.recover()?;
        if let Some(stop) = &self.stopped_by {
            return Err(stop.clone());
        }
        let Some(last) = self.verified_at else {
            return Ok(false);
        };
        if !self.must_verify && last.elapsed() < max_age {
            return Ok(false);
        }
        self.must_verify = true;
        let started = Instant::now();
        if let Err(fault) = self.find_damage() {
            self.stopped_by = matches!(fault, Fault::Stop(_)).then(|| fault.clone());
            return Err(fault);
        }
        self.must_verify = false;
        self.verified_at = Some(started);
        let seconds = started.elapsed().as_secs_f64();
        tracing::debug!(files_read = self.read_files.read_count, seconds, "compared with the mark");
        Ok(true)
    }

    /// Fails if anything is not as this process left it.
    fn find_damage(&mut self) -> Result<(), Fault> {
        self.require_no_other_journal()?;
        self.require_own_mark()?;
        let (_, findings) = self.compare_with_mark()?;
        match findings.is_empty() {
            true => self.require_input_files(),
            false => Err(self.stop_on_findings(&findings)),
        }
    }

    /// Returns what a comparison finds now, in place of a fault that tells less; `fault` if it finds
    /// nothing.
    pub(super) fn finding_or(&mut self, fault: Fault) -> Fault {
        match self.verify_if_due(Duration::ZERO) {
            Err(finding @ Fault::Stop(_)) => finding,
            _ => fault,
        }
    }

    /// Compares with the mark on the disk, if that is not the one that this process wrote.
    fn require_own_mark(&mut self) -> Result<(), Fault> {
        let path = self.layout.committed_path();
        let found = CommittedFile::read(&path, Some(self.settings.seal_check()))?;
        let other = match found {
            CommittedFile::Current(found) if found == self.committed => return Ok(()),
            CommittedFile::Missing if self.is_new => return Ok(()),
            CommittedFile::Current(found) => Some(found),
            CommittedFile::Missing | CommittedFile::PreviousFormat(_) => None,
        };
        let is_new = other.is_none();
        let other = other.unwrap_or_default();
        let mut read_files = ReadFiles::new();
        let mut comparison = self.comparison((&other, is_new), &mut read_files);
        // As the next start would compare it.
        comparison.run_log = None;
        let findings = comparison.find_all()?.1;
        if !findings.is_empty() {
            return Err(self.stop_on_findings(&findings));
        }
        let shown = self.layout.display_path(&path);
        Err(Fault::stop(format!(
            "{shown} is another one than this process left there: somebody put back a copy. Start \
             again from what is there now, or restore in, out and .zeef together"
        )))
    }

    /// Returns all findings, accepted or not.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if a file cannot be read.
    pub(super) fn findings(&mut self) -> Result<Vec<DirectoryFinding>, Fault> {
        self.recover()?;
        Ok(self.compare_with_mark()?.1)
    }

    /// Returns all differences from the mark, and the finding of each.
    fn compare_with_mark(&mut self) -> Result<(Vec<Difference>, Vec<DirectoryFinding>), Fault> {
        let mut read_files = std::mem::replace(&mut self.read_files, ReadFiles::new());
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        read_files.begin_comparison(i128::try_from(since_epoch.as_nanos()).unwrap_or(0));
        let found = self.comparison((&self.committed, self.is_new), &mut read_files).find_all();
        self.read_files = read_files;
        found
    }

    fn comparison<'a>(
        &'a self,
        (committed, is_new): (&'a DirectoryCommit, bool),
        read_files: &'a mut ReadFiles,
    ) -> Comparison<'a> {
        Comparison {
            settings: &self.settings,
            layout: &self.layout,
            committed,
            is_new,
            run_log: self.run_log.as_deref(),
            read_files,
        }
    }

    fn stop_on_findings(&self, findings: &[DirectoryFinding]) -> Fault {
        let root = self.settings.root.display().to_string();
        let texts: Vec<String> =
            findings.iter().map(|finding| finding_message(finding, &root)).collect();
        Fault::stop(texts.join("\n"))
    }

    fn is_accepted(&self, finding: &DirectoryFinding) -> Result<bool, FileError> {
        match &finding.code {
            Some(code) => is_file(&self.layout.accepted_folder().join(code)),
            None => Ok(false),
        }
    }

    fn apply_acceptance(
        &self,
        change: AcceptedChange,
        committed: &mut DirectoryCommit,
    ) -> Result<(), FileError> {
        match change {
            AcceptedChange::Output(name, 0) => drop(committed.outputs.remove(&name)),
            AcceptedChange::Output(name, length) => drop(committed.outputs.insert(name, length)),
            AcceptedChange::State(topic, file) => drop(committed.state.insert(topic, file)),
            AcceptedChange::Everything => {
                committed.outputs.extend(self.file_lengths(false)?);
                for (topic, length) in self.file_lengths(true)? {
                    if let Some(file) = self.read_state_file(&topic, length)? {
                        committed.state.insert(topic, file);
                    }
                }
            }
            AcceptedChange::Source(lane, topic) => {
                let trails = committed.lanes.get_mut(&lane);
                if let Some(progress) = trails.and_then(|trails| trails.get_mut(&topic)) {
                    *progress = SourceProgress {
                        next: progress.next,
                        start: progress.next,
                        anchors: Vec::new(),
                        log: progress.log.map(|_| 0),
                        gate: progress.gate.clone(),
                        partition_count: progress.partition_count,
                    };
                }
            }
            AcceptedChange::UnreadGate(lane, topic) => {
                if let Some(trails) = committed.lanes.get_mut(&lane) {
                    trails.remove(&topic);
                }
            }
            AcceptedChange::Runs(runs) => committed.runs = Some(runs),
            AcceptedChange::Key(name) => {
                if let Some(print) = self.settings.key_fingerprints.get(&name) {
                    committed.keys.insert(name, print.clone());
                }
            }
        }
        Ok(())
    }

    /// Returns the non-empty written files with their lengths.
    fn file_lengths(&self, state: bool) -> Result<Vec<(String, u64)>, FileError> {
        let mut files = self.layout.list_files(state)?;
        files.retain(|(_, length)| *length > 0);
        Ok(files)
    }
}

/// A directory beside a mark.
struct Comparison<'a> {
    settings: &'a DirectorySettings,
    layout: &'a Layout,
    committed: &'a DirectoryCommit,
    /// There is no mark.
    is_new: bool,
    /// The log of the current run.
    run_log: Option<&'a Mutex<RunLog>>,
    read_files: &'a mut ReadFiles,
}

impl Comparison<'_> {
    /// Returns all differences, and the finding of each.
    fn find_all(&mut self) -> Result<(Vec<Difference>, Vec<DirectoryFinding>), Fault> {
        let differences = self.find_differences().map_err(to_fault)?;
        let findings = differences.iter().map(|one| self.to_finding(one)).collect();
        Ok((differences, findings))
    }

    fn to_finding(&self, difference: &Difference) -> DirectoryFinding {
        let Difference { subject, detail, consequence: follows, accepted_change: accepted } =
            difference;
        let number = self.committed.commit;
        let text = format!("directory\0{number}\0{subject}\0{detail}");
        let code = format_code(self.settings.fingerprinter.hash_text(text.as_bytes()));
        DirectoryFinding {
            text: format!("{subject}: {detail}. {follows}"),
            code: accepted.is_some().then_some(code),
        }
    }

    fn find_differences(&mut self) -> Result<Vec<Difference>, FileError> {
        if self.is_new {
            return self.differences_without_mark();
        }
        let mut found = self.output_differences()?;
        found.extend(self.state_differences()?);
        found.extend(self.source_differences()?);
        found.extend(self.unread_gate_differences());
        found.extend(self.run_log_difference()?);
        found.extend(self.key_differences());
        Ok(found)
    }

    /// Finds files of zeef that no mark describes.
    fn differences_without_mark(&mut self) -> Result<Vec<Difference>, FileError> {
        let mut files = self.layout.list_files(true)?;
        files.extend(self.layout.list_files(false)?);
        files.extend(self.layout.list_previous_outputs()?);
        let files: Vec<_> = files.into_iter().filter(|(_, length)| *length > 0).collect();
        let Some((first, _)) = files.first() else {
            return Ok(Vec::new());
        };
        let path = self.layout.committed_path();
        let count = files.len();
        let sum: u64 = files.iter().map(|(_, length)| length).sum();
        let states = self.layout.list_files(true)?.into_iter();
        let states: Vec<_> = states
            .map(|(topic, length)| self.find_state_file(&topic, length))
            .collect::<Result<_, FileError>>()?;
        let rows = states.iter().flatten().map(|file| file.rows).sum::<u64>();
        let usable = rows > 0 && states.iter().all(Option::is_some);
        Ok(vec![Difference {
            subject: self.layout.display_path(&path),
            detail: format!(
                "it is missing, and files were written before: {count}, the first {first} ({sum} \
                 bytes, {rows} rows)"
            ),
            consequence: if usable { MARK_MISSING } else { MARK_AND_STATE_MISSING },
            accepted_change: usable.then_some(AcceptedChange::Everything),
        }])
    }

    fn output_differences(&self) -> Result<Vec<Difference>, FileError> {
        let on_disk = self.layout.list_files(false)?;
        let committed = &self.committed.outputs;
        let mut names: BTreeSet<&String> = committed.keys().collect();
        names.extend(on_disk.iter().map(|(name, _)| name));
        let mut found = Vec::new();
        for name in names {
            let left = committed.get(name).copied().unwrap_or(0);
            let path = self.layout.written_path(name, false);
            let length = file_length(&path)?;
            if length != left {
                found.push(Difference {
                    subject: self.layout.display_path(&path),
                    detail: describe_lengths(length, left),
                    consequence: match length < left {
                        true => OUTPUT_TRUNCATED,
                        false => OUTPUT_EXTENDED,
                    },
                    accepted_change: ends_with_newline(&path, length)?
                        .then(|| AcceptedChange::Output(name.clone(), length)),
                });
            }
        }
        Ok(found)
    }

    fn state_differences(&mut self) -> Result<Vec<Difference>, FileError> {
        let on_disk = self.layout.list_files(true)?;
        let mark = self.committed;
        let committed = &mark.state;
        let mut names: BTreeSet<&String> = committed.keys().collect();
        names.extend(on_disk.iter().map(|(name, _)| name));
        let mut found = Vec::new();
        for topic in names {
            let left = committed.get(topic).copied().unwrap_or_default();
            let path = self.layout.written_path(topic, true);
            let length = file_length(&path)?;
            let now = self.find_state_file(topic, length)?;
            if now == Some(left) {
                continue;
            }
            let same_length = length == left.length;
            let is_ledger = is_ledger_file(topic);
            let (detail, follows) = match (same_length, length) {
                (true, _) => ("its rows are not those that zeef wrote".to_owned(), STATE_CHANGED),
                (false, 0) => (describe_lengths(length, left.length), STATE_MISSING),
                (false, _) => (describe_lengths(length, left.length), STATE_CHANGED),
            };
            found.push(Difference {
                subject: self.layout.display_path(&path),
                detail: match now {
                    Some(file) => format!("{detail} (rows: {}, {:08x})", file.rows, file.hash),
                    None => format!("{detail}, and some are no rows"),
                },
                consequence: if is_ledger { LEDGER_CHANGED } else { follows },
                accepted_change: now
                    .filter(|file| file.rows > 0)
                    .map(|file| AcceptedChange::State(topic.clone(), file)),
            });
        }
        Ok(found)
    }

    /// As [`Store::read_state_file`], without reading again what has not changed.
    fn find_state_file(
        &mut self,
        topic: &str,
        length: u64,
    ) -> Result<Option<CommittedStateFile>, FileError> {
        let path = self.layout.written_path(topic, true);
        let read = || read_state_file(&path, length, &self.settings.fingerprinter);
        self.read_files.find_state((&path, length), read)
    }

    fn source_differences(&mut self) -> Result<Vec<Difference>, FileError> {
        let mut found = Vec::new();
        let committed = self.committed;
        for (lane, trails) in &committed.lanes {
            for (topic, progress) in trails {
                if let Some(detail) = self.describe_source_change(topic, progress)? {
                    let path = self.layout.source_path(topic);
                    found.push(Difference {
                        subject: format!("{} (lane {lane})", self.layout.display_path(&path)),
                        detail,
                        consequence: INPUT_CHANGED,
                        accepted_change: Some(AcceptedChange::Source(lane.clone(), topic.clone())),
                    });
                }
            }
        }
        Ok(found)
    }

    /// Finds gates that were read, and are not read as those any more.
    fn unread_gate_differences(&self) -> Vec<Difference> {
        let Some(configured) = &self.settings.configured_topics else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (lane, trails) in &self.committed.lanes {
            for gate in unread_gates(trails, configured, false) {
                let path = self.layout.source_path(gate.topic);
                let read = source::consumed_bytes(gate.progress);
                found.push(Difference {
                    subject: format!("{} (lane {lane})", self.layout.display_path(&path)),
                    detail: gate.describe(&format!("byte {read}")),
                    consequence: GATE_FILE_NOT_READ,
                    accepted_change: Some(AcceptedChange::UnreadGate(
                        lane.clone(),
                        gate.topic.to_owned(),
                    )),
                });
            }
        }
        found
    }

    /// Returns what is wrong with a source, if anything.
    fn describe_source_change(
        &mut self,
        topic: &str,
        progress: &SourceProgress,
    ) -> Result<Option<String>, FileError> {
        let path = self.layout.source_path(topic);
        let read = source::consumed_bytes(progress);
        let length = file_length(&path)?;
        if length < read {
            return Ok(Some(format!(
                "it was read up to byte {read}, and now it is {length} bytes long"
            )));
        }
        let DirectorySettings { max_line_bytes, fingerprinter, .. } = self.settings;
        let reader = || LineReader::new(path.clone(), *max_line_bytes, 0);
        let mut now = None;
        if !source::has_anchors(&mut reader(), progress, fingerprinter)? {
            now = Some(0);
        } else if let Some(log) = progress.log {
            let again = self.read_files.find_gate_log((&path, read), || {
                let mut reader = reader();
                reader.open()?;
                Ok(source::read_progress(&mut reader, true, read, fingerprinter)?.log)
            })?;
            now = again.filter(|again| *again != log);
        }
        Ok(now.map(|log| {
            format!(
                "it was read up to byte {read}, and what stands there now is something else \
                 ({length} bytes, {log:08x})"
            )
        }))
    }

    /// Finds a log of runs that does not know all that was read, as each run writes how far its
    /// sources extend before it hands out a line; or one with other lines than zeef wrote.
    fn run_log_difference(&mut self) -> Result<Option<Difference>, FileError> {
        let path = self.layout.run_log_path();
        let run_log = self.run_log;
        let run_log = run_log.map(lock_run_log).filter(|_| !self.read_files.is_full);
        if let Some(run_log) = run_log
            && run_log.is_as_written()?
        {
            return Ok(self.unknown_end_difference(&path, &run_log.ends()));
        }
        let stamp = self.read_files.settled_stamp(&path)?;
        let known_ends = RunLog::read_ends(&path)?;
        self.read_files.read_count += 1;
        if let Some(lost) = self.unknown_end_difference(&path, &known_ends) {
            return Ok(Some(lost));
        }
        if let Some(changed) = self.changed_run_difference(&path)? {
            return Ok(Some(changed));
        }
        if let Some(run_log) = self.run_log {
            let mut run_log = lock_run_log(run_log);
            let written = run_log.written();
            let now = self.read_run_log(&path, written.length)?;
            if now != Some(written) || file_length(&path)? != written.length {
                return Ok(Some(Difference {
                    subject: self.layout.display_path(&path),
                    detail: "somebody else wrote to it while this process runs".to_owned(),
                    consequence: RUNS_NOT_OWN,
                    accepted_change: None,
                }));
            }
            run_log.set_compared(stamp);
        }
        Ok(None)
    }

    /// Finds a log of runs that does not know all that was read.
    fn unknown_end_difference(
        &self,
        path: &Path,
        known_ends: &BTreeMap<String, u64>,
    ) -> Option<Difference> {
        let mut lost = BTreeMap::new();
        for (topic, progress) in self.committed.lanes.values().flatten() {
            let read = source::consumed_bytes(progress);
            let known = known_ends.get(topic).copied().unwrap_or(0);
            if known < read {
                let most = lost.entry(topic).or_insert((known, read));
                most.1 = most.1.max(read);
            }
        }
        let details: Vec<String> = lost
            .into_iter()
            .map(|(topic, (known, read))| {
                format!("it knows {topic} up to byte {known}, and that was read up to byte {read}")
            })
            .collect();
        (!details.is_empty()).then(|| Difference {
            subject: self.layout.display_path(path),
            detail: details.join("; "),
            consequence: RUNS_LOST,
            accepted_change: None,
        })
    }

    /// Finds a log of runs whose lines before the end in the mark are others.
    fn changed_run_difference(&self, path: &Path) -> Result<Option<Difference>, FileError> {
        let Some(left) = self.committed.runs else {
            return Ok(None);
        };
        let now = self.read_run_log(path, left.length)?;
        if now == Some(left) {
            return Ok(None);
        }
        let length = file_length(path)?;
        let all = self.read_run_log(path, length)?;
        let detail = format!(
            "its lines up to byte {} are not those that zeef wrote ({length} bytes, {:08x})",
            left.length,
            all.map_or(0, |all| all.hash)
        );
        Ok(Some(Difference {
            subject: self.layout.display_path(path),
            detail,
            consequence: RUNS_CHANGED,
            accepted_change: all.map(AcceptedChange::Runs),
        }))
    }

    fn read_run_log(
        &self,
        path: &Path,
        length: u64,
    ) -> Result<Option<CommittedStateFile>, FileError> {
        read_state_file(path, length, &self.settings.fingerprinter)
    }

    fn key_differences(&self) -> Vec<Difference> {
        let keys = self.settings.key_fingerprints.iter();
        let others = keys.filter_map(|(name, print)| {
            let known = self.committed.keys.get(name)?;
            (known != print).then(|| Difference {
                subject: format!("the key of {name}"),
                detail: format!(
                    "its outputs were made with the key `{}`, and the key here is {} `{}` ({})",
                    known.id,
                    if known.id == print.id { "another" } else { "the key" },
                    print.id,
                    print.print
                ),
                consequence: KEY_CHANGED,
                accepted_change: Some(AcceptedChange::Key(name.clone())),
            })
        });
        others.collect()
    }
}

/// Returns whether the file up to `length` ends with a whole line.
fn ends_with_newline(path: &Path, length: u64) -> Result<bool, FileError> {
    let Some(last) = length.checked_sub(1) else {
        return Ok(true);
    };
    let mut byte = [0];
    let file = File::open(path).map_err(FileError::wrap("open", path))?;
    let read = file.read_exact_at(&mut byte, last);
    read.map_err(FileError::wrap("read", path))?;
    Ok(byte == *b"\n")
}

fn describe_lengths(found: u64, committed_length: u64) -> String {
    match found {
        0 => format!("it is missing or empty, and zeef left it at {committed_length} bytes"),
        _ => format!("it is {found} bytes long, and zeef left it at {committed_length}"),
    }
}

/// Describes a finding with the command that accepts it.
fn finding_message(finding: &DirectoryFinding, root: &str) -> String {
    match &finding.code {
        Some(code) => {
            format!("{}: `zeef accept {code} --directory {root} --reason TEXT`", finding.text)
        }
        None => finding.text.clone(),
    }
}
