//! `zeef accept`: a run goes on in spite of one finding.

use std::io::Write as _;

use super::arguments::AcceptArguments;
use super::directory;
use super::exit::Exit;
use super::screen::Screen;

/// Accepts the finding that has the code now.
///
/// # Errors
///
/// No finding has this code, or the directory cannot be read.
pub(super) fn run(arguments: &AcceptArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let settings = directory::settings(&arguments.directory, &arguments.config.config)?;
    let directory = directory::open(settings)?;
    let code = arguments.code.trim().to_lowercase();
    match directory.accept(&code, arguments.reason.trim())? {
        Some(finding) => {
            writeln!(screen, "accepted: {}", finding.text)?;
            Ok(Exit::Fine)
        }
        None => anyhow::bail!(
            "nothing that was found now has the code `{code}`: a code is for one finding, and for as \
             long as nothing else was committed; run zeef again to see what it finds"
        ),
    }
}
