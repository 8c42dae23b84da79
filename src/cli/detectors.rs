//! `zeef list detectors`: those of the table, and those of the config.

use std::io::Write;

use serde_json::{Value, json};

use crate::policy::detect::{CustomDetectors, DETECTORS, DetectorSet};

use super::describe;
use super::listing::{select_by_name, write_heading, write_json, write_paragraph, write_table};
use super::screen::{FAINT, Screen};
use super::table::{TableCell, TextTable};

struct ListedDetector {
    name: String,
    finds: String,
    /// A regular expression, of a detector of the config.
    pattern: Option<String>,
    /// The record's own values in the examples.
    own_values: &'static [&'static str],
    /// Texts and their redacted forms.
    hits: Vec<(String, String)>,
    misses: Vec<String>,
}

pub(super) fn list(
    custom: &CustomDetectors,
    name: Option<&str>,
    json: bool,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let all = all_detectors(custom);
    let some = select_by_name("detector", name, &all, |detector| detector.name.as_str())?;
    match json {
        true => write_json(&some.into_iter().map(detector_json).collect(), screen),
        false => write_detectors(&some, screen),
    }
}

fn all_detectors(custom: &CustomDetectors) -> Vec<ListedDetector> {
    let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
    let table = DETECTORS.iter().map(|def| ListedDetector {
        name: def.name.to_owned(),
        finds: def.description.to_owned(),
        pattern: None,
        own_values: def.own_values,
        hits: def.hits.iter().map(|&(text, out)| (text.to_owned(), out.to_owned())).collect(),
        misses: texts(def.misses),
    });
    let of_config = custom.iter().map(|one| ListedDetector {
        name: one.name.clone(),
        finds: one.description.clone(),
        pattern: Some(one.pattern.as_str().to_owned()),
        own_values: &[],
        hits: one
            .hits
            .iter()
            .map(|hit| (hit.clone(), redact_with(&one.name, custom, hit)))
            .collect(),
        misses: one.misses.clone(),
    });
    table.chain(of_config).collect()
}

/// Returns `text` as the detector `name` leaves it.
fn redact_with(name: &str, custom: &CustomDetectors, text: &str) -> String {
    let mut out = String::new();
    let is_hit = DetectorSet::with_custom([name], custom)
        .is_ok_and(|one| one.redact(text, std::iter::empty(), &mut out, &mut []));
    if is_hit { out } else { text.to_owned() }
}

fn write_detectors(some: &[&ListedDetector], screen: &mut Screen) -> anyhow::Result<()> {
    for (at, detector) in some.iter().enumerate() {
        if at > 0 {
            writeln!(screen)?;
        }
        write_heading(screen, &detector.name, &detector.finds)?;
        if let Some(pattern) = &detector.pattern {
            write_paragraph(screen, &format!("of this config, by the pattern {pattern}"))?;
        }
        if !detector.own_values.is_empty() {
            let own: Vec<_> =
                detector.own_values.iter().map(|own| describe::escape_invisible(own)).collect();
            let about = format!("in the examples the record's own values are: {}", own.join(", "));
            write_paragraph(screen, &about)?;
        }
        let mut table = TextTable::new(&["TEXT", "BECOMES"]).indented(4);
        for (text, becomes) in &detector.hits {
            table.add_row([
                describe::escape_invisible(text).into(),
                describe::escape_invisible(becomes).into(),
            ]);
        }
        for text in &detector.misses {
            table.add_row([
                describe::escape_invisible(text).into(),
                TableCell::styled(FAINT, "(stays)"),
            ]);
        }
        write_table(screen, &table)?;
    }
    Ok(())
}

fn detector_json(detector: &ListedDetector) -> Value {
    let hit = |(text, becomes): &(String, String)| json!({ "text": text, "becomes": becomes });
    let mut shown = json!({
        "name": detector.name,
        "finds": detector.finds,
        "own_values": detector.own_values,
        "hits": detector.hits.iter().map(hit).collect::<Vec<_>>(),
        "misses": detector.misses,
    });
    if let Some(pattern) = &detector.pattern {
        shown["pattern"] = json!(pattern);
    }
    shown
}
