//! When the newest record of each source was written, by the broker's timestamp, so that a
//! silent source shows even after a restart.
//!
//! Reads no record: a broker says whether a partition has a record of a given time or
//! later, and a search finds the latest such time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::CALL_TIMEOUT;
use super::connect::{TopicLookup, look_up_topic, metadata_client};
use super::log::LoggingContext;
use super::settings::KafkaSettings;
use crate::message::Fault;

/// Precision of a search: a second, or a fraction of the age.
const TOLERANCE_MIN_MS: i64 = 1_000;
const TOLERANCE_AGE_DIVISOR: i64 = 64;
/// More queries than any search needs.
const QUERIES_MAX: usize = 200;

/// The index of a topic, and a partition.
type TopicPartition = (usize, i32);

/// Queries the newest records of topics.
pub struct NewestTimestamps {
    client: Arc<BaseConsumer<LoggingContext>>,
    topics: Vec<String>,
    /// The latest time at or after which a record was found.
    newest_found_ms: HashMap<TopicPartition, i64>,
}

impl NewestTimestamps {
    /// Connects; `topics` have no prefix.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] for wrong settings.
    pub fn open(settings: &KafkaSettings, topics: &[String]) -> Result<NewestTimestamps, Fault> {
        let client = Arc::new(metadata_client(settings, false)?);
        Ok(NewestTimestamps {
            client,
            topics: topics.iter().map(|topic| settings.topic_name(topic)).collect(),
            newest_found_ms: HashMap::new(),
        })
    }

    /// Returns when the newest record of each topic was written, in Unix milliseconds or
    /// earlier by at most a second or a 64th of its age. `None` for a topic without
    /// records; one in the future counts as now.
    ///
    /// # Errors
    ///
    /// What Kafka did not answer.
    pub fn fetch(&mut self, now_ms: i64) -> Result<Vec<Option<i64>>, String> {
        // Serves the client's log.
        let _ = self.client.poll(std::time::Duration::ZERO);
        let mut searches: BTreeMap<TopicPartition, TimestampSearch> = BTreeMap::new();
        for (place, topic) in self.topics.iter().enumerate() {
            let TopicLookup::Partitions(partitions) = look_up_topic(&self.client, topic) else {
                return Err(format!("topic `{topic}`: no answer"));
            };
            for partition in 0..partitions {
                let known = self.newest_found_ms.get(&(place, partition)).copied();
                searches.insert((place, partition), TimestampSearch::new(known, now_ms));
            }
        }
        for _ in 0..QUERIES_MAX {
            let open = searches.iter().filter_map(|(place, search)| {
                let asked_ms = search.next_query()?;
                Some((*place, asked_ms))
            });
            let open: Vec<(TopicPartition, i64)> = open.collect();
            if open.is_empty() {
                break;
            }
            for ((place, _), is_there) in open.iter().zip(self.query_partitions(&open)?) {
                if let Some(search) = searches.get_mut(place) {
                    search.apply_answer(is_there);
                }
            }
        }
        let mut newest = vec![None; self.topics.len()];
        for (place, search) in searches {
            if let Some(found) = search.present_ms {
                self.newest_found_ms.insert(place, found);
                newest[place.0] = newest[place.0].max(Some(found));
            }
        }
        Ok(newest)
    }

    /// Returns whether each partition has a record of that time or later.
    fn query_partitions(&self, places: &[(TopicPartition, i64)]) -> Result<Vec<bool>, String> {
        let mut times = TopicPartitionList::new();
        for ((topic, partition), time_ms) in places {
            let time = Offset::Offset((*time_ms).max(0));
            times
                .add_partition_offset(&self.topics[*topic], *partition, time)
                .map_err(|error| error.to_string())?;
        }
        let found = self.client.offsets_for_times(times, CALL_TIMEOUT);
        let found = found.map_err(|error| error.to_string())?;
        let answer = |((topic, partition), _): &(TopicPartition, i64)| {
            let topic = &self.topics[*topic];
            let found = found.find_partition(topic, *partition);
            let found = found.filter(|found| found.error().is_ok());
            match found {
                Some(found) => Ok(matches!(found.offset(), Offset::Offset(_))),
                None => Err(format!("topic `{topic}` partition {partition}: no answer")),
            }
        };
        places.iter().map(answer).collect()
    }
}

/// A search for the latest time at or after which a record exists.
#[derive(Clone, Copy, Debug)]
struct TimestampSearch {
    now_ms: i64,
    /// A record exists at or after this time.
    present_ms: Option<i64>,
    /// No record exists at or after this time; `None` before the first query.
    absent_ms: Option<i64>,
    /// How far before now the next query goes, while nothing was found.
    step_back_ms: i64,
    /// The first query is whether anything came since the earlier search.
    is_resumed: bool,
    is_done: bool,
}

impl TimestampSearch {
    /// Continues an earlier search.
    fn new(known_ms: Option<i64>, now_ms: i64) -> TimestampSearch {
        TimestampSearch {
            now_ms,
            present_ms: known_ms,
            absent_ms: None,
            step_back_ms: 0,
            is_resumed: known_ms.is_some(),
            is_done: known_ms.is_some_and(|known| known >= now_ms),
        }
    }

    fn tolerance_ms(&self, found_ms: i64) -> i64 {
        TOLERANCE_MIN_MS.max((self.now_ms - found_ms) / TOLERANCE_AGE_DIVISOR)
    }

    /// Returns the time to query next, or `None` once the search is over.
    fn next_query(&self) -> Option<i64> {
        if self.is_done {
            return None;
        }
        if let (Some(found), true) = (self.present_ms, self.is_resumed) {
            return Some(found + self.tolerance_ms(found));
        }
        let Some(absent) = self.absent_ms else {
            return Some(self.now_ms);
        };
        let back = (self.now_ms - self.step_back_ms).max(0);
        match self.present_ms {
            // Back in doubling steps, but not beyond what is known.
            Some(found) if back > found && self.step_back_ms > 0 => Some(back),
            None => Some(back),
            Some(found) => Some(found + (absent - found) / 2),
        }
    }

    fn apply_answer(&mut self, is_there: bool) {
        let Some(asked) = self.next_query() else {
            return;
        };
        if std::mem::take(&mut self.is_resumed) {
            self.is_done = !is_there || asked >= self.now_ms;
            if is_there {
                self.present_ms = Some(asked);
            }
            return;
        }
        if is_there {
            self.present_ms = Some(asked);
            // From here on the gap is halved.
            self.step_back_ms = 0;
        } else {
            self.absent_ms = Some(asked);
            let is_galloping = self.step_back_ms > 0 || asked == self.now_ms;
            if is_galloping {
                self.step_back_ms = (self.step_back_ms * 2).max(TOLERANCE_MIN_MS);
            }
        }
        self.is_done = match (self.present_ms, self.absent_ms) {
            (Some(_), None) => true,
            (Some(found), Some(absent)) => absent - found <= self.tolerance_ms(found),
            // Nothing was ever written.
            (None, absent) => absent == Some(0),
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW_MS: i64 = 1_800_000_000_000;

    /// Searches for `newest`. Returns the result and the number of queries.
    fn search_newest(newest: Option<i64>, known: Option<i64>) -> (Option<i64>, usize) {
        let mut search = TimestampSearch::new(known, NOW_MS);
        let mut steps = 0;
        while let Some(asked) = search.next_query() {
            steps += 1;
            search.apply_answer(newest.is_some_and(|newest| newest >= asked));
        }
        (search.present_ms, steps)
    }

    #[test]
    fn timestamp_search_in_an_empty_topic_finds_nothing() {
        let (found, steps) = search_newest(None, None);
        assert_eq!(found, None);
        assert!(steps < 40, "{steps}");
    }

    #[test]
    fn timestamp_search_counts_a_future_record_as_now() {
        assert_eq!(search_newest(Some(i64::MAX), None), (Some(NOW_MS), 1));
    }

    proptest! {
        #[test]
        fn timestamp_search_finds_the_newest_within_its_tolerance(newest in 0..=NOW_MS, before in prop::option::of(0..=NOW_MS)) {
            let known = before.map(|before| before.min(newest));
            let (found, steps) = search_newest(Some(newest), known);
            let found = found.unwrap();
            prop_assert!(found <= newest);
            let exact = TOLERANCE_MIN_MS.max((NOW_MS - found) / TOLERANCE_AGE_DIVISOR);
            prop_assert!(newest - found <= exact, "{} of {}", newest - found, exact);
            prop_assert!(steps < 80, "{}", steps);
        }

        #[test]
        fn timestamp_search_of_an_unchanged_topic_asks_once(newest in 0..NOW_MS - 100_000) {
            let (known, _) = search_newest(Some(newest), None);
            prop_assert_eq!(search_newest(Some(newest), known), (known, 1));
        }
    }
}
