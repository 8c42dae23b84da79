//! Where a ledger lies: its blocks, its register, and the states that have its heads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::cli::arguments::LedgerSourceArguments;
use crate::cli::audit::{AuditedAction, Auditor};
use crate::cli::command_target::{DataLocation, TargetArguments};
use crate::cli::directory::settings_with_keys;
use crate::cli::exit::CliFailure;
use crate::cli::state_rows::read_state_rows;
use crate::cli::{config, key_lookup};
use crate::config::LoadedConfig;
use crate::config::keyring::{KeyRing, LEDGER_KEY_NAME, STATE_KEY_NAME};
use crate::daemon::retraction_follower::FollowedData;
use crate::engine::lane::STATE_TOPIC_PREFIX;
use crate::engine::memory::deliveries::StateKeys;
use crate::ledger::audit::AUDIT_TOPIC;
use crate::ledger::block::{Block, ChainName};
use crate::ledger::chain::{ChainProblem, ChainVerifier};
use crate::ledger::checkpoint::CHECKPOINTS_TOPIC;
use crate::ledger::keys::LedgerKeys;
use crate::ledger::register::Register;
use crate::ledger::timestamp::TIMESTAMPS_TOPIC;
use crate::ledger::{LEDGER_TOPIC, REGISTER_TOPIC};
use crate::message::continuity::{ChainStart, ContinuityMark, LedgerHead, MARK_ROW_KEY};
use crate::message::{Input, Payload};
use crate::policy::catalogue::Role;
use crate::transport::directory::{
    ChainFile, DirectoryView, LedgerPart, append_to_chain_file, finish_interrupted_commit,
    list_states, read_chain_file, read_ledger, read_state,
};
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::chain_topic::append_to_chain;
use crate::transport::kafka::lane_states::{StateReader, StateTopic};
use crate::transport::kafka::read_topic::{read_inputs, read_rows_with_offsets};

/// Takes a block and where it lies.
pub(super) type TakeBlock<'a> = dyn FnMut(&dyn Fn() -> String, &[u8]) + 'a;

/// Takes a block with its partition and its offset.
type TakePlacedBlock<'a> = dyn FnMut((i32, i64), &[u8]) + 'a;

/// Reads a ledger and what belongs to it.
pub(super) struct LedgerReader<'a> {
    pub(super) loaded: &'a LoadedConfig,
    keys: KeyRing,
    pub(super) location: &'a DataLocation<'a>,
    source: &'a LedgerSourceArguments,
}

impl LedgerReader<'_> {
    /// Opens a ledger, and does `work` with it.
    ///
    /// # Errors
    ///
    /// A wrong config, a missing key of state or ledger, or those of `work`.
    pub(super) fn with_reader<T>(
        source: &LedgerSourceArguments,
        work: impl FnOnce(&LedgerReader<'_>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let loaded = config::load(&source.config.config)?;
        let keys = key_lookup::load_keys(&loaded.daemon.keys, [STATE_KEY_NAME, LEDGER_KEY_NAME])?;
        let target = TargetArguments {
            config: &source.config,
            brokers: &source.brokers,
            directory: source.directory.as_deref(),
        };
        DataLocation::with_location(&loaded, &target, source.log, |location| {
            if let DataLocation::Directory(root) = location {
                // Half of a commit would look like a ledger that was changed.
                finish_interrupted_commit(settings_with_keys(root, &loaded, &keys)?)?;
            }
            work(&LedgerReader { loaded: &loaded, keys, location, source })
        })
    }

    /// Writes into the audit what is about to be shown.
    ///
    /// # Errors
    ///
    /// No operator is named, or the line cannot be written: then nothing may be shown.
    pub(super) fn record_audit(&self, action: AuditedAction<'_>) -> anyhow::Result<()> {
        Auditor::new(self.loaded, &self.source.operator)?.record(self.location, action)
    }

    /// Where ledger and acknowledgements are followed.
    pub(super) fn followed_data(&self) -> FollowedData {
        match self.location {
            DataLocation::Kafka(settings) => FollowedData::Kafka(settings.clone()),
            DataLocation::Directory(root) => FollowedData::Directory(root.to_path_buf()),
        }
    }

    /// Hands out each line of the audit, in order.
    pub(super) fn for_each_audit_line(&self, take: &mut TakeBlock<'_>) -> anyhow::Result<()> {
        self.for_each_chain_line((ChainFile::Audit, AUDIT_TOPIC), take)
    }

    /// Hands out each checkpoint, in order.
    pub(super) fn for_each_checkpoint(&self, take: &mut TakeBlock<'_>) -> anyhow::Result<()> {
        self.for_each_chain_line((ChainFile::Checkpoints, CHECKPOINTS_TOPIC), take)
    }

    /// Hands out each request of a timestamp and each answer, in order.
    pub(super) fn for_each_timestamp(&self, take: &mut TakeBlock<'_>) -> anyhow::Result<()> {
        self.for_each_chain_line((ChainFile::Timestamps, TIMESTAMPS_TOPIC), take)
    }

    /// Keeps a request of a timestamp, or an answer.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(super) fn append_timestamp(&self, message: &[u8]) -> anyhow::Result<()> {
        let mut make = |_: Option<&[u8]>| Some(message.to_vec());
        match self.location {
            DataLocation::Directory(root) => {
                append_to_chain_file(root, ChainFile::Timestamps, &mut make)?;
            }
            DataLocation::Kafka(settings) => {
                append_to_chain(settings, TIMESTAMPS_TOPIC, &mut make)?;
            }
        }
        Ok(())
    }

    fn for_each_chain_line(
        &self,
        (file, topic): (ChainFile, &str),
        take: &mut TakeBlock<'_>,
    ) -> anyhow::Result<()> {
        match self.location {
            DataLocation::Directory(root) => {
                Ok(read_chain_file(root, file, &mut |(file, number), line| {
                    take(&|| format!("{file} line {number}"), line);
                })?)
            }
            DataLocation::Kafka(settings) => read_topic(settings, topic, take).map(drop),
        }
    }

    /// Hands out the patrons of the patron source, each time with whether it has a record.
    pub(super) fn for_each_patron(&self, take: &mut dyn FnMut(&str, bool)) -> anyhow::Result<()> {
        let mut kinds = self.loaded.policy.record_kinds.iter();
        let Some(kind) = kinds.find(|kind| kind.role == Role::Patron) else {
            return Ok(());
        };
        let mut take_input = |input: Input<'_>| {
            if let Some(id) = input.key.and_then(|key| std::str::from_utf8(key).ok()) {
                take(id, !matches!(input.payload, Payload::Null));
            }
        };
        match self.location {
            DataLocation::Directory(root) => {
                let view = DirectoryView::open(root, usize::MAX)?;
                view.read_source(("", &kind.topic), true, &mut take_input)?;
            }
            DataLocation::Kafka(settings) => {
                read_inputs(settings, &kind.topic, &mut take_input)?;
            }
        }
        Ok(())
    }

    /// Returns the keys that make the references of patrons.
    pub(super) fn ledger_keys(&self) -> anyhow::Result<LedgerKeys> {
        let key = self.keys.ledger_key();
        let key = key.ok_or_else(|| CliFailure::Config("the ledger has no key".to_owned()))?;
        let unusable = |error| CliFailure::Config(format!("the key of the ledger: {error}"));
        Ok(LedgerKeys::new(key).map_err(unusable)?)
    }

    /// Returns what makes the hashes of the state.
    pub(super) fn state_keys(&self) -> anyhow::Result<StateKeys> {
        let key = self.keys.state_key();
        let missing = || CliFailure::Config("the key of the state is missing".to_owned());
        Ok(StateKeys::new(key.ok_or_else(missing)?))
    }

    /// Reads the register, and what of it is not as zeef wrote it.
    pub(super) fn read_register(&self) -> anyhow::Result<(Register, Vec<ChainProblem>)> {
        let (mut register, mut problems) = (Register::default(), Vec::new());
        let mut take = |place: &dyn Fn() -> String, value: &[u8]| {
            if let Err(text) = register.add_message(value) {
                problems.push(ChainProblem { place: place(), text: text.to_owned() });
            }
        };
        let of_files = match self.location {
            DataLocation::Directory(root) => read_directory(root, LedgerPart::Register, &mut take)?,
            DataLocation::Kafka(settings) => read_topic(settings, REGISTER_TOPIC, &mut take)?,
        };
        problems.extend(of_files);
        Ok((register, problems))
    }

    /// Hands out each committed block, in the order of its chain. Returns what is wrong with the
    /// files themselves.
    pub(super) fn for_each_block(
        &self,
        take: &mut TakeBlock<'_>,
    ) -> anyhow::Result<Vec<ChainProblem>> {
        match self.location {
            DataLocation::Directory(root) => read_directory(root, LedgerPart::Blocks, take),
            DataLocation::Kafka(settings) => read_topic(settings, LEDGER_TOPIC, take),
        }
    }

    /// Verifies each committed block against its chain and the register, and hands out those that
    /// can be read at all, each with its length in bytes.
    pub(super) fn verify_each_block(
        &self,
        register: &Register,
        take: &mut dyn FnMut(Block<'_>, usize),
    ) -> anyhow::Result<ChainVerifier> {
        let mut chains = ChainVerifier { starts: self.read_starts()?, ..ChainVerifier::default() };
        self.for_each_block(&mut |place, bytes| {
            if let Some(block) = chains.add_block(place, bytes, register) {
                take(block, bytes.len());
            }
        })?;
        Ok(chains)
    }

    /// Hands out each committed block with its partition and its offset, in a directory the number
    /// of its line.
    pub(super) fn for_each_block_at(&self, take: &mut TakePlacedBlock<'_>) -> anyhow::Result<()> {
        match self.location {
            DataLocation::Directory(root) => {
                read_ledger(root, LedgerPart::Blocks, &mut |(_, number), line| {
                    take((0, i64::try_from(number).unwrap_or(i64::MAX)), line);
                })?;
            }
            DataLocation::Kafka(settings) => {
                read_rows_with_offsets(settings, LEDGER_TOPIC, &mut |offset, row| {
                    if let Some(value) = row.value {
                        take((row.partition.unwrap_or_default(), offset), value);
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Returns where chains begin of which years were forgotten.
    pub(super) fn read_starts(&self) -> anyhow::Result<BTreeMap<String, ChainStart>> {
        let heads = self.read_heads()?.into_iter();
        Ok(heads.filter_map(|(name, head)| Some((name, head.start?))).collect())
    }

    /// Returns the heads of all chains by name, as the marks of all states say.
    pub(super) fn read_heads(&self) -> anyhow::Result<BTreeMap<String, LedgerHead>> {
        let prints = self.state_keys()?.fingerprinter();
        let mut heads = BTreeMap::new();
        for lane in self.list_state_lanes()? {
            for (partition, mark) in self.read_marks(&lane)? {
                let mark = ContinuityMark::decode(&prints, &mark)?;
                if let Some(head) = mark.ledger {
                    let name = ChainName { lane: lane.clone(), partition, born: head.born };
                    heads.insert(name.to_string(), head);
                }
            }
        }
        Ok(heads)
    }

    /// Returns the lanes that have a state, also those that the config no longer has.
    fn list_state_lanes(&self) -> anyhow::Result<BTreeSet<String>> {
        let topics = match self.location {
            DataLocation::Directory(root) => list_states(root)?,
            DataLocation::Kafka(settings) => {
                let topics = StateReader::open(settings)?.list_topics(STATE_TOPIC_PREFIX)?;
                topics.into_iter().map(|topic| topic.name).collect()
            }
        };
        let lanes = topics.iter().filter_map(|topic| topic.strip_prefix(STATE_TOPIC_PREFIX));
        Ok(lanes.map(str::to_owned).collect())
    }

    fn read_marks(&self, lane: &str) -> anyhow::Result<BTreeMap<i32, Vec<u8>>> {
        let topic = format!("{STATE_TOPIC_PREFIX}{lane}");
        match self.location {
            DataLocation::Directory(root) => {
                let mut marks = BTreeMap::new();
                read_state(root, &topic, &mut |row| {
                    if row.key == Some(MARK_ROW_KEY)
                        && let Some(value) = row.value
                    {
                        marks.insert(row.partition.unwrap_or_default(), value.to_vec());
                    }
                })?;
                Ok(marks)
            }
            DataLocation::Kafka(settings) => {
                let states = StateReader::open(settings)?;
                let found = states.list_topics(&topic)?;
                let state: Option<&StateTopic> = found.iter().find(|state| state.name == topic);
                let marks = state.map(|state| states.read_marks_by_partition(state));
                Ok(marks.transpose()?.unwrap_or_default())
            }
        }
    }

    /// Returns the rows of a lane's state, without its marks.
    pub(super) fn read_state_rows(&self, lane: &str) -> anyhow::Result<Vec<Box<[u8]>>> {
        read_state_rows(self.location, lane, |key, row| {
            Ok((key != MARK_ROW_KEY).then(|| row.into()))
        })
    }
}

/// Checks that what was made of chains lacks nothing of them.
///
/// # Errors
///
/// The first block that is not as zeef wrote it.
pub(super) fn require_whole(chains: &ChainVerifier, what: &str) -> anyhow::Result<()> {
    if let Some(ChainProblem { place, text }) = chains.problems.first() {
        anyhow::bail!("{place}: {text}: {what} may lack something; see `zeef ledger verify`");
    }
    Ok(())
}

fn read_directory(
    root: &Path,
    part: LedgerPart,
    take: &mut TakeBlock<'_>,
) -> anyhow::Result<Vec<ChainProblem>> {
    let differences = read_ledger(root, part, &mut |(file, number), line| {
        take(&|| format!("{file} line {number}"), line);
    })?;
    let problem = |one: crate::transport::directory::LedgerFileDifference| {
        let (length, left) = (one.length, one.committed_length);
        let text = format!("it is {length} bytes long, and zeef left it at {left}");
        ChainProblem { place: one.file, text }
    };
    Ok(differences.into_iter().map(problem).collect())
}

fn read_topic(
    settings: &KafkaSettings,
    name: &str,
    take: &mut TakeBlock<'_>,
) -> anyhow::Result<Vec<ChainProblem>> {
    let topic = settings.topic_name(name);
    read_rows_with_offsets(settings, name, &mut |offset, row| {
        let partition = row.partition.unwrap_or_default();
        if let Some(value) = row.value {
            take(&|| format!("`{topic}` partition {partition} offset {offset}"), value);
        }
    })?;
    Ok(Vec::new())
}
