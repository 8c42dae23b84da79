//! The wanted paths of one kind of record, compiled into a trie.

use crate::policy::catalogue::FieldType;
use crate::policy::form::TextFormat;

/// Where the value of a wanted path is found in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ValueLocation {
    /// One value of the record.
    Slot(u16),
    /// One value of every element of a list.
    Element { list: u16, slot: u16 },
}

/// Where the value of one field is found when a record is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldLocation {
    /// In the patron's row, not in the record.
    pub is_joined: bool,
    pub location: ValueLocation,
}

impl FieldLocation {
    /// Its slot, if it is one value of the record itself.
    #[inline]
    #[must_use]
    pub fn record_slot(self) -> Option<u16> {
        match self {
            FieldLocation { is_joined: false, location: ValueLocation::Slot(slot) } => Some(slot),
            _ => None,
        }
    }
}

/// What a member of an object leads to.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum MemberTarget {
    Scalar { slot: u16, kind: FieldType },
    Object { node: u16 },
    List { list: u16, elements: ElementShape },
}

/// What a list's elements are.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum ElementShape {
    Scalars(FieldType),
    Objects { node: u16 },
}

#[derive(Clone, Debug)]
pub(in crate::engine) struct ShapeMember {
    pub(in crate::engine) name: Box<str>,
    pub(in crate::engine) target: MemberTarget,
}

/// One object of which some members are wanted.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct ShapeNode {
    pub(in crate::engine) members: Vec<ShapeMember>,
    /// Its slots belong to a list's element.
    pub(in crate::engine) in_element: bool,
}

/// Whether a text has a form.
pub(in crate::engine) type FormTest = fn(&[u8]) -> bool;

/// The wanted paths of one kind.
#[derive(Clone, Debug)]
pub struct RecordShape {
    pub(in crate::engine) nodes: Vec<ShapeNode>,
    pub(in crate::engine) slot_count: u16,
    /// The record's own slots whose text must have a form: looked at when the
    /// record has been read, always in this order.
    pub(in crate::engine) form_tests: Vec<(u16, FormTest)>,
    /// The record's own slots whose values have at most [`FEW_DIGITS_MAX`] digits.
    pub(in crate::engine) slots_of_few_digits: Vec<u16>,
    /// Per list, how many values one element has.
    pub(in crate::engine) list_strides: Vec<u16>,
    paths: Vec<(String, ValueLocation)>,
}

/// A date has so many digits.
pub(in crate::engine) const FEW_DIGITS_MAX: usize = 8;

/// More than this many wanted members of one object are refused.
pub(in crate::engine) const MEMBERS_MAX: usize = 128;

/// More than this many wanted fields of one kind are refused.
const FIELDS_MAX: usize = 500;
/// A record has fewer slots: one for each wanted field, for the facts that are
/// derived from them, and for strings that nobody wants.
pub(in crate::engine) const SLOTS_MAX: usize = 1 << 10;
const _: () = assert!(2 * FIELDS_MAX + 2 <= SLOTS_MAX);

/// A path that cannot be wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    #[error("`{0}`: a list inside a list is not supported")]
    NestedList(String),
    #[error("`{0}` is wanted both as a value and as an object or a list")]
    Conflict(String),
    #[error("`{0}`: more than {MEMBERS_MAX} fields of one object are wanted")]
    TooManyMembers(String),
    #[error("`{0}`: more than {FIELDS_MAX} fields of one kind are wanted")]
    TooManyFields(String),
}

impl Default for RecordShape {
    fn default() -> Self {
        RecordShape {
            nodes: vec![ShapeNode::default()],
            slot_count: 0,
            form_tests: Vec::new(),
            slots_of_few_digits: Vec::new(),
            list_strides: Vec::new(),
            paths: Vec::new(),
        }
    }
}

impl RecordShape {
    /// Adds `path` (as the catalogue has it) to the wanted ones.
    ///
    /// # Errors
    ///
    /// A [`ShapeError`]; the shape is then of no use.
    pub fn add_path(&mut self, path: &str, kind: FieldType) -> Result<ValueLocation, ShapeError> {
        if let Some(place) = self.location(path) {
            return Ok(place);
        }
        let mut node = 0usize;
        let mut list = None;
        let mut parts = path.split('.').peekable();
        let mut place = None;
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            let name = part.strip_suffix("[]");
            match (name, last) {
                (None, true) => place = Some(self.add_scalar(path, node, part, list, kind)?),
                (None, false) => node = self.find_or_add_object(path, node, part)?,
                (Some(_), _) if list.is_some() => {
                    return Err(ShapeError::NestedList(path.to_owned()));
                }
                (Some(name), true) => place = Some(self.add_scalar_list(path, node, name, kind)?),
                (Some(name), false) => {
                    let (id, inner) = self.find_or_add_object_list(path, node, name)?;
                    list = Some(id);
                    node = inner;
                }
            }
        }
        let place = place.ok_or_else(|| ShapeError::Conflict(path.to_owned()))?;
        self.paths.push((path.to_owned(), place));
        Ok(place)
    }

    /// Where the value of a wanted path is found.
    #[must_use]
    pub fn location(&self, path: &str) -> Option<ValueLocation> {
        self.paths.iter().find(|(known, _)| known == path).map(|&(_, place)| place)
    }

    /// Per list, how many values one element has.
    #[must_use]
    pub fn list_strides(&self) -> &[u16] {
        &self.list_strides
    }

    /// A slot beside those of the wanted paths: strings that nobody wants.
    pub(in crate::engine) fn discard_slot(&self) -> u16 {
        self.slot_count
    }

    /// A slot of the record's own that no path fills: a derived fact.
    pub fn add_derived_slot(&mut self) -> u16 {
        let slot = self.slot_count;
        self.slot_count += 1;
        slot
    }

    fn add_scalar(
        &mut self,
        path: &str,
        node: usize,
        name: &str,
        list: Option<u16>,
        kind: FieldType,
    ) -> Result<ValueLocation, ShapeError> {
        if self.find_target(node, name).is_some() {
            return Err(ShapeError::Conflict(path.to_owned()));
        }
        let counter = match list {
            None => &mut self.slot_count,
            Some(list) => &mut self.list_strides[usize::from(list)],
        };
        let slot = *counter;
        if list.is_none() && usize::from(slot) >= FIELDS_MAX {
            return Err(ShapeError::TooManyFields(path.to_owned()));
        }
        *counter += 1;
        let has_few_digits = matches!(
            kind,
            FieldType::Boolean | FieldType::Text(Some(TextFormat::Date | TextFormat::Currency))
        );
        if list.is_none() && has_few_digits {
            self.slots_of_few_digits.push(slot);
        }
        let kind = match (list, kind) {
            (None, FieldType::Text(Some(form))) => {
                self.form_tests.push((slot, form.matcher()));
                FieldType::Text(None)
            }
            (_, kind) => kind,
        };
        self.add_member(path, node, name, MemberTarget::Scalar { slot, kind })?;
        Ok(match list {
            None => ValueLocation::Slot(slot),
            Some(list) => ValueLocation::Element { list, slot },
        })
    }

    fn find_or_add_object(
        &mut self,
        path: &str,
        node: usize,
        name: &str,
    ) -> Result<usize, ShapeError> {
        match self.find_target(node, name) {
            Some(MemberTarget::Object { node }) => Ok(usize::from(node)),
            Some(_) => Err(ShapeError::Conflict(path.to_owned())),
            None => {
                let inner = self.push_node(self.nodes[node].in_element);
                self.add_member(path, node, name, MemberTarget::Object { node: inner })?;
                Ok(usize::from(inner))
            }
        }
    }

    fn add_scalar_list(
        &mut self,
        path: &str,
        node: usize,
        name: &str,
        kind: FieldType,
    ) -> Result<ValueLocation, ShapeError> {
        if self.find_target(node, name).is_some() {
            return Err(ShapeError::Conflict(path.to_owned()));
        }
        let list = self.push_list(1);
        let of = ElementShape::Scalars(kind);
        self.add_member(path, node, name, MemberTarget::List { list, elements: of })?;
        Ok(ValueLocation::Element { list, slot: 0 })
    }

    fn find_or_add_object_list(
        &mut self,
        path: &str,
        node: usize,
        name: &str,
    ) -> Result<(u16, usize), ShapeError> {
        match self.find_target(node, name) {
            Some(MemberTarget::List { list, elements: ElementShape::Objects { node } }) => {
                Ok((list, usize::from(node)))
            }
            Some(_) => Err(ShapeError::Conflict(path.to_owned())),
            None => {
                let list = self.push_list(0);
                let inner = self.push_node(true);
                let of = ElementShape::Objects { node: inner };
                self.add_member(path, node, name, MemberTarget::List { list, elements: of })?;
                Ok((list, usize::from(inner)))
            }
        }
    }

    fn find_target(&self, node: usize, name: &str) -> Option<MemberTarget> {
        self.nodes[node]
            .members
            .iter()
            .find(|member| &*member.name == name)
            .map(|member| member.target)
    }

    fn add_member(
        &mut self,
        path: &str,
        node: usize,
        name: &str,
        target: MemberTarget,
    ) -> Result<(), ShapeError> {
        let members = &mut self.nodes[node].members;
        if members.len() == MEMBERS_MAX {
            return Err(ShapeError::TooManyMembers(path.to_owned()));
        }
        members.push(ShapeMember { name: name.into(), target });
        Ok(())
    }

    fn push_node(&mut self, in_element: bool) -> u16 {
        self.nodes.push(ShapeNode { members: Vec::new(), in_element });
        u16::try_from(self.nodes.len() - 1).unwrap_or(u16::MAX)
    }

    fn push_list(&mut self, stride: u16) -> u16 {
        self.list_strides.push(stride);
        u16::try_from(self.list_strides.len() - 1).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_has_a_slot_for_each_field_up_to_the_maximum() {
        let mut shape = RecordShape::default();
        let text = FieldType::Text(None);
        for field in 0..FIELDS_MAX {
            let path = format!("part_{}.field_{field}", field / MEMBERS_MAX);
            shape.add_path(&path, text).unwrap();
        }
        assert_eq!(
            shape.add_path("one_more", text),
            Err(ShapeError::TooManyFields("one_more".to_owned()))
        );
        // Fields of a list's elements have slots of their own.
        shape.add_path("list[].field", text).unwrap();
        // A fact is derived from each at most, and one of the card.
        for _ in 0..=FIELDS_MAX {
            shape.add_derived_slot();
        }
        assert!(usize::from(shape.discard_slot()) < SLOTS_MAX);
    }
}
