//! What became of raw messages, in counts, lines and topics: never a value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::cli::exit::pluralise;
use crate::cli::screen::{self, NoteKind};
use crate::cli::table::format_thousands;
use crate::intake::{
    AllGone, Conversion, Intake, LookupTables, RecordOutcome, Refusal, RefusedRecord,
};
use crate::message::Fault;

use super::RawInput;

/// An input by its number, and a line of it.
type LinePlace = (usize, usize);

/// How many lines and topics are named at most.
const NAMED_MAX: usize = 10;

/// Lines that were refused for one cause.
#[derive(Default)]
struct RefusedLines {
    count: usize,
    /// The first of them.
    places: Vec<LinePlace>,
}

pub(super) struct ConversionSummary {
    input_names: Vec<String>,
    messages: usize,
    records: BTreeMap<(String, RecordOutcome), u64>,
    refused: BTreeMap<RefusedRecord, RefusedLines>,
    /// Records that were older than what was written of them, by kind.
    older: BTreeMap<String, u64>,
    /// Messages of topics that the mapping does not name.
    unread_messages: usize,
    unread_topics: BTreeSet<String>,
    /// The first message at which an intake has to stop.
    stop: Result<(), AllGone>,
}

impl ConversionSummary {
    pub(super) fn new(inputs: &[RawInput]) -> ConversionSummary {
        ConversionSummary {
            input_names: inputs.iter().map(|input| input.name.clone()).collect(),
            messages: 0,
            records: BTreeMap::new(),
            refused: BTreeMap::new(),
            older: BTreeMap::new(),
            unread_messages: 0,
            unread_topics: BTreeSet::new(),
            stop: Ok(()),
        }
    }

    pub(super) fn add_message(&mut self, intake: &Intake, topic: &str) {
        self.messages += 1;
        if !intake.reads_as_record(topic) && !intake.reads_as_lookup(topic) {
            self.unread_messages += 1;
            if self.unread_topics.len() < NAMED_MAX {
                self.unread_topics.insert(topic.to_owned());
            }
        }
    }

    pub(super) fn add_unreadable(&mut self, place: LinePlace, refusal: Refusal) {
        self.messages += 1;
        let refused =
            RefusedRecord { refusal, kind: None, field: String::new(), path: String::new() };
        self.add_refused(place, &[refused]);
    }

    pub(super) fn add_conversion(&mut self, place: LinePlace, conversion: &Conversion) {
        for record in &conversion.records {
            let count = self.records.entry((record.kind.to_string(), record.outcome)).or_default();
            *count += 1;
        }
        for kind in &conversion.older {
            *self.older.entry(kind.to_string()).or_default() += 1;
        }
        self.add_refused(place, &conversion.refused);
    }

    pub(super) fn add_refused(&mut self, place: LinePlace, refused: &[RefusedRecord]) {
        for one in refused {
            let lines = self.refused.entry(one.clone()).or_default();
            lines.count += 1;
            if lines.places.len() < NAMED_MAX {
                lines.places.push(place);
            }
        }
    }

    pub(super) fn note_stop(&mut self, stop: Result<(), AllGone>) {
        if self.stop.is_ok() {
            self.stop = stop;
        }
    }

    /// # Errors
    ///
    /// [`Fault::Stop`] if a run has to stop at one of the messages.
    pub(super) fn require_no_stop(&self) -> Result<(), Fault> {
        self.stop.clone().map_err(|stop| Fault::stop(stop.to_string()))
    }

    pub(super) fn has_refusals(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Tells all of it on stderr.
    pub(super) fn report(&self, intake: &Intake, lookups: &LookupTables) {
        let messages = pluralise(self.messages, "message");
        screen::print_note(NoteKind::Plain, &format!("{messages} read by {}", intake.name()));
        for (kind, text) in self.record_lines() {
            screen::print_note(NoteKind::Plain, &format!("  {kind}: {text}"));
        }
        if intake.lookup_names().next().is_some() {
            screen::print_note(NoteKind::Plain, &lookup_line(intake, lookups));
        }
        if self.unread_messages > 0 {
            let topics: Vec<&str> = self.unread_topics.iter().map(String::as_str).collect();
            let count = pluralise(self.unread_messages, "message");
            let text =
                format!("{count} of topics that the mapping does not name: {}", topics.join(", "));
            screen::print_note(NoteKind::Plain, &text);
        }
        for (refused, lines) in &self.refused {
            screen::print_note(NoteKind::Warning, &self.refused_text(refused, lines));
        }
    }

    /// Each kind with what became of its records.
    fn record_lines(&self) -> BTreeMap<&str, String> {
        let mut lines: BTreeMap<&str, String> = BTreeMap::new();
        let records = self.records.iter();
        let records = records.map(|((kind, outcome), count)| (kind, outcome.word(), count));
        let older = self.older.iter().map(|(kind, count)| (kind, "dropped as older", count));
        for (kind, word, count) in records.chain(older) {
            let text = lines.entry(kind).or_default();
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(text, "{comma}{} {word}", format_thousands(*count));
        }
        lines
    }

    fn refused_text(&self, refused: &RefusedRecord, lines: &RefusedLines) -> String {
        let RefusedRecord { refusal, .. } = refused;
        let mut text = format!("{} refused as {refusal}", pluralise(lines.count, "message"));
        let place = refused.place();
        if !place.is_empty() {
            let _ = write!(text, " at {place}");
        }
        let _ = write!(text, " ({}): ", refusal.meaning());
        let named: Vec<String> = lines.places.iter().map(|place| self.place_name(*place)).collect();
        text.push_str(&named.join(", "));
        if lines.count > named.len() {
            let _ = write!(text, " and {} more", lines.count - named.len());
        }
        let _ = write!(text, "; {}", refusal.advice());
        text
    }

    /// `line 7`, with its file where there are several.
    fn place_name(&self, (input, line): LinePlace) -> String {
        match self.input_names.as_slice() {
            [_] => format!("line {line}"),
            names => format!("{}:{line}", names.get(input).map_or("", String::as_str)),
        }
    }
}

fn lookup_line(intake: &Intake, lookups: &LookupTables) -> String {
    let counts = intake.lookup_names().zip(lookups.row_counts());
    let counts = counts.map(|(name, rows)| format!("{name} {}", format_thousands(rows as u64)));
    let counts: Vec<String> = counts.collect();
    let bytes = format_thousands(lookups.bytes() as u64);
    format!("  lookup rows: {} ({bytes} bytes)", counts.join(", "))
}
