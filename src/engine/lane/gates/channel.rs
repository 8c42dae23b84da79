//! The patron can be reached by one of the recipient's channels (F11, F12).

use super::*;

/// The fields of each channel: it is there where one of its fields has a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelGate(Vec<Vec<FieldLocation>>);

impl GateRule for ChannelGate {
    const TEXTS: GateTexts = GateTexts {
        describe: |recipient, _| {
            let rule = recipient.channel.as_ref()?;
            let channels = rule.channels.iter();
            let channels: Vec<_> =
                channels.map(|one| format!("{} ({})", one.medium.into_str(), one.from)).collect();
            let without = if rule.is_required { "; without any it gets nothing" } else { "" };
            Some(format!("by {}{without}", channels.join(", or else by ")))
        },
        question: |recipient, _| {
            let rule = recipient.channel.as_ref().filter(|rule| rule.is_required)?;
            let from: Vec<_> = rule.channels.iter().map(|one| one.from.to_string()).collect();
            Some(format!("there is {}", from.join(" or ")))
        },
        ..GateTexts::NONE
    };

    fn compile(
        source: GateSource<'_>,
        fields: &mut dyn GateFields,
    ) -> Result<Option<Self>, CompileError> {
        let rule = source.recipient.channel.as_ref().filter(|rule| rule.is_required);
        let Some(rule) = rule else {
            return Ok(None);
        };
        let mut channels = Vec::with_capacity(rule.channels.len());
        for channel in &rule.channels {
            let found = channel.present_by.iter().map(|field| fields.want_single_value(field));
            channels.push(found.collect::<Result<Vec<_>, _>>()?);
        }
        Ok(Some(ChannelGate(channels)))
    }

    fn judge(&self, input: &GateInput<'_>, _: &mut i64) -> Result<(), Refusal> {
        let mut fields = self.0.iter().flatten();
        if fields.clone().any(|&at| !input.value(at).is_missing()) {
            return Ok(());
        }
        let is_joined = fields.any(|at| at.is_joined);
        Err(Refusal::changeable_if(is_joined, Reason::NoChannel))
    }

    fn add_to_fingerprint(&self, _: &GateInput<'_>, _: &mut GateFingerprint) {}
}
