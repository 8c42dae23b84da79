//! Topics of one test, under a prefix that no other test has.

use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic,
    ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};
use zeef::transport::kafka::KafkaSettings;

use super::{
    Broker, ConsumedMessage, ProducerPartitioner, ProducerRecord, TestProducer, eventually,
};

const WAIT_TIMEOUT: Duration = Duration::from_secs(90);

/// The topics of one test.
pub(crate) struct TestTopics<'a> {
    broker: &'a Broker,
    prefix: String,
    admin: AdminClient<DefaultClientContext>,
}

impl<'a> TestTopics<'a> {
    /// Takes a prefix made of the test's name and chance.
    pub(crate) fn new(broker: &'a Broker, test: &str) -> Self {
        let chance = getrandom::u32().unwrap();
        Self {
            broker,
            prefix: format!("{test}-{chance:08x}."),
            admin: broker.client_config().create().unwrap(),
        }
    }

    /// What stands before each topic's name, its full stop included.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Settings of a worker that runs in the test, to the end of what there is.
    pub(crate) fn kafka_settings(&self) -> KafkaSettings {
        let properties = self.broker.client_properties().into_iter();
        KafkaSettings {
            brokers: self.broker.bootstrap_server().to_owned(),
            properties: properties
                .filter(|(name, _)| *name != "bootstrap.servers")
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            topic_prefix: self.prefix.clone(),
            instance: "a".to_owned(),
            until_end: true,
            ..KafkaSettings::default()
        }
    }

    /// The full name of `topic`; also good for groups and transactional ids.
    pub(crate) fn full_name(&self, topic: &str) -> String {
        format!("{}{topic}", self.prefix)
    }

    /// Creates `topic` and yields its full name.
    #[track_caller]
    pub(crate) fn create(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
        let name = self.full_name(topic);
        let mut new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        for (setting, value) in settings {
            new = new.set(setting, value);
        }
        let made = block_on(self.admin.create_topics([&new], &admin_options())).unwrap();
        for result in made {
            result.unwrap();
        }
        eventually(&format!("{name} can be seen"), WAIT_TIMEOUT, || {
            let found = self.admin.inner().fetch_metadata(Some(&name), WAIT_TIMEOUT);
            let found = found.ok()?;
            let topic = found.topics().first()?;
            (topic.error().is_none()
                && topic.partitions().len() == usize::try_from(partitions).unwrap())
            .then_some(())
        });
        name
    }

    /// The topics that there are, without the prefix, in order.
    #[track_caller]
    pub(crate) fn list(&self) -> Vec<String> {
        let found = self.admin.inner().fetch_metadata(None, WAIT_TIMEOUT).unwrap();
        let names = found.topics().iter().map(|topic| topic.name());
        let own = names.filter_map(|name| name.strip_prefix(&self.prefix));
        let mut own: Vec<String> = own.map(str::to_owned).collect();
        own.sort();
        own
    }

    #[track_caller]
    pub(crate) fn delete(&self, topic: &str) {
        let name = self.full_name(topic);
        for result in block_on(self.admin.delete_topics(&[&name], &admin_options())).unwrap() {
            result.unwrap();
        }
    }

    /// Gives `topic` more partitions, `total` in all, and waits until they are
    /// seen.
    #[track_caller]
    pub(crate) fn add_partitions(&self, topic: &str, total: usize) {
        let name = self.full_name(topic);
        let new = NewPartitions::new(&name, total);
        for result in block_on(self.admin.create_partitions([&new], &admin_options())).unwrap() {
            result.unwrap();
        }
        eventually("the partitions are seen", WAIT_TIMEOUT, || {
            let found = self.admin.inner().fetch_metadata(Some(&name), WAIT_TIMEOUT).ok()?;
            (found.topics().first()?.partitions().len() == total).then_some(())
        });
    }

    /// Changes settings of `topic`; those not named stay as they are.
    #[track_caller]
    pub(crate) fn alter_settings(&self, topic: &str, settings: &[(&str, &str)]) {
        let name = self.full_name(topic);
        let old = self.topic_settings(topic);
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(&name));
        for (setting, value) in &old {
            if !settings.iter().any(|(new, _)| new == setting) {
                change = change.set(setting, value);
            }
        }
        for (setting, value) in settings {
            change = change.set(setting, value);
        }
        for result in block_on(self.admin.alter_configs([&change], &admin_options())).unwrap() {
            result.unwrap();
        }
    }

    /// The settings that were made for `topic` itself.
    #[track_caller]
    pub(crate) fn topic_settings(&self, topic: &str) -> Vec<(String, String)> {
        let name = self.full_name(topic);
        let asked = ResourceSpecifier::Topic(&name);
        let found = block_on(self.admin.describe_configs([&asked], &admin_options())).unwrap();
        found
            .into_iter()
            .flat_map(|resource| resource.unwrap().entries)
            .filter(|entry| entry.source == ConfigSource::DynamicTopic)
            .filter_map(|entry| Some((entry.name, entry.value?)))
            .collect()
    }

    /// Removes the records of `partition` before `offset`, as retention would.
    #[track_caller]
    pub(crate) fn delete_records_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.full_name(topic), partition, Offset::Offset(offset))
            .unwrap();
        let cut = block_on(self.admin.delete_records(&list, &admin_options())).unwrap();
        for element in cut.elements() {
            element.error().unwrap();
        }
    }

    /// Writes `records` to `topic`, where a Java client would put them.
    #[track_caller]
    pub(crate) fn write_records(&self, topic: &str, records: &[ProducerRecord]) {
        self.write_with_partitioner(ProducerPartitioner::Murmur2, topic, records);
    }

    #[track_caller]
    pub(crate) fn write_with_partitioner(
        &self,
        partitioner: ProducerPartitioner,
        topic: &str,
        records: &[ProducerRecord],
    ) {
        let writer = TestProducer::new(self.broker, partitioner);
        writer.write_records(&self.full_name(topic), records);
    }

    /// All that a partner sees of `topic`, see [`Broker::read_committed`].
    #[track_caller]
    pub(crate) fn read_committed(&self, topic: &str) -> Vec<ConsumedMessage> {
        self.broker.read_committed(&self.full_name(topic))
    }

    /// What a partner sees of `topic` now, see [`Broker::read_visible`].
    #[track_caller]
    pub(crate) fn read_visible(&self, topic: &str) -> Vec<ConsumedMessage> {
        self.broker.read_visible(&self.full_name(topic))
    }

    /// All that lies in `topic`, see [`Broker::read_uncommitted`].
    #[track_caller]
    pub(crate) fn read_uncommitted(&self, topic: &str) -> Vec<ConsumedMessage> {
        self.broker.read_uncommitted(&self.full_name(topic))
    }
}

fn admin_options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(WAIT_TIMEOUT)).operation_timeout(Some(WAIT_TIMEOUT))
}

fn block_on<T>(answer: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(answer)
}
