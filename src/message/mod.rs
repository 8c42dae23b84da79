//! What travels between a transport and the engine: messages in, messages out, the plan of
//! a lane, its mark, and faults.
//!
//! Nothing here reads a record or a topic.

pub mod commands;
pub mod continuity;
mod fault;
pub mod headers;
mod input;
mod outbox;
mod plan;
mod trace_parent;

pub use fault::{AbortReason, Cause, Fault};
pub use input::{AppendTime, Coordinates, Input, MisplacedRecord, Payload};
pub use outbox::{Outbox, Output};
pub use plan::{
    IntakePlan, LanePlan, OutputEncoding, OutputId, OutputPlan, OutputRole, SourceId, SourcePlan,
    ZEEF_OWNER,
};
pub use trace_parent::{ForeignOperation, TRACE_PARENT, TraceParent};
