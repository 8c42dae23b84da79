//! Records of the sources that are joined, with the patrons that they are of.

use zeef::sample::{SampleLibrary, SampleMessage, SampleSettings, SampleSource};

use super::common::workload::SourceRecord;

/// Each source that is joined, and who gets records of it.
pub(crate) const JOINED_SOURCES: [(SampleSource, &[&str]); 4] = [
    (SampleSource::Loan, &["service-message", "statistics"]),
    (SampleSource::Reservation, &["reservation-slip"]),
    (SampleSource::IllRequest, &["ill-library"]),
    (SampleSource::Debt, &["deurwaarder"]),
];

/// Records of one source.
pub(crate) struct SampledRecords {
    pub(crate) patrons: Vec<SourceRecord>,
    pub(crate) records: Vec<SourceRecord>,
}

impl SampledRecords {
    /// Makes up `count` records, and the patrons that they are of; where they
    /// may be `tricky`, some have names and numbers that few systems get right.
    pub(crate) fn generate(source: SampleSource, count: usize, tricky: bool) -> SampledRecords {
        let today = jiff::civil::date(2026, 1, 1);
        let mut settings = SampleSettings::new(1, u64::from(u32::MAX), today);
        settings.has_tricky_records = tricky;
        let library = SampleLibrary::new(settings);
        let mut sampled =
            SampledRecords { patrons: Vec::new(), records: Vec::with_capacity(count) };
        for patron in 0.. {
            let messages = library.messages_of_patron(patron);
            let known = sampled.records.len();
            let of = |wanted: SampleSource| {
                let named = move |one: &&SampleMessage| one.source == wanted.as_str();
                messages.iter().filter(named).filter_map(to_source_record)
            };
            sampled.records.extend(of(source).take(count - known));
            if sampled.records.len() > known {
                sampled.patrons.extend(of(SampleSource::Patron));
            }
            if sampled.records.len() == count {
                break;
            }
        }
        sampled
    }
}

fn to_source_record(message: &SampleMessage) -> Option<SourceRecord> {
    Some(SourceRecord {
        key: message.key.clone()?.into_bytes(),
        value: message.value.clone()?.into_bytes(),
    })
}
