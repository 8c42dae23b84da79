//! The patron consents (docs/rules.md, section 5).

use super::guardian::{GuardianRule, grant_givers};
use super::instants::{lower_due, parse_clamped_ns};
use super::*;
use crate::engine::memory::consents::GateTopic;
use crate::policy::consent::{
    GrantGivers, ImpliedGrant, evaluate_consent, evaluate_named_grant, summarize_consents,
};
use crate::policy::consent_events::ConsentEvents;
use crate::policy::recipient::NamedPatronRule;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentGate {
    query: ConsentQuery,
    library_successors: LibrarySuccessors,
    /// The event that counts as a digital grant.
    implied_by: Option<ConsentEventFields>,
    /// `None` if anyone's grants count.
    guardian: Option<GuardianRule>,
    /// Set if grants name patrons, and each of them is judged by itself.
    named_patrons: Option<NamedPatronRule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ConsentEventFields {
    at: FieldLocation,
    /// Who gave it, and whether who is no patron is of age; where the event is the record itself.
    giver: Option<(FieldLocation, FieldLocation)>,
}

/// Whether an event that implies consent is known.
enum ImpliedConsent {
    /// It stands in the record or in the row, which is not at hand.
    Unknown,
    /// `None` if it did not happen.
    Known(Option<ImpliedGrant>),
    /// The record of somebody who is no patron. `None` if it did not happen, or if nobody of age
    /// gave it.
    OfNoPatron(Option<ImpliedGrant>),
}

/// The word of `given_by` for a grant of a parent or guardian.
const GUARDIAN: &str = "guardian";

impl ConsentGate {
    /// The gate as a patron without statements meets it.
    pub(super) fn without_names(&self) -> ConsentGate {
        let query = ConsentQuery { purpose: 0, recipient: 0, ..self.query };
        ConsentGate { query, ..self.clone() }
    }

    pub(super) fn named_patron_purpose(&self) -> Option<u16> {
        self.named_patrons.map(|_| self.query.purpose)
    }

    fn implied_consent(&self, input: &GateInput<'_>) -> ImpliedConsent {
        let Some(event) = self.implied_by else {
            return ImpliedConsent::Known(None);
        };
        match input.at_hand {
            AtHand::PatronRow if !event.at.is_joined => return ImpliedConsent::Unknown,
            AtHand::Nothing => return ImpliedConsent::Unknown,
            AtHand::Record(_) | AtHand::PatronRow => {}
        }
        let at_ns = input.text(event.at).and_then(parse_clamped_ns);
        let Some((given_by, adult)) = event.giver else {
            return ImpliedConsent::Known(at_ns.map(ImpliedGrant::by_patron));
        };
        let is_by_guardian = input.text(given_by) == Some(GUARDIAN);
        let grant = at_ns.map(|at_ns| ImpliedGrant { at_ns, is_by_guardian });
        match input.row {
            Some(_) => ImpliedConsent::Known(grant),
            None => {
                let is_adult = input.value(adult) == FieldValue::Boolean(true);
                ImpliedConsent::OfNoPatron(grant.filter(|_| is_by_guardian || is_adult))
            }
        }
    }
}

impl GateRule for ConsentGate {
    const TEXTS: GateTexts = GateTexts {
        describe: |recipient, _| describe(recipient),
        question: |recipient, _| describe(recipient),
        shown_field: |recipient| Some(&recipient.consent.as_ref()?.implied_by.as_ref()?.at),
        ..GateTexts::NONE
    };

    fn compile(
        GateSource { policy, recipient, consent_query, .. }: GateSource<'_>,
        fields: &mut dyn GateFields,
    ) -> Result<Option<Self>, CompileError> {
        let Some(rule) = &recipient.consent else {
            return Ok(None);
        };
        let mut event = None;
        if let Some(rule) = &rule.implied_by {
            let giver = match &rule.giver {
                Some(giver) => {
                    Some((fields.want_field(&giver.given_by)?, fields.want_field(&giver.adult)?))
                }
                None => None,
            };
            event = Some(ConsentEventFields { at: fields.want_field(&rule.at)?, giver });
        }
        Ok(Some(ConsentGate {
            query: consent_query,
            library_successors: LibrarySuccessors(policy.predecessor_libraries.clone()),
            implied_by: event,
            guardian: GuardianRule::compile(recipient, fields)?,
            named_patrons: rule.named_patrons,
        }))
    }

    fn judge(&self, input: &GateInput<'_>, recheck_due_ms: &mut i64) -> Result<(), Refusal> {
        let implied = match self.implied_consent(input) {
            ImpliedConsent::Unknown => return Ok(()),
            ImpliedConsent::Known(implied) => implied,
            ImpliedConsent::OfNoPatron(grant) => {
                return judge_of_no_patron(grant, input, recheck_due_ms);
            }
        };
        let Some(givers) = grant_givers(self.guardian.as_ref(), input, recheck_due_ms) else {
            return Ok(());
        };
        let query = self.query.of_givers(givers);
        let no_statements = ConsentEvents::default();
        let consents = match input.patron.patron_consents {
            Some(consents) if consents.has_unreadable(GateTopic::Consent, &self.query, true) => {
                return Err(Refusal::changeable(Reason::ConsentUnreadable));
            }
            Some(consents) => {
                self.library_successors.effective_consents(consents, input.patron.library)
            }
            None => ConsentView {
                events: &no_statements,
                granting_libraries: 0,
                needs_signature: false,
            },
        };
        if let Some(rule) = self.named_patrons {
            let judged = NamedPatronJudge { rule, query, consents };
            return judged.judge(input, recheck_due_ms);
        }
        let (is_granted, change_ns) = evaluate_consent(&consents, &query, implied, input.now_ns());
        lower_due(recheck_due_ms, change_ns);
        if is_granted { Ok(()) } else { Err(Refusal::changeable(Reason::NoConsent)) }
    }

    fn add_to_fingerprint(&self, input: &GateInput<'_>, fingerprint: &mut GateFingerprint) {
        let is_event_known = !matches!(self.implied_consent(input), ImpliedConsent::Unknown);
        let due_ms = &mut fingerprint.recheck_due_ms;
        let givers = grant_givers(self.guardian.as_ref(), input, due_ms);
        let Some(consents) = input.patron.patron_consents else {
            return;
        };
        if let Some(rule) = self.named_patrons {
            let has_unreadable = consents.has_unreadable(GateTopic::Consent, &self.query, true);
            let bytes = &mut fingerprint.named_patrons;
            bytes.push(u8::from(has_unreadable));
            let effective =
                self.library_successors.effective_consents(consents, input.patron.library);
            for patron in consents.named_patrons(self.query.purpose) {
                bytes.extend_from_slice(&patron.id.len().to_le_bytes());
                bytes.extend_from_slice(patron.id.as_bytes());
                for givers in GrantGivers::ALL {
                    let query =
                        ConsentQuery { recipient: patron.number, ..self.query.of_givers(givers) };
                    let (is_granted, change_ns) =
                        evaluate_named_grant(&effective, &query, rule.lasts, input.now_ns());
                    lower_due(due_ms, change_ns);
                    bytes.push(u8::from(is_granted));
                }
            }
            return;
        }
        let unknown: &[GrantGivers] = match &givers {
            Some(_) if is_event_known => &[],
            Some(givers) => std::slice::from_ref(givers),
            None => &GrantGivers::ALL,
        };
        let effective = self.library_successors.effective_consents(consents, input.patron.library);
        for (summary, givers) in fingerprint.consents.iter_mut().zip(unknown) {
            let query = self.query.of_givers(*givers);
            let (latest_ns, is_open_by_name, change_ns) =
                summarize_consents(&effective, &query, input.now_ns());
            lower_due(due_ms, change_ns);
            let has_unreadable = consents.has_unreadable(GateTopic::Consent, &query, true);
            *summary = Some(ConsentSummary { latest_ns, is_open_by_name, has_unreadable });
        }
    }

    fn may_refuse_with(&self, reason: Reason) -> bool {
        reason != Reason::NamedPatrons || self.named_patrons.is_some()
    }
}

/// The grants of one patron, each of which names another.
struct NamedPatronJudge<'a> {
    rule: NamedPatronRule,
    query: ConsentQuery,
    consents: ConsentView<'a>,
}

impl NamedPatronJudge<'_> {
    /// Judges for the named patron of `input`; without one, whether there is any.
    fn judge(&self, input: &GateInput<'_>, recheck_due_ms: &mut i64) -> Result<(), Refusal> {
        let mut is_granted = |number: u16| {
            let query = ConsentQuery { recipient: number, ..self.query };
            let (is_granted, change_ns) =
                evaluate_named_grant(&self.consents, &query, self.rule.lasts, input.now_ns());
            lower_due(recheck_due_ms, change_ns);
            is_granted
        };
        if let Some(number) = input.named_patron {
            let refusal = Refusal::permanent(Reason::NoConsent);
            return if is_granted(number) { Ok(()) } else { Err(refusal) };
        }
        let all = input.patron.patron_consents;
        let all = all.map(|all| all.named_patrons(self.query.purpose)).unwrap_or_default();
        // Each of them, as each lowers the time of the next change.
        let granted = all.iter().filter(|patron| is_granted(patron.number)).count();
        match (granted, input.at_hand) {
            (0, _) => Err(Refusal::changeable(Reason::NoConsent)),
            (_, AtHand::Record(_)) => Err(Refusal::changeable(Reason::NamedPatrons)),
            // Which of them is meant is not known.
            (_, AtHand::PatronRow | AtHand::Nothing) => Ok(()),
        }
    }
}

/// Judges by a record of who is no patron, and can have said nothing else.
fn judge_of_no_patron(
    grant: Option<ImpliedGrant>,
    input: &GateInput<'_>,
    recheck_due_ms: &mut i64,
) -> Result<(), Refusal> {
    let now_ns = input.now_ns();
    match grant {
        Some(grant) if grant.at_ns <= now_ns => Ok(()),
        Some(grant) => {
            lower_due(recheck_due_ms, Some(grant.at_ns));
            Err(Refusal::changeable(Reason::NoConsent))
        }
        None => Err(Refusal::permanent(Reason::NoConsent)),
    }
}

fn describe(recipient: &Recipient) -> Option<String> {
    let rule = recipient.consent.as_ref()?;
    let how = if rule.is_explicit { "explicit, written" } else { "written or digital" };
    let implied = rule.implied_by.as_ref().map(|event| match &event.giver {
        Some(giver) => format!(
            ", given by the record itself at {} by who {} names; of who is no patron it counts if a \
             guardian gave it or {} is true",
            event.at, giver.given_by, giver.adult
        ),
        None => format!(", implied by {}", event.at),
    });
    let minors = match rule.needs_guardian_for_minors {
        true => "; of a minor only a guardian's counts",
        false => "",
    };
    let named = rule.named_patrons.map(|NamedPatronRule { lasts }| {
        let lasts = lasts.map_or_else(String::new, |lasts| format!(", for {lasts} from its `at`"));
        format!("; one output for each other patron that a grant names{lasts}")
    });
    let (implied, named) = (implied.unwrap_or_default(), named.unwrap_or_default());
    Some(format!("{how} consent for {}{implied}{named}{minors}", rule.purpose))
}
