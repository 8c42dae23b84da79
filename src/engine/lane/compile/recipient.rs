//! Compiles one recipient into a program.

use std::sync::Arc;

use super::super::gates::summary::{
    CompiledFunction, CompiledSummary, CompiledSummaryTest, ListedField, Summaries,
};
use super::super::gates::{GateFields, GateSource, RecipientGates};
use super::super::{
    Action, CompiledChannel, CompiledCondition, CompiledOtherPerson, CompiledSubField,
    FieldLocation, Lane, MaskedField, NamedPatronPart, NeededValue, OtherPersonId, OwnValueFields,
    Program, ProjectionStep, PseudonymSpec, Route, ThinnedSteps, WordFact,
};
use super::optimise::group_steps;
use super::source::find_or_add_validated_slot;
use super::{CompileError, known_name_index};
use crate::engine::memory::deliveries::OTHER_PERSONS_MAX;
use crate::engine::record::shape::ValueLocation;
use crate::json::buffer::MemberPrefix;
use crate::ledger::fields::leaf_bit;
use crate::message::{OutputEncoding, OutputPlan, OutputRole};
use crate::policy::Policy;
use crate::policy::avro_output::AvroOutput;
use crate::policy::canonical::recipient_version;
use crate::policy::catalogue::{CatalogueField, FieldType, RecordKind, Role};
use crate::policy::consent::{ConsentQuery, GrantGivers};
use crate::policy::consent_events::NAMED_PATRON;
use crate::policy::contract::{OtherPerson, OutputContract};
use crate::policy::detect::WordList;
use crate::policy::mask::{Mask, MaskNeed};
use crate::policy::pseudonym::{PseudonymDomain, Pseudonymiser};
use crate::policy::recipient::{
    Authorisation, DemandedPart, FieldProjection, FieldRef, OutputField, OutputTopics, OutputValue,
    Recipient, RecordSummary, SubField, SummaryFunction, SummaryTest, ThinningRule,
};

const PATRON_ID_PATH: &str = "patron_id";

/// A field of the record itself.
fn record_field(path: &str) -> FieldRef {
    FieldRef { is_joined: false, path: path.to_owned() }
}

/// Compiles one recipient, and adds the fields that it needs to the lane's sources.
pub(super) struct ProgramCompiler<'a> {
    lane: &'a mut Lane,
    recipient: &'a Recipient,
    source_index: usize,
    needed_fields: Vec<FieldLocation>,
    field_paths: Vec<(FieldLocation, FieldRef)>,
    card_fact: Option<FieldLocation>,
    patron_card_slot: Option<u16>,
    output_key: Option<PseudonymSpec>,
    demanded_list: Option<u16>,
    policy: &'a Policy,
    /// Of a recipient whose outputs are in Avro.
    avro: Option<Arc<AvroOutput>>,
    /// Compiled when first asked for.
    summaries: Summaries,
}

impl<'a> ProgramCompiler<'a> {
    pub(super) fn new(
        lane: &'a mut Lane,
        recipient: &'a Recipient,
        policy: &'a Policy,
    ) -> ProgramCompiler<'a> {
        let kind = &policy.record_kinds[recipient.source_kind_index].name;
        let source_index = lane.sources.iter().position(|source| source.kind.name == *kind);
        ProgramCompiler {
            lane,
            recipient,
            source_index: source_index.unwrap_or(0),
            needed_fields: Vec::new(),
            field_paths: Vec::new(),
            card_fact: None,
            patron_card_slot: None,
            output_key: None,
            demanded_list: None,
            policy,
            avro: (!recipient.value_format.is_json())
                .then(|| Arc::new(AvroOutput::of_recipient(recipient, policy))),
            summaries: Summaries::default(),
        }
    }

    pub(super) fn compile(mut self, pseudonymiser: Pseudonymiser) -> Result<Program, CompileError> {
        let recipient = self.recipient;
        let conditions = self.compile_conditions()?;
        let key = self.output_key_spec(&recipient.output_key_field)?;
        self.output_key = Some(key.clone());
        let route = self.compile_route(&recipient.topics)?;
        let gates = RecipientGates::compile(self.gate_source(), &mut self)?;
        let steps = self.compile_steps(&recipient.output_fields)?;
        let channels = self.compile_channels()?;
        let other_persons = self.compile_other_persons()?;
        let card_fact = self.card_fact;
        let has_patrons = !self.is_patron_source()
            && self.lane.sources[self.source_index].kind.is_keyed_by_patron;
        let ignores_patron = has_patrons && recipient.without_patron.is_some();
        let mut needs = self.needed_fields;
        needs.sort_unstable();
        needs.dedup();
        Ok(Program {
            name: recipient.name.clone(),
            source_index: self.source_index,
            route,
            libraries: recipient.libraries.clone(),
            allows_other_library: !recipient.is_for_own_borrowers
                && self.lane.sources[self.source_index].kind.allows_other_library,
            ending_conditions: conditions
                .iter()
                .filter(|one: &&CompiledCondition| one.ends_with_time())
                .cloned()
                .collect(),
            conditions,
            has_same_checks_as_previous: false,
            custom_detectors: self.policy.custom_detectors.clone(),
            needed_patron_fields: needs.iter().copied().filter(|need| need.is_joined).collect(),
            needed_fields: needs,
            field_paths: self.field_paths,
            gates,
            is_joined: has_patrons && !ignores_patron,
            ignores_patron,
            tells_by_record: recipient.told_unless.is_some(),
            demanded_list: self.demanded_list,
            other_persons,
            authorised_range_ms: recipient
                .authorisation
                .as_ref()
                .map(Authorisation::in_force_interval_ms),
            omits_national_cards: recipient.omits_national_cards,
            releases_national_numbers: recipient
                .releases_national_numbers(&self.policy.record_kinds),
            shows_card_parts: steps.iter().any(ProjectionStep::has_card_parts),
            card_fact,
            patron_card_slot: self.patron_card_slot,
            output_key: key,
            pseudonymiser,
            has_slip: steps.iter().any(|step| step.is_text_kept),
            has_projection_counts: card_fact.is_some()
                || steps
                    .iter()
                    .any(|step| matches!(step.action, Action::Mask(_) | Action::First(_))),
            step_groups: group_steps(&steps, |_| false),
            thinned_steps: recipient.thinned.as_ref().map(|rule| thin_steps(&steps, rule)),
            channels,
            summaries: self.summaries,
            avro: self.avro,
            steps,
        })
    }

    fn compile_conditions(&mut self) -> Result<Vec<CompiledCondition>, CompileError> {
        let mut conditions = Vec::new();
        for condition in &self.recipient.conditions {
            conditions.push(CompiledCondition {
                field: self.want_field(&condition.field)?,
                test: condition.test.clone(),
                refusal_reason: condition.refusal_reason,
                or_no_patron: condition.or_no_patron,
                shared_test: None,
            });
        }
        Ok(conditions)
    }

    fn gate_source(&self) -> GateSource<'a> {
        let ProgramCompiler { policy, recipient, .. } = *self;
        let names = &self.lane.statement_names.known;
        let purpose = known_name_index(&names.purposes, &recipient.purpose);
        let rule = recipient.consent.as_ref();
        let consent_query = ConsentQuery {
            purpose: rule.map_or(purpose, |rule| known_name_index(&names.purposes, &rule.purpose)),
            recipient: match recipient.is_for_named_patrons() {
                true => NAMED_PATRON,
                false => known_name_index(&names.recipients, &recipient.name),
            },
            is_explicit: rule.is_some_and(|rule| rule.is_explicit),
            givers: GrantGivers::Anyone,
        };
        GateSource { policy, recipient, consent_query, purpose }
    }

    fn compile_route(&mut self, topics: &OutputTopics) -> Result<Route, CompileError> {
        let version = recipient_version(self.policy, self.recipient);
        let contract = OutputContract::of_recipient(self.recipient, self.policy).version();
        let encoding = self.avro.clone().map(|avro| OutputEncoding { avro, schema_id: None });
        let plan = |topic: &str| OutputPlan {
            topic: topic.to_owned(),
            owner: self.recipient.name.clone(),
            has_day_timestamps: self.recipient.is_pseudonymised,
            version_override: self.recipient.is_pseudonymised.then(|| version.clone()),
            contract_version: Some(contract.clone()),
            encoding: encoding.clone(),
            role: OutputRole::Recipient,
        };
        Ok(match topics {
            OutputTopics::Single(topic) => Route::Single(self.lane.add_output(plan(topic))),
            OutputTopics::PerParty { party_field: by, topic_by_party: of } => Route::ByParty {
                party: self.want_single_value(by)?,
                outputs: of
                    .iter()
                    .map(|(party, topic)| (party.clone(), self.lane.add_output(plan(topic))))
                    .collect(),
            },
        })
    }

    fn compile_steps(
        &mut self,
        fields: &[OutputField],
    ) -> Result<Vec<ProjectionStep>, CompileError> {
        let channel = self.recipient.channel.as_ref();
        let mut steps = Vec::with_capacity(fields.len());
        let mut summaries = 0..;
        for field in fields {
            let action = match &field.value {
                OutputValue::Summary(_) => Action::Summary(summaries.next().unwrap_or_default()),
                _ => self.compile_action(field)?,
            };
            steps.push(ProjectionStep {
                name: field.name.clone(),
                prefix: MemberPrefix::new(&field.name),
                action,
                is_text_kept: false,
                channel_index: channel.and_then(|rule| rule.channel_of(&field.value)),
            });
        }
        let kept_steps: Vec<usize> = steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Slip { shelf_mark: mark, initial, other_steps: rest } => {
                    Some([*mark, *initial].into_iter().chain(rest.iter().copied()))
                }
                _ => None,
            })
            .flatten()
            .collect();
        for index in kept_steps {
            if let Some(step) = steps.get_mut(index) {
                step.is_text_kept = true;
            }
        }
        for step in steps.iter_mut().filter(|step| !step.is_text_kept) {
            if let Action::Copy { from, is_card_number: false } = step.action
                && let (ValueLocation::Slot(slot), false) = (from.location, from.is_joined)
            {
                step.action = Action::CopySlot(slot);
            }
        }
        Ok(steps)
    }

    fn compile_channels(&mut self) -> Result<Vec<CompiledChannel>, CompileError> {
        let recipient = self.recipient;
        let mut channels = Vec::new();
        for channel in recipient.channel.iter().flat_map(|rule| &rule.channels) {
            let fields = channel.present_by.iter().map(|field| self.want_single_value(field));
            channels.push(CompiledChannel {
                word: channel.medium.into_str(),
                fields: fields.collect::<Result<_, _>>()?,
            });
        }
        Ok(channels)
    }

    /// The ids do not decide about outputs, so they may be malformed or missing.
    fn compile_other_persons(&mut self) -> Result<Vec<CompiledOtherPerson>, CompileError> {
        let leaves = OutputContract::of_recipient(self.recipient, self.policy).leaves();
        let mut persons: Vec<(OtherPerson, u128)> = Vec::new();
        for (at, leaf) in leaves.into_iter().enumerate() {
            for person in leaf.about {
                match persons.iter_mut().find(|(known, _)| *known == person) {
                    Some((_, leaves)) => *leaves |= leaf_bit(at),
                    None => persons.push((person, leaf_bit(at))),
                }
            }
        }
        let compiled = persons.into_iter().take(OTHER_PERSONS_MAX).map(|(person, leaves)| {
            let id = match person {
                OtherPerson::NamedPatron => OtherPersonId::NamedPatron,
                OtherPerson::WithId(id) if id.is_joined && self.demanded_list.is_some() => {
                    OtherPersonId::OfPatronRecord(id.path)
                }
                OtherPerson::WithId(id) => {
                    let field_type = self.field_type(&id)?;
                    OtherPersonId::Field(self.want_path(id.is_joined, &id.path, field_type)?)
                }
            };
            Ok(CompiledOtherPerson { id, leaves })
        });
        compiled.collect()
    }

    fn compile_action(&mut self, output: &OutputField) -> Result<Action, CompileError> {
        Ok(match &output.value {
            OutputValue::Scalar(projection) => self.compile_scalar(projection)?,
            OutputValue::First(projections) => {
                Action::First(self.compile_alternatives(&output.name, projections)?)
            }
            OutputValue::Object { from, fields } => {
                let fields = self.compile_sub_fields(from, fields)?;
                match fields.iter().map(CompiledSubField::as_copied_field).collect() {
                    Some(copied) => Action::CopyObject(copied),
                    None => Action::Object { fields },
                }
            }
            OutputValue::ObjectList { from, fields } => {
                let fields = self.compile_sub_fields(from, fields)?;
                let (joined, list) =
                    self.locate_list(fields.first().map(|part| part.field), from)?;
                Action::List { is_joined: joined, list, stride: 0, fields }
            }
            OutputValue::ScalarList { from } => {
                let card = self.field_type(from)? == FieldType::CardNumber;
                let at = self.want_field(from)?;
                let (joined, list) = self.locate_list(Some(at), from)?;
                Action::ScalarList { is_joined: joined, list, stride: 0, is_card_number: card }
            }
            OutputValue::ChannelWord => Action::ChannelWord,
            OutputValue::Demanded { list, shows: DemandedPart::Values } => {
                let at = self.want_field(list)?;
                let (_, list) = self.locate_list(Some(at), list)?;
                self.demanded_list = Some(list);
                let fields = self.policy.patron_kind().map_or(&[][..], |kind| &kind.fields);
                let demanded = fields.iter().filter(|field| field.may_be_demanded());
                Action::Demanded { paths: demanded.map(|field| field.path.clone()).collect() }
            }
            OutputValue::Demanded { list, shows: DemandedPart::Number } => {
                let at = self.want_field(list)?;
                let (_, list) = self.locate_list(Some(at), list)?;
                let fields = self.policy.patron_kind().map_or(&[][..], |kind| &kind.fields);
                let paths = fields.iter().map(|field| field.path.clone()).collect();
                Action::DemandedNumber { list, stride: 0, paths }
            }
            OutputValue::ShelfSlip {
                shelf_mark_index: mark,
                initial_index: initial,
                line_indices: rest,
            } => Action::Slip { shelf_mark: *mark, initial: *initial, other_steps: rest.clone() },
            OutputValue::Summary(_) => Action::Summary(0),
            OutputValue::NamedPatron => {
                let mut pseudonym = self.pseudonym_spec(&record_field(PATRON_ID_PATH))?;
                pseudonym.named_patron = NamedPatronPart::Value;
                Action::Pseudonym(pseudonym)
            }
        })
    }

    fn compile_summary(
        &mut self,
        summary: &RecordSummary,
    ) -> Result<CompiledSummary, CompileError> {
        let kind = &self.policy.record_kinds[summary.kind_index];
        let mut conditions = Vec::with_capacity(summary.conditions.len());
        for condition in &summary.conditions {
            let slot = self.keep_record_value(kind, &condition.path)?;
            let test = match &condition.test {
                SummaryTest::Value(test) => CompiledSummaryTest::Value(test.clone()),
                SummaryTest::SameAs { patron_path, or_else } => {
                    let of_patron = self.want_single_value(&record_field(patron_path))?;
                    CompiledSummaryTest::SameAs(of_patron, or_else.clone())
                }
            };
            conditions.push((slot, test));
        }
        let function = match &summary.function {
            SummaryFunction::Sum(path) => {
                CompiledFunction::Sum(self.keep_record_value(kind, path)?)
            }
            SummaryFunction::Count => CompiledFunction::Count,
            SummaryFunction::Any(word) => CompiledFunction::Any(word.clone()),
            SummaryFunction::List { fields, order } => {
                let fields = fields.iter().map(|field| {
                    let prefix = MemberPrefix::new(&field.name);
                    Ok(ListedField { prefix, slot: self.keep_record_value(kind, &field.path)? })
                });
                let fields = fields.collect::<Result<_, CompileError>>()?;
                let order = order.iter().map(|path| self.keep_record_value(kind, path));
                CompiledFunction::List { fields, order: order.collect::<Result<_, _>>()? }
            }
        };
        let library = self.keep_record_value(kind, "library")?;
        let gone = kind.gone_path.as_ref().map(|path| self.keep_record_value(kind, path));
        let gone = gone.transpose()?;
        let source = self.lane.sources.iter().find(|source| source.kind.name == kind.name);
        Ok(CompiledSummary {
            source: source.map_or(u16::MAX, |source| source.index),
            conditions,
            gone,
            library: (library, self.recipient.libraries.clone()),
            function,
        })
    }

    /// Keeps a value of records of `kind` for summaries; returns its slot in their rows.
    fn keep_record_value(&mut self, kind: &RecordKind, path: &str) -> Result<u16, CompileError> {
        let unknown = || self.unknown_field(path);
        let field_type = kind.field(path).map(|field| field.field_type).ok_or_else(unknown)?;
        let index = self.lane.sources.iter().position(|source| source.kind.name == kind.name);
        let index = index.ok_or_else(unknown)?;
        let source = &mut self.lane.sources[index];
        let location = source.shape.add_path(path, field_type)?;
        let layout = source.kept_layout.get_or_insert_default();
        match layout.keep_value(location, &source.shape.list_strides) {
            ValueLocation::Slot(slot) => Ok(slot),
            ValueLocation::Element { .. } => Err(CompileError::FieldInList {
                recipient: self.recipient.name.clone(),
                path: path.to_owned(),
            }),
        }
    }

    /// Compiles the values of which an output field shows the first that is there.
    fn compile_alternatives(
        &mut self,
        name: &str,
        projections: &[FieldProjection],
    ) -> Result<Vec<ProjectionStep>, CompileError> {
        let channel = self.recipient.channel.as_ref();
        let mut steps = Vec::with_capacity(projections.len());
        for projection in projections {
            let from = projection.from.as_ref();
            steps.push(ProjectionStep {
                name: name.to_owned(),
                prefix: MemberPrefix::new(name),
                action: self.compile_scalar(projection)?,
                is_text_kept: false,
                channel_index: channel.zip(from).and_then(|(rule, at)| rule.channel_of_field(at)),
            });
        }
        Ok(steps)
    }

    fn locate_list(
        &self,
        at: Option<FieldLocation>,
        from: &FieldRef,
    ) -> Result<(bool, u16), CompileError> {
        match at {
            Some(FieldLocation {
                is_joined: joined,
                location: ValueLocation::Element { list, .. },
            }) => Ok((joined, list)),
            _ => Err(self.unknown_field(&from.path)),
        }
    }

    fn compile_scalar(&mut self, projection: &FieldProjection) -> Result<Action, CompileError> {
        if let (Some(Mask::Pseudonym(mask)), Some(from)) = (&projection.mask, &projection.from) {
            let mut pseudonym = self.pseudonym_spec(from)?;
            pseudonym.is_hexadecimal = mask.is_hexadecimal;
            if let Some(path) = &mask.month_of {
                pseudonym.month_of = Some(self.want_single_value(&record_field(path))?);
            }
            let is_key = self.output_key.as_ref() == Some(&pseudonym);
            return Ok(if is_key { Action::OutputKey } else { Action::Pseudonym(pseudonym) });
        }
        let mut card = false;
        let mut from = None;
        if let Some(field) = &projection.from {
            card = self.field_type(field)? == FieldType::CardNumber;
            from = Some(self.want_single_value(field)?);
        }
        if let (None, None, Some(from)) = (&projection.mask, &projection.detect, from) {
            return Ok(Action::Copy { from, is_card_number: card });
        }
        let joined = projection.from.as_ref().is_some_and(|field| field.is_joined);
        let mut needs = Vec::new();
        for need in projection.mask.as_ref().map(Mask::needs).unwrap_or_default() {
            needs.push(self.compile_needed_value(need, joined)?);
        }
        let own = match &projection.detect {
            Some(detect) if detect.needs_own_values() => self.own_value_fields()?,
            _ => OwnValueFields::default(),
        };
        Ok(Action::Mask(MaskedField {
            from,
            is_card_number: card,
            mask: projection.mask.clone(),
            needed_values: needs,
            detectors: projection.detect.clone(),
            own_values: own,
        }))
    }

    fn compile_needed_value(
        &mut self,
        need: MaskNeed,
        joined: bool,
    ) -> Result<NeededValue, CompileError> {
        Ok(match need {
            MaskNeed::Sibling(path) => {
                let path = path.to_owned();
                NeededValue::Field(self.want_single_value(&FieldRef { is_joined: joined, path })?)
            }
            MaskNeed::SourceField(path) => {
                NeededValue::Field(self.want_single_value(&record_field(&path))?)
            }
            MaskNeed::Country => {
                let country = FieldRef { is_joined: joined, path: "country".to_owned() };
                let known =
                    self.source_kind(joined).is_some_and(|kind| kind.field("country").is_some());
                NeededValue::Country {
                    country: if known { Some(self.want_single_value(&country)?) } else { None },
                    library: self.want_library(joined)?,
                }
            }
        })
    }

    /// The values of the patron and the record that free text may repeat: all that identify a
    /// person, except national numbers, which are always looked for.
    fn own_value_fields(&mut self) -> Result<OwnValueFields, CompileError> {
        let mut own_values = OwnValueFields::default();
        let joined_sides = match self.is_patron_source() || self.patron_source_index().is_none() {
            true => &[false][..],
            false => &[true, false],
        };
        for &joined in joined_sides {
            let fields = self.source_kind(joined).map(|kind| kind.fields.clone());
            for field in fields.unwrap_or_default() {
                if !identifies_person(&field) {
                    continue;
                }
                let path = field.path.clone();
                own_values
                    .fields
                    .push((self.want_field(&FieldRef { is_joined: joined, path })?, 0));
                if let Some(street) = field.path.strip_suffix(STREET_PATH_SUFFIX) {
                    own_values.addresses.push(self.address_fields(joined, street)?);
                }
            }
        }
        Ok(own_values)
    }

    /// Street, house number and its suffix, as far as the catalogue has them.
    fn address_fields(
        &mut self,
        joined: bool,
        start: &str,
    ) -> Result<Vec<FieldLocation>, CompileError> {
        let mut parts = Vec::new();
        for name in [STREET_PATH_SUFFIX, "house_number", "house_number_suffix"] {
            let path = format!("{start}{name}");
            let known = self.source_kind(joined).is_some_and(|kind| kind.field(&path).is_some());
            if known {
                parts.push(self.want_field(&FieldRef { is_joined: joined, path })?);
            }
        }
        Ok(parts)
    }

    fn compile_sub_fields(
        &mut self,
        from: &FieldRef,
        fields: &[SubField],
    ) -> Result<Vec<CompiledSubField>, CompileError> {
        let mut parts = Vec::with_capacity(fields.len());
        for field in fields {
            let path = FieldRef { is_joined: from.is_joined, path: field.path.clone() };
            let at = self.want_field(&path)?;
            parts.push(CompiledSubField {
                prefix: MemberPrefix::new(&field.name),
                is_card_number: self.field_type(&path)? == FieldType::CardNumber,
                field: at,
            });
        }
        Ok(parts)
    }

    fn pseudonym_spec(&mut self, field: &FieldRef) -> Result<PseudonymSpec, CompileError> {
        let patron_id = field.path == PATRON_ID_PATH;
        let of_patron = field.is_joined || patron_id || self.is_patron_source();
        let kind =
            if of_patron { "patron" } else { &self.lane.sources[self.source_index].kind.name };
        Ok(PseudonymSpec {
            domain: PseudonymDomain::new(kind, &field.path),
            is_card_number: self.field_type(field)? == FieldType::CardNumber,
            value: self.want_single_value(field)?,
            library: self.want_library(of_patron && !self.is_patron_source())?,
            patron_id: None,
            may_lack_patron: self.lane.sources[self.source_index].kind.may_lack_patron,
            month_of: None,
            is_hexadecimal: false,
            named_patron: NamedPatronPart::None,
            shared_message: None,
        })
    }

    /// What an output key is made of. No two patrons share a key.
    fn output_key_spec(&mut self, field: &FieldRef) -> Result<PseudonymSpec, CompileError> {
        let mut key = self.pseudonym_spec(field)?;
        if field.path != PATRON_ID_PATH {
            let record_location =
                |slot| FieldLocation { is_joined: false, location: ValueLocation::Slot(slot) };
            key.patron_id =
                self.lane.sources[self.source_index].patron_id_slot.map(record_location);
        }
        if self.recipient.is_for_named_patrons() {
            key.named_patron = NamedPatronPart::AfterValue;
        }
        Ok(key)
    }

    fn is_patron_source(&self) -> bool {
        self.lane.sources[self.source_index].kind.role == Role::Patron
    }

    fn want_library(&mut self, joined: bool) -> Result<Option<FieldLocation>, CompileError> {
        let known = self.source_kind(joined).is_some_and(|kind| kind.field("library").is_some());
        if !known {
            return Ok(None);
        }
        let library = FieldRef { is_joined: joined, path: "library".to_owned() };
        self.want_single_value(&library).map(Some)
    }

    /// Wants a field that is not part of a list.
    fn want_single_value(&mut self, field: &FieldRef) -> Result<FieldLocation, CompileError> {
        match self.want_field(field)? {
            found @ FieldLocation { location: ValueLocation::Slot(_), .. } => Ok(found),
            FieldLocation { .. } => Err(CompileError::FieldInList {
                recipient: self.recipient.name.clone(),
                path: field.path.clone(),
            }),
        }
    }

    /// Wants a field, and what decides whether it may be shown.
    fn want_field(&mut self, field: &FieldRef) -> Result<FieldLocation, CompileError> {
        let field_type = self.field_type(field)?;
        let found = self.want_path(field.is_joined, &field.path, field_type)?;
        self.needed_fields.push(found);
        self.field_paths.push((found, field.clone()));
        if field_type == FieldType::CardNumber {
            let fact = self.want_card_fact(field.is_joined)?;
            self.needed_fields.push(fact);
            self.card_fact = Some(fact);
            if let (true, "card_number", ValueLocation::Slot(slot)) =
                (field.is_joined, field.path.as_str(), found.location)
            {
                self.patron_card_slot = Some(slot);
            }
        }
        Ok(found)
    }

    fn want_path(
        &mut self,
        joined: bool,
        path: &str,
        field_type: FieldType,
    ) -> Result<FieldLocation, CompileError> {
        let source = if joined {
            self.patron_source_index().ok_or_else(|| self.unknown_field(path))?
        } else {
            self.source_index
        };
        let source = &mut self.lane.sources[source];
        let mut location = source.shape.add_path(path, field_type)?;
        if let ValueLocation::Slot(slot) = location
            && source.holds_raw_value(slot)
        {
            location = find_or_add_validated_slot(source, slot, field_type);
        }
        if joined {
            location = self.lane.row_layout.keep_value(location, &source.shape.list_strides);
        }
        Ok(FieldLocation { is_joined: joined, location })
    }

    /// Wants the derived fact whether the patron's card number is a national number.
    fn want_card_fact(&mut self, joined: bool) -> Result<FieldLocation, CompileError> {
        let source = if joined {
            self.patron_source_index().ok_or_else(|| self.unknown_field("card_number"))?
        } else {
            self.source_index
        };
        let fact = self.lane.sources[source].card_fact;
        let slot = fact.ok_or_else(|| self.unknown_field("card_kind"))?.fact_slot;
        let location = ValueLocation::Slot(slot);
        let location = if joined {
            self.lane.row_layout.keep_value(location, &self.lane.sources[source].shape.list_strides)
        } else {
            location
        };
        Ok(FieldLocation { is_joined: joined, location })
    }

    fn patron_source_index(&self) -> Option<usize> {
        self.lane.patron_source_index()
    }

    fn source_kind(&self, joined: bool) -> Option<&RecordKind> {
        let source = if joined { self.patron_source_index()? } else { self.source_index };
        Some(&self.lane.sources[source].kind)
    }

    fn field_type(&self, field: &FieldRef) -> Result<FieldType, CompileError> {
        self.source_kind(field.is_joined)
            .and_then(|kind| kind.field(&field.path))
            .map(|field| field.field_type)
            .ok_or_else(|| self.unknown_field(&field.path))
    }

    fn unknown_field(&self, path: &str) -> CompileError {
        CompileError::UnknownField { recipient: self.recipient.name.clone(), path: path.to_owned() }
    }
}

impl GateFields for ProgramCompiler<'_> {
    fn want_field(&mut self, field: &FieldRef) -> Result<FieldLocation, CompileError> {
        ProgramCompiler::want_field(self, field)
    }

    fn want_single_value(&mut self, field: &FieldRef) -> Result<FieldLocation, CompileError> {
        ProgramCompiler::want_single_value(self, field)
    }

    fn want_membership_field(&mut self, path: &str) -> Result<Option<FieldLocation>, CompileError> {
        if self.recipient.without_patron.is_some() {
            return Ok(None);
        }
        let FieldRef { is_joined, .. } = self.patron_field(path);
        let field = self.source_kind(is_joined).and_then(|kind| kind.field(path));
        let field_type = field.map(|field| field.field_type);
        field_type.map(|field_type| self.want_path(is_joined, path, field_type)).transpose()
    }

    fn summaries(&mut self) -> Result<Summaries, CompileError> {
        let recipient = self.recipient;
        if self.summaries.0.is_none() && recipient.summaries().next().is_some() {
            let compiled = recipient.summaries().map(|summary| self.compile_summary(summary));
            let compiled = compiled.collect::<Result<Vec<_>, _>>()?;
            self.summaries = Summaries(Some(compiled.into()));
        }
        Ok(self.summaries.clone())
    }

    fn want_word_fact(
        &mut self,
        field: &FieldRef,
        words: &WordList,
    ) -> Result<FieldLocation, CompileError> {
        let text = ProgramCompiler::want_single_value(self, field)?;
        let source = &mut self.lane.sources[self.source_index];
        let text_slot = text.record_slot().ok_or_else(|| CompileError::FieldInList {
            recipient: self.recipient.name.clone(),
            path: field.path.clone(),
        })?;
        let is_same = |fact: &&WordFact| fact.text_slot == text_slot && fact.words == *words;
        let known = source.word_facts.iter().find(is_same).map(|fact| fact.fact_slot);
        let fact_slot = known.unwrap_or_else(|| {
            let fact_slot = source.shape.add_derived_slot();
            let words = words.clone();
            source.word_facts.push(WordFact { text_slot, fact_slot, words });
            fact_slot
        });
        Ok(FieldLocation { is_joined: false, location: ValueLocation::Slot(fact_slot) })
    }

    fn patron_field(&self, path: &str) -> FieldRef {
        FieldRef { is_joined: !self.is_patron_source(), path: path.to_owned() }
    }
}

/// What a rule leaves of the steps.
fn thin_steps(steps: &[ProjectionStep], rule: &ThinningRule) -> ThinnedSteps {
    let is_dropped = |index| rule.dropped_fields.contains(&index);
    ThinnedSteps {
        is_dropped: (0..steps.len()).map(is_dropped).collect(),
        step_groups: group_steps(steps, is_dropped),
    }
}

const STREET_PATH_SUFFIX: &str = "street";

/// Whether a field identifies a person, and free text may repeat it.
fn identifies_person(field: &CatalogueField) -> bool {
    field.class.is_searched_as_own_value()
        && field.field_type != FieldType::Boolean
        && field.national_number_kind().is_none()
}
