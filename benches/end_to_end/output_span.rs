//! How long outputs took to come, as the broker noted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const DEADLINE: Duration = Duration::from_secs(900);
/// How many partitions of a topic are looked at for its first and last output.
const SAMPLED_PARTITIONS: i32 = 4;

/// From the first output to the last one on some topics, in seconds, by the broker's clock. Reads as the
/// group `name`.
pub fn output_span_s(
    clients: &ClientConfig,
    (name, topics): (&str, &[String]),
    records: u64,
) -> f64 {
    let consumer: BaseConsumer = clients
        .clone()
        .set("group.id", name)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_uncommitted")
        .set("fetch.message.max.bytes", "16384")
        .create()
        .expect("a consumer");
    let (mut firsts, mut lasts) = (TopicPartitionList::new(), TopicPartitionList::new());
    for topic in topics {
        let found = consumer.fetch_metadata(Some(topic), DEADLINE).expect("metadata");
        let partitions = i32::try_from(found.topics()[0].partitions().len()).unwrap();
        let mut messages = 0;
        for partition in 0..partitions {
            let (low, high) =
                consumer.fetch_watermarks(topic, partition, DEADLINE).expect("watermarks");
            messages += high - low;
            if partition < SAMPLED_PARTITIONS && high > low {
                let (first, last) = (Offset::Offset(low), Offset::Offset((high - 20).max(low)));
                firsts.add_partition_offset(topic, partition, first).unwrap();
                lasts.add_partition_offset(topic, partition, last).unwrap();
            }
        }
        // Each commit adds a marker to every partition that it touched.
        assert!(messages >= i64::try_from(records).unwrap(), "{topic} lacks outputs");
    }
    let first = message_times(&consumer, &firsts, false).into_iter().min();
    let last = message_times(&consumer, &lasts, true).into_iter().max();
    let span = last.expect("outputs") - first.expect("outputs");
    (span.max(1)) as f64 / 1_000.0
}

/// The times of one record of each partition, or of all that come.
fn message_times(consumer: &BaseConsumer, list: &TopicPartitionList, all: bool) -> Vec<i64> {
    consumer.assign(list).expect("assigns");
    let mut open: BTreeMap<(String, i32), ()> =
        list.elements().iter().map(|one| ((one.topic().to_owned(), one.partition()), ())).collect();
    let mut left = open.len();
    let mut times = Vec::new();
    let start = Instant::now();
    while left > 0 {
        assert!(start.elapsed() < DEADLINE, "outputs can be read");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let place = (message.topic().to_owned(), message.partition());
                if all || open.remove(&place).is_some() {
                    times.extend(message.timestamp().to_millis());
                    left -= usize::from(!all);
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => left -= usize::from(all),
            _ => {}
        }
    }
    consumer.unassign().expect("unassigns");
    times
}
