//! Watches what partners do with what they get: what they acknowledge, and how far they have read.
//!
//! Decides nothing about outputs: what is not acknowledged, damaged or unread is a metric and a
//! warning.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::clock::now_ms;
use super::metrics::Metrics;
use super::retraction_follower::{FollowedData, RetractionFollower};
use crate::config::LoadedConfig;
use crate::ledger::keys::LedgerKeys;
use crate::ledger::retractions::RetractionTracker;
use crate::policy::term::DAY_MS;
use crate::transport::StopSignal;
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::partner_position::fetch_partner_position;

/// How often to check on Kafka, where only what was added is read.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// How often to check a directory, whose ledger is read from its beginning each time.
const DIRECTORY_CHECK_INTERVAL: Duration = Duration::from_secs(300);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Watches the partners of a process.
pub struct PartnerWatch {
    /// `None` if no recipient acknowledges.
    follower: Option<RetractionFollower>,
    groups: Vec<WatchedGroup>,
    metrics: Arc<Metrics>,
    /// Damaged acknowledgements that were warned of, by recipient.
    warned_damaged: BTreeMap<String, u64>,
    /// The day on which was last warned of overdue ones.
    warned_day: Option<i64>,
    /// The run ends with its input, and tells then what is overdue.
    is_bounded: bool,
    interval: Duration,
}

/// The run whose partners are watched.
pub struct WatchedRun<'a> {
    pub loaded: &'a LoadedConfig,
    pub data: FollowedData,
    /// Of the ledger, if there is one.
    pub keys: Option<LedgerKeys>,
    /// It ends with its input.
    pub is_bounded: bool,
}

/// The consumer group of a recipient.
#[derive(Clone, Debug)]
struct WatchedGroup {
    recipient: String,
    settings: KafkaSettings,
    group: String,
    topics: Vec<String>,
}

impl PartnerWatch {
    /// Returns the watch of a run; `None` if there is nothing to watch.
    #[must_use]
    pub fn of_run(run: WatchedRun<'_>, metrics: Arc<Metrics>) -> Option<PartnerWatch> {
        let WatchedRun { loaded, data, keys, is_bounded } = run;
        let (groups, interval) = match &data {
            FollowedData::Kafka(settings) => (watched_groups(loaded, settings), CHECK_INTERVAL),
            FollowedData::Directory(_) => (Vec::new(), DIRECTORY_CHECK_INTERVAL),
        };
        let tracker = keys.and_then(|keys| RetractionTracker::of_policy(&loaded.policy, keys));
        let follower = tracker.map(|tracker| RetractionFollower::new(data, tracker));
        let is_needed = follower.is_some() || !groups.is_empty();
        is_needed.then(|| PartnerWatch {
            groups,
            is_bounded,
            interval,
            ..PartnerWatch::new(follower, metrics)
        })
    }

    /// Watches retractions alone.
    #[must_use]
    pub fn of_retractions(follower: RetractionFollower, metrics: Arc<Metrics>) -> PartnerWatch {
        PartnerWatch::new(Some(follower), metrics)
    }

    fn new(follower: Option<RetractionFollower>, metrics: Arc<Metrics>) -> PartnerWatch {
        PartnerWatch {
            follower,
            groups: Vec::new(),
            metrics,
            warned_damaged: BTreeMap::new(),
            warned_day: None,
            is_bounded: false,
            interval: CHECK_INTERVAL,
        }
    }

    /// Checks now and regularly until `finished`; a bounded run also then.
    ///
    /// # Errors
    ///
    /// The thread cannot be spawned.
    pub fn spawn(mut self, finished: StopSignal) -> std::io::Result<JoinHandle<()>> {
        let builder = std::thread::Builder::new().name("partners".to_owned());
        builder.spawn(move || {
            loop {
                self.check(now_ms());
                let next = Instant::now() + self.interval;
                while Instant::now() < next && !finished.is_requested() {
                    std::thread::sleep(POLL_INTERVAL);
                }
                if finished.is_requested() {
                    break;
                }
            }
            if self.is_bounded {
                self.warned_day = None;
                self.check_acknowledgements(now_ms());
            }
        })
    }

    fn check(&mut self, now_ms: i64) {
        self.check_acknowledgements(now_ms);
        for group in &self.groups {
            let lag = group.fetch_lag();
            if let Err(why) = &lag {
                tracing::debug!(recipient = %group.recipient, why, "cannot look up a partner's lag");
            }
            self.metrics.set_partner_lag(&group.recipient, lag.ok());
        }
    }

    /// Updates the metrics of retractions, and warns of what is damaged or overdue.
    pub fn check_acknowledgements(&mut self, now_ms: i64) {
        let Some(mut follower) = self.follower.take() else {
            return;
        };
        let updated = follower.update();
        if let Err(error) = &updated {
            tracing::warn!("cannot read what partners acknowledge: {error:#}");
        }
        let day = now_ms.div_euclid(DAY_MS);
        let warns_overdue = self.warned_day != Some(day);
        for (name, asked) in follower.tracker().recipients() {
            let open = asked.count_open(now_ms.div_euclid(1_000));
            self.metrics.set_unacknowledged(name, updated.is_ok().then_some(open));
            let counts = follower.counts(name);
            for (outcome, count) in [
                ("accepted", counts.accepted),
                ("unmatched", counts.unmatched),
                ("damaged", counts.damaged),
            ] {
                self.metrics.set_acknowledgements(name, outcome, count);
            }
            let warned = self.warned_damaged.insert(name.clone(), counts.damaged);
            if counts.damaged > warned.unwrap_or_default() {
                let place = counts.last_damaged.unwrap_or_default();
                let damaged = counts.damaged;
                tracing::warn!(
                    recipient = %name, damaged, place,
                    "acknowledgements without a key, or without an id or a time, count for nothing"
                );
            }
            if updated.is_ok() && open.overdue > 0 && warns_overdue {
                self.warned_day = Some(day);
                tracing::warn!(
                    recipient = %name, overdue = open.overdue, within = %asked.rule.within,
                    "retractions are not acknowledged in their term: see `zeef retractions --open`"
                );
            }
        }
        self.follower = Some(follower);
    }
}

/// Returns the groups that recipients' files name.
fn watched_groups(loaded: &LoadedConfig, settings: &KafkaSettings) -> Vec<WatchedGroup> {
    let recipients = loaded.policy.recipients.iter();
    let groups = recipients.filter_map(|recipient| {
        Some(WatchedGroup {
            recipient: recipient.name.clone(),
            settings: settings.clone(),
            group: recipient.consumer_group.clone()?,
            topics: recipient.topics.names().map(str::to_owned).collect(),
        })
    });
    groups.collect()
}

impl WatchedGroup {
    /// Returns how far it is behind, on all topics of its recipient together.
    fn fetch_lag(&self) -> Result<i64, String> {
        let mut lag = 0;
        for topic in &self.topics {
            let found = fetch_partner_position(&self.settings, &self.group, topic);
            let position = found.map_err(|error| error.to_string())?;
            lag += position.ok_or_else(|| format!("there is no topic `{topic}`"))?.lag;
        }
        Ok(lag)
    }
}
