//! Characters of values that would change what is around them.

/// Returns whether a character turns the direction of the text around it: an amount beside it
/// would be read backwards.
pub(super) const fn turns_direction(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns a character, or U+FFFD for a control: a terminal would obey it, and a spreadsheet ends
/// the text there.
pub(super) fn without_control(c: char) -> char {
    if c.is_control() && !matches!(c, '\t' | '\n' | '\r') { '\u{fffd}' } else { c }
}
