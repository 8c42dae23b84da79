//! Which recipients a patron is told nothing of.

use std::collections::{BTreeSet, HashMap};

use super::register::{Register, recipient_of_activity};
use crate::policy::Policy;
use crate::policy::former_recipient::recipient_of_state_name;
use crate::policy::recipient::Recipient;

/// The recipients that are left out of what is told of a patron.
///
/// All of a recipient is left out while its file has the mark, whatever it was when a line was
/// written; but for the records that say themselves that their patrons may be told, where its file
/// asks for it. Of one without a file the register tells: one mark that has not ended is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfidentialRecipients {
    /// Nothing is told of them.
    names: BTreeSet<String>,
    /// Told is what their records or lines say may be.
    by_record: BTreeSet<String>,
    /// The activities of theirs that patrons are told of.
    told_activities: BTreeSet<String>,
}

impl ConfidentialRecipients {
    /// Finds those of a time in Unix seconds.
    #[must_use]
    pub fn at(time: i64, policy: &Policy, register: &Register) -> ConfidentialRecipients {
        let known: BTreeSet<&str> = policy.all_recipients().map(|one| one.name.as_str()).collect();
        let is_marked =
            |one: &&Recipient| one.confidentiality.is_some_and(|mark| mark.holds_at(time));
        let marked: Vec<&Recipient> = policy.all_recipients().filter(is_marked).collect();
        let names_where = |is_by_record: bool| {
            let some = marked.iter().filter(move |one| one.told_unless.is_some() == is_by_record);
            some.map(|one| one.name.clone())
        };
        let of_register = register.activities.iter().filter_map(|(id, activity)| {
            let name = recipient_of_state_name(recipient_of_activity(id));
            let holds = activity.confidentiality.is_some_and(|mark| mark.holds_at(time));
            (holds && !known.contains(name)).then(|| name.to_owned())
        });
        let told = register.activities.iter().filter(|(_, activity)| activity.is_told);
        ConfidentialRecipients {
            names: names_where(false).chain(of_register).collect(),
            by_record: names_where(true).collect(),
            told_activities: told.map(|(id, _)| id.clone()).collect(),
        }
    }

    /// Returns whether all of the recipient of a name in the state is left out.
    #[must_use]
    pub fn has(&self, state_name: &str) -> bool {
        self.names.contains(recipient_of_state_name(state_name))
    }

    /// Returns whether what the recipient of a name in the state has of a record is left out.
    #[must_use]
    pub fn has_record(&self, state_name: &str, is_told: bool) -> bool {
        self.has(state_name) || self.is_by_record(state_name) && !is_told
    }

    /// Returns whether lines of an activity, a key of the register, are left out.
    #[must_use]
    pub fn has_activity(&self, activity: &str) -> bool {
        let is_told = self.told_activities.contains(activity);
        self.has_record(recipient_of_activity(activity), is_told)
    }

    fn is_by_record(&self, state_name: &str) -> bool {
        self.by_record.contains(recipient_of_state_name(state_name))
    }
}

/// Finds the outputs that patrons are not told of any more, though earlier lines of theirs are of an
/// activity that patrons are told of.
///
/// The last line of an output decides for all of them. Lines name outputs by other hashes each year,
/// so this holds within a year.
#[derive(Clone, Debug, Default)]
pub struct LastLines(HashMap<u128, (i64, bool)>);

impl LastLines {
    /// Notes a line: the hash of its output and its time. Lines of other recipients than those that
    /// tell by record need not be noted.
    pub fn note(
        &mut self,
        left_out: &ConfidentialRecipients,
        activity: &str,
        (output, time): (u128, i64),
    ) {
        if left_out.is_by_record(recipient_of_activity(activity)) {
            let line = (time, left_out.has_activity(activity));
            let last = self.0.entry(output).or_insert(line);
            if last.0 <= time {
                *last = line;
            }
        }
    }

    /// Returns whether a line of the output was noted.
    #[must_use]
    pub fn knows(&self, output: u128) -> bool {
        self.0.contains_key(&output)
    }

    /// Returns whether the last line of an output is left out.
    #[must_use]
    pub fn hide(&self, output: u128) -> bool {
        self.0.get(&output).is_some_and(|(_, is_left_out)| *is_left_out)
    }
}
