//! The canonical form of a policy: one text of all that decides what is released.
//!
//! Comments, spacing, the order of files, titles and meanings do not appear in it. The policy's
//! version is its digest.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::Policy;
use super::catalogue::{RecordKind, SourceDeletionRule};
use super::reason::Reason;
use super::recipient::{
    ConditionLiteral, ConditionTest, ConsentGiverFields, FieldCondition, FieldProjection, FieldRef,
    NOW, NamedPatronRule, OutputValue, Recipient, RecordSummary, ServedLibraries, SubField,
    SummaryFunction, SummaryTest,
};

/// The first line: change the number with the rendering, as versions change then.
const FORMAT_HEADER: &str = "zeef policy 4\n";

/// Renders kinds and enabled recipients, both sorted by name, and the settings that decide.
pub(crate) fn render(policy: &Policy) -> String {
    let all = &policy.record_kinds;
    let mut kinds: Vec<_> = all.iter().collect();
    kinds.sort_by(|a, b| a.name.cmp(&b.name));
    let mut sorted: Vec<_> = policy.recipients.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut text = FORMAT_HEADER.to_owned();
    for kind in &kinds {
        push_record_kind(kind, &mut text);
    }
    let patron_term = policy.patron_retention;
    push_format(&mut text, format_args!("patron_retention {patron_term}\n"));
    let names = policy.known_names();
    let (purposes, known) = (quote_list(&names.purposes), quote_list(&names.recipients));
    push_format(&mut text, format_args!("purposes {purposes}\nrecipients {known}\n"));
    for (library, before) in policy.predecessor_libraries.iter() {
        let mut before: Vec<_> = before.iter().collect();
        before.sort();
        let (library, before) = (quote(library), quote_list(before));
        push_format(&mut text, format_args!("successor {library} of {before}\n"));
    }
    // Records that must hold nothing personal are searched by all.
    for custom in policy.custom_detectors.iter() {
        let pattern = quote(custom.pattern.as_str());
        push_format(&mut text, format_args!("detector {} {pattern}\n", custom.name));
    }
    for recipient in sorted {
        let source = all.get(recipient.source_kind_index).map_or("", |kind| &kind.name);
        push_recipient(recipient, source, &mut text);
    }
    text
}

/// The version of one recipient's own text, in lower-case hex. It reveals nothing of the rest
/// of the policy.
#[must_use]
pub fn recipient_version(policy: &Policy, recipient: &Recipient) -> String {
    sha256_hex(&recipient_text(policy, recipient))
}

/// The canonical form of one recipient alone.
#[must_use]
pub fn recipient_text(policy: &Policy, recipient: &Recipient) -> String {
    let source = policy.record_kinds.get(recipient.source_kind_index);
    let mut text = FORMAT_HEADER.to_owned();
    let source = source.map_or("", |kind| &kind.name);
    push_recipient(recipient, source, &mut text);
    text
}

/// The SHA-256 of a canonical form, in lower-case hex.
pub(crate) fn sha256_hex(canonical: &str) -> String {
    Sha256::digest(canonical.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        push_format(&mut hex, format_args!("{byte:02x}"));
        hex
    })
}

/// Writing to a string cannot fail.
fn push_format(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
}

/// Quotes a text, so that it cannot end its line.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn quote_list<'a>(texts: impl IntoIterator<Item = &'a String>) -> String {
    let quoted: Vec<_> = texts.into_iter().map(|text| quote(text)).collect();
    format!("[{}]", quoted.join(","))
}

fn push_record_kind(kind: &RecordKind, text: &mut String) {
    let role = kind.role.into_str();
    push_format(
        text,
        format_args!(
            "kind {} topic={} role={role} id={} keyed={} closed={} other_library={}",
            kind.name,
            kind.topic,
            kind.id_path,
            kind.is_keyed_by_patron,
            kind.is_closed,
            kind.allows_other_library,
        ),
    );
    if let Some(path) = &kind.gone_path {
        push_format(text, format_args!(" gone={path}"));
    }
    text.push('\n');
    if let Some(settled) = &kind.settles {
        push_format(text, format_args!("  settles {settled}\n"));
    }
    if kind.may_lack_patron {
        text.push_str("  may lack patron\n");
    }
    if let Some(SourceDeletionRule { deleted_path, start_path, within }) = &kind.source_deletion {
        push_format(
            text,
            format_args!("  source deletion {deleted_path} within {within} from {start_path}\n"),
        );
    }
    for forbidden in &kind.must_not_exist {
        let (path, except) = (&forbidden.path, quote_list(&forbidden.except));
        push_format(text, format_args!("  must not exist {path} except {except}\n"));
    }
    if !kind.anonymous_paths.is_empty() {
        let paths = quote_list(&kind.anonymous_paths);
        push_format(text, format_args!("  anonymous {paths}\n"));
    }
    let mut fields: Vec<_> = kind.fields.iter().collect();
    fields.sort_by(|a, b| a.path.cmp(&b.path));
    for field in fields {
        let (kind, class) = (field.field_type.name(), field.class.into_str());
        push_format(text, format_args!("  field {} {kind} {class}", field.path));
        if !field.allowed_values.is_empty() {
            let mut values: Vec<_> = field.allowed_values.iter().collect();
            values.sort();
            push_format(text, format_args!(" {}", quote_list(values)));
        }
        text.push('\n');
    }
}

/// As a recipient of another source than patron writes it.
impl std::fmt::Display for FieldRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.is_joined { "patron." } else { "" }, self.path)
    }
}

/// Begins the line of the field that tells records apart of which patrons are told.
pub const TOLD_UNLESS: &str = "told_unless";

fn push_recipient(recipient: &Recipient, source: &str, text: &mut String) {
    push_format(text, format_args!("recipient {}\n", recipient.name));
    push_format(text, format_args!("  topic {}\n", recipient.topics));
    push_format(text, format_args!("  source {source}\n"));
    push_format(text, format_args!("  purpose {}\n", quote(&recipient.purpose)));
    let basis = recipient.legal_basis.into_str();
    push_format(text, format_args!("  legal_basis {basis}\n"));
    if let Some(mark) = &recipient.confidentiality {
        push_format(text, format_args!("  {mark}\n"));
    }
    if let Some(field) = &recipient.told_unless {
        push_format(text, format_args!("  {TOLD_UNLESS} {field}\n"));
    }
    push_libraries(&recipient.libraries, text);
    push_format(text, format_args!("  key pseudonym {}\n", recipient.output_key_field));
    for condition in &recipient.conditions {
        push_condition(condition, text);
    }
    if !recipient.stages.is_empty() {
        let stages = recipient.stages.iter().map(ToString::to_string);
        let stages: Vec<_> = stages.chain(recipient.stages_end_now.then(|| NOW.into())).collect();
        push_format(text, format_args!("  stages {}\n", stages.join(" ")));
    }
    if let Some(rule) = &recipient.channel {
        let channels: Vec<_> = rule
            .channels
            .iter()
            .map(|one| format!("{} {}", one.medium.into_str(), one.from))
            .collect();
        let otherwise = if rule.is_required { "" } else { ", or none" };
        push_format(text, format_args!("  channel {}{otherwise}\n", channels.join(", ")));
    }
    push_gates(recipient, text);
    for field in &recipient.output_fields {
        push_format(text, format_args!("  field {} = ", field.name));
        push_output_value(&field.value, text);
        text.push('\n');
    }
}

fn push_libraries(libraries: &ServedLibraries, text: &mut String) {
    match libraries {
        ServedLibraries::All => text.push_str("  libraries all\n"),
        ServedLibraries::Only(list) => {
            let mut list: Vec<_> = list.iter().collect();
            list.sort();
            push_format(text, format_args!("  libraries {}\n", quote_list(list)));
        }
    }
}

fn push_condition(condition: &FieldCondition, text: &mut String) {
    push_format(text, format_args!("  when {} ", condition.field));
    push_condition_test(&condition.test, text);
    if condition.refusal_reason != Reason::Condition {
        push_format(text, format_args!(" reason {}", condition.refusal_reason));
    }
    if condition.or_no_patron {
        text.push_str(" or no patron");
    }
    text.push('\n');
}

fn push_condition_test(test: &ConditionTest, text: &mut String) {
    match test {
        ConditionTest::Present => text.push_str("present"),
        ConditionTest::Absent => text.push_str("absent"),
        ConditionTest::OneOf(literals) => {
            let mut words: Vec<_> = literals.iter().map(literal_text).collect();
            words.sort();
            push_format(text, format_args!("is [{}]", words.join(",")));
        }
        ConditionTest::TimeRange(range) => push_format(text, format_args!("{range}")),
        ConditionTest::IntegerRange(range) => push_format(text, format_args!("{range}")),
    }
}

fn literal_text(literal: &ConditionLiteral) -> String {
    match literal {
        ConditionLiteral::Text(text) => quote(text),
        ConditionLiteral::Boolean(value) => value.to_string(),
        ConditionLiteral::Integer(value) => value.to_string(),
    }
}

fn push_gates(recipient: &Recipient, text: &mut String) {
    if let Some(consent) = &recipient.consent {
        push_format(text, format_args!("  consent {}", quote(&consent.purpose)));
        if let Some(event) = &consent.implied_by {
            push_format(text, format_args!(" implied_by {}", event.at));
            if let Some(giver) = &event.giver {
                let ConsentGiverFields { given_by, adult } = giver;
                push_format(text, format_args!(" given_by {given_by} adult {adult}"));
            }
        }
        push_format(text, format_args!(" explicit={}", consent.is_explicit));
        if let Some(NamedPatronRule { lasts }) = consent.named_patrons {
            text.push_str(" each recipient");
            if let Some(lasts) = lasts {
                push_format(text, format_args!(" lasts {lasts}"));
            }
        }
        text.push_str(if consent.needs_guardian_for_minors { " minors=guardian\n" } else { "\n" });
    }
    if let Some(rule) = &recipient.special_words {
        let (field, words) = (&rule.field, quote_list(rule.words.words()));
        push_format(text, format_args!("  special_words {field} {words}\n"));
    }
    let retention = &recipient.retention;
    let after = retention.after.into_str();
    let (term, from) = (retention.term, &retention.start_field);
    push_format(text, format_args!("  retention {term} from {from} {after}\n"));
    push_thinning(recipient, text);
    if let Some(period) = &recipient.period {
        push_format(text, format_args!("  period P1M of {}\n", period.month_field));
    }
    for (flag, set) in [
        ("format avro", !recipient.value_format.is_json()),
        ("loan_history", recipient.is_loan_history),
        ("own_borrowers", recipient.is_for_own_borrowers),
        ("marketing", recipient.is_marketing),
        ("objections stop", recipient.stops_on_objection),
        ("outlives_membership", recipient.outlives_membership.is_some()),
        ("without_patron", recipient.without_patron.is_some()),
        ("pseudonymised", recipient.is_pseudonymised),
        ("processor", recipient.is_processor),
        ("national_card omit", recipient.omits_national_cards),
    ] {
        if set {
            push_format(text, format_args!("  {flag}\n"));
        }
    }
    push_legal_documents(recipient, text);
    for (name, day) in recipient.papers.dated() {
        push_format(text, format_args!("  {name} {day}\n"));
    }
}

fn push_thinning(recipient: &Recipient, text: &mut String) {
    let Some(rule) = &recipient.thinned else {
        return;
    };
    let fields = rule.dropped_fields.iter().filter_map(|at| recipient.output_fields.get(*at));
    let names: Vec<_> = fields.map(|field| field.name.as_str()).collect();
    push_format(text, format_args!("  thinned drop [{}]", names.join(",")));
    push_format(
        text,
        format_args!(" gone={} loan_history_off={}", rule.when_gone, rule.when_history_off),
    );
    if let Some((term, from)) = &rule.after {
        push_format(text, format_args!(" after {term} from {from}"));
    }
    text.push('\n');
}

fn push_legal_documents(recipient: &Recipient, text: &mut String) {
    if let Some(paper) = &recipient.agreement {
        let mut clauses: Vec<_> = paper.clauses.iter().collect();
        clauses.sort();
        let (reference, clauses) = (quote(&paper.reference), quote_list(clauses));
        let (from, until) = (&paper.from, &paper.until);
        push_format(
            text,
            format_args!(
                "  agreement {reference} {clauses} {from} {until} {}\n",
                paper.after.into_str()
            ),
        );
    }
    if let Some(paper) = &recipient.authorisation {
        push_format(
            text,
            format_args!(
                "  authorisation {} {} {} {} {} {} {}\n",
                quote(&paper.reference),
                quote(&paper.approved_by),
                paper.approved_on,
                paper.from,
                paper.until,
                quote(&paper.jurisdiction),
                paper.after.into_str(),
            ),
        );
    }
    for (name, reason) in [
        ("credential_reason", &recipient.credential_reason),
        ("free_text_reason", &recipient.free_text_reason),
    ] {
        if let Some(reason) = reason {
            push_format(text, format_args!("  {name} {}\n", quote(reason)));
        }
    }
}

fn push_output_value(value: &OutputValue, text: &mut String) {
    match value {
        OutputValue::Scalar(projection) => push_projection(projection, text),
        OutputValue::First(projections) => {
            text.push_str("first");
            for projection in projections {
                text.push_str(" (");
                push_projection(projection, text);
                text.push(')');
            }
        }
        OutputValue::Object { from, fields } => {
            push_format(text, format_args!("object {} {}", from, sub_fields_text(fields)));
        }
        OutputValue::ObjectList { from, fields } => {
            push_format(text, format_args!("list {} {}", from, sub_fields_text(fields)));
        }
        OutputValue::ChannelWord => text.push_str("channel"),
        OutputValue::NamedPatron => text.push_str("pseudonym of the named patron"),
        OutputValue::ScalarList { from } => push_format(text, format_args!("values {}", from)),
        OutputValue::Demanded { list, shows } => {
            push_format(text, format_args!("demanded {list} as {}", shows.into_str()));
        }
        OutputValue::ShelfSlip {
            shelf_mark_index: mark,
            initial_index: initial,
            line_indices: rest,
        } => {
            push_format(text, format_args!("slip {mark} {initial} {rest:?}"));
        }
        OutputValue::Summary(summary) => push_summary(summary, text),
    }
}

fn push_summary(summary: &RecordSummary, text: &mut String) {
    let kind = &summary.kind_name;
    match &summary.function {
        SummaryFunction::Sum(path) => push_format(text, format_args!("sum {kind}.{path}")),
        SummaryFunction::Count => push_format(text, format_args!("count {kind}")),
        SummaryFunction::Any(word) => {
            push_format(text, format_args!("any {kind} as {}", quote(word)))
        }
        SummaryFunction::List { fields, order } => {
            let fields = sub_fields_text(fields);
            push_format(text, format_args!("records {kind} {fields} by [{}]", order.join(",")));
        }
    }
    for condition in &summary.conditions {
        push_format(text, format_args!(" where {} ", condition.path));
        match &condition.test {
            SummaryTest::Value(test) => push_condition_test(test, text),
            SummaryTest::SameAs { patron_path, or_else } => {
                push_format(text, format_args!("same_as {patron_path}"));
                if let Some(word) = or_else {
                    push_format(text, format_args!(" or_else {}", quote(word)));
                }
            }
        }
    }
}

fn sub_fields_text(fields: &[SubField]) -> String {
    let names: Vec<_> =
        fields.iter().map(|field| format!("{}:{}", field.name, field.path)).collect();
    format!("[{}]", names.join(","))
}

fn push_projection(projection: &FieldProjection, text: &mut String) {
    let from = projection.from.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    push_format(text, format_args!("value {from}"));
    if let Some(mask) = &projection.mask {
        push_format(text, format_args!(" mask {}", mask.canonical()));
    }
    if let Some(detect) = &projection.detect {
        let names: Vec<_> = detect.enabled_names().collect();
        push_format(text, format_args!(" detect [{}]", names.join(",")));
        for (_, custom) in detect.enabled_custom() {
            let pattern = quote(custom.pattern.as_str());
            push_format(text, format_args!(" {}={pattern}", custom.name));
        }
    }
}
