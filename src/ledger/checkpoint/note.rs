//! Checkpoints as C2SP has them: `tlog-checkpoint` in a `signed-note`, with Ed25519.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use super::tree::NodeHash;
use crate::ledger::block::hex;
use crate::policy::pseudonym::HmacKey;

/// The type of an Ed25519 signature in a signed note.
const ED25519: u8 = 1;
/// Starts a line with a signature: an em dash and a space.
const SIGNATURE_PREFIX: &str = "\u{2014} ";
const KEY_HASH_BYTES: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("its secret is not one of 32 bytes")]
    SecretLength,
    #[error("it is no verifier key: expected NAME+HASH+KEY")]
    VerifierKey,
    #[error("it is no checkpoint")]
    Format,
    #[error("it is of another ledger")]
    OtherOrigin,
    #[error("no known key signed it")]
    NotSigned,
}

/// The root of a tree of a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which ledger it is of; also the name of the key.
    pub origin: String,
    pub size: u64,
    pub root: NodeHash,
}

impl Checkpoint {
    fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    fn parse(text: &str) -> Option<Checkpoint> {
        let mut lines = text.lines();
        let checkpoint = Checkpoint {
            origin: lines.next()?.to_owned(),
            size: lines.next()?.parse().ok()?,
            root: STANDARD.decode(lines.next()?).ok()?.try_into().ok()?,
        };
        (checkpoint.to_text() == text).then_some(checkpoint)
    }
}

/// Signs checkpoints.
pub struct CheckpointSigner {
    origin: String,
    key: SigningKey,
}

impl CheckpointSigner {
    /// Takes the key whose secret is the seed of an Ed25519 key.
    ///
    /// # Errors
    ///
    /// [`NoteError::SecretLength`]
    pub fn new(origin: &str, key: &HmacKey) -> Result<CheckpointSigner, NoteError> {
        let seed: &[u8; 32] =
            key.expose_secret().try_into().map_err(|_| NoteError::SecretLength)?;
        Ok(CheckpointSigner { origin: origin.to_owned(), key: SigningKey::from_bytes(seed) })
    }

    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns what verifies its signatures.
    #[must_use]
    pub fn verifier(&self) -> CheckpointVerifierKey {
        CheckpointVerifierKey { name: self.origin.clone(), key: self.key.verifying_key() }
    }

    /// Returns a checkpoint as a signed note.
    #[must_use]
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let text = checkpoint.to_text();
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        let signed = [&self.verifier().hash()[..], &signature].concat();
        format!("{text}\n{SIGNATURE_PREFIX}{} {}\n", self.origin, STANDARD.encode(signed))
    }
}

/// Verifies checkpoints; no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointVerifierKey {
    name: String,
    key: VerifyingKey,
}

impl CheckpointVerifierKey {
    /// Parses `NAME+HASH+KEY`, as signed notes have it.
    ///
    /// # Errors
    ///
    /// [`NoteError::VerifierKey`]
    pub fn parse(text: &str) -> Result<CheckpointVerifierKey, NoteError> {
        let parse = || {
            let (name, rest) = text.trim().split_once('+')?;
            let (hash, key) = rest.split_once('+')?;
            let bytes = STANDARD.decode(key).ok()?;
            let (kind, bytes) = bytes.split_first()?;
            let key = VerifyingKey::from_bytes(bytes.try_into().ok()?).ok()?;
            let found = CheckpointVerifierKey { name: name.to_owned(), key };
            (*kind == ED25519 && hex(&found.hash()) == hash).then_some(found)
        };
        parse().ok_or(NoteError::VerifierKey)
    }

    /// Returns what [`parse`](Self::parse) reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        let key = [&[ED25519][..], self.key.as_bytes()].concat();
        format!("{}+{}+{}", self.name, hex(&self.hash()), STANDARD.encode(key))
    }

    fn hash(&self) -> [u8; KEY_HASH_BYTES] {
        let mut hasher = Sha256::new();
        hasher.update(self.name.as_bytes());
        hasher.update([b'\n', ED25519]);
        hasher.update(self.key.as_bytes());
        let digest: [u8; 32] = hasher.finalize().into();
        [digest[0], digest[1], digest[2], digest[3]]
    }

    fn has_signed(&self, text: &str, signature: &str) -> bool {
        let verify = || {
            let (name, signed) = signature.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
            let signed = STANDARD.decode(signed).ok()?;
            let (hash, signature) = signed.split_at_checked(KEY_HASH_BYTES)?;
            let signature = Signature::from_slice(signature).ok()?;
            let is_key = name == self.name && hash == self.hash();
            Some(is_key && self.key.verify_strict(text.as_bytes(), &signature).is_ok())
        };
        verify().unwrap_or(false)
    }
}

/// Reads a signed note, once one of `keys` has signed it.
///
/// # Errors
///
/// [`NoteError`]
pub fn open_note(
    note: &str,
    origin: &str,
    keys: &[CheckpointVerifierKey],
) -> Result<Checkpoint, NoteError> {
    let (text, signatures) = note.split_once("\n\n").ok_or(NoteError::Format)?;
    let text = format!("{text}\n");
    let checkpoint = Checkpoint::parse(&text).ok_or(NoteError::Format)?;
    if checkpoint.origin != origin {
        return Err(NoteError::OtherOrigin);
    }
    if signatures.strip_suffix('\n').is_none_or(str::is_empty) {
        return Err(NoteError::Format);
    }
    let mut lines = signatures.lines();
    let is_signed = lines.any(|line| keys.iter().any(|key| key.has_signed(&text, line)));
    if is_signed { Ok(checkpoint) } else { Err(NoteError::NotSigned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "example.org/zeef";

    fn signer(byte: u8) -> CheckpointSigner {
        let secret = (0..32).map(|one| one ^ byte).collect();
        let key = HmacKey::from_secret("k1", secret).unwrap();
        CheckpointSigner::new(ORIGIN, &key).unwrap()
    }

    #[test]
    fn note_is_read_under_its_key_alone_and_no_byte_of_it_may_change() {
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: 7, root: [9; 32] };
        let note = signer(1).sign(&checkpoint);
        let keys = [signer(1).verifier()];
        assert_eq!(open_note(&note, ORIGIN, &keys), Ok(checkpoint));
        assert_eq!(open_note(&note, ORIGIN, &[signer(2).verifier()]), Err(NoteError::NotSigned));
        assert_eq!(open_note(&note, "example.org/b", &keys), Err(NoteError::OtherOrigin));
        for at in 0..note.len() {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(changed) = String::from_utf8(bytes) {
                assert!(open_note(&changed, ORIGIN, &keys).is_err(), "byte {at} of {note}");
            }
        }
    }

    #[test]
    fn verifier_key_is_read_as_it_is_written() {
        let key = signer(3).verifier();
        let text = key.to_text();
        assert_eq!(CheckpointVerifierKey::parse(&text), Ok(key));
        for wrong in ["", "a+b", &text.replacen("example", "elsewhere", 1), &text[..text.len() - 4]]
        {
            assert_eq!(CheckpointVerifierKey::parse(wrong), Err(NoteError::VerifierKey), "{wrong}");
        }
        // The example of C2SP's signed-note.
        let known = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        assert_eq!(CheckpointVerifierKey::parse(known).unwrap().to_text(), known);
    }
}
