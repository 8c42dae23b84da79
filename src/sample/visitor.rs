//! Who comes to the library and is no member: most of those who are referred or take part.

use super::patron_identity::PatronIdentity;

/// Returns whether a person's record of this number is one of a visitor, without a patron id.
pub(super) fn is_visitor(person: &PatronIdentity<'_>, number: u64) -> bool {
    (person.index + number) % 5 < 3
}
