//! What holds for the library as a whole.

use super::*;
use crate::policy::reason::Reason;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

fn library(seed: u64, patrons: u64) -> Library {
    Library::new(Settings::new(seed, patrons, jiff::civil::date(2025, 6, 15)))
}

fn value(message: &Message) -> Value {
    let text = message.value.as_deref().expect("no tombstone");
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn digest(messages: impl Iterator<Item = Message>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for message in messages {
        (message.source, message.key, message.value).hash(&mut hasher);
    }
    hasher.finish()
}

/// Calls `see` with every string in `value`, keys left out.
fn strings(value: &Value, see: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => see(text),
        Value::Array(values) => values.iter().for_each(|value| strings(value, see)),
        Value::Object(fields) => fields.values().for_each(|value| strings(value, see)),
        _ => {}
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for &source in Source::ALL {
        let first = digest(library(7, 600).source(source).take(1000));
        assert_eq!(first, digest(library(7, 600).source(source).take(1000)));
        assert_ne!(first, digest(library(8, 600).source(source).take(1000)));
    }
}

/// Bytes that change here change every recorded run: say so in the changelog.
#[test]
fn the_first_records_are_golden() {
    let mut settings = Settings::new(1, 3, jiff::civil::date(2025, 6, 15));
    settings.loans_per_patron = 1.0;
    settings.consents_per_patron = 1.0;
    settings.objections_per_patron = 1.0;
    settings.ill_requests_per_patron = 1.0;
    settings.debts_per_patron = 1.0;
    let library = Library::new(settings);
    let lines: Vec<String> = library
        .messages()
        .map(|message| {
            let value = message.value.unwrap_or_default();
            format!("{} {} {value}", message.source, message.key)
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_source_is_the_same_alone_and_among_the_others() {
    let library = library(3, 1500);
    for &source in Source::ALL {
        let among = library
            .messages()
            .filter(|message| message.source == source.as_str());
        assert!(among.eq(library.source(source)), "{}", source.as_str());
    }
}

#[test]
fn a_patron_does_not_depend_on_how_many_there_are() {
    // But for a guarantor, who may come later: grown-ups only.
    let (few, many) = (library(3, 200), library(3, 400));
    for index in 0..190 {
        assert_eq!(few.messages_of(index), many.messages_of(index));
    }
}

#[test]
fn every_patron_comes_before_what_refers_to_it_and_ids_are_unique() {
    let library = library(5, 4000);
    let mut patrons = BTreeSet::new();
    let mut ids = BTreeSet::new();
    let mut erased = 0;
    let mut guarantors = BTreeSet::new();
    for message in library.messages() {
        if message.value.is_none() {
            assert_eq!(message.source, "patron");
            assert!(patrons.contains(&message.key));
            erased += 1;
            continue;
        }
        let record = value(&message);
        let own = match message.source {
            "ill_request" => "request_id".to_owned(),
            source => format!("{source}_id"),
        };
        let id = record[own].as_str().expect("an id").to_owned();
        assert_eq!(record["patron_id"], message.key.as_str());
        assert!(
            ids.insert((message.source, id)),
            "twice in {}",
            message.source
        );
        if message.source == "patron" {
            patrons.insert(message.key);
            guarantors.extend(record["guarantor"]["patron_id"].as_str().map(str::to_owned));
        } else {
            assert!(patrons.contains(&message.key));
        }
    }
    assert_eq!(patrons.len(), 4000);
    assert!((1..40).contains(&erased), "{erased}");
    assert!(guarantors.len() > 100 && guarantors.is_subset(&patrons));
}

/// Calls `see` with the day of each date and instant in `value`, and its name.
fn days(name: &str, value: &Value, see: &mut impl FnMut(&str, jiff::civil::Date)) {
    match value {
        Value::String(text) => {
            let day = text.get(..10).and_then(|day| day.parse().ok());
            let is_one = text.len() == 10 || text.as_bytes().get(10) == Some(&b'T');
            if let Some(day) = day.filter(|_| is_one) {
                see(name, day);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| days(name, value, see)),
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, value)| days(name, value, see)),
        _ => {}
    }
}

#[test]
fn nothing_is_known_of_a_patron_from_before_the_birth() {
    let (mut born_that_day, mut seen) = (0, BTreeSet::new());
    for seed in [1, 12] {
        let library = library(seed, 4000);
        for index in 0..library.settings().patrons {
            let messages = library.messages_of(index);
            let born = value(&messages[0])["birth_date"].clone();
            let Some(born) = born.as_str().and_then(|day| day.parse().ok()) else {
                continue;
            };
            for message in messages.iter().filter(|one| one.value.is_some()) {
                let mut record = value(message);
                record["birth_date"].take();
                days("", &record, &mut |name, day: jiff::civil::Date| {
                    assert!(day >= born, "{} {name} {day}, born {born}", message.source);
                    born_that_day += usize::from(day == born);
                    seen.insert(name.to_owned());
                });
            }
        }
    }
    assert!(born_that_day > 10, "{born_that_day}");
    for name in [
        "created_at",
        "starts_on",
        "signed_on",
        "loaned_at",
        "due_on",
        "reminded_at",
        "needed_by",
        "ready_at",
        "at",
    ] {
        assert!(seen.contains(name), "{seen:?}");
    }
}

#[test]
fn mail_goes_to_example_domains_only() {
    let mut seen = 0;
    for message in library(9, 3000)
        .messages()
        .filter(|message| message.value.is_some())
    {
        strings(&value(&message), &mut |text| {
            for after in text.split('@').skip(1) {
                let after = after.to_ascii_lowercase();
                let known = ["example.org", "example.net", "example.com"];
                assert!(after.is_empty() || known.iter().any(|domain| after.starts_with(domain)));
                seen += 1;
            }
        });
    }
    assert!(seen > 2000, "{seen}");
}

#[test]
fn a_line_is_a_line() {
    for message in library(2, 2000).messages() {
        assert!(!message.value.unwrap_or_default().contains(['\n', '\r']));
    }
}

#[test]
fn every_status_and_choice_occurs() {
    let mut seen: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
    for message in library(4, 4000)
        .messages()
        .filter(|message| message.value.is_some())
    {
        let record = value(&message);
        for field in [
            "status",
            "kind",
            "stage",
            "decision",
            "manner",
            "service",
            "card_kind",
        ] {
            if let Some(text) = record[field].as_str() {
                seen.entry((message.source, field))
                    .or_default()
                    .insert(text.to_owned());
            }
        }
    }
    for (source, field, all) in [
        ("patron", "kind", &["person", "institution"][..]),
        ("patron", "card_kind", &["eid", "library"]),
        (
            "loan",
            "status",
            &["open", "overdue", "returned", "lost", "damaged"],
        ),
        (
            "reservation",
            "status",
            &[
                "placed",
                "in_transit",
                "ready_for_pickup",
                "collected",
                "cancelled",
                "expired",
            ],
        ),
        ("ill_request", "service", &["loan", "copy"]),
        (
            "ill_request",
            "status",
            &[
                "requested",
                "sent",
                "received",
                "returned",
                "closed",
                "cancelled",
            ],
        ),
        ("debt", "kind", &["late", "damaged", "lost"]),
        ("debt", "stage", &["reminder", "invoice", "collection"]),
        ("debt", "status", &["open", "settled", "cancelled"]),
        ("consent", "decision", &["granted", "refused", "withdrawn"]),
        ("consent", "manner", &["written", "digital", "oral"]),
        (
            "objection",
            "kind",
            &["direct_marketing", "special_circumstances"],
        ),
        ("objection", "status", &["lodged", "upheld", "dismissed"]),
    ] {
        let found = &seen[&(source, field)];
        for one in all {
            assert!(found.contains(*one), "{source}.{field} is never {one}");
        }
    }
}

#[test]
fn every_tricky_name_occurs_and_none_without() {
    let surnames = |tricky| {
        let mut settings = Settings::new(6, 8_000, jiff::civil::date(2025, 6, 15));
        settings.tricky = tricky;
        let library = Library::new(settings);
        let found: BTreeSet<String> = library
            .source(Source::Patron)
            .filter(|message| message.value.is_some())
            .filter_map(|message| value(&message)["surname"].as_str().map(str::to_owned))
            .collect();
        found
    };
    let found = surnames(true);
    for row in tricky::TRICKY.iter().filter(|row| !row.surname.is_empty()) {
        assert!(found.contains(row.surname), "{:?}", row.surname);
    }
    let plain = surnames(false);
    assert!(!plain.contains("\u{200d}") && !plain.contains("."));
}

#[test]
fn any_settings_are_good_settings() {
    for today in [
        jiff::civil::Date::MIN,
        jiff::civil::Date::MAX,
        jiff::civil::Date::ZERO,
    ] {
        let mut settings = Settings::new(u64::MAX, 50, today);
        settings.libraries.clear();
        settings.loans_per_patron = f32::NAN;
        settings.debts_per_patron = -1.0;
        let library = Library::new(settings);
        assert!(library.messages().count() >= 50);
        assert_eq!(library.source(Source::Loan).count(), 0);
        assert!(!library.messages_of(u64::MAX).is_empty());
    }
    assert_eq!(library(1, 0).messages().count(), 0);
    assert!(library(1, 0).poison().count() > 0);
}

#[test]
fn the_number_of_messages_is_about_as_told() {
    let library = library(11, 5000);
    let (about, exact) = (library.messages_about(), library.messages().count() as u64);
    assert!(
        about.abs_diff(exact) < exact / 30,
        "{about} told, {exact} made"
    );
}

#[test]
fn sources_have_their_names() {
    for &source in Source::ALL {
        assert_eq!(Source::named(source.as_str()), Some(source));
    }
    assert_eq!(Source::named("loans"), None);
}

#[test]
fn poison_is_of_every_sort_and_falls_on_nobody() {
    let library = library(1, 500);
    let patrons: BTreeSet<Vec<u8>> = library
        .source(Source::Patron)
        .map(|message| message.key.into_bytes())
        .collect();
    let mut reasons = BTreeSet::new();
    for poison in library.poison() {
        reasons.insert(poison.reason);
        let falls = poison.key.as_ref().is_some_and(|key| patrons.contains(key));
        assert!(!falls || poison.source == "loan", "{}", poison.about);
        let bytes = poison.value.unwrap_or_default();
        assert!(
            !bytes.contains(&b'\n') && !bytes.contains(&b'@'),
            "{}",
            poison.about
        );
        let json = serde_json::from_slice::<Value>(&bytes).is_ok();
        match poison.reason {
            Reason::NotUtf8 => assert!(std::str::from_utf8(&bytes).is_err()),
            Reason::NotJson => assert!(!json, "{}", poison.about),
            Reason::Miskeyed | Reason::PatronUnknown | Reason::NotAnObject => assert!(json),
            _ => {}
        }
    }
    let all = [
        Reason::NotUtf8,
        Reason::NotJson,
        Reason::NotAnObject,
        Reason::TooLarge,
        Reason::TooDeep,
        Reason::TooManyKeys,
        Reason::Identifier,
        Reason::Miskeyed,
        Reason::NullValue,
        Reason::PatronUnknown,
        Reason::Malformed,
    ];
    assert_eq!(reasons, BTreeSet::from(all));
}
