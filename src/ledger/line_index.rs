//! The lines of all patrons by their references, for who asks often.
//!
//! A line takes some 130 bytes of memory. Lines without a patron are not kept.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::Operation;
use super::answer::PatronScope;
use super::block::{Block, FORMAT, ForeignReference, Line, NO_PREVIOUS};
use super::confidential::LastLines;
use super::keys::{parse_hash, utc_year};
use super::read_api::{DataSubject, ReadQuestion};
use crate::message::ForeignOperation;

/// Lines by the references of patrons.
#[derive(Debug, Default)]
pub struct LineIndex {
    texts: TextTable,
    lines: HashMap<u128, Vec<IndexedLine>>,
    /// Each once for lines that follow each other.
    foreign_operations: Vec<ForeignOperation>,
    /// The UTC years that have lines.
    years: BTreeSet<i16>,
    len: u64,
}

/// A line, as far as somebody may be told of it.
#[derive(Clone, Copy, Debug)]
struct IndexedLine {
    trace: u128,
    fields: u128,
    id: u64,
    parent: Option<u64>,
    /// In Unix seconds.
    time: i64,
    chain: u32,
    activity: u32,
    reason: Option<u32>,
    operation: Operation,
    /// The hash of its output's topic and key.
    output: Option<u128>,
    /// An index of [`LineIndex::foreign_operations`].
    foreign: Option<u32>,
}

/// Texts that many lines have.
#[derive(Debug, Default)]
struct TextTable {
    texts: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
}

impl TextTable {
    fn number_of(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }

    fn text(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("", |text| text)
    }
}

impl LineIndex {
    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds the lines of the next block.
    ///
    /// # Errors
    ///
    /// A line is not as zeef writes it.
    pub fn add_block(&mut self, block: &Block<'_>) -> Result<(), &'static str> {
        self.years.insert(utc_year(block.time));
        for line in &block.lines {
            let Some(patron) = &line.patron else {
                continue;
            };
            let (patron, line) = parse_hash(patron)
                .zip(self.index_line(block, line))
                .ok_or("a line has an id or a reference that zeef does not write")?;
            self.lines.entry(patron).or_default().push(line);
            self.len += 1;
        }
        Ok(())
    }

    fn index_line(&mut self, block: &Block<'_>, line: &Line<'_>) -> Option<IndexedLine> {
        let id = |hex: &str| u64::from_str_radix(hex, 16).ok();
        let parent = match &line.parent {
            Some(parent) => Some(id(parent)?),
            None => None,
        };
        Some(IndexedLine {
            trace: u128::from_str_radix(&line.trace, 16).ok()?,
            fields: line.field_bits(),
            id: id(&line.id)?,
            parent,
            time: block.time,
            chain: self.texts.number_of(&block.chain),
            activity: self.texts.number_of(block.activity_of(line)),
            reason: line.reason.as_deref().map(|reason| self.texts.number_of(reason)),
            operation: line.operation,
            output: line.key.as_deref().and_then(parse_hash),
            foreign: match &line.foreign_operation {
                Some(foreign) => Some(self.index_foreign(foreign.parse()?)),
                None => None,
            },
        })
    }

    fn index_foreign(&mut self, foreign: ForeignOperation) -> u32 {
        if self.foreign_operations.last() != Some(&foreign) {
            self.foreign_operations.push(foreign);
        }
        u32::try_from(self.foreign_operations.len() - 1).unwrap_or(u32::MAX)
    }

    /// Returns the lines that are asked for, as [`ReadQuestion::find_lines`] does of a block.
    #[must_use]
    pub fn find_lines(&self, question: &ReadQuestion, scope: &PatronScope<'_>) -> Vec<Value> {
        let references: Vec<String> = match &question.subject {
            DataSubject::Reference(reference) => vec![reference.clone()],
            DataSubject::PatronId(_) => {
                self.years.iter().filter_map(|year| scope.reference_of(*year)).collect()
            }
        };
        let mut found = Vec::new();
        for reference in references {
            let lines = parse_hash(&reference).and_then(|patron| self.lines.get(&patron));
            let lines = lines.map_or(&[][..], Vec::as_slice);
            let mut last_lines = LastLines::default();
            for line in lines {
                if let Some(output) = line.output {
                    let activity = self.texts.text(line.activity);
                    last_lines.note(scope.left_out, activity, (output, line.time));
                }
            }
            let is_hidden =
                |line: &&IndexedLine| line.output.is_some_and(|one| last_lines.hide(one));
            for line in lines.iter().filter(|line| !is_hidden(line)) {
                found.extend(question.find_lines(&self.block_of(&reference, line), scope));
            }
        }
        found
    }

    /// A block of one line, without what its chain needs.
    fn block_of<'a>(&'a self, reference: &'a str, line: &IndexedLine) -> Block<'a> {
        let one = Line {
            trace: Cow::Owned(format!("{:032x}", line.trace)),
            id: Cow::Owned(format!("{:016x}", line.id)),
            parent: line.parent.map(|parent| Cow::Owned(format!("{parent:016x}"))),
            patron: Some(Cow::Borrowed(reference)),
            activity: 0,
            operation: line.operation,
            reason: line.reason.map(|reason| Cow::Borrowed(self.texts.text(reason))),
            fields: (line.fields != 0).then(|| Cow::Owned(format!("{:x}", line.fields))),
            key: None,
            foreign_operation: line
                .foreign
                .and_then(|at| self.foreign_operations.get(at as usize))
                .map(|foreign| ForeignReference::from(*foreign)),
        };
        Block {
            format: FORMAT,
            chain: Cow::Borrowed(self.texts.text(line.chain)),
            sequence: 0,
            previous: Cow::Borrowed(NO_PREVIOUS),
            transaction: 0,
            part: None,
            time: line.time,
            policy: Cow::Borrowed(""),
            activities: vec![Cow::Borrowed(self.texts.text(line.activity))],
            lines: vec![one],
        }
    }
}
