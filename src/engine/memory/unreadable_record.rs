//! Finds the patrons that an unreadable consent or objection names.
//!
//! The record is searched for anything that names a patron, so that no refusal is lost
//! because of how it is written.

use crate::json::members;
use crate::message::Coordinates;

/// A consent or an objection that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableRecord {
    pub coordinates: Coordinates,
    /// The patrons that its key or its value names. Personal data: use it only for topics that are
    /// keyed by patron.
    pub patron_ids: Vec<String>,
    /// Why the lane stops if one of them is of another partition.
    pub stop_message: String,
}

/// Returns the patrons that a record names by its key or anywhere in its value.
#[must_use]
pub fn named_patron_ids(key: Option<&[u8]>, bytes: &[u8]) -> Vec<String> {
    let mut patrons = Vec::new();
    for patron in key.into_iter().flat_map(patron_ids_in_key).chain(patron_ids_in_bytes(bytes)) {
        if !patron.is_empty() && !patrons.contains(&patron) {
            patrons.push(patron);
        }
    }
    patrons
}

/// The patron that a key names: its text, without the quotes of a JSON string. `None` for any other
/// JSON value, and for bytes that are not text.
fn patron_ids_in_key(key: &[u8]) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(key) else {
        return Vec::new();
    };
    let inner = text.trim();
    if inner.is_empty() || inner == "null" || inner.starts_with(['{', '[', '\0']) {
        return Vec::new();
    }
    let unquoted: Option<String> = serde_json::from_str(inner).ok();
    match unquoted {
        Some(unquoted) => vec![text.to_owned(), unquoted],
        None => vec![text.to_owned()],
    }
}

/// The strings after a member `patron_id`, whatever surrounds it. Ignores zero bytes, so that it
/// finds ASCII ids in UTF-16, too.
fn patron_ids_in_bytes(bytes: &[u8]) -> Vec<String> {
    const PATRON_ID_MEMBER: &[u8] = b"\"patron_id\"";
    let plain: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
    let mut patrons = Vec::new();
    for at in memchr::memmem::find_iter(&plain, PATRON_ID_MEMBER) {
        let rest = plain.get(at + PATRON_ID_MEMBER.len()..).unwrap_or_default();
        let value = members::strip_token(rest, b":").and_then(members::split_leading_string);
        patrons.extend(value.map(|(patron, _)| patron));
    }
    patrons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_patron_ids(key: Option<&[u8]>, bytes: &[u8], want: &[&str]) {
        assert_eq!(named_patron_ids(key, bytes), want);
    }

    #[test]
    fn unreadable_record_names_patrons_by_key_and_value() {
        let value = br#"{"x":1,"patron_id" : "p2","purpose":"#;
        assert_patron_ids(Some(b"p1"), value, &["p1", "p2"]);
        assert_patron_ids(Some(b"p2"), value, &["p2"]);
        assert_patron_ids(None, value, &["p2"]);
        assert_patron_ids(Some(b""), value, &["p2"]);
        assert_patron_ids(Some(b"\"p2\""), b"", &["\"p2\"", "p2"]);
        assert_patron_ids(Some(br#"{"borrowernumber":42}"#), b"{}", &[]);
        assert_patron_ids(Some(b"\x00\x00\x00\x00\x01p"), b"{}", &[]);
        assert_patron_ids(Some(b"\xff"), b"nothing", &[]);
        assert_patron_ids(Some(b"null"), b"{", &[]);
        assert_patron_ids(None, br#"{"patron_id":42}"#, &[]);
        assert_patron_ids(None, br#"{"patron_id":"p3""#, &["p3"]);
        assert_patron_ids(None, br#"{"patron_id":"p3"#, &[]);
    }

    #[test]
    fn unreadable_record_names_every_patron_on_its_line() {
        let two = br#"{"patron_id":"p1"} {"patron_id":"p\u0032","patron_id":"p3"}"#;
        assert_patron_ids(None, two, &["p1", "p2", "p3"]);
        let wide: Vec<u8> =
            "{\"patron_id\":\"p1\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_patron_ids(None, &wide, &["p1"]);
        assert_patron_ids(None, b"\xef\xbb\xbf{\"patron_id\":\"p1\"}\xff", &["p1"]);
    }
}
