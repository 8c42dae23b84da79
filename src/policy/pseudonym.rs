//! Pseudonyms: hashes with a key per recipient.
//!
//! Two recipients cannot join their outputs, as their keys differ. Never prints a key.

use std::fmt;
use std::hash::BuildHasher as _;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::block_api::compress256;
use sha2::{Digest, Sha256};
use wide::u32x4;

use super::name::{PSEUDONYM_KEY_ID, Secret};
use crate::json::buffer::copy_bytes;

/// The minimum length of a key's secret.
pub const SECRET_BYTES_MIN: usize = 32;

/// In characters.
pub const PSEUDONYM_LENGTH: usize = 22;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyParseError {
    #[error("not one line `ID:SECRET`")]
    Format,
    #[error("the id before the colon is not 1 to 32 lower-case letters, digits and hyphens")]
    InvalidId,
    #[error("the secret after the colon is not base64url")]
    NotBase64,
    #[error("the secret has fewer than 32 bytes")]
    TooShort,
    #[error("the secret is one byte again and again")]
    RepeatedByte,
    #[error("the system gave no random bytes")]
    NoRandomBytes,
}

/// A key of one recipient, or of the state.
#[derive(Clone, PartialEq, Eq)]
pub struct HmacKey {
    id: String,
    secret: Secret,
}

impl HmacKey {
    /// Returns whether both keys give the same pseudonyms.
    pub(crate) fn has_same_secret(&self, other: &HmacKey) -> bool {
        self.secret == other.secret
    }

    /// Parses `ID:SECRET`, the secret being at least 32 bytes in base64url.
    ///
    /// # Errors
    ///
    /// [`KeyParseError`], which never quotes the line.
    pub fn parse(line: &str) -> Result<HmacKey, KeyParseError> {
        let line = line.trim_end_matches(['\r', '\n']);
        let (id, secret) = line.split_once(':').ok_or(KeyParseError::Format)?;
        if secret.contains(['\n', ':']) {
            return Err(KeyParseError::Format);
        }
        if !(PSEUDONYM_KEY_ID.is_valid)(id) {
            return Err(KeyParseError::InvalidId);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(secret.trim_end_matches('='))
            .map_err(|_| KeyParseError::NotBase64)?;
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(KeyParseError::TooShort);
        }
        if bytes.iter().all(|byte| Some(byte) == bytes.first()) {
            return Err(KeyParseError::RepeatedByte);
        }
        Ok(HmacKey { id: id.to_owned(), secret: Secret::new(bytes) })
    }

    /// Generates a key of 32 random bytes.
    ///
    /// # Errors
    ///
    /// The id is invalid, or the system has no random bytes.
    pub fn generate(id: &str) -> Result<HmacKey, KeyParseError> {
        if !(PSEUDONYM_KEY_ID.is_valid)(id) {
            return Err(KeyParseError::InvalidId);
        }
        let mut bytes = vec![0; SECRET_BYTES_MIN];
        getrandom::fill(&mut bytes).map_err(|_| KeyParseError::NoRandomBytes)?;
        Ok(HmacKey { id: id.to_owned(), secret: Secret::new(bytes) })
    }

    /// Makes a key that no other process has, for hashes that are in its memory alone.
    pub(crate) fn of_process() -> HmacKey {
        let seed = std::hash::RandomState::new();
        let words = (0..SECRET_BYTES_MIN / 8).map(|word| seed.hash_one(word).to_le_bytes());
        HmacKey { id: "process".to_owned(), secret: Secret::new(words.flatten().collect()) }
    }

    /// Makes a key of bytes that were derived from another key.
    ///
    /// # Errors
    ///
    /// An invalid id, or too few bytes.
    pub(crate) fn from_secret(id: &str, bytes: Vec<u8>) -> Result<HmacKey, KeyParseError> {
        if !(PSEUDONYM_KEY_ID.is_valid)(id) {
            return Err(KeyParseError::InvalidId);
        }
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(KeyParseError::TooShort);
        }
        Ok(HmacKey { id: id.to_owned(), secret: Secret::new(bytes) })
    }

    /// The bytes that keys of another kind are derived from.
    pub(crate) fn expose_secret(&self) -> &[u8] {
        self.secret.expose()
    }

    /// The key's name, which is no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the line that [`HmacKey::parse`] reads, without its newline: a secret, to be written
    /// to the key's file only.
    #[must_use]
    pub fn to_line(&self) -> Secret {
        let text = URL_SAFE_NO_PAD.encode(self.secret.expose());
        Secret::new(format!("{}:{text}", self.id).into_bytes())
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, ..)", self.id)
    }
}

/// The prefix of a pseudonym's message: a kind of identifier and its field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PseudonymDomain {
    /// Both, each followed by a zero byte.
    prefix: Box<[u8]>,
}

impl PseudonymDomain {
    /// `field` is the catalogue's path, never an output's name.
    #[must_use]
    pub fn new(kind: &str, field: &str) -> PseudonymDomain {
        let head = [kind.as_bytes(), b"\0", field.as_bytes(), b"\0"].concat();
        PseudonymDomain { prefix: head.into() }
    }
}

/// The message of a pseudonym.
#[derive(Clone, Copy, Debug)]
pub struct PseudonymInput<'a> {
    pub domain: &'a PseudonymDomain,
    pub library: &'a str,
    pub value: &'a str,
    /// Follows the value in an output key, so that a record which moves to another patron gets
    /// another key.
    pub patron_id: Option<&'a str>,
    /// Comes last, as `YYYY-MM`, in a pseudonym that changes monthly.
    pub month: Option<&'a str>,
}

impl<'a> PseudonymInput<'a> {
    /// The message in pieces.
    fn byte_slices(&self) -> [&'a [u8]; 8] {
        let behind = |part: Option<&'a str>| match part {
            Some(part) => [&b"\0"[..], part.as_bytes()],
            None => [&b""[..]; 2],
        };
        let [mark, patron_id] = behind(self.patron_id);
        let [month_mark, month] = behind(self.month);
        [
            &self.domain.prefix,
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

/// The block size of SHA-256.
const BLOCK_BYTES: usize = 64;
/// Longer messages are not shared between recipients.
const BLOCKS_MAX: usize = 2;
/// The space for a message in its last block, which ends with a mark and the length in bits.
const ONE_BLOCK_MESSAGE_MAX: usize = BLOCK_BYTES - 9;
/// The longest message that is shared between recipients.
const PADDED_MESSAGE_MAX: usize = (BLOCKS_MAX - 1) * BLOCK_BYTES + ONE_BLOCK_MESSAGE_MAX;

/// Computes the pseudonyms of one key.
///
/// The two HMAC states that depend on the key alone are precomputed: a message of one block, as
/// most are, costs two compressions, and one of two blocks three.
#[derive(Clone)]
pub struct Pseudonymiser {
    inner_state: [u32; 8],
    outer_state: [u32; 8],
    /// For messages that are not shared.
    hmac: Hmac<Sha256>,
}

impl fmt::Debug for Pseudonymiser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonymiser(..)")
    }
}

impl Pseudonymiser {
    /// Precomputes the states of `key`.
    #[must_use]
    pub fn new(key: &HmacKey) -> Pseudonymiser {
        let secret = key.secret.expose();
        let mut block = [0; BLOCK_BYTES];
        if let Some(start) = block.get_mut(..secret.len()) {
            start.copy_from_slice(secret);
        } else {
            block[..32].copy_from_slice(&Sha256::digest(secret));
        }
        Pseudonymiser {
            inner_state: compress_block(SHA256_INITIAL_STATE, &block.map(|byte| byte ^ 0x36)),
            outer_state: compress_block(SHA256_INITIAL_STATE, &block.map(|byte| byte ^ 0x5c)),
            hmac: Hmac::new(&block.into()),
        }
    }

    /// Returns base64url of the first 16 bytes of HMAC-SHA-256 over kind, field, library and value,
    /// separated by zero bytes.
    #[must_use]
    pub fn pseudonymise(&self, domain: &PseudonymDomain, library: &str, value: &str) -> Pseudonym {
        self.pseudonymise_input(&PseudonymInput {
            domain,
            library,
            value,
            patron_id: None,
            month: None,
        })
    }

    /// Returns the pseudonym of an input, in which the patron's id follows the value if there is
    /// one.
    #[must_use]
    pub fn pseudonymise_input(&self, input: &PseudonymInput<'_>) -> Pseudonym {
        match PaddedMessage::new(input) {
            Some(message) => self.finish_hash(self.begin_hash(&message)),
            None => self.finish_hash(self.begin_long_hash(input)),
        }
    }

    /// Computes the inner hash.
    #[inline]
    #[must_use]
    pub fn begin_hash(&self, message: &PaddedMessage) -> PartialPseudonym {
        let words = match message.has_two_blocks {
            false => compress_block(self.inner_state, &message.blocks[0]),
            true => compress_blocks(self.inner_state, &message.blocks),
        };
        PartialPseudonym { hash_words: words, is_finished: false }
    }

    /// Computes the whole hash of a message that is not shared.
    #[must_use]
    pub fn begin_long_hash(&self, input: &PseudonymInput<'_>) -> PartialPseudonym {
        let mut mac = self.hmac.clone();
        for part in input.byte_slices() {
            mac.update(part);
        }
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(mac.finalize().into_bytes().chunks(4)) {
            *word = bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        }
        PartialPseudonym { hash_words: words, is_finished: true }
    }

    /// Computes the outer hash.
    #[inline(always)]
    #[must_use]
    pub fn finish_hash(&self, partial: PartialPseudonym) -> Pseudonym {
        let [a, b, c, d, ..] = match partial.is_finished {
            true => partial.hash_words,
            false => {
                let mut block = OUTER_BLOCK;
                for (chunk, words) in
                    block.chunks_exact_mut(16).zip(partial.hash_words.chunks_exact(4))
                {
                    let bytes = to_big_endian(words.first_chunk().copied().unwrap_or_default());
                    chunk.copy_from_slice(&bytes);
                }
                compress_block(self.outer_state, &block)
            }
        };
        let [a, b, c, d] = [u64::from(a), u64::from(b), u64::from(c), u64::from(d)];
        Pseudonym::encode_halves((a << 32) | b, (c << 32) | d)
    }
}

/// A pseudonym between [`Pseudonymiser::begin_hash`] and [`Pseudonymiser::finish_hash`].
#[derive(Clone, Copy, Debug)]
pub struct PartialPseudonym {
    /// The inner hash, or the whole one of a long message.
    hash_words: [u32; 8],
    is_finished: bool,
}

/// Converts in one piece of 16 bytes, as a block is read in pieces of this size right after.
#[inline]
fn to_big_endian(words: [u32; 4]) -> [u8; 16] {
    let words = u32x4::new(words);
    let low = u32x4::splat(0x00ff_00ff);
    let pairs: u32x4 = ((words & low) << 8) | ((words >> 8) & low);
    let words: u32x4 = (pairs << 16) | (pairs >> 16);
    let mut bytes = [0; 16];
    for (chunk, word) in bytes.chunks_exact_mut(4).zip(words.to_array()) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// A message padded to one or two blocks, shared by the keys of all recipients; the key's own block
/// precedes it.
#[derive(Clone, Debug)]
pub struct PaddedMessage {
    blocks: [[u8; BLOCK_BYTES]; BLOCKS_MAX],
    has_two_blocks: bool,
}

impl Default for PaddedMessage {
    fn default() -> Self {
        PaddedMessage { blocks: [padding_block(0), [0; BLOCK_BYTES]], has_two_blocks: false }
    }
}

impl PaddedMessage {
    /// Returns `None` if the message is too long.
    #[must_use]
    pub fn new(input: &PseudonymInput<'_>) -> Option<PaddedMessage> {
        let mut message = PaddedMessage::default();
        message.fill(input)?;
        Some(message)
    }

    /// Becomes the message of `input`; `None` if that is too long.
    #[inline]
    pub fn fill(&mut self, input: &PseudonymInput<'_>) -> Option<()> {
        let PseudonymInput { domain, library, value, patron_id, month } = *input;
        self.blocks = [[0; BLOCK_BYTES]; BLOCKS_MAX];
        let blocks = self.blocks.as_flattened_mut();
        // The zero bytes between the parts are there already.
        let at = copy_part(blocks, 0, &domain.prefix)?;
        let at = copy_part(blocks, at, library.as_bytes())?;
        let mut length = copy_part(blocks, at + 1, value.as_bytes())?;
        for part in [patron_id, month].into_iter().flatten() {
            length = copy_part(blocks, length + 1, part.as_bytes())?;
        }
        if length > PADDED_MESSAGE_MAX {
            return None;
        }
        *blocks.get_mut(length)? = PADDING_BIT;
        self.has_two_blocks = length > ONE_BLOCK_MESSAGE_MAX;
        let last = &mut self.blocks[usize::from(self.has_two_blocks)];
        [last[BLOCK_BYTES - 2], last[BLOCK_BYTES - 1]] = message_bit_length(length);
        Some(())
    }
}

/// Copies a part into blocks and returns its end.
#[inline(always)]
fn copy_part(blocks: &mut [u8], at: usize, part: &[u8]) -> Option<usize> {
    let end = at + part.len();
    copy_bytes(blocks.get_mut(at..end)?, part);
    Some(end)
}

/// Follows the last byte of a message.
const PADDING_BIT: u8 = 0x80;

/// Returns the number of bits of a message of `length` bytes plus the key's block; less than four
/// blocks, so two bytes suffice.
const fn message_bit_length(length: usize) -> [u8; 2] {
    let bits = 8 * (BLOCK_BYTES + length) as u16;
    bits.to_be_bytes()
}

/// Returns the padding of a message whose last `length` bytes are in this block: a one bit, zeros,
/// and the number of bits including the key's block.
const fn padding_block(length: usize) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    if length < BLOCK_BYTES {
        block[length] = PADDING_BIT;
    }
    [block[BLOCK_BYTES - 2], block[BLOCK_BYTES - 1]] = message_bit_length(length);
    block
}

/// The padding of the outer message.
const OUTER_BLOCK: [u8; BLOCK_BYTES] = padding_block(32);

/// The initial state of SHA-256 (FIPS 180-4, 5.3.3).
const SHA256_INITIAL_STATE: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

fn compress_block(mut state: [u32; 8], block: &[u8; BLOCK_BYTES]) -> [u32; 8] {
    compress256(&mut state, std::slice::from_ref(block));
    state
}

#[inline(never)]
fn compress_blocks(mut state: [u32; 8], blocks: &[[u8; BLOCK_BYTES]]) -> [u32; 8] {
    compress256(&mut state, blocks);
    state
}

const BASE64URL_ALPHABET: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Two characters of base64url for each 12 bits.
static BASE64URL_PAIRS: [[u8; 2]; 1 << 12] = build_base64url_pairs();

/// The six bits of each character.
static BASE64URL_VALUES: [u8; 256] = build_base64url_values();

const fn build_base64url_values() -> [u8; 256] {
    let mut sixes = [0; 256];
    let mut six = 0;
    while six < BASE64URL_ALPHABET.len() {
        sixes[BASE64URL_ALPHABET[six] as usize] = six as u8;
        six += 1;
    }
    sixes
}

const fn build_base64url_pairs() -> [[u8; 2]; 1 << 12] {
    let mut pairs = [[0; 2]; 1 << 12];
    let mut bits = 0;
    while bits < pairs.len() {
        pairs[bits] = [BASE64URL_ALPHABET[bits >> 6], BASE64URL_ALPHABET[bits & 63]];
        bits += 1;
    }
    pairs
}

/// The characters of one pseudonym, eight to a word with the first lowest, then two zero bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pseudonym([u64; 3]);

/// A pseudonym with quotes fills three words.
const _: () = assert!(PSEUDONYM_LENGTH + 2 == 24);

impl Pseudonym {
    /// Encodes 128 bits in base64url; the last character holds two of them.
    #[inline]
    fn encode_halves(high: u64, low: u64) -> Pseudonym {
        // Four characters for 24 bits.
        let four = |bits: u64| {
            let pair =
                |bits: u64| u64::from(u16::from_le_bytes(BASE64URL_PAIRS[(bits & 0xfff) as usize]));
            pair(bits >> 12) | (pair(bits) << 16)
        };
        let [a, b] = [four(high >> 40), four(high >> 16)];
        let [c, d] = [four((high << 8) | (low >> 56)), four(low >> 32)];
        // The last four bits are not the pseudonym's.
        let [e, f] = [four(low >> 8), four(low << 16)];
        let third = (e | (f << 32)) & (u64::MAX >> 16);
        Pseudonym([a | (b << 32), c | (d << 32), third])
    }

    /// Returns the characters with quotes around them.
    #[inline]
    #[must_use]
    pub fn to_quoted_words(&self) -> [u64; 3] {
        const QUOTE: u64 = b'"' as u64;
        let [first, second, third] = self.0;
        [
            QUOTE | (first << 8),
            (first >> 56) | (second << 8),
            (second >> 56) | (third << 8) | (QUOTE << 56),
        ]
    }

    /// Returns the characters and two zero bytes.
    #[inline]
    #[must_use]
    pub fn to_words(&self) -> [u64; 3] {
        self.0
    }

    /// Returns the pseudonym of these 128 bits.
    #[must_use]
    pub fn from_bits(bits: u128) -> Pseudonym {
        #[allow(clippy::cast_possible_truncation, reason = "the lower half is meant")]
        let low = bits as u64;
        Pseudonym::encode_halves((bits >> 64) as u64, low)
    }

    /// Decodes the 128 bits of a pseudonym's characters; `None` if these are none.
    #[must_use]
    pub fn parse_bits(text: &[u8]) -> Option<u128> {
        let mut bytes = [0; 16];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (length == bytes.len()).then(|| u128::from_be_bytes(bytes))
    }

    /// Returns the 128 bits of the characters.
    #[must_use]
    pub fn to_bits(&self) -> u128 {
        let six = |character: u8| u128::from(BASE64URL_VALUES[usize::from(character)]);
        let [first @ .., last] = self.to_ascii();
        let bits = first.iter().fold(0, |bits, character| (bits << 6) | six(*character));
        // The last character has two bits.
        (bits << 2) | (six(last) >> 4)
    }

    /// Returns the 128 bits in lower-case hexadecimal.
    #[must_use]
    pub fn to_hexadecimal(&self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let bytes = self.to_bits().to_be_bytes();
        std::array::from_fn(|index| {
            let byte = bytes[index / 2];
            DIGITS[usize::from(if index % 2 == 0 { byte >> 4 } else { byte & 15 })]
        })
    }

    #[must_use]
    pub fn to_ascii(&self) -> [u8; PSEUDONYM_LENGTH] {
        let mut text = [0; 24];
        for (chunk, word) in text.chunks_exact_mut(8).zip(self.to_words()) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        let mut shown = [0; PSEUDONYM_LENGTH];
        shown.copy_from_slice(&text[..PSEUDONYM_LENGTH]);
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID_KEY_LINE: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    fn pseudonymise_text(key: &HmacKey, parts: [&str; 4]) -> String {
        let [kind, field, library, value] = parts;
        let meaning = PseudonymDomain::new(kind, field);
        let pseudonym = Pseudonymiser::new(key).pseudonymise(&meaning, library, value);
        String::from_utf8_lossy(&pseudonym.to_ascii()).into_owned()
    }

    /// The definition, written out.
    fn reference_pseudonym<const N: usize>(secret: &[u8], parts: [&str; N]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(parts.join("\0").as_bytes());
        URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..16])
    }

    #[test]
    fn pseudonym_equals_hmac_of_its_parts() {
        let parts = ["patron", "patron_id", "NL-AmrBKW", "P-1"];
        for length in [32, 63, 64, 65, 200] {
            let secret: Vec<u8> = (0..length).collect();
            let line = format!("a:{}", URL_SAFE_NO_PAD.encode(&secret));
            let key = HmacKey::parse(&line).unwrap();
            assert_eq!(pseudonymise_text(&key, parts), reference_pseudonym(&secret, parts));
        }
        let key = HmacKey::parse(VALID_KEY_LINE).unwrap();
        // Computed with Python's hmac and base64.
        assert_eq!(pseudonymise_text(&key, parts), "fO7YVJRFVIBpNkQKWiG2Fg");
    }

    #[test]
    fn pseudonym_of_a_value_of_any_length_equals_hmac() {
        let key = HmacKey::parse(VALID_KEY_LINE).unwrap();
        let secret: Vec<u8> = (0..32).collect();
        for length in 0..140 {
            let value = "x".repeat(length);
            let parts = ["loan", "loan_id", "NL-A", &value];
            assert_eq!(
                pseudonymise_text(&key, parts),
                reference_pseudonym(&secret, parts),
                "{length}"
            );
        }
    }

    #[test]
    fn output_key_appends_the_patron_id_to_the_value() {
        let key = HmacKey::parse(VALID_KEY_LINE).unwrap();
        let secret: Vec<u8> = (0..32).collect();
        let meaning = PseudonymDomain::new("loan", "loan_id");
        let pseudonymise = |value: &str, patron_id: Option<&str>| {
            let parts =
                PseudonymInput { domain: &meaning, library: "NL-A", value, patron_id, month: None };
            let pseudonymise = Pseudonymiser::new(&key).pseudonymise_input(&parts);
            String::from_utf8_lossy(&pseudonymise.to_ascii()).into_owned()
        };
        for length in 0..140 {
            let value = "x".repeat(length);
            let parts = ["loan", "loan_id", "NL-A", &value, "p-1"];
            assert_eq!(pseudonymise(&value, Some("p-1")), reference_pseudonym(&secret, parts));
        }
        assert_ne!(pseudonymise("1", Some("p-1")), pseudonymise("1", Some("p-2")));
        assert_ne!(pseudonymise("1", Some("")), pseudonymise("1", None));
    }

    #[test]
    fn f19_pseudonym_month_comes_last_and_changes_the_pseudonym() {
        let key = HmacKey::parse(VALID_KEY_LINE).unwrap();
        let secret: Vec<u8> = (0..32).collect();
        let meaning = PseudonymDomain::new("patron", "patron_id");
        let pseudonymise = |month: Option<&str>| {
            let parts = PseudonymInput {
                domain: &meaning,
                library: "NL-A",
                value: "p-1",
                patron_id: None,
                month,
            };
            let pseudonymise = Pseudonymiser::new(&key).pseudonymise_input(&parts);
            String::from_utf8_lossy(&pseudonymise.to_ascii()).into_owned()
        };
        let parts = ["patron", "patron_id", "NL-A", "p-1", "2026-03"];
        assert_eq!(pseudonymise(Some("2026-03")), reference_pseudonym(&secret, parts));
        assert_ne!(pseudonymise(Some("2026-03")), pseudonymise(Some("2026-04")));
        assert_ne!(pseudonymise(Some("2026-03")), pseudonymise(None));
    }

    proptest::proptest! {
        #[test]
        fn pseudonym_in_hexadecimal_has_the_same_bits(bits: u128) {
            let digits = Pseudonym::from_bits(bits).to_hexadecimal();
            assert_eq!(std::str::from_utf8(&digits).unwrap(), format!("{bits:032x}"));
        }

        #[test]
        fn pseudonym_bits_and_text_round_trip(bits: u128) {
            let pseudonym = Pseudonym::from_bits(bits);
            assert_eq!(pseudonym.to_bits(), bits);
            assert_eq!(pseudonym.to_ascii(), *URL_SAFE_NO_PAD.encode(bits.to_be_bytes()).as_bytes());
        }
    }

    #[test]
    fn pseudonym_differs_by_every_part_and_by_key() {
        let key = HmacKey::parse(VALID_KEY_LINE).unwrap();
        let base = ["loan", "loan_id", "NL-A", "1"];
        for index in 0..4 {
            let mut other = base;
            other[index] = "x";
            assert_ne!(pseudonymise_text(&key, base), pseudonymise_text(&key, other));
        }
        assert_ne!(
            pseudonymise_text(&key, base),
            pseudonymise_text(&HmacKey::generate("b").unwrap(), base)
        );
    }

    #[test]
    fn hmac_key_parse_accepts_exactly_one_line() {
        #[track_caller]
        fn check(line: &str, want: KeyParseError) {
            assert_eq!(HmacKey::parse(line).map(|key| key.id), Err(want));
        }
        assert_eq!(HmacKey::parse(VALID_KEY_LINE).unwrap().id(), "k1");
        assert!(HmacKey::parse(&format!("{VALID_KEY_LINE}=\r\n")).is_ok());
        check("", KeyParseError::Format);
        check("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", KeyParseError::Format);
        check(&format!("{VALID_KEY_LINE}\n{VALID_KEY_LINE}"), KeyParseError::Format);
        check("K:AAEC", KeyParseError::InvalidId);
        check("k:AA+/", KeyParseError::NotBase64);
        check("k:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg", KeyParseError::TooShort);
        assert_eq!(HmacKey::generate("").map(|_| ()), Err(KeyParseError::InvalidId));
    }

    #[test]
    fn generated_hmac_key_round_trips_and_debug_hides_its_secret() {
        let key = HmacKey::generate("2026-a").unwrap();
        let line = key.to_line();
        let text = line.expose_text().unwrap();
        assert_eq!(HmacKey::parse(text).unwrap(), key);
        assert_eq!(format!("{key:?}"), "Key(2026-a, ..)");
        assert!(!format!("{key:?} {line:?}").contains(&text[7..]));
    }

    #[test]
    fn hmac_key_parse_refuses_short_or_repeated_byte_secrets() {
        let parse = |bytes: &[u8]| HmacKey::parse(&format!("k1:{}", URL_SAFE_NO_PAD.encode(bytes)));
        for byte in 0..=255 {
            for length in [32, 33, 64, 100] {
                let mut secret = vec![byte; length];
                assert_eq!(parse(&secret), Err(KeyParseError::RepeatedByte));
                secret[length / 2] ^= 1;
                assert!(parse(&secret).is_ok());
            }
            assert_eq!(parse(&[byte; 31]), Err(KeyParseError::TooShort));
        }
    }
}
