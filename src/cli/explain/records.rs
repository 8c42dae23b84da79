//! The sources of records to explain: lines, a directory, or Kafka. Nothing is written, and a
//! running daemon is not disturbed.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;

use super::read_id;
use crate::cli::command_target::DataLocation;
use crate::cli::directory;
use crate::cli::kafka::KafkaConnection;
use crate::cli::message_lines::MessageLines;
use crate::cli::project::message_input;
use crate::config::LoadedConfig;
use crate::engine::lane::{Lane, LaneSource, PATRONS_TOPIC};
use crate::message::commands::CommandLog;
use crate::message::{AppendTime, Fault, Input, Output, Payload, SourceId};
use crate::policy::catalogue::Role;
use crate::policy::reason::Reason;
use crate::transport::directory::{DirectoryView, read_state};
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::commands::{self, CommandsError};
use crate::transport::kafka::read_topic::{
    read_input_at, read_inputs, read_partition_inputs, read_rows,
};

/// Reports a fault of reading, without saying that a lane stops.
fn read_failure(fault: Fault) -> anyhow::Error {
    match fault {
        Fault::Stop(cause) => anyhow::Error::msg(cause),
        other => anyhow::Error::new(other),
    }
}

pub(super) enum RecordSource {
    Lines(MessageLines),
    Directory(DirectoryView, std::path::PathBuf),
    Kafka(KafkaSettings),
}

/// A record with its position.
#[derive(Clone, Debug)]
pub(super) struct ExplainedRecord {
    source: u16,
    /// The source's topic with its prefix.
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// `offset` is the number of a line.
    pub(super) is_line: bool,
    appended: Option<AppendTime>,
    key: Option<Vec<u8>>,
    /// `None` for a null, or if the value could not be read.
    pub(super) value: Option<Vec<u8>>,
    refusal_reason: Option<Reason>,
    /// Its own id, once it was read.
    pub(super) own_id: Option<String>,
}

impl ExplainedRecord {
    fn from_input(input: &Input<'_>, source: u16, topic: String) -> ExplainedRecord {
        let (value, refused) = match input.payload {
            Payload::Null => (None, None),
            Payload::Bytes(bytes) => (Some(bytes.to_vec()), None),
            Payload::Refused(reason) => (None, Some(reason)),
            Payload::RefusedBytes(reason, bytes) => (Some(bytes.to_vec()), Some(reason)),
        };
        ExplainedRecord {
            source,
            topic,
            partition: input.partition,
            offset: input.offset,
            is_line: false,
            appended: input.append_time,
            key: input.key.map(<[u8]>::to_vec),
            value,
            refusal_reason: refused,
            own_id: None,
        }
    }

    pub(super) fn to_input(&self) -> Input<'_> {
        let value = self.value.as_deref();
        Input {
            source: SourceId(self.source),
            partition: self.partition,
            offset: self.offset,
            timestamp_ms: None,
            append_time: self.appended,
            trace_parent: None,
            key: self.key.as_deref(),
            payload: match (value, self.refusal_reason) {
                (None, None) => Payload::Null,
                (Some(bytes), None) => Payload::Bytes(bytes),
                (None, Some(reason)) => Payload::Refused(reason),
                (Some(bytes), Some(reason)) => Payload::RefusedBytes(reason, bytes),
            },
        }
    }

    /// The partition and key, which identify its patron.
    pub(super) fn patron_key(&self) -> (i32, Vec<u8>) {
        (self.partition, self.key.clone().unwrap_or_default())
    }

    /// Reads its own id at `path`.
    pub(super) fn read_own_id(&self, path: &str) -> Option<String> {
        read_id(self.value.as_deref()?, path)
    }

    /// Whether `later` is a version of the same record.
    pub(super) fn is_older_version_of(&self, later: &ExplainedRecord) -> bool {
        let is_same = self.own_id.is_some() && self.own_id == later.own_id;
        is_same && self.patron_key() == later.patron_key()
    }

    /// Its position, for people.
    pub(super) fn describe_place(&self) -> String {
        match self.is_line {
            true => format!("line {}", self.offset),
            false => format!("{}-{}@{}", self.topic, self.partition, self.offset),
        }
    }
}

impl RecordSource {
    /// Opens a directory.
    ///
    /// # Errors
    ///
    /// It is not there, is no directory of zeef, or cannot be read.
    pub(super) fn open_directory(
        root: &Path,
        loaded: &LoadedConfig,
    ) -> anyhow::Result<RecordSource> {
        directory::require_directory(root)?;
        let beside = DirectoryView::open(root, crate::daemon::run::line_bytes_max(&loaded.daemon));
        let beside = beside.map_err(read_failure);
        let beside = beside.with_context(|| format!("failed to open {}", root.display()))?;
        Ok(RecordSource::Directory(beside, root.to_owned()))
    }

    /// Finds the settings of Kafka.
    ///
    /// # Errors
    ///
    /// A wrong config, or nothing listens at the brokers' addresses.
    pub(super) fn open_kafka(
        loaded: &LoadedConfig,
        config: &Path,
        brokers: &str,
    ) -> anyhow::Result<RecordSource> {
        let connection = KafkaConnection::new(loaded, config, Some(brokers));
        connection.with_settings(|settings| Ok(RecordSource::Kafka(settings)))
    }

    /// Where the audit of what is read lies; `None` for lines that somebody handed in.
    pub(super) fn location(&self) -> Option<DataLocation<'_>> {
        match self {
            RecordSource::Lines(_) => None,
            RecordSource::Directory(_, root) => Some(DataLocation::Directory(root)),
            RecordSource::Kafka(settings) => Some(DataLocation::Kafka(settings.clone())),
        }
    }

    /// Visits each record of a source of `lane`; on Kafka only those of `partitions`, if given.
    ///
    /// # Errors
    ///
    /// They cannot be read, or the source is not there.
    pub(super) fn for_each_record(
        &self,
        lane: &Lane,
        source: &LaneSource,
        partitions: Option<&BTreeSet<i32>>,
        visit: &mut dyn FnMut(ExplainedRecord),
    ) -> anyhow::Result<()> {
        let topic = source.kind.topic.as_str();
        let is_gate = source.kind.role != Role::Record;
        let there = match self {
            RecordSource::Lines(lines) => {
                let own = |name: &str| name == source.kind.name || name == topic;
                for message in lines.messages.iter().filter(|one| own(&one.source)) {
                    let input = message_input(message, usize::from(source.index));
                    visit(ExplainedRecord {
                        is_line: true,
                        ..ExplainedRecord::from_input(&input, source.index, topic.to_owned())
                    });
                }
                true
            }
            RecordSource::Directory(beside, _) => {
                let mut visit = self.record_visitor(source, visit);
                // A missing file counts as empty.
                let read = beside.read_source((&lane.name, topic), is_gate, &mut visit);
                read.map_err(read_failure)?;
                true
            }
            RecordSource::Kafka(settings) => {
                let mut visit = self.record_visitor(source, visit);
                match partitions {
                    None => read_inputs(settings, topic, &mut visit)?,
                    Some(some) => read_partition_inputs(settings, topic, some, &mut visit)?,
                }
            }
        };
        match there {
            true => Ok(()),
            false => anyhow::bail!("topic `{}` does not exist", self.topic_name(topic)),
        }
    }

    /// Visits the record at `place`, and perhaps others of its source.
    ///
    /// # Errors
    ///
    /// As [`for_each_record`](Self::for_each_record).
    pub(super) fn visit_record_at(
        &self,
        lane: &Lane,
        source: &LaneSource,
        place: (i32, i64),
        visit: &mut dyn FnMut(ExplainedRecord),
    ) -> anyhow::Result<()> {
        match self {
            RecordSource::Kafka(settings) => {
                let mut visit = self.record_visitor(source, visit);
                read_input_at(settings, &source.kind.topic, place, &mut visit)?;
                Ok(())
            }
            RecordSource::Lines(_) | RecordSource::Directory(..) => {
                self.for_each_record(lane, source, None, visit)
            }
        }
    }

    /// Visits the rows of erasures.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(super) fn for_each_erasure_row(
        &self,
        partitions: &BTreeSet<i32>,
        visit: &mut dyn FnMut(Output<'_>),
    ) -> anyhow::Result<()> {
        let mut visit = |row: Output<'_>| {
            if partitions.contains(&row.partition.unwrap_or_default()) {
                visit(row);
            }
        };
        match self {
            RecordSource::Lines(_) => {}
            // A missing file counts as empty.
            RecordSource::Directory(_, root) => {
                read_state(root, PATRONS_TOPIC, &mut visit).map_err(read_failure)?;
            }
            RecordSource::Kafka(settings) => {
                read_rows(settings, PATRONS_TOPIC, &mut visit)?;
            }
        }
        Ok(())
    }

    /// Reads what operators accepted.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(super) fn read_commands(&self) -> anyhow::Result<CommandLog> {
        match self {
            RecordSource::Lines(_) => Ok(CommandLog::default()),
            RecordSource::Directory(beside, _) => beside.read_commands().map_err(read_failure),
            RecordSource::Kafka(settings) => match commands::read_commands(settings) {
                // Nothing was accepted yet.
                Err(CommandsError::Absent(_)) => Ok(CommandLog::default()),
                read => Ok(read?),
            },
        }
    }

    fn record_visitor<'a>(
        &'a self,
        source: &'a LaneSource,
        visit: &'a mut dyn FnMut(ExplainedRecord),
    ) -> impl FnMut(Input<'_>) + 'a {
        move |input| {
            let topic = self.topic_name(&source.kind.topic);
            visit(ExplainedRecord::from_input(&input, source.index, topic));
        }
    }

    fn topic_name(&self, topic: &str) -> String {
        match self {
            RecordSource::Kafka(settings) => settings.topic_name(topic),
            RecordSource::Lines(_) | RecordSource::Directory(..) => topic.to_owned(),
        }
    }
}
