//! Pseudonyms: keyed hashes, with a key of each recipient's own.
//!
//! Two recipients can never join what they have, as their keys differ; who has
//! no key can make nothing of a pseudonym. Nothing here prints a key.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::block_api::compress256;
use sha2::{Digest, Sha256};
use wide::u32x4;

use super::name::{KEY_ID, Secret};
use super::settings::{KeySettings, SecretError, SecretSource};
use crate::json::page::copy;

/// The least that a key's secret holds, in bytes.
pub const SECRET_BYTES_MIN: usize = 32;

/// The length of a pseudonym, in characters.
pub const PSEUDONYM_LENGTH: usize = 22;

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("not one line `ID:SECRET`")]
    Shape,
    #[error("the id before the colon is not 1 to 32 lower-case letters, digits and hyphens")]
    Id,
    #[error("the secret after the colon is not base64url")]
    Encoding,
    #[error("the secret has fewer than 32 bytes")]
    Short,
    #[error("the secret is one byte again and again")]
    Constant,
    #[error("the system gave no random bytes")]
    Random,
}

/// A key of one recipient, or of the state.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    id: String,
    secret: Secret,
}

impl Key {
    /// Reads one line `ID:SECRET`, the secret in base64url of at least 32 bytes.
    ///
    /// # Errors
    ///
    /// [`KeyError`], which never quotes the line.
    pub fn parse(line: &str) -> Result<Key, KeyError> {
        let line = line.trim_end_matches(['\r', '\n']);
        let (id, secret) = line.split_once(':').ok_or(KeyError::Shape)?;
        if secret.contains(['\n', ':']) {
            return Err(KeyError::Shape);
        }
        if !(KEY_ID.fits)(id) {
            return Err(KeyError::Id);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(secret.trim_end_matches('='))
            .map_err(|_| KeyError::Encoding)?;
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(KeyError::Short);
        }
        if bytes.iter().all(|byte| Some(byte) == bytes.first()) {
            return Err(KeyError::Constant);
        }
        Ok(Key {
            id: id.to_owned(),
            secret: Secret::new(bytes),
        })
    }

    /// Makes a new key of 32 random bytes.
    ///
    /// # Errors
    ///
    /// The id has not its form, or the system gave no random bytes.
    pub fn generate(id: &str) -> Result<Key, KeyError> {
        if !(KEY_ID.fits)(id) {
            return Err(KeyError::Id);
        }
        let mut bytes = vec![0; SECRET_BYTES_MIN];
        getrandom::fill(&mut bytes).map_err(|_| KeyError::Random)?;
        Ok(Key {
            id: id.to_owned(),
            secret: Secret::new(bytes),
        })
    }

    /// The key's name: no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The line that [`Key::parse`] reads, without its newline: a secret, to be
    /// written into the key's file and nowhere else.
    #[must_use]
    pub fn line(&self) -> Secret {
        let text = URL_SAFE_NO_PAD.encode(self.secret.expose());
        Secret::new(format!("{}:{text}", self.id).into_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, ..)", self.id)
    }
}

/// What stands before the value in a pseudonym's message: which kind of thing
/// is meant, and by which field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// Both, with a zero byte behind each.
    head: Box<[u8]>,
}

impl Meaning {
    /// `field` is the catalogue's path, never an output's name.
    #[must_use]
    pub fn new(kind: &str, field: &str) -> Meaning {
        let head = [kind.as_bytes(), b"\0", field.as_bytes(), b"\0"].concat();
        Meaning { head: head.into() }
    }
}

/// What a pseudonym is made of, beside the key.
#[derive(Clone, Copy, Debug)]
pub struct MessageParts<'a> {
    pub meaning: &'a Meaning,
    pub library: &'a str,
    pub value: &'a str,
    /// Follows the value in an output key, so that a record which comes to
    /// another patron has another key.
    pub patron_id: Option<&'a str>,
    /// Comes last, as `YYYY-MM`, in a pseudonym that is another one each month.
    pub month: Option<&'a str>,
}

impl<'a> MessageParts<'a> {
    /// All bytes, piece by piece.
    fn pieces(&self) -> [&'a [u8]; 8] {
        let behind = |part: Option<&'a str>| match part {
            Some(part) => [&b"\0"[..], part.as_bytes()],
            None => [&b""[..]; 2],
        };
        let [mark, patron_id] = behind(self.patron_id);
        let [month_mark, month] = behind(self.month);
        [
            &self.meaning.head,
            self.library.as_bytes(),
            b"\0",
            self.value.as_bytes(),
            mark,
            patron_id,
            month_mark,
            month,
        ]
    }
}

/// The bytes of a block of SHA-256.
const BLOCK: usize = 64;
/// So many blocks at most are put together once for all recipients.
const BLOCKS_MAX: usize = 2;
/// What of the last block is free for a message that ends in it: a mark and the
/// length in bits end it.
const SHORT: usize = BLOCK - 9;
/// The longest message that is put together once.
const MESSAGE_MAX: usize = (BLOCKS_MAX - 1) * BLOCK + SHORT;

/// Makes the pseudonyms of one key.
///
/// The two states of HMAC that depend on the key alone are made once. A message
/// that fits a block, as most do, then costs two blocks and nothing else; one of
/// two blocks costs three.
#[derive(Clone)]
pub struct Pseudonymiser {
    inner: [u32; 8],
    outer: [u32; 8],
    /// For longer messages.
    keyed: Hmac<Sha256>,
}

impl fmt::Debug for Pseudonymiser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonymiser(..)")
    }
}

impl Pseudonymiser {
    /// Prepares `key`, so that each pseudonym costs only its own bytes.
    #[must_use]
    pub fn new(key: &Key) -> Pseudonymiser {
        let secret = key.secret.expose();
        let mut block = [0; BLOCK];
        if let Some(start) = block.get_mut(..secret.len()) {
            start.copy_from_slice(secret);
        } else {
            block[..32].copy_from_slice(&Sha256::digest(secret));
        }
        Pseudonymiser {
            inner: after(INITIAL, &block.map(|byte| byte ^ 0x36)),
            outer: after(INITIAL, &block.map(|byte| byte ^ 0x5c)),
            keyed: Hmac::new(&block.into()),
        }
    }

    /// The pseudonym of `value`: base64url of the first 16 bytes of HMAC-SHA-256
    /// over kind, field, library and value, with one zero byte between each two.
    #[must_use]
    pub fn pseudonym(&self, meaning: &Meaning, library: &str, value: &str) -> Pseudonym {
        self.pseudonym_of(&MessageParts {
            meaning,
            library,
            value,
            patron_id: None,
            month: None,
        })
    }

    /// The pseudonym of these parts, the patron's id behind the value where it is
    /// one of them.
    #[must_use]
    pub fn pseudonym_of(&self, parts: &MessageParts<'_>) -> Pseudonym {
        match Message::new(parts) {
            Some(message) => self.end(self.begin(&message)),
            None => self.end(self.begin_long(parts)),
        }
    }

    /// The first half of the work.
    #[inline]
    #[must_use]
    pub fn begin(&self, message: &Message) -> Begun {
        let words = match message.long {
            false => after(self.inner, &message.blocks[0]),
            true => after_all(self.inner, &message.blocks),
        };
        Begun { words, done: false }
    }

    /// All of the work, where the message is not at hand.
    #[must_use]
    pub fn begin_long(&self, parts: &MessageParts<'_>) -> Begun {
        let mut mac = self.keyed.clone();
        for part in parts.pieces() {
            mac.update(part);
        }
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(mac.finalize().into_bytes().chunks(4)) {
            *word = bytes
                .first_chunk()
                .map_or(0, |bytes| u32::from_be_bytes(*bytes));
        }
        Begun { words, done: true }
    }

    /// The second half of the work.
    #[inline(always)]
    #[must_use]
    pub fn end(&self, begun: Begun) -> Pseudonym {
        let [a, b, c, d, ..] = match begun.done {
            true => begun.words,
            false => {
                let mut block = DIGEST;
                for (place, words) in block.chunks_exact_mut(16).zip(begun.words.chunks_exact(4)) {
                    let bytes = big_endian(words.first_chunk().copied().unwrap_or_default());
                    place.copy_from_slice(&bytes);
                }
                after(self.outer, &block)
            }
        };
        let [a, b, c, d] = [u64::from(a), u64::from(b), u64::from(c), u64::from(d)];
        Pseudonym::of((a << 32) | b, (c << 32) | d)
    }
}

/// A pseudonym of which half the work is done.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    /// The inner hash, or the whole one.
    words: [u32; 8],
    done: bool,
}

/// The bytes of four words, the highest of each first: in one piece, as a block
/// is read in pieces of this size right after.
#[inline]
fn big_endian(words: [u32; 4]) -> [u8; 16] {
    let words = u32x4::new(words);
    let low = u32x4::splat(0x00ff_00ff);
    let pairs: u32x4 = ((words & low) << 8) | ((words >> 8) & low);
    let words: u32x4 = (pairs << 16) | (pairs >> 16);
    let mut bytes = [0; 16];
    for (place, word) in bytes.chunks_exact_mut(4).zip(words.to_array()) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// What is hashed, where it ends in its first or second block: that of the key
/// came before it. It serves the keys of all recipients.
#[derive(Clone, Debug)]
pub struct Message {
    blocks: [[u8; BLOCK]; BLOCKS_MAX],
    /// It goes on in the second block.
    long: bool,
}

impl Default for Message {
    fn default() -> Self {
        Message {
            blocks: [ending(0), [0; BLOCK]],
            long: false,
        }
    }
}

impl Message {
    /// None where it is too long.
    #[must_use]
    pub fn new(parts: &MessageParts<'_>) -> Option<Message> {
        let pieces = parts.pieces();
        let length = pieces.iter().map(|piece| piece.len()).sum();
        if length > MESSAGE_MAX {
            return None;
        }
        let long = length > SHORT;
        let mut blocks = [[0; BLOCK]; BLOCKS_MAX];
        let mut at = 0;
        for piece in pieces {
            at = place(blocks.as_flattened_mut(), at, piece)?;
        }
        *blocks.as_flattened_mut().get_mut(length)? = ONE_BIT;
        let last = &mut blocks[usize::from(long)];
        [last[BLOCK - 2], last[BLOCK - 1]] = bits(length);
        Some(Message { blocks, long })
    }
}

/// Copies a part into blocks; says where it ends.
#[inline]
fn place(blocks: &mut [u8], at: usize, part: &[u8]) -> Option<usize> {
    let end = at + part.len();
    copy(blocks.get_mut(at..end)?, part);
    Some(end)
}

/// Stands behind the last byte of what is hashed.
const ONE_BIT: u8 = 0x80;

/// How many bits a message of `length` bytes has, with the key's block before
/// it: less than four blocks, so that two bytes will do.
const fn bits(length: usize) -> [u8; 2] {
    let bits = 8 * (BLOCK + length) as u16;
    bits.to_be_bytes()
}

/// A block as it ends a message whose last `length` bytes are in it: a one bit
/// behind them, zeros, and the number of all bits, those of the key too.
const fn ending(length: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    if length < BLOCK {
        block[length] = ONE_BIT;
    }
    [block[BLOCK - 2], block[BLOCK - 1]] = bits(length);
    block
}

/// The block of a digest, but for the digest.
const DIGEST: [u8; BLOCK] = ending(32);

/// The state in which SHA-256 begins (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

fn after(mut state: [u32; 8], block: &[u8; BLOCK]) -> [u32; 8] {
    compress256(&mut state, std::slice::from_ref(block));
    state
}

#[inline(never)]
fn after_all(mut state: [u32; 8], blocks: &[[u8; BLOCK]]) -> [u32; 8] {
    compress256(&mut state, blocks);
    state
}

/// Of base64url.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Two characters of base64url for each twelve bits.
static PAIRS: [[u8; 2]; 1 << 12] = pairs();

/// The six bits that each character stands for.
static SIXES: [u8; 256] = sixes();

const fn sixes() -> [u8; 256] {
    let mut sixes = [0; 256];
    let mut six = 0;
    while six < ALPHABET.len() {
        sixes[ALPHABET[six] as usize] = six as u8;
        six += 1;
    }
    sixes
}

const fn pairs() -> [[u8; 2]; 1 << 12] {
    let mut pairs = [[0; 2]; 1 << 12];
    let mut bits = 0;
    while bits < pairs.len() {
        pairs[bits] = [ALPHABET[bits >> 6], ALPHABET[bits & 63]];
        bits += 1;
    }
    pairs
}

/// The characters of one pseudonym: eight in a word, the first one lowest, and
/// two bytes of zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pseudonym([u64; 3]);

/// A pseudonym and two quotes fill three words.
const _: () = assert!(PSEUDONYM_LENGTH + 2 == 24);

impl Pseudonym {
    /// 128 bits in base64url; the last character holds two of them.
    #[inline]
    fn of(high: u64, low: u64) -> Pseudonym {
        // Four characters for twice twelve bits.
        let four = |bits: u64| {
            let pair = |bits: u64| u64::from(u16::from_le_bytes(PAIRS[(bits & 0xfff) as usize]));
            pair(bits >> 12) | (pair(bits) << 16)
        };
        let [a, b] = [four(high >> 40), four(high >> 16)];
        let [c, d] = [four((high << 8) | (low >> 56)), four(low >> 32)];
        // The last four bits of these are none of the pseudonym's.
        let [e, f] = [four(low >> 8), four(low << 16)];
        let third = (e | (f << 32)) & (u64::MAX >> 16);
        Pseudonym([a | (b << 32), c | (d << 32), third])
    }

    /// The characters between quotes.
    #[inline]
    #[must_use]
    pub fn quoted(&self) -> [u64; 3] {
        const QUOTE: u64 = b'"' as u64;
        let [first, second, third] = self.0;
        [
            QUOTE | (first << 8),
            (first >> 56) | (second << 8),
            (second >> 56) | (third << 8) | (QUOTE << 56),
        ]
    }

    /// The characters, and two bytes that are none of it.
    #[inline]
    #[must_use]
    pub fn words(&self) -> [u64; 3] {
        self.0
    }

    /// The pseudonym with these 128 bits.
    #[must_use]
    pub fn of_bits(bits: u128) -> Pseudonym {
        #[allow(clippy::cast_possible_truncation, reason = "the lower half is meant")]
        let low = bits as u64;
        Pseudonym::of((bits >> 64) as u64, low)
    }

    /// The bits that the characters stand for.
    #[must_use]
    pub fn bits(&self) -> u128 {
        let six = |character: u8| u128::from(SIXES[usize::from(character)]);
        let [first @ .., last] = self.text();
        let bits = first
            .iter()
            .fold(0, |bits, character| (bits << 6) | six(*character));
        // Two bits are left for the last character.
        (bits << 2) | (six(last) >> 4)
    }

    #[must_use]
    pub fn text(&self) -> [u8; PSEUDONYM_LENGTH] {
        let mut text = [0; 24];
        for (place, word) in text.chunks_exact_mut(8).zip(self.words()) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let mut shown = [0; PSEUDONYM_LENGTH];
        shown.copy_from_slice(&text[..PSEUDONYM_LENGTH]);
        shown
    }
}

/// The name of zeef's own key, where others have that of a recipient: with it
/// are made the keys of the state's rows, and the hashes in them. No recipient
/// can be called so.
pub const STATE_KEY: &str = "zeef.state";

/// A key that cannot be had, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMistake {
    /// Or [`STATE_KEY`].
    pub recipient: String,
    pub fault: KeyFault,
    pub text: String,
}

/// What is wrong with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// Its file is not there: `zeef keys new` makes it.
    NoFile,
    /// Its environment variable is not set.
    Unset,
    /// It is there, and cannot be used.
    Unusable,
}

impl fmt::Display for KeyMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.recipient.as_str() {
            STATE_KEY => write!(f, "key of the state, `{STATE_KEY}`: {}", self.text),
            recipient => write!(f, "key of recipient `{recipient}`: {}", self.text),
        }
    }
}

/// What a key is, for whoever has to put one somewhere.
const KEY_LINE: &str =
    "one line, ID:SECRET, the secret at least 32 bytes in base64url without padding";

/// Says where a key that cannot be read comes from: `zeef keys new` writes files
/// that are not there, and nothing else.
fn absent(error: &SecretError, name: &str) -> (KeyFault, String) {
    match error {
        SecretError::File(_, why) if why.kind() == ErrorKind::NotFound => (
            KeyFault::NoFile,
            format!("make one with `zeef keys new {name}`"),
        ),
        SecretError::File(..) => (
            KeyFault::Unusable,
            "it has to be a file that zeef's user may read, and nobody else may write".to_owned(),
        ),
        SecretError::Unset(_) => (KeyFault::Unset, format!("put a key into it: {KEY_LINE}")),
        SecretError::Encoding(_) => (KeyFault::Unusable, format!("put a key into it: {KEY_LINE}")),
        SecretError::Empty(source) => (KeyFault::Unusable, instead_of(source, name)),
    }
}

/// Says how another key gets into the place of one that cannot be used.
fn instead_of(source: &SecretSource, name: &str) -> String {
    match source {
        SecretSource::Environment(_) => format!("put another key into it: {KEY_LINE}"),
        SecretSource::File(_) => format!(
            "restore it; or move it away and make another one with `zeef keys new {name}`, which \
             changes all that is made with it"
        ),
    }
}

/// The keys of all recipients, and that of the state.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    keys: BTreeMap<String, Key>,
    /// What an operator should know, as a key file that others may read.
    pub notes: Vec<String>,
}

impl KeyRing {
    /// Reads the key of each of `recipients`, and that of the state, from where
    /// `settings` say.
    ///
    /// # Errors
    ///
    /// Every key that cannot be had, at once; a secret is never quoted.
    pub fn load<'a>(
        settings: &KeySettings,
        recipients: impl IntoIterator<Item = &'a str>,
    ) -> Result<KeyRing, Vec<KeyMistake>> {
        KeyRing::load_only(settings, recipients.into_iter().chain([STATE_KEY]))
    }

    /// Reads the keys of these names and no other; [`STATE_KEY`] is one.
    ///
    /// # Errors
    ///
    /// As of [`KeyRing::load`].
    pub fn load_only<'a>(
        settings: &KeySettings,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<KeyRing, Vec<KeyMistake>> {
        let mut ring = KeyRing::default();
        let mut mistakes = Vec::new();
        for recipient in names {
            match ring.read(settings, recipient) {
                Ok(key) => {
                    ring.keys.insert(recipient.to_owned(), key);
                }
                Err((fault, text)) => mistakes.push(KeyMistake {
                    recipient: recipient.to_owned(),
                    fault,
                    text,
                }),
            }
        }
        if mistakes.is_empty() {
            Ok(ring)
        } else {
            Err(mistakes)
        }
    }

    /// Makes a ring of keys that are at hand, as of a demonstration, each with
    /// its name.
    #[must_use]
    pub fn of(keys: impl IntoIterator<Item = (String, Key)>) -> KeyRing {
        KeyRing {
            keys: keys.into_iter().collect(),
            notes: Vec::new(),
        }
    }

    /// The key of `recipient`.
    #[must_use]
    pub fn key(&self, recipient: &str) -> Option<&Key> {
        self.keys.get(recipient)
    }

    /// The key of the state.
    #[must_use]
    pub fn state(&self) -> Option<&Key> {
        self.keys.get(STATE_KEY)
    }

    fn read(&mut self, settings: &KeySettings, recipient: &str) -> Result<Key, (KeyFault, String)> {
        let source = settings.source(recipient);
        let secret = source.read().map_err(|error| {
            let (fault, advice) = absent(&error, recipient);
            (fault, format!("{error}; {advice}"))
        })?;
        let unusable = |why: &str| {
            let advice = instead_of(&source, recipient);
            (KeyFault::Unusable, format!("{source}: {why}; {advice}"))
        };
        self.notes.extend(source.note());
        let key = secret
            .expose_text()
            .ok_or(KeyError::Shape)
            .and_then(Key::parse)
            .map_err(|error| unusable(&error.to_string()))?;
        let twin = self
            .keys
            .iter()
            .find(|(_, other)| other.secret == key.secret);
        match twin {
            Some((other, _)) => Err(unusable(&format!(
                "the same secret as that of `{other}`, so that the two could join their data"
            ))),
            None => Ok(key),
        }
    }
}

/// The file of a key in a folder of keys, by its name.
#[must_use]
pub fn key_file(directory: &Path, recipient: &str) -> PathBuf {
    directory.join(format!("{recipient}.key"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::settings::SecretSource;

    const LINE: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    fn pseudonym(key: &Key, parts: [&str; 4]) -> String {
        let [kind, field, library, value] = parts;
        let meaning = Meaning::new(kind, field);
        let pseudonym = Pseudonymiser::new(key).pseudonym(&meaning, library, value);
        String::from_utf8_lossy(&pseudonym.text()).into_owned()
    }

    /// The same, the long way round.
    fn expected<const N: usize>(secret: &[u8], parts: [&str; N]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(parts.join("\0").as_bytes());
        URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..16])
    }

    #[test]
    fn a_pseudonym_is_the_hmac_of_its_parts() {
        let parts = ["patron", "patron_id", "NL-AmrBKW", "P-1"];
        for length in [32, 63, 64, 65, 200] {
            let secret: Vec<u8> = (0..length).collect();
            let line = format!("a:{}", URL_SAFE_NO_PAD.encode(&secret));
            let key = Key::parse(&line).unwrap();
            assert_eq!(pseudonym(&key, parts), expected(&secret, parts));
        }
        let key = Key::parse(LINE).unwrap();
        // Computed with Python's hmac and base64.
        assert_eq!(pseudonym(&key, parts), "fO7YVJRFVIBpNkQKWiG2Fg");
    }

    #[test]
    fn a_message_may_have_any_length() {
        let key = Key::parse(LINE).unwrap();
        let secret: Vec<u8> = (0..32).collect();
        for length in 0..140 {
            let value = "x".repeat(length);
            let parts = ["loan", "loan_id", "NL-A", &value];
            assert_eq!(pseudonym(&key, parts), expected(&secret, parts), "{length}");
        }
    }

    #[test]
    fn an_output_key_has_the_patron_behind_the_value() {
        let key = Key::parse(LINE).unwrap();
        let secret: Vec<u8> = (0..32).collect();
        let meaning = Meaning::new("loan", "loan_id");
        let made = |value: &str, patron_id: Option<&str>| {
            let parts = MessageParts {
                meaning: &meaning,
                library: "NL-A",
                value,
                patron_id,
                month: None,
            };
            let made = Pseudonymiser::new(&key).pseudonym_of(&parts);
            String::from_utf8_lossy(&made.text()).into_owned()
        };
        for length in 0..140 {
            let value = "x".repeat(length);
            let parts = ["loan", "loan_id", "NL-A", &value, "p-1"];
            assert_eq!(made(&value, Some("p-1")), expected(&secret, parts));
        }
        assert_ne!(made("1", Some("p-1")), made("1", Some("p-2")));
        assert_ne!(made("1", Some("")), made("1", None));
    }

    #[test]
    fn a_month_comes_last_and_makes_another_pseudonym() {
        let key = Key::parse(LINE).unwrap();
        let secret: Vec<u8> = (0..32).collect();
        let meaning = Meaning::new("patron", "patron_id");
        let made = |month: Option<&str>| {
            let parts = MessageParts {
                meaning: &meaning,
                library: "NL-A",
                value: "p-1",
                patron_id: None,
                month,
            };
            let made = Pseudonymiser::new(&key).pseudonym_of(&parts);
            String::from_utf8_lossy(&made.text()).into_owned()
        };
        let parts = ["patron", "patron_id", "NL-A", "p-1", "2026-03"];
        assert_eq!(made(Some("2026-03")), expected(&secret, parts));
        assert_ne!(made(Some("2026-03")), made(Some("2026-04")));
        assert_ne!(made(Some("2026-03")), made(None));
    }

    proptest::proptest! {
        #[test]
        fn bits_and_characters_are_the_same(bits: u128) {
            let pseudonym = Pseudonym::of_bits(bits);
            assert_eq!(pseudonym.bits(), bits);
            assert_eq!(pseudonym.text(), *URL_SAFE_NO_PAD.encode(bits.to_be_bytes()).as_bytes());
        }
    }

    #[test]
    fn every_part_makes_a_difference() {
        let key = Key::parse(LINE).unwrap();
        let base = ["loan", "loan_id", "NL-A", "1"];
        for place in 0..4 {
            let mut other = base;
            other[place] = "x";
            assert_ne!(pseudonym(&key, base), pseudonym(&key, other));
        }
        assert_ne!(
            pseudonym(&key, base),
            pseudonym(&Key::generate("b").unwrap(), base)
        );
    }

    #[test]
    fn a_key_is_one_line() {
        #[track_caller]
        fn check(line: &str, want: KeyError) {
            assert_eq!(Key::parse(line).map(|key| key.id), Err(want));
        }
        assert_eq!(Key::parse(LINE).unwrap().id(), "k1");
        assert!(Key::parse(&format!("{LINE}=\r\n")).is_ok());
        check("", KeyError::Shape);
        check(
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
            KeyError::Shape,
        );
        check(&format!("{LINE}\n{LINE}"), KeyError::Shape);
        check("K:AAEC", KeyError::Id);
        check("k:AA+/", KeyError::Encoding);
        check(
            "k:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg",
            KeyError::Short,
        );
        assert_eq!(Key::generate("").map(|_| ()), Err(KeyError::Id));
    }

    #[test]
    fn a_new_key_can_be_read_back_and_does_not_print() {
        let key = Key::generate("2026-a").unwrap();
        let line = key.line();
        let text = line.expose_text().unwrap();
        assert_eq!(Key::parse(text).unwrap(), key);
        assert_eq!(format!("{key:?}"), "Key(2026-a, ..)");
        assert!(!format!("{key:?} {line:?}").contains(&text[7..]));
    }

    #[test]
    fn a_ring_tells_all_that_is_wrong_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let settings = KeySettings {
            directory: folder.path().to_owned(),
            ..KeySettings::default()
        };
        std::fs::write(key_file(folder.path(), "good"), LINE).unwrap();
        std::fs::write(key_file(folder.path(), "twin"), LINE.replace("k1", "k2")).unwrap();
        std::fs::write(key_file(folder.path(), "short"), "a:AAEC").unwrap();
        let names = ["good", "twin", "short", "absent"];
        let mistakes = KeyRing::load_only(&settings, names).unwrap_err();
        let shown: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), 3, "{shown:?}");
        assert!(
            shown[0].contains("`twin`") && shown[0].contains("`good`"),
            "{shown:?}"
        );
        assert!(shown[1].contains("fewer than 32 bytes"), "{shown:?}");
        assert!(
            shown[2].contains("; make one with `zeef keys new absent`"),
            "{shown:?}"
        );
        // What is there is never replaced.
        assert!(shown[1].contains("move it away"), "{shown:?}");
        let faults: Vec<_> = mistakes.iter().map(|mistake| mistake.fault).collect();
        use KeyFault::{NoFile, Unset, Unusable};
        assert_eq!(faults, [Unusable, Unusable, NoFile]);
        let variable = SecretSource::Environment("ZEEF_TEST_NOT_SET".to_owned());
        let elsewhere = KeySettings {
            state: Some(variable),
            ..settings.clone()
        };
        let mistakes = KeyRing::load(&elsewhere, []).unwrap_err();
        assert_eq!(mistakes[0].fault, Unset);
        let shown = mistakes[0].to_string();
        assert!(
            shown.contains("ZEEF_TEST_NOT_SET is not set; put a key into it"),
            "{shown}"
        );
        assert!(!shown.contains("keys new"), "{shown}");
        let ring = KeyRing::load_only(&settings, ["good"]).unwrap();
        assert_eq!(ring.key("good").map(Key::id), Some("k1"));
    }

    #[test]
    fn the_state_has_a_key_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let settings = KeySettings {
            directory: folder.path().to_owned(),
            ..KeySettings::default()
        };
        std::fs::write(key_file(folder.path(), "good"), LINE).unwrap();
        let mistakes = KeyRing::load(&settings, ["good"]).unwrap_err();
        let shown = mistakes[0].to_string();
        assert!(
            shown.starts_with("key of the state, `zeef.state`:"),
            "{shown}"
        );
        assert!(shown.contains("zeef keys new zeef.state"), "{shown}");
        let path = folder.path().join("zeef.state.key");
        std::fs::write(&path, LINE).unwrap();
        let twins = KeyRing::load(&settings, ["good"]).unwrap_err();
        assert!(
            twins[0].to_string().contains("the same secret"),
            "{twins:?}"
        );
        let line = Key::generate("s1").unwrap().line();
        std::fs::write(&path, line.expose_text().unwrap()).unwrap();
        let ring = KeyRing::load(&settings, ["good"]).unwrap();
        assert_eq!(ring.state().map(Key::id), Some("s1"));
        let elsewhere = KeySettings {
            state: Some(SecretSource::File(key_file(folder.path(), "good"))),
            ..settings
        };
        let ring = KeyRing::load(&elsewhere, []).unwrap();
        assert_eq!(ring.state().map(Key::id), Some("k1"));
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused() {
        let parse = |bytes: &[u8]| Key::parse(&format!("k1:{}", URL_SAFE_NO_PAD.encode(bytes)));
        for byte in 0..=255 {
            for length in [32, 33, 64, 100] {
                let mut secret = vec![byte; length];
                assert_eq!(parse(&secret), Err(KeyError::Constant));
                secret[length / 2] ^= 1;
                assert!(parse(&secret).is_ok());
            }
            assert_eq!(parse(&[byte; 31]), Err(KeyError::Short));
        }
    }

    #[test]
    fn a_key_that_others_may_read_is_noted_and_one_they_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let settings = KeySettings {
            directory: folder.path().to_owned(),
            ..KeySettings::default()
        };
        let path = key_file(folder.path(), "a");
        std::fs::write(&path, LINE).unwrap();
        for (mode, notes) in [(0o600, 0), (0o640, 1)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(
                KeyRing::load_only(&settings, ["a"]).unwrap().notes.len(),
                notes
            );
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o620)).unwrap();
        let refused = KeyRing::load_only(&settings, ["a"]).unwrap_err();
        assert!(refused[0].text.contains("may write"), "{refused:?}");
        assert!(!refused[0].text.contains("keys new"), "{refused:?}");
    }
}
