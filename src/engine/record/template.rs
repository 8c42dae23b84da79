//! The template of a source: the layout of its records, from brace to brace.
//!
//! Systems write record after record with the same members in the same order, so one
//! record predicts the next. A segment is the text between two values, and what to do
//! with the second. Members that only some records have are merged in. Following the
//! template takes one comparison per segment, also inside objects. An absent member is
//! skipped. If anything else differs, the record is read again without the template:
//! it never changes what a record means.

use std::hash::BuildHasher;
use std::ops::Range;

use foldhash::fast::FixedState;

use super::RecordValues;
use super::key_cache::MemberAction;
use super::plain::{PaddedTail, RecordReader, WINDOW_LEN, read_simple_scalar};
use super::shape::{MEMBERS_MAX, MemberTarget, RecordShape};
use super::value::ValueSlot;
use crate::json::scan::{CHUNK_LEN, Scanner, cold_path, equal_half_mask, special_byte_mask};
use crate::policy::catalogue::FieldType;

/// A record with more segments gets no template.
const SEGMENTS_MAX: usize = 256;
/// The most consecutive segments that may be absent.
const SKIPS_MAX: usize = 8;
/// The template is dropped at this score. A hit adds one, a miss subtracts two.
const SCORE_MIN: i32 = -16;
const SCORE_MAX: i32 = 16;
/// How many records are then read without a template.
const PAUSE_RECORDS: u32 = 2_000;
/// The largest number of misses between two attempts to extend the template.
const BACKOFF_MAX: u32 = 1_000;
/// String lengths are sampled from one record in this many.
const LENGTH_SAMPLE_INTERVAL: i32 = 64;
/// A length is usual after this many equal samples in a row.
const EQUAL_LENGTHS_MIN: u8 = 12;

/// The script of one source, and whether it is of use.
///
/// It grows: a record with members that no other had puts theirs in between.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct RecordTemplate {
    current: Segments,
    /// A record that could not follow, and both together: used again and again.
    candidate: Segments,
    merged: Segments,
    /// Sampled string lengths, by segment.
    length_stats: Vec<LengthStats>,
    /// Records until the next length sample.
    until_length_sample: i32,
    score: i32,
    /// Records still to be read without the template.
    paused_records: u32,
    /// Misses to ignore before the next attempt to extend the template, and how many of
    /// them are left.
    backoff: u32,
    backoff_left: u32,
}

/// The segments of a template.
#[derive(Clone, Debug, Default)]
struct Segments {
    segments: Vec<Segment>,
    /// A hash of each member's name.
    name_hashes: Vec<u64>,
    /// The depth of nested objects.
    max_depth: u32,
}

/// The text between two values, and the kind of the second.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Segment {
    /// From behind the value before, or from the object's brace on, which counts
    /// as a comma; up to the value, with the quote of a string.
    gap: [u8; CHUNK_LEN],
    /// A bit for each byte of `gap` that is padding.
    padding_mask: u32,
    /// The comma may be the brace of the object.
    may_be_first: bool,
    /// The distance to the value.
    value_offset: u8,
    /// The segment to try if this one is absent; 0 if there is none.
    next_if_absent: u16,
    /// The value is a string, as most are.
    is_string: bool,
    /// The string's slot; the discard slot if it is not wanted.
    slot: u16,
    expected: ExpectedValue,
    preceding: PrecedingCounts,
    /// The usual length of the string, and a bit for each of its bytes: the start of
    /// the next segment is then known before this string has been scanned.
    usual_length: u8,
    usual_length_mask: u32,
}

/// A segment fills one cache line.
const _: () = assert!(size_of::<Segment>() == 64);

/// Stands for no usual length: never the length of a string without special bytes.
const NO_USUAL_LENGTH: (u8, u32) = (CHUNK_LEN as u8 - 1, u32::MAX);

/// The recent length of a segment's string.
#[derive(Clone, Copy, Debug, Default)]
struct LengthStats {
    length: usize,
    /// How many times in a row.
    repeats: u8,
}

/// Totals over the segments before one.
#[derive(Clone, Copy, Debug, Default)]
struct PrecedingCounts {
    key_count: u16,
    /// Members that no shape lists.
    unlisted_count: u16,
}

/// The value after a gap.
#[derive(Clone, Copy, Debug)]
enum ExpectedValue {
    /// A string that is not wanted.
    DiscardedString,
    /// A string that is kept.
    KeptString(u16),
    /// A number or a boolean.
    Unquoted(u16, FieldType),
    /// An unwanted value other than a string, at this depth.
    DiscardedNonString(u32),
    /// Any other wanted value, at this depth.
    Target(MemberTarget, u32),
    /// The next segments are the members of an object.
    EnterObject,
    /// The gap ends an object.
    LeaveObject,
    /// The gap ends the record.
    EndRecord,
}

impl RecordTemplate {
    /// Returns whether to read the next record by the template.
    #[inline]
    pub(in crate::engine) fn should_follow(&mut self) -> bool {
        if self.paused_records > 0 {
            self.paused_records -= 1;
            return false;
        }
        !self.current.segments.is_empty()
    }

    #[cfg(test)]
    pub(in crate::engine) fn score(&self) -> i32 {
        self.score
    }

    /// Stops using the template.
    #[cfg(test)]
    pub(in crate::engine) fn disable(&mut self) {
        self.paused_records = u32::MAX;
    }

    /// Returns how many segments have a usual length.
    #[cfg(test)]
    pub(in crate::engine) fn usual_length_count(&self) -> usize {
        let usual = |line: &&Segment| line.usual_length_mask != NO_USUAL_LENGTH.1;
        self.current.segments.iter().filter(usual).count()
    }

    /// Counts a record that was read by the template.
    #[inline]
    pub(in crate::engine) fn on_hit(&mut self, values: &RecordValues) {
        self.score = (self.score + 1).min(SCORE_MAX);
        self.until_length_sample -= 1;
        if self.until_length_sample <= 0 {
            self.learn_lengths(values);
        }
    }

    /// Samples string lengths, and updates the usual ones.
    #[inline(never)]
    fn learn_lengths(&mut self, values: &RecordValues) {
        self.until_length_sample = LENGTH_SAMPLE_INTERVAL;
        self.length_stats.resize(self.current.segments.len(), LengthStats::default());
        for (line, lately) in self.current.segments.iter_mut().zip(&mut self.length_stats) {
            let ExpectedValue::KeptString(slot) = line.expected else {
                continue;
            };
            let slot = values.slot(slot);
            if !slot.is_plain_string() {
                continue;
            }
            let length = slot.length() - 2;
            if length == lately.length {
                lately.repeats = lately.repeats.saturating_add(1);
            } else {
                *lately = LengthStats { length, repeats: 0 };
            }
            (line.usual_length, line.usual_length_mask) =
                match (lately.repeats, u8::try_from(length)) {
                    (EQUAL_LENGTHS_MIN.., Ok(length))
                        if (1..NO_USUAL_LENGTH.0).contains(&length) =>
                    {
                        (length, (1 << length) - 1)
                    }
                    _ => NO_USUAL_LENGTH,
                };
        }
    }

    /// Counts a valid record that the template did not fit, and may extend the template
    /// by it.
    #[inline(never)]
    pub(in crate::engine) fn on_miss(&mut self, text: &str, shape: &RecordShape) {
        if self.paused_records > 0 {
            return;
        }
        self.score -= 2;
        if self.score <= SCORE_MIN {
            self.current.clear();
            self.score = 0;
            self.paused_records = PAUSE_RECORDS;
            self.backoff = 0;
            self.backoff_left = 0;
            return;
        }
        if self.backoff_left > 0 {
            self.backoff_left -= 1;
            return;
        }
        if self.candidate.build_from_record(text, shape).is_some() {
            if self.current.segments.is_empty() {
                std::mem::swap(&mut self.current, &mut self.candidate);
                return;
            }
            let before = self.current.segments.len();
            match self.merged.merge_layouts(&self.current, &self.candidate) {
                Some(()) if self.merged.segments.len() > before => {
                    std::mem::swap(&mut self.current, &mut self.merged);
                    self.score = self.score.max(0);
                    self.backoff = 0;
                    return;
                }
                // The order of members has changed.
                None if self.score < 0 => std::mem::swap(&mut self.current, &mut self.candidate),
                _ => {}
            }
        }
        self.backoff = (2 * self.backoff + 1).min(BACKOFF_MAX);
        self.backoff_left = self.backoff;
    }

    /// Reads the object at `start` by the template and returns its end. `None` if the
    /// template does not fit: the record must then be read again without it.
    #[inline(never)]
    pub(in crate::engine) fn follow(
        &self,
        reader: &mut RecordReader<'_>,
        start: usize,
    ) -> Option<usize> {
        if self.current.max_depth > reader.scanner.depth_max() {
            return None;
        }
        let bytes = reader.text.as_bytes();
        let mut tail = PaddedTail::default();
        let mut absent = SkippedSegments::default();
        let mut lines = self.current.segments.as_slice();
        let mut at = start;
        // The brace before the first member counts as a comma.
        let mut brace = start;
        loop {
            let (line, next) = lines.split_first()?;
            let window = window_at(bytes, at, &mut tail)?;
            let gap: &[u8; CHUNK_LEN] = window.first_chunk()?;
            // Most gaps fit in half a chunk.
            let mut same =
                equal_half_mask(gap.first_chunk()?, line.gap.first_chunk()?) | line.padding_mask;
            if same != u32::MAX {
                same |=
                    equal_half_mask(gap.last_chunk()?, line.gap.last_chunk()?) << (CHUNK_LEN / 2);
                if same != u32::MAX && !(same == !1 && at == brace && line.may_be_first) {
                    cold_path();
                    lines = absent.skip_segment(&self.current.segments, line, at)?;
                    continue;
                }
            }
            lines = next;
            let start = usize::from(line.value_offset) % CHUNK_LEN;
            let value = at + start;
            if line.is_string {
                at = line.read_string(reader, window, (start, value))?;
                continue;
            }
            at = match line.expected {
                ExpectedValue::Unquoted(slot, kind) => {
                    let value = reader.scanner.skip_whitespace(value);
                    let (bare, after) = read_simple_scalar(reader.scanner, value, kind)?;
                    reader.set_slot(slot, None, bare);
                    after
                }
                ExpectedValue::DiscardedNonString(depth) => {
                    let value = reader.scanner.skip_whitespace(value);
                    reader.scanner.skip_value(value, depth, &mut reader.keys_left).ok()?
                }
                ExpectedValue::Target(target, depth) => {
                    let value = reader.scanner.skip_whitespace(value);
                    reader.read_target(value, target, None, depth).ok()?
                }
                ExpectedValue::EnterObject => {
                    brace = value;
                    value
                }
                ExpectedValue::LeaveObject => value,
                ExpectedValue::EndRecord => {
                    absent.count_present(line, reader)?;
                    return Some(value);
                }
                ExpectedValue::DiscardedString | ExpectedValue::KeptString(_) => return None,
            };
        }
    }
}

/// Returns the bytes from `at` on, padded behind the end of the text.
#[inline(always)]
fn window_at<'a>(
    bytes: &'a [u8],
    at: usize,
    tail: &'a mut PaddedTail,
) -> Option<&'a [u8; WINDOW_LEN]> {
    match bytes.get(at..at.wrapping_add(WINDOW_LEN)) {
        Some(window) => window.first_chunk(),
        None => {
            cold_path();
            tail.window(bytes, at)
        }
    }
}

/// The segments that are absent from a record.
#[derive(Debug, Default)]
struct SkippedSegments {
    key_count: u16,
    unlisted_count: u16,
    /// The position of the last skipped segments, and how many there were.
    gap_start: usize,
    skips_at_gap: usize,
}

impl SkippedSegments {
    /// Skips a segment that is absent at `at`. Returns the segments to go on with.
    #[inline(never)]
    fn skip_segment<'a>(
        &mut self,
        lines: &'a [Segment],
        line: &Segment,
        at: usize,
    ) -> Option<&'a [Segment]> {
        if self.gap_start != at {
            (self.gap_start, self.skips_at_gap) = (at, 0);
        }
        self.skips_at_gap += 1;
        let next = usize::from(line.next_if_absent);
        if next == 0 || self.skips_at_gap > SKIPS_MAX {
            return None;
        }
        let lines = lines.get(next..)?;
        let to = lines.first()?;
        self.key_count += to.preceding.key_count - line.preceding.key_count;
        self.unlisted_count += to.preceding.unlisted_count - line.preceding.unlisted_count;
        Some(lines)
    }

    /// Counts the members of the record; `end` is the last segment.
    fn count_present(&self, end: &Segment, reader: &mut RecordReader<'_>) -> Option<()> {
        let keys = u32::from(end.preceding.key_count - self.key_count);
        reader.keys_left = reader.keys_left.checked_sub(keys)?;
        reader.values.has_unlisted |= end.preceding.unlisted_count > self.unlisted_count;
        Some(())
    }
}

impl Segment {
    /// Reads the string that begins at `start` in the window and at `value` in the text. Returns
    /// its end.
    #[inline(always)]
    fn read_string(
        &self,
        reader: &mut RecordReader<'_>,
        window: &[u8; WINDOW_LEN],
        (start, value): (usize, usize),
    ) -> Option<usize> {
        let special = special_byte_mask(window.get(start..)?.first_chunk()?);
        let usual = usize::from(self.usual_length) % CHUNK_LEN;
        if special & self.usual_length_mask == 0 && window.get(start + usual) == Some(&b'"') {
            *reader.values.slot_mut(self.slot) = ValueSlot::plain_string(value, usual);
            return Some(value + usual + 1);
        }
        let length = special.trailing_zeros() as usize;
        if window.get(start + length) == Some(&b'"') {
            reader.values.keep_string(self.slot, value, length);
            return Some(value + length + 1);
        }
        cold_path();
        self.read_slow_string(reader, value)
    }

    /// Reads a long string, or one with escapes, and returns its end.
    #[inline(never)]
    fn read_slow_string(&self, reader: &mut RecordReader<'_>, value: usize) -> Option<usize> {
        let token = reader.scanner.read_string(value - 1).ok()?;
        if !token.has_escapes {
            let length = token.end - token.start;
            reader.values.keep_string(self.slot, token.start, length);
        } else if let ExpectedValue::KeptString(slot) = self.expected {
            let kept = reader.string_to_slot(token, FieldType::Text(None));
            reader.set_slot(slot, None, kept);
        }
        Some(token.after_quote())
    }
}

impl Segments {
    fn clear(&mut self) {
        self.segments.clear();
        self.name_hashes.clear();
        self.max_depth = 1;
    }

    /// Builds the segments of a record. `None` if it cannot be a template.
    fn build_from_record(&mut self, text: &str, shape: &RecordShape) -> Option<()> {
        self.clear();
        let scan = Scanner::new(text, u32::MAX);
        let start = scan.skip_whitespace(0);
        let mut writer =
            TemplateBuilder { scanner: scan, text, shape, output: self, keys_left: u32::MAX };
        writer.add_object(start, 0, 1, ExpectedValue::EndRecord)?;
        self.link_siblings()
    }

    /// Merges both, keeping the order of each. `None` if the orders conflict.
    fn merge_layouts(&mut self, known: &Segments, other: &Segments) -> Option<()> {
        self.clear();
        let ends = (known.segments.len().checked_sub(1)?, other.segments.len().checked_sub(1)?);
        self.merge_object((known, 0..ends.0), (other, 0..ends.1))?;
        self.append_segments(known, ends.0..ends.0 + 1)?;
        self.max_depth = known.max_depth.max(other.max_depth);
        self.link_siblings()
    }

    /// Merges the members of one object.
    fn merge_object(
        &mut self,
        (known, mut left): (&Segments, Range<usize>),
        (other, right): (&Segments, Range<usize>),
    ) -> Option<()> {
        let first = left.start;
        let mut at = right.start;
        while at < right.end {
            let behind = other.next_sibling(at)?;
            let name = *other.name_hashes.get(at)?;
            if let Some(place) = known.find_member(left.clone(), name) {
                let end = known.next_sibling(place)?;
                self.append_segments(known, left.start..place + 1)?;
                let (one, two) = (known.segments.get(place)?, other.segments.get(at)?);
                if let (ExpectedValue::EnterObject, ExpectedValue::EnterObject) =
                    (one.expected, two.expected)
                {
                    self.merge_object((known, place + 1..end - 1), (other, at + 1..behind - 1))?;
                    self.append_segments(known, end - 1..end)?;
                } else {
                    self.append_segments(known, place + 1..end)?;
                }
                left.start = end;
            } else if known.find_member(first..left.start, name).is_some() {
                return None;
            } else {
                self.append_segments(other, at..behind)?;
            }
            at = behind;
        }
        self.append_segments(known, left)
    }

    /// Returns the segment of the member with this name hash in one object.
    fn find_member(&self, mut among: Range<usize>, name: u64) -> Option<usize> {
        while among.start < among.end {
            if *self.name_hashes.get(among.start)? == name {
                return Some(among.start);
            }
            among.start = self.next_sibling(among.start)?;
        }
        None
    }

    /// Returns the segment after those of the member at `at`.
    fn next_sibling(&self, at: usize) -> Option<usize> {
        self.segments.get(at).map(|line| usize::from(line.next_if_absent))
    }

    fn append_segments(&mut self, from: &Segments, lines: Range<usize>) -> Option<()> {
        self.segments.extend_from_slice(from.segments.get(lines.clone())?);
        self.name_hashes.extend_from_slice(from.name_hashes.get(lines)?);
        (self.segments.len() <= SEGMENTS_MAX).then_some(())
    }

    /// Sets, for each segment, the one to try if it is absent, and the counts before
    /// it.
    fn link_siblings(&mut self) -> Option<()> {
        let mut before = PrecedingCounts::default();
        for at in 0..self.segments.len() {
            let mut behind = at + 1;
            let value = self.segments.get(at)?.expected;
            if matches!(value, ExpectedValue::EnterObject) {
                let mut level = 1;
                while level > 0 {
                    match self.segments.get(behind)?.expected {
                        ExpectedValue::EnterObject => level += 1,
                        ExpectedValue::LeaveObject => level -= 1,
                        _ => {}
                    }
                    behind += 1;
                }
            }
            let ends = matches!(value, ExpectedValue::LeaveObject | ExpectedValue::EndRecord);
            let line = self.segments.get_mut(at)?;
            line.next_if_absent = if ends { 0 } else { u16::try_from(behind).ok()? };
            line.preceding = before;
            before.key_count += u16::from(!ends);
            before.unlisted_count += u16::from(matches!(
                value,
                ExpectedValue::DiscardedString | ExpectedValue::DiscardedNonString(_)
            ));
        }
        Some(())
    }
}

/// Builds the segments of one record.
struct TemplateBuilder<'a> {
    scanner: Scanner<'a>,
    text: &'a str,
    shape: &'a RecordShape,
    output: &'a mut Segments,
    /// The number of keys left; they were counted before.
    keys_left: u32,
}

impl TemplateBuilder<'_> {
    /// Adds the segments of the object at `at` and returns its end. `depth` counts the
    /// object itself. `None` if it cannot be part of a template.
    fn add_object(
        &mut self,
        at: usize,
        node: u16,
        depth: u32,
        end: ExpectedValue,
    ) -> Option<usize> {
        let scan = self.scanner;
        self.output.max_depth = self.output.max_depth.max(depth);
        let mut seen = [false; MEMBERS_MAX];
        let mut gap = at;
        let mut at = at;
        loop {
            let next =
                if gap == at && scan.byte_at(at) == b'{' { at } else { scan.skip_whitespace(at) };
            if scan.byte_at(next) == b'}' {
                self.add_segment(gap, (next + 1, next + 1), end, 0)?;
                return Some(next + 1);
            }
            let key = scan.skip_whitespace(next + 1);
            let (name, value) = scan.read_key(key, &mut self.keys_left).ok()?;
            if name.has_escapes {
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
            let target = member.and_then(|member| members.get(member)).map(|member| member.target);
            let name = FixedState::default().hash_one(name);
            at = self.add_member(gap, value, (target, name), depth)?;
            gap = at;
        }
    }

    /// Adds the segments of one member and returns the end of its value.
    fn add_member(
        &mut self,
        gap: usize,
        value: usize,
        (target, name): (Option<MemberTarget>, u64),
        depth: u32,
    ) -> Option<usize> {
        let first = self.scanner.byte_at(value);
        let wanted = target.map_or(MemberAction::Discard, MemberAction::for_target);
        let (expected, to) = match (wanted, first) {
            (MemberAction::Discard, b'"') => (ExpectedValue::DiscardedString, value + 1),
            (MemberAction::Discard, _) => (ExpectedValue::DiscardedNonString(depth), value),
            (MemberAction::KeepString(slot), b'"') => (ExpectedValue::KeptString(slot), value + 1),
            (MemberAction::ReadUnquoted(slot, kind), _)
                if read_simple_scalar(self.scanner, value, kind).is_some() =>
            {
                (ExpectedValue::Unquoted(slot, kind), value)
            }
            _ => match (target?, first) {
                (MemberTarget::Object { node }, b'{') => {
                    // The brace is compared here, and again in the gap of the first
                    // member.
                    self.add_segment(gap, (value + 1, value), ExpectedValue::EnterObject, name)?;
                    return self.add_object(value, node, depth + 1, ExpectedValue::LeaveObject);
                }
                (target, _) => (ExpectedValue::Target(target, depth), value),
            },
        };
        self.add_segment(gap, (to, to), expected, name)?;
        self.scanner
            .skip_value(value, depth, &mut self.keys_left)
            .ok()
            .map(|after| self.value_end(value, after))
    }

    /// Returns the end of the value at `start`, without the white space before `after`.
    fn value_end(&self, start: usize, after: usize) -> usize {
        let text = self.text.get(start..after).unwrap_or_default();
        start + text.trim_end_matches([' ', '\t', '\n', '\r']).len()
    }

    /// Adds a segment whose gap ends at `to` and whose value is at `value`.
    fn add_segment(
        &mut self,
        from: usize,
        (to, value): (usize, usize),
        expected: ExpectedValue,
        name: u64,
    ) -> Option<()> {
        let bytes = self.text.as_bytes().get(from..to)?;
        let closes = matches!(expected, ExpectedValue::LeaveObject | ExpectedValue::EndRecord);
        let opens = matches!(bytes.first(), Some(b',' | b'{'));
        if bytes.is_empty()
            || bytes.len() >= CHUNK_LEN
            || self.output.segments.len() >= SEGMENTS_MAX
            || closes == opens
        {
            return None;
        }
        let mut gap = [0; CHUNK_LEN];
        gap.get_mut(..bytes.len())?.copy_from_slice(bytes);
        if opens {
            gap[0] = b',';
        }
        self.output.name_hashes.push(name);
        self.output.segments.push(Segment {
            gap,
            padding_mask: u32::MAX << bytes.len(),
            may_be_first: opens,
            value_offset: u8::try_from(value - from).ok()?,
            next_if_absent: 0,
            is_string: matches!(
                expected,
                ExpectedValue::DiscardedString | ExpectedValue::KeptString(_)
            ),
            slot: match expected {
                ExpectedValue::KeptString(slot) => slot,
                _ => self.shape.discard_slot(),
            },
            expected,
            preceding: PrecedingCounts::default(),
            usual_length: NO_USUAL_LENGTH.0,
            usual_length_mask: NO_USUAL_LENGTH.1,
        });
        Some(())
    }
}
