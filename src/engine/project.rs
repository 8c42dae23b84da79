//! Project: what a recipient may see of a record, written in profile order.
//!
//! One module owns writing. A field that is missing is left out; nothing is
//! copied that no profile lists.

use super::lane::{Action, Facts, Masked, Needed, Part, Program, PseudonymOf, Ref, Step};
use super::shape::Place;
use super::tally::RecipientTally;
use super::value::Value;
use crate::json::write;
use crate::policy::mask;
use crate::policy::pseudonym::PSEUDONYM_LENGTH;

/// The buffers of projecting, used again for every output.
#[derive(Debug, Default)]
pub struct Projector {
    masked: String,
    cleaned: String,
    /// What the steps show that a later step needs, by step.
    shown: Vec<Option<String>>,
}

/// Whether a patron's card is a national number that `program` may not have.
fn card_hidden(facts: &Facts<'_>, program: &Program, fact: Option<Ref>) -> bool {
    let national = fact.is_some_and(|fact| facts.value(fact) == Value::Boolean(true));
    let authorised = program
        .authorised_ms
        .is_some_and(|(from, until)| (from..until).contains(&facts.now_ms));
    national && !authorised
}

impl Projector {
    /// Appends what `program` shows of a record to `out`, as one JSON object.
    pub fn project(
        &mut self,
        facts: &Facts<'_>,
        program: &Program,
        out: &mut Vec<u8>,
        tally: &mut RecipientTally,
    ) {
        self.begin(program);
        let hidden = card_hidden(facts, program, program.card_fact);
        out.push(b'{');
        let start = out.len();
        for (index, step) in program.steps.iter().enumerate() {
            let before = out.len();
            if before > start {
                out.push(b',');
            }
            out.extend_from_slice(&step.prefix);
            let mut pen = Pen {
                facts,
                program,
                hidden,
                out,
                tally,
            };
            if !self.step(&mut pen, index, step) {
                out.truncate(before);
            }
        }
        out.push(b'}');
    }

    fn begin(&mut self, program: &Program) {
        self.shown.clear();
        self.shown.resize(program.steps.len(), None);
    }

    /// Projects each step by itself, in order: its value as JSON, where it
    /// shows one, and what was counted on the way.
    pub fn each(
        &mut self,
        facts: &Facts<'_>,
        program: &Program,
    ) -> Vec<(Option<Vec<u8>>, RecipientTally)> {
        self.begin(program);
        let hidden = card_hidden(facts, program, program.card_fact);
        let mut all = Vec::with_capacity(program.steps.len());
        for (index, step) in program.steps.iter().enumerate() {
            let (mut out, mut tally) = (Vec::new(), RecipientTally::default());
            let mut pen = Pen {
                facts,
                program,
                hidden,
                out: &mut out,
                tally: &mut tally,
            };
            let shown = self.step(&mut pen, index, step);
            all.push((shown.then_some(out), tally));
        }
        all
    }

    /// Writes one value; false where there is none, and `out` is then to be cut.
    fn step(&mut self, pen: &mut Pen<'_>, index: usize, step: &Step) -> bool {
        match &step.action {
            Action::Copy { from, card } => {
                let value = pen.see(*from, *card);
                if step.kept {
                    self.shown[index] = value.as_text().map(str::to_owned);
                }
                scalar(pen.out, value)
            }
            Action::Mask(masked) => self.masked(pen, index, step.kept, masked),
            Action::Pseudonym(of) => {
                let mut token = [0; PSEUDONYM_LENGTH];
                let found = pen.pseudonym(of, &mut token);
                if found {
                    pen.out.push(b'"');
                    pen.out.extend_from_slice(&token);
                    pen.out.push(b'"');
                }
                found
            }
            Action::Object { fields } => {
                let (facts, hidden) = (pen.facts, pen.hidden);
                object(pen.out, fields, hidden, |part| facts.value(part.at))
            }
            Action::List {
                joined,
                list,
                stride,
                fields,
            } => pen.list(*joined, *list, |pen, index| {
                let (facts, hidden) = (pen.facts, pen.hidden);
                object(pen.out, fields, hidden, |part| {
                    facts.element(part.at, *stride, index)
                })
            }),
            Action::Scalars {
                joined,
                list,
                stride,
                card,
            } => {
                let at = Ref {
                    joined: *joined,
                    place: Place::Element {
                        list: *list,
                        slot: 0,
                    },
                };
                if *card && pen.hidden {
                    pen.tally.national_cards += 1;
                    return false;
                }
                pen.list(*joined, *list, |pen, index| {
                    scalar(pen.out, pen.facts.element(at, *stride, index))
                })
            }
            Action::Slip {
                mark,
                initial,
                rest,
            } => {
                let shown = |place: &usize| self.shown.get(*place).and_then(Option::as_deref);
                let rest: Vec<Option<&str>> = rest.iter().map(shown).collect();
                slip(
                    pen.out,
                    &mask::slip_lines(shown(mark), shown(initial), &rest),
                );
                true
            }
        }
    }

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
                if !mask.apply(input, needs, &mut self.masked, &mut pen.tally.noticed) {
                    return false;
                }
            }
        }
        if let Some(detect) = &masked.detect {
            let own: Vec<&str> = masked
                .own
                .iter()
                .filter_map(|&at| facts.value(at).as_text())
                .collect();
            self.cleaned.clear();
            if detect.apply(
                &self.masked,
                &own,
                &mut self.cleaned,
                &mut pen.tally.detected,
            ) {
                std::mem::swap(&mut self.masked, &mut self.cleaned);
            }
        }
        if kept {
            self.shown[index] = Some(self.masked.clone());
        }
        write::string(pen.out, &self.masked);
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
    /// The patron's card number is a national number, and not to be shown.
    hidden: bool,
    out: &'a mut Vec<u8>,
    tally: &'a mut RecipientTally,
}

impl<'a> Pen<'a> {
    /// The value of a field, unless it is a card number that must not be seen.
    fn see(&mut self, at: Ref, card: bool) -> Value<'a> {
        if card && self.hidden {
            self.tally.national_cards += 1;
            return Value::Missing;
        }
        self.facts.value(at)
    }

    fn pseudonym(&mut self, of: &PseudonymOf, token: &mut [u8; PSEUDONYM_LENGTH]) -> bool {
        let value = self.see(of.value, of.card);
        write_pseudonym(self.facts, self.program, of, value, token)
    }

    /// Writes a list of what `write` writes per element; false where it is empty.
    fn list(
        &mut self,
        joined: bool,
        list: u16,
        mut write: impl FnMut(&mut Self, usize) -> bool,
    ) -> bool {
        self.out.push(b'[');
        let start = self.out.len();
        for index in 0..self.facts.list_len(joined, list) {
            let before = self.out.len();
            if before > start {
                self.out.push(b',');
            }
            if !write(self, index) {
                self.out.truncate(before);
            }
        }
        self.out.push(b']');
        self.out.len() > start + 1
    }
}

/// The output key of a record for a recipient; false where its field is missing.
pub fn output_key(
    facts: &Facts<'_>,
    program: &Program,
    token: &mut [u8; PSEUDONYM_LENGTH],
) -> bool {
    let of = &program.key;
    if of.card && card_hidden(facts, program, program.card_fact) {
        return false;
    }
    write_pseudonym(facts, program, of, facts.value(of.value), token)
}

fn write_pseudonym(
    facts: &Facts<'_>,
    program: &Program,
    of: &PseudonymOf,
    value: Value<'_>,
    token: &mut [u8; PSEUDONYM_LENGTH],
) -> bool {
    let Some(value) = value.as_text() else {
        return false;
    };
    let library = facts.text(of.library).unwrap_or_default();
    program
        .pseudonymiser
        .pseudonym(&of.kind, &of.field, library, value, token);
    true
}

fn scalar(out: &mut Vec<u8>, value: Value<'_>) -> bool {
    match value {
        Value::Missing | Value::Malformed => return false,
        Value::Text { text, plain: true } => write::plain_string(out, text),
        Value::Text { text, plain: false } => write::string(out, text),
        Value::Number(written) => out.extend_from_slice(written.as_bytes()),
        Value::Boolean(truth) => out.extend_from_slice(if truth { b"true" } else { b"false" }),
    }
    true
}

/// Writes an object of listed sub-fields; false where it has none of them.
fn object<'a>(
    out: &mut Vec<u8>,
    fields: &[Part],
    hidden: bool,
    value: impl Fn(&Part) -> Value<'a>,
) -> bool {
    out.push(b'{');
    let start = out.len();
    for part in fields {
        let before = out.len();
        if before > start {
            out.push(b',');
        }
        out.extend_from_slice(&part.prefix);
        if (part.card && hidden) || !scalar(out, value(part)) {
            out.truncate(before);
        }
    }
    out.push(b'}');
    out.len() > start + 1
}

fn slip<S: AsRef<str>>(out: &mut Vec<u8>, lines: &[S]) {
    out.push(b'[');
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write::string(out, line.as_ref());
    }
    out.push(b']');
}
