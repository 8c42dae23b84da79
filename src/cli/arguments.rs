//! Every command's arguments, with their help.
//!
//! Nothing is read or done here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::config::settings::LogLevel;

#[derive(Args, Clone, Debug)]
pub struct ConfigArguments {
    /// Folder with zeef.toml, records/ and recipients/
    #[arg(long, value_name = "DIR", env = "ZEEF_CONFIG", default_value = "config")]
    pub config: PathBuf,
}

#[derive(Args, Clone, Debug)]
pub struct BrokerArguments {
    /// Kafka's brokers, as host:port,host:port; overrides zeef.toml
    #[arg(long, value_name = "LIST", env = "ZEEF_BROKERS")]
    pub brokers: Option<String>,
}

#[derive(Args, Clone, Debug, Default)]
pub struct OperatorArguments {
    /// Who does this, a role or a pseudonym: the audit says it where the ledger is enabled;
    /// overrides zeef.toml
    #[arg(long, value_name = "NAME", env = "ZEEF_OPERATOR")]
    pub operator: Option<String>,
}

#[derive(Args, Clone, Copy, Debug)]
pub struct LogArguments {
    /// Minimum level of log lines on stderr; overrides zeef.toml and RUST_LOG
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<LogLevelArgument>,
}

/// Give each recipient its records: the daemon
///
/// Reads records from Kafka, decides for each recipient, and publishes what it may see;
/// each batch is one transaction. With --directory it does the same with files:
/// DIR/in/SOURCE.ndjson in, DIR/out/RECIPIENT/TOPIC.ndjson out.
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
    pub operator: OperatorArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// Read DIR/in/SOURCE.ndjson and write DIR/out/RECIPIENT/TOPIC.ndjson instead
    /// of Kafka. Inputs may only grow
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// With --directory: keep running when the input ends, and pick up new lines, also of raw
    /// files of enabled intakes
    #[arg(long, requires = "directory", conflicts_with = "until_end")]
    pub follow: bool,
    /// With --directory: the files of DIR/snapshot are a whole export; what is in none of
    /// them any more is erased or gone
    #[arg(long, requires = "directory", conflicts_with = "follow")]
    pub snapshot: bool,
    /// With --snapshot: how much of a source may be missing, in percent, for this run
    #[arg(long, value_name = "PERCENT", requires = "snapshot",
        value_parser = clap::value_parser!(u32).range(0..=100))]
    pub max_removed: Option<u32>,
    /// Stop with exit 0 once everything that was there at the start is committed; the
    /// default with --directory, unless --follow is given
    #[arg(long)]
    pub until_end: bool,
    /// Name of the process, the same after a restart; the host's name by default
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    /// Address for metrics and health, such as 127.0.0.1:9464, or none
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<AdminAddress>,
    #[command(flatten)]
    pub log: LogArguments,
}

/// The address for metrics and health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    Disabled,
    At(SocketAddr),
}

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(AdminAddress::Disabled),
            _ => text.parse().map(AdminAddress::At).map_err(|_| {
                "expected an address and a port, such as 127.0.0.1:9464, or none".to_owned()
            }),
        }
    }
}

impl AdminAddress {
    #[must_use]
    pub fn address(self) -> Option<SocketAddr> {
        match self {
            AdminAddress::Disabled => None,
            AdminAddress::At(address) => Some(address),
        }
    }
}

/// Show which topics should exist on Kafka, and which do
///
/// Compares partitions, compaction, retention and replication with what the policy needs.
/// With --acls it prints the commands that give zeef, its operators and each recipient the
/// rights they need, and connects to nothing.
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
    /// Create missing topics
    #[arg(long)]
    pub apply: bool,
    /// Only print the commands that set the rights (ACLs)
    #[arg(long, conflicts_with = "apply")]
    pub acls: bool,
    #[command(flatten)]
    pub log: LogArguments,
}

/// Examine patrons, consents and objections, and repair what is misplaced
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef gates census               what lies there and would not count
  zeef gates repair --dry-run     what would be written once more in its place")]
pub struct GatesArguments {
    #[command(subcommand)]
    pub command: GatesCommand,
}

#[derive(Subcommand, Clone, Debug)]
pub enum GatesCommand {
    /// Count records in the gate sources that would not count
    ///
    /// Reads all patrons, consents and objections. Counts records that are misplaced, have
    /// no key, are unreadable, have a key that is nearly a patron's, or are null, and the
    /// patrons that they concern. The first start of a deployment does the same.
    #[command(after_help = "Examples:
  zeef gates census
  zeef gates census --json        for a program

Exit codes: 0 nothing is misplaced, 1 something is, 78 the config is wrong.")]
    Census(GatesCensusArguments),
    /// Rewrite misplaced records to the right partition
    ///
    /// A record whose key belongs in another partition does not count where it is. It is
    /// written again, with the same key, value and headers, where `[kafka] partitioner`
    /// puts its key, followed by the later records of that key that are already there, so
    /// that each key's records end in the order in which they were written. Repaired
    /// records are noted in `zeef.commands` and are not written again. First make its
    /// producer use the right partitioner.
    #[command(after_help = "Examples:
  zeef gates repair --dry-run
  zeef gates repair --apply
  zeef gates repair --apply --topic consent
  zeef gates repair --apply --topic loan    writes nothing: sets its misplaced records aside

Exit codes: 0 fine, 1 failed (what was written is noted; run it again), 2 no such
source, 78 the config is wrong.")]
    Repair(GatesRepairArguments),
}

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

#[derive(Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct GatesRepairArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub operator: OperatorArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// Only show what would be written
    #[arg(long, group = "what")]
    pub dry_run: bool,
    /// Write it
    #[arg(long, group = "what")]
    pub apply: bool,
    /// Only this source; may be given several times. For a source that is no gate nothing
    /// is written: its misplaced records are dead letters already, and no longer count
    /// against its limit
    #[arg(long = "topic", value_name = "NAME")]
    pub topics: Vec<String>,
    #[command(flatten)]
    pub log: LogArguments,
}

/// Keep only the last line of each key in each output file
///
/// Until then, a value that was taken back or corrected stays above the line that did so.
/// Nothing else changes: read from top to bottom, a file says the same. The null of a key
/// that was taken back stays for readers of an older line, and so do lines without a key,
/// such as dead letters. A run compacts at its end if something was taken back.
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

/// Continue despite findings
///
/// A start that finds something lost or changed says what, what would follow, and a code. A
/// code accepts that finding and no other, for all processes, and only until something is
/// committed. On Kafka it is written to the topic zeef.commands; in a directory to .zeef,
/// with the reason.
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
    pub operator: OperatorArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// As shown in the message
    #[arg(value_name = "CODE", required = true)]
    pub codes: Vec<String>,
    /// The folder with in/, out/ and .zeef/, instead of Kafka
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Reason; kept with the code
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,
}

/// Send everything that a recipient has again
///
/// For a topic or file that was lost and recreated: before it continues, the next start
/// sends every output that the recipient has under the same key, with the present value of
/// its record.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef refill statistics --reason 'the topic was deleted by mistake'

Exit codes: 0 written down, 1 Kafka does not answer, 2 there is no such recipient, 75 a
run has the directory, 78 the config is wrong.")]
pub struct RefillArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub operator: OperatorArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// The recipient
    #[arg(value_name = "RECIPIENT")]
    pub recipient: String,
    /// The folder with in/, out/ and .zeef/, instead of Kafka
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Reason; kept with the command
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,
}

/// Make a lane start over, without knowing what its recipients have
///
/// Removes its positions and its state while no process runs it; the next run reads all
/// input from its beginning, and sends again what recipients may have. Recipients keep what
/// it does not send again: zeef can never take that back, and says how much they have.
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
    pub operator: OperatorArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// The lane
    #[arg(value_name = "LANE")]
    pub lane: String,
    /// The folder with in/, out/ and .zeef/, instead of Kafka
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Reason; kept in the topic zeef.commands
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["directory", "dry_run"])]
    pub reason: Option<String>,
    /// Only show what it would do
    #[arg(long)]
    pub dry_run: bool,
}

/// Check the config: every mistake of every file, or what the policy says
///
/// Connects to nothing. Each mistake comes with its file and line, what was found and what
/// was expected. With --against it reads records as a run would, and says of each line what
/// is wrong: its number, a reason and a JSON pointer; never a value.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef check
  zeef check --config /etc/zeef
  zeef check --against records.ndjson               lines with source, key and value
  zeef check --against loan.ndjson --source loan    lines with key and value

Exit codes: 0 the config, or every record, is fine, 1 a record is not, 2 no such kind, 78
the config is wrong.")]
pub struct CheckArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// Check the records of this file instead
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// With --against: the kind of record of lines that name no source
    #[arg(long, value_name = "KIND", requires = "against")]
    pub source: Option<String>,
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
  zeef list conversions             how an intake makes a field of a raw row
  zeef list matrix                  which field goes to whom, and behind which mask
  zeef list matrix --format csv     the same as a table for a spreadsheet
  zeef list rules --json            for a program

Exit codes: 0 listed, 2 there is none of that name, 78 the config is wrong.")]
pub struct ListArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// What to list
    #[arg(value_name = "WHAT")]
    pub what: ListSubject,
    /// Only the one with this name; for fields, the kind of record
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// For objections: the directory of `zeef run --directory`, instead of Kafka
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Write JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// For the matrix: the format of the table
    #[arg(long, value_name = "FORMAT", value_enum, conflicts_with = "json")]
    pub format: Option<MatrixFormat>,
    #[command(flatten)]
    pub log: LogArguments,
}

/// The formats of the matrix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum MatrixFormat {
    /// A table as wide as the terminal, in parts if needed
    #[default]
    Text,
    /// A table with a header row (RFC 4180)
    Csv,
    /// A table in Markdown
    Markdown,
    /// One object
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListSubject {
    /// Who gets what of which records, for what purpose and on which legal basis
    Recipients,
    /// Named functions from one value to a poorer value, with examples
    Masks,
    /// Named finders of personal data in free text, with examples
    Detectors,
    /// Every known field of every kind of record: its type and its class
    Fields,
    /// Every flow, gate and rule of the libraries' documents: what enforces it, where that is
    /// tested, and what is proposed, pending or switched off
    Flows,
    /// What a policy must not say, and why
    Rules,
    /// Why a record is not released, as in metrics and dead letters
    Reasons,
    /// How an intake makes a field of a raw row: expressions and conversions, with
    /// examples, and why it refuses one
    Conversions,
    /// Every field that goes to a recipient, with the mask for each; by name of a recipient
    /// its column alone
    Matrix,
    /// Objections that do not stop every recipient with their purpose: where they are, for
    /// whoever has to answer them
    Objections,
}

/// Show what each recipient would get: records on stdin, outputs on stdout
///
/// Reads lines {"source":...,"key":...,"value":...} and writes lines
/// {"topic":...,"key":...,"value":...}. Touches neither Kafka nor files. As in a run,
/// patrons, consents and objections are read before all other lines. A summary without any
/// value goes to stderr.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef generate --patrons 10 --stdout | zeef project
  zeef project --recipient statistics < records.ndjson
  zeef project --intake config/intake/koha-debezium.toml < dump.ndjson
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
    /// Read raw messages of a library system, as `zeef intake convert` does with this mapping
    #[arg(long, value_name = "FILE")]
    pub intake: Option<PathBuf>,
    /// Decide as of this time, such as 2026-01-15T12:00:00Z; now by default
    #[arg(long, alias = "at", value_name = "TIME")]
    pub time: Option<jiff::Timestamp>,
    /// Decide each line as it comes, by the lines before it, instead of reading patrons,
    /// consents and objections first
    #[arg(long)]
    pub in_order: bool,
    /// Write no summary
    #[arg(long, short)]
    pub quiet: bool,
}

/// Convert what a library system writes to canonical records
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef intake convert --intake config/intake/koha-debezium.toml dump.ndjson

A mapping (config/intake/NAME.toml) says which columns become which fields; what it does
not name is not read. `zeef check` checks them all.")]
pub struct IntakeArguments {
    #[command(subcommand)]
    pub command: IntakeCommand,
}

/// What can be done with an intake.
#[derive(Subcommand, Clone, Debug)]
pub enum IntakeCommand {
    /// Convert raw messages in files, or on stdin
    ///
    /// Reads lines {"topic":...,"value":...}, as Debezium or FOLIO wrote the messages
    /// and as `kcat -J -C -e -t TOPIC` shows them, and writes lines {"source":...,"key":...,"value":...}
    /// as `zeef project` reads them. Lookup tables are read first, from all files.
    /// Refused messages are counted on stderr by reason, with their lines and what to
    /// do, and without any value.
    #[command(after_help = "Examples:
  zeef intake convert --intake config/intake/koha-debezium.toml dump.ndjson
  zeef intake convert --intake config/intake/folio.toml - < dump.ndjson | zeef project
  zeef intake convert --intake config/intake/folio.toml dump.ndjson --directory /srv/zeef

Exit codes: 0 all of it is converted, 1 something was refused and the rest is written, 2 no
such file, 78 the config is wrong.")]
    Convert(IntakeConvertArguments),
    /// Check a mapping: all its mistakes, which fields of each kind it fills, and what becomes of
    /// messages
    ///
    /// With FILEs it reads their messages as `convert` does and writes nothing but counts.
    #[command(after_help = "Examples:
  zeef intake check --intake config/intake/koha-debezium.toml
  zeef intake check --intake config/intake/nightly-csv.toml leners.csv uitleningen.csv

Exit codes: 0 fine, 1 something was refused, 2 no such file, 78 the config is wrong.")]
    Check(IntakeCheckArguments),
    /// List the columns that a mapping reads, by topic: no other one has to leave the library
    /// system
    #[command(after_help = "Examples:
  zeef intake columns --intake config/intake/koha-debezium.toml
  zeef intake columns --intake config/intake/folio-debezium.toml --json")]
    Columns(IntakeColumnsArguments),
    /// Explain what a mapping makes of a message, field by field
    ///
    /// Shows paths, types and steps, and values only with --values.
    #[command(after_help = "Examples:
  zeef intake explain --intake config/intake/koha-debezium.toml dump.ndjson --line 7
  zeef intake explain --intake config/intake/nightly-csv.toml leners.csv --values

Exit codes: 0 fine, 2 no such file or line, 78 the config is wrong.")]
    Explain(IntakeExplainArguments),
    /// After a new snapshot of the library system, take back what is in it no longer
    ///
    /// `begin` before the snapshot, `end` once an enabled intake has read it and zeef is stopped:
    /// what the intake has not written since `begin` is gone, a patron erased, a consent
    /// withdrawn. Objections and refusals stay.
    #[command(after_help = "Examples:
  zeef intake resync begin koha-debezium --to resync.json
  zeef intake resync end koha-debezium --from resync.json --dry-run
  zeef intake resync end koha-debezium --from resync.json

Exit codes: 0 fine, 1 Kafka is unreachable, 2 no such intake or file, 70 more than a tenth of
a source would be taken back, 75 zeef runs, 78 the config is wrong, or something is unread.")]
    Resync(IntakeResyncArguments),
}

#[derive(Args, Clone, Debug)]
pub struct IntakeResyncArguments {
    #[command(subcommand)]
    pub command: IntakeResyncCommand,
}

#[derive(Subcommand, Clone, Debug)]
pub enum IntakeResyncCommand {
    /// Note where the sources end, before the library system writes everything anew
    #[command(after_help = "Examples:
  zeef intake resync begin koha-debezium --to resync.json")]
    Begin(IntakeResyncBeginArguments),
    /// Take back what was not written since `begin`
    #[command(after_help = "Examples:
  zeef intake resync end koha-debezium --from resync.json --dry-run
  zeef intake resync end koha-debezium --from resync.json --max-removed 30")]
    End(IntakeResyncEndArguments),
}

/// What is noted.
#[derive(Args, Clone, Debug)]
pub struct IntakeResyncBeginArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// An enabled intake
    #[arg(value_name = "INTAKE")]
    pub name: String,
    /// The file to note it in
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
}

/// What is taken back.
#[derive(Args, Clone, Debug)]
pub struct IntakeResyncEndArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// An enabled intake
    #[arg(value_name = "INTAKE")]
    pub name: String,
    /// The file of `begin`
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// How much of a source may be taken back, in percent
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub max_removed: Option<u32>,
    /// Only show how much it would be
    #[arg(long)]
    pub dry_run: bool,
}

/// What is checked.
#[derive(Args, Clone, Debug)]
pub struct IntakeCheckArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// The mapping
    #[arg(long, value_name = "FILE")]
    pub intake: PathBuf,
    /// Files with a raw message a line, or rows as CSV; `-` is stdin
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Whose columns are listed.
#[derive(Args, Clone, Debug)]
pub struct IntakeColumnsArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// The mapping
    #[arg(long, value_name = "FILE")]
    pub intake: PathBuf,
    /// For programs: a list as JSON
    #[arg(long)]
    pub json: bool,
}

/// What is explained.
#[derive(Args, Clone, Debug)]
pub struct IntakeExplainArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// The mapping
    #[arg(long, value_name = "FILE")]
    pub intake: PathBuf,
    /// A file with a raw message a line, or rows as CSV; `-` is stdin
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only the message of this line
    #[arg(long, value_name = "NUMBER")]
    pub line: Option<usize>,
    /// Show the values, too: use it where you may see the message itself
    #[arg(long)]
    pub values: bool,
}

/// What is converted.
#[derive(Args, Clone, Debug)]
pub struct IntakeConvertArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// The mapping
    #[arg(long, value_name = "FILE")]
    pub intake: PathBuf,
    /// Files with a raw message a line, or rows as CSV; `-` is stdin
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// With --directory: the messages are a whole export; write DIR/snapshot/SOURCE.ndjson
    /// anew, as `zeef run --directory DIR --snapshot` reads them
    #[arg(long, requires = "directory")]
    pub snapshot: bool,
    /// Append to DIR/in/SOURCE.ndjson, as `zeef run --directory` reads them, instead of
    /// stdout
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Write no counts
    #[arg(long, short)]
    pub quiet: bool,
}

/// Show why a recipient gets a record, field by field, or why it does not
///
/// Reads the same lines as `zeef project`, from FILE or stdin, or what zeef itself reads: a
/// directory, or Kafka. For each record of the recipient's source that is asked for, it
/// explains each gate, then each output field with its origin, mask and outcome, and until
/// when time alone does not change the answer. It shows values: use it where you may see
/// the record itself.
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
    #[command(flatten)]
    pub operator: OperatorArguments,
    /// The recipient
    #[arg(value_name = "RECIPIENT")]
    pub recipient: String,
    #[command(flatten)]
    pub from: ExplainInput,
    /// Only the record with this id of its own (for a patron, the patron's)
    #[arg(long, value_name = "ID", conflicts_with = "at")]
    pub id: Option<String>,
    /// Only the record at this place, such as loan-3@1182
    #[arg(long, value_name = "PLACE")]
    pub at: Option<RecordPlaceArgument>,
    /// Decide as of this time, such as 2026-01-15T12:00:00Z; now by default
    #[arg(long, value_name = "TIME")]
    pub time: Option<jiff::Timestamp>,
    /// Also show the output as it would be published
    #[arg(long)]
    pub output: bool,
    #[command(flatten)]
    pub log: LogArguments,
}

#[derive(Args, Clone, Debug)]
#[group(multiple = false)]
pub struct ExplainInput {
    /// Lines as for `zeef project`; stdin by default
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The directory of `zeef run --directory`; with --id or --at
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Kafka's brokers, as host:port,host:port; with --id or --at
    #[arg(long, value_name = "LIST")]
    pub brokers: Option<String>,
}

/// The coordinates of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPlaceArgument {
    /// The kind's name, or its topic.
    pub source: String,
    pub partition: i32,
    pub offset: i64,
}

impl FromStr for RecordPlaceArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = || {
            let (partition, offset) = text.rsplit_once('@')?;
            let (source, partition) = partition.rsplit_once('-')?;
            let offset = offset.parse().ok().filter(|offset| *offset >= 0)?;
            let partition = partition.parse().ok().filter(|number| *number >= 0)?;
            Some(RecordPlaceArgument { source: source.to_owned(), partition, offset })
        };
        parts().ok_or_else(|| match text.parse::<jiff::Timestamp>() {
            Ok(_) => "that is a time: give it with --time".to_owned(),
            Err(_) => "expected a source, a partition and an offset, as loan-3@1182".to_owned(),
        })
    }
}

/// Generate records of a library that does not exist
///
/// All kinds of record, always the same for the same seed and day. Nobody in them exists:
/// numbers come from unassigned ranges, mail goes to example.org.
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
    /// The day that due dates and ages are counted from, such as 2026-01-15; today by
    /// default
    #[arg(long, value_name = "DATE")]
    pub today: Option<jiff::civil::Date>,
    /// Add records that must not pass, one of each kind
    #[arg(long)]
    pub poison: bool,
    /// Write DIR/in/SOURCE.ndjson, as `zeef run --directory DIR` reads it
    #[arg(long, value_name = "DIR", group = "target")]
    pub directory: Option<PathBuf>,
    /// Publish to Kafka, as host:port,host:port, to the topics of the sources
    #[arg(long, value_name = "LIST", group = "target")]
    pub brokers: Option<String>,
    /// Write lines for `zeef project`
    #[arg(long, group = "target")]
    pub stdout: bool,
    /// With --directory: append to existing files
    #[arg(long, requires = "directory", conflicts_with = "force")]
    pub append: bool,
    /// With --directory: replace existing files
    #[arg(long, requires = "directory")]
    pub force: bool,
    /// With --brokers: folder with zeef.toml, which names topics and properties
    #[arg(long, value_name = "DIR", env = "ZEEF_CONFIG", default_value = "config")]
    pub config: PathBuf,
}

/// Measure what the policy costs on this machine
///
/// Decides the records of one source over and over, in memory, on one core, and reports the
/// records per second and the share of time for each recipient, the pseudonyms and the
/// detectors. All recipients of the config are in one lane, as with `zeef project`; Kafka's
/// share is not included.
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
    /// The source whose records are decided; patron by default, or else the first one that
    /// a recipient reads
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Lines as for `zeef project`, including the patrons if the source is joined with
    /// them; - is stdin. Records are generated by default
    #[arg(long, value_name = "FILE")]
    pub records: Option<PathBuf>,
    /// How many records to generate
    #[arg(long, value_name = "N", default_value_t = 10_000, conflicts_with = "records", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub count: u32,
    /// How many rounds to measure
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: u32,
    /// Only the total: the shares of a thousand recipients take long
    #[arg(long)]
    pub no_shares: bool,
    /// Write JSON instead of a table; every key has its unit
    #[arg(long)]
    pub json: bool,
}

/// Write what a recipient has now as a file for people or another system
///
/// Reads the recipient's outputs, from Kafka or a directory, and writes the last version of
/// each that was not taken back. Without --out it writes to stdout; a file is readable by
/// its owner alone, and replaces an existing one only when it is whole. A recipient that is
/// switched off has no exports.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef export deurwaarder > debts.csv
  zeef export deurwaarder --directory /srv/zeef --excel --out debts.csv
  zeef export deurwaarder --as pdf --out debts.pdf
  zeef export kb-recognition --library NL-AmrBKW --as xml --out kb.xml --xsd kb.xsd
  zeef export reservation-slip --as slips > /dev/lp0

The formats are described in docs/exports.md.

Exit codes: 0 written, also where the recipient has nothing, 1 it cannot be read or
written, 2 no such recipient, or it has no such export, 78 the config is wrong.")]
pub struct ExportArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub operator: OperatorArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// The recipient
    #[arg(value_name = "RECIPIENT")]
    pub recipient: String,
    /// Only outputs of this library
    #[arg(long, value_name = "ISIL")]
    pub library: Option<String>,
    /// The format
    #[arg(long = "as", value_name = "FORMAT", value_enum, default_value_t)]
    pub format: ExportFormat,
    /// With csv: semicolons and a byte order mark, as a Dutch Excel wants
    #[arg(long)]
    pub excel: bool,
    /// Write to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// With xml: also write its schema to this file
    #[arg(long, value_name = "FILE")]
    pub xsd: Option<PathBuf>,
    /// The directory of `zeef run --directory`, instead of Kafka
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    #[command(flatten)]
    pub log: LogArguments,
}

/// The formats of exports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// A table with a header row (RFC 4180)
    #[default]
    Csv,
    /// One array
    Json,
    /// An output a line
    Ndjson,
    /// XML, valid by the schema that --xsd writes
    Xml,
    /// A list on paper, with a heading, page numbers and sums
    Pdf,
    /// An order to collect direct debits (pain.008.001.08), by `[export.sepa]` of zeef.toml
    Pain008,
    /// Text for a slip printer of 42 columns
    Slips,
}

/// Write what a partner may rely on, or what an upstream has to write
///
/// Follows from the config alone and connects to nothing. A contract has a version of its
/// own, which changes only when the contract does; each output carries it in the header
/// `zeef-contract-version`. With --source it is the JSON Schema of the records of a kind.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef contract statistics                            a page for people
  zeef contract statistics --lang nl                  the same in Dutch
  zeef contract statistics --format json-schema
  zeef contract statistics --out contracts            every format, as files
  zeef contract --source loan                         the schema of records of loans

The formats are described in docs/contracts.md.

Exit codes: 0 written, 1 it cannot be written, 2 no such recipient or kind, 78 the
config is wrong.")]
pub struct ContractArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// The recipient
    #[arg(value_name = "RECIPIENT", conflicts_with = "source", required_unless_present = "source")]
    pub recipient: Option<String>,
    /// The schema of a kind of record instead of a contract
    #[arg(long, value_name = "KIND", conflicts_with_all = ["format", "odcs"])]
    pub source: Option<String>,
    /// The format; by default a page, with --out every one
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: Option<ContractFormat>,
    /// The same as `--format odcs`
    #[arg(long, conflicts_with = "format")]
    pub odcs: bool,
    /// The language of texts for people
    #[arg(long, value_name = "LANG", value_enum, default_value_t)]
    pub lang: LanguageArgument,
    /// Write files into this folder instead of stdout
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// The formats of contracts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ContractFormat {
    /// JSON Schema 2020-12 of an output
    JsonSchema,
    /// AsyncAPI 3.0: topics, messages, headers
    Asyncapi,
    /// Markdown for people
    #[value(name = "page", alias = "markdown")]
    Markdown,
    /// Open Data Contract Standard 3.1
    Odcs,
    /// Avro schema, of a recipient with `format = "avro"`
    Avro,
}

impl ContractFormat {
    /// Those of every recipient.
    pub const ALL: [ContractFormat; 4] = [
        ContractFormat::JsonSchema,
        ContractFormat::Asyncapi,
        ContractFormat::Markdown,
        ContractFormat::Odcs,
    ];
}

/// The language of texts for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LanguageArgument {
    /// English
    #[default]
    En,
    /// Dutch
    Nl,
}

/// Write the record of processing activities (GDPR art. 30), in Dutch
///
/// From the config that runs and from config/register, which has who answers and the
/// activities that zeef takes no part in. Complete, or it says what is missing. Connects to
/// nothing.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef register > register.md
  zeef register --format html --out register.html
  zeef register --format csv                        a row for each processing
  zeef register --rrn                               where national numbers lie and go

What the files of config/register say: docs/register.md.

Exit codes: 0 complete, 1 something is missing (it is written all the same), 78 the
config is wrong.")]
pub struct RegisterArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// The format
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: RegisterFormat,
    /// Only where national numbers (BSN, rijksregisternummer) lie and go
    #[arg(long)]
    pub rrn: bool,
    /// Write to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// The formats of the register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RegisterFormat {
    #[default]
    Markdown,
    /// A table with a header row (RFC 4180)
    Csv,
    /// A page that needs nothing beside it
    Html,
    Json,
}

/// List the records that wait for a patron that is not known yet
///
/// Shows where each one is, since when and until when it waits, and for whom; never its
/// content. Reads what is committed, even while a daemon runs.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef holds                            of the Kafka of config/zeef.toml
  zeef holds --directory /srv/zeef      of a directory
  zeef holds --json                     for a program
  zeef holds --overdue                  whose source has not deleted its own copy in time

A held record is released when its patron comes. Until [holds] days are over it
waits; then, or where more than [holds] records of a partition wait, it becomes a
dead letter.

A referral says when the library deleted its own copy. --overdue lists those that do
not say so within the days that the record's kind gives it.

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
    /// List the records whose source should have deleted its own copy by now
    #[arg(long)]
    pub overdue: bool,
    /// Write JSON instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub log: LogArguments,
}

/// Tell which retractions recipients have acknowledged, and which not
///
/// Of recipients whose file has `ack`. Compares the retractions that the ledger has with what
/// recipients acknowledge; where a file names its consumer group, also tells how far it has read.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef retractions                          how many are open and overdue, by recipient
  zeef retractions --open                   each one that is not acknowledged
  zeef retractions --open ill-library --json

An id is the header zeef-retraction-id that the recipient got; it is not shown of a message that
its topic no longer has, and in a directory. No patron is named.

Exit codes: 0 told, also where something is overdue, 1 it cannot be read, 2 no such recipient, 78
the config is wrong, or nobody acknowledges.")]
pub struct RetractionsArguments {
    #[command(flatten)]
    pub source: LedgerSourceArguments,
    /// Only this recipient
    #[arg(value_name = "RECIPIENT")]
    pub recipient: Option<String>,
    /// List each retraction that is not acknowledged
    #[arg(long)]
    pub open: bool,
}

/// Ask the ledger who received what, and verify it
///
/// The ledger has a line for each record and recipient that something was given to, taken
/// from or refused to, where `[ledger] enabled` of zeef.toml says so. No line has a value of
/// a record. See docs/ledger.md.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef ledger verify
  zeef ledger patron 1042 --lang nl
  zeef ledger recipient reservation-slip --from 2026-11-01 --until 2026-12-01")]
pub struct LedgerArguments {
    #[command(subcommand)]
    pub command: LedgerCommand,
}

#[derive(Subcommand, Clone, Debug)]
pub enum LedgerCommand {
    /// Verify that no line was changed, dropped, swapped or invented
    ///
    /// Follows the digests of every chain from its first block to the head that the state's
    /// mark has, and the checkpoints behind each other, and names what is not as zeef wrote it.
    /// A change that somebody with all keys made to ledger, states and checkpoints alike shows
    /// only beside a checkpoint that was kept outside: see --from.
    #[command(after_help = "Examples:
  zeef ledger verify                          of the Kafka of config/zeef.toml
  zeef ledger verify --directory /srv/zeef    of a directory
  zeef ledger verify --from /mnt/elsewhere/zeef.checkpoint
  zeef ledger verify --heads heads.json       keep the ends of the chains for another verifier

Exit codes: 0 all is as zeef wrote it, 1 something is not, 78 the config is wrong.")]
    Verify(LedgerVerifyArguments),
    /// Tell which recipients have, or had, what of a patron (art. 15)
    ///
    /// What they have now comes first, as the state says; then what happened, as the ledger
    /// says. It names fields, and shows their values only with --values.
    #[command(after_help = "Examples:
  zeef ledger patron 1042
  zeef ledger patron 1042 --lang nl --directory /srv/zeef
  zeef ledger patron 1042 --json
  zeef ledger patron 1042 --values --identity-checked passport

--values reads what recipients have of the patron from their topics, or from out/ of a directory, and
shows it. It needs an operator, and is a line of the audit first.

Exit codes: 0 answered, also where nobody has anything, 1 it cannot be read, 78 the
config is wrong.")]
    Patron(LedgerPatronCommandArguments),
    /// Tell how many patrons, records and fields a recipient received in a time (art. 33)
    ///
    /// A patron counts once in each year, as its reference changes with the year.
    #[command(after_help = "Examples:
  zeef ledger recipient reservation-slip --from 2026-11-01 --until 2026-12-01
  zeef ledger recipient deurwaarder --from 2026-01-01 --until 2026-07-01 --field iban --json

Exit codes: 0 answered, 1 it cannot be read, 78 the config is wrong.")]
    Recipient(LedgerRecipientArguments),
    /// Count the ledger's blocks, lines and bytes
    #[command(after_help = "Examples:
  zeef ledger stats
  zeef ledger stats --directory /srv/zeef --json")]
    Stats(LedgerStatsArguments),
    /// Write the lines in a form of others, on stdout
    ///
    /// ldv: a line of JSON for each, as the read interface of Logboek Dataverwerkingen has
    /// them. otlp: a request of OTLP over HTTP with JSON for each block. csv: a table.
    #[command(after_help = "Examples:
  zeef ledger export --as csv --from 2026-11-01 --until 2026-12-01 > november.csv
  zeef ledger export --as ldv --directory /srv/zeef

Exit codes: 0 written, 1 it cannot be read, 78 the config is wrong.")]
    Export(LedgerExportArguments),
    /// List who looked patrons up, exported, and gave commands that change something
    ///
    /// A patron is shown by its reference of the year, as in the ledger; with --patron it is
    /// asked who looked one up, which is itself a look-up.
    #[command(after_help = "Examples:
  zeef ledger audit
  zeef ledger audit --from 2026-11-01 --until 2026-12-01 --json
  zeef ledger audit --patron 1042    who looked this patron up

Exit codes: 0 listed, 1 it cannot be read or is not as zeef wrote it, 78 the config is wrong.")]
    Audit(LedgerAuditArguments),
    /// Have somebody else state when a checkpoint was there (RFC 3161)
    ///
    /// An authority signs the digest of the newest checkpoint with its time, and learns nothing
    /// else. `zeef ledger verify` tells up to where timestamps hold. See docs/ledger.md.
    Timestamp(LedgerTimestampArguments),
    /// Forget a year, and those before it: destroy the key of its references, delete its lines
    ///
    /// Stop all processes first. Its lines go, and the key file has the next year's key
    /// afterwards, so that no copy of a line names a patron any more: destroy copies of the key
    /// yourself. Refused for a year that is not over, or whose `keep_years` are not. Run an
    /// interrupted command again to finish it.
    #[command(after_help = "Examples:
  zeef ledger forget 2020 --dry-run
  zeef ledger forget 2020 --operator privacy-desk

Exit codes: 0 forgotten, 1 failed: do it again, 2 the year has to be kept, 70 the folder is not as
it was left, 75 a run has it, 78 the config is wrong, or something runs.")]
    Forget(LedgerForgetArguments),
    /// Answer the read interface of Logboek Dataverwerkingen over HTTP
    ///
    /// POST /processing-activities, extension 1.1.0 of the standard. A request needs the token, and
    /// names one data subject; each that is answered is a line of the audit first. It has no TLS.
    #[command(after_help = "Examples:
  zeef ledger serve --token-file /etc/zeef/read.token --operator portal
  zeef ledger serve --token-file read.token --listen 0.0.0.0:9465 --tls-proxy nginx

The body is a JSON object with dpl.core.data_subject_id; its type is `patron` for the library's id of
a patron, or `zeef-ledger-patron`, the default, for the reference that lines have. traceId, startTime,
endTime and dpl.core.processing_activity_id narrow the answer.

Exit codes: 0 stopped by a signal, 1 failed, 2 the command line is wrong, 78 the config or the token
is wrong.")]
    Serve(LedgerServeArguments),
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef ledger timestamp request --url http://tsa.example.org --ca tsa-ca.pem
  zeef ledger timestamp request --out newest.tsq
  zeef ledger timestamp answer newest.tsr --ca tsa-ca.pem
  zeef ledger timestamp list")]
pub struct LedgerTimestampArguments {
    #[command(subcommand)]
    pub command: LedgerTimestampCommand,
}

#[derive(Subcommand, Clone, Debug)]
pub enum LedgerTimestampCommand {
    /// Make a request for the newest checkpoint, and send it or write it to a file
    #[command(after_help = "Examples:
  zeef ledger timestamp request                      writes checkpoint-NUMBER.tsq
  zeef ledger timestamp request --url http://tsa.example.org --ca tsa-ca.pem

The file goes to an authority as the body of a POST with Content-Type application/timestamp-query.

Exit codes: 0 done, 1 the checkpoints are not as zeef wrote them, or the authority gave no answer that
holds, 2 the command line is wrong, 78 the config is wrong.")]
    Request(TimestampRequestArguments),
    /// Verify an authority's answer to a request, and keep it
    #[command(after_help = "Examples:
  zeef ledger timestamp answer newest.tsr --ca tsa-ca.pem

Exit codes: 0 it holds and is kept, 1 it does not hold, 78 the config is wrong.")]
    Answer(TimestampAnswerArguments),
    /// List the timestamps that are kept, and requests without an answer
    #[command(after_help = "Examples:
  zeef ledger timestamp list --ca tsa-ca.pem
  zeef ledger timestamp list --json

Exit codes: 0 all of them hold, 1 one does not, 78 the config is wrong.")]
    List(TimestampListArguments),
}

/// Whose checkpoints and timestamps are believed.
#[derive(Args, Clone, Debug, Default)]
pub struct TimestampTrustArguments {
    /// Certificates in PEM of timestamp authorities, or of those that sign theirs: a timestamp of
    /// no such authority does not hold; may be given several times
    #[arg(long = "ca", value_name = "FILE")]
    pub authorities: Vec<PathBuf>,
    /// Also accept checkpoints that this key signed, as NAME+HASH+KEY; may be given several times
    #[arg(long = "key", value_name = "KEY")]
    pub keys: Vec<String>,
}

#[derive(Args, Clone, Debug)]
pub struct TimestampRequestArguments {
    #[command(flatten)]
    pub source: LedgerSourceArguments,
    #[command(flatten)]
    pub trust: TimestampTrustArguments,
    /// Write the request to this file; checkpoint-NUMBER.tsq by default
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    pub out: Option<PathBuf>,
    /// Send the request to the authority at this address, and keep its answer
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub struct TimestampAnswerArguments {
    #[command(flatten)]
    pub source: LedgerSourceArguments,
    #[command(flatten)]
    pub trust: TimestampTrustArguments,
    /// The answer, in DER
    #[arg(value_name = "FILE")]
    pub answer: PathBuf,
}

#[derive(Args, Clone, Debug)]
pub struct TimestampListArguments {
    #[command(flatten)]
    pub source: LedgerSourceArguments,
    #[command(flatten)]
    pub trust: TimestampTrustArguments,
}

#[derive(Args, Clone, Debug)]
pub struct LedgerServeArguments {
    #[command(flatten)]
    pub source: LedgerSourceArguments,
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9465")]
    pub listen: SocketAddr,
    /// A file with the token that clients send, of at least 32 bytes
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
    /// The proxy that has TLS; only with it an address that others can reach is allowed
    #[arg(long, value_name = "NAME")]
    pub tls_proxy: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub struct LedgerForgetArguments {
    #[command(flatten)]
    pub source: LedgerSourceArguments,
    /// The last year that is forgotten
    #[arg(value_name = "YEAR", value_parser = clap::value_parser!(i16).range(2000..=9998))]
    pub year: i16,
    /// Only show what would go
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args, Clone, Debug)]
pub struct LedgerAuditArguments {
    #[command(flatten)]
    pub source: LedgerSourceArguments,
    /// The first day, in UTC
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub from: Option<jiff::civil::Date>,
    /// The day after the last one, in UTC
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub until: Option<jiff::civil::Date>,
    /// Only look-ups of this patron; itself one
    #[arg(long, value_name = "ID")]
    pub patron: Option<String>,
}

/// A form of the ledger's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LedgerFormat {
    Ldv,
    Otlp,
    Csv,
}

#[derive(Args, Clone, Debug)]
pub struct LedgerExportArguments {
    #[command(flatten)]
    pub source: LedgerSourceArguments,
    /// The form
    #[arg(long = "as", value_name = "FORM")]
    pub format: LedgerFormat,
    /// The first day, in UTC
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub from: Option<jiff::civil::Date>,
    /// The day after the last one, in UTC
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub until: Option<jiff::civil::Date>,
}

/// Where a ledger lies, and how it is answered.
#[derive(Args, Clone, Debug)]
pub struct LedgerSourceArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub operator: OperatorArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// The directory of `zeef run --directory`, instead of Kafka
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Write JSON instead of text
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub log: LogArguments,
}

#[derive(Args, Clone, Debug)]
pub struct LedgerVerifyArguments {
    #[command(flatten)]
    pub source: LedgerSourceArguments,
    /// Verify that all of this checkpoint, which was kept outside, is still there
    #[arg(long, value_name = "CHECKPOINT")]
    pub from: Option<PathBuf>,
    #[command(flatten)]
    pub trust: TimestampTrustArguments,
    /// Write the heads of all chains to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub heads: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
pub struct LedgerPatronArguments {
    #[command(flatten)]
    pub source: LedgerSourceArguments,
    /// The patron's id
    #[arg(value_name = "PATRON")]
    pub patron: String,
    /// The language of the text
    #[arg(long, value_name = "LANG", default_value = "en")]
    pub lang: LanguageArgument,
}

#[derive(Args, Clone, Debug, Default)]
pub struct ConfidentialArguments {
    /// Also show what patrons are not told (`confidential` in a recipient's file): not for the
    /// patron; the audit says that it was shown
    #[arg(long)]
    pub include_confidential: bool,
}

#[derive(Args, Clone, Debug)]
pub struct LedgerPatronCommandArguments {
    #[command(flatten)]
    pub question: LedgerPatronArguments,
    #[command(flatten)]
    pub confidential: ConfidentialArguments,
    /// Also show the values that recipients have now
    #[arg(long, requires = "identity_checked")]
    pub values: bool,
    /// How it was checked that the patron asks; stands in the answer
    #[arg(long, value_name = "TEXT", requires = "values")]
    pub identity_checked: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub struct LedgerRecipientArguments {
    #[command(flatten)]
    pub source: LedgerSourceArguments,
    /// The recipient, also one that is no longer served
    #[arg(value_name = "RECIPIENT")]
    pub recipient: String,
    /// The first day, in UTC
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub from: jiff::civil::Date,
    /// The day after the last one, in UTC
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub until: jiff::civil::Date,
    /// Only records that gave this field
    #[arg(long, value_name = "FIELD")]
    pub field: Option<String>,
    /// Name the patrons, too: those that the patron source still has
    #[arg(long)]
    pub patrons: bool,
    /// The language of the text
    #[arg(long, value_name = "LANG", default_value = "en")]
    pub lang: LanguageArgument,
}

#[derive(Args, Clone, Debug)]
pub struct LedgerStatsArguments {
    #[command(flatten)]
    pub source: LedgerSourceArguments,
}

/// Answer what a patron may ask by right
///
/// Reads the ledger, see `zeef ledger`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef rights access 1042 --identity passport --lang nl")]
pub struct RightsArguments {
    #[command(subcommand)]
    pub command: RightsCommand,
}

#[derive(Subcommand, Clone, Debug)]
pub enum RightsCommand {
    /// Write the answer to a patron who asks which recipients have what (art. 15)
    ///
    /// A letter in Markdown: what each recipient has, for what, on which basis and since when,
    /// and what was given and taken back. It names fields, never their values. The text is
    /// templates/access.nl.md (or en) of the config, or the shipped one.
    #[command(after_help = "Examples:
  zeef rights access 1042 --identity passport --lang nl > answer.md
  zeef rights access 1042 --identity passport --lang nl --as pdf --out answer.pdf
  zeef rights access 1042 --identity DigiD --directory /srv/zeef

Exit codes: 0 answered, also where nobody has anything, 1 it cannot be read, 2 a wrong
command line, 78 the config is wrong.")]
    Access(RightsAccessArguments),
    /// Tell what recipients will lose when a patron is erased, or prove that they lost it (art. 17)
    ///
    /// zeef erases nobody itself: the library's system does, by a null on the patron source. Names
    /// fields, never their values.
    #[command(after_help = "Examples:
  zeef rights erase 1042 --dry-run           before: what each recipient has
  zeef rights erase 1042 --proof --lang nl   after: what was taken back, and that nothing is left

Exit codes: 0 told, or the patron is erased, 1 with --proof: the patron is not erased, or it cannot
be read, 2 a wrong command line, 78 the config is wrong.")]
    Erase(RightsEraseArguments),
}

#[derive(Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("when").required(true))]
pub struct RightsEraseArguments {
    #[command(flatten)]
    pub question: LedgerPatronArguments,
    #[command(flatten)]
    pub confidential: ConfidentialArguments,
    /// Before an erasure: tell what each recipient will lose
    #[arg(long, group = "when")]
    pub dry_run: bool,
    /// After an erasure: tell what was taken back, and whether anything is left
    #[arg(long, group = "when")]
    pub proof: bool,
}

#[derive(Args, Clone, Debug)]
pub struct RightsAccessArguments {
    #[command(flatten)]
    pub question: LedgerPatronArguments,
    /// How it was checked that the patron asks; it stands in the answer
    #[arg(long, value_name = "TEXT")]
    pub identity: String,
    /// The form of the letter
    #[arg(
        long = "as",
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        conflicts_with = "json"
    )]
    pub format: LetterFormat,
    /// Write the letter to this file instead of stdout
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub out: Option<PathBuf>,
}

/// The forms of a letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LetterFormat {
    /// Markdown
    #[default]
    Text,
    /// Pages to print
    Pdf,
}

/// Write drafts of the notices of a data breach at a recipient (art. 33 and 34)
///
/// Tells what the recipient received in a time, how many patrons that concerns, and until
/// when the authority has to be notified. The text is templates/breach.nl.md (or en) of the
/// config, or the shipped one.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef breach deurwaarder --from 2026-11-01 --until 2026-12-01 --discovered 2026-11-30T09:00:00Z
  zeef breach mailing --from 2026-01-01 --until 2026-07-01 --field address --lang nl
  zeef breach mailing --from 2026-01-01 --until 2026-07-01 --discovered 2026-11-30T09:00:00Z --record incidents

Exit codes: 0 written, 1 the ledger cannot be read, 2 a wrong command line, 78 the config is
wrong.")]
pub struct BreachArguments {
    #[command(flatten)]
    pub question: LedgerRecipientArguments,
    /// When the breach became known: the 72 hours begin then
    #[arg(long, value_name = "TIME")]
    pub discovered: Option<jiff::Timestamp>,
    /// Put it on record, too: a file in this folder, for `zeef incidents`
    #[arg(long, value_name = "DIR", requires = "discovered")]
    pub record: Option<PathBuf>,
}

/// List the breaches that are on record, and how their 72 hours stand (GDPR art. 33)
///
/// From the files that `zeef breach --record` wrote, and that people filled in. Connects to
/// nothing.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef incidents incidents
  zeef incidents incidents --lang nl
  zeef incidents incidents --json

Exit codes: 0 told, also where a notice is overdue, 1 it cannot be read, 78 a file is wrong.")]
pub struct IncidentsArguments {
    /// The folder with the files
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// The language of the text
    #[arg(long, value_name = "LANG", default_value = "en")]
    pub lang: LanguageArgument,
}

/// Move recipients to their lanes in the config
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef lanes apply --dry-run      what would be moved
  zeef lanes apply --repartition  the sources were written anew with other partitions")]
pub struct LanesArguments {
    #[command(subcommand)]
    pub command: LanesCommand,
}

#[derive(Subcommand, Clone, Debug)]
pub enum LanesCommand {
    /// Move what recipients have to the states of their lanes
    ///
    /// If a recipient's lane in zeef.toml is not the lane of what it has, a start fails
    /// with 78. Stop all processes, run this, and start again: nothing is sent twice, and
    /// nothing is lost. Each partition is moved in one transaction; run an interrupted
    /// command again to finish it. In a directory the next run does this by itself.
    #[command(after_help = "Examples:
  zeef lanes apply --dry-run      what would be moved
  zeef lanes apply")]
    Apply(LanesApplyArguments),
}

#[derive(Args, Clone, Debug)]
pub struct LanesApplyArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub operator: OperatorArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// Show what would be moved, and move nothing
    #[arg(long)]
    pub dry_run: bool,
    /// First carry all states to sources that were written anew with other partitions
    #[arg(long)]
    pub repartition: bool,
    #[command(flatten)]
    pub log: LogArguments,
}

/// Generate and list the keys of pseudonyms and of the state
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  zeef keys new --all             a key for each recipient that has none, and the state
  zeef keys list")]
pub struct KeysArguments {
    #[command(subcommand)]
    pub command: KeysCommand,
}

#[derive(Subcommand, Clone, Debug)]
pub enum KeysCommand {
    /// Generate a key of 32 random bytes, in a file of its own
    ///
    /// The file is DIRECTORY/NAME.key, where DIRECTORY is `keys.directory` of zeef.toml;
    /// only its owner may read it. It contains one line, ID:SECRET, with the secret in
    /// base64url. An existing key is never replaced: with another key all pseudonyms of a
    /// recipient change. `zeef.state` is zeef's own key: with another one it no longer
    /// knows what recipients have.
    #[command(after_help = "Examples:
  zeef keys new statistics
  zeef keys new zeef.state
  zeef keys new --ledger          the key of the ledger, `zeef.ledger`
  zeef keys new --all             one for each recipient that has none, and the state")]
    New(KeysNewArguments),
    /// Move the outputs of a recipient to a new key
    ///
    /// The present key is kept beside the new one, as NAME.key.ID. The next start takes
    /// back every output under the old key and sends it under the new one. Without this, a
    /// start with another key is refused, since a recipient would have two pseudonyms for
    /// one patron.
    #[command(after_help = "Examples:
  zeef keys rotate statistics --reason 'yearly'
  zeef keys rotate statistics --reason 'the new key is in place already' --in-place")]
    Rotate(KeysRotateArguments),
    /// Show the key of each recipient and of the state: its id and its location; never the
    /// key
    #[command(after_help = "Examples:
  zeef keys list

Exit codes: 0 every key is there, 1 one is not, 78 the config is wrong.")]
    List(KeysListArguments),
}

#[derive(Args, Clone, Debug)]
pub struct KeysRotateArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(flatten)]
    pub operator: OperatorArguments,
    #[command(flatten)]
    pub brokers: BrokerArguments,
    /// The recipient
    #[arg(value_name = "RECIPIENT")]
    pub recipient: String,
    /// The folder with in/, out/ and .zeef/, instead of Kafka
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Reason; kept with the command
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,
    /// The present key is the new one already, for instance from an environment variable:
    /// generate none
    #[arg(long)]
    pub in_place: bool,
}

#[derive(Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("whose").required(true))]
pub struct KeysNewArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// The recipient, or `zeef.state`
    #[arg(value_name = "NAME", group = "whose")]
    pub recipient: Option<String>,
    /// The ledger: its key is good from this year on
    #[arg(long, group = "whose")]
    pub ledger: bool,
    /// Every enabled recipient that has no key yet, and the state; the ledger if it is enabled
    #[arg(long, group = "whose")]
    pub all: bool,
}

#[derive(Args, Clone, Debug)]
pub struct KeysListArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
}

/// Show everything at work, in a folder of its own, with invented people
///
/// Generates a library, runs the shipped config over it, and shows one patron's full record
/// beside what each partner got of it. Needs nothing installed.
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
    /// A folder that does not exist yet; a new temporary one by default
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// Print a script that completes zeef's commands in your shell
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

/// A log level on the command line.
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
