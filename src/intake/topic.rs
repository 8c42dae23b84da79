//! Topics that a mapping reads: by their name, or a pattern of it.

/// A topic's name, in which `*` stands for one or more characters other than a dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicPattern {
    parts: Vec<String>,
}

impl TopicPattern {
    /// `None` where it cannot be a topic's name.
    pub(super) fn parse(text: &str) -> Option<TopicPattern> {
        let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '*');
        let is_name = !text.is_empty() && text.chars().all(is_known) && !text.contains("**");
        is_name.then(|| TopicPattern { parts: text.split('*').map(str::to_owned).collect() })
    }

    /// The pattern as it stands in the mapping.
    pub(super) fn written(&self) -> String {
        self.parts.join("*")
    }

    pub(super) fn matches(&self, topic: &str) -> bool {
        self.matches_with(topic, 1)
    }

    /// As [`matches`](Self::matches), but a star may also stand for nothing.
    pub(super) fn matches_file_name(&self, name: &str) -> bool {
        self.matches_with(name, 0)
    }

    fn matches_with(&self, text: &str, star_min: usize) -> bool {
        match self.parts.split_first() {
            Some((first, rest)) => text
                .strip_prefix(first.as_str())
                .is_some_and(|text| matches_rest(rest, text, star_min)),
            None => false,
        }
    }
}

/// Whether `topic` is a star and the first of `parts`, and so on to its end.
fn matches_rest(parts: &[String], topic: &str, star_min: usize) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        return topic.is_empty();
    };
    let star_max = topic.find('.').unwrap_or(topic.len());
    (star_min..=star_max).any(|length| {
        let after = topic.get(length..).and_then(|topic| topic.strip_prefix(part.as_str()));
        after.is_some_and(|after| matches_rest(rest, after, star_min))
    })
}

#[cfg(test)]
mod tests {
    use super::TopicPattern;

    #[test]
    fn star_stands_for_one_part_of_a_name() {
        let matches =
            |pattern: &str, topic: &str| TopicPattern::parse(pattern).unwrap().matches(topic);
        assert!(matches("koha.issues", "koha.issues"));
        assert!(!matches("koha.issues", "koha.issues2"));
        assert!(matches("folio.*.users.users", "folio.amrland.users.users"));
        assert!(!matches("folio.*.users.users", "folio.a.b.users.users"));
        assert!(!matches("folio.*.users.users", "folio..users.users"));
        assert!(matches("pg.*_mod_users.users", "pg.amr_land_mod_users.users"));
        assert!(matches("koha.*", "koha.issues"));
        assert!(!matches("koha.*", "koha"));
        assert!(!matches("koha.*", "koha.koha_library.issues"));
        for wrong in ["", "a**b", "a/b", "a b"] {
            assert_eq!(TopicPattern::parse(wrong), None);
        }
    }
}
