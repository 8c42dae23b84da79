//! A file of `config/recipients`: one recipient, resolved against the catalogue.

use toml::de::DeValue;

use super::field;
use super::kind::checked;
use super::path::{Found, Paths, Shape};
use crate::policy::catalogue::{Class, Field, Kind, Role, Type};
use crate::policy::document::{At, Mistake, Table, Value, described, listed, near, whole};
use crate::policy::form::{Date, Form};
use crate::policy::influence::Way;
use crate::policy::lint;
use crate::policy::name::{ISIL, KEBAB, TOPIC};
use crate::policy::recipient::{
    After, Agreement, Authorisation, Condition, ConsentGate, FieldRef, LegalBasis, Libraries,
    Literal, PaperAfter, Period, Recipient, Register, Retention, Test, Topics,
};
use crate::policy::settings::MaskDefaults;
use crate::policy::term::Term;

/// What is known when recipients are read.
pub(super) struct Law<'a> {
    pub(super) kinds: &'a [Kind],
    /// Kinds whose files could not be read: what names them is not judged.
    pub(super) unread: &'a [String],
    /// Kind and path of fields whose type or class is mistaken.
    pub(super) untyped: &'a [(String, String)],
    pub(super) masks: &'a MaskDefaults,
}

/// A recipient, and where its parts stand in its file.
pub(crate) struct Draft {
    pub(crate) recipient: Recipient,
    pub(crate) enabled: bool,
    pub(crate) file: String,
    /// The source is known, so that `recipient.source` can be relied on.
    pub(crate) resolved: bool,
    /// Every condition could be read.
    pub(crate) conditions_whole: bool,
    pub(crate) lines: Lines,
}

/// Lines of a recipient's file, for whoever judges it later.
#[derive(Default)]
pub(crate) struct Lines {
    pub(crate) topic: usize,
    pub(crate) key: usize,
    pub(crate) purpose: usize,
    pub(crate) legal_basis: usize,
    pub(crate) consent: usize,
    pub(crate) retention: usize,
    pub(crate) role: usize,
    pub(crate) agreement: Option<usize>,
    pub(crate) authorisation: Option<usize>,
    pub(crate) source: usize,
    pub(crate) stages: usize,
    pub(crate) pseudonymised: usize,
    /// Of the output fields, place by place.
    pub(crate) fields: Vec<usize>,
    /// Of the conditions, place by place.
    pub(crate) conditions: Vec<usize>,
}

impl Lines {
    /// The line on which a field has its influence.
    pub(crate) fn of(&self, way: Way) -> usize {
        let at = |lines: &[usize], place: usize| lines.get(place).copied();
        match way {
            Way::Field(place) | Way::Beside(place) | Way::LeftOut(place) => {
                at(&self.fields, place).unwrap_or(self.source)
            }
            Way::Condition(place) => at(&self.conditions, place).unwrap_or(self.source),
            Way::Stage(_) => self.stages,
            Way::Key | Way::BesideKey => self.key,
            Way::Topic => self.topic,
            Way::Retention => self.retention,
            Way::Event => self.consent,
            Way::Gate => self.source,
        }
    }
}

const BASES: &[(&str, LegalBasis)] = &[
    ("consent", LegalBasis::Consent),
    ("contract", LegalBasis::Contract),
    ("legal_obligation", LegalBasis::LegalObligation),
    ("vital", LegalBasis::Vital),
    ("public_task", LegalBasis::PublicTask),
    ("legitimate_interest", LegalBasis::LegitimateInterest),
];

const AFTERS: &[(&str, After)] = &[("retract", After::Retract), ("forget", After::Forget)];

const PAPER_AFTERS: &[(&str, PaperAfter)] =
    &[("keep", PaperAfter::Keep), ("retract", PaperAfter::Retract)];

const ROLES: &[(&str, bool)] = &[("processor", true), ("controller", false)];

const OBJECTIONS: &[(&str, ())] = &[("stop", ())];

/// Reads one recipient, with stand-ins where a part is mistaken.
pub(super) fn read(table: &Table<'_>, stem: &str, law: &Law<'_>) -> Draft {
    name(table, stem);
    let (source, resolved) = source(table, law);
    let paths = Paths {
        source: source.and_then(|place| law.kinds.get(place)),
        patron: law.kinds.iter().find(|kind| kind.role == Role::Patron),
        untyped: law.untyped,
        patron_unread: law.unread.iter().any(|name| name == "patron"),
    };
    let profile = field::read(table, &paths, law.masks);
    let said = |key, expected| table.text(key, expected).map(|at| at.value);
    let need = |key, expected| {
        table
            .need_text(key, expected)
            .map_or_else(String::new, |at| at.value)
    };
    let Conditions {
        when,
        lines: condition_lines,
        whole: conditions_whole,
    } = conditions(table, &paths);
    let retention = retention(table, &paths);
    let pseudonymised = table.switch(
        "pseudonymised",
        false,
        "whether nothing in it names a person",
    );
    let recipient = Recipient {
        name: stem.to_owned(),
        title: need("title", "what the recipient is called, for people"),
        topics: topics(table, &paths),
        source: source.unwrap_or_default(),
        purpose: purpose(table),
        purpose_text: need("purpose_text", "the purpose, in a sentence for people"),
        legal_basis: legal_basis(table),
        controller: need("controller", "who answers for it (GDPR art. 30)"),
        register: register(table),
        libraries: libraries(table),
        key: key(table, &paths),
        when,
        stages: stages(table, &paths),
        fields: profile.fields,
        consent: consent(table, &paths),
        period: period(table, &paths, pseudonymised, &retention),
        retention,
        loan_history: loan_history(table, &paths),
        marketing: table.switch("marketing", false, "whether its purpose is marketing"),
        stops_on_objection: stops_on_objection(table),
        outlives_membership: said(
            "outlives_membership",
            "why data of a patron is released after the membership's term",
        ),
        pseudonymised,
        processor: is_processor(table),
        agreement: agreement(table),
        authorisation: authorisation(table),
        credential_reason: said("credential_reason", "why card number and birth go together"),
        free_text_reason: said(
            "free_text_reason",
            "why free text is not read by all detectors",
        ),
        flows: flows(table),
    };
    Draft {
        recipient,
        enabled: table.switch("enabled", true, "whether it is served"),
        file: table.file().to_owned(),
        resolved,
        conditions_whole,
        lines: lines(table, profile.lines, condition_lines),
    }
}

fn is_processor(table: &Table<'_>) -> bool {
    let role = table.choice("role", ROLES, "what the recipient is to the law");
    role.is_some_and(|at| at.value)
}

fn stops_on_objection(table: &Table<'_>) -> bool {
    const EXPECTED: &str = "whether objections stop it whatever its legal basis";
    table.choice("objections", OBJECTIONS, EXPECTED).is_some()
}

/// What the record of processing says beside the controller.
fn register(table: &Table<'_>) -> Register {
    let text = |key, expected| {
        let at = table.text(key, expected);
        at.map_or_else(String::new, |at| at.value)
    };
    Register {
        contact: text("contact", "how to reach who answers for it"),
        persons: text("persons", "the categories of persons"),
        transfers: text("transfers", "transfers to other countries"),
        security: text("security", "how it is secured"),
    }
}

/// One topic, or one for each receiving party.
fn topics(table: &Table<'_>, paths: &Paths<'_>) -> Topics {
    const EXPECTED: &str =
        "the topic that it is published on, or { by = \"PATH\", of = { \"PARTY\" = \"TOPIC\" } }";
    let inner = table
        .value("topic")
        .and_then(|at| table.as_table(at.value, at.line));
    let Some(inner) = inner else {
        let topic = checked(table, "topic", TOPIC, EXPECTED);
        return Topics::One(topic.map_or_else(String::new, |at| at.value));
    };
    let by = inner.need_text("by", "the path of the field that names the receiving party");
    inner.need("of", "each receiving party and its topic", None);
    let parties = inner.table("of", "each receiving party and its topic");
    inner.finish();
    let mut of = Vec::new();
    if let Some(parties) = &parties {
        for (party, _) in parties.entries() {
            let topic = checked(parties, &party.value, TOPIC, "the topic of this party");
            of.extend(topic.map(|topic| (party.value, topic.value)));
        }
        if of.is_empty() {
            parties.mistake(
                parties.line(),
                "no topic that can be used",
                "at least one party",
            );
        }
    }
    let found = by.and_then(|by| {
        let found = paths.resolve(&inner, by.line, &by.value)?;
        let named = found.is(|field| matches!(field.kind, Type::Text(_)));
        if !named || !matches!(found.shape, Shape::Value(_)) {
            inner.mistake(
                by.line,
                format!("topics by `{}`", by.value),
                "one field of text",
            );
        }
        Some(found.at)
    });
    Topics::Each {
        by: found.unwrap_or_else(nowhere),
        of,
    }
}

fn lines(table: &Table<'_>, fields: Vec<usize>, conditions: Vec<usize>) -> Lines {
    Lines {
        topic: table.line_of("topic"),
        key: table.line_of("key"),
        purpose: table.line_of("purpose"),
        legal_basis: table.line_of("legal_basis"),
        consent: table.line_of("consent"),
        retention: table.line_of("retention"),
        role: table.line_of("role"),
        agreement: table.value("agreement").map(|at| at.line),
        authorisation: table.value("authorisation").map(|at| at.line),
        source: table.line_of("source"),
        stages: table.line_of("stages"),
        pseudonymised: table.line_of("pseudonymised"),
        fields,
        conditions,
    }
}

fn name(table: &Table<'_>, stem: &str) {
    let name = checked(
        table,
        "name",
        KEBAB,
        "the recipient's name, which is the file's",
    );
    if let Some(at) = &name
        && at.value != stem
    {
        let found = format!("`name` is \"{}\"", at.value);
        table.mistake(at.line, found, format!("\"{stem}\", as the file is called"));
    }
    if let Some(at) = name
        && OWN_NAMES.contains(&at.value.as_str())
    {
        let found = format!("`name` is \"{}\"", at.value);
        let expected = "another name: folders, consumer groups and users of that name are zeef's";
        table.mistake(at.line, found, expected.to_owned());
    }
}

/// What zeef's own folder, consumer groups and users are called.
const OWN_NAMES: &[&str] = &["zeef", "zeef-admin", "zeef-repair", "operator"];

/// The place of the source among the kinds, and whether it is known.
fn source(table: &Table<'_>, law: &Law<'_>) -> (Option<usize>, bool) {
    let Some(at) = table.need_text("source", "the kind of record that it is made of") else {
        return (None, false);
    };
    if law.unread.contains(&at.value) {
        return (None, false);
    }
    if let Some(place) = law.kinds.iter().position(|kind| kind.name == at.value) {
        return (Some(place), true);
    }
    let names: Vec<_> = law.kinds.iter().map(|kind| kind.name.clone()).collect();
    let close = near(&at.value, names.iter().map(String::as_str));
    let found = format!("unknown kind of record `{}`", at.value);
    let expected = format!("one of {}", listed(&names));
    table.push(Mistake::new(table.file(), at.line, found, expected).near(close));
    (None, false)
}

fn purpose(table: &Table<'_>) -> String {
    const EXPECTED: &str = "the id of the purpose, as consents and objections carry it";
    table.need("purpose", EXPECTED, Some(lint::NO_PURPOSE));
    purpose_id(table, EXPECTED).unwrap_or_default()
}

fn purpose_id(table: &Table<'_>, expected: &str) -> Option<String> {
    let at = table.text("purpose", expected)?;
    if !(KEBAB.fits)(&at.value) {
        table.mistake(
            at.line,
            format!("`purpose` is \"{}\"", at.value),
            KEBAB.expected,
        );
    }
    Some(at.value)
}

fn legal_basis(table: &Table<'_>) -> LegalBasis {
    const EXPECTED: &str = "the legal basis (GDPR art. 6)";
    table.need("legal_basis", EXPECTED, Some(lint::NO_LEGAL_BASIS));
    table
        .choice("legal_basis", BASES, EXPECTED)
        .map_or(LegalBasis::Contract, |at| at.value)
}

fn libraries(table: &Table<'_>) -> Libraries {
    const EXPECTED: &str = "\"all\", or a list of ISILs";
    table.need("libraries", EXPECTED, None);
    let Some(at) = table.value("libraries") else {
        return Libraries::All;
    };
    match at.value.get_ref() {
        DeValue::String(word) if word == "all" => return Libraries::All,
        DeValue::Array(_) => {}
        other => {
            table.mistake(
                at.line,
                format!("`libraries` is {}", described(other)),
                EXPECTED,
            );
            return Libraries::All;
        }
    }
    let texts = table
        .texts("libraries", EXPECTED)
        .map_or_else(Vec::new, |at| at.value);
    if texts.is_empty() {
        table.mistake(at.line, "no library in `libraries`", EXPECTED);
    }
    for text in texts.iter().filter(|text| !(ISIL.fits)(&text.value)) {
        table.mistake(
            text.line,
            format!("library \"{}\"", text.value),
            ISIL.expected,
        );
    }
    Libraries::Only(texts.into_iter().map(|text| text.value).collect())
}

/// What stands in for a path that is not known.
fn nowhere() -> FieldRef {
    FieldRef {
        joined: false,
        path: String::new(),
    }
}

fn key(table: &Table<'_>, paths: &Paths<'_>) -> FieldRef {
    const EXPECTED: &str =
        "{ pseudonym = \"PATH\" }, of the identifier that the output key is made of";
    table.need("key", EXPECTED, None);
    let Some(inner) = table.table("key", EXPECTED) else {
        return nowhere();
    };
    let at = inner.need_text("pseudonym", "the path of an identifier");
    inner.finish();
    let Some(at) = at else {
        return nowhere();
    };
    let Some(found) = paths.resolve(&inner, at.line, &at.value) else {
        return nowhere();
    };
    if let Err(expected) = is_key(&found) {
        inner.mistake(at.line, format!("a key of `{}`", at.value), expected);
    }
    found.at
}

/// A key names one output of the recipient, and lasts as long as it.
fn is_key(found: &Found<'_>) -> Result<(), &'static str> {
    let Shape::Value(field) = found.shape else {
        return Err("one identifier");
    };
    let text = |field: &Field| matches!(field.kind, Type::Text(_) | Type::CardNumber);
    if !found.is(|field| text(field) && field.class == Class::Identifier) {
        return Err("a field of the class `identifier`");
    }
    if !found.is(|field| !field.kind.is_dated() && !field.is_birth()) {
        return Err("an identifier: all dates can be tried out");
    }
    if found.at.joined || (found.kind.role != Role::Patron && field.path == "patron_id") {
        return Err("the record's own id: two records of one patron would have one key");
    }
    Ok(())
}

/// Whether it gets returned loans; only a kind with a status has any, of a
/// patron who has the choice.
fn loan_history(table: &Table<'_>, paths: &Paths<'_>) -> bool {
    let Some(at) = table.boolean("loan_history", "whether it gets returned loans") else {
        return false;
    };
    let patron = paths.patron.or(paths.source);
    let lacking = [(paths.source, "status"), (patron, "loan_history")]
        .into_iter()
        .find(|(kind, path)| kind.is_some_and(|kind| kind.field(path).is_none()));
    if let (true, Some((Some(kind), path))) = (at.value, lacking) {
        let found = format!("`loan_history`, where {} has no field `{path}`", kind.name);
        table.mistake(
            at.line,
            found,
            "a source whose records are open or returned",
        );
        return false;
    }
    at.value
}

/// The conditions that could be read.
struct Conditions {
    when: Vec<Condition>,
    /// Of `when`, place by place.
    lines: Vec<usize>,
    /// All of them could be read.
    whole: bool,
}

fn conditions(table: &Table<'_>, paths: &Paths<'_>) -> Conditions {
    let expected = "conditions, as { field = \"status\", is = [\"open\"] }";
    let tables = table.tables("when", expected);
    let read = tables.iter();
    let (when, lines): (Vec<_>, Vec<_>) = read
        .filter_map(|inner| Some((condition(inner, paths)?, inner.line())))
        .unzip();
    let whole = when.len() == tables.len() && (!when.is_empty() || !table.has("when"));
    Conditions { when, lines, whole }
}

fn condition(table: &Table<'_>, paths: &Paths<'_>) -> Option<Condition> {
    let path = table.need_text("field", "the path of a field");
    let is = table.value("is");
    let present = table.boolean("present", "whether there must be a value");
    let found = path
        .as_ref()
        .and_then(|at| paths.resolve(table, at.line, &at.value));
    let typed = found.as_ref().is_some_and(|found| found.typed);
    let field = found.as_ref().and_then(|found| match found.shape {
        Shape::Value(field) => Some(field),
        _ => {
            let text = format!("a condition on `{}`", found.written);
            table.mistake(table.line(), text, "a field that is one value");
            None
        }
    });
    let test = match (is, present, table.has("present")) {
        (Some(is), None, false) => is_test(table, is, field.filter(|_| typed)),
        (None, Some(at), _) if at.value => Some(Test::Present),
        (None, Some(_), _) => Some(Test::Absent),
        (None, None, true) => None,
        (both, ..) => {
            let count = if both.is_some() {
                "both `is` and `present`"
            } else {
                "neither `is` nor `present`"
            };
            table.mistake(
                table.line(),
                format!("{count} in a condition"),
                "one of the two",
            );
            None
        }
    };
    table.finish();
    Some(Condition {
        field: found.filter(|_| field.is_some())?.at,
        test: test?,
    })
}

fn is_test(table: &Table<'_>, is: At<&Value<'_>>, field: Option<&Field>) -> Option<Test> {
    const EXPECTED: &str = "a list of values, as [\"open\", \"overdue\"]";
    let DeValue::Array(items) = is.value.get_ref() else {
        let found = format!("`is` is {}", described(is.value.get_ref()));
        table.mistake(is.line, found, EXPECTED);
        return None;
    };
    if items.is_empty() {
        table.mistake(is.line, "an empty list in `is`", EXPECTED);
        return None;
    }
    let field = field?;
    let mut literals = Vec::new();
    for item in items.iter() {
        let line = table.line_at(item);
        match literal(item.get_ref(), field) {
            Ok(literal) if literals.contains(&literal) => {
                table.mistake(
                    line,
                    format!("{} twice in `is`", described(item.get_ref())),
                    "it once",
                );
            }
            Ok(literal) => literals.push(literal),
            Err((expected, near)) => {
                let found = format!("`{}` is {}", field.path, described(item.get_ref()));
                table.push(Mistake::new(table.file(), line, found, expected).near(near));
            }
        }
    }
    (literals.len() == items.len()).then_some(Test::Is(literals))
}

/// A value that a field can have; what it can have, where not.
fn literal(value: &DeValue<'_>, field: &Field) -> Result<Literal, (String, Option<String>)> {
    let unlike = |expected: &str| Err((expected.to_owned(), None));
    match (field.kind, value) {
        (Type::Boolean, DeValue::Boolean(value)) => Ok(Literal::Boolean(*value)),
        (Type::Boolean, _) => unlike("true or false"),
        (Type::Integer, _) => match whole(value) {
            Some(number) => Ok(Literal::Integer(number)),
            None => unlike("a whole number"),
        },
        (Type::Text(form), DeValue::String(text)) => text_literal(text, form, field),
        (Type::CardNumber | Type::TextOrNumber, DeValue::String(text)) => {
            text_literal(text, None, field)
        }
        _ => unlike("a string"),
    }
}

fn text_literal(
    text: &str,
    form: Option<Form>,
    field: &Field,
) -> Result<Literal, (String, Option<String>)> {
    if text.is_empty() {
        return Err(("a value: `present = false` asks for none".to_owned(), None));
    }
    if !field.values.is_empty() && !field.values.iter().any(|value| value == text) {
        let close = near(text, field.values.iter().map(String::as_str));
        return Err((format!("one of {}", listed(&field.values)), close));
    }
    match form {
        Some(form) if !form.fits(text) => Err((format!("a value of type `{}`", form.name()), None)),
        _ => Ok(Literal::Text(text.to_owned())),
    }
}

/// The stages, first to last: all instants, or all dates, so that none is
/// compared with half a day.
fn stages(table: &Table<'_>, paths: &Paths<'_>) -> Vec<FieldRef> {
    const EXPECTED: &str = "at least two instants or dates of the record, in the order in which \
                            they must follow each other";
    let Some(all) = table.texts("stages", EXPECTED) else {
        return Vec::new();
    };
    if all.value.len() < 2 {
        table.mistake(all.line, "fewer than two fields in `stages`", EXPECTED);
    }
    let mut stages: Vec<(FieldRef, Option<Type>)> = Vec::new();
    for at in all.value {
        let Some(found) = paths.resolve(table, at.line, &at.value) else {
            continue;
        };
        let told = |found: &str, expected: &str| {
            table.mistake(
                at.line,
                format!("the stage `{}`{found}", at.value),
                expected,
            );
        };
        let kind = match found.shape {
            Shape::Value(field) if found.typed => Some(field.kind),
            _ => None,
        };
        let unlike = |(_, other): &(FieldRef, Option<Type>)| other.is_some() && *other != kind;
        if found.at.joined {
            told("", "a field of the record itself");
        } else if !matches!(found.shape, Shape::Value(_))
            || !found.is(|field| field.kind.is_dated())
        {
            told("", "one instant, or one date");
        } else if kind.is_some() && stages.iter().any(unlike) {
            told(
                " beside others",
                "all of them instants, or all of them dates",
            );
        }
        stages.push((found.at, kind));
    }
    stages.into_iter().map(|(at, _)| at).collect()
}

fn consent(table: &Table<'_>, paths: &Paths<'_>) -> Option<ConsentGate> {
    let inner = table.table("consent", "the consent that is needed: `purpose`")?;
    const EXPECTED: &str = "the purpose that the consent is for";
    inner.need("purpose", EXPECTED, None);
    let gate = ConsentGate {
        purpose: purpose_id(&inner, EXPECTED).unwrap_or_default(),
        implied_by: implied_by(&inner, paths),
        explicit: inner.switch("explicit", false, "whether it must be explicit and written"),
    };
    inner.finish();
    Some(gate)
}

/// The event is always of the patron, so that `patron.` may stand before it
/// also where patrons are the source.
fn implied_by(table: &Table<'_>, paths: &Paths<'_>) -> Option<FieldRef> {
    let at = table.text("implied_by", "the path of an instant of the patron")?;
    let source = paths.source?;
    let own = source.role == Role::Patron;
    let path = match at.value.strip_prefix("patron.") {
        Some(path) if own => path,
        _ => &at.value,
    };
    let found = paths.resolve(table, at.line, path)?;
    let of_patron = own || found.at.joined;
    let instant = found.is(|field| field.kind == Type::Text(Some(Form::Instant)));
    let single = matches!(found.shape, Shape::Value(_));
    if !(of_patron && instant && single) {
        let text = format!("`implied_by` is \"{}\"", at.value);
        table.mistake(at.line, text, "an instant of the patron");
    }
    Some(found.at)
}

fn retention(table: &Table<'_>, paths: &Paths<'_>) -> Retention {
    const EXPECTED: &str = "{ term = \"P1Y\", from = \"PATH\", after = \"retract\" }";
    table.need("retention", EXPECTED, Some(lint::NO_RETENTION));
    let mut retention = Retention {
        term: Term {
            years: 0,
            months: 0,
            days: 0,
        },
        from: nowhere(),
        after: After::Retract,
    };
    let Some(inner) = table.table("retention", EXPECTED) else {
        return retention;
    };
    if let Some(at) = inner.need_text("term", "an ISO 8601 period, as P14D, P18M or P1Y") {
        match Term::parse(&at.value) {
            Some(term) => retention.term = term,
            None => inner.mistake(
                at.line,
                format!("`term` is \"{}\"", at.value),
                "an ISO 8601 period of years, months, weeks or days, as P14D, P18M or P1Y",
            ),
        }
    }
    if let Some(at) = inner.need_text("from", "the path of a date or an instant")
        && let Some(found) = paths.resolve(&inner, at.line, &at.value)
    {
        let single = matches!(found.shape, Shape::Value(_));
        if !single || !found.is(|field| field.kind.is_dated()) {
            inner.mistake(
                at.line,
                format!("a term from `{}`", at.value),
                "a date or an instant",
            );
        }
        retention.from = found.at;
    }
    let after = "what happens then";
    inner.need(
        "after",
        "`retract` (it is taken back) or `forget` (the partner may keep it)",
        None,
    );
    if let Some(at) = inner.choice("after", AFTERS, after) {
        retention.after = at.value;
    }
    inner.finish();
    retention
}

/// When the outputs of a pseudonymised recipient are published: `"P1M"`, by the
/// field that its term runs from, or a table that names another one.
fn period(
    table: &Table<'_>,
    paths: &Paths<'_>,
    pseudonymised: bool,
    retention: &Retention,
) -> Option<Period> {
    const EXPECTED: &str = "\"P1M\", or { every = \"P1M\", of = \"PATH\" }: once after each month";
    let at = table.value("period")?;
    if !pseudonymised {
        let expected = "none, or `pseudonymised = true`: others get what they get at once";
        table.mistake(at.line, "`period`", expected);
    }
    let Some(inner) = table.as_table(at.value, at.line) else {
        every_month(table, "period", EXPECTED);
        let of = retention.from.clone();
        if of.joined {
            let expected = "`of`, a date or an instant of the record itself";
            table.mistake(at.line, "a period by a field of the patron", expected);
        }
        return Some(Period { of });
    };
    inner.need("every", "`P1M`: once after each month", None);
    every_month(&inner, "every", EXPECTED);
    let of = inner.need_text(
        "of",
        "the date or instant that says of which month a record is",
    );
    inner.finish();
    let of = of.and_then(|of| {
        let found = paths.resolve(&inner, of.line, &of.value)?;
        let single = matches!(found.shape, Shape::Value(_));
        if found.at.joined || !single || !found.is(|field| field.kind.is_dated()) {
            let text = format!("a period by `{}`", of.value);
            inner.mistake(of.line, text, "a date or an instant of the record itself");
        }
        Some(found.at)
    });
    Some(Period {
        of: of.unwrap_or_else(nowhere),
    })
}

/// Reads how often: there is one answer.
fn every_month(table: &Table<'_>, key: &str, expected: &str) {
    if let Some(at) = table.text(key, expected)
        && at.value != "P1M"
    {
        let found = format!("`{key}` is \"{}\"", at.value);
        table.mistake(at.line, found, "`P1M`, the only period there is");
    }
}

/// A paper that must be whole: each of its missing parts breaks `rule`.
struct Paper<'a> {
    table: Table<'a>,
    rule: &'static str,
}

impl Paper<'_> {
    fn text(&self, key: &str, expected: &str) -> Option<String> {
        self.table.need(key, expected, Some(self.rule));
        self.table.text(key, expected).map(|at| at.value)
    }

    /// A date, in quotes or without.
    fn date(&self, key: &str, expected: &str) -> Option<At<String>> {
        self.table.need(key, expected, Some(self.rule));
        let at = self.table.value(key)?;
        let text = match at.value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(date) => date.to_string(),
            other => described(other),
        };
        if Date::parse(&text).is_some() {
            return Some(At {
                value: text,
                line: at.line,
            });
        }
        let expected = format!("a date, as \"2026-01-31\": {expected}");
        self.table.mistake(
            at.line,
            format!("`{key}` is {}", described(at.value.get_ref())),
            expected,
        );
        None
    }

    /// From when until when the paper is in force.
    fn term(&self) -> Option<(String, String)> {
        let from = self.date("from", "the first day on which it is in force");
        let until = self.date("until", "the last day on which it is in force");
        let (from, until) = (from?, until?);
        if until.value < from.value {
            let found = format!("`until` is {}", until.value);
            self.table
                .mistake(until.line, found, format!("no day before {}", from.value));
        }
        Some((from.value, until.value))
    }

    fn after(&self) -> PaperAfter {
        let expected = "what happens to what the recipient has, when it is no longer in force";
        let at = self.table.choice("after", PAPER_AFTERS, expected);
        at.map_or_else(PaperAfter::default, |at| at.value)
    }
}

fn agreement(table: &Table<'_>) -> Option<Agreement> {
    let paper = Paper {
        table: table.table("agreement", "the agreement with a processor")?,
        rule: lint::PROCESSOR,
    };
    let reference = paper.text("reference", "where the agreement is kept");
    let clauses = "the clauses it has, among them `use`, `security` and `confidentiality`";
    paper.table.need("clauses", clauses, Some(paper.rule));
    let clauses = paper.table.texts("clauses", clauses);
    let term = paper.term();
    let after = paper.after();
    paper.table.finish();
    let (from, until) = term?;
    Some(Agreement {
        reference: reference?,
        clauses: clauses?.value.into_iter().map(|at| at.value).collect(),
        from,
        until,
        after,
    })
}

fn authorisation(table: &Table<'_>) -> Option<Authorisation> {
    let paper = Paper {
        table: table.table("authorisation", "the authorisation for national numbers")?,
        rule: lint::NATIONAL_NUMBER,
    };
    let reference = paper.text("reference", "the authorisation's reference");
    let approved_by = paper.text("approved_by", "who approved it");
    let approved_on = paper.date("approved_on", "when it was approved");
    let term = paper.term();
    let jurisdiction = paper.table.text("jurisdiction", "where it is valid");
    let after = paper.after();
    paper.table.finish();
    let (from, until) = term?;
    Some(Authorisation {
        reference: reference?,
        approved_by: approved_by?,
        approved_on: approved_on?.value,
        from,
        until,
        jurisdiction: jurisdiction.map_or_else(String::new, |at| at.value),
        after,
    })
}

fn flows(table: &Table<'_>) -> Vec<String> {
    const EXPECTED: &str = "ids of flows, as F01";
    let texts = table
        .texts("flows", EXPECTED)
        .map_or_else(Vec::new, |at| at.value);
    for at in &texts {
        let digits = at.value.strip_prefix('F').unwrap_or_default();
        if digits.len() != 2 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            table.mistake(at.line, format!("flow \"{}\"", at.value), EXPECTED);
        }
    }
    texts.into_iter().map(|at| at.value).collect()
}
