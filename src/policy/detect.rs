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

use fold::Folding;
use number::{Run, count, is_alphanumeric};
use own::OwnValues;
use wide::u8x16;

use super::bytes::{digits, find, only};

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

/// The buffers of finding, used again for every text.
#[derive(Debug, Default)]
pub struct Buffers {
    folding: Folding,
    own: OwnValues,
}

impl Buffers {
    /// Looks for one more value of the record's own, which is made of these parts.
    pub fn look_for<'o>(&mut self, parts: impl IntoIterator<Item = &'o str>) {
        self.own.add(parts);
    }
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
        self.apply_with(&mut Buffers::default(), text, own, out, hits)
    }

    /// Does as [`Detectors::apply`], in buffers that were used before.
    pub fn apply_with<'o>(
        &self,
        buffers: &mut Buffers,
        text: &str,
        own: impl Iterator<Item = &'o str>,
        out: &mut String,
        hits: &mut [u32],
    ) -> bool {
        self.begin(buffers);
        if self.needs_own_values() {
            own.for_each(|value| buffers.look_for([value]));
        }
        self.replace_in(buffers, text, out, hits)
    }

    /// Begins with another text: no value is looked for yet.
    pub fn begin(&self, buffers: &mut Buffers) {
        buffers.own.clear();
    }

    /// Does as [`Detectors::apply`], with the own values that `buffers` was told to
    /// look for.
    pub fn replace_in(
        &self,
        buffers: &mut Buffers,
        text: &str,
        out: &mut String,
        hits: &mut [u32],
    ) -> bool {
        (!buffers.own.is_empty() || may_hit(text.as_bytes()))
            && self.replace(text, buffers, out, hits)
    }

    fn replace(
        &self,
        text: &str,
        buffers: &mut Buffers,
        out: &mut String,
        hits: &mut [u32],
    ) -> bool {
        let folded = buffers.folding.fold(text);
        let scan = Scan {
            on: self,
            text: folded.bytes(),
            own: &buffers.own,
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
#[inline]
fn may_hit(text: &[u8]) -> bool {
    let may = |chunk: &[u8; 16]| {
        let chunk = u8x16::new(*chunk);
        // Of the bytes themselves, those beyond ASCII have their highest bit set.
        (digits(chunk) | only(chunk, b'@') | chunk).to_bitmask() != 0
    };
    match text.last_chunk() {
        Some(last) => text.as_chunks().0.iter().any(may) || may(last),
        None => text
            .iter()
            .any(|&b| b.is_ascii_digit() || b == b'@' || !b.is_ascii()),
    }
}

/// Bytes of the folded text, and what they are.
#[derive(Debug, PartialEq, Eq)]
struct Hit {
    start: usize,
    end: usize,
    detector: Detector,
}

struct Scan<'a> {
    on: &'a Detectors,
    text: &'a [u8],
    own: &'a OwnValues,
}

impl Scan<'_> {
    /// Walks over the hits from left to right; a book's number is stepped over.
    fn each_hit(&self, found: impl FnMut(Hit)) {
        let mut ahead = Ahead::new(self.text);
        self.each_hit_from(
            |at, edge| self.own.may_begin(self.text, at, ahead.next(at, edge)),
            found,
        );
    }

    /// Walks over the hits that begin where `next` says: from a place on, and
    /// with the end of the last hit.
    fn each_hit_from(
        &self,
        mut next: impl FnMut(usize, usize) -> usize,
        mut found: impl FnMut(Hit),
    ) {
        let (mut at, mut edge) = (0, 0);
        let mut address = Address::default();
        loop {
            at = next(at, edge);
            if at >= self.text.len() {
                return;
            }
            let starts = Starts::at(self.text, at, edge);
            if starts.local() {
                address.read(self.text, at);
            }
            let run = (starts.number() || starts.lead())
                .then(|| Run::read(self.text, at))
                .flatten();
            let book = run.as_ref().and_then(Run::isbn);
            let run = run.filter(|_| book.is_none());
            if let Some(hit) = self.best((at, edge), starts, run, address.end) {
                (at, edge) = (hit.end, hit.end);
                found(hit);
            } else {
                at = book.unwrap_or(at + 1);
            }
        }
    }

    /// Finds the longest hit that begins at `at`. The end of the last hit, the
    /// edge, parts what stands after it from what stood before. `email` is the end
    /// of the address of whose name the byte at `at` is.
    fn best(
        &self,
        (at, edge): (usize, usize),
        starts: Starts,
        run: Option<Run<'_>>,
        email: Option<usize>,
    ) -> Option<Hit> {
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
        if starts.number() && on(Detector::PostcodeHouseNumber) {
            offer(
                Detector::PostcodeHouseNumber,
                address::postcode_house_number(self.text, at),
            );
        }
        if starts.number() && on(Detector::BirthDate) {
            offer(Detector::BirthDate, address::written_date(self.text, at));
        }
        if starts.word() && on(Detector::Iban) {
            offer(Detector::Iban, address::iban(self.text, at));
        }
        if starts.word() && on(Detector::CardNumber) {
            offer(Detector::CardNumber, self.lettered_card(at));
        }
        if starts.local() && on(Detector::Email) {
            offer(Detector::Email, email);
        }
        if self.own.has_first(self.text, at) {
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

/// The address whose name was met last: each is read once, however many hits end
/// in its name.
#[derive(Default)]
struct Address {
    name_end: usize,
    /// None where it is no address.
    end: Option<usize>,
}

impl Address {
    /// Reads the address whose name goes on at `at`.
    fn read(&mut self, text: &[u8], at: usize) {
        if at >= self.name_end {
            self.name_end = at + address::email_name(text, at);
            self.end = address::email_domain(text, self.name_end);
        }
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

/// The places where a hit may begin that is no own value: in the letters before a
/// digit or what stands between them, or where the name before an at sign does.
struct Ahead<'t> {
    text: &'t [u8],
    /// The next digit, and where a number with it may begin.
    digit: usize,
    number: usize,
    /// The next at sign, and where the name before it begins.
    sign: usize,
    name: usize,
}

/// No hit but an own value has more letters before its first digit.
const LETTERS_MAX: usize = 2;

impl<'t> Ahead<'t> {
    fn new(text: &'t [u8]) -> Self {
        let mut ahead = Ahead {
            text,
            digit: 0,
            number: 0,
            sign: 0,
            name: 0,
        };
        ahead.look_for_digit(0);
        ahead.look_for_sign(0);
        ahead
    }

    fn look_for_digit(&mut self, from: usize) {
        self.digit = find(self.text, from, digits);
        self.number = self.text.len();
        if self.digit < self.text.len() {
            let before = self.text[from..self.digit].iter().rev();
            let gap = before.take_while(|&&b| !is_alphanumeric(b)).count();
            self.number = (self.digit - gap).saturating_sub(LETTERS_MAX);
        }
    }

    fn look_for_sign(&mut self, from: usize) {
        self.sign = find(self.text, from, |chunk| only(chunk, b'@'));
        self.name = self.sign;
        if self.sign < self.text.len() {
            let before = self.text[from..self.sign].iter().rev();
            self.name -= before.take_while(|&&b| address::is_local(b)).count();
        }
    }

    /// Finds the next such place from `at` on, or the end of the text.
    fn next(&mut self, at: usize, edge: usize) -> usize {
        if self.digit < at {
            self.look_for_digit(at);
        }
        while self.sign < at {
            self.look_for_sign(self.sign + 1);
        }
        let name = if self.name >= at {
            self.name
        } else if at == edge {
            // The last hit ended in the name.
            at
        } else {
            // A hit may still end in the name.
            self.sign
        };
        at.max(self.number.min(name))
    }
}

/// What may begin at a place, by the byte there and the one before: a bit each.
#[derive(Clone, Copy)]
struct Starts(u8);

/// A digit that no digit precedes.
const NUMBER: u8 = 1;
/// A letter that neither letter nor digit precedes.
const WORD: u8 = 2;
/// What may stand in an address, after what may not.
const LOCAL: u8 = 4;
/// A plus or a bracket.
const LEAD: u8 = 8;

/// By byte: what it may begin, and what may not begin right after it.
const STARTS: [(u8, u8); 256] = {
    let mut starts = [(0, 0); 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let (mut opens, mut blocks) = (0, 0);
        if b.is_ascii_digit() {
            opens |= NUMBER;
            blocks |= NUMBER;
        }
        if b.is_ascii_alphabetic() {
            opens |= WORD;
        }
        if is_alphanumeric(b) {
            blocks |= WORD;
        }
        if address::is_local(b) {
            opens |= LOCAL;
            blocks |= LOCAL;
        }
        if b == b'+' || b == b'(' {
            opens |= LEAD;
        }
        starts[byte] = (opens, blocks);
        byte += 1;
    }
    starts
};

impl Starts {
    fn at(text: &[u8], at: usize, edge: usize) -> Starts {
        let opens = text.get(at).map_or(0, |&b| STARTS[usize::from(b)].0);
        let before = at.checked_sub(1).filter(|_| at != edge);
        let before = before.and_then(|at| text.get(at));
        Starts(opens & !before.map_or(0, |&b| STARTS[usize::from(b)].1))
    }

    fn number(self) -> bool {
        self.0 & NUMBER != 0
    }

    fn word(self) -> bool {
        self.0 & WORD != 0
    }

    fn local(self) -> bool {
        self.0 & LOCAL != 0
    }

    fn lead(self) -> bool {
        self.0 & LEAD != 0
    }
}

#[cfg(test)]
mod tests;
