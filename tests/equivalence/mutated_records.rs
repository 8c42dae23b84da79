//! Damaged records between whole ones: the pipeline must not remember anything
//! of them that it should not.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use zeef_test_kit::config::{load_folder, shipped_config};

use zeef::sample::{SampleLibrary, SampleSettings};

use crate::generated_policies::{CompiledPolicy, EngineAndModel, generate_policies};
use crate::handwritten_policy::compile_policy;
use crate::record_generator::OFFSET_STEP;
use zeef_test_kit::model::SourceMessage;
use zeef_test_kit::mutations::mutate;
use zeef_test_kit::rng::TestRng;

static SHIPPED_POLICY: LazyLock<CompiledPolicy> =
    LazyLock::new(|| compile_policy(load_folder(&shipped_config()).unwrap()).unwrap());

/// Messages of an invented library, patrons before what they do.
fn sample_messages(seed: u64, count: usize) -> Vec<SourceMessage> {
    let day = jiff::civil::date(2026, 1, 15);
    let library = SampleLibrary::new(SampleSettings::new(seed, 40, day));
    let messages = library.messages().take(count).enumerate();
    messages
        .map(|(offset, message)| SourceMessage {
            kind: message.source.to_owned(),
            partition: 0,
            offset: i64::try_from(offset).unwrap(),
            key: message.key.map(String::into_bytes),
            value: message.value.map(String::into_bytes),
        })
        .collect()
}

/// Offers the messages, `count` times with damage, and as they are in between.
fn offer_with_mutations(
    pair: &mut EngineAndModel<'_>,
    name: &str,
    messages: &[SourceMessage],
    count: usize,
    rng: &mut TestRng,
) {
    let mut at = 0;
    let mut damaged = 0;
    while damaged < count {
        let message = &messages[at % messages.len()];
        let round = i64::try_from(at / messages.len() * messages.len()).unwrap();
        at += 1;
        let mut message = message.clone();
        message.offset += round * OFFSET_STEP;
        if rng.chance(25) {
            pair.check_agreement(&format!("{name}, whole {at}"), &message);
            continue;
        }
        damaged += 1;
        let other = rng.pick(messages).value.clone().unwrap_or_default();
        if let Some(value) = &mut message.value {
            mutate(value, &other, rng);
        }
        pair.check_agreement(&format!("{name}, damaged {at}"), &message);
    }
}

fn run_mutations(seed: u64, rounds: usize, count: usize) {
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let mut rng = TestRng::new(seed);
    let (worlds, _) = generate_policies(seed..seed + rounds as u64);
    let generated = worlds.iter().map(|(seed, compiled)| {
        let mut stream = compiled.message_stream(*seed);
        let mut messages = stream.first_messages();
        messages.extend((0..60).map(|_| stream.next_message()));
        (format!("policy {seed}"), compiled, messages)
    });
    let shipped = (0..rounds).map(|round| {
        let messages = sample_messages(seed + round as u64, 150);
        (format!("sample {seed} {round}"), &*SHIPPED_POLICY, messages)
    });
    for (name, compiled, messages) in generated.chain(shipped) {
        let mut pair = EngineAndModel::new(compiled);
        offer_with_mutations(&mut pair, &name, &messages, count, &mut rng);
        for (outcome, count) in pair.outcomes {
            *outcomes.entry(outcome).or_default() += count;
        }
    }
    eprintln!("{outcomes:#?}");
    for outcome in ["refused not_json", "refused not_utf8", "withheld malformed"] {
        assert!(outcomes.contains_key(outcome), "{outcomes:?}");
    }
    // Damage that leaves nothing to decide tells little.
    assert!(outcomes["released"] * 10 > rounds * count, "{outcomes:?}");
}

#[test]
fn mutated_records_decide_as_model() {
    run_mutations(500_000, 20, 500);
}

/// Minutes long, so for people.
#[test]
#[ignore = "a million records: cargo test --release --test equivalence -- --ignored"]
fn mutated_records_decide_as_model_long() {
    run_mutations(600_000, 500, 1_000);
}
