//! The numbers of a batch: counted while deciding, published after commit.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use crate::message::Coordinates;
use crate::policy::detect::DETECTOR_ROWS;
use crate::policy::mask::ShortValueCounts;
use crate::policy::reason::Reason;

/// A count for each reason, in the order of [`Reason::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonCounts([u64; Reason::ALL.len()]);

/// `Default` is derived for arrays of up to 32 elements only.
impl Default for ReasonCounts {
    fn default() -> Self {
        ReasonCounts([0; Reason::ALL.len()])
    }
}

impl Deref for ReasonCounts {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.0
    }
}

impl DerefMut for ReasonCounts {
    fn deref_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }
}

impl<'a> IntoIterator for &'a ReasonCounts {
    type Item = &'a u64;
    type IntoIter = std::slice::Iter<'a, u64>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// The numbers of one source of the lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceTally {
    pub consumed: u64,
    pub bytes: u64,
    /// Records refused whole, by reason.
    pub refused: ReasonCounts,
    /// Records of a source without recipients.
    pub gate_records: u64,
    /// Strings that do not fit their form, and count as missing.
    pub format_errors: u64,
    /// Dead letters of its records, by reason.
    pub dead_letters: ReasonCounts,
    /// Records and grants from before an erasure, of a patron that is known again.
    pub from_before_erasure: u64,
    /// Nulls for unknown patrons.
    pub unmatched_erasures: u64,
    /// Strings that are not on their list, and count as missing.
    pub unlisted_values: u64,
    /// Records whose country is not that of their library.
    pub country_mismatches: u64,
    /// Consents and objections that have no effect, or not all of it, in the order of
    /// [`IgnoredReason::ALL`].
    pub ignored_statements: [u64; IgnoredReason::ALL.len()],
    /// Records whose upstream's operation could not be read.
    pub unusable_trace_parents: u64,
}

/// Why a consent or an objection that was understood has no effect, or not all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgnoredReason {
    /// No recipient has its purpose or a similar one.
    UnknownPurpose,
    /// No recipient has the name or a similar one.
    UnknownRecipient,
    /// It grants another library than the patron's.
    OtherLibrary,
    /// Some recipients of its purpose have a legal basis that it does not stop.
    ObjectionOtherBasis,
}

impl IgnoredReason {
    /// In the order of the enum.
    pub const ALL: &[IgnoredReason] = &[
        IgnoredReason::UnknownPurpose,
        IgnoredReason::UnknownRecipient,
        IgnoredReason::OtherLibrary,
        IgnoredReason::ObjectionOtherBasis,
    ];

    /// The label in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            IgnoredReason::UnknownPurpose => "unknown_purpose",
            IgnoredReason::UnknownRecipient => "unknown_recipient",
            IgnoredReason::OtherLibrary => "consent_other_library",
            IgnoredReason::ObjectionOtherBasis => "objection_other_basis",
        }
    }
}

/// A batch keeps the positions of at most this many dead letters of gate sources.
pub const GATE_DEAD_LETTERS_MAX: usize = 10;

/// The position of a gate record that became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetterPosition {
    /// Index in the lane's sources.
    pub source_index: usize,
    pub partition: i32,
    pub offset: i64,
    pub reason: Reason,
}

/// What an operator has to be told at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchWarning {
    pub kind: WarningKind,
    pub coordinates: Coordinates,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarningKind {
    /// A null for an unknown patron.
    ErasureUnmatched,
    /// A key of the patron source that is not a patron's id.
    ForeignKey,
}

/// At most this many warnings of a batch are kept.
const WARNINGS_MAX: usize = 10;

/// The numbers of one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientTally {
    /// Outputs that the recipient did not have.
    pub released: u64,
    /// Records of which it has the same output already.
    pub unchanged: u64,
    pub bytes: u64,
    pub withheld: ReasonCounts,
    /// Records that wait for their patron.
    pub held: u64,
    /// Outputs that it lost.
    pub retracted: ReasonCounts,
    /// Records refused whole, before its gates saw them.
    pub refused: u64,
    /// The same of records that were decided again.
    pub rechecked: RecheckTally,
    pub projection_counts: ProjectionCounts,
    /// Outputs that were published without the fields that its `thinned` drops, of all records.
    pub thinned: u64,
    /// Values left out of outputs because a national number of the patron is in them.
    pub omitted_values: u64,
    /// The times of the objections to marketing that took outputs back, in milliseconds since
    /// 1970; not of those without a time.
    pub marketing_objections_ms: Vec<i64>,
}

impl RecipientTally {
    /// Messages on the recipient's topic: outputs and tombstones.
    #[must_use]
    pub fn published_messages(&self) -> u64 {
        let later = self.rechecked.released + self.rechecked.corrected;
        self.released + later + self.retraction_counts().sum::<u64>()
    }

    /// Outputs that it lost, by reason, of all records.
    pub fn retraction_counts(&self) -> impl Iterator<Item = u64> {
        let both = self.retracted.iter().zip(self.rechecked.retracted.iter());
        both.map(|(record, later)| record + later)
    }
}

/// The numbers of records that were decided again because something else changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecheckTally {
    pub released: u64,
    /// Outputs that replaced another one.
    pub corrected: u64,
    pub unchanged: u64,
    pub retracted: ReasonCounts,
    /// Outputs that it keeps after their term, and that are tracked no longer.
    pub forgotten: u64,
    /// Records that their source no longer has.
    pub source_gone: u64,
}

impl RecheckTally {
    fn add(&mut self, more: &RecheckTally) {
        self.released += more.released;
        self.corrected += more.corrected;
        self.unchanged += more.unchanged;
        add_counts(&mut self.retracted, &more.retracted);
        self.forgotten += more.forgotten;
        self.source_gone += more.source_gone;
    }
}

/// The numbers of projected outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectionCounts {
    pub detected: [u32; DETECTOR_ROWS],
    pub short_values: ShortValueCounts,
    /// Card numbers left out because they are national numbers.
    pub national_cards: u64,
}

impl ProjectionCounts {
    pub fn add(&mut self, more: &ProjectionCounts) {
        for (sum, hits) in self.detected.iter_mut().zip(more.detected) {
            *sum += hits;
        }
        self.short_values.short_names += more.short_values.short_names;
        self.short_values.short_card_numbers += more.short_values.short_card_numbers;
        self.national_cards += more.national_cards;
    }
}

/// Where and why a recipient lost an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RetractionOrigin {
    pub partition: i32,
    /// Index in the lane's recipients.
    pub recipient: u16,
    pub reason: Reason,
    /// Whether a new version of the record was the cause.
    pub is_new_version: bool,
}

/// The numbers of one batch.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub sources: Vec<SourceTally>,
    pub recipients: Vec<RecipientTally>,
    /// What the lane's recipients lost.
    pub retractions: BTreeMap<RetractionOrigin, u64>,
    /// Of recipients that are no longer served, as far as something was taken from one.
    pub former_recipients: Vec<RecipientTally>,
    pub dead_letters: ReasonCounts,
    /// The first [`GATE_DEAD_LETTERS_MAX`] of gate sources.
    pub gate_dead_letters: Vec<DeadLetterPosition>,
    /// Timestamps of the records, in milliseconds since 1970.
    pub written_ms: Vec<i64>,
    /// The first `WARNINGS_MAX` of the batch.
    pub warnings: Vec<BatchWarning>,
}

impl Tally {
    #[must_use]
    pub fn new(sources: usize, recipients: usize) -> Self {
        Tally {
            sources: vec![SourceTally::default(); sources],
            recipients: vec![RecipientTally::default(); recipients],
            gate_dead_letters: Vec::with_capacity(GATE_DEAD_LETTERS_MAX),
            ..Tally::default()
        }
    }

    /// Adds the numbers of another batch of the same lane, except for its timestamps, the times of
    /// objections and the origins of retractions.
    pub fn add(&mut self, other: &Tally) {
        for (sum, more) in self.sources.iter_mut().zip(&other.sources) {
            sum.consumed += more.consumed;
            sum.bytes += more.bytes;
            add_counts(&mut sum.refused, &more.refused);
            sum.gate_records += more.gate_records;
            sum.format_errors += more.format_errors;
            add_counts(&mut sum.dead_letters, &more.dead_letters);
            sum.from_before_erasure += more.from_before_erasure;
            sum.unmatched_erasures += more.unmatched_erasures;
            sum.unlisted_values += more.unlisted_values;
            sum.country_mismatches += more.country_mismatches;
            add_counts(&mut sum.ignored_statements, &more.ignored_statements);
            sum.unusable_trace_parents += more.unusable_trace_parents;
        }
        for (sum, more) in self.recipients.iter_mut().zip(&other.recipients) {
            sum.released += more.released;
            sum.unchanged += more.unchanged;
            sum.held += more.held;
            add_counts(&mut sum.retracted, &more.retracted);
            sum.rechecked.add(&more.rechecked);
            sum.bytes += more.bytes;
            add_counts(&mut sum.withheld, &more.withheld);
            sum.refused += more.refused;
            sum.projection_counts.add(&more.projection_counts);
            sum.thinned += more.thinned;
            sum.omitted_values += more.omitted_values;
        }
        for (index, more) in other.former_recipients.iter().enumerate() {
            let sum = self.former_recipient(index);
            add_counts(&mut sum.retracted, &more.retracted);
            sum.rechecked.add(&more.rechecked);
        }
        add_counts(&mut self.dead_letters, &other.dead_letters);
    }

    /// The numbers of a recipient that is no longer served.
    pub fn former_recipient(&mut self, index: usize) -> &mut RecipientTally {
        if index >= self.former_recipients.len() {
            self.former_recipients.resize_with(index + 1, RecipientTally::default);
        }
        &mut self.former_recipients[index]
    }

    /// Counts a dead letter, and keeps its position if it is of a record of a gate source that was
    /// not read.
    pub fn count_dead_letter(&mut self, position: DeadLetterPosition, is_unread_gate: bool) {
        let reason = position.reason as usize;
        self.dead_letters[reason] += 1;
        if let Some(source) = self.sources.get_mut(position.source_index) {
            source.dead_letters[reason] += 1;
        }
        if is_unread_gate && self.gate_dead_letters.len() < GATE_DEAD_LETTERS_MAX {
            self.gate_dead_letters.push(position);
        }
    }

    /// Adds a warning, unless there are too many.
    pub fn warn(&mut self, kind: WarningKind, coordinates: Coordinates) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(BatchWarning { kind, coordinates });
        }
    }

    /// Records of all sources.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.sources.iter().map(|source| source.consumed).sum()
    }

    /// Resets all numbers for the next batch.
    pub fn clear(&mut self) {
        self.sources.fill(SourceTally::default());
        self.recipients.fill(RecipientTally::default());
        self.former_recipients.clear();
        self.retractions.clear();
        self.dead_letters.fill(0);
        self.gate_dead_letters.clear();
        self.written_ms.clear();
        self.warnings.clear();
    }
}

fn add_counts(sums: &mut [u64], more: &[u64]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}
