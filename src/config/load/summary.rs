//! Reads an output field that is made of the patron's own records of another kind: a sum, a
//! count, whether there is one, or a list.

use super::condition::read_condition;
use super::path::{FieldResolver, PathShape, ResolvedPath};
use crate::config::document::{Located, Mistake, TomlTable, join_quoted, nearest_name};
use crate::policy::catalogue::{CatalogueField, FieldType, RecordKind, Role};
use crate::policy::form::TextFormat;
use crate::policy::recipient::{
    ConditionTest, RecordSummary, SubField, SummaryCondition, SummaryFunction, SummaryTest,
};

/// The keys that name the records; a field has one of them at most.
const FUNCTION_KEYS: [&str; 4] = ["sum", "count", "any", "list"];

/// Whether an output field is made of records of the patron. A mask has a `count` of its own.
pub(super) fn is_summary(table: &TomlTable<'_>) -> bool {
    !table.contains_key("mask") && FUNCTION_KEYS.iter().any(|key| table.contains_key(key))
}

/// Reads such a field; `None` if something of it is wrong.
pub(super) fn read_summary(
    table: &TomlTable<'_>,
    name: &str,
    resolver: &FieldResolver<'_>,
) -> Option<RecordSummary> {
    let reader = SummaryReader { table, name, resolver };
    let summary = reader.read();
    if summary.is_none() {
        // What belongs to it cannot be told.
        table.entries();
    }
    summary
}

struct SummaryReader<'a> {
    table: &'a TomlTable<'a>,
    name: &'a str,
    resolver: &'a FieldResolver<'a>,
}

/// The kind whose records a summary is made of.
#[derive(Clone, Copy)]
struct SummaryKind<'a> {
    kind: &'a RecordKind,
    /// Resolves paths of the kind itself.
    fields: &'a FieldResolver<'a>,
}

impl<'a> SummaryReader<'a> {
    fn read(&self) -> Option<RecordSummary> {
        let given: Vec<_> =
            FUNCTION_KEYS.into_iter().filter(|key| self.table.contains_key(key)).collect();
        let [key] = given[..] else {
            let found = format!("{} in field `{}`", join_quoted_words(&given), self.name);
            self.table.report_mistake(self.table.line(), found, "one of them");
            return None;
        };
        let written = self.table.string(key, "the kind of record, as `debt`")?;
        let (kind_name, path) = match (key, written.value.split_once('.')) {
            ("sum", Some((kind, path))) => (kind, path),
            ("sum", None) => {
                let found = format!("a sum of `{}`", written.value);
                self.table.report_mistake(written.line, found, "KIND.PATH, as debt.amount_cents");
                return None;
            }
            _ => (written.value.as_str(), ""),
        };
        self.check_source(written.line)?;
        let (index, kind) = self.find_kind(kind_name, written.line)?;
        let fields = FieldResolver { source: Some(kind), patron: None, ..*self.resolver };
        let of = SummaryKind { kind, fields: &fields };
        let conditions = self.read_conditions(of);
        let function = match key {
            "sum" => self.read_sum(of, path, written.line),
            "count" => Some(SummaryFunction::Count),
            "any" => {
                self.table.require_key("as", "the word that says that there is one", None);
                let word = self.table.string("as", "the word that says that there is one");
                word.map(|word| SummaryFunction::Any(word.value))
            }
            _ => self.read_list(of),
        };
        let summary = RecordSummary {
            kind_index: index,
            kind_name: kind.name.clone(),
            conditions: conditions?,
            function: function?,
        };
        self.check_currency(of, &summary, written.line)?;
        self.check_returned_loans(of, &summary, written.line)?;
        Some(summary)
    }

    /// Only a patron has records of its own.
    fn check_source(&self, line: usize) -> Option<()> {
        let source = self.resolver.source?;
        if source.role == Role::Patron {
            return Some(());
        }
        let found = format!("records of the patron in a recipient of `{}`", source.name);
        self.table.report_mistake(line, found, "a recipient whose source is the kind of patrons");
        None
    }

    fn find_kind(&self, name: &str, line: usize) -> Option<(usize, &'a RecordKind)> {
        let kinds = self.resolver.kinds;
        if self.resolver.unreadable_kinds.iter().any(|unreadable| unreadable == name) {
            return None;
        }
        let is_summable = |kind: &RecordKind| kind.role == Role::Record && kind.is_keyed_by_patron;
        if let Some(index) = kinds.iter().position(|kind| kind.name == name) {
            if is_summable(&kinds[index]) {
                return Some((index, &kinds[index]));
            }
            let found = format!("records of `{name}`");
            self.table.report_mistake(line, found, "a kind of records that belong to patrons");
            return None;
        }
        let names: Vec<String> =
            kinds.iter().filter(|kind| is_summable(kind)).map(|kind| kind.name.clone()).collect();
        let suggestion = nearest_name(name, names.iter().map(String::as_str));
        let found = format!("unknown kind of record `{name}`");
        let expected = format!("one of {}", join_quoted(&names));
        let mistake = Mistake::new(self.table.file(), line, found, expected);
        self.table.push_mistake(mistake.with_suggestion(suggestion));
        None
    }

    fn read_sum(&self, of: SummaryKind<'_>, path: &str, line: usize) -> Option<SummaryFunction> {
        let found = of.fields.resolve(self.table, line, path)?;
        let is_integer = found.field_matches(|field| field.field_type == FieldType::Integer);
        if !is_integer || !matches!(found.shape, PathShape::Scalar(_)) {
            let text = format!("a sum of `{}.{path}`", of.kind.name);
            self.table.report_mistake(line, text, "a field of type `integer`");
            return None;
        }
        Some(SummaryFunction::Sum(path.to_owned()))
    }

    fn read_list(&self, of: SummaryKind<'_>) -> Option<SummaryFunction> {
        const EXPECTED: &str = "the fields of each record that are shown";
        self.table.require_key("fields", EXPECTED, None);
        let listed = self.table.strings("fields", EXPECTED)?;
        if listed.value.is_empty() {
            self.table.report_mistake(listed.line, "no field in `fields`", EXPECTED);
        }
        let mut fields: Vec<SubField> = Vec::new();
        for at in &listed.value {
            let found = self.resolve_shown(of, at)?;
            let name = found.field_ref.path.rsplit('.').next().unwrap_or_default().to_owned();
            if fields.iter().any(|other| other.name == name) {
                let text = format!("two fields named `{name}`");
                self.table.report_mistake(at.line, text, "one");
            }
            fields.push(SubField { name, path: found.field_ref.path });
        }
        let order = self.table.strings("order", "dates that the records are sorted by");
        let mut order_paths = Vec::new();
        for at in order.map_or_else(Vec::new, |at| at.value) {
            let found = of.fields.resolve(self.table, at.line, &at.value)?;
            let is_date = |field: &CatalogueField| {
                field.field_type == FieldType::Text(Some(TextFormat::Date))
            };
            if !found.field_matches(is_date) || !matches!(found.shape, PathShape::Scalar(_)) {
                let text = format!("an order by `{}`", at.value);
                self.table.report_mistake(at.line, text, "a field of type `date`");
            }
            order_paths.push(found.field_ref.path);
        }
        Some(SummaryFunction::List { fields, order: order_paths })
    }

    fn resolve_shown(&self, of: SummaryKind<'a>, at: &Located<String>) -> Option<ResolvedPath<'a>> {
        let found = of.fields.resolve(self.table, at.line, &at.value)?;
        let is_shown = |field: &CatalogueField| {
            field.field_type != FieldType::CardNumber && !field.is_national_number()
        };
        if !matches!(found.shape, PathShape::Scalar(_)) || !found.field_matches(is_shown) {
            let text = format!("`{}` of each record", at.value);
            let expected = "a field that is one value, and no card number or national number";
            self.table.report_mistake(at.line, text, expected);
            return None;
        }
        Some(found)
    }

    fn read_conditions(&self, of: SummaryKind<'_>) -> Option<Vec<SummaryCondition>> {
        let expected = "conditions, as { field = \"status\", is = [\"open\"] }";
        let tables = self.table.tables("where", expected);
        let read: Vec<_> = tables.iter().map(|inner| self.read_condition(inner, of)).collect();
        let is_invalid = self.table.contains_key("where") && tables.is_empty();
        read.into_iter().collect::<Option<Vec<_>>>().filter(|_| !is_invalid)
    }

    fn read_condition(
        &self,
        table: &TomlTable<'_>,
        of: SummaryKind<'_>,
    ) -> Option<SummaryCondition> {
        if !table.contains_key("same_as") {
            let (field, test) = read_condition(table, of.fields)?;
            let test = SummaryTest::Value(test);
            return Some(SummaryCondition { path: field.path, test });
        }
        let path = table.require_string("field", "the path of a field");
        let same_as = table.string("same_as", "the path of a field of the patron");
        let or_else = table.string("or_else", "the text where the patron has none");
        table.finish();
        let (path, same_as) = (path?, same_as?);
        let own = of.fields.resolve(table, path.line, &path.value)?;
        let patrons = self.resolver.resolve(table, same_as.line, &same_as.value)?;
        let is_text = |found: &ResolvedPath<'_>| {
            matches!(found.shape, PathShape::Scalar(_))
                && found.field_matches(|field| matches!(field.field_type, FieldType::Text(_)))
        };
        if !is_text(&own) || !is_text(&patrons) {
            let found = format!("`{}` same as `{}`", path.value, same_as.value);
            table.report_mistake(same_as.line, found, "two fields of text");
            return None;
        }
        let or_else = or_else.map(|word| word.value);
        let test = SummaryTest::SameAs { patron_path: patrons.field_ref.path, or_else };
        Some(SummaryCondition { path: own.field_ref.path, test })
    }

    /// Amounts of two currencies make no sum.
    fn check_currency(
        &self,
        of: SummaryKind<'_>,
        summary: &RecordSummary,
        line: usize,
    ) -> Option<()> {
        let currency = FieldType::Text(Some(TextFormat::Currency));
        let mut fields = of.kind.fields.iter();
        let field = fields.find(|field| field.field_type == currency);
        let (Some(field), SummaryFunction::Sum(_)) = (field, &summary.function) else {
            return Some(());
        };
        let is_one = |one: &SummaryCondition| {
            one.path == field.path
                && match &one.test {
                    SummaryTest::SameAs { .. } => true,
                    SummaryTest::Value(ConditionTest::OneOf(literals)) => literals.len() == 1,
                    SummaryTest::Value(_) => false,
                }
        };
        if summary.conditions.iter().any(is_one) {
            return Some(());
        }
        let found = format!("a sum of `{}` in more than one currency", of.kind.name);
        let expected = format!(
            "a condition on one currency, as {{ field = \"{0}\", same_as = \"membership.currency\", or_else = \"EUR\" }}",
            field.path
        );
        self.table.report_mistake(line, found, expected);
        None
    }

    /// Returned loans are history, which a patron may not keep (G11).
    fn check_returned_loans(
        &self,
        of: SummaryKind<'_>,
        summary: &RecordSummary,
        line: usize,
    ) -> Option<()> {
        let has_returned = of.kind.name == "loan" || of.kind.field("returned_at").is_some();
        let excludes = summary.conditions.iter().any(|one| match &one.test {
            SummaryTest::Value(ConditionTest::OneOf(literals)) => {
                one.path == "status" && !literals.iter().any(|literal| literal.is_text("returned"))
            }
            _ => false,
        });
        if !has_returned || excludes {
            return Some(());
        }
        let expected =
            "a condition on `status` without `returned`: its patron may keep no loan history";
        self.table.report_mistake(line, "returned loans", expected);
        None
    }
}

fn join_quoted_words(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    join_quoted(&words)
}
