//! `zeef holds`: what waits for its patron, beside a daemon that runs.

use super::site::WAIT;
use super::{Options, Site, loan, patron};
use crate::harness::eventually;

#[test]
fn what_waits_is_listed_until_its_patron_comes() {
    let options = Options {
        recipients: &["service-message"],
        partitions: 3,
        ..Options::default()
    };
    let Some(site) = Site::new("holds", options) else {
        return;
    };
    let listed = || -> Vec<serde_json::Value> {
        let mut holds = site.zeef(&["holds", "--json"]);
        assert_eq!(holds.wait_exit(WAIT), 0, "{}", holds.stderr());
        serde_json::from_str(&holds.stdout()).unwrap()
    };
    assert!(listed().is_empty());
    let zeef = site.ready(&[]);
    let loans =
        ["first-patron", "second-patron", "third-patron"].map(|id| loan(&format!("L-{id}"), id));
    site.topics.write("loan", &loans);
    site.consumed(&zeef, "main", "loan", 3);
    let holds = eventually("three records are held", WAIT, || {
        Some(listed()).filter(|holds| holds.len() == 3)
    });
    let topic = site.topics.name("loan");
    for hold in &holds {
        assert_eq!(hold["topic"], topic.as_str());
        assert_eq!(hold["recipients"][0], "service-message");
        assert!(!hold.to_string().contains("-patron"), "{hold}");
    }
    site.topics.write("patron", &[patron("second-patron", "V")]);
    eventually("one of them is released", WAIT, || {
        (listed().len() == 2).then_some(())
    });
}
