//! Texts that a library may change: `templates/NAME.LANG.md` of the config, or the shipped one.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context as _;

use crate::cli::exit::CliFailure;
use crate::contract::Language;

/// A text with `{placeholders}`.
pub(super) struct Template {
    /// Where it comes from, for messages.
    place: String,
    text: String,
}

/// The shipped texts, by name and language.
const SHIPPED: &[(&str, Language, &str)] = &[
    ("access", Language::Dutch, include_str!("../../../config/templates/access.nl.md")),
    ("access", Language::English, include_str!("../../../config/templates/access.en.md")),
    ("breach", Language::Dutch, include_str!("../../../config/templates/breach.nl.md")),
    ("breach", Language::English, include_str!("../../../config/templates/breach.en.md")),
];

impl Template {
    /// Finds a text.
    ///
    /// # Errors
    ///
    /// The file of the config cannot be read.
    pub(super) fn find(config: &Path, name: &str, language: Language) -> anyhow::Result<Template> {
        let word = language.pick("en", "nl");
        let path = config.join("templates").join(format!("{name}.{word}.md"));
        let place = path.display().to_string();
        match std::fs::read_to_string(&path) {
            Ok(text) => return Ok(Template { place, text }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("failed to read {place}")),
        }
        let shipped = SHIPPED.iter().find(|(known, of, _)| *known == name && *of == language);
        let text = shipped.map_or("", |(.., text)| text).to_owned();
        Ok(Template { place: format!("the shipped template {name}.{word}.md"), text })
    }

    /// Fills in the placeholders.
    ///
    /// # Errors
    ///
    /// [`CliFailure::Config`] for a placeholder that none of `values` has.
    pub(super) fn render(&self, values: &[(&str, String)]) -> Result<String, CliFailure> {
        let mut text = String::new();
        let mut rest = self.text.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            let (name, behind) = after.split_once('}').unwrap_or((after, ""));
            let Some((_, value)) = values.iter().find(|(known, _)| *known == name) else {
                let known: Vec<&str> = values.iter().map(|(known, _)| *known).collect();
                return Err(CliFailure::Config(format!(
                    "{}: unknown placeholder `{{{}}}`, expected one of {}",
                    self.place,
                    name.lines().next().unwrap_or_default(),
                    known.join(", ")
                )));
            };
            text.push_str(value);
            rest = behind;
        }
        text.push_str(rest);
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template_fills_in_known_placeholders_only() {
        let template =
            Template { place: "t.md".to_owned(), text: "a {one} b {two} c {one}".to_owned() };
        let values = [("one", "1".to_owned()), ("two", "{one}".to_owned())];
        // What is filled in is not looked at again.
        assert_eq!(template.render(&values).unwrap(), "a 1 b {one} c 1");
        let error = template.render(&values[..1]).unwrap_err();
        let want = "t.md: unknown placeholder `{two}`, expected one of one";
        assert_eq!(error, CliFailure::Config(want.to_owned()));
    }
}
