//! What happened in a batch, in numbers: counted here, published after commit.

use std::ops::{Deref, DerefMut};

use crate::policy::detect::DETECTORS;
use crate::policy::mask::Noticed;
use crate::policy::reason::Reason;
use crate::transport::Coordinates;

/// A count for each reason, in the order of [`Reason::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByReason([u64; Reason::ALL.len()]);

/// The standard library has it for arrays of up to 32 only.
impl Default for ByReason {
    fn default() -> Self {
        ByReason([0; Reason::ALL.len()])
    }
}

impl Deref for ByReason {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.0
    }
}

impl DerefMut for ByReason {
    fn deref_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }
}

impl<'a> IntoIterator for &'a ByReason {
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
    /// Refused whole, by reason.
    pub refused: ByReason,
    /// Records of a kind that no recipient of the lane has as its source.
    pub applied: u64,
    /// Strings that did not fit their form, and counted as missing.
    pub unfit: u64,
    /// Dead letters of its records, by reason.
    pub dead_letters: ByReason,
    /// Records and grants from before an erasure, of a patron that is known again.
    pub outlived: u64,
    /// Nulls for patrons of whom nothing is known.
    pub unmatched: u64,
    /// Strings that are none of their list, and counted as missing.
    pub unlisted: u64,
    /// Records that say another country than their library's.
    pub other_country: u64,
    /// Consents and objections that counted for nothing, or not for all, in the
    /// order of [`Ignored::ALL`].
    pub ignored: [u64; Ignored::ALL.len()],
}

/// Why a consent or an objection that was understood counts for nothing, or not
/// for all that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// Nobody has its purpose, or one like it.
    UnknownPurpose,
    /// Nobody is called as the recipient that it names, or nearly.
    UnknownRecipient,
    /// A grant to a library that is not the patron's.
    OtherLibrary,
    /// It does not stop every recipient of its purpose, by their legal basis.
    ObjectionOtherBasis,
}

impl Ignored {
    /// Every cause, in the order of the enum.
    pub const ALL: &[Ignored] = &[
        Ignored::UnknownPurpose,
        Ignored::UnknownRecipient,
        Ignored::OtherLibrary,
        Ignored::ObjectionOtherBasis,
    ];

    /// The word that stands in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Ignored::UnknownPurpose => "unknown_purpose",
            Ignored::UnknownRecipient => "unknown_recipient",
            Ignored::OtherLibrary => "consent_other_library",
            Ignored::ObjectionOtherBasis => "objection_other_basis",
        }
    }
}

/// How many dead letters of gate sources a batch keeps the places of.
pub const NOTED_MAX: usize = 10;

/// Where a record of a gate source lies that became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// The source's place in the lane.
    pub source: usize,
    pub partition: i32,
    pub offset: i64,
    pub reason: Reason,
}

/// What an operator has to hear of at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warning {
    pub about: About,
    /// Of the source, by its place in the lane.
    pub at: Coordinates,
}

/// What a warning is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A null for a patron of whom nothing is known.
    ErasureUnmatched,
    /// A key on the patron source that is no patron's id.
    ForeignKey,
}

/// How many warnings of a batch are told one by one.
const WARNINGS_MAX: usize = 10;

/// The numbers of one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientTally {
    /// It got an output that it did not have.
    pub released: u64,
    /// It has the same already.
    pub unchanged: u64,
    pub bytes: u64,
    pub withheld: ByReason,
    /// The record waits for its patron.
    pub held: u64,
    /// What it had was taken back.
    pub retracted: ByReason,
    /// The record was refused whole before the recipient's gate saw it.
    pub refused: u64,
    /// What else than the record itself brought about.
    pub later: Later,
    pub seen: Seen,
    /// Values that were left out, as they have a national number of the patron.
    pub left_out: u64,
}

impl RecipientTally {
    /// Messages on the recipient's topic: outputs and tombstones.
    #[must_use]
    pub fn published(&self) -> u64 {
        let later = self.later.released + self.later.corrected;
        self.released + later + self.retractions().sum::<u64>()
    }

    /// What was taken back, by reason, whatever brought it about.
    pub fn retractions(&self) -> impl Iterator<Item = u64> {
        let both = self.retracted.iter().zip(self.later.retracted.iter());
        both.map(|(record, later)| record + later)
    }
}

/// What came of deciding records again, since something else than they changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Later {
    pub released: u64,
    /// Another output than it had.
    pub corrected: u64,
    pub unchanged: u64,
    pub retracted: ByReason,
    /// Its term was over, and it keeps what it has.
    pub forgotten: u64,
    /// The source no longer had the record.
    pub gone: u64,
}

impl Later {
    fn add(&mut self, more: &Later) {
        self.released += more.released;
        self.corrected += more.corrected;
        self.unchanged += more.unchanged;
        add_all(&mut self.retracted, &more.retracted);
        self.forgotten += more.forgotten;
        self.gone += more.gone;
    }
}

/// What projecting outputs met with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub detected: [u32; DETECTORS.len()],
    pub noticed: Noticed,
    /// Card numbers left out because they are national numbers.
    pub national_cards: u64,
}

impl Seen {
    /// Adds what another output, or batch, met with.
    pub fn absorb(&mut self, more: &Seen) {
        for (sum, hits) in self.detected.iter_mut().zip(more.detected) {
            *sum += hits;
        }
        self.noticed.short_name += more.noticed.short_name;
        self.noticed.short_card += more.noticed.short_card;
        self.national_cards += more.national_cards;
    }
}

/// The numbers of one batch.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub sources: Vec<SourceTally>,
    pub recipients: Vec<RecipientTally>,
    pub dead_letters: ByReason,
    /// The first dead letters of gate sources, [`NOTED_MAX`] at most.
    pub noted: Vec<Noted>,
    /// When the records of the batch were written, in milliseconds since 1970.
    pub written_ms: Vec<i64>,
    /// The first ones of the batch.
    pub warnings: Vec<Warning>,
}

impl Tally {
    #[must_use]
    pub fn new(sources: usize, recipients: usize) -> Self {
        Tally {
            sources: vec![SourceTally::default(); sources],
            recipients: vec![RecipientTally::default(); recipients],
            noted: Vec::with_capacity(NOTED_MAX),
            ..Tally::default()
        }
    }

    /// Adds the numbers of another batch of the same lane, but not its times.
    pub fn add(&mut self, other: &Tally) {
        for (sum, more) in self.sources.iter_mut().zip(&other.sources) {
            sum.consumed += more.consumed;
            sum.bytes += more.bytes;
            add_all(&mut sum.refused, &more.refused);
            sum.applied += more.applied;
            sum.unfit += more.unfit;
            add_all(&mut sum.dead_letters, &more.dead_letters);
            sum.outlived += more.outlived;
            sum.unmatched += more.unmatched;
            sum.unlisted += more.unlisted;
            sum.other_country += more.other_country;
            add_all(&mut sum.ignored, &more.ignored);
        }
        for (sum, more) in self.recipients.iter_mut().zip(&other.recipients) {
            sum.released += more.released;
            sum.unchanged += more.unchanged;
            sum.held += more.held;
            add_all(&mut sum.retracted, &more.retracted);
            sum.later.add(&more.later);
            sum.bytes += more.bytes;
            add_all(&mut sum.withheld, &more.withheld);
            sum.refused += more.refused;
            sum.seen.absorb(&more.seen);
            sum.left_out += more.left_out;
        }
        add_all(&mut self.dead_letters, &other.dead_letters);
    }

    /// Counts a dead letter; its place is kept where it is of a gate source.
    pub fn count_dead_letter(&mut self, letter: Noted, gate: bool) {
        let reason = letter.reason as usize;
        self.dead_letters[reason] += 1;
        if let Some(source) = self.sources.get_mut(letter.source) {
            source.dead_letters[reason] += 1;
        }
        if gate && self.noted.len() < NOTED_MAX {
            self.noted.push(letter);
        }
    }

    /// Notes a warning, unless there were many of them.
    pub fn warn(&mut self, about: About, at: Coordinates) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(Warning { about, at });
        }
    }

    /// Records taken in, of all sources.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.sources.iter().map(|source| source.consumed).sum()
    }

    /// Starts the next batch at nought.
    pub fn clear(&mut self) {
        self.sources.fill(SourceTally::default());
        self.recipients.fill(RecipientTally::default());
        self.dead_letters.fill(0);
        self.noted.clear();
        self.written_ms.clear();
        self.warnings.clear();
    }
}

fn add_all(sums: &mut [u64], more: &[u64]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}
