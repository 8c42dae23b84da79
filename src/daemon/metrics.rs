//! Every metric of zeef: its name, its labels, and who may touch it.
//!
//! Labels are recipients, lanes, topics and closed words; never a value of a record. A
//! batch is counted after its commit.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use super::expiry::DocumentKind;
use super::process::ProcessStats;
use crate::engine::lane::{Lane, LaneSource, Program};
use crate::engine::tally::{IgnoredReason, RecipientTally, Tally};
use crate::intake::{Intake, Refusal};
use crate::ledger::retractions::OpenCounts;
use crate::policy::detect::DETECTORS;
use crate::policy::reason::Reason;
use crate::transport::PartitionLag;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// A row of the table of metrics.
#[derive(Clone, Copy, Debug)]
pub struct MetricDef {
    pub name: &'static str,
    pub kind: MetricKind,
    pub labels: &'static str,
    pub help: &'static str,
}

macro_rules! metrics_table {
    ($($id:ident $kind:ident $name:literal [$labels:literal] $help:literal)*) => {
        $(const $id: &str = $name;)*
        /// Every metric that zeef has.
        pub const METRICS: &[MetricDef] = &[$(MetricDef {
            name: $name, kind: MetricKind::$kind, labels: $labels, help: $help,
        }),*];
    };
}

metrics_table! {
    CONSUMED Counter "zeef_records_consumed_total" ["lane, topic"] "Records taken in and committed."
    CONSUMED_BYTES Counter "zeef_consumed_bytes_total" ["lane, topic"] "Keys and values taken in and committed, in bytes."
    GATE_RECORDS Counter "zeef_records_applied_total" ["lane, topic"] "Records of gates and patrons, which no recipient of the lane has as its source."
    REFUSED Counter "zeef_records_refused_total" ["lane, topic, reason"] "Records rejected as a whole."
    FORMAT_ERRORS Counter "zeef_values_unfit_total" ["lane, topic"] "Strings that did not match their form and were treated as missing."
    BEFORE_ERASURE Counter "zeef_records_before_erasure_total" ["lane, topic"] "Records and consents older than the erasure of their patron, whose id is in use again."
    ERASURES_UNMATCHED Counter "zeef_erasures_unmatched_total" ["lane, topic"] "Nulls that erased nobody, because no patron is known by their key."
    UNLISTED Counter "zeef_values_unlisted_total" ["lane, topic"] "Strings that are not in their field's list and were treated as missing."
    COUNTRIES_CORRECTED Counter "zeef_countries_corrected_total" ["lane, topic"] "Records whose country contradicts their library's ISIL, which takes precedence."
    IGNORED Counter "zeef_statements_ignored_total" ["lane, topic, cause"] "Consents and objections without effect, or without effect for some recipients of their purpose: unknown_purpose, unknown_recipient, consent_other_library, objection_other_basis."
    TRACE_PARENTS_IGNORED Counter "zeef_trace_parents_ignored_total" ["lane, topic"] "Records whose `traceparent` could not be read, or that had more than one: their lines in the ledger name no operation of the upstream."
    RELEASED Counter "zeef_records_released_total" ["recipient"] "Outputs released."
    RELEASED_BYTES Counter "zeef_released_bytes_total" ["recipient"] "Keys and values of released outputs, in bytes."
    UNCHANGED Counter "zeef_records_unchanged_total" ["recipient"] "Records for which the recipient already has the same output."
    HELD Counter "zeef_records_held_total" ["recipient"] "Records that had to wait for their patron on arrival."
    THINNED Counter "zeef_outputs_thinned_total" ["recipient"] "Outputs published without the fields that the recipient's `thinned` drops."
    WITHHELD Counter "zeef_records_withheld_total" ["recipient, reason"] "Records withheld from a recipient."
    RETRACTIONS Counter "zeef_retractions_total" ["recipient, reason, trigger"] "Outputs taken back: by a new version of their record (trigger record), or by something else (other), such as the patron, a consent or time."
    MARKETING_STOP_SECONDS Histogram "zeef_marketing_stop_seconds" ["recipient"] "From the time of an objection to marketing to the commit that took an output back for it; objections without a time are not measured."
    CORRECTIONS Counter "zeef_corrections_total" ["recipient"] "Outputs corrected because something about the patron changed."
    LATER_RELEASES Counter "zeef_later_releases_total" ["recipient"] "Outputs released later than their record, because what withheld it no longer applies."
    FORGOTTEN Counter "zeef_outputs_forgotten_total" ["recipient"] "Outputs that a recipient keeps lawfully after its term, and that zeef forgot."
    SOURCE_GONE Counter "zeef_source_gone_total" ["recipient"] "Records to be decided again that their source no longer had."
    RECIPIENT_RECORDS_REFUSED Counter "zeef_recipient_records_refused_total" ["recipient"] "Records of the recipient's source that were rejected as a whole."
    DETECTOR_HITS Counter "zeef_detector_hits_total" ["recipient, detector"] "Personal data found and replaced in free text."
    MASK_LIMITS Counter "zeef_mask_limits_total" ["recipient, limit"] "Values of which a mask showed less than configured: short_name, short_card, national_card."
    NATIONAL_NUMBERS_LEFT_OUT Counter "zeef_national_numbers_left_out_total" ["recipient"] "Values left out of outputs because their digits contain a national number of the patron."
    DEAD_LETTERS Counter "zeef_dead_letters_total" ["source, reason"] "Dead letters published."
    BATCH_RECORDS Histogram "zeef_batch_records" ["lane"] "Records in a committed batch."
    BATCH_SECONDS Histogram "zeef_batch_duration_seconds" ["lane"] "From a batch's first record to its commit."
    TRANSACTION_SECONDS Histogram "zeef_transaction_duration_seconds" ["lane"] "From closing a batch to the end of its commit."
    LATENCY_SECONDS Histogram "zeef_end_to_end_latency_seconds" ["lane"] "From a record's timestamp to the commit of its outcome."
    ABORTED Counter "zeef_batches_aborted_total" ["lane"] "Batches that were dropped and retried."
    RATE_LIMIT_WAIT Histogram "zeef_rate_limit_wait_seconds" ["lane"] "Time a lane waited for a recipient's rate limit."
    REBALANCES Counter "zeef_rebalances_total" ["lane"] "Assignments and revocations of partitions."
    TABLE_PATRONS Gauge "zeef_table_patrons" ["lane, worker"] "Patrons in the worker's table."
    STATE_ROWS Gauge "zeef_state_rows" ["lane, worker"] "Records that some recipient has or may still get."
    HELD_RECORDS Gauge "zeef_held_records" ["lane, worker"] "Records that currently wait for their patrons."
    SOURCE_DELETIONS_OVERDUE Gauge "zeef_source_deletions_overdue" ["lane, worker"] "Records whose source should have deleted its own copy by now, and does not say that it did: `zeef holds --overdue` lists them."
    REBUILD_SECONDS Gauge "zeef_table_rebuild_duration_seconds" ["lane, worker"] "How long the last rebuild of the table took."
    CLOCK_AHEAD Gauge "zeef_clock_ahead_seconds" ["lane, worker"] "How far this machine's clock was ahead of the broker's when the worker took its partitions; beyond 600 either way the lane stops."
    LAG Gauge "zeef_consumer_lag" ["lane, topic, partition"] "How far a partition that this process owns is behind: offsets on Kafka, including those of open transactions; bytes in a directory."
    NEWEST_AGE Gauge "zeef_source_newest_record_age_seconds" ["source"] "Age of the newest record of a source: by the broker's timestamp on Kafka, by the file's last change in a directory."
    INTAKE_RECORDS Counter "zeef_intake_records_total" ["intake, kind, outcome"] "Canonical records that an intake made: written, gone, erased, withdrawn, or unreadable where what they decide over had to be closed; refused where none could be made of a message."
    INTAKE_REFUSED Counter "zeef_intake_refused_total" ["intake, topic, reason"] "Messages, records and rows of lookups that an intake refused. Each but a lookup's row has a dead letter."
    INTAKE_OLDER Counter "zeef_intake_older_total" ["intake, topic, kind"] "Records that an intake dropped, as a newer version of them was written before (newer_by of the mapping)."
    LOOKUP_ROWS Gauge "zeef_intake_lookup_rows" ["intake, worker, lookup"] "Rows of a lookup that the worker holds."
    LOOKUP_BYTES Gauge "zeef_intake_lookup_bytes" ["intake, worker"] "Memory of all lookups of the worker, in bytes; lookup_bytes_max of the mapping bounds it."
    VERSION_ROWS Gauge "zeef_intake_version_rows" ["intake, worker"] "Records of which the worker knows the version that was written last."
    VERSION_BYTES Gauge "zeef_intake_version_bytes" ["intake, worker"] "Memory of these versions, in bytes; version_bytes_max of the mapping bounds it."
    AGREEMENT_DAYS Gauge "zeef_agreement_days_left" ["recipient"] "Days on which the recipient's agreement is still in force, including today; 0 or less once it has ended."
    AUTHORISATION_DAYS Gauge "zeef_authorisation_days_left" ["recipient"] "Days on which the recipient's authorisation for national numbers is still in force, including today; 0 or less once it has ended."
    RETRACTIONS_UNACKNOWLEDGED Gauge "zeef_retractions_unacknowledged" ["recipient"] "Retractions that the recipient, whose file has `ack`, has not acknowledged: `zeef retractions --open` lists them."
    RETRACTIONS_OVERDUE Gauge "zeef_retractions_overdue" ["recipient"] "Of those, the ones that the recipient has not acknowledged in its term."
    ACKNOWLEDGEMENTS Counter "zeef_acknowledgements_total" ["recipient, outcome"] "Acknowledgements read since the process started, with earlier ones: accepted, damaged, or unmatched where they are of no open retraction, such as repeated ones."
    PARTNER_READ_LAG Gauge "zeef_partner_read_lag" ["recipient"] "How many offsets of its topics the consumer group that the recipient's file names has not committed; missing while Kafka does not say."
    CHECKPOINT_NUMBER Gauge "zeef_checkpoint_number" [""] "The number of the newest checkpoint of the ledger; only where checkpoints are made."
    CHECKPOINT_COPY_NUMBER Gauge "zeef_checkpoint_copy_number" ["copy"] "The number of the newest checkpoint that is kept outside, in a file or at a webhook, as far as this process knows; 0 if none is."
    CHECKPOINT_COPY_FAILURES Counter "zeef_checkpoint_copy_failures_total" ["copy"] "Attempts to keep the newest checkpoint outside that failed."
    LAST_COMMIT Gauge "zeef_last_commit_timestamp_seconds" ["lane, worker"] "When the worker last committed a batch, in seconds since 1970."
    READY Gauge "zeef_ready" [""] "1 while /health/ready returns 200, otherwise 0."
    RESIDENT Gauge "process_resident_memory_bytes" [""] "Resident memory size in bytes."
    CPU Counter "process_cpu_seconds_total" [""] "Total user and system CPU time spent in seconds."
    OPEN_FDS Gauge "process_open_fds" [""] "Number of open file descriptors."
    MAX_FDS Gauge "process_max_fds" [""] "Maximum number of open file descriptors."
    START Gauge "process_start_time_seconds" [""] "Start time of the process since unix epoch in seconds."
    POLICY Gauge "zeef_policy_info" ["version"] "Always 1, labelled with the policy version in force."
    BUILD Gauge "zeef_build_info" ["version"] "Always 1, labelled with the running version."
}

/// Lags by lane, topic and partition; only of owned partitions.
type PartitionLags = Arc<Mutex<BTreeMap<(String, usize), Vec<(String, i32, i64)>>>>;

/// Gauges of recipients that are only there while they are known, by name and recipient.
type RecipientGauges = Mutex<BTreeMap<(&'static str, String), i64>>;

/// The registry of a process.
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    lags: PartitionLags,
    recipient_gauges: RecipientGauges,
}

/// The gauges that are rendered by hand, so that they disappear when they are not known.
const RECIPIENT_GAUGES: &[&str] =
    &[RETRACTIONS_UNACKNOWLEDGED, RETRACTIONS_OVERDUE, PARTNER_READ_LAG];

const METADATA: Metadata<'static> = Metadata::new("zeef", Level::INFO, None);
const SECONDS_BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];
/// A stop may have waited for a library system's nightly export.
const STOP_SECONDS_BUCKETS: &[f64] = &[
    1.0,
    10.0,
    60.0,
    300.0,
    1_800.0,
    3_600.0,
    21_600.0,
    86_400.0,
    172_800.0,
    604_800.0,
    2_592_000.0,
];
const RECORDS_BUCKETS: &[f64] = &[1.0, 10.0, 100.0, 1_000.0, 5_000.0, 10_000.0, 20_000.0, 50_000.0];

impl Metrics {
    /// Builds the registry.
    ///
    /// # Errors
    ///
    /// The exporter refuses its buckets.
    pub fn new(policy_version: &str) -> Result<Metrics, metrics_exporter_prometheus::BuildError> {
        let mut builder = PrometheusBuilder::new();
        for metric in METRICS.iter().filter(|metric| metric.kind == MetricKind::Histogram) {
            let buckets = match metric.name {
                BATCH_RECORDS => RECORDS_BUCKETS,
                MARKETING_STOP_SECONDS => STOP_SECONDS_BUCKETS,
                _ => SECONDS_BUCKETS,
            };
            builder =
                builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
        }
        let recorder = builder.build_recorder();
        let by_hand = [LAG, RESIDENT, CPU, OPEN_FDS, MAX_FDS, START];
        let by_hand = [&by_hand[..], RECIPIENT_GAUGES].concat();
        for metric in METRICS.iter().filter(|metric| !by_hand.contains(&metric.name)) {
            let (name, help) = (metric.name.into(), metric.help.into());
            match metric.kind {
                MetricKind::Counter => recorder.describe_counter(name, None::<Unit>, help),
                MetricKind::Gauge => recorder.describe_gauge(name, None, help),
                MetricKind::Histogram => recorder.describe_histogram(name, None, help),
            }
        }
        let handle = recorder.handle();
        let metrics = Metrics {
            recorder: Arc::new(recorder),
            handle,
            lags: PartitionLags::default(),
            recipient_gauges: RecipientGauges::default(),
        };
        metrics.gauge(POLICY, &[("version", policy_version)]).set(1.0);
        metrics.gauge(BUILD, &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
        Ok(metrics)
    }

    /// Aggregates recorded values: until then every single value stays in memory, even if
    /// nobody ever asks for `/metrics`.
    pub fn run_upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// Returns the answer of `/metrics` in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.run_upkeep();
        let mut text = self.handle.render();
        self.write_lags(&mut text);
        self.write_recipient_gauges(&mut text);
        write_process(&mut text, &ProcessStats::read());
        sort_families(&text)
    }

    fn write_lags(&self, text: &mut String) {
        let lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        if lags.values().any(|lags| !lags.is_empty()) {
            write_family_header(text, LAG);
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

    fn write_recipient_gauges(&self, text: &mut String) {
        let gauges = self.recipient_gauges.lock().unwrap_or_else(PoisonError::into_inner);
        let mut written = "";
        for ((name, recipient), value) in gauges.iter() {
            if written != *name {
                write_family_header(text, name);
                written = name;
            }
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}{{recipient=\"{recipient}\"}} {value}");
        }
    }

    fn set_recipient_gauge(&self, name: &'static str, recipient: &str, value: Option<i64>) {
        let mut gauges = self.recipient_gauges.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name, recipient.to_owned());
        match value {
            Some(value) => drop(gauges.insert(key, value)),
            None => drop(gauges.remove(&key)),
        }
    }

    /// Sets how many retractions a recipient has not acknowledged; `None` if that is not known.
    pub fn set_unacknowledged(&self, recipient: &str, counts: Option<OpenCounts>) {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let (open, overdue) = (counts.map(|one| one.open), counts.map(|one| one.overdue));
        self.set_recipient_gauge(RETRACTIONS_UNACKNOWLEDGED, recipient, open.map(number));
        self.set_recipient_gauge(RETRACTIONS_OVERDUE, recipient, overdue.map(number));
    }

    /// Sets how many acknowledgements of a recipient had an outcome so far.
    pub fn set_acknowledgements(&self, recipient: &str, outcome: &'static str, count: u64) {
        let labels = [("recipient", recipient), ("outcome", outcome)];
        self.counter(ACKNOWLEDGEMENTS, &labels).absolute(count);
    }

    /// Sets how far a recipient's group is behind; `None` if that is not known.
    pub fn set_partner_lag(&self, recipient: &str, lag: Option<i64>) {
        self.set_recipient_gauge(PARTNER_READ_LAG, recipient, lag);
    }

    /// Sets how many checkpoints there are.
    pub fn set_checkpoint(&self, number: u64) {
        self.gauge(CHECKPOINT_NUMBER, &[]).set(number as f64);
    }

    /// Counts an attempt to keep the newest checkpoint outside: its number, or `None` if it failed.
    pub fn record_checkpoint_copy(&self, copy: &str, kept: Option<u64>) {
        let label = [("copy", copy)];
        let gauge = self.gauge(CHECKPOINT_COPY_NUMBER, &label);
        let failures = self.counter(CHECKPOINT_COPY_FAILURES, &label);
        match kept {
            Some(number) => gauge.set(number as f64),
            None => failures.increment(1),
        }
    }

    /// Sets whether every lane works.
    pub fn set_ready(&self, ready: bool) {
        self.gauge(READY, &[]).set(f64::from(u8::from(ready)));
    }

    /// Sets how many days a recipient's document is still in force.
    pub fn set_days_left(&self, kind: DocumentKind, recipient: &str, days: i64) {
        let name = match kind {
            DocumentKind::Agreement => AGREEMENT_DAYS,
            DocumentKind::Authorisation => AUTHORISATION_DAYS,
        };
        self.gauge(name, &[("recipient", recipient)]).set(days as f64);
    }

    /// Sets the age of the newest record of a source.
    pub fn set_newest_record_age(&self, source: &str, seconds: f64) {
        self.gauge(NEWEST_AGE, &[("source", source)]).set(seconds);
    }

    /// Returns the handles of one worker.
    #[must_use]
    pub fn worker_metrics(&self, lane: &Lane, worker: usize) -> WorkerMetrics {
        let name = lane.name.as_str();
        let number = worker.to_string();
        let lane_label = [("lane", name)];
        let worker_labels = [("lane", name), ("worker", number.as_str())];
        let topics = lane.sources.iter().map(|source| source.kind.topic.clone()).collect();
        let recipients = lane.recipients.iter();
        let sources = lane.sources.iter();
        WorkerMetrics {
            sources: sources.map(|source| self.source_metrics(name, source)).collect(),
            recipients: recipients
                .map(|program| {
                    self.recipient_metrics(program, lane.sources.get(program.source_index))
                })
                .collect(),
            former_recipients: lane
                .former_recipients
                .iter()
                .map(|former| self.retraction_counters(&former.name))
                .collect(),
            batches: self.batch_metrics((name, worker), topics),
            latency_seconds: self.histogram(LATENCY_SECONDS, &lane_label),
            rate_limit_waits: self.histogram(RATE_LIMIT_WAIT, &lane_label),
            patrons: self.gauge(TABLE_PATRONS, &worker_labels),
            state_rows: self.gauge(STATE_ROWS, &worker_labels),
            held_records: self.gauge(HELD_RECORDS, &worker_labels),
            overdue_source_deletions: self.gauge(SOURCE_DELETIONS_OVERDUE, &worker_labels),
            rebuild_seconds: self.gauge(REBUILD_SECONDS, &worker_labels),
            clock_ahead: self.gauge(CLOCK_AHEAD, &worker_labels),
        }
    }

    /// Returns the handles of one worker of an intake, which reads `topics`.
    #[must_use]
    pub fn intake_metrics(
        &self,
        intake: &Intake,
        (lane, worker): (&str, usize),
        topics: Vec<String>,
    ) -> IntakeMetrics {
        let number = worker.to_string();
        let name = intake.name();
        let labels = [("intake", name), ("worker", number.as_str())];
        let of_lookup =
            |lookup: &str| self.gauge(LOOKUP_ROWS, &[labels[0], labels[1], ("lookup", lookup)]);
        IntakeMetrics {
            batches: self.batch_metrics((lane, worker), topics),
            lookup_rows: intake.lookup_names().map(of_lookup).collect(),
            lookup_bytes: self.gauge(LOOKUP_BYTES, &labels),
            versions: None,
            worker: number.clone(),
            recorder: Arc::clone(&self.recorder),
            intake: name.to_owned(),
        }
    }

    fn batch_metrics(&self, (lane, worker): (&str, usize), topics: Vec<String>) -> BatchMetrics {
        let lane_label = [("lane", lane)];
        BatchMetrics {
            records: self.histogram(BATCH_RECORDS, &lane_label),
            seconds: self.histogram(BATCH_SECONDS, &lane_label),
            transaction_seconds: self.histogram(TRANSACTION_SECONDS, &lane_label),
            aborted: self.counter(ABORTED, &lane_label),
            rebalances: self.counter(REBALANCES, &lane_label),
            // Hidden until the first commit: it would show 1970.
            last_commit: None,
            recorder: Arc::clone(&self.recorder),
            topics,
            lags: Arc::clone(&self.lags),
            worker_id: (lane.to_owned(), worker),
        }
    }

    fn source_metrics(&self, lane: &str, source: &LaneSource) -> SourceMetrics {
        let kind = &source.kind;
        let labels = [("lane", lane), ("topic", kind.topic.as_str())];
        let dead_letter = |reason: Reason| {
            let labels = [("source", kind.name.as_str()), ("reason", reason.as_str())];
            LazyCounter::new(self, DEAD_LETTERS, &labels)
        };
        SourceMetrics {
            consumed: self.counter(CONSUMED, &labels),
            bytes: self.counter(CONSUMED_BYTES, &labels),
            gate_records: self.counter(GATE_RECORDS, &labels),
            format_errors: self.counter(FORMAT_ERRORS, &labels),
            trace_parents_ignored: self.counter(TRACE_PARENTS_IGNORED, &labels),
            dead_letters: counters_by_reason(dead_letter, source.dead_letter_reasons()),
            before_erasure: self.counter(BEFORE_ERASURE, &labels),
            unmatched_erasures: self.counter(ERASURES_UNMATCHED, &labels),
            unlisted_values: self.counter(UNLISTED, &labels),
            corrected_countries: self.counter(COUNTRIES_CORRECTED, &labels),
            ignored_statements: IgnoredReason::ALL
                .iter()
                .map(|cause| {
                    let mut labels = labels.to_vec();
                    labels.push(("cause", cause.as_str()));
                    LazyCounter::new(self, IGNORED, &labels)
                })
                .collect(),
            refused: Reason::ALL
                .iter()
                .map(|reason| {
                    let mut labels = labels.to_vec();
                    labels.push(("reason", reason.as_str()));
                    LazyCounter::new(self, REFUSED, &labels)
                })
                .collect(),
        }
    }

    fn recipient_metrics(
        &self,
        program: &Program,
        source: Option<&LaneSource>,
    ) -> RecipientMetrics {
        let label = ("recipient", program.name.as_str());
        let lazily = |name, key: &'static str, value: &str| {
            LazyCounter::new(self, name, &[label, (key, value)])
        };
        let withheld = source.into_iter().flat_map(|source| program.withheld_reasons(source));
        let withheld: Vec<Reason> = withheld.collect();
        RecipientMetrics {
            released: self.counter(RELEASED, &[label]),
            unchanged: self.counter(UNCHANGED, &[label]),
            held: self.counter(HELD, &[label]),
            retractions: self.retraction_counters(&program.name),
            marketing_stop_seconds: withheld
                .contains(&Reason::ObjectionMarketing)
                .then(|| self.histogram(MARKETING_STOP_SECONDS, &[label])),
            corrections: self.counter(CORRECTIONS, &[label]),
            later_releases: self.counter(LATER_RELEASES, &[label]),
            forgotten: self.counter(FORGOTTEN, &[label]),
            source_gone: self.counter(SOURCE_GONE, &[label]),
            bytes: self.counter(RELEASED_BYTES, &[label]),
            refused: self.counter(RECIPIENT_RECORDS_REFUSED, &[label]),
            withheld: counters_by_reason(
                |reason| lazily(WITHHELD, "reason", reason.as_str()),
                withheld,
            ),
            detector_hits: DETECTORS
                .iter()
                .map(|detector| detector.name)
                .chain(program.custom_detectors.iter().map(|detector| detector.name.as_str()))
                .map(|name| lazily(DETECTOR_HITS, "detector", name))
                .collect(),
            thinned: self.counter(THINNED, &[label]),
            left_out_numbers: self.counter(NATIONAL_NUMBERS_LEFT_OUT, &[label]),
            mask_limits: ["short_name", "short_card", "national_card"]
                .map(|limit| lazily(MASK_LIMITS, "limit", limit)),
        }
    }

    fn retraction_counters(&self, recipient: &str) -> RetractionCounters {
        let counters = |trigger| {
            let lazily = |reason: Reason| {
                let labels =
                    [("recipient", recipient), ("reason", reason.as_str()), ("trigger", trigger)];
                LazyCounter::new(self, RETRACTIONS, &labels)
            };
            counters_by_reason(lazily, [])
        };
        RetractionCounters { by_record: counters("record"), by_other: counters("other") }
    }

    fn metric_key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
        let labels: Vec<Label> =
            labels.iter().map(|&(key, value)| Label::new(key, value.to_owned())).collect();
        Key::from_parts(name, labels)
    }

    fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.recorder.register_counter(&Self::metric_key(name, labels), &METADATA)
    }

    fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        self.recorder.register_gauge(&Self::metric_key(name, labels), &METADATA)
    }

    fn histogram(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        self.recorder.register_histogram(&Self::metric_key(name, labels), &METADATA)
    }
}

/// A counter that is exported once it has counted something.
struct LazyCounter {
    recorder: Arc<PrometheusRecorder>,
    key: Key,
    counter: Option<Counter>,
}

impl LazyCounter {
    fn new(metrics: &Metrics, name: &'static str, labels: &[(&'static str, &str)]) -> LazyCounter {
        LazyCounter {
            recorder: Arc::clone(&metrics.recorder),
            key: Metrics::metric_key(name, labels),
            counter: None,
        }
    }

    fn add(&mut self, count: u64) {
        if count > 0 {
            self.register().increment(count);
        }
    }

    /// Exports it, at 0 if it has counted nothing yet.
    fn register(&mut self) -> &Counter {
        self.counter.get_or_insert_with(|| self.recorder.register_counter(&self.key, &METADATA))
    }
}

/// Returns a counter for each reason. The `possible` ones are exported at 0, so that their first
/// increase is seen.
fn counters_by_reason(
    counter: impl Fn(Reason) -> LazyCounter,
    possible: impl IntoIterator<Item = Reason>,
) -> Vec<LazyCounter> {
    let mut counters: Vec<LazyCounter> =
        Reason::ALL.iter().map(|reason| counter(*reason)).collect();
    for reason in possible {
        if let Some(counter) = counters.get_mut(reason as usize) {
            counter.register();
        }
    }
    counters
}

struct SourceMetrics {
    consumed: Counter,
    bytes: Counter,
    gate_records: Counter,
    format_errors: Counter,
    trace_parents_ignored: Counter,
    before_erasure: Counter,
    unmatched_erasures: Counter,
    unlisted_values: Counter,
    corrected_countries: Counter,
    ignored_statements: Vec<LazyCounter>,
    refused: Vec<LazyCounter>,
    dead_letters: Vec<LazyCounter>,
}

struct RecipientMetrics {
    released: Counter,
    unchanged: Counter,
    held: Counter,
    retractions: RetractionCounters,
    /// `None` if the recipient is not for marketing.
    marketing_stop_seconds: Option<Histogram>,
    corrections: Counter,
    later_releases: Counter,
    forgotten: Counter,
    source_gone: Counter,
    bytes: Counter,
    refused: Counter,
    withheld: Vec<LazyCounter>,
    detector_hits: Vec<LazyCounter>,
    mask_limits: [LazyCounter; 3],
    thinned: Counter,
    left_out_numbers: Counter,
}

/// Outputs that were taken back from one recipient, by reason.
struct RetractionCounters {
    by_record: Vec<LazyCounter>,
    by_other: Vec<LazyCounter>,
}

impl RetractionCounters {
    fn add(&mut self, tally: &RecipientTally) {
        add_counts(&mut self.by_record, tally.retracted.iter().copied());
        add_counts(&mut self.by_other, tally.rechecked.retracted.iter().copied());
    }
}

/// The metrics of one worker.
pub struct WorkerMetrics {
    sources: Vec<SourceMetrics>,
    recipients: Vec<RecipientMetrics>,
    former_recipients: Vec<RetractionCounters>,
    batches: BatchMetrics,
    latency_seconds: Histogram,
    rate_limit_waits: Histogram,
    patrons: Gauge,
    state_rows: Gauge,
    held_records: Gauge,
    overdue_source_deletions: Gauge,
    rebuild_seconds: Gauge,
    clock_ahead: Gauge,
}

/// The metrics that a worker of recipients and one of an intake have alike.
struct BatchMetrics {
    records: Histogram,
    seconds: Histogram,
    transaction_seconds: Histogram,
    aborted: Counter,
    rebalances: Counter,
    last_commit: Option<Gauge>,
    recorder: Arc<PrometheusRecorder>,
    /// By source.
    topics: Vec<String>,
    lags: PartitionLags,
    worker_id: (String, usize),
}

impl BatchMetrics {
    /// Counts a committed batch of so many records.
    fn record_commit(&mut self, records: u64, times: CommitTimes) {
        self.transaction_seconds.record(times.transaction.as_secs_f64());
        if let Some(batch) = times.batch {
            self.seconds.record(batch.as_secs_f64());
            self.records.record(records as f64);
        }
        let last_commit = self.last_commit.get_or_insert_with(|| {
            let (lane, worker) = (&*self.worker_id.0, &*self.worker_id.1.to_string());
            let labels = [("lane", lane), ("worker", worker)];
            let key = Metrics::metric_key(LAST_COMMIT, &labels);
            self.recorder.register_gauge(&key, &METADATA)
        });
        last_commit.set(times.committed_ms as f64 / 1_000.0);
    }

    /// Replaces the worker's lags, so that partitions it no longer owns disappear.
    fn replace_lags(&self, lags: &[PartitionLag]) {
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
            .insert(self.worker_id.clone(), lags);
    }
}

/// The metrics of one worker of an intake.
pub struct IntakeMetrics {
    batches: BatchMetrics,
    /// In the order of the mapping.
    lookup_rows: Vec<Gauge>,
    lookup_bytes: Gauge,
    /// Rows and bytes, once the worker knows versions.
    versions: Option<(Gauge, Gauge)>,
    worker: String,
    recorder: Arc<PrometheusRecorder>,
    intake: String,
}

impl IntakeMetrics {
    /// Counts a committed batch of so many messages.
    pub fn record_commit(&mut self, messages: u64, times: CommitTimes) {
        self.batches.record_commit(messages, times);
    }

    /// Counts canonical records of a kind, by what became of them: a closed word.
    pub fn count_records(&self, kind: &str, outcome: &'static str, count: u64) {
        let labels = [("intake", self.intake.as_str()), ("kind", kind), ("outcome", outcome)];
        self.count(INTAKE_RECORDS, &labels, count);
    }

    pub fn count_refused(&self, topic: &str, refusal: Refusal, count: u64) {
        let labels =
            [("intake", self.intake.as_str()), ("topic", topic), ("reason", refusal.as_str())];
        self.count(INTAKE_REFUSED, &labels, count);
    }

    /// Counts records that were older than what was written of them.
    pub fn count_older(&self, topic: &str, kind: &str, count: u64) {
        let labels = [("intake", self.intake.as_str()), ("topic", topic), ("kind", kind)];
        self.count(INTAKE_OLDER, &labels, count);
    }

    fn count(&self, name: &'static str, labels: &[(&'static str, &str)], count: u64) {
        let key = Metrics::metric_key(name, labels);
        self.recorder.register_counter(&key, &METADATA).increment(count);
    }

    pub fn count_abort(&self) {
        self.batches.aborted.increment(1);
    }

    pub fn count_rebalance(&self) {
        self.batches.rebalances.increment(1);
    }

    pub fn replace_lags(&self, lags: &[PartitionLag]) {
        self.batches.replace_lags(lags);
    }

    /// Sets how many rows each lookup has, in the order of the mapping, and their memory.
    pub fn set_lookups(&self, rows: &[usize], bytes: usize) {
        for (gauge, rows) in self.lookup_rows.iter().zip(rows) {
            gauge.set(*rows as f64);
        }
        self.lookup_bytes.set(bytes as f64);
    }

    /// Sets of how many records the version is known, and their memory.
    pub fn set_versions(&mut self, rows: usize, bytes: usize) {
        let (recorder, labels) =
            (&self.recorder, [("intake", self.intake.as_str()), ("worker", self.worker.as_str())]);
        let gauge = |name| recorder.register_gauge(&Metrics::metric_key(name, &labels), &METADATA);
        let gauges =
            self.versions.get_or_insert_with(|| (gauge(VERSION_ROWS), gauge(VERSION_BYTES)));
        gauges.0.set(rows as f64);
        gauges.1.set(bytes as f64);
    }
}

/// The durations of a committed batch.
#[derive(Clone, Copy, Debug)]
pub struct CommitTimes {
    /// Since its first record.
    pub batch: Option<Duration>,
    pub transaction: Duration,
    pub committed_ms: i64,
}

impl WorkerMetrics {
    /// Counts a committed batch.
    pub fn record_commit(&mut self, tally: &Tally, times: CommitTimes) {
        self.batches.record_commit(tally.consumed(), times);
        for (metrics, tally) in self.sources.iter_mut().zip(&tally.sources) {
            metrics.consumed.increment(tally.consumed);
            metrics.bytes.increment(tally.bytes);
            metrics.gate_records.increment(tally.gate_records);
            metrics.format_errors.increment(tally.format_errors);
            metrics.trace_parents_ignored.increment(tally.unusable_trace_parents);
            metrics.before_erasure.increment(tally.from_before_erasure);
            metrics.unmatched_erasures.increment(tally.unmatched_erasures);
            metrics.unlisted_values.increment(tally.unlisted_values);
            metrics.corrected_countries.increment(tally.country_mismatches);
            add_counts(&mut metrics.ignored_statements, tally.ignored_statements);
            add_counts(&mut metrics.refused, tally.refused.iter().copied());
            add_counts(&mut metrics.dead_letters, tally.dead_letters.iter().copied());
        }
        for (metrics, tally) in self.recipients.iter_mut().zip(&tally.recipients) {
            metrics.released.increment(tally.released);
            metrics.unchanged.increment(tally.unchanged);
            metrics.held.increment(tally.held);
            metrics.retractions.add(tally);
            for objected_ms in &tally.marketing_objections_ms {
                let took_ms = times.committed_ms.saturating_sub(*objected_ms).max(0);
                metrics.marketing_stop_seconds.iter().for_each(|histogram| {
                    histogram.record(took_ms as f64 / 1_000.0);
                });
            }
            metrics.corrections.increment(tally.rechecked.corrected);
            metrics.later_releases.increment(tally.rechecked.released);
            metrics.forgotten.increment(tally.rechecked.forgotten);
            metrics.source_gone.increment(tally.rechecked.source_gone);
            metrics.bytes.increment(tally.bytes);
            metrics.refused.increment(tally.refused);
            add_counts(&mut metrics.withheld, tally.withheld.iter().copied());
            add_counts(&mut metrics.detector_hits, tally.projection_counts.detected.map(u64::from));
            let limits = [
                u64::from(tally.projection_counts.short_values.short_names),
                u64::from(tally.projection_counts.short_values.short_card_numbers),
                tally.projection_counts.national_cards,
            ];
            add_counts(&mut metrics.mask_limits, limits);
            metrics.thinned.increment(tally.thinned);
            metrics.left_out_numbers.increment(tally.omitted_values);
        }
        for (metrics, tally) in self.former_recipients.iter_mut().zip(&tally.former_recipients) {
            metrics.add(tally);
        }
        for &written in &tally.written_ms {
            let late = times.committed_ms.saturating_sub(written).max(0);
            self.latency_seconds.record(late as f64 / 1_000.0);
        }
    }

    pub fn count_abort(&self) {
        self.batches.aborted.increment(1);
    }

    pub fn record_rate_limit_wait(&self, wait: Duration) {
        self.rate_limit_waits.record(wait.as_secs_f64());
    }

    pub fn count_rebalance(&self) {
        self.batches.rebalances.increment(1);
    }

    pub fn record_rebuild(&self, patrons: usize, took: Duration) {
        self.rebuild_seconds.set(took.as_secs_f64());
        self.set_table_patrons(patrons);
    }

    pub fn set_table_patrons(&self, patrons: usize) {
        self.patrons.set(patrons as f64);
    }

    /// Sets how far the clock is ahead of the broker's.
    pub fn set_clock_ahead(&self, ahead_ms: i64) {
        self.clock_ahead.set(ahead_ms as f64 / 1_000.0);
    }

    /// Sets how many rows the state has, and how many of them wait for a patron.
    pub fn set_state_rows(&self, rows: usize, held: usize) {
        self.state_rows.set(rows as f64);
        self.held_records.set(held as f64);
    }

    /// Sets of how many records the source should have deleted its copy by now.
    pub fn set_overdue_source_deletions(&self, records: usize) {
        self.overdue_source_deletions.set(records as f64);
    }

    /// Replaces the worker's lags, so that partitions it no longer owns disappear.
    pub fn replace_lags(&self, lags: &[PartitionLag]) {
        self.batches.replace_lags(lags);
    }
}

fn add_counts(counters: &mut [LazyCounter], counts: impl IntoIterator<Item = u64>) {
    for (counter, count) in counters.iter_mut().zip(counts) {
        counter.add(count);
    }
}

/// Writes help and type of a metric.
fn write_family_header(text: &mut String, name: &str) {
    let Some(metric) = METRICS.iter().find(|metric| metric.name == name) else {
        return;
    };
    let kind = match metric.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
    };
    // Writing to a string cannot fail.
    let _ = write!(text, "# HELP {name} {}\n# TYPE {name} {kind}\n", metric.help);
}

/// Writes process metrics by their conventional names.
fn write_process(text: &mut String, process: &ProcessStats) {
    for (name, value) in [
        (RESIDENT, process.resident_bytes),
        (CPU, Some(process.cpu_seconds)),
        (OPEN_FDS, process.open_fds),
        (MAX_FDS, process.max_fds),
        (START, process.start_seconds),
    ] {
        if let Some(value) = value {
            write_family_header(text, name);
            let _ = writeln!(text, "{name} {value}");
        }
    }
}

/// Sorts metrics by name and their series by labels; a histogram keeps its order. Two
/// answers can then be compared line by line.
fn sort_families(text: &str) -> String {
    let mut families: BTreeMap<&str, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
    let mut name = "";
    for line in text.lines().filter(|line| !line.is_empty()) {
        let head = line.strip_prefix("# ").and_then(|line| line.split(' ').nth(1));
        name = head.unwrap_or(name);
        let (heads, series) = families.entry(name).or_default();
        match head {
            Some(_) => heads.push(line),
            None => series.push(line),
        }
    }
    let mut sorted = String::with_capacity(text.len());
    for (heads, mut series) in families.into_values() {
        series.sort_by_cached_key(|line| series_labels(line));
        for line in heads.into_iter().chain(series) {
            sorted.push_str(line);
            sorted.push('\n');
        }
    }
    sorted
}

/// Returns the labels of a series, without the bound of a bucket.
fn series_labels(line: &str) -> Vec<&str> {
    let labels = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}'));
    let labels = labels.map_or("", |(labels, _)| labels);
    let labels = labels.split("\",").map(|label| label.trim_end_matches('"'));
    labels.filter(|label| !label.starts_with("le=")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine::lane::{CompileOptions, FormerRecipient};
    use crate::policy::Policy;
    use crate::policy::former_recipient::FormerAction;
    use crate::policy::pseudonym::{HmacKey, Pseudonymiser};

    /// The shipped policy in one lane.
    fn shipped_lane() -> Lane {
        let policy = Policy::load(Path::new("config")).unwrap().policy;
        let key = HmacKey::generate("test").unwrap();
        let keys = |_: &str| Some(Pseudonymiser::new(&key));
        Lane::compile("main", &policy, |_| true, keys, CompileOptions::default()).unwrap()
    }

    fn series_lines<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
        let start = format!("{name}{{");
        text.lines().filter(|line| line.starts_with(&start)).collect()
    }

    #[test]
    fn metric_names_follow_prometheus_conventions() {
        for metric in METRICS {
            let name = metric.name;
            let ours = name.starts_with("zeef_") || name.starts_with("process_");
            assert!(ours, "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == MetricKind::Counter, "{name}");
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            assert!(name.bytes().all(plain), "{name}");
            assert!(metric.help.ends_with('.'), "{name}");
            let again = METRICS.iter().filter(|other| other.name == name).count();
            assert_eq!(again, 1, "{name}");
            // OpenMetrics names the family of a counter without the suffix.
            let family = name.strip_suffix("_total");
            let twin = METRICS.iter().any(|other| Some(other.name) == family);
            assert!(!twin, "{name}");
        }
    }

    #[test]
    fn reason_counters_start_at_zero_where_the_reason_is_possible() {
        let metrics = Metrics::new("test").unwrap();
        let lane = shipped_lane();
        let _worker = metrics.worker_metrics(&lane, 0);
        let text = metrics.render();
        let has = |name: &str, labels: &[&str]| {
            let all = series_lines(&text, name);
            let mut found =
                all.iter().filter(|line| labels.iter().all(|label| line.contains(label)));
            found.next().is_some_and(|line| line.ends_with(" 0"))
        };
        for source in &lane.sources {
            let foreseen: Vec<Reason> = source.dead_letter_reasons().collect();
            for reason in Reason::ALL {
                let labels =
                    [format!("source=\"{}\"", source.kind.name), format!("reason=\"{reason}\"")];
                let shown = has("zeef_dead_letters_total", &labels.each_ref().map(|l| &**l));
                assert_eq!(shown, foreseen.contains(reason), "{labels:?}");
            }
        }
        let withheld = |recipient: &str, reason: &str| {
            let labels = [format!("\"{recipient}\""), format!("reason=\"{reason}\"")];
            has("zeef_records_withheld_total", &labels.each_ref().map(|l| &**l))
        };
        // Only a recipient that requires consent can lack it, and so on.
        assert!(withheld("kb-membership", "no_consent"));
        assert!(!withheld("statistics", "no_consent"));
        assert!(withheld("deurwaarder", "stages"));
        assert!(!withheld("kb-membership", "stages"));
        assert!(withheld("statistics", "objection"));
        assert!(!withheld("service-message", "objection"));
        // Unforeseen reasons are exported once they were counted.
        assert!(series_lines(&text, "zeef_retractions_total").is_empty());
    }

    #[test]
    fn retractions_metric_is_labelled_with_its_trigger() {
        let metrics = Metrics::new("test").unwrap();
        let lane = shipped_lane();
        let mut worker = metrics.worker_metrics(&lane, 0);
        let mut tally = Tally::new(lane.sources.len(), lane.recipients.len());
        let reason = Reason::Condition as usize;
        tally.recipients[0].retracted[reason] = 2;
        tally.recipients[0].rechecked.retracted[reason] = 3;
        let transaction = Duration::ZERO;
        worker.record_commit(
            &tally,
            CommitTimes { batch: None, transaction, committed_ms: 1_234_567 },
        );
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
    fn retractions_metric_has_former_recipients() {
        let metrics = Metrics::new("test").unwrap();
        let mut lane = shipped_lane();
        lane.former_recipients.push(FormerRecipient {
            name: "shelf".to_owned(),
            topics: Vec::new(),
            action: FormerAction::Retract,
        });
        let mut worker = metrics.worker_metrics(&lane, 0);
        let mut tally = Tally::new(lane.sources.len(), lane.recipients.len());
        tally.former_recipient(0).rechecked.retracted[Reason::RecipientRemoved as usize] = 4;
        let mut totals = Tally::new(lane.sources.len(), lane.recipients.len());
        totals.add(&tally);
        totals.add(&tally);
        let transaction = Duration::ZERO;
        worker.record_commit(&totals, CommitTimes { batch: None, transaction, committed_ms: 1 });
        let text = metrics.render();
        let line = "zeef_retractions_total{recipient=\"shelf\",reason=\"recipient_removed\",trigger=\"other\"} 8\n";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn f27_marketing_stop_is_measured_from_objection_to_commit() {
        let metrics = Metrics::new("test").unwrap();
        let lane = shipped_lane();
        let mut worker = metrics.worker_metrics(&lane, 0);
        let mut tally = Tally::new(lane.sources.len(), lane.recipients.len());
        let marketing = lane.recipients.iter().position(|one| one.name == "marketing").unwrap();
        // The second one lies in the future.
        tally.recipients[marketing].marketing_objections_ms = vec![1_000, 99_000];
        let transaction = Duration::ZERO;
        worker
            .record_commit(&tally, CommitTimes { batch: None, transaction, committed_ms: 91_000 });
        let text = metrics.render();
        for line in [
            "zeef_marketing_stop_seconds_bucket{recipient=\"marketing\",le=\"60\"} 1\n",
            "zeef_marketing_stop_seconds_bucket{recipient=\"marketing\",le=\"300\"} 2\n",
            "zeef_marketing_stop_seconds_sum{recipient=\"marketing\"} 90\n",
            "zeef_marketing_stop_seconds_count{recipient=\"marketing\"} 2\n",
        ] {
            assert!(text.contains(line), "{line}");
        }
        // Only recipients for marketing have it.
        assert!(!text.contains("zeef_marketing_stop_seconds_sum{recipient=\"statistics\"}"));
    }

    #[test]
    fn recipient_gauges_are_gone_while_they_are_not_known() {
        let metrics = Metrics::new("test").unwrap();
        let counts = OpenCounts { open: 3, overdue: 1, oldest: Some(0) };
        metrics.set_unacknowledged("slip", Some(counts));
        metrics.set_partner_lag("slip", Some(7));
        metrics.set_partner_lag("other", Some(0));
        metrics.set_acknowledgements("slip", "accepted", 2);
        let text = metrics.render();
        for line in [
            "zeef_retractions_unacknowledged{recipient=\"slip\"} 3",
            "zeef_retractions_overdue{recipient=\"slip\"} 1",
            "zeef_partner_read_lag{recipient=\"other\"} 0",
            "zeef_partner_read_lag{recipient=\"slip\"} 7",
            "zeef_acknowledgements_total{recipient=\"slip\",outcome=\"accepted\"} 2",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert_eq!(text.matches("# TYPE zeef_partner_read_lag gauge").count(), 1);
        metrics.set_unacknowledged("slip", None);
        metrics.set_partner_lag("slip", None);
        let text = metrics.render();
        assert!(!text.contains("zeef_retractions_unacknowledged"), "{text}");
        assert!(!text.contains("zeef_retractions_overdue"), "{text}");
        assert!(text.contains("zeef_partner_read_lag{recipient=\"other\"} 0"), "{text}");
    }

    #[test]
    fn rendered_metrics_are_sorted_and_include_the_process() {
        let metrics = Metrics::new("test").unwrap();
        let lane = shipped_lane();
        let mut worker = metrics.worker_metrics(&lane, 0);
        let tally = Tally::new(lane.sources.len(), lane.recipients.len());
        let transaction = Duration::ZERO;
        worker.record_commit(
            &tally,
            CommitTimes { batch: Some(transaction), transaction, committed_ms: 1 },
        );
        worker.replace_lags(&[PartitionLag {
            source: crate::message::SourceId(0),
            partition: 0,
            behind: 7,
        }]);
        metrics.set_ready(true);
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
        let released = series_lines(&text, "zeef_records_released_total");
        assert!(released.len() > 3 && released.is_sorted(), "{released:?}");
        // The buckets of a histogram keep their order.
        let buckets = series_lines(&text, "zeef_batch_duration_seconds_bucket");
        let bounds = buckets.iter().map(|line| line.split("le=\"").nth(1).unwrap());
        let bounds: Vec<f64> = bounds
            .map(|rest| rest.split('"').next().unwrap().parse().unwrap_or(f64::INFINITY))
            .collect();
        assert!(bounds.len() > 5 && bounds.is_sorted(), "{bounds:?}");
        assert_eq!(sort_families(&text), text, "sorting twice changes nothing");
    }
}
