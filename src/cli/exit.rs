//! Exit codes that a script or systemd can act on.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::config::Mistake;
use crate::config::keyring::KeyLoadError;
use crate::message::Fault;
use crate::transport::kafka::forget::ForgetError;
use crate::transport::kafka::topics::TopicError;

use super::screen::{self, NoteKind};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Success,
    Failed,
    /// The command line is wrong.
    Usage,
    /// A lane stopped until an operator acts.
    Stopped,
    /// Another instance took over: a restart would fight it.
    TakenOver,
    /// The config is wrong; nothing was started.
    Config,
}

impl Exit {
    /// Returns the process's exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
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

/// A mistake of the operator, by exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CliFailure {
    Mistakes(Vec<Mistake>),
    /// These keys are missing or unusable.
    Keys(Vec<KeyLoadError>),
    /// The command line names something that does not exist.
    Usage(String),
    /// The config is valid, but not for this.
    Config(String),
    /// Several things are wrong with the config.
    Several(Vec<CliFailure>),
    /// A live process has what this one would take.
    InUse(String),
}

impl std::error::Error for CliFailure {}

impl fmt::Display for CliFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CliFailure::Mistakes(mistakes) => {
                write!(f, "{} in the config", pluralise(mistakes.len(), "mistake"))
            }
            CliFailure::Keys(mistakes) => {
                write!(f, "{} cannot be had", pluralise(mistakes.len(), "key"))
            }
            CliFailure::Usage(text) | CliFailure::Config(text) | CliFailure::InUse(text) => {
                f.write_str(text)
            }
            CliFailure::Several(failures) => {
                let all: Vec<String> = failures.iter().map(ToString::to_string).collect();
                f.write_str(&all.join("\n"))
            }
        }
    }
}

impl CliFailure {
    /// Returns the lines to show above the failure itself.
    fn detail_lines(&self) -> Vec<String> {
        match self {
            CliFailure::Mistakes(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
            CliFailure::Keys(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
            CliFailure::Usage(_) | CliFailure::Config(_) | CliFailure::InUse(_) => Vec::new(),
            CliFailure::Several(failures) => {
                failures.iter().flat_map(CliFailure::detail_lines).collect()
            }
        }
    }
}

/// Returns a count with its noun, pluralised if needed.
#[must_use]
pub(super) fn pluralise(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Reports an error on stderr. Returns its exit.
pub(super) fn report(error: &anyhow::Error) -> Exit {
    if is_broken_pipe(error) {
        return Exit::Success;
    }
    let exit = exit_for(error);
    let failure = error.downcast_ref::<CliFailure>();
    for line in failure.map(CliFailure::detail_lines).unwrap_or_default() {
        screen::print_note(NoteKind::Plain, &line);
    }
    screen::print_note(NoteKind::Error, &format!("{error:#}"));
    exit
}

fn exit_for(error: &anyhow::Error) -> Exit {
    if let Some(failure) = error.downcast_ref::<CliFailure>() {
        return match failure {
            CliFailure::Mistakes(_)
            | CliFailure::Keys(_)
            | CliFailure::Config(_)
            | CliFailure::Several(_) => Exit::Config,
            CliFailure::Usage(_) => Exit::Usage,
            CliFailure::InUse(_) => Exit::TakenOver,
        };
    }
    if is_still_running(error) {
        return Exit::TakenOver;
    }
    match error.downcast_ref::<Fault>() {
        Some(Fault::Fenced(_)) => Exit::TakenOver,
        Some(Fault::Stop(_)) => Exit::Stopped,
        Some(
            Fault::Abort(..)
            | Fault::Interrupted
            | Fault::Unanswered(_)
            | Fault::TransportLost(_)
            | Fault::Io(_),
        )
        | None => Exit::Failed,
    }
}

/// Returns whether a live process has what this one would take.
fn is_still_running(error: &anyhow::Error) -> bool {
    let error = match error.downcast_ref::<ForgetError>() {
        Some(ForgetError::Topic(error)) => Some(error),
        _ => error.downcast_ref::<TopicError>(),
    };
    matches!(error, Some(TopicError::StillRunning { .. }))
}

/// Returns whether the reader of our output has gone away.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::message::Cause;
    use crate::transport::file::FileError;

    #[track_caller]
    fn check_exit_code(error: impl Into<anyhow::Error>, code: u8) {
        let error = error.into().context("while trying");
        assert_eq!(exit_for(&error).code(), code, "{error:#}");
    }

    #[test]
    fn every_failure_has_its_exit_code() {
        check_exit_code(CliFailure::Mistakes(Vec::new()), 78);
        check_exit_code(CliFailure::Keys(Vec::new()), 78);
        check_exit_code(CliFailure::Config("no".to_owned()), 78);
        check_exit_code(CliFailure::Usage("no".to_owned()), 2);
        check_exit_code(CliFailure::InUse("no".to_owned()), 75);
        check_exit_code(Fault::fenced("a"), 75);
        check_exit_code(Fault::stop("a"), 70);
        check_exit_code(Fault::transport_lost("a"), 1);
        check_exit_code(Fault::Io("a".into()), 1);
        check_exit_code(io::Error::other("disk"), 1);
    }

    #[track_caller]
    fn check_message(error: impl Into<anyhow::Error>, want: &str) {
        let error = error.into().context("while trying");
        assert_eq!(format!("{error:#}"), format!("while trying: {want}"));
    }

    #[test]
    fn message_says_each_cause_once() {
        check_message(io::Error::other("no room"), "no room");
        let full = || FileError::wrap("write", Path::new("a"))(io::Error::other("no room"));
        check_message(full(), "failed to write a: no room");
        let fault = Fault::stop(Cause::from_error(full()));
        check_message(fault, "stopped: failed to write a: no room");
        let fault = Fault::Io(Cause::at_step("commit", io::Error::other("no room")));
        check_message(fault, "commit: no room");
    }
}
