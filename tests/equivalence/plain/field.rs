//! Looking a listed field up in a tree: missing, malformed, or a value.

use zeef::policy::catalogue::Type;

use super::tree::Tree;

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Missing,
    Malformed,
    Text(String),
    /// As written.
    Number(String),
    Bool(bool),
}

impl Found {
    /// The characters of a string, or of a number as written.
    pub fn text(self) -> Option<String> {
        match self {
            Found::Text(text) | Found::Number(text) => Some(text),
            Found::Missing | Found::Malformed | Found::Bool(_) => None,
        }
    }

    /// The same, and a truth as a word.
    pub fn shown(self) -> Option<String> {
        match self {
            Found::Bool(truth) => Some(truth.to_string()),
            other => other.text(),
        }
    }
}

/// Looks up `path`, which goes into no list.
pub fn look(tree: &Tree, path: &str, kind: Type) -> Found {
    let (name, below) = match path.split_once('.') {
        Some((name, below)) => (name, Some(below)),
        None => (path, None),
    };
    let value = match only(tree, name) {
        Ok(Some(value)) => value,
        Ok(None) => return Found::Missing,
        Err(Twice) => return Found::Malformed,
    };
    match (below, value) {
        (None, value) => scalar(value, kind),
        (Some(below), Tree::Object(_)) => look(value, below, kind),
        (Some(_), other) => nothing_or_malformed(other),
    }
}

/// Whether what stands at `path` is malformed; in a list, in any element of it.
pub fn malformed(tree: &Tree, path: &str, kind: Type) -> bool {
    let Some((list, below)) = path.split_once("[]") else {
        return look(tree, path, kind) == Found::Malformed;
    };
    let found = match below.strip_prefix('.') {
        None => values(tree, list, kind),
        Some(below) => objects(tree, list).map(|objects| {
            let found = objects.iter().map(|object| look(object, below, kind));
            found.collect()
        }),
    };
    found.is_none_or(|found| found.contains(&Found::Malformed))
}

/// The values of a list of single values; none where it is malformed.
pub fn values(tree: &Tree, list: &str, kind: Type) -> Option<Vec<Found>> {
    let found = elements(tree, list)?
        .iter()
        .map(|element| scalar(element, kind));
    Some(found.filter(|found| *found != Found::Missing).collect())
}

/// The objects of a list of objects; none where it is malformed.
pub fn objects<'a>(tree: &'a Tree, list: &str) -> Option<Vec<&'a Tree>> {
    let mut objects = Vec::new();
    for element in elements(tree, list)? {
        match element {
            Tree::Object(_) => objects.push(element),
            other if is_blank(other) => {}
            _ => return None,
        }
    }
    Some(objects)
}

fn elements<'a>(tree: &'a Tree, list: &str) -> Option<&'a [Tree]> {
    let (name, below) = match list.split_once('.') {
        Some((name, below)) => (name, Some(below)),
        None => (list, None),
    };
    match (below, only(tree, name)) {
        (_, Ok(None)) => Some(&[]),
        (_, Err(Twice)) => None,
        (None, Ok(Some(Tree::List(elements)))) => Some(elements),
        (Some(below), Ok(Some(inner @ Tree::Object(_)))) => elements(inner, below),
        (_, Ok(Some(other))) => is_blank(other).then_some(&[]),
    }
}

/// Whether a field stands in the record that `paths` do not have.
pub fn has_unlisted(tree: &Tree, paths: &[&str]) -> bool {
    let Tree::Object(members) = tree else {
        return false;
    };
    let mut seen: Vec<&str> = Vec::new();
    members.iter().any(|(key, value)| {
        let Some(name) = key.as_deref() else {
            return true;
        };
        let of_name = |path: &&str| {
            let rest = path.strip_prefix(name)?;
            let whole = rest.is_empty() || rest.starts_with(['.', '[']);
            // A key may hold what parts a path.
            (whole && !name.contains(['.', '['])).then(|| rest.to_owned())
        };
        let rests: Vec<String> = paths.iter().filter_map(of_name).collect();
        if rests.is_empty() {
            return true;
        }
        // What a twin holds is not looked at: it is malformed anyway.
        let twin = seen.contains(&name);
        seen.push(name);
        !twin && unlisted_below(value, &rests)
    })
}

fn unlisted_below(value: &Tree, rests: &[String]) -> bool {
    let below = |start: &str| -> Vec<&str> {
        let rests = rests.iter();
        rests.filter_map(|rest| rest.strip_prefix(start)).collect()
    };
    match value {
        Tree::Object(_) => {
            let inner = below(".");
            !inner.is_empty() && has_unlisted(value, &inner)
        }
        Tree::List(elements) => {
            let inner = below("[].");
            let unlisted = |element: &Tree| has_unlisted(element, &inner);
            !inner.is_empty() && elements.iter().any(unlisted)
        }
        _ => false,
    }
}

struct Twice;

/// The one value under `name`.
fn only<'a>(tree: &'a Tree, name: &str) -> Result<Option<&'a Tree>, Twice> {
    let Tree::Object(members) = tree else {
        return Ok(None);
    };
    let mut found = None;
    for (key, value) in members {
        if key.as_deref() == Some(name) && found.replace(value).is_some() {
            return Err(Twice);
        }
    }
    Ok(found)
}

/// Whether nothing stands here: null, empty, or only such.
fn is_blank(tree: &Tree) -> bool {
    match tree {
        Tree::Null => true,
        Tree::Text(text) => text.as_deref() == Some(""),
        Tree::List(elements) => elements.iter().all(is_blank),
        Tree::Object(members) => members.iter().all(|(_, value)| is_blank(value)),
        Tree::Bool(_) | Tree::Number(_) => false,
    }
}

fn nothing_or_malformed(tree: &Tree) -> Found {
    if is_blank(tree) {
        Found::Missing
    } else {
        Found::Malformed
    }
}

fn scalar(tree: &Tree, kind: Type) -> Found {
    match (kind, tree) {
        (Type::Boolean, Tree::Bool(truth)) => Found::Bool(*truth),
        (Type::Integer, Tree::Number(written)) if !written.contains(['.', 'e', 'E']) => {
            number(written)
        }
        (Type::TextOrNumber, Tree::Number(written)) => number(written),
        (Type::Text(_) | Type::CardNumber | Type::TextOrNumber, Tree::Text(text)) => {
            string(text.as_deref(), kind)
        }
        (_, other) => nothing_or_malformed(other),
    }
}

fn number(written: &str) -> Found {
    match written.parse::<f64>() {
        Ok(value) if value.is_finite() => Found::Number(written.to_owned()),
        _ => Found::Malformed,
    }
}

fn string(text: Option<&str>, kind: Type) -> Found {
    match (text, kind) {
        (None, _) => Found::Malformed,
        (Some(""), _) => Found::Missing,
        (Some(text), Type::Text(Some(form))) if !form.fits(text) => Found::Missing,
        (Some(text), _) => Found::Text(text.to_owned()),
    }
}
