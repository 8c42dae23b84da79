//! Brings together the retractions that the ledger has and what recipients acknowledge of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::bail;

use super::clock::now_ms;
use crate::ledger::LEDGER_TOPIC;
use crate::ledger::block::Block;
use crate::ledger::retractions::{Acknowledged, RetractionTracker};
use crate::transport::directory::{LedgerPart, read_acknowledgement_lines, read_ledger};
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::followed_topic::{FollowedMessage, FollowedTopic};

/// How often an acknowledgement is tried again for which there is no retraction: an open
/// transaction of another lane may hide the block that has it.
const ATTEMPTS_MAX: u32 = 20;

/// Where ledger and acknowledgements lie.
#[derive(Clone, Debug)]
pub enum FollowedData {
    Kafka(KafkaSettings),
    Directory(PathBuf),
}

/// What became of a recipient's acknowledgements so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcknowledgementCounts {
    pub accepted: u64,
    /// Of no open retraction: given before, or of none that there ever was.
    pub unmatched: u64,
    /// Without key, or without an id or a time.
    pub damaged: u64,
    /// Where the last damaged one lies.
    pub last_damaged: Option<String>,
}

/// Follows retractions and acknowledgements.
#[derive(Debug)]
pub struct RetractionFollower {
    data: FollowedData,
    tracker: RetractionTracker,
    /// On Kafka; in a directory all is read each time.
    ledger: FollowedTopic,
    /// On Kafka, by recipient.
    acknowledgements: BTreeMap<String, FollowedTopic>,
    inbox: AcknowledgementInbox,
}

/// What was acknowledged.
#[derive(Debug, Default)]
struct AcknowledgementInbox {
    /// By recipient.
    counts: BTreeMap<String, AcknowledgementCounts>,
    waiting: Vec<WaitingAcknowledgement>,
}

/// An acknowledgement for which there is no open retraction yet.
#[derive(Debug)]
struct WaitingAcknowledgement {
    recipient: String,
    key: Vec<u8>,
    id: String,
    attempts: u32,
}

impl RetractionFollower {
    #[must_use]
    pub fn new(data: FollowedData, tracker: RetractionTracker) -> RetractionFollower {
        let recipients = tracker.recipients().iter();
        let topics = recipients
            .map(|(name, asked)| (name.clone(), FollowedTopic::new(&asked.rule.topic)))
            .collect();
        RetractionFollower {
            data,
            ledger: FollowedTopic::from_time(LEDGER_TOPIC, tracker.since_ms()),
            tracker,
            acknowledgements: topics,
            inbox: AcknowledgementInbox::default(),
        }
    }

    #[must_use]
    pub fn tracker(&self) -> &RetractionTracker {
        &self.tracker
    }

    /// Adds a block that the caller read.
    pub fn add_block(&mut self, block: &Block<'_>) {
        self.tracker.add_block(block);
    }

    /// Returns what became of the acknowledgements of a recipient so far.
    #[must_use]
    pub fn counts(&self, recipient: &str) -> AcknowledgementCounts {
        self.inbox.counts.get(recipient).cloned().unwrap_or_default()
    }

    /// Reads what was added to the ledger and by recipients.
    ///
    /// # Errors
    ///
    /// Something cannot be read; the next call goes on behind what could be.
    pub fn update(&mut self) -> anyhow::Result<()> {
        if let FollowedData::Directory(_) = self.data {
            self.tracker.clear();
            self.inbox = AcknowledgementInbox::default();
        }
        let tracker = &mut self.tracker;
        // A block that cannot be read is for `zeef ledger verify` to name.
        let mut add_block = |bytes: &[u8]| {
            if let Ok(block) = serde_json::from_slice::<Block<'_>>(bytes) {
                tracker.add_block(&block);
            }
        };
        match &self.data {
            FollowedData::Kafka(settings) => {
                self.ledger.read_new(settings, &mut |message| {
                    message.value.into_iter().for_each(&mut add_block);
                })?;
            }
            FollowedData::Directory(root) => {
                read_ledger(root, LedgerPart::Blocks, &mut |_, line| add_block(line))?;
            }
        }
        self.read_acknowledgements()
    }

    /// Reads what recipients added, for retractions that are known.
    ///
    /// # Errors
    ///
    /// Something cannot be read.
    pub fn read_acknowledgements(&mut self) -> anyhow::Result<()> {
        self.inbox.retry_waiting(&mut self.tracker);
        match &self.data {
            FollowedData::Kafka(settings) => {
                for (recipient, topic) in &mut self.acknowledgements {
                    let exists = topic.read_new(settings, &mut |message| {
                        self.inbox.take_message(&mut self.tracker, recipient, message);
                    })?;
                    if !exists {
                        let name = settings.topic_name(topic.name());
                        bail!("topic `{name}` does not exist: `zeef topics --apply` creates it");
                    }
                }
            }
            FollowedData::Directory(root) => {
                let now = now_ms().div_euclid(1_000);
                let names: Vec<String> = self.tracker.recipients().keys().cloned().collect();
                for recipient in names {
                    read_acknowledgement_lines(root, &recipient, &mut |line| {
                        let parts = line.parts.and_then(|(key, value)| {
                            Some((key.as_bytes(), Acknowledged::from_line(value, now)?))
                        });
                        let place = || format!("ack/{recipient}.ndjson byte {}", line.offset);
                        self.inbox.take(&mut self.tracker, &recipient, parts, &place);
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Counts acknowledgements that still wait for their retraction as unmatched.
    pub fn give_up_waiting(&mut self) {
        for waiting in std::mem::take(&mut self.inbox.waiting) {
            self.inbox.counts_mut(&waiting.recipient).unmatched += 1;
        }
    }
}

impl AcknowledgementInbox {
    fn counts_mut(&mut self, recipient: &str) -> &mut AcknowledgementCounts {
        self.counts.entry(recipient.to_owned()).or_default()
    }

    fn take_message(
        &mut self,
        tracker: &mut RetractionTracker,
        recipient: &str,
        message: FollowedMessage<'_>,
    ) {
        let what = Acknowledged::from_message(message.retraction_id, message.value);
        let place = || format!("partition {} offset {}", message.partition, message.offset);
        self.take(tracker, recipient, message.key.zip(what), &place);
    }

    /// Takes an acknowledgement with its key; `None` for a damaged one.
    fn take(
        &mut self,
        tracker: &mut RetractionTracker,
        recipient: &str,
        parts: Option<(&[u8], Acknowledged<'_>)>,
        place: &dyn Fn() -> String,
    ) {
        let Some((key, what)) = parts else {
            let counts = self.counts_mut(recipient);
            counts.damaged += 1;
            counts.last_damaged = Some(place());
            return;
        };
        let is_accepted = tracker.acknowledge(recipient, key, what) > 0;
        match what {
            _ if is_accepted => self.counts_mut(recipient).accepted += 1,
            Acknowledged::Id(id) => self.waiting.push(WaitingAcknowledgement {
                recipient: recipient.to_owned(),
                key: key.to_vec(),
                id: id.to_owned(),
                attempts: 1,
            }),
            // All of a directory's ledger is there.
            Acknowledged::Until(_) => self.counts_mut(recipient).unmatched += 1,
        }
    }

    fn retry_waiting(&mut self, tracker: &mut RetractionTracker) {
        for one in std::mem::take(&mut self.waiting) {
            let what = Acknowledged::Id(&one.id);
            if tracker.acknowledge(&one.recipient, &one.key, what) > 0 {
                self.counts_mut(&one.recipient).accepted += 1;
            } else if one.attempts >= ATTEMPTS_MAX {
                self.counts_mut(&one.recipient).unmatched += 1;
            } else {
                self.waiting.push(WaitingAcknowledgement { attempts: one.attempts + 1, ..one });
            }
        }
    }
}
