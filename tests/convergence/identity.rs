//! Who a record is of: merges, libraries that are corrected, and ids that are given
//! to somebody else after an erasure.

use zeef::engine::lane::STATE_TOPIC;
use zeef::engine::state::text;
use zeef::engine::tally::SourceTally;
use zeef::transport::continuity::MARK_KEY;
use zeef::transport::memory::Published;

use crate::site::{Setup, Site, Values};
use crate::story::START_MS;

const DAY_MS: i64 = 86_400_000;

/// The sources of a library, message by message, each a second after the other.
struct Library {
    site: Site,
    partitions: i32,
    now_ms: i64,
}

impl Library {
    fn new(partitions: i32) -> Self {
        let setup = Setup {
            partitions,
            ..Setup::PLAIN
        };
        Library {
            site: Site::new(setup, START_MS),
            partitions,
            now_ms: START_MS,
        }
    }

    fn push(&mut self, source: &str, patron: &str, value: Option<String>) {
        self.now_ms += 1_000;
        self.site.set_time(self.now_ms);
        let last = patron.as_bytes().last().copied().unwrap_or_default();
        let partition = i32::from(last) % self.partitions;
        let value = value.as_deref().map(str::as_bytes);
        self.site
            .push(source, partition, Some(patron.as_bytes()), value);
    }

    fn patron(&mut self, id: &str, surname: &str) {
        let value = format!(
            r#"{{"patron_id":"{id}","library":"NL-A","kind":"person","surname":"{surname}","membership":{{"id":"M","status":"active"}},"email":"{surname}@example.org"}}"#
        );
        self.push("patron", id, Some(value));
    }

    fn loan(&mut self, patron: &str, id: &str, library: &str) {
        let value = format!(
            r#"{{"patron_id":"{patron}","library":"{library}","loan_id":"{id}","status":"open","due_on":"2026-03-01","item":{{"title":"{id}"}}}}"#
        );
        self.push("loan", patron, Some(value));
    }

    fn grant(&mut self, patron: &str, id: &str, days: i64) {
        let at = jiff::Timestamp::from_millisecond(START_MS + days * DAY_MS).expect("a time");
        let value = format!(
            r#"{{"patron_id":"{patron}","library":"NL-A","consent_id":"{id}","purpose":"own-written","decision":"granted","manner":"written","at":"{at}"}}"#
        );
        self.push("consent", patron, Some(value));
    }

    fn refuse(&mut self, patron: &str, id: &str) {
        let value = format!(
            r#"{{"patron_id":"{patron}","library":"NL-A","consent_id":"{id}","purpose":"own-written","decision":"refused"}}"#
        );
        self.push("consent", patron, Some(value));
    }

    fn erase(&mut self, id: &str) {
        self.push("patron", id, None);
    }

    fn run(&mut self) {
        self.site.set_clock(self.now_ms);
        self.site.run().expect("a run to the end");
        self.site.check_state().expect("a state that is right");
        self.site.check_numbers().expect("numbers that add up");
    }

    /// What the sender of messages about due dates has, as far as it names somebody.
    #[track_caller]
    fn check(&self, want: &[(&str, &str)]) {
        let values = self.of("service-message");
        let shown: Vec<serde_json::Value> = values
            .values()
            .map(|value| serde_json::from_slice(value).expect("an output"))
            .collect();
        let text = |value: &serde_json::Value, name: &str| {
            value[name].as_str().unwrap_or_default().to_owned()
        };
        let mut found: Vec<(String, String)> = shown
            .iter()
            .map(|value| (text(value, "name"), text(value, "title")))
            .collect();
        found.sort();
        let want: Vec<(String, String)> = want
            .iter()
            .map(|(name, title)| ((*name).to_owned(), (*title).to_owned()))
            .collect();
        assert_eq!(found, want);
    }

    fn of(&self, recipient: &str) -> Values {
        let mut values = self.site.values();
        values.remove(recipient).unwrap_or_default()
    }

    /// Whether the recipient that asks for consent has something of anybody.
    fn has_consent(&self) -> bool {
        !self.of("own-written").is_empty()
    }

    fn tally(&self, source: &str) -> SourceTally {
        self.site.tally(source)
    }
}

/// The patrons of two systems are merged: the loans of the old ones come again under
/// new ones, and then the old ones go, or are corrected, some before and some after.
#[test]
fn a_merge_touches_nobody_elses_output() {
    // By the last digit a new patron is in the same partition as the old one, or not.
    for (partitions, new) in [(1, "n1"), (3, "n1"), (3, "n2"), (3, "n4")] {
        for order in 0..6 {
            let mut library = Library::new(partitions);
            library.patron("o1", "Old");
            library.loan("o1", "l1", "NL-A");
            library.loan("o1", "l2", "NL-A");
            library.run();
            library.check(&[("Old", "l1"), ("Old", "l2")]);
            let steps: [fn(&mut Library, &str); 3] = [
                |library, new| library.patron(new, "New"),
                |library, new| {
                    library.loan(new, "l1", "NL-A");
                    library.loan(new, "l2", "NL-A");
                },
                |library, _| library.erase("o1"),
            ];
            let orders = [
                [0, 1, 2],
                [0, 2, 1],
                [1, 0, 2],
                [1, 2, 0],
                [2, 0, 1],
                [2, 1, 0],
            ];
            for step in orders[order] {
                steps[step](&mut library, new);
                library.run();
            }
            library.check(&[("New", "l1"), ("New", "l2")]);
            // Corrected in place of erased, and erased after that.
            library.patron("o1", "Olds");
            library.run();
            library.check(&[("New", "l1"), ("New", "l2")]);
            library.patron(new, "News");
            library.run();
            library.check(&[("News", "l1"), ("News", "l2")]);
            library.erase(new);
            library.run();
            library.check(&[]);
        }
    }
}

#[test]
fn an_old_patron_that_is_corrected_keeps_what_is_its_own() {
    for (partitions, new) in [(1, "n1"), (3, "n1"), (3, "n2")] {
        let mut library = Library::new(partitions);
        library.patron("o1", "Old");
        library.patron(new, "New");
        library.loan("o1", "l1", "NL-A");
        library.loan(new, "l1", "NL-A");
        library.run();
        library.patron("o1", "Olds");
        library.run();
        library.check(&[("New", "l1"), ("Olds", "l1")]);
    }
}

#[test]
fn a_library_that_is_corrected_leaves_nothing_behind() {
    let mut library = Library::new(1);
    library.patron("p1", "Berg");
    library.loan("p1", "l1", "NL-A");
    library.run();
    library.check(&[("Berg", "l1")]);
    let before: Vec<String> = library.of("service-message").into_keys().collect();
    library.loan("p1", "l1", "NL-B");
    library.run();
    // Of another library than its patron.
    library.check(&[]);
    let value = r#"{"patron_id":"p1","library":"NL-B","kind":"person","surname":"Berg","membership":{"id":"M","status":"active"}}"#;
    library.push("patron", "p1", Some(value.to_owned()));
    library.run();
    library.check(&[("Berg", "l1")]);
    let after: Vec<String> = library.of("service-message").into_keys().collect();
    assert_ne!(before, after, "a key has the library in it");
}

/// What was before an erasure is of nobody, however the news come: at once, after a
/// restart, after compaction took the null, and in a lane that is made later.
#[test]
fn an_erasure_ends_an_epoch() {
    for way in 0..5 {
        let mut library = Library::new(2);
        library.patron("p1", "Former");
        library.loan("p1", "l1", "NL-A");
        library.grant("p1", "c1", -1);
        library.run();
        library.check(&[("Former", "l1")]);
        assert!(library.has_consent());
        library.erase("p1");
        if way == 0 {
            // All is read at once, so that who has the id next is known before.
            library.site.restart();
        } else {
            library.run();
            library.check(&[]);
        }
        if way >= 2 {
            library.site.each("patron", |transport, source| {
                transport.compact(source).drop_nulls(source);
            });
            library.site.restart();
        }
        if way == 3 {
            library.site.begin_anew();
        }
        library.patron("p1", "Next");
        library.run();
        library.check(&[]);
        assert!(!library.has_consent(), "way {way}");
        if way == 4 {
            library.site.begin_anew();
            library.run();
            library.check(&[]);
            assert!(!library.has_consent());
        }
        library.loan("p1", "l2", "NL-A");
        library.grant("p1", "c2", 1);
        library.now_ms += 2 * DAY_MS;
        library.run();
        library.check(&[("Next", "l2")]);
        assert!(library.has_consent(), "way {way}");
        // A new version of what was before is of after.
        library.loan("p1", "l1", "NL-A");
        library.run();
        library.check(&[("Next", "l1"), ("Next", "l2")]);
    }
}

#[test]
fn a_grant_from_before_counts_for_nothing_and_a_refusal_does() {
    let mut library = Library::new(1);
    library.patron("p1", "Former");
    library.grant("p1", "c1", -1);
    library.refuse("p1", "c2");
    library.erase("p1");
    library.patron("p1", "Next");
    // It came after, and says that it was given before.
    library.grant("p1", "c3", -1);
    library.run();
    library.loan("p1", "l1", "NL-A");
    library.run();
    assert!(!library.has_consent());
    // A refusal that knows no time is the latest: a grant that replaces it counts.
    library.grant("p1", "c2", 1);
    library.now_ms += 2 * DAY_MS;
    library.run();
    assert!(library.has_consent());
}

#[test]
fn what_is_ignored_is_counted_and_so_is_who_was_never_there() {
    let mut library = Library::new(1);
    library.patron("p1", "Former");
    library.loan("p1", "l1", "NL-A");
    library.erase("p1");
    library.patron("p1", "Next");
    library.run();
    assert_eq!(library.tally("loan").outlived, 1);
    assert_eq!(library.tally("patron").unmatched, 0);
    library.erase("p1");
    library.erase("p1");
    library.run();
    assert_eq!(library.tally("patron").unmatched, 0);
    for key in ["p2", "P1", "p1 "] {
        library.erase(key);
    }
    library.run();
    assert_eq!(library.tally("patron").unmatched, 3);
}

#[test]
fn a_key_that_is_no_id_erases_nobody() {
    let mut library = Library::new(1);
    library.patron("p1", "Berg");
    library.loan("p1", "l1", "NL-A");
    library.run();
    for key in [
        r#"{"borrowernumber":1}"#,
        r#""p1""#,
        r#" ["p1"]"#,
        "\0\0\0\0\u{1}p1",
    ] {
        library.erase(key);
    }
    library.run();
    library.check(&[("Berg", "l1")]);
    let letters = crate::site::dead_letters(&library.site);
    let foreign = letters
        .iter()
        .filter(|letter| letter.ends_with("foreign_key"));
    assert_eq!(foreign.count(), 4, "{letters:?}");
}

/// As the version before wrote it: with other names for the rows of records and for
/// their outputs, decided by what was another hash then.
fn by_older_version(output: &mut Published) {
    let old = |name: &str| {
        let bits = text::bits(name.as_bytes()).expect("a name");
        String::from_utf8(text::name(bits ^ (1 << 70)).to_vec()).expect("characters")
    };
    if output.key.as_deref() == Some(MARK_KEY) {
        output.key = Some(b"AAAAAAAAAAAAAAAAAAAAAA".to_vec());
        output.value = Some(br#"{"format":1,"policy":"v1","recipients":[]}"#.to_vec());
        return;
    }
    let value = output.value.take().map(|value| {
        let mut value: serde_json::Value = serde_json::from_slice(&value).expect("JSON");
        if output.topic.starts_with(STATE_TOPIC) {
            value["format"] = 1.into();
            value.as_object_mut().expect("a row").remove("mac");
        }
        value
    });
    let is_loan = value
        .as_ref()
        .is_some_and(|value| value["source"] == "loan");
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
fn an_upgrade_takes_back_what_has_an_old_name() {
    let mut library = Library::new(1);
    library.patron("p1", "Berg");
    library.loan("p1", "l1", "NL-A");
    library.loan("p1", "l2", "NL-A");
    library.run();
    let want = library.of("service-message");
    library.site.upgrade(by_older_version);
    assert_ne!(
        library.of("service-message"),
        want,
        "an old version's outputs"
    );
    library.run();
    assert_eq!(library.of("service-message"), want);
    library.erase("p1");
    library.run();
    library.check(&[]);
}
