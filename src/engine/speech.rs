//! Where a consent or an objection says what it says, and how that is read.

use super::lane::Lane;
use super::record::Reading;
use super::said::{Statement, Topic};
use super::value::Value;
use crate::policy::catalogue::{Kind, Role};
use crate::policy::form::Instant;
use crate::policy::gate::{Consent, Objection, Objects, decision, objects};
use crate::policy::reason::Reason;

/// The fields of a gate source that decide, by their slots.
#[derive(Clone, Copy, Debug)]
pub enum Speech {
    Consent {
        purpose: u16,
        recipient: u16,
        decision: u16,
        manner: u16,
        at: u16,
    },
    Objection {
        kind: u16,
        purpose: u16,
        status: u16,
    },
}

impl Speech {
    /// Wants the fields of a gate's kind; none where the kind is no such gate.
    ///
    /// # Errors
    ///
    /// What `want` fails with.
    pub fn of<E>(
        kind: &Kind,
        mut want: impl FnMut(&str) -> Result<Option<u16>, E>,
    ) -> Result<Option<Speech>, E> {
        if kind.role != Role::Gate {
            return Ok(None);
        }
        Ok(match kind.name.as_str() {
            "consent" => {
                let names = ["purpose", "recipient", "decision", "manner", "at"];
                let mut slots = [None; 5];
                for (slot, name) in slots.iter_mut().zip(names) {
                    *slot = want(name)?;
                }
                match slots {
                    [
                        Some(purpose),
                        Some(recipient),
                        Some(decision),
                        Some(manner),
                        Some(at),
                    ] => Some(Speech::Consent {
                        purpose,
                        recipient,
                        decision,
                        manner,
                        at,
                    }),
                    _ => None,
                }
            }
            "objection" => match (want("kind")?, want("purpose")?, want("status")?) {
                (Some(kind), Some(purpose), Some(status)) => Some(Speech::Objection {
                    kind,
                    purpose,
                    status,
                }),
                _ => None,
            },
            _ => None,
        })
    }

    #[must_use]
    pub fn topic(&self) -> Topic {
        match self {
            Speech::Consent { .. } => Topic::Consent,
            Speech::Objection { .. } => Topic::Objection,
        }
    }

    /// What the record says; `id` tells which earlier one it replaces.
    ///
    /// # Errors
    ///
    /// [`Reason::Malformed`] where a field that decides is malformed: nobody
    /// can say then what it was meant to stop.
    pub(super) fn statement(
        &self,
        lane: &Lane,
        record: Reading<'_>,
        id: u64,
    ) -> Result<Statement, Reason> {
        let text = |slot: u16| match record.value(slot) {
            Value::Malformed => Err(Reason::Malformed),
            value => Ok(value.as_text()),
        };
        let purpose_of = |name: &str| place(lane.purposes.iter().map(String::as_str), name);
        Ok(match *self {
            Speech::Consent {
                purpose,
                recipient,
                decision: decided,
                manner,
                at,
            } => {
                let (purpose, recipient) = (text(purpose)?, text(recipient)?);
                let (decided, manner, at) = (text(decided)?, text(manner)?, text(at)?);
                let at = at.and_then(Instant::parse);
                let decided = decision(decided, manner, at.as_ref());
                let purpose = purpose.and_then(purpose_of);
                let names = lane.recipients.iter().map(|one| one.name.as_str());
                let named = recipient.map(|name| place(names, name));
                let consent = match (decided, purpose, named) {
                    // For a purpose or a recipient that nobody here has.
                    (None, ..) | (_, None, _) | (.., Some(None)) => None,
                    (Some((decision, at_ns)), Some(purpose), recipient) => Some(Consent {
                        id,
                        purpose,
                        recipient: recipient.flatten(),
                        decision,
                        at_ns,
                    }),
                };
                Statement::Consent(id, consent)
            }
            Speech::Objection {
                kind,
                purpose,
                status,
            } => {
                let (kind, purpose, status) = (text(kind)?, text(purpose)?, text(status)?);
                let purpose = purpose.map(purpose_of);
                match objects(kind, status) {
                    Objects::Marketing => Statement::NoMarketing(id),
                    // Not against a purpose that nobody here has.
                    Objects::Stands if purpose != Some(None) => {
                        let purpose = purpose.flatten();
                        Statement::Objection(id, Some(Objection { id, purpose }))
                    }
                    Objects::Stands | Objects::No => Statement::Objection(id, None),
                }
            }
        })
    }
}

fn place<'a>(mut names: impl Iterator<Item = &'a str>, name: &str) -> Option<u16> {
    let place = names.position(|known| known == name)?;
    u16::try_from(place).ok()
}
