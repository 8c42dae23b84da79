//! The records to measure: read from lines, or generated.
//!
//! Decides none of them.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context;

use crate::policy::Policy;
use crate::policy::catalogue::{RecordKind, Role};
use crate::sample::{self, SampleLibrary, SampleSettings};

use crate::cli::config::unknown_name_text;
use crate::cli::exit::CliFailure;
use crate::cli::generate::today;
use crate::cli::message_lines::{LineMessage, LineValue, MessageLines};
use crate::cli::project::{kind_of_source, require_known_sources};

/// The records of one source, and the gate messages before them.
pub(super) struct Workload {
    /// Patrons, consents and objections that are not measured themselves.
    pub(super) gate_messages: Vec<LineMessage>,
    pub(super) records: Vec<LineMessage>,
    pub(super) is_invented: bool,
    /// Numbers of lines whose source is unreadable.
    pub(super) unreadable_lines: Vec<usize>,
}

impl Workload {
    /// Reads lines from `file`, or from stdin for `-`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, names a source that does not exist, or has no record of
    /// `kind`.
    pub(super) fn read_file(
        policy: &Policy,
        kind: &RecordKind,
        file: &Path,
    ) -> anyhow::Result<Workload> {
        let unread = || format!("{} cannot be read", file.display());
        let lines = if file == Path::new("-") {
            MessageLines::read_stdin()
        } else {
            let opened = File::open(file).with_context(unread)?;
            MessageLines::read(BufReader::new(opened))
        };
        let lines = lines.with_context(unread)?;
        require_known_sources(policy, &lines.messages)?;
        let mut work = Workload {
            gate_messages: Vec::new(),
            records: Vec::new(),
            is_invented: false,
            unreadable_lines: lines.unreadable_lines,
        };
        for message in lines.messages {
            let Some(of) = kind_of_source(policy, &message.source) else {
                continue;
            };
            if of.name == kind.name {
                work.records.push(message);
            } else if of.role != Role::Record {
                work.gate_messages.push(message);
            }
        }
        if work.records.is_empty() {
            let text = format!("{}: no line is a record of `{}`", file.display(), kind.name);
            return Err(CliFailure::Usage(text).into());
        }
        Ok(work)
    }

    /// Generates `count` records and their patrons.
    ///
    /// # Errors
    ///
    /// [`CliFailure::Usage`] if no records of `kind` can be generated.
    pub(super) fn generate(kind: &RecordKind, count: usize) -> Result<Workload, CliFailure> {
        let Some(source) = sample::SampleSource::from_name(&kind.name) else {
            let all = sample::SampleSource::ALL.iter().map(|source| source.as_str());
            let text = unknown_name_text("source to make up", &kind.name, all);
            return Err(CliFailure::Usage(format!("{text}; or give its records with --records")));
        };
        let library = SampleLibrary::new(SampleSettings::new(1, u64::from(u32::MAX), today()));
        let mut work = Workload {
            gate_messages: Vec::new(),
            records: Vec::with_capacity(count),
            is_invented: true,
            unreadable_lines: Vec::new(),
        };
        for patron in 0.. {
            if work.records.len() >= count {
                break;
            }
            work.add_patron_messages(library.messages_of_patron(patron), source.as_str(), count);
        }
        Ok(work)
    }

    /// Adds the messages of one patron, if they include a record of `source`.
    fn add_patron_messages(
        &mut self,
        messages: Vec<sample::SampleMessage>,
        source: &str,
        count: usize,
    ) {
        if messages.iter().all(|message| message.source != source) {
            return;
        }
        let gates = [
            sample::SampleSource::Patron,
            sample::SampleSource::Consent,
            sample::SampleSource::Objection,
        ];
        for message in messages.into_iter().filter(|one| one.value.is_some()) {
            if message.source == source {
                if self.records.len() < count {
                    let line = self.records.len() + 1;
                    self.records.push(to_line_message(message, line));
                }
            } else if gates.iter().any(|gate| gate.as_str() == message.source) {
                let line = self.gate_messages.len() + 1;
                self.gate_messages.push(to_line_message(message, line));
            }
        }
    }
}

fn to_line_message(message: sample::SampleMessage, line: usize) -> LineMessage {
    LineMessage {
        line,
        source: message.source.to_owned(),
        key: message.key,
        value: message.value.map_or(LineValue::Null, |text| LineValue::Bytes(text.into_bytes())),
    }
}
