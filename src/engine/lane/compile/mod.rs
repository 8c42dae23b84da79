//! Compiles a policy into a lane.

mod demanded;
mod error;
mod optimise;
mod recipient;
mod source;

pub use error::CompileError;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::gates::LibrarySuccessors;
use super::{DEAD_LETTERS_TOPIC, FormerRecipient, Lane, PATRONS_TOPIC, STATE_TOPIC_PREFIX};
pub use crate::config::settings::CompileOptions;
use crate::engine::memory::patrons::PatronRowLayout;
use crate::engine::memory::statement::StatementNames;
use crate::engine::record::shape::ValueLocation;
use crate::message::{OutputId, OutputPlan, OutputRole, ZEEF_OWNER};
use crate::policy::Policy;
use crate::policy::former_recipient::{FormerDeclaration, state_name_at_topic};
use crate::policy::known_names::KnownNames;
use crate::policy::pseudonym::Pseudonymiser;
use crate::policy::recipient::Recipient;
use demanded::compile_demanded_reader;
use recipient::ProgramCompiler;
use source::{collect_allowed_values, compile_sources};

/// Stands for a name that is not known.
const UNKNOWN_NAME: u16 = u16::MAX - 1;

impl Lane {
    /// Compiles the wanted recipients of a policy into a lane.
    ///
    /// # Errors
    ///
    /// A [`CompileError`] for what the loader should have refused, and for a recipient
    /// without a key.
    pub fn compile(
        name: &str,
        policy: &Policy,
        is_wanted: impl Fn(&Recipient) -> bool,
        pseudonymiser: impl Fn(&str) -> Option<Pseudonymiser>,
        options: CompileOptions,
    ) -> Result<Lane, CompileError> {
        let recipients: Vec<&Recipient> =
            policy.recipients.iter().filter(|one| is_wanted(one)).collect();
        let mut lane = Lane::without_recipients(name, policy, &recipients, options)?;
        for recipient in recipients {
            let pseudonymiser = pseudonymiser(&recipient.name)
                .ok_or_else(|| CompileError::MissingKey { recipient: recipient.name.clone() })?;
            let compiler = ProgramCompiler::new(&mut lane, recipient, policy);
            let program = compiler.compile(pseudonymiser)?;
            if program.demanded_list.is_some() {
                lane.sources[program.source_index].reads_patron_records = true;
                lane.want_demanded_reader()?;
            }
            let index = lane.recipients.len();
            let source = &mut lane.sources[program.source_index];
            source.recipient_indices.push(index);
            if program.is_for_named_patrons() {
                source.named_patron_recipients.push(index);
            }
            source.thins_when_gone |= program.gates.thins_when_gone();
            lane.recipients.push(program);
        }
        lane.has_joins = lane.sources.iter().any(|source| source.joins_patrons());
        lane.has_summaries = lane.sources.iter().any(|source| source.kept_layout.is_some());
        lane.sources.iter_mut().for_each(collect_allowed_values);
        lane.resolve_strides();
        lane.collect_copied_slots();
        lane.share_pseudonym_messages();
        lane.share_record_tests();
        lane.mark_repeated_checks();
        for former in &policy.former_recipients {
            lane.add_former_recipient(former);
        }
        lane.dead_letter_output =
            lane.add_internal_output(DEAD_LETTERS_TOPIC, OutputRole::DeadLetters);
        lane.state_output =
            lane.add_internal_output(&format!("{STATE_TOPIC_PREFIX}{name}"), OutputRole::State);
        if lane.patron_source_index().is_some() {
            lane.patrons_output =
                Some(lane.add_internal_output(PATRONS_TOPIC, OutputRole::Patrons));
        }
        Ok(lane)
    }

    /// Compiles how patrons' records are read for what is demanded of them, once.
    fn want_demanded_reader(&mut self) -> Result<(), CompileError> {
        if let (None, Some(patron)) = (&self.demanded_reader, self.patron_source_index()) {
            let source = &self.sources[patron];
            let reader = compile_demanded_reader(source.index, &source.kind)?;
            self.demanded_reader = Some(Box::new(reader));
        }
        Ok(())
    }

    /// A lane with the sources of `recipients`, but none of them compiled.
    fn without_recipients(
        name: &str,
        policy: &Policy,
        recipients: &[&Recipient],
        options: CompileOptions,
    ) -> Result<Lane, CompileError> {
        let known = policy.known_names();
        let mut lane = Lane {
            name: name.to_owned(),
            policy_version: policy.version.clone(),
            sources: compile_sources(policy, recipients)?,
            recipients: Vec::with_capacity(recipients.len()),
            former_recipients: Vec::new(),
            row_layout: PatronRowLayout::default(),
            has_joins: false,
            has_summaries: false,
            limits: options.limits,
            output_bytes_max: options.output_bytes_max,
            dead_letter_output: OutputId(0),
            state_output: OutputId(0),
            patrons_output: None,
            outputs: Vec::new(),
            has_outputs_by_owner: false,
            statement_names: StatementNames {
                unobjectionable_purposes: unobjectionable_purposes(policy, &known),
                named_patron_purposes: known_name_indices(
                    &known.purposes,
                    &known.named_patron_purposes,
                ),
                named_patron_recipients: known_name_indices(
                    &known.recipients,
                    &known.named_patron_recipients,
                ),
                known,
            },
            library_successors: LibrarySuccessors(Arc::clone(&policy.predecessor_libraries)),
            demanded_reader: None,
            ledger: None,
        };
        if let Some(patron) = lane.patron_source_index()
            && let Some(library) = lane.sources[patron].library_slot
        {
            let lists = &lane.sources[patron].shape.list_strides;
            lane.row_layout.keep_value(ValueLocation::Slot(library), lists);
        }
        Ok(lane)
    }

    /// Adds a former recipient under its name, unless the lane serves it, and under its name
    /// with each of its topics: the state names outputs on another topic than now so.
    fn add_former_recipient(&mut self, former: &FormerDeclaration) {
        let recipient = &former.recipient;
        let is_served = self.recipients.iter().any(|one| one.name == *recipient);
        let topics: Vec<(String, OutputId)> = former
            .topics
            .iter()
            .map(|topic| (topic.clone(), self.find_or_add_former_output(recipient, topic)))
            .collect();
        for (topic, output) in &topics {
            self.former_recipients.push(FormerRecipient {
                name: state_name_at_topic(recipient, topic),
                topics: vec![(topic.clone(), *output)],
                action: former.action,
            });
        }
        if !is_served {
            self.former_recipients.insert(
                self.former_recipients.len() - topics.len(),
                FormerRecipient { name: recipient.clone(), topics, action: former.action },
            );
        }
    }

    /// Returns the output of a former recipient, which may still be in use.
    fn find_or_add_former_output(&mut self, recipient: &str, topic: &str) -> OutputId {
        let is_same_output =
            |output: &OutputPlan| output.topic == topic && output.owner == *recipient;
        match self.outputs.iter().position(is_same_output) {
            Some(place) => OutputId(u16::try_from(place).unwrap_or(u16::MAX)),
            None => self.add_output(OutputPlan {
                topic: topic.to_owned(),
                owner: recipient.to_owned(),
                has_day_timestamps: false,
                version_override: None,
                contract_version: None,
                encoding: None,
                role: OutputRole::Recipient,
            }),
        }
    }

    /// Adds an output of zeef's own.
    pub(in crate::engine::lane) fn add_internal_output(
        &mut self,
        topic: &str,
        role: OutputRole,
    ) -> OutputId {
        self.add_output(OutputPlan {
            topic: topic.to_owned(),
            owner: ZEEF_OWNER.to_owned(),
            has_day_timestamps: false,
            version_override: None,
            contract_version: None,
            encoding: None,
            role,
        })
    }

    fn add_output(&mut self, plan: OutputPlan) -> OutputId {
        self.outputs.push(plan);
        OutputId(u16::try_from(self.outputs.len() - 1).unwrap_or(u16::MAX))
    }
}

/// The place of a name among those that are known, [`UNKNOWN_NAME`] if it is not.
fn known_name_index(known: &[String], name: &str) -> u16 {
    let index = known.iter().position(|one| one == name);
    index.and_then(|index| u16::try_from(index).ok()).unwrap_or(UNKNOWN_NAME)
}

/// The places of some of the names that are known.
fn known_name_indices(known: &[String], some: &BTreeSet<String>) -> BTreeSet<u16> {
    some.iter().map(|name| known_name_index(known, name)).collect()
}

/// The purposes of recipients that no objection for special circumstances stops.
fn unobjectionable_purposes(policy: &Policy, names: &KnownNames) -> BTreeSet<u16> {
    let recipients = policy.recipients.iter();
    recipients
        .filter(|one| !one.is_stopped_by_objections())
        .map(|one| known_name_index(&names.purposes, &one.purpose))
        .collect()
}
