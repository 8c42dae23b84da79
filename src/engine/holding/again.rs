//! Deciding again: what a patron, a consent, an objection or time changed.

use super::anew::waits;
use super::change::{Change, Count};
use super::former::{self, Left};
use super::{AGAIN_MAX, Around, Holding, place, row_of, waits_for_time};
use crate::engine::decide::letter;
use crate::engine::gates::{Implied, Person, Refusal};
use crate::engine::lane::{Lane, ROW_LIBRARY, Source};
use crate::engine::patrons::Epoch;
use crate::engine::pipeline::BatchTime;
use crate::engine::said::Said;
use crate::engine::state::{Entries, Entry, Outcome, PatronRef, Row, RowKey};
use crate::engine::table::{self, Known, Table};
use crate::engine::tally::{ByReason, Tally};
use crate::policy::reason::Reason;
use crate::policy::recipient::After;
use crate::transport::{Appended, Coordinates, Input, Outbox, SourceId};

impl Holding {
    /// Something changed for a patron: looks at all its rows.
    pub(in crate::engine) fn recheck(
        &mut self,
        lane: &Lane,
        of: (i32, &str),
        around: Around<'_>,
        tally: &mut Tally,
        outbox: &mut Outbox,
    ) {
        let patron = self.namer.patron(of.1);
        let first = self.again.len();
        self.look(lane, (of, patron), true, around);
        self.queue_once(first);
        // At once: what comes next in the batch may say something else.
        let mut back = std::mem::take(&mut self.back);
        for (place, refusal) in back.drain(..) {
            self.take_back(lane, (place, around.2), refusal, tally, outbox);
        }
        self.back = back;
    }

    /// The same for the patron whose own record was just decided, but for that
    /// record.
    pub(in crate::engine) fn recheck_records(
        &mut self,
        lane: &Lane,
        of: (i32, &str),
        around: Around<'_>,
    ) {
        let patron = self.current.patron;
        let first = self.again.len();
        self.look(lane, (of, patron), false, around);
        self.queue_once(first);
    }

    /// Drops from the rows that were queued from `first` on those that wait already:
    /// a patron with many records who says much queues each of them once.
    fn queue_once(&mut self, first: usize) {
        let mut kept = first;
        for place in first..self.again.len() {
            let row = self.again[place];
            if self.queued.insert(row) {
                self.again[kept] = row;
                kept += 1;
            }
        }
        self.again.truncate(kept);
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
        if !own {
            found.retain(|key| *key != self.current.key);
        }
        if found.is_empty() {
            self.found = found;
            return;
        }
        self.state.name(partition, patron, patron_id);
        let epoch = self.patrons.epoch(partition, patron);
        let known = around.0.find(partition, patron_id);
        // What decides beside a record is the same for all of the patron's.
        let mut facts = std::mem::take(&mut self.facts_at_hand);
        facts.clear();
        facts.resize(lane.recipients.len(), None);
        for &key in &found {
            let Some(row) = self.state.find(partition, key) else {
                continue;
            };
            let is_own = lane.is_patron(row.source);
            let place = (partition, key);
            match known {
                Some(Known::Patron(patron)) => {
                    let said = around.1.find(partition, patron_id);
                    let beside = (patron, said, around.2.ms());
                    let stale = self.is_stale(lane, row, beside, &mut facts);
                    if stale || (!is_own && may_outlive(row, epoch)) {
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
        self.facts_at_hand = facts;
        self.found = found;
    }

    /// Whether a row's record may have to be decided in another way.
    fn is_stale(
        &self,
        lane: &Lane,
        row: &Row,
        (patron, said, now_ms): (&table::Row, Option<&Said>, i64),
        known: &mut [Option<(u64, i64)>],
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
                    let known = &mut known[usize::from(entry.recipient)];
                    let (facts, due_ms) = *known.get_or_insert_with(|| {
                        self.facts(lane, program, (Some(patron), said), now_ms)
                    });
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
        ((partition, key), now): ((i32, RowKey), &BatchTime),
        refusal: Refusal,
        tally: &mut Tally,
        outbox: &mut Outbox,
    ) {
        let Some(row) = self.state.find(partition, key).cloned() else {
            return;
        };
        let mut change = Change {
            refusal,
            facts: 0,
            after: After::Retract,
            now_ms: now.ms(),
            waits: false,
        };
        let mut entries = Entries::with_capacity(row.entries.len());
        let removed = refusal.reason == Reason::RecipientRemoved;
        for known in &row.entries {
            let served = lane.serves(known.recipient);
            if !known.lives() || (served && removed) {
                entries.keep(*known, &row);
                continue;
            }
            if !served {
                match former::take_back(lane, (known, &row), &change, outbox) {
                    Left::Stays => entries.keep(*known, &row),
                    Left::TakenBack(entry) => entries.keep(entry, &row),
                }
                continue;
            }
            let counts = &mut tally.recipients[usize::from(known.recipient)].later;
            change.waits = self.holds_nulls(known.recipient);
            let (entry, count) = change.of(known.recipient, Some(known), outbox);
            if count == Count::Retracted {
                counts.retracted[refusal.reason as usize] += 1;
            }
            if let Some(entry) = entry {
                entries.keep(entry, &row);
            }
        }
        let mut row = row.with(entries);
        if !removed {
            row.due_ms = i64::MAX;
        }
        self.keep(lane, (partition, key), row, None, outbox);
    }

    /// A null on the patron source, whatever is known of its patron now: ends what
    /// its id meant before.
    pub(in crate::engine) fn end_epoch(
        &mut self,
        lane: &Lane,
        input: &Input<'_>,
        patron_id: &str,
        outbox: &mut Outbox,
    ) -> Option<Epoch> {
        let erasure = self.erasure(input, patron_id);
        let of = (lane, &self.namer);
        self.patrons.erase(of, erasure, outbox);
        self.patrons.epoch(input.partition, erasure.patron)
    }

    /// A patron was erased, and is known again: each of its records is decided
    /// again, as no one but its source can say when it came.
    pub(in crate::engine) fn recheck_all(&mut self, lane: &Lane, partition: i32, patron_id: &str) {
        let patron = self.namer.patron(patron_id);
        self.found.clear();
        self.state.of_patron(partition, patron, &mut self.found);
        for &key in &self.found {
            let row = self.state.find(partition, key);
            if row.is_some_and(|row| !lane.is_patron(row.source)) {
                self.again.push((partition, key));
            }
        }
    }

    /// A null on the patron source.
    pub(in crate::engine) fn erase(
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
            let taken_back =
                entry.is_some_and(Entry::is_sent) && !self.holds_nulls(place(recipient));
            let count = if taken_back {
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
    pub(in crate::engine) fn again(
        &mut self,
        lane: &Lane,
        (table, now): (&Table, &BatchTime),
        tally: &mut Tally,
        outbox: &mut Outbox,
    ) -> Vec<Coordinates> {
        let from = self.back.len().saturating_sub(AGAIN_MAX);
        let mut back = self.back.split_off(from);
        for (place, refusal) in back.drain(..) {
            self.take_back(lane, (place, now), refusal, tally, outbox);
        }
        self.asked.clear();
        self.anew.at_hand = self.anew.len() > 0;
        if self.anew.at_hand {
            self.asked.extend(self.anew.take(AGAIN_MAX));
            return self.asked.iter().map(|(place, _)| *place).collect();
        }
        let from = self.again.len().saturating_sub(AGAIN_MAX);
        for (partition, key) in self.again.drain(from..) {
            self.queued.remove(&(partition, key));
            let Some(row) = self.state.find(partition, key) else {
                continue;
            };
            let newest = lane
                .is_patron(row.source)
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

    pub(in crate::engine) fn again_len(&self) -> usize {
        self.back.len() + self.again.len() + self.anew.len()
    }

    /// A record is to be decided again, and its source no longer has it.
    pub(in crate::engine) fn gone(
        &mut self,
        lane: &Lane,
        at: Coordinates,
        (table, sayings, now): Around<'_>,
        tally: &mut Tally,
        outbox: &mut Outbox,
    ) {
        let Some(key) = self.asked_at(at) else {
            return;
        };
        let partition = at.partition;
        let Some(row) = self.state.find(partition, key).cloned() else {
            return;
        };
        let patron_id = self.state.patron_id(partition, row.patron);
        let patron = patron_id.and_then(|id| row_of(table, partition, id));
        let said = patron_id.and_then(|id| sayings.find(partition, id));
        let own = lane.is_patron(row.source);
        let epoch = self.patrons.epoch(partition, row.patron);
        let former = !own && may_outlive(&row, epoch);
        let mut due_ms = i64::MAX;
        let mut entries = Entries::with_capacity(row.entries.len());
        for known in &row.entries {
            let index = usize::from(known.recipient);
            let Some(program) = lane.recipients.get(index).filter(|_| known.lives()) else {
                entries.keep(*known, &row);
                continue;
            };
            let counts = &mut tally.recipients[index].later;
            let (facts, change_ms) = self.facts(lane, program, (patron, said), now.ms());
            due_ms = due_ms.min(change_ms);
            let stale = own || patron.is_none() || facts != known.facts;
            let released = known.outcome == Outcome::Released;
            let implied = Implied::InRecord;
            let gates = &program.gates;
            let library = patron.and_then(|row| row.value(ROW_LIBRARY).as_text());
            let person = Person { said, library };
            let standing = gates.standing(person, implied, now.ms(), &mut due_ms);
            let refusal = match standing {
                _ if former => Some(Reason::PatronErased),
                // It can no longer be made.
                _ if self.is_unpublished(known) => Some(Reason::SourceGone),
                _ if known.outcome == Outcome::Forgotten => None,
                _ if known.outcome == Outcome::Held => Some(Reason::SourceGone),
                _ if released && known.until_ms() <= now.ms() => Some(Reason::Lapsed),
                Err(refusal) if released && stale && !refusal.keeps => {
                    Some(refusal.unless.unwrap_or(refusal.reason))
                }
                Err(refusal) if released && refusal.keeps => None,
                _ if stale => Some(Reason::SourceGone),
                _ => None,
            };
            let Some(reason) = refusal else {
                due_ms = due_ms.min(known.until_ms());
                entries.keep(*known, &row);
                continue;
            };
            counts.gone += u64::from(reason == Reason::SourceGone);
            if known.outcome == Outcome::Held && !former {
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
                now_ms: now.ms(),
                waits: self.holds_nulls(known.recipient),
            };
            let (entry, count) = change.of(known.recipient, Some(known), outbox);
            let counts = &mut tally.recipients[index].later;
            match count {
                Count::Retracted => counts.retracted[reason as usize] += 1,
                Count::Forgotten => counts.forgotten += 1,
                Count::Held | Count::Withheld => {}
            }
            if let Some(entry) = entry {
                entries.keep(entry, &row);
            }
        }
        let mut row = row.with(entries);
        row.due_ms = due_ms;
        self.keep(lane, (partition, key), row, None, outbox);
    }

    /// Compares each row of a partition with what is known of its patron.
    pub(in crate::engine) fn reconcile(&mut self, lane: &Lane, partition: i32, around: Around<'_>) {
        if self.state.rows(partition).next().is_none() {
            return;
        }
        self.find_refill(lane, partition);
        for patron in around.0.rows(partition) {
            let id = patron.patron_id();
            let named = ((partition, id), self.namer.patron(id));
            let (back, again) = (self.back.len(), self.again.len());
            self.look(lane, named, true, around);
            self.foresee_back(back);
            let known = row_of(around.0, partition, id);
            let person = Person {
                said: around.1.find(partition, id),
                library: known.and_then(|row| row.value(ROW_LIBRARY).as_text()),
            };
            self.foresee_again(lane, again, person, around.2.ms());
        }
        // What is left has a patron that the source no longer has at all: it
        // was erased, and that was compacted away; or it never came.
        let left = self.state.rows(partition);
        let left = left.filter(|(_, row)| self.state.patron_id(partition, row.patron).is_none());
        let left: Vec<(RowKey, u16)> = left.map(|(key, row)| (key, row.source)).collect();
        let back = self.back.len();
        for (key, source) in left {
            if self.state.find(partition, key).is_some_and(waits) {
                continue;
            }
            let refusal = Refusal::by(!lane.is_patron(source), Reason::PatronErased);
            self.back.push(((partition, key), refusal));
        }
        self.foresee_back(back);
    }

    /// Counts what the rows from `first` on that are to be taken back take from
    /// recipients.
    fn foresee_back(&mut self, first: usize) {
        for ((partition, key), refusal) in &self.back[first..] {
            let row = self.state.find(*partition, *key);
            for entry in row.map_or(&[][..], |row| &row.entries) {
                if entry.is_sent() {
                    count(&mut self.foreseen, entry, refusal.reason);
                }
            }
        }
    }

    /// Counts what a patron's word takes back, of the rows from `first` on that
    /// are to be decided again.
    fn foresee_again(&mut self, lane: &Lane, first: usize, person: Person<'_>, now_ms: i64) {
        for (partition, key) in &self.again[first..] {
            let row = self.state.find(*partition, *key);
            for entry in row.map_or(&[][..], |row| &row.entries) {
                let program = lane.recipients.get(usize::from(entry.recipient));
                let Some(program) = program.filter(|_| entry.outcome == Outcome::Released) else {
                    continue;
                };
                let mut due_ms = i64::MAX;
                let gates = &program.gates;
                let standing = gates.standing(person, Implied::InRecord, now_ms, &mut due_ms);
                if let Err(refusal) = standing
                    && !refusal.keeps
                {
                    let reason = refusal.unless.unwrap_or(refusal.reason);
                    count(&mut self.foreseen, entry, reason);
                }
            }
        }
    }

    /// Looks for what time alone changed.
    pub(in crate::engine) fn sweep(
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
            let held = row.entries.iter().filter_map(Entry::held_ms);
            if held.min().is_some_and(|held_ms| held_ms <= waited_ms) {
                expired.push((partition, key));
            }
        }
        for (partition, key) in expired {
            let Some(row) = self.state.find(partition, key).cloned() else {
                continue;
            };
            if let Some(source) = lane.sources.get(usize::from(row.source)) {
                let at = (partition, row.offset);
                let reason = (Reason::HoldExpired, None);
                letter(lane, source, at, now, reason, tally, outbox);
            }
            let mut entries = Entries::with_capacity(row.entries.len());
            for entry in &row.entries {
                if entry.held_ms().is_none_or(|held_ms| held_ms > waited_ms) {
                    entries.keep(*entry, &row);
                }
            }
            let row = row.with(entries);
            self.keep(lane, (partition, key), row, None, outbox);
        }
    }
}

fn count(counts: &mut [ByReason], entry: &Entry, reason: Reason) {
    if let Some(counts) = counts.get_mut(usize::from(entry.recipient)) {
        counts[reason as usize] += 1;
    }
}

/// Whether a row may be of a record that came before its patron was erased, to
/// whom the id belongs no longer. It is certain where its source has the record.
fn may_outlive(row: &Row, epoch: Option<Epoch>) -> bool {
    epoch.is_some_and(|epoch| {
        let until_ms = epoch.at.ms.saturating_add(Appended::MARGIN_MS);
        row.first_ms <= until_ms
    })
}
