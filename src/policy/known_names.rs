//! The purposes and recipients that consents and objections may name.
//!
//! A name that nearly matches one may be meant for it, so it is never taken to be unknown.

use std::collections::BTreeSet;

use super::text::is_format_char;

/// All names of a deployment, whatever lane serves them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownNames {
    /// Of every recipient's file, enabled or not, and from `zeef.toml`; sorted.
    pub purposes: Vec<String>,
    /// Every recipient with a file, enabled or not; sorted.
    pub recipients: Vec<String>,
    /// The purposes whose consents name a patron where others name a recipient.
    pub named_patron_purposes: BTreeSet<String>,
    /// The recipients that ask for such consents.
    pub named_patron_recipients: BTreeSet<String>,
}

/// Higher numbers have other meanings.
const KNOWN_NAMES_MAX: u16 = u16::MAX - 2;

/// What a name in a record matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameMatch {
    Missing,
    /// Its index among the known names.
    Known(u16),
    /// No known name, but similar to one that may be meant.
    NearMiss,
    Unknown,
}

/// Looks `name` up among `known`.
#[must_use]
pub fn match_name(known: &[String], name: Option<&str>) -> NameMatch {
    let Some(name) = name else {
        return NameMatch::Missing;
    };
    let place = known.iter().position(|one| one == name);
    match place.map(u16::try_from) {
        // An invisible name may mean anything.
        None if is_invisible(name) => NameMatch::NearMiss,
        Some(Ok(place)) if place < KNOWN_NAMES_MAX => NameMatch::Known(place),
        // Out of numbers: not understood, rather than unknown.
        Some(_) => NameMatch::NearMiss,
        None if known.iter().any(|one| is_near_miss(one, name)) => NameMatch::NearMiss,
        None => NameMatch::Unknown,
    }
}

/// Shorter names have no near misses.
const NEAR_MISS_LETTERS_MIN: usize = 6;

/// Returns whether `name` equals `known` apart from case, white space and invisible characters, or
/// also apart from one inserted, deleted or replaced character that is no digit.
#[must_use]
pub fn is_near_miss(known: &str, name: &str) -> bool {
    let (known, name) = (fold_visible_chars(known), fold_visible_chars(name));
    if known == name {
        return true;
    }
    let letters = known.iter().filter(|c| c.is_alphabetic()).count();
    letters >= NEAR_MISS_LETTERS_MIN && differs_by_one_non_digit(&known, &name)
}

/// Returns whether nothing of a name can be seen.
#[must_use]
pub fn is_invisible(name: &str) -> bool {
    fold_visible_chars(name).is_empty()
}

fn fold_visible_chars(name: &str) -> Vec<char> {
    let shown = |c: &char| !c.is_whitespace() && !is_format_char(*c) && !c.is_control();
    name.chars().filter(shown).flat_map(char::to_lowercase).collect()
}

fn differs_by_one_non_digit(one: &[char], other: &[char]) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    if long.len() - short.len() > 1 {
        return false;
    }
    let same = short.iter().zip(long).take_while(|(a, b)| a == b).count();
    let changed = [long.get(same), short.get(same)];
    if short.len() == long.len() {
        let no_digit = changed.iter().flatten().all(|c| !c.is_numeric());
        return no_digit && short.get(same + 1..) == long.get(same + 1..);
    }
    let no_digit = long.get(same).is_some_and(|c| !c.is_numeric());
    no_digit && short.get(same..) == long.get(same + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_miss_differs_by_at_most_one_character() {
        for (known, name, near) in [
            ("online-library", "Online-Library", true),
            ("online-library", " online-library\t", true),
            ("online-library", "online library", true),
            ("online-library", "online-libary", true),
            ("online-library", "onlyne-library", true),
            ("online-library", "online-libraries", false),
            ("online-library", "online-library2", false),
            ("online-library", "0nline-library", false),
            ("online-library", "\u{feff}online-library", true),
            ("kb-membership", "KB_Membership", true),
            ("pickup", "pick-up", true),
            ("pickup", "PICKUP", true),
            ("loans", "loan", false),
            ("loans", "Loans ", true),
            ("panel1", "panel2", false),
            ("panels1", "panels2", false),
            ("marketing", "knitting", false),
            ("marketing", "", false),
            ("debt-collection", "debt-collectoin", false),
        ] {
            assert_eq!(is_near_miss(known, name), near, "{known} and {name}");
        }
    }

    #[test]
    fn match_name_prefers_exact_over_near_miss() {
        let known: Vec<String> = ["members", "member", "pickup"].map(str::to_owned).into();
        let find = |name| match_name(&known, name);
        assert_eq!(find(None), NameMatch::Missing);
        assert_eq!(find(Some("member")), NameMatch::Known(1));
        assert_eq!(find(Some("members")), NameMatch::Known(0));
        assert_eq!(find(Some("Member")), NameMatch::NearMiss);
        assert_eq!(find(Some("knitting")), NameMatch::Unknown);
        assert_eq!(find(Some(" \u{feff}")), NameMatch::NearMiss);
    }
}
