//! What recipients have: what is sent is what is decided minus that.
//!
//! A record that arrives, and one that is read again because something else
//! changed, go the same way: each recipient's answer is compared with what it
//! has, what is new is sent, what is no longer right is taken back, and the
//! row is written in the same batch. Never is an old table compared with a new
//! one: a rebuild has already seen the change.

use super::gates::{Implied, Refusal};
use super::lane::{Lane, Program, ROW_LIBRARY, Ref, Source};
use super::pipeline::{BatchTime, letter};
use super::said::{Said, Sayings};
use super::shape::Place;
use super::state::{Entry, Namer, Outcome, PatronRef, Row, RowKey, State, text};
use super::table::{self, Known, Table};
use super::tally::Tally;
use super::value::Value;
use crate::policy::catalogue::Role;
use crate::policy::gate::Decision;
use crate::policy::pseudonym::{Meaning, Pseudonym};
use crate::policy::reason::Reason;
use crate::policy::recipient::After;
use crate::transport::{Coordinates, Input, Outbox, OutputId, SourceId};

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
        /// It does not have it yet.
        sent: bool,
    },
    Refused(Refusal),
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
    patron: PatronRef,
    first_ms: i64,
    met: Met,
}

/// What recipients have, and what of it has to be decided again.
#[derive(Debug)]
pub struct Holding {
    namer: Namer,
    state: State,
    holds: Holds,
    /// What a record's own id means, by source.
    meanings: Vec<Meaning>,
    /// Of the policy's version.
    policy: u64,
    current: Current,
    answers: Vec<Answer>,
    /// When the term of each admitted recipient is over.
    terms: Vec<(usize, i64)>,
    /// Rows to be taken back, and rows whose record is to be decided again.
    back: Vec<((i32, RowKey), Refusal)>,
    again: Vec<(i32, RowKey)>,
    asked: Vec<(Coordinates, RowKey)>,
    /// Rows that are looked at, kept for their memory.
    found: Vec<RowKey>,
    /// Whether a source is that of patrons.
    own: Vec<bool>,
}

impl Holding {
    #[must_use]
    pub fn new(lane: &Lane, namer: Namer, holds: Holds) -> Holding {
        let meaning = |source: &Source| Meaning::new(&source.kind.name, &source.kind.id);
        Holding {
            policy: namer.hash(lane.policy_version.as_bytes()),
            meanings: lane.sources.iter().map(meaning).collect(),
            namer,
            state: State::default(),
            holds,
            current: Current {
                partition: 0,
                offset: 0,
                key: RowKey(0),
                patron: PatronRef(0),
                first_ms: 0,
                met: Met::First,
            },
            answers: Vec::new(),
            terms: Vec::new(),
            back: Vec::new(),
            again: Vec::new(),
            asked: Vec::new(),
            found: Vec::new(),
            own: (0..)
                .zip(&lane.sources)
                .map(|(place, _)| lane.is_patron(place))
                .collect(),
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
    /// [`text::TextError`]: the lane cannot go on without its state.
    pub fn restore(
        &mut self,
        lane: &Lane,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), text::TextError> {
        let key = text::read_key(key)?;
        let row = match value {
            Some(value) => text::read(lane, value)?.filter(Row::lives),
            None => None,
        };
        self.state.restore(partition, key, row);
        Ok(())
    }

    pub(super) fn merge(&mut self) {
        self.state.merge();
    }

    pub(super) fn abandon(&mut self) {
        self.state.abandon();
        self.back.clear();
        self.again.clear();
        self.asked.clear();
    }

    pub(super) fn drop_partition(&mut self, partition: i32) {
        self.state.drop_partition(partition);
    }

    pub(super) fn retain(&mut self, kept: impl Fn(i32) -> bool) {
        self.state.retain(kept);
    }

    fn key_of(&self, source: &Source, library: &str, id: &str) -> RowKey {
        if source.kind.role == Role::Patron {
            // The patron id alone says which record a later one replaces.
            return RowKey(self.namer.patron(id).0);
        }
        match self.meanings.get(usize::from(source.place)) {
            Some(meaning) => self.namer.record(meaning, library, id),
            None => RowKey(0),
        }
    }

    /// Whether there is a row of this record.
    pub(super) fn has(&self, source: &Source, partition: i32, library: &str, id: &str) -> bool {
        let key = self.key_of(source, library, id);
        self.state.find(partition, key).is_some()
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
        let (library, id) = record.unwrap_or_default();
        let patron = self.namer.patron(patron_id.unwrap_or_default());
        let key = match source.kind.role {
            Role::Patron => RowKey(patron.0),
            _ => self.key_of(source, library, id),
        };
        let known = self.state.find(partition, key);
        if met == Met::First && known.is_some_and(|row| row.offset > offset) {
            return false;
        }
        self.current = Current {
            partition,
            offset,
            key,
            patron,
            first_ms: known.map_or(now_ms, |row| row.first_ms),
            met,
        };
        self.answers.clear();
        self.terms.clear();
        true
    }

    pub(super) fn first_ms(&self) -> i64 {
        self.current.first_ms
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
        let known = self.known(recipient);
        let same = known.is_some_and(|entry| {
            entry.outcome == Outcome::Released
                && (entry.output, entry.key, entry.hash) == (output.0, key, hash)
        });
        if same {
            outbox.drop_last();
        }
        self.answer(
            recipient,
            Verdict::Released {
                output: output.0,
                key,
                hash,
                sent: !same,
            },
        );
        !same
    }

    /// How the record at hand stood with a recipient.
    fn known(&self, recipient: usize) -> Option<&Entry> {
        let Current { partition, key, .. } = self.current;
        let row = self.state.find(partition, key)?;
        row.entry(place(recipient))
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
            first_ms,
            met,
        } = self.current;
        let before = self.state.find(partition, key).cloned();
        let patron_id = input.key.and_then(|key| std::str::from_utf8(key).ok());
        let (patron_row, said) = match patron_id {
            Some(id) => (row_of(table, partition, id), sayings.find(partition, id)),
            None => (None, None),
        };
        self.bound_holds(&before);
        let mut answers = std::mem::take(&mut self.answers);
        answers.sort_unstable_by_key(|answer| answer.recipient);
        let mut entries = Vec::with_capacity(answers.len());
        for &Answer { recipient, verdict } in &answers {
            let Some(program) = lane.recipients.get(recipient) else {
                continue;
            };
            let known = before.as_ref().and_then(|row| row.entry(place(recipient)));
            let has = known.filter(|entry| entry.outcome == Outcome::Released);
            let (facts, _) = self.facts(lane, program, (patron_row, said), now.ms());
            let counts = &mut tally.recipients[recipient];
            let refusal = match verdict {
                Verdict::Released {
                    output,
                    key,
                    hash,
                    sent,
                } => {
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
                    let term = self.terms.iter().find(|(index, _)| *index == recipient);
                    let mut entry = Entry::without(place(recipient), Outcome::Released, None);
                    entry.output = output;
                    entry.key = key;
                    entry.hash = hash;
                    entry.facts = facts;
                    entry.until_ms = term.map_or(i64::MAX, |(_, until_ms)| *until_ms);
                    entries.push(entry);
                    continue;
                }
                Verdict::Refused(refusal) => refusal,
            };
            let mut refusal = refusal;
            if let Some(entry) = has
                && refusal.keeps
            {
                if entry.until_ms > now.ms() {
                    due_ms = due_ms.min(entry.until_ms);
                    let mut entry = *entry;
                    entry.facts = facts;
                    entries.push(entry);
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
            };
            let (entry, count) = change.of(place(recipient), known, outbox);
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
            entries.extend(entry);
        }
        self.answers = answers;
        let row = Row {
            patron,
            source: source.place,
            offset,
            first_ms,
            due_ms,
            entries: entries.into(),
            others: before.as_ref().and_then(|row| row.others.clone()),
        };
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
        outbox.push(
            lane.state,
            Some(partition),
            Some(&text::name(key.0)),
            |out| {
                text::write(out, lane, partition, &row);
            },
        );
        if lives {
            self.state.put(partition, key, row, patron_id);
        } else {
            self.state.remove(partition, key);
        }
    }

    /// A hash of all but the record that decides what a recipient gets of it.
    /// And when time alone may change that, [`i64::MAX`] where never.
    fn facts(
        &self,
        lane: &Lane,
        program: &Program,
        (row, said): (Option<&table::Row>, Option<&Said>),
        now_ms: i64,
    ) -> (u64, i64) {
        let mut due_ms = i64::MAX;
        let gates = &program.gates;
        let mut hasher = self.namer.hasher();
        hasher.add(b'v', &self.policy.to_le_bytes());
        let value = |at: Ref| match (at.place, row) {
            (Place::Slot(slot), Some(row)) if at.joined => row.value(slot),
            _ => Value::Missing,
        };
        let own = |at: Ref| !at.joined;
        let implied = match &gates.consent {
            Some(gate) if gate.implied_by.is_some_and(own) => Implied::InRecord,
            Some(gate) => {
                let at = gate.implied_by.map_or(Value::Missing, value).as_text();
                Implied::At(at.and_then(super::gates::instant_ns))
            }
            None => Implied::At(None),
        };
        let standing = gates.standing(said, implied, now_ms, &mut due_ms);
        let stands = standing.is_ok();
        let shut = |reason: Option<Reason>| reason.map_or(u8::MAX, |reason| reason as u8);
        let refusal = standing.err();
        let reason = refusal.map(|refusal| refusal.reason);
        let unless = refusal.and_then(|refusal| refusal.unless);
        hasher.add(b's', &[shut(reason), shut(unless)]);
        if let (Implied::InRecord, Some(gate), Some(said)) = (implied, &gates.consent, said) {
            hasher.add(b'u', &[u8::from(said.consent_unreadable)]);
            let now_ns = now_ms.saturating_mul(1_000_000);
            let mut heard: Vec<[u8; 10]> = Vec::new();
            let speaking = said.consents.iter().filter(|consent| {
                consent.purpose == gate.asked.purpose
                    && consent
                        .recipient
                        .is_none_or(|one| one == gate.asked.recipient)
            });
            for consent in speaking {
                let decision = match consent.decision {
                    Decision::Grant { .. } if consent.at_ns > now_ns => {
                        // The first whole millisecond that is not before it.
                        due_ms = due_ms.min(consent.at_ns.saturating_sub(1) / 1_000_000 + 1);
                        continue;
                    }
                    Decision::Grant { written } => 1 + u8::from(written),
                    Decision::Refusal => 0,
                };
                let mut one = [0; 10];
                one[0] = decision;
                one[1] = u8::from(consent.recipient.is_some());
                one[2..].copy_from_slice(&consent.at_ns.to_le_bytes());
                heard.push(one);
            }
            heard.sort_unstable();
            hasher.add(b'c', heard.as_flattened());
        }
        let Some(row) = row.filter(|_| program.joined) else {
            return (hasher.end(), due_ms);
        };
        let active = gates.is_active(value);
        let mut term_ms = i64::MAX;
        let lapsed = gates.patron_term(value, now_ms, &mut term_ms).is_err();
        if stands {
            due_ms = due_ms.min(term_ms);
        }
        let authorised = program.authorised_ms;
        let authorised = authorised.is_some_and(|(from, until)| (from..until).contains(&now_ms));
        hasher.add(
            b'm',
            &[u8::from(active), u8::from(lapsed), u8::from(authorised)],
        );
        let hidden = program.authorised_ms.is_none()
            && program
                .card_fact
                .is_some_and(|fact| value(fact) == Value::Boolean(true));
        let hidden = program.joined_card.filter(|_| hidden);
        add(&mut hasher, row.value(ROW_LIBRARY));
        for need in &program.joined_needs {
            match need.place {
                Place::Slot(slot) if hidden == Some(slot) => add(&mut hasher, Value::Missing),
                Place::Slot(slot) => add(&mut hasher, row.value(slot)),
                Place::Element { list, slot } => {
                    if row.list_malformed(&lane.layout, list) {
                        add(&mut hasher, Value::Malformed);
                    }
                    for index in 0..row.list_len(&lane.layout, list) {
                        add(&mut hasher, row.element(&lane.layout, list, index, slot));
                    }
                    hasher.add(b'l', b"");
                }
            }
        }
        (hasher.end(), due_ms)
    }

    /// Something changed for a patron: looks at all its rows.
    pub(super) fn recheck(
        &mut self,
        lane: &Lane,
        of: (i32, &str),
        around: Around<'_>,
        tally: &mut Tally,
        outbox: &mut Outbox,
    ) {
        let patron = self.namer.patron(of.1);
        self.look(lane, (of, patron), true, around);
        // At once: what comes next in the batch may say something else.
        let mut back = std::mem::take(&mut self.back);
        for (place, refusal) in back.drain(..) {
            self.take_back(lane, place, refusal, tally, outbox);
        }
        self.back = back;
    }

    /// The same for the patron whose own record was just decided, but for that
    /// record.
    pub(super) fn recheck_records(&mut self, lane: &Lane, of: (i32, &str), around: Around<'_>) {
        let patron = self.current.patron;
        self.look(lane, (of, patron), false, around);
    }

    fn look(
        &mut self,
        lane: &Lane,
        ((partition, patron_id), patron): ((i32, &str), PatronRef),
        own: bool,
        around: Around<'_>,
    ) {
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        self.state.of_patron(partition, patron, &mut found);
        if !found.is_empty() {
            self.state.name(partition, patron, patron_id);
        }
        let known = around.0.find(partition, patron_id);
        for &key in &found {
            let Some(row) = self.state.find(partition, key) else {
                continue;
            };
            let is_own = lane.is_patron(row.source);
            if is_own && !own {
                continue;
            }
            let place = (partition, key);
            match known {
                Some(Known::Patron(patron)) => {
                    let said = around.1.find(partition, patron_id);
                    let stale = self.is_stale(lane, row, patron, said, around.2.ms());
                    if stale {
                        self.again.push(place);
                    }
                }
                Some(Known::Erased) => {
                    let refusal = Refusal::by(!is_own, Reason::PatronErased);
                    self.back.push((place, refusal));
                }
                Some(Known::Unreadable) => {
                    let refusal = Refusal::by(!is_own, Reason::PatronUnknown);
                    self.back.push((place, refusal));
                }
                None => {}
            }
        }
        self.found = found;
    }

    /// Whether a row's record may have to be decided in another way.
    fn is_stale(
        &self,
        lane: &Lane,
        row: &Row,
        patron: &table::Row,
        said: Option<&Said>,
        now_ms: i64,
    ) -> bool {
        if row.due_ms <= now_ms || (lane.is_patron(row.source) && row.offset != patron.offset()) {
            return true;
        }
        let mut living = row.entries.iter().filter(|entry| entry.lives());
        living.any(|entry| {
            let program = lane.recipients.get(usize::from(entry.recipient));
            match (entry.outcome, program) {
                (Outcome::Held, _) => true,
                (Outcome::Forgotten, _) | (_, None) => false,
                (_, Some(program)) => {
                    let (facts, due_ms) = self.facts(lane, program, (Some(patron), said), now_ms);
                    // What time will change may be nearer than the row says.
                    facts != entry.facts || (waits_for_time(entry) && due_ms < row.due_ms)
                }
            }
        })
    }

    /// Takes back all of a row, without its record.
    fn take_back(
        &mut self,
        lane: &Lane,
        (partition, key): (i32, RowKey),
        refusal: Refusal,
        tally: &mut Tally,
        outbox: &mut Outbox,
    ) {
        let Some(mut row) = self.state.find(partition, key).cloned() else {
            return;
        };
        let mut entries = Vec::with_capacity(row.entries.len());
        for known in &row.entries {
            let counts = &mut tally.recipients[usize::from(known.recipient)].later;
            let change = Change {
                refusal,
                facts: 0,
                after: After::Retract,
            };
            if !known.lives() {
                entries.push(*known);
                continue;
            }
            let (entry, count) = change.of(known.recipient, Some(known), outbox);
            if count == Count::Retracted {
                counts.retracted[refusal.reason as usize] += 1;
            }
            entries.extend(entry);
        }
        row.entries = entries.into();
        row.due_ms = i64::MAX;
        self.keep(lane, (partition, key), row, None, outbox);
    }

    /// A null on the patron source.
    pub(super) fn erase(
        &mut self,
        lane: &Lane,
        (partition, patron_id): (i32, &str),
        own: &Source,
        around: Around<'_>,
        tally: &mut Tally,
        outbox: &mut Outbox,
    ) {
        let key = self.key_of(own, "", patron_id);
        let row = self.state.find(partition, key).cloned();
        self.recheck(lane, (partition, patron_id), around, tally, outbox);
        for &recipient in &own.recipients {
            let entry = row.as_ref().and_then(|row| row.entry(place(recipient)));
            let counts = &mut tally.recipients[recipient];
            let count = if entry.is_some_and(Entry::is_sent) {
                // It was counted where it was taken back; it is the record's.
                counts.later.retracted[Reason::PatronErased as usize] -= 1;
                &mut counts.retracted
            } else {
                &mut counts.withheld
            };
            count[Reason::PatronErased as usize] += 1;
        }
    }

    /// Takes back what needs no record for that, and says which records are to
    /// be decided again: some of them at a time.
    pub(super) fn again(
        &mut self,
        lane: &Lane,
        table: &Table,
        tally: &mut Tally,
        outbox: &mut Outbox,
    ) -> Vec<Coordinates> {
        let from = self.back.len().saturating_sub(AGAIN_MAX);
        let mut back = self.back.split_off(from);
        for (place, refusal) in back.drain(..) {
            self.take_back(lane, place, refusal, tally, outbox);
        }
        self.asked.clear();
        let from = self.again.len().saturating_sub(AGAIN_MAX);
        for (partition, key) in self.again.drain(from..) {
            let Some(row) = self.state.find(partition, key) else {
                continue;
            };
            let own = self.own.get(usize::from(row.source)) == Some(&true);
            let newest = own
                .then(|| self.state.patron_id(partition, row.patron))
                .flatten()
                .and_then(|id| table.offset(partition, id));
            let place = Coordinates {
                source: SourceId(row.source),
                partition,
                offset: newest.unwrap_or(row.offset),
            };
            self.asked.push((place, key));
        }
        self.asked.sort_unstable();
        self.asked.dedup();
        self.asked.iter().map(|(place, _)| *place).collect()
    }

    pub(super) fn again_len(&self) -> usize {
        self.back.len() + self.again.len()
    }

    /// A record is to be decided again, and its source no longer has it.
    pub(super) fn gone(
        &mut self,
        lane: &Lane,
        at: Coordinates,
        (table, sayings, now): Around<'_>,
        tally: &mut Tally,
        outbox: &mut Outbox,
    ) {
        let found = self.asked.binary_search_by_key(&at, |(place, _)| *place);
        let Some(&(_, key)) = found.ok().and_then(|found| self.asked.get(found)) else {
            return;
        };
        let partition = at.partition;
        let Some(mut row) = self.state.find(partition, key).cloned() else {
            return;
        };
        let patron_id = self.state.patron_id(partition, row.patron);
        let patron = patron_id.and_then(|id| row_of(table, partition, id));
        let said = patron_id.and_then(|id| sayings.find(partition, id));
        let own = lane.is_patron(row.source);
        let mut due_ms = i64::MAX;
        let mut entries = Vec::with_capacity(row.entries.len());
        for known in &row.entries {
            let index = usize::from(known.recipient);
            let Some(program) = lane.recipients.get(index).filter(|_| known.lives()) else {
                entries.push(*known);
                continue;
            };
            let counts = &mut tally.recipients[index].later;
            let (facts, change_ms) = self.facts(lane, program, (patron, said), now.ms());
            due_ms = due_ms.min(change_ms);
            let stale = own || patron.is_none() || facts != known.facts;
            let released = known.outcome == Outcome::Released;
            let implied = Implied::InRecord;
            let gates = &program.gates;
            let standing = gates.standing(said, implied, now.ms(), &mut due_ms);
            let refusal = match standing {
                _ if known.outcome == Outcome::Forgotten => None,
                _ if known.outcome == Outcome::Held => Some(Reason::SourceGone),
                _ if released && known.until_ms <= now.ms() => Some(Reason::Lapsed),
                Err(refusal) if released && stale && !refusal.keeps => {
                    Some(refusal.unless.unwrap_or(refusal.reason))
                }
                Err(refusal) if released && refusal.keeps => None,
                _ if stale => Some(Reason::SourceGone),
                _ => None,
            };
            let Some(reason) = refusal else {
                due_ms = due_ms.min(known.until_ms);
                entries.push(*known);
                continue;
            };
            counts.gone += u64::from(reason == Reason::SourceGone);
            if known.outcome == Outcome::Held {
                let source = &lane.sources[usize::from(row.source)];
                let at = (partition, row.offset);
                let of = (reason, Some(program.name.as_str()));
                letter(lane, source, at, now, of, tally, outbox);
                continue;
            }
            let change = Change {
                refusal: Refusal::lasting(reason),
                facts,
                after: gates.retention.after,
            };
            let (entry, count) = change.of(known.recipient, Some(known), outbox);
            let counts = &mut tally.recipients[index].later;
            match count {
                Count::Retracted => counts.retracted[reason as usize] += 1,
                Count::Forgotten => counts.forgotten += 1,
                Count::Held | Count::Withheld => {}
            }
            entries.extend(entry);
        }
        row.entries = entries.into();
        row.due_ms = due_ms;
        self.keep(lane, (partition, key), row, None, outbox);
    }

    /// Compares each row of a partition with what is known of its patron.
    pub(super) fn reconcile(&mut self, lane: &Lane, partition: i32, around: Around<'_>) {
        if self.state.rows(partition).next().is_none() {
            return;
        }
        for patron in around.0.rows(partition) {
            let id = patron.patron_id();
            let named = ((partition, id), self.namer.patron(id));
            self.look(lane, named, true, around);
        }
        // What is left has a patron that the source no longer has at all: it
        // was erased, and that was compacted away; or it never came.
        let left = self.state.rows(partition);
        let left = left.filter(|(_, row)| self.state.patron_id(partition, row.patron).is_none());
        let left: Vec<(RowKey, u16)> = left.map(|(key, row)| (key, row.source)).collect();
        for (key, source) in left {
            let waits = |row: &Row| row.is_held() && !row.entries.iter().any(Entry::is_sent);
            if self.state.find(partition, key).is_some_and(waits) {
                continue;
            }
            let refusal = Refusal::by(!lane.is_patron(source), Reason::PatronErased);
            self.back.push(((partition, key), refusal));
        }
    }

    /// Looks for what time alone changed.
    pub(super) fn sweep(
        &mut self,
        lane: &Lane,
        now: &BatchTime,
        tally: &mut Tally,
        outbox: &mut Outbox,
    ) {
        let waited_ms = now.ms().saturating_sub(self.holds.term_ms);
        let mut expired = Vec::new();
        for (partition, key, row) in self.state.all() {
            if row.due_ms <= now.ms() {
                self.again.push((partition, key));
            }
            if row.is_held() && row.first_ms <= waited_ms {
                expired.push((partition, key));
            }
        }
        for (partition, key) in expired {
            let Some(mut row) = self.state.find(partition, key).cloned() else {
                continue;
            };
            if let Some(source) = lane.sources.get(usize::from(row.source)) {
                let at = (partition, row.offset);
                let reason = (Reason::HoldExpired, None);
                letter(lane, source, at, now, reason, tally, outbox);
            }
            let kept = row.entries.iter().copied();
            row.entries = kept
                .filter(|entry| entry.outcome != Outcome::Held)
                .collect();
            self.keep(lane, (partition, key), row, None, outbox);
        }
    }
}

/// What becomes of a recipient's entry when it may not have a record.
struct Change {
    refusal: Refusal,
    facts: u64,
    after: After,
}

/// What it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Retracted,
    Withheld,
    Held,
    Forgotten,
}

impl Change {
    fn of(
        &self,
        recipient: u16,
        known: Option<&Entry>,
        outbox: &mut Outbox,
    ) -> (Option<Entry>, Count) {
        let Refusal { reason, owed, .. } = self.refusal;
        let has = known.filter(|entry| entry.outcome == Outcome::Released);
        let forgotten = known.filter(|entry| entry.outcome == Outcome::Forgotten);
        if let Some(entry) = forgotten
            && reason != Reason::PatronErased
        {
            return (Some(*entry), Count::Withheld);
        }
        if let Some(entry) = has
            && reason == Reason::Lapsed
            && self.after == After::Forget
        {
            let mut entry = *entry;
            entry.outcome = Outcome::Forgotten;
            entry.reason = Some(reason);
            entry.hash = 0;
            entry.until_ms = i64::MAX;
            entry.facts = 0;
            return (Some(entry), Count::Forgotten);
        }
        let sent = has.or(forgotten);
        if let Some(entry) = sent {
            push_null(outbox, entry);
        }
        let taken_back = sent.is_some();
        let waits = reason == Reason::PatronUnknown && owed;
        let outcome = if waits {
            Outcome::Held
        } else if taken_back {
            Outcome::Retracted
        } else {
            Outcome::Withheld
        };
        let mut entry = Entry::without(recipient, outcome, Some(reason));
        entry.owed = owed;
        entry.facts = self.facts;
        let before = known.filter(|known| known.outcome == Outcome::Retracted);
        if let (Some(before), Outcome::Withheld) = (before, outcome) {
            // It still says why it was taken back.
            entry.outcome = Outcome::Retracted;
            entry.reason = before.reason;
        }
        let count = match (taken_back, waits) {
            (true, _) => Count::Retracted,
            (false, true) => Count::Held,
            (false, false) => Count::Withheld,
        };
        let tells = entry.lives() || entry.outcome == Outcome::Retracted;
        (tells.then_some(entry), count)
    }
}

/// Whether a dead letter says that one recipient does not get a record.
pub(super) fn tells_upstream(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Malformed | Reason::TooLarge | Reason::HoldFull
    )
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
    match table.find(partition, patron_id) {
        Some(Known::Patron(row)) => Some(row),
        Some(Known::Erased | Known::Unreadable) | None => None,
    }
}

/// Adds a value, and what it is.
fn add(hasher: &mut super::state::Hasher, value: Value<'_>) {
    match value {
        Value::Missing => hasher.add(b'-', b""),
        Value::Malformed => hasher.add(b'!', b""),
        Value::Boolean(truth) => hasher.add(b'b', &[u8::from(truth)]),
        Value::Number(written) => hasher.add(b'n', written.as_bytes()),
        Value::Text { text, .. } => hasher.add(b't', text.as_bytes()),
    }
}
