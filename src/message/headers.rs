//! The headers of outputs.

use crate::policy::retraction::{RetractionReason, retraction_id};

pub const CONTENT_TYPE: &str = "content-type";
pub const POLICY_VERSION: &str = "zeef-policy-version";
/// The version of the contract that an output was written under.
pub const CONTRACT_VERSION: &str = "zeef-contract-version";

/// The id of a value's schema, as newer serialisers for schema registries write it.
pub const SCHEMA_ID: &str = "__value_schema_id";

// Of retractions alone.
/// One of the words of `RetractionReason`.
pub const RETRACTION_REASON: &str = "zeef-retraction-reason";
/// RFC 3339 in UTC, to the second; for a pseudonymised recipient to the day.
pub const RETRACTION_TIME: &str = "zeef-retraction-time";
/// 32 hexadecimal digits.
pub const RETRACTION_ID: &str = "zeef-retraction-id";

/// Returns names and values of the headers of a retraction: of a topic without prefix and a key, at
/// the time of its message in milliseconds since 1970.
#[must_use]
pub fn retraction_headers(
    reason: RetractionReason,
    (topic, key): (&str, &[u8]),
    time_ms: i64,
) -> [(&'static str, String); 3] {
    let seconds = time_ms.div_euclid(1000);
    // Years that no date has are never those of a batch.
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    [
        (RETRACTION_REASON, reason.as_str().to_owned()),
        (RETRACTION_TIME, time.to_string()),
        (RETRACTION_ID, retraction_id(topic, key, seconds)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retraction_headers_are_of_reason_key_and_time_alone() {
        let headers =
            retraction_headers(RetractionReason::Erase, ("out.a", b"k"), 1_767_225_600_250);
        let [reason, time, (id_name, id)] = &headers;
        assert_eq!(*reason, ("zeef-retraction-reason", "erase".to_owned()));
        assert_eq!(*time, ("zeef-retraction-time", "2026-01-01T00:00:00Z".to_owned()));
        assert_eq!((*id_name, id.len()), ("zeef-retraction-id", 32));
        let again = retraction_headers(RetractionReason::Erase, ("out.a", b"k"), 1_767_225_600_250);
        assert_eq!(headers, again);
    }
}
