//! A child process and what it cost, as the kernel counts it.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a child is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(20);
/// The kernel counts processor time in hundredths of a second.
const TICKS_PER_S: f64 = 100.0;

/// What a process took until it ended.
#[derive(Clone, Debug, Default)]
pub struct ProcessCost {
    pub cpu_s: f64,
    pub peak_bytes: u64,
    /// Resident memory at each twentieth of a second that was looked at.
    pub resident_samples: Vec<u64>,
}

/// A child that is killed when it is let go of.
pub struct MeasuredChild(Child);

impl MeasuredChild {
    pub fn spawn(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(child.spawn().expect("the child starts"))
    }

    /// Waits for a good end; `look` is called all along.
    pub fn wait(mut self, deadline: Duration, mut on_sample: impl FnMut()) -> ProcessCost {
        let start = Instant::now();
        let mut cost = ProcessCost::default();
        let folder = format!("/proc/{}", self.0.id());
        loop {
            let (ended, cpu_s) = read_stat(&folder);
            cost.cpu_s = cpu_s;
            if ended {
                break;
            }
            if let Some((peak, resident)) = read_memory(&folder) {
                cost.peak_bytes = cost.peak_bytes.max(peak);
                cost.resident_samples.push(resident);
            }
            assert!(start.elapsed() < deadline, "a child ends in {deadline:?}");
            on_sample();
            std::thread::sleep(SAMPLE_INTERVAL);
        }
        // It was not reaped so far: that is why its times could still be read.
        let status = self.0.wait().expect("the child can be waited for");
        assert!(status.success(), "a child ended with {status}");
        cost
    }
}

impl Drop for MeasuredChild {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The processor time of another process so far, in seconds.
pub fn cpu_s(process: u32) -> f64 {
    read_stat(&format!("/proc/{process}")).1
}

/// Whether the process has ended, and its processor time so far.
fn read_stat(folder: &str) -> (bool, f64) {
    let text = std::fs::read_to_string(format!("{folder}/stat")).expect("a child has a stat");
    let (_, after_name) = text.rsplit_once(')').expect("a name in parentheses");
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("ticks");
    (fields[0] == "Z", (ticks(11) + ticks(12)) / TICKS_PER_S)
}

/// The peak and the present size of resident memory.
fn read_memory(folder: &str) -> Option<(u64, u64)> {
    let text = std::fs::read_to_string(format!("{folder}/status")).ok()?;
    let value = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
        Some(kib * 1024)
    };
    Some((value("VmHWM:")?, value("VmRSS:")?))
}
