//! Limits and statistics of the process.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Ticks per second in the system's process times (`USER_HZ`).
const TICKS_PER_S: f64 = 100.0;

/// Raises the limit of file descriptors, and disables core files, which would contain keys
/// and records. Limits that the system refuses stay.
pub fn set_limits() {
    let core = getrlimit(Resource::Core);
    if core.current != Some(0) {
        let none = Rlimit { current: Some(0), ..core };
        let _ = setrlimit(Resource::Core, none);
    }
    let files = getrlimit(Resource::Nofile);
    if files.current != files.maximum {
        let all = Rlimit { current: files.maximum, ..files };
        let _ = setrlimit(Resource::Nofile, all);
    }
}

/// Statistics of the process; `None` if the system does not provide them.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessStats {
    pub(super) resident_bytes: Option<f64>,
    pub(super) cpu_seconds: f64,
    pub(super) open_fds: Option<f64>,
    pub(super) max_fds: Option<f64>,
    /// Unix time.
    pub(super) start_seconds: Option<f64>,
}

impl ProcessStats {
    pub(super) fn read() -> ProcessStats {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let max_fds = getrlimit(Resource::Nofile).current;
        ProcessStats {
            resident_bytes: parse_resident_bytes(&status),
            cpu_seconds: read_clock(ClockId::ProcessCPUTime),
            // Without the one used for listing.
            open_fds: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|open| open.count().saturating_sub(1) as f64),
            max_fds: max_fds.map(|most| most as f64),
            start_seconds: parse_start_seconds(&stat, now_seconds(), read_clock(ClockId::Boottime)),
        }
    }
}

/// Parses `VmRSS:      1234 kB`.
fn parse_resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

/// Parses field 22, in ticks since the machine started. Field 2 is the program's name in
/// parentheses, with arbitrary content.
fn parse_start_seconds(stat: &str, now: f64, since_boot: f64) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks: f64 = rest.split_whitespace().nth(19)?.parse().ok()?;
    Some(now - since_boot + ticks / TICKS_PER_S)
}

fn read_clock(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn now_seconds() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or(Duration::ZERO).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_stats_parse_proc_status_and_stat() {
        let status = "Name:\tzeef\nVmPeak:\t  9 kB\nVmRSS:\t    1234 kB\n";
        assert_eq!(parse_resident_bytes(status), Some(1_263_616.0));
        assert_eq!(parse_resident_bytes(""), None);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 3 0 250 1 2";
        assert_eq!(parse_start_seconds(stat, 1_000.0, 100.0), Some(902.5));
        assert_eq!(parse_start_seconds("", 1_000.0, 100.0), None);
    }

    #[test]
    fn process_stats_of_this_process_are_plausible() {
        let process = ProcessStats::read();
        assert!(process.resident_bytes.unwrap() > 1e6, "{process:?}");
        assert!(process.cpu_seconds > 0.0, "{process:?}");
        let (open, most) = (process.open_fds.unwrap(), process.max_fds.unwrap());
        assert!(open >= 3.0 && open <= most, "{process:?}");
        let age = now_seconds() - process.start_seconds.unwrap();
        assert!((0.0..86_400.0).contains(&age), "{process:?}");
    }
}
