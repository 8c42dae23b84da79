//! What is kept in memory about patrons: the least that the lane needs.
//!
//! One part per partition, dropped when the partition goes. What a batch
//! changes lies in an overlay until its commit has returned, so that an abort
//! undoes memory too.

use std::collections::HashMap;

use super::record::Reading;
use super::shape::Place;
use super::value::{State, Value};

/// The kept values of one patron, in the order of the lane's [`RowLayout`].
///
/// Each value is one word: its state in the upper bits, in the lower ones where
/// it ends in the text; it starts where the one before it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    text: Box<str>,
    words: Box<[u32]>,
}

const STATE_SHIFT: u32 = 28;
const END_MASK: u32 = (1 << STATE_SHIFT) - 1;

/// Which values of a patron record are kept.
#[derive(Clone, Debug, Default)]
pub struct RowLayout {
    slots: Vec<u16>,
    /// Lists of the patron's shape, and how many values an element has.
    lists: Vec<(u16, u16)>,
}

impl RowLayout {
    /// Keeps the value at `place`; says where it is found in the row.
    pub fn keep(&mut self, place: Place, strides: &[u16]) -> Place {
        match place {
            Place::Slot(slot) => Place::Slot(position_or_push(&mut self.slots, slot)),
            Place::Element { list, slot } => {
                let stride = strides[usize::from(list)];
                let known = self.lists.iter().position(|&(known, _)| known == list);
                let at = known.unwrap_or_else(|| {
                    self.lists.push((list, stride));
                    self.lists.len() - 1
                });
                // A list may have got further fields since it was first kept.
                self.lists[at].1 = stride;
                Place::Element {
                    list: u16::try_from(at).unwrap_or(u16::MAX),
                    slot,
                }
            }
        }
    }

    /// Fixes how many values the lists' elements have, once all are wanted.
    pub fn settle(&mut self, strides: &[u16]) {
        for (list, stride) in &mut self.lists {
            *stride = strides[usize::from(*list)];
        }
    }

    /// How many values an element of a kept list has.
    #[must_use]
    pub fn stride(&self, list: u16) -> u16 {
        self.lists
            .get(usize::from(list))
            .map_or(0, |&(_, stride)| stride)
    }

    /// How many single values a row has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Makes the row of a patron record; `dropped` are slots of the record
    /// whose values must not rest in the table.
    #[must_use]
    pub fn row(&self, record: Reading<'_>, dropped: &[u16]) -> Row {
        let mut text = String::new();
        let mut words = Vec::with_capacity(self.slots.len() + self.lists.len());
        for &slot in &self.slots {
            let value = if dropped.contains(&slot) {
                Value::Missing
            } else {
                record.value(slot)
            };
            words.push(word(value, &mut text));
        }
        for &(list, stride) in &self.lists {
            let malformed = record.list_malformed(list);
            let count = if malformed { 0 } else { record.list_len(list) };
            words.push(list_word(malformed, count));
            for index in 0..count {
                for slot in 0..stride {
                    let value = record.element(list, stride, index, slot);
                    words.push(word(value, &mut text));
                }
            }
        }
        Row {
            text: text.into(),
            words: words.into(),
        }
    }
}

fn position_or_push(slots: &mut Vec<u16>, slot: u16) -> u16 {
    let at = slots
        .iter()
        .position(|&known| known == slot)
        .unwrap_or_else(|| {
            slots.push(slot);
            slots.len() - 1
        });
    u16::try_from(at).unwrap_or(u16::MAX)
}

fn word(value: Value<'_>, text: &mut String) -> u32 {
    let state = match value {
        Value::Missing => State::Missing,
        Value::Malformed => State::Malformed,
        Value::Text { text: kept, plain } => {
            text.push_str(kept);
            if plain { State::Plain } else { State::Decoded }
        }
        Value::Number(written) => {
            text.push_str(written);
            State::Number
        }
        Value::Boolean(true) => State::True,
        Value::Boolean(false) => State::False,
    };
    // A record is at most a few MiB, so that its end fits 28 bits.
    ((state as u32) << STATE_SHIFT) | (u32::try_from(text.len()).unwrap_or(0) & END_MASK)
}

fn list_word(malformed: bool, count: usize) -> u32 {
    let state = if malformed {
        State::Malformed
    } else {
        State::Plain
    };
    ((state as u32) << STATE_SHIFT) | (u32::try_from(count).unwrap_or(0) & END_MASK)
}

impl Row {
    /// The value at a place of the layout.
    #[must_use]
    pub fn value(&self, slot: u16) -> Value<'_> {
        let at = usize::from(slot);
        let start = at.checked_sub(1).map_or(0, |before| self.end(before));
        self.view(at, start)
    }

    /// Whether a kept list is malformed as such.
    #[must_use]
    pub fn list_malformed(&self, layout: &RowLayout, list: u16) -> bool {
        self.list_at(layout, list)
            .is_some_and(|at| self.state(at) == State::Malformed as u32)
    }

    /// How many elements a kept list has.
    #[must_use]
    pub fn list_len(&self, layout: &RowLayout, list: u16) -> usize {
        self.list_at(layout, list)
            .map_or(0, |at| (self.words[at] & END_MASK) as usize)
    }

    /// One value of one element of a kept list.
    #[must_use]
    pub fn element(&self, layout: &RowLayout, list: u16, index: usize, slot: u16) -> Value<'_> {
        let Some(head) = self.list_at(layout, list) else {
            return Value::Missing;
        };
        let stride = usize::from(layout.stride(list));
        let at = head + 1 + index * stride + usize::from(slot);
        // The head of a list has no text: look further back for the start.
        let before = if at == head + 1 {
            self.last_text_before(layout, list)
        } else {
            Some(at - 1)
        };
        let start = before.map_or(0, |before| self.end(before));
        self.view(at, start)
    }

    /// The word of the last value before the list's head, if there is any.
    fn last_text_before(&self, layout: &RowLayout, list: u16) -> Option<usize> {
        (0..list)
            .rev()
            .find(|&earlier| self.list_len(layout, earlier) > 0)
            .and_then(|earlier| {
                let head = self.list_at(layout, earlier)?;
                let values = self.list_len(layout, earlier) * usize::from(layout.stride(earlier));
                Some(head + values)
            })
            .or_else(|| layout.len().checked_sub(1))
    }

    fn list_at(&self, layout: &RowLayout, list: u16) -> Option<usize> {
        let mut at = layout.len();
        for earlier in 0..list {
            let count = (self.words.get(at)? & END_MASK) as usize;
            at += 1 + count * usize::from(layout.stride(earlier));
        }
        (at < self.words.len()).then_some(at)
    }

    fn state(&self, at: usize) -> u32 {
        self.words.get(at).map_or(0, |word| word >> STATE_SHIFT)
    }

    fn end(&self, at: usize) -> usize {
        self.words
            .get(at)
            .map_or(0, |word| (word & END_MASK) as usize)
    }

    fn view(&self, at: usize, start: usize) -> Value<'_> {
        const MALFORMED: u32 = State::Malformed as u32;
        const PLAIN: u32 = State::Plain as u32;
        const DECODED: u32 = State::Decoded as u32;
        const NUMBER: u32 = State::Number as u32;
        const TRUE: u32 = State::True as u32;
        const FALSE: u32 = State::False as u32;
        let text = || self.text.get(start..self.end(at)).unwrap_or_default();
        match self.state(at) {
            MALFORMED => Value::Malformed,
            PLAIN => Value::Text {
                text: text(),
                plain: true,
            },
            DECODED => Value::Text {
                text: text(),
                plain: false,
            },
            NUMBER => Value::Number(text()),
            TRUE => Value::Boolean(true),
            FALSE => Value::Boolean(false),
            _ => Value::Missing,
        }
    }

    /// What the row takes in memory, without the allocator's own share.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Row>() + self.text.len() + self.words.len() * size_of::<u32>()
    }
}

/// What is known of a patron.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    Patron(Row),
    /// A null value erased it.
    Erased,
    /// Its last record was refused whole: nothing may be decided by an older one.
    Unreadable,
}

#[derive(Clone, Debug)]
struct Entry {
    known: Known,
    /// The offset of the record that said so.
    offset: i64,
}

type Entries = HashMap<Box<str>, Entry>;

#[derive(Debug, Default)]
struct Part {
    base: Entries,
    overlay: Entries,
}

/// The patrons of a worker's partitions.
#[derive(Debug, Default)]
pub struct Table {
    parts: HashMap<i32, Part>,
}

impl Table {
    /// What is known of a patron, seen from inside the batch.
    #[must_use]
    pub fn find(&self, partition: i32, patron_id: &str) -> Option<&Known> {
        let part = self.parts.get(&partition)?;
        part.overlay
            .get(patron_id)
            .or_else(|| part.base.get(patron_id))
            .map(|entry| &entry.known)
    }

    /// Changes a patron within the batch, unless something newer is known.
    pub fn put(&mut self, partition: i32, patron_id: &str, known: Known, offset: i64) {
        let part = self.parts.entry(partition).or_default();
        let newest = part
            .overlay
            .get(patron_id)
            .or_else(|| part.base.get(patron_id));
        if newest.is_none_or(|newest| newest.offset <= offset) {
            part.overlay
                .insert(patron_id.into(), Entry { known, offset });
        }
    }

    /// Sets a patron outside of any batch, while a partition is rebuilt.
    pub fn restore(&mut self, partition: i32, patron_id: &str, known: Known, offset: i64) {
        let base = &mut self.parts.entry(partition).or_default().base;
        base.insert(patron_id.into(), Entry { known, offset });
    }

    /// Makes what the batch changed last.
    pub fn merge(&mut self) {
        for part in self.parts.values_mut() {
            if !part.overlay.is_empty() {
                part.base.extend(part.overlay.drain());
            }
        }
    }

    /// Forgets what the batch changed.
    pub fn abandon(&mut self) {
        for part in self.parts.values_mut() {
            part.overlay.clear();
        }
    }

    /// Drops a partition whole.
    pub fn drop_partition(&mut self, partition: i32) {
        self.parts.remove(&partition);
    }

    /// Drops every partition that is not in `kept`.
    pub fn retain(&mut self, kept: impl Fn(i32) -> bool) {
        self.parts.retain(|&partition, _| kept(partition));
    }

    /// How many patrons are known, erased ones too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.values().map(|part| part.base.len()).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
