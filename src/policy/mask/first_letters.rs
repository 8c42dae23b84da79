//! `first_letters`: the first letters of a surname.

use super::*;

/// Which part of a name is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum SurnameKey {
    /// `kernwoord` in NL, `full` elsewhere.
    #[strum(serialize = "default")]
    ByCountry,
    /// Without the prefix field and one leading particle.
    Kernwoord,
    /// Prefix and surname as written.
    Full,
}

impl SurnameKey {
    /// The key of this name; any other is the default.
    pub(super) fn from_name(name: &str) -> Self {
        match name {
            "kernwoord" => SurnameKey::Kernwoord,
            "full" => SurnameKey::Full,
            _ => SurnameKey::ByCountry,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstLetters {
    pub count: usize,
    pub surname_key: SurnameKey,
}

/// A mask that shows more letters of a name hides nothing.
const LETTERS_SHOWN_MAX: usize = 3;

impl MaskRule for FirstLetters {
    fn needs(&self) -> Vec<MaskNeed> {
        const PREFIX: MaskNeed = MaskNeed::Sibling("surname_prefix");
        match self.surname_key {
            SurnameKey::ByCountry => vec![PREFIX, MaskNeed::Country],
            SurnameKey::Kernwoord => Vec::new(),
            SurnameKey::Full => vec![PREFIX],
        }
    }

    fn exposure(&self) -> Exposure {
        if self.count <= LETTERS_SHOWN_MAX { Exposure::Part } else { Exposure::Full }
    }

    fn canonical_arguments(&self) -> String {
        let key: &str = self.surname_key.into();
        format!("count={},surname_key={key}", self.count)
    }

    fn describe_arguments(&self) -> String {
        let count = self.count;
        match self.surname_key {
            SurnameKey::ByCountry => count.to_string(),
            key => format!("{count}, {}", <&str>::from(key)),
        }
    }

    fn apply(&self, input: MaskInput<'_>, out: &mut String, short_values: &mut ShortValueCounts) {
        let is_full = match self.surname_key {
            SurnameKey::ByCountry => input.need(1) != Some("NL"),
            SurnameKey::Kernwoord => false,
            SurnameKey::Full => true,
        };
        let Some(surname) = input.value() else {
            return;
        };
        let surname = text::clean_name(surname);
        let is_short = match (is_full, input.need(0).filter(|_| is_full)) {
            (false, _) => self.push_letters(text::letters(strip_surname_particle(&surname)), out),
            (true, None) => self.push_letters(text::letters(&surname), out),
            (true, Some(prefix)) => {
                let prefix = text::clean_name(prefix);
                self.push_letters(text::letters(&prefix).chain(text::letters(&surname)), out)
            }
        };
        short_values.short_names += u32::from(is_short);
    }
}

impl FirstLetters {
    /// Appends the first letters, or the first alone if there are no more than `count`: returns
    /// whether that is so.
    fn push_letters<'a>(
        &self,
        mut letters: impl Iterator<Item = &'a str>,
        out: &mut String,
    ) -> bool {
        let Some(first) = letters.next() else {
            return false;
        };
        out.push_str(first);
        let after_first = out.len();
        for letter in letters.by_ref().take(self.count.saturating_sub(1)) {
            out.push_str(letter);
        }
        let is_short = letters.next().is_none();
        if is_short {
            out.truncate(after_first);
        }
        is_short
    }
}

/// Particles before a Dutch surname, longest first where one begins another.
const SURNAME_PARTICLES: &[&str] = &[
    "'s", "'t", "aan de", "bij de", "d'", "da", "de la", "de", "del", "den", "der", "di", "dos",
    "du", "el", "in 't", "in den", "in het", "l'", "la", "le", "lo", "op 't", "op den", "op de",
    "op het", "ten", "ter", "te", "uit de", "v. d.", "v.d.", "v.", "v/d", "vd", "van 't", "van't",
    "van den", "van der", "van de", "van het", "van", "von", "zur",
];

/// Strips one leading particle and its space from a cleaned surname.
pub(super) fn strip_surname_particle(surname: &str) -> &str {
    if !surname.contains(' ') {
        return surname;
    }
    SURNAME_PARTICLES
        .iter()
        .filter_map(|particle| {
            let (start, rest) = surname.split_at_checked(particle.len())?;
            let rest = rest.strip_prefix(' ')?;
            start.eq_ignore_ascii_case(particle).then_some(rest)
        })
        .min_by_key(|rest| rest.len())
        .unwrap_or(surname)
}

const fn dutch_surname(surname: &'static str, output: Option<&'static str>) -> MaskExample {
    example(surname, &[None, Some("NL")], &[], output)
}

const fn belgian_surname(surname: &'static str, output: Option<&'static str>) -> MaskExample {
    example(surname, &[None, Some("BE")], &[], output)
}

pub(super) const LETTERS_SHOWN_ARG: ArgDef = ArgDef {
    name: "count",
    description: "how many letters are shown",
    default: Some(ArgLiteral::Integer(2)),
    constraint: ArgConstraint::Integer { min: 1, max: 10 },
};
pub(super) const SURNAME_KEY_ARG: ArgDef = ArgDef {
    name: "surname_key",
    description: "what counts: kernwoord leaves out the prefix and one particle, full takes the \
              whole name, default is kernwoord in NL and full elsewhere",
    default: Some(ArgLiteral::Text("default")),
    constraint: ArgConstraint::OneOf(&["default", "kernwoord", "full"]),
};
const KERNWOORD_ARGUMENTS: ExampleArguments = &[("surname_key", ArgLiteral::Text("kernwoord"))];
const FULL_ARGUMENTS: ExampleArguments = &[("surname_key", ArgLiteral::Text("full"))];

const fn dutch_surname_letters(
    surname: &'static str,
    count: usize,
    output: Option<&'static str>,
) -> MaskExample {
    const COUNTS: [ExampleArguments; 5] = [
        &[],
        &[("count", ArgLiteral::Integer(1))],
        &[("count", ArgLiteral::Integer(2))],
        &[("count", ArgLiteral::Integer(3))],
        &[("count", ArgLiteral::Integer(4))],
    ];
    example(surname, &[None, Some("NL")], COUNTS[count], output)
}

pub(super) const DEF: MaskDef = MaskDef {
    name: "first_letters",
    description: "shows the first letters of a surname, and of one that has no more the first only",
    description_nl: "toont de eerste letters van een achternaam, en van een kortere naam alleen de eerste",
    takes: PLAIN_TEXT,
    arguments: &[LETTERS_SHOWN_ARG, SURNAME_KEY_ARG],
    examples: &[
        example("Berg", &[Some("van der"), Some("NL")], &[], Some("Be")),
        dutch_surname("van der Berg", Some("Be")),
        dutch_surname("VAN DER BERG", Some("BE")),
        dutch_surname("berg", Some("be")),
        dutch_surname("van\u{A0}der\u{A0}Berg", Some("Be")),
        dutch_surname("  van   der\tBerg ", Some("Be")),
        dutch_surname("v\u{AD}an der Be\u{200B}rg", Some("Be")),
        belgian_surname("Van den Broeck", Some("Va")),
        example("Broeck", &[Some("Van den"), Some("BE")], &[], Some("Va")),
        example("Broeck", &[Some(" "), Some("BE")], &[], Some("Br")),
        example("Meier", &[Some("von"), Some("DE")], &[], Some("vo")),
        example("van der Berg", &[None, None], &[], Some("va")),
        dutch_surname("IJzerman", Some("IJ")),
        dutch_surname("\u{132}zerman", Some("IJ")),
        dutch_surname("O'Brien", Some("OB")),
        dutch_surname("O\u{2019}Brien", Some("OB")),
        dutch_surname("d'Hondt", Some("dH")),
        belgian_surname("d'Hondt", Some("dH")),
        dutch_surname("d' Hondt", Some("Ho")),
        belgian_surname("d' Hondt", Some("dH")),
        dutch_surname("Jansen-de Vries", Some("Ja")),
        dutch_surname("de Vries-van Dam", Some("Vr")),
        dutch_surname("'t Hooft", Some("Ho")),
        dutch_surname("\u{2019}t Hooft", Some("Ho")),
        dutch_surname("`t Hooft", Some("Ho")),
        belgian_surname("'t Hooft", Some("tH")),
        dutch_surname("'s-Gravesande", Some("sG")),
        dutch_surname("van 't Hof", Some("Ho")),
        dutch_surname("van \u{2BC}t Hof", Some("Ho")),
        dutch_surname("in 't Veld", Some("Ve")),
        dutch_surname("In Den Bosch", Some("Bo")),
        dutch_surname("op de Beek", Some("Be")),
        dutch_surname("uit de Bogaard", Some("Bo")),
        dutch_surname("de la Cruz", Some("Cr")),
        dutch_surname("van de van Dam", Some("va")),
        dutch_surname("El Amrani", Some("Am")),
        dutch_surname("El-Amrani", Some("El")),
        dutch_surname("ter Horst", Some("Ho")),
        dutch_surname("v.d. Berg", Some("Be")),
        dutch_surname("V.D. BERG", Some("BE")),
        dutch_surname("v. d. Berg", Some("Be")),
        dutch_surname("v/d Berg", Some("Be")),
        dutch_surname("vd Berg", Some("Be")),
        dutch_surname("van't Hof", Some("Ho")),
        dutch_surname("van\u{2019}t Hof", Some("Ho")),
        dutch_surname("v. Dam", Some("Da")),
        dutch_surname("v.Dam", Some("vD")),
        dutch_surname("vdBerg", Some("vd")),
        belgian_surname("v.d. Berg", Some("vd")),
        dutch_surname("Terhorst", Some("Te")),
        dutch_surname("Vandenberg", Some("Va")),
        dutch_surname("van", Some("va")),
        dutch_surname("van der", Some("de")),
        example("Vries", &[Some("nobody knows"), Some("NL")], &[], Some("Vr")),
        dutch_surname("O\u{308}zdemir", Some("\u{D6}z")),
        dutch_surname("S\u{327}eker", Some("\u{15E}e")),
        dutch_surname("Иванов", Some("Ив")),
        dutch_surname("\u{5D0}\u{5DC}\u{5D5}\u{5DF}", Some("\u{5D0}\u{5DC}")),
        dutch_surname("王", Some("王")),
        dutch_surname("김철수", Some("김철")),
        dutch_surname("Li", Some("L")),
        dutch_surname("O", Some("O")),
        dutch_surname("IJ", Some("I")),
        dutch_surname("\u{133}", Some("i")),
        dutch_surname("de Li", Some("L")),
        belgian_surname("de Li", Some("de")),
        dutch_surname("2Pac", Some("Pa")),
        dutch_surname(".", None),
        dutch_surname("van .", None),
        dutch_surname("007", None),
        dutch_surname("\u{1F600}", None),
        dutch_surname("", None),
        dutch_surname(" \u{200B} ", None),
        without_input(&[Some("van der"), Some("NL")], &[], None),
        without_input(&[Some("van der"), Some("BE")], &[], None),
        example("", &[Some("van der"), Some("BE")], &[], None),
        example("van der Berg", &[], KERNWOORD_ARGUMENTS, Some("Be")),
        example("Berg", &[Some("van der")], FULL_ARGUMENTS, Some("va")),
        dutch_surname_letters("van der Berg", 1, Some("B")),
        dutch_surname_letters("van der Berg", 3, Some("Ber")),
        dutch_surname_letters("van der Berg", 4, Some("B")),
        dutch_surname_letters("Li", 1, Some("L")),
        dutch_surname_letters("Li", 3, Some("L")),
    ],
    compile: |arguments| {
        let count = arguments.read_integer(&LETTERS_SHOWN_ARG);
        let key = arguments.read_text(&SURNAME_KEY_ARG);
        Some(Mask::FirstLetters(FirstLetters {
            count: count?,
            surname_key: SurnameKey::from_name(&key?),
        }))
    },
};
