//! What patrons said, in memory: what a consent or an objection costs.

use zeef::engine::pipeline::Pipeline;
use zeef::sample::{SampleLibrary, SampleSettings, SampleSource};

use crate::kafka_fixture::{self, SourceRecords};
use crate::{TableBenchOptions, process};

/// How many statements a patron made, on average.
const PER_PATRON: [f32; 4] = [0.5, 1.0, 4.0, 16.0];

type SetMean = fn(&mut SampleSettings, f32);

pub(crate) fn run(options: &TableBenchOptions) {
    let default = if options.is_short { 2_000 } else { 100_000 };
    let patrons = options.patrons.unwrap_or(default);
    println!("{patrons} patrons of the shipped policy\n");
    println!(
        "| statements | of each patron | bytes of one | bytes per patron | restored, ns each |"
    );
    println!("|---|---|---|---|---|");
    // All of it stays, so that no memory is used twice.
    let mut kept = Vec::new();
    let sources: [(SampleSource, &str, SetMean); 2] = [
        (SampleSource::Consent, "consent", |settings, mean| settings.consents_per_patron = mean),
        (SampleSource::Objection, "objection", |settings, mean| {
            settings.objections_per_patron = mean;
        }),
    ];
    for (source, kind, set_mean) in sources {
        for mean in PER_PATRON {
            let mut settings = kafka_fixture::patron_settings(1, patrons);
            set_mean(&mut settings, mean);
            let records = SourceRecords::from_library(&SampleLibrary::new(settings), source);
            let pipeline = measure_statements(kind, &records, patrons);
            kept.push((records, pipeline));
        }
    }
}

/// Prints bytes and nanoseconds; yields what remembers the statements.
fn measure_statements(kind: &str, records: &SourceRecords, patrons: u64) -> Pipeline {
    let lane = kafka_fixture::compile_lane(&kafka_fixture::load_shipped_policy());
    let source = kafka_fixture::source_id(&lane, kind);
    let mut pipeline = Pipeline::new(lane);
    let before = process::resident_bytes();
    let started = process::cpu_time();
    for at in 0..records.len() {
        let offset = i64::try_from(at).unwrap();
        pipeline.restore_gate_record(&records.input(at, source, 0, offset));
    }
    let time = process::cpu_time().saturating_sub(started);
    let bytes = process::resident_bytes() - before;
    let count = records.len() as f64;
    println!(
        "| {kind} | {:.1} | {:.0} | {:.0} | {:.0} |",
        count / patrons as f64,
        bytes / count,
        bytes / patrons as f64,
        time.as_nanos() as f64 / count
    );
    pipeline
}
