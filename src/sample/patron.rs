//! The patron record.

use super::SampleLibrary;
use super::day::{Day, SampleTimestamp};
use super::json_writer::{JsonStyle, JsonWriter};
use super::locations::{self, Country, PostalAddress};
use super::number;
use super::patron_identity::PatronIdentity;
use super::rng::Rng;
use super::{item, note};
use std::fmt::Write as _;

pub(super) fn write_record(
    library: &SampleLibrary,
    person: &PatronIdentity<'_>,
    _: u64,
    rng: &mut Rng,
) -> String {
    let tricky = library.settings.has_tricky_records;
    let mut json = JsonWriter::new(JsonStyle::random(tricky, rng));
    json.write_string("patron_id", &person.patron_id);
    json.write_string("library", person.isil);
    if rng.chance_per_mille(600) {
        json.write_string("country", person.country.code());
    }
    write_kind(&mut json, person, tricky, rng);
    write_card(&mut json, person, rng);
    write_name(&mut json, person, tricky, rng);
    write_contact(&mut json, person, tricky, rng);
    if rng.chance_per_mille(960) {
        write_address(&mut json, &person.address, person.country, tricky, rng);
    }
    write_identifiers(&mut json, person, library, rng);
    write_membership(&mut json, person, library, rng);
    write_preferences(&mut json, person, library, rng);
    write_guarantor(&mut json, person, library);
    json.write_string("pin_hash", &random_pin_hash(rng));
    let note = rng.chance_per_mille(80).then(|| note::random_note(person, rng));
    json.write_optional_string("note", note.as_deref());
    json.write_timestamp(
        "updated_at",
        Some(person.random_timestamp_before_today(library, (1, 900), rng)),
    );
    if json.style().has_unknown_fields {
        write_unknown_fields(&mut json, person, rng);
    }
    json.finish(rng)
}

fn write_kind(json: &mut JsonWriter, person: &PatronIdentity<'_>, tricky: bool, rng: &mut Rng) {
    let kind = match (person.is_institution, tricky, rng.below(400)) {
        (_, true, 0) => None,
        (_, true, 1) => Some("gezin"),
        (true, _, _) => Some("institution"),
        (false, _, _) => Some("person"),
    };
    json.write_optional_string("kind", kind);
}

fn write_card(json: &mut JsonWriter, person: &PatronIdentity<'_>, rng: &mut Rng) {
    json.write_string("card_number", &person.card_number);
    let kind = if person.has_eid_card { "eid" } else { "library" };
    json.write_optional_string(
        "card_kind",
        (person.has_eid_card || rng.chance_per_mille(300)).then_some(kind),
    );
    if rng.chance_per_mille(120) {
        let previous_card_numbers: Vec<String> = (0..=rng.below(2))
            .map(|_| number::random_card_number(rng.below(9_000_000), rng))
            .collect();
        json.write_strings(
            "previous_card_numbers",
            previous_card_numbers.iter().map(String::as_str),
        );
    }
}

fn write_name(json: &mut JsonWriter, person: &PatronIdentity<'_>, tricky: bool, rng: &mut Rng) {
    let name = &person.name;
    if !person.is_institution && rng.chance_per_mille(500) {
        json.write_string("salutation", if person.is_woman { "Mevr." } else { "Dhr." });
    }
    json.write_optional_string("initials", name.initials.as_deref());
    json.write_optional_string("given_name", name.given_name);
    json.write_optional_string("surname_prefix", name.prefix);
    json.write_optional_string("surname", name.surname.as_deref());
    if person.is_institution {
        return;
    }
    let is_birth_date_valid = !(tricky && rng.chance_per_mille(4));
    match person.birth_date {
        Some(day) if is_birth_date_valid => json.write_date("birth_date", Some(day)),
        Some(_) => json.write_string(
            "birth_date",
            rng.choose(&["31-02-1990", "1990-02-30", "onbekend", "1985", "1985-7-30"]),
        ),
        None => json.write_optional_string("birth_date", None),
    }
    if rng.chance_per_mille(600) {
        let other = rng.chance_per_mille(10);
        json.write_string(
            "gender",
            if other {
                "x"
            } else if person.is_woman {
                "v"
            } else {
                "m"
            },
        );
    }
}

fn write_contact(json: &mut JsonWriter, person: &PatronIdentity<'_>, tricky: bool, rng: &mut Rng) {
    if tricky && rng.chance_per_mille(5) {
        json.write_string(
            "email",
            rng.choose(&["geen e-mail", "lener.example.org", "a@@example.org"]),
        );
    } else {
        json.write_optional_string("email", person.email.as_deref());
    }
    if tricky && rng.chance_per_mille(5) {
        json.write_string(
            "phone",
            rng.choose(&["geheim", "12", "020-0000123 (werk)", "zie mobiel"]),
        );
    } else {
        json.write_optional_string("phone", person.phone.as_deref());
    }
    json.write_optional_string("mobile", person.mobile.as_deref());
}

fn write_address(
    json: &mut JsonWriter,
    address: &PostalAddress,
    home: Country,
    tricky: bool,
    rng: &mut Rng,
) {
    let is_abroad = address.country != home;
    let country = (is_abroad || rng.chance_per_mille(400)).then_some(address.country.code());
    json.write_object("address", |json| {
        json.write_string("street", address.street);
        match rng.below(if tricky { 200 } else { 100 }) {
            // Some systems have a number, some a string with the addition.
            0..30 => json.write_integer("house_number", address.house_number.cast_signed()),
            198 => json.write_raw("house_number", "12.50"),
            199 => json.write_string("house_number", "12-14 a"),
            _ => json.write_string("house_number", &address.house_number.to_string()),
        }
        json.write_optional_string("house_number_suffix", address.suffix);
        json.write_string("postcode", &random_postcode_spelling(address, tricky, rng));
        json.write_string("city", address.city);
        json.write_optional_string("country", country);
    });
}

fn random_postcode_spelling(address: &PostalAddress, tricky: bool, rng: &mut Rng) -> String {
    let postcode = &address.postcode;
    match rng.below(if tricky { 100 } else { 10 }) {
        0 => postcode.replace(' ', ""),
        10 => postcode.to_lowercase(),
        11 => format!(" {postcode} "),
        12 if rng.chance_per_mille(200) => "1234 SS".to_owned(),
        13 if rng.chance_per_mille(200) => "0123".to_owned(),
        _ => postcode.clone(),
    }
}

fn write_identifiers(
    json: &mut JsonWriter,
    person: &PatronIdentity<'_>,
    library: &SampleLibrary,
    rng: &mut Rng,
) {
    json.write_optional_string("bsn", person.bsn.as_deref());
    match &person.rijksregisternummer {
        Some(digits) if rng.chance_per_mille(200) => {
            json.write_string("rijksregisternummer", &number::format_rijksregisternummer(digits));
        }
        digits => json.write_optional_string("rijksregisternummer", digits.as_deref()),
    }
    let Some(iban) = &person.iban else {
        return json.write_optional_string("iban", None);
    };
    if library.settings.has_tricky_records && rng.chance_per_mille(30) {
        json.write_string("iban", &number::format_iban(iban));
    } else {
        json.write_string("iban", iban);
    }
    json.write_object("mandate", |json| {
        json.write_string("id", &format!("ZEEF-M{:07}", person.index));
        let signed_on = library.today.add_days(-rng.between(1, 2500));
        json.write_date("signed_on", Some(person.not_before_birth(signed_on)));
    });
}

fn write_membership(
    json: &mut JsonWriter,
    person: &PatronIdentity<'_>,
    library: &SampleLibrary,
    rng: &mut Rng,
) {
    if rng.chance_per_mille(20) {
        return;
    }
    let status = rng.choose_weighted(&[(78, "active"), (17, "ended"), (5, "suspended")]);
    let (starts_on, ends_on) = random_membership_dates(status, library, rng);
    let starts_on = person.not_before_birth(starts_on);
    let ends_on = ends_on.map(|day| person.not_before_birth(day));
    let (form, fee_cents) = random_subscription(person, rng);
    let branch = rng.choose_front_weighted(locations::branch_names(person.country));
    let has_id = !(library.settings.has_tricky_records && rng.chance_per_mille(10));
    // Once a year: of some patrons it was a month ago, of others it is next month.
    let days = rng.between(-30, 334);
    let fee_due_on = person.not_before_birth(library.today.add_days(days));
    json.write_object("membership", |json| {
        let id = format!("LID{:08}", person.index);
        json.write_optional_string("id", has_id.then_some(&id));
        json.write_string("type", form);
        json.write_date("starts_on", Some(starts_on));
        json.write_date("ends_on", ends_on);
        json.write_string("status", status);
        json.write_string("home_branch", branch);
        json.write_integer("fee_cents", fee_cents);
        json.write_date("fee_due_on", Some(fee_due_on));
        json.write_string("currency", "EUR");
    });
}

/// Returns first and last day; one active membership in fifty is past its last day.
fn random_membership_dates(
    status: &str,
    library: &SampleLibrary,
    rng: &mut Rng,
) -> (Day, Option<Day>) {
    let today = library.today;
    let ends_on = match status {
        "ended" => today.add_days(-rng.between(1, 1500)),
        _ if rng.chance_per_mille(20) => today.add_days(-rng.between(1, 60)),
        _ => today.add_days(rng.between(0, 364)),
    };
    let years = 1 + rng.between(0, 11).min(rng.between(0, 11));
    let has_no_end = status != "ended" && rng.chance_per_mille(80);
    (ends_on.add_days(1 - years * 1461 / 4), (!has_no_end).then_some(ends_on))
}

fn random_subscription(person: &PatronIdentity<'_>, rng: &mut Rng) -> (&'static str, i64) {
    match person.age {
        _ if person.is_institution => ("instelling", 7500),
        Some(..=17) => ("jeugd", 0),
        Some(18..=27) => rng.choose_weighted(&[(2, ("student", 2150)), (1, ("volwassen", 4700))]),
        _ => rng.choose_weighted(&[
            (50, ("volwassen", 4700)),
            (25, ("compleet", 6950)),
            (15, ("basis", 3250)),
            (10, ("gratis", 0)),
        ]),
    }
}

fn write_preferences(
    json: &mut JsonWriter,
    person: &PatronIdentity<'_>,
    library: &SampleLibrary,
    rng: &mut Rng,
) {
    if !person.is_institution && rng.chance_per_mille(400) {
        let created: SampleTimestamp =
            person.random_timestamp_before_today(library, (1, 2000), rng);
        json.write_object("online_account", |json| {
            json.write_timestamp("created_at", Some(created))
        });
    }
    if rng.chance_per_mille(150) {
        let interests: Vec<&str> = (0..=rng.below(3)).map(|_| rng.choose(INTERESTS)).collect();
        json.write_strings("interests", interests);
    }
    if !person.loan_history || rng.chance_per_mille(700) {
        json.write_boolean("loan_history", person.loan_history);
    }
}

/// Minors have a guarantor, mostly another patron.
fn write_guarantor(json: &mut JsonWriter, person: &PatronIdentity<'_>, library: &SampleLibrary) {
    if person.is_institution || person.age.is_none_or(|age| age >= 18) {
        return;
    }
    let step = library.settings.libraries.len() as u64;
    let before = person.index.checked_sub(step);
    let after = person.index.checked_add(step).filter(|index| *index < library.settings.patrons);
    let found = [before, after]
        .into_iter()
        .flatten()
        .map(|index| PatronIdentity::new(library, index))
        .find(PatronIdentity::can_be_guarantor);
    json.write_object("guarantor", |json| match found {
        Some(adult) => {
            json.write_string("patron_id", &adult.patron_id);
            json.write_string("name", &adult.name.full_name());
            json.write_optional_string("email", adult.email.as_deref());
        }
        None => json.write_string("name", &format!("Ouder {}", person.name.family_name())),
    });
}

fn random_pin_hash(rng: &mut Rng) -> String {
    let mut hash = "$argon2id$v=19$m=19456,t=2,p=1$".to_owned();
    for part in 0..3 {
        if part == 1 {
            hash.push('$');
        }
        let _ = write!(hash, "{:016x}", rng.below(u64::MAX));
    }
    hash
}

/// Writes fields that no catalogue has, with values that must never leak.
pub(super) fn write_unknown_fields(
    json: &mut JsonWriter,
    person: &PatronIdentity<'_>,
    rng: &mut Rng,
) {
    let name = person.name.full_name();
    let item = item::LibraryItem::random(rng);
    json.write_object("legacy", |json| {
        json.write_string("naam", &name);
        json.write_optional_string("email", person.email.as_deref());
        json.write_optional_string("bsn", person.bsn.as_deref());
        json.write_string("card_number", &person.card_number);
        json.write_objects("read_before", 1 + rng.below(3), |json, number| {
            json.write_integer("no", number.cast_signed());
            json.write_string("title", item.title);
            json.write_object("lent_to", |json| {
                json.write_string("surname", &person.name.family_name())
            });
        });
        json.write_raw("nested", "[[[{\"a\":[1,[2,[]]]}]],{},\"\",null]");
    });
    json.write_raw("balance", rng.choose(&["12.50", "-0.0", "1e3", "1E-7", "9007199254740993"]));
    json.write_string(
        rng.choose(&["Surname", "surname ", "naam", "patron.surname", "achternaam"]),
        &name,
    );
    json.write_strings(rng.choose(&["tags", "", "é"]), [person.address.street, name.as_str()]);
}

const INTERESTS: &[&str] = &[
    "historische romans",
    "koken",
    "thrillers",
    "stripverhalen",
    "poëzie",
    "tuinieren",
    "streekgeschiedenis",
    "taalcafé",
    "computerles",
    "voorleesuurtje",
    "film",
    "muziek",
    "filosofie",
    "science fiction",
    "genealogie",
    "leesclub",
    "breien & haken",
];
