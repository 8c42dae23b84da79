//! What the broker tests stand on: brokers, topics, messages, and the program
//! itself as a process.
//!
//! Nothing here knows what zeef decides; a scene asks the library. Nothing waits for a fixed time, and
//! nothing outlives the test process, however that ends.

mod broker;
mod deployment;
mod process;
mod read;
mod topics;
mod upstream;
mod wait;
mod write;

pub(crate) use broker::{Broker, BrokerOptions};
pub(crate) use deployment::{
    ConfigTweaks, DeadLetterPointer, Deployment, ExpectedResult, HOLD_LIMITS, TransactionEnds,
    sample_library, wait_until_ready,
};
pub(crate) use process::ZeefProcess;
pub(crate) use read::{ConsumedMessage, Isolation};
pub(crate) use topics::TestTopics;
pub(crate) use upstream::{LibrarySystem, Upstream, UpstreamPart};
pub(crate) use wait::eventually;
pub(crate) use write::{ProducerPartitioner, ProducerRecord, TestProducer};
