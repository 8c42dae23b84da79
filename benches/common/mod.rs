//! What several benches share: the work, and the ways of doing it.

pub mod serde_value;
pub mod workload;
pub mod zeef_way;
