//! Rights, on a broker that asks for them: a recipient reads its own topic in its own
//! consumer groups, and gets no further, also where its name is the beginning of
//! another's.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::harness::{Broker, Options as BrokerOptions, Zeef};

use super::login::{PASSWORD, properties, secret};
use super::site::WAIT;
use super::{Options, Site};

const NARROW: &str = "ill-library";
const WIDE: &str = "ill-library-contact";

/// Each recipient has a user of its name, whose password that is, too.
const SETTINGS: &[&str] = &[
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
fn reads(broker: &Broker, user: &str, group: &str, topic: &str) -> Result<(), RDKafkaErrorCode> {
    let mut config = broker.client();
    config
        .set("sasl.username", user)
        .set("sasl.password", user)
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let started = Instant::now();
    while started.elapsed() < WAIT {
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
fn a_recipient_gets_no_further_than_its_own_topic_and_groups() {
    let wanted = BrokerOptions {
        sasl_ssl: true,
        settings: SETTINGS,
        ..BrokerOptions::default()
    };
    let Some(broker) = Broker::own(wanted) else {
        return;
    };
    let tables = properties(&broker, &format!("{{ env = \"{PASSWORD}\" }}"));
    let options = Options {
        recipients: &[NARROW, WIDE],
        partitions: 1,
        tables: &tables,
        ..Options::default()
    };
    let site = Site::on(&broker, "rights", options);
    let password = secret(&broker);
    let topics = |word: &str| {
        let place = ["--config", site.config(), "--brokers", broker.bootstrap()];
        let words = [&["topics", word][..], &place].concat();
        let mut zeef = Zeef::start(&words, &[(PASSWORD, &password)]);
        assert_eq!(
            zeef.wait_exit(WAIT),
            0,
            "{}{}",
            zeef.stdout(),
            zeef.stderr()
        );
        zeef.stdout()
    };
    topics("--apply");
    let mut given = 0;
    for command in topics("--acls").lines() {
        let of = |name: &str| command.contains(&format!(" User:{name} "));
        let Some((start, right)) = command.split_once(" --add ") else {
            continue;
        };
        assert!(
            start.ends_with(" --command-config admin.properties"),
            "{start}"
        );
        if of(NARROW) || of(WIDE) {
            let words: Vec<&str> = ["--add"].into_iter().chain(right.split(' ')).collect();
            broker.tool("acls", &words);
            given += 1;
        }
    }
    assert_eq!(given, 4, "a topic and its groups, for each");
    let prefix = site.topics.prefix();
    for (user, other) in [(NARROW, WIDE), (WIDE, NARROW)] {
        let group = |name: &str| format!("{prefix}{name}.nightly");
        let topic = |name: &str| site.topics.name(&format!("out.{name}"));
        let reads = |group: &str, topic: &str| reads(&broker, user, group, topic);
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
