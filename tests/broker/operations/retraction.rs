//! What recipients have is taken back for one cause each, released again when
//! the cause is gone, and corrected where they hold what changed.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan as _};
use serde_json::Value;

use crate::harness::{ConsumedMessage, ZeefProcess, eventually};
use zeef_test_kit::marked_patrons::{MarkedLine, MarkedPatron};

use super::test_site::{ALL_RECIPIENTS, WAIT_TIMEOUT, today};
use super::{SiteOptions, TestSite};

/// Each has a cause of its own.
const CONSENT_WITHDRAWN: MarkedPatron = MarkedPatron(0);
const OBJECTION_LODGED: MarkedPatron = MarkedPatron(1);
const RESERVATION_COLLECTED: MarkedPatron = MarkedPatron(2);
const DEBT_SETTLED: MarkedPatron = MarkedPatron(3);
const ILL_REQUEST_CLOSED: MarkedPatron = MarkedPatron(4);
const MEMBERSHIP_LAPSED: MarkedPatron = MarkedPatron(5);
const PATRON_ERASED: MarkedPatron = MarkedPatron(6);
const PATRON_RENAMED: MarkedPatron = MarkedPatron(7);

/// A recipient that may no longer have what it had of a patron.
struct ExpectedRetraction {
    recipient: &'static str,
    patron: MarkedPatron,
    reason: &'static str,
}

/// What a recipient was sent of one patron: by key all values, oldest first.
type SentValuesByKey = BTreeMap<String, Vec<Option<String>>>;

/// The site with its daemon.
struct RunningSite {
    site: TestSite<'static>,
    zeef: ZeefProcess,
}

impl RunningSite {
    /// Waits until a recipient was sent this under each key that it has of these
    /// patrons, and no more: values, and nulls.
    #[track_caller]
    fn wait_sent(&self, recipient: &str, sent: &[(MarkedPatron, &[bool])]) -> Vec<SentValuesByKey> {
        eventually(&format!("{recipient} {sent:?}"), WAIT_TIMEOUT, || {
            let all = self.read_values_by_key(recipient);
            let of = |(patron, sent): &(MarkedPatron, &[bool])| {
                let had = outputs_of_patron(&all, *patron);
                (!had.is_empty() && had.values().all(|values| non_null_flags(values) == *sent))
                    .then_some(had)
            };
            sent.iter().map(of).collect()
        })
    }

    fn read_values_by_key(&self, recipient: &str) -> SentValuesByKey {
        let mut all = SentValuesByKey::new();
        for row in self.site.read_outputs(recipient) {
            let values = all.entry(row.key_text().to_owned()).or_default();
            values.push(row.value_text().map(str::to_owned));
        }
        all
    }

    /// Waits until a counter, or the sum of several, is `want`: it counts a moment
    /// after the commit.
    #[track_caller]
    fn wait_metric(&self, metric: &str, labels: &[(&str, &str)], want: usize) {
        eventually(&format!("{metric} {labels:?} is {want}"), WAIT_TIMEOUT, || {
            let found = self.zeef.fetch_metric_sum(metric, labels).unwrap_or_default();
            (found == want as f64).then_some(())
        });
    }

    /// The rows of the state as they were written last, by where their records lie.
    fn read_state_rows(&self) -> BTreeMap<(String, i64, i64), Value> {
        let mut last = BTreeMap::new();
        for row in self.site.topics.read_committed("zeef.state.main") {
            let row_value: Value =
                serde_json::from_str(row.value_text().unwrap_or("null")).unwrap();
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
    fn read_source_records(&self) -> BTreeMap<&'static str, Vec<ConsumedMessage>> {
        let sources = ALL_RECIPIENTS.map(|recipient| source_and_id_suffix(recipient).0);
        let read = |source| (source, self.site.topics.read_committed(source));
        sources.into_iter().map(read).collect()
    }

    /// Expects that each was taken back once, under its key as sent, while nothing
    /// else was, and that state and counters say why.
    #[track_caller]
    fn check_retractions(&self, retractions: &[ExpectedRetraction], patrons: &[MarkedPatron]) {
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for recipient in ALL_RECIPIENTS {
            let lost = |patron: MarkedPatron| {
                let mut retractions = retractions.iter();
                retractions.find(|loss| (loss.recipient, loss.patron) == (recipient, patron))
            };
            let sent = patrons.iter().map(|&patron| match lost(patron) {
                Some(_) => (patron, &[true, false][..]),
                None => (patron, &[true][..]),
            });
            let had = self.wait_sent(recipient, &sent.collect::<Vec<_>>());
            for (had, &patron) in had.iter().zip(patrons) {
                if let Some(loss) = lost(patron) {
                    *counts.entry((recipient, loss.reason)).or_default() += had.len();
                }
            }
        }
        let (state, records) = (self.read_state_rows(), self.read_source_records());
        for loss in retractions {
            let found = state_outcome(&state, &records, loss.recipient, loss.patron);
            let want = ("retracted".to_owned(), loss.reason.to_owned());
            assert_eq!(found, want, "{} {:?}", loss.recipient, loss.patron);
        }
        for (&(recipient, reason), &count) in &counts {
            let labels = [("recipient", recipient), ("reason", reason)];
            self.wait_metric("zeef_retractions_total", &labels, count);
        }
        self.wait_metric("zeef_retractions_total", &[], counts.values().sum());
    }
}

/// The outputs that have, or had, something of a patron.
fn outputs_of_patron(all: &SentValuesByKey, patron: MarkedPatron) -> SentValuesByKey {
    let marks = patron.distinctive_values();
    let is_marked = |value: &String| marks.iter().any(|mark| value.contains(mark));
    let mut had = all.clone();
    had.retain(|_, values| values.iter().flatten().any(is_marked));
    had
}

/// Which of the values are no nulls.
fn non_null_flags(values: &[Option<String>]) -> Vec<bool> {
    values.iter().map(Option::is_some).collect()
}

/// How the state has a recipient's record of a patron: outcome and reason.
#[track_caller]
fn state_outcome(
    state: &BTreeMap<(String, i64, i64), Value>,
    records: &BTreeMap<&str, Vec<ConsumedMessage>>,
    recipient: &str,
    patron: MarkedPatron,
) -> (String, String) {
    let (source, id) = source_and_id_suffix(recipient);
    let id = format!("\"{}-{id}\"", patron.marker());
    let is_version = |row: &&ConsumedMessage| row.value_text().unwrap_or_default().contains(&id);
    let last = records[source].iter().rfind(is_version).unwrap();
    let place = (source.to_owned(), i64::from(last.partition), last.offset);
    let entry = &state[&place]["to"][recipient];
    let word = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    (word("outcome"), word("reason"))
}

/// The source of a recipient, and how the ids of its records end; of the first
/// where there are several.
fn source_and_id_suffix(recipient: &str) -> (&'static str, &'static str) {
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
fn changed_record(patron: MarkedPatron, source: &str, old: &str, new: &str) -> MarkedLine {
    let mut lines = patron.record_lines(today());
    lines.push(patron.patron_line());
    let found = lines.into_iter().find(|line| line.source == source);
    let mut line = found.unwrap();
    let value = line.value.unwrap();
    assert!(value.contains(old), "{source} has {old}");
    line.value = Some(value.replace(old, new));
    line
}

/// A consent of the patron for the online library, of a minute ago.
fn consent_record(patron: MarkedPatron, id: &str, decision: &str) -> MarkedLine {
    let at = Timestamp::now().saturating_sub(1.minute()).unwrap();
    let mut line = changed_record(patron, "consent", "\"granted\"", &format!("\"{decision}\""));
    let value: Value = serde_json::from_str(line.value.as_deref().unwrap()).unwrap();
    let mut value = value.as_object().unwrap().clone();
    value.insert("consent_id".to_owned(), id.into());
    value.insert("at".to_owned(), at.to_string().into());
    line.value = Some(Value::from(value).to_string());
    line
}

fn objection_record(patron: MarkedPatron, status: &str) -> MarkedLine {
    let (m, at) = (patron.marker(), today());
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
    MarkedLine { source: "objection", key: patron.patron_id(), value: Some(value) }
}

/// The membership ended, for longer than a patron's data may be used.
fn lapsed_membership(patron: MarkedPatron) -> MarkedLine {
    let mut line =
        changed_record(patron, "patron", "\"status\":\"active\"", "\"status\":\"ended\"");
    let value: Value = serde_json::from_str(line.value.as_deref().unwrap()).unwrap();
    let mut value = value.as_object().unwrap().clone();
    value["membership"]["ends_on"] = "2019-01-01".into();
    line.value = Some(Value::from(value).to_string());
    line
}

fn expected_retractions() -> Vec<ExpectedRetraction> {
    let loss = |recipient, patron, reason| ExpectedRetraction { recipient, patron, reason };
    let mut losses = vec![
        loss("kb-membership", CONSENT_WITHDRAWN, "no_consent"),
        loss("statistics", OBJECTION_LODGED, "objection"),
        loss("reservation-slip", RESERVATION_COLLECTED, "condition"),
        loss("deurwaarder", DEBT_SETTLED, "condition"),
        loss("ill-library", ILL_REQUEST_CLOSED, "condition"),
        loss("ill-library-contact", ILL_REQUEST_CLOSED, "condition"),
    ];
    for recipient in ALL_RECIPIENTS {
        let reason = match recipient {
            "kb-membership" | "kb-recognition" => "condition",
            _ => "patron_lapsed",
        };
        // A debt outlives the membership.
        if recipient != "deurwaarder" {
            losses.push(loss(recipient, MEMBERSHIP_LAPSED, reason));
        }
        losses.push(loss(recipient, PATRON_ERASED, "patron_erased"));
    }
    losses
}

#[test]
fn retraction_release_and_correction_follow_each_cause() {
    let options = SiteOptions { recipients: &ALL_RECIPIENTS, ..SiteOptions::default() };
    let Some(site) = TestSite::new("retraction", options) else {
        return;
    };
    let patrons: Vec<MarkedPatron> = (0..8).map(MarkedPatron).collect();
    for patron in &patrons {
        site.write_marked(&patron.record_lines(today()));
        site.write_marked(&[patron.patron_line()]);
    }
    let zeef = site.spawn_ready_run(&[]);
    let running = RunningSite { site, zeef };
    let each: Vec<(MarkedPatron, &[bool])> =
        patrons.iter().map(|&one| (one, &[true][..])).collect();
    for recipient in ALL_RECIPIENTS {
        running.wait_sent(recipient, &each);
    }

    running.site.write_marked(&[
        consent_record(CONSENT_WITHDRAWN, "no", "withdrawn"),
        objection_record(OBJECTION_LODGED, "lodged"),
        changed_record(RESERVATION_COLLECTED, "reservation", "ready_for_pickup", "collected"),
        changed_record(DEBT_SETTLED, "debt", "\"open\"", "\"settled\""),
        changed_record(ILL_REQUEST_CLOSED, "ill_request", "\"sent\"", "\"closed\""),
        lapsed_membership(MEMBERSHIP_LAPSED),
        PATRON_ERASED.erasure_line(),
    ]);
    running.check_retractions(&expected_retractions(), &patrons);

    running.site.write_marked(&[
        consent_record(CONSENT_WITHDRAWN, "yes", "granted"),
        objection_record(OBJECTION_LODGED, "dismissed"),
    ]);
    let again = [("kb-membership", CONSENT_WITHDRAWN), ("statistics", OBJECTION_LODGED)];
    let mut released = 0;
    for (recipient, patron) in again {
        let had = running.wait_sent(recipient, &[(patron, &[true, false, true])]);
        let mut values = had[0].values();
        assert!(values.all(|values| values[0] == values[2]), "{recipient}");
        let labels = [("recipient", recipient)];
        // One for each record that it has of the patron.
        released += had[0].len();
        running.wait_metric("zeef_later_releases_total", &labels, had[0].len());
    }
    let (state, records) = (running.read_state_rows(), running.read_source_records());
    for (recipient, patron) in again {
        let (outcome, _) = state_outcome(&state, &records, recipient, patron);
        assert_eq!(outcome, "released", "{recipient}");
    }
    running.wait_metric("zeef_later_releases_total", &[], released);
    check_rename_corrects_holders_only(&running);
    // None but those of the records that nobody could read.
    running.wait_metric("zeef_dead_letters_total", &[], 7 * patrons.len());
}

/// Who holds the name gets the new one; nobody else hears of it.
fn check_rename_corrects_holders_only(running: &RunningSite) {
    running.site.write_marked(&[PATRON_RENAMED.patron_line_with_surname_suffix(" anders")]);
    let holders = ["deurwaarder", "ill-library", "ill-library-contact", "service-message"];
    for recipient in ALL_RECIPIENTS {
        // The patron's own record is a new version of what it was.
        let holds = recipient == "kb-membership" || holders.contains(&recipient);
        let sent: &[bool] = if holds { &[true, true] } else { &[true] };
        for values in running.wait_sent(recipient, &[(PATRON_RENAMED, sent)])[0].values() {
            let last = values.last().unwrap().as_deref().unwrap();
            assert_eq!(last.contains(" anders"), holds, "{recipient}");
        }
        let corrected = usize::from(holders.contains(&recipient));
        let labels = [("recipient", recipient)];
        running.wait_metric("zeef_corrections_total", &labels, corrected);
    }
}
