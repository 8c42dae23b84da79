//! The lines of the ledger that a batch writes: what its effects gave and took.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::lane::Lane;
use super::lane::ledger::LaneLedger;
use super::memory::deliveries::row_json::encode_bits;
use super::memory::deliveries::{DeliveryEntry, PatronHash};
use crate::ledger::Operation;
use crate::ledger::block::{ChainName, ForeignReference, Line, Transaction, make_blocks};
use crate::ledger::fields::field_bits;
use crate::ledger::keys::{LineNumber, YearKey};
use crate::message::continuity::LedgerHead;
use crate::message::{ForeignOperation, Outbox, OutputId};
use crate::policy::reason::Reason;
use crate::policy::refusal_class::RefusalClass;

/// About how many bytes a line takes.
const LINE_BYTES: usize = 200;
/// The same of its foreign operation.
const FOREIGN_BYTES: usize = 100;

/// The lines of a batch, in the order of their effects.
#[derive(Debug, Default)]
pub(super) struct LedgerLines {
    lines: Vec<PendingLine>,
    /// Counts the decisions of the batch.
    decisions: u64,
    last_decision: Option<DecisionId>,
    /// How many lines have a foreign operation.
    foreign_count: usize,
}

/// Which record was decided: its source, partition and offset, and why.
pub(super) type DecisionId = (Option<u16>, i32, i64, u8);

/// A line whose ids and references are not made yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingLine {
    pub(super) partition: i32,
    pub(super) recipient: u16,
    pub(super) patron: Option<PatronHash>,
    pub(super) operation: Operation,
    pub(super) reason: Option<Reason>,
    /// The fields that went out, by bits.
    pub(super) fields: u128,
    /// The output and its key.
    pub(super) output: Option<(u16, u128)>,
    /// The upstream's operation that sent the record.
    pub(super) foreign: Option<ForeignOperation>,
    /// The record's patron may be told of it.
    pub(super) is_told: bool,
    /// It is about `patron` beside the patron of the line before it that is not.
    pub(super) is_of_other_person: bool,
    /// Set by [`LedgerLines::push`].
    pub(super) decision: u64,
}

impl PendingLine {
    /// Finds which fields of an output went out, which lies in the outbox.
    pub(super) fn with_fields(
        self,
        ledger: &LaneLedger,
        outbox: &Outbox,
        entry: &DeliveryEntry,
    ) -> PendingLine {
        let key = encode_bits(entry.output_key);
        let value = outbox.find_last_value(OutputId(entry.output), &key);
        let activity = ledger.activities.get(usize::from(self.recipient));
        let fields = activity.zip(value).map(|(one, value)| field_bits(&one.leaves, value));
        PendingLine { fields: fields.unwrap_or_default(), ..self }
    }
}

impl LaneLedger {
    /// Whether a refusal is logged.
    pub(super) fn logs_refusal(&self, reason: Reason) -> bool {
        let class = RefusalClass::of_reason(reason);
        class.is_some_and(|class| self.setup.refusals.contains(&class))
    }
}

impl LedgerLines {
    /// Adds a line of the decision `of`. Lines of one decision follow each other.
    pub(super) fn push(&mut self, of: DecisionId, line: PendingLine) {
        if self.last_decision != Some(of) {
            self.last_decision = Some(of);
            self.decisions += 1;
        }
        self.foreign_count += usize::from(line.foreign.is_some());
        self.lines.push(PendingLine { decision: self.decisions, ..line });
    }

    pub(super) fn clear(&mut self) {
        self.lines.clear();
        self.decisions = 0;
        self.last_decision = None;
        self.foreign_count = 0;
    }

    /// About how many bytes the lines take.
    pub(super) fn byte_len(&self) -> usize {
        self.lines.len() * LINE_BYTES + self.foreign_count * FOREIGN_BYTES
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = i32> {
        self.lines.iter().map(|line| line.partition)
    }

    /// Writes the lines of a partition as blocks behind `head`, and takes them. Returns the next
    /// head; `None` if there are no lines and never were.
    pub(super) fn write_blocks(
        &mut self,
        (lane, ledger): (&Lane, &LaneLedger),
        (partition, number, now_ms): (i32, u64, i64),
        head: Option<&LedgerHead>,
        outbox: &mut Outbox,
    ) -> Option<LedgerHead> {
        if self.lines.iter().all(|line| line.partition != partition) {
            return head.cloned();
        }
        let mut head = head.cloned().unwrap_or_default();
        if head.register != ledger.register.digest() {
            write_register(ledger, outbox);
            ledger.register.digest().clone_into(&mut head.register);
        }
        let time = now_ms.div_euclid(1_000);
        let key = ledger.setup.keys.at(time);
        (head.year, head.key) = (key.year, key.print().to_owned());
        let born = if head.sequence == 0 { time } else { head.born };
        let chain = ChainName { lane: lane.name.clone(), partition, born }.to_string();
        let mut encoder = LineEncoder::new((lane, ledger), &key, (&chain, number));
        let of_partition = self.lines.iter().filter(|line| line.partition == partition);
        let lines = (1..).zip(of_partition).map(|(index, line)| encoder.encode(index, line));
        let lines: Vec<Line<'static>> = lines.collect();
        let mut activities = vec![Cow::Borrowed(""); encoder.activities.len()];
        for (id, index) in encoder.activities {
            activities[usize::from(index)] = Cow::Borrowed(id);
        }
        let policy = &lane.policy_version;
        let transaction = Transaction { lane: &lane.name, partition, number, time, policy };
        for block in make_blocks(transaction, &activities, lines, &mut head) {
            outbox.push(ledger.blocks_output, Some(partition), None, |out| {
                out.extend_from_slice(&block);
            });
        }
        self.lines.retain(|line| line.partition != partition);
        Some(head)
    }
}

/// Writes what lines point to, before the first of them.
fn write_register(ledger: &LaneLedger, outbox: &mut Outbox) {
    for (key, value) in ledger.register.messages() {
        outbox.push(ledger.register_output, None, Some(key.as_bytes()), |out| {
            out.extend_from_slice(value);
        });
    }
}

/// Makes lines of pending ones.
struct LineEncoder<'a> {
    lane: &'a Lane,
    ledger: &'a LaneLedger,
    key: &'a YearKey,
    chain: &'a str,
    /// The number of the transaction's mark.
    number: u64,
    /// The indices of activities in the block, by their ids.
    activities: BTreeMap<&'a str, u16>,
    /// The id of the last line that is of no other person.
    parent: String,
}

impl<'a> LineEncoder<'a> {
    fn new(
        (lane, ledger): (&'a Lane, &'a LaneLedger),
        key: &'a YearKey,
        (chain, number): (&'a str, u64),
    ) -> LineEncoder<'a> {
        let (activities, parent) = (BTreeMap::new(), String::new());
        LineEncoder { lane, ledger, key, chain, number, activities, parent }
    }

    fn encode(&mut self, index: u64, line: &PendingLine) -> Line<'static> {
        // A refusal gave nothing, and another version may say that nobody may be told of it.
        let is_told = line.is_told && line.operation != Operation::Refuse;
        let activity = self.ledger.activity_of(line.recipient, is_told);
        let id = activity.map_or("", |one| one.id.as_str());
        let next = u16::try_from(self.activities.len()).unwrap_or(u16::MAX);
        let activity = *self.activities.entry(id).or_insert(next);
        let number =
            |number: u64| LineNumber { chain: self.chain, transaction: self.number, number };
        let key = line.output.map(|(output, key)| {
            let output = self.lane.outputs.get(usize::from(output));
            let topic = output.map_or("", |output| output.topic.as_str());
            self.key.output_hash(topic, &encode_bits(key))
        });
        let id = self.key.operation_id(number(index));
        let parent = line.is_of_other_person.then(|| Cow::Owned(self.parent.clone()));
        if !line.is_of_other_person {
            self.parent.clone_from(&id);
        }
        Line {
            trace: Cow::Owned(self.key.trace_id(number(line.decision))),
            id: Cow::Owned(id),
            parent,
            patron: line.patron.map(|hash| Cow::Owned(self.key.patron_reference(hash.0))),
            activity,
            operation: line.operation,
            reason: line.reason.map(|reason| Cow::Borrowed(reason.as_str())),
            fields: (line.fields != 0).then(|| Cow::Owned(format!("{:x}", line.fields))),
            key: key.map(Cow::Owned),
            foreign_operation: line.foreign.map(ForeignReference::from),
        }
    }
}
