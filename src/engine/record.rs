//! One record, read once: bytes to slots of the wanted paths.
//!
//! What nobody wants is passed over, but still checked to be JSON and UTF-8.
//! The record keeps its text and is used again for the next one, so that
//! reading allocates nothing in steady state.

use super::shape::{Elements, Shape, Target};
use super::value::{Slot, State, Value};
use crate::json::scan::{self, Bounds, Cursor, ScanError, StringToken};
use crate::policy::catalogue::Type;
use crate::policy::reason::Reason;

/// The limits of a record.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub bytes: usize,
    pub bounds: Bounds,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            bytes: 1 << 20,
            bounds: Bounds {
                depth: 64,
                keys: 4_096,
            },
        }
    }
}

/// A wanted list.
#[derive(Clone, Copy, Debug)]
struct List {
    state: State,
    /// Its first element's first value in `elements`, and how many elements.
    start: usize,
    count: usize,
}

const NO_LIST: List = List {
    state: State::Missing,
    start: 0,
    count: 0,
};

/// The wanted values of one record.
#[derive(Debug, Default)]
pub struct Record {
    text: String,
    /// Strings that had escapes, decoded.
    decoded: String,
    slots: Vec<Slot>,
    lists: Vec<List>,
    elements: Vec<Slot>,
    /// How many strings did not fit their form.
    unfit: u32,
    /// A member that the shape does not have was met in the record.
    unlisted: bool,
}

impl Record {
    /// Reads `bytes` by `shape`.
    ///
    /// # Errors
    ///
    /// The [`Reason`] for which the record is refused whole.
    pub fn read(&mut self, bytes: &[u8], shape: &Shape, limits: &Limits) -> Result<(), Reason> {
        self.reset(shape);
        if bytes.len() > limits.bytes {
            return Err(Reason::TooLarge);
        }
        let text = simdutf8::basic::from_utf8(bytes).map_err(|_| Reason::NotUtf8)?;
        self.text.push_str(text);
        let text = std::mem::take(&mut self.text);
        let outcome = self.scan(&text, shape, limits.bounds);
        self.text = text;
        outcome
    }

    fn reset(&mut self, shape: &Shape) {
        self.text.clear();
        self.decoded.clear();
        self.slots.clear();
        self.slots.resize(usize::from(shape.slots), Slot::MISSING);
        self.lists.clear();
        self.lists.resize(shape.lists.len(), NO_LIST);
        self.elements.clear();
        self.unfit = 0;
        self.unlisted = false;
    }

    fn scan(&mut self, text: &str, shape: &Shape, bounds: Bounds) -> Result<(), Reason> {
        let mut cursor = Cursor::new(text, bounds);
        cursor.space();
        let object = cursor.peek() == b'{';
        let outcome = if object {
            let mut reader = Reader {
                text,
                shape,
                record: self,
            };
            reader.object(&mut cursor, 0, None, 0)
        } else {
            cursor.skip(0)
        };
        outcome
            .and_then(|()| cursor.finish())
            .map_err(|error| match error {
                ScanError::Syntax => Reason::NotJson,
                ScanError::TooDeep => Reason::TooDeep,
                ScanError::TooManyKeys => Reason::TooManyKeys,
            })?;
        if object {
            Ok(())
        } else {
            Err(Reason::NotAnObject)
        }
    }

    /// The value in a slot.
    #[inline]
    #[must_use]
    pub fn value(&self, slot: u16) -> Value<'_> {
        self.slots
            .get(usize::from(slot))
            .map_or(Value::Missing, |&slot| self.view(slot))
    }

    /// What a slot holds, as it is kept.
    #[must_use]
    pub fn slot(&self, slot: u16) -> Slot {
        self.slots
            .get(usize::from(slot))
            .copied()
            .unwrap_or(Slot::MISSING)
    }

    /// The text that the span of a slot of this state lies in.
    #[inline]
    #[must_use]
    pub fn text_of(&self, state: State) -> &str {
        match state {
            State::Decoded => &self.decoded,
            _ => &self.text,
        }
    }

    /// Fills a derived slot.
    pub fn derive(&mut self, slot: u16, value: Slot) {
        if let Some(place) = self.slots.get_mut(usize::from(slot)) {
            *place = value;
        }
    }

    /// Whether the list itself is malformed.
    #[must_use]
    pub fn list_malformed(&self, list: u16) -> bool {
        self.lists
            .get(usize::from(list))
            .is_some_and(|list| list.state == State::Malformed)
    }

    /// How many elements a list has.
    #[must_use]
    pub fn list_len(&self, list: u16) -> usize {
        self.lists
            .get(usize::from(list))
            .map_or(0, |list| list.count)
    }

    /// One value of one element of a list whose elements have `stride` values.
    #[must_use]
    pub fn element(&self, list: u16, stride: u16, index: usize, slot: u16) -> Value<'_> {
        self.lists
            .get(usize::from(list))
            .and_then(|list| {
                let at = list.start + index * usize::from(stride) + usize::from(slot);
                self.elements.get(at)
            })
            .map_or(Value::Missing, |&slot| self.view(slot))
    }

    /// How many strings at wanted paths did not fit their form.
    #[must_use]
    pub fn unfit(&self) -> u32 {
        self.unfit
    }

    /// Whether a field stood in the record that the shape does not have.
    #[must_use]
    pub fn unlisted(&self) -> bool {
        self.unlisted
    }

    fn view(&self, slot: Slot) -> Value<'_> {
        let range = slot.start as usize..slot.end as usize;
        match slot.state {
            State::Missing => Value::Missing,
            State::Malformed => Value::Malformed,
            State::Plain => Value::Text {
                text: &self.text[range],
                plain: true,
            },
            State::Decoded => Value::Text {
                text: &self.decoded[range],
                plain: false,
            },
            State::Number => Value::Number(&self.text[range]),
            State::True => Value::Boolean(true),
            State::False => Value::Boolean(false),
        }
    }
}

/// Walks over one record's text and fills its slots.
struct Reader<'a> {
    text: &'a str,
    shape: &'a Shape,
    record: &'a mut Record,
}

impl Reader<'_> {
    /// Reads the object that starts here by `node`. `base` is where the slots of
    /// the list's element start that it is (a part of).
    fn object(
        &mut self,
        cursor: &mut Cursor<'_>,
        node: u16,
        base: Option<usize>,
        depth: u32,
    ) -> Result<(), ScanError> {
        let depth = cursor.deeper(depth)?;
        cursor.advance();
        cursor.space();
        if cursor.peek() == b'}' {
            cursor.advance();
            return Ok(());
        }
        let mut seen: u128 = 0;
        let mut guess = 0;
        loop {
            let key = cursor.key()?;
            match self.find(node, key, guess) {
                None => {
                    self.record.unlisted = true;
                    cursor.skip(depth)?;
                }
                Some(index) => {
                    guess = index + 1;
                    let target = self.shape.nodes[usize::from(node)].members[index].target;
                    let bit = 1u128 << index;
                    if seen & bit != 0 {
                        self.spoil(target, base);
                        cursor.skip(depth)?;
                    } else {
                        seen |= bit;
                        self.member(cursor, target, base, depth)?;
                    }
                }
            }
            cursor.space();
            match cursor.peek() {
                b',' => cursor.advance(),
                b'}' => {
                    cursor.advance();
                    return Ok(());
                }
                _ => return Err(ScanError::Syntax),
            }
            cursor.space();
        }
    }

    /// The place of `key` among the node's members; `guess` is tried first.
    fn find(&mut self, node: u16, key: StringToken, guess: usize) -> Option<usize> {
        let members = &self.shape.nodes[usize::from(node)].members;
        let inside = &self.text[key.start..key.end];
        if !key.escaped {
            if members
                .get(guess)
                .is_some_and(|member| &*member.name == inside)
            {
                return Some(guess);
            }
            return members.iter().position(|member| &*member.name == inside);
        }
        let start = self.record.decoded.len();
        if !scan::decode(inside, &mut self.record.decoded) {
            return None;
        }
        let name = &self.record.decoded[start..];
        let found = members.iter().position(|member| &*member.name == name);
        self.record.decoded.truncate(start);
        found
    }

    fn member(
        &mut self,
        cursor: &mut Cursor<'_>,
        target: Target,
        base: Option<usize>,
        depth: u32,
    ) -> Result<(), ScanError> {
        match target {
            Target::Scalar { slot, kind } => {
                let value = self.scalar(cursor, kind, depth)?;
                self.set(slot, base, value);
                Ok(())
            }
            Target::Object { node } if cursor.peek() == b'{' => {
                self.object(cursor, node, base, depth)
            }
            Target::List { list, of } if cursor.peek() == b'[' => {
                self.list(cursor, list, of, depth)
            }
            Target::Object { .. } | Target::List { .. } => {
                if !self.absent(cursor, depth)? {
                    self.spoil(target, base);
                }
                Ok(())
            }
        }
    }

    /// Passes over a value of another type than is wanted; true when it counts
    /// as missing all the same, as null or an empty list does.
    fn absent(&mut self, cursor: &mut Cursor<'_>, depth: u32) -> Result<bool, ScanError> {
        let start = cursor.position();
        cursor.skip(depth)?;
        Ok(scan::is_blank(&self.text[start..cursor.position()]))
    }

    fn list(
        &mut self,
        cursor: &mut Cursor<'_>,
        list: u16,
        of: Elements,
        depth: u32,
    ) -> Result<(), ScanError> {
        let depth = cursor.deeper(depth)?;
        cursor.advance();
        cursor.space();
        let stride = usize::from(self.shape.lists[usize::from(list)]);
        let start = self.record.elements.len();
        let mut state = State::Plain;
        let mut count = 0;
        if cursor.peek() == b']' {
            cursor.advance();
        } else {
            loop {
                match self.element(cursor, of, stride, depth)? {
                    State::Missing => {}
                    State::Malformed => state = State::Malformed,
                    _ => count += 1,
                }
                cursor.space();
                match cursor.peek() {
                    b',' => cursor.advance(),
                    b']' => {
                        cursor.advance();
                        break;
                    }
                    _ => return Err(ScanError::Syntax),
                }
                cursor.space();
            }
        }
        if count == 0 && state == State::Plain {
            state = State::Missing;
        }
        self.record.lists[usize::from(list)] = List {
            state,
            start,
            count,
        };
        Ok(())
    }

    /// Reads one element; what counts as missing leaves nothing behind.
    fn element(
        &mut self,
        cursor: &mut Cursor<'_>,
        of: Elements,
        stride: usize,
        depth: u32,
    ) -> Result<State, ScanError> {
        let base = self.record.elements.len();
        let node = match of {
            Elements::Scalars(kind) => {
                let value = self.scalar(cursor, kind, depth)?;
                if value.state != State::Missing {
                    self.record.elements.push(value);
                }
                return Ok(match value.state {
                    State::Missing => State::Missing,
                    _ => State::Plain,
                });
            }
            Elements::Objects { node } => node,
        };
        if cursor.peek() != b'{' {
            let absent = self.absent(cursor, depth)?;
            return Ok(if absent {
                State::Missing
            } else {
                State::Malformed
            });
        }
        self.record.elements.resize(base + stride, Slot::MISSING);
        self.object(cursor, node, Some(base), depth)?;
        let empty = self.record.elements[base..]
            .iter()
            .all(|slot| slot.state == State::Missing);
        if empty {
            self.record.elements.truncate(base);
            return Ok(State::Missing);
        }
        Ok(State::Plain)
    }

    fn set(&mut self, slot: u16, base: Option<usize>, value: Slot) {
        let slot = usize::from(slot);
        match base {
            None => self.record.slots[slot] = value,
            Some(base) => self.record.elements[base + slot] = value,
        }
    }

    /// Makes everything malformed that `target` leads to.
    fn spoil(&mut self, target: Target, base: Option<usize>) {
        match target {
            Target::Scalar { slot, .. } => self.set(slot, base, Slot::MALFORMED),
            Target::List { list, .. } => {
                self.record.lists[usize::from(list)].state = State::Malformed;
            }
            Target::Object { node } => {
                let shape = self.shape;
                for member in &shape.nodes[usize::from(node)].members {
                    self.spoil(member.target, base);
                }
            }
        }
    }

    /// Reads one value as `kind`.
    fn scalar(
        &mut self,
        cursor: &mut Cursor<'_>,
        kind: Type,
        depth: u32,
    ) -> Result<Slot, ScanError> {
        let start = cursor.position();
        match cursor.peek() {
            b'"' => {
                let token = cursor.string()?;
                return Ok(self.string(token, kind));
            }
            b'n' => {
                cursor.literal(b"null")?;
                return Ok(Slot::MISSING);
            }
            b't' | b'f' => {
                let truth = cursor.peek() == b't';
                cursor.literal(if truth { b"true" } else { b"false" })?;
                return Ok(match kind {
                    Type::Boolean => Slot::boolean(truth),
                    _ => Slot::MALFORMED,
                });
            }
            b'{' | b'[' => {
                return Ok(if self.absent(cursor, depth)? {
                    Slot::MISSING
                } else {
                    Slot::MALFORMED
                });
            }
            _ => cursor.number()?,
        }
        let written = &self.text[start..cursor.position()];
        let fits = match kind {
            Type::Integer => is_integer(written) && is_finite(written),
            Type::TextOrNumber => is_finite(written),
            Type::Text(_) | Type::CardNumber | Type::Boolean => false,
        };
        Ok(if fits {
            span(start, cursor.position(), State::Number)
        } else {
            Slot::MALFORMED
        })
    }

    fn string(&mut self, token: StringToken, kind: Type) -> Slot {
        if token.start == token.end {
            return Slot::MISSING;
        }
        if matches!(kind, Type::Integer | Type::Boolean) {
            return Slot::MALFORMED;
        }
        let inside = &self.text[token.start..token.end];
        let start = self.record.decoded.len();
        if token.escaped && !scan::decode(inside, &mut self.record.decoded) {
            return Slot::MALFORMED;
        }
        let text = if token.escaped {
            &self.record.decoded[start..]
        } else {
            inside
        };
        if let Type::Text(Some(form)) = kind
            && !form.fits(text)
        {
            self.record.unfit += 1;
            return Slot::MISSING;
        }
        if token.escaped {
            span(start, self.record.decoded.len(), State::Decoded)
        } else {
            span(token.start, token.end, State::Plain)
        }
    }
}

/// A record is never larger than its limit, which fits 32 bits.
fn span(start: usize, end: usize, state: State) -> Slot {
    Slot {
        start: u32::try_from(start).unwrap_or(u32::MAX),
        end: u32::try_from(end).unwrap_or(u32::MAX),
        state,
    }
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
