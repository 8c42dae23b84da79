//! The rules of policies: what a recipient's file must not say.
//!
//! A row has a name, what it forbids, why, and an example that a test runs. Rules never look at
//! records or the date; papers in force are a gate.

use super::document::{Mistake, join_quoted};
use super::load::RecipientDraft;
use super::settings::LaneSettings;
use crate::policy::catalogue::{CatalogueField, DataClass, FieldType, RecordKind, Role};
use crate::policy::detect::DetectorSet;
use crate::policy::influence::{Exposure, FieldInfluence, InfluenceChannel, collect_influences};
use crate::policy::mask::Mask;
use crate::policy::paper::Requirement;
use crate::policy::recipient::{
    ConditionLiteral, ConditionTest, DemandedPart, FieldProjection, LegalBasis, OutputTopics,
    OutputValue, RetentionAction, ServedLibraries,
};
use crate::policy::term::TERM_MAX;

/// A row of [`LINTS`].
pub struct LintDef {
    pub name: &'static str,
    pub forbids: &'static str,
    /// The article of the GDPR, or the flow id.
    pub why: &'static str,
    /// Lines of a recipient's file that break the rule; see [`LintDef::example_file`].
    pub example: &'static str,
    pub wrong: &'static str,
    /// Disabled recipients may break it, as their papers may still be missing.
    pub is_excused_when_disabled: bool,
    check: LintCheck,
}

/// How a rule is checked.
enum LintCheck {
    /// By the reader: the key is required; the example lacks it.
    RequiredKey(&'static str),
    Recipient(fn(&LintContext<'_>) -> Vec<Violation>),
    /// Against all recipients.
    AcrossRecipients(fn(&LintContext<'_>, &[RecipientDraft]) -> Vec<Violation>),
    /// Against the lanes of `zeef.toml`.
    Lanes(fn(&RecipientDraft, &[LaneSettings]) -> Vec<Violation>),
}

struct Violation {
    line: usize,
    found: String,
    expected: String,
}

fn violation(line: usize, found: impl Into<String>, expected: impl Into<String>) -> Violation {
    Violation { line, found: found.into(), expected: expected.into() }
}

pub(crate) const LEGAL_BASIS_RULE: &str = "legal-basis";
pub(crate) const PURPOSE_RULE: &str = "purpose";
pub(crate) const RETENTION_RULE: &str = "retention";
pub(crate) const PROCESSOR_RULE: &str = "processor-agreement";
pub(crate) const NATIONAL_NUMBER_RULE: &str = "national-number";
pub(crate) const NOTICE_RULE: &str = "notice";
pub(crate) const PAPERS_RULE: &str = "papers";

/// The clauses of an agreement with a processor (F18).
const REQUIRED_CLAUSES: &[&str] = &["use", "security", "confidentiality"];

/// Prefix of the daemon's own topics.
pub(crate) const RESERVED_TOPIC_PREFIX: &str = "zeef.";

/// Every rule.
pub const LINTS: &[LintDef] = &[
    LintDef {
        name: LEGAL_BASIS_RULE,
        forbids: "a recipient without a legal basis",
        why: "GDPR art. 6(1)",
        example: "",
        wrong: "nothing says on which ground of art. 6 it may have anything",
        is_excused_when_disabled: false,
        check: LintCheck::RequiredKey("legal_basis"),
    },
    LintDef {
        name: PURPOSE_RULE,
        forbids: "a recipient without a purpose",
        why: "GDPR art. 5(1)(b)",
        example: "",
        wrong: "no consent and no objection could be about it",
        is_excused_when_disabled: false,
        check: LintCheck::RequiredKey("purpose"),
    },
    LintDef {
        name: RETENTION_RULE,
        forbids: "a recipient without a retention term",
        why: "GDPR art. 5(1)(e)",
        example: "",
        wrong: "it would have what it has for ever",
        is_excused_when_disabled: false,
        check: LintCheck::RequiredKey("retention"),
    },
    LintDef {
        name: NOTICE_RULE,
        forbids: "a recipient of which patrons were not told",
        why: "GDPR art. 13(3); F50",
        example: "",
        wrong: "nothing says when patrons were told of the purpose, and where they can read it",
        is_excused_when_disabled: false,
        check: LintCheck::RequiredKey("notice"),
    },
    LintDef {
        name: PAPERS_RULE,
        forbids: "a recipient without the papers and lists that its file asks for, or with an empty list",
        why: "GDPR art. 5(2); F06, F09, F16, F20, F22, F23, F36",
        example: r#"requires = ["dpo_advice"]"#,
        wrong: "the data protection officer was not asked",
        is_excused_when_disabled: true,
        check: LintCheck::Recipient(check_papers),
    },
    LintDef {
        name: "excluded-recipient",
        forbids: "two recipients for one library of which one excludes the other",
        why: "F08, F12",
        example: r#"excludes = ["deurwaarder"]"#,
        wrong: "`deurwaarder` gets what is for this one alone",
        is_excused_when_disabled: true,
        check: LintCheck::AcrossRecipients(check_excluded_recipient),
    },
    LintDef {
        name: "retention-limit",
        forbids: "a retention term of more than five years",
        why: "GDPR art. 5(1)(e); R02",
        example: r#"retention = { term = "P6Y", from = "due_on", after = "retract" }"#,
        wrong: "six years are more than the five that the libraries allow themselves",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_retention_limit),
    },
    LintDef {
        name: "secret",
        forbids: "a secret that has any influence: in an output, masked or not, or as a condition",
        why: "GDPR art. 32; S03",
        example: r#"when = [{ field = "status", is = ["open"] }, { field = "patron.pin_hash", present = true }]"#,
        wrong: "whoever gets the record knows that the patron has a PIN",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_secret),
    },
    LintDef {
        name: "bsn",
        forbids: "a BSN that has any influence, masked or not, whatever the authorisation",
        why: "GDPR art. 87; UAVG art. 46; S01",
        example: r#"fields.number = { from = "patron.bsn" }
authorisation = { reference = "A-1", approved_by = "DPO", approved_on = "2026-01-01", from = "2026-01-01", until = "2030-01-01" }"#,
        wrong: "no law lets a library pass on a BSN",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_bsn),
    },
    LintDef {
        name: NATIONAL_NUMBER_RULE,
        forbids: "a national number that has any influence without a complete authorisation",
        why: "GDPR art. 87; F09",
        example: r#"fields.number = { from = "patron.rijksregisternummer" }"#,
        wrong: "there is no authorisation with reference, approval and term",
        is_excused_when_disabled: true,
        check: LintCheck::Recipient(check_national_number),
    },
    LintDef {
        name: "special-category",
        forbids: "a special category of data that has any influence without explicit, written consent",
        why: "GDPR art. 9(2)(a); S02, S04",
        example: r#"when = [{ field = "status", is = ["open"] }, { field = "patron.diet", is = ["halal"] }]"#,
        wrong: "whoever is in it has that diet, and the basis is a contract",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_special_category),
    },
    LintDef {
        name: "explicit-consent",
        forbids: "an explicit consent that an event implies",
        why: "GDPR art. 9(2)(a); G04",
        example: r#"legal_basis = "consent"
consent = { purpose = "example", explicit = true, implied_by = "patron.online_account.created_at" }"#,
        wrong: "making an account is no explicit, written statement",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_explicit_consent),
    },
    LintDef {
        name: "implied-consent",
        forbids: "a consent that is implied by what is no event, or that nobody can withdraw",
        why: "GDPR art. 4(11); G04",
        example: r#"legal_basis = "consent"
consent = { purpose = "example", implied_by = "patron.updated_at" }"#,
        wrong: "a record that was changed says nothing of what the patron wants",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_implied_consent),
    },
    LintDef {
        name: "free-text",
        forbids: "free text that is not read by all detectors, without a recorded reason",
        why: "GDPR art. 5(1)(c); S04",
        example: r#"fields.remark = { from = "note", detect = ["email"] }"#,
        wrong: "whatever staff typed would go out, but for e-mail addresses",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_free_text),
    },
    LintDef {
        name: "pseudonym",
        forbids: "a pseudonym of what is no identifier",
        why: "GDPR art. 4(5); art. 32",
        example: r#"fields.born = { from = "patron.birth_date", mask = "pseudonym" }"#,
        wrong: "there are few dates of birth: who can have pseudonyms made tries them all",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_pseudonym),
    },
    LintDef {
        name: "login",
        forbids: "card number and date or year of birth together, both readable, without a recorded reason",
        why: "GDPR art. 32; S05",
        example: r#"fields.card = { from = "patron.card_number" }
fields.born = { from = "patron.birth_date", mask = "year" }"#,
        wrong: "card number and birth day and year are the default login",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_login),
    },
    LintDef {
        name: PROCESSOR_RULE,
        forbids: "a processor without a complete agreement",
        why: "GDPR art. 28(3); F18",
        example: r#"role = "processor"
agreement = { reference = "A-1", clauses = ["use", "security"], from = "2026-01-01", until = "2030-01-01" }"#,
        wrong: "the agreement has no clause on confidentiality",
        is_excused_when_disabled: true,
        check: LintCheck::Recipient(check_processor),
    },
    LintDef {
        name: "consent-gate",
        forbids: "consent as legal basis without a consent gate",
        why: "GDPR art. 7(1); G01",
        example: r#"legal_basis = "consent""#,
        wrong: "nothing asks whether the patron consented",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_consent_gate),
    },
    LintDef {
        name: "consent-purpose",
        forbids: "a consent for another purpose than the recipient's",
        why: "GDPR art. 6(1)(a); G01",
        example: r#"legal_basis = "consent"
consent = { purpose = "newsletter" }"#,
        wrong: "who wants a newsletter did not consent to this",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_consent_purpose),
    },
    LintDef {
        name: "marketing",
        forbids: "a purpose that is marketing by its name and not marked as such",
        why: "GDPR art. 21(2); G07, F27",
        example: r#"purpose = "direct-marketing""#,
        wrong: "without `marketing = true` an objection to marketing does not stop it",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_marketing),
    },
    LintDef {
        name: "pseudonymised",
        forbids: "a readable personal field, or letters or digits of one, in a recipient that is called pseudonymised",
        why: "GDPR art. 4(5); F19",
        example: r#"pseudonymised = true
period = { every = "P1M", of = "loaned_at" }
fields.born = { from = "patron.birth_date" }"#,
        wrong: "a full date of birth points at a person",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_pseudonymised),
    },
    LintDef {
        name: "pseudonymised-condition",
        forbids: "a condition on what points at a person or on a moment, in a recipient that is called pseudonymised",
        why: "GDPR art. 4(5); F19",
        example: r#"pseudonymised = true
period = { every = "P1M", of = "loaned_at" }
when = [{ field = "status", is = ["open"] }, { field = "patron.email", present = true }]"#,
        wrong: "whoever is in it has an e-mail address, and whoever is not has none",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_pseudonymised_condition),
    },
    LintDef {
        name: "pseudonymised-term",
        forbids: "a term that starts at a date of the patron and takes back or thins, in a recipient that is called pseudonymised",
        why: "GDPR art. 4(5); F19",
        example: r#"pseudonymised = true
period = { every = "P1M", of = "loaned_at" }
retention = { term = "P2Y", from = "patron.membership.starts_on", after = "retract" }"#,
        wrong: "all rows of a patron go on one day: it joins those of all months",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_pseudonymised_term),
    },
    LintDef {
        name: "pseudonymised-time",
        forbids: "a time finer than a day in a recipient that is called pseudonymised",
        why: "GDPR art. 4(5); F19",
        example: r#"pseudonymised = true
period = { every = "P1M", of = "loaned_at" }
fields.changed = { from = "patron.updated_at" }"#,
        wrong: "no two records have the same millisecond: it joins them with any other list",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_pseudonymised_time),
    },
    LintDef {
        name: "pseudonymised-text",
        forbids: "free text in a recipient that is called pseudonymised",
        why: "GDPR art. 4(5); F19",
        example: r#"pseudonymised = true
period = { every = "P1M", of = "loaned_at" }
fields.remark = { from = "note", detect = "all" }"#,
        wrong: "who is meant can be told from a text without any name",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_pseudonymised_text),
    },
    LintDef {
        name: "ending-condition",
        forbids: "a condition on a date of the record itself that time ends, where outputs are forgotten",
        why: "GDPR art. 5(1)(e), 17",
        example: r#"when = [{ field = "status", is = ["open"] }, { field = "due_on", not_before = "now" }]
retention = { term = "P1Y", from = "due_on", after = "forget" }"#,
        wrong: "nobody could say whether what it has was forgotten, or has to be taken back",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_ending_condition),
    },
    LintDef {
        name: "loan-history",
        forbids: "returned loans without `loan_history = true`",
        why: "G11",
        example: r#"when = [{ field = "returned_at", present = false }]"#,
        wrong: "a loan that is returned may lack the time, and its patron may keep no loan history",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_loan_history),
    },
    LintDef {
        name: "thinned-patron",
        forbids: "a field of the patron in what is left of a thinned output",
        why: "GDPR art. 5(1)(c); G11",
        example: r#"thinned = { drop = ["branch"], after = "P90D", from = "due_on" }
fields.mail = { from = "patron.email" }"#,
        wrong: "who is left out in one field stands in another",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_thinned),
    },
    LintDef {
        name: "without-patron",
        forbids: "a recipient without patron that shows, asks or may repeat something of a patron",
        why: "GDPR art. 17, 21; F37",
        example: r#"without_patron = "loans are only counted"
fields.born = { from = "patron.birth_date" }"#,
        wrong: "an erasure or an objection would take nothing back of what it shows of the patron",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_without_patron),
    },
    LintDef {
        name: "demanded",
        forbids: "what a record demands of a patron, in a recipient without a legal obligation",
        why: "GDPR art. 6(1)(c); F36",
        example: r#"source = "demand"
key = { pseudonym = "demand_id" }
when = [{ field = "decision.decision", is = ["granted"] }]
retention = { term = "P1Y", from = "decision.at", after = "retract" }
credential_reason = "the demand names them"
fields.branch = { from = "authority" }
fields.patron = { demanded = "fields[]", as = "values" }"#,
        wrong: "whoever writes a demand gets any field: only a law can oblige to that",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_demanded),
    },
    LintDef {
        name: "confidential",
        forbids: "a recipient that patrons are not told of without a legal obligation, or beside one of the same records that they are told of",
        why: "GDPR art. 12, 15, 23; F36",
        example: "confidential = true",
        wrong: "a patron may know who gets data on the basis of a contract",
        is_excused_when_disabled: false,
        check: LintCheck::AcrossRecipients(check_confidential),
    },
    LintDef {
        name: "shared-topic",
        forbids: "two recipients on one topic",
        why: "GDPR art. 5(1)(f); F07",
        example: r#"topic = "out.other""#,
        wrong: "another recipient reads the same topic",
        is_excused_when_disabled: false,
        check: LintCheck::AcrossRecipients(check_shared_topic),
    },
    LintDef {
        name: "shared-party",
        forbids: "two receiving parties on one topic",
        why: "GDPR art. 5(1)(f); F03",
        example: r#"topic = { by = "branch", of = { "east" = "out.example.a", "west" = "out.example.a" } }"#,
        wrong: "each of the two reads what is for the other",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_shared_party),
    },
    LintDef {
        name: "source-topic",
        forbids: "an output topic that is the source of a kind of record",
        why: "GDPR art. 5(1)(f)",
        example: r#"topic = "loan""#,
        wrong: "outputs would be read again as records",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_source_topic),
    },
    LintDef {
        name: "own-topic",
        forbids: "an output topic that begins as those of the daemon itself",
        why: "GDPR art. 5(2)",
        example: r#"topic = "zeef.ledger""#,
        wrong: "outputs would stand among the daemon's own records",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_reserved_topic),
    },
    LintDef {
        name: "period",
        forbids: "a pseudonymised recipient without a period",
        why: "GDPR art. 4(5); F19",
        example: "pseudonymised = true",
        wrong: "when its outputs come says whose they are: another recipient has the name",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_period),
    },
    LintDef {
        name: "pseudonym-by-month",
        forbids: "a pseudonym, but of the record's own id, that is the same in every month, in a pseudonymised recipient",
        why: "GDPR art. 4(5); F19",
        example: r#"pseudonymised = true
period = { every = "P1M", of = "loaned_at" }
fields.patron_ref = { from = "patron_id", mask = "pseudonym" }"#,
        wrong: "it joins all that a patron ever borrowed",
        is_excused_when_disabled: false,
        check: LintCheck::Recipient(check_pseudonym_by_month),
    },
    LintDef {
        name: "lane-of-its-own",
        forbids: "a pseudonymised recipient in a lane with others, or with more than one worker",
        why: "GDPR art. 4(5); F19",
        example: r#"pseudonymised = true
period = { every = "P1M", of = "loaned_at" }"#,
        wrong: "its transactions would be those of recipients that have the names",
        is_excused_when_disabled: false,
        check: LintCheck::Lanes(check_own_lane),
    },
];

/// The lines of every example, unless it sets or omits their key.
const EXAMPLE_DEFAULTS: &[(&str, &str)] = &[
    ("name", r#""example""#),
    ("title", r#""Voorbeeld""#),
    ("topic", r#""out.example""#),
    ("source", r#""loan""#),
    ("purpose", r#""example""#),
    ("purpose_text", r#""Laten zien wat niet mag""#),
    ("legal_basis", r#""contract""#),
    ("controller", r#""De bibliotheek""#),
    ("libraries", r#""all""#),
    ("retention", r#"{ term = "P1Y", from = "due_on", after = "retract" }"#),
    ("key", r#"{ pseudonym = "loan_id" }"#),
    ("when", r#"[{ field = "status", is = ["open"] }]"#),
    ("notice", r#"{ on = "2018-05-25", where = "Privacyverklaring" }"#),
    ("fields.branch", r#"{ from = "branch" }"#),
];

impl LintDef {
    /// Returns the example as a complete file.
    #[must_use]
    pub fn example_file(&self) -> String {
        let omitted_key = match self.check {
            LintCheck::RequiredKey(key) => key,
            LintCheck::Recipient(_) | LintCheck::AcrossRecipients(_) | LintCheck::Lanes(_) => "",
        };
        build_example(omitted_key, self.example)
    }
}

/// Returns a complete file with `lines`, without `omitted_key`.
fn build_example(omitted_key: &str, lines: &str) -> String {
    let sets = |key: &str| {
        let start = format!("{key} =");
        lines.lines().any(|line| line.starts_with(&start))
    };
    let common = EXAMPLE_DEFAULTS
        .iter()
        .filter(|(key, _)| *key != omitted_key && !sets(key))
        .map(|(key, value)| format!("{key} = {value}\n"));
    let text: String = common.collect();
    format!("{text}{lines}\n")
}

/// Returns a complete file that breaks no rule, with additional `lines`.
#[cfg(test)]
pub(crate) fn valid_file_with(lines: &str) -> String {
    build_example("", lines)
}

/// Returns whether disabled recipients may break the rule of this name.
pub(crate) fn is_excused_when_disabled(rule: &str) -> bool {
    LINTS.iter().any(|lint| lint.is_excused_when_disabled && lint.name == rule)
}

/// Checks every recipient whose source is known.
pub(crate) fn check_recipients(kinds: &[RecordKind], drafts: &[RecipientDraft]) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for draft in drafts.iter().filter(|draft| draft.is_source_known) {
        let Some(source) = kinds.get(draft.recipient.source_kind_index) else {
            continue;
        };
        let context = LintContext {
            draft,
            source,
            kinds,
            influences: collect_influences(&draft.recipient, kinds),
        };
        for lint in LINTS {
            let violations = match lint.check {
                LintCheck::RequiredKey(_) | LintCheck::Lanes(_) => Vec::new(),
                LintCheck::Recipient(check) => check(&context),
                LintCheck::AcrossRecipients(check) => check(&context, drafts),
            };
            mistakes.extend(violations.into_iter().map(|violation| {
                Mistake::new(&draft.file, violation.line, violation.found, violation.expected)
                    .with_rule(lint.name)
            }));
        }
    }
    mistakes
}

/// Checks that there is a source of every statement of patrons that may stop a recipient.
pub(crate) fn check_gate_sources(kinds: &[RecordKind], drafts: &[RecipientDraft]) -> Vec<Mistake> {
    // One without the role of a gate is a mistake of its own.
    let is_heard = |name: &str| kinds.iter().any(|kind| kind.name == name);
    let (has_consents, has_objections) = (is_heard("consent"), is_heard("objection"));
    let mut mistakes = Vec::new();
    for draft in drafts.iter().filter(|draft| draft.is_source_known) {
        let recipient = &draft.recipient;
        let mut report = |line: usize, found: &str, expected: &str| {
            mistakes.push(Mistake::new(&draft.file, line, found, expected));
        };
        let is_of_patrons =
            kinds.get(recipient.source_kind_index).is_some_and(|kind| kind.is_keyed_by_patron);
        if is_of_patrons && !has_objections && recipient.can_be_objected_to() {
            let expected = "`objection` among the kinds of record, with `role = \"gate\"`: nobody \
                            could object otherwise";
            report(draft.lines.legal_basis, "a recipient that objections stop", expected);
        }
        // One that an event implies breaks a rule.
        let rule = recipient.consent.as_ref();
        if !has_consents && rule.is_some_and(|rule| rule.implied_by.is_none()) {
            let expected = "`consent` among the kinds of record, with `role = \"gate\"`: nobody \
                            could give or withdraw one otherwise";
            report(draft.lines.consent, "a recipient behind consent", expected);
        }
    }
    mistakes
}

/// Checks the rules on lanes for every recipient.
pub(crate) fn check_lanes(drafts: &[RecipientDraft], lanes: &[LaneSettings]) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for draft in drafts.iter().filter(|draft| draft.is_enabled) {
        for lint in LINTS {
            let LintCheck::Lanes(check) = lint.check else {
                continue;
            };
            mistakes.extend(check(draft, lanes).into_iter().map(|violation| {
                Mistake::new(&draft.file, violation.line, violation.found, violation.expected)
                    .with_rule(lint.name)
            }));
        }
    }
    mistakes
}

/// A recipient and the catalogue.
struct LintContext<'a> {
    draft: &'a RecipientDraft,
    source: &'a RecordKind,
    kinds: &'a [RecordKind],
    influences: Vec<FieldInfluence<'a>>,
}

impl<'a> LintContext<'a> {
    /// Returns what outputs reveal; a field that only causes an omission is not revealed.
    fn inferable_influences(&self) -> impl Iterator<Item = &FieldInfluence<'a>> {
        let all = self.influences.iter();
        all.filter(|one| !matches!(one.channel, InfluenceChannel::OmissionTest(_)))
    }

    /// Returns a violation for each influence: `what` it is, how, and what is expected.
    fn violations<'i>(
        &self,
        some: impl Iterator<Item = &'i FieldInfluence<'i>>,
        what: &str,
        expected: &str,
    ) -> Vec<Violation> {
        some.map(|one| {
            let path = self.path_as_written(one);
            let how = match one.channel {
                InfluenceChannel::OutputField(_) => String::new(),
                channel => format!(" {}", channel.describe(&self.draft.recipient)),
            };
            let line = self.draft.lines.line_of(one.channel);
            violation(line, format!("{what} `{path}`{how}"), expected)
        })
        .collect()
    }

    /// Returns the projection of a scalar output field, or `None`.
    fn projection(&self, channel: InfluenceChannel) -> Option<&FieldProjection> {
        let InfluenceChannel::OutputField(index) = channel else {
            return None;
        };
        match &self.draft.recipient.output_fields.get(index)?.value {
            OutputValue::Scalar(projection) => Some(projection),
            _ => None,
        }
    }

    /// Returns the projections of the output field that has an influence, by itself or by what
    /// its masks read.
    fn projections(&self, channel: InfluenceChannel) -> impl Iterator<Item = &FieldProjection> {
        let index = match channel {
            InfluenceChannel::OutputField(index) | InfluenceChannel::MaskNeed(index) => Some(index),
            _ => None,
        };
        let field = index.and_then(|index| self.draft.recipient.output_fields.get(index));
        field.into_iter().flat_map(|field| field.value.projections())
    }

    /// Returns the path as the recipient's file has it.
    fn path_as_written(&self, one: &FieldInfluence<'_>) -> String {
        let prefix = if one.field_ref.is_joined { "patron." } else { "" };
        format!("{prefix}{}", one.field_ref.path)
    }
}

fn check_retention_limit(context: &LintContext<'_>) -> Vec<Violation> {
    if context.draft.recipient.retention.term.is_never_longer_than(TERM_MAX) {
        return Vec::new();
    }
    let line = context.draft.lines.retention;
    vec![violation(line, "a term of more than five years", "`P5Y` at most")]
}

fn check_secret(context: &LintContext<'_>) -> Vec<Violation> {
    let all = context.influences.iter();
    let secrets = all.filter(|one| one.field.class == DataClass::Secret);
    context.violations(secrets, "the secret", "that no secret decides anything")
}

fn check_bsn(context: &LintContext<'_>) -> Vec<Violation> {
    let bsns = context.inferable_influences().filter(|one| one.field.is_bsn());
    context.violations(bsns, "the BSN", "that no BSN decides anything")
}

fn check_national_number(context: &LintContext<'_>) -> Vec<Violation> {
    // An incomplete paper was reported by the reader.
    if context.draft.lines.authorisation.is_some() {
        return Vec::new();
    }
    let national = context
        .inferable_influences()
        .filter(|one| one.field.is_national_number() && !one.field.is_bsn());
    let expected =
        "`authorisation` with `reference`, `approved_by`, `approved_on`, `from` and `until`";
    context.violations(national, "the national number", expected)
}

fn check_special_category(context: &LintContext<'_>) -> Vec<Violation> {
    let recipient = &context.draft.recipient;
    let explicit = recipient.consent.as_ref().is_some_and(|gate| gate.is_explicit);
    if explicit && recipient.legal_basis == LegalBasis::Consent {
        return Vec::new();
    }
    // The law that obliges to answer a demand decides about these (art. 9(2)(g)).
    let is_demanded =
        |one: &FieldInfluence<'_>| matches!(one.channel, InfluenceChannel::Demanded(_));
    let special = context
        .inferable_influences()
        .filter(|one| one.field.class == DataClass::Special && !is_demanded(one));
    let expected = "`legal_basis = \"consent\"` and a `consent` with `explicit = true`";
    context.violations(special, "the special category", expected)
}

fn check_explicit_consent(context: &LintContext<'_>) -> Vec<Violation> {
    let consent = context.draft.recipient.consent.as_ref();
    let implied = consent.is_some_and(|gate| gate.is_explicit && gate.implied_by.is_some());
    let line = context.draft.lines.consent;
    let is_record = consent
        .and_then(|gate| gate.implied_by.as_ref())
        .is_some_and(|event| event.giver.is_some());
    let found = match is_record {
        true => "`by_record` beside `explicit = true`",
        false => "`implied_by` beside `explicit = true`",
    };
    let mistake = || violation(line, found, "one of the two");
    implied.then(mistake).into_iter().collect()
}

fn check_implied_consent(view: &LintContext<'_>) -> Vec<Violation> {
    let events =
        || view.influences.iter().filter(|one| one.channel == InfluenceChannel::ImpliedConsent);
    let others = events().filter(|one| one.field.class != DataClass::Event);
    let expected = "a field of the class `event`";
    let mut breaches = view.violations(others, "consent by", expected);
    let is_heard = view.kinds.iter().any(|kind| kind.name == "consent");
    if !is_heard {
        let expected = "`consent` among the kinds of record: nobody could withdraw otherwise";
        breaches.extend(view.violations(events(), "consent by", expected));
    }
    breaches
}

fn check_free_text(context: &LintContext<'_>) -> Vec<Violation> {
    if context.draft.recipient.free_text_reason.is_some() {
        return Vec::new();
    }
    let unread = context.inferable_influences().filter(|one| {
        one.field.class == DataClass::FreeText && !is_fully_detected(context, one.channel)
    });
    let expected = "a field of its own with `detect = \"all\"`, or `free_text_reason` on record";
    context.violations(unread, "the free text", expected)
}

/// Returns whether all detectors read the whole text; they miss what a mask cuts off.
fn is_fully_detected(context: &LintContext<'_>, channel: InfluenceChannel) -> bool {
    let Some(projection) = context.projection(channel) else {
        return false;
    };
    let all = projection.detect.as_ref().is_some_and(DetectorSet::is_complete);
    all && matches!(projection.mask, None | Some(Mask::Lowercase(_) | Mask::OrElse(_)))
}

fn check_pseudonym(context: &LintContext<'_>) -> Vec<Violation> {
    let made = context.inferable_influences().filter(|one| {
        one.exposure == Exposure::Pseudonym
            && matches!(one.channel, InfluenceChannel::OutputField(_))
    });
    let guessed = made.filter(|one| {
        let field = one.field;
        field.class != DataClass::Identifier
            || field.is_birth_date()
            || field.field_type.is_date_or_instant()
    });
    let expected = "a pseudonym of a field of the class `identifier`";
    context.violations(guessed, "a pseudonym of", expected)
}

fn check_login(context: &LintContext<'_>) -> Vec<Violation> {
    if context.draft.recipient.credential_reason.is_some() {
        return Vec::new();
    }
    let is_card = |one: &&FieldInfluence<'_>| one.field.field_type == FieldType::CardNumber;
    let card =
        context.inferable_influences().filter(is_card).find(|one| one.exposure == Exposure::Full);
    let birth = context.inferable_influences().find(|one| reveals_birth_date(one));
    match (card, birth) {
        (Some(card), Some(birth)) => {
            let (card_path, birth_path) =
                (context.path_as_written(card), context.path_as_written(birth));
            let found = format!("`{card_path}` and `{birth_path}` together");
            let lines = &context.draft.lines;
            let line = lines.line_of(card.channel).max(lines.line_of(birth.channel));
            let expected = "one of them masked so that half of it and four digits stay hidden, \
                            or `credential_reason` on record";
            vec![violation(line, found, expected)]
        }
        _ => Vec::new(),
    }
}

/// Returns whether a date or year of birth is visible; a rijksregisternummer begins with one.
fn reveals_birth_date(one: &FieldInfluence<'_>) -> bool {
    let of_number =
        one.field.is_national_number() && !one.field.is_bsn() && one.exposure == Exposure::Full;
    of_number || (one.field.is_birth_date() && one.exposure >= Exposure::Date)
}

/// Reports what `requires` names and the file has not, and lists that are there and empty.
fn check_papers(context: &LintContext<'_>) -> Vec<Violation> {
    let recipient = &context.draft.recipient;
    let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_some_and(Vec::is_empty);
    let empty_lists = [
        (Requirement::Members, is_empty(&recipient.members)),
        (Requirement::Scopes, is_empty(&recipient.scopes)),
    ];
    let mut asked = recipient.papers.requires.clone();
    let empty = empty_lists.into_iter().filter_map(|(one, is_empty)| is_empty.then_some(one));
    asked.extend(empty.filter(|one| !recipient.papers.requires.contains(one)));
    let lines = &context.draft.lines;
    let missing = asked.into_iter().filter(|one| {
        // What is there with mistakes was reported by the reader.
        let is_reported = match one {
            Requirement::Agreement => lines.agreement.is_some(),
            Requirement::Authorisation => lines.authorisation.is_some(),
            _ => false,
        };
        !is_reported && !recipient.meets(*one)
    });
    missing
        .map(|one| violation(lines.requires, format!("no {}", one.describe()), one.example()))
        .collect()
}

/// Reports each recipient that is switched on for a library of this one and excluded by it.
fn check_excluded_recipient(context: &LintContext<'_>, all: &[RecipientDraft]) -> Vec<Violation> {
    let own = &context.draft.recipient;
    let shares_library = |other: &ServedLibraries| match (&own.libraries, other) {
        (ServedLibraries::All, _) | (_, ServedLibraries::All) => true,
        (ServedLibraries::Only(own), ServedLibraries::Only(other)) => {
            own.iter().any(|library| other.contains(library))
        }
    };
    let beside = all.iter().filter(|other| {
        other.is_enabled
            && own.excludes.contains(&other.recipient.name)
            && shares_library(&other.recipient.libraries)
    });
    beside
        .map(|other| {
            let found =
                format!("`{}`, switched on for a library of this one", other.recipient.name);
            violation(context.draft.lines.excludes, found, "one of the two for a library")
        })
        .collect()
}

fn check_processor(context: &LintContext<'_>) -> Vec<Violation> {
    let recipient = &context.draft.recipient;
    let line = context.draft.lines.role;
    match &recipient.agreement {
        None if context.draft.lines.agreement.is_none() && recipient.is_processor => {
            let expected = "`agreement` with `reference`, `clauses`, `from` and `until`";
            vec![violation(line, "a processor without an agreement", expected)]
        }
        None => Vec::new(),
        Some(agreement) => {
            let own = recipient.papers.clauses.iter().map(String::as_str);
            let required: Vec<&str> = REQUIRED_CLAUSES.iter().copied().chain(own).collect();
            let lacks = |clause: &&&str| agreement.clauses.iter().all(|other| other != *clause);
            let quoted: Vec<_> = required.iter().map(|clause| format!("`{clause}`")).collect();
            let expected = match quoted.split_last() {
                Some((last, others)) => {
                    format!("{} and {last} among its clauses", others.join(", "))
                }
                None => String::new(),
            };
            let line = context.draft.lines.agreement.unwrap_or(line);
            let missing = required.iter().filter(lacks);
            missing
                .map(|clause| {
                    let found = format!("an agreement without the clause `{clause}`");
                    violation(line, found, expected.as_str())
                })
                .collect()
        }
    }
}

fn check_consent_gate(context: &LintContext<'_>) -> Vec<Violation> {
    let recipient = &context.draft.recipient;
    let missing = recipient.legal_basis == LegalBasis::Consent && recipient.consent.is_none();
    let expected = format!("`consent = {{ purpose = \"{}\" }}`", recipient.purpose);
    let line = context.draft.lines.legal_basis;
    let mistake = || violation(line, "consent as legal basis without a consent gate", expected);
    missing.then(mistake).into_iter().collect()
}

fn check_consent_purpose(context: &LintContext<'_>) -> Vec<Violation> {
    let recipient = &context.draft.recipient;
    let Some(consent) = &recipient.consent else {
        return Vec::new();
    };
    let known = !consent.purpose.is_empty() && !recipient.purpose.is_empty();
    if !known || consent.purpose == recipient.purpose {
        return Vec::new();
    }
    let found = format!("consent for `{}`", consent.purpose);
    let expected = format!("the recipient's purpose, `{}`", recipient.purpose);
    vec![violation(context.draft.lines.consent, found, expected)]
}

fn check_marketing(context: &LintContext<'_>) -> Vec<Violation> {
    let recipient = &context.draft.recipient;
    if recipient.is_marketing || !recipient.purpose.split('-').any(|part| part == "marketing") {
        return Vec::new();
    }
    let found = format!("the purpose `{}` without a mark", recipient.purpose);
    vec![violation(context.draft.lines.purpose, found, "`marketing = true`")]
}

fn check_pseudonymised(context: &LintContext<'_>) -> Vec<Violation> {
    let readable = pseudonymised_influences(context, false)
        .filter(|one| identifies_person(one) || shows_characters(context, one));
    let expected = "a mask that hides it (`age_band`, `postcode_area`, a pseudonym by month), or no \
                    such field";
    context.violations(readable, "in a pseudonymised recipient readable", expected)
}

/// Returns whether it identifies a person: the month of a birth does, that of an event does not.
fn identifies_person(one: &FieldInfluence<'_>) -> bool {
    let birth = one.field.is_birth_date();
    let whole = one.exposure == Exposure::Full && one.field.is_personal_data();
    whole || (birth && one.exposure >= Exposure::Date)
}

/// Returns whether some letters or digits of what points at a person are visible: they are the same
/// in all of its outputs, and join them.
fn shows_characters(context: &LintContext<'_>, one: &FieldInfluence<'_>) -> bool {
    let is_general = |mask: &Mask| matches!(mask, Mask::AgeBand(_) | Mask::PostcodeArea(_));
    let mut masks = context.projections(one.channel).filter_map(|one| one.mask.as_ref());
    let is_part = one.exposure == Exposure::Part && one.field.is_personal_data();
    is_part && masks.any(|mask| !is_general(mask))
}

fn check_pseudonymised_condition(context: &LintContext<'_>) -> Vec<Violation> {
    let asked = pseudonymised_influences(context, true).filter(|one| {
        one.field.is_personal_data()
            || one.field.is_birth_date()
            || one.field.has_time_of_day()
            || shows_date_of_patron(context, one)
    });
    let expected = "conditions on what neither points at a person nor is a moment";
    context.violations(asked, "in a pseudonymised recipient", expected)
}

/// Births are refused as such.
fn check_pseudonymised_term(context: &LintContext<'_>) -> Vec<Violation> {
    let terms = pseudonymised_influences(context, false).filter(|one| {
        matches!(one.channel, InfluenceChannel::Retention | InfluenceChannel::Thinning)
            && shows_date_of_patron(context, one)
            && !one.field.is_birth_date()
    });
    let expected = "a date of the record, or a term that ends with `forget`";
    context.violations(terms, "in a pseudonymised recipient", expected)
}

/// Returns whether the day on which something changes shows a date of the patron, which all of
/// the patron's outputs have in common.
fn shows_date_of_patron(context: &LintContext<'_>, one: &FieldInfluence<'_>) -> bool {
    let is_of_patron = one.field_ref.is_joined || context.source.role == Role::Patron;
    is_of_patron && one.exposure == Exposure::Date
}

fn check_pseudonymised_time(context: &LintContext<'_>) -> Vec<Violation> {
    let ways = [false, true].into_iter();
    let all = ways.flat_map(|conditions| pseudonymised_influences(context, conditions));
    let fine = all.filter(|one| one.exposure == Exposure::Full && one.field.has_time_of_day());
    context.violations(fine, "in a pseudonymised recipient the time", "its month or year")
}

fn check_pseudonymised_text(context: &LintContext<'_>) -> Vec<Violation> {
    let ways = [false, true].into_iter();
    let all = ways.flat_map(|conditions| pseudonymised_influences(context, conditions));
    let texts = all.filter(|one| one.field.class == DataClass::FreeText);
    context.violations(texts, "in a pseudonymised recipient the free text", "none")
}

/// Returns what a pseudonymised recipient reveals, by its conditions or otherwise; nothing for
/// other recipients.
fn pseudonymised_influences<'v, 'a>(
    context: &'v LintContext<'a>,
    conditions: bool,
) -> impl Iterator<Item = &'v FieldInfluence<'a>> {
    let on = context.draft.recipient.is_pseudonymised;
    context.inferable_influences().filter(move |one| {
        let asked = matches!(
            one.channel,
            InfluenceChannel::Condition(_)
                | InfluenceChannel::Stage(_)
                | InfluenceChannel::Topic
                | InfluenceChannel::Channel
                | InfluenceChannel::ImpliedConsent
        );
        on && asked == conditions
    })
}

fn check_ending_condition(context: &LintContext<'_>) -> Vec<Violation> {
    let recipient = &context.draft.recipient;
    let conditions = recipient.conditions.iter().zip(&context.draft.lines.conditions);
    let ending = conditions.filter(|(condition, _)| {
        let range = condition.test.time_range();
        !condition.field.is_joined && range.is_some_and(|range| range.not_before.is_some())
    });
    let expected = "`after = \"retract\"`, or no such condition";
    ending
        .filter(|_| recipient.retention.after == RetentionAction::Forget)
        .map(|(condition, line)| {
            let found =
                format!("`not_before` for `{}` beside `after = \"forget\"`", condition.field);
            violation(*line, found, expected)
        })
        .collect()
}

fn check_loan_history(context: &LintContext<'_>) -> Vec<Violation> {
    let recipient = &context.draft.recipient;
    let known = context.draft.has_all_conditions;
    let has_returned =
        context.source.name == "loan" || context.source.field("returned_at").is_some();
    if !has_returned || recipient.is_loan_history || !known || excludes_returned_loans(context) {
        return Vec::new();
    }
    let expected = "`loan_history = true`, or a condition on `status` without `returned`";
    let line = context.draft.lines.source;
    vec![violation(line, "returned loans", expected)]
}

fn check_thinned(context: &LintContext<'_>) -> Vec<Violation> {
    let Some(rule) = &context.draft.recipient.thinned else {
        return Vec::new();
    };
    let is_kept = |one: &FieldInfluence<'_>| match one.channel {
        InfluenceChannel::OutputField(index) | InfluenceChannel::MaskNeed(index) => {
            !rule.dropped_fields.contains(&index)
        }
        _ => false,
    };
    let is_of_patron = |one: &FieldInfluence<'_>| {
        let field = &one.field_ref;
        field.is_joined || context.source.role == Role::Patron || field.path == "patron_id"
    };
    let kept = context.influences.iter().filter(|one| is_kept(one) && is_of_patron(one));
    context.violations(kept, "in what is left of a thinned output", "it in `drop`")
}

/// Returns whether a condition excludes returned loans. A missing time of return says nothing if
/// there is a status.
fn excludes_returned_loans(context: &LintContext<'_>) -> bool {
    let has_status = context.source.field("status").is_some();
    context.draft.recipient.conditions.iter().any(|condition| {
        if condition.field.is_joined {
            return false;
        }
        match (&condition.test, condition.field.path.as_str()) {
            (ConditionTest::Absent, "returned_at") => !has_status,
            (ConditionTest::OneOf(literals), "status") => {
                !literals.contains(&ConditionLiteral::Text("returned".to_owned()))
            }
            _ => false,
        }
    })
}

fn check_without_patron(context: &LintContext<'_>) -> Vec<Violation> {
    let recipient = &context.draft.recipient;
    if recipient.without_patron.is_none() {
        return Vec::new();
    }
    let line = context.draft.lines.without_patron;
    let asks_patron = recipient.consent.is_some()
        || recipient.is_marketing
        || recipient.stops_on_objection
        || recipient.is_loan_history
        || recipient.is_for_own_borrowers
        || recipient.authorisation.is_some();
    let mut violations = Vec::new();
    if asks_patron {
        let expected = "no `consent`, `marketing`, `objections`, `loan_history`, `own_borrowers` or \
                        `authorisation`";
        violations.push(violation(line, "`without_patron` beside what asks the patron", expected));
    }
    let is_of_patrons = context.source.role == Role::Patron || !context.source.is_keyed_by_patron;
    if is_of_patrons {
        let expected = "a source whose records belong to patrons, and are none";
        violations.push(violation(line, "`without_patron` of such a source", expected));
    }
    let is_settled = |kind: &RecordKind| kind.settles.as_ref() == Some(&context.source.name);
    if context.kinds.iter().any(is_settled) {
        let expected = "a source whose records no other ones of the patron settle";
        violations.push(violation(line, "`without_patron` of what is settled", expected));
    }
    // What repeats a national number could not be found without the patron.
    if context.source.fields.iter().any(CatalogueField::is_national_number) {
        let expected = "a source without a national number";
        violations.push(violation(line, "`without_patron` beside a national number", expected));
    }
    let shown = context
        .influences
        .iter()
        .filter(|one| one.field_ref.is_joined || (is_shown(one) && names_patron(one.field)));
    let expected = "nothing of a patron in a recipient with `without_patron`";
    violations.extend(context.violations(shown, "of the patron", expected));
    violations
}

fn check_demanded(context: &LintContext<'_>) -> Vec<Violation> {
    let recipient = &context.draft.recipient;
    if recipient.legal_basis == LegalBasis::LegalObligation {
        return Vec::new();
    }
    let outputs = recipient.output_fields.iter().zip(&context.draft.lines.fields);
    let shows = |value: &OutputValue| {
        matches!(value, OutputValue::Demanded { shows: DemandedPart::Values, .. })
    };
    outputs
        .filter(|(field, _)| shows(&field.value))
        .map(|(field, &line)| {
            let found = format!("what is demanded, in `{}`", field.name);
            violation(line, found, "`legal_basis = \"legal_obligation\"`")
        })
        .collect()
}

fn check_confidential(context: &LintContext<'_>, all: &[RecipientDraft]) -> Vec<Violation> {
    let RecipientDraft { recipient, lines, .. } = context.draft;
    let own = recipient.confidentiality;
    let line = lines.confidential.unwrap_or(lines.source);
    let mut violations = Vec::new();
    let has_ground =
        recipient.legal_basis == LegalBasis::LegalObligation || recipient.without_patron.is_some();
    if own.is_some() && !has_ground {
        let basis = recipient.legal_basis.into_str();
        let found = format!("`confidential` of a recipient on the basis `{basis}`");
        let expected = "none: only where a law obliges (`legal_obligation`), or nothing of the \
                        patron is shown (`without_patron`), may patrons not be told";
        violations.push(violation(line, found, expected));
    }
    if recipient.told_unless.is_some() && recipient.is_pseudonymised {
        let found = "`unless_false` of a pseudonymised recipient";
        let expected = "none: an output goes out again where the field changes, which joins it with \
                        the record";
        violations.push(violation(line, found, expected));
    }
    // Another recipient of the same records would tell the patron that there are any.
    let others = all.iter().map(|draft| &draft.recipient);
    let mut uncovered = others.filter(|other| {
        let tells_no_more =
            recipient.told_unless.is_none() || recipient.told_unless == other.told_unless;
        let is_covered = |mark| tells_no_more && own.is_some_and(|own| own.covers(mark));
        other.name != recipient.name
            && recipient.reads_kind(other.source_kind_index)
            && other.confidentiality.is_some_and(|mark| !is_covered(mark))
    });
    if let Some((other, mark)) = uncovered.find_map(|one| Some((one, one.confidentiality?))) {
        let name = &other.name;
        let found = format!("records that patrons are not told of because of `{name}`");
        let expected = match (mark.until, &other.told_unless) {
            (Some(day), None) => {
                format!("`confidential = {{ until = \"{day}\" }}` here, too, or a later day")
            }
            (None, None) => "`confidential = true` here, too".to_owned(),
            (Some(day), Some(field)) => format!(
                "`confidential = {{ until = \"{day}\", unless_false = \"{field}\" }}` here, too, or a later day"
            ),
            (None, Some(field)) => {
                format!("`confidential = {{ unless_false = \"{field}\" }}` here, too")
            }
        };
        violations.push(violation(line, found, expected));
    }
    violations
}

/// Returns whether an output shows something of a field. That there is an output shows what a
/// condition asks, if that is more than whether there is a value.
fn is_shown(one: &FieldInfluence<'_>) -> bool {
    match one.channel {
        InfluenceChannel::OutputField(_)
        | InfluenceChannel::MaskNeed(_)
        | InfluenceChannel::Topic => true,
        InfluenceChannel::Condition(_) => one.exposure > Exposure::OneBit,
        _ => false,
    }
}

fn names_patron(field: &CatalogueField) -> bool {
    field.is_personal_data() || field.is_birth_date() || field.class == DataClass::FreeText
}

/// Reported once, for the recipient whose name comes last.
fn check_shared_topic(context: &LintContext<'_>, all: &[RecipientDraft]) -> Vec<Violation> {
    let own = &context.draft.recipient;
    all.iter()
        .filter(|other| other.recipient.name < own.name)
        .filter_map(|other| {
            let mut topics = own.topics.names().filter(|topic| !topic.is_empty());
            let shared =
                topics.find(|topic| other.recipient.topics.names().any(|t| t == *topic))?;
            let found = format!("the topic `{shared}` of `{}`", other.recipient.name);
            Some(violation(context.draft.lines.topic, found, "a topic of its own"))
        })
        .take(1)
        .collect()
}

fn check_shared_party(context: &LintContext<'_>) -> Vec<Violation> {
    let OutputTopics::PerParty { topic_by_party, .. } = &context.draft.recipient.topics else {
        return Vec::new();
    };
    let line = context.draft.lines.topic;
    topic_by_party
        .iter()
        .enumerate()
        .filter_map(|(index, (party, topic))| {
            let mut before = topic_by_party.iter().take(index);
            let (other, _) = before.find(|(_, other)| other == topic)?;
            let found = format!("the topic `{topic}` of `{other}` for `{party}`");
            Some(violation(line, found, "a topic of its own"))
        })
        .collect()
}

fn check_source_topic(context: &LintContext<'_>) -> Vec<Violation> {
    let topics = context.draft.recipient.topics.names();
    topics
        .filter_map(|topic| {
            let kind = context.kinds.iter().find(|kind| kind.topic == topic)?;
            let found = format!("the topic `{topic}`, which is the source of `{}`", kind.name);
            Some(violation(context.draft.lines.topic, found, "a topic of its own"))
        })
        .collect()
}

fn check_reserved_topic(context: &LintContext<'_>) -> Vec<Violation> {
    let topics = context.draft.recipient.topics.names();
    topics
        .filter(|topic| topic.starts_with(RESERVED_TOPIC_PREFIX))
        .map(|topic| {
            violation(
                context.draft.lines.topic,
                format!("the topic `{topic}`"),
                "a topic that does not begin with `zeef.`",
            )
        })
        .collect()
}

fn check_period(context: &LintContext<'_>) -> Vec<Violation> {
    let recipient = &context.draft.recipient;
    let missing = recipient.is_pseudonymised && recipient.period.is_none();
    let expected = "`period = { every = \"P1M\", of = \"PATH\" }`, by a date of the record";
    let line = context.draft.lines.pseudonymised;
    let mistake = || violation(line, "a pseudonymised recipient without a period", expected);
    missing.then(mistake).into_iter().collect()
}

fn check_pseudonym_by_month(context: &LintContext<'_>) -> Vec<Violation> {
    let recipient = &context.draft.recipient;
    if !recipient.is_pseudonymised {
        return Vec::new();
    }
    let expected = match &recipient.period {
        Some(period) if !period.month_field.path.is_empty() => {
            format!("`month_of = \"{}\"`", period.month_field.path)
        }
        _ => "`month_of`, a date of the record".to_owned(),
    };
    let id = &context.source.id_path;
    let known = context.source.field(id).is_some();
    let own = |one: &FieldInfluence<'_>| context.path_as_written(one) == *id || !known;
    context
        .inferable_influences()
        .filter(|one| one.field.is_personal_data() && !own(one))
        .filter(|one| {
            let mask = context.projection(one.channel).and_then(|one| one.mask.as_ref());
            matches!(mask, Some(Mask::Pseudonym(mask)) if mask.month_of.is_none())
        })
        .map(|one| {
            let found =
                format!("the same pseudonym of `{}` in every month", context.path_as_written(one));
            violation(context.draft.lines.line_of(one.channel), found, expected.as_str())
        })
        .collect()
}

fn check_own_lane(draft: &RecipientDraft, lanes: &[LaneSettings]) -> Vec<Violation> {
    let recipient = &draft.recipient;
    let name = &recipient.name;
    let lane = lanes.iter().find(|lane| lane.recipients.contains(name));
    let Some(lane) = lane.filter(|_| recipient.is_pseudonymised) else {
        return Vec::new();
    };
    let line = draft.lines.pseudonymised;
    let mut violations = Vec::new();
    let others: Vec<String> = lane.recipients.iter().filter(|one| *one != name).cloned().collect();
    if !others.is_empty() {
        let found = format!("the lane `{}` with {}", lane.name, join_quoted(&others));
        let expected = format!(
            "a lane of its own in zeef.toml: `[lanes.{name}]` with `recipients = [\"{name}\"]`"
        );
        violations.push(violation(line, found, expected));
    }
    if lane.workers != 1 {
        let found = format!("{} workers in the lane `{}`", lane.workers, lane.name);
        violations.push(violation(line, found, "one, as outputs go out in one order"));
    }
    violations
}
