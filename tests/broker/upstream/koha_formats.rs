//! Other settings of Connect, which write the same rows as other messages.

use std::collections::BTreeMap;

use super::{Published, UpstreamSite};
use crate::harness::LibrarySystem;

const FIRST: u32 = 119_000;
const BORROWERS: u32 = 4;
const TOPIC_START: &str = "kohab.";
const LOOKUPS: &str =
    "kohab\\.koha_library\\.(branches|categories|items|biblio|biblioitems|illrequestattributes)";

/// What is Connect's and Debezium's default: each value beside its schema, a null behind each
/// deletion, and headers. Not the schema of keys: it names the table, and a loan's two tables would
/// part ways.
const OTHER_FORMAT: [(&str, &str); 8] = [
    ("topic.prefix", "kohab"),
    ("database.server.id", "5401"),
    ("schema.history.internal.kafka.topic", "kohab-schema-history"),
    ("topic.creation.lookup.include", LOOKUPS),
    ("tombstones.on.delete", "true"),
    ("extended.headers.enabled", "true"),
    ("skip.messages.without.change", "false"),
    ("value.converter.schemas.enable", "true"),
];

/// Check-outs, check-ins of which two are anonymised, a hold, debts, and a deletion.
fn statements() -> String {
    let own = |column: &str| format!("{column} BETWEEN {FIRST} AND {}", FIRST + BORROWERS - 1);
    let [issues, loans, holds] = [own("issue_id"), own("borrowernumber"), own("reserve_id")];
    format!(
        "INSERT INTO items (itemnumber, biblionumber, biblioitemnumber, barcode, itype) \
           SELECT {FIRST} + seq, 101, 201, CONCAT('3019', LPAD(seq, 10, '0')), 'BOEK' FROM seq_0_to_3;\n\
         INSERT INTO borrowers (borrowernumber, cardnumber, surname, branchcode, categorycode, \
             dateofbirth, dateexpiry, privacy) \
           SELECT {FIRST} + seq, CONCAT('2019', LPAD(seq, 10, '0')), 'Tureluur', 'AMRC', 'VOLW', \
             '1985-07-30', CURDATE() + INTERVAL 300 DAY, seq % 3 FROM seq_0_to_3;\n\
         INSERT INTO issues (issue_id, borrowernumber, itemnumber, date_due, branchcode, \
             auto_renew, issuedate) \
           SELECT {FIRST} + seq, {FIRST} + seq, {FIRST} + seq, NOW() + INTERVAL 21 DAY, 'AMRC', \
             NULL, NOW() FROM seq_0_to_3;\n\
         INSERT INTO reserves (reserve_id, borrowernumber, biblionumber, branchcode, found, \
             waitingdate, expirationdate) \
           SELECT {FIRST} + seq, {FIRST} + seq, 101, 'AMRN', 'W', CURDATE(), \
             CURDATE() + INTERVAL 7 DAY FROM seq_0_to_3;\n\
         INSERT INTO accountlines (accountlines_id, borrowernumber, itemnumber, amount, \
             debit_type_code, amountoutstanding, interface) \
           SELECT {FIRST} + seq, {FIRST} + seq, {FIRST} + seq, 2.5, 'LOST', 2.5, 'intranet' \
           FROM seq_0_to_3;\n\
         INSERT INTO patron_consent (borrowernumber, type, given_on) \
           VALUES ({FIRST}, 'GDPR_PROCESSING', NOW());\n\
         UPDATE borrowers SET password = 'not-a-hash', email = '' WHERE {loans};\n\
         START TRANSACTION;\n\
         UPDATE issues SET returndate = NOW() WHERE {issues};\n\
         INSERT INTO old_issues SELECT * FROM issues WHERE {issues};\n\
         DELETE FROM issues WHERE {issues};\n\
         COMMIT;\n\
         UPDATE old_issues SET borrowernumber = 1 WHERE issue_id = {FIRST};\n\
         UPDATE old_issues SET borrowernumber = NULL WHERE issue_id = {FIRST} + 1;\n\
         UPDATE reserves SET found = 'F' WHERE {holds};\n\
         UPDATE accountlines SET amountoutstanding = 0 WHERE accountlines_id = {FIRST} + 1;\n\
         DELETE FROM borrowers WHERE borrowernumber = {FIRST} + 2;\n"
    )
}

/// By canonical topic and patron all versions of the records of this test, in order.
fn versions(published: &Published) -> BTreeMap<(String, String), Vec<Option<String>>> {
    let mut versions: BTreeMap<_, Vec<Option<String>>> = BTreeMap::new();
    for (topic, rows) in &published.topics {
        for row in rows.iter().filter(|row| row.key_text().starts_with("NL-AmrBKW:119")) {
            let of_key = versions.entry((topic.clone(), row.key_text().to_owned())).or_default();
            of_key.push(row.value_text().map(str::to_owned));
        }
    }
    versions
}

#[test]
fn upstream_koha_other_formats_of_connect_give_the_same_records() {
    let Some(shipped) = UpstreamSite::new(LibrarySystem::Koha, "koha-shipped", "") else {
        return;
    };
    let mut other = UpstreamSite::new(LibrarySystem::Koha, "koha-other", "").unwrap();
    other.topic_start = TOPIC_START;
    other.edit_config("intake/koha-debezium.toml", |text| {
        text.replace("\"koha.", &format!("\"{TOPIC_START}"))
    });
    other.create_connector(TOPIC_START, &OTHER_FORMAT);
    shipped.run_sql(statements());
    let (want, found) = (versions(&shipped.run()), versions(&other.run()));
    assert_eq!(found, want);
    // A patron each, and a loan, a hold and a debt of each.
    assert_eq!(found.len(), 16);
    let raw = other.broker().read_committed("kohab.issues");
    assert!(raw.iter().any(|row| row.value.is_none()), "nulls behind deletions");
    assert!(
        raw.iter().any(|row| row.value_text().is_some_and(|text| text.starts_with("{\"schema\":")))
    );
}
