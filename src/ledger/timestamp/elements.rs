//! Elements of DER, of which the messages of RFC 3161 and RFC 5652 are made.

use der::asn1::AnyRef;
use der::{Decode as _, Encode as _, Reader as _, SliceReader, Tag, TagNumber};

/// Reads one element that has all of `bytes`; `None` if it is no DER.
pub(super) fn parse(bytes: &[u8]) -> Option<AnyRef<'_>> {
    AnyRef::from_der(bytes).ok()
}

/// Returns the elements of one that has others in it; `None` if it has another tag.
pub(super) fn parts<'a>(element: AnyRef<'a>, tag: Tag) -> Option<Vec<AnyRef<'a>>> {
    if der::Tagged::tag(&element) != tag {
        return None;
    }
    let mut reader = SliceReader::new(element.value()).ok()?;
    let mut parts = Vec::new();
    while !reader.is_finished() {
        parts.push(AnyRef::decode(&mut reader).ok()?);
    }
    Some(parts)
}

/// Returns the bytes of an element; `None` if it has another tag.
pub(super) fn value<'a>(element: &AnyRef<'a>, tag: Tag) -> Option<&'a [u8]> {
    (der::Tagged::tag(element) == tag).then(|| element.value())
}

/// A tag `[NUMBER]` of what has others in it.
pub(super) fn context(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: true, number: TagNumber(number) }
}

/// Writes an element of a tag and of its parts.
pub(super) fn build(tag: Tag, parts: &[&[u8]]) -> Vec<u8> {
    let bytes = parts.concat();
    // Shorter than what a length can say.
    AnyRef::new(tag, &bytes).and_then(|element| element.to_der()).unwrap_or_default()
}
