//! Every row of the table of masks, and what no row can say.

use proptest::prelude::*;

use super::*;

fn given(arguments: &[(&str, ArgLiteral)]) -> BTreeMap<String, ArgValue> {
    arguments
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.into()))
        .collect()
}

#[track_caller]
fn build(name: &str, arguments: &[(&str, ArgLiteral)]) -> Mask {
    let def = MaskDef::named(name).expect("a mask");
    def.build(&given(arguments)).expect("settings that suit")
}

fn applied(mask: &Mask, input: Option<&str>, needs: &[Option<&str>]) -> (Option<String>, Noticed) {
    let mut out = String::from("before ");
    let mut noticed = Noticed::default();
    let shown = mask.apply(input, needs, &mut out, &mut noticed);
    let added = out.strip_prefix("before ").expect("what stood there");
    assert_eq!(shown, !added.is_empty());
    (shown.then(|| added.to_owned()), noticed)
}

#[track_caller]
fn check_example(def: &MaskDef, example: &Example) {
    let mask = def
        .build(&given(example.arguments))
        .expect("settings that suit");
    let shown = match mask {
        Mask::ShelfSlip { .. } => {
            let (ends, rest) = example.needs.split_at(2);
            let mut lines = Vec::new();
            let rest = rest.iter().copied();
            let mut buffer = String::new();
            slip_lines(ends[0], ends[1], rest, &mut buffer, |line| {
                lines.push(line.to_owned());
            });
            Some(lines.join("/"))
        }
        _ => {
            assert!(example.needs.len() <= mask.needs().len());
            applied(&mask, example.input, example.needs).0
        }
    };
    assert_eq!(
        shown.as_deref(),
        example.output,
        "{}: {example:?}",
        def.name
    );
}

#[test]
fn every_example_of_the_table() {
    for def in MASKS {
        for example in def.examples {
            check_example(def, example);
        }
    }
}

#[test]
fn the_table_is_well_kept() {
    for (at, def) in MASKS.iter().enumerate() {
        assert!(MASKS[..at].iter().all(|other| other.name != def.name));
        assert!(def.name == "pseudonym" || def.examples.len() >= 2);
        assert!(!def.does.ends_with('.'));
    }
}

#[track_caller]
fn check_noticed(name: &str, input: &str, needs: &[Option<&str>], want: [u32; 2]) {
    let (_, noticed) = applied(&build(name, &[]), Some(input), needs);
    assert_eq!([noticed.short_name, noticed.short_card], want, "{input:?}");
}

#[test]
fn short_values_are_counted() {
    let dutch = &[None, Some("NL")];
    check_noticed("first_letters", "Berg", dutch, [0, 0]);
    check_noticed("first_letters", "Li", dutch, [1, 0]);
    check_noticed("first_letters", "van der O", dutch, [1, 0]);
    check_noticed("first_letters", "王", dutch, [1, 0]);
    check_noticed("first_letters", ".", dutch, [0, 0]);
    check_noticed("first_letters", "", dutch, [0, 0]);
    check_noticed("last_digits", "12345678", &[], [0, 0]);
    check_noticed("last_digits", "1234567", &[], [0, 1]);
    check_noticed("last_digits", "ABC", &[], [0, 1]);
    check_noticed("last_digits", " ", &[], [0, 0]);
}

#[track_caller]
fn check_problems(name: &str, arguments: &[(&str, ArgLiteral)], want: &[&str]) {
    let def = MaskDef::named(name).expect("a mask");
    let problems = def.build(&given(arguments)).expect_err("problems");
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems, want);
}

#[test]
fn all_mistakes_are_reported_at_once() {
    check_problems(
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
    check_problems(
        "age_band",
        &[("bands", ArgLiteral::Integers(&[0, 12, 12]))],
        &[
            "missing setting \"at\", expected the path of a field of the source",
            "setting \"bands\" is [0, 12, 12], expected a list of ages from 0 to 150, each higher \
             than the one before",
        ],
    );
    check_problems(
        "year",
        &[("count", ArgLiteral::Integer(2))],
        &["unknown setting \"count\", expected no settings"],
    );
    check_problems(
        "constant",
        &[("value", ArgLiteral::Text(""))],
        &["setting \"value\" is \"\", expected a text that is not empty"],
    );
    check_problems(
        "shelf_slip",
        &[("lines", ArgLiteral::Texts(&["title", "title"]))],
        &[
            "setting \"lines\" is [\"title\", \"title\"], expected a list of names of output fields \
           of this recipient, each once",
        ],
    );
    for ages in [&[][..], &[-1, 5], &[0, 151], &[5, 3]] {
        let mut settings = given(&[("at", ArgLiteral::Text("loaned_at"))]);
        settings.insert("bands".to_owned(), ArgValue::Integers(ages.to_vec()));
        let def = MaskDef::named("age_band").expect("a mask");
        assert_eq!(def.build(&settings).expect_err("a problem").len(), 1);
    }
}

#[test]
fn needs_follow_the_settings() {
    let names = |mask: Mask| -> Vec<String> { mask.needs().iter().map(Need::to_string).collect() };
    let key = |key| build("first_letters", &[("surname_key", ArgLiteral::Text(key))]);
    assert_eq!(names(key("default")), ["surname_prefix", "country"]);
    assert_eq!(names(key("full")), ["surname_prefix"]);
    assert!(names(key("kernwoord")).is_empty());
    let at = [("at", ArgLiteral::Text("loaned_at"))];
    assert_eq!(names(build("age_band", &at)), ["loaned_at"]);
    assert_eq!(
        names(build("postcode_area", &[])),
        ["address.country", "country"]
    );
}

#[test]
fn what_hides() {
    let bands = |bands| {
        let at = ("at", ArgLiteral::Text("loaned_at"));
        build("age_band", &[at, ("bands", ArgLiteral::Integers(bands))]).hides()
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
    ] {
        assert_eq!(build(name, &[]).hides(), want, "{name}");
    }
    let digits = |count, min_hidden| {
        let settings = [("count", count), ("min_hidden", min_hidden)];
        let settings = settings.map(|(name, number)| (name, ArgLiteral::Integer(number)));
        build("last_digits", &settings).hides()
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
        assert_eq!(
            digits(count, min_hidden),
            want,
            "{count} of {min_hidden} more"
        );
    }
    let letters = |count| build("first_letters", &[("count", ArgLiteral::Integer(count))]);
    assert!(letters(3).hides() && !letters(4).hides());
}

#[test]
fn the_engines_masks_show_nothing_by_themselves() {
    for mask in [
        build("pseudonym", &[]),
        build("shelf_slip", &[("lines", ArgLiteral::Texts(&[]))]),
    ] {
        assert_eq!(applied(&mask, Some("Jansen"), &[]).0, None);
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "((van|VAN DER|de la|'t|d'|in 't) )?[a-zA-Z'. \u{300}-\u{308}\u{d6}\u{132}\u{200b}\u{a0}\u{4e00}-\u{4e20}-]{0,8}",
    ]
}

proptest! {
    #[test]
    fn no_mask_panics(
        input in proptest::option::of(name()),
        needs in proptest::collection::vec(proptest::option::of(name()), 0..3),
    ) {
        let needs: Vec<Option<&str>> = needs.iter().map(Option::as_deref).collect();
        for def in MASKS {
            let mut settings = given(&[]);
            for setting in def.arguments.iter().filter(|setting| setting.default.is_none()) {
                let value = match setting.allowed {
                    Allowed::Outputs => ArgValue::Texts(Vec::new()),
                    _ => ArgValue::Text("loaned_at".to_owned()),
                };
                settings.insert(setting.name.to_owned(), value);
            }
            let mask = def.build(&settings).expect("settings that suit");
            applied(&mask, input.as_deref(), &needs);
        }
    }

    #[test]
    fn last_digits_keep_their_bounds(
        number in "[0-9A-Z \u{660}-\u{669}]{0,20}",
        count in 1_usize..8,
        min_hidden in 1_usize..8,
    ) {
        let mask = Mask::LastDigits { count, min_hidden };
        let all: String = text::ascii_digits(&number).collect();
        let (shown, noticed) = applied(&mask, Some(&number), &[]);
        match shown {
            Some(shown) => {
                prop_assert_eq!(shown.len(), count);
                prop_assert!(all.len() - shown.len() >= min_hidden);
                prop_assert!(all.ends_with(&shown));
            }
            None => prop_assert!(all.len() < count + min_hidden),
        }
        prop_assert!(noticed.short_card <= 1);
    }

    #[test]
    fn first_letters_never_show_a_whole_name(
        surname in name(), prefix in proptest::option::of(name()),
        country in prop_oneof![Just("NL"), Just("BE")], count in 1_usize..5,
    ) {
        let mask = Mask::FirstLetters { count, key: SurnameKey::ByCountry };
        let needs = [prefix.as_deref(), Some(country)];
        let (shown, _) = applied(&mask, Some(&surname), &needs);
        let shown = shown.unwrap_or_default();
        let shown: Vec<&str> = text::letters(&shown).collect();
        prop_assert!(shown.len() <= count);
        let cleaned = text::clean_name(&surname);
        let key = if country == "NL" { without_particle(&cleaned) } else { &cleaned };
        let all = text::letters(key).count();
        prop_assert!(all == 0 || shown.len() < all || shown.len() == 1 || country == "BE");
        if country == "BE" && prefix.as_deref().is_none_or(text::is_blank) {
            prop_assert!(all < 2 || shown.len() < all);
        }
    }

    #[test]
    fn an_initial_is_one_letter_of_the_name(input in proptest::option::of(name()), given in proptest::option::of(name())) {
        let mask = Mask::Initial { ij_is_one: true };
        let (shown, _) = applied(&mask, input.as_deref(), &[given.as_deref()]);
        if let Some(shown) = shown {
            prop_assert!(shown == "IJ" || shown == "ij" || text::letters(&shown).count() == 1);
        }
    }
}
