//! Generated policies and records: does the engine say what the plain model says?

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use zeef::engine::lane::Lane;
use zeef::policy::Policy;
use zeef::policy::catalogue::Kind;

use crate::dice::Dice;
use crate::engine::{self, Engine};
use crate::plain::{Bounds, Message, Model};
use crate::policies::{self, TIMES_MS};
use crate::records::Stream;
use crate::reference::nasty;
use crate::written::of_folder;

/// A policy that passed the loader, compiled.
pub struct World {
    pub policy: Policy,
    pub bounds: Bounds,
    pub lane: Arc<Lane>,
    /// When its records are decided.
    pub now_ms: i64,
}

impl World {
    /// The policy of a seed; none where the loader or the compiler refuses it.
    pub fn of_seed(seed: u64) -> Result<World, Vec<String>> {
        let mut dice = Dice::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let now_ms = *dice.pick(&TIMES_MS);
        policies::write(folder.path(), &mut dice, now_ms);
        let loaded = Policy::load(folder.path()).map_err(|mistakes| {
            let told = mistakes.iter().map(ToString::to_string);
            told.collect::<Vec<_>>()
        })?;
        let bounds = Bounds {
            record_bytes: *dice.pick(&[1 << 20, 1 << 20, 4_000]),
            depth: *dice.pick(&[64, 64, 64, 64, 8, 5]),
            keys: *dice.pick(&[4_096, 4_096, 4_096, 60]),
            output_bytes: *dice.pick(&[1_000_000, 1_000_000, 1_000_000, 200]),
        };
        let lane = engine::lane(&loaded.policy, bounds).map_err(|error| vec![error.to_string()])?;
        Ok(World {
            policy: loaded.policy,
            bounds,
            lane,
            now_ms,
        })
    }

    /// Messages of all kinds that the lane reads.
    pub fn stream(&self, seed: u64) -> Stream<'_> {
        let engine = Engine::new(&self.lane, self.now_ms);
        let reads = |kind: &Kind| engine.reads(&kind.name);
        Stream::new(&self.policy, seed, self.now_ms, reads)
    }
}

/// Both sides, side by side, with what was offered last for whoever reads a
/// failure.
pub struct Pair<'w> {
    world: &'w World,
    model: Model<'w>,
    engine: Engine,
    patrons: BTreeMap<Vec<u8>, Message>,
    /// What patrons said.
    said: Vec<Message>,
    pub outcomes: BTreeMap<String, usize>,
}

impl<'w> Pair<'w> {
    pub fn new(world: &'w World) -> Self {
        Pair {
            world,
            model: Model::new(&world.policy, world.bounds, world.now_ms),
            engine: Engine::new(&world.lane, world.now_ms),
            patrons: BTreeMap::new(),
            said: Vec::new(),
            outcomes: BTreeMap::new(),
        }
    }

    /// Offers a message to both, and fails where they differ.
    pub fn agree(&mut self, name: &str, message: &Message) {
        let wanted = self.model.offer(message);
        let found = self.engine.offer(message);
        if found != wanted {
            self.fail(name, message, &found, &wanted);
        }
        let stops = std::mem::take(&mut self.model.stopped);
        assert_eq!(self.engine.stopped, stops, "{name}: whether the lane stops");
        if stops {
            *self.outcomes.entry("stops".to_owned()).or_default() += 1;
        }
        for line in wanted {
            let outcome = match line.split_once(" withheld ") {
                Some((_, reason)) => format!("withheld {reason}"),
                None if line.starts_with("released") => "released".to_owned(),
                None if line.ends_with(" held") => "held".to_owned(),
                None => line,
            };
            *self.outcomes.entry(outcome).or_default() += 1;
        }
        if message.kind == "patron" {
            let key = message.key.clone().unwrap_or_default();
            self.patrons.insert(key, message.clone());
        }
        if ["consent", "objection"].contains(&&*message.kind) {
            self.said.push(message.clone());
        }
    }

    fn fail(&self, name: &str, message: &Message, found: &[String], wanted: &[String]) -> ! {
        let text = |bytes: Option<&[u8]>| {
            bytes.map_or("(null)".into(), |bytes| {
                String::from_utf8_lossy(bytes).into_owned()
            })
        };
        let only = |these: &[String], those: &[String]| {
            let lines = these.iter().filter(|line| !those.contains(line));
            lines
                .map(|line| format!("    {line}\n"))
                .collect::<String>()
        };
        let said = self.said.iter().filter(|said| said.key == message.key);
        let said = said.map(|said| {
            let (kind, at) = (&said.kind, (said.partition, said.offset));
            format!("  said {kind} at {at:?} {}\n", text(said.value.as_deref()))
        });
        let patron = self.patrons.get(message.key.as_deref().unwrap_or_default());
        panic!(
            "{name}\n  the engine alone says\n{}  the plain model alone says\n{}  \
             of {} {} {} at {:?}\n  (bytes {:?})\n  patron {}\n{}  bounds {:?} now {}\n{}",
            only(found, wanted),
            only(wanted, found),
            message.kind,
            text(message.key.as_deref()),
            text(message.value.as_deref()),
            (message.partition, message.offset),
            message.value.as_deref().map(escaped),
            text(patron.and_then(|patron| patron.value.as_deref())),
            said.collect::<String>(),
            self.world.bounds,
            self.world.now_ms,
            self.world.policy.canonical,
        );
    }
}

fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Worlds by seed, and how many seeds were refused.
pub fn worlds(seeds: std::ops::Range<u64>) -> (Vec<(u64, World)>, BTreeMap<String, usize>) {
    let mut refused = BTreeMap::new();
    let mut worlds = Vec::new();
    for seed in seeds {
        match World::of_seed(seed) {
            Ok(world) => worlds.push((seed, world)),
            Err(mistakes) => {
                if std::env::var_os("EQUIVALENCE_REFUSALS").is_some() {
                    eprintln!("policy {seed}: {mistakes:#?}");
                }
                *refused.entry(kind_of(&mistakes[0])).or_default() += 1;
            }
        }
    }
    (worlds, refused)
}

/// The rule that a mistake breaks, or the mistake without its file.
fn kind_of(mistake: &str) -> String {
    match mistake.rsplit_once(" [rule ") {
        Some((_, rule)) => rule.trim_end_matches(']').to_owned(),
        None => mistake
            .rsplit(".toml:")
            .next()
            .unwrap_or(mistake)
            .to_owned(),
    }
}

fn run(seeds: std::ops::Range<u64>, records: usize) {
    let count = usize::try_from(seeds.end - seeds.start).unwrap();
    let (worlds, refused) = worlds(seeds);
    assert!(
        worlds.len() * 4 > count * 3,
        "too many refused: {refused:?}"
    );
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let programs = worlds.iter().flat_map(|(_, world)| &world.lane.recipients);
    let alike = programs.filter(|program| program.asks_like_before).count();
    assert!(alike * 10 > worlds.len(), "{alike} that ask the same");
    for (seed, world) in &worlds {
        let mut stream = world.stream(*seed);
        let mut pair = Pair::new(world);
        let patrons = stream.patrons();
        for (place, message) in patrons.iter().enumerate() {
            pair.agree(&format!("policy {seed}, patron {place}"), message);
        }
        for place in 0..records {
            pair.agree(&format!("policy {seed}, record {place}"), &stream.message());
        }
        for (outcome, count) in pair.outcomes {
            *outcomes.entry(outcome).or_default() += count;
        }
    }
    eprintln!("policies refused: {refused:?}\n{outcomes:#?}");
    // A generator that makes nothing of worth would agree too.
    for outcome in [
        "released",
        "applied",
        "withheld malformed",
        "withheld condition",
        "withheld library",
        "withheld library_conflict",
        "withheld patron_erased",
        "withheld agreement_lapsed",
        "withheld authorisation_lapsed",
        "withheld objection_unreadable",
        "withheld objection_marketing",
        "withheld objection",
        "withheld consent_unreadable",
        "withheld no_consent",
        "withheld stages",
        "withheld loan_history_off",
        "withheld patron_lapsed",
        "withheld lapsed",
        "withheld key_missing",
        "withheld receiver_unlisted",
        "withheld too_large",
        "refused identifier",
        "refused miskeyed",
        "refused malformed",
        "refused null_value",
        "refused unlisted_field",
        "held",
        "refused too_deep",
        "refused too_many_keys",
        "refused too_large",
        "refused not_an_object",
        "refused unclear",
        "stops",
    ] {
        assert!(
            outcomes.contains_key(outcome),
            "never {outcome}: {outcomes:?}"
        );
    }
}

/// The records that `tests/reference` is held against, through this model too.
#[test]
fn the_shipped_policy_does_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let world = of_folder(&folder).unwrap();
    for seed in 0..8 {
        let mut pair = Pair::new(&world);
        for (offset, message) in (0..).zip(nasty::stream(seed, 250)) {
            let message = Message {
                kind: message.source.to_owned(),
                partition: 0,
                offset,
                key: message.key,
                value: message.value,
            };
            pair.agree(&format!("stream {seed}, record {offset}"), &message);
        }
    }
}

#[test]
fn any_policy_does_what_it_says() {
    run(0..90, 110);
}

/// Minutes long, so for people.
#[test]
#[ignore = "a million records: cargo test --release --test equivalence -- --ignored"]
fn any_policy_does_what_it_says_a_million_times() {
    run(10_000..14_000, 250);
}
