//! A town whose patrons borrow for some weeks, day by day, and two recipients of it:
//! one that has the names, and statistics.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::civil::Date;
use serde_json::Value;
use zeef::engine::lane::{Lane, Options};
use zeef::policy::Policy;
use zeef::policy::pseudonym::{Key, Meaning, MessageParts, Pseudonymiser};
use zeef::sample::{Library, Settings};

use crate::common::{copy_folder, publish_at_once};

pub(crate) const MESSAGES: &str = "service-message";
pub(crate) const STATISTICS: &str = "statistics";

/// What a source gets on one day.
pub(crate) struct Event {
    pub(crate) source: &'static str,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// The keys that one loan has for both recipients.
pub(crate) struct Loan {
    pub(crate) message: String,
    pub(crate) statistic: String,
}

pub(crate) struct Town {
    /// By day.
    pub(crate) days: Vec<Vec<Event>>,
    pub(crate) first: Date,
    pub(crate) loans: Vec<Loan>,
}

impl Town {
    /// Patrons come on the first day, loans on theirs, and again when they are back.
    pub(crate) fn new(patrons: u64, first: Date, days: usize) -> Self {
        let span = jiff::Span::new().days(i64::try_from(days).unwrap());
        let today = first.checked_add(span).unwrap();
        let library = Library::new(Settings {
            libraries: vec!["NL-AmrBKW".to_owned()],
            loans_per_patron: 16.0,
            tricky: false,
            ..Settings::new(7, patrons, today)
        });
        let mut town = Town {
            days: (0..days).map(|_| Vec::new()).collect(),
            first,
            loans: Vec::new(),
        };
        for message in library.messages() {
            let Some(value) = message.value else {
                continue;
            };
            match message.source {
                "patron" => town.days[0].push(Event {
                    source: "patron",
                    key: message.key,
                    value,
                }),
                "loan" => town.add_loan(&message.key, &value),
                _ => {}
            }
        }
        town
    }

    fn day_of(&self, text: &str) -> Option<usize> {
        let date: Date = text.get(..10)?.parse().ok()?;
        let days = self.first.until(date).ok()?.get_days();
        usize::try_from(days)
            .ok()
            .filter(|day| *day < self.days.len())
    }

    fn add_loan(&mut self, patron_id: &str, value: &str) {
        let mut loan: Value = serde_json::from_str(value).unwrap();
        let text = |loan: &Value, name: &str| loan[name].as_str().unwrap_or_default().to_owned();
        let Some(day) = self.day_of(&text(&loan, "loaned_at")) else {
            return;
        };
        let (id, library) = (text(&loan, "loan_id"), text(&loan, "library"));
        let key = |recipient: &str| {
            let meaning = Meaning::new("loan", "loan_id");
            let made = Pseudonymiser::new(&key(recipient)).pseudonym_of(&MessageParts {
                meaning: &meaning,
                library: &library,
                value: &id,
                patron_id: Some(patron_id),
                month: None,
            });
            String::from_utf8(made.text().to_vec()).unwrap()
        };
        self.loans.push(Loan {
            message: key(MESSAGES),
            statistic: key(STATISTICS),
        });
        let back = self.day_of(&text(&loan, "returned_at"));
        let mut put = |day: usize, loan: &Value| {
            self.days[day].push(Event {
                source: "loan",
                key: patron_id.to_owned(),
                value: loan.to_string(),
            });
        };
        if let Some(back) = back.filter(|back| *back > day) {
            put(back, &loan);
        }
        loan["status"] = "open".into();
        loan.as_object_mut().unwrap().remove("returned_at");
        put(day, &loan);
    }

    /// When the run of a day is, in milliseconds since 1970.
    pub(crate) fn night_ms(&self, day: usize) -> i64 {
        let span = jiff::Span::new().days(i64::try_from(day).unwrap());
        let date = self.first.checked_add(span).unwrap();
        let at = date.at(22, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC);
        at.unwrap().timestamp().as_millisecond()
    }
}

/// The key of a recipient, or of the state.
pub(crate) fn key(name: &str) -> Key {
    let secret = format!("{name:~<40}");
    Key::parse(&format!("k:{}", URL_SAFE_NO_PAD.encode(secret))).unwrap()
}

/// The lanes of both recipients, as they are shipped; or statistics without a period.
pub(crate) fn lanes(at_once: bool) -> Vec<Arc<Lane>> {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    copy_folder(&shipped, folder.path());
    if at_once {
        publish_at_once(folder.path());
    }
    let policy = Policy::load(folder.path()).unwrap().policy;
    let lane = |(lane, name): (&str, &str)| {
        let key_of = |recipient: &str| Some(Pseudonymiser::new(&key(recipient)));
        let is_meant = |one: &zeef::policy::recipient::Recipient| one.name == name;
        Lane::compile(lane, &policy, is_meant, key_of, Options::default()).unwrap()
    };
    [("main", MESSAGES), ("statistics", STATISTICS)]
        .map(|one| Arc::new(lane(one)))
        .into()
}
