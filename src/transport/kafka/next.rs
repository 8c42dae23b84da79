//! Where a lane goes on in its sources, as its state says it: what is left when
//! the group's offsets have expired.
//!
//! From time to time a commit also writes a row for each partition that moved,
//! into the partition of the state with the same number. It may be older than the
//! group's offset, never newer: records between the two are decided once more.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::partition::Place;

/// How old a row may become while its partition moves.
const EVERY: Duration = Duration::from_secs(60);
/// How its key begins; those of other rows have no colon.
const KEY: &[u8] = b"next:";
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Row {
    format: u32,
    next: i64,
}

/// The key of the row of a source.
pub(super) fn key(topic: &str) -> Vec<u8> {
    [KEY, topic.as_bytes()].concat()
}

/// The row's value.
pub(super) fn value(next: i64) -> Vec<u8> {
    let row = Row {
        format: FORMAT,
        next,
    };
    // Two numbers always serialise.
    serde_json::to_vec(&row).unwrap_or_default()
}

/// Whether a row of the state is one of these.
pub(super) fn is_next(key: Option<&[u8]>) -> bool {
    key.is_some_and(|key| key.starts_with(KEY))
}

/// Reads such a row: the source's topic and the next offset.
pub(super) fn read(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<(String, i64)> {
    let topic = std::str::from_utf8(key?.strip_prefix(KEY)?).ok()?;
    let row: Row = serde_json::from_slice(value?).ok()?;
    (row.format == FORMAT).then(|| (topic.to_owned(), row.next))
}

/// What was written last.
#[derive(Debug, Default)]
pub(super) struct Written {
    rows: HashMap<Place, (i64, Instant)>,
    open: Vec<(Place, i64)>,
}

impl Written {
    /// Whether a row is to be written: the first one, or one that says something
    /// new where that is old, or this is the last occasion.
    pub(super) fn is_due(&self, place: Place, next: i64, last: bool) -> bool {
        match self.rows.get(&place) {
            None => !last,
            Some((written, at)) => *written != next && (last || at.elapsed() >= EVERY),
        }
    }

    /// A row is part of the open transaction.
    pub(super) fn wrote(&mut self, place: Place, next: i64) {
        self.open.push((place, next));
    }

    /// The open transaction was committed.
    pub(super) fn committed(&mut self) {
        let now = Instant::now();
        let rows = self.open.drain(..);
        self.rows
            .extend(rows.map(|(place, next)| (place, (next, now))));
    }

    /// The open transaction was aborted.
    pub(super) fn aborted(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::SourceId;

    #[test]
    fn what_is_written_is_read() {
        let row = (key("patron"), value(77));
        let read = |key: &[u8], value| read(Some(key), value);
        assert_eq!(read(&row.0, Some(&row.1)), Some(("patron".to_owned(), 77)));
        assert_eq!(read(&row.0, None), None);
        assert_eq!(read(b"AAAAAAAAAAAAAAAAAAAAAA", Some(&row.1)), None);
        assert_eq!(read(&row.0, Some(b"{\"format\":2,\"next\":1}")), None);
        assert!(is_next(Some(&row.0)) && !is_next(Some(b"next")) && !is_next(None));
    }

    #[test]
    fn a_row_is_written_at_first_and_at_last() {
        let place = (SourceId(1), 3);
        let mut written = Written::default();
        assert!(written.is_due(place, 5, false) && !written.is_due(place, 5, true));
        written.wrote(place, 5);
        written.aborted();
        assert!(written.is_due(place, 5, false));
        written.wrote(place, 5);
        written.committed();
        assert!(!written.is_due(place, 6, false));
        assert!(written.is_due(place, 6, true));
        assert!(!written.is_due(place, 5, true));
    }
}
