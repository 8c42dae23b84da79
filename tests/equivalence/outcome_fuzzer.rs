//! Bytes that chance and feedback choose: what leads to a new outcome is kept,
//! and damaged further.
//!
//! A short run is part of `cargo test`. A long one is
//!
//! ```text
//! EQUIVALENCE_FUZZ=10000000 cargo test --release --test equivalence fuzz
//! ```
//!
//! with `EQUIVALENCE_SEED` for another course. What a fuzzer of branches knows by
//! instrumentation, this one knows by outcomes: the set of reasons that an input
//! leads to. That needs no crate, no nightly compiler and no build of its own.

use std::collections::{BTreeSet, HashSet};
use std::sync::LazyLock;

use crate::generated_policies::{CompiledPolicy, EngineAndModel};
use crate::handwritten_policy::compile_files;
use crate::policy_generator::NOW_MS;
use crate::record_generator::MessageStream;
use zeef_test_kit::config::{PolicyFile, kind_file, recipient_file};
use zeef_test_kit::model::SourceMessage;
use zeef_test_kit::mutations::mutate;
use zeef_test_kit::rng::TestRng;

static FUZZ_POLICY: LazyLock<CompiledPolicy> =
    LazyLock::new(|| compile_files(&policy_files()).unwrap());

/// A policy with every type and every way to show it, and few fields.
fn policy_files() -> [PolicyFile; 8] {
    let patron = kind_file(
        "patron",
        "role = \"patron\"\nid = \"patron_id\"\nkey = \"patron\"",
        r#"
        patron_id = { type = "text", class = "identifier", meaning = "m" }
        library = { type = "isil", class = "plain", meaning = "m" }
        country = { type = "text", class = "plain", meaning = "m" }
        surname = { type = "text", class = "personal", meaning = "m" }
        surname_prefix = { type = "text", class = "personal", meaning = "m" }
        card_number = { type = "card_number", class = "identifier", meaning = "m" }
        card_kind = { type = "text", class = "plain", meaning = "m" }
        rijksregisternummer = { type = "rijksregisternummer", class = "national_id", meaning = "m" }
        "address.street" = { type = "text", class = "contact", meaning = "m" }
        "address.number" = { type = "text_or_number", class = "contact", meaning = "m" }
        "wishes[]" = { type = "text", class = "plain", meaning = "m" }
        "membership.status" = { type = "text", values = ["active", "ended"], class = "plain", meaning = "m" }
        "membership.ends_on" = { type = "date", class = "plain", meaning = "m" }
        "account.created_at" = { type = "instant", class = "event", meaning = "m" }
        "cards[].number" = { type = "card_number", class = "identifier", meaning = "m" }
        born_on = { type = "date", class = "plain", meaning = "m" }
        "#,
    );
    let visit = kind_file(
        "visit",
        "id = \"head.ref\"\nkey = \"patron\"",
        r#"
        "head.ref" = { type = "text", class = "identifier", meaning = "m" }
        patron_id = { type = "text", class = "identifier", meaning = "m" }
        library = { type = "isil", class = "plain", meaning = "m" }
        at = { type = "instant", class = "plain", meaning = "m" }
        then_at = { type = "instant", class = "plain", meaning = "m" }
        title = { type = "text", class = "plain", meaning = "m" }
        title_long = { type = "text", class = "plain", meaning = "m" }
        count = { type = "integer", class = "plain", meaning = "m" }
        paid = { type = "boolean", class = "plain", meaning = "m" }
        remark = { type = "text", class = "free_text", meaning = "m" }
        status = { type = "text", values = ["open", "closed"], class = "plain", meaning = "m" }
        "rows[].code" = { type = "text", class = "plain", meaning = "m" }
        "rows[].cents" = { type = "integer", class = "plain", meaning = "m" }
        "deep.er.flags[]" = { type = "boolean", class = "plain", meaning = "m" }
        "#,
    );
    let note = kind_file(
        "note",
        "id = \"note_id\"\nkey = \"none\"\nclosed = true",
        r#"
        note_id = { type = "text", class = "identifier", meaning = "m" }
        on = { type = "date", class = "plain", meaning = "m" }
        "tags[]" = { type = "text_or_number", class = "plain", meaning = "m" }
        "by.name" = { type = "text", class = "plain", meaning = "m" }
        "#,
    );
    let consent = kind_file(
        "consent",
        "role = \"gate\"\nid = \"consent_id\"\nkey = \"patron\"",
        r#"
        consent_id = { type = "text", class = "identifier", meaning = "m" }
        patron_id = { type = "text", class = "identifier", meaning = "m" }
        library = { type = "isil", class = "plain", meaning = "m" }
        purpose = { type = "text", values = ["p"], class = "plain", meaning = "m" }
        recipient = { type = "text", values = ["patrons", "visits", "-"], class = "plain", meaning = "m" }
        decision = { type = "text", values = ["granted", "refused"], class = "plain", meaning = "m" }
        manner = { type = "text", values = ["written", "oral"], class = "plain", meaning = "m" }
        at = { type = "instant", class = "plain", meaning = "m" }
        "#,
    );
    let objection = kind_file(
        "objection",
        "role = \"gate\"\nid = \"objection_id\"\nkey = \"patron\"",
        r#"
        objection_id = { type = "text", class = "identifier", meaning = "m" }
        patron_id = { type = "text", class = "identifier", meaning = "m" }
        library = { type = "isil", class = "plain", meaning = "m" }
        kind = { type = "text", values = ["direct_marketing", "special_circumstances"], class = "plain", meaning = "m" }
        purpose = { type = "text", values = ["p", "q"], class = "plain", meaning = "m" }
        status = { type = "text", values = ["lodged", "dismissed"], class = "plain", meaning = "m" }
        "#,
    );
    let of = |source: &str, key: &str, from: &str| {
        format!(
            "source = \"{source}\"\nkey = {{ pseudonym = \"{key}\" }}\n\
             retention = {{ term = \"P5Y\", from = \"{from}\", after = \"retract\" }}\n"
        )
    };
    let patrons = recipient_file(
        "patrons",
        &format!(
            "{}marketing = true\n\
             consent = {{ purpose = \"p\", implied_by = \"account.created_at\" }}",
            of("patron", "patron_id", "membership.ends_on")
        ),
        r#"
        mark = { from = "surname", mask = "first_letters" }
        card = { from = "card_number" }
        cards = { from = "cards[]", fields = ["number"] }
        address = { from = "address", fields = ["number", "street"] }
        "#,
    );
    let visits = recipient_file(
        "visits",
        &format!(
            "{}stages = [\"at\", \"then_at\"]\nwhen = [{{ field = \"status\", is = [\"open\"] }}, {{ field = \"paid\", present = true }}]",
            of("visit", "head.ref", "at")
        ),
        r#"
        title_long = { from = "title_long" }
        title = { from = "title" }
        who = { from = "patron_id", mask = "pseudonym" }
        wishes = { from = "patron.wishes[]" }
        street = { from = "patron.address.street" }
        suffix = { from = "patron.card_number", mask = "last_digits" }
        remark = { from = "remark", detect = "all" }
        rows = { from = "rows[]", fields = ["cents", "code"] }
        flags = { from = "deep.er.flags[]" }
        count = { from = "count" }
        paid = { from = "paid" }
        "#,
    );
    let notes = recipient_file(
        "notes",
        &of("note", "note_id", "on"),
        "tags = { from = \"tags[]\" }\nname = { from = \"by.name\", mask = \"lowercase\" }",
    );
    [patron, visit, note, consent, objection, patrons, visits, notes]
}

const KIND_BY_BYTE: [&str; 8] =
    ["visit", "visit", "note", "patron", "consent", "objection", "consent", "patron"];

/// Takes `bytes` as records, a line each, whose first byte says which kind; both
/// sides decide them in turn. Returns what came of them, each outcome once.
fn run_input(compiled: &CompiledPolicy, bytes: &[u8]) -> BTreeSet<String> {
    let mut pair = EngineAndModel::new(compiled);
    for (offset, line) in (0..).zip(bytes.split(|&byte| byte == b'\n').take(16)) {
        let Some((&first, value)) = line.split_first() else {
            continue;
        };
        let kind = KIND_BY_BYTE[usize::from(first) % KIND_BY_BYTE.len()];
        let message = SourceMessage {
            kind: kind.to_owned(),
            partition: 0,
            offset,
            key: (kind != "note").then(|| b"p1".to_vec()),
            value: Some(value.to_vec()),
        };
        pair.check_agreement("fuzz", &message);
    }
    pair.outcomes.into_keys().collect()
}

/// Some whole records of each kind to begin with, as `one` takes them.
fn seed_corpus(compiled: &CompiledPolicy, rng: &mut TestRng) -> Vec<Vec<u8>> {
    let kinds = ["visit", "note", "patron", "consent", "objection"];
    let lines = kinds.map(|name| {
        let mut stream =
            MessageStream::new(&compiled.policy, rng.next_u64(), NOW_MS, |kind| kind.name == name);
        let first = KIND_BY_BYTE.iter().position(|kind| *kind == name).unwrap();
        let messages = (0..200).map(|_| stream.next_message());
        let lines = messages.filter_map(|message| {
            let value = message.value.filter(|value| !value.contains(&b'\n'))?;
            let own = message.key.is_none_or(|key| key == b"p1");
            let line = [vec![u8::try_from(first).unwrap()], value].concat();
            own.then_some(line)
        });
        lines.take(24).collect::<Vec<_>>()
    });
    let [visits, notes, patrons, consents, objections] = &lines;
    let groups = visits.iter().zip(patrons).map(|(visit, patron)| {
        let [note, consent, objection] = [notes, consents, objections].map(|all| rng.pick(all));
        [consent, patron, visit, note, objection, visit, consent, patron]
            .map(Vec::as_slice)
            .join(&b'\n')
    });
    groups.collect()
}

fn fuzz(seed: u64, count: usize) -> (usize, HashSet<String>) {
    let mut rng = TestRng::new(seed);
    let mut corpus = seed_corpus(&FUZZ_POLICY, &mut rng);
    let mut known = HashSet::new();
    for _ in 0..count {
        let mut bytes = rng.pick(&corpus).clone();
        let other = rng.pick(&corpus).clone();
        mutate(&mut bytes, &other, &mut rng);
        bytes.truncate(20_000);
        let outcomes = run_input(&FUZZ_POLICY, &bytes);
        let signature: Vec<&str> = outcomes.iter().map(String::as_str).collect();
        if known.insert(signature.join(", ")) && corpus.len() < 2_000 {
            corpus.push(bytes);
        }
    }
    (corpus.len(), known)
}

#[test]
fn fuzzer_finds_no_difference_to_model() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let count = number("EQUIVALENCE_FUZZ").unwrap_or(2_000);
    let seed = number("EQUIVALENCE_SEED").unwrap_or(1);
    let (corpus, known) = fuzz(seed, usize::try_from(count).unwrap());
    eprintln!("{count} inputs, {corpus} kept, {} sets of outcomes", known.len());
    assert!(known.len() > 20, "{known:?}");
}
