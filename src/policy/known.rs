//! The names that consents and objections may carry: purposes and recipients.
//!
//! A name that is none of these but nearly one may be meant for it, so it is
//! never taken for something that concerns nobody.

use super::text::is_format;

/// All names that are known in a deployment, whatever lane serves them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownNames {
    /// Of every recipient's file, switched on or off, and those that `zeef.toml`
    /// adds; sorted.
    pub purposes: Vec<String>,
    /// Every recipient that has a file, switched on or off; sorted.
    pub recipients: Vec<String>,
}

/// The numbers above it have other meanings.
const NAMES_MAX: u16 = u16::MAX - 1;

/// What a name in a record turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameMatch {
    Missing,
    /// Its place among the known names.
    Known(u16),
    /// No known name, but so like one that it may be meant.
    Near,
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
        // What nobody can see may be anything.
        None if folded(name).is_empty() => NameMatch::Near,
        Some(Ok(place)) if place < NAMES_MAX => NameMatch::Known(place),
        // More names than numbers: not understood, rather than unknown.
        Some(_) => NameMatch::Near,
        None if known.iter().any(|one| is_near(one, name)) => NameMatch::Near,
        None => NameMatch::Unknown,
    }
}

/// The letters that a known name must have at least for one to be mistyped.
const NEAR_LETTERS_MIN: usize = 6;

/// Whether `name` may be meant for `known`: it is the same but for case, white
/// space and invisible characters, or then but for one character that was
/// inserted, deleted or replaced, and is no digit.
#[must_use]
pub fn is_near(known: &str, name: &str) -> bool {
    let (known, name) = (folded(known), folded(name));
    if known == name {
        return true;
    }
    let letters = known.iter().filter(|c| c.is_alphabetic()).count();
    letters >= NEAR_LETTERS_MIN && differs_by_one(&known, &name)
}

fn folded(name: &str) -> Vec<char> {
    let shown = |c: &char| !c.is_whitespace() && !is_format(*c) && !c.is_control();
    name.chars()
        .filter(shown)
        .flat_map(char::to_lowercase)
        .collect()
}

/// Whether one character makes the difference, and no digit does.
fn differs_by_one(one: &[char], other: &[char]) -> bool {
    let (short, long) = if one.len() <= other.len() {
        (one, other)
    } else {
        (other, one)
    };
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
    fn a_name_is_near_by_one_letter_or_none() {
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
            assert_eq!(is_near(known, name), near, "{known} and {name}");
        }
    }

    #[test]
    fn a_known_name_is_itself_and_no_other() {
        let known: Vec<String> = ["members", "member", "pickup"].map(str::to_owned).into();
        let find = |name| match_name(&known, name);
        assert_eq!(find(None), NameMatch::Missing);
        assert_eq!(find(Some("member")), NameMatch::Known(1));
        assert_eq!(find(Some("members")), NameMatch::Known(0));
        assert_eq!(find(Some("Member")), NameMatch::Near);
        assert_eq!(find(Some("knitting")), NameMatch::Unknown);
        assert_eq!(find(Some(" \u{feff}")), NameMatch::Near);
    }
}
