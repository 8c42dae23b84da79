//! Recipients for gates that no shipped recipient has, and how a changed policy changes
//! them.

use std::fs;
use std::path::Path;

/// What the register needs of every file.
pub const REGISTER_FIELDS: &str = r#"
title        = "Ontvanger van de tests"
controller   = "The library"
contact      = "privacy@library.example.org"
persons      = "patrons"
transfers    = "none"
security     = "TLS"
purpose_text = "Laten zien dat een regel geldt"
notice       = { on = "2018-05-25", where = "Privacyverklaring" }
"#;

/// A detector of a config, whose hits the texts of the tests have.
const DETECTOR_FILE: &str = r"
[detectors.test_word]
description = 'A word of the texts that the tests make.'
pattern     = '\b(?:boek|emoji)\b'
hits        = ['Het BOEK', 'een emoji']
misses      = ['boekje']
";

/// Writes a detector of the tests' own.
pub fn write_detectors(folder: &Path) {
    fs::write(folder.join("own.toml"), DETECTOR_FILE).unwrap();
}

const RECIPIENT_FILES: &[(&str, &str)] = &[
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
minors      = "guardian"
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
        "own-thinned",
        r#"
purpose     = "own-thinned"
legal_basis = "contract"
source      = "loan"
loan_history = true
libraries   = "all"
retention   = { term = "P2Y", from = "loaned_at", after = "retract" }
thinned     = { drop = ["title", "email"], on = ["gone", "loan_history_off"], after = "P90D", from = "returned_at" }
key         = { pseudonym = "loan_id" }
fields      = { title = { from = "item.title" }, email = { from = "patron.email" }, branch = { from = "branch" }, status = { from = "status" } }
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
    (
        "own-timed",
        r#"
purpose     = "own-timed"
legal_basis = "contract"
source      = "loan"
libraries   = "all"
when        = [
    { field = "status", is = ["open", "overdue"] },
    { field = "loaned_at", before = "now-P30D" },
    { field = "due_on", not_before = "now-P14D" },
    { field = "patron.membership.ends_on", not_before = "now", before = "now+P1Y" },
]
retention   = { term = "P1Y", from = "due_on", after = "retract" }
key         = { pseudonym = "loan_id" }
fields      = { branch = { from = "branch" }, due_on = { from = "due_on" } }
"#,
    ),
];

/// The recipient of the changed policy alone: the other one declares it as former.
const VISITOR_FILE: (&str, &str) = (
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

/// By recipient: what the changed policy replaces, and by what. It withholds some
/// records more, and releases others.
const POLICY_CHANGES: &[(&str, &str, &str)] = &[
    (
        "own-marketing",
        "email = { from = \"email\" } }",
        "email = { from = \"email\" }, kind = { from = \"kind\" } }",
    ),
    ("own-marketing", "P1Y", "P30D"),
    ("own-circle", "[\"NL-AmrBKW\", \"NL-Own\"]", "[\"NL-AmrBKW\", \"NL-Own\", \"BE-GntB\"]"),
    ("own-circle", "[\"open\", \"overdue\", \"returned\"]", "[\"open\", \"lost\", \"returned\"]"),
    ("own-written", "P1Y", "P2Y"),
    ("own-written", "libraries   = \"all\"", "libraries   = [\"NL-AmrBKW\"]"),
    ("own-keeper", "until = \"2027-01-31\"", "until = \"2028-01-31\""),
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
    ("own-thinned", "[\"gone\", \"loan_history_off\"]", "[\"loan_history_off\"]"),
    ("own-thinned", "P90D", "P30D"),
    (
        "own-joined",
        "when        = [{ field = \"status\", is = [\"open\", \"overdue\"] }]",
        "loan_history = true",
    ),
    ("own-joined", "P30D", "P1Y"),
    ("own-timed", "now-P14D", "now-P1M"),
];

/// Writes the files into a folder of recipients, as they are or changed.
pub fn write_recipients(folder: &Path, changed: bool) {
    let visitor = Some(&VISITOR_FILE).filter(|_| changed);
    for (name, text) in RECIPIENT_FILES.iter().chain(visitor) {
        let head = format!("name = \"{name}\"\ntopic = \"out.{name}\"\n");
        let mut text = format!("{head}{REGISTER_FIELDS}{text}");
        for (_, from, to) in POLICY_CHANGES.iter().filter(|(of, ..)| changed && of == name) {
            assert!(text.contains(from), "{name} has {from}");
            text = text.replace(from, to);
        }
        let path = folder.join(format!("{name}.toml"));
        fs::write(path, text).expect("write a recipient");
    }
}
