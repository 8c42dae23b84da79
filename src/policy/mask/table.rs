//! The table of masks: a row each, with examples that a test runs.

use super::argument::{Allowed, ArgDef, ArgLiteral};
use super::{Example, Mask, MaskDef, SurnameKey, age_bands};

/// Every mask, in the order of the documentation.
pub const MASKS: &[MaskDef] = &[
    FIRST_LETTERS,
    INITIAL,
    LAST_DIGITS,
    FULL_NAME,
    YEAR,
    MONTH,
    AGE_BAND,
    POSTCODE_AREA,
    PRESENT,
    CONSTANT,
    LOWERCASE,
    PSEUDONYM,
    SHELF_SLIP,
];

type Needs = &'static [Option<&'static str>];
type Settings = &'static [(&'static str, ArgLiteral)];

const fn example(
    input: &'static str,
    needs: Needs,
    arguments: Settings,
    output: Option<&'static str>,
) -> Example {
    Example {
        input: Some(input),
        needs,
        arguments,
        output,
    }
}

/// A surname in the Netherlands, without a prefix field.
const fn dutch(surname: &'static str, output: Option<&'static str>) -> Example {
    example(surname, &[None, Some("NL")], &[], output)
}

/// A surname in Belgium, without a prefix field.
const fn belgian(surname: &'static str, output: Option<&'static str>) -> Example {
    example(surname, &[None, Some("BE")], &[], output)
}

/// A value with nothing beside it and no settings.
const fn plain(input: &'static str, output: Option<&'static str>) -> Example {
    example(input, &[], &[], output)
}

const fn absent(needs: Needs, arguments: Settings, output: Option<&'static str>) -> Example {
    Example {
        input: None,
        needs,
        arguments,
        output,
    }
}

const LETTERS_SHOWN: ArgDef = ArgDef {
    name: "count",
    meaning: "how many letters are shown",
    default: Some(ArgLiteral::Integer(2)),
    allowed: Allowed::Integer { min: 1, max: 10 },
};
const SURNAME_KEY: ArgDef = ArgDef {
    name: "surname_key",
    meaning: "what counts: kernwoord leaves out the prefix and one particle, full takes the \
              whole name, default is kernwoord in NL and full elsewhere",
    default: Some(ArgLiteral::Text("default")),
    allowed: Allowed::Word(&["default", "kernwoord", "full"]),
};
const KERNWOORD: Settings = &[("surname_key", ArgLiteral::Text("kernwoord"))];
const FULL: Settings = &[("surname_key", ArgLiteral::Text("full"))];

const FIRST_LETTERS: MaskDef = MaskDef {
    name: "first_letters",
    does: "shows the first letters of a surname, and of one that has no more the first only",
    arguments: &[LETTERS_SHOWN, SURNAME_KEY],
    examples: &[
        example("Berg", &[Some("van der"), Some("NL")], &[], Some("Be")),
        dutch("van der Berg", Some("Be")),
        dutch("VAN DER BERG", Some("BE")),
        dutch("berg", Some("be")),
        dutch("van\u{A0}der\u{A0}Berg", Some("Be")),
        dutch("  van   der\tBerg ", Some("Be")),
        dutch("v\u{AD}an der Be\u{200B}rg", Some("Be")),
        belgian("Van den Broeck", Some("Va")),
        example("Broeck", &[Some("Van den"), Some("BE")], &[], Some("Va")),
        example("Broeck", &[Some(" "), Some("BE")], &[], Some("Br")),
        example("Meier", &[Some("von"), Some("DE")], &[], Some("vo")),
        example("van der Berg", &[None, None], &[], Some("va")),
        dutch("IJzerman", Some("IJ")),
        dutch("\u{132}zerman", Some("IJ")),
        dutch("O'Brien", Some("OB")),
        dutch("O\u{2019}Brien", Some("OB")),
        dutch("d'Hondt", Some("dH")),
        belgian("d'Hondt", Some("dH")),
        dutch("d' Hondt", Some("Ho")),
        belgian("d' Hondt", Some("dH")),
        dutch("Jansen-de Vries", Some("Ja")),
        dutch("de Vries-van Dam", Some("Vr")),
        dutch("'t Hooft", Some("Ho")),
        dutch("\u{2019}t Hooft", Some("Ho")),
        dutch("`t Hooft", Some("Ho")),
        belgian("'t Hooft", Some("tH")),
        dutch("'s-Gravesande", Some("sG")),
        dutch("van 't Hof", Some("Ho")),
        dutch("van \u{2BC}t Hof", Some("Ho")),
        dutch("in 't Veld", Some("Ve")),
        dutch("In Den Bosch", Some("Bo")),
        dutch("op de Beek", Some("Be")),
        dutch("uit de Bogaard", Some("Bo")),
        dutch("de la Cruz", Some("Cr")),
        dutch("van de van Dam", Some("va")),
        dutch("El Amrani", Some("Am")),
        dutch("El-Amrani", Some("El")),
        dutch("ter Horst", Some("Ho")),
        dutch("v.d. Berg", Some("Be")),
        dutch("V.D. BERG", Some("BE")),
        dutch("v. d. Berg", Some("Be")),
        dutch("v/d Berg", Some("Be")),
        dutch("vd Berg", Some("Be")),
        dutch("van't Hof", Some("Ho")),
        dutch("van\u{2019}t Hof", Some("Ho")),
        dutch("v. Dam", Some("Da")),
        dutch("v.Dam", Some("vD")),
        dutch("vdBerg", Some("vd")),
        belgian("v.d. Berg", Some("vd")),
        dutch("Terhorst", Some("Te")),
        dutch("Vandenberg", Some("Va")),
        dutch("van", Some("va")),
        dutch("van der", Some("de")),
        example(
            "Vries",
            &[Some("nobody knows"), Some("NL")],
            &[],
            Some("Vr"),
        ),
        dutch("O\u{308}zdemir", Some("\u{D6}z")),
        dutch("S\u{327}eker", Some("\u{15E}e")),
        dutch("Иванов", Some("Ив")),
        dutch("\u{5D0}\u{5DC}\u{5D5}\u{5DF}", Some("\u{5D0}\u{5DC}")),
        dutch("王", Some("王")),
        dutch("김철수", Some("김철")),
        dutch("Li", Some("L")),
        dutch("O", Some("O")),
        dutch("IJ", Some("I")),
        dutch("\u{133}", Some("i")),
        dutch("de Li", Some("L")),
        belgian("de Li", Some("de")),
        dutch("2Pac", Some("Pa")),
        dutch(".", None),
        dutch("van .", None),
        dutch("007", None),
        dutch("\u{1F600}", None),
        dutch("", None),
        dutch(" \u{200B} ", None),
        absent(&[Some("van der"), Some("NL")], &[], None),
        absent(&[Some("van der"), Some("BE")], &[], None),
        example("", &[Some("van der"), Some("BE")], &[], None),
        example("van der Berg", &[], KERNWOORD, Some("Be")),
        example("Berg", &[Some("van der")], FULL, Some("va")),
        dutch_letters("van der Berg", 1, Some("B")),
        dutch_letters("van der Berg", 3, Some("Ber")),
        dutch_letters("van der Berg", 4, Some("B")),
        dutch_letters("Li", 1, Some("L")),
        dutch_letters("Li", 3, Some("L")),
    ],
    compile: |arguments| {
        let count = arguments.integer(&LETTERS_SHOWN);
        let key = arguments.text(&SURNAME_KEY);
        Some(Mask::FirstLetters {
            count: count?,
            key: match key?.as_str() {
                "kernwoord" => SurnameKey::Kernwoord,
                "full" => SurnameKey::Full,
                _ => SurnameKey::ByCountry,
            },
        })
    },
};

/// A surname in the Netherlands of which another number of letters is shown.
const fn dutch_letters(
    surname: &'static str,
    count: usize,
    output: Option<&'static str>,
) -> Example {
    const COUNTS: [Settings; 5] = [
        &[],
        &[("count", ArgLiteral::Integer(1))],
        &[("count", ArgLiteral::Integer(2))],
        &[("count", ArgLiteral::Integer(3))],
        &[("count", ArgLiteral::Integer(4))],
    ];
    example(surname, &[None, Some("NL")], COUNTS[count], output)
}

const IJ_INITIAL: ArgDef = ArgDef {
    name: "ij_initial",
    meaning: "whether IJ or ij at the start counts as one letter",
    default: Some(ArgLiteral::Text("IJ")),
    allowed: Allowed::Word(&["IJ", "I"]),
};
const I_ALONE: Settings = &[("ij_initial", ArgLiteral::Text("I"))];

const INITIAL: MaskDef = MaskDef {
    name: "initial",
    does: "shows the first letter of the initials, or where those hold none of the given name",
    arguments: &[IJ_INITIAL],
    examples: &[
        plain("J.P.", Some("J")),
        plain("Th.O.", Some("T")),
        plain("j", Some("j")),
        plain("  (A.)", Some("A")),
        plain("1e A.", Some("e")),
        absent(&[Some("Jan")], &[], Some("J")),
        absent(&[Some("Jan-Willem")], &[], Some("J")),
        absent(&[Some("'t Jan")], &[], Some("t")),
        example("", &[Some("An")], &[], Some("A")),
        example("\u{200B}", &[Some("An")], &[], Some("A")),
        example(".", &[Some("An")], &[], Some("A")),
        example("A.", &[Some("Bert")], &[], Some("A")),
        example(".", &[Some(".")], &[], None),
        absent(&[None], &[], None),
        absent(&[Some("")], &[], None),
        absent(&[Some("IJsbrand")], &[], Some("IJ")),
        absent(&[Some("(IJsbrand)")], &[], Some("IJ")),
        absent(&[Some("\u{132}sbrand")], &[], Some("IJ")),
        absent(&[Some("\u{133}sbrand")], &[], Some("ij")),
        absent(&[Some("ijsbrand")], &[], Some("ij")),
        absent(&[Some("Ijeoma")], &[], Some("I")),
        absent(&[Some("iJsbrand")], &[], Some("i")),
        absent(&[Some("IJsbrand")], I_ALONE, Some("I")),
        plain("IJ.", Some("IJ")),
        plain("I.J.", Some("I")),
        plain("I J", Some("I")),
        plain("I\u{200D}J.", Some("IJ")),
        plain("I\u{301}J\u{301}.", Some("\u{CD}")),
        plain("IJ\u{301}.", Some("I")),
        absent(&[Some("S\u{327}eyma")], &[], Some("\u{15E}")),
        absent(&[Some("\u{C5}sa")], &[], Some("\u{C5}")),
        absent(&[Some("伟")], &[], Some("伟")),
        absent(&[Some("иван")], &[], Some("и")),
    ],
    compile: |arguments| {
        let ij = arguments.text(&IJ_INITIAL)?;
        Some(Mask::Initial {
            ij_is_one: ij == "IJ",
        })
    },
};

const DIGITS_SHOWN: ArgDef = ArgDef {
    name: "count",
    meaning: "how many digits are shown",
    default: Some(ArgLiteral::Integer(5)),
    allowed: Allowed::Integer { min: 1, max: 20 },
};
const MIN_HIDDEN: ArgDef = ArgDef {
    name: "min_hidden",
    meaning: "how many digits must stay hidden, or nothing is shown",
    default: Some(ArgLiteral::Integer(3)),
    allowed: Allowed::Integer { min: 1, max: 20 },
};

const LAST_DIGITS: MaskDef = MaskDef {
    name: "last_digits",
    does: "shows the last digits of a card number, and nothing where too few would stay hidden",
    arguments: &[DIGITS_SHOWN, MIN_HIDDEN],
    examples: &[
        plain("20013004567890", Some("67890")),
        plain("123456789X", Some("56789")),
        plain("A20013004567B", Some("04567")),
        plain("2001 3004-5678.90", Some("67890")),
        plain("00000000", Some("00000")),
        plain("12345678", Some("45678")),
        plain("0470012", None),
        plain("12345", None),
        plain("1234", None),
        plain("ABCDEFGHIJ", None),
        plain(".", None),
        plain("", None),
        absent(&[], &[], None),
        plain(
            "\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}\u{667}\u{668}",
            Some("45678"),
        ),
        plain("１２３４５６７８", Some("45678")),
        plain("12345678²", Some("45678")),
        example(
            "20013004567890",
            &[],
            &[("count", ArgLiteral::Integer(3))],
            Some("890"),
        ),
        example(
            "12345",
            &[],
            &[
                ("count", ArgLiteral::Integer(3)),
                ("min_hidden", ArgLiteral::Integer(2)),
            ],
            Some("345"),
        ),
        example("12345", &[], &[("count", ArgLiteral::Integer(3))], None),
    ],
    compile: |arguments| {
        let count = arguments.integer(&DIGITS_SHOWN);
        let min_hidden = arguments.integer(&MIN_HIDDEN);
        Some(Mask::LastDigits {
            count: count?,
            min_hidden: min_hidden?,
        })
    },
};

const FULL_NAME: MaskDef = MaskDef {
    name: "full_name",
    does: "shows initials, prefix and surname with a space between, leaving out what is missing",
    arguments: &[],
    examples: &[
        example(
            "Berg",
            &[Some("J.P."), Some("van der")],
            &[],
            Some("J.P. van der Berg"),
        ),
        example("Jansen", &[Some("A."), None], &[], Some("A. Jansen")),
        example("Jansen", &[None, None], &[], Some("Jansen")),
        example("Jansen", &[Some(" "), Some("")], &[], Some("Jansen")),
        absent(&[Some("A."), Some("de")], &[], Some("A. de")),
        absent(&[None, None], &[], None),
        example("", &[Some(""), Some("\u{200B}")], &[], None),
        example(
            " Van  den\u{A0}Broeck ",
            &[Some("A.\t B."), None],
            &[],
            Some("A. B. Van den Broeck"),
        ),
        example(
            "O\u{2019}Brien",
            &[Some("Th."), None],
            &[],
            Some("Th. O\u{2019}Brien"),
        ),
        example("\u{132}zerman", &[None, None], &[], Some("\u{132}zerman")),
        example("O\u{308}zdemir", &[None, None], &[], Some("O\u{308}zdemir")),
        example("Be\u{AD}rg", &[None, None], &[], Some("Berg")),
        example(".", &[Some("."), None], &[], Some(". .")),
    ],
    compile: |_| Some(Mask::FullName),
};

const YEAR: MaskDef = MaskDef {
    name: "year",
    does: "shows the year of a date, or of an instant as it is written",
    arguments: &[],
    examples: &[
        plain("1985-07-30", Some("1985")),
        plain("0985-07-30", Some("0985")),
        plain("2024-01-01T00:30:00+01:00", Some("2024")),
        plain("2023-02-29", None),
        plain("1985", None),
        plain("30-07-1985", None),
        plain("", None),
        absent(&[], &[], None),
    ],
    compile: |_| Some(Mask::Year),
};

const MONTH: MaskDef = MaskDef {
    name: "month",
    does: "shows the year and month of a date, or of an instant as it is written",
    arguments: &[],
    examples: &[
        plain("2024-03-09", Some("2024-03")),
        plain("2024-03-09T10:11:12Z", Some("2024-03")),
        plain("2024-04-01T00:30:00.123+02:00", Some("2024-04")),
        plain("2024-03-31T23:30:00-05:00", Some("2024-03")),
        plain("2024-03-09T10:11:60Z", None),
        plain("2024-03-09 10:11:12", None),
        plain("2024-03", None),
        plain("", None),
        absent(&[], &[], None),
    ],
    compile: |_| Some(Mask::Month),
};

const AGE_AT: ArgDef = ArgDef {
    name: "at",
    meaning: "the field of the source that has the day of the age",
    default: None,
    allowed: Allowed::Path,
};
const AGE_BANDS: ArgDef = ArgDef {
    name: "bands",
    meaning: "the first age of each band; the last one has no end",
    default: Some(ArgLiteral::Integers(&[0, 12, 18, 30, 50, 65])),
    allowed: Allowed::Ages,
};
const LOANED_AT: Settings = &[("at", ArgLiteral::Text("loaned_at"))];

/// A birth date, and the day of a loan.
const fn aged(birth: &'static str, day: Needs, output: Option<&'static str>) -> Example {
    example(birth, day, LOANED_AT, output)
}

const AGE_BAND: MaskDef = MaskDef {
    name: "age_band",
    does: "shows the band of the age in full years on the day of a field of the source",
    arguments: &[AGE_AT, AGE_BANDS],
    examples: &[
        aged("1985-07-30", &[Some("2024-03-09T10:00:00Z")], Some("30-49")),
        aged("2012-03-09", &[Some("2024-03-08T10:00:00Z")], Some("0-11")),
        aged(
            "2012-03-09",
            &[Some("2024-03-09T00:00:00+01:00")],
            Some("12-17"),
        ),
        aged("2006-03-09", &[Some("2024-03-09")], Some("18-29")),
        aged("1974-03-09", &[Some("2024-03-09")], Some("50-64")),
        aged("1959-03-09", &[Some("2024-03-09")], Some("65+")),
        aged("1899-12-31", &[Some("2024-03-09")], Some("65+")),
        aged("2024-03-09", &[Some("2024-03-09")], Some("0-11")),
        aged("2024-03-10", &[Some("2024-03-09")], None),
        aged("2004-02-29", &[Some("2022-02-28T12:00:00Z")], Some("12-17")),
        aged("2004-02-29", &[Some("2022-03-01T12:00:00Z")], Some("18-29")),
        aged("1985-07-30", &[None], None),
        aged("1985-07-30", &[Some("yesterday")], None),
        aged("1985-02-30", &[Some("2024-03-09")], None),
        aged("", &[Some("2024-03-09")], None),
        absent(&[Some("2024-03-09")], LOANED_AT, None),
        example(
            "2014-01-01",
            &[Some("2024-03-09")],
            &[
                ("at", ArgLiteral::Text("loaned_at")),
                ("bands", ArgLiteral::Integers(&[6, 10, 11, 18])),
            ],
            Some("10"),
        ),
        example(
            "2020-01-01",
            &[Some("2024-03-09")],
            &[
                ("at", ArgLiteral::Text("loaned_at")),
                ("bands", ArgLiteral::Integers(&[6, 18])),
            ],
            None,
        ),
    ],
    compile: |arguments| {
        let at = arguments.text(&AGE_AT);
        let bands = arguments.ages(&AGE_BANDS);
        Some(Mask::AgeBand {
            at: at?,
            bands: age_bands(&bands?),
        })
    },
};

const POSTCODE_AREA: MaskDef = MaskDef {
    name: "postcode_area",
    does: "shows the four digits of a Dutch or Belgian postcode that has its country's form",
    arguments: &[],
    examples: &[
        example("1234 AB", &[Some("NL"), Some("NL")], &[], Some("1234")),
        example("1234AB", &[None, Some("NL")], &[], Some("1234")),
        example(" 1234 ab ", &[None, Some("NL")], &[], Some("1234")),
        example("9000", &[None, Some("BE")], &[], Some("9000")),
        example("9000", &[Some("BE"), Some("NL")], &[], Some("9000")),
        example("9000", &[Some(""), Some("BE")], &[], Some("9000")),
        example("1234 AB", &[Some("BE"), Some("NL")], &[], None),
        example("9000", &[Some("NL"), Some("BE")], &[], None),
        example("1234 AB", &[Some("DE"), Some("NL")], &[], None),
        example("1234 AB", &[None, None], &[], None),
        example("1234 SS", &[None, Some("NL")], &[], None),
        example("1234 SB", &[None, Some("NL")], &[], Some("1234")),
        example("0123 AB", &[None, Some("NL")], &[], None),
        example("1234  AB", &[None, Some("NL")], &[], None),
        example("1234 AB Utrecht", &[None, Some("NL")], &[], None),
        example("1234", &[None, Some("NL")], &[], None),
        example("", &[None, Some("NL")], &[], None),
        absent(&[None, Some("NL")], &[], None),
    ],
    compile: |_| Some(Mask::PostcodeArea),
};

const PRESENT: MaskDef = MaskDef {
    name: "present",
    does: "shows true where there is a value, and nothing of it",
    arguments: &[],
    examples: &[
        plain("jan@example.org", Some("true")),
        plain("false", Some("true")),
        plain(".", Some("true")),
        plain("", None),
        plain(" \u{200B}", None),
        absent(&[], &[], None),
    ],
    compile: |_| Some(Mask::Present),
};

const CONSTANT_VALUE: ArgDef = ArgDef {
    name: "value",
    meaning: "what is shown",
    default: None,
    allowed: Allowed::Text,
};

const CONSTANT: MaskDef = MaskDef {
    name: "constant",
    does: "shows the same value for every record, whatever it holds",
    arguments: &[CONSTANT_VALUE],
    examples: &[
        absent(&[], &[("value", ArgLiteral::Text("zeef"))], Some("zeef")),
        example(
            "Jansen",
            &[],
            &[("value", ArgLiteral::Text("zeef"))],
            Some("zeef"),
        ),
    ],
    compile: |arguments| {
        Some(Mask::Constant {
            value: arguments.text(&CONSTANT_VALUE)?,
        })
    },
};

const LOWERCASE: MaskDef = MaskDef {
    name: "lowercase",
    does: "shows the value cleaned and in lower case, which hides nothing",
    arguments: &[],
    examples: &[
        plain("Jan@Example.org", Some("jan@example.org")),
        plain(" Van  den Broeck", Some("van den broeck")),
        plain("ÉÉN", Some("één")),
        plain("ΟΔΟΣ", Some("οδος")),
        plain("", None),
        absent(&[], &[], None),
    ],
    compile: |_| Some(Mask::Lowercase),
};

const PSEUDONYM_MONTH_OF: ArgDef = ArgDef {
    name: "month_of",
    meaning: "the date or instant of the source whose month, as written, is hashed too: the same \
              value is another pseudonym each month",
    default: Some(ArgLiteral::Text("")),
    allowed: Allowed::Path,
};

const PSEUDONYM: MaskDef = MaskDef {
    name: "pseudonym",
    does: "shows a keyed hash of the value, 22 characters that differ for each recipient",
    arguments: &[PSEUDONYM_MONTH_OF],
    examples: &[],
    compile: |arguments| {
        let month_of = arguments.path_or_none(&PSEUDONYM_MONTH_OF);
        Some(Mask::Pseudonym { month_of })
    },
};

const SLIP_MARK: ArgDef = ArgDef {
    name: "mark",
    meaning: "the output field that is the first line and begins the second",
    default: Some(ArgLiteral::Text("shelf_mark")),
    allowed: Allowed::Output,
};
const SLIP_INITIAL: ArgDef = ArgDef {
    name: "initial",
    meaning: "the output field that ends the second line",
    default: Some(ArgLiteral::Text("initial")),
    allowed: Allowed::Output,
};
const SLIP_LINES: ArgDef = ArgDef {
    name: "lines",
    meaning: "the output fields that follow, a line each",
    default: None,
    allowed: Allowed::Outputs,
};
const SLIP: Settings = &[(
    "lines",
    ArgLiteral::Texts(&["card_suffix", "title", "pickup_branch", "expires_on"]),
)];

/// What stands in mark, initial and lines, and the slip with `/` between lines.
const fn slip(fields: Needs, output: &'static str) -> Example {
    absent(fields, SLIP, Some(output))
}

const SHELF_SLIP: MaskDef = MaskDef {
    name: "shelf_slip",
    does: "lists the printer's lines of a slip, made of other output fields of the recipient",
    arguments: &[SLIP_MARK, SLIP_INITIAL, SLIP_LINES],
    examples: &[
        slip(
            &[
                Some("Be"),
                Some("IJ"),
                Some("67890"),
                Some("De avonden"),
                Some("Centrum"),
                Some("2024-03-09"),
            ],
            "Be/Be IJ/67890/De avonden/Centrum/2024-03-09",
        ),
        slip(
            &[Some("L"), None, None, Some("De avonden")],
            "L/L/De avonden",
        ),
        slip(&[None, Some("J"), Some("67890")], "/J/67890"),
        slip(&[None, None, Some("04567"), Some(" ")], "/04567"),
        slip(&[None, None], ""),
        slip(
            &[Some("Be"), Some("J"), Some(" De  avonden ")],
            "Be/Be J/ De  avonden ",
        ),
        slip(
            &[
                Some("Be"),
                Some("J"),
                Some("De\r\navonden\u{2028}II"),
                Some("\u{1b}@Centrum"),
            ],
            "Be/Be J/De avonden II/@Centrum",
        ),
        slip(
            &[Some("Be"), None, Some("\u{1b}\n"), Some("Centrum")],
            "Be/Be/Centrum",
        ),
    ],
    compile: |arguments| {
        let mark = arguments.text(&SLIP_MARK);
        let initial = arguments.text(&SLIP_INITIAL);
        let lines = arguments.texts(&SLIP_LINES);
        Some(Mask::ShelfSlip {
            mark: mark?,
            initial: initial?,
            lines: lines?,
        })
    },
};
