//! `zeef topics`: what should exist on Kafka, beside what does.

use std::io::Write as _;

use super::arguments::TopicsArguments;
use super::config;
use super::exit::Exit;
use super::kafka;
use super::logging;
use super::screen::{BAD, FAINT, GOOD, HEADING, Screen, styled};
use crate::daemon::acls::parties;
use crate::daemon::topics::{Survey, shown};
use crate::policy::Loaded;
use crate::transport::kafka::{KafkaSettings, topics};

/// Shows the plan, and with `--apply` creates what is missing.
///
/// # Errors
///
/// A wrong config, or a Kafka that does not answer.
pub(super) fn run(arguments: &TopicsArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = config::load(&arguments.config.config)?;
    logging::start(loaded.daemon.log, arguments.log);
    let brokers = arguments.brokers.brokers.as_deref();
    if arguments.acls {
        let settings = kafka::settings(&loaded, brokers, None)?;
        write_acls(screen, &settings, &loaded)?;
        return Ok(Exit::Fine);
    }
    let connection = kafka::Connection::new(&loaded, &arguments.config.config, brokers);
    connection.with(|settings| compare(arguments, &loaded, &settings, screen))
}

fn compare(
    arguments: &TopicsArguments,
    loaded: &Loaded,
    settings: &KafkaSettings,
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    let mut survey = Survey::look(settings, loaded)?;
    if arguments.apply {
        let missing = survey.missing(loaded);
        topics::create(settings, &missing)?;
        for wish in &missing {
            let topic = settings.topic(&wish.name);
            writeln!(
                screen,
                "created {topic} with {} partitions",
                wish.partitions
            )?;
        }
        survey = Survey::look(settings, loaded)?;
    }
    show(screen, settings, loaded, &survey)?;
    let refusals = survey.refusals(settings, loaded)?;
    writeln!(screen)?;
    if refusals.is_empty() {
        writeln!(
            screen,
            "{}",
            styled(GOOD, "all topics are as they have to be")
        )?;
    }
    for note in survey.notes(settings) {
        writeln!(screen, "{} {note}", styled(FAINT, "note:"))?;
    }
    for refusal in &refusals {
        writeln!(screen, "{} {refusal}", styled(BAD, "not as it has to be:"))?;
    }
    let hint = "who needs which rights: `zeef topics --acls`";
    writeln!(screen, "{}", styled(FAINT, hint))?;
    screen.flush()?;
    Ok(if refusals.is_empty() {
        Exit::Fine
    } else {
        Exit::Failed
    })
}

fn show(
    screen: &mut Screen,
    settings: &KafkaSettings,
    loaded: &Loaded,
    survey: &Survey,
) -> anyhow::Result<()> {
    let width = survey
        .topics
        .iter()
        .map(|(planned, _)| settings.topic(&planned.name).chars().count())
        .max()
        .unwrap_or(0);
    writeln!(screen, "{}", styled(HEADING, "Topics"))?;
    for (planned, found) in &survey.topics {
        let name = settings.topic(&planned.name);
        let state = match found {
            None => styled(BAD, "missing"),
            Some(found) => format!(
                "{} partitions, {} replicas, {}",
                found.partitions,
                found.replication,
                if planned.differences(loaded, found).is_empty() {
                    styled(GOOD, "as planned")
                } else {
                    styled(BAD, "differs")
                }
            ),
        };
        writeln!(screen, "  {name:width$}  {:16}  {state}", planned.role)?;
        for (key, rule, _) in planned.rules.iter().chain(&planned.wishes) {
            let value = found
                .as_ref()
                .and_then(|found| found.configs.get(*key))
                .map_or(String::new(), |value| {
                    format!("; it is {}", shown(key, value))
                });
            let line = format!("{key}: {}{value}", rule.text(key));
            writeln!(screen, "  {:width$}    {}", "", styled(FAINT, line))?;
        }
    }
    Ok(())
}

/// Writes the commands that set the rights, as a script: all but commands is a comment.
fn write_acls(
    screen: &mut Screen,
    settings: &KafkaSettings,
    loaded: &Loaded,
) -> anyhow::Result<()> {
    let broker = format!("--bootstrap-server {}", word(&settings.brokers));
    let login = match is_open(settings) {
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
    for party in parties(settings, loaded) {
        writeln!(screen, "\n# {}", party.name)?;
        let mut groups = party.acls.iter();
        let group = groups.find(|acl| acl.principal == party.name && acl.prefixed);
        if let Some(group) = group {
            writeln!(
                screen,
                "# its consumer groups are called {}NAME",
                group.name
            )?;
        }
        for acl in &party.acls {
            writeln!(screen, "kafka-acls.sh {broker}{login} --add {acl}")?;
        }
    }
    Ok(())
}

/// Whether anybody may connect, without a login and unencrypted.
fn is_open(settings: &KafkaSettings) -> bool {
    let protocol = settings.properties.get("security.protocol");
    protocol.is_none_or(|protocol| protocol.eq_ignore_ascii_case("plaintext"))
}

/// A word as a shell takes it.
fn word(text: &str) -> String {
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
    fn a_word_stays_one() {
        assert_eq!(
            word("kafka-1:9092,kafka-2:9092"),
            "kafka-1:9092,kafka-2:9092"
        );
        assert_eq!(word("a; b'c"), r"'a; b'\''c'");
    }
}
