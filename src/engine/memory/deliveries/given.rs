//! What recipients have of one patron, read from the rows' JSON alone: without a lane.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::row_json::{self, RowError, encode_bits};
use super::{DeliveryOutcome, PatronHash};

/// An output that a recipient has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenOutput {
    pub recipient: String,
    /// Without any prefix.
    pub topic: String,
    pub key: String,
    /// When the record was first decided for the recipient, in milliseconds since 1970.
    pub first_decided_ms: i64,
    /// Its term ended: the recipient keeps it lawfully, and zeef tracks it no longer.
    pub is_forgotten: bool,
    /// It is an output of another patron, and about this one, too.
    pub is_of_other_patron: bool,
    /// Its patron may be told of it, though the recipient keeps others from patrons.
    pub is_told: bool,
}

#[derive(Deserialize)]
struct GivenRowJson {
    patron: String,
    first_ms: i64,
    #[serde(default)]
    told: bool,
    to: BTreeMap<String, GivenEntryJson>,
}

#[derive(Deserialize)]
struct GivenEntryJson {
    outcome: String,
    topic: Option<String>,
    key: Option<String>,
    first_ms: Option<i64>,
    #[serde(default)]
    about: Vec<String>,
}

/// Parses the outputs in the value of a row that are about a patron: its own, and those of others
/// that name it.
///
/// # Errors
///
/// See [`RowError`].
pub fn parse_given_outputs(value: &[u8], patron: PatronHash) -> Result<Vec<GivenOutput>, RowError> {
    if row_json::parse_head(value)?.policy.is_some() {
        return Ok(Vec::new());
    }
    let row: GivenRowJson = serde_json::from_slice(value).map_err(|_| RowError::Damaged)?;
    let wanted = encode_bits(patron.0);
    let is_of_other_patron = row.patron.as_bytes() != wanted;
    let given = row.to.into_iter().filter_map(|(recipient, entry)| {
        let is_forgotten = entry.outcome == DeliveryOutcome::Forgotten.as_str();
        let is_about =
            !is_of_other_patron || entry.about.iter().any(|one| one.as_bytes() == wanted);
        let is_given = is_forgotten || entry.outcome == DeliveryOutcome::Released.as_str();
        let (topic, key) = entry.topic.zip(entry.key).filter(|_| is_given && is_about)?;
        let first_decided_ms = entry.first_ms.unwrap_or(row.first_ms);
        Some(GivenOutput {
            recipient,
            topic,
            key,
            first_decided_ms,
            is_forgotten,
            is_of_other_patron,
            is_told: row.told,
        })
    });
    Ok(given.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = r#"{"format":1,"patron":"AAAAAAAAAAAAAAAAAAAAAA","source":"loan","partition":3,"offset":17,"first_ms":1000,"to":{"a":{"outcome":"released","topic":"out.a","key":"K","facts":"0"},"b":{"outcome":"withheld","reason":"condition","facts":"0"},"c":{"outcome":"forgotten","topic":"out.c","key":"L","first_ms":7,"about":["AAAAAAAAAAAAAAAAAAAAAQ"]}}}"#;

    #[test]
    fn given_outputs_are_those_of_the_patron() {
        let found = parse_given_outputs(ROW.as_bytes(), PatronHash(0)).unwrap();
        let named: Vec<_> = found
            .iter()
            .map(|one| (&*one.recipient, &*one.topic, one.first_decided_ms, one.is_forgotten))
            .collect();
        assert_eq!(named, [("a", "out.a", 1000, false), ("c", "out.c", 7, true)]);
        let of_other = parse_given_outputs(ROW.as_bytes(), PatronHash(1)).unwrap();
        let named: Vec<_> =
            of_other.iter().map(|one| (&*one.recipient, one.is_of_other_patron)).collect();
        assert_eq!(named, [("c", true)]);
        assert!(parse_given_outputs(ROW.as_bytes(), PatronHash(2)).unwrap().is_empty());
        assert!(parse_given_outputs(b"{", PatronHash(0)).is_err());
    }
}
