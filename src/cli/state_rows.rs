//! The rows of a lane's state as they are now, for commands that only look.

use std::collections::BTreeMap;

use super::command_target::DataLocation;
use crate::engine::lane::STATE_TOPIC_PREFIX;
use crate::engine::memory::deliveries::row_json::RowError;
use crate::message::Output;
use crate::transport::directory::read_state;
use crate::transport::kafka::read_topic::read_rows;

/// Returns what `parse` makes of the key and the last value of each row of a lane's state; none if
/// there is no state.
///
/// # Errors
///
/// The state cannot be read, or a row not by `parse`.
pub(super) fn read_state_rows<T>(
    location: &DataLocation<'_>,
    lane: &str,
    parse: impl Fn(&[u8], &[u8]) -> Result<Option<T>, RowError>,
) -> anyhow::Result<Vec<T>> {
    let topic = &format!("{STATE_TOPIC_PREFIX}{lane}");
    let mut rows = LatestRows { found: BTreeMap::new(), parse, read_error: None };
    let mut take = |row: Output<'_>| rows.apply_row(&row);
    match location {
        DataLocation::Kafka(settings) => drop(read_rows(settings, topic, &mut take)?),
        DataLocation::Directory(root) => read_state(root, topic, &mut take)?,
    }
    match rows.read_error {
        Some(error) => Err(anyhow::Error::new(error).context(topic.to_owned())),
        None => Ok(rows.found.into_values().collect()),
    }
}

/// What `parse` makes of the last row of each key.
struct LatestRows<T, P> {
    /// By partition, too: a repartition ends a row in one and writes it in another, in no order.
    found: BTreeMap<(Option<i32>, Box<[u8]>), T>,
    parse: P,
    read_error: Option<RowError>,
}

impl<T, P: Fn(&[u8], &[u8]) -> Result<Option<T>, RowError>> LatestRows<T, P> {
    fn apply_row(&mut self, row: &Output<'_>) {
        let key = row.key.unwrap_or_default();
        let place = (row.partition, key.into());
        match row.value.map_or(Ok(None), |value| (self.parse)(key, value)) {
            Ok(Some(row)) => {
                self.found.insert(place, row);
            }
            Ok(None) => {
                self.found.remove(&place);
            }
            Err(error) => self.read_error = Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::OutputId;

    /// `zeef lanes apply --repartition` ends a row in one partition and writes it in another.
    #[test]
    fn state_row_that_was_carried_to_another_partition_is_found() {
        let parse = |_: &[u8], row: &[u8]| Ok((row != b"over").then(|| row.to_vec()));
        let mut rows = LatestRows { found: BTreeMap::new(), parse, read_error: None };
        let writes: [(i32, Option<&[u8]>); 5] = [
            (0, Some(b"first")),
            (3, Some(b"carried")),
            (0, Some(b"over")),
            (1, Some(b"other")),
            (1, None),
        ];
        for (partition, value) in writes {
            rows.apply_row(&Output {
                output: OutputId(0),
                partition: Some(partition),
                key: Some(b"key"),
                value,
                retraction: None,
            });
        }
        let left: Vec<Vec<u8>> = rows.found.into_values().collect();
        assert_eq!(left, [b"carried".to_vec()]);
    }
}
