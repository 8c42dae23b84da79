//! What a worker remembers of patrons: their rows, their consents and objections, their
//! erasures, and what each recipient has of them. An aborted batch leaves no trace in any
//! of it.

pub mod consents;
pub mod deliveries;
pub mod erasures;
pub mod patron_records;
pub mod patrons;
pub mod statement;
pub mod transactional;
pub mod unreadable_record;
