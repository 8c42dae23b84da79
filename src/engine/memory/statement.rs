//! Parses consents and objections.

use std::collections::BTreeSet;

use super::consents::{Consent, GateEvent, GateTopic};
use crate::engine::record::RecordView;
use crate::engine::record::value::FieldValue;
use crate::engine::tally::IgnoredReason;
use crate::policy::catalogue::{RecordKind, Role};
use crate::policy::consent::{
    ConsentRecordFields, LATEST_NS, ObjectionEffect, UnclearStatement, UnreadableScope,
    instant_to_ns, parse_consent, parse_objection,
};
use crate::policy::consent_events::{ConsentDecision, ConsentScope, NAMED_PATRON, WILDCARD};
use crate::policy::form::Rfc3339Instant;
use crate::policy::known_names::{KnownNames, NameMatch, is_invisible, match_name};
use crate::policy::reason::Reason;

/// The slots of the fields of a gate source.
#[derive(Clone, Copy, Debug)]
pub enum StatementFields {
    Consent {
        purpose: u16,
        recipient: u16,
        decision: u16,
        manner: u16,
        at: u16,
        /// `None` if the catalogue does not have it.
        given_by: Option<u16>,
        /// Who recorded it, and where the signature is kept, where the catalogue has them.
        witnesses: [Option<u16>; 2],
    },
    Objection {
        kind: u16,
        purpose: u16,
        status: u16,
        /// `None` if the catalogue does not have it.
        at: Option<u16>,
    },
    Settlement {
        /// The id of the settled record.
        settled: u16,
        /// `None` if the catalogue does not have it.
        gone: Option<u16>,
    },
}

/// What consents and objections may name, in all lanes alike.
#[derive(Debug)]
pub struct StatementNames {
    pub known: KnownNames,
    /// The purposes of recipients that no objection for special circumstances stops.
    pub unobjectionable_purposes: BTreeSet<u16>,
    /// The purposes whose consents name a patron where others name a recipient.
    pub named_patron_purposes: BTreeSet<u16>,
    /// The recipients that ask for such consents.
    pub named_patron_recipients: BTreeSet<u16>,
}

/// A parsed consent or objection.
pub(in crate::engine) struct ParsedStatement {
    pub(in crate::engine) event: GateEvent,
    /// Why it has no effect, or not all of it.
    pub(in crate::engine) ignored: Option<IgnoredReason>,
}

/// A known purpose or recipient, or [`WILDCARD`] if none is named. `None` if nobody has the name;
/// [`UnclearStatement`] if it is similar to a known one.
type MatchedName = Result<Option<u16>, UnclearStatement>;

impl StatementFields {
    /// Adds the fields of a gate kind; `None` if the kind is not one. `settled_id` is the path
    /// of the ids of the kind that it settles, if it settles one.
    ///
    /// # Errors
    ///
    /// What `want` fails with.
    pub fn for_kind<E>(
        kind: &RecordKind,
        settled_id: Option<&str>,
        mut add_field: impl FnMut(&str) -> Result<Option<u16>, E>,
    ) -> Result<Option<StatementFields>, E> {
        if kind.role != Role::Gate {
            return Ok(None);
        }
        if let Some(settled_id) = settled_id {
            let settled = add_field(settled_id)?;
            let gone = kind.gone_path.as_deref().map(&mut add_field).transpose()?.flatten();
            return Ok(settled.map(|settled| StatementFields::Settlement { settled, gone }));
        }
        Ok(match kind.name.as_str() {
            "consent" => {
                let names = ["purpose", "recipient", "decision", "manner", "at"];
                let mut slots = [None; 5];
                for (slot, name) in slots.iter_mut().zip(names) {
                    *slot = add_field(name)?;
                }
                let given_by = add_field("given_by")?;
                let witnesses = [add_field("employee")?, add_field("signature_ref")?];
                match slots {
                    [Some(purpose), Some(recipient), Some(decision), Some(manner), Some(at)] => {
                        Some(StatementFields::Consent {
                            purpose,
                            recipient,
                            decision,
                            manner,
                            at,
                            given_by,
                            witnesses,
                        })
                    }
                    _ => None,
                }
            }
            "objection" => {
                match (add_field("kind")?, add_field("purpose")?, add_field("status")?) {
                    (Some(kind), Some(purpose), Some(status)) => Some(StatementFields::Objection {
                        kind,
                        purpose,
                        status,
                        at: add_field("at")?,
                    }),
                    _ => None,
                }
            }
            _ => None,
        })
    }

    #[must_use]
    pub fn topic(&self) -> GateTopic {
        match self {
            StatementFields::Consent { .. } => GateTopic::Consent,
            StatementFields::Objection { .. } => GateTopic::Objection,
            StatementFields::Settlement { .. } => GateTopic::Settlement,
        }
    }

    /// Parses a record; `id` tells which earlier one it replaces.
    ///
    /// # Errors
    ///
    /// [`Reason::Malformed`] if a field has the wrong type, [`Reason::Unclear`] if a value is not
    /// understood.
    pub(in crate::engine) fn parse(
        &self,
        names: &StatementNames,
        record: RecordView<'_>,
        (id, library): (u64, &str),
    ) -> Result<ParsedStatement, Reason> {
        match *self {
            StatementFields::Consent { .. } => self.parse_consent(names, record, (id, library)),
            StatementFields::Settlement { settled, gone } => {
                parse_settlement(record, id, (settled, gone))
            }
            StatementFields::Objection { kind, purpose, status, at } => {
                let word = |slot| read_text(record, Some(slot));
                // To marketing, whatever else it says.
                let marketing = word(kind).map(|kind| parse_objection(kind, None))
                    == Ok(Ok(ObjectionEffect::Marketing));
                if marketing {
                    let at = read_text(record, at).ok().flatten().and_then(Rfc3339Instant::parse);
                    let at_ns = at.as_ref().map_or(LATEST_NS, instant_to_ns);
                    return Ok(ParsedStatement {
                        event: GateEvent::MarketingObjection(id, at_ns),
                        ignored: None,
                    });
                }
                let (kind, named, status) = (word(kind)?, word(purpose)?, word(status)?);
                let objects =
                    parse_objection(kind, status).map_err(|UnclearStatement| Reason::Unclear)?;
                let purpose =
                    names.match_purpose(named).map_err(|UnclearStatement| Reason::Unclear)?;
                let stands = objects == ObjectionEffect::InForce;
                Ok(ParsedStatement {
                    event: GateEvent::Objection(
                        id,
                        purpose.filter(|_| stands).map(ConsentScope::for_purpose),
                    ),
                    ignored: match purpose {
                        None => Some(IgnoredReason::UnknownPurpose),
                        Some(purpose) if stands && names.has_spared_recipient(purpose) => {
                            Some(IgnoredReason::ObjectionOtherBasis)
                        }
                        Some(_) => None,
                    },
                })
            }
        }
    }

    fn parse_consent(
        &self,
        names: &StatementNames,
        record: RecordView<'_>,
        (id, library): (u64, &str),
    ) -> Result<ParsedStatement, Reason> {
        let StatementFields::Consent {
            purpose,
            recipient,
            decision: decided,
            manner,
            at,
            given_by,
            witnesses,
        } = *self
        else {
            return Err(Reason::Unclear);
        };
        let word = |slot| read_text(record, Some(slot));
        let (purpose, recipient) = (word(purpose)?, word(recipient)?);
        let is_witnessed =
            witnesses.map(|slot| slot.is_some_and(|slot| record.text(slot).is_some()));
        let words = ConsentRecordFields {
            decision: word(decided)?,
            manner: word(manner)?,
            given_by: read_text(record, given_by)?,
            has_witness: is_witnessed.contains(&true),
            is_signed: recipient.is_some() && is_witnessed == [true; 2],
        };
        let at = word(at)?.and_then(Rfc3339Instant::parse);
        let named = recipient;
        let read = || {
            let decided = parse_consent(words, at.as_ref())?;
            let purpose = names.match_purpose(purpose)?;
            let recipient = match names.names_patrons(purpose) {
                true => names.match_named_patron(named)?,
                false => names.match_recipient(named)?,
            };
            Ok((decided, purpose, recipient))
        };
        let (decided, purpose, recipient) = read().map_err(|UnclearStatement| Reason::Unclear)?;
        // A consent without a purpose says nothing.
        if purpose == Some(WILDCARD) {
            return Err(Reason::Unclear);
        }
        // A grant to nobody of what is for named patrons says nothing.
        let names_nobody = names.names_patrons(purpose)
            && recipient == Some(WILDCARD)
            && decided.is_some_and(|(decision, _)| decision != ConsentDecision::Refusal);
        let recipient = recipient.filter(|_| !names_nobody);
        let named_patron = named.filter(|_| recipient == Some(NAMED_PATRON)).map(Into::into);
        let consent = decided.zip(purpose).zip(recipient);
        let consent = consent.map(|(((decision, at_ns), purpose), recipient)| Consent {
            about: ConsentScope::for_purpose(purpose).for_recipient(recipient),
            decision,
            at_ns,
            library: library.into(),
            named_patron,
        });
        Ok(ParsedStatement {
            event: GateEvent::Consent(id, consent),
            ignored: match (purpose, recipient) {
                (None, _) => Some(IgnoredReason::UnknownPurpose),
                (_, None) => Some(IgnoredReason::UnknownRecipient),
                _ => None,
            },
        })
    }

    /// What an unreadable record may be about; `None` if nobody has its purpose or its recipient.
    pub(in crate::engine) fn unreadable_scope(
        &self,
        names: &StatementNames,
        record: RecordView<'_>,
    ) -> Option<UnreadableScope> {
        let (purpose, recipient) = match *self {
            StatementFields::Consent { purpose, recipient, .. } => (purpose, recipient),
            // Nobody knows what the objection was to.
            StatementFields::Objection { .. } => return Some(UnreadableScope::WILDCARD),
            // The last version that can be read stays in force.
            StatementFields::Settlement { .. } => return None,
        };
        let name = |found: Result<MatchedName, Reason>| match found {
            Ok(Ok(name)) => name,
            Ok(Err(UnclearStatement)) | Err(_) => Some(WILDCARD),
        };
        let purpose = read_text(record, Some(purpose)).map(|name| names.match_purpose(name));
        let recipient = read_text(record, Some(recipient)).map(|name| names.match_recipient(name));
        let purpose = name(purpose)?;
        if names.named_patron_purposes.contains(&purpose) {
            return Some(UnreadableScope { purpose, recipient: WILDCARD });
        }
        // What is no recipient's name may be a patron's id.
        let may_be_patron = purpose == WILDCARD && !names.named_patron_purposes.is_empty();
        let recipient = match name(recipient) {
            Some(one) if may_be_patron && names.named_patron_recipients.contains(&one) => {
                NAMED_PATRON
            }
            Some(one) => one,
            None if may_be_patron => NAMED_PATRON,
            None => return None,
        };
        Some(UnreadableScope { purpose, recipient })
    }
}

/// Parses which record a settlement settles; none if it was taken back.
fn parse_settlement(
    record: RecordView<'_>,
    id: u64,
    (settled, gone): (u16, Option<u16>),
) -> Result<ParsedStatement, Reason> {
    let gone = gone.map_or(FieldValue::Missing, |slot| record.value(slot));
    let settled = match gone {
        FieldValue::Malformed => return Err(Reason::Malformed),
        FieldValue::Boolean(true) => None,
        _ => Some(read_text(record, Some(settled))?.ok_or(Reason::Unclear)?.into()),
    };
    Ok(ParsedStatement { event: GateEvent::Settlement(id, settled), ignored: None })
}

impl StatementNames {
    fn match_purpose(&self, name: Option<&str>) -> MatchedName {
        to_matched_name(match_name(&self.known.purposes, name))
    }

    fn match_recipient(&self, name: Option<&str>) -> MatchedName {
        to_matched_name(match_name(&self.known.recipients, name))
    }

    /// Whether consents for the purpose name a patron where others name a recipient.
    fn names_patrons(&self, purpose: Option<u16>) -> bool {
        purpose.is_some_and(|purpose| self.named_patron_purposes.contains(&purpose))
    }

    /// Returns [`NAMED_PATRON`] for a patron's id. A recipient's name, or nearly one, is none, and
    /// an invisible id may be anyone's.
    fn match_named_patron(&self, name: Option<&str>) -> MatchedName {
        match match_name(&self.known.recipients, name) {
            NameMatch::Unknown => Ok(Some(NAMED_PATRON)),
            NameMatch::NearMiss if name.is_some_and(is_invisible) => Err(UnclearStatement),
            NameMatch::Missing | NameMatch::Known(_) | NameMatch::NearMiss => Ok(Some(WILDCARD)),
        }
    }

    /// Whether an objection to the purpose, or to all, does not stop every recipient.
    fn has_spared_recipient(&self, purpose: u16) -> bool {
        match purpose {
            WILDCARD => !self.unobjectionable_purposes.is_empty(),
            one => self.unobjectionable_purposes.contains(&one),
        }
    }
}

fn to_matched_name(found: NameMatch) -> MatchedName {
    match found {
        NameMatch::Missing => Ok(Some(WILDCARD)),
        NameMatch::Known(place) => Ok(Some(place)),
        NameMatch::NearMiss => Err(UnclearStatement),
        NameMatch::Unknown => Ok(None),
    }
}

fn read_text(record: RecordView<'_>, slot: Option<u16>) -> Result<Option<&str>, Reason> {
    match slot.map_or(FieldValue::Missing, |slot| record.value(slot)) {
        FieldValue::Malformed => Err(Reason::Malformed),
        value => Ok(value.as_text()),
    }
}
