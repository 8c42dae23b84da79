//! Fields in words.

use super::Language;
use crate::policy::contract::{
    ContractField, FieldForm, FieldMaking, FieldOrigin, ScalarForm, ScalarType,
};

/// Returns what a field is, in one sentence.
#[must_use]
pub fn describe_field(field: &ContractField, language: Language) -> String {
    describe(field, language, describe_origin)
}

/// The same in short: meanings without what follows them, and masks in brackets.
#[must_use]
pub fn describe_field_in_short(field: &ContractField, language: Language) -> String {
    describe(field, language, describe_shown)
}

fn describe(
    field: &ContractField,
    language: Language,
    describe_origin: fn(&FieldOrigin, Language) -> String,
) -> String {
    let origins: Vec<String> =
        field.origins.iter().map(|origin| describe_origin(origin, language)).collect();
    let origins = origins.join(language.pick(", or else ", ", of anders "));
    let made = describe_making(&field.made_as, language);
    let parts = [made, origins].into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(": ")
}

/// Returns how a field is made that is more than a value of the source; empty for a value.
fn describe_making(making: &FieldMaking, language: Language) -> String {
    match making {
        FieldMaking::Value => String::new(),
        FieldMaking::ChannelWord => language
            .pick(
                "by which channel the patron is reached",
                "via welk kanaal de lener bereikt wordt",
            )
            .to_owned(),
        FieldMaking::ShelfSlip => language
            .pick(
                "the lines of a slip, made of the other fields",
                "de regels van een bon, gemaakt van de andere velden",
            )
            .to_owned(),
        FieldMaking::DemandedValues => language
            .pick(
                "of the patron's record the fields that the demand names, and no others",
                "van de lener de velden die de vordering noemt, en geen andere",
            )
            .to_owned(),
        FieldMaking::DemandedNumber => language
            .pick("how many fields the demand names", "hoeveel velden de vordering noemt")
            .to_owned(),
        FieldMaking::NamedPatron => language
            .pick(
                "the other patron, whom the consent names: a reference that is this recipient's alone",
                "de andere lener, die de toestemming noemt: een verwijzing die alleen deze ontvanger heeft",
            )
            .to_owned(),
        FieldMaking::Sum(kind) => match language {
            Language::English => {
                format!("the sum over the patron's records of kind {kind} that count")
            }
            Language::Dutch => format!("de som over de records {kind} van de lener die meetellen"),
        },
        FieldMaking::Count(kind) => match language {
            Language::English => format!("how many records of kind {kind} of the patron count"),
            Language::Dutch => format!("hoeveel records {kind} van de lener meetellen"),
        },
        FieldMaking::Any(kind) => match language {
            Language::English => format!("there if a record of kind {kind} of the patron counts"),
            Language::Dutch => format!("aanwezig als er een record {kind} van de lener meetelt"),
        },
        FieldMaking::List(kind) => match language {
            Language::English => format!("the patron's records of kind {kind} that count"),
            Language::Dutch => format!("de records {kind} van de lener die meetellen"),
        },
    }
}

fn describe_origin(origin: &FieldOrigin, language: Language) -> String {
    let mut text = meaning(origin, language).to_owned();
    for treatment in treatments(origin, language) {
        text = format!("{text}; {treatment}");
    }
    text
}

/// Returns what a field is made of, in short: its meaning without what follows it, and the mask in
/// brackets.
#[must_use]
pub fn describe_shown(origin: &FieldOrigin, language: Language) -> String {
    let meaning = meaning(origin, language);
    let mut text = meaning.split(';').next().unwrap_or(meaning).to_owned();
    for treatment in treatments(origin, language) {
        text = format!("{text} ({})", treatment.replace(';', ","));
    }
    text
}

fn meaning(origin: &FieldOrigin, language: Language) -> &str {
    let dutch = origin.meaning_nl.as_deref().unwrap_or(&origin.meaning);
    language.pick(&origin.meaning, dutch)
}

/// What is done to a value before it is shown.
fn treatments(origin: &FieldOrigin, language: Language) -> impl Iterator<Item = &'static str> {
    let masked = origin.mask.as_ref().map(|mask| {
        let def = mask.def();
        language.pick(def.description, def.description_nl)
    });
    let redacted = language.pick(
        "what looks like personal data is taken out",
        "wat op persoonsgegevens lijkt is eruit gehaald",
    );
    masked.into_iter().chain(origin.is_redacted.then_some(redacted))
}

/// Returns the type of a form, in words.
pub(super) fn describe_type(form: &FieldForm, language: Language) -> String {
    match form {
        FieldForm::Scalar(scalar) => scalar_type(scalar.scalar_type, language).to_owned(),
        FieldForm::OneOf(forms) => {
            let mut words: Vec<&str> = Vec::new();
            for form in forms {
                let word = scalar_type(form.scalar_type, language);
                if !words.contains(&word) {
                    words.push(word);
                }
            }
            words.join(language.pick(" or ", " of "))
        }
        FieldForm::Object(_) => language.pick("object", "object").to_owned(),
        FieldForm::List(element) => {
            let element = describe_type(element, language);
            match language {
                Language::English => format!("list of {element}"),
                Language::Dutch => format!("lijst van {element}"),
            }
        }
    }
}

fn scalar_type(scalar: ScalarType, language: Language) -> &'static str {
    match scalar {
        ScalarType::Text => language.pick("text", "tekst"),
        ScalarType::SlipLine => language.pick("text, may be empty", "tekst, mag leeg zijn"),
        ScalarType::Date => language.pick("date", "datum"),
        ScalarType::Instant => language.pick("instant", "tijdstip"),
        ScalarType::Integer => language.pick("integer", "geheel getal"),
        ScalarType::Count => language.pick("integer, 0 or more", "geheel getal, 0 of meer"),
        ScalarType::Boolean => language.pick("true or false", "true of false"),
        ScalarType::TextOrNumber => language.pick("text or number", "tekst of getal"),
    }
}

/// Returns which values a form has, in words; empty for any.
pub(super) fn describe_values(form: &FieldForm, language: Language) -> String {
    match form {
        FieldForm::Scalar(scalar) => scalar_values(scalar, language),
        FieldForm::OneOf(forms) => {
            let all: Vec<String> = forms
                .iter()
                .map(|form| scalar_values(form, language))
                .filter(|text| !text.is_empty())
                .collect();
            all.join("; ")
        }
        FieldForm::List(element) => describe_values(element, language),
        FieldForm::Object(_) => String::new(),
    }
}

fn scalar_values(scalar: &ScalarForm, language: Language) -> String {
    let quoted = |words: Vec<String>| words.join(", ");
    if !scalar.words.is_empty() {
        let words = scalar.words.iter().map(|word| format!("`{}`", plain(word)));
        let only = language.pick("only", "alleen");
        return format!("{only} {}", quoted(words.collect()));
    }
    if !scalar.known_words.is_empty() {
        let words = scalar.known_words.iter().map(|word| format!("`{word}`"));
        let known = language.pick("known", "bekend");
        let others = language.pick("others may come", "er kunnen andere komen");
        return format!("{known}: {}; {others}", quoted(words.collect()));
    }
    match scalar.scalar_type {
        ScalarType::Date => language.pick("YYYY-MM-DD", "JJJJ-MM-DD").to_owned(),
        ScalarType::Instant => "RFC 3339".to_owned(),
        _ => scalar.pattern.iter().map(|pattern| format!("`{pattern}`")).collect(),
    }
}

/// Returns a JSON value as people read it: text without quotes.
pub(super) fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
