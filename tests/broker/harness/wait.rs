//! Waiting with a deadline, the only way in which tests wait.

use std::thread;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(20);

/// Calls `attempt` until it yields something, at most for `deadline`.
#[track_caller]
pub(crate) fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut attempt: impl FnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(
            start.elapsed() < deadline,
            "expected within {deadline:?}: {what}"
        );
        thread::sleep(PAUSE);
    }
}
