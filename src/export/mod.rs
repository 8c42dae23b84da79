//! What a recipient has, as a file for people and other systems: CSV, JSON, XML, PDF, a
//! direct-debit order, slips.
//!
//! Pure: outputs in, bytes out. Reads no clock, file or topic. An error names fields and
//! numbers, never a value.

mod characters;
mod dutch;
pub mod json;
pub mod pain008;
pub mod pdf;
mod profile;
mod recipient_profile;
mod record;
pub mod slips;
pub mod table;
pub mod xml;
pub mod xsd;

pub use dutch::{describe_legal_basis, page_label};
pub use profile::{ExportField, ExportProfile, FieldShape, LeafField, ValueType};
pub use recipient_profile::{LibrarySelection, export_profile, select_library};
pub use record::{ExportError, ExportRecord, FieldValue, read_record};
