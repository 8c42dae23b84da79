//! A plain JSON reader and writer: it keeps what a parser usually loses.
//!
//! Numbers stay text, keys that stand twice stay twice, a lone surrogate is
//! marked. It knows nothing of records and is never fast.

/// Objects and lists may stand in each other this deep; the outermost is 1.
pub const DEPTH_MAX: usize = 64;

/// All objects of one text together may have this many keys.
pub const KEYS_MAX: usize = 4_096;

/// A string after its escapes were resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The characters; a lone surrogate is U+FFFD here.
    pub chars: String,
    /// Whether a lone surrogate was among them.
    pub lone: bool,
}

impl Text {
    /// Tells whether the text is exactly `name`.
    pub fn is(&self, name: &str) -> bool {
        !self.lone && self.chars == name
    }
}

/// One JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    Text(Text),
    List(Vec<Node>),
    /// In the order of the text, twins included.
    Object(Vec<(Text, Node)>),
}

/// Why a text is no tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Syntax,
    Depth,
    Keys,
}

/// Reads one JSON text to its end; the first fault in reading order wins.
pub fn read(text: &str) -> Result<Node, Fault> {
    let mut reader = Reader::new(text);
    let node = reader.value(0)?;
    reader.space();
    reader.end()?;
    Ok(node)
}

/// Reads one object and gives the text of each value as it stands there.
pub fn members(text: &str) -> Result<Vec<(String, &str)>, Fault> {
    let mut reader = Reader::new(text);
    let mut found = Vec::new();
    reader.space();
    reader.expect(b'{')?;
    loop {
        reader.space();
        let key = reader.string()?;
        reader.space();
        reader.expect(b':')?;
        reader.space();
        let start = reader.at;
        reader.value(0)?;
        found.push((key.chars, &text[start..reader.at]));
        reader.space();
        if reader.take(b',') {
            continue;
        }
        reader.expect(b'}')?;
        reader.space();
        reader.end()?;
        return Ok(found);
    }
}

/// Writes a string as compact JSON, escaping only what must be.
pub fn quoted(text: &str) -> String {
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

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    keys: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Reader {
            bytes: text.as_bytes(),
            at: 0,
            keys: 0,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        self.take(byte).then_some(()).ok_or(Fault::Syntax)
    }

    fn end(&self) -> Result<(), Fault> {
        (self.at == self.bytes.len())
            .then_some(())
            .ok_or(Fault::Syntax)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, Fault> {
        self.space();
        match self.peek().ok_or(Fault::Syntax)? {
            b'{' => self.object(depth + 1),
            b'[' => self.list(depth + 1),
            b'"' => self.string().map(Node::Text),
            b't' => self.word("true", Node::Bool(true)),
            b'f' => self.word("false", Node::Bool(false)),
            b'n' => self.word("null", Node::Null),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &str, node: Node) -> Result<Node, Fault> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(Fault::Syntax);
        }
        self.at += word.len();
        Ok(node)
    }

    fn object(&mut self, depth: usize) -> Result<Node, Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::Depth);
        }
        self.expect(b'{')?;
        let mut members = Vec::new();
        self.space();
        if self.take(b'}') {
            return Ok(Node::Object(members));
        }
        loop {
            self.space();
            let key = self.string()?;
            self.keys += 1;
            if self.keys > KEYS_MAX {
                return Err(Fault::Keys);
            }
            self.space();
            self.expect(b':')?;
            members.push((key, self.value(depth)?));
            self.space();
            if !self.take(b',') {
                self.expect(b'}')?;
                return Ok(Node::Object(members));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Node, Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::Depth);
        }
        self.expect(b'[')?;
        let mut elements = Vec::new();
        self.space();
        if self.take(b']') {
            return Ok(Node::List(elements));
        }
        loop {
            elements.push(self.value(depth)?);
            self.space();
            if !self.take(b',') {
                self.expect(b']')?;
                return Ok(Node::List(elements));
            }
        }
    }

    fn number(&mut self) -> Result<Node, Fault> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        let written = String::from_utf8_lossy(&self.bytes[start..self.at]);
        Ok(Node::Number(written.into_owned()))
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(()).ok_or(Fault::Syntax)
    }

    /// Reads a string by way of UTF-16, where a lone surrogate shows itself.
    fn string(&mut self) -> Result<Text, Fault> {
        self.expect(b'"')?;
        let mut units: Vec<u16> = Vec::new();
        loop {
            let start = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.at += 1;
            }
            let plain = String::from_utf8_lossy(&self.bytes[start..self.at]);
            units.extend(plain.encode_utf16());
            if self.take(b'"') {
                break;
            }
            self.expect(b'\\')?;
            units.push(self.escape()?);
        }
        let mut text = Text {
            chars: String::new(),
            lone: false,
        };
        for unit in char::decode_utf16(units) {
            text.lone |= unit.is_err();
            text.chars.push(unit.unwrap_or('\u{fffd}'));
        }
        Ok(text)
    }

    fn escape(&mut self) -> Result<u16, Fault> {
        let byte = self.peek().ok_or(Fault::Syntax)?;
        self.at += 1;
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
                    unit = unit * 16 + digit.ok_or(Fault::Syntax)?;
                    self.at += 1;
                }
                u16::try_from(unit).map_err(|_| Fault::Syntax)?
            }
            _ => return Err(Fault::Syntax),
        })
    }
}
