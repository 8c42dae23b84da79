//! A machine's clock that is another one than the broker's.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use zeef::daemon::metrics::Metrics;
use zeef::daemon::run::LaneSetup;
use zeef::daemon::worker::{Worker, WorkerExit};
use zeef::engine::pipeline::Pipeline;
use zeef::message::Fault;
use zeef::message::commands::{CommandLog, CommandRecord, OperatorCommand};
use zeef::transport::StopSignal;
use zeef::transport::kafka::KafkaTransport;

use super::fixture::finding_codes;
use crate::harness::{Broker, ConfigTweaks, Deployment, HOLD_LIMITS, sample_library};

const MINUTE_MS: i64 = 60_000;

/// Runs a lane to its end, on a machine whose clock is so far ahead.
fn run_lane_with_clock_offset(
    deployment: &Deployment<'_>,
    ahead_ms: i64,
    commands: CommandLog,
) -> Result<WorkerExit, Fault> {
    let [mut lane] = <[LaneSetup; 1]>::try_from(deployment.lanes()).expect("one lane");
    lane.set_commands(&Arc::new(commands));
    let opened = KafkaTransport::open(
        deployment.topics.kafka_settings(),
        lane.plan.clone(),
        0,
        StopSignal::default(),
    );
    let mut pipeline =
        Pipeline::with_state(lane.lane.clone(), lane.state_keys.clone(), HOLD_LIMITS);
    pipeline.deliveries_mut().unwrap().continuity = lane.continuity.clone();
    let metrics = Metrics::new(&lane.plan.policy_version).unwrap();
    let mut worker = Worker::new(pipeline, opened.unwrap(), metrics.worker_metrics(&lane.lane, 0));
    worker.clock = Box::new(move || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(now.as_millis()).unwrap() + ahead_ms
    });
    worker.run()
}

#[test]
fn clock_skew_stops_a_lane_before_it_decides() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let tweaks = ConfigTweaks { partitions: 1, ..ConfigTweaks::default() };
    let deployment = Deployment::new(broker, "clock", tweaks);
    deployment.write_library(&sample_library(21, 40));
    let is_empty = || deployment.read_outputs().values().all(|keys| keys.is_empty());
    let mut stop_reason = String::new();
    // Of 1972, an hour behind, and a year ahead.
    for ahead in [-54 * 365 * 24 * 60, -60, 365 * 24 * 60] {
        let ended =
            run_lane_with_clock_offset(&deployment, ahead * MINUTE_MS, CommandLog::default());
        let Err(Fault::Stop(cause)) = ended else {
            panic!("{ahead}: {ended:?}");
        };
        let why = cause.to_string();
        assert!(why.contains("another clock"), "{why}");
        assert!(is_empty(), "{ahead}");
        stop_reason = why;
    }
    let mut commands = CommandLog::default();
    let [code] = <[String; 1]>::try_from(finding_codes(&stop_reason)).unwrap();
    let text = CommandRecord::new(OperatorCommand::Accept { code }, String::new(), String::new());
    commands.add_message(0, &text.encode()).unwrap();
    let ended = run_lane_with_clock_offset(&deployment, -60 * MINUTE_MS, commands);
    assert!(matches!(ended, Err(Fault::Stop(_))), "it is of another clock");

    // A machine that is a minute off is an ordinary one.
    let ended = run_lane_with_clock_offset(&deployment, MINUTE_MS, CommandLog::default());
    assert_eq!(ended, Ok(WorkerExit::EndOfInput));
    assert!(!is_empty());
}
