//! Connect, zeef and the database killed while the database changes, and the end compared with SQL.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{Published, UpstreamSite, koha_snapshot};
use crate::harness::{LibrarySystem, Upstream, UpstreamPart, eventually};

const WAIT_TIMEOUT: Duration = Duration::from_secs(180);
/// Small batches, so that many of them begin and end in a short time.
const SMALL_BATCHES: &str = "[batch]\nrecords = 50\n";
const FIRST: u32 = 118_000;
const LOANS: u32 = 40;
/// Less than the column can hold.
const RENEWALS_MAX: u32 = 120;
const DATABASE_CRASH: u32 = 4;
/// So long that renewals go on through three kills on a busy machine.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);

/// Borrowers with a loan each.
fn first_statements() -> String {
    format!(
        "INSERT INTO items (itemnumber, biblionumber, biblioitemnumber, barcode, itype) \
           SELECT {FIRST} + seq, 101, 201, CONCAT('3018', LPAD(seq, 10, '0')), 'BOEK' \
           FROM seq_1_to_{LOANS};\n\
         INSERT INTO borrowers (borrowernumber, cardnumber, surname, email, branchcode, \
             categorycode, dateexpiry) \
           SELECT {FIRST} + seq, CONCAT('2018', LPAD(seq, 10, '0')), 'Snip', \
             CONCAT('crash', seq, '@example.org'), 'AMRC', 'VOLW', CURDATE() + INTERVAL 300 DAY \
           FROM seq_1_to_{LOANS};\n\
         INSERT INTO issues (issue_id, borrowernumber, itemnumber, date_due, branchcode, issuedate) \
           SELECT {FIRST} + seq, {FIRST} + seq, {FIRST} + seq, \
             CONCAT(CURDATE() + INTERVAL 21 DAY, ' 23:59:00'), 'AMRC', \
             CONCAT(CURDATE() - INTERVAL 1 DAY, ' 12:00:00') FROM seq_1_to_{LOANS};\n"
    )
}

/// Renews every loan once, each a transaction of its own.
fn renew_all(renewal: u32) -> String {
    let renew =
        |loan| format!("UPDATE issues SET renewals_count = {renewal} WHERE issue_id = {loan};\n");
    (FIRST + 1..=FIRST + LOANS).map(renew).collect()
}

/// Renews every loan again and again until it is told to stop, at most as often as the column can
/// count; yields how often. The database may crash on the way, right behind a renewal.
fn keep_renewing(upstream: &Upstream, stop: &AtomicBool, database_crash: Option<u32>) -> u32 {
    let mut renewal = 0;
    while !stop.load(Ordering::Relaxed) && renewal < RENEWALS_MAX {
        renewal += 1;
        upstream.run_sql(renew_all(renewal));
        if Some(renewal) == database_crash {
            upstream.crash(UpstreamPart::Database);
        }
        thread::sleep(RENEWAL_INTERVAL);
    }
    renewal
}

/// Returns the loans of one borrower in four, and deletes those borrowers.
fn deletions() -> String {
    let own = |column: &str| {
        format!("{column} BETWEEN {} AND {} AND {column} % 4 = 0", FIRST + 1, FIRST + LOANS)
    };
    let loans = own("issue_id");
    format!(
        "START TRANSACTION;\n\
         UPDATE issues SET returndate = CONCAT(CURDATE(), ' 00:00:00') WHERE {loans};\n\
         INSERT INTO old_issues SELECT * FROM issues WHERE {loans};\n\
         DELETE FROM issues WHERE {loans};\n\
         COMMIT;\n\
         DELETE FROM borrowers WHERE {};\n",
        own("borrowernumber")
    )
}

/// By patron the numbers of renewals of its loan's versions, in order; returned ones apart.
fn read_versions(koha: &UpstreamSite) -> BTreeMap<String, Vec<i64>> {
    let mut versions: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for row in koha.deployment.topics.read_committed("loan") {
        let loan = super::parse(row.value_text().unwrap());
        let number = loan["loan_id"].as_str().and_then(|id| id.strip_prefix("koha-"));
        let number = number.and_then(|number| number.parse::<u32>().ok());
        let is_own = number.is_some_and(|number| (FIRST + 1..=FIRST + LOANS).contains(&number));
        if is_own && loan["status"] == "open" {
            let of_patron = versions.entry(row.key_text().to_owned()).or_default();
            of_patron.push(loan["renewals"].as_i64().unwrap());
        }
    }
    versions
}

#[track_caller]
fn wait_converted(koha: &UpstreamSite, count: usize) {
    eventually(&format!("{count} versions of loans"), WAIT_TIMEOUT, || {
        let read: usize = read_versions(koha).values().map(Vec::len).sum();
        (read >= count).then_some(())
    });
}

/// What the service that writes messages has, and what it has to have.
#[track_caller]
fn check_messages(koha: &UpstreamSite, published: &Published) {
    let outputs = published.outputs("out.service-message");
    let emails = outputs.iter().filter_map(|output| output["email"].as_str());
    let found: BTreeSet<&str> = emails.filter(|email| email.starts_with("crash")).collect();
    let want = koha.run_sql(format!(
        "SELECT email FROM issues JOIN borrowers USING (borrowernumber) \
         WHERE issue_id BETWEEN {} AND {}",
        FIRST + 1,
        FIRST + LOANS
    ));
    assert_eq!(found, want.lines().collect::<BTreeSet<_>>());
    assert_eq!(found.len(), 30);
}

/// Renews loans while zeef and Connect are killed in turn, three times; yields how often each was
/// renewed.
#[track_caller]
fn renew_under_kills(koha: &UpstreamSite, database_crash: Option<u32>) -> u32 {
    koha.run_sql(first_statements());
    let upstream = koha.upstream;
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let database = thread::spawn(move || keep_renewing(upstream, &told, database_crash));
    let mut kills_on_the_way = 0;
    for round in 1..=3_usize {
        let mut zeef = koha.deployment.start_run(&[]);
        wait_converted(koha, 100 * round);
        zeef.kill();
        kills_on_the_way += u32::from(!database.is_finished());
        upstream.crash(UpstreamPart::Connect);
    }
    stop.store(true, Ordering::Relaxed);
    let renewals = database.join().unwrap();
    assert!(
        kills_on_the_way >= 2,
        "{kills_on_the_way} of 3 kills were in the middle of {renewals} renewals"
    );
    renewals
}

#[test]
fn upstream_koha_kills_of_connect_zeef_and_database_lose_and_repeat_nothing() {
    let Some(koha) = UpstreamSite::new(LibrarySystem::Koha, "koha-crash", SMALL_BATCHES) else {
        return;
    };
    let renewals = renew_under_kills(&koha, Some(DATABASE_CRASH));
    let published = koha.run_after(deletions());

    let want: Vec<i64> = (0..=i64::from(renewals)).collect();
    let versions = read_versions(&koha);
    assert_eq!(versions.len(), 40);
    for (patron, found) in versions {
        assert_eq!(found, want, "{patron}: each version once, none before an older one");
    }
    check_messages(&koha, &published);
}

/// Of how many of `versions` an older one comes behind a newer one.
fn count_gone_back(versions: &BTreeMap<String, Vec<i64>>) -> usize {
    versions.values().filter(|versions| !versions.is_sorted()).count()
}

/// By loan the numbers of renewals of its rows that Connect has sent, in order.
fn read_sent(koha: &UpstreamSite) -> BTreeMap<String, Vec<i64>> {
    let mut sent: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for message in koha.broker().read_committed("koha.issues") {
        let change = super::parse(message.value_text().unwrap());
        let row = &change["after"];
        let number = row["issue_id"].as_u64().unwrap_or(0);
        if (u64::from(FIRST + 1)..=u64::from(FIRST + LOANS)).contains(&number) {
            let renewals = row["renewals_count"].as_i64().unwrap();
            sent.entry(number.to_string()).or_default().push(renewals);
        }
    }
    sent
}

/// A Connect that may send again what it sent before, killed while the database changes: the end is
/// as SQL says, with the shipped mapping too; with `newer_by` no older state comes on the way.
#[test]
fn upstream_koha_at_least_once_ends_as_sql_says_and_never_goes_back() {
    let system = LibrarySystem::KohaAtLeastOnce;
    let Some(koha) = UpstreamSite::new(system, "koha-again", SMALL_BATCHES) else {
        return;
    };
    koha.edit_config("intake/koha-debezium.toml", |text| {
        let record = "[[record]]\n";
        let newer_by = "newer_by = [\"envelope.source.file\", \"envelope.source.pos\"]\n";
        text.replace(record, &format!("{record}{newer_by}"))
    });
    koha.deployment.apply_topics();
    let renewals = renew_under_kills(&koha, None);
    koha.run_sql(koha_snapshot::CHANGES);
    koha.wait_delivered(koha.topic_start);
    koha.upstream.crash(UpstreamPart::Connect);
    let published = koha.run_after(deletions());

    let again = count_gone_back(&read_sent(&koha));
    assert!(again > 0, "Connect has sent nothing again: this test shows nothing");
    let versions = read_versions(&koha);
    assert_eq!((versions.len(), count_gone_back(&versions)), (40, 0), "{versions:?}");
    let want: Vec<i64> = (0..=i64::from(renewals)).collect();
    for (patron, mut found) in versions {
        found.dedup();
        assert_eq!(found, want, "{patron}: none is missing");
    }
    check_messages(&koha, &published);
    let counts = koha_snapshot::comparison(&koha).check(&published);
    assert!(counts.patrons > 0 && counts.loans > 0 && counts.messages > 0, "{counts:?}");

    let shipped = UpstreamSite::new(system, "koha-again-shipped", "").unwrap();
    let published = shipped.run();
    assert!(count_gone_back(&read_versions(&shipped)) > 0, "older states come on the way");
    check_messages(&shipped, &published);
    assert_eq!(koha_snapshot::comparison(&shipped).check(&published), counts);
}
