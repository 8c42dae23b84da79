//! `zeef list`: tables for people, or JSON for programs.
//!
//! Masks, detectors and rules are shown from their tables.

use std::io::Write;

use serde_json::{Value, json};

use crate::config::lint::{LINTS, LintDef};
use crate::policy::Policy;
use crate::policy::catalogue::{RecordKind, Role};
use crate::policy::detect::CustomDetectors;
use crate::policy::mask::{MASKS, MaskDef, MaskExample};
use crate::policy::paper::{FieldsSource, RecordedDecision};
use crate::policy::reason::Reason;
use crate::policy::recipient::{Agreement, Authorisation, OutputField, OutputValue, Recipient};
use crate::transport::file::is_there;

use super::arguments::{ListArguments, ListSubject, MatrixFormat};
use super::config::load;
use super::conversions;
use super::describe;
use super::detectors;
use super::exit::{CliFailure, Exit};
use super::flows;
use super::listing::{select_by_name, write_heading, write_json, write_table};
use super::matrix;
use super::objections;
use super::screen::{FAINT, HEADING, NAME, Screen, styled};
use super::table::{TableCell, TextTable};

/// Refuses arguments that another subject takes.
fn require_own_arguments(arguments: &ListArguments) -> Result<(), CliFailure> {
    let ListArguments { what, directory, format, name, .. } = arguments;
    let is_objections = *what == ListSubject::Objections;
    let refusal = if directory.is_some() && !is_objections {
        "only `list objections` takes a directory"
    } else if format.is_some() && *what != ListSubject::Matrix {
        "only `list matrix` takes a format; others take --json"
    } else if name.is_some() && is_objections {
        "`list objections` takes no name"
    } else {
        return Ok(());
    };
    Err(CliFailure::Usage(refusal.to_owned()))
}

pub(super) fn run(arguments: &ListArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    require_own_arguments(arguments)?;
    let config = || load(&arguments.config.config);
    let name = arguments.name.as_deref();
    let json = arguments.json;
    match arguments.what {
        ListSubject::Objections => return objections::run(&config()?, arguments, screen),
        ListSubject::Recipients => {
            let loaded = config()?;
            let all = all_recipients(&loaded.policy);
            let some = select_by_name("recipient", name, &all, |(one, _)| one.name.as_str())?;
            match json {
                true => write_json(&recipients_json(&some, &loaded.policy), screen)?,
                false => write_recipients(&some, &loaded.policy, screen)?,
            }
        }
        ListSubject::Fields => {
            let loaded = config()?;
            let kinds = &loaded.policy.record_kinds;
            let some = select_by_name("kind of record", name, kinds, |kind| kind.name.as_str())?;
            match json {
                true => write_json(&fields_json(some), screen)?,
                false => write_fields(some, screen)?,
            }
        }
        ListSubject::Masks => {
            let some = select_by_name("mask", name, MASKS, |mask| mask.name)?;
            match json {
                true => write_json(&some.into_iter().map(mask_json).collect(), screen)?,
                false => write_masks(&some, screen)?,
            }
        }
        ListSubject::Detectors => {
            // Without a config there are those of the table.
            let is_there = is_there(&arguments.config.config);
            let custom = match is_there.map_err(|error| CliFailure::Config(error.to_string()))? {
                true => config()?.policy.custom_detectors,
                false => CustomDetectors::default(),
            };
            detectors::list(&custom, name, json, screen)?;
        }
        ListSubject::Flows => flows::list(&config()?.policy, name, json, screen)?,
        ListSubject::Rules => {
            let some = select_by_name("rule", name, LINTS, |rule| rule.name)?;
            match json {
                true => write_json(&some.into_iter().map(rule_json).collect(), screen)?,
                false => write_rules(&some, screen)?,
            }
        }
        ListSubject::Matrix => {
            let format =
                if json { MatrixFormat::Json } else { arguments.format.unwrap_or_default() };
            matrix::list(&config()?.policy, name, format, screen)?;
        }
        ListSubject::Conversions => conversions::list(name, json, screen)?,
        ListSubject::Reasons => {
            let some = select_by_name("reason", name, Reason::ALL, |reason| reason.as_str())?;
            match json {
                true => write_json(&some.into_iter().map(reason_json).collect(), screen)?,
                false => write_reasons(&some, screen)?,
            }
        }
    }
    Ok(Exit::Success)
}

/// Returns every recipient that has a file, and whether it is enabled.
fn all_recipients(policy: &Policy) -> Vec<(&Recipient, bool)> {
    let enabled = policy.recipients.iter().map(|one| (one, true));
    let disabled = policy.disabled_recipients.iter().map(|one| (one, false));
    enabled.chain(disabled).collect()
}

fn write_recipients(
    some: &[&(&Recipient, bool)],
    policy: &Policy,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    for (at, &&(recipient, on)) in some.iter().enumerate() {
        if at > 0 {
            writeln!(screen)?;
        }
        let off = if on { "" } else { " (switched off)" };
        write_heading(screen, &format!("{}{off}", recipient.name), &recipient.title)?;
        let mut table = TextTable::new(&[]).indented(2);
        for (name, text) in describe::recipient_lines(recipient, policy) {
            table.add_row([TableCell::styled(FAINT, name), text.into()]);
        }
        write_table(screen, &table)?;
        let mut table = TextTable::new(&[]).indented(4);
        for field in &recipient.output_fields {
            let (from, mask) = describe::field_origin_and_mask(field, &recipient.output_fields);
            table.add_row([field.name.clone().into(), from.into(), TableCell::styled(FAINT, mask)]);
        }
        write_table(screen, &table)?;
    }
    Ok(())
}

fn recipients_json(some: &[&(&Recipient, bool)], policy: &Policy) -> Value {
    let one = |&&(recipient, enabled): &&(&Recipient, bool)| {
        json!({
            "name": recipient.name,
            "title": recipient.title,
            "enabled": enabled,
            "topic": recipient.topics.to_string(),
            "source": describe::source_name(recipient, policy),
            "purpose": recipient.purpose,
            "purpose_text": recipient.purpose_text,
            "legal_basis": recipient.legal_basis.into_str(),
            "flows": recipient.flows,
            "when": recipient.conditions.iter().map(describe::condition).collect::<Vec<_>>(),
            "stages": recipient.stages.iter().map(describe::field_path).collect::<Vec<_>>(),
            "consent": describe::gate("consent", recipient, policy),
            "objection": describe::gate("objection", recipient, policy),
            "agreement": recipient.agreement.as_ref().map(agreement_json),
            "authorisation": recipient.authorisation.as_ref().map(authorisation_json),
            "papers": papers_json(recipient),
            "pending": recipient.review.pending_reason,
            "fields_source": recipient.review.fields_source.map(|one: FieldsSource| one.into_str()),
            "members": recipient.members,
            "scopes": recipient.scopes,
            "excludes": recipient.excludes,
            "marketing": recipient.is_marketing,
            "loan_history": recipient.is_loan_history,
            "pseudonymised": recipient.is_pseudonymised,
            "period": describe::gate("period", recipient, policy),
            "retention": describe::retention(&recipient.retention),
            "thinned": recipient.thinned.as_ref().map(|rule| describe::thinning(rule, recipient)),
            "patron_retention": match recipient.outlives_membership {
                Some(_) => None,
                None => Some(policy.patron_retention.to_string()),
            },
            "outlives_membership": recipient.outlives_membership,
            "without_patron": recipient.without_patron,
            "key": describe::field_path(&recipient.output_key_field),
            "influences": describe::influences(recipient, policy).iter().map(influence_json).collect::<Vec<_>>(),
            "fields": recipient.output_fields.iter().map(|field| field_json(field, recipient)).collect::<Vec<_>>(),
        })
    };
    some.iter().map(one).collect()
}

fn influence_json(one: &describe::InfluenceText) -> Value {
    json!({ "field": one.path, "class": one.class, "seen": one.seen, "how": one.how })
}

fn agreement_json(paper: &Agreement) -> Value {
    json!({
        "reference": paper.reference,
        "clauses": paper.clauses,
        "from": paper.from,
        "until": paper.until,
        "after": paper.after.into_str(),
    })
}

fn papers_json(recipient: &Recipient) -> Value {
    let papers = &recipient.papers;
    let decision =
        |one: &RecordedDecision| json!({ "by": one.by, "on": one.on, "document": one.document });
    json!({
        "requires": papers.requires.iter().map(|one| one.into_str()).collect::<Vec<_>>(),
        "notice": papers.notice.as_ref().map(|one| json!({ "on": one.on, "where": one.place })),
        "dpo_advice": papers.dpo_advice.as_ref().map(decision),
        "approval": papers.approval.as_ref().map(decision),
        "terms": papers.terms.as_ref().map(|one| {
            json!({ "document": one.document, "version": one.version, "on": one.on })
        }),
        "app_id": papers.app_id,
        "devices": papers.devices,
    })
}

fn authorisation_json(paper: &Authorisation) -> Value {
    json!({
        "reference": paper.reference,
        "approved_by": paper.approved_by,
        "approved_on": paper.approved_on,
        "from": paper.from,
        "until": paper.until,
        "jurisdiction": paper.jurisdiction,
        "after": paper.after.into_str(),
    })
}

fn field_json(field: &OutputField, recipient: &Recipient) -> Value {
    let (from, _) = describe::field_origin_and_mask(field, &recipient.output_fields);
    let mask = match &field.value {
        OutputValue::Scalar(projection) => projection.mask.as_ref().map(|mask| mask.def().name),
        OutputValue::ShelfSlip { .. } => Some("shelf_slip"),
        OutputValue::Demanded { .. } => Some("demanded"),
        OutputValue::NamedPatron => Some("pseudonym"),
        OutputValue::ChannelWord
        | OutputValue::First(_)
        | OutputValue::Object { .. }
        | OutputValue::ObjectList { .. }
        | OutputValue::ScalarList { .. }
        | OutputValue::Summary(_) => None,
    };
    json!({ "name": field.name, "from": from, "mask": mask })
}

fn role_word(role: Role) -> &'static str {
    match role {
        Role::Patron => "fills the table that other records are joined with",
        Role::Gate => "decides over other records",
        Role::Record => "decided for each recipient",
    }
}

fn write_fields(kinds: Vec<&RecordKind>, screen: &mut Screen) -> anyhow::Result<()> {
    for (at, kind) in kinds.into_iter().enumerate() {
        if at > 0 {
            writeln!(screen)?;
        }
        let about = format!("{}; topic {}; {}", kind.title, kind.topic, role_word(kind.role));
        write_heading(screen, &kind.name, &about)?;
        let mut table = TextTable::new(&["FIELD", "TYPE", "CLASS", "MEANING"]).indented(2);
        for field in &kind.fields {
            let values = match field.allowed_values.is_empty() {
                true => String::new(),
                false => format!(": {}", field.allowed_values.join(", ")),
            };
            table.add_row([
                field.path.clone().into(),
                field.field_type.name().into(),
                field.class.into_str().into(),
                format!("{}{values}", field.meaning).into(),
            ]);
        }
        write_table(screen, &table)?;
    }
    Ok(())
}

fn fields_json(kinds: Vec<&RecordKind>) -> Value {
    let field = |field: &crate::policy::catalogue::CatalogueField| {
        json!({
            "path": field.path,
            "type": field.field_type.name(),
            "class": field.class.into_str(),
            "meaning": field.meaning,
            "values": field.allowed_values,
        })
    };
    let kind = |kind: &RecordKind| {
        json!({
            "kind": kind.name,
            "title": kind.title,
            "topic": kind.topic,
            "fields": kind.fields.iter().map(field).collect::<Vec<_>>(),
        })
    };
    kinds.into_iter().map(kind).collect()
}

fn write_masks(some: &[&MaskDef], screen: &mut Screen) -> anyhow::Result<()> {
    for (at, mask) in some.iter().enumerate() {
        if at > 0 {
            writeln!(screen)?;
        }
        write_heading(screen, mask.name, mask.description)?;
        let mut table = TextTable::new(&[]).indented(4);
        for argument in mask.arguments {
            let default = match argument.default {
                Some(default) => format!("default {default}"),
                None => "must be given".to_owned(),
            };
            table.add_row([
                argument.name.into(),
                format!("{}; {}", argument.constraint, default).into(),
                TableCell::styled(FAINT, argument.description),
            ]);
        }
        write_table(screen, &table)?;
        let mut table = TextTable::new(&["INPUT", "BESIDE IT", "SETTINGS", "OUTPUT"]).indented(4);
        for example in mask.examples {
            table.add_row(mask_example_row(example));
        }
        write_table(screen, &table)?;
    }
    Ok(())
}

fn mask_example_row(example: &MaskExample) -> [TableCell; 4] {
    let needs = example.needs.iter().map(|need| describe::quoted(*need));
    let settings = example.arguments.iter();
    let settings = settings.map(|(name, value)| format!("{name} = {value}"));
    let output = match example.output {
        Some(output) => TableCell::from(describe::escape_invisible(output)),
        None => TableCell::styled(FAINT, "(left out)"),
    };
    [
        describe::quoted(example.input).into(),
        needs.collect::<Vec<_>>().join(", ").into(),
        settings.collect::<Vec<_>>().join(", ").into(),
        output,
    ]
}

fn mask_json(mask: &MaskDef) -> Value {
    let argument = |argument: &crate::policy::mask::ArgDef| {
        json!({
            "name": argument.name,
            "meaning": argument.description,
            "allowed": argument.constraint.to_string(),
            "default": argument.default.map(|default| default.to_string()),
        })
    };
    let example = |example: &MaskExample| {
        let settings: Vec<_> =
            example.arguments.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        json!({
            "input": example.input,
            "needs": example.needs,
            "settings": settings,
            "output": example.output,
        })
    };
    json!({
        "name": mask.name,
        "does": mask.description,
        "settings": mask.arguments.iter().map(argument).collect::<Vec<_>>(),
        "examples": mask.examples.iter().map(example).collect::<Vec<_>>(),
    })
}

fn write_rules(some: &[&LintDef], screen: &mut Screen) -> anyhow::Result<()> {
    for (at, rule) in some.iter().enumerate() {
        if at > 0 {
            writeln!(screen)?;
        }
        write_heading(screen, rule.name, &format!("forbids {}", rule.forbids))?;
        let mut table = TextTable::new(&[]).indented(2);
        let label = |text: &str| TableCell::styled(FAINT, text);
        table.add_row([label("why"), rule.why.into()]);
        let example = match rule.example {
            "" => "a file without that key",
            example => example,
        };
        table.add_row([label("example"), example.into()]);
        table.add_row([label("wrong"), rule.wrong.into()]);
        if rule.is_excused_when_disabled {
            table.add_row([
                label("but"),
                "a recipient that is switched off may still wait for its papers".into(),
            ]);
        }
        write_table(screen, &table)?;
    }
    writeln!(screen)?;
    writeln!(
        screen,
        "{}",
        styled(HEADING, "`zeef check` holds every rule, and so does every start.")
    )?;
    Ok(())
}

fn write_reasons(some: &[&Reason], screen: &mut Screen) -> anyhow::Result<()> {
    let mut table = TextTable::new(&["REASON", "MEANS", "WHAT FOLLOWS"]);
    for reason in some {
        table.add_row([
            TableCell::styled(NAME, reason.as_str()),
            reason.meaning().into(),
            reason.outcome().into(),
        ]);
    }
    write_table(screen, &table)
}

fn reason_json(reason: &Reason) -> Value {
    json!({
        "name": reason.as_str(),
        "meaning": reason.meaning(),
        "outcome": reason.outcome(),
    })
}

fn rule_json(rule: &LintDef) -> Value {
    json!({
        "name": rule.name,
        "forbids": rule.forbids,
        "why": rule.why,
        "example": rule.example_file(),
        "wrong": rule.wrong,
        "paper": rule.is_excused_when_disabled,
    })
}
