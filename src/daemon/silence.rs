//! Detects silent sources: nothing new came for longer than the config expects.
//!
//! A dead connector reports nothing, while consents are withdrawn and objections lodged.
//! The age is that of a source's newest record, so a restart does not reset it. Time is
//! passed in.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::clock::now_ms;
use super::health::SilentSources;
use super::metrics::Metrics;
use crate::config::settings::SourceSettings;
use crate::policy::term::{DAY_MS, Term};
use crate::transport::StopSignal;

/// How often to check.
const CHECK_INTERVAL: Duration = Duration::from_secs(15);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How often to warn of a silence.
const WARNING_INTERVAL_MS: i64 = DAY_MS;

/// Looks up when the newest record of each source was written, in Unix milliseconds; `None`
/// for a source without records. An error says why it is unknown now.
pub type NewestRecordLookup = Box<dyn FnMut(i64) -> Result<Vec<Option<i64>>, String> + Send>;

/// A source, and what is expected of it.
#[derive(Clone, Debug)]
struct WatchedSource {
    name: String,
    expect_within: Option<Term>,
    last_warning_ms: Option<i64>,
}

/// Watches the sources of a process.
pub struct SilenceWatch {
    sources: Vec<WatchedSource>,
    silent_sources: SilentSources,
    metrics: Arc<Metrics>,
}

impl SilenceWatch {
    /// Creates a watch of sources by the names of their kinds.
    #[must_use]
    pub fn new(
        sources: impl Iterator<Item = (String, SourceSettings)>,
        silent_sources: SilentSources,
        metrics: Arc<Metrics>,
    ) -> SilenceWatch {
        let sources = sources.map(|(name, settings)| WatchedSource {
            name,
            expect_within: settings.expect_within,
            last_warning_ms: None,
        });
        SilenceWatch { sources: sources.collect(), silent_sources, metrics }
    }

    /// Updates the times of the newest records.
    pub fn update(&mut self, newest_ms: &[Option<i64>], now_ms: i64) {
        for (source, newest_ms) in self.sources.iter_mut().zip(newest_ms) {
            if let Some(newest_ms) = newest_ms {
                let age_ms = now_ms.saturating_sub(*newest_ms).max(0);
                self.metrics.set_newest_record_age(&source.name, age_ms as f64 / 1_000.0);
            }
            let text = source.describe_silence(*newest_ms, now_ms);
            let is_silent = text.is_some();
            let has_changed = self.silent_sources.set_silence(&source.name, text.clone());
            if has_changed && !is_silent {
                tracing::info!(source = %source.name, "the source is no longer silent");
            }
            let told_lately = |told_ms: i64| !has_changed && now_ms - told_ms < WARNING_INTERVAL_MS;
            if let Some(text) = text
                && !source.last_warning_ms.is_some_and(told_lately)
            {
                source.last_warning_ms = Some(now_ms);
                tracing::warn!(source = %source.name, "the source {text}");
            }
        }
    }

    /// Checks now and regularly until one of `stops` is requested.
    ///
    /// # Errors
    ///
    /// The thread cannot be spawned.
    pub fn spawn(
        mut self,
        mut lookup: NewestRecordLookup,
        stops: [StopSignal; 2],
    ) -> std::io::Result<JoinHandle<()>> {
        let builder = std::thread::Builder::new().name("silence".to_owned());
        let is_over = move || stops.iter().any(StopSignal::is_requested);
        builder.spawn(move || {
            loop {
                self.check(&mut lookup);
                let next = Instant::now() + CHECK_INTERVAL;
                while Instant::now() < next && !is_over() {
                    std::thread::sleep(POLL_INTERVAL);
                }
                if is_over() {
                    break;
                }
            }
        })
    }

    fn check(&mut self, lookup: &mut NewestRecordLookup) {
        let now_ms = now_ms();
        match lookup(now_ms) {
            Ok(newest_ms) => self.update(&newest_ms, now_ms),
            Err(why) => tracing::debug!(why, "cannot look up the newest records"),
        }
    }
}

impl WatchedSource {
    /// Returns a message if nothing came for too long.
    fn describe_silence(&self, newest_ms: Option<i64>, now_ms: i64) -> Option<String> {
        let term = self.expect_within?;
        let Some(newest_ms) = newest_ms else {
            return Some(format!("has no record, one is expected within {term}"));
        };
        let is_silent = term.end_from_ms(newest_ms) <= now_ms;
        is_silent.then(|| {
            let time = jiff::Timestamp::from_millisecond(newest_ms);
            let time = time.map_or_else(|_| String::new(), |time| format!("{time:.0}"));
            format!("has no record newer than {time}, one is expected within {term}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::health::Health;

    const NOW_MS: i64 = 20_000 * DAY_MS;

    #[track_caller]
    fn check_silence(within: Option<&str>, newest_ms: Option<i64>, silent: bool) {
        let metrics = Arc::new(Metrics::new("test").unwrap());
        let health = Health::default();
        let settings =
            SourceSettings { expect_within: within.map(|text| Term::parse(text).unwrap()) };
        let sources = [("objection".to_owned(), settings)].into_iter();
        let mut watch =
            SilenceWatch::new(sources, health.silent_sources.clone(), Arc::clone(&metrics));
        watch.update(&[newest_ms], NOW_MS);
        assert_eq!(health.is_ready(), !silent, "{within:?} {newest_ms:?}");
        assert_eq!(health.report().contains("objection"), silent);
        let shown = metrics.render();
        let age = newest_ms.map(|newest| (NOW_MS - newest).max(0) / 1_000);
        let name = "_source_newest_record_age_seconds{source=\"objection\"}";
        match age {
            Some(age) => assert!(shown.contains(&format!("{name} {age}")), "{shown}"),
            None => assert!(!shown.contains(name), "{shown}"),
        }
        // A new record ends the silence.
        watch.update(&[Some(NOW_MS)], NOW_MS);
        assert!(health.is_ready());
    }

    #[test]
    fn source_is_silent_once_nothing_came_within_expect_within() {
        check_silence(Some("P7D"), Some(NOW_MS - 7 * DAY_MS), true);
        check_silence(Some("P7D"), Some(NOW_MS - 7 * DAY_MS + 1), false);
        check_silence(Some("P7D"), Some(NOW_MS - 700 * DAY_MS), true);
        check_silence(Some("P1M"), Some(NOW_MS - 28 * DAY_MS), false);
        check_silence(Some("P7D"), Some(NOW_MS + DAY_MS), false);
        check_silence(Some("P7D"), None, true);
        check_silence(None, None, false);
        check_silence(None, Some(0), false);
    }
}
