//! The same policy without a part of it, and a part of the work by itself.
//!
//! For measuring only: what a changed policy releases is never published.

use std::collections::HashMap;

use serde_json::Value;

use crate::policy::catalogue::{Kind, Role};
use crate::policy::mask::Mask;
use crate::policy::pseudonym::{self, Meaning, Pseudonymiser};
use crate::policy::recipient::{FieldRef, Libraries, OutputValue, Recipient};
use crate::policy::{Loaded, Policy};
use crate::transport::Payload;

use super::super::message::Message;
use super::super::project::{input, kind_of};
use super::measure::{Scene, Way};

/// The config, with only those recipients served that `served` names: the
/// others' fields are still read, and then no library is theirs.
pub(super) fn serving(loaded: &Loaded, served: impl Fn(&str) -> bool) -> Loaded {
    let mut loaded = loaded.clone();
    let recipients = loaded.policy.recipients.iter_mut();
    for recipient in recipients.filter(|recipient| !served(&recipient.name)) {
        recipient.libraries = Libraries::Only(Vec::new());
    }
    loaded
}

/// The config without detectors in what is made of `kind`; none where there are
/// none anyway.
pub(super) fn without_detectors(loaded: &Loaded, kind: &Kind) -> Option<Loaded> {
    let mut loaded = loaded.clone();
    let Policy {
        kinds, recipients, ..
    } = &mut loaded.policy;
    let mut found = false;
    let readers = recipients
        .iter_mut()
        .filter(|recipient| kinds[recipient.source].name == kind.name);
    for field in readers.flat_map(|recipient| &mut recipient.fields) {
        if let OutputValue::Scalar(projection) = &mut field.value {
            found |= projection.detect.take().is_some();
        }
    }
    found.then_some(loaded)
}

/// The pseudonyms of some records, ready to be made again by themselves.
pub(super) struct Pseudonyms {
    keys: Vec<Pseudonymiser>,
    texts: Vec<Text>,
}

/// One value, and by which keys it gets a pseudonym.
#[derive(PartialEq, Eq)]
struct Text {
    meaning: Meaning,
    library: String,
    value: String,
    /// Follows the value in an output key.
    patron_id: Option<String>,
    keys: Vec<usize>,
}

impl Pseudonyms {
    /// Finds what `whole` makes pseudonyms of when it decides `records`.
    pub(super) fn of(scene: &Scene<'_>, whole: &mut Way, records: &[&Message]) -> Pseudonyms {
        let policy = &scene.loaded.policy;
        let is_reader = |one: &&Recipient| policy.kinds[one.source].name == scene.kind.name;
        let readers: Vec<&Recipient> = policy.recipients.iter().filter(is_reader).collect();
        let made_of: Vec<Vec<&FieldRef>> = readers.iter().map(|one| fields(one)).collect();
        let patrons = patrons(scene);
        let mut all = Pseudonyms {
            keys: readers
                .iter()
                .filter_map(|one| scene.keys.key(&one.name).map(Pseudonymiser::new))
                .collect(),
            texts: Vec::new(),
        };
        for message in records {
            let released = released(whole, message);
            let Some(record) = tree(message) else {
                continue;
            };
            let patron = message.key.as_deref().and_then(|key| patrons.get(key));
            let patron = patron.and_then(|message| tree(message));
            let from = all.texts.len();
            for (reader, fields) in made_of.iter().enumerate() {
                if !released.contains(&readers[reader].name) {
                    continue;
                }
                for (place, field) in fields.iter().enumerate() {
                    let text = text(scene.kind, field, &record, patron.as_ref());
                    let is_key = place == 0 && scene.kind.keyed && field.path != "patron_id";
                    let patron_id = at(&record, "patron_id").filter(|_| is_key);
                    let text = text.map(|text| Text {
                        patron_id: patron_id.map(str::to_owned),
                        ..text
                    });
                    all.note(from, text, reader);
                }
            }
        }
        all
    }

    /// Notes that `reader` makes a pseudonym of `text`; those of the record at
    /// hand begin at `from`.
    fn note(&mut self, from: usize, text: Option<Text>, reader: usize) {
        let Some(text) = text else {
            return;
        };
        let same = |one: &&mut Text| {
            let named = (&one.meaning, &one.library) == (&text.meaning, &text.library);
            named && (&one.value, &one.patron_id) == (&text.value, &text.patron_id)
        };
        match self.texts[from..].iter_mut().find(same) {
            Some(one) => one.keys.push(reader),
            None => self.texts.push(Text {
                keys: vec![reader],
                ..text
            }),
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.texts.iter().map(|text| text.keys.len()).sum()
    }

    /// Makes all of them, as the engine does: what is hashed is made up once
    /// for all keys.
    pub(super) fn make(&self) -> usize {
        let mut sum = 0;
        for text in &self.texts {
            let parts = pseudonym::MessageParts {
                meaning: &text.meaning,
                library: &text.library,
                value: &text.value,
                patron_id: text.patron_id.as_deref(),
                month: None,
            };
            let message = pseudonym::Message::new(&parts);
            for key in text.keys.iter().filter_map(|key| self.keys.get(*key)) {
                let made = match &message {
                    Some(message) => key.end(key.begin(message)),
                    None => key.pseudonym_of(&parts),
                };
                sum += (made.words()[0] & 0xff) as usize;
            }
        }
        sum
    }
}

/// The fields that a recipient makes a pseudonym of, its key first.
fn fields(recipient: &Recipient) -> Vec<&FieldRef> {
    let shown = recipient
        .fields
        .iter()
        .filter_map(|field| match &field.value {
            OutputValue::Scalar(projection)
                if matches!(projection.mask, Some(Mask::Pseudonym { .. })) =>
            {
                let is_key = |from: &&FieldRef| **from == recipient.key && from.path == "patron_id";
                projection.from.as_ref().filter(|from| !is_key(from))
            }
            _ => None,
        });
    std::iter::once(&recipient.key).chain(shown).collect()
}

/// The names of the recipients that get a record.
fn released(whole: &mut Way, message: &Message) -> Vec<String> {
    whole.outbox.clear();
    let input = input(message, whole.source);
    whole.pipeline.decide(&input, &mut whole.outbox);
    let tallies = &whole.pipeline.tally().recipients;
    let programs = whole.pipeline.lane().recipients.iter().zip(tallies);
    let names = programs
        .filter(|(_, tally)| tally.released > 0)
        .map(|(program, _)| program.name.clone())
        .collect();
    whole.pipeline.merge();
    names
}

/// The patrons, by their ids, where records are joined with them.
fn patrons<'a>(scene: &Scene<'a>) -> HashMap<&'a str, &'a Message> {
    if scene.kind.role == Role::Patron {
        return HashMap::new();
    }
    let policy = &scene.loaded.policy;
    let before = scene.work.before.iter();
    before
        .filter(|message| {
            kind_of(policy, &message.source).is_some_and(|kind| kind.role == Role::Patron)
        })
        .filter_map(|message| Some((message.key.as_deref()?, message)))
        .collect()
}

fn tree(message: &Message) -> Option<Value> {
    match message.payload() {
        Payload::Bytes(bytes) => serde_json::from_slice(bytes).ok(),
        Payload::Null | Payload::Refused(_) | Payload::Unread(..) => None,
    }
}

/// What is hashed for a field, without anybody's key.
fn text(kind: &Kind, field: &FieldRef, record: &Value, patron: Option<&Value>) -> Option<Text> {
    let is_patron = kind.role == Role::Patron;
    let of_patron = field.joined || field.path == "patron_id" || is_patron;
    let named = if of_patron { "patron" } else { &kind.name };
    let owner = if of_patron && !is_patron {
        patron
    } else {
        Some(record)
    };
    let library = owner.and_then(|tree| at(tree, "library"));
    let value = at(if field.joined { patron? } else { record }, &field.path)?;
    Some(Text {
        meaning: Meaning::new(named, &field.path),
        library: library.unwrap_or_default().to_owned(),
        value: value.to_owned(),
        patron_id: None,
        keys: Vec::new(),
    })
}

fn at<'a>(tree: &'a Value, path: &str) -> Option<&'a str> {
    let mut parts = path.split('.');
    parts.try_fold(tree, |tree, part| tree.get(part))?.as_str()
}
