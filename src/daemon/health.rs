//! The status of each worker, for `/health/ready`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WorkerPhase {
    /// It is no member of its group, or has not been told of its partitions yet.
    Joining,
    /// It reads the patrons of its partitions.
    Building,
    /// It decides records, or stands by without partitions.
    Ready,
    /// It ended in good order.
    Ended,
    /// It stopped and needs an operator.
    Stopped,
}

impl WorkerPhase {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            WorkerPhase::Joining => "joining",
            WorkerPhase::Building => "building",
            WorkerPhase::Ready => "ready",
            WorkerPhase::Ended => "ended",
            WorkerPhase::Stopped => "stopped",
        }
    }

    fn from_u8(value: u8) -> WorkerPhase {
        [WorkerPhase::Joining, WorkerPhase::Building, WorkerPhase::Ready, WorkerPhase::Ended]
            .into_iter()
            .find(|&phase| phase as u8 == value)
            .unwrap_or(WorkerPhase::Stopped)
    }
}

/// The shared status of one worker.
#[derive(Clone, Debug)]
pub struct WorkerStatus {
    phase: Arc<AtomicU8>,
    /// Why it is not ready despite its phase.
    problem: Arc<Mutex<Option<String>>>,
    /// When it last got an answer, or had nothing to wait for.
    last_answer_at: Arc<Mutex<Instant>>,
    /// How long it may wait for an answer without losing its partitions; `None` if nobody
    /// takes them away.
    session_timeout: Option<Duration>,
}

impl WorkerStatus {
    #[must_use]
    pub fn new() -> Self {
        WorkerStatus {
            phase: Arc::new(AtomicU8::new(WorkerPhase::Joining as u8)),
            problem: Arc::default(),
            last_answer_at: Arc::new(Mutex::new(Instant::now())),
            session_timeout: None,
        }
    }

    /// Returns the status of a worker whose group reassigns its partitions after this time.
    #[must_use]
    pub fn with_session(session_timeout: Duration) -> Self {
        WorkerStatus { session_timeout: Some(session_timeout), ..WorkerStatus::new() }
    }

    /// Records that the worker got an answer.
    pub fn note_answer(&self) {
        *lock_ignoring_poison(&self.last_answer_at) = Instant::now();
    }

    /// Returns how long the worker has had no answer, if that is too long.
    fn overdue_answer_age(&self) -> Option<Duration> {
        let since = lock_ignoring_poison(&self.last_answer_at).elapsed();
        self.session_timeout.filter(|session| since >= *session).map(|_| since)
    }

    pub fn set_phase(&self, phase: WorkerPhase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    #[must_use]
    pub fn phase(&self) -> WorkerPhase {
        WorkerPhase::from_u8(self.phase.load(Ordering::Acquire))
    }

    /// Sets or clears why the worker is not ready despite its phase.
    pub fn set_problem(&self, problem: Option<String>) {
        *lock_ignoring_poison(&self.problem) = problem;
    }

    /// Returns why the worker is not ready despite its phase.
    fn not_ready_reason(&self) -> Option<String> {
        let unanswered = self.overdue_answer_age().map(|since| {
            let seconds = since.as_secs();
            format!("{NO_PARTITIONS}: no answer for {seconds} s")
        });
        unanswered.or_else(|| lock_ignoring_poison(&self.problem).clone())
    }
}

/// Shown for a worker that has none, or may have lost them.
const NO_PARTITIONS: &str = "no partitions";

fn lock_ignoring_poison<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for WorkerStatus {
    fn default() -> Self {
        Self::new()
    }
}

/// The workers of the process.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Lane, worker number and status.
    pub workers: Vec<(String, usize, WorkerStatus)>,
    pub silent_sources: SilentSources,
}

/// The silent sources, each with its message.
#[derive(Clone, Debug, Default)]
pub struct SilentSources(Arc<Mutex<BTreeMap<String, String>>>);

impl SilentSources {
    /// Sets or clears the silence of a source. Returns whether that is a change.
    pub fn set_silence(&self, source: &str, text: Option<String>) -> bool {
        let mut silent = lock_ignoring_poison(&self.0);
        let before = match text {
            Some(text) => silent.insert(source.to_owned(), text).is_some(),
            None => return silent.remove(source).is_some(),
        };
        !before
    }

    fn report(&self) -> String {
        let silent = lock_ignoring_poison(&self.0);
        let lines = silent.iter();
        lines.map(|(source, text)| format!("source {source} {text}\n")).collect()
    }

    fn is_empty(&self) -> bool {
        lock_ignoring_poison(&self.0).is_empty()
    }
}

impl Health {
    /// Returns whether every worker has joined and built its partitions, the broker
    /// answers, and no gate source is late or source silent.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let mut statuses = self.workers.iter().map(|(_, _, status)| status);
        self.silent_sources.is_empty()
            && statuses.all(|status| match status.phase() {
                WorkerPhase::Ready => status.not_ready_reason().is_none(),
                WorkerPhase::Ended => true,
                WorkerPhase::Joining | WorkerPhase::Building | WorkerPhase::Stopped => false,
            })
    }

    /// Returns one line per worker and per silent source, for people.
    #[must_use]
    pub fn report(&self) -> String {
        let workers = self.workers.iter().map(|(lane, worker, status)| {
            let phase = status.phase();
            let trouble = match phase {
                WorkerPhase::Joining => Some(NO_PARTITIONS.to_owned()),
                WorkerPhase::Ready => status.not_ready_reason(),
                WorkerPhase::Building | WorkerPhase::Ended | WorkerPhase::Stopped => None,
            };
            let trouble = trouble.map_or(String::new(), |text| format!(": {text}"));
            format!("{lane}/{worker} {}{trouble}\n", phase.as_str())
        });
        workers.chain([self.silent_sources.report()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_health(health: &Health, is_ready: bool, report: &str) {
        assert_eq!(health.report(), report);
        assert_eq!(health.is_ready(), is_ready);
    }

    #[test]
    fn health_is_not_ready_with_late_gate_or_silent_source() {
        let status = WorkerStatus::new();
        let health =
            Health { workers: vec![("main".to_owned(), 0, status.clone())], ..Health::default() };
        check_health(&health, false, "main/0 joining: no partitions\n");
        status.set_phase(WorkerPhase::Ready);
        check_health(&health, true, "main/0 ready\n");
        status.set_problem(Some("topic t".to_owned()));
        check_health(&health, false, "main/0 ready: topic t\n");
        status.set_problem(None);
        assert!(health.silent_sources.set_silence("objection", Some("sent nothing".to_owned())));
        assert!(!health.silent_sources.set_silence("objection", Some("sent nothing".to_owned())));
        check_health(&health, false, "main/0 ready\nsource objection sent nothing\n");
        assert!(health.silent_sources.set_silence("objection", None));
        assert!(!health.silent_sources.set_silence("objection", None));
        check_health(&health, true, "main/0 ready\n");
    }

    #[test]
    fn health_is_not_ready_without_answer_within_session() {
        let quick = WorkerStatus::with_session(Duration::ZERO);
        let patient = WorkerStatus::with_session(Duration::from_secs(3600));
        for status in [&quick, &patient] {
            status.set_phase(WorkerPhase::Ready);
            status.note_answer();
        }
        let health = |status: WorkerStatus| Health {
            workers: vec![("main".to_owned(), 0, status)],
            ..Health::default()
        };
        check_health(&health(quick), false, "main/0 ready: no partitions: no answer for 0 s\n");
        check_health(&health(patient), true, "main/0 ready\n");
    }
}
