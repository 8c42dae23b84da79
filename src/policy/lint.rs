//! The rules that a policy must pass: what no recipient's file may say.
//!
//! A row has a name, what it forbids, why, and an example that fails; one test
//! runs every example. Whether a paper is in force on a day is no rule but a
//! gate. A rule never looks at a record.

use super::catalogue::{Class, Field, Kind, Type};
use super::document::{Mistake, listed};
use super::form::Form;
use super::load::Draft;
use super::mask::Mask;
use super::recipient::{FieldRef, LegalBasis, Literal, OutputValue, Projection, Test};
use super::settings::Lane;
use super::term::TERM_MAX;

/// A row of [`LINTS`].
pub struct LintDef {
    pub name: &'static str,
    /// What a recipient may not do.
    pub forbids: &'static str,
    /// The article of the GDPR, or the flow of the libraries' documents.
    pub why: &'static str,
    /// Lines of a recipient's file that break the rule; see [`LintDef::example_text`].
    pub example: &'static str,
    /// What is wrong in the example.
    pub wrong: &'static str,
    /// A switched-off recipient may break it: the paper is still to come.
    pub paper: bool,
    check: Check,
}

/// How a rule is held.
enum Check {
    /// While the file is read: the key must be there. The example lacks it.
    Reading(&'static str),
    /// Of one recipient.
    One(fn(&View<'_>) -> Vec<Breach>),
    /// Of one recipient among all.
    Among(fn(&View<'_>, &[Draft]) -> Vec<Breach>),
    /// Of one recipient and the lanes of `zeef.toml`.
    Lanes(fn(&Draft, &[Lane]) -> Vec<Breach>),
}

/// A place where a rule is broken.
struct Breach {
    line: usize,
    found: String,
    expected: String,
}

fn breach(line: usize, found: impl Into<String>, expected: impl Into<String>) -> Breach {
    Breach {
        line,
        found: found.into(),
        expected: expected.into(),
    }
}

pub(super) const NO_LEGAL_BASIS: &str = "legal-basis";
pub(super) const NO_PURPOSE: &str = "purpose";
pub(super) const NO_RETENTION: &str = "retention";
pub(super) const PROCESSOR: &str = "processor-agreement";
pub(super) const NATIONAL_NUMBER: &str = "national-number";

/// What an agreement with a processor must have (F18).
const CLAUSES: &[&str] = &["use", "security", "confidentiality"];

/// Topics of the daemon itself begin so.
const OWN_TOPICS: &str = "zeef.";

/// Every rule.
pub const LINTS: &[LintDef] = &[
    LintDef {
        name: NO_LEGAL_BASIS,
        forbids: "a recipient without a legal basis",
        why: "GDPR art. 6(1)",
        example: "",
        wrong: "nothing says on which ground of art. 6 it may have anything",
        paper: false,
        check: Check::Reading("legal_basis"),
    },
    LintDef {
        name: NO_PURPOSE,
        forbids: "a recipient without a purpose",
        why: "GDPR art. 5(1)(b)",
        example: "",
        wrong: "no consent and no objection could be about it",
        paper: false,
        check: Check::Reading("purpose"),
    },
    LintDef {
        name: NO_RETENTION,
        forbids: "a recipient without a retention term",
        why: "GDPR art. 5(1)(e)",
        example: "",
        wrong: "it would have what it has for ever",
        paper: false,
        check: Check::Reading("retention"),
    },
    LintDef {
        name: "retention-limit",
        forbids: "a retention term of more than five years",
        why: "GDPR art. 5(1)(e); R02",
        example: r#"retention = { term = "P6Y", from = "due_on", after = "retract" }"#,
        wrong: "six years are more than the five that the libraries allow themselves",
        paper: false,
        check: Check::One(retention_limit),
    },
    LintDef {
        name: "secret",
        forbids: "a secret in an output, masked or not",
        why: "GDPR art. 32; S03",
        example: r#"fields.code = { from = "patron.pin_hash" }"#,
        wrong: "the hash of a PIN never leaves the library",
        paper: false,
        check: Check::One(secret),
    },
    LintDef {
        name: "bsn",
        forbids: "a BSN in an output, masked or not, whatever the authorisation",
        why: "GDPR art. 87; UAVG art. 46; S01",
        example: r#"fields.number = { from = "patron.bsn" }
authorisation = { reference = "A-1", approved_by = "DPO", approved_on = "2026-01-01", from = "2026-01-01", until = "2030-01-01" }"#,
        wrong: "no law lets a library pass on a BSN",
        paper: false,
        check: Check::One(bsn),
    },
    LintDef {
        name: NATIONAL_NUMBER,
        forbids: "a national number without a complete authorisation",
        why: "GDPR art. 87; F09",
        example: r#"fields.number = { from = "patron.rijksregisternummer" }"#,
        wrong: "there is no authorisation with reference, approval and term",
        paper: true,
        check: Check::One(national_number),
    },
    LintDef {
        name: "special-category",
        forbids: "a special category of data without explicit, written consent",
        why: "GDPR art. 9(2)(a); S02, S04",
        example: r#"fields.diet = { from = "patron.diet" }"#,
        wrong: "the field says something of health or belief, and the basis is a contract",
        paper: false,
        check: Check::One(special_category),
    },
    LintDef {
        name: "explicit-consent",
        forbids: "an explicit consent that an event implies",
        why: "GDPR art. 9(2)(a); G04",
        example: r#"legal_basis = "consent"
consent = { purpose = "example", explicit = true, implied_by = "patron.online_account.created_at" }"#,
        wrong: "making an account is no explicit, written statement",
        paper: false,
        check: Check::One(explicit_consent),
    },
    LintDef {
        name: "free-text",
        forbids: "free text that no detector reads",
        why: "GDPR art. 5(1)(c); S04",
        example: r#"fields.remark = { from = "note" }"#,
        wrong: "whatever staff typed would go out as it stands",
        paper: false,
        check: Check::One(free_text),
    },
    LintDef {
        name: "login",
        forbids: "card number and date or year of birth together, both readable, without a recorded reason",
        why: "GDPR art. 32; S05",
        example: r#"fields.card = { from = "patron.card_number" }
fields.born = { from = "patron.birth_date", mask = "year" }"#,
        wrong: "card number and birth day and year are the default login",
        paper: false,
        check: Check::One(login),
    },
    LintDef {
        name: PROCESSOR,
        forbids: "a processor without a complete agreement",
        why: "GDPR art. 28(3); F18",
        example: r#"role = "processor"
agreement = { reference = "A-1", clauses = ["use", "security"], from = "2026-01-01", until = "2030-01-01" }"#,
        wrong: "the agreement has no clause on confidentiality",
        paper: true,
        check: Check::One(processor),
    },
    LintDef {
        name: "consent-gate",
        forbids: "consent as legal basis without a consent gate",
        why: "GDPR art. 7(1); G01",
        example: r#"legal_basis = "consent""#,
        wrong: "nothing asks whether the patron consented",
        paper: false,
        check: Check::One(consent_gate),
    },
    LintDef {
        name: "consent-purpose",
        forbids: "a consent for another purpose than the recipient's",
        why: "GDPR art. 6(1)(a); G01",
        example: r#"legal_basis = "consent"
consent = { purpose = "newsletter" }"#,
        wrong: "who wants a newsletter did not consent to this",
        paper: false,
        check: Check::One(consent_purpose),
    },
    LintDef {
        name: "marketing",
        forbids: "a purpose that is marketing by its name and not marked as such",
        why: "GDPR art. 21(2); G07, F27",
        example: r#"purpose = "direct-marketing""#,
        wrong: "without `marketing = true` an objection to marketing does not stop it",
        paper: false,
        check: Check::One(marketing),
    },
    LintDef {
        name: "pseudonymised",
        forbids: "a readable personal field in a recipient that is called pseudonymised",
        why: "GDPR art. 4(5); F19",
        example: r#"pseudonymised = true
period = { every = "P1M", of = "loaned_at" }
fields.born = { from = "patron.birth_date" }"#,
        wrong: "a full date of birth points at a person",
        paper: false,
        check: Check::One(pseudonymised),
    },
    LintDef {
        name: "loan-history",
        forbids: "returned loans without `loan_history = true`",
        why: "G11",
        example: r#"when = [{ field = "patron.kind", is = ["person"] }]"#,
        wrong: "it gets returned loans, also of a patron who switched the loan history off",
        paper: false,
        check: Check::One(loan_history),
    },
    LintDef {
        name: "shared-topic",
        forbids: "two recipients on one topic",
        why: "GDPR art. 5(1)(f); F07",
        example: r#"topic = "out.other""#,
        wrong: "another recipient reads the same topic",
        paper: false,
        check: Check::Among(shared_topic),
    },
    LintDef {
        name: "source-topic",
        forbids: "an output topic that is the source of a kind of record",
        why: "GDPR art. 5(1)(f)",
        example: r#"topic = "loan""#,
        wrong: "outputs would be read again as records",
        paper: false,
        check: Check::One(source_topic),
    },
    LintDef {
        name: "own-topic",
        forbids: "an output topic that begins as those of the daemon itself",
        why: "GDPR art. 5(2)",
        example: r#"topic = "zeef.ledger""#,
        wrong: "outputs would stand among the daemon's own records",
        paper: false,
        check: Check::One(own_topic),
    },
    LintDef {
        name: "period",
        forbids: "a pseudonymised recipient without a period",
        why: "GDPR art. 4(5); F19",
        example: "pseudonymised = true",
        wrong: "when its outputs come says whose they are: another recipient has the name",
        paper: false,
        check: Check::One(period),
    },
    LintDef {
        name: "pseudonym-by-month",
        forbids: "a pseudonym, but of the record's own id, that is the same in every month, in a pseudonymised recipient",
        why: "GDPR art. 4(5); F19",
        example: r#"pseudonymised = true
period = { every = "P1M", of = "loaned_at" }
fields.patron_ref = { from = "patron_id", mask = "pseudonym" }"#,
        wrong: "it joins all that a patron ever borrowed",
        paper: false,
        check: Check::One(pseudonym_by_month),
    },
    LintDef {
        name: "lane-of-its-own",
        forbids: "a pseudonymised recipient in a lane with others, or with more than one worker",
        why: "GDPR art. 4(5); F19",
        example: r#"pseudonymised = true
period = { every = "P1M", of = "loaned_at" }"#,
        wrong: "its transactions would be those of recipients that have the names",
        paper: false,
        check: Check::Lanes(lane_of_its_own),
    },
];

/// What every example has, but for what it sets itself.
const EXAMPLE_COMMON: &[(&str, &str)] = &[
    ("name", r#""example""#),
    ("title", r#""Voorbeeld""#),
    ("topic", r#""out.example""#),
    ("source", r#""loan""#),
    ("purpose", r#""example""#),
    ("purpose_text", r#""Laten zien wat niet mag""#),
    ("legal_basis", r#""contract""#),
    ("controller", r#""De bibliotheek""#),
    ("libraries", r#""all""#),
    (
        "retention",
        r#"{ term = "P1Y", from = "due_on", after = "retract" }"#,
    ),
    ("key", r#"{ pseudonym = "loan_id" }"#),
    ("when", r#"[{ field = "status", is = ["open"] }]"#),
    ("fields.branch", r#"{ from = "branch" }"#),
];

impl LintDef {
    /// Writes the whole file of the example.
    #[must_use]
    pub fn example_text(&self) -> String {
        let lacks = match self.check {
            Check::Reading(key) => key,
            Check::One(_) | Check::Among(_) | Check::Lanes(_) => "",
        };
        let sets = |key: &str| {
            let start = format!("{key} =");
            self.example.lines().any(|line| line.starts_with(&start))
        };
        let common = EXAMPLE_COMMON
            .iter()
            .filter(|(key, _)| *key != lacks && !sets(key))
            .map(|(key, value)| format!("{key} = {value}\n"));
        let text: String = common.collect();
        format!("{text}{}\n", self.example)
    }
}

/// Tells whether a switched-off recipient may break the rule of this name.
pub(super) fn is_paper(rule: &str) -> bool {
    LINTS.iter().any(|lint| lint.paper && lint.name == rule)
}

/// Runs every rule over every recipient whose source is known.
pub(super) fn run(kinds: &[Kind], drafts: &[Draft]) -> Vec<Mistake> {
    let patron = kinds
        .iter()
        .find(|kind| kind.role == super::catalogue::Role::Patron);
    let mut mistakes = Vec::new();
    for draft in drafts.iter().filter(|draft| draft.resolved) {
        let Some(source) = kinds.get(draft.recipient.source) else {
            continue;
        };
        let view = View {
            draft,
            source,
            patron,
            kinds,
        };
        for lint in LINTS {
            let breaches = match lint.check {
                Check::Reading(_) | Check::Lanes(_) => Vec::new(),
                Check::One(check) => check(&view),
                Check::Among(check) => check(&view, drafts),
            };
            mistakes.extend(breaches.into_iter().map(|breach| {
                Mistake::new(&draft.file, breach.line, breach.found, breach.expected)
                    .rule(lint.name)
            }));
        }
    }
    mistakes
}

/// Runs the rules about lanes over every recipient that is in one.
pub(super) fn run_lanes(drafts: &[Draft], lanes: &[Lane]) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for draft in drafts.iter().filter(|draft| draft.enabled) {
        for lint in LINTS {
            let Check::Lanes(check) = lint.check else {
                continue;
            };
            mistakes.extend(check(draft, lanes).into_iter().map(|breach| {
                Mistake::new(&draft.file, breach.line, breach.found, breach.expected)
                    .rule(lint.name)
            }));
        }
    }
    mistakes
}

/// A recipient with the catalogue beside it.
struct View<'a> {
    draft: &'a Draft,
    source: &'a Kind,
    patron: Option<&'a Kind>,
    kinds: &'a [Kind],
}

/// A field of the catalogue that the recipient gets something of.
struct Released<'a> {
    field: &'a Field,
    /// As the recipient's file names it.
    path: String,
    line: usize,
    mask: Option<&'a Mask>,
    detected: bool,
}

impl Released<'_> {
    /// Whether the value can be read from the output.
    fn readable(&self) -> bool {
        self.mask.is_none_or(|mask| !mask.hides())
    }
}

impl<'a> View<'a> {
    fn field(&self, joined: bool, path: &str) -> Option<&'a Field> {
        let kind = if joined { self.patron? } else { self.source };
        kind.field(path)
    }

    /// All that goes into outputs, field by field.
    fn released(&self) -> Vec<Released<'a>> {
        let recipient = &self.draft.recipient;
        let lines = self.draft.lines.fields.iter();
        let mut all = Vec::new();
        for (output, line) in recipient.fields.iter().zip(lines) {
            match &output.value {
                OutputValue::Scalar(projection) => {
                    all.extend(self.scalar(projection, *line));
                }
                OutputValue::Scalars { from } => all.extend(self.plain(from, &from.path, *line)),
                OutputValue::Object { from, fields } | OutputValue::List { from, fields } => {
                    let inner = fields.iter();
                    all.extend(inner.filter_map(|sub| self.plain(from, &sub.path, *line)));
                }
                OutputValue::Slip { .. } => {}
            }
        }
        all
    }

    /// The output fields, and the key: a pseudonym tells two apart.
    fn used(&self) -> Vec<Released<'a>> {
        let key = &self.draft.recipient.key;
        let mut all = self.released();
        all.extend(self.plain(key, &key.path, self.draft.lines.key));
        all
    }

    fn scalar(&self, projection: &'a Projection, line: usize) -> Option<Released<'a>> {
        let from = projection.from.as_ref()?;
        let released = self.plain(from, &from.path, line)?;
        Some(Released {
            mask: projection.mask.as_ref(),
            detected: projection.detect.is_some(),
            ..released
        })
    }

    fn plain(&self, from: &FieldRef, path: &str, line: usize) -> Option<Released<'a>> {
        let prefix = if from.joined { "patron." } else { "" };
        Some(Released {
            field: self.field(from.joined, path)?,
            path: format!("{prefix}{path}"),
            line,
            mask: None,
            detected: false,
        })
    }
}

fn retention_limit(view: &View<'_>) -> Vec<Breach> {
    if view.draft.recipient.retention.term.fits_in(TERM_MAX) {
        return Vec::new();
    }
    let line = view.draft.lines.retention;
    vec![breach(
        line,
        "a term of more than five years",
        "`P5Y` at most",
    )]
}

fn secret(view: &View<'_>) -> Vec<Breach> {
    view.used()
        .iter()
        .filter(|released| released.field.class == Class::Secret)
        .map(|released| {
            let found = format!("the secret `{}`", released.path);
            breach(released.line, found, "no secret in an output")
        })
        .collect()
}

fn is_bsn(field: &Field) -> bool {
    field.kind == Type::Text(Some(Form::Bsn))
}

fn bsn(view: &View<'_>) -> Vec<Breach> {
    view.used()
        .iter()
        .filter(|released| is_bsn(released.field))
        .map(|released| {
            let found = format!("the BSN `{}`", released.path);
            breach(released.line, found, "no BSN in an output")
        })
        .collect()
}

fn national_number(view: &View<'_>) -> Vec<Breach> {
    // A paper that is there but not whole was told of while reading it.
    if view.draft.lines.authorisation.is_some() {
        return Vec::new();
    }
    view.used()
        .iter()
        .filter(|released| released.field.is_national() && !is_bsn(released.field))
        .map(|released| {
            let found = format!("the national number `{}`", released.path);
            let expected = "`authorisation` with `reference`, `approved_by`, `approved_on`, `from` and `until`";
            breach(released.line, found, expected)
        })
        .collect()
}

fn special_category(view: &View<'_>) -> Vec<Breach> {
    let recipient = &view.draft.recipient;
    let explicit = recipient.consent.as_ref().is_some_and(|gate| gate.explicit);
    if explicit && recipient.legal_basis == LegalBasis::Consent {
        return Vec::new();
    }
    view.used()
        .iter()
        .filter(|released| released.field.class == Class::Special)
        .map(|released| {
            let found = format!("the special category `{}`", released.path);
            let expected = "`legal_basis = \"consent\"` and a `consent` with `explicit = true`";
            breach(released.line, found, expected)
        })
        .collect()
}

fn explicit_consent(view: &View<'_>) -> Vec<Breach> {
    let consent = view.draft.recipient.consent.as_ref();
    let implied = consent.is_some_and(|gate| gate.explicit && gate.implied_by.is_some());
    let line = view.draft.lines.consent;
    let mistake = || {
        breach(
            line,
            "`implied_by` beside `explicit = true`",
            "one of the two",
        )
    };
    implied.then(mistake).into_iter().collect()
}

fn free_text(view: &View<'_>) -> Vec<Breach> {
    view.used()
        .iter()
        .filter(|released| released.field.class == Class::FreeText && !released.detected)
        .map(|released| {
            let found = format!("the free text `{}`", released.path);
            breach(
                released.line,
                found,
                "a field of its own with `detect = \"all\"`",
            )
        })
        .collect()
}

fn login(view: &View<'_>) -> Vec<Breach> {
    if view.draft.recipient.credential_reason.is_some() {
        return Vec::new();
    }
    let released = view.released();
    let mut readable = released.iter().filter(|released| released.readable());
    let card = readable
        .clone()
        .find(|released| released.field.kind == Type::CardNumber);
    let birth = readable.find(|released| is_birth(released.field));
    match (card, birth) {
        (Some(card), Some(birth)) => {
            let found = format!("`{}` and `{}` together", card.path, birth.path);
            let line = card.line.max(birth.line);
            vec![breach(
                line,
                found,
                "one of them masked, or `credential_reason` on record",
            )]
        }
        _ => Vec::new(),
    }
}

fn is_birth(field: &Field) -> bool {
    let name = field.path.rsplit('.').next();
    name.is_some_and(|name| ["birth_date", "birth_year", "birthday"].contains(&name))
}

fn processor(view: &View<'_>) -> Vec<Breach> {
    let recipient = &view.draft.recipient;
    let line = view.draft.lines.role;
    match &recipient.agreement {
        None if view.draft.lines.agreement.is_none() && recipient.processor => {
            let expected = "`agreement` with `reference`, `clauses`, `from` and `until`";
            vec![breach(line, "a processor without an agreement", expected)]
        }
        None => Vec::new(),
        Some(agreement) => CLAUSES
            .iter()
            .filter(|clause| agreement.clauses.iter().all(|other| other != *clause))
            .map(|clause| {
                let line = view.draft.lines.agreement.unwrap_or(line);
                let found = format!("an agreement without the clause `{clause}`");
                breach(
                    line,
                    found,
                    "`use`, `security` and `confidentiality` among its clauses",
                )
            })
            .collect(),
    }
}

fn consent_gate(view: &View<'_>) -> Vec<Breach> {
    let recipient = &view.draft.recipient;
    let missing = recipient.legal_basis == LegalBasis::Consent && recipient.consent.is_none();
    let expected = format!("`consent = {{ purpose = \"{}\" }}`", recipient.purpose);
    let line = view.draft.lines.legal_basis;
    let mistake = || {
        breach(
            line,
            "consent as legal basis without a consent gate",
            expected,
        )
    };
    missing.then(mistake).into_iter().collect()
}

fn consent_purpose(view: &View<'_>) -> Vec<Breach> {
    let recipient = &view.draft.recipient;
    let Some(consent) = &recipient.consent else {
        return Vec::new();
    };
    let known = !consent.purpose.is_empty() && !recipient.purpose.is_empty();
    if !known || consent.purpose == recipient.purpose {
        return Vec::new();
    }
    let found = format!("consent for `{}`", consent.purpose);
    let expected = format!("the recipient's purpose, `{}`", recipient.purpose);
    vec![breach(view.draft.lines.consent, found, expected)]
}

fn marketing(view: &View<'_>) -> Vec<Breach> {
    let recipient = &view.draft.recipient;
    if recipient.marketing || !recipient.purpose.split('-').any(|part| part == "marketing") {
        return Vec::new();
    }
    let found = format!("the purpose `{}` without a mark", recipient.purpose);
    vec![breach(
        view.draft.lines.purpose,
        found,
        "`marketing = true`",
    )]
}

fn pseudonymised(view: &View<'_>) -> Vec<Breach> {
    if !view.draft.recipient.pseudonymised {
        return Vec::new();
    }
    view.released()
        .iter()
        .filter(|released| names_a_person(released) && points(released))
        .map(|released| {
            let found = format!("`{}` readable in a pseudonymised recipient", released.path);
            breach(
                released.line,
                found,
                "a mask that hides it, or no such field",
            )
        })
        .collect()
}

fn names_a_person(released: &Released<'_>) -> bool {
    match released.field.class {
        Class::Plain | Class::FreeText | Class::Secret => false,
        Class::Personal
        | Class::Contact
        | Class::Identifier
        | Class::Financial
        | Class::NationalId
        | Class::Special => true,
    }
}

/// Whether it still points at a person: the month of an event does not, the
/// month of a birth does.
fn points(released: &Released<'_>) -> bool {
    let cut = matches!(released.mask, Some(Mask::Year | Mask::Month));
    released.readable() && (!cut || is_birth(released.field))
}

fn loan_history(view: &View<'_>) -> Vec<Breach> {
    let recipient = &view.draft.recipient;
    let known = view.draft.conditions_whole;
    if view.source.name != "loan" || recipient.loan_history || !known || open_only(view) {
        return Vec::new();
    }
    let expected = "`loan_history = true`, or a condition on `status` without `returned`";
    let line = view.draft.lines.source;
    vec![breach(line, "returned loans", expected)]
}

/// Whether a condition keeps returned loans out.
fn open_only(view: &View<'_>) -> bool {
    view.draft.recipient.when.iter().any(|condition| {
        if condition.field.joined {
            return false;
        }
        match (&condition.test, condition.field.path.as_str()) {
            (Test::Absent, "returned_at") => true,
            (Test::Is(literals), "status") => {
                !literals.contains(&Literal::Text("returned".to_owned()))
            }
            _ => false,
        }
    })
}

/// Told once, of the recipient whose name comes last.
fn shared_topic(view: &View<'_>, all: &[Draft]) -> Vec<Breach> {
    let own = &view.draft.recipient;
    all.iter()
        .filter(|other| other.recipient.name < own.name)
        .filter_map(|other| {
            let mut topics = own.topics.names().filter(|topic| !topic.is_empty());
            let shared =
                topics.find(|topic| other.recipient.topics.names().any(|t| t == *topic))?;
            let found = format!("the topic `{shared}` of `{}`", other.recipient.name);
            Some(breach(view.draft.lines.topic, found, "a topic of its own"))
        })
        .take(1)
        .collect()
}

fn source_topic(view: &View<'_>) -> Vec<Breach> {
    let topics = view.draft.recipient.topics.names();
    topics
        .filter_map(|topic| {
            let kind = view.kinds.iter().find(|kind| kind.topic == topic)?;
            let found = format!(
                "the topic `{topic}`, which is the source of `{}`",
                kind.name
            );
            Some(breach(view.draft.lines.topic, found, "a topic of its own"))
        })
        .collect()
}

fn own_topic(view: &View<'_>) -> Vec<Breach> {
    let topics = view.draft.recipient.topics.names();
    topics
        .filter(|topic| topic.starts_with(OWN_TOPICS))
        .map(|topic| {
            breach(
                view.draft.lines.topic,
                format!("the topic `{topic}`"),
                "a topic that does not begin with `zeef.`",
            )
        })
        .collect()
}

fn period(view: &View<'_>) -> Vec<Breach> {
    let recipient = &view.draft.recipient;
    let missing = recipient.pseudonymised && recipient.period.is_none();
    let expected = "`period = { every = \"P1M\", of = \"PATH\" }`, by a date of the record";
    let line = view.draft.lines.pseudonymised;
    let mistake = || breach(line, "a pseudonymised recipient without a period", expected);
    missing.then(mistake).into_iter().collect()
}

fn pseudonym_by_month(view: &View<'_>) -> Vec<Breach> {
    let recipient = &view.draft.recipient;
    if !recipient.pseudonymised {
        return Vec::new();
    }
    let expected = match &recipient.period {
        Some(period) if !period.of.path.is_empty() => {
            format!("`month_of = \"{}\"`", period.of.path)
        }
        _ => "`month_of`, a date of the record".to_owned(),
    };
    let id = &view.source.id;
    let known = view.source.field(id).is_some();
    let own = |released: &Released<'_>| released.path == *id || !known;
    view.released()
        .iter()
        .filter(|released| matches!(released.mask, Some(Mask::Pseudonym { month_of: None })))
        .filter(|released| names_a_person(released) && !own(released))
        .map(|released| {
            let found = format!("the same pseudonym of `{}` in every month", released.path);
            breach(released.line, found, expected.as_str())
        })
        .collect()
}

fn lane_of_its_own(draft: &Draft, lanes: &[Lane]) -> Vec<Breach> {
    let recipient = &draft.recipient;
    let name = &recipient.name;
    let lane = lanes.iter().find(|lane| lane.recipients.contains(name));
    let Some(lane) = lane.filter(|_| recipient.pseudonymised) else {
        return Vec::new();
    };
    let line = draft.lines.pseudonymised;
    let mut breaches = Vec::new();
    let others: Vec<String> = lane
        .recipients
        .iter()
        .filter(|one| *one != name)
        .cloned()
        .collect();
    if !others.is_empty() {
        let found = format!("the lane `{}` with {}", lane.name, listed(&others));
        let expected = format!(
            "a lane of its own in zeef.toml: `[lanes.{name}]` with `recipients = [\"{name}\"]`"
        );
        breaches.push(breach(line, found, expected));
    }
    if lane.workers != 1 {
        let found = format!("{} workers in the lane `{}`", lane.workers, lane.name);
        breaches.push(breach(line, found, "one, as outputs go out in one order"));
    }
    breaches
}
