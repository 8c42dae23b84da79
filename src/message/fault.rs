//! What can go wrong around a batch.

use std::error::Error;
use std::fmt;

/// A failure of a transport. The variant decides what the worker does next.
///
/// The text is for an operator and never contains a record's value. It includes the cause,
/// so a fault has no [`source`](Error::source).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing of the batch was committed: rewind and decide it again.
    #[error("batch aborted: {1}")]
    Abort(AbortReason, Cause),
    /// A rebalance or a stop came in between: rewind and poll.
    #[error("interrupted while records were read again")]
    Interrupted,
    /// Kafka did not answer in time: rewind and try again.
    #[error("no answer: {0}")]
    Unanswered(Cause),
    /// The transport is unusable: build a new one.
    #[error("transport lost: {0}")]
    TransportLost(Cause),
    /// Another process runs under the same name: exit 75.
    #[error("another instance took over: {0}")]
    Fenced(Cause),
    /// Only an operator can resolve it: the lane stops.
    #[error("stopped: {0}")]
    Stop(Cause),
    /// The system refuses a file operation: a running lane stops, a command fails.
    #[error("{0}")]
    Io(Cause),
}

impl Fault {
    #[must_use]
    pub fn abort(reason: AbortReason, cause: impl Into<Cause>) -> Fault {
        Fault::Abort(reason, cause.into())
    }

    #[must_use]
    pub fn unanswered(cause: impl Into<Cause>) -> Fault {
        Fault::Unanswered(cause.into())
    }

    #[must_use]
    pub fn transport_lost(cause: impl Into<Cause>) -> Fault {
        Fault::TransportLost(cause.into())
    }

    #[must_use]
    pub fn fenced(cause: impl Into<Cause>) -> Fault {
        Fault::Fenced(cause.into())
    }

    #[must_use]
    pub fn stop(cause: impl Into<Cause>) -> Fault {
        Fault::Stop(cause.into())
    }

    /// Returns whether a batch that was dropped for `other`, and now for this, was dropped for
    /// one and the same thing. Texts do not count: they may differ in a number or a name.
    #[must_use]
    pub fn repeats(&self, other: &Fault) -> bool {
        match (self, other) {
            (Fault::Abort(reason, _), Fault::Abort(before, _)) => reason == before,
            (Fault::Unanswered(_), Fault::Unanswered(_)) => true,
            _ => false,
        }
    }
}

/// Why a batch was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortReason {
    /// The group took all partitions away.
    Unassigned,
    /// Records that were to be read again were deleted meanwhile.
    Truncated,
    /// A call failed, with the code of librdkafka or of the system if there is one.
    CallFailed { step: &'static str, code: Option<i32> },
}

/// The text of a [`Fault`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    text: String,
}

impl Cause {
    /// Returns a cause that reads like `error`.
    #[must_use]
    pub fn from_error(error: impl Error) -> Cause {
        Cause { text: error.to_string() }
    }

    /// Returns a cause that reads `step: error`.
    #[must_use]
    pub fn at_step(step: impl fmt::Display, error: impl Error) -> Cause {
        Cause { text: format!("{step}: {error}") }
    }
}

impl From<String> for Cause {
    fn from(text: String) -> Cause {
        Cause { text }
    }
}

impl From<&str> for Cause {
    fn from(text: &str) -> Cause {
        text.to_owned().into()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_repeats(one: &Fault, other: &Fault, want: bool) {
        assert_eq!((one.repeats(other), other.repeats(one)), (want, want), "{one:?} {other:?}");
    }

    #[test]
    fn aborts_repeat_by_reason_and_not_by_text() {
        let call = |step, code| AbortReason::CallFailed { step, code };
        let abort = |reason, text| Fault::abort(reason, text);
        let failed = abort(call("commit", Some(47)), "commit: epoch 3");
        check_repeats(&failed, &abort(call("commit", Some(47)), "commit: epoch 4"), true);
        check_repeats(&failed, &abort(call("commit", Some(48)), "commit: epoch 3"), false);
        check_repeats(&failed, &abort(call("commit", None), "commit: epoch 3"), false);
        check_repeats(&failed, &abort(call("deliver", Some(47)), "commit: epoch 3"), false);
        check_repeats(&failed, &abort(AbortReason::Truncated, "commit: epoch 3"), false);
        let truncated = |text| abort(AbortReason::Truncated, text);
        check_repeats(&truncated("partition 1"), &truncated("partition 2"), true);
        check_repeats(&Fault::unanswered("a"), &Fault::unanswered("b"), true);
        check_repeats(&Fault::unanswered("a"), &truncated("a"), false);
        check_repeats(&Fault::Interrupted, &Fault::Interrupted, false);
    }
}
