//! The keys that sign and verify checkpoints of the ledger.

use super::exit::CliFailure;
use super::key_lookup::{self, is_key_missing};
use crate::config::LoadedConfig;
use crate::config::keyring::{CHECKPOINT_KEY_NAME, KeyRing};
use crate::ledger::checkpoint::CheckpointMaker;
use crate::ledger::checkpoint::note::{CheckpointSigner, CheckpointVerifierKey};

/// Returns what makes checkpoints; `None` if none are made.
///
/// # Errors
///
/// [`CliFailure::Config`] for a key that cannot be used.
pub(super) fn checkpoint_maker(
    loaded: &LoadedConfig,
    keys: &KeyRing,
) -> Result<Option<CheckpointMaker>, CliFailure> {
    let ledger = &loaded.daemon.ledger;
    let Some(signer) = find_signer(loaded, keys)? else {
        return Ok(None);
    };
    let mut all =
        parse_keys("former_keys of [ledger.checkpoints]", &ledger.checkpoints.former_keys)?;
    all.push(signer.verifier());
    let is_signed = ledger.is_enabled && ledger.checkpoints.is_enabled;
    Ok(is_signed.then_some(CheckpointMaker { signer, keys: all }))
}

/// Returns all keys that verify checkpoints: those given, those of the config, and that of the
/// key file, if it is there.
///
/// # Errors
///
/// [`CliFailure`] for a key that cannot be used.
pub(super) fn verifier_keys(
    loaded: &LoadedConfig,
    given: &[String],
) -> anyhow::Result<Vec<CheckpointVerifierKey>> {
    let former = &loaded.daemon.ledger.checkpoints.former_keys;
    let mut all = parse_keys("--key", given)?;
    all.extend(parse_keys("former_keys of [ledger.checkpoints]", former)?);
    if !is_key_missing(&loaded.daemon.keys, CHECKPOINT_KEY_NAME) {
        let keys = key_lookup::load_keys(&loaded.daemon.keys, [CHECKPOINT_KEY_NAME])?;
        all.extend(find_signer(loaded, &keys)?.map(|signer| signer.verifier()));
    }
    Ok(all)
}

fn find_signer(
    loaded: &LoadedConfig,
    keys: &KeyRing,
) -> Result<Option<CheckpointSigner>, CliFailure> {
    let origin = &loaded.daemon.ledger.checkpoints.origin;
    let signer = keys.checkpoint_key().map(|key| CheckpointSigner::new(origin, key)).transpose();
    signer.map_err(|error| CliFailure::Config(format!("the key of the checkpoints: {error}")))
}

fn parse_keys(place: &str, texts: &[String]) -> Result<Vec<CheckpointVerifierKey>, CliFailure> {
    let parse = |text: &String| {
        let unusable = |error| CliFailure::Config(format!("{place}: `{text}`: {error}"));
        CheckpointVerifierKey::parse(text).map_err(unusable)
    };
    texts.iter().map(parse).collect()
}
