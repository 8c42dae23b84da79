//! The end of a run that ends: everything that lay on the sources at its start
//! is committed, by whoever owned it.
//!
//! It never counts records: markers take offsets too.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use rdkafka::topic_partition_list::Offset;

use super::consumer::Source;
use super::log::Logged;
use super::member::Member;
use super::partition::Place;
use super::start::{committed, edges};
use crate::transport::Fault;

/// How often the group's offsets are asked for.
const INTERVAL: Duration = Duration::from_millis(200);

/// The ends that the sources had at the start.
pub(super) struct Ends {
    wanted: HashMap<Place, i64>,
    asked: Option<Instant>,
}

impl Ends {
    /// Captures the high watermarks. Records of a transaction that is open now
    /// lie below them: the run waits until it has ended, as it must, for
    /// committed records may lie behind it.
    pub(super) fn capture(
        observer: &BaseConsumer<Logged>,
        sources: &[Source],
    ) -> Result<Self, String> {
        let partitions = sources
            .iter()
            .flat_map(|source| (0..source.partitions).map(|p| (&*source.topic, p)));
        let found =
            edges(observer, partitions, Offset::End).map_err(|error| format!("ends: {error}"))?;
        let mut wanted = HashMap::new();
        for element in found.elements() {
            let source = sources
                .iter()
                .find(|source| source.topic == element.topic());
            match (source, element.offset()) {
                (Some(source), Offset::Offset(end)) => {
                    wanted.insert((source.id, element.partition()), end);
                }
                _ => return Err(format!("no end of topic `{}`", element.topic())),
            }
        }
        Ok(Self {
            wanted,
            asked: None,
        })
    }

    /// Whether every partition is committed up to its end. `own` are the
    /// worker's own committed positions: while they are not there yet, nobody
    /// is asked.
    pub(super) fn reached(
        &mut self,
        consumer: &BaseConsumer<Member>,
        sources: &[Source],
        own: &HashMap<Place, i64>,
    ) -> Result<bool, Fault> {
        let behind = |(place, position): (&Place, &i64)| {
            self.wanted.get(place).is_some_and(|end| position < end)
        };
        let asked_lately = self.asked.is_some_and(|asked| asked.elapsed() < INTERVAL);
        if own.iter().any(behind) || asked_lately {
            return Ok(false);
        }
        self.asked = Some(Instant::now());
        let Some(committed) = committed(consumer, sources)? else {
            return Ok(false);
        };
        Ok(self.wanted.iter().all(|(place, end)| {
            committed
                .get(place)
                .is_some_and(|found| found.offset >= *end)
        }))
    }
}
