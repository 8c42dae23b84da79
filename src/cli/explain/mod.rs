//! `zeef explain`: why a recipient gets a record, field by field, or why not.
//!
//! The only command that shows a record's values. The engine decides, over the records that a
//! run would read.

mod records;
mod show;

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::sync::Arc;

use anyhow::Context as _;

use crate::config::LoadedConfig;
use crate::config::keyring::{KeyRing, STATE_KEY_NAME};
use crate::engine::lane::{Lane, LaneSource, PATRONS_TOPIC};
use crate::engine::memory::deliveries::StateKeys;
use crate::engine::pipeline::Pipeline;
use crate::policy::catalogue::Role;
use crate::policy::pseudonym::HmacKey;
use crate::policy::reason::Reason;
use crate::policy::recipient::Recipient;

use super::arguments::{ExplainArguments, RecordPlaceArgument};
use super::audit::{AuditedAction, Auditor};
use super::compile_lane;
use super::config::{load, require_recipient, unknown_name_text};
use super::exit::{CliFailure, Exit};
use super::key_lookup::FoundKeys;
use super::logging;
use super::message_lines::MessageLines;
use super::paths;
use super::project::{batch_time, kind_of_source, require_known_sources};
use super::screen::{self, NoteKind, Screen};
use records::{ExplainedRecord, RecordSource};
use show::ExplanationWriter;

pub(super) fn run(arguments: &ExplainArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = load(&arguments.config.config)?;
    let name = arguments.recipient.as_str();
    require_recipient(&loaded.policy, name)?;
    let recipient = loaded.policy.recipient(name).context("no such recipient")?;
    let which = RecordSelection::from_arguments(arguments, &loaded, recipient)?;
    let from = &arguments.from;
    let records = match (&from.directory, &from.brokers, &from.file) {
        (Some(root), ..) => RecordSource::open_directory(root, &loaded)?,
        (_, Some(brokers), _) => {
            logging::start(loaded.daemon.log, arguments.log);
            RecordSource::open_kafka(&loaded, &arguments.config.config, brokers)?
        }
        (_, _, Some(path)) => {
            let file = File::open(path);
            let file = file.with_context(|| format!("{} cannot be read", path.display()))?;
            RecordSource::Lines(MessageLines::read(BufReader::new(file))?)
        }
        _ => RecordSource::Lines(MessageLines::read_stdin()?),
    };
    if let RecordSource::Lines(lines) = &records {
        require_known_sources(&loaded.policy, &lines.messages)?;
    }
    if let Some(location) = records.location() {
        let action = AuditedAction { words: "explain", subject: Some(name), patron: None };
        Auditor::new(&loaded, &arguments.operator)?.record(&location, action)?;
    }
    let keys =
        FoundKeys::find_keys(&loaded.daemon.keys, &[name]).into_ring_with_throwaways(&[name])?;
    let mut explained = Explainer {
        recipient,
        pipeline: build_pipeline(&loaded, (recipient, &keys), &records)?,
        loaded: &loaded,
        records,
        patrons: HashMap::new(),
    };
    explained.pipeline.begin_batch(batch_time(arguments.time));
    explained.write_explanations(&which, arguments.output, screen)?;
    Ok(Exit::Success)
}

/// Which records are explained.
enum RecordSelection {
    /// All records of the recipient's source.
    All,
    /// Records with this id.
    Id(String),
    At(i32, i64),
}

impl RecordSelection {
    fn from_arguments(
        arguments: &ExplainArguments,
        loaded: &LoadedConfig,
        recipient: &Recipient,
    ) -> Result<RecordSelection, CliFailure> {
        let from = &arguments.from;
        let is_all = from.directory.is_none() && from.brokers.is_none();
        match (&arguments.id, &arguments.at) {
            (Some(id), _) => Ok(RecordSelection::Id(id.clone())),
            (None, Some(place)) => {
                require_place_in_source(place, loaded, recipient)?;
                Ok(RecordSelection::At(place.partition, place.offset))
            }
            (None, None) if is_all => Ok(RecordSelection::All),
            (None, None) => Err(CliFailure::Usage(
                "which record? Say --id with its id, or --at with where it lies, as loan-0@1182"
                    .to_owned(),
            )),
        }
    }
}

/// Refuses a place in another source than the recipient's.
fn require_place_in_source(
    place: &RecordPlaceArgument,
    loaded: &LoadedConfig,
    recipient: &Recipient,
) -> Result<(), CliFailure> {
    let policy = &loaded.policy;
    let prefix = loaded.daemon.kafka.topic_prefix.as_str();
    let own = place.source.strip_prefix(prefix).unwrap_or(&place.source);
    let source = &policy.record_kinds[recipient.source_kind_index].name;
    let kind = kind_of_source(policy, own).or_else(|| kind_of_source(policy, &place.source));
    match kind {
        Some(kind) if kind.name == *source => Ok(()),
        Some(kind) => Err(CliFailure::Usage(format!(
            "there lies a {}, and {} gets something of each {source}",
            kind.name, recipient.name
        ))),
        None => {
            let names = policy.record_kinds.iter().map(|kind| kind.name.as_str());
            Err(CliFailure::Usage(unknown_name_text("source", &place.source, names)))
        }
    }
}

/// Builds the pipeline, with what operators accepted.
fn build_pipeline(
    loaded: &LoadedConfig,
    (recipient, keys): (&Recipient, &KeyRing),
    records: &RecordSource,
) -> anyhow::Result<Pipeline> {
    let mut lanes = loaded.daemon.lanes.iter();
    let own = lanes.find(|lane| lane.recipients.contains(&recipient.name));
    let lane = own.map_or("explain", |lane| lane.name.as_str());
    let lane =
        Arc::new(compile_lane::compile_lane(lane, loaded, |one| one == recipient.name, keys)?);
    let state = match records {
        RecordSource::Lines(_) => None,
        RecordSource::Directory(..) | RecordSource::Kafka(_) => load_state_key(loaded),
    };
    let key = match &state {
        Some(key) => key.clone(),
        None => HmacKey::generate("throwaway")?,
    };
    let mut pipeline = Pipeline::with_state(lane, StateKeys::new(&key), loaded.daemon.holds);
    if let Some(holding) = pipeline.deliveries_mut()
        && state.is_some()
    {
        holding.continuity.commands = Arc::new(records.read_commands()?);
    }
    Ok(pipeline)
}

/// Loads the state key, without which `zeef.patrons` cannot be read.
fn load_state_key(loaded: &LoadedConfig) -> Option<HmacKey> {
    let ring = KeyRing::load_only(&loaded.daemon.keys, [STATE_KEY_NAME]);
    let key = ring.ok().and_then(|ring| ring.state_key().cloned());
    if key.is_none() {
        let text = "no key of the state: erasures that the source of patrons has lost are not \
                    known here";
        screen::print_note(NoteKind::Warning, text);
    }
    key
}

/// Explains records for one recipient.
struct Explainer<'a> {
    recipient: &'a Recipient,
    pipeline: Pipeline,
    loaded: &'a LoadedConfig,
    records: RecordSource,
    /// The last patron record of each explained record, by partition and key.
    patrons: HashMap<(i32, Vec<u8>), ExplainedRecord>,
}

impl Explainer<'_> {
    fn write_explanations(
        &mut self,
        selection: &RecordSelection,
        with_output: bool,
        screen: &mut Screen,
    ) -> anyhow::Result<()> {
        let lane = self.pipeline.shared_lane();
        let place = lane.recipients.first().map_or(0, |program| program.source_index);
        let source = lane.sources.get(place).context("no such source")?;
        let found = self.find_records(&lane, source, selection)?;
        if found.is_empty() {
            anyhow::bail!("{}", self.nothing_found_text(selection));
        }
        self.restore_gates(&lane, &found)?;
        for (at, record) in found.iter().enumerate() {
            if at > 0 {
                writeln!(screen)?;
            }
            let before_gone = self.find_version_before_gone(&found[..at], record);
            let patron = self.patrons.get(&record.patron_key());
            let patron = patron.map(ExplainedRecord::to_input);
            let explanation = match before_gone {
                Some(before) => self.pipeline.explain_gone(&before.to_input(), patron.as_ref(), 0),
                None => self.pipeline.explain(&record.to_input(), patron.as_ref(), 0),
            };
            let explanation = explanation.context("the recipient has no program")?;
            let replaced_by =
                found[at + 1..].iter().find(|later| record.is_older_version_of(later));
            let case = ExplanationWriter {
                policy: &self.loaded.policy,
                recipient: self.recipient,
                source: &self.loaded.policy.record_kinds[self.recipient.source_kind_index],
                record: before_gone.unwrap_or(record),
                gone_by: before_gone.map(|_| record),
                replaced_by,
                patron: match source.kind.role {
                    Role::Patron => None,
                    Role::Gate | Role::Record => self.patrons.get(&record.patron_key()),
                },
            };
            case.write_explanation(&explanation, at == 0, screen)?;
            if with_output {
                case.write_output(&explanation, screen)?;
            }
            for named in self.pipeline.named_patrons(&record.to_input(), 0) {
                let input = record.to_input();
                let explanation = self.pipeline.explain_for_named_patron(&input, 0, &named);
                let explanation = explanation.context("the recipient has no program")?;
                case.write_named_patron(&named, &explanation, screen)?;
                if with_output {
                    case.write_output(&explanation, screen)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the version whose fields count, if `record` says that it is gone, and the recipient
    /// gets something of it all the same.
    fn find_version_before_gone<'r>(
        &mut self,
        before: &'r [ExplainedRecord],
        record: &ExplainedRecord,
    ) -> Option<&'r ExplainedRecord> {
        if !self.recipient.thinned.as_ref().is_some_and(|rule| rule.when_gone) {
            return None;
        }
        let is_gone = |pipeline: &mut Pipeline, one: &ExplainedRecord| {
            let explanation = pipeline.explain(&one.to_input(), None, 0);
            explanation.is_some_and(|one| one.withheld_reason == Some(Reason::RecordGone))
        };
        if !is_gone(&mut self.pipeline, record) {
            return None;
        }
        let mut versions = before.iter().rev().filter(|one| one.is_older_version_of(record));
        versions.find(|one| !is_gone(&mut self.pipeline, one))
    }

    /// Returns the selected records, by partition and offset.
    fn find_records(
        &self,
        lane: &Lane,
        source: &LaneSource,
        selection: &RecordSelection,
    ) -> anyhow::Result<Vec<ExplainedRecord>> {
        let mut found = Vec::new();
        let own_id = source.kind.id_path.as_str();
        let take = &mut |record: ExplainedRecord| {
            let wanted = match selection {
                RecordSelection::All => true,
                RecordSelection::Id(id) => record.read_own_id(own_id).as_deref() == Some(id),
                RecordSelection::At(partition, offset) => {
                    (record.partition, record.offset) == (*partition, *offset)
                }
            };
            if wanted {
                found.push(record);
            }
        };
        match selection {
            RecordSelection::At(partition, offset) => {
                self.records.visit_record_at(lane, source, (*partition, *offset), take)?;
            }
            RecordSelection::All | RecordSelection::Id(_) => {
                self.records.for_each_record(lane, source, None, take)?
            }
        }
        for record in &mut found {
            record.own_id = record.read_own_id(own_id);
        }
        found.sort_by_key(|record| (record.partition, record.offset));
        Ok(found)
    }

    /// Restores erasures, patrons, what they said and what is summarised of them, of the partitions of `found`, as a
    /// start does.
    fn restore_gates(&mut self, lane: &Lane, found: &[ExplainedRecord]) -> anyhow::Result<()> {
        let partitions: BTreeSet<i32> = found.iter().map(|record| record.partition).collect();
        let wanted: BTreeSet<(i32, Vec<u8>)> =
            found.iter().map(ExplainedRecord::patron_key).collect();
        let Explainer { pipeline, records, patrons, .. } = self;
        if let Some(holding) = pipeline.deliveries_mut() {
            let mut damaged = None;
            records.for_each_erasure_row(&partitions, &mut |row| {
                let partition = row.partition.unwrap_or_default();
                let taken = holding.restore_patrons_message(partition, row.key, row.value);
                damaged = damaged.take().or(taken.err());
            })?;
            if let Some(error) = damaged {
                return Err(anyhow::Error::new(error).context(PATRONS_TOPIC));
            }
        }
        for role in [Role::Patron, Role::Gate, Role::Record] {
            let is_restored = |one: &&LaneSource| {
                one.kind.role == role && (role != Role::Record || one.kept_layout.is_some())
            };
            for source in lane.sources.iter().filter(is_restored) {
                records.for_each_record(lane, source, Some(&partitions), &mut |record| {
                    let patron = record.patron_key();
                    // Statements may name other patrons; patron records do not.
                    if role == Role::Patron && !wanted.contains(&patron) {
                        return;
                    }
                    pipeline.restore_gate_record(&record.to_input());
                    if role == Role::Patron {
                        patrons.insert(patron, record);
                    }
                })?;
            }
        }
        if let Some(stop) = pipeline.take_stop_message() {
            screen::print_note(NoteKind::Warning, &format!("a run stops here: {stop}"));
        }
        Ok(())
    }

    fn nothing_found_text(&self, selection: &RecordSelection) -> String {
        let kind = &self.loaded.policy.record_kinds[self.recipient.source_kind_index].name;
        match (selection, &self.records) {
            (RecordSelection::Id(_), _) => format!("no {kind} has that id"),
            (RecordSelection::At(..), _) => format!("no {kind} lies there, or not any more"),
            (RecordSelection::All, _) => format!(
                "no line is a {kind}, and that is what {} gets something of",
                self.recipient.name
            ),
        }
    }
}

/// Reads a record's own id.
fn read_id(value: &[u8], path: &str) -> Option<String> {
    let raw = paths::find_path(std::str::from_utf8(value).ok()?, path)?;
    serde_json::from_str(raw).ok()
}
