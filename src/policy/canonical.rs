//! The canonical form of a policy: one text for all that decides what is
//! released, and nothing else.
//!
//! Comments, spacing, the order of files and what only people read (titles,
//! meanings) leave no trace in it. The policy's version is its digest.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::Policy;
use super::catalogue::{Class, Kind, Role, Type};
use super::mask::{Mask, SurnameKey};
use super::recipient::{
    After, Condition, FieldRef, LegalBasis, Libraries, Literal, OutputValue, PaperAfter,
    Projection, Recipient, SubField, Test,
};

/// Stands first: another rendering makes other versions.
const FORMAT: &str = "zeef policy 3\n";

/// Renders kinds and enabled recipients, both sorted by name, and what else of
/// the policy decides.
pub(super) fn render(policy: &Policy) -> String {
    let all = &policy.kinds;
    let mut kinds: Vec<_> = all.iter().collect();
    kinds.sort_by(|a, b| a.name.cmp(&b.name));
    let mut sorted: Vec<_> = policy.recipients.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut text = FORMAT.to_owned();
    for kind in &kinds {
        push_kind(kind, &mut text);
    }
    let patron_term = policy.patron_term;
    push(&mut text, format_args!("patron_retention {patron_term}\n"));
    let names = policy.known_names();
    let (purposes, known) = (quoted_list(&names.purposes), quoted_list(&names.recipients));
    push(
        &mut text,
        format_args!("purposes {purposes}\nrecipients {known}\n"),
    );
    for (library, before) in policy.successor_of.iter() {
        let mut before: Vec<_> = before.iter().collect();
        before.sort();
        let (library, before) = (quoted(library), quoted_list(before));
        push(&mut text, format_args!("successor {library} of {before}\n"));
    }
    for recipient in sorted {
        let source = all.get(recipient.source).map_or("", |kind| &kind.name);
        push_recipient(recipient, source, &mut text);
    }
    text
}

/// The version of one recipient's own text, which no other recipient's changes:
/// its lower-case hex tells who reads it nothing of the rest of the policy.
#[must_use]
pub fn recipient_version(policy: &Policy, recipient: &Recipient) -> String {
    let source = policy.kinds.get(recipient.source);
    let mut text = FORMAT.to_owned();
    push_recipient(recipient, source.map_or("", |kind| &kind.name), &mut text);
    version(&text)
}

/// The SHA-256 of a canonical form, in lower-case hex.
pub(super) fn version(canonical: &str) -> String {
    Sha256::digest(canonical.as_bytes())
        .iter()
        .fold(String::new(), |mut hex, byte| {
            push(&mut hex, format_args!("{byte:02x}"));
            hex
        })
}

/// Writing to a string cannot fail.
fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
}

/// In quotes, so that no text can end its line.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn quoted_list<'a>(texts: impl IntoIterator<Item = &'a String>) -> String {
    let quoted: Vec<_> = texts.into_iter().map(|text| quoted(text)).collect();
    format!("[{}]", quoted.join(","))
}

fn push_kind(kind: &Kind, text: &mut String) {
    let role = match kind.role {
        Role::Patron => "patron",
        Role::Gate => "gate",
        Role::Record => "record",
    };
    push(
        text,
        format_args!(
            "kind {} topic={} role={role} id={} keyed={} closed={} other_library={}\n",
            kind.name, kind.topic, kind.id, kind.keyed, kind.closed, kind.other_library,
        ),
    );
    let mut fields: Vec<_> = kind.fields.iter().collect();
    fields.sort_by(|a, b| a.path.cmp(&b.path));
    for field in fields {
        let (kind, class) = (type_word(field.kind), class_word(field.class));
        push(text, format_args!("  field {} {kind} {class}", field.path));
        if !field.values.is_empty() {
            let mut values: Vec<_> = field.values.iter().collect();
            values.sort();
            push(text, format_args!(" {}", quoted_list(values)));
        }
        text.push('\n');
    }
}

/// The word of a type in the catalogue.
#[must_use]
pub fn type_word(kind: Type) -> &'static str {
    match kind {
        Type::Text(None) => "text",
        Type::Text(Some(form)) => form.name(),
        Type::CardNumber => "card_number",
        Type::Integer => "integer",
        Type::Boolean => "boolean",
        Type::TextOrNumber => "text_or_number",
    }
}

/// The word of a class in the catalogue.
#[must_use]
pub fn class_word(class: Class) -> &'static str {
    match class {
        Class::Plain => "plain",
        Class::Personal => "personal",
        Class::Contact => "contact",
        Class::Identifier => "identifier",
        Class::Financial => "financial",
        Class::NationalId => "national_id",
        Class::Special => "special",
        Class::FreeText => "free_text",
        Class::Secret => "secret",
        Class::Event => "event",
    }
}

/// The word of a legal basis in a recipient's file.
#[must_use]
pub fn legal_basis_word(basis: LegalBasis) -> &'static str {
    match basis {
        LegalBasis::Consent => "consent",
        LegalBasis::Contract => "contract",
        LegalBasis::LegalObligation => "legal_obligation",
        LegalBasis::Vital => "vital",
        LegalBasis::PublicTask => "public_task",
        LegalBasis::LegitimateInterest => "legitimate_interest",
    }
}

/// The word of what follows a paper's end in a recipient's file.
#[must_use]
pub fn paper_after_word(after: PaperAfter) -> &'static str {
    match after {
        PaperAfter::Keep => "keep",
        PaperAfter::Retract => "retract",
    }
}

/// A path as a recipient of another source than patron writes it.
fn path(field: &FieldRef) -> String {
    let prefix = if field.joined { "patron." } else { "" };
    format!("{prefix}{}", field.path)
}

fn push_recipient(recipient: &Recipient, source: &str, text: &mut String) {
    push(text, format_args!("recipient {}\n", recipient.name));
    push(text, format_args!("  topic {}\n", recipient.topics));
    push(text, format_args!("  source {source}\n"));
    push(
        text,
        format_args!("  purpose {}\n", quoted(&recipient.purpose)),
    );
    let basis = legal_basis_word(recipient.legal_basis);
    push(text, format_args!("  legal_basis {basis}\n"));
    push_libraries(&recipient.libraries, text);
    push(
        text,
        format_args!("  key pseudonym {}\n", path(&recipient.key)),
    );
    for condition in &recipient.when {
        push_condition(condition, text);
    }
    if !recipient.stages.is_empty() {
        let stages: Vec<_> = recipient.stages.iter().map(path).collect();
        push(text, format_args!("  stages {}\n", stages.join(" ")));
    }
    push_gates(recipient, text);
    for field in &recipient.fields {
        push(text, format_args!("  field {} = ", field.name));
        push_value(&field.value, text);
        text.push('\n');
    }
}

fn push_libraries(libraries: &Libraries, text: &mut String) {
    match libraries {
        Libraries::All => text.push_str("  libraries all\n"),
        Libraries::Only(list) => {
            let mut list: Vec<_> = list.iter().collect();
            list.sort();
            push(text, format_args!("  libraries {}\n", quoted_list(list)));
        }
    }
}

fn push_condition(condition: &Condition, text: &mut String) {
    push(text, format_args!("  when {} ", path(&condition.field)));
    match &condition.test {
        Test::Present => text.push_str("present"),
        Test::Absent => text.push_str("absent"),
        Test::Is(literals) => {
            let mut words: Vec<_> = literals.iter().map(literal).collect();
            words.sort();
            push(text, format_args!("is [{}]", words.join(",")));
        }
    }
    text.push('\n');
}

fn literal(literal: &Literal) -> String {
    match literal {
        Literal::Text(text) => quoted(text),
        Literal::Boolean(value) => value.to_string(),
        Literal::Integer(value) => value.to_string(),
    }
}

fn push_gates(recipient: &Recipient, text: &mut String) {
    if let Some(consent) = &recipient.consent {
        push(text, format_args!("  consent {}", quoted(&consent.purpose)));
        if let Some(event) = &consent.implied_by {
            push(text, format_args!(" implied_by {}", path(event)));
        }
        push(text, format_args!(" explicit={}\n", consent.explicit));
    }
    let retention = &recipient.retention;
    let after = match retention.after {
        After::Retract => "retract",
        After::Forget => "forget",
    };
    let (term, from) = (retention.term, path(&retention.from));
    push(
        text,
        format_args!("  retention {term} from {from} {after}\n"),
    );
    if let Some(period) = &recipient.period {
        push(text, format_args!("  period P1M of {}\n", path(&period.of)));
    }
    for (flag, set) in [
        ("loan_history", recipient.loan_history),
        ("marketing", recipient.marketing),
        ("objections stop", recipient.stops_on_objection),
        (
            "outlives_membership",
            recipient.outlives_membership.is_some(),
        ),
        ("pseudonymised", recipient.pseudonymised),
        ("processor", recipient.processor),
    ] {
        if set {
            push(text, format_args!("  {flag}\n"));
        }
    }
    push_papers(recipient, text);
}

fn push_papers(recipient: &Recipient, text: &mut String) {
    if let Some(paper) = &recipient.agreement {
        let mut clauses: Vec<_> = paper.clauses.iter().collect();
        clauses.sort();
        let (reference, clauses) = (quoted(&paper.reference), quoted_list(clauses));
        let (from, until) = (&paper.from, &paper.until);
        push(
            text,
            format_args!(
                "  agreement {reference} {clauses} {from} {until} {}\n",
                paper_after_word(paper.after)
            ),
        );
    }
    if let Some(paper) = &recipient.authorisation {
        push(
            text,
            format_args!(
                "  authorisation {} {} {} {} {} {} {}\n",
                quoted(&paper.reference),
                quoted(&paper.approved_by),
                paper.approved_on,
                paper.from,
                paper.until,
                quoted(&paper.jurisdiction),
                paper_after_word(paper.after),
            ),
        );
    }
    for (name, reason) in [
        ("credential_reason", &recipient.credential_reason),
        ("free_text_reason", &recipient.free_text_reason),
    ] {
        if let Some(reason) = reason {
            push(text, format_args!("  {name} {}\n", quoted(reason)));
        }
    }
}

fn push_value(value: &OutputValue, text: &mut String) {
    match value {
        OutputValue::Scalar(projection) => push_projection(projection, text),
        OutputValue::Object { from, fields } => {
            push(
                text,
                format_args!("object {} {}", path(from), sub_fields(fields)),
            );
        }
        OutputValue::List { from, fields } => {
            push(
                text,
                format_args!("list {} {}", path(from), sub_fields(fields)),
            );
        }
        OutputValue::Scalars { from } => push(text, format_args!("values {}", path(from))),
        OutputValue::Slip {
            mark,
            initial,
            rest,
        } => {
            push(text, format_args!("slip {mark} {initial} {rest:?}"));
        }
    }
}

fn sub_fields(fields: &[SubField]) -> String {
    let names: Vec<_> = fields
        .iter()
        .map(|field| format!("{}:{}", field.name, field.path))
        .collect();
    format!("[{}]", names.join(","))
}

fn push_projection(projection: &Projection, text: &mut String) {
    let from = projection
        .from
        .as_ref()
        .map_or_else(|| "-".to_owned(), path);
    push(text, format_args!("value {from}"));
    if let Some(mask) = &projection.mask {
        push(text, format_args!(" mask {}", mask_text(mask)));
    }
    if let Some(detect) = &projection.detect {
        let names: Vec<_> = detect.names().collect();
        push(text, format_args!(" detect [{}]", names.join(",")));
    }
}

fn mask_text(mask: &Mask) -> String {
    match mask {
        Mask::FirstLetters { count, key } => {
            let key = match key {
                SurnameKey::ByCountry => "default",
                SurnameKey::Kernwoord => "kernwoord",
                SurnameKey::Full => "full",
            };
            format!("first_letters(count={count},surname_key={key})")
        }
        Mask::Initial { ij_is_one } => format!("initial(ij_is_one={ij_is_one})"),
        Mask::LastDigits { count, min_hidden } => {
            format!("last_digits(count={count},min_hidden={min_hidden})")
        }
        Mask::FullName => "full_name".to_owned(),
        Mask::Year => "year".to_owned(),
        Mask::Month => "month".to_owned(),
        Mask::AgeBand { at, bands } => {
            let ages: Vec<_> = bands.iter().map(|band| band.from.to_string()).collect();
            format!("age_band(at={at},bands=[{}])", ages.join(","))
        }
        Mask::PostcodeArea => "postcode_area".to_owned(),
        Mask::Present => "present".to_owned(),
        Mask::Constant { value } => format!("constant({})", quoted(value)),
        Mask::Lowercase => "lowercase".to_owned(),
        Mask::Pseudonym { month_of: None } => "pseudonym".to_owned(),
        Mask::Pseudonym {
            month_of: Some(path),
        } => format!("pseudonym(month_of={path})"),
        Mask::ShelfSlip { .. } => "shelf_slip".to_owned(),
    }
}
