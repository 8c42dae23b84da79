//! Which partitioner wrote a topic, seen from its keys.
//!
//! Pure: it is given keys and says what fits. It never reads a topic.

use std::collections::BTreeSet;

/// A function from key to partition that producers are known to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Partitioner {
    /// Java clients.
    Murmur2,
    /// librdkafka, where nothing else is set.
    Crc32,
    /// Sarama, where nothing else is set.
    Fnv1a,
}

impl Partitioner {
    pub const ALL: [Partitioner; 3] =
        [Partitioner::Murmur2, Partitioner::Crc32, Partitioner::Fnv1a];

    /// The name that producers' settings have for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Partitioner::Murmur2 => "murmur2",
            Partitioner::Crc32 => "crc32 (consistent)",
            Partitioner::Fnv1a => "fnv1a",
        }
    }

    /// The partition of `key` among `partitions`, which are at least one.
    #[must_use]
    pub fn partition(self, key: &[u8], partitions: u32) -> u32 {
        self.hash(key) % partitions.max(1)
    }

    fn hash(self, key: &[u8]) -> u32 {
        match self {
            Partitioner::Murmur2 => murmur2(key) & 0x7fff_ffff,
            Partitioner::Crc32 => crc32fast::hash(key),
            Partitioner::Fnv1a => fnv1a(key),
        }
    }

    /// Whether each key lies where this puts it among `count` partitions.
    ///
    /// A topic that was given partitions still holds what was written before:
    /// such a key lies where it does among some smaller number, the same for
    /// all of them.
    fn fits(self, keys: &[(i32, Vec<u8>)], count: u32) -> bool {
        let lies = |found: i32, hash: u32, count: u32| u32::try_from(found) == Ok(hash % count);
        let before: Vec<(i32, u32)> = keys
            .iter()
            .map(|(found, key)| (*found, self.hash(key)))
            .filter(|(found, hash)| !lies(*found, *hash, count))
            .collect();
        before.is_empty()
            || (1..count).any(|fewer| {
                before
                    .iter()
                    .all(|(found, hash)| lies(*found, *hash, fewer))
            })
    }
}

/// Which partitioners may have put each key where it was found, also before
/// the topic was given its last partitions.
///
/// Without keys, or with one partition only, all of them fit.
#[must_use]
pub fn fits(keys: &[(i32, Vec<u8>)], partitions: i32) -> BTreeSet<Partitioner> {
    let count = u32::try_from(partitions).unwrap_or(1).max(1);
    Partitioner::ALL
        .into_iter()
        .filter(|partitioner| partitioner.fits(keys, count))
        .collect()
}

/// What is known of one joined source.
#[derive(Clone, Debug)]
pub struct JoinedTopic {
    pub name: String,
    pub partitions: i32,
    /// From [`fits`].
    pub fits: BTreeSet<Partitioner>,
}

/// Checks that records of one patron lie in the same partition of each topic.
///
/// # Errors
///
/// Which topics differ, in what, and how to fix it.
pub fn co_partitioned(topics: &[JoinedTopic]) -> Result<(), String> {
    same_counts(topics)?;
    let common = topics
        .iter()
        .fold(BTreeSet::from(Partitioner::ALL), |common, topic| {
            common.intersection(&topic.fits).copied().collect()
        });
    if !common.is_empty() || topics.iter().all(|topic| topic.partitions <= 1) {
        return Ok(());
    }
    let list: Vec<String> = topics.iter().map(describe).collect();
    Err(format!(
        "joined topics were written with different partitioners, so that the records of one \
         patron lie in different partitions: {}; let all producers use one partitioner (Java's is \
         `partitioner=murmur2_random` in librdkafka) and write the other topics anew",
        list.join(", ")
    ))
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

fn describe(topic: &JoinedTopic) -> String {
    let names: Vec<&str> = topic.fits.iter().map(|fit| fit.as_str()).collect();
    if names.is_empty() {
        format!("`{}` fits no single known partitioner", topic.name)
    } else {
        format!("`{}` fits {}", topic.name, names.join(" or "))
    }
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

    #[test]
    fn each_is_told_from_the_others() {
        for partitioner in Partitioner::ALL {
            assert_eq!(
                fits(&keys(partitioner, 6), 6),
                BTreeSet::from([partitioner])
            );
        }
        assert_eq!(fits(&[], 6).len(), 3);
        assert_eq!(fits(&keys(Partitioner::Crc32, 1), 1).len(), 3);
        assert!(fits(&[(-1, b"a".to_vec())], 6).is_empty());
    }

    #[test]
    fn partitions_that_were_added_keep_the_partitioner() {
        for partitioner in Partitioner::ALL {
            let mut written = keys(partitioner, 4);
            written.extend((0..200).map(|n| {
                let key = format!("later-{n}").into_bytes();
                (partitioner.partition(&key, 6).cast_signed(), key)
            }));
            assert_eq!(fits(&written, 6), BTreeSet::from([partitioner]));
            assert_eq!(
                fits(&keys(partitioner, 4), 6),
                BTreeSet::from([partitioner])
            );
        }
        // Two of them in one topic are none.
        let mut both = keys(Partitioner::Murmur2, 6);
        both.extend(keys(Partitioner::Crc32, 6));
        assert!(fits(&both, 6).is_empty());
    }

    #[track_caller]
    fn check(topics: &[(&str, i32, &[Partitioner])], want: Option<&[&str]>) {
        let topics: Vec<JoinedTopic> = topics
            .iter()
            .map(|(name, partitions, fits)| JoinedTopic {
                name: (*name).into(),
                partitions: *partitions,
                fits: fits.iter().copied().collect(),
            })
            .collect();
        match (co_partitioned(&topics), want) {
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
    fn joined_topics() {
        use Partitioner::{Crc32, Fnv1a, Murmur2};
        let all = &Partitioner::ALL[..];
        check(&[], None);
        check(&[("patron", 6, &[Murmur2]), ("loan", 6, all)], None);
        check(
            &[("patron", 6, &[Murmur2]), ("loan", 8, &[Murmur2])],
            Some(&["`patron` has 6", "`loan` has 8", "instance 8"]),
        );
        check(
            &[
                ("patron", 6, &[Murmur2]),
                ("loan", 6, &[Crc32]),
                ("debt", 6, all),
            ],
            Some(&["`patron` fits murmur2", "`loan` fits crc32"]),
        );
        check(
            &[("patron", 6, &[Murmur2, Crc32]), ("loan", 6, &[Fnv1a])],
            Some(&["murmur2 or crc32"]),
        );
        check(&[("patron", 6, &[])], Some(&["no single known"]));
    }
}
