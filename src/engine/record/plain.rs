//! Walks over one record's text, and fills the slots of the wanted paths.
//!
//! One pass, no tree. What is not wanted is passed over, but checked to be JSON.

use super::key_cache::{KeyCache, MemberAction, MemberLookup, NO_KEY};
use super::shape::{ElementShape, MEMBERS_MAX, MemberTarget, RecordShape};
use super::value::{SlotState, ValueSlot};
use super::{ListSpan, RecordValues};
use crate::json::quotes::Quotes;
use crate::json::scan::{
    self, CHUNK_LEN, ScanError, Scanner, StringToken, count_key, special_byte_mask,
};
use crate::policy::catalogue::FieldType;

pub(in crate::engine) struct RecordReader<'a> {
    pub(in crate::engine) scanner: Scanner<'a>,
    pub(in crate::engine) text: &'a str,
    pub(in crate::engine) shape: &'a RecordShape,
    /// By node of the shape.
    pub(in crate::engine) key_caches: &'a mut [KeyCache],
    /// Of the text, if they were asked for.
    pub(in crate::engine) quotes: &'a mut Quotes,
    /// How many more the record may have.
    pub(in crate::engine) keys_left: u32,
    pub(in crate::engine) values: &'a mut RecordValues,
}

/// The object whose members are read.
#[derive(Clone, Copy)]
struct ObjectContext {
    node: u16,
    /// Where the slots of the list's element start that it is (a part of).
    element_start: Option<usize>,
    depth: u32,
}

/// A gap between two values and the start of a string are looked at together.
pub(in crate::engine) const WINDOW_LEN: usize = 2 * CHUNK_LEN;

/// The members of one object that were read already.
#[derive(Clone, Copy, Default)]
struct SeenMembers([u64; MEMBERS_MAX / 64]);

impl SeenMembers {
    /// Whether this member was not there before; from now on it was. What is no
    /// member is always new.
    #[inline(always)]
    fn insert(&mut self, member: Option<usize>) -> bool {
        let place = member.unwrap_or_default();
        let bit = u64::from(member.is_some()) << (place % 64);
        let word = &mut self.0[place / 64 % (MEMBERS_MAX / 64)];
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

/// The members of one object, while they are read.
struct ObjectCursor {
    /// Where the object starts.
    open_brace: usize,
    seen: SeenMembers,
    tail: PaddedTail,
}

/// What came of an element of a list.
enum ElementOutcome {
    Missing,
    /// The list is malformed for it.
    Malformed,
    Kept,
    /// Kept, and it can be copied as it stands.
    Verbatim,
}

/// What came of reading a member by what is known of it.
enum MemberOutcome {
    /// It was read to here.
    Read(usize),
    /// Its value starts here, and takes a longer look.
    SlowValue(usize, Option<usize>),
    /// The object ends instead.
    ObjectEnd,
    /// It is not known, or stands there in another way than the last time.
    CacheMiss,
}

impl RecordReader<'_> {
    /// Reads the object that starts at `at` by `node`; says where it ends.
    /// `base` is where the slots of the list's element start that it is (a part
    /// of).
    pub(in crate::engine) fn read_object(
        &mut self,
        at: usize,
        node: u16,
        element_start: Option<usize>,
        depth: u32,
    ) -> Result<usize, ScanError> {
        let depth = self.scanner.enter_container(depth)?;
        let inside = ObjectContext { node, element_start, depth };
        self.quotes.index_text(self.text);
        let mut members = ObjectCursor {
            open_brace: at,
            seen: SeenMembers::default(),
            tail: PaddedTail::default(),
        };
        // At the brace, then behind each value.
        let mut at = at;
        loop {
            at = match self.read_cached_member(at, inside, &mut members)? {
                MemberOutcome::Read(after) => after,
                MemberOutcome::SlowValue(value, member) => {
                    self.read_member_value(value, inside, member, &mut members.seen)?
                }
                MemberOutcome::ObjectEnd => return Ok(at + 1),
                MemberOutcome::CacheMiss => {
                    match self.read_next_member(at, inside, &mut members)? {
                        (after, false) => after,
                        (after, true) => return Ok(after),
                    }
                }
            };
        }
    }

    /// Reads the member behind `at` if it is known and stands there as it did the
    /// last time.
    #[inline(always)]
    fn read_cached_member(
        &mut self,
        at: usize,
        context: ObjectContext,
        members: &mut ObjectCursor,
    ) -> Result<MemberOutcome, ScanError> {
        let first = at == members.open_brace;
        if self.scanner.byte_at(at) == b'}' && !first {
            return Ok(MemberOutcome::ObjectEnd);
        }
        let gap = match self.scanner.chunk_at(at) {
            Some(gap) => Some(gap),
            None => members.tail.window(self.text.as_bytes(), at),
        };
        // The quotes of a key, and of a string behind it.
        let within = self.quotes.bits_from(at);
        let (open, within) = pop_lowest_bit(within);
        let (close, within) = pop_lowest_bit(within);
        let (start, within) = pop_lowest_bit(within);
        let (end, _) = pop_lowest_bit(within);
        let keys = &self.key_caches[usize::from(context.node)];
        // The brace before the first key stands for a comma.
        let known = gap.and_then(|gap| keys.find_in_gap(gap, (open, close), u32::from(first)));
        let Some(known) = known else {
            return Ok(MemberOutcome::CacheMiss);
        };
        let (member, gap_length) = (known.member_index(), known.gap_length());
        // Whether it is a string is read off the text: the key is known later.
        if start.wrapping_sub(close) != keys.key_to_value_len() {
            let wanted = known.action;
            count_key(&mut self.keys_left)?;
            return self.read_cached_non_string(at + gap_length, wanted, member, context, members);
        }
        if start != gap_length {
            return Ok(MemberOutcome::CacheMiss);
        }
        count_key(&mut self.keys_left)?;
        let start = at + start;
        let mut end = at + end;
        if within == 0 || !self.quotes.has_only_plain_strings() {
            let token = self.scanner.read_string(start)?;
            if token.has_escapes {
                return Ok(MemberOutcome::SlowValue(start, member));
            }
            end = token.end;
        }
        if !(known.keeps_string && members.seen.insert(member)) {
            return Ok(MemberOutcome::SlowValue(start, member));
        }
        self.values.has_unlisted |= member.is_none();
        self.values.keep_string(known.slot, start + 1, end - start - 1);
        Ok(MemberOutcome::Read(end + 1))
    }

    /// Reads the value at `at` of a member that is known, which is no string.
    #[inline(always)]
    fn read_cached_non_string(
        &mut self,
        at: usize,
        action: MemberAction,
        member: Option<usize>,
        context: ObjectContext,
        members: &mut ObjectCursor,
    ) -> Result<MemberOutcome, ScanError> {
        let at = self.scanner.skip_whitespace(at);
        let seen = &mut members.seen;
        let after = match action {
            MemberAction::Discard => {
                self.values.has_unlisted = true;
                self.scanner.skip_value(at, context.depth, &mut self.keys_left)?
            }
            MemberAction::ReadUnquoted(slot, kind)
                if let Some((bare, after)) = read_simple_scalar(self.scanner, at, kind)
                    && seen.insert(member) =>
            {
                self.set_slot(slot, None, bare);
                after
            }
            MemberAction::ReadTarget(target) if seen.insert(member) => {
                self.read_target(at, target, context.element_start, context.depth)?
            }
            _ => return Ok(MemberOutcome::SlowValue(at, member)),
        };
        Ok(MemberOutcome::Read(after))
    }

    /// Reads the member behind `gap`, or the end of the object; says where it
    /// ends, and whether it was the end.
    #[inline(never)]
    fn read_next_member(
        &mut self,
        gap: usize,
        context: ObjectContext,
        members: &mut ObjectCursor,
    ) -> Result<(usize, bool), ScanError> {
        let first = gap == members.open_brace;
        let next = if first { gap } else { self.scanner.skip_whitespace(gap) };
        match (self.scanner.byte_at(next), first) {
            (b'{', true) | (b',', false) => {}
            (b'}', false) => return Ok((next + 1, true)),
            _ => return Err(ScanError::Syntax),
        }
        let start = self.scanner.skip_whitespace(next + 1);
        if first && self.scanner.byte_at(start) == b'}' {
            return Ok((start + 1, true));
        }
        let (token, value) = self.scanner.read_key(start, &mut self.keys_left)?;
        let keys = &mut self.key_caches[usize::from(context.node)];
        let found = match token.has_escapes {
            false => keys.look_up(&self.text.as_bytes()[token.start..token.end]),
            true => MemberLookup::TooLong,
        };
        let (key, member) = match found {
            MemberLookup::Member(key, member) => (key, Some(member)),
            MemberLookup::Unlisted(key) => (key, None),
            MemberLookup::TooLong => (NO_KEY, self.find_member(context.node, token)),
        };
        if let Some(bytes) = self.scanner.chunk_at(gap) {
            self.key_caches[usize::from(context.node)].remember_gap(key, bytes, value - gap);
        }
        let after = self.read_member_value(value, context, member, &mut members.seen)?;
        Ok((after, false))
    }

    /// Reads the value of a member, if it is one of the node's.
    fn read_member_value(
        &mut self,
        at: usize,
        context: ObjectContext,
        member: Option<usize>,
        seen: &mut SeenMembers,
    ) -> Result<usize, ScanError> {
        let members = &self.shape.nodes[usize::from(context.node)].members;
        let Some((index, member)) = member.and_then(|index| Some((index, members.get(index)?)))
        else {
            self.values.has_unlisted = true;
            return self.scanner.skip_value(at, context.depth, &mut self.keys_left);
        };
        if seen.insert(Some(index)) {
            self.read_target(at, member.target, context.element_start, context.depth)
        } else {
            self.mark_malformed(member.target, context.element_start);
            self.scanner.skip_value(at, context.depth, &mut self.keys_left)
        }
    }

    /// The place of a key among the node's members, by its meaning.
    fn find_member(&mut self, node: u16, key: StringToken) -> Option<usize> {
        let members = &self.shape.nodes[usize::from(node)].members;
        let inside = &self.text[key.start..key.end];
        if !key.has_escapes {
            return members.iter().position(|member| &*member.name == inside);
        }
        let decoded = &mut self.values.decoded;
        let start = decoded.len();
        if !scan::decode_string(inside, decoded) {
            return None;
        }
        let name = &decoded[start..];
        let found = members.iter().position(|member| &*member.name == name);
        decoded.truncate(start);
        found
    }

    #[inline(always)]
    pub(in crate::engine) fn read_target(
        &mut self,
        at: usize,
        target: MemberTarget,
        element_start: Option<usize>,
        depth: u32,
    ) -> Result<usize, ScanError> {
        match target {
            MemberTarget::Scalar { slot, kind } => {
                let (value, after) = self.read_scalar(at, kind, depth)?;
                self.set_slot(slot, element_start, value);
                Ok(after)
            }
            MemberTarget::Object { node } if self.scanner.byte_at(at) == b'{' => {
                self.read_object(at, node, element_start, depth)
            }
            MemberTarget::List { list, elements: of } if self.scanner.byte_at(at) == b'[' => {
                match self.read_plain_list(at, list, of, depth) {
                    Some(after) => Ok(after),
                    None => self.read_list(at, list, of, depth),
                }
            }
            MemberTarget::Object { .. } | MemberTarget::List { .. } => {
                let (absent, after) = self.skip_unexpected(at, depth)?;
                if !absent {
                    self.mark_malformed(target, element_start);
                }
                Ok(after)
            }
        }
    }

    /// Passes over a value of another type than is wanted; true when it counts
    /// as missing all the same, as null or an empty list does.
    fn skip_unexpected(&mut self, at: usize, depth: u32) -> Result<(bool, usize), ScanError> {
        let after = self.scanner.skip_value(at, depth, &mut self.keys_left)?;
        Ok((scan::is_blank(&self.text[at..after]), after))
    }

    /// Reads a list of short strings with nothing but commas between them; none
    /// where it is another one.
    #[inline(never)]
    fn read_plain_list(
        &mut self,
        at: usize,
        list: u16,
        elements: ElementShape,
        depth: u32,
    ) -> Option<usize> {
        let ElementShape::Scalars(kind) = elements else {
            return None;
        };
        if !kind.accepts_any_text() || self.scanner.enter_container(depth).is_err() {
            return None;
        }
        let start = self.values.elements.len();
        let bracket = at;
        let mut at = at;
        loop {
            let Some((length, more)) = self.scanner.chunk_at(at).and_then(parse_plain_element)
            else {
                self.values.elements.truncate(start);
                return None;
            };
            self.values.elements.push(ValueSlot::plain_string(at + 2, length));
            at += length + 3;
            if !more {
                break;
            }
        }
        self.values.lists[usize::from(list)] = ListSpan {
            state: SlotState::PlainString,
            first_element: start,
            element_count: self.values.elements.len() - start,
            verbatim_span: Some((bracket, at + 1 - bracket)),
        };
        Some(at + 1)
    }

    fn read_list(
        &mut self,
        at: usize,
        list: u16,
        elements: ElementShape,
        depth: u32,
    ) -> Result<usize, ScanError> {
        let scan = self.scanner;
        let depth = scan.enter_container(depth)?;
        let bracket = at;
        let mut at = scan.skip_whitespace(at + 1);
        let stride = usize::from(self.shape.list_strides[usize::from(list)]);
        let start = self.values.elements.len();
        let mut state = SlotState::PlainString;
        let mut count = 0;
        // Of elements that can be copied as they stand, each with a byte before it.
        let mut copied = 0;
        if scan.byte_at(at) != b']' {
            loop {
                let (element, after) = match elements {
                    ElementShape::Scalars(kind) => self.read_scalar_element(at, kind, depth)?,
                    ElementShape::Objects { node } => {
                        self.read_object_element(at, node, stride, depth)?
                    }
                };
                match element {
                    ElementOutcome::Missing => {}
                    ElementOutcome::Malformed => state = SlotState::Malformed,
                    ElementOutcome::Kept => count += 1,
                    ElementOutcome::Verbatim => {
                        count += 1;
                        copied += 1 + after - at;
                    }
                }
                at = scan.skip_whitespace(after);
                match scan.byte_at(at) {
                    b',' => at = scan.skip_whitespace(at + 1),
                    b']' => break,
                    _ => return Err(ScanError::Syntax),
                }
            }
        }
        if count == 0 && state == SlotState::PlainString {
            state = SlotState::Missing;
        }
        self.values.has_malformed |= state == SlotState::Malformed;
        // Then nothing but commas stands between them.
        let whole = bracket + copied == at;
        self.values.lists[usize::from(list)] = ListSpan {
            state,
            first_element: start,
            element_count: count,
            verbatim_span: whole.then_some((bracket, copied + 1)),
        };
        Ok(at + 1)
    }

    /// Reads one element that ought to be a scalar; what counts as missing leaves
    /// nothing behind.
    #[inline(always)]
    fn read_scalar_element(
        &mut self,
        at: usize,
        kind: FieldType,
        depth: u32,
    ) -> Result<(ElementOutcome, usize), ScanError> {
        let (value, after) = self.read_scalar(at, kind, depth)?;
        if value.is_missing() {
            return Ok((ElementOutcome::Missing, after));
        }
        self.values.has_malformed |= value.is_malformed();
        self.values.elements.push(value);
        let element = match value.is_verbatim() {
            true => ElementOutcome::Verbatim,
            false => ElementOutcome::Kept,
        };
        Ok((element, after))
    }

    /// Reads one element that ought to be an object; what counts as missing leaves
    /// nothing behind.
    fn read_object_element(
        &mut self,
        at: usize,
        node: u16,
        stride: usize,
        depth: u32,
    ) -> Result<(ElementOutcome, usize), ScanError> {
        let base = self.values.elements.len();
        if self.scanner.byte_at(at) != b'{' {
            let (absent, after) = self.skip_unexpected(at, depth)?;
            let element = match absent {
                true => ElementOutcome::Missing,
                false => ElementOutcome::Malformed,
            };
            return Ok((element, after));
        }
        self.values.elements.resize(base + stride, ValueSlot::MISSING);
        let after = self.read_object(at, node, Some(base), depth)?;
        let mut values = self.values.elements[base..].iter();
        if values.all(|slot| slot.is_missing()) {
            self.values.elements.truncate(base);
            return Ok((ElementOutcome::Missing, after));
        }
        Ok((ElementOutcome::Kept, after))
    }

    #[inline]
    pub(in crate::engine) fn set_slot(
        &mut self,
        slot: u16,
        element_start: Option<usize>,
        value: ValueSlot,
    ) {
        self.values.has_malformed |= value.is_malformed();
        match element_start {
            None => *self.values.slot_mut(slot) = value,
            Some(element_start) => self.values.elements[element_start + usize::from(slot)] = value,
        }
    }

    /// Makes everything malformed that `target` leads to.
    fn mark_malformed(&mut self, target: MemberTarget, element_start: Option<usize>) {
        match target {
            MemberTarget::Scalar { slot, .. } => {
                self.set_slot(slot, element_start, ValueSlot::MALFORMED)
            }
            MemberTarget::List { list, .. } => {
                self.values.has_malformed = true;
                self.values.lists[usize::from(list)].state = SlotState::Malformed;
            }
            MemberTarget::Object { node } => {
                let shape = self.shape;
                for member in &shape.nodes[usize::from(node)].members {
                    self.mark_malformed(member.target, element_start);
                }
            }
        }
    }

    /// Reads one value as `kind`; says where it ends.
    #[inline(always)]
    fn read_scalar(
        &mut self,
        at: usize,
        kind: FieldType,
        depth: u32,
    ) -> Result<(ValueSlot, usize), ScanError> {
        if self.scanner.byte_at(at) != b'"' {
            return self.read_unquoted(at, kind, depth);
        }
        let token = self.scanner.read_string(at)?;
        let slot = if kind.accepts_any_text() && !token.has_escapes && token.start != token.end {
            plain_string_slot(token)
        } else {
            self.string_to_slot(token, kind)
        };
        Ok((slot, token.after_quote()))
    }

    /// Reads a value that is no string.
    fn read_unquoted(
        &mut self,
        at: usize,
        kind: FieldType,
        depth: u32,
    ) -> Result<(ValueSlot, usize), ScanError> {
        let scan = self.scanner;
        let after = match scan.byte_at(at) {
            b'n' => return Ok((ValueSlot::MISSING, scan.skip_literal(at, b"null")?)),
            first @ (b't' | b'f') => {
                let truth = first == b't';
                let after = scan.skip_literal(at, if truth { b"true" } else { b"false" })?;
                let slot = match kind {
                    FieldType::Boolean => ValueSlot::boolean(truth),
                    _ => ValueSlot::MALFORMED,
                };
                return Ok((slot, after));
            }
            b'{' | b'[' => {
                let (absent, after) = self.skip_unexpected(at, depth)?;
                let slot = if absent { ValueSlot::MISSING } else { ValueSlot::MALFORMED };
                return Ok((slot, after));
            }
            _ => scan.skip_number(at)?,
        };
        let written = &self.text[at..after];
        let fits = match kind {
            FieldType::Integer => is_integer(written) && is_finite(written),
            FieldType::TextOrNumber => is_finite(written),
            FieldType::Text(_) | FieldType::CardNumber | FieldType::Boolean => false,
        };
        let slot =
            if fits { ValueSlot::span(at, after, SlotState::Number) } else { ValueSlot::MALFORMED };
        Ok((slot, after))
    }

    pub(in crate::engine) fn string_to_slot(
        &mut self,
        token: StringToken,
        kind: FieldType,
    ) -> ValueSlot {
        if token.start == token.end {
            return ValueSlot::MISSING;
        }
        if matches!(kind, FieldType::Integer | FieldType::Boolean) {
            return ValueSlot::MALFORMED;
        }
        let inside = &self.text[token.start..token.end];
        let decoded = &mut self.values.decoded;
        let start = decoded.len();
        if token.has_escapes && !scan::decode_string(inside, decoded) {
            return ValueSlot::MALFORMED;
        }
        let text = if token.has_escapes { &decoded[start..] } else { inside };
        if let FieldType::Text(Some(form)) = kind
            && !form.matches(text)
        {
            self.values.format_errors += 1;
            return ValueSlot::MISSING;
        }
        if token.has_escapes {
            ValueSlot::span(start, decoded.len(), SlotState::DecodedString)
        } else {
            plain_string_slot(token)
        }
    }
}

/// A comma or a bracket and a quote, a string of less than a piece, a quote and what
/// follows it.
const ELEMENT_WINDOW_LEN: usize = 2 + CHUNK_LEN + 1;

/// How long the string of an element is, and whether another one follows; none
/// where it takes a longer look.
#[inline(always)]
fn parse_plain_element(text: &[u8; ELEMENT_WINDOW_LEN]) -> Option<(usize, bool)> {
    let special = special_byte_mask(text[2..].first_chunk()?);
    let length = special.trailing_zeros() as usize;
    let end = text.get(2 + length..)?.first_chunk::<2>()?;
    match (text[1], end) {
        (b'"', b"\",") if length > 0 => Some((length, true)),
        (b'"', b"\"]") if length > 0 => Some((length, false)),
        _ => None,
    }
}

/// The place of the lowest bit, and the other bits.
#[inline(always)]
fn pop_lowest_bit(bits: u64) -> (usize, u64) {
    (bits.trailing_zeros() as usize, bits & bits.wrapping_sub(1))
}

/// Reads true, false, or some digits, where one of them is wanted; none where it
/// takes a longer look.
pub(in crate::engine) fn read_simple_scalar(
    scan: Scanner<'_>,
    at: usize,
    kind: FieldType,
) -> Option<(ValueSlot, usize)> {
    /// So many digits are a number that a double can hold.
    const DIGITS_MAX: usize = 15;
    match (kind, scan.byte_at(at)) {
        (FieldType::Boolean, b't') => {
            Some((ValueSlot::boolean(true), scan.skip_literal(at, b"true").ok()?))
        }
        (FieldType::Boolean, b'f') => {
            Some((ValueSlot::boolean(false), scan.skip_literal(at, b"false").ok()?))
        }
        (FieldType::Integer, b'1'..=b'9') => {
            let digits = scan.count_digits(at);
            let after = at + digits;
            let whole = !matches!(scan.byte_at(after), b'.' | b'e' | b'E');
            (whole && digits <= DIGITS_MAX)
                .then(|| (ValueSlot::span(at, after, SlotState::Number), after))
        }
        _ => None,
    }
}

/// The last window of a record, with zeros behind it: copied once, when it is come
/// to.
#[derive(Default)]
pub(in crate::engine) struct PaddedTail(Option<[u8; 2 * WINDOW_LEN]>);

impl PaddedTail {
    /// What stands at `at`, of which less than a window is left.
    #[cold]
    #[inline(never)]
    pub(in crate::engine) fn window<const N: usize>(
        &mut self,
        bytes: &[u8],
        at: usize,
    ) -> Option<&[u8; N]> {
        let end = self.0.get_or_insert_with(|| {
            let mut end = [0; 2 * WINDOW_LEN];
            match bytes.last_chunk::<WINDOW_LEN>() {
                Some(last) => end[..WINDOW_LEN].copy_from_slice(last),
                None => end[WINDOW_LEN - bytes.len()..WINDOW_LEN].copy_from_slice(bytes),
            }
            end
        });
        let left = bytes.len().checked_sub(at)?;
        end.get(WINDOW_LEN.checked_sub(left)?..)?.first_chunk()
    }
}

/// A string without escapes, with its quotes.
#[inline]
fn plain_string_slot(token: StringToken) -> ValueSlot {
    ValueSlot::plain_string(token.start, token.end - token.start)
}

/// `-?(0|[1-9][0-9]*)`, of a text that is a JSON number.
fn is_integer(written: &str) -> bool {
    written.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

fn is_finite(written: &str) -> bool {
    // A short number cannot leave the double range without an exponent.
    (written.len() < 300 && !written.contains(['e', 'E']))
        || written.parse::<f64>().is_ok_and(f64::is_finite)
}
