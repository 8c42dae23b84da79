//! Versions of records: which of two messages of a record is the newer one, by what `newer_by`
//! of a mapping names.
//!
//! A version is a list of whole numbers and instants, compared in order; nothing else of a
//! message is in it. Of a binary log's name it has the number.

use jiff::Timestamp;
use serde_json::Value;

use super::conversion::parse_timestamp;
use super::path::Scalar;

/// A part of a version. Numbers come before instants, so that any two parts compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum VersionPart {
    Number(i64),
    Instant(Timestamp),
}

/// A version of a record. A greater one is newer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(Box<[VersionPart]>);

impl Version {
    /// Makes a version of the values of `newer_by`; `None` if one of them is neither a whole
    /// number, nor an instant with its offset, nor the name of a binary log.
    pub(super) fn from_scalars(values: &[Scalar<'_>]) -> Option<Version> {
        values.iter().map(VersionPart::from_scalar).collect::<Option<Box<[_]>>>().map(Version)
    }

    /// As [`to_json`](Self::to_json) writes it; `None` if it is no version.
    pub(super) fn from_json(values: &[Value]) -> Option<Version> {
        let parse = |value: &Value| match value {
            Value::Number(number) => number.as_i64().map(VersionPart::Number),
            Value::String(text) => text.parse().ok().map(VersionPart::Instant),
            _ => None,
        };
        values.iter().map(parse).collect::<Option<Box<[_]>>>().map(Version)
    }

    /// A list of numbers and RFC 3339 instants.
    pub(super) fn to_json(&self) -> Vec<Value> {
        let parts = self.0.iter();
        parts
            .map(|part| match part {
                VersionPart::Number(number) => Value::from(*number),
                VersionPart::Instant(instant) => Value::from(instant.to_string()),
            })
            .collect()
    }

    /// The memory of its parts, in bytes.
    pub(super) fn byte_len(&self) -> usize {
        size_of_val(&*self.0)
    }
}

impl VersionPart {
    fn from_scalar(value: &Scalar<'_>) -> Option<VersionPart> {
        match value {
            Scalar::Boolean(_) => None,
            Scalar::Number(text) => text.parse().ok().map(VersionPart::Number),
            Scalar::Text(text) => match text.parse() {
                Ok(number) => Some(VersionPart::Number(number)),
                Err(_) => match binary_log_number(text) {
                    Some(number) => Some(VersionPart::Number(number)),
                    None => parse_timestamp(value).map(VersionPart::Instant),
                },
            },
        }
    }
}

/// The number of a binary log by its name, as `mariadb-bin.000010`: it has six digits or more, so
/// that names do not compare as texts.
fn binary_log_number(text: &str) -> Option<i64> {
    let (name, number) = text.rsplit_once('.')?;
    let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic());
    let is_number = number.len() >= 6 && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_name && is_number).then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(values: &[&str]) -> Option<Version> {
        let scalars: Vec<Scalar<'_>> = values.iter().map(|text| Scalar::text(*text)).collect();
        Version::from_scalars(&scalars)
    }

    #[test]
    fn version_is_of_whole_numbers_and_instants_alone() {
        for usable in ["0", "-7", "1795514712300", "2026-11-20T09:00:01.196+00:00"] {
            assert!(version(&[usable]).is_some(), "{usable}");
        }
        for other in ["", "1.5", "1e3", "9223372036854775808", "x", "2026-11-20", "1.500000"] {
            assert_eq!(version(&[other]), None, "{other}");
            assert_eq!(version(&["1", other]), None, "{other}");
        }
        assert_eq!(version(&["2026-11-20T09:00:01"]), None, "without an offset nobody knows when");
        assert_eq!(Version::from_scalars(&[Scalar::Boolean(true)]), None);
        assert_eq!(Version::from_scalars(&[Scalar::Number("7".into())]), version(&["7"]));
    }

    #[test]
    fn version_compares_its_parts_in_order_and_instants_by_time() {
        let rising = [
            version(&["9", "10"]),
            version(&["10", "2"]),
            version(&["10", "11"]),
            version(&["2026-11-20T10:00:00+01:00", "0"]),
            version(&["2026-11-20T09:00:00.000001Z", "0"]),
            version(&["2026-11-20T09:00:01+0000", "0"]),
        ];
        assert!(rising.iter().all(Option::is_some));
        assert!(rising.is_sorted_by(|older, newer| older < newer), "{rising:?}");
    }

    /// A log that is full is followed by the next one, in which positions begin anew.
    #[test]
    fn version_of_a_binary_log_is_its_number_before_the_position() {
        let rising = [
            version(&["mariadb-bin.000009", "98713"]),
            version(&["mariadb-bin.000010", "4"]),
            version(&["mariadb-bin.000010", "342"]),
            version(&["mariadb-bin.999999", "342"]),
            version(&["mariadb-bin.1000000", "4"]),
        ];
        assert!(rising.iter().all(Option::is_some));
        assert!(rising.is_sorted_by(|older, newer| older < newer), "{rising:?}");
        assert_eq!(version(&["mysql.bin.000010"]), version(&["10"]));
        for other in ["mariadb-bin", "mariadb-bin.00010", "mariadb-bin.00001x", ".000010"] {
            assert_eq!(version(&[other]), None, "{other}");
        }
        let too_large = format!("mariadb-bin.{}", "9".repeat(20));
        assert_eq!(version(&[&too_large]), None);
    }

    #[test]
    fn version_is_read_as_it_was_written() {
        for values in [["1", "2026-11-20T09:00:01.196+02:00"], ["-1", "7"]] {
            let version = version(&values).unwrap();
            assert_eq!(Version::from_json(&version.to_json()), Some(version));
        }
        assert_eq!(Version::from_json(&[Value::Null]), None);
        assert_eq!(Version::from_json(&[Value::from(1.5)]), None);
    }
}
