//! The member who is followed: what the library has of her, and what each partner has
//! of that, night by night.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;

use crate::engine::lane::Lane;
use crate::engine::pipeline::BatchTime;
use crate::policy::Policy;
use crate::policy::recipient::{OutputValue, Recipient};
use crate::sample::{self, Member};

use super::super::flat::flatten;
use super::super::lane;
use super::super::message::{Message, Value};
use super::super::phrase;
use super::super::project::{Order, Run};
use super::Nights;

/// What a partner has under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Has {
    Nothing,
    Output(String),
    /// It had something, and a null says that it was taken back.
    TakenBack,
}

/// An output of hers at one partner.
pub(super) struct Received {
    pub(super) recipient: String,
    /// The kind of record that it is of.
    pub(super) source: String,
    key: String,
    path: PathBuf,
    /// What stood there after each night.
    pub(super) nights: Vec<Has>,
}

/// The member, and all outputs of hers.
pub(super) struct Followed {
    pub(super) name: &'static str,
    pub(super) records: Vec<sample::Message>,
    pub(super) received: Vec<Received>,
}

impl Followed {
    /// Looks for what partners have of her after the first night.
    pub(super) fn new(member: &Member, nights: &Nights<'_>) -> anyhow::Result<Followed> {
        let (loaded, keys) = (nights.loaded, nights.keys);
        let lane = Arc::new(lane::compile("demo", loaded, |_| true, keys)?);
        let records = member.records();
        let mut run = Run::new(&lane, loaded, BatchTime::from_ms(nights.ms(0)));
        let mut outputs = BTreeSet::new();
        run.decide(&read(&records), Order::GatesFirst, |topic, output| {
            let key = String::from_utf8_lossy(output.key.unwrap_or_default());
            outputs.insert((topic.to_owned(), key.into_owned()));
            Ok(())
        })?;
        let received = outputs.into_iter().filter_map(|(topic, key)| {
            let (owner, source) = owner(&lane, &topic)?;
            let out = nights.folder.join("out").join(&owner);
            Some(Received {
                path: out.join(format!("{topic}.ndjson")),
                recipient: owner,
                source,
                key,
                nights: Vec::new(),
            })
        });
        let mut followed = Followed {
            name: member.name(),
            received: received.collect(),
            records,
        };
        followed.look(nights.folder)?;
        Ok(followed)
    }

    /// Looks up what each partner has now.
    pub(super) fn look(&mut self, folder: &Path) -> anyhow::Result<()> {
        for one in &mut self.received {
            let path = &one.path;
            let text = fs::read_to_string(path).with_context(|| {
                let below = path.strip_prefix(folder).unwrap_or(path);
                format!("{} cannot be read", below.display())
            })?;
            let start = format!("{{\"key\":\"{}\",\"value\":", one.key);
            let mut lines = text.lines();
            // The last line of a key is what its partner has.
            let line = lines.rfind(|line| line.starts_with(&start));
            let value = line.and_then(|line| line.strip_prefix(&start)?.strip_suffix('}'));
            one.nights.push(match value {
                None => Has::Nothing,
                Some("null") => Has::TakenBack,
                Some(value) => Has::Output(value.to_owned()),
            });
        }
        Ok(())
    }

    /// The outputs of one recipient.
    pub(super) fn of<'a>(&'a self, recipient: &'a str) -> impl Iterator<Item = &'a Received> {
        let mut all = self.received.iter();
        std::iter::from_fn(move || all.find(|one| one.recipient == recipient))
    }
}

/// Whose a topic is, and of which kind of record.
fn owner(lane: &Lane, topic: &str) -> Option<(String, String)> {
    let output = lane.outputs.iter().find(|output| output.topic == topic)?;
    let mut programs = lane.recipients.iter();
    let program = programs.find(|program| program.name == output.owner)?;
    let source = lane.sources.get(program.source)?;
    Some((output.owner.clone(), source.kind.name.clone()))
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

/// How much of a field a partner got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Share {
    Nothing,
    /// A mask left a part of it, it was looked at, or there is a pseudonym of it.
    Part,
    InFull,
}

/// How much of the field at `path` of a kind of record an output shows.
pub(super) fn share(policy: &Policy, received: &Received, (kind, path): (&str, &str)) -> Share {
    let Some(recipient) = policy.recipient(&received.recipient) else {
        return Share::Nothing;
    };
    let Some(Has::Output(output)) = received.nights.first() else {
        return Share::Nothing;
    };
    let patron = policy.patron().is_some_and(|patron| patron.name == kind);
    let of_record = received.source == kind;
    let wanted = |joined: bool| if joined { patron } else { of_record };
    let shown: BTreeSet<String> = flatten(output)
        .into_iter()
        .map(|(path, _)| top(&path).to_owned())
        .collect();
    let mut share = Share::Nothing;
    if wanted(recipient.key.joined) && recipient.key.path == path {
        share = Share::Part;
    }
    for field in recipient
        .fields
        .iter()
        .filter(|one| shown.contains(&one.name))
    {
        share = share.max(of_field(&field.value, path, wanted));
    }
    share
}

/// How much of the field at `path` one field of an output shows; `wanted` says
/// whether paths of the patron, or of the record, are the ones that are meant.
fn of_field(value: &OutputValue, path: &str, wanted: impl Fn(bool) -> bool) -> Share {
    match value {
        OutputValue::Scalar(projection) => {
            let from = projection.from.as_ref();
            let from = from.filter(|from| wanted(from.joined) && from.path == path);
            let needs = phrase::needs(projection);
            let needed = needs.iter().any(|need| match need.strip_prefix("patron.") {
                Some(need) => wanted(true) && need == path,
                None => wanted(false) && need == path,
            });
            let is_whole = projection.mask.is_none() && projection.detect.is_none();
            match from {
                Some(_) if is_whole => Share::InFull,
                None if !needed => Share::Nothing,
                _ => Share::Part,
            }
        }
        OutputValue::Object { from, fields } | OutputValue::List { from, fields } => {
            match wanted(from.joined) && fields.iter().any(|field| field.path == path) {
                true => Share::InFull,
                false => Share::Nothing,
            }
        }
        OutputValue::Scalars { from } => match wanted(from.joined) && from.path == path {
            true => Share::InFull,
            false => Share::Nothing,
        },
        // It is made of other fields of the output.
        OutputValue::Slip { .. } => Share::Nothing,
    }
}

/// The output field that a path in an output is in.
fn top(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or(path)
}

/// The files in which a trace of her was looked for, and those that had one.
pub(super) struct Searched {
    pub(super) files: usize,
    pub(super) found: Vec<String>,
}

/// Looks for her in all that zeef wrote.
pub(super) fn search(folder: &Path) -> anyhow::Result<Searched> {
    let mut searched = Searched {
        files: 0,
        found: Vec::new(),
    };
    let mut open = vec![folder.join("out"), folder.join(".zeef")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                open.push(entry?.path());
            }
            continue;
        }
        let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        searched.files += 1;
        if Member::TRACES.iter().any(|trace| text.contains(trace)) {
            let below = path.strip_prefix(folder).unwrap_or(&path);
            searched.found.push(below.display().to_string());
        }
    }
    searched.found.sort();
    Ok(searched)
}

/// How many fields an output has.
pub(super) fn fields(recipient: &Recipient, output: &str) -> usize {
    let shown: BTreeSet<String> = flatten(output)
        .into_iter()
        .map(|(path, _)| top(&path).to_owned())
        .collect();
    let fields = recipient.fields.iter();
    fields.filter(|one| shown.contains(&one.name)).count()
}
