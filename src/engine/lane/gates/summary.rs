//! Sums, counts and lists of a patron's own records, compiled for one recipient.

use std::sync::Arc;

use super::{GateFingerprint, GateInput, GatePatron};
use crate::engine::lane::condition::{check_condition, check_value};
use crate::engine::memory::consents::PatronConsents;
use crate::engine::memory::patron_records::PatronRecords;
use crate::engine::memory::patrons::PatronRow;
use crate::engine::record::shape::FieldLocation;
use crate::engine::record::value::FieldValue;
use crate::json::buffer::MemberPrefix;
use crate::policy::reason::Reason;
use crate::policy::recipient::{ConditionTest, ServedLibraries};

/// The summaries of one recipient. Two are equal only if they are the same.
#[derive(Clone, Debug, Default)]
pub struct Summaries(pub Option<Arc<[CompiledSummary]>>);

impl Summaries {
    /// In the order of the recipient's file.
    pub fn iter(&self) -> impl Iterator<Item = &CompiledSummary> {
        self.0.iter().flat_map(|all| all.iter())
    }

    #[must_use]
    pub fn get(&self, index: usize) -> Option<&CompiledSummary> {
        self.0.as_ref()?.get(index)
    }
}

impl PartialEq for Summaries {
    fn eq(&self, other: &Summaries) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for Summaries {}

/// A summary; slots are those of the rows of kept records.
#[derive(Debug)]
pub struct CompiledSummary {
    /// An index of the lane's sources.
    pub source: u16,
    pub conditions: Vec<(u16, CompiledSummaryTest)>,
    /// The slot of the boolean that says that a record is gone; those that are gone are not kept.
    pub gone: Option<u16>,
    /// The slot of the library, and the libraries that the recipient serves.
    pub library: (u16, ServedLibraries),
    pub function: CompiledFunction,
}

#[derive(Debug)]
pub enum CompiledSummaryTest {
    Value(ConditionTest),
    /// The text of a field of the patron, or else another text.
    SameAs(FieldLocation, Option<String>),
}

#[derive(Debug)]
pub enum CompiledFunction {
    Sum(u16),
    Count,
    Any(String),
    List { fields: Vec<ListedField>, order: Vec<u16> },
}

/// A field of each record of a list.
#[derive(Debug)]
pub struct ListedField {
    pub prefix: MemberPrefix,
    pub slot: u16,
}

/// What a summary is of one patron.
#[derive(Debug)]
pub enum SummaryValue<'a> {
    Number(i64),
    /// Missing if there is no record.
    Word(Option<&'a str>),
    Records(Vec<&'a PatronRow>),
}

/// A record that counts, or may count, cannot be read; or the sum is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnreadableRecords;

impl CompiledSummary {
    /// Whether a record may count, whatever its patron is. Others need not be kept.
    #[must_use]
    pub fn may_count(&self, row: &PatronRow) -> bool {
        self.has_served_library(row)
            && self.conditions.iter().all(|(slot, test)| match test {
                CompiledSummaryTest::Value(test) => {
                    test.time_range().is_some()
                        || check_condition(row.value(*slot), test) != Err(Reason::Condition)
                }
                CompiledSummaryTest::SameAs(..) => true,
            })
    }

    /// Summarises the records of the patron of `input`. Lowers `recheck_due_ms` to when time
    /// alone may change the result.
    ///
    /// # Errors
    ///
    /// [`UnreadableRecords`].
    pub fn evaluate<'a>(
        &'a self,
        input: &GateInput<'a>,
        recheck_due_ms: &mut i64,
    ) -> Result<SummaryValue<'a>, UnreadableRecords> {
        let mut counted = Vec::new();
        let mut count = 0_i64;
        let mut sum = 0_i64;
        for row in self.unsettled_records(input.patron) {
            if !self.counts(row, input, recheck_due_ms)? {
                continue;
            }
            count += 1;
            match &self.function {
                CompiledFunction::Sum(slot) => {
                    let amount = read_integer(row.value(*slot)).ok_or(UnreadableRecords)?;
                    sum = sum.checked_add(amount).ok_or(UnreadableRecords)?;
                }
                CompiledFunction::List { fields, order } => {
                    let slots = fields.iter().map(|field| field.slot).chain(order.iter().copied());
                    if slots.into_iter().any(|slot| row.value(slot).is_malformed()) {
                        return Err(UnreadableRecords);
                    }
                    counted.push(row);
                }
                CompiledFunction::Count | CompiledFunction::Any(_) => {}
            }
        }
        Ok(match &self.function {
            CompiledFunction::Sum(_) => SummaryValue::Number(sum),
            CompiledFunction::Count => SummaryValue::Number(count),
            CompiledFunction::Any(word) => SummaryValue::Word((count > 0).then_some(word)),
            CompiledFunction::List { order, .. } => {
                counted.sort_unstable_by(|one, other| {
                    let keys =
                        |row: &'a PatronRow| order.iter().map(move |slot| sort_key(row, *slot));
                    keys(one).cmp(keys(other)).then(one.patron_id().cmp(other.patron_id()))
                });
                SummaryValue::Records(counted)
            }
        })
    }

    /// Adds what decides the summary beside the patron's own record: equal bytes are an
    /// equal summary of one version of the patron.
    pub fn add_to_fingerprint(&self, input: &GateInput<'_>, fingerprint: &mut GateFingerprint) {
        let mut rows: Vec<&PatronRow> = self.unsettled_records(input.patron).collect();
        let GateFingerprint { other_records: bytes, recheck_due_ms, .. } = fingerprint;
        rows.sort_unstable_by_key(|row| row.patron_id());
        bytes.extend_from_slice(&rows.len().to_le_bytes());
        for row in rows {
            add_text(bytes, 'r', row.patron_id());
            for (slot, test) in &self.conditions {
                if let CompiledSummaryTest::Value(test) = test
                    && test.time_range().is_some()
                {
                    let value = row.value(*slot);
                    let fits = check_value(value, test, input.now_ms, recheck_due_ms).is_ok();
                    bytes.push(u8::from(fits));
                }
            }
            for slot in self.slots() {
                match row.value(slot) {
                    FieldValue::Missing => add_text(bytes, '-', ""),
                    FieldValue::Malformed => add_text(bytes, '!', ""),
                    FieldValue::Boolean(truth) => {
                        add_text(bytes, if truth { 'y' } else { 'f' }, "")
                    }
                    FieldValue::Number(written) => add_text(bytes, 'n', written),
                    FieldValue::Text { text, .. } => add_text(bytes, 't', text),
                }
            }
        }
    }

    /// The slots that decide anything.
    fn slots(&self) -> impl Iterator<Item = u16> {
        let (sum, fields, order) = match &self.function {
            CompiledFunction::Sum(slot) => (Some(*slot), &[][..], &[][..]),
            CompiledFunction::Count | CompiledFunction::Any(_) => (None, &[][..], &[][..]),
            CompiledFunction::List { fields, order } => (None, fields.as_slice(), order.as_slice()),
        };
        let conditions = self.conditions.iter().map(|(slot, _)| *slot);
        let shown = sum.into_iter().chain(fields.iter().map(|field| field.slot));
        conditions.chain(shown).chain(order.iter().copied()).chain(self.gone)
    }

    /// The records that may count and are not settled.
    fn unsettled_records<'a>(&self, patron: GatePatron<'a>) -> impl Iterator<Item = &'a PatronRow> {
        let records = patron.records.into_iter();
        let rows = records.flat_map(|records| PatronRecords::of_source(records, self.source));
        rows.filter(move |row| {
            let is_settled = |consents: &PatronConsents| consents.is_settled(row.patron_id());
            self.may_count(row) && !patron.patron_consents.is_some_and(is_settled)
        })
    }

    fn has_served_library(&self, row: &PatronRow) -> bool {
        match &self.library {
            (_, ServedLibraries::All) => true,
            (slot, ServedLibraries::Only(served)) => {
                let library = row.value(*slot).as_text();
                library.is_some_and(|library| served.iter().any(|one| one == library))
            }
        }
    }

    /// Whether every condition holds. One that cannot be read matters only where no other fails.
    fn counts(
        &self,
        row: &PatronRow,
        input: &GateInput<'_>,
        recheck_due_ms: &mut i64,
    ) -> Result<bool, UnreadableRecords> {
        let mut is_readable = !self.gone.is_some_and(|slot| row.value(slot).is_malformed());
        for (slot, test) in &self.conditions {
            let value = row.value(*slot);
            let holds = match test {
                _ if value.is_malformed() => {
                    is_readable = false;
                    continue;
                }
                CompiledSummaryTest::Value(test) => {
                    check_value(value, test, input.now_ms, recheck_due_ms).is_ok()
                }
                CompiledSummaryTest::SameAs(of_patron, or_else) => {
                    let wanted = input.text(*of_patron).or(or_else.as_deref());
                    wanted.is_some() && value.as_text() == wanted
                }
            };
            if !holds {
                return Ok(false);
            }
        }
        if is_readable { Ok(true) } else { Err(UnreadableRecords) }
    }
}

fn add_text(bytes: &mut Vec<u8>, tag: char, text: &str) {
    bytes.push(tag as u8);
    bytes.extend_from_slice(&text.len().to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

fn read_integer(value: FieldValue<'_>) -> Option<i64> {
    match value {
        FieldValue::Number(written) => written.parse().ok(),
        _ => None,
    }
}

/// Dates sort as they are written; missing ones come last.
fn sort_key(row: &PatronRow, slot: u16) -> (bool, &str) {
    let text = row.value(slot).as_text();
    (text.is_none(), text.unwrap_or_default())
}
