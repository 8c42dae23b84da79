//! From a policy to a lane: what a name means is looked up here, once.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{
    Action, CardFact, Checked, Condition, Copied, DEAD_LETTERS_TOPIC, Former, Lane, MESSAGES_MAX,
    Masked, Needed, Own, PATRONS_TOPIC, Part, Program, PseudonymOf, Ref, Route, Run, STATE_TOPIC,
    Source, Step,
};
use crate::engine::gates::{
    ConsentGate, Gates, Membership, Objections, Paper, Retention, Successors,
};
use crate::engine::inspect::{CopiedValues, NationalSlot};
use crate::engine::record::Limits;
use crate::engine::shape::{Place, Shape, ShapeError};
use crate::engine::speech::Speech;
use crate::engine::table::RowLayout;
use crate::json::page::Label;
use crate::policy::canonical::recipient_version;
use crate::policy::catalogue::{Field, Kind, Role, Type};
use crate::policy::former::name_at;
use crate::policy::gate::Asked;
use crate::policy::known::KnownNames;
use crate::policy::mask::{Mask, Need};
use crate::policy::pseudonym::{Meaning, Pseudonymiser};
use crate::policy::recipient::{
    Authorisation, FieldRef, OutputField, OutputValue, Projection, Recipient, SubField, Test,
    Topics,
};
use crate::policy::{self, Policy};
use crate::transport::{OWN, OutputId, OutputPlan, OutputRole};

/// No name that is known has this number.
const NOBODY: u16 = u16::MAX - 1;
const COUNTRY: &str = "country";
const MEMBERSHIP_STATUS: &str = "membership.status";
const MEMBERSHIP_END: &str = "membership.ends_on";

/// Why a policy cannot be compiled into a lane.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    #[error(transparent)]
    Shape(#[from] ShapeError),
    #[error("recipient {recipient}: unknown field `{path}`")]
    UnknownField { recipient: String, path: String },
    #[error("recipient {recipient}: `{path}` is part of a list and cannot stand alone")]
    InList { recipient: String, path: String },
    #[error("recipient {recipient} has no key: run `zeef keys new {recipient}`")]
    NoKey { recipient: String },
}

/// What a lane is compiled with, beside the policy.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub limits: Limits,
    pub output_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            limits: Limits::default(),
            output_bytes_max: 1_000_000,
        }
    }
}

impl Lane {
    /// Compiles the recipients of `policy` that `wanted` names into a lane.
    ///
    /// # Errors
    ///
    /// A [`CompileError`] for what the loader should have refused, and for a
    /// recipient without a key.
    pub fn compile(
        name: &str,
        policy: &Policy,
        wanted: impl Fn(&Recipient) -> bool,
        pseudonymiser: impl Fn(&str) -> Option<Pseudonymiser>,
        options: Options,
    ) -> Result<Lane, CompileError> {
        let recipients: Vec<&Recipient> = policy.recipients.iter().filter(|r| wanted(r)).collect();
        let mut lane = Lane {
            name: name.to_owned(),
            policy_version: policy.version.clone(),
            sources: sources(policy, &recipients)?,
            recipients: Vec::with_capacity(recipients.len()),
            former: Vec::new(),
            layout: RowLayout::default(),
            joins: false,
            limits: options.limits,
            output_bytes_max: options.output_bytes_max,
            dead_letters: OutputId(0),
            state: OutputId(0),
            patrons: None,
            outputs: Vec::new(),
            names: policy.known_names(),
            libraries: Successors(Arc::clone(&policy.successor_of)),
            spared: BTreeSet::new(),
        };
        lane.spared = spared(policy, &lane.names);
        if let Some(patron) = lane.patron_source()
            && let Some(library) = lane.sources[patron].library
        {
            let lists = &lane.sources[patron].shape.lists;
            lane.layout.keep(Place::Slot(library), lists);
        }
        for (index, recipient) in recipients.iter().enumerate() {
            let kind = &policy.kinds[recipient.source];
            let source = lane
                .sources
                .iter()
                .position(|source| source.kind.name == kind.name)
                .unwrap_or(0);
            let key = pseudonymiser(&recipient.name).ok_or_else(|| CompileError::NoKey {
                recipient: recipient.name.clone(),
            })?;
            let program = Compiler {
                lane: &mut lane,
                recipient,
                source,
                needs: Vec::new(),
                names: Vec::new(),
                card_fact: None,
                joined_card: None,
                key: None,
                national: recipient.releases_national(&policy.kinds),
                policy,
            }
            .compile(key)?;
            lane.sources[source].recipients.push(index);
            lane.recipients.push(program);
        }
        lane.joins = lane.sources.iter().any(|source| source.joins());
        lane.sources.iter_mut().for_each(list_values);
        lane.settle();
        lane.note_copied();
        lane.share_messages();
        lane.share_tests();
        lane.share_answers();
        for former in &policy.former {
            lane.add_former(former);
        }
        lane.dead_letters = lane.own_output(DEAD_LETTERS_TOPIC, OutputRole::DeadLetters);
        lane.state = lane.own_output(&format!("{STATE_TOPIC}{name}"), OutputRole::State);
        if lane.patron_source().is_some() {
            lane.patrons = Some(lane.own_output(PATRONS_TOPIC, OutputRole::Patrons));
        }
        Ok(lane)
    }

    /// Adds a former recipient: by its name, and by its name with each of its
    /// topics. What it has on another topic than now, or of another kind, is
    /// called so where the lane serves it.
    fn add_former(&mut self, former: &policy::former::Former) {
        let recipient = &former.recipient;
        let is_served = self.recipients.iter().any(|one| one.name == *recipient);
        let topics: Vec<(String, OutputId)> = former
            .topics
            .iter()
            .map(|topic| (topic.clone(), self.former_output(recipient, topic)))
            .collect();
        for (topic, output) in &topics {
            self.former.push(Former {
                name: name_at(recipient, topic),
                topics: vec![(topic.clone(), *output)],
                what: former.what,
            });
        }
        if !is_served {
            self.former.insert(
                self.former.len() - topics.len(),
                Former {
                    name: recipient.clone(),
                    topics,
                    what: former.what,
                },
            );
        }
    }

    /// The output of a former recipient, which may be one that is still in use.
    fn former_output(&mut self, recipient: &str, topic: &str) -> OutputId {
        let own = |output: &OutputPlan| output.topic == topic && output.owner == *recipient;
        match self.outputs.iter().position(own) {
            Some(place) => OutputId(u16::try_from(place).unwrap_or(u16::MAX)),
            None => self.output(OutputPlan {
                topic: topic.to_owned(),
                owner: recipient.to_owned(),
                day_only: false,
                version: None,
                role: OutputRole::Recipient,
            }),
        }
    }

    /// Adds an output that is for no recipient.
    fn own_output(&mut self, topic: &str, role: OutputRole) -> OutputId {
        self.output(OutputPlan {
            topic: topic.to_owned(),
            owner: OWN.to_owned(),
            day_only: false,
            version: None,
            role,
        })
    }

    fn output(&mut self, plan: OutputPlan) -> OutputId {
        self.outputs.push(plan);
        OutputId(u16::try_from(self.outputs.len() - 1).unwrap_or(u16::MAX))
    }

    /// Finds the pseudonyms that several recipients make of one value: each
    /// hashes it under its own key, but what is hashed is the same.
    fn share_messages(&mut self) {
        let mut known: Vec<PseudonymOf> = Vec::new();
        for program in &mut self.recipients {
            let steps = program
                .steps
                .iter_mut()
                .filter_map(|step| match &mut step.action {
                    Action::Pseudonym(of) => Some(of),
                    _ => None,
                });
            for of in std::iter::once(&mut program.key).chain(steps) {
                if of.card {
                    continue;
                }
                let place = known.iter().position(|one| one == of).unwrap_or_else(|| {
                    known.push(of.clone());
                    known.len() - 1
                });
                of.message = u8::try_from(place)
                    .ok()
                    .filter(|&place| place < MESSAGES_MAX);
            }
        }
    }

    /// Finds the recipients that ask the same of a record as the one before.
    fn share_answers(&mut self) {
        for source in &self.sources {
            for pair in source.recipients.windows(2) {
                let [one, two] = [pair[0], pair[1]].map(|place| &self.recipients[place]);
                let alike = one.asks_like(two);
                self.recipients[pair[1]].asks_like_before = alike;
            }
        }
    }

    /// Notes what the recipients of each source get as it stands in the record.
    fn note_copied(&mut self) {
        for program in &self.recipients {
            let source = &mut self.sources[program.source];
            for step in &program.steps {
                step.note_copied(&mut source.copied);
            }
        }
        for source in &mut self.sources {
            let closed: Vec<u16> = source.listed.iter().map(|(slot, _)| *slot).collect();
            let copied = &mut source.copied;
            copied.slots.sort_unstable();
            copied.slots.dedup();
            // What is one of a list of the catalogue has no number in it.
            copied.slots.retain(|slot| !closed.contains(slot));
            copied.lists.sort_unstable();
            copied.lists.dedup();
        }
    }

    /// Finds the conditions that several recipients have of a record.
    fn share_tests(&mut self) {
        for program in &mut self.recipients {
            let known = &mut self.sources[program.source].tests;
            for condition in &mut program.conditions {
                let Ref {
                    joined: false,
                    place: Place::Slot(slot),
                } = condition.field
                else {
                    continue;
                };
                let same = |test: &(u16, Test)| test.0 == slot && test.1 == condition.test;
                condition.shared = known.iter().position(same).or_else(|| {
                    known.push((slot, condition.test.clone()));
                    Some(known.len() - 1)
                });
            }
        }
    }

    /// Lists may have got further fields after their place was noted.
    fn settle(&mut self) {
        if let Some(patron) = self.patron_source() {
            self.layout.settle(&self.sources[patron].shape.lists);
        }
        for program in &mut self.recipients {
            let strides = &self.sources[program.source].shape.lists;
            for step in &mut program.steps {
                if let Action::Mask(masked) = &mut step.action {
                    for (at, stride) in &mut masked.own.fields {
                        if let Place::Element { list, .. } = at.place {
                            *stride = match at.joined {
                                true => self.layout.stride(list),
                                false => strides[usize::from(list)],
                            };
                        }
                    }
                }
                if let Action::List {
                    joined,
                    list,
                    stride,
                    ..
                }
                | Action::Scalars {
                    joined,
                    list,
                    stride,
                    ..
                } = &mut step.action
                {
                    *stride = if *joined {
                        self.layout.stride(*list)
                    } else {
                        strides[usize::from(*list)]
                    };
                }
            }
        }
    }
}

/// The sources of a lane: gates first, then what its recipients read.
fn sources(policy: &Policy, recipients: &[&Recipient]) -> Result<Vec<Source>, ShapeError> {
    let used = |index: usize| recipients.iter().any(|r| r.source == index);
    // A lane that only has former recipients hears of erasures, too.
    let keyed = match recipients.is_empty() {
        true => !policy.former.is_empty(),
        false => recipients.iter().any(|r| policy.kinds[r.source].keyed),
    };
    let mut kinds: Vec<&Kind> = policy
        .kinds
        .iter()
        .enumerate()
        .filter(|&(index, kind)| used(index) || (keyed && kind.role != Role::Record))
        .map(|(_, kind)| kind)
        .collect();
    kinds.sort_by_key(|kind| match kind.role {
        Role::Patron => 0,
        Role::Gate => 1,
        Role::Record => 2,
    });
    (0..)
        .zip(kinds)
        .map(|(place, kind)| source(place, kind))
        .collect()
}

fn source(place: u16, kind: &Kind) -> Result<Source, ShapeError> {
    let mut shape = Shape::default();
    let mut wanted = |path: &str| -> Result<Option<u16>, ShapeError> {
        let Some(field) = kind.field(path) else {
            return Ok(None);
        };
        Ok(match shape.want(path, field.kind)? {
            Place::Slot(slot) => Some(slot),
            Place::Element { .. } => None,
        })
    };
    let patron_id = if kind.keyed {
        wanted("patron_id")?
    } else {
        None
    };
    let library = wanted("library")?;
    let own_id = if kind.keyed && kind.id == "patron_id" {
        None
    } else {
        wanted(&kind.id)?
    };
    let speech = Speech::of(kind, &mut wanted)?;
    let national = national(kind, &mut shape)?;
    if kind.closed {
        for field in &kind.fields {
            shape.want(&field.path, field.kind)?;
        }
    }
    Ok(Source {
        place,
        kind: kind.clone(),
        topic: kind.topic.clone(),
        shape,
        patron_id,
        library,
        own_id,
        national_slots: national.iter().map(|national| national.slot).collect(),
        national,
        copied: CopiedValues::default(),
        card: None,
        country: None,
        listed: Vec::new(),
        speech,
        checked: Vec::new(),
        tests: Vec::new(),
        recipients: Vec::new(),
    })
}

/// Wants the national numbers of the patron that a record of `kind` has, as they
/// stand there: where one must have a form, a slot beside it checks that.
fn national(kind: &Kind, shape: &mut Shape) -> Result<Vec<NationalSlot>, ShapeError> {
    let mut national = Vec::new();
    for field in kind.fields.iter().filter(|_| kind.keyed) {
        let Some(number) = field.national_number() else {
            continue;
        };
        if !in_list(&field.path)
            && let Place::Slot(slot) = shape.want(&field.path, Type::TextOrNumber)?
        {
            national.push(NationalSlot { slot, number });
        }
    }
    Ok(national)
}

/// A field of the record itself.
fn own_field(path: &str) -> FieldRef {
    FieldRef {
        joined: false,
        path: path.to_owned(),
    }
}

/// Compiles one recipient, and wants its fields from the sources on the way.
struct Compiler<'a> {
    lane: &'a mut Lane,
    recipient: &'a Recipient,
    source: usize,
    needs: Vec<Ref>,
    names: Vec<(Ref, FieldRef)>,
    card_fact: Option<Ref>,
    joined_card: Option<u16>,
    /// What the output's key is made of.
    key: Option<PseudonymOf>,
    /// Some national number is released.
    national: bool,
    policy: &'a Policy,
}

impl Compiler<'_> {
    fn compile(mut self, pseudonymiser: Pseudonymiser) -> Result<Program, CompileError> {
        let recipient = self.recipient;
        let mut conditions = Vec::new();
        for condition in &recipient.when {
            conditions.push(Condition {
                field: self.field(&condition.field)?,
                test: condition.test.clone(),
                shared: None,
            });
        }
        let key = self.output_key(&recipient.key)?;
        self.key = Some(key.clone());
        let route = self.route(&recipient.topics)?;
        let gates = self.gates()?;
        let steps = self.steps(&recipient.fields)?;
        let card_fact = self.card_fact;
        let joined = !self.is_patron_source() && self.lane.sources[self.source].kind.keyed;
        let mut needs = self.needs;
        needs.sort_unstable();
        needs.dedup();
        Ok(Program {
            name: recipient.name.clone(),
            source: self.source,
            route,
            libraries: recipient.libraries.clone(),
            conditions,
            asks_like_before: false,
            joined_needs: needs.iter().copied().filter(|need| need.joined).collect(),
            needs,
            names: self.names,
            gates,
            joined,
            authorised_ms: recipient
                .authorisation
                .as_ref()
                .map(Authorisation::in_force_ms),
            releases_national: self.national,
            shows_card_parts: steps.iter().any(Step::has_card_parts),
            card_fact,
            joined_card: self.joined_card,
            key,
            pseudonymiser,
            has_slip: steps.iter().any(|step| step.kept),
            notices: card_fact.is_some()
                || steps
                    .iter()
                    .any(|step| matches!(step.action, Action::Mask(_))),
            runs: runs(&steps),
            steps,
        })
    }

    fn gates(&mut self) -> Result<Gates, CompileError> {
        let recipient = self.recipient;
        let implied_by = recipient
            .consent
            .as_ref()
            .and_then(|consent| consent.implied_by.as_ref());
        let implied_by = implied_by.map(|field| self.field(field)).transpose()?;
        let consent = recipient
            .consent
            .as_ref()
            .map(|_| ConsentGate { implied_by });
        let mut stages = Vec::with_capacity(recipient.stages.len());
        for stage in &recipient.stages {
            stages.push(self.single(stage)?);
        }
        let loan_history = if recipient.loan_history {
            let status = FieldRef {
                joined: false,
                path: "status".to_owned(),
            };
            Some((
                self.field(&status)?,
                self.field(&self.patron_field("loan_history"))?,
            ))
        } else {
            None
        };
        let simple = recipient.agreement.is_none()
            && recipient.authorisation.is_none()
            && consent.is_none()
            && stages.is_empty()
            && loan_history.is_none();
        let retention = &recipient.retention;
        let ends_on = self.patron_field(MEMBERSHIP_END);
        Ok(Gates {
            asked: self.asked(),
            objections: self.objections(),
            libraries: self.lane.libraries.clone(),
            agreement: recipient
                .agreement
                .as_ref()
                .map(|paper| Paper::new(paper.in_force_ms(), paper.after)),
            authorisation: recipient
                .authorisation
                .as_ref()
                .filter(|_| self.national)
                .map(|paper| Paper::new(paper.in_force_ms(), paper.after)),
            consent,
            stages,
            loan_history,
            membership: self.membership()?,
            patron_term: self.policy.patron_term,
            retention: Retention {
                term: retention.term,
                from: self.field(&retention.from)?,
                of_membership: retention.from == ends_on,
                after: retention.after,
            },
            period: match &recipient.period {
                Some(period) => Some(self.single(&period.of)?),
                None => None,
            },
            simple,
        })
    }

    fn asked(&self) -> Asked {
        let recipient = self.recipient;
        let names = &self.lane.names;
        let gate = recipient.consent.as_ref();
        Asked {
            purpose: place(
                &names.purposes,
                gate.map_or(&recipient.purpose, |gate| &gate.purpose),
            ),
            recipient: place(&names.recipients, &recipient.name),
            explicit: gate.is_some_and(|gate| gate.explicit),
        }
    }

    fn objections(&self) -> Objections {
        let recipient = self.recipient;
        let purpose = &recipient.purpose;
        let special = recipient.yields_to_objections();
        Objections {
            purpose: place(&self.lane.names.purposes, purpose),
            marketing: recipient.marketing,
            special,
            refusal: (special || recipient.marketing) && !self.policy.asks_consent_for(purpose),
        }
    }

    /// Status and end of the patron's membership. That they are malformed does
    /// not make a record so: they are no recipient's fields.
    fn membership(&mut self) -> Result<Membership, CompileError> {
        let outlives = self.recipient.outlives_membership.is_some();
        let mut wanted = |path: &str| {
            let field = self.patron_field(path);
            let kind = self.kind(field.joined).and_then(|kind| kind.field(path));
            let known = kind.map(|known| known.kind);
            known
                .map(|known| self.want(field.joined, path, known))
                .transpose()
        };
        Ok(Membership {
            status: wanted(MEMBERSHIP_STATUS)?,
            ends_on: match outlives {
                true => None,
                false => wanted(MEMBERSHIP_END)?,
            },
        })
    }

    fn route(&mut self, topics: &Topics) -> Result<Route, CompileError> {
        let version = recipient_version(self.policy, self.recipient);
        let plan = |topic: &str| OutputPlan {
            topic: topic.to_owned(),
            owner: self.recipient.name.clone(),
            day_only: self.recipient.pseudonymised,
            version: self.recipient.pseudonymised.then(|| version.clone()),
            role: OutputRole::Recipient,
        };
        Ok(match topics {
            Topics::One(topic) => Route::One(self.lane.output(plan(topic))),
            Topics::Each { by, of } => Route::Each {
                by: self.single(by)?,
                of: of
                    .iter()
                    .map(|(party, topic)| (party.clone(), self.lane.output(plan(topic))))
                    .collect(),
            },
        })
    }

    fn steps(&mut self, fields: &[OutputField]) -> Result<Vec<Step>, CompileError> {
        let mut steps = Vec::with_capacity(fields.len());
        for field in fields {
            steps.push(Step {
                name: field.name.clone(),
                label: Label::new(&field.name),
                action: self.action(&field.value)?,
                kept: false,
            });
        }
        let shown: Vec<usize> = steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Slip {
                    mark,
                    initial,
                    rest,
                } => Some([*mark, *initial].into_iter().chain(rest.iter().copied())),
                _ => None,
            })
            .flatten()
            .collect();
        for place in shown {
            if let Some(step) = steps.get_mut(place) {
                step.kept = true;
            }
        }
        for step in steps.iter_mut().filter(|step| !step.kept) {
            if let Action::Copy { from, card: false } = step.action
                && let (Place::Slot(slot), false) = (from.place, from.joined)
            {
                step.action = Action::CopySlot(slot);
            }
        }
        Ok(steps)
    }

    fn action(&mut self, value: &OutputValue) -> Result<Action, CompileError> {
        Ok(match value {
            OutputValue::Scalar(projection) => self.scalar(projection)?,
            OutputValue::Object { from, fields } => {
                let fields = self.parts(from, fields)?;
                match fields.iter().map(Part::copied).collect() {
                    Some(copied) => Action::Copies(copied),
                    None => Action::Object { fields },
                }
            }
            OutputValue::List { from, fields } => {
                let fields = self.parts(from, fields)?;
                let (joined, list) = self.list_of(fields.first().map(|part| part.at), from)?;
                Action::List {
                    joined,
                    list,
                    stride: 0,
                    fields,
                }
            }
            OutputValue::Scalars { from } => {
                let card = self.catalogue_type(from)? == Type::CardNumber;
                let at = self.field(from)?;
                let (joined, list) = self.list_of(Some(at), from)?;
                Action::Scalars {
                    joined,
                    list,
                    stride: 0,
                    card,
                }
            }
            OutputValue::Slip {
                mark,
                initial,
                rest,
            } => Action::Slip {
                mark: *mark,
                initial: *initial,
                rest: rest.clone(),
            },
        })
    }

    fn list_of(&self, at: Option<Ref>, from: &FieldRef) -> Result<(bool, u16), CompileError> {
        match at {
            Some(Ref {
                joined,
                place: Place::Element { list, .. },
            }) => Ok((joined, list)),
            _ => Err(self.unknown(&from.path)),
        }
    }

    fn scalar(&mut self, projection: &Projection) -> Result<Action, CompileError> {
        if let (Some(Mask::Pseudonym { month_of }), Some(from)) =
            (&projection.mask, &projection.from)
        {
            let mut of = self.pseudonym_of(from)?;
            if let Some(path) = month_of {
                of.month_of = Some(self.single(&own_field(path))?);
            }
            let is_key = self.key.as_ref() == Some(&of);
            return Ok(if is_key {
                Action::OutputKey
            } else {
                Action::Pseudonym(of)
            });
        }
        let mut card = false;
        let mut from = None;
        if let Some(field) = &projection.from {
            card = self.catalogue_type(field)? == Type::CardNumber;
            from = Some(self.single(field)?);
        }
        if let (None, None, Some(from)) = (&projection.mask, &projection.detect, from) {
            return Ok(Action::Copy { from, card });
        }
        let joined = projection.from.as_ref().is_some_and(|field| field.joined);
        let mut needs = Vec::new();
        for need in projection
            .mask
            .as_ref()
            .map(Mask::needs)
            .unwrap_or_default()
        {
            needs.push(self.need(need, joined)?);
        }
        let own = match &projection.detect {
            Some(detect) if detect.needs_own_values() => self.own_values()?,
            _ => Own::default(),
        };
        Ok(Action::Mask(Masked {
            from,
            card,
            mask: projection.mask.clone(),
            needs,
            detect: projection.detect.clone(),
            own,
        }))
    }

    fn need(&mut self, need: Need, joined: bool) -> Result<Needed, CompileError> {
        Ok(match need {
            Need::Sibling(path) => {
                let path = path.to_owned();
                Needed::Field(self.single(&FieldRef { joined, path })?)
            }
            Need::Source(path) => Needed::Field(self.single(&own_field(&path))?),
            Need::Country => {
                let country = FieldRef {
                    joined,
                    path: "country".to_owned(),
                };
                let known = self
                    .kind(joined)
                    .is_some_and(|kind| kind.field("country").is_some());
                Needed::Country {
                    country: if known {
                        Some(self.single(&country)?)
                    } else {
                        None
                    },
                    library: self.library(joined)?,
                }
            }
        })
    }

    /// The values of the patron and of the record that a note may hold: all that
    /// point at a person, but for national numbers, which are known anyway.
    fn own_values(&mut self) -> Result<Own, CompileError> {
        let mut own = Own::default();
        let sides = match self.is_patron_source() || self.patron().is_none() {
            true => &[false][..],
            false => &[true, false],
        };
        for &joined in sides {
            let fields = self.kind(joined).map(|kind| kind.fields.clone());
            for field in fields.unwrap_or_default() {
                if !points_at_a_person(&field) {
                    continue;
                }
                let path = field.path.clone();
                own.fields
                    .push((self.field(&FieldRef { joined, path })?, 0));
                if let Some(street) = field.path.strip_suffix(STREET) {
                    own.addresses.push(self.address(joined, street)?);
                }
            }
        }
        Ok(own)
    }

    /// Street, house number and what follows it, as far as the catalogue has them.
    fn address(&mut self, joined: bool, start: &str) -> Result<Vec<Ref>, CompileError> {
        let mut parts = Vec::new();
        for name in [STREET, "house_number", "house_number_suffix"] {
            let path = format!("{start}{name}");
            let known = self
                .kind(joined)
                .is_some_and(|kind| kind.field(&path).is_some());
            if known {
                parts.push(self.field(&FieldRef { joined, path })?);
            }
        }
        Ok(parts)
    }

    fn parts(&mut self, from: &FieldRef, fields: &[SubField]) -> Result<Vec<Part>, CompileError> {
        let mut parts = Vec::with_capacity(fields.len());
        for field in fields {
            let path = FieldRef {
                joined: from.joined,
                path: field.path.clone(),
            };
            let at = self.field(&path)?;
            parts.push(Part {
                label: Label::new(&field.name),
                card: self.catalogue_type(&path)? == Type::CardNumber,
                at,
            });
        }
        Ok(parts)
    }

    fn pseudonym_of(&mut self, field: &FieldRef) -> Result<PseudonymOf, CompileError> {
        let patron_id = field.path == "patron_id";
        let of_patron = field.joined || patron_id || self.is_patron_source();
        let kind = if of_patron {
            "patron"
        } else {
            &self.lane.sources[self.source].kind.name
        };
        Ok(PseudonymOf {
            meaning: Meaning::new(kind, &field.path),
            card: self.catalogue_type(field)? == Type::CardNumber,
            value: self.single(field)?,
            library: self.library(of_patron && !self.is_patron_source())?,
            patron_id: None,
            month_of: None,
            message: None,
        })
    }

    /// What an output key is made of: no two patrons have one in common.
    fn output_key(&mut self, field: &FieldRef) -> Result<PseudonymOf, CompileError> {
        let mut key = self.pseudonym_of(field)?;
        if field.path != "patron_id" {
            let own = |slot| Ref {
                joined: false,
                place: Place::Slot(slot),
            };
            key.patron_id = self.lane.sources[self.source].patron_id.map(own);
        }
        Ok(key)
    }

    /// A field of the record's patron, from the table or from the record.
    fn patron_field(&self, path: &str) -> FieldRef {
        FieldRef {
            joined: !self.is_patron_source(),
            path: path.to_owned(),
        }
    }

    fn is_patron_source(&self) -> bool {
        self.lane.sources[self.source].kind.role == Role::Patron
    }

    fn library(&mut self, joined: bool) -> Result<Option<Ref>, CompileError> {
        let known = self
            .kind(joined)
            .is_some_and(|kind| kind.field("library").is_some());
        if !known {
            return Ok(None);
        }
        let library = FieldRef {
            joined,
            path: "library".to_owned(),
        };
        self.single(&library).map(Some)
    }

    /// A field that is one value of the record.
    fn single(&mut self, field: &FieldRef) -> Result<Ref, CompileError> {
        match self.field(field)? {
            found @ Ref {
                place: Place::Slot(_),
                ..
            } => Ok(found),
            Ref { .. } => Err(CompileError::InList {
                recipient: self.recipient.name.clone(),
                path: field.path.clone(),
            }),
        }
    }

    /// Wants a field, and all that decides whether it may be shown.
    fn field(&mut self, field: &FieldRef) -> Result<Ref, CompileError> {
        let kind = self.catalogue_type(field)?;
        let found = self.want(field.joined, &field.path, kind)?;
        self.needs.push(found);
        self.names.push((found, field.clone()));
        if kind == Type::CardNumber {
            let fact = self.card_fact(field.joined)?;
            self.needs.push(fact);
            self.card_fact = Some(fact);
            if let (true, "card_number", Place::Slot(slot)) =
                (field.joined, field.path.as_str(), found.place)
            {
                self.joined_card = Some(slot);
            }
        }
        Ok(found)
    }

    fn want(&mut self, joined: bool, path: &str, kind: Type) -> Result<Ref, CompileError> {
        let source = if joined {
            self.patron().ok_or_else(|| self.unknown(path))?
        } else {
            self.source
        };
        let source = &mut self.lane.sources[source];
        let mut place = source.shape.want(path, kind)?;
        if let Place::Slot(slot) = place
            && source.national.iter().any(|national| national.slot == slot)
        {
            place = checked(source, slot, kind);
        }
        if joined {
            place = self.lane.layout.keep(place, &source.shape.lists);
        }
        Ok(Ref { joined, place })
    }

    /// The derived fact that the patron's card number is a national number.
    fn card_fact(&mut self, joined: bool) -> Result<Ref, CompileError> {
        let source = if joined {
            self.patron().ok_or_else(|| self.unknown("card_number"))?
        } else {
            self.source
        };
        let slot = match self.lane.sources[source].card {
            Some(fact) => fact.slot,
            None => {
                let fact = card_fact_of(&mut self.lane.sources[source])
                    .ok_or_else(|| self.unknown("card_kind"))?;
                self.lane.sources[source].card = Some(fact);
                fact.slot
            }
        };
        let place = Place::Slot(slot);
        let place = if joined {
            self.lane
                .layout
                .keep(place, &self.lane.sources[source].shape.lists)
        } else {
            place
        };
        Ok(Ref { joined, place })
    }

    fn patron(&self) -> Option<usize> {
        self.lane.patron_source()
    }

    fn kind(&self, joined: bool) -> Option<&Kind> {
        let source = if joined { self.patron()? } else { self.source };
        Some(&self.lane.sources[source].kind)
    }

    fn catalogue_type(&self, field: &FieldRef) -> Result<Type, CompileError> {
        self.kind(field.joined)
            .and_then(|kind| kind.field(&field.path))
            .map(|field| field.kind)
            .ok_or_else(|| self.unknown(&field.path))
    }

    fn unknown(&self, path: &str) -> CompileError {
        CompileError::UnknownField {
            recipient: self.recipient.name.clone(),
            path: path.to_owned(),
        }
    }
}

/// The place of a name among those that are known.
fn place(known: &[String], name: &str) -> u16 {
    let place = known.iter().position(|one| one == name);
    place
        .and_then(|place| u16::try_from(place).ok())
        .unwrap_or(NOBODY)
}

/// The purposes of recipients that no objection for special circumstances stops.
fn spared(policy: &Policy, names: &KnownNames) -> BTreeSet<u16> {
    let recipients = policy.recipients.iter();
    recipients
        .filter(|one| !one.yields_to_objections())
        .map(|one| place(&names.purposes, &one.purpose))
        .collect()
}

/// Puts neighbours together that are copied.
fn runs(steps: &[Step]) -> Vec<Run> {
    let mut runs = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let open = |run: &Run| run.step.is_none();
        let empty = |run: &Run| open(run) && run.token.is_none() && run.copied.is_empty();
        match step.action {
            Action::CopySlot(slot) => {
                let label = step.label.clone();
                let run = last_where(&mut runs, open);
                run.copied.push(Copied { label, slot });
            }
            Action::OutputKey if !step.kept => {
                last_where(&mut runs, empty).token = Some(step.label.clone());
            }
            _ => last_where(&mut runs, open).step = Some(index),
        }
    }
    runs
}

/// The last run, or a new one if that is not as it should be.
fn last_where(runs: &mut Vec<Run>, fits: impl Fn(&Run) -> bool) -> &mut Run {
    if !runs.last().is_some_and(fits) {
        runs.push(Run::default());
    }
    let last = runs.len() - 1;
    &mut runs[last]
}

/// The slot that has what stands in `raw` where that is of a type.
fn checked(source: &mut Source, raw: u16, kind: Type) -> Place {
    if let Some(known) = source.checked.iter().find(|checked| checked.raw == raw) {
        return Place::Slot(known.slot);
    }
    let slot = source.shape.derived();
    let form = match kind {
        Type::Text(form) => form,
        _ => None,
    };
    source.checked.push(Checked { raw, slot, form });
    source.national_slots.push(slot);
    Place::Slot(slot)
}

/// The last part of a path of a street.
const STREET: &str = "street";

/// Whether what a field holds tells who somebody is, and free text may repeat it.
fn points_at_a_person(field: &Field) -> bool {
    field.class.is_own_value() && field.kind != Type::Boolean && field.national_number().is_none()
}

fn in_list(path: &str) -> bool {
    path.contains("[]")
}

/// Notes which wanted fields have a list of values, and whether the country is
/// wanted. What gates read themselves says more than a list.
fn list_values(source: &mut Source) {
    if source.kind.role == Role::Gate {
        return;
    }
    for field in &source.kind.fields {
        let Some(Place::Slot(slot)) = source.shape.place(&field.path) else {
            continue;
        };
        match source.library {
            Some(library) if field.path == COUNTRY => source.country = Some((slot, library)),
            _ if field.values.is_empty() => {}
            _ => source.listed.push((slot, field.values.clone())),
        }
    }
}

fn card_fact_of(source: &mut Source) -> Option<CardFact> {
    let mut slot = |path: &str| {
        let kind = source.kind.field(path)?.kind;
        // Digits are compared as they stand, whatever form the number has.
        let kind = match kind {
            Type::Text(_) => Type::Text(None),
            other => other,
        };
        match source.shape.want(path, kind).ok()? {
            Place::Slot(slot) => Some(slot),
            Place::Element { .. } => None,
        }
    };
    let card_number = slot("card_number")?;
    let card_kind = slot("card_kind")?;
    let national_number = slot("rijksregisternummer")?;
    Some(CardFact {
        slot: source.shape.derived(),
        card_number,
        card_kind,
        national_number,
    })
}
