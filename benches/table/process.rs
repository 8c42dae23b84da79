//! What the kernel says of this process.

use std::fs;
use std::time::Duration;

/// Resident memory now, in bytes.
pub(crate) fn resident_bytes() -> f64 {
    status_bytes("VmRSS:")
}

/// The most that was resident since [`reset_peak_resident`].
pub(crate) fn peak_resident_bytes() -> f64 {
    status_bytes("VmHWM:")
}

pub(crate) fn reset_peak_resident() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn status_bytes(name: &str) -> f64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(f64::NAN) * 1024.0
}

/// The time on a core of all threads that live.
pub(crate) fn cpu_time() -> Duration {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task").unwrap().flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let ns = text.split_whitespace().next();
        sum += ns.and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    Duration::from_nanos(sum)
}
