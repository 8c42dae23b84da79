//! No text that may tell special categories of personal data, unless the patron signed for
//! it (F39, G01).

use super::instants::lower_due;
use super::*;
use crate::engine::memory::consents::GateTopic;
use crate::policy::consent::evaluate_consent;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialWordsGate {
    /// Whether the text has one of the words.
    has_words: FieldLocation,
    /// A written grant with all elements.
    query: ConsentQuery,
    library_successors: LibrarySuccessors,
}

impl SpecialWordsGate {
    /// Whether the patron signed, and when a grant will change that.
    fn is_signed(&self, input: &GateInput<'_>) -> (bool, Option<i64>) {
        let Some(consents) = input.patron.patron_consents else {
            return (false, None);
        };
        if consents.has_unreadable(GateTopic::Consent, &self.query, true) {
            return (false, None);
        }
        let effective = self.library_successors.effective_consents(consents, input.patron.library);
        let complete = effective.with_all_elements();
        evaluate_consent(&complete, &self.query, None, input.now_ns())
    }
}

impl GateRule for SpecialWordsGate {
    const TEXTS: GateTexts = GateTexts {
        describe: |recipient, _| describe(recipient),
        question: |recipient, _| describe(recipient),
        ..GateTexts::NONE
    };

    fn compile(
        GateSource { policy, recipient, consent_query, .. }: GateSource<'_>,
        fields: &mut dyn GateFields,
    ) -> Result<Option<Self>, CompileError> {
        let Some(rule) = &recipient.special_words else {
            return Ok(None);
        };
        Ok(Some(SpecialWordsGate {
            has_words: fields.want_word_fact(&rule.field, &rule.words)?,
            query: consent_query,
            library_successors: LibrarySuccessors(policy.predecessor_libraries.clone()),
        }))
    }

    fn judge(&self, input: &GateInput<'_>, recheck_due_ms: &mut i64) -> Result<(), Refusal> {
        if input.value(self.has_words) != FieldValue::Boolean(true) {
            return Ok(());
        }
        let (is_signed, change_ns) = self.is_signed(input);
        lower_due(recheck_due_ms, change_ns);
        match is_signed {
            true => Ok(()),
            // Nobody can sign for a record without a patron.
            false => Err(Refusal::changeable_if(input.row.is_some(), Reason::SpecialWords)),
        }
    }

    fn add_to_fingerprint(&self, input: &GateInput<'_>, fingerprint: &mut GateFingerprint) {
        let (is_signed, change_ns) = self.is_signed(input);
        fingerprint.is_special_signed = is_signed;
        lower_due(&mut fingerprint.recheck_due_ms, change_ns);
    }
}

fn describe(recipient: &Recipient) -> Option<String> {
    let rule = recipient.special_words.as_ref()?;
    let (list, field) = (&rule.words.name, &rule.field);
    Some(format!(
        "no word of {list} in {field}, unless a written consent with all its elements names the \
         recipient"
    ))
}
