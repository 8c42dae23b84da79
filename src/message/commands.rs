//! Operator commands: messages in `zeef.commands`, or lines of a file of that name in a
//! directory.
//!
//! They are read whole at a start. Each is for one finding, recipient or lane; none accepts
//! what is not yet known.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The topic of commands, without prefix.
pub const COMMANDS_TOPIC: &str = "zeef.commands";
/// The format version of commands.
const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorCommand {
    /// Accepts the finding with this code.
    Accept { code: String },
    /// Sends all outputs of a recipient again, to a topic that was recreated.
    Refill { recipient: String },
    /// Moves the outputs of a recipient to the key with this fingerprint.
    Rotate { recipient: String, print: String },
    /// Makes a lane start over without what it knew. `offsets` is the sum of its outputs'
    /// offsets at that time.
    Forget { lane: String, offsets: i64 },
}

/// Returns whether this looks like the code of a finding.
#[must_use]
pub fn is_finding_code(text: &str) -> bool {
    (10..=12).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
}

/// A command with reason and time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRecord {
    format: u32,
    pub command: OperatorCommand,
    /// The operator's reason.
    pub reason: String,
    /// RFC 3339 in UTC.
    pub time: String,
}

impl CommandRecord {
    #[must_use]
    pub fn new(command: OperatorCommand, reason: String, time: String) -> Self {
        CommandRecord { format: FORMAT, command, reason, time }
    }

    /// Returns the message's value, or the line.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Why commands cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("a command has a newer format than {FORMAT}: run a newer zeef")]
    NewerFormat,
    #[error("a command cannot be read")]
    Damaged,
}

/// All commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLog {
    accepted_codes: BTreeSet<String>,
    other_commands: Vec<(i64, OperatorCommand)>,
    /// The next offset after the last one.
    pub end_offset: i64,
    /// The commands that marks count were in another log: this one was created anew.
    is_recreated: bool,
}

impl CommandLog {
    /// Adds a message, in the order of offsets.
    ///
    /// # Errors
    ///
    /// A [`CommandError`], whose text never quotes the message.
    pub fn add_message(&mut self, offset: i64, value: &[u8]) -> Result<(), CommandError> {
        #[derive(Deserialize)]
        struct CommandHeader {
            format: u32,
        }
        let head: CommandHeader =
            serde_json::from_slice(value).map_err(|_| CommandError::Damaged)?;
        if head.format > FORMAT {
            return Err(CommandError::NewerFormat);
        }
        let text: CommandRecord =
            serde_json::from_slice(value).map_err(|_| CommandError::Damaged)?;
        self.end_offset = self.end_offset.max(offset + 1);
        match text.command {
            OperatorCommand::Accept { code } => {
                self.accepted_codes.insert(code);
            }
            other => self.other_commands.push((offset, other)),
        }
        Ok(())
    }

    /// Compares the log with the marks that were there before it was read: some commands below
    /// `done_offset` were carried out. Returns whether the log was created anew.
    pub fn detect_recreation(&mut self, done_offset: i64) -> bool {
        self.is_recreated = done_offset > self.end_offset;
        self.is_recreated
    }

    /// Returns the offset of the first command that is not done, by a mark that was written before
    /// this log was read or while it is in use.
    #[must_use]
    pub fn next_offset(&self, done_offset: i64) -> i64 {
        match self.is_recreated && done_offset > self.end_offset {
            true => 0,
            false => done_offset,
        }
    }

    pub fn accept_code(&mut self, code: String) {
        self.accepted_codes.insert(code);
    }

    #[must_use]
    pub fn is_accepted(&self, code: &str) -> bool {
        self.accepted_codes.contains(code)
    }

    /// Returns the recipients to refill, by commands from `since_offset` on.
    pub fn refill_recipients(&self, since_offset: i64) -> impl Iterator<Item = &str> {
        let since_offset =
            self.other_commands.iter().filter(move |(offset, _)| *offset >= since_offset);
        since_offset.filter_map(|(_, command)| match command {
            OperatorCommand::Refill { recipient } => Some(recipient.as_str()),
            _ => None,
        })
    }

    /// Returns whether a recipient's outputs may move to the key with this fingerprint.
    #[must_use]
    pub fn has_rotation(&self, recipient: &str, key_fingerprint: &str) -> bool {
        self.other_commands.iter().any(|(_, command)| {
            matches!(command, OperatorCommand::Rotate { recipient: of, print: to }
                if of == recipient && to == key_fingerprint)
        })
    }

    /// Returns the sums of output offsets with which a lane was told to start over.
    pub fn forget_offset_totals(&self, lane: &str) -> impl Iterator<Item = i64> {
        self.other_commands.iter().filter_map(move |(_, command)| match command {
            OperatorCommand::Forget { lane: of, offsets } if of == lane => Some(*offsets),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded_command(command: OperatorCommand) -> Vec<u8> {
        CommandRecord::new(command, "why".to_owned(), "2026-01-01T00:00:00Z".to_owned()).encode()
    }

    #[test]
    fn command_log_that_was_recreated_has_only_new_commands() {
        let refill = OperatorCommand::Refill { recipient: "statistics".to_owned() };
        let mut commands = CommandLog::default();
        commands.add_message(2, &encoded_command(refill)).unwrap();
        // In the same log, what a mark counts was there when it was written.
        assert!(!commands.detect_recreation(3));
        assert_eq!([0, 2, 3].map(|done| commands.next_offset(done)), [0, 2, 3]);
        // A mark that another process writes meanwhile may count commands that came since.
        assert_eq!(commands.next_offset(7), 7);
        assert!(commands.detect_recreation(7));
        assert_eq!([0, 2, 3, 4, 7].map(|done| commands.next_offset(done)), [0, 2, 3, 0, 0]);
    }

    #[test]
    fn command_log_applies_each_command_only_to_what_it_names() {
        let mut commands = CommandLog::default();
        let recipient = || "statistics".to_owned();
        let all = [
            OperatorCommand::Accept { code: "abc".to_owned() },
            OperatorCommand::Refill { recipient: recipient() },
            OperatorCommand::Rotate { recipient: recipient(), print: "p2".to_owned() },
            OperatorCommand::Forget { lane: "main".to_owned(), offsets: 12 },
        ];
        for (offset, command) in (5..).zip(all) {
            commands.add_message(offset, &encoded_command(command)).unwrap();
        }
        assert_eq!(commands.end_offset, 9);
        assert!(commands.is_accepted("abc") && !commands.is_accepted("abd"));
        assert_eq!(commands.refill_recipients(6).collect::<Vec<_>>(), ["statistics"]);
        assert_eq!(commands.refill_recipients(7).count(), 0);
        assert!(commands.has_rotation("statistics", "p2"));
        assert!(!commands.has_rotation("statistics", "p3") && !commands.has_rotation("x", "p2"));
        assert_eq!(commands.forget_offset_totals("main").collect::<Vec<_>>(), [12]);
        assert_eq!(commands.forget_offset_totals("finance").count(), 0);
    }

    #[test]
    fn command_log_rejects_damaged_and_newer_messages() {
        let mut commands = CommandLog::default();
        assert_eq!(commands.add_message(0, b"{}"), Err(CommandError::Damaged));
        assert_eq!(commands.add_message(0, br#"{"format":2}"#), Err(CommandError::NewerFormat));
        assert_eq!(commands, CommandLog::default());
    }
}
