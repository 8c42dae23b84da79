//! Which misplaced records were written once more in their place, as
//! `zeef.commands` says it: one row for each, by where it lies.
//!
//! A row has no key and no value of a record. It holds for one place and one
//! time of writing, so that it says nothing of a topic that was made anew.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::publish::{PublishError, Publisher};
use super::settings::KafkaSettings;
use super::topics::TopicError;
use super::whole::read_whole;

pub use crate::transport::commands::COMMANDS_TOPIC;

/// The key of the row that says that there was a census.
const CENSUS: &[u8] = b"census";
/// How the keys of these rows begin.
const PREFIX: &str = "repaired:";
/// The format version that every row carries.
const FORMAT: u32 = 1;

/// Where a record lies: topic without prefix, partition, offset.
pub type RecordPlace = (String, i32, i64);

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    format: u32,
    topic: String,
    partition: i32,
    offset: i64,
    /// When the record was written, where that is known.
    timestamp_ms: Option<i64>,
}

/// The key and the value of the row that says that a record was repaired.
#[must_use]
pub fn row(place: &RecordPlace, timestamp_ms: Option<i64>) -> (Vec<u8>, Vec<u8>) {
    let (topic, partition, offset) = place;
    let key = format!("{PREFIX}{topic}:{partition}:{offset}");
    let row = Row {
        format: FORMAT,
        topic: topic.clone(),
        partition: *partition,
        offset: *offset,
        timestamp_ms,
    };
    // Numbers and a topic's name can always be written.
    (
        key.into_bytes(),
        serde_json::to_vec(&row).unwrap_or_default(),
    )
}

/// The records that were repaired.
#[derive(Debug, Default)]
pub struct Repaired {
    places: HashMap<RecordPlace, Option<i64>>,
    /// All that groups have read was looked at for misplaced records.
    census: bool,
    /// Rows of a format that this version does not know.
    unknown: usize,
}

impl Repaired {
    /// Reads what is committed of `zeef.commands`; nothing where there is no such
    /// topic.
    ///
    /// # Errors
    ///
    /// Where Kafka does not answer, or a row has a format newer than known.
    pub fn load(settings: &KafkaSettings) -> Result<Self, TopicError> {
        let mut repaired = Repaired::default();
        read_whole(settings, COMMANDS_TOPIC, &mut |message| {
            repaired.take(message.key.unwrap_or_default(), message.value);
        })?;
        match repaired.unknown {
            0 => Ok(repaired),
            _ => Err(TopicError::Settings(format!(
                "topic `{}` was written by a newer zeef",
                settings.topic(COMMANDS_TOPIC)
            ))),
        }
    }

    fn take(&mut self, key: &[u8], value: Option<&[u8]>) {
        if key == CENSUS {
            self.census = value.is_some();
        }
        if !key.starts_with(PREFIX.as_bytes()) {
            return;
        }
        // A null takes a row back; it is read before its place is forgotten.
        let Some(value) = value else {
            let key = String::from_utf8_lossy(key).into_owned();
            self.places
                .retain(|place, at| row(place, *at).0 != key.as_bytes());
            return;
        };
        match serde_json::from_slice::<Row>(value) {
            Ok(row) if row.format == FORMAT => {
                let place = (row.topic, row.partition, row.offset);
                self.places.insert(place, row.timestamp_ms);
            }
            _ => self.unknown += 1,
        }
    }

    /// Whether the record that lies there, and was written then, was repaired.
    #[must_use]
    pub fn contains(&self, place: &RecordPlace, timestamp_ms: Option<i64>) -> bool {
        self.places.get(place) == Some(&timestamp_ms)
    }

    /// Whether the deployment had its census: no record that a group has read
    /// since then was misplaced and passed over.
    #[must_use]
    pub fn has_census(&self) -> bool {
        self.census
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// Notes that the deployment had its census, and nothing was misplaced.
///
/// # Errors
///
/// A topic of commands that does not exist, or a Kafka that does not answer.
pub fn note_census(settings: &KafkaSettings, now_ms: i64) -> Result<(), PublishError> {
    let publisher = Publisher::open(settings.clone(), &BTreeSet::from([COMMANDS_TOPIC]))?;
    let value = format!(r#"{{"format":{FORMAT},"time_ms":{now_ms}}}"#);
    publisher.send(COMMANDS_TOPIC, Some(CENSUS), Some(value.as_bytes()))?;
    publisher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_which_record_was_repaired() {
        let place = |offset| ("objection".to_owned(), 3, offset);
        let mut repaired = Repaired::default();
        assert!(!repaired.contains(&place(7), Some(1)));
        let (key, value) = row(&place(7), Some(1));
        repaired.take(&key, Some(&value));
        assert!(repaired.contains(&place(7), Some(1)));
        // Another record in the same place, and another place.
        assert!(!repaired.contains(&place(7), Some(2)));
        assert!(!repaired.contains(&place(8), Some(1)));
        repaired.take(&key, None);
        assert!(repaired.is_empty());
        assert_eq!(repaired.unknown, 0);
    }

    #[test]
    fn rows_of_others_are_passed_over_and_newer_ones_are_not() {
        let mut repaired = Repaired::default();
        repaired.take(b"accept:1", Some(b"anything"));
        assert_eq!((repaired.places.len(), repaired.unknown), (0, 0));
        repaired.take(b"repaired:a:0:1", Some(br#"{"format":2}"#));
        assert_eq!((repaired.places.len(), repaired.unknown), (0, 1));
    }
}
