//! `zeef list flows`: every id of the libraries' documents, what enforces it, where that is
//! tested, and what is still to be decided.

use serde_json::{Value, json};

use super::listing::{select_by_name, write_json, write_table};
use super::screen::{FAINT, NAME, Screen};
use super::table::{TableCell, TextTable};
use crate::policy::Policy;
use crate::policy::flow::{FLOWS, FlowDef, FlowEnforcement};
use crate::policy::paper::FieldsSource;
use crate::policy::recipient::Recipient;

/// A recipient that serves a flow.
struct ServingRecipient<'a> {
    recipient: &'a Recipient,
    is_enabled: bool,
}

impl ServingRecipient<'_> {
    /// Returns its name with what is open: switched off, a pending rule, proposed fields.
    fn describe(&self) -> String {
        let words = self.state_words();
        match words.is_empty() {
            true => self.recipient.name.clone(),
            false => format!("{} ({})", self.recipient.name, words.join(", ")),
        }
    }

    fn state_words(&self) -> Vec<&'static str> {
        let review = &self.recipient.review;
        let off = (!self.is_enabled).then_some("off");
        let pending = review.pending_reason.is_some().then_some("pending");
        let is_proposed = review.fields_source == Some(FieldsSource::Proposed);
        off.into_iter().chain(pending).chain(is_proposed.then_some("proposed")).collect()
    }
}

fn recipients_of<'a>(flow: &FlowDef, policy: &'a Policy) -> Vec<ServingRecipient<'a>> {
    let serves = |one: &Recipient| one.flows.iter().any(|id| id == flow.id);
    let all = policy.all_with_enabled().filter(|(one, _)| serves(one));
    all.map(|(recipient, is_enabled)| ServingRecipient { recipient, is_enabled }).collect()
}

/// Returns what enforces a flow, in words.
fn describe_enforcement(flow: &FlowDef, serving: &[ServingRecipient<'_>]) -> String {
    let names: Vec<_> = serving.iter().map(ServingRecipient::describe).collect();
    let names = names.join(", ");
    match flow.enforcement {
        FlowEnforcement::Recipients if serving.is_empty() => "no recipient names it".to_owned(),
        FlowEnforcement::Recipients => names,
        FlowEnforcement::Everywhere(how) => how.to_owned(),
        FlowEnforcement::Outside(why) => format!("outside: {why}"),
        FlowEnforcement::Later(what) => format!("to come: {what}"),
    }
}

/// Returns the files that test a flow: golden cases of its recipients, and tests of its rule.
fn tests_of(flow: &FlowDef, serving: &[ServingRecipient<'_>]) -> Vec<String> {
    let golden = serving.iter().map(|one| format!("tests/golden/{}", one.recipient.name));
    let golden = golden.filter(|_| flow.enforcement == FlowEnforcement::Recipients);
    golden.chain(flow.tests.iter().map(|path| (*path).to_owned())).collect()
}

/// Lists every flow, or the one with this id.
///
/// # Errors
///
/// There is none with that id, or the screen cannot be written.
pub(super) fn list(
    policy: &Policy,
    id: Option<&str>,
    json: bool,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let some = select_by_name("flow", id, FLOWS, |flow| flow.id)?;
    if json {
        let all = some.into_iter().map(|flow| flow_json(flow, policy));
        return write_json(&all.collect(), screen);
    }
    let mut table = TextTable::new(&["ID", "FLOW", "ENFORCED BY", "TESTED IN"]);
    for flow in some {
        let serving = recipients_of(flow, policy);
        table.add_row([
            TableCell::styled(NAME, flow.id),
            flow.title.into(),
            describe_enforcement(flow, &serving).into(),
            TableCell::styled(FAINT, tests_of(flow, &serving).join(", ")),
        ]);
    }
    write_table(screen, &table)
}

fn flow_json(flow: &FlowDef, policy: &Policy) -> Value {
    let serving = recipients_of(flow, policy);
    let recipients = serving.iter().map(|one| {
        json!({
            "name": one.recipient.name,
            "enabled": one.is_enabled,
            "pending": one.recipient.review.pending_reason,
            "fields_source": one.recipient.review.fields_source.map(|one| one.into_str()),
        })
    });
    let enforcement = match flow.enforcement {
        FlowEnforcement::Recipients => "recipients",
        FlowEnforcement::Everywhere(_) => "everywhere",
        FlowEnforcement::Outside(_) => "outside",
        FlowEnforcement::Later(_) => "later",
    };
    json!({
        "id": flow.id,
        "flow": flow.title,
        "enforcement": enforcement,
        "by": describe_enforcement(flow, &serving),
        "recipients": recipients.collect::<Vec<_>>(),
        "tests": tests_of(flow, &serving),
    })
}
