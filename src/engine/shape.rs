//! The wanted paths of one kind of record, compiled into a trie.

use crate::policy::catalogue::Type;

/// Where the value of a wanted path is found in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// One value of the record.
    Slot(u16),
    /// One value of every element of a list.
    Element { list: u16, slot: u16 },
}

/// What a member of an object leads to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    Scalar { slot: u16, kind: Type },
    Object { node: u16 },
    List { list: u16, of: Elements },
}

/// What a list's elements are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Elements {
    Scalars(Type),
    Objects { node: u16 },
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: Box<str>,
    pub(super) target: Target,
}

/// One object of which some members are wanted.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) members: Vec<Member>,
    /// Its slots belong to a list's element.
    pub(super) in_element: bool,
}

/// Whether a text has a form.
pub(super) type Fits = fn(&[u8]) -> bool;

/// The wanted paths of one kind.
#[derive(Clone, Debug)]
pub struct Shape {
    pub(super) nodes: Vec<Node>,
    pub(super) slots: u16,
    /// The record's own slots whose text must have a form: looked at when the
    /// record has been read, always in this order.
    pub(super) forms: Vec<(u16, Fits)>,
    /// Per list, how many values one element has.
    pub(super) lists: Vec<u16>,
    paths: Vec<(String, Place)>,
}

/// More than this many wanted members of one object are refused.
pub(super) const MEMBERS_MAX: usize = 128;

/// More than this many wanted fields of one kind are refused.
const FIELDS_MAX: usize = 500;
/// A record has fewer slots: one for each wanted field, for the facts that are
/// derived from them, and for strings that nobody wants.
pub(super) const SLOTS_MAX: usize = 1 << 10;
const _: () = assert!(2 * FIELDS_MAX + 2 <= SLOTS_MAX);

/// A path that cannot be wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    #[error("`{0}`: a list inside a list is not supported")]
    NestedList(String),
    #[error("`{0}` is wanted both as a value and as an object or a list")]
    Conflict(String),
    #[error("`{0}`: more than {MEMBERS_MAX} fields of one object are wanted")]
    TooMany(String),
    #[error("`{0}`: more than {FIELDS_MAX} fields of one kind are wanted")]
    TooManyOfKind(String),
}

impl Default for Shape {
    fn default() -> Self {
        Shape {
            nodes: vec![Node::default()],
            slots: 0,
            forms: Vec::new(),
            lists: Vec::new(),
            paths: Vec::new(),
        }
    }
}

impl Shape {
    /// Adds `path` (as the catalogue has it) to the wanted ones.
    ///
    /// # Errors
    ///
    /// A [`ShapeError`]; the shape is then of no use.
    pub fn want(&mut self, path: &str, kind: Type) -> Result<Place, ShapeError> {
        if let Some(place) = self.place(path) {
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
                (None, true) => place = Some(self.scalar(path, node, part, list, kind)?),
                (None, false) => node = self.object(path, node, part)?,
                (Some(_), _) if list.is_some() => {
                    return Err(ShapeError::NestedList(path.to_owned()));
                }
                (Some(name), true) => place = Some(self.scalars(path, node, name, kind)?),
                (Some(name), false) => {
                    let (id, inner) = self.objects(path, node, name)?;
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
    pub fn place(&self, path: &str) -> Option<Place> {
        self.paths
            .iter()
            .find(|(known, _)| known == path)
            .map(|&(_, place)| place)
    }

    /// Per list, how many values one element has.
    #[must_use]
    pub fn strides(&self) -> &[u16] {
        &self.lists
    }

    /// A slot beside those of the wanted paths: strings that nobody wants.
    pub(super) fn unlisted(&self) -> u16 {
        self.slots
    }

    /// A slot of the record's own that no path fills: a derived fact.
    pub fn derived(&mut self) -> u16 {
        let slot = self.slots;
        self.slots += 1;
        slot
    }

    fn scalar(
        &mut self,
        path: &str,
        node: usize,
        name: &str,
        list: Option<u16>,
        kind: Type,
    ) -> Result<Place, ShapeError> {
        if self.member(node, name).is_some() {
            return Err(ShapeError::Conflict(path.to_owned()));
        }
        let counter = match list {
            None => &mut self.slots,
            Some(list) => &mut self.lists[usize::from(list)],
        };
        let slot = *counter;
        if list.is_none() && usize::from(slot) >= FIELDS_MAX {
            return Err(ShapeError::TooManyOfKind(path.to_owned()));
        }
        *counter += 1;
        let kind = match (list, kind) {
            (None, Type::Text(Some(form))) => {
                self.forms.push((slot, form.test()));
                Type::Text(None)
            }
            (_, kind) => kind,
        };
        self.add(path, node, name, Target::Scalar { slot, kind })?;
        Ok(match list {
            None => Place::Slot(slot),
            Some(list) => Place::Element { list, slot },
        })
    }

    fn object(&mut self, path: &str, node: usize, name: &str) -> Result<usize, ShapeError> {
        match self.member(node, name) {
            Some(Target::Object { node }) => Ok(usize::from(node)),
            Some(_) => Err(ShapeError::Conflict(path.to_owned())),
            None => {
                let inner = self.node(self.nodes[node].in_element);
                self.add(path, node, name, Target::Object { node: inner })?;
                Ok(usize::from(inner))
            }
        }
    }

    fn scalars(
        &mut self,
        path: &str,
        node: usize,
        name: &str,
        kind: Type,
    ) -> Result<Place, ShapeError> {
        if self.member(node, name).is_some() {
            return Err(ShapeError::Conflict(path.to_owned()));
        }
        let list = self.list(1);
        let of = Elements::Scalars(kind);
        self.add(path, node, name, Target::List { list, of })?;
        Ok(Place::Element { list, slot: 0 })
    }

    fn objects(&mut self, path: &str, node: usize, name: &str) -> Result<(u16, usize), ShapeError> {
        match self.member(node, name) {
            Some(Target::List {
                list,
                of: Elements::Objects { node },
            }) => Ok((list, usize::from(node))),
            Some(_) => Err(ShapeError::Conflict(path.to_owned())),
            None => {
                let list = self.list(0);
                let inner = self.node(true);
                let of = Elements::Objects { node: inner };
                self.add(path, node, name, Target::List { list, of })?;
                Ok((list, usize::from(inner)))
            }
        }
    }

    fn member(&self, node: usize, name: &str) -> Option<Target> {
        self.nodes[node]
            .members
            .iter()
            .find(|member| &*member.name == name)
            .map(|member| member.target)
    }

    fn add(
        &mut self,
        path: &str,
        node: usize,
        name: &str,
        target: Target,
    ) -> Result<(), ShapeError> {
        let members = &mut self.nodes[node].members;
        if members.len() == MEMBERS_MAX {
            return Err(ShapeError::TooMany(path.to_owned()));
        }
        members.push(Member {
            name: name.into(),
            target,
        });
        Ok(())
    }

    fn node(&mut self, in_element: bool) -> u16 {
        self.nodes.push(Node {
            members: Vec::new(),
            in_element,
        });
        u16::try_from(self.nodes.len() - 1).unwrap_or(u16::MAX)
    }

    fn list(&mut self, stride: u16) -> u16 {
        self.lists.push(stride);
        u16::try_from(self.lists.len() - 1).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_a_slot_for_each_field_that_may_be_wanted() {
        let mut shape = Shape::default();
        let text = Type::Text(None);
        for field in 0..FIELDS_MAX {
            let path = format!("part_{}.field_{field}", field / MEMBERS_MAX);
            shape.want(&path, text).unwrap();
        }
        assert_eq!(
            shape.want("one_more", text),
            Err(ShapeError::TooManyOfKind("one_more".to_owned()))
        );
        // Fields of a list's elements have slots of their own.
        shape.want("list[].field", text).unwrap();
        // A fact is derived from each at most, and one of the card.
        for _ in 0..=FIELDS_MAX {
            shape.derived();
        }
        assert!(usize::from(shape.unlisted()) < SLOTS_MAX);
    }
}
