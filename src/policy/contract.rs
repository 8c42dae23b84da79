//! What a partner may rely on in a recipient's outputs: topics, key, fields and their forms,
//! headers. Follows from the policy alone, and has a version of its own.

use serde::Serialize;
use serde_json::{Value, json};

use super::Policy;
use super::canonical::sha256_hex;
use super::catalogue::{CatalogueField, FieldType, RecordKind};
use super::form::TextFormat;
use super::mask::{Mask, PSEUDONYM_EXAMPLE, PSEUDONYM_PATTERN};
use super::recipient::{
    ConditionLiteral, ConditionTest, DemandedPart, FieldProjection, FieldRef, OutputTopics,
    OutputValue, Recipient, RecordSummary, SubField, SummaryFunction, ValueFormat,
};

/// Part of every version: change it with what is promised beside the fields.
const CONTRACT_FORMAT: u32 = 1;
/// The length of a contract's version, in hexadecimal digits.
const VERSION_LEN: usize = 12;

/// The promise of one recipient's outputs.
#[derive(Clone, Debug, Serialize)]
pub struct OutputContract {
    /// The version of what is promised to every recipient alike.
    pub format: u32,
    pub recipient: String,
    /// Topic names without prefix, each with the receiving party where there are several.
    pub topics: Vec<ContractTopic>,
    /// Left out where it is JSON, so that this did not change any version.
    #[serde(skip_serializing_if = "ValueFormat::is_json")]
    pub value_format: ValueFormat,
    /// The path of the field whose pseudonym is the key.
    pub key_path: String,
    pub fields: Vec<ContractField>,
    /// How long outputs stay: term, start, and what follows, as in the policy's text.
    pub retention: String,
    /// Outputs are published once a month.
    pub is_monthly: bool,
    /// Timestamps are cut to the day, and retractions say no reason.
    pub is_pseudonymised: bool,
    /// How retractions are acknowledged, if they are. Without it the version is as it was before
    /// there were acknowledgements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledgement: Option<ContractAcknowledgement>,
}

/// What is promised the other way round.
#[derive(Clone, Debug, Serialize)]
pub struct ContractAcknowledgement {
    /// The name without prefix.
    pub topic: String,
    pub within: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct ContractTopic {
    pub name: String,
    pub party: Option<String>,
}

/// A field of an output, or of an object in one.
#[derive(Clone, Debug, Serialize)]
pub struct ContractField {
    pub name: String,
    pub form: FieldForm,
    /// What it is made of; several if the first one that is there is shown.
    pub origins: Vec<FieldOrigin>,
    pub made_as: FieldMaking,
    /// It is in every output.
    pub is_always_present: bool,
    /// It goes when the output is thinned.
    pub is_thinned: bool,
}

/// How a field is made of its origins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldMaking {
    /// Of one field of the record, or of its patron.
    Value,
    ChannelWord,
    ShelfSlip,
    DemandedValues,
    DemandedNumber,
    /// A sum over records of this kind.
    Sum(String),
    Count(String),
    /// A word if there is a record of this kind.
    Any(String),
    List(String),
    /// Of the id of the other patron that a grant names.
    NamedPatron,
}

/// A field of a record that is shown.
#[derive(Clone, Debug, Serialize)]
pub struct FieldOrigin {
    /// As in a recipient's file.
    pub path: String,
    /// The kind of record and its path, as `loan.item.title`.
    #[serde(skip)]
    pub catalogue_name: String,
    pub class: &'static str,
    pub meaning: String,
    #[serde(skip)]
    pub meaning_nl: Option<String>,
    /// The mask with all its arguments; empty without one.
    pub treatment: String,
    #[serde(skip)]
    pub mask: Option<Mask>,
    /// The field with the id of the other person whom it is about, if it is.
    #[serde(skip)]
    pub about: Option<FieldRef>,
    /// Detectors take out what they find.
    pub is_redacted: bool,
}

/// The form of a value.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldForm {
    Scalar(ScalarForm),
    /// One of several forms.
    OneOf(Vec<ScalarForm>),
    /// An object of these fields and no others, at least one of them.
    Object(Vec<ContractField>),
    /// A list of at least one element.
    List(Box<FieldForm>),
}

/// A single value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScalarForm {
    pub scalar_type: ScalarType,
    /// The only values; empty for any.
    pub words: Vec<Value>,
    /// Values that the catalogue lists; others may come.
    pub known_words: Vec<String>,
    /// A regular expression that the whole text matches.
    pub pattern: Option<String>,
    pub example: Value,
}

/// The type of a single value in JSON; dates and instants are text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum ScalarType {
    Text,
    Date,
    Instant,
    Integer,
    /// An integer that is not negative.
    Count,
    Boolean,
    TextOrNumber,
    /// A line for a printer, which may be empty.
    SlipLine,
}

impl OutputContract {
    /// Returns the contract of a recipient of `policy`.
    #[must_use]
    pub fn of_recipient(recipient: &Recipient, policy: &Policy) -> OutputContract {
        let topics = match &recipient.topics {
            OutputTopics::Single(name) => vec![ContractTopic { name: name.clone(), party: None }],
            OutputTopics::PerParty { topic_by_party, .. } => topic_by_party
                .iter()
                .map(|(party, name)| ContractTopic {
                    name: name.clone(),
                    party: Some(party.clone()),
                })
                .collect(),
        };
        let builder = ContractBuilder { recipient, policy };
        let retention = &recipient.retention;
        let after = retention.after.into_str();
        OutputContract {
            format: CONTRACT_FORMAT,
            recipient: recipient.name.clone(),
            topics,
            value_format: recipient.value_format,
            key_path: recipient.output_key_field.to_string(),
            fields: builder.fields(),
            retention: format!("{} from {}, {after}", retention.term, retention.start_field),
            is_monthly: recipient.period.is_some(),
            is_pseudonymised: recipient.is_pseudonymised,
            acknowledgement: recipient.acknowledgement.as_ref().map(|rule| {
                let (topic, within) = (rule.topic.clone(), rule.within.to_string());
                ContractAcknowledgement { topic, within }
            }),
        }
    }

    /// Returns the leaves of outputs, in their order.
    #[must_use]
    pub fn leaves(&self) -> Vec<ContractLeaf> {
        let mut leaves = Vec::new();
        push_leaves(&self.fields, "", &mut leaves);
        leaves
    }

    /// Returns the version: hexadecimal digits that change only if the contract does.
    #[must_use]
    pub fn version(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        let mut hex = sha256_hex(&text);
        hex.truncate(VERSION_LEN);
        hex
    }
}

/// A single value of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractLeaf {
    /// Member names with dots between them, and `[]` behind a list.
    pub path: String,
    /// The persons beside the record's patron whom it is about.
    pub about: Vec<OtherPerson>,
}

/// A person beside the patron of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OtherPerson {
    /// Whom a grant names.
    NamedPatron,
    /// By the field with the person's id.
    WithId(FieldRef),
}

fn push_leaves(fields: &[ContractField], before: &str, leaves: &mut Vec<ContractLeaf>) {
    for field in fields {
        let mut path = format!("{before}{}", field.name);
        let mut form = &field.form;
        while let FieldForm::List(element) = form {
            path.push_str("[]");
            form = element;
        }
        match form {
            FieldForm::Object(fields) => push_leaves(fields, &format!("{path}."), leaves),
            _ => {
                let is_named = field.made_as == FieldMaking::NamedPatron;
                let named = is_named.then_some(OtherPerson::NamedPatron);
                let with_id = field.origins.iter().filter_map(|origin| origin.about.clone());
                let mut about: Vec<OtherPerson> =
                    named.into_iter().chain(with_id.map(OtherPerson::WithId)).collect();
                about.dedup();
                leaves.push(ContractLeaf { path, about });
            }
        }
    }
}

/// Returns the fields of records of a kind, as objects and lists that are in each other.
#[must_use]
pub fn record_fields(kind: &RecordKind) -> Vec<ContractField> {
    nest_fields(kind.fields.iter().map(|field| (kind, field)), "", false)
}

/// A field with its kind.
type KindField<'a> = (&'a RecordKind, &'a CatalogueField);

/// Returns the tree of fields below a path prefix.
fn nest_fields<'a>(
    fields: impl Iterator<Item = KindField<'a>> + Clone,
    prefix: &str,
    is_joined: bool,
) -> Vec<ContractField> {
    let mut nested: Vec<ContractField> = Vec::new();
    for (kind, field) in fields.clone() {
        let Some(rest) = field.path.strip_prefix(prefix) else {
            continue;
        };
        let first = rest.split('.').next().unwrap_or(rest);
        let name = first.strip_suffix("[]").unwrap_or(first);
        if nested.iter().any(|one| one.name == name) {
            continue;
        }
        let is_leaf = first == rest;
        let form = match is_leaf {
            true => FieldForm::Scalar(catalogue_form(field)),
            false => {
                let below = format!("{prefix}{first}.");
                FieldForm::Object(nest_fields(fields.clone(), &below, is_joined))
            }
        };
        let form = if first.ends_with("[]") { FieldForm::List(Box::new(form)) } else { form };
        let origins = is_leaf.then(|| origin_of((kind, field), is_joined)).into_iter().collect();
        nested.push(plain_field(name, form, origins));
    }
    nested
}

fn plain_field(name: &str, form: FieldForm, origins: Vec<FieldOrigin>) -> ContractField {
    ContractField {
        name: name.to_owned(),
        form,
        origins,
        made_as: FieldMaking::Value,
        is_always_present: false,
        is_thinned: false,
    }
}

fn origin_of((kind, field): KindField<'_>, is_joined: bool) -> FieldOrigin {
    FieldOrigin {
        path: FieldRef { is_joined, path: field.path.clone() }.to_string(),
        catalogue_name: format!("{}.{}", kind.name, field.path),
        class: field.class.into_str(),
        meaning: field.meaning.clone(),
        meaning_nl: field.meaning_nl.clone(),
        treatment: String::new(),
        mask: None,
        about: kind
            .other_person_of(&field.path)
            .map(|path| FieldRef { is_joined, path: path.to_owned() }),
        is_redacted: false,
    }
}

fn scalar(scalar_type: ScalarType, pattern: Option<&str>, example: Value) -> ScalarForm {
    let pattern = pattern.map(str::to_owned);
    ScalarForm { scalar_type, words: Vec::new(), known_words: Vec::new(), pattern, example }
}

/// Returns the form of a field's values where they are copied.
fn catalogue_form(field: &CatalogueField) -> ScalarForm {
    let text = |pattern: &str, example: &str| {
        scalar(ScalarType::Text, Some(pattern), Value::from(example))
    };
    let form = match field.field_type {
        FieldType::Text(None) => {
            let example = field.allowed_values.first().map_or("voorbeeld", String::as_str);
            scalar(ScalarType::Text, None, Value::from(example))
        }
        FieldType::CardNumber => scalar(ScalarType::Text, None, json!("20013004567890")),
        FieldType::Integer => scalar(ScalarType::Integer, None, json!(1)),
        FieldType::Boolean => scalar(ScalarType::Boolean, None, json!(true)),
        FieldType::TextOrNumber => scalar(ScalarType::TextOrNumber, None, json!("12")),
        FieldType::Text(Some(TextFormat::Date)) => {
            let pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$";
            scalar(ScalarType::Date, Some(pattern), json!("2026-01-31"))
        }
        FieldType::Text(Some(TextFormat::Instant)) => {
            let pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]+)?\
                           (Z|[+-][0-9]{2}:[0-9]{2})$";
            scalar(ScalarType::Instant, Some(pattern), json!("2026-01-31T10:00:00Z"))
        }
        FieldType::Text(Some(TextFormat::Email)) => text("^[^@]+@[^@]+$", "jan@example.org"),
        FieldType::Text(Some(TextFormat::Phone)) => text("^[0-9()+./ -]+$", "06-00000000"),
        FieldType::Text(Some(TextFormat::Iban)) => text("^[A-Z0-9 .-]+$", "NL91ABNA0417164300"),
        FieldType::Text(Some(TextFormat::Bsn)) => text("^[0-9 .-]+$", "111222333"),
        FieldType::Text(Some(TextFormat::Rijksregisternummer)) => {
            text("^[0-9 .-]+$", "85.07.30-033.28")
        }
        FieldType::Text(Some(TextFormat::Isil)) => {
            text("^[A-Z]{1,4}-[A-Za-z0-9/:-]{1,11}$", "NL-AmrBKW")
        }
        FieldType::Text(Some(TextFormat::Currency)) => text("^[A-Z]{3}$", "EUR"),
    };
    ScalarForm { known_words: field.allowed_values.clone(), ..form }
}

/// Builds the fields of one recipient's contract.
struct ContractBuilder<'a> {
    recipient: &'a Recipient,
    policy: &'a Policy,
}

impl<'a> ContractBuilder<'a> {
    fn fields(&self) -> Vec<ContractField> {
        let thinned = self.recipient.thinned.as_ref();
        let is_thinned = |at: usize| thinned.is_some_and(|rule| rule.dropped_fields.contains(&at));
        let fields = self.recipient.output_fields.iter().enumerate();
        fields
            .map(|(at, field)| {
                let (form, origins, made_as) = self.field(&field.value);
                ContractField {
                    name: field.name.clone(),
                    form,
                    origins,
                    is_always_present: matches!(
                        made_as,
                        FieldMaking::ChannelWord | FieldMaking::NamedPatron
                    ) && !is_thinned(at),
                    made_as,
                    is_thinned: is_thinned(at),
                }
            })
            .collect()
    }

    fn field(&self, value: &OutputValue) -> (FieldForm, Vec<FieldOrigin>, FieldMaking) {
        use FieldMaking::{ChannelWord, DemandedNumber, DemandedValues, ShelfSlip, Value};
        match value {
            OutputValue::Scalar(projection) => {
                let form = FieldForm::Scalar(self.projected_form(projection));
                (form, self.projected_origin(projection), Value)
            }
            OutputValue::First(projections) => {
                let forms = projections.iter().map(|one| self.projected_form(one)).collect();
                let origins = projections.iter().flat_map(|one| self.projected_origin(one));
                (FieldForm::OneOf(forms), origins.collect(), Value)
            }
            OutputValue::Object { from, fields } => {
                let kind = self.kind_of(from);
                (FieldForm::Object(sub_fields(kind, fields, from.is_joined)), Vec::new(), Value)
            }
            OutputValue::ObjectList { from, fields } => {
                let element = sub_fields(self.kind_of(from), fields, from.is_joined);
                (list_of(FieldForm::Object(element)), Vec::new(), Value)
            }
            OutputValue::ScalarList { from } => {
                let field = self.catalogue_field(from);
                let form = field.map_or_else(any_text, |(_, field)| catalogue_form(field));
                let origins = field.map(|field| origin_of(field, from.is_joined));
                (list_of(FieldForm::Scalar(form)), origins.into_iter().collect(), Value)
            }
            OutputValue::Demanded { shows: DemandedPart::Values, .. } => {
                let kind = self.policy.patron_kind();
                let fields = kind
                    .into_iter()
                    .flat_map(|kind| kind.fields.iter().map(move |field| (kind, field)));
                let fields = fields.filter(|(_, field)| field.may_be_demanded());
                (FieldForm::Object(nest_fields(fields, "", true)), Vec::new(), DemandedValues)
            }
            OutputValue::Demanded { shows: DemandedPart::Number, .. } => {
                (FieldForm::Scalar(count_form()), Vec::new(), DemandedNumber)
            }
            OutputValue::ShelfSlip { .. } => {
                (list_of(FieldForm::Scalar(slip_line())), Vec::new(), ShelfSlip)
            }
            OutputValue::ChannelWord => {
                (FieldForm::Scalar(self.channel_form()), Vec::new(), ChannelWord)
            }
            OutputValue::Summary(summary) => self.summary(summary),
            OutputValue::NamedPatron => {
                let example = json!(PSEUDONYM_EXAMPLE);
                let form = scalar(ScalarType::Text, Some(PSEUDONYM_PATTERN), example);
                (FieldForm::Scalar(form), Vec::new(), FieldMaking::NamedPatron)
            }
        }
    }

    fn summary(&self, summary: &RecordSummary) -> (FieldForm, Vec<FieldOrigin>, FieldMaking) {
        let kind = self.policy.record_kinds.get(summary.kind_index);
        let name = summary.kind_name.clone();
        match &summary.function {
            SummaryFunction::Sum(path) => {
                let origin = kind.and_then(|kind| Some((kind, kind.field(path)?)));
                let origins = origin.map(|field| origin_of(field, false)).into_iter().collect();
                let form = scalar(ScalarType::Integer, None, json!(250));
                (FieldForm::Scalar(form), origins, FieldMaking::Sum(name))
            }
            SummaryFunction::Count => {
                (FieldForm::Scalar(count_form()), Vec::new(), FieldMaking::Count(name))
            }
            SummaryFunction::Any(word) => {
                let form = scalar(ScalarType::Text, None, json!(word));
                let form = ScalarForm { words: vec![json!(word)], ..form };
                (FieldForm::Scalar(form), Vec::new(), FieldMaking::Any(name))
            }
            SummaryFunction::List { fields, .. } => {
                let element = FieldForm::Object(sub_fields(kind, fields, false));
                (list_of(element), Vec::new(), FieldMaking::List(name))
            }
        }
    }

    fn channel_form(&self) -> ScalarForm {
        let channels = self.recipient.channel.iter().flat_map(|rule| &rule.channels);
        let mut words: Vec<Value> = Vec::new();
        for channel in channels {
            let word = Value::from(channel.medium.into_str());
            if !words.contains(&word) {
                words.push(word);
            }
        }
        let example = words.first().cloned().unwrap_or_default();
        ScalarForm { words, ..scalar(ScalarType::Text, None, example) }
    }

    fn kind_of(&self, field: &FieldRef) -> Option<&'a RecordKind> {
        match field.is_joined {
            true => self.policy.patron_kind(),
            false => self.policy.record_kinds.get(self.recipient.source_kind_index),
        }
    }

    fn catalogue_field(&self, from: &FieldRef) -> Option<KindField<'a>> {
        let kind = self.kind_of(from)?;
        Some((kind, kind.field(&from.path)?))
    }

    fn projected_form(&self, projection: &FieldProjection) -> ScalarForm {
        if projection.detect.is_some() {
            return any_text();
        }
        let field = projection.from.as_ref().and_then(|from| self.catalogue_field(from));
        let Some(mask) = &projection.mask else {
            let form = field.map_or_else(any_text, |(_, field)| catalogue_form(field));
            return match projection.from.as_ref().and_then(|from| self.words_by_condition(from)) {
                Some(words) => {
                    let example = words.first().cloned().unwrap_or_default();
                    ScalarForm { words, known_words: Vec::new(), example, ..form }
                }
                None => form,
            };
        };
        let form = mask.output_form();
        ScalarForm {
            words: form.words.into_iter().map(Value::from).collect(),
            pattern: form.pattern,
            ..scalar(ScalarType::Text, None, Value::from(form.example))
        }
    }

    /// Returns the only values of a field that a condition lets through.
    fn words_by_condition(&self, from: &FieldRef) -> Option<Vec<Value>> {
        let conditions = self.recipient.conditions.iter().filter(|one| one.field == *from);
        let literals = conditions.filter_map(|one| match &one.test {
            ConditionTest::OneOf(literals) => Some(literals),
            _ => None,
        });
        let value = |literal: &ConditionLiteral| match literal {
            ConditionLiteral::Text(text) => json!(text),
            ConditionLiteral::Boolean(truth) => json!(truth),
            ConditionLiteral::Integer(number) => json!(number),
        };
        literals.map(|all| all.iter().map(value).collect()).next()
    }

    fn projected_origin(&self, projection: &FieldProjection) -> Vec<FieldOrigin> {
        let Some(from) = &projection.from else {
            return Vec::new();
        };
        let Some(field) = self.catalogue_field(from) else {
            return Vec::new();
        };
        vec![FieldOrigin {
            treatment: projection.mask.as_ref().map(Mask::canonical).unwrap_or_default(),
            mask: projection.mask.clone(),
            is_redacted: projection.detect.is_some(),
            ..origin_of(field, from.is_joined)
        }]
    }
}

fn list_of(element: FieldForm) -> FieldForm {
    FieldForm::List(Box::new(element))
}

fn any_text() -> ScalarForm {
    scalar(ScalarType::Text, None, json!("voorbeeld"))
}

fn count_form() -> ScalarForm {
    scalar(ScalarType::Count, None, json!(2))
}

fn slip_line() -> ScalarForm {
    scalar(ScalarType::SlipLine, None, json!("Be J"))
}

fn sub_fields(
    kind: Option<&RecordKind>,
    fields: &[SubField],
    is_joined: bool,
) -> Vec<ContractField> {
    let sub_field = |one: &SubField| {
        let field = kind.and_then(|kind| Some((kind, kind.field(&one.path)?)));
        let form = field.map_or_else(any_text, |(_, field)| catalogue_form(field));
        let origins = field.map(|field| origin_of(field, is_joined)).into_iter().collect();
        plain_field(&one.name, FieldForm::Scalar(form), origins)
    };
    fields.iter().map(sub_field).collect()
}

impl ContractField {
    /// Returns an example of its value.
    #[must_use]
    pub fn example(&self) -> Value {
        example_of(&self.form)
    }
}

fn example_of(form: &FieldForm) -> Value {
    match form {
        FieldForm::Scalar(scalar) => scalar.example.clone(),
        FieldForm::OneOf(forms) => forms.first().map(|one| one.example.clone()).unwrap_or_default(),
        FieldForm::Object(fields) => example_object(fields),
        FieldForm::List(element) => Value::Array(vec![example_of(element)]),
    }
}

/// Returns an object with an example of each field, in their order.
#[must_use]
pub fn example_object(fields: &[ContractField]) -> Value {
    fields.iter().map(|field| (field.name.clone(), field.example())).collect()
}
