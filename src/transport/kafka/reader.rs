//! Reads a partition from its beginning to its end, for the worker's table and
//! state; and single records again.
//!
//! It joins no group, commits nothing, and moves nobody's position.

use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;

use super::fault;
use super::log::Logged;
use super::partition::{Place, input};
use super::settings::KafkaSettings;
use super::start::edges;
use crate::transport::{Coordinates, Fault, Input, Rebuilt};

/// After how many records it is asked whether to go on.
const CHUNK: usize = 1000;
const POLL: Duration = Duration::from_millis(20);
/// How often the stable end is asked for while a transaction is open.
const STABLE: Duration = Duration::from_millis(100);

/// How long records that are read again are waited for, and how often it is told
/// that an open transaction is.
const PATIENCE: Duration = Duration::from_secs(30);
const CALL: Duration = Duration::from_secs(5);
/// Over so many offsets it is read on, where a seek would take longer.
const NEAR: i64 = 5_000;

/// The records of one partition that are to be read again.
pub(super) struct Wanted<'a> {
    pub topic: String,
    pub place: Place,
    /// Rising.
    pub at: &'a [Coordinates],
}

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
        let Some(mark) = wait_for(go_on, || edge(observer, topic, place.1, Offset::End))? else {
            return Ok(Rebuilt::Interrupted);
        };
        self.read_to(stable, topic, place, mark, go_on, take)
    }

    /// Reads `topic` up to `position`, where records were handed out once. `go_on`
    /// is asked all along.
    ///
    /// # Errors
    ///
    /// [`Fault::Unanswered`] where Kafka does not answer in time, or the partition ends
    /// below the position.
    pub(super) fn replay(
        &self,
        stable: &BaseConsumer<Logged>,
        topic: &str,
        place: Place,
        position: i64,
        go_on: &mut dyn FnMut() -> Result<bool, Fault>,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault> {
        let end = wait_patiently(topic, go_on, || {
            edge(stable, topic, place.1, Offset::End).filter(|end| *end >= position)
        })?;
        if end.is_none() {
            return Ok(Rebuilt::Interrupted);
        }
        // Where markers lie at the position a record behind it comes, too.
        let mut below = |input: Input<'_>| {
            if input.offset < position {
                take(input);
            }
        };
        self.read_to(stable, topic, place, position, go_on, &mut below)
    }

    /// Reads the last `tail` offsets of a partition, as [`read`](Self::read) does
    /// the whole.
    pub(super) fn read_tail(
        &self,
        (observer, stable): (&BaseConsumer<Logged>, &BaseConsumer<Logged>),
        topic: &str,
        (place, tail): (Place, i64),
        go_on: &mut dyn FnMut() -> Result<bool, Fault>,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault> {
        let Some(end) = wait_for(go_on, || edge(observer, topic, place.1, Offset::End))? else {
            return Ok(Rebuilt::Interrupted);
        };
        let begin = end.saturating_sub(tail);
        self.read_between(stable, topic, (place, begin, end), go_on, take)
    }

    fn read_to(
        &self,
        stable: &BaseConsumer<Logged>,
        topic: &str,
        place: Place,
        mark: i64,
        go_on: &mut dyn FnMut() -> Result<bool, Fault>,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault> {
        self.read_between(stable, topic, (place, 0, mark), go_on, take)
    }

    /// Reads from `begin`, or from the partition's beginning where that comes
    /// later, up to `mark`.
    fn read_between(
        &self,
        stable: &BaseConsumer<Logged>,
        topic: &str,
        (place, begin, mark): (Place, i64, i64),
        go_on: &mut dyn FnMut() -> Result<bool, Fault>,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault> {
        let partition = place.1;
        let mut told = Instant::now();
        let Some(start) = wait_for(go_on, || {
            let end = edge(stable, topic, partition, Offset::End)?;
            if end < mark {
                if told.elapsed() >= PATIENCE {
                    told = Instant::now();
                    tracing::warn!(
                        topic,
                        partition,
                        offset = end,
                        mark,
                        "kafka: an open transaction hides records that are needed first"
                    );
                }
                return None;
            }
            edge(stable, topic, partition, Offset::Beginning)
        })?
        else {
            return Ok(Rebuilt::Interrupted);
        };
        let start = start.max(begin);
        if start >= mark {
            return Ok(Rebuilt::Done);
        }
        self.assign(topic, partition, start)?;
        let rebuilt = self.read_on(topic, place, mark, go_on, take);
        self.unassign()?;
        rebuilt
    }

    fn assign(&self, topic: &str, partition: i32, start: i64) -> Result<(), Fault> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(start))
            .and_then(|()| self.consumer.assign(&list))
            .map_err(|error| Fault::Rebuild(format!("reader: {error}")))
    }

    /// Reads records again; `take` gets each of them in order, or `None` where it
    /// is gone. `go_on` is asked all along.
    ///
    /// # Errors
    ///
    /// [`Fault::Unanswered`] where Kafka does not answer in time, or a partition ends
    /// below a record that was there.
    pub(super) fn read_again(
        &self,
        stable: &BaseConsumer<Logged>,
        wanted: &[Wanted<'_>],
        go_on: &mut dyn FnMut() -> Result<bool, Fault>,
        take: &mut dyn FnMut(Option<Input<'_>>),
    ) -> Result<Rebuilt, Fault> {
        let ends = wait_patiently("ends of sources", go_on, || both_edges(stable, wanted))?;
        let Some(found) = ends else {
            return Ok(Rebuilt::Interrupted);
        };
        for (of_partition, edges) in wanted.iter().zip(found) {
            if self.read_partition(of_partition, edges, go_on, take)? == Rebuilt::Interrupted {
                return Ok(Rebuilt::Interrupted);
            }
        }
        Ok(Rebuilt::Done)
    }

    fn read_partition(
        &self,
        wanted: &Wanted<'_>,
        (start, end): (i64, i64),
        go_on: &mut dyn FnMut() -> Result<bool, Fault>,
        take: &mut dyn FnMut(Option<Input<'_>>),
    ) -> Result<Rebuilt, Fault> {
        let gone = wanted.at.partition_point(|at| at.offset < start);
        (0..gone).for_each(|_| take(None));
        let mut left = Left {
            at: &wanted.at[gone..],
            take,
        };
        let Some(first) = left.next() else {
            return Ok(Rebuilt::Done);
        };
        self.assign(&wanted.topic, wanted.place.1, first)?;
        let read = self.pick(wanted, end, &mut left, go_on);
        self.unassign()?;
        read
    }

    /// Reads on until nothing is left, from the offset of the first one. `end` is
    /// known to be the partition's end, or below it.
    fn pick(
        &self,
        wanted: &Wanted<'_>,
        end: i64,
        left: &mut Left<'_>,
        go_on: &mut dyn FnMut() -> Result<bool, Fault>,
    ) -> Result<Rebuilt, Fault> {
        let Wanted { topic, place, .. } = wanted;
        let mut heard = Instant::now();
        let mut count = 0;
        while let Some(next) = left.next() {
            let polled = match self.consumer.poll(Duration::ZERO) {
                None => self.consumer.poll(POLL),
                some => some,
            };
            match polled {
                Some(Ok(message)) => {
                    count += 1;
                    if message.offset() >= next && message.topic() == topic {
                        left.gone_below(message.offset());
                        left.found(input(*place, &message));
                        self.approach(topic, place.1, message.offset(), left.next())?;
                    }
                    if count % CHUNK != 0 {
                        continue;
                    }
                    heard = Instant::now();
                }
                Some(Err(KafkaError::PartitionEOF(ended))) => {
                    let met = self.consumer.context().take_end();
                    if let Some(met) = met.filter(|met| *met >= end && ended == place.1) {
                        left.gone_below(met);
                        heard = Instant::now();
                    }
                }
                Some(Err(error)) => {
                    if is_out_of_range(&error) {
                        let text = format!("topic `{topic}` partition {}: cut meanwhile", place.1);
                        return Err(Fault::Abort(text));
                    }
                    if let Some(fault) = fault::of_partition(topic, place.1, &error) {
                        return Err(fault);
                    }
                    tracing::warn!(topic, partition = place.1, error = %error, "kafka: reading again");
                }
                None if heard.elapsed() >= PATIENCE => return Err(late(topic)),
                None => {}
            }
            if !go_on()? {
                return Ok(Rebuilt::Interrupted);
            }
        }
        Ok(Rebuilt::Done)
    }

    /// Goes to the `next` wanted record where it is far from the present one.
    fn approach(
        &self,
        topic: &str,
        partition: i32,
        present: i64,
        next: Option<i64>,
    ) -> Result<(), Fault> {
        let Some(next) = next.filter(|next| next - present > NEAR) else {
            return Ok(());
        };
        let sought = self
            .consumer
            .seek(topic, partition, Offset::Offset(next), CALL);
        // A partition that is not fetching yet cannot be sought in.
        sought.or_else(|_| self.assign(topic, partition, next))
    }

    fn unassign(&self) -> Result<(), Fault> {
        self.consumer
            .unassign()
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
                    take(input(place, &message));
                    if message.offset() + 1 >= mark {
                        return Ok(Rebuilt::Done);
                    }
                    count += 1;
                    if count % CHUNK != 0 {
                        continue;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(ended))) => {
                    let met = self.consumer.context().take_end();
                    if ended == place.1 && met.is_none_or(|met| met >= mark) {
                        return Ok(Rebuilt::Done);
                    }
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

/// The records of one partition that were not met yet.
struct Left<'a> {
    at: &'a [Coordinates],
    take: &'a mut dyn FnMut(Option<Input<'_>>),
}

impl Left<'_> {
    fn next(&self) -> Option<i64> {
        self.at.first().map(|at| at.offset)
    }

    /// Nothing below `offset` is to come any more.
    fn gone_below(&mut self, offset: i64) {
        while self.next().is_some_and(|next| next < offset) {
            self.at = &self.at[1..];
            (self.take)(None);
        }
    }

    /// Takes a record, where it is the next one.
    fn found(&mut self, input: Input<'_>) {
        if self.next() == Some(input.offset) {
            self.at = &self.at[1..];
            (self.take)(Some(input));
        }
    }
}

/// The first offset of each partition, and its end; `None` without an answer, or where a
/// partition ends below what is wanted of it: a leader that has just changed may
/// not know its end yet, and what it does not know is not gone.
fn both_edges(stable: &BaseConsumer<Logged>, wanted: &[Wanted<'_>]) -> Option<Vec<(i64, i64)>> {
    let ends = all_edges(stable, wanted, Offset::End)?;
    let last = |wanted: &Wanted<'_>| wanted.at.last().map_or(-1, |at| at.offset);
    let short = wanted
        .iter()
        .zip(&ends)
        .find(|(of_partition, end)| last(of_partition) >= **end);
    if let Some((of_partition, end)) = short {
        let (topic, partition) = (&of_partition.topic, of_partition.place.1);
        tracing::warn!(
            topic,
            partition,
            end,
            "kafka: a partition ends below a record of it"
        );
        return None;
    }
    let starts = all_edges(stable, wanted, Offset::Beginning)?;
    Some(starts.into_iter().zip(ends).collect())
}

fn all_edges(
    consumer: &BaseConsumer<Logged>,
    wanted: &[Wanted<'_>],
    edge: Offset,
) -> Option<Vec<i64>> {
    let partitions = wanted
        .iter()
        .map(|of_partition| (&*of_partition.topic, of_partition.place.1));
    let found = match edges(consumer, partitions.clone(), edge) {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(error = %error, "kafka: no answer yet: ends");
            return None;
        }
    };
    let offset = |(topic, partition)| match found.find_partition(topic, partition)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    partitions.map(offset).collect()
}

fn late(what: &str) -> Fault {
    Fault::Unanswered(format!("kafka, while reading again: {what}"))
}

fn is_out_of_range(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
    )
}

/// Asks until there is an answer, or `go_on` says no; not for ever.
fn wait_patiently<T>(
    what: &str,
    go_on: &mut dyn FnMut() -> Result<bool, Fault>,
    ask: impl FnMut() -> Option<T>,
) -> Result<Option<T>, Fault> {
    let deadline = Instant::now() + PATIENCE;
    let mut patient = || match Instant::now() < deadline {
        true => go_on(),
        false => Err(late(what)),
    };
    wait_for(&mut patient, ask)
}

/// Asks until there is an answer, or `go_on` says no.
fn wait_for<T>(
    go_on: &mut dyn FnMut() -> Result<bool, Fault>,
    mut ask: impl FnMut() -> Option<T>,
) -> Result<Option<T>, Fault> {
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
