//! Formats against known values, jiff, and a reading byte by byte.

use proptest::prelude::*;
use strum::VariantArray as _;

use super::numbers::{IBAN_LENGTHS, iban_remainder};
use super::*;

#[track_caller]
fn check(form: TextFormat, fits: &[&str], misfits: &[&str]) {
    for value in fits {
        assert!(form.matches(value), "{form}: {value:?}");
    }
    for value in misfits {
        assert!(!form.matches(value), "{form}: {value:?}");
    }
}

#[test]
fn date_format_accepts_calendar_dates_only() {
    check(
        TextFormat::Date,
        &["2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31", "1985-07-30"],
        &[
            "",
            "2023-02-29",
            "1900-02-29",
            "0000-01-01",
            "2024-13-01",
            "2024-00-10",
            "2024-04-31",
            "2024-01-00",
            "2024-1-01",
            "24-01-01",
            "20240101",
            "2024-01-01 ",
            "2024-01-01\n",
            "+2024-01-01",
            "2024\u{2010}01-01",
            "\u{662}024-01-01",
            "２０２４-01-01",
            "2024-01-01T00:00:00Z",
            "12024-01-01",
        ],
    );
}

#[test]
fn instant_format_accepts_rfc3339_only() {
    check(
        TextFormat::Instant,
        &[
            "2024-02-29T23:59:59Z",
            "2024-01-01T00:00:00.1Z",
            "2024-01-01T00:00:00.123456789012345678901234567890Z",
            "2024-01-01T00:00:00+00:00",
            "2024-01-01T00:00:00-00:00",
            "2024-01-01T12:34:56.7-23:59",
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59-23:59",
        ],
        &[
            "2024-01-01",
            "2024-01-01T00:00:00",
            "2024-01-01t00:00:00Z",
            "2024-01-01T00:00:00z",
            "2024-01-01 00:00:00Z",
            "2024-01-01T00:00Z",
            "2024-01-01T00:00:60Z",
            "2016-12-31T23:59:60Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00,5Z",
            "2024-01-01T00:00:00+0100",
            "2024-01-01T00:00:00+01",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:00:00+01:60",
            "2024-01-01T00:00:00\u{2212}01:00",
            "2024-01-01T00:00:00Z ",
            "2024-01-01T00:00:00ZZ",
            "2023-02-29T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "2024-01-01T00:00:00.\u{661}Z",
        ],
    );
}

#[test]
fn email_and_phone_formats() {
    check(
        TextFormat::Email,
        &[
            "jan@example.org",
            "Jan.de+Vries@sub.example.org",
            "o'brien@example.org",
            "a@b.c",
            ".@-.-",
            "!#$%&'*+/=?^_{|}~-@example.org",
        ],
        &[
            "",
            "jan",
            "@example.org",
            "jan@localhost",
            "jan@example.",
            "jan@.org",
            "jan@a..b",
            "jan@@example.org",
            "a@b@c.d",
            "jan de@example.org",
            "`a@example.org",
            "jörg@example.org",
            "jan@exämple.org",
            "jan@example.org ",
            "jan@example.o_g",
            "\"jan\"@example.org",
        ],
    );
    check(
        TextFormat::Phone,
        &["0600000000", "06-00000000", "+31 (0)6 0000.0000", "020/0000000", "000000", " 000 000 "],
        &[
            "",
            "00000",
            "06-0000000x",
            "tel 0600000000",
            "06\u{A0}00000000",
            "０６００００００００",
            "06\t00000000",
        ],
    );
}

#[test]
fn bsn_and_rijksregisternummer_formats() {
    check(
        TextFormat::Bsn,
        &["111222333", "1112.22.333", "111 222 333", "123456782", "012345672", "12345672"],
        &[
            "",
            "111222334",
            "000000000",
            "00000000",
            "1112223330",
            "111--222333",
            "-111222333",
            "111222333 ",
            "１１１222333",
            "11122233A",
        ],
    );
    check(
        TextFormat::Rijksregisternummer,
        &["85073003328", "85.07.30-033.28", "17.07.30-033.84", "850730 033 28"],
        &["85073003329", "17073003385", "8507300332", "850730033280", "85.07.30--033.28", ""],
    );
}

/// Adds the check digits to nine digits, as people born before 2000 have them.
fn rijksregisternummer_with_check_digits(nine: u64) -> String {
    format!("{nine:09}{:02}", 97 - nine % 97)
}

#[test]
fn rijksregisternummer_is_decided_by_check_digits_alone() {
    for month in 0..100 {
        for day in 0..100 {
            let nine = 850_000_033 + month * 100_000 + day * 1_000;
            let number = rijksregisternummer_with_check_digits(nine);
            assert!(is_rijksregisternummer(number.as_bytes()), "{number}");
            let after_2000 = format!("{nine:09}{:02}", 97 - (nine + 2_000_000_000) % 97);
            assert!(is_rijksregisternummer(after_2000.as_bytes()), "{after_2000}");
        }
    }
    assert!(!is_rijksregisternummer(b"00000000000"));
}

#[test]
fn card_is_national_if_rijksregisternummer_behind_zeros() {
    for card in [
        "85073003328",
        "00085073003328",
        "0-850730/033 28",
        "A85073003328",
        "\u{660}\u{660}85073003328",
    ] {
        assert!(is_national_number_card(card), "{card}");
    }
    for card in ["", "5073003328", "185073003328", "850730033280", "85073003329", "000000000000000"]
    {
        assert!(!is_national_number_card(card), "{card}");
    }
}

#[test]
fn iban_length_follows_swift_registry() {
    let (entries, rest) = IBAN_LENGTHS.as_chunks::<5>();
    assert_eq!((entries.len(), rest.len()), (89, 0));
    assert!(entries.is_sorted());
    let longest = entries.iter().filter_map(|entry| iban_length(&entry[..2])).max();
    assert_eq!(longest, Some(IBAN_LENGTH_MAX));
    for entry in entries {
        let country = std::str::from_utf8(&entry[..2]).unwrap();
        let length = iban_length(&entry[..2]).unwrap();
        for (given, fits) in [(length, true), (length - 1, false), (length + 1, false)] {
            let body = "1".repeat(given - 4);
            let open = format!("{country}00{body}");
            let check = 98 - iban_remainder(open.as_bytes());
            let iban = format!("{country}{check:02}{body}");
            assert_eq!(is_iban(iban.as_bytes()), fits, "{iban}");
        }
    }
    // Its check digits are right, but no country of the registry is called so.
    assert!(!is_iban(b"ZZ06100000000000000"));
}

#[test]
fn iban_format_needs_check_digits() {
    check(
        TextFormat::Iban,
        &[
            "NL91ABNA0417164300",
            "NL91 ABNA 0417 1643 00",
            "BE68539007547034",
            "BE68 5390 0754 7034",
            "DE89370400440532013000",
            "GB82.WEST.1234.5698.7654.32",
        ],
        &[
            "",
            "NL",
            "NL91ABNA0417164301",
            "nl91abna0417164300",
            "NL91ABNA041716430",
            "BE685390075470340",
            "NL91  ABNA 0417 1643 00",
            "N191ABNA0417164300",
            "NLA1ABNA0417164300",
            "NL91ABNA0417164300 ",
            "NL91ÄBNA0417164300",
        ],
    );
}

#[test]
fn isil_and_currency_formats() {
    check(
        TextFormat::Isil,
        &["NL-AmrBKW", "BE-GNT00", "ABCD-1", "X-a/b:c-d", "O-12345678901"],
        &[
            "",
            "NL",
            "NL-",
            "-AmrBKW",
            "nl-AmrBKW",
            "ABCDE-1",
            "NL-123456789012",
            "NL-Amr BKW",
            "NL-Amr_",
        ],
    );
    check(TextFormat::Currency, &["EUR"], &["eur", "EURO", "EU", "€", ""]);
}

#[track_caller]
fn check_postcode(value: &str, country: &str, want: Option<&str>) {
    assert_eq!(postcode_digits(value, country), want, "{value:?} in {country}");
}

#[test]
fn postcode_digits_follow_country_format() {
    check_postcode("1234 AB", "NL", Some("1234"));
    check_postcode("1234AB", "NL", Some("1234"));
    check_postcode(" 1234 ab\u{A0}", "NL", Some("1234"));
    check_postcode("9000", "BE", Some("9000"));
    check_postcode("\t9000\n", "BE", Some("9000"));
    for value in [
        "",
        "1234",
        "0234 AB",
        "1234  AB",
        "1234 SA",
        "1234 sd",
        "1234Ss",
        "1234 ABC",
        "1234 A",
        "1234 A1",
        "12345",
        "é23 AB",
        "1234-AB",
        "1234\u{A0}AB",
    ] {
        check_postcode(value, "NL", None);
    }
    check_postcode("1234 SB", "NL", Some("1234"));
    for value in ["0900", "900", "90000", "9000 AB", "B-9000", "９０００"] {
        check_postcode(value, "BE", None);
    }
    check_postcode("1234 AB", "BE", None);
    check_postcode("9000", "NL", None);
    check_postcode("1234 AB", "nl", None);
    check_postcode("1234 AB", "DE", None);
}

#[test]
fn instant_keeps_date_as_written() {
    let late = Rfc3339Instant::parse("2024-01-01T00:30:00+01:00").expect("an instant");
    let same = Rfc3339Instant::parse("2023-12-31T23:30:00.000Z").expect("an instant");
    assert_eq!(late, same);
    assert_eq!(late.written_date(), Date::new(2024, 1, 1).expect("a date"));
    assert_eq!(parse_written_date("2024-01-01T00:30:00+01:00"), parse_written_date("2024-01-01"));
    assert_eq!(parse_written_date("2024-01-01T"), None);
    let before_1970 = Rfc3339Instant::parse("1969-12-31T23:59:59.9999Z").expect("an instant");
    assert_eq!(before_1970.to_unix_ms(), -1);
    assert_eq!(before_1970.to_unix_ns(), -100_000);
}

#[track_caller]
fn check_age(birth: &str, day: &str, want: Option<u16>) {
    let (birth, day) = (Date::parse(birth), Date::parse(day));
    assert_eq!(day.expect("a date").full_years_since(birth.expect("a date")), want);
}

#[test]
fn age_counts_full_years() {
    check_age("2004-02-29", "2022-02-28", Some(17));
    check_age("2004-02-29", "2022-03-01", Some(18));
    check_age("2004-02-29", "2024-02-29", Some(20));
    check_age("2004-02-29", "2024-02-28", Some(19));
    check_age("2004-05-06", "2004-05-06", Some(0));
    check_age("2004-05-06", "2004-05-05", None);
    check_age("2004-05-06", "2003-12-31", None);
    check_age("0001-01-01", "9999-12-31", Some(9998));
}

proptest! {
    #[test]
    fn text_formats_never_panic(value in any::<String>(), country in "NL|BE|.*") {
        for form in TextFormat::VARIANTS {
            let _ = form.matches(&value);
        }
        let _ = postcode_digits(&value, &country);
        let _ = parse_written_date(&value);
    }

    #[test]
    fn date_parse_agrees_with_jiff(year in 0_i16..=9999, month in 0_u8..=13, day in 0_u8..=32) {
        let text = format!("{year:04}-{month:02}-{day:02}");
        let theirs = i8::try_from(month).ok().zip(i8::try_from(day).ok())
            .and_then(|(month, day)| jiff::civil::Date::new(year, month, day).ok())
            .filter(|_| year > 0);
        let ours = Date::parse(&text);
        prop_assert_eq!(ours.is_some(), theirs.is_some());
        if let (Some(ours), Some(theirs)) = (ours, theirs) {
            let midnight = theirs.to_zoned(jiff::tz::TimeZone::UTC).expect("in range");
            prop_assert_eq!(ours.to_unix_ms(), midnight.timestamp().as_millisecond());
        }
    }

    #[test]
    fn instant_parse_agrees_with_jiff(
        year in 2_i16..=9998, month in 1_u8..=12, day in 1_u8..=31,
        time in "(0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?",
        offset in "Z|[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]",
    ) {
        let text = format!("{year:04}-{month:02}-{day:02}T{time}{offset}");
        let ours = Rfc3339Instant::parse(&text).map(Rfc3339Instant::to_unix_ns);
        let theirs = text.parse::<jiff::Timestamp>().ok().map(|at| at.as_nanosecond());
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn age_agrees_with_jiff(birth in -30_000_i32..30_000, later in 0_i32..40_000) {
        let epoch = jiff::civil::date(1970, 1, 1);
        let span = jiff::Span::new();
        let birth = epoch.checked_add(span.days(birth)).expect("in range");
        let day = birth.checked_add(span.days(later)).expect("in range");
        prop_assume!(birth.month() != 2 || birth.day() != 29);
        let years = birth.until((jiff::Unit::Year, day)).expect("a span").get_years();
        let ours = |date: jiff::civil::Date| Date::parse(&date.to_string()).expect("a date");
        prop_assert_eq!(
            ours(day).full_years_since(ours(birth)).map(i16::try_from),
            Some(Ok(years))
        );
    }
}
/// Some forms, read one character after the other.
mod reference {
    use crate::policy::form::*;

    fn two_digits(tens: u8, ones: u8) -> Option<u8> {
        (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| (tens - b'0') * 10 + (ones - b'0'))
    }

    pub(super) fn date(text: &[u8]) -> Option<Date> {
        let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text else {
            return None;
        };
        let year = i16::from(two_digits(y1, y2)?) * 100 + i16::from(two_digits(y3, y4)?);
        let (month, day) = (two_digits(m1, m2)?, two_digits(d1, d2)?);
        let days = match month {
            2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let real =
            (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=days).contains(&day);
        real.then_some(Date { year, month, day })
    }

    fn clock(hour: u8, minute: u8) -> Option<i64> {
        (hour < 24 && minute < 60).then(|| i64::from(hour) * 3600 + i64::from(minute) * 60)
    }

    pub(super) fn instant(text: &str) -> Option<(i64, u32, Date)> {
        let (day, text) = text.as_bytes().split_first_chunk::<10>()?;
        let day = date(day)?;
        let (time, text) = text.split_first_chunk::<9>()?;
        let [b'T', h1, h2, b':', m1, m2, b':', s1, s2] = *time else {
            return None;
        };
        let time = clock(two_digits(h1, h2)?, two_digits(m1, m2)?)?;
        let second = two_digits(s1, s2).filter(|&second| second < 60)?;
        let (fraction, text) = match text.strip_prefix(b".") {
            Some(text) => text.split_at(text.iter().take_while(|b| b.is_ascii_digit()).count()),
            None => (&b"0"[..], text),
        };
        let nine = format!("{:0<9.9}", std::str::from_utf8(fraction).expect("digits"));
        let nanoseconds = nine.parse().ok().filter(|_| !fraction.is_empty())?;
        let ahead = match *text {
            [b'Z'] => 0,
            [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
                let ahead = clock(two_digits(h1, h2)?, two_digits(m1, m2)?)?;
                if sign == b'-' { -ahead } else { ahead }
            }
            _ => return None,
        };
        let seconds = day.to_unix_days() * 86_400 + time + i64::from(second) - ahead;
        Some((seconds, nanoseconds, day))
    }

    pub(super) fn is_email(value: &str) -> bool {
        let is_local = |c: char| c.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_{|}~-".contains(c);
        let is_label = |c: char| c.is_ascii_alphanumeric() || c == '-';
        value.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && local.chars().all(is_local)
                && domain.contains('.')
                && domain.split('.').all(|label| !label.is_empty() && label.chars().all(is_label))
        })
    }

    pub(super) fn is_phone(value: &str) -> bool {
        let digits = value.chars().filter(char::is_ascii_digit).count();
        let may = |c: char| c.is_ascii_digit() || " +()-./".contains(c);
        digits >= 6 && value.chars().all(may)
    }

    pub(super) fn is_isil(value: &str) -> bool {
        value.split_once('-').is_some_and(|(prefix, unit)| {
            (1..=4).contains(&prefix.len())
                && prefix.bytes().all(|b| b.is_ascii_uppercase())
                && (1..=11).contains(&unit.len())
                && unit.bytes().all(|b| b.is_ascii_alphanumeric() || b"/:-".contains(&b))
        })
    }

    pub(super) fn compact_text(text: &str, limit: usize) -> Option<String> {
        let mut out = String::new();
        let mut separated = true;
        for c in text.chars() {
            match c {
                ' ' | '.' | '-' if !separated => separated = true,
                _ if c.is_ascii_alphanumeric() && out.len() < limit => {
                    out.push(c);
                    separated = false;
                }
                _ => return None,
            }
        }
        (!separated).then_some(out)
    }
}

/// Returns what fits a form, what nearly does, and what does not at all.
fn valid_and_damaged_values() -> impl Strategy<Value = String> {
    let valid = prop_oneof![
        "[0-9]{4}-[01][0-9]-[0-3][0-9]",
        "(19|20)[0-9][0-9]-02-(28|29|30)",
        "20[0-9]{2}-0[1-9]-[0-2][1-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,12})?\
         (Z|[+-][0-2][0-9]:[0-6][0-9])",
        "[a-z0-9.-]{1,20}@[a-zA-Z0-9-]{1,12}(\\.[a-z]{1,4}){1,3}",
        "[a-z.]{0,4}@?[a-z.@]{1,10}\\.[a-z.]{0,22}",
        "[!-~]{1,6}@[a-z]{1,9}\\.[a-z]{2}",
        "[0-9 ()+./-]{3,20}",
        "[+0]?[0-9]{2,4}[ -]?[0-9]{5,9}",
        "[A-Z]{0,5}-[A-Za-z0-9/:-]{0,12}",
        "[A-Z0-9]([ .-]?[A-Za-z0-9]){7,35}",
        any::<String>(),
    ];
    let odd = prop_oneof![
        "[ -~]",
        "[0-9@./:,*-]",
        "[\u{660}-\u{669}０-９é\u{A0}\u{2010}\u{80}\u{FF}\0\n]",
        Just(String::new()),
        any::<char>().prop_map(String::from),
    ];
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), 0..2_usize, odd), 0..3);
    (valid, changes).prop_map(|(mut value, changes)| {
        for (place, gone, odd) in changes {
            let ends = value.char_indices().map(|(at, _)| at);
            let ends: Vec<usize> = ends.chain([value.len()]).collect();
            let place = place.index(ends.len());
            let end = ends[(place + gone).min(ends.len() - 1)];
            value.replace_range(ends[place]..end, &odd);
        }
        value
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn text_formats_agree_with_reference(value in valid_and_damaged_values()) {
        prop_assert_eq!(Date::parse(&value), reference::date(value.as_bytes()));
        let instant = Rfc3339Instant::parse(&value);
        prop_assert_eq!(
            instant.map(|at| (at.unix_seconds, at.subsec_nanoseconds, at.written_date)),
            reference::instant(&value)
        );
        check_by_reference(&value);
        let number = |limit| reference::compact_text(&value, limit);
        let iban = number(34).is_some_and(|text| is_iban(text.as_bytes()));
        prop_assert_eq!(TextFormat::Iban.matches(&value), iban);
        let bsn = CompactText::<9>::read(value.as_bytes()).map(|text| text.as_bytes().to_vec());
        prop_assert_eq!(bsn, number(9).map(String::into_bytes));
    }
}

/// Every byte in every place of what fits, and every length of it.
#[test]
fn text_formats_agree_with_reference_for_every_byte() {
    for value in [
        "2024-02-29",
        "2024-02-29T23:59:59Z",
        "2024-02-29T23:59:59.5+01:00",
        "a-b@c.nl",
        "jan.de-vries@example.org",
        "lener19999@example.org",
        "06-00000000",
        "020-0000000",
        "NL-AmrBKW",
        "NL-Amr/:BKW-X01",
    ] {
        for place in 0..value.len() {
            for other in (0..=0xff).map(char::from) {
                let mut changed = value.to_owned();
                changed.replace_range(place..=place, other.encode_utf8(&mut [0; 4]));
                check_by_reference(&changed);
            }
            check_by_reference(&value[place..]);
            check_by_reference(&value[..place]);
        }
    }
}

#[track_caller]
fn check_by_reference(value: &str) {
    let want = [
        (TextFormat::Date, reference::date(value.as_bytes()).is_some()),
        (TextFormat::Instant, reference::instant(value).is_some()),
        (TextFormat::Email, reference::is_email(value)),
        (TextFormat::Phone, reference::is_phone(value)),
        (TextFormat::Isil, reference::is_isil(value)),
    ];
    for (form, want) in want {
        assert_eq!(form.matches(value), want, "{form}: {value:?}");
    }
}
