//! Finds out whether the group's assignment is older than its topics' partitions.
//!
//! A static member that returns gets its former partitions without a rebalance, even if
//! partitions were added since. Nobody would read those.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::groups::GroupInfo;

use super::source::KafkaSource;

const CALL_TIMEOUT: Duration = Duration::from_secs(5);

type TopicPartitions = BTreeSet<(String, i32)>;

/// Returns a partition that no member of a settled group owns.
///
/// Asks nobody if `own`, the assignment of this member, is everything. Without an answer
/// nothing is known to be wrong.
pub(super) fn find_unassigned<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    group: &str,
    sources: &[KafkaSource],
    own_assignment: &[(String, i32)],
) -> Option<(String, i32)> {
    let mut unassigned: TopicPartitions = sources
        .iter()
        .flat_map(|source| (0..source.partition_count).map(|p| (source.topic.clone(), p)))
        .collect();
    for place in own_assignment {
        unassigned.remove(place);
    }
    if unassigned.is_empty() {
        return None;
    }
    let list = consumer.fetch_group_list(Some(group), CALL_TIMEOUT).ok()?;
    let found = list.groups().iter().find(|found| found.name() == group)?;
    let assigned = assigned_partitions(found)?;
    unassigned.into_iter().find(|place| !assigned.contains(place))
}

/// Returns the assignments of a settled group, or `None` if it is not settled.
fn assigned_partitions(group: &GroupInfo) -> Option<TopicPartitions> {
    if group.state() != "Stable" {
        return None;
    }
    let mut all = TopicPartitions::new();
    for member in group.members() {
        all.extend(parse_assignment(member.assignment()?)?);
    }
    Some(all)
}

/// Parses an assignment of the classic protocol: a version, then topics with their
/// partitions.
fn parse_assignment(bytes: &[u8]) -> Option<TopicPartitions> {
    let mut rest = bytes;
    let _version = i16::from_be_bytes(take_bytes(&mut rest)?);
    let mut all = TopicPartitions::new();
    for _ in 0..i32::from_be_bytes(take_bytes(&mut rest)?) {
        let length = usize::try_from(i16::from_be_bytes(take_bytes(&mut rest)?)).ok()?;
        let (name, after) = rest.split_at_checked(length)?;
        rest = after;
        let name = std::str::from_utf8(name).ok()?;
        for _ in 0..i32::from_be_bytes(take_bytes(&mut rest)?) {
            let partition = i32::from_be_bytes(take_bytes(&mut rest)?);
            all.insert((name.to_owned(), partition));
        }
    }
    Some(all)
}

fn take_bytes<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_TOPICS_ASSIGNMENT: &[u8] = b"\0\x03\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x01\0\x02bc\0\0\0\x01\0\0\0\x07\xff\xff\xff\xff";

    #[test]
    fn assignment_is_parsed_into_topic_partitions() {
        let want = [("a", 0), ("a", 1), ("bc", 7)].map(|(topic, p)| (topic.to_owned(), p));
        assert_eq!(parse_assignment(TWO_TOPICS_ASSIGNMENT), Some(want.into()));
        assert_eq!(parse_assignment(b"\0\0\0\0\0\0"), Some(TopicPartitions::new()));
    }

    #[test]
    fn assignment_that_is_truncated_is_not_parsed() {
        for length in 0..TWO_TOPICS_ASSIGNMENT.len() - 4 {
            assert_eq!(parse_assignment(&TWO_TOPICS_ASSIGNMENT[..length]), None, "{length}");
        }
    }
}
