//! A policy that was changed while nobody ran.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::ZeefProcess;

use super::test_site::loan_with_status;
use super::{SiteOptions, TestSite, open_loan, patron_record};

const SHIPPED_CONDITION: &str = r#"is = ["open", "overdue"]"#;
const LOOSENED_CONDITION: &str = r#"is = ["open", "overdue", "lost"]"#;

fn replace_in_recipient(site: &TestSite<'_>, from: &str, to: &str) {
    let path = Path::new(site.config_path()).join("recipients/service-message.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

/// What the last mark of the state says of the policy, and the rows of records,
/// oldest first.
fn read_mark_and_rows(site: &TestSite<'_>) -> (Value, Vec<Value>) {
    let rows = site.topics.read_committed("zeef.state.main");
    let rows = rows.iter().filter(|row| !row.key_text().starts_with("next:"));
    let rows = rows.map(|row| serde_json::from_str::<Value>(row.value_text().unwrap()).unwrap());
    let (mut marks, records): (Vec<Value>, Vec<Value>) =
        rows.partition(|row| row["policy"].is_string());
    let mark = marks.pop().unwrap();
    let said = ["policy", "recipients", "generation", "has", "rows"];
    let said = said.map(|name| (name.to_owned(), mark[name].clone()));
    (said.into_iter().collect(), records)
}

/// The policy that all outputs of a run carry would be another one after it.
#[test]
fn policy_change_reevaluates_withheld_records_once() {
    let options =
        SiteOptions { recipients: &["service-message"], partitions: 1, ..SiteOptions::default() };
    let Some(site) = TestSite::new("policy", options) else {
        return;
    };
    let run = || -> ZeefProcess { site.run_until_end(&[]) };
    site.topics.write_records("patron", &[patron_record("P1", "Berg")]);
    site.topics
        .write_records("loan", &[open_loan("L1", "P1"), loan_with_status("lost", "L2", "P1")]);
    run();
    site.check_loans_delivered(["L1".to_owned()]);
    let (first, records) = read_mark_and_rows(&site);
    assert_eq!(records.len(), 1, "{records:?}");

    replace_in_recipient(&site, SHIPPED_CONDITION, LOOSENED_CONDITION);
    run();
    site.check_loans_delivered(["L1", "L2"].map(str::to_owned));
    let (second, records) = read_mark_and_rows(&site);
    assert_ne!(first["policy"], second["policy"]);
    assert_eq!((&first["generation"], &second["generation"]), (&1.into(), &2.into()));
    assert_eq!(second["recipients"][0], "service-message");
    assert!(records.iter().any(|row| row["offset"] == 1), "{records:?}");

    let before = (site.read_outputs("service-message").len(), read_mark_and_rows(&site));
    run();
    let after = (site.read_outputs("service-message").len(), read_mark_and_rows(&site));
    assert_eq!(before, after);

    replace_in_recipient(&site, LOOSENED_CONDITION, SHIPPED_CONDITION);
    run();
    let outputs = site.read_outputs("service-message");
    assert_eq!(outputs.len(), before.0 + 1);
    assert!(outputs.last().unwrap().value_text().is_none());
    assert!(site.read_dead_letters().is_empty());
}
