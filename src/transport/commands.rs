//! What operators ask of lanes: messages on `zeef.commands`, and lines of a file
//! of that name in a directory.
//!
//! They are read whole at a start. Each is for one finding, recipient or lane;
//! none of them accepts what is not yet known.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The topic of commands, without any prefix.
pub const COMMANDS_TOPIC: &str = "zeef.commands";
/// The format version of commands.
const FORMAT: u32 = 1;

/// One command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// The finding of this code is accepted.
    Accept { code: String },
    /// All that a recipient has is sent again, to a topic that was made anew.
    Refill { recipient: String },
    /// The outputs of a recipient move to the key with this fingerprint.
    Rotate { recipient: String, print: String },
    /// A lane begins anew, and knows nothing of what was sent before; its outputs
    /// had so many offsets in all then.
    Forget { lane: String, offsets: i64 },
}

/// Whether this is written as codes of findings are.
#[must_use]
pub fn is_code(text: &str) -> bool {
    (10..=12).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
}

/// A command as it is written: what, why, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandText {
    format: u32,
    pub command: Command,
    /// What the operator says of it.
    pub reason: String,
    /// RFC 3339 in UTC.
    pub time: String,
}

impl CommandText {
    #[must_use]
    pub fn new(command: Command, reason: String, time: String) -> Self {
        CommandText {
            format: FORMAT,
            command,
            reason,
            time,
        }
    }

    /// Returns the message's value, or the line.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Why commands cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("a command has a newer format than {FORMAT}: run a newer zeef")]
    Newer,
    #[error("a command cannot be read")]
    Damaged,
}

/// All commands that were given, by where they lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    accepted: BTreeSet<String>,
    others: Vec<(i64, Command)>,
    /// The next offset after the last one.
    pub end: i64,
}

impl Commands {
    /// Adds a message; they come in the order of their offsets.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; no text of it quotes the message.
    pub fn add(&mut self, offset: i64, value: &[u8]) -> Result<(), CommandError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_slice(value).map_err(|_| CommandError::Damaged)?;
        if head.format > FORMAT {
            return Err(CommandError::Newer);
        }
        let text: CommandText = serde_json::from_slice(value).map_err(|_| CommandError::Damaged)?;
        self.end = self.end.max(offset + 1);
        match text.command {
            Command::Accept { code } => {
                self.accepted.insert(code);
            }
            other => self.others.push((offset, other)),
        }
        Ok(())
    }

    /// Accepts the finding of a code.
    pub fn accept(&mut self, code: String) {
        self.accepted.insert(code);
    }

    #[must_use]
    pub fn accepts(&self, code: &str) -> bool {
        self.accepted.contains(code)
    }

    /// The recipients that are to be filled again, by commands from `since` on.
    pub fn refills(&self, since: i64) -> impl Iterator<Item = &str> {
        let since = self
            .others
            .iter()
            .filter(move |(offset, _)| *offset >= since);
        since.filter_map(|(_, command)| match command {
            Command::Refill { recipient } => Some(recipient.as_str()),
            _ => None,
        })
    }

    /// Whether a recipient's outputs may move to the key with this fingerprint.
    #[must_use]
    pub fn rotates(&self, recipient: &str, print: &str) -> bool {
        self.others.iter().any(|(_, command)| {
            matches!(command, Command::Rotate { recipient: of, print: to }
                if of == recipient && to == print)
        })
    }

    /// With how many offsets in its outputs a lane was told to begin anew.
    pub fn forgotten(&self, lane: &str) -> impl Iterator<Item = i64> {
        self.others
            .iter()
            .filter_map(move |(_, command)| match command {
                Command::Forget { lane: of, offsets } if of == lane => Some(*offsets),
                _ => None,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(command: Command) -> Vec<u8> {
        CommandText::new(command, "why".to_owned(), "2026-01-01T00:00:00Z".to_owned()).write()
    }

    #[test]
    fn each_command_is_for_what_it_names() {
        let mut commands = Commands::default();
        let recipient = || "statistics".to_owned();
        let all = [
            Command::Accept {
                code: "abc".to_owned(),
            },
            Command::Refill {
                recipient: recipient(),
            },
            Command::Rotate {
                recipient: recipient(),
                print: "p2".to_owned(),
            },
            Command::Forget {
                lane: "main".to_owned(),
                offsets: 12,
            },
        ];
        for (offset, command) in (5..).zip(all) {
            commands.add(offset, &text(command)).unwrap();
        }
        assert_eq!(commands.end, 9);
        assert!(commands.accepts("abc") && !commands.accepts("abd"));
        assert_eq!(commands.refills(6).collect::<Vec<_>>(), ["statistics"]);
        assert_eq!(commands.refills(7).count(), 0);
        assert!(commands.rotates("statistics", "p2"));
        assert!(!commands.rotates("statistics", "p3") && !commands.rotates("x", "p2"));
        assert_eq!(commands.forgotten("main").collect::<Vec<_>>(), [12]);
        assert_eq!(commands.forgotten("finance").count(), 0);
    }

    #[test]
    fn what_is_no_command_is_an_error() {
        let mut commands = Commands::default();
        assert_eq!(commands.add(0, b"{}"), Err(CommandError::Damaged));
        assert_eq!(
            commands.add(0, br#"{"format":2}"#),
            Err(CommandError::Newer)
        );
        assert_eq!(commands, Commands::default());
    }
}
