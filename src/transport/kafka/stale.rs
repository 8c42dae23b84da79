//! Whether the group's assignment is older than its topics' partitions.
//!
//! A static member that comes back gets what it had, without a rebalance: also
//! where partitions were added since. Nobody would read them.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::groups::GroupInfo;

use super::consumer::Source;

const CALL: Duration = Duration::from_secs(5);

type Partitions = BTreeSet<(String, i32)>;

/// A partition that no member of the group has, though it settled.
///
/// `own` is what this member was assigned; where that is everything, nobody is
/// asked. Without an answer nothing is known to be wrong.
pub(super) fn forgotten<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    group: &str,
    sources: &[Source],
    own: &[(String, i32)],
) -> Option<(String, i32)> {
    let mut left: Partitions = sources
        .iter()
        .flat_map(|source| (0..source.partitions).map(|p| (source.topic.clone(), p)))
        .collect();
    for place in own {
        left.remove(place);
    }
    if left.is_empty() {
        return None;
    }
    let list = consumer.fetch_group_list(Some(group), CALL).ok()?;
    let found = list.groups().iter().find(|found| found.name() == group)?;
    let assigned = assigned(found)?;
    left.into_iter().find(|place| !assigned.contains(place))
}

/// What the members of a settled group have; `None` while it is not settled.
fn assigned(group: &GroupInfo) -> Option<Partitions> {
    if group.state() != "Stable" {
        return None;
    }
    let mut all = Partitions::new();
    for member in group.members() {
        all.extend(parse(member.assignment()?)?);
    }
    Some(all)
}

/// Reads an assignment as the classic protocol writes it: a version, then
/// topics with their partitions.
fn parse(bytes: &[u8]) -> Option<Partitions> {
    let mut rest = bytes;
    let _version = i16::from_be_bytes(take(&mut rest)?);
    let mut all = Partitions::new();
    for _ in 0..i32::from_be_bytes(take(&mut rest)?) {
        let length = usize::try_from(i16::from_be_bytes(take(&mut rest)?)).ok()?;
        let (name, after) = rest.split_at_checked(length)?;
        rest = after;
        let name = std::str::from_utf8(name).ok()?;
        for _ in 0..i32::from_be_bytes(take(&mut rest)?) {
            let partition = i32::from_be_bytes(take(&mut rest)?);
            all.insert((name.to_owned(), partition));
        }
    }
    Some(all)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[u8] = b"\0\x03\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x01\0\x02bc\0\0\0\x01\0\0\0\x07\xff\xff\xff\xff";

    #[test]
    fn an_assignment_is_read() {
        let want = [("a", 0), ("a", 1), ("bc", 7)].map(|(topic, p)| (topic.to_owned(), p));
        assert_eq!(parse(TWO), Some(want.into()));
        assert_eq!(parse(b"\0\0\0\0\0\0"), Some(Partitions::new()));
    }

    #[test]
    fn what_is_cut_off_is_not_read() {
        for length in 0..TWO.len() - 4 {
            assert_eq!(parse(&TWO[..length]), None, "{length}");
        }
    }
}
