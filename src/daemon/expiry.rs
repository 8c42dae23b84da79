//! Agreements and authorisations of recipients that expire.
//!
//! Whether one is in force is a gate, decided for each batch. This only warns in time for
//! somebody to renew it. Time is passed in.

use std::sync::Arc;
use std::time::Duration;

use super::clock::now_ms;
use super::metrics::Metrics;
use crate::policy::Policy;
use crate::policy::term::DAY_MS;

/// How many days before its end to warn of a document.
const WARN_DAYS: i64 = 30;
/// How often to count the days; warnings come once a day.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// The kind of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DocumentKind {
    Agreement,
    Authorisation,
}

impl DocumentKind {
    /// Returns the word in a recipient's file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DocumentKind::Agreement => "agreement",
            DocumentKind::Authorisation => "authorisation",
        }
    }
}

/// A document of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiringDocument {
    pub recipient: String,
    pub kind: DocumentKind,
    pub reference: String,
    /// The first and the last day, `YYYY-MM-DD`.
    first_and_last_day: (String, String),
    /// Start and end of its term in Unix milliseconds.
    in_force_ms: (i64, i64),
}

/// What to warn about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryStatus {
    NotYetInForce,
    EndsSoon,
    Expired,
}

impl ExpiryStatus {
    fn warning(self) -> &'static str {
        match self {
            ExpiryStatus::NotYetInForce => "not in force yet: nothing that needs it is sent",
            ExpiryStatus::EndsSoon => {
                "ends soon: without a new one nothing that needs it is sent then"
            }
            ExpiryStatus::Expired => "no longer in force: nothing that needs it is sent",
        }
    }
}

impl ExpiringDocument {
    /// Returns the number of days it is still in force, including today; 0 or less if it is
    /// not.
    #[must_use]
    pub fn days_left(&self, now_ms: i64) -> i64 {
        // An end is at 00:00 UTC.
        self.in_force_ms.1.div_euclid(DAY_MS) - now_ms.div_euclid(DAY_MS)
    }

    /// Returns `None` if there is nothing to warn about.
    #[must_use]
    pub fn status_at(&self, now_ms: i64) -> Option<ExpiryStatus> {
        match self.days_left(now_ms) {
            ..=0 => Some(ExpiryStatus::Expired),
            _ if now_ms < self.in_force_ms.0 => Some(ExpiryStatus::NotYetInForce),
            1..=WARN_DAYS => Some(ExpiryStatus::EndsSoon),
            _ => None,
        }
    }

    /// Returns a sentence for people.
    #[must_use]
    pub fn describe(&self, status: ExpiryStatus) -> String {
        let ExpiringDocument { recipient, reference, .. } = self;
        let (kind, (from, until)) = (self.kind.as_str(), &self.first_and_last_day);
        let text = status.warning();
        format!("{recipient}: {kind} {reference} ({from} to {until}) {text}")
    }

    fn log_warning(&self, status: ExpiryStatus, now_ms: i64) {
        let text = status.warning();
        tracing::warn!(
            recipient = %self.recipient,
            reference = %self.reference,
            from = %self.first_and_last_day.0,
            until = %self.first_and_last_day.1,
            days_left = self.days_left(now_ms),
            "{} {text}",
            self.kind.as_str(),
        );
    }
}

/// All documents of enabled recipients, and when each was last warned of.
#[derive(Clone, Debug, Default)]
pub struct ExpiryWatch {
    documents: Vec<ExpiringDocument>,
    last_warning_day: Option<i64>,
}

impl ExpiryWatch {
    #[must_use]
    pub fn from_policy(policy: &Policy) -> ExpiryWatch {
        let mut all = Vec::new();
        for recipient in &policy.recipients {
            if let Some(document) = &recipient.agreement {
                all.push(ExpiringDocument {
                    recipient: recipient.name.clone(),
                    kind: DocumentKind::Agreement,
                    reference: document.reference.clone(),
                    first_and_last_day: (document.from.clone(), document.until.clone()),
                    in_force_ms: document.in_force_interval_ms(),
                });
            }
            if let Some(document) = &recipient.authorisation {
                all.push(ExpiringDocument {
                    recipient: recipient.name.clone(),
                    kind: DocumentKind::Authorisation,
                    reference: document.reference.clone(),
                    first_and_last_day: (
                        document.first_day_in_force().to_owned(),
                        document.until.clone(),
                    ),
                    in_force_ms: document.in_force_interval_ms(),
                });
            }
        }
        ExpiryWatch { documents: all, last_warning_day: None }
    }

    /// Returns the warnings due now, each once a day.
    pub fn due_warnings(&mut self, now_ms: i64) -> Vec<(&ExpiringDocument, ExpiryStatus)> {
        let today = now_ms.div_euclid(DAY_MS);
        if self.last_warning_day == Some(today) {
            return Vec::new();
        }
        self.last_warning_day = Some(today);
        let status = |document: &ExpiringDocument| document.status_at(now_ms);
        self.documents.iter().filter_map(|document| Some((document, status(document)?))).collect()
    }

    /// Updates the metrics, and logs what is due.
    pub fn check(&mut self, metrics: &Metrics, now_ms: i64) {
        for document in &self.documents {
            metrics.set_days_left(document.kind, &document.recipient, document.days_left(now_ms));
        }
        for (document, status) in self.due_warnings(now_ms) {
            document.log_warning(status, now_ms);
        }
    }

    /// Checks regularly for as long as the process runs.
    pub async fn run(mut self, metrics: Arc<Metrics>) {
        let mut every = tokio::time::interval(CHECK_INTERVAL);
        loop {
            every.tick().await;
            self.check(&metrics, now_ms());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_ms(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
    }

    fn expiry_watch() -> ExpiryWatch {
        let document = ExpiringDocument {
            recipient: "printer".to_owned(),
            kind: DocumentKind::Agreement,
            reference: "A-1".to_owned(),
            first_and_last_day: ("2026-01-01".to_owned(), "2026-12-31".to_owned()),
            in_force_ms: (parse_ms("2026-01-01T00:00:00Z"), parse_ms("2027-01-01T00:00:00Z")),
        };
        ExpiryWatch { documents: vec![document], last_warning_day: None }
    }

    #[test]
    fn expiry_status_warns_from_thirty_days_before_the_end() {
        #[track_caller]
        fn check_status(now: &str, days: i64, want: Option<ExpiryStatus>) {
            let document = &expiry_watch().documents[0];
            assert_eq!(document.days_left(parse_ms(now)), days, "{now}");
            assert_eq!(document.status_at(parse_ms(now)), want, "{now}");
        }
        check_status("2025-12-31T23:59:59Z", 366, Some(ExpiryStatus::NotYetInForce));
        check_status("2026-01-01T00:00:00Z", 365, None);
        check_status("2026-12-01T23:59:59Z", 31, None);
        check_status("2026-12-02T00:00:00Z", 30, Some(ExpiryStatus::EndsSoon));
        check_status("2026-12-31T23:59:59.999Z", 1, Some(ExpiryStatus::EndsSoon));
        check_status("2027-01-01T00:00:00Z", 0, Some(ExpiryStatus::Expired));
        check_status("2027-01-11T12:00:00Z", -10, Some(ExpiryStatus::Expired));
    }

    #[test]
    fn expiring_document_is_described_in_one_sentence() {
        let text = expiry_watch().documents[0].describe(ExpiryStatus::Expired);
        let want = "printer: agreement A-1 (2026-01-01 to 2026-12-31) no longer in force: nothing \
                    that needs it is sent";
        assert_eq!(text, want);
    }

    #[test]
    fn expiry_watch_warns_once_a_day() {
        let mut watch = expiry_watch();
        let mut count_due = |now: &str| watch.due_warnings(parse_ms(now)).len();
        assert_eq!(count_due("2026-12-01T10:00:00Z"), 0);
        assert_eq!(count_due("2026-12-02T10:00:00Z"), 1);
        assert_eq!(count_due("2026-12-02T10:01:00Z"), 0);
        assert_eq!(count_due("2026-12-02T23:59:59Z"), 0);
        assert_eq!(count_due("2026-12-03T00:00:00Z"), 1);
    }

    #[test]
    fn expiry_watch_sets_days_left_metric() {
        let metrics = Metrics::new("test").unwrap();
        expiry_watch().check(&metrics, parse_ms("2026-12-24T10:00:00Z"));
        let text = metrics.render();
        let line = "_agreement_days_left{recipient=\"printer\"} 8";
        assert!(text.contains(line), "{text}");
        assert!(!text.contains("_authorisation_days_left{"), "{text}");
    }
}
