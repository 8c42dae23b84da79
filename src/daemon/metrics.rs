//! Every metric of zeef, once: its name, its labels, and who may touch it.
//!
//! Labels are recipients, lanes, topics and closed words; never a value of a
//! record. What a batch did is counted after its commit.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use super::papers::PaperSort;
use super::process::Process;
use crate::engine::lane::{Lane, Program, Source};
use crate::engine::tally::{Ignored, Tally};
use crate::policy::detect::DETECTORS;
use crate::policy::reason::Reason;
use crate::transport::Lag;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Counter,
    Gauge,
    Histogram,
}

/// One row of the table of metrics.
#[derive(Clone, Copy, Debug)]
pub struct MetricDef {
    pub name: &'static str,
    pub sort: Sort,
    pub labels: &'static str,
    pub help: &'static str,
}

macro_rules! metrics_table {
    ($($id:ident $sort:ident $name:literal [$labels:literal] $help:literal)*) => {
        $(const $id: &str = $name;)*
        /// Every metric that zeef has.
        pub const METRICS: &[MetricDef] = &[$(MetricDef {
            name: $name, sort: Sort::$sort, labels: $labels, help: $help,
        }),*];
    };
}

metrics_table! {
    CONSUMED Counter "zeef_records_consumed_total" ["lane, topic"] "Records taken in and committed."
    CONSUMED_BYTES Counter "zeef_consumed_bytes_total" ["lane, topic"] "Keys and values taken in and committed, in bytes."
    APPLIED Counter "zeef_records_applied_total" ["lane, topic"] "Records that no recipient of the lane has as its source."
    REFUSED Counter "zeef_records_refused_total" ["lane, topic, reason"] "Records refused whole."
    UNFIT Counter "zeef_values_unfit_total" ["lane, topic"] "Strings that did not fit their form, and counted as missing."
    OUTLIVED Counter "zeef_records_before_erasure_total" ["lane, topic"] "Records and consents from before their patron was erased, though somebody has its id again."
    ERASURES_UNMATCHED Counter "zeef_erasures_unmatched_total" ["lane, topic"] "Nulls that erased nobody, as nothing is known of a patron with their key."
    UNLISTED Counter "zeef_values_unlisted_total" ["lane, topic"] "Strings that are none of their field's list, and counted as missing."
    OTHER_COUNTRY Counter "zeef_countries_corrected_total" ["lane, topic"] "Records that say another country than their library's ISIL, which counts."
    IGNORED Counter "zeef_statements_ignored_total" ["lane, topic, cause"] "Consents and objections that counted for nothing, or not for all recipients of their purpose: unknown_purpose, unknown_recipient, consent_other_library, objection_other_basis."
    RELEASED Counter "zeef_records_released_total" ["recipient"] "Outputs released."
    RELEASED_BYTES Counter "zeef_released_bytes_total" ["recipient"] "Keys and values of released outputs, in bytes."
    UNCHANGED Counter "zeef_records_unchanged_total" ["recipient"] "Records of which the recipient has the same output already."
    HELD Counter "zeef_records_held_total" ["recipient"] "Records that had to wait for their patron when they came."
    WITHHELD Counter "zeef_records_withheld_total" ["recipient, reason"] "Records that a recipient may not have."
    RETRACTIONS Counter "zeef_retractions_total" ["recipient, reason, trigger"] "Outputs taken back: by a new version of their record (trigger record), or by something else (other), as the patron, a consent or time."
    CORRECTIONS Counter "zeef_corrections_total" ["recipient"] "Outputs corrected, since something about the patron changed."
    LATER_RELEASES Counter "zeef_later_releases_total" ["recipient"] "Outputs released after their record, as what stood against it was lifted."
    FORGOTTEN Counter "zeef_outputs_forgotten_total" ["recipient"] "Outputs that a recipient keeps lawfully after its term, and that zeef forgot."
    SOURCE_GONE Counter "zeef_source_gone_total" ["recipient"] "Records that were to be decided again, and that their source no longer had."
    RECIPIENT_REFUSED Counter "zeef_recipient_records_refused_total" ["recipient"] "Records of the recipient's source that were refused whole."
    DETECTED Counter "zeef_detector_hits_total" ["recipient, detector"] "Personal data found in free text, and replaced."
    MASKED Counter "zeef_mask_limits_total" ["recipient, limit"] "Values of which a mask showed less than asked: short_name, short_card, national_card."
    LEFT_OUT Counter "zeef_national_numbers_left_out_total" ["recipient"] "Values that were left out of outputs, as they have a national number of the patron among their digits."
    DEAD_LETTERS Counter "zeef_dead_letters_total" ["source, reason"] "Dead letters published."
    BATCH_RECORDS Histogram "zeef_batch_records" ["lane"] "Records in a committed batch."
    BATCH_SECONDS Histogram "zeef_batch_duration_seconds" ["lane"] "From a batch's first record to its commit."
    TRANSACTION_SECONDS Histogram "zeef_transaction_duration_seconds" ["lane"] "From closing a batch to the end of its commit."
    LATENCY_SECONDS Histogram "zeef_end_to_end_latency_seconds" ["lane"] "From a record's timestamp to the commit of what came of it."
    ABORTED Counter "zeef_batches_aborted_total" ["lane"] "Batches that were dropped and done again."
    PACED_SECONDS Histogram "zeef_rate_limit_wait_seconds" ["lane"] "Waits of a lane for a recipient's rate."
    REBALANCES Counter "zeef_rebalances_total" ["lane"] "Times that partitions were given or taken."
    TABLE_PATRONS Gauge "zeef_table_patrons" ["lane, worker"] "Patrons in the worker's table."
    STATE_ROWS Gauge "zeef_state_rows" ["lane, worker"] "Records that some recipient has, or may still be owed."
    HELD_NOW Gauge "zeef_held_records" ["lane, worker"] "Records that wait for their patrons now."
    REBUILD_SECONDS Gauge "zeef_table_rebuild_duration_seconds" ["lane, worker"] "How long the last rebuild of the table took."
    CLOCK Gauge "zeef_clock_ahead_seconds" ["lane, worker"] "How far this machine's clock was ahead of the broker's when the worker took its partitions; beyond 600 either way the lane stops."
    LAG Gauge "zeef_consumer_lag" ["lane, topic, partition"] "How far a partition that this process owns is behind: offsets on Kafka, those of open transactions too; bytes in a directory."
    NEWEST_AGE Gauge "zeef_source_newest_record_age_seconds" ["source"] "How old the newest record of a source is: by the broker's timestamp on Kafka, by the file's last change in a directory."
    AGREEMENT_DAYS Gauge "zeef_agreement_days_left" ["recipient"] "Days on which the recipient's agreement is still in force, today counted; 0 or less: it no longer is."
    AUTHORISATION_DAYS Gauge "zeef_authorisation_days_left" ["recipient"] "Days on which the recipient's authorisation for national numbers is still in force, today counted; 0 or less: it no longer is."
    LAST_COMMIT Gauge "zeef_last_commit_timestamp_seconds" ["lane, worker"] "When the worker last committed a batch, in seconds since 1970."
    READY Gauge "zeef_ready" [""] "1 while /health/ready is 200, else 0."
    RESIDENT Gauge "process_resident_memory_bytes" [""] "Resident memory size in bytes."
    CPU Counter "process_cpu_seconds_total" [""] "Total user and system CPU time spent in seconds."
    OPEN_FDS Gauge "process_open_fds" [""] "Number of open file descriptors."
    MAX_FDS Gauge "process_max_fds" [""] "Maximum number of open file descriptors."
    START Gauge "process_start_time_seconds" [""] "Start time of the process since unix epoch in seconds."
    POLICY Gauge "zeef_policy_info" ["version"] "1, for the policy that is in force."
    BUILD Gauge "zeef_build_info" ["version"] "1, for the version that runs."
}

/// Lags by lane, topic and partition: what is not owned is not there.
type Lags = Arc<Mutex<BTreeMap<(String, usize), Vec<(String, i32, i64)>>>>;

/// The registry of a process.
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    lags: Lags,
}

const METADATA: Metadata<'static> = Metadata::new("zeef", Level::INFO, None);
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];
const RECORDS: &[f64] = &[
    1.0, 10.0, 100.0, 1_000.0, 5_000.0, 10_000.0, 20_000.0, 50_000.0,
];

impl Metrics {
    /// Builds the registry.
    ///
    /// # Errors
    ///
    /// When the exporter refuses its buckets.
    pub fn new(policy_version: &str) -> Result<Metrics, metrics_exporter_prometheus::BuildError> {
        let mut builder = PrometheusBuilder::new();
        for metric in METRICS
            .iter()
            .filter(|metric| metric.sort == Sort::Histogram)
        {
            let buckets = if metric.name == BATCH_RECORDS {
                RECORDS
            } else {
                SECONDS
            };
            builder =
                builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
        }
        let recorder = builder.build_recorder();
        let by_hand = [LAG, RESIDENT, CPU, OPEN_FDS, MAX_FDS, START];
        for metric in METRICS
            .iter()
            .filter(|metric| !by_hand.contains(&metric.name))
        {
            let (name, help) = (metric.name.into(), metric.help.into());
            match metric.sort {
                Sort::Counter => recorder.describe_counter(name, None::<Unit>, help),
                Sort::Gauge => recorder.describe_gauge(name, None, help),
                Sort::Histogram => recorder.describe_histogram(name, None, help),
            }
        }
        let handle = recorder.handle();
        let metrics = Metrics {
            recorder: Arc::new(recorder),
            handle,
            lags: Lags::default(),
        };
        metrics
            .gauge(POLICY, &[("version", policy_version)])
            .set(1.0);
        metrics
            .gauge(BUILD, &[("version", env!("CARGO_PKG_VERSION"))])
            .set(1.0);
        Ok(metrics)
    }

    /// Sums up what was recorded since the last time: until then every single
    /// value lies in memory, also where nobody ever asks for `/metrics`.
    pub fn sum_up(&self) {
        self.handle.run_upkeep();
    }

    /// What `/metrics` answers, as Prometheus reads it.
    #[must_use]
    pub fn render(&self) -> String {
        self.sum_up();
        let mut text = self.handle.render();
        self.write_lags(&mut text);
        write_process(&mut text, &Process::look());
        sorted(&text)
    }

    fn write_lags(&self, text: &mut String) {
        let lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        if lags.values().any(|lags| !lags.is_empty()) {
            write_head(text, LAG);
        }
        for ((lane, _), lags) in lags.iter() {
            for (topic, partition, lag) in lags {
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "{LAG}{{lane=\"{lane}\",topic=\"{topic}\",partition=\"{partition}\"}} {lag}"
                );
            }
        }
    }

    /// Shows whether every lane works.
    pub fn ready(&self, ready: bool) {
        self.gauge(READY, &[]).set(f64::from(u8::from(ready)));
    }

    /// Shows how many days a recipient's paper is still in force.
    pub fn paper(&self, sort: PaperSort, recipient: &str, days: i64) {
        let name = match sort {
            PaperSort::Agreement => AGREEMENT_DAYS,
            PaperSort::Authorisation => AUTHORISATION_DAYS,
        };
        self.gauge(name, &[("recipient", recipient)])
            .set(days as f64);
    }

    /// Shows how old the newest record of a source is.
    pub fn newest_age(&self, source: &str, seconds: f64) {
        self.gauge(NEWEST_AGE, &[("source", source)]).set(seconds);
    }

    /// The handles of one worker.
    #[must_use]
    pub fn worker(&self, lane: &Lane, worker: usize) -> WorkerMetrics {
        let name = lane.name.as_str();
        let number = worker.to_string();
        let lane_label = [("lane", name)];
        let worker_labels = [("lane", name), ("worker", number.as_str())];
        let recipients = lane.recipients.iter();
        let sources = lane.sources.iter();
        WorkerMetrics {
            sources: sources.map(|source| self.source(name, source)).collect(),
            recipients: recipients
                .map(|program| self.recipient(program, lane.sources.get(program.source)))
                .collect(),
            batch_records: self.histogram(BATCH_RECORDS, &lane_label),
            batch_seconds: self.histogram(BATCH_SECONDS, &lane_label),
            transaction_seconds: self.histogram(TRANSACTION_SECONDS, &lane_label),
            latency_seconds: self.histogram(LATENCY_SECONDS, &lane_label),
            aborted: self.counter(ABORTED, &lane_label),
            paced: self.histogram(PACED_SECONDS, &lane_label),
            rebalances: self.counter(REBALANCES, &lane_label),
            patrons: self.gauge(TABLE_PATRONS, &worker_labels),
            rows: self.gauge(STATE_ROWS, &worker_labels),
            held: self.gauge(HELD_NOW, &worker_labels),
            // Not shown before there is one: it would be of 1970.
            last_commit: None,
            recorder: Arc::clone(&self.recorder),
            rebuild_seconds: self.gauge(REBUILD_SECONDS, &worker_labels),
            clock: self.gauge(CLOCK, &worker_labels),
            topics: lane
                .sources
                .iter()
                .map(|source| source.kind.topic.clone())
                .collect(),
            lags: Arc::clone(&self.lags),
            place: (name.to_owned(), worker),
        }
    }

    fn source(&self, lane: &str, source: &Source) -> SourceMetrics {
        let kind = &source.kind;
        let labels = [("lane", lane), ("topic", kind.topic.as_str())];
        let dead_letter = |reason: Reason| {
            let labels = [("source", kind.name.as_str()), ("reason", reason.as_str())];
            Lazy::new(self, DEAD_LETTERS, &labels)
        };
        SourceMetrics {
            consumed: self.counter(CONSUMED, &labels),
            bytes: self.counter(CONSUMED_BYTES, &labels),
            applied: self.counter(APPLIED, &labels),
            unfit: self.counter(UNFIT, &labels),
            dead_letters: by_reason(dead_letter, source.dead_letter_reasons()),
            outlived: self.counter(OUTLIVED, &labels),
            unmatched: self.counter(ERASURES_UNMATCHED, &labels),
            unlisted: self.counter(UNLISTED, &labels),
            other_country: self.counter(OTHER_COUNTRY, &labels),
            ignored: Ignored::ALL
                .iter()
                .map(|cause| {
                    let mut labels = labels.to_vec();
                    labels.push(("cause", cause.as_str()));
                    Lazy::new(self, IGNORED, &labels)
                })
                .collect(),
            refused: Reason::ALL
                .iter()
                .map(|reason| {
                    let mut labels = labels.to_vec();
                    labels.push(("reason", reason.as_str()));
                    Lazy::new(self, REFUSED, &labels)
                })
                .collect(),
        }
    }

    fn recipient(&self, program: &Program, source: Option<&Source>) -> RecipientMetrics {
        let label = ("recipient", program.name.as_str());
        let lazily =
            |name, key: &'static str, value: &str| Lazy::new(self, name, &[label, (key, value)]);
        let retractions = |trigger| {
            let lazily = |reason: Reason| {
                let labels = [label, ("reason", reason.as_str()), ("trigger", trigger)];
                Lazy::new(self, RETRACTIONS, &labels)
            };
            by_reason(lazily, [])
        };
        let withheld = source
            .into_iter()
            .flat_map(|source| program.withheld_reasons(source));
        RecipientMetrics {
            released: self.counter(RELEASED, &[label]),
            unchanged: self.counter(UNCHANGED, &[label]),
            held: self.counter(HELD, &[label]),
            retracted: retractions("record"),
            retracted_later: retractions("other"),
            corrections: self.counter(CORRECTIONS, &[label]),
            later_releases: self.counter(LATER_RELEASES, &[label]),
            forgotten: self.counter(FORGOTTEN, &[label]),
            gone: self.counter(SOURCE_GONE, &[label]),
            bytes: self.counter(RELEASED_BYTES, &[label]),
            refused: self.counter(RECIPIENT_REFUSED, &[label]),
            withheld: by_reason(
                |reason| lazily(WITHHELD, "reason", reason.as_str()),
                withheld,
            ),
            detected: DETECTORS
                .iter()
                .map(|detector| lazily(DETECTED, "detector", detector.name))
                .collect(),
            left_out: self.counter(LEFT_OUT, &[label]),
            limits: ["short_name", "short_card", "national_card"]
                .map(|limit| lazily(MASKED, "limit", limit)),
        }
    }

    fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
        let labels: Vec<Label> = labels
            .iter()
            .map(|&(key, value)| Label::new(key, value.to_owned()))
            .collect();
        Key::from_parts(name, labels)
    }

    fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.recorder
            .register_counter(&Self::key(name, labels), &METADATA)
    }

    fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        self.recorder
            .register_gauge(&Self::key(name, labels), &METADATA)
    }

    fn histogram(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        self.recorder
            .register_histogram(&Self::key(name, labels), &METADATA)
    }
}

/// A counter that is shown once it has counted something.
struct Lazy {
    recorder: Arc<PrometheusRecorder>,
    key: Key,
    counter: Option<Counter>,
}

impl Lazy {
    fn new(metrics: &Metrics, name: &'static str, labels: &[(&'static str, &str)]) -> Lazy {
        Lazy {
            recorder: Arc::clone(&metrics.recorder),
            key: Metrics::key(name, labels),
            counter: None,
        }
    }

    fn add(&mut self, count: u64) {
        if count > 0 {
            self.show().increment(count);
        }
    }

    /// Shows it, at nought where it has counted nothing yet.
    fn show(&mut self) -> &Counter {
        self.counter
            .get_or_insert_with(|| self.recorder.register_counter(&self.key, &METADATA))
    }
}

/// A counter for each reason. Those that `may_be` given are shown at nought, so that
/// the first one is seen to come; others would only be in the way.
fn by_reason(
    counter: impl Fn(Reason) -> Lazy,
    may_be: impl IntoIterator<Item = Reason>,
) -> Vec<Lazy> {
    let mut counters: Vec<Lazy> = Reason::ALL.iter().map(|reason| counter(*reason)).collect();
    for reason in may_be {
        if let Some(counter) = counters.get_mut(reason as usize) {
            counter.show();
        }
    }
    counters
}

struct SourceMetrics {
    consumed: Counter,
    bytes: Counter,
    applied: Counter,
    unfit: Counter,
    outlived: Counter,
    unmatched: Counter,
    unlisted: Counter,
    other_country: Counter,
    ignored: Vec<Lazy>,
    refused: Vec<Lazy>,
    dead_letters: Vec<Lazy>,
}

struct RecipientMetrics {
    released: Counter,
    unchanged: Counter,
    held: Counter,
    retracted: Vec<Lazy>,
    retracted_later: Vec<Lazy>,
    corrections: Counter,
    later_releases: Counter,
    forgotten: Counter,
    gone: Counter,
    bytes: Counter,
    refused: Counter,
    withheld: Vec<Lazy>,
    detected: Vec<Lazy>,
    limits: [Lazy; 3],
    left_out: Counter,
}

/// The handles that one worker holds.
pub struct WorkerMetrics {
    sources: Vec<SourceMetrics>,
    recipients: Vec<RecipientMetrics>,
    batch_records: Histogram,
    batch_seconds: Histogram,
    transaction_seconds: Histogram,
    latency_seconds: Histogram,
    aborted: Counter,
    paced: Histogram,
    rebalances: Counter,
    patrons: Gauge,
    rows: Gauge,
    held: Gauge,
    last_commit: Option<Gauge>,
    recorder: Arc<PrometheusRecorder>,
    rebuild_seconds: Gauge,
    clock: Gauge,
    topics: Vec<String>,
    lags: Lags,
    place: (String, usize),
}

impl WorkerMetrics {
    /// Counts a batch that has been committed.
    pub fn committed(
        &mut self,
        tally: &Tally,
        batch: Option<Duration>,
        transaction: Duration,
        committed_ms: i64,
    ) {
        self.transaction_seconds.record(transaction.as_secs_f64());
        if let Some(batch) = batch {
            self.batch_seconds.record(batch.as_secs_f64());
            self.batch_records.record(tally.consumed() as f64);
        }
        for (metrics, tally) in self.sources.iter_mut().zip(&tally.sources) {
            metrics.consumed.increment(tally.consumed);
            metrics.bytes.increment(tally.bytes);
            metrics.applied.increment(tally.applied);
            metrics.unfit.increment(tally.unfit);
            metrics.outlived.increment(tally.outlived);
            metrics.unmatched.increment(tally.unmatched);
            metrics.unlisted.increment(tally.unlisted);
            metrics.other_country.increment(tally.other_country);
            add_all(&mut metrics.ignored, tally.ignored);
            add_all(&mut metrics.refused, tally.refused.iter().copied());
            add_all(
                &mut metrics.dead_letters,
                tally.dead_letters.iter().copied(),
            );
        }
        for (metrics, tally) in self.recipients.iter_mut().zip(&tally.recipients) {
            metrics.released.increment(tally.released);
            metrics.unchanged.increment(tally.unchanged);
            metrics.held.increment(tally.held);
            add_all(&mut metrics.retracted, tally.retracted.iter().copied());
            add_all(
                &mut metrics.retracted_later,
                tally.later.retracted.iter().copied(),
            );
            metrics.corrections.increment(tally.later.corrected);
            metrics.later_releases.increment(tally.later.released);
            metrics.forgotten.increment(tally.later.forgotten);
            metrics.gone.increment(tally.later.gone);
            metrics.bytes.increment(tally.bytes);
            metrics.refused.increment(tally.refused);
            add_all(&mut metrics.withheld, tally.withheld.iter().copied());
            add_all(&mut metrics.detected, tally.seen.detected.map(u64::from));
            let limits = [
                u64::from(tally.seen.noticed.short_name),
                u64::from(tally.seen.noticed.short_card),
                tally.seen.national_cards,
            ];
            add_all(&mut metrics.limits, limits);
            metrics.left_out.increment(tally.left_out);
        }
        let last_commit = self.last_commit.get_or_insert_with(|| {
            let (lane, worker) = (&*self.place.0, &*self.place.1.to_string());
            let labels = [("lane", lane), ("worker", worker)];
            let key = Metrics::key(LAST_COMMIT, &labels);
            self.recorder.register_gauge(&key, &METADATA)
        });
        last_commit.set(committed_ms as f64 / 1_000.0);
        for &written in &tally.written_ms {
            let late = committed_ms.saturating_sub(written).max(0);
            self.latency_seconds.record(late as f64 / 1_000.0);
        }
    }

    pub fn aborted(&self) {
        self.aborted.increment(1);
    }

    /// The lane waited for a recipient's rate.
    pub fn waited(&self, wait: Duration) {
        self.paced.record(wait.as_secs_f64());
    }

    pub fn rebalanced(&self) {
        self.rebalances.increment(1);
    }

    /// The table was built anew.
    pub fn built(&self, patrons: usize, took: Duration) {
        self.rebuild_seconds.set(took.as_secs_f64());
        self.table(patrons);
    }

    pub fn table(&self, patrons: usize) {
        self.patrons.set(patrons as f64);
    }

    /// How far the clock is ahead of the broker's.
    pub fn clock(&self, ahead_ms: i64) {
        self.clock.set(ahead_ms as f64 / 1_000.0);
    }

    /// How many rows the state has, and how many of them wait for a patron.
    pub fn state(&self, rows: usize, held: usize) {
        self.rows.set(rows as f64);
        self.held.set(held as f64);
    }

    /// Replaces the worker's lags: partitions that it no longer owns are gone.
    pub fn lag(&self, lags: &[Lag]) {
        let lags = lags
            .iter()
            .filter_map(|lag| {
                let topic = self.topics.get(usize::from(lag.source.0))?;
                Some((topic.clone(), lag.partition, lag.behind))
            })
            .collect();
        self.lags
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(self.place.clone(), lags);
    }
}

fn add_all(counters: &mut [Lazy], counts: impl IntoIterator<Item = u64>) {
    for (counter, count) in counters.iter_mut().zip(counts) {
        counter.add(count);
    }
}

/// Writes what stands above the series of a metric.
fn write_head(text: &mut String, name: &str) {
    let Some(metric) = METRICS.iter().find(|metric| metric.name == name) else {
        return;
    };
    let sort = match metric.sort {
        Sort::Counter => "counter",
        Sort::Gauge => "gauge",
        Sort::Histogram => "histogram",
    };
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "# HELP {name} {}\n# TYPE {name} {sort}\n",
        metric.help
    );
}

/// Writes what the system says of the process, by the names that all programs have.
fn write_process(text: &mut String, process: &Process) {
    for (name, value) in [
        (RESIDENT, process.resident_bytes),
        (CPU, Some(process.cpu_seconds)),
        (OPEN_FDS, process.open_fds),
        (MAX_FDS, process.max_fds),
        (START, process.start_seconds),
    ] {
        if let Some(value) = value {
            write_head(text, name);
            let _ = writeln!(text, "{name} {value}");
        }
    }
}

/// Sorts metrics by name, and the series of each by their labels; what belongs to one
/// histogram keeps its order. So two answers can be compared line by line.
fn sorted(text: &str) -> String {
    let mut families: BTreeMap<&str, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
    let mut name = "";
    for line in text.lines().filter(|line| !line.is_empty()) {
        let head = line
            .strip_prefix("# ")
            .and_then(|line| line.split(' ').nth(1));
        name = head.unwrap_or(name);
        let (heads, series) = families.entry(name).or_default();
        match head {
            Some(_) => heads.push(line),
            None => series.push(line),
        }
    }
    let mut sorted = String::with_capacity(text.len());
    for (heads, mut series) in families.into_values() {
        series.sort_by_cached_key(|line| labels_of(line));
        for line in heads.into_iter().chain(series) {
            sorted.push_str(line);
            sorted.push('\n');
        }
    }
    sorted
}

/// The labels of a series, without the bound of a bucket.
fn labels_of(line: &str) -> Vec<&str> {
    let labels = line
        .split_once('{')
        .and_then(|(_, rest)| rest.rsplit_once('}'));
    let labels = labels.map_or("", |(labels, _)| labels);
    let labels = labels.split("\",").map(|label| label.trim_end_matches('"'));
    labels.filter(|label| !label.starts_with("le=")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine::lane::Options;
    use crate::policy::Policy;
    use crate::policy::pseudonym::{Key, Pseudonymiser};

    /// The shipped policy in one lane.
    fn lane() -> Lane {
        let policy = Policy::load(Path::new("config")).unwrap().policy;
        let key = Key::generate("test").unwrap();
        let keys = |_: &str| Some(Pseudonymiser::new(&key));
        Lane::compile("main", &policy, |_| true, keys, Options::default()).unwrap()
    }

    fn series<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
        let start = format!("{name}{{");
        text.lines()
            .filter(|line| line.starts_with(&start))
            .collect()
    }

    #[test]
    fn names_are_as_prometheus_wants_them() {
        for metric in METRICS {
            let name = metric.name;
            let ours = name.starts_with("zeef_") || name.starts_with("process_");
            assert!(ours, "{name}");
            assert_eq!(
                name.ends_with("_total"),
                metric.sort == Sort::Counter,
                "{name}"
            );
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            assert!(name.bytes().all(plain), "{name}");
            assert!(metric.help.ends_with('.'), "{name}");
            let again = METRICS.iter().filter(|other| other.name == name).count();
            assert_eq!(again, 1, "{name}");
            // OpenMetrics calls a counter by its name without the ending.
            let family = name.strip_suffix("_total");
            let twin = METRICS.iter().any(|other| Some(other.name) == family);
            assert!(!twin, "{name}");
        }
    }

    #[test]
    fn what_can_be_is_shown_at_nought_and_what_cannot_is_not() {
        let metrics = Metrics::new("test").unwrap();
        let lane = lane();
        let _worker = metrics.worker(&lane, 0);
        let text = metrics.render();
        let has = |name: &str, labels: &[&str]| {
            let all = series(&text, name);
            let mut found = all
                .iter()
                .filter(|line| labels.iter().all(|label| line.contains(label)));
            found.next().is_some_and(|line| line.ends_with(" 0"))
        };
        for source in &lane.sources {
            let foreseen: Vec<Reason> = source.dead_letter_reasons().collect();
            for reason in Reason::ALL {
                let labels = [
                    format!("source=\"{}\"", source.kind.name),
                    format!("reason=\"{reason}\""),
                ];
                let shown = has("zeef_dead_letters_total", &labels.each_ref().map(|l| &**l));
                assert_eq!(shown, foreseen.contains(reason), "{labels:?}");
            }
        }
        let withheld = |recipient: &str, reason: &str| {
            let labels = [format!("\"{recipient}\""), format!("reason=\"{reason}\"")];
            has(
                "zeef_records_withheld_total",
                &labels.each_ref().map(|l| &**l),
            )
        };
        // Only who asks for consent can be without, and so on.
        assert!(withheld("kb-membership", "no_consent"));
        assert!(!withheld("statistics", "no_consent"));
        assert!(withheld("deurwaarder", "stages"));
        assert!(!withheld("kb-membership", "stages"));
        assert!(withheld("statistics", "objection"));
        assert!(!withheld("service-message", "objection"));
        // What nothing foresees is shown once it was counted.
        assert!(series(&text, "zeef_retractions_total").is_empty());
    }

    #[test]
    fn retractions_have_one_name_and_say_what_brought_them_about() {
        let metrics = Metrics::new("test").unwrap();
        let lane = lane();
        let mut worker = metrics.worker(&lane, 0);
        let mut tally = Tally::new(lane.sources.len(), lane.recipients.len());
        let reason = Reason::Condition as usize;
        tally.recipients[0].retracted[reason] = 2;
        tally.recipients[0].later.retracted[reason] = 3;
        worker.committed(&tally, None, Duration::ZERO, 1_234_567);
        let text = metrics.render();
        let recipient = &lane.recipients[0].name;
        for (trigger, count) in [("record", 2), ("other", 3)] {
            let line = format!(
                "zeef_retractions_total{{recipient=\"{recipient}\",reason=\"condition\",trigger=\"{trigger}\"}} {count}\n"
            );
            assert!(text.contains(&line), "{line}");
        }
        let commit = "zeef_last_commit_timestamp_seconds{lane=\"main\",worker=\"0\"} 1234.567\n";
        assert!(text.contains(commit), "{text}");
    }

    #[test]
    fn the_answer_is_sorted_and_has_the_process() {
        let metrics = Metrics::new("test").unwrap();
        let lane = lane();
        let mut worker = metrics.worker(&lane, 0);
        let tally = Tally::new(lane.sources.len(), lane.recipients.len());
        worker.committed(&tally, Some(Duration::ZERO), Duration::ZERO, 1);
        worker.lag(&[Lag {
            source: crate::transport::SourceId(0),
            partition: 0,
            behind: 7,
        }]);
        metrics.ready(true);
        let text = metrics.render();
        let types: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        assert!(types.is_sorted(), "{types:?}");
        for name in [
            "process_cpu_seconds_total",
            "process_max_fds",
            "process_open_fds",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
            "zeef_ready",
            LAG,
        ] {
            assert!(types.contains(&name), "{name}");
        }
        let released = series(&text, "zeef_records_released_total");
        assert!(released.len() > 3 && released.is_sorted(), "{released:?}");
        // The bounds of a histogram keep their order.
        let buckets = series(&text, "zeef_batch_duration_seconds_bucket");
        let bounds = buckets
            .iter()
            .map(|line| line.split("le=\"").nth(1).unwrap());
        let bounds: Vec<f64> = bounds
            .map(|rest| {
                rest.split('"')
                    .next()
                    .unwrap()
                    .parse()
                    .unwrap_or(f64::INFINITY)
            })
            .collect();
        assert!(bounds.len() > 5 && bounds.is_sorted(), "{bounds:?}");
        assert_eq!(sorted(&text), text, "sorting twice changes nothing");
    }
}
