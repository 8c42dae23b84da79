//! The command line: one file per command.
//!
//! Parses arguments, calls the rooms below, and shows what they return. What a record may
//! become is decided elsewhere.

mod accept;
pub mod arguments;
mod audit;
mod bench;
mod check;
mod check_against;
mod checkpoint_keys;
mod command_target;
mod compact;
mod compile_lane;
mod completions;
mod config;
mod contract;
mod conversions;
mod demo;
mod describe;
mod detectors;
mod directory;
mod exit;
mod explain;
mod export;
mod flows;
mod forget;
mod gates;
mod generate;
mod holds;
mod incidents;
mod intake;
mod kafka;
mod key_lookup;
mod keys;
mod lanes;
mod ledger;
mod list;
mod listing;
pub mod logging;
mod matrix;
mod message_lines;
mod objections;
mod paths;
mod project;
mod refill;
mod register;
mod repartition;
mod run;
mod screen;
mod snapshot;
mod state_rows;
mod stopped_lanes;
mod summary;
mod table;
mod topics;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::daemon::process;
use arguments::{
    AcceptArguments, BenchArguments, BreachArguments, CheckArguments, CompactArguments,
    CompletionsArguments, ContractArguments, DemoArguments, ExplainArguments, ExportArguments,
    ForgetArguments, GatesArguments, GenerateArguments, HoldsArguments, IncidentsArguments,
    IntakeArguments, KeysArguments, LanesArguments, LedgerArguments, ListArguments,
    ProjectArguments, RefillArguments, RegisterArguments, RetractionsArguments, RightsArguments,
    RunArguments, TopicsArguments,
};
pub use config::load;
pub use exit::{CliFailure, Exit};
use screen::Screen;

/// Gives each partner of a public library exactly the fields it may see
///
/// zeef (Dutch: sieve) reads the patron and loan records that a library system puts on
/// Kafka or in files, and gives every partner what it may see, on a topic of its own. What
/// a recipient's file does not name is not sent.
#[derive(Parser, Debug)]
#[command(
    name = "zeef",
    version,
    max_term_width = 100,
    after_help = "Start with:
  zeef demo                       all of it at work, with invented people
  zeef check                      is my config right, and what does it say?
  zeef explain RECIPIENT FILE     why does this recipient get this record?
  zeef run                        the daemon

Exit codes:
   0  fine
   1  failed
   2  the command line is wrong
  70  a lane stopped: going on would be wrong until somebody acts
  75  another instance took over: do not start this one again
  78  the config is wrong: nothing was started"
)]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Subcommand, Debug)]
enum CliCommand {
    Run(RunArguments),
    Topics(TopicsArguments),
    Gates(GatesArguments),
    Compact(CompactArguments),
    Accept(AcceptArguments),
    Refill(RefillArguments),
    Forget(ForgetArguments),
    Check(CheckArguments),
    List(ListArguments),
    Project(ProjectArguments),
    Intake(IntakeArguments),
    Explain(ExplainArguments),
    Export(ExportArguments),
    Contract(ContractArguments),
    Register(RegisterArguments),
    Generate(GenerateArguments),
    Bench(BenchArguments),
    Demo(DemoArguments),
    Holds(HoldsArguments),
    Lanes(LanesArguments),
    Ledger(LedgerArguments),
    Rights(RightsArguments),
    Retractions(RetractionsArguments),
    Breach(BreachArguments),
    Incidents(IncidentsArguments),
    Keys(KeysArguments),
    Completions(CompletionsArguments),
}

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    process::set_limits();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let wrong = error.use_stderr();
            // Nobody reads: there is nothing left to say.
            let _ = error.print();
            return if wrong { Exit::Usage } else { Exit::Success }.into();
        }
    };
    let outcome = dispatch(&cli.command);
    outcome.unwrap_or_else(|error| exit::report(&error)).into()
}

fn dispatch(command: &CliCommand) -> anyhow::Result<Exit> {
    let mut screen = Screen::stdout();
    let exit = match command {
        CliCommand::Run(arguments) => run::run(arguments),
        CliCommand::Topics(arguments) => topics::run(arguments, &mut screen),
        CliCommand::Gates(arguments) => gates::run(arguments, &mut screen),
        CliCommand::Compact(arguments) => compact::run(arguments, &mut screen),
        CliCommand::Accept(arguments) => accept::run(arguments, &mut screen),
        CliCommand::Refill(arguments) => refill::run(arguments, &mut screen),
        CliCommand::Forget(arguments) => forget::run(arguments, &mut screen),
        CliCommand::Check(arguments) => check::run(arguments, &mut screen),
        CliCommand::List(arguments) => list::run(arguments, &mut screen),
        CliCommand::Project(arguments) => project::run(arguments),
        CliCommand::Intake(arguments) => intake::run(arguments, &mut screen),
        CliCommand::Explain(arguments) => explain::run(arguments, &mut screen),
        CliCommand::Export(arguments) => export::run(arguments),
        CliCommand::Contract(arguments) => contract::run(arguments),
        CliCommand::Register(arguments) => register::run(arguments),
        CliCommand::Generate(arguments) => generate::run(arguments),
        CliCommand::Bench(arguments) => bench::run(arguments, &mut screen),
        CliCommand::Demo(arguments) => demo::run(arguments, &mut screen),
        CliCommand::Holds(arguments) => holds::run(arguments, &mut screen),
        CliCommand::Lanes(arguments) => lanes::run(arguments, &mut screen),
        CliCommand::Ledger(arguments) => ledger::run(arguments, &mut screen),
        CliCommand::Rights(arguments) => ledger::rights::run(arguments, &mut screen),
        CliCommand::Retractions(arguments) => ledger::retractions::run(arguments, &mut screen),
        CliCommand::Breach(arguments) => ledger::breach::run(arguments, &mut screen),
        CliCommand::Incidents(arguments) => incidents::run(arguments, &mut screen),
        CliCommand::Keys(arguments) => keys::run(arguments, &mut screen),
        CliCommand::Completions(arguments) => completions::run(arguments, &mut screen),
    }?;
    screen.flush()?;
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    /// Visits each command and its subcommands, with their names.
    fn visit_subcommands(
        command: &clap::Command,
        words: &str,
        visit: &mut impl FnMut(&str, &clap::Command),
    ) {
        for below in command.get_subcommands() {
            let words = format!("{words} {}", below.get_name());
            visit(&words, below);
            visit_subcommands(below, &words, visit);
        }
    }

    /// Every help text has an example of its own command that parses.
    #[test]
    fn every_command_help_has_an_example_that_parses() {
        let mut count = 0;
        visit_subcommands(&Cli::command(), "zeef", &mut |words, command| {
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            let text = help.split_once("Examples:\n").map(|(_, text)| text);
            let text = text.unwrap_or_else(|| panic!("`{words} --help` has no example"));
            let examples = text.lines().take_while(|line| line.starts_with("  "));
            let mut own = 0;
            for example in examples {
                // An explanation follows after several spaces.
                let typed = example.trim().split("  ").next().unwrap_or_default();
                for typed in typed.split(" | ") {
                    let typed = typed.split(['<', '>']).next().unwrap_or_default();
                    let words_typed = shell_words(typed);
                    let parsed = Cli::command().try_get_matches_from(&words_typed);
                    assert!(parsed.is_ok(), "`{typed}` in the help of `{words}`: {parsed:?}");
                    own += usize::from(format!("{typed} ").starts_with(&format!("{words} ")));
                    count += 1;
                }
            }
            assert!(own > 0, "`{words} --help` has no example of its own");
        });
        assert!(count > 60, "{count}");
    }

    /// Splits words like a shell, with quotes around whole ones.
    fn shell_words(typed: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (at, part) in typed.split('\'').enumerate() {
            match at % 2 {
                0 => words.extend(part.split_whitespace().map(str::to_owned)),
                _ => words.push(part.to_owned()),
            }
        }
        words
    }
}
