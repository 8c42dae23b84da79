//! `zeef check`: is the config right, and what does it say?

use std::io::Write;

use crate::daemon::clock::now_ms;
use crate::daemon::papers::Papers;
use crate::daemon::run;
use crate::policy::canonical::legal_basis_word;
use crate::policy::pseudonym::{Key, KeyMistake, STATE_KEY};
use crate::policy::recipient::Recipient;
use crate::policy::{Loaded, Policy};
use crate::transport::kafka::KafkaSettings;

use super::arguments::CheckArguments;
use super::config::load;
use super::exit::{Exit, Failure, counted};
use super::kafka;
use super::key::{self, Keys};
use super::screen::{FAINT, GOOD, HEADING, Screen, styled};
use super::table::{Cell, Table};

pub(super) fn run(arguments: &CheckArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let folder = &arguments.config.config;
    let loaded = load(folder)?;
    let mut names: Vec<&str> = names(&loaded.policy.recipients);
    names.push(STATE_KEY);
    let mut keys = Keys::find(&loaded.daemon.keys, &names);
    let kafka = startable(&loaded, &mut keys)?;
    let policy = &loaded.policy;
    let folder = folder.display();
    writeln!(screen, "{} {folder} is fine", styled(GOOD.bold(), "ok"))?;
    writeln!(screen)?;
    writeln!(screen, "policy  {}", policy.version)?;
    for lane in &loaded.daemon.lanes {
        let workers = counted(lane.workers, "worker");
        let served = lane.recipients.join(", ");
        writeln!(screen, "lane    {} ({workers}): {served}", lane.name)?;
    }
    writeln!(screen)?;
    recipients(policy, screen)?;
    notes(&gathered_notes(&loaded, &keys, &kafka), screen)?;
    Ok(Exit::Fine)
}

/// Looks for all that a start would refuse before it connects to anything.
///
/// # Errors
///
/// Every key that cannot be used or that the config names and is not there, what is
/// wrong with the properties of Kafka, and what cannot be compiled.
fn startable(loaded: &Loaded, keys: &mut Keys) -> anyhow::Result<KafkaSettings> {
    let settings = &loaded.daemon.keys;
    let named = |key: &mut KeyMistake| settings.names(&key.recipient);
    keys.broken.extend(keys.missing.extract_if(.., named));
    // The host's name matters to a start on Kafka alone.
    let instance = loaded.daemon.kafka.instance.is_none().then_some("check");
    let kafka = match (
        kafka::settings(loaded, None, instance),
        keys.broken.is_empty(),
    ) {
        (Ok(kafka), true) => kafka,
        (Ok(_), false) => return Err(Failure::Keys(std::mem::take(&mut keys.broken)).into()),
        (Err(failure), _) => {
            let of_keys = keys.broken.iter().map(ToString::to_string);
            let all: Vec<_> = of_keys.chain([failure.to_string()]).collect();
            return Err(Failure::Config(all.join("\n")).into());
        }
    };
    let recipients = names(&loaded.policy.recipients);
    let ring = keys.with_throwaway(&recipients, Key::generate("throwaway")?)?;
    run::lanes(loaded, &ring, "")
        .map_err(|error| Failure::Config(format!("the policy cannot be compiled: {error}")))?;
    Ok(kafka)
}

fn names(recipients: &[Recipient]) -> Vec<&str> {
    recipients.iter().map(|one| one.name.as_str()).collect()
}

fn recipients(policy: &Policy, screen: &mut Screen) -> anyhow::Result<()> {
    let width = screen.width();
    let mut table = Table::new(&[
        "RECIPIENT",
        "SOURCE",
        "PURPOSE",
        "LEGAL BASIS",
        "FIELDS",
        "FLOWS",
    ]);
    for recipient in &policy.recipients {
        let kind = policy.kinds.get(recipient.source);
        table.row([
            recipient.name.clone().into(),
            kind.map_or("", |kind| kind.name.as_str()).into(),
            recipient.purpose.clone().into(),
            legal_basis_word(recipient.legal_basis).into(),
            Cell::number(recipient.fields.len() as u64),
            recipient.flows.join(", ").into(),
        ]);
    }
    table.write(screen, width)?;
    if !policy.disabled.is_empty() {
        let off = names(&policy.disabled).join(", ");
        writeln!(screen, "{}", styled(FAINT, format!("switched off: {off}")))?;
    }
    Ok(())
}

/// What an operator should know; nothing is wrong.
fn gathered_notes(loaded: &Loaded, keys: &Keys, kafka: &KafkaSettings) -> Vec<String> {
    let mut notes = loaded.notes.clone();
    notes.extend(keys.ring.notes.iter().cloned());
    let mut papers = Papers::of(&loaded.policy);
    let due = papers.due(now_ms()).into_iter();
    notes.extend(due.map(|(paper, standing)| paper.describe(standing)));
    notes.extend(placeholders(&loaded.policy));
    notes.extend(kafka.security_notes());
    match keys.missing.as_slice() {
        [] => {}
        [one] => notes.push(format!(
            "{0} has no key yet, and `zeef run` needs one: make it with `zeef keys new {0}`",
            one.recipient
        )),
        missing => notes.push(format!(
            "no keys yet, and `zeef run` needs them: make them with `zeef keys new --all` ({})",
            key::names(missing).join(", ")
        )),
    }
    notes
}

/// A text of a recipient's file.
type TextOf = fn(&Recipient) -> Option<&String>;

/// What papers and the record of processing (GDPR art. 30) still have of an
/// example.
fn placeholders(policy: &Policy) -> Vec<String> {
    let all = &policy.recipients;
    let with = |text: TextOf, is: fn(&str) -> bool| {
        let some = all
            .iter()
            .filter(|one| text(one).is_some_and(|text| is(text)));
        let names: Vec<_> = some.map(|one| one.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    const TEXTS: &[(&str, TextOf)] = &[
        ("`controller`", |one| Some(&one.controller)),
        ("`contact`", |one| Some(&one.register.contact)),
        ("`reference` of the agreement", |one| {
            Some(&one.agreement.as_ref()?.reference)
        }),
        ("`reference` of the authorisation", |one| {
            Some(&one.authorisation.as_ref()?.reference)
        }),
        ("`approved_by` of the authorisation", |one| {
            Some(&one.authorisation.as_ref()?.approved_by)
        }),
    ];
    let left = TEXTS.iter().filter_map(|(what, text)| {
        let names = with(*text, is_placeholder)?;
        Some(format!("{what} is still a placeholder in {names}"))
    });
    let missing = with(|one| Some(&one.register.contact), str::is_empty);
    left.chain(missing.map(|names| format!("no `contact` in {names}")))
        .collect()
}

/// Whether a text was left as an example has it, as `...`, `TODO` or
/// `privacy@example.org`.
fn is_placeholder(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "todo",
        "tbd",
        "fixme",
        "xxx",
        "example",
        "voorbeeld",
        "placeholder",
        "changeme",
        "invullen",
    ];
    const PARTS: &[&str] = &["...", "\u{2026}", "set your own", "vul hier", "change me"];
    let text = text.to_lowercase();
    let mut words = text.split(|letter: char| !letter.is_alphanumeric());
    words.any(|word| WORDS.contains(&word)) || PARTS.iter().any(|part| text.contains(part))
}

fn notes(notes: &[String], screen: &mut Screen) -> anyhow::Result<()> {
    if notes.is_empty() {
        return Ok(());
    }
    writeln!(screen, "\n{}", styled(HEADING, "NOTES"))?;
    let width = screen.width();
    let mut table = Table::new(&[]);
    for note in notes {
        table.row(["-".into(), note.clone().into()]);
    }
    table.write(screen, width)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_known() {
        for text in [
            "...",
            "\u{2026}",
            "TODO",
            "privacy@library.example.org",
            "The library (set your own name here)",
            "xxx",
            "<invullen>",
        ] {
            assert!(is_placeholder(text), "{text}");
        }
        for text in [
            "Stichting Openbare Bibliotheek",
            "fg@bibliotheek.nl",
            "Methodo B.V.",
            "an exemplary library",
        ] {
            assert!(!is_placeholder(text), "{text}");
        }
    }
}
