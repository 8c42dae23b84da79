//! A lane for a command that decides records without a daemon.

use crate::daemon::run::options;
use crate::engine::lane::Lane;
use crate::policy::Loaded;
use crate::policy::pseudonym::{KeyRing, Pseudonymiser};

use super::exit::Failure;

/// Compiles those of the enabled recipients that `wanted` names.
///
/// # Errors
///
/// [`Failure::Config`] for what cannot be compiled.
pub(super) fn compile(
    name: &str,
    loaded: &Loaded,
    wanted: impl Fn(&str) -> bool,
    keys: &KeyRing,
) -> Result<Lane, Failure> {
    Lane::compile(
        name,
        &loaded.policy,
        |recipient| wanted(&recipient.name),
        |recipient| keys.key(recipient).map(Pseudonymiser::new),
        options(&loaded.daemon),
    )
    .map_err(|error| Failure::Config(error.to_string()))
}
