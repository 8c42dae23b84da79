//! Runs one worker of an intake, with a new transport whenever one is lost.

use std::sync::Arc;
use std::time::Duration;

use super::setup::IntakeSetup;
use super::worker::IntakeWorker;
use crate::daemon::health::WorkerStatus;
use crate::daemon::metrics::Metrics;
use crate::daemon::restart::WorkerRestarts;
use crate::daemon::worker::{BatchBounds, WorkerExit};
use crate::message::{Cause, Fault};
use crate::transport::StopSignal;
use crate::transport::kafka::topics::{self, TopicError};
use crate::transport::kafka::{KafkaSettings, KafkaTransport};

pub(in crate::daemon) struct IntakeSupervisor {
    pub(in crate::daemon) setup: Arc<IntakeSetup>,
    pub(in crate::daemon) worker_number: usize,
    pub(in crate::daemon) status: WorkerStatus,
    pub(in crate::daemon) metrics: Arc<Metrics>,
    pub(in crate::daemon) stop: StopSignal,
    pub(in crate::daemon) bounds: BatchBounds,
    pub(in crate::daemon) topic_check_interval: Duration,
    pub(in crate::daemon) lookup_wait_limit: Duration,
}

impl IntakeSupervisor {
    pub(in crate::daemon) fn run(&self, settings: &KafkaSettings) -> Result<WorkerExit, Fault> {
        let lane = self.setup.lane_name();
        let restarts = WorkerRestarts {
            lane: &lane,
            worker_number: self.worker_number,
            status: &self.status,
            stop: &self.stop,
        };
        restarts.run(|| self.open_worker(settings)?.run())
    }

    /// Opens the topics that exist now.
    fn open_worker(&self, settings: &KafkaSettings) -> Result<IntakeWorker<KafkaTransport>, Fault> {
        let existing = topics::list_names(settings).map_err(|error| match error {
            TopicError::Settings(text) => Fault::stop(text),
            TopicError::LoginRefused(_) => Fault::stop(error.to_string()),
            error => Fault::transport_lost(Cause::at_step("topics", error)),
        })?;
        let plan = self.setup.plan(&existing)?;
        let transport = KafkaTransport::open(
            settings.clone(),
            plan.clone(),
            self.worker_number,
            self.stop.clone(),
        )?;
        let sources = plan.sources.iter().map(|source| source.topic.clone()).collect();
        let worker_id = (plan.name.as_str(), self.worker_number);
        let metrics = self.metrics.intake_metrics(&self.setup.intake, worker_id, sources);
        let mut worker = IntakeWorker::new(Arc::clone(&self.setup), plan, transport, metrics)?;
        worker.bounds = self.bounds;
        worker.status = self.status.clone();
        worker.stop = self.stop.clone();
        worker.topic_check_interval = self.topic_check_interval;
        worker.lookup_wait_limit = self.lookup_wait_limit;
        Ok(worker)
    }
}
