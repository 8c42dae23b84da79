//! How tables find patrons by their ids, also those of whose ids they have only a keyed hash.

use std::hash::{BuildHasher, Hasher};

use super::deliveries::StateKeys;

/// Seeded at random: patron ids are chosen by others.
pub(crate) type HashSeed = foldhash::fast::RandomState;

/// What patrons of a table are found by.
#[derive(Debug, Default)]
pub(crate) struct TableKeys {
    pub(crate) hash_seed: HashSeed,
    /// Makes the hashes that erased patrons have in place of their ids.
    pub(crate) state_keys: StateKeys,
}

/// An id that is looked for, and its hash in the table.
#[derive(Clone, Copy)]
pub(crate) struct SoughtId<'a> {
    pub(crate) hash: u64,
    pub(crate) patron_id: &'a str,
    pub(crate) state_keys: &'a StateKeys,
}

impl TableKeys {
    #[inline]
    pub(crate) fn seek<'a>(&'a self, patron_id: &'a str) -> SoughtId<'a> {
        let mut hasher = self.hash_seed.build_hasher();
        hasher.write(patron_id.as_bytes());
        SoughtId { hash: hasher.finish(), patron_id, state_keys: &self.state_keys }
    }
}
