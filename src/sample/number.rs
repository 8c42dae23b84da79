//! Numbers with valid check digits from unassigned ranges.
//!
//! No real person, account or telephone has them: BSNs start with 999, rijksregisternummers have a
//! sequence that no day of births reaches, accounts are of a bank that does not exist.

use super::day::{Day, push_two_digits};
use super::locations::Country;
use super::rng::Rng;
use std::fmt::Write as _;

/// 999, five digits, and a check digit.
pub(super) fn random_bsn(rng: &mut Rng) -> String {
    let start = 99_900_000 + rng.below(100_000);
    // If the check digit would be ten, the next number has a smaller one.
    let (body, check) = (start..)
        .map(|body| (body, eleven_test_sum(body) % 11))
        .find(|&(_, check)| check < 10)
        .unwrap_or((0, 0));
    format!("{body}{check}")
}

/// Returns the sum of the last eight digits with weights nine to two.
fn eleven_test_sum(body: u64) -> u64 {
    let mut left = body;
    (2..=9)
        .map(|weight| {
            let digit = left % 10;
            left /= 10;
            weight * digit
        })
        .sum()
}

/// Returns the number of a person born on `day` with sequence 990 to 998, even for women;
/// `bis_month_offset` is 20 or 40 for a BIS number.
pub(super) fn random_rijksregisternummer(
    day: Day,
    is_woman: bool,
    bis_month_offset: i32,
    rng: &mut Rng,
) -> String {
    let (year, month, day) = day.to_civil();
    let sequence = 990 + 2 * rng.below(4) + u64::from(!is_woman);
    let mut digits = String::with_capacity(11);
    push_two_digits(year % 100, &mut digits);
    push_two_digits(month + bis_month_offset, &mut digits);
    push_two_digits(day, &mut digits);
    let _ = write!(digits, "{sequence}");
    let nine: u64 = digits.parse().unwrap_or(0);
    let checked = if year >= 2000 { nine + 2_000_000_000 } else { nine };
    let _ = write!(digits, "{:02}", 97 - checked % 97);
    digits
}

/// Formats as `85.07.30-033.28`.
pub(super) fn format_rijksregisternummer(digits: &str) -> String {
    let mut out = String::with_capacity(15);
    for (index, digit) in digits.chars().enumerate() {
        match index {
            2 | 4 | 9 => out.push('.'),
            6 => out.push('-'),
            _ => {}
        }
        out.push(digit);
    }
    out
}

/// An account at a bank that does not exist (`ZEEF`; in Belgium number 999).
pub(super) fn random_iban(country: Country, rng: &mut Rng) -> String {
    let account = match country {
        Country::Belgium => {
            let ten = 9_990_000_000 + rng.below(10_000_000);
            let check = match ten % 97 {
                0 => 97,
                rest => rest,
            };
            format!("{ten}{check:02}")
        }
        Country::Netherlands => format!("ZEEF0{:09}", rng.below(1_000_000_000)),
    };
    let code = country.code();
    let rest = mod_97(&format!("{account}{code}00"));
    format!("{code}{:02}{account}", 98 - rest)
}

/// Returns the remainder by 97 of text in which letters stand for 10 to 35.
fn mod_97(text: &str) -> u64 {
    text.chars().filter_map(|character| character.to_digit(36)).fold(0, |rest, value| match value {
        0..=9 => (rest * 10 + u64::from(value)) % 97,
        _ => (rest * 100 + u64::from(value)) % 97,
    })
}

pub(super) fn format_iban(iban: &str) -> String {
    let mut out = String::with_capacity(iban.len() + 4);
    for (index, character) in iban.chars().enumerate() {
        if index > 0 && index % 4 == 0 {
            out.push(' ');
        }
        out.push(character);
    }
    out
}

/// An ISBN-13 of the range 979-99, which belongs to no publisher.
pub(super) fn make_isbn(number: u64) -> String {
    let body = 979_990_000_000 + number % 10_000_000;
    let mut left = body;
    let sum: u64 = (0..12)
        .map(|index| {
            let digit = left % 10;
            left /= 10;
            if index % 2 == 0 { digit * 3 } else { digit }
        })
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

/// An ISSN that starts with 9999.
pub(super) fn make_issn(number: u64) -> String {
    let body = 9_999_000 + number % 1000;
    let check = (11 - eleven_test_sum(body) % 11) % 11;
    let last = if check == 10 { 'X' } else { char::from(b'0' + check as u8) };
    format!("9999-{:03}{last}", body % 1000)
}

/// Zeros except for the last three digits.
pub(super) fn random_mobile_number(country: Country, rng: &mut Rng) -> String {
    let last = rng.below(1000);
    let (tens, ones) = (last / 100, last % 100);
    match (country, rng.below(6)) {
        (Country::Netherlands, 0) => format!("+31 6 00000{last:03}"),
        (Country::Netherlands, 1) => format!("0031600000{last:03}"),
        (Country::Netherlands, 2) => format!("06 00 00 0{tens} {ones:02}"),
        (Country::Netherlands, 3) => format!("0600000{last:03}"),
        (Country::Netherlands, _) => format!("06-00000{last:03}"),
        (Country::Belgium, 0) => format!("+32 470 00 0{tens} {ones:02}"),
        (Country::Belgium, 1) => format!("0032470000{last:03}"),
        (Country::Belgium, 2) => format!("0470/00.0{tens}.{ones:02}"),
        (Country::Belgium, 3) => format!("0470000{last:03}"),
        (Country::Belgium, _) => format!("0470 00 0{tens} {ones:02}"),
    }
}

/// Zeros except for the last three digits.
pub(super) fn random_phone_number(country: Country, rng: &mut Rng) -> String {
    let last = rng.below(1000);
    let (tens, ones) = (last / 100, last % 100);
    match (country, rng.below(4)) {
        (Country::Netherlands, 0) => format!("+31 20 0000{last:03}"),
        (Country::Netherlands, 1) => format!("(010) 000 0{tens} {ones:02}"),
        (Country::Netherlands, 2) => format!("0500-000{last:03}"),
        (Country::Netherlands, _) => format!("020-0000{last:03}"),
        (Country::Belgium, 0) => format!("+32 2 000 0{tens} {ones:02}"),
        (Country::Belgium, 1) => format!("03/000.0{tens}.{ones:02}"),
        (Country::Belgium, 2) => format!("050 00 0{tens} {ones:02}"),
        (Country::Belgium, _) => format!("09 000 0{tens} {ones:02}"),
    }
}

/// Mostly 14 digits, sometimes with letters or leading zeros.
pub(super) fn random_card_number(index: u64, rng: &mut Rng) -> String {
    match rng.below(20) {
        0 => format!("A2001{:08}B", index % 100_000_000),
        1 => format!("{:010}", index % 10_000_000_000),
        2 => format!("{:08}X", index % 100_000_000),
        3 => format!("P-{:07}", index % 10_000_000),
        _ => format!("2001300{:07}", index % 10_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::rng::RngStream;

    #[track_caller]
    fn assert_valid_bsn(text: &str) {
        assert_eq!(text.len(), 9, "{text}");
        assert!(text.starts_with("999"), "{text}");
        let weights = [9, 8, 7, 6, 5, 4, 3, 2, -1];
        let digits = text.bytes().map(|byte| i32::from(byte - b'0'));
        let sum: i32 = digits.zip(weights).map(|(digit, weight)| digit * weight).sum();
        assert_eq!(sum % 11, 0, "{text}");
    }

    #[track_caller]
    fn assert_valid_iban(text: &str, length: usize) {
        assert_eq!(text.len(), length, "{text}");
        assert_eq!(mod_97(&format!("{}{}", &text[4..], &text[..4])), 1, "{text}");
    }

    #[test]
    fn random_bsn_and_iban_have_valid_check_digits() {
        let mut rng = Rng::new(1, 0, RngStream::Person);
        for _ in 0..5_000 {
            assert_valid_bsn(&random_bsn(&mut rng));
            assert_valid_iban(&random_iban(Country::Netherlands, &mut rng), 18);
            let belgian = random_iban(Country::Belgium, &mut rng);
            assert_valid_iban(&belgian, 16);
            let ten: u64 = belgian[4..14].parse().expect("digits");
            let two: u64 = belgian[14..].parse().expect("digits");
            assert_eq!((ten % 97) % 97, two % 97, "{belgian}");
        }
    }

    #[test]
    fn check_digit_sums_match_known_numbers() {
        assert_eq!(eleven_test_sum(11_122_233) % 11, 3);
        // Examples of the standards.
        assert_eq!(eleven_test_sum(378_595) % 11, 6);
        assert_eq!(mod_97("WEST12345698765432GB82"), 1);
        assert_eq!(format_rijksregisternummer("85073003328"), "85.07.30-033.28");
        assert_eq!(format_iban("NL00ZEEF0123456789"), "NL00 ZEEF 0123 4567 89");
    }

    #[test]
    fn random_rijksregisternummer_fits_its_birth_date() {
        let mut rng = Rng::new(2, 0, RngStream::Person);
        for (year, two) in [(1985, ""), (1999, ""), (2000, "2"), (2017, "2")] {
            for bis in [0, 20, 40] {
                let born = Day::from_civil(year, 7, 30);
                let digits = random_rijksregisternummer(born, year == 1985, bis, &mut rng);
                let nine: u64 = format!("{two}{}", &digits[..9]).parse().expect("digits");
                let last: u64 = digits[9..].parse().expect("digits");
                assert_eq!(digits.len(), 11);
                assert_eq!(97 - nine % 97, last, "{digits}");
                assert_eq!(&digits[2..4], format!("{:02}", 7 + bis));
                assert_eq!(&digits[6..8], "99");
            }
        }
    }

    #[test]
    fn isbn_check_digit_is_valid() {
        for number in [0, 1, 7, 1234, 9_999_999] {
            let text = make_isbn(number);
            let sum: u32 = text
                .bytes()
                .zip([1, 3].iter().cycle())
                .map(|(byte, weight)| u32::from(byte - b'0') * weight)
                .sum();
            assert_eq!((text.len(), sum % 10), (13, 0), "{text}");
        }
    }

    #[test]
    fn random_phone_numbers_have_the_length_of_their_country() {
        let mut rng = Rng::new(4, 0, RngStream::Person);
        let national = |text: &str| {
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            match digits.strip_prefix("00").unwrap_or(&digits) {
                rest if rest.starts_with("31") || rest.starts_with("32") => rest.len() - 1,
                _ => digits.len(),
            }
        };
        for _ in 0..200 {
            let of = |country, rng: &mut Rng| {
                (
                    national(&random_mobile_number(country, rng)),
                    national(&random_phone_number(country, rng)),
                )
            };
            assert_eq!(of(Country::Netherlands, &mut rng), (10, 10));
            assert_eq!(of(Country::Belgium, &mut rng), (10, 9));
        }
    }
}
