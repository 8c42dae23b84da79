//! `zeef list objections`: which objections do not stop all recipients of their
//! purpose, by the law, so that somebody has to answer them.
//!
//! Reads what is committed on the topic of objections, beside whatever runs. An
//! objection is shown by where it lies, never by what is in it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::arguments::ListArguments;
use super::exit::{Exit, counted};
use super::kafka;
use super::logging;
use super::screen::{FAINT, Screen, styled};
use super::table::{Table, wrap};
use crate::json::members;
use crate::policy::gate::{Objects, objects};
use crate::policy::{Loaded, Policy};
use crate::transport::kafka::whole::read_placed;

/// The kind of record that is read.
const OBJECTION: &str = "objection";

/// Lists the objections that are lodged or upheld, and leave some recipient of
/// their purpose as it is.
///
/// # Errors
///
/// A topic or a file that cannot be read.
pub(super) fn run(
    loaded: &Loaded,
    arguments: &ListArguments,
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    let policy = &loaded.policy;
    let topic = policy.kind(OBJECTION).map(|kind| kind.topic.as_str());
    let topic = topic.context("no kind of record is called `objection`")?;
    let mut open = Open::default();
    let name = match &arguments.directory {
        Some(root) => {
            read_file(
                &root.join("in").join(format!("{topic}.ndjson")),
                |place, value| {
                    open.take(policy, place, value);
                },
            )?;
            topic.to_owned()
        }
        None => {
            logging::start(loaded.daemon.log, arguments.log);
            let brokers = arguments.brokers.brokers.as_deref();
            let kafka = kafka::Connection::new(loaded, &arguments.config.config, brokers);
            kafka.with(|settings| {
                read_placed(&settings, topic, &mut |offset, row| {
                    let place = (row.partition.unwrap_or_default(), offset);
                    open.take(policy, place, row.value);
                })?;
                Ok(settings.topic(topic))
            })?
        }
    };
    let mut places: Vec<Place> = open.0.into_values().flatten().collect();
    places.sort_unstable();
    if arguments.json {
        let one = |(partition, offset): &Place| json!({ "topic": name, "partition": partition, "offset": offset });
        let list: Value = places.iter().map(one).collect();
        serde_json::to_writer_pretty(&mut *screen, &list)?;
        writeln!(screen)?;
    } else {
        show(&name, &places, screen)?;
    }
    Ok(Exit::Fine)
}

/// Partition and offset.
type Place = (i32, i64);

/// The last version of each objection, by patron and id: where it lies, if it is
/// open.
#[derive(Default)]
struct Open(BTreeMap<(String, String), Option<Place>>);

impl Open {
    /// Takes in a record. What cannot be read is a dead letter of the run.
    fn take(&mut self, policy: &Policy, place: Place, value: Option<&[u8]>) {
        let value = value.and_then(|value| serde_json::from_slice::<Value>(value).ok());
        let Some(value) = value else {
            return;
        };
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let Ok(objects) = objects(text("kind"), text("status")) else {
            return;
        };
        if let (Some(patron), Some(id)) = (text("patron_id"), text("objection_id")) {
            let purpose = text("purpose").filter(|purpose| !purpose.is_empty());
            let stands = objects == Objects::Stands && leaves_some(policy, purpose);
            let key = (patron.to_owned(), id.to_owned());
            self.0.insert(key, stands.then_some(place));
        }
    }
}

/// Whether an objection against a purpose, or against all, leaves some recipient
/// of it as it is.
fn leaves_some(policy: &Policy, purpose: Option<&str>) -> bool {
    let of = |own: &str| purpose.is_none_or(|purpose| purpose == own);
    let mut recipients = policy.recipients.iter();
    recipients.any(|one| of(&one.purpose) && !one.yields_to_objections())
}

/// Reads the lines of a source's file, each with its place.
fn read_file(path: &Path, mut take: impl FnMut(Place, Option<&[u8]>)) -> anyhow::Result<()> {
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

fn show(topic: &str, places: &[Place], screen: &mut Screen) -> anyhow::Result<()> {
    if places.is_empty() {
        writeln!(
            screen,
            "no objection leaves a recipient of its purpose as it is"
        )?;
        return Ok(());
    }
    let mut table = Table::new(&["WHERE"]);
    for (partition, offset) in places {
        table.row([format!("{topic}-{partition}@{offset}").into()]);
    }
    let width = screen.width();
    table.write(screen, width)?;
    let objections = counted(places.len(), "objection");
    let text = format!(
        "{objections} lodged or upheld, by topic, partition and offset, that some recipient \
         of the purpose is not stopped by, as its legal basis has no right to object: \
         each is to be answered."
    );
    for line in wrap(&text, screen.text_width()) {
        writeln!(screen, "{}", styled(FAINT, line))?;
    }
    Ok(())
}
