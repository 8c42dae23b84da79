//! What the ledger answers, from blocks that were read.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::Operation;
use super::block::Block;
use super::confidential::{ConfidentialRecipients, LastLines};
use super::keys::{LedgerKeys, parse_hash, utc_year};
use super::register::{Register, recipient_of_activity};

/// What happened to one patron's outputs at a recipient, at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatronEvent {
    /// In Unix seconds.
    pub time: i64,
    /// A key of the register.
    pub activity: String,
    pub operation: Operation,
    pub reason: Option<String>,
    /// How many records it was about.
    pub records: u64,
    /// The fields that went out.
    pub fields: BTreeSet<String>,
    /// It was about another patron's outputs, which are about this one, too.
    pub is_of_other_patron: bool,
}

/// Whose lines are looked for, and by what.
#[derive(Clone, Copy, Debug)]
pub struct PatronScope<'a> {
    pub register: &'a Register,
    pub keys: &'a LedgerKeys,
    /// The hash that the state has of the patron's id; `None` where the patron is named otherwise.
    pub patron_hash: Option<u128>,
    /// Of these nothing is found.
    pub left_out: &'a ConfidentialRecipients,
}

impl PatronScope<'_> {
    /// Returns the patron's reference in a year.
    #[must_use]
    pub fn reference_of(&self, year: i16) -> Option<String> {
        self.patron_hash.map(|hash| self.keys.of_year(year).patron_reference(hash))
    }
}

/// Finds the lines of one patron.
#[derive(Debug)]
pub struct PatronSearch<'a> {
    scope: PatronScope<'a>,
    references: HashMap<i16, Option<String>>,
    pub events: Vec<PatronEvent>,
    /// Events of outputs that later lines may hide, with the outputs' hashes.
    told_events: Vec<(u128, PatronEvent)>,
    last_lines: LastLines,
    /// Of each output, by its hash under the key of the year.
    given: HashMap<String, GivenLines>,
}

/// What the lines of a year tell of one output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenLines {
    /// When it was given first and last, in Unix seconds.
    pub first: i64,
    pub last: i64,
    /// A key of the register.
    pub activity: String,
    /// The fields that went out last.
    pub fields: BTreeSet<String>,
}

impl<'a> PatronSearch<'a> {
    #[must_use]
    pub fn new(scope: PatronScope<'a>) -> Self {
        PatronSearch {
            scope,
            references: HashMap::new(),
            events: Vec::new(),
            told_events: Vec::new(),
            last_lines: LastLines::default(),
            given: HashMap::new(),
        }
    }

    pub fn add_block(&mut self, block: &Block<'_>) {
        let scope = self.scope;
        let year = utc_year(block.time);
        let reference = self.references.entry(year).or_insert_with(|| scope.reference_of(year));
        let Some(reference) = reference.clone() else {
            return;
        };
        for line in block.lines.iter().filter(|line| line.patron.as_deref() == Some(&reference)) {
            let activity = block.activity_of(line);
            let output = line.key.as_deref().and_then(parse_hash);
            if let Some(output) = output {
                self.last_lines.note(scope.left_out, activity, (output, block.time));
            }
            if scope.left_out.has_activity(activity) {
                continue;
            }
            let fields = scope.register.given_leaves(activity, line).map(str::to_owned);
            let fields: BTreeSet<String> = fields.collect();
            if let Some(key) = line.key.as_ref().filter(|_| line.is_given()) {
                let first = self.given.get(&**key).map_or(block.time, |before| before.first);
                let (last, activity) = (block.time, activity.to_owned());
                let lines = GivenLines { first, last, activity, fields: fields.clone() };
                self.given.insert(key.to_string(), lines);
            }
            let event = PatronEvent {
                time: block.time,
                activity: activity.to_owned(),
                operation: line.operation,
                reason: line.reason.as_deref().map(str::to_owned),
                records: 1,
                fields,
                is_of_other_patron: line.parent.is_some(),
            };
            match output.filter(|output| self.last_lines.knows(*output)) {
                Some(output) => self.told_events.push((output, event)),
                None => self.add_event(event),
            }
        }
    }

    /// Ends the search, once all blocks were added. `hidden`: topics and keys of outputs that patrons
    /// are not told of, as the state says.
    pub fn finish<'o>(&mut self, hidden: impl Iterator<Item = (&'o str, &'o str)>) {
        let of_years = |(topic, key): (&str, &str)| {
            let years = self.references.keys();
            let hash =
                |year: &i16| self.scope.keys.of_year(*year).output_hash(topic, key.as_bytes());
            years.map(hash).collect::<Vec<_>>()
        };
        let hidden: HashSet<u128> =
            hidden.flat_map(of_years).filter_map(|hash| parse_hash(&hash)).collect();
        for (output, event) in std::mem::take(&mut self.told_events) {
            if !self.last_lines.hide(output) && !hidden.contains(&output) {
                self.add_event(event);
            }
        }
    }

    /// Adds an event to the same one of other records, if there is one.
    fn add_event(&mut self, event: PatronEvent) {
        let is_same = |other: &&mut PatronEvent| {
            (other.time, &other.activity, other.operation, &other.reason)
                == (event.time, &event.activity, event.operation, &event.reason)
                && other.is_of_other_patron == event.is_of_other_patron
        };
        let recent = self.events.iter_mut().rev().take_while(|one| one.time == event.time);
        match recent.into_iter().find(is_same) {
            Some(same) => {
                same.records += event.records;
                same.fields.extend(event.fields);
            }
            None => self.events.push(event),
        }
    }

    /// Returns what the ledger tells of an output; `None` if nothing.
    #[must_use]
    pub fn find_given(&self, topic: &str, key: &[u8]) -> Option<GivenLines> {
        let hash_of = |year: &i16| self.scope.keys.of_year(*year).output_hash(topic, key);
        let of_years = self.references.keys().map(hash_of);
        let mut found: Vec<_> = of_years.filter_map(|hash| self.given.get(&hash)).collect();
        found.sort_by_key(|lines| lines.last);
        let first = found.first()?.first;
        found.last().map(|last| GivenLines { first, ..(*last).clone() })
    }
}

/// What one recipient received in a time.
#[derive(Debug, Default)]
pub struct RecipientSummary {
    /// Patrons, by their references of each year.
    pub patrons: BTreeSet<String>,
    /// Lines without a patron.
    pub without_patron: u64,
    pub outputs: BTreeSet<String>,
    /// By operation and reason.
    pub operations: BTreeMap<(Operation, String), u64>,
    /// How many lines gave each field.
    pub fields: BTreeMap<String, u64>,
    pub activities: BTreeSet<String>,
}

/// Which lines a question is about.
#[derive(Clone, Copy, Debug)]
pub struct RecipientQuestion<'a> {
    pub recipient: &'a str,
    /// In Unix seconds, the second exclusive.
    pub from: i64,
    pub until: i64,
    /// Only lines that gave this field or a leaf of it.
    pub field: Option<&'a str>,
}

impl RecipientSummary {
    /// Adds the lines of a block that the question is about.
    pub fn add_block(
        &mut self,
        question: RecipientQuestion<'_>,
        block: &Block<'_>,
        register: &Register,
    ) {
        if !(question.from..question.until).contains(&block.time) {
            return;
        }
        for line in &block.lines {
            let activity = block.activity_of(line);
            if recipient_of_activity(activity) != question.recipient {
                continue;
            }
            let fields: Vec<&str> = register.given_leaves(activity, line).collect();
            if question.field.is_some_and(|field| !fields.iter().any(|one| is_of(one, field))) {
                continue;
            }
            if line.parent.is_some() {
                // Its output has a line of its own.
                let patron = line.patron.as_deref().filter(|_| line.is_given());
                self.patrons.extend(patron.map(str::to_owned));
                continue;
            }
            let reason = line.reason.as_deref().unwrap_or_default().to_owned();
            *self.operations.entry((line.operation, reason)).or_default() += 1;
            self.activities.insert(activity.to_owned());
            if line.is_given() {
                match &line.patron {
                    Some(patron) => drop(self.patrons.insert(patron.to_string())),
                    None => self.without_patron += 1,
                }
                self.outputs.extend(line.key.as_deref().map(str::to_owned));
                for field in fields {
                    *self.fields.entry(field.to_owned()).or_default() += 1;
                }
            }
        }
    }
}

/// Whether a leaf is a field, or a part of it.
fn is_of(leaf: &str, field: &str) -> bool {
    let rest = leaf.strip_prefix(field);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// How many lines there are, by recipient and operation.
#[derive(Debug, Default)]
pub struct LedgerStats {
    pub bytes: u64,
    pub by_recipient: BTreeMap<String, BTreeMap<Operation, u64>>,
    /// Lines by UTC year.
    pub by_year: BTreeMap<i16, u64>,
}

impl LedgerStats {
    pub fn add_block(&mut self, block: &Block<'_>, bytes: usize) {
        self.bytes += bytes as u64;
        *self.by_year.entry(utc_year(block.time)).or_default() += block.lines.len() as u64;
        for line in &block.lines {
            let recipient = recipient_of_activity(block.activity_of(line));
            let counts = match self.by_recipient.get_mut(recipient) {
                Some(counts) => counts,
                None => self.by_recipient.entry(recipient.to_owned()).or_default(),
            };
            *counts.entry(line.operation).or_default() += 1;
        }
    }
}
