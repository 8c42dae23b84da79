//! `zeef export`: what a recipient has on Kafka, beside a daemon that runs.

use serde_json::Value;

use super::test_site::WAIT_TIMEOUT;
use super::{SiteOptions, TestSite, patron_record};
use crate::harness::{ProducerRecord, eventually};

#[test]
fn export_has_the_last_committed_version_of_each_output() {
    let options =
        SiteOptions { recipients: &["kb-recognition"], partitions: 3, ..SiteOptions::default() };
    let Some(site) = TestSite::new("export", options) else {
        return;
    };
    let export = || -> Vec<Value> {
        let words = ["export", "kb-recognition", "--as", "json", "--library", "NL-AmrBKW"];
        let mut export = site.spawn_command(&words);
        assert_eq!(export.wait_exit(WAIT_TIMEOUT), 0, "{}", export.stderr());
        serde_json::from_str(&export.stdout()).unwrap()
    };
    let _zeef = site.spawn_ready_run(&[]);
    assert!(export().is_empty());
    let patrons = ["p-1", "p-2", "p-3", "p-4"].map(|id| patron_record(id, "Berg"));
    site.topics.write_records("patron", &patrons);
    eventually("four outputs", WAIT_TIMEOUT, || (export().len() == 4).then_some(()));
    let renewed = ProducerRecord::new(
        "p-2",
        r#"{"patron_id":"p-2","library":"NL-AmrBKW","kind":"person","surname":"Berg","membership":
        {"id":"M-p-2","type":"renewed","status":"active"}}"#,
    );
    site.topics.write_records("patron", &[renewed, ProducerRecord::tombstone("p-3")]);
    let left = eventually("one is taken back and one is new", WAIT_TIMEOUT, || {
        let left = export();
        let is_renewed = |output: &Value| output["membership_type"] == "renewed";
        (left.len() == 3 && left.iter().filter(|output| is_renewed(output)).count() == 1)
            .then_some(left)
    });
    assert!(left.iter().all(|output| output["member_ref"] != "M-p-3"), "{left:?}");
}
