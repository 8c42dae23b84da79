//! `zeef list objections`: the objections that by law do not stop all recipients with their
//! purpose, and that somebody has to answer.
//!
//! Reads the committed objections, even while a run is going on. Shows the coordinates of
//! an objection, never its content.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::arguments::ListArguments;
use super::exit::{Exit, pluralise};
use super::kafka;
use super::logging;
use super::screen::{FAINT, Screen, styled};
use super::table::{TextTable, wrap_text};
use crate::config::LoadedConfig;
use crate::json::members;
use crate::policy::Policy;
use crate::policy::consent::{ObjectionEffect, parse_objection};
use crate::transport::kafka::read_topic::read_rows_with_offsets;

const OBJECTION_KIND: &str = "objection";

/// Lists the objections that are lodged or upheld and do not stop some recipient with their
/// purpose.
///
/// # Errors
///
/// An unreadable topic or file.
pub(super) fn run(
    loaded: &LoadedConfig,
    arguments: &ListArguments,
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    let policy = &loaded.policy;
    let topic = policy.record_kind(OBJECTION_KIND).map(|kind| kind.topic.as_str());
    let topic = topic.context("no kind of record is called `objection`")?;
    let mut open = UnansweredObjections::default();
    let name = match &arguments.directory {
        Some(root) => {
            read_source_file(&root.join("in").join(format!("{topic}.ndjson")), |place, value| {
                open.apply_record(policy, place, value);
            })?;
            topic.to_owned()
        }
        None => {
            logging::start(loaded.daemon.log, arguments.log);
            let brokers = arguments.brokers.brokers.as_deref();
            let kafka = kafka::KafkaConnection::new(loaded, &arguments.config.config, brokers);
            kafka.with_settings(|settings| {
                read_rows_with_offsets(&settings, topic, &mut |offset, row| {
                    let place = (row.partition.unwrap_or_default(), offset);
                    open.apply_record(policy, place, row.value);
                })?;
                Ok(settings.topic_name(topic))
            })?
        }
    };
    let mut places: Vec<PartitionOffset> = open.0.into_values().flatten().collect();
    places.sort_unstable();
    if arguments.json {
        let one = |(partition, offset): &PartitionOffset| json!({ "topic": name, "partition": partition, "offset": offset });
        let list: Value = places.iter().map(one).collect();
        serde_json::to_writer_pretty(&mut *screen, &list)?;
        writeln!(screen)?;
    } else {
        write_objections(&name, &places, screen)?;
    }
    Ok(Exit::Success)
}

type PartitionOffset = (i32, i64);

/// The last version of each objection, by patron and id: its place, if it is open.
#[derive(Default)]
struct UnansweredObjections(BTreeMap<(String, String), Option<PartitionOffset>>);

impl UnansweredObjections {
    /// Applies a record. Unreadable ones are dead letters of the run.
    fn apply_record(&mut self, policy: &Policy, place: PartitionOffset, value: Option<&[u8]>) {
        let value = value.and_then(|value| serde_json::from_slice::<Value>(value).ok());
        let Some(value) = value else {
            return;
        };
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let Ok(objects) = parse_objection(text("kind"), text("status")) else {
            return;
        };
        if let (Some(patron), Some(id)) = (text("patron_id"), text("objection_id")) {
            let purpose = text("purpose").filter(|purpose| !purpose.is_empty());
            let stands =
                objects == ObjectionEffect::InForce && exempts_some_recipient(policy, purpose);
            let key = (patron.to_owned(), id.to_owned());
            self.0.insert(key, stands.then_some(place));
        }
    }
}

/// Returns whether an objection against a purpose, or against all, does not stop some
/// recipient with it.
fn exempts_some_recipient(policy: &Policy, purpose: Option<&str>) -> bool {
    let of = |own: &str| purpose.is_none_or(|purpose| purpose == own);
    let mut recipients = policy.recipients.iter();
    recipients.any(|one| of(&one.purpose) && !one.is_stopped_by_objections())
}

/// Reads the lines of a source's file with their places.
fn read_source_file(
    path: &Path,
    mut take: impl FnMut(PartitionOffset, Option<&[u8]>),
) -> anyhow::Result<()> {
    let file = std::fs::File::open(path);
    let mut file =
        BufReader::new(file.with_context(|| format!("failed to open {}", path.display()))?);
    let mut line = Vec::new();
    let mut offset = 0;
    let named = || format!("failed to read {}", path.display());
    while file.read_until(b'\n', &mut line).with_context(named)? > 0 {
        let text = std::str::from_utf8(&line).ok();
        let found = text.and_then(|text| members::read(text, ["value"]));
        let value = found.and_then(|found| found.found[0]);
        take((0, offset), value.map(|value| value.get().as_bytes()));
        offset += i64::try_from(line.len()).unwrap_or_default();
        line.clear();
    }
    Ok(())
}

fn write_objections(
    topic: &str,
    places: &[PartitionOffset],
    screen: &mut Screen,
) -> anyhow::Result<()> {
    if places.is_empty() {
        writeln!(screen, "no objection leaves a recipient of its purpose as it is")?;
        return Ok(());
    }
    let mut table = TextTable::new(&["WHERE"]);
    for (partition, offset) in places {
        table.add_row([format!("{topic}-{partition}@{offset}").into()]);
    }
    let width = screen.width();
    table.write(screen, width)?;
    let objections = pluralise(places.len(), "objection");
    let text = format!(
        "{objections} lodged or upheld, by topic, partition and offset, that some recipient \
         of the purpose is not stopped by, as its legal basis has no right to object: \
         each is to be answered."
    );
    for line in wrap_text(&text, screen.text_width()) {
        writeln!(screen, "{}", styled(FAINT, line))?;
    }
    Ok(())
}
