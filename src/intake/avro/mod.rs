//! Avro: from the bytes of a value, and the schema that they were written by, to the tree that
//! the JSON form of the same connector gives.
//!
//! Only the writer's schema counts. Nothing is filled in or converted: a day stays a number of
//! days, bytes are base64 as `JsonConverter` writes them, and a union is the value inside.

mod decode;
mod json;
mod schema;
#[cfg(test)]
mod tests;

pub(super) use decode::decode;
pub use schema::{AvroSchema, SchemaError};

/// What is known of the schema that a framed value names.
#[derive(Debug)]
pub enum RegisteredSchema {
    Avro(AvroSchema),
    /// The registry has none of that id.
    Unknown,
    /// Another kind of schema, or an Avro schema that is not read.
    Unreadable,
}
