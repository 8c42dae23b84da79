//! Optimises a lane once all recipients are compiled.

use super::super::{
    Action, CopiedField, FieldLocation, Lane, ProjectionStep, PseudonymSpec, SHARED_MESSAGES_MAX,
    StepGroup,
};
use crate::engine::record::shape::ValueLocation;
use crate::policy::recipient::ConditionTest;

impl Lane {
    /// Numbers the messages that pseudonyms hash: recipients differ in their keys, but often
    /// hash the same.
    pub(super) fn share_pseudonym_messages(&mut self) {
        let mut known: Vec<PseudonymSpec> = Vec::new();
        for program in &mut self.recipients {
            let steps = program.steps.iter_mut().filter_map(|step| match &mut step.action {
                Action::Pseudonym(pseudonym) => Some(pseudonym),
                _ => None,
            });
            for pseudonym in std::iter::once(&mut program.output_key).chain(steps) {
                if pseudonym.is_card_number {
                    continue;
                }
                let index = known.iter().position(|one| one == pseudonym).unwrap_or_else(|| {
                    known.push(pseudonym.clone());
                    known.len() - 1
                });
                pseudonym.shared_message =
                    u8::try_from(index).ok().filter(|&index| index < SHARED_MESSAGES_MAX);
            }
        }
    }

    /// Marks the recipients whose checks are those of the one before.
    pub(super) fn mark_repeated_checks(&mut self) {
        for source in &self.sources {
            for pair in source.recipient_indices.windows(2) {
                let [one, two] = [pair[0], pair[1]].map(|index| &self.recipients[index]);
                let alike = one.has_same_checks_as(two);
                self.recipients[pair[1]].has_same_checks_as_previous = alike;
            }
        }
    }

    /// Collects the values that the recipients of each source get unmasked.
    pub(super) fn collect_copied_slots(&mut self) {
        for program in &self.recipients {
            let source = &mut self.sources[program.source_index];
            for step in &program.steps {
                step.collect_copied_slots(&mut source.copied_slots);
            }
        }
        for source in &mut self.sources {
            let closed: Vec<u16> = source.allowed_values.iter().map(|(slot, _)| *slot).collect();
            let copied = &mut source.copied_slots;
            copied.slots.sort_unstable();
            copied.slots.dedup();
            // A value listed in the catalogue contains no number.
            copied.slots.retain(|slot| !closed.contains(slot));
            let few_digits = &source.shape.slots_of_few_digits;
            (copied.slots_of_few_digits, copied.slots) =
                copied.slots.iter().partition(|slot| few_digits.contains(slot));
            copied.lists.sort_unstable();
            copied.lists.dedup();
        }
    }

    /// Shares the conditions that several recipients have of a record.
    pub(super) fn share_record_tests(&mut self) {
        for program in &mut self.recipients {
            let known = &mut self.sources[program.source_index].shared_tests;
            for condition in &mut program.conditions {
                let FieldLocation { is_joined: false, location: ValueLocation::Slot(slot) } =
                    condition.field
                else {
                    continue;
                };
                if condition.test.time_range().is_some() {
                    // Each recipient that asks notes when the answer changes.
                    continue;
                }
                let same = |test: &(u16, ConditionTest)| test.0 == slot && test.1 == condition.test;
                condition.shared_test = known.iter().position(same).or_else(|| {
                    known.push((slot, condition.test.clone()));
                    Some(known.len() - 1)
                });
            }
        }
    }

    /// Sets the strides of lists, which may have grown after a step was compiled.
    pub(super) fn resolve_strides(&mut self) {
        if let Some(patron) = self.patron_source_index() {
            self.row_layout.set_strides(&self.sources[patron].shape.list_strides);
        }
        for program in &mut self.recipients {
            let strides = &self.sources[program.source_index].shape.list_strides;
            for step in &mut program.steps {
                if let Action::Mask(masked) = &mut step.action {
                    for (at, stride) in &mut masked.own_values.fields {
                        if let ValueLocation::Element { list, .. } = at.location {
                            *stride = match at.is_joined {
                                true => self.row_layout.stride(list),
                                false => strides[usize::from(list)],
                            };
                        }
                    }
                }
                if let Action::DemandedNumber { list, stride, .. } = &mut step.action {
                    *stride = strides[usize::from(*list)];
                }
                if let Action::List { is_joined: joined, list, stride, .. }
                | Action::ScalarList { is_joined: joined, list, stride, .. } = &mut step.action
                {
                    *stride = if *joined {
                        self.row_layout.stride(*list)
                    } else {
                        strides[usize::from(*list)]
                    };
                }
            }
        }
    }
}

/// Groups adjacent steps that copy.
pub(super) fn group_steps(
    steps: &[ProjectionStep],
    is_dropped: impl Fn(usize) -> bool,
) -> Vec<StepGroup> {
    let mut runs = Vec::new();
    for (index, step) in steps.iter().enumerate().filter(|(index, _)| !is_dropped(*index)) {
        let open = |run: &StepGroup| run.step_index.is_none();
        let empty = |run: &StepGroup| {
            open(run) && run.output_key_prefix.is_none() && run.copied_fields.is_empty()
        };
        match step.action {
            Action::CopySlot(slot) => {
                let label = step.prefix.clone();
                let run = last_matching_group(&mut runs, open);
                run.copied_fields.push(CopiedField { prefix: label, slot });
            }
            Action::OutputKey if !step.is_text_kept => {
                last_matching_group(&mut runs, empty).output_key_prefix = Some(step.prefix.clone());
            }
            _ => last_matching_group(&mut runs, open).step_index = Some(index),
        }
    }
    runs
}

/// Returns the last group, or a new one if the last does not fit.
fn last_matching_group(
    runs: &mut Vec<StepGroup>,
    fits: impl Fn(&StepGroup) -> bool,
) -> &mut StepGroup {
    if !runs.last().is_some_and(fits) {
        runs.push(StepGroup::default());
    }
    let last = runs.len() - 1;
    &mut runs[last]
}
