//! What Koha does to its rows, and what recipients have of it afterwards.
//!
//! Each test has borrowers of its own and a story in up to three steps. A step of all stories is
//! run at once, as zeef then starts three times and not twenty; each test looks at what was
//! there after each step.

use std::fmt::Write as _;
use std::sync::OnceLock;

use serde_json::Value;

use super::{Published, UpstreamSite};
use crate::harness::{ConsumedMessage, LibrarySystem, Upstream};

/// What must be nowhere outside of the database.
const CANARY: &str = "CANARY-6c1f";

/// The statements of a story, by step.
type Steps = [String; 3];

const STORIES: [fn() -> Steps; 8] = [
    check_in_steps,
    anonymised_steps,
    deleted_steps,
    hold_steps,
    unknown_steps,
    secret_steps,
    clock_steps,
    truncated_steps,
];

/// The database, and what there was after each step.
struct KohaRuns {
    upstream: &'static Upstream,
    after: [Published; 3],
}

/// Runs all stories, once; `None` where Koha's database cannot be had.
fn koha() -> Option<&'static KohaRuns> {
    static RUNS: OnceLock<KohaRuns> = OnceLock::new();
    let upstream = UpstreamSite::shared_upstream(LibrarySystem::Koha)?;
    Some(RUNS.get_or_init(|| {
        let site = UpstreamSite::new(LibrarySystem::Koha, "koha", "").unwrap();
        let stories = STORIES.map(|steps| steps());
        let after = [0, 1, 2].map(|step| {
            let statements = stories.iter().map(|steps| steps[step].as_str());
            site.run_after(statements.collect::<String>())
        });
        KohaRuns { upstream, after }
    }))
}

fn patron_id(borrower: u32) -> String {
    format!("NL-AmrBKW:{borrower}")
}

fn email(borrower: u32) -> String {
    format!("b{borrower}@example.org")
}

/// The name of the branch that belongs to a test's first borrower: outputs without a name are
/// found by it.
fn branch_name(first: u32) -> String {
    format!("Filiaal {first}")
}

fn insert_branch(first: u32) -> String {
    let name = branch_name(first);
    format!("INSERT INTO branches VALUES ('T{first}', '{name}', 'NL-AmrBKW');\n")
}

/// A member, with secrets that the mapping does not name.
fn insert_borrower(borrower: u32, privacy: u8) -> String {
    format!(
        "INSERT INTO borrowers (borrowernumber, cardnumber, surname, initials, email, mobile, \
           dateofbirth, zipcode, branchcode, categorycode, dateenrolled, dateexpiry, privacy, \
           password, secret, overdrive_auth_token, borrowernotes, userid) \
         VALUES ({borrower}, '2009{borrower:010}', 'Karekiet {borrower}', 'K.', '{}', \
           '06-00000000', '1985-07-30', '1811 AB', 'AMRC', 'VOLW', '2024-03-01', \
           CURDATE() + INTERVAL 300 DAY, {privacy}, '{CANARY}', '{CANARY}', '{CANARY}', \
           '{CANARY}', '{CANARY}-{borrower}');\n",
        email(borrower)
    )
}

/// `count` items from `first` on.
fn insert_items(first: u32, count: u32) -> String {
    format!(
        "INSERT INTO items (itemnumber, biblionumber, biblioitemnumber, barcode, itype) \
         SELECT {first} + seq, 101, 201, CONCAT('3009', LPAD({first} + seq, 10, '0')), 'BOEK' \
         FROM seq_0_to_{};\n",
        count - 1
    )
}

/// A check-out of the item with the loan's own number, due in three weeks.
fn check_out(issue: u32, borrower: u32, branch: u32) -> String {
    format!(
        "INSERT INTO issues (issue_id, borrowernumber, issuer_id, itemnumber, date_due, \
           branchcode, issuedate) \
         VALUES ({issue}, {borrower}, 2, {issue}, CONCAT(CURDATE() + INTERVAL 21 DAY, ' 23:59:00'), \
           'T{branch}', CONCAT(CURDATE() - INTERVAL 7 DAY, ' 12:00:00'));\n"
    )
}

/// A check-in as Koha does it, which anonymises in the same transaction where the patron's
/// privacy says never.
fn check_in(issue: u32, privacy: u8) -> String {
    let anonymise = match privacy {
        2 => format!("UPDATE old_issues SET borrowernumber = 1 WHERE issue_id = {issue};\n"),
        _ => String::new(),
    };
    format!(
        "START TRANSACTION;\n\
         UPDATE issues SET returndate = CONCAT(CURDATE() - INTERVAL 1 DAY, ' 16:40:03') \
           WHERE issue_id = {issue};\n\
         INSERT INTO old_issues SELECT * FROM issues WHERE issue_id = {issue};\n\
         {anonymise}\
         DELETE FROM issues WHERE issue_id = {issue};\n\
         COMMIT;\n"
    )
}

/// A hold of a borrower's own number at a test's branch, on the item of that number.
fn insert_hold(number: u32, branch: u32, found: &str) -> String {
    format!(
        "INSERT INTO reserves (reserve_id, borrowernumber, reservedate, biblionumber, branchcode, \
           found, itemnumber, waitingdate, expirationdate) \
         VALUES ({number}, {number}, CURDATE(), 101, 'T{branch}', '{found}', {number}, CURDATE(), \
           CURDATE() + INTERVAL 7 DAY);\n"
    )
}

/// A fine of a borrower's own number.
fn insert_debt(number: u32, amount: &str) -> String {
    format!(
        "INSERT INTO accountlines (accountlines_id, borrowernumber, itemnumber, amount, \
           debit_type_code, amountoutstanding, interface) \
         VALUES ({number}, {number}, {number}, {amount}, 'OVERDUE', {amount}, 'intranet');\n"
    )
}

/// A request to another library of a borrower's own number.
fn insert_request(number: u32, status: &str) -> String {
    format!(
        "INSERT INTO illrequests (illrequest_id, borrowernumber, branchcode, status, medium) \
         VALUES ({number}, {number}, 'AMRC', '{status}', 'book');\n"
    )
}

/// `count` old loans of a borrower, at a branch and with numbers of its own, returned some days ago.
fn insert_old_loans(first: u32, count: u32, borrower: u32) -> String {
    format!(
        "INSERT INTO old_issues (issue_id, borrowernumber, itemnumber, date_due, branchcode, \
           returndate, issuedate) \
         SELECT {first} + seq, {borrower}, {first} + seq, \
           CONCAT(CURDATE() - INTERVAL 3 DAY, ' 23:59:00'), 'T{first}', \
           CONCAT(CURDATE() - INTERVAL 9 DAY, ' 16:40:03'), \
           CONCAT(CURDATE() - INTERVAL 20 DAY, ' 12:00:00') FROM seq_0_to_{};\n",
        count - 1
    )
}

/// What a recipient has that names this borrower.
fn outputs_of(published: &Published, topic: &str, borrower: u32) -> Vec<Value> {
    let mut outputs = published.outputs(topic);
    let marks = [email(borrower), format!("2009{borrower:010}"), format!("Karekiet {borrower}")];
    outputs.retain(|output| {
        let text = output.to_string();
        marks.iter().any(|mark| text.contains(mark))
    });
    outputs
}

/// The slips of the holds of a test's branch.
fn slips_of(published: &Published, branch: u32) -> Vec<Value> {
    published.outputs_with("out.reservation-slip", "pickup_branch", &branch_name(branch))
}

const CHECK_IN: u32 = 111_000;
const PRIVACIES: [u8; 3] = [0, 1, 2];

/// The number of a borrower, and of the loan, with a wish.
fn with_privacy(privacy: u8) -> u32 {
    CHECK_IN + u32::from(privacy)
}

fn check_in_steps() -> Steps {
    let mut first = insert_branch(CHECK_IN) + &insert_items(CHECK_IN, 3);
    for privacy in PRIVACIES {
        let number = with_privacy(privacy);
        first += &insert_borrower(number, privacy);
        first += &check_out(number, number, CHECK_IN);
    }
    let check_ins = PRIVACIES.map(|privacy| check_in(with_privacy(privacy), privacy));
    [first, check_ins.concat(), String::new()]
}

#[test]
fn upstream_koha_check_in_leaves_what_the_privacy_of_its_patron_allows() {
    let Some(KohaRuns { after: [checked_out, checked_in, _], .. }) = koha() else {
        return;
    };
    let branch = branch_name(CHECK_IN);
    for privacy in PRIVACIES {
        let messages = outputs_of(checked_out, "out.service-message", with_privacy(privacy));
        assert_eq!(messages.len(), 1, "{privacy}");
    }
    assert_eq!(checked_out.statistics(&branch), (3, 0));

    let live = checked_in.live("loan", "loan_id");
    for privacy in PRIVACIES {
        let number = with_privacy(privacy);
        assert_eq!(outputs_of(checked_in, "out.service-message", number), [] as [Value; 0]);
        let id = format!("koha-{number}");
        let loan = live.get(&(patron_id(number), id.clone()));
        let status = loan.map(|loan| loan["status"].as_str().unwrap());
        assert_eq!(status, (privacy < 2).then_some("returned"), "{privacy}");
        let is_of_nobody = |row: &&ConsumedMessage| {
            row.key_text() == patron_id(1) && row.value_text().unwrap_or("").contains(&id)
        };
        assert_eq!(checked_in.topics["loan"].iter().find(is_of_nobody), None);
    }
    let want = (2, 1);
    assert_eq!(checked_in.statistics(&branch), want, "that of the patron who wants no history");
}

const ANONYMISED: u32 = 112_000;

fn anonymised_steps() -> Steps {
    let first = insert_branch(ANONYMISED)
        + &insert_items(ANONYMISED, 3)
        + &insert_borrower(ANONYMISED, 1)
        + &insert_old_loans(ANONYMISED, 3, ANONYMISED);
    let anonymise = |to: &str, issue: u32| {
        format!("UPDATE old_issues SET borrowernumber = {to} WHERE issue_id = {issue};\n")
    };
    [first, anonymise("1", ANONYMISED), anonymise("NULL", ANONYMISED + 1)]
}

#[test]
fn upstream_koha_anonymised_loan_points_at_nobody() {
    let Some(KohaRuns { after, .. }) = koha() else {
        return;
    };
    for (step, published) in after.iter().enumerate() {
        assert_eq!(published.statistics(&branch_name(ANONYMISED)), (3 - step, step));
        let live = published.live("loan", "loan_id");
        let own = live.keys().filter(|(patron, _)| *patron == patron_id(ANONYMISED));
        let own: Vec<&str> = own.map(|(_, loan)| loan.as_str()).collect();
        assert_eq!(own, ["koha-112000", "koha-112001", "koha-112002"][step..]);
    }
}

const DELETED: u32 = 113_000;

fn deleted_steps() -> Steps {
    let first = insert_branch(DELETED)
        + &insert_items(DELETED, 51)
        + &insert_borrower(DELETED, 1)
        + &insert_old_loans(DELETED, 50, DELETED)
        + &insert_hold(DELETED, DELETED, "W")
        + &insert_debt(DELETED, "2.500000")
        + &format!(
            "INSERT INTO patron_consent (id, borrowernumber, type, given_on) \
             VALUES ({DELETED}, {DELETED}, 'GDPR_PROCESSING', NOW());\n"
        )
        + &insert_request(DELETED, "REQ");
    let delete = format!("DELETE FROM borrowers WHERE borrowernumber = {DELETED};\n");
    [first, delete, String::new()]
}

/// The binary log has nothing of what foreign keys do: no message says of 50 old loans, a hold, a
/// debt, a consent and a request that they lost their patron or are gone.
#[test]
fn upstream_koha_deleted_borrower_takes_everything_along() {
    let Some(KohaRuns { upstream, after: [before, deleted, _] }) = koha() else {
        return;
    };
    let branch = branch_name(DELETED);
    let topics = ["out.kb-recognition", "out.self-service", "out.ill-library"];
    assert_eq!(before.statistics(&branch), (50, 0));
    assert_eq!(slips_of(before, DELETED).len(), 1);
    for topic in topics {
        assert_eq!(outputs_of(before, topic, DELETED).len(), 1, "{topic}");
    }
    let account = &outputs_of(before, "out.self-service", DELETED)[0];
    assert_eq!((&account["amount_due_cents"], &account["holds_ready"]), (&250.into(), &1.into()));

    let left = upstream.run_sql(format!(
        "SELECT COUNT(*) FROM old_issues WHERE issue_id BETWEEN {DELETED} AND {DELETED} + 49 \
           AND borrowernumber IS NULL; \
         SELECT COUNT(*) FROM reserves WHERE borrowernumber = {DELETED}; \
         SELECT COUNT(*) FROM patron_consent WHERE borrowernumber = {DELETED};"
    ));
    assert_eq!(left, "50\n0\n0\n", "foreign keys did their part");
    assert_eq!(deleted.statistics(&branch), (0, 0));
    assert_eq!(slips_of(deleted, DELETED), [] as [Value; 0]);
    for topic in topics {
        assert_eq!(outputs_of(deleted, topic, DELETED), [] as [Value; 0], "{topic}");
    }
}

const HOLD: u32 = 114_000;

fn hold_steps() -> Steps {
    let first = insert_branch(HOLD)
        + &insert_items(HOLD, 1)
        + &insert_borrower(HOLD, 1)
        + &format!(
            "INSERT INTO reserves (reserve_id, borrowernumber, reservedate, biblionumber, \
               branchcode, priority) VALUES ({HOLD}, {HOLD}, CURDATE(), 101, 'T{HOLD}', 1);\n"
        );
    let ready = format!(
        "UPDATE reserves SET found = 'W', priority = 0, itemnumber = {HOLD}, \
           waitingdate = CURDATE(), expirationdate = CURDATE() + INTERVAL 7 DAY \
         WHERE reserve_id = {HOLD};\n"
    );
    let filled = format!(
        "START TRANSACTION;\n\
         UPDATE reserves SET found = 'F' WHERE reserve_id = {HOLD};\n\
         INSERT INTO old_reserves SELECT * FROM reserves WHERE reserve_id = {HOLD};\n\
         DELETE FROM reserves WHERE reserve_id = {HOLD};\n\
         COMMIT;\n"
    );
    [first, ready, filled]
}

#[test]
fn upstream_koha_hold_gives_a_slip_while_it_lies_ready() {
    let Some(KohaRuns { after: [placed, ready, filled], .. }) = koha() else {
        return;
    };
    assert_eq!(slips_of(placed, HOLD), [] as [Value; 0]);
    let slip = &slips_of(ready, HOLD)[0];
    assert_eq!((&slip["shelf_mark"], &slip["title"]), (&"Ka".into(), &"Hoogwater".into()));
    assert_eq!((&slip["initial"], &slip["card_suffix"]), (&"K".into(), &"14000".into()));
    assert_eq!(slips_of(filled, HOLD), [] as [Value; 0]);
    let live = filled.live("reservation", "reservation_id");
    assert_eq!(live[&(patron_id(HOLD), format!("koha-{HOLD}"))]["status"], "collected");
}

const UNKNOWN: u32 = 115_000;
const OTHER_FOUND: u32 = UNKNOWN + 1;
const NO_ISIL: u32 = UNKNOWN + 2;
const NO_BRANCH: u32 = UNKNOWN + 3;
const ODD_CENTS: u32 = UNKNOWN + 4;
const ODD_PRIVACY: u32 = UNKNOWN + 5;
const ODD_STATUS: u32 = UNKNOWN + 6;

fn unknown_steps() -> Steps {
    let mut first = insert_branch(UNKNOWN) + &insert_items(UNKNOWN, 7);
    first += "INSERT INTO branches VALUES ('T115GEEN', 'Filiaal zonder ISIL', NULL);\n";
    for number in UNKNOWN..=ODD_STATUS {
        first += &insert_borrower(number, 1);
    }
    first += &insert_hold(UNKNOWN, UNKNOWN, "W");
    let unknown = insert_hold(OTHER_FOUND, UNKNOWN, "Q")
        + &insert_debt(ODD_CENTS, "12.345600")
        + &insert_request(ODD_STATUS, "ONBEKEND")
        + &format!(
            "UPDATE reserves SET found = 'Z' WHERE reserve_id = {UNKNOWN};\n\
             INSERT INTO issues (issue_id, borrowernumber, itemnumber, date_due, branchcode) \
             VALUES ({NO_ISIL}, {NO_ISIL}, {NO_ISIL}, NOW(), 'T115GEEN'), \
               ({NO_BRANCH}, {NO_BRANCH}, {NO_BRANCH}, NOW(), 'NERGENS');\n\
             UPDATE borrowers SET privacy = 7 WHERE borrowernumber = {ODD_PRIVACY};\n"
        );
    let known_again =
        format!("UPDATE borrowers SET privacy = 0 WHERE borrowernumber = {ODD_PRIVACY};\n");
    [first, unknown, known_again]
}

/// Words, branches and amounts that the mapping does not know: each is a dead letter, and nothing
/// is given that was not given before.
#[test]
fn upstream_koha_unknown_words_become_dead_letters_and_open_nothing() {
    let Some(KohaRuns { after: [before, unknown, known_again], .. }) = koha() else {
        return;
    };
    let numbers: Vec<u32> = (UNKNOWN..=ODD_STATUS).collect();
    let texts: Vec<String> = numbers.iter().map(u32::to_string).collect();
    let members = |published: &Published| {
        let named = |number: &u32| !outputs_of(published, "out.kb-recognition", *number).is_empty();
        numbers.iter().copied().filter(named).collect::<Vec<u32>>()
    };
    assert_eq!(members(before), numbers);
    assert_eq!(before.letters_about(&texts), [] as [String; 0]);

    let want = [
        "library_missing loan",
        "library_missing loan",
        "malformed debt",
        "unmapped ill_request",
        "unmapped patron",
        "unmapped reservation",
        "unmapped reservation",
    ];
    assert_eq!(unknown.letters_about(&texts), want);
    let still: Vec<u32> = numbers.iter().copied().filter(|number| *number != ODD_PRIVACY).collect();
    assert_eq!(members(unknown), still, "whose wish cannot be read is closed");
    assert_eq!(slips_of(unknown, UNKNOWN).len(), 1, "the last version that was understood counts");
    for number in [NO_ISIL, NO_BRANCH] {
        assert_eq!(outputs_of(unknown, "out.service-message", number), [] as [Value; 0]);
    }
    let account = &outputs_of(unknown, "out.self-service", ODD_CENTS)[0];
    assert_eq!(account["amount_due_cents"], 0);
    assert_eq!(outputs_of(unknown, "out.ill-library", ODD_STATUS), [] as [Value; 0]);
    assert_eq!(members(known_again), numbers);
}

const SECRETS: u32 = 116_000;

fn secret_steps() -> Steps {
    let first = insert_branch(SECRETS)
        + &insert_items(SECRETS, 1)
        + &insert_borrower(SECRETS, 1)
        + &check_out(SECRETS, SECRETS, SECRETS)
        + &format!(
            "UPDATE issues SET note = '{CANARY}' WHERE issue_id = {SECRETS};\n\
             UPDATE borrowers SET password = '{CANARY}-2' WHERE borrowernumber = {SECRETS};\n"
        )
        + &check_in(SECRETS, 1);
    let deleted = format!(
        "INSERT INTO deletedborrowers SELECT * FROM borrowers WHERE borrowernumber = {SECRETS};\n\
         DELETE FROM borrowers WHERE borrowernumber = {SECRETS};\n"
    );
    [first, deleted, String::new()]
}

/// Every borrower of these tests has a password, tokens and notes: they are in no message, header
/// or definition of a table, of whatever topic.
#[test]
fn upstream_koha_secrets_of_the_database_are_in_no_topic() {
    let Some(KohaRuns { upstream, .. }) = koha() else {
        return;
    };
    let broker = upstream.broker();
    let topics = broker.topics_starting_with("");
    assert!(topics.iter().any(|topic| topic == "koha-schema-history"), "{topics:?}");
    assert!(!topics.iter().any(|topic| topic.contains("deletedborrowers")), "{topics:?}");
    let mut passed_on = 0;
    for topic in topics.iter().filter(|topic| !topic.starts_with("__")) {
        for row in broker.read_uncommitted(topic) {
            let parts = [row.key, row.value].into_iter().flatten();
            let parts = parts.chain(row.headers.into_iter().filter_map(|(_, value)| value));
            for part in parts {
                let text = String::from_utf8_lossy(&part);
                assert!(!text.contains("CANARY"), "{topic}: {text}");
                passed_on += usize::from(text.contains(&email(SECRETS)));
            }
        }
    }
    assert!(passed_on > 2, "what the mapping names came through: {passed_on}");
}

/// A borrower, and the number of its first loan.
#[derive(Clone, Copy)]
pub(super) struct ClockLoans {
    borrower: u32,
    first: u32,
}

/// Rows that are there before the connector.
pub(super) const SNAPSHOT_CLOCKS: ClockLoans = ClockLoans { borrower: 117_001, first: 117_100 };
const STREAM_CLOCKS: ClockLoans = ClockLoans { borrower: 117_002, first: 117_200 };

/// Wall clocks of a check-out around both changes of the clock, and the instants that they are.
const CLOCKS: [(&str, &str); 8] = [
    ("2026-01-01 00:30:00", "2026-01-01T00:30:00+01:00"),
    ("2026-03-29 01:59:59", "2026-03-29T01:59:59+01:00"),
    // The hour that there is not.
    ("2026-03-29 02:30:00", "2026-03-29T03:30:00+02:00"),
    ("2026-03-29 03:00:00", "2026-03-29T03:00:00+02:00"),
    ("2026-07-01 00:30:00", "2026-07-01T00:30:00+02:00"),
    // The hour that there is twice.
    ("2026-10-25 02:30:00", "2026-10-25T02:30:00+02:00"),
    ("2026-10-25 03:00:00", "2026-10-25T03:00:00+01:00"),
    ("2026-10-25 23:59:00", "2026-10-25T23:59:00+01:00"),
];

/// The days on which clocks change next, each with the time of day at which a loan is due.
fn due_clocks() -> Vec<(jiff::civil::Date, &'static str)> {
    let zone = jiff::tz::TimeZone::get("Europe/Amsterdam").unwrap();
    let changes = zone.following(jiff::Timestamp::now()).take(2);
    let days: Vec<_> = changes.map(|at| at.timestamp().to_zoned(zone.clone()).date()).collect();
    days.iter().flat_map(|day| ["00:00:00", "02:30:00", "23:59:00"].map(|at| (*day, at))).collect()
}

/// A borrower whose row changed in the double hour, with a loan for each clock.
pub(super) fn clock_rows(loans: ClockLoans) -> String {
    let ClockLoans { borrower, first } = loans;
    let mut statements = insert_branch(first) + &insert_items(first, 20);
    statements += "SET time_zone = '+00:00';\n";
    statements += &insert_borrower(borrower, 1);
    let _ = writeln!(
        statements,
        "UPDATE borrowers SET updated_on = '2026-10-25 00:30:00' WHERE borrowernumber = {borrower};"
    );
    for (number, (issued, _)) in (first..).zip(CLOCKS) {
        let _ = writeln!(
            statements,
            "INSERT INTO old_issues (issue_id, borrowernumber, itemnumber, branchcode, issuedate, \
               returndate) VALUES ({number}, {borrower}, {number}, 'T{first}', '{issued}', '{issued}');"
        );
    }
    for (number, (day, at)) in (first + 10..).zip(due_clocks()) {
        let _ = writeln!(
            statements,
            "INSERT INTO issues (issue_id, borrowernumber, itemnumber, branchcode, issuedate, \
               date_due) VALUES ({number}, {borrower}, {number}, 'T{first}', \
               '2026-11-20 10:00:00', '{day} {at}');"
        );
    }
    statements
}

fn clock_steps() -> Steps {
    let restore = "SET time_zone = 'SYSTEM';\n";
    [clock_rows(STREAM_CLOCKS) + restore, String::new(), String::new()]
}

#[track_caller]
fn check_clocks(published: &Published, loans: ClockLoans) {
    let ClockLoans { borrower, first } = loans;
    let patron = published.patrons()[&patron_id(borrower)].clone().unwrap();
    assert_eq!(patron["updated_at"], "2026-10-25T00:30:00Z");
    let live = published.live("loan", "loan_id");
    for (number, (issued, instant)) in (first..).zip(CLOCKS) {
        let loan = &live[&(patron_id(borrower), format!("koha-{number}"))];
        assert_eq!((&loan["loaned_at"], &loan["returned_at"]), (&instant.into(), &instant.into()));
        assert_eq!(loan["status"], "returned", "{issued}");
    }
    let messages = outputs_of(published, "out.service-message", borrower);
    let mut found: Vec<&str> = messages.iter().map(|row| row["due_on"].as_str().unwrap()).collect();
    found.sort_unstable();
    let want: Vec<String> = due_clocks().iter().map(|(day, _)| day.to_string()).collect();
    assert_eq!(found, want, "a loan is due on the day that the library's clock shows");
}

/// Connect reads a snapshot and the binary log in two ways; both have to say the same.
#[test]
fn upstream_koha_clocks_are_right_in_summer_winter_and_the_double_hour() {
    let Some(KohaRuns { after: [published, ..], .. }) = koha() else {
        return;
    };
    check_clocks(published, SNAPSHOT_CLOCKS);
    check_clocks(published, STREAM_CLOCKS);
}

fn truncated_steps() -> Steps {
    [String::new(), String::new(), "TRUNCATE patron_consent;\n".to_owned()]
}

/// Nobody says whose the rows of a truncated table were.
#[test]
fn upstream_koha_truncated_table_is_a_dead_letter() {
    let Some(KohaRuns { after: [_, before, truncated], .. }) = koha() else {
        return;
    };
    let all_gone = |published: &Published| {
        published.letters.iter().filter(|letter| letter.reason == "all_gone").count()
    };
    assert_eq!((all_gone(before), all_gone(truncated)), (0, 1));
}
