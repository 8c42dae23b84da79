//! Lanes that nobody may run while their states are rewritten.

use std::time::{Duration, Instant};

use super::exit::{CliFailure, pluralise};
use crate::engine::lane::STATE_TOPIC_PREFIX;
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::lane_states::{StateReader, StateTopic};

/// How much longer than its session a stopped member may stay in a group.
const MEMBER_LEAVE_GRACE: Duration = Duration::from_secs(5);
const MEMBER_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Waits until no lane runs. A stopped member stays in its group for a while.
pub(super) fn wait_for_members_to_leave(
    (settings, states): (&KafkaSettings, &StateReader<'_>),
    topics: &[StateTopic],
) -> anyhow::Result<()> {
    let until = Instant::now() + settings.session_timeout + MEMBER_LEAVE_GRACE;
    for topic in topics {
        let lane = lane_of_state_topic(&topic.name);
        loop {
            let members = states.member_count(lane)?;
            if members == 0 {
                break;
            }
            if Instant::now() >= until {
                return Err(CliFailure::Config(format!(
                    "{} of lane `{lane}` run: stop all processes first",
                    pluralise(members, "worker")
                ))
                .into());
            }
            std::thread::sleep(MEMBER_POLL_INTERVAL);
        }
    }
    Ok(())
}

/// Returns the name of a lane from that of its state.
pub(super) fn lane_of_state_topic(topic: &str) -> &str {
    topic.strip_prefix(STATE_TOPIC_PREFIX).unwrap_or(topic)
}
