//! Outputs as JSON, byte for byte as the recipient has them.

use std::io::{self, Write};

/// Writes one array with an output a line.
///
/// # Errors
///
/// Those of `out`.
pub fn write_array<'a>(
    outputs: impl Iterator<Item = &'a [u8]>,
    out: &mut impl Write,
) -> io::Result<()> {
    out.write_all(b"[")?;
    for (index, output) in outputs.enumerate() {
        out.write_all(if index == 0 { b"\n" } else { b",\n" })?;
        out.write_all(output)?;
    }
    out.write_all(b"\n]\n")
}

/// Writes an output a line, without anything around them.
///
/// # Errors
///
/// Those of `out`.
pub fn write_lines<'a>(
    outputs: impl Iterator<Item = &'a [u8]>,
    out: &mut impl Write,
) -> io::Result<()> {
    for output in outputs {
        out.write_all(output)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
