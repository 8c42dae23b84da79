//! `zeef list`: what there is, as tables for people or as JSON for programs.
//!
//! Masks, detectors and rules are shown as their tables have them; nothing is
//! written down twice.

use std::io::Write;

use serde_json::{Value, json};

use crate::policy::Policy;
use crate::policy::canonical::{class_word, legal_basis_word, paper_after_word, type_word};
use crate::policy::catalogue::{Kind, Role};
use crate::policy::detect::{DETECTORS, DetectorDef};
use crate::policy::lint::{LINTS, LintDef};
use crate::policy::mask::{Example, MASKS, MaskDef};
use crate::policy::reason::Reason;
use crate::policy::recipient::{Agreement, Authorisation, OutputField, OutputValue, Recipient};

use super::arguments::{ListArguments, Listing};
use super::config::{load, unknown};
use super::exit::{Exit, Failure};
use super::objections;
use super::phrase;
use super::screen::{FAINT, HEADING, NAME, Screen, styled};
use super::table::{Cell, Table, wrap};

pub(super) fn run(arguments: &ListArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    if arguments.directory.is_some() && arguments.what != Listing::Objections {
        let text = "only `list objections` takes a directory".to_owned();
        return Err(Failure::Usage(text).into());
    }
    let config = || load(&arguments.config.config);
    let name = arguments.name.as_deref();
    let json = arguments.json;
    match arguments.what {
        Listing::Objections if name.is_some() => {
            let text = "`list objections` takes no name".to_owned();
            return Err(Failure::Usage(text).into());
        }
        Listing::Objections => return objections::run(&config()?, arguments, screen),
        Listing::Recipients => {
            let loaded = config()?;
            let all = all_recipients(&loaded.policy);
            let some = chosen("recipient", name, &all, |(one, _)| one.name.as_str())?;
            match json {
                true => write_json(&recipients_json(&some, &loaded.policy), screen)?,
                false => recipients(&some, &loaded.policy, screen)?,
            }
        }
        Listing::Fields => {
            let loaded = config()?;
            let kinds = &loaded.policy.kinds;
            let some = chosen("kind of record", name, kinds, |kind| kind.name.as_str())?;
            match json {
                true => write_json(&fields_json(some), screen)?,
                false => fields(some, screen)?,
            }
        }
        Listing::Masks => {
            let some = chosen("mask", name, MASKS, |mask| mask.name)?;
            match json {
                true => write_json(&some.into_iter().map(mask_json).collect(), screen)?,
                false => masks(&some, screen)?,
            }
        }
        Listing::Detectors => {
            let some = chosen("detector", name, DETECTORS, |detector| detector.name)?;
            match json {
                true => write_json(&some.into_iter().map(detector_json).collect(), screen)?,
                false => detectors(&some, screen)?,
            }
        }
        Listing::Rules => {
            let some = chosen("rule", name, LINTS, |rule| rule.name)?;
            match json {
                true => write_json(&some.into_iter().map(rule_json).collect(), screen)?,
                false => rules(&some, screen)?,
            }
        }
        Listing::Reasons => {
            let some = chosen("reason", name, Reason::ALL, |reason| reason.as_str())?;
            match json {
                true => write_json(&some.into_iter().map(reason_json).collect(), screen)?,
                false => reasons(&some, screen)?,
            }
        }
    }
    Ok(Exit::Fine)
}

/// All of them, or the one of that name.
///
/// # Errors
///
/// [`Failure::Usage`] where there is none of that name.
fn chosen<'a, T>(
    what: &str,
    name: Option<&str>,
    all: &'a [T],
    name_of: impl Fn(&'a T) -> &'a str,
) -> Result<Vec<&'a T>, Failure> {
    let Some(name) = name else {
        return Ok(all.iter().collect());
    };
    match all.iter().find(|one| name_of(one) == name) {
        Some(one) => Ok(vec![one]),
        None => {
            let names: Vec<&str> = all.iter().map(name_of).collect();
            Err(Failure::Usage(unknown(what, name, names)))
        }
    }
}

fn write_json(value: &Value, screen: &mut Screen) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *screen, value)?;
    Ok(writeln!(screen)?)
}

/// A heading, and what it means below it.
fn heading(screen: &mut Screen, name: &str, text: &str) -> anyhow::Result<()> {
    writeln!(screen, "{}", styled(NAME.bold(), name))?;
    paragraph(screen, text)
}

fn paragraph(screen: &mut Screen, text: &str) -> anyhow::Result<()> {
    for line in wrap(text, screen.text_width() - 2) {
        writeln!(screen, "  {line}")?;
    }
    Ok(())
}

fn write_table(screen: &mut Screen, table: &Table) -> anyhow::Result<()> {
    let width = screen.width();
    Ok(table.write(screen, width)?)
}

/// Every recipient that has a file, and whether it is switched on.
fn all_recipients(policy: &Policy) -> Vec<(&Recipient, bool)> {
    let enabled = policy.recipients.iter().map(|one| (one, true));
    let disabled = policy.disabled.iter().map(|one| (one, false));
    enabled.chain(disabled).collect()
}

fn recipients(
    some: &[&(&Recipient, bool)],
    policy: &Policy,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    for (at, &&(recipient, on)) in some.iter().enumerate() {
        if at > 0 {
            writeln!(screen)?;
        }
        let off = if on { "" } else { " (switched off)" };
        heading(
            screen,
            &format!("{}{off}", recipient.name),
            &recipient.title,
        )?;
        let mut table = Table::new(&[]).indented(2);
        for (name, text) in phrase::recipient(recipient, policy) {
            table.row([Cell::styled(FAINT, name), text.into()]);
        }
        write_table(screen, &table)?;
        let mut table = Table::new(&[]).indented(4);
        for field in &recipient.fields {
            let (from, mask) = phrase::field(field, &recipient.fields);
            table.row([
                field.name.clone().into(),
                from.into(),
                Cell::styled(FAINT, mask),
            ]);
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
            "source": phrase::source(recipient, policy),
            "purpose": recipient.purpose,
            "purpose_text": recipient.purpose_text,
            "legal_basis": legal_basis_word(recipient.legal_basis),
            "flows": recipient.flows,
            "when": recipient.when.iter().map(phrase::condition).collect::<Vec<_>>(),
            "stages": recipient.stages.iter().map(phrase::path).collect::<Vec<_>>(),
            "consent": recipient.consent.as_ref().map(phrase::consent),
            "objection": phrase::objection(recipient, policy),
            "agreement": recipient.agreement.as_ref().map(agreement_json),
            "authorisation": recipient.authorisation.as_ref().map(authorisation_json),
            "marketing": recipient.marketing,
            "loan_history": recipient.loan_history,
            "pseudonymised": recipient.pseudonymised,
            "period": recipient.period.as_ref().map(phrase::period),
            "retention": phrase::retention(&recipient.retention),
            "patron_retention": match recipient.outlives_membership {
                Some(_) => None,
                None => Some(policy.patron_term.to_string()),
            },
            "outlives_membership": recipient.outlives_membership,
            "key": phrase::path(&recipient.key),
            "influences": phrase::influences(recipient, policy).iter().map(influence_json).collect::<Vec<_>>(),
            "fields": recipient.fields.iter().map(|field| field_json(field, recipient)).collect::<Vec<_>>(),
        })
    };
    some.iter().map(one).collect()
}

fn influence_json(one: &phrase::InfluenceText) -> Value {
    json!({ "field": one.path, "class": one.class, "seen": one.seen, "how": one.how })
}

fn agreement_json(paper: &Agreement) -> Value {
    json!({
        "reference": paper.reference,
        "clauses": paper.clauses,
        "from": paper.from,
        "until": paper.until,
        "after": paper_after_word(paper.after),
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
        "after": paper_after_word(paper.after),
    })
}

fn field_json(field: &OutputField, recipient: &Recipient) -> Value {
    let (from, _) = phrase::field(field, &recipient.fields);
    let mask = match &field.value {
        OutputValue::Scalar(projection) => projection.mask.as_ref().map(phrase::mask_name),
        OutputValue::Slip { .. } => Some("shelf_slip"),
        OutputValue::Object { .. } | OutputValue::List { .. } | OutputValue::Scalars { .. } => None,
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

fn fields(kinds: Vec<&Kind>, screen: &mut Screen) -> anyhow::Result<()> {
    for (at, kind) in kinds.into_iter().enumerate() {
        if at > 0 {
            writeln!(screen)?;
        }
        let about = format!(
            "{}; topic {}; {}",
            kind.title,
            kind.topic,
            role_word(kind.role)
        );
        heading(screen, &kind.name, &about)?;
        let mut table = Table::new(&["FIELD", "TYPE", "CLASS", "MEANING"]).indented(2);
        for field in &kind.fields {
            let values = match field.values.is_empty() {
                true => String::new(),
                false => format!(": {}", field.values.join(", ")),
            };
            table.row([
                field.path.clone().into(),
                type_word(field.kind).into(),
                class_word(field.class).into(),
                format!("{}{values}", field.meaning).into(),
            ]);
        }
        write_table(screen, &table)?;
    }
    Ok(())
}

fn fields_json(kinds: Vec<&Kind>) -> Value {
    let field = |field: &crate::policy::catalogue::Field| {
        json!({
            "path": field.path,
            "type": type_word(field.kind),
            "class": class_word(field.class),
            "meaning": field.meaning,
            "values": field.values,
        })
    };
    let kind = |kind: &Kind| {
        json!({
            "kind": kind.name,
            "title": kind.title,
            "topic": kind.topic,
            "fields": kind.fields.iter().map(field).collect::<Vec<_>>(),
        })
    };
    kinds.into_iter().map(kind).collect()
}

fn masks(some: &[&MaskDef], screen: &mut Screen) -> anyhow::Result<()> {
    for (at, mask) in some.iter().enumerate() {
        if at > 0 {
            writeln!(screen)?;
        }
        heading(screen, mask.name, mask.does)?;
        let mut table = Table::new(&[]).indented(4);
        for argument in mask.arguments {
            let default = match argument.default {
                Some(default) => format!("default {default}"),
                None => "must be given".to_owned(),
            };
            table.row([
                argument.name.into(),
                format!("{}; {}", argument.allowed, default).into(),
                Cell::styled(FAINT, argument.meaning),
            ]);
        }
        write_table(screen, &table)?;
        let mut table = Table::new(&["INPUT", "BESIDE IT", "SETTINGS", "OUTPUT"]).indented(4);
        for example in mask.examples {
            table.row(mask_example(example));
        }
        write_table(screen, &table)?;
    }
    Ok(())
}

fn mask_example(example: &Example) -> [Cell; 4] {
    let needs = example.needs.iter().map(|need| phrase::quoted(*need));
    let settings = example.arguments.iter();
    let settings = settings.map(|(name, value)| format!("{name} = {value}"));
    let output = match example.output {
        Some(output) => Cell::from(phrase::visible(output)),
        None => Cell::styled(FAINT, "(left out)"),
    };
    [
        phrase::quoted(example.input).into(),
        needs.collect::<Vec<_>>().join(", ").into(),
        settings.collect::<Vec<_>>().join(", ").into(),
        output,
    ]
}

fn mask_json(mask: &MaskDef) -> Value {
    let argument = |argument: &crate::policy::mask::ArgDef| {
        json!({
            "name": argument.name,
            "meaning": argument.meaning,
            "allowed": argument.allowed.to_string(),
            "default": argument.default.map(|default| default.to_string()),
        })
    };
    let example = |example: &Example| {
        let settings: Vec<_> = example
            .arguments
            .iter()
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        json!({
            "input": example.input,
            "needs": example.needs,
            "settings": settings,
            "output": example.output,
        })
    };
    json!({
        "name": mask.name,
        "does": mask.does,
        "settings": mask.arguments.iter().map(argument).collect::<Vec<_>>(),
        "examples": mask.examples.iter().map(example).collect::<Vec<_>>(),
    })
}

fn detectors(some: &[&DetectorDef], screen: &mut Screen) -> anyhow::Result<()> {
    for (at, detector) in some.iter().enumerate() {
        if at > 0 {
            writeln!(screen)?;
        }
        heading(screen, detector.name, detector.finds)?;
        if !detector.own.is_empty() {
            let own: Vec<_> = detector
                .own
                .iter()
                .map(|own| phrase::visible(own))
                .collect();
            let about = format!(
                "in the examples the record's own values are: {}",
                own.join(", ")
            );
            paragraph(screen, &about)?;
        }
        let mut table = Table::new(&["TEXT", "BECOMES"]).indented(4);
        for (text, becomes) in detector.hits {
            table.row([
                phrase::visible(text).into(),
                phrase::visible(becomes).into(),
            ]);
        }
        for text in detector.misses {
            table.row([phrase::visible(text).into(), Cell::styled(FAINT, "(stays)")]);
        }
        write_table(screen, &table)?;
    }
    Ok(())
}

fn detector_json(detector: &DetectorDef) -> Value {
    let hit = |(text, becomes): &(&str, &str)| json!({ "text": text, "becomes": becomes });
    json!({
        "name": detector.name,
        "finds": detector.finds,
        "own_values": detector.own,
        "hits": detector.hits.iter().map(hit).collect::<Vec<_>>(),
        "misses": detector.misses,
    })
}

fn rules(some: &[&LintDef], screen: &mut Screen) -> anyhow::Result<()> {
    for (at, rule) in some.iter().enumerate() {
        if at > 0 {
            writeln!(screen)?;
        }
        heading(screen, rule.name, &format!("forbids {}", rule.forbids))?;
        let mut table = Table::new(&[]).indented(2);
        let label = |text: &str| Cell::styled(FAINT, text);
        table.row([label("why"), rule.why.into()]);
        let example = match rule.example {
            "" => "a file without that key",
            example => example,
        };
        table.row([label("example"), example.into()]);
        table.row([label("wrong"), rule.wrong.into()]);
        if rule.paper {
            table.row([
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
        styled(
            HEADING,
            "`zeef check` holds every rule, and so does every start."
        )
    )?;
    Ok(())
}

fn reasons(some: &[&Reason], screen: &mut Screen) -> anyhow::Result<()> {
    let mut table = Table::new(&["REASON", "MEANS", "WHAT FOLLOWS"]);
    for reason in some {
        table.row([
            Cell::styled(NAME, reason.as_str()),
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
        "example": rule.example_text(),
        "wrong": rule.wrong,
        "paper": rule.paper,
    })
}
