//! A deployment that has read some patrons, a loan of each, an objection of one of
//! them and a consent of another, in one partition each.

use rustix::process::Signal;

use crate::harness::{ConsumedMessage, ProducerRecord, ZeefProcess, eventually};
use crate::operations::test_site::{
    SiteOptions, TestSite, WAIT_TIMEOUT, objection_record, open_loan, patron_record,
};

/// Sees every loan.
pub(super) const SERVICE_MESSAGE: &str = "service-message";
/// May be objected to.
pub(super) const STATISTICS: &str = "statistics";
/// Needs a consent.
pub(super) const KB_MEMBERSHIP: &str = "kb-membership";
pub(super) const RECIPIENTS: [&str; 3] = [KB_MEMBERSHIP, SERVICE_MESSAGE, STATISTICS];
/// How many patrons there are at first: P0 to P5.
pub(super) const PATRON_COUNT: usize = 6;
const OBJECTING_PATRON: &str = "P1";
const CONSENTING_PATRON: &str = "P2";

pub(super) struct ContinuityFixture(pub(super) TestSite<'static>);

impl ContinuityFixture {
    /// A town whose records are read; `None` without a broker.
    #[track_caller]
    pub(super) fn with_records_read(test: &str) -> Option<Self> {
        let fixture = Self::without_records(test)?;
        fixture.write_all(PATRON_COUNT);
        fixture.run_until_end();
        assert_eq!(fixture.delivered_loans().len(), PATRON_COUNT);
        assert_eq!(fixture.0.read_outputs(STATISTICS).len(), PATRON_COUNT - 1);
        assert_eq!(fixture.0.read_outputs(KB_MEMBERSHIP).len(), 1);
        Some(fixture)
    }

    /// The same, and a patron was erased in a run of its own.
    #[track_caller]
    pub(super) fn with_an_erasure(test: &str) -> Option<Self> {
        let fixture = Self::with_records_read(test)?;
        fixture.write("patron", &[ProducerRecord::tombstone(CONSENTING_PATRON)]);
        fixture.run_until_end();
        assert_eq!(fixture.0.topics.read_committed("zeef.patrons").len(), 1);
        Some(fixture)
    }

    /// The id of the erased patron is in use again.
    #[track_caller]
    pub(super) fn register_erased_patron_again(&self) {
        self.write("patron", &[patron_record(CONSENTING_PATRON, "Dijk")]);
    }

    /// The same, with nothing in it.
    #[track_caller]
    pub(super) fn without_records(test: &str) -> Option<Self> {
        let options = SiteOptions {
            recipients: &RECIPIENTS,
            partitions: 1,
            kafka_lines: "session_timeout_ms = 6000",
            extra_tables: "[state]\ncheck_seconds = 1\nsweep_seconds = 1",
            is_published_by_period: false,
        };
        TestSite::new(test, options).map(ContinuityFixture)
    }

    /// Writes so many patrons with a loan each, an objection and a consent.
    #[track_caller]
    pub(super) fn write_all(&self, patrons: usize) {
        self.write_patrons(0..patrons);
        self.write("objection", &[objection_record(OBJECTING_PATRON)]);
        self.write("consent", &[granted_consent(CONSENTING_PATRON)]);
        self.write_loans("L", 0..patrons);
    }

    #[track_caller]
    pub(super) fn write_patrons(&self, patrons: std::ops::Range<usize>) {
        let all: Vec<ProducerRecord> =
            patrons.map(|n| patron_record(&format!("P{n}"), "Berg")).collect();
        self.write("patron", &all);
    }

    /// Writes a loan of each, named by `letter`.
    #[track_caller]
    pub(super) fn write_loans(&self, letter: &str, patrons: std::ops::Range<usize>) {
        let all: Vec<ProducerRecord> =
            patrons.map(|n| open_loan(&format!("{letter}{n}"), &format!("P{n}"))).collect();
        self.write("loan", &all);
    }

    #[track_caller]
    pub(super) fn write(&self, topic: &str, records: &[ProducerRecord]) {
        self.0.topics.write_records(topic, records);
    }

    /// Runs to the end, which has to be a good one.
    #[track_caller]
    pub(super) fn run_until_end(&self) -> ZeefProcess {
        self.0.run_until_end(&[])
    }

    /// The loans of which the service-message partner was sent something.
    #[track_caller]
    pub(super) fn delivered_loans(&self) -> Vec<String> {
        self.0.read_output_fields(SERVICE_MESSAGE, "title")
    }

    /// All that recipients were sent.
    #[track_caller]
    pub(super) fn read_all_outputs(&self) -> Vec<ConsumedMessage> {
        let all = RECIPIENTS.iter();
        all.flat_map(|recipient| self.0.read_outputs(recipient)).collect()
    }

    /// Writes loans that are due, the objector's too: released, if anything goes
    /// on.
    #[track_caller]
    fn write_releasable_loans(&self) {
        self.write_loans("bait", 0..PATRON_COUNT);
    }

    /// Expects that the next start stops and releases nothing. Returns what it
    /// said, which has each of `words`.
    #[track_caller]
    pub(super) fn expect_next_start_stops(&self, expected_words: &[&str]) -> String {
        let before = self.read_all_outputs();
        self.write_releasable_loans();
        self.expect_start_stops(&before, expected_words)
    }

    /// The same, with no further record.
    #[track_caller]
    pub(super) fn expect_start_stops(
        &self,
        before: &[ConsumedMessage],
        expected_words: &[&str],
    ) -> String {
        let said = self.0.expect_run_exit(&["--until-end"], 70);
        for word in expected_words {
            assert!(said.contains(word), "expected `{word}`: {said}");
        }
        assert_eq!(self.read_all_outputs(), before, "nothing is released: {said}");
        said
    }

    /// Expects that a running process stops, releases nothing of what comes after
    /// `fault`, and that no start goes on.
    #[track_caller]
    pub(super) fn expect_running_process_stops(&self, fault: impl FnOnce(&Self)) {
        let mut zeef = self.0.spawn_ready_run(&[]);
        let before = self.read_all_outputs();
        fault(self);
        assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 70, "{}", zeef.stderr());
        self.write_releasable_loans();
        self.expect_start_stops(&before, &[]);
    }

    /// Deletes a topic, and makes it anew as `zeef topics` does.
    #[track_caller]
    pub(super) fn recreate_topic(&self, topic: &str) {
        self.0.topics.delete(topic);
        eventually("the topic is gone", WAIT_TIMEOUT, || {
            (!self.0.topics.list().contains(&topic.to_owned())).then_some(())
        });
        eventually("the topic is made anew", WAIT_TIMEOUT, || {
            let mut zeef = self.0.spawn_command(&["topics", "--apply"]);
            (zeef.wait_exit(WAIT_TIMEOUT) == 0).then_some(())
        });
    }

    /// Runs a command, which has to end with `code`. Returns what it said.
    #[track_caller]
    pub(super) fn run_command(&self, args: &[&str], code: i32) -> String {
        let mut zeef = self.0.spawn_command(args);
        let found = zeef.wait_exit(WAIT_TIMEOUT);
        let said = format!("{}{}", zeef.stdout(), zeef.stderr());
        assert_eq!(found, code, "{args:?}: {said}");
        said
    }

    /// Accepts all that a start found.
    #[track_caller]
    pub(super) fn accept_findings(&self, said: &str) {
        let codes = finding_codes(said);
        assert!(!codes.is_empty(), "{said}");
        let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
        self.run_command(&[&["accept", "--reason", "a test"], &codes[..]].concat(), 0);
    }

    /// Ends a process in good order.
    #[track_caller]
    pub(super) fn stop_process(&self, mut zeef: ZeefProcess) {
        zeef.send_signal(Signal::TERM);
        assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0, "{}", zeef.stderr());
        let group = self.0.group_id("main");
        eventually("the group has no members", WAIT_TIMEOUT, || {
            (self.0.broker.count_group_members(&group) == 0).then_some(())
        });
    }

    /// Runs the console tool of groups on the lane's group.
    #[track_caller]
    pub(super) fn run_consumer_groups_tool(&self, args: &[&str]) {
        let group = self.0.group_id("main");
        let all = [&["--group", &group], args].concat();
        self.0.broker.run_tool("consumer-groups", &all);
    }
}

/// The codes that a start named, without doubles.
pub(super) fn finding_codes(said: &str) -> Vec<String> {
    let parts = said.split("zeef accept ").skip(1);
    let words = parts.filter_map(|part| part.split_whitespace().next());
    let mut codes: Vec<String> = words.map(str::to_owned).collect();
    codes.sort();
    codes.dedup();
    codes
}

pub(super) fn granted_consent(patron: &str) -> ProducerRecord {
    let value = format!(
        concat!(
            r#"{{"consent_id":"C-{patron}","patron_id":"{patron}","library":"NL-AmrBKW","#,
            r#""purpose":"online-library","decision":"granted","manner":"written","#,
            r#""at":"2026-01-02T10:00:00Z"}}"#
        ),
        patron = patron
    );
    ProducerRecord::new(patron, value)
}
