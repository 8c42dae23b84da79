//! Lookup tables: rows of other topics by their id, of which only the named columns
//! are kept.
//!
//! They are read to their end before what needs them. Their memory has a bound.

use std::hash::BuildHasher as _;

use hashbrown::HashTable;

use super::envelope::{Change, Envelope};
use super::expression::{Condition, EvaluationScope, all_hold};
use super::mapping::ChangeScopes;
use super::memory_bound::{MemoryBound, MemoryFull};
use super::path::{RowPath, Scalar};
use super::refusal::Fault;
use super::topic::TopicPattern;

/// One lookup of a mapping.
#[derive(Clone, Debug)]
pub(super) struct LookupDef {
    pub(super) name: String,
    pub(super) topics: Vec<TopicPattern>,
    pub(super) envelope: Envelope,
    pub(super) body: Option<RowPath>,
    pub(super) id: RowPath,
    /// By name, each with its path.
    pub(super) columns: Vec<(String, RowPath)>,
    /// Rows for which these do not all hold are not kept.
    pub(super) conditions: Vec<Condition>,
}

/// A column of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LookupStep {
    pub(super) lookup: usize,
    pub(super) column: usize,
}

/// Why a row does not become one of a lookup.
#[derive(Debug)]
pub(super) enum LookupFault {
    Refused { column: String, fault: Fault },
    Full(MemoryFull),
}

/// What a row takes beside its bytes: its place in the table, and what the allocator rounds up.
const ROW_OVERHEAD_BYTES: usize = 48;
/// A row as long as most.
const ROW_CAPACITY: usize = 96;

impl LookupDef {
    fn keeps(&self, scope: &EvaluationScope<'_, '_>) -> Result<bool, LookupFault> {
        all_hold(&self.conditions, scope).map_err(|fault| refuse("where", fault))
    }

    fn id_of<'m>(
        &self,
        scope: &EvaluationScope<'m, '_>,
    ) -> Result<Option<Scalar<'m>>, LookupFault> {
        self.id.find(&scope.row).map_err(|fault| refuse("id", fault))
    }
}

fn refuse(column: &str, fault: Fault) -> LookupFault {
    LookupFault::Refused { column: column.to_owned(), fault }
}

/// A row in one allocation: its id behind its length, then its columns.
type Row = Box<[u8]>;

/// The rows of a lookup, by id.
#[derive(Clone, Debug, Default)]
struct LookupRows {
    rows: HashTable<Row>,
    hasher: foldhash::fast::RandomState,
}

impl LookupRows {
    fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the columns of a row.
    fn find(&self, id: &str) -> Option<&[u8]> {
        let hash = self.hasher.hash_one(id.as_bytes());
        let row = self.rows.find(hash, |row| row_id(row) == id.as_bytes())?;
        split_row(row).map(|(_, columns)| columns)
    }

    /// Adds a row whose id is not there.
    fn insert(&mut self, row: Row) {
        let hasher = &self.hasher;
        let hash = |row: &Row| hasher.hash_one(row_id(row));
        self.rows.insert_unique(hash(&row), row, hash);
    }

    /// Removes a row, and returns it.
    fn remove(&mut self, id: &str) -> Option<Row> {
        let hash = self.hasher.hash_one(id.as_bytes());
        let found = self.rows.find_entry(hash, |row| row_id(row) == id.as_bytes());
        found.ok().map(|found| found.remove().0)
    }
}

fn row_id(row: &[u8]) -> &[u8] {
    split_row(row).map_or(&[], |(id, _)| id)
}

/// Splits a row in its id and its columns.
fn split_row(row: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = split_length(row)?;
    rest.split_at_checked(length)
}

/// The rows of all lookups of one mapping.
#[derive(Debug)]
pub struct LookupTables {
    tables: Vec<LookupRows>,
    bytes: usize,
    bound: MemoryBound,
}

impl LookupTables {
    pub(super) fn new(count: usize, bound: MemoryBound) -> LookupTables {
        LookupTables { tables: vec![LookupRows::default(); count], bytes: 0, bound }
    }

    /// The memory of all rows, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows of each lookup, in the order of the mapping.
    #[must_use]
    pub fn row_counts(&self) -> Vec<usize> {
        self.tables.iter().map(LookupRows::len).collect()
    }

    /// A column of the row `id`: `None` where there is no such row, `Some(None)` where
    /// the row has no value there.
    pub(super) fn find(&self, step: LookupStep, id: &str) -> Option<Option<Scalar<'_>>> {
        let columns = self.tables.get(step.lookup)?.find(id)?;
        Some(decode_column(columns, step.column))
    }

    /// Applies one change of a row: several rows may share an id, where conditions
    /// tell them apart.
    pub(super) fn apply(
        &mut self,
        (at, lookup): (usize, &LookupDef),
        change: &Change<'_, '_>,
        scopes: &ChangeScopes<'_, '_>,
    ) -> Result<(), LookupFault> {
        let is_blind_update = matches!(change, Change::Written { is_update: true, old: None, .. });
        let before = scopes.old.as_ref().or(scopes.new.as_ref().filter(|_| is_blind_update));
        if let Some(before) = before
            && (is_blind_update || lookup.keeps(before)?)
            && let Some(id) = lookup.id_of(before)?
        {
            self.replace(at, &id.to_text(), None).map_err(LookupFault::Full)?;
        }
        let Some(now) = scopes.new.as_ref() else {
            return Ok(());
        };
        if !lookup.keeps(now)? {
            return Ok(());
        }
        let Some(id) = lookup.id_of(now)? else {
            return Ok(());
        };
        let id = id.to_text();
        let mut row = begin_row(&id);
        for (name, path) in &lookup.columns {
            let value = path.find(&now.row).map_err(|fault| refuse(name, fault))?;
            encode_column(&mut row, value);
        }
        self.replace(at, &id, Some(row)).map_err(LookupFault::Full)
    }

    /// Puts `row`, which begins with the id, in place of the row of that id.
    fn replace(&mut self, at: usize, id: &str, row: Option<Vec<u8>>) -> Result<(), MemoryFull> {
        let Some(table) = self.tables.get_mut(at) else {
            return Ok(());
        };
        let size = |row: &[u8]| row.len() + ROW_OVERHEAD_BYTES;
        if let Some(old) = table.remove(id) {
            self.bytes -= size(&old);
        }
        let Some(row) = row else {
            return Ok(());
        };
        self.bytes += size(&row);
        self.bound.check(self.bytes)?;
        table.insert(row.into_boxed_slice());
        Ok(())
    }
}

/// A row that has no column yet.
fn begin_row(id: &str) -> Vec<u8> {
    let mut row = Vec::with_capacity(ROW_CAPACITY);
    push_length(&mut row, id.len());
    row.extend_from_slice(id.as_bytes());
    row
}

/// Appends a length: seven bits a byte, the lowest first.
fn push_length(row: &mut Vec<u8>, length: usize) {
    let mut rest = length;
    while rest > 0x7f {
        row.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    row.push(rest.to_le_bytes()[0]);
}

/// Splits off a length.
fn split_length(row: &[u8]) -> Option<(usize, &[u8])> {
    let mut length = 0;
    for (at, byte) in row.iter().enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((length, row.get(at + 1..)?));
        }
    }
    None
}

/// Appends a column: a byte of its type, and for texts and numbers a length and
/// the bytes.
fn encode_column(row: &mut Vec<u8>, value: Option<Scalar<'_>>) {
    let (tag, text) = match &value {
        None => (0, None),
        Some(Scalar::Text(text)) => (1, Some(text)),
        Some(Scalar::Number(text)) => (2, Some(text)),
        Some(Scalar::Boolean(true)) => (3, None),
        Some(Scalar::Boolean(false)) => (4, None),
    };
    row.push(tag);
    if let Some(text) = text {
        push_length(row, text.len());
        row.extend_from_slice(text.as_bytes());
    }
}

fn decode_column(row: &[u8], column: usize) -> Option<Scalar<'_>> {
    let mut rest = row;
    for at in 0.. {
        let (tag, after) = rest.split_first()?;
        let (text, after) = match tag {
            1 | 2 => {
                let (length, after) = split_length(after)?;
                let (text, after) = after.split_at_checked(length)?;
                (std::str::from_utf8(text).ok()?, after)
            }
            _ => ("", after),
        };
        if at == column {
            return match tag {
                1 => Some(Scalar::text(text)),
                2 => Some(Scalar::Number(text.into())),
                3 => Some(Scalar::Boolean(true)),
                4 => Some(Scalar::Boolean(false)),
                _ => None,
            };
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::memory_bound::BoundedMemory;
    use super::*;

    #[test]
    fn encoded_columns_decode_to_themselves() {
        let long = "Hoogwater ".repeat(2_000);
        let columns = [
            Some(Scalar::text("Hoogwater")),
            None,
            Some(Scalar::text(long.as_str())),
            Some(Scalar::Number("47.50".into())),
            Some(Scalar::Boolean(true)),
            Some(Scalar::Boolean(false)),
        ];
        let mut row = Vec::new();
        for column in &columns {
            encode_column(&mut row, column.clone());
        }
        for (at, column) in columns.iter().enumerate() {
            assert_eq!(decode_column(&row, at), *column);
        }
        assert_eq!(decode_column(&row, columns.len()), None);
    }

    #[test]
    fn replaced_rows_count_once_and_the_bound_holds() {
        let bytes_max = 2 * ROW_OVERHEAD_BYTES + 10;
        let bound = MemoryBound::new(BoundedMemory::Lookups, "koha", bytes_max);
        let mut tables = LookupTables::new(1, bound);
        let mut replace = |id: &str, columns: Option<&[u8]>| {
            let row = columns.map(|columns| [&begin_row(id), columns].concat());
            tables.replace(0, id, row).map(|()| tables.bytes())
        };
        // The id takes two bytes, as its length stands before it.
        assert_eq!(replace("a", Some(b"xyz")), Ok(ROW_OVERHEAD_BYTES + 5));
        assert_eq!(replace("a", Some(b"x")), Ok(ROW_OVERHEAD_BYTES + 3));
        assert_eq!(replace("b", Some(b"x")), Ok(2 * ROW_OVERHEAD_BYTES + 6));
        assert_eq!(replace("a", None), Ok(ROW_OVERHEAD_BYTES + 3));
        assert_eq!(replace("a", None), Ok(ROW_OVERHEAD_BYTES + 3));
        assert!(replace("c", Some(&[0; 500])).is_err());
    }

    #[test]
    fn rows_are_found_by_their_own_id_alone() {
        let mut rows = LookupRows::default();
        let ids: Vec<String> =
            (0..2_000).map(|number| "9".repeat(number % 300) + &number.to_string()).collect();
        for id in &ids {
            let mut row = begin_row(id);
            encode_column(&mut row, Some(Scalar::text(id.as_str())));
            rows.insert(row.into_boxed_slice());
        }
        for id in ids.iter().step_by(2) {
            assert!(rows.remove(id).is_some());
        }
        for (at, id) in ids.iter().enumerate() {
            let found = rows.find(id).and_then(|columns| decode_column(columns, 0));
            assert_eq!(found, (at % 2 == 1).then(|| Scalar::text(id.as_str())), "{id}");
        }
        assert_eq!(rows.len(), 1_000);
    }
}
