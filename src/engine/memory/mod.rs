//! What a worker remembers of patrons: their rows, their consents and objections, their
//! erasures, and what each recipient has of them. An aborted batch leaves no trace in any
//! of it.
//!
//! Once the batch of an erasure is committed, no value of the patron's records is left in it, no
//! record that summaries are made of, and no id of another patron that only its grants named. Its
//! own id stays where its sources still have it, and a start would read it again: in the row that
//! says that it is erased, and beside what it refused, which stays in force.

pub mod consents;
pub mod deliveries;
pub mod erasures;
pub mod patron_records;
pub mod patrons;
pub mod statement;
pub mod transactional;
pub mod unreadable_record;
