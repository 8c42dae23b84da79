//! How each worker is doing, for `/health/ready`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What a worker is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// It has not joined its group yet.
    Joining,
    /// It reads the patrons of what it was assigned.
    Building,
    /// It decides records, or stands by without partitions.
    Ready,
    /// It ended in good order.
    Ended,
    /// It stopped and needs an operator.
    Stopped,
}

impl Phase {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Joining => "joining",
            Phase::Building => "building",
            Phase::Ready => "ready",
            Phase::Ended => "ended",
            Phase::Stopped => "stopped",
        }
    }

    fn from_u8(value: u8) -> Phase {
        [Phase::Joining, Phase::Building, Phase::Ready, Phase::Ended]
            .into_iter()
            .find(|&phase| phase as u8 == value)
            .unwrap_or(Phase::Stopped)
    }
}

/// Where one worker writes its phase.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<AtomicU8>);

impl Pulse {
    #[must_use]
    pub fn new() -> Self {
        Pulse(Arc::new(AtomicU8::new(Phase::Joining as u8)))
    }

    pub fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Release);
    }

    #[must_use]
    pub fn phase(&self) -> Phase {
        Phase::from_u8(self.0.load(Ordering::Acquire))
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

/// The workers of the process.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Lane, worker, and its pulse.
    pub workers: Vec<(String, usize, Pulse)>,
}

impl Health {
    /// Ready when every worker has joined and built what it was assigned.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.workers
            .iter()
            .all(|(_, _, pulse)| matches!(pulse.phase(), Phase::Ready | Phase::Ended))
    }

    /// One line per worker, for people.
    #[must_use]
    pub fn report(&self) -> String {
        self.workers
            .iter()
            .map(|(lane, worker, pulse)| format!("{lane}/{worker} {}\n", pulse.phase().as_str()))
            .collect()
    }
}
