//! Paths into a raw row, as a mapping writes them: `personal.email`,
//! `addresses[primaryAddress=true].city`, `envelope.source.table`.

use std::borrow::Cow;

use super::refusal::{Fault, Refusal};
use super::value::JsonValue;

/// What Debezium writes in place of a column that it did not get.
pub(super) const UNAVAILABLE: &str = "__debezium_unavailable_value";
/// The same for a column of bytes.
const UNAVAILABLE_BASE64: &str = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";

/// A value that a record may hold; numbers as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scalar<'a> {
    Text(Cow<'a, str>),
    Number(Cow<'a, str>),
    Boolean(bool),
}

impl<'a> Scalar<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Scalar<'a> {
        Scalar::Text(text.into())
    }

    /// The value as a text: `42`, `true`.
    pub(super) fn to_text(&self) -> Cow<'_, str> {
        match self {
            Scalar::Text(text) | Scalar::Number(text) => Cow::Borrowed(text),
            Scalar::Boolean(true) => Cow::Borrowed("true"),
            Scalar::Boolean(false) => Cow::Borrowed("false"),
        }
    }

    /// The same value, borrowed.
    pub(super) fn as_borrowed(&self) -> Scalar<'_> {
        match self {
            Scalar::Text(text) => Scalar::Text(Cow::Borrowed(text)),
            Scalar::Number(text) => Scalar::Number(Cow::Borrowed(text)),
            Scalar::Boolean(value) => Scalar::Boolean(*value),
        }
    }
}

/// Where a path starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PathRoot {
    /// The record: the row, or the body in one of its columns.
    Record,
    /// The row around the body.
    Row,
    /// The message around the row.
    Envelope,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PathStep {
    Member(String),
    /// The first item of a list whose member has that value as text.
    Item {
        member: String,
        value: String,
    },
}

/// A path into a raw row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowPath {
    root: PathRoot,
    steps: Vec<PathStep>,
    written: String,
}

/// The body of a row: its record.
#[derive(Clone, Copy, Debug)]
pub(super) enum RowBody<'m, 'a> {
    Parsed(&'m JsonValue<'a>),
    /// The column that holds it cannot be read.
    Unreadable(Refusal),
}

/// What paths are looked up in.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowScope<'m, 'a> {
    pub(super) envelope: &'m JsonValue<'a>,
    pub(super) row: &'m JsonValue<'a>,
    pub(super) body: RowBody<'m, 'a>,
    /// A row of a table has every column: one that is not there is a mistake.
    pub(super) has_all_columns: bool,
}

impl RowPath {
    /// Reads a path; `None` where it is none.
    pub(super) fn parse(written: &str) -> Option<RowPath> {
        let (root, rest) = match written.split_once('.') {
            Some(("envelope", rest)) => (PathRoot::Envelope, rest),
            Some(("row", rest)) => (PathRoot::Row, rest),
            _ => (PathRoot::Record, written),
        };
        let mut steps = Vec::new();
        let mut rest = rest;
        loop {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            if !is_member_name(name) {
                return None;
            }
            steps.push(PathStep::Member(name.to_owned()));
            let mut after = after;
            if let Some(filter) = after.strip_prefix('[') {
                let (inside, behind) = filter.split_once(']')?;
                let (member, value) = inside.split_once('=')?;
                if !is_member_name(member) || value.is_empty() {
                    return None;
                }
                let (member, value) = (member.to_owned(), value.to_owned());
                steps.push(PathStep::Item { member, value });
                after = behind;
            }
            match after.strip_prefix('.') {
                Some(next) => rest = next,
                None if after.is_empty() => break,
                None => return None,
            }
        }
        Some(RowPath { root, steps, written: written.to_owned() })
    }

    pub(super) fn written(&self) -> &str {
        &self.written
    }

    /// Whether it starts in the record: the row, or the body in one of its columns.
    pub(super) fn is_in_record(&self) -> bool {
        self.root == PathRoot::Record
    }

    pub(super) fn is_in_envelope(&self) -> bool {
        self.root == PathRoot::Envelope
    }

    /// The member in which it starts: a column, of a path into a row.
    pub(super) fn first_member(&self) -> Option<&str> {
        match self.steps.first()? {
            PathStep::Member(name) => Some(name),
            PathStep::Item { .. } => None,
        }
    }

    /// What stands at the path, whatever it is.
    pub(super) fn look_at<'m, 'a>(&self, scope: &RowScope<'m, 'a>) -> Option<&'m JsonValue<'a>> {
        let root = match (self.root, scope.body) {
            (PathRoot::Envelope, _) => scope.envelope,
            (PathRoot::Row, _) => scope.row,
            (PathRoot::Record, RowBody::Parsed(body)) => body,
            (PathRoot::Record, RowBody::Unreadable(_)) => return None,
        };
        self.steps.iter().try_fold(root, |value, step| match step {
            PathStep::Member(name) => value.member(name),
            PathStep::Item { member, value: wanted } => find_item(value, member, wanted),
        })
    }

    /// The value at the path; `None` where it is missing, null or empty.
    ///
    /// # Errors
    ///
    /// [`Refusal::ColumnMissing`], [`Refusal::Unavailable`], what is wrong with the
    /// body, and [`Refusal::Malformed`] for what is no single value.
    pub(super) fn find<'m, 'a>(
        &self,
        scope: &RowScope<'m, 'a>,
    ) -> Result<Option<Scalar<'m>>, Fault> {
        let fault = |refusal| Fault::new(refusal, &self.written);
        let root = match (self.root, scope.body) {
            (PathRoot::Envelope, _) => scope.envelope,
            (PathRoot::Row, _) => scope.row,
            (PathRoot::Record, RowBody::Parsed(body)) => body,
            (PathRoot::Record, RowBody::Unreadable(refusal)) => return Err(fault(refusal)),
        };
        let is_row = self.root == PathRoot::Row || std::ptr::eq(root, scope.row);
        let mut value = root;
        for (at, step) in self.steps.iter().enumerate() {
            let found = match step {
                PathStep::Member(name) => value.member(name),
                PathStep::Item { member, value: wanted } => find_item(value, member, wanted),
            };
            match found {
                Some(found) => value = found,
                None if at == 0 && is_row && scope.has_all_columns => {
                    return Err(fault(Refusal::ColumnMissing));
                }
                None => return Ok(None),
            }
        }
        scalar_of(value).map_err(fault)
    }
}

fn is_member_name(name: &str) -> bool {
    let is_known = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ' ' | '$' | '@');
    !name.is_empty() && name.chars().all(is_known)
}

fn find_item<'m, 'a>(
    list: &'m JsonValue<'a>,
    member: &str,
    wanted: &str,
) -> Option<&'m JsonValue<'a>> {
    let JsonValue::List(items) = list else {
        return None;
    };
    items.iter().find(|item| {
        let value = item.member(member).and_then(|value| scalar_of(value).ok().flatten());
        value.is_some_and(|value| value.to_text() == wanted)
    })
}

/// A value as a scalar; `None` where it is null or empty.
pub(super) fn scalar_of<'m>(value: &'m JsonValue<'_>) -> Result<Option<Scalar<'m>>, Refusal> {
    Ok(Some(match value {
        JsonValue::Null => return Ok(None),
        JsonValue::Text(text) if text.is_empty() => return Ok(None),
        JsonValue::Text(text) if text == UNAVAILABLE || text == UNAVAILABLE_BASE64 => {
            return Err(Refusal::Unavailable);
        }
        JsonValue::Text(text) => Scalar::Text(Cow::Borrowed(text)),
        JsonValue::Number(text) => Scalar::Number(Cow::Borrowed(text)),
        JsonValue::Boolean(value) => Scalar::Boolean(*value),
        JsonValue::BrokenText | JsonValue::List(_) | JsonValue::Object(_) => {
            return Err(Refusal::Malformed);
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::super::value::{ValueLimits, parse_text};
    use super::*;

    #[track_caller]
    fn check_path(path: &str, want: Result<Option<&str>, Refusal>) {
        let limits = ValueLimits { bytes: 1 << 16, keys: 100 };
        let row = r#"{"id":42,"empty":"","none":null,"text":"a","list":[{"on":false,"city":"x"},{"on":true,"city":"Bergen"}],"gap":"__debezium_unavailable_value","half":"\ud800"}"#;
        let row = parse_text(row, limits).unwrap();
        let envelope = parse_text(r#"{"source":{"table":"issues"}}"#, limits).unwrap();
        let scope = RowScope {
            envelope: &envelope,
            row: &row,
            body: RowBody::Parsed(&row),
            has_all_columns: true,
        };
        let found = RowPath::parse(path).expect("a path").find(&scope);
        let found = found.map(|value| value.map(|value| value.to_text().into_owned()));
        let want = want.map(|value| value.map(str::to_owned));
        assert_eq!(found.map_err(|fault| fault.refusal), want, "{path}");
    }

    #[test]
    fn path_finds_values() {
        check_path("id", Ok(Some("42")));
        check_path("row.id", Ok(Some("42")));
        check_path("empty", Ok(None));
        check_path("none", Ok(None));
        check_path("list[on=true].city", Ok(Some("Bergen")));
        check_path("list[on=maybe].city", Ok(None));
        check_path("envelope.source.table", Ok(Some("issues")));
        check_path("envelope.source.schema", Ok(None));
        check_path("text.below", Ok(None));
    }

    #[test]
    fn path_refuses_what_is_no_value() {
        check_path("iid", Err(Refusal::ColumnMissing));
        check_path("list", Err(Refusal::Malformed));
        check_path("half", Err(Refusal::Malformed));
        check_path("gap", Err(Refusal::Unavailable));
        for wrong in ["", "a..b", "a[b]", "a[b=]", "a[b=c]d", ".a", "a[b=c", "a\"b"] {
            assert_eq!(RowPath::parse(wrong), None, "{wrong}");
        }
    }
}
