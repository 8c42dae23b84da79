//! What SEPA's messages may hold.

use super::numbers::iban_remainder;

/// The most characters of an identification.
pub(crate) const SEPA_ID_MAX: usize = 35;
/// The most characters of a name.
pub(crate) const SEPA_NAME_MAX: usize = 70;
/// The most characters of what is written on a statement.
pub(crate) const SEPA_REMITTANCE_MAX: usize = 140;

/// Returns whether every bank takes this character.
pub(crate) fn is_sepa_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || " /-?:().,'+".contains(c)
}

/// Returns whether a text has 1 to `max` of SEPA's characters, and none at its ends that
/// would be lost.
pub(crate) fn is_sepa_text(text: &str, max: usize) -> bool {
    !text.is_empty() && text.len() <= max && text.trim() == text && text.chars().all(is_sepa_char)
}

/// Returns whether a text is an identification: a SEPA text of at most 35 characters without
/// slashes at its ends or beside each other.
pub(crate) fn is_sepa_id(text: &str) -> bool {
    let has_bad_slash = text.starts_with('/') || text.ends_with('/') || text.contains("//");
    is_sepa_text(text, SEPA_ID_MAX) && !has_bad_slash
}

/// Returns whether a text is a creditor's identifier: country, check digits, business code,
/// national number. The business code does not count for the check digits.
pub(crate) fn is_creditor_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_shaped = (8..=35).contains(&bytes.len())
        && bytes[..2].iter().all(u8::is_ascii_uppercase)
        && bytes[2..4].iter().all(u8::is_ascii_digit)
        && bytes.iter().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    is_shaped && iban_remainder(&[&bytes[..4], &bytes[7..]].concat()) == 1
}

/// Returns whether a text has the form of a BIC.
pub(crate) fn is_bic(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!(bytes.len(), 8 | 11)
        && bytes.iter().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
        && bytes[4..6].iter().all(u8::is_ascii_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sepa_ids_have_its_characters_and_length() {
        for good in ["M-100", "a", "A/B", "0123456789abcdef0123456789abcdef012"] {
            assert!(is_sepa_id(good), "{good}");
        }
        let long = "x".repeat(36);
        for bad in ["", " a", "a ", "/a", "a/", "a//b", "é", "a_b", "a&b", "a\n", long.as_str()] {
            assert!(!is_sepa_id(bad), "{bad}");
        }
    }

    #[test]
    fn creditor_ids_are_checked_without_their_business_code() {
        for good in ["NL00ZZZ000000000000", "DE98ZZZ09999999999", "DE98ABC09999999999"] {
            assert_eq!(is_creditor_id(good), !good.starts_with("NL00"), "{good}");
        }
        for bad in ["", "DE98", "DE97ZZZ09999999999", "de98ZZZ09999999999", "DE98ZZZ0999 999999"] {
            assert!(!is_creditor_id(bad), "{bad}");
        }
    }

    #[test]
    fn bic_has_8_or_11_characters() {
        assert!(is_bic("ABNANL2A") && is_bic("ABNANL2AXXX"));
        for bad in ["ABNANL2", "ABNA222A", "abnanl2a", "ABNANL2AXX", "ABNAN€2A"] {
            assert!(!is_bic(bad), "{bad}");
        }
    }
}
