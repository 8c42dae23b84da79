//! The code by which an operator accepts a finding.
//!
//! Another lane, recipient, cause or order of magnitude has another code.

use sha2::{Digest, Sha256};

/// How many bytes of the digest a code shows, two letters each.
const CODE_BYTES: usize = 5;

/// Returns the code of a finding with these parts, in order.
#[must_use]
pub fn finding_code(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        // The length separates the parts.
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part.as_bytes());
    }
    let digest = digest.finalize();
    let bytes = digest.iter().take(CODE_BYTES);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the number of decimal digits: what a code keeps of a number.
#[must_use]
pub fn digit_count(number: u64) -> String {
    number.to_string().len().to_string()
}

#[cfg(test)]
mod tests {
    use super::{digit_count, finding_code};

    #[test]
    fn finding_code_differs_for_other_parts() {
        assert_eq!(finding_code(&["a", "b"]), finding_code(&["a", "b"]));
        for other in [&["a", "c"][..], &["ab"], &["b", "a"], &["a", "b", ""], &["", "ab"]] {
            assert_ne!(finding_code(&["a", "b"]), finding_code(other), "{other:?}");
        }
        assert_eq!(finding_code(&["a"]).len(), 10);
    }

    #[test]
    fn digit_count_is_equal_within_one_magnitude() {
        assert_eq!(digit_count(101), digit_count(999));
        assert_ne!(digit_count(999), digit_count(1_000));
        assert_eq!(digit_count(0), "1");
    }
}
