//! Compiles how patrons' records are read for what is demanded of them.

use super::super::demanded::{DemandedLeaf, DemandedMember, DemandedReader};
use super::CompileError;
use super::source::compile_demanded_source;
use crate::engine::record::shape::ValueLocation;
use crate::json::buffer::MemberPrefix;
use crate::policy::catalogue::{FieldType, RecordKind};

/// Compiles the patron kind, which is the source `index` of the lane.
pub(super) fn compile_demanded_reader(
    index: u16,
    kind: &RecordKind,
) -> Result<DemandedReader, CompileError> {
    let wanted: Vec<_> = kind.fields.iter().filter(|field| field.may_be_demanded()).collect();
    let (source, locations) = compile_demanded_source(index, kind, &wanted)?;
    let mut reader = DemandedReader { source, leaves: Vec::new(), members: Vec::new() };
    for (field, location) in wanted.into_iter().zip(locations) {
        let leaf = reader.leaves.len();
        add_member(&mut reader.members, &field.path, (leaf, location));
        reader.leaves.push(DemandedLeaf {
            path: field.path.clone(),
            location,
            is_card_number: field.field_type == FieldType::CardNumber,
        });
    }
    Ok(reader)
}

/// Adds a leaf at a path below `members`; the first one of an object says where the object stands.
fn add_member(
    members: &mut Vec<DemandedMember>,
    path: &str,
    (leaf, location): (usize, ValueLocation),
) {
    let plain = |name: &str| name.strip_suffix("[]").unwrap_or(name).to_owned();
    let Some((first, rest)) = path.split_once('.') else {
        let prefix = MemberPrefix::new(&plain(path));
        return members.push(DemandedMember::Leaf { prefix, leaf });
    };
    let name = plain(first);
    let is_same = |member: &DemandedMember| matches!(member, DemandedMember::Group { prefix, .. } if prefix.name() == name);
    let index = members.iter().position(is_same).unwrap_or_else(|| {
        let list = match location {
            ValueLocation::Element { list, .. } if first.ends_with("[]") => Some(list),
            _ => None,
        };
        let prefix = MemberPrefix::new(&name);
        members.push(DemandedMember::Group { prefix, list, members: Vec::new() });
        members.len() - 1
    });
    if let Some(DemandedMember::Group { members, .. }) = members.get_mut(index) {
        add_member(members, rest, (leaf, location));
    }
}
