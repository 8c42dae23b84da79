//! How often a batch was aborted in a row, and when that is too often.

use crate::message::Fault;

/// A batch that was aborted this often in a row for one reason stops the lane.
const ABORTS_MAX: u32 = 5;

/// Returns whether a batch that failed so is dropped and done again.
pub(super) fn allows_retry(fault: &Fault) -> bool {
    matches!(fault, Fault::Interrupted | Fault::Abort(..) | Fault::Unanswered(_))
}

/// The aborts since the last commit.
#[derive(Debug, Default)]
pub(super) struct AbortCounter {
    count: u32,
    last: Option<Fault>,
}

impl AbortCounter {
    /// Counts an abort.
    ///
    /// # Errors
    ///
    /// What to do about it, if it came [`ABORTS_MAX`] times in a row.
    pub(super) fn count(&mut self, fault: Fault) -> Result<(), Fault> {
        if !self.last.as_ref().is_some_and(|last| fault.repeats(last)) {
            self.count = 0;
        }
        self.count += 1;
        if self.count >= ABORTS_MAX {
            return Err(match fault {
                // Outages are waited out, however long.
                Fault::Unanswered(cause) => Fault::TransportLost(cause),
                fault => {
                    Fault::stop(format!("the same batch was aborted {ABORTS_MAX} times: {fault}"))
                }
            });
        }
        self.last = Some(fault);
        Ok(())
    }

    /// Notes a commit.
    pub(super) fn reset(&mut self) {
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::AbortReason;

    fn abort(code: i32) -> Fault {
        let reason = AbortReason::CallFailed { step: "commit", code: Some(code) };
        Fault::abort(reason, "on purpose")
    }

    #[test]
    fn fifth_abort_in_a_row_stops_and_an_outage_does_not() {
        let mut aborts = AbortCounter::default();
        for _ in 0..4 {
            assert_eq!(aborts.count(abort(1)), Ok(()));
        }
        assert_eq!(aborts.count(abort(2)), Ok(()), "another reason counts anew");
        aborts.reset();
        for _ in 0..4 {
            assert_eq!(aborts.count(abort(2)), Ok(()));
        }
        assert!(matches!(aborts.count(abort(2)), Err(Fault::Stop(_))));
        for _ in 0..4 {
            assert_eq!(aborts.count(Fault::unanswered("no answer")), Ok(()));
        }
        let lost = aborts.count(Fault::unanswered("no answer"));
        assert!(matches!(lost, Err(Fault::TransportLost(_))));
    }
}
