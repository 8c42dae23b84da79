//! Published once a month: the month of the record is over, in UTC.

use super::*;
use crate::policy::form::{Date, Rfc3339Instant};
use crate::policy::term::{utc_month, utc_month_end_ms};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodGate {
    month_field: FieldLocation,
}

impl GateRule for PeriodGate {
    const TEXTS: GateTexts = GateTexts {
        describe: |recipient, _| {
            recipient.period.as_ref().map(|period| {
                format!(
                    "once a month: a record in the first run after the month of its {}, sorted \
                     by output key; what is taken back, once a day",
                    period.month_field
                )
            })
        },
        question: |recipient, _| {
            recipient
                .period
                .as_ref()
                .map(|period| format!("the month of {} is over", period.month_field))
        },
        shown_field: |recipient| recipient.period.as_ref().map(|period| &period.month_field),
        value_note: |text| {
            let month = utc_month(parse_month_end_ms(text)?);
            Some(format!("published in the first run of {month}, or of a later month"))
        },
    };

    fn compile(
        source: GateSource<'_>,
        fields: &mut dyn GateFields,
    ) -> Result<Option<Self>, CompileError> {
        let period = source.recipient.period.as_ref();
        let month_field = period.map(|period| fields.want_single_value(&period.month_field));
        Ok(month_field.transpose()?.map(|month_field| PeriodGate { month_field }))
    }

    fn judge(&self, input: &GateInput<'_>, recheck_due_ms: &mut i64) -> Result<(), Refusal> {
        let Some(over_ms) = input.text(self.month_field).and_then(parse_month_end_ms) else {
            return Err(Refusal::changeable_if(self.month_field.is_joined, Reason::Condition));
        };
        if over_ms <= input.now_ms {
            return Ok(());
        }
        *recheck_due_ms = (*recheck_due_ms).min(over_ms);
        Err(Refusal::changeable(Reason::PeriodOpen))
    }

    fn add_to_fingerprint(&self, _: &GateInput<'_>, _: &mut GateFingerprint) {}
}

/// When the month of a date or an instant is over, in UTC, in milliseconds since 1970.
fn parse_month_end_ms(text: &str) -> Option<i64> {
    let date = Date::parse(text).map(Date::to_unix_ms);
    let ms = date.or_else(|| Rfc3339Instant::parse(text).map(Rfc3339Instant::to_unix_ms));
    ms.map(utc_month_end_ms)
}
