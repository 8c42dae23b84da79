//! One row: what recipients have of one record.

use super::PatronHash;
use crate::policy::reason::Reason;

/// Index of a source that the lane does not have.
pub const FOREIGN_SOURCE: u16 = u16::MAX;

/// The most persons beside its patron whom an output may be about: whom a grant names, and one of
/// the record and of its patron each.
pub const OTHER_PERSONS_MAX: usize = 3;

/// Persons beside the patron whom an output is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OtherPersons([Option<PatronHash>; OTHER_PERSONS_MAX]);

impl OtherPersons {
    /// Sets the person of an index below [`OTHER_PERSONS_MAX`].
    pub fn set(&mut self, index: usize, person: PatronHash) {
        if let Some(place) = self.0.get_mut(index) {
            *place = Some(person);
        }
    }

    /// Adds a person at the first free place, unless it is there.
    pub fn add(&mut self, person: PatronHash) {
        if !self.contains(person)
            && let Some(place) = self.0.iter_mut().find(|place| place.is_none())
        {
            *place = Some(person);
        }
    }

    #[must_use]
    pub fn contains(&self, person: PatronHash) -> bool {
        self.0.contains(&Some(person))
    }

    /// Returns those of them that are among others, too.
    #[must_use]
    pub fn among(self, others: OtherPersons) -> OtherPersons {
        OtherPersons(self.0.map(|person| person.filter(|person| others.contains(*person))))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Each person with its index.
    pub fn iter(&self) -> impl Iterator<Item = (usize, PatronHash)> {
        self.0.into_iter().enumerate().filter_map(|(index, person)| Some((index, person?)))
    }
}

/// What recipients have of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    pub patron: PatronHash,
    /// Index in the lane's sources, or [`FOREIGN_SOURCE`].
    pub source: u16,
    pub offset: i64,
    /// The time of the batch in which the record was first decided; some recipients have another
    /// one in [`RowExtras::first_decided_ms`].
    pub first_decided_ms: i64,
    /// When time alone may change a verdict; [`i64::MAX`] if never.
    pub recheck_due_ms: i64,
    /// At most one for each recipient.
    pub entries: Box<[DeliveryEntry]>,
    pub extras: Option<Box<RowExtras>>,
}

/// What only few rows have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowExtras {
    /// Recipients for which the record was first decided at another time: their entries ended and
    /// came again.
    pub first_decided_ms: Vec<(u16, i64)>,
    /// The JSON of entries of recipients that the lane does not have; kept, as somebody may ask for
    /// them.
    pub foreign_entries: Option<Box<str>>,
    /// The kind of the record if the lane does not have its source.
    pub foreign_kind: Option<Box<str>>,
    /// The offset of the version that says that the record is gone; the row's own offset is that
    /// of the last version before it, or the same where none is known.
    pub gone_offset: Option<i64>,
    /// Recipients whose output time alone will thin, and when.
    pub thins_at_ms: Vec<(u16, i64)>,
    /// Recipients whose output is about other persons, too, as the ledger says.
    pub other_persons: Vec<(u16, OtherPersons)>,
    /// When the source must have deleted its own copy; `None` if it has, or need not.
    pub source_deletion_due_ms: Option<i64>,
    /// The record's patron may be told of it, though recipients keep others of its kind from patrons.
    pub is_told: bool,
}

/// What one recipient has of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryEntry {
    /// The output's key as it was sent.
    pub output_key: u128,
    /// Keyed hash of the recipient's output.
    pub output_hash: u64,
    /// Hash of what else than the record decided: patron, consents, objections, policy.
    pub fingerprint: u64,
    /// If released: when the recipient's term ends, [`i64::MAX`] if never. If held: since when.
    pub term_end_or_held_since_ms: i64,
    /// Index in the lane's recipients, served ones first.
    pub recipient: u16,
    /// Index in the lane's outputs.
    pub output: u16,
    pub outcome: DeliveryOutcome,
    /// Why it was withheld or retracted, or is going to be.
    pub reason: Option<Reason>,
    /// Something else than a new version of the record may change the verdict.
    pub may_change: bool,
    /// The recipient has the output without the fields that its `thinned` drops.
    pub is_thinned: bool,
}

/// Each recipient of each record costs this much memory.
const _: () = assert!(size_of::<DeliveryEntry>() <= 48);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The recipient has an output.
    Released,
    /// It never had an output, but may still get one.
    Withheld,
    /// It waits for its patron.
    Held,
    /// It had an output.
    Retracted,
    /// It keeps its output after its term; only the output key is still known.
    Forgotten,
}

/// What waits for the next run of a recipient with a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingChange {
    /// It gets another output than it has.
    NewOutput,
    /// It loses its output.
    Retraction(Reason),
}

impl DeliveryEntry {
    /// Makes an entry of a recipient that has no output.
    #[must_use]
    pub fn without_output(
        recipient: u16,
        outcome: DeliveryOutcome,
        reason: Option<Reason>,
    ) -> DeliveryEntry {
        DeliveryEntry {
            output_key: 0,
            output_hash: 0,
            fingerprint: 0,
            term_end_or_held_since_ms: i64::MAX,
            recipient,
            output: 0,
            outcome,
            reason,
            may_change: true,
            is_thinned: false,
        }
    }

    /// Makes an entry of a recipient that has no output, and for which `decided` waits for the next
    /// run.
    #[must_use]
    pub fn unpublished(decided: &DeliveryEntry) -> DeliveryEntry {
        DeliveryEntry {
            output_key: decided.output_key,
            ..DeliveryEntry::without_output(
                decided.recipient,
                DeliveryOutcome::Withheld,
                Some(Reason::Unpublished),
            )
        }
    }

    /// Returns what waits for the next run; only of recipients with a period.
    #[must_use]
    pub fn pending(&self) -> Option<PendingChange> {
        match (self.outcome, self.reason?) {
            (
                DeliveryOutcome::Released | DeliveryOutcome::Forgotten | DeliveryOutcome::Withheld,
                Reason::Unpublished,
            ) => Some(PendingChange::NewOutput),
            (DeliveryOutcome::Released, reason) => Some(PendingChange::Retraction(reason)),
            (DeliveryOutcome::Forgotten, Reason::PatronErased) => {
                Some(PendingChange::Retraction(Reason::PatronErased))
            }
            _ => None,
        }
    }

    /// Whether the recipient has an output, as far as zeef knows.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        matches!(self.outcome, DeliveryOutcome::Released | DeliveryOutcome::Forgotten)
    }

    /// When the recipient's term ends; [`i64::MAX`] if never or not released.
    #[must_use]
    pub fn term_end_ms(&self) -> i64 {
        match self.outcome {
            DeliveryOutcome::Released => self.term_end_or_held_since_ms,
            _ => i64::MAX,
        }
    }

    /// Since when it is held, if it is.
    #[must_use]
    pub fn held_since_ms(&self) -> Option<i64> {
        (self.outcome == DeliveryOutcome::Held).then_some(self.term_end_or_held_since_ms)
    }

    /// Whether later decisions depend on the entry.
    #[must_use]
    pub fn is_live(&self) -> bool {
        match self.outcome {
            DeliveryOutcome::Released | DeliveryOutcome::Held | DeliveryOutcome::Forgotten => true,
            DeliveryOutcome::Withheld | DeliveryOutcome::Retracted => self.may_change,
        }
    }
}

impl DeliveryRow {
    /// Whether later decisions depend on the row, it has entries of recipients that the lane
    /// does not have, or the source has still to delete its copy of the record.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.entries.iter().any(DeliveryEntry::is_live)
            || self.foreign_entries().is_some()
            || self.source_deletion_due_ms().is_some()
    }

    /// When the source must have deleted its own copy; `None` if it has, or need not.
    #[must_use]
    pub fn source_deletion_due_ms(&self) -> Option<i64> {
        self.extras.as_ref()?.source_deletion_due_ms
    }

    /// Sets or clears when the source must have deleted its own copy.
    pub fn set_source_deletion_due(&mut self, due_ms: Option<i64>) {
        self.set_extra(due_ms.is_some(), |extras| extras.source_deletion_due_ms = due_ms);
    }

    /// Whether the record's patron may be told of it, though recipients keep others of its kind from
    /// patrons.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| extras.is_told)
    }

    pub fn set_told(&mut self, is_told: bool) {
        self.set_extra(is_told, |extras| extras.is_told = is_told);
    }

    #[must_use]
    pub fn is_held(&self) -> bool {
        self.entries.iter().any(|entry| entry.outcome == DeliveryOutcome::Held)
    }

    /// When the record was first decided for a recipient; `None` if its entry is not live.
    #[must_use]
    pub fn first_decided_ms(&self, recipient: u16) -> Option<i64> {
        let lives = self.entry(recipient).is_some_and(DeliveryEntry::is_live);
        lives.then(|| self.first_decided_ms_of_live(recipient))
    }

    /// The same for a live entry.
    pub(crate) fn first_decided_ms_of_live(&self, recipient: u16) -> i64 {
        let firsts = self.extras.as_ref().map_or(&[][..], |more| &more.first_decided_ms);
        let found = firsts.iter().find(|(one, _)| *one == recipient);
        found.map_or(self.first_decided_ms, |(_, first_ms)| *first_ms)
    }

    /// The JSON of entries of recipients that the lane does not have.
    #[must_use]
    pub fn foreign_entries(&self) -> Option<&str> {
        self.extras.as_ref()?.foreign_entries.as_deref()
    }

    /// The kind of the record if the lane does not have its source.
    #[must_use]
    pub fn foreign_kind(&self) -> Option<&str> {
        self.extras.as_ref()?.foreign_kind.as_deref()
    }

    /// When time alone thins what a recipient has; [`i64::MAX`] if never.
    #[must_use]
    pub fn thins_at_ms(&self, recipient: u16) -> i64 {
        let all = self.extras.as_ref().map_or(&[][..], |more| &more.thins_at_ms);
        all.iter().find(|(one, _)| *one == recipient).map_or(i64::MAX, |(_, at_ms)| *at_ms)
    }

    /// The persons beside the patron whom what a recipient has is about.
    #[must_use]
    pub fn other_persons(&self, recipient: u16) -> OtherPersons {
        let all = self.extras.as_ref().map_or(&[][..], |more| &more.other_persons);
        let found = all.iter().find(|(one, _)| *one == recipient);
        found.map_or_else(OtherPersons::default, |(_, persons)| *persons)
    }

    /// The offset of the version that says that the record is gone, if the last one does.
    #[must_use]
    pub fn gone_offset(&self) -> Option<i64> {
        self.extras.as_ref()?.gone_offset
    }

    /// The offset of the record's last version.
    #[must_use]
    pub fn latest_offset(&self) -> i64 {
        self.gone_offset().unwrap_or(self.offset)
    }

    /// The offset of the last version that was not gone; `None` if none is known.
    #[must_use]
    pub fn fields_offset(&self) -> Option<i64> {
        (self.gone_offset() != Some(self.offset)).then_some(self.offset)
    }

    /// Sets or clears the version that says that the record is gone.
    pub fn set_gone_offset(&mut self, gone_offset: Option<i64>) {
        self.set_extra(gone_offset.is_some(), |extras| extras.gone_offset = gone_offset);
    }

    fn set_extra(&mut self, is_some: bool, set: impl FnOnce(&mut RowExtras)) {
        if is_some || self.extras.is_some() {
            let mut extras = self.extras.take().unwrap_or_default();
            set(&mut extras);
            self.extras = Some(extras).filter(|extras| **extras != RowExtras::default());
        }
    }

    /// Replaces the entries of recipients that the lane has.
    #[must_use]
    pub fn with_entries(&self, entries: RowBuilder) -> DeliveryRow {
        entries.build_row(DeliveryRow {
            extras: self.extras.clone(),
            entries: Box::default(),
            ..*self
        })
    }

    #[must_use]
    pub fn entry(&self, recipient: u16) -> Option<&DeliveryEntry> {
        self.entries.iter().find(|entry| entry.recipient == recipient)
    }
}

/// Collects the entries of a row.
#[derive(Debug, Default)]
pub struct RowBuilder {
    entries: Vec<DeliveryEntry>,
    /// Of the first live entry.
    first_decided_ms: Option<i64>,
    /// Of live entries that differ from it.
    other_first_decided_ms: Vec<(u16, i64)>,
    /// Of entries whose output time alone will thin.
    thins_at_ms: Vec<(u16, i64)>,
    /// Of entries whose output is about other persons, too.
    other_persons: Vec<(u16, OtherPersons)>,
}

impl RowBuilder {
    #[must_use]
    pub fn with_capacity(entries: usize) -> RowBuilder {
        RowBuilder { entries: Vec::with_capacity(entries), ..RowBuilder::default() }
    }

    /// Adds an entry, and when the record was first decided for it. Recipients come in order.
    pub fn push(&mut self, entry: DeliveryEntry, first_ms: i64) {
        if entry.is_live() && first_ms != *self.first_decided_ms.get_or_insert(first_ms) {
            self.other_first_decided_ms.push((entry.recipient, first_ms));
        }
        self.entries.push(entry);
    }

    /// Notes when time alone thins what a recipient has.
    pub fn note_thinning(&mut self, recipient: u16, at_ms: i64) {
        if at_ms != i64::MAX {
            self.thins_at_ms.push((recipient, at_ms));
        }
    }

    /// Notes whom what a recipient has is about beside the patron.
    pub fn note_other_persons(&mut self, recipient: u16, persons: OtherPersons) {
        if !persons.is_empty() {
            self.other_persons.push((recipient, persons));
        }
    }

    /// The entries so far.
    #[must_use]
    pub fn entries(&self) -> &[DeliveryEntry] {
        &self.entries
    }

    /// Adds an entry that replaces one of `row`.
    pub fn push_of_row(&mut self, entry: DeliveryEntry, row: &DeliveryRow) {
        self.push(entry, row.first_decided_ms_of_live(entry.recipient));
        self.note_thinning(entry.recipient, row.thins_at_ms(entry.recipient));
        self.note_other_persons(entry.recipient, row.other_persons(entry.recipient));
    }

    /// Replaces the entries of a row.
    #[must_use]
    pub fn build_row(self, mut row: DeliveryRow) -> DeliveryRow {
        let more = row.extras.take().map(|more| *more).unwrap_or_default();
        let more = RowExtras {
            first_decided_ms: self.other_first_decided_ms,
            thins_at_ms: self.thins_at_ms,
            other_persons: self.other_persons,
            ..more
        };
        row.extras = (more != RowExtras::default()).then(|| Box::new(more));
        row.first_decided_ms = self.first_decided_ms.unwrap_or(row.first_decided_ms);
        row.entries = self.entries.into();
        row
    }
}
