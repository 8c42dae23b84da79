//! Which values of a patron record are kept, and at which positions of its row.

use crate::engine::record::shape::ValueLocation;

/// Which values of a patron record are kept.
#[derive(Clone, Debug, Default)]
pub struct PatronRowLayout {
    slots: Vec<u16>,
    /// Each with the number of values of an element.
    lists: Vec<(u16, u16)>,
}

impl PatronRowLayout {
    /// Keeps a value; returns its location in the row.
    pub fn keep_value(&mut self, place: ValueLocation, strides: &[u16]) -> ValueLocation {
        match place {
            ValueLocation::Slot(slot) => ValueLocation::Slot(find_or_push(&mut self.slots, slot)),
            ValueLocation::Element { list, slot } => {
                let stride = strides[usize::from(list)];
                let known = self.lists.iter().position(|&(known, _)| known == list);
                let at = known.unwrap_or_else(|| {
                    self.lists.push((list, stride));
                    self.lists.len() - 1
                });
                // A list may have got more fields since it was first kept.
                self.lists[at].1 = stride;
                ValueLocation::Element { list: u16::try_from(at).unwrap_or(u16::MAX), slot }
            }
        }
    }

    /// Sets how many values an element of each list has, once all are known.
    pub fn set_strides(&mut self, strides: &[u16]) {
        for (list, stride) in &mut self.lists {
            *stride = strides[usize::from(*list)];
        }
    }

    /// How many values an element of a kept list has.
    #[must_use]
    pub fn stride(&self, list: u16) -> u16 {
        self.lists.get(usize::from(list)).map_or(0, |&(_, stride)| stride)
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

    /// The record slots of the row's values, in order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u16> {
        self.slots.iter().copied()
    }

    /// The record lists of the row's lists, each with its stride.
    pub(crate) fn lists(&self) -> impl ExactSizeIterator<Item = (u16, u16)> {
        self.lists.iter().copied()
    }
}

fn find_or_push(slots: &mut Vec<u16>, slot: u16) -> u16 {
    let at = slots.iter().position(|&known| known == slot).unwrap_or_else(|| {
        slots.push(slot);
        slots.len() - 1
    });
    u16::try_from(at).unwrap_or(u16::MAX)
}
