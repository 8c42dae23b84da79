//! Names with a form, and secrets.
//!
//! A name that was checked here is safe as a topic, a file name or a metric
//! label. A [`Secret`] never shows what it holds.

use std::fmt;

/// Bytes that are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(bytes)
    }

    /// What is held, for whoever has to use it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// What is held as text, where it is UTF-8.
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

/// A form of names: what fits it, and how it is told.
#[derive(Clone, Copy, Debug)]
pub struct NameForm {
    pub expected: &'static str,
    pub fits: fn(&str) -> bool,
}

/// A recipient or a lane: it stands in file names, topics and labels.
pub const KEBAB: NameForm = NameForm {
    expected: "lower-case letters, digits and single hyphens, beginning with a letter, 64 at most",
    fits: is_kebab,
};

/// A kind of record, an output field, or a part of a path.
pub const SNAKE: NameForm = NameForm {
    expected: "lower-case letters, digits and underscores, beginning with a letter, 64 at most",
    fits: is_snake,
};

/// A Kafka topic, also safe as the name of a file.
pub const TOPIC: NameForm = NameForm {
    expected: "a topic: letters, digits, `.`, `_` and `-`, neither `.` nor `..`, 200 at most",
    fits: is_topic,
};

/// A library's ISIL.
pub const ISIL: NameForm = NameForm {
    expected: "an ISIL, as `NL-AmrBKW`",
    fits: is_isil,
};

/// A field's path in the catalogue.
pub const PATH: NameForm = NameForm {
    expected: "a path: names separated by `.`, and `[]` after the one that is a list",
    fits: is_path,
};

/// The id of a pseudonym key.
pub const KEY_ID: NameForm = NameForm {
    expected: "1 to 32 lower-case letters, digits and hyphens",
    fits: is_key_id,
};

/// The name of an environment variable.
pub const ENVIRONMENT: NameForm = NameForm {
    expected: "the name of an environment variable: letters, digits and underscores",
    fits: is_environment,
};

fn is_kebab(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.split('-').all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        })
}

fn is_snake(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn is_topic(name: &str) -> bool {
    (1..=200).contains(&name.len())
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn is_isil(name: &str) -> bool {
    let Some((country, library)) = name.split_once('-') else {
        return false;
    };
    (1..=4).contains(&country.len())
        && country.bytes().all(|byte| byte.is_ascii_uppercase())
        && (1..=11).contains(&library.len())
        && library
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/:-".contains(&byte))
}

/// At most one list: a list in a list has no place in an output.
fn is_path(path: &str) -> bool {
    let lists = path.matches("[]").count();
    lists <= 1
        && path
            .split('.')
            .all(|part| is_snake(part.strip_suffix("[]").unwrap_or(part)))
}

fn is_key_id(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_environment(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(form: NameForm, good: &[&str], bad: &[&str]) {
        for name in good {
            assert!((form.fits)(name), "{name} is {}", form.expected);
        }
        for name in bad {
            assert!(!(form.fits)(name), "{name} is no {}", form.expected);
        }
    }

    #[test]
    fn each_form_takes_its_own() {
        check(
            KEBAB,
            &["a", "ill-library", "f2"],
            &["", "A", "-a", "a-", "a--b", "2a", "a_b", "é"],
        );
        check(
            SNAKE,
            &["a", "due_on", "f2"],
            &["", "A", "_a", "2a", "a-b", "a.b"],
        );
        check(
            TOPIC,
            &["out.a", "A_b-c"],
            &["", ".", "..", "a/b", "a b", "ë"],
        );
        check(
            ISIL,
            &["NL-AmrBKW", "BE-A", "NL-0800070000"],
            &["", "NL", "nl-Amr", "NL-", "NL-123456789012", "ABCDE-1"],
        );
        check(
            PATH,
            &["a", "item.title", "items[].due_on", "interests[]"],
            &["", "a.", ".a", "a[].b[]", "a[", "a[]b", "A"],
        );
        check(KEY_ID, &["1", "2026-a"], &["", "A", "a_b"]);
        check(ENVIRONMENT, &["ZEEF_KEY"], &["", "1A", "A-B"]);
    }

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::new(b"zwijgen".to_vec());
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(secret.expose_text(), Some("zwijgen"));
    }
}
