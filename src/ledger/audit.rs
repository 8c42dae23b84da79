//! The audit: who gave a command that changes something, looked a patron up, or exported.
//!
//! Its lines are one chain in the form of the ledger's: each names the digest of the one before
//! it. An operator is a role or a pseudonym; a patron is named by its reference of the year, as
//! in the ledger.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::block::{ChainName, FORMAT, NO_PREVIOUS, digest_hex};
use super::keys::LedgerKeys;

/// The topic of the audit, without any prefix; also the first part of its chain's name.
pub const AUDIT_TOPIC: &str = "zeef.audit";
/// The most characters of what a line is about.
const SUBJECT_MAX_CHARS: usize = 400;

/// What was done once by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditLine<'a> {
    pub format: u32,
    /// `zeef.audit/0/BORN`, see [`ChainName`].
    #[serde(borrow)]
    pub chain: Cow<'a, str>,
    /// Counts the lines of the chain, from 1.
    pub sequence: u64,
    /// SHA-256 of the exact bytes of the line before it in lower-case hex, or [`NO_PREVIOUS`].
    #[serde(borrow)]
    pub previous: Cow<'a, str>,
    /// In Unix seconds; never before that of the line before it.
    pub time: i64,
    #[serde(borrow)]
    pub operator: Cow<'a, str>,
    /// The words of the command.
    #[serde(borrow)]
    pub action: Cow<'a, str>,
    /// What it is about: a recipient, a lane, a year, a code.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Cow<'a, str>>,
    /// The patron who was looked up, under the key of the year.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub patron: Option<Cow<'a, str>>,
}

/// What an operator is about to do.
#[derive(Clone, Debug)]
pub struct AuditEntry<'a> {
    pub operator: &'a str,
    /// The words of the command.
    pub action: &'a str,
    pub subject: Option<&'a str>,
    /// The hash that the state has of a patron's id, and the keys that make its reference.
    pub patron: Option<(u128, &'a LedgerKeys)>,
}

/// Makes the line that follows `last`, the exact bytes of the newest one. A last line that is not
/// as zeef wrote it is followed by another chain, which verifiers name.
#[must_use]
pub fn make_audit_line(last: Option<&[u8]>, entry: &AuditEntry<'_>, now: i64) -> Vec<u8> {
    let before = last.and_then(|bytes| serde_json::from_slice::<AuditLine<'_>>(bytes).ok());
    let time = before.as_ref().map_or(now, |before| before.time.max(now));
    let chain = match &before {
        Some(before) => before.chain.to_string(),
        None => ChainName { lane: AUDIT_TOPIC.to_owned(), partition: 0, born: time }.to_string(),
    };
    let reference = |(hash, keys): (u128, &LedgerKeys)| keys.at(time).patron_reference(hash);
    let subject = entry.subject.map(|text| text.chars().take(SUBJECT_MAX_CHARS).collect());
    let line = AuditLine {
        format: FORMAT,
        chain: Cow::Owned(chain),
        sequence: before.as_ref().map_or(1, |before| before.sequence.saturating_add(1)),
        previous: last.map_or(Cow::Borrowed(NO_PREVIOUS), |last| Cow::Owned(digest_hex(last))),
        time,
        operator: Cow::Borrowed(entry.operator),
        action: Cow::Borrowed(entry.action),
        subject: subject.map(Cow::Owned),
        patron: entry.patron.map(reference).map(Cow::Owned),
    };
    // Texts and numbers always serialize.
    serde_json::to_vec(&line).unwrap_or_default()
}

/// Whether a chain is that of the audit.
#[must_use]
pub fn is_audit_chain(name: &str) -> bool {
    ChainName::parse(name).is_some_and(|name| name.lane == AUDIT_TOPIC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::pseudonym::HmacKey;

    const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    /// 2026-12-31T23:59:59Z.
    const LAST_SECOND: i64 = 1_798_761_599;

    fn entry<'a>(patron: Option<(u128, &'a LedgerKeys)>) -> AuditEntry<'a> {
        AuditEntry { operator: "privacy-desk", action: "ledger patron", subject: None, patron }
    }

    #[test]
    fn audit_lines_are_chained_and_time_never_goes_back() {
        let keys = LedgerKeys::new(&HmacKey::parse(&format!("y2026:{SECRET}")).unwrap()).unwrap();
        let first = make_audit_line(None, &entry(Some((7, &keys))), LAST_SECOND + 1);
        let second = make_audit_line(Some(&first), &entry(Some((7, &keys))), LAST_SECOND - 50);
        let [one, two]: [AuditLine<'_>; 2] =
            [&first, &second].map(|bytes| serde_json::from_slice(bytes).unwrap());
        assert_eq!((one.sequence, two.sequence), (1, 2));
        assert_eq!((&*one.previous, &*two.previous), (NO_PREVIOUS, &*digest_hex(&first)));
        assert_eq!((one.chain.clone(), two.time), (two.chain.clone(), one.time));
        assert!(is_audit_chain(&one.chain), "{}", one.chain);
        // The reference is that of the year that the line names.
        let of_year = |year: i16| keys.of_year(year).patron_reference(7);
        assert_eq!(two.patron.as_deref(), Some(&*of_year(2027)));
        assert_ne!(of_year(2026), of_year(2027));
        let broken = make_audit_line(Some(b"{}"), &entry(None), 5);
        let broken: AuditLine<'_> = serde_json::from_slice(&broken).unwrap();
        assert_eq!((broken.sequence, &*broken.previous), (1, &*digest_hex(b"{}")));
    }
}
