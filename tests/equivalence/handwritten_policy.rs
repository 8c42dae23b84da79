//! Policies by hand, as small as can be.

use zeef::policy::Policy;
use zeef_test_kit::config::{PolicyFile, load_files};
use zeef_test_kit::engine::{compile_lane, key_by_name};
use zeef_test_kit::model::ModelLimits;

use crate::generated_policies::CompiledPolicy;
use crate::policy_generator::NOW_MS;

/// Compiles the policy of some files.
pub fn compile_files(files: &[PolicyFile]) -> Result<CompiledPolicy, String> {
    compile_policy(load_files(files)?)
}

/// Compiles a policy, with the default limits.
pub fn compile_policy(policy: Policy) -> Result<CompiledPolicy, String> {
    let limits = ModelLimits::DEFAULT;
    let lane = compile_lane(&policy, key_by_name, limits).map_err(|error| error.to_string())?;
    Ok(CompiledPolicy { policy, limits, lane, now_ms: NOW_MS })
}
