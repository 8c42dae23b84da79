//! What the demo shows: one member, all counts, and where to look next.

use std::io::Write;

use unicode_width::UnicodeWidthStr;

use crate::engine::lane::Lane;
use crate::engine::tally::Tally;
use crate::policy::reason::Reason;
use crate::policy::{Loaded, Policy};
use crate::sample::Library;

use super::super::exit::counted;
use super::super::flat::flatten;
use super::super::phrase;
use super::super::screen::{BAD, FAINT, GOOD, HEADING, NAME, Screen, styled};
use super::super::summary;
use super::super::table::{Cell, Table, grouped, wrap};
use super::Done;
use super::member::{Followed, Has, Received, Share, fields, share};

/// So many partners have a column of their own.
const COLUMNS_MAX: usize = 9;

pub(super) fn all(
    screen: &mut Screen,
    loaded: &Loaded,
    library: &Library,
    followed: &Followed,
    done: &Done,
) -> anyhow::Result<()> {
    let patrons = grouped(library.settings().patrons);
    let text = format!(
        "{patrons} patrons of a library that does not exist. Every person, card, address and \
         number below is invented."
    );
    heading(screen, "ZEEF DEMO", &text)?;
    who_got_what(screen, &loaded.policy, followed)?;
    outputs(screen, &loaded.policy, followed)?;
    nights(screen, &loaded.policy, followed, done)?;
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

/// All that the library has of the member, field by field, and who got it.
fn who_got_what(screen: &mut Screen, policy: &Policy, followed: &Followed) -> anyhow::Result<()> {
    let text = format!(
        "All that the library has of {}, and which partner got it: ● as it stands, ○ a part of \
         it, or a stand-in. What has neither goes to nobody.",
        followed.name
    );
    heading(screen, "WHO GOT WHAT", &text)?;
    let with: Vec<&str> = policy
        .recipients
        .iter()
        .map(|recipient| recipient.name.as_str())
        .filter(|name| followed.of(name).next().is_some())
        .collect();
    let columns = &with[..with.len().min(COLUMNS_MAX)];
    let numbered = columns.iter().zip(1..);
    let names: Vec<String> = numbered
        .map(|(name, at)| format!("{at}\u{a0}{name}"))
        .collect();
    for line in wrap(&names.join(",  "), screen.text_width()) {
        writeln!(screen, "{line}")?;
    }
    if let more @ 1.. = with.len() - columns.len() {
        let text = format!("and {more} more without a column");
        writeln!(screen, "{}", styled(FAINT, text))?;
    }
    writeln!(screen)?;
    let mut table = Table::new(&[]);
    let head = ["FIELD", "WHAT THE LIBRARY HAS"].map(|text| Cell::styled(HEADING, text));
    let numbers = (1..=columns.len()).map(|at| Cell::styled(HEADING, at.to_string()));
    table.row(head.into_iter().chain(numbers));
    for message in &followed.records {
        let value = message.value.as_deref().unwrap_or_default();
        table.row([Cell::styled(NAME.bold(), message.source)]);
        for (path, value) in flatten(value) {
            let got = shares(policy, followed, columns, (message.source, &path));
            table.row(field_row(&path, &value, &got));
        }
    }
    let width = screen.width();
    table.write(screen, width)?;
    Ok(writeln!(screen)?)
}

/// How much of the field at `path` of a kind of record each of some partners got.
fn shares(
    policy: &Policy,
    followed: &Followed,
    names: &[&str],
    (kind, path): (&str, &str),
) -> Vec<Share> {
    let path = without_places(path);
    let of_one = |name: &&str| {
        let outputs = followed.of(name);
        let shares = outputs.map(|received| share(policy, received, (kind, &path)));
        shares.max().unwrap_or(Share::Nothing)
    };
    names.iter().map(of_one).collect()
}

/// A field, its value, and a mark for each partner.
fn field_row(path: &str, value: &str, got: &[Share]) -> Vec<Cell> {
    let goes = got.iter().any(|share| *share != Share::Nothing);
    let style = if goes { anstyle::Style::new() } else { FAINT };
    let marks = got.iter().map(|share| match share {
        Share::Nothing => Cell::from(""),
        Share::Part => Cell::styled(GOOD, "○"),
        Share::InFull => Cell::styled(GOOD, "●"),
    });
    let cells = [
        Cell::styled(style, format!("  {path}")),
        Cell::styled(style, phrase::visible(value)),
    ];
    cells.into_iter().chain(marks).collect()
}

/// What each partner received of her; those without anything last.
fn outputs(screen: &mut Screen, policy: &Policy, followed: &Followed) -> anyhow::Result<()> {
    heading(screen, "WHAT EACH PARTNER RECEIVED", "")?;
    let width = screen.text_width();
    let mut without = Vec::new();
    for recipient in &policy.recipients {
        let received: Vec<&Received> = followed.of(&recipient.name).collect();
        if received.is_empty() {
            without.push(recipient.name.as_str());
            continue;
        }
        let name = styled(NAME.bold(), &recipient.name);
        writeln!(screen, "{name}  {}", styled(FAINT, &recipient.title))?;
        for output in received.iter().filter_map(|one| output_of(one)) {
            let flat = flatten(output);
            let parts: Vec<String> = flat
                .iter()
                .map(|(path, value)| format!("{path}:\u{a0}{}", phrase::visible(value)))
                .collect();
            for line in wrap(&parts.join(" · "), width - 2) {
                writeln!(screen, "  {line}")?;
            }
        }
    }
    if !without.is_empty() {
        let text = format!("Nothing of her: {}.", without.join(", "));
        for line in wrap(&text, width) {
            writeln!(screen, "{line}")?;
        }
    }
    Ok(writeln!(screen)?)
}

/// The first output that was there.
fn output_of(received: &Received) -> Option<&str> {
    match received.nights.first()? {
        Has::Output(output) => Some(output),
        Has::Nothing | Has::TakenBack => None,
    }
}

/// What each partner has after each night.
fn nights(
    screen: &mut Screen,
    policy: &Policy,
    followed: &Followed,
    done: &Done,
) -> anyhow::Result<()> {
    let text = "By the second night she has withdrawn her consent for the online library. By the \
                third she is erased: the library's system wrote a null for her.";
    heading(screen, "THREE NIGHTS", text)?;
    let mut table = Table::new(&["PARTNER", "FIRST NIGHT", "CONSENT WITHDRAWN", "ERASED"]);
    for received in &followed.received {
        let Some(recipient) = policy.recipient(&received.recipient) else {
            continue;
        };
        let mut row = vec![Cell::styled(NAME, &received.recipient)];
        let mut before: Option<&Has> = None;
        for has in &received.nights {
            row.push(match has {
                Has::Output(_) if before == Some(has) => Cell::styled(FAINT, "the same"),
                Has::TakenBack if before == Some(has) => Cell::styled(FAINT, "nothing"),
                Has::Output(output) => counted(fields(recipient, output), "field").into(),
                Has::TakenBack => Cell::styled(GOOD, "taken back"),
                Has::Nothing => Cell::styled(FAINT, "nothing"),
            });
            before = Some(has);
        }
        table.row(row);
    }
    let width = screen.width();
    table.write(screen, width)?;
    writeln!(screen)?;
    let searched = &done.searched;
    let (style, text) = match searched.found.as_slice() {
        [] => (
            GOOD,
            format!(
                "Of the {} files that partners and zeef have, none has her name, address, card \
                 number, mail address or phone number any more.",
                searched.files
            ),
        ),
        found => (
            BAD,
            format!("Still something of her in {}.", found.join(", ")),
        ),
    };
    for line in wrap(&text, screen.text_width()) {
        writeln!(screen, "{}", styled(style, line))?;
    }
    Ok(writeln!(screen)?)
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

fn counts(screen: &mut Screen, done: &Done) -> anyhow::Result<()> {
    let seconds = done.took.as_secs_f64().max(0.001);
    let text = format!(
        "The first night: {} records decided in {seconds:.1} s, {} a second, each batch a commit \
         on disk.",
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
    let commands = [
        format!("head -n 3 {folder}/out/reservation-slip/out.reservation-slip.ndjson"),
        format!("zeef list recipients --config {config}"),
        format!(
            "zeef explain kb-recognition --directory {folder} --config {config} --id {}",
            done.someone
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
