//! `zeef holds`: which records wait for a patron that is not known yet.
//!
//! Reads what is committed of each lane's state, beside whatever runs. A record
//! is shown by where it lies, never by what is in it.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::arguments::HoldsArguments;
use super::config::load;
use super::exit::{Exit, Failure, counted};
use super::kafka;
use super::logging;
use super::screen::{FAINT, Screen, styled};
use super::table::{Cell, Table, wrap};
use crate::engine::lane::STATE_TOPIC;
use crate::engine::state::text::TextError;
use crate::engine::state::waiting::{self, Waiting};
use crate::policy::Loaded;
use crate::transport::Output;
use crate::transport::directory::read_state;
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::whole::read_whole;

const DAY_MS: i64 = 86_400_000;

/// Lists what is held, oldest first.
///
/// # Errors
///
/// A wrong config, or a state that cannot be read.
pub(super) fn run(arguments: &HoldsArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = load(&arguments.config.config)?;
    let mut holds = match &arguments.directory {
        Some(root) if root.is_dir() => held_in(&World::Directory(root), &loaded)?,
        Some(root) => {
            let text = format!("there is no folder {}", root.display());
            return Err(Failure::Config(text).into());
        }
        None => {
            logging::start(loaded.daemon.log, arguments.log);
            let brokers = arguments.brokers.brokers.as_deref();
            let connection = kafka::Connection::new(&loaded, &arguments.config.config, brokers);
            connection.with(|settings| held_in(&World::Kafka(settings), &loaded))?
        }
    };
    holds.sort_by(|a, b| a.order().cmp(&b.order()));
    if arguments.json {
        let list: Value = holds.iter().map(Hold::json).collect();
        serde_json::to_writer_pretty(&mut *screen, &list)?;
        writeln!(screen)?;
    } else {
        show(&holds, screen)?;
    }
    Ok(Exit::Fine)
}

/// What is held of each lane.
fn held_in(world: &World<'_>, loaded: &Loaded) -> anyhow::Result<Vec<Hold>> {
    let mut holds = Vec::new();
    for lane in &loaded.daemon.lanes {
        let rows = world
            .rows(&format!("{STATE_TOPIC}{}", lane.name))?
            .into_iter();
        holds.extend(rows.map(|row| Hold::new(row, &lane.name, loaded, world)));
    }
    Ok(holds)
}

/// Where the state lies.
enum World<'a> {
    Kafka(KafkaSettings),
    Directory(&'a Path),
}

impl World<'_> {
    /// The rows of a lane's state that are held now.
    fn rows(&self, topic: &str) -> anyhow::Result<Vec<Waiting>> {
        let mut rows = Rows::default();
        let mut take = |row: Output<'_>| rows.take(row.key.unwrap_or_default(), row.value);
        match self {
            // Where nothing ran yet there is no state, and nothing is held.
            World::Kafka(settings) => {
                read_whole(settings, topic, &mut take)?;
            }
            World::Directory(root) => read_state(root, topic, &mut take)?,
        }
        match rows.failed {
            Some(error) => Err(anyhow::Error::new(error).context(topic.to_owned())),
            None => Ok(rows.held.into_values().collect()),
        }
    }

    fn topic(&self, topic: &str) -> String {
        match self {
            World::Kafka(settings) => settings.topic(topic),
            World::Directory(_) => topic.to_owned(),
        }
    }
}

/// The last row of each key, where it is held.
#[derive(Default)]
struct Rows {
    held: HashMap<Box<[u8]>, Waiting>,
    failed: Option<TextError>,
}

impl Rows {
    fn take(&mut self, key: &[u8], value: Option<&[u8]>) {
        match value.map_or(Ok(None), waiting::read) {
            Ok(Some(row)) => {
                self.held.insert(key.into(), row);
            }
            Ok(None) => {
                self.held.remove(key);
            }
            Err(error) => self.failed = Some(error),
        }
    }
}

/// A held record as it is shown.
struct Hold {
    lane: String,
    topic: String,
    /// When it becomes a dead letter.
    until_ms: i64,
    row: Waiting,
}

impl Hold {
    fn new(row: Waiting, lane: &str, loaded: &Loaded, world: &World<'_>) -> Hold {
        // A kind that the config no longer has is shown by its name.
        let kind = loaded.policy.kind(&row.source);
        let topic = kind.map_or(row.source.as_str(), |kind| kind.topic.as_str());
        let days = i64::from(loaded.daemon.holds.days);
        Hold {
            lane: lane.to_owned(),
            topic: world.topic(topic),
            until_ms: row.since_ms.saturating_add(days * DAY_MS),
            row,
        }
    }

    fn order(&self) -> (i64, &str, i32, i64, &str) {
        let row = &self.row;
        (
            row.since_ms,
            &self.topic,
            row.partition,
            row.offset,
            &self.lane,
        )
    }

    fn json(&self) -> Value {
        json!({
            "lane": self.lane,
            "topic": self.topic,
            "partition": self.row.partition,
            "offset": self.row.offset,
            "since": instant(self.row.since_ms),
            "until": instant(self.until_ms),
            "patron": self.row.patron,
            "recipients": self.row.recipients,
        })
    }
}

fn show(holds: &[Hold], screen: &mut Screen) -> anyhow::Result<()> {
    if holds.is_empty() {
        writeln!(screen, "nothing is held: every record's patron is known")?;
        return Ok(());
    }
    let mut table = Table::new(&["WHERE", "SINCE", "UNTIL", "PATRON", "FOR"]);
    for hold in holds {
        let row = &hold.row;
        table.row([
            format!("{}-{}@{}", hold.topic, row.partition, row.offset).into(),
            time(row.since_ms, "%Y-%m-%d %H:%M").into(),
            time(hold.until_ms, "%Y-%m-%d").into(),
            Cell::styled(FAINT, row.patron.clone()),
            row.recipients.join(", ").into(),
        ]);
    }
    let width = screen.width();
    table.write(screen, width)?;
    let records = counted(holds.len(), "record");
    let text = format!(
        "{records} held, by topic, partition and offset; times in UTC. One patron has one name \
         here, which is none of its own."
    );
    for line in wrap(&text, screen.text_width()) {
        writeln!(screen, "{}", styled(FAINT, line))?;
    }
    Ok(())
}

/// To the second.
fn instant(ms: i64) -> String {
    time(ms, "%Y-%m-%dT%H:%M:%SZ")
}

/// In UTC.
fn time(ms: i64, format: &str) -> String {
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
    time.strftime(format).to_string()
}
