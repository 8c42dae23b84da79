//! How much memory the lookups and the versions of a mapping may have.

use std::fmt;

/// What of an intake is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BoundedMemory {
    Lookups,
    Versions,
}

impl BoundedMemory {
    /// What it is called, and what helps.
    const fn texts(self) -> (&'static str, &'static str) {
        match self {
            BoundedMemory::Lookups => {
                ("the lookup tables", "raise `lookup_bytes_max`, or keep fewer columns")
            }
            BoundedMemory::Versions => (
                "the versions of `newer_by`",
                "raise `version_bytes_max`, or lower `keep_removed_days`",
            ),
        }
    }
}

/// An intake would need more memory than its mapping allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryFull {
    memory: BoundedMemory,
    mapping: String,
    bytes_max: usize,
}

impl fmt::Display for MemoryFull {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MemoryFull { memory, mapping, bytes_max } = self;
        let (what, help) = memory.texts();
        write!(out, "intake/{mapping}.toml: {what} need more than {bytes_max} bytes: {help}")
    }
}

impl std::error::Error for MemoryFull {}

/// A bound of a mapping.
#[derive(Clone, Debug)]
pub(super) struct MemoryBound {
    memory: BoundedMemory,
    mapping: String,
    bytes_max: usize,
}

impl MemoryBound {
    pub(super) fn new(memory: BoundedMemory, mapping: &str, bytes_max: usize) -> MemoryBound {
        MemoryBound { memory, mapping: mapping.to_owned(), bytes_max }
    }

    /// # Errors
    ///
    /// `bytes` are more than there may be.
    pub(super) fn check(&self, bytes: usize) -> Result<(), MemoryFull> {
        if bytes <= self.bytes_max {
            return Ok(());
        }
        let MemoryBound { memory, mapping, bytes_max } = self.clone();
        Err(MemoryFull { memory, mapping, bytes_max })
    }
}
