//! Records in another partition than their key belongs in: handed out as refused, and
//! counted, so that a producer with another partitioner is noticed.
//!
//! Reads no topic and keeps no value.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::partitioner::KeyPlacement;
use super::source::{KafkaSource, SourcePartition};
use crate::message::{Coordinates, Fault, Input, MisplacedRecord, Payload, SourceId};
use crate::policy::reason::Reason;

/// How many records of a source may be misplaced within [`RECENT_WINDOW`].
const HOURLY_MAX: usize = 10;
const RECENT_WINDOW: Duration = Duration::from_secs(3600);
/// The share of misplaced records counts from this many records on.
const SHARE_MIN_RECORDS: u64 = 1_000;
/// At most one record in this many may be misplaced.
const SHARE_DIVISOR: u64 = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MisplacedMessage {
    pub source_partition: SourcePartition,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub key: Vec<u8>,
    pub home_partition: i32,
}

/// Returns the message as it is to be handed out: refused and noted in `found` if its key
/// belongs in another partition.
#[inline]
pub(super) fn refuse_misplaced<'a>(
    input: Input<'a>,
    placement: Option<KeyPlacement>,
    misplaced_messages: &mut Vec<MisplacedMessage>,
) -> Input<'a> {
    let home =
        placement.and_then(|placement| placement.home_if_misplaced(input.key, input.partition));
    match home {
        None => input,
        Some(home) => refuse_and_note(input, home, misplaced_messages),
    }
}

#[cold]
fn refuse_and_note<'a>(
    input: Input<'a>,
    home_partition: i32,
    misplaced_messages: &mut Vec<MisplacedMessage>,
) -> Input<'a> {
    misplaced_messages.push(MisplacedMessage {
        source_partition: (input.source, input.partition),
        offset: input.offset,
        timestamp_ms: input.timestamp_ms,
        key: input.key.unwrap_or_default().to_vec(),
        home_partition,
    });
    Input { payload: Payload::Refused(Reason::Misplaced), ..input }
}

/// Misplaced records by source.
#[derive(Debug, Default)]
pub(super) struct MisplacedMonitor {
    /// Records that were compared.
    compared_by_source: HashMap<SourceId, u64>,
    counts_by_source: HashMap<SourceId, MisplacedCounts>,
    /// Records already counted: an aborted batch comes again.
    already_counted: HashSet<(SourcePartition, i64)>,
}

#[derive(Debug, Default)]
struct MisplacedCounts {
    total: u64,
    /// When the last ones were found, [`HOURLY_MAX`] and one at most.
    recent_times: VecDeque<Instant>,
}

impl MisplacedMonitor {
    pub(super) fn add_compared(&mut self, source: SourceId, records: u64) {
        *self.compared_by_source.entry(source).or_default() += records;
    }

    /// Counts misplaced records that nobody repaired. Returns those of gate sources.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if another source has too many.
    pub(super) fn count_unrepaired(
        &mut self,
        misplaced_messages: Vec<MisplacedMessage>,
        sources: &[KafkaSource],
        now: Instant,
    ) -> Result<Vec<MisplacedRecord>, Fault> {
        let mut gates = Vec::new();
        for one in misplaced_messages {
            let Some(source) = sources.get(usize::from(one.source_partition.0.0)) else {
                continue;
            };
            if !self.already_counted.insert((one.source_partition, one.offset)) {
                continue;
            }
            tracing::warn!(
                topic = source.topic,
                partition = one.source_partition.1,
                offset = one.offset,
                home = one.home_partition,
                "kafka: a record lies in another partition than its key belongs in"
            );
            if source.is_gate() {
                gates.push(to_misplaced(one, source));
            } else {
                self.count_for_source(source, now)?;
            }
        }
        Ok(gates)
    }

    fn count_for_source(&mut self, source: &KafkaSource, now: Instant) -> Result<(), Fault> {
        let compared = self.compared_by_source.get(&source.id).copied().unwrap_or_default();
        let counted = self.counts_by_source.entry(source.id).or_default();
        counted.total += 1;
        counted.recent_times.push_back(now);
        while counted.recent_times.len() > HOURLY_MAX + 1 {
            counted.recent_times.pop_front();
        }
        let within = |first: &Instant| now.saturating_duration_since(*first) <= RECENT_WINDOW;
        let recent = counted.recent_times.iter().filter(|first| within(first)).count();
        let many =
            compared >= SHARE_MIN_RECORDS && counted.total.saturating_mul(SHARE_DIVISOR) > compared;
        if recent <= HOURLY_MAX && !many {
            return Ok(());
        }
        Err(Fault::stop(format!(
            "topic `{}`: {} of {compared} records lie in another partition than their keys belong \
             in, {recent} of them found within an hour; at most {HOURLY_MAX} an hour and one in \
             {SHARE_DIVISOR} may be: have its producer use the partitioner of `[kafka] partitioner`; \
             `zeef gates repair --topic NAME` writes the records once more in their places",
            source.topic, counted.total
        )))
    }
}

fn to_misplaced(found: MisplacedMessage, source: &KafkaSource) -> MisplacedRecord {
    MisplacedRecord {
        coordinates: Coordinates {
            source: found.source_partition.0,
            partition: found.source_partition.1,
            offset: found.offset,
        },
        topic: source.topic.clone(),
        key: found.key,
        home_partition: found.home_partition,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::kafka::partitioner::Partitioner;

    fn sources() -> Vec<KafkaSource> {
        [("objection", true), ("loan", false)]
            .into_iter()
            .zip(0..)
            .map(|((topic, gate), id)| KafkaSource {
                unprefixed_name: topic.to_owned(),
                retention: crate::message::continuity::SourceRetention::Limited,
                id: SourceId(id),
                topic: topic.to_owned(),
                gate_rank: gate.then_some(0),
                gate: None,
                is_joined: true,
                is_raw: false,
                has_schema_headers: false,
                reads_trace_parents: false,
                has_keys: true,
                partition_count: 4,
                key_placement: KeyPlacement::new(Partitioner::Murmur2, 4),
            })
            .collect()
    }

    fn misplaced_message(source: u16, offset: i64) -> MisplacedMessage {
        MisplacedMessage {
            source_partition: (SourceId(source), 1),
            offset,
            timestamp_ms: None,
            key: b"p1".to_vec(),
            home_partition: 2,
        }
    }

    #[test]
    fn misplaced_record_is_refused_and_one_in_its_home_partition_is_not() {
        let placement = KeyPlacement::new(Partitioner::Murmur2, 4).unwrap();
        let key = b"patron-1";
        let home = placement.home_partition(key);
        for partition in 0..4 {
            for (key, placement) in
                [(Some(&key[..]), Some(placement)), (None, Some(placement)), (Some(&key[..]), None)]
            {
                let input = Input {
                    source: SourceId(0),
                    partition,
                    offset: 7,
                    timestamp_ms: None,
                    append_time: None,
                    trace_parent: None,
                    key,
                    payload: Payload::Null,
                };
                let mut found = Vec::new();
                let handed = refuse_misplaced(input, placement, &mut found);
                let elsewhere = key.is_some() && placement.is_some() && partition != home;
                let refused = matches!(handed.payload, Payload::Refused(Reason::Misplaced));
                assert_eq!(refused, elsewhere, "{partition}");
                assert_eq!(handed.key, key);
                assert_eq!(found.len(), usize::from(elsewhere));
                assert!(found.iter().all(|one| one.home_partition == home && one.offset == 7));
            }
        }
    }

    #[test]
    fn misplaced_gate_record_is_reported_once() {
        let mut watch = MisplacedMonitor::default();
        let now = Instant::now();
        for again in [false, true] {
            let gates =
                watch.count_unrepaired(vec![misplaced_message(0, 5)], &sources(), now).unwrap();
            assert_eq!(gates.len(), usize::from(!again));
        }
    }

    #[test]
    fn misplaced_records_over_ten_an_hour_stop_the_lane() {
        let mut watch = MisplacedMonitor::default();
        let start = Instant::now();
        for offset in 0..10 {
            // An aborted batch comes again.
            for _ in 0..3 {
                watch
                    .count_unrepaired(vec![misplaced_message(1, offset)], &sources(), start)
                    .unwrap();
            }
        }
        let later = start + RECENT_WINDOW + Duration::from_secs(1);
        watch.count_unrepaired(vec![misplaced_message(1, 10)], &sources(), later).unwrap();
        let within = start + RECENT_WINDOW;
        let fault = watch.count_unrepaired(vec![misplaced_message(1, 11)], &sources(), within);
        let Err(Fault::Stop(text)) = fault else {
            panic!("{fault:?}");
        };
        assert!(text.to_string().contains("topic `loan`: 12 of 0 records"), "{text}");
    }

    #[test]
    fn misplaced_records_over_one_in_a_hundred_stop_the_lane() {
        let mut watch = MisplacedMonitor::default();
        let start = Instant::now();
        watch.add_compared(SourceId(1), 1_000);
        // Rare enough for the hourly bound.
        let at = |number: u32| start + RECENT_WINDOW * 2 * number;
        for number in 0..10 {
            let one = misplaced_message(1, number.into());
            watch.count_unrepaired(vec![one], &sources(), at(number)).unwrap();
        }
        let fault = watch.count_unrepaired(vec![misplaced_message(1, 10)], &sources(), at(10));
        assert!(matches!(fault, Err(Fault::Stop(_))), "{fault:?}");
    }
}
