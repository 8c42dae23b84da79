//! The settlement record: the finance service reports a debt as paid.

use super::json_writer::{JsonStyle, JsonWriter};
use super::patron_identity::PatronIdentity;
use super::rng::Rng;
use super::{SampleLibrary, SampleSource, patron};

/// How many debts in a thousand are reported as paid.
pub(super) const PER_MILLE_OF_DEBTS: u64 = 200;

/// Returns the number of settlements of a patron. Rarely there is one without any debt.
pub(super) fn draw_count(library: &SampleLibrary, index: u64, rng: &mut Rng) -> u64 {
    let debts = count_debts(library, index);
    let reported = (0..debts).filter(|_| rng.chance_per_mille(PER_MILLE_OF_DEBTS)).count() as u64;
    let is_tricky = library.settings.has_tricky_records && rng.chance_per_mille(1);
    reported + u64::from(is_tricky && library.settings.debts_per_patron > 0.0)
}

fn count_debts(library: &SampleLibrary, index: u64) -> u64 {
    library.draw_count(SampleSource::Debt, index).0
}

pub(super) fn write_record(
    library: &SampleLibrary,
    person: &PatronIdentity<'_>,
    number: u64,
    rng: &mut Rng,
) -> String {
    let tricky = library.settings.has_tricky_records;
    let mut json = JsonWriter::new(JsonStyle::random(tricky, rng));
    // Some name a debt that another one names too, or one that is not there.
    let debts = count_debts(library, person.index);
    let is_unknown = debts == 0 || (tricky && rng.chance_per_mille(20));
    let debt = if is_unknown { debts } else { rng.below(debts) };
    json.write_string("settlement_id", &format!("S{}-{number}", person.index));
    json.write_string("patron_id", &person.patron_id);
    json.write_string("library", library.draw_record_library(person, 30, rng));
    let is_gone = tricky && rng.chance_per_mille(50);
    if !(is_gone && rng.chance_per_mille(300)) {
        json.write_string("debt_id", &format!("D{}-{debt}", person.index));
    }
    let settled_at = person.random_timestamp_before_today(library, (1, 90), rng);
    json.write_timestamp("settled_at", Some(settled_at));
    json.write_string("source", "financiele-dienst");
    if is_gone {
        json.write_boolean("gone", true);
    }
    if json.style().has_unknown_fields {
        patron::write_unknown_fields(&mut json, person, rng);
    }
    json.finish(rng)
}
