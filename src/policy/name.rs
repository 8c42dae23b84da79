//! Name formats, and secrets.
//!
//! A checked name is safe as a topic, file name or metric label.

use std::fmt;

use super::form::TextFormat;

/// Bytes that are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(bytes)
    }

    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Returns the secret if it is UTF-8.
    #[must_use]
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A check and its description.
#[derive(Clone, Copy, Debug)]
pub struct NameFormat {
    pub description: &'static str,
    pub is_valid: fn(&str) -> bool,
}

/// Recipients and lanes: part of file names, topics and labels.
pub const KEBAB_CASE_NAME: NameFormat = NameFormat {
    description: "lower-case letters, digits and single hyphens, beginning with a letter, 64 at most",
    is_valid: is_kebab_case,
};

/// Kinds, output fields, and parts of a path.
pub const SNAKE_CASE_NAME: NameFormat = NameFormat {
    description: "lower-case letters, digits and underscores, beginning with a letter, 64 at most",
    is_valid: is_snake_case,
};

/// Kafka topics; safe as file names.
pub const TOPIC_NAME: NameFormat = NameFormat {
    description: "a topic: letters, digits, `.`, `_` and `-`, neither `.` nor `..`, 200 at most",
    is_valid: is_topic_name,
};

pub const ISIL_CODE: NameFormat = NameFormat {
    description: "an ISIL, as `NL-AmrBKW`",
    is_valid: |name| TextFormat::Isil.matches(name),
};

pub const FIELD_PATH: NameFormat = NameFormat {
    description: "a path: names separated by `.`, and `[]` after the one that is a list",
    is_valid: is_field_path,
};

pub const PSEUDONYM_KEY_ID: NameFormat = NameFormat {
    description: "1 to 32 lower-case letters, digits and hyphens",
    is_valid: is_pseudonym_key_id,
};

pub const ENVIRONMENT_VARIABLE: NameFormat = NameFormat {
    description: "the name of an environment variable: letters, digits and underscores",
    is_valid: is_environment_variable,
};

fn is_kebab_case(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.split('-').all(|part| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        })
}

fn is_snake_case(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn is_topic_name(name: &str) -> bool {
    (1..=200).contains(&name.len())
        && name != "."
        && name != ".."
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// At most one list: a list in a list cannot be released.
fn is_field_path(path: &str) -> bool {
    let lists = path.matches("[]").count();
    lists <= 1 && path.split('.').all(|part| is_snake_case(part.strip_suffix("[]").unwrap_or(part)))
}

fn is_pseudonym_key_id(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_environment_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(form: NameFormat, good: &[&str], bad: &[&str]) {
        for name in good {
            assert!((form.is_valid)(name), "{name} is {}", form.description);
        }
        for name in bad {
            assert!(!(form.is_valid)(name), "{name} is no {}", form.description);
        }
    }

    #[test]
    fn name_format_accepts_only_its_own_names() {
        check(
            KEBAB_CASE_NAME,
            &["a", "ill-library", "f2"],
            &["", "A", "-a", "a-", "a--b", "2a", "a_b", "é"],
        );
        check(SNAKE_CASE_NAME, &["a", "due_on", "f2"], &["", "A", "_a", "2a", "a-b", "a.b"]);
        check(TOPIC_NAME, &["out.a", "A_b-c"], &["", ".", "..", "a/b", "a b", "ë"]);
        check(
            ISIL_CODE,
            &["NL-AmrBKW", "BE-A", "NL-0800070000"],
            &["", "NL", "nl-Amr", "NL-", "NL-123456789012", "ABCDE-1"],
        );
        check(
            FIELD_PATH,
            &["a", "item.title", "items[].due_on", "interests[]"],
            &["", "a.", ".a", "a[].b[]", "a[", "a[]b", "A"],
        );
        check(PSEUDONYM_KEY_ID, &["1", "2026-a"], &["", "A", "a_b"]);
        check(ENVIRONMENT_VARIABLE, &["ZEEF_KEY"], &["", "1A", "A-B"]);
    }

    #[test]
    fn secret_debug_output_is_redacted() {
        let secret = Secret::new(b"zwijgen".to_vec());
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(secret.expose_text(), Some("zwijgen"));
    }
}
