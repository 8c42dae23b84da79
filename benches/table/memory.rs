//! The table in memory: records that lie ready, one thread.

use std::hint::black_box;
use std::time::{Duration, Instant};

use zeef::engine::memory::patrons::{PatronRow, PatronRowWriter, PatronStatus, SensitiveValues};
use zeef::engine::memory::transactional::Transactional;
use zeef::engine::pipeline::{BatchTime, Pipeline};
use zeef::engine::record::Record;
use zeef::message::{Outbox, SourceId};
use zeef::sample::SampleSource;

use crate::kafka_fixture::{self, SourceRecords};
use crate::{TableBenchOptions, process};

/// A batch of the worker.
const BATCH_RECORDS: usize = 20_000;
const NOW_MS: i64 = 1_768_478_400_000;
/// How many records are read and made rows of in a round: so few that a cache
/// holds them, as it holds the one of a worker.
const SAMPLE_RECORDS: usize = 64;
const TIMING_ROUNDS: usize = 2_001;
/// Odd, and far from any divisor of a count: walks over all places in no order.
const STRIDE: usize = 7_368_787;

pub(crate) fn run(options: &TableBenchOptions) {
    let default = if options.is_short { 20_000 } else { 1_000_000 };
    let patrons = options.patrons.unwrap_or(default);
    let bench = TableBench::new(patrons, options.partitions);
    println!(
        "{patrons} patrons of {:.0} bytes, {} partitions, {} values kept of each\n",
        bench.initial_records.mean_value_bytes(),
        options.partitions,
        bench.n_kept_values(),
    );
    bench.measure_memory(if options.is_short { 1 } else { 10 });
}

fn patron_records(seed: u64, patrons: u64) -> SourceRecords {
    let library = kafka_fixture::patron_library(seed, patrons);
    SourceRecords::from_library(&library, SampleSource::Patron)
}

/// The time on a core since then: what others do on the machine is left out.
fn cpu_since(started: Duration) -> Duration {
    process::cpu_time().saturating_sub(started)
}

struct TableBench {
    initial_records: SourceRecords,
    changed_records: SourceRecords,
    partitions: i32,
    patron_source: SourceId,
    pipeline: Pipeline,
}

impl TableBench {
    fn new(patrons: u64, partitions: i32) -> TableBench {
        let lane = kafka_fixture::compile_lane(&kafka_fixture::load_shipped_policy());
        let mut pipeline = Pipeline::new(lane.clone());
        pipeline.begin_batch(BatchTime::from_ms(NOW_MS));
        TableBench {
            initial_records: patron_records(1, patrons),
            changed_records: patron_records(2, patrons),
            partitions,
            patron_source: kafka_fixture::source_id(&lane, "patron"),
            pipeline,
        }
    }

    fn n_kept_values(&self) -> usize {
        self.pipeline.lane().row_layout.len()
    }

    fn partition_of(&self, at: usize) -> i32 {
        i32::try_from(at % self.partitions as usize).unwrap()
    }

    fn measure_memory(mut self, update_rounds: usize) {
        let patrons = self.initial_records.len();
        let before = process::resident_bytes();
        process::reset_peak_resident();
        let restored = self.restore_all();
        let (after, peak) = (process::resident_bytes(), process::peak_resident_bytes());
        println!("| bytes per patron | resident | patron id and values | over them |");
        println!("|---|---|---|---|");
        let line = |when: &str, resident: f64, fields: f64| {
            let bytes = (resident - before) / patrons as f64;
            let over = bytes - fields;
            println!("| {when} | {bytes:.0} | {fields:.0} | {over:.0} |");
        };
        line("after the rebuild", after, self.mean_row_bytes());
        line("at its peak", peak, self.mean_row_bytes());
        for round in 1..=update_rounds {
            self.update_all(round);
            if round == 1 || round == update_rounds {
                let when = format!("after {} updates", round * patrons);
                line(&when, process::resident_bytes(), self.mean_row_bytes());
            }
        }
        self.print_timings(restored);
    }

    fn print_timings(&mut self, restored: Duration) {
        let patrons = self.initial_records.len();
        let each = |time: Duration| time.as_nanos() as f64 / patrons as f64;
        let (reading, making) = self.read_and_build_ns();
        let keys = self.shuffled_keys();
        let lookup = self.look_up(&keys, 1);
        let lookup_all = self.look_up(&keys, self.n_kept_values());
        let (put, merge) = self.put_and_merge_ns();
        let abandon = self.put_and_abandon_ns();
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

    fn restore_all(&mut self) -> Duration {
        let started = process::cpu_time();
        for at in 0..self.initial_records.len() {
            let input =
                self.initial_records.input(at, self.patron_source, self.partition_of(at), 0);
            self.pipeline.restore_gate_record(&input);
        }
        let elapsed = cpu_since(started);
        assert_eq!(self.pipeline.table().len(), self.initial_records.len());
        elapsed
    }

    /// Nanoseconds of reading a record, and of making the row of one that was
    /// read; each the median of several rounds over some records.
    fn read_and_build_ns(&self) -> (f64, f64) {
        let lane = self.pipeline.lane();
        let source = lane.source(self.patron_source).unwrap();
        let mut records: Vec<Record> =
            (0..SAMPLE_RECORDS).map(|_| Record::new(&source.shape)).collect();
        let mut draft = PatronRowWriter::default();
        let (mut reading, mut making) = (Vec::new(), Vec::new());
        for round in 0..TIMING_ROUNDS {
            let place =
                |number: usize| (round * SAMPLE_RECORDS + number) % self.initial_records.len();
            let started = Instant::now();
            for (number, record) in records.iter_mut().enumerate() {
                let value = self.initial_records.value(place(number));
                record.read(value, &lane.limits).unwrap();
            }
            reading.push(started.elapsed());
            let started = Instant::now();
            for (number, record) in records.iter().enumerate() {
                let key = self.initial_records.key(place(number));
                let text = std::str::from_utf8(self.initial_records.value(place(number))).unwrap();
                let reading = record.view(text);
                black_box(draft.build_row(
                    &lane.row_layout,
                    reading,
                    &SensitiveValues::default(),
                    key,
                    0,
                ));
            }
            making.push(started.elapsed());
        }
        let median = |times: &mut Vec<Duration>| {
            times.sort();
            times[times.len() / 2].as_nanos() as f64 / SAMPLE_RECORDS as f64
        };
        (median(&mut reading), median(&mut making))
    }

    /// Every patron changes once, as records of batches.
    fn update_all(&mut self, round: usize) {
        let mut outbox = Outbox::default();
        let offset = i64::try_from(round).unwrap();
        for at in 0..self.initial_records.len() {
            let records =
                if round % 2 == 1 { &self.changed_records } else { &self.initial_records };
            let at = at * STRIDE % self.initial_records.len();
            let input = records.input(at, self.patron_source, self.partition_of(at), offset);
            self.pipeline.decide(&input, &mut outbox);
            outbox.clear();
            if at.is_multiple_of(BATCH_RECORDS) {
                self.pipeline.commit();
            }
        }
        self.pipeline.commit();
        assert_eq!(self.pipeline.table().len(), self.initial_records.len());
    }

    fn row_of(&self, at: usize) -> &PatronRow {
        let found = self.pipeline.table().find(self.partition_of(at), self.initial_records.key(at));
        match found {
            Some(PatronStatus::Known(row)) => row,
            other => panic!("expected a patron, found {other:?}"),
        }
    }

    /// The mean bytes of what is to be kept.
    fn mean_row_bytes(&self) -> f64 {
        let sum: usize =
            (0..self.initial_records.len()).map(|at| self.row_of(at).content_len()).sum();
        sum as f64 / self.initial_records.len() as f64
    }

    /// All patrons in an order that no cache can guess.
    fn shuffled_keys(&self) -> Vec<(i32, String)> {
        let count = self.initial_records.len();
        let places = (0..count).map(|at| at * STRIDE % count);
        places.map(|at| (self.partition_of(at), self.initial_records.key(at).to_owned())).collect()
    }

    /// Looks every patron up, and reads its first `values`.
    fn look_up(&self, keys: &[(i32, String)], values: usize) -> Duration {
        let values = u16::try_from(values).unwrap();
        let started = process::cpu_time();
        for (partition, patron_id) in keys {
            let Some(PatronStatus::Known(row)) = self.pipeline.table().find(*partition, patron_id)
            else {
                panic!("expected a patron");
            };
            for slot in 0..values {
                black_box(row.value(slot));
            }
        }
        cpu_since(started)
    }

    /// Rows of patrons far apart, a batch of them at a time.
    fn row_batches(&self) -> Vec<Vec<(i32, PatronRow)>> {
        let count = self.initial_records.len();
        let places: Vec<usize> =
            (0..count.min(10 * BATCH_RECORDS)).map(|at| at * STRIDE % count).collect();
        let row = |&at: &usize| (self.partition_of(at), self.row_of(at).clone());
        places.chunks(BATCH_RECORDS).map(|chunk| chunk.iter().map(row).collect()).collect()
    }

    /// Nanoseconds per patron of each.
    fn put_and_merge_ns(&mut self) -> (f64, f64) {
        let (mut put, mut merge, mut count) = (Duration::ZERO, Duration::ZERO, 0);
        for batch in self.row_batches() {
            count += batch.len();
            let started = process::cpu_time();
            for (partition, row) in batch {
                self.pipeline.table_mut().put(partition, row);
            }
            put += cpu_since(started);
            let started = process::cpu_time();
            self.pipeline.table_mut().commit();
            merge += cpu_since(started);
        }
        let each = |time: Duration| time.as_nanos() as f64 / count as f64;
        (each(put), each(merge))
    }

    fn put_and_abandon_ns(&mut self) -> f64 {
        let (mut time, mut count) = (Duration::ZERO, 0);
        for batch in self.row_batches() {
            count += batch.len();
            let started = process::cpu_time();
            for (partition, row) in batch {
                self.pipeline.table_mut().put(partition, row);
            }
            self.pipeline.table_mut().rollback();
            time += cpu_since(started);
        }
        time.as_nanos() as f64 / count as f64
    }
}
