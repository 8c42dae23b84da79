//! The intake: raw messages in, canonical records and refusals out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]

mod avro;
mod cases;
mod commands;
mod directory;
mod lane;
mod mistakes;
mod properties;
mod registry;
mod removed_versions;
mod repeated;
mod versions;

use std::path::PathBuf;

use zeef::intake::{Intake, load_file};
use zeef::policy::Policy;
use zeef::policy::catalogue::RecordKind;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn record_kinds() -> Vec<RecordKind> {
    Policy::load(&repository().join("config")).unwrap().policy.record_kinds
}

/// The file of a mapping: a shipped one, or one of the tests.
fn mapping_path(name: &str) -> PathBuf {
    let shipped = repository().join(format!("config/intake/{name}.toml"));
    match shipped.exists() {
        true => shipped,
        false => repository().join(format!("tests/intake/mappings/{name}.toml")),
    }
}

fn load_mapping(name: &str) -> Intake {
    load_file(&mapping_path(name), &record_kinds()).unwrap()
}
