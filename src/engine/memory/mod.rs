//! What a worker remembers of patrons: their rows, their consents and objections, their
//! erasures, and what each recipient has of them. An aborted batch leaves no trace in any
//! of it.
//!
//! Once the batch of an erasure is committed, no value of the patron's records is left in it, no
//! record that summaries are made of, and no id of another patron that only its grants named. Nor
//! is its own id: that it is erased, and what it refused, which stays in force, is found by a keyed
//! hash of the id. What has the id again is a record from after the erasure, or a grant of another
//! patron that names it and is in force.

pub mod consents;
pub mod deliveries;
pub mod erasures;
pub mod patron_records;
pub mod patrons;
pub mod statement;
mod table_keys;
pub mod transactional;
pub mod unreadable_record;
