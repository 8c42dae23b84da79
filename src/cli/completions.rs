//! `zeef completions`: a script for a shell, generated from the commands.

use std::io::Write;

use clap::CommandFactory;

use super::arguments::CompletionsArguments;
use super::exit::Exit;
use super::screen::Screen;

pub(super) fn run(arguments: &CompletionsArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    let mut command = super::Cli::command();
    clap_complete::generate(arguments.shell, &mut command, "zeef", &mut script);
    screen.write_all(&script)?;
    Ok(Exit::Success)
}
