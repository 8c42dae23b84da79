//! Records in another partition than their key belongs in: they are handed out
//! as refused, and counted, so that a producer that spreads its keys otherwise
//! is noticed.
//!
//! It reads no topic, and keeps no value.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::consumer::Source;
use super::partition::Place;
use super::partitioner::Placement;
use crate::policy::reason::Reason;
use crate::transport::{Coordinates, Fault, Input, Misplaced, Payload, SourceId};

/// How many records of a source may be misplaced within [`WINDOW`].
const HOURLY_MAX: usize = 10;
const WINDOW: Duration = Duration::from_secs(3600);
/// From how many records on the share of misplaced ones counts.
const SHARE_FROM: u64 = 1_000;
/// One misplaced record in so many is the most.
const SHARE: u64 = 100;

/// One misplaced record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub place: Place,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub key: Vec<u8>,
    pub home: i32,
}

/// Returns the message as it is to be handed out: refused, and noted in `found`,
/// where its key belongs in another partition.
#[inline]
pub(super) fn compare<'a>(
    input: Input<'a>,
    placement: Option<Placement>,
    found: &mut Vec<Found>,
) -> Input<'a> {
    let home = placement.and_then(|placement| placement.elsewhere(input.key, input.partition));
    match home {
        None => input,
        Some(home) => refused(input, home, found),
    }
}

#[cold]
fn refused<'a>(input: Input<'a>, home: i32, found: &mut Vec<Found>) -> Input<'a> {
    found.push(Found {
        place: (input.source, input.partition),
        offset: input.offset,
        timestamp_ms: input.timestamp_ms,
        key: input.key.unwrap_or_default().to_vec(),
        home,
    });
    Input {
        payload: Payload::Refused(Reason::Misplaced),
        ..input
    }
}

/// Which misplaced records a worker met, by source.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Records that were handed out and compared.
    compared: HashMap<SourceId, u64>,
    counted: HashMap<SourceId, Counted>,
    /// What was counted or told of before: an aborted batch comes again.
    known: HashSet<(Place, i64)>,
}

#[derive(Debug, Default)]
struct Counted {
    all: u64,
    /// When the last ones were met, [`HOURLY_MAX`] and one at most.
    recent: VecDeque<Instant>,
}

impl Watch {
    pub(super) fn compared(&mut self, source: SourceId, records: u64) {
        *self.compared.entry(source).or_default() += records;
    }

    /// Counts misplaced records that nobody repaired. Returns those of gate
    /// sources.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where another source has too many.
    pub(super) fn count(
        &mut self,
        found: Vec<Found>,
        sources: &[Source],
        now: Instant,
    ) -> Result<Vec<Misplaced>, Fault> {
        let mut gates = Vec::new();
        for one in found {
            let Some(source) = sources.get(usize::from(one.place.0.0)) else {
                continue;
            };
            if !self.known.insert((one.place, one.offset)) {
                continue;
            }
            tracing::warn!(
                topic = source.topic,
                partition = one.place.1,
                offset = one.offset,
                home = one.home,
                "kafka: a record lies in another partition than its key belongs in"
            );
            if source.gate {
                gates.push(misplaced(one, source));
            } else {
                self.count_one(source, now)?;
            }
        }
        Ok(gates)
    }

    fn count_one(&mut self, source: &Source, now: Instant) -> Result<(), Fault> {
        let compared = self.compared.get(&source.id).copied().unwrap_or_default();
        let counted = self.counted.entry(source.id).or_default();
        counted.all += 1;
        counted.recent.push_back(now);
        while counted.recent.len() > HOURLY_MAX + 1 {
            counted.recent.pop_front();
        }
        let within = |first: &Instant| now.saturating_duration_since(*first) <= WINDOW;
        let recent = counted.recent.iter().filter(|first| within(first)).count();
        let many = compared >= SHARE_FROM && counted.all.saturating_mul(SHARE) > compared;
        if recent <= HOURLY_MAX && !many {
            return Ok(());
        }
        Err(Fault::Stop(format!(
            "topic `{}`: {} of {compared} records lie in another partition than their keys belong \
             in, {recent} of them met within an hour; at most {HOURLY_MAX} an hour and one in \
             {SHARE} may be: have its producer use the partitioner of `[kafka] partitioner`; \
             `zeef gates repair --topic NAME` writes the records once more in their places",
            source.topic, counted.all
        )))
    }
}

fn misplaced(found: Found, source: &Source) -> Misplaced {
    Misplaced {
        at: Coordinates {
            source: found.place.0,
            partition: found.place.1,
            offset: found.offset,
        },
        topic: source.topic.clone(),
        key: found.key,
        home: found.home,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::kafka::partitioner::Partitioner;

    fn sources() -> Vec<Source> {
        [("objection", true), ("loan", false)]
            .into_iter()
            .zip(0..)
            .map(|((topic, gate), id)| Source {
                name: topic.to_owned(),
                kept: crate::transport::continuity::Kept::ForATime,
                id: SourceId(id),
                topic: topic.to_owned(),
                gate,
                joined: true,
                partitions: 4,
                placement: Placement::new(Partitioner::Murmur2, 4),
            })
            .collect()
    }

    fn found(source: u16, offset: i64) -> Found {
        Found {
            place: (SourceId(source), 1),
            offset,
            timestamp_ms: None,
            key: b"p1".to_vec(),
            home: 2,
        }
    }

    #[test]
    fn a_record_in_its_place_is_handed_out_as_it_is() {
        let placement = Placement::new(Partitioner::Murmur2, 4).unwrap();
        let key = b"patron-1";
        let home = placement.partition_of(key);
        for partition in 0..4 {
            for (key, placement) in [
                (Some(&key[..]), Some(placement)),
                (None, Some(placement)),
                (Some(&key[..]), None),
            ] {
                let input = Input {
                    source: SourceId(0),
                    partition,
                    offset: 7,
                    timestamp_ms: None,
                    appended: None,
                    key,
                    payload: Payload::Null,
                };
                let mut found = Vec::new();
                let handed = compare(input, placement, &mut found);
                let elsewhere = key.is_some() && placement.is_some() && partition != home;
                let refused = matches!(handed.payload, Payload::Refused(Reason::Misplaced));
                assert_eq!(refused, elsewhere, "{partition}");
                assert_eq!(handed.key, key);
                assert_eq!(found.len(), usize::from(elsewhere));
                assert!(found.iter().all(|one| one.home == home && one.offset == 7));
            }
        }
    }

    #[test]
    fn gate_records_are_told_of_once() {
        let mut watch = Watch::default();
        let now = Instant::now();
        for again in [false, true] {
            let gates = watch.count(vec![found(0, 5)], &sources(), now).unwrap();
            assert_eq!(gates.len(), usize::from(!again));
        }
    }

    #[test]
    fn more_than_ten_an_hour_stop_the_lane() {
        let mut watch = Watch::default();
        let start = Instant::now();
        for offset in 0..10 {
            // An aborted batch comes again.
            for _ in 0..3 {
                watch
                    .count(vec![found(1, offset)], &sources(), start)
                    .unwrap();
            }
        }
        let later = start + WINDOW + Duration::from_secs(1);
        watch.count(vec![found(1, 10)], &sources(), later).unwrap();
        let within = start + WINDOW;
        let fault = watch.count(vec![found(1, 11)], &sources(), within);
        let Err(Fault::Stop(text)) = fault else {
            panic!("{fault:?}");
        };
        assert!(text.contains("topic `loan`: 12 of 0 records"), "{text}");
    }

    #[test]
    fn more_than_one_in_a_hundred_stop_the_lane() {
        let mut watch = Watch::default();
        let start = Instant::now();
        watch.compared(SourceId(1), 1_000);
        // Seldom enough for the hour.
        let at = |number: u32| start + WINDOW * 2 * number;
        for number in 0..10 {
            let one = found(1, number.into());
            watch.count(vec![one], &sources(), at(number)).unwrap();
        }
        let fault = watch.count(vec![found(1, 10)], &sources(), at(10));
        assert!(matches!(fault, Err(Fault::Stop(_))), "{fault:?}");
    }
}
