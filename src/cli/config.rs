//! From a config folder to a policy, for every command alike.

use std::path::Path;

use crate::policy::{Loaded, Policy};

use super::exit::Failure;

/// Reads the config of `folder`.
///
/// # Errors
///
/// [`Failure::Mistakes`] with every mistake of every file; [`Failure::Config`] where
/// there is no such folder.
pub fn load(folder: &Path) -> Result<Loaded, Failure> {
    if !folder.is_dir() {
        return Err(Failure::Config(no_folder(folder)));
    }
    Policy::load(folder).map_err(Failure::Mistakes)
}

/// Says that there is no config, and what to do.
fn no_folder(folder: &Path) -> String {
    let name = folder.display();
    let what = match (
        folder.exists(),
        folder.is_absolute(),
        std::env::current_dir(),
    ) {
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

/// The name of `names` that is meant by a mistyped one, if any comes near.
pub(super) fn near<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// Says that `word` is no `what`, and what it may have been meant for.
pub(super) fn unknown<'a>(
    what: &str,
    word: &str,
    names: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    match near(word, names.clone()) {
        Some(name) => format!("unknown {what} `{word}`: did you mean `{name}`?"),
        None => {
            let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
            format!(
                "unknown {what} `{word}`: expected one of {}",
                names.join(", ")
            )
        }
    }
}

/// Refuses recipients that do not exist or are switched off.
///
/// # Errors
///
/// [`Failure::Usage`] for the first of them.
pub(super) fn check_recipient(policy: &Policy, name: &str) -> Result<(), Failure> {
    if policy.recipient(name).is_some() {
        return Ok(());
    }
    let off = policy
        .disabled
        .iter()
        .any(|recipient| recipient.name == name);
    Err(Failure::Usage(if off {
        format!("recipient `{name}` is switched off: its file says `enabled = false`")
    } else {
        let all = policy
            .recipients
            .iter()
            .map(|recipient| recipient.name.as_str());
        unknown("recipient", name, all)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_finds_its_name() {
        let names = ["statistics", "kb-membership"];
        assert_eq!(near("statistcs", names), Some("statistics"));
        assert_eq!(near("nobody", names), None);
        assert_eq!(
            unknown("recipient", "nobody", names),
            "unknown recipient `nobody`: expected one of `statistics`, `kb-membership`"
        );
    }
}
