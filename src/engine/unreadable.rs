//! Whom a record names that cannot be read.
//!
//! Such a record is looked through for whatever names a patron: what it says of
//! one must not be lost because it says it wrongly. Only consents and objections
//! are, and only those that cannot be read.

use crate::json::members;
use crate::policy::gate::Scope;
use crate::transport::Coordinates;

/// A consent or an objection that was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableRecord {
    pub place: Coordinates,
    /// What it may be about.
    pub scope: Scope,
    /// Whom it names, by its key or by its value. Personal: for nothing but the
    /// topics that are kept by patron.
    pub patrons: Vec<String>,
}

/// The patrons that a record names by its key or anywhere in its bytes.
#[must_use]
pub fn named_patrons(key: Option<&[u8]>, bytes: &[u8]) -> Vec<String> {
    let mut patrons = Vec::new();
    for patron in key.into_iter().flat_map(of_key).chain(of_bytes(bytes)) {
        if !patron.is_empty() && !patrons.contains(&patron) {
            patrons.push(patron);
        }
    }
    patrons
}

/// The patron that a key names: its text, and without the quotes of a JSON
/// string. A JSON object, a list, null and what is no text name nobody.
fn of_key(key: &[u8]) -> Vec<String> {
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

/// The strings that follow a member `patron_id`, in whatever stands around it.
/// Bytes of zero are passed over: so a text in UTF-16 is read, as far as ids are
/// plain.
fn of_bytes(bytes: &[u8]) -> Vec<String> {
    const NAME: &[u8] = b"\"patron_id\"";
    let plain: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
    let mut patrons = Vec::new();
    for at in memchr::memmem::find_iter(&plain, NAME) {
        let rest = plain.get(at + NAME.len()..).unwrap_or_default();
        let value = members::after(rest, b":").and_then(members::leading_string);
        patrons.extend(value.map(|(patron, _)| patron));
    }
    patrons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: Option<&[u8]>, bytes: &[u8], want: &[&str]) {
        assert_eq!(named_patrons(key, bytes), want);
    }

    #[test]
    fn a_patron_is_named_by_key_or_by_value() {
        let value = br#"{"x":1,"patron_id" : "p2","purpose":"#;
        check(Some(b"p1"), value, &["p1", "p2"]);
        check(Some(b"p2"), value, &["p2"]);
        check(None, value, &["p2"]);
        check(Some(b""), value, &["p2"]);
        check(Some(b"\"p2\""), b"", &["\"p2\"", "p2"]);
        check(Some(br#"{"borrowernumber":42}"#), b"{}", &[]);
        check(Some(b"\x00\x00\x00\x00\x01p"), b"{}", &[]);
        check(Some(b"\xff"), b"nothing", &[]);
        check(Some(b"null"), b"{", &[]);
        check(None, br#"{"patron_id":42}"#, &[]);
        check(None, br#"{"patron_id":"p3""#, &["p3"]);
        check(None, br#"{"patron_id":"p3"#, &[]);
    }

    #[test]
    fn all_that_stand_on_one_line_are_named() {
        let two = br#"{"patron_id":"p1"} {"patron_id":"p\u0032","patron_id":"p3"}"#;
        check(None, two, &["p1", "p2", "p3"]);
        let wide: Vec<u8> = "{\"patron_id\":\"p1\"}"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        check(None, &wide, &["p1"]);
        check(None, b"\xef\xbb\xbf{\"patron_id\":\"p1\"}\xff", &["p1"]);
    }
}
