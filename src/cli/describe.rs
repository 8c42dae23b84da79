//! The policy in words, for people. Words of the config are kept as they stand there.

use crate::engine::lane::gates::GATES;
use crate::policy::Policy;
use crate::policy::acknowledgement::AcknowledgementRule;
use crate::policy::influence::{self, InfluenceChannel};
use crate::policy::mask::{Mask, MaskNeed};
use crate::policy::reason::Reason;
use crate::policy::recipient::{
    ConditionLiteral, ConditionTest, DemandedPart, FieldCondition, FieldProjection, FieldRef,
    OutputField, OutputValue, Recipient, RecordSummary, RetentionAction, RetentionRule,
    ServedLibraries, SubField, SummaryCondition, SummaryFunction, SummaryTest, ThinningRule,
};
use crate::policy::term::Term;

/// A path as a recipient's file has it.
pub(super) fn field_path(field: &FieldRef) -> String {
    field.to_string()
}

/// A condition as a sentence.
pub(super) fn condition(condition: &FieldCondition) -> String {
    let path = field_path(&condition.field);
    let tested = match &condition.test {
        ConditionTest::Present => format!("{path} is present"),
        ConditionTest::Absent => format!("{path} is absent"),
        ConditionTest::OneOf(literals) => {
            let words: Vec<_> = literals.iter().map(literal).collect();
            format!("{path} is {}", words.join(" or "))
        }
        ConditionTest::TimeRange(range) => {
            let bounds = [("not before", range.not_before), ("before", range.before)];
            format!("{path} is {}", bounds_text(bounds))
        }
        ConditionTest::IntegerRange(range) => {
            let bounds = [("above", range.above), ("below", range.below)];
            format!("{path} is {}", bounds_text(bounds))
        }
    };
    let otherwise = if condition.or_no_patron { ", or there is no patron" } else { "" };
    format!("{tested}{otherwise}")
}

/// The bounds of a range that are set.
fn bounds_text<T: std::fmt::Display>(bounds: [(&str, Option<T>); 2]) -> String {
    let set = bounds.into_iter().filter_map(|(word, bound)| Some(format!("{word} {}", bound?)));
    set.collect::<Vec<_>>().join(" and ")
}

fn literal(literal: &ConditionLiteral) -> String {
    match literal {
        ConditionLiteral::Text(text) => text.clone(),
        ConditionLiteral::Boolean(truth) => truth.to_string(),
        ConditionLiteral::Integer(number) => number.to_string(),
    }
}

/// A retention as a sentence.
pub(super) fn retention(retention: &RetentionRule) -> String {
    let after = match retention.after {
        RetentionAction::Retract => "then it is taken back",
        RetentionAction::Forget => "then zeef forgets it",
    };
    format!("{} from {}, {after}", term(retention.term), field_path(&retention.start_field))
}

/// How long a recipient may have something, as a sentence.
fn retention_and_membership(recipient: &Recipient, policy: &Policy) -> String {
    let own = retention(&recipient.retention);
    if policy
        .record_kinds
        .get(recipient.source_kind_index)
        .is_none_or(|kind| !kind.is_keyed_by_patron)
    {
        return own;
    }
    if recipient.without_patron.is_some() {
        return own;
    }
    if let Some(why) = &recipient.outlives_membership {
        return format!("{own}; also after the membership, as {why}");
    }
    format!(
        "{own}; at most until {} after the end of the membership",
        term(policy.patron_retention)
    )
}

/// Which fields an output goes without, and when.
pub(super) fn thinning(rule: &ThinningRule, recipient: &Recipient) -> String {
    let fields = rule.dropped_fields.iter().filter_map(|at| recipient.output_fields.get(*at));
    let names: Vec<_> = fields.map(|field| field.name.as_str()).collect();
    let gone = rule.when_gone.then(|| "once the record is gone".to_owned());
    let history = rule.when_history_off.then(|| "while the loan history is off".to_owned());
    let after = rule.after.as_ref();
    let after = after.map(|(length, from)| format!("{} after {}", term(*length), field_path(from)));
    let causes: Vec<_> = [gone, history, after].into_iter().flatten().collect();
    format!("without {} {}", names.join(", "), causes.join(", or "))
}

/// What a recipient acknowledges.
fn acknowledgement(rule: &AcknowledgementRule) -> String {
    let AcknowledgementRule { topic, within, since } = rule;
    format!("each retraction from {since} on, on {topic} within {}", term(*within))
}

/// How long patrons are not told of a recipient.
fn confidentiality(recipient: &Recipient) -> Option<String> {
    let mark = recipient.confidentiality?;
    let until = mark.until.map(|day| format!(", until the end of {day} (UTC)")).unwrap_or_default();
    let unless = recipient.told_unless.as_ref().map(|field| format!(", unless {field} is false"));
    Some(format!("from the answers to patrons{until}{}", unless.unwrap_or_default()))
}

fn term(term: Term) -> String {
    let parts: Vec<_> = [(term.years, "year"), (term.months, "month"), (term.days, "day")]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| super::exit::pluralise(usize::from(number), unit))
        .collect();
    parts.join(" and ")
}

pub(super) fn source_name<'a>(recipient: &Recipient, policy: &'a Policy) -> &'a str {
    let kind = policy.record_kinds.get(recipient.source_kind_index);
    kind.map_or("", |kind| kind.name.as_str())
}

/// The order of a recipient's lines up to its gates; others come first.
const LINE_ORDER: [&str; 10] = [
    "in order",
    "history",
    "behind",
    "unless",
    "agreement",
    "authorised",
    "papers",
    "reached",
    "data",
    "published",
];

/// A gate as a sentence; `None` if the recipient has none of that name.
pub(super) fn gate(name: &str, recipient: &Recipient, policy: &Policy) -> Option<String> {
    let gate = GATES.iter().find(|gate| gate.name == name)?;
    (gate.texts.describe)(recipient, policy)
}

/// Returns the lines about a recipient: a label and its text.
pub(super) fn recipient_lines(
    recipient: &Recipient,
    policy: &Policy,
) -> Vec<(&'static str, String)> {
    let basis = recipient.legal_basis.into_str();
    let mut lines = vec![
        ("topic", recipient.topics.to_string()),
        ("for", format!("{} ({})", recipient.purpose_text, recipient.purpose)),
        ("basis", format!("{basis}{}", flow_ids(recipient))),
        ("of", selected_records(recipient, source_name(recipient, policy))),
    ];
    if let ServedLibraries::Only(libraries) = &recipient.libraries {
        lines.push(("libraries", libraries.join(", ")));
    }
    if recipient.is_for_own_borrowers {
        let text = "only records of their patron's own library";
        lines.push(("borrowers", text.to_owned()));
    }
    lines.extend(recipient.review.describe().map(|open| ("open", open)));
    if let Some(members) = &recipient.members {
        lines.push(("network", members.join(", ")));
    }
    if recipient.is_pseudonymised {
        let text = "pseudonymised, never anonymous: what a row says may point at a person";
        lines.push(("data", text.to_owned()));
    }
    lines.extend(
        GATES
            .iter()
            .filter_map(|gate| Some((gate.label, (gate.texts.describe)(recipient, policy)?))),
    );
    let place = |label: &str| LINE_ORDER.iter().position(|one| *one == label);
    lines.sort_by_key(|(label, _)| place(label));
    lines.push(("kept", retention_and_membership(recipient, policy)));
    lines.extend(recipient.thinned.as_ref().map(|rule| ("thinned", thinning(rule, recipient))));
    lines.extend(recipient.acknowledgement.as_ref().map(|rule| ("acks", acknowledgement(rule))));
    lines.push(("key", format!("pseudonym of {}", field_path(&recipient.output_key_field))));
    if let Some(why) = &recipient.without_patron {
        lines.push(("patron", format!("not looked at, as {why}")));
    }
    lines.extend(confidentiality(recipient).map(|text| ("hidden", text)));
    for reason in [&recipient.credential_reason, &recipient.free_text_reason] {
        lines.extend(reason.iter().map(|reason| ("reason", reason.clone())));
    }
    lines.push(("looks at", other_influences(recipient, policy)));
    lines.push(("gets", String::new()));
    lines
}

/// One influence of a field, in words.
pub(super) struct InfluenceText {
    pub(super) path: String,
    pub(super) class: &'static str,
    pub(super) seen: &'static str,
    pub(super) how: String,
    /// It is the value of an output field.
    pub(super) is_output: bool,
}

/// Returns all influences on what a recipient has, each once.
pub(super) fn influences(recipient: &Recipient, policy: &Policy) -> Vec<InfluenceText> {
    let mut all: Vec<InfluenceText> = Vec::new();
    for one in influence::collect_influences(recipient, &policy.record_kinds) {
        let text = InfluenceText {
            path: field_path(&one.field_ref),
            class: one.field.class.into_str(),
            seen: one.exposure.as_str(),
            how: one.channel.describe(recipient),
            is_output: matches!(
                one.channel,
                InfluenceChannel::OutputField(_) | InfluenceChannel::Demanded(_)
            ),
        };
        let same = |other: &InfluenceText| {
            (&other.path, other.seen, &other.how) == (&text.path, text.seen, &text.how)
        };
        if !all.iter().any(same) {
            all.push(text);
        }
    }
    all
}

/// The most omission tests of one output field that are listed; more are only counted.
const MAX_SHOWN_LEFT_OUT: usize = 5;

fn other_influences(recipient: &Recipient, policy: &Policy) -> String {
    let mut texts: Vec<String> = Vec::new();
    let all = influences(recipient, policy);
    let beside = all.iter().filter(|one| !one.is_output);
    for one in beside.clone() {
        let alike = beside.clone().filter(|other| other.how == one.how).count();
        let text = match one.how.starts_with("left out of") && alike > MAX_SHOWN_LEFT_OUT {
            true => format!("{alike} fields ({}, {})", one.seen, one.how),
            false => format!("{} ({}, {})", one.path, one.seen, one.how),
        };
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts.join("; ")
}

fn flow_ids(recipient: &Recipient) -> String {
    match recipient.flows.as_slice() {
        [] => String::new(),
        flows => format!(" (flow {})", flows.join(", ")),
    }
}

fn selected_records(recipient: &Recipient, source: &str) -> String {
    let conditions: Vec<_> = recipient.conditions.iter().map(condition).collect();
    match conditions.as_slice() {
        [] => format!("every {source}"),
        conditions => format!("each {source} where {}", conditions.join(" and ")),
    }
}

const IN_FULL: &str = "in full";

/// The origin and the treatment of an output field.
pub(super) fn field_origin_and_mask(field: &OutputField, all: &[OutputField]) -> (String, String) {
    match &field.value {
        OutputValue::Scalar(projection) => {
            (scalar_origin(projection), scalar_treatment(projection))
        }
        OutputValue::First(projections) => {
            let join = |texts: Vec<String>| texts.join(", or else ");
            (
                join(projections.iter().map(scalar_origin).collect()),
                join(projections.iter().map(scalar_treatment).collect()),
            )
        }
        OutputValue::Object { from, fields } | OutputValue::ObjectList { from, fields } => {
            (field_path(from), format!("only {}", sub_field_names(fields)))
        }
        OutputValue::ScalarList { from } => (field_path(from), IN_FULL.to_owned()),
        OutputValue::ChannelWord => ("channel".to_owned(), "its word".to_owned()),
        OutputValue::NamedPatron => {
            ("the patron that a grant names".to_owned(), "pseudonym".to_owned())
        }
        OutputValue::Demanded { list, shows: DemandedPart::Values } => {
            (field_path(list), "the fields of the patron that it names, in full".to_owned())
        }
        OutputValue::Demanded { list, shows: DemandedPart::Number } => {
            (field_path(list), "how many fields of the patron it names".to_owned())
        }
        OutputValue::ShelfSlip {
            shelf_mark_index: mark,
            initial_index: initial,
            line_indices: rest,
        } => {
            let places = [*mark, *initial].into_iter().chain(rest.iter().copied());
            let names = places.filter_map(|place| all.get(place));
            let names: Vec<_> = names.map(|field| field.name.as_str()).collect();
            (names.join(", "), "shelf_slip".to_owned())
        }
        OutputValue::Summary(summary) => {
            ("the patron's records".to_owned(), summary_treatment(summary))
        }
    }
}

/// What is made of the patron's records, and of which.
fn summary_treatment(summary: &RecordSummary) -> String {
    let made = match &summary.function {
        SummaryFunction::Sum(path) => format!("the sum of {}.{path}", summary.kind_name),
        SummaryFunction::Count => format!("how many {}", summary.kind_name),
        SummaryFunction::Any(word) => {
            format!("{} if there is a {}", quoted(Some(word)), summary.kind_name)
        }
        SummaryFunction::List { fields, order } => {
            let order =
                if order.is_empty() { String::new() } else { format!(", by {}", order.join(", ")) };
            format!("each {}: only {}{order}", summary.kind_name, sub_field_names(fields))
        }
    };
    let conditions: Vec<String> = summary.conditions.iter().map(summary_condition).collect();
    match conditions.is_empty() {
        true => made,
        false => format!("{made} where {}", conditions.join(" and ")),
    }
}

fn summary_condition(condition: &SummaryCondition) -> String {
    match &condition.test {
        SummaryTest::Value(test) => {
            let field = FieldRef { is_joined: false, path: condition.path.clone() };
            let (test, refusal_reason) = (test.clone(), Reason::Condition);
            let or_no_patron = false;
            self::condition(&FieldCondition { field, test, refusal_reason, or_no_patron })
        }
        SummaryTest::SameAs { patron_path, or_else } => {
            let or_else = or_else.iter().map(|word| format!(", or else {}", quoted(Some(word))));
            let or_else: String = or_else.collect();
            format!("{} is the patron's {patron_path}{or_else}", condition.path)
        }
    }
}

fn sub_field_names(fields: &[SubField]) -> String {
    let names: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
    names.join(", ")
}

fn scalar_origin(projection: &FieldProjection) -> String {
    projection.from.as_ref().map(field_path).unwrap_or_default()
}

fn scalar_treatment(projection: &FieldProjection) -> String {
    let mut done = projection.mask.as_ref().map(Mask::describe).unwrap_or_default();
    if let Some(detectors) = &projection.detect {
        let names: Vec<_> = detectors.enabled_names().collect();
        let comma = if done.is_empty() { "" } else { ", " };
        done = format!("{done}{comma}without {}", names.join(", "));
    }
    match done.is_empty() {
        true => IN_FULL.to_owned(),
        false => done,
    }
}

/// What a mask reads beside its input, in words.
pub(super) fn mask_needs(projection: &FieldProjection) -> Vec<String> {
    let joined = projection.from.as_ref().is_some_and(|from| from.is_joined);
    let needs = projection.mask.as_ref().map(Mask::needs).unwrap_or_default();
    needs
        .into_iter()
        .map(|need| match need {
            MaskNeed::SourceField(path) => path,
            MaskNeed::Sibling(path) => {
                self::field_path(&FieldRef { is_joined: joined, path: path.to_owned() })
            }
            MaskNeed::Country => "country or library".to_owned(),
        })
        .collect()
}

/// A quoted text, or `(none)`.
pub(super) fn quoted(text: Option<&str>) -> String {
    text.map_or_else(|| "(none)".to_owned(), |text| format!("\"{}\"", escape_invisible(text)))
}

/// Escapes line breaks and invisible characters.
pub(super) fn escape_invisible(text: &str) -> String {
    let shown = |character: char| match character {
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        ' ' => " ".to_owned(),
        hidden if is_invisible(hidden) => format!("\\u{{{:X}}}", u32::from(hidden)),
        seen => seen.to_string(),
    };
    text.chars().map(shown).collect()
}

fn is_invisible(character: char) -> bool {
    use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};
    let group = character.general_category_group();
    matches!(
        group,
        GeneralCategoryGroup::Other | GeneralCategoryGroup::Separator | GeneralCategoryGroup::Mark
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_escaped() {
        assert_eq!(escape_invisible("a\u{AD}b\u{A0}c d"), "a\\u{AD}b\\u{A0}c d");
        assert_eq!(quoted(None), "(none)");
    }
}
