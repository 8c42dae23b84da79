//! Config files to a policy and settings, reporting every mistake at once.

pub(crate) mod document;
pub mod keyring;
pub mod lint;
mod load;
pub(crate) mod secret;
pub mod settings;

pub use document::{Mistake, nearest_name, nearest_spelling};
pub use load::LoadedConfig;
