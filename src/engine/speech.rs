//! Where a consent or an objection says what it says, and how that is read.

use super::lane::Lane;
use super::record::Reading;
use super::said::{Consent, Message, Topic};
use super::tally::Ignored;
use super::value::Value;
use crate::policy::catalogue::{Kind, Role};
use crate::policy::form::Instant;
use crate::policy::gate::{
    ConsentWords, LATEST_NS, Objects, Scope, Unclear, at_ns, decision, objects,
};
use crate::policy::known::{NameMatch, match_name};
use crate::policy::reason::Reason;
use crate::policy::statements::{ALL, About};

/// The fields of a gate source that decide, by their slots.
#[derive(Clone, Copy, Debug)]
pub enum Speech {
    Consent {
        purpose: u16,
        recipient: u16,
        decision: u16,
        manner: u16,
        at: u16,
        /// Where the catalogue has it.
        given_by: Option<u16>,
    },
    Objection {
        kind: u16,
        purpose: u16,
        status: u16,
        /// Where the catalogue has it.
        at: Option<u16>,
    },
}

/// What was understood of a record.
pub(super) struct Understood {
    pub(super) message: Message,
    /// Why it counts for nothing.
    pub(super) ignored: Option<Ignored>,
}

/// A purpose or a recipient that is known, or [`ALL`] where none is named; `None`
/// for one that nobody has, [`Unclear`] for one that may be another.
type Name = Result<Option<u16>, Unclear>;

impl Speech {
    /// Wants the fields of a gate's kind; `None` where the kind is no such gate.
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
                let given_by = want("given_by")?;
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
                        given_by,
                    }),
                    _ => None,
                }
            }
            "objection" => match (want("kind")?, want("purpose")?, want("status")?) {
                (Some(kind), Some(purpose), Some(status)) => Some(Speech::Objection {
                    kind,
                    purpose,
                    status,
                    at: want("at")?,
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

    /// What the record of a library says; `id` tells which earlier one it
    /// replaces.
    ///
    /// # Errors
    ///
    /// [`Reason::Malformed`] where a field that decides is of the wrong type,
    /// [`Reason::Unclear`] where one is not understood.
    pub(super) fn understand(
        &self,
        lane: &Lane,
        record: Reading<'_>,
        (id, library): (u64, &str),
    ) -> Result<Understood, Reason> {
        match *self {
            Speech::Consent { .. } => self.consent(lane, record, (id, library)),
            Speech::Objection {
                kind,
                purpose,
                status,
                at,
            } => {
                let word = |slot| text(record, Some(slot));
                // Against marketing whatever else it says.
                let marketing =
                    word(kind).map(|kind| objects(kind, None)) == Ok(Ok(Objects::Marketing));
                if marketing {
                    let at = text(record, at).ok().flatten().and_then(Instant::parse);
                    let at_ns = at.as_ref().map_or(LATEST_NS, at_ns);
                    return Ok(Understood {
                        message: Message::NoMarketing(id, at_ns),
                        ignored: None,
                    });
                }
                let (kind, named, status) = (word(kind)?, word(purpose)?, word(status)?);
                let objects = objects(kind, status).map_err(|Unclear| Reason::Unclear)?;
                let purpose = lane.purpose(named).map_err(|Unclear| Reason::Unclear)?;
                let stands = objects == Objects::Stands;
                Ok(Understood {
                    message: Message::Objection(id, purpose.filter(|_| stands).map(About::purpose)),
                    ignored: match purpose {
                        None => Some(Ignored::UnknownPurpose),
                        Some(purpose) if stands && lane.spares_some(purpose) => {
                            Some(Ignored::ObjectionOtherBasis)
                        }
                        Some(_) => None,
                    },
                })
            }
        }
    }

    fn consent(
        &self,
        lane: &Lane,
        record: Reading<'_>,
        (id, library): (u64, &str),
    ) -> Result<Understood, Reason> {
        let Speech::Consent {
            purpose,
            recipient,
            decision: decided,
            manner,
            at,
            given_by,
        } = *self
        else {
            return Err(Reason::Unclear);
        };
        let word = |slot| text(record, Some(slot));
        let (purpose, recipient) = (word(purpose)?, word(recipient)?);
        let words = ConsentWords {
            decision: word(decided)?,
            manner: word(manner)?,
            given_by: text(record, given_by)?,
        };
        let at = word(at)?.and_then(Instant::parse);
        let read = || {
            let decided = decision(words, at.as_ref())?;
            let purpose = lane.purpose(purpose)?;
            let recipient = lane.recipient(recipient)?;
            Ok((decided, purpose, recipient))
        };
        let (decided, purpose, recipient) = read().map_err(|Unclear| Reason::Unclear)?;
        // One without a purpose is about nothing that can be told.
        if purpose == Some(ALL) {
            return Err(Reason::Unclear);
        }
        let consent = decided.zip(purpose).zip(recipient);
        let consent = consent.map(|(((decision, at_ns), purpose), recipient)| Consent {
            about: About::purpose(purpose).for_recipient(recipient),
            decision,
            at_ns,
            library: library.into(),
        });
        Ok(Understood {
            message: Message::Consent(id, consent),
            ignored: match (purpose, recipient) {
                (None, _) => Some(Ignored::UnknownPurpose),
                (_, None) => Some(Ignored::UnknownRecipient),
                _ => None,
            },
        })
    }

    /// What a record may be about that is not understood; `None` where it is
    /// about something that nobody has.
    pub(super) fn scope(&self, lane: &Lane, record: Reading<'_>) -> Option<Scope> {
        let Speech::Consent {
            purpose, recipient, ..
        } = *self
        else {
            // Nobody can say what an objection was against.
            return Some(Scope::ALL);
        };
        let name = |found: Result<Name, Reason>| match found {
            Ok(Ok(name)) => name,
            Ok(Err(Unclear)) | Err(_) => Some(ALL),
        };
        let purpose = text(record, Some(purpose)).map(|name| lane.purpose(name));
        let recipient = text(record, Some(recipient)).map(|name| lane.recipient(name));
        Some(Scope {
            purpose: name(purpose)?,
            recipient: name(recipient)?,
        })
    }
}

impl Lane {
    fn purpose(&self, name: Option<&str>) -> Name {
        known(match_name(&self.names.purposes, name))
    }

    fn recipient(&self, name: Option<&str>) -> Name {
        known(match_name(&self.names.recipients, name))
    }

    /// Whether an objection to the purpose, or to all, leaves some recipient of
    /// it as it is.
    fn spares_some(&self, purpose: u16) -> bool {
        match purpose {
            ALL => !self.spared.is_empty(),
            one => self.spared.contains(&one),
        }
    }
}

fn known(found: NameMatch) -> Name {
    match found {
        NameMatch::Missing => Ok(Some(ALL)),
        NameMatch::Known(place) => Ok(Some(place)),
        NameMatch::Near => Err(Unclear),
        NameMatch::Unknown => Ok(None),
    }
}

fn text(record: Reading<'_>, slot: Option<u16>) -> Result<Option<&str>, Reason> {
    match slot.map_or(Value::Missing, |slot| record.value(slot)) {
        Value::Malformed => Err(Reason::Malformed),
        value => Ok(value.as_text()),
    }
}
