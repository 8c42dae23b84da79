//! Patrons for the source: a few thousand different ones, under a million ids.
//! What comes after the millionth record is a change of an earlier one's patron.

use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::workload::{Layout, Record, patrons};

const TEMPLATES: usize = 20_000;
const DIGITS: usize = 9;
/// No multiple of the templates: a patron's next record is of another one.
const IDS: u64 = 1_000_003;
/// How the workload writes the last change of a patron, but for the day.
const CHANGED: &[u8] = b"\"updated_at\":\"";

/// Makes records; the next one overwrites the last one.
pub struct Patrons {
    templates: Vec<Record>,
    /// Where the number of the id stands in a value.
    digits: usize,
    record: Record,
}

impl Patrons {
    pub fn new(templates: usize) -> Self {
        let templates = patrons(templates.min(TEMPLATES), Layout::Compact);
        let key = &templates[0].key;
        let place = templates[0].value.windows(key.len()).position(|w| w == key);
        let digits = place.expect("a patron holds its id") + key.len() - DIGITS;
        Self {
            templates,
            digits,
            record: Record {
                key: Vec::new(),
                value: Vec::new(),
            },
        }
    }

    /// The patron of that number.
    pub fn patron(&mut self, number: u64) -> &Record {
        let count = self.templates.len() as u64;
        let template = &self.templates[usize::try_from(number % count).unwrap()];
        let Record { key, value } = &mut self.record;
        key.clone_from(&template.key);
        value.clone_from(&template.value);
        let digits = format!("{:0DIGITS$}", number % IDS);
        let end = key.len();
        key[end - DIGITS..].copy_from_slice(digits.as_bytes());
        value[self.digits..self.digits + DIGITS].copy_from_slice(digits.as_bytes());
        &self.record
    }

    /// The patron of that number, changed at `time` (RFC 3339).
    pub fn changed(&mut self, number: u64, time: &str) -> &Record {
        self.patron(number);
        let value = &mut self.record.value;
        let place = value.windows(CHANGED.len()).rposition(|w| w == CHANGED);
        let start = place.expect("a patron says when it was changed") + CHANGED.len();
        let length = value[start..].iter().position(|&byte| byte == b'"');
        let end = start + length.expect("a text ends");
        value.splice(start..end, time.bytes());
        &self.record
    }
}

/// Hands a record over; waits while the queue is full.
pub fn send(producer: &BaseProducer, topic: &str, record: &Record) {
    let mut message = BaseRecord::to(topic)
        .key(&record.key[..])
        .payload(&record.value[..]);
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
pub fn finish(producer: &BaseProducer) {
    producer
        .flush(Duration::from_secs(120))
        .expect("records arrive");
}
