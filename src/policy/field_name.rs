//! What the name of a field says of it, whatever type or class its catalogue
//! declares: a BSN that is called plain text stays a BSN.
//!
//! Every part of a path is looked at, so that `identity.bsn` and `bsns[].value`
//! are found too.

/// What a field is by its name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Bsn,
    Rijksregisternummer,
    /// A PIN or a password.
    Secret,
}

/// Names that count only as a whole word: they stand in other words too.
const WORDS: &[(&str, Named)] = &[
    ("bsn", Named::Bsn),
    ("rrn", Named::Rijksregisternummer),
    ("insz", Named::Rijksregisternummer),
    ("inss", Named::Rijksregisternummer),
    ("niss", Named::Rijksregisternummer),
    ("pin", Named::Secret),
];

/// What may follow one of [`WORDS`] without a separator.
const ENDINGS: &[&str] = &["", "s", "number", "nummer", "nr", "no", "code", "hash"];

/// Names that count wherever they stand.
const PARTS: &[(&str, Named)] = &[
    ("burgerservicenummer", Named::Bsn),
    ("sofinummer", Named::Bsn),
    ("rijksregister", Named::Rijksregisternummer),
    ("password", Named::Secret),
    ("passwd", Named::Secret),
    ("passphrase", Named::Secret),
    ("wachtwoord", Named::Secret),
];

/// Returns what the field at `path` is by its name; `None` for most.
#[must_use]
pub fn named(path: &str) -> Option<Named> {
    path.split('.').find_map(|part| {
        let words = words(part);
        let glued = words.concat();
        let by_word = |(name, named): &(&str, Named)| {
            let is_name = |word: &String| {
                let ending = word.strip_prefix(name);
                ending.is_some_and(|ending| ENDINGS.contains(&ending))
            };
            words.iter().any(is_name).then_some(*named)
        };
        let by_part = |(name, named): &(&str, Named)| glued.contains(name).then_some(*named);
        WORDS
            .iter()
            .find_map(by_word)
            .or_else(|| PARTS.iter().find_map(by_part))
    })
}

/// Names of a date or year of birth, without separators.
const BIRTHS: &[&str] = &[
    "birthdate",
    "birthday",
    "birthyear",
    "dateofbirth",
    "dayofbirth",
    "yearofbirth",
    "geboortedatum",
    "geboortedag",
    "geboortejaar",
];

/// Returns whether the field at `path` is called a date or year of birth.
///
/// `dated` tells that its values are dates or instants: then `born_on` is one too.
#[must_use]
pub fn is_birth(path: &str, dated: bool) -> bool {
    path.split('.').any(|part| {
        let words = words(part);
        let glued = words.concat();
        let is_word = |names: &[&str]| words.iter().any(|word| names.contains(&word.as_str()));
        BIRTHS.iter().any(|name| glued.contains(name))
            || is_word(&["dob"])
            || (dated && is_word(&["birth", "born", "geboorte", "geboren"]))
    })
}

/// Returns whether the field at `path` is called a point of time, as `updated_at`.
#[must_use]
pub fn is_time(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or(path);
    let words = words(last);
    let last = words.last().map_or("", String::as_str);
    ["at", "time", "timestamp", "datetime"].contains(&last)
}

/// Returns whether the field at `path` is called a card number.
#[must_use]
pub fn is_card_number(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or(path);
    words(last).concat().contains("cardnumber")
}

/// The words of one part of a path, in lower case: `burgerServiceNummer[]` and
/// `burger_service_nummer` have the same.
fn words(part: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for letter in part.chars() {
        let starts = letter.is_uppercase() && was_lower;
        if (starts || !letter.is_alphabetic()) && words.last().is_some_and(|word| !word.is_empty())
        {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphabetic()) {
            word.extend(letter.to_lowercase());
        }
        was_lower = letter.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(want: Option<Named>, paths: &[&str]) {
        for path in paths {
            assert_eq!(named(path), want, "{path}");
        }
    }

    #[test]
    fn a_name_says_what_a_field_is() {
        check(
            Some(Named::Bsn),
            &[
                "bsn",
                "BSN",
                "old_bsn",
                "bsn_2",
                "bsn1",
                "patronBsn",
                "bsnnummer",
                "bsns[]",
                "bsn[]",
                "identity.bsn",
                "bsn.value",
                "numbers[].bsn_nr",
                "burgerservicenummer",
                "burger_service_nummer",
                "burgerServiceNummer",
                "oud_burgerservicenummer",
            ],
        );
        check(
            Some(Named::Rijksregisternummer),
            &[
                "rrn",
                "insz",
                "niss_number",
                "rijksregisternummer",
                "rijksregister_nummer",
                "rijksregisternummers[]",
                "person.insz",
                "nissNumber",
            ],
        );
        check(
            Some(Named::Secret),
            &[
                "pin",
                "pin_hash",
                "pincode",
                "pin_code",
                "pinHash",
                "pins[]",
                "login.password",
                "password_hash",
                "passwordHash",
            ],
        );
        check(
            None,
            &[
                "surname",
                "opinion",
                "pinned_on",
                "shipping",
                "web_snippet",
                "websnippet",
                "current",
                "missing",
                "card_number",
                "item.isbn",
                "mission",
                "pass",
            ],
        );
    }

    #[test]
    fn a_birth_is_known_by_its_name() {
        for path in [
            "birth_date",
            "birthDate",
            "date_of_birth",
            "birth_year",
            "dob",
            "person.geboortedatum",
            "birthday",
        ] {
            assert!(is_birth(path, false), "{path}");
        }
        assert!(is_birth("born_on", true) && is_birth("birth", true));
        for path in ["birth_place", "borne", "due_on"] {
            assert!(!is_birth(path, false), "{path}");
        }
        assert!(!is_birth("loaned_at", true));
    }

    #[test]
    fn times_and_cards_are_known_by_their_names() {
        assert!(is_time("updated_at") && is_time("log.timestamp") && is_time("updatedAt"));
        assert!(!is_time("format") && !is_time("due_on") && !is_time("at.place"));
        assert!(is_card_number("card_number") && is_card_number("previous_card_numbers[]"));
        assert!(!is_card_number("card_kind") && !is_card_number("number"));
    }
}
