//! `zeef gates`: finds records of patrons, consents and objections that would not count,
//! and repairs misplaced ones.
//!
//! Shows numbers and coordinates, never a key or a value.

use std::io::Write as _;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::arguments::{GatesArguments, GatesCensusArguments, GatesCommand, GatesRepairArguments};
use super::audit::{AuditedAction, Auditor};
use super::command_target::DataLocation;
use super::config;
use super::exit::{CliFailure, Exit};
use super::kafka;
use super::logging;
use super::screen::{BAD, FAINT, GOOD, Screen, styled};
use super::table::{TableCell, TextTable, format_thousands};
use crate::config::LoadedConfig;
use crate::daemon::clock::now_ms;
use crate::daemon::gate_census::{GateCensus, gate_topics};
use crate::daemon::topics::TopicReport;
use crate::policy::catalogue::Role;
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::repair::{
    MisplacedReport, Repairer, SourceTopic, count_planned_rewrites, find_misplaced,
};
use crate::transport::kafka::repaired_records::RepairedRecords;

/// How many coordinates to show for one source.
const MAX_SHOWN_PLACES: usize = 10;

pub(super) fn run(arguments: &GatesArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    match &arguments.command {
        GatesCommand::Census(arguments) => run_census(arguments, screen),
        GatesCommand::Repair(arguments) => run_repair(arguments, screen),
    }
}

/// Shows what was found in each gate source.
fn run_census(arguments: &GatesCensusArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = config::load(&arguments.config.config)?;
    logging::start(loaded.daemon.log, arguments.log);
    let brokers = arguments.brokers.brokers.as_deref();
    let connection = kafka::KafkaConnection::new(&loaded, &arguments.config.config, brokers);
    let census =
        connection.with_settings(|settings| Ok(GateCensus::collect(&settings, &loaded)?))?;
    if arguments.json {
        serde_json::to_writer_pretty(&mut *screen, &census_json(&census))?;
        writeln!(screen)?;
    } else {
        write_census(&census, screen)?;
    }
    Ok(match census.misplaced_total() {
        0 => Exit::Success,
        _ => Exit::Failed,
    })
}

fn census_json(census: &GateCensus) -> serde_json::Value {
    let gates: Vec<_> = census
        .sources
        .iter()
        .map(|gate| {
            json!({
                "topic": gate.topic,
                "records": gate.records,
                "misplaced": gate.misplaced,
                "repaired": gate.repaired,
                "keyless": gate.keyless,
                "unreadable": gate.unreadable,
                "near_keys": gate.near_keys,
                "nulls": gate.nulls,
            })
        })
        .collect();
    json!({ "gates": gates, "patrons": census.affected_patrons })
}

fn write_census(census: &GateCensus, screen: &mut Screen) -> anyhow::Result<()> {
    let mut table = TextTable::new(&[
        "SOURCE",
        "RECORDS",
        "MISPLACED",
        "REPAIRED",
        "KEYLESS",
        "UNREADABLE",
        "NEAR KEYS",
        "NULLS",
    ]);
    for gate in &census.sources {
        table.add_row([
            gate.topic.clone().into(),
            TableCell::number(gate.records),
            TableCell::number(gate.misplaced),
            TableCell::number(gate.repaired),
            TableCell::number(gate.keyless),
            TableCell::number(gate.unreadable),
            TableCell::number(gate.near_keys),
            TableCell::number(gate.nulls),
        ]);
    }
    let width = screen.width();
    table.write(screen, width)?;
    let patrons = format_thousands(census.affected_patrons as u64);
    writeln!(screen, "patrons affected, without erasures: {patrons}")?;
    if census.misplaced_total() > 0 {
        let text = "misplaced records do not count where they lie: `zeef gates repair --dry-run`";
        writeln!(screen, "{}", styled(BAD, text))?;
    }
    Ok(())
}

/// Rewrites misplaced records, or shows what would be written.
fn run_repair(arguments: &GatesRepairArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = config::load(&arguments.config.config)?;
    logging::start(loaded.daemon.log, arguments.log);
    let wanted = select_sources(&loaded, &arguments.topics)?;
    let brokers = arguments.brokers.brokers.as_deref();
    let connection = kafka::KafkaConnection::new(&loaded, &arguments.config.config, brokers);
    connection
        .with_settings(|settings| repair_all(arguments, (&loaded, &wanted), &settings, screen))
}

fn repair_all(
    arguments: &GatesRepairArguments,
    (loaded, wanted): (&LoadedConfig, &[(&str, Role)]),
    settings: &KafkaSettings,
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    let report = TopicReport::fetch(settings, loaded)?;
    // If either is wrong, no record is misplaced by mistake.
    let widened = report.fetch_group_offsets(settings, loaded)?.widened_topics;
    if !widened.is_empty() {
        return Err(CliFailure::Config(widened.join("\n")).into());
    }
    if let Some(wrong) = report.find_wrong_partitioner(settings)? {
        return Err(CliFailure::Config(wrong).into());
    }
    // Fences any other repair before anything is read.
    let repairer = match arguments.apply {
        true => {
            record_repair(arguments, loaded, settings)?;
            Some(Repairer::open(settings)?)
        }
        false => None,
    };
    let repaired = RepairedRecords::load(settings)?;
    for &(name, role) in wanted {
        let partitions = report.partition_count(name);
        let topic = SourceTopic { name, partition_count: partitions };
        let findings = find_misplaced(settings, topic, &repaired)?;
        report_findings(settings, &findings, screen)?;
        if findings.unrepaired.is_empty() {
            continue;
        }
        match (&repairer, role) {
            (None, Role::Record) => {
                let text = "none of them would be written, as they are of no gate: they would no \
                            longer count; have their system write them again";
                writeln!(screen, "  {}", styled(FAINT, text))?;
            }
            (None, _) => {
                let would = count_planned_rewrites(settings, &findings)?;
                writeln!(
                    screen,
                    "  would be rewritten: {} misplaced, {} later ones of the same keys",
                    would.misplaced, would.in_place_followers
                )?;
            }
            (Some(repairer), Role::Record) => set_strays_aside(repairer, &findings, screen)?,
            (Some(repairer), _) => write_repairs(repairer, &findings, screen)?,
        }
    }
    Ok(Exit::Success)
}

fn record_repair(
    arguments: &GatesRepairArguments,
    loaded: &LoadedConfig,
    settings: &KafkaSettings,
) -> anyhow::Result<()> {
    let subject = arguments.topics.join(" ");
    let subject = Some(subject.as_str()).filter(|topics| !topics.is_empty());
    let action = AuditedAction { words: "gates repair", subject, patron: None };
    let location = DataLocation::Kafka(settings.clone());
    Auditor::new(loaded, &arguments.operator)?.record(&location, action)
}

/// Returns the sources to examine: all gates, or the named ones.
fn select_sources<'a>(
    loaded: &'a LoadedConfig,
    named: &[String],
) -> Result<Vec<(&'a str, Role)>, CliFailure> {
    if named.is_empty() {
        return Ok(gate_topics(loaded));
    }
    let keyed = || loaded.policy.record_kinds.iter().filter(|kind| kind.is_keyed_by_patron);
    named
        .iter()
        .map(|name| {
            let kind = keyed().find(|kind| kind.topic == *name || kind.name == *name);
            let kind = kind.map(|kind| (&*kind.topic, kind.role));
            kind.ok_or_else(|| {
                let names: Vec<&str> = keyed().map(|kind| &*kind.topic).collect();
                CliFailure::Usage(config::unknown_name_text("source", name, names))
            })
        })
        .collect()
}

fn report_findings(
    settings: &KafkaSettings,
    findings: &MisplacedReport,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let strays = findings.unrepaired.len();
    let style = if strays == 0 { GOOD } else { BAD };
    let misplaced = format!("{} misplaced", format_thousands(strays as u64));
    writeln!(
        screen,
        "{}: {} records, {}, {} repaired before, {} keys",
        settings.topic_name(&findings.topic),
        format_thousands(findings.record_count),
        styled(style, misplaced),
        format_thousands(findings.repaired_count),
        format_thousands(findings.distinct_message_keys().len() as u64),
    )?;
    for stray in findings.unrepaired.iter().take(MAX_SHOWN_PLACES) {
        let at = format!("partition {} offset {}", stray.partition, stray.offset);
        writeln!(screen, "  {}", styled(FAINT, at))?;
    }
    if strays > MAX_SHOWN_PLACES {
        let more = format!("and {} more", strays - MAX_SHOWN_PLACES);
        writeln!(screen, "  {}", styled(FAINT, more))?;
    }
    Ok(())
}

fn write_repairs(
    repairer: &Repairer,
    findings: &MisplacedReport,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let bar = progress_bar(findings.distinct_message_keys().len() as u64);
    let written = repairer
        .rewrite_misplaced(findings, now_ms(), &mut |keys| bar.inc(keys as u64))
        .with_context(|| format!("failed to repair `{}`", findings.topic))?;
    bar.finish_and_clear();
    writeln!(
        screen,
        "rewritten: {} misplaced, {} later ones of the same keys",
        written.misplaced, written.in_place_followers
    )?;
    Ok(())
}

fn set_strays_aside(
    repairer: &Repairer,
    findings: &MisplacedReport,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let bar = progress_bar(findings.unrepaired.len() as u64);
    repairer
        .dismiss_misplaced(findings, &mut |records| bar.inc(records as u64))
        .with_context(|| format!("failed to dismiss records of `{}`", findings.topic))?;
    bar.finish_and_clear();
    let text = "they no longer count, and none was written: have their system write them again";
    writeln!(screen, "  {text}")?;
    Ok(())
}

/// Returns a bar on stderr, if that is a terminal.
fn progress_bar(steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {human_pos} of {human_len}") {
        bar.set_style(style);
    }
    bar
}
