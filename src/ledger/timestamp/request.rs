//! Requests: the digest of a checkpoint's note, and a number that the answer repeats.

use der::asn1::ObjectIdentifier;
use der::{Encode as _, Tag};

use super::NoteDigest;
use super::elements::{build, parse, parts, value};

/// SHA-256 as an algorithm.
pub(super) const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const VERSION: &[u8] = &[1];
const TRUE: &[u8] = &[0xff];
const NONCE_BYTES: usize = 8;

/// A `TimeStampReq` that asks for the authority's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimestampRequest {
    pub digest: NoteDigest,
    nonce: [u8; NONCE_BYTES],
}

impl TimestampRequest {
    /// Makes a request with a nonce of `random` bytes.
    #[must_use]
    pub fn new(digest: NoteDigest, random: [u8; NONCE_BYTES]) -> TimestampRequest {
        let mut nonce = random;
        // A positive number whose first byte is never 0, so that it has one form.
        nonce[0] = nonce[0] & 0x3f | 0x40;
        TimestampRequest { digest, nonce }
    }

    /// The bytes of the nonce as a number.
    #[must_use]
    pub fn nonce(&self) -> &[u8] {
        &self.nonce
    }

    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        let algorithm = SHA256.to_der().unwrap_or_default();
        let null = build(Tag::Null, &[]);
        let algorithm = build(Tag::Sequence, &[&algorithm, &null]);
        let digest = build(Tag::OctetString, &[&self.digest]);
        let imprint = build(Tag::Sequence, &[&algorithm, &digest]);
        let version = build(Tag::Integer, &[VERSION]);
        let nonce = build(Tag::Integer, &[&self.nonce]);
        let wants_certificate = build(Tag::Boolean, &[TRUE]);
        build(Tag::Sequence, &[&version, &imprint, &nonce, &wants_certificate])
    }

    /// Reads what [`to_der`](Self::to_der) writes; `None` if it is anything else.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<TimestampRequest> {
        let [_, imprint, nonce, _] = parts(parse(bytes)?, Tag::Sequence)?.try_into().ok()?;
        let [_, digest] = parts(imprint, Tag::Sequence)?.try_into().ok()?;
        let request = TimestampRequest {
            digest: value(&digest, Tag::OctetString)?.try_into().ok()?,
            nonce: value(&nonce, Tag::Integer)?.try_into().ok()?,
        };
        (request.to_der() == bytes).then_some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_is_read_as_it_is_written_and_with_no_other_byte() {
        for first in [0, 1, 0x3f, 0x40, 0x80, 0xff] {
            let request = TimestampRequest::new([7; 32], [first; 8]);
            assert!((0x40..0x80).contains(&request.nonce()[0]));
            let bytes = request.to_der();
            assert_eq!(TimestampRequest::parse(&bytes), Some(request.clone()));
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                assert_ne!(TimestampRequest::parse(&changed), Some(request.clone()), "byte {at}");
            }
            assert_eq!(TimestampRequest::parse(&bytes[..bytes.len() - 1]), None);
            assert_eq!(TimestampRequest::parse(&[&bytes[..], &[0]].concat()), None);
        }
    }
}
