//! Project: what a recipient may see of a record, written in profile order.
//!
//! One module owns writing. A field that is missing is left out; nothing is
//! copied that no profile lists, and nothing is written that
//! [`inspect`](super::inspect) leaves out.

use std::fmt::Write as _;

use super::demanded::{DemandedNames, DemandedWriter};
use super::inspect::{OmittedValue, ValueInspector};
use super::write_value::{write_list, write_scalar, write_value_member};
use crate::engine::lane::gates::summary::{CompiledFunction, ListedField, SummaryValue};
use crate::engine::lane::{
    Action, CompiledChannel, CompiledSubField, CopiedField, Facts, FieldLocation, MaskedField,
    NamedPatronPart, NeededValue, OwnValueFields, Program, ProjectionStep, PseudonymSpec,
    ThinnedSteps,
};
use crate::engine::memory::patrons::PatronRow;
use crate::engine::record::RecordView;
use crate::engine::record::national_number::{PatronNationalNumbers, WrittenNumber};
use crate::engine::record::shape::ValueLocation;
use crate::engine::record::value::{FieldValue, SlotState, ValueSlot};
use crate::engine::tally::ProjectionCounts;
use crate::json::buffer::{MemberPrefix, OutputBuffer};
use crate::json::scan::cold_path;
use crate::policy::detect::DetectorBuffers;
use crate::policy::form::parse_written_date;
use crate::policy::mask;
use crate::policy::pseudonym::{PaddedMessage, PartialPseudonym, Pseudonym, PseudonymInput};

/// Projects records. The buffers are reused for every output.
#[derive(Debug, Default)]
pub struct Projector {
    mask_buffer: String,
    detect_buffer: String,
    detector_buffers: DetectorBuffers,
    /// By step, the texts that later steps need.
    shown_texts: Vec<ShownText>,
    pseudonym_messages: PseudonymMessages,
}

impl Projector {
    /// Empties the buffers: they hold values of the record that was projected last.
    pub fn clear_buffers(&mut self) {
        self.mask_buffer.clear();
        self.detect_buffer.clear();
        self.detector_buffers.clear();
        self.shown_texts.iter_mut().for_each(|shown| shown.text.clear());
        self.pseudonym_messages.messages.clear();
        self.pseudonym_messages.valid_bits = 0;
    }
}

/// What projecting one output found.
#[derive(Debug, Default)]
pub struct ProjectionReport {
    /// Updated only if the program has projection counts.
    pub counts: ProjectionCounts,
    /// Values omitted because they contain a national number of the patron.
    pub omitted: Vec<OmittedValue>,
}

/// The pseudonym messages of the current record, built on first use.
#[derive(Debug, Default)]
pub struct PseudonymMessages {
    messages: Vec<PaddedMessage>,
    /// A bit for each message that is of the current record.
    valid_bits: u64,
}

impl PseudonymMessages {
    /// Begins the pseudonym of `spec`. `None` if a field is missing.
    #[inline]
    fn begin_pseudonym(
        &mut self,
        facts: &Facts<'_>,
        program: &Program,
        spec: &PseudonymSpec,
    ) -> Option<PartialPseudonym> {
        if let Some(index) = spec.shared_message
            && self.valid_bits & (1 << index) != 0
            && let Some(message) = self.messages.get(usize::from(index))
        {
            return Some(program.pseudonymiser.begin_hash(message));
        }
        self.build_message(facts, program, spec)
    }

    #[inline(never)]
    fn build_message(
        &mut self,
        facts: &Facts<'_>,
        program: &Program,
        spec: &PseudonymSpec,
    ) -> Option<PartialPseudonym> {
        let named_patron = facts.named_patron.map(|patron| patron.id);
        let patron_id = match spec.patron_id {
            _ if spec.named_patron == NamedPatronPart::AfterValue => Some(named_patron?),
            Some(at) if spec.may_lack_patron => facts.text(Some(at)),
            Some(at) => Some(facts.text(Some(at))?),
            None => None,
        };
        let value = match spec.named_patron {
            NamedPatronPart::Value => named_patron,
            NamedPatronPart::None | NamedPatronPart::AfterValue => facts.text(Some(spec.value)),
        };
        let month = match spec.month_of {
            Some(at) => Some(month_as_written(facts.text(Some(at))?)?),
            None => None,
        };
        let parts = PseudonymInput {
            domain: &spec.domain,
            library: facts.text(spec.library).unwrap_or_default(),
            value: value?,
            patron_id,
            month,
        };
        let pseudonymiser = &program.pseudonymiser;
        let mut unshared = PaddedMessage::default();
        let message = match spec.shared_message.map(usize::from) {
            Some(index) => {
                if index >= self.messages.len() {
                    self.messages.resize(index + 1, PaddedMessage::default());
                }
                &mut self.messages[index]
            }
            None => &mut unshared,
        };
        if message.fill(&parts).is_none() {
            return Some(pseudonymiser.begin_long_hash(&parts));
        }
        self.valid_bits |= spec.shared_message.map_or(0, |index| 1 << index);
        Some(pseudonymiser.begin_hash(message))
    }

    /// Returns the pseudonym of `spec`. `None` if a field is missing.
    fn finish_pseudonym(
        &mut self,
        facts: &Facts<'_>,
        program: &Program,
        spec: &PseudonymSpec,
    ) -> Option<Pseudonym> {
        let begun = self.begin_pseudonym(facts, program, spec)?;
        Some(program.pseudonymiser.finish_hash(begun))
    }
}

/// Returns the month of a date or an instant, as written. `None` if it is neither.
fn month_as_written(text: &str) -> Option<&str> {
    parse_written_date(text).and_then(|_| text.get(..7))
}

/// The text that a step wrote, if any.
#[derive(Debug, Default)]
struct ShownText {
    is_shown: bool,
    text: String,
}

impl ShownText {
    fn set(&mut self, text: &str) {
        self.is_shown = true;
        self.text.clear();
        self.text.push_str(text);
    }
}

/// Returns whether the patron's card is a national number that `program` may not have.
#[inline]
fn is_card_hidden(facts: &Facts<'_>, program: &Program) -> bool {
    let national = program.card_fact.is_some_and(|fact| facts.is_true(fact));
    national && !facts.may_have_national_cards(program)
}

/// Returns the index and the word of the first channel that is there; `None` where the recipient
/// has no choice of channels, or none is there.
#[inline]
fn choose_channel(facts: &Facts<'_>, program: &Program) -> Option<(usize, &'static str)> {
    let is_there =
        |channel: &CompiledChannel| channel.fields.iter().any(|&at| !facts.value(at).is_missing());
    let mut channels = program.channels.iter().enumerate();
    let (index, channel) = channels.find(|(_, channel)| is_there(channel))?;
    Some((index, channel.word))
}

/// What an output is written for.
#[derive(Clone, Copy)]
pub struct OutputTarget<'a> {
    pub program: &'a Program,
    /// The output's key.
    pub key: &'a Pseudonym,
    /// Some fields are left out.
    pub is_thinned: bool,
}

impl Projector {
    /// Discards what was kept of the previous record.
    pub fn start_record(&mut self) {
        self.pseudonym_messages.valid_bits = 0;
    }

    /// Begins the output key of a record. `None` if its field is missing.
    #[inline]
    pub fn begin_output_key(
        &mut self,
        facts: &Facts<'_>,
        program: &Program,
    ) -> Option<PartialPseudonym> {
        if program.output_key.is_card_number && is_card_hidden(facts, program) {
            return None;
        }
        self.pseudonym_messages.begin_pseudonym(facts, program, &program.output_key)
    }

    /// Writes the output of a record to `buffer` at `start`, as one JSON object, and
    /// returns its end.
    pub fn project(
        &mut self,
        facts: &Facts<'_>,
        target: OutputTarget<'_>,
        (buffer, start): (&mut OutputBuffer, usize),
        report: &mut ProjectionReport,
    ) -> usize {
        let OutputTarget { program, key, is_thinned } = target;
        self.reset_shown_texts(program);
        report.omitted.clear();
        let mut writer = FieldWriter {
            facts,
            program,
            thinned_steps: program.thinned_steps.as_ref().filter(|_| is_thinned),
            output_key: Some(key),
            channel: choose_channel(facts, program),
            is_card_hidden: is_card_hidden(facts, program),
            buffer,
            counts: &mut report.counts,
            inspector: ValueInspector::new(facts, program, &mut report.omitted),
        };
        let by_step = writer.inspector.inspects_copies || !program.channels.is_empty();
        let at = match by_step {
            true => self.write_steps(&mut writer, start),
            false => self.write_step_groups(&mut writer, start, key),
        };
        match buffer.close_object(start, at) {
            Some(end) => end,
            None => buffer.write_bytes(start, b"{}"),
        }
    }

    /// Writes all members at `at`, runs of copied members at once.
    #[inline(always)]
    fn write_step_groups(
        &mut self,
        writer: &mut FieldWriter<'_>,
        mut at: usize,
        key: &Pseudonym,
    ) -> usize {
        let program = writer.program;
        let all = &program.step_groups;
        for run in writer.thinned_steps.map_or(all, |thinned| &thinned.step_groups) {
            if let Some(label) = &run.output_key_prefix {
                at = write_pseudonym_member(writer.buffer, at, label, key);
            }
            at = copy_members(writer.buffer, at, &run.copied_fields, writer.facts.record);
            if let Some(index) = run.step_index {
                at = self.write_step(writer, at, index, &program.steps[index]);
            }
        }
        at
    }

    /// Writes all members one by one, for outputs whose copies are inspected, or which have the
    /// fields of one channel only.
    #[cold]
    #[inline(never)]
    fn write_steps(&mut self, writer: &mut FieldWriter<'_>, mut at: usize) -> usize {
        for (index, step) in writer.program.steps.iter().enumerate() {
            let is_dropped = writer.thinned_steps.is_some_and(|thinned| thinned.is_dropped[index]);
            if !is_dropped && writer.is_of_chosen_channel(step) {
                at = self.write_step(writer, at, index, step);
            }
        }
        at
    }

    fn reset_shown_texts(&mut self, program: &Program) {
        if program.has_slip {
            self.shown_texts.resize_with(program.steps.len(), ShownText::default);
            self.shown_texts.iter_mut().for_each(|shown| shown.is_shown = false);
        }
    }

    /// Projects each step by itself, in order. Returns its value as JSON, if any, and
    /// what it found. `key` is the output's key, if any.
    pub fn project_each_field(
        &mut self,
        facts: &Facts<'_>,
        program: &Program,
        key: Option<&Pseudonym>,
    ) -> Vec<(Option<Vec<u8>>, ProjectionReport)> {
        self.reset_shown_texts(program);
        let mut all = Vec::with_capacity(program.steps.len());
        for (index, step) in program.steps.iter().enumerate() {
            let (mut buffer, mut report) = (OutputBuffer::default(), ProjectionReport::default());
            let mut writer = FieldWriter {
                facts,
                program,
                thinned_steps: None,
                output_key: key,
                channel: choose_channel(facts, program),
                is_card_hidden: is_card_hidden(facts, program),
                buffer: &mut buffer,
                counts: &mut report.counts,
                inspector: ValueInspector::new(facts, program, &mut report.omitted),
            };
            let end = match writer.is_of_chosen_channel(step) {
                true => self.write_step(&mut writer, 0, index, step),
                false => 0,
            };
            let value = step.prefix.strip_from(buffer.written_between(0, end)).map(<[u8]>::to_vec);
            all.push((value, report));
        }
        all
    }

    /// Writes one member at `at`, or nothing if it has no value. Returns where the next
    /// one goes.
    #[inline(never)]
    fn write_step(
        &mut self,
        writer: &mut FieldWriter<'_>,
        at: usize,
        index: usize,
        step: &ProjectionStep,
    ) -> usize {
        match &step.action {
            Action::CopySlot(slot) => {
                let from = FieldLocation { is_joined: false, location: ValueLocation::Slot(*slot) };
                self.write_copied_value(writer, at, (index, step), (from, false))
            }
            Action::Copy { from, is_card_number: card } => {
                self.write_copied_value(writer, at, (index, step), (*from, *card))
            }
            Action::OutputKey => match writer.output_key {
                Some(key) => {
                    self.keep_pseudonym_text(index, step, key);
                    write_pseudonym_member(writer.buffer, at, &step.prefix, key)
                }
                None => at,
            },
            Action::Pseudonym(of) => self.write_pseudonym(writer, at, (index, step), of),
            Action::First(alternatives) => self.write_first(writer, at, index, alternatives),
            Action::Mask(masked) => self.write_masked(writer, at, (index, step), masked),
            Action::Slip { shelf_mark: mark, initial, other_steps: rest } => {
                self.write_slip(writer, at, (index, step), (*mark, *initial, rest))
            }
            Action::ChannelWord => match writer.channel {
                Some((_, word)) => write_member(writer.buffer, at, step, |buffer, at| {
                    Some(buffer.write_string(at, word))
                }),
                None => at,
            },
            Action::Demanded { .. } => writer.write_demanded(at, index, step),
            Action::DemandedNumber { list, stride, paths } => {
                self.mask_buffer.clear();
                // Writing to a string cannot fail.
                let (list, stride) = (*list, *stride);
                let names = DemandedNames { record: writer.facts.record, list, stride };
                let count = paths.iter().filter(|path| names.contains(path)).count();
                let _ = write!(self.mask_buffer, "{count}");
                write_member(writer.buffer, at, step, |buffer, at| {
                    Some(buffer.write_bytes(at, self.mask_buffer.as_bytes()))
                })
            }
            Action::Object { .. }
            | Action::CopyObject(_)
            | Action::List { .. }
            | Action::ScalarList { .. } => writer.write_composite(at, index, step),
            Action::Summary(summary) => writer.write_summary(at, (index, step), *summary),
        }
    }

    #[inline]
    fn write_pseudonym(
        &mut self,
        writer: &mut FieldWriter<'_>,
        at: usize,
        (index, step): (usize, &ProjectionStep),
        of: &PseudonymSpec,
    ) -> usize {
        if of.is_card_number && writer.is_card_hidden {
            writer.counts.national_cards += 1;
            return at;
        }
        let made = self.pseudonym_messages.finish_pseudonym(writer.facts, writer.program, of);
        let Some(made) = made else {
            return at;
        };
        if of.is_hexadecimal {
            return self.write_hexadecimal(writer, at, (index, step), &made);
        }
        self.keep_pseudonym_text(index, step, &made);
        write_pseudonym_member(writer.buffer, at, &step.prefix, &made)
    }

    #[inline]
    fn write_masked(
        &mut self,
        writer: &mut FieldWriter<'_>,
        at: usize,
        (index, step): (usize, &ProjectionStep),
        masked: &MaskedField,
    ) -> usize {
        match self.apply_mask(writer, index, step.is_text_kept, masked) {
            MaskResult::Missing => at,
            MaskResult::Unchanged(value) => {
                match masked.from.and_then(FieldLocation::record_slot) {
                    Some(slot) => copy_member_outlined(
                        writer.buffer,
                        at,
                        &step.prefix,
                        writer.facts.record,
                        slot,
                    ),
                    None => write_member(writer.buffer, at, step, |buffer, at| {
                        write_scalar(buffer, at, value)
                    }),
                }
            }
            MaskResult::Changed => write_member(writer.buffer, at, step, |buffer, at| {
                Some(buffer.write_string(at, &self.mask_buffer))
            }),
        }
    }

    /// Writes the first of some values that is there. One that must be omitted is there: no other
    /// takes its place.
    fn write_first(
        &mut self,
        writer: &mut FieldWriter<'_>,
        at: usize,
        index: usize,
        alternatives: &[ProjectionStep],
    ) -> usize {
        let omitted_count = writer.inspector.omitted_count();
        for alternative in alternatives {
            if !writer.is_of_chosen_channel(alternative) {
                continue;
            }
            let end = self.write_step(writer, at, index, alternative);
            if end != at || writer.inspector.omitted_count() != omitted_count {
                return end;
            }
        }
        at
    }

    /// Writes a member whose value is a pseudonym in hexadecimal.
    fn write_hexadecimal(
        &mut self,
        writer: &mut FieldWriter<'_>,
        at: usize,
        (index, step): (usize, &ProjectionStep),
        pseudonym: &Pseudonym,
    ) -> usize {
        let digits = pseudonym.to_hexadecimal();
        let text = std::str::from_utf8(&digits).unwrap_or_default();
        if let Some(shown) = self.shown_texts.get_mut(index).filter(|_| step.is_text_kept) {
            shown.set(text);
        }
        write_member(writer.buffer, at, step, |buffer, at| {
            Some(buffer.write_plain_string(at, text))
        })
    }

    /// Writes a member with a value of the record or of the patron's row.
    fn write_copied_value(
        &mut self,
        writer: &mut FieldWriter<'_>,
        at: usize,
        (index, step): (usize, &ProjectionStep),
        (from, card): (FieldLocation, bool),
    ) -> usize {
        let is_inspected = step.is_text_kept
            || (card && writer.is_card_hidden)
            || writer.inspector.inspects_copies;
        if let (Some(slot), false) = (from.record_slot(), is_inspected) {
            return copy_member_outlined(
                writer.buffer,
                at,
                &step.prefix,
                writer.facts.record,
                slot,
            );
        }
        let value = writer.visible_value(from, card);
        let value = writer.inspector.filter_value(value, OmittedValue::field(index));
        if let Some(shown) = self.shown_texts.get_mut(index).filter(|_| step.is_text_kept)
            && let Some(text) = value.scalar_text()
        {
            shown.set(text);
        }
        write_member(writer.buffer, at, step, |buffer, at| write_scalar(buffer, at, value))
    }

    /// Writes the lines of a slip, made from the texts of other steps.
    #[inline(never)]
    fn write_slip(
        &mut self,
        writer: &mut FieldWriter<'_>,
        at: usize,
        (index, step): (usize, &ProjectionStep),
        (mark, initial, rest): (usize, usize, &[usize]),
    ) -> usize {
        let Projector { shown_texts: shown, detect_buffer: cleaned, .. } = self;
        let shown = |step_index: usize| {
            let shown = shown.get(step_index).filter(|shown| shown.is_shown);
            shown.map(|shown| shown.text.as_str())
        };
        let rest = rest.iter().map(|step_index| shown(*step_index));
        let inspector = &mut writer.inspector;
        write_member(writer.buffer, at, step, |buffer, start| {
            let mut at = start;
            mask::for_each_slip_line(shown(mark), shown(initial), rest, cleaned, |line| {
                if !inspector.must_omit(line, OmittedValue::field(index)) {
                    at = buffer.write_byte(at, b',');
                    at = buffer.write_string(at, line);
                }
            });
            buffer.close_list(start, at)
        })
    }

    fn keep_pseudonym_text(&mut self, index: usize, step: &ProjectionStep, pseudonym: &Pseudonym) {
        if let Some(shown) = self.shown_texts.get_mut(index).filter(|_| step.is_text_kept)
            && let Ok(pseudonym) = std::str::from_utf8(&pseudonym.to_ascii())
        {
            shown.set(pseudonym);
        }
    }

    /// Applies the mask and the detectors of a field to its value.
    fn apply_mask<'a>(
        &mut self,
        writer: &mut FieldWriter<'a>,
        index: usize,
        kept: bool,
        masked: &MaskedField,
    ) -> MaskResult<'a> {
        let facts = writer.facts;
        let value = masked
            .from
            .map_or(FieldValue::Missing, |from| writer.visible_value(from, masked.is_card_number));
        let input = value.scalar_text();
        self.mask_buffer.clear();
        if let Some(mask) = &masked.mask {
            let mut needs = [None; MASK_NEEDS_MAX];
            for (slot, need) in needs.iter_mut().zip(&masked.needed_values) {
                *slot = resolve_needed_value(facts, *need);
            }
            let needs = &needs[..masked.needed_values.len().min(MASK_NEEDS_MAX)];
            if !mask.apply(input, needs, &mut self.mask_buffer, &mut writer.counts.short_values) {
                return MaskResult::Missing;
            }
        }
        let shown = match (&masked.mask, input) {
            (Some(_), _) => self.mask_buffer.as_str(),
            (None, Some(text)) => text,
            (None, None) => return MaskResult::Missing,
        };
        self.detect_buffer.clear();
        let cleaned = masked.detectors.as_ref().is_some_and(|detect| {
            detect.clear_own_values(&mut self.detector_buffers);
            if detect.needs_own_values() {
                add_own_values(&mut self.detector_buffers, facts, &masked.own_values);
            }
            let hits = &mut writer.counts.detected;
            detect.redact_with_known_own_values(
                &mut self.detector_buffers,
                shown,
                &mut self.detect_buffer,
                hits,
            )
        });
        let shown = if cleaned { self.detect_buffer.as_str() } else { shown };
        if writer.inspector.must_omit(shown, OmittedValue::field(index)) {
            return MaskResult::Missing;
        }
        if let Some(slot) = self.shown_texts.get_mut(index).filter(|_| kept) {
            slot.set(shown);
        }
        if cleaned {
            std::mem::swap(&mut self.mask_buffer, &mut self.detect_buffer);
        } else if masked.mask.is_none() && matches!(value, FieldValue::Text { .. }) {
            return MaskResult::Unchanged(value);
        } else if masked.mask.is_none() {
            self.mask_buffer.push_str(input.unwrap_or_default());
        }
        MaskResult::Changed
    }
}

/// Adds the values of the record and of its patron for detectors to find.
fn add_own_values(
    detector_buffers: &mut DetectorBuffers,
    facts: &Facts<'_>,
    own_values: &OwnValueFields,
) {
    for &(at, stride) in &own_values.fields {
        let ValueLocation::Element { list, .. } = at.location else {
            if let Some(text) = facts.value(at).as_text() {
                detector_buffers.add_own_value([text]);
            }
            continue;
        };
        for index in 0..facts.list_len(at.is_joined, list) {
            if let Some(text) = facts.element(at, stride, index).as_text() {
                detector_buffers.add_own_value([text]);
            }
        }
    }
    for address in &own_values.addresses {
        let parts = address.iter().filter_map(|&at| facts.value(at).as_text());
        detector_buffers.add_own_value(parts);
    }
    for number in facts.national_numbers.into_iter().flat_map(PatronNationalNumbers::iter) {
        for written in number.written_forms().iter().flat_map(WrittenNumber::texts) {
            detector_buffers.add_own_value([written]);
        }
    }
}

/// The result of a mask.
enum MaskResult<'a> {
    Missing,
    Unchanged(FieldValue<'a>),
    /// The text is in [`Projector::mask_buffer`].
    Changed,
}

/// The most values that a mask needs beside its input.
const MASK_NEEDS_MAX: usize = 8;

fn resolve_needed_value<'a>(facts: &Facts<'a>, need: NeededValue) -> Option<&'a str> {
    match need {
        NeededValue::Field(at) => facts.text(Some(at)),
        NeededValue::Country { country, library } => {
            facts.text(country).or_else(|| facts.text(library).and_then(|isil| isil.get(..2)))
        }
    }
}

/// The context in which one output is written.
struct FieldWriter<'a> {
    facts: &'a Facts<'a>,
    program: &'a Program,
    /// `None` if the output has all fields.
    thinned_steps: Option<&'a ThinnedSteps>,
    output_key: Option<&'a Pseudonym>,
    /// The index and the word of the chosen channel.
    channel: Option<(usize, &'static str)>,
    /// The patron's card number is a national number that must be omitted.
    is_card_hidden: bool,
    buffer: &'a mut OutputBuffer,
    counts: &'a mut ProjectionCounts,
    inspector: ValueInspector<'a>,
}

impl<'a> FieldWriter<'a> {
    /// Returns whether a member is of the chosen channel, or of none.
    fn is_of_chosen_channel(&self, step: &ProjectionStep) -> bool {
        let chosen = self.channel.map(|(index, _)| index);
        step.channel_index.is_none_or(|index| chosen == Some(index))
    }

    /// Returns the value of a field, or `Missing` for a hidden card number.
    fn visible_value(&mut self, at: FieldLocation, card: bool) -> FieldValue<'a> {
        if card && self.is_card_hidden {
            self.counts.national_cards += 1;
            return FieldValue::Missing;
        }
        self.facts.value(at)
    }

    /// Writes a member that is what the record demands of its patron's.
    #[cold]
    #[inline(never)]
    fn write_demanded(&mut self, at: usize, index: usize, step: &ProjectionStep) -> usize {
        let FieldWriter { facts, program, buffer, inspector, .. } = self;
        let source = facts.lane.sources.get(program.source_index);
        let (Some(source), Some(list)) = (source, program.demanded_list) else {
            return at;
        };
        match DemandedWriter::new(facts, source, (list, index), inspector) {
            Some(mut writer) => {
                write_member(buffer, at, step, |buffer, at| writer.write(buffer, at))
            }
            None => at,
        }
    }

    /// Writes a member with several values, each of which may be omitted.
    #[inline(never)]
    fn write_composite(&mut self, at: usize, index: usize, step: &ProjectionStep) -> usize {
        let (facts, hidden) = (self.facts, self.is_card_hidden);
        let FieldWriter { buffer, inspector, .. } = self;
        match &step.action {
            Action::Object { fields } => write_member(buffer, at, step, |buffer, at| {
                write_object(buffer, at, fields, hidden, |sub_field_index, part| {
                    let value = facts.value(part.field);
                    inspector.filter_card_value(
                        value,
                        part.is_card_number,
                        OmittedValue::part(index, sub_field_index),
                    )
                })
            }),
            Action::CopyObject(fields) if inspector.inspects_copies => {
                write_member(buffer, at, step, |buffer, start| {
                    let mut at = start;
                    for (sub_field_index, one) in fields.iter().enumerate() {
                        let value = facts.record.value(one.slot);
                        let value = inspector
                            .filter_value(value, OmittedValue::part(index, sub_field_index));
                        at = write_value_member(buffer, at, &one.prefix, value);
                    }
                    buffer.close_object(start, at)
                })
            }
            Action::CopyObject(fields) => write_member(buffer, at, step, |buffer, start| {
                let end = copy_members(buffer, start, fields, facts.record);
                buffer.close_object(start, end)
            }),
            Action::List { is_joined: joined, list, stride, fields } => {
                let length = facts.list_len(*joined, *list);
                write_member(buffer, at, step, |buffer, at| {
                    write_list(buffer, at, length, |buffer, at, element_index| {
                        write_object(buffer, at, fields, hidden, |sub_field_index, part| {
                            let value = facts.element(part.field, *stride, element_index);
                            inspector.filter_card_value(
                                value,
                                part.is_card_number,
                                OmittedValue::part(index, sub_field_index),
                            )
                        })
                    })
                })
            }
            Action::ScalarList { .. } => self.write_scalar_list(at, index, step),
            _ => at,
        }
    }

    /// Writes a member that is made of the patron's records; nothing if one cannot be read.
    #[inline(never)]
    fn write_summary(
        &mut self,
        at: usize,
        (index, step): (usize, &ProjectionStep),
        summary: usize,
    ) -> usize {
        let input = self.facts.gate_input(self.program);
        let summary = self.program.summaries.get(summary);
        let value = summary
            .and_then(|summary| Some((summary, summary.evaluate(&input, &mut { i64::MAX }).ok()?)));
        let FieldWriter { buffer, inspector, .. } = self;
        match value {
            Some((_, SummaryValue::Number(number))) => {
                let written = number.to_string();
                match inspector.must_omit(&written, OmittedValue::field(index)) {
                    true => at,
                    false => write_member(buffer, at, step, |buffer, at| {
                        write_scalar(buffer, at, FieldValue::Number(&written))
                    }),
                }
            }
            Some((_, SummaryValue::Word(Some(word)))) => {
                write_member(buffer, at, step, |buffer, at| Some(buffer.write_string(at, word)))
            }
            Some((summary, SummaryValue::Records(rows))) => {
                let CompiledFunction::List { fields, .. } = &summary.function else {
                    return at;
                };
                write_member(buffer, at, step, |buffer, at| {
                    write_list(buffer, at, rows.len(), |buffer, start, row| {
                        write_kept_record(buffer, start, (rows[row], fields), |text| {
                            inspector.must_omit(text, OmittedValue::field(index))
                        })
                    })
                })
            }
            Some((_, SummaryValue::Word(None))) | None => at,
        }
    }

    /// Writes a member that is a list of scalars.
    #[inline(never)]
    fn write_scalar_list(&mut self, at: usize, index: usize, step: &ProjectionStep) -> usize {
        let Action::ScalarList { is_joined: joined, list, stride, is_card_number: card } =
            step.action
        else {
            return at;
        };
        if card && self.is_card_hidden {
            self.counts.national_cards += 1;
            return at;
        }
        let facts = self.facts;
        if !joined && !card && !self.inspector.inspects_copies {
            return write_member(self.buffer, at, step, |buffer, at| {
                write_record_list(buffer, at, facts.record, list)
            });
        }
        let from =
            FieldLocation { is_joined: joined, location: ValueLocation::Element { list, slot: 0 } };
        let length = facts.list_len(joined, list);
        let inspector = &mut self.inspector;
        write_member(self.buffer, at, step, |buffer, at| {
            write_list(buffer, at, length, |buffer, at, element| {
                let value = facts.element(from, stride, element);
                let value = inspector.filter_card_value(value, card, OmittedValue::part(index, 0));
                write_scalar(buffer, at, value)
            })
        })
    }
}

/// Writes a member whose value `write` writes, or nothing if `write` returns `None`.
#[inline]
fn write_member(
    buffer: &mut OutputBuffer,
    at: usize,
    step: &ProjectionStep,
    write: impl FnOnce(&mut OutputBuffer, usize) -> Option<usize>,
) -> usize {
    let value = buffer.write_prefix(at, &step.prefix);
    write(buffer, value).unwrap_or(at)
}

/// Writes a member whose value is a pseudonym.
#[inline]
fn write_pseudonym_member(
    buffer: &mut OutputBuffer,
    at: usize,
    label: &MemberPrefix,
    pseudonym: &Pseudonym,
) -> usize {
    buffer.write_member_words(at, label, pseudonym.to_quoted_words())
}

/// Copies members from the record. Skips missing ones.
#[inline(always)]
fn copy_members(
    buffer: &mut OutputBuffer,
    mut at: usize,
    copied: &[CopiedField],
    record: RecordView<'_>,
) -> usize {
    for one in copied {
        at = copy_member(buffer, at, &one.prefix, record, one.slot);
    }
    at
}

/// Copies a member from the record, or nothing if it is missing.
#[inline(always)]
fn copy_member(
    buffer: &mut OutputBuffer,
    at: usize,
    label: &MemberPrefix,
    record: RecordView<'_>,
    slot: u16,
) -> usize {
    let found = record.slot(slot);
    let text = record.backing_text(SlotState::PlainString).as_bytes();
    let span = (found.start(), found.verbatim_length());
    if let Some(after) = buffer.try_write_short_member(at, label, text, span) {
        return after;
    }
    cold_path();
    match found.is_missing() {
        true => at,
        false => write_long_member(buffer, at, label, record, found),
    }
}

/// Same as [`copy_member`], out of line.
#[inline(never)]
fn copy_member_outlined(
    buffer: &mut OutputBuffer,
    at: usize,
    label: &MemberPrefix,
    record: RecordView<'_>,
    slot: u16,
) -> usize {
    copy_member(buffer, at, label, record, slot)
}

/// Writes a member that is long, or whose value is not verbatim in the record.
#[inline(never)]
fn write_long_member(
    buffer: &mut OutputBuffer,
    at: usize,
    label: &MemberPrefix,
    record: RecordView<'_>,
    found: ValueSlot,
) -> usize {
    if !found.is_verbatim() {
        return write_value_member(buffer, at, label, record.value_of(found));
    }
    let text = record.backing_text(SlotState::PlainString).as_bytes();
    let at = buffer.write_prefix(at, label);
    buffer.write_span(at, text, (found.start(), found.length()))
}

/// Writes an object of the listed sub-fields. `None` if all are missing.
fn write_object<'a>(
    buffer: &mut OutputBuffer,
    start: usize,
    fields: &[CompiledSubField],
    hidden: bool,
    mut value: impl FnMut(usize, &CompiledSubField) -> FieldValue<'a>,
) -> Option<usize> {
    let mut at = start;
    for (sub_field_index, part) in fields.iter().enumerate() {
        if !(part.is_card_number && hidden) {
            at = write_value_member(buffer, at, &part.prefix, value(sub_field_index, part));
        }
    }
    buffer.close_object(start, at)
}

/// Writes an object of the listed fields of a kept record, but for those that `must_omit`
/// says. `None` if all are missing.
fn write_kept_record(
    buffer: &mut OutputBuffer,
    start: usize,
    (row, fields): (&PatronRow, &[ListedField]),
    mut must_omit: impl FnMut(&str) -> bool,
) -> Option<usize> {
    let mut at = start;
    for field in fields {
        let value = row.value(field.slot);
        if !value.as_text().is_some_and(&mut must_omit) {
            at = write_value_member(buffer, at, &field.prefix, value);
        }
    }
    buffer.close_object(start, at)
}

/// Writes a list of scalars of the record. `None` if it is empty.
fn write_record_list(
    buffer: &mut OutputBuffer,
    start: usize,
    record: RecordView<'_>,
    list: u16,
) -> Option<usize> {
    let text = record.backing_text(SlotState::PlainString).as_bytes();
    if let Some(whole) = record.verbatim_list(list) {
        return Some(buffer.write_span(start, text, whole));
    }
    let mut at = start;
    for &slot in record.elements(list) {
        let after = buffer.write_byte(at, b',');
        at = if slot.is_verbatim() {
            buffer.write_span(after, text, (slot.start(), slot.length()))
        } else {
            write_scalar(buffer, after, record.value_of(slot)).unwrap_or(at)
        };
    }
    buffer.close_list(start, at)
}
