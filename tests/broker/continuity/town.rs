//! A deployment that has read some patrons, a loan of each, an objection of one of
//! them and a consent of another, in one partition each.

use rustix::process::Signal;

use crate::harness::{Record, Row, Zeef, eventually};
use crate::operations::site::{Options, Site, WAIT, loan, objection, patron};

/// Sees every loan.
pub(super) const MESSAGES: &str = "service-message";
/// May be objected to.
pub(super) const STATISTICS: &str = "statistics";
/// Needs a consent.
pub(super) const MEMBERSHIP: &str = "kb-membership";
pub(super) const RECIPIENTS: [&str; 3] = [MEMBERSHIP, MESSAGES, STATISTICS];
/// How many patrons there are at first: P0 to P5.
pub(super) const PATRONS: usize = 6;
const OBJECTS: &str = "P1";
const AGREES: &str = "P2";

pub(super) struct Town(pub(super) Site<'static>);

impl Town {
    /// A town whose records are read; `None` without a broker.
    #[track_caller]
    pub(super) fn new(test: &str) -> Option<Self> {
        let town = Self::empty(test)?;
        town.write_all(PATRONS);
        town.run();
        assert_eq!(town.loans().len(), PATRONS);
        assert_eq!(town.0.outputs(STATISTICS).len(), PATRONS - 1);
        assert_eq!(town.0.outputs(MEMBERSHIP).len(), 1);
        Some(town)
    }

    /// The same, with nothing in it.
    #[track_caller]
    pub(super) fn empty(test: &str) -> Option<Self> {
        let options = Options {
            recipients: &RECIPIENTS,
            partitions: 1,
            kafka: "session_timeout_ms = 6000",
            tables: "[state]\ncheck_seconds = 1\nsweep_seconds = 1",
            by_period: false,
        };
        Site::new(test, options).map(Town)
    }

    /// Writes so many patrons with a loan each, an objection and a consent.
    #[track_caller]
    pub(super) fn write_all(&self, patrons: usize) {
        self.write_patrons(0..patrons);
        self.write("objection", &[objection(OBJECTS)]);
        self.write("consent", &[consent(AGREES)]);
        self.write_loans("L", 0..patrons);
    }

    #[track_caller]
    pub(super) fn write_patrons(&self, patrons: std::ops::Range<usize>) {
        let all: Vec<Record> = patrons.map(|n| patron(&format!("P{n}"), "Berg")).collect();
        self.write("patron", &all);
    }

    /// Writes a loan of each, named by `letter`.
    #[track_caller]
    pub(super) fn write_loans(&self, letter: &str, patrons: std::ops::Range<usize>) {
        let all: Vec<Record> = patrons
            .map(|n| loan(&format!("{letter}{n}"), &format!("P{n}")))
            .collect();
        self.write("loan", &all);
    }

    #[track_caller]
    pub(super) fn write(&self, topic: &str, records: &[Record]) {
        self.0.topics.write(topic, records);
    }

    /// Runs to the end, which has to be a good one.
    #[track_caller]
    pub(super) fn run(&self) -> Zeef {
        self.0.until_end(&[])
    }

    /// The loans of which the service-message partner was sent something.
    #[track_caller]
    pub(super) fn loans(&self) -> Vec<String> {
        self.0.fields(MESSAGES, "title")
    }

    /// All that recipients were sent.
    #[track_caller]
    pub(super) fn sent(&self) -> Vec<Row> {
        let all = RECIPIENTS.iter();
        all.flat_map(|recipient| self.0.outputs(recipient))
            .collect()
    }

    /// Writes loans that are due, the objector's too: released, if anything goes
    /// on.
    #[track_caller]
    fn write_bait(&self) {
        self.write_loans("bait", 0..PATRONS);
    }

    /// Expects that the next start stops and releases nothing. Returns what it
    /// said, which has each of `words`.
    #[track_caller]
    pub(super) fn stops(&self, words: &[&str]) -> String {
        let before = self.sent();
        self.write_bait();
        self.still_stops(&before, words)
    }

    /// The same, with no further record.
    #[track_caller]
    pub(super) fn still_stops(&self, before: &[Row], words: &[&str]) -> String {
        let said = self.0.refused(&["--until-end"], 70);
        for word in words {
            assert!(said.contains(word), "expected `{word}`: {said}");
        }
        assert_eq!(self.sent(), before, "nothing is released: {said}");
        said
    }

    /// Expects that a running process stops, releases nothing of what comes after
    /// `fault`, and that no start goes on.
    #[track_caller]
    pub(super) fn stops_live(&self, fault: impl FnOnce(&Self)) {
        let mut zeef = self.0.ready(&[]);
        let before = self.sent();
        fault(self);
        assert_eq!(zeef.wait_exit(WAIT), 70, "{}", zeef.stderr());
        self.write_bait();
        self.still_stops(&before, &[]);
    }

    /// Deletes a topic, and makes it anew as `zeef topics` does.
    #[track_caller]
    pub(super) fn make_anew(&self, topic: &str) {
        self.0.topics.delete(topic);
        eventually("the topic is gone", WAIT, || {
            (!self.0.topics.list().contains(&topic.to_owned())).then_some(())
        });
        eventually("the topic is made anew", WAIT, || {
            let mut zeef = self.0.zeef(&["topics", "--apply"]);
            (zeef.wait_exit(WAIT) == 0).then_some(())
        });
    }

    /// Runs a command, which has to end with `code`. Returns what it said.
    #[track_caller]
    pub(super) fn command(&self, args: &[&str], code: i32) -> String {
        let mut zeef = self.0.zeef(args);
        let found = zeef.wait_exit(WAIT);
        let said = format!("{}{}", zeef.stdout(), zeef.stderr());
        assert_eq!(found, code, "{args:?}: {said}");
        said
    }

    /// Accepts all that a start found.
    #[track_caller]
    pub(super) fn accept(&self, said: &str) {
        let codes = codes(said);
        assert!(!codes.is_empty(), "{said}");
        let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
        self.command(&[&["accept", "--reason", "a test"], &codes[..]].concat(), 0);
    }

    /// Ends a process in good order.
    #[track_caller]
    pub(super) fn stop(&self, mut zeef: Zeef) {
        zeef.signal(Signal::TERM);
        assert_eq!(zeef.wait_exit(WAIT), 0, "{}", zeef.stderr());
        let group = self.0.group("main");
        eventually("the group has no members", WAIT, || {
            (self.0.broker.group_members(&group) == 0).then_some(())
        });
    }

    /// Runs the console tool of groups on the lane's group.
    #[track_caller]
    pub(super) fn group(&self, args: &[&str]) {
        let group = self.0.group("main");
        let all = [&["--group", &group], args].concat();
        self.0.broker.tool("consumer-groups", &all);
    }
}

/// The codes that a start named, without doubles.
pub(super) fn codes(said: &str) -> Vec<String> {
    let parts = said.split("zeef accept ").skip(1);
    let words = parts.filter_map(|part| part.split_whitespace().next());
    let mut codes: Vec<String> = words.map(str::to_owned).collect();
    codes.sort();
    codes.dedup();
    codes
}

pub(super) fn consent(patron: &str) -> Record {
    let value = format!(
        concat!(
            r#"{{"consent_id":"C-{patron}","patron_id":"{patron}","library":"NL-AmrBKW","#,
            r#""purpose":"online-library","decision":"granted","manner":"written","#,
            r#""at":"2026-01-02T10:00:00Z"}}"#
        ),
        patron = patron
    );
    Record::new(patron, value)
}
