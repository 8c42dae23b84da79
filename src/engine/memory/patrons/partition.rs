//! The rows of one partition by patron id, and how a batch is undone.
//!
//! A row contains its own key; the map keeps the hash beside it, so that it grows and
//! searches without reading rows. Once a batch is committed, the rows of erased patrons have
//! a keyed hash of the id instead.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::row::{PatronRow, PatronStatus};
use crate::engine::memory::table_keys::{SoughtId, TableKeys};

/// The rows of one partition.
#[derive(Debug, Default)]
pub(crate) struct PartitionRows {
    rows: HashTable<HashedRow>,
    /// What the batch changed, oldest first.
    undo_log: Vec<RowUndo>,
    /// The ids of the patrons that the batch erased.
    erased_ids: Vec<Box<str>>,
}

/// A row, and the hash of its patron's id.
#[derive(Debug)]
struct HashedRow {
    hash: u64,
    row: PatronRow,
}

impl HashedRow {
    #[inline]
    fn matches(&self, sought: SoughtId<'_>) -> bool {
        if self.hash != sought.hash {
            return false;
        }
        match self.row.hashed_id() {
            None => self.row.patron_id() == sought.patron_id,
            Some(patron) => patron == sought.state_keys.patron_hash(sought.patron_id),
        }
    }
}

#[derive(Debug)]
enum RowUndo {
    /// The previous row.
    Replaced(PatronRow),
    /// The id of an erased patron, and its previous row.
    ReplacedErased(Box<str>, PatronRow),
    /// The id of a patron that was unknown.
    Added(Box<str>),
}

impl RowUndo {
    fn patron_id(&self) -> &str {
        match self {
            RowUndo::Replaced(before) => before.patron_id(),
            RowUndo::ReplacedErased(patron_id, _) | RowUndo::Added(patron_id) => patron_id,
        }
    }
}

impl PartitionRows {
    #[inline]
    pub(crate) fn find(&self, keys: &TableKeys, patron_id: &str) -> Option<&PatronRow> {
        let sought = keys.seek(patron_id);
        let kept = self.rows.find(sought.hash, |kept| kept.matches(sought));
        kept.map(|kept| &kept.row)
    }

    /// Sets a row within the batch, unless a later record is known.
    pub(crate) fn put(&mut self, keys: &TableKeys, row: PatronRow) {
        let sought = keys.seek(row.patron_id());
        let hash = sought.hash;
        let erased_id = (row.status() == PatronStatus::Erased).then(|| row.patron_id().into());
        match row_entry(&mut self.rows, sought) {
            Entry::Occupied(mut known) => {
                let known = &mut known.get_mut().row;
                if known.offset() > row.offset() {
                    return;
                }
                self.undo_log.push(match known.hashed_id() {
                    None => RowUndo::Replaced(std::mem::replace(known, row)),
                    Some(_) => {
                        let patron_id = row.patron_id().into();
                        RowUndo::ReplacedErased(patron_id, std::mem::replace(known, row))
                    }
                });
            }
            Entry::Vacant(place) => {
                self.undo_log.push(RowUndo::Added(row.patron_id().into()));
                place.insert(HashedRow { hash, row });
            }
        }
        self.erased_ids.extend(erased_id);
    }

    /// Sets a row outside of any batch.
    pub(crate) fn restore(&mut self, keys: &TableKeys, row: PatronRow) {
        let sought = keys.seek(row.patron_id());
        let hash = sought.hash;
        let hashed = hashed_if_erased(&row, keys);
        match row_entry(&mut self.rows, sought) {
            Entry::Occupied(mut known) => known.get_mut().row = hashed.unwrap_or(row),
            Entry::Vacant(place) => {
                place.insert(HashedRow { hash, row: hashed.unwrap_or(row) });
            }
        }
    }

    /// Ends the batch. Of the patrons that it erased no id is left.
    pub(crate) fn commit(&mut self, keys: &TableKeys) {
        self.undo_log.clear();
        for patron_id in self.erased_ids.drain(..) {
            let entry = row_entry(&mut self.rows, keys.seek(&patron_id));
            if let Entry::Occupied(mut known) = entry
                && let Some(hashed) = hashed_if_erased(&known.get().row, keys)
            {
                known.get_mut().row = hashed;
            }
        }
    }

    pub(crate) fn rollback(&mut self, keys: &TableKeys) {
        self.erased_ids.clear();
        while let Some(undo) = self.undo_log.pop() {
            let entry = row_entry(&mut self.rows, keys.seek(undo.patron_id()));
            let Entry::Occupied(mut known) = entry else {
                continue;
            };
            match undo {
                RowUndo::Replaced(before) | RowUndo::ReplacedErased(_, before) => {
                    known.get_mut().row = before;
                }
                RowUndo::Added(_) => drop(known.remove()),
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &PatronRow> {
        self.rows.iter().map(|kept| &kept.row)
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether the batch changed nothing.
    pub(crate) fn has_no_open_batch(&self) -> bool {
        self.undo_log.is_empty()
    }
}

/// The row of an erased patron without its id; `None` if it has none, or is another one's.
fn hashed_if_erased(row: &PatronRow, keys: &TableKeys) -> Option<PatronRow> {
    let has_id = row.status() == PatronStatus::Erased && row.hashed_id().is_none();
    has_id.then(|| row.with_hashed_id(keys.state_keys.patron_hash(row.patron_id())))
}

fn row_entry<'a>(rows: &'a mut HashTable<HashedRow>, sought: SoughtId<'_>) -> Entry<'a, HashedRow> {
    rows.entry(sought.hash, |kept| kept.matches(sought), |kept| kept.hash)
}
