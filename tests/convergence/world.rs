//! What every recipient has once all is read, by the last state of the sources.
//!
//! Mostly that is one value or none. Where the rules let what happened before
//! decide (a paper that lapses and lets the recipient keep, a term after which
//! it is forgotten, a source that no longer has the record), what a recipient
//! had is carried over; where an order of events that the rules leave open
//! decides, there are several answers, and the next state goes on from the one
//! that was found.

use std::collections::{BTreeMap, BTreeSet};

use crate::reference::form::{Day, Moment};
use crate::reference::gate::Said;
use crate::reference::recipient::Recipient;
use crate::reference::{self, Case, Facts, Judgement, Patron, Record};

/// The key and the value of a message.
pub type Message<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// A record, whatever its version: one of another patron is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowId {
    pub source: &'static str,
    pub patron_id: String,
    pub id: String,
}

/// What one recipient has of one record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Has {
    pub key: String,
    pub value: Vec<u8>,
    /// Its term is over, and the recipient keeps it lawfully.
    pub forgotten: bool,
}

/// What one recipient may have of one record: nothing is an answer too.
pub type Answers = BTreeSet<Option<Has>>;

#[derive(Clone, Debug)]
struct Row {
    /// The last version that was not refused whole.
    record: Record,
    /// When it may have been first decided for each recipient: at the end of a run.
    /// What ended and came again begins anew.
    first: BTreeMap<&'static str, BTreeSet<i64>>,
    partition: i32,
    /// Versions since the last end of a run.
    versions: usize,
    /// One of them came after its source had lost the record.
    back: bool,
    /// Its source no longer has it.
    gone: bool,
    has: BTreeMap<&'static str, Has>,
}

impl Row {
    /// A run came to its end. Where a term runs from the first decision it matters
    /// whether the recipient was owed something of it still, which only the engine
    /// knows: it has nothing, or had nothing for a moment.
    fn decided(&mut self, recipient: &'static str, now_ms: i64, since: &Since) {
        let has = self.has.contains_key(recipient);
        let first = self.first.entry(recipient).or_default();
        // A patron's own may be gone and back.
        let stays = has && !since.clock && self.record.source != "patron";
        let others = usize::from(stays);
        let anew = self.versions > others || self.back || (since.policy && !has && !self.gone);
        if first.is_empty() || anew {
            first.insert(now_ms);
        }
    }
}

/// The sources' last state, and what recipients have.
#[derive(Clone, Debug, Default)]
pub struct World {
    recipients: Vec<&'static Recipient>,
    /// Whether they are those of the changed policy.
    changed: bool,
    key: Vec<u8>,
    facts: Facts,
    rows: BTreeMap<RowId, Row>,
    now_ms: i64,
    /// Who was ever erased.
    erased: BTreeSet<String>,
    /// What happened since the last end of a run.
    since: Since,
    /// In which month recipients with a period were published to last, and on which
    /// day something was taken back from them.
    published: Option<(i64, i64)>,
    taken_back: Option<Day>,
    /// What was met with, for those who ask whether anything was.
    pub met: BTreeSet<String>,
}

#[derive(Clone, Debug, Default)]
struct Since {
    clock: bool,
    policy: bool,
    patrons: BTreeSet<String>,
    erased: BTreeSet<String>,
}

impl World {
    /// Its patrons lie in so many partitions.
    pub fn new(
        recipients: Vec<&'static Recipient>,
        key: &[u8],
        (now_ms, partitions): (i64, i32),
    ) -> Self {
        let mut facts = Facts {
            partitions,
            ..Facts::default()
        };
        let names = &mut facts.names;
        for one in &recipients {
            names.purposes.push(one.purpose);
            names.recipients.push(one.name);
            names.asked.extend(one.consent.map(|gate| gate.purpose));
        }
        World {
            facts,
            recipients,
            key: key.to_vec(),
            now_ms,
            ..World::default()
        }
    }

    pub fn set_clock(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        self.since.clock = true;
    }

    pub fn set_policy(&mut self, changed: bool, recipients: Vec<&'static Recipient>) {
        self.recipients = recipients;
        self.since.policy |= changed != self.changed;
        self.changed = changed;
    }

    /// Takes in a message as it lies on its source.
    pub fn push(&mut self, source: &str, partition: i32, (key, value): Message<'_>, came_ms: i64) {
        let patron_id = key.and_then(|key| std::str::from_utf8(key).ok());
        if let Some(patron_id) = patron_id {
            self.since.patrons.insert(patron_id.to_owned());
        }
        match self.facts.take_at(source, key, value, came_ms) {
            Ok(reference::Message::Erasure { patron_id }) => {
                self.erased.insert(patron_id.clone());
                self.since.erased.insert(patron_id);
                self.met.insert("erasure".to_owned());
            }
            Ok(reference::Message::Record(record)) if !is_said(record.source) => {
                self.put(record, partition);
            }
            Ok(reference::Message::Record(_)) => {}
            Err(reason) => {
                if is_said(source) {
                    let named = self.facts.named(reason, key, value);
                    self.since.patrons.extend(named);
                }
                self.met.insert(format!("{source} refused {reason}"));
            }
        }
    }

    fn put(&mut self, record: Record, partition: i32) {
        let id = RowId {
            source: record.source,
            patron_id: record.patron_id.clone(),
            id: record.id.clone(),
        };
        let row = self.rows.entry(id).or_insert_with(|| Row {
            record: record.clone(),
            first: BTreeMap::new(),
            partition,
            versions: 0,
            back: false,
            gone: false,
            has: BTreeMap::new(),
        });
        row.record = record;
        row.partition = partition;
        row.versions += 1;
        row.back |= row.gone;
        row.gone = false;
    }

    /// The messages of a partition that are there now are gone.
    pub fn cut(&mut self, source: &str, partition: i32) {
        for (id, row) in &mut self.rows {
            if id.source == source && row.partition == partition {
                row.gone = true;
            }
        }
    }

    /// The nulls of patrons are gone, and the process starts anew: it knows all the
    /// same who was erased.
    pub fn lose_nulls(&mut self) {
        for patron_id in &self.erased {
            if self.facts.patrons.get(patron_id) == Some(&Patron::Erased) {
                self.since.patrons.insert(patron_id.clone());
            }
        }
    }

    /// Whether the source has lost a record of which nobody else can say whether it
    /// came before its patron was erased.
    fn is_doubtful(&self, recipient: &'static str, row: &Row) -> bool {
        const HOUR_MS: i64 = 3_600_000;
        let erased_ms = self.facts.erased_ms.get(&row.record.patron_id);
        let first = row.first.get(recipient).into_iter().flatten().min();
        let early = |(erased_ms, first_ms): (&i64, &i64)| *first_ms <= *erased_ms + HOUR_MS;
        row.gone && erased_ms.zip(first).is_some_and(early)
    }

    /// What each recipient may have of each record, at the end of a run.
    pub fn answers(&mut self) -> BTreeMap<&'static str, BTreeMap<RowId, Answers>> {
        for (id, row) in &mut self.rows {
            for recipient in self.recipients.iter().filter(|one| one.source == id.source) {
                row.decided(recipient.name, self.now_ms, &self.since);
            }
        }
        let mut all: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        let mut met = BTreeSet::new();
        for recipient in &self.recipients {
            let of = all.entry(recipient.name).or_default();
            for (id, row) in &self.rows {
                if id.source == recipient.source {
                    let answers = self.answer(recipient, row, &mut met);
                    of.insert(
                        id.clone(),
                        self.by_period(recipient, row, answers, &mut met),
                    );
                }
            }
        }
        self.met.append(&mut met);
        all
    }

    /// Of what a recipient with a period would have, what it has before its next run:
    /// outputs go out in the first run of a month, and what is taken back in the first
    /// one of a day.
    fn by_period(
        &self,
        recipient: &'static Recipient,
        row: &Row,
        answers: Answers,
        met: &mut BTreeSet<String>,
    ) -> Answers {
        let now = Moment::from_millis(self.now_ms);
        if recipient.period.is_none() || self.published < Some(now.month()) {
            return answers;
        }
        let takes_back = self.taken_back < Some(now.day()) && !self.is_of_record(recipient, row);
        let has = row.has.get(recipient.name);
        let mut note = |what: &str| {
            met.insert(format!("{} {what}", recipient.name));
        };
        let mut found = Answers::new();
        for answer in answers {
            let output = |one: &Has| (one.key.clone(), one.value.clone());
            let same = answer.as_ref().map(output) == has.map(output);
            if same {
                found.insert(answer);
            } else if answer.is_none() && takes_back {
                note("taken back before its period");
                found.insert(None);
                // The source has lost what would replace it: that is seen in time.
                if row.gone {
                    found.insert(has.cloned());
                }
            } else {
                note("waits for its period");
                found.insert(has.cloned());
                // The source has lost what says why: that is taken back in time.
                if row.gone && self.taken_back < Some(now.day()) {
                    found.insert(None);
                }
            }
        }
        found
    }

    /// Whether the record itself is why its recipient may not have it.
    fn is_of_record(&self, recipient: &'static Recipient, row: &Row) -> bool {
        let reason = match self.case(recipient, row, self.now_ms).judge() {
            Judgement::Withheld(reason) => reason,
            Judgement::Shut(shut) => shut.first().copied().unwrap_or_default(),
            Judgement::Released(_) | Judgement::Held => "",
        };
        ["condition", "stages", "loan_history_off", "period_open"].contains(&reason)
    }

    /// A record as it is now, first decided at `first_ms`.
    fn case<'a>(&'a self, recipient: &'static Recipient, row: &'a Row, first_ms: i64) -> Case<'a> {
        Case {
            facts: &self.facts,
            recipient,
            key: &self.key,
            record: &row.record,
            now_ms: self.now_ms,
            first_ms,
        }
    }

    fn answer(
        &self,
        recipient: &'static Recipient,
        row: &Row,
        met: &mut BTreeSet<String>,
    ) -> Answers {
        let mut answers = Answers::new();
        if self.is_doubtful(recipient.name, row) {
            met.insert("in doubt".to_owned());
            answers.insert(None);
        }
        if !self.since.clock && !self.touched(row) {
            answers.insert(row.has.get(recipient.name).cloned());
            return answers;
        }
        for &first_ms in row.first.get(recipient.name).into_iter().flatten() {
            let case = self.case(recipient, row, first_ms);
            self.follow(case, row, &mut answers, met);
        }
        answers
    }

    /// Something else than the time may have changed what is decided.
    fn touched(&self, row: &Row) -> bool {
        self.since.policy || self.since.patrons.contains(&row.record.patron_id)
    }

    /// Adds what may follow from what is decided and what the recipient has.
    fn follow(&self, case: Case<'_>, row: &Row, answers: &mut Answers, met: &mut BTreeSet<String>) {
        let recipient = case.recipient;
        let has = row.has.get(recipient.name).cloned();
        let touched = self.touched(row);
        let mut note = |what: &str| {
            met.insert(format!("{} {what}", recipient.name));
        };
        let shut = match case.judge() {
            Judgement::Held => vec!["held"],
            Judgement::Withheld(reason) => vec![reason],
            Judgement::Released(output) => {
                let released = Has {
                    value: output.json().into_bytes(),
                    key: output.key,
                    forgotten: false,
                };
                if !row.gone {
                    note("released");
                    let said = self.facts.said.get(&row.record.patron_id);
                    if recipient.marketing && said.is_some_and(Said::forbids_marketing) {
                        note("released against marketing");
                    }
                    if self.since.policy && has.is_none() && row.versions == 0 {
                        note("released by a policy");
                    }
                    answers.insert(Some(released));
                } else if has.as_ref() == Some(&released) {
                    note("has of a source that is cut");
                    answers.insert(Some(released));
                    if touched || self.since.clock {
                        answers.insert(None);
                    }
                } else {
                    note("source_gone");
                    answers.insert(None);
                }
                return;
            }
            Judgement::Shut(shut) => shut,
        };
        let first = shut.first().copied().unwrap_or_default();
        note(first);
        let Some(has) = has else {
            answers.insert(None);
            return;
        };
        let lapsed = recipient.retention.forget && shut.contains(&"lapsed");
        if has.forgotten {
            if first == "patron_erased" {
                note("forgotten and erased");
                answers.insert(None);
                return;
            }
            // Erased and back; or released anew by a version, before the rest was
            // heard of.
            if self.since.erased.contains(&row.record.patron_id) || row.versions > 0 {
                answers.insert(None);
            }
            note("forgotten still");
            answers.insert(Some(has));
        } else if lapsed && (first == "lapsed" || touched || row.gone) && first != "patron_erased" {
            note("forgotten");
            if touched || row.gone || first != "lapsed" {
                answers.insert(None);
            }
            answers.insert(Some(Has {
                forgotten: true,
                ..has
            }));
        } else if self.keeps(recipient, &shut) {
            note("kept");
            if touched || row.gone || shut.len() > 1 {
                answers.insert(None);
            }
            answers.insert(Some(has));
        } else {
            note(&format!("retracted for {first}"));
            answers.insert(None);
            // Its term may have been over before the rest was heard of.
            if recipient.retention.forget && self.since.clock && touched && first != "patron_erased"
            {
                answers.insert(Some(Has {
                    forgotten: true,
                    ..has
                }));
            }
        }
    }

    /// A paper lapsed and lets the recipient keep what it has, and neither an
    /// objection nor a missing consent takes it back.
    fn keeps(&self, recipient: &Recipient, shut: &[&'static str]) -> bool {
        let paper = match shut.first().copied() {
            Some("agreement_lapsed") => recipient.agreement,
            Some("authorisation_lapsed") => recipient.authorisation,
            _ => None,
        };
        let by_patron =
            |reason: &&str| reason.starts_with("objection") || reason.contains("consent");
        paper.is_some_and(|paper| !paper.retract) && !shut.iter().any(by_patron)
    }

    /// Goes on from what a recipient was found to have of each record.
    pub fn found(&mut self, recipient: &'static str, id: &RowId, has: Option<Has>) {
        let Some(row) = self.rows.get_mut(id) else {
            return;
        };
        match has {
            Some(has) => {
                row.has.insert(recipient, has);
            }
            None => {
                row.has.remove(recipient);
            }
        }
    }

    /// A run came to its end.
    pub fn settled(&mut self) {
        let now = Moment::from_millis(self.now_ms);
        self.published = self.published.max(Some(now.month()));
        self.taken_back = self.taken_back.max(Some(now.day()));
        self.since = Since::default();
        for row in self.rows.values_mut() {
            row.versions = 0;
            row.back = false;
        }
    }

    /// The patrons that are erased, or were and are not heard of since.
    pub fn gone(&self) -> impl Iterator<Item = &str> {
        let known = |id: &&String| !matches!(self.facts.patrons.get(*id), Some(Patron::Known(_)));
        self.erased.iter().filter(known).map(String::as_str)
    }
}

fn is_said(source: &str) -> bool {
    matches!(source, "consent" | "objection")
}
