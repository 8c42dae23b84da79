//! Detectors: named finders of personal data in free text.
//!
//! What may be personal is taken for it: one nine-digit number in eleven passes
//! for a BSN, and any whole date may be a birth date. A detector reads the text
//! once, from left to right, and never looks back further than the last hit.
//! [`DETECTORS`] is the list of all of them.

mod address;
mod fold;
mod number;
mod own;
mod table;

pub use table::DETECTORS;

use fold::Folded;
use number::{Run, count, is_alphanumeric};
use own::OwnValues;

/// A row of [`DETECTORS`].
#[derive(Debug)]
pub struct DetectorDef {
    /// Its name in a recipient's file, in metrics, and in brackets in the text.
    pub name: &'static str,
    /// What it finds, in one sentence.
    pub finds: &'static str,
    /// The record's own values in the examples.
    pub own: &'static [&'static str],
    /// A text, and what it becomes.
    pub hits: &'static [(&'static str, &'static str)],
    /// Texts that stay as they are.
    pub misses: &'static [&'static str],
    detector: Detector,
}

/// The finders, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detector {
    Bsn,
    Rijksregisternummer,
    Iban,
    Email,
    Phone,
    PostcodeHouseNumber,
    BirthDate,
    CardNumber,
    OwnValues,
}

/// A name that no detector has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown detector {name:?}")]
pub struct UnknownDetector {
    /// The name that was given.
    pub name: String,
}

/// Some detectors, ready to be applied together.
///
/// Of hits that overlap the one that begins first wins, of those the longest,
/// of those the one that stands first in the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detectors {
    on: [bool; DETECTORS.len()],
}

impl Detectors {
    /// Puts together the detectors of these names.
    ///
    /// # Errors
    ///
    /// Every name that the table does not have.
    pub fn new<'n>(
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<Detectors, Vec<UnknownDetector>> {
        let mut detectors = Detectors::default();
        let mut unknown = Vec::new();
        for name in names {
            match DETECTORS.iter().find(|def| def.name == name) {
                Some(def) => detectors.on[def.detector as usize] = true,
                None => unknown.push(UnknownDetector {
                    name: name.to_owned(),
                }),
            }
        }
        if unknown.is_empty() {
            Ok(detectors)
        } else {
            Err(unknown)
        }
    }

    /// Lists the detectors that are on, in the order of the table.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        DETECTORS
            .iter()
            .zip(self.on)
            .filter_map(|(def, on)| on.then_some(def.name))
    }

    /// Tells whether the record's own values are looked for.
    #[must_use]
    pub fn needs_own_values(&self) -> bool {
        self.is_on(Detector::OwnValues)
    }

    /// Replaces each hit in `text` by its detector's name in brackets, and
    /// counts it in the place of its row in `hits`.
    ///
    /// True where there was one: the whole text then stands at the end of
    /// `out`. Otherwise `out` is as it was. Takes time linear in the text.
    pub fn apply<'o>(
        &self,
        text: &str,
        own: impl Iterator<Item = &'o str>,
        out: &mut String,
        hits: &mut [u32],
    ) -> bool {
        let own = if self.needs_own_values() {
            OwnValues::new(own)
        } else {
            OwnValues::default()
        };
        if own.is_empty() && !may_hit(text) {
            return false;
        }
        let folded = Folded::new(text);
        let scan = Scan {
            on: self,
            text: folded.bytes(),
            own,
        };
        let mut copied = None;
        scan.each_hit(|hit| {
            let (start, end) = folded.original(hit.start, hit.end);
            out.push_str(text.get(copied.unwrap_or(0)..start).unwrap_or(""));
            let row = hit.detector as usize;
            out.push('[');
            out.push_str(DETECTORS[row].name);
            out.push(']');
            if let Some(count) = hits.get_mut(row) {
                *count = count.saturating_add(1);
            }
            copied = Some(end);
        });
        if let Some(copied) = copied {
            out.push_str(text.get(copied..).unwrap_or(""));
        }
        copied.is_some()
    }

    fn is_on(&self, detector: Detector) -> bool {
        self.on[detector as usize]
    }
}

/// Tells whether anything but an own value may be found: every other hit has a
/// digit or an at sign in it.
fn may_hit(text: &str) -> bool {
    let may = |b: u8| b.is_ascii_digit() | (b == b'@') | !b.is_ascii();
    // Sixteen bytes at a time, without a branch for each.
    let (chunks, rest) = text.as_bytes().as_chunks::<16>();
    chunks
        .iter()
        .any(|chunk| chunk.iter().fold(false, |found, &b| found | may(b)))
        || rest.iter().any(|&b| may(b))
}

/// Bytes of the folded text, and what they are.
struct Hit {
    start: usize,
    end: usize,
    detector: Detector,
}

struct Scan<'a> {
    on: &'a Detectors,
    text: &'a [u8],
    own: OwnValues,
}

impl Scan<'_> {
    /// Walks over the hits from left to right; a book's number is stepped over.
    fn each_hit(&self, mut found: impl FnMut(Hit)) {
        let (mut at, mut edge) = (0, 0);
        while at < self.text.len() {
            let starts = Starts::at(self.text, at, edge);
            let run = (starts.number || starts.lead)
                .then(|| Run::read(self.text, at))
                .flatten();
            let book = run.as_ref().and_then(Run::isbn);
            let run = run.filter(|_| book.is_none());
            if let Some(hit) = self.best(at, edge, &starts, run) {
                (at, edge) = (hit.end, hit.end);
                found(hit);
            } else {
                at = book.unwrap_or(at + 1);
            }
        }
    }

    /// Finds the longest hit that begins at `at`. The end of the last hit, the
    /// edge, parts what stands after it from what stood before.
    fn best(&self, at: usize, edge: usize, starts: &Starts, run: Option<Run<'_>>) -> Option<Hit> {
        let mut best: Option<Hit> = None;
        let mut offer = |detector, end: Option<usize>| {
            if let Some(end) = end.filter(|&end| best.as_ref().is_none_or(|hit| end > hit.end)) {
                best = Some(Hit {
                    start: at,
                    end,
                    detector,
                });
            }
        };
        let on = |detector| self.on.is_on(detector);
        if let Some(run) = run {
            for (detector, find) in RUNS {
                if on(*detector) {
                    offer(*detector, find(&run));
                }
            }
        }
        if starts.number && on(Detector::PostcodeHouseNumber) {
            offer(
                Detector::PostcodeHouseNumber,
                address::postcode_house_number(self.text, at),
            );
        }
        if starts.number && on(Detector::BirthDate) {
            offer(Detector::BirthDate, address::written_date(self.text, at));
        }
        if starts.word && on(Detector::Iban) {
            offer(Detector::Iban, address::iban(self.text, at));
        }
        if starts.word && on(Detector::CardNumber) {
            offer(Detector::CardNumber, self.lettered_card(at));
        }
        if starts.local && on(Detector::Email) {
            offer(Detector::Email, address::email(self.text, at));
        }
        if !self.own.is_empty() {
            offer(Detector::OwnValues, self.own.end(self.text, at, edge));
        }
        best
    }

    /// Finds the end of a card number that has a letter or two before its digits.
    fn lettered_card(&self, at: usize) -> Option<usize> {
        let letters = count(self.text, at, 3, |b| b.is_ascii_alphabetic());
        if !(1..=2).contains(&letters) {
            return None;
        }
        let starts_with_digit = self.text.get(at + letters)?.is_ascii_digit();
        starts_with_digit
            .then(|| Run::read(self.text, at + letters)?.solid_card())
            .flatten()
    }
}

/// What a detector finds in a number.
type FindInRun = fn(&Run<'_>) -> Option<usize>;

/// The detectors of numbers, in the order of the table.
const RUNS: &[(Detector, FindInRun)] = &[
    (Detector::Bsn, |run| run.bsn()),
    (Detector::Rijksregisternummer, |run| {
        run.rijksregisternummer()
    }),
    (Detector::Phone, |run| run.phone()),
    (Detector::BirthDate, |run| run.date()),
    (Detector::CardNumber, |run| run.card()),
];

/// What may begin at a place, by the byte there and the one before.
struct Starts {
    /// A digit that no digit precedes.
    number: bool,
    /// A plus or a bracket.
    lead: bool,
    /// A letter that neither letter nor digit precedes.
    word: bool,
    /// What may stand in an address, after what may not.
    local: bool,
}

impl Starts {
    fn at(text: &[u8], at: usize, edge: usize) -> Starts {
        let b = text.get(at).copied().unwrap_or(0);
        let before = at.checked_sub(1).filter(|_| at != edge);
        let before = before.and_then(|at| text.get(at)).copied();
        let after = |suits: fn(u8) -> bool| !before.is_some_and(suits);
        Starts {
            number: b.is_ascii_digit() && after(|b| b.is_ascii_digit()),
            lead: b == b'+' || b == b'(',
            word: b.is_ascii_alphabetic() && after(is_alphanumeric),
            local: address::is_local(b) && after(address::is_local),
        }
    }
}

#[cfg(test)]
mod tests;
