//! What a lane stops at until an operator accepts it, and the code that says
//! which finding is accepted.
//!
//! A code is for one finding: another lane, recipient, cause or another order of
//! magnitude makes another code.

use sha2::{Digest, Sha256};

/// How many bytes of the digest a code shows, two letters each.
const CODE_BYTES: usize = 5;

/// The code of a finding that these parts describe, in their order.
#[must_use]
pub fn code(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        // Where one part ends matters.
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part.as_bytes());
    }
    let digest = digest.finalize();
    let bytes = digest.iter().take(CODE_BYTES);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// How many decimal digits a number has: what a code keeps of it.
#[must_use]
pub fn magnitude(number: u64) -> String {
    number.to_string().len().to_string()
}

#[cfg(test)]
mod tests {
    use super::{code, magnitude};

    #[test]
    fn a_code_is_for_one_finding() {
        assert_eq!(code(&["a", "b"]), code(&["a", "b"]));
        for other in [
            &["a", "c"][..],
            &["ab"],
            &["b", "a"],
            &["a", "b", ""],
            &["", "ab"],
        ] {
            assert_ne!(code(&["a", "b"]), code(other), "{other:?}");
        }
        assert_eq!(code(&["a"]).len(), 10);
    }

    #[test]
    fn numbers_of_one_magnitude_have_one_code() {
        assert_eq!(magnitude(101), magnitude(999));
        assert_ne!(magnitude(999), magnitude(1_000));
        assert_eq!(magnitude(0), "1");
    }
}
