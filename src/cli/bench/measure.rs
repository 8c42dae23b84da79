//! Measures rounds over records in memory, on the calling thread.
//!
//! What is compared takes turns, round by round, so that a machine that gets slower slows
//! both.

use std::hint::black_box;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use crate::config::LoadedConfig;
use crate::config::keyring::KeyRing;
use crate::engine::lane::Lane;
use crate::engine::pipeline::{BatchTime, Pipeline};
use crate::engine::tally::{ReasonCounts, Tally};
use crate::message::{Outbox, Payload};
use crate::policy::catalogue::{RecordKind, Role};

use super::super::exit::CliFailure;
use super::super::project::{kind_of_source, message_input};
use super::ablation::{self, PseudonymWork};
use super::workload::Workload;
use crate::cli::compile_lane;
use crate::cli::message_lines::LineMessage;

/// Batch size; the outbox is reused for the next batch.
const BATCH_RECORDS: usize = 1_000;
/// Minimum duration of a round, given the clock's resolution.
const ROUND_NS_MIN: f64 = 20e6;
/// Maximum duration of a comparison's round, so that the shares of many recipients can be
/// measured.
const SAMPLE_NS_MAX: f64 = 50e6;

/// What to measure, and with what.
pub(super) struct BenchSetup<'a> {
    pub(super) loaded: &'a LoadedConfig,
    pub(super) keys: &'a KeyRing,
    pub(super) workload: &'a Workload,
    pub(super) kind: &'a RecordKind,
    pub(super) now: BatchTime,
    pub(super) rounds: u32,
}

/// The results.
pub(super) struct BenchFigures {
    pub(super) policy_version: String,
    pub(super) source: String,
    pub(super) is_invented: bool,
    pub(super) records: usize,
    pub(super) rounds: u32,
    /// Keys and values of all records.
    pub(super) input_bytes: u64,
    /// Keys and values of all outputs, including dead letters.
    pub(super) output_bytes: u64,
    pub(super) outputs: u64,
    /// Nanoseconds per record of the fastest, median and slowest round.
    pub(super) round_ns_min_median_max: [f64; 3],
    /// Records refused whole, by reason.
    pub(super) refused: ReasonCounts,
    /// Records that wait for their patron.
    pub(super) held: u64,
    pub(super) recipients: Vec<RecipientCost>,
    pub(super) time_shares: Option<TimeShares>,
}

pub(super) struct RecipientCost {
    pub(super) name: String,
    pub(super) released: u64,
    /// Share of the total time, from 0 to 1; `None` if shares were not requested.
    pub(super) time_share: Option<f64>,
}

/// Shares of the total time, from 0 to 1.
pub(super) struct TimeShares {
    pub(super) reading: f64,
    pub(super) pseudonyms: f64,
    pub(super) pseudonyms_per_record: f64,
    pub(super) detectors: f64,
    /// For finding national numbers in outputs.
    pub(super) inspect: f64,
    /// Share of records whose patron has a known national number.
    pub(super) inspected_records: f64,
}

/// The measured records that a comparison covers, and how often per round.
struct RecordSample<'a> {
    records: Vec<&'a LineMessage>,
    passes: usize,
}

impl BenchSetup<'_> {
    /// Measures the total, and the shares if requested.
    ///
    /// # Errors
    ///
    /// [`CliFailure::Config`] if something cannot be compiled.
    pub(super) fn measure(&self, shares: bool) -> Result<BenchFigures, CliFailure> {
        let records: Vec<&LineMessage> = self.workload.records.iter().collect();
        let mut whole = self.build_pipeline(self.loaded)?;
        let mut figures = self.count_outputs(&mut whole, &records);
        let passes = passes_per_round(
            ns_per_record(records.len(), || whole.decide_all(&records)) * records.len() as f64,
        );
        let mut rounds: Vec<f64> = (0..self.rounds)
            .map(|_| {
                ns_per_record(passes * records.len(), || {
                    (0..passes).map(|_| whole.decide_all(&records)).sum()
                })
            })
            .collect();
        rounds.sort_by(f64::total_cmp);
        let last = rounds.last().copied().unwrap_or_default();
        figures.round_ns_min_median_max =
            [rounds.first().copied().unwrap_or_default(), median(rounds), last];
        if shares {
            self.measure_shares(&mut whole, &records, &mut figures)?;
        }
        Ok(figures)
    }

    /// Counts everything that is not timed.
    fn count_outputs(&self, whole: &mut BenchPipeline, records: &[&LineMessage]) -> BenchFigures {
        let (tally, output_bytes) = whole.decide_and_count(records);
        let policy = &self.loaded.policy;
        let programs = whole.pipeline.lane().recipients.iter();
        let recipients: Vec<RecipientCost> = programs
            .zip(&tally.recipients)
            .filter(|(program, _)| program.source_index == whole.source_index)
            .map(|(program, tally)| RecipientCost {
                name: program.name.clone(),
                released: tally.released,
                time_share: None,
            })
            .collect();
        BenchFigures {
            policy_version: policy.version.clone(),
            source: self.kind.name.clone(),
            is_invented: self.workload.is_invented,
            records: records.len(),
            rounds: self.rounds,
            input_bytes: records.iter().map(|message| input_bytes(message)).sum(),
            output_bytes,
            outputs: recipients.iter().map(|one| one.released).sum(),
            round_ns_min_median_max: [0.0; 3],
            refused: tally.sources[whole.source_index].refused,
            held: tally.recipients.iter().map(|one| one.held).max().unwrap_or(0),
            recipients,
            time_shares: None,
        }
    }

    fn measure_shares(
        &self,
        whole: &mut BenchPipeline,
        records: &[&LineMessage],
        figures: &mut BenchFigures,
    ) -> Result<(), CliFailure> {
        let sample = RecordSample::spread_over(records, figures.round_ns_min_median_max[1]);
        let names: Vec<String> = figures.recipients.iter().map(|one| one.name.clone()).collect();
        let bar = progress_bar(names.len() as u64 + 4);
        for recipient in &mut figures.recipients {
            bar.set_message(format!("without {}", recipient.name));
            let served = |name: &str| name != recipient.name;
            let left = self.time_ratio_with_config(
                whole,
                &ablation::serving_only(self.loaded, served),
                &sample,
            )?;
            recipient.time_share = Some((1.0 - left).max(0.0));
            bar.inc(1);
        }
        bar.set_message("reading alone");
        let nobody =
            ablation::serving_only(self.loaded, |name| names.iter().all(|one| one != name));
        let reading = self.time_ratio_with_config(whole, &nobody, &sample)?;
        bar.inc(1);
        bar.set_message("without detectors");
        let detectors = match ablation::without_detectors(self.loaded, self.kind) {
            Some(plain) => 1.0 - self.time_ratio_with_config(whole, &plain, &sample)?,
            None => 0.0,
        };
        bar.inc(1);
        bar.set_message("without inspect");
        let mut blind = self.build_changed_pipeline(self.loaded, |lane| {
            let sources = lane.sources.iter_mut();
            sources.for_each(|source| source.national_number_slots.clear());
        })?;
        blind.decide_all(&sample.records);
        let inspect = 1.0 - self.time_ratio(whole, &sample, || blind.decide_all(&sample.records));
        bar.inc(1);
        bar.set_message("pseudonyms alone");
        let made = PseudonymWork::collect(self, whole, &sample.records);
        let pseudonyms = self.time_ratio(whole, &sample, || made.compute_all());
        bar.finish_and_clear();
        figures.time_shares = Some(TimeShares {
            reading: reading.min(1.0),
            pseudonyms,
            pseudonyms_per_record: made.count() as f64 / sample.records.len() as f64,
            detectors: detectors.max(0.0),
            inspect: inspect.max(0.0),
            inspected_records: whole.inspected_share(&sample.records),
        });
        Ok(())
    }

    /// Returns the time with another config as a share of the total.
    fn time_ratio_with_config(
        &self,
        whole: &mut BenchPipeline,
        other: &LoadedConfig,
        sample: &RecordSample<'_>,
    ) -> Result<f64, CliFailure> {
        let mut other = self.build_pipeline(other)?;
        other.decide_all(&sample.records);
        Ok(self.time_ratio(whole, sample, || other.decide_all(&sample.records)))
    }

    /// Returns the time of `other` as a share of the total.
    fn time_ratio(
        &self,
        whole: &mut BenchPipeline,
        sample: &RecordSample<'_>,
        mut other: impl FnMut() -> usize,
    ) -> f64 {
        whole.decide_all(&sample.records);
        let count = sample.passes * sample.records.len();
        let ratios = (0..self.rounds).map(|round| {
            let mut wholly = || {
                ns_per_record(count, || {
                    let passes = 0..sample.passes;
                    passes.map(|_| whole.decide_all(&sample.records)).sum()
                })
            };
            let mut partly = || ns_per_record(count, || (0..sample.passes).map(|_| other()).sum());
            let (whole, other) = if round % 2 == 0 {
                let whole = wholly();
                (whole, partly())
            } else {
                let other = partly();
                (wholly(), other)
            };
            other / whole
        });
        median(ratios.collect())
    }

    /// Builds a pipeline of all recipients of `loaded`, with its patrons.
    fn build_pipeline(&self, loaded: &LoadedConfig) -> Result<BenchPipeline, CliFailure> {
        self.build_changed_pipeline(loaded, |_| {})
    }

    /// As [`build_pipeline`](Self::build_pipeline), with a change to the compiled lane.
    fn build_changed_pipeline(
        &self,
        loaded: &LoadedConfig,
        change: impl FnOnce(&mut Lane),
    ) -> Result<BenchPipeline, CliFailure> {
        let mut lane = compile_lane::compile_lane("bench", loaded, |_| true, self.keys)?;
        change(&mut lane);
        let lane = Arc::new(lane);
        let place = |kind: &RecordKind| {
            let mut sources = lane.sources.iter();
            sources.position(|source| source.kind.name == kind.name)
        };
        let mut way = BenchPipeline {
            pipeline: Pipeline::new(Arc::clone(&lane)),
            outbox: Outbox::default(),
            source_index: place(self.kind).unwrap_or(0),
        };
        way.pipeline.begin_batch(self.now.clone());
        let known = self.workload.gate_messages.iter();
        let measured = self.workload.records.iter();
        for message in known.chain(measured.filter(|_| self.kind.role == Role::Patron)) {
            let kind = kind_of_source(&loaded.policy, &message.source);
            let Some((kind, at)) = kind.and_then(|kind| Some((kind, place(kind)?))) else {
                continue;
            };
            if kind.role == Role::Patron {
                way.pipeline.restore_gate_record(&message_input(message, at));
            } else {
                way.pipeline.decide(&message_input(message, at), &mut way.outbox);
            }
        }
        way.pipeline.commit();
        Ok(way)
    }
}

impl<'a> RecordSample<'a> {
    /// Returns records spread evenly over all, as many as fit in one round.
    fn spread_over(records: &[&'a LineMessage], ns_each: f64) -> RecordSample<'a> {
        let step = (ns_each * records.len() as f64 / SAMPLE_NS_MAX).ceil().max(1.0);
        let records: Vec<&LineMessage> = records.iter().copied().step_by(step as usize).collect();
        RecordSample { passes: passes_per_round(ns_each * records.len() as f64), records }
    }
}

/// Returns how many passes over the records a round takes.
fn passes_per_round(pass_ns: f64) -> usize {
    (ROUND_NS_MIN / pass_ns.max(1.0)).ceil().max(1.0) as usize
}

/// A compiled config with its own table.
pub(super) struct BenchPipeline {
    pub(super) pipeline: Pipeline,
    pub(super) outbox: Outbox,
    /// The index of the measured source in the lane.
    pub(super) source_index: usize,
}

impl BenchPipeline {
    /// Decides all `records`. Returns the size of their outputs in bytes.
    fn decide_all(&mut self, records: &[&LineMessage]) -> usize {
        let mut bytes = 0;
        for batch in records.chunks(BATCH_RECORDS) {
            self.decide_batch(batch);
            bytes += self.outbox.byte_len();
            self.pipeline.commit();
        }
        bytes
    }

    fn decide_and_count(&mut self, records: &[&LineMessage]) -> (Tally, u64) {
        let lane = self.pipeline.lane();
        let mut sum = Tally::new(lane.sources.len(), lane.recipients.len());
        let mut bytes = 0;
        for batch in records.chunks(BATCH_RECORDS) {
            self.decide_batch(batch);
            sum.add(self.pipeline.tally());
            bytes += self.outbox.byte_len() as u64;
            self.pipeline.commit();
        }
        (sum, bytes)
    }

    /// Returns the share of `records` whose patron has a known national number.
    fn inspected_share(&mut self, records: &[&LineMessage]) -> f64 {
        let source = self.source_index;
        let known = records.iter().filter(|message| {
            let input = message_input(message, source);
            self.pipeline.knows_national_number(&input)
        });
        known.count() as f64 / records.len().max(1) as f64
    }

    fn decide_batch(&mut self, batch: &[&LineMessage]) {
        self.outbox.clear();
        for message in batch {
            let input = message_input(message, self.source_index);
            self.pipeline.decide(&input, &mut self.outbox);
        }
    }
}

fn input_bytes(message: &LineMessage) -> u64 {
    let key = message.key.as_ref().map_or(0, String::len);
    let value = match message.payload() {
        Payload::Bytes(bytes) => bytes.len(),
        Payload::Null | Payload::Refused(_) | Payload::RefusedBytes(..) => 0,
    };
    (key + value) as u64
}

/// Returns the nanoseconds that `work` takes for each of `count` records.
fn ns_per_record(count: usize, work: impl FnOnce() -> usize) -> f64 {
    let started = thread_time_ns();
    black_box(work());
    (thread_time_ns() - started) / count.max(1) as f64
}

/// Returns the processor time of this thread, which excludes other work.
#[cfg(unix)]
fn thread_time_ns() -> f64 {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

#[cfg(not(unix))]
fn thread_time_ns() -> f64 {
    use std::sync::LazyLock;
    use std::time::Instant;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_secs_f64() * 1e9
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    let at = |place: usize| all.get(place).copied().unwrap_or_default();
    match all.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => at(odd / 2),
        even => (at(even / 2 - 1) + at(even / 2)) / 2.0,
    }
}

/// Returns a bar on stderr, if that is a terminal.
fn progress_bar(steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {msg}") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_value() {
        for (all, want) in [
            (vec![], 0.0),
            (vec![3.0], 3.0),
            (vec![9.0, 1.0, 2.0], 2.0),
            (vec![4.0, 1.0, 2.0, 9.0], 3.0),
        ] {
            assert_eq!(median(all.clone()), want, "{all:?}");
        }
    }

    #[test]
    fn bench_round_is_long_enough_and_its_sample_short_enough() {
        assert_eq!(passes_per_round(1e6), 20);
        assert_eq!(passes_per_round(1e9), 1);
        let message = LineMessage {
            line: 1,
            source: "loan".to_owned(),
            key: None,
            value: crate::cli::message_lines::LineValue::Null,
        };
        let all = vec![&message; 1_000];
        let sample = RecordSample::spread_over(&all, 1e6);
        assert_eq!((sample.records.len(), sample.passes), (50, 1));
        let sample = RecordSample::spread_over(&all, 1e3);
        assert_eq!((sample.records.len(), sample.passes), (1_000, 20));
    }
}
