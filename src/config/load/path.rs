//! Resolves paths of a recipient to fields of the catalogue.

use crate::config::document::{Mistake, TomlTable, nearest_name};
use crate::policy::catalogue::{CatalogueField, RecordKind, Role};
use crate::policy::recipient::FieldRef;

/// The fields that a recipient may name: of its source, and of the patron.
#[derive(Clone, Copy)]
pub(crate) struct FieldResolver<'a> {
    pub(crate) kinds: &'a [RecordKind],
    /// Kinds whose files cannot be read.
    pub(crate) unreadable_kinds: &'a [String],
    /// `None` if the source is unknown, so that nothing can be checked.
    pub(crate) source: Option<&'a RecordKind>,
    /// `None` if no kind has the role.
    pub(crate) patron: Option<&'a RecordKind>,
    /// The file of the patron kind cannot be read.
    pub(crate) is_patron_unreadable: bool,
    /// Kind and path of fields with an invalid type or class.
    pub(crate) untyped_fields: &'a [(String, String)],
}

pub(crate) enum PathShape<'a> {
    Scalar(&'a CatalogueField),
    Object,
    ObjectList,
    ScalarList(&'a CatalogueField),
}

pub(crate) struct ResolvedPath<'a> {
    pub(crate) field_ref: FieldRef,
    pub(crate) kind: &'a RecordKind,
    pub(crate) shape: PathShape<'a>,
    pub(crate) written_path: String,
    /// Its type and class are valid and can be checked.
    pub(crate) is_typed: bool,
}

impl<'a> ResolvedPath<'a> {
    /// Returns the field of a scalar or list of scalars.
    pub(crate) fn field(&self) -> Option<&'a CatalogueField> {
        match self.shape {
            PathShape::Scalar(field) | PathShape::ScalarList(field) => Some(field),
            PathShape::Object | PathShape::ObjectList => None,
        }
    }

    /// Returns whether `test` holds for the field; assumed if its type is invalid.
    pub(crate) fn field_matches(&self, test: impl FnOnce(&CatalogueField) -> bool) -> bool {
        self.field().is_some_and(|field| !self.is_typed || test(field))
    }

    /// Returns the names of the values right below an object or list.
    pub(crate) fn child_names(&self) -> Vec<String> {
        let start = format!("{}.", self.field_ref.path);
        let below = self.kind.fields.iter();
        below
            .filter_map(|field| field.path.strip_prefix(&start))
            .filter(|name| !name.contains(['.', '[']))
            .map(str::to_owned)
            .collect()
    }
}

/// Prefix of fields of the joined patron.
const PATRON_PREFIX: &str = "patron.";

/// A path where it is written.
#[derive(Clone, Copy)]
struct WrittenPath<'t> {
    table: &'t TomlTable<'t>,
    line: usize,
    text: &'t str,
}

impl<'a> FieldResolver<'a> {
    /// Resolves `written`, and reports it if it is unknown.
    pub(crate) fn resolve(
        &self,
        table: &TomlTable<'_>,
        line: usize,
        written: &str,
    ) -> Option<ResolvedPath<'a>> {
        let source = self.source?;
        let at = WrittenPath { table, line, text: written };
        if let Some(path) = written.strip_prefix(PATRON_PREFIX) {
            if source.role == Role::Patron {
                let found = format!("`{written}` where patrons are the source themselves");
                let mistake = Mistake::new(table.file(), line, found, "");
                table.push_mistake(mistake.with_suggestion(Some(path)));
                return None;
            }
            return self.resolve_patron_field(at, path);
        }
        match shape_of_path(source, written) {
            Some(shape) => {
                let field_ref = FieldRef { is_joined: false, path: written.to_owned() };
                Some(self.make_resolved(field_ref, source, shape, written))
            }
            None => self.report_unknown_field(at, &source.name),
        }
    }

    fn resolve_patron_field(&self, at: WrittenPath<'_>, path: &str) -> Option<ResolvedPath<'a>> {
        if self.source.is_some_and(|source| !source.is_keyed_by_patron) {
            let found = format!("`{}` on a source whose records have no patron", at.text);
            at.table.report_mistake(at.line, found, "a field of the source itself");
            return None;
        }
        if self.is_patron_unreadable {
            return None;
        }
        let found = self.patron.and_then(|kind| Some((kind, shape_of_path(kind, path)?)));
        match found {
            Some((kind, shape)) => {
                let field_ref = FieldRef { is_joined: true, path: path.to_owned() };
                Some(self.make_resolved(field_ref, kind, shape, at.text))
            }
            None => self.report_unknown_field(at, "patron"),
        }
    }

    fn make_resolved(
        &self,
        field_ref: FieldRef,
        kind: &'a RecordKind,
        shape: PathShape<'a>,
        written: &str,
    ) -> ResolvedPath<'a> {
        let is_invalid =
            |(name, path): &(String, String)| *name == kind.name && *path == field_ref.path;
        ResolvedPath {
            is_typed: !self.untyped_fields.iter().any(is_invalid),
            field_ref,
            kind,
            shape,
            written_path: written.to_owned(),
        }
    }

    fn report_unknown_field(&self, at: WrittenPath<'_>, kind: &str) -> Option<ResolvedPath<'a>> {
        let WrittenPath { table, line, text: written } = at;
        let names = self.nameable_paths();
        let suggestion = nearest_name(written, names.iter().map(String::as_str));
        let inside_list = suggestion.is_none().then(|| enclosing_list(written, &names)).flatten();
        let found = format!("unknown field `{written}`");
        let expected = match (&suggestion, inside_list) {
            (Some(_), _) => String::new(),
            (None, Some(list)) => format!("`from = \"{list}\"` and its sub-fields in `fields`"),
            (None, None) => format!("a field of `{kind}`, as `zeef list fields` shows them"),
        };
        table.push_mistake(
            Mistake::new(table.file(), line, found, expected).with_suggestion(suggestion),
        );
        None
    }

    /// Returns everything that can be named, as written.
    fn nameable_paths(&self) -> Vec<String> {
        let own = self.source.map_or_else(Vec::new, paths_of_kind);
        let source_is_keyed = self.source.is_some_and(|source| source.is_keyed_by_patron);
        let joined = self.patron.filter(|_| source_is_keyed);
        let joined = joined.map_or_else(Vec::new, paths_of_kind);
        let joined = joined.into_iter().map(|path| format!("{PATRON_PREFIX}{path}"));
        own.into_iter().chain(joined).collect()
    }
}

/// Returns the paths of a kind's values, objects and lists.
fn paths_of_kind(kind: &RecordKind) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for field in &kind.fields {
        let path = field.path.as_str();
        for (end, _) in path.match_indices('.') {
            let above = &path[..end];
            if !names.iter().any(|name| name == above) {
                names.push(above.to_owned());
            }
        }
        // Elements cannot be named on their own.
        if !path.contains("[].") {
            names.push(path.to_owned());
        }
    }
    names
}

/// Returns the list that `written` goes through.
fn enclosing_list<'n>(written: &str, names: &'n [String]) -> Option<&'n str> {
    names
        .iter()
        .map(String::as_str)
        .find(|name| name.ends_with("[]") && written.starts_with(&format!("{name}.")))
}

fn shape_of_path<'a>(kind: &'a RecordKind, path: &str) -> Option<PathShape<'a>> {
    if path.contains("[].") {
        return None;
    }
    if let Some(field) = kind.field(path) {
        return Some(if path.ends_with("[]") {
            PathShape::ScalarList(field)
        } else {
            PathShape::Scalar(field)
        });
    }
    let start = format!("{path}.");
    let below = kind.fields.iter().any(|field| field.path.starts_with(&start));
    match (below, path.ends_with("[]")) {
        (true, true) => Some(PathShape::ObjectList),
        (true, false) => Some(PathShape::Object),
        (false, _) => None,
    }
}
