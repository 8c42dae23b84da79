//! Which recipients a patron is told nothing of.

use std::collections::BTreeSet;

use super::register::{Register, recipient_of_activity};
use crate::policy::Policy;
use crate::policy::former_recipient::recipient_of_state_name;

/// The recipients that are left out of what is told of a patron.
///
/// All of a recipient is left out while its file has the mark, whatever it was when a line was
/// written. Of one without a file the register tells: one mark that has not ended is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfidentialRecipients {
    names: BTreeSet<String>,
}

impl ConfidentialRecipients {
    /// Finds those of a time in Unix seconds.
    #[must_use]
    pub fn at(time: i64, policy: &Policy, register: &Register) -> ConfidentialRecipients {
        let known: BTreeSet<&str> = policy.all_recipients().map(|one| one.name.as_str()).collect();
        let of_files = policy.all_recipients().filter_map(|one| {
            one.confidentiality.filter(|mark| mark.holds_at(time)).map(|_| one.name.as_str())
        });
        let of_register = register.activities.iter().filter_map(|(id, activity)| {
            let name = recipient_of_state_name(recipient_of_activity(id));
            let holds = activity.confidentiality.is_some_and(|mark| mark.holds_at(time));
            (holds && !known.contains(name)).then_some(name)
        });
        ConfidentialRecipients { names: of_files.chain(of_register).map(str::to_owned).collect() }
    }

    /// Returns whether the recipient of a name in the state is left out.
    #[must_use]
    pub fn has(&self, state_name: &str) -> bool {
        self.names.contains(recipient_of_state_name(state_name))
    }

    /// Returns whether lines of an activity, a key of the register, are left out.
    #[must_use]
    pub fn has_activity(&self, activity: &str) -> bool {
        self.has(recipient_of_activity(activity))
    }
}
