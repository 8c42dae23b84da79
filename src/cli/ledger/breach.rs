//! `zeef breach`: what a recipient received in a time, and drafts of the notices of articles 33
//! and 34 of the GDPR.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;

use jiff::Timestamp;

use super::recipient;
use super::template::Template;
use super::texts::Texts;
use crate::cli::arguments::{BreachArguments, LedgerRecipientArguments};
use crate::cli::audit::Auditor;
use crate::cli::exit::{CliFailure, Exit};
use crate::cli::incidents::record_incident;
use crate::cli::screen::{self, NoteKind, Screen};
use crate::contract::{Language, describe_field_in_short, markdown_cell};
use crate::ledger::answer::RecipientSummary;
use crate::ledger::fields::field_of_leaf;
use crate::policy::Policy;
use crate::policy::contract::{ContractField, OutputContract};
use crate::policy::recipient::Recipient;
use crate::register::incident::{Incident, IncidentFacts, NOTIFY_WITHIN, Notice, ReceivedData};

/// What is not known is filled in by who sends the notice.
const UNKNOWN: &str = "[…]";

pub(in crate::cli) fn run(
    arguments: &BreachArguments,
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    let question = &arguments.question;
    if question.source.json {
        let text =
            "`zeef breach` writes a draft; `zeef ledger recipient --json` writes the numbers";
        return Err(CliFailure::Usage(text.to_owned()).into());
    }
    let template = Template::find(&question.source.config.config, "breach", question.lang.into())?;
    recipient::with_summary(question, "breach", |reader, _, summary| {
        let loaded = reader.loaded;
        let policy = &loaded.policy;
        let recipient = policy.all_recipients().find(|one| one.name == question.recipient);
        let given = given_fields(policy, recipient, summary, Texts(question.lang.into()));
        let received = Received { recipient, summary, given: &given };
        let values = placeholder_values(arguments, received)?;
        let draft = template.render(&values)?;
        if let (Some(folder), Some(discovered)) = (&arguments.record, arguments.discovered) {
            let operator = Auditor::new(loaded, &question.source.operator)?.operator();
            let incident = Incident {
                operator: operator.map(str::to_owned),
                ..new_incident(question, discovered, received)?
            };
            let path = record_incident(folder, &incident, question.lang.into())?;
            screen::print_note(NoteKind::Plain, &format!("on record: {}", path.display()));
        }
        write!(screen, "{draft}")?;
        Ok(())
    })
}

/// What a recipient received.
#[derive(Clone, Copy)]
struct Received<'a> {
    /// `None` if it has no file any more.
    recipient: Option<&'a Recipient>,
    summary: &'a RecipientSummary,
    given: &'a [GivenField],
}

impl Received<'_> {
    /// Returns the recipient's title, or else the name that was asked for.
    fn title(&self, question: &LedgerRecipientArguments) -> String {
        let title = self.recipient.map_or(question.recipient.as_str(), |one| one.title.as_str());
        title.to_owned()
    }

    /// Returns the classes of the fields that went out.
    fn classes(&self) -> Vec<&'static str> {
        let all = self.given.iter().flat_map(|field| &field.classes).copied();
        all.collect::<BTreeSet<&str>>().into_iter().collect()
    }
}

/// Returns what zeef knows of a breach.
fn new_incident(
    question: &LedgerRecipientArguments,
    discovered: Timestamp,
    received: Received<'_>,
) -> anyhow::Result<Incident> {
    let summary = received.summary;
    Ok(Incident {
        recipient: question.recipient.clone(),
        title: received.title(question),
        from: question.from,
        until: question.until,
        field: question.field.clone(),
        discovered,
        recorded: Timestamp::from_second(Timestamp::now().as_second())?,
        operator: None,
        received: ReceivedData {
            patrons: summary.patrons.len() as u64,
            records: summary.outputs.len() as u64,
            without_patron: summary.without_patron,
            classes: received.classes().into_iter().map(str::to_owned).collect(),
            fields: summary.fields.keys().cloned().collect(),
        },
        facts: IncidentFacts::default(),
        authority: Notice::default(),
        persons: Notice::default(),
    })
}

/// Returns what stands for each placeholder of the template.
fn placeholder_values(
    arguments: &BreachArguments,
    received: Received<'_>,
) -> anyhow::Result<Vec<(&'static str, String)>> {
    let question = &arguments.question;
    let Received { recipient, summary, given } = received;
    let of_recipient = |text: fn(&Recipient) -> &str| {
        recipient.map_or_else(|| UNKNOWN.to_owned(), |one| text(one).to_owned())
    };
    let names: Vec<&str> = given.iter().map(|field| field.meaning.as_str()).collect();
    let (discovered, deadline) = match arguments.discovered {
        Some(at) => (format_instant(at), format_instant(at.checked_add(NOTIFY_WITHIN)?)),
        None => (UNKNOWN.to_owned(), UNKNOWN.to_owned()),
    };
    let field = question.field.as_ref().map(|field| format!(" (`{field}`)"));
    Ok(vec![
        ("recipient", received.title(question)),
        ("from", question.from.to_string()),
        ("last", question.until.yesterday()?.to_string()),
        ("field", field.unwrap_or_default()),
        ("discovered", discovered),
        ("deadline", deadline),
        ("patrons", summary.patrons.len().to_string()),
        ("records", summary.outputs.len().to_string()),
        ("without_patron", summary.without_patron.to_string()),
        ("fields", fields_table(given, question.lang.into())),
        ("field_names", names.join(", ")),
        ("classes", received.classes().join(", ")),
        ("persons", of_recipient(|one| &one.register.persons)),
        ("contact", of_recipient(|one| &one.register.contact)),
        ("purpose", of_recipient(|one| &one.purpose_text)),
    ])
}

/// A field that went out.
struct GivenField {
    name: String,
    classes: Vec<&'static str>,
    meaning: String,
    /// How many lines gave it.
    count: u64,
}

/// Returns the fields that went out; what they mean is known of fields that the recipient still has.
fn given_fields(
    policy: &Policy,
    recipient: Option<&Recipient>,
    summary: &RecipientSummary,
    texts: Texts,
) -> Vec<GivenField> {
    let contract = recipient.map(|one| OutputContract::of_recipient(one, policy));
    let known: BTreeMap<&str, &ContractField> = contract
        .iter()
        .flat_map(|contract| &contract.fields)
        .map(|field| (field.name.as_str(), field))
        .collect();
    let mut given: BTreeMap<&str, u64> = BTreeMap::new();
    for (leaf, count) in &summary.fields {
        let most = given.entry(field_of_leaf(leaf)).or_default();
        *most = (*most).max(*count);
    }
    let field = |(name, count): (&str, u64)| {
        let origins = known.get(name).map_or(&[][..], |field| &field.origins);
        let mut classes: Vec<&'static str> =
            origins.iter().map(|one| texts.data_class(one.class)).collect();
        classes.sort_unstable();
        classes.dedup();
        let meaning = match known.get(name) {
            Some(field) => describe_field_in_short(field, texts.0),
            None => name.to_owned(),
        };
        GivenField { name: name.to_owned(), classes, meaning, count }
    };
    given.into_iter().map(field).collect()
}

fn fields_table(fields: &[GivenField], language: Language) -> String {
    let heading = language.pick(
        "| field | meaning | class | times given |",
        "| gegeven | betekenis | soort | keer gegeven |",
    );
    let mut table = format!("{heading}\n|---|---|---|---|");
    for field in fields {
        let cells = [&field.meaning, &field.classes.join(", ")].map(|text| markdown_cell(text));
        let [meaning, classes] = cells;
        // Writing to a string cannot fail.
        let _ = write!(table, "\n| `{}` | {meaning} | {classes} | {} |", field.name, field.count);
    }
    table
}

/// A moment in UTC, to the minute.
fn format_instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
