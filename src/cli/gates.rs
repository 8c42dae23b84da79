//! `zeef gates`: what lies in patrons, consents and objections that would not
//! count, and writing once more in its place what is misplaced.
//!
//! Shows numbers and coordinates, never a key or a value.

use std::io::Write as _;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::arguments::{GatesArguments, GatesCensusArguments, GatesCommand, GatesRepairArguments};
use super::config;
use super::exit::{Exit, Failure};
use super::kafka;
use super::logging;
use super::screen::{BAD, FAINT, GOOD, Screen, styled};
use super::table::{Cell, Table, grouped};
use crate::daemon::clock::now_ms;
use crate::daemon::gates::{Census, topics};
use crate::daemon::topics::Survey;
use crate::policy::Loaded;
use crate::policy::catalogue::Role;
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::repair::{Findings, Repairer, Topic, find, rehearse};
use crate::transport::kafka::repaired::Repaired;

/// How many coordinates are shown of one source.
const SHOWN: usize = 10;

pub(super) fn run(arguments: &GatesArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    match &arguments.command {
        GatesCommand::Census(arguments) => census(arguments, screen),
        GatesCommand::Repair(arguments) => repair(arguments, screen),
    }
}

/// Shows what was found in each gate source.
fn census(arguments: &GatesCensusArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = config::load(&arguments.config.config)?;
    logging::start(loaded.daemon.log, arguments.log);
    let brokers = arguments.brokers.brokers.as_deref();
    let connection = kafka::Connection::new(&loaded, &arguments.config.config, brokers);
    let census = connection.with(|settings| Ok(Census::take(&settings, &loaded)?))?;
    if arguments.json {
        serde_json::to_writer_pretty(&mut *screen, &to_json(&census))?;
        writeln!(screen)?;
    } else {
        show(&census, screen)?;
    }
    Ok(match census.misplaced() {
        0 => Exit::Fine,
        _ => Exit::Failed,
    })
}

fn to_json(census: &Census) -> serde_json::Value {
    let gates: Vec<_> = census
        .gates
        .iter()
        .map(|gate| {
            json!({
                "topic": gate.topic,
                "records": gate.records,
                "misplaced": gate.misplaced,
                "repaired": gate.repaired,
                "keyless": gate.keyless,
                "unreadable": gate.unreadable,
                "near_keys": gate.near,
                "nulls": gate.nulls,
            })
        })
        .collect();
    json!({ "gates": gates, "patrons": census.patrons })
}

fn show(census: &Census, screen: &mut Screen) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        "SOURCE",
        "RECORDS",
        "MISPLACED",
        "REPAIRED",
        "KEYLESS",
        "UNREADABLE",
        "NEAR KEYS",
        "NULLS",
    ]);
    for gate in &census.gates {
        table.row([
            gate.topic.clone().into(),
            Cell::number(gate.records),
            Cell::number(gate.misplaced),
            Cell::number(gate.repaired),
            Cell::number(gate.keyless),
            Cell::number(gate.unreadable),
            Cell::number(gate.near),
            Cell::number(gate.nulls),
        ]);
    }
    let width = screen.width();
    table.write(screen, width)?;
    let patrons = grouped(census.patrons as u64);
    writeln!(
        screen,
        "patrons that this concerns, erasures apart: {patrons}"
    )?;
    if census.misplaced() > 0 {
        let text = "misplaced records do not count where they lie: `zeef gates repair --dry-run`";
        writeln!(screen, "{}", styled(BAD, text))?;
    }
    Ok(())
}

/// Writes what is misplaced once more in its place, or tells what would be
/// written.
fn repair(arguments: &GatesRepairArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = config::load(&arguments.config.config)?;
    logging::start(loaded.daemon.log, arguments.log);
    let wanted = wanted(&loaded, &arguments.topics)?;
    let brokers = arguments.brokers.brokers.as_deref();
    let connection = kafka::Connection::new(&loaded, &arguments.config.config, brokers);
    connection.with(|settings| repair_all(arguments, (&loaded, &wanted), &settings, screen))
}

fn repair_all(
    arguments: &GatesRepairArguments,
    (loaded, wanted): (&Loaded, &[(&str, Role)]),
    settings: &KafkaSettings,
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    let survey = Survey::look(settings, loaded)?;
    // What lies elsewhere for either reason is no record's mistake.
    let widened = survey.offsets(settings, loaded)?.widened;
    if !widened.is_empty() {
        return Err(Failure::Config(widened.join("\n")).into());
    }
    if let Some(wrong) = survey.wrong_partitioner(settings)? {
        return Err(Failure::Config(wrong).into());
    }
    // Whoever repairs beside is fenced before anything is read.
    let repairer = match arguments.apply {
        true => Some(Repairer::open(settings)?),
        false => None,
    };
    let repaired = Repaired::load(settings)?;
    for &(name, role) in wanted {
        let partitions = survey.partitions_of(name);
        let topic = Topic { name, partitions };
        let findings = find(settings, topic, &repaired)?;
        tell(settings, &findings, screen)?;
        if findings.strays.is_empty() {
            continue;
        }
        match (&repairer, role) {
            (None, Role::Record) => {
                let text = "none of them would be written, as they are of no gate: they would no \
                            longer count; have their system write them again";
                writeln!(screen, "  {}", styled(FAINT, text))?;
            }
            (None, _) => {
                let would = rehearse(settings, &findings)?;
                writeln!(
                    screen,
                    "  would be written once more: {} misplaced, {} later ones of the same keys",
                    would.strays, would.later
                )?;
            }
            (Some(repairer), Role::Record) => set_aside(repairer, &findings, screen)?,
            (Some(repairer), _) => write(repairer, &findings, screen)?,
        }
    }
    Ok(Exit::Fine)
}

/// The sources that are looked at: all gates, or those that are named.
fn wanted<'a>(loaded: &'a Loaded, named: &[String]) -> Result<Vec<(&'a str, Role)>, Failure> {
    if named.is_empty() {
        return Ok(topics(loaded));
    }
    let keyed = || loaded.policy.kinds.iter().filter(|kind| kind.keyed);
    named
        .iter()
        .map(|name| {
            let kind = keyed().find(|kind| kind.topic == *name || kind.name == *name);
            let kind = kind.map(|kind| (&*kind.topic, kind.role));
            kind.ok_or_else(|| {
                let names: Vec<&str> = keyed().map(|kind| &*kind.topic).collect();
                Failure::Usage(config::unknown("source", name, names))
            })
        })
        .collect()
}

fn tell(settings: &KafkaSettings, findings: &Findings, screen: &mut Screen) -> anyhow::Result<()> {
    let strays = findings.strays.len();
    let style = if strays == 0 { GOOD } else { BAD };
    let misplaced = format!("{} misplaced", grouped(strays as u64));
    writeln!(
        screen,
        "{}: {} records, {}, {} repaired before, {} keys",
        settings.topic(&findings.topic),
        grouped(findings.records),
        styled(style, misplaced),
        grouped(findings.repaired),
        grouped(findings.keys().len() as u64),
    )?;
    for stray in findings.strays.iter().take(SHOWN) {
        let at = format!("partition {} offset {}", stray.partition, stray.offset);
        writeln!(screen, "  {}", styled(FAINT, at))?;
    }
    if strays > SHOWN {
        let more = format!("and {} more", strays - SHOWN);
        writeln!(screen, "  {}", styled(FAINT, more))?;
    }
    Ok(())
}

fn write(repairer: &Repairer, findings: &Findings, screen: &mut Screen) -> anyhow::Result<()> {
    let bar = progress(findings.keys().len() as u64);
    let written = repairer
        .write(findings, now_ms(), &mut |keys| bar.inc(keys as u64))
        .with_context(|| format!("failed to repair `{}`", findings.topic))?;
    bar.finish_and_clear();
    writeln!(
        screen,
        "  written once more: {} misplaced, {} later ones of the same keys",
        written.strays, written.later
    )?;
    Ok(())
}

fn set_aside(repairer: &Repairer, findings: &Findings, screen: &mut Screen) -> anyhow::Result<()> {
    let bar = progress(findings.strays.len() as u64);
    repairer
        .set_aside(findings, &mut |records| bar.inc(records as u64))
        .with_context(|| format!("failed to set aside records of `{}`", findings.topic))?;
    bar.finish_and_clear();
    let text = "they no longer count, and none was written: have their system write them again";
    writeln!(screen, "  {text}")?;
    Ok(())
}

/// A bar on stderr, where that is a terminal.
fn progress(steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {human_pos} of {human_len}") {
        bar.set_style(style);
    }
    bar
}
