//! `zeef holds`: the records that wait for a patron that is not known yet, or whose source should
//! have deleted its own copy.
//!
//! Reads the committed state of each lane, even while a run is going on. Shows the
//! coordinates of a record, never its content.

use std::collections::BTreeSet;
use std::io::Write as _;

use serde_json::{Value, json};

use super::arguments::HoldsArguments;
use super::command_target::{DataLocation, TargetArguments};
use super::config::load;
use super::exit::{Exit, pluralise};
use super::screen::{FAINT, Screen, styled};
use super::state_rows::read_state_rows;
use super::table::{TableCell, TextTable, wrap_text};
use crate::config::LoadedConfig;
use crate::engine::memory::deliveries::held::{
    HeldRow, SourceDeletionRow, parse_held_row, parse_source_deletion_row,
};

/// Lists held records, or those that are overdue, oldest first.
///
/// # Errors
///
/// A wrong config, or an unreadable state.
pub(super) fn run(arguments: &HoldsArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = load(&arguments.config.config)?;
    let target = TargetArguments {
        config: &arguments.config,
        brokers: &arguments.brokers,
        directory: arguments.directory.as_deref(),
    };
    if arguments.overdue {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let overdue = DataLocation::with_location(&loaded, &target, arguments.log, |location| {
            read_overdue_records(location, &loaded, now_ms)
        })?;
        match arguments.json {
            true => write_json(overdue.iter().map(OverdueRecord::to_json), screen)?,
            false => write_overdue_records(&overdue, screen)?,
        }
        return Ok(Exit::Success);
    }
    let mut holds = DataLocation::with_location(&loaded, &target, arguments.log, |location| {
        read_held_records(location, &loaded)
    })?;
    holds.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    match arguments.json {
        true => write_json(holds.iter().map(HeldRecordRow::to_json), screen)?,
        false => write_held_records(&holds, screen)?,
    }
    Ok(Exit::Success)
}

fn write_json(list: impl Iterator<Item = Value>, screen: &mut Screen) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *screen, &list.collect::<Value>())?;
    writeln!(screen)?;
    Ok(())
}

/// Returns the held records of each lane.
fn read_held_records(
    location: &DataLocation<'_>,
    loaded: &LoadedConfig,
) -> anyhow::Result<Vec<HeldRecordRow>> {
    let mut holds = Vec::new();
    for lane in &loaded.daemon.lanes {
        let rows = read_state_rows(location, &lane.name, |_, row| parse_held_row(row))?.into_iter();
        holds.extend(rows.map(|row| HeldRecordRow::new(row, &lane.name, loaded, location)));
    }
    Ok(holds)
}

/// Returns the records of all lanes whose source should have deleted its copy by now, each once.
fn read_overdue_records(
    location: &DataLocation<'_>,
    loaded: &LoadedConfig,
    now_ms: i64,
) -> anyhow::Result<BTreeSet<OverdueRecord>> {
    let mut overdue = BTreeSet::new();
    for lane in &loaded.daemon.lanes {
        let rows = read_state_rows(location, &lane.name, |_, row| parse_source_deletion_row(row))?
            .into_iter();
        let due = rows.filter(|row| row.due_ms <= now_ms);
        overdue.extend(due.map(|row| OverdueRecord::new(row, loaded, location)));
    }
    Ok(overdue)
}

/// A kind that the config no longer has is shown by its name.
fn topic_of_kind(location: &DataLocation<'_>, loaded: &LoadedConfig, kind: &str) -> String {
    let known = loaded.policy.record_kind(kind);
    topic_name(location, known.map_or(kind, |kind| kind.topic.as_str()))
}

fn topic_name(location: &DataLocation<'_>, topic: &str) -> String {
    match location {
        DataLocation::Kafka(settings) => settings.topic_name(topic),
        DataLocation::Directory(_) => topic.to_owned(),
    }
}

/// A held record as it is shown.
struct HeldRecordRow {
    lane: String,
    topic: String,
    /// When it becomes a dead letter.
    until_ms: i64,
    row: HeldRow,
}

impl HeldRecordRow {
    fn new(
        row: HeldRow,
        lane: &str,
        loaded: &LoadedConfig,
        location: &DataLocation<'_>,
    ) -> HeldRecordRow {
        HeldRecordRow {
            lane: lane.to_owned(),
            topic: topic_of_kind(location, loaded, &row.kind),
            until_ms: row.held_since_ms.saturating_add(loaded.daemon.holds.wait_max_ms),
            row,
        }
    }

    fn sort_key(&self) -> (i64, &str, i32, i64, &str) {
        let row = &self.row;
        (row.held_since_ms, &self.topic, row.partition, row.offset, &self.lane)
    }

    fn to_json(&self) -> Value {
        json!({
            "lane": self.lane,
            "topic": self.topic,
            "partition": self.row.partition,
            "offset": self.row.offset,
            "since": format_instant(self.row.held_since_ms),
            "until": format_instant(self.until_ms),
            "patron": self.row.patron_hash,
            "recipients": self.row.recipients,
        })
    }
}

fn write_held_records(held_records: &[HeldRecordRow], screen: &mut Screen) -> anyhow::Result<()> {
    if held_records.is_empty() {
        writeln!(screen, "nothing is held: every record's patron is known")?;
        return Ok(());
    }
    let mut table = TextTable::new(&["WHERE", "SINCE", "UNTIL", "PATRON", "FOR"]);
    for hold in held_records {
        let row = &hold.row;
        table.add_row([
            format!("{}-{}@{}", hold.topic, row.partition, row.offset).into(),
            format_time(row.held_since_ms, "%Y-%m-%d %H:%M").into(),
            format_time(hold.until_ms, "%Y-%m-%d").into(),
            TableCell::styled(FAINT, row.patron_hash.clone()),
            row.recipients.join(", ").into(),
        ]);
    }
    let width = screen.width();
    table.write(screen, width)?;
    let records = pluralise(held_records.len(), "record");
    let text = format!(
        "{records} held, by topic, partition and offset; times in UTC. One patron has one name \
         here, which is none of its own."
    );
    for line in wrap_text(&text, screen.text_width()) {
        writeln!(screen, "{}", styled(FAINT, line))?;
    }
    Ok(())
}

/// A record whose source should have deleted its copy.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct OverdueRecord {
    due_ms: i64,
    topic: String,
    partition: i32,
    offset: i64,
}

impl OverdueRecord {
    fn new(
        row: SourceDeletionRow,
        loaded: &LoadedConfig,
        location: &DataLocation<'_>,
    ) -> OverdueRecord {
        let SourceDeletionRow { kind, partition, offset, due_ms } = row;
        OverdueRecord { due_ms, topic: topic_of_kind(location, loaded, &kind), partition, offset }
    }

    fn to_json(&self) -> Value {
        json!({
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "due": format_instant(self.due_ms),
        })
    }
}

fn write_overdue_records(
    overdue: &BTreeSet<OverdueRecord>,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    if overdue.is_empty() {
        writeln!(screen, "nothing is overdue: every source deleted its own copies in time")?;
        return Ok(());
    }
    let mut table = TextTable::new(&["WHERE", "DUE"]);
    for OverdueRecord { due_ms, topic, partition, offset } in overdue {
        table.add_row([
            format!("{topic}-{partition}@{offset}").into(),
            format_time(*due_ms, "%Y-%m-%d %H:%M").into(),
        ]);
    }
    let width = screen.width();
    table.write(screen, width)?;
    let records = pluralise(overdue.len(), "record");
    let text = format!(
        "{records} overdue, by topic, partition and offset; times in UTC. The source should have \
         deleted its own copy by then, and write the record once more with the day."
    );
    for line in wrap_text(&text, screen.text_width()) {
        writeln!(screen, "{}", styled(FAINT, line))?;
    }
    Ok(())
}

/// To the second.
fn format_instant(ms: i64) -> String {
    format_time(ms, "%Y-%m-%dT%H:%M:%SZ")
}

/// In UTC.
fn format_time(ms: i64, format: &str) -> String {
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
    time.strftime(format).to_string()
}
