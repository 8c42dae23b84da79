//! A process that has nothing to do.

use std::fs;
use std::time::{Duration, Instant};

use crate::harness::{ZeefProcess, eventually};

use super::test_site::WAIT_TIMEOUT;
use super::{SiteOptions, TestSite, open_loan, patron_record};

const OBSERVATION_PERIOD: Duration = Duration::from_secs(4);

/// CPU time so far, in seconds: `/proc` counts hundredths.
fn cpu_seconds(zeef: &ZeefProcess) -> f64 {
    let text = fs::read_to_string(format!("/proc/{}/stat", zeef.pid())).unwrap();
    let (_, rest) = text.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks: f64 = fields[11..13].iter().map(|n| n.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

/// What it has in memory, in MiB.
fn resident_mib(zeef: &ZeefProcess) -> f64 {
    let text = fs::read_to_string(format!("/proc/{}/status", zeef.pid())).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024.0
}

#[test]
fn idle_process_uses_little_cpu_and_no_more_memory() {
    let Some(site) = TestSite::new("idle", SiteOptions::default()) else {
        return;
    };
    site.topics.write_records("patron", &[patron_record("P1", "Berg")]);
    let loans: Vec<_> = (0..500).map(|n| open_loan(&format!("L{n}"), "P1")).collect();
    site.topics.write_records("loan", &loans);
    let zeef = site.spawn_ready_run(&[]);
    site.wait_consumed(&zeef, "main", "loan", 500);

    let (before, memory) = (cpu_seconds(&zeef), resident_mib(&zeef));
    let started = Instant::now();
    eventually("the time has passed", WAIT_TIMEOUT, || {
        (started.elapsed() >= OBSERVATION_PERIOD).then_some(())
    });
    let share = (cpu_seconds(&zeef) - before) / started.elapsed().as_secs_f64();
    assert!(share < 0.2, "{share} of a core while idle");
    let grown = resident_mib(&zeef) - memory;
    assert!(grown < 16.0, "memory grew by {grown} MiB while idle");
    assert!(memory < 300.0, "{memory} MiB");
    assert!(zeef.is_ready());
}
