//! Runs one worker, with a new transport whenever one is lost.

use std::time::{Duration, Instant};

use super::health::{WorkerPhase, WorkerStatus};
use super::worker::WorkerExit;
use crate::message::Fault;
use crate::transport::StopSignal;

/// How long to wait before a lost transport is opened again.
const WAIT_MIN: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(10);

/// A worker of a lane, and who has to know how it goes.
pub(super) struct WorkerRestarts<'a> {
    pub(super) lane: &'a str,
    pub(super) worker_number: usize,
    pub(super) status: &'a WorkerStatus,
    pub(super) stop: &'a StopSignal,
}

impl WorkerRestarts<'_> {
    /// Calls `open_and_run` until the worker ends otherwise than by a lost transport. Another
    /// instance that took over stops the process.
    ///
    /// # Errors
    ///
    /// Why the lane cannot continue.
    pub(super) fn run(
        &self,
        open_and_run: impl FnMut() -> Result<WorkerExit, Fault>,
    ) -> Result<WorkerExit, Fault> {
        let ended = self.run_until_ended(open_and_run);
        match &ended {
            Ok(_) => self.status.set_phase(WorkerPhase::Ended),
            Err(fault) => {
                self.status.set_phase(WorkerPhase::Stopped);
                tracing::error!(lane = self.lane, worker = self.worker_number, %fault, "worker stopped");
                if matches!(fault, Fault::Fenced(_)) {
                    self.stop.request();
                }
            }
        }
        ended
    }

    fn run_until_ended(
        &self,
        mut open_and_run: impl FnMut() -> Result<WorkerExit, Fault>,
    ) -> Result<WorkerExit, Fault> {
        let (lane, worker) = (self.lane, self.worker_number);
        let mut wait = WAIT_MIN;
        loop {
            let started = Instant::now();
            self.status.set_phase(WorkerPhase::Joining);
            let cause = match open_and_run() {
                Ok(WorkerExit::NewMonth) => {
                    tracing::info!(lane, worker, "a new month began: starting over");
                    continue;
                }
                Err(Fault::TransportLost(cause)) => cause,
                ended => return ended,
            };
            if started.elapsed() > WAIT_MAX {
                wait = WAIT_MIN;
            }
            if self.stop.is_requested() {
                tracing::warn!(lane, worker, %cause, "stopped without its last batch: the next start decides it again");
                return Ok(WorkerExit::Stopped);
            }
            tracing::warn!(lane, worker, %cause, "transport lost: reconnecting");
            if !self.sleep_unless_stopped(wait) {
                return Ok(WorkerExit::Stopped);
            }
            wait = (wait * 2).min(WAIT_MAX);
        }
    }

    /// Returns false if a stop was requested meanwhile.
    fn sleep_unless_stopped(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        while Instant::now() < until {
            if self.stop.is_requested() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }
}
