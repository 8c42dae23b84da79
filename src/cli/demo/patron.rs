//! One patron to look at: who has much at many partners, and not too many records.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;

use crate::daemon::clock;
use crate::engine::lane::Lane;
use crate::engine::pipeline::BatchTime;
use crate::policy::Loaded;
use crate::policy::pseudonym::KeyRing;
use crate::sample::{self, Library};

use super::super::lane;
use super::super::message::{Message, Value};
use super::super::project::{Order, Run};

/// Among so many patrons one is chosen.
const PATRONS_MAX: u64 = 2_000;
/// More records than these do not fit a screen.
const RECORDS_MAX: usize = 7;

/// A patron: all records, and what every partner received of them.
pub(super) struct Chosen {
    pub(super) patron_id: String,
    pub(super) records: Vec<sample::Message>,
    /// Topic and value, as they stand in the outputs.
    pub(super) received: Vec<(String, String)>,
}

/// Topics and output keys of what a patron's records became.
type Keys = BTreeSet<(String, String)>;

/// Chooses a patron; none where nobody received anything.
pub(super) fn choose(
    library: &Library,
    loaded: &Loaded,
    keys: &KeyRing,
    folder: &Path,
) -> anyhow::Result<Option<Chosen>> {
    let lane = Arc::new(lane::compile("demo", loaded, |_| true, keys)?);
    let now = BatchTime::from_ms(clock::now_ms());
    let mut best: Option<(usize, usize, u64, Keys)> = None;
    for index in 0..library.settings().patrons.min(PATRONS_MAX) {
        let messages = read(&library.messages_of(index));
        let mut outputs = Keys::new();
        let mut run = Run::new(&lane, loaded, now.clone());
        run.decide(&messages, Order::GatesFirst, |topic, output| {
            let key = String::from_utf8_lossy(output.key.unwrap_or_default());
            outputs.insert((topic.to_owned(), key.into_owned()));
            Ok(())
        })?;
        let topics: BTreeSet<&str> = outputs.iter().map(|(topic, _)| topic.as_str()).collect();
        let fits = messages.len() <= RECORDS_MAX;
        let score = if fits { topics.len() } else { topics.len() / 2 };
        let room = RECORDS_MAX.saturating_sub(messages.len());
        if score > 0
            && best
                .as_ref()
                .is_none_or(|best| (score, room) > (best.0, best.1))
        {
            best = Some((score, room, index, outputs));
        }
    }
    let Some((_, _, index, outputs)) = best else {
        return Ok(None);
    };
    Ok(Some(Chosen {
        patron_id: library.patron_id(index),
        records: library.messages_of(index),
        received: received(folder, &lane, &outputs)?,
    }))
}

/// Generated messages, as lines would give them.
fn read(messages: &[sample::Message]) -> Vec<Message> {
    let read = |(at, message): (usize, &sample::Message)| Message {
        line: at + 1,
        source: message.source.to_owned(),
        key: Some(message.key.clone()),
        value: match &message.value {
            Some(text) => Value::Bytes(text.clone().into_bytes()),
            None => Value::Null,
        },
    };
    messages.iter().enumerate().map(read).collect()
}

/// Looks up in the partners' files what they have under these keys.
fn received(folder: &Path, lane: &Lane, outputs: &Keys) -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let topics: BTreeSet<&String> = outputs.iter().map(|(topic, _)| topic).collect();
    for topic in topics {
        let plan = lane.outputs.iter().find(|plan| plan.topic == *topic);
        let owner = plan.map_or("", |plan| plan.owner.as_str());
        let path = folder
            .join("out")
            .join(owner)
            .join(format!("{topic}.ndjson"));
        let text = fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let keys = outputs.iter().filter(|(one, _)| one == topic);
        for (_, key) in keys {
            let start = format!("{{\"key\":\"{key}\",\"value\":");
            let mut lines = text.lines();
            // The last line of a key is what its partner has.
            let line = lines.rfind(|line| line.starts_with(&start));
            let value = line.and_then(|line| line.strip_prefix(&start)?.strip_suffix('}'));
            found.extend(value.map(|value| (topic.clone(), value.to_owned())));
        }
    }
    Ok(found)
}
