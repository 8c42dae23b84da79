//! How each worker is doing, for `/health/ready`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a worker is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// It is no member of its group, or was not told of its partitions yet.
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

/// Where one worker writes how it is doing.
#[derive(Clone, Debug)]
pub struct Pulse {
    phase: Arc<AtomicU8>,
    /// Why it is not ready, although its phase says so.
    trouble: Arc<Mutex<Option<String>>>,
    /// When it last had an answer, or nothing to wait for.
    answered: Arc<Mutex<Instant>>,
    /// How long it may wait for an answer and still have its partitions; `None` where
    /// nobody takes them away.
    session: Option<Duration>,
}

impl Pulse {
    #[must_use]
    pub fn new() -> Self {
        Pulse {
            phase: Arc::new(AtomicU8::new(Phase::Joining as u8)),
            trouble: Arc::default(),
            answered: Arc::new(Mutex::new(Instant::now())),
            session: None,
        }
    }

    /// The same, of a worker whose group gives its partitions to others where it is
    /// not heard of for so long.
    #[must_use]
    pub fn with_session(session: Duration) -> Self {
        Pulse {
            session: Some(session),
            ..Pulse::new()
        }
    }

    /// Notes that the worker has an answer to what it asked last.
    pub fn answered(&self) {
        *lock(&self.answered) = Instant::now();
    }

    /// Returns for how long the worker has had no answer, where that is too long.
    fn unanswered(&self) -> Option<Duration> {
        let since = lock(&self.answered).elapsed();
        self.session
            .filter(|session| since >= *session)
            .map(|_| since)
    }

    pub fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    #[must_use]
    pub fn phase(&self) -> Phase {
        Phase::from_u8(self.phase.load(Ordering::Acquire))
    }

    /// Says why the worker is not ready whatever its phase, or that nothing is
    /// the matter.
    pub fn set_trouble(&self, trouble: Option<String>) {
        *lock(&self.trouble) = trouble;
    }

    /// Returns why the worker is not ready, although its phase says so.
    fn hindrance(&self) -> Option<String> {
        let unanswered = self.unanswered().map(|since| {
            let seconds = since.as_secs();
            format!("{NO_PARTITIONS}: no answer for {seconds} s")
        });
        unanswered.or_else(|| lock(&self.trouble).clone())
    }
}

/// What is said of a worker that has none, or may have lost them.
const NO_PARTITIONS: &str = "no partitions";

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub silences: Silences,
}

/// The sources from which nothing came for longer than the config expects, with
/// what is to be said of each.
#[derive(Clone, Debug, Default)]
pub struct Silences(Arc<Mutex<BTreeMap<String, String>>>);

impl Silences {
    /// Says that a source is silent, or that it is not. Returns whether that is
    /// new.
    pub fn set(&self, source: &str, text: Option<String>) -> bool {
        let mut silent = lock(&self.0);
        let before = match text {
            Some(text) => silent.insert(source.to_owned(), text).is_some(),
            None => return silent.remove(source).is_some(),
        };
        !before
    }

    fn report(&self) -> String {
        let silent = lock(&self.0);
        let lines = silent.iter();
        lines
            .map(|(source, text)| format!("source {source} {text}\n"))
            .collect()
    }

    fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }
}

impl Health {
    /// Ready when every worker has joined and built what it was assigned, the broker
    /// answers, no gate source is late, and no source is silent that should not be.
    #[must_use]
    pub fn ready(&self) -> bool {
        let mut pulses = self.workers.iter().map(|(_, _, pulse)| pulse);
        self.silences.is_empty()
            && pulses.all(|pulse| match pulse.phase() {
                Phase::Ready => pulse.hindrance().is_none(),
                Phase::Ended => true,
                Phase::Joining | Phase::Building | Phase::Stopped => false,
            })
    }

    /// One line per worker, and one per silent source, for people.
    #[must_use]
    pub fn report(&self) -> String {
        let workers = self.workers.iter().map(|(lane, worker, pulse)| {
            let phase = pulse.phase();
            let trouble = match phase {
                Phase::Joining => Some(NO_PARTITIONS.to_owned()),
                Phase::Ready => pulse.hindrance(),
                Phase::Building | Phase::Ended | Phase::Stopped => None,
            };
            let trouble = trouble.map_or(String::new(), |text| format!(": {text}"));
            format!("{lane}/{worker} {}{trouble}\n", phase.as_str())
        });
        workers.chain([self.silences.report()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(health: &Health, ready: bool, report: &str) {
        assert_eq!(health.report(), report);
        assert_eq!(health.ready(), ready);
    }

    #[test]
    fn a_late_gate_or_a_silent_source_is_not_ready() {
        let pulse = Pulse::new();
        let health = Health {
            workers: vec![("main".to_owned(), 0, pulse.clone())],
            ..Health::default()
        };
        check(&health, false, "main/0 joining: no partitions\n");
        pulse.set(Phase::Ready);
        check(&health, true, "main/0 ready\n");
        pulse.set_trouble(Some("topic t".to_owned()));
        check(&health, false, "main/0 ready: topic t\n");
        pulse.set_trouble(None);
        assert!(
            health
                .silences
                .set("objection", Some("sent nothing".to_owned()))
        );
        assert!(
            !health
                .silences
                .set("objection", Some("sent nothing".to_owned()))
        );
        check(
            &health,
            false,
            "main/0 ready\nsource objection sent nothing\n",
        );
        assert!(health.silences.set("objection", None));
        assert!(!health.silences.set("objection", None));
        check(&health, true, "main/0 ready\n");
    }

    #[test]
    fn a_worker_without_an_answer_for_its_session_is_not_ready() {
        let quick = Pulse::with_session(Duration::ZERO);
        let patient = Pulse::with_session(Duration::from_secs(3600));
        for pulse in [&quick, &patient] {
            pulse.set(Phase::Ready);
            pulse.answered();
        }
        let health = |pulse: Pulse| Health {
            workers: vec![("main".to_owned(), 0, pulse)],
            ..Health::default()
        };
        check(
            &health(quick),
            false,
            "main/0 ready: no partitions: no answer for 0 s\n",
        );
        check(&health(patient), true, "main/0 ready\n");
    }
}
