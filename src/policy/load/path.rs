//! Paths as a recipient writes them, and the catalogue's fields they mean.

use crate::policy::catalogue::{Field, Kind, Role};
use crate::policy::document::{Mistake, Table, near};
use crate::policy::recipient::FieldRef;

/// What a recipient may name: the fields of its source, and of the patron.
pub(super) struct Paths<'a> {
    /// `None` where the source is not known, and nothing can be judged.
    pub(super) source: Option<&'a Kind>,
    /// `None` where no kind has the role, or it is the source itself.
    pub(super) patron: Option<&'a Kind>,
    /// The catalogue's file of patrons cannot be read.
    pub(super) patron_unread: bool,
    /// Kind and path of fields whose type or class is mistaken.
    pub(super) untyped: &'a [(String, String)],
}

/// What a path stands for.
pub(super) enum Shape<'a> {
    Value(&'a Field),
    /// Fields stand below it.
    Object,
    /// Each element has fields.
    List,
    /// Each element is one value.
    Values(&'a Field),
}

/// A path that is known.
pub(super) struct Found<'a> {
    pub(super) at: FieldRef,
    pub(super) kind: &'a Kind,
    pub(super) shape: Shape<'a>,
    /// As the file has it.
    pub(super) written: String,
    /// Its type and class are known: what does not suit them is a mistake.
    pub(super) typed: bool,
}

impl<'a> Found<'a> {
    /// The field, where the path is one value or a list of single values.
    pub(super) fn field(&self) -> Option<&'a Field> {
        match self.shape {
            Shape::Value(field) | Shape::Values(field) => Some(field),
            Shape::Object | Shape::List => None,
        }
    }

    /// Whether it is a field for which `test` holds; assumed where its type is
    /// not known.
    pub(super) fn is(&self, test: impl FnOnce(&Field) -> bool) -> bool {
        self.field().is_some_and(|field| !self.typed || test(field))
    }

    /// The names of the values right below an object or a list.
    pub(super) fn children(&self) -> Vec<String> {
        let start = format!("{}.", self.at.path);
        let below = self.kind.fields.iter();
        below
            .filter_map(|field| field.path.strip_prefix(&start))
            .filter(|name| !name.contains(['.', '[']))
            .map(str::to_owned)
            .collect()
    }
}

/// The word before a path that means: from the table.
const PATRON: &str = "patron.";

impl<'a> Paths<'a> {
    /// Finds what `written` means; where it means nothing, says so.
    pub(super) fn resolve(
        &self,
        table: &Table<'_>,
        line: usize,
        written: &str,
    ) -> Option<Found<'a>> {
        let source = self.source?;
        if let Some(path) = written.strip_prefix(PATRON) {
            if source.role == Role::Patron {
                let found = format!("`{written}` where patrons are the source themselves");
                let near = Some(path.to_owned());
                table.push(Mistake::new(table.file(), line, found, "").near(near));
                return None;
            }
            return self.joined(table, line, written, path);
        }
        match shape(source, written) {
            Some(shape) => {
                let at = FieldRef {
                    joined: false,
                    path: written.to_owned(),
                };
                Some(self.found(at, source, shape, written))
            }
            None => self.unknown(table, line, written, &source.name),
        }
    }

    fn joined(
        &self,
        table: &Table<'_>,
        line: usize,
        written: &str,
        path: &str,
    ) -> Option<Found<'a>> {
        if self.source.is_some_and(|source| !source.keyed) {
            let found = format!("`{written}` on a source whose records have no patron");
            table.mistake(line, found, "a field of the source itself");
            return None;
        }
        if self.patron_unread {
            return None;
        }
        let found = self
            .patron
            .and_then(|kind| Some((kind, shape(kind, path)?)));
        match found {
            Some((kind, shape)) => {
                let at = FieldRef {
                    joined: true,
                    path: path.to_owned(),
                };
                Some(self.found(at, kind, shape, written))
            }
            None => self.unknown(table, line, written, "patron"),
        }
    }

    fn found(&self, at: FieldRef, kind: &'a Kind, shape: Shape<'a>, written: &str) -> Found<'a> {
        let mistaken = |(name, path): &(String, String)| *name == kind.name && *path == at.path;
        Found {
            typed: !self.untyped.iter().any(mistaken),
            at,
            kind,
            shape,
            written: written.to_owned(),
        }
    }

    fn unknown(
        &self,
        table: &Table<'_>,
        line: usize,
        written: &str,
        kind: &str,
    ) -> Option<Found<'a>> {
        let names = self.names();
        let close = near(written, names.iter().map(String::as_str));
        let inside_list = close.is_none().then(|| list_of(written, &names)).flatten();
        let found = format!("unknown field `{written}`");
        let expected = match (&close, inside_list) {
            (Some(_), _) => String::new(),
            (None, Some(list)) => format!("`from = \"{list}\"` and its sub-fields in `fields`"),
            (None, None) => format!("a field of `{kind}`, as `zeef list fields` shows them"),
        };
        table.push(Mistake::new(table.file(), line, found, expected).near(close));
        None
    }

    /// All that can be named, as it is to be written.
    fn names(&self) -> Vec<String> {
        let own = self.source.map_or_else(Vec::new, names);
        let source_is_keyed = self.source.is_some_and(|source| source.keyed);
        let joined = self.patron.filter(|_| source_is_keyed);
        let joined = joined.map_or_else(Vec::new, names);
        let joined = joined.into_iter().map(|path| format!("{PATRON}{path}"));
        own.into_iter().chain(joined).collect()
    }
}

/// The paths of a kind's values, objects and lists.
fn names(kind: &Kind) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for field in &kind.fields {
        let path = field.path.as_str();
        for (end, _) in path.match_indices('.') {
            let above = &path[..end];
            if !names.iter().any(|name| name == above) {
                names.push(above.to_owned());
            }
        }
        // What stands in a list cannot be named on its own.
        if !path.contains("[].") {
            names.push(path.to_owned());
        }
    }
    names
}

/// The list that `written` reaches into.
fn list_of<'n>(written: &str, names: &'n [String]) -> Option<&'n str> {
    names
        .iter()
        .map(String::as_str)
        .find(|name| name.ends_with("[]") && written.starts_with(&format!("{name}.")))
}

fn shape<'a>(kind: &'a Kind, path: &str) -> Option<Shape<'a>> {
    if path.contains("[].") {
        return None;
    }
    if let Some(field) = kind.field(path) {
        return Some(if path.ends_with("[]") {
            Shape::Values(field)
        } else {
            Shape::Value(field)
        });
    }
    let start = format!("{path}.");
    let below = kind
        .fields
        .iter()
        .any(|field| field.path.starts_with(&start));
    match (below, path.ends_with("[]")) {
        (true, true) => Some(Shape::List),
        (true, false) => Some(Shape::Object),
        (false, _) => None,
    }
}
