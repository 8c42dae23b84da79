//! Every row of the table of masks, and what no row can say.

use proptest::prelude::*;

use super::first_letters::{FirstLetters, SurnameKey, strip_surname_particle};
use super::initial::Initial;
use super::last_digits::LastDigits;
use super::*;

fn argument_values(arguments: &[(&str, ArgLiteral)]) -> BTreeMap<String, ArgValue> {
    arguments.iter().map(|&(name, value)| (name.to_owned(), value.into())).collect()
}

#[track_caller]
fn build_mask(name: &str, arguments: &[(&str, ArgLiteral)]) -> Mask {
    let def = MaskDef::by_name(name).expect("a mask");
    def.build(&argument_values(arguments)).expect("settings that suit")
}

fn apply_mask(
    mask: &Mask,
    input: Option<&str>,
    needs: &[Option<&str>],
) -> (Option<String>, ShortValueCounts) {
    let mut out = String::from("before ");
    let mut noticed = ShortValueCounts::default();
    let shown = mask.apply(input, needs, &mut out, &mut noticed);
    let added = out.strip_prefix("before ").expect("what stood there");
    assert_eq!(shown, !added.is_empty());
    (shown.then(|| added.to_owned()), noticed)
}

#[track_caller]
fn check_example(def: &MaskDef, example: &MaskExample) {
    let mask = def.build(&argument_values(example.arguments)).expect("settings that suit");
    assert_eq!(mask.def().name, def.name);
    let shown = match mask {
        Mask::ShelfSlip(_) => {
            let (ends, rest) = example.needs.split_at(2);
            let mut lines = Vec::new();
            let rest = rest.iter().copied();
            let mut buffer = String::new();
            for_each_slip_line(ends[0], ends[1], rest, &mut buffer, |line| {
                lines.push(line.to_owned());
            });
            Some(lines.join("/"))
        }
        _ => {
            assert!(example.needs.len() <= mask.needs().len());
            apply_mask(&mask, example.input, example.needs).0
        }
    };
    assert_eq!(shown.as_deref(), example.output, "{}: {example:?}", def.name);
}

#[test]
fn masks_table_examples_hold() {
    for def in MASKS {
        for example in def.examples {
            check_example(def, example);
        }
    }
}

/// Every output of the table's examples is of the form that the mask declares.
#[test]
fn masks_output_form_holds_for_their_examples() {
    for def in MASKS.iter().filter(|def| !matches!(def.name, "pseudonym" | "shelf_slip")) {
        for example in def.examples {
            let mask = def.build(&argument_values(example.arguments)).expect("settings that suit");
            let form = mask.output_form();
            let pattern = form.pattern.map(|pattern| regex::Regex::new(&pattern).expect("a regex"));
            let fits = |output: &str| {
                let is_word = form.words.is_empty() || form.words.iter().any(|one| one == output);
                is_word && pattern.as_ref().is_none_or(|pattern| pattern.is_match(output))
            };
            assert!(fits(&form.example), "{}: {}", def.name, form.example);
            assert!(example.output.is_none_or(fits), "{}: {example:?}", def.name);
        }
    }
}

#[test]
fn masks_table_names_are_unique_and_have_examples() {
    for (at, def) in MASKS.iter().enumerate() {
        assert!(MASKS[..at].iter().all(|other| other.name != def.name));
        assert!(def.name == "pseudonym" || def.examples.len() >= 2);
        assert!(!def.description.ends_with('.'));
    }
}

#[track_caller]
fn check_short_values(name: &str, input: &str, needs: &[Option<&str>], want: [u32; 2]) {
    let (_, noticed) = apply_mask(&build_mask(name, &[]), Some(input), needs);
    assert_eq!([noticed.short_names, noticed.short_card_numbers], want, "{input:?}");
}

#[test]
fn mask_counts_values_too_short_to_hide() {
    let dutch = &[None, Some("NL")];
    check_short_values("first_letters", "Berg", dutch, [0, 0]);
    check_short_values("first_letters", "Li", dutch, [1, 0]);
    check_short_values("first_letters", "van der O", dutch, [1, 0]);
    check_short_values("first_letters", "王", dutch, [1, 0]);
    check_short_values("first_letters", ".", dutch, [0, 0]);
    check_short_values("first_letters", "", dutch, [0, 0]);
    check_short_values("last_digits", "12345678", &[], [0, 0]);
    check_short_values("last_digits", "1234567", &[], [0, 1]);
    check_short_values("last_digits", "ABC", &[], [0, 1]);
    check_short_values("last_digits", " ", &[], [0, 0]);
}

#[track_caller]
fn check_argument_errors(name: &str, arguments: &[(&str, ArgLiteral)], want: &[&str]) {
    let def = MaskDef::by_name(name).expect("a mask");
    let problems = def.build(&argument_values(arguments)).expect_err("problems");
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems, want);
}

#[test]
fn mask_arguments_report_all_errors_at_once() {
    check_argument_errors(
        "first_letters",
        &[
            ("cuont", ArgLiteral::Integer(2)),
            ("count", ArgLiteral::Integer(0)),
            ("surname_key", ArgLiteral::Text("Full")),
        ],
        &[
            "unknown setting \"cuont\", expected count, surname_key",
            "setting \"count\" is 0, expected a whole number from 1 to 10",
            "setting \"surname_key\" is \"Full\", expected \"default\" or \"kernwoord\" or \"full\"",
        ],
    );
    check_argument_errors(
        "age_band",
        &[("bands", ArgLiteral::Integers(&[0, 12, 12]))],
        &[
            "missing setting \"at\", expected the path of a field of the source",
            "setting \"bands\" is [0, 12, 12], expected a list of ages from 0 to 150, each higher \
             than the one before",
        ],
    );
    check_argument_errors(
        "year",
        &[("count", ArgLiteral::Integer(2))],
        &["unknown setting \"count\", expected no settings"],
    );
    check_argument_errors(
        "constant",
        &[("value", ArgLiteral::Text(""))],
        &["setting \"value\" is \"\", expected a text that is not empty"],
    );
    check_argument_errors(
        "shelf_slip",
        &[("lines", ArgLiteral::Texts(&["title", "title"]))],
        &[
            "setting \"lines\" is [\"title\", \"title\"], expected a list of names of output fields \
           of this recipient, each once",
        ],
    );
    for ages in [&[][..], &[-1, 5], &[0, 151], &[5, 3]] {
        let mut settings = argument_values(&[("at", ArgLiteral::Text("loaned_at"))]);
        settings.insert("bands".to_owned(), ArgValue::Integers(ages.to_vec()));
        let def = MaskDef::by_name("age_band").expect("a mask");
        assert_eq!(def.build(&settings).expect_err("a problem").len(), 1);
    }
}

#[test]
fn mask_needs_follow_arguments() {
    let names =
        |mask: Mask| -> Vec<String> { mask.needs().iter().map(MaskNeed::to_string).collect() };
    let key = |key| build_mask("first_letters", &[("surname_key", ArgLiteral::Text(key))]);
    assert_eq!(names(key("default")), ["surname_prefix", "country"]);
    assert_eq!(names(key("full")), ["surname_prefix"]);
    assert!(names(key("kernwoord")).is_empty());
    let at = [("at", ArgLiteral::Text("loaned_at"))];
    assert_eq!(names(build_mask("age_band", &at)), ["loaned_at"]);
    assert_eq!(names(build_mask("postcode_area", &[])), ["address.country", "country"]);
    let shelf_name = ["initials", "given_name", "surname_prefix", "country"];
    assert_eq!(names(build_mask("shelf_name", &[])), shelf_name);
}

fn hides_input(mask: &Mask) -> bool {
    mask.exposure() <= Exposure::Part
}

#[test]
fn mask_hides_input_by_its_arguments() {
    let bands = |bands| {
        let at = ("at", ArgLiteral::Text("loaned_at"));
        hides_input(&build_mask("age_band", &[at, ("bands", ArgLiteral::Integers(bands))]))
    };
    assert!(bands(&[0, 12, 18]));
    assert!(bands(&[18]));
    assert!(!bands(&[0, 1, 2]));
    for (name, want) in [
        ("first_letters", true),
        // A number of eight digits would show five.
        ("last_digits", false),
        ("pseudonym", true),
        ("full_name", false),
        ("year", false),
        ("month", false),
        ("lowercase", false),
        ("shelf_name", true),
    ] {
        assert_eq!(hides_input(&build_mask(name, &[])), want, "{name}");
    }
    let digits = |count, min_hidden| {
        let settings = [("count", count), ("min_hidden", min_hidden)];
        let settings = settings.map(|(name, number)| (name, ArgLiteral::Integer(number)));
        hides_input(&build_mask("last_digits", &settings))
    };
    for (count, min_hidden, want) in [
        (1, 3, false),
        (3, 4, true),
        (4, 4, true),
        (5, 4, false),
        (5, 5, true),
        (13, 1, false),
        (13, 13, true),
    ] {
        assert_eq!(digits(count, min_hidden), want, "{count} of {min_hidden} more");
    }
    let letters = |count| build_mask("first_letters", &[("count", ArgLiteral::Integer(count))]);
    assert!(hides_input(&letters(3)) && !hides_input(&letters(4)));
}

#[test]
fn pseudonym_and_shelf_slip_are_left_to_engine() {
    for mask in [
        build_mask("pseudonym", &[]),
        build_mask("shelf_slip", &[("lines", ArgLiteral::Texts(&[]))]),
    ] {
        assert_eq!(apply_mask(&mask, Some("Jansen"), &[]).0, None);
    }
}

fn arbitrary_name() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "((van|VAN DER|de la|'t|d'|in 't) )?[a-zA-Z'. \u{300}-\u{308}\u{d6}\u{132}\u{200b}\u{a0}\u{4e00}-\u{4e20}-]{0,8}",
    ]
}

proptest! {
    #[test]
    fn mask_apply_never_panics(
        input in proptest::option::of(arbitrary_name()),
        needs in proptest::collection::vec(proptest::option::of(arbitrary_name()), 0..3),
    ) {
        let needs: Vec<Option<&str>> = needs.iter().map(Option::as_deref).collect();
        for def in MASKS {
            let mut settings = argument_values(&[]);
            for setting in def.arguments.iter().filter(|setting| setting.default.is_none()) {
                let value = match setting.constraint {
                    ArgConstraint::OutputFieldNames => ArgValue::Texts(Vec::new()),
                    _ => ArgValue::Text("loaned_at".to_owned()),
                };
                settings.insert(setting.name.to_owned(), value);
            }
            let mask = def.build(&settings).expect("settings that suit");
            apply_mask(&mask, input.as_deref(), &needs);
        }
    }

    #[test]
    fn last_digits_keep_count_and_min_hidden(
        number in "[0-9A-Z \u{660}-\u{669}]{0,20}",
        count in 1_usize..8,
        min_hidden in 1_usize..8,
    ) {
        let mask = Mask::LastDigits(LastDigits { count, min_hidden });
        let all: String = text::ascii_digits(&number).collect();
        let (shown, noticed) = apply_mask(&mask, Some(&number), &[]);
        match shown {
            Some(shown) => {
                prop_assert_eq!(shown.len(), count);
                prop_assert!(all.len() - shown.len() >= min_hidden);
                prop_assert!(all.ends_with(&shown));
            }
            None => prop_assert!(all.len() < count + min_hidden),
        }
        prop_assert!(noticed.short_card_numbers <= 1);
    }

    #[test]
    fn first_letters_never_show_whole_surname(
        surname in arbitrary_name(), prefix in proptest::option::of(arbitrary_name()),
        country in prop_oneof![Just("NL"), Just("BE")], count in 1_usize..5,
    ) {
        let mask = Mask::FirstLetters(FirstLetters { count, surname_key: SurnameKey::ByCountry });
        let needs = [prefix.as_deref(), Some(country)];
        let (shown, _) = apply_mask(&mask, Some(&surname), &needs);
        let shown = shown.unwrap_or_default();
        let shown: Vec<&str> = text::letters(&shown).collect();
        prop_assert!(shown.len() <= count);
        let cleaned = text::clean_name(&surname);
        let key = if country == "NL" { strip_surname_particle(&cleaned) } else { &cleaned };
        let all = text::letters(key).count();
        prop_assert!(all == 0 || shown.len() < all || shown.len() == 1 || country == "BE");
        if country == "BE" && prefix.as_deref().is_none_or(text::is_blank) {
            prop_assert!(all < 2 || shown.len() < all);
        }
    }

    #[test]
    fn initial_is_one_letter_or_ij(input in proptest::option::of(arbitrary_name()), given in proptest::option::of(arbitrary_name())) {
        let mask = Mask::Initial(Initial { ij_is_one: true });
        let (shown, _) = apply_mask(&mask, input.as_deref(), &[given.as_deref()]);
        if let Some(shown) = shown {
            prop_assert!(shown == "IJ" || shown == "ij" || text::letters(&shown).count() == 1);
        }
    }
}
