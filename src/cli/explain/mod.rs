//! `zeef explain`: why a recipient gets a record, field by field, or why not.
//!
//! The one command that shows a record's values beside what becomes of them. What it
//! says is decided by the engine, over the records that a run would have read.

mod records;
mod show;

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::sync::Arc;

use anyhow::Context as _;

use crate::daemon::run::holds;
use crate::engine::lane::{Lane, PATRONS_TOPIC, Source};
use crate::engine::pipeline::Pipeline;
use crate::engine::state::Namer;
use crate::policy::Loaded;
use crate::policy::catalogue::Role;
use crate::policy::pseudonym::{Key, KeyRing, STATE_KEY};
use crate::policy::recipient::Recipient;

use super::arguments::{ExplainArguments, RecordPlace};
use super::config::{check_recipient, load, unknown};
use super::exit::{Exit, Failure};
use super::flat;
use super::key::Keys;
use super::lane;
use super::logging;
use super::message::Lines;
use super::project::{batch_time, check_sources, kind_of};
use super::screen::{self, Screen, Tone};
use records::{Record, Records};
use show::Case;

pub(super) fn run(arguments: &ExplainArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = load(&arguments.config.config)?;
    let name = arguments.recipient.as_str();
    check_recipient(&loaded.policy, name)?;
    let recipient = loaded.policy.recipient(name).context("no such recipient")?;
    let which = Which::of(arguments, &loaded, recipient)?;
    let from = &arguments.from;
    let records = match (&from.directory, &from.brokers, &from.file) {
        (Some(root), ..) => Records::directory(root, &loaded)?,
        (_, Some(brokers), _) => {
            logging::start(loaded.daemon.log, arguments.log);
            Records::kafka(&loaded, brokers)?
        }
        (_, _, Some(path)) => {
            let file = File::open(path);
            let file = file.with_context(|| format!("{} cannot be read", path.display()))?;
            Records::Lines(Lines::read(BufReader::new(file))?)
        }
        _ => Records::Lines(Lines::of_stdin()?),
    };
    if let Records::Lines(lines) = &records {
        check_sources(&loaded.policy, &lines.messages)?;
    }
    let keys = Keys::find(&loaded.daemon.keys, &[name]).or_throwaway(&[name])?;
    let mut explained = Explained {
        recipient,
        pipeline: pipeline(&loaded, (recipient, &keys), &records)?,
        loaded: &loaded,
        records,
        patrons: HashMap::new(),
    };
    explained.pipeline.begin(batch_time(arguments.time));
    explained.show(&which, arguments.output, screen)?;
    Ok(Exit::Fine)
}

/// Which records are explained.
enum Which {
    /// All of the recipient's source.
    All,
    /// Those with this id of their own.
    Id(String),
    At(i32, i64),
}

impl Which {
    fn of(
        arguments: &ExplainArguments,
        loaded: &Loaded,
        recipient: &Recipient,
    ) -> Result<Which, Failure> {
        let from = &arguments.from;
        let is_all = from.directory.is_none() && from.brokers.is_none();
        match (&arguments.id, &arguments.at) {
            (Some(id), _) => Ok(Which::Id(id.clone())),
            (None, Some(place)) => {
                check_place(place, loaded, recipient)?;
                Ok(Which::At(place.partition, place.offset))
            }
            (None, None) if is_all => Ok(Which::All),
            (None, None) => Err(Failure::Usage(
                "which record? Say --id with its id, or --at with where it lies, as loan-0@1182"
                    .to_owned(),
            )),
        }
    }
}

/// Refuses a place in another source than the recipient's.
fn check_place(place: &RecordPlace, loaded: &Loaded, recipient: &Recipient) -> Result<(), Failure> {
    let policy = &loaded.policy;
    let prefix = loaded.daemon.kafka.topic_prefix.as_str();
    let own = place.source.strip_prefix(prefix).unwrap_or(&place.source);
    let source = &policy.kinds[recipient.source].name;
    let kind = kind_of(policy, own).or_else(|| kind_of(policy, &place.source));
    match kind {
        Some(kind) if kind.name == *source => Ok(()),
        Some(kind) => Err(Failure::Usage(format!(
            "there lies a {}, and {} gets something of each {source}",
            kind.name, recipient.name
        ))),
        None => {
            let names = policy.kinds.iter().map(|kind| kind.name.as_str());
            Err(Failure::Usage(unknown("source", &place.source, names)))
        }
    }
}

/// Makes what decides, with all that is kept of erasures and accepted by operators.
fn pipeline(
    loaded: &Loaded,
    (recipient, keys): (&Recipient, &KeyRing),
    records: &Records,
) -> anyhow::Result<Pipeline> {
    let mut lanes = loaded.daemon.lanes.iter();
    let own = lanes.find(|lane| lane.recipients.contains(&recipient.name));
    let lane = own.map_or("explain", |lane| lane.name.as_str());
    let lane = Arc::new(lane::compile(
        lane,
        loaded,
        |one| one == recipient.name,
        keys,
    )?);
    let state = match records {
        Records::Lines(_) => None,
        Records::Directory(..) | Records::Kafka(_) => state_key(loaded),
    };
    let key = match &state {
        Some(key) => key.clone(),
        None => Key::generate("throwaway")?,
    };
    let mut pipeline = Pipeline::with_state(lane, Namer::new(&key), holds(&loaded.daemon));
    if let Some(holding) = pipeline.holding_mut()
        && state.is_some()
    {
        holding.continuity.commands = Arc::new(records.commands()?);
    }
    Ok(pipeline)
}

/// The key of the state; without it nobody knows what `zeef.patrons` says.
fn state_key(loaded: &Loaded) -> Option<Key> {
    let ring = KeyRing::load_only(&loaded.daemon.keys, [STATE_KEY]);
    let key = ring.ok().and_then(|ring| ring.state().cloned());
    if key.is_none() {
        let text = "no key of the state: erasures that the source of patrons has lost are not \
                    known here";
        screen::note(Tone::Warning, text);
    }
    key
}

/// What is needed to explain records for one recipient.
struct Explained<'a> {
    recipient: &'a Recipient,
    pipeline: Pipeline,
    loaded: &'a Loaded,
    records: Records,
    /// The last record of each patron that an explained record is of, by partition
    /// and key.
    patrons: HashMap<(i32, Vec<u8>), Record>,
}

impl Explained<'_> {
    fn show(
        &mut self,
        which: &Which,
        with_output: bool,
        screen: &mut Screen,
    ) -> anyhow::Result<()> {
        let lane = self.pipeline.shared_lane();
        let place = lane.recipients.first().map_or(0, |program| program.source);
        let source = lane.sources.get(place).context("no such source")?;
        let found = self.find(&lane, source, which)?;
        if found.is_empty() {
            anyhow::bail!("{}", self.nothing(which));
        }
        self.restore(&lane, &found)?;
        for (at, record) in found.iter().enumerate() {
            if at > 0 {
                writeln!(screen)?;
            }
            let explanation = self.pipeline.explain(&record.input(), 0);
            let explanation = explanation.context("the recipient has no program")?;
            let replaced_by = found[at + 1..].iter().find(|later| record.is_before(later));
            let case = Case {
                policy: &self.loaded.policy,
                recipient: self.recipient,
                source: &self.loaded.policy.kinds[self.recipient.source],
                record,
                replaced_by,
                patron: match source.kind.role {
                    Role::Patron => None,
                    Role::Gate | Role::Record => self.patrons.get(&record.patron()),
                },
            };
            case.show(&explanation, at == 0, screen)?;
            if with_output {
                case.show_output(&explanation, screen)?;
            }
        }
        Ok(())
    }

    /// The records that are asked for, in the order in which they lie.
    fn find(&self, lane: &Lane, source: &Source, which: &Which) -> anyhow::Result<Vec<Record>> {
        let mut found = Vec::new();
        let own_id = source.kind.id.as_str();
        let take = &mut |record: Record| {
            let wanted = match which {
                Which::All => true,
                Which::Id(id) => record.id(own_id).as_deref() == Some(id),
                Which::At(partition, offset) => {
                    (record.partition, record.offset) == (*partition, *offset)
                }
            };
            if wanted {
                found.push(record);
            }
        };
        match which {
            Which::At(partition, offset) => {
                self.records
                    .one(lane, source, (*partition, *offset), take)?;
            }
            Which::All | Which::Id(_) => self.records.each(lane, source, None, take)?,
        }
        for record in &mut found {
            record.own_id = record.id(own_id);
        }
        found.sort_by_key(|record| (record.partition, record.offset));
        Ok(found)
    }

    /// Reads what decides beside `found`, as a start does: erasures, patrons, consents
    /// and objections, of their partitions.
    fn restore(&mut self, lane: &Lane, found: &[Record]) -> anyhow::Result<()> {
        let partitions: BTreeSet<i32> = found.iter().map(|record| record.partition).collect();
        let wanted: BTreeSet<(i32, Vec<u8>)> = found.iter().map(Record::patron).collect();
        let Explained {
            pipeline,
            records,
            patrons,
            ..
        } = self;
        if let Some(holding) = pipeline.holding_mut() {
            let mut damaged = None;
            records.kept_of_patrons(&partitions, &mut |row| {
                let partition = row.partition.unwrap_or_default();
                let taken = holding.restore_patrons(partition, row.key, row.value);
                damaged = damaged.take().or(taken.err());
            })?;
            if let Some(error) = damaged {
                return Err(anyhow::Error::new(error).context(PATRONS_TOPIC));
            }
        }
        for role in [Role::Patron, Role::Gate] {
            for source in lane.sources.iter().filter(|one| one.kind.role == role) {
                records.each(lane, source, Some(&partitions), &mut |record| {
                    let patron = record.patron();
                    // Of patrons only these are needed; a statement may name others.
                    if role == Role::Patron && !wanted.contains(&patron) {
                        return;
                    }
                    pipeline.restore(&record.input());
                    if role == Role::Patron {
                        patrons.insert(patron, record);
                    }
                })?;
            }
        }
        if let Some(stop) = pipeline.take_stop() {
            screen::note(Tone::Warning, &format!("a run stops here: {stop}"));
        }
        Ok(())
    }

    fn nothing(&self, which: &Which) -> String {
        let kind = &self.loaded.policy.kinds[self.recipient.source].name;
        match (which, &self.records) {
            (Which::Id(_), _) => format!("no {kind} has that id"),
            (Which::At(..), _) => format!("no {kind} lies there, or not any more"),
            (Which::All, _) => format!(
                "no line is a {kind}, and that is what {} gets something of",
                self.recipient.name
            ),
        }
    }
}

/// The text of a record's own id, where it can be read.
fn id_of(value: &[u8], path: &str) -> Option<String> {
    let raw = flat::find(std::str::from_utf8(value).ok()?, path)?;
    serde_json::from_str(raw).ok()
}
