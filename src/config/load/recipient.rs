//! Reads a file of `config/recipients`: a recipient, resolved against the catalogue.

use strum::VariantArray as _;
use toml::de::DeValue;

use super::acknowledgement::{read_acknowledgement, read_consumer_group};
use super::condition::read_record_condition;
use super::confidentiality::read_confidentiality;
use super::field::{self, Profile};
use super::kind::require_name;
use super::paper::{self, PaperFolders};
use super::path::{FieldResolver, PathShape, ResolvedPath};
use super::term::read_term;
use crate::config::document::{
    Located, Mistake, TomlTable, describe_value, join_quoted, nearest_name,
};
use crate::config::lint;
use crate::config::settings::MaskDefaults;
use crate::policy::catalogue::{CatalogueField, DataClass, FieldType, RecordKind, Role};
use crate::policy::detect::{CustomDetectors, WordList};
use crate::policy::flow::FLOWS;
use crate::policy::form::TextFormat;
use crate::policy::influence::InfluenceChannel;
use crate::policy::name::{ISIL_CODE, KEBAB_CASE_NAME, TOPIC_NAME};
use crate::policy::paper::ReviewState;
use crate::policy::reason::Reason;
use crate::policy::recipient::{
    Channel, ChannelRule, ConditionLiteral, ConditionTest, ConsentEventRule, ConsentGiverFields,
    ConsentRule, FieldCondition, FieldRef, LegalBasis, Medium, NOW, NamedPatronRule, OutputField,
    OutputTopics, OutputValue, ProcessingRegister, PublicationPeriod, Recipient, RetentionAction,
    RetentionRule, ServedLibraries, SpecialWordsRule, ThinningRule, ValueFormat,
};
use crate::policy::term::Term;

pub(crate) struct RecipientContext<'a> {
    pub(crate) kinds: &'a [RecordKind],
    /// Kinds whose files cannot be read; references to them are not checked.
    pub(crate) unreadable_kinds: &'a [String],
    /// Kind and path of fields with an invalid type or class.
    pub(crate) untyped_fields: &'a [(String, String)],
    pub(crate) mask_defaults: &'a MaskDefaults,
    /// The papers that several recipients may share.
    pub(crate) papers: &'a PaperFolders,
    pub(crate) word_lists: &'a [WordList],
    pub(crate) custom_detectors: &'a CustomDetectors,
    /// Lists whose files cannot be read; references to them are not checked.
    pub(crate) unreadable_word_lists: &'a [String],
}

impl<'a> RecipientContext<'a> {
    /// Returns what finds the fields that a recipient of the kind `source` names.
    fn resolver(&self, source: Option<usize>) -> FieldResolver<'a> {
        FieldResolver {
            kinds: self.kinds,
            unreadable_kinds: self.unreadable_kinds,
            source: source.and_then(|index| self.kinds.get(index)),
            patron: self.kinds.iter().find(|kind| kind.role == Role::Patron),
            untyped_fields: self.untyped_fields,
            is_patron_unreadable: self.unreadable_kinds.iter().any(|name| name == "patron"),
        }
    }

    fn profile_defaults(&self) -> field::ProfileDefaults<'a> {
        field::ProfileDefaults {
            masks: self.mask_defaults,
            custom_detectors: self.custom_detectors,
        }
    }
}

/// A recipient, with the lines of its parts.
pub(crate) struct RecipientDraft {
    pub(crate) recipient: Recipient,
    pub(crate) is_enabled: bool,
    pub(crate) file: String,
    /// `recipient.source_kind_index` is valid.
    pub(crate) is_source_known: bool,
    /// Every condition was valid.
    pub(crate) has_all_conditions: bool,
    pub(crate) lines: RecipientLines,
}

/// Lines of a recipient's file.
#[derive(Default)]
pub(crate) struct RecipientLines {
    pub(crate) topic: usize,
    pub(crate) format: usize,
    pub(crate) key: usize,
    pub(crate) purpose: usize,
    pub(crate) legal_basis: usize,
    pub(crate) consent: usize,
    pub(crate) retention: usize,
    pub(crate) thinned: usize,
    pub(crate) role: usize,
    pub(crate) agreement: Option<usize>,
    pub(crate) authorisation: Option<usize>,
    pub(crate) requires: usize,
    pub(crate) channel: usize,
    pub(crate) excludes: usize,
    pub(crate) source: usize,
    pub(crate) stages: usize,
    pub(crate) pseudonymised: usize,
    pub(crate) without_patron: usize,
    pub(crate) ack: usize,
    /// `None` without the key.
    pub(crate) confidential: Option<usize>,
    /// By output field.
    pub(crate) fields: Vec<usize>,
    /// By condition.
    pub(crate) conditions: Vec<usize>,
}

impl RecipientLines {
    /// Returns the line by which a field has its influence.
    pub(crate) fn line_of(&self, channel: InfluenceChannel) -> usize {
        let at = |lines: &[usize], index: usize| lines.get(index).copied();
        match channel {
            InfluenceChannel::OutputField(index)
            | InfluenceChannel::Demanded(index)
            | InfluenceChannel::MaskNeed(index)
            | InfluenceChannel::OmissionTest(index) => {
                at(&self.fields, index).unwrap_or(self.source)
            }
            InfluenceChannel::Condition(index) => {
                at(&self.conditions, index).unwrap_or(self.source)
            }
            InfluenceChannel::Stage(_) => self.stages,
            InfluenceChannel::OutputKey | InfluenceChannel::OutputKeyNeed => self.key,
            InfluenceChannel::Topic => self.topic,
            InfluenceChannel::Retention => self.retention,
            InfluenceChannel::Thinning => self.thinned,
            InfluenceChannel::ImpliedConsent => self.consent,
            InfluenceChannel::Channel => self.channel,
            InfluenceChannel::Gate => self.source,
        }
    }
}

const PROCESSOR_ROLES: &[(&str, bool)] = &[("processor", true), ("controller", false)];

const MINOR_RULES: &[(&str, ())] = &[("guardian", ())];

const OBJECTION_EFFECTS: &[(&str, ())] = &[("stop", ())];

// What is expected of a setting, as a mistake in it says.
const PURPOSE_TEXT_EXPECTED: &str = "the purpose, in a sentence for people";
const PSEUDONYMISED_EXPECTED: &str = "whether nothing in it names a person";
const OUTLIVES_EXPECTED: &str = "why data of a patron is released after the membership's term";
const WITHOUT_PATRON_EXPECTED: &str = "why its outputs need no patron at all";
const EXCLUDES_EXPECTED: &str = "names of recipients that no library has beside it";
const CREDENTIAL_EXPECTED: &str = "why card number and birth go together";
const FREE_TEXT_EXPECTED: &str = "why free text is not read by all detectors";

/// Reads one recipient, with stand-ins for invalid parts.
pub(crate) fn read_recipient(
    table: &TomlTable<'_>,
    stem: &str,
    context: &RecipientContext<'_>,
) -> RecipientDraft {
    check_name(table, stem);
    let (source, resolved) = read_source(table, context);
    let resolver = context.resolver(source);
    let mut profile = field::read_profile(table, &resolver, context.profile_defaults());
    let scopes = read_scopes(table, &mut profile);
    let conditions = read_conditions(table, &resolver);
    let retention = read_retention(table, &resolver);
    let loan_history = read_loan_history(table, &resolver);
    let thinned = read_thinned(table, &resolver, &profile.fields, loan_history);
    let (stages, stages_end_now) = read_stages(table, &resolver);
    let (confidentiality, told_unless) = read_confidentiality(table, &resolver);
    let pseudonymised = table.boolean_or("pseudonymised", false, PSEUDONYMISED_EXPECTED);
    let recipient = Recipient {
        name: stem.to_owned(),
        title: required_string(table, "title", "what the recipient is called, for people"),
        topics: read_topics(table, &resolver),
        value_format: read_value_format(table),
        source_kind_index: source.unwrap_or_default(),
        purpose: read_purpose(table),
        purpose_text: required_string(table, "purpose_text", PURPOSE_TEXT_EXPECTED),
        legal_basis: read_legal_basis(table),
        controller: required_string(table, "controller", "who answers for it (GDPR art. 30)"),
        register: read_register(table),
        libraries: read_libraries(table),
        is_for_own_borrowers: read_own_borrowers(table, &resolver),
        output_key_field: read_output_key(table, &resolver),
        conditions: conditions.when,
        stages,
        stages_end_now,
        channel: read_channel(table, &resolver, &profile),
        output_fields: profile.fields,
        consent: read_minors(table, &resolver, read_consent_gate(table, &resolver)),
        period: read_period(table, &resolver, pseudonymised, &retention),
        retention,
        thinned,
        special_words: read_special_words(table, &resolver, context),
        is_loan_history: loan_history,
        is_marketing: table.boolean_or("marketing", false, "whether its purpose is marketing"),
        stops_on_objection: read_stops_on_objection(table),
        outlives_membership: optional_string(table, "outlives_membership", OUTLIVES_EXPECTED),
        without_patron: optional_string(table, "without_patron", WITHOUT_PATRON_EXPECTED),
        is_pseudonymised: pseudonymised,
        is_processor: read_is_processor(table),
        agreement: paper::read_agreement(table, context.papers),
        authorisation: paper::read_authorisation(table, context.papers),
        omits_national_cards: read_omits_national_cards(table),
        papers: paper::read_papers(table),
        review: read_review(table),
        members: conditions.members,
        scopes,
        excludes: read_names(table, "excludes", EXCLUDES_EXPECTED),
        credential_reason: optional_string(table, "credential_reason", CREDENTIAL_EXPECTED),
        free_text_reason: optional_string(table, "free_text_reason", FREE_TEXT_EXPECTED),
        flows: read_flows(table),
        acknowledgement: read_acknowledgement(table),
        consumer_group: read_consumer_group(table, stem),
        confidentiality,
        told_unless,
    };
    check_named_patrons(table, &recipient, (resolved, &profile.field_lines));
    RecipientDraft {
        recipient,
        is_enabled: table.boolean_or("enabled", true, "whether it is served"),
        file: table.file().to_owned(),
        is_source_known: resolved,
        has_all_conditions: conditions.is_complete,
        lines: collect_lines(table, profile.field_lines, conditions.lines),
    }
}

fn required_string(table: &TomlTable<'_>, key: &str, expected: &str) -> String {
    table.require_string(key, expected).map_or_else(String::new, |at| at.value)
}

fn optional_string(table: &TomlTable<'_>, key: &str, expected: &str) -> Option<String> {
    table.string(key, expected).map(|at| at.value)
}

fn read_value_format(table: &TomlTable<'_>) -> ValueFormat {
    let words = ValueFormat::VARIANTS.iter().map(|&one| (one.into_str(), one));
    let words: Vec<_> = words.collect();
    let format = table.choice("format", &words, "how its outputs are written on Kafka");
    format.map_or_else(ValueFormat::default, |at| at.value)
}

fn read_own_borrowers(table: &TomlTable<'_>, resolver: &FieldResolver<'_>) -> bool {
    const EXPECTED: &str = "whether it gets only records of their patron's own library";
    let is_set = table.boolean_or("own_borrowers", false, EXPECTED);
    if is_set && resolver.source.is_some_and(|kind| !kind.is_keyed_by_patron) {
        let line = table.line_of_key("own_borrowers");
        let expected = "a source whose records belong to patrons: it says nothing here";
        table.report_mistake(line, "`own_borrowers` of records without patrons", expected);
    }
    is_set
}

/// The word that leaves out card numbers that are national numbers.
const NATIONAL_CARD_EFFECTS: &[(&str, ())] = &[("omit", ())];

fn read_omits_national_cards(table: &TomlTable<'_>) -> bool {
    const EXPECTED: &str = "what is done with a card number that is the national number";
    table.choice("national_card", NATIONAL_CARD_EFFECTS, EXPECTED).is_some()
}

/// The words of `status`.
const RULE_STATUSES: &[(&str, bool)] = &[("pending", true), ("settled", false)];

/// Reads whether the rule is settled, and where its fields come from.
fn read_review(table: &TomlTable<'_>) -> ReviewState {
    let status = table.choice("status", RULE_STATUSES, "whether the rule is settled");
    let why = "why the rule is not settled";
    let reason = table.string("pending_reason", why);
    let is_pending = status.as_ref().is_some_and(|at| at.value);
    match (&status, &reason) {
        (Some(at), None) if at.value && !table.contains_key("pending_reason") => {
            let expected = format!("`pending_reason` beside it: {why}");
            table.report_mistake(at.line, "`status` is \"pending\" without a reason", expected);
        }
        (_, Some(at)) if !is_pending => {
            let expected = "`status = \"pending\"` beside it";
            table.report_mistake(at.line, "`pending_reason` of a settled rule", expected);
        }
        _ => {}
    }
    let source = table.word("fields_source", "where the list of fields comes from");
    ReviewState {
        pending_reason: reason.map(|at| at.value).filter(|_| is_pending),
        fields_source: source.map(|at| at.value),
    }
}

fn read_names(table: &TomlTable<'_>, key: &str, expected: &str) -> Vec<String> {
    let names = table.strings(key, expected).map_or_else(Vec::new, |at| at.value);
    names.into_iter().map(|at| at.value).collect()
}

/// Reads the libraries of a network, and the condition that the patron's is one of them.
fn read_members(
    table: &TomlTable<'_>,
    resolver: &FieldResolver<'_>,
) -> Option<(Vec<String>, Option<FieldCondition>)> {
    let at = table.strings("members", "the ISILs of the network's libraries")?;
    let members = isils(table, at.value);
    let path = match resolver.source.map(|source| source.role) {
        Some(Role::Patron) => "library",
        _ => "patron.library",
    };
    let found = resolver.resolve(table, at.line, path);
    let condition = found.filter(|_| !members.is_empty()).map(|found| FieldCondition {
        field: found.field_ref,
        test: ConditionTest::OneOf(members.iter().cloned().map(ConditionLiteral::Text).collect()),
        refusal_reason: Reason::Condition,
        or_no_patron: false,
    });
    Some((members, condition))
}

/// Reports each text that is no ISIL.
fn isils(table: &TomlTable<'_>, texts: Vec<Located<String>>) -> Vec<String> {
    for text in texts.iter().filter(|text| !(ISIL_CODE.is_valid)(&text.value)) {
        let found = format!("library \"{}\"", text.value);
        table.report_mistake(text.line, found, ISIL_CODE.description);
    }
    texts.into_iter().map(|text| text.value).collect()
}

/// Reads the channels by which a patron is reached.
fn read_channel(
    table: &TomlTable<'_>,
    resolver: &FieldResolver<'_>,
    profile: &Profile,
) -> Option<ChannelRule> {
    const EXPECTED: &str = "{ first = [\"PATH\", ...] }: the channels, best first";
    let mut fields = profile.fields.iter().zip(&profile.field_lines);
    let word = fields.find(|(field, _)| matches!(field.value, OutputValue::ChannelWord));
    if let (Some((field, line)), false) = (word, table.contains_key("channel")) {
        let found = format!("field `{}`, where no channel is chosen", field.name);
        table.report_mistake(*line, found, format!("`channel = {EXPECTED}`"));
    }
    let inner = table.table("channel", EXPECTED)?;
    inner.require_key("first", EXPECTED, None);
    let paths = inner.strings("first", EXPECTED);
    let is_required =
        inner.boolean_or("required", true, "whether nothing is sent without any of them");
    inner.finish();
    let paths = paths?;
    if paths.value.len() < 2 {
        inner.report_mistake(paths.line, "fewer than two channels in `first`", EXPECTED);
    }
    let found = paths.value.iter().filter_map(|at| {
        let found = resolver.resolve(&inner, at.line, &at.value)?;
        let channel = channel_of_path(&found);
        if channel.is_none() && found.is_typed {
            let text = format!("a channel by `{}`", at.value);
            let expected =
                "an e-mail address, a phone number, or an address with a street or a postcode";
            inner.report_mistake(at.line, text, expected);
        }
        channel
    });
    Some(ChannelRule { channels: found.collect(), is_required })
}

/// `None` for what reaches nobody.
fn channel_of_path(found: &ResolvedPath<'_>) -> Option<Channel> {
    let from = found.field_ref.clone();
    let below = |name: &str| FieldRef { path: format!("{}.{name}", from.path), ..from.clone() };
    match found.shape {
        PathShape::Scalar(field) => {
            let medium = match field.field_type {
                FieldType::Text(Some(TextFormat::Email)) => Medium::Email,
                FieldType::Text(Some(TextFormat::Phone)) => Medium::Phone,
                _ => return None,
            };
            Some(Channel { medium, present_by: vec![from.clone()], from })
        }
        PathShape::Object => {
            let known = found.child_names();
            let parts = ["street", "postcode"].into_iter();
            let parts = parts.filter(|name| known.iter().any(|child| child == name));
            let present_by: Vec<_> = parts.map(below).collect();
            (!present_by.is_empty()).then_some(Channel { medium: Medium::Post, from, present_by })
        }
        PathShape::ObjectList | PathShape::ScalarList(_) => None,
    }
}

/// Reads the names of the only fields that are sent, and removes the others; an empty list, with
/// which the recipient is not switched on, removes none.
fn read_scopes(table: &TomlTable<'_>, profile: &mut Profile) -> Option<Vec<String>> {
    let at = table.strings("scopes", "the names in `fields` that are sent")?;
    let is_slip = |value: &OutputValue| matches!(value, OutputValue::ShelfSlip { .. });
    if profile.fields.iter().any(|field| is_slip(&field.value)) {
        let expected = "none: the lines of a slip are made of the other fields";
        table.report_mistake(at.line, "`scopes` beside a slip", expected);
        return None;
    }
    let known = profile.all_names();
    for scope in at.value.iter().filter(|scope| !known.contains(&scope.value)) {
        let suggestion = nearest_name(&scope.value, known.iter().map(String::as_str));
        let found = format!("scope \"{}\"", scope.value);
        let mistake = Mistake::new(table.file(), scope.line, found, "a name in `fields`");
        table.push_mistake(mistake.with_suggestion(suggestion));
    }
    let scopes: Vec<String> = at.value.into_iter().map(|scope| scope.value).collect();
    if !scopes.is_empty() {
        profile.keep_only(&scopes);
    }
    Some(scopes)
}

fn read_is_processor(table: &TomlTable<'_>) -> bool {
    let role = table.choice("role", PROCESSOR_ROLES, "what the recipient is to the law");
    role.is_some_and(|at| at.value)
}

fn read_stops_on_objection(table: &TomlTable<'_>) -> bool {
    const EXPECTED: &str = "whether objections stop it whatever its legal basis";
    table.choice("objections", OBJECTION_EFFECTS, EXPECTED).is_some()
}

/// Reads the record of processing besides the controller.
fn read_register(table: &TomlTable<'_>) -> ProcessingRegister {
    let text = |key, expected| {
        let at = table.string(key, expected);
        at.map_or_else(String::new, |at| at.value)
    };
    ProcessingRegister {
        contact: text("contact", "how to reach who answers for it"),
        persons: text("persons", "the categories of persons"),
        transfers: text("transfers", "transfers to other countries"),
        security: text("security", "how it is secured"),
    }
}

/// Reads a topic, or one for each receiving party.
fn read_topics(table: &TomlTable<'_>, resolver: &FieldResolver<'_>) -> OutputTopics {
    const EXPECTED: &str =
        "the topic that it is published on, or { by = \"PATH\", of = { \"PARTY\" = \"TOPIC\" } }";
    let inner = table.value("topic").and_then(|at| table.as_table(at.value, at.line));
    let Some(inner) = inner else {
        let topic = require_name(table, "topic", TOPIC_NAME, EXPECTED);
        return OutputTopics::Single(topic.map_or_else(String::new, |at| at.value));
    };
    let party_path =
        inner.require_string("by", "the path of the field that names the receiving party");
    inner.require_key("of", "each receiving party and its topic", None);
    let parties = inner.table("of", "each receiving party and its topic");
    inner.finish();
    let mut topic_by_party = Vec::new();
    if let Some(parties) = &parties {
        for (party, _) in parties.entries() {
            let topic = require_name(parties, &party.value, TOPIC_NAME, "the topic of this party");
            topic_by_party.extend(topic.map(|topic| (party.value, topic.value)));
        }
        if topic_by_party.is_empty() {
            let mistake = Mistake::new(
                parties.file(),
                parties.line(),
                "no topic that can be used",
                "at least one party",
            );
            parties.push_mistake(mistake.with_rule(lint::PAPERS_RULE));
        }
    }
    let found = party_path.and_then(|path| {
        let found = resolver.resolve(&inner, path.line, &path.value)?;
        let is_text = found.field_matches(|field| matches!(field.field_type, FieldType::Text(_)));
        if !is_text || !matches!(found.shape, PathShape::Scalar(_)) {
            inner.report_mistake(
                path.line,
                format!("topics by `{}`", path.value),
                "one field of text",
            );
        }
        Some(found.field_ref)
    });
    OutputTopics::PerParty { party_field: found.unwrap_or_else(empty_field_ref), topic_by_party }
}

fn collect_lines(
    table: &TomlTable<'_>,
    fields: Vec<usize>,
    conditions: Vec<usize>,
) -> RecipientLines {
    RecipientLines {
        topic: table.line_of_key("topic"),
        format: table.line_of_key("format"),
        key: table.line_of_key("key"),
        purpose: table.line_of_key("purpose"),
        legal_basis: table.line_of_key("legal_basis"),
        consent: table.line_of_key("consent"),
        retention: table.line_of_key("retention"),
        thinned: table.line_of_key("thinned"),
        role: table.line_of_key("role"),
        agreement: table.value("agreement").map(|at| at.line),
        authorisation: table.value("authorisation").map(|at| at.line),
        requires: table.line_of_key("requires"),
        channel: table.line_of_key("channel"),
        excludes: table.line_of_key("excludes"),
        source: table.line_of_key("source"),
        stages: table.line_of_key("stages"),
        pseudonymised: table.line_of_key("pseudonymised"),
        without_patron: table.line_of_key("without_patron"),
        ack: table.line_of_key("ack"),
        confidential: table.value("confidential").map(|at| at.line),
        fields,
        conditions,
    }
}

fn check_name(table: &TomlTable<'_>, stem: &str) {
    let name =
        require_name(table, "name", KEBAB_CASE_NAME, "the recipient's name, which is the file's");
    if let Some(at) = &name
        && at.value != stem
    {
        let found = format!("`name` is \"{}\"", at.value);
        table.report_mistake(at.line, found, format!("\"{stem}\", as the file is called"));
    }
    if let Some(at) = name
        && RESERVED_NAMES.contains(&at.value.as_str())
    {
        let found = format!("`name` is \"{}\"", at.value);
        let expected = "another name: folders, consumer groups and users of that name are zeef's";
        table.report_mistake(at.line, found, expected.to_owned());
    }
}

/// Names of zeef's own folder, consumer groups and users.
const RESERVED_NAMES: &[&str] = &[
    "zeef",
    "zeef-admin",
    "zeef-ledger",
    "zeef-repair",
    "zeef-repartition",
    "zeef-resync",
    "zeef-values",
    "operator",
];

/// Returns the index of the source if known, and whether it is.
fn read_source(table: &TomlTable<'_>, context: &RecipientContext<'_>) -> (Option<usize>, bool) {
    let Some(at) = table.require_string("source", "the kind of record that it is made of") else {
        return (None, false);
    };
    if context.unreadable_kinds.contains(&at.value) {
        return (None, false);
    }
    if let Some(index) = context.kinds.iter().position(|kind| kind.name == at.value) {
        return (Some(index), true);
    }
    let names: Vec<_> = context.kinds.iter().map(|kind| kind.name.clone()).collect();
    let suggestion = nearest_name(&at.value, names.iter().map(String::as_str));
    let found = format!("unknown kind of record `{}`", at.value);
    let expected = format!("one of {}", join_quoted(&names));
    table.push_mistake(
        Mistake::new(table.file(), at.line, found, expected).with_suggestion(suggestion),
    );
    (None, false)
}

fn read_purpose(table: &TomlTable<'_>) -> String {
    const EXPECTED: &str = "the id of the purpose, as consents and objections carry it";
    table.require_key("purpose", EXPECTED, Some(lint::PURPOSE_RULE));
    read_purpose_id(table, EXPECTED).unwrap_or_default()
}

fn read_purpose_id(table: &TomlTable<'_>, expected: &str) -> Option<String> {
    let at = table.string("purpose", expected)?;
    if !(KEBAB_CASE_NAME.is_valid)(&at.value) {
        table.report_mistake(
            at.line,
            format!("`purpose` is \"{}\"", at.value),
            KEBAB_CASE_NAME.description,
        );
    }
    Some(at.value)
}

fn read_legal_basis(table: &TomlTable<'_>) -> LegalBasis {
    const EXPECTED: &str = "the legal basis (GDPR art. 6)";
    table.require_key("legal_basis", EXPECTED, Some(lint::LEGAL_BASIS_RULE));
    table.word("legal_basis", EXPECTED).map_or(LegalBasis::Contract, |at| at.value)
}

fn read_libraries(table: &TomlTable<'_>) -> ServedLibraries {
    const EXPECTED: &str = "\"all\", or a list of ISILs";
    table.require_key("libraries", EXPECTED, None);
    let Some(at) = table.value("libraries") else {
        return ServedLibraries::All;
    };
    match at.value.get_ref() {
        DeValue::String(word) if word == "all" => return ServedLibraries::All,
        DeValue::Array(_) => {}
        other => {
            table.report_mistake(
                at.line,
                format!("`libraries` is {}", describe_value(other)),
                EXPECTED,
            );
            return ServedLibraries::All;
        }
    }
    let texts = table.strings("libraries", EXPECTED).map_or_else(Vec::new, |at| at.value);
    if texts.is_empty() {
        table.report_mistake(at.line, "no library in `libraries`", EXPECTED);
    }
    ServedLibraries::Only(isils(table, texts))
}

/// Stands in for an unknown path.
fn empty_field_ref() -> FieldRef {
    FieldRef { is_joined: false, path: String::new() }
}

fn read_output_key(table: &TomlTable<'_>, resolver: &FieldResolver<'_>) -> FieldRef {
    const EXPECTED: &str =
        "{ pseudonym = \"PATH\" }, of the identifier that the output key is made of";
    table.require_key("key", EXPECTED, None);
    let Some(inner) = table.table("key", EXPECTED) else {
        return empty_field_ref();
    };
    let at = inner.require_string("pseudonym", "the path of an identifier");
    inner.finish();
    let Some(at) = at else {
        return empty_field_ref();
    };
    let Some(found) = resolver.resolve(&inner, at.line, &at.value) else {
        return empty_field_ref();
    };
    if let Err(expected) = check_output_key(&found) {
        inner.report_mistake(at.line, format!("a key of `{}`", at.value), expected);
    }
    found.field_ref
}

/// Checks that a key identifies one output for its whole life.
fn check_output_key(found: &ResolvedPath<'_>) -> Result<(), &'static str> {
    let PathShape::Scalar(field) = found.shape else {
        return Err("one identifier");
    };
    let text = |field: &CatalogueField| {
        matches!(field.field_type, FieldType::Text(_) | FieldType::CardNumber)
    };
    if !found.field_matches(|field| text(field) && field.class == DataClass::Identifier) {
        return Err("a field of the class `identifier`");
    }
    if !found
        .field_matches(|field| !field.field_type.is_date_or_instant() && !field.is_birth_date())
    {
        return Err("an identifier: all dates can be tried out");
    }
    if found.field_ref.is_joined || (found.kind.role != Role::Patron && field.path == "patron_id") {
        return Err("the record's own id: two records of one patron would have one key");
    }
    Ok(())
}

/// Reads whether the recipient receives returned loans; only kinds with a status that are keyed by
/// patron have any.
fn read_loan_history(table: &TomlTable<'_>, resolver: &FieldResolver<'_>) -> bool {
    let Some(at) = table.boolean("loan_history", "whether it gets returned loans") else {
        return false;
    };
    let patron = resolver.patron.or(resolver.source);
    let missing_field = [(resolver.source, "status"), (patron, "loan_history")]
        .into_iter()
        .find(|(kind, path)| kind.is_some_and(|kind| kind.field(path).is_none()));
    if let (true, Some((Some(kind), path))) = (at.value, missing_field) {
        let found = format!("`loan_history`, where {} has no field `{path}`", kind.name);
        table.report_mistake(at.line, found, "a source whose records are open or returned");
        return false;
    }
    at.value
}

/// The valid conditions.
struct ParsedConditions {
    when: Vec<FieldCondition>,
    /// By condition.
    lines: Vec<usize>,
    /// None was invalid.
    is_complete: bool,
    /// The libraries of a network, which are one of the conditions.
    members: Option<Vec<String>>,
}

fn read_conditions(table: &TomlTable<'_>, resolver: &FieldResolver<'_>) -> ParsedConditions {
    let expected = "conditions, as { field = \"status\", is = [\"open\"] }";
    let tables = table.tables("when", expected);
    let read = tables.iter();
    let (mut when, mut lines): (Vec<_>, Vec<_>) = read
        .filter_map(|inner| Some((read_record_condition(inner, resolver)?, inner.line())))
        .unzip();
    let is_complete =
        when.len() == tables.len() && (!when.is_empty() || !table.contains_key("when"));
    let members = read_members(table, resolver).map(|(members, condition)| {
        when.extend(condition);
        lines.resize(when.len(), table.line_of_key("members"));
        members
    });
    ParsedConditions { when, lines, is_complete, members }
}

/// Reads the stages in order: all instants or all dates, so that both sides of a comparison are
/// equally fine. Also returns whether the last word is `now`, as none may be later.
fn read_stages(table: &TomlTable<'_>, resolver: &FieldResolver<'_>) -> (Vec<FieldRef>, bool) {
    const EXPECTED: &str = "at least two instants or dates of the record, in the order in which \
                            they must follow each other; `now` may be the last";
    let Some(mut all) = table.strings("stages", EXPECTED) else {
        return (Vec::new(), false);
    };
    let ends_now = all.value.pop_if(|last| last.value == NOW).is_some();
    if all.value.len() < 2 {
        table.report_mistake(all.line, "fewer than two fields in `stages`", EXPECTED);
    }
    let mut stages: Vec<(FieldRef, Option<FieldType>)> = Vec::new();
    for at in all.value {
        let Some(found) = resolver.resolve(table, at.line, &at.value) else {
            continue;
        };
        let report = |found: &str, expected: &str| {
            table.report_mistake(at.line, format!("the stage `{}`{found}", at.value), expected);
        };
        let kind = match found.shape {
            PathShape::Scalar(field) if found.is_typed => Some(field.field_type),
            _ => None,
        };
        let unlike = |(_, other): &(FieldRef, Option<FieldType>)| other.is_some() && *other != kind;
        if found.field_ref.is_joined {
            report("", "a field of the record itself");
        } else if !matches!(found.shape, PathShape::Scalar(_))
            || !found.field_matches(|field| field.field_type.is_date_or_instant())
        {
            report("", "one instant, or one date");
        } else if kind.is_some() && stages.iter().any(unlike) {
            report(" beside others", "all of them instants, or all of them dates");
        }
        stages.push((found.field_ref, kind));
    }
    (stages.into_iter().map(|(at, _)| at).collect(), ends_now)
}

fn read_consent_gate(table: &TomlTable<'_>, resolver: &FieldResolver<'_>) -> Option<ConsentRule> {
    let inner = table.table("consent", "the consent that is needed: `purpose`")?;
    const EXPECTED: &str = "the purpose that the consent is for";
    inner.require_key("purpose", EXPECTED, None);
    let gate = ConsentRule {
        purpose: read_purpose_id(&inner, EXPECTED).unwrap_or_default(),
        implied_by: read_consent_event(&inner, resolver),
        is_explicit: inner.boolean_or("explicit", false, "whether it must be explicit and written"),
        needs_guardian_for_minors: false,
        named_patrons: read_named_patrons(&inner, resolver),
    };
    inner.finish();
    Some(gate)
}

/// What a consent may give one output for.
const CONSENT_PARTS: &[(&str, ())] = &[("recipient", ())];

/// Reads whether each patron that a grant names gives an output of its own.
fn read_named_patrons(
    table: &TomlTable<'_>,
    resolver: &FieldResolver<'_>,
) -> Option<NamedPatronRule> {
    const EXPECTED: &str = "what of a grant there is one output for";
    let lasts = table.contains_key("lasts").then(|| read_term(table, "lasts"));
    let Some(at) = table.choice("each", CONSENT_PARTS, EXPECTED) else {
        if lasts.is_some() && !table.contains_key("each") {
            let expected = "`each = \"recipient\"` beside it: only a grant that names a patron lasts \
                            for a term";
            table.report_mistake(table.line_of_key("lasts"), "`lasts` without `each`", expected);
        }
        return None;
    };
    if resolver.source.is_some_and(|kind| kind.role != Role::Patron) {
        let expected = "a source of patrons: a grant names one patron to another";
        table.report_mistake(at.line, "`each` of a recipient of other records", expected);
    }
    for key in ["implied_by", "by_record"] {
        if table.contains_key(key) {
            let found = format!("`{key}` beside `each`");
            let expected = "none: only a consent on record names a patron";
            table.report_mistake(table.line_of_key(key), found, expected);
        }
    }
    Some(NamedPatronRule { lasts: lasts.flatten() })
}

/// Checks that what only a recipient of named patrons may have stands in no other's file, and
/// that such a recipient has nothing that its outputs cannot have. Where the source is not known,
/// nothing is checked: its consent is not known either.
fn check_named_patrons(
    table: &TomlTable<'_>,
    recipient: &Recipient,
    (is_source_known, field_lines): (bool, &[usize]),
) {
    if !is_source_known {
        return;
    }
    let mut fields = recipient.output_fields.iter().zip(field_lines);
    if !recipient.is_for_named_patrons() {
        let named = fields.find(|(field, _)| matches!(field.value, OutputValue::NamedPatron));
        if let Some((field, line)) = named {
            let found = format!("field `{}`, where a consent names no patron", field.name);
            let expected = "`consent = { ..., each = \"recipient\" }`";
            table.report_mistake(*line, found, expected);
        }
        return;
    }
    let key = &recipient.output_key_field;
    if !key.path.is_empty() && key.path != "patron_id" {
        let found = format!("a key of `{key}` beside `each`");
        let expected = "`patron_id`: the named patron's id is hashed behind it";
        table.report_mistake(table.line_of_key("key"), found, expected);
    }
    for (is_set, name) in [
        (recipient.is_pseudonymised, "pseudonymised"),
        (recipient.is_marketing, "marketing"),
        (recipient.special_words.is_some(), "special_words"),
        (recipient.thinned.is_some(), "thinned"),
    ] {
        if is_set {
            let found = format!("`{name}` beside `each`");
            let expected = "none: an output for a named patron has no such rule";
            table.report_mistake(table.line_of_key(name), found, expected);
        }
    }
}

/// Reads who decides for minors, and adds it to the consent that is asked for.
fn read_minors(
    table: &TomlTable<'_>,
    resolver: &FieldResolver<'_>,
    mut consent: Option<ConsentRule>,
) -> Option<ConsentRule> {
    let Some(at) = table.choice("minors", MINOR_RULES, "who decides for a minor") else {
        return consent;
    };
    let Some(rule) = &mut consent else {
        let expected = "`consent`, which a guardian can give";
        table.report_mistake(at.line, "`minors` without a consent", expected);
        return None;
    };
    rule.needs_guardian_for_minors = true;
    let source = resolver.source?;
    let patron = if source.role == Role::Patron { Some(source) } else { resolver.patron };
    let born_on = patron.and_then(|kind| kind.field("birth_date"));
    let is_date =
        |field: &CatalogueField| field.field_type == FieldType::Text(Some(TextFormat::Date));
    let is_unknown = resolver.is_patron_unreadable
        || resolver.untyped_fields.iter().any(|(_, path)| path == "birth_date");
    if !source.is_keyed_by_patron || !(is_unknown || born_on.is_some_and(is_date)) {
        let expected = "a source of patrons whose kind has a date `birth_date`";
        table.report_mistake(at.line, "`minors` where nobody knows the age", expected);
    }
    consent
}

/// Reads what counts as a grant beside consents on record: an event of the patron, or the record.
fn read_consent_event(
    table: &TomlTable<'_>,
    resolver: &FieldResolver<'_>,
) -> Option<ConsentEventRule> {
    let implied_by = read_implied_by(table, resolver);
    let by_record = read_consent_by_record(table, resolver);
    if table.contains_key("implied_by") && table.contains_key("by_record") {
        let line = table.line_of_key("by_record");
        table.report_mistake(line, "`by_record` beside `implied_by`", "one of the two");
    }
    by_record.or_else(|| Some(ConsentEventRule { at: implied_by?, giver: None }))
}

/// Reads the fields that make the record itself a grant.
fn read_consent_by_record(
    table: &TomlTable<'_>,
    resolver: &FieldResolver<'_>,
) -> Option<ConsentEventRule> {
    const EXPECTED: &str = "{ at = \"at\", given_by = \"given_by\", adult = \"adult\" }";
    let inner = table.table("by_record", EXPECTED)?;
    if resolver.source.is_some_and(|kind| kind.role == Role::Patron) {
        let expected = "records of another kind, each of which is a consent";
        table.report_mistake(inner.line(), "`by_record` of a recipient of patrons", expected);
    }
    let [at, given_by, adult] = RECORD_CONSENT_FIELDS.map(|field| field.read(&inner, resolver));
    inner.finish();
    let giver = Some(ConsentGiverFields { given_by: given_by?, adult: adult? });
    Some(ConsentEventRule { at: at?, giver })
}

/// A field of the record itself, by the key of `by_record` that names it.
#[derive(Clone, Copy)]
struct RecordConsentField {
    key: &'static str,
    expected: &'static str,
    fits: fn(&CatalogueField) -> bool,
}

const RECORD_CONSENT_FIELDS: [RecordConsentField; 3] = [
    RecordConsentField {
        key: "at",
        expected: "a date or an instant of the record itself",
        fits: |field| field.field_type.is_date_or_instant(),
    },
    RecordConsentField {
        key: "given_by",
        expected: "a text of the record itself that is `patron` or `guardian`",
        fits: |field| {
            let is_allowed = |word: &str| field.allowed_values.iter().any(|one| one == word);
            field.field_type == FieldType::Text(None)
                && field.allowed_values.len() == 2
                && is_allowed("patron")
                && is_allowed("guardian")
        },
    },
    RecordConsentField {
        key: "adult",
        expected: "a truth value of the record itself",
        fits: |field| field.field_type == FieldType::Boolean,
    },
];

impl RecordConsentField {
    fn read(self, table: &TomlTable<'_>, resolver: &FieldResolver<'_>) -> Option<FieldRef> {
        let at = table.require_string(self.key, self.expected)?;
        let found = resolver.resolve(table, at.line, &at.value)?;
        let is_single = matches!(found.shape, PathShape::Scalar(_));
        if found.field_ref.is_joined || !is_single || !found.field_matches(self.fits) {
            let text = format!("`{}` is \"{}\"", self.key, at.value);
            table.report_mistake(at.line, text, self.expected);
        }
        Some(found.field_ref)
    }
}

/// Reads the event, a date or an instant of the patron; `patron.` is optional.
fn read_implied_by(table: &TomlTable<'_>, paths: &FieldResolver<'_>) -> Option<FieldRef> {
    let at = table.string("implied_by", "the path of a date or an instant of the patron")?;
    let source = paths.source?;
    let own = source.role == Role::Patron;
    let path = match at.value.strip_prefix("patron.") {
        Some(path) if own => path,
        _ => &at.value,
    };
    let found = paths.resolve(table, at.line, path)?;
    let of_patron = own || found.field_ref.is_joined;
    let is_dated = found.field_matches(|field| field.field_type.is_date_or_instant());
    let single = matches!(found.shape, PathShape::Scalar(_));
    if !(of_patron && is_dated && single) {
        let text = format!("`implied_by` is \"{}\"", at.value);
        table.report_mistake(at.line, text, "a date or an instant of the patron");
    }
    Some(found.field_ref)
}

/// Reads the text that withholds a record by the words in it.
fn read_special_words(
    table: &TomlTable<'_>,
    resolver: &FieldResolver<'_>,
    context: &RecipientContext<'_>,
) -> Option<SpecialWordsRule> {
    const EXPECTED: &str = "{ field = \"description\", list = \"special_words\" }";
    let inner = table.table("special_words", EXPECTED)?;
    let path = inner.require_string("field", "the path of a text of the record");
    let list = inner.require_string("list", "a list of `config/detectors`");
    inner.finish();
    let (path, list) = (path?, list?);
    let found = resolver.resolve(&inner, path.line, &path.value);
    let words = context.word_lists.iter().find(|one| one.name == list.value);
    if words.is_none() && !context.unreadable_word_lists.contains(&list.value) {
        let names = context.word_lists.iter().map(|one| one.name.as_str());
        let near = nearest_name(&list.value, names);
        let text = format!("unknown list `{}`", list.value);
        let expected = "a list of words in `config/detectors`";
        let mistake = Mistake::new(inner.file(), list.line, text, expected);
        inner.push_mistake(mistake.with_suggestion(near));
    }
    let found = found?;
    let is_text = matches!(found.shape, PathShape::Scalar(_))
        && found.field_matches(|field| field.field_type == FieldType::Text(None));
    if found.field_ref.is_joined || !is_text {
        let text = format!("`special_words` in `{}`", path.value);
        inner.report_mistake(path.line, text, "a text of the record itself");
    }
    Some(SpecialWordsRule { field: found.field_ref, words: words?.clone() })
}

fn read_retention(table: &TomlTable<'_>, resolver: &FieldResolver<'_>) -> RetentionRule {
    const EXPECTED: &str = "{ term = \"P1Y\", from = \"PATH\", after = \"retract\" }";
    table.require_key("retention", EXPECTED, Some(lint::RETENTION_RULE));
    let mut retention = RetentionRule {
        term: Term { years: 0, months: 0, days: 0 },
        start_field: empty_field_ref(),
        after: RetentionAction::Retract,
    };
    let Some(inner) = table.table("retention", EXPECTED) else {
        return retention;
    };
    if let Some(term) = read_term(&inner, "term") {
        retention.term = term;
    }
    if let Some(field) = read_term_start(&inner, resolver) {
        retention.start_field = field;
    }
    let after = "what happens then";
    inner.require_key(
        "after",
        "`retract` (it is taken back) or `forget` (the partner may keep it)",
        None,
    );
    if let Some(at) = inner.word("after", after) {
        retention.after = at.value;
    }
    inner.finish();
    retention
}

/// Reads the required field that a term runs from.
fn read_term_start(table: &TomlTable<'_>, resolver: &FieldResolver<'_>) -> Option<FieldRef> {
    let at = table.require_string("from", "the path of a date or an instant")?;
    let found = resolver.resolve(table, at.line, &at.value)?;
    let single = matches!(found.shape, PathShape::Scalar(_));
    if !single || !found.field_matches(|field| field.field_type.is_date_or_instant()) {
        let found = format!("a term from `{}`", at.value);
        table.report_mistake(at.line, found, "a date or an instant");
    }
    Some(found.field_ref)
}

/// What thins an output, beside a term.
#[derive(Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
enum ThinningCause {
    Gone,
    LoanHistoryOff,
}

/// Reads which fields an output goes without, and when.
fn read_thinned(
    table: &TomlTable<'_>,
    resolver: &FieldResolver<'_>,
    fields: &[OutputField],
    is_loan_history: bool,
) -> Option<ThinningRule> {
    const EXPECTED: &str = "{ drop = [\"FIELD\"], on = [\"gone\", \"loan_history_off\"] }, or \
                            `after = \"P90D\"` and `from = \"PATH\"`, or all of them";
    let inner = table.table("thinned", EXPECTED)?;
    let dropped_fields = read_dropped_fields(&inner, (fields, &field_names(table)));
    let causes = read_thinning_causes(&inner, resolver, is_loan_history);
    let (has_term, has_start) = (inner.contains_key("after"), inner.contains_key("from"));
    if !has_term && !has_start && !inner.contains_key("on") {
        inner.report_mistake(inner.line(), "`thinned` without `on` and `after`", EXPECTED);
    }
    let after = (has_term || has_start)
        .then(|| (read_term(&inner, "after"), read_term_start(&inner, resolver)));
    inner.finish();
    Some(ThinningRule {
        dropped_fields,
        when_gone: causes.contains(&ThinningCause::Gone),
        when_history_off: causes.contains(&ThinningCause::LoanHistoryOff),
        after: after.and_then(|(term, from)| term.zip(from)),
    })
}

/// The names of all output fields, of those with mistakes too.
fn field_names(table: &TomlTable<'_>) -> Vec<String> {
    match table.value("fields").map(|at| at.value.get_ref()) {
        Some(DeValue::Table(fields)) => {
            fields.keys().map(|name| name.get_ref().to_string()).collect()
        }
        _ => Vec::new(),
    }
}

/// Reads the indices of the fields that are left out, of those without mistakes. A slip prints
/// other fields, and goes with them.
fn read_dropped_fields(
    table: &TomlTable<'_>,
    (fields, names): (&[OutputField], &[String]),
) -> Vec<usize> {
    const EXPECTED: &str = "the output fields that are left out";
    table.require_key("drop", EXPECTED, None);
    let Some(listed) = table.strings("drop", EXPECTED) else {
        return Vec::new();
    };
    if listed.value.is_empty() {
        table.report_mistake(listed.line, "no field in `drop`", EXPECTED);
    }
    let unknown = listed.value.iter().filter(|name| !names.contains(&name.value));
    for name in unknown {
        let suggestion = nearest_name(&name.value, names.iter().map(String::as_str));
        let found = format!("no output field `{}`", name.value);
        table.push_mistake(
            Mistake::new(table.file(), name.line, found, EXPECTED).with_suggestion(suggestion),
        );
    }
    let is_listed = |field: &OutputField| listed.value.iter().any(|one| one.value == field.name);
    let dropped: Vec<usize> =
        (0..fields.len()).filter(|index| is_listed(&fields[*index])).collect();
    for (index, field) in fields.iter().enumerate() {
        if let OutputValue::ShelfSlip { shelf_mark_index, initial_index, line_indices } =
            &field.value
            && !dropped.contains(&index)
            && let mut printed = [shelf_mark_index, initial_index].into_iter().chain(line_indices)
            && let Some(part) = printed.find(|part| dropped.contains(part))
        {
            let part = fields.get(*part).map_or("", |part| part.name.as_str());
            let found = format!("`{part}` in `drop`, which `{}` prints", field.name);
            table.report_mistake(listed.line, found, format!("`{}` in it, too", field.name));
        }
    }
    dropped
}

/// Reads what thins an output at once: only what the source's records can tell.
fn read_thinning_causes(
    table: &TomlTable<'_>,
    resolver: &FieldResolver<'_>,
    is_loan_history: bool,
) -> Vec<ThinningCause> {
    const EXPECTED: &str = "`gone`, `loan_history_off`, or both";
    let Some(words) = table.strings("on", EXPECTED) else {
        return Vec::new();
    };
    if words.value.is_empty() {
        table.report_mistake(words.line, "nothing in `on`", EXPECTED);
    }
    let mut causes = Vec::new();
    for word in &words.value {
        let choices = <ThinningCause as strum::VariantArray>::VARIANTS.iter().copied();
        let cause = choices.clone().find(|one| one.into_str() == word.value);
        let Some(cause) = cause else {
            let suggestion = nearest_name(&word.value, choices.map(|one| one.into_str()));
            let found = format!("`{}` in `on`", word.value);
            table.push_mistake(
                Mistake::new(table.file(), word.line, found, EXPECTED).with_suggestion(suggestion),
            );
            continue;
        };
        let without_gone = resolver.source.filter(|kind| kind.gone_path.is_none());
        match (cause, without_gone) {
            (ThinningCause::Gone, Some(kind)) => {
                let found = format!("`gone` in `on`, where {} has none", kind.name);
                table.report_mistake(word.line, found, "a source whose records may be gone");
            }
            (ThinningCause::LoanHistoryOff, _) if !is_loan_history => {
                let found = "`loan_history_off` in `on`, without `loan_history = true`";
                table.report_mistake(word.line, found, "`loan_history = true` beside it");
            }
            _ => causes.push(cause),
        }
    }
    causes
}

/// Reads when the outputs of a pseudonymised recipient are published: `"P1M"`, by the field of its
/// term, or a table with another field.
fn read_period(
    table: &TomlTable<'_>,
    resolver: &FieldResolver<'_>,
    is_pseudonymised: bool,
    retention: &RetentionRule,
) -> Option<PublicationPeriod> {
    const EXPECTED: &str = "\"P1M\", or { every = \"P1M\", of = \"PATH\" }: once after each month";
    let at = table.value("period")?;
    if !is_pseudonymised {
        let expected = "none, or `pseudonymised = true`: others get what they get at once";
        table.report_mistake(at.line, "`period`", expected);
    }
    let Some(inner) = table.as_table(at.value, at.line) else {
        require_monthly(table, "period", EXPECTED);
        let month_field = retention.start_field.clone();
        if month_field.is_joined {
            let expected = "`of`, a date or an instant of the record itself";
            table.report_mistake(at.line, "a period by a field of the patron", expected);
        }
        return Some(PublicationPeriod { month_field });
    };
    inner.require_key("every", "`P1M`: once after each month", None);
    require_monthly(&inner, "every", EXPECTED);
    let path =
        inner.require_string("of", "the date or instant that says of which month a record is");
    inner.finish();
    let month_field = path.and_then(|path| {
        let found = resolver.resolve(&inner, path.line, &path.value)?;
        let single = matches!(found.shape, PathShape::Scalar(_));
        if found.field_ref.is_joined
            || !single
            || !found.field_matches(|field| field.field_type.is_date_or_instant())
        {
            let text = format!("a period by `{}`", path.value);
            inner.report_mistake(path.line, text, "a date or an instant of the record itself");
        }
        Some(found.field_ref)
    });
    Some(PublicationPeriod { month_field: month_field.unwrap_or_else(empty_field_ref) })
}

/// Monthly is the only period.
fn require_monthly(table: &TomlTable<'_>, key: &str, expected: &str) {
    if let Some(at) = table.string(key, expected)
        && at.value != "P1M"
    {
        let found = format!("`{key}` is \"{}\"", at.value);
        table.report_mistake(at.line, found, "`P1M`, the only period there is");
    }
}

fn read_flows(table: &TomlTable<'_>) -> Vec<String> {
    const EXPECTED: &str = "ids of flows that `zeef list flows` shows, as F01";
    let texts = table.strings("flows", EXPECTED).map_or_else(Vec::new, |at| at.value);
    for at in &texts {
        let is_known = at.value.starts_with('F') && FLOWS.iter().any(|flow| flow.id == at.value);
        if !is_known {
            table.report_mistake(at.line, format!("flow \"{}\"", at.value), EXPECTED);
        }
    }
    texts.into_iter().map(|at| at.value).collect()
}
