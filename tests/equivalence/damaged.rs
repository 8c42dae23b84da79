//! Damaged records between whole ones: the pipeline must not remember anything
//! of them that it should not.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use zeef::sample::{Library, Settings};

use crate::damage::damage;
use crate::dice::Dice;
use crate::generated::{Pair, World, worlds};
use crate::plain::Message;
use crate::records::STEP;
use crate::written::of_folder;

static SHIPPED: LazyLock<World> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    of_folder(&folder).unwrap()
});

/// Messages of an invented library, patrons before what they do.
fn sampled(seed: u64, count: usize) -> Vec<Message> {
    let day = jiff::civil::date(2026, 1, 15);
    let library = Library::new(Settings::new(seed, 40, day));
    let messages = library.messages().take(count).enumerate();
    messages
        .map(|(offset, message)| Message {
            kind: message.source.to_owned(),
            partition: 0,
            offset: i64::try_from(offset).unwrap(),
            key: Some(message.key.into_bytes()),
            value: message.value.map(String::into_bytes),
        })
        .collect()
}

/// Offers the messages, `count` times with damage, and as they are in between.
fn offer(pair: &mut Pair<'_>, name: &str, messages: &[Message], count: usize, dice: &mut Dice) {
    let mut at = 0;
    let mut damaged = 0;
    while damaged < count {
        let message = &messages[at % messages.len()];
        let round = i64::try_from(at / messages.len() * messages.len()).unwrap();
        at += 1;
        let mut message = message.clone();
        message.offset += round * STEP;
        if dice.chance(25) {
            pair.agree(&format!("{name}, whole {at}"), &message);
            continue;
        }
        damaged += 1;
        let other = dice.pick(messages).value.clone().unwrap_or_default();
        if let Some(value) = &mut message.value {
            damage(value, &other, dice);
        }
        pair.agree(&format!("{name}, damaged {at}"), &message);
    }
}

fn run(seed: u64, rounds: usize, count: usize) {
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let mut dice = Dice::new(seed);
    let (worlds, _) = worlds(seed..seed + rounds as u64);
    let generated = worlds.iter().map(|(seed, world)| {
        let mut stream = world.stream(*seed);
        let mut messages = stream.patrons();
        messages.extend((0..60).map(|_| stream.message()));
        (format!("policy {seed}"), world, messages)
    });
    let shipped = (0..rounds).map(|round| {
        let messages = sampled(seed + round as u64, 150);
        (format!("sample {seed} {round}"), &*SHIPPED, messages)
    });
    for (name, world, messages) in generated.chain(shipped) {
        let mut pair = Pair::new(world);
        offer(&mut pair, &name, &messages, count, &mut dice);
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
fn damaged_records_do_no_more_than_they_say() {
    run(500_000, 20, 500);
}

/// Minutes long, so for people.
#[test]
#[ignore = "a million records: cargo test --release --test equivalence -- --ignored"]
fn a_million_damaged_records_do_no_more_than_they_say() {
    run(600_000, 500, 1_000);
}
