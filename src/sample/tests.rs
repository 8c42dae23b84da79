//! Properties of the library as a whole.

use super::*;
use crate::policy::reason::Reason;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

fn sample_library(seed: u64, patrons: u64) -> SampleLibrary {
    SampleLibrary::new(SampleSettings::new(seed, patrons, jiff::civil::date(2025, 6, 15)))
}

fn parse_value(message: &SampleMessage) -> Value {
    let text = message.value.as_deref().expect("no tombstone");
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn digest(messages: impl Iterator<Item = SampleMessage>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for message in messages {
        (message.source, message.key, message.value).hash(&mut hasher);
    }
    hasher.finish()
}

/// Calls `visit` with every string in `value`, except keys.
fn visit_strings(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(values) => values.iter().for_each(|value| visit_strings(value, visit)),
        Value::Object(fields) => fields.values().for_each(|value| visit_strings(value, visit)),
        _ => {}
    }
}

#[test]
fn sample_same_seed_gives_same_bytes() {
    for &source in SampleSource::ALL {
        let first = digest(sample_library(7, 600).messages_of_source(source).take(1000));
        assert_eq!(first, digest(sample_library(7, 600).messages_of_source(source).take(1000)));
        assert_ne!(first, digest(sample_library(8, 600).messages_of_source(source).take(1000)));
    }
}

/// A change here changes every recorded run: mention it in the changelog.
#[test]
fn sample_first_records_match_snapshot() {
    let mut settings = SampleSettings::new(1, 3, jiff::civil::date(2025, 6, 15));
    settings.loans_per_patron = 1.0;
    settings.consents_per_patron = 1.0;
    settings.objections_per_patron = 1.0;
    settings.ill_requests_per_patron = 1.0;
    settings.debts_per_patron = 1.0;
    let library = SampleLibrary::new(settings);
    let lines: Vec<String> = library
        .messages()
        .map(|message| {
            let value = message.value.unwrap_or_default();
            format!("{} {} {value}", message.source, message.key.unwrap_or_default())
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn sample_source_alone_equals_source_among_others() {
    let library = sample_library(3, 1500);
    for &source in SampleSource::ALL {
        let among = library.messages().filter(|message| message.source == source.as_str());
        assert!(among.eq(library.messages_of_source(source)), "{}", source.as_str());
    }
}

#[test]
fn sample_patron_is_independent_of_patron_count() {
    // Adults only, as guarantors may come later.
    let (few, many) = (sample_library(3, 200), sample_library(3, 400));
    for index in 0..190 {
        assert_eq!(few.messages_of_patron(index), many.messages_of_patron(index));
    }
}

#[test]
fn sample_patron_precedes_its_records_and_ids_are_unique() {
    let library = sample_library(5, 4000);
    let mut patrons = BTreeSet::new();
    let mut ids = BTreeSet::new();
    let mut erased = 0;
    let mut visitors = 0;
    let mut guarantors = BTreeSet::new();
    for message in library.messages() {
        if message.value.is_none() {
            assert_eq!(message.source, "patron");
            assert!(message.key.is_some_and(|key| patrons.contains(&key)));
            erased += 1;
            continue;
        }
        let record = parse_value(&message);
        let own = match message.source {
            "ill_request" => "request_id".to_owned(),
            source => format!("{source}_id"),
        };
        let id = record[own].as_str().expect("an id").to_owned();
        assert!(ids.insert((message.source, id.clone())), "twice in {}", message.source);
        let patron_id = record["patron_id"].as_str();
        let may_lack_patron = matches!(message.source, "referral" | "participation" | "question");
        let want_key = match (message.source, patron_id) {
            ("question", None) => None,
            (_, None) if may_lack_patron => Some(id.as_str()),
            _ => patron_id,
        };
        assert_eq!(message.key.as_deref(), want_key, "{}", message.source);
        assert!(patron_id.is_some() || may_lack_patron, "{}", message.source);
        visitors += usize::from(patron_id.is_none());
        let Some(key) = message.key.filter(|_| patron_id.is_some()) else {
            continue;
        };
        if message.source == "patron" {
            patrons.insert(key);
            guarantors.extend(record["guarantor"]["patron_id"].as_str().map(str::to_owned));
        } else {
            assert!(patrons.contains(&key));
        }
    }
    assert!((100..400).contains(&visitors), "{visitors}");
    assert_eq!(patrons.len(), 4000);
    assert!((1..40).contains(&erased), "{erased}");
    assert!(guarantors.len() > 100 && guarantors.is_subset(&patrons));
}

/// Calls `visit` with the name and day of each date and instant in `value`.
fn visit_dates(name: &str, value: &Value, visit: &mut impl FnMut(&str, jiff::civil::Date)) {
    match value {
        Value::String(text) => {
            let day = text.get(..10).and_then(|day| day.parse().ok());
            let is_one = text.len() == 10 || text.as_bytes().get(10) == Some(&b'T');
            if let Some(day) = day.filter(|_| is_one) {
                visit(name, day);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| visit_dates(name, value, visit)),
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| visit_dates(name, value, visit))
        }
        _ => {}
    }
}

#[test]
fn sample_patron_has_no_date_before_birth() {
    let (mut born_that_day, mut seen) = (0, BTreeSet::new());
    for seed in [1, 12] {
        let library = sample_library(seed, 4000);
        for index in 0..library.settings().patrons {
            let messages = library.messages_of_patron(index);
            let born = parse_value(&messages[0])["birth_date"].clone();
            let Some(born) = born.as_str().and_then(|day| day.parse().ok()) else {
                continue;
            };
            for message in messages.iter().filter(|one| one.value.is_some()) {
                let mut record = parse_value(message);
                record["birth_date"].take();
                visit_dates("", &record, &mut |name, day: jiff::civil::Date| {
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
fn sample_email_uses_example_domains_only() {
    let mut seen = 0;
    for message in sample_library(9, 3000).messages().filter(|message| message.value.is_some()) {
        visit_strings(&parse_value(&message), &mut |text| {
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
fn sample_message_value_has_no_line_break() {
    for message in sample_library(2, 2000).messages() {
        assert!(!message.value.unwrap_or_default().contains(['\n', '\r']));
    }
}

#[test]
fn sample_covers_every_status_and_choice() {
    let mut seen: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
    for message in sample_library(4, 4000).messages().filter(|message| message.value.is_some()) {
        let record = parse_value(&message);
        for field in [
            "status",
            "kind",
            "stage",
            "decision",
            "manner",
            "given_by",
            "purpose",
            "service",
            "card_kind",
        ] {
            if let Some(text) = record[field].as_str() {
                seen.entry((message.source, field)).or_default().insert(text.to_owned());
            }
        }
    }
    for (source, field, all) in [
        ("patron", "kind", &["person", "institution"][..]),
        ("patron", "card_kind", &["eid", "library"]),
        ("loan", "status", &["open", "overdue", "returned", "lost", "damaged"]),
        (
            "reservation",
            "status",
            &["placed", "in_transit", "ready_for_pickup", "collected", "cancelled", "expired"],
        ),
        ("ill_request", "service", &["loan", "copy"]),
        (
            "ill_request",
            "status",
            &["requested", "sent", "received", "returned", "closed", "cancelled"],
        ),
        ("debt", "kind", &["late", "damaged", "lost"]),
        ("debt", "stage", &["reminder", "invoice", "collection"]),
        ("debt", "status", &["open", "settled", "cancelled"]),
        ("consent", "decision", &["granted", "refused", "withdrawn"]),
        ("consent", "manner", &["written", "digital", "oral"]),
        ("consent", "given_by", &["guardian", "patron"]),
        (
            "consent",
            "purpose",
            &[
                "online-library",
                "newsletter",
                "acquisitions",
                "panel",
                "direct-debit",
                "family-access",
            ],
        ),
        ("objection", "kind", &["direct_marketing", "special_circumstances"]),
        ("objection", "status", &["lodged", "upheld", "dismissed"]),
    ] {
        let found = &seen[&(source, field)];
        for one in all {
            assert!(found.contains(*one), "{source}.{field} is never {one}");
        }
    }
}

/// What one patron's consents for family access say: whom, what, how, and how many days ago.
type FamilyStory = Vec<(Option<String>, String, String, Option<i32>)>;

fn family_stories(library: &SampleLibrary) -> BTreeMap<String, FamilyStory> {
    let today = library.settings().today;
    let mut stories: BTreeMap<String, FamilyStory> = BTreeMap::new();
    for message in library.messages_of_source(SampleSource::Consent) {
        let record = parse_value(&message);
        if record["purpose"] != "family-access" {
            continue;
        }
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let day = text("at").get(..10).map(|day| day.parse::<jiff::civil::Date>().unwrap());
        let days_ago = day.map(|day| day.until(today).unwrap().get_days());
        let recipient = record["recipient"].as_str().map(str::to_owned);
        let story = stories.entry(message.key.unwrap()).or_default();
        story.push((recipient, text("decision"), text("manner"), days_ago));
    }
    stories
}

#[test]
fn sample_families_grant_withdraw_and_renew_access() {
    let library = sample_library(4, 6000);
    let patrons: BTreeMap<String, u64> =
        (0..6000).map(|index| (library.patron_id(index), index)).collect();
    let stories = family_stories(&library);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (patron, story) in &stories {
        let mut see = |what| *seen.entry(what).or_default() += 1;
        for (recipient, decision, manner, days_ago) in story {
            let is_grant = decision == "granted" && manner == "written";
            match (recipient.as_deref(), days_ago) {
                (None, _) if decision == "withdrawn" => see("withdrawn for all"),
                (None, _) => see("grant to nobody"),
                (Some("family-access"), _) => see("grant to the portal"),
                (Some(own), _) if own == patron => see("grant to oneself"),
                (Some(_), None) => see("without a time"),
                (Some(_), Some(..0)) => see("in the future"),
                (Some(_), Some(370..)) if is_grant => see("expired"),
                (Some(other), Some(_)) if is_grant => {
                    see("counts");
                    let (named, own) = (patrons[other], patrons[patron]);
                    assert!(named % 5 == own % 5 && named / 20 == own / 20, "{patron}: {other}");
                    let age = |index| PatronIdentity::new(&library, index).age;
                    let is_child = |index| age(index).is_some_and(|age| age < 13);
                    if is_child(own) {
                        see("of a child");
                    }
                    if is_child(named) {
                        see("to a child");
                    }
                    let back = stories.get(other).is_some_and(|story| {
                        story.iter().any(|one| one.0.as_ref() == Some(patron))
                    });
                    if back {
                        see("both ways");
                    }
                }
                (Some(_), _) if decision == "withdrawn" => see("withdrawn"),
                (Some(_), _) => see(if manner == "oral" { "oral" } else { "digital" }),
            }
        }
        let is_renewed = story.len() == 2 && story.iter().all(|one| one.1 == "granted");
        if is_renewed {
            see("renewed");
        }
    }
    for what in [
        "counts",
        "both ways",
        "of a child",
        "to a child",
        "withdrawn",
        "withdrawn for all",
        "expired",
        "renewed",
        "digital",
        "oral",
        "grant to nobody",
        "grant to oneself",
        "grant to the portal",
        "in the future",
        "without a time",
    ] {
        assert!(seen.get(what).is_some_and(|count| *count > 0), "never {what}: {seen:?}");
    }
}

#[test]
fn sample_without_consents_has_none_of_families() {
    let mut settings = SampleSettings::new(4, 2000, jiff::civil::date(2025, 6, 15));
    settings.consents_per_patron = 0.0;
    let library = SampleLibrary::new(settings);
    assert_eq!(library.messages_of_source(SampleSource::Consent).count(), 0);
}

#[test]
fn sample_tricky_names_occur_only_when_enabled() {
    let surnames = |tricky| {
        let mut settings = SampleSettings::new(6, 8_000, jiff::civil::date(2025, 6, 15));
        settings.has_tricky_records = tricky;
        let library = SampleLibrary::new(settings);
        let found: BTreeSet<String> = library
            .messages_of_source(SampleSource::Patron)
            .filter(|message| message.value.is_some())
            .filter_map(|message| parse_value(&message)["surname"].as_str().map(str::to_owned))
            .collect();
        found
    };
    let found = surnames(true);
    for row in tricky_names::TRICKY_NAMES.iter().filter(|row| !row.surname.is_empty()) {
        assert!(found.contains(row.surname), "{:?}", row.surname);
    }
    let plain = surnames(false);
    assert!(!plain.contains("\u{200d}") && !plain.contains("."));
}

#[test]
fn sample_library_accepts_any_settings() {
    for today in [jiff::civil::Date::MIN, jiff::civil::Date::MAX, jiff::civil::Date::ZERO] {
        let mut settings = SampleSettings::new(u64::MAX, 50, today);
        settings.libraries.clear();
        settings.loans_per_patron = f32::NAN;
        settings.debts_per_patron = -1.0;
        let library = SampleLibrary::new(settings);
        assert!(library.messages().count() >= 50);
        assert_eq!(library.messages_of_source(SampleSource::Loan).count(), 0);
        assert!(!library.messages_of_patron(u64::MAX).is_empty());
    }
    assert_eq!(sample_library(1, 0).messages().count(), 0);
    assert!(sample_library(1, 0).invalid_records().count() > 0);
}

#[test]
fn sample_approximate_message_count_is_within_three_percent() {
    let library = sample_library(11, 5000);
    let (approximate, exact) =
        (library.approximate_message_count(), library.messages().count() as u64);
    assert!(approximate.abs_diff(exact) < exact / 30, "{approximate} told, {exact} made");
}

#[test]
fn sample_source_name_round_trips() {
    for &source in SampleSource::ALL {
        assert_eq!(SampleSource::from_name(source.as_str()), Some(source));
    }
    assert_eq!(SampleSource::from_name("loans"), None);
}

#[test]
fn sample_invalid_records_cover_all_reasons_and_spare_real_patrons() {
    let library = sample_library(1, 500);
    let patrons: BTreeSet<Vec<u8>> = library
        .messages_of_source(SampleSource::Patron)
        .filter_map(|message| Some(message.key?.into_bytes()))
        .collect();
    let mut reasons = BTreeSet::new();
    for record in library.invalid_records() {
        reasons.insert(record.reason);
        let hits_real_patron = record.key.as_ref().is_some_and(|key| patrons.contains(key));
        assert!(!hits_real_patron || record.source == "loan", "{}", record.description);
        let bytes = record.value.unwrap_or_default();
        assert!(!bytes.contains(&b'\n') && !bytes.contains(&b'@'), "{}", record.description);
        let json = serde_json::from_slice::<Value>(&bytes).is_ok();
        match record.reason {
            Reason::NotUtf8 => assert!(std::str::from_utf8(&bytes).is_err()),
            Reason::NotJson => assert!(!json, "{}", record.description),
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
