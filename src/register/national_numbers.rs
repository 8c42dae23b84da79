//! Where a national number lies and goes (GDPR art. 87).

use super::load::RegisterFiles;
use crate::policy::Policy;
use crate::policy::catalogue::NationalNumberKind;
use crate::policy::recipient::Recipient;

/// What the cells of a row are called, in Dutch.
pub const NATIONAL_NUMBER_COLUMNS: [&str; 4] = ["waar", "veld", "gebruik", "grondslag"];

/// Returns a row for each source that has a national number, each recipient that it goes to, and
/// each other activity that uses one.
#[must_use]
pub fn national_number_rows(policy: &Policy, files: &RegisterFiles) -> Vec<[String; 4]> {
    let mut rows = Vec::new();
    for kind in &policy.record_kinds {
        for field in &kind.fields {
            let Some(number) = field.national_number_kind() else {
                continue;
            };
            let (used, ground) = match number {
                NationalNumberKind::Bsn => (
                    "wordt gelezen om het overal weg te laten; gaat naar niemand",
                    "geen verstrekking",
                ),
                NationalNumberKind::Other => {
                    ("wordt gelezen om het weg te laten", "verstrekking alleen met een machtiging")
                }
            };
            let meaning = field.meaning_nl.as_ref().unwrap_or(&field.meaning);
            rows.push([
                format!("bron `{}`", kind.name),
                format!("`{}`: {meaning}", field.path),
                used.to_owned(),
                ground.to_owned(),
            ]);
        }
    }
    for (recipient, is_enabled) in policy.all_with_enabled() {
        if recipient.releases_national_numbers(&policy.record_kinds) {
            rows.push(recipient_row(recipient, policy, is_enabled));
        }
    }
    for activity in &files.activities {
        if let Some(used) = &activity.national_number {
            rows.push([
                format!("activiteit `{}`", activity.name),
                String::new(),
                used.clone(),
                activity.legal_basis.clone(),
            ]);
        }
    }
    rows
}

fn recipient_row(recipient: &Recipient, policy: &Policy, is_enabled: bool) -> [String; 4] {
    let shown = recipient.output_fields.iter().filter(|field| {
        let sources = field.value.projections().iter().filter_map(|one| one.from.as_ref());
        let mut kinds = sources.map(|from| {
            let kind = match from.is_joined {
                true => policy.patron_kind(),
                false => policy.record_kinds.get(recipient.source_kind_index),
            };
            kind.and_then(|kind| kind.field(&from.path))
        });
        kinds.any(|known| known.is_some_and(|known| known.is_national_number()))
    });
    let names: Vec<String> = shown.map(|field| format!("`{}`", field.name)).collect();
    let state = if is_enabled { "wordt verstrekt" } else { "staat uit: niet verstrekt" };
    let ground = match &recipient.authorisation {
        Some(paper) => format!(
            "machtiging {} van {}, {} tot en met {}",
            paper.reference,
            paper.approved_by,
            paper.first_day_in_force(),
            paper.until
        ),
        None => "zonder machtiging: er gaat niets uit".to_owned(),
    };
    [
        format!("ontvanger `{}`: {}", recipient.name, recipient.title),
        names.join(", "),
        state.to_owned(),
        ground,
    ]
}
