//! The papers that end one day: agreements and authorisations of recipients.
//!
//! Whether one is in force is a gate, for each batch. Here it is only told how
//! long it still is, in time for somebody to renew it. Time is passed in.

use std::sync::Arc;
use std::time::Duration;

use super::clock::now_ms;
use super::metrics::Metrics;
use crate::policy::Policy;

const DAY_MS: i64 = 86_400_000;
/// So many days before its end a paper is warned of.
const WARN_DAYS: i64 = 30;
/// How often the days are counted. It is told once a day.
const EVERY: Duration = Duration::from_secs(60);

/// What a paper is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PaperSort {
    Agreement,
    Authorisation,
}

impl PaperSort {
    /// The word in a recipient's file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            PaperSort::Agreement => "agreement",
            PaperSort::Authorisation => "authorisation",
        }
    }
}

/// One paper of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paper {
    pub recipient: String,
    pub sort: PaperSort,
    pub reference: String,
    /// The first and the last day, `YYYY-MM-DD`.
    days: (String, String),
    /// When it is in force, in milliseconds since 1970: the second is its end.
    in_force_ms: (i64, i64),
}

/// What somebody has to be told of a paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Early,
    Ending,
    Ended,
}

impl Standing {
    fn text(self) -> &'static str {
        match self {
            Standing::Early => "not in force yet: nothing that needs it is sent",
            Standing::Ending => "ends soon: without a new one nothing that needs it is sent then",
            Standing::Ended => "no longer in force: nothing that needs it is sent",
        }
    }
}

impl Paper {
    /// The days on which it is still in force, today counted; none or fewer,
    /// where it no longer is.
    #[must_use]
    pub fn days_left(&self, now_ms: i64) -> i64 {
        // An end is at 00:00 UTC.
        self.in_force_ms.1.div_euclid(DAY_MS) - now_ms.div_euclid(DAY_MS)
    }

    /// None where all is well.
    #[must_use]
    pub fn standing(&self, now_ms: i64) -> Option<Standing> {
        match self.days_left(now_ms) {
            ..=0 => Some(Standing::Ended),
            _ if now_ms < self.in_force_ms.0 => Some(Standing::Early),
            1..=WARN_DAYS => Some(Standing::Ending),
            _ => None,
        }
    }

    /// One sentence for people.
    #[must_use]
    pub fn describe(&self, standing: Standing) -> String {
        let Paper {
            recipient,
            reference,
            ..
        } = self;
        let (sort, (from, until)) = (self.sort.as_str(), &self.days);
        let text = standing.text();
        format!("{recipient}: {sort} {reference} ({from} to {until}) {text}")
    }

    fn tell(&self, standing: Standing, now_ms: i64) {
        let text = standing.text();
        tracing::warn!(
            recipient = %self.recipient,
            reference = %self.reference,
            from = %self.days.0,
            until = %self.days.1,
            days_left = self.days_left(now_ms),
            "{} {text}",
            self.sort.as_str(),
        );
    }
}

/// All papers of enabled recipients, and when they were told of last.
#[derive(Clone, Debug, Default)]
pub struct Papers {
    all: Vec<Paper>,
    told_day: Option<i64>,
}

impl Papers {
    #[must_use]
    pub fn of(policy: &Policy) -> Papers {
        let mut all = Vec::new();
        for recipient in &policy.recipients {
            if let Some(paper) = &recipient.agreement {
                all.push(Paper {
                    recipient: recipient.name.clone(),
                    sort: PaperSort::Agreement,
                    reference: paper.reference.clone(),
                    days: (paper.from.clone(), paper.until.clone()),
                    in_force_ms: paper.in_force_ms(),
                });
            }
            if let Some(paper) = &recipient.authorisation {
                all.push(Paper {
                    recipient: recipient.name.clone(),
                    sort: PaperSort::Authorisation,
                    reference: paper.reference.clone(),
                    days: (paper.first_day().to_owned(), paper.until.clone()),
                    in_force_ms: paper.in_force_ms(),
                });
            }
        }
        Papers {
            all,
            told_day: None,
        }
    }

    /// Those that are to be told of now: each once on a day.
    pub fn due(&mut self, now_ms: i64) -> Vec<(&Paper, Standing)> {
        let today = now_ms.div_euclid(DAY_MS);
        if self.told_day == Some(today) {
            return Vec::new();
        }
        self.told_day = Some(today);
        let standing = |paper: &Paper| paper.standing(now_ms);
        self.all
            .iter()
            .filter_map(|paper| Some((paper, standing(paper)?)))
            .collect()
    }

    /// Shows the days that are left, and tells what is due.
    pub fn look(&mut self, metrics: &Metrics, now_ms: i64) {
        for paper in &self.all {
            metrics.paper(paper.sort, &paper.recipient, paper.days_left(now_ms));
        }
        for (paper, standing) in self.due(now_ms) {
            paper.tell(standing, now_ms);
        }
    }

    /// Looks again and again, for as long as the process runs.
    pub async fn watch(mut self, metrics: Arc<Metrics>) {
        let mut every = tokio::time::interval(EVERY);
        loop {
            every.tick().await;
            self.look(&metrics, now_ms());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
    }

    fn papers() -> Papers {
        let paper = Paper {
            recipient: "printer".to_owned(),
            sort: PaperSort::Agreement,
            reference: "A-1".to_owned(),
            days: ("2026-01-01".to_owned(), "2026-12-31".to_owned()),
            in_force_ms: (at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z")),
        };
        Papers {
            all: vec![paper],
            told_day: None,
        }
    }

    #[test]
    fn a_paper_is_told_of_in_time() {
        #[track_caller]
        fn check(now: &str, days: i64, want: Option<Standing>) {
            let paper = &papers().all[0];
            assert_eq!(paper.days_left(at(now)), days, "{now}");
            assert_eq!(paper.standing(at(now)), want, "{now}");
        }
        check("2025-12-31T23:59:59Z", 366, Some(Standing::Early));
        check("2026-01-01T00:00:00Z", 365, None);
        check("2026-12-01T23:59:59Z", 31, None);
        check("2026-12-02T00:00:00Z", 30, Some(Standing::Ending));
        check("2026-12-31T23:59:59.999Z", 1, Some(Standing::Ending));
        check("2027-01-01T00:00:00Z", 0, Some(Standing::Ended));
        check("2027-01-11T12:00:00Z", -10, Some(Standing::Ended));
    }

    #[test]
    fn a_paper_is_described_in_a_sentence() {
        let text = papers().all[0].describe(Standing::Ended);
        let want = "printer: agreement A-1 (2026-01-01 to 2026-12-31) no longer in force: nothing \
                    that needs it is sent";
        assert_eq!(text, want);
    }

    #[test]
    fn a_paper_is_told_of_once_a_day() {
        let mut papers = papers();
        let mut told = |now: &str| papers.due(at(now)).len();
        assert_eq!(told("2026-12-01T10:00:00Z"), 0);
        assert_eq!(told("2026-12-02T10:00:00Z"), 1);
        assert_eq!(told("2026-12-02T10:01:00Z"), 0);
        assert_eq!(told("2026-12-02T23:59:59Z"), 0);
        assert_eq!(told("2026-12-03T00:00:00Z"), 1);
    }

    #[test]
    fn the_days_left_are_shown() {
        let metrics = Metrics::new("test").unwrap();
        papers().look(&metrics, at("2026-12-24T10:00:00Z"));
        let text = metrics.render();
        let line = "_agreement_days_left{recipient=\"printer\"} 8";
        assert!(text.contains(line), "{text}");
        assert!(!text.contains("_authorisation_days_left{"), "{text}");
    }
}
