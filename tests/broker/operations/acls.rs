//! Rights, on a broker that asks for them: a recipient reads its own topic in its own
//! consumer groups, and gets no further, also where its name is the beginning of
//! another's.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::harness::{Broker, BrokerOptions, ZeefProcess};

use super::sasl_login::{PASSWORD_VARIABLE, broker_password, kafka_properties_section};
use super::test_site::WAIT_TIMEOUT;
use super::{SiteOptions, TestSite};

const SHORTER_NAME: &str = "ill-library";
const LONGER_NAME: &str = "ill-library-contact";

/// Each recipient has a user of its name, whose password that is, too.
const BROKER_SETTINGS: &[&str] = &[
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users=User:ANONYMOUS;User:broker;User:zeef",
    concat!(
        "listener.name.sasl_ssl.plain.sasl.jaas.config=",
        "org.apache.kafka.common.security.plain.PlainLoginModule required ",
        r#"username="broker" password="broker-secret" user_broker="broker-secret" "#,
        r#"user_zeef="zeef-secret" user_ill-library="ill-library" "#,
        r#"user_ill-library-contact="ill-library-contact";"#,
    ),
];

/// Whether a user can join a group and read a topic to its end in it.
#[track_caller]
fn try_read(broker: &Broker, user: &str, group: &str, topic: &str) -> Result<(), RDKafkaErrorCode> {
    let mut config = broker.client_config();
    config
        .set("sasl.username", user)
        .set("sasl.password", user)
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let started = Instant::now();
    while started.elapsed() < WAIT_TIMEOUT {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            Some(Err(error)) => {
                if let Some(
                    code @ (RDKafkaErrorCode::GroupAuthorizationFailed
                    | RDKafkaErrorCode::TopicAuthorizationFailed),
                ) = error.rdkafka_error_code()
                {
                    return Err(code);
                }
            }
            None => {}
        }
    }
    panic!("{user} neither reads {topic} as {group} nor is refused");
}

#[test]
fn acls_limit_a_recipient_to_its_own_topic_and_groups() {
    let wanted = BrokerOptions {
        sasl_ssl: true,
        broker_settings: BROKER_SETTINGS,
        ..BrokerOptions::default()
    };
    let Some(broker) = Broker::start_own(wanted) else {
        return;
    };
    let tables = kafka_properties_section(&broker, &format!("{{ env = \"{PASSWORD_VARIABLE}\" }}"));
    let options = SiteOptions {
        recipients: &[SHORTER_NAME, LONGER_NAME],
        partitions: 1,
        extra_tables: &tables,
        ..SiteOptions::default()
    };
    let site = TestSite::on_broker(&broker, "rights", options);
    let password = broker_password(&broker);
    let topics = |word: &str| {
        let place = ["--config", site.config_path(), "--brokers", broker.bootstrap_server()];
        let words = [&["topics", word][..], &place].concat();
        let mut zeef = ZeefProcess::spawn(&words, &[(PASSWORD_VARIABLE, &password)]);
        assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0, "{}{}", zeef.stdout(), zeef.stderr());
        zeef.stdout()
    };
    topics("--apply");
    let mut given = 0;
    for command in topics("--acls").lines() {
        let of = |name: &str| command.contains(&format!(" User:{name} "));
        let Some((start, right)) = command.split_once(" --add ") else {
            continue;
        };
        assert!(start.ends_with(" --command-config admin.properties"), "{start}");
        if of(SHORTER_NAME) || of(LONGER_NAME) {
            let words: Vec<&str> = ["--add"].into_iter().chain(right.split(' ')).collect();
            broker.run_tool("acls", &words);
            given += 1;
        }
    }
    assert_eq!(given, 4, "a topic and its groups, for each");
    let prefix = site.topics.prefix();
    for (user, other) in [(SHORTER_NAME, LONGER_NAME), (LONGER_NAME, SHORTER_NAME)] {
        let group = |name: &str| format!("{prefix}{name}.nightly");
        let topic = |name: &str| site.topics.full_name(&format!("out.{name}"));
        let reads = |group: &str, topic: &str| try_read(&broker, user, group, topic);
        assert_eq!(reads(&group(user), &topic(user)), Ok(()));
        assert_eq!(
            reads(&group(other), &topic(user)),
            Err(RDKafkaErrorCode::GroupAuthorizationFailed)
        );
        assert_eq!(
            reads(&group(user), &topic(other)),
            Err(RDKafkaErrorCode::TopicAuthorizationFailed)
        );
    }
}
