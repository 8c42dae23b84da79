//! Which columns a mapping reads: no other one has to leave the library system.

use std::collections::{BTreeMap, BTreeSet};

use super::expression::{Condition, Expression, Origin, TemplatePart};
use super::fields::FieldNode;
use super::mapping::{DeleteRule, RecordMapping};
use super::path::RowPath;
use super::topic::TopicPattern;
use super::{Intake, LookupDef};

/// The columns that are read of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicColumns {
    /// As in the mapping: a name, or a pattern.
    pub topic: String,
    /// What reads them: kinds, and lookups by name.
    pub readers: Vec<String>,
    pub columns: BTreeSet<String>,
}

impl Intake {
    /// Returns the columns of each topic that the mapping names, lookups first.
    #[must_use]
    pub fn columns(&self) -> Vec<TopicColumns> {
        let mut topics: Vec<TopicColumns> = Vec::new();
        for lookup in &self.lookups {
            let columns = ColumnSet::of_lookup(lookup);
            add(&mut topics, &lookup.topics, &format!("lookup {}", lookup.name), &columns);
        }
        for record in &self.records {
            let columns = ColumnSet::of_record(record, self.body.as_ref());
            add(&mut topics, &record.topics, &record.kind, &columns);
        }
        topics
    }
}

fn add(
    topics: &mut Vec<TopicColumns>,
    patterns: &[TopicPattern],
    reader: &str,
    columns: &ColumnSet<'_>,
) {
    for pattern in patterns {
        let written = pattern.written();
        let at = topics.iter().position(|one| one.topic == written);
        let at = at.unwrap_or_else(|| {
            topics.push(TopicColumns {
                topic: written,
                readers: Vec::new(),
                columns: BTreeSet::new(),
            });
            topics.len() - 1
        });
        if let Some(topic) = topics.get_mut(at) {
            topic.readers.push(reader.to_owned());
            topic.columns.extend(columns.names.iter().cloned());
        }
    }
}

/// The columns that the parts of a mapping read.
struct ColumnSet<'i> {
    /// The column that holds the record.
    body: Option<&'i RowPath>,
    names: BTreeSet<String>,
}

impl<'i> ColumnSet<'i> {
    fn new(body: Option<&'i RowPath>) -> ColumnSet<'i> {
        ColumnSet { body, names: BTreeSet::new() }
    }

    fn of_lookup(lookup: &'i LookupDef) -> ColumnSet<'i> {
        let mut set = ColumnSet::new(lookup.body.as_ref());
        set.add_path(&lookup.id);
        lookup.columns.iter().for_each(|(_, path)| set.add_path(path));
        set.add_conditions(&lookup.conditions);
        set
    }

    fn of_record(record: &RecordMapping, body: Option<&'i RowPath>) -> ColumnSet<'i> {
        let mut set = ColumnSet::new(body);
        set.add_expression(&record.library);
        set.add_template(&record.patron);
        record.id.iter().for_each(|id| set.add_expression(id));
        for conditions in [&record.nobody, &record.only, &record.erased] {
            set.add_conditions(conditions);
        }
        if let DeleteRule::By(expression) = &record.delete {
            set.add_expression(expression);
        }
        record.newer_by.iter().for_each(|path| set.add_path(path));
        FieldNode::for_each_field(&record.fields, &mut |field| {
            set.add_expression(&field.expression);
        });
        set
    }

    fn add_path(&mut self, path: &RowPath) {
        let column = match (path.is_in_record(), self.body) {
            (true, Some(body)) => body.first_member(),
            _ => path.first_member(),
        };
        if !path.is_in_envelope() {
            self.names.extend(column.map(str::to_owned));
        }
    }

    fn add_template(&mut self, parts: &[TemplatePart]) {
        for part in parts {
            if let TemplatePart::Path(path) = part {
                self.add_path(path);
            }
        }
    }

    fn add_conditions(&mut self, conditions: &[Condition]) {
        conditions.iter().for_each(|condition| self.add_expression(&condition.value));
    }

    fn add_expression(&mut self, expression: &Expression) {
        match &expression.origin {
            Origin::Constant(_) => {}
            Origin::Template(parts) => self.add_template(parts),
            Origin::First(all) => all.iter().for_each(|one| self.add_expression(one)),
            Origin::Path { path, .. } => self.add_path(path),
        }
        self.add_conditions(&expression.conditions);
    }
}

impl Intake {
    /// Returns the fields that the mapping fills, by kind of record; those that identify a record
    /// and its patron apart.
    #[must_use]
    pub fn filled_fields(&self) -> BTreeMap<&str, BTreeSet<String>> {
        let mut filled: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for record in &self.records {
            let fields = filled.entry(&record.kind).or_default();
            FieldNode::for_each_field(&record.fields, &mut |field| {
                fields.insert(field.field.path.clone());
            });
        }
        filled
    }
}
