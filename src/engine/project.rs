//! Project: what a recipient may see of a record, written in profile order.
//!
//! One module owns writing. A field that is missing is left out; nothing is
//! copied that no profile lists.

use super::lane::{Action, Facts, Masked, Needed, Part, Program, PseudonymOf, Ref, Step};
use super::shape::Place;
use super::tally::Seen;
use super::value::{State, Value};
use crate::json::page::Page;
use crate::policy::mask;
use crate::policy::pseudonym::PSEUDONYM_LENGTH;

/// The text of one pseudonym.
pub type Token = [u8; PSEUDONYM_LENGTH];

/// The buffers of projecting, used again for every output.
#[derive(Debug, Default)]
pub struct Projector {
    masked: String,
    cleaned: String,
    /// What the steps show that a later step needs, by step.
    shown: Vec<Shown>,
}

/// The text that a step shows, if it shows any.
#[derive(Debug, Default)]
struct Shown {
    there: bool,
    text: String,
}

impl Shown {
    fn keep(&mut self, text: &str) {
        self.there = true;
        self.text.clear();
        self.text.push_str(text);
    }
}

/// Whether a patron's card is a national number that `program` may not have.
fn card_hidden(facts: &Facts<'_>, program: &Program) -> bool {
    let national = program
        .card_fact
        .is_some_and(|fact| facts.value(fact) == Value::Boolean(true));
    let authorised = || {
        program
            .authorised_ms
            .is_some_and(|(from, until)| (from..until).contains(&facts.now_ms))
    };
    national && !authorised()
}

impl Projector {
    /// Writes what `program` shows of a record onto `page` at `start`, as one
    /// JSON object; says where it ends. `key` is the output's key.
    pub fn project(
        &mut self,
        facts: &Facts<'_>,
        program: &Program,
        key: &Token,
        (page, start): (&mut Page, usize),
        seen: &mut Seen,
    ) -> usize {
        self.begin(program);
        let mut pen = Pen {
            facts,
            program,
            key: Some(key),
            hidden: card_hidden(facts, program),
            page,
            seen,
        };
        let mut at = start;
        for (index, step) in program.steps.iter().enumerate() {
            at = self.step(&mut pen, at, index, step);
        }
        match page.close_object(start, at) {
            Some(end) => end,
            None => page.bytes(start, b"{}"),
        }
    }

    fn begin(&mut self, program: &Program) {
        if program.has_slip {
            self.shown.resize_with(program.steps.len(), Shown::default);
            self.shown.iter_mut().for_each(|shown| shown.there = false);
        }
    }

    /// Projects each step by itself, in order: its value as JSON, where it
    /// shows one, and what it met with on the way. `key` is the output's key,
    /// if it has one.
    pub fn each(
        &mut self,
        facts: &Facts<'_>,
        program: &Program,
        key: Option<&Token>,
    ) -> Vec<(Option<Vec<u8>>, Seen)> {
        self.begin(program);
        let mut all = Vec::with_capacity(program.steps.len());
        for (index, step) in program.steps.iter().enumerate() {
            let (mut page, mut seen) = (Page::default(), Seen::default());
            let mut pen = Pen {
                facts,
                program,
                key,
                hidden: card_hidden(facts, program),
                page: &mut page,
                seen: &mut seen,
            };
            let end = self.step(&mut pen, 0, index, step);
            let value = step.label.after(page.written(0, end)).map(<[u8]>::to_vec);
            all.push((value, seen));
        }
        all
    }

    /// Writes one member at `at`, or nothing where there is no value; says where
    /// the next one goes.
    #[inline(always)]
    fn step(&mut self, pen: &mut Pen<'_>, at: usize, index: usize, step: &Step) -> usize {
        match &step.action {
            Action::CopySlot(slot) => pen.copy(at, step, *slot),
            Action::OutputKey => match pen.key {
                Some(key) => pen.token(at, step, key),
                None => at,
            },
            _ => self.rarer(pen, at, index, step),
        }
    }

    #[inline(never)]
    fn rarer(&mut self, pen: &mut Pen<'_>, at: usize, index: usize, step: &Step) -> usize {
        let (facts, hidden) = (pen.facts, pen.hidden);
        match &step.action {
            Action::CopySlot(_) | Action::OutputKey => at,
            Action::Copy { from, card } => {
                let value = pen.see(*from, *card);
                if let Some(shown) = self.shown.get_mut(index).filter(|_| step.kept)
                    && let Some(text) = value.as_text()
                {
                    shown.keep(text);
                }
                pen.member(at, step, |page, at| scalar(page, at, value))
            }
            Action::Pseudonym(of) => {
                let mut token = [0; PSEUDONYM_LENGTH];
                match pen.pseudonym(of, &mut token) {
                    true => pen.token(at, step, &token),
                    false => at,
                }
            }
            Action::Mask(masked) => match self.masked(pen, index, step.kept, masked) {
                true => pen.member(at, step, |page, at| Some(page.string(at, &self.masked))),
                false => at,
            },
            Action::Object { fields } => pen.member(at, step, |page, at| {
                object(page, at, fields, hidden, |part| facts.value(part.at))
            }),
            Action::List {
                joined,
                list,
                stride,
                fields,
            } => {
                let length = facts.list_len(*joined, *list);
                pen.member(at, step, |page, at| {
                    elements(page, at, length, |page, at, index| {
                        object(page, at, fields, hidden, |part| {
                            facts.element(part.at, *stride, index)
                        })
                    })
                })
            }
            Action::Scalars {
                joined,
                list,
                stride,
                card,
            } => {
                if *card && hidden {
                    pen.seen.national_cards += 1;
                    return at;
                }
                let from = Ref {
                    joined: *joined,
                    place: Place::Element {
                        list: *list,
                        slot: 0,
                    },
                };
                let length = facts.list_len(*joined, *list);
                pen.member(at, step, |page, at| {
                    elements(page, at, length, |page, at, index| {
                        scalar(page, at, facts.element(from, *stride, index))
                    })
                })
            }
            Action::Slip {
                mark,
                initial,
                rest,
            } => {
                let shown = |place: &usize| {
                    let shown = self.shown.get(*place).filter(|shown| shown.there);
                    shown.map(|shown| shown.text.as_str())
                };
                let rest = rest.iter().map(shown);
                pen.member(at, step, |page, start| {
                    let mut at = start;
                    mask::slip_lines(shown(mark), shown(initial), rest, |line| {
                        at = page.byte(at, b',');
                        at = page.joined_string(at, line);
                    });
                    page.close_list(start, at)
                })
            }
        }
    }

    /// Puts what a mask and detectors make of a value into `self.masked`; false
    /// where nothing is to be shown.
    fn masked(&mut self, pen: &mut Pen<'_>, index: usize, kept: bool, masked: &Masked) -> bool {
        let facts = pen.facts;
        let value = masked
            .from
            .map_or(Value::Missing, |from| pen.see(from, masked.card));
        let input = match value {
            Value::Boolean(truth) => Some(if truth { "true" } else { "false" }),
            other => other.as_text(),
        };
        self.masked.clear();
        match &masked.mask {
            None => match input {
                Some(text) => self.masked.push_str(text),
                None => return false,
            },
            Some(mask) => {
                let mut needs = [None; NEEDS_MAX];
                for (place, need) in needs.iter_mut().zip(&masked.needs) {
                    *place = needed(facts, *need);
                }
                let needs = &needs[..masked.needs.len().min(NEEDS_MAX)];
                if !mask.apply(input, needs, &mut self.masked, &mut pen.seen.noticed) {
                    return false;
                }
            }
        }
        if let Some(detect) = &masked.detect {
            let own = masked.own.iter().filter_map(|&at| facts.value(at).as_text());
            self.cleaned.clear();
            if detect.apply(
                &self.masked,
                own,
                &mut self.cleaned,
                &mut pen.seen.detected,
            ) {
                std::mem::swap(&mut self.masked, &mut self.cleaned);
            }
        }
        if let Some(shown) = self.shown.get_mut(index).filter(|_| kept) {
            shown.keep(&self.masked);
        }
        true
    }
}

/// No mask needs more than this many other values.
const NEEDS_MAX: usize = 8;

fn needed<'a>(facts: &Facts<'a>, need: Needed) -> Option<&'a str> {
    match need {
        Needed::Field(at) => facts.text(Some(at)),
        Needed::Country { country, library } => facts
            .text(country)
            .or_else(|| facts.text(library).and_then(|isil| isil.get(..2))),
    }
}

/// What one output is written with.
struct Pen<'a> {
    facts: &'a Facts<'a>,
    program: &'a Program,
    /// The output's key.
    key: Option<&'a Token>,
    /// The patron's card number is a national number, and not to be shown.
    hidden: bool,
    page: &'a mut Page,
    seen: &'a mut Seen,
}

impl<'a> Pen<'a> {
    /// The value of a field, unless it is a card number that must not be seen.
    fn see(&mut self, at: Ref, card: bool) -> Value<'a> {
        if card && self.hidden {
            self.seen.national_cards += 1;
            return Value::Missing;
        }
        self.facts.value(at)
    }

    fn pseudonym(&mut self, of: &PseudonymOf, token: &mut Token) -> bool {
        let value = self.see(of.value, of.card);
        write_pseudonym(self.facts, self.program, of, value, token)
    }

    /// Writes a member whose value `write` writes; nothing where that has none.
    #[inline]
    fn member(
        &mut self,
        at: usize,
        step: &Step,
        write: impl FnOnce(&mut Page, usize) -> Option<usize>,
    ) -> usize {
        let value = self.page.label(at, &step.label);
        write(self.page, value).unwrap_or(at)
    }

    /// Writes a member as it stands in the record.
    #[inline(always)]
    fn copy(&mut self, at: usize, step: &Step, slot: u16) -> usize {
        let record = self.facts.record;
        let found = record.slot(slot);
        match found.state() {
            State::Plain | State::Number => {
                let at = self.page.label(at, &step.label);
                let text = record.text_of(State::Plain).as_bytes();
                self.page.span(at, text, found.start(), found.end())
            }
            State::Missing | State::Malformed => at,
            State::Decoded | State::True | State::False => {
                let value = record.value(slot);
                self.member(at, step, |page, at| scalar(page, at, value))
            }
        }
    }

    #[inline]
    fn token(&mut self, at: usize, step: &Step, token: &Token) -> usize {
        let at = self.page.label(at, &step.label);
        let mut quoted = [b'"'; PSEUDONYM_LENGTH + 2];
        quoted[1..=PSEUDONYM_LENGTH].copy_from_slice(token);
        self.page.bytes(at, &quoted)
    }
}

/// The output key of a record for a recipient; false where its field is missing.
pub fn output_key(facts: &Facts<'_>, program: &Program, token: &mut Token) -> bool {
    let of = &program.key;
    if of.card && card_hidden(facts, program) {
        return false;
    }
    write_pseudonym(facts, program, of, facts.value(of.value), token)
}

fn write_pseudonym(
    facts: &Facts<'_>,
    program: &Program,
    of: &PseudonymOf,
    value: Value<'_>,
    token: &mut Token,
) -> bool {
    let Some(value) = value.as_text() else {
        return false;
    };
    let library = facts.text(of.library).unwrap_or_default();
    program
        .pseudonymiser
        .pseudonym(&of.meaning, library, value, token);
    true
}

/// Writes a scalar; says where it ends, if there is one.
#[inline]
fn scalar(page: &mut Page, at: usize, value: Value<'_>) -> Option<usize> {
    Some(match value {
        Value::Missing | Value::Malformed => return None,
        Value::Text { text, plain: true } => page.plain_string(at, text),
        Value::Text { text, plain: false } => page.string(at, text),
        Value::Number(written) => page.bytes(at, written.as_bytes()),
        Value::Boolean(true) => page.bytes(at, b"true"),
        Value::Boolean(false) => page.bytes(at, b"false"),
    })
}

/// Writes an object of listed sub-fields, if it has any of them.
fn object<'a>(
    page: &mut Page,
    start: usize,
    fields: &[Part],
    hidden: bool,
    value: impl Fn(&Part) -> Value<'a>,
) -> Option<usize> {
    let mut at = start;
    for part in fields {
        if !(part.card && hidden) {
            let after = page.label(at, &part.label);
            at = scalar(page, after, value(part)).unwrap_or(at);
        }
    }
    page.close_object(start, at)
}

/// Writes a list of what `write` writes per element, if there is any.
fn elements(
    page: &mut Page,
    start: usize,
    length: usize,
    mut write: impl FnMut(&mut Page, usize, usize) -> Option<usize>,
) -> Option<usize> {
    let mut at = start;
    for index in 0..length {
        let after = page.byte(at, b',');
        at = write(page, after, index).unwrap_or(at);
    }
    page.close_list(start, at)
}
