//! The record of processing (GDPR art. 30), in Dutch: from the policy and from
//! `config/register`, complete or with what is missing.
//!
//! Pure but for reading those files: no clock, no network, no record.

mod entry;
pub mod incident;
mod load;
mod national_numbers;
mod render;

use crate::policy::Policy;
use crate::policy::paper::is_placeholder;

pub use entry::{RegisterCell, RegisterEntry, class_word};
pub use load::{Controller, OtherActivity, RegisterFiles, load_folder};
pub use national_numbers::{NATIONAL_NUMBER_COLUMNS, national_number_rows};
pub use render::{RegisterTable, render_csv, render_html, render_markdown};

/// The whole record of processing.
#[derive(Clone, Debug)]
pub struct Register {
    pub controller: Controller,
    /// Recipients, enabled ones first, and then the other activities.
    pub entries: Vec<RegisterEntry>,
}

impl Register {
    /// Builds the register of a policy and the other activities of a library. `base_uri` precedes the
    /// ids of activities, as it does in the ledger.
    #[must_use]
    pub fn new(policy: &Policy, files: &RegisterFiles, base_uri: &str) -> Register {
        let controller = files.controller.clone().unwrap_or_default();
        let recipients = policy
            .all_with_enabled()
            .map(|one| RegisterEntry::of_recipient(one, policy, (&controller, base_uri)));
        let activities = files.activities.iter();
        let activities = activities.map(|one| RegisterEntry::of_activity(one, &controller));
        let entries = recipients.chain(activities).collect();
        Register { controller, entries }
    }

    /// Returns what is missing or still an example's text, in Dutch: a line for each text, with all
    /// processings of which it is.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let controller = self
            .controller
            .cells()
            .into_iter()
            .map(|(label, text)| ("verwerkingsverantwoordelijke", label, text.to_owned()));
        let entries = self.entries.iter().flat_map(|entry| {
            let required = entry.cells.iter().filter(|cell| cell.is_required);
            required.map(move |cell| (entry.id.as_str(), cell.label, cell.texts.join("; ")))
        });
        let mut lines: Vec<((&str, &str), Vec<&str>)> = Vec::new();
        for (id, label, text) in controller.chain(entries) {
            let what = match text.trim().is_empty() {
                true => "ontbreekt",
                false if is_placeholder(&text) => "is nog een voorbeeldtekst",
                false => continue,
            };
            match lines.iter_mut().find(|(text, _)| *text == (label, what)) {
                Some((_, ids)) => ids.push(id),
                None => lines.push(((label, what), vec![id])),
            }
        }
        let lines = lines.into_iter();
        lines.map(|((label, what), ids)| format!("{}: {label} {what}", ids.join(", "))).collect()
    }
}
