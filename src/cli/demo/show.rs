//! What the demo shows: one member, all counts, and where to look next.

use std::io::Write;

use unicode_width::UnicodeWidthStr;

use crate::config::LoadedConfig;
use crate::engine::lane::Lane;
use crate::engine::tally::Tally;
use crate::policy::Policy;
use crate::policy::reason::Reason;

use super::super::exit::pluralise;
use super::super::screen::{BAD, FAINT, GOOD, HEADING, NAME, Screen, styled};
use super::super::summary;
use super::super::table::{TableCell, TextTable, format_thousands, wrap_text};
use super::DemoResult;
use super::followed_member::{
    FieldExposure, FollowedMember, OutputStatus, ReceivedOutput, count_fields, field_exposure,
};
use crate::cli::describe;
use crate::cli::paths::flatten_json;

/// How many partners get a column of their own.
const MAX_PARTNER_COLUMNS: usize = 10;

pub(super) fn write_demo(
    screen: &mut Screen,
    loaded: &LoadedConfig,
    followed: &FollowedMember,
    done: &DemoResult,
) -> anyhow::Result<()> {
    let patrons = format_thousands(done.patrons);
    let text = format!(
        "{patrons} patrons of a library that does not exist. Every person, card, address and \
         number below is invented."
    );
    write_heading(screen, "ZEEF DEMO", &text)?;
    write_field_exposures(screen, &loaded.policy, followed)?;
    write_outputs(screen, &loaded.policy, followed)?;
    write_status_by_run(screen, &loaded.policy, followed, done)?;
    write_counts(screen, done)?;
    write_folder_guide(screen, loaded, done)?;
    Ok(())
}

fn write_heading(screen: &mut Screen, title: &str, text: &str) -> anyhow::Result<()> {
    let width = screen.text_width();
    let line = "─".repeat(width.saturating_sub(title.width() + 1));
    writeln!(screen, "{} {}", styled(NAME.bold(), title), styled(FAINT, line))?;
    for line in wrap_text(text, width) {
        writeln!(screen, "{line}")?;
    }
    if !text.is_empty() {
        writeln!(screen)?;
    }
    Ok(())
}

/// Writes everything that the library has of the member, field by field, and who got it.
fn write_field_exposures(
    screen: &mut Screen,
    policy: &Policy,
    followed: &FollowedMember,
) -> anyhow::Result<()> {
    let text = format!(
        "All that the library has of {}, and which partner got it: ● as it stands, ○ a part of \
         it, or a stand-in. What has neither goes to nobody.",
        followed.name
    );
    write_heading(screen, "WHO GOT WHAT", &text)?;
    let with: Vec<&str> = policy
        .recipients
        .iter()
        .map(|recipient| recipient.name.as_str())
        .filter(|name| followed.outputs_of(name).next().is_some())
        .collect();
    let columns = &with[..with.len().min(MAX_PARTNER_COLUMNS)];
    let numbered = columns.iter().zip(1..);
    let names: Vec<String> = numbered.map(|(name, at)| format!("{at}\u{a0}{name}")).collect();
    for line in wrap_text(&names.join(",  "), screen.text_width()) {
        writeln!(screen, "{line}")?;
    }
    if let more @ 1.. = with.len() - columns.len() {
        let text = format!("and {more} more without a column");
        writeln!(screen, "{}", styled(FAINT, text))?;
    }
    writeln!(screen)?;
    let mut table = TextTable::new(&[]);
    let head = ["FIELD", "WHAT THE LIBRARY HAS"].map(|text| TableCell::styled(HEADING, text));
    let numbers = (1..=columns.len()).map(|at| TableCell::styled(HEADING, at.to_string()));
    table.add_row(head.into_iter().chain(numbers));
    for message in &followed.records {
        let value = message.value.as_deref().unwrap_or_default();
        table.add_row([TableCell::styled(NAME.bold(), message.source)]);
        for (path, value) in flatten_json(value) {
            let got = field_exposures(policy, followed, columns, (message.source, &path));
            table.add_row(field_row(&path, &value, &got));
        }
    }
    let width = screen.width();
    table.write(screen, width)?;
    Ok(writeln!(screen)?)
}

/// Returns how much of the field at `path` each of some partners got.
fn field_exposures(
    policy: &Policy,
    followed: &FollowedMember,
    names: &[&str],
    (kind, path): (&str, &str),
) -> Vec<FieldExposure> {
    let path = strip_list_indices(path);
    let of_one = |name: &&str| {
        let outputs = followed.outputs_of(name);
        let shares = outputs.map(|received| field_exposure(policy, received, (kind, &path)));
        shares.max().unwrap_or(FieldExposure::Nothing)
    };
    names.iter().map(of_one).collect()
}

/// Returns a row with a field, its value, and a mark for each partner.
fn field_row(path: &str, value: &str, exposures: &[FieldExposure]) -> Vec<TableCell> {
    let goes = exposures.iter().any(|share| *share != FieldExposure::Nothing);
    let style = if goes { anstyle::Style::new() } else { FAINT };
    let marks = exposures.iter().map(|share| match share {
        FieldExposure::Nothing => TableCell::from(""),
        FieldExposure::Part => TableCell::styled(GOOD, "○"),
        FieldExposure::InFull => TableCell::styled(GOOD, "●"),
    });
    let cells = [
        TableCell::styled(style, format!("  {path}")),
        TableCell::styled(style, describe::escape_invisible(value)),
    ];
    cells.into_iter().chain(marks).collect()
}

/// Writes what each partner received of her; those without anything last.
fn write_outputs(
    screen: &mut Screen,
    policy: &Policy,
    followed: &FollowedMember,
) -> anyhow::Result<()> {
    write_heading(screen, "WHAT EACH PARTNER RECEIVED", "")?;
    let width = screen.text_width();
    let mut without = Vec::new();
    for recipient in &policy.recipients {
        let received: Vec<&ReceivedOutput> = followed.outputs_of(&recipient.name).collect();
        if received.is_empty() {
            without.push(recipient.name.as_str());
            continue;
        }
        let name = styled(NAME.bold(), &recipient.name);
        writeln!(screen, "{name}  {}", styled(FAINT, &recipient.title))?;
        for output in received.iter().filter_map(|one| first_output(one)) {
            let flat = flatten_json(output);
            let parts: Vec<String> = flat
                .iter()
                .map(|(path, value)| format!("{path}:\u{a0}{}", describe::escape_invisible(value)))
                .collect();
            for line in wrap_text(&parts.join(" · "), width - 2) {
                writeln!(screen, "  {line}")?;
            }
        }
    }
    if !without.is_empty() {
        let text = format!("Nothing of her: {}.", without.join(", "));
        for line in wrap_text(&text, width) {
            writeln!(screen, "{line}")?;
        }
    }
    Ok(writeln!(screen)?)
}

/// Returns the first output that was there.
fn first_output(received: &ReceivedOutput) -> Option<&str> {
    match received.status_after_runs.first()? {
        OutputStatus::Output(output) => Some(output),
        OutputStatus::Nothing | OutputStatus::Retracted => None,
    }
}

/// Writes what each partner has after each night.
fn write_status_by_run(
    screen: &mut Screen,
    policy: &Policy,
    followed: &FollowedMember,
    done: &DemoResult,
) -> anyhow::Result<()> {
    let text = "By the second night she has withdrawn her consents for the online library and the \
                newsletter, the city says that her debt is paid, and the library's system no \
                longer has her loan (statistics follow when the month is over): what she lets a \
                member of her family see follows both. By the third she is erased: the library's \
                system wrote a null for her.";
    write_heading(screen, "THREE NIGHTS", text)?;
    let mut table = TextTable::new(&["PARTNER", "FIRST NIGHT", "SECOND NIGHT", "ERASED"]);
    for received in &followed.received {
        let Some(recipient) = policy.recipient(&received.recipient) else {
            continue;
        };
        let mut row = vec![TableCell::styled(NAME, &received.recipient)];
        let mut before: Option<&OutputStatus> = None;
        for has in &received.status_after_runs {
            row.push(match has {
                OutputStatus::Output(_) if before == Some(has) => {
                    TableCell::styled(FAINT, "the same")
                }
                OutputStatus::Retracted if before == Some(has) => {
                    TableCell::styled(FAINT, "nothing")
                }
                OutputStatus::Output(_) if matches!(before, Some(OutputStatus::Output(_))) => {
                    TableCell::styled(GOOD, "corrected")
                }
                OutputStatus::Output(output) => {
                    pluralise(count_fields(recipient, output), "field").into()
                }
                OutputStatus::Retracted => TableCell::styled(GOOD, "taken back"),
                OutputStatus::Nothing => TableCell::styled(FAINT, "nothing"),
            });
            before = Some(has);
        }
        table.add_row(row);
    }
    let width = screen.width();
    table.write(screen, width)?;
    writeln!(screen)?;
    let searched = &done.trace_search;
    let (style, text) = match searched.files_with_trace.as_slice() {
        [] => (
            GOOD,
            format!(
                "Of the {} files that partners and zeef have, none has her name, address, card \
                 number, mail address or phone number any more.",
                searched.file_count
            ),
        ),
        found => (BAD, format!("Traces of her remain in {}.", found.join(", "))),
    };
    for line in wrap_text(&text, screen.text_width()) {
        writeln!(screen, "{}", styled(style, line))?;
    }
    Ok(writeln!(screen)?)
}

/// Returns `items[0].title` as the catalogue has it: `items[].title`.
fn strip_list_indices(path: &str) -> String {
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

fn write_counts(screen: &mut Screen, done: &DemoResult) -> anyhow::Result<()> {
    let seconds = done.first_run_duration.as_secs_f64().max(0.001);
    let text = format!(
        "The first night: {} records decided in {seconds:.1} s, {} a second, each batch a commit \
         on disk.",
        format_thousands(done.records),
        format_thousands((done.records as f64 / seconds) as u64),
    );
    write_heading(screen, "EVERYBODY", &text)?;
    let lanes: Vec<(&Lane, &Tally)> =
        done.lanes.iter().map(|(lane, tally)| (&**lane, tally)).collect();
    let width = screen.width();
    summary::write_recipient_counts(screen, &lanes, width)?;
    writeln!(screen)?;
    write_dead_letters(screen, done, &lanes)
}

fn write_dead_letters(
    screen: &mut Screen,
    done: &DemoResult,
    lanes: &[(&Lane, &Tally)],
) -> anyhow::Result<()> {
    let of = |reason: &Reason| -> u64 {
        let tallies = lanes.iter();
        tallies.map(|(_, tally)| tally.dead_letters[*reason as usize]).sum()
    };
    let all: u64 = Reason::ALL.iter().map(of).sum();
    let made = pluralise(done.invalid_records, "record");
    let text = format!(
        "{} dead letters; {made} that must not pass were put in on purpose. A dead letter says \
         where a record lies and what is wrong with it, never what is in it.",
        format_thousands(all)
    );
    write_heading(screen, "DEAD LETTERS", &text)?;
    let mut table = TextTable::new(&["REASON", "COUNT", "MEANING"]);
    for reason in Reason::ALL.iter().filter(|reason| of(reason) > 0) {
        table.add_row([
            reason.as_str().into(),
            TableCell::number(of(reason)),
            TableCell::styled(FAINT, reason.meaning()),
        ]);
    }
    let width = screen.width();
    table.write(screen, width)?;
    Ok(writeln!(screen)?)
}

fn write_folder_guide(
    screen: &mut Screen,
    loaded: &LoadedConfig,
    done: &DemoResult,
) -> anyhow::Result<()> {
    let folder = done.folder.display();
    let config = done.config.display();
    let text = format!("Everything is kept in {folder}.");
    write_heading(screen, "WHERE IT IS", &text)?;
    let mut table = TextTable::new(&[]);
    let mut row = |name: &str, text: String| {
        table.add_row([name.into(), TableCell::styled(FAINT, text)]);
    };
    row("in/", "the records, a file for each source".to_owned());
    row("out/", "a folder for each partner, and one for the dead letters".to_owned());
    row("config/", format!("the policy, {}...", short_policy_version(loaded)));
    table.write(screen, None)?;
    writeln!(screen)?;
    write_heading(screen, "WHAT TO TRY", "")?;
    let commands = [
        format!("head -n 3 {folder}/out/reservation-slip/out.reservation-slip.ndjson"),
        format!("zeef list recipients --config {config}"),
        format!(
            "zeef explain kb-recognition --directory {folder} --config {config} --id {}",
            done.example_patron_id
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

fn short_policy_version(loaded: &LoadedConfig) -> &str {
    loaded.policy.version.get(..12).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_indices_are_stripped_from_paths() {
        assert_eq!(strip_list_indices("items[12].title"), "items[].title");
        assert_eq!(strip_list_indices("a.b"), "a.b");
    }
}
