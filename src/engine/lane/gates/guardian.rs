//! Whose grants of consent count by the age of the patron: a minor's guardian decides (GDPR
//! art. 8). No row of the table: the gates that read consents ask it.

use super::*;
use crate::policy::consent::GrantGivers;
use crate::policy::form::Date;
use crate::policy::term::Term;

pub(super) const BIRTH_DATE_PATH: &str = "birth_date";
const LIBRARY_PATH: &str = "library";

/// From this age on a patron's own grants count: in Belgium, and elsewhere.
const OWN_AGE_IN_BELGIUM: u16 = 13;
const OWN_AGE: u16 = 16;
/// From this age on a guardian's grants no longer count.
const FULL_AGE: u16 = 18;
const BELGIUM: &str = "BE";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GuardianRule {
    birth_date: FieldLocation,
    /// The library, whose ISIL begins with the country.
    library: FieldLocation,
}

impl GuardianRule {
    /// Compiles the rule; `None` if anyone's grants count for the recipient.
    pub(super) fn compile(
        recipient: &Recipient,
        fields: &mut dyn GateFields,
    ) -> Result<Option<GuardianRule>, CompileError> {
        let rule = recipient.consent.as_ref().filter(|rule| rule.needs_guardian_for_minors);
        if rule.is_none() {
            return Ok(None);
        }
        Ok(Some(GuardianRule {
            birth_date: fields.want_single_value(&fields.patron_field(BIRTH_DATE_PATH))?,
            library: fields.want_single_value(&fields.patron_field(LIBRARY_PATH))?,
        }))
    }

    /// Returns whose grants count at the batch's time; `None` if the patron's birth date is not at
    /// hand. A missing one is that of a minor. Lowers `recheck_due_ms` to the next birthday that
    /// changes the answer.
    fn givers(&self, input: &GateInput<'_>, recheck_due_ms: &mut i64) -> Option<GrantGivers> {
        match input.at_hand {
            AtHand::PatronRow if !self.birth_date.is_joined => return None,
            AtHand::Nothing => return None,
            AtHand::Record(_) | AtHand::PatronRow => {}
        }
        let Some(birth) = input.text(self.birth_date).and_then(Date::parse) else {
            return Some(GrantGivers::GuardianOnly);
        };
        let is_belgian = input.text(self.library).is_some_and(|isil| isil.starts_with(BELGIUM));
        let own_age = if is_belgian { OWN_AGE_IN_BELGIUM } else { OWN_AGE };
        let birthday_ms = |years| {
            let age = Term { years, months: 0, days: 0 };
            age.shift_later_ms(birth.to_unix_ms())
        };
        let (own_ms, full_ms) = (birthday_ms(own_age), birthday_ms(FULL_AGE));
        let (givers, until_ms) = match input.now_ms {
            now_ms if now_ms < own_ms => (GrantGivers::GuardianOnly, own_ms),
            now_ms if now_ms < full_ms => (GrantGivers::Anyone, full_ms),
            _ => return Some(GrantGivers::PatronOnly),
        };
        *recheck_due_ms = (*recheck_due_ms).min(until_ms);
        Some(givers)
    }
}

/// Returns whose grants count by `rule`, if there is one; `None` if that is not known.
pub(super) fn grant_givers(
    rule: Option<&GuardianRule>,
    input: &GateInput<'_>,
    recheck_due_ms: &mut i64,
) -> Option<GrantGivers> {
    match rule {
        Some(rule) => rule.givers(input, recheck_due_ms),
        None => Some(GrantGivers::Anyone),
    }
}
