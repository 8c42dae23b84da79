//! Records that wait for their patron's record to be read (F36).
//!
//! The table of patrons keeps little of them. A record that demands fields of its patron is
//! decided at the end of its batch: the patron's record is read again, by the coordinates of the
//! version that the table has, and the record is decided with both at hand.

use super::batch::Trigger;
use super::lane::Lane;
use super::lane::demanded::DemandedReader;
use super::record::{Record, RecordLimits, RecordView};
use crate::message::{AppendTime, Coordinates, Input, Payload, SourceId, TraceParent};

/// A record that waits, with all that deciding it takes.
#[derive(Debug)]
pub(super) struct WaitingRecord {
    pub(super) coordinates: Coordinates,
    timestamp_ms: Option<i64>,
    append_time: Option<AppendTime>,
    trace_parent: Option<TraceParent>,
    key: Vec<u8>,
    value: Vec<u8>,
    pub(super) trigger: Trigger,
    /// Recipients without a live entry are asked, too.
    pub(super) asks_all: bool,
}

impl WaitingRecord {
    /// `None` if the message has no value.
    fn from_input(input: &Input<'_>, trigger: Trigger, asks_all: bool) -> Option<WaitingRecord> {
        let Payload::Bytes(value) = input.payload else {
            return None;
        };
        Some(WaitingRecord {
            coordinates: Coordinates {
                source: input.source,
                partition: input.partition,
                offset: input.offset,
            },
            timestamp_ms: input.timestamp_ms,
            append_time: input.append_time,
            trace_parent: input.trace_parent,
            key: input.key.unwrap_or_default().to_vec(),
            value: value.to_vec(),
            trigger,
            asks_all,
        })
    }

    pub(super) fn to_input(&self) -> Input<'_> {
        Input {
            source: self.coordinates.source,
            partition: self.coordinates.partition,
            offset: self.coordinates.offset,
            timestamp_ms: self.timestamp_ms,
            append_time: self.append_time,
            trace_parent: self.trace_parent,
            key: Some(&self.key),
            payload: Payload::Bytes(&self.value),
        }
    }

    /// The patron's id.
    pub(super) fn patron_id(&self) -> &str {
        std::str::from_utf8(&self.key).unwrap_or_default()
    }
}

/// Where the patron's record of a waiting record lies; `None` if it has none any more.
type PatronCoordinates = Option<Coordinates>;

/// The records that wait, and the patron's record at hand.
#[derive(Debug, Default)]
pub(super) struct PatronReads {
    waiting: Vec<WaitingRecord>,
    /// Those whose patrons' records were requested, in ascending order of these.
    requested: Vec<(PatronCoordinates, WaitingRecord)>,
    /// Made when the first patron's record is read.
    record: Option<Box<Record>>,
    /// The text of the patron's record at hand.
    text: Option<String>,
    /// Records are decided that have waited.
    is_deciding: bool,
    asks_all: bool,
}

impl PatronReads {
    /// How many records wait.
    pub(super) fn pending_count(&self) -> usize {
        self.waiting.len() + self.requested.len()
    }

    pub(super) fn is_deciding(&self) -> bool {
        self.is_deciding
    }

    /// Whether the record that is decided was to be decided for all recipients when it began to
    /// wait.
    pub(super) fn asks_all(&self) -> bool {
        self.is_deciding && self.asks_all
    }

    /// Lets a record wait. Returns whether it does.
    pub(super) fn push(&mut self, input: &Input<'_>, trigger: Trigger, asks_all: bool) -> bool {
        let waiting = WaitingRecord::from_input(input, trigger, asks_all);
        let waits = waiting.is_some();
        self.waiting.extend(waiting);
        waits
    }

    /// Requests the patrons' records of all that wait: `offset_of` returns where the table has the
    /// patron's record from. Returns where they lie, each once and in ascending order.
    pub(super) fn request(
        &mut self,
        patron_source: SourceId,
        offset_of: impl Fn(i32, &str) -> Option<i64>,
    ) -> Vec<Coordinates> {
        let waiting = self.waiting.drain(..);
        self.requested.extend(waiting.map(|record| {
            let partition = record.coordinates.partition;
            let offset = offset_of(partition, record.patron_id());
            let at = offset.map(|offset| Coordinates { source: patron_source, partition, offset });
            (at, record)
        }));
        // Versions of one record stay in their order.
        self.requested.sort_by_key(|(at, record)| (*at, record.coordinates));
        let mut wanted: Vec<Coordinates> =
            self.requested.iter().filter_map(|(at, _)| *at).collect();
        wanted.dedup();
        wanted
    }

    /// Takes the records that wait for the patron's record at these coordinates.
    pub(super) fn take(&mut self, at: PatronCoordinates) -> Vec<WaitingRecord> {
        let first = self.requested.partition_point(|(other, _)| *other < at);
        let end = self.requested.partition_point(|(other, _)| *other <= at);
        self.requested.drain(first..end).map(|(_, record)| record).collect()
    }

    /// Whether patrons' records were requested.
    pub(super) fn has_requests(&self) -> bool {
        !self.requested.is_empty()
    }

    /// Begins to decide a record that waited.
    pub(super) fn begin(&mut self, waited: &WaitingRecord) {
        self.is_deciding = true;
        self.asks_all = waited.asks_all;
    }

    /// Forgets the patron's record at hand.
    pub(super) fn end(&mut self) {
        self.is_deciding = false;
        self.asks_all = false;
        self.text = None;
        if let Some(record) = &mut self.record {
            record.clear_values();
        }
    }

    /// Reads a patron's record; `derive` fills the slots that are derived from others.
    pub(super) fn read(
        &mut self,
        lane: &Lane,
        input: Option<&Input<'_>>,
        derive: impl Fn(&mut Record, &str, &DemandedReader),
    ) {
        self.text = None;
        let Some(reader) = &lane.demanded_reader else {
            return;
        };
        let Some(Input { payload: Payload::Bytes(bytes), .. }) = input else {
            return;
        };
        let record = self.record.get_or_insert_with(|| Box::new(Record::new(&reader.source.shape)));
        let limits: &RecordLimits = &lane.limits;
        if let Ok(text) = record.read(bytes, limits) {
            derive(record, text, reader);
            self.text = Some(text.to_owned());
        }
    }

    /// The patron's record at hand.
    pub(super) fn view(&self) -> Option<RecordView<'_>> {
        Some(self.record.as_deref()?.view(self.text.as_deref()?))
    }

    /// Drops all that waits.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.requested.clear();
        self.end();
    }
}
