//! Records of the sources that are joined, with the patrons that they are of.

use zeef::sample::{Library, Message, Settings, Source};

use super::common::workload::Record;

/// Each source that is joined, and who gets records of it.
pub(crate) const SOURCES: [(Source, &[&str]); 4] = [
    (Source::Loan, &["service-message", "statistics"]),
    (Source::Reservation, &["reservation-slip"]),
    (Source::IllRequest, &["ill-library"]),
    (Source::Debt, &["deurwaarder"]),
];

/// Records of one source.
pub(crate) struct Sampled {
    pub(crate) patrons: Vec<Record>,
    pub(crate) records: Vec<Record>,
}

impl Sampled {
    /// Makes up `count` records, and the patrons that they are of; where they
    /// may be `tricky`, some have names and numbers that few systems get right.
    pub(crate) fn of(source: Source, count: usize, tricky: bool) -> Sampled {
        let today = jiff::civil::date(2026, 1, 1);
        let mut settings = Settings::new(1, u64::from(u32::MAX), today);
        settings.tricky = tricky;
        let library = Library::new(settings);
        let mut sampled = Sampled {
            patrons: Vec::new(),
            records: Vec::with_capacity(count),
        };
        for patron in 0.. {
            let messages = library.messages_of(patron);
            let known = sampled.records.len();
            let of = |wanted: Source| {
                let named = move |one: &&Message| one.source == wanted.as_str();
                messages.iter().filter(named).filter_map(record)
            };
            sampled.records.extend(of(source).take(count - known));
            if sampled.records.len() > known {
                sampled.patrons.extend(of(Source::Patron));
            }
            if sampled.records.len() == count {
                break;
            }
        }
        sampled
    }
}

fn record(message: &Message) -> Option<Record> {
    Some(Record {
        key: message.key.clone().into_bytes(),
        value: message.value.clone()?.into_bytes(),
    })
}
