//! `zeef topics`: what should exist on Kafka, beside what does.

use std::io::Write as _;

use super::arguments::TopicsArguments;
use super::config;
use super::exit::Exit;
use super::kafka;
use super::logging;
use super::screen::{BAD, FAINT, GOOD, HEADING, Screen, styled};
use crate::daemon::topics::{Survey, acls};
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
    rights(screen, settings, loaded)?;
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
                .map_or(String::new(), |value| format!("; it is {value}"));
            let line = format!("{key}: {rule}{value}");
            writeln!(screen, "  {:width$}    {}", "", styled(FAINT, line))?;
        }
    }
    Ok(())
}

fn rights(screen: &mut Screen, settings: &KafkaSettings, loaded: &Loaded) -> anyhow::Result<()> {
    writeln!(screen)?;
    writeln!(screen, "{}", styled(HEADING, "Rights (ACLs)"))?;
    let hint = "partners have to read with isolation.level=read_committed";
    writeln!(screen, "  {}", styled(FAINT, hint))?;
    for (party, lines) in acls(settings, loaded) {
        writeln!(screen, "  {party}")?;
        for line in lines {
            writeln!(screen, "    {line}")?;
        }
    }
    Ok(())
}
