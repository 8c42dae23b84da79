//! Gates first: what lay on a gate's topic before a record is known when that
//! record is decided.

use std::collections::BTreeMap;

use crate::harness::{Partitioner, Writer};

use super::site::member;
use super::{Options, Site, loan, patron};

const PATRONS: usize = 6;
const ROUNDS: usize = 30;

#[test]
fn a_patron_that_lay_there_before_a_loan_is_never_overtaken() {
    let options = Options {
        recipients: &["service-message"],
        partitions: 4,
        ..Options::default()
    };
    let Some(site) = Site::new("gates", options) else {
        return;
    };
    let zeef = site.ready(&[]);
    let writer = Writer::new(site.broker, Partitioner::Murmur2);
    let (patrons, loans) = (site.topics.name("patron"), site.topics.name("loan"));
    for round in 0..ROUNDS {
        // Each write returns when the broker has it. In each round another
        // patron's records lie between, and loans come in other numbers.
        for turn in 0..PATRONS {
            let id = format!("P{}", (turn * 5 + round) % PATRONS);
            writer.write(&patrons, &[patron(&id, &format!("V{round:03}"))]);
            let number = 1 + (turn + round) % 3;
            let records: Vec<_> = (0..number)
                .map(|copy| loan(&format!("{round:03}-{id}-{copy}"), &id))
                .collect();
            writer.write(&loans, &records);
        }
    }
    let total: usize = (0..ROUNDS * PATRONS)
        .map(|step| 1 + (step % PATRONS + step / PATRONS) % 3)
        .sum();
    site.consumed(&zeef, "main", "loan", total);

    // A loan is sent again whenever its patron's name changes.
    let outputs = site.outputs("service-message");
    assert!(outputs.len() >= total);
    let mut names = BTreeMap::new();
    for row in &outputs {
        let (title, name) = (member(row, "title"), member(row, "name"));
        let version = format!("V{}", &title[..3]);
        assert!(
            name >= version,
            "loan {title} was decided with patron {name}"
        );
        names.insert(title, name);
    }
    assert_eq!(names.len(), total, "each loan");
    let last = format!("V{:03}", ROUNDS - 1);
    assert!(names.values().all(|name| *name == last), "{names:?}");
    assert!(site.dead_letters().is_empty());
}
