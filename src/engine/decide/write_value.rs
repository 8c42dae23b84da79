//! Writes single values and lists to an output.

use crate::engine::record::value::FieldValue;
use crate::json::buffer::{MemberPrefix, OutputBuffer};

/// Writes a member whose value is not verbatim in the record.
#[inline(never)]
pub(super) fn write_value_member(
    buffer: &mut OutputBuffer,
    at: usize,
    label: &MemberPrefix,
    value: FieldValue<'_>,
) -> usize {
    let after = buffer.write_prefix(at, label);
    write_scalar(buffer, after, value).unwrap_or(at)
}

/// Writes a scalar and returns its end. `None` if it has no text.
#[inline]
pub(super) fn write_scalar(
    buffer: &mut OutputBuffer,
    at: usize,
    value: FieldValue<'_>,
) -> Option<usize> {
    Some(match value {
        FieldValue::Missing | FieldValue::Malformed => return None,
        FieldValue::Text { text, is_plain: true } => buffer.write_plain_string(at, text),
        FieldValue::Text { text, is_plain: false } => buffer.write_string(at, text),
        FieldValue::Number(written) => buffer.write_bytes(at, written.as_bytes()),
        FieldValue::Boolean(true) => buffer.write_bytes(at, b"true"),
        FieldValue::Boolean(false) => buffer.write_bytes(at, b"false"),
    })
}

/// Writes a list, each element by `write`. `None` if it is empty.
pub(super) fn write_list(
    buffer: &mut OutputBuffer,
    start: usize,
    length: usize,
    mut write: impl FnMut(&mut OutputBuffer, usize, usize) -> Option<usize>,
) -> Option<usize> {
    let mut at = start;
    for index in 0..length {
        let after = buffer.write_byte(at, b',');
        at = write(buffer, after, index).unwrap_or(at);
    }
    buffer.close_list(start, at)
}
