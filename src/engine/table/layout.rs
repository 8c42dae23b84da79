//! Which values of a patron record are kept, and where they stand in a row.

use crate::engine::shape::Place;

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

    /// The slots of the record that a row keeps, in the order of its words.
    pub(super) fn slots(&self) -> impl Iterator<Item = u16> {
        self.slots.iter().copied()
    }

    /// The lists of the record that a row keeps, each with its stride.
    pub(super) fn lists(&self) -> impl ExactSizeIterator<Item = (u16, u16)> {
        self.lists.iter().copied()
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
