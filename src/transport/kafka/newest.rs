//! When the newest record of each source was written, by the broker's timestamp,
//! whoever reads it: a source that fell silent shows, also after a restart.
//!
//! No record is read for it. A broker says whether a partition has a record of a
//! given time or later; how late that may be is searched for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::log::Logged;
use super::settings::KafkaSettings;
use super::{CALL, Found, asking, look_up};
use crate::transport::Fault;

/// How exactly a time is searched for: to a second, or a part of its age.
const EXACT_MS: i64 = 1_000;
const EXACT_PART: i64 = 64;
/// More questions than any search needs.
const STEPS_MAX: usize = 200;

/// A partition, by the place of its topic.
type Place = (usize, i32);

/// Asks for the newest records of topics.
pub struct Newest {
    observer: Arc<BaseConsumer<Logged>>,
    topics: Vec<String>,
    /// A record of that time or later was there.
    known: HashMap<Place, i64>,
}

impl Newest {
    /// Connects; `topics` are names without the prefix.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where the settings are wrong.
    pub fn open(settings: &KafkaSettings, topics: &[String]) -> Result<Newest, Fault> {
        let observer = Arc::new(asking(settings, false)?);
        Ok(Newest {
            observer,
            topics: topics.iter().map(|topic| settings.topic(topic)).collect(),
            known: HashMap::new(),
        })
    }

    /// When the newest record of each topic was written, in milliseconds since
    /// 1970, or a little earlier: at most by a second, or a 64th of its age. `None`
    /// for a topic without records; one that lies ahead counts as written now.
    ///
    /// # Errors
    ///
    /// Kafka gave no answer; the text says of what.
    pub fn look(&mut self, now_ms: i64) -> Result<Vec<Option<i64>>, String> {
        // Serves the client's log.
        let _ = self.observer.poll(std::time::Duration::ZERO);
        let mut searches: BTreeMap<Place, Search> = BTreeMap::new();
        for (place, topic) in self.topics.iter().enumerate() {
            let Found::Partitions(partitions) = look_up(&self.observer, topic) else {
                return Err(format!("topic `{topic}`: no answer"));
            };
            for partition in 0..partitions {
                let known = self.known.get(&(place, partition)).copied();
                searches.insert((place, partition), Search::new(known, now_ms));
            }
        }
        for _ in 0..STEPS_MAX {
            let open = searches.iter().filter_map(|(place, search)| {
                let asked_ms = search.asks()?;
                Some((*place, asked_ms))
            });
            let open: Vec<(Place, i64)> = open.collect();
            if open.is_empty() {
                break;
            }
            for ((place, _), is_there) in open.iter().zip(self.ask(&open)?) {
                if let Some(search) = searches.get_mut(place) {
                    search.answer(is_there);
                }
            }
        }
        let mut newest = vec![None; self.topics.len()];
        for (place, search) in searches {
            if let Some(found) = search.found_ms {
                self.known.insert(place, found);
                newest[place.0] = newest[place.0].max(Some(found));
            }
        }
        Ok(newest)
    }

    /// Whether each partition has a record of that time or later.
    fn ask(&self, places: &[(Place, i64)]) -> Result<Vec<bool>, String> {
        let mut times = TopicPartitionList::new();
        for ((topic, partition), time_ms) in places {
            let time = Offset::Offset((*time_ms).max(0));
            times
                .add_partition_offset(&self.topics[*topic], *partition, time)
                .map_err(|error| error.to_string())?;
        }
        let found = self.observer.offsets_for_times(times, CALL);
        let found = found.map_err(|error| error.to_string())?;
        let answer = |((topic, partition), _): &(Place, i64)| {
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

/// Searches for the newest time of which it is true that something is there then
/// or later.
#[derive(Clone, Copy, Debug)]
struct Search {
    now_ms: i64,
    /// It was true of this time.
    found_ms: Option<i64>,
    /// It was false of this one; none where that was not asked yet.
    absent_ms: Option<i64>,
    /// How far before now is asked next, while nothing was found.
    back_ms: i64,
    /// It is asked first whether anything came since the earlier search.
    is_first: bool,
    done: bool,
}

impl Search {
    /// Begins where an earlier search ended.
    fn new(known_ms: Option<i64>, now_ms: i64) -> Search {
        Search {
            now_ms,
            found_ms: known_ms,
            absent_ms: None,
            back_ms: 0,
            is_first: known_ms.is_some(),
            done: known_ms.is_some_and(|known| known >= now_ms),
        }
    }

    /// How exactly a time is found.
    fn exact_ms(&self, found_ms: i64) -> i64 {
        EXACT_MS.max((self.now_ms - found_ms) / EXACT_PART)
    }

    /// The time that is to be asked of next; none where the search is over.
    fn asks(&self) -> Option<i64> {
        if self.done {
            return None;
        }
        if let (Some(found), true) = (self.found_ms, self.is_first) {
            return Some(found + self.exact_ms(found));
        }
        let Some(absent) = self.absent_ms else {
            return Some(self.now_ms);
        };
        let back = (self.now_ms - self.back_ms).max(0);
        match self.found_ms {
            // Back in steps that double, but not behind what is known.
            Some(found) if back > found && self.back_ms > 0 => Some(back),
            None => Some(back),
            Some(found) => Some(found + (absent - found) / 2),
        }
    }

    fn answer(&mut self, is_there: bool) {
        let Some(asked) = self.asks() else {
            return;
        };
        if std::mem::take(&mut self.is_first) {
            self.done = !is_there || asked >= self.now_ms;
            if is_there {
                self.found_ms = Some(asked);
            }
            return;
        }
        if is_there {
            self.found_ms = Some(asked);
            // From here on the gap is halved.
            self.back_ms = 0;
        } else {
            self.absent_ms = Some(asked);
            let is_galloping = self.back_ms > 0 || asked == self.now_ms;
            if is_galloping {
                self.back_ms = (self.back_ms * 2).max(EXACT_MS);
            }
        }
        self.done = match (self.found_ms, self.absent_ms) {
            (Some(_), None) => true,
            (Some(found), Some(absent)) => absent - found <= self.exact_ms(found),
            // Nothing was written at any time.
            (None, absent) => absent == Some(0),
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW_MS: i64 = 1_800_000_000_000;

    /// Searches for `newest`, and says in how many questions.
    fn search(newest: Option<i64>, known: Option<i64>) -> (Option<i64>, usize) {
        let mut search = Search::new(known, NOW_MS);
        let mut steps = 0;
        while let Some(asked) = search.asks() {
            steps += 1;
            search.answer(newest.is_some_and(|newest| newest >= asked));
        }
        (search.found_ms, steps)
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let (found, steps) = search(None, None);
        assert_eq!(found, None);
        assert!(steps < 40, "{steps}");
    }

    #[test]
    fn what_lies_ahead_counts_as_now() {
        assert_eq!(search(Some(i64::MAX), None), (Some(NOW_MS), 1));
    }

    proptest! {
        #[test]
        fn the_newest_is_found_nearly(newest in 0..=NOW_MS, before in prop::option::of(0..=NOW_MS)) {
            let known = before.map(|before| before.min(newest));
            let (found, steps) = search(Some(newest), known);
            let found = found.unwrap();
            prop_assert!(found <= newest);
            let exact = EXACT_MS.max((NOW_MS - found) / EXACT_PART);
            prop_assert!(newest - found <= exact, "{} of {}", newest - found, exact);
            prop_assert!(steps < 80, "{}", steps);
        }

        #[test]
        fn what_is_quiet_costs_one_question(newest in 0..NOW_MS - 100_000) {
            let (known, _) = search(Some(newest), None);
            prop_assert_eq!(search(Some(newest), known), (known, 1));
        }
    }
}
