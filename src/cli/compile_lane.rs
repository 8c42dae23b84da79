//! Lanes of commands that decide records without a daemon.

use crate::config::LoadedConfig;
use crate::config::keyring::KeyRing;
use crate::engine::lane::Lane;
use crate::policy::pseudonym::Pseudonymiser;

use super::exit::CliFailure;

/// Compiles a lane of the enabled recipients that `wanted` accepts.
///
/// # Errors
///
/// [`CliFailure::Config`] if something cannot be compiled.
pub(super) fn compile_lane(
    name: &str,
    loaded: &LoadedConfig,
    wanted: impl Fn(&str) -> bool,
    keys: &KeyRing,
) -> Result<Lane, CliFailure> {
    Lane::compile(
        name,
        &loaded.policy,
        |recipient| wanted(&recipient.name),
        |recipient| keys.key(recipient).map(Pseudonymiser::new),
        loaded.daemon.limits.lane,
    )
    .map_err(|error| CliFailure::Config(error.to_string()))
}
