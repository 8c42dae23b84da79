//! Deciding anew: every record of a partition, since the policy is another one
//! than the one that they were decided under.
//!
//! The partition's mark says which one that was. Rows of records do not do:
//! what was final under the old policy has none.

use std::collections::HashMap;

use super::{Holding, Met};
use crate::engine::lane::Source;
use crate::engine::state::{Entry, Row, RowKey};
use crate::engine::table::{Known, Row as Patron, Table};
use crate::policy::catalogue::Role;
use crate::transport::{Coordinates, SourceId};

/// The records that are to be decided anew.
#[derive(Debug, Default)]
pub(super) struct Anew {
    /// Where the last version of each record of a source lies.
    noted: HashMap<RowKey, i64, foldhash::fast::RandomState>,
    /// The last ones first.
    left: Vec<(Coordinates, RowKey)>,
    /// How many of them, from the end, are part of the batch.
    taken: usize,
    /// Those at hand are some of them: every recipient is asked.
    pub(super) at_hand: bool,
}

impl Anew {
    pub(super) fn len(&self) -> usize {
        self.left.len() - self.taken
    }

    /// Takes the next `count` of them, rising.
    pub(super) fn take(&mut self, count: usize) -> impl Iterator<Item = (Coordinates, RowKey)> {
        let end = self.len();
        let start = end.saturating_sub(count);
        self.taken += end - start;
        self.left[start..end].iter().rev().copied()
    }

    pub(super) fn merge(&mut self) {
        self.left.truncate(self.len());
        self.taken = 0;
    }

    /// What the batch took is still to be done.
    pub(super) fn abandon(&mut self) {
        self.noted.clear();
        self.taken = 0;
    }

    pub(super) fn clear(&mut self) {
        *self = Anew::default();
    }
}

impl Holding {
    /// Notes where a version of a record lies; they come in their order.
    pub(in crate::engine) fn note(
        &mut self,
        source: &Source,
        (patron_id, id): (&str, &str),
        offset: i64,
    ) {
        let key = self.key_of(source, patron_id, id);
        self.anew.noted.insert(key, offset);
    }

    /// What was noted of a source is to be decided anew, or what is known of
    /// patrons where it is theirs. Says how many records that are.
    pub(in crate::engine) fn decide_anew(
        &mut self,
        source: &Source,
        partition: i32,
        table: &Table,
    ) -> usize {
        let at = |offset| Coordinates {
            source: SourceId(source.place),
            partition,
            offset,
        };
        let left = &mut self.anew.left;
        if source.kind.role == Role::Patron {
            let known = |row: &&Patron| matches!(row.known(), Known::Patron(_));
            let patrons = table.rows(partition).filter(known);
            left.extend(patrons.map(|row| {
                let patron = self.namer.patron(row.patron_id());
                (at(row.offset()), RowKey(patron.0))
            }));
        }
        let noted = std::mem::take(&mut self.anew.noted);
        left.extend(noted.into_iter().map(|(key, offset)| {
            let row = self.state.find(partition, key);
            (at(row.map_or(offset, |row| row.offset.max(offset))), key)
        }));
        left.sort_unstable_by(|one, other| other.cmp(one));
        left.len()
    }

    /// Whether the patron of the record at hand, which is decided anew, was
    /// erased: its source no longer has a word of it, and the record did not wait
    /// for it.
    pub(in crate::engine) fn lost_patron(&self, table: &Table, patron_id: Option<&str>) -> bool {
        let is_known = || {
            let found = patron_id.and_then(|id| table.find(self.current.partition, id));
            found.is_some()
        };
        self.anew.at_hand
            && self.current.met == Met::Again
            && self.before().is_some_and(|row| !waits(row))
            && !is_known()
    }
}

/// Whether a record waits for its patron, and nobody has anything of it.
pub(super) fn waits(row: &Row) -> bool {
    row.is_held() && !row.entries.iter().any(Entry::is_sent)
}
