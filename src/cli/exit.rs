//! How a command ends, in numbers that a script or systemd can act on.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::policy::Mistake;
use crate::policy::pseudonym::KeyMistake;
use crate::transport::Fault;

use super::screen::{self, Tone};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Fine,
    Failed,
    /// The command line is wrong.
    Usage,
    /// A lane stopped: going on would be wrong until an operator acts.
    Stopped,
    /// Another instance took over: a restart would fight it.
    TakenOver,
    /// The config is wrong; nothing was started.
    Config,
}

impl Exit {
    /// The number that the process ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Exit::Fine => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Stopped => 70,
            Exit::TakenOver => 75,
            Exit::Config => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// What the operator did wrong, with the exit code that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The config has these mistakes.
    Mistakes(Vec<Mistake>),
    /// These keys cannot be had.
    Keys(Vec<KeyMistake>),
    /// The command line names something that does not exist.
    Usage(String),
    /// The config is right, but not for this.
    Config(String),
    /// A process that is alive has what this one would take.
    InUse(String),
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Mistakes(mistakes) => {
                write!(f, "{} in the config", counted(mistakes.len(), "mistake"))
            }
            Failure::Keys(mistakes) => {
                write!(f, "{} cannot be had", counted(mistakes.len(), "key"))
            }
            Failure::Usage(text) | Failure::Config(text) | Failure::InUse(text) => {
                f.write_str(text)
            }
        }
    }
}

impl Failure {
    /// What stands above the failure itself, a line each.
    fn lines(&self) -> Vec<String> {
        match self {
            Failure::Mistakes(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
            Failure::Keys(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
            Failure::Usage(_) | Failure::Config(_) | Failure::InUse(_) => Vec::new(),
        }
    }
}

/// A number and what is counted, in the plural where it has to be.
#[must_use]
pub(super) fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Tells an error on stderr, and which exit it is.
pub(super) fn tell(error: &anyhow::Error) -> Exit {
    if is_broken_pipe(error) {
        return Exit::Fine;
    }
    let exit = exit_of(error);
    let failure = error.downcast_ref::<Failure>();
    for line in failure.map(Failure::lines).unwrap_or_default() {
        screen::note(Tone::Plain, &line);
    }
    screen::note(Tone::Error, &chain(error));
    exit
}

/// An error and its causes in one line, each said once: some causes stand in the text
/// of what they caused already.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn exit_of(error: &anyhow::Error) -> Exit {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return match failure {
            Failure::Mistakes(_) | Failure::Keys(_) | Failure::Config(_) => Exit::Config,
            Failure::Usage(_) => Exit::Usage,
            Failure::InUse(_) => Exit::TakenOver,
        };
    }
    match error.downcast_ref::<Fault>() {
        Some(Fault::Twin(_)) => Exit::TakenOver,
        Some(Fault::Stop(_)) => Exit::Stopped,
        Some(
            Fault::Abort(_)
            | Fault::Interrupted
            | Fault::Unanswered(_)
            | Fault::Rebuild(_)
            | Fault::Io(_),
        )
        | None => Exit::Failed,
    }
}

/// Whoever read our output has enough of it.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: impl Into<anyhow::Error>, code: u8) {
        let error = error.into().context("while trying");
        assert_eq!(exit_of(&error).code(), code, "{error:#}");
    }

    #[test]
    fn every_failure_has_its_code() {
        check(Failure::Mistakes(Vec::new()), 78);
        check(Failure::Keys(Vec::new()), 78);
        check(Failure::Config("no".to_owned()), 78);
        check(Failure::Usage("no".to_owned()), 2);
        check(Failure::InUse("no".to_owned()), 75);
        check(Fault::Twin("a".to_owned()), 75);
        check(Fault::Stop("a".to_owned()), 70);
        check(Fault::Rebuild("a".to_owned()), 1);
        check(Fault::Io("a".to_owned()), 1);
        check(io::Error::other("disk"), 1);
    }

    #[test]
    fn a_cause_is_said_once() {
        let full = io::Error::other("no room");
        let error = anyhow::Error::new(full).context("failed to write a: no room");
        assert_eq!(chain(&error), "failed to write a: no room");
        let error = error.context("while trying");
        assert_eq!(chain(&error), "while trying: failed to write a: no room");
    }
}
