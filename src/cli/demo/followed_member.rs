//! The followed member: what the library has of her, and what each partner has of that,
//! night by night.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;

use crate::engine::lane::Lane;
use crate::engine::pipeline::BatchTime;
use crate::policy::Policy;
use crate::policy::recipient::{
    DemandedPart, FieldProjection, OutputValue, Recipient, SummaryFunction,
};
use crate::sample::{self, DemoPatron};
use crate::transport::file::is_folder;

use super::DirectoryRuns;
use crate::cli::compile_lane;
use crate::cli::describe;
use crate::cli::message_lines::{LineMessage, LineValue};
use crate::cli::paths::flatten_json;
use crate::cli::project::{DecisionOrder, OfflineRun};

/// What a partner has under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OutputStatus {
    Nothing,
    Output(String),
    /// It had something, and a null took it back.
    Retracted,
}

/// An output about her at one partner.
pub(super) struct ReceivedOutput {
    pub(super) recipient: String,
    /// The kind of its record.
    pub(super) source: String,
    key: String,
    path: PathBuf,
    /// Its status after each night.
    pub(super) status_after_runs: Vec<OutputStatus>,
}

/// The member and all outputs about her.
pub(super) struct FollowedMember {
    pub(super) name: &'static str,
    pub(super) records: Vec<sample::SampleMessage>,
    pub(super) received: Vec<ReceivedOutput>,
}

impl FollowedMember {
    /// Finds what partners have of her after the first night.
    pub(super) fn new(
        member: &DemoPatron,
        runs: &DirectoryRuns<'_>,
    ) -> anyhow::Result<FollowedMember> {
        let (loaded, keys) = (runs.loaded, runs.keys);
        let lane = Arc::new(compile_lane::compile_lane("demo", loaded, |_| true, keys)?);
        let records = member.initial_messages();
        let mut run = OfflineRun::new(&lane, loaded, BatchTime::from_ms(runs.run_time_ms(0)));
        let mut outputs = BTreeSet::new();
        run.decide_all(&to_line_messages(&records), DecisionOrder::GatesFirst, |topic, output| {
            let key = String::from_utf8_lossy(output.key.unwrap_or_default());
            outputs.insert((topic.to_owned(), key.into_owned()));
            Ok(())
        })?;
        let received = outputs.into_iter().filter_map(|(topic, key)| {
            let (owner, source) = owner_and_source(&lane, &topic)?;
            let out = runs.folder.join("out").join(&owner);
            Some(ReceivedOutput {
                path: out.join(format!("{topic}.ndjson")),
                recipient: owner,
                source,
                key,
                status_after_runs: Vec::new(),
            })
        });
        let mut followed =
            FollowedMember { name: member.full_name(), received: received.collect(), records };
        followed.read_outputs(runs.folder)?;
        Ok(followed)
    }

    /// Reads what each partner has now.
    pub(super) fn read_outputs(&mut self, folder: &Path) -> anyhow::Result<()> {
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
            one.status_after_runs.push(match value {
                None => OutputStatus::Nothing,
                Some("null") => OutputStatus::Retracted,
                Some(value) => OutputStatus::Output(value.to_owned()),
            });
        }
        Ok(())
    }

    /// Returns the outputs of one recipient.
    pub(super) fn outputs_of<'a>(
        &'a self,
        recipient: &'a str,
    ) -> impl Iterator<Item = &'a ReceivedOutput> {
        let mut all = self.received.iter();
        std::iter::from_fn(move || all.find(|one| one.recipient == recipient))
    }
}

/// Returns owner and kind of record of a topic.
fn owner_and_source(lane: &Lane, topic: &str) -> Option<(String, String)> {
    let output = lane.outputs.iter().find(|output| output.topic == topic)?;
    let mut programs = lane.recipients.iter();
    let program = programs.find(|program| program.name == output.owner)?;
    let source = lane.sources.get(program.source_index)?;
    Some((output.owner.clone(), source.kind.name.clone()))
}

/// Converts generated messages to lines.
fn to_line_messages(messages: &[sample::SampleMessage]) -> Vec<LineMessage> {
    let read = |(at, message): (usize, &sample::SampleMessage)| LineMessage {
        line: at + 1,
        source: message.source.to_owned(),
        key: message.key.clone(),
        value: match &message.value {
            Some(text) => LineValue::Bytes(text.clone().into_bytes()),
            None => LineValue::Null,
        },
    };
    messages.iter().enumerate().map(read).collect()
}

/// How much of a field a partner got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FieldExposure {
    Nothing,
    /// A masked part, an inspected value, or a pseudonym.
    Part,
    InFull,
}

/// Returns how much of the field at `path` of a kind of record an output shows.
pub(super) fn field_exposure(
    policy: &Policy,
    received: &ReceivedOutput,
    (kind, path): (&str, &str),
) -> FieldExposure {
    let Some(recipient) = policy.recipient(&received.recipient) else {
        return FieldExposure::Nothing;
    };
    let Some(OutputStatus::Output(output)) = received.status_after_runs.first() else {
        return FieldExposure::Nothing;
    };
    let asked = AskedField {
        kind,
        path,
        is_of_patron: policy.patron_kind().is_some_and(|patron| patron.name == kind),
        is_of_record: received.source == kind,
    };
    let shown: BTreeSet<String> = flatten_json(output)
        .into_iter()
        .map(|(path, _)| top_level_name(&path).to_owned())
        .collect();
    let mut share = FieldExposure::Nothing;
    let key = &recipient.output_key_field;
    if asked.is_at(key.is_joined, &key.path) {
        share = FieldExposure::Part;
    }
    for field in recipient.output_fields.iter().filter(|one| shown.contains(&one.name)) {
        share = share.max(exposure_in_output_field(&field.value, &asked));
    }
    share
}

/// A field of a kind of record, of which an output may show something.
struct AskedField<'a> {
    kind: &'a str,
    path: &'a str,
    is_of_patron: bool,
    /// The output is one of the kind's records.
    is_of_record: bool,
}

impl AskedField<'_> {
    /// Returns whether it is a field of the joined patron, or of the output's record.
    fn is_in(&self, joined: bool) -> bool {
        if joined { self.is_of_patron } else { self.is_of_record }
    }

    fn is_at(&self, joined: bool, path: &str) -> bool {
        self.is_in(joined) && self.path == path
    }
}

/// Returns how much of a field one output field shows.
fn exposure_in_output_field(value: &OutputValue, asked: &AskedField<'_>) -> FieldExposure {
    match value {
        OutputValue::Scalar(_) | OutputValue::First(_) => {
            let projections = value.projections().iter();
            let each = projections.map(|one| exposure_in_projection(one, asked));
            each.max().unwrap_or(FieldExposure::Nothing)
        }
        OutputValue::Object { from, fields } | OutputValue::ObjectList { from, fields } => {
            match fields.iter().any(|field| asked.is_at(from.is_joined, &field.path)) {
                true => FieldExposure::InFull,
                false => FieldExposure::Nothing,
            }
        }
        OutputValue::ScalarList { from } => match asked.is_at(from.is_joined, &from.path) {
            true => FieldExposure::InFull,
            false => FieldExposure::Nothing,
        },
        // Which fields it shows, each demand says.
        OutputValue::Demanded { shows: DemandedPart::Values, .. } => match asked.is_in(true) {
            true => FieldExposure::Part,
            false => FieldExposure::Nothing,
        },
        // A number shows no field.
        OutputValue::Demanded { shows: DemandedPart::Number, .. } => FieldExposure::Nothing,
        // It is made of other fields of the output.
        OutputValue::ShelfSlip { .. } | OutputValue::ChannelWord => FieldExposure::Nothing,
        OutputValue::NamedPatron => match (asked.kind, asked.path) {
            ("consent", "recipient") => FieldExposure::Part,
            _ => FieldExposure::Nothing,
        },
        OutputValue::Summary(summary) => {
            let mut shown = summary.shown_paths();
            match &summary.function {
                _ if summary.kind_name != asked.kind || !shown.any(|one| one == asked.path) => {
                    FieldExposure::Nothing
                }
                SummaryFunction::List { .. } => FieldExposure::InFull,
                _ => FieldExposure::Part,
            }
        }
    }
}

/// Returns how much of a field one single value shows.
fn exposure_in_projection(projection: &FieldProjection, asked: &AskedField<'_>) -> FieldExposure {
    let from = projection.from.as_ref();
    let from = from.filter(|from| asked.is_at(from.is_joined, &from.path));
    let needs = describe::mask_needs(projection);
    let needed = needs.iter().any(|need| match need.strip_prefix("patron.") {
        Some(need) => asked.is_at(true, need),
        None => asked.is_at(false, need),
    });
    let is_whole = projection.mask.is_none() && projection.detect.is_none();
    match from {
        Some(_) if is_whole => FieldExposure::InFull,
        None if !needed => FieldExposure::Nothing,
        _ => FieldExposure::Part,
    }
}

/// Returns the output field that contains a path.
fn top_level_name(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or(path)
}

/// The files in which a trace of her was searched for, and those that had one.
pub(super) struct TraceSearch {
    pub(super) file_count: usize,
    pub(super) files_with_trace: Vec<String>,
}

/// Searches everything that zeef wrote for her.
pub(super) fn search_traces(folder: &Path) -> anyhow::Result<TraceSearch> {
    let mut searched = TraceSearch { file_count: 0, files_with_trace: Vec::new() };
    let mut open = vec![folder.join("out"), folder.join(".zeef")];
    while let Some(path) = open.pop() {
        if is_folder(&path)? {
            for entry in fs::read_dir(&path)? {
                open.push(entry?.path());
            }
            continue;
        }
        let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        searched.file_count += 1;
        if DemoPatron::PERSONAL_VALUES.iter().any(|trace| text.contains(trace)) {
            let below = path.strip_prefix(folder).unwrap_or(&path);
            searched.files_with_trace.push(below.display().to_string());
        }
    }
    searched.files_with_trace.sort();
    Ok(searched)
}

/// Returns how many fields an output has.
pub(super) fn count_fields(recipient: &Recipient, output: &str) -> usize {
    let shown: BTreeSet<String> = flatten_json(output)
        .into_iter()
        .map(|(path, _)| top_level_name(&path).to_owned())
        .collect();
    let fields = recipient.output_fields.iter();
    fields.filter(|one| shown.contains(&one.name)).count()
}
