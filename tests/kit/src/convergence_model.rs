//! What every recipient may have once all is read, by the last state of the sources.
//!
//! Mostly that is one value or none. Where what happened before decides (a paper that
//! lapses and lets the recipient keep what it has, a term after which an output is
//! forgotten, a source that lost the record), what a recipient had is carried over.
//! Where the rules leave an order of events open there are several answers, and the
//! model goes on from the one that was found.

use std::collections::{BTreeMap, BTreeSet};

use zeef::policy::Policy;
use zeef::policy::recipient::{ExpiryAction, Recipient, RetentionAction};

use crate::deployment::{cached_policy, place_in_topic};
use crate::golden::GOLDEN_KEY;
use crate::model::form::{CalendarDay, Moment};
use crate::model::gate::is_consent_or_objection;
use crate::model::{
    AcceptedMessage, Decision, ModelLimits, PatronKey, PolicyModel, RecordVersion, SourceMessage,
};

/// The key and the value of a message.
pub type KeyAndValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// A record, whatever its version: one of another patron is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordId {
    pub source: String,
    pub patron: PatronKey,
    pub id: String,
    /// The patron that a grant names, for whom the recipient has the output.
    pub named: Option<String>,
}

/// What one recipient has of one record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecipientOutput {
    /// As [`place_in_topic`] has it.
    pub key: String,
    pub value: Vec<u8>,
    /// Its term is over, and the recipient may keep it.
    pub is_forgotten: bool,
}

/// What one recipient may have of one record; `None` is an answer too.
pub type PossibleOutputs = BTreeSet<Option<RecipientOutput>>;

#[derive(Clone, Debug)]
struct ModelRow {
    /// The last version that was not refused whole.
    record: RecordVersion,
    /// When it may have been first decided for each recipient: at the end of a run.
    first_decided_ms: BTreeMap<&'static str, BTreeSet<i64>>,
    /// Versions since the last end of a run.
    n_new_versions: usize,
    /// One of them came after its source had lost the record.
    has_returned: bool,
    /// Its source no longer has it.
    is_gone: bool,
    /// Its source no longer has the last version that was not gone.
    is_before_cut: bool,
    /// At which cut its source lost it.
    lost_at: Option<usize>,
    /// By recipient and named patron.
    outputs: BTreeMap<(&'static str, Option<String>), RecipientOutput>,
}

/// A recipient, and the patron that a grant names for whom it may have an output.
type Asked<'a> = (&'static Recipient, Option<&'a str>);

impl ModelRow {
    fn output(&self, (recipient, named): Asked<'_>) -> Option<&RecipientOutput> {
        self.outputs.get(&(recipient.name.as_str(), named.map(str::to_owned)))
    }

    /// Notes the end of a run. Where a term runs from the first decision, it matters
    /// whether the recipient was still owed something, which only the engine knows.
    fn note_decided(&mut self, recipient: &'static str, now_ms: i64, since: &ChangesSinceRun) {
        let has_output = self.outputs.contains_key(&(recipient, None));
        let first = self.first_decided_ms.entry(recipient).or_default();
        // A patron's record may be gone and back.
        let stays = has_output && !since.clock_moved && self.record.kind != "patron";
        let others = usize::from(stays);
        let is_new_epoch = self.n_new_versions > others
            || self.has_returned
            || (since.policy_changed && !has_output && !self.is_gone);
        if first.is_empty() || is_new_epoch {
            first.insert(now_ms);
        }
    }
}

/// The sources' last state, and what recipients have.
#[derive(Clone, Debug)]
pub struct ConvergenceModel {
    /// Whether the policy is the changed one.
    uses_changed_policy: bool,
    model: PolicyModel<'static>,
    n_messages: i64,
    /// How often a source lost messages.
    n_cuts: usize,
    rows: BTreeMap<RecordId, ModelRow>,
    /// Who was ever erased.
    erased_patrons: BTreeSet<PatronKey>,
    /// Since the last end of a run.
    changes: ChangesSinceRun,
    /// Who was erased in runs since the last publication of a month: a recipient with a period
    /// may first lose what was theirs at the next one.
    erased_in_month: BTreeSet<PatronKey>,
    /// When recipients with a period were last published to, and when something was last
    /// taken back from them.
    last_published_month: Option<(i64, i64)>,
    last_retraction_day: Option<CalendarDay>,
    /// Which recipients had which outcome.
    pub seen_outcomes: BTreeSet<String>,
}

#[derive(Clone, Debug, Default)]
struct ChangesSinceRun {
    clock_moved: bool,
    policy_changed: bool,
    touched_patrons: BTreeSet<PatronKey>,
    erased_patrons: BTreeSet<PatronKey>,
}

/// What may be lost to the summaries of a patron: which cuts of sources a worker noticed is known
/// to it alone, and it notices them in their order.
fn lost_records<'r>(
    recipient: &Recipient,
    patron: &RecordId,
    rows: &'r BTreeMap<RecordId, ModelRow>,
) -> Vec<Vec<&'r RecordVersion>> {
    if recipient.summaries().next().is_none() {
        return Vec::new();
    }
    let own = rows.iter().filter(|(id, _)| id.patron == patron.patron);
    let lost: Vec<_> =
        own.filter_map(|(_, row)| row.lost_at.map(|lost_at| (lost_at, &row.record))).collect();
    let cuts: BTreeSet<usize> = lost.iter().map(|(lost_at, _)| *lost_at).collect();
    let noticed_by = |cut: usize| {
        let noticed = lost.iter().filter(move |(lost_at, _)| *lost_at <= cut);
        noticed.map(|(_, record)| *record).collect()
    };
    cuts.into_iter().map(noticed_by).collect()
}

fn forgets(recipient: &Recipient) -> bool {
    recipient.retention.after == RetentionAction::Forget
}

impl ConvergenceModel {
    pub fn new(now_ms: i64) -> Self {
        let key_of = |_: &str| GOLDEN_KEY.to_vec();
        let policy = cached_policy(false);
        ConvergenceModel {
            uses_changed_policy: false,
            model: PolicyModel::new(policy, key_of, ModelLimits::DEFAULT, now_ms),
            n_messages: 0,
            n_cuts: 0,
            rows: BTreeMap::new(),
            erased_patrons: BTreeSet::new(),
            changes: ChangesSinceRun::default(),
            erased_in_month: BTreeSet::new(),
            last_published_month: None,
            last_retraction_day: None,
            seen_outcomes: BTreeSet::new(),
        }
    }

    fn policy(&self) -> &'static Policy {
        self.model.policy()
    }

    fn recipients_of(&self, source: &str) -> impl Iterator<Item = &'static Recipient> {
        let policy = self.policy();
        let kind = |one: &Recipient| &policy.record_kinds[one.source_kind_index].name;
        policy.recipients.iter().filter(move |one| kind(one) == source)
    }

    pub fn set_clock(&mut self, now_ms: i64) {
        self.model.now_ms = now_ms;
        self.changes.clock_moved = true;
    }

    pub fn set_policy(&mut self, changed: bool) {
        self.model.set_policy(cached_policy(changed));
        self.changes.policy_changed |= changed != self.uses_changed_policy;
        self.uses_changed_policy = changed;
    }

    /// Applies a message of a source.
    pub fn push_message(
        &mut self,
        source: &str,
        partition: i32,
        (key, value): KeyAndValue<'_>,
        arrived_ms: i64,
    ) {
        self.n_messages += 1;
        let message = SourceMessage {
            kind: source.to_owned(),
            partition,
            offset: self.n_messages,
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
        };
        self.changes.touched_patrons.extend(message.patron());
        match self.model.apply(&message, arrived_ms) {
            Ok(AcceptedMessage::Erasure(patron)) => {
                self.erased_patrons.insert(patron.clone());
                self.changes.erased_patrons.insert(patron);
                self.seen_outcomes.insert("erasure".to_owned());
            }
            Ok(AcceptedMessage::Record(record)) if !is_consent_or_objection(source) => {
                // Also nobody, whom no message names.
                self.changes.touched_patrons.insert(record.patron().clone());
                self.put_record(record);
            }
            Ok(AcceptedMessage::Record(_)) => {}
            Err(reason) => {
                if is_consent_or_objection(source) {
                    let named = self.model.named_patrons(&message, reason);
                    self.changes.touched_patrons.extend(named);
                }
                self.seen_outcomes.insert(format!("{source} refused {reason}"));
            }
        }
    }

    fn put_record(&mut self, record: RecordVersion) {
        let id = RecordId {
            source: record.kind.clone(),
            patron: record.patron().clone(),
            id: record.id.clone().expect("an id"),
            named: None,
        };
        let mut record = record;
        if let Some(row) = self.rows.get(&id).filter(|_| record.is_gone(self.policy())) {
            // What its source lost cannot be read again.
            record.before_gone = row.record.before(self.policy()).filter(|_| !row.is_before_cut);
            self.seen_outcomes.insert(format!("{} gone", record.kind));
        }
        let row = self.rows.entry(id).or_insert_with(|| ModelRow {
            record: record.clone(),
            first_decided_ms: BTreeMap::new(),
            n_new_versions: 0,
            has_returned: false,
            is_gone: false,
            is_before_cut: false,
            lost_at: None,
            outputs: BTreeMap::new(),
        });
        row.is_before_cut &= record.is_gone(self.model.policy());
        row.record = record;
        row.n_new_versions += 1;
        row.has_returned |= row.is_gone;
        row.is_gone = false;
        row.lost_at = None;
    }

    /// A source loses the messages of a partition.
    pub fn truncate(&mut self, source: &str, partition: i32) {
        self.n_cuts += 1;
        for (id, row) in &mut self.rows {
            if id.source == source && id.patron.0 == partition {
                row.is_gone = true;
                row.is_before_cut = true;
                row.lost_at.get_or_insert(self.n_cuts);
            }
        }
    }

    /// The nulls of patrons are gone, and the process restarts: it still knows who was
    /// erased.
    pub fn drop_nulls(&mut self) {
        let erased = self.erased_patrons.iter().filter(|patron| self.model.is_erased(patron));
        self.changes.touched_patrons.extend(erased.cloned());
    }

    /// Whether the source lost the record, and nobody can tell whether it arrived before
    /// its patron was erased.
    fn may_predate_erasure(&self, recipient: &'static str, row: &ModelRow) -> bool {
        const HOUR_MS: i64 = 3_600_000;
        let erased_ms = self.model.erased_ms(row.record.patron());
        let first = row.first_decided_ms.get(recipient).into_iter().flatten().min();
        let early = |(erased_ms, first_ms): (i64, &i64)| *first_ms <= erased_ms + HOUR_MS;
        row.is_gone && erased_ms.zip(first).is_some_and(early)
    }

    /// What each recipient may have of each record, at the end of a run.
    pub fn possible_outputs(
        &mut self,
    ) -> BTreeMap<&'static str, BTreeMap<RecordId, PossibleOutputs>> {
        let mut rows = std::mem::take(&mut self.rows);
        for (id, row) in &mut rows {
            for recipient in self.recipients_of(&id.source) {
                row.note_decided(&recipient.name, self.model.now_ms, &self.changes);
            }
        }
        let mut all: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        let mut seen_outcomes = BTreeSet::new();
        for recipient in &self.policy().recipients {
            all.insert(recipient.name.as_str(), BTreeMap::new());
        }
        for (id, row) in &rows {
            let recipients: Vec<&'static Recipient> = self.recipients_of(&id.source).collect();
            for (recipient, named) in self.all_asked(&recipients, row) {
                let asked = (recipient, named.as_deref());
                let mut answers = self.possible_outputs_of(asked, row, &mut seen_outcomes);
                for lost in lost_records(recipient, id, &rows) {
                    seen_outcomes.insert(format!("{} without lost records", recipient.name));
                    self.model.set_lost_records(lost.into_iter());
                    let now_ms = self.model.now_ms;
                    let decision =
                        self.model.decide_last(recipient, &row.record, (now_ms, asked.1));
                    let decided = (asked, decision);
                    self.add_possible_outputs(decided, row, &mut answers, &mut seen_outcomes);
                    self.model.set_lost_records(std::iter::empty());
                }
                let answers = self.restrict_by_period(recipient, row, answers, &mut seen_outcomes);
                let id = RecordId { named, ..id.clone() };
                all.entry(&recipient.name).or_default().insert(id, answers);
            }
        }
        self.rows = rows;
        self.seen_outcomes.append(&mut seen_outcomes);
        all
    }

    /// The recipients of a record; one of named patrons once for each that a grant names, or for
    /// whom it still has an output.
    fn all_asked(
        &self,
        recipients: &[&'static Recipient],
        row: &ModelRow,
    ) -> Vec<(&'static Recipient, Option<String>)> {
        let mut asked = Vec::new();
        for &recipient in recipients {
            if !recipient.is_for_named_patrons() {
                asked.push((recipient, None));
                continue;
            }
            let mut named = self.model.patrons_of_grants(recipient, &row.record);
            let had = row.outputs.keys().filter(|(name, _)| *name == recipient.name);
            named.extend(had.filter_map(|(_, named)| named.clone()));
            asked.extend(named.into_iter().map(|named| (recipient, Some(named))));
        }
        asked
    }

    /// Restricts the outputs of a recipient with a period to what it has before its next
    /// publication: outputs go out in the first run of a month, retractions in the first
    /// run of a day.
    fn restrict_by_period(
        &self,
        recipient: &'static Recipient,
        row: &ModelRow,
        answers: PossibleOutputs,
        seen_outcomes: &mut BTreeSet<String>,
    ) -> PossibleOutputs {
        let now = Moment::from_millis(self.model.now_ms);
        if recipient.period.is_none() || self.last_published_month < Some(now.month()) {
            return answers;
        }
        let takes_back = self.last_retraction_day < Some(now.day())
            && !self.is_withheld_by_record_itself(recipient, row);
        let current_output = row.output((recipient, None));
        let mut note = |what: &str| {
            seen_outcomes.insert(format!("{} {what}", recipient.name));
        };
        let mut found = PossibleOutputs::new();
        for answer in answers {
            let output = |one: &RecipientOutput| (one.key.clone(), one.value.clone());
            let same = answer.as_ref().map(output) == current_output.map(output);
            if same {
                found.insert(answer);
            } else if answer.is_none() && takes_back {
                note("taken back before its period");
                found.insert(None);
                // The source lost what would replace it, which shows later.
                if row.is_gone {
                    found.insert(current_output.cloned());
                }
            } else {
                note("waits for its period");
                found.insert(current_output.cloned());
                // The source lost the reason: retracted later.
                if row.is_gone && self.last_retraction_day < Some(now.day()) {
                    found.insert(None);
                }
            }
        }
        found
    }

    /// Whether the record itself is why its recipient may not have it.
    fn is_withheld_by_record_itself(&self, recipient: &'static Recipient, row: &ModelRow) -> bool {
        let reason = match self.model.decide_last(recipient, &row.record, (self.model.now_ms, None))
        {
            Decision::Withheld(reason) => reason,
            Decision::GatesClosed(closed) => closed[0],
            Decision::Released(_) | Decision::Held => "",
        };
        let by_record =
            ["condition", "stages", "loan_history_off", "period_open", "settled", "record_gone"];
        by_record.contains(&reason)
    }

    fn possible_outputs_of(
        &self,
        asked: Asked<'_>,
        row: &ModelRow,
        seen_outcomes: &mut BTreeSet<String>,
    ) -> PossibleOutputs {
        let recipient = asked.0;
        let mut answers = PossibleOutputs::new();
        if self.may_predate_erasure(&recipient.name, row) {
            seen_outcomes.insert("in doubt".to_owned());
            answers.insert(None);
        }
        if !self.changes.clock_moved && !self.is_touched(row) {
            answers.insert(row.output(asked).cloned());
            return answers;
        }
        for &first_ms in row.first_decided_ms.get(recipient.name.as_str()).into_iter().flatten() {
            let decision = self.model.decide_last(recipient, &row.record, (first_ms, asked.1));
            self.add_possible_outputs((asked, decision), row, &mut answers, seen_outcomes);
        }
        answers
    }

    /// Whether something else than the clock may have changed the decision.
    fn is_touched(&self, row: &ModelRow) -> bool {
        self.changes.policy_changed || self.changes.touched_patrons.contains(row.record.patron())
    }

    /// Adds what may follow from a decision and from what the recipient has.
    fn add_possible_outputs(
        &self,
        (asked, decision): (Asked<'_>, Decision),
        row: &ModelRow,
        answers: &mut PossibleOutputs,
        seen_outcomes: &mut BTreeSet<String>,
    ) {
        let recipient = asked.0;
        let current_output = row.output(asked).cloned();
        let touched = self.is_touched(row);
        let mut note = |what: &str| {
            seen_outcomes.insert(format!("{} {what}", recipient.name));
        };
        let closed_gates = match decision {
            Decision::Held => vec!["held"],
            Decision::Withheld(reason) => vec![reason],
            Decision::Released(output) => {
                if output.is_thinned {
                    note("thinned");
                }
                let released = RecipientOutput {
                    value: output.value.into_bytes(),
                    key: place_in_topic(&output.topic, &output.key),
                    is_forgotten: false,
                };
                if !row.is_gone {
                    note("released");
                    let statements = self.model.statements_of(row.record.patron());
                    if recipient.is_marketing && statements.has_marketing_objection() {
                        note("released against marketing");
                    }
                    if self.changes.policy_changed
                        && current_output.is_none()
                        && row.n_new_versions == 0
                    {
                        note("released by a policy");
                    }
                    answers.insert(Some(released));
                } else if current_output.as_ref() == Some(&released) {
                    note("has of a source that is cut");
                    answers.insert(Some(released));
                    if touched || self.changes.clock_moved {
                        answers.insert(None);
                    }
                } else {
                    note("source_gone");
                    answers.insert(None);
                }
                return;
            }
            Decision::GatesClosed(closed_gates) => closed_gates,
        };
        let first = closed_gates.first().copied().unwrap_or_default();
        note(first);
        let Some(current_output) = current_output else {
            answers.insert(None);
            return;
        };
        let lapsed = forgets(recipient) && closed_gates.contains(&"lapsed");
        if current_output.is_forgotten {
            if first == "patron_erased" {
                note("forgotten and erased");
                answers.insert(None);
                return;
            }
            // Erased and back; or released again by a version before the rest was read.
            let patron = row.record.patron();
            let erased = self.changes.erased_patrons.contains(patron)
                || recipient.period.is_some() && self.erased_in_month.contains(patron);
            if erased || row.n_new_versions > 0 {
                answers.insert(None);
            }
            note("forgotten still");
            answers.insert(Some(current_output));
        } else if lapsed
            && (first == "lapsed" || touched || row.is_gone)
            && first != "patron_erased"
        {
            note("forgotten");
            if touched || row.is_gone || first != "lapsed" {
                answers.insert(None);
            }
            answers.insert(Some(RecipientOutput { is_forgotten: true, ..current_output }));
        } else if self.keeps_after_lapse(recipient, &closed_gates) {
            note("kept");
            if touched || row.is_gone || closed_gates.len() > 1 {
                answers.insert(None);
            }
            answers.insert(Some(current_output));
        } else {
            note(&format!("retracted for {first}"));
            answers.insert(None);
            // Its term may have ended before the rest was read.
            if forgets(recipient) && self.changes.clock_moved && touched && first != "patron_erased"
            {
                answers.insert(Some(RecipientOutput { is_forgotten: true, ..current_output }));
            }
        }
    }

    /// Whether a lapsed paper lets the recipient keep what it has, and neither an objection
    /// nor a missing consent retracts it.
    fn keeps_after_lapse(&self, recipient: &Recipient, closed_gates: &[&'static str]) -> bool {
        let after = match closed_gates.first().copied() {
            Some("agreement_lapsed") => recipient.agreement.as_ref().map(|paper| paper.after),
            Some("authorisation_lapsed") => {
                recipient.authorisation.as_ref().map(|paper| paper.after)
            }
            _ => None,
        };
        let by_patron =
            |reason: &&str| reason.starts_with("objection") || reason.contains("consent");
        after == Some(ExpiryAction::Keep) && !closed_gates.iter().any(by_patron)
    }

    /// Goes on from what a recipient was found to have of a record.
    pub fn set_found_output(
        &mut self,
        recipient: &'static str,
        id: &RecordId,
        current_output: Option<RecipientOutput>,
    ) {
        let record = RecordId { named: None, ..id.clone() };
        let Some(row) = self.rows.get_mut(&record) else {
            return;
        };
        let asked = (recipient, id.named.clone());
        match current_output {
            Some(current_output) => drop(row.outputs.insert(asked, current_output)),
            None => drop(row.outputs.remove(&asked)),
        }
    }

    /// Notes the end of a run.
    pub fn finish_run(&mut self) {
        let now = Moment::from_millis(self.model.now_ms);
        if self.last_published_month < Some(now.month()) {
            self.erased_in_month.clear();
        } else {
            self.erased_in_month.append(&mut self.changes.erased_patrons);
        }
        self.last_published_month = self.last_published_month.max(Some(now.month()));
        self.last_retraction_day = self.last_retraction_day.max(Some(now.day()));
        self.changes = ChangesSinceRun::default();
        for row in self.rows.values_mut() {
            row.n_new_versions = 0;
            row.has_returned = false;
        }
    }

    /// The patrons that some consent in force of another one names.
    pub fn named_patron_ids(&self) -> BTreeSet<String> {
        self.model.named_patron_ids()
    }

    /// The patrons that were erased and have no record since.
    pub fn erased_patron_ids(&self) -> impl Iterator<Item = &str> {
        let gone = self.erased_patrons.iter().filter(|patron| !self.model.is_known(patron));
        gone.map(|(_, id)| id.as_str())
    }
}
