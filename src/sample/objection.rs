//! The objection record.

use super::SampleLibrary;
use super::json_writer::{JsonStyle, JsonWriter};
use super::patron;
use super::patron_identity::PatronIdentity;
use super::rng::Rng;

pub(super) fn write_record(
    library: &SampleLibrary,
    person: &PatronIdentity<'_>,
    number: u64,
    rng: &mut Rng,
) -> String {
    let mut json = JsonWriter::new(JsonStyle::random(library.settings.has_tricky_records, rng));
    let kind = rng.choose_weighted(&[(6, "direct_marketing"), (4, "special_circumstances")]);
    let status = rng.choose_weighted(&[(4, "lodged"), (3, "upheld"), (3, "dismissed")]);
    let purpose = match kind {
        "direct_marketing" => rng.choose_weighted(&[(3, Some("newsletter")), (1, None)]),
        _ => rng.choose_weighted(PURPOSES),
    };
    json.write_string("objection_id", &format!("B{}-{number}", person.index));
    json.write_string("patron_id", &person.patron_id);
    json.write_string("library", library.draw_record_library(person, 4, rng));
    json.write_string("kind", kind);
    json.write_optional_string("purpose", purpose);
    json.write_string("status", status);
    json.write_timestamp("at", Some(person.random_timestamp_before_today(library, (1, 700), rng)));
    let decided_by = (status != "lodged").then(|| format!("medewerker-{:02}", rng.below(40)));
    json.write_optional_string("decided_by", decided_by.as_deref());
    if json.style().has_unknown_fields {
        patron::write_unknown_fields(&mut json, person, rng);
    }
    json.finish(rng)
}

const PURPOSES: &[(u64, Option<&str>)] = &[
    (3, Some("online-library")),
    (3, Some("statistics")),
    (1, Some("pickup")),
    (1, Some("panel")),
    (2, None),
];
