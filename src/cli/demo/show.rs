//! What the demo shows: one patron, all counts, and where to look next.

use std::collections::BTreeSet;
use std::io::Write;

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use crate::engine::lane::Lane;
use crate::engine::tally::Tally;
use crate::policy::reason::Reason;
use crate::policy::recipient::{FieldRef, OutputValue, Recipient};
use crate::policy::{Loaded, Policy};
use crate::sample::Library;

use super::super::exit::counted;
use super::super::flat::flatten;
use super::super::phrase;
use super::super::screen::{FAINT, HEADING, NAME, Screen, styled};
use super::super::summary;
use super::super::table::{Cell, Table, grouped, wrap};
use super::Done;
use super::patron::Chosen;

/// From this width on, records and outputs stand side by side.
const SIDE_BY_SIDE: usize = 120;
/// A value's name takes no more room than this.
const NAME_MAX: usize = 27;
/// So many outputs of one partner are shown.
const OUTPUTS_MAX: usize = 1;
/// What goes to nobody has this before it.
const NOBODY: &str = "-";

pub(super) fn all(
    screen: &mut Screen,
    loaded: &Loaded,
    library: &Library,
    chosen: Option<&Chosen>,
    done: &Done,
) -> anyhow::Result<()> {
    let patrons = grouped(library.settings().patrons);
    let text = format!(
        "{patrons} patrons of a library that does not exist. Every person, card, address and \
         number below is invented."
    );
    heading(screen, "ZEEF DEMO", &text)?;
    if let Some(chosen) = chosen {
        one_patron(screen, &loaded.policy, chosen)?;
    }
    counts(screen, done)?;
    files(screen, loaded, done)?;
    Ok(())
}

fn heading(screen: &mut Screen, title: &str, text: &str) -> anyhow::Result<()> {
    let width = screen.text_width();
    let line = "─".repeat(width.saturating_sub(title.width() + 1));
    writeln!(
        screen,
        "{} {}",
        styled(NAME.bold(), title),
        styled(FAINT, line)
    )?;
    for line in wrap(text, width) {
        writeln!(screen, "{line}")?;
    }
    if !text.is_empty() {
        writeln!(screen)?;
    }
    Ok(())
}

/// One line of a column.
struct Line {
    text: String,
    style: Style,
}

fn line(text: impl Into<String>, style: Style) -> Line {
    Line {
        text: text.into(),
        style,
    }
}

fn one_patron(screen: &mut Screen, policy: &Policy, chosen: &Chosen) -> anyhow::Result<()> {
    let text = format!(
        "All that the library knows of {}, and what each partner received of it. What has a \
         {NOBODY} before it goes to nobody here.",
        chosen.patron_id
    );
    heading(screen, "ONE PATRON", &text)?;
    let width = screen.text_width();
    if width < SIDE_BY_SIDE {
        for each in records(policy, chosen, width)
            .iter()
            .chain(&partners(policy, chosen, width))
        {
            writeln!(screen, "{}", styled(each.style, &each.text))?;
        }
        return Ok(writeln!(screen)?);
    }
    let column = (width - 3) / 2;
    let left = records(policy, chosen, column);
    let right = partners(policy, chosen, column);
    for at in 0..left.len().max(right.len()) {
        let empty = line("", Style::new());
        let (left, right) = (
            left.get(at).unwrap_or(&empty),
            right.get(at).unwrap_or(&empty),
        );
        let spare = column.saturating_sub(left.text.width());
        let shown = styled(left.style, &left.text);
        let bar = styled(FAINT, "│");
        if right.text.is_empty() {
            writeln!(screen, "{shown}{:spare$} {bar}", "")?;
        } else {
            writeln!(
                screen,
                "{shown}{:spare$} {bar} {}",
                "",
                styled(right.style, &right.text)
            )?;
        }
    }
    Ok(writeln!(screen)?)
}

/// All records of the patron, field by field.
fn records(policy: &Policy, chosen: &Chosen, width: usize) -> Vec<Line> {
    let mut lines = vec![line("WHAT THE LIBRARY HAS", HEADING), line("", HEADING)];
    for message in &chosen.records {
        let Some(value) = &message.value else {
            continue;
        };
        lines.push(line(message.source, NAME.bold()));
        let used = used(policy, message.source);
        let mut flat = flatten(value);
        // A null is nothing that the library knows.
        flat.retain(|(_, value)| value != "null");
        let names = name_width(&flat);
        for (path, value) in &flat {
            let goes = used.contains(&without_places(path));
            let mark = if goes { " " } else { NOBODY };
            let style = if goes { Style::new() } else { FAINT };
            listed(
                &mut lines,
                &format!("{mark} {path}"),
                value,
                names + 2,
                width,
                style,
            );
        }
        lines.push(line("", Style::new()));
    }
    lines
}

/// What each partner received, field by field; those without anything last.
fn partners(policy: &Policy, chosen: &Chosen, width: usize) -> Vec<Line> {
    let mut lines = vec![
        line("WHAT EACH PARTNER RECEIVED", HEADING),
        line("", HEADING),
    ];
    let mut without = Vec::new();
    for recipient in &policy.recipients {
        let received = chosen
            .received
            .iter()
            .filter(|(topic, _)| recipient.topics.names().any(|name| name == topic));
        let received: Vec<&String> = received.map(|(_, value)| value).collect();
        if received.is_empty() {
            without.push(recipient.name.as_str());
            continue;
        }
        lines.push(line(&recipient.name, NAME.bold()));
        lines.extend(
            wrap(&recipient.title, width)
                .into_iter()
                .map(|text| line(text, FAINT)),
        );
        for value in received.iter().take(OUTPUTS_MAX) {
            let flat = flatten(value);
            let names = name_width(&flat);
            for (path, value) in &flat {
                listed(
                    &mut lines,
                    &format!("  {path}"),
                    value,
                    names + 2,
                    width,
                    Style::new(),
                );
            }
        }
        let more = received.len().saturating_sub(OUTPUTS_MAX);
        if more > 0 {
            lines.push(line(format!("  and {more} more like it"), FAINT));
        }
        lines.push(line("", Style::new()));
    }
    if !without.is_empty() {
        lines.push(line("nothing of this patron", NAME.bold()));
        let text = without.join(", ");
        let wrapped = wrap(&text, width - 2).into_iter();
        lines.extend(wrapped.map(|text| line(format!("  {text}"), Style::new())));
    }
    lines
}

fn name_width(flat: &[(String, String)]) -> usize {
    let widest = flat.iter().map(|(path, _)| path.width()).max();
    widest.unwrap_or(0).min(NAME_MAX)
}

/// A name, and its value beside it, over as many lines as it takes.
fn listed(
    lines: &mut Vec<Line>,
    name: &str,
    value: &str,
    names: usize,
    width: usize,
    style: Style,
) {
    let room = width.saturating_sub(names + 2).max(10);
    let value = phrase::visible(value);
    for (at, part) in wrap(&value, room).into_iter().enumerate() {
        let name = if at == 0 { name } else { "" };
        let spare = names.saturating_sub(name.width());
        lines.push(line(format!("{name}{:spare$}  {part}", ""), style));
    }
}

/// `items[0].title` as the catalogue has it: `items[].title`.
fn without_places(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    let mut inside = false;
    for character in path.chars() {
        inside &= character != ']';
        if !inside {
            text.push(character);
        }
        inside |= character == '[';
    }
    text
}

/// The paths of a kind of which some output or its key shows something.
fn used(policy: &Policy, source: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for recipient in &policy.recipients {
        let own = policy.kinds.get(recipient.source);
        let own = own.is_some_and(|kind| kind.name == source);
        let patron = policy.patron().is_some_and(|kind| kind.name == source);
        let counts = |field: &FieldRef| if field.joined { patron } else { own };
        collect(recipient, counts, &mut used);
    }
    used
}

fn collect(recipient: &Recipient, counts: impl Fn(&FieldRef) -> bool, used: &mut BTreeSet<String>) {
    if counts(&recipient.key) {
        used.insert(recipient.key.path.clone());
    }
    for field in &recipient.fields {
        match &field.value {
            OutputValue::Scalar(projection) => {
                let Some(from) = projection.from.as_ref().filter(|from| counts(from)) else {
                    continue;
                };
                used.insert(from.path.clone());
                let prefix = if from.joined { "patron." } else { "" };
                let needs = phrase::needs(projection).into_iter();
                let own = needs.filter_map(|need| need.strip_prefix(prefix).map(str::to_owned));
                used.extend(own);
            }
            OutputValue::Object { from, fields } | OutputValue::List { from, fields } => {
                if counts(from) {
                    used.extend(fields.iter().map(|field| field.path.clone()));
                }
            }
            OutputValue::Scalars { from } => {
                if counts(from) {
                    used.insert(from.path.clone());
                }
            }
            OutputValue::Slip { .. } => {}
        }
    }
}

fn counts(screen: &mut Screen, done: &Done) -> anyhow::Result<()> {
    let seconds = done.took.as_secs_f64().max(0.001);
    let text = format!(
        "{} records decided in {seconds:.1} s: {} records a second, each batch a commit on disk.",
        grouped(done.records),
        grouped((done.records as f64 / seconds) as u64),
    );
    heading(screen, "EVERYBODY", &text)?;
    let lanes: Vec<(&Lane, &Tally)> = done
        .lanes
        .iter()
        .map(|(lane, tally)| (&**lane, tally))
        .collect();
    let width = screen.width();
    summary::recipients(screen, &lanes, width)?;
    writeln!(screen)?;
    dead_letters(screen, done, &lanes)
}

fn dead_letters(screen: &mut Screen, done: &Done, lanes: &[(&Lane, &Tally)]) -> anyhow::Result<()> {
    let of = |reason: &Reason| -> u64 {
        let tallies = lanes.iter();
        tallies
            .map(|(_, tally)| tally.dead_letters[*reason as usize])
            .sum()
    };
    let all: u64 = Reason::ALL.iter().map(of).sum();
    let made = counted(done.poison, "record");
    let text = format!(
        "{} dead letters; {made} that must not pass were put in on purpose. A dead letter says \
         where a record lies and what is wrong with it, never what is in it.",
        grouped(all)
    );
    heading(screen, "DEAD LETTERS", &text)?;
    let mut table = Table::new(&["REASON", "COUNT", "MEANING"]);
    for reason in Reason::ALL.iter().filter(|reason| of(reason) > 0) {
        table.row([
            reason.as_str().into(),
            Cell::number(of(reason)),
            Cell::styled(FAINT, reason.meaning()),
        ]);
    }
    let width = screen.width();
    table.write(screen, width)?;
    Ok(writeln!(screen)?)
}

fn files(screen: &mut Screen, loaded: &Loaded, done: &Done) -> anyhow::Result<()> {
    let folder = done.folder.display();
    let config = done.config.display();
    let text = format!("Everything is kept in {folder}.");
    heading(screen, "WHERE IT IS", &text)?;
    let mut table = Table::new(&[]);
    let mut row = |name: &str, text: String| {
        table.row([name.into(), Cell::styled(FAINT, text)]);
    };
    row("in/", "the records, a file for each source".to_owned());
    row(
        "out/",
        "a folder for each partner, and one for the dead letters".to_owned(),
    );
    row("config/", format!("the policy, {}...", version(loaded)));
    table.write(screen, None)?;
    writeln!(screen)?;
    heading(screen, "WHAT TO TRY", "")?;
    let seed = done.seed;
    let commands = [
        format!("head -n 3 {folder}/out/reservation-slip/out.reservation-slip.ndjson"),
        format!("zeef list recipients --config {config}"),
        format!(
            "zeef generate --patrons 1 --seed {seed} --stdout | zeef explain kb-recognition --config {config}"
        ),
        format!("zeef check --config {config}        (change a file first)"),
        format!(
            "zeef run --directory {folder} --config {config} --follow   (and add lines to in/)"
        ),
    ];
    for command in commands {
        writeln!(screen, "  {command}")?;
    }
    Ok(())
}

fn version(loaded: &Loaded) -> &str {
    loaded.policy.version.get(..12).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_lists_do_not_count() {
        assert_eq!(without_places("items[12].title"), "items[].title");
        assert_eq!(without_places("a.b"), "a.b");
    }
}
