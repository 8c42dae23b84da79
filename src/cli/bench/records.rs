//! The records that are measured: read from lines, or made up.
//!
//! Decides none of them.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context;

use crate::policy::Policy;
use crate::policy::catalogue::{Kind, Role};
use crate::sample::{self, Library, Settings};

use super::super::config::unknown;
use super::super::exit::Failure;
use super::super::generate::today;
use super::super::message::{Lines, Message, Value};
use super::super::project::{check_sources, kind_of};

/// The records of one source, and what comes before them.
pub(super) struct Work {
    /// Patrons, consents and objections, as far as they are not measured.
    pub(super) before: Vec<Message>,
    pub(super) records: Vec<Message>,
    pub(super) invented: bool,
    /// Numbers of lines whose source cannot be read.
    pub(super) unreadable: Vec<usize>,
}

impl Work {
    /// Reads lines from `file`, or from stdin where it is `-`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, names a source that does not exist, or has no
    /// record of `kind`.
    pub(super) fn read(policy: &Policy, kind: &Kind, file: &Path) -> anyhow::Result<Work> {
        let unread = || format!("{} cannot be read", file.display());
        let lines = if file == Path::new("-") {
            Lines::of_stdin()
        } else {
            let opened = File::open(file).with_context(unread)?;
            Lines::read(BufReader::new(opened))
        };
        let lines = lines.with_context(unread)?;
        check_sources(policy, &lines.messages)?;
        let mut work = Work {
            before: Vec::new(),
            records: Vec::new(),
            invented: false,
            unreadable: lines.unreadable,
        };
        for message in lines.messages {
            let Some(of) = kind_of(policy, &message.source) else {
                continue;
            };
            if of.name == kind.name {
                work.records.push(message);
            } else if of.role != Role::Record {
                work.before.push(message);
            }
        }
        if work.records.is_empty() {
            let text = format!("{}: no line is a record of `{}`", file.display(), kind.name);
            return Err(Failure::Usage(text).into());
        }
        Ok(work)
    }

    /// Makes up `count` records, and the patrons that they are of.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] where `kind` is none that can be made up.
    pub(super) fn make_up(kind: &Kind, count: usize) -> Result<Work, Failure> {
        let Some(source) = sample::Source::named(&kind.name) else {
            let all = sample::Source::ALL.iter().map(|source| source.as_str());
            let text = unknown("source to make up", &kind.name, all);
            return Err(Failure::Usage(format!(
                "{text}; or give its records with --records"
            )));
        };
        let library = Library::new(Settings::new(1, u64::from(u32::MAX), today()));
        let mut work = Work {
            before: Vec::new(),
            records: Vec::with_capacity(count),
            invented: true,
            unreadable: Vec::new(),
        };
        for patron in 0.. {
            if work.records.len() >= count {
                break;
            }
            work.take(library.messages_of(patron), source.as_str(), count);
        }
        Ok(work)
    }

    /// Takes the messages of one patron, where a record of `source` is among them.
    fn take(&mut self, messages: Vec<sample::Message>, source: &str, count: usize) {
        if messages.iter().all(|message| message.source != source) {
            return;
        }
        let gates = [
            sample::Source::Patron,
            sample::Source::Consent,
            sample::Source::Objection,
        ];
        for message in messages.into_iter().filter(|one| one.value.is_some()) {
            if message.source == source {
                if self.records.len() < count {
                    let line = self.records.len() + 1;
                    self.records.push(line_of(message, line));
                }
            } else if gates.iter().any(|gate| gate.as_str() == message.source) {
                let line = self.before.len() + 1;
                self.before.push(line_of(message, line));
            }
        }
    }
}

fn line_of(message: sample::Message, line: usize) -> Message {
    Message {
        line,
        source: message.source.to_owned(),
        key: Some(message.key),
        value: message
            .value
            .map_or(Value::Null, |text| Value::Bytes(text.into_bytes())),
    }
}
