//! Waiting with a deadline, the only way in which tests wait.

use std::thread;
use std::time::{Duration, Instant};

const RETRY_INTERVAL: Duration = Duration::from_millis(20);
const RETRY_INTERVAL_MAX: Duration = Duration::from_millis(500);

/// Calls `attempt` until it yields something, at most for `deadline`.
#[track_caller]
pub(crate) fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut attempt: impl FnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        let asked = Instant::now();
        if let Some(found) = attempt() {
            return found;
        }
        assert!(start.elapsed() < deadline, "expected within {deadline:?}: {what}");
        // Who waits leaves most of the time to the one that is waited for.
        thread::sleep((5 * asked.elapsed()).clamp(RETRY_INTERVAL, RETRY_INTERVAL_MAX));
    }
}
