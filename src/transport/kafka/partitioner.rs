//! Where a key belongs, and whether the keys of a topic lie where its producers'
//! partitioner puts them.
//!
//! Pure: it is given keys and says what fits. It never reads a topic.

use std::collections::BTreeSet;

pub use crate::policy::settings::Partitioner;

/// How many keys of a sample may lie elsewhere before a topic is refused, where
/// no other partitioner explains them: a few strays are for the running lane.
const STRAYS_MAX: usize = 10;

impl Partitioner {
    /// The partition of `key` among `partitions`, which are at least one.
    #[must_use]
    pub fn partition(self, key: &[u8], partitions: u32) -> u32 {
        self.hash(key) % partitions.max(1)
    }

    #[inline]
    fn hash(self, key: &[u8]) -> u32 {
        match self {
            Partitioner::Murmur2 => murmur2(key) & 0x7fff_ffff,
            Partitioner::Crc32 => crc32fast::hash(key),
            Partitioner::Fnv1a => fnv1a(key),
        }
    }

    /// Whether `key` belongs in `partition` among `count`.
    fn fits(self, (partition, key): &(i32, Vec<u8>), count: u32) -> bool {
        u32::try_from(*partition) == Ok(self.partition(key, count))
    }
}

/// Where the keys of one source belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    partitioner: Partitioner,
    partitions: u32,
}

impl Placement {
    /// `None` where there is nothing to compare: with one partition only.
    #[must_use]
    pub fn new(partitioner: Partitioner, partitions: i32) -> Option<Self> {
        let partitions = u32::try_from(partitions).ok()?;
        (partitions > 1).then_some(Placement {
            partitioner,
            partitions,
        })
    }

    /// Returns the partition that `key` belongs in.
    #[must_use]
    pub fn partition_of(self, key: &[u8]) -> i32 {
        let partition = self.partitioner.partition(key, self.partitions);
        i32::try_from(partition).unwrap_or(i32::MAX)
    }

    /// Returns the partition that `key` belongs in, where that is not
    /// `partition`. Without a key, or with an empty one, there is none: such a
    /// record is refused for that.
    #[inline]
    #[must_use]
    pub fn elsewhere(self, key: Option<&[u8]>, partition: i32) -> Option<i32> {
        let key = key.filter(|key| !key.is_empty())?;
        let home = self.partition_of(key);
        (home != partition).then_some(home)
    }
}

/// The keys found in one joined source.
#[derive(Clone, Debug)]
pub struct JoinedTopic {
    /// As it is called outside.
    pub name: String,
    pub partitions: i32,
    /// Distinct keys with the partitions that they lie in, without those of
    /// records that were repaired.
    pub keys: Vec<(i32, Vec<u8>)>,
}

impl JoinedTopic {
    /// How many keys lie elsewhere than `partitioner` puts them.
    fn strays(&self, partitioner: Partitioner) -> usize {
        let count = u32::try_from(self.partitions).unwrap_or(1).max(1);
        let keys = self.keys.iter();
        keys.filter(|key| !partitioner.fits(key, count)).count()
    }

    /// The partitioners that put every key where it lies.
    fn fitting(&self) -> BTreeSet<Partitioner> {
        let all = Partitioner::ALL.into_iter();
        all.filter(|one| self.strays(*one) == 0).collect()
    }

    /// What is wrong with the topic's keys under this setting.
    fn misfit(&self, setting: Partitioner) -> Option<String> {
        let strays = self.strays(setting);
        let fitting = self.fitting();
        if strays == 0 || (strays <= STRAYS_MAX && fitting.is_empty()) {
            return None;
        }
        let fit: Vec<String> = fitting
            .iter()
            .map(|fit| format!("`{}`", fit.as_str()))
            .collect();
        let fit = match fit.is_empty() {
            true => "no single known partitioner does".to_owned(),
            false => format!("{} does", fit.join(" or ")),
        };
        Some(format!(
            "topic `{}`: {strays} of {} keys do not lie where `{}` puts them; {fit}",
            self.name,
            self.keys.len(),
            setting.as_str(),
        ))
    }
}

/// Checks that records of one patron lie in the same partition of each topic,
/// the one where `setting` puts their key.
///
/// # Errors
///
/// Which topics differ, in what, and how to fix it.
pub fn co_partitioned(topics: &[JoinedTopic], setting: Partitioner) -> Result<(), String> {
    wrong_setting(topics, setting)?;
    let misfits = misfits(topics, setting);
    if misfits.is_empty() {
        return Ok(());
    }
    Err(format!(
        "`[kafka] partitioner` is \"{}\". {misfits}. No one setting fits all joined topics, so \
         that records of one patron lie in different partitions: let all producers use one \
         partitioner (in librdkafka `partitioner={}`), and write again what is no patron, consent \
         or objection; those `zeef gates repair` writes once more in their places",
        setting.as_str(),
        producer_setting(setting)
    ))
}

/// Checks that no other setting fits all topics where this one does not, and that
/// they have the same number of partitions.
///
/// # Errors
///
/// Which setting does fit, or which numbers of partitions there are.
pub fn wrong_setting(topics: &[JoinedTopic], setting: Partitioner) -> Result<(), String> {
    same_counts(topics)?;
    let misfits = misfits(topics, setting);
    let common = topics
        .iter()
        .fold(BTreeSet::from(Partitioner::ALL), |common, topic| {
            common.intersection(&topic.fitting()).copied().collect()
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

fn misfits(topics: &[JoinedTopic], setting: Partitioner) -> String {
    let misfits = topics.iter().filter_map(|topic| topic.misfit(setting));
    misfits.collect::<Vec<String>>().join("; ")
}

/// What librdkafka calls the partitioner, as a producer's property.
pub(super) fn producer_setting(partitioner: Partitioner) -> &'static str {
    match partitioner {
        Partitioner::Murmur2 => "murmur2_random",
        Partitioner::Crc32 => "consistent_random",
        Partitioner::Fnv1a => "fnv1a_random",
    }
}

fn same_counts(topics: &[JoinedTopic]) -> Result<(), String> {
    let counts: BTreeSet<i32> = topics.iter().map(|topic| topic.partitions).collect();
    if counts.len() <= 1 {
        return Ok(());
    }
    let most = counts.last().copied().unwrap_or_default();
    let list: Vec<String> = topics
        .iter()
        .map(|topic| format!("`{}` has {}", topic.name, topic.partitions))
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
    let hash = key.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    hash.cast_signed().unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of Kafka's own test of its `murmur2`.
    #[test]
    fn murmur2_is_that_of_java() {
        for (key, want) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), want.cast_unsigned(), "{key}");
        }
    }

    #[test]
    fn others() {
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
        assert_eq!(fnv1a(b""), 0x7ee3_623b);
        assert_eq!(fnv1a(b"kafka"), 0x0d33_c4e1);
    }

    fn keys(partitioner: Partitioner, partitions: u32) -> Vec<(i32, Vec<u8>)> {
        (0..200)
            .map(|n| {
                let key = format!("patron-{n}").into_bytes();
                (partitioner.partition(&key, partitions).cast_signed(), key)
            })
            .collect()
    }

    fn topic(name: &str, partitions: i32, keys: Vec<(i32, Vec<u8>)>) -> JoinedTopic {
        JoinedTopic {
            name: name.to_owned(),
            partitions,
            keys,
        }
    }

    #[test]
    fn each_is_told_from_the_others() {
        for partitioner in Partitioner::ALL {
            let fitting = |partitions, keys| topic("t", partitions, keys).fitting();
            assert_eq!(
                fitting(6, keys(partitioner, 6)),
                BTreeSet::from([partitioner])
            );
            // Partitions were added since: what lies there fits nothing.
            assert!(fitting(6, keys(partitioner, 4)).is_empty());
        }
        assert_eq!(topic("t", 6, Vec::new()).fitting().len(), 3);
        assert_eq!(
            topic("t", 1, keys(Partitioner::Crc32, 1)).fitting().len(),
            3
        );
        assert!(
            topic("t", 6, vec![(-1, b"a".to_vec())])
                .fitting()
                .is_empty()
        );
    }

    #[test]
    fn a_key_has_one_place() {
        assert_eq!(Placement::new(Partitioner::Murmur2, 1), None);
        assert_eq!(Placement::new(Partitioner::Murmur2, 0), None);
        for partitioner in Partitioner::ALL {
            let placement = Placement::new(partitioner, 6).unwrap();
            for (partition, key) in keys(partitioner, 6) {
                assert_eq!(placement.partition_of(&key), partition);
                for other in 0..6 {
                    let want = (other != partition).then_some(partition);
                    assert_eq!(placement.elsewhere(Some(&key), other), want);
                }
            }
            assert_eq!(placement.elsewhere(None, 3), None);
            assert_eq!(placement.elsewhere(Some(b""), 3), None);
        }
    }

    #[track_caller]
    fn check(setting: Partitioner, topics: &[JoinedTopic], want: Option<&[&str]>) {
        match (co_partitioned(topics, setting), want) {
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
    fn joined_topics_lie_as_the_setting_says() {
        use Partitioner::{Crc32, Fnv1a, Murmur2};
        let one = |name, partitioner| topic(name, 6, keys(partitioner, 6));
        let empty = |name| topic(name, 6, Vec::new());
        check(Murmur2, &[], None);
        check(Murmur2, &[one("patron", Murmur2), empty("loan")], None);
        check(Crc32, &[one("patron", Crc32), empty("loan")], None);
        check(
            Murmur2,
            &[one("patron", Murmur2), topic("loan", 8, Vec::new())],
            Some(&["`patron` has 6", "`loan` has 8", "instance 8"]),
        );
        check(
            Murmur2,
            &[one("patron", Crc32), one("loan", Crc32), empty("debt")],
            Some(&[
                "`patron`",
                "`crc32` does",
                "set `[kafka] partitioner = \"crc32\"`",
            ]),
        );
        check(
            Murmur2,
            &[one("patron", Murmur2), one("objection", Crc32)],
            Some(&[
                "topic `objection`",
                "`crc32` does",
                "partitioner=murmur2_random",
                "zeef gates repair",
            ]),
        );
        check(
            Fnv1a,
            &[one("patron", Murmur2), one("loan", Crc32)],
            Some(&["topic `patron`", "topic `loan`", "fnv1a_random"]),
        );
    }

    #[test]
    fn a_few_strays_are_no_other_partitioner() {
        use Partitioner::Murmur2;
        let with_strays = |count: usize| {
            let mut keys = keys(Murmur2, 6);
            for (partition, _) in keys.iter_mut().take(count) {
                *partition = (*partition + 1) % 6;
            }
            topic("loan", 6, keys)
        };
        check(Murmur2, &[with_strays(0)], None);
        check(Murmur2, &[with_strays(STRAYS_MAX)], None);
        check(
            Murmur2,
            &[with_strays(STRAYS_MAX + 1)],
            Some(&["11 of 200 keys", "no single known partitioner"]),
        );
    }
}
