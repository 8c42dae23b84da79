//! No settlement of the patron names the record (F10).

use super::*;

/// A debt that was reported as paid is settled, whatever its own status says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlementGate {
    record_id: FieldLocation,
}

impl GateRule for SettlementGate {
    const TEXTS: GateTexts = GateTexts {
        describe: |recipient, policy| {
            let settlement = settlement_kind(recipient, policy)?;
            Some(format!("a {} of the patron names it", settlement.name))
        },
        question: |recipient, policy| {
            let settlement = settlement_kind(recipient, policy)?;
            Some(format!("no {} of the patron names it", settlement.name))
        },
        ..GateTexts::NONE
    };

    fn compile(
        GateSource { policy, recipient, .. }: GateSource<'_>,
        fields: &mut dyn GateFields,
    ) -> Result<Option<Self>, CompileError> {
        let Some(kind) = policy.record_kinds.get(recipient.source_kind_index) else {
            return Ok(None);
        };
        if policy.settlement_kind(kind).is_none() {
            return Ok(None);
        }
        let id = FieldRef { is_joined: false, path: kind.id_path.clone() };
        Ok(Some(SettlementGate { record_id: fields.want_single_value(&id)? }))
    }

    fn judge(&self, input: &GateInput<'_>, _: &mut i64) -> Result<(), Refusal> {
        let Some(consents) = input.patron.patron_consents else {
            return Ok(());
        };
        match input.text(self.record_id).is_some_and(|id| consents.is_settled(id)) {
            true => Err(Refusal::changeable(Reason::Settled)),
            false => Ok(()),
        }
    }

    fn add_to_fingerprint(&self, input: &GateInput<'_>, fingerprint: &mut GateFingerprint) {
        let consents = input.patron.patron_consents.into_iter();
        let settled = consents.flat_map(PatronConsents::settled_ids);
        fingerprint.settled_ids.extend(settled.map(Box::from));
    }
}

/// The kind whose records settle those that the recipient gets.
fn settlement_kind<'p>(recipient: &Recipient, policy: &'p Policy) -> Option<&'p RecordKind> {
    policy.settlement_kind(policy.record_kinds.get(recipient.source_kind_index)?)
}
