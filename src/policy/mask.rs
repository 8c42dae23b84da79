//! Masks: named functions from one value to a poorer value.
//!
//! A mask sees its input and what it `needs` beside it, nothing else. It reads
//! no record, no clock and no key, and what it is unsure of it leaves out.
//! [`MASKS`] is the list of all of them: help, docs and tests follow from it.

mod argument;
mod table;

use std::collections::BTreeMap;
use std::fmt;

use argument::Arguments;
pub use argument::{Allowed, ArgDef, ArgLiteral, ArgProblem, ArgValue};
pub use table::MASKS;

use super::form::{date_of, postcode_digits};
use super::text;

/// A row of [`MASKS`].
#[derive(Debug)]
pub struct MaskDef {
    /// Its name in a recipient's file.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub does: &'static str,
    /// The settings it knows.
    pub arguments: &'static [ArgDef],
    /// What goes in and what comes out, run by a test.
    pub examples: &'static [Example],
    compile: fn(&mut Arguments<'_>) -> Option<Mask>,
}

/// What a mask makes of one value.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// The value of the field; none where the record lacks it.
    pub input: Option<&'static str>,
    /// What stands beside it, in the order of [`Mask::needs`].
    pub needs: &'static [Option<&'static str>],
    /// The settings that differ from their defaults.
    pub arguments: &'static [(&'static str, ArgLiteral)],
    /// The value that comes out; none where the field is left out.
    pub output: Option<&'static str>,
}

impl MaskDef {
    /// Finds a row by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static MaskDef> {
        MASKS.iter().find(|def| def.name == name)
    }

    /// Makes the mask with the settings of one output field.
    ///
    /// # Errors
    ///
    /// Every setting that is unknown, missing or not what it may be.
    pub fn build(&self, given: &BTreeMap<String, ArgValue>) -> Result<Mask, Vec<ArgProblem>> {
        let mut arguments = Arguments::new(given, self.arguments);
        let mask = (self.compile)(&mut arguments);
        let problems = arguments.into_problems();
        match mask {
            Some(mask) if problems.is_empty() => Ok(mask),
            _ => Err(problems),
        }
    }
}

/// Which part of a name a surname mask looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SurnameKey {
    /// As the library's country has it: `kernwoord` in NL, `full` elsewhere.
    ByCountry,
    /// Without the prefix field, and without one particle before the surname.
    Kernwoord,
    /// The prefix and the surname, as they stand.
    Full,
}

/// The ages from one to the next band.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgeBand {
    /// The first age of the band.
    pub from: u16,
    /// What is shown for it, as `12-17` or `65+`.
    pub label: String,
}

/// A mask with its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mask {
    /// The first letters of a surname.
    FirstLetters {
        /// How many letters.
        count: usize,
        /// Of which part of the name.
        key: SurnameKey,
    },
    /// The first letter of the initials, or else of the given name.
    Initial {
        /// `IJ` and `ij` count as one letter.
        ij_is_one: bool,
    },
    /// The last digits of a number.
    LastDigits {
        /// How many digits.
        count: usize,
        /// Fewer hidden digits than these: nothing is shown.
        min_hidden: usize,
    },
    /// Initials, prefix and surname.
    FullName,
    /// The year of a date.
    Year,
    /// The year and month of a date.
    Month,
    /// The band of an age on a day.
    AgeBand {
        /// The field of the source that has the day.
        at: String,
        /// Ascending by age, at least one.
        bands: Vec<AgeBand>,
    },
    /// The four digits of a postcode.
    PostcodeArea,
    /// `true` where there is a value.
    Present,
    /// The same value for every record.
    Constant {
        /// The value.
        value: String,
    },
    /// The value in lower case.
    Lowercase,
    /// A keyed hash; made by the engine, which has the recipient's key.
    Pseudonym {
        /// The field of the source whose month is part of what is hashed, so that
        /// nothing joins over months.
        month_of: Option<String>,
    },
    /// The printer's lines; made by the engine of other output fields.
    ShelfSlip {
        /// The output field that is the first line, and begins the second.
        mark: String,
        /// The output field that ends the second line.
        initial: String,
        /// The output fields that follow, a line each.
        lines: Vec<String>,
    },
}

/// What a mask looks at beside its input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// A field of the kind that the input is of, by its path from the root.
    Sibling(&'static str),
    /// A field of the source, by the path that a setting names.
    Source(String),
    /// The library's country: the patron's `country`, or else the first two
    /// letters of the ISIL.
    Country,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Need::Sibling(path) => f.write_str(path),
            Need::Source(path) => f.write_str(path),
            Need::Country => f.write_str("country"),
        }
    }
}

/// How often a mask showed less than it was asked for, to be counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noticed {
    /// Surnames with no more letters than were to be shown.
    pub short_name: u32,
    /// Card numbers that would have hidden too few digits.
    pub short_card: u32,
}

impl std::ops::AddAssign for Noticed {
    fn add_assign(&mut self, other: Self) {
        self.short_name += other.short_name;
        self.short_card += other.short_card;
    }
}

impl Mask {
    /// What the mask looks at beside its input, in the order of [`Mask::apply`].
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        const PREFIX: Need = Need::Sibling("surname_prefix");
        match self {
            Mask::FirstLetters { key, .. } => match key {
                SurnameKey::ByCountry => vec![PREFIX, Need::Country],
                SurnameKey::Kernwoord => Vec::new(),
                SurnameKey::Full => vec![PREFIX],
            },
            Mask::Initial { .. } => vec![Need::Sibling("given_name")],
            Mask::FullName => vec![Need::Sibling("initials"), PREFIX],
            Mask::AgeBand { at, .. } => vec![Need::Source(at.clone())],
            Mask::Pseudonym { month_of } => {
                let needs = month_of.iter();
                needs.map(|path| Need::Source(path.clone())).collect()
            }
            Mask::PostcodeArea => vec![Need::Sibling("address.country"), Need::Country],
            Mask::LastDigits { .. }
            | Mask::Year
            | Mask::Month
            | Mask::Present
            | Mask::Constant { .. }
            | Mask::Lowercase
            | Mask::ShelfSlip { .. } => Vec::new(),
        }
    }

    /// Returns whether the mask counts as hiding its input: whatever that is, at
    /// least half of the digits and four of them stay hidden, and no more than
    /// three letters show.
    ///
    /// Year and month leave a birth year readable, lower case leaves all, and
    /// so do age bands of less than five years, near enough. A postcode's area is
    /// that of thousands. A slip shows what other output fields show already.
    #[must_use]
    pub fn hides(&self) -> bool {
        match self {
            Mask::FirstLetters { count, .. } => *count <= LETTERS_SHOWN_MAX,
            Mask::LastDigits { count, min_hidden } => {
                *min_hidden >= DIGITS_HIDDEN_MIN && min_hidden >= count
            }
            Mask::Initial { .. }
            | Mask::PostcodeArea
            | Mask::Present
            | Mask::Constant { .. }
            | Mask::Pseudonym { .. }
            | Mask::ShelfSlip { .. } => true,
            Mask::AgeBand { bands, .. } => are_wide(bands.iter().map(|band| band.from)),
            Mask::FullName | Mask::Year | Mask::Month | Mask::Lowercase => false,
        }
    }

    /// Appends what the mask shows of `input` to `out`; false where that is
    /// nothing, and `out` is then as it was.
    ///
    /// `needs` has a place for each of [`Mask::needs`], in that order; a place
    /// that is none or not there is missing. What is empty after cleaning is
    /// missing too. For [`Mask::Pseudonym`] and [`Mask::ShelfSlip`], which the
    /// engine makes, this is always false; [`Mask::Constant`] looks at nothing.
    pub fn apply(
        &self,
        input: Option<&str>,
        needs: &[Option<&str>],
        out: &mut String,
        noticed: &mut Noticed,
    ) -> bool {
        let start = out.len();
        let input = present(input);
        let need = |at: usize| present(needs.get(at).copied().flatten());
        match self {
            Mask::FirstLetters { count, key } => {
                let full = match key {
                    SurnameKey::ByCountry => need(1) != Some("NL"),
                    SurnameKey::Kernwoord => false,
                    SurnameKey::Full => true,
                };
                let prefix = if full { Some(need(0)) } else { None };
                noticed.short_name += u32::from(first_letters(input, prefix, *count, out));
            }
            Mask::Initial { ij_is_one } => initial(input, need(0), *ij_is_one, out),
            Mask::LastDigits { count, min_hidden } => {
                noticed.short_card += u32::from(last_digits(input, *count, *min_hidden, out));
            }
            Mask::FullName => full_name([need(0), need(1), input], out),
            Mask::Year => push(dated(input, 4), out),
            Mask::Month => push(dated(input, 7), out),
            Mask::AgeBand { bands, .. } => push(age_band(input, need(0), bands), out),
            Mask::PostcodeArea => push(postcode_area(input, need(0).or(need(1))), out),
            Mask::Present => push(input.map(|_| "true"), out),
            Mask::Constant { value } => out.push_str(value),
            Mask::Lowercase => lowercase(input, out),
            Mask::Pseudonym { .. } | Mask::ShelfSlip { .. } => {}
        }
        out.len() > start
    }
}

/// Makes the lines of a shelf slip: the mark alone, also where there is none;
/// the mark and the initial with a space between, where there is one of them;
/// then each of the rest that there is. `line` gets each of them, as one line that
/// a printer can be given; `buffer` is of no meaning.
pub fn slip_lines<'a>(
    mark: Option<&'a str>,
    initial: Option<&'a str>,
    rest: impl Iterator<Item = Option<&'a str>>,
    buffer: &mut String,
    mut line: impl FnMut(&str),
) {
    buffer.clear();
    push_line(mark, buffer);
    line(buffer);
    let marked = buffer.len();
    if marked > 0 {
        buffer.push(' ');
    }
    if !push_line(initial, buffer) {
        buffer.truncate(marked);
    }
    if !buffer.is_empty() {
        line(buffer);
    }
    for one in rest {
        buffer.clear();
        if push_line(one, buffer) {
            line(buffer);
        }
    }
}

/// Appends a value as a printer can be given it; false where there is nothing to
/// see of it, and `out` is then as it was.
fn push_line(value: Option<&str>, out: &mut String) -> bool {
    let start = out.len();
    text::push_printable(value.unwrap_or_default(), out);
    let seen = out.get(start..).is_some_and(|added| !text::is_blank(added));
    if !seen {
        out.truncate(start);
    }
    seen
}

/// A mask that shows more letters of a name hides nothing.
const LETTERS_SHOWN_MAX: usize = 3;
/// A mask that may leave fewer digits hidden hides nothing.
const DIGITS_HIDDEN_MIN: usize = 4;
/// Bands of fewer years leave a year of birth readable.
const BAND_YEARS_MIN: u16 = 5;

/// Returns whether these first ages of bands, ascending, are far enough apart.
pub(super) fn are_wide(ages: impl Iterator<Item = u16> + Clone) -> bool {
    let next = ages.clone().skip(1);
    ages.zip(next)
        .all(|(from, next)| next - from >= BAND_YEARS_MIN)
}

/// Drops a value of which cleaning leaves nothing.
fn present(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !text::is_blank(value))
}

fn push(value: Option<&str>, out: &mut String) {
    out.push_str(value.unwrap_or(""));
}

/// The words before a Dutch surname that do not count, longest first where one
/// begins another.
const PARTICLES: &[&str] = &[
    "'s", "'t", "aan de", "bij de", "d'", "da", "de la", "de", "del", "den", "der", "di", "dos",
    "du", "el", "in 't", "in den", "in het", "l'", "la", "le", "lo", "op 't", "op den", "op de",
    "op het", "ten", "ter", "te", "uit de", "v. d.", "v.d.", "v.", "v/d", "vd", "van 't", "van't",
    "van den", "van der", "van de", "van het", "van", "von", "zur",
];

/// Cuts one particle and its space off the start of a clean surname.
fn without_particle(surname: &str) -> &str {
    if !surname.contains(' ') {
        return surname;
    }
    PARTICLES
        .iter()
        .filter_map(|particle| {
            let (start, rest) = surname.split_at_checked(particle.len())?;
            let rest = rest.strip_prefix(' ')?;
            start.eq_ignore_ascii_case(particle).then_some(rest)
        })
        .min_by_key(|rest| rest.len())
        .unwrap_or(surname)
}

/// Appends the first letters of a surname, the first alone where it has no more
/// than `count`; true for such a short one.
///
/// `prefix` is none where the prefix field and a particle do not count.
fn first_letters(
    surname: Option<&str>,
    prefix: Option<Option<&str>>,
    count: usize,
    out: &mut String,
) -> bool {
    let Some(surname) = surname else {
        return false;
    };
    let surname = text::clean_name(surname);
    match prefix {
        None => push_letters(text::letters(without_particle(&surname)), count, out),
        Some(None) => push_letters(text::letters(&surname), count, out),
        Some(Some(prefix)) => {
            let prefix = text::clean_name(prefix);
            let whole = text::letters(&prefix).chain(text::letters(&surname));
            push_letters(whole, count, out)
        }
    }
}

fn push_letters<'a>(
    mut letters: impl Iterator<Item = &'a str>,
    count: usize,
    out: &mut String,
) -> bool {
    let Some(first) = letters.next() else {
        return false;
    };
    out.push_str(first);
    let after_first = out.len();
    for letter in letters.by_ref().take(count.saturating_sub(1)) {
        out.push_str(letter);
    }
    let short = letters.next().is_none();
    if short {
        out.truncate(after_first);
    }
    short
}

fn initial(initials: Option<&str>, given_name: Option<&str>, ij_is_one: bool, out: &mut String) {
    for name in [initials, given_name].into_iter().flatten() {
        let name = text::clean_name(name);
        let Some((letter, rest)) = text::first_letter(&name) else {
            continue;
        };
        out.push_str(letter);
        let second = match letter {
            "I" => "J",
            "i" => "j",
            _ => return,
        };
        if ij_is_one && text::first_cluster(rest) == Some(second) {
            out.push_str(second);
        }
        return;
    }
}

/// Appends the last digits of a number, none where too few would stay hidden;
/// true for such a short one.
fn last_digits(number: Option<&str>, count: usize, min_hidden: usize, out: &mut String) -> bool {
    let Some(number) = number else {
        return false;
    };
    let hidden = text::ascii_digits(number).count().saturating_sub(count);
    if hidden < min_hidden {
        return true;
    }
    out.extend(text::ascii_digits(number).skip(hidden));
    false
}

fn full_name(parts: [Option<&str>; 3], out: &mut String) {
    for (at, part) in parts.into_iter().flatten().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        out.push_str(&text::clean(part));
    }
}

/// Yields the first bytes of a date, or of an instant as it is written.
fn dated(input: Option<&str>, length: usize) -> Option<&str> {
    let input = input?;
    date_of(input).and_then(|_| input.get(..length))
}

fn age_band<'a>(birth: Option<&str>, day: Option<&str>, bands: &'a [AgeBand]) -> Option<&'a str> {
    let age = date_of(day?)?.full_years_since(date_of(birth?)?)?;
    let band = bands.iter().rev().find(|band| band.from <= age)?;
    Some(&band.label)
}

/// Names the bands that begin at these ages.
fn age_bands(ages: &[u16]) -> Vec<AgeBand> {
    let ends = ages.iter().skip(1).map(|next| Some(next - 1));
    ages.iter()
        .zip(ends.chain([None]))
        .map(|(&from, end)| AgeBand {
            from,
            label: match end {
                Some(end) if end == from => from.to_string(),
                Some(end) => format!("{from}-{end}"),
                None => format!("{from}+"),
            },
        })
        .collect()
}

fn postcode_area<'a>(postcode: Option<&'a str>, country: Option<&str>) -> Option<&'a str> {
    postcode_digits(postcode?, country?)
}

fn lowercase(value: Option<&str>, out: &mut String) {
    let Some(value) = value else {
        return;
    };
    let value = text::clean(value);
    if value.is_ascii() {
        let start = out.len();
        out.push_str(&value);
        if let Some(added) = out.get_mut(start..) {
            added.make_ascii_lowercase();
        }
    } else {
        out.push_str(&value.to_lowercase());
    }
}

#[cfg(test)]
mod tests;
