//! Who a record is of: merges, libraries that are corrected, and ids that are given
//! to somebody else after an erasure.

use zeef::engine::lane::STATE_TOPIC_PREFIX;
use zeef::engine::memory::deliveries::row_json;
use zeef::engine::tally::SourceTally;
use zeef::message::continuity::MARK_ROW_KEY;
use zeef::transport::memory::PublishedOutput;

use zeef_test_kit::deployment::{DeploymentSetup, InMemoryDeployment, ValuesByKey};
use zeef_test_kit::scenario::START_MS;

const DAY_MS: i64 = 86_400_000;

/// The sources of a library, message by message, each a second after the other.
struct LibraryScenario {
    deployment: InMemoryDeployment,
    partitions: i32,
    now_ms: i64,
}

impl LibraryScenario {
    fn new(partitions: i32) -> Self {
        let setup = DeploymentSetup { partitions, ..DeploymentSetup::DEFAULT };
        LibraryScenario {
            deployment: InMemoryDeployment::new(setup, START_MS),
            partitions,
            now_ms: START_MS,
        }
    }

    fn push_message(&mut self, source: &str, patron: &str, value: Option<String>) {
        self.now_ms += 1_000;
        self.deployment.set_arrival_time(self.now_ms);
        let last = patron.as_bytes().last().copied().unwrap_or_default();
        let partition = i32::from(last) % self.partitions;
        let value = value.as_deref().map(str::as_bytes);
        self.deployment.push_message(source, partition, Some(patron.as_bytes()), value);
    }

    fn push_patron(&mut self, id: &str, surname: &str) {
        let value = format!(
            r#"{{"patron_id":"{id}","library":"NL-A","kind":"person","surname":"{surname}","membership":{{"id":"M","status":"active"}},"email":"{surname}@example.org"}}"#
        );
        self.push_message("patron", id, Some(value));
    }

    fn push_loan(&mut self, patron: &str, id: &str, library: &str) {
        let value = format!(
            r#"{{"patron_id":"{patron}","library":"{library}","loan_id":"{id}","status":"open","due_on":"2026-03-01","item":{{"title":"{id}"}}}}"#
        );
        self.push_message("loan", patron, Some(value));
    }

    fn push_grant(&mut self, patron: &str, id: &str, days: i64) {
        let at = jiff::Timestamp::from_millisecond(START_MS + days * DAY_MS).expect("a time");
        let value = format!(
            r#"{{"patron_id":"{patron}","library":"NL-A","consent_id":"{id}","purpose":"own-written","decision":"granted","manner":"written","at":"{at}"}}"#
        );
        self.push_message("consent", patron, Some(value));
    }

    fn push_refusal(&mut self, patron: &str, id: &str) {
        let value = format!(
            r#"{{"patron_id":"{patron}","library":"NL-A","consent_id":"{id}","purpose":"own-written","decision":"refused"}}"#
        );
        self.push_message("consent", patron, Some(value));
    }

    fn push_erasure(&mut self, id: &str) {
        self.push_message("patron", id, None);
    }

    fn run_and_check(&mut self) {
        self.deployment.set_clock(self.now_ms);
        self.deployment.run_to_end().expect("a run to the end");
        self.deployment.check_state().expect("a state that is right");
        self.deployment.check_counters().expect("numbers that add up");
    }

    /// What the sender of messages about due dates has, as far as it names somebody.
    #[track_caller]
    fn check_service_messages(&self, want: &[(&str, &str)]) {
        let values = self.outputs_of("service-message");
        let shown: Vec<serde_json::Value> = values
            .values()
            .map(|value| serde_json::from_slice(value).expect("an output"))
            .collect();
        let text = |value: &serde_json::Value, name: &str| {
            value[name].as_str().unwrap_or_default().to_owned()
        };
        let mut found: Vec<(String, String)> =
            shown.iter().map(|value| (text(value, "name"), text(value, "title"))).collect();
        found.sort();
        let want: Vec<(String, String)> =
            want.iter().map(|(name, title)| ((*name).to_owned(), (*title).to_owned())).collect();
        assert_eq!(found, want);
    }

    fn outputs_of(&self, recipient: &str) -> ValuesByKey {
        let mut values = self.deployment.outputs_by_recipient();
        values.remove(recipient).unwrap_or_default()
    }

    /// Whether the recipient that asks for consent has something of anybody.
    fn has_consented_output(&self) -> bool {
        !self.outputs_of("own-written").is_empty()
    }

    fn source_tally(&self, source: &str) -> SourceTally {
        self.deployment.source_tally(source)
    }
}

/// The patrons of two systems are merged: the loans of the old ones come again under
/// new ones, and then the old ones go, or are corrected, some before and some after.
#[test]
fn merged_patron_leaves_others_outputs_untouched() {
    // By the last digit a new patron is in the same partition as the old one, or not.
    for (partitions, new) in [(1, "n1"), (3, "n1"), (3, "n2"), (3, "n4")] {
        for order in 0..6 {
            let mut library = LibraryScenario::new(partitions);
            library.push_patron("o1", "Old");
            library.push_loan("o1", "l1", "NL-A");
            library.push_loan("o1", "l2", "NL-A");
            library.run_and_check();
            library.check_service_messages(&[("Old", "l1"), ("Old", "l2")]);
            let steps: [fn(&mut LibraryScenario, &str); 3] = [
                |library, new| library.push_patron(new, "New"),
                |library, new| {
                    library.push_loan(new, "l1", "NL-A");
                    library.push_loan(new, "l2", "NL-A");
                },
                |library, _| library.push_erasure("o1"),
            ];
            let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
            for step in orders[order] {
                steps[step](&mut library, new);
                library.run_and_check();
            }
            library.check_service_messages(&[("New", "l1"), ("New", "l2")]);
            // Corrected in place of erased, and erased after that.
            library.push_patron("o1", "Olds");
            library.run_and_check();
            library.check_service_messages(&[("New", "l1"), ("New", "l2")]);
            library.push_patron(new, "News");
            library.run_and_check();
            library.check_service_messages(&[("News", "l1"), ("News", "l2")]);
            library.push_erasure(new);
            library.run_and_check();
            library.check_service_messages(&[]);
        }
    }
}

#[test]
fn merged_old_patron_keeps_its_own_loans_when_corrected() {
    for (partitions, new) in [(1, "n1"), (3, "n1"), (3, "n2")] {
        let mut library = LibraryScenario::new(partitions);
        library.push_patron("o1", "Old");
        library.push_patron(new, "New");
        library.push_loan("o1", "l1", "NL-A");
        library.push_loan(new, "l1", "NL-A");
        library.run_and_check();
        library.push_patron("o1", "Olds");
        library.run_and_check();
        library.check_service_messages(&[("New", "l1"), ("Olds", "l1")]);
    }
}

#[test]
fn corrected_library_leaves_no_old_output_behind() {
    let mut library = LibraryScenario::new(1);
    library.push_patron("p1", "Berg");
    library.push_loan("p1", "l1", "NL-A");
    library.run_and_check();
    library.check_service_messages(&[("Berg", "l1")]);
    let before: Vec<String> = library.outputs_of("service-message").into_keys().collect();
    library.push_loan("p1", "l1", "NL-B");
    library.run_and_check();
    // Of another library than its patron.
    library.check_service_messages(&[]);
    let value = r#"{"patron_id":"p1","library":"NL-B","kind":"person","surname":"Berg","membership":{"id":"M","status":"active"}}"#;
    library.push_message("patron", "p1", Some(value.to_owned()));
    library.run_and_check();
    library.check_service_messages(&[("Berg", "l1")]);
    let after: Vec<String> = library.outputs_of("service-message").into_keys().collect();
    assert_ne!(before, after, "a key has the library in it");
}

/// What was before an erasure is of nobody, however the news come: at once, after a
/// restart, after compaction took the null, and in a lane that is made later.
#[test]
fn erasure_ends_an_epoch() {
    for way in 0..5 {
        let mut library = LibraryScenario::new(2);
        library.push_patron("p1", "Former");
        library.push_loan("p1", "l1", "NL-A");
        library.push_grant("p1", "c1", -1);
        library.run_and_check();
        library.check_service_messages(&[("Former", "l1")]);
        assert!(library.has_consented_output());
        library.push_erasure("p1");
        if way == 0 {
            // All is read at once, so that who has the id next is known before.
            library.deployment.restart();
        } else {
            library.run_and_check();
            library.check_service_messages(&[]);
        }
        if way >= 2 {
            library.deployment.for_each_source("patron", |transport, source| {
                transport.compact(source).drop_tombstones(source);
            });
            library.deployment.restart();
        }
        if way == 3 {
            library.deployment.recreate_lanes();
        }
        library.push_patron("p1", "Next");
        library.run_and_check();
        library.check_service_messages(&[]);
        assert!(!library.has_consented_output(), "way {way}");
        if way == 4 {
            library.deployment.recreate_lanes();
            library.run_and_check();
            library.check_service_messages(&[]);
            assert!(!library.has_consented_output());
        }
        library.push_loan("p1", "l2", "NL-A");
        library.push_grant("p1", "c2", 1);
        library.now_ms += 2 * DAY_MS;
        library.run_and_check();
        library.check_service_messages(&[("Next", "l2")]);
        assert!(library.has_consented_output(), "way {way}");
        // A new version of what was before is of after.
        library.push_loan("p1", "l1", "NL-A");
        library.run_and_check();
        library.check_service_messages(&[("Next", "l1"), ("Next", "l2")]);
    }
}

#[test]
fn erasure_ends_earlier_grants_but_not_refusals() {
    let mut library = LibraryScenario::new(1);
    library.push_patron("p1", "Former");
    library.push_grant("p1", "c1", -1);
    library.push_refusal("p1", "c2");
    library.push_erasure("p1");
    library.push_patron("p1", "Next");
    // It came after, and says that it was given before.
    library.push_grant("p1", "c3", -1);
    library.run_and_check();
    library.push_loan("p1", "l1", "NL-A");
    library.run_and_check();
    assert!(!library.has_consented_output());
    // A refusal that knows no time is the latest: a grant that replaces it counts.
    library.push_grant("p1", "c2", 1);
    library.now_ms += 2 * DAY_MS;
    library.run_and_check();
    assert!(library.has_consented_output());
}

#[test]
fn erasure_counts_ignored_records_and_unknown_patrons() {
    let mut library = LibraryScenario::new(1);
    library.push_patron("p1", "Former");
    library.push_loan("p1", "l1", "NL-A");
    library.push_erasure("p1");
    library.push_patron("p1", "Next");
    library.run_and_check();
    assert_eq!(library.source_tally("loan").from_before_erasure, 1);
    assert_eq!(library.source_tally("patron").unmatched_erasures, 0);
    library.push_erasure("p1");
    library.push_erasure("p1");
    library.run_and_check();
    assert_eq!(library.source_tally("patron").unmatched_erasures, 0);
    for key in ["p2", "P1", "p1 "] {
        library.push_erasure(key);
    }
    library.run_and_check();
    assert_eq!(library.source_tally("patron").unmatched_erasures, 3);
}

#[test]
fn erasure_by_foreign_key_erases_nobody() {
    let mut library = LibraryScenario::new(1);
    library.push_patron("p1", "Berg");
    library.push_loan("p1", "l1", "NL-A");
    library.run_and_check();
    for key in [r#"{"borrowernumber":1}"#, r#""p1""#, r#" ["p1"]"#, "\0\0\0\0\u{1}p1"] {
        library.push_erasure(key);
    }
    library.run_and_check();
    library.check_service_messages(&[("Berg", "l1")]);
    let dead_letters = zeef_test_kit::deployment::dead_letter_summaries(&library.deployment);
    let foreign = dead_letters.iter().filter(|dead_letter| dead_letter.ends_with("foreign_key"));
    assert_eq!(foreign.count(), 4, "{dead_letters:?}");
}

/// As the version before wrote it: with other names for the rows of records and for
/// their outputs, decided by what was another hash then.
fn rewrite_as_older_version(output: &mut PublishedOutput) {
    let old = |name: &str| {
        let bits = row_json::decode_bits(name.as_bytes()).expect("a name");
        String::from_utf8(row_json::encode_bits(bits ^ (1 << 70)).to_vec()).expect("characters")
    };
    if output.key.as_deref() == Some(MARK_ROW_KEY) {
        output.key = Some(b"AAAAAAAAAAAAAAAAAAAAAA".to_vec());
        output.value = Some(br#"{"format":1,"policy":"v1","recipients":[]}"#.to_vec());
        return;
    }
    let value = output.value.take().map(|value| {
        let mut value: serde_json::Value = serde_json::from_slice(&value).expect("JSON");
        if output.topic.starts_with(STATE_TOPIC_PREFIX) {
            value["format"] = 1.into();
            value.as_object_mut().expect("a row").remove("mac");
        }
        value
    });
    let is_loan = value.as_ref().is_some_and(|value| value["source"] == "loan");
    let of_loans = ["out.service-message", "out.statistics"];
    if of_loans.contains(&output.topic.as_str()) || is_loan {
        let key = output.key.as_deref().map(String::from_utf8_lossy);
        output.key = Some(old(&key.expect("a key")).into_bytes());
    }
    let value = value.map(|mut value| {
        if is_loan {
            value["facts"] = "0000000000000000".into();
            let to = value["to"].as_object_mut().expect("recipients");
            for entry in to.values_mut() {
                // Its facts are the row's.
                entry.as_object_mut().expect("an entry").remove("facts");
                if let Some(key) = entry["key"].as_str() {
                    entry["key"] = old(key).into();
                }
            }
        }
        value.to_string().into_bytes()
    });
    output.value = value;
}

#[test]
fn upgrade_retracts_outputs_under_old_keys() {
    let mut library = LibraryScenario::new(1);
    library.push_patron("p1", "Berg");
    library.push_loan("p1", "l1", "NL-A");
    library.push_loan("p1", "l2", "NL-A");
    library.run_and_check();
    let want = library.outputs_of("service-message");
    library.deployment.restart_on_older_state(rewrite_as_older_version);
    assert_ne!(library.outputs_of("service-message"), want, "an old version's outputs");
    library.run_and_check();
    assert_eq!(library.outputs_of("service-message"), want);
    library.push_erasure("p1");
    library.run_and_check();
    library.check_service_messages(&[]);
}
