//! The partition that a key belongs in, and whether the keys of a topic lie where its
//! producers' partitioner puts them.
//!
//! Pure: reads no topic.

use std::collections::BTreeSet;

pub use crate::config::settings::Partitioner;

/// How many sampled keys may be misplaced if no other partitioner explains them: the
/// running lane deals with a few.
const SAMPLE_MISPLACED_MAX: usize = 10;

impl Partitioner {
    /// Returns the partition of `key` among `partitions`, of which there is at least one.
    #[must_use]
    pub fn partition_of_key(self, key: &[u8], partitions: u32) -> u32 {
        self.hash_message_key(key) % partitions.max(1)
    }

    #[inline]
    fn hash_message_key(self, key: &[u8]) -> u32 {
        match self {
            Partitioner::Murmur2 => murmur2(key) & 0x7fff_ffff,
            Partitioner::Crc32 => crc32fast::hash(key),
            Partitioner::Fnv1a => fnv1a(key),
        }
    }

    fn is_key_in_its_partition(self, (partition, key): &(i32, Vec<u8>), count: u32) -> bool {
        u32::try_from(*partition) == Ok(self.partition_of_key(key, count))
    }
}

/// The partitions of the keys of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPlacement {
    partitioner: Partitioner,
    partition_count: u32,
}

impl KeyPlacement {
    /// Returns `None` for one partition, as there is nothing to compare.
    #[must_use]
    pub fn new(partitioner: Partitioner, partitions: i32) -> Option<Self> {
        let partitions = u32::try_from(partitions).ok()?;
        (partitions > 1).then_some(KeyPlacement { partitioner, partition_count: partitions })
    }

    #[must_use]
    pub fn home_partition(self, key: &[u8]) -> i32 {
        let partition = self.partitioner.partition_of_key(key, self.partition_count);
        i32::try_from(partition).unwrap_or(i32::MAX)
    }

    /// Returns the partition that `key` belongs in if that is not `partition`. `None` for a
    /// missing or empty key, for which the record is refused.
    #[inline]
    #[must_use]
    pub fn home_if_misplaced(self, key: Option<&[u8]>, partition: i32) -> Option<i32> {
        let key = key.filter(|key| !key.is_empty())?;
        let home = self.home_partition(key);
        (home != partition).then_some(home)
    }
}

/// The keys found in one joined source.
#[derive(Clone, Debug)]
pub struct JoinedTopicKeys {
    /// The topic name on Kafka.
    pub name: String,
    pub partition_count: i32,
    /// Distinct keys with their partitions, without those of repaired records.
    pub message_keys: Vec<(i32, Vec<u8>)>,
}

impl JoinedTopicKeys {
    /// Returns how many keys lie elsewhere than `partitioner` puts them.
    fn count_misplaced(&self, partitioner: Partitioner) -> usize {
        let count = u32::try_from(self.partition_count).unwrap_or(1).max(1);
        let keys = self.message_keys.iter();
        keys.filter(|key| !partitioner.is_key_in_its_partition(key, count)).count()
    }

    /// Returns the partitioners that put every key where it lies.
    fn fitting_partitioners(&self) -> BTreeSet<Partitioner> {
        let all = Partitioner::ALL.into_iter();
        all.filter(|one| self.count_misplaced(*one) == 0).collect()
    }

    /// Returns what is wrong with the topic's keys under `setting`.
    fn describe_misfit(&self, setting: Partitioner) -> Option<String> {
        let misplaced = self.count_misplaced(setting);
        let fitting = self.fitting_partitioners();
        if misplaced == 0 || (misplaced <= SAMPLE_MISPLACED_MAX && fitting.is_empty()) {
            return None;
        }
        let fit: Vec<String> = fitting.iter().map(|fit| format!("`{}`", fit.as_str())).collect();
        let fit = match fit.is_empty() {
            true => "no single known partitioner does".to_owned(),
            false => format!("{} does", fit.join(" or ")),
        };
        Some(format!(
            "topic `{}`: {misplaced} of {} keys do not lie where `{}` puts them; {fit}",
            self.name,
            self.message_keys.len(),
            setting.as_str(),
        ))
    }
}

/// Checks that records of one patron lie in the same partition of each topic, the one where
/// `setting` puts their key.
///
/// # Errors
///
/// Which topics differ, how, and what to do.
pub fn check_co_partitioned(
    topics: &[JoinedTopicKeys],
    setting: Partitioner,
) -> Result<(), String> {
    check_partitioner_setting(topics, setting)?;
    let misfits = describe_misfits(topics, setting);
    if misfits.is_empty() {
        return Ok(());
    }
    Err(format!(
        "`[kafka] partitioner` is \"{}\". {misfits}. No one setting fits all joined topics, so \
         that records of one patron lie in different partitions: let all producers use one \
         partitioner (in librdkafka `partitioner={}`), and write again what is no patron, consent \
         or objection; those `zeef gates repair` writes once more in their places",
        setting.as_str(),
        librdkafka_partitioner(setting)
    ))
}

/// Checks that no other setting fits all topics better than this one, and that they have
/// the same number of partitions.
///
/// # Errors
///
/// The setting that fits, or the numbers of partitions.
pub fn check_partitioner_setting(
    topics: &[JoinedTopicKeys],
    setting: Partitioner,
) -> Result<(), String> {
    check_partition_counts(topics)?;
    let misfits = describe_misfits(topics, setting);
    let common = topics.iter().fold(BTreeSet::from(Partitioner::ALL), |common, topic| {
        common.intersection(&topic.fitting_partitioners()).copied().collect()
    });
    match common.first() {
        Some(fit) if !misfits.is_empty() => Err(format!(
            "`[kafka] partitioner` is \"{}\". {misfits}: set `[kafka] partitioner = \"{}\"`, \
             which fits all joined topics",
            setting.as_str(),
            fit.as_str()
        )),
        _ => Ok(()),
    }
}

fn describe_misfits(topics: &[JoinedTopicKeys], setting: Partitioner) -> String {
    let misfits = topics.iter().filter_map(|topic| topic.describe_misfit(setting));
    misfits.collect::<Vec<String>>().join("; ")
}

/// Returns librdkafka's name of the partitioner.
pub(super) fn librdkafka_partitioner(partitioner: Partitioner) -> &'static str {
    match partitioner {
        Partitioner::Murmur2 => "murmur2_random",
        Partitioner::Crc32 => "consistent_random",
        Partitioner::Fnv1a => "fnv1a_random",
    }
}

fn check_partition_counts(topics: &[JoinedTopicKeys]) -> Result<(), String> {
    let counts: BTreeSet<i32> = topics.iter().map(|topic| topic.partition_count).collect();
    if counts.len() <= 1 {
        return Ok(());
    }
    let most = counts.last().copied().unwrap_or_default();
    let list: Vec<String> = topics
        .iter()
        .map(|topic| format!("`{}` has {}", topic.name, topic.partition_count))
        .collect();
    Err(format!(
        "joined topics differ in their number of partitions: {}; they need the same number, for \
         instance {most}: recreate the others with it and write their records anew",
        list.join(", ")
    ))
}

/// Java's murmur2 of a key.
fn murmur2(key: &[u8]) -> u32 {
    const MIX: u32 = 0x5bd1_e995;
    let (words, tail) = key.as_chunks::<4>();
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c ^ length;
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MIX);
        mixed = (mixed ^ (mixed >> 24)).wrapping_mul(MIX);
        hash = hash.wrapping_mul(MIX) ^ mixed;
    }
    if !tail.is_empty() {
        for (place, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(MIX);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

/// FNV-1a of a key, made positive as Sarama does it.
fn fnv1a(key: &[u8]) -> u32 {
    let hash = key
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    hash.cast_signed().unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of Kafka's own test of its `murmur2`.
    #[test]
    fn murmur2_hashes_as_java_clients_do() {
        for (key, want) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), want.cast_unsigned(), "{key}");
        }
    }

    #[test]
    fn crc32_and_fnv1a_hash_as_their_clients_do() {
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
        assert_eq!(fnv1a(b""), 0x7ee3_623b);
        assert_eq!(fnv1a(b"kafka"), 0x0d33_c4e1);
    }

    fn message_keys(partitioner: Partitioner, partitions: u32) -> Vec<(i32, Vec<u8>)> {
        (0..200)
            .map(|n| {
                let key = format!("patron-{n}").into_bytes();
                (partitioner.partition_of_key(&key, partitions).cast_signed(), key)
            })
            .collect()
    }

    fn topic(name: &str, partitions: i32, keys: Vec<(i32, Vec<u8>)>) -> JoinedTopicKeys {
        JoinedTopicKeys { name: name.to_owned(), partition_count: partitions, message_keys: keys }
    }

    #[test]
    fn partitioner_is_recognised_by_where_keys_lie() {
        for partitioner in Partitioner::ALL {
            let fitting = |partitions, keys| topic("t", partitions, keys).fitting_partitioners();
            assert_eq!(fitting(6, message_keys(partitioner, 6)), BTreeSet::from([partitioner]));
            // Partitions were added since: old keys fit no partitioner.
            assert!(fitting(6, message_keys(partitioner, 4)).is_empty());
        }
        assert_eq!(topic("t", 6, Vec::new()).fitting_partitioners().len(), 3);
        assert_eq!(
            topic("t", 1, message_keys(Partitioner::Crc32, 1)).fitting_partitioners().len(),
            3
        );
        assert!(topic("t", 6, vec![(-1, b"a".to_vec())]).fitting_partitioners().is_empty());
    }

    #[test]
    fn key_placement_has_one_home_partition_per_key() {
        assert_eq!(KeyPlacement::new(Partitioner::Murmur2, 1), None);
        assert_eq!(KeyPlacement::new(Partitioner::Murmur2, 0), None);
        for partitioner in Partitioner::ALL {
            let placement = KeyPlacement::new(partitioner, 6).unwrap();
            for (partition, key) in message_keys(partitioner, 6) {
                assert_eq!(placement.home_partition(&key), partition);
                for other in 0..6 {
                    let want = (other != partition).then_some(partition);
                    assert_eq!(placement.home_if_misplaced(Some(&key), other), want);
                }
            }
            assert_eq!(placement.home_if_misplaced(None, 3), None);
            assert_eq!(placement.home_if_misplaced(Some(b""), 3), None);
        }
    }

    #[track_caller]
    fn check_co_partitioning(
        setting: Partitioner,
        topics: &[JoinedTopicKeys],
        want: Option<&[&str]>,
    ) {
        match (check_co_partitioned(topics, setting), want) {
            (Ok(()), None) => {}
            (Err(text), Some(parts)) => {
                for part in parts {
                    assert!(text.contains(part), "{text}");
                }
            }
            (found, want) => panic!("{found:?}, expected {want:?}"),
        }
    }

    #[test]
    fn co_partitioning_error_names_the_setting_that_fits() {
        use Partitioner::{Crc32, Fnv1a, Murmur2};
        let one = |name, partitioner| topic(name, 6, message_keys(partitioner, 6));
        let empty = |name| topic(name, 6, Vec::new());
        check_co_partitioning(Murmur2, &[], None);
        check_co_partitioning(Murmur2, &[one("patron", Murmur2), empty("loan")], None);
        check_co_partitioning(Crc32, &[one("patron", Crc32), empty("loan")], None);
        check_co_partitioning(
            Murmur2,
            &[one("patron", Murmur2), topic("loan", 8, Vec::new())],
            Some(&["`patron` has 6", "`loan` has 8", "instance 8"]),
        );
        check_co_partitioning(
            Murmur2,
            &[one("patron", Crc32), one("loan", Crc32), empty("debt")],
            Some(&["`patron`", "`crc32` does", "set `[kafka] partitioner = \"crc32\"`"]),
        );
        check_co_partitioning(
            Murmur2,
            &[one("patron", Murmur2), one("objection", Crc32)],
            Some(&[
                "topic `objection`",
                "`crc32` does",
                "partitioner=murmur2_random",
                "zeef gates repair",
            ]),
        );
        check_co_partitioning(
            Fnv1a,
            &[one("patron", Murmur2), one("loan", Crc32)],
            Some(&["topic `patron`", "topic `loan`", "fnv1a_random"]),
        );
    }

    #[test]
    fn co_partitioning_tolerates_a_few_misplaced_keys() {
        use Partitioner::Murmur2;
        let with_strays = |count: usize| {
            let mut keys = message_keys(Murmur2, 6);
            for (partition, _) in keys.iter_mut().take(count) {
                *partition = (*partition + 1) % 6;
            }
            topic("loan", 6, keys)
        };
        check_co_partitioning(Murmur2, &[with_strays(0)], None);
        check_co_partitioning(Murmur2, &[with_strays(SAMPLE_MISPLACED_MAX)], None);
        check_co_partitioning(
            Murmur2,
            &[with_strays(SAMPLE_MISPLACED_MAX + 1)],
            Some(&["11 of 200 keys", "no single known partitioner"]),
        );
    }
}
