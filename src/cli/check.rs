//! `zeef check`: is the config right, and what does it say?

use std::io::Write;

use crate::policy::canonical::legal_basis_word;
use crate::policy::pseudonym::STATE_KEY;
use crate::policy::recipient::Recipient;
use crate::policy::{Loaded, Policy};

use super::arguments::CheckArguments;
use super::config::load;
use super::exit::{Exit, Failure, counted};
use super::key::Keys;
use super::screen::{FAINT, GOOD, HEADING, Screen, styled};
use super::table::{Cell, Table};

pub(super) fn run(arguments: &CheckArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let folder = &arguments.config.config;
    let loaded = load(folder)?;
    let mut names: Vec<&str> = names(&loaded.policy.recipients);
    names.push(STATE_KEY);
    let keys = Keys::find(&loaded.daemon.keys, &names);
    if !keys.broken.is_empty() {
        return Err(Failure::Keys(keys.broken).into());
    }
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
    notes(&loaded, &keys, screen)?;
    Ok(Exit::Fine)
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
fn notes(loaded: &Loaded, keys: &Keys, screen: &mut Screen) -> anyhow::Result<()> {
    let mut notes = loaded.notes.clone();
    notes.extend(keys.ring.notes.iter().cloned());
    if let [one] = keys.missing.as_slice() {
        notes.push(format!(
            "{one} has no key yet, and `zeef run` needs one: make it with `zeef keys new {one}`"
        ));
    } else if !keys.missing.is_empty() {
        let missing = keys.missing.join(", ");
        notes.push(format!(
            "no keys yet, and `zeef run` needs them: make them with `zeef keys new --all` ({missing})"
        ));
    }
    if notes.is_empty() {
        return Ok(());
    }
    writeln!(screen, "\n{}", styled(HEADING, "NOTES"))?;
    let width = screen.width();
    let mut table = Table::new(&[]);
    for note in notes {
        table.row(["-".into(), note.into()]);
    }
    table.write(screen, width)?;
    Ok(())
}
