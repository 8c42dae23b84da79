//! Walks over one record's text, and fills the slots of the wanted paths.
//!
//! One pass, no tree. What is not wanted is passed over, but checked to be JSON.

use super::keys::{Keys, Lookup, NONE, Wanted};
use super::record::{List, Values};
use super::shape::{Elements, MEMBERS_MAX, Shape, Target};
use super::value::{Slot, State};
use crate::json::quotes::Quotes;
use crate::json::scan::{self, PIECE, ScanError, Scanner, StringToken, count_key, special_bytes};
use crate::policy::catalogue::Type;

pub(super) struct Reader<'a> {
    pub(super) scan: Scanner<'a>,
    pub(super) text: &'a str,
    pub(super) shape: &'a Shape,
    /// By node of the shape.
    pub(super) keys: &'a mut [Keys],
    /// Of the text, if they were asked for.
    pub(super) quotes: &'a mut Quotes,
    /// How many more the record may have.
    pub(super) keys_left: u32,
    pub(super) values: &'a mut Values,
}

/// The object whose members are read.
#[derive(Clone, Copy)]
struct Inside {
    node: u16,
    /// Where the slots of the list's element start that it is (a part of).
    base: Option<usize>,
    depth: u32,
}

/// A gap between two values and the start of a string are looked at together.
pub(super) const WINDOW: usize = 2 * PIECE;

/// The members of one object that were read already.
#[derive(Clone, Copy, Default)]
struct Seen([u64; MEMBERS_MAX / 64]);

impl Seen {
    /// Whether this member was not there before; from now on it was. What is no
    /// member is always new.
    #[inline(always)]
    fn is_new(&mut self, member: Option<usize>) -> bool {
        let place = member.unwrap_or_default();
        let bit = u64::from(member.is_some()) << (place % 64);
        let word = &mut self.0[place / 64 % (MEMBERS_MAX / 64)];
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

/// The members of one object, while they are read.
struct Members {
    /// Where the object starts.
    brace: usize,
    seen: Seen,
    tail: Tail,
}

/// What came of an element of a list.
enum Element {
    Missing,
    /// The list is malformed for it.
    Malformed,
    Kept,
    /// Kept, and it can be copied as it stands.
    Copied,
}

/// What came of reading a member by what is known of it.
enum Met {
    /// It was read to here.
    Read(usize),
    /// Its value starts here, and takes a longer look.
    Value(usize, Option<usize>),
    /// The object ends instead.
    End,
    /// It is not known, or stands there in another way than the last time.
    Unknown,
}

impl Reader<'_> {
    /// Reads the object that starts at `at` by `node`; says where it ends.
    /// `base` is where the slots of the list's element start that it is (a part
    /// of).
    pub(super) fn object(
        &mut self,
        at: usize,
        node: u16,
        base: Option<usize>,
        depth: u32,
    ) -> Result<usize, ScanError> {
        let depth = self.scan.deeper(depth)?;
        let inside = Inside { node, base, depth };
        self.quotes.read(self.text);
        let mut members = Members {
            brace: at,
            seen: Seen::default(),
            tail: Tail::default(),
        };
        // At the brace, then behind each value.
        let mut at = at;
        loop {
            at = match self.known_member(at, inside, &mut members)? {
                Met::Read(after) => after,
                Met::Value(value, member) => {
                    self.value(value, inside, member, &mut members.seen)?
                }
                Met::End => return Ok(at + 1),
                Met::Unknown => match self.next_member(at, inside, &mut members)? {
                    (after, false) => after,
                    (after, true) => return Ok(after),
                },
            };
        }
    }

    /// Reads the member behind `at` if it is known and stands there as it did the
    /// last time.
    #[inline(always)]
    fn known_member(
        &mut self,
        at: usize,
        inside: Inside,
        members: &mut Members,
    ) -> Result<Met, ScanError> {
        let first = at == members.brace;
        if self.scan.byte(at) == b'}' && !first {
            return Ok(Met::End);
        }
        let gap = match self.scan.chunk(at) {
            Some(gap) => Some(gap),
            None => members.tail.window(self.text.as_bytes(), at),
        };
        // The quotes of a key, and of a string behind it.
        let within = self.quotes.from(at);
        let (open, within) = first_bit(within);
        let (close, within) = first_bit(within);
        let (start, within) = first_bit(within);
        let (end, _) = first_bit(within);
        let keys = &self.keys[usize::from(inside.node)];
        // The brace before the first key stands for a comma.
        let known = gap.and_then(|gap| keys.stands_in(gap, (open, close), u32::from(first)));
        let Some(known) = known else {
            return Ok(Met::Unknown);
        };
        let (member, gap_length) = (known.member(), known.gap_length());
        // Whether it is a string is read off the text: the key is known later.
        if start.wrapping_sub(close) != keys.colon() {
            let wanted = known.wanted;
            count_key(&mut self.keys_left)?;
            return self.known_other(at + gap_length, wanted, member, inside, members);
        }
        if start != gap_length {
            return Ok(Met::Unknown);
        }
        count_key(&mut self.keys_left)?;
        let start = at + start;
        let mut end = at + end;
        if within == 0 || !self.quotes.are_plain() {
            let token = self.scan.string(start)?;
            if token.escaped {
                return Ok(Met::Value(start, member));
            }
            end = token.end;
        }
        if !(known.is_kept && members.seen.is_new(member)) {
            return Ok(Met::Value(start, member));
        }
        self.values.unlisted |= member.is_none();
        self.values.keep(known.slot, start + 1, end - start - 1);
        Ok(Met::Read(end + 1))
    }

    /// Reads the value at `at` of a member that is known, which is no string.
    #[inline(always)]
    fn known_other(
        &mut self,
        at: usize,
        wanted: Wanted,
        member: Option<usize>,
        inside: Inside,
        members: &mut Members,
    ) -> Result<Met, ScanError> {
        let at = self.scan.space(at);
        let seen = &mut members.seen;
        let after = match wanted {
            Wanted::Nothing => {
                self.values.unlisted = true;
                self.scan.skip(at, inside.depth, &mut self.keys_left)?
            }
            Wanted::Bare(slot, kind)
                if let Some((bare, after)) = simple(self.scan, at, kind)
                    && seen.is_new(member) =>
            {
                self.set(slot, None, bare);
                after
            }
            Wanted::Member(target) if seen.is_new(member) => {
                self.member(at, target, inside.base, inside.depth)?
            }
            _ => return Ok(Met::Value(at, member)),
        };
        Ok(Met::Read(after))
    }

    /// Reads the member behind `gap`, or the end of the object; says where it
    /// ends, and whether it was the end.
    #[inline(never)]
    fn next_member(
        &mut self,
        gap: usize,
        inside: Inside,
        members: &mut Members,
    ) -> Result<(usize, bool), ScanError> {
        let first = gap == members.brace;
        let next = if first { gap } else { self.scan.space(gap) };
        match (self.scan.byte(next), first) {
            (b'{', true) | (b',', false) => {}
            (b'}', false) => return Ok((next + 1, true)),
            _ => return Err(ScanError::Syntax),
        }
        let start = self.scan.space(next + 1);
        if first && self.scan.byte(start) == b'}' {
            return Ok((start + 1, true));
        }
        let (token, value) = self.scan.key(start, &mut self.keys_left)?;
        let keys = &mut self.keys[usize::from(inside.node)];
        let found = match token.escaped {
            false => keys.look_up(&self.text.as_bytes()[token.start..token.end]),
            true => Lookup::TooLong,
        };
        let (key, member) = match found {
            Lookup::Member(key, member) => (key, Some(member)),
            Lookup::Unlisted(key) => (key, None),
            Lookup::TooLong => (NONE, self.named(inside.node, token)),
        };
        if let Some(bytes) = self.scan.chunk(gap) {
            self.keys[usize::from(inside.node)].note(key, bytes, value - gap);
        }
        let after = self.value(value, inside, member, &mut members.seen)?;
        Ok((after, false))
    }

    /// Reads the value of a member, if it is one of the node's.
    fn value(
        &mut self,
        at: usize,
        inside: Inside,
        member: Option<usize>,
        seen: &mut Seen,
    ) -> Result<usize, ScanError> {
        let members = &self.shape.nodes[usize::from(inside.node)].members;
        let Some((index, member)) = member.and_then(|index| Some((index, members.get(index)?)))
        else {
            self.values.unlisted = true;
            return self.scan.skip(at, inside.depth, &mut self.keys_left);
        };
        if seen.is_new(Some(index)) {
            self.member(at, member.target, inside.base, inside.depth)
        } else {
            self.spoil(member.target, inside.base);
            self.scan.skip(at, inside.depth, &mut self.keys_left)
        }
    }

    /// The place of a key among the node's members, by its meaning.
    fn named(&mut self, node: u16, key: StringToken) -> Option<usize> {
        let members = &self.shape.nodes[usize::from(node)].members;
        let inside = &self.text[key.start..key.end];
        if !key.escaped {
            return members.iter().position(|member| &*member.name == inside);
        }
        let decoded = &mut self.values.decoded;
        let start = decoded.len();
        if !scan::decode(inside, decoded) {
            return None;
        }
        let name = &decoded[start..];
        let found = members.iter().position(|member| &*member.name == name);
        decoded.truncate(start);
        found
    }

    #[inline(always)]
    pub(super) fn member(
        &mut self,
        at: usize,
        target: Target,
        base: Option<usize>,
        depth: u32,
    ) -> Result<usize, ScanError> {
        match target {
            Target::Scalar { slot, kind } => {
                let (value, after) = self.scalar(at, kind, depth)?;
                self.set(slot, base, value);
                Ok(after)
            }
            Target::Object { node } if self.scan.byte(at) == b'{' => {
                self.object(at, node, base, depth)
            }
            Target::List { list, of } if self.scan.byte(at) == b'[' => {
                match self.plain_list(at, list, of, depth) {
                    Some(after) => Ok(after),
                    None => self.list(at, list, of, depth),
                }
            }
            Target::Object { .. } | Target::List { .. } => {
                let (absent, after) = self.absent(at, depth)?;
                if !absent {
                    self.spoil(target, base);
                }
                Ok(after)
            }
        }
    }

    /// Passes over a value of another type than is wanted; true when it counts
    /// as missing all the same, as null or an empty list does.
    fn absent(&mut self, at: usize, depth: u32) -> Result<(bool, usize), ScanError> {
        let after = self.scan.skip(at, depth, &mut self.keys_left)?;
        Ok((scan::is_blank(&self.text[at..after]), after))
    }

    /// Reads a list of short strings with nothing but commas between them; none
    /// where it is another one.
    #[inline(never)]
    fn plain_list(&mut self, at: usize, list: u16, of: Elements, depth: u32) -> Option<usize> {
        let Elements::Scalars(kind) = of else {
            return None;
        };
        if !kind.takes_any_text() || self.scan.deeper(depth).is_err() {
            return None;
        }
        let start = self.values.elements.len();
        let bracket = at;
        let mut at = at;
        loop {
            let Some((length, more)) = self.scan.chunk(at).and_then(plain_element) else {
                self.values.elements.truncate(start);
                return None;
            };
            self.values.elements.push(Slot::plain(at + 2, length));
            at += length + 3;
            if !more {
                break;
            }
        }
        self.values.lists[usize::from(list)] = List {
            state: State::Plain,
            start,
            count: self.values.elements.len() - start,
            whole: Some((bracket, at + 1 - bracket)),
        };
        Some(at + 1)
    }

    fn list(&mut self, at: usize, list: u16, of: Elements, depth: u32) -> Result<usize, ScanError> {
        let scan = self.scan;
        let depth = scan.deeper(depth)?;
        let bracket = at;
        let mut at = scan.space(at + 1);
        let stride = usize::from(self.shape.lists[usize::from(list)]);
        let start = self.values.elements.len();
        let mut state = State::Plain;
        let mut count = 0;
        // Of elements that can be copied as they stand, each with a byte before it.
        let mut copied = 0;
        if scan.byte(at) != b']' {
            loop {
                let (element, after) = match of {
                    Elements::Scalars(kind) => self.element(at, kind, depth)?,
                    Elements::Objects { node } => self.object_element(at, node, stride, depth)?,
                };
                match element {
                    Element::Missing => {}
                    Element::Malformed => state = State::Malformed,
                    Element::Kept => count += 1,
                    Element::Copied => {
                        count += 1;
                        copied += 1 + after - at;
                    }
                }
                at = scan.space(after);
                match scan.byte(at) {
                    b',' => at = scan.space(at + 1),
                    b']' => break,
                    _ => return Err(ScanError::Syntax),
                }
            }
        }
        if count == 0 && state == State::Plain {
            state = State::Missing;
        }
        self.values.malformed |= state == State::Malformed;
        // Then nothing but commas stands between them.
        let whole = bracket + copied == at;
        self.values.lists[usize::from(list)] = List {
            state,
            start,
            count,
            whole: whole.then_some((bracket, copied + 1)),
        };
        Ok(at + 1)
    }

    /// Reads one element that ought to be a scalar; what counts as missing leaves
    /// nothing behind.
    #[inline(always)]
    fn element(
        &mut self,
        at: usize,
        kind: Type,
        depth: u32,
    ) -> Result<(Element, usize), ScanError> {
        let (value, after) = self.scalar(at, kind, depth)?;
        if value.is_missing() {
            return Ok((Element::Missing, after));
        }
        self.values.malformed |= value.is_malformed();
        self.values.elements.push(value);
        let element = match value.is_in_text() {
            true => Element::Copied,
            false => Element::Kept,
        };
        Ok((element, after))
    }

    /// Reads one element that ought to be an object; what counts as missing leaves
    /// nothing behind.
    fn object_element(
        &mut self,
        at: usize,
        node: u16,
        stride: usize,
        depth: u32,
    ) -> Result<(Element, usize), ScanError> {
        let base = self.values.elements.len();
        if self.scan.byte(at) != b'{' {
            let (absent, after) = self.absent(at, depth)?;
            let element = match absent {
                true => Element::Missing,
                false => Element::Malformed,
            };
            return Ok((element, after));
        }
        self.values.elements.resize(base + stride, Slot::MISSING);
        let after = self.object(at, node, Some(base), depth)?;
        let mut values = self.values.elements[base..].iter();
        if values.all(|slot| slot.is_missing()) {
            self.values.elements.truncate(base);
            return Ok((Element::Missing, after));
        }
        Ok((Element::Kept, after))
    }

    #[inline]
    pub(super) fn set(&mut self, slot: u16, base: Option<usize>, value: Slot) {
        self.values.malformed |= value.is_malformed();
        match base {
            None => *self.values.slot_mut(slot) = value,
            Some(base) => self.values.elements[base + usize::from(slot)] = value,
        }
    }

    /// Makes everything malformed that `target` leads to.
    fn spoil(&mut self, target: Target, base: Option<usize>) {
        match target {
            Target::Scalar { slot, .. } => self.set(slot, base, Slot::MALFORMED),
            Target::List { list, .. } => {
                self.values.malformed = true;
                self.values.lists[usize::from(list)].state = State::Malformed;
            }
            Target::Object { node } => {
                let shape = self.shape;
                for member in &shape.nodes[usize::from(node)].members {
                    self.spoil(member.target, base);
                }
            }
        }
    }

    /// Reads one value as `kind`; says where it ends.
    #[inline(always)]
    fn scalar(&mut self, at: usize, kind: Type, depth: u32) -> Result<(Slot, usize), ScanError> {
        if self.scan.byte(at) != b'"' {
            return self.bare(at, kind, depth);
        }
        let token = self.scan.string(at)?;
        let slot = if kind.takes_any_text() && !token.escaped && token.start != token.end {
            quoted(token)
        } else {
            self.string(token, kind)
        };
        Ok((slot, token.after()))
    }

    /// Reads a value that is no string.
    fn bare(&mut self, at: usize, kind: Type, depth: u32) -> Result<(Slot, usize), ScanError> {
        let scan = self.scan;
        let after = match scan.byte(at) {
            b'n' => return Ok((Slot::MISSING, scan.literal(at, b"null")?)),
            first @ (b't' | b'f') => {
                let truth = first == b't';
                let after = scan.literal(at, if truth { b"true" } else { b"false" })?;
                let slot = match kind {
                    Type::Boolean => Slot::boolean(truth),
                    _ => Slot::MALFORMED,
                };
                return Ok((slot, after));
            }
            b'{' | b'[' => {
                let (absent, after) = self.absent(at, depth)?;
                let slot = if absent {
                    Slot::MISSING
                } else {
                    Slot::MALFORMED
                };
                return Ok((slot, after));
            }
            _ => scan.number(at)?,
        };
        let written = &self.text[at..after];
        let fits = match kind {
            Type::Integer => is_integer(written) && is_finite(written),
            Type::TextOrNumber => is_finite(written),
            Type::Text(_) | Type::CardNumber | Type::Boolean => false,
        };
        let slot = if fits {
            Slot::span(at, after, State::Number)
        } else {
            Slot::MALFORMED
        };
        Ok((slot, after))
    }

    pub(super) fn string(&mut self, token: StringToken, kind: Type) -> Slot {
        if token.start == token.end {
            return Slot::MISSING;
        }
        if matches!(kind, Type::Integer | Type::Boolean) {
            return Slot::MALFORMED;
        }
        let inside = &self.text[token.start..token.end];
        let decoded = &mut self.values.decoded;
        let start = decoded.len();
        if token.escaped && !scan::decode(inside, decoded) {
            return Slot::MALFORMED;
        }
        let text = if token.escaped {
            &decoded[start..]
        } else {
            inside
        };
        if let Type::Text(Some(form)) = kind
            && !form.fits(text)
        {
            self.values.unfit += 1;
            return Slot::MISSING;
        }
        if token.escaped {
            Slot::span(start, decoded.len(), State::Decoded)
        } else {
            quoted(token)
        }
    }
}

/// A comma or a bracket and a quote, a string of less than a piece, a quote and what
/// follows it.
const ELEMENT: usize = 2 + PIECE + 1;

/// How long the string of an element is, and whether another one follows; none
/// where it takes a longer look.
#[inline(always)]
fn plain_element(text: &[u8; ELEMENT]) -> Option<(usize, bool)> {
    let special = special_bytes(text[2..].first_chunk()?);
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
fn first_bit(bits: u64) -> (usize, u64) {
    (bits.trailing_zeros() as usize, bits & bits.wrapping_sub(1))
}

/// Reads true, false, or some digits, where one of them is wanted; none where it
/// takes a longer look.
pub(super) fn simple(scan: Scanner<'_>, at: usize, kind: Type) -> Option<(Slot, usize)> {
    /// So many digits are a number that a double can hold.
    const DIGITS_MAX: usize = 15;
    match (kind, scan.byte(at)) {
        (Type::Boolean, b't') => Some((Slot::boolean(true), scan.literal(at, b"true").ok()?)),
        (Type::Boolean, b'f') => Some((Slot::boolean(false), scan.literal(at, b"false").ok()?)),
        (Type::Integer, b'1'..=b'9') => {
            let digits = scan.count_digits(at);
            let after = at + digits;
            let whole = !matches!(scan.byte(after), b'.' | b'e' | b'E');
            (whole && digits <= DIGITS_MAX).then(|| (Slot::span(at, after, State::Number), after))
        }
        _ => None,
    }
}

/// The last window of a record, with zeros behind it: copied once, when it is come
/// to.
#[derive(Default)]
pub(super) struct Tail(Option<[u8; 2 * WINDOW]>);

impl Tail {
    /// What stands at `at`, of which less than a window is left.
    #[cold]
    #[inline(never)]
    pub(super) fn window<const N: usize>(&mut self, bytes: &[u8], at: usize) -> Option<&[u8; N]> {
        let end = self.0.get_or_insert_with(|| {
            let mut end = [0; 2 * WINDOW];
            match bytes.last_chunk::<WINDOW>() {
                Some(last) => end[..WINDOW].copy_from_slice(last),
                None => end[WINDOW - bytes.len()..WINDOW].copy_from_slice(bytes),
            }
            end
        });
        let left = bytes.len().checked_sub(at)?;
        end.get(WINDOW.checked_sub(left)?..)?.first_chunk()
    }
}

/// A string without escapes, with its quotes.
#[inline]
fn quoted(token: StringToken) -> Slot {
    Slot::plain(token.start, token.end - token.start)
}

/// `-?(0|[1-9][0-9]*)`, of a text that is a JSON number.
fn is_integer(written: &str) -> bool {
    written
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'-')
}

fn is_finite(written: &str) -> bool {
    // A short number cannot leave the double range without an exponent.
    (written.len() < 300 && !written.contains(['e', 'E']))
        || written.parse::<f64>().is_ok_and(f64::is_finite)
}
