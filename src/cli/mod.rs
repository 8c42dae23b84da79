//! The people: one small file per command.
//!
//! Parses the command line, calls the rooms below, and shows what they say.
//! What a record may become is decided elsewhere.

mod accept;
pub mod arguments;
mod ask;
mod bench;
mod check;
mod compact;
mod completions;
mod config;
mod demo;
mod directory;
mod exit;
mod explain;
mod flat;
mod forget;
mod gates;
mod generate;
mod holds;
mod kafka;
mod key;
mod keys;
mod lane;
mod lanes;
mod list;
pub mod logging;
mod message;
mod objections;
mod phrase;
mod project;
mod refill;
mod run;
mod screen;
mod summary;
mod table;
mod topics;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::daemon::process;
use arguments::{
    AcceptArguments, BenchArguments, CheckArguments, CompactArguments, CompletionsArguments,
    DemoArguments, ExplainArguments, ForgetArguments, GatesArguments, GenerateArguments,
    HoldsArguments, KeysArguments, LanesArguments, ListArguments, ProjectArguments,
    RefillArguments, RunArguments, TopicsArguments,
};
pub use config::load;
pub use exit::{Exit, Failure};
use screen::Screen;

/// Gives each partner of a public library exactly the fields it may see
///
/// zeef (Dutch: sieve) reads the patron and loan records that a library system
/// puts on Kafka or in files, and gives every partner what it may see, on a
/// topic of its own. What a recipient's file does not name is not sent.
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
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
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
    Explain(ExplainArguments),
    Generate(GenerateArguments),
    Bench(BenchArguments),
    Demo(DemoArguments),
    Holds(HoldsArguments),
    Lanes(LanesArguments),
    Keys(KeysArguments),
    Completions(CompletionsArguments),
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    process::set_limits();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let wrong = error.use_stderr();
            // Where nobody reads, nothing is left to be said.
            let _ = error.print();
            return if wrong { Exit::Usage } else { Exit::Fine }.into();
        }
    };
    let outcome = dispatch(&cli.command);
    outcome.unwrap_or_else(|error| exit::tell(&error)).into()
}

fn dispatch(command: &Command) -> anyhow::Result<Exit> {
    let mut screen = Screen::stdout();
    let exit = match command {
        Command::Run(arguments) => run::run(arguments),
        Command::Topics(arguments) => topics::run(arguments, &mut screen),
        Command::Gates(arguments) => gates::run(arguments, &mut screen),
        Command::Compact(arguments) => compact::run(arguments, &mut screen),
        Command::Accept(arguments) => accept::run(arguments, &mut screen),
        Command::Refill(arguments) => refill::run(arguments, &mut screen),
        Command::Forget(arguments) => forget::run(arguments, &mut screen),
        Command::Check(arguments) => check::run(arguments, &mut screen),
        Command::List(arguments) => list::run(arguments, &mut screen),
        Command::Project(arguments) => project::run(arguments),
        Command::Explain(arguments) => explain::run(arguments, &mut screen),
        Command::Generate(arguments) => generate::run(arguments),
        Command::Bench(arguments) => bench::run(arguments, &mut screen),
        Command::Demo(arguments) => demo::run(arguments, &mut screen),
        Command::Holds(arguments) => holds::run(arguments, &mut screen),
        Command::Lanes(arguments) => lanes::run(arguments, &mut screen),
        Command::Keys(arguments) => keys::run(arguments, &mut screen),
        Command::Completions(arguments) => completions::run(arguments, &mut screen),
    }?;
    screen.flush()?;
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    /// Each command and what is below it, with the words that call it.
    fn all(command: &clap::Command, words: &str, see: &mut impl FnMut(&str, &clap::Command)) {
        for below in command.get_subcommands() {
            let words = format!("{words} {}", below.get_name());
            see(&words, below);
            all(below, &words, see);
        }
    }

    /// Every help text teaches by an example of its own command that can be typed.
    #[test]
    fn every_command_has_an_example_that_it_takes() {
        let mut count = 0;
        all(&Cli::command(), "zeef", &mut |words, command| {
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            let text = help.split_once("Examples:\n").map(|(_, text)| text);
            let text = text.unwrap_or_else(|| panic!("`{words} --help` has no example"));
            let examples = text.lines().take_while(|line| line.starts_with("  "));
            let mut own = 0;
            for example in examples {
                // What is said of it stands behind several spaces.
                let typed = example.trim().split("  ").next().unwrap_or_default();
                for typed in typed.split(" | ") {
                    let typed = typed.split(['<', '>']).next().unwrap_or_default();
                    let words_typed = shell_words(typed);
                    let parsed = Cli::command().try_get_matches_from(&words_typed);
                    assert!(
                        parsed.is_ok(),
                        "`{typed}` in the help of `{words}`: {parsed:?}"
                    );
                    own += usize::from(format!("{typed} ").starts_with(&format!("{words} ")));
                    count += 1;
                }
            }
            assert!(own > 0, "`{words} --help` has no example of its own");
        });
        assert!(count > 60, "{count}");
    }

    /// Words as a shell sees them, where quotes stand around whole ones.
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
