//! Every flow, gate and rule of the libraries' documents by its id: what enforces it, and where
//! that is tested. `docs/rules.md` has them in full.

/// A row of [`FLOWS`].
#[derive(Debug)]
pub struct FlowDef {
    pub id: &'static str,
    /// What it is about.
    pub title: &'static str,
    pub enforcement: FlowEnforcement,
    /// Files of the repository that test it, beside the golden cases of its recipients.
    pub tests: &'static [&'static str],
}

/// What enforces an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowEnforcement {
    /// The recipients whose files name the id in `flows`.
    Recipients,
    /// What zeef does for every recipient.
    Everywhere(&'static str),
    /// Nothing of zeef, and why.
    Outside(&'static str),
    /// It is to come.
    Later(&'static str),
}

use FlowEnforcement::{Everywhere, Later, Outside, Recipients};

/// Every id, in the order of the documents.
pub const FLOWS: &[FlowDef] = &[
    FlowDef {
        id: "F01",
        title: "slip on a public reservation shelf",
        enforcement: Recipients,
        tests: &["tests/rules/f01_shelf_slip.rs"],
    },
    FlowDef { id: "F02", title: "slip of interlibrary loan", enforcement: Recipients, tests: &[] },
    FlowDef {
        id: "F03",
        title: "the library that supplies the work",
        enforcement: Recipients,
        tests: &[],
    },
    FlowDef {
        id: "F04",
        title: "data by which the national library recognises a member",
        enforcement: Recipients,
        tests: &[],
    },
    FlowDef {
        id: "F05",
        title: "membership data after an online account was created",
        enforcement: Recipients,
        tests: &["tests/rules/f05_account.rs"],
    },
    FlowDef {
        id: "F06",
        title: "regional network of libraries",
        enforcement: Recipients,
        tests: &[],
    },
    FlowDef {
        id: "F07",
        title: "other libraries on the same library system",
        enforcement: Everywhere(
            "a recipient of one library never sees a record of another (`libraries`)",
        ),
        tests: &["tests/rules/f07_other_library.rs"],
    },
    FlowDef {
        id: "F08",
        title: "debts to the city's finance service",
        enforcement: Recipients,
        tests: &["tests/rules/f08_debt.rs"],
    },
    FlowDef {
        id: "F09",
        title: "the same with the national number",
        enforcement: Recipients,
        tests: &["tests/rules/f18_agreement.rs"],
    },
    FlowDef {
        id: "F10",
        title: "notice that a debt is settled",
        enforcement: Everywhere(
            "a debt that a settlement names is taken back from every recipient (`settles` in records/settlement.toml)",
        ),
        tests: &["tests/golden/deurwaarder/settled.in.ndjson", "tests/rules/f10_settled_debt.rs"],
    },
    FlowDef {
        id: "F11",
        title: "reminder and invoice to the patron",
        enforcement: Recipients,
        tests: &["tests/rules/f11_channel.rs"],
    },
    FlowDef {
        id: "F12",
        title: "collection agency, after reminder and invoice",
        enforcement: Recipients,
        tests: &["tests/rules/f12_stages.rs"],
    },
    FlowDef {
        id: "F13",
        title: "direct debit",
        enforcement: Recipients,
        tests: &["tests/rules/f13_direct_debit.rs", "tests/export.rs"],
    },
    FlowDef {
        id: "F14",
        title: "payment by the patron",
        enforcement: Outside(
            "the patron pays in the library system; for the register of processing",
        ),
        tests: &[],
    },
    FlowDef { id: "F15", title: "payment terminal", enforcement: Recipients, tests: &[] },
    FlowDef {
        id: "F16",
        title: "self-service machines",
        enforcement: Recipients,
        tests: &["tests/rules/f16_summaries.rs"],
    },
    FlowDef {
        id: "F17",
        title: "supplier of the membership administration",
        enforcement: Recipients,
        tests: &[],
    },
    FlowDef {
        id: "F18",
        title: "mailing by a processor",
        enforcement: Recipients,
        tests: &["tests/rules/f18_agreement.rs"],
    },
    FlowDef {
        id: "F19",
        title: "statistics by a processor",
        enforcement: Recipients,
        tests: &["tests/rules/f19_statistics.rs"],
    },
    FlowDef {
        id: "F20",
        title: "monitoring by another city service",
        enforcement: Recipients,
        tests: &["tests/rules/f50_new_recipient.rs"],
    },
    FlowDef {
        id: "F21",
        title: "visitor figures to municipalities",
        enforcement: Later("with aggregates"),
        tests: &[],
    },
    FlowDef { id: "F22", title: "schools and institutions", enforcement: Recipients, tests: &[] },
    FlowDef { id: "F23", title: "apps on the library's API", enforcement: Recipients, tests: &[] },
    FlowDef {
        id: "F24",
        title: "newsletter",
        enforcement: Recipients,
        tests: &["tests/rules/f24_newsletter.rs"],
    },
    FlowDef {
        id: "F25",
        title: "mails about new acquisitions",
        enforcement: Recipients,
        tests: &[],
    },
    FlowDef {
        id: "F26",
        title: "service messages",
        enforcement: Recipients,
        tests: &["tests/rules/f26_service_message.rs"],
    },
    FlowDef {
        id: "F27",
        title: "direct marketing",
        enforcement: Recipients,
        tests: &["tests/rules/f27_marketing.rs", "tests/rules/g07_marketing.rs"],
    },
    FlowDef {
        id: "F28",
        title: "market research panel",
        enforcement: Recipients,
        tests: &["tests/rules/f28_panel.rs"],
    },
    FlowDef {
        id: "F29",
        title: "contest, course, activity",
        enforcement: Recipients,
        tests: &["tests/rules/f29_contest.rs"],
    },
    FlowDef {
        id: "F30",
        title: "profile based on loans",
        enforcement: Outside("internal: no recipient may have it; for the register of processing"),
        tests: &[],
    },
    FlowDef {
        id: "F31",
        title: "the patron's own pages",
        enforcement: Outside(
            "the patron sees own data in the library system; for the register of processing",
        ),
        tests: &[],
    },
    FlowDef {
        id: "F32",
        title: "data of another family member",
        enforcement: Recipients,
        tests: &["tests/rules/f32_family_access.rs"],
    },
    FlowDef {
        id: "F33",
        title: "customer service",
        enforcement: Outside("staff see the library system; for the register of processing"),
        tests: &[],
    },
    FlowDef {
        id: "F34",
        title: "reviews and tags that a patron publishes",
        enforcement: Outside("the patron publishes; for the register of processing"),
        tests: &[],
    },
    FlowDef {
        id: "F35",
        title: "web analytics, social buttons",
        enforcement: Outside("not of the library system; for the register of processing"),
        tests: &[],
    },
    FlowDef {
        id: "F36",
        title: "demand by police, court or tax office",
        enforcement: Recipients,
        tests: &[],
    },
    FlowDef { id: "F37", title: "report of such a demand", enforcement: Recipients, tests: &[] },
    FlowDef {
        id: "F38",
        title: "camera images",
        enforcement: Outside("not of the library system; for the register of processing"),
        tests: &[],
    },
    FlowDef {
        id: "F39",
        title: "referral to a support organisation",
        enforcement: Recipients,
        tests: &[],
    },
    FlowDef { id: "F40", title: "referral by phone", enforcement: Recipients, tests: &[] },
    FlowDef {
        id: "F41",
        title: "counts of the information point, without personal data",
        enforcement: Recipients,
        tests: &[],
    },
    FlowDef {
        id: "F42",
        title: "notice of a breach to the authority",
        enforcement: Everywhere("`zeef breach` drafts it from the ledger"),
        tests: &["tests/ledger/command_line.rs"],
    },
    FlowDef {
        id: "F43",
        title: "notice of a breach to patrons",
        enforcement: Everywhere("`zeef breach` drafts it from the ledger"),
        tests: &["tests/ledger/command_line.rs"],
    },
    FlowDef {
        id: "F44",
        title: "notice of a breach by a processor",
        enforcement: Everywhere("`zeef breach` tells whom it concerns, and until when to notify"),
        tests: &["tests/ledger/command_line.rs"],
    },
    FlowDef {
        id: "F45",
        title: "access, correction, erasure",
        enforcement: Everywhere(
            "an erasure reaches every recipient; `zeef rights access` answers from the ledger",
        ),
        tests: &["tests/rules/f45_erasure.rs", "tests/ledger/command_line.rs"],
    },
    FlowDef {
        id: "F46",
        title: "documents left behind",
        enforcement: Outside("paper; for the register of processing"),
        tests: &[],
    },
    FlowDef {
        id: "F47",
        title: "public computers and Wi-Fi",
        enforcement: Outside("not of the library system; for the register of processing"),
        tests: &[],
    },
    FlowDef {
        id: "F48",
        title: "volunteers and applicants",
        enforcement: Outside("not patrons; for the register of processing"),
        tests: &[],
    },
    FlowDef {
        id: "F49",
        title: "staff with access to the library system",
        enforcement: Outside("roles of the library system; for the register of processing"),
        tests: &[],
    },
    FlowDef {
        id: "F50",
        title: "a new recipient",
        enforcement: Everywhere(
            "no recipient without basis, purpose, retention and notice (rules `legal-basis`, `purpose`, `retention`, `notice`)",
        ),
        tests: &["tests/rules/f50_new_recipient.rs"],
    },
    FlowDef {
        id: "G01",
        title: "the seven elements of a consent",
        enforcement: Everywhere(
            "a consent counts only with those that decide, the others are kept with it",
        ),
        tests: &["tests/rules/g01_consent_elements.rs"],
    },
    FlowDef {
        id: "G02",
        title: "what is passed on is never in the consent",
        enforcement: Everywhere("consents are a kind of their own, of which nothing is released"),
        tests: &["tests/rules/g02_consent_is_not_passed_on.rs"],
    },
    FlowDef {
        id: "G03",
        title: "refusal and withdrawal at any time",
        enforcement: Everywhere("a refusal counts in any manner"),
        tests: &["tests/rules/g03_refusal_any_time.rs"],
    },
    FlowDef {
        id: "G04",
        title: "an oral consent proves nothing",
        enforcement: Everywhere("only written and digital grants count"),
        tests: &["tests/rules/g04_oral_grants_nothing.rs"],
    },
    FlowDef {
        id: "G05",
        title: "explicit consent is kept",
        enforcement: Everywhere("a consent that is the basis is a record"),
        tests: &["tests/rules/g05_explicit_where_basis.rs"],
    },
    FlowDef {
        id: "G06",
        title: "objection for special circumstances",
        enforcement: Everywhere("stops until it is dismissed (`objections`)"),
        tests: &["tests/rules/g06_special_circumstances.rs"],
    },
    FlowDef {
        id: "G07",
        title: "objection to direct marketing",
        enforcement: Everywhere("stops for ever (`marketing`)"),
        tests: &["tests/rules/g07_marketing.rs"],
    },
    FlowDef {
        id: "G08",
        title: "legal bases are named",
        enforcement: Everywhere("every recipient has one (rule `legal-basis`)"),
        tests: &["tests/rules/g08_legal_basis.rs"],
    },
    FlowDef {
        id: "G09",
        title: "anything else only with consent",
        enforcement: Everywhere("what no file lists is not sent"),
        tests: &["tests/rules/g09_nothing_unlisted.rs"],
    },
    FlowDef {
        id: "G10",
        title: "data is used for its purpose only",
        enforcement: Everywhere("consents and objections name a recipient's purpose"),
        tests: &["tests/rules/g10_purpose.rs"],
    },
    FlowDef {
        id: "G11",
        title: "loan history switched off",
        enforcement: Everywhere("returned loans of the patron are not released (`loan_history`)"),
        tests: &["tests/rules/g11_loan_history.rs"],
    },
    FlowDef {
        id: "S01",
        title: "BSN",
        enforcement: Everywhere("never released, and every value that repeats it is left out"),
        tests: &["tests/rules/s01_bsn.rs"],
    },
    FlowDef {
        id: "S02",
        title: "special categories of data",
        enforcement: Everywhere("only behind explicit, written consent (rule `special-category`)"),
        tests: &["src/config/lint.rs"],
    },
    FlowDef {
        id: "S03",
        title: "special data and secrets",
        enforcement: Everywhere("a secret decides nothing (rule `secret`)"),
        tests: &["src/config/lint.rs"],
    },
    FlowDef {
        id: "S04",
        title: "the reason of an appointment",
        enforcement: Everywhere("free text passes all detectors (rule `free-text`)"),
        tests: &["src/config/lint.rs"],
    },
    FlowDef {
        id: "S05",
        title: "card number and birth date are a login",
        enforcement: Everywhere("never both without a recorded reason (rule `login`)"),
        tests: &["src/config/lint.rs"],
    },
    FlowDef {
        id: "S06",
        title: "nothing is sold",
        enforcement: Outside("a decision of the library"),
        tests: &[],
    },
    FlowDef {
        id: "S07",
        title: "assessment of a breach",
        enforcement: Everywhere("`zeef breach` has the numbers; the library assesses them"),
        tests: &["tests/ledger/command_line.rs"],
    },
    FlowDef {
        id: "S08",
        title: "necessity of traceable statistics",
        enforcement: Everywhere(
            "a pseudonymised recipient shows nothing that points at a person (rule `pseudonymised`)",
        ),
        tests: &["src/config/lint.rs"],
    },
    FlowDef {
        id: "R01",
        title: "two years after the end of the membership",
        enforcement: Everywhere("`[retention] patron` in zeef.toml"),
        tests: &["tests/rules/r01_patron_term.rs"],
    },
    FlowDef {
        id: "R02",
        title: "five years at most",
        enforcement: Everywhere("rule `retention-limit`"),
        tests: &["src/config/lint.rs"],
    },
    FlowDef {
        id: "R03",
        title: "camera images",
        enforcement: Outside("not of the library system; for the register of processing"),
        tests: &[],
    },
    FlowDef {
        id: "R04",
        title: "requests about the national library's services",
        enforcement: Outside("go to the national library"),
        tests: &[],
    },
];
