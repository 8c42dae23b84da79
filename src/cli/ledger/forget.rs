//! `zeef ledger forget`: destroys the key of a year's references, and deletes its lines.
//!
//! Each step may be interrupted and done again: the marks say first where the chains will begin,
//! then the lines go, then the key. Only while nothing runs.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::read::LedgerReader;
use crate::cli::arguments::LedgerForgetArguments;
use crate::cli::audit::AuditedAction;
use crate::cli::command_target::DataLocation;
use crate::cli::directory;
use crate::cli::exit::{CliFailure, Exit};
use crate::cli::keys::{finish_overwriting, overwrite_key_file};
use crate::cli::screen::Screen;
use crate::cli::stopped_lanes::{lane_of_state_topic, wait_for_members_to_leave};
use crate::config::keyring::LEDGER_KEY_NAME;
use crate::config::settings::SecretSource;
use crate::engine::lane::STATE_TOPIC_PREFIX;
use crate::ledger::LEDGER_TOPIC;
use crate::ledger::block::{Block, ChainName};
use crate::ledger::forget::{ForgetPlan, check_term};
use crate::ledger::keys::LedgerKeys;
use crate::message::continuity::{ContinuityMark, Fingerprinter, MARK_ROW_KEY};
use crate::transport::directory::Directory;
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::lane_states::{PartitionRows, StateReader, StateRewriter};
use crate::transport::kafka::topics::{delete_records_before, fetch_ends};

/// The marks of states that change: by topic and partition.
type ChangedMarks = BTreeMap<(String, i32), Vec<u8>>;

pub(super) fn run(arguments: &LedgerForgetArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    LedgerReader::with_reader(&arguments.source, |reader| {
        let ledger = &reader.loaded.daemon.ledger;
        let now = jiff::Timestamp::now().as_second();
        check_term(arguments.year, ledger.keep_years, now)
            .map_err(|refusal| CliFailure::Usage(refusal.to_string()))?;
        let forgetter = YearForgetter {
            reader,
            arguments,
            key_path: key_path(reader)?,
            keys: reader.ledger_keys()?,
            fingerprinter: reader.state_keys()?.fingerprinter(),
        };
        match reader.location {
            DataLocation::Directory(root) => forgetter.forget_in_directory(root, screen)?,
            DataLocation::Kafka(settings) => forgetter.forget_on_kafka(settings, screen)?,
        }
        Ok(Exit::Success)
    })
}

/// Returns the file of the ledger's key: nothing else can be overwritten.
fn key_path(reader: &LedgerReader<'_>) -> Result<PathBuf, CliFailure> {
    match reader.loaded.daemon.keys.source_of(LEDGER_KEY_NAME) {
        SecretSource::File(path) => Ok(path),
        SecretSource::Environment(variable) => Err(CliFailure::Usage(format!(
            "the key of the ledger lies in the environment variable {variable}, where zeef cannot \
             destroy it: put it into a file first"
        ))),
    }
}

struct YearForgetter<'a> {
    reader: &'a LedgerReader<'a>,
    arguments: &'a LedgerForgetArguments,
    key_path: PathBuf,
    keys: LedgerKeys,
    fingerprinter: Fingerprinter,
}

impl YearForgetter<'_> {
    fn forget_in_directory(&self, root: &Path, screen: &mut Screen) -> anyhow::Result<()> {
        let config = &self.arguments.source.config.config;
        let settings = directory::settings_with_state_key(root, config)?;
        let directory = directory::open_directory(settings)?;
        directory.check_continuity()?;
        let plan = self.plan()?;
        let of_directory = |(topic, mark)| ((topic, 0), mark);
        let marks = directory.latest_marks()?.into_iter().map(of_directory).collect();
        let changed = self.change_marks(&plan, &marks)?;
        if !self.may_begin(&plan, screen)? {
            return Ok(());
        }
        self.write_directory(&directory, changed)?;
        self.destroy_key(&plan, screen)
    }

    fn write_directory(&self, directory: &Directory, marks: ChangedMarks) -> anyhow::Result<()> {
        let row = |mark| vec![(MARK_ROW_KEY.to_vec(), mark)];
        let rows = marks.into_iter().map(|((topic, _), mark)| (topic, row(mark))).collect();
        Ok(directory.forget_ledger_years(self.arguments.year, &rows)?)
    }

    fn forget_on_kafka(&self, settings: &KafkaSettings, screen: &mut Screen) -> anyhow::Result<()> {
        let states = StateReader::open(settings)?;
        let topics = states.list_topics(STATE_TOPIC_PREFIX)?;
        if !self.arguments.dry_run {
            wait_for_members_to_leave((settings, &states), &topics)?;
        }
        // Before anything is read, so that nothing later is deleted.
        let ends = fetch_ends(settings, LEDGER_TOPIC)?.unwrap_or_default();
        let plan = self.plan()?;
        let mut marks = ChangedMarks::new();
        for topic in &topics {
            for (partition, mark) in states.read_marks_by_partition(topic)? {
                marks.insert((topic.name.clone(), partition), mark);
            }
        }
        let changed = self.change_marks(&plan, &marks)?;
        if !self.may_begin(&plan, screen)? {
            return Ok(());
        }
        let rows: Vec<PartitionRows<'_>> = changed
            .iter()
            .map(|((topic, partition), mark)| PartitionRows {
                topic,
                partition: *partition,
                rows: vec![(MARK_ROW_KEY, Some(mark.as_slice()))],
            })
            .collect();
        if !rows.is_empty() {
            let lanes: Vec<&str> =
                topics.iter().map(|topic| lane_of_state_topic(&topic.name)).collect();
            StateRewriter::open(settings)?.write(&lanes, &rows, &[])?;
        }
        let cut =
            |(partition, end)| (partition, plan.first_kept.get(&partition).copied().unwrap_or(end));
        delete_records_before(settings, LEDGER_TOPIC, &(0..).zip(ends).map(cut).collect())?;
        self.destroy_key(&plan, screen)
    }

    /// Finds what goes and where the chains begin then.
    fn plan(&self) -> anyhow::Result<ForgetPlan> {
        let mut plan = ForgetPlan::new(self.arguments.year);
        let mut unreadable = None;
        self.reader.for_each_block_at(
            &mut |place, bytes| match serde_json::from_slice::<Block<'_>>(bytes) {
                Ok(block) => plan.add_block(place, &block),
                Err(_) => drop(unreadable.get_or_insert(place)),
            },
        )?;
        if let Some((partition, offset)) = unreadable {
            anyhow::bail!(
                "partition {partition}, at {offset}: it is no block of a ledger, and nothing is \
                 deleted of a ledger that was changed; see `zeef ledger verify`"
            );
        }
        Ok(plan)
    }

    /// Returns the marks that change.
    fn change_marks(
        &self,
        plan: &ForgetPlan,
        marks: &ChangedMarks,
    ) -> anyhow::Result<ChangedMarks> {
        let mut changed = ChangedMarks::new();
        for ((topic, partition), text) in marks {
            let mut mark = ContinuityMark::decode(&self.fingerprinter, text)?;
            let Some(head) = &mut mark.ledger else {
                continue;
            };
            let lane = lane_of_state_topic(topic).to_owned();
            let chain = ChainName { lane, partition: *partition, born: head.born }.to_string();
            if plan.move_start(&chain, head) {
                changed.insert((topic.clone(), *partition), mark.encode(&self.fingerprinter));
            }
        }
        Ok(changed)
    }

    /// Says what goes, and writes it into the audit. Returns false if that is all.
    fn may_begin(&self, plan: &ForgetPlan, screen: &mut Screen) -> anyhow::Result<bool> {
        let (year, blocks, lines) = (self.arguments.year, plan.blocks_removed, plan.lines_removed);
        if self.arguments.dry_run {
            writeln!(screen, "would go: {blocks} blocks, {lines} lines, up to the end of {year}")?;
            return Ok(false);
        }
        let subject = year.to_string();
        let subject = Some(subject.as_str());
        self.reader.record_audit(AuditedAction {
            words: "ledger forget",
            subject,
            patron: None,
        })?;
        Ok(true)
    }

    /// Overwrites the key by that of the next year.
    fn destroy_key(&self, plan: &ForgetPlan, screen: &mut Screen) -> anyhow::Result<()> {
        let (year, blocks, lines) = (self.arguments.year, plan.blocks_removed, plan.lines_removed);
        if self.keys.first_year() <= year {
            overwrite_key_file(&self.key_path, &self.keys.derive_key(year + 1)?)?;
        } else {
            finish_overwriting(&self.key_path)?;
        }
        writeln!(
            screen,
            "{blocks} blocks with {lines} lines up to the end of {year} are gone; {} has the key of \
             {} and later years: copy it to wherever zeef runs, and destroy all other copies of it",
            self.key_path.display(),
            self.keys.first_year().max(year + 1)
        )?;
        Ok(())
    }
}
