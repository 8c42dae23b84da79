//! Records and outputs compared with what plain SQL says of the database as it is now.

use serde_json::Value;

use super::{Published, UpstreamSite, parse};

/// Which rows of the database a test compares; views `expected_KIND` have their records.
pub(super) struct Comparison<'a> {
    pub(super) site: &'a UpstreamSite,
    /// What has to be said before a view is read.
    pub(super) before_select: &'static str,
    /// Whether the id of a patron or a record is one of the test's.
    pub(super) is_own: fn(&str) -> bool,
    /// Whether the `member_ref` of kb-recognition is one of the test's.
    pub(super) is_own_member: fn(&str) -> bool,
}

/// How many records and outputs were as they have to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) patrons: usize,
    pub(super) loans: usize,
    pub(super) reservations: usize,
    pub(super) debts: usize,
    pub(super) messages: usize,
    pub(super) members: usize,
}

impl Comparison<'_> {
    /// Compares everything, field by field.
    #[track_caller]
    pub(super) fn check(&self, published: &Published) -> Counts {
        let patrons = published.patrons().into_iter().filter(|(patron, _)| (self.is_own)(patron));
        let patrons = patrons.filter_map(|(_, record)| record).collect();
        let mut messages = published.outputs("out.service-message");
        messages.retain(|output| output["title"].as_str().unwrap().starts_with("Titel "));
        let mut members = published.outputs("out.kb-recognition");
        members.retain(|output| (self.is_own_member)(output["member_ref"].as_str().unwrap()));
        Counts {
            patrons: self.check_values("patron", patrons),
            loans: self.check_live(published, "loan", "loan_id"),
            reservations: self.check_live(published, "reservation", "reservation_id"),
            debts: self.check_live(published, "debt", "debt_id"),
            messages: self.check_values("service_message", messages),
            members: self.check_values("kb_recognition", members),
        }
    }

    #[track_caller]
    fn check_live(&self, published: &Published, kind: &str, id: &str) -> usize {
        let mut live = published.live(kind, id);
        live.retain(|(_, id), _| (self.is_own)(id));
        self.check_values(kind, live.into_values().map(with_utc_instants).collect())
    }

    /// Compares with a view; yields how many values it has.
    #[track_caller]
    fn check_values(&self, view: &str, found: Vec<Value>) -> usize {
        let select = format!("{}SELECT record FROM expected_{view}", self.before_select);
        let lines = self.site.run_sql(select);
        let want = lines.lines().map(|line| without_missing(parse(line)).unwrap()).collect();
        assert_same_values(view, found, want)
    }
}

/// Instants as SQL writes them: in UTC, in whole seconds.
fn with_utc_instants(mut record: Value) -> Value {
    for field in ["loaned_at", "returned_at", "ready_at"] {
        if let Some(text) = record[field].as_str() {
            let instant: jiff::Timestamp = text.parse().unwrap();
            record[field] = instant.strftime("%Y-%m-%d %H:%M:%S").to_string().into();
        }
    }
    record
}

/// A value without what zeef counts as missing: nulls, empty texts, and objects of those.
fn without_missing(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::Object(members) => {
            let members: serde_json::Map<String, Value> = members
                .into_iter()
                .filter_map(|(name, value)| Some((name, without_missing(value)?)))
                .collect();
            (!members.is_empty()).then_some(Value::Object(members))
        }
        other => Some(other),
    }
}

/// Asserts that both are the same values in any order, and shows what one of them lacks; yields
/// how many they are.
#[track_caller]
fn assert_same_values(what: &str, found: Vec<Value>, want: Vec<Value>) -> usize {
    let sorted = |values: Vec<Value>| {
        let mut texts: Vec<String> = values.iter().map(Value::to_string).collect();
        texts.sort();
        texts
    };
    let (found, want) = (sorted(found), sorted(want));
    let without = |of: &[String], other: &[String]| {
        let missing = of.iter().filter(|text| other.binary_search(text).is_err());
        missing.take(3).cloned().collect::<Vec<_>>().join("\n  ")
    };
    assert!(
        found == want,
        "{what}: found {} of {}\nunexpected:\n  {}\nmissing:\n  {}",
        found.len(),
        want.len(),
        without(&found, &want),
        without(&want, &found)
    );
    found.len()
}
