//! `zeef holds`: what waits for its patron, or for its source to delete its own copy, beside a
//! daemon that runs.

use super::test_site::WAIT_TIMEOUT;
use super::{SiteOptions, TestSite, open_loan, patron_record};
use crate::harness::{ProducerRecord, eventually};

#[test]
fn holds_lists_held_records_until_their_patron_arrives() {
    let options =
        SiteOptions { recipients: &["service-message"], partitions: 3, ..SiteOptions::default() };
    let Some(site) = TestSite::new("holds", options) else {
        return;
    };
    let list_holds = || -> Vec<serde_json::Value> {
        let mut holds = site.spawn_command(&["holds", "--json"]);
        assert_eq!(holds.wait_exit(WAIT_TIMEOUT), 0, "{}", holds.stderr());
        serde_json::from_str(&holds.stdout()).unwrap()
    };
    assert!(list_holds().is_empty());
    let zeef = site.spawn_ready_run(&[]);
    let loans = ["first-patron", "second-patron", "third-patron"]
        .map(|id| open_loan(&format!("L-{id}"), id));
    site.topics.write_records("loan", &loans);
    site.wait_consumed(&zeef, "main", "loan", 3);
    let holds = eventually("three records are held", WAIT_TIMEOUT, || {
        Some(list_holds()).filter(|holds| holds.len() == 3)
    });
    let topic = site.topics.full_name("loan");
    for hold in &holds {
        assert_eq!(hold["topic"], topic.as_str());
        assert_eq!(hold["recipients"][0], "service-message");
        assert!(!hold.to_string().contains("-patron"), "{hold}");
    }
    site.topics.write_records("patron", &[patron_record("second-patron", "V")]);
    eventually("one of them is released", WAIT_TIMEOUT, || (list_holds().len() == 2).then_some(()));
}

#[test]
fn f39_overdue_deletions_are_a_gauge_and_a_list_until_the_source_says_the_day() {
    let options = SiteOptions { recipients: &["ido-referral"], ..SiteOptions::default() };
    let Some(site) = TestSite::new("overdue", options) else {
        return;
    };
    let list_overdue = || -> Vec<serde_json::Value> {
        let mut holds = site.spawn_command(&["holds", "--overdue", "--json"]);
        assert_eq!(holds.wait_exit(WAIT_TIMEOUT), 0, "{}", holds.stderr());
        serde_json::from_str(&holds.stdout()).unwrap()
    };
    let day = |ago: i64| jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * ago);
    let referral = |id: &str, rest: &str| {
        let head = r#""library":"NL-AmrBKW","manner":"written","surname":"Nergenshuizen""#;
        ProducerRecord::new(id, format!(r#"{{"referral_id":"{id}",{head}{rest}}}"#))
    };
    let sent = |ago: i64| format!(r#","at":"{}""#, day(ago));
    let zeef = site.spawn_ready_run(&[]);
    let records = [referral("late", &sent(8)), referral("recent", &sent(1))];
    site.topics.write_records("referral", &records);
    let gauge = || zeef.fetch_metric_sum("zeef_source_deletions_overdue", &[]);
    eventually("one is overdue", WAIT_TIMEOUT, || (gauge() == Some(1.0)).then_some(()));
    let overdue = list_overdue();
    assert_eq!(overdue.len(), 1, "{overdue:?}");
    assert_eq!(overdue[0]["topic"], site.topics.full_name("referral").as_str());
    assert!(!overdue[0].to_string().contains("late"), "{overdue:?}");
    let deleted = format!(r#"{},"source_deleted_at":"{}""#, sent(8), day(0));
    site.topics.write_records("referral", &[referral("late", &deleted)]);
    eventually("nothing is overdue", WAIT_TIMEOUT, || (gauge() == Some(0.0)).then_some(()));
    assert!(list_overdue().is_empty());
}
