//! Patrons for the source: a few thousand different ones, under a million ids.
//! What comes after the millionth record is a change of an earlier one's patron.

use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::workload::{RecordLayout, SourceRecord, generate_patrons};

const TEMPLATE_COUNT: usize = 20_000;
const ID_DIGITS: usize = 9;
/// No multiple of the templates: a patron's next record is of another one.
const DISTINCT_IDS: u64 = 1_000_003;
/// How the workload writes the last change of a patron, but for the day.
const UPDATED_AT_PREFIX: &[u8] = b"\"updated_at\":\"";

/// Makes records; the next one overwrites the last one.
pub struct PatronGenerator {
    templates: Vec<SourceRecord>,
    /// Where the number of the id stands in a value.
    id_position: usize,
    current: SourceRecord,
}

impl PatronGenerator {
    pub fn new(templates: usize) -> Self {
        let templates = generate_patrons(templates.min(TEMPLATE_COUNT), RecordLayout::Compact);
        let key = &templates[0].key;
        let place = templates[0].value.windows(key.len()).position(|w| w == key);
        let digits = place.expect("a patron holds its id") + key.len() - ID_DIGITS;
        Self {
            templates,
            id_position: digits,
            current: SourceRecord { key: Vec::new(), value: Vec::new() },
        }
    }

    /// The patron of that number.
    pub fn patron(&mut self, number: u64) -> &SourceRecord {
        let count = self.templates.len() as u64;
        let template = &self.templates[usize::try_from(number % count).unwrap()];
        let SourceRecord { key, value } = &mut self.current;
        key.clone_from(&template.key);
        value.clone_from(&template.value);
        let digits = format!("{:0ID_DIGITS$}", number % DISTINCT_IDS);
        let end = key.len();
        key[end - ID_DIGITS..].copy_from_slice(digits.as_bytes());
        value[self.id_position..self.id_position + ID_DIGITS].copy_from_slice(digits.as_bytes());
        &self.current
    }

    /// The patron of that number, changed at `time` (RFC 3339).
    pub fn patron_changed_at(&mut self, number: u64, time: &str) -> &SourceRecord {
        self.patron(number);
        let value = &mut self.current.value;
        let place = value.windows(UPDATED_AT_PREFIX.len()).rposition(|w| w == UPDATED_AT_PREFIX);
        let start = place.expect("a patron says when it was changed") + UPDATED_AT_PREFIX.len();
        let length = value[start..].iter().position(|&byte| byte == b'"');
        let end = start + length.expect("a text ends");
        value.splice(start..end, time.bytes());
        &self.current
    }
}

/// Hands a record over; waits while the queue is full.
pub fn send_record(producer: &BaseProducer, topic: &str, record: &SourceRecord) {
    let mut message = BaseRecord::to(topic).key(&record.key[..]).payload(&record.value[..]);
    while let Err((error, back)) = producer.send(message) {
        assert!(
            error.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull),
            "a record is taken: {error}"
        );
        message = back;
        producer.poll(Duration::from_millis(10));
    }
}

/// Waits until all has arrived.
pub fn flush(producer: &BaseProducer) {
    producer.flush(Duration::from_secs(120)).expect("records arrive");
}
