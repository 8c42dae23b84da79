//! The words after `zeef`: every command's arguments, with help that teaches.
//!
//! Nothing is read or done here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::policy::settings::LogLevel;

/// The folder with the policy.
#[derive(Args, Clone, Debug)]
pub struct ConfigArguments {
    /// Folder with zeef.toml, records/ and recipients/
    #[arg(
        long,
        value_name = "DIR",
        env = "ZEEF_CONFIG",
        default_value = "config"
    )]
    pub config: PathBuf,
}

/// Where Kafka is.
#[derive(Args, Clone, Debug)]
pub struct BrokerArguments {
    /// Kafka's brokers, as host:port,host:port; overrides zeef.toml
    #[arg(long, value_name = "LIST", env = "ZEEF_BROKERS")]
    pub brokers: Option<String>,
}

/// What is logged.
#[derive(Args, Clone, Copy, Debug)]
pub struct LogArguments {
    /// What is logged to stderr at least; overrides zeef.toml and RUST_LOG
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<LogLevelArgument>,
}

/// Give each recipient its records: the daemon
///
/// Reads records from Kafka, decides for each recipient, and publishes what it
/// may see; each batch is one transaction. With --directory the same is done
/// with files: DIR/in/SOURCE.ndjson in, DIR/out/RECIPIENT/TOPIC.ndjson out.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef run                                  from and to the Kafka of config/zeef.toml
  zeef run --brokers kafka-1:9092           another Kafka
  zeef run --until-end                      the nightly run: ends when all is committed
  zeef run --directory /srv/zeef            files instead of Kafka; ends with its input
  zeef run --directory /srv/zeef --follow   files that grow

Exit codes: 0 ended in good order, 1 failed, 70 a lane stopped and needs you,
75 another instance took over (do not restart), 78 the config is wrong.")]
pub struct RunArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// Read DIR/in/SOURCE.ndjson and write DIR/out/RECIPIENT/TOPIC.ndjson instead
    /// of Kafka. Inputs may only grow
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// With --directory: go on when the input ends, and pick up new lines
    #[arg(long, requires = "directory", conflicts_with = "until_end")]
    pub follow: bool,
    /// Stop with exit 0 once all is committed that was there at the start;
    /// what --directory does unless it is told to --follow
    #[arg(long)]
    pub until_end: bool,
    /// Names the process, the same after a restart; by default the host's name
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    /// Where metrics and health are served, as 127.0.0.1:9464, or none
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<AdminAddress>,
    #[command(flatten)]
    pub log: LogArguments,
}

/// Where metrics and health are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    Nowhere,
    At(SocketAddr),
}

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(AdminAddress::Nowhere),
            _ => text.parse().map(AdminAddress::At).map_err(|_| {
                "expected an address and a port, as 127.0.0.1:9464, or none".to_owned()
            }),
        }
    }
}

impl AdminAddress {
    /// The address, where there is one.
    #[must_use]
    pub fn address(self) -> Option<SocketAddr> {
        match self {
            AdminAddress::Nowhere => None,
            AdminAddress::At(address) => Some(address),
        }
    }
}

/// Show which topics should exist on Kafka, and which do
///
/// Compares partitions, compaction, retention and replication with what the
/// policy needs. With --acls it writes the commands that give zeef, its operators
/// and each recipient the rights that they need, and connects to nothing.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef topics                     the plan beside what is there
  zeef topics --apply             create what is missing; changes nothing that is there
  zeef topics --brokers kafka-1:9092
  zeef topics --acls > acls.sh    commands for kafka-acls.sh: read them, then run them

Exit codes: 0 all is as planned, 1 something is missing or differs, 78 the config
is wrong.")]
pub struct TopicsArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// Create the topics that are missing
    #[arg(long)]
    pub apply: bool,
    /// Only write the commands that set the rights (ACLs)
    #[arg(long, conflicts_with = "apply")]
    pub acls: bool,
    #[command(flatten)]
    pub log: LogArguments,
}

/// Look at patrons, consents and objections, and repair what is misplaced
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef gates census               what lies there and would not count
  zeef gates repair --dry-run     what would be written once more in its place")]
pub struct GatesArguments {
    #[command(subcommand)]
    pub command: GatesCommand,
}

/// What can be done with gates.
#[derive(Subcommand, Clone, Debug)]
pub enum GatesCommand {
    /// Count what lies in the gate sources that would not count
    ///
    /// Reads patrons, consents and objections whole: what is misplaced, without a
    /// key, unreadable, under a key that is nearly a patron's, or a null, and how
    /// many patrons that concerns. The first start of a deployment does the same.
    #[command(after_help = "Examples:
  zeef gates census
  zeef gates census --json        for a program

Exit codes: 0 nothing is misplaced, 1 something is, 78 the config is wrong.")]
    Census(GatesCensusArguments),
    /// Write what is misplaced once more in its place
    ///
    /// A record whose key belongs in another partition does not count where it
    /// lies. It is written once more, with the same key, value and headers, where
    /// `[kafka] partitioner` puts its key; behind it what lay there already and is
    /// later, so that each key's records end in the order in which they were
    /// written. What was repaired is noted in `zeef.commands`, and is not written
    /// again. First have its producer use the right partitioner.
    #[command(after_help = "Examples:
  zeef gates repair --dry-run
  zeef gates repair --apply
  zeef gates repair --apply --topic consent
  zeef gates repair --apply --topic loan    writes nothing: sets its misplaced records aside

Exit codes: 0 fine, 1 failed (what was written is noted; run it again), 2 no such
source, 78 the config is wrong.")]
    Repair(GatesRepairArguments),
}

/// What is counted.
#[derive(Args, Clone, Debug)]
pub struct GatesCensusArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// Write JSON instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub log: LogArguments,
}

/// What is repaired.
#[derive(Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct GatesRepairArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// Only tell what would be written
    #[arg(long, group = "what")]
    pub dry_run: bool,
    /// Write it
    #[arg(long, group = "what")]
    pub apply: bool,
    /// Only this source; may be given several times. Of a source that is no gate
    /// nothing is written: its misplaced records are dead letters already, and no
    /// longer count against its limit
    #[arg(long = "topic", value_name = "NAME")]
    pub topics: Vec<String>,
    #[command(flatten)]
    pub log: LogArguments,
}

/// Leave in each output file the last line of each key
///
/// What was taken back, or corrected, stands above the line that did it until
/// then. Nothing else changes: read top to bottom, a file says the same. The null
/// of a key that was taken back stays, for whoever has read an older line. Lines
/// without a key, as dead letters, stay too. A run compacts by itself at its end,
/// where something was taken back.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef compact --directory /srv/zeef

Each file is replaced whole: whoever has it open goes on seeing the old one.

Exit codes: 0 fine, 1 the disk refused and nothing is lost, 70 the folder is no
directory of zeef or is not as it was left, 75 a run has it, 78 the config is wrong.")]
pub struct CompactArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// The folder with in/, out/ and .zeef/
    #[arg(long, value_name = "DIR")]
    pub directory: PathBuf,
}

/// Go on in spite of findings
///
/// A start that finds something lost or changed says what, what would follow, and
/// a code. A code accepts that finding and no other, for all processes; it is of no
/// use once something was committed. On Kafka it is written to the topic
/// zeef.commands; in a directory to .zeef, beside the reason.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef accept 7k2m9x4c0qrt --reason 'restored by hand, see ticket 12'
  zeef accept 7k2m9x4c0qrt --directory /srv/zeef --reason 'the same, in a directory'

Exit codes: 0 written down, 1 Kafka does not answer, 2 that is no code, 70 the folder is
no directory of zeef, 75 a run has it, 78 the config is wrong.")]
pub struct AcceptArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// As they stand in the message
    #[arg(value_name = "CODE", required = true)]
    pub codes: Vec<String>,
    /// The folder with in/, out/ and .zeef/, where there is no Kafka
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Why; kept beside the code
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,
}

/// Send again all that a recipient has
///
/// For a topic, or a file, that was lost and made anew: the next start sends
/// every output that the recipient has under the same key, with the value that its
/// record has now, before it goes on.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef refill statistics --reason 'the topic was deleted by mistake'

Exit codes: 0 written down, 1 Kafka does not answer, 2 there is no such recipient, 75 a
run has the directory, 78 the config is wrong.")]
pub struct RefillArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// The recipient
    #[arg(value_name = "RECIPIENT")]
    pub recipient: String,
    /// The folder with in/, out/ and .zeef/, where there is no Kafka
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Why; kept beside it
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,
}

/// Begin a lane anew, without knowing what its recipients have
///
/// Its positions and its state are removed, while no process runs it; the next run
/// reads all input from its beginning, and sends again what recipients may have.
/// What it does not send again stays with them: zeef can never take it back, and
/// says how much they have.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef forget main --dry-run
  zeef forget main --reason 'the state topic was lost'
  zeef forget main --directory /srv/zeef

Exit codes: 0 forgotten, 1 Kafka does not answer: do it again, 2 there is no such lane,
70 the folder cannot be written, 75 a run has the lane, 78 the config is wrong.")]
pub struct ForgetArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// The lane
    #[arg(value_name = "LANE")]
    pub lane: String,
    /// The folder with in/, out/ and .zeef/, where there is no Kafka
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Why; kept on the topic zeef.commands
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["directory", "dry_run"])]
    pub reason: Option<String>,
    /// Only say what it would do
    #[arg(long)]
    pub dry_run: bool,
}

/// Check the config: every mistake of every file, or what the policy says
///
/// Connects to nothing. Each mistake comes with its file and line, what was
/// found and what was expected.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef check
  zeef check --config /etc/zeef

Exit codes: 0 the config is fine, 78 it is not.")]
pub struct CheckArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
}

/// Show what there is: recipients, fields, masks, detectors, rules
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef list recipients              who gets what, and why
  zeef list recipients statistics   one of them
  zeef list fields patron           the fields of one kind of record
  zeef list masks                   what can be done to a value, with examples
  zeef list masks year              one of them
  zeef list reasons                 why records are withheld, and what follows
  zeef list rules --json            for a program

Exit codes: 0 listed, 2 there is none of that name, 78 the config is wrong.")]
pub struct ListArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// What to list
    #[arg(value_name = "WHAT")]
    pub what: Listing,
    /// Only the one of this name; with fields, the kind of record
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// With objections: the directory of `zeef run --directory`, instead of Kafka
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Write JSON instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub log: LogArguments,
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Listing {
    /// Who gets what of which records, for what and on which legal basis
    Recipients,
    /// Named functions from one value to a poorer value, with examples
    Masks,
    /// Named finders of personal data in free text, with examples
    Detectors,
    /// Every known field of every kind of record: its type and its class
    Fields,
    /// What a policy may not say, and why
    Rules,
    /// Why a record is not released, as metrics and dead letters say it
    Reasons,
    /// Objections that some recipient of their purpose is not stopped by: where
    /// they lie, for who has to answer them
    Objections,
}

/// Show what each recipient would get: records on stdin, outputs on stdout
///
/// Reads lines {"source":...,"key":...,"value":...} and writes lines
/// {"topic":...,"key":...,"value":...}. Touches neither Kafka nor files. As in a
/// run, patrons, consents and objections are read before all other lines. A
/// summary goes to stderr, without any value.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef generate --patrons 10 --stdout | zeef project
  zeef project --recipient statistics < records.ndjson
  zeef project --time 2026-01-15T12:00:00Z --quiet < records.ndjson > outputs.ndjson

A line that cannot be read is told of with its number, as a dead letter, and does
not stop the others.

Exit codes: 0 fine, 2 a source or recipient that does not exist, 78 the config is
wrong.")]
pub struct ProjectArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// Only this recipient; may be given several times
    #[arg(long = "recipient", value_name = "NAME")]
    pub recipients: Vec<String>,
    /// Decide as if it were this time, as 2026-01-15T12:00:00Z; by default now
    #[arg(long, alias = "at", value_name = "TIME")]
    pub time: Option<jiff::Timestamp>,
    /// Decide each line when it comes, by what was read before it, instead of
    /// reading patrons, consents and objections first
    #[arg(long)]
    pub in_order: bool,
    /// Write no summary
    #[arg(long, short)]
    pub quiet: bool,
}

/// Show why a recipient gets a record, field by field, or why it does not
///
/// Reads the same lines as `zeef project`, from FILE or stdin, or what zeef itself
/// reads: a directory, or Kafka. Explains each record of the recipient's source that
/// is asked for: each gate, then each output field with where it comes from, its
/// mask and its outcome, and until when time alone does not change the answer. It
/// shows values: use it where you may see the record itself.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef explain reservation-slip records.ndjson           each reservation in it
  zeef explain reservation-slip records.ndjson --id R1   one of them
  zeef explain deurwaarder --directory /srv/zeef --id D17
  zeef explain statistics --brokers kafka:9092 --at loan-3@1182
  zeef generate --patrons 1 --stdout | zeef explain kb-recognition

A record lies at SOURCE-PARTITION@OFFSET, as `zeef holds` and dead letters say it. In a
directory the partition is 0, and the offset is the byte at which the line begins; in
FILE it is the number of the line.

Exit codes: 0 explained, whether released or withheld, 1 no such record, or it cannot
be read, 2 no such recipient or source, 78 the config is wrong.")]
pub struct ExplainArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// The recipient
    #[arg(value_name = "RECIPIENT")]
    pub recipient: String,
    #[command(flatten)]
    pub from: ExplainFrom,
    /// Only the record with this id of its own (of a patron: the patron's)
    #[arg(long, value_name = "ID", conflicts_with = "at")]
    pub id: Option<String>,
    /// Only the record that lies there, as loan-3@1182
    #[arg(long, value_name = "PLACE")]
    pub at: Option<RecordPlace>,
    /// Decide as if it were this time, as 2026-01-15T12:00:00Z; by default now
    #[arg(long, value_name = "TIME")]
    pub time: Option<jiff::Timestamp>,
    /// Also show the output as it would be published
    #[arg(long)]
    pub output: bool,
    #[command(flatten)]
    pub log: LogArguments,
}

/// Where the records are that are explained.
#[derive(Args, Clone, Debug)]
#[group(multiple = false)]
pub struct ExplainFrom {
    /// Lines as `zeef project` reads them; by default stdin
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The directory of `zeef run --directory`; with --id or --at
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Kafka's brokers, as host:port,host:port; with --id or --at
    #[arg(long, value_name = "LIST")]
    pub brokers: Option<String>,
}

/// Where a record lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPlace {
    /// The kind's name, or its topic.
    pub source: String,
    pub partition: i32,
    pub offset: i64,
}

impl FromStr for RecordPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = || {
            let (partition, offset) = text.rsplit_once('@')?;
            let (source, partition) = partition.rsplit_once('-')?;
            let offset = offset.parse().ok().filter(|offset| *offset >= 0)?;
            let partition = partition.parse().ok().filter(|number| *number >= 0)?;
            Some(RecordPlace {
                source: source.to_owned(),
                partition,
                offset,
            })
        };
        parts().ok_or_else(|| match text.parse::<jiff::Timestamp>() {
            Ok(_) => "that is a time: give it with --time".to_owned(),
            Err(_) => "expected a source, a partition and an offset, as loan-3@1182".to_owned(),
        })
    }
}

/// Make up records of a library that does not exist
///
/// All kinds of record, always the same for the same seed and day. Nobody in
/// them exists: numbers come from ranges that nobody holds, mail goes to
/// example.org.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef generate --patrons 1000 --directory /tmp/library
  zeef generate --patrons 1 --seed 42 --stdout
  zeef generate --patrons 1000 --brokers 127.0.0.1:9092
  zeef run --directory /tmp/library            what to do with the first")]
#[command(group = clap::ArgGroup::new("target").required(true))]
pub struct GenerateArguments {
    /// How many patrons; each has about six other records
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub patrons: u64,
    /// The same seed gives the same records
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// The day that due dates and ages are counted from, as 2026-01-15; by default today
    #[arg(long, value_name = "DATE")]
    pub today: Option<jiff::civil::Date>,
    /// Add records that must not pass, one of each sort
    #[arg(long)]
    pub poison: bool,
    /// Write DIR/in/SOURCE.ndjson, as `zeef run --directory DIR` reads it
    #[arg(long, value_name = "DIR", group = "target")]
    pub directory: Option<PathBuf>,
    /// Publish to Kafka, as host:port,host:port, to the topics of the sources
    #[arg(long, value_name = "LIST", group = "target")]
    pub brokers: Option<String>,
    /// Write lines as `zeef project` reads them
    #[arg(long, group = "target")]
    pub stdout: bool,
    /// With --directory: add to files that are there
    #[arg(long, requires = "directory", conflicts_with = "force")]
    pub append: bool,
    /// With --directory: replace files that are there
    #[arg(long, requires = "directory")]
    pub force: bool,
    /// With --brokers: folder with zeef.toml, which names topics and properties
    #[arg(
        long,
        value_name = "DIR",
        env = "ZEEF_CONFIG",
        default_value = "config"
    )]
    pub config: PathBuf,
}

/// Measure what the policy costs on this machine
///
/// Decides the records of one source over and over, in memory, on one core, and
/// tells how many a second that is, and which share of the time each recipient,
/// the pseudonyms and the detectors have. All recipients of the config are in
/// one lane, as with `zeef project`; Kafka's share is not in it.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef bench                                    invented patrons
  zeef bench --source loan --count 50000        invented loans, with their patrons
  zeef bench --source loan --records records.ndjson
  zeef generate --patrons 5000 --stdout | zeef bench --records -
  zeef bench --json                             for a program

What is told:
  A figure is the median of the rounds, in processor time of the one thread that
  works (elsewhere than on Unix: in time on the clock).
  A recipient's share is what the time is shorter by where it serves no library,
  while its fields are still read: its gates, its pseudonyms, masks and
  detectors, and writing its outputs. On a busy machine a small share is lost in
  noise, and the shares do not add up to the whole.
  Reading is what is left where no recipient serves any library: parsing and
  checking, the patron's lookup, and keeping patrons for other records.
  The share of detectors is what the time is shorter by without any; that of
  pseudonyms is how long the same ones take by themselves. Both are a part of the
  recipients' shares, not beside them.
  Shares are taken over records spread evenly over all, where those are many.

Exit codes: 0 measured, 2 a source that does not exist or that no recipient reads,
or no record of it, 78 the config is wrong.")]
pub struct BenchArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// The source whose records are decided; by default patron, or else the
    /// first one that a recipient reads
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Lines as `zeef project` reads them, with the patrons where the source is
    /// joined with them; - is stdin. By default records are made up
    #[arg(long, value_name = "FILE")]
    pub records: Option<PathBuf>,
    /// How many records are made up
    #[arg(long, value_name = "N", default_value_t = 10_000, conflicts_with = "records", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub count: u32,
    /// How many rounds are measured
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: u32,
    /// Only the whole: the shares of a thousand recipients take long
    #[arg(long)]
    pub no_shares: bool,
    /// Write JSON instead of a table; every key has its unit
    #[arg(long)]
    pub json: bool,
}

/// List the records that wait for a patron that is not known yet
///
/// Shows where each lies, since when it waits, until when, and for whom; never
/// what is in it. Reads what is committed, also while a daemon runs.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef holds                            of the Kafka of config/zeef.toml
  zeef holds --directory /srv/zeef      of a directory
  zeef holds --json                     for a program

A held record is released when its patron comes. Until [holds] days are over it
waits; then, or where more than [holds] records of a partition wait, it becomes a
dead letter.

Exit codes: 0 listed, also where nothing is held, 1 the state cannot be read, 78
the config is wrong.")]
pub struct HoldsArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// The directory of `zeef run --directory`, instead of Kafka
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Write JSON instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub log: LogArguments,
}

/// Move recipients to the lanes that the config has them in
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef lanes apply --dry-run      what would be moved")]
pub struct LanesArguments {
    #[command(subcommand)]
    pub command: LanesCommand,
}

/// What can be done with lanes.
#[derive(Subcommand, Clone, Debug)]
pub enum LanesCommand {
    /// Move what recipients have to the states of their lanes
    ///
    /// A recipient that is in another lane of zeef.toml than what it has makes a
    /// start stop with 78. Stop all processes, run this, and start again: nothing
    /// is sent twice, and nothing is lost. Each partition is moved in one
    /// transaction; a command that was broken off goes on when it is run again. In
    /// a directory the next run does the same by itself.
    #[command(after_help = "Examples:
  zeef lanes apply --dry-run      what would be moved
  zeef lanes apply")]
    Apply(LanesApplyArguments),
}

/// What is moved.
#[derive(Args, Clone, Debug)]
pub struct LanesApplyArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// Say what would be moved, and move nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub log: LogArguments,
}

/// Make and list the keys of pseudonyms, and that of the state
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef keys new --all             a key for each recipient that has none, and the state
  zeef keys list")]
pub struct KeysArguments {
    #[command(subcommand)]
    pub command: KeysCommand,
}

/// What can be done with keys.
#[derive(Subcommand, Clone, Debug)]
pub enum KeysCommand {
    /// Make a key of 32 random bytes, in a file of its own
    ///
    /// The file is DIRECTORY/NAME.key, where DIRECTORY is `keys.directory` of
    /// zeef.toml; only its owner may read it. It holds one line, ID:SECRET, with
    /// the secret in base64url. A key that is there is never replaced: with
    /// another key all pseudonyms of a recipient change. `zeef.state` is zeef's
    /// own key: with another one it no longer knows what recipients have.
    #[command(after_help = "Examples:
  zeef keys new statistics
  zeef keys new zeef.state
  zeef keys new --all             one for each recipient that has none, and the state")]
    New(KeysNewArguments),
    /// Move the outputs of a recipient to a new key
    ///
    /// The key that is there is kept beside the new one, as NAME.key.ID. The next
    /// start takes back every output under the old key and sends it under the new
    /// one. Without this a start with another key is refused, as a recipient would
    /// have two pseudonyms for one patron.
    #[command(after_help = "Examples:
  zeef keys rotate statistics --reason 'yearly'
  zeef keys rotate statistics --reason 'the new key is in place already' --in-place")]
    Rotate(KeysRotateArguments),
    /// Show the key of each recipient and of the state: its id and where it
    /// lies; never the key
    #[command(after_help = "Examples:
  zeef keys list

Exit codes: 0 every key is there, 1 one is not, 78 the config is wrong.")]
    List(KeysListArguments),
}

/// Whose key is replaced.
#[derive(Args, Clone, Debug)]
pub struct KeysRotateArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// The recipient
    #[arg(value_name = "RECIPIENT")]
    pub recipient: String,
    /// The folder with in/, out/ and .zeef/, where there is no Kafka
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Why; kept beside it
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,
    /// The key that is there is the new one already (as from an environment
    /// variable): make none
    #[arg(long)]
    pub in_place: bool,
}

/// Whose key is made.
#[derive(Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("whose").required(true))]
pub struct KeysNewArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// The recipient, or `zeef.state`
    #[arg(value_name = "NAME", group = "whose")]
    pub recipient: Option<String>,
    /// Every enabled recipient that has no key yet, and the state
    #[arg(long, group = "whose")]
    pub all: bool,
}

/// Which config's keys are listed.
#[derive(Args, Clone, Debug)]
pub struct KeysListArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
}

/// Show all of it at work, in a folder of its own, with invented people
///
/// Makes up a library, runs the shipped config over it, and shows one patron's
/// full record beside what each partner got of it. Needs nothing installed.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef demo
  zeef demo --patrons 20000 --seed 7
  zeef demo --config config       with your own policy

The folder is kept: its path is told at the end.")]
pub struct DemoArguments {
    /// How many patrons
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub patrons: u64,
    /// The same seed gives the same people
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Folder with another config than the shipped one
    #[arg(long, value_name = "DIR")]
    pub config: Option<PathBuf>,
    /// A folder that does not exist yet; by default a new one for temporary files
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// Write a script that completes zeef's words in your shell
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef completions bash > ~/.local/share/bash-completion/completions/zeef
  zeef completions zsh > ~/.zfunc/_zeef
  zeef completions fish > ~/.config/fish/completions/zeef.fish")]
pub struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// The word of a log level on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevelArgument {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LogLevelArgument> for LogLevel {
    fn from(level: LogLevelArgument) -> LogLevel {
        match level {
            LogLevelArgument::Error => LogLevel::Error,
            LogLevelArgument::Warn => LogLevel::Warn,
            LogLevelArgument::Info => LogLevel::Info,
            LogLevelArgument::Debug => LogLevel::Debug,
            LogLevelArgument::Trace => LogLevel::Trace,
        }
    }
}
