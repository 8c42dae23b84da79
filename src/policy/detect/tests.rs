//! Every row of the table of detectors, and what no row can say.

use proptest::prelude::*;

use super::*;

fn single_detector(def: &DetectorDef) -> DetectorSet {
    DetectorSet::new([def.name]).expect("a detector")
}

fn all_detectors() -> DetectorSet {
    DetectorSet::new(DETECTORS.iter().map(|def| def.name)).expect("detectors")
}

fn redact(detectors: &DetectorSet, text: &str, own: &[&str]) -> (Option<String>, Vec<u32>) {
    let mut out = String::from("before ");
    let mut hits = vec![0; DETECTOR_ROWS];
    let found = detectors.redact(text, own.iter().copied(), &mut out, &mut hits);
    let added = out.strip_prefix("before ").expect("what stood there");
    assert_eq!(found, hits.iter().any(|&count| count > 0));
    assert!(found || added.is_empty());
    (found.then(|| added.to_owned()), hits)
}

#[track_caller]
fn check(detectors: &DetectorSet, text: &str, own: &[&str], want: Option<&str>) {
    let (got, _) = redact(detectors, text, own);
    assert_eq!(got.as_deref(), want, "{text:?}");
}

#[test]
fn detectors_table_examples_hold() {
    for (row, def) in DETECTORS.iter().enumerate() {
        assert_eq!(def.detector as usize, row);
        for (text, want) in def.hits {
            check(&single_detector(def), text, def.own_values, Some(want));
        }
        for text in def.misses {
            check(&single_detector(def), text, def.own_values, None);
        }
    }
}

#[test]
fn detectors_redact_together() {
    let own = &["Berg", "0600000000"];
    for (text, want) in [
        (
            "Berg, bsn 111222333, tel 06-00000000, 111222333@example.org",
            "[own_values], bsn [bsn], tel [phone], [email]",
        ),
        ("111222333 0600000000", "[bsn] [phone]"),
        ("0600000000.jan@example.org", "[email]"),
        ("NL91 ABNA 0417 1643 00 85.07.30-033.28", "[iban] [rijksregisternummer]"),
        ("Berg0600000000", "[own_values][phone]"),
        ("0600000000Berg", "[phone][own_values]"),
        ("boek 9789027439642, pas 20013004567890", "boek 9789027439642, pas [card_number]"),
        ("geb. 30-07-1985 te 1234 AB 12", "geb. [birth_date] te [postcode_house_number]"),
    ] {
        check(&all_detectors(), text, own, Some(want));
    }
    check(&all_detectors(), "drie boeken te laat", own, None);
    check(&DetectorSet::default(), "bsn 111222333 Berg", own, None);
}

#[test]
fn detector_hits_are_counted_by_row() {
    let (_, hits) = redact(&all_detectors(), "111222333 jan@example.org 111222333", &[]);
    assert_eq!(hits[..DETECTORS.len()], [2, 0, 0, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn detector_set_reports_all_unknown_names() {
    let unknown = DetectorSet::new(["bsn", "bns", "mail"]).expect_err("unknown names");
    let unknown: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    assert_eq!(unknown, ["unknown detector \"bns\"", "unknown detector \"mail\""]);
    let two = DetectorSet::new(["phone", "bsn", "phone"]).expect("detectors");
    assert_eq!(two.enabled_names().collect::<Vec<_>>(), ["bsn", "phone"]);
    assert!(!two.needs_own_values());
}

/// Returns detectors of a config, of these names and patterns.
fn custom_detectors(list: &[(&str, &str)]) -> CustomDetectors {
    let one = |&(name, pattern): &(&str, &str)| CustomDetector {
        name: name.to_owned(),
        description: "A number.".to_owned(),
        pattern: CustomPattern::new(pattern).expect("a pattern"),
        hits: Vec::new(),
        misses: Vec::new(),
    };
    list.iter().map(one).collect()
}

#[test]
fn custom_detectors_redact_with_those_of_the_table() {
    let custom = custom_detectors(&[("pupil", r"\bll[- ]?\d{4,}\b"), ("room", r"lokaal \w+")]);
    let all = DetectorSet::all(&custom);
    assert!(all.is_complete() && !all_detectors_with(&custom, &["pupil"]).is_complete());
    for (text, want) in [
        ("leerling LL-1234 komt", "leerling [pupil] komt"),
        ("leerling ＬＬ １２３４ komt", "leerling [pupil] komt"),
        ("ll 1234 in Lokaal e\u{301}", "[pupil] in [room]"),
        // What overlaps is replaced as one, under the name of what begins first.
        ("lokaal jan@example.org", "[room]"),
        ("lokaal 111222333", "[room]"),
    ] {
        check(&all, text, &[], Some(want));
    }
    let (_, hits) = redact(&all, "ll1234, ll2345 en lokaal 3", &[]);
    assert_eq!(hits[DETECTORS.len()..][..3], [2, 1, 0]);
    // Only what is enabled.
    check(&all_detectors_with(&custom, &["room"]), "ll1234 lokaal 3", &[], Some("ll1234 [room]"));
    assert!(!all.finds_any(&mut DetectorBuffers::default(), "in het lokaal"));
    assert!(all.finds_any(&mut DetectorBuffers::default(), "in Lokaal a"));
}

fn all_detectors_with(custom: &CustomDetectors, names: &[&str]) -> DetectorSet {
    DetectorSet::with_custom(names.iter().copied(), custom).expect("detectors")
}

#[test]
fn custom_pattern_that_cannot_be_used_is_refused() {
    for (pattern, want) in [
        ("a(", "unclosed group"),
        ("(?=a)b", "look-around, including look-ahead and look-behind, is not supported"),
        ("a*", "it finds the empty text"),
        ("(?:a{999}){999}", "it is too large when compiled"),
    ] {
        let error = CustomPattern::new(pattern).expect_err(pattern);
        assert_eq!(error.to_string(), want);
    }
}

/// A pattern without a longest match finds so many; the last takes in what follows.
#[test]
fn custom_pattern_without_a_longest_match_finds_the_rest_of_a_text_after_many() {
    for (pattern, has_longest) in
        [("ll\\d+", false), ("ll\\d{1,9}", true), ("ll.*?\\d", false), ("ll[0-9]{600}|ll1", false)]
    {
        for count in [1, 63, 64, 65, 1_000] {
            let text = "ll1 en ".repeat(count);
            let found: Vec<_> =
                CustomPattern::new(pattern).unwrap().find_in_folded(&text).collect();
            let is_capped = !has_longest && count >= 64;
            assert_eq!(found.len(), if is_capped { 64 } else { count }, "{pattern}");
            let last = found.last().unwrap();
            assert_eq!(last.end == text.len(), is_capped, "{pattern}");
            assert!(found[..found.len() - 1].iter().all(|range| range.len() == 3), "{pattern}");
        }
    }
}

proptest! {
    /// Whatever a detector finds, nothing of it stays.
    #[test]
    fn nothing_that_a_detector_found_remains(text in arbitrary_note()) {
        let custom = custom_detectors(&[("digits", "[0-9][0-9 ]+"), ("rest", "[0-9a-z]{3}")]);
        let all = DetectorSet::all(&custom);
        let (redacted, _) = redact(&all, &text, OWN_VALUES);
        let mut rest = redacted.unwrap_or(text);
        let names = DETECTORS.iter().map(|def| def.name).chain(["digits", "rest"]);
        for name in names {
            rest = rest.replace(&format!("[{name}]"), "\u{1}");
        }
        for one in custom.iter() {
            prop_assert!(!one.pattern.finds_any(&rest), "{} in {rest:?}", one.name);
        }
    }
}

/// Text that is nearly something.
fn arbitrary_note() -> impl Strategy<Value = String> {
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

const OWN_VALUES: &[&str] = &[
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
fn check_start_finder(text: &str, on: &[bool]) {
    let names = DETECTORS.iter().zip(on).filter(|(_, on)| **on);
    let on = DetectorSet::new(names.map(|(def, _)| def.name)).expect("detectors");
    let mut buffers = DetectorBuffers::default();
    let own = OWN_VALUES.iter().filter(|_| on.needs_own_values());
    own.for_each(|value| buffers.add_own_value([*value]));
    let folded = buffers.fold_buffers.fold_text(text);
    let scan = TextScan { detectors: &on, text: folded.bytes(), own_values: &buffers.own_values };
    let (mut some, mut every) = (Vec::new(), Vec::new());
    scan.for_each_hit(|hit| some.push(hit));
    scan.for_each_hit_from_starts(|at, _| at, |hit| every.push(hit));
    assert_eq!(some, every, "{text:?}");
    assert!(every.is_empty() || !buffers.own_values.is_empty() || may_contain_hit(text.as_bytes()));
}

#[test]
fn hit_may_end_inside_email_local_part() {
    // The name begins in a book's number, where nothing does.
    let text = "(9791234567896NL20013004567890&jan@example.org";
    check_start_finder(text, &[true; 9]);
    check(&all_detectors(), text, &[], Some("(9791234567896NL[card_number][email]"));
}

proptest! {
    #[test]
    fn s04_redacted_text_has_no_further_hits(text in arbitrary_note()) {
        for def in DETECTORS {
            if let (Some(out), _) = redact(&single_detector(def), &text, OWN_VALUES) {
                prop_assert_eq!(redact(&single_detector(def), &out, OWN_VALUES).0, None, "{} left", def.name);
            }
        }
        if let (Some(out), _) = redact(&all_detectors(), &text, OWN_VALUES) {
            prop_assert_eq!(redact(&all_detectors(), &out, OWN_VALUES).0, None);
        }
    }

    #[test]
    fn start_finder_misses_no_hit(text in arbitrary_note(), on in proptest::collection::vec(any::<bool>(), 9)) {
        check_start_finder(&text, &on);
    }

    #[test]
    fn redact_never_panics(text in any::<String>(), own in proptest::collection::vec(any::<String>(), 0..4)) {
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        redact(&all_detectors(), &text, &own);
    }

    #[test]
    fn s04_own_words_are_always_redacted(before in "[ .,]{0,2}", name in "[A-Z][a-z]{3,9}", after in "[ .,0-9]{0,2}") {
        let text = format!("x{before} {name}{after}");
        let (out, _) = redact(&all_detectors(), &text, &[&name]);
        prop_assert!(out.is_some_and(|out| !out.contains(&name)));
    }
}

/// Takes minutes where a text is read over and over.
#[test]
fn redact_takes_linear_time() {
    let own: Vec<String> =
        ["a", "-", "1", "@", "a-", "1 ", "a."].iter().map(|piece| piece.repeat(300)).collect();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    for piece in
        ["1", "1 ", "a", "a-", "a@", "@", "+", "(", "a.", "a@a.", "+1", "NL9", "1a", "1-", "12, "]
    {
        redact(&all_detectors(), &piece.repeat(10_000), &own);
    }
}
