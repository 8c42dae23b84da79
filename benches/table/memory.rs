//! The table in memory: records that lie ready, one thread.

use std::hint::black_box;
use std::time::{Duration, Instant};

use zeef::engine::pipeline::{BatchTime, Pipeline};
use zeef::engine::record::Record;
use zeef::engine::table::{Draft, Known, Row, Sensitive};
use zeef::transport::{Outbox, SourceId};

use crate::scene::{self, Records};
use crate::{Wanted, process};

/// A batch of the worker.
const BATCH: usize = 20_000;
const NOW_MS: i64 = 1_768_478_400_000;
/// How many records are read and made rows of in a round: so few that a cache
/// holds them, as it holds the one of a worker.
const SOME: usize = 64;
const ROUNDS: usize = 2_001;
/// Odd, and far from any divisor of a count: walks over all places in no order.
const STRIDE: usize = 7_368_787;

pub(crate) fn run(wanted: &Wanted) {
    let default = if wanted.short { 20_000 } else { 1_000_000 };
    let patrons = wanted.patrons.unwrap_or(default);
    let bench = Bench::new(patrons, wanted.partitions);
    println!(
        "{patrons} patrons of {:.0} bytes, {} partitions, {} values kept of each\n",
        bench.first.value_bytes(),
        wanted.partitions,
        bench.kept(),
    );
    bench.measure(if wanted.short { 1 } else { 10 });
}

/// The time on a core since then: what others do on the machine is left out.
fn since(started: Duration) -> Duration {
    process::cpu().saturating_sub(started)
}

struct Bench {
    first: Records,
    second: Records,
    partitions: i32,
    source: SourceId,
    pipeline: Pipeline,
}

impl Bench {
    fn new(patrons: u64, partitions: i32) -> Bench {
        let lane = scene::lane(&scene::policy());
        let mut pipeline = Pipeline::new(lane.clone());
        pipeline.begin(BatchTime::from_ms(NOW_MS));
        Bench {
            first: Records::of(&scene::library(1, patrons)),
            second: Records::of(&scene::library(2, patrons)),
            partitions,
            source: scene::patron_source(&lane),
            pipeline,
        }
    }

    fn kept(&self) -> usize {
        self.pipeline.lane().layout.len()
    }

    fn partition(&self, at: usize) -> i32 {
        i32::try_from(at % self.partitions as usize).unwrap()
    }

    fn measure(mut self, update_rounds: usize) {
        let patrons = self.first.len();
        let before = process::resident();
        process::reset_peak();
        let restored = self.restore();
        let (after, peak) = (process::resident(), process::peak());
        println!("| bytes per patron | resident | patron id and values | over them |");
        println!("|---|---|---|---|");
        let line = |when: &str, resident: f64, fields: f64| {
            let bytes = (resident - before) / patrons as f64;
            let over = bytes - fields;
            println!("| {when} | {bytes:.0} | {fields:.0} | {over:.0} |");
        };
        line("after the rebuild", after, self.fields());
        line("at its peak", peak, self.fields());
        for round in 1..=update_rounds {
            self.update(round);
            if round == 1 || round == update_rounds {
                let when = format!("after {} updates", round * patrons);
                line(&when, process::resident(), self.fields());
            }
        }
        self.times(restored);
    }

    fn times(&mut self, restored: Duration) {
        let patrons = self.first.len();
        let each = |time: Duration| time.as_nanos() as f64 / patrons as f64;
        let (reading, making) = self.parts();
        let wanted = self.wanted();
        let lookup = self.look_up(&wanted, 1);
        let lookup_all = self.look_up(&wanted, self.kept());
        let (put, merge) = self.put_and_merge();
        let abandon = self.put_and_abandon();
        let line = |what: &str, ns: f64| println!("| {what} | {ns:.0} |");
        println!("\n| per patron, on one core | ns |\n|---|---|");
        line("restore", each(restored));
        line("reading its record", reading);
        line("making its row", making);
        line("lookup in any order, and one value", each(lookup));
        line("lookup in any order, and all values", each(lookup_all));
        line("put in a batch of 20,000", put);
        line("merge of such a batch", merge);
        line("put and abandon", abandon);
        println!("\nRestored: {:.0} patrons/s.", 1e9 / each(restored));
    }

    fn restore(&mut self) -> Duration {
        let started = process::cpu();
        for at in 0..self.first.len() {
            let input = self.first.input(at, self.source, self.partition(at), 0);
            self.pipeline.restore(&input);
        }
        let elapsed = since(started);
        assert_eq!(self.pipeline.table().len(), self.first.len());
        elapsed
    }

    /// Nanoseconds of reading a record, and of making the row of one that was
    /// read; each the median of several rounds over some records.
    fn parts(&self) -> (f64, f64) {
        let lane = self.pipeline.lane();
        let source = lane.source(self.source).unwrap();
        let mut records: Vec<Record> = (0..SOME).map(|_| Record::new(&source.shape)).collect();
        let mut draft = Draft::default();
        let (mut reading, mut making) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let place = |number: usize| (round * SOME + number) % self.first.len();
            let started = Instant::now();
            for (number, record) in records.iter_mut().enumerate() {
                let value = self.first.value(place(number));
                record.read(value, &lane.limits).unwrap();
            }
            reading.push(started.elapsed());
            let started = Instant::now();
            for (number, record) in records.iter().enumerate() {
                let key = self.first.key(place(number));
                let text = std::str::from_utf8(self.first.value(place(number))).unwrap();
                let reading = record.reading(text);
                black_box(draft.row(&lane.layout, reading, &Sensitive::default(), key, 0));
            }
            making.push(started.elapsed());
        }
        let median = |times: &mut Vec<Duration>| {
            times.sort();
            times[times.len() / 2].as_nanos() as f64 / SOME as f64
        };
        (median(&mut reading), median(&mut making))
    }

    /// Every patron changes once, as records of batches.
    fn update(&mut self, round: usize) {
        let mut outbox = Outbox::default();
        let offset = i64::try_from(round).unwrap();
        for at in 0..self.first.len() {
            let records = if round % 2 == 1 {
                &self.second
            } else {
                &self.first
            };
            let at = at * STRIDE % self.first.len();
            let input = records.input(at, self.source, self.partition(at), offset);
            self.pipeline.decide(&input, &mut outbox);
            outbox.clear();
            if at.is_multiple_of(BATCH) {
                self.pipeline.merge();
            }
        }
        self.pipeline.merge();
        assert_eq!(self.pipeline.table().len(), self.first.len());
    }

    fn row(&self, at: usize) -> &Row {
        let found = self
            .pipeline
            .table()
            .find(self.partition(at), self.first.key(at));
        match found {
            Some(Known::Patron(row)) => row,
            other => panic!("expected a patron, found {other:?}"),
        }
    }

    /// The mean bytes of what is to be kept.
    fn fields(&self) -> f64 {
        let sum: usize = (0..self.first.len())
            .map(|at| self.row(at).text_len())
            .sum();
        sum as f64 / self.first.len() as f64
    }

    /// All patrons in an order that no cache can guess.
    fn wanted(&self) -> Vec<(i32, String)> {
        let count = self.first.len();
        let places = (0..count).map(|at| at * STRIDE % count);
        places
            .map(|at| (self.partition(at), self.first.key(at).to_owned()))
            .collect()
    }

    /// Looks every patron up, and reads its first `values`.
    fn look_up(&self, wanted: &[(i32, String)], values: usize) -> Duration {
        let values = u16::try_from(values).unwrap();
        let started = process::cpu();
        for (partition, patron_id) in wanted {
            let Some(Known::Patron(row)) = self.pipeline.table().find(*partition, patron_id) else {
                panic!("expected a patron");
            };
            for slot in 0..values {
                black_box(row.value(slot));
            }
        }
        since(started)
    }

    /// Rows of patrons far apart, a batch of them at a time.
    fn batches(&self) -> Vec<Vec<(i32, Row)>> {
        let count = self.first.len();
        let places: Vec<usize> = (0..count.min(10 * BATCH))
            .map(|at| at * STRIDE % count)
            .collect();
        let row = |&at: &usize| (self.partition(at), self.row(at).clone());
        places
            .chunks(BATCH)
            .map(|chunk| chunk.iter().map(row).collect())
            .collect()
    }

    /// Nanoseconds per patron of each.
    fn put_and_merge(&mut self) -> (f64, f64) {
        let (mut put, mut merge, mut count) = (Duration::ZERO, Duration::ZERO, 0);
        for batch in self.batches() {
            count += batch.len();
            let started = process::cpu();
            for (partition, row) in batch {
                self.pipeline.table_mut().put(partition, row);
            }
            put += since(started);
            let started = process::cpu();
            self.pipeline.table_mut().merge();
            merge += since(started);
        }
        let each = |time: Duration| time.as_nanos() as f64 / count as f64;
        (each(put), each(merge))
    }

    fn put_and_abandon(&mut self) -> f64 {
        let (mut time, mut count) = (Duration::ZERO, 0);
        for batch in self.batches() {
            count += batch.len();
            let started = process::cpu();
            for (partition, row) in batch {
                self.pipeline.table_mut().put(partition, row);
            }
            self.pipeline.table_mut().abandon();
            time += since(started);
        }
        time.as_nanos() as f64 / count as f64
    }
}
