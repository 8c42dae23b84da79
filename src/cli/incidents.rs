//! `zeef incidents`: the breaches that are on record, and how their 72 hours stand.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::arguments::IncidentsArguments;
use super::exit::{CliFailure, Exit};
use super::screen::Screen;
use super::table::TextTable;
use crate::contract::Language;
use crate::register::incident::{Incident, NOTIFY_WITHIN, Notice, NoticeDecision, NotifyClock};
use crate::transport::file::{FileMode, ensure_folder, is_there, replace_file};

/// Puts an incident on record in a folder. Returns its file.
///
/// # Errors
///
/// It cannot be written.
pub(super) fn record_incident(
    folder: &Path,
    incident: &Incident,
    language: Language,
) -> anyhow::Result<PathBuf> {
    ensure_folder(folder, FileMode::for_folder(false))?;
    let mut number = 1;
    let path = loop {
        let path = folder.join(incident.file_name(number));
        if !is_there(&path)? {
            break path;
        }
        number += 1;
    };
    replace_file(&path, FileMode::for_file(false), incident.to_new_file(language).as_bytes())?;
    Ok(path)
}

/// Lists the incidents of a folder.
///
/// # Errors
///
/// The folder or a file cannot be read, or a file has a mistake.
pub(super) fn run(arguments: &IncidentsArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let incidents = read_folder(&arguments.folder)?;
    let now = Timestamp::now();
    if arguments.json {
        let all: Vec<Value> =
            incidents.iter().map(|(name, one)| incident_json(name, one, now)).collect();
        serde_json::to_writer_pretty(&mut *screen, &all)?;
        writeln!(screen)?;
        return Ok(Exit::Success);
    }
    let texts = IncidentTexts(arguments.lang.into());
    if incidents.is_empty() {
        writeln!(screen, "{}", texts.nothing())?;
        return Ok(Exit::Success);
    }
    let mut table = TextTable::new(&texts.columns());
    for (name, one) in &incidents {
        table.add_row([
            name.as_str().into(),
            format_time(one.discovered).into(),
            one.received.patrons.to_string().into(),
            texts.clock(one, now).into(),
            texts.persons(&one.persons).into(),
            one.missing().join(", ").into(),
        ]);
    }
    let width = screen.width();
    table.write(screen, width)?;
    Ok(Exit::Success)
}

/// Returns the incidents of a folder with the names of their files, in the order of these.
fn read_folder(folder: &Path) -> anyhow::Result<Vec<(String, Incident)>> {
    let cannot_read = || format!("failed to read {}", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(cannot_read)? {
        let path = entry.with_context(cannot_read)?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    let (mut incidents, mut mistakes) = (Vec::new(), Vec::new());
    for path in paths {
        let place = path.display().to_string();
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("failed to read {place}"))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match Incident::read(&place, &text) {
            Ok(incident) => incidents.push((name, incident)),
            Err(found) => mistakes.extend(found),
        }
    }
    match mistakes.is_empty() {
        true => Ok(incidents),
        false => Err(CliFailure::Mistakes(mistakes).into()),
    }
}

fn incident_json(name: &str, incident: &Incident, now: Timestamp) -> Value {
    let notice = |notice: &Notice| {
        let decision: &str = notice.decision.into();
        json!({ "decision": decision, "reason": notice.reason, "sent": notice.sent.map(|at| at.to_string()) })
    };
    let (clock, span) = match incident.clock(now) {
        NotifyClock::NotNeeded => ("not_needed", None),
        NotifyClock::Sent(after) => ("sent", Some(after)),
        NotifyClock::Running(left) => ("running", Some(left)),
        NotifyClock::Overdue(since) => ("overdue", Some(since)),
    };
    json!({
        "incident": name,
        "recipient": incident.recipient,
        "from": incident.from.to_string(),
        "until": incident.until.to_string(),
        "field": incident.field,
        "discovered": incident.discovered.to_string(),
        "notify_by": incident.notify_by().to_string(),
        "clock": clock,
        "clock_seconds": span.map(|span| span.as_secs()),
        "patrons": incident.received.patrons,
        "records": incident.received.records,
        "classes": incident.received.classes,
        "authority": notice(&incident.authority),
        "persons": notice(&incident.persons),
        "missing": incident.missing(),
    })
}

/// A moment in UTC, to the minute.
fn format_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}

/// What a list says, in a language.
#[derive(Clone, Copy)]
struct IncidentTexts(Language);

impl IncidentTexts {
    fn nothing(self) -> &'static str {
        self.0.pick("no incident is on record", "er is geen incident vastgelegd")
    }

    /// Times are in UTC.
    fn columns(self) -> [&'static str; 6] {
        self.0.pick(
            ["INCIDENT", "DISCOVERED", "PATRONS", "AUTHORITY", "PERSONS", "TO FILL IN"],
            ["INCIDENT", "ONTDEKT", "LENERS", "TOEZICHTHOUDER", "BETROKKENEN", "NOG IN TE VULLEN"],
        )
    }

    fn clock(self, incident: &Incident, now: Timestamp) -> String {
        let hours = |span: SignedDuration| span.as_hours();
        let by = format_time(incident.notify_by());
        let pick = |english: String, dutch: String| self.0.pick(english, dutch);
        match incident.clock(now) {
            NotifyClock::NotNeeded => self.not_needed().to_owned(),
            NotifyClock::Running(left) => pick(
                format!("{} h left, until {by}", hours(left)),
                format!("nog {} uur, tot {by}", hours(left)),
            ),
            NotifyClock::Overdue(_) => {
                pick(format!("overdue since {by}"), format!("te laat sinds {by}"))
            }
            NotifyClock::Sent(after) if after > NOTIFY_WITHIN => pick(
                format!("sent late, after {} h", hours(after)),
                format!("te laat gemeld, na {} uur", hours(after)),
            ),
            NotifyClock::Sent(after) => pick(
                format!("sent after {} h", hours(after)),
                format!("gemeld na {} uur", hours(after)),
            ),
        }
    }

    fn persons(self, notice: &Notice) -> String {
        match (notice.sent, notice.decision) {
            (Some(sent), _) => self.0.pick(
                format!("told {}", format_time(sent)),
                format!("bericht {}", format_time(sent)),
            ),
            (None, NoticeDecision::Open) => "open".to_owned(),
            (None, NoticeDecision::Notify) => {
                self.0.pick("to be told", "nog te berichten").to_owned()
            }
            (None, NoticeDecision::NotNeeded) => self.not_needed().to_owned(),
        }
    }

    fn not_needed(self) -> &'static str {
        self.0.pick("not needed", "niet nodig")
    }
}
