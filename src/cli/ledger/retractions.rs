//! `zeef retractions`: what recipients acknowledge of what was taken back, and what they do not.
//!
//! Names retractions by the ids that their recipients were told, and no patron.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;

use serde_json::{Value, json};

use super::patron::format_time;
use super::read::LedgerReader;
use crate::cli::arguments::RetractionsArguments;
use crate::cli::command_target::DataLocation;
use crate::cli::config::unknown_name_text;
use crate::cli::exit::{CliFailure, Exit};
use crate::cli::screen::Screen;
use crate::cli::table::{TableCell, TextTable};
use crate::daemon::retraction_follower::RetractionFollower;
use crate::ledger::retractions::{Acknowledged, AskedRecipient, OpenRetraction, RetractionTracker};
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::followed_topic::FollowedTopic;
use crate::transport::kafka::partner_position::{PartnerPosition, fetch_partner_position};

const TIME_FORMAT: &str = "%Y-%m-%dT%H:%M:%SZ";
/// Stands for what is not known.
const UNKNOWN: &str = "-";

pub(in crate::cli) fn run(
    arguments: &RetractionsArguments,
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    LedgerReader::with_reader(&arguments.source, |reader| {
        let tracker = RetractionTracker::of_policy(&reader.loaded.policy, reader.ledger_keys()?);
        let Some(tracker) = tracker else {
            let text = "no recipient that is served has `ack` in its file";
            return Err(CliFailure::Config(text.to_owned()).into());
        };
        let asked = arguments.recipient.as_deref();
        if let Some(name) = asked.filter(|name| !tracker.recipients().contains_key(*name)) {
            let known = tracker.recipients().keys().map(String::as_str);
            let text = unknown_name_text("recipient with `ack`", name, known);
            return Err(CliFailure::Usage(text).into());
        }
        let mut follower = RetractionFollower::new(reader.followed_data(), tracker);
        follower.update()?;
        follower.give_up_waiting();
        let mut report = RetractionReport {
            follower: &follower,
            recipient: asked,
            now: jiff::Timestamp::now().as_second(),
            positions: BTreeMap::new(),
        };
        if let DataLocation::Kafka(settings) = reader.location {
            report.fetch_positions(reader, settings);
        }
        match (arguments.open, arguments.source.json) {
            (false, is_json) => report.write_summary(is_json, screen)?,
            (true, is_json) => {
                let found = match reader.location {
                    DataLocation::Kafka(settings) => report.find_messages(settings)?,
                    DataLocation::Directory(_) => HashMap::new(),
                };
                report.write_open(&found, is_json, screen)?;
            }
        }
        Ok(Exit::Success)
    })
}

/// What is told of retractions.
struct RetractionReport<'a> {
    follower: &'a RetractionFollower,
    /// `None` for all that acknowledge.
    recipient: Option<&'a str>,
    /// In Unix seconds.
    now: i64,
    /// How far each recipient has read each of its topics, where its group is known.
    positions: BTreeMap<String, BTreeMap<String, PartnerPosition>>,
}

/// The message of a retraction.
struct RetractionMessage {
    id: String,
    /// Whether the recipient has read past it, if its group is known.
    is_read: Option<bool>,
}

/// By recipient, hash of the output and time.
type RetractionMessages = HashMap<(String, u128, i64), RetractionMessage>;

impl<'a> RetractionReport<'a> {
    fn recipients(&self) -> impl Iterator<Item = (&'a String, &'a AskedRecipient)> {
        let asked = self.recipient;
        let all = self.follower.tracker().recipients().iter();
        all.filter(move |(name, _)| asked.is_none_or(|asked| asked == name.as_str()))
    }

    /// What Kafka does not say of a group is unknown, and no reason to tell nothing.
    fn fetch_positions(&mut self, reader: &LedgerReader<'_>, settings: &KafkaSettings) {
        let mut positions = BTreeMap::<String, BTreeMap<String, PartnerPosition>>::new();
        for (name, asked) in self.recipients() {
            let recipient = reader.loaded.policy.recipient(name);
            let Some(group) = recipient.and_then(|one| one.consumer_group.as_deref()) else {
                continue;
            };
            for topic in &asked.topics {
                match fetch_partner_position(settings, group, topic) {
                    Ok(position) => {
                        let of_recipient = positions.entry(name.clone()).or_default();
                        of_recipient.extend(position.map(|position| (topic.clone(), position)));
                    }
                    Err(error) => tracing::warn!(recipient = %name, "its group: {error}"),
                }
            }
        }
        self.positions = positions;
    }

    /// Finds the messages of open retractions that their topics still have.
    fn find_messages(&self, settings: &KafkaSettings) -> anyhow::Result<RetractionMessages> {
        let tracker = self.follower.tracker();
        let mut found = RetractionMessages::new();
        for (name, asked) in self.recipients().filter(|(_, asked)| asked.open().next().is_some()) {
            for topic in &asked.topics {
                let position = self.positions.get(name).and_then(|topics| topics.get(topic));
                FollowedTopic::new(topic).read_new(settings, &mut |message| {
                    let id = Acknowledged::from_message(message.retraction_id, None);
                    let (Some(key), Some(Acknowledged::Id(id)), None) =
                        (message.key, id, message.value)
                    else {
                        return;
                    };
                    let is_read = position
                        .map(|position| position.has_read(message.partition, message.offset));
                    for (hash, one) in tracker.find_open(name, key, Acknowledged::Id(id)) {
                        let message = RetractionMessage { id: id.to_owned(), is_read };
                        found.insert((name.clone(), hash, one.time), message);
                    }
                })?;
            }
        }
        Ok(found)
    }

    /// How far a recipient is behind, on all of its topics.
    fn lag_of(&self, name: &str) -> Option<i64> {
        let topics = self.positions.get(name).filter(|topics| !topics.is_empty())?;
        Some(topics.values().map(|position| position.lag).sum())
    }

    fn write_summary(&self, is_json: bool, screen: &mut Screen) -> anyhow::Result<()> {
        if is_json {
            let all: Vec<Value> =
                self.recipients().map(|(name, asked)| self.summary_json(name, asked)).collect();
            serde_json::to_writer_pretty(&mut *screen, &all)?;
            writeln!(screen)?;
            return Ok(());
        }
        let mut table = TextTable::new(&[
            "RECIPIENT",
            "WITHIN",
            "RETRACTED",
            "OPEN",
            "OVERDUE",
            "OLDEST",
            "UNMATCHED",
            "DAMAGED",
            "UNREAD",
        ]);
        for (name, asked) in self.recipients() {
            let (open, counts) = (asked.count_open(self.now), self.follower.counts(name));
            let oldest = open.oldest.map(|time| format_time(time, "%Y-%m-%d"));
            let lag = self.lag_of(name).and_then(|lag| u64::try_from(lag).ok());
            table.add_row([
                name.as_str().into(),
                asked.rule.within.to_string().into(),
                TableCell::number(asked.asked),
                TableCell::number(open.open),
                TableCell::number(open.overdue),
                oldest.unwrap_or_else(|| UNKNOWN.to_owned()).into(),
                TableCell::number(counts.unmatched),
                TableCell::number(counts.damaged),
                lag.map_or_else(|| UNKNOWN.into(), TableCell::number),
            ]);
        }
        let width = screen.width();
        table.write(screen, width)?;
        Ok(())
    }

    fn summary_json(&self, name: &str, asked: &AskedRecipient) -> Value {
        let (open, counts) = (asked.count_open(self.now), self.follower.counts(name));
        json!({
            "recipient": name,
            "within": asked.rule.within.to_string(),
            "retracted": asked.asked,
            "open": open.open,
            "overdue": open.overdue,
            "oldest": open.oldest.map(|time| format_time(time, TIME_FORMAT)),
            "accepted": counts.accepted,
            "unmatched": counts.unmatched,
            "damaged": counts.damaged,
            "unread": self.lag_of(name),
        })
    }

    fn write_open(
        &self,
        found: &RetractionMessages,
        is_json: bool,
        screen: &mut Screen,
    ) -> anyhow::Result<()> {
        let mut rows: Vec<OpenRow<'_>> = Vec::new();
        for (recipient, asked) in self.recipients() {
            for (hash, retraction) in asked.open() {
                let due = asked.due(retraction.time);
                let message = found.get(&(recipient.clone(), hash, retraction.time));
                rows.push(OpenRow { recipient, retraction, due, message });
            }
        }
        rows.sort_by_key(|row| {
            let id = row.message.map(|message| message.id.as_str());
            (row.recipient, row.retraction.time, id)
        });
        if is_json {
            let rows: Vec<Value> = rows.iter().map(|row| row.to_json(self.now)).collect();
            serde_json::to_writer_pretty(&mut *screen, &rows)?;
            writeln!(screen)?;
            return Ok(());
        }
        if rows.is_empty() {
            writeln!(screen, "every retraction is acknowledged")?;
            return Ok(());
        }
        let mut table =
            TextTable::new(&["RECIPIENT", "RETRACTED (UTC)", "REASON", "DUE", "READ", "ID"]);
        for row in rows {
            table.add_row(row.cells(self.now));
        }
        let width = screen.width();
        table.write(screen, width)?;
        Ok(())
    }
}

/// A retraction that is not acknowledged, as it is shown.
struct OpenRow<'a> {
    recipient: &'a str,
    retraction: OpenRetraction,
    /// In Unix seconds.
    due: i64,
    message: Option<&'a RetractionMessage>,
}

impl OpenRow<'_> {
    fn cells(&self, now: i64) -> [TableCell; 6] {
        let due = format_time(self.due, "%Y-%m-%d");
        let due = if self.due <= now { format!("{due} (overdue)") } else { due };
        let read = match self.message.and_then(|message| message.is_read) {
            Some(true) => "yes",
            Some(false) => "no",
            None => UNKNOWN,
        };
        [
            self.recipient.into(),
            format_time(self.retraction.time, "%Y-%m-%d %H:%M:%S").into(),
            self.retraction.reason.as_str().into(),
            due.into(),
            read.into(),
            self.message.map_or(UNKNOWN, |message| message.id.as_str()).into(),
        ]
    }

    fn to_json(&self, now: i64) -> Value {
        json!({
            "recipient": self.recipient,
            "time": format_time(self.retraction.time, TIME_FORMAT),
            "reason": self.retraction.reason.as_str(),
            "due": format_time(self.due, TIME_FORMAT),
            "overdue": self.due <= now,
            "id": self.message.map(|message| message.id.as_str()),
            "read": self.message.and_then(|message| message.is_read),
        })
    }
}
