//! `zeef check`: whether the config is right, and what it says.

use std::io::Write;

use crate::config::keyring::{KeyLoadError, STATE_KEY_NAME, ledger_key_names};
use crate::config::{LoadedConfig, Mistake};
use crate::daemon::clock::now_ms;
use crate::daemon::expiry::ExpiryWatch;
use crate::daemon::intake::IntakeSetup;
use crate::daemon::run::{self, LaneTransport};
use crate::intake::{self, Intake};
use crate::policy::Policy;
use crate::policy::paper::{FieldsSource, ReviewState, is_placeholder};
use crate::policy::pseudonym::HmacKey;
use crate::policy::recipient::Recipient;
use crate::register;
use crate::transport::kafka::KafkaSettings;

use super::arguments::CheckArguments;
use super::check_against;
use super::config::{load_enabled_intakes, load_with_mistakes};
use super::exit::{CliFailure, Exit, pluralise};
use super::kafka;
use super::key_lookup::{self, FoundKeys};
use super::screen::{FAINT, GOOD, HEADING, Screen, styled};
use super::table::{TableCell, TextTable};

pub(super) fn run(arguments: &CheckArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let folder = &arguments.config.config;
    let (loaded, mistakes) = load_with_mistakes(folder)?;
    if !mistakes.is_empty() {
        return Err(all_failures(&loaded, mistakes).into());
    }
    if let Some(file) = &arguments.against {
        return check_against::run(&loaded, file, arguments.source.as_deref(), screen);
    }
    let kinds = &loaded.policy.record_kinds;
    let intakes = intake::load_folder(&folder.join("intake"), kinds);
    let register = register::load_folder(&folder.join("register"));
    let intakes = match (intakes, register.err()) {
        (Ok(intakes), None) => intakes,
        (intakes, of_register) => {
            let of_intakes = intakes.err().into_iter();
            let mistakes = of_intakes.chain(of_register).flatten().collect();
            return Err(all_failures(&loaded, mistakes).into());
        }
    };
    let mut names: Vec<&str> = names_of(&loaded.policy.recipients);
    names.push(STATE_KEY_NAME);
    names.extend(ledger_key_names(&loaded.daemon.ledger));
    let mut keys = FoundKeys::find_keys(&loaded.daemon.keys, &names);
    let kafka = check_startable(&loaded, &mut keys)?;
    let policy = &loaded.policy;
    let folder = folder.display();
    writeln!(screen, "{} {folder} is fine", styled(GOOD.bold(), "ok"))?;
    writeln!(screen)?;
    writeln!(screen, "policy  {}", policy.version)?;
    for lane in &loaded.daemon.lanes {
        let workers = pluralise(lane.workers, "worker");
        let served = lane.recipients.join(", ");
        writeln!(screen, "lane    {} ({workers}): {served}", lane.name)?;
    }
    let prefix = &loaded.daemon.kafka.topic_prefix;
    let enabled = load_enabled_intakes(&arguments.config.config, &loaded, prefix)?;
    for intake in &intakes {
        write_intake(intake, &enabled, screen)?;
    }
    writeln!(screen)?;
    write_recipients(policy, screen)?;
    write_notes(&gather_notes(&loaded, &keys, &kafka), screen)?;
    Ok(Exit::Success)
}

/// Returns the mistakes of the config's files, with what else of it is wrong for Kafka.
fn all_failures(loaded: &LoadedConfig, mistakes: Vec<Mistake>) -> CliFailure {
    let mistakes = CliFailure::Mistakes(mistakes);
    match kafka_settings(loaded) {
        Ok(_) => mistakes,
        Err(of_kafka) => CliFailure::Several(vec![mistakes, of_kafka]),
    }
}

/// Returns the settings of a start on Kafka, where the host's name matters only to the start.
fn kafka_settings(loaded: &LoadedConfig) -> Result<KafkaSettings, CliFailure> {
    let instance = loaded.daemon.kafka.instance.is_none().then_some("check");
    kafka::kafka_settings(loaded, None, instance)
}

/// Writes what a mapping writes, or, where it is enabled, what it is run for.
fn write_intake(
    intake: &Intake,
    enabled: &[IntakeSetup],
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let name = intake.name();
    let setup = enabled.iter().find(|setup| setup.intake.name() == name);
    let (state, kinds): (String, Vec<&str>) = match setup {
        None => (String::new(), intake.kinds().collect()),
        Some(setup) => {
            let kinds = setup.kinds.iter().map(|kind| kind.name.as_str());
            (format!(" (enabled, {})", pluralise(setup.workers, "worker")), kinds.collect())
        }
    };
    writeln!(screen, "intake  {name}{state}: {}", kinds.join(", "))?;
    Ok(())
}

/// Checks everything that a start would refuse before it connects.
///
/// # Errors
///
/// Unusable or missing keys, wrong Kafka properties, and what cannot be compiled.
fn check_startable(loaded: &LoadedConfig, keys: &mut FoundKeys) -> anyhow::Result<KafkaSettings> {
    let settings = &loaded.daemon.keys;
    let named = |key: &mut KeyLoadError| settings.has_explicit_source(&key.recipient);
    keys.unusable.extend(keys.missing.extract_if(.., named));
    let kafka = match (kafka_settings(loaded), keys.unusable.is_empty()) {
        (Ok(kafka), true) => kafka,
        (Ok(_), false) => return Err(CliFailure::Keys(std::mem::take(&mut keys.unusable)).into()),
        (Err(failure), _) => {
            let of_keys = keys.unusable.iter().map(ToString::to_string);
            let all: Vec<_> = of_keys.chain([failure.to_string()]).collect();
            return Err(CliFailure::Config(all.join("\n")).into());
        }
    };
    let recipients = names_of(&loaded.policy.recipients);
    let ring = keys.ring_with_throwaways(&recipients, HmacKey::generate("throwaway")?)?;
    run::compile_lanes(loaded, &ring, LaneTransport::Directory)
        .map_err(|error| CliFailure::Config(format!("the policy cannot be compiled: {error}")))?;
    Ok(kafka)
}

fn names_of(recipients: &[Recipient]) -> Vec<&str> {
    recipients.iter().map(|one| one.name.as_str()).collect()
}

fn write_recipients(policy: &Policy, screen: &mut Screen) -> anyhow::Result<()> {
    let width = screen.width();
    let mut table = TextTable::new(&[
        "RECIPIENT",
        "SOURCE",
        "PURPOSE",
        "LEGAL BASIS",
        "FIELDS",
        "FLOWS",
        "OPEN",
    ]);
    for recipient in &policy.recipients {
        let kind = policy.record_kinds.get(recipient.source_kind_index);
        table.add_row([
            recipient.name.clone().into(),
            kind.map_or("", |kind| kind.name.as_str()).into(),
            recipient.purpose.clone().into(),
            recipient.legal_basis.into_str().into(),
            TableCell::number(recipient.output_fields.len() as u64),
            recipient.flows.join(", ").into(),
            open_words(&recipient.review).into(),
        ]);
    }
    table.write(screen, width)?;
    if !policy.disabled_recipients.is_empty() {
        let off = names_of(&policy.disabled_recipients).join(", ");
        writeln!(screen, "{}", styled(FAINT, format!("switched off: {off}")))?;
    }
    Ok(())
}

/// Returns what is still to be decided of a recipient, in one word each.
fn open_words(review: &ReviewState) -> String {
    let pending = review.pending_reason.is_some().then_some("rule");
    let proposed = (review.fields_source == Some(FieldsSource::Proposed)).then_some("fields");
    let words: Vec<_> = pending.into_iter().chain(proposed).collect();
    words.join(", ")
}

/// Notes what is still to be decided: rules that are pending, and fields that are proposed.
fn find_open_decisions(policy: &Policy) -> Vec<String> {
    let pending = policy.all_recipients().filter_map(|one| {
        let why = one.review.pending_reason.as_ref()?;
        Some(format!("the rule of {} is pending: {why}", one.name))
    });
    let proposed = policy
        .all_recipients()
        .filter(|one| one.review.fields_source == Some(FieldsSource::Proposed));
    let names: Vec<_> = proposed.map(|one| one.name.as_str()).collect();
    let proposed = (!names.is_empty()).then(|| {
        format!("no document lists the fields of these, they are proposed: {}", names.join(", "))
    });
    pending.chain(proposed).collect()
}

/// Returns what an operator should know although nothing is wrong.
fn gather_notes(loaded: &LoadedConfig, keys: &FoundKeys, kafka: &KafkaSettings) -> Vec<String> {
    let mut notes = [&*loaded.notes, &*loaded.notes_of_disabled].concat();
    notes.extend(keys.ring.notes.iter().cloned());
    notes.extend(loaded.daemon.secret_warnings());
    let mut expiry_watch = ExpiryWatch::from_policy(&loaded.policy);
    let due = expiry_watch.due_warnings(now_ms()).into_iter();
    notes.extend(due.map(|(paper, status)| paper.describe(status)));
    notes.extend(find_placeholders(&loaded.policy));
    notes.extend(find_open_decisions(&loaded.policy));
    notes.extend(kafka.security_warnings());
    match keys.missing.as_slice() {
        [] => {}
        [one] => notes.push(format!(
            "{0} has no key yet, and `zeef run` needs one: make it with `zeef keys new {0}`",
            one.recipient
        )),
        missing => notes.push(format!(
            "no keys yet, and `zeef run` needs them: make them with `zeef keys new --all` ({})",
            key_lookup::key_names(missing).join(", ")
        )),
    }
    notes
}

/// A text of a recipient's file.
type RecipientText = fn(&Recipient) -> Option<&String>;

/// Finds example texts left in documents and in the record of processing (GDPR art. 30).
fn find_placeholders(policy: &Policy) -> Vec<String> {
    let all = &policy.recipients;
    let with = |text: RecipientText, is: fn(&str) -> bool| {
        let some = all.iter().filter(|one| text(one).is_some_and(|text| is(text)));
        let names: Vec<_> = some.map(|one| one.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    const TEXTS: &[(&str, RecipientText)] = &[
        ("`controller`", |one| Some(&one.controller)),
        ("`contact`", |one| Some(&one.register.contact)),
        ("`where` of the notice", |one| Some(&one.papers.notice.as_ref()?.place)),
        ("`reference` of the agreement", |one| Some(&one.agreement.as_ref()?.reference)),
        ("`reference` of the authorisation", |one| Some(&one.authorisation.as_ref()?.reference)),
        ("`approved_by` of the authorisation", |one| {
            Some(&one.authorisation.as_ref()?.approved_by)
        }),
    ];
    let left = TEXTS.iter().filter_map(|(what, text)| {
        let names = with(*text, is_placeholder)?;
        Some(format!("{what} is still a placeholder in {names}"))
    });
    let missing = with(|one| Some(&one.register.contact), str::is_empty);
    left.chain(missing.map(|names| format!("no `contact` in {names}"))).collect()
}

fn write_notes(notes: &[String], screen: &mut Screen) -> anyhow::Result<()> {
    if notes.is_empty() {
        return Ok(());
    }
    writeln!(screen, "\n{}", styled(HEADING, "NOTES"))?;
    let width = screen.width();
    let mut table = TextTable::new(&[]);
    for note in notes {
        table.add_row(["-".into(), note.clone().into()]);
    }
    table.write(screen, width)?;
    Ok(())
}
