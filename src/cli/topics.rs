//! `zeef topics`: what should exist on Kafka, beside what does.

use std::io::Write as _;

use super::arguments::TopicsArguments;
use super::config;
use super::exit::Exit;
use super::kafka;
use super::logging;
use super::screen::{BAD, FAINT, GOOD, HEADING, Screen, styled};
use crate::config::LoadedConfig;
use crate::daemon::acls::{plan_acls, plan_intake_acls};
use crate::daemon::intake::IntakeSetup;
use crate::daemon::intake::raw_topics::{
    RawTopic, fetch_raw_topics, find_unequal_partitions, plan_intake_states,
};
use crate::daemon::topics::{TopicReport, format_setting};
use crate::transport::kafka::{KafkaSettings, topics};

/// Shows the plan, and with `--apply` creates what is missing.
///
/// # Errors
///
/// A wrong config, or Kafka does not answer.
pub(super) fn run(arguments: &TopicsArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = config::load(&arguments.config.config)?;
    logging::start(loaded.daemon.log, arguments.log);
    let brokers = arguments.brokers.brokers.as_deref();
    if arguments.acls {
        let settings = kafka::kafka_settings(&loaded, brokers, None)?;
        let prefix = &settings.topic_prefix;
        let intakes = config::load_enabled_intakes(&arguments.config.config, &loaded, prefix)?;
        write_acls(screen, &settings, (&loaded, &intakes))?;
        return Ok(Exit::Success);
    }
    let connection = kafka::KafkaConnection::new(&loaded, &arguments.config.config, brokers);
    connection.with_settings(|settings| compare_topics(arguments, &loaded, &settings, screen))
}

fn compare_topics(
    arguments: &TopicsArguments,
    loaded: &LoadedConfig,
    settings: &KafkaSettings,
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    let prefix = &settings.topic_prefix;
    let intakes = config::load_enabled_intakes(&arguments.config.config, loaded, prefix)?;
    let raw_topics = fetch_raw_topics(settings, &intakes)?;
    let fetch_report = || -> anyhow::Result<TopicReport> {
        let mut report = TopicReport::fetch(settings, loaded)?;
        report.add_topics(settings, plan_intake_states(&intakes, &raw_topics))?;
        Ok(report)
    };
    let mut report = fetch_report()?;
    if arguments.apply {
        let missing = report.missing_topics(loaded);
        topics::create_topics(settings, &missing)?;
        for wish in &missing {
            let topic = settings.topic_name(&wish.name);
            writeln!(screen, "created {topic} with {} partitions", wish.partition_count)?;
        }
        report = fetch_report()?;
    }
    write_topics(screen, settings, loaded, &report)?;
    write_raw_topics(screen, &raw_topics)?;
    let mut refusals = report.start_refusals(settings, loaded)?;
    refusals.extend(raw_topics.iter().filter_map(RawTopic::refusal));
    refusals.extend(find_unequal_partitions(&intakes, &raw_topics));
    writeln!(screen)?;
    if refusals.is_empty() {
        writeln!(screen, "{}", styled(GOOD, "all topics are as required"))?;
    }
    let of_raw = raw_topics.iter().filter_map(RawTopic::recommendation);
    for note in report.recommendations(settings).into_iter().chain(of_raw) {
        writeln!(screen, "{} {note}", styled(FAINT, "note:"))?;
    }
    for refusal in &refusals {
        writeln!(screen, "{} {refusal}", styled(BAD, "not as required:"))?;
    }
    let hint = "who needs which rights: `zeef topics --acls`";
    writeln!(screen, "{}", styled(FAINT, hint))?;
    screen.flush()?;
    Ok(if refusals.is_empty() { Exit::Success } else { Exit::Failed })
}

fn write_topics(
    screen: &mut Screen,
    settings: &KafkaSettings,
    loaded: &LoadedConfig,
    report: &TopicReport,
) -> anyhow::Result<()> {
    let width = report
        .topics
        .iter()
        .map(|(planned, _)| settings.topic_name(&planned.name).chars().count())
        .max()
        .unwrap_or(0);
    writeln!(screen, "{}", styled(HEADING, "Topics"))?;
    for (planned, found) in &report.topics {
        let name = settings.topic_name(&planned.name);
        let state = match found {
            None => styled(BAD, "missing"),
            Some(found) => format!(
                "{} partitions, {} replicas, {}",
                found.partition_count,
                found.replication_factor,
                if planned.differences(loaded, found).is_empty() {
                    styled(GOOD, "as planned")
                } else {
                    styled(BAD, "differs")
                }
            ),
        };
        writeln!(screen, "  {name:width$}  {:16}  {state}", planned.role)?;
        for (key, rule, _) in planned.required.iter().chain(&planned.recommended) {
            let value = found
                .as_ref()
                .and_then(|found| found.configs.get(*key))
                .map_or(String::new(), |value| format!("; it is {}", format_setting(key, value)));
            let line = format!("{key}: {}{value}", rule.describe(key));
            writeln!(screen, "  {:width$}    {}", "", styled(FAINT, line))?;
        }
    }
    Ok(())
}

/// Writes the topics that enabled intakes read; nothing if there are none.
fn write_raw_topics(screen: &mut Screen, topics: &[RawTopic]) -> anyhow::Result<()> {
    if topics.is_empty() {
        return Ok(());
    }
    let width = topics.iter().map(|topic| topic.name.chars().count()).max().unwrap_or(0);
    writeln!(screen, "\n{}", styled(HEADING, "Topics of library systems, which zeef only reads"))?;
    for topic in topics {
        let state = match (&topic.found, topic.refusal()) {
            (None, _) => styled(BAD, "missing"),
            (Some(found), refusal) => format!(
                "{} partitions, {}",
                found.partition_count,
                match refusal {
                    None => styled(GOOD, "as required"),
                    Some(_) => styled(BAD, "differs"),
                }
            ),
        };
        writeln!(
            screen,
            "  {:width$}  {:12}  {}  {state}",
            topic.name,
            topic.role(),
            topic.intake
        )?;
    }
    Ok(())
}

/// Writes the commands that set the rights, as a script: everything but commands is a
/// comment.
fn write_acls(
    screen: &mut Screen,
    settings: &KafkaSettings,
    (loaded, intakes): (&LoadedConfig, &[IntakeSetup]),
) -> anyhow::Result<()> {
    let broker = format!("--bootstrap-server {}", shell_word(&settings.brokers));
    let login = match needs_no_login(settings) {
        true => "",
        false => " --command-config admin.properties",
    };
    let mut about = vec![
        "Rights (ACLs) of zeef, its operators and each recipient: a user of its own for each,",
        "by these names. The brokers need an authorizer. kafka-acls.sh is Kafka's own tool.",
    ];
    if !login.is_empty() {
        about.push("admin.properties: how somebody logs in who may set rights.");
    }
    about.push("Recipients read with isolation.level=read_committed.");
    for line in about {
        writeln!(screen, "# {line}")?;
    }
    let of_intakes = plan_intake_acls(settings, intakes);
    for party in plan_acls(settings, loaded).into_iter().chain(of_intakes) {
        writeln!(screen, "\n# {}", party.name)?;
        let mut groups = party.acls.iter();
        let group = groups.find(|acl| acl.principal == party.name && acl.is_prefixed);
        if let Some(group) = group {
            writeln!(screen, "# its consumer groups are called {}NAME", group.name)?;
        }
        for acl in &party.acls {
            writeln!(screen, "kafka-acls.sh {broker}{login} --add {acl}")?;
        }
    }
    Ok(())
}

/// Returns whether anybody may connect, without a login and unencrypted.
fn needs_no_login(settings: &KafkaSettings) -> bool {
    let protocol = settings.properties.get("security.protocol");
    protocol.is_none_or(|protocol| protocol.eq_ignore_ascii_case("plaintext"))
}

/// Quotes a word for a shell.
fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".,:_-[]/".contains(&byte);
    match text.bytes().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_word_quotes_special_characters() {
        assert_eq!(shell_word("kafka-1:9092,kafka-2:9092"), "kafka-1:9092,kafka-2:9092");
        assert_eq!(shell_word("a; b'c"), r"'a; b'\''c'");
    }
}
