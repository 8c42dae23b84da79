//! The batch at hand: what its records are decided with, and what deciding them writes to.

use super::decide::dead_letter::DeadLetter;
use super::lane::gates::GatePatron;
use super::lane::{Lane, LaneSource, ROW_LIBRARY_SLOT};
use super::ledger_lines::LedgerLines;
use super::memory::consents::{ConsentTable, PatronConsents};
use super::memory::patron_records::{PatronRecordTable, PatronRecords};
use super::memory::patrons::{PatronRow, PatronStatus, PatronTable};
use super::tally::{DeadLetterPosition, Tally};
use crate::message::{ForeignOperation, Outbox};
use crate::policy::catalogue::Role;
use crate::policy::reason::Reason;

/// Why a record is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// It arrived.
    Arrival,
    /// Something else changed, and it was read from its source again.
    Recheck,
    /// Something else changed, and its source no longer has it.
    SourceGone,
    /// Something else decides for its row, without the record.
    RowOnly,
    /// It arrived, and is decided for a patron that a grant names.
    NamedPatron,
}

/// The one time that a whole batch is decided at.
#[derive(Clone, Debug, Default)]
pub struct BatchTime {
    ms: i64,
    /// RFC 3339 in UTC, for dead letters.
    rfc3339: String,
}

impl BatchTime {
    /// Takes the time in milliseconds since 1970.
    #[must_use]
    pub fn from_ms(ms: i64) -> Self {
        let text = jiff::Timestamp::from_millisecond(ms)
            .map(|time| format!("{time:.3}"))
            .unwrap_or_default();
        BatchTime { ms, rfc3339: text }
    }

    /// Returns the time in RFC 3339, in UTC.
    #[must_use]
    pub fn rfc3339(&self) -> &str {
        &self.rfc3339
    }

    #[must_use]
    pub fn ms(&self) -> i64 {
        self.ms
    }
}

/// What is known of patrons at the batch's time.
#[derive(Clone, Copy, Debug)]
pub(super) struct PatronView<'a> {
    pub(super) lane: &'a Lane,
    pub(super) table: &'a PatronTable,
    pub(super) consent_table: &'a ConsentTable,
    pub(super) record_table: &'a PatronRecordTable,
    pub(super) now_ms: i64,
}

/// What is known of one patron.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PatronFacts<'a> {
    pub(super) status: Option<PatronStatus<'a>>,
    pub(super) consents: Option<&'a PatronConsents>,
    pub(super) records: Option<&'a PatronRecords>,
}

impl<'a> PatronView<'a> {
    /// Returns what is known of a patron: nothing if there is no id.
    pub(super) fn find(self, partition: i32, patron_id: Option<&str>) -> PatronFacts<'a> {
        patron_id.map_or_else(PatronFacts::default, |id| PatronFacts {
            status: self.table.find(partition, id),
            consents: self.consent_table.find(partition, id),
            records: self.record_table.find(partition, id),
        })
    }
}

impl<'a> PatronFacts<'a> {
    /// The patron's row, unless it is erased or unreadable.
    pub(super) fn row(self) -> Option<&'a PatronRow> {
        self.status.and_then(PatronStatus::row)
    }

    /// The patron, as gates ask about it.
    pub(super) fn gate_patron(self) -> GatePatron<'a> {
        let library = self.row().and_then(|row| row.value(ROW_LIBRARY_SLOT).as_text());
        GatePatron { patron_consents: self.consents, records: self.records, library }
    }
}

/// What the batches of a worker share, but for what recipients have.
#[derive(Debug, Default)]
pub(super) struct BatchState {
    pub(super) table: PatronTable,
    pub(super) consent_table: ConsentTable,
    pub(super) record_table: PatronRecordTable,
    pub(super) now: BatchTime,
    pub(super) tally: Tally,
    /// Empty in a lane without a ledger.
    pub(super) ledger_lines: LedgerLines,
}

impl BatchState {
    pub(super) fn open<'a>(&'a mut self, lane: &'a Lane, outbox: &'a mut Outbox) -> Batch<'a> {
        let BatchState { table, consent_table, record_table, now, tally, ledger_lines } = self;
        let view = PatronView { lane, table, consent_table, record_table, now_ms: now.ms };
        Batch { lane, view, now, tally, ledger_lines, outbox }
    }

    pub(super) fn view<'a>(&'a self, lane: &'a Lane) -> PatronView<'a> {
        let BatchState { table, consent_table, record_table, now, .. } = self;
        PatronView { lane, table, consent_table, record_table, now_ms: now.ms }
    }
}

/// What a record is decided with, and what deciding it writes to.
pub(super) struct Batch<'a> {
    pub(super) lane: &'a Lane,
    pub(super) view: PatronView<'a>,
    pub(super) now: &'a BatchTime,
    pub(super) tally: &'a mut Tally,
    pub(super) ledger_lines: &'a mut LedgerLines,
    pub(super) outbox: &'a mut Outbox,
}

/// Where a record lies that is decided, and why it is.
#[derive(Clone, Copy)]
pub(super) struct RecordPosition<'a> {
    pub(super) trigger: Trigger,
    /// `None` if the lane no longer has its source.
    pub(super) source: Option<&'a LaneSource>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// The upstream's operation that sent it; `None` also if something else decides it again.
    pub(super) foreign: Option<&'a ForeignOperation>,
}

/// Which part of a record's outputs a dead letter is about; by default all of them.
#[derive(Clone, Copy, Default)]
pub(super) struct DeadLetterScope<'a> {
    pub(super) recipient: Option<&'a str>,
    pub(super) field: Option<&'a str>,
}

impl Batch<'_> {
    /// Writes a dead letter and counts it, unless the lane no longer has the source.
    pub(super) fn write_dead_letter(
        &mut self,
        record: RecordPosition<'_>,
        reason: Reason,
        scope: DeadLetterScope<'_>,
    ) {
        let RecordPosition { source: Some(source), partition, offset, .. } = record else {
            return;
        };
        let source_index = usize::from(source.index);
        let position = DeadLetterPosition { source_index, partition, offset, reason };
        // One that names a recipient is of a record that was read: a value was left out, or malformed.
        let is_unread_gate = source.kind.role != Role::Record && scope.recipient.is_none();
        self.tally.count_dead_letter(position, is_unread_gate);
        let dead_letter = DeadLetter {
            lane: &self.lane.name,
            topic: &source.topic,
            partition,
            offset,
            reason: reason.as_str(),
            kind: None,
            recipient: scope.recipient,
            field: scope.field,
            policy_version: &self.lane.policy_version,
            time: &self.now.rfc3339,
        };
        let output = self.lane.dead_letter_output;
        self.outbox.push(output, None, None, |out| dead_letter.write_json(out));
    }
}
