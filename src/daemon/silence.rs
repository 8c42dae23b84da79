//! Sources that fell silent: nothing new came for longer than the config expects.
//!
//! A connector that died says nothing of itself: consents are withdrawn, and
//! objections lodged, that nobody hears of. The age of a source's newest record
//! is that of the record, not of the process: a restart does not make it young.
//! Time is passed in.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::clock::now_ms;
use super::health::Silences;
use super::metrics::Metrics;
use crate::policy::settings::SourceSettings;
use crate::policy::term::Term;
use crate::transport::Stop;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(15);
const NAP: Duration = Duration::from_millis(100);
/// How often a silence is told of.
const TELL_MS: i64 = 86_400_000;

/// Says when the newest record of each source was written, in milliseconds since
/// 1970; `None` for one that has no record. A text says why it is not known now.
pub type Look = Box<dyn FnMut(i64) -> Result<Vec<Option<i64>>, String> + Send>;

/// One source, and what is expected of it.
#[derive(Clone, Debug)]
struct Source {
    name: String,
    expect_within: Option<Term>,
    told_ms: Option<i64>,
}

/// Watches the sources of a process.
pub struct Watch {
    sources: Vec<Source>,
    silences: Silences,
    metrics: Arc<Metrics>,
}

impl Watch {
    /// Watches sources by the names of their kinds.
    #[must_use]
    pub fn new(
        sources: impl Iterator<Item = (String, SourceSettings)>,
        silences: Silences,
        metrics: Arc<Metrics>,
    ) -> Watch {
        let sources = sources.map(|(name, settings)| Source {
            name,
            expect_within: settings.expect_within,
            told_ms: None,
        });
        Watch {
            sources: sources.collect(),
            silences,
            metrics,
        }
    }

    /// Takes note of when the newest record of each source was written.
    pub fn note(&mut self, newest_ms: &[Option<i64>], now_ms: i64) {
        for (source, newest_ms) in self.sources.iter_mut().zip(newest_ms) {
            if let Some(newest_ms) = newest_ms {
                let age_ms = now_ms.saturating_sub(*newest_ms).max(0);
                self.metrics
                    .newest_age(&source.name, age_ms as f64 / 1_000.0);
            }
            let text = source.silence(*newest_ms, now_ms);
            let is_silent = text.is_some();
            let has_changed = self.silences.set(&source.name, text.clone());
            if has_changed && !is_silent {
                tracing::info!(source = %source.name, "the source is not silent any more");
            }
            let told_lately = |told_ms: i64| !has_changed && now_ms - told_ms < TELL_MS;
            if let Some(text) = text
                && !source.told_ms.is_some_and(told_lately)
            {
                source.told_ms = Some(now_ms);
                tracing::warn!(source = %source.name, "the source {text}");
            }
        }
    }

    /// Looks now, and every quarter of a minute until one of `ends` is asked.
    ///
    /// # Errors
    ///
    /// There is no thread for it.
    pub fn start(mut self, mut look: Look, ends: [Stop; 2]) -> std::io::Result<JoinHandle<()>> {
        let builder = std::thread::Builder::new().name("silence".to_owned());
        let is_over = move || ends.iter().any(Stop::asked);
        builder.spawn(move || {
            loop {
                self.look(&mut look);
                let next = Instant::now() + EVERY;
                while Instant::now() < next && !is_over() {
                    std::thread::sleep(NAP);
                }
                if is_over() {
                    break;
                }
            }
        })
    }

    fn look(&mut self, look: &mut Look) {
        let now_ms = now_ms();
        match look(now_ms) {
            Ok(newest_ms) => self.note(&newest_ms, now_ms),
            Err(why) => tracing::debug!(why, "the newest records are not known now"),
        }
    }
}

impl Source {
    /// What is to be said where nothing came for too long.
    fn silence(&self, newest_ms: Option<i64>, now_ms: i64) -> Option<String> {
        let term = self.expect_within?;
        let Some(newest_ms) = newest_ms else {
            return Some(format!("has no record, one is expected within {term}"));
        };
        let is_silent = term.end_of_ms(newest_ms) <= now_ms;
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

    const DAY_MS: i64 = 86_400_000;
    const NOW_MS: i64 = 20_000 * DAY_MS;

    #[track_caller]
    fn check(within: Option<&str>, newest_ms: Option<i64>, silent: bool) {
        let metrics = Arc::new(Metrics::new("test").unwrap());
        let health = Health::default();
        let settings = SourceSettings {
            expect_within: within.map(|text| Term::parse(text).unwrap()),
        };
        let sources = [("objection".to_owned(), settings)].into_iter();
        let mut watch = Watch::new(sources, health.silences.clone(), Arc::clone(&metrics));
        watch.note(&[newest_ms], NOW_MS);
        assert_eq!(health.ready(), !silent, "{within:?} {newest_ms:?}");
        assert_eq!(health.report().contains("objection"), silent);
        let shown = metrics.render();
        let age = newest_ms.map(|newest| (NOW_MS - newest).max(0) / 1_000);
        let name = "_source_newest_record_age_seconds{source=\"objection\"}";
        match age {
            Some(age) => assert!(shown.contains(&format!("{name} {age}")), "{shown}"),
            None => assert!(!shown.contains(name), "{shown}"),
        }
        // What comes ends the silence.
        watch.note(&[Some(NOW_MS)], NOW_MS);
        assert!(health.ready());
    }

    #[test]
    fn a_source_is_silent_when_nothing_came_for_as_long_as_is_expected() {
        check(Some("P7D"), Some(NOW_MS - 7 * DAY_MS), true);
        check(Some("P7D"), Some(NOW_MS - 7 * DAY_MS + 1), false);
        check(Some("P7D"), Some(NOW_MS - 700 * DAY_MS), true);
        check(Some("P1M"), Some(NOW_MS - 28 * DAY_MS), false);
        check(Some("P7D"), Some(NOW_MS + DAY_MS), false);
        check(Some("P7D"), None, true);
        check(None, None, false);
        check(None, Some(0), false);
    }
}
