//! Recipients of the tests' own, for gates that no shipped recipient has: as a
//! file of the configuration, and by hand.

use std::fs;
use std::path::Path;

use crate::reference::form::Term;
use crate::reference::gate::{ConsentGate, Paper, Retention};
use crate::reference::recipient::{Condition, Output, Recipient, View};

/// What every file has beside what [`FILES`] names.
const REGISTER: &str = r#"
title        = "Ontvanger van de tests"
controller   = "The library"
contact      = "privacy@library.example.org"
persons      = "patrons"
transfers    = "none"
security     = "TLS"
purpose_text = "Laten zien dat een regel geldt"
"#;

const FILES: &[(&str, &str)] = &[
    (
        "own-marketing",
        r#"
purpose     = "own-marketing"
legal_basis = "legitimate_interest"
marketing   = true
source      = "patron"
libraries   = "all"
when        = [{ field = "kind", is = ["person"] }]
retention   = { term = "P1Y", from = "membership.ends_on", after = "retract" }
key         = { pseudonym = "patron_id" }
fields      = { surname = { from = "surname" }, email = { from = "email" } }
"#,
    ),
    (
        "own-circle",
        r#"
purpose     = "own-circle"
legal_basis = "consent"
consent     = { purpose = "own-circle" }
source      = "loan"
loan_history = true
libraries   = ["NL-AmrBKW", "NL-Own"]
when        = [{ field = "status", is = ["open", "overdue", "returned"] }]
retention   = { term = "P1M", from = "due_on", after = "retract" }
key         = { pseudonym = "loan_id" }
fields      = { title = { from = "item.title" }, email = { from = "patron.email" } }
"#,
    ),
    (
        "own-written",
        r#"
purpose     = "own-written"
legal_basis = "consent"
consent     = { purpose = "own-written", explicit = true }
source      = "patron"
libraries   = "all"
retention   = { term = "P1Y", from = "updated_at", after = "retract" }
key         = { pseudonym = "patron_id" }
fields      = { name = { from = "surname", mask = "full_name" }, branch = { from = "membership.home_branch" } }
"#,
    ),
    (
        "own-keeper",
        r#"
purpose     = "own-keeper"
legal_basis = "contract"
role        = "processor"
agreement   = { reference = "A-1", clauses = ["use", "security", "confidentiality"], from = "2026-02-01", until = "2027-01-31" }
source      = "reservation"
libraries   = "all"
when        = [{ field = "status", is = ["placed", "ready_for_pickup"] }]
retention   = { term = "P30D", from = "expires_on", after = "retract" }
key         = { pseudonym = "reservation_id" }
fields      = { branch = { from = "pickup_branch" }, email = { from = "patron.email" } }
"#,
    ),
    (
        "own-returner",
        r#"
purpose     = "own-returner"
legal_basis = "contract"
role        = "processor"
agreement   = { reference = "A-2", clauses = ["use", "security", "confidentiality"], from = "2026-01-10", until = "2026-10-31", after = "retract" }
source      = "debt"
libraries   = "all"
retention   = { term = "P1Y6M", from = "invoiced_at", after = "retract" }
key         = { pseudonym = "debt_id" }
fields      = { amount_cents = { from = "amount_cents" }, surname = { from = "patron.surname" } }
"#,
    ),
    (
        "own-national",
        r#"
purpose       = "own-national"
legal_basis   = "legal_obligation"
authorisation = { reference = "B-1", approved_by = "The board", approved_on = "2026-01-02", from = "2026-01-05", until = "2026-12-31", after = "retract", jurisdiction = "BE" }
source        = "patron"
libraries     = "all"
when          = [{ field = "rijksregisternummer", present = true }]
retention     = { term = "P2Y", from = "membership.starts_on", after = "retract" }
key           = { pseudonym = "patron_id" }
fields        = { number = { from = "rijksregisternummer" } }
"#,
    ),
    (
        "own-joined",
        r#"
purpose     = "own-joined"
legal_basis = "contract"
source      = "loan"
libraries   = "all"
when        = [{ field = "status", is = ["open", "overdue"] }]
retention   = { term = "P30D", from = "patron.membership.ends_on", after = "retract" }
key         = { pseudonym = "loan_id" }
fields      = { branch = { from = "branch" }, home = { from = "patron.membership.home_branch" } }
"#,
    ),
];

/// What is only in a changed policy. It shows nothing of a patron's own: while it is
/// in none, nobody takes back what it has.
const VISITOR: (&str, &str) = (
    "visitor",
    r#"
purpose     = "visitor"
legal_basis = "contract"
source      = "loan"
libraries   = "all"
when        = [{ field = "status", is = ["lost", "open"] }]
retention   = { term = "P1Y", from = "due_on", after = "retract" }
key         = { pseudonym = "loan_id" }
fields      = { status = { from = "status" }, branch = { from = "branch" } }
"#,
);

/// What a changed policy has in place of what, by recipient: it asks more of some
/// records, and less of others.
const CHANGES: &[(&str, &str, &str)] = &[
    (
        "own-marketing",
        "email = { from = \"email\" } }",
        "email = { from = \"email\" }, kind = { from = \"kind\" } }",
    ),
    ("own-marketing", "P1Y", "P30D"),
    (
        "own-circle",
        "[\"NL-AmrBKW\", \"NL-Own\"]",
        "[\"NL-AmrBKW\", \"NL-Own\", \"BE-GntB\"]",
    ),
    (
        "own-circle",
        "[\"open\", \"overdue\", \"returned\"]",
        "[\"open\", \"lost\", \"returned\"]",
    ),
    ("own-written", "P1Y", "P2Y"),
    (
        "own-written",
        "libraries   = \"all\"",
        "libraries   = [\"NL-AmrBKW\"]",
    ),
    (
        "own-keeper",
        "until = \"2027-01-31\"",
        "until = \"2028-01-31\"",
    ),
    (
        "own-keeper",
        "[\"placed\", \"ready_for_pickup\"]",
        "[\"placed\", \"ready_for_pickup\", \"collected\"]",
    ),
    (
        "own-returner",
        "libraries   = \"all\"",
        "libraries   = \"all\"\nwhen        = [{ field = \"stage\", is = [\"collection\"] }]",
    ),
    ("own-national", "P2Y", "P1Y"),
    (
        "own-joined",
        "when        = [{ field = \"status\", is = [\"open\", \"overdue\"] }]",
        "loan_history = true",
    ),
    ("own-joined", "P30D", "P1Y"),
];

/// Writes the files into a folder of recipients, as they are or changed.
pub fn write(folder: &Path, changed: bool) {
    let visitor = Some(&VISITOR).filter(|_| changed);
    for (name, text) in FILES.iter().chain(visitor) {
        let head = format!("name = \"{name}\"\ntopic = \"out.{name}\"\n");
        let mut text = format!("{head}{REGISTER}{text}");
        for (_, from, to) in CHANGES.iter().filter(|(of, ..)| changed && of == name) {
            assert!(text.contains(from), "{name} has {from}");
            text = text.replace(from, to);
        }
        let path = folder.join(format!("{name}.toml"));
        fs::write(path, text).expect("write a recipient");
    }
}

const WRITTEN: ConsentGate = ConsentGate {
    purpose: "own-written",
    explicit: true,
    implied_by: None,
};

/// The same by hand, in the order of [`FILES`].
pub const RECIPIENTS: &[Recipient] = &[
    Recipient {
        name: "own-marketing",
        source: "patron",
        purpose: "own-marketing",
        needs: &[
            "patron.patron_id",
            "patron.library",
            "patron.kind",
            "patron.membership.ends_on",
            "patron.surname",
            "patron.email",
        ],
        when: &[Condition::Is("patron.kind", &["person"])],
        marketing: true,
        yields: true,
        retention: Retention::retract(Term::years(1), "patron.membership.ends_on"),
        project: |view| {
            let mut out = of_patron(view);
            out.copy(view, "surname", "patron.surname");
            out.copy(view, "email", "patron.email");
            out
        },
        ..Recipient::PLAIN
    },
    Recipient {
        name: "own-circle",
        source: "loan",
        purpose: "own-circle",
        libraries: &["NL-AmrBKW", "NL-Own"],
        needs: &[
            "loan_id",
            "library",
            "status",
            "item.title",
            "due_on",
            "patron.email",
            "patron.loan_history",
        ],
        when: &[Condition::Is("status", &["open", "overdue", "returned"])],
        loan_history: true,
        consent: Some(ConsentGate {
            purpose: "own-circle",
            explicit: false,
            implied_by: None,
        }),
        retention: Retention::retract(
            Term {
                years: 0,
                months: 1,
                days: 0,
            },
            "due_on",
        ),
        project: |view| {
            let mut out = Output::keyed(view.output_key("loan", "loan_id"));
            out.copy(view, "title", "item.title");
            out.copy(view, "email", "patron.email");
            out
        },
        ..Recipient::PLAIN
    },
    Recipient {
        name: "own-written",
        source: "patron",
        purpose: "own-written",
        needs: &[
            "patron.patron_id",
            "patron.library",
            "patron.updated_at",
            "patron.initials",
            "patron.surname_prefix",
            "patron.surname",
            "patron.membership.home_branch",
        ],
        consent: Some(WRITTEN),
        retention: Retention::retract(Term::years(1), "patron.updated_at"),
        project: |view| {
            let mut out = of_patron(view);
            out.text("name", view.name());
            out.copy(view, "branch", "patron.membership.home_branch");
            out
        },
        ..Recipient::PLAIN
    },
    Recipient {
        name: "own-keeper",
        source: "reservation",
        purpose: "own-keeper",
        needs: &[
            "reservation_id",
            "library",
            "status",
            "pickup_branch",
            "expires_on",
            "patron.email",
        ],
        when: &[Condition::Is("status", &["placed", "ready_for_pickup"])],
        agreement: Some(Paper {
            from: "2026-02-01",
            until: "2027-01-31",
            retract: false,
        }),
        retention: Retention::retract(Term::days(30), "expires_on"),
        project: |view| {
            let mut out = Output::keyed(view.output_key("reservation", "reservation_id"));
            out.copy(view, "branch", "pickup_branch");
            out.copy(view, "email", "patron.email");
            out
        },
        ..Recipient::PLAIN
    },
    Recipient {
        name: "own-returner",
        source: "debt",
        purpose: "own-returner",
        needs: &[
            "debt_id",
            "library",
            "amount_cents",
            "invoiced_at",
            "patron.surname",
        ],
        agreement: Some(Paper {
            from: "2026-01-10",
            until: "2026-10-31",
            retract: true,
        }),
        retention: Retention::retract(
            Term {
                years: 1,
                months: 6,
                days: 0,
            },
            "invoiced_at",
        ),
        project: |view| {
            let mut out = Output::keyed(view.output_key("debt", "debt_id"));
            out.copy(view, "amount_cents", "amount_cents");
            out.copy(view, "surname", "patron.surname");
            out
        },
        ..Recipient::PLAIN
    },
    Recipient {
        name: "own-national",
        source: "patron",
        purpose: "own-national",
        needs: &[
            "patron.patron_id",
            "patron.library",
            "patron.rijksregisternummer",
            "patron.membership.starts_on",
        ],
        when: &[Condition::Present("patron.rijksregisternummer")],
        authorisation: Some(Paper {
            from: "2026-01-05",
            until: "2026-12-31",
            retract: true,
        }),
        retention: Retention::retract(Term::years(2), "patron.membership.starts_on"),
        project: |view| {
            let mut out = of_patron(view);
            out.copy(view, "number", "patron.rijksregisternummer");
            out
        },
        ..Recipient::PLAIN
    },
    Recipient {
        name: "own-joined",
        source: "loan",
        purpose: "own-joined",
        needs: &[
            "loan_id",
            "library",
            "status",
            "branch",
            "patron.membership.ends_on",
            "patron.membership.home_branch",
        ],
        when: &[Condition::Is("status", &["open", "overdue"])],
        retention: Retention::retract(Term::days(30), "patron.membership.ends_on"),
        project: |view| {
            let mut out = Output::keyed(view.output_key("loan", "loan_id"));
            out.copy(view, "branch", "branch");
            out.copy(view, "home", "patron.membership.home_branch");
            out
        },
        ..Recipient::PLAIN
    },
];

/// What stands in place of those with their names in a changed policy, in their
/// order, and who is only in that one.
const CHANGED: &[Recipient] = &[
    Recipient {
        retention: Retention::retract(Term::days(30), "patron.membership.ends_on"),
        project: |view| {
            let mut out = of_patron(view);
            out.copy(view, "surname", "patron.surname");
            out.copy(view, "email", "patron.email");
            out.copy(view, "kind", "patron.kind");
            out
        },
        ..RECIPIENTS[0]
    },
    Recipient {
        libraries: &["NL-AmrBKW", "NL-Own", "BE-GntB"],
        when: &[Condition::Is("status", &["open", "lost", "returned"])],
        ..RECIPIENTS[1]
    },
    Recipient {
        libraries: &["NL-AmrBKW"],
        retention: Retention::retract(Term::years(2), "patron.updated_at"),
        ..RECIPIENTS[2]
    },
    Recipient {
        when: &[Condition::Is(
            "status",
            &["placed", "ready_for_pickup", "collected"],
        )],
        agreement: Some(Paper {
            from: "2026-02-01",
            until: "2028-01-31",
            retract: false,
        }),
        ..RECIPIENTS[3]
    },
    Recipient {
        needs: &[
            "debt_id",
            "library",
            "stage",
            "amount_cents",
            "invoiced_at",
            "patron.surname",
        ],
        when: &[Condition::Is("stage", &["collection"])],
        ..RECIPIENTS[4]
    },
    Recipient {
        retention: Retention::retract(Term::years(1), "patron.membership.starts_on"),
        ..RECIPIENTS[5]
    },
    Recipient {
        needs: &[
            "loan_id",
            "library",
            "status",
            "branch",
            "patron.membership.ends_on",
            "patron.membership.home_branch",
            "patron.loan_history",
        ],
        when: &[],
        loan_history: true,
        retention: Retention::retract(Term::years(1), "patron.membership.ends_on"),
        ..RECIPIENTS[6]
    },
    Recipient {
        name: "visitor",
        source: "loan",
        purpose: "visitor",
        needs: &["loan_id", "library", "status", "branch", "due_on"],
        when: &[Condition::Is("status", &["lost", "open"])],
        retention: Retention::retract(Term::years(1), "due_on"),
        project: |view| {
            let mut out = Output::keyed(view.output_key("loan", "loan_id"));
            out.copy(view, "status", "status");
            out.copy(view, "branch", "branch");
            out
        },
        ..Recipient::PLAIN
    },
];

fn of_patron(view: &View<'_>) -> Output {
    Output::keyed(view.output_key("patron", "patron.patron_id"))
}

/// All recipients, as the first or the second policy has them.
pub fn all(changed: bool) -> Vec<&'static Recipient> {
    let shipped = crate::reference::recipient::RECIPIENTS.iter();
    let own = if changed { CHANGED } else { RECIPIENTS };
    shipped.chain(own).collect()
}
