//! How long it takes: rounds over records in memory, on the thread that asks.
//!
//! What is compared takes turns, round by round, so that a machine that gets
//! slower slows both.

use std::hint::black_box;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use crate::engine::lane::Lane;
use crate::engine::pipeline::{BatchTime, Pipeline};
use crate::engine::tally::{ByReason, Tally};
use crate::policy::Loaded;
use crate::policy::catalogue::{Kind, Role};
use crate::policy::pseudonym::KeyRing;
use crate::transport::{Outbox, Payload};

use super::super::exit::Failure;
use super::super::lane;
use super::super::message::Message;
use super::super::project::{input, kind_of};
use super::parts::{self, Pseudonyms};
use super::records::Work;

/// Batches of this many records; the outbox is used again for the next one.
const BATCH: usize = 1_000;
/// A round takes this long at least: the clock does not count much finer.
const ROUND_NS_MIN: f64 = 20e6;
/// A round of a comparison goes over records that take this long, and no more,
/// so that the shares of many recipients can be had.
const SAMPLE_NS_MAX: f64 = 50e6;

/// What is measured, and with what.
pub(super) struct Scene<'a> {
    pub(super) loaded: &'a Loaded,
    pub(super) keys: &'a KeyRing,
    pub(super) work: &'a Work,
    pub(super) kind: &'a Kind,
    pub(super) now: BatchTime,
    pub(super) rounds: u32,
}

/// What was found.
pub(super) struct Figures {
    pub(super) policy_version: String,
    pub(super) source: String,
    pub(super) invented: bool,
    pub(super) records: usize,
    pub(super) rounds: u32,
    /// Keys and values of all records.
    pub(super) input_bytes: u64,
    /// Keys and values of all outputs, dead letters among them.
    pub(super) output_bytes: u64,
    pub(super) outputs: u64,
    /// Nanoseconds per record: of the fastest round, the middle and the slowest.
    pub(super) ns: [f64; 3],
    /// Records refused whole, by reason.
    pub(super) refused: ByReason,
    /// Records that wait for their patron.
    pub(super) held: u64,
    pub(super) recipients: Vec<Recipient>,
    pub(super) shares: Option<Shares>,
}

/// One recipient of the source.
pub(super) struct Recipient {
    pub(super) name: String,
    pub(super) released: u64,
    /// Of the whole time, from 0 to 1; none where shares were not asked for.
    pub(super) share: Option<f64>,
}

/// Parts of the whole time, from 0 to 1.
pub(super) struct Shares {
    pub(super) reading: f64,
    pub(super) pseudonyms: f64,
    pub(super) pseudonyms_per_record: f64,
    pub(super) detectors: f64,
    /// Of looking for national numbers in outputs.
    pub(super) inspect: f64,
    /// How many of the records have a patron of whom one is known.
    pub(super) inspected_records: f64,
}

/// What of the measured records a comparison goes over, and how often in a round.
struct Sample<'a> {
    records: Vec<&'a Message>,
    passes: usize,
}

impl Scene<'_> {
    /// Measures the whole, and its shares where they are asked for.
    ///
    /// # Errors
    ///
    /// [`Failure::Config`] for what cannot be compiled.
    pub(super) fn measure(&self, shares: bool) -> Result<Figures, Failure> {
        let records: Vec<&Message> = self.work.records.iter().collect();
        let mut whole = self.way(self.loaded)?;
        let mut figures = self.count(&mut whole, &records);
        let passes = passes(time(records.len(), || whole.pass(&records)) * records.len() as f64);
        let mut rounds: Vec<f64> = (0..self.rounds)
            .map(|_| {
                time(passes * records.len(), || {
                    (0..passes).map(|_| whole.pass(&records)).sum()
                })
            })
            .collect();
        rounds.sort_by(f64::total_cmp);
        let last = rounds.last().copied().unwrap_or_default();
        figures.ns = [
            rounds.first().copied().unwrap_or_default(),
            median(rounds),
            last,
        ];
        if shares {
            self.shares(&mut whole, &records, &mut figures)?;
        }
        Ok(figures)
    }

    /// Everything that is counted and not timed.
    fn count(&self, whole: &mut Way, records: &[&Message]) -> Figures {
        let (tally, output_bytes) = whole.count(records);
        let policy = &self.loaded.policy;
        let programs = whole.pipeline.lane().recipients.iter();
        let recipients: Vec<Recipient> = programs
            .zip(&tally.recipients)
            .filter(|(program, _)| program.source == whole.source)
            .map(|(program, tally)| Recipient {
                name: program.name.clone(),
                released: tally.released,
                share: None,
            })
            .collect();
        Figures {
            policy_version: policy.version.clone(),
            source: self.kind.name.clone(),
            invented: self.work.invented,
            records: records.len(),
            rounds: self.rounds,
            input_bytes: records.iter().map(|message| input_bytes(message)).sum(),
            output_bytes,
            outputs: recipients.iter().map(|one| one.released).sum(),
            ns: [0.0; 3],
            refused: tally.sources[whole.source].refused,
            held: tally
                .recipients
                .iter()
                .map(|one| one.held)
                .max()
                .unwrap_or(0),
            recipients,
            shares: None,
        }
    }

    fn shares(
        &self,
        whole: &mut Way,
        records: &[&Message],
        figures: &mut Figures,
    ) -> Result<(), Failure> {
        let sample = Sample::of(records, figures.ns[1]);
        let names: Vec<String> = figures
            .recipients
            .iter()
            .map(|one| one.name.clone())
            .collect();
        let bar = progress(names.len() as u64 + 4);
        for recipient in &mut figures.recipients {
            bar.set_message(format!("without {}", recipient.name));
            let served = |name: &str| name != recipient.name;
            let left = self.left(whole, &parts::serving(self.loaded, served), &sample)?;
            recipient.share = Some((1.0 - left).max(0.0));
            bar.inc(1);
        }
        bar.set_message("reading alone");
        let nobody = parts::serving(self.loaded, |name| names.iter().all(|one| one != name));
        let reading = self.left(whole, &nobody, &sample)?;
        bar.inc(1);
        bar.set_message("without detectors");
        let detectors = match parts::without_detectors(self.loaded, self.kind) {
            Some(plain) => 1.0 - self.left(whole, &plain, &sample)?,
            None => 0.0,
        };
        bar.inc(1);
        bar.set_message("without inspect");
        let mut blind = self.way_of(self.loaded, |lane| {
            let sources = lane.sources.iter_mut();
            sources.for_each(|source| source.national.clear());
        })?;
        blind.pass(&sample.records);
        let inspect = 1.0 - self.ratio(whole, &sample, || blind.pass(&sample.records));
        bar.inc(1);
        bar.set_message("pseudonyms alone");
        let made = Pseudonyms::of(self, whole, &sample.records);
        let pseudonyms = self.ratio(whole, &sample, || made.make());
        bar.finish_and_clear();
        figures.shares = Some(Shares {
            reading: reading.min(1.0),
            pseudonyms,
            pseudonyms_per_record: made.count() as f64 / sample.records.len() as f64,
            detectors: detectors.max(0.0),
            inspect: inspect.max(0.0),
            inspected_records: whole.inspected(&sample.records),
        });
        Ok(())
    }

    /// What of the whole time is left with another config.
    fn left(&self, whole: &mut Way, other: &Loaded, sample: &Sample<'_>) -> Result<f64, Failure> {
        let mut other = self.way(other)?;
        other.pass(&sample.records);
        Ok(self.ratio(whole, sample, || other.pass(&sample.records)))
    }

    /// How long `other` takes beside the whole, which takes 1.
    fn ratio(&self, whole: &mut Way, sample: &Sample<'_>, mut other: impl FnMut() -> usize) -> f64 {
        whole.pass(&sample.records);
        let count = sample.passes * sample.records.len();
        let ratios = (0..self.rounds).map(|round| {
            let mut wholly = || {
                time(count, || {
                    let passes = 0..sample.passes;
                    passes.map(|_| whole.pass(&sample.records)).sum()
                })
            };
            let mut partly = || time(count, || (0..sample.passes).map(|_| other()).sum());
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

    /// A pipeline of all recipients of `loaded`, with its patrons.
    fn way(&self, loaded: &Loaded) -> Result<Way, Failure> {
        self.way_of(loaded, |_| {})
    }

    /// The same, with something changed in what was compiled.
    fn way_of(&self, loaded: &Loaded, change: impl FnOnce(&mut Lane)) -> Result<Way, Failure> {
        let mut lane = lane::compile("bench", loaded, |_| true, self.keys)?;
        change(&mut lane);
        let lane = Arc::new(lane);
        let place = |kind: &Kind| {
            let mut sources = lane.sources.iter();
            sources.position(|source| source.kind.name == kind.name)
        };
        let mut way = Way {
            pipeline: Pipeline::new(Arc::clone(&lane)),
            outbox: Outbox::default(),
            source: place(self.kind).unwrap_or(0),
        };
        way.pipeline.begin(self.now.clone());
        let known = self.work.before.iter();
        let measured = self.work.records.iter();
        for message in known.chain(measured.filter(|_| self.kind.role == Role::Patron)) {
            let kind = kind_of(&loaded.policy, &message.source);
            let Some((kind, at)) = kind.and_then(|kind| Some((kind, place(kind)?))) else {
                continue;
            };
            if kind.role == Role::Patron {
                way.pipeline.restore(&input(message, at));
            } else {
                way.pipeline.decide(&input(message, at), &mut way.outbox);
            }
        }
        way.pipeline.merge();
        Ok(way)
    }
}

impl<'a> Sample<'a> {
    /// Records spread evenly over all, as many as one round can take.
    fn of(records: &[&'a Message], ns_each: f64) -> Sample<'a> {
        let step = (ns_each * records.len() as f64 / SAMPLE_NS_MAX)
            .ceil()
            .max(1.0);
        let records: Vec<&Message> = records.iter().copied().step_by(step as usize).collect();
        Sample {
            passes: passes(ns_each * records.len() as f64),
            records,
        }
    }
}

/// How often records are gone over in a round.
fn passes(pass_ns: f64) -> usize {
    (ROUND_NS_MIN / pass_ns.max(1.0)).ceil().max(1.0) as usize
}

/// One way of deciding the records: a config, compiled, with a table of its own.
pub(super) struct Way {
    pub(super) pipeline: Pipeline,
    pub(super) outbox: Outbox,
    /// The place of the measured source in the lane.
    pub(super) source: usize,
}

impl Way {
    /// Decides all of `records`; says how many bytes came of them.
    fn pass(&mut self, records: &[&Message]) -> usize {
        let mut bytes = 0;
        for batch in records.chunks(BATCH) {
            self.decide(batch);
            bytes += self.outbox.bytes_len();
            self.pipeline.merge();
        }
        bytes
    }

    fn count(&mut self, records: &[&Message]) -> (Tally, u64) {
        let lane = self.pipeline.lane();
        let mut sum = Tally::new(lane.sources.len(), lane.recipients.len());
        let mut bytes = 0;
        for batch in records.chunks(BATCH) {
            self.decide(batch);
            sum.add(self.pipeline.tally());
            bytes += self.outbox.bytes_len() as u64;
            self.pipeline.merge();
        }
        (sum, bytes)
    }

    /// How many of `records`, of 1, have a patron of whom a national number is known.
    fn inspected(&mut self, records: &[&Message]) -> f64 {
        let source = self.source;
        let known = records.iter().filter(|message| {
            let input = input(message, source);
            self.pipeline.knows_national_number(&input)
        });
        known.count() as f64 / records.len().max(1) as f64
    }

    fn decide(&mut self, batch: &[&Message]) {
        self.outbox.clear();
        for message in batch {
            let input = input(message, self.source);
            self.pipeline.decide(&input, &mut self.outbox);
        }
    }
}

fn input_bytes(message: &Message) -> u64 {
    let key = message.key.as_ref().map_or(0, String::len);
    let value = match message.payload() {
        Payload::Bytes(bytes) => bytes.len(),
        Payload::Null | Payload::Refused(_) | Payload::Unread(..) => 0,
    };
    (key + value) as u64
}

/// The nanoseconds that `work` takes for each of `count` records.
fn time(count: usize, work: impl FnOnce() -> usize) -> f64 {
    let started = now_ns();
    black_box(work());
    (now_ns() - started) / count.max(1) as f64
}

/// The processor's time of this thread: what others do meanwhile costs none.
#[cfg(unix)]
fn now_ns() -> f64 {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

#[cfg(not(unix))]
fn now_ns() -> f64 {
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

/// A bar on stderr, where that is a terminal.
fn progress(steps: u64) -> ProgressBar {
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
    fn the_median_is_in_the_middle() {
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
    fn a_round_is_long_enough_and_a_sample_short_enough() {
        assert_eq!(passes(1e6), 20);
        assert_eq!(passes(1e9), 1);
        let message = Message {
            line: 1,
            source: "loan".to_owned(),
            key: None,
            value: super::super::super::message::Value::Null,
        };
        let all = vec![&message; 1_000];
        let sample = Sample::of(&all, 1e6);
        assert_eq!((sample.records.len(), sample.passes), (50, 1));
        let sample = Sample::of(&all, 1e3);
        assert_eq!((sample.records.len(), sample.passes), (1_000, 20));
    }
}
