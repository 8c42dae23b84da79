//! A plain JSON reader and writer that keeps what parsers lose: the text of numbers,
//! repeated keys, lone surrogates.

/// A string after its escapes were resolved; `None` if a surrogate stands alone in it.
pub type JsonString = Option<String>;

/// How deep and how large a text may be.
#[derive(Clone, Copy, Debug)]
pub struct JsonLimits {
    /// The outermost object or list has depth 1.
    pub max_depth: u32,
    /// Of all objects together.
    pub max_members: u32,
}

impl JsonLimits {
    pub const DEFAULT: JsonLimits = JsonLimits { max_depth: 64, max_members: 4_096 };
}

/// One JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonNode {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    String(JsonString),
    List(Vec<JsonNode>),
    /// In the order of the text, repeated keys included.
    Object(Vec<(JsonString, JsonNode)>),
}

/// Why a text is no tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonError {
    Syntax,
    TooDeep,
    TooManyKeys,
}

/// Reads one JSON text to its end; returns the first error in reading order.
pub fn parse(text: &str, limits: JsonLimits) -> Result<JsonNode, JsonError> {
    let mut reader = JsonParser::new(text, limits);
    let node = reader.parse_value(0)?;
    reader.skip_whitespace();
    reader.expect_end()?;
    Ok(node)
}

/// Reads one object and gives the text of each value as it stands there.
pub fn raw_members(text: &str) -> Result<Vec<(String, &str)>, JsonError> {
    let mut reader = JsonParser::new(text, JsonLimits::DEFAULT);
    let mut found = Vec::new();
    reader.skip_whitespace();
    reader.expect_byte(b'{')?;
    loop {
        reader.skip_whitespace();
        let key = reader.parse_string()?;
        reader.skip_whitespace();
        reader.expect_byte(b':')?;
        reader.skip_whitespace();
        let start = reader.position;
        reader.parse_value(0)?;
        found.push((key.ok_or(JsonError::Syntax)?, &text[start..reader.position]));
        reader.skip_whitespace();
        if reader.take_byte(b',') {
            continue;
        }
        reader.expect_byte(b'}')?;
        reader.skip_whitespace();
        reader.expect_end()?;
        return Ok(found);
    }
}

/// Writes a string as compact JSON, escaping only what must be.
pub fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", c as u32)),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

struct JsonParser<'a> {
    bytes: &'a [u8],
    position: usize,
    n_members: u32,
    limits: JsonLimits,
}

impl<'a> JsonParser<'a> {
    fn new(text: &'a str, limits: JsonLimits) -> Self {
        JsonParser { bytes: text.as_bytes(), position: 0, n_members: 0, limits }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    fn take_byte(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.position += usize::from(taken);
        taken
    }

    fn expect_byte(&mut self, byte: u8) -> Result<(), JsonError> {
        self.take_byte(byte).then_some(()).ok_or(JsonError::Syntax)
    }

    fn expect_end(&self) -> Result<(), JsonError> {
        (self.position == self.bytes.len()).then_some(()).ok_or(JsonError::Syntax)
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.position += 1;
        }
    }

    fn parse_value(&mut self, depth: u32) -> Result<JsonNode, JsonError> {
        self.skip_whitespace();
        match self.peek().ok_or(JsonError::Syntax)? {
            b'{' => self.parse_object(depth + 1),
            b'[' => self.parse_list(depth + 1),
            b'"' => self.parse_string().map(JsonNode::String),
            b't' => self.parse_literal("true", JsonNode::Bool(true)),
            b'f' => self.parse_literal("false", JsonNode::Bool(false)),
            b'n' => self.parse_literal("null", JsonNode::Null),
            _ => self.parse_number(),
        }
    }

    fn parse_literal(&mut self, word: &str, node: JsonNode) -> Result<JsonNode, JsonError> {
        if !self.bytes[self.position..].starts_with(word.as_bytes()) {
            return Err(JsonError::Syntax);
        }
        self.position += word.len();
        Ok(node)
    }

    fn parse_object(&mut self, depth: u32) -> Result<JsonNode, JsonError> {
        if depth > self.limits.max_depth {
            return Err(JsonError::TooDeep);
        }
        self.expect_byte(b'{')?;
        let mut members = Vec::new();
        self.skip_whitespace();
        if self.take_byte(b'}') {
            return Ok(JsonNode::Object(members));
        }
        loop {
            self.skip_whitespace();
            let key = self.parse_string()?;
            self.n_members += 1;
            if self.n_members > self.limits.max_members {
                return Err(JsonError::TooManyKeys);
            }
            self.skip_whitespace();
            self.expect_byte(b':')?;
            members.push((key, self.parse_value(depth)?));
            self.skip_whitespace();
            if !self.take_byte(b',') {
                self.expect_byte(b'}')?;
                return Ok(JsonNode::Object(members));
            }
        }
    }

    fn parse_list(&mut self, depth: u32) -> Result<JsonNode, JsonError> {
        if depth > self.limits.max_depth {
            return Err(JsonError::TooDeep);
        }
        self.expect_byte(b'[')?;
        let mut elements = Vec::new();
        self.skip_whitespace();
        if self.take_byte(b']') {
            return Ok(JsonNode::List(elements));
        }
        loop {
            elements.push(self.parse_value(depth)?);
            self.skip_whitespace();
            if !self.take_byte(b',') {
                self.expect_byte(b']')?;
                return Ok(JsonNode::List(elements));
            }
        }
    }

    fn parse_number(&mut self) -> Result<JsonNode, JsonError> {
        let start = self.position;
        self.take_byte(b'-');
        if !self.take_byte(b'0') {
            self.skip_digits()?;
        }
        if self.take_byte(b'.') {
            self.skip_digits()?;
        }
        if self.take_byte(b'e') || self.take_byte(b'E') {
            let _ = self.take_byte(b'+') || self.take_byte(b'-');
            self.skip_digits()?;
        }
        let written = String::from_utf8_lossy(&self.bytes[start..self.position]);
        Ok(JsonNode::Number(written.into_owned()))
    }

    fn skip_digits(&mut self) -> Result<(), JsonError> {
        let start = self.position;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.position += 1;
        }
        (self.position > start).then_some(()).ok_or(JsonError::Syntax)
    }

    /// Reads a string by way of UTF-16, where a lone surrogate shows itself.
    fn parse_string(&mut self) -> Result<JsonString, JsonError> {
        self.expect_byte(b'"')?;
        let mut units: Vec<u16> = Vec::new();
        loop {
            let start = self.position;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.position += 1;
            }
            let plain = String::from_utf8_lossy(&self.bytes[start..self.position]);
            units.extend(plain.encode_utf16());
            if self.take_byte(b'"') {
                break;
            }
            self.expect_byte(b'\\')?;
            units.push(self.parse_escape()?);
        }
        Ok(String::from_utf16(&units).ok())
    }

    fn parse_escape(&mut self) -> Result<u16, JsonError> {
        let byte = self.peek().ok_or(JsonError::Syntax)?;
        self.position += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => u16::from(byte),
            b'b' => 8,
            b't' => 9,
            b'n' => 10,
            b'f' => 12,
            b'r' => 13,
            b'u' => {
                let mut unit = 0;
                for _ in 0..4 {
                    let digit = self.peek().map(char::from).and_then(|c| c.to_digit(16));
                    unit = unit * 16 + digit.ok_or(JsonError::Syntax)?;
                    self.position += 1;
                }
                u16::try_from(unit).map_err(|_| JsonError::Syntax)?
            }
            _ => return Err(JsonError::Syntax),
        })
    }
}
