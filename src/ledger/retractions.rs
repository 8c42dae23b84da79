//! Which retractions a recipient was asked to acknowledge, and has not yet.
//!
//! The ledger says which retractions there are, and acknowledgements which of them the recipient
//! has carried out. Both come from outside; nothing here decides about an output.

use std::collections::{BTreeMap, HashMap};

use super::Operation;
use super::block::{Block, Line};
use super::confidential::ConfidentialRecipients;
use super::keys::{LedgerKeys, YearKey, parse_hash, utc_year};
use super::register::recipient_of_activity;
use crate::policy::Policy;
use crate::policy::acknowledgement::AcknowledgementRule;
use crate::policy::former_recipient::recipient_of_state_name;
use crate::policy::reason::Reason;
use crate::policy::recipient::Recipient;
use crate::policy::retraction::{RetractionReason, retraction_id};
use crate::policy::term::DAY_MS;

/// How many hexadecimal digits an id has.
const ID_DIGITS: usize = 32;
const DAY_SECONDS: i64 = DAY_MS / 1_000;

/// What a recipient acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged<'a> {
    /// One retraction, by its id.
    Id(&'a str),
    /// All of the key until a time in Unix seconds.
    Until(i64),
}

impl<'a> Acknowledged<'a> {
    /// Reads a message on Kafka: the id is its header or else its value, as text or as a JSON
    /// string.
    #[must_use]
    pub fn from_message(header: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Option<Self> {
        let text = std::str::from_utf8(header.or(value)?).ok()?.trim();
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let id = inner.unwrap_or(text);
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (id.len() == ID_DIGITS && id.bytes().all(is_digit)).then_some(Acknowledged::Id(id))
    }

    /// Reads the value of a line in a directory: a JSON string with the time at which the recipient
    /// read its file, in RFC 3339. A time after `now`, in Unix seconds, is none.
    #[must_use]
    pub fn from_line(value: &[u8], now: i64) -> Option<Acknowledged<'static>> {
        let text: &str = serde_json::from_slice(value).ok()?;
        let time = text.parse::<jiff::Timestamp>().ok()?.as_second();
        (time <= now).then_some(Acknowledged::Until(time))
    }
}

/// A retraction that is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenRetraction {
    /// When it was decided, in Unix seconds.
    pub time: i64,
    /// Why, as the recipient was told.
    pub reason: RetractionReason,
}

/// A recipient that acknowledges, and what of it is open.
#[derive(Clone, Debug)]
pub struct AskedRecipient {
    pub rule: AcknowledgementRule,
    /// On which it has, or had, outputs, without prefix.
    pub topics: Vec<String>,
    /// Its messages tell the day only.
    is_pseudonymised: bool,
    /// How many retractions it was asked to acknowledge so far.
    pub asked: u64,
    /// By the output's hash under the key of the year.
    open: HashMap<u128, Vec<OpenRetraction>>,
}

impl AskedRecipient {
    /// `None` for a recipient that does not acknowledge.
    fn of(recipient: &Recipient, policy: &Policy) -> Option<AskedRecipient> {
        let own = recipient.topics.names().map(str::to_owned);
        let former = policy.former_recipients.iter();
        let former = former.filter(|former| former.recipient == recipient.name);
        Some(AskedRecipient {
            rule: recipient.acknowledgement.clone()?,
            topics: own.chain(former.flat_map(|former| former.topics.clone())).collect(),
            is_pseudonymised: recipient.is_pseudonymised,
            asked: 0,
            open: HashMap::new(),
        })
    }

    /// When a retraction has to be acknowledged; both in Unix seconds.
    #[must_use]
    pub fn due(&self, time: i64) -> i64 {
        self.rule.within.end_from_ms(time.saturating_mul(1_000)).div_euclid(1_000)
    }

    /// The retractions that are not acknowledged, by the hashes of their outputs.
    pub fn open(&self) -> impl Iterator<Item = (u128, OpenRetraction)> {
        self.open.iter().flat_map(|(hash, all)| all.iter().map(|one| (*hash, *one)))
    }

    /// How many are open at a time in Unix seconds.
    #[must_use]
    pub fn count_open(&self, now: i64) -> OpenCounts {
        let mut counts = OpenCounts::default();
        for (_, one) in self.open() {
            counts.open += 1;
            counts.overdue += u64::from(self.due(one.time) <= now);
            counts.oldest = Some(counts.oldest.map_or(one.time, |oldest| oldest.min(one.time)));
        }
        counts
    }

    fn add(&mut self, hash: u128, retraction: OpenRetraction) {
        if retraction.time.saturating_mul(1_000) < self.rule.since.to_unix_ms() {
            return;
        }
        self.asked += 1;
        self.open.entry(hash).or_default().push(retraction);
    }

    /// Whether an acknowledgement of `key`, an output key of `topic`, is of this retraction.
    fn is_meant(
        &self,
        (topic, key): (&str, &[u8]),
        retraction: OpenRetraction,
        what: Acknowledged<'_>,
    ) -> bool {
        match what {
            Acknowledged::Until(time) => retraction.time <= time,
            Acknowledged::Id(id) => {
                let told = match self.is_pseudonymised {
                    true => retraction.time - retraction.time.rem_euclid(DAY_SECONDS),
                    false => retraction.time,
                };
                retraction_id(topic, key, told) == id
            }
        }
    }
}

/// How many retractions are not acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenCounts {
    pub open: u64,
    /// Of those, how many are so for longer than their term.
    pub overdue: u64,
    /// The time of the oldest one, in Unix seconds.
    pub oldest: Option<i64>,
}

/// Follows the retractions of recipients that acknowledge.
#[derive(Clone, Debug)]
pub struct RetractionTracker {
    keys: LedgerKeys,
    /// Of the years that blocks were of.
    years: BTreeMap<i16, YearKey>,
    /// By name.
    recipients: BTreeMap<String, AskedRecipient>,
    /// The hash that the state has of the only patron to follow.
    only_patron: Option<u128>,
    /// Lines of these are not followed.
    left_out: ConfidentialRecipients,
}

impl RetractionTracker {
    /// Follows the enabled recipients of a policy that acknowledge; `None` without any.
    #[must_use]
    pub fn of_policy(policy: &Policy, keys: LedgerKeys) -> Option<RetractionTracker> {
        let named = policy
            .recipients
            .iter()
            .filter_map(|one| Some((one.name.clone(), AskedRecipient::of(one, policy)?)));
        let recipients: BTreeMap<_, _> = named.collect();
        let left_out = ConfidentialRecipients::default();
        let years = BTreeMap::new();
        let tracker = RetractionTracker { keys, years, recipients, only_patron: None, left_out };
        (!tracker.recipients.is_empty()).then_some(tracker)
    }

    /// Follows one patron's retractions only, by the hash that the state has of the id.
    #[must_use]
    pub fn with_only_patron(self, patron_hash: u128) -> RetractionTracker {
        RetractionTracker { only_patron: Some(patron_hash), ..self }
    }

    /// Follows nothing that patrons are not told of. `None` if nobody is left.
    #[must_use]
    pub fn without(mut self, left_out: &ConfidentialRecipients) -> Option<RetractionTracker> {
        self.recipients.retain(|name, _| !left_out.has(name));
        self.left_out = left_out.clone();
        (!self.recipients.is_empty()).then_some(self)
    }

    /// The recipients that acknowledge, by name.
    #[must_use]
    pub fn recipients(&self) -> &BTreeMap<String, AskedRecipient> {
        &self.recipients
    }

    /// Forgets all retractions that were added.
    pub fn clear(&mut self) {
        for asked in self.recipients.values_mut() {
            asked.asked = 0;
            asked.open.clear();
        }
    }

    /// The first day, in Unix milliseconds, of whose retractions some recipient acknowledges.
    #[must_use]
    pub fn since_ms(&self) -> i64 {
        let all = self.recipients.values().map(|asked| asked.rule.since.to_unix_ms());
        all.min().unwrap_or(i64::MAX)
    }

    /// Adds the retractions of a block.
    pub fn add_block(&mut self, block: &Block<'_>) {
        let year = utc_year(block.time);
        let keys = &self.keys;
        let key = self.years.entry(year).or_insert_with(|| keys.of_year(year));
        let patron = self.only_patron.map(|hash| key.patron_reference(hash));
        for line in &block.lines {
            let is_of_other = patron.is_some() && line.patron.as_deref() != patron.as_deref();
            // A line about another person is of an output that has its own.
            if is_of_other || line.parent.is_some() {
                continue;
            }
            // Outputs on a former topic are those of another name, behind its own.
            let activity = block.activity_of(line);
            let name = recipient_of_state_name(recipient_of_activity(activity));
            let Some(asked) = self.recipients.get_mut(name) else {
                continue;
            };
            let hash = line.key.as_deref().and_then(parse_hash);
            if self.left_out.has_activity(activity) {
                // Nor is anything told of what was taken back before.
                hash.map(|hash| asked.open.remove(&hash));
                continue;
            }
            if line.operation != Operation::Retract {
                continue;
            }
            let reason = told_reason(line).told_to(asked.is_pseudonymised);
            if let Some(hash) = hash {
                asked.add(hash, OpenRetraction { time: block.time, reason });
            }
        }
    }

    /// Takes an acknowledgement of `key`. Returns how many retractions it closes: none if it was
    /// given before, or is of no retraction of the recipient.
    pub fn acknowledge(&mut self, recipient: &str, key: &[u8], what: Acknowledged<'_>) -> usize {
        let mut closed = 0;
        for (hash, retraction) in self.find_open(recipient, key, what) {
            let Some(asked) = self.recipients.get_mut(recipient) else {
                break;
            };
            if let Some(open) = asked.open.get_mut(&hash) {
                let before = open.len();
                open.retain(|one| *one != retraction);
                closed += before - open.len();
                if open.is_empty() {
                    asked.open.remove(&hash);
                }
            }
        }
        closed
    }

    /// Finds the open retractions that an acknowledgement of `key` would be of.
    #[must_use]
    pub fn find_open(
        &self,
        recipient: &str,
        key: &[u8],
        what: Acknowledged<'_>,
    ) -> Vec<(u128, OpenRetraction)> {
        let Some(asked) = self.recipients.get(recipient) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for topic in &asked.topics {
            for year in self.years.values() {
                let hash = parse_hash(&year.output_hash(topic, key)).unwrap_or_default();
                let open = asked.open.get(&hash).into_iter().flatten();
                let meant = open.filter(|one| asked.is_meant((topic, key), **one, what));
                found.extend(meant.map(|one| (hash, *one)));
            }
        }
        found
    }
}

/// What a recipient was told of the reason of a line.
fn told_reason(line: &Line<'_>) -> RetractionReason {
    let reason = line.reason.as_deref().and_then(Reason::from_name);
    reason.map_or(RetractionReason::Ended, RetractionReason::of)
}

#[cfg(test)]
mod tests;
