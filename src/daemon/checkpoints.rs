//! Signs what the chains of the ledger end with, while a run goes on and at its end, and compares
//! it at a start with what was kept outside.
//!
//! On Kafka every process does so, and one at a time writes: whoever takes the transactional id of
//! `zeef.checkpoints` reads the last checkpoint and the marks after that, and nobody else can
//! commit meanwhile.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::checkpoint_copies::{CheckpointCopy, CopyLimit, NewestCheckpoint, read_copy};
use super::metrics::Metrics;
use super::run::Endpoint;
use crate::config::settings::CheckpointSettings;
use crate::engine::lane::STATE_TOPIC_PREFIX;
use crate::ledger::audit::{AUDIT_TOPIC, AuditLine};
use crate::ledger::block::{ChainName, digest_hex};
use crate::ledger::checkpoint::note::Checkpoint;
use crate::ledger::checkpoint::{
    CHECKPOINTS_TOPIC, CheckpointError, CheckpointMaker, HeadList, ListedHead, OpenCheckpoint,
};
use crate::message::continuity::{ContinuityMark, Fingerprinter};
use crate::message::{Fault, Output};
use crate::transport::StopSignal;
use crate::transport::directory::{ChainFile, append_to_chain_file, read_chain_file};
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::chain_topic::{append_to_chain, read_last_message};
use crate::transport::kafka::lane_states::StateReader;
use crate::transport::kafka::read_topic::read_rows;

/// How often to look whether to stop.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How often to tell that checkpoints cannot be kept.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// How long a server may take for the last checkpoint of a run: a stop has a limit.
const LAST_COPY_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes and compares the checkpoints of a run.
pub struct CheckpointKeeper {
    pub endpoint: Endpoint,
    pub maker: CheckpointMaker,
    pub settings: CheckpointSettings,
    pub copies: Vec<CheckpointCopy>,
    pub metrics: Arc<Metrics>,
    pub fingerprinter: Fingerprinter,
    /// Why the run has to stop.
    pub failure: Mutex<Option<String>>,
}

impl CheckpointKeeper {
    /// Compares what the chains end with, with the last checkpoint and with those outside that can
    /// be read.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if something was rolled back or written anew, or is not what was signed;
    /// others if it cannot be read.
    pub fn check_start(&self) -> anyhow::Result<()> {
        // Other processes go on meanwhile: chains are written before the checkpoint that lists
        // them, and that before its copy, so all is read in the opposite order.
        let files = self.copies.iter().filter_map(CheckpointCopy::comparable_file);
        let read = |path: &'_ _| Ok((PathBuf::from(path), read_copy(path, &self.maker)?));
        let copies: Vec<(PathBuf, _)> = files.map(read).collect::<anyhow::Result<_>>()?;
        let last = self.read_last()?.map(|last| self.open(&last)).transpose()?;
        if let Some(last) = &last {
            last.compare(&self.read_heads()?).map_err(|error| stop(&error))?;
        }
        let size = last.map_or(0, |last| last.checkpoint.size);
        for (path, copy) in copies {
            match copy {
                Some(outside) => self.compare_copy(&path, &outside, size)?,
                None => {
                    let path = path.display();
                    tracing::warn!("{path} has no checkpoint yet to compare with");
                }
            }
        }
        Ok(())
    }

    /// Compares what was kept outside with the checkpoints, of which there are `size`.
    fn compare_copy(&self, path: &Path, outside: &Checkpoint, size: u64) -> anyhow::Result<()> {
        let path = path.display();
        if size < outside.size {
            return Err(Fault::stop(format!(
                "the checkpoint in {path} is number {}, and {CHECKPOINTS_TOPIC} has {size}: ledger, \
                 states and checkpoints were rolled back together; restore them, or move that file \
                 away if it was on purpose",
                outside.size
            ))
            .into());
        }
        if self.find_root(outside.size)? != Some(outside.root) {
            return Err(Fault::stop(format!(
                "checkpoint {} of {CHECKPOINTS_TOPIC} is another one than that in {path}: the ledger \
                 was written anew; restore it, or move that file away if it was on purpose",
                outside.size
            ))
            .into());
        }
        Ok(())
    }

    fn open(&self, message: &[u8]) -> Result<OpenCheckpoint, Fault> {
        let origin = self.maker.signer.origin();
        OpenCheckpoint::read(message, origin, &self.maker.keys).map_err(|error| stop(&error))
    }

    /// Writes the next checkpoint, if a chain went on, and keeps the newest one outside.
    ///
    /// # Errors
    ///
    /// It cannot be written, or may not be signed.
    fn write_next(&self, limit: CopyLimit<'_>) -> anyhow::Result<()> {
        let (mut made, mut failed) = (None, None);
        let mut make = |last: Option<&[u8]>| {
            let next = self.read_heads().and_then(|heads| {
                let now = jiff::Timestamp::now().as_second();
                Ok(self.maker.make_next(last, &heads, now)?)
            });
            let next = next.unwrap_or_else(|error| {
                failed = Some(error);
                None
            });
            made = next.clone().or_else(|| last.map(<[u8]>::to_vec));
            next
        };
        match &self.endpoint {
            Endpoint::Directory(directory) => {
                append_to_chain_file(directory.root(), ChainFile::Checkpoints, &mut make)?;
            }
            Endpoint::Kafka { settings, .. } => {
                // Without taking the id from another process while nothing went on.
                let last = read_last_message(settings, CHECKPOINTS_TOPIC)?;
                if make(last.as_deref()).is_some() {
                    append_to_chain(settings, CHECKPOINTS_TOPIC, &mut make)?;
                }
            }
        }
        match failed {
            Some(error) => Err(error),
            None => made.map_or(Ok(()), |made| self.keep_copies(&made, limit)),
        }
    }

    /// Starts to write checkpoints until `finished`. Stops the run if they may not be signed any
    /// more, or could not be kept for too long.
    ///
    /// # Errors
    ///
    /// There is no thread for it.
    pub fn spawn(
        self: &Arc<Self>,
        run: StopSignal,
        finished: StopSignal,
    ) -> anyhow::Result<JoinHandle<()>> {
        let keeper = Arc::clone(self);
        thread::Builder::new()
            .name("checkpoints".to_owned())
            .spawn(move || keeper.run(&run, &finished))
            .context("failed to start the checkpoints")
    }

    fn run(&self, run: &StopSignal, finished: &StopSignal) {
        let mut kept_at = Instant::now();
        let mut looked_at = Instant::now();
        let mut warned_at: Option<Instant> = None;
        while !finished.is_requested() {
            thread::sleep(POLL_INTERVAL);
            if looked_at.elapsed() < self.settings.interval {
                continue;
            }
            match self.write_next(CopyLimit { at_most: Duration::MAX, stop: finished }) {
                Ok(()) => kept_at = Instant::now(),
                // What was cut short is told of, or repeated, by the last one.
                Err(_) if finished.is_requested() => return,
                Err(error) => {
                    if warned_at.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
                        tracing::warn!("no checkpoint of the ledger: {error:#}");
                        warned_at = Some(Instant::now());
                    }
                    let limit = self.settings.stop_unanchored_after;
                    let is_over = limit.is_some_and(|limit| kept_at.elapsed() >= limit);
                    if is_over || error.is::<CheckpointError>() {
                        self.fail(format!("no checkpoint of the ledger can be kept: {error:#}"));
                        run.request();
                        return;
                    }
                }
            }
            looked_at = Instant::now();
        }
    }

    fn fail(&self, why: String) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(why);
    }

    /// Writes the last checkpoint of a run. Returns why the run did not end in good order: that
    /// it could not be kept is a reason only where a run is to stop for it.
    pub fn finish(&self) -> Option<String> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.or_else(|| {
            let limit = CopyLimit { at_most: LAST_COPY_TIMEOUT, stop: &StopSignal::default() };
            let error = self.write_next(limit).err()?;
            let why = format!("no checkpoint of the ledger: {error:#}");
            if self.settings.stop_unanchored_after.is_some() || error.is::<CheckpointError>() {
                return Some(why);
            }
            tracing::warn!("{why}");
            None
        })
    }

    /// Returns the ends of all chains, as the marks of the states and the audit say.
    fn read_heads(&self) -> anyhow::Result<HeadList> {
        let mut heads = HeadList::new();
        let mut add = |topic: &str, partition: i32, mark: &[u8]| -> anyhow::Result<()> {
            let lane = topic.strip_prefix(STATE_TOPIC_PREFIX).unwrap_or(topic).to_owned();
            if let Some(head) = ContinuityMark::decode(&self.fingerprinter, mark)?.ledger {
                let name = ChainName { lane, partition, born: head.born }.to_string();
                heads.insert(name, ListedHead::from(&head));
            }
            Ok(())
        };
        let audit = match &self.endpoint {
            Endpoint::Directory(directory) => {
                for (topic, mark) in directory.latest_marks()? {
                    add(&topic, 0, &mark)?;
                }
                read_last_line(directory.root(), ChainFile::Audit)?
            }
            Endpoint::Kafka { settings, .. } => {
                let states = StateReader::open(settings)?;
                for state in states.list_topics(STATE_TOPIC_PREFIX)? {
                    for (partition, mark) in states.read_marks_by_partition(&state)? {
                        add(&state.name, partition, &mark)?;
                    }
                }
                read_last_message(settings, AUDIT_TOPIC)?
            }
        };
        heads.extend(audit.as_deref().and_then(audit_head));
        Ok(heads)
    }

    fn read_last(&self) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(match &self.endpoint {
            Endpoint::Directory(directory) => {
                read_last_line(directory.root(), ChainFile::Checkpoints)?
            }
            Endpoint::Kafka { settings, .. } => read_last_message(settings, CHECKPOINTS_TOPIC)?,
        })
    }

    /// Returns the root of the checkpoint of a size; `None` if there is none.
    fn find_root(&self, size: u64) -> anyhow::Result<Option<[u8; 32]>> {
        let mut root = None;
        let mut take = |bytes: &[u8]| {
            let found = self.open(bytes).ok().filter(|found| found.checkpoint.size == size);
            root = found.map(|found| found.checkpoint.root).or(root);
        };
        match &self.endpoint {
            Endpoint::Directory(directory) => {
                let file = ChainFile::Checkpoints;
                read_chain_file(directory.root(), file, &mut |_, line| take(line))?;
            }
            Endpoint::Kafka { settings, .. } => read_values(settings, &mut take)?,
        }
        Ok(root)
    }

    /// Keeps the newest checkpoint in each place outside that lacks it.
    ///
    /// # Errors
    ///
    /// What could not be kept; the other places were tried, too.
    fn keep_copies(&self, message: &[u8], limit: CopyLimit<'_>) -> anyhow::Result<()> {
        let number = self.open(message)?.checkpoint.size;
        self.metrics.set_checkpoint(number);
        let mut failed = Vec::new();
        for copy in &self.copies {
            let kept = copy.keep(NewestCheckpoint { number, message }, &self.maker, limit);
            self.metrics.record_checkpoint_copy(copy.label(), kept.is_ok().then_some(number));
            failed.extend(kept.err().map(|error| format!("{error:#}")));
        }
        anyhow::ensure!(failed.is_empty(), "{}", failed.join("; "));
        Ok(())
    }
}

fn stop(error: &CheckpointError) -> Fault {
    Fault::stop(format!(
        "{CHECKPOINTS_TOPIC}: {error}; see `zeef ledger verify`, and restore it; if it was on purpose, \
         make {CHECKPOINTS_TOPIC} anew (in a directory, move .zeef/checkpoints away), and move the copy \
         away"
    ))
}

/// The end of the audit's chain, by the exact bytes of its last line.
fn audit_head(bytes: &[u8]) -> Option<(String, ListedHead)> {
    let line: AuditLine<'_> = serde_json::from_slice(bytes).ok()?;
    let head = ListedHead { sequence: line.sequence, hash: digest_hex(bytes), start: None };
    Some((line.chain.into_owned(), head))
}

fn read_last_line(root: &Path, file: ChainFile) -> Result<Option<Vec<u8>>, Fault> {
    let mut last = None;
    read_chain_file(root, file, &mut |_, line| last = Some(line.to_vec()))?;
    Ok(last)
}

fn read_values(settings: &KafkaSettings, take: &mut dyn FnMut(&[u8])) -> anyhow::Result<()> {
    read_rows(settings, CHECKPOINTS_TOPIC, &mut |row: Output<'_>| {
        row.value.into_iter().for_each(&mut *take);
    })?;
    Ok(())
}
