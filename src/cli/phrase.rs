//! The policy in words: a condition, a field, a term, as people read them.
//!
//! Words of the config are kept as they stand there.

use crate::policy::Policy;
use crate::policy::canonical::{class_word, legal_basis_word};
use crate::policy::influence::{self, Way};
use crate::policy::mask::{Mask, Need, SurnameKey};
use crate::policy::recipient::{
    After, Agreement, Authorisation, Condition, ConsentGate, FieldRef, Libraries, Literal,
    OutputField, OutputValue, PaperAfter, Period, Projection, Recipient, Retention, SubField, Test,
};
use crate::policy::term::Term;

/// A path as a recipient's file has it.
pub(super) fn path(field: &FieldRef) -> String {
    let prefix = if field.joined { "patron." } else { "" };
    format!("{prefix}{}", field.path)
}

/// A condition as a sentence.
pub(super) fn condition(condition: &Condition) -> String {
    let path = path(&condition.field);
    match &condition.test {
        Test::Present => format!("{path} is present"),
        Test::Absent => format!("{path} is absent"),
        Test::Is(literals) => {
            let words: Vec<_> = literals.iter().map(literal).collect();
            format!("{path} is {}", words.join(" or "))
        }
    }
}

fn literal(literal: &Literal) -> String {
    match literal {
        Literal::Text(text) => text.clone(),
        Literal::Boolean(truth) => truth.to_string(),
        Literal::Integer(number) => number.to_string(),
    }
}

/// A consent gate as a sentence.
pub(super) fn consent(gate: &ConsentGate) -> String {
    let how = if gate.explicit {
        "explicit, written"
    } else {
        "written or digital"
    };
    let implied = match &gate.implied_by {
        Some(event) => format!(", implied by {}", path(event)),
        None => String::new(),
    };
    format!("{how} consent for {}{implied}", gate.purpose)
}

/// A retention as a sentence.
pub(super) fn retention(retention: &Retention) -> String {
    let after = match retention.after {
        After::Retract => "then it is taken back",
        After::Forget => "then zeef forgets it",
    };
    format!(
        "{} from {}, {after}",
        term(retention.term),
        path(&retention.from)
    )
}

/// When a recipient's outputs are published, as a sentence.
pub(super) fn period(period: &Period) -> String {
    format!(
        "once a month: a record in the first run after the month of its {}, sorted by output key; \
         what is taken back, once a day",
        path(&period.of)
    )
}

/// How long a recipient may have something, whichever term ends first.
fn kept(recipient: &Recipient, policy: &Policy) -> String {
    let own = retention(&recipient.retention);
    if policy
        .kinds
        .get(recipient.source)
        .is_none_or(|kind| !kind.keyed)
    {
        return own;
    }
    if let Some(why) = &recipient.outlives_membership {
        return format!("{own}; also after the membership, as {why}");
    }
    format!(
        "{own}; at most until {} after the end of the membership",
        term(policy.patron_term)
    )
}

fn term(term: Term) -> String {
    let parts: Vec<_> = [
        (term.years, "year"),
        (term.months, "month"),
        (term.days, "day"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, unit)| super::exit::counted(usize::from(number), unit))
    .collect();
    parts.join(" and ")
}

/// Which objections stop a recipient; `None` where its records have no patron.
pub(super) fn objection(recipient: &Recipient, policy: &Policy) -> Option<String> {
    let kind = policy.kinds.get(recipient.source)?;
    if !kind.keyed {
        return None;
    }
    let mut causes = Vec::new();
    if recipient.marketing {
        causes.push("objects to direct marketing, once and for ever".to_owned());
    }
    if recipient.yields_to_objections() {
        causes.push(format!(
            "objects for special circumstances, to {} or to all, and that is not dismissed",
            recipient.purpose
        ));
    }
    if !causes.is_empty() && !policy.asks_consent_for(&recipient.purpose) {
        causes.push(format!("refuses {}", recipient.purpose));
    }
    Some(match causes.is_empty() {
        true => format!(
            "none: the basis is {}",
            legal_basis_word(recipient.legal_basis)
        ),
        false => format!("the patron {}", causes.join("; or ")),
    })
}

/// An agreement as a sentence.
fn agreement(paper: &Agreement) -> String {
    format!(
        "{}, in force from {} to {}, with clauses on {}; {}",
        paper.reference,
        paper.from,
        paper.until,
        paper.clauses.join(", "),
        paper_after(paper.after),
    )
}

/// An authorisation as a sentence.
fn authorisation(paper: &Authorisation) -> String {
    let place = match paper.jurisdiction.as_str() {
        "" => String::new(),
        place => format!(" in {place}"),
    };
    format!(
        "{}, approved by {} on {}, in force from {} to {}{place}; {}",
        paper.reference,
        paper.approved_by,
        paper.approved_on,
        paper.first_day(),
        paper.until,
        paper_after(paper.after),
    )
}

fn paper_after(after: PaperAfter) -> &'static str {
    match after {
        PaperAfter::Keep => "outside of that nothing is sent, and what it has stays",
        PaperAfter::Retract => "outside of that nothing is sent, and what it has is taken back",
    }
}

/// The name of the kind of record that a recipient gets something of.
pub(super) fn source<'a>(recipient: &Recipient, policy: &'a Policy) -> &'a str {
    let kind = policy.kinds.get(recipient.source);
    kind.map_or("", |kind| kind.name.as_str())
}

/// What is said of a recipient, line by line: a word, and its text.
pub(super) fn recipient(recipient: &Recipient, policy: &Policy) -> Vec<(&'static str, String)> {
    let basis = legal_basis_word(recipient.legal_basis);
    let mut lines = vec![
        ("topic", recipient.topics.to_string()),
        (
            "for",
            format!("{} ({})", recipient.purpose_text, recipient.purpose),
        ),
        ("basis", format!("{basis}{}", flows(recipient))),
        ("of", records(recipient, source(recipient, policy))),
    ];
    if let Libraries::Only(libraries) = &recipient.libraries {
        lines.push(("libraries", libraries.join(", ")));
    }
    if let [first, rest @ ..] = recipient.stages.as_slice() {
        let rest: Vec<_> = rest.iter().map(path).collect();
        let stages = format!(
            "{}, and not before it {}",
            path(first),
            rest.join(", then ")
        );
        lines.push(("in order", stages));
    }
    if recipient.loan_history {
        let text = "returned loans too, but none of a patron who keeps no loan history";
        lines.push(("history", text.to_owned()));
    }
    if let Some(gate) = &recipient.consent {
        lines.push(("behind", consent(gate)));
    }
    if let Some(text) = objection(recipient, policy) {
        lines.push(("unless", text));
    }
    if let Some(paper) = &recipient.agreement {
        lines.push(("agreement", agreement(paper)));
    }
    if let Some(paper) = &recipient.authorisation {
        lines.push(("authorised", authorisation(paper)));
    }
    if recipient.pseudonymised {
        let text = "pseudonymised, never anonymous: what a row says may point at a person";
        lines.push(("data", text.to_owned()));
    }
    if let Some(period) = &recipient.period {
        lines.push(("published", self::period(period)));
    }
    lines.push(("kept", kept(recipient, policy)));
    lines.push(("key", format!("pseudonym of {}", path(&recipient.key))));
    for reason in [&recipient.credential_reason, &recipient.free_text_reason] {
        lines.extend(reason.iter().map(|reason| ("reason", reason.clone())));
    }
    lines.push(("looks at", looked_at(recipient, policy)));
    lines.push(("gets", String::new()));
    lines
}

/// One way in which a field influences what a recipient has, in words.
pub(super) struct InfluenceText {
    pub(super) path: String,
    pub(super) class: &'static str,
    pub(super) seen: &'static str,
    pub(super) how: String,
    /// It stands among the output fields.
    pub(super) is_output: bool,
}

/// All that influences what a recipient has, each way once.
pub(super) fn influences(recipient: &Recipient, policy: &Policy) -> Vec<InfluenceText> {
    let mut all: Vec<InfluenceText> = Vec::new();
    for one in influence::influences(recipient, &policy.kinds) {
        let text = InfluenceText {
            path: path(&one.at),
            class: class_word(one.field.class),
            seen: one.seen.as_str(),
            how: one.way.describe(recipient),
            is_output: matches!(one.way, Way::Field(_)),
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

/// More fields than these that are left out of one output field are only counted.
const LEFT_OUT_SHOWN_MAX: usize = 5;

/// What decides beside the values of output fields.
fn looked_at(recipient: &Recipient, policy: &Policy) -> String {
    let mut texts: Vec<String> = Vec::new();
    let all = influences(recipient, policy);
    let beside = all.iter().filter(|one| !one.is_output);
    for one in beside.clone() {
        let alike = beside.clone().filter(|other| other.how == one.how).count();
        let text = match one.how.starts_with("left out of") && alike > LEFT_OUT_SHOWN_MAX {
            true => format!("{alike} fields ({}, {})", one.seen, one.how),
            false => format!("{} ({}, {})", one.path, one.seen, one.how),
        };
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts.join("; ")
}

fn flows(recipient: &Recipient) -> String {
    match recipient.flows.as_slice() {
        [] => String::new(),
        flows => format!(" (flow {})", flows.join(", ")),
    }
}

fn records(recipient: &Recipient, source: &str) -> String {
    let conditions: Vec<_> = recipient.when.iter().map(condition).collect();
    match conditions.as_slice() {
        [] => format!("every {source}"),
        conditions => format!("each {source} where {}", conditions.join(" and ")),
    }
}

/// What is said of a value that is shown as it stands.
const IN_FULL: &str = "in full";

/// Where an output field comes from, and what is done to it.
pub(super) fn field(field: &OutputField, all: &[OutputField]) -> (String, String) {
    match &field.value {
        OutputValue::Scalar(projection) => (scalar_from(projection), scalar_done(projection)),
        OutputValue::Object { from, fields } | OutputValue::List { from, fields } => {
            (path(from), format!("only {}", names(fields)))
        }
        OutputValue::Scalars { from } => (path(from), IN_FULL.to_owned()),
        OutputValue::Slip {
            mark,
            initial,
            rest,
        } => {
            let places = [*mark, *initial].into_iter().chain(rest.iter().copied());
            let names = places.filter_map(|place| all.get(place));
            let names: Vec<_> = names.map(|field| field.name.as_str()).collect();
            (names.join(", "), "shelf_slip".to_owned())
        }
    }
}

fn names(fields: &[SubField]) -> String {
    let names: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
    names.join(", ")
}

fn scalar_from(projection: &Projection) -> String {
    projection.from.as_ref().map(path).unwrap_or_default()
}

fn scalar_done(projection: &Projection) -> String {
    let mut done = projection.mask.as_ref().map(mask).unwrap_or_default();
    if let Some(detectors) = &projection.detect {
        let names: Vec<_> = detectors.names().collect();
        let comma = if done.is_empty() { "" } else { ", " };
        done = format!("{done}{comma}without {}", names.join(", "));
    }
    match done.is_empty() {
        true => IN_FULL.to_owned(),
        false => done,
    }
}

/// What a mask looks at beside its input, in words.
pub(super) fn needs(projection: &Projection) -> Vec<String> {
    let joined = projection.from.as_ref().is_some_and(|from| from.joined);
    let needs = projection
        .mask
        .as_ref()
        .map(Mask::needs)
        .unwrap_or_default();
    needs
        .into_iter()
        .map(|need| match need {
            Need::Source(path) => path,
            Need::Sibling(path) => self::path(&FieldRef {
                joined,
                path: path.to_owned(),
            }),
            Need::Country => "country or library".to_owned(),
        })
        .collect()
}

/// A mask with the settings that it has.
pub(super) fn mask(mask: &Mask) -> String {
    let name = mask_name(mask);
    let settings = match mask {
        Mask::FirstLetters { count, key } => match key {
            SurnameKey::ByCountry => count.to_string(),
            SurnameKey::Kernwoord => format!("{count}, kernwoord"),
            SurnameKey::Full => format!("{count}, full"),
        },
        Mask::Initial { ij_is_one: false } => "I for IJ".to_owned(),
        Mask::LastDigits { count, min_hidden } => format!("{count}, {min_hidden} hidden at least"),
        Mask::AgeBand { at, .. } => format!("on {at}"),
        Mask::Constant { value } => format!("\"{value}\""),
        Mask::Pseudonym {
            month_of: Some(path),
        } => format!("by month of {path}"),
        Mask::Initial { .. }
        | Mask::FullName
        | Mask::Year
        | Mask::Month
        | Mask::PostcodeArea
        | Mask::Present
        | Mask::Lowercase
        | Mask::Pseudonym { month_of: None }
        | Mask::ShelfSlip { .. } => String::new(),
    };
    if settings.is_empty() {
        name.to_owned()
    } else {
        format!("{name} ({settings})")
    }
}

/// A mask's name in a recipient's file.
pub(super) fn mask_name(mask: &Mask) -> &'static str {
    match mask {
        Mask::FirstLetters { .. } => "first_letters",
        Mask::Initial { .. } => "initial",
        Mask::LastDigits { .. } => "last_digits",
        Mask::FullName => "full_name",
        Mask::Year => "year",
        Mask::Month => "month",
        Mask::AgeBand { .. } => "age_band",
        Mask::PostcodeArea => "postcode_area",
        Mask::Present => "present",
        Mask::Constant { .. } => "constant",
        Mask::Lowercase => "lowercase",
        Mask::Pseudonym { .. } => "pseudonym",
        Mask::ShelfSlip { .. } => "shelf_slip",
    }
}

/// A text between quotes, or that there is none.
pub(super) fn quoted(text: Option<&str>) -> String {
    text.map_or_else(
        || "(none)".to_owned(),
        |text| format!("\"{}\"", visible(text)),
    )
}

/// A text on one line, in which characters that cannot be seen can be told.
pub(super) fn visible(text: &str) -> String {
    let shown = |character: char| match character {
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        ' ' => " ".to_owned(),
        hidden if is_hidden(hidden) => format!("\\u{{{:X}}}", u32::from(hidden)),
        seen => seen.to_string(),
    };
    text.chars().map(shown).collect()
}

fn is_hidden(character: char) -> bool {
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
    use crate::policy::mask::MASKS;

    #[test]
    fn hidden_characters_can_be_told() {
        assert_eq!(visible("a\u{AD}b\u{A0}c d"), "a\\u{AD}b\\u{A0}c d");
        assert_eq!(quoted(None), "(none)");
    }

    #[test]
    fn every_mask_has_the_name_of_its_row() {
        for def in MASKS {
            for example in def.examples.iter().take(1) {
                let given = example
                    .arguments
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).into()))
                    .collect();
                if let Ok(mask) = def.build(&given) {
                    assert_eq!(mask_name(&mask), def.name);
                }
            }
        }
    }
}
