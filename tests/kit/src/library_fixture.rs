//! A town whose patrons borrow for some weeks, day by day, and two recipients of it:
//! one that has the names, and statistics.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::civil::Date;
use serde_json::Value;
use zeef::engine::lane::{CompileOptions, Lane};
use zeef::policy::pseudonym::{HmacKey, PseudonymDomain, PseudonymInput, Pseudonymiser};
use zeef::sample::{SampleLibrary, SampleSettings};

use crate::config::{copy_shipped_config, load_folder, remove_statistics_period};

pub const SERVICE_MESSAGE: &str = "service-message";
pub const STATISTICS: &str = "statistics";

/// What a source gets on one day.
pub struct SourceEvent {
    pub source: &'static str,
    pub key: String,
    pub value: String,
}

/// The keys that one loan has for both recipients.
pub struct LoanKeys {
    pub service_message_key: String,
    pub statistics_key: String,
}

pub struct LibraryFixture {
    /// By day.
    pub events_by_day: Vec<Vec<SourceEvent>>,
    pub first_day: Date,
    pub loans: Vec<LoanKeys>,
}

impl LibraryFixture {
    /// Patrons come on the first day, loans on theirs, and again when they are back.
    pub fn new(patrons: u64, first: Date, days: usize) -> Self {
        let span = jiff::Span::new().days(i64::try_from(days).unwrap());
        let today = first.checked_add(span).unwrap();
        let library = SampleLibrary::new(SampleSettings {
            libraries: vec!["NL-AmrBKW".to_owned()],
            loans_per_patron: 16.0,
            has_tricky_records: false,
            ..SampleSettings::new(7, patrons, today)
        });
        let mut fixture = LibraryFixture {
            events_by_day: (0..days).map(|_| Vec::new()).collect(),
            first_day: first,
            loans: Vec::new(),
        };
        for message in library.messages() {
            let (Some(key), Some(value)) = (message.key, message.value) else {
                continue;
            };
            match message.source {
                "patron" => {
                    fixture.events_by_day[0].push(SourceEvent { source: "patron", key, value })
                }
                "loan" => fixture.add_loan(&key, &value),
                _ => {}
            }
        }
        fixture
    }

    fn day_index(&self, text: &str) -> Option<usize> {
        let date: Date = text.get(..10)?.parse().ok()?;
        let days = self.first_day.until(date).ok()?.get_days();
        usize::try_from(days).ok().filter(|day| *day < self.events_by_day.len())
    }

    fn add_loan(&mut self, patron_id: &str, value: &str) {
        let mut loan: Value = serde_json::from_str(value).unwrap();
        let text = |loan: &Value, name: &str| loan[name].as_str().unwrap_or_default().to_owned();
        let Some(day) = self.day_index(&text(&loan, "loaned_at")) else {
            return;
        };
        let (id, library) = (text(&loan, "loan_id"), text(&loan, "library"));
        let key = |recipient: &str| {
            let meaning = PseudonymDomain::new("loan", "loan_id");
            let made =
                Pseudonymiser::new(&test_key(recipient)).pseudonymise_input(&PseudonymInput {
                    domain: &meaning,
                    library: &library,
                    value: &id,
                    patron_id: Some(patron_id),
                    month: None,
                });
            String::from_utf8(made.to_ascii().to_vec()).unwrap()
        };
        self.loans.push(LoanKeys {
            service_message_key: key(SERVICE_MESSAGE),
            statistics_key: key(STATISTICS),
        });
        let back = self.day_index(&text(&loan, "returned_at"));
        let mut put = |day: usize, loan: &Value| {
            self.events_by_day[day].push(SourceEvent {
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
    pub fn run_time_ms(&self, day: usize) -> i64 {
        let span = jiff::Span::new().days(i64::try_from(day).unwrap());
        let date = self.first_day.checked_add(span).unwrap();
        let at = date.at(22, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC);
        at.unwrap().timestamp().as_millisecond()
    }
}

/// The key of a recipient, or of the state.
pub fn test_key(name: &str) -> HmacKey {
    let secret = format!("{name:~<40}");
    HmacKey::parse(&format!("k:{}", URL_SAFE_NO_PAD.encode(secret))).unwrap()
}

/// The lanes of both recipients, as they are shipped; or statistics without a period.
pub fn compile_lanes(without_period: bool) -> Vec<Arc<Lane>> {
    let folder = copy_shipped_config();
    if without_period {
        remove_statistics_period(folder.path());
    }
    let policy = load_folder(folder.path()).unwrap();
    let lane = |(lane, name): (&str, &str)| {
        let key_of = |recipient: &str| Some(Pseudonymiser::new(&test_key(recipient)));
        let is_meant = |one: &zeef::policy::recipient::Recipient| one.name == name;
        Lane::compile(lane, &policy, is_meant, key_of, CompileOptions::default()).unwrap()
    };
    [("main", SERVICE_MESSAGE), ("statistics", STATISTICS)].map(|one| Arc::new(lane(one))).into()
}
