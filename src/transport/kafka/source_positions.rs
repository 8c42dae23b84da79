//! Reads whole sources for a command that sets a lane to their ends, as a worker would have
//! read them.

use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::BaseConsumer;
use rdkafka::topic_partition_list::Offset;

use super::log::LoggingContext;
use super::read_topic::read_inputs;
use super::settings::KafkaSettings;
use super::start_offsets::fetch_bound_offsets;
use super::topics::{TopicError, await_leader, topic_error};
use crate::message::Input;
use crate::message::continuity::{Fingerprinter, SourceAnchor, SourceProgress, SourceRetention};

/// How long open transactions may hide records.
const OPEN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// A source to read, without prefix.
#[derive(Clone, Copy, Debug)]
pub struct SourceToRead<'a> {
    pub name: &'a str,
    pub partition_count: i32,
    pub retention: SourceRetention,
}

/// Hands out every record of a source, in order within a partition. Returns how far each
/// partition was read.
///
/// # Errors
///
/// Kafka does not answer, or an open transaction hides records for a minute.
pub fn read_to_end(
    settings: &KafkaSettings,
    source: SourceToRead<'_>,
    fingerprinter: &Fingerprinter,
    take: &mut dyn FnMut(&Input<'_>),
) -> Result<Vec<SourceProgress>, TopicError> {
    let mut positions = fetch_first_positions(settings, source)?;
    read_inputs(settings, source.name, &mut |input| {
        let position = usize::try_from(input.partition).ok();
        if let Some(progress) = position.and_then(|at| positions.get_mut(at)) {
            let (key, value) = (input.key, input.payload.bytes());
            progress.next = input.offset + 1;
            progress.add_anchor(SourceAnchor {
                offset: input.offset,
                hash: fingerprinter.hash_record(key, value),
            });
            progress.log = progress.log.map(|log| fingerprinter.hash_chained(log, key, value));
        }
        take(&input);
    })?;
    Ok(positions)
}

/// Waits until no transaction hides a record, and returns the first offsets.
fn fetch_first_positions(
    settings: &KafkaSettings,
    source: SourceToRead<'_>,
) -> Result<Vec<SourceProgress>, TopicError> {
    let topic = settings.topic_name(source.name);
    let client = |is_read_committed| {
        let config = settings.metadata_client_config(is_read_committed);
        let client: BaseConsumer<LoggingContext> =
            BaseConsumer::from_config_and_context(&config, LoggingContext::new("positions"))
                .map_err(topic_error("build a client"))?;
        Ok(client)
    };
    let (uncommitted, committed) = (client(false)?, client(true)?);
    let bounds = |client: &BaseConsumer<LoggingContext>, bound: Offset| {
        let partitions = || (0..source.partition_count).map(|partition| (&*topic, partition));
        let found =
            await_leader(client, &topic, || fetch_bound_offsets(client, partitions(), bound))
                .map_err(topic_error("read the ends of a source"))?;
        let offset = |partition| match found.find_partition(&topic, partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        let unknown = || TopicError::Settings(format!("the broker tells no offsets of `{topic}`"));
        let offsets = (0..source.partition_count).map(|one| offset(one).ok_or_else(unknown));
        offsets.collect::<Result<Vec<i64>, TopicError>>()
    };
    let deadline = Instant::now() + OPEN_TRANSACTION_TIMEOUT;
    let ends: Vec<i64> = bounds(&uncommitted, Offset::End)?;
    loop {
        let stable: Vec<i64> = bounds(&committed, Offset::End)?;
        let hidden = stable.iter().zip(&ends).position(|(stable, end)| stable < end);
        let Some(partition) = hidden else {
            break;
        };
        if Instant::now() >= deadline {
            return Err(TopicError::Settings(format!(
                "topic `{topic}` partition {partition}: an open transaction hides records from \
                 offset {} on: end its producer, or wait until Kafka aborts it",
                stable[partition]
            )));
        }
        let _ = committed.poll(RETRY_PAUSE);
    }
    let starts: Vec<i64> = bounds(&uncommitted, Offset::Beginning)?;
    let progress = |start| SourceProgress {
        next: start,
        start,
        anchors: Vec::new(),
        log: (source.retention == SourceRetention::Forever).then_some(0),
        gate: None,
        partition_count: source.partition_count,
    };
    Ok(starts.into_iter().map(progress).collect())
}
