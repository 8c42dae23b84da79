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

/// What the last mark of the state says of the policy, and the rows of records,
/// oldest first.
fn state(site: &Site<'_>) -> (Value, Vec<Value>) {
    let rows = site.topics.committed("zeef.state.main");
    let rows = rows
        .iter()
        .filter(|row| !row.key_text().starts_with("next:"));
    let rows = rows.map(|row| serde_json::from_str::<Value>(row.text().unwrap()).unwrap());
    let (mut marks, records): (Vec<Value>, Vec<Value>) =
        rows.partition(|row| row["policy"].is_string());
    let mark = marks.pop().unwrap();
    let said = ["policy", "recipients", "generation", "has", "rows"];
    let said = said.map(|name| (name.to_owned(), mark[name].clone()));
    (said.into_iter().collect(), records)
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
    let (first, records) = state(&site);
    assert_eq!(records.len(), 1, "{records:?}");

    replace(&site, SHIPPED, LOOSENED);
    run();
    site.check_loans(["L1", "L2"].map(str::to_owned));
    let (second, records) = state(&site);
    assert_ne!(first["policy"], second["policy"]);
    assert_eq!(
        (&first["generation"], &second["generation"]),
        (&1.into(), &2.into())
    );
    assert_eq!(second["recipients"][0], "service-message");
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
