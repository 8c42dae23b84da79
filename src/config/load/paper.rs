//! Reads the papers of recipients: agreements and authorisations, in files that several recipients
//! share or in a recipient's own file, and the documents beside them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeValue;

use super::kind::require_name;
use crate::config::document::{Located, Mistake, TomlTable, describe_value, nearest_name};
use crate::config::lint;
use crate::policy::form::Date;
use crate::policy::name::KEBAB_CASE_NAME;
use crate::policy::paper::{AcceptedTerms, Notice, RecipientPapers, RecordedDecision, Requirement};
use crate::policy::recipient::{Agreement, Authorisation, ExpiryAction};

/// The papers of `config/agreements` and `config/authorisations` by name; `None` for one with a
/// mistake, which was reported.
#[derive(Default)]
pub(crate) struct PaperFolders {
    pub(crate) agreements: BTreeMap<String, Option<Agreement>>,
    pub(crate) authorisations: BTreeMap<String, Option<Authorisation>>,
    /// Folder and name of each that a recipient names.
    pub(crate) used: RefCell<BTreeSet<(&'static str, String)>>,
}

/// Reads a file of `config/agreements`.
pub(crate) fn read_agreement_file(table: &TomlTable<'_>, stem: &str) -> Option<Agreement> {
    check_paper_name(table, stem);
    PaperReader { table, rule: lint::PROCESSOR_RULE }.read_agreement()
}

/// Reads a file of `config/authorisations`.
pub(crate) fn read_authorisation_file(table: &TomlTable<'_>, stem: &str) -> Option<Authorisation> {
    check_paper_name(table, stem);
    PaperReader { table, rule: lint::NATIONAL_NUMBER_RULE }.read_authorisation()
}

fn check_paper_name(table: &TomlTable<'_>, stem: &str) {
    let expected = "the paper's name, which is the file's";
    if let Some(at) = require_name(table, "name", KEBAB_CASE_NAME, expected)
        && at.value != stem
    {
        let found = format!("`name` is \"{}\"", at.value);
        table.report_mistake(at.line, found, format!("\"{stem}\", as the file is called"));
    }
    table.require_string("title", "what the paper is called, for people");
}

/// Reads a recipient's agreement: a name, or the agreement itself.
pub(crate) fn read_agreement(table: &TomlTable<'_>, papers: &PaperFolders) -> Option<Agreement> {
    let at = table.value("agreement")?;
    match table.as_table(at.value, at.line) {
        Some(inner) => {
            let reader = PaperReader { table: &inner, rule: lint::PROCESSOR_RULE };
            let paper = reader.read_agreement();
            inner.finish();
            paper
        }
        None => {
            PaperReference { key: "agreement", folder: "agreements", rule: lint::PROCESSOR_RULE }
                .find(table, papers, &papers.agreements)
        }
    }
}

/// Reads a recipient's authorisation: a name, or the authorisation itself.
pub(crate) fn read_authorisation(
    table: &TomlTable<'_>,
    papers: &PaperFolders,
) -> Option<Authorisation> {
    let at = table.value("authorisation")?;
    let rule = lint::NATIONAL_NUMBER_RULE;
    match table.as_table(at.value, at.line) {
        Some(inner) => {
            let paper = PaperReader { table: &inner, rule }.read_authorisation();
            inner.finish();
            paper
        }
        None => PaperReference { key: "authorisation", folder: "authorisations", rule }.find(
            table,
            papers,
            &papers.authorisations,
        ),
    }
}

/// A key that names a paper of a folder.
struct PaperReference {
    key: &'static str,
    folder: &'static str,
    /// Broken where there is no such paper.
    rule: &'static str,
}

impl PaperReference {
    fn find<T: Clone>(
        &self,
        table: &TomlTable<'_>,
        folders: &PaperFolders,
        papers: &BTreeMap<String, Option<T>>,
    ) -> Option<T> {
        let expected = format!("the name of a file of config/{}, or the paper itself", self.folder);
        let at = table.string(self.key, &expected)?;
        if let Some(paper) = papers.get(&at.value) {
            folders.used.borrow_mut().insert((self.folder, at.value));
            return paper.clone();
        }
        let suggestion = nearest_name(&at.value, papers.keys().map(String::as_str));
        let found = format!("no paper `{}` in config/{}", at.value, self.folder);
        let mistake = Mistake::new(table.file(), at.line, found, expected);
        table.push_mistake(mistake.with_suggestion(suggestion).with_rule(self.rule));
        None
    }
}

/// Reads the documents of a recipient beside its agreement and authorisation.
pub(crate) fn read_papers(table: &TomlTable<'_>) -> RecipientPapers {
    let expected =
        "the clauses that its agreement has beside `use`, `security` and `confidentiality`";
    let clauses = table.strings("clauses", expected).map_or_else(Vec::new, |at| at.value);
    let devices = table.strings("devices", "the devices that read its topic");
    RecipientPapers {
        requires: read_requirements(table),
        clauses: clauses.into_iter().map(|at| at.value).collect(),
        notice: read_notice(table),
        dpo_advice: read_decision(table, "dpo_advice", "the data protection officer's advice"),
        approval: read_decision(table, "approval", "who approved it, when, and in which document"),
        terms: read_terms(table),
        app_id: table.string("app_id", "the id of the app").map(|at| at.value),
        devices: devices
            .map_or_else(Vec::new, |at| at.value.into_iter().map(|at| at.value).collect()),
    }
}

fn read_requirements(table: &TomlTable<'_>) -> Vec<Requirement> {
    const EXPECTED: &str = "what the recipient is not switched on without";
    let all = <Requirement as strum::VariantArray>::VARIANTS;
    let texts = table.strings("requires", EXPECTED).map_or_else(Vec::new, |at| at.value);
    let mut requires = Vec::new();
    for at in texts {
        match all.iter().find(|one| one.into_str() == at.value) {
            Some(one) => requires.push(*one),
            None => {
                let words = all.iter().map(|one| one.into_str());
                let suggestion = nearest_name(&at.value, words.clone());
                let words: Vec<_> = words.map(|word| format!("`{word}`")).collect();
                let found = format!("\"{}\" in `requires`", at.value);
                let expected = format!("one of {}", words.join(", "));
                let mistake = Mistake::new(table.file(), at.line, found, expected);
                table.push_mistake(mistake.with_suggestion(suggestion));
            }
        }
    }
    requires
}

fn read_notice(table: &TomlTable<'_>) -> Option<Notice> {
    const EXPECTED: &str = "{ on = \"2026-01-31\", where = \"...\" }, by which patrons were told";
    table.require_key("notice", EXPECTED, Some(lint::NOTICE_RULE));
    let inner = table.table("notice", EXPECTED)?;
    let reader = PaperReader { table: &inner, rule: lint::NOTICE_RULE };
    let on = reader.require_date("on", "the day on which patrons were told");
    let place = reader.require_string("where", "where they can read it");
    inner.finish();
    Some(Notice { on: on?.value, place: place? })
}

fn read_decision(
    table: &TomlTable<'_>,
    key: &'static str,
    expected: &str,
) -> Option<RecordedDecision> {
    let inner = table.table(key, expected)?;
    let reader = PaperReader { table: &inner, rule: lint::PAPERS_RULE };
    let by = reader.require_string("by", "who decided it");
    let on = reader.require_date("on", "the day on which it was decided");
    let document = reader.require_string("document", "where it is kept");
    inner.finish();
    Some(RecordedDecision { by: by?, on: on?.value, document: document? })
}

fn read_terms(table: &TomlTable<'_>) -> Option<AcceptedTerms> {
    let inner = table.table("terms", "the terms of use that the library accepted")?;
    let reader = PaperReader { table: &inner, rule: lint::PAPERS_RULE };
    let document = reader.require_string("document", "what they are called");
    let version = reader.require_string("version", "which version was accepted");
    let on = reader.require_date("on", "the day on which they were accepted");
    inner.finish();
    Some(AcceptedTerms { document: document?, version: version?, on: on?.value })
}

/// A paper of which each missing part breaks `rule`.
struct PaperReader<'a, 't> {
    table: &'t TomlTable<'a>,
    rule: &'static str,
}

impl PaperReader<'_, '_> {
    fn require_string(&self, key: &str, expected: &str) -> Option<String> {
        self.table.require_key(key, expected, Some(self.rule));
        self.table.string(key, expected).map(|at| at.value)
    }

    /// Reads a required date, quoted or not.
    fn require_date(&self, key: &str, expected: &str) -> Option<Located<String>> {
        self.table.require_key(key, expected, Some(self.rule));
        let at = self.table.value(key)?;
        let text = match at.value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(date) => date.to_string(),
            other => describe_value(other),
        };
        if Date::parse(&text).is_some() {
            return Some(Located { value: text, line: at.line });
        }
        let expected = format!("a date, as \"2026-01-31\": {expected}");
        self.table.report_mistake(
            at.line,
            format!("`{key}` is {}", describe_value(at.value.get_ref())),
            expected,
        );
        None
    }

    /// Reads the first and last day in force.
    fn read_validity(&self) -> Option<(String, String)> {
        let from = self.require_date("from", "the first day on which it is in force");
        let until = self.require_date("until", "the last day on which it is in force");
        let (from, until) = (from?, until?);
        if until.value < from.value {
            let found = format!("`until` is {}", until.value);
            self.table.report_mistake(until.line, found, format!("no day before {}", from.value));
        }
        Some((from.value, until.value))
    }

    fn read_after_expiry(&self) -> ExpiryAction {
        let expected = "what happens to what the recipient has, when it is no longer in force";
        let at = self.table.word("after", expected);
        at.map_or_else(ExpiryAction::default, |at| at.value)
    }

    fn read_agreement(&self) -> Option<Agreement> {
        let reference = self.require_string("reference", "where the agreement is kept");
        let clauses = "the clauses it has, among them `use`, `security` and `confidentiality`";
        self.table.require_key("clauses", clauses, Some(self.rule));
        let clauses = self.table.strings("clauses", clauses);
        let term = self.read_validity();
        let after = self.read_after_expiry();
        let (from, until) = term?;
        Some(Agreement {
            reference: reference?,
            clauses: clauses?.value.into_iter().map(|at| at.value).collect(),
            from,
            until,
            after,
        })
    }

    fn read_authorisation(&self) -> Option<Authorisation> {
        let reference = self.require_string("reference", "the authorisation's reference");
        let approved_by = self.require_string("approved_by", "who approved it");
        let approved_on = self.require_date("approved_on", "when it was approved");
        let term = self.read_validity();
        let jurisdiction = self.table.string("jurisdiction", "where it is valid");
        let after = self.read_after_expiry();
        let (from, until) = term?;
        Some(Authorisation {
            reference: reference?,
            approved_by: approved_by?,
            approved_on: approved_on?.value,
            from,
            until,
            jurisdiction: jurisdiction.map_or_else(String::new, |at| at.value),
            after,
        })
    }
}
