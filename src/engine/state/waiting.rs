//! The rows of records that wait for their patrons, as a command shows them:
//! read from their text alone, without a lane and without a key.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Outcome;
use super::text::{self, TextError};

/// A record that waits for its patron.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The name of its kind.
    pub source: String,
    pub partition: i32,
    pub offset: i64,
    /// The time of the batch since which it waits, in milliseconds since 1970.
    pub since_ms: i64,
    /// The patron's name in the state: whose it is only zeef's own key can tell.
    pub patron: String,
    /// Those that may get it then, by name.
    pub recipients: Vec<String>,
}

#[derive(Deserialize)]
struct RowText {
    patron: String,
    source: String,
    partition: i32,
    offset: i64,
    first_ms: i64,
    to: BTreeMap<String, EntryText>,
}

#[derive(Deserialize)]
struct EntryText {
    outcome: String,
    first_ms: Option<i64>,
    held_ms: Option<i64>,
}

/// Reads the value of a row; none where nobody waits for its record.
///
/// # Errors
///
/// See [`TextError`].
pub fn read(value: &[u8]) -> Result<Option<Waiting>, TextError> {
    if text::read_head(value)?.policy.is_some() {
        return Ok(None);
    }
    let row: RowText = serde_json::from_slice(value).map_err(|_| TextError::Damaged)?;
    let held = row
        .to
        .into_iter()
        .filter(|(_, entry)| entry.outcome == Outcome::Held.as_str());
    let mut recipients = Vec::new();
    let mut since_ms = i64::MAX;
    for (recipient, entry) in held {
        let held_ms = entry.held_ms.or(entry.first_ms);
        since_ms = since_ms.min(held_ms.unwrap_or(row.first_ms));
        recipients.push(recipient);
    }
    Ok((!recipients.is_empty()).then_some(Waiting {
        source: row.source,
        partition: row.partition,
        offset: row.offset,
        since_ms,
        patron: row.patron,
        recipients,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = r#"{"format":1,"patron":"AAAAAAAAAAAAAAAAAAAAAA","source":"loan","partition":3,"offset":17,"first_ms":1000,"to":{"a":{"outcome":"held","facts":"0"},"b":{"outcome":"withheld","reason":"condition","facts":"0"},"c":{"outcome":"held","facts":"0"}}}"#;

    #[test]
    fn who_waits_is_told() {
        let waiting = read(ROW.as_bytes()).unwrap().unwrap();
        assert_eq!(waiting.recipients, ["a", "c"]);
        assert_eq!((waiting.source.as_str(), waiting.partition), ("loan", 3));
        assert_eq!((waiting.offset, waiting.since_ms), (17, 1_000));
        assert_eq!(read(ROW.replace("held", "released").as_bytes()), Ok(None));
        let since = |held: &str| {
            let row = ROW.replace("\"held\"", &format!("\"held\",{held}"));
            read(row.as_bytes()).unwrap().unwrap().since_ms
        };
        assert_eq!(since("\"first_ms\":700"), 700);
        assert_eq!(since("\"first_ms\":700,\"held_ms\":900"), 900);
    }

    #[test]
    fn a_row_about_no_record_tells_of_nobody() {
        let mark = br#"{"format":1,"policy":"v1-0","recipients":["a"]}"#;
        assert_eq!(read(mark), Ok(None));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let newer = ROW.replace("\"format\":1", "\"format\":99,\"other\":1");
        assert_eq!(read(newer.as_bytes()), Err(TextError::Newer));
        assert_eq!(read(b"{}"), Err(TextError::Damaged));
        assert_eq!(read(&ROW.as_bytes()[1..]), Err(TextError::Damaged));
    }
}
