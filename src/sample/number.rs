//! Numbers with valid check digits, of ranges that nobody holds.
//!
//! Never a number that a person, an account or a telephone can have: BSNs
//! start with 999, national register numbers have a sequence that no day of
//! births reaches, accounts are of a bank that does not exist.

use super::day::{Day, two_digits};
use super::dice::Dice;
use super::place::Country;
use std::fmt::Write as _;

/// A BSN: 999, five digits, and the digit that the eleven test asks for.
pub(super) fn bsn(dice: &mut Dice) -> String {
    let start = 99_900_000 + dice.below(100_000);
    // Where the test asks for ten, the next number asks for less.
    let (body, check) = (start..)
        .map(|body| (body, eleven_sum(body) % 11))
        .find(|&(_, check)| check < 10)
        .unwrap_or((0, 0));
    format!("{body}{check}")
}

/// The weighted sum of the first eight digits, weights nine to two.
fn eleven_sum(body: u64) -> u64 {
    let mut left = body;
    (2..=9)
        .map(|weight| {
            let digit = left % 10;
            left /= 10;
            weight * digit
        })
        .sum()
}

/// A national register number of someone born on `day`: sequence 990 to 998,
/// even for women; `bis` is added to the month (20 or 40).
pub(super) fn rijksregisternummer(day: Day, woman: bool, bis: i32, dice: &mut Dice) -> String {
    let (year, month, day) = day.civil();
    let sequence = 990 + 2 * dice.below(4) + u64::from(!woman);
    let mut digits = String::with_capacity(11);
    two_digits(year % 100, &mut digits);
    two_digits(month + bis, &mut digits);
    two_digits(day, &mut digits);
    let _ = write!(digits, "{sequence}");
    let nine: u64 = digits.parse().unwrap_or(0);
    let checked = if year >= 2000 {
        nine + 2_000_000_000
    } else {
        nine
    };
    let _ = write!(digits, "{:02}", 97 - checked % 97);
    digits
}

/// The same number as it stands on paper: `85.07.30-033.28`.
pub(super) fn dotted(digits: &str) -> String {
    let mut out = String::with_capacity(15);
    for (place, digit) in digits.chars().enumerate() {
        match place {
            2 | 4 | 9 => out.push('.'),
            6 => out.push('-'),
            _ => {}
        }
        out.push(digit);
    }
    out
}

/// An account at a bank that does not exist (`ZEEF`; in Belgium number 999).
pub(super) fn iban(country: Country, dice: &mut Dice) -> String {
    let account = match country {
        Country::Belgium => {
            let ten = 9_990_000_000 + dice.below(10_000_000);
            let check = match ten % 97 {
                0 => 97,
                rest => rest,
            };
            format!("{ten}{check:02}")
        }
        Country::Netherlands => format!("ZEEF0{:09}", dice.below(1_000_000_000)),
    };
    let code = country.code();
    let rest = ninety_seven(&format!("{account}{code}00"));
    format!("{code}{:02}{account}", 98 - rest)
}

/// The rest by 97 of text in which a letter stands for 10 to 35.
fn ninety_seven(text: &str) -> u64 {
    text.chars()
        .filter_map(|character| character.to_digit(36))
        .fold(0, |rest, value| match value {
            0..=9 => (rest * 10 + u64::from(value)) % 97,
            _ => (rest * 100 + u64::from(value)) % 97,
        })
}

/// An IBAN in groups of four, as it stands on a bank card.
pub(super) fn grouped(iban: &str) -> String {
    let mut out = String::with_capacity(iban.len() + 4);
    for (place, character) in iban.chars().enumerate() {
        if place > 0 && place % 4 == 0 {
            out.push(' ');
        }
        out.push(character);
    }
    out
}

/// An ISBN-13 of the range 979-99, which belongs to no publisher.
pub(super) fn isbn(number: u64) -> String {
    let body = 979_990_000_000 + number % 10_000_000;
    let mut left = body;
    let sum: u64 = (0..12)
        .map(|place| {
            let digit = left % 10;
            left /= 10;
            if place % 2 == 0 { digit * 3 } else { digit }
        })
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

/// An ISSN that starts with 9999.
pub(super) fn issn(number: u64) -> String {
    let body = 9_999_000 + number % 1000;
    let check = (11 - eleven_sum(body) % 11) % 11;
    let last = if check == 10 {
        'X'
    } else {
        char::from(b'0' + check as u8)
    };
    format!("9999-{:03}{last}", body % 1000)
}

/// A mobile number with nothing but zeros before its last three digits.
pub(super) fn mobile(country: Country, dice: &mut Dice) -> String {
    let last = dice.below(1000);
    let (tens, ones) = (last / 100, last % 100);
    match (country, dice.below(6)) {
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

/// A fixed line with nothing but zeros before its last three digits.
pub(super) fn phone(country: Country, dice: &mut Dice) -> String {
    let last = dice.below(1000);
    let (tens, ones) = (last / 100, last % 100);
    match (country, dice.below(4)) {
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

/// A card number: opaque, mostly 14 digits, sometimes with letters or zeros.
pub(super) fn card(index: u64, dice: &mut Dice) -> String {
    match dice.below(20) {
        0 => format!("A2001{:08}B", index % 100_000_000),
        1 => format!("{:010}", index % 10_000_000_000),
        2 => format!("{:08}X", index % 100_000_000),
        3 => format!("P-{:07}", index % 10_000_000),
        _ => format!("2001300{:07}", index % 10_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::super::dice::Stream;
    use super::*;

    #[track_caller]
    fn check_bsn(text: &str) {
        assert_eq!(text.len(), 9, "{text}");
        assert!(text.starts_with("999"), "{text}");
        let weights = [9, 8, 7, 6, 5, 4, 3, 2, -1];
        let digits = text.bytes().map(|byte| i32::from(byte - b'0'));
        let sum: i32 = digits
            .zip(weights)
            .map(|(digit, weight)| digit * weight)
            .sum();
        assert_eq!(sum % 11, 0, "{text}");
    }

    #[track_caller]
    fn check_iban(text: &str, length: usize) {
        assert_eq!(text.len(), length, "{text}");
        assert_eq!(
            ninety_seven(&format!("{}{}", &text[4..], &text[..4])),
            1,
            "{text}"
        );
    }

    #[test]
    fn check_digits_are_valid() {
        let mut dice = Dice::new(1, 0, Stream::Person);
        for _ in 0..5_000 {
            check_bsn(&bsn(&mut dice));
            check_iban(&iban(Country::Netherlands, &mut dice), 18);
            let belgian = iban(Country::Belgium, &mut dice);
            check_iban(&belgian, 16);
            let ten: u64 = belgian[4..14].parse().expect("digits");
            let two: u64 = belgian[14..].parse().expect("digits");
            assert_eq!((ten % 97) % 97, two % 97, "{belgian}");
        }
    }

    #[test]
    fn known_numbers_come_out_as_known() {
        assert_eq!(eleven_sum(11_122_233) % 11, 3);
        // The ISBN and ISSN of the standards' own examples.
        assert_eq!(eleven_sum(378_595) % 11, 6);
        assert_eq!(ninety_seven("WEST12345698765432GB82"), 1);
        assert_eq!(dotted("85073003328"), "85.07.30-033.28");
        assert_eq!(grouped("NL00ZEEF0123456789"), "NL00 ZEEF 0123 4567 89");
    }

    #[test]
    fn register_numbers_fit_their_birth() {
        let mut dice = Dice::new(2, 0, Stream::Person);
        for (year, two) in [(1985, ""), (1999, ""), (2000, "2"), (2017, "2")] {
            for bis in [0, 20, 40] {
                let born = Day::from_civil(year, 7, 30);
                let digits = rijksregisternummer(born, year == 1985, bis, &mut dice);
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
    fn isbns_are_valid() {
        for number in [0, 1, 7, 1234, 9_999_999] {
            let text = isbn(number);
            let sum: u32 = text
                .bytes()
                .zip([1, 3].iter().cycle())
                .map(|(byte, weight)| u32::from(byte - b'0') * weight)
                .sum();
            assert_eq!((text.len(), sum % 10), (13, 0), "{text}");
        }
    }

    #[test]
    fn telephones_have_the_digits_of_their_country() {
        let mut dice = Dice::new(4, 0, Stream::Person);
        let national = |text: &str| {
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            match digits.strip_prefix("00").unwrap_or(&digits) {
                rest if rest.starts_with("31") || rest.starts_with("32") => rest.len() - 1,
                _ => digits.len(),
            }
        };
        for _ in 0..200 {
            let of = |country, dice: &mut Dice| {
                (
                    national(&mobile(country, dice)),
                    national(&phone(country, dice)),
                )
            };
            assert_eq!(of(Country::Netherlands, &mut dice), (10, 10));
            assert_eq!(of(Country::Belgium, &mut dice), (10, 9));
        }
    }
}
