//! No input is quadratic: twice of it takes about twice the work.
//!
//! Each pattern is repeated to some length, and to twice that. What is compared is the
//! processor's time of this thread, so what else the machine does meanwhile does not
//! count, and one good try of some is enough. No speed is asserted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use rustix::time::{ClockId, clock_gettime};
use zeef::engine::delivery::HoldBounds;
use zeef::engine::lane::{CompileOptions, Lane};
use zeef::engine::memory::deliveries::StateKeys;
use zeef::engine::pipeline::{BatchTime, Pipeline};
use zeef::message::{Input, Outbox, Payload, SourceId};
use zeef::policy::Policy;
use zeef::policy::detect::{
    CustomDetector, CustomDetectors, CustomPattern, DETECTOR_ROWS, DETECTORS, DetectorSet,
};
use zeef::policy::mask::{ArgValue, MASKS, Mask, ShortValueCounts, for_each_slip_line};
use zeef::policy::pseudonym::{HmacKey, Pseudonymiser};

/// Twice of what is quadratic takes four times as long; of what is not, twice, and
/// somewhat more where it no longer fits into the nearer caches.
const MAX_TIME_RATIO: f64 = 3.2;
/// How often what grew too much is measured once more.
const TRIES: usize = 6;
/// What takes less is too short to be compared, and far from slow.
const MIN_COMPARABLE_NS: f64 = 2e6;
/// How long texts are. What is quadratic takes most of their time then, also in a
/// build for debugging.
const TEXT_BYTES: usize = 32_768;

fn thread_cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn measure_ns(work: impl FnOnce()) -> f64 {
    let started = thread_cpu_ns();
    work();
    thread_cpu_ns() - started
}

/// Measures `run` of what `make` makes of a size, and of twice that.
#[track_caller]
fn check_linear<T>(name: &str, size: usize, make: impl Fn(usize) -> T, mut run: impl FnMut(&T)) {
    let mut measure = |size: usize| {
        let input = make(size);
        measure_ns(|| run(&input))
    };
    let mut ratios = Vec::new();
    for _ in 0..TRIES {
        let (single, double) = (measure(size), measure(2 * size));
        if double < MIN_COMPARABLE_NS || double / single <= MAX_TIME_RATIO {
            return;
        }
        ratios.push(double / single);
    }
    panic!("{name}: twice of {size} takes {ratios:.1?} times as long");
}

fn repeat_to_length(piece: &str, bytes: usize) -> String {
    piece.repeat(bytes.div_ceil(piece.len().max(1)))
}

/// Texts that were slow once, or look as if they could be.
const ADVERSARIAL_TEXTS: &[&str] = &[
    "12-",
    "1 ",
    "1",
    "1    ",
    "1.",
    "a-",
    "a@",
    "@",
    "a@a.",
    "a@a-",
    "+",
    "(",
    "+1",
    "NL9",
    "NL 9 ",
    "1a",
    "12, ",
    "12-12-1985@",
    "a.1985-07-30.",
    "\u{FDFA}",
    "\u{FDFB}1",
    "é",
    "e\u{301}",
    "\u{301}",
    "\u{200B}",
    " ",
    "\t\n",
    "9789027439642",
    "978-90-274-3964-2 ",
    "30 juli ",
    "juli ",
    "1234 AB ",
    "\u{661}",
    "王",
    "O'Brien ",
    "O' ",
    "van der ",
    "A.",
    "\u{1F468}\u{200D}",
    "\u{1F1E6}",
    "क्",
    "\u{1d7d8}",
];

const OWN_VALUES: &[&str] = &[
    "Jansen-de Vries",
    "O'Brien",
    "van der Berg",
    "jan@example.org",
    "+31600000000",
    "20013004567890",
    "A2001",
    "1985-07-30",
    "Dorpsstraat 12 a",
    "11111111111111",
    "aaaaaaaa",
];

#[test]
fn detectors_are_linear_in_text_length() {
    let all = DetectorSet::new(DETECTORS.iter().map(|def| def.name)).unwrap();
    let examples = DETECTORS.iter().flat_map(|def| {
        let hits = def.hits.iter().map(|(text, _)| *text);
        let texts = hits.chain(def.misses.iter().copied());
        texts.map(move |text| (def, text))
    });
    for (def, text) in examples.filter(|(_, text)| !text.is_empty()) {
        let own = DetectorSet::new([def.name]).unwrap();
        for detectors in [&own, &all] {
            check_detectors(detectors, text);
        }
    }
    for text in ADVERSARIAL_TEXTS {
        check_detectors(&all, text);
        // Where others find nothing a text is read further.
        for name in ["card_number", "email", "own_values"] {
            check_detectors(&DetectorSet::new([name]).unwrap(), text);
        }
    }
}

/// Patterns that read far behind what they find, to the end of the text some of them.
#[test]
fn custom_detectors_are_linear_in_text_length() {
    for (pattern, text) in [
        ("(?:LL){1,99}E|LL", "LL"),
        ("(?:LL)+E|LL", "LL"),
        ("a|a.*b", "a"),
        (r"\d+x|\d", "1"),
        ("w[^q]*q|w", "w"),
        ("a{1,500}b|a", "a"),
        ("[^q]{0,120}q|w", "w"),
        (r"\bll[- ]?\d{4,9}\b", "ll-1234567890 "),
        ("[a-z]{1,99}@!|[a-z]", "é"),
    ] {
        let detector = CustomDetector {
            name: "own".to_owned(),
            description: "Found in a test.".to_owned(),
            pattern: CustomPattern::new(pattern).unwrap(),
            hits: Vec::new(),
            misses: Vec::new(),
        };
        let custom: CustomDetectors = vec![detector].into();
        check_detectors(&DetectorSet::with_custom(["own"], &custom).unwrap(), text);
    }
}

#[track_caller]
fn check_detectors(detectors: &DetectorSet, text: &str) {
    let names: Vec<&str> = detectors.enabled_names().collect();
    let name = format!("{text:?} by {names:?}");
    let make = |size| repeat_to_length(text, size);
    check_linear(&name, TEXT_BYTES, make, |text: &String| {
        let mut hits = [0; DETECTOR_ROWS];
        let own = OWN_VALUES.iter().copied();
        black_box(detectors.redact(text, own, &mut String::new(), &mut hits));
    });
}

#[test]
fn detectors_are_linear_in_number_of_values() {
    let detectors = DetectorSet::new(["own_values"]).unwrap();
    for piece in ["sport", "20013004", "x y", "a@b.c", "1985-07-30"] {
        let make = |size: usize| -> (String, Vec<String>) {
            let values = (0..size).map(|number| format!("{piece}{number:06}"));
            (repeat_to_length(piece, size * 10), values.collect())
        };
        check_linear(&format!("values {piece:?}"), 2_000, make, |(text, own)| {
            let mut hits = [0; DETECTOR_ROWS];
            let own = own.iter().map(String::as_str);
            black_box(detectors.redact(text, own, &mut String::new(), &mut hits));
        });
    }
}

#[test]
fn masks_are_linear_in_input_length() {
    for def in MASKS {
        for example in def.examples {
            let given: BTreeMap<String, ArgValue> = example
                .arguments
                .iter()
                .map(|(name, value)| ((*name).to_owned(), ArgValue::from(*value)))
                .collect();
            let mask = def.build(&given).unwrap();
            let inputs = example.input.into_iter().chain(ADVERSARIAL_TEXTS.iter().copied());
            // All examples have the same settings where it matters for speed.
            let inputs: Vec<&str> = match example.input == def.examples[0].input {
                true => inputs.collect(),
                false => inputs.take(1).collect(),
            };
            for input in inputs.into_iter().filter(|input| !input.is_empty()) {
                let name = format!("{input:?} by {}", def.name);
                let make = |size| repeat_to_length(input, size);
                check_linear(&name, TEXT_BYTES, make, |text: &String| {
                    let text = Some(text.as_str());
                    let mut out = String::new();
                    if let Mask::ShelfSlip { .. } = mask {
                        let rest = [text].into_iter();
                        for_each_slip_line(text, text, rest, &mut out, |line| {
                            black_box(line);
                        });
                    } else {
                        let needs = vec![text; mask.needs().len()];
                        black_box(mask.apply(
                            text,
                            &needs,
                            &mut out,
                            &mut ShortValueCounts::default(),
                        ));
                    }
                });
            }
        }
    }
}

static LANE: LazyLock<Arc<Lane>> = LazyLock::new(|| {
    let policy = Policy::load(Path::new("config")).unwrap().policy;
    let key = test_key();
    let keyed = |_: &str| Some(Pseudonymiser::new(&key));
    Arc::new(Lane::compile("main", &policy, |_| true, keyed, CompileOptions::default()).unwrap())
});

fn test_key() -> HmacKey {
    HmacKey::parse(&format!("test:{}", "Aa".repeat(21) + "A")).unwrap()
}

/// Decides messages of one patron, of which each has a source and a record, all in
/// one batch.
fn decide_batch(pipeline: &mut Pipeline, messages: &[(&str, String)]) {
    let mut outbox = Outbox::default();
    pipeline.begin_batch(BatchTime::from_ms(1_768_478_400_000));
    for (offset, (source, value)) in (0..).zip(messages) {
        let sources = &LANE.sources;
        let place = sources.iter().position(|one| one.kind.name == *source);
        let input = Input {
            source: SourceId(u16::try_from(place.unwrap()).unwrap()),
            partition: 0,
            offset,
            timestamp_ms: None,
            append_time: None,
            trace_parent: None,
            key: Some(b"p"),
            payload: Payload::Bytes(value.as_bytes()),
        };
        pipeline.decide(&input, &mut outbox);
    }
    while pipeline.pending_rechecks() > 0 {
        for place in pipeline.next_rechecks(&mut outbox) {
            pipeline.decide_recheck(place, None, &mut outbox);
        }
    }
    pipeline.commit();
}

fn pipeline_with_state() -> Pipeline {
    let holds = HoldBounds { records_max: 1_000_000, wait_max_ms: i64::MAX };
    Pipeline::with_state(Arc::clone(&LANE), StateKeys::new(&test_key()), holds)
}

const BASE_MEMBERS: &str = r#""patron_id":"p","library":"NL-AmrBKW""#;

fn patron_json(more: &str) -> String {
    format!(
        r#"{{{BASE_MEMBERS},"kind":"person","bsn":"111222333","surname":"Berg","membership":{{"id":"m","status":"active"}}{more}}}"#
    )
}

#[test]
fn records_are_linear_in_bytes() {
    let many = |piece: &str, size: usize| {
        let all = repeat_to_length(piece, size);
        all.trim_end_matches(',').to_owned()
    };
    for (piece, before, after) in [
        ("x", r#","note":""#, r#"""#),
        (r"\u00e9", r#","note":""#, r#"""#),
        (r"\ud83d\ude00", r#","surname":""#, r#"""#),
        ("1", r#","surname":""#, r#"""#),
        ("11122233", r#","card_number":""#, r#"""#),
        ("\u{661}", r#","surname":""#, r#"""#),
        ("e\u{301}", r#","surname":""#, r#"""#),
        ("\u{301}", r#","surname":"O"#, r#"""#),
        ("v. ", r#","surname":""#, r#"""#),
        (r#""11122233","#, r#","interests":["#, "]"),
        (r#""a\\b","#, r#","previous_card_numbers":["#, "]"),
        ("1,", r#","x":["#, "]"),
        ("[[]],", r#","x":["#, "]"),
        ("{},", r#","x":["#, "]"),
        (" ", ",", r#""x":1"#),
        ("1", r#","x":"#, ""),
    ] {
        let make =
            |size| vec![("patron", patron_json(&format!("{before}{}{after}", many(piece, size))))];
        check_linear(&format!("patron with {piece:?}"), TEXT_BYTES, make, |messages| {
            decide_batch(&mut Pipeline::new(Arc::clone(&LANE)), messages);
        });
    }
    for piece in [
        r#"{"title":"Het boek","amount_cents":250},"#,
        r#"{"title":"11122233"},"#,
        r#"{"title":"a","title":"b"},"#,
    ] {
        let debt = |size| {
            format!(
                r#"{{{BASE_MEMBERS},"debt_id":"d","stage":"collection","status":"open","reminded_at":"2025-07-01T08:00:00Z","invoiced_at":"2025-08-01T08:00:00Z","items":[{}]}}"#,
                many(piece, size)
            )
        };
        let make = |size| vec![("patron", patron_json("")), ("debt", debt(size))];
        check_linear(&format!("debt with {piece:?}"), TEXT_BYTES, make, |messages| {
            decide_batch(&mut Pipeline::new(Arc::clone(&LANE)), messages);
        });
    }
    // Members have names of their own, as far as the limit of keys goes.
    let make = |size: usize| {
        let members = (0..size).map(|number| format!(r#","x{number}":{number}"#));
        vec![("patron", patron_json(&members.collect::<String>()))]
    };
    check_linear("patron with members", 1_000, make, |messages| {
        for _ in 0..20 {
            decide_batch(&mut Pipeline::new(Arc::clone(&LANE)), messages);
        }
    });
}

/// A patron with some loans who says very much: each word costs as much as the
/// first, whatever it is.
#[test]
fn statements_of_one_patron_are_linear_in_their_number() {
    type StatementFn = fn(usize) -> (&'static str, String);
    let statements: [(&str, StatementFn); 7] = [
        ("grants", |n| consent_message(n, "granted", "2026-01-01")),
        ("future grants", |n| consent_message(n, "granted", "2030-01-01")),
        ("refusals", |n| consent_message(n, "refused", "2026-01-01")),
        ("consents of one id", |n| {
            consent_message(7, if n % 2 == 0 { "granted" } else { "refused" }, "2026-01-01")
        }),
        ("unclear consents", |n| consent_message(n, "perhaps", "2026-01-01")),
        ("objections", |n| objection_message(n, "special_circumstances")),
        ("objections to marketing", |n| objection_message(n, "direct_marketing")),
    ];
    for (name, statement) in statements {
        let make = |size: usize| {
            let mut messages = vec![(
                "patron",
                patron_json(r#","online_account":{"created_at":"2024-01-01T00:00:00Z"}"#),
            )];
            messages.extend((0..20).map(|number| {
                let loan = format!(r#"{{{BASE_MEMBERS},"loan_id":"l{number}","status":"open","loaned_at":"2025-12-01T10:00:00Z"}}"#);
                ("loan", loan)
            }));
            messages.extend((0..size).map(statement));
            messages
        };
        check_linear(name, 3_000, make, |messages| {
            decide_batch(&mut pipeline_with_state(), messages)
        });
        let many = make(3_000);
        check_linear(
            &format!("loans after {name}"),
            3_000,
            |size| {
                let loans = (0..size).map(|number| {
                let loan = format!(r#"{{{BASE_MEMBERS},"loan_id":"n{number}","status":"open","loaned_at":"2025-12-01T10:00:00Z"}}"#);
                ("loan", loan)
            });
                many.iter().cloned().chain(loans).collect::<Vec<_>>()
            },
            |messages| decide_batch(&mut pipeline_with_state(), messages),
        );
    }
}

/// What differs from one to the next: its time, and which of the purposes it names.
fn consent_message(number: usize, decision: &str, day: &str) -> (&'static str, String) {
    let purposes = ["online-library", "service-message", "statistics"];
    let purpose = purposes[number % purposes.len()];
    let (hour, minute, second) = (number / 3_600 % 24, number / 60 % 60, number % 60);
    let text = format!(
        r#"{{{BASE_MEMBERS},"consent_id":"c{number}","purpose":"{purpose}","decision":"{decision}","manner":"written","at":"{day}T{hour:02}:{minute:02}:{second:02}Z"}}"#
    );
    ("consent", text)
}

fn objection_message(number: usize, kind: &str) -> (&'static str, String) {
    let status = ["lodged", "dismissed"][number % 2];
    let text = format!(
        r#"{{{BASE_MEMBERS},"objection_id":"o{number}","kind":"{kind}","purpose":"statistics","status":"{status}","at":"2026-01-01T00:00:00Z"}}"#
    );
    ("objection", text)
}
