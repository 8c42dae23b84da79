//! `zeef ledger patron`: which recipients have, or had, what of a patron.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use serde_json::{Value, json};

use super::read::{LedgerReader, require_whole};
use super::texts::Texts;
use super::values::PatronValues;
use crate::cli::arguments::{
    ConfidentialArguments, LedgerPatronArguments, LedgerPatronCommandArguments,
};
use crate::cli::audit::AuditedAction;
use crate::cli::exit::{CliFailure, Exit};
use crate::cli::screen::{HEADING, Screen, styled};
use crate::cli::table::{TableCell, TextTable};
use crate::daemon::retraction_follower::RetractionFollower;
use crate::engine::memory::deliveries::PatronHash;
use crate::engine::memory::deliveries::given::{GivenOutput, parse_given_outputs};
use crate::ledger::answer::{GivenLines, PatronEvent, PatronScope, PatronSearch};
use crate::ledger::confidential::ConfidentialRecipients;
use crate::ledger::register::{Register, RegisteredActivity, recipient_of_activity};
use crate::ledger::retractions::{OpenCounts, RetractionTracker};
use crate::policy::Policy;

/// Stands behind the words of a command in the audit.
const INCLUDE_CONFIDENTIAL: &str = " --include-confidential";

pub(super) fn run(
    arguments: &LedgerPatronCommandArguments,
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    let question = &arguments.question;
    let is_json = question.source.json;
    let identity = arguments.identity_checked.as_deref().unwrap_or_default().trim();
    if arguments.values && identity.is_empty() {
        let text = "--identity-checked says how it was checked that the patron asks: it must not \
                    be empty";
        return Err(CliFailure::Usage(text.to_owned()).into());
    }
    let words = if arguments.values { "ledger patron --values" } else { "ledger patron" };
    let confidential = &arguments.confidential;
    let asked = AnswerQuestion { question, words, confidential, is_of_own_alone: false };
    with_answer(&asked, |reader, answer| {
        let texts = Texts(question.lang.into());
        let values = arguments.values.then(|| PatronValues::read(reader, answer.given));
        let values = values.transpose()?;
        match (&values, is_json) {
            (None, true) => write_json(answer, screen),
            (None, false) => write_text(answer, texts, screen),
            (Some(values), true) => values.write_json(answer_json(answer), identity, screen),
            (Some(values), false) => {
                write_text(answer, texts, screen)?;
                values.write_text(identity, texts, screen)
            }
        }
    })
}

fn write_text(answer: &PatronAnswer<'_>, texts: Texts, screen: &mut Screen) -> anyhow::Result<()> {
    write_now(answer.now, texts, screen)?;
    write_history(answer.events, answer.register, texts, screen)?;
    for line in answer.unacknowledged_lines(texts) {
        writeln!(screen, "{line}")?;
    }
    Ok(())
}

/// What there is to tell of one patron.
pub(super) struct PatronAnswer<'a> {
    /// By recipient.
    pub(super) now: &'a BTreeMap<String, CurrentOutputs>,
    /// In the order of time.
    pub(super) events: &'a [PatronEvent],
    pub(super) register: &'a Register,
    pub(super) unacknowledged: &'a [UnacknowledgedRetractions],
    /// What recipients have, output by output.
    pub(super) given: &'a [GivenOutput],
}

/// Retractions of the patron that one recipient has not acknowledged.
pub(super) struct UnacknowledgedRetractions {
    recipient: String,
    title: String,
    counts: OpenCounts,
    /// When the oldest one has to be acknowledged, in Unix seconds.
    due: i64,
}

impl PatronAnswer<'_> {
    pub(super) fn unacknowledged_json(&self) -> Value {
        let all = self.unacknowledged.iter().map(|one| {
            json!({
                "recipient": one.recipient,
                "retractions": one.counts.open,
                "overdue": one.counts.overdue,
                "due": format_time(one.due, "%Y-%m-%dT%H:%M:%SZ"),
            })
        });
        all.collect()
    }

    /// Tells what recipients have not acknowledged, a line each.
    pub(super) fn unacknowledged_lines(&self, texts: Texts) -> Vec<String> {
        let lines = self.unacknowledged.iter().map(|one| {
            let due = format_time(one.due, "%Y-%m-%d");
            texts.unacknowledged(&one.title, one.counts, &due)
        });
        lines.collect()
    }
}

/// What is asked of a patron.
pub(super) struct AnswerQuestion<'a> {
    pub(super) question: &'a LedgerPatronArguments,
    /// The words of the command, for the audit.
    pub(super) words: &'a str,
    pub(super) confidential: &'a ConfidentialArguments,
    /// Outputs of other patrons that are about this one, too, are left out.
    pub(super) is_of_own_alone: bool,
}

impl AnswerQuestion<'_> {
    /// Returns the words of the command, with the option that shows what patrons are not told.
    fn audited_words(&self) -> String {
        let option = if self.confidential.include_confidential { INCLUDE_CONFIDENTIAL } else { "" };
        format!("{}{option}", self.words)
    }

    /// Finds the recipients that nothing is told of.
    fn left_out(&self, policy: &Policy, register: &Register) -> ConfidentialRecipients {
        match self.confidential.include_confidential {
            true => ConfidentialRecipients::default(),
            false => {
                let now = jiff::Timestamp::now().as_second();
                ConfidentialRecipients::at(now, policy, register)
            }
        }
    }
}

/// Finds what there is to tell of a patron, and does `work` with it.
///
/// # Errors
///
/// Those of [`LedgerReader::with_reader`] and of `work`, and a broken chain.
pub(super) fn with_answer(
    asked: &AnswerQuestion<'_>,
    work: impl FnOnce(&LedgerReader<'_>, &PatronAnswer<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<Exit> {
    LedgerReader::with_reader(&asked.question.source, |reader| {
        let patron = reader.state_keys()?.patron_hash(&asked.question.patron);
        let keys = reader.ledger_keys()?;
        let (words, looked_up) = (asked.audited_words(), Some((patron.0, &keys)));
        let action = AuditedAction { words: &words, subject: None, patron: looked_up };
        reader.record_audit(action)?;
        let register = reader.read_register()?.0;
        let policy = &reader.loaded.policy;
        let left_out = asked.left_out(policy, &register);
        let mut search = PatronSearch::new(PatronScope {
            register: &register,
            keys: &keys,
            patron_hash: Some(patron.0),
            left_out: &left_out,
        });
        let tracker = RetractionTracker::of_policy(policy, keys.clone());
        let tracker = tracker.and_then(|tracker| tracker.without(&left_out));
        let mut follower = tracker.map(|tracker| {
            RetractionFollower::new(reader.followed_data(), tracker.with_only_patron(patron.0))
        });
        let chains = reader.verify_each_block(&register, &mut |block, _| {
            search.add_block(&block);
            follower.iter_mut().for_each(|follower| follower.add_block(&block));
        })?;
        let unacknowledged = match &mut follower {
            Some(follower) => find_unacknowledged(follower, policy)?,
            None => Vec::new(),
        };
        let mut given = read_given_outputs(reader, patron)?;
        let is_asked = |is_of_other: bool| !(asked.is_of_own_alone && is_of_other);
        let is_told = |one: &GivenOutput| !left_out.has_record(&one.recipient, one.is_told);
        let hidden = given.iter().filter(|output| !is_told(output));
        search.finish(hidden.map(|output| (&*output.topic, &*output.key)));
        given.retain(|output| is_told(output) && is_asked(output.is_of_other_patron));
        search.events.retain(|event| is_asked(event.is_of_other_patron));
        let now = summarise(&given, &search, &register);
        search.events.sort_by_key(|event| event.time);
        let events = &search.events;
        let answer = PatronAnswer {
            now: &now,
            events,
            register: &register,
            unacknowledged: &unacknowledged,
            given: &given,
        };
        work(reader, &answer)?;
        require_whole(&chains, "the answer")?;
        Ok(Exit::Success)
    })
}

/// Returns what recipients have not acknowledged of the retractions that are known.
fn find_unacknowledged(
    follower: &mut RetractionFollower,
    policy: &Policy,
) -> anyhow::Result<Vec<UnacknowledgedRetractions>> {
    follower.read_acknowledgements()?;
    let now = jiff::Timestamp::now().as_second();
    let open = follower.tracker().recipients().iter().filter_map(|(name, asked)| {
        let counts = asked.count_open(now);
        let title = policy.recipient(name).map_or(name.as_str(), |one| one.title.as_str());
        Some(UnacknowledgedRetractions {
            recipient: name.clone(),
            title: title.to_owned(),
            counts,
            due: asked.due(counts.oldest?),
        })
    });
    Ok(open.collect())
}

/// Returns what recipients have of a patron, as the states of all lanes say.
fn read_given_outputs(
    reader: &LedgerReader<'_>,
    patron: PatronHash,
) -> anyhow::Result<Vec<GivenOutput>> {
    let mut given = Vec::new();
    for lane in &reader.loaded.daemon.lanes {
        for value in &reader.read_state_rows(&lane.name)? {
            given.extend(parse_given_outputs(value, patron)?);
        }
    }
    Ok(given)
}

/// What one recipient has of the patron now.
#[derive(Default)]
pub(super) struct CurrentOutputs {
    pub(super) activity: RegisteredActivity,
    pub(super) records: u64,
    /// In Unix seconds.
    pub(super) since: i64,
    pub(super) fields: BTreeSet<String>,
    /// The terms of all of them ended, and it keeps them lawfully.
    pub(super) is_all_kept: bool,
    /// Some were given before there was a ledger.
    pub(super) is_before_ledger: bool,
    /// How many are outputs of other patrons, and about this one, too.
    pub(super) of_other_patrons: u64,
}

/// Sums up by recipient. The ledger tells the fields; of what was given before it, nothing does.
fn summarise(
    given: &[GivenOutput],
    search: &PatronSearch<'_>,
    register: &Register,
) -> BTreeMap<String, CurrentOutputs> {
    let mut all = BTreeMap::<String, CurrentOutputs>::new();
    for output in given {
        let lines: Option<GivenLines> = search.find_given(&output.topic, output.key.as_bytes());
        let since = lines.as_ref().map(|lines| lines.first);
        let since = since.unwrap_or(output.first_decided_ms.div_euclid(1_000));
        let one = all.entry(output.recipient.clone()).or_insert_with(|| CurrentOutputs {
            since,
            is_all_kept: true,
            ..CurrentOutputs::default()
        });
        one.records += 1;
        one.of_other_patrons += u64::from(output.is_of_other_patron);
        one.since = one.since.min(since);
        one.is_all_kept &= output.is_forgotten;
        one.is_before_ledger |= lines.is_none();
        if let Some(lines) = lines {
            one.fields.extend(lines.fields);
            let activity = register.activities.get(&lines.activity);
            one.activity = activity.cloned().unwrap_or_default();
        }
    }
    all
}

fn write_now(
    now: &BTreeMap<String, CurrentOutputs>,
    texts: Texts,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    writeln!(screen, "{}", styled(HEADING, texts.now_heading()))?;
    if now.is_empty() {
        writeln!(screen, "{}", texts.nothing_now())?;
    } else {
        let mut table = TextTable::new(&texts.now_columns());
        for (recipient, one) in now {
            let mut fields: Vec<&str> = one.fields.iter().map(String::as_str).collect();
            fields.extend(one.is_before_ledger.then_some(texts.before_ledger()));
            fields.extend(one.is_all_kept.then_some(texts.kept()));
            fields.extend((one.of_other_patrons > 0).then_some(texts.of_other_patron()));
            table.add_row([
                recipient.as_str().into(),
                one.activity.purpose.as_str().into(),
                texts.legal_basis(&one.activity.legal_basis).into(),
                TableCell::number(one.records),
                format_time(one.since, "%Y-%m-%d").into(),
                fields.join(", ").into(),
            ]);
        }
        let width = screen.width();
        table.write(screen, width)?;
    }
    writeln!(screen)?;
    Ok(())
}

fn write_history(
    events: &[PatronEvent],
    register: &Register,
    texts: Texts,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    writeln!(screen, "{}", styled(HEADING, texts.history_heading()))?;
    if events.is_empty() {
        writeln!(screen, "{}", texts.no_history())?;
        return Ok(());
    }
    let mut table = TextTable::new(&texts.history_columns());
    for event in events {
        let mut fields: Vec<&str> = event.fields.iter().map(String::as_str).collect();
        fields.extend(event.is_of_other_patron.then_some(texts.of_other_patron()));
        let reason = event.reason.as_deref().map(|word| texts.reason(word));
        table.add_row([
            format_time(event.time, "%Y-%m-%d %H:%M").into(),
            event_recipient(event, register).into(),
            texts.operation(event.operation).into(),
            TableCell::number(event.records),
            reason.unwrap_or_default().into(),
            fields.join(", ").into(),
        ]);
    }
    let width = screen.width();
    table.write(screen, width)?;
    Ok(())
}

/// The recipient with its title.
fn event_recipient(event: &PatronEvent, register: &Register) -> String {
    let name = recipient_of_activity(&event.activity);
    match register.title_of(&event.activity) {
        title if title == name => name.to_owned(),
        title => format!("{name} ({title})"),
    }
}

pub(super) fn write_json(answer: &PatronAnswer<'_>, screen: &mut Screen) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *screen, &answer_json(answer))?;
    writeln!(screen)?;
    Ok(())
}

fn answer_json(answer: &PatronAnswer<'_>) -> Value {
    let PatronAnswer { now, events, register, .. } = *answer;
    let now: Vec<Value> = now
        .iter()
        .map(|(recipient, one)| {
            json!({
                "recipient": recipient,
                "title": one.activity.title,
                "activity": one.activity.uri,
                "purpose": one.activity.purpose,
                "legal_basis": one.activity.legal_basis,
                "records": one.records,
                "since": format_time(one.since, "%Y-%m-%dT%H:%M:%SZ"),
                "fields": one.fields,
                "kept_after_term": one.is_all_kept,
                "given_before_ledger": one.is_before_ledger,
                "of_other_patrons": one.of_other_patrons,
            })
        })
        .collect();
    let history: Vec<Value> = events
        .iter()
        .map(|event| {
            let activity = register.activities.get(&event.activity);
            json!({
                "time": format_time(event.time, "%Y-%m-%dT%H:%M:%SZ"),
                "recipient": recipient_of_activity(&event.activity),
                "activity": activity.map(|activity| &activity.uri),
                "operation": event.operation,
                "reason": event.reason,
                "records": event.records,
                "fields": event.fields,
                "of_other_patron": event.is_of_other_patron,
            })
        })
        .collect();
    json!({ "now": now, "history": history, "unacknowledged": answer.unacknowledged_json() })
}

/// A time in Unix seconds, in UTC.
pub(super) fn format_time(time: i64, format: &str) -> String {
    jiff::Timestamp::from_second(time).unwrap_or_default().strftime(format).to_string()
}
