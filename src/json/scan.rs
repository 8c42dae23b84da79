//! Reads JSON strictly, one byte after the other, and never twice.
//!
//! A [`Scanner`] knows text that is UTF-8; where in it one is stands in the
//! caller's hands, so that it stays in a register. What nobody wants is skipped
//! in one flat loop, but still checked to be JSON. Nothing is built.
//!
//! Strings are read thirty-two bytes at a time, but for the last few of a text.

use wide::u8x16;

/// Why the text was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    #[error("not JSON")]
    Syntax,
    #[error("nested too deep")]
    TooDeep,
    #[error("too many keys")]
    TooManyKeys,
}

/// The bounds of one text.
#[derive(Clone, Copy, Debug)]
pub struct ScanLimits {
    /// Objects and lists inside each other; at most [`DEPTH_MAX`].
    pub max_depth: u32,
    /// Keys of all objects together.
    pub max_keys: u32,
}

/// So many bytes are looked at, or copied, in one go.
pub const CHUNK_LEN: usize = 32;

/// The deepest nesting that can be asked for.
pub const DEPTH_MAX: u32 = 128;

/// A string as it stands in the text, without its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringToken {
    pub start: usize,
    pub end: usize,
    /// Holds at least one escape.
    pub has_escapes: bool,
}

impl StringToken {
    /// The place behind the closing quote.
    #[inline]
    #[must_use]
    pub fn after_quote(self) -> usize {
        self.end + 1
    }
}

/// A text to be read.
#[derive(Clone, Copy, Debug)]
pub struct Scanner<'a> {
    bytes: &'a [u8],
    depth_max: u32,
}

impl<'a> Scanner<'a> {
    #[must_use]
    pub fn new(text: &'a str, depth: u32) -> Self {
        Scanner { bytes: text.as_bytes(), depth_max: depth.min(DEPTH_MAX) }
    }

    /// Checks that `text` is one JSON value, and nothing else.
    ///
    /// # Errors
    ///
    /// Any [`ScanError`].
    pub fn check_json(text: &str, bounds: ScanLimits) -> Result<(), ScanError> {
        let scanner = Scanner::new(text, bounds.max_depth);
        let mut keys = bounds.max_keys;
        let after = scanner.skip_value(scanner.skip_whitespace(0), 0, &mut keys)?;
        scanner.expect_end(after)
    }

    /// Whether a JSON string may hold `text` as it is, without escapes.
    #[inline]
    #[must_use]
    pub fn is_plain(text: &str) -> bool {
        Scanner::new(text, 0).find_special(0) == text.len()
    }

    /// The byte at `at`, or 0 at the end; 0 is allowed nowhere in JSON.
    #[inline(always)]
    #[must_use]
    pub fn byte_at(self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// The `N` bytes from `at` on, where that many are left.
    #[inline(always)]
    #[must_use]
    pub fn chunk_at<const N: usize>(self, at: usize) -> Option<&'a [u8; N]> {
        self.bytes.get(at..).and_then(<[u8]>::first_chunk)
    }

    /// How many digits stand at `at`; of more than sixteen, sixteen.
    #[inline]
    #[must_use]
    pub fn count_digits(self, at: usize) -> usize {
        match self.chunk_at(at) {
            Some(chunk) => {
                let above = u8x16::new(*chunk) - u8x16::splat(b'0');
                let digits = above.min(u8x16::splat(9)).simd_eq(above).to_bitmask();
                digits.trailing_ones() as usize
            }
            None => {
                let rest = self.bytes.get(at..).unwrap_or_default();
                let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
                digits.count()
            }
        }
    }

    /// The place behind white space.
    #[inline(always)]
    #[must_use]
    pub fn skip_whitespace(self, at: usize) -> usize {
        if self.byte_at(at) > b' ' { at } else { self.skip_long_whitespace(at) }
    }

    #[inline(never)]
    fn skip_long_whitespace(self, mut at: usize) -> usize {
        while let Some(chunk) = self.chunk_at::<16>(at) {
            let chunk = u8x16::new(*chunk);
            let is = |byte: u8| chunk.simd_eq(u8x16::splat(byte));
            let space = is(b' ') | is(b'\n') | is(b'\r') | is(b'\t');
            let run = (!space.to_bitmask()).trailing_zeros() as usize;
            at += run.min(16);
            if run < 16 {
                return at;
            }
        }
        while matches!(self.byte_at(at), b' ' | b'\n' | b'\r' | b'\t') {
            at += 1;
        }
        at
    }

    /// Checks that only white space is left.
    ///
    /// # Errors
    ///
    /// [`ScanError::Syntax`] for trailing text.
    pub fn expect_end(self, at: usize) -> Result<(), ScanError> {
        if self.skip_whitespace(at) == self.bytes.len() { Ok(()) } else { Err(ScanError::Syntax) }
    }

    /// The deepest nesting that is allowed.
    #[must_use]
    pub fn depth_max(self) -> u32 {
        self.depth_max
    }

    /// Whether a container may be opened inside `max_depth` others.
    ///
    /// # Errors
    ///
    /// [`ScanError::TooDeep`].
    #[inline]
    pub fn enter_container(self, depth: u32) -> Result<u32, ScanError> {
        if depth >= self.depth_max {
            return Err(ScanError::TooDeep);
        }
        Ok(depth + 1)
    }

    /// Reads the key of a member; says where its value starts.
    ///
    /// # Errors
    ///
    /// [`ScanError::Syntax`], or [`ScanError::TooManyKeys`].
    #[inline(always)]
    pub fn read_key(
        self,
        at: usize,
        keys_left: &mut u32,
    ) -> Result<(StringToken, usize), ScanError> {
        let key = self.read_string(at)?;
        count_key(keys_left)?;
        let colon = self.skip_whitespace(key.after_quote());
        if self.byte_at(colon) != b':' {
            return Err(ScanError::Syntax);
        }
        Ok((key, self.skip_whitespace(colon + 1)))
    }

    /// Reads the string that starts at `at`.
    ///
    /// # Errors
    ///
    /// [`ScanError::Syntax`] where none does, for a bare control character,
    /// for an unknown escape, and where it has no end.
    #[inline(always)]
    pub fn read_string(self, at: usize) -> Result<StringToken, ScanError> {
        if self.byte_at(at) != b'"' {
            return Err(ScanError::Syntax);
        }
        let start = at + 1;
        let end = self.find_special(start);
        if self.byte_at(end) == b'"' {
            return Ok(StringToken { start, end, has_escapes: false });
        }
        self.read_escaped_string(start, end)
    }

    /// Goes on with a string that has a special byte at `at` that does not end
    /// it.
    #[cold]
    fn read_escaped_string(self, start: usize, mut at: usize) -> Result<StringToken, ScanError> {
        loop {
            match self.byte_at(at) {
                b'"' => {
                    return Ok(StringToken { start, end: at, has_escapes: true });
                }
                b'\\' => at = self.skip_escape(at)?,
                _ => return Err(ScanError::Syntax),
            }
            at = self.find_special(at);
        }
    }

    /// The place of the next quote, backslash or control character, or the end.
    #[inline(always)]
    fn find_special(self, mut at: usize) -> usize {
        while let Some(piece) = self.chunk_at(at) {
            let special = special_byte_mask(piece);
            if special != 0 {
                return at + special.trailing_zeros() as usize;
            }
            at += CHUNK_LEN;
        }
        self.find_special_in_tail(at)
    }

    #[cold]
    fn find_special_in_tail(self, mut at: usize) -> usize {
        while self.byte_at(at) >= 0x20 && !matches!(self.byte_at(at), b'"' | b'\\') {
            at += 1;
        }
        at
    }

    /// The place behind the escape at `at`.
    fn skip_escape(self, at: usize) -> Result<usize, ScanError> {
        match self.byte_at(at + 1) {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 2),
            b'u' => match self.chunk_at::<4>(at + 2) {
                Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => Ok(at + 6),
                _ => Err(ScanError::Syntax),
            },
            _ => Err(ScanError::Syntax),
        }
    }

    /// The place behind the number that starts at `at`.
    ///
    /// # Errors
    ///
    /// [`ScanError::Syntax`] where it is none.
    pub fn skip_number(self, mut at: usize) -> Result<usize, ScanError> {
        if self.byte_at(at) == b'-' {
            at += 1;
        }
        at = match self.byte_at(at) {
            b'0' => at + 1,
            _ => self.skip_digits(at)?,
        };
        if self.byte_at(at) == b'.' {
            at = self.skip_digits(at + 1)?;
        }
        if matches!(self.byte_at(at), b'e' | b'E') {
            at += 1;
            if matches!(self.byte_at(at), b'+' | b'-') {
                at += 1;
            }
            at = self.skip_digits(at)?;
        }
        Ok(at)
    }

    fn skip_digits(self, start: usize) -> Result<usize, ScanError> {
        let mut at = start;
        while self.byte_at(at).is_ascii_digit() {
            at += 1;
        }
        if at == start {
            return Err(ScanError::Syntax);
        }
        Ok(at)
    }

    /// The place behind the word `literal`, which must stand at `at`.
    ///
    /// # Errors
    ///
    /// [`ScanError::Syntax`] where it does not.
    pub fn skip_literal(self, at: usize, literal: &[u8]) -> Result<usize, ScanError> {
        let end = at + literal.len();
        if self.bytes.get(at..end) != Some(literal) {
            return Err(ScanError::Syntax);
        }
        Ok(end)
    }

    /// The place behind the scalar that starts at `at`.
    #[inline(always)]
    fn skip_scalar(self, at: usize) -> Result<usize, ScanError> {
        match self.byte_at(at) {
            b'"' => self.read_string(at).map(StringToken::after_quote),
            b't' => self.skip_literal(at, b"true"),
            b'f' => self.skip_literal(at, b"false"),
            b'n' => self.skip_literal(at, b"null"),
            _ => self.skip_number(at),
        }
    }

    /// The place behind the value that starts at `at`, inside `max_depth` containers.
    ///
    /// One flat loop: what is open is a bit per level (1 = object).
    ///
    /// # Errors
    ///
    /// Any [`ScanError`].
    pub fn skip_value(
        self,
        mut at: usize,
        depth: u32,
        keys_left: &mut u32,
    ) -> Result<usize, ScanError> {
        let mut open: u128 = 0;
        let mut level = depth;
        // A value is expected here, each time.
        loop {
            at = match self.byte_at(at) {
                byte @ (b'{' | b'[') => {
                    let object = byte == b'{';
                    level = self.enter_container(level)?;
                    open = (open << 1) | u128::from(object);
                    let inside = self.skip_whitespace(at + 1);
                    match (object, self.byte_at(inside)) {
                        // Closed below.
                        (true, b'}') | (false, b']') => inside,
                        (true, _) => {
                            at = self.read_key(inside, keys_left)?.1;
                            continue;
                        }
                        (false, _) => {
                            at = inside;
                            continue;
                        }
                    }
                }
                _ => self.skip_whitespace(self.skip_scalar(at)?),
            };
            loop {
                if level == depth {
                    return Ok(at);
                }
                match (self.byte_at(at), open & 1 == 1) {
                    (b',', true) => {
                        at = self.read_key(self.skip_whitespace(at + 1), keys_left)?.1;
                        break;
                    }
                    (b',', false) => {
                        at = self.skip_whitespace(at + 1);
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        open >>= 1;
                        level -= 1;
                        at = self.skip_whitespace(at + 1);
                    }
                    _ => return Err(ScanError::Syntax),
                }
            }
        }
    }
}

/// Counts one key of those that are left.
///
/// # Errors
///
/// [`ScanError::TooManyKeys`].
#[inline(always)]
pub fn count_key(keys_left: &mut u32) -> Result<(), ScanError> {
    *keys_left = keys_left.checked_sub(1).ok_or(ScanError::TooManyKeys)?;
    Ok(())
}

/// A bit for each byte that is a quote, a backslash or a control character:
/// what a string cannot hold as it is. Of those behind the first half there are
/// bits only where the first half has none.
#[inline(always)]
#[must_use]
pub fn special_byte_mask(piece: &[u8; CHUNK_LEN]) -> u32 {
    let special = |half: u8x16| {
        let quote = half.simd_eq(u8x16::splat(b'"'));
        let backslash = half.simd_eq(u8x16::splat(b'\\'));
        let control = half.min(u8x16::splat(0x1f)).simd_eq(half);
        (quote | backslash | control).to_bitmask()
    };
    let [low, high] = split_halves(piece);
    // Most strings end in the first half.
    match special(low) {
        0 => special(high) << 16,
        low => low,
    }
}

/// Tells the compiler that few come this way, so that it lays the others in a
/// straight line.
#[cold]
#[inline]
pub(crate) fn cold_path() {}

/// A bit for each byte that is the same in both.
#[inline(always)]
#[must_use]
pub fn equal_byte_mask(one: &[u8; CHUNK_LEN], other: &[u8; CHUNK_LEN]) -> u32 {
    let ([low, high], [other_low, other_high]) = (split_halves(one), split_halves(other));
    low.simd_eq(other_low).to_bitmask() | (high.simd_eq(other_high).to_bitmask() << 16)
}

/// The same, for half of a piece.
#[inline(always)]
#[must_use]
pub fn equal_half_mask(one: &[u8; CHUNK_LEN / 2], other: &[u8; CHUNK_LEN / 2]) -> u32 {
    u8x16::new(*one).simd_eq(u8x16::new(*other)).to_bitmask()
}

#[inline(always)]
fn split_halves(piece: &[u8; CHUNK_LEN]) -> [u8x16; 2] {
    // Not by `map`, which is not always inlined.
    let (low, high) = piece.split_at(CHUNK_LEN / 2);
    let half = |half: &[u8]| u8x16::new(half.first_chunk().copied().unwrap_or_default());
    [half(low), half(high)]
}

/// Whether a JSON value holds nothing: null, an empty string, or containers of
/// nothing but those. Keys do not count. `value` is known to be JSON.
#[must_use]
pub fn is_blank(value: &str) -> bool {
    let scanner = Scanner::new(value, DEPTH_MAX);
    let mut at = 0;
    loop {
        at = match scanner.byte_at(at) {
            0 => return true,
            b'"' => {
                let Ok(token) = scanner.read_string(at) else {
                    return false;
                };
                let after = scanner.skip_whitespace(token.after_quote());
                if scanner.byte_at(after) != b':' && token.start != token.end {
                    return false;
                }
                after
            }
            b'n' => match scanner.skip_literal(at, b"null") {
                Ok(after) => after,
                Err(_) => return false,
            },
            b'{' | b'}' | b'[' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => at + 1,
            _ => return false,
        };
    }
}

/// Appends the meaning of a string's inside to `out`.
///
/// Returns false, with `out` as it was, where a surrogate stands alone.
pub fn decode_string(inside: &str, out: &mut String) -> bool {
    let start = out.len();
    let mut rest = inside;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let Some((decoded, length)) = decode_escape(after) else {
            out.truncate(start);
            return false;
        };
        out.push(decoded);
        rest = &after[length..];
    }
    out.push_str(rest);
    true
}

/// The character of the escape at the start of `text`, and its length.
fn decode_escape(text: &str) -> Option<(char, usize)> {
    let simple = match text.as_bytes().get(1)? {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return decode_unicode(text),
        &other => char::from(other),
    };
    Some((simple, 2))
}

fn decode_unicode(text: &str) -> Option<(char, usize)> {
    let first = u32::from_str_radix(text.get(2..6)?, 16).ok()?;
    if let Some(single) = char::from_u32(first) {
        return Some((single, 6));
    }
    if first >= 0xdc00 || text.get(6..8)? != "\\u" {
        return None;
    }
    let second = u32::from_str_radix(text.get(8..12)?, 16).ok()?;
    if !(0xdc00..0xe000).contains(&second) {
        return None;
    }
    let pair = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    char::from_u32(pair).map(|decoded| (decoded, 12))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check_text(text: &str) -> Result<(), ScanError> {
        let bounds = ScanLimits { max_depth: 64, max_keys: 4096 };
        Scanner::check_json(text, bounds)
    }

    #[track_caller]
    fn check_validity(text: &str, valid: bool) {
        assert_eq!(check_text(text).is_ok(), valid, "{text}");
        let peer = serde_json::from_str::<serde::de::IgnoredAny>(text);
        assert_eq!(peer.is_ok(), valid, "serde_json on {text}");
    }

    #[test]
    fn scanner_accepts_json_and_nothing_else() {
        for valid in [
            "{}",
            "[]",
            "[[]]",
            "[{}]",
            "{\"a\":{}}",
            " [ 1 , 2 ] ",
            "null",
            "true",
            "false",
            "0",
            "-0",
            "1.5e+10",
            "\"\"",
            "\"a\\n\\u00e9\\/\"",
            "[[],[],{}]",
            "{\"a\":[],\"b\":{}}",
            "\"\u{7f}\"",
            "[1,[2,[3]],{\"x\":[{}]}]",
            "{\"\":0}",
            "\t\n\r 1",
            "\"\\ud800\"",
        ] {
            check_validity(valid, true);
        }
        for invalid in [
            "",
            " ",
            "{",
            "}",
            "[",
            "]",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\"}",
            "{a:1}",
            "[1 2]",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "1e+",
            "nul",
            "nulll",
            "tru",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "\"\0\"",
            "[}",
            "{]",
            "{\"a\":1]",
            "[1}",
            "[]]",
            "{}{}",
            "1 1",
            "[,1]",
            "{,}",
            "[1,,2]",
            "NaN",
            "'a'",
            "\u{feff}{}",
            "[] x",
            "{\"a\" 1}",
            "{\"a\"::1}",
            "[\"a\":1]",
            "/* */ 1",
            "[-]",
            "\"\\",
            "\"\\u",
            "{\"a\":}",
            "{1:2}",
            "[{]}",
        ] {
            check_validity(invalid, false);
        }
    }

    #[test]
    fn scanner_enforces_depth_and_key_limits() {
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert_eq!(check_text(&deep(64)), Ok(()));
        assert_eq!(check_text(&deep(65)), Err(ScanError::TooDeep));
        assert_eq!(check_text(&"[".repeat(1_000_000)), Err(ScanError::TooDeep));
        let wide = |n: usize| format!("{{{}}}", vec!["\"a\":0"; n].join(","));
        assert_eq!(check_text(&wide(4096)), Ok(()));
        assert_eq!(check_text(&wide(4097)), Err(ScanError::TooManyKeys));
    }

    #[test]
    fn is_blank_for_null_and_empty_values_only() {
        for blank in
            ["null", "\"\"", "{}", "[]", "[null,\"\"]", "{\"a\":null}", "[ {\"a\" : [ ] } ]"]
        {
            assert!(is_blank(blank), "{blank}");
        }
        for held in ["0", "true", "false", "\" \"", "[0]", "{\"a\":\"b\"}", "[\"a\"]", "-1"] {
            assert!(!is_blank(held), "{held}");
        }
    }

    #[test]
    fn decode_string_decodes_escapes_but_no_lone_surrogate() {
        let decoded = |text: &str| {
            let mut out = String::new();
            decode_string(text, &mut out).then_some(out)
        };
        assert_eq!(decoded(r"a\u0040b\t").as_deref(), Some("a@b\t"));
        assert_eq!(decoded(r"\ud83d\ude00\/").as_deref(), Some("😀/"));
        for lone in
            [r"\ud83d", r"\ude00", r"\ud83dx", r"\ud83d\n", r"\ud83d\ud83d", r"\ude00\ud83d"]
        {
            assert_eq!(decoded(lone), None, "{lone}");
        }
    }

    proptest! {
        #[test]
        fn scanner_agrees_with_serde_json_on_damaged_json(
            text in "[\\[\\]{}:,\" \\\\0-9eE+.a-fnlrtu-]{0,24}"
        ) {
            let peer = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(check_text(&text).is_ok(), peer);
        }

        #[test]
        fn decode_string_reverses_what_serde_json_wrote(text in "(?s).{0,40}") {
            let written = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(check_text(&written), Ok(()));
            let mut out = String::new();
            prop_assert!(decode_string(&written[1..written.len() - 1], &mut out));
            prop_assert_eq!(out, text);
        }
    }
}
