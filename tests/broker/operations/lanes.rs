//! Recipients that move to another lane, or are served no longer.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::harness::{Record, Zeef};
use rustix::process::Signal;

use super::site::WAIT;
use super::{Options, Site, loan, patron};

const RECIPIENTS: &[&str] = &["service-message", "statistics"];
const OWN_LANE: &str = "[lanes.message]\nrecipients = [\"service-message\"]\n";
const FORMER: &str =
    "[former.service-message]\ntopics = [\"out.service-message\"]\nwhat = \"retract\"\n";

fn options(tables: &'static str) -> Options<'static> {
    Options {
        recipients: RECIPIENTS,
        tables,
        ..Options::default()
    }
}

/// Runs `zeef lanes apply`; yields what it said.
#[track_caller]
fn apply(site: &Site<'_>, words: &[&str], code: i32) -> String {
    let mut zeef: Zeef = site.zeef(&[&["lanes", "apply"], words].concat());
    let found = zeef.wait_exit(WAIT);
    let said = format!("{}{}", zeef.stdout(), zeef.stderr());
    assert_eq!(found, code, "{said}");
    said
}

/// How many outputs the recipient was sent, and how many nulls.
fn sent(site: &Site<'_>) -> (usize, usize) {
    let rows = site.outputs("service-message");
    let nulls = rows.iter().filter(|row| row.text().is_none()).count();
    (rows.len() - nulls, nulls)
}

#[test]
fn a_recipient_moves_with_what_it_has_and_comes_back() {
    let Some(site) = Site::new("lanes", options("")) else {
        return;
    };
    let ids: Vec<String> = (0..12).map(|number| format!("P{number}")).collect();
    let patrons: Vec<Record> = ids.iter().map(|id| patron(id, "Berg")).collect();
    site.topics.write("patron", &patrons);
    let loans = ids.iter().map(|id| loan(&format!("L{id}"), id));
    site.topics.write("loan", &loans.collect::<Vec<_>>());
    site.until_end(&[]);
    assert_eq!(sent(&site), (12, 0));

    site.write_config(options(OWN_LANE));
    site.apply();
    let said = site.refused(&[], 78);
    assert!(
        said.contains("12 outputs") && said.contains("zeef lanes apply"),
        "{said}"
    );
    let said = apply(&site, &["--dry-run"], 0);
    assert!(
        said.contains("service-message: would move from lane main to message"),
        "{said}"
    );
    site.refused(&[], 78);

    // An erasure before, and one after.
    site.topics.write("patron", &[Record::tombstone("P0")]);
    let said = apply(&site, &[], 0);
    assert!(
        said.contains("moved from lane main to message, with 12 outputs"),
        "{said}"
    );
    let said = apply(&site, &[], 0);
    assert!(said.contains("nothing to do"), "{said}");
    site.topics.write("patron", &[Record::tombstone("P1")]);
    site.topics.write("loan", &[loan("LNew", "P2")]);
    site.until_end(&[]);
    assert_eq!(sent(&site), (13, 2));
    site.until_end(&[]);
    assert_eq!(sent(&site), (13, 2));

    // Nobody may run meanwhile.
    let mut alive = site.ready(&[]);
    site.write_config(options(""));
    let said = apply(&site, &[], 78);
    assert!(said.contains("stop all processes first"), "{said}");
    alive.signal(Signal::TERM);
    assert_eq!(alive.wait_exit(WAIT), 0, "{}", alive.stderr());
    site.topics.write("patron", &[Record::tombstone("P2")]);
    // Killed at any time it goes on where it was.
    for milliseconds in [200, 500, 900, 1_400] {
        let zeef = site.zeef(&["lanes", "apply"]);
        std::thread::sleep(Duration::from_millis(milliseconds));
        zeef.signal(Signal::KILL);
    }
    apply(&site, &[], 0);
    site.until_end(&[]);
    assert_eq!(sent(&site), (13, 4));
    site.until_end(&[]);
    assert_eq!(sent(&site), (13, 4));

    // Served no longer: what it has is taken back as the config says.
    let file = Path::new(site.config()).join("recipients/service-message.toml");
    fs::remove_file(file).unwrap();
    let statistics = |tables| Options {
        recipients: &["statistics"],
        ..options(tables)
    };
    site.write_config(statistics(""));
    let said = site.refused(&[], 78);
    assert!(said.contains(FORMER.trim_end()), "{said}");
    site.write_config(statistics(FORMER));
    site.until_end(&[]);
    assert_eq!(sent(&site), (13, 13));
    site.write_config(statistics(""));
    site.until_end(&[]);
    assert_eq!(sent(&site), (13, 13));
}
