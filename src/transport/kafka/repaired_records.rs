//! Which misplaced records were repaired, according to `zeef.commands`: one row each, by
//! coordinates.
//!
//! A row contains no key or value of a record. It holds for one place and one timestamp, so
//! it says nothing of a topic that was recreated.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::publish::{PublishError, Publisher};
use super::read_topic::read_rows;
use super::settings::KafkaSettings;
use super::topics::TopicError;
use crate::message::commands::COMMANDS_TOPIC;

/// Key of the row that records a census.
const CENSUS_ROW_KEY: &[u8] = b"census";
/// Prefix of the keys of these rows.
const ROW_KEY_PREFIX: &str = "repaired:";
/// Format version of the rows.
const ROW_FORMAT: u32 = 1;

/// Topic without prefix, partition, offset.
pub type RecordLocation = (String, i32, i64);

#[derive(Debug, Serialize, Deserialize)]
struct RepairedRow {
    format: u32,
    topic: String,
    partition: i32,
    offset: i64,
    /// When the record was written, if known.
    timestamp_ms: Option<i64>,
}

/// Returns key and value of the row that records a repair.
#[must_use]
pub fn encode_repaired_row(
    location: &RecordLocation,
    timestamp_ms: Option<i64>,
) -> (Vec<u8>, Vec<u8>) {
    let (topic, partition, offset) = location;
    let key = format!("{ROW_KEY_PREFIX}{topic}:{partition}:{offset}");
    let row = RepairedRow {
        format: ROW_FORMAT,
        topic: topic.clone(),
        partition: *partition,
        offset: *offset,
        timestamp_ms,
    };
    // Numbers and topic names always serialize.
    (key.into_bytes(), serde_json::to_vec(&row).unwrap_or_default())
}

#[derive(Debug, Default)]
pub struct RepairedRecords {
    timestamps_by_location: HashMap<RecordLocation, Option<i64>>,
    /// Everything that groups have read was searched for misplaced records.
    is_census_done: bool,
    /// Rows of a format that this version does not know.
    unknown_rows: usize,
}

impl RepairedRecords {
    /// Reads the committed rows; none if the topic does not exist.
    ///
    /// # Errors
    ///
    /// Kafka does not answer, or a row has a newer format.
    pub fn load(settings: &KafkaSettings) -> Result<Self, TopicError> {
        let mut repaired = RepairedRecords::default();
        read_rows(settings, COMMANDS_TOPIC, &mut |message| {
            repaired.apply_row(message.key.unwrap_or_default(), message.value);
        })?;
        match repaired.unknown_rows {
            0 => Ok(repaired),
            _ => Err(TopicError::Settings(format!(
                "topic `{}` was written by a newer zeef",
                settings.topic_name(COMMANDS_TOPIC)
            ))),
        }
    }

    fn apply_row(&mut self, key: &[u8], value: Option<&[u8]>) {
        if key == CENSUS_ROW_KEY {
            self.is_census_done = value.is_some();
        }
        if !key.starts_with(ROW_KEY_PREFIX.as_bytes()) {
            return;
        }
        // A null revokes a row.
        let Some(value) = value else {
            let key = String::from_utf8_lossy(key).into_owned();
            self.timestamps_by_location
                .retain(|place, at| encode_repaired_row(place, *at).0 != key.as_bytes());
            return;
        };
        match serde_json::from_slice::<RepairedRow>(value) {
            Ok(row) if row.format == ROW_FORMAT => {
                let place = (row.topic, row.partition, row.offset);
                self.timestamps_by_location.insert(place, row.timestamp_ms);
            }
            _ => self.unknown_rows += 1,
        }
    }

    /// Returns whether the record at that place with that timestamp was repaired.
    #[must_use]
    pub fn contains(&self, location: &RecordLocation, timestamp_ms: Option<i64>) -> bool {
        self.timestamps_by_location.get(location) == Some(&timestamp_ms)
    }

    /// Returns whether the deployment had its census: since then no group has skipped a
    /// misplaced record.
    #[must_use]
    pub fn has_census(&self) -> bool {
        self.is_census_done
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.timestamps_by_location.is_empty()
    }
}

/// Records that the deployment had its census and nothing was misplaced.
///
/// # Errors
///
/// The commands topic does not exist, or Kafka does not answer.
pub fn write_census_row(settings: &KafkaSettings, now_ms: i64) -> Result<(), PublishError> {
    let publisher = Publisher::open(settings.clone(), &BTreeSet::from([COMMANDS_TOPIC]))?;
    let value = format!(r#"{{"format":{ROW_FORMAT},"time_ms":{now_ms}}}"#);
    publisher.send(COMMANDS_TOPIC, Some(CENSUS_ROW_KEY), Some(value.as_bytes()))?;
    publisher.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repaired_row_holds_for_one_location_and_timestamp() {
        let place = |offset| ("objection".to_owned(), 3, offset);
        let mut repaired = RepairedRecords::default();
        assert!(!repaired.contains(&place(7), Some(1)));
        let (key, value) = encode_repaired_row(&place(7), Some(1));
        repaired.apply_row(&key, Some(&value));
        assert!(repaired.contains(&place(7), Some(1)));
        // Another record in the same place, and another place.
        assert!(!repaired.contains(&place(7), Some(2)));
        assert!(!repaired.contains(&place(8), Some(1)));
        repaired.apply_row(&key, None);
        assert!(repaired.is_empty());
        assert_eq!(repaired.unknown_rows, 0);
    }

    #[test]
    fn repaired_rows_skip_other_keys_and_count_newer_formats() {
        let mut repaired = RepairedRecords::default();
        repaired.apply_row(b"accept:1", Some(b"anything"));
        assert_eq!((repaired.timestamps_by_location.len(), repaired.unknown_rows), (0, 0));
        repaired.apply_row(b"repaired:a:0:1", Some(br#"{"format":2}"#));
        assert_eq!((repaired.timestamps_by_location.len(), repaired.unknown_rows), (0, 1));
    }
}
