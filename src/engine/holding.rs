//! What recipients have: what is sent is what is decided minus that.
//!
//! A record that arrives, and one that is read again because something else
//! changed, go the same way: each recipient's answer is compared with what it
//! has, what is new is sent, what is no longer right is taken back, and the
//! row is written in the same batch. Never is an old table compared with a new
//! one: a rebuild has already seen the change.

mod again;
mod anew;
mod change;
mod facts;
mod former;
mod mark;
mod period;

use std::collections::HashSet;

use anew::Anew;
use change::{Change, Count};
use mark::Marks;
pub use mark::{Continuity, STATE_PRINT, print_of};
pub use period::Pace;
use period::Waiting;

use super::decide::letter;
use super::gates::Refusal;
use super::lane::{Lane, Source};
use super::patrons::{Epoch, Erasure, Patrons, Stop};
use super::pipeline::BatchTime;
use super::said::Sayings;
use super::state::text::Stored;
use super::state::{Entries, Entry, Namer, Outcome, PatronRef, Row, RowKey, State, text};
use super::table::{self, Known, Table};
use super::tally::{ByReason, Tally};
use crate::policy::catalogue::Role;
use crate::policy::pseudonym::{Meaning, Pseudonym};
use crate::policy::reason::Reason;
use crate::transport::continuity::{Fingerprinter, MARK_KEY};
use crate::transport::{Coordinates, Fault, Input, Outbox, OutputId};

/// How many records are decided again at a time.
const AGAIN_MAX: usize = 20_000;

/// How many records may wait for their patrons, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Holds {
    /// In one partition.
    pub records: usize,
    pub term_ms: i64,
}

/// Why a record is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// It arrived.
    First,
    /// Something else changed.
    Again,
}

/// What one recipient is to get of the record at hand.
#[derive(Clone, Copy, Debug)]
pub enum Verdict {
    Released {
        output: u16,
        key: u128,
        hash: u64,
        /// It does not have it yet, and gets it.
        sent: bool,
        /// It does not have it yet, and gets it in a later run.
        waits: bool,
    },
    Refused(Refusal),
    /// It is not asked again: only a new version can change its answer.
    Final,
}

#[derive(Clone, Copy, Debug)]
pub struct Answer {
    recipient: usize,
    verdict: Verdict,
}

/// What is known beside what recipients have: patrons, what they said, the time.
type Around<'a> = (&'a Table, &'a Sayings, &'a BatchTime);

/// The record at hand.
#[derive(Clone, Copy, Debug)]
struct Current {
    partition: i32,
    offset: i64,
    key: RowKey,
    /// There is a row of an earlier version, or of this one.
    known: bool,
    patron: PatronRef,
    met: Met,
    now_ms: i64,
}

/// What recipients have, and what of it has to be decided again.
#[derive(Debug)]
pub struct Holding {
    namer: Namer,
    state: State,
    patrons: Patrons,
    holds: Holds,
    /// What a record's own id means, by source.
    meanings: Vec<Meaning>,
    /// Of the policy's version.
    policy: u64,
    /// Makes the MACs of rows and marks.
    prints: Fingerprinter,
    marks: Marks,
    /// What marks depend on beside rows.
    pub continuity: Continuity,
    current: Current,
    answers: Vec<Answer>,
    /// When the term of each admitted recipient is over.
    terms: Vec<(usize, i64)>,
    /// Rows to be taken back, and rows whose record is to be decided again.
    back: Vec<((i32, RowKey), Refusal)>,
    again: Vec<(i32, RowKey)>,
    /// Those of them that a patron's change queued.
    queued: HashSet<(i32, RowKey), foldhash::fast::RandomState>,
    /// What decides beside the records of the patron at hand, by recipient.
    facts_at_hand: Vec<Option<(u64, i64)>>,
    /// What a reconcile is known to take back, by recipient.
    foreseen: Vec<ByReason>,
    anew: Anew,
    asked: Vec<(Coordinates, RowKey)>,
    /// The recipients with a period, by their places.
    periodic: Vec<bool>,
    /// What may leave for them, and of which partitions.
    pace: Pace,
    due: Vec<i32>,
    /// What waits for the run that goes on, the first ones last.
    waiting: Vec<Waiting>,
    /// Rows that are looked at, kept for their memory.
    found: Vec<RowKey>,
}

impl Holding {
    #[must_use]
    pub fn new(lane: &Lane, namer: Namer, holds: Holds) -> Holding {
        let meaning = |source: &Source| Meaning::new(&source.kind.name, &source.kind.id);
        Holding {
            policy: namer.hash(lane.policy_version.as_bytes()),
            prints: namer.fingerprinter(),
            marks: Marks::default(),
            continuity: Continuity::default(),
            meanings: lane.sources.iter().map(meaning).collect(),
            namer,
            state: State::default(),
            patrons: Patrons::default(),
            holds,
            current: Current {
                partition: 0,
                offset: 0,
                key: RowKey(0),
                known: false,
                patron: PatronRef(0),
                met: Met::First,
                now_ms: 0,
            },
            answers: Vec::new(),
            terms: Vec::new(),
            back: Vec::new(),
            again: Vec::new(),
            queued: HashSet::default(),
            facts_at_hand: Vec::new(),
            foreseen: vec![ByReason::default(); lane.recipients.len()],
            anew: Anew::default(),
            asked: Vec::new(),
            periodic: Holding::periodic(lane),
            pace: Pace::default(),
            due: Vec::new(),
            waiting: Vec::new(),
            found: Vec::new(),
        }
    }

    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Takes back a row that was written, as its topic has it.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`]: the lane cannot go on without its state.
    pub fn restore(
        &mut self,
        lane: &Lane,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), Fault> {
        if key == Some(MARK_KEY) {
            return self.restore_mark(lane, partition, value);
        }
        if key.is_some_and(text::is_of_transport) {
            return Ok(());
        }
        self.restore_row(lane, partition, key, value)
            .map_err(|error| Fault::Stop(error.to_string()))
    }

    fn restore_row(
        &mut self,
        lane: &Lane,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), text::TextError> {
        let key = text::read_key(key)?;
        self.marks.forget_before(partition, key);
        let stored = match value {
            Some(value) => text::read(lane, &self.prints, key, value)?,
            None => Stored::Over,
        };
        match stored {
            Stored::Row(row, mac) => {
                self.marks.restore_row(partition);
                self.state.restore(partition, key, Some((row, mac)));
            }
            Stored::Over => self.state.restore(partition, key, None),
            Stored::Before(row) => {
                self.marks.restore_before(partition, key);
                let row = row.lives().then_some((row, 0));
                self.state.restore(partition, key, row);
            }
            Stored::BeforeMark => self.marks.restore_before_mark(partition, key),
        }
        Ok(())
    }

    /// What the last reconcile is known to take back, by recipient and reason,
    /// before anything of it was done: what the record alone decides is not in it.
    #[must_use]
    pub fn foreseen(&self) -> &[ByReason] {
        &self.foreseen
    }

    /// Takes back a row about patrons that some lane wrote, as its topic has it.
    ///
    /// # Errors
    ///
    /// [`text::TextError`]: the lane cannot go on without it.
    pub fn restore_patrons(
        &mut self,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), text::TextError> {
        self.patrons.restore(partition, key, value)
    }

    /// What is kept of patrons for ever.
    #[must_use]
    pub fn patrons(&self) -> &Patrons {
        &self.patrons
    }

    /// Stops all that a gate record could stop that nobody can read or place;
    /// `partition` is the patron's own.
    pub fn stop(&mut self, lane: &Lane, partition: i32, stop: Stop, outbox: &mut Outbox) {
        self.patrons
            .stop((lane, &self.namer), partition, stop, outbox);
    }

    /// Ends the stops of a patron that `ends` names.
    pub fn lift(
        &mut self,
        lane: &Lane,
        (partition, patron_id): (i32, &str),
        ends: impl Fn(&Stop) -> bool,
        outbox: &mut Outbox,
    ) {
        let patron = self.namer.patron(patron_id);
        self.patrons.lift(lane, (partition, patron), ends, outbox);
    }

    /// Notes a null that the source of patrons has, outside of any batch.
    pub(super) fn note_erasure(&mut self, input: &Input<'_>, patron_id: &str) {
        let erasure = self.erasure(input, patron_id);
        self.patrons.note(&self.namer, erasure);
    }

    fn erasure(&self, input: &Input<'_>, patron_id: &str) -> Erasure {
        Erasure {
            patron: self.namer.patron(patron_id),
            partition: input.partition,
            offset: input.offset,
            // Of a null without a time nobody can say what came after it.
            at: input.appended.unwrap_or(Epoch::NEVER.at),
        }
    }

    /// When a patron was erased last, if it ever was.
    pub(super) fn epoch(&self, partition: i32, patron_id: &str) -> Option<Epoch> {
        let any = self.patrons.has_epochs(partition);
        let patron = any.then(|| self.namer.patron(patron_id))?;
        self.patrons.epoch(partition, patron)
    }

    /// When the patron of the record at hand was erased last.
    pub(super) fn current_epoch(&self) -> Option<Epoch> {
        self.patrons
            .epoch(self.current.partition, self.current.patron)
    }

    /// Whether recipients have, or may be owed, something of a patron.
    pub(super) fn knows(&mut self, partition: i32, patron_id: &str) -> bool {
        let patron = self.namer.patron(patron_id);
        self.found.clear();
        self.state.of_patron(partition, patron, &mut self.found);
        !self.found.is_empty()
    }

    pub(super) fn merge(&mut self) {
        self.state.merge();
        self.foreseen.fill(ByReason::default());
        self.patrons.merge();
        self.marks.merge();
        self.anew.merge();
    }

    pub(super) fn abandon(&mut self) {
        self.state.abandon();
        self.patrons.abandon();
        self.marks.abandon();
        self.back.clear();
        self.again.clear();
        self.queued.clear();
        self.foreseen.fill(ByReason::default());
        self.anew.abandon();
        self.asked.clear();
        self.waiting.clear();
    }

    pub(super) fn drop_partition(&mut self, partition: i32) {
        self.state.drop_partition(partition);
        self.patrons.drop_partition(partition);
        self.marks.retain(|kept| kept != partition);
        self.anew.clear();
    }

    pub(super) fn retain(&mut self, kept: impl Fn(i32) -> bool) {
        self.state.retain(&kept);
        self.patrons.retain(&kept);
        self.marks.retain(kept);
    }

    fn key_of(&self, source: &Source, patron_id: &str, id: &str) -> RowKey {
        if source.kind.role == Role::Patron {
            // The patron id alone says which record a later one replaces.
            return RowKey(self.namer.patron(id).0);
        }
        match self.meanings.get(usize::from(source.place)) {
            Some(meaning) => self.namer.record(meaning, patron_id, id),
            None => RowKey(0),
        }
    }

    /// Whether the record that lies there was to be decided again.
    pub(super) fn is_asked(&self, source: &Source, at: Coordinates, key: (&str, &str)) -> bool {
        self.asked_at(at) == Some(self.key_of(source, key.0, key.1))
    }

    /// Which record was to be decided again that lies there.
    fn asked_at(&self, at: Coordinates) -> Option<RowKey> {
        let found = self.asked.binary_search_by_key(&at, |(place, _)| *place);
        let (_, key) = self.asked.get(found.ok()?)?;
        Some(*key)
    }

    /// Begins with a record. False where a later version of it was decided.
    pub(super) fn begin(
        &mut self,
        source: &Source,
        record: Option<(&str, &str)>,
        (partition, offset): (i32, i64),
        patron_id: Option<&str>,
        met: Met,
        now_ms: i64,
    ) -> bool {
        let (_, id) = record.unwrap_or_default();
        let patron = self.namer.patron(patron_id.unwrap_or_default());
        let key = match source.kind.role {
            Role::Patron => RowKey(patron.0),
            _ => self.key_of(source, patron_id.unwrap_or_default(), id),
        };
        let known = self.state.find(partition, key);
        // Of patrons alone a later version may be known already. Of other records
        // a row with a later offset is of a source that was made anew since.
        let is_own = source.kind.role == Role::Patron;
        if is_own && met == Met::First && known.is_some_and(|row| row.offset > offset) {
            return false;
        }
        self.current = Current {
            partition,
            offset,
            key,
            known: known.is_some(),
            patron,
            met,
            now_ms,
        };
        self.answers.clear();
        self.terms.clear();
        true
    }

    /// Why the record at hand is decided.
    pub(super) fn met(&self) -> Met {
        self.current.met
    }

    /// When the record at hand was first decided for a recipient.
    pub(super) fn first_ms(&self, recipient: usize) -> i64 {
        let known = self.before().and_then(|row| row.first_ms(place(recipient)));
        known.unwrap_or(self.current.now_ms)
    }

    pub(super) fn admit(&mut self, recipient: usize, until_ms: i64) {
        self.terms.push((recipient, until_ms));
    }

    pub(super) fn answer(&mut self, recipient: usize, verdict: Verdict) {
        self.answers.push(Answer { recipient, verdict });
    }

    /// Takes the last message of `outbox`, an output for `recipient`; out of it
    /// where the recipient has the same already. Says whether it stays.
    pub(super) fn release(
        &mut self,
        recipient: usize,
        output: OutputId,
        key: &Pseudonym,
        outbox: &mut Outbox,
    ) -> bool {
        let value = outbox.last().and_then(|last| last.value);
        let hash = self.namer.hash(value.unwrap_or_default());
        let key = key.bits();
        let known = self.before().and_then(|row| row.entry(place(recipient)));
        let same = known.is_some_and(|entry| {
            entry.outcome == Outcome::Released
                && (entry.output, entry.key, entry.hash) == (output.0, key, hash)
                && !self.is_refilled(self.current.partition, place(recipient))
        });
        let waits = !same && self.holds_outputs(recipient);
        let sent = !same && !waits;
        if !sent {
            outbox.drop_last();
        }
        self.answer(
            recipient,
            Verdict::Released {
                output: output.0,
                key,
                hash,
                sent,
                waits,
            },
        );
        sent
    }

    /// Whether the answer of a recipient to the record at hand may be another one
    /// than before.
    pub(super) fn asks(&self, recipient: usize) -> bool {
        let lives = || {
            let entry = self.before().and_then(|row| row.entry(place(recipient)));
            entry.is_some_and(Entry::lives)
        };
        self.current.met == Met::First || self.anew.at_hand || lives()
    }

    /// How the record at hand stood.
    fn before(&self) -> Option<&Row> {
        let Current { partition, key, .. } = self.current;
        let known = self.current.known.then_some(key);
        known.and_then(|key| self.state.find(partition, key))
    }

    /// Ends with the record at hand: takes back, counts, and writes its row.
    pub(super) fn settle(
        &mut self,
        lane: &Lane,
        (input, source): (&Input<'_>, &Source),
        around: Around<'_>,
        mut due_ms: i64,
        tally: &mut Tally,
        outbox: &mut Outbox,
    ) {
        let (table, sayings, now) = around;
        let Current {
            partition,
            offset,
            key,
            patron,
            met,
            now_ms,
            ..
        } = self.current;
        let before = self.before().cloned();
        let patron_id = input.key.and_then(|key| std::str::from_utf8(key).ok());
        let found = patron_id.and_then(|id| table.find(partition, id));
        let patron_row = found.and_then(Known::row);
        let said = patron_id.and_then(|id| sayings.find(partition, id));
        self.bound_holds(&before);
        let mut answers = std::mem::take(&mut self.answers);
        answers.sort_unstable_by_key(|answer| answer.recipient);
        let mut entries = Entries::with_capacity(answers.len());
        for &Answer { recipient, verdict } in &answers {
            let Some(program) = lane.recipients.get(recipient) else {
                continue;
            };
            let at = place(recipient);
            let known = before.as_ref().and_then(|row| row.entry(at));
            let first_ms = before.as_ref().and_then(|row| row.first_ms(at));
            let first_ms = first_ms.unwrap_or(now_ms);
            let has = known.filter(|entry| entry.outcome == Outcome::Released);
            let (facts, _) = self.facts(lane, program, (patron_row, said), now.ms());
            let counts = &mut tally.recipients[recipient];
            let refusal = match verdict {
                Verdict::Released {
                    output,
                    key,
                    hash,
                    sent,
                    waits,
                } => {
                    let term = self.terms.iter().find(|(index, _)| *index == recipient);
                    let mut decided = Entry::without(at, Outcome::Released, None);
                    decided.output = output;
                    decided.key = key;
                    decided.hash = hash;
                    decided.facts = facts;
                    decided.time_ms = term.map_or(i64::MAX, |(_, until_ms)| *until_ms);
                    if waits {
                        match met {
                            Met::First => counts.withheld[Reason::Unpublished as usize] += 1,
                            Met::Again => counts.later.unchanged += 1,
                        }
                        entries.push(Holding::wait(known, &decided), first_ms);
                        continue;
                    }
                    let sent_before = known.filter(|entry| entry.is_sent());
                    if let Some(entry) =
                        sent_before.filter(|entry| (entry.output, entry.key) != (output, key))
                    {
                        push_null(outbox, entry);
                    }
                    match (met, sent, sent_before.is_some()) {
                        (Met::First, true, _) => counts.released += 1,
                        (Met::First, false, _) => counts.unchanged += 1,
                        (Met::Again, false, _) => counts.later.unchanged += 1,
                        (Met::Again, true, true) => counts.later.corrected += 1,
                        (Met::Again, true, false) => counts.later.released += 1,
                    }
                    entries.push(decided, first_ms);
                    continue;
                }
                Verdict::Refused(refusal) => refusal,
                Verdict::Final => {
                    if let Some(entry) = known {
                        entries.push(*entry, first_ms);
                    }
                    continue;
                }
            };
            let mut refusal = refusal;
            if let Some(entry) = has
                && refusal.keeps
            {
                if entry.until_ms() > now_ms {
                    due_ms = due_ms.min(entry.until_ms());
                    let mut entry = *entry;
                    entry.facts = facts;
                    // What waited for it does so no longer.
                    entry.reason = None;
                    entry.owed = true;
                    entries.push(entry, first_ms);
                    match met {
                        Met::First => counts.withheld[refusal.reason as usize] += 1,
                        Met::Again => counts.later.unchanged += 1,
                    }
                    continue;
                }
                refusal = Refusal::owed(Reason::Lapsed);
            }
            if let (Some(_), Some(reason)) = (has, refusal.unless) {
                refusal.reason = reason;
            }
            let reason = refusal.reason;
            if met == Met::First && tells_upstream(reason) {
                let at = (partition, offset);
                let of = (reason, Some(program.name.as_str()));
                letter(lane, source, at, now, of, tally, outbox);
            }
            let counts = &mut tally.recipients[recipient];
            let change = Change {
                refusal,
                facts,
                after: program.gates.retention.after,
                now_ms,
                waits: self.holds_nulls(at),
            };
            let (entry, count) = change.of(at, known, outbox);
            match (met, count) {
                (Met::First, Count::Retracted) => counts.retracted[reason as usize] += 1,
                (Met::Again, Count::Retracted) => counts.later.retracted[reason as usize] += 1,
                (Met::First, Count::Held) => counts.held += 1,
                (Met::First, Count::Withheld) => counts.withheld[reason as usize] += 1,
                (Met::Again, Count::Held | Count::Withheld) => counts.later.unchanged += 1,
                (_, Count::Forgotten) => {
                    counts.later.forgotten += 1;
                    if met == Met::First {
                        counts.withheld[reason as usize] += 1;
                    }
                }
            }
            if let Some(entry) = entry {
                entries.push(entry, first_ms);
            }
        }
        self.answers = answers;
        if let Some(before) = &before {
            former::carry(lane, (before, patron), &mut entries, outbox);
        }
        let row = entries.row(Row {
            patron,
            source: source.place,
            offset,
            first_ms: before.as_ref().map_or(now_ms, |row| row.first_ms),
            due_ms,
            entries: Box::default(),
            more: before.and_then(|row| row.more),
        });
        // Of whom nothing is known may have been erased: no row has to name them.
        let patron_id = patron_id.filter(|_| found.is_some());
        self.keep(lane, (partition, key), row, patron_id, outbox);
    }

    /// Refuses to hold one more record than may be held.
    fn bound_holds(&mut self, before: &Option<Row>) {
        let Current { partition, .. } = self.current;
        let was_held = before.as_ref().is_some_and(Row::is_held);
        if was_held || self.state.held(partition) < self.holds.records {
            return;
        }
        for answer in &mut self.answers {
            if let Verdict::Refused(refusal) = &mut answer.verdict
                && refusal.reason == Reason::PatronUnknown
            {
                *refusal = Refusal::lasting(Reason::HoldFull);
            }
        }
    }

    /// Keeps a row in memory and on its topic, where it is another one.
    fn keep(
        &mut self,
        lane: &Lane,
        (partition, key): (i32, RowKey),
        row: Row,
        patron_id: Option<&str>,
        outbox: &mut Outbox,
    ) {
        let known = self.state.find(partition, key);
        let lives = row.lives();
        if known == Some(&row) || (known.is_none() && !lives && row.entries.is_empty()) {
            return;
        }
        let mut mac = 0;
        let prints = &self.prints;
        outbox.push(
            lane.state,
            Some(partition),
            Some(&text::name(key.0)),
            |out| mac = text::write(out, prints, lane, (partition, key), &row),
        );
        if lives {
            self.state.put(partition, key, (row, mac), patron_id);
        } else {
            self.state.remove(partition, key);
        }
    }
}

/// Whether the gates that time opens and shuts were asked for an entry.
fn waits_for_time(entry: &Entry) -> bool {
    entry.outcome == Outcome::Released
        || matches!(
            entry.reason,
            Some(
                Reason::AgreementLapsed
                    | Reason::AuthorisationLapsed
                    | Reason::ObjectionUnreadable
                    | Reason::ObjectionMarketing
                    | Reason::Objection
                    | Reason::ConsentUnreadable
                    | Reason::NoConsent
                    | Reason::Lapsed
                    | Reason::Unpublished
            )
        )
}

fn push_null(outbox: &mut Outbox, entry: &Entry) {
    outbox.push_null(OutputId(entry.output), None, &text::name(entry.key));
}

fn place(recipient: usize) -> u16 {
    u16::try_from(recipient).unwrap_or(u16::MAX)
}

fn row_of<'a>(table: &'a Table, partition: i32, patron_id: &str) -> Option<&'a table::Row> {
    table.find(partition, patron_id).and_then(Known::row)
}

/// Whether a dead letter says that one recipient does not get a record.
pub(super) fn tells_upstream(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Malformed | Reason::TooLarge | Reason::HoldFull
    )
}
