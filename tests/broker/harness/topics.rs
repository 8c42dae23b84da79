//! Topics of one test, under a prefix that no other test has.

use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic,
    ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};
use zeef::transport::kafka::KafkaSettings;

use super::{Broker, Partitioner, Record, Row, Writer, eventually};

const WAIT: Duration = Duration::from_secs(30);

/// The topics of one test.
pub(crate) struct Topics<'a> {
    broker: &'a Broker,
    prefix: String,
    admin: AdminClient<DefaultClientContext>,
}

impl<'a> Topics<'a> {
    /// Takes a prefix made of the test's name and chance.
    pub(crate) fn new(broker: &'a Broker, test: &str) -> Self {
        let chance = getrandom::u32().unwrap();
        Self {
            broker,
            prefix: format!("{test}-{chance:08x}."),
            admin: broker.client().create().unwrap(),
        }
    }

    /// What stands before each topic's name, its full stop included.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Settings of a worker that runs in the test, to the end of what there is.
    pub(crate) fn worker_settings(&self) -> KafkaSettings {
        let properties = self.broker.properties().into_iter();
        KafkaSettings {
            brokers: self.broker.bootstrap().to_owned(),
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
    pub(crate) fn name(&self, topic: &str) -> String {
        format!("{}{topic}", self.prefix)
    }

    /// Creates `topic` and yields its full name.
    #[track_caller]
    pub(crate) fn create(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
        let name = self.name(topic);
        let mut new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        for (setting, value) in settings {
            new = new.set(setting, value);
        }
        let made = wait(self.admin.create_topics([&new], &options())).unwrap();
        for result in made {
            result.unwrap();
        }
        // On a busy machine the broker itself hears of it a moment later.
        eventually("a topic that was created", WAIT, || {
            let found = self.admin.inner().fetch_metadata(Some(&name), WAIT).ok()?;
            let mut topics = found.topics().iter();
            let partitions = topics.find(|topic| topic.name() == name)?.partitions();
            (!partitions.is_empty()).then_some(())
        });
        name
    }

    /// The topics that there are, without the prefix, in order.
    #[track_caller]
    pub(crate) fn list(&self) -> Vec<String> {
        let found = self.admin.inner().fetch_metadata(None, WAIT).unwrap();
        let names = found.topics().iter().map(|topic| topic.name());
        let own = names.filter_map(|name| name.strip_prefix(&self.prefix));
        let mut own: Vec<String> = own.map(str::to_owned).collect();
        own.sort();
        own
    }

    #[track_caller]
    pub(crate) fn delete(&self, topic: &str) {
        let name = self.name(topic);
        for result in wait(self.admin.delete_topics(&[&name], &options())).unwrap() {
            result.unwrap();
        }
    }

    /// Gives `topic` more partitions, `total` in all, and waits until they are
    /// seen.
    #[track_caller]
    pub(crate) fn add_partitions(&self, topic: &str, total: usize) {
        let name = self.name(topic);
        let new = NewPartitions::new(&name, total);
        for result in wait(self.admin.create_partitions([&new], &options())).unwrap() {
            result.unwrap();
        }
        eventually("the partitions are seen", WAIT, || {
            let found = self.admin.inner().fetch_metadata(Some(&name), WAIT).ok()?;
            (found.topics().first()?.partitions().len() == total).then_some(())
        });
    }

    /// Changes settings of `topic`; those not named stay as they are.
    #[track_caller]
    pub(crate) fn alter(&self, topic: &str, settings: &[(&str, &str)]) {
        let name = self.name(topic);
        let old = self.settings(topic);
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(&name));
        for (setting, value) in &old {
            if !settings.iter().any(|(new, _)| new == setting) {
                change = change.set(setting, value);
            }
        }
        for (setting, value) in settings {
            change = change.set(setting, value);
        }
        for result in wait(self.admin.alter_configs([&change], &options())).unwrap() {
            result.unwrap();
        }
    }

    /// The settings that were made for `topic` itself.
    #[track_caller]
    pub(crate) fn settings(&self, topic: &str) -> Vec<(String, String)> {
        let name = self.name(topic);
        let asked = ResourceSpecifier::Topic(&name);
        let found = wait(self.admin.describe_configs([&asked], &options())).unwrap();
        found
            .into_iter()
            .flat_map(|resource| resource.unwrap().entries)
            .filter(|entry| entry.source == ConfigSource::DynamicTopic)
            .filter_map(|entry| Some((entry.name, entry.value?)))
            .collect()
    }

    /// Removes the records of `partition` before `offset`, as retention would.
    #[track_caller]
    pub(crate) fn cut(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name(topic), partition, Offset::Offset(offset))
            .unwrap();
        let cut = wait(self.admin.delete_records(&list, &options())).unwrap();
        for element in cut.elements() {
            element.error().unwrap();
        }
    }

    /// Writes `records` to `topic`, where a Java client would put them.
    #[track_caller]
    pub(crate) fn write(&self, topic: &str, records: &[Record]) {
        self.write_by(Partitioner::Murmur2, topic, records);
    }

    #[track_caller]
    pub(crate) fn write_by(&self, partitioner: Partitioner, topic: &str, records: &[Record]) {
        let writer = Writer::new(self.broker, partitioner);
        writer.write(&self.name(topic), records);
    }

    /// All that a partner sees of `topic`, see [`Broker::committed`].
    #[track_caller]
    pub(crate) fn committed(&self, topic: &str) -> Vec<Row> {
        self.broker.committed(&self.name(topic))
    }

    /// All that lies in `topic`, see [`Broker::uncommitted`].
    #[track_caller]
    pub(crate) fn uncommitted(&self, topic: &str) -> Vec<Row> {
        self.broker.uncommitted(&self.name(topic))
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(WAIT))
        .operation_timeout(Some(WAIT))
}

fn wait<T>(answer: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(answer)
}
