//! A machine's clock that is another one than the broker's.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use zeef::daemon::metrics::Metrics;
use zeef::daemon::run::LaneRun;
use zeef::daemon::worker::{Ended, Worker};
use zeef::engine::pipeline::Pipeline;
use zeef::transport::commands::{Command, CommandText, Commands};
use zeef::transport::kafka::KafkaTransport;
use zeef::transport::{Fault, Stop};

use super::town::codes;
use crate::harness::{Broker, HOLDS, Scene, Tweaks, library};

const MINUTE_MS: i64 = 60_000;

/// Runs a lane to its end, on a machine whose clock is so far ahead.
fn run(scene: &Scene<'_>, ahead_ms: i64, commands: Commands) -> Result<Ended, Fault> {
    let [mut lane] = <[LaneRun; 1]>::try_from(scene.lanes()).expect("one lane");
    lane.take_commands(&Arc::new(commands));
    let opened = KafkaTransport::open(
        scene.topics.worker_settings(),
        lane.plan.clone(),
        0,
        Stop::default(),
    );
    let mut pipeline = Pipeline::with_state(lane.lane.clone(), lane.namer.clone(), HOLDS);
    pipeline.holding_mut().unwrap().continuity = lane.continuity.clone();
    let metrics = Metrics::new(&lane.plan.policy_version).unwrap();
    let mut worker = Worker::new(pipeline, opened.unwrap(), metrics.worker(&lane.lane, 0));
    worker.clock = Box::new(move || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(now.as_millis()).unwrap() + ahead_ms
    });
    worker.run()
}

#[test]
fn another_clock_stops_a_lane_before_it_decides() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let tweaks = Tweaks {
        partitions: 1,
        ..Tweaks::default()
    };
    let scene = Scene::new(broker, "clock", tweaks);
    scene.write_library(&library(21, 40));
    let is_empty = || scene.found().values().all(|keys| keys.is_empty());
    let mut said = String::new();
    // Of 1972, an hour behind, and a year ahead.
    for ahead in [-54 * 365 * 24 * 60, -60, 365 * 24 * 60] {
        let ended = run(&scene, ahead * MINUTE_MS, Commands::default());
        let Err(Fault::Stop(why)) = ended else {
            panic!("{ahead}: {ended:?}");
        };
        assert!(why.contains("another clock"), "{why}");
        assert!(is_empty(), "{ahead}");
        said = why;
    }
    let mut commands = Commands::default();
    let [code] = <[String; 1]>::try_from(codes(&said)).unwrap();
    let text = CommandText::new(Command::Accept { code }, String::new(), String::new());
    commands.add(0, &text.write()).unwrap();
    let ended = run(&scene, -60 * MINUTE_MS, commands);
    assert!(
        matches!(ended, Err(Fault::Stop(_))),
        "it is of another clock"
    );

    // A machine that is a minute off is an ordinary one.
    let ended = run(&scene, MINUTE_MS, Commands::default());
    assert_eq!(ended, Ok(Ended::AtEnd));
    assert!(!is_empty());
}
