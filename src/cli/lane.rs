//! A lane for a command that decides records without a daemon.

use crate::engine::lane::{Lane, Options};
use crate::engine::record;
use crate::json::scan::Bounds;
use crate::policy::pseudonym::Pseudonymiser;
use crate::policy::{Loaded, settings};

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
    pseudonymiser: impl Fn(&str) -> Option<Pseudonymiser>,
) -> Result<Lane, Failure> {
    Lane::compile(
        name,
        &loaded.policy,
        |recipient| wanted(&recipient.name),
        pseudonymiser,
        options(&loaded.daemon.limits),
    )
    .map_err(|error| Failure::Config(error.to_string()))
}

fn options(limits: &settings::Limits) -> Options {
    Options {
        limits: record::Limits {
            bytes: limits.record_bytes,
            bounds: Bounds {
                depth: limits.depth.try_into().unwrap_or(u32::MAX),
                keys: limits.keys.try_into().unwrap_or(u32::MAX),
            },
        },
        output_bytes_max: limits.output_bytes,
    }
}
