//! Raw files of enabled intakes in a directory: `DIR/raw/INTAKE/*.ndjson` and `*.csv`.
//!
//! Of a whole export they become the directory's snapshot. Otherwise what they have more than
//! in the last run is appended to `DIR/in`, all of it or nothing, also when the process is killed:
//!
//! 1. The lines to append, and how far each raw file was read, are written to
//!    `.zeef/raw-new`, and synced.
//! 2. It is renamed to `.zeef/raw-commit`: from here on they are appended.
//! 3. Each file of `in` is written from its length before, and synced: first what stops or
//!    erases, then the records that it may be about, as somebody may follow.
//! 4. `.zeef/raw-INTAKE.versions`, where an intake compares versions, and `.zeef/raw.json`, which
//!    says how far each raw file was read, are replaced.
//! 5. `.zeef/raw-commit` is removed.
//!
//! Whoever comes next does what is left of steps 3 to 5. The caller holds the directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{
    self, BufRead as _, BufReader, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _,
};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::sink::RecordSink;
use super::summary::ConversionSummary;
use super::version_file::{read_versions, write_versions};
use super::{
    MessageReader, ONE_PARTITION, RawInput, convert_inputs, convert_newer_inputs, open_inputs,
};
use crate::cli::exit::CliFailure;
use crate::daemon::intake::IntakeSetup;
use crate::intake::{MemoryFull, RecordVersions};
use crate::ledger::block::digest_hex;
use crate::message::Fault;
use crate::policy::catalogue::{RecordKind, Role};
use crate::transport::directory::SOURCE_FILE_SUFFIX;
use crate::transport::file::{
    FileError, FileMode, create_folder, ensure_folder, is_there, open_file, replace_file,
    sync_folder,
};

const RAW_FOLDER: &str = "raw";
const COMMIT_FILE: &str = "commit.json";
const VERSIONS_SUFFIX: &str = ".versions";

/// How far a raw file was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RawProgress {
    lines: usize,
    bytes: u64,
    /// Of those bytes.
    sha256: String,
}

/// By `INTAKE/FILE`; by `INTAKE` the file of its versions.
type ProgressByFile = BTreeMap<String, RawProgress>;

/// What a commit does, beside the lines that lie next to it.
#[derive(Debug, Serialize, Deserialize)]
struct RawCommit {
    progress: ProgressByFile,
    /// The length of each file of `in` before, by its name.
    lengths: BTreeMap<String, u64>,
}

/// The raw files of the enabled intakes of a directory.
pub(in crate::cli) struct RawFolders<'a> {
    root: &'a Path,
    kinds: &'a [RecordKind],
    intakes: Vec<(&'a IntakeSetup, Vec<PathBuf>)>,
    last_line: LastLine,
}

/// What a last line is that does not end, in a file of messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LastLine {
    /// A reason to stop.
    Refused,
    /// A line that comes later.
    Left,
}

impl<'a> RawFolders<'a> {
    /// Lists the files. An intake without its folder has none.
    ///
    /// # Errors
    ///
    /// A folder cannot be read, or has a file that is no raw one.
    pub(in crate::cli) fn list(
        root: &'a Path,
        setups: &'a [IntakeSetup],
        kinds: &'a [RecordKind],
    ) -> anyhow::Result<RawFolders<'a>> {
        let mut intakes = Vec::new();
        for setup in setups {
            let folder = root.join(RAW_FOLDER).join(setup.intake.name());
            let files = list_raw_files(&folder)?;
            if !files.is_empty() {
                intakes.push((setup, files));
            }
        }
        Ok(RawFolders { root, kinds, intakes, last_line: LastLine::Refused })
    }

    /// Leaves a last line that does not end for the next time.
    pub(in crate::cli) fn followed(self) -> RawFolders<'a> {
        RawFolders { last_line: LastLine::Left, ..self }
    }

    /// Warns of each intake of `setups` that has no raw file.
    pub(in crate::cli) fn warn_of_missing(&self, setups: &[IntakeSetup]) {
        let names: Vec<&str> = self.intakes.iter().map(|(setup, _)| setup.intake.name()).collect();
        for intake in setups.iter().map(|setup| setup.intake.name()) {
            if !names.contains(&intake) {
                let folder = self.root.join(RAW_FOLDER).join(intake);
                tracing::warn!(intake, "no raw files in {}", folder.display());
            }
        }
    }

    pub(in crate::cli) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.intakes.iter().flat_map(|(_, files)| files)
    }

    /// Whether there is no raw file, and none is left to be appended.
    ///
    /// # Errors
    ///
    /// The second cannot be looked at.
    pub(in crate::cli) fn is_empty(&self) -> Result<bool, FileError> {
        Ok(self.intakes.is_empty() && !is_there(&state_path(self.root, "raw-commit"))?)
    }

    /// Converts all files to `DIR/snapshot`, anew. Returns what was written.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if something was refused: it would be missing in the snapshot.
    pub(in crate::cli) fn convert_to_snapshot(&self) -> anyhow::Result<ConvertedSnapshot> {
        if self.intakes.is_empty() {
            return Ok(ConvertedSnapshot { files: Vec::new() });
        }
        let names = self.kind_names();
        let folder = self.root.join("snapshot");
        let mut sink = RecordSink::folder(&folder, &names, self.kinds, true)?;
        let snapshot = ConvertedSnapshot { files: sink.paths() };
        match self.write_whole_export(&mut sink) {
            Ok(()) => Ok(snapshot),
            Err(error) => {
                snapshot.remove()?;
                Err(error)
            }
        }
    }

    fn write_whole_export(&self, sink: &mut RecordSink) -> anyhow::Result<()> {
        let mut refused = Vec::new();
        for (setup, files) in &self.intakes {
            let inputs = open_inputs(files, &setup.intake)?;
            let mut summary = ConversionSummary::new(&inputs);
            let lookups =
                convert_inputs(reader_of(setup), &inputs, &mut summary, |_, conversion| {
                    conversion.records.iter().try_for_each(|record| sink.write(record))
                });
            let lookups = lookups.map_err(stop_where_memory_is_full)?;
            summary.report(&setup.intake, &lookups);
            if summary.has_refusals() {
                refused.push(setup.intake.name());
            }
        }
        sink.finish()?;
        match refused.is_empty() {
            true => Ok(()),
            false => Err(Fault::stop(format!(
                "of {} something was refused: it would be missing in the snapshot, and be taken \
                 back; nothing of it was read",
                refused.join(", ")
            ))
            .into()),
        }
    }

    /// Appends to `DIR/in` what the files have more than in the last run. Returns whether
    /// something was refused. `now_ms` is in milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if a file was changed, does not end with a whole line, has a message at
    /// which its mapping has the intake stop, or its versions need more memory than they may have.
    pub(in crate::cli) fn append_changes(&self, now_ms: i64) -> anyhow::Result<bool> {
        finish_commit(self.root, self.kinds)?;
        let new = state_path(self.root, "raw-new");
        remove_folder(&new)?;
        create_folder(&new, FileMode::for_folder(false))?;
        let written = self.write_new_lines(&new, now_ms).and_then(|(progress, has_refusals)| {
            commit(self.root, progress)?;
            Ok(has_refusals)
        });
        match written {
            Ok(has_refusals) => {
                finish_commit(self.root, self.kinds)?;
                Ok(has_refusals)
            }
            Err(error) => {
                // It is full of names.
                remove_folder(&new)?;
                Err(error)
            }
        }
    }

    /// Writes the records of new lines to `folder`. Returns how far each file was read, and
    /// whether something was refused.
    fn write_new_lines(
        &self,
        folder: &Path,
        now_ms: i64,
    ) -> anyhow::Result<(ProgressByFile, bool)> {
        let before = read_progress(self.root)?;
        let mut sink = RecordSink::folder(folder, &self.kind_names(), self.kinds, true)?;
        // Versions count for longer than the files that they came from.
        let versions = before.iter().filter(|(name, _)| !name.contains('/'));
        let mut progress: ProgressByFile =
            versions.map(|(name, file)| (name.clone(), file.clone())).collect();
        let mut has_refusals = false;
        for (setup, files) in &self.intakes {
            let mut inputs = open_inputs(files, &setup.intake)?;
            for (path, input) in files.iter().zip(&mut inputs) {
                let name = format!("{}/{}", setup.intake.name(), file_name(path));
                let read = measure_new_lines(path, (before.get(&name), self.last_line), input)?;
                progress.insert(name, read);
            }
            let mut summary = ConversionSummary::new(&inputs);
            let mut versions = self.restore_versions(setup, &before)?;
            if let Some(versions) = &mut versions {
                versions.set_removal_time(now_ms);
            }
            let newer = (inputs.as_slice(), versions.as_mut());
            let lookups =
                convert_newer_inputs(reader_of(setup), newer, &mut summary, |_, conversion| {
                    conversion.records.iter().try_for_each(|record| sink.write(record))
                });
            let lookups = lookups.map_err(stop_where_memory_is_full)?;
            summary.report(&setup.intake, &lookups);
            summary.require_no_stop()?;
            if let Some(mut versions) = versions {
                versions.forget_removed(ONE_PARTITION, now_ms, usize::MAX);
                let name = setup.intake.name();
                progress.insert(name.to_owned(), save_versions(folder, name, versions)?);
            }
            has_refusals |= summary.has_refusals();
        }
        sink.finish()?;
        Ok((progress, has_refusals))
    }

    /// The versions that an intake wrote last; `None` if it compares none.
    fn restore_versions(
        &self,
        setup: &IntakeSetup,
        progress: &ProgressByFile,
    ) -> anyhow::Result<Option<RecordVersions>> {
        let Some(mut versions) = setup.empty_versions()? else {
            return Ok(None);
        };
        let name = setup.intake.name();
        let Some(known) = progress.get(name) else {
            return Ok(Some(versions));
        };
        let path = versions_path(self.root, name);
        read_versions(&path, &mut versions, |bytes| {
            let is_known = bytes.is_some_and(|bytes| digest_hex(bytes) == known.sha256);
            is_known.then_some(()).ok_or_else(|| {
                Fault::stop(format!(
                    "{} is missing or was changed: without it an older version would count as a \
                     new one; put it back as it was",
                    path.display()
                ))
            })
        })?;
        Ok(Some(versions))
    }

    /// The kinds that the intakes write, each once.
    fn kind_names(&self) -> Vec<&str> {
        let names = self.intakes.iter().flat_map(|(setup, _)| setup.intake.kinds());
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// A bound of a mapping stops a run as it stops the daemon.
fn stop_where_memory_is_full(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<MemoryFull>() {
        Ok(full) => Fault::stop(full.to_string()).into(),
        Err(other) => other,
    }
}

fn reader_of(setup: &IntakeSetup) -> MessageReader<'_> {
    MessageReader { intake: &setup.intake, schemas: &setup.schemas }
}

/// Files of `DIR/snapshot` that were made of raw ones.
pub(in crate::cli) struct ConvertedSnapshot {
    files: Vec<PathBuf>,
}

impl ConvertedSnapshot {
    /// Removes them, once they were compared or if they are not whole: they are full of names.
    pub(in crate::cli) fn remove(&self) -> anyhow::Result<()> {
        for path in &self.files {
            fs::remove_file(path).map_err(FileError::wrap("remove", path))?;
        }
        Ok(())
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn versions_path(root: &Path, intake: &str) -> PathBuf {
    state_path(root, &format!("raw-{intake}{VERSIONS_SUFFIX}"))
}

/// Writes all versions of an intake to `folder`, to be committed.
fn save_versions(
    folder: &Path,
    intake: &str,
    mut versions: RecordVersions,
) -> anyhow::Result<RawProgress> {
    versions.commit();
    let (text, lines) = write_versions(&versions);
    let path = folder.join(format!("{intake}{VERSIONS_SUFFIX}"));
    replace_file(&path, FileMode::for_file(false), &text)?;
    Ok(RawProgress { lines, bytes: text.len() as u64, sha256: digest_hex(&text) })
}

fn state_path(root: &Path, name: &str) -> PathBuf {
    root.join(".zeef").join(name)
}

fn list_raw_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FileError::wrap("list", folder)(error).into()),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(FileError::wrap("list", folder))?.path();
        let name = file_name(&path);
        if name.starts_with('.') {
            continue;
        }
        if !name.ends_with(SOURCE_FILE_SUFFIX) && !name.ends_with(".csv") {
            let text = format!("{}: expected a raw file, *.ndjson or *.csv", path.display());
            return Err(CliFailure::Config(text).into());
        }
        files.push(path);
    }
    files.sort();
    Ok(files)
}

/// Lets `input` convert only the lines that are new, and returns how far the file goes. Of a
/// file of rows all are, unless it is the one of the last run.
fn measure_new_lines(
    path: &Path,
    (before, last_line): (Option<&RawProgress>, LastLine),
    input: &mut RawInput,
) -> anyhow::Result<RawProgress> {
    let is_rows = input.is_csv();
    let prefix = before.map(|before| before.bytes);
    let last_line = (!is_rows).then_some(last_line);
    let (now, hash_before) = measure_file(path, (prefix, last_line))?;
    let is_continued = before.is_some_and(|before| hash_before.as_ref() == Some(&before.sha256));
    let shown = path.display();
    match before {
        Some(before) if is_rows && is_continued && before.bytes == now.bytes => {
            input.convert_nothing();
        }
        _ if is_rows => {}
        Some(_) if !is_continued => {
            return Err(Fault::stop(format!(
                "{shown} was changed after it was read: a raw file may only grow; put other \
                 changes into a file of another name"
            ))
            .into());
        }
        before => input.convert_lines(before.map_or(0, |before| before.lines)..now.lines),
    }
    Ok(now)
}

/// Reads a file: its progress at its end, and the hash of its first `prefix` bytes, if a line
/// ends there. In a file of rows, which has no `last_line`, the last may lack its end.
fn measure_file(
    path: &Path,
    (prefix, last_line): (Option<u64>, Option<LastLine>),
) -> anyhow::Result<(RawProgress, Option<String>)> {
    let file = File::open(path).map_err(FileError::wrap("open", path))?;
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let mut hash = Sha256::new();
    let mut progress = RawProgress { lines: 0, bytes: 0, sha256: String::new() };
    let mut prefix_hash = prefix.filter(|bytes| *bytes == 0).map(|_| hex(hash.clone()));
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(FileError::wrap("read", path))?;
        if read == 0 {
            break;
        }
        match last_line.filter(|_| !line.ends_with(b"\n")) {
            None => {}
            Some(LastLine::Left) => break,
            Some(LastLine::Refused) => {
                let shown = path.display();
                let text = format!("{shown}: the last line does not end: it is being written");
                return Err(Fault::stop(text).into());
            }
        }
        hash.update(&line);
        progress.lines += 1;
        progress.bytes += read as u64;
        if prefix == Some(progress.bytes) {
            prefix_hash = Some(hex(hash.clone()));
        }
    }
    progress.sha256 = hex(hash);
    Ok((progress, prefix_hash))
}

fn hex(hash: Sha256) -> String {
    use std::fmt::Write as _;
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn read_progress(root: &Path) -> anyhow::Result<ProgressByFile> {
    let path = state_path(root, "raw.json");
    match fs::read(&path) {
        Ok(bytes) => parse_json(&path, &bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(ProgressByFile::new()),
        Err(error) => Err(FileError::wrap("read", &path)(error).into()),
    }
}

fn parse_json<T: for<'de> Deserialize<'de>>(path: &Path, bytes: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|_| Fault::stop(format!("{} is damaged", path.display())).into())
}

/// Steps 1 and 2: commits the lines of `raw-new`.
fn commit(root: &Path, progress: ProgressByFile) -> anyhow::Result<()> {
    let new = state_path(root, "raw-new");
    let mut lengths = BTreeMap::new();
    for name in list_files(&new, SOURCE_FILE_SUFFIX)? {
        let path = root.join("in").join(&name);
        lengths.insert(name, whole_length(&path)?);
    }
    let commit = serde_json::to_vec(&RawCommit { progress, lengths })?;
    replace_file(&new.join(COMMIT_FILE), FileMode::for_file(false), &commit)?;
    sync_folder(&new)?;
    let committed = state_path(root, "raw-commit");
    fs::rename(&new, &committed).map_err(FileError::wrap("rename", &new))?;
    Ok(sync_folder(&root.join(".zeef"))?)
}

/// The length of a file of `in`, which ends with a whole line.
fn whole_length(path: &Path) -> anyhow::Result<u64> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(FileError::wrap("open", path)(error).into()),
    };
    let last = |file: &mut File| -> io::Result<(u64, u8)> {
        let length = file.seek(SeekFrom::End(0))?;
        let mut last = [b'\n'];
        if length > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        Ok((length, last[0]))
    };
    let (length, last) = last(&mut file).map_err(FileError::wrap("read", path))?;
    match last {
        b'\n' => Ok(length),
        _ => Err(Fault::stop(format!("{}: the last line does not end", path.display())).into()),
    }
}

/// The files in a folder whose names end so.
fn list_files(folder: &Path, suffix: &str) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(FileError::wrap("list", folder))? {
        let name = file_name(&entry.map_err(FileError::wrap("list", folder))?.path());
        if name.ends_with(suffix) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Steps 3 to 5, if something is committed.
fn finish_commit(root: &Path, kinds: &[RecordKind]) -> anyhow::Result<()> {
    let folder = state_path(root, "raw-commit");
    if !is_there(&folder)? {
        return Ok(());
    }
    let path = folder.join(COMMIT_FILE);
    let bytes = fs::read(&path).map_err(FileError::wrap("read", &path))?;
    let commit: RawCommit = parse_json(&path, &bytes)?;
    let mut lengths: Vec<(&String, &u64)> = commit.lengths.iter().collect();
    lengths.sort_by_key(|(name, _)| append_order(name, kinds));
    for (name, length) in lengths {
        append_at(&root.join("in").join(name), *length, &folder.join(name))?;
    }
    for name in list_files(&folder, VERSIONS_SUFFIX)? {
        let path = folder.join(&name);
        let text = fs::read(&path).map_err(FileError::wrap("read", &path))?;
        replace_file(&state_path(root, &format!("raw-{name}")), FileMode::for_file(false), &text)?;
    }
    let progress = serde_json::to_vec(&commit.progress)?;
    replace_file(&state_path(root, "raw.json"), FileMode::for_file(false), &progress)?;
    remove_folder(&folder)
}

/// The place of a file of `in` among those that are appended to.
fn append_order(name: &str, kinds: &[RecordKind]) -> u8 {
    let topic = name.strip_suffix(SOURCE_FILE_SUFFIX).unwrap_or(name);
    match kinds.iter().find(|kind| kind.topic == topic).map(|kind| kind.role) {
        Some(Role::Gate) => 0,
        Some(Role::Patron) => 1,
        Some(Role::Record) | None => 2,
    }
}

/// Writes the bytes of `lines` to `target` from `start` on, as far as they are not there.
fn append_at(target: &Path, start: u64, lines: &Path) -> anyhow::Result<()> {
    let added = fs::read(lines).map_err(FileError::wrap("read", lines))?;
    if added.is_empty() {
        return Ok(());
    }
    ensure_folder(target.parent().unwrap_or(target), FileMode::for_folder(false))?;
    let named = open_file(target, FileMode::for_file(false), false)?;
    let length = named.length()?;
    let mut file = &named.file;
    let mut there = Vec::new();
    let read = file.seek(SeekFrom::Start(start)).and_then(|_| {
        let wanted = added.len() as u64;
        file.take(wanted).read_to_end(&mut there)
    });
    read.map_err(FileError::wrap("read", target))?;
    if length < start || !added.starts_with(&there) {
        let shown = target.display();
        let text = format!("{shown} was changed while raw files were appended to it");
        return Err(Fault::stop(text).into());
    }
    let written = file
        .seek(SeekFrom::Start(start + there.len() as u64))
        .and_then(|_| file.write_all(added.get(there.len()..).unwrap_or_default()))
        .and_then(|()| named.file.sync_all());
    Ok(written.map_err(FileError::wrap("write", target))?)
}

fn remove_folder(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(FileError::wrap("remove", folder)(error).into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LoadedConfig;
    use crate::intake::load_file;
    use crate::policy::Policy;
    use crate::policy::pseudonym::HmacKey;
    use crate::policy::term::DAY_MS;

    const BEFORE: &str = "{\"key\":\"a\",\"value\":1}\n";
    const ADDED: &str = "{\"key\":\"b\",\"value\":2}\n{\"key\":\"c\",\"value\":3}\n";

    fn progress() -> ProgressByFile {
        let read = RawProgress { lines: 2, bytes: 10, sha256: "00".to_owned() };
        ProgressByFile::from([("koha/dump.ndjson".to_owned(), read)])
    }

    /// A directory with a committed source, whose raw lines are written and not appended.
    fn committed_directory() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join(".zeef/raw-new")).unwrap();
        fs::create_dir_all(root.join("in")).unwrap();
        fs::write(root.join("in/loan.ndjson"), BEFORE).unwrap();
        fs::write(root.join(".zeef/raw-new/loan.ndjson"), ADDED).unwrap();
        fs::write(root.join(".zeef/raw-new/patron.ndjson"), "").unwrap();
        fs::write(root.join(".zeef/raw-new/koha.versions"), BEFORE).unwrap();
        commit(root, progress()).unwrap();
        folder
    }

    fn loans(root: &Path) -> String {
        fs::read_to_string(root.join("in/loan.ndjson")).unwrap()
    }

    #[test]
    fn raw_commit_is_finished_wherever_it_was_interrupted() {
        for written in 0..=ADDED.len() {
            let folder = committed_directory();
            let root = folder.path();
            let partial = format!("{BEFORE}{}", ADDED.get(..written).unwrap());
            fs::write(root.join("in/loan.ndjson"), partial).unwrap();
            for _ in 0..2 {
                finish_commit(root, &[]).unwrap();
                assert_eq!(loans(root), format!("{BEFORE}{ADDED}"), "{written}");
            }
            assert_eq!(read_progress(root).unwrap(), progress());
            let versions = fs::read_to_string(versions_path(root, "koha")).unwrap();
            assert_eq!(versions, BEFORE);
            assert!(!root.join(".zeef/raw-commit").exists());
        }
    }

    #[test]
    fn raw_commit_is_finished_behind_lines_that_came_later() {
        let folder = committed_directory();
        let root = folder.path();
        let later = format!("{BEFORE}{ADDED}{BEFORE}");
        fs::write(root.join("in/loan.ndjson"), &later).unwrap();
        finish_commit(root, &[]).unwrap();
        assert_eq!(loans(root), later);
    }

    #[test]
    fn raw_commit_stops_at_a_source_that_was_changed() {
        for changed in [format!("{BEFORE}{BEFORE}"), String::new()] {
            let folder = committed_directory();
            let root = folder.path();
            fs::write(root.join("in/loan.ndjson"), &changed).unwrap();
            let text = finish_commit(root, &[]).unwrap_err().to_string();
            assert!(text.contains("was changed while raw files were appended"), "{text}");
            assert_eq!(loans(root), changed);
        }
    }

    #[test]
    fn raw_lines_are_not_appended_to_half_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join(".zeef/raw-new")).unwrap();
        fs::create_dir_all(root.join("in")).unwrap();
        fs::write(root.join("in/loan.ndjson"), "{\"key\"").unwrap();
        fs::write(root.join(".zeef/raw-new/loan.ndjson"), ADDED).unwrap();
        let text = commit(root, progress()).unwrap_err().to_string();
        assert!(text.contains("the last line does not end"), "{text}");
        assert!(!root.join(".zeef/raw-commit").exists());
    }

    #[test]
    fn measured_prefix_is_that_of_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ndjson");
        fs::write(&path, BEFORE).unwrap();
        let whole = |prefix| measure_file(&path, (prefix, Some(LastLine::Refused)));
        let (first, _) = whole(None).unwrap();
        fs::write(&path, format!("{BEFORE}{ADDED}")).unwrap();
        let (second, prefix) = whole(Some(first.bytes)).unwrap();
        assert_eq!((prefix, second.lines), (Some(first.sha256), 3));
        let (_, none) = whole(Some(first.bytes - 1)).unwrap();
        assert_eq!(none, None);
        // Half a line is no line yet.
        fs::write(&path, format!("{BEFORE}{ADDED}{{\"key\"")).unwrap();
        let (third, _) = measure_file(&path, (None, Some(LastLine::Left))).unwrap();
        assert_eq!(third, second);
        assert!(whole(None).is_err());
    }

    fn setup_of_versions(loaded: &LoadedConfig) -> IntakeSetup {
        let path = Path::new("tests/intake/mappings/versions.toml");
        let intake = load_file(path, &loaded.policy.record_kinds).unwrap();
        let mut setup = IntakeSetup::new(intake, loaded, "");
        setup.state_key = HmacKey::generate("test").ok();
        setup
    }

    /// By the dates of runs: a deletion is known for the days of the mapping, and no longer.
    #[test]
    fn versions_of_removed_records_are_forgotten_by_dates_of_runs() {
        let loaded = Policy::load(Path::new("config")).unwrap();
        let setups = [setup_of_versions(&loaded)];
        let kept_days = i64::from(setups[0].intake.keep_removed_days().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let raw = root.join("raw/versions");
        fs::create_dir_all(&raw).unwrap();
        fs::create_dir_all(root.join("in")).unwrap();
        fs::create_dir_all(root.join(".zeef")).unwrap();
        let run = |name: &str, line: Option<(&str, i64)>, day: i64| {
            if let Some((op, version)) = line {
                let row = r#"{"id":"record-1","borrower":"b","version":1,"state":"open"}"#;
                let (before, after) = if op == "d" { (row, "null") } else { ("null", row) };
                let line = format!(
                    r#"{{"topic":"loans","value":{{"before":{before},"after":{after},"op":"{op}","source":{{"ts_ms":{version},"pos":1}}}}}}"#
                );
                fs::write(raw.join(name), line + "\n").unwrap();
            }
            let folders = RawFolders::list(root, &setups, &loaded.policy.record_kinds).unwrap();
            assert!(!folders.append_changes(day * DAY_MS).unwrap());
            let rows = fs::read_to_string(versions_path(root, "versions")).unwrap();
            (loans(root).lines().count(), rows.lines().count())
        };
        let first_day = 20_000;
        assert_eq!(run("a.ndjson", Some(("c", 1)), first_day), (1, 1));
        assert_eq!(run("b.ndjson", Some(("d", 2)), first_day), (2, 1));
        let last_day = first_day + kept_days;
        assert_eq!(run("c.ndjson", Some(("c", 1)), last_day), (2, 1), "it stays gone");
        assert_eq!(run("c.ndjson", None, last_day + 1), (2, 0));
        assert_eq!(run("d.ndjson", Some(("c", 1)), last_day + 1), (3, 1), "it is new again");
    }
}
