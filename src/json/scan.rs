//! Reads JSON strictly, one byte after the other, and never twice.
//!
//! A [`Cursor`] walks over text that is known to be UTF-8. What nobody wants is
//! skipped in one flat loop, but still checked to be JSON. Nothing is built.

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
pub struct Bounds {
    /// Objects and lists inside each other; at most [`DEPTH_MAX`].
    pub depth: u32,
    /// Keys of all objects together.
    pub keys: u32,
}

/// The deepest nesting that can be asked for.
pub const DEPTH_MAX: u32 = 128;

/// A string as it stands in the text, without its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringToken {
    pub start: usize,
    pub end: usize,
    /// Holds at least one escape.
    pub escaped: bool,
}

/// A place in a text.
#[derive(Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    keys_left: u32,
    depth_max: u32,
}

impl<'a> Cursor<'a> {
    #[must_use]
    pub fn new(text: &'a str, bounds: Bounds) -> Self {
        Cursor {
            bytes: text.as_bytes(),
            at: 0,
            keys_left: bounds.keys,
            depth_max: bounds.depth.min(DEPTH_MAX),
        }
    }

    /// The byte here, or 0 at the end; 0 is allowed nowhere in JSON.
    #[inline]
    #[must_use]
    pub fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    #[inline]
    pub fn advance(&mut self) {
        self.at += 1;
    }

    /// Passes over white space.
    #[inline]
    pub fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// Passes over `byte`, which must stand here.
    ///
    /// # Errors
    ///
    /// [`ScanError::Syntax`] where something else stands.
    #[inline]
    pub fn expect(&mut self, byte: u8) -> Result<(), ScanError> {
        if self.peek() != byte {
            return Err(ScanError::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    /// Checks that only white space is left.
    ///
    /// # Errors
    ///
    /// [`ScanError::Syntax`] for trailing text.
    pub fn finish(&mut self) -> Result<(), ScanError> {
        self.space();
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err(ScanError::Syntax)
        }
    }

    /// Whether a container may be opened inside `depth` others.
    ///
    /// # Errors
    ///
    /// [`ScanError::TooDeep`].
    #[inline]
    pub fn deeper(&self, depth: u32) -> Result<u32, ScanError> {
        if depth >= self.depth_max {
            return Err(ScanError::TooDeep);
        }
        Ok(depth + 1)
    }

    /// Reads the key of a member and its colon.
    ///
    /// # Errors
    ///
    /// [`ScanError::Syntax`], or [`ScanError::TooManyKeys`].
    #[inline]
    pub fn key(&mut self) -> Result<StringToken, ScanError> {
        let key = self.string()?;
        self.keys_left = self
            .keys_left
            .checked_sub(1)
            .ok_or(ScanError::TooManyKeys)?;
        self.space();
        self.expect(b':')?;
        self.space();
        Ok(key)
    }

    /// Reads the string that starts here.
    ///
    /// # Errors
    ///
    /// [`ScanError::Syntax`] where none does, for a bare control character,
    /// for an unknown escape, and where it has no end.
    #[inline]
    pub fn string(&mut self) -> Result<StringToken, ScanError> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.reach_special();
            match self.peek() {
                b'"' => {
                    let end = self.at;
                    self.at += 1;
                    return Ok(StringToken {
                        start,
                        end,
                        escaped,
                    });
                }
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(ScanError::Syntax),
            }
        }
    }

    /// Goes to the next quote, backslash or control character, or the end.
    #[inline]
    fn reach_special(&mut self) {
        while let Some(chunk) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
            let special = special_bytes(u64::from_le_bytes(*chunk));
            if special != 0 {
                self.at += (special.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
        while let Some(&byte) = self.bytes.get(self.at) {
            if byte < 0x20 || byte == b'"' || byte == b'\\' {
                return;
            }
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Result<(), ScanError> {
        self.at += 1;
        let kind = self.peek();
        self.at += 1;
        match kind {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => {
                for _ in 0..4 {
                    if !self.peek().is_ascii_hexdigit() {
                        return Err(ScanError::Syntax);
                    }
                    self.at += 1;
                }
                Ok(())
            }
            _ => Err(ScanError::Syntax),
        }
    }

    /// Passes over the number that starts here.
    ///
    /// # Errors
    ///
    /// [`ScanError::Syntax`] where it is none.
    pub fn number(&mut self) -> Result<(), ScanError> {
        if self.peek() == b'-' {
            self.at += 1;
        }
        match self.peek() {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits()?,
            _ => return Err(ScanError::Syntax),
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), ScanError> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == start {
            return Err(ScanError::Syntax);
        }
        Ok(())
    }

    /// Passes over the word `literal`.
    ///
    /// # Errors
    ///
    /// [`ScanError::Syntax`] where it does not stand here.
    pub fn literal(&mut self, literal: &[u8]) -> Result<(), ScanError> {
        let end = self.at + literal.len();
        if self.bytes.get(self.at..end) != Some(literal) {
            return Err(ScanError::Syntax);
        }
        self.at = end;
        Ok(())
    }

    /// Passes over the scalar that starts here.
    #[inline]
    fn skip_scalar(&mut self) -> Result<(), ScanError> {
        match self.peek() {
            b'"' => self.string().map(drop),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => self.number(),
        }
    }

    /// Passes over the value that starts here, inside `depth` containers.
    ///
    /// One flat loop: what is open is a bit per level (1 = object).
    ///
    /// # Errors
    ///
    /// Any [`ScanError`].
    pub fn skip(&mut self, depth: u32) -> Result<(), ScanError> {
        let mut open: u128 = 0;
        let mut level = depth;
        loop {
            // A value is expected here.
            let object = match self.peek() {
                b'{' => true,
                b'[' => false,
                _ => {
                    self.skip_scalar()?;
                    if !self.close(&mut open, &mut level, depth)? {
                        return Ok(());
                    }
                    continue;
                }
            };
            self.at += 1;
            level = self.deeper(level)?;
            open = (open << 1) | u128::from(object);
            self.space();
            if object {
                if self.peek() != b'}' {
                    self.key()?;
                    continue;
                }
            } else if self.peek() != b']' {
                continue;
            }
            if !self.close(&mut open, &mut level, depth)? {
                return Ok(());
            }
        }
    }

    /// After a value, or at the end of an empty container: goes to the next
    /// value; false when the outermost one is closed.
    #[inline]
    fn close(&mut self, open: &mut u128, level: &mut u32, depth: u32) -> Result<bool, ScanError> {
        while *level > depth {
            self.space();
            let object = *open & 1 == 1;
            match self.peek() {
                b',' => {
                    // An empty container ends before a comma can follow it.
                    self.at += 1;
                    self.space();
                    if object {
                        self.key()?;
                    }
                    return Ok(true);
                }
                b'}' if object => {}
                b']' if !object => {}
                _ => return Err(ScanError::Syntax),
            }
            self.at += 1;
            *open >>= 1;
            *level -= 1;
        }
        Ok(false)
    }
}

/// A bit in each byte that is a quote, a backslash or a control character; only
/// the lowest one is certain.
#[inline]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let found = (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash)
        | (word.wrapping_sub(ONES * 0x20) & !word);
    found & HIGHS
}

/// Whether a JSON value holds nothing: null, an empty string, or containers of
/// nothing but those. Keys do not count. `value` is known to be JSON.
#[must_use]
pub fn is_blank(value: &str) -> bool {
    let bounds = Bounds {
        depth: DEPTH_MAX,
        keys: u32::MAX,
    };
    let mut cursor = Cursor::new(value, bounds);
    loop {
        match cursor.peek() {
            0 => return true,
            b'"' => {
                let Ok(token) = cursor.string() else {
                    return false;
                };
                cursor.space();
                if cursor.peek() != b':' && token.start != token.end {
                    return false;
                }
            }
            b'n' => {
                if cursor.literal(b"null").is_err() {
                    return false;
                }
            }
            b'{' | b'}' | b'[' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => {
                cursor.advance();
            }
            _ => return false,
        }
    }
}

/// Appends the meaning of a string's inside to `out`.
///
/// Returns false, with `out` as it was, where a surrogate stands alone.
pub fn decode(inside: &str, out: &mut String) -> bool {
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

    fn scan(text: &str) -> Result<(), ScanError> {
        let mut cursor = Cursor::new(
            text,
            Bounds {
                depth: 64,
                keys: 4096,
            },
        );
        cursor.space();
        cursor.skip(0)?;
        cursor.finish()
    }

    #[track_caller]
    fn check(text: &str, valid: bool) {
        assert_eq!(scan(text).is_ok(), valid, "{text}");
        let peer = serde_json::from_str::<serde::de::IgnoredAny>(text);
        assert_eq!(peer.is_ok(), valid, "serde_json on {text}");
    }

    #[test]
    fn takes_what_is_json_and_nothing_else() {
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
            check(valid, true);
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
            check(invalid, false);
        }
    }

    #[test]
    fn keeps_its_bounds() {
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert_eq!(scan(&deep(64)), Ok(()));
        assert_eq!(scan(&deep(65)), Err(ScanError::TooDeep));
        assert_eq!(scan(&"[".repeat(1_000_000)), Err(ScanError::TooDeep));
        let wide = |n: usize| format!("{{{}}}", vec!["\"a\":0"; n].join(","));
        assert_eq!(scan(&wide(4096)), Ok(()));
        assert_eq!(scan(&wide(4097)), Err(ScanError::TooManyKeys));
    }

    #[test]
    fn knows_what_holds_nothing() {
        for blank in [
            "null",
            "\"\"",
            "{}",
            "[]",
            "[null,\"\"]",
            "{\"a\":null}",
            "[ {\"a\" : [ ] } ]",
        ] {
            assert!(is_blank(blank), "{blank}");
        }
        for held in [
            "0",
            "true",
            "false",
            "\" \"",
            "[0]",
            "{\"a\":\"b\"}",
            "[\"a\"]",
            "-1",
        ] {
            assert!(!is_blank(held), "{held}");
        }
    }

    #[test]
    fn decodes_escapes() {
        let decoded = |text: &str| {
            let mut out = String::new();
            decode(text, &mut out).then_some(out)
        };
        assert_eq!(decoded(r"a\u0040b\t").as_deref(), Some("a@b\t"));
        assert_eq!(decoded(r"\ud83d\ude00\/").as_deref(), Some("😀/"));
        for lone in [
            r"\ud83d",
            r"\ude00",
            r"\ud83dx",
            r"\ud83d\n",
            r"\ud83d\ud83d",
            r"\ude00\ud83d",
        ] {
            assert_eq!(decoded(lone), None, "{lone}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_damaged_json(
            text in "[\\[\\]{}:,\" \\\\0-9eE+.a-fnlrtu-]{0,24}"
        ) {
            let peer = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(scan(&text).is_ok(), peer);
        }

        #[test]
        fn decodes_what_serde_json_wrote(text in "(?s).{0,40}") {
            let written = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(scan(&written), Ok(()));
            let mut out = String::new();
            prop_assert!(decode(&written[1..written.len() - 1], &mut out));
            prop_assert_eq!(out, text);
        }
    }
}
