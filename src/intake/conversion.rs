//! The table of conversions: from a value as a database or connector writes it to
//! a canonical value. A row each, with examples that a test runs.
//!
//! Exact or not at all: what does not fit is refused, never rounded or guessed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::path::Scalar;
use crate::policy::form::{self, TextFormat};

/// What a conversion yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    Text,
    Integer,
    Boolean,
    Date,
    Instant,
}

impl ValueKind {
    /// The word for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            ValueKind::Text => "text",
            ValueKind::Integer => "integer",
            ValueKind::Boolean => "boolean",
            ValueKind::Date => "date",
            ValueKind::Instant => "instant",
        }
    }
}

/// What a conversion knows beside its value.
#[derive(Clone, Debug)]
pub(super) struct ConversionSettings {
    /// The zone of the system's wall clocks.
    pub(super) zone: TimeZone,
    /// Digits behind the decimal point, of a number without one.
    pub(super) scale: u8,
}

type ConvertFn = fn(&Scalar<'_>, &ConversionSettings) -> Option<Scalar<'static>>;

/// An example of a conversion: JSON in, JSON out; `None` = refused. Wall clocks are
/// those of Europe/Amsterdam, the scale is 6.
#[derive(Clone, Copy, Debug)]
pub struct ConversionExample {
    pub input: &'static str,
    pub output: Option<&'static str>,
}

/// One conversion, by the word that `as` has for it.
#[derive(Clone, Copy, Debug)]
pub struct ConversionDef {
    pub name: &'static str,
    pub description: &'static str,
    pub output: ValueKind,
    /// Needs `scale` beside `as`.
    pub needs_scale: bool,
    pub examples: &'static [ConversionExample],
    pub(super) convert: ConvertFn,
}

const fn gives(input: &'static str, output: &'static str) -> ConversionExample {
    ConversionExample { input, output: Some(output) }
}

const fn refuses(input: &'static str) -> ConversionExample {
    ConversionExample { input, output: None }
}

/// Every conversion, in the order of the documentation.
pub const CONVERSIONS: &[ConversionDef] = &[
    ConversionDef {
        name: "text",
        description: "a number or boolean as text; a text stays as it is",
        output: ValueKind::Text,
        needs_scale: false,
        examples: &[
            gives("42", r#""42""#),
            gives(r#""AMRC""#, r#""AMRC""#),
            gives("true", r#""true""#),
        ],
        convert: |value, _| Some(Scalar::text(value.to_text().into_owned())),
    },
    ConversionDef {
        name: "integer",
        description: "a whole number, also one in a text",
        output: ValueKind::Integer,
        needs_scale: false,
        examples: &[gives("3", "3"), gives(r#""3""#, "3"), refuses(r#""3.5""#), refuses("true")],
        convert: |value, _| Some(integer(whole_number(value)?)),
    },
    ConversionDef {
        name: "boolean",
        description: "true or false, also as 1 and 0: tinyint(1) is written either way",
        output: ValueKind::Boolean,
        needs_scale: false,
        examples: &[
            gives("1", "true"),
            gives("false", "false"),
            gives(r#""0""#, "false"),
            refuses("2"),
        ],
        convert: |value, _| boolean(value),
    },
    ConversionDef {
        name: "cents",
        description: "an amount in whole units, as a decimal text or number, in cents; refused where it is no whole cents",
        output: ValueKind::Integer,
        needs_scale: false,
        examples: &[
            gives(r#""47.000000""#, "4700"),
            gives("2.5", "250"),
            gives("-0.05", "-5"),
            refuses(r#""12.345600""#),
            refuses(r#""JiWg""#),
        ],
        convert: |value, _| cents(value),
    },
    ConversionDef {
        name: "cents_of_base64",
        description: "the same of Debezium's decimal.handling.mode=precise: base64 of the digits, with `scale` digits behind the point",
        output: ValueKind::Integer,
        needs_scale: true,
        examples: &[
            gives(r#""JiWg""#, "250"),
            gives(r#""AA==""#, "0"),
            gives(r#""2dpg""#, "-250"),
            refuses(r#""ALxhAA==""#),
            refuses("2.5"),
        ],
        convert: cents_of_base64,
    },
    ConversionDef {
        name: "date",
        description: "a day as text, also with a zone behind it (isostring), which does not count",
        output: ValueKind::Date,
        needs_scale: false,
        examples: &[
            gives(r#""1985-07-30""#, r#""1985-07-30""#),
            gives(r#""1985-07-30Z""#, r#""1985-07-30""#),
            refuses(r#""1985-07-30T00:00:00Z""#),
            refuses(r#""1985-02-29""#),
        ],
        convert: |value, _| date_of_text(value),
    },
    ConversionDef {
        name: "date_of_days",
        description: "a day as days since 1970, as Debezium writes DATE",
        output: ValueKind::Date,
        needs_scale: false,
        examples: &[
            gives("5689", r#""1985-07-30""#),
            gives("-25568", r#""1899-12-31""#),
            refuses("5689.5"),
        ],
        convert: |value, _| write_date(date_of_days(value)?),
    },
    ConversionDef {
        name: "date_of_wall_ms",
        description: "the day of a wall clock in milliseconds, as Debezium writes DATETIME(0) to DATETIME(3)",
        output: ValueKind::Date,
        needs_scale: false,
        examples: &[gives("1797379140000", r#""2026-12-15""#), refuses(r#""2026-12-15""#)],
        convert: |value, _| write_date(wall_clock(value, MILLISECOND)?.date()),
    },
    ConversionDef {
        name: "date_of_wall_us",
        description: "the same in microseconds, as of DATETIME(4) to DATETIME(6)",
        output: ValueKind::Date,
        needs_scale: false,
        examples: &[gives("1797379140000000", r#""2026-12-15""#)],
        convert: |value, _| write_date(wall_clock(value, MICROSECOND)?.date()),
    },
    ConversionDef {
        name: "date_in_zone",
        description: "the day that an instant has in the mapping's zone",
        output: ValueKind::Date,
        needs_scale: false,
        examples: &[
            gives(r#""2027-02-28T22:59:59.000+00:00""#, r#""2027-02-28""#),
            gives(r#""2026-07-31T22:30:00Z""#, r#""2026-08-01""#),
            gives(r#""2026-07-31T22:30:00""#, r#""2026-07-31""#),
            refuses(r#""2026-07-31""#),
        ],
        convert: |value, settings| day_of_instant(value, settings, &settings.zone),
    },
    ConversionDef {
        name: "date_of_utc",
        description: "the day that an instant has in UTC, as of a birth date that is written as midnight UTC",
        output: ValueKind::Date,
        needs_scale: false,
        examples: &[
            gives(r#""1985-07-30T00:00:00.000+00:00""#, r#""1985-07-30""#),
            gives(r#""1985-07-30T01:00:00+02:00""#, r#""1985-07-29""#),
        ],
        convert: |value, settings| day_of_instant(value, settings, &TimeZone::UTC),
    },
    ConversionDef {
        name: "instant",
        description: "an instant in a variant of ISO 8601, as RFC 3339; without an offset a wall clock of the zone",
        output: ValueKind::Instant,
        needs_scale: false,
        examples: &[
            gives(r#""2026-11-24T10:05:12.331Z""#, r#""2026-11-24T10:05:12.331Z""#),
            gives(r#""2026-12-20T15:40:03.000Z""#, r#""2026-12-20T15:40:03.000Z""#),
            gives(r#""2026-11-24T10:05:12+0000""#, r#""2026-11-24T10:05:12+00:00""#),
            gives(r#""2026-11-24 10:05:12+01""#, r#""2026-11-24T10:05:12+01:00""#),
            gives(r#""2026-11-24 11:05""#, r#""2026-11-24T11:05:00+01:00""#),
            refuses(r#""2026-11-24""#),
            refuses("1795518312000"),
        ],
        convert: instant_of_text,
    },
    ConversionDef {
        name: "instant_of_ms",
        description: "milliseconds since 1970 in UTC",
        output: ValueKind::Instant,
        needs_scale: false,
        examples: &[gives("1795514712000", r#""2026-11-24T10:05:12Z""#)],
        convert: |value, _| write_instant(wall_clock(value, MILLISECOND)?, "Z"),
    },
    ConversionDef {
        name: "instant_of_us",
        description: "microseconds since 1970 in UTC, as Debezium writes a timestamp of PostgreSQL without zone",
        output: ValueKind::Instant,
        needs_scale: false,
        examples: &[gives("1795514712000500", r#""2026-11-24T10:05:12.000500Z""#)],
        convert: |value, _| write_instant(wall_clock(value, MICROSECOND)?, "Z"),
    },
    ConversionDef {
        name: "instant_of_wall_ms",
        description: "a wall clock of the zone in milliseconds, as Debezium writes DATETIME(0) to DATETIME(3); of the double hour in autumn the first, of the hour that is left out in spring one hour later",
        output: ValueKind::Instant,
        needs_scale: false,
        examples: &[
            gives("1795518312000", r#""2026-11-24T11:05:12+01:00""#),
            gives("1782907200500", r#""2026-07-01T12:00:00.500+02:00""#),
            gives("1792895400000", r#""2026-10-25T02:30:00+02:00""#),
            gives("1774751400000", r#""2026-03-29T03:30:00+02:00""#),
        ],
        convert: |value, settings| instant_in_zone(wall_clock(value, MILLISECOND)?, settings),
    },
    ConversionDef {
        name: "instant_of_wall_us",
        description: "the same in microseconds, as of DATETIME(4) to DATETIME(6)",
        output: ValueKind::Instant,
        needs_scale: false,
        examples: &[gives("1795518312000000", r#""2026-11-24T11:05:12+01:00""#)],
        convert: |value, settings| instant_in_zone(wall_clock(value, MICROSECOND)?, settings),
    },
    ConversionDef {
        name: "instant_of_days",
        description: "the start of a day in the zone, of days since 1970",
        output: ValueKind::Instant,
        needs_scale: false,
        examples: &[gives("20780", r#""2026-11-23T00:00:00+01:00""#)],
        convert: |value, settings| {
            instant_in_zone(
                date_of_days(value)?.to_datetime(jiff::civil::Time::midnight()),
                settings,
            )
        },
    },
];

/// The conversion that `as` names.
#[must_use]
pub fn find_conversion(name: &str) -> Option<&'static ConversionDef> {
    CONVERSIONS.iter().find(|conversion| conversion.name == name)
}

fn integer(number: i64) -> Scalar<'static> {
    Scalar::Number(number.to_string().into())
}

/// A number without a fraction, as a number or a text.
fn whole_number(value: &Scalar<'_>) -> Option<i64> {
    match value {
        Scalar::Boolean(_) => None,
        Scalar::Number(text) | Scalar::Text(text) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| text.parse().ok())?
        }
    }
}

fn boolean(value: &Scalar<'_>) -> Option<Scalar<'static>> {
    match value.to_text().as_ref() {
        "1" | "true" => Some(Scalar::Boolean(true)),
        "0" | "false" => Some(Scalar::Boolean(false)),
        _ => None,
    }
}

fn cents(value: &Scalar<'_>) -> Option<Scalar<'static>> {
    if matches!(value, Scalar::Boolean(_)) {
        return None;
    }
    let text = value.to_text();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.as_ref()),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let (two, rest) = fraction.split_at(fraction.len().min(2));
    if rest.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let cents: i64 = format!("{whole}{two:0<2}").parse().ok()?;
    Some(integer(sign * cents))
}

fn cents_of_base64(value: &Scalar<'_>, settings: &ConversionSettings) -> Option<Scalar<'static>> {
    let Scalar::Text(text) = value else {
        return None;
    };
    let bytes = STANDARD.decode(text.as_bytes()).ok()?;
    let (first, length) = (*bytes.first()?, bytes.len());
    if length > 16 {
        return None;
    }
    // Two's complement, most significant byte first.
    let fill = if first & 0x80 == 0 { 0 } else { 0xff };
    let mut whole = [fill; 16];
    whole[16 - length..].copy_from_slice(&bytes);
    let hundredfold = i128::from_be_bytes(whole).checked_mul(100)?;
    let unit = 10_i128.checked_pow(u32::from(settings.scale))?;
    if hundredfold % unit != 0 {
        return None;
    }
    Some(integer(i64::try_from(hundredfold / unit).ok()?))
}

/// `YYYY-MM-DD`, in the years that a canonical date has.
fn write_date(date: Date) -> Option<Scalar<'static>> {
    (1..=9999).contains(&date.year()).then(|| Scalar::text(format!("{date}")))
}

fn date_of_text(value: &Scalar<'_>) -> Option<Scalar<'static>> {
    let Scalar::Text(text) = value else {
        return None;
    };
    let (day, zone) = text.split_at_checked(10)?;
    if !zone.is_empty() && parse_offset(zone).is_none() {
        return None;
    }
    write_date(parse_date(day)?)
}

/// Exactly `YYYY-MM-DD`.
fn parse_date(text: &str) -> Option<Date> {
    form::Date::parse(text)?;
    text.parse().ok()
}

fn date_of_days(value: &Scalar<'_>) -> Option<Date> {
    if !matches!(value, Scalar::Number(_)) {
        return None;
    }
    let days = whole_number(value)?;
    let hours = days.checked_mul(24)?;
    // Whole days, wherever jiff's own limits for a span lie.
    let duration = SignedDuration::new(hours.checked_mul(3600)?, 0);
    jiff::civil::date(1970, 1, 1).checked_add(duration).ok()
}

/// Units of a wall clock, in a second.
const MILLISECOND: i64 = 1_000;
const MICROSECOND: i64 = 1_000_000;

/// The date and time of a number of `units` since 1970.
fn wall_clock(value: &Scalar<'_>, units: i64) -> Option<DateTime> {
    if !matches!(value, Scalar::Number(_)) {
        return None;
    }
    let number = whole_number(value)?;
    let nanos = number.rem_euclid(units) * (1_000_000_000 / units);
    let duration = SignedDuration::new(number.div_euclid(units), i32::try_from(nanos).ok()?);
    jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0).checked_add(duration).ok()
}

/// A wall clock of the zone, with its offset.
fn instant_in_zone(wall: DateTime, settings: &ConversionSettings) -> Option<Scalar<'static>> {
    let zoned = wall.to_zoned(settings.zone.clone()).ok()?;
    let offset = zoned.offset().seconds();
    // RFC 3339 has no seconds of an offset, as local mean times had.
    if offset % 60 != 0 {
        return write_instant(zoned.with_time_zone(TimeZone::UTC).datetime(), "Z");
    }
    write_instant(zoned.datetime(), &write_offset(offset))
}

fn write_offset(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

fn write_instant(at: DateTime, offset: &str) -> Option<Scalar<'static>> {
    let nanos = at.subsec_nanosecond();
    let fraction = match (nanos % 1_000_000, nanos % 1_000) {
        _ if nanos == 0 => String::new(),
        (0, _) => format!(".{:03}", nanos / 1_000_000),
        (_, 0) => format!(".{:06}", nanos / 1_000),
        _ => format!(".{nanos:09}"),
    };
    let date = at.date();
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    (1..=9999).contains(&date.year()).then(|| {
        Scalar::text(format!("{date}T{hour:02}:{minute:02}:{second:02}{fraction}{offset}"))
    })
}

/// A date and a time, and the text of the offset behind it.
fn split_instant<'t>(value: &'t Scalar<'_>) -> Option<(DateTime, &'t str)> {
    let Scalar::Text(text) = value else {
        return None;
    };
    let (day, rest) = text.split_at_checked(10)?;
    let time = rest.strip_prefix(['T', 't', ' '])?;
    let end = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (time, offset) = time.split_at(end);
    let is_clock = |c: char| c.is_ascii_digit() || matches!(c, ':' | '.');
    if time.len() < 5 || !time.chars().all(is_clock) {
        return None;
    }
    let date = parse_date(day)?;
    let time: jiff::civil::Time = time.parse().ok()?;
    Some((date.to_datetime(time), offset))
}

/// The seconds of `Z`, `+01`, `+0100` or `+01:00`.
fn parse_offset(text: &str) -> Option<i32> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, text.get(1..)?),
        b'-' => (-1, text.get(1..)?),
        _ => return None,
    };
    let (hours, minutes) = match digits.len() {
        2 => (digits, "00"),
        4 => digits.split_at_checked(2)?,
        5 => digits.split_once(':').filter(|(hours, _)| hours.len() == 2)?,
        _ => return None,
    };
    let number =
        |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?;
    let (hours, minutes): (i32, i32) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60)
}

fn instant_of_text(value: &Scalar<'_>, settings: &ConversionSettings) -> Option<Scalar<'static>> {
    let (at, offset) = split_instant(value)?;
    if TextFormat::Instant.matches(&value.to_text()) {
        return Some(Scalar::text(value.to_text().into_owned()));
    }
    match offset {
        "" => instant_in_zone(at, settings),
        "Z" | "z" => write_instant(at, "Z"),
        offset => write_instant(at, &write_offset(parse_offset(offset)?)),
    }
}

/// The time of an instant that says its offset.
pub(super) fn parse_timestamp(value: &Scalar<'_>) -> Option<Timestamp> {
    let (at, offset) = split_instant(value)?;
    let offset = Offset::from_seconds(parse_offset(offset)?).ok()?;
    offset.to_timestamp(at).ok()
}

/// The day of an instant in `zone`; one without an offset is of its own day.
fn day_of_instant(
    value: &Scalar<'_>,
    settings: &ConversionSettings,
    zone: &TimeZone,
) -> Option<Scalar<'static>> {
    let (at, offset) = split_instant(value)?;
    let zoned = match offset {
        "" => at.to_zoned(settings.zone.clone()).ok()?,
        _ => parse_timestamp(value)?.to_zoned(TimeZone::UTC),
    };
    write_date(zoned.with_time_zone(zone.clone()).date())
}

#[cfg(test)]
mod tests {
    use super::super::path::scalar_of;
    use super::super::value::{ValueLimits, parse_text};
    use super::*;

    fn settings() -> ConversionSettings {
        ConversionSettings { zone: TimeZone::get("Europe/Amsterdam").unwrap(), scale: 6 }
    }

    fn parse_scalar(text: &str) -> Scalar<'static> {
        let value = parse_text(text, ValueLimits { bytes: 1 << 16, keys: 1 }).unwrap();
        match scalar_of(&value).unwrap().unwrap() {
            Scalar::Text(text) => Scalar::text(text.into_owned()),
            Scalar::Number(text) => Scalar::Number(text.into_owned().into()),
            Scalar::Boolean(value) => Scalar::Boolean(value),
        }
    }

    #[test]
    fn conversion_examples_hold() {
        for conversion in CONVERSIONS {
            assert!(!conversion.examples.is_empty(), "{}", conversion.name);
            for example in conversion.examples {
                let found = (conversion.convert)(&parse_scalar(example.input), &settings());
                let want = example.output.map(parse_scalar);
                assert_eq!(found, want, "{} of {}", conversion.name, example.input);
            }
        }
    }

    #[test]
    fn converted_dates_and_instants_have_their_form() {
        for conversion in CONVERSIONS {
            let form = match conversion.output {
                ValueKind::Date => TextFormat::Date,
                ValueKind::Instant => TextFormat::Instant,
                _ => continue,
            };
            for output in conversion.examples.iter().filter_map(|example| example.output) {
                assert!(form.matches(&parse_scalar(output).to_text()), "{}", conversion.name);
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn conversions_never_panic(text in ".{0,24}", number in "-?[0-9]{1,25}(\\.[0-9]{1,9})?") {
            for conversion in CONVERSIONS {
                for value in [Scalar::text(text.clone()), Scalar::text(number.clone()), Scalar::Number(number.clone().into())] {
                    let found = (conversion.convert)(&value, &settings());
                    let form = match conversion.output {
                        ValueKind::Date => TextFormat::Date,
                        ValueKind::Instant => TextFormat::Instant,
                        _ => continue,
                    };
                    if let Some(found) = found {
                        proptest::prop_assert!(form.matches(&found.to_text()), "{}", conversion.name);
                    }
                }
            }
        }
    }
}
