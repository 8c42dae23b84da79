//! What recipients have is taken back for one cause each, released again when
//! the cause is gone, and corrected where they hold what changed.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan as _};
use serde_json::Value;

use crate::harness::{Row, Zeef, eventually};
use crate::marked::{Line, Marked};

use super::site::{RECIPIENTS, WAIT, today};
use super::{Options, Site};

/// Each has a cause of its own.
const WITHDRAWS: Marked = Marked(0);
const OBJECTS: Marked = Marked(1);
const COLLECTS: Marked = Marked(2);
const PAYS: Marked = Marked(3);
const CLOSES: Marked = Marked(4);
const LEFT: Marked = Marked(5);
const ERASED: Marked = Marked(6);
const RENAMED: Marked = Marked(7);

/// A recipient that may no longer have what it had of a patron.
struct Loss {
    recipient: &'static str,
    patron: Marked,
    reason: &'static str,
}

/// What a recipient was sent of one patron: by key all values, oldest first.
type Had = BTreeMap<String, Vec<Option<String>>>;

/// The site with its daemon.
struct Scene {
    site: Site<'static>,
    zeef: Zeef,
}

impl Scene {
    /// Waits until a recipient was sent this under each key that it has of these
    /// patrons, and no more: values, and nulls.
    #[track_caller]
    fn wait(&self, recipient: &str, sent: &[(Marked, &[bool])]) -> Vec<Had> {
        eventually(&format!("{recipient} {sent:?}"), WAIT, || {
            let all = self.outputs(recipient);
            let of = |(patron, sent): &(Marked, &[bool])| {
                let had = of_patron(&all, *patron);
                (!had.is_empty() && had.values().all(|values| shape(values) == *sent))
                    .then_some(had)
            };
            sent.iter().map(of).collect()
        })
    }

    fn outputs(&self, recipient: &str) -> Had {
        let mut all = Had::new();
        for row in self.site.outputs(recipient) {
            let values = all.entry(row.key_text().to_owned()).or_default();
            values.push(row.text().map(str::to_owned));
        }
        all
    }

    /// Waits until a counter, or the sum of several, is `want`: it counts a moment
    /// after the commit.
    #[track_caller]
    fn wait_count(&self, metric: &str, labels: &[(&str, &str)], want: usize) {
        eventually(&format!("{metric} {labels:?} is {want}"), WAIT, || {
            let found = self.zeef.metric(metric, labels).unwrap_or_default();
            (found == want as f64).then_some(())
        });
    }

    /// The rows of the state as they were written last, by where their records lie.
    fn state(&self) -> BTreeMap<(String, i64, i64), Value> {
        let mut last = BTreeMap::new();
        for row in self.site.topics.committed("zeef.state.main") {
            let row_value: Value = serde_json::from_str(row.text().unwrap_or("null")).unwrap();
            last.insert(row.key_text().to_owned(), row_value);
        }
        // What the transport notes there is about no record.
        last.retain(|_, row| row["source"].is_string());
        let place = |row: Value| {
            let (partition, offset) = (row["partition"].as_i64(), row["offset"].as_i64());
            let source = row["source"].as_str().unwrap().to_owned();
            ((source, partition.unwrap(), offset.unwrap()), row)
        };
        last.into_values().map(place).collect()
    }

    /// Where the last version lies of each record that tells of a recipient.
    fn records(&self) -> BTreeMap<&'static str, Vec<Row>> {
        let sources = RECIPIENTS.map(|recipient| record(recipient).0);
        let read = |source| (source, self.site.topics.committed(source));
        sources.into_iter().map(read).collect()
    }

    /// Expects that each was taken back once, under its key as sent, while nothing
    /// else was, and that state and counters say why.
    #[track_caller]
    fn check(&self, losses: &[Loss], patrons: &[Marked]) {
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for recipient in RECIPIENTS {
            let lost = |patron: Marked| {
                let mut losses = losses.iter();
                losses.find(|loss| (loss.recipient, loss.patron) == (recipient, patron))
            };
            let sent = patrons.iter().map(|&patron| match lost(patron) {
                Some(_) => (patron, &[true, false][..]),
                None => (patron, &[true][..]),
            });
            let had = self.wait(recipient, &sent.collect::<Vec<_>>());
            for (had, &patron) in had.iter().zip(patrons) {
                if let Some(loss) = lost(patron) {
                    *counts.entry((recipient, loss.reason)).or_default() += had.len();
                }
            }
        }
        let (state, records) = (self.state(), self.records());
        for loss in losses {
            let found = outcome(&state, &records, loss.recipient, loss.patron);
            let want = ("retracted".to_owned(), loss.reason.to_owned());
            assert_eq!(found, want, "{} {:?}", loss.recipient, loss.patron);
        }
        for (&(recipient, reason), &count) in &counts {
            let labels = [("recipient", recipient), ("reason", reason)];
            self.wait_count("zeef_retractions_total", &labels, count);
        }
        self.wait_count("zeef_retractions_total", &[], counts.values().sum());
    }
}

/// The outputs that have, or had, something of a patron.
fn of_patron(all: &Had, patron: Marked) -> Had {
    let marks = patron.marks();
    let is_marked = |value: &String| marks.iter().any(|mark| value.contains(mark));
    let mut had = all.clone();
    had.retain(|_, values| values.iter().flatten().any(is_marked));
    had
}

/// Which of the values are no nulls.
fn shape(values: &[Option<String>]) -> Vec<bool> {
    values.iter().map(Option::is_some).collect()
}

/// How the state has a recipient's record of a patron: outcome and reason.
#[track_caller]
fn outcome(
    state: &BTreeMap<(String, i64, i64), Value>,
    records: &BTreeMap<&str, Vec<Row>>,
    recipient: &str,
    patron: Marked,
) -> (String, String) {
    let (source, id) = record(recipient);
    let id = format!("\"{}-{id}\"", patron.mark());
    let is_version = |row: &&Row| row.text().unwrap_or_default().contains(&id);
    let last = records[source].iter().rfind(is_version).unwrap();
    let place = (source.to_owned(), i64::from(last.partition), last.offset);
    let entry = &state[&place]["to"][recipient];
    let word = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    (word("outcome"), word("reason"))
}

/// The source of a recipient, and how the ids of its records end; of the first
/// where there are several.
fn record(recipient: &str) -> (&'static str, &'static str) {
    match recipient {
        "deurwaarder" => ("debt", "debt"),
        "ill-library" | "ill-library-contact" => ("ill_request", "request"),
        "reservation-slip" => ("reservation", "reservation"),
        "service-message" | "statistics" => ("loan", "l0"),
        _ => ("patron", "id"),
    }
}

/// The patron's only record of a kind, changed.
#[track_caller]
fn changed(patron: Marked, source: &str, old: &str, new: &str) -> Line {
    let mut lines = patron.records(today());
    lines.push(patron.patron());
    let found = lines.into_iter().find(|line| line.source == source);
    let mut line = found.unwrap();
    let value = line.value.unwrap();
    assert!(value.contains(old), "{source} has {old}");
    line.value = Some(value.replace(old, new));
    line
}

/// A consent of the patron for the online library, of a minute ago.
fn consent(patron: Marked, id: &str, decision: &str) -> Line {
    let at = Timestamp::now().saturating_sub(1.minute()).unwrap();
    let mut line = changed(patron, "consent", "\"granted\"", &format!("\"{decision}\""));
    let value: Value = serde_json::from_str(line.value.as_deref().unwrap()).unwrap();
    let mut value = value.as_object().unwrap().clone();
    value.insert("consent_id".to_owned(), id.into());
    value.insert("at".to_owned(), at.to_string().into());
    line.value = Some(Value::from(value).to_string());
    line
}

fn objection(patron: Marked, status: &str) -> Line {
    let (m, at) = (patron.mark(), today());
    let value = format!(
        concat!(
            r#"{{"objection_id":"{m}-against","patron_id":"{m}-id","library":"NL-AmrBKW","#,
            r#""kind":"special_circumstances","purpose":"statistics","#,
            r#""status":"{status}","at":"{at}T00:00:00Z"}}"#
        ),
        m = m,
        status = status,
        at = at,
    );
    Line {
        source: "objection",
        key: patron.id(),
        value: Some(value),
    }
}

/// The membership ended, for longer than a patron's data may be used.
fn left(patron: Marked) -> Line {
    let mut line = changed(
        patron,
        "patron",
        "\"status\":\"active\"",
        "\"status\":\"ended\"",
    );
    let value: Value = serde_json::from_str(line.value.as_deref().unwrap()).unwrap();
    let mut value = value.as_object().unwrap().clone();
    value["membership"]["ends_on"] = "2019-01-01".into();
    line.value = Some(Value::from(value).to_string());
    line
}

fn losses() -> Vec<Loss> {
    let loss = |recipient, patron, reason| Loss {
        recipient,
        patron,
        reason,
    };
    let mut losses = vec![
        loss("kb-membership", WITHDRAWS, "no_consent"),
        loss("statistics", OBJECTS, "objection"),
        loss("reservation-slip", COLLECTS, "condition"),
        loss("deurwaarder", PAYS, "condition"),
        loss("ill-library", CLOSES, "condition"),
        loss("ill-library-contact", CLOSES, "condition"),
    ];
    for recipient in RECIPIENTS {
        let reason = match recipient {
            "kb-membership" | "kb-recognition" => "condition",
            _ => "patron_lapsed",
        };
        // A debt outlives the membership.
        if recipient != "deurwaarder" {
            losses.push(loss(recipient, LEFT, reason));
        }
        losses.push(loss(recipient, ERASED, "patron_erased"));
    }
    losses
}

#[test]
fn what_recipients_have_is_taken_back_released_again_and_corrected() {
    let options = Options {
        recipients: &RECIPIENTS,
        ..Options::default()
    };
    let Some(site) = Site::new("retraction", options) else {
        return;
    };
    let patrons: Vec<Marked> = (0..8).map(Marked).collect();
    for patron in &patrons {
        site.write(&patron.records(today()));
        site.write(&[patron.patron()]);
    }
    let zeef = site.ready(&[]);
    let scene = Scene { site, zeef };
    let each: Vec<(Marked, &[bool])> = patrons.iter().map(|&one| (one, &[true][..])).collect();
    for recipient in RECIPIENTS {
        scene.wait(recipient, &each);
    }

    scene.site.write(&[
        consent(WITHDRAWS, "no", "withdrawn"),
        objection(OBJECTS, "lodged"),
        changed(COLLECTS, "reservation", "ready_for_pickup", "collected"),
        changed(PAYS, "debt", "\"open\"", "\"settled\""),
        changed(CLOSES, "ill_request", "\"sent\"", "\"closed\""),
        left(LEFT),
        ERASED.erased(),
    ]);
    scene.check(&losses(), &patrons);

    scene.site.write(&[
        consent(WITHDRAWS, "yes", "granted"),
        objection(OBJECTS, "dismissed"),
    ]);
    let again = [("kb-membership", WITHDRAWS), ("statistics", OBJECTS)];
    let mut released = 0;
    for (recipient, patron) in again {
        let had = scene.wait(recipient, &[(patron, &[true, false, true])]);
        let mut values = had[0].values();
        assert!(values.all(|values| values[0] == values[2]), "{recipient}");
        let labels = [("recipient", recipient)];
        // One for each record that it has of the patron.
        released += had[0].len();
        scene.wait_count("zeef_later_releases_total", &labels, had[0].len());
    }
    let (state, records) = (scene.state(), scene.records());
    for (recipient, patron) in again {
        let (outcome, _) = outcome(&state, &records, recipient, patron);
        assert_eq!(outcome, "released", "{recipient}");
    }
    scene.wait_count("zeef_later_releases_total", &[], released);
    renamed(&scene);
    // None but those of the records that nobody could read.
    scene.wait_count("zeef_dead_letters_total", &[], 7 * patrons.len());
}

/// Who holds the name gets the new one; nobody else hears of it.
fn renamed(scene: &Scene) {
    scene.site.write(&[RENAMED.patron_named(" anders")]);
    let holders = [
        "deurwaarder",
        "ill-library",
        "ill-library-contact",
        "service-message",
    ];
    for recipient in RECIPIENTS {
        // The patron's own record is a new version of what it was.
        let holds = recipient == "kb-membership" || holders.contains(&recipient);
        let sent: &[bool] = if holds { &[true, true] } else { &[true] };
        for values in scene.wait(recipient, &[(RENAMED, sent)])[0].values() {
            let last = values.last().unwrap().as_deref().unwrap();
            assert_eq!(last.contains(" anders"), holds, "{recipient}");
        }
        let corrected = usize::from(holders.contains(&recipient));
        let labels = [("recipient", recipient)];
        scene.wait_count("zeef_corrections_total", &labels, corrected);
    }
}
