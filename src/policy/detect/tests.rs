//! Every row of the table of detectors, and what no row can say.

use proptest::prelude::*;

use super::*;

fn only(def: &DetectorDef) -> Detectors {
    Detectors::new([def.name]).expect("a detector")
}

fn all() -> Detectors {
    Detectors::new(DETECTORS.iter().map(|def| def.name)).expect("detectors")
}

fn replaced(detectors: &Detectors, text: &str, own: &[&str]) -> (Option<String>, Vec<u32>) {
    let mut out = String::from("before ");
    let mut hits = vec![0; DETECTORS.len()];
    let found = detectors.apply(text, own.iter().copied(), &mut out, &mut hits);
    let added = out.strip_prefix("before ").expect("what stood there");
    assert_eq!(found, hits.iter().any(|&count| count > 0));
    assert!(found || added.is_empty());
    (found.then(|| added.to_owned()), hits)
}

#[track_caller]
fn check(detectors: &Detectors, text: &str, own: &[&str], want: Option<&str>) {
    let (got, _) = replaced(detectors, text, own);
    assert_eq!(got.as_deref(), want, "{text:?}");
}

#[test]
fn every_example_of_the_table() {
    for (row, def) in DETECTORS.iter().enumerate() {
        assert_eq!(def.detector as usize, row);
        for (text, want) in def.hits {
            check(&only(def), text, def.own, Some(want));
        }
        for text in def.misses {
            check(&only(def), text, def.own, None);
        }
    }
}

#[test]
fn all_at_once() {
    let own = &["Berg", "0600000000"];
    for (text, want) in [
        (
            "Berg, bsn 111222333, tel 06-00000000, 111222333@example.org",
            "[own_values], bsn [bsn], tel [phone], [email]",
        ),
        ("111222333 0600000000", "[bsn] [phone]"),
        ("0600000000.jan@example.org", "[email]"),
        (
            "NL91 ABNA 0417 1643 00 85.07.30-033.28",
            "[iban] [rijksregisternummer]",
        ),
        ("Berg0600000000", "[own_values][phone]"),
        ("0600000000Berg", "[phone][own_values]"),
        (
            "boek 9789027439642, pas 20013004567890",
            "boek 9789027439642, pas [card_number]",
        ),
        (
            "geb. 30-07-1985 te 1234 AB 12",
            "geb. [birth_date] te [postcode_house_number]",
        ),
    ] {
        check(&all(), text, own, Some(want));
    }
    check(&all(), "drie boeken te laat", own, None);
    check(&Detectors::default(), "bsn 111222333 Berg", own, None);
}

#[test]
fn hits_are_counted_by_row() {
    let (_, hits) = replaced(&all(), "111222333 jan@example.org 111222333", &[]);
    assert_eq!(hits, [2, 0, 0, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn unknown_names_are_all_reported() {
    let unknown = Detectors::new(["bsn", "bns", "mail"]).expect_err("unknown names");
    let unknown: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    assert_eq!(
        unknown,
        ["unknown detector \"bns\"", "unknown detector \"mail\""]
    );
    let two = Detectors::new(["phone", "bsn", "phone"]).expect("detectors");
    assert_eq!(two.names().collect::<Vec<_>>(), ["bsn", "phone"]);
    assert!(!two.needs_own_values());
}

/// Text that is nearly something.
fn note() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("111222333".to_owned()),
        Just("85.07.30-033.28".to_owned()),
        Just("NL91ABNA0417164300".to_owned()),
        Just("jan@example.org".to_owned()),
        Just("06-00000000".to_owned()),
        Just("1234 AB 12".to_owned()),
        Just("30 juli 1985".to_owned()),
        Just("9789027439642".to_owned()),
        Just("O'Brien".to_owned()),
        Just("van der Berg".to_owned()),
        Just("Ö\u{200B}zge".to_owned()),
        "[0-9]{1,12}",
        "[ .,/()+@\u{A0}\u{2013}\u{660}½Ĳ㉑'-]{1,3}",
        "[a-zA-Z]{1,4}",
        any::<String>(),
    ];
    proptest::collection::vec(pieces, 0..8).prop_map(|pieces| pieces.concat())
}

const OWN: &[&str] = &[
    "O'Brien",
    "van der Berg",
    "Özge",
    "jan@example.org",
    "+31600000000",
    "A20013004567",
    "1985-07-30",
];

/// Looks for hits in every place, and where they may begin.
#[track_caller]
fn check_places(text: &str, on: &[bool]) {
    let names = DETECTORS.iter().zip(on).filter(|(_, on)| **on);
    let on = Detectors::new(names.map(|(def, _)| def.name)).expect("detectors");
    let mut buffers = Buffers::default();
    let own = OWN.iter().filter(|_| on.needs_own_values());
    own.for_each(|value| buffers.look_for([*value]));
    let folded = buffers.folding.fold(text);
    let scan = Scan {
        on: &on,
        text: folded.bytes(),
        own: &buffers.own,
    };
    let (mut some, mut every) = (Vec::new(), Vec::new());
    scan.each_hit(|hit| some.push(hit));
    scan.each_hit_from(|at, _| at, |hit| every.push(hit));
    assert_eq!(some, every, "{text:?}");
    assert!(every.is_empty() || !buffers.own.is_empty() || may_hit(text.as_bytes()));
}

#[test]
fn a_hit_may_end_in_a_name() {
    // The name begins in a book's number, where nothing does.
    let text = "(9791234567896NL20013004567890&jan@example.org";
    check_places(text, &[true; 9]);
    check(
        &all(),
        text,
        &[],
        Some("(9791234567896NL[card_number][email]"),
    );
}

proptest! {
    #[test]
    fn nothing_is_left_to_find(text in note()) {
        for def in DETECTORS {
            if let (Some(out), _) = replaced(&only(def), &text, OWN) {
                prop_assert_eq!(replaced(&only(def), &out, OWN).0, None, "{} left", def.name);
            }
        }
        if let (Some(out), _) = replaced(&all(), &text, OWN) {
            prop_assert_eq!(replaced(&all(), &out, OWN).0, None);
        }
    }

    #[test]
    fn no_place_is_left_out(text in note(), on in proptest::collection::vec(any::<bool>(), 9)) {
        check_places(&text, &on);
    }

    #[test]
    fn any_values_are_safe(text in any::<String>(), own in proptest::collection::vec(any::<String>(), 0..4)) {
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        replaced(&all(), &text, &own);
    }

    #[test]
    fn own_words_never_remain(before in "[ .,]{0,2}", name in "[A-Z][a-z]{3,9}", after in "[ .,0-9]{0,2}") {
        let text = format!("x{before} {name}{after}");
        let (out, _) = replaced(&all(), &text, &[&name]);
        prop_assert!(out.is_some_and(|out| !out.contains(&name)));
    }
}

/// Takes minutes where a text is read over and over.
#[test]
fn long_texts_take_linear_time() {
    let own: Vec<String> = ["a", "-", "1", "@", "a-", "1 ", "a."]
        .iter()
        .map(|piece| piece.repeat(300))
        .collect();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    for piece in [
        "1", "1 ", "a", "a-", "a@", "@", "+", "(", "a.", "a@a.", "+1", "NL9", "1a", "1-", "12, ",
    ] {
        replaced(&all(), &piece.repeat(10_000), &own);
    }
}
