//! The script of a source: how its records lie, from brace to brace.
//!
//! Systems write record after record with the same members in the same order.
//! So what one record shows is the script of the next ones: each line is all that
//! stood between two values, and what is to be done with the value behind it.
//! Members that only some records have are put in between.
//! Following it takes one comparison a line; objects inside are lines like
//! others. A member that is not there this time is passed over. Whatever else
//! differs, the record is read anew without the script: nothing here changes
//! what a record means.

use std::hash::BuildHasher;
use std::ops::Range;

use foldhash::fast::FixedState;

use super::keys::Wanted;
use super::reader::{Reader, Tail, WINDOW, simple};
use super::record::Values;
use super::shape::{MEMBERS_MAX, Shape, Target};
use super::value::Slot;
use crate::json::scan::{PIECE, Scanner, cold_path, equal_half, special_bytes};
use crate::policy::catalogue::Type;

/// A record of more lines has no script.
const LINES_MAX: usize = 256;
/// So many lines in a row may be passed over.
const ABSENT_MAX: usize = 8;
/// A script is given up for a while when its score is as low as this: for each
/// record that it was of no use for two others must have followed it.
const SCORE_MIN: i32 = -16;
const SCORE_MAX: i32 = 16;
/// How many records are read without one then.
const PAUSE: u32 = 2_000;
/// A record is written down for every so many at most, in the end.
const PATIENCE_MAX: u32 = 1_000;
/// Lengths are taken of one record of so many.
const STUDIED: i32 = 64;
/// So many of them in a row must have one length for it to be the usual one.
const SURE: u8 = 12;

/// The script of one source, and whether it is of use.
///
/// It grows: a record with members that no other had puts theirs in between.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    known: Lines,
    /// A record that could not follow, and both together: used again and again.
    other: Lines,
    both: Lines,
    /// How long the strings of its lines were, of some records.
    lately: Vec<Lately>,
    /// So many records come before the next one that lengths are taken of.
    unstudied: i32,
    score: i32,
    /// So many records are still to be read without it.
    pause: u32,
    /// So many records that it is of no use for are let go before another is
    /// written down, and how many of them are left.
    patience: u32,
    wait: u32,
}

/// The lines of a script.
#[derive(Clone, Debug, Default)]
struct Lines {
    lines: Vec<Line>,
    /// A hash of each member's name.
    names: Vec<u64>,
    /// The objects inside each other that it has.
    depth: u32,
}

/// What stands between two values, and what the second is.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line {
    /// From behind the value before, or from the object's brace on, which counts
    /// as a comma; up to the value, with the quote of a string.
    gap: [u8; PIECE],
    /// A bit for each byte that is behind the gap.
    behind: u32,
    /// The brace may stand in place of the comma.
    may_be_first: bool,
    /// How far it is to the value.
    length: u8,
    /// The line to go on with if this one does not stand there; 0 if there is none.
    absent: u16,
    /// The value is a string, as most are.
    is_text: bool,
    /// Where that is kept; of one that nobody wants, beside the wanted ones.
    slot: u16,
    value: Expected,
    before: Before,
    /// How long its string usually is, and a bit for each byte of that: where the
    /// next line begins is then known before this string has been looked at.
    usual: u8,
    usual_bits: u32,
}

/// A line is a line of the processor's cache.
const _: () = assert!(size_of::<Line>() == 64);

/// The usual length where there is none: no string without special bytes has one
/// as its last.
const NOT_USUAL: (u8, u32) = (PIECE as u8 - 1, u32::MAX);

/// How long the string of a line was lately.
#[derive(Clone, Copy, Debug, Default)]
struct Lately {
    length: usize,
    /// So many times in a row.
    times: u8,
}

/// What the lines of a script before one have, all together.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    keys: u16,
    /// Members that nobody wants.
    unlisted: u16,
}

/// The value behind a gap.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// A string that nobody wants.
    Text,
    /// A string that is kept.
    Slot(u16),
    /// A number, or true or false.
    Bare(u16, Type),
    /// A value that nobody wants, and that is no string.
    Unlisted(u32),
    /// Any other value that is wanted, inside so many containers.
    Member(Target, u32),
    /// The members of an object are the next lines.
    Enter,
    /// The gap was the end of an object.
    Leave,
    /// The gap was the end of the record.
    End,
}

impl Script {
    /// Whether the next record is to be read by it.
    #[inline]
    pub(super) fn is_of_use(&mut self) -> bool {
        if self.pause > 0 {
            self.pause -= 1;
            return false;
        }
        !self.known.lines.is_empty()
    }

    #[cfg(test)]
    pub(super) fn score(&self) -> i32 {
        self.score
    }

    /// No record is read by it any more.
    #[cfg(test)]
    pub(super) fn stop(&mut self) {
        self.pause = u32::MAX;
    }

    /// How many lines have a usual length.
    #[cfg(test)]
    pub(super) fn usual(&self) -> usize {
        let usual = |line: &&Line| line.usual_bits != NOT_USUAL.1;
        self.known.lines.iter().filter(usual).count()
    }

    /// A record was read by it.
    #[inline]
    pub(super) fn followed(&mut self, values: &Values) {
        self.score = (self.score + 1).min(SCORE_MAX);
        self.unstudied -= 1;
        if self.unstudied <= 0 {
            self.study(values);
        }
    }

    /// Finds which strings are always of one length.
    #[inline(never)]
    fn study(&mut self, values: &Values) {
        self.unstudied = STUDIED;
        self.lately
            .resize(self.known.lines.len(), Lately::default());
        for (line, lately) in self.known.lines.iter_mut().zip(&mut self.lately) {
            let Expected::Slot(slot) = line.value else {
                continue;
            };
            let slot = values.slot(slot);
            if !slot.is_plain() {
                continue;
            }
            let length = slot.length() - 2;
            if length == lately.length {
                lately.times = lately.times.saturating_add(1);
            } else {
                *lately = Lately { length, times: 0 };
            }
            (line.usual, line.usual_bits) = match (lately.times, u8::try_from(length)) {
                (SURE.., Ok(length)) if (1..NOT_USUAL.0).contains(&length) => {
                    (length, (1 << length) - 1)
                }
                _ => NOT_USUAL,
            };
        }
    }

    /// A record, which is JSON, had to be read without it.
    #[inline(never)]
    pub(super) fn missed(&mut self, text: &str, shape: &Shape) {
        if self.pause > 0 {
            return;
        }
        self.score -= 2;
        if self.score <= SCORE_MIN {
            self.known.clear();
            self.score = 0;
            self.pause = PAUSE;
            self.patience = 0;
            self.wait = 0;
            return;
        }
        if self.wait > 0 {
            self.wait -= 1;
            return;
        }
        if self.other.write(text, shape).is_some() {
            if self.known.lines.is_empty() {
                std::mem::swap(&mut self.known, &mut self.other);
                return;
            }
            let before = self.known.lines.len();
            match self.both.unite(&self.known, &self.other) {
                Some(()) if self.both.lines.len() > before => {
                    std::mem::swap(&mut self.known, &mut self.both);
                    self.score = self.score.max(0);
                    self.patience = 0;
                    return;
                }
                // The members come in another order now.
                None if self.score < 0 => std::mem::swap(&mut self.known, &mut self.other),
                _ => {}
            }
        }
        self.patience = (2 * self.patience + 1).min(PATIENCE_MAX);
        self.wait = self.patience;
    }

    /// Reads the object at `start` by the script; says where it ends. None where
    /// the record lies otherwise: then it must be read anew.
    #[inline(never)]
    pub(super) fn follow(&self, reader: &mut Reader<'_>, start: usize) -> Option<usize> {
        if self.known.depth > reader.scan.depth_max() {
            return None;
        }
        let bytes = reader.text.as_bytes();
        let mut tail = Tail::default();
        let mut absent = Absent::default();
        let mut lines = self.known.lines.as_slice();
        let mut at = start;
        // The brace before the first member stands for a comma.
        let mut brace = start;
        loop {
            let (line, next) = lines.split_first()?;
            let window: &[u8; WINDOW] = match bytes.get(at..at.wrapping_add(WINDOW)) {
                Some(window) => window.first_chunk()?,
                None => {
                    cold_path();
                    tail.window(bytes, at)?
                }
            };
            let gap: &[u8; PIECE] = window.first_chunk()?;
            // Most gaps are no longer than half of a piece.
            let mut same = equal_half(gap.first_chunk()?, line.gap.first_chunk()?) | line.behind;
            if same != u32::MAX {
                same |= equal_half(gap.last_chunk()?, line.gap.last_chunk()?) << (PIECE / 2);
                if same != u32::MAX && !(same == !1 && at == brace && line.may_be_first) {
                    cold_path();
                    lines = absent.pass(&self.known.lines, line, at)?;
                    continue;
                }
            }
            lines = next;
            let start = usize::from(line.length) % PIECE;
            let value = at + start;
            if line.is_text {
                let special = special_bytes(window.get(start..)?.first_chunk()?);
                let usual = usize::from(line.usual) % PIECE;
                if special & line.usual_bits == 0 && window.get(start + usual) == Some(&b'"') {
                    at = value + usual + 1;
                    *reader.values.slot_mut(line.slot) = Slot::plain(value, usual);
                    continue;
                }
                let length = special.trailing_zeros() as usize;
                if window.get(start + length) == Some(&b'"') {
                    reader.values.keep(line.slot, value, length);
                    at = value + length + 1;
                } else {
                    cold_path();
                    at = line.text(reader, value)?;
                }
                continue;
            }
            at = match line.value {
                Expected::Bare(slot, kind) => {
                    let value = reader.scan.space(value);
                    let (bare, after) = simple(reader.scan, value, kind)?;
                    reader.set(slot, None, bare);
                    after
                }
                Expected::Unlisted(depth) => {
                    let value = reader.scan.space(value);
                    reader.scan.skip(value, depth, &mut reader.keys_left).ok()?
                }
                Expected::Member(target, depth) => {
                    let value = reader.scan.space(value);
                    reader.member(value, target, None, depth).ok()?
                }
                Expected::Enter => {
                    brace = value;
                    value
                }
                Expected::Leave => value,
                Expected::End => {
                    absent.settle(line, reader)?;
                    return Some(value);
                }
                Expected::Text | Expected::Slot(_) => return None,
            };
        }
    }
}

/// The lines that a record does not have.
#[derive(Debug, Default)]
struct Absent {
    keys: u16,
    unlisted: u16,
    /// Where lines were passed over last, and how many there.
    at: usize,
    times: usize,
}

impl Absent {
    /// Passes over a line that does not stand at `at`; says which are next.
    #[inline(never)]
    fn pass<'a>(&mut self, lines: &'a [Line], line: &Line, at: usize) -> Option<&'a [Line]> {
        if self.at != at {
            (self.at, self.times) = (at, 0);
        }
        self.times += 1;
        let next = usize::from(line.absent);
        if next == 0 || self.times > ABSENT_MAX {
            return None;
        }
        let lines = lines.get(next..)?;
        let to = lines.first()?;
        self.keys += to.before.keys - line.before.keys;
        self.unlisted += to.before.unlisted - line.before.unlisted;
        Some(lines)
    }

    /// Counts what stood in the record, of which `end` is the last line.
    fn settle(&self, end: &Line, reader: &mut Reader<'_>) -> Option<()> {
        let keys = u32::from(end.before.keys - self.keys);
        reader.keys_left = reader.keys_left.checked_sub(keys)?;
        reader.values.unlisted |= end.before.unlisted > self.unlisted;
        Some(())
    }
}

impl Line {
    /// Reads a long string, or one with escapes; says where it ends.
    #[inline(never)]
    fn text(&self, reader: &mut Reader<'_>, value: usize) -> Option<usize> {
        let token = reader.scan.string(value - 1).ok()?;
        if !token.escaped {
            let length = token.end - token.start;
            reader.values.keep(self.slot, token.start, length);
        } else if let Expected::Slot(slot) = self.value {
            let kept = reader.string(token, Type::Text(None));
            reader.set(slot, None, kept);
        }
        Some(token.after())
    }
}

impl Lines {
    fn clear(&mut self) {
        self.lines.clear();
        self.names.clear();
        self.depth = 1;
    }

    /// Writes down how a record lies. None where it cannot be a script.
    fn write(&mut self, text: &str, shape: &Shape) -> Option<()> {
        self.clear();
        let scan = Scanner::new(text, u32::MAX);
        let start = scan.space(0);
        let mut writer = Writer {
            scan,
            text,
            shape,
            to: self,
            keys: u32::MAX,
        };
        writer.object(start, 0, 1, Expected::End)?;
        self.link()
    }

    /// Takes the lines of both, in an order that is that of each. None where
    /// there is no such order.
    fn unite(&mut self, known: &Lines, other: &Lines) -> Option<()> {
        self.clear();
        let ends = (
            known.lines.len().checked_sub(1)?,
            other.lines.len().checked_sub(1)?,
        );
        self.merge((known, 0..ends.0), (other, 0..ends.1))?;
        self.copy(known, ends.0..ends.0 + 1)?;
        self.depth = known.depth.max(other.depth);
        self.link()
    }

    /// Adds the members of one object as they stand in both.
    fn merge(
        &mut self,
        (known, mut left): (&Lines, Range<usize>),
        (other, right): (&Lines, Range<usize>),
    ) -> Option<()> {
        let first = left.start;
        let mut at = right.start;
        while at < right.end {
            let behind = other.behind(at)?;
            let name = *other.names.get(at)?;
            if let Some(place) = known.find(left.clone(), name) {
                let end = known.behind(place)?;
                self.copy(known, left.start..place + 1)?;
                let (one, two) = (known.lines.get(place)?, other.lines.get(at)?);
                if let (Expected::Enter, Expected::Enter) = (one.value, two.value) {
                    self.merge((known, place + 1..end - 1), (other, at + 1..behind - 1))?;
                    self.copy(known, end - 1..end)?;
                } else {
                    self.copy(known, place + 1..end)?;
                }
                left.start = end;
            } else if known.find(first..left.start, name).is_some() {
                return None;
            } else {
                self.copy(other, at..behind)?;
            }
            at = behind;
        }
        self.copy(known, left)
    }

    /// The line of the member of this name among those of one object.
    fn find(&self, mut among: Range<usize>, name: u64) -> Option<usize> {
        while among.start < among.end {
            if *self.names.get(among.start)? == name {
                return Some(among.start);
            }
            among.start = self.behind(among.start)?;
        }
        None
    }

    /// The line behind those of the member at `at`.
    fn behind(&self, at: usize) -> Option<usize> {
        self.lines.get(at).map(|line| usize::from(line.absent))
    }

    fn copy(&mut self, from: &Lines, lines: Range<usize>) -> Option<()> {
        self.lines.extend_from_slice(from.lines.get(lines.clone())?);
        self.names.extend_from_slice(from.names.get(lines)?);
        (self.lines.len() <= LINES_MAX).then_some(())
    }

    /// Finds, for each line, the one to go on with where it does not stand, and
    /// what those before it have.
    fn link(&mut self) -> Option<()> {
        let mut before = Before::default();
        for at in 0..self.lines.len() {
            let mut behind = at + 1;
            let value = self.lines.get(at)?.value;
            if matches!(value, Expected::Enter) {
                let mut level = 1;
                while level > 0 {
                    match self.lines.get(behind)?.value {
                        Expected::Enter => level += 1,
                        Expected::Leave => level -= 1,
                        _ => {}
                    }
                    behind += 1;
                }
            }
            let ends = matches!(value, Expected::Leave | Expected::End);
            let line = self.lines.get_mut(at)?;
            line.absent = if ends { 0 } else { u16::try_from(behind).ok()? };
            line.before = before;
            before.keys += u16::from(!ends);
            before.unlisted += u16::from(matches!(value, Expected::Text | Expected::Unlisted(_)));
        }
        Some(())
    }
}

/// Writes down how a record lies.
struct Writer<'a> {
    scan: Scanner<'a>,
    text: &'a str,
    shape: &'a Shape,
    to: &'a mut Lines,
    /// How many it may have: they were counted before.
    keys: u32,
}

impl Writer<'_> {
    /// Adds the lines of the object at `at`, inside so many containers with it;
    /// says where it ends. None where it cannot have a script.
    fn object(&mut self, at: usize, node: u16, depth: u32, end: Expected) -> Option<usize> {
        let scan = self.scan;
        self.to.depth = self.to.depth.max(depth);
        let mut seen = [false; MEMBERS_MAX];
        let mut gap = at;
        let mut at = at;
        loop {
            let next = if gap == at && scan.byte(at) == b'{' {
                at
            } else {
                scan.space(at)
            };
            if scan.byte(next) == b'}' {
                self.line(gap, (next + 1, next + 1), end, 0)?;
                return Some(next + 1);
            }
            let key = scan.space(next + 1);
            let (name, value) = scan.key(key, &mut self.keys).ok()?;
            if name.escaped {
                return None;
            }
            let name = self.text.get(name.start..name.end)?;
            let members = &self.shape.nodes.get(usize::from(node))?.members;
            let member = members.iter().position(|member| *member.name == *name);
            if let Some(member) = member
                && std::mem::replace(seen.get_mut(member)?, true)
            {
                return None;
            }
            let target = member
                .and_then(|member| members.get(member))
                .map(|member| member.target);
            let name = FixedState::default().hash_one(name);
            at = self.member(gap, value, (target, name), depth)?;
            gap = at;
        }
    }

    /// Adds the lines of one member; says where its value ends.
    fn member(
        &mut self,
        gap: usize,
        value: usize,
        (target, name): (Option<Target>, u64),
        depth: u32,
    ) -> Option<usize> {
        let first = self.scan.byte(value);
        let wanted = target.map_or(Wanted::Nothing, Wanted::of);
        let (expected, to) = match (wanted, first) {
            (Wanted::Nothing, b'"') => (Expected::Text, value + 1),
            (Wanted::Nothing, _) => (Expected::Unlisted(depth), value),
            (Wanted::Slot(slot), b'"') => (Expected::Slot(slot), value + 1),
            (Wanted::Bare(slot, kind), _) if simple(self.scan, value, kind).is_some() => {
                (Expected::Bare(slot, kind), value)
            }
            _ => match (target?, first) {
                (Target::Object { node }, b'{') => {
                    // The brace is compared here, and again as what the first
                    // member stands behind.
                    self.line(gap, (value + 1, value), Expected::Enter, name)?;
                    return self.object(value, node, depth + 1, Expected::Leave);
                }
                (target, _) => (Expected::Member(target, depth), value),
            },
        };
        self.line(gap, (to, to), expected, name)?;
        self.scan
            .skip(value, depth, &mut self.keys)
            .ok()
            .map(|after| self.behind(value, after))
    }

    /// The place right behind the value at `start`, without the white space
    /// that was passed over until `after`.
    fn behind(&self, start: usize, after: usize) -> usize {
        let text = self.text.get(start..after).unwrap_or_default();
        start + text.trim_end_matches([' ', '\t', '\n', '\r']).len()
    }

    /// Adds a line whose gap is compared up to `to`; the value is at `value`.
    fn line(
        &mut self,
        from: usize,
        (to, value): (usize, usize),
        expected: Expected,
        name: u64,
    ) -> Option<()> {
        let bytes = self.text.as_bytes().get(from..to)?;
        let closes = matches!(expected, Expected::Leave | Expected::End);
        let opens = matches!(bytes.first(), Some(b',' | b'{'));
        if bytes.is_empty()
            || bytes.len() >= PIECE
            || self.to.lines.len() >= LINES_MAX
            || closes == opens
        {
            return None;
        }
        let mut gap = [0; PIECE];
        gap.get_mut(..bytes.len())?.copy_from_slice(bytes);
        if opens {
            gap[0] = b',';
        }
        self.to.names.push(name);
        self.to.lines.push(Line {
            gap,
            behind: u32::MAX << bytes.len(),
            may_be_first: opens,
            length: u8::try_from(value - from).ok()?,
            absent: 0,
            is_text: matches!(expected, Expected::Text | Expected::Slot(_)),
            slot: match expected {
                Expected::Slot(slot) => slot,
                _ => self.shape.unlisted(),
            },
            value: expected,
            before: Before::default(),
            usual: NOT_USUAL.0,
            usual_bits: NOT_USUAL.1,
        });
        Some(())
    }
}
