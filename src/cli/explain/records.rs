//! Where records lie that are explained: lines, a directory, or Kafka. They are read
//! beside whatever runs, and nothing is written.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;

use super::id_of;
use crate::cli::kafka;
use crate::cli::message::Lines;
use crate::cli::project::input;
use crate::engine::lane::{Lane, PATRONS_TOPIC, Source};
use crate::policy::Loaded;
use crate::policy::catalogue::Role;
use crate::policy::reason::Reason;
use crate::transport::commands::Commands;
use crate::transport::directory::{Beside, read_state};
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::commands::{self, CommandsError};
use crate::transport::kafka::whole::{read_one, read_partitions, read_source, read_whole};
use crate::transport::{Appended, Fault, Input, Output, Payload, SourceId};

/// A fault of who only looks: no lane stops for it.
fn unread(fault: Fault) -> anyhow::Error {
    match fault {
        Fault::Stop(text) => anyhow::Error::msg(text),
        other => anyhow::Error::new(other),
    }
}

/// Where records lie.
pub(super) enum Records {
    Lines(Lines),
    Directory(Beside, std::path::PathBuf),
    Kafka(KafkaSettings),
}

/// A record, and where it lies.
#[derive(Clone, Debug)]
pub(super) struct Record {
    source: u16,
    /// The source's topic, as it is called outside.
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// It is the line of that number, and lies nowhere else.
    pub(super) is_line: bool,
    appended: Option<Appended>,
    key: Option<Vec<u8>>,
    /// What could be read of its value; `None` for a null.
    pub(super) value: Option<Vec<u8>>,
    refused: Option<Reason>,
    /// Its own id, once that was looked for.
    pub(super) own_id: Option<String>,
}

impl Record {
    fn of(input: &Input<'_>, source: u16, topic: String) -> Record {
        let (value, refused) = match input.payload {
            Payload::Null => (None, None),
            Payload::Bytes(bytes) => (Some(bytes.to_vec()), None),
            Payload::Refused(reason) => (None, Some(reason)),
            Payload::Unread(reason, bytes) => (Some(bytes.to_vec()), Some(reason)),
        };
        Record {
            source,
            topic,
            partition: input.partition,
            offset: input.offset,
            is_line: false,
            appended: input.appended,
            key: input.key.map(<[u8]>::to_vec),
            value,
            refused,
            own_id: None,
        }
    }

    pub(super) fn input(&self) -> Input<'_> {
        let value = self.value.as_deref();
        Input {
            source: SourceId(self.source),
            partition: self.partition,
            offset: self.offset,
            timestamp_ms: None,
            appended: self.appended,
            key: self.key.as_deref(),
            payload: match (value, self.refused) {
                (None, None) => Payload::Null,
                (Some(bytes), None) => Payload::Bytes(bytes),
                (None, Some(reason)) => Payload::Refused(reason),
                (Some(bytes), Some(reason)) => Payload::Unread(reason, bytes),
            },
        }
    }

    /// Whose record it is: its partition and key.
    pub(super) fn patron(&self) -> (i32, Vec<u8>) {
        (self.partition, self.key.clone().unwrap_or_default())
    }

    /// Its own id, which stands at `path`, where it can be read.
    pub(super) fn id(&self, path: &str) -> Option<String> {
        id_of(self.value.as_deref()?, path)
    }

    /// Whether `later` is a version of the same record.
    pub(super) fn is_before(&self, later: &Record) -> bool {
        let is_same = self.own_id.is_some() && self.own_id == later.own_id;
        is_same && self.patron() == later.patron()
    }

    /// Where it lies, for people.
    pub(super) fn place(&self) -> String {
        match self.is_line {
            true => format!("line {}", self.offset),
            false => format!("{}-{}@{}", self.topic, self.partition, self.offset),
        }
    }
}

impl Records {
    /// Opens a directory.
    ///
    /// # Errors
    ///
    /// It is none of zeef, or cannot be read.
    pub(super) fn directory(root: &Path, loaded: &Loaded) -> anyhow::Result<Records> {
        let beside = Beside::open(root, crate::daemon::run::line_bytes_max(&loaded.daemon));
        let beside = beside.map_err(unread);
        let beside = beside.with_context(|| format!("failed to open {}", root.display()))?;
        Ok(Records::Directory(beside, root.to_owned()))
    }

    /// Finds the settings of Kafka.
    ///
    /// # Errors
    ///
    /// A wrong config.
    pub(super) fn kafka(loaded: &Loaded, brokers: &str) -> anyhow::Result<Records> {
        let settings = kafka::settings(loaded, Some(brokers), None)?;
        Ok(Records::Kafka(settings))
    }

    /// Hands each record of a source of `lane` to `take`; on Kafka those of
    /// `partitions`, where that is given.
    ///
    /// # Errors
    ///
    /// They cannot be read, or the source is not there.
    pub(super) fn each(
        &self,
        lane: &Lane,
        source: &Source,
        partitions: Option<&BTreeSet<i32>>,
        take: &mut dyn FnMut(Record),
    ) -> anyhow::Result<()> {
        let topic = source.kind.topic.as_str();
        let is_gate = source.kind.role != Role::Record;
        let there = match self {
            Records::Lines(lines) => {
                let own = |name: &str| name == source.kind.name || name == topic;
                for message in lines.messages.iter().filter(|one| own(&one.source)) {
                    let input = input(message, usize::from(source.place));
                    take(Record {
                        is_line: true,
                        ..Record::of(&input, source.place, topic.to_owned())
                    });
                }
                true
            }
            Records::Directory(beside, _) => {
                let mut take = self.taking(source, take);
                // A file that is not there yet is an empty one.
                let read = beside.read_source((&lane.name, topic), is_gate, &mut take);
                read.map_err(unread)?;
                true
            }
            Records::Kafka(settings) => {
                let mut take = self.taking(source, take);
                match partitions {
                    None => read_source(settings, topic, &mut take)?,
                    Some(some) => read_partitions(settings, topic, some, &mut take)?,
                }
            }
        };
        match there {
            true => Ok(()),
            false => anyhow::bail!("topic `{}` does not exist", self.topic(topic)),
        }
    }

    /// Hands the record that lies there to `take`, or all among which it is.
    ///
    /// # Errors
    ///
    /// As [`each`](Self::each).
    pub(super) fn one(
        &self,
        lane: &Lane,
        source: &Source,
        place: (i32, i64),
        take: &mut dyn FnMut(Record),
    ) -> anyhow::Result<()> {
        match self {
            Records::Kafka(settings) => {
                let mut take = self.taking(source, take);
                read_one(settings, &source.kind.topic, place, &mut take)?;
                Ok(())
            }
            Records::Lines(_) | Records::Directory(..) => self.each(lane, source, None, take),
        }
    }

    /// Hands the rows of what is kept of erasures to `take`.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(super) fn kept_of_patrons(
        &self,
        partitions: &BTreeSet<i32>,
        take: &mut dyn FnMut(Output<'_>),
    ) -> anyhow::Result<()> {
        let mut take = |row: Output<'_>| {
            if partitions.contains(&row.partition.unwrap_or_default()) {
                take(row);
            }
        };
        match self {
            Records::Lines(_) => {}
            // Before anything ran there is none.
            Records::Directory(_, root) => {
                read_state(root, PATRONS_TOPIC, &mut take).map_err(unread)?;
            }
            Records::Kafka(settings) => {
                read_whole(settings, PATRONS_TOPIC, &mut take)?;
            }
        }
        Ok(())
    }

    /// Reads what operators accepted.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(super) fn commands(&self) -> anyhow::Result<Commands> {
        match self {
            Records::Lines(_) => Ok(Commands::default()),
            Records::Directory(beside, _) => beside.commands().map_err(unread),
            Records::Kafka(settings) => match commands::read(settings) {
                // Nobody accepted anything yet.
                Err(CommandsError::Absent(_)) => Ok(Commands::default()),
                read => Ok(read?),
            },
        }
    }

    fn taking<'a>(
        &'a self,
        source: &'a Source,
        take: &'a mut dyn FnMut(Record),
    ) -> impl FnMut(Input<'_>) + 'a {
        move |input| {
            let topic = self.topic(&source.kind.topic);
            take(Record::of(&input, source.place, topic));
        }
    }

    fn topic(&self, topic: &str) -> String {
        match self {
            Records::Kafka(settings) => settings.topic(topic),
            Records::Lines(_) | Records::Directory(..) => topic.to_owned(),
        }
    }
}
