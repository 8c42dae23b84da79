//! What the broker tests stand on: brokers, topics, messages, and the program
//! itself as a process.
//!
//! Nothing here knows what zeef decides; a scene asks the library. Nothing waits for a fixed time, and
//! nothing outlives the test process, however that ends.

mod broker;
mod read;
mod scene;
mod topics;
mod wait;
mod write;
mod zeef;

pub(crate) use broker::{Broker, Options};
pub(crate) use read::{Isolation, Row};
pub(crate) use scene::{Ends, Expected, HOLDS, Letter, Scene, Tweaks, library, until_ready};
pub(crate) use topics::Topics;
pub(crate) use wait::eventually;
pub(crate) use write::{Partitioner, Record, Writer};
pub(crate) use zeef::Zeef;
