//! The rows of records that wait for their patrons, or for their source to delete its own copy,
//! read from their JSON alone: without a lane and without a key.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::DeliveryOutcome;
use super::row_json::{self, RowError};

/// A record that waits for its patron.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRow {
    /// The name of its kind.
    pub kind: String,
    pub partition: i32,
    pub offset: i64,
    /// In milliseconds since 1970: the time of the batch.
    pub held_since_ms: i64,
    /// The patron's hash in the state: only the state key tells whose it is.
    pub patron_hash: String,
    /// The recipients that wait for it, by name.
    pub recipients: Vec<String>,
}

/// A record whose source must have deleted its own copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceDeletionRow {
    /// The name of its kind.
    pub kind: String,
    pub partition: i32,
    pub offset: i64,
    /// By when, in milliseconds since 1970.
    pub due_ms: i64,
}

#[derive(Deserialize)]
struct SourceDeletionRowJson {
    source: String,
    partition: i32,
    offset: i64,
    source_deletion_ms: Option<i64>,
}

/// Parses the value of a row; `None` if the source has deleted its copy of the record, or need
/// not.
///
/// # Errors
///
/// See [`RowError`].
pub fn parse_source_deletion_row(value: &[u8]) -> Result<Option<SourceDeletionRow>, RowError> {
    if row_json::parse_head(value)?.policy.is_some() || row_json::is_ended(value) {
        return Ok(None);
    }
    let row: SourceDeletionRowJson =
        serde_json::from_slice(value).map_err(|_| RowError::Damaged)?;
    let SourceDeletionRowJson { source: kind, partition, offset, source_deletion_ms } = row;
    Ok(source_deletion_ms.map(|due_ms| SourceDeletionRow { kind, partition, offset, due_ms }))
}

#[derive(Deserialize)]
struct HeldRowJson {
    patron: String,
    source: String,
    partition: i32,
    offset: i64,
    first_ms: i64,
    to: BTreeMap<String, HeldEntryJson>,
}

#[derive(Deserialize)]
struct HeldEntryJson {
    outcome: String,
    first_ms: Option<i64>,
    held_ms: Option<i64>,
}

/// Parses the value of a row; `None` if no recipient waits for its record.
///
/// # Errors
///
/// See [`RowError`].
pub fn parse_held_row(value: &[u8]) -> Result<Option<HeldRow>, RowError> {
    if row_json::parse_head(value)?.policy.is_some() {
        return Ok(None);
    }
    let row: HeldRowJson = serde_json::from_slice(value).map_err(|_| RowError::Damaged)?;
    let held =
        row.to.into_iter().filter(|(_, entry)| entry.outcome == DeliveryOutcome::Held.as_str());
    let mut recipients = Vec::new();
    let mut since_ms = i64::MAX;
    for (recipient, entry) in held {
        let held_ms = entry.held_ms.or(entry.first_ms);
        since_ms = since_ms.min(held_ms.unwrap_or(row.first_ms));
        recipients.push(recipient);
    }
    Ok((!recipients.is_empty()).then_some(HeldRow {
        kind: row.source,
        partition: row.partition,
        offset: row.offset,
        held_since_ms: since_ms,
        patron_hash: row.patron,
        recipients,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = r#"{"format":1,"patron":"AAAAAAAAAAAAAAAAAAAAAA","source":"loan","partition":3,"offset":17,"first_ms":1000,"to":{"a":{"outcome":"held","facts":"0"},"b":{"outcome":"withheld","reason":"condition","facts":"0"},"c":{"outcome":"held","facts":"0"}}}"#;

    #[test]
    fn held_row_names_who_waits_and_since_when() {
        let waiting = parse_held_row(ROW.as_bytes()).unwrap().unwrap();
        assert_eq!(waiting.recipients, ["a", "c"]);
        assert_eq!((waiting.kind.as_str(), waiting.partition), ("loan", 3));
        assert_eq!((waiting.offset, waiting.held_since_ms), (17, 1_000));
        assert_eq!(parse_held_row(ROW.replace("held", "released").as_bytes()), Ok(None));
        let since = |held: &str| {
            let row = ROW.replace("\"held\"", &format!("\"held\",{held}"));
            parse_held_row(row.as_bytes()).unwrap().unwrap().held_since_ms
        };
        assert_eq!(since("\"first_ms\":700"), 700);
        assert_eq!(since("\"first_ms\":700,\"held_ms\":900"), 900);
    }

    #[test]
    fn source_deletion_row_says_by_when() {
        assert_eq!(parse_source_deletion_row(ROW.as_bytes()), Ok(None));
        let row = ROW.replace("\"first_ms\":1000", "\"first_ms\":1000,\"source_deletion_ms\":7");
        let found = parse_source_deletion_row(row.as_bytes()).unwrap().unwrap();
        assert_eq!((found.kind.as_str(), found.partition), ("loan", 3));
        assert_eq!((found.offset, found.due_ms), (17, 7));
        let over = row.replace("\"first_ms\":1000", "\"over\":true,\"first_ms\":1000");
        assert_eq!(parse_source_deletion_row(over.as_bytes()), Ok(None));
    }

    #[test]
    fn held_row_is_none_for_a_row_about_no_record() {
        let mark = br#"{"format":1,"policy":"v1-0","recipients":["a"]}"#;
        assert_eq!(parse_held_row(mark), Ok(None));
    }

    #[test]
    fn held_row_damaged_or_newer_row_is_an_error() {
        let newer = ROW.replace("\"format\":1", "\"format\":99,\"other\":1");
        assert_eq!(parse_held_row(newer.as_bytes()), Err(RowError::NewerFormat));
        assert_eq!(parse_held_row(b"{}"), Err(RowError::Damaged));
        assert_eq!(parse_held_row(&ROW.as_bytes()[1..]), Err(RowError::Damaged));
    }
}
