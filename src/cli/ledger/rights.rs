//! `zeef rights access`: the answer to a patron who asks who has what (GDPR, art. 15).
//!
//! Names fields, never their values, and nobody else: it is made of this patron's lines alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use super::erase;
use super::patron::{self, AnswerQuestion, CurrentOutputs, PatronAnswer};
use super::template::Template;
use super::texts::Texts;
use crate::cli::arguments::{
    ConfidentialArguments, LetterFormat, RightsAccessArguments, RightsArguments, RightsCommand,
};
use crate::cli::exit::{CliFailure, Exit};
use crate::cli::export::write_private_file;
use crate::cli::screen::{Screen, StdoutLines};
use crate::contract::{describe_field_in_short, describe_term, field_meaning, markdown_cell};
use crate::export::pdf::render_letter;
use crate::ledger::fields::field_of_leaf;
use crate::policy::Policy;
use crate::policy::contract::OutputContract;
use crate::policy::recipient::Recipient;

pub(in crate::cli) fn run(
    arguments: &RightsArguments,
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    match &arguments.command {
        RightsCommand::Access(arguments) => write_access(arguments, screen),
        RightsCommand::Erase(arguments) => erase::run(arguments, screen),
    }
}

fn write_access(arguments: &RightsAccessArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let question = &arguments.question;
    if arguments.identity.trim().is_empty() {
        let text = "--identity says how it was checked that the patron asks: it must not be empty";
        return Err(CliFailure::Usage(text.to_owned()).into());
    }
    let is_pdf = arguments.format == LetterFormat::Pdf;
    if is_pdf && arguments.out.is_none() && std::io::stdout().is_terminal() {
        let text = "a PDF is not for a terminal: say --out FILE";
        return Err(CliFailure::Usage(text.to_owned()).into());
    }
    let texts = Texts(question.lang.into());
    let template = Template::find(&question.source.config.config, "access", question.lang.into())?;
    // The answer goes to the patron, so it never has what patrons are not told.
    let confidential = &ConfidentialArguments::default();
    let asked =
        AnswerQuestion { question, words: "rights access", confidential, is_of_own_alone: false };
    patron::with_answer(&asked, |reader, answer| {
        if question.source.json {
            return patron::write_json(answer, screen);
        }
        let policy = &reader.loaded.policy;
        let values = [
            ("date", jiff::Zoned::now().date().to_string()),
            ("identity", arguments.identity.trim().to_owned()),
            ("now", current_section(answer, policy, texts)),
            ("history", history_section(answer, texts)),
        ];
        let text = template.render(&values)?;
        let letter = match arguments.format {
            LetterFormat::Text => text.into_bytes(),
            LetterFormat::Pdf => render_letter(&text, &texts.letter_words())?,
        };
        match &arguments.out {
            Some(path) => write_private_file(path, &letter)?,
            None if is_pdf => {
                let mut out = StdoutLines::stdout();
                out.write_all(&letter)?;
                out.flush()?;
            }
            None => screen.write_all(&letter)?,
        }
        Ok(())
    })
}

/// Tells of each recipient what it has, for what, on which basis, and since when.
fn current_section(answer: &PatronAnswer<'_>, policy: &Policy, texts: Texts) -> String {
    if answer.now.is_empty() {
        return texts.nothing_now().to_owned();
    }
    let mut parts = Vec::new();
    for (name, one) in answer.now {
        parts.push(describe_current((name, one), policy, texts));
    }
    parts.join("\n\n")
}

fn describe_current((name, one): (&str, &CurrentOutputs), policy: &Policy, texts: Texts) -> String {
    let recipient = policy.all_recipients().find(|recipient| recipient.name == name);
    let title = recipient.map_or(name, |recipient| recipient.title.as_str());
    let purpose = recipient.map_or(one.activity.purpose.as_str(), |one| one.purpose_text.as_str());
    let contract = recipient.map(|one| OutputContract::of_recipient(one, policy));
    let meanings: BTreeMap<&str, String> = contract
        .iter()
        .flat_map(|contract| &contract.fields)
        .map(|field| (field.name.as_str(), describe_field_in_short(field, texts.0)))
        .collect();
    let [what_for, basis, since, until, which] = texts.access_labels();
    let mut text = format!("### {title}\n\n");
    // Writing to a string cannot fail.
    let _ = writeln!(text, "- {what_for}: {purpose}");
    let _ = writeln!(text, "- {basis}: {}", texts.legal_basis(&one.activity.legal_basis));
    let _ = writeln!(text, "- {since}: {}", patron::format_time(one.since, "%Y-%m-%d"));
    if let Some(recipient) = recipient {
        let _ = writeln!(text, "- {until}: {}", describe_retention(recipient, policy, texts));
    }
    let mut names: Vec<&str> = Vec::new();
    for leaf in &one.fields {
        let name = field_of_leaf(leaf);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let fields = names.iter().map(|name| match meanings.get(name) {
        Some(meaning) if !meaning.is_empty() => format!("`{name}`: {meaning}"),
        _ => format!("`{name}`"),
    });
    let mut fields: Vec<String> = fields.collect();
    fields.extend(one.is_before_ledger.then(|| texts.before_ledger().to_owned()));
    fields.extend(one.is_all_kept.then(|| texts.kept().to_owned()));
    fields.extend((one.of_other_patrons > 0).then(|| texts.of_other_patron().to_owned()));
    let _ = write!(text, "- {which}:");
    fields.iter().for_each(|field| {
        let _ = write!(text, "\n  - {field}");
    });
    text
}

/// Returns until when a recipient has something.
fn describe_retention(recipient: &Recipient, policy: &Policy, texts: Texts) -> String {
    let rule = &recipient.retention;
    let term = describe_term(rule.term, texts.0);
    let from = field_meaning((policy, recipient), &rule.start_field, texts.0);
    let from = from.split(';').next().unwrap_or_default();
    texts.retention(&term, from, rule.after)
}

/// Tells what happened, and what recipients have not acknowledged of it.
fn history_section(answer: &PatronAnswer<'_>, texts: Texts) -> String {
    let mut text = history_table(answer, texts);
    let lines = answer.unacknowledged_lines(texts);
    if !lines.is_empty() {
        text.push('\n');
    }
    for line in lines {
        let _ = write!(text, "\n- {line}");
    }
    text
}

fn history_table(answer: &PatronAnswer<'_>, texts: Texts) -> String {
    if answer.events.is_empty() {
        return texts.no_history().to_owned();
    }
    let [when, recipient, what, _, why, fields] = texts.history_columns();
    let heading = [when, recipient, what, why, fields].map(str::to_lowercase).join(" | ");
    let mut table = format!("| {heading} |\n|---|---|---|---|---|");
    for event in answer.events {
        let title = answer.register.title_of(&event.activity).to_owned();
        let reason = event.reason.as_deref().map(|word| texts.reason(word)).unwrap_or_default();
        let mut fields: Vec<&str> = event.fields.iter().map(String::as_str).collect();
        fields.extend(event.is_of_other_patron.then_some(texts.of_other_patron()));
        let cells = [
            patron::format_time(event.time, "%Y-%m-%d"),
            title,
            texts.operation(event.operation).to_owned(),
            reason,
            fields.join(", "),
        ];
        let cells = cells.map(|cell| markdown_cell(&cell)).join(" | ");
        let _ = write!(table, "\n| {cells} |");
    }
    table
}
