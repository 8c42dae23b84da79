//! From a config folder to a policy, for every command.

use std::io::ErrorKind;
use std::path::Path;

use crate::config::{LoadedConfig, Mistake, nearest_spelling};
use crate::daemon::intake::{IntakeSetup, SetupError};
use crate::policy::Policy;

use super::exit::CliFailure;

/// Reads the config of `folder`.
///
/// # Errors
///
/// [`CliFailure::Mistakes`] with every mistake of every file; [`CliFailure::Config`] if
/// there is no such folder.
pub fn load(folder: &Path) -> Result<LoadedConfig, CliFailure> {
    let (loaded, mistakes) = load_with_mistakes(folder)?;
    if mistakes.is_empty() { Ok(loaded) } else { Err(CliFailure::Mistakes(mistakes)) }
}

/// Reads the config of `folder` as far as it can be read, and every mistake of every file.
///
/// # Errors
///
/// [`CliFailure::Config`] if there is no such folder, or the system refuses to look.
pub(super) fn load_with_mistakes(
    folder: &Path,
) -> Result<(LoadedConfig, Vec<Mistake>), CliFailure> {
    match std::fs::metadata(folder) {
        Ok(found) if found.is_dir() => Ok(LoadedConfig::load_with_mistakes(folder)),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            let text = format!("failed to look at `{}`: {error}", folder.display());
            Err(CliFailure::Config(text))
        }
        Ok(_) | Err(_) => Err(CliFailure::Config(missing_folder_text(folder))),
    }
}

/// Reads the mappings of the intakes that the config enables.
///
/// # Errors
///
/// [`CliFailure::Mistakes`] with every mistake of every mapping; [`CliFailure::Config`] if one
/// reads what zeef itself writes, or needs schemas that are nowhere.
pub(super) fn load_enabled_intakes(
    folder: &Path,
    loaded: &LoadedConfig,
    topic_prefix: &str,
) -> Result<Vec<IntakeSetup>, CliFailure> {
    IntakeSetup::load_enabled(folder, loaded, topic_prefix).map_err(|error| match error {
        SetupError::Mistakes(mistakes) => CliFailure::Mistakes(mistakes),
        error @ (SetupError::OwnTopic { .. } | SetupError::Schemas { .. }) => {
            CliFailure::Config(error.to_string())
        }
    })
}

/// Returns that there is no config, and what to do.
fn missing_folder_text(folder: &Path) -> String {
    let name = folder.display();
    let is_there = matches!(folder.try_exists(), Ok(true));
    let what = match (is_there, folder.is_absolute(), std::env::current_dir()) {
        (true, ..) => format!("`{name}` is no folder"),
        (false, false, Ok(here)) => {
            format!("there is no folder `{name}` here ({})", here.display())
        }
        (false, ..) => format!("there is no folder `{name}`"),
    };
    format!(
        "{what}: expected one with zeef.toml, records/ and recipients/; go to where it is, or name \
         it with `--config DIR` or the environment variable ZEEF_CONFIG (`zeef demo` needs none)"
    )
}

/// Returns that `word` is no `what`, and what it may have been meant for.
pub(super) fn unknown_name_text<'a>(
    what: &str,
    word: &str,
    names: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    match nearest_spelling(word, names.clone()) {
        Some(name) => format!("unknown {what} `{word}`: did you mean `{name}`?"),
        None => {
            let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
            format!("unknown {what} `{word}`: expected one of {}", names.join(", "))
        }
    }
}

/// Fails for a recipient that does not exist or is disabled.
///
/// # Errors
///
/// [`CliFailure::Usage`].
pub(super) fn require_recipient(policy: &Policy, name: &str) -> Result<(), CliFailure> {
    if policy.recipient(name).is_some() {
        return Ok(());
    }
    let off = policy.disabled_recipients.iter().any(|recipient| recipient.name == name);
    Err(CliFailure::Usage(if off {
        format!("recipient `{name}` is switched off: its file says `enabled = false`")
    } else {
        let all = policy.recipients.iter().map(|recipient| recipient.name.as_str());
        unknown_name_text("recipient", name, all)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_name_text_suggests_the_nearest_or_lists_all() {
        let names = ["statistics", "kb-membership"];
        assert_eq!(
            unknown_name_text("recipient", "statistcs", names),
            "unknown recipient `statistcs`: did you mean `statistics`?"
        );
        assert_eq!(
            unknown_name_text("recipient", "nobody", names),
            "unknown recipient `nobody`: expected one of `statistics`, `kb-membership`"
        );
    }
}
