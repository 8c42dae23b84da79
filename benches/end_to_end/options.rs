//! What the bench is asked for.

use crate::mirror::{MIRROR_WORD, MirrorArgs, parse_property};
use crate::run::Competitor;

pub const HELP: &str = "\
usage: cargo bench --bench end_to_end -- [OPTIONS]

  --short             some thousand records, one pair, in seconds
  --records N         records of the source (1000000)
  --pairs N           rounds of all ways (7); 0 leaves them out
  --workers N,N       workers of a process (1,2)
  --ways NAME,NAME    of zeef, mirror, mirror-tx, beside (the first three)
  --latency SECONDS   for how long latency is measured at each rate (10); 0 leaves it out
  --partitions N,N    throughput with that many partitions in a transaction, as 4,400,2000
  --flat N            one run of N records, its memory looked at on the way
  --set NAME=VALUE    a property of librdkafka, for zeef and the mirror alike
  --zeef FILE         another program than the one just built
  --beside FILE       a second build of zeef, as a way of its own: `beside`
  --beside-set N=V    a property of librdkafka for that one alone";

/// What to do.
pub enum Invocation {
    Bench(BenchOptions),
    /// To be the mirror: a child of the bench.
    Mirror(MirrorArgs),
    Help,
}

pub struct BenchOptions {
    pub records: u64,
    pub pairs: usize,
    pub workers: Vec<usize>,
    pub competitors: Vec<Competitor>,
    pub latency_s: u64,
    pub partitions: Vec<usize>,
    pub memory_run_records: u64,
    pub properties: Vec<(String, String)>,
    pub program: String,
    pub second_program: String,
    pub second_properties: Vec<(String, String)>,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self {
            records: 1_000_000,
            pairs: 7,
            workers: vec![1, 2],
            competitors: vec![Competitor::Zeef, Competitor::Mirror, Competitor::MirrorTransactions],
            latency_s: 10,
            partitions: Vec::new(),
            memory_run_records: 0,
            properties: Vec::new(),
            program: env!("CARGO_BIN_EXE_zeef").to_owned(),
            second_program: env!("CARGO_BIN_EXE_zeef").to_owned(),
            second_properties: Vec::new(),
        }
    }
}

/// Reads the words behind the program's name.
pub fn parse(words: impl Iterator<Item = String>) -> Result<Invocation, String> {
    let mut words = words.filter(|word| word != "--bench").peekable();
    if words.next_if(|word| word == MIRROR_WORD).is_some() {
        let args = MirrorArgs::from_words(words).ok_or("expected an order for a mirror")?;
        return Ok(Invocation::Mirror(args));
    }
    let mut options = BenchOptions::default();
    while let Some(word) = words.next() {
        if word == "--help" || word == "-h" {
            return Ok(Invocation::Help);
        }
        if word == "--short" {
            options.records = 4_000;
            options.pairs = 1;
            options.workers = vec![1];
            options.latency_s = 1;
            continue;
        }
        let value = words.next().ok_or(format!("{word}: expected a value"))?;
        set_option(&mut options, &word, &value).ok_or(format!("{word} {value}: not understood"))?;
    }
    Ok(Invocation::Bench(options))
}

fn set_option(options: &mut BenchOptions, word: &str, value: &str) -> Option<()> {
    match word {
        "--records" => options.records = value.parse().ok()?,
        "--pairs" => options.pairs = value.parse().ok()?,
        "--workers" => options.workers = parse_numbers(value)?,
        "--ways" => {
            options.competitors =
                value.split(',').map(Competitor::from_name).collect::<Option<_>>()?
        }
        "--latency" => options.latency_s = value.parse().ok()?,
        "--partitions" => options.partitions = parse_numbers(value)?,
        "--flat" => options.memory_run_records = value.parse().ok()?,
        "--set" => options.properties.push(parse_property(value)?),
        "--beside" => value.clone_into(&mut options.second_program),
        "--beside-set" => options.second_properties.push(parse_property(value)?),
        "--zeef" => value.clone_into(&mut options.program),
        _ => return None,
    }
    Some(())
}

fn parse_numbers(text: &str) -> Option<Vec<usize>> {
    text.split(',').map(|number| number.parse().ok()).collect()
}
