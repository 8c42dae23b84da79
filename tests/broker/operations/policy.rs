//! A policy that was changed while nobody ran.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::Zeef;

use super::site::loan_that_is;
use super::{Options, Site, loan, patron};

const SHIPPED: &str = r#"is = ["open", "overdue"]"#;
const LOOSENED: &str = r#"is = ["open", "overdue", "lost"]"#;

fn replace(site: &Site<'_>, from: &str, to: &str) {
    let path = Path::new(site.config()).join("recipients/service-message.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

/// What the state says of policies and of records, oldest first.
fn state(site: &Site<'_>) -> (Vec<Value>, Vec<Value>) {
    let rows = site.topics.committed("zeef.state.main");
    let rows = rows
        .iter()
        .filter(|row| !row.key_text().starts_with("next:"));
    let rows = rows.map(|row| serde_json::from_str::<Value>(row.text().unwrap()).unwrap());
    rows.partition(|row| row["policy"].is_string())
}

/// The policy that all outputs of a run carry would be another one after it.
#[test]
fn a_loosened_policy_reaches_what_was_withheld_once() {
    let options = Options {
        recipients: &["service-message"],
        partitions: 1,
        ..Options::default()
    };
    let Some(site) = Site::new("policy", options) else {
        return;
    };
    let run = || -> Zeef { site.until_end(&[]) };
    site.topics.write("patron", &[patron("P1", "Berg")]);
    site.topics.write(
        "loan",
        &[loan("L1", "P1"), loan_that_is("lost", "L2", "P1")],
    );
    run();
    site.check_loans(["L1".to_owned()]);
    let (marks, records) = state(&site);
    assert_eq!((marks.len(), records.len()), (1, 1), "{records:?}");

    replace(&site, SHIPPED, LOOSENED);
    run();
    site.check_loans(["L1", "L2"].map(str::to_owned));
    let (marks, records) = state(&site);
    assert_eq!(marks.len(), 2);
    assert_ne!(marks[0]["policy"], marks[1]["policy"]);
    assert_eq!(marks[1]["recipients"][0], "service-message");
    assert!(records.iter().any(|row| row["offset"] == 1), "{records:?}");

    let before = (site.outputs("service-message").len(), state(&site));
    run();
    let after = (site.outputs("service-message").len(), state(&site));
    assert_eq!(before, after);

    replace(&site, LOOSENED, SHIPPED);
    run();
    let outputs = site.outputs("service-message");
    assert_eq!(outputs.len(), before.0 + 1);
    assert!(outputs.last().unwrap().text().is_none());
    assert!(site.dead_letters().is_empty());
}
