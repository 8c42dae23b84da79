//! The mark of each partition, as far as the engine knows what it says: the
//! policy, the keys, the rows, and what recipients have.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Holding;
use crate::engine::gates::Refusal;
use crate::engine::lane::Lane;
use crate::engine::state::{Entry, Outcome, RowKey, text};
use crate::policy::former;
use crate::policy::reason::Reason;
use crate::transport::commands::Commands;
use crate::transport::continuity::{
    self, CLOCK_TOLERANCE_MS, Finding, FindingKind, KeyPrint, MARK_KEY, Mark, MarkError, Position,
    code_of,
};
use crate::transport::{Fault, Input, Outbox};

/// The name of zeef's own key in marks.
pub const STATE_PRINT: &str = "state";

/// What a lane's marks depend on beside its rows.
#[derive(Clone, Debug, Default)]
pub struct Continuity {
    /// The keys in use, by recipient, and `state`.
    pub keys: BTreeMap<String, KeyPrint>,
    /// What operators asked for.
    pub commands: Arc<Commands>,
    /// The generation of the process's policy; 0 until a mark was met. All
    /// workers of a lane share it.
    pub generation: Arc<AtomicU64>,
}

/// What is known of one partition's mark.
#[derive(Clone, Debug, Default)]
struct PartitionMark {
    /// As it was written last; `None` where none ever was. Shared with `undo`.
    last: Option<Arc<Mark>>,
    /// There are rows.
    rows: bool,
    /// All records were decided under the lane's policy, for all its recipients.
    own: bool,
    /// Its records are to be decided anew for another cause than the policy.
    again: bool,
    /// The recipients to which all that they have is sent again.
    refills: Vec<u16>,
    /// Up to which offset commands are carried out, beyond what the mark says.
    commands: i64,
    /// The month in which outputs of recipients with a period were published last, and
    /// the day on which something was taken back from them last; empty where that
    /// never was.
    published: Box<str>,
    taken_back: Box<str>,
}

/// The marks of a worker's partitions.
#[derive(Debug, Default)]
pub(super) struct Marks {
    parts: HashMap<i32, PartitionMark, foldhash::fast::RandomState>,
    /// Rows of the format before, whose outputs have keys of before.
    before: HashSet<(i32, RowKey), foldhash::fast::RandomState>,
    /// What that format had beside its rows, to be removed with them.
    before_marks: HashSet<(i32, RowKey), foldhash::fast::RandomState>,
    /// The batch removes some of them.
    removed: Vec<(i32, RowKey)>,
    /// What the batch changed, oldest first.
    undo: Vec<(i32, Option<PartitionMark>)>,
}

impl Marks {
    fn change(&mut self, partition: i32) -> &mut PartitionMark {
        let before = self.parts.get(&partition).cloned();
        self.undo.push((partition, before));
        self.parts.entry(partition).or_default()
    }

    /// Takes note of a row.
    pub(super) fn restore_row(&mut self, partition: i32) {
        self.parts.entry(partition).or_default().rows = true;
    }

    /// Takes note of a row of the format before.
    pub(super) fn restore_before(&mut self, partition: i32, key: RowKey) {
        self.before.insert((partition, key));
        self.parts.entry(partition).or_default().again = true;
    }

    /// Takes note of what the format before had beside its rows.
    pub(super) fn restore_before_mark(&mut self, partition: i32, key: RowKey) {
        self.before_marks.insert((partition, key));
    }

    /// A row that came later replaces it.
    pub(super) fn forget_before(&mut self, partition: i32, key: RowKey) {
        if !self.before.is_empty() {
            self.before.remove(&(partition, key));
        }
    }

    /// When recipients with a period were published to last, and when something was
    /// taken back from them; empty where that never was.
    pub(super) fn runs(&self, partition: i32) -> (&str, &str) {
        let part = self.parts.get(&partition);
        part.map_or(("", ""), |part| (&*part.published, &*part.taken_back))
    }

    /// The recipients to which all that they have of a partition is sent again.
    pub(super) fn refills(&self, partition: i32) -> &[u16] {
        let part = self.parts.get(&partition);
        part.map_or(&[], |part| &part.refills)
    }

    pub(super) fn set_published(&mut self, partition: i32, month: &str) {
        self.change(partition).published = month.into();
    }

    pub(super) fn set_taken_back(&mut self, partition: i32, day: &str) {
        self.change(partition).taken_back = day.into();
    }

    pub(super) fn merge(&mut self) {
        self.undo.clear();
        for place in self.removed.drain(..) {
            self.before_marks.remove(&place);
        }
    }

    pub(super) fn abandon(&mut self) {
        self.removed.clear();
        while let Some((partition, before)) = self.undo.pop() {
            match before {
                Some(mark) => self.parts.insert(partition, mark),
                None => self.parts.remove(&partition),
            };
        }
    }

    pub(super) fn retain(&mut self, kept: impl Fn(i32) -> bool) {
        self.parts.retain(|&partition, _| kept(partition));
        self.before.retain(|(partition, _)| kept(*partition));
        self.before_marks.retain(|(partition, _)| kept(*partition));
    }
}

impl Holding {
    /// Takes back a mark that was written.
    pub(super) fn restore_mark(
        &mut self,
        lane: &Lane,
        partition: i32,
        value: Option<&[u8]>,
    ) -> Result<(), Fault> {
        let Some(value) = value else {
            self.marks.parts.entry(partition).or_default().last = None;
            return Ok(());
        };
        let mark = match Mark::read(&self.prints, value) {
            Ok(mark) => mark,
            Err(error) => return Err(self.unreadable_mark(value, error)),
        };
        let part = self.marks.parts.entry(partition).or_default();
        part.own = mark.policy == lane.policy_version && mark.recipients == names(lane);
        part.published = mark.published.as_str().into();
        part.taken_back = mark.taken_back.as_str().into();
        part.last = Some(Arc::new(mark));
        Ok(())
    }

    /// Says which key is missing, where that is why a mark cannot be read.
    fn unreadable_mark(&self, value: &[u8], error: MarkError) -> Fault {
        let of = serde_json::from_slice::<Mark>(value).ok();
        let written = of.and_then(|mark| mark.keys.get(STATE_PRINT).cloned());
        let in_use = self.continuity.keys.get(STATE_PRINT);
        match (written, in_use) {
            (Some(written), Some(in_use)) if written != *in_use => Fault::Stop(format!(
                "it was written under the state key `{}` (fingerprint {}), and the key in use is \
                 `{}` (fingerprint {}): put the first one back",
                written.id, written.print, in_use.id, in_use.print
            )),
            _ => Fault::Stop(error.to_string()),
        }
    }

    /// The mark of a partition as it was written last.
    #[must_use]
    pub fn mark(&self, partition: i32) -> Option<&Mark> {
        self.marks.parts.get(&partition)?.last.as_deref()
    }

    /// The latest time of a mark: no batch is decided at an earlier one.
    #[must_use]
    pub fn latest_ms(&self) -> i64 {
        let marks = self.marks.parts.values();
        let times = marks.filter_map(|part| Some(part.last.as_ref()?.time_ms));
        times.max().unwrap_or(i64::MIN)
    }

    /// Whether a partition has rows and no mark, other than of the format before.
    #[must_use]
    pub fn lacks_mark(&self, partition: i32) -> bool {
        let part = self.marks.parts.get(&partition);
        // Rows that were taken away since, with their mark, are none.
        let rows = || self.state.sum(partition).count > 0;
        part.is_some_and(|part| part.last.is_none() && part.rows) && rows()
    }

    /// Whether a partition was written by a version without marks.
    #[must_use]
    pub fn is_of_before(&self, partition: i32) -> bool {
        let part = self.marks.parts.get(&partition);
        part.is_some_and(|part| part.last.is_none() && part.again && !part.rows)
    }

    /// Compares a partition's rows, and the keys and the policy in use, with its
    /// mark.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] for another key of a recipient, [`Fault::Twin`] where
    /// another process decides under a newer policy.
    pub fn verify(
        &mut self,
        lane: &Lane,
        partition: i32,
        now_ms: i64,
    ) -> Result<Vec<Finding>, Fault> {
        let state = &lane.outputs[usize::from(lane.state.0)].topic;
        let finding = |kind, detail| Finding {
            subject: state.clone(),
            partition,
            kind,
            detail,
        };
        if self.lacks_mark(partition) {
            let detail = "it has rows and no mark".to_owned();
            return Ok(vec![finding(FindingKind::StateMissing, detail)]);
        }
        let Some(mark) = self.mark(partition).cloned() else {
            return Ok(Vec::new());
        };
        self.check_holders(partition)?;
        self.check_keys(&mark, partition)?;
        self.check_generation(lane, &mark)?;
        let mut found = Vec::new();
        if mark.time_ms > now_ms.saturating_add(CLOCK_TOLERANCE_MS) {
            let time = jiff::Timestamp::from_millisecond(mark.time_ms).unwrap_or_default();
            let detail = format!("records were decided at {time}, which is yet to come");
            found.push(finding(FindingKind::OtherClock, detail));
        }
        let there = self.state.sum(partition);
        if there == mark.rows {
            return Ok(found);
        }
        let detail = format!(
            "its mark (transaction {}) counts {} rows, {} are there{}",
            mark.number,
            mark.rows.count,
            there.count,
            if there.count == mark.rows.count {
                ", others"
            } else {
                ""
            }
        );
        found.push(finding(FindingKind::RowsDiffer, detail));
        Ok(found)
    }

    /// Goes on in spite of findings that an operator accepted: what was decided at a
    /// time that is yet to come is decided anew, so that what lapsed then comes
    /// again.
    pub fn accept(&mut self, findings: &[Finding], now_ms: i64) {
        for finding in findings {
            let part = self.marks.parts.get_mut(&finding.partition);
            let Some(part) = part.filter(|_| finding.kind == FindingKind::OtherClock) else {
                continue;
            };
            part.again = true;
            if let Some(mark) = &mut part.last {
                let mark = Arc::make_mut(mark);
                mark.time_ms = mark.time_ms.min(now_ms);
            }
        }
    }

    /// Nobody may have something that the lane does not know: corrections and
    /// erasures would never reach it. A start says so before, with what to do.
    fn check_holders(&self, partition: i32) -> Result<(), Fault> {
        let mut unknown = self.state.others_with(partition).filter(|(_, n)| *n > 0);
        match unknown.next() {
            None => Ok(()),
            Some(((recipient, topic), count)) => Err(Fault::Stop(format!(
                "`{recipient}` has {count} outputs on `{topic}`, and the lane no longer serves it \
                 there: say in zeef.toml what becomes of them: {}",
                former::lines(
                    former::recipient_of(recipient),
                    [topic.as_str()].into_iter()
                )
                .replace('\n', "; ")
            ))),
        }
    }

    /// A recipient's key may be another one only where that was asked for.
    fn check_keys(&mut self, mark: &Mark, partition: i32) -> Result<(), Fault> {
        for (name, in_use) in &self.continuity.keys {
            let Some(written) = mark.keys.get(name).filter(|written| *written != in_use) else {
                continue;
            };
            if !self.continuity.commands.rotates(name, &in_use.print) {
                return Err(Fault::Stop(format!(
                    "recipient `{name}`: its outputs are under the key `{}` (fingerprint {}), and \
                     the key in use is `{}` (fingerprint {}): put the first one back, or ask for \
                     the change with `zeef keys rotate {name}`",
                    written.id, written.print, in_use.id, in_use.print
                )));
            }
            if let Some(part) = self.marks.parts.get_mut(&partition) {
                part.again = true;
            }
        }
        Ok(())
    }

    /// No process goes on under a policy that another one has replaced.
    fn check_generation(&self, lane: &Lane, mark: &Mark) -> Result<(), Fault> {
        let own = &self.continuity.generation;
        // One without a policy is being decided anew.
        if mark.policy == lane.policy_version || mark.policy.is_empty() {
            own.fetch_max(mark.generation, Ordering::SeqCst);
            return Ok(());
        }
        let known = own.load(Ordering::SeqCst);
        if known > 0 && mark.generation >= known {
            return Err(Fault::Twin(format!(
                "another process decides under policy {} (generation {}), this one under {} \
                 (generation {known})",
                mark.policy, mark.generation, lane.policy_version
            )));
        }
        own.fetch_max(mark.generation + 1, Ordering::SeqCst);
        Ok(())
    }

    /// All records of a partition are decided under the lane's policy.
    pub(in crate::engine) fn finish_policy(&mut self, partition: i32) {
        let part = self.marks.change(partition);
        part.own = true;
        part.again = false;
    }

    /// Whether the records of a partition were decided under another policy, or
    /// have to be decided anew for another cause.
    pub(in crate::engine) fn is_outdated(&self, partition: i32) -> bool {
        let part = self.marks.parts.get(&partition);
        part.is_some_and(|part| part.again || (part.last.is_some() && !part.own))
    }

    /// Finds the rows of the format before that are left: they are to be taken
    /// back under their keys. Returns how many.
    pub(in crate::engine) fn take_back_before(&mut self, partition: i32) -> usize {
        let state = &self.state;
        let counts = |entry: &Entry| entry.lives() && entry.outcome != Outcome::Forgotten;
        let left = self.marks.before.iter().filter(|(one, key)| {
            let row = state.find(*one, *key).filter(|_| *one == partition);
            row.is_some_and(|row| row.entries.iter().any(counts))
        });
        let refusal = Refusal::lasting(Reason::Rekeyed);
        let before = self.back.len();
        self.back.extend(left.map(|place| (*place, refusal)));
        self.back.len() - before
    }

    /// The number of the next mark of a partition.
    #[must_use]
    pub fn next_number(&self, partition: i32) -> u64 {
        self.mark(partition).map_or(1, |mark| mark.number + 1)
    }

    /// The partitions of which the batch changed something.
    pub(in crate::engine) fn changed(&self) -> impl Iterator<Item = i32> {
        let marks = self.marks.undo.iter().map(|(partition, _)| *partition);
        self.state.changed().chain(marks)
    }

    /// Writes the mark of a partition into the batch, with what the transport says
    /// of it.
    pub(in crate::engine) fn write_mark(
        &mut self,
        lane: &Lane,
        (partition, now_ms): (i32, i64),
        position: Position,
        outbox: &mut Outbox,
    ) {
        let part = self.marks.parts.get(&partition);
        let before = part.and_then(|part| part.last.clone());
        let own = before.is_none() || part.is_some_and(|part| part.own);
        let generation = self
            .continuity
            .generation
            .fetch_max(1, Ordering::SeqCst)
            .max(1);
        let mut mark = Mark {
            format: continuity::FORMAT,
            number: self.next_number(partition),
            time_ms: now_ms,
            born_ms: match &before {
                Some(before) if before.born_ms > 0 => before.born_ms,
                _ => now_ms,
            },
            rows: self.state.sum(partition),
            has: self.has(lane, partition),
            kinds: self.kinds(lane, partition),
            cluster: position.cluster,
            sources: position.sources,
            outputs: position.outputs,
            commands: self.commands_done(partition, before.as_deref()),
            published: part.map_or_else(String::new, |part| part.published.clone().into()),
            taken_back: part.map_or_else(String::new, |part| part.taken_back.clone().into()),
            ..Mark::default()
        };
        let knew_all = own && before.is_some();
        match before.filter(|_| !own) {
            // What is not decided anew yet was decided as before.
            Some(before) => {
                mark.policy.clone_from(&before.policy);
                mark.generation = before.generation;
                mark.recipients.clone_from(&before.recipients);
                mark.keys.clone_from(&before.keys);
            }
            None => {
                let outdated = self.is_outdated(partition);
                mark.policy = lane.policy_version.clone();
                mark.generation = generation;
                mark.recipients = names(lane);
                mark.keys = self.continuity.keys.clone();
                if outdated {
                    mark.policy = String::new();
                }
            }
        }
        if !knew_all {
            // What compaction takes from the source of patrons is known from here on.
            self.patrons.write_missing(lane, partition, outbox);
        }
        outbox.push(lane.state, Some(partition), Some(MARK_KEY), |out| {
            out.extend_from_slice(&mark.write(&self.prints));
        });
        let is_own = mark.policy == lane.policy_version;
        if is_own {
            let all = self.marks.before_marks.iter().copied();
            let of_partition: Vec<_> = all.filter(|(one, _)| *one == partition).collect();
            for (_, key) in &of_partition {
                outbox.push_null(lane.state, Some(partition), &text::name(key.0));
            }
            self.marks.removed.extend(of_partition);
        }
        let part = self.marks.change(partition);
        part.own = is_own;
        part.last = Some(Arc::new(mark));
    }

    /// Up to which offset commands are carried out.
    fn commands_done(&self, partition: i32, before: Option<&Mark>) -> i64 {
        let part = self.marks.parts.get(&partition);
        let done = before.map_or(0, |before| before.commands);
        let done = part.map_or(done, |part| part.commands.max(done));
        let commands = &self.continuity.commands;
        match before.is_some() && commands.refills(done).next().is_some() {
            true => done,
            false => done.max(commands.end),
        }
    }

    /// How many outputs recipients have of a partition, by name and topic.
    fn has(&self, lane: &Lane, partition: i32) -> BTreeMap<String, BTreeMap<String, u64>> {
        let mut has = BTreeMap::<String, BTreeMap<String, u64>>::new();
        let mut add = |recipient: &str, topic: &str, count: u64| {
            if count > 0 {
                let of_recipient = has.entry(recipient.to_owned()).or_default();
                *of_recipient.entry(topic.to_owned()).or_default() += count;
            }
        };
        for ((recipient, output), count) in self.state.has(partition) {
            let output = lane.outputs.get(usize::from(output));
            if let Some((recipient, output)) = lane.name_of(recipient).zip(output) {
                add(recipient, &output.topic, count);
            }
        }
        for ((recipient, topic), count) in self.state.others_with(partition) {
            add(recipient, topic, count);
        }
        has
    }

    /// How many outputs recipients have of a partition, by name and kind.
    fn kinds(&self, lane: &Lane, partition: i32) -> BTreeMap<String, BTreeMap<String, u64>> {
        let mut kinds = BTreeMap::<String, BTreeMap<String, u64>>::new();
        for ((recipient, _), count) in self.state.has(partition) {
            let program = lane.recipients.get(usize::from(recipient));
            let source = program.and_then(|program| lane.sources.get(program.source));
            if let (Some(name), Some(source), true) = (lane.name_of(recipient), source, count > 0) {
                let of_recipient = kinds.entry(name.to_owned()).or_default();
                *of_recipient.entry(source.kind.name.clone()).or_default() += count;
            }
        }
        kinds
    }

    /// Returns the code that accepts a finding.
    #[must_use]
    pub fn code(&self, lane: &Lane, finding: &Finding) -> String {
        // Each start writes a mark before it can look at the clock.
        let number = match finding.kind {
            FindingKind::OtherClock | FindingKind::NamesNobody => 0,
            _ => self.mark(finding.partition).map_or(0, |mark| mark.number),
        };
        finding.code(&self.prints, &lane.name, number)
    }

    /// What is found of a consent or an objection that cannot be read, and of
    /// which nobody can say whom it stops.
    #[must_use]
    pub fn unreadable(topic: &str, input: &Input<'_>) -> Finding {
        let ms = input.appended.map_or(0, |appended| appended.ms);
        Finding {
            subject: topic.to_owned(),
            partition: input.partition,
            kind: FindingKind::NamesNobody,
            detail: format!("offset {}, of {ms} ms", input.offset),
        }
    }

    /// Whether an operator accepted a finding.
    #[must_use]
    pub fn accepts(&self, lane: &Lane, finding: &Finding) -> bool {
        let code = self.code(lane, finding);
        let commands = &self.continuity.commands;
        commands.accepts(&code)
            || (finding.kind == FindingKind::OutputShorter
                && self.is_to_be_filled(lane, finding.partition, &finding.subject))
    }

    /// Whether a topic is to be filled again, with what its recipients have of a
    /// partition.
    fn is_to_be_filled(&self, lane: &Lane, partition: i32, topic: &str) -> bool {
        let output = lane.outputs.iter().find(|output| output.topic == topic);
        output.is_some_and(|output| self.to_refill(partition).any(|one| one == output.owner))
    }

    /// The recipients to which all that they have of a partition is to be sent
    /// again.
    fn to_refill(&self, partition: i32) -> impl Iterator<Item = &str> {
        let mark = self.mark(partition);
        let done = mark.map_or(i64::MAX, |mark| mark.commands);
        self.continuity.commands.refills(done)
    }

    /// Begins to send again what recipients have of a partition, as far as that
    /// was asked for: their rows are to be decided again.
    pub(super) fn find_refill(&mut self, lane: &Lane, partition: i32) {
        let names: Vec<&str> = self.to_refill(partition).collect();
        let recipients: Vec<u16> = (0..)
            .zip(&lane.recipients)
            .filter(|(_, recipient)| names.contains(&recipient.name.as_str()))
            .map(|(place, _)| place)
            .collect();
        let has = |entry: &Entry| {
            entry.outcome == Outcome::Released && recipients.contains(&entry.recipient)
        };
        let rows = self.state.rows(partition);
        let rows = rows.filter(|(_, row)| row.entries.iter().any(has));
        self.again.extend(rows.map(|(key, _)| (partition, key)));
        if let Some(part) = self.marks.parts.get_mut(&partition) {
            part.refills = recipients;
        }
    }

    /// Whether a recipient is sent again what it has of a partition.
    pub(super) fn is_refilled(&self, partition: i32, recipient: u16) -> bool {
        let part = self.marks.parts.get(&partition);
        part.is_some_and(|part| part.refills.contains(&recipient))
    }

    /// All that recipients have of a partition was sent again.
    pub(in crate::engine) fn finish_refill(&mut self, partition: i32) -> bool {
        if self.refill_waits(partition) {
            return false;
        }
        let part = self.marks.parts.get(&partition);
        let refilled = part.is_some_and(|part| part.last.is_some())
            && self.to_refill(partition).next().is_some();
        if refilled {
            let end = self.continuity.commands.end;
            let part = self.marks.change(partition);
            part.refills.clear();
            part.commands = end;
        }
        refilled
    }
}

/// Returns what may be shown of a key: its id, and what only it makes.
#[must_use]
pub fn print_of(key: &crate::policy::pseudonym::Key) -> KeyPrint {
    use crate::policy::pseudonym::{Meaning, Pseudonymiser};
    let meaning = Meaning::new("zeef", "key");
    let made = Pseudonymiser::new(key).pseudonym(&meaning, "", "fingerprint");
    #[allow(clippy::cast_possible_truncation, reason = "any 64 of the bits do")]
    let bits = made.bits() as u64;
    KeyPrint {
        id: key.id().to_owned(),
        print: code_of(bits),
    }
}

fn names(lane: &Lane) -> Vec<String> {
    let recipients = lane.recipients.iter();
    recipients.map(|recipient| recipient.name.clone()).collect()
}
