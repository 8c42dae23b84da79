//! Reads a partition from its beginning to its end, for the worker's table.
//!
//! It joins no group, commits nothing, and moves nobody's position.

use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;

use super::fault;
use super::log::Logged;
use super::partition::Place;
use super::settings::KafkaSettings;
use super::start::edges;
use crate::transport::{Fault, Input, Payload, Rebuilt};

/// After how many records it is asked whether to go on.
const CHUNK: usize = 1000;
const POLL: Duration = Duration::from_millis(20);
/// How often the stable end is asked for while a transaction is open.
const STABLE: Duration = Duration::from_millis(100);

/// The second consumer of a worker.
pub(super) struct Reader {
    consumer: BaseConsumer<Logged>,
}

impl Reader {
    pub(super) fn open(settings: &KafkaSettings, group: &str) -> Result<Self, Fault> {
        BaseConsumer::from_config_and_context(&settings.reader(group), Logged::new("reader"))
            .map(|consumer| Self { consumer })
            .map_err(|error| Fault::Stop(format!("reader: {error}")))
    }

    /// Fetches what librdkafka wants logged.
    pub(super) fn serve(&self) {
        let _ = self.consumer.poll(Duration::ZERO);
    }

    /// Reads `topic` up to the high watermark that `observer`, which sees
    /// uncommitted records, has when this begins; `stable` sees stable ends.
    ///
    /// Reading begins only when the stable end has come up to that mark: until
    /// then committed records are hidden behind an open transaction. From there
    /// on the first end of the partition that is met lies at the mark or above,
    /// whatever markers and holes there are. `go_on` is asked all along.
    pub(super) fn read(
        &self,
        observer: &BaseConsumer<Logged>,
        stable: &BaseConsumer<Logged>,
        topic: &str,
        place: Place,
        go_on: &mut dyn FnMut() -> Result<bool, Fault>,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault> {
        let partition = place.1;
        let Some(mark) = wait_for(go_on, || edge(observer, topic, partition, Offset::End))? else {
            return Ok(Rebuilt::Interrupted);
        };
        let Some(start) = wait_for(go_on, || {
            let end = edge(stable, topic, partition, Offset::End)?;
            if end < mark {
                tracing::debug!(
                    topic,
                    partition,
                    mark,
                    stable = end,
                    "kafka: open transaction"
                );
                return None;
            }
            edge(stable, topic, partition, Offset::Beginning)
        })?
        else {
            return Ok(Rebuilt::Interrupted);
        };
        if start >= mark {
            return Ok(Rebuilt::Done);
        }
        self.assign(topic, partition, start)?;
        let rebuilt = self.read_on(topic, place, mark, go_on, take);
        self.consumer
            .unassign()
            .map_err(|error| Fault::Rebuild(format!("reader: {error}")))?;
        rebuilt
    }

    fn assign(&self, topic: &str, partition: i32, start: i64) -> Result<(), Fault> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(start))
            .and_then(|()| self.consumer.assign(&list))
            .map_err(|error| Fault::Rebuild(format!("reader: {error}")))
    }

    fn read_on(
        &self,
        topic: &str,
        place: Place,
        mark: i64,
        go_on: &mut dyn FnMut() -> Result<bool, Fault>,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault> {
        let mut count = 0;
        loop {
            // Not to wait spares two looks at the clock, which count here.
            let polled = match self.consumer.poll(Duration::ZERO) {
                None => self.consumer.poll(POLL),
                some => some,
            };
            match polled {
                Some(Ok(message)) => {
                    take(Input {
                        source: place.0,
                        partition: place.1,
                        offset: message.offset(),
                        timestamp_ms: message.timestamp().to_millis(),
                        key: message.key(),
                        payload: message.payload().map_or(Payload::Null, Payload::Bytes),
                    });
                    if message.offset() + 1 >= mark {
                        return Ok(Rebuilt::Done);
                    }
                    count += 1;
                    if count % CHUNK != 0 {
                        continue;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(ended))) if ended == place.1 => {
                    return Ok(Rebuilt::Done);
                }
                Some(Err(error)) => {
                    if let Some(fault) = fault::of_partition(topic, place.1, &error) {
                        return Err(fault);
                    }
                    tracing::warn!(topic, partition = place.1, error = %error, "kafka: rebuild");
                }
                None => {}
            }
            if !go_on()? {
                return Ok(Rebuilt::Interrupted);
            }
        }
    }
}

/// Asks until there is an answer, or `go_on` says no.
fn wait_for(
    go_on: &mut dyn FnMut() -> Result<bool, Fault>,
    mut ask: impl FnMut() -> Option<i64>,
) -> Result<Option<i64>, Fault> {
    loop {
        if !go_on()? {
            return Ok(None);
        }
        if let Some(answer) = ask() {
            return Ok(Some(answer));
        }
        let until = Instant::now() + STABLE;
        while Instant::now() < until {
            if !go_on()? {
                return Ok(None);
            }
            std::thread::sleep(POLL);
        }
    }
}

/// An edge of one partition; `None` without an answer.
fn edge(consumer: &BaseConsumer<Logged>, topic: &str, partition: i32, edge: Offset) -> Option<i64> {
    match edges(consumer, std::iter::once((topic, partition)), edge) {
        Ok(list) => match list.find_partition(topic, partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        },
        Err(error) => {
            tracing::warn!(topic, partition, error = %error, "kafka: no answer yet: ends");
            None
        }
    }
}
