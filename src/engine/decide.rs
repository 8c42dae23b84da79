//! Decide: what comes of a record that was read, for each recipient of its
//! source.
//!
//! All recipients are judged first, and what each of them needs hashed is begun;
//! then outputs are written, one recipient after the other.

use super::admit::{admit, route, without_patron};
use super::dead_letter::DeadLetter;
use super::gates::Refusal;
use super::holding::{Holding, Met, Verdict, tells_upstream};
use super::inspect::LeftOut;
use super::lane::{Facts, Lane, Program, Source};
use super::pipeline::BatchTime;
use super::project::{Projector, Remarks};
use super::table::Row;
use super::tally::{Noted, Seen, Tally};
use crate::policy::catalogue::Role;
use crate::policy::pseudonym::{Begun, PSEUDONYM_LENGTH, Pseudonym};
use crate::policy::reason::Reason;
use crate::transport::{Input, Outbox, OutputId};

/// The buffers of deciding, used again for every record.
#[derive(Debug, Default)]
pub(super) struct Decider {
    projector: Projector,
    admitted: Vec<Admitted>,
    /// What projecting one output met with.
    remarks: Remarks,
}

/// A recipient that may have the record at hand.
#[derive(Clone, Copy, Debug)]
struct Admitted {
    /// Its place in the lane.
    recipient: usize,
    /// Where the output goes.
    output: OutputId,
    /// The output's key, where its field is there.
    key: Option<Begun>,
}

/// A message that is decided, and for whom.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) lane: &'a Lane,
    pub(super) source: &'a Source,
    pub(super) input: &'a Input<'a>,
}

/// The patron of a record.
#[derive(Clone, Copy)]
pub(super) enum Patron<'a> {
    /// The record's kind is not joined with patrons.
    Nobody,
    Known(&'a Row),
    Erased,
    /// The record is of whoever had the id before an erasure.
    Former,
    Unknown,
}

/// What deciding a message writes to.
pub(super) struct Hand<'a> {
    pub(super) case: Case<'a>,
    pub(super) now: &'a BatchTime,
    /// What recipients have; none where records are only decided.
    pub(super) holding: Option<&'a mut Holding>,
    pub(super) tally: &'a mut Tally,
    pub(super) outbox: &'a mut Outbox,
}

impl Decider {
    pub(super) fn projector(&mut self) -> &mut Projector {
        &mut self.projector
    }

    /// Decides the record of `facts` for all recipients of its source. Says when
    /// time alone may change an answer.
    pub(super) fn decide(
        &mut self,
        hand: &mut Hand<'_>,
        facts: &Facts<'_>,
        patron: Patron<'_>,
    ) -> i64 {
        self.projector.next_record();
        let due_ms = self.admit(hand, facts, patron);
        self.release(hand, facts);
        due_ms
    }

    /// Judges the record for each recipient, and begins the keys of outputs: they
    /// are hashed while the next recipient is judged.
    #[inline(never)]
    fn admit(&mut self, hand: &mut Hand<'_>, facts: &Facts<'_>, patron: Patron<'_>) -> i64 {
        let Case { lane, source, .. } = hand.case;
        let mut due_ms = i64::MAX;
        self.admitted.clear();
        // Recipients that ask the same in a row are answered once, where the first
        // of them may have the record: until when.
        let shared = facts.said.is_none() && !facts.record.malformed();
        let mut before: Option<(i64, i64)> = None;
        for &recipient in &source.recipients {
            let Some(program) = lane.recipients.get(recipient) else {
                continue;
            };
            let mut first_ms = facts.now_ms;
            if let Some(holding) = &mut hand.holding {
                if !holding.asks(recipient) {
                    holding.answer(recipient, Verdict::Final);
                    before = None;
                    continue;
                }
                first_ms = holding.first_ms(recipient);
            }
            let narrowed = facts.narrowed(program);
            let facts = narrowed.as_ref().unwrap_or(facts);
            let answer = match before {
                Some((first, until_ms))
                    if shared && program.asks_like_before && first == first_ms =>
                {
                    Ok(until_ms)
                }
                _ => judge(facts, (source, program), patron, first_ms, &mut due_ms),
            };
            before = answer.ok().map(|until_ms| (first_ms, until_ms));
            let routed = |until_ms| Ok((route(facts, &program.route)?, until_ms));
            match answer.and_then(routed) {
                Ok((output, until_ms)) => {
                    self.admitted.push(Admitted {
                        recipient,
                        output,
                        key: self.projector.begin_key(facts, program),
                    });
                    if let Some(holding) = &mut hand.holding {
                        holding.admit(recipient, until_ms);
                    }
                }
                Err(refusal) => hand.refuse(recipient, refusal),
            }
        }
        due_ms
    }

    /// Writes the outputs of the recipients that may have the record.
    #[inline(never)]
    fn release(&mut self, hand: &mut Hand<'_>, facts: &Facts<'_>) {
        let anybody = !self.admitted.is_empty();
        let suspected = anybody.then(|| facts.suspected(hand.case.source)).flatten();
        let facts = suspected.as_ref().unwrap_or(facts);
        for &Admitted {
            recipient,
            output,
            key,
        } in &self.admitted
        {
            let Some(program) = hand.case.lane.recipients.get(recipient) else {
                continue;
            };
            // Another row of the patron may bring an output all the same.
            let refusal = |reason| Refusal::by(!program.joined_needs.is_empty(), reason);
            let Some(begun) = key else {
                hand.refuse(recipient, refusal(Reason::KeyMissing));
                continue;
            };
            let key = program.pseudonymiser.end(begun);
            let narrowed = facts.narrowed(program);
            let facts = narrowed.as_ref().unwrap_or(facts);
            let to = (&mut *hand.outbox, output);
            let written = write(
                &mut self.projector,
                facts,
                program,
                &key,
                to,
                &mut self.remarks,
            );
            match written {
                Ok(bytes) => {
                    let seen = program.notices.then_some(&self.remarks.seen);
                    let sent = hand.released(recipient, (output, &key), bytes, seen);
                    if !self.remarks.left_out.is_empty() {
                        hand.left_out(recipient, &self.remarks.left_out, sent);
                    }
                }
                Err(reason) => hand.refuse(recipient, refusal(reason)),
            }
        }
    }
}

impl Hand<'_> {
    /// Counts an output that was written; takes it back where the recipient has
    /// the same already. Returns whether it is sent.
    #[inline]
    fn released(
        &mut self,
        recipient: usize,
        (output, key): (OutputId, &Pseudonym),
        bytes: usize,
        seen: Option<&Seen>,
    ) -> bool {
        let sent = match &mut self.holding {
            Some(holding) => holding.release(recipient, output, key, self.outbox),
            None => true,
        };
        let tally = &mut self.tally.recipients[recipient];
        tally.released += u64::from(self.holding.is_none());
        if sent {
            tally.bytes += bytes as u64;
            if let Some(seen) = seen {
                tally.seen.absorb(seen);
            }
        }
        sent
    }

    /// Counts what was left out of an output, and tells upstream, where the record
    /// arrived or the output is sent.
    #[cold]
    #[inline(never)]
    fn left_out(&mut self, recipient: usize, left_out: &[LeftOut], sent: bool) {
        let holding = self.holding.as_ref();
        if !sent && !holding.is_none_or(|holding| holding.met() == Met::First) {
            return;
        }
        let Case {
            lane,
            source,
            input,
        } = self.case;
        self.tally.recipients[recipient].left_out += left_out.len() as u64;
        let program = &lane.recipients[recipient];
        for one in left_out {
            let step = program.steps.get(one.step);
            let field = step.map(|step| step.name_of(one.part));
            let letter = Letter {
                place: (input.partition, input.offset),
                reason: Reason::NationalNumber,
                recipient: Some(&program.name),
                field: field.as_deref(),
            };
            letter.write((lane, source), self.now, self.tally, self.outbox);
        }
    }

    /// A recipient does not get the record.
    #[inline(never)]
    fn refuse(&mut self, recipient: usize, refusal: Refusal) {
        match &mut self.holding {
            Some(holding) => holding.answer(recipient, Verdict::Refused(refusal)),
            None if refusal.reason == Reason::PatronUnknown => {
                self.tally.recipients[recipient].held += 1;
            }
            None => self.withhold(recipient, refusal.reason),
        }
    }

    /// Counts that a recipient does not get a record, and tells upstream where
    /// that is the record's fault.
    fn withhold(&mut self, recipient: usize, reason: Reason) {
        self.tally.recipients[recipient].withheld[reason as usize] += 1;
        if tells_upstream(reason) {
            let name = self.case.lane.recipients[recipient].name.as_str();
            let why = (reason, Some(name));
            self.case.letter(self.now, why, self.tally, self.outbox);
        }
    }
}

impl Case<'_> {
    /// Writes a dead letter, for a recipient or for all, and counts it.
    pub(super) fn letter(
        self,
        now: &BatchTime,
        why: (Reason, Option<&str>),
        tally: &mut Tally,
        outbox: &mut Outbox,
    ) {
        let place = (self.input.partition, self.input.offset);
        letter(self.lane, self.source, place, now, why, tally, outbox);
    }
}

/// Writes a dead letter, for a recipient or for all, and counts it.
pub(super) fn letter(
    lane: &Lane,
    source: &Source,
    place: (i32, i64),
    now: &BatchTime,
    (reason, recipient): (Reason, Option<&str>),
    tally: &mut Tally,
    outbox: &mut Outbox,
) {
    let letter = Letter {
        place,
        reason,
        recipient,
        field: None,
    };
    letter.write((lane, source), now, tally, outbox);
}

/// A dead letter about a record of some source.
struct Letter<'a> {
    /// The record's partition and offset.
    place: (i32, i64),
    reason: Reason,
    recipient: Option<&'a str>,
    /// The field of the output that it is about.
    field: Option<&'a str>,
}

impl Letter<'_> {
    fn write(
        &self,
        (lane, source): (&Lane, &Source),
        now: &BatchTime,
        tally: &mut Tally,
        outbox: &mut Outbox,
    ) {
        let (partition, offset) = self.place;
        let noted = Noted {
            source: usize::from(source.place),
            partition,
            offset,
            reason: self.reason,
        };
        tally.count_dead_letter(noted, source.kind.role != Role::Record);
        let letter = DeadLetter {
            lane: &lane.name,
            topic: &source.topic,
            partition,
            offset,
            reason: self.reason,
            recipient: self.recipient,
            field: self.field,
            policy_version: &lane.policy_version,
            time: now.text(),
        };
        outbox.push(lane.dead_letters, None, None, |out| letter.write(out));
    }
}

/// Until when a recipient may have a record, if it may.
#[inline]
fn judge(
    facts: &Facts<'_>,
    (source, program): (&Source, &Program),
    patron: Patron<'_>,
    first_ms: i64,
    due_ms: &mut i64,
) -> Result<i64, Refusal> {
    match patron {
        Patron::Erased => {
            let is_patron = source.kind.role == Role::Patron;
            Err(Refusal::by(!is_patron, Reason::PatronErased))
        }
        Patron::Former => Err(Refusal::lasting(Reason::PatronErased)),
        Patron::Unknown => {
            without_patron(facts, source, program).map_err(Refusal::lasting)?;
            Err(Refusal::owed(Reason::PatronUnknown))
        }
        Patron::Known(_) | Patron::Nobody => {
            admit(facts, source, program, due_ms)?;
            in_term(facts, program, first_ms, due_ms)
        }
    }
}

/// When the recipient's term for a record is over, where it is not yet.
pub(super) fn in_term(
    facts: &Facts<'_>,
    program: &Program,
    first_ms: i64,
    due_ms: &mut i64,
) -> Result<i64, Refusal> {
    let until_ms = program.gates.until_ms(facts, first_ms);
    if until_ms <= facts.now_ms {
        let retention = &program.gates.retention;
        let joined = retention.from.joined || retention.of_membership;
        return Err(Refusal::by(joined, Reason::Lapsed));
    }
    *due_ms = (*due_ms).min(until_ms);
    Ok(until_ms)
}

/// Writes the output of a record for one recipient; returns its bytes.
#[inline]
fn write(
    projector: &mut Projector,
    facts: &Facts<'_>,
    program: &Program,
    key: &Pseudonym,
    (outbox, output): (&mut Outbox, OutputId),
    remarks: &mut Remarks,
) -> Result<usize, Reason> {
    if program.notices {
        remarks.seen = Seen::default();
    }
    outbox.write(output, None, |page, start| {
        let start = page.words(start, key.words(), PSEUDONYM_LENGTH);
        let end = projector.project(facts, program, key, (page, start), remarks);
        if end - start > facts.lane.output_bytes_max {
            return Err(Reason::TooLarge);
        }
        Ok((Some(start), end))
    })
}
