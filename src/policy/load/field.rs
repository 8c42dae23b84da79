//! A recipient's output fields: where each comes from, and what is made of it.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::path::{Found, Paths, Shape};
use crate::policy::catalogue::{Field, Type};
use crate::policy::detect::{DETECTORS, Detectors};
use crate::policy::document::{At, Mistake, Table, Value, kind_of, listed, near, whole};
use crate::policy::form::Form;
use crate::policy::mask::{ArgProblem, ArgValue, MASKS, Mask, MaskDef, Need};
use crate::policy::name::SNAKE;
use crate::policy::recipient::{OutputField, OutputValue, Projection, SubField};
use crate::policy::settings::MaskDefaults;

/// The output fields that could be read, and all names as written.
#[derive(Default)]
pub(super) struct Profile {
    pub(super) fields: Vec<OutputField>,
    /// Of `fields`, place by place.
    pub(super) lines: Vec<usize>,
    names: Vec<String>,
}

/// Reads `[fields]`, in the order as written.
pub(super) fn read(table: &Table<'_>, paths: &Paths<'_>, defaults: &MaskDefaults) -> Profile {
    const EXPECTED: &str = "the closed list of output fields";
    table.need("fields", EXPECTED, None);
    let mut profile = Profile::default();
    let Some(inner) = table.table("fields", EXPECTED) else {
        return profile;
    };
    let entries = inner.entries();
    if entries.is_empty() {
        inner.mistake(inner.line(), "no field in `fields`", EXPECTED);
    }
    for (name, value) in entries {
        if !(SNAKE.fits)(&name.value) {
            let found = format!("output field `{}`", name.value);
            inner.mistake(name.line, found, SNAKE.expected);
        }
        if let Some(entry) = inner.as_table(value, name.line) {
            let reader = Reader {
                table: &entry,
                name: &name.value,
                paths,
                defaults,
            };
            let value = reader.output(&profile);
            entry.finish();
            if let Some(value) = value {
                let name = name.value.clone();
                profile.fields.push(OutputField { name, value });
                profile.lines.push(entry.line());
            }
        } else {
            let found = format!("`{}` is {}", name.value, kind_of(value.get_ref()));
            inner.mistake(name.line, found, "a table, as { from = \"item.title\" }");
        }
        profile.names.push(name.value);
    }
    profile
}

struct Reader<'a> {
    table: &'a Table<'a>,
    name: &'a str,
    paths: &'a Paths<'a>,
    defaults: &'a MaskDefaults,
}

/// A mask as written, compiled where that went well.
enum Masked {
    None,
    Mistaken,
    Mask(Mask),
}

impl Reader<'_> {
    fn output(&self, before: &Profile) -> Option<OutputValue> {
        let from = self.table.text("from", "the path of a field");
        let mask = self.mask();
        let fields = self.table.texts("fields", "the sub-fields that are kept");
        let detect = self.table.value("detect");
        match &mask {
            Masked::Mask(Mask::ShelfSlip {
                mark,
                initial,
                lines,
            }) => {
                self.alone(&["from", "fields", "detect"]);
                return self.slip(before, mark, initial, lines);
            }
            Masked::Mask(Mask::Constant { .. }) => {
                self.alone(&["from", "fields", "detect"]);
                return self.scalar(None, mask, None);
            }
            _ => {}
        }
        let Some(from) = from else {
            let but = "the path of a field; only the masks `constant` and `shelf_slip` need none";
            self.table.need("from", but, None);
            return None;
        };
        let found = self.paths.resolve(self.table, from.line, &from.value)?;
        match found.shape {
            Shape::Value(_) => {
                self.unlisted(fields.as_ref(), "one value has no sub-fields");
                self.scalar(Some(found), mask, detect)
            }
            Shape::Object | Shape::List => {
                self.alone(&["mask", "detect"]);
                self.listed(&from, found, fields)
            }
            Shape::Values(_) => {
                self.unlisted(fields.as_ref(), "a list of single values has no sub-fields");
                self.alone(&["mask", "detect"]);
                Some(OutputValue::Scalars { from: found.at })
            }
        }
    }

    /// Reports each of `keys` that is there: they say nothing of such a field.
    fn alone(&self, keys: &[&str]) {
        for key in keys {
            if self.table.has(key) {
                let found = format!("`{key}` in field `{}`", self.name);
                let line = self.table.line_of(key);
                self.table
                    .mistake(line, found, "none: it says nothing of such a field");
            }
        }
    }

    fn unlisted(&self, fields: Option<&At<Vec<At<String>>>>, why: &str) {
        if let Some(at) = fields {
            let found = format!("`fields` in field `{}`", self.name);
            self.table.mistake(at.line, found, format!("none: {why}"));
        }
    }

    /// An object, or a list of objects, with the sub-fields that are kept.
    fn listed(
        &self,
        from: &At<String>,
        found: Found<'_>,
        fields: Option<At<Vec<At<String>>>>,
    ) -> Option<OutputValue> {
        let known = found.children();
        let expected = format!(
            "`fields`, the sub-fields that are kept, of {}",
            listed(&known)
        );
        let listed_fields = match fields {
            Some(fields) if !fields.value.is_empty() => fields.value,
            _ => {
                let found = format!("`{}` without a list of its sub-fields", from.value);
                self.table.mistake(from.line, found, expected);
                return None;
            }
        };
        let mut kept = Vec::new();
        for field in listed_fields {
            if known.contains(&field.value) {
                let path = format!("{}.{}", found.at.path, field.value);
                kept.push(SubField {
                    name: field.value,
                    path,
                });
            } else {
                let close = near(&field.value, known.iter().map(String::as_str));
                let found = format!("unknown sub-field `{}` of `{}`", field.value, from.value);
                let expected = format!("one of {}", listed(&known));
                let mistake = Mistake::new(self.table.file(), field.line, found, expected);
                self.table.push(mistake.near(close));
            }
        }
        let from = found.at;
        Some(match found.shape {
            Shape::List => OutputValue::List { from, fields: kept },
            _ => OutputValue::Object { from, fields: kept },
        })
    }

    fn scalar(
        &self,
        from: Option<Found<'_>>,
        mask: Masked,
        detect: Option<At<&Value<'_>>>,
    ) -> Option<OutputValue> {
        let field = from
            .as_ref()
            .filter(|found| found.typed)
            .and_then(Found::field);
        let detect = match detect {
            None => None,
            Some(at) => Some(self.detectors(at, field)?),
        };
        let mask = match mask {
            Masked::Mistaken => return None,
            Masked::None => None,
            Masked::Mask(mask) => {
                if let Some(found) = &from {
                    self.fits(&mask, found);
                }
                Some(mask)
            }
        };
        Some(OutputValue::Scalar(Projection {
            from: from.map(|found| found.at),
            mask,
            detect,
        }))
    }

    fn mask(&self) -> Masked {
        let Some(name) = self.table.text("mask", "the name of a mask") else {
            if self.table.has("mask") {
                self.table.entries();
                return Masked::Mistaken;
            }
            return Masked::None;
        };
        let Some(def) = MaskDef::named(&name.value) else {
            let close = near(&name.value, MASKS.iter().map(|def| def.name));
            let found = format!("unknown mask `{}`", name.value);
            let expected = "one of those that `zeef list masks` shows";
            let mistake = Mistake::new(self.table.file(), name.line, found, expected);
            self.table.push(mistake.near(close));
            // What belongs to an unknown mask cannot be judged.
            self.table.entries();
            return Masked::Mistaken;
        };
        self.build(def)
    }

    fn build(&self, def: &MaskDef) -> Masked {
        let mut given = BTreeMap::new();
        let mut mistaken = false;
        for argument in def.arguments {
            match self.table.value(argument.name) {
                Some(at) => match argument_value(at.value.get_ref()) {
                    Some(value) => drop(given.insert(argument.name.to_owned(), value)),
                    None => {
                        mistaken = true;
                        let kind = kind_of(at.value.get_ref());
                        let found = format!("`{}` is {kind}", argument.name);
                        self.table
                            .mistake(at.line, found, argument.allowed.to_string());
                    }
                },
                None => {
                    if let Some(value) = self.defaults.argument(argument.name) {
                        given.insert(argument.name.to_owned(), value.clone());
                    }
                }
            }
        }
        match def.build(&given) {
            _ if mistaken => Masked::Mistaken,
            Ok(mask) => Masked::Mask(mask),
            Err(problems) => {
                self.problems(&problems);
                Masked::Mistaken
            }
        }
    }

    fn problems(&self, problems: &[ArgProblem]) {
        for problem in problems {
            let (argument, found, expected) = match problem {
                ArgProblem::Unknown { argument, known } => {
                    let expected = format!("one of {}", known.join(", "));
                    (
                        argument.as_str(),
                        format!("unknown key `{argument}`"),
                        expected,
                    )
                }
                ArgProblem::Missing { argument, expected } => {
                    (*argument, format!("no `{argument}`"), expected.to_string())
                }
                ArgProblem::Wrong {
                    argument,
                    found,
                    expected,
                } => (
                    *argument,
                    format!("`{argument}` is {found}"),
                    expected.to_string(),
                ),
            };
            self.table
                .mistake(self.table.line_of(argument), found, expected);
        }
    }

    /// Checks that a mask suits its field, and finds what it needs beside it.
    fn fits(&self, mask: &Mask, found: &Found<'_>) {
        let Some(field) = found.field() else {
            return;
        };
        if found.typed
            && let Err(expected) = suits(mask, field.kind)
        {
            let found = format!("this mask on `{}`", found.written);
            self.table
                .mistake(self.table.line_of("mask"), found, expected);
        }
        for need in mask.needs() {
            match need {
                Need::Sibling(path) => self.sibling(path, found),
                Need::Source(path) => self.day(&path, mask),
                Need::Country => {}
            }
        }
    }

    /// What a mask needs must be of the same kind, and beside its field.
    fn sibling(&self, path: &str, found: &Found<'_>) {
        if found.kind.field(path).is_none() || parent(path) != parent(&found.at.path) {
            let expected = format!("a field that has `{path}` beside it");
            let found = format!("this mask on `{}`", found.written);
            self.table
                .mistake(self.table.line_of("mask"), found, expected);
        }
    }

    /// The day of an age, or the month of a pseudonym: a date or instant of the
    /// source itself.
    fn day(&self, path: &str, mask: &Mask) {
        let key = match mask {
            Mask::Pseudonym { .. } => "month_of",
            _ => "at",
        };
        let line = self.table.line_of(key);
        let Some(found) = self.paths.resolve(self.table, line, path) else {
            return;
        };
        let dated = found.is(|field| field.kind.is_dated());
        if found.at.joined || !dated {
            let found = format!("`{key}` is \"{path}\"");
            self.table
                .mistake(line, found, "a date or an instant of the source itself");
        }
    }

    fn detectors(&self, at: At<&Value<'_>>, field: Option<&Field>) -> Option<Detectors> {
        const EXPECTED: &str = "\"all\", or a list of names that `zeef list detectors` shows";
        if field.is_some_and(|field| !matches!(field.kind, Type::Text(_))) {
            let found = format!("`detect` on `{}`, which is no text", self.name);
            self.table
                .mistake(at.line, found, "a field that holds text");
            return None;
        }
        if at.value.get_ref().as_str() == Some("all") {
            return Detectors::new(DETECTORS.iter().map(|def| def.name)).ok();
        }
        if !at.value.get_ref().is_array() {
            let found = format!("`detect` is {}", kind_of(at.value.get_ref()));
            self.table.mistake(at.line, found, EXPECTED);
            return None;
        }
        let names = self.table.texts("detect", EXPECTED)?;
        if names.value.is_empty() {
            self.table
                .mistake(at.line, "no detector in `detect`", EXPECTED);
            return None;
        }
        self.named_detectors(&names.value)
    }

    fn named_detectors(&self, names: &[At<String>]) -> Option<Detectors> {
        for at in names {
            if DETECTORS.iter().all(|def| def.name != at.value) {
                let close = near(&at.value, DETECTORS.iter().map(|def| def.name));
                let found = format!("unknown detector `{}`", at.value);
                let expected = "one of those that `zeef list detectors` shows";
                let mistake = Mistake::new(self.table.file(), at.line, found, expected);
                self.table.push(mistake.near(close));
            }
        }
        Detectors::new(names.iter().map(|at| at.value.as_str())).ok()
    }

    fn slip(
        &self,
        before: &Profile,
        mark: &str,
        initial: &str,
        lines: &[String],
    ) -> Option<OutputValue> {
        let mark = self.place(before, "mark", mark);
        let initial = self.place(before, "initial", initial);
        let rest: Vec<_> = lines
            .iter()
            .map(|line| self.place(before, "lines", line))
            .collect();
        Some(OutputValue::Slip {
            mark: mark?,
            initial: initial?,
            rest: rest.into_iter().collect::<Option<_>>()?,
        })
    }

    /// The place of an output field above this one, of one value.
    fn place(&self, before: &Profile, key: &str, name: &str) -> Option<usize> {
        let place = before.fields.iter().position(|field| field.name == name);
        if let Some(place) = place
            && matches!(before.fields.get(place)?.value, OutputValue::Scalar(_))
        {
            return Some(place);
        }
        if place.is_none() && before.names.iter().any(|other| other == name) {
            // It is there, and its own mistakes are told.
            return None;
        }
        let close = near(name, before.names.iter().map(String::as_str));
        let close = close.filter(|close| close != name);
        let found = format!("`{key}` names `{name}`");
        let expected = "an output field above this one, of one value";
        let line = self.table.line_of(key);
        self.table
            .push(Mistake::new(self.table.file(), line, found, expected).near(close));
        None
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

fn argument_value(value: &DeValue<'_>) -> Option<ArgValue> {
    match value {
        DeValue::String(text) => Some(ArgValue::Text(text.to_string())),
        DeValue::Integer(_) => whole(value).map(ArgValue::Integer),
        DeValue::Boolean(value) => Some(ArgValue::Boolean(*value)),
        DeValue::Array(items) => {
            let numbers: Option<Vec<_>> = items.iter().map(|item| whole(item.get_ref())).collect();
            let texts = || {
                let text = |item: &Value<'_>| item.get_ref().as_str().map(str::to_owned);
                items.iter().map(text).collect::<Option<Vec<_>>>()
            };
            numbers
                .map(ArgValue::Integers)
                .or_else(|| texts().map(ArgValue::Texts))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

/// Whether a mask can make something of a type; what it takes, where not.
fn suits(mask: &Mask, kind: Type) -> Result<(), &'static str> {
    let (fine, expected) = match mask {
        Mask::FirstLetters { .. } | Mask::Initial { .. } | Mask::FullName | Mask::PostcodeArea => {
            (kind == Type::Text(None), "a field of type `text`")
        }
        Mask::Lowercase => (matches!(kind, Type::Text(_)), "a field that holds text"),
        Mask::LastDigits { .. } | Mask::Pseudonym { .. } => (
            matches!(kind, Type::Text(_) | Type::CardNumber),
            "a field that holds text",
        ),
        Mask::Year | Mask::Month => (kind.is_dated(), "a date or an instant"),
        Mask::AgeBand { .. } => (kind == Type::Text(Some(Form::Date)), "a date"),
        Mask::Present | Mask::Constant { .. } | Mask::ShelfSlip { .. } => (true, ""),
    };
    if fine { Ok(()) } else { Err(expected) }
}
