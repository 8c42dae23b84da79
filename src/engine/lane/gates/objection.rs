//! No objection of the patron stands (GDPR art. 21).

use super::guardian::{GuardianRule, grant_givers};
use super::instants::lower_due;
use super::*;
use crate::engine::memory::consents::GateTopic;
use crate::policy::consent::{GrantGivers, grant_lifts_objection};

/// Which objections stop a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectionGate {
    /// What a grant must be about that lifts an objection to marketing.
    grant_query: ConsentQuery,
    /// What objections are about: the recipient's own purpose.
    objection_query: ConsentQuery,
    library_successors: LibrarySuccessors,
    /// Whose grants lift an objection to marketing; `None` if anyone's do.
    guardian: Option<GuardianRule>,
    stops_on_marketing: bool,
    /// Whether an objection for special circumstances stops it.
    stops_on_special: bool,
    /// Whether a refusal of its purpose stops it, as no recipient of the purpose asks for
    /// consent.
    stops_on_refusal: bool,
}

impl ObjectionGate {
    /// Whether a grant by one of `givers` lifts an objection to marketing. Lowers `recheck_due_ms`
    /// to when time alone may change that.
    fn is_lifted(
        &self,
        input: &GateInput<'_>,
        objected_ns: i64,
        givers: GrantGivers,
        recheck_due_ms: &mut i64,
    ) -> bool {
        let Some(consents) = input.patron.patron_consents else {
            return false;
        };
        let effective = self.library_successors.effective_consents(consents, input.patron.library);
        let query = self.grant_query.of_givers(givers);
        let (is_lifted, change_ns) =
            grant_lifts_objection(&effective, &query, objected_ns, input.now_ns());
        lower_due(recheck_due_ms, change_ns);
        is_lifted
    }
}

impl GateRule for ObjectionGate {
    const TEXTS: GateTexts = GateTexts {
        describe: |recipient, policy| {
            let kind = policy.record_kinds.get(recipient.source_kind_index)?;
            if !kind.is_keyed_by_patron || recipient.without_patron.is_some() {
                return None;
            }
            let mut causes = Vec::new();
            if recipient.is_marketing {
                causes.push("objects to direct marketing, once and for ever".to_owned());
            }
            if recipient.is_stopped_by_objections() {
                causes.push(format!(
                    "objects for special circumstances, to {} or to all, and that is not dismissed",
                    recipient.purpose
                ));
            }
            if !causes.is_empty() && !policy.requires_consent_for(&recipient.purpose) {
                causes.push(format!("refuses {}", recipient.purpose));
            }
            Some(match causes.is_empty() {
                true => format!("none: the basis is {}", recipient.legal_basis.into_str()),
                false => format!("the patron {}", causes.join("; or ")),
            })
        },
        question: |recipient, _| {
            recipient.without_patron.is_none().then(|| "the patron does not object".to_owned())
        },
        ..GateTexts::NONE
    };

    fn compile(
        GateSource { policy, recipient, consent_query, purpose }: GateSource<'_>,
        fields: &mut dyn GateFields,
    ) -> Result<Option<Self>, CompileError> {
        if !recipient.can_be_objected_to() {
            return Ok(None);
        }
        Ok(Some(ObjectionGate {
            guardian: match recipient.is_marketing {
                true => GuardianRule::compile(recipient, fields)?,
                false => None,
            },
            grant_query: consent_query,
            objection_query: ConsentQuery { purpose, ..consent_query },
            library_successors: LibrarySuccessors(policy.predecessor_libraries.clone()),
            stops_on_marketing: recipient.is_marketing,
            stops_on_special: recipient.is_stopped_by_objections(),
            stops_on_refusal: !policy.requires_consent_for(&recipient.purpose),
        }))
    }

    fn judge(&self, input: &GateInput<'_>, recheck_due_ms: &mut i64) -> Result<(), Refusal> {
        let Some(consents) = input.patron.patron_consents else {
            return Ok(());
        };
        if consents.has_unreadable(GateTopic::Objection, &self.objection_query, true) {
            return Err(Refusal::changeable(Reason::ObjectionUnreadable));
        }
        if self.stops_on_marketing
            && let Some(objected_ns) = consents.marketing_objection_ns()
        {
            let is_lifted = match grant_givers(self.guardian.as_ref(), input, recheck_due_ms) {
                Some(givers) => self.is_lifted(input, objected_ns, givers, recheck_due_ms),
                // The record says whose grants count.
                None => true,
            };
            if !is_lifted || consents.has_unreadable(GateTopic::Consent, &self.grant_query, true) {
                return Err(Refusal::changeable(Reason::ObjectionMarketing));
            }
        }
        let is_objected =
            self.stops_on_special && consents.has_objection(self.objection_query.purpose);
        if is_objected || (self.stops_on_refusal && consents.has_refusal(&self.objection_query)) {
            return Err(Refusal::changeable(Reason::Objection));
        }
        // An unreadable consent may be such a refusal.
        if self.stops_on_refusal
            && consents.has_unreadable(GateTopic::Consent, &self.objection_query, false)
        {
            return Err(Refusal::changeable(Reason::ConsentUnreadable));
        }
        Ok(())
    }

    fn add_to_fingerprint(&self, input: &GateInput<'_>, fingerprint: &mut GateFingerprint) {
        let consents = input.patron.patron_consents;
        let Some(objected_ns) = consents.and_then(PatronConsents::marketing_objection_ns) else {
            return;
        };
        let due_ms = &mut fingerprint.recheck_due_ms;
        if grant_givers(self.guardian.as_ref(), input, due_ms).is_none() {
            fingerprint.lifts_marketing_objection = GrantGivers::ALL
                .map(|givers| self.is_lifted(input, objected_ns, givers, &mut *due_ms));
        }
    }

    fn may_refuse_with(&self, reason: Reason) -> bool {
        match reason {
            Reason::ObjectionMarketing => self.stops_on_marketing,
            Reason::Objection => self.stops_on_special || self.stops_on_refusal,
            Reason::ConsentUnreadable => self.stops_on_refusal,
            _ => true,
        }
    }
}
