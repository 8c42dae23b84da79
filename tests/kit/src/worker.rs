//! A worker with its state, over any transport and by any clock.

use std::sync::Arc;
use std::time::Duration;

use zeef::daemon::metrics::Metrics;
use zeef::daemon::worker::{BatchBounds, Worker};
use zeef::engine::delivery::HoldBounds;
use zeef::engine::lane::Lane;
use zeef::engine::memory::deliveries::StateKeys;
use zeef::engine::pipeline::Pipeline;
use zeef::transport::Transport;

use crate::engine::new_key;

/// How many records a batch has, and how many may wait for patrons, for how long.
#[derive(Clone, Copy, Debug)]
pub struct WorkerSetup {
    pub batch_records: u64,
    pub holds: HoldBounds,
}

impl WorkerSetup {
    pub const DEFAULT: WorkerSetup = WorkerSetup {
        batch_records: 20_000,
        holds: HoldBounds { records_max: 100_000, wait_max_ms: i64::MAX },
    };
}

pub fn state_keys() -> StateKeys {
    StateKeys::new(&new_key("state", b"the-key-of-the-state-0123456789abc"))
}

/// A worker that tells the time by `clock`.
pub fn new_worker<T: Transport>(
    lane: &Arc<Lane>,
    transport: T,
    setup: WorkerSetup,
    clock: impl FnMut() -> i64 + Send + 'static,
) -> Worker<T> {
    let pipeline = Pipeline::with_state(Arc::clone(lane), state_keys(), setup.holds);
    let metrics = Metrics::new("test").expect("metrics").worker_metrics(lane, 0);
    let mut worker = Worker::new(pipeline, transport, metrics);
    worker.clock = Box::new(clock);
    worker.bounds = BatchBounds {
        records: setup.batch_records,
        bytes: 1 << 20,
        max_wait: Duration::from_secs(5),
    };
    worker
}
