//! Masks: named functions from one value to a poorer one.
//!
//! A mask sees its input and what it `needs` beside it, and reads no record, clock or key. Each
//! mask is a file of this folder: its arguments, rule, and row with examples.

mod age_band;
mod arguments;
mod constant;
mod first_letters;
mod full_name;
mod initial;
mod last_digits;
mod lowercase;
mod month;
mod or_else;
mod postcode;
mod postcode_area;
mod present;
mod pseudonym;
mod shelf_name;
mod shelf_slip;
mod year;

use std::collections::BTreeMap;
use std::fmt;

pub(crate) use age_band::are_wide_age_bands;
use arguments::ArgumentReader;
pub use arguments::{ArgConstraint, ArgDef, ArgError, ArgLiteral, ArgValue};
pub use first_letters::SurnameKey;
pub use pseudonym::{PSEUDONYM_EXAMPLE, PSEUDONYM_PATTERN};
pub use shelf_slip::{ShelfSlip, for_each_slip_line};

use super::catalogue::FieldType;
use super::form::TextFormat;
use super::text;

/// Declares the masks, in the order of the documentation.
macro_rules! masks {
    ($($file:ident::$mask:ident),+ $(,)?) => {
        /// Every mask.
        pub const MASKS: &[MaskDef] = &[$($file::DEF),+];

        /// A mask with its arguments.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Mask {
            $($mask($file::$mask)),+
        }

        impl Mask {
            /// Returns the mask's row of [`MASKS`].
            #[must_use]
            pub fn def(&self) -> &'static MaskDef {
                match self {
                    $(Mask::$mask(_) => &$file::DEF),+
                }
            }

            fn rule(&self) -> &dyn MaskRule {
                match self {
                    $(Mask::$mask(mask) => mask),+
                }
            }

            /// Appends the output for `input` to `out`. Returns `false` and leaves `out` unchanged
            /// if there is none, as for masks that the engine computes.
            ///
            /// `needs` holds the values of [`Mask::needs`], in that order.
            pub fn apply(
                &self,
                input: Option<&str>,
                needs: &[Option<&str>],
                out: &mut String,
                short_values: &mut ShortValueCounts,
            ) -> bool {
                let start = out.len();
                let input = MaskInput { value: input, needs };
                match self {
                    $(Mask::$mask(mask) => mask.apply(input, out, short_values)),+
                }
                out.len() > start
            }
        }
    };
}

masks! {
    first_letters::FirstLetters,
    initial::Initial,
    last_digits::LastDigits,
    full_name::FullName,
    year::Year,
    month::Month,
    age_band::AgeBand,
    postcode_area::PostcodeArea,
    postcode::Postcode,
    present::Present,
    constant::Constant,
    lowercase::Lowercase,
    or_else::OrElse,
    shelf_name::ShelfName,
    pseudonym::Pseudonym,
    shelf_slip::ShelfSlip,
}

impl Mask {
    /// Returns what the mask reads beside its input, in the order of [`Mask::apply`].
    #[must_use]
    pub fn needs(&self) -> Vec<MaskNeed> {
        self.rule().needs()
    }

    /// Returns how much of its input the mask shows.
    #[must_use]
    pub fn exposure(&self) -> Exposure {
        self.rule().exposure()
    }

    /// Returns how much the mask shows of one of its needs.
    #[must_use]
    pub fn need_exposure(&self, need: &MaskNeed) -> Exposure {
        match need {
            MaskNeed::Country => Exposure::OneBit,
            MaskNeed::Sibling(_) | MaskNeed::SourceField(_) => self.rule().need_exposure(),
        }
    }

    /// Returns what its outputs look like.
    #[must_use]
    pub fn output_form(&self) -> MaskOutputForm {
        let mut form = self.rule().output_form();
        if form.example.is_empty() {
            let mut outputs = self.def().examples.iter().filter_map(|one| one.output);
            form.example = outputs.next().unwrap_or_default().to_owned();
        }
        form
    }

    /// Returns the mask as the canonical form has it: `name(arguments)`.
    #[must_use]
    pub fn canonical(&self) -> String {
        self.with_arguments("(", &self.rule().canonical_arguments())
    }

    /// Returns the mask as people read it: `name (arguments)`.
    #[must_use]
    pub fn describe(&self) -> String {
        self.with_arguments(" (", &self.rule().describe_arguments())
    }

    fn with_arguments(&self, open: &str, arguments: &str) -> String {
        let name = self.def().name;
        if arguments.is_empty() { name.to_owned() } else { format!("{name}{open}{arguments})") }
    }
}

/// What each mask implements.
trait MaskRule {
    fn needs(&self) -> Vec<MaskNeed> {
        Vec::new()
    }

    fn exposure(&self) -> Exposure {
        Exposure::Full
    }

    /// Returns how much is shown of a field that the mask needs.
    fn need_exposure(&self) -> Exposure {
        self.exposure()
    }

    /// Returns what outputs look like; without an example, one of the mask's row is taken.
    fn output_form(&self) -> MaskOutputForm {
        MaskOutputForm::default()
    }

    /// Returns all arguments; a change makes another policy version.
    fn canonical_arguments(&self) -> String {
        String::new()
    }

    /// Returns the arguments worth showing to people.
    fn describe_arguments(&self) -> String {
        String::new()
    }

    /// Appends the output to `out`, or nothing. Masks without it are computed by the engine.
    fn apply(&self, _: MaskInput<'_>, _: &mut String, _: &mut ShortValueCounts) {}
}

/// A value and those beside it; a value that cleaning leaves empty is missing.
#[derive(Clone, Copy)]
struct MaskInput<'a> {
    value: Option<&'a str>,
    needs: &'a [Option<&'a str>],
}

impl<'a> MaskInput<'a> {
    fn value(self) -> Option<&'a str> {
        self.value.filter(|value| !text::is_blank(value))
    }

    fn need(self, index: usize) -> Option<&'a str> {
        self.needs.get(index).copied().flatten().filter(|value| !text::is_blank(value))
    }
}

/// A row of [`MASKS`].
#[derive(Debug)]
pub struct MaskDef {
    /// Its name in a recipient's file.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub description: &'static str,
    /// The same in Dutch.
    pub description_nl: &'static str,
    /// The fields it can be used on.
    pub takes: AcceptedTypes,
    pub arguments: &'static [ArgDef],
    /// Inputs and outputs, checked by a test.
    pub examples: &'static [MaskExample],
    compile: fn(&mut ArgumentReader<'_>) -> Option<Mask>,
}

impl MaskDef {
    /// Finds a row by its name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static MaskDef> {
        MASKS.iter().find(|def| def.name == name)
    }

    /// Builds the mask with the arguments of one output field.
    ///
    /// # Errors
    ///
    /// Every argument that is unknown, missing or invalid.
    pub fn build(&self, given: &BTreeMap<String, ArgValue>) -> Result<Mask, Vec<ArgError>> {
        let mut arguments = ArgumentReader::new(given, self.arguments);
        let mask = (self.compile)(&mut arguments);
        let problems = arguments.into_errors();
        match mask {
            Some(mask) if problems.is_empty() => Ok(mask),
            _ => Err(problems),
        }
    }
}

/// The fields that a mask accepts.
#[derive(Debug)]
pub struct AcceptedTypes {
    pub description: &'static str,
    pub accepts: fn(FieldType) -> bool,
}

const ANY_FIELD: AcceptedTypes = AcceptedTypes { description: "any field", accepts: |_| true };
const PLAIN_TEXT: AcceptedTypes = AcceptedTypes {
    description: "a field of type `text`",
    accepts: |field| field == FieldType::Text(None),
};
const ANY_TEXT: AcceptedTypes = AcceptedTypes {
    description: "a field that holds text",
    accepts: |field| matches!(field, FieldType::Text(_)),
};
const TEXT_OR_CARD_NUMBER: AcceptedTypes = AcceptedTypes {
    accepts: |field| matches!(field, FieldType::Text(_) | FieldType::CardNumber),
    ..ANY_TEXT
};
const DATE: AcceptedTypes = AcceptedTypes {
    description: "a date",
    accepts: |field| field == FieldType::Text(Some(TextFormat::Date)),
};
const DATE_OR_INSTANT: AcceptedTypes =
    AcceptedTypes { description: "a date or an instant", accepts: FieldType::is_date_or_instant };

/// What a mask makes of one value.
#[derive(Clone, Copy, Debug)]
pub struct MaskExample {
    /// `None` if the record lacks the field.
    pub input: Option<&'static str>,
    /// The values of [`Mask::needs`], in that order.
    pub needs: NeedValues,
    /// The arguments that differ from their defaults.
    pub arguments: ExampleArguments,
    /// `None` if the field is left out.
    pub output: Option<&'static str>,
}

type NeedValues = &'static [Option<&'static str>];
type ExampleArguments = &'static [(&'static str, ArgLiteral)];

const fn example(
    input: &'static str,
    needs: NeedValues,
    arguments: ExampleArguments,
    output: Option<&'static str>,
) -> MaskExample {
    MaskExample { input: Some(input), needs, arguments, output }
}

const fn input_only(input: &'static str, output: Option<&'static str>) -> MaskExample {
    example(input, &[], &[], output)
}

const fn without_input(
    needs: NeedValues,
    arguments: ExampleArguments,
    output: Option<&'static str>,
) -> MaskExample {
    MaskExample { input: None, needs, arguments, output }
}

/// What a mask reads beside its input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MaskNeed {
    /// A field of the input's kind, by its path from the root.
    Sibling(&'static str),
    /// A field of the source, by the path that an argument names.
    SourceField(String),
    /// The library's country: the patron's `country`, or else the first two letters of the ISIL.
    Country,
}

impl fmt::Display for MaskNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MaskNeed::Sibling(path) => f.write_str(path),
            MaskNeed::SourceField(path) => f.write_str(path),
            MaskNeed::Country => f.write_str("country"),
        }
    }
}

/// How much of a field is seen, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exposure {
    /// One bit, as whether there is a value.
    OneBit,
    /// Which values are equal: a keyed hash.
    Pseudonym,
    /// A part that hides the value itself: at most three letters; digits of which at least half,
    /// and four, stay hidden; an age band of at least five years.
    Part,
    /// The day, month or year of a date or an instant.
    Date,
    /// All of it, or so much that it counts as all.
    Full,
}

impl Exposure {
    /// Returns the words for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Exposure::OneBit => "one bit",
            Exposure::Pseudonym => "a pseudonym",
            Exposure::Part => "a part",
            Exposure::Date => "its date",
            Exposure::Full => "whole",
        }
    }
}

/// What the outputs of a mask look like: always text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaskOutputForm {
    /// The only outputs; empty for any.
    pub words: Vec<String>,
    /// A regular expression (ECMA-262 and Rust alike) that every output matches as a whole.
    pub pattern: Option<String>,
    /// An output.
    pub example: String,
}

impl MaskOutputForm {
    fn of_words(words: impl IntoIterator<Item = String>) -> MaskOutputForm {
        let words: Vec<String> = words.into_iter().collect();
        MaskOutputForm { example: words.first().cloned().unwrap_or_default(), words, pattern: None }
    }

    fn of_pattern(pattern: impl Into<String>, example: impl Into<String>) -> MaskOutputForm {
        MaskOutputForm { words: Vec::new(), pattern: Some(pattern.into()), example: example.into() }
    }
}

/// How often a mask showed less than it was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShortValueCounts {
    /// Surnames with no more letters than were to be shown.
    pub short_names: u32,
    /// Card numbers that would have hidden too few digits.
    pub short_card_numbers: u32,
}

impl std::ops::AddAssign for ShortValueCounts {
    fn add_assign(&mut self, other: Self) {
        self.short_names += other.short_names;
        self.short_card_numbers += other.short_card_numbers;
    }
}

#[cfg(test)]
mod tests;
