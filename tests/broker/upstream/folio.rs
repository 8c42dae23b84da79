//! What FOLIO does to its rows, and what recipients have of it afterwards.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::comparison::{Comparison, Counts};
use super::{Published, UpstreamSite};
use crate::harness::{LibrarySystem, Upstream, UpstreamPart, eventually};

/// What lies in the database before the connector is there, two more tenants too.
pub(super) const FIRST_ROWS: &str = include_str!("folio_rows.sql");
const CHANGES: &str = include_str!("folio_changes.sql");
const EXPECTED: &str = include_str!("folio_expected.sql");
const WAIT_TIMEOUT: Duration = Duration::from_secs(180);
const LOAN_TOPIC: &str = "folio_pg.amrland_mod_circulation_storage.loan";

/// The statements of a story, by step.
type Steps = [String; 3];

/// Runs all stories, once, and yields what there was after each step; `None` where FOLIO's
/// database cannot be had.
fn folio() -> Option<&'static [Published; 3]> {
    static RUNS: OnceLock<[Published; 3]> = OnceLock::new();
    UpstreamSite::shared_upstream(LibrarySystem::Folio)?;
    Some(RUNS.get_or_init(|| {
        let site = UpstreamSite::new(LibrarySystem::Folio, "folio", "").unwrap();
        site.edit_config("intake/folio-debezium.toml", |text| {
            let known = "[library.map]\n";
            assert!(text.contains(known));
            let tenant = "amrzee_mod_users = \"NL-AmrBKW\"\n\
                          amrzee_mod_circulation_storage = \"NL-AmrBKW\"\n";
            text.replace(known, &format!("{known}{tenant}"))
        });
        let stories = [anonymised_steps(), identity_steps(), foreign_steps()];
        [0, 1, 2].map(|step| {
            let statements = stories.iter().map(|steps| steps[step].as_str());
            site.run_after(statements.collect::<String>())
        })
    }))
}

/// Whether an id of `folio_rows.sql` is one of its numbers.
fn is_own(id: &str) -> bool {
    let number = id.rsplit('-').next().and_then(|number| number.parse::<u32>().ok());
    number.is_some_and(|number| (1_001..=1_600).contains(&number))
}

/// The id of a row, as `folio_rows.sql` makes it.
fn id_of(kind: u32, number: u32) -> String {
    format!("{kind:08}-0000-4000-8000-{number:012}")
}

fn patron_id(user: u32) -> String {
    format!("NL-AmrBKW:{}", id_of(10, user))
}

fn insert(tenant: &str, table: &str, record: &Value) -> String {
    let id = record["id"].as_str().unwrap();
    format!("INSERT INTO {tenant}_{table} (id, jsonb) VALUES ('{id}', '{record}');\n")
}

fn user(number: u32) -> Value {
    json!({
        "id": id_of(10, number), "barcode": format!("2009{number:010}"), "active": true,
        "type": "patron", "username": "CANARY",
        "personal": { "lastName": "Karekiet", "email": format!("u{number}@example.org"),
                      "dateOfBirth": "1985-07-30T00:00:00.000+00:00" },
    })
}

/// An instant some days ago.
fn days_ago(days: i64) -> String {
    (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days)).to_string()
}

/// An open loan.
fn loan(number: u32, user: u32) -> Value {
    json!({
        "id": id_of(30, number), "userId": id_of(10, user),
        "itemId": "00000000-0000-4000-8000-000000000301", "status": { "name": "Open" },
        "loanDate": days_ago(9), "dueDate": days_ago(-12),
        "itemStatus": "Checked out", "renewalCount": 0,
    })
}

#[test]
fn upstream_folio_snapshot_then_changes_end_as_sql_says() {
    let Some(folio) = UpstreamSite::new(LibrarySystem::Folio, "folio-snapshot", "") else {
        return;
    };
    folio.run_sql(EXPECTED);
    let comparison = Comparison {
        site: &folio,
        before_select: "",
        is_own,
        is_own_member: |member| member.starts_with("2003"),
    };
    let first = comparison.check(&folio.run());
    let want = Counts {
        patrons: 288,
        loans: 576,
        reservations: 52,
        debts: 63,
        messages: 282,
        members: 272,
    };
    assert_eq!(first, want);

    let published = folio.run_after(CHANGES);
    let then = comparison.check(&published);
    assert!(then.patrons < first.patrons && then.loans < first.loans, "{then:?}");
    assert!(then.reservations < first.reservations && then.members < first.members, "{then:?}");
    for (topic, rows) in &published.topics {
        for row in rows {
            let text = format!("{} {:?} {:?}", row.key_text(), row.value_text(), row.headers);
            assert!(!text.contains("CANARY"), "{topic}: {text}");
        }
    }
}

const CLOSED: u32 = 2_001;
const ANONYMISED: u32 = 2_002;
const OPEN: u32 = 2_003;
const BRANCH: &str = "Filiaal 2001";

fn anonymised_steps() -> Steps {
    let branch = json!({ "id": id_of(80, CLOSED), "name": BRANCH });
    let mut first = insert("amrland", "mod_inventory_storage.service_point", &branch);
    first += &insert("amrland", "mod_users.users", &user(CLOSED));
    for number in [CLOSED, ANONYMISED, OPEN] {
        let mut row = loan(number, CLOSED);
        row["checkoutServicePointId"] = branch["id"].clone();
        first += &insert("amrland", "mod_circulation_storage.loan", &row);
    }
    let returned = format!(
        "UPDATE amrland_mod_circulation_storage.loan \
           SET jsonb = jsonb || '{{\"status\": {{\"name\": \"Closed\"}}, \
             \"returnDate\": \"{2}\"}}' WHERE id IN ('{0}', '{1}');\n\
         UPDATE amrland_mod_circulation_storage.loan SET jsonb = jsonb - 'userId' \
           WHERE id = '{1}';\n",
        id_of(30, CLOSED),
        id_of(30, ANONYMISED),
        days_ago(2)
    );
    let deleted =
        format!("DELETE FROM amrland_mod_users.users WHERE id = '{}';\n", id_of(10, CLOSED));
    [first, returned, deleted]
}

/// What FOLIO's own events never tell: SQL that takes the user out of a loan, and a deletion.
#[test]
fn upstream_folio_anonymised_loan_points_at_nobody_and_a_deleted_user_at_nothing() {
    let Some([first, returned, deleted]) = folio() else {
        return;
    };
    let messages = |published: &Published| {
        let email = format!("u{CLOSED}@example.org");
        published.outputs_with("out.service-message", "email", &email).len()
    };
    assert_eq!((messages(first), first.statistics(BRANCH)), (3, (3, 0)));
    assert_eq!((messages(returned), returned.statistics(BRANCH)), (1, (2, 1)));
    let live = returned.live("loan", "loan_id");
    let own = live.iter().filter(|((patron, _), _)| *patron == patron_id(CLOSED));
    let own: Vec<&str> = own.map(|(_, loan)| loan["status"].as_str().unwrap()).collect();
    assert_eq!(own, ["returned", "open"]);
    assert_eq!((messages(deleted), deleted.statistics(BRANCH)), (0, (0, 0)));
}

const WITHOUT_PAST: u32 = 3_001;

fn identity_steps() -> Steps {
    let request = json!({
        "id": id_of(40, WITHOUT_PAST), "requestType": "Hold",
        "requesterId": id_of(10, WITHOUT_PAST), "status": "Open - Not yet filled",
    });
    let mut first = insert("amrzee", "mod_users.users", &user(WITHOUT_PAST));
    let row = loan(WITHOUT_PAST, WITHOUT_PAST);
    first += &insert("amrzee", "mod_circulation_storage.loan", &row);
    // Larger than what PostgreSQL keeps in the row itself.
    let _ = writeln!(
        first,
        "INSERT INTO amrzee_mod_circulation_storage.request (id, jsonb) \
         SELECT '{}', '{request}'::jsonb || jsonb_build_object('patronComments', \
           (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 400) AS i));",
        id_of(40, WITHOUT_PAST)
    );
    let changed = format!(
        "UPDATE amrzee_mod_circulation_storage.loan SET jsonb = jsonb - 'userId' \
           WHERE id = '{}';\n\
         UPDATE amrzee_mod_circulation_storage.request SET created_by = 'x' WHERE id = '{}';\n",
        id_of(30, WITHOUT_PAST),
        id_of(40, WITHOUT_PAST)
    );
    let deleted =
        format!("DELETE FROM amrzee_mod_users.users WHERE id = '{}';\n", id_of(10, WITHOUT_PAST));
    [first, changed, deleted]
}

/// Of a tenant without `REPLICA IDENTITY FULL` a change does not say whose the row was.
#[test]
fn upstream_folio_row_without_its_past_is_refused_and_a_deletion_is_not() {
    let Some([first, changed, deleted]) = folio() else {
        return;
    };
    let letters = |published: &Published| published.letters_about(&[format!("{WITHOUT_PAST:012}")]);
    let messages = |published: &Published| {
        let email = format!("u{WITHOUT_PAST}@example.org");
        published.outputs_with("out.service-message", "email", &email).len()
    };
    assert_eq!((messages(first), letters(first)), (1, vec![]));
    assert_eq!(letters(changed), ["before_missing loan", "before_missing reservation"]);
    assert_eq!(messages(changed), 1, "what cannot be understood changes nothing");
    assert_eq!(messages(deleted), 0);
}

const FOREIGN: u32 = 5_001;

fn foreign_steps() -> Steps {
    let account = json!({
        "id": id_of(50, FOREIGN), "userId": id_of(10, FOREIGN), "feeFineType": "Overdue fine",
        "remaining": 2.5, "paymentStatus": { "name": "Outstanding" },
    });
    let first = insert("elders", "mod_users.users", &user(FOREIGN))
        + &insert("elders", "mod_feesfines.accounts", &account);
    [first, "TRUNCATE elders_mod_feesfines.accounts;\n".to_owned(), String::new()]
}

/// A tenant without an ISIL, and a truncated table, of which nobody says whose its rows were.
#[test]
fn upstream_folio_unknown_tenant_and_truncated_table_are_dead_letters() {
    let Some([first, truncated, _]) = folio() else {
        return;
    };
    let text = format!("{FOREIGN:012}");
    assert_eq!(
        first.letters_about(std::slice::from_ref(&text)),
        ["library_missing debt", "library_missing patron"]
    );
    let patrons = truncated.patrons();
    assert!(!patrons.keys().any(|patron| patron.contains(&text)));
    let all_gone = |published: &Published| {
        published.letters.iter().filter(|letter| letter.reason == "all_gone").count()
    };
    assert_eq!((all_gone(first), all_gone(truncated)), (0, 1));
}

const CRASHED: u32 = 4_001;
const RENEWALS: i64 = 300;

fn renew(renewal: i64) -> String {
    format!(
        "UPDATE amrland_mod_circulation_storage.loan \
           SET jsonb = jsonb || '{{\"renewalCount\": {renewal}}}' WHERE id = '{}';\n",
        id_of(30, CRASHED)
    )
}

/// One renewal after the other, for half a minute.
fn renewals() -> String {
    (1..=RENEWALS).map(|renewal| renew(renewal) + "SELECT pg_sleep(0.1);\n").collect()
}

#[track_caller]
fn wait_read(upstream: &Upstream, count: usize) {
    eventually(&format!("{count} versions of a loan in Kafka"), WAIT_TIMEOUT, || {
        let rows = upstream.broker().read_visible(LOAN_TOPIC).into_iter();
        let own = rows.filter(|row| row.key_text().contains(&id_of(30, CRASHED)));
        (own.count() >= count).then_some(())
    });
}

#[test]
fn upstream_folio_kills_of_connect_and_database_lose_and_repeat_nothing() {
    let Some(folio) = UpstreamSite::new(LibrarySystem::Folio, "folio-crash", "") else {
        return;
    };
    folio.run_sql(
        insert("amrland", "mod_users.users", &user(CRASHED))
            + &insert("amrland", "mod_circulation_storage.loan", &loan(CRASHED, CRASHED)),
    );
    let upstream = folio.upstream;
    let database = thread::spawn(move || upstream.run_sql(renewals()));
    let mut kills_on_the_way = 0;
    for count in [20, 60] {
        wait_read(upstream, count);
        kills_on_the_way += u32::from(!database.is_finished());
        upstream.crash(UpstreamPart::Connect);
    }
    database.join().unwrap();
    assert!(kills_on_the_way >= 1, "no kill was in the middle");
    upstream.crash(UpstreamPart::Database);
    let last = RENEWALS + 1;
    upstream.run_sql(renew(last));
    let published = folio.run();
    let loans = published.topics["loan"].iter().map(|row| super::parse(row.value_text().unwrap()));
    let own = loans.filter(|loan| loan["loan_id"] == id_of(30, CRASHED));
    let found: Vec<i64> = own.map(|loan| loan["renewals"].as_i64().unwrap()).collect();
    assert_eq!(found, (0..=last).collect::<Vec<i64>>());
}
