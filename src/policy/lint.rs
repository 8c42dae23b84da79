//! The rules that a policy must pass: what no recipient's file may say.
//!
//! A row has a name, what it forbids, why, and an example that fails; one test
//! runs every example. Whether a paper is in force on a day is no rule but a
//! gate. A rule never looks at a record.

use super::catalogue::{Class, Kind, Type};
use super::detect::DETECTORS;
use super::document::{Mistake, listed};
use super::influence::{Influence, Seen, Way, influences};
use super::load::Draft;
use super::mask::Mask;
use super::recipient::{LegalBasis, Literal, OutputValue, Projection, Test, Topics};
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
        forbids: "a secret that has any influence: in an output, masked or not, or as a condition",
        why: "GDPR art. 32; S03",
        example: r#"when = [{ field = "status", is = ["open"] }, { field = "patron.pin_hash", present = true }]"#,
        wrong: "whoever gets the record knows that the patron has a PIN",
        paper: false,
        check: Check::One(secret),
    },
    LintDef {
        name: "bsn",
        forbids: "a BSN that has any influence, masked or not, whatever the authorisation",
        why: "GDPR art. 87; UAVG art. 46; S01",
        example: r#"fields.number = { from = "patron.bsn" }
authorisation = { reference = "A-1", approved_by = "DPO", approved_on = "2026-01-01", from = "2026-01-01", until = "2030-01-01" }"#,
        wrong: "no law lets a library pass on a BSN",
        paper: false,
        check: Check::One(bsn),
    },
    LintDef {
        name: NATIONAL_NUMBER,
        forbids: "a national number that has any influence without a complete authorisation",
        why: "GDPR art. 87; F09",
        example: r#"fields.number = { from = "patron.rijksregisternummer" }"#,
        wrong: "there is no authorisation with reference, approval and term",
        paper: true,
        check: Check::One(national_number),
    },
    LintDef {
        name: "special-category",
        forbids: "a special category of data that has any influence without explicit, written consent",
        why: "GDPR art. 9(2)(a); S02, S04",
        example: r#"when = [{ field = "status", is = ["open"] }, { field = "patron.diet", is = ["halal"] }]"#,
        wrong: "whoever is in it has that diet, and the basis is a contract",
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
        name: "implied-consent",
        forbids: "a consent that is implied by what is no event, or that nobody can withdraw",
        why: "GDPR art. 4(11); G04",
        example: r#"legal_basis = "consent"
consent = { purpose = "example", implied_by = "patron.updated_at" }"#,
        wrong: "a record that was changed says nothing of what the patron wants",
        paper: false,
        check: Check::One(implied_consent),
    },
    LintDef {
        name: "free-text",
        forbids: "free text that is not read by all detectors, without a recorded reason",
        why: "GDPR art. 5(1)(c); S04",
        example: r#"fields.remark = { from = "note", detect = ["email"] }"#,
        wrong: "whatever staff typed would go out, but for e-mail addresses",
        paper: false,
        check: Check::One(free_text),
    },
    LintDef {
        name: "pseudonym",
        forbids: "a pseudonym of what is no identifier",
        why: "GDPR art. 4(5); art. 32",
        example: r#"fields.born = { from = "patron.birth_date", mask = "pseudonym" }"#,
        wrong: "there are few dates of birth: who can have pseudonyms made tries them all",
        paper: false,
        check: Check::One(pseudonym),
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
        name: "pseudonymised-condition",
        forbids: "a condition on what points at a person, in a recipient that is called pseudonymised",
        why: "GDPR art. 4(5); F19",
        example: r#"pseudonymised = true
period = { every = "P1M", of = "loaned_at" }
when = [{ field = "status", is = ["open"] }, { field = "patron.email", present = true }]"#,
        wrong: "whoever is in it has an e-mail address, and whoever is not has none",
        paper: false,
        check: Check::One(pseudonymised_condition),
    },
    LintDef {
        name: "pseudonymised-time",
        forbids: "a time finer than a day in a recipient that is called pseudonymised",
        why: "GDPR art. 4(5); F19",
        example: r#"pseudonymised = true
period = { every = "P1M", of = "loaned_at" }
fields.changed = { from = "patron.updated_at" }"#,
        wrong: "no two records have the same millisecond: it joins them with any other list",
        paper: false,
        check: Check::One(pseudonymised_time),
    },
    LintDef {
        name: "pseudonymised-text",
        forbids: "free text in a recipient that is called pseudonymised",
        why: "GDPR art. 4(5); F19",
        example: r#"pseudonymised = true
period = { every = "P1M", of = "loaned_at" }
fields.remark = { from = "note", detect = "all" }"#,
        wrong: "who is meant can be told from a text without any name",
        paper: false,
        check: Check::One(pseudonymised_text),
    },
    LintDef {
        name: "loan-history",
        forbids: "returned loans without `loan_history = true`",
        why: "G11",
        example: r#"when = [{ field = "returned_at", present = false }]"#,
        wrong: "a loan that is returned may lack the time, and its patron may keep no loan history",
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
        name: "shared-party",
        forbids: "two receiving parties on one topic",
        why: "GDPR art. 5(1)(f); F03",
        example: r#"topic = { by = "branch", of = { "east" = "out.example.a", "west" = "out.example.a" } }"#,
        wrong: "each of the two reads what is for the other",
        paper: false,
        check: Check::One(shared_party),
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
        example_lines(lacks, self.example)
    }
}

/// Writes a file of all that every example has, but for the key that it `lacks`
/// and those that `lines` set.
fn example_lines(lacks: &str, lines: &str) -> String {
    let sets = |key: &str| {
        let start = format!("{key} =");
        lines.lines().any(|line| line.starts_with(&start))
    };
    let common = EXAMPLE_COMMON
        .iter()
        .filter(|(key, _)| *key != lacks && !sets(key))
        .map(|(key, value)| format!("{key} = {value}\n"));
    let text: String = common.collect();
    format!("{text}{lines}\n")
}

/// Writes a file that breaks no rule, with these lines beside it.
#[cfg(test)]
pub(super) fn template_text(lines: &str) -> String {
    example_lines("", lines)
}

/// Tells whether a switched-off recipient may break the rule of this name.
pub(super) fn is_paper(rule: &str) -> bool {
    LINTS.iter().any(|lint| lint.paper && lint.name == rule)
}

/// Runs every rule over every recipient whose source is known.
pub(super) fn run(kinds: &[Kind], drafts: &[Draft]) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for draft in drafts.iter().filter(|draft| draft.resolved) {
        let Some(source) = kinds.get(draft.recipient.source) else {
            continue;
        };
        let view = View {
            draft,
            source,
            kinds,
            influences: influences(&draft.recipient, kinds),
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
    kinds: &'a [Kind],
    /// All that influences what the recipient has.
    influences: Vec<Influence<'a>>,
}

impl<'a> View<'a> {
    /// All that can be told from what the recipient has; what is only left out
    /// because of a field tells nothing of it.
    fn told(&self) -> impl Iterator<Item = &Influence<'a>> {
        let all = self.influences.iter();
        all.filter(|one| !matches!(one.way, Way::LeftOut(_)))
    }

    /// A breach for each of `some`: `what` it is, by which way, and what is
    /// expected.
    fn breaches<'i>(
        &self,
        some: impl Iterator<Item = &'i Influence<'i>>,
        what: &str,
        expected: &str,
    ) -> Vec<Breach> {
        some.map(|one| {
            let path = self.path(one);
            let way = match one.way {
                Way::Field(_) => String::new(),
                way => format!(" {}", way.describe(&self.draft.recipient)),
            };
            let line = self.draft.lines.of(one.way);
            breach(line, format!("{what} `{path}`{way}"), expected)
        })
        .collect()
    }

    /// Returns how a single output field is made; `None` where `way` is none.
    fn projection(&self, way: Way) -> Option<&Projection> {
        let Way::Field(place) = way else {
            return None;
        };
        match &self.draft.recipient.fields.get(place)?.value {
            OutputValue::Scalar(projection) => Some(projection),
            _ => None,
        }
    }

    /// The path as the recipient's file has it.
    fn path(&self, one: &Influence<'_>) -> String {
        let prefix = if one.at.joined { "patron." } else { "" };
        format!("{prefix}{}", one.at.path)
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
    let all = view.influences.iter();
    let secrets = all.filter(|one| one.field.class == Class::Secret);
    view.breaches(secrets, "the secret", "that no secret decides anything")
}

fn bsn(view: &View<'_>) -> Vec<Breach> {
    let bsns = view.told().filter(|one| one.field.is_bsn());
    view.breaches(bsns, "the BSN", "that no BSN decides anything")
}

fn national_number(view: &View<'_>) -> Vec<Breach> {
    // A paper that is there but not whole was told of while reading it.
    if view.draft.lines.authorisation.is_some() {
        return Vec::new();
    }
    let national = view
        .told()
        .filter(|one| one.field.is_national() && !one.field.is_bsn());
    let expected =
        "`authorisation` with `reference`, `approved_by`, `approved_on`, `from` and `until`";
    view.breaches(national, "the national number", expected)
}

fn special_category(view: &View<'_>) -> Vec<Breach> {
    let recipient = &view.draft.recipient;
    let explicit = recipient.consent.as_ref().is_some_and(|gate| gate.explicit);
    if explicit && recipient.legal_basis == LegalBasis::Consent {
        return Vec::new();
    }
    let special = view.told().filter(|one| one.field.class == Class::Special);
    let expected = "`legal_basis = \"consent\"` and a `consent` with `explicit = true`";
    view.breaches(special, "the special category", expected)
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

fn implied_consent(view: &View<'_>) -> Vec<Breach> {
    let events = || view.influences.iter().filter(|one| one.way == Way::Event);
    let others = events().filter(|one| one.field.class != Class::Event);
    let expected = "a field of the class `event`";
    let mut breaches = view.breaches(others, "consent by", expected);
    let is_heard = view.kinds.iter().any(|kind| kind.name == "consent");
    if !is_heard {
        let expected = "`consent` among the kinds of record: nobody could withdraw otherwise";
        breaches.extend(view.breaches(events(), "consent by", expected));
    }
    breaches
}

fn free_text(view: &View<'_>) -> Vec<Breach> {
    if view.draft.recipient.free_text_reason.is_some() {
        return Vec::new();
    }
    let unread = view
        .told()
        .filter(|one| one.field.class == Class::FreeText && !is_read_whole(view, one.way));
    let expected = "a field of its own with `detect = \"all\"`, or `free_text_reason` on record";
    view.breaches(unread, "the free text", expected)
}

/// Whether all detectors read the text, and read it whole: what a mask cuts off
/// they do not know any more.
fn is_read_whole(view: &View<'_>, way: Way) -> bool {
    let Some(projection) = view.projection(way) else {
        return false;
    };
    let detectors = projection.detect.as_ref();
    let all = detectors.is_some_and(|some| some.names().count() == DETECTORS.len());
    all && matches!(projection.mask, None | Some(Mask::Lowercase))
}

fn pseudonym(view: &View<'_>) -> Vec<Breach> {
    let made = view
        .told()
        .filter(|one| one.seen == Seen::Pseudonym && matches!(one.way, Way::Field(_)));
    let guessed = made.filter(|one| {
        let field = one.field;
        field.class != Class::Identifier || field.is_birth() || field.kind.is_dated()
    });
    let expected = "a pseudonym of a field of the class `identifier`";
    view.breaches(guessed, "a pseudonym of", expected)
}

fn login(view: &View<'_>) -> Vec<Breach> {
    if view.draft.recipient.credential_reason.is_some() {
        return Vec::new();
    }
    let is_card = |one: &&Influence<'_>| one.field.kind == Type::CardNumber;
    let card = view
        .told()
        .filter(is_card)
        .find(|one| one.seen == Seen::Whole);
    let birth = view.told().find(|one| shows_birth(one));
    match (card, birth) {
        (Some(card), Some(birth)) => {
            let (card_path, birth_path) = (view.path(card), view.path(birth));
            let found = format!("`{card_path}` and `{birth_path}` together");
            let lines = &view.draft.lines;
            let line = lines.of(card.way).max(lines.of(birth.way));
            let expected = "one of them masked so that half of it and four digits stay hidden, \
                            or `credential_reason` on record";
            vec![breach(line, found, expected)]
        }
        _ => Vec::new(),
    }
}

/// Whether a date or year of birth can be read; a rijksregisternummer begins with
/// one.
fn shows_birth(one: &Influence<'_>) -> bool {
    let of_number = one.field.is_national() && !one.field.is_bsn() && one.seen == Seen::Whole;
    of_number || (one.field.is_birth() && one.seen >= Seen::Date)
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
    let readable = pseudonymised_ways(view, false).filter(|one| points(one));
    let expected = "a mask that hides it, or no such field";
    view.breaches(readable, "in a pseudonymised recipient readable", expected)
}

/// Whether it points at a person: the month of an event does not, that of a
/// birth does.
fn points(one: &Influence<'_>) -> bool {
    let birth = one.field.is_birth();
    let whole = one.seen == Seen::Whole && one.field.is_of_a_person();
    whole || (birth && one.seen >= Seen::Date)
}

fn pseudonymised_condition(view: &View<'_>) -> Vec<Breach> {
    let asked = pseudonymised_ways(view, true)
        .filter(|one| one.field.is_of_a_person() || one.field.is_birth());
    let expected = "conditions on what does not point at a person";
    view.breaches(asked, "in a pseudonymised recipient", expected)
}

fn pseudonymised_time(view: &View<'_>) -> Vec<Breach> {
    let ways = [false, true].into_iter();
    let all = ways.flat_map(|conditions| pseudonymised_ways(view, conditions));
    let fine = all.filter(|one| one.seen == Seen::Whole && one.field.is_finer_than_a_day());
    view.breaches(
        fine,
        "in a pseudonymised recipient the time",
        "its month or year",
    )
}

fn pseudonymised_text(view: &View<'_>) -> Vec<Breach> {
    let ways = [false, true].into_iter();
    let all = ways.flat_map(|conditions| pseudonymised_ways(view, conditions));
    let texts = all.filter(|one| one.field.class == Class::FreeText);
    view.breaches(texts, "in a pseudonymised recipient the free text", "none")
}

/// What can be told from a pseudonymised recipient, by its conditions or by
/// anything else; nothing of another recipient.
fn pseudonymised_ways<'v, 'a>(
    view: &'v View<'a>,
    conditions: bool,
) -> impl Iterator<Item = &'v Influence<'a>> {
    let on = view.draft.recipient.pseudonymised;
    view.told().filter(move |one| {
        let asked = matches!(one.way, Way::Condition(_) | Way::Stage(_) | Way::Topic);
        on && asked == conditions
    })
}

fn loan_history(view: &View<'_>) -> Vec<Breach> {
    let recipient = &view.draft.recipient;
    let known = view.draft.conditions_whole;
    let has_returned = view.source.name == "loan" || view.source.field("returned_at").is_some();
    if !has_returned || recipient.loan_history || !known || open_only(view) {
        return Vec::new();
    }
    let expected = "`loan_history = true`, or a condition on `status` without `returned`";
    let line = view.draft.lines.source;
    vec![breach(line, "returned loans", expected)]
}

/// Whether a condition keeps returned loans out. That the time of the return is
/// missing says nothing where there is a status.
fn open_only(view: &View<'_>) -> bool {
    let has_status = view.source.field("status").is_some();
    view.draft.recipient.when.iter().any(|condition| {
        if condition.field.joined {
            return false;
        }
        match (&condition.test, condition.field.path.as_str()) {
            (Test::Absent, "returned_at") => !has_status,
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

fn shared_party(view: &View<'_>) -> Vec<Breach> {
    let Topics::Each { of, .. } = &view.draft.recipient.topics else {
        return Vec::new();
    };
    let line = view.draft.lines.topic;
    of.iter()
        .enumerate()
        .filter_map(|(place, (party, topic))| {
            let mut before = of.iter().take(place);
            let (other, _) = before.find(|(_, other)| other == topic)?;
            let found = format!("the topic `{topic}` of `{other}` for `{party}`");
            Some(breach(line, found, "a topic of its own"))
        })
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
    let own = |one: &Influence<'_>| view.path(one) == *id || !known;
    view.told()
        .filter(|one| one.field.is_of_a_person() && !own(one))
        .filter(|one| {
            let mask = view.projection(one.way).and_then(|one| one.mask.as_ref());
            matches!(mask, Some(Mask::Pseudonym { month_of: None }))
        })
        .map(|one| {
            let found = format!("the same pseudonym of `{}` in every month", view.path(one));
            breach(view.draft.lines.of(one.way), found, expected.as_str())
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
