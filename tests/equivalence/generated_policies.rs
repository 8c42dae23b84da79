//! Generated policies and records, decided by the engine and by the model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zeef::engine::lane::Lane;
use zeef::policy::Policy;
use zeef::policy::catalogue::RecordKind;

use crate::handwritten_policy::compile_policy;
use crate::policy_generator::{self, TIMES_MS};
use crate::record_generator::MessageStream;
use zeef_test_kit::adversarial;
use zeef_test_kit::config::load_shipped_config;
use zeef_test_kit::engine::{EngineRunner, compile_lane, key_by_name};
use zeef_test_kit::model::json::{self, JsonLimits};
use zeef_test_kit::model::{ModelLimits, PolicyModel, SourceMessage};
use zeef_test_kit::rng::TestRng;

/// A policy that passed the loader, compiled.
pub struct CompiledPolicy {
    pub policy: Policy,
    pub limits: ModelLimits,
    pub lane: Arc<Lane>,
    /// When its records are decided.
    pub now_ms: i64,
}

impl CompiledPolicy {
    /// The policy of a seed; none where the loader or the compiler refuses it.
    pub fn generate(seed: u64) -> Result<CompiledPolicy, Vec<String>> {
        let mut rng = TestRng::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let now_ms = *rng.pick(&TIMES_MS);
        policy_generator::write_policy(folder.path(), &mut rng, now_ms);
        let loaded = Policy::load(folder.path()).map_err(|mistakes| {
            let mistake_texts = mistakes.iter().map(ToString::to_string);
            mistake_texts.collect::<Vec<_>>()
        })?;
        let limits = ModelLimits {
            max_record_bytes: *rng.pick(&[1 << 20, 1 << 20, 4_000]),
            json: JsonLimits {
                max_depth: *rng.pick(&[64, 64, 64, 64, 8, 5]),
                max_members: *rng.pick(&[4_096, 4_096, 4_096, 60]),
            },
            max_output_bytes: *rng.pick(&[1_000_000, 1_000_000, 1_000_000, 200]),
        };
        let lane = compile_lane(&loaded.policy, key_by_name, limits)
            .map_err(|error| vec![error.to_string()])?;
        Ok(CompiledPolicy { policy: loaded.policy, limits, lane, now_ms })
    }

    pub fn new_model(&self) -> PolicyModel<'_> {
        PolicyModel::new(&self.policy, key_by_name, self.limits, self.now_ms)
    }

    /// Messages of all kinds that the lane reads.
    pub fn message_stream(&self, seed: u64) -> MessageStream<'_> {
        let engine = EngineRunner::new(&self.lane, self.now_ms);
        let reads = |kind: &RecordKind| engine.reads_kind(&kind.name);
        MessageStream::new(&self.policy, seed, self.now_ms, reads)
    }
}

/// Both sides, and what was offered for whoever reads a failure.
pub struct EngineAndModel<'w> {
    compiled: &'w CompiledPolicy,
    model: PolicyModel<'w>,
    engine: EngineRunner,
    patrons: BTreeMap<Vec<u8>, SourceMessage>,
    /// What patrons said.
    consents: Vec<SourceMessage>,
    pub outcomes: BTreeMap<String, usize>,
}

impl<'w> EngineAndModel<'w> {
    pub fn new(compiled: &'w CompiledPolicy) -> Self {
        EngineAndModel {
            compiled,
            model: compiled.new_model(),
            engine: EngineRunner::new(&compiled.lane, compiled.now_ms),
            patrons: BTreeMap::new(),
            consents: Vec::new(),
            outcomes: BTreeMap::new(),
        }
    }

    /// Offers a message to both, and fails if they differ; returns the outcomes.
    pub fn check_agreement(&mut self, name: &str, message: &SourceMessage) -> Vec<String> {
        let wanted = self.model.decide_message(message);
        let found = self.engine.decide_message(message);
        if found != wanted {
            self.panic_with_difference(name, message, &found, &wanted);
        }
        let stops = std::mem::take(&mut self.model.must_stop);
        assert_eq!(self.engine.must_stop, stops, "{name}: whether the lane stops");
        if stops {
            *self.outcomes.entry("stops".to_owned()).or_default() += 1;
        }
        for line in &wanted {
            let outcome = match line.split_once(" withheld ") {
                Some((_, reason)) => format!("withheld {reason}"),
                None if line.starts_with("released") => "released".to_owned(),
                None if line.ends_with(" held") => "held".to_owned(),
                None => line.clone(),
            };
            *self.outcomes.entry(outcome).or_default() += 1;
        }
        if message.kind == "patron" {
            let key = message.key.clone().unwrap_or_default();
            self.patrons.insert(key, message.clone());
        }
        if ["consent", "objection"].contains(&&*message.kind) {
            self.consents.push(message.clone());
        }
        wanted
    }

    fn panic_with_difference(
        &self,
        name: &str,
        message: &SourceMessage,
        found: &[String],
        wanted: &[String],
    ) -> ! {
        let text = |bytes: Option<&[u8]>| {
            bytes.map_or("(null)".into(), |bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let only = |these: &[String], those: &[String]| {
            let lines = these.iter().filter(|line| !those.contains(line));
            lines.map(|line| format!("    {line}\n")).collect::<String>()
        };
        let said = self.consents.iter().filter(|said| said.key == message.key);
        let said = said.map(|said| {
            let (kind, at) = (&said.kind, (said.partition, said.offset));
            format!("  said {kind} at {at:?} {}\n", text(said.value.as_deref()))
        });
        let patron = self.patrons.get(message.key.as_deref().unwrap_or_default());
        panic!(
            "{name}\n  the engine alone says\n{}  the plain model alone says\n{}  \
             of {} {} {} at {:?}\n  (bytes {:?})\n  patron {}\n{}  limits {:?} now {}\n{}",
            only(found, wanted),
            only(wanted, found),
            message.kind,
            text(message.key.as_deref()),
            text(message.value.as_deref()),
            (message.partition, message.offset),
            message.value.as_deref().map(escape_bytes),
            text(patron.and_then(|patron| patron.value.as_deref())),
            said.collect::<String>(),
            self.compiled.limits,
            self.compiled.now_ms,
            self.compiled.policy.canonical_text,
        );
    }
}

fn escape_bytes(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Worlds by seed, and how many seeds were refused.
pub fn generate_policies(
    seeds: std::ops::Range<u64>,
) -> (Vec<(u64, CompiledPolicy)>, BTreeMap<String, usize>) {
    let mut refused = BTreeMap::new();
    let mut worlds = Vec::new();
    for seed in seeds {
        match CompiledPolicy::generate(seed) {
            Ok(world) => worlds.push((seed, world)),
            Err(mistakes) => {
                if std::env::var_os("EQUIVALENCE_REFUSALS").is_some() {
                    eprintln!("policy {seed}: {mistakes:#?}");
                }
                *refused.entry(violated_rule(&mistakes[0])).or_default() += 1;
            }
        }
    }
    (worlds, refused)
}

/// The rule that a mistake breaks, or the mistake without its file.
fn violated_rule(mistake: &str) -> String {
    match mistake.rsplit_once(" [rule ") {
        Some((_, rule)) => rule.trim_end_matches(']').to_owned(),
        None => mistake.rsplit(".toml:").next().unwrap_or(mistake).to_owned(),
    }
}

fn run_policies(seeds: std::ops::Range<u64>, records: usize) {
    let count = usize::try_from(seeds.end - seeds.start).unwrap();
    let (worlds, refused) = generate_policies(seeds);
    assert!(worlds.len() * 4 > count * 3, "too many refused: {refused:?}");
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let programs = worlds.iter().flat_map(|(_, compiled)| &compiled.lane.recipients);
    let alike = programs.filter(|program| program.has_same_checks_as_previous).count();
    assert!(alike * 10 > worlds.len(), "{alike} that ask the same");
    for (seed, compiled) in &worlds {
        let mut stream = compiled.message_stream(*seed);
        let mut pair = EngineAndModel::new(compiled);
        for (place, message) in stream.first_messages().iter().enumerate() {
            pair.check_agreement(&format!("policy {seed}, first message {place}"), message);
        }
        for place in 0..records {
            pair.check_agreement(&format!("policy {seed}, record {place}"), &stream.next_message());
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
        "withheld named_patrons",
        "withheld stages",
        "withheld paper_pending",
        "withheld no_channel",
        "withheld stage_in_future",
        "withheld no_advice",
        "withheld loan_history_off",
        "withheld record_gone",
        "withheld patron_lapsed",
        "withheld lapsed",
        "withheld key_missing",
        "withheld party_unlisted",
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
        assert!(outcomes.contains_key(outcome), "never {outcome}: {outcomes:?}");
    }
}

/// Streams of plausible and malformed records for every shipped recipient. They must
/// reach every recipient and reason, or they prove little.
#[test]
fn shipped_policy_decides_as_model() {
    let compiled = compile_policy(load_shipped_config().policy).unwrap();
    let mut outcomes = BTreeSet::new();
    for seed in 0..40 {
        let mut pair = EngineAndModel::new(&compiled);
        for (offset, message) in (0..).zip(adversarial::generate_stream(seed, 500)) {
            let message = SourceMessage {
                kind: message.source.to_owned(),
                partition: 0,
                offset,
                key: message.key,
                value: message.value,
            };
            for line in pair.check_agreement(&format!("stream {seed}, record {offset}"), &message) {
                outcomes.insert(match line.strip_prefix("released out.") {
                    Some(released) => check_released(released),
                    None => line,
                });
            }
        }
    }
    // What these ask for comes together too seldom here: tests/rules releases them.
    let rare = [
        "acquisitions",
        "deurwaarder-rrn",
        "direct-debit",
        "family-access",
        "ido-output",
        "ido-referral",
        "marketing",
        "newsletter",
        "panel",
        "school",
    ];
    let recipients = compiled.policy.recipients.iter();
    let common = recipients.filter(|recipient| !rare.contains(&recipient.name.as_str()));
    let every = common.flat_map(|recipient| {
        let needs_patron = recipient.without_patron.is_none();
        let of_patron = ["withheld condition", "withheld patron_erased"];
        let of_patron = of_patron.into_iter().filter(move |_| needs_patron);
        let all = ["released", "withheld malformed"].into_iter().chain(of_patron);
        all.map(|outcome| format!("{} {outcome}", recipient.name))
    });
    let others = [
        "kb-membership withheld no_consent",
        "kb-membership withheld consent_unreadable",
        "statistics withheld record_gone",
        "deurwaarder withheld record_gone",
        "statistics withheld library_conflict",
        "statistics withheld objection_unreadable",
        "statistics withheld objection",
        "statistics withheld consent_unreadable",
        "statistics held",
        "service-message held",
        "service-message withheld patron_lapsed",
        "service-message withheld lapsed",
        "deurwaarder withheld stages",
        "demand-report withheld not_granted",
        "demand-report withheld stage_in_future",
        "legal-demand withheld no_law_article",
        "legal-demand withheld party_unlisted",
        "legal-demand held",
        "refused too_large",
        "refused not_utf8",
        "refused not_json",
        "refused too_deep",
        "refused too_many_keys",
        "refused null_value",
        "refused not_an_object",
        "refused identifier",
        "refused miskeyed",
        "refused unclear",
        "refused malformed",
        "applied",
    ];
    for outcome in every.chain(others.map(str::to_owned)) {
        assert!(outcomes.contains(&outcome), "{outcome} never happened");
    }
}

/// Checks that a key is a pseudonym and a value is JSON without nulls; returns who has it.
#[track_caller]
fn check_released(released: &str) -> String {
    let parts: Vec<&str> = released.splitn(3, ' ').collect();
    let [recipient, key, value] = parts[..] else {
        panic!("{released}");
    };
    assert_eq!(key.len(), 22, "{released}");
    assert!(json::parse(value, JsonLimits::DEFAULT).is_ok(), "{released}");
    assert!(!value.contains(":null"), "{released}");
    // Some have a topic for each receiving party.
    let recipient = recipient.split('.').next().unwrap_or(recipient);
    format!("{recipient} released")
}

#[test]
fn any_policy_decides_as_model() {
    run_policies(400..540, 80);
}

/// Minutes long, so for people.
#[test]
#[ignore = "a million records: cargo test --release --test equivalence -- --ignored"]
fn any_policy_decides_as_model_long() {
    run_policies(10_000..14_000, 250);
}
