//! The keys of the ledger: one for each UTC year, each made from the one before it.
//!
//! Whoever has the key of a year has those of all later years, and of none before. So a new
//! year needs nobody, and overwriting a year's key by the next one makes its references mean
//! nothing for ever. Never prints a key.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use highway::{HighwayHash, HighwayHasher, Key as HashKey};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use super::block::hex;
use crate::policy::pseudonym::HmacKey;

/// The message that makes the key of the next year.
const NEXT_YEAR: &[u8] = b"year";
/// Ends the id of a key that is the one of its year itself, made from that of the year before.
const DERIVED_SUFFIX: &str = "-derived";
/// How many years after that of the key file a key may be made for.
const YEARS_MAX: i16 = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerKeyError {
    #[error("its id is not `y` and the first year that it may be used for, as y2026")]
    NoYear,
    #[error("its secret is not that of a year")]
    Damaged,
}

/// The key of the first year that may still be read; makes those of later years.
#[derive(Clone)]
pub struct LedgerKeys {
    first_year: i16,
    secret: [u8; 32],
}

impl fmt::Debug for LedgerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LedgerKeys({}, ..)", self.first_year)
    }
}

/// Returns the id of a key that is the first one of a year.
#[must_use]
pub fn key_id_of_year(year: i16) -> String {
    format!("y{year}")
}

/// Returns the UTC year of a time in Unix seconds.
#[must_use]
pub fn utc_year(time: i64) -> i16 {
    let time = Timestamp::from_second(time).unwrap_or_default();
    time.to_zoned(TimeZone::UTC).year()
}

impl LedgerKeys {
    /// Takes the key of the ledger, whose id names its first year.
    ///
    /// # Errors
    ///
    /// [`LedgerKeyError`]
    pub fn new(key: &HmacKey) -> Result<LedgerKeys, LedgerKeyError> {
        let id = key.id().strip_suffix(DERIVED_SUFFIX);
        let year = id.unwrap_or(key.id()).strip_prefix('y').filter(|year| year.len() == 4);
        let first_year = year.and_then(|year| year.parse().ok()).ok_or(LedgerKeyError::NoYear)?;
        let secret = match id {
            Some(_) => key.expose_secret().try_into().map_err(|_| LedgerKeyError::Damaged)?,
            None => mac(key.expose_secret(), b"zeef ledger"),
        };
        Ok(LedgerKeys { first_year, secret })
    }

    /// Returns the key that makes those of `year` and later years, and of none before.
    ///
    /// # Errors
    ///
    /// [`LedgerKeyError::NoYear`] for a year before the first one.
    pub fn derive_key(&self, year: i16) -> Result<HmacKey, LedgerKeyError> {
        if year < self.first_year {
            return Err(LedgerKeyError::NoYear);
        }
        let id = format!("{}{DERIVED_SUFFIX}", key_id_of_year(year));
        let secret = self.secret_of_year(year).to_vec();
        HmacKey::from_secret(&id, secret).map_err(|_| LedgerKeyError::Damaged)
    }

    /// The first year whose lines can be read.
    #[must_use]
    pub fn first_year(&self) -> i16 {
        self.first_year
    }

    /// Returns the key of a year; that of the first year for any before it.
    #[must_use]
    pub fn of_year(&self, year: i16) -> YearKey {
        YearKey::new(year, &self.secret_of_year(year))
    }

    fn secret_of_year(&self, year: i16) -> [u8; 32] {
        let last = year.min(self.first_year.saturating_add(YEARS_MAX));
        let mut secret = self.secret;
        for _ in self.first_year..last {
            secret = mac(&secret, NEXT_YEAR);
        }
        secret
    }

    /// Returns the key of the year of a time in Unix seconds.
    #[must_use]
    pub fn at(&self, time: i64) -> YearKey {
        self.of_year(utc_year(time))
    }
}

/// The key of one year.
#[derive(Clone)]
pub struct YearKey {
    pub year: i16,
    patron: Hmac<Sha256>,
    outputs: [u64; 4],
    ids: [u64; 4],
    print: String,
}

impl fmt::Debug for YearKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "YearKey({}, ..)", self.year)
    }
}

/// What makes the ids of a line unique.
#[derive(Clone, Copy, Debug)]
pub struct LineNumber<'a> {
    pub chain: &'a str,
    /// The number of the transaction's mark.
    pub transaction: u64,
    /// Of the decision or of the line, within the transaction.
    pub number: u64,
}

impl YearKey {
    fn new(year: i16, secret: &[u8; 32]) -> YearKey {
        let words = |name: &[u8]| {
            let bytes = mac(secret, name);
            let mut words = [0; 4];
            for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
                *word = bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            }
            words
        };
        YearKey {
            year,
            patron: hmac_of(&mac(secret, b"patron")),
            outputs: words(b"output"),
            ids: words(b"id"),
            print: hex(&mac(secret, b"print")[..8]),
        }
    }

    /// What may be shown of the key: no other key has it.
    #[must_use]
    pub fn print(&self) -> &str {
        &self.print
    }

    /// Returns the reference of a patron, by the hash that the state has of its id: rows of the
    /// state name patrons by nothing else.
    #[must_use]
    pub fn patron_reference(&self, patron_hash: u128) -> String {
        let mut mac = self.patron.clone();
        mac.update(&patron_hash.to_be_bytes());
        URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..16])
    }

    /// Returns the hash of an output's topic, without any prefix, and key.
    #[must_use]
    pub fn output_hash(&self, topic: &str, key: &[u8]) -> String {
        let [high, low] = hash(&self.outputs, &[topic.as_bytes(), key]);
        let bits = (u128::from(high) << 64) | u128::from(low);
        URL_SAFE_NO_PAD.encode(bits.to_be_bytes())
    }

    /// Returns the id that the lines of one decision share.
    #[must_use]
    pub fn trace_id(&self, number: LineNumber<'_>) -> String {
        let [high, low] = self.hash_number(b"trace", number);
        format!("{high:016x}{low:016x}")
    }

    #[must_use]
    pub fn operation_id(&self, number: LineNumber<'_>) -> String {
        let [id, _] = self.hash_number(b"operation", number);
        format!("{id:016x}")
    }

    fn hash_number(&self, kind: &[u8], of: LineNumber<'_>) -> [u64; 2] {
        let numbers = [of.transaction.to_be_bytes(), of.number.to_be_bytes()];
        hash(&self.ids, &[kind, of.chain.as_bytes(), numbers.as_flattened()])
    }
}

/// HMAC-SHA-256 of a message.
fn mac(secret: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = hmac_of(secret);
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn hmac_of(secret: &[u8]) -> Hmac<Sha256> {
    const BLOCK_BYTES: usize = 64;
    let mut block = [0; BLOCK_BYTES];
    match block.get_mut(..secret.len()) {
        Some(start) => start.copy_from_slice(secret),
        None => block[..32].copy_from_slice(&Sha256::digest(secret)),
    }
    Hmac::new(&block.into())
}

/// A keyed hash of parts, each with its length.
fn hash(key: &[u64; 4], parts: &[&[u8]]) -> [u64; 2] {
    let mut hasher = HighwayHasher::new(HashKey(*key));
    for part in parts {
        hasher.append(&(part.len() as u64).to_le_bytes());
        hasher.append(part);
    }
    hasher.finalize128()
}

/// Returns the bits of a reference or a hash as lines have it; `None` for anything else.
#[must_use]
pub fn parse_hash(text: &str) -> Option<u128> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    Some(u128::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(line: &str) -> Result<LedgerKeys, LedgerKeyError> {
        LedgerKeys::new(&HmacKey::parse(line).unwrap())
    }

    const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    #[test]
    fn key_of_a_year_makes_those_of_later_years_only() {
        let keys = keys(&format!("y2026:{SECRET}")).unwrap();
        let of = |year: i16| keys.of_year(year).patron_reference(7);
        let all: std::collections::BTreeSet<String> = (2026..2030).map(of).collect();
        assert_eq!(all.len(), 4);
        assert_eq!(of(2025), of(2026));
        assert_eq!(keys.at(1_798_761_599).year, 2026);
        assert_eq!(keys.at(1_798_761_600).year, 2027);
        // Its own key is made from that of the year before.
        let next = LedgerKeys { first_year: 2027, secret: mac(&keys.secret, b"year") };
        assert_eq!(next.of_year(2029).patron_reference(7), of(2029));
        assert_ne!(next.of_year(2026).patron_reference(7), of(2026));
        // As the file has it once the years before are forgotten.
        let line = keys.derive_key(2028).unwrap().to_line();
        let kept = super::tests::keys(line.expose_text().unwrap()).unwrap();
        assert_eq!((kept.first_year(), kept.of_year(2029).patron_reference(7)), (2028, of(2029)));
        assert_ne!(kept.of_year(2027).patron_reference(7), of(2027));
        assert_eq!(keys.derive_key(2025).unwrap_err(), LedgerKeyError::NoYear);
    }

    #[test]
    fn key_without_a_year_is_refused() {
        for id in ["2026", "y26", "key-1", "yabcd"] {
            assert_eq!(keys(&format!("{id}:{SECRET}")).unwrap_err(), LedgerKeyError::NoYear);
        }
    }

    #[test]
    fn ids_differ_by_chain_transaction_and_number() {
        let key = keys(&format!("y2026:{SECRET}")).unwrap().of_year(2026);
        let mut seen = std::collections::BTreeSet::new();
        for chain in ["a/0/1", "a/1/1"] {
            for transaction in 0..3 {
                for number in 0..3 {
                    let number = LineNumber { chain, transaction, number };
                    assert!(seen.insert(key.operation_id(number)));
                    assert!(seen.insert(key.trace_id(number)));
                }
            }
        }
        assert_ne!(key.output_hash("ab", b"c"), key.output_hash("a", b"bc"));
    }
}
