//! What several benches share: the work, and the ways of doing it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each bench is a program of its own and uses a part of this"
)]

pub mod interleaved_timing;
pub mod serde_value;
pub mod workload;
pub mod zeef_peer;
