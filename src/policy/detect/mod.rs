//! Detectors: named finders of personal data in free text.
//!
//! In doubt, text is personal: one nine-digit number in eleven passes for a BSN, and any full date
//! may be a birth date. Detectors scan a text once from left to right and never look back past the
//! last hit.

mod addresses;
mod custom;
mod digit_runs;
mod folding;
mod own_values;
mod table;
mod words;

pub use custom::{
    CUSTOM_DETECTORS_MAX, CustomDetector, CustomDetectors, CustomPattern, PatternError, is_built_in,
};
pub use table::DETECTORS;
pub use words::{WordList, fold_word};

use std::ops::Range;

use digit_runs::{DigitRun, count_while, is_alphanumeric};
use folding::FoldBuffers;
use own_values::OwnValues;
use wide::u8x16;

use super::form::simd::{byte_mask, digit_mask, find_byte_in_class, may_have_min_digits};

/// A row of [`DETECTORS`].
#[derive(Debug)]
pub struct DetectorDef {
    /// Its name in a recipient's file, in metrics, and in brackets in the output.
    pub name: &'static str,
    /// What it finds, in one sentence.
    pub description: &'static str,
    /// The record's own values in the examples.
    pub own_values: &'static [&'static str],
    /// Texts and their redacted forms.
    pub hits: &'static [(&'static str, &'static str)],
    /// Texts that stay unchanged.
    pub misses: &'static [&'static str],
    detector: Detector,
}

/// In the order of the table.
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

/// How many rows counts by detector have: those of [`DETECTORS`], then those of the config.
pub const DETECTOR_ROWS: usize = DETECTORS.len() + CUSTOM_DETECTORS_MAX;

/// A text with fewer digits has no national number.
const NATIONAL_NUMBER_DIGITS_MIN: usize = 8;

/// Returns whether the detectors of national numbers find one in a text, whoever it is about.
#[must_use]
pub fn contains_national_number(text: &str) -> bool {
    if !may_have_min_digits(text.as_bytes(), NATIONAL_NUMBER_DIGITS_MIN) {
        return false;
    }
    let mut detectors = DetectorSet {
        enabled: [false; DETECTORS.len()],
        custom: CustomDetectors::default(),
        custom_enabled: Vec::new(),
    };
    for detector in [Detector::Bsn, Detector::Rijksregisternummer] {
        detectors.enabled[detector as usize] = true;
    }
    detectors.finds_any(&mut DetectorBuffers::default(), text)
}

/// No detector has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown detector {name:?}")]
pub struct UnknownDetector {
    pub name: String,
}

/// A set of detectors that are applied together.
///
/// Of overlapping hits of the table the one that begins first wins, then the longest, then the
/// first in the table. A hit of a config's detector that overlaps others is replaced together
/// with them, under the name of the one that begins first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DetectorSet {
    enabled: [bool; DETECTORS.len()],
    custom: CustomDetectors,
    /// By position in `custom`.
    custom_enabled: Vec<bool>,
}

/// Scratch buffers, reused for every text.
#[derive(Debug, Default)]
pub struct DetectorBuffers {
    fold_buffers: FoldBuffers,
    own_values: OwnValues,
}

impl DetectorBuffers {
    /// Forgets the own values, and the texts that were searched.
    pub fn clear(&mut self) {
        self.own_values.clear();
        self.fold_buffers.clear();
    }

    /// Adds a value of the record to search for, made of these parts.
    pub fn add_own_value<'o>(&mut self, parts: impl IntoIterator<Item = &'o str>) {
        self.own_values.add_value(parts);
    }
}

impl DetectorSet {
    /// Builds a set of detectors of the table by name.
    ///
    /// # Errors
    ///
    /// Every unknown name.
    pub fn new<'n>(
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<DetectorSet, Vec<UnknownDetector>> {
        DetectorSet::with_custom(names, &CustomDetectors::default())
    }

    /// Builds a set of detectors by name, out of the table and `custom`.
    ///
    /// # Errors
    ///
    /// Every unknown name.
    pub fn with_custom<'n>(
        names: impl IntoIterator<Item = &'n str>,
        custom: &CustomDetectors,
    ) -> Result<DetectorSet, Vec<UnknownDetector>> {
        let mut detectors = DetectorSet {
            enabled: [false; DETECTORS.len()],
            custom: custom.clone(),
            custom_enabled: vec![false; custom.len()],
        };
        let mut unknown = Vec::new();
        for name in names {
            if let Some(def) = DETECTORS.iter().find(|def| def.name == name) {
                detectors.enabled[def.detector as usize] = true;
            } else if let Some(at) = custom.iter().position(|one| one.name == name) {
                detectors.custom_enabled[at] = true;
            } else {
                unknown.push(UnknownDetector { name: name.to_owned() });
            }
        }
        if unknown.is_empty() { Ok(detectors) } else { Err(unknown) }
    }

    /// Builds the set of all detectors of the table and of `custom`.
    #[must_use]
    pub fn all(custom: &CustomDetectors) -> DetectorSet {
        DetectorSet {
            enabled: [true; DETECTORS.len()],
            custom: custom.clone(),
            custom_enabled: vec![true; custom.len()],
        }
    }

    /// Returns whether every detector of the table and of the config is enabled.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.enabled.iter().chain(&self.custom_enabled).all(|on| *on)
    }

    /// Returns whether some detector finds something in `text`; own values are not known.
    pub fn finds_any(&self, buffers: &mut DetectorBuffers, text: &str) -> bool {
        self.clear_own_values(buffers);
        if !self.has_custom() && !may_contain_hit(text.as_bytes()) {
            return false;
        }
        let folded = buffers.fold_buffers.fold_text(text);
        let mut custom = self.enabled_custom();
        if custom.any(|(_, one)| one.pattern.finds_any_in_folded(folded.text())) {
            return true;
        }
        let scan =
            TextScan { detectors: self, text: folded.bytes(), own_values: &buffers.own_values };
        let mut is_found = false;
        scan.for_each_hit(|_| is_found = true);
        is_found
    }

    /// Returns the enabled detectors: in the order of the table, then those of the config.
    pub fn enabled_names(&self) -> impl Iterator<Item = &str> {
        let table = DETECTORS.iter().zip(self.enabled);
        let table = table.filter_map(|(def, on)| on.then_some(def.name));
        table.chain(self.enabled_custom().map(|(_, one)| one.name.as_str()))
    }

    /// Returns the enabled detectors of the config, and their positions in it.
    pub fn enabled_custom(&self) -> impl Iterator<Item = (usize, &CustomDetector)> {
        let all = self.custom.iter().enumerate().zip(&self.custom_enabled);
        all.filter_map(|(one, on)| on.then_some(one))
    }

    fn has_custom(&self) -> bool {
        self.custom_enabled.contains(&true)
    }

    /// Returns whether the record's own values are searched for.
    #[must_use]
    pub fn needs_own_values(&self) -> bool {
        self.is_enabled(Detector::OwnValues)
    }

    /// Replaces each hit in `text` by its detector's name in brackets, and counts it in `hits` by
    /// the detector's row, see [`DETECTOR_ROWS`].
    ///
    /// Returns `true` and appends the whole text to `out` if there was a hit; otherwise leaves
    /// `out` unchanged. Takes time linear in the text.
    pub fn redact<'o>(
        &self,
        text: &str,
        own_values: impl Iterator<Item = &'o str>,
        out: &mut String,
        hits: &mut [u32],
    ) -> bool {
        self.redact_with_buffers(&mut DetectorBuffers::default(), text, own_values, out, hits)
    }

    /// Like [`DetectorSet::redact`], with reused buffers.
    pub fn redact_with_buffers<'o>(
        &self,
        buffers: &mut DetectorBuffers,
        text: &str,
        own_values: impl Iterator<Item = &'o str>,
        out: &mut String,
        hits: &mut [u32],
    ) -> bool {
        self.clear_own_values(buffers);
        if self.needs_own_values() {
            own_values.for_each(|value| buffers.add_own_value([value]));
        }
        self.redact_with_known_own_values(buffers, text, out, hits)
    }

    /// Forgets the own values of the previous text.
    pub fn clear_own_values(&self, buffers: &mut DetectorBuffers) {
        buffers.own_values.clear();
    }

    /// Like [`DetectorSet::redact`], with the own values that `buffers` already has.
    pub fn redact_with_known_own_values(
        &self,
        buffers: &mut DetectorBuffers,
        text: &str,
        out: &mut String,
        hits: &mut [u32],
    ) -> bool {
        let may_contain =
            !buffers.own_values.is_empty() || self.has_custom() || may_contain_hit(text.as_bytes());
        may_contain && self.redact_folded(text, buffers, out, hits)
    }

    #[inline(never)]
    fn redact_folded(
        &self,
        text: &str,
        buffers: &mut DetectorBuffers,
        out: &mut String,
        hits: &mut [u32],
    ) -> bool {
        let folded = buffers.fold_buffers.fold_text(text);
        let scan =
            TextScan { detectors: self, text: folded.bytes(), own_values: &buffers.own_values };
        let mut copied = None;
        let mut replace = |row: usize, range: Range<usize>| {
            let (start, end) = folded.source_range(range.start, range.end);
            out.push_str(text.get(copied.unwrap_or(0)..start).unwrap_or(""));
            out.push('[');
            out.push_str(self.name_of_row(row));
            out.push(']');
            if let Some(count) = hits.get_mut(row) {
                *count = count.saturating_add(1);
            }
            copied = Some(end);
        };
        if self.has_custom() {
            for (row, range) in self.merged_hits(&scan, folded.text()) {
                replace(row, range);
            }
        } else {
            scan.for_each_hit(|hit| replace(hit.detector as usize, hit.start..hit.end));
        }
        if let Some(copied) = copied {
            out.push_str(text.get(copied..).unwrap_or(""));
        }
        copied.is_some()
    }

    /// Returns the hits of all detectors and their rows, from left to right. Overlapping hits are
    /// one, so that nothing that was found remains.
    fn merged_hits(&self, scan: &TextScan<'_>, folded: &str) -> Vec<(usize, Range<usize>)> {
        let mut found: Vec<(usize, Range<usize>)> = Vec::new();
        scan.for_each_hit(|hit| found.push((hit.detector as usize, hit.start..hit.end)));
        for (at, custom) in self.enabled_custom() {
            let ranges = custom.pattern.find_in_folded(folded);
            found.extend(ranges.map(|range| (DETECTORS.len() + at, range)));
        }
        found.sort_by_key(|(row, range)| (range.start, std::cmp::Reverse(range.end), *row));
        let mut merged: Vec<(usize, Range<usize>)> = Vec::with_capacity(found.len());
        for (row, range) in found {
            match merged.last_mut().filter(|(_, last)| range.start < last.end) {
                Some((_, last)) => last.end = last.end.max(range.end),
                None => merged.push((row, range)),
            }
        }
        merged
    }

    fn name_of_row(&self, row: usize) -> &str {
        let custom = || row.checked_sub(DETECTORS.len()).and_then(|at| self.custom.get(at));
        match DETECTORS.get(row) {
            Some(def) => def.name,
            None => custom().map_or("", |one| one.name.as_str()),
        }
    }

    fn is_enabled(&self, detector: Detector) -> bool {
        self.enabled[detector as usize]
    }
}

/// Returns whether anything but an own value may be found: every other hit has a digit or an at
/// sign.
#[inline]
fn may_contain_hit(text: &[u8]) -> bool {
    let may = |chunk: &[u8; 16]| {
        let chunk = u8x16::new(*chunk);
        // Bytes beyond ASCII have their highest bit set.
        (digit_mask(chunk) | byte_mask(chunk, b'@') | chunk).to_bitmask() != 0
    };
    match text.last_chunk() {
        Some(last) => text.as_chunks().0.iter().any(may) || may(last),
        None => text.iter().any(|&b| b.is_ascii_digit() || b == b'@' || !b.is_ascii()),
    }
}

/// A range of the folded text and its detector.
#[derive(Debug, PartialEq, Eq)]
struct DetectorHit {
    start: usize,
    end: usize,
    detector: Detector,
}

struct TextScan<'a> {
    detectors: &'a DetectorSet,
    text: &'a [u8],
    own_values: &'a OwnValues,
}

impl TextScan<'_> {
    /// Calls `found` for each hit from left to right, skipping ISBNs.
    fn for_each_hit(&self, found: impl FnMut(DetectorHit)) {
        let mut ahead = HitStartFinder::new(self.text);
        self.for_each_hit_from_starts(
            |at, edge| self.own_values.next_start(self.text, at, ahead.next_start(at, edge)),
            found,
        );
    }

    /// Calls `found` for each hit that begins where `next` says, given a position and the end of
    /// the last hit.
    fn for_each_hit_from_starts(
        &self,
        mut next_start: impl FnMut(usize, usize) -> usize,
        mut found: impl FnMut(DetectorHit),
    ) {
        let (mut at, mut edge) = (0, 0);
        let mut address = EmailCandidate::default();
        loop {
            at = next_start(at, edge);
            if at >= self.text.len() {
                return;
            }
            let starts = StartFlags::flags_at(self.text, at, edge);
            if starts.is_email_start() {
                address.read_at(self.text, at);
            }
            let run = (starts.is_number_start() || starts.is_phone_prefix_start())
                .then(|| DigitRun::read(self.text, at))
                .flatten();
            let book = run.as_ref().and_then(DigitRun::isbn_end);
            let run = run.filter(|_| book.is_none());
            if let Some(hit) = self.longest_hit_at((at, edge), starts, run, address.address_end) {
                (at, edge) = (hit.end, hit.end);
                found(hit);
            } else {
                at = book.unwrap_or(at + 1);
            }
        }
    }

    /// Finds the longest hit that begins at `at`. `edge`, the end of the last hit, counts as a word
    /// boundary. `email` is the address whose local part contains `at`.
    fn longest_hit_at(
        &self,
        (at, edge): (usize, usize),
        starts: StartFlags,
        run: Option<DigitRun<'_>>,
        email: Option<usize>,
    ) -> Option<DetectorHit> {
        let mut best: Option<DetectorHit> = None;
        let mut offer = |detector, end: Option<usize>| {
            if let Some(end) = end.filter(|&end| best.as_ref().is_none_or(|hit| end > hit.end)) {
                best = Some(DetectorHit { start: at, end, detector });
            }
        };
        let on = |detector| self.detectors.is_enabled(detector);
        if let Some(run) = run {
            for (detector, find) in DIGIT_RUN_FINDERS {
                if on(*detector) {
                    offer(*detector, find(&run));
                }
            }
        }
        if starts.is_number_start() && on(Detector::PostcodeHouseNumber) {
            offer(
                Detector::PostcodeHouseNumber,
                addresses::postcode_and_house_number_end(self.text, at),
            );
        }
        if starts.is_number_start() && on(Detector::BirthDate) {
            offer(Detector::BirthDate, addresses::date_in_words_end(self.text, at));
        }
        if starts.is_word_start() && on(Detector::Iban) {
            offer(Detector::Iban, addresses::iban_end(self.text, at));
        }
        if starts.is_word_start() && on(Detector::CardNumber) {
            offer(Detector::CardNumber, self.card_with_letter_prefix_end(at));
        }
        if starts.is_email_start() && on(Detector::Email) {
            offer(Detector::Email, email);
        }
        if self.own_values.may_start_at(self.text, at) {
            offer(Detector::OwnValues, self.own_values.longest_match_end(self.text, at, edge));
        }
        best
    }

    /// Finds the end of a card number with one or two letters before its digits.
    fn card_with_letter_prefix_end(&self, at: usize) -> Option<usize> {
        let letters = count_while(self.text, at, 3, |b| b.is_ascii_alphabetic());
        if !(1..=2).contains(&letters) {
            return None;
        }
        let starts_with_digit = self.text.get(at + letters)?.is_ascii_digit();
        starts_with_digit
            .then(|| DigitRun::read(self.text, at + letters)?.ungrouped_card_number_end())
            .flatten()
    }
}

/// The last address whose local part was scanned: each is read once, however many hits end in its
/// local part.
#[derive(Default)]
struct EmailCandidate {
    local_part_end: usize,
    /// `None` if it is no address.
    address_end: Option<usize>,
}

impl EmailCandidate {
    /// Reads the address whose local part continues at `at`.
    fn read_at(&mut self, text: &[u8], at: usize) {
        if at >= self.local_part_end {
            self.local_part_end = at + addresses::email_local_part_len(text, at);
            self.address_end = addresses::email_domain_end(text, self.local_part_end);
        }
    }
}

/// Returns the end of a hit at the start of a number.
type DigitRunFinder = fn(&DigitRun<'_>) -> Option<usize>;

/// In the order of the table.
const DIGIT_RUN_FINDERS: &[(Detector, DigitRunFinder)] = &[
    (Detector::Bsn, |run| run.bsn_end()),
    (Detector::Rijksregisternummer, |run| run.rijksregisternummer_end()),
    (Detector::Phone, |run| run.phone_end()),
    (Detector::BirthDate, |run| run.date_end()),
    (Detector::CardNumber, |run| run.card_number_end()),
];

/// Finds where a hit other than an own value may begin: in the letters or separators before a
/// digit, or at the start of a local part before an at sign.
struct HitStartFinder<'t> {
    text: &'t [u8],
    /// The next digit, and the earliest start of a number with it.
    next_digit: usize,
    number_start: usize,
    /// The next at sign, and the start of the local part before it.
    next_at_sign: usize,
    local_part_start: usize,
}

/// No hit except own values has more letters before its first digit.
const LETTERS_BEFORE_DIGIT_MAX: usize = 2;

impl<'t> HitStartFinder<'t> {
    fn new(text: &'t [u8]) -> Self {
        let mut ahead = HitStartFinder {
            text,
            next_digit: 0,
            number_start: 0,
            next_at_sign: 0,
            local_part_start: 0,
        };
        ahead.seek_digit(0);
        ahead.seek_at_sign(0);
        ahead
    }

    fn seek_digit(&mut self, from: usize) {
        self.next_digit = find_byte_in_class(self.text, from, digit_mask);
        self.number_start = self.text.len();
        if self.next_digit < self.text.len() {
            let before = self.text[from..self.next_digit].iter().rev();
            let gap = before.take_while(|&&b| !is_alphanumeric(b)).count();
            self.number_start = (self.next_digit - gap).saturating_sub(LETTERS_BEFORE_DIGIT_MAX);
        }
    }

    fn seek_at_sign(&mut self, from: usize) {
        self.next_at_sign = find_byte_in_class(self.text, from, |chunk| byte_mask(chunk, b'@'));
        self.local_part_start = self.next_at_sign;
        if self.next_at_sign < self.text.len() {
            let before = self.text[from..self.next_at_sign].iter().rev();
            self.local_part_start -=
                before.take_while(|&&b| addresses::is_local_part_byte(b)).count();
        }
    }

    /// Returns the next such position from `at` on, or the end of the text.
    fn next_start(&mut self, at: usize, last_hit_end: usize) -> usize {
        if self.next_digit < at {
            self.seek_digit(at);
        }
        while self.next_at_sign < at {
            self.seek_at_sign(self.next_at_sign + 1);
        }
        let name = if self.local_part_start >= at {
            self.local_part_start
        } else if at == last_hit_end {
            // The last hit ended in the local part.
            at
        } else {
            // A hit may still end in the local part.
            self.next_at_sign
        };
        at.max(self.number_start.min(name))
    }
}

/// What may begin at a position, by its byte and the previous one, as bits.
#[derive(Clone, Copy)]
struct StartFlags(u8);

/// A digit not preceded by a digit.
const NUMBER_START: u8 = 1;
/// A letter not preceded by a letter or digit.
const WORD_START: u8 = 2;
/// A local-part byte not preceded by one.
const EMAIL_START: u8 = 4;
/// A plus sign or bracket.
const PHONE_PREFIX_START: u8 = 8;

/// By byte: what it may start, and what may not start right after it.
const START_TABLE: [(u8, u8); 256] = {
    let mut starts = [(0, 0); 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let (mut opens, mut blocks) = (0, 0);
        if b.is_ascii_digit() {
            opens |= NUMBER_START;
            blocks |= NUMBER_START;
        }
        if b.is_ascii_alphabetic() {
            opens |= WORD_START;
        }
        if is_alphanumeric(b) {
            blocks |= WORD_START;
        }
        if addresses::is_local_part_byte(b) {
            opens |= EMAIL_START;
            blocks |= EMAIL_START;
        }
        if b == b'+' || b == b'(' {
            opens |= PHONE_PREFIX_START;
        }
        starts[byte] = (opens, blocks);
        byte += 1;
    }
    starts
};

impl StartFlags {
    fn flags_at(text: &[u8], at: usize, last_hit_end: usize) -> StartFlags {
        let opens = text.get(at).map_or(0, |&b| START_TABLE[usize::from(b)].0);
        let before = at.checked_sub(1).filter(|_| at != last_hit_end);
        let before = before.and_then(|at| text.get(at));
        StartFlags(opens & !before.map_or(0, |&b| START_TABLE[usize::from(b)].1))
    }

    fn is_number_start(self) -> bool {
        self.0 & NUMBER_START != 0
    }

    fn is_word_start(self) -> bool {
        self.0 & WORD_START != 0
    }

    fn is_email_start(self) -> bool {
        self.0 & EMAIL_START != 0
    }

    fn is_phone_prefix_start(self) -> bool {
        self.0 & PHONE_PREFIX_START != 0
    }
}

#[cfg(test)]
mod tests;
