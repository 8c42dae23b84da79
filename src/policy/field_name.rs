//! What a field's name says of it, whatever its declared type or class: a BSN declared as plain
//! text is still a BSN.
//!
//! Every part of a path counts, as in `identity.bsn` and `bsns[].value`.

/// What a field is by name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SensitiveName {
    Bsn,
    Rijksregisternummer,
    /// A PIN or a password.
    Secret,
}

/// Matched as whole words only, as other words contain them.
const WHOLE_WORD_NAMES: &[(&str, SensitiveName)] = &[
    ("bsn", SensitiveName::Bsn),
    ("sofi", SensitiveName::Bsn),
    ("rrn", SensitiveName::Rijksregisternummer),
    ("insz", SensitiveName::Rijksregisternummer),
    ("inss", SensitiveName::Rijksregisternummer),
    ("niss", SensitiveName::Rijksregisternummer),
    ("pin", SensitiveName::Secret),
];

/// Suffixes of [`WHOLE_WORD_NAMES`] without a separator.
const WHOLE_WORD_SUFFIXES: &[&str] = &["", "s", "number", "nummer", "nr", "no", "code", "hash"];

/// Matched at the end of a word too, as in `klantbsn`: no other word ends so.
const WORD_ENDINGS: &[(&str, SensitiveName)] = &[("bsn", SensitiveName::Bsn)];

/// Matched anywhere in a name.
const SUBSTRING_NAMES: &[(&str, SensitiveName)] = &[
    ("burgerservice", SensitiveName::Bsn),
    ("citizenservice", SensitiveName::Bsn),
    ("rijksreg", SensitiveName::Rijksregisternummer),
    ("nationaalnummer", SensitiveName::Rijksregisternummer),
    ("registrenational", SensitiveName::Rijksregisternummer),
    ("password", SensitiveName::Secret),
    ("passwd", SensitiveName::Secret),
    ("passphrase", SensitiveName::Secret),
    ("wachtwoord", SensitiveName::Secret),
];

/// Returns what the field at `path` is by name; `None` for most.
#[must_use]
pub fn sensitive_name(path: &str) -> Option<SensitiveName> {
    path.split('.').find_map(|part| {
        let words = split_words(part);
        let joined_words = words.concat();
        let by_word = |(name, named): &(&str, SensitiveName)| {
            let is_name = |word: &String| {
                let ending = word.strip_prefix(name);
                ending.is_some_and(|ending| WHOLE_WORD_SUFFIXES.contains(&ending))
            };
            words.iter().any(is_name).then_some(*named)
        };
        let by_ending = |(ending, named): &(&str, SensitiveName)| {
            words.iter().any(|word| word.ends_with(ending)).then_some(*named)
        };
        let by_part =
            |(name, named): &(&str, SensitiveName)| joined_words.contains(name).then_some(*named);
        WHOLE_WORD_NAMES
            .iter()
            .find_map(by_word)
            .or_else(|| WORD_ENDINGS.iter().find_map(by_ending))
            .or_else(|| SUBSTRING_NAMES.iter().find_map(by_part))
    })
}

/// Without separators.
const BIRTH_DATE_NAMES: &[&str] = &[
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

/// Returns whether the name of `path` is a date or year of birth. `born_on` counts only if
/// `is_date_or_instant`.
#[must_use]
pub fn is_birth_date_name(path: &str, is_date_or_instant: bool) -> bool {
    path.split('.').any(|part| {
        let words = split_words(part);
        let joined_words = words.concat();
        let is_word = |names: &[&str]| words.iter().any(|word| names.contains(&word.as_str()));
        BIRTH_DATE_NAMES.iter().any(|name| joined_words.contains(name))
            || is_word(&["dob"])
            || (is_date_or_instant && is_word(&["birth", "born", "geboorte", "geboren"]))
    })
}

/// Returns whether the name of `path` is a point in time, as `updated_at`.
#[must_use]
pub fn is_time_name(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or(path);
    let words = split_words(last);
    let last = words.last().map_or("", String::as_str);
    ["at", "time", "timestamp", "datetime"].contains(&last)
}

/// Returns whether the name of `path` is a card number.
#[must_use]
pub fn is_card_number_name(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or(path);
    split_words(last).concat().contains("cardnumber")
}

/// Splits a part of a path into lower-case words; `burgerServiceNummer[]` and
/// `burger_service_nummer` give the same.
fn split_words(part: &str) -> Vec<String> {
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
    fn check(want: Option<SensitiveName>, paths: &[&str]) {
        for path in paths {
            assert_eq!(sensitive_name(path), want, "{path}");
        }
    }

    #[test]
    fn s01_s03_sensitive_name_is_found_in_any_spelling() {
        check(
            Some(SensitiveName::Bsn),
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
                "burgerservicenr",
                "burger_service_nr",
                "citizen_service_number",
                "klantbsn",
                "sofi",
                "sofinr",
                "sofi_nummer",
            ],
        );
        check(
            Some(SensitiveName::Rijksregisternummer),
            &[
                "rrn",
                "insz",
                "niss_number",
                "rijksregisternummer",
                "rijksregister_nummer",
                "rijksregisternummers[]",
                "person.insz",
                "nissNumber",
                "rijksreg_nr",
                "nationaal_nummer",
                "registre_national",
            ],
        );
        check(
            Some(SensitiveName::Secret),
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
                "sofia",
                "nationality",
                "pass",
            ],
        );
    }

    #[test]
    fn s05_birth_date_is_recognised_by_field_name() {
        for path in [
            "birth_date",
            "birthDate",
            "date_of_birth",
            "birth_year",
            "dob",
            "person.geboortedatum",
            "birthday",
        ] {
            assert!(is_birth_date_name(path, false), "{path}");
        }
        assert!(is_birth_date_name("born_on", true) && is_birth_date_name("birth", true));
        for path in ["birth_place", "borne", "due_on"] {
            assert!(!is_birth_date_name(path, false), "{path}");
        }
        assert!(!is_birth_date_name("loaned_at", true));
    }

    #[test]
    fn time_and_card_number_are_recognised_by_field_name() {
        assert!(
            is_time_name("updated_at")
                && is_time_name("log.timestamp")
                && is_time_name("updatedAt")
        );
        assert!(!is_time_name("format") && !is_time_name("due_on") && !is_time_name("at.place"));
        assert!(
            is_card_number_name("card_number") && is_card_number_name("previous_card_numbers[]")
        );
        assert!(!is_card_number_name("card_kind") && !is_card_number_name("number"));
    }
}
