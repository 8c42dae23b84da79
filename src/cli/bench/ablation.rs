//! Variants of the policy without a part of it, and single parts of the work.
//!
//! For measuring only: what a changed policy releases is never published.

use std::collections::HashMap;

use serde_json::Value;

use crate::config::LoadedConfig;
use crate::message::Payload;
use crate::policy::Policy;
use crate::policy::catalogue::{RecordKind, Role};
use crate::policy::mask::Mask;
use crate::policy::pseudonym::{self, PseudonymDomain, Pseudonymiser};
use crate::policy::recipient::{FieldRef, OutputValue, Recipient, ServedLibraries};

use super::measure::{BenchPipeline, BenchSetup};
use crate::cli::message_lines::LineMessage;
use crate::cli::project::{kind_of_source, message_input};

/// Returns the config with only some recipients served: the others' fields are still read,
/// but no library is theirs.
pub(super) fn serving_only(loaded: &LoadedConfig, served: impl Fn(&str) -> bool) -> LoadedConfig {
    let mut loaded = loaded.clone();
    let recipients = loaded.policy.recipients.iter_mut();
    for recipient in recipients.filter(|recipient| !served(&recipient.name)) {
        recipient.libraries = ServedLibraries::Only(Vec::new());
    }
    loaded
}

/// Returns the config without detectors in the outputs of `kind`, or `None` if there are
/// none.
pub(super) fn without_detectors(loaded: &LoadedConfig, kind: &RecordKind) -> Option<LoadedConfig> {
    let mut loaded = loaded.clone();
    let Policy { record_kinds: kinds, recipients, .. } = &mut loaded.policy;
    let mut found = false;
    let readers = recipients
        .iter_mut()
        .filter(|recipient| kinds[recipient.source_kind_index].name == kind.name);
    for field in readers.flat_map(|recipient| &mut recipient.output_fields) {
        if let OutputValue::Scalar(projection) = &mut field.value {
            found |= projection.detect.take().is_some();
        }
    }
    found.then_some(loaded)
}

/// The pseudonyms of some records, to be computed on their own.
pub(super) struct PseudonymWork {
    keys: Vec<Pseudonymiser>,
    items: Vec<PseudonymWorkItem>,
}

/// A value, and the keys it is pseudonymised with.
#[derive(PartialEq, Eq)]
struct PseudonymWorkItem {
    meaning: PseudonymDomain,
    library: String,
    value: String,
    patron_id: Option<String>,
    keys: Vec<usize>,
}

impl PseudonymWork {
    /// Collects what `whole` pseudonymises when it decides `records`.
    pub(super) fn collect(
        setup: &BenchSetup<'_>,
        whole: &mut BenchPipeline,
        records: &[&LineMessage],
    ) -> PseudonymWork {
        let policy = &setup.loaded.policy;
        let is_reader =
            |one: &&Recipient| policy.record_kinds[one.source_kind_index].name == setup.kind.name;
        let readers: Vec<&Recipient> = policy.recipients.iter().filter(is_reader).collect();
        let made_of: Vec<Vec<&FieldRef>> =
            readers.iter().map(|one| pseudonymised_fields(one)).collect();
        let patrons = patrons_by_id(setup);
        let mut all = PseudonymWork {
            keys: readers
                .iter()
                .filter_map(|one| setup.keys.key(&one.name).map(Pseudonymiser::new))
                .collect(),
            items: Vec::new(),
        };
        for message in records {
            let released = recipients_of_record(whole, message);
            let Some(record) = parse_value(message) else {
                continue;
            };
            let patron = message.key.as_deref().and_then(|key| patrons.get(key));
            let patron = patron.and_then(|message| parse_value(message));
            let from = all.items.len();
            for (reader, fields) in made_of.iter().enumerate() {
                if !released.contains(&readers[reader].name) {
                    continue;
                }
                for (place, field) in fields.iter().enumerate() {
                    let text = pseudonym_work_item(setup.kind, field, &record, patron.as_ref());
                    let is_key =
                        place == 0 && setup.kind.is_keyed_by_patron && field.path != "patron_id";
                    let patron_id = text_at(&record, "patron_id").filter(|_| is_key);
                    let text = text.map(|text| PseudonymWorkItem {
                        patron_id: patron_id.map(str::to_owned),
                        ..text
                    });
                    all.add_item(from, text, reader);
                }
            }
        }
        all
    }

    /// Adds that `reader` pseudonymises `text`; items of the current record begin at
    /// `from`.
    fn add_item(&mut self, from: usize, text: Option<PseudonymWorkItem>, reader: usize) {
        let Some(text) = text else {
            return;
        };
        let same = |one: &&mut PseudonymWorkItem| {
            let named = (&one.meaning, &one.library) == (&text.meaning, &text.library);
            named && (&one.value, &one.patron_id) == (&text.value, &text.patron_id)
        };
        match self.items[from..].iter_mut().find(same) {
            Some(one) => one.keys.push(reader),
            None => self.items.push(PseudonymWorkItem { keys: vec![reader], ..text }),
        }
    }

    /// Returns how many there are.
    pub(super) fn count(&self) -> usize {
        self.items.iter().map(|text| text.keys.len()).sum()
    }

    /// Computes all of them as the engine does: the hashed text is prepared once for all
    /// keys.
    pub(super) fn compute_all(&self) -> usize {
        let mut sum = 0;
        for text in &self.items {
            let parts = pseudonym::PseudonymInput {
                domain: &text.meaning,
                library: &text.library,
                value: &text.value,
                patron_id: text.patron_id.as_deref(),
                month: None,
            };
            let message = pseudonym::PaddedMessage::new(&parts);
            for key in text.keys.iter().filter_map(|key| self.keys.get(*key)) {
                let made = match &message {
                    Some(message) => key.finish_hash(key.begin_hash(message)),
                    None => key.pseudonymise_input(&parts),
                };
                sum += (made.to_words()[0] & 0xff) as usize;
            }
        }
        sum
    }
}

/// Returns the fields that a recipient pseudonymises, its key first.
fn pseudonymised_fields(recipient: &Recipient) -> Vec<&FieldRef> {
    let shown = recipient.output_fields.iter().filter_map(|field| match &field.value {
        OutputValue::Scalar(projection)
            if matches!(projection.mask, Some(Mask::Pseudonym { .. })) =>
        {
            let is_key =
                |from: &&FieldRef| **from == recipient.output_key_field && from.path == "patron_id";
            projection.from.as_ref().filter(|from| !is_key(from))
        }
        _ => None,
    });
    std::iter::once(&recipient.output_key_field).chain(shown).collect()
}

/// Returns the names of the recipients that get a record.
fn recipients_of_record(whole: &mut BenchPipeline, message: &LineMessage) -> Vec<String> {
    whole.outbox.clear();
    let input = message_input(message, whole.source_index);
    whole.pipeline.decide(&input, &mut whole.outbox);
    let tallies = &whole.pipeline.tally().recipients;
    let programs = whole.pipeline.lane().recipients.iter().zip(tallies);
    let names = programs
        .filter(|(_, tally)| tally.released > 0)
        .map(|(program, _)| program.name.clone())
        .collect();
    whole.pipeline.commit();
    names
}

/// Returns the patrons by id, if records are joined with them.
fn patrons_by_id<'a>(setup: &BenchSetup<'a>) -> HashMap<&'a str, &'a LineMessage> {
    if setup.kind.role == Role::Patron {
        return HashMap::new();
    }
    let policy = &setup.loaded.policy;
    let before = setup.workload.gate_messages.iter();
    before
        .filter(|message| {
            kind_of_source(policy, &message.source).is_some_and(|kind| kind.role == Role::Patron)
        })
        .filter_map(|message| Some((message.key.as_deref()?, message)))
        .collect()
}

fn parse_value(message: &LineMessage) -> Option<Value> {
    match message.payload() {
        Payload::Bytes(bytes) => serde_json::from_slice(bytes).ok(),
        Payload::Null | Payload::Refused(_) | Payload::RefusedBytes(..) => None,
    }
}

/// Returns what is hashed for a field, without any key.
fn pseudonym_work_item(
    kind: &RecordKind,
    field: &FieldRef,
    record: &Value,
    patron: Option<&Value>,
) -> Option<PseudonymWorkItem> {
    let is_patron = kind.role == Role::Patron;
    let of_patron = field.is_joined || field.path == "patron_id" || is_patron;
    let named = if of_patron { "patron" } else { &kind.name };
    let owner = if of_patron && !is_patron { patron } else { Some(record) };
    let library = owner.and_then(|tree| text_at(tree, "library"));
    let value = text_at(if field.is_joined { patron? } else { record }, &field.path)?;
    Some(PseudonymWorkItem {
        meaning: PseudonymDomain::new(named, &field.path),
        library: library.unwrap_or_default().to_owned(),
        value: value.to_owned(),
        patron_id: None,
        keys: Vec::new(),
    })
}

fn text_at<'a>(tree: &'a Value, path: &str) -> Option<&'a str> {
    let mut parts = path.split('.');
    parts.try_fold(tree, |tree, part| tree.get(part))?.as_str()
}
