//! Reads a recipient's output fields: their sources, masks and detectors.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::path::{FieldResolver, PathShape, ResolvedPath};
use super::summary;
use crate::config::document::{
    Located, Mistake, TomlTable, TomlValue, describe_type, join_quoted, nearest_name, parse_i64,
};
use crate::config::settings::MaskDefaults;
use crate::policy::catalogue::{CatalogueField, FieldType, Role};
use crate::policy::detect::{CustomDetectors, DETECTORS, DetectorSet};
use crate::policy::mask::{
    ArgConstraint, ArgError, ArgValue, MASKS, Mask, MaskDef, MaskNeed, ShelfSlip,
};
use crate::policy::name::SNAKE_CASE_NAME;
use crate::policy::recipient::{DemandedPart, FieldProjection, OutputField, OutputValue, SubField};

/// The valid output fields, and all names.
#[derive(Default)]
pub(crate) struct Profile {
    pub(crate) fields: Vec<OutputField>,
    /// By output field.
    pub(crate) field_lines: Vec<usize>,
    all_names: Vec<String>,
}

impl Profile {
    /// Returns the names of all fields, also of those that are not valid.
    pub(crate) fn all_names(&self) -> &[String] {
        &self.all_names
    }

    /// Removes the fields that have none of `names`.
    pub(crate) fn keep_only(&mut self, names: &[String]) {
        let is_kept: Vec<bool> =
            self.fields.iter().map(|field| names.contains(&field.name)).collect();
        let mut kept = is_kept.iter();
        self.fields.retain(|_| kept.next() == Some(&true));
        let mut kept = is_kept.iter();
        self.field_lines.retain(|_| kept.next() == Some(&true));
    }
}

/// What the fields of every recipient may use.
#[derive(Clone, Copy)]
pub(crate) struct ProfileDefaults<'a> {
    pub(crate) masks: &'a MaskDefaults,
    pub(crate) custom_detectors: &'a CustomDetectors,
}

/// Reads `[fields]` in the order of the file.
pub(crate) fn read_profile(
    table: &TomlTable<'_>,
    resolver: &FieldResolver<'_>,
    defaults: ProfileDefaults<'_>,
) -> Profile {
    const EXPECTED: &str = "the closed list of output fields";
    table.require_key("fields", EXPECTED, None);
    let mut profile = Profile::default();
    let Some(inner) = table.table("fields", EXPECTED) else {
        return profile;
    };
    let entries = inner.entries();
    if entries.is_empty() {
        inner.report_mistake(inner.line(), "no field in `fields`", EXPECTED);
    }
    for (name, value) in entries {
        if !(SNAKE_CASE_NAME.is_valid)(&name.value) {
            let found = format!("output field `{}`", name.value);
            inner.report_mistake(name.line, found, SNAKE_CASE_NAME.description);
        }
        if let Some(entry) = inner.as_table(value, name.line) {
            let reader = OutputFieldReader { table: &entry, name: &name.value, resolver, defaults };
            let value = reader.read_output(&profile);
            entry.finish();
            if let Some(value) = value {
                let name = name.value.clone();
                profile.fields.push(OutputField { name, value });
                profile.field_lines.push(entry.line());
            }
        } else {
            let found = format!("`{}` is {}", name.value, describe_type(value.get_ref()));
            inner.report_mistake(name.line, found, "a table, as { from = \"item.title\" }");
        }
        profile.all_names.push(name.value);
    }
    profile
}

struct OutputFieldReader<'a> {
    table: &'a TomlTable<'a>,
    name: &'a str,
    resolver: &'a FieldResolver<'a>,
    defaults: ProfileDefaults<'a>,
}

enum ParsedMask {
    None,
    Invalid,
    Mask(Mask),
}

impl OutputFieldReader<'_> {
    fn read_output(&self, previous: &Profile) -> Option<OutputValue> {
        if self.table.contains_key("word_of") {
            const EXPECTED: &str = "what the word is of";
            self.reject_keys(&["from", "mask", "fields", "detect"]);
            let of = self.table.choice("word_of", &[("channel", ())], EXPECTED);
            return of.map(|_| OutputValue::ChannelWord);
        }
        if self.table.contains_key("pseudonym_of") {
            const EXPECTED: &str = "whose pseudonym it is, beside that of a field";
            self.reject_keys(&["from", "mask", "fields", "detect"]);
            let of = self.table.choice("pseudonym_of", &[("named_patron", ())], EXPECTED);
            return of.map(|_| OutputValue::NamedPatron);
        }
        if summary::is_summary(self.table) {
            self.reject_keys(&["from", "detect"]);
            let summary = summary::read_summary(self.table, self.name, self.resolver);
            return summary.map(OutputValue::Summary);
        }
        if self.table.contains_key("first") {
            self.reject_keys(&["from", "mask", "fields", "detect"]);
            return self.read_first();
        }
        if self.table.contains_key("demanded") {
            self.reject_keys(&["from", "mask", "fields", "detect"]);
            return self.read_demanded();
        }
        let from = self.table.string("from", "the path of a field");
        let mask = self.read_mask();
        let fields = self.table.strings("fields", "the sub-fields that are kept");
        let detect = self.table.value("detect");
        match &mask {
            ParsedMask::Mask(Mask::ShelfSlip(slip)) => {
                self.reject_keys(&["from", "fields", "detect"]);
                return self.read_slip(previous, slip);
            }
            ParsedMask::Mask(Mask::Constant { .. }) => {
                self.reject_keys(&["from", "fields", "detect"]);
                return self.read_scalar(None, mask, None);
            }
            _ => {}
        }
        let Some(from) = from else {
            let but = "the path of a field; only the masks `constant` and `shelf_slip` need none";
            self.table.require_key("from", but, None);
            return None;
        };
        let found = self.resolver.resolve(self.table, from.line, &from.value)?;
        match found.shape {
            PathShape::Scalar(_) => {
                self.reject_sub_fields(fields.as_ref(), "one value has no sub-fields");
                self.read_scalar(Some(found), mask, detect)
            }
            PathShape::Object | PathShape::ObjectList => {
                self.reject_keys(&["mask", "detect"]);
                self.read_container(&from, found, fields)
            }
            PathShape::ScalarList(_) => {
                self.reject_sub_fields(
                    fields.as_ref(),
                    "a list of single values has no sub-fields",
                );
                self.reject_keys(&["mask", "detect"]);
                Some(OutputValue::ScalarList { from: found.field_ref })
            }
        }
    }

    /// Reads the values of which the field shows the first that is there.
    fn read_first(&self) -> Option<OutputValue> {
        const EXPECTED: &str = "{ from = \"PATH\", mask = \"NAME\" }, best first, at least two";
        let tables = self.table.tables("first", EXPECTED);
        if tables.len() < 2 {
            let found = format!("fewer than two values in `first` of field `{}`", self.name);
            self.table.report_mistake(self.table.line_of_key("first"), found, EXPECTED);
        }
        let mut projections: Vec<FieldProjection> = Vec::new();
        for table in &tables {
            let reader = OutputFieldReader { table, ..*self };
            if let Some(projection) = reader.read_alternative() {
                if projections.iter().any(|other| other.from == projection.from) {
                    let found = format!("a field twice in `first` of field `{}`", self.name);
                    table.report_mistake(table.line(), found, "each field once");
                }
                projections.push(projection);
            }
            table.finish();
        }
        (projections.len() == tables.len()).then_some(OutputValue::First(projections))
    }

    /// Reads one value of `first`: a text, or what a mask makes of a value.
    fn read_alternative(&self) -> Option<FieldProjection> {
        let from = self.table.require_string("from", "the path of a field");
        let mask = self.read_mask();
        let from = from?;
        let found = self.resolver.resolve(self.table, from.line, &from.value)?;
        let is_text = match (&mask, &found.shape) {
            (ParsedMask::Invalid, _) => return None,
            (ParsedMask::None, PathShape::Scalar(field)) => {
                !matches!(field.field_type, FieldType::Integer | FieldType::Boolean)
            }
            (ParsedMask::Mask(mask), PathShape::Scalar(_)) => !matches!(
                mask,
                Mask::Pseudonym(_) | Mask::Constant(_) | Mask::OrElse(_) | Mask::ShelfSlip(_)
            ),
            _ => false,
        };
        if !is_text {
            let text = format!("`{}` in `first` of field `{}`", from.value, self.name);
            let expected = "a text in no list, or a mask that makes one of a value; no pseudonym, \
                            and nothing that is always there";
            if found.is_typed {
                self.table.report_mistake(self.table.line(), text, expected);
            }
            return None;
        }
        match self.read_scalar(Some(found), mask, None)? {
            OutputValue::Scalar(projection) => Some(projection),
            _ => None,
        }
    }

    /// Reads what is shown of the patron's fields that a list of the record names.
    fn read_demanded(&self) -> Option<OutputValue> {
        const EXPECTED: &str = "the path of a list of the record, which names fields of the patron";
        let path = self.table.require_string("demanded", EXPECTED);
        self.table.require_key(
            "as",
            "`values`, what the patron's record has of them, or `number`, how many there are",
            None,
        );
        let shows = self.table.word("as", "what is shown of them");
        let path = path?;
        let found = self.resolver.resolve(self.table, path.line, &path.value)?;
        let is_text = found.field_matches(|field| field.field_type == FieldType::Text(None));
        if found.field_ref.is_joined || !matches!(found.shape, PathShape::ScalarList(_)) || !is_text
        {
            let text = format!("`demanded` is \"{}\"", path.value);
            self.table.report_mistake(path.line, text, "a list of texts of the record itself");
            return None;
        }
        let shows = shows?;
        let has_patron = found.kind.role == Role::Record && found.kind.is_keyed_by_patron;
        if shows.value == DemandedPart::Values && !has_patron {
            let expected = "`number`, or a source whose records belong to patrons";
            self.table.report_mistake(shows.line, "`as = \"values\"` of such a source", expected);
        }
        Some(OutputValue::Demanded { list: found.field_ref, shows: shows.value })
    }

    /// Reports each of `keys` that is present, as it has no meaning for such a field.
    fn reject_keys(&self, keys: &[&str]) {
        for key in keys {
            if self.table.contains_key(key) {
                let found = format!("`{key}` in field `{}`", self.name);
                let line = self.table.line_of_key(key);
                self.table.report_mistake(line, found, "none: it says nothing of such a field");
            }
        }
    }

    fn reject_sub_fields(&self, fields: Option<&Located<Vec<Located<String>>>>, reason: &str) {
        if let Some(at) = fields {
            let found = format!("`fields` in field `{}`", self.name);
            self.table.report_mistake(at.line, found, format!("none: {reason}"));
        }
    }

    /// Reads an object or list of objects with the sub-fields to keep.
    fn read_container(
        &self,
        from: &Located<String>,
        found: ResolvedPath<'_>,
        fields: Option<Located<Vec<Located<String>>>>,
    ) -> Option<OutputValue> {
        let child_names = found.child_names();
        let expected =
            format!("`fields`, the sub-fields that are kept, of {}", join_quoted(&child_names));
        let listed_fields = match fields {
            Some(fields) if !fields.value.is_empty() => fields.value,
            _ => {
                let found = format!("`{}` without a list of its sub-fields", from.value);
                self.table.report_mistake(from.line, found, expected);
                return None;
            }
        };
        let mut kept = Vec::new();
        for field in listed_fields {
            if child_names.contains(&field.value) {
                let path = format!("{}.{}", found.field_ref.path, field.value);
                kept.push(SubField { name: field.value, path });
            } else {
                let suggestion = nearest_name(&field.value, child_names.iter().map(String::as_str));
                let found = format!("unknown sub-field `{}` of `{}`", field.value, from.value);
                let expected = format!("one of {}", join_quoted(&child_names));
                let mistake = Mistake::new(self.table.file(), field.line, found, expected);
                self.table.push_mistake(mistake.with_suggestion(suggestion));
            }
        }
        let from = found.field_ref;
        Some(match found.shape {
            PathShape::ObjectList => OutputValue::ObjectList { from, fields: kept },
            _ => OutputValue::Object { from, fields: kept },
        })
    }

    fn read_scalar(
        &self,
        from: Option<ResolvedPath<'_>>,
        mask: ParsedMask,
        detect: Option<Located<&TomlValue<'_>>>,
    ) -> Option<OutputValue> {
        let field = from.as_ref().filter(|found| found.is_typed).and_then(ResolvedPath::field);
        let detect = match detect {
            None => None,
            Some(at) => Some(self.read_detectors(at, field)?),
        };
        let mask = match mask {
            ParsedMask::Invalid => return None,
            ParsedMask::None => None,
            ParsedMask::Mask(mask) => {
                if let Some(found) = &from {
                    self.check_mask_input(&mask, found);
                }
                Some(mask)
            }
        };
        Some(OutputValue::Scalar(FieldProjection {
            from: from.map(|found| found.field_ref),
            mask,
            detect,
        }))
    }

    fn read_mask(&self) -> ParsedMask {
        let Some(name) = self.table.string("mask", "the name of a mask") else {
            if self.table.contains_key("mask") {
                self.table.entries();
                return ParsedMask::Invalid;
            }
            return ParsedMask::None;
        };
        let Some(def) = MaskDef::by_name(&name.value) else {
            let suggestion = nearest_name(&name.value, MASKS.iter().map(|def| def.name));
            let found = format!("unknown mask `{}`", name.value);
            let expected = "one of those that `zeef list masks` shows";
            let mistake = Mistake::new(self.table.file(), name.line, found, expected);
            self.table.push_mistake(mistake.with_suggestion(suggestion));
            // The arguments of an unknown mask cannot be checked.
            self.table.entries();
            return ParsedMask::Invalid;
        };
        self.build_mask(def)
    }

    fn build_mask(&self, def: &MaskDef) -> ParsedMask {
        let mut given_arguments = BTreeMap::new();
        let mut is_invalid = false;
        for argument in def.arguments {
            match self.table.value(argument.name) {
                Some(at) => match parse_argument(at.value.get_ref()) {
                    Some(value) => drop(given_arguments.insert(argument.name.to_owned(), value)),
                    None => {
                        is_invalid = true;
                        let kind = describe_type(at.value.get_ref());
                        let found = format!("`{}` is {kind}", argument.name);
                        self.table.report_mistake(at.line, found, argument.constraint.to_string());
                    }
                },
                None => {
                    if let Some(value) = self.defaults.masks.argument(argument.name) {
                        given_arguments.insert(argument.name.to_owned(), value.clone());
                    }
                }
            }
        }
        match def.build(&given_arguments) {
            _ if is_invalid => ParsedMask::Invalid,
            Ok(mask) => ParsedMask::Mask(mask),
            Err(problems) => {
                self.report_argument_problems(&problems);
                ParsedMask::Invalid
            }
        }
    }

    fn report_argument_problems(&self, problems: &[ArgError]) {
        for problem in problems {
            let (argument, found, expected) = match problem {
                ArgError::Unknown { argument, known } => {
                    let expected = format!("one of {}", known.join(", "));
                    (argument.as_str(), format!("unknown key `{argument}`"), expected)
                }
                ArgError::Missing { argument, expected } => {
                    (*argument, format!("no `{argument}`"), expected.to_string())
                }
                ArgError::Invalid { argument, found, expected } => {
                    (*argument, format!("`{argument}` is {found}"), expected.to_string())
                }
            };
            self.table.report_mistake(self.table.line_of_key(argument), found, expected);
        }
    }

    /// Checks the type of a mask's field, and that its needs exist.
    fn check_mask_input(&self, mask: &Mask, found: &ResolvedPath<'_>) {
        let Some(field) = found.field() else {
            return;
        };
        let takes = &mask.def().takes;
        if found.is_typed && !(takes.accepts)(field.field_type) {
            let found = format!("this mask on `{}`", found.written_path);
            self.table.report_mistake(self.table.line_of_key("mask"), found, takes.description);
        }
        for need in mask.needs() {
            match need {
                MaskNeed::Sibling(path) => self.check_sibling_field(path, found),
                MaskNeed::SourceField(path) => self.check_reference_date(&path, mask),
                MaskNeed::Country => {}
            }
        }
    }

    /// Checks that a need is next to the field, in the same kind.
    fn check_sibling_field(&self, path: &str, found: &ResolvedPath<'_>) {
        if found.kind.field(path).is_none()
            || parent_path(path) != parent_path(&found.field_ref.path)
        {
            let expected = format!("a field that has `{path}` beside it");
            let found = format!("this mask on `{}`", found.written_path);
            self.table.report_mistake(self.table.line_of_key("mask"), found, expected);
        }
    }

    /// Checks that the day of an age, or the month of a pseudonym, is a date or instant of the
    /// source.
    fn check_reference_date(&self, path: &str, mask: &Mask) {
        let mut arguments = mask.def().arguments.iter();
        let path_argument = arguments.find(|def| def.constraint == ArgConstraint::FieldPath);
        let key = path_argument.map_or("mask", |def| def.name);
        let line = self.table.line_of_key(key);
        let Some(found) = self.resolver.resolve(self.table, line, path) else {
            return;
        };
        let dated = found.field_matches(|field| field.field_type.is_date_or_instant());
        if found.field_ref.is_joined || !dated {
            let found = format!("`{key}` is \"{path}\"");
            self.table.report_mistake(line, found, "a date or an instant of the source itself");
        }
    }

    fn read_detectors(
        &self,
        at: Located<&TomlValue<'_>>,
        field: Option<&CatalogueField>,
    ) -> Option<DetectorSet> {
        const EXPECTED: &str = "\"all\", or a list of names that `zeef list detectors` shows";
        if field.is_some_and(|field| !matches!(field.field_type, FieldType::Text(_))) {
            let found = format!("`detect` on `{}`, which is no text", self.name);
            self.table.report_mistake(at.line, found, "a field that holds text");
            return None;
        }
        if at.value.get_ref().as_str() == Some("all") {
            return Some(DetectorSet::all(self.defaults.custom_detectors));
        }
        if !at.value.get_ref().is_array() {
            let found = format!("`detect` is {}", describe_type(at.value.get_ref()));
            self.table.report_mistake(at.line, found, EXPECTED);
            return None;
        }
        let names = self.table.strings("detect", EXPECTED)?;
        if names.value.is_empty() {
            self.table.report_mistake(at.line, "no detector in `detect`", EXPECTED);
            return None;
        }
        self.detectors_by_name(&names.value)
    }

    fn detectors_by_name(&self, names: &[Located<String>]) -> Option<DetectorSet> {
        let custom = self.defaults.custom_detectors;
        let known = || {
            let custom = custom.iter().map(|one| one.name.as_str());
            DETECTORS.iter().map(|def| def.name).chain(custom)
        };
        for at in names {
            if known().all(|name| name != at.value) {
                let suggestion = nearest_name(&at.value, known());
                let found = format!("unknown detector `{}`", at.value);
                let expected = "one of those that `zeef list detectors` shows";
                let mistake = Mistake::new(self.table.file(), at.line, found, expected);
                self.table.push_mistake(mistake.with_suggestion(suggestion));
            }
        }
        DetectorSet::with_custom(names.iter().map(|at| at.value.as_str()), custom).ok()
    }

    fn read_slip(&self, previous: &Profile, slip: &ShelfSlip) -> Option<OutputValue> {
        let index_of = |key, name: &str| self.index_of_previous_field(previous, key, name);
        let shelf_mark_index = index_of("mark", &slip.shelf_mark);
        let initial_index = index_of("initial", &slip.initial);
        let line_indices: Vec<_> = slip.lines.iter().map(|line| index_of("lines", line)).collect();
        Some(OutputValue::ShelfSlip {
            shelf_mark_index: shelf_mark_index?,
            initial_index: initial_index?,
            line_indices: line_indices.into_iter().collect::<Option<_>>()?,
        })
    }

    /// Returns the index of a scalar output field above this one.
    fn index_of_previous_field(&self, previous: &Profile, key: &str, name: &str) -> Option<usize> {
        let index = previous.fields.iter().position(|field| field.name == name);
        if let Some(index) = index
            && matches!(previous.fields.get(index)?.value, OutputValue::Scalar(_))
        {
            return Some(index);
        }
        if index.is_none() && previous.all_names.iter().any(|other| other == name) {
            // Its own mistakes are reported.
            return None;
        }
        let suggestion = nearest_name(name, previous.all_names.iter().map(String::as_str));
        let suggestion = suggestion.filter(|suggestion| *suggestion != name);
        let found = format!("`{key}` names `{name}`");
        let expected = "an output field above this one, of one value";
        let line = self.table.line_of_key(key);
        self.table.push_mistake(
            Mistake::new(self.table.file(), line, found, expected).with_suggestion(suggestion),
        );
        None
    }
}

fn parent_path(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

fn parse_argument(value: &DeValue<'_>) -> Option<ArgValue> {
    match value {
        DeValue::String(text) => Some(ArgValue::Text(text.to_string())),
        DeValue::Integer(_) => parse_i64(value).map(ArgValue::Integer),
        DeValue::Boolean(value) => Some(ArgValue::Boolean(*value)),
        DeValue::Array(items) => {
            let numbers: Option<Vec<_>> =
                items.iter().map(|item| parse_i64(item.get_ref())).collect();
            let texts = || {
                let text = |item: &TomlValue<'_>| item.get_ref().as_str().map(str::to_owned);
                items.iter().map(text).collect::<Option<Vec<_>>>()
            };
            numbers.map(ArgValue::Integers).or_else(|| texts().map(ArgValue::Texts))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}
