//! What the bench is asked for.

use crate::run::Way;

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
pub enum Asked {
    Bench(Options),
    /// To be the mirror: a child of the bench.
    Mirror(MirrorOrder),
    Help,
}

pub struct Options {
    pub records: u64,
    pub pairs: usize,
    pub workers: Vec<usize>,
    pub ways: Vec<Way>,
    pub latency_s: u64,
    pub partitions: Vec<usize>,
    pub flat: u64,
    pub properties: Vec<(String, String)>,
    pub program: String,
    pub beside: String,
    pub beside_properties: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            records: 1_000_000,
            pairs: 7,
            workers: vec![1, 2],
            ways: vec![Way::Zeef, Way::Mirror, Way::MirrorTransactions],
            latency_s: 10,
            partitions: Vec::new(),
            flat: 0,
            properties: Vec::new(),
            program: env!("CARGO_BIN_EXE_zeef").to_owned(),
            beside: env!("CARGO_BIN_EXE_zeef").to_owned(),
            beside_properties: Vec::new(),
        }
    }
}

/// What a mirror needs to know, as it stands on its command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorOrder {
    pub brokers: String,
    pub source: String,
    /// The four outputs, separated by commas.
    pub outputs: Vec<String>,
    pub group: String,
    pub workers: usize,
    pub transactions: bool,
    /// It ends after so many records.
    pub records: u64,
    /// A file of outputs to be written, by turns.
    pub sample: String,
    pub properties: Vec<(String, String)>,
}

impl MirrorOrder {
    /// The order as arguments of a child.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "mirror".to_owned(),
            self.brokers.clone(),
            self.source.clone(),
            self.outputs.join(","),
            self.group.clone(),
            self.workers.to_string(),
            self.transactions.to_string(),
            self.records.to_string(),
            self.sample.clone(),
        ];
        let properties = self.properties.iter();
        arguments.extend(properties.map(|(name, value)| format!("{name}={value}")));
        arguments
    }

    fn read(mut words: impl Iterator<Item = String>) -> Option<Self> {
        Some(Self {
            brokers: words.next()?,
            source: words.next()?,
            outputs: words.next()?.split(',').map(str::to_owned).collect(),
            group: words.next()?,
            workers: words.next()?.parse().ok()?,
            transactions: words.next()?.parse().ok()?,
            records: words.next()?.parse().ok()?,
            sample: words.next()?,
            properties: words.filter_map(|word| property(&word)).collect(),
        })
    }
}

/// Reads the words behind the program's name.
pub fn read(words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut words = words.filter(|word| word != "--bench").peekable();
    if words.next_if(|word| word == "mirror").is_some() {
        let order = MirrorOrder::read(words).ok_or("expected an order for a mirror")?;
        return Ok(Asked::Mirror(order));
    }
    let mut options = Options::default();
    while let Some(word) = words.next() {
        if word == "--help" || word == "-h" {
            return Ok(Asked::Help);
        }
        if word == "--short" {
            options.records = 4_000;
            options.pairs = 1;
            options.workers = vec![1];
            options.latency_s = 1;
            continue;
        }
        let value = words.next().ok_or(format!("{word}: expected a value"))?;
        set(&mut options, &word, &value).ok_or(format!("{word} {value}: not understood"))?;
    }
    Ok(Asked::Bench(options))
}

fn set(options: &mut Options, word: &str, value: &str) -> Option<()> {
    match word {
        "--records" => options.records = value.parse().ok()?,
        "--pairs" => options.pairs = value.parse().ok()?,
        "--workers" => options.workers = numbers(value)?,
        "--ways" => options.ways = value.split(',').map(Way::named).collect::<Option<_>>()?,
        "--latency" => options.latency_s = value.parse().ok()?,
        "--partitions" => options.partitions = numbers(value)?,
        "--flat" => options.flat = value.parse().ok()?,
        "--set" => options.properties.push(property(value)?),
        "--beside" => value.clone_into(&mut options.beside),
        "--beside-set" => options.beside_properties.push(property(value)?),
        "--zeef" => value.clone_into(&mut options.program),
        _ => return None,
    }
    Some(())
}

fn numbers(text: &str) -> Option<Vec<usize>> {
    text.split(',').map(|number| number.parse().ok()).collect()
}

fn property(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    Some((name.to_owned(), value.to_owned()))
}
