//! The patron record.

use super::Library;
use super::day::{Day, Instant};
use super::dice::Dice;
use super::number;
use super::person::Person;
use super::place::{self, Address, Country};
use super::sheet::{Manner, Sheet};
use super::{item, note};
use std::fmt::Write as _;

pub(super) fn write(library: &Library, person: &Person<'_>, _: u64, dice: &mut Dice) -> String {
    let tricky = library.settings.tricky;
    let mut sheet = Sheet::new(Manner::roll(tricky, dice));
    sheet.text("patron_id", &person.patron_id);
    sheet.text("library", person.library);
    if dice.per_mille(600) {
        sheet.text("country", person.country.code());
    }
    kind(&mut sheet, person, tricky, dice);
    card(&mut sheet, person, dice);
    name(&mut sheet, person, tricky, dice);
    contact(&mut sheet, person, tricky, dice);
    if dice.per_mille(960) {
        address(&mut sheet, &person.address, person.country, tricky, dice);
    }
    numbers(&mut sheet, person, library, dice);
    membership(&mut sheet, person, library, dice);
    choices(&mut sheet, person, library, dice);
    guarantor(&mut sheet, person, library);
    sheet.text("pin_hash", &pin_hash(dice));
    let said = dice.per_mille(80).then(|| note::about(person, dice));
    sheet.maybe("note", said.as_deref());
    sheet.instant(
        "updated_at",
        Some(person.moment_before(library, (1, 900), dice)),
    );
    if sheet.manner().extras {
        extras(&mut sheet, person, dice);
    }
    sheet.finish(dice)
}

fn kind(sheet: &mut Sheet, person: &Person<'_>, tricky: bool, dice: &mut Dice) {
    let kind = match (person.institution, tricky, dice.below(400)) {
        (_, true, 0) => None,
        (_, true, 1) => Some("gezin"),
        (true, _, _) => Some("institution"),
        (false, _, _) => Some("person"),
    };
    sheet.maybe("kind", kind);
}

fn card(sheet: &mut Sheet, person: &Person<'_>, dice: &mut Dice) {
    sheet.text("card_number", &person.card_number);
    let kind = if person.eid { "eid" } else { "library" };
    sheet.maybe(
        "card_kind",
        (person.eid || dice.per_mille(300)).then_some(kind),
    );
    if dice.per_mille(120) {
        let before: Vec<String> = (0..=dice.below(2))
            .map(|_| number::card(dice.below(9_000_000), dice))
            .collect();
        sheet.texts("previous_card_numbers", before.iter().map(String::as_str));
    }
}

fn name(sheet: &mut Sheet, person: &Person<'_>, tricky: bool, dice: &mut Dice) {
    let name = &person.name;
    if !person.institution && dice.per_mille(500) {
        sheet.text("salutation", if person.woman { "Mevr." } else { "Dhr." });
    }
    sheet.maybe("initials", name.initials.as_deref());
    sheet.maybe("given_name", name.given_name);
    sheet.maybe("surname_prefix", name.prefix);
    sheet.maybe("surname", name.surname.as_deref());
    if person.institution {
        return;
    }
    let known = !(tricky && dice.per_mille(4));
    match person.born {
        Some(day) if known => sheet.date("birth_date", Some(day)),
        Some(_) => sheet.text(
            "birth_date",
            dice.pick(&["31-02-1990", "1990-02-30", "onbekend", "1985", "1985-7-30"]),
        ),
        None => sheet.maybe("birth_date", None),
    }
    if dice.per_mille(600) {
        let other = dice.per_mille(10);
        sheet.text(
            "gender",
            if other {
                "x"
            } else if person.woman {
                "v"
            } else {
                "m"
            },
        );
    }
}

fn contact(sheet: &mut Sheet, person: &Person<'_>, tricky: bool, dice: &mut Dice) {
    if tricky && dice.per_mille(5) {
        sheet.text(
            "email",
            dice.pick(&["geen e-mail", "lener.example.org", "a@@example.org"]),
        );
    } else {
        sheet.maybe("email", person.email.as_deref());
    }
    if tricky && dice.per_mille(5) {
        sheet.text(
            "phone",
            dice.pick(&["geheim", "12", "020-0000123 (werk)", "zie mobiel"]),
        );
    } else {
        sheet.maybe("phone", person.phone.as_deref());
    }
    sheet.maybe("mobile", person.mobile.as_deref());
}

fn address(sheet: &mut Sheet, address: &Address, home: Country, tricky: bool, dice: &mut Dice) {
    let abroad = address.country != home;
    let country = (abroad || dice.per_mille(400)).then_some(address.country.code());
    sheet.object("address", |sheet| {
        sheet.text("street", address.street);
        match dice.below(if tricky { 200 } else { 100 }) {
            // Some systems keep a number, one a decimal, one everything.
            0..30 => sheet.integer("house_number", address.house_number.cast_signed()),
            198 => sheet.raw("house_number", "12.50"),
            199 => sheet.text("house_number", "12-14 a"),
            _ => sheet.text("house_number", &address.house_number.to_string()),
        }
        sheet.maybe("house_number_suffix", address.suffix);
        sheet.text("postcode", &postcode(address, tricky, dice));
        sheet.text("city", address.city);
        sheet.maybe("country", country);
    });
}

fn postcode(address: &Address, tricky: bool, dice: &mut Dice) -> String {
    let postcode = &address.postcode;
    match dice.below(if tricky { 100 } else { 10 }) {
        0 => postcode.replace(' ', ""),
        10 => postcode.to_lowercase(),
        11 => format!(" {postcode} "),
        12 if dice.per_mille(200) => "1234 SS".to_owned(),
        13 if dice.per_mille(200) => "0123".to_owned(),
        _ => postcode.clone(),
    }
}

fn numbers(sheet: &mut Sheet, person: &Person<'_>, library: &Library, dice: &mut Dice) {
    sheet.maybe("bsn", person.bsn.as_deref());
    match &person.rijksregisternummer {
        Some(digits) if dice.per_mille(200) => {
            sheet.text("rijksregisternummer", &number::dotted(digits));
        }
        digits => sheet.maybe("rijksregisternummer", digits.as_deref()),
    }
    let Some(iban) = &person.iban else {
        return sheet.maybe("iban", None);
    };
    if library.settings.tricky && dice.per_mille(30) {
        sheet.text("iban", &number::grouped(iban));
    } else {
        sheet.text("iban", iban);
    }
    sheet.object("mandate", |sheet| {
        sheet.text("id", &format!("ZEEF-M{:07}", person.index));
        let signed_on = library.today.plus(-dice.between(1, 2500));
        sheet.date("signed_on", Some(person.in_life(signed_on)));
    });
}

fn membership(sheet: &mut Sheet, person: &Person<'_>, library: &Library, dice: &mut Dice) {
    if dice.per_mille(20) {
        return;
    }
    let status = dice.weighted(&[(78, "active"), (17, "ended"), (5, "suspended")]);
    let (starts_on, ends_on) = term(status, library, dice);
    let starts_on = person.in_life(starts_on);
    let ends_on = ends_on.map(|day| person.in_life(day));
    let (form, fee_cents) = subscription(person, dice);
    let branch = dice.pick_early(place::branches(person.country));
    let numbered = !(library.settings.tricky && dice.per_mille(10));
    sheet.object("membership", |sheet| {
        let id = format!("LID{:08}", person.index);
        sheet.maybe("id", numbered.then_some(&id));
        sheet.text("type", form);
        sheet.date("starts_on", Some(starts_on));
        sheet.date("ends_on", ends_on);
        sheet.text("status", status);
        sheet.text("home_branch", branch);
        sheet.integer("fee_cents", fee_cents);
        sheet.text("currency", "EUR");
    });
}

/// First and last day; one active membership in fifty is past its last day.
fn term(status: &str, library: &Library, dice: &mut Dice) -> (Day, Option<Day>) {
    let today = library.today;
    let ends_on = match status {
        "ended" => today.plus(-dice.between(1, 1500)),
        _ if dice.per_mille(20) => today.plus(-dice.between(1, 60)),
        _ => today.plus(dice.between(0, 364)),
    };
    let years = 1 + dice.between(0, 11).min(dice.between(0, 11));
    let endless = status != "ended" && dice.per_mille(80);
    (
        ends_on.plus(1 - years * 1461 / 4),
        (!endless).then_some(ends_on),
    )
}

fn subscription(person: &Person<'_>, dice: &mut Dice) -> (&'static str, i64) {
    match person.age {
        _ if person.institution => ("instelling", 7500),
        Some(..=17) => ("jeugd", 0),
        Some(18..=27) => dice.weighted(&[(2, ("student", 2150)), (1, ("volwassen", 4700))]),
        _ => dice.weighted(&[
            (50, ("volwassen", 4700)),
            (25, ("compleet", 6950)),
            (15, ("basis", 3250)),
            (10, ("gratis", 0)),
        ]),
    }
}

fn choices(sheet: &mut Sheet, person: &Person<'_>, library: &Library, dice: &mut Dice) {
    if !person.institution && dice.per_mille(400) {
        let created: Instant = person.moment_before(library, (1, 2000), dice);
        sheet.object("online_account", |sheet| {
            sheet.instant("created_at", Some(created))
        });
    }
    if dice.per_mille(150) {
        let interests: Vec<&str> = (0..=dice.below(3)).map(|_| dice.pick(INTERESTS)).collect();
        sheet.texts("interests", interests);
    }
    if !person.loan_history || dice.per_mille(700) {
        sheet.flag("loan_history", person.loan_history);
    }
}

/// Someone under eighteen has a guarantor, mostly another patron.
fn guarantor(sheet: &mut Sheet, person: &Person<'_>, library: &Library) {
    if person.institution || person.age.is_none_or(|age| age >= 18) {
        return;
    }
    let step = library.settings.libraries.len() as u64;
    let before = person.index.checked_sub(step);
    let after = person
        .index
        .checked_add(step)
        .filter(|index| *index < library.settings.patrons);
    let found = [before, after]
        .into_iter()
        .flatten()
        .map(|index| Person::new(library, index))
        .find(Person::can_guarantee);
    sheet.object("guarantor", |sheet| match found {
        Some(adult) => {
            sheet.text("patron_id", &adult.patron_id);
            sheet.text("name", &adult.name.full());
            sheet.maybe("email", adult.email.as_deref());
        }
        None => sheet.text("name", &format!("Ouder {}", person.name.family())),
    });
}

fn pin_hash(dice: &mut Dice) -> String {
    let mut hash = "$argon2id$v=19$m=19456,t=2,p=1$".to_owned();
    for part in 0..3 {
        if part == 1 {
            hash.push('$');
        }
        let _ = write!(hash, "{:016x}", dice.below(u64::MAX));
    }
    hash
}

/// Fields that no catalogue lists, full of what must never leak.
pub(super) fn extras(sheet: &mut Sheet, person: &Person<'_>, dice: &mut Dice) {
    let name = person.name.full();
    let read = item::Item::roll(dice);
    sheet.object("legacy", |sheet| {
        sheet.text("naam", &name);
        sheet.maybe("email", person.email.as_deref());
        sheet.maybe("bsn", person.bsn.as_deref());
        sheet.text("card_number", &person.card_number);
        sheet.objects("read_before", 1 + dice.below(3), |sheet, number| {
            sheet.integer("no", number.cast_signed());
            sheet.text("title", read.title);
            sheet.object("lent_to", |sheet| {
                sheet.text("surname", &person.name.family())
            });
        });
        sheet.raw("nested", "[[[{\"a\":[1,[2,[]]]}]],{},\"\",null]");
    });
    sheet.raw(
        "balance",
        dice.pick(&["12.50", "-0.0", "1e3", "1E-7", "9007199254740993"]),
    );
    sheet.text(
        dice.pick(&[
            "Surname",
            "surname ",
            "naam",
            "patron.surname",
            "achternaam",
        ]),
        &name,
    );
    sheet.texts(
        dice.pick(&["tags", "", "é"]),
        [person.address.street, name.as_str()],
    );
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
