//! Project: what a recipient may see of a record, written in profile order.
//!
//! One module owns writing. A field that is missing is left out; nothing is
//! copied that no profile lists, and nothing is written that
//! [`inspect`](super::inspect) leaves out.

use super::inspect::{Inspector, LeftOut, Numbers, WrittenNumber};
use super::lane::{
    Action, Copied, Facts, Masked, Needed, Own, Part, Program, PseudonymOf, Ref, Step,
};
use super::record::Reading;
use super::shape::Place;
use super::tally::Seen;
use super::value::{Slot, State, Value};
use crate::json::page::{Label, Page};
use crate::json::scan::cold_path;
use crate::policy::detect::Buffers;
use crate::policy::form::date_of;
use crate::policy::mask;
use crate::policy::pseudonym::{Begun, Message, MessageParts, Pseudonym};

/// The buffers of projecting, used again for every output.
#[derive(Debug, Default)]
pub struct Projector {
    masked: String,
    cleaned: String,
    detecting: Buffers,
    /// What the steps show that a later step needs, by step.
    shown: Vec<Shown>,
    messages: Messages,
}

/// What projecting one output met with.
#[derive(Debug, Default)]
pub struct Remarks {
    /// As far as the program notices anything; else what it was before.
    pub seen: Seen,
    /// What was left out, as it has a national number of the patron.
    pub left_out: Vec<LeftOut>,
}

/// What pseudonyms of the record at hand are made of, as far as it was needed.
#[derive(Debug, Default)]
pub struct Messages {
    made: Vec<Message>,
    /// A bit for each that is of this record.
    fresh: u64,
}

impl Messages {
    /// The pseudonym of what stands at `of`, begun.
    #[inline]
    fn begin(&mut self, facts: &Facts<'_>, program: &Program, of: &PseudonymOf) -> Option<Begun> {
        if let Some(place) = of.message
            && self.fresh & (1 << place) != 0
            && let Some(message) = self.made.get(usize::from(place))
        {
            return Some(program.pseudonymiser.begin(message));
        }
        self.make(facts, program, of)
    }

    #[inline(never)]
    fn make(&mut self, facts: &Facts<'_>, program: &Program, of: &PseudonymOf) -> Option<Begun> {
        let patron_id = match of.patron_id {
            Some(at) => Some(facts.text(Some(at))?),
            None => None,
        };
        let month = match of.month_of {
            Some(at) => Some(month_as_written(facts.text(Some(at))?)?),
            None => None,
        };
        let parts = MessageParts {
            meaning: &of.meaning,
            library: facts.text(of.library).unwrap_or_default(),
            value: facts.text(Some(of.value))?,
            patron_id,
            month,
        };
        let pseudonymiser = &program.pseudonymiser;
        let Some(message) = Message::new(&parts) else {
            return Some(pseudonymiser.begin_long(&parts));
        };
        let begun = pseudonymiser.begin(&message);
        if let Some(place) = of.message {
            self.fresh |= 1 << place;
            let place = usize::from(place);
            if place >= self.made.len() {
                self.made.resize(place + 1, Message::default());
            }
            self.made[place] = message;
        }
        Some(begun)
    }

    /// The pseudonym of what stands at `of`.
    fn pseudonym(
        &mut self,
        facts: &Facts<'_>,
        program: &Program,
        of: &PseudonymOf,
    ) -> Option<Pseudonym> {
        let begun = self.begin(facts, program, of)?;
        Some(program.pseudonymiser.end(begun))
    }
}

/// The month of a date or an instant as it is written; `None` where it is neither.
fn month_as_written(text: &str) -> Option<&str> {
    date_of(text).and_then(|_| text.get(..7))
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
#[inline]
fn card_hidden(facts: &Facts<'_>, program: &Program) -> bool {
    let national = program.card_fact.is_some_and(|fact| facts.is_true(fact));
    national && !facts.is_authorised(program)
}

impl Projector {
    /// Forgets the record before.
    pub fn next_record(&mut self) {
        self.messages.fresh = 0;
    }

    /// The output key of a record for a recipient, where its field is there.
    #[inline]
    pub fn begin_key(&mut self, facts: &Facts<'_>, program: &Program) -> Option<Begun> {
        if program.key.card && card_hidden(facts, program) {
            return None;
        }
        self.messages.begin(facts, program, &program.key)
    }

    /// Writes what `program` shows of a record onto `page` at `start`, as one
    /// JSON object; says where it ends. `key` is the output's key.
    pub fn project(
        &mut self,
        facts: &Facts<'_>,
        program: &Program,
        key: &Pseudonym,
        (page, start): (&mut Page, usize),
        remarks: &mut Remarks,
    ) -> usize {
        self.begin(program);
        remarks.left_out.clear();
        let mut pen = Pen {
            facts,
            program,
            key: Some(key),
            hidden: card_hidden(facts, program),
            page,
            seen: &mut remarks.seen,
            inspector: Inspector::new(facts, program, &mut remarks.left_out),
        };
        let at = match pen.inspector.copies {
            true => self.steps(&mut pen, start),
            false => self.runs(&mut pen, start, key),
        };
        match page.close_object(start, at) {
            Some(end) => end,
            None => page.bytes(start, b"{}"),
        }
    }

    /// Writes all members at `at`, those that are copied in one go.
    #[inline(always)]
    fn runs(&mut self, pen: &mut Pen<'_>, mut at: usize, key: &Pseudonym) -> usize {
        let program = pen.program;
        for run in &program.runs {
            if let Some(label) = &run.token {
                at = token(pen.page, at, label, key);
            }
            at = copies(pen.page, at, &run.copied, pen.facts.record);
            if let Some(index) = run.step {
                at = self.step(pen, at, index, &program.steps[index]);
            }
        }
        at
    }

    /// The same one by one, as each value has to be looked at.
    #[cold]
    #[inline(never)]
    fn steps(&mut self, pen: &mut Pen<'_>, mut at: usize) -> usize {
        for (index, step) in pen.program.steps.iter().enumerate() {
            at = self.step(pen, at, index, step);
        }
        at
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
        key: Option<&Pseudonym>,
    ) -> Vec<(Option<Vec<u8>>, Remarks)> {
        self.begin(program);
        let mut all = Vec::with_capacity(program.steps.len());
        for (index, step) in program.steps.iter().enumerate() {
            let (mut page, mut remarks) = (Page::default(), Remarks::default());
            let mut pen = Pen {
                facts,
                program,
                key,
                hidden: card_hidden(facts, program),
                page: &mut page,
                seen: &mut remarks.seen,
                inspector: Inspector::new(facts, program, &mut remarks.left_out),
            };
            let end = self.step(&mut pen, 0, index, step);
            let value = step.label.after(page.written(0, end)).map(<[u8]>::to_vec);
            all.push((value, remarks));
        }
        all
    }

    /// Writes one member at `at`, or nothing where there is no value; says where
    /// the next one goes.
    #[inline(never)]
    fn step(&mut self, pen: &mut Pen<'_>, at: usize, index: usize, step: &Step) -> usize {
        match &step.action {
            Action::CopySlot(slot) => {
                let from = Ref {
                    joined: false,
                    place: Place::Slot(*slot),
                };
                self.copy(pen, at, (index, step), (from, false))
            }
            Action::Copy { from, card } => self.copy(pen, at, (index, step), (*from, *card)),
            Action::OutputKey => match pen.key {
                Some(key) => {
                    self.keep_token(index, step, key);
                    token(pen.page, at, &step.label, key)
                }
                None => at,
            },
            Action::Pseudonym(of) => {
                if of.card && pen.hidden {
                    pen.seen.national_cards += 1;
                    return at;
                }
                let Some(made) = self.messages.pseudonym(pen.facts, pen.program, of) else {
                    return at;
                };
                self.keep_token(index, step, &made);
                token(pen.page, at, &step.label, &made)
            }
            Action::Mask(masked) => match self.masked(pen, index, step.kept, masked) {
                Masking::Nothing => at,
                Masking::AsItIs(value) => match masked.from.and_then(Ref::own_slot) {
                    Some(slot) => copied(pen.page, at, &step.label, pen.facts.record, slot),
                    None => member(pen.page, at, step, |page, at| scalar(page, at, value)),
                },
                Masking::Changed => member(pen.page, at, step, |page, at| {
                    Some(page.string(at, &self.masked))
                }),
            },
            Action::Slip {
                mark,
                initial,
                rest,
            } => self.slip(pen, at, (index, step), (*mark, *initial, rest)),
            Action::Object { .. }
            | Action::Copies(_)
            | Action::List { .. }
            | Action::Scalars { .. } => pen.parts(at, index, step),
        }
    }

    /// Writes a member as its value stands in the record or the patron's row.
    fn copy(
        &mut self,
        pen: &mut Pen<'_>,
        at: usize,
        (index, step): (usize, &Step),
        (from, card): (Ref, bool),
    ) -> usize {
        let looked_at = step.kept || (card && pen.hidden) || pen.inspector.copies;
        if let (Some(slot), false) = (from.own_slot(), looked_at) {
            return copied(pen.page, at, &step.label, pen.facts.record, slot);
        }
        let value = pen.see(from, card);
        let value = pen.inspector.pass(value, LeftOut::whole(index));
        if let Some(shown) = self.shown.get_mut(index).filter(|_| step.kept)
            && let Some(text) = value.written()
        {
            shown.keep(text);
        }
        member(pen.page, at, step, |page, at| scalar(page, at, value))
    }

    /// Writes the lines of a slip, made of what other steps show.
    fn slip(
        &mut self,
        pen: &mut Pen<'_>,
        at: usize,
        (index, step): (usize, &Step),
        (mark, initial, rest): (usize, usize, &[usize]),
    ) -> usize {
        let Projector { shown, cleaned, .. } = self;
        let shown = |place: usize| {
            let shown = shown.get(place).filter(|shown| shown.there);
            shown.map(|shown| shown.text.as_str())
        };
        let rest = rest.iter().map(|place| shown(*place));
        let inspector = &mut pen.inspector;
        member(pen.page, at, step, |page, start| {
            let mut at = start;
            mask::slip_lines(shown(mark), shown(initial), rest, cleaned, |line| {
                if !inspector.leaves_out(line, LeftOut::whole(index)) {
                    at = page.byte(at, b',');
                    at = page.string(at, line);
                }
            });
            page.close_list(start, at)
        })
    }

    fn keep_token(&mut self, index: usize, step: &Step, token: &Pseudonym) {
        if let Some(shown) = self.shown.get_mut(index).filter(|_| step.kept)
            && let Ok(token) = std::str::from_utf8(&token.text())
        {
            shown.keep(token);
        }
    }

    /// Finds what a mask and detectors make of a value.
    fn masked<'a>(
        &mut self,
        pen: &mut Pen<'a>,
        index: usize,
        kept: bool,
        masked: &Masked,
    ) -> Masking<'a> {
        let facts = pen.facts;
        let value = masked
            .from
            .map_or(Value::Missing, |from| pen.see(from, masked.card));
        let input = value.written();
        self.masked.clear();
        if let Some(mask) = &masked.mask {
            let mut needs = [None; NEEDS_MAX];
            for (place, need) in needs.iter_mut().zip(&masked.needs) {
                *place = needed(facts, *need);
            }
            let needs = &needs[..masked.needs.len().min(NEEDS_MAX)];
            if !mask.apply(input, needs, &mut self.masked, &mut pen.seen.noticed) {
                return Masking::Nothing;
            }
        }
        let shown = match (&masked.mask, input) {
            (Some(_), _) => self.masked.as_str(),
            (None, Some(text)) => text,
            (None, None) => return Masking::Nothing,
        };
        self.cleaned.clear();
        let cleaned = masked.detect.as_ref().is_some_and(|detect| {
            detect.begin(&mut self.detecting);
            if detect.needs_own_values() {
                add_own_values(&mut self.detecting, facts, &masked.own);
            }
            let hits = &mut pen.seen.detected;
            detect.replace_in(&mut self.detecting, shown, &mut self.cleaned, hits)
        });
        let shown = if cleaned {
            self.cleaned.as_str()
        } else {
            shown
        };
        if pen.inspector.leaves_out(shown, LeftOut::whole(index)) {
            return Masking::Nothing;
        }
        if let Some(place) = self.shown.get_mut(index).filter(|_| kept) {
            place.keep(shown);
        }
        if cleaned {
            std::mem::swap(&mut self.masked, &mut self.cleaned);
        } else if masked.mask.is_none() && matches!(value, Value::Text { .. }) {
            return Masking::AsItIs(value);
        } else if masked.mask.is_none() {
            self.masked.push_str(input.unwrap_or_default());
        }
        Masking::Changed
    }
}

/// Has detectors look for the values of the record and its patron.
fn add_own_values(detecting: &mut Buffers, facts: &Facts<'_>, own: &Own) {
    for &(at, stride) in &own.fields {
        let Place::Element { list, .. } = at.place else {
            if let Some(text) = facts.value(at).as_text() {
                detecting.look_for([text]);
            }
            continue;
        };
        for index in 0..facts.list_len(at.joined, list) {
            if let Some(text) = facts.element(at, stride, index).as_text() {
                detecting.look_for([text]);
            }
        }
    }
    for address in &own.addresses {
        let parts = address.iter().filter_map(|&at| facts.value(at).as_text());
        detecting.look_for(parts);
    }
    for number in facts.numbers.into_iter().flat_map(Numbers::iter) {
        for written in number.written().iter().flat_map(WrittenNumber::texts) {
            detecting.look_for([written]);
        }
    }
}

/// What came of a value.
enum Masking<'a> {
    Nothing,
    AsItIs(Value<'a>),
    /// It stands in [`Projector::masked`].
    Changed,
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
    key: Option<&'a Pseudonym>,
    /// The patron's card number is a national number, and not to be shown.
    hidden: bool,
    page: &'a mut Page,
    seen: &'a mut Seen,
    inspector: Inspector<'a>,
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

    /// Writes a member that has several values; each is left out by itself.
    fn parts(&mut self, at: usize, index: usize, step: &Step) -> usize {
        let (facts, hidden) = (self.facts, self.hidden);
        let Pen {
            page, inspector, ..
        } = self;
        match &step.action {
            Action::Object { fields } => member(page, at, step, |page, at| {
                object(page, at, fields, hidden, |place, part| {
                    let value = facts.value(part.at);
                    inspector.pass_card(value, part.card, LeftOut::part(index, place))
                })
            }),
            Action::Copies(fields) if inspector.copies => member(page, at, step, |page, start| {
                let mut at = start;
                for (place, one) in fields.iter().enumerate() {
                    let value = facts.record.value(one.slot);
                    let value = inspector.pass(value, LeftOut::part(index, place));
                    at = changed(page, at, &one.label, value);
                }
                page.close_object(start, at)
            }),
            Action::Copies(fields) => member(page, at, step, |page, start| {
                let end = copies(page, start, fields, facts.record);
                page.close_object(start, end)
            }),
            Action::List {
                joined,
                list,
                stride,
                fields,
            } => {
                let length = facts.list_len(*joined, *list);
                member(page, at, step, |page, at| {
                    elements(page, at, length, |page, at, element| {
                        object(page, at, fields, hidden, |place, part| {
                            let value = facts.element(part.at, *stride, element);
                            inspector.pass_card(value, part.card, LeftOut::part(index, place))
                        })
                    })
                })
            }
            Action::Scalars { .. } => self.scalars(at, index, step),
            _ => at,
        }
    }

    /// Writes a member that is a list of scalars.
    fn scalars(&mut self, at: usize, index: usize, step: &Step) -> usize {
        let Action::Scalars {
            joined,
            list,
            stride,
            card,
        } = step.action
        else {
            return at;
        };
        if card && self.hidden {
            self.seen.national_cards += 1;
            return at;
        }
        let facts = self.facts;
        if !joined && !card && !self.inspector.copies {
            return member(self.page, at, step, |page, at| {
                scalars(page, at, facts.record, list)
            });
        }
        let from = Ref {
            joined,
            place: Place::Element { list, slot: 0 },
        };
        let length = facts.list_len(joined, list);
        let inspector = &mut self.inspector;
        member(self.page, at, step, |page, at| {
            elements(page, at, length, |page, at, element| {
                let value = facts.element(from, stride, element);
                let value = inspector.pass_card(value, card, LeftOut::part(index, 0));
                scalar(page, at, value)
            })
        })
    }
}

/// Writes a member whose value `write` writes; nothing where that has none.
#[inline]
fn member(
    page: &mut Page,
    at: usize,
    step: &Step,
    write: impl FnOnce(&mut Page, usize) -> Option<usize>,
) -> usize {
    let value = page.label(at, &step.label);
    write(page, value).unwrap_or(at)
}

/// Writes a member whose value is a pseudonym.
#[inline]
fn token(page: &mut Page, at: usize, label: &Label, token: &Pseudonym) -> usize {
    page.member_words(at, label, token.quoted())
}

/// Writes members as they stand in the record; nothing of what is not there.
#[inline(always)]
fn copies(page: &mut Page, mut at: usize, copied: &[Copied], record: Reading<'_>) -> usize {
    for one in copied {
        at = copy(page, at, &one.label, record, one.slot);
    }
    at
}

/// Writes a member as it stands in the record; nothing where there is none.
#[inline(always)]
fn copy(page: &mut Page, at: usize, label: &Label, record: Reading<'_>, slot: u16) -> usize {
    let found = record.slot(slot);
    let text = record.text_of(State::Plain).as_bytes();
    let span = (found.start(), found.copied_length());
    if let Some(after) = page.short_member(at, label, text, span) {
        return after;
    }
    cold_path();
    match found.is_missing() {
        true => at,
        false => long(page, at, label, record, found),
    }
}

/// The same, where it is not one of many.
#[inline(never)]
fn copied(page: &mut Page, at: usize, label: &Label, record: Reading<'_>, slot: u16) -> usize {
    copy(page, at, label, record, slot)
}

/// Writes a member that is long, or does not stand in the record as it is written.
#[inline(never)]
fn long(page: &mut Page, at: usize, label: &Label, record: Reading<'_>, found: Slot) -> usize {
    if !found.is_in_text() {
        return changed(page, at, label, record.view(found));
    }
    let text = record.text_of(State::Plain).as_bytes();
    let at = page.label(at, label);
    page.span(at, text, (found.start(), found.length()))
}

/// Writes a member whose value does not stand in the record as it is written.
#[inline(never)]
fn changed(page: &mut Page, at: usize, label: &Label, value: Value<'_>) -> usize {
    let after = page.label(at, label);
    scalar(page, after, value).unwrap_or(at)
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
    mut value: impl FnMut(usize, &Part) -> Value<'a>,
) -> Option<usize> {
    let mut at = start;
    for (place, part) in fields.iter().enumerate() {
        if !(part.card && hidden) {
            at = changed(page, at, &part.label, value(place, part));
        }
    }
    page.close_object(start, at)
}

/// Writes a list of scalars of the record, if there is any.
fn scalars(page: &mut Page, start: usize, record: Reading<'_>, list: u16) -> Option<usize> {
    let text = record.text_of(State::Plain).as_bytes();
    if let Some(whole) = record.whole_list(list) {
        return Some(page.span(start, text, whole));
    }
    let mut at = start;
    for &slot in record.elements(list) {
        let after = page.byte(at, b',');
        at = if slot.is_in_text() {
            page.span(after, text, (slot.start(), slot.length()))
        } else {
            scalar(page, after, record.view(slot)).unwrap_or(at)
        };
    }
    page.close_list(start, at)
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
