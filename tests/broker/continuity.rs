//! Continuity on a real Kafka: what is lost, moved or made anew stops a lane
//! before anything is released; ordinary days go on.

mod accepted_findings;
mod clock_skew;
mod fixture;
mod group_offsets;
mod hmac_keys;
mod no_finding;
mod topic_loss;

use fixture::ContinuityFixture;
