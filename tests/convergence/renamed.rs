//! A recipient that is renamed while its topic and key stay. On Kafka its outputs and those of the
//! former name are the same messages: whatever is said about the former one, the topic has what
//! the served one alone would have there, and beside it only what the former one keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, OnceLock};

use zeef::engine::lane::{CompileOptions, Lane};
use zeef::policy::pseudonym::Pseudonymiser;
use zeef_test_kit::config::{copy_shipped_config, load_folder};
use zeef_test_kit::deployment::{DeploymentSetup, InMemoryDeployment, ValuesByKey};
use zeef_test_kit::engine::new_key;
use zeef_test_kit::rng::TestRng;
use zeef_test_kit::scenario::START_MS;
use zeef_test_kit::test_recipients::REGISTER_FIELDS;

const TOPIC: &str = "out.shared";
const DAY_MS: i64 = 86_400_000;
const PATRONS: usize = 4;

/// By name: the loans that each is to have.
const RECIPIENTS: [(&str, &str); 2] =
    [("reader", r#"["open", "lost"]"#), ("lender", r#"["open", "overdue"]"#)];
const ACTIONS: [&str; 2] = ["keep", "retract"];

/// Which of [`RECIPIENTS`] is served, and what is said about the other: one of [`ACTIONS`].
type Config = (usize, usize);

fn compile_lane((served, action): Config) -> Arc<Lane> {
    let folder = copy_shipped_config();
    let (name, statuses) = RECIPIENTS[served];
    let recipient = format!(
        r#"
name         = "{name}"
topic        = "{TOPIC}"
{REGISTER_FIELDS}
purpose      = "reading"
legal_basis  = "contract"
source       = "loan"
libraries    = "all"
loan_history = true
when         = [{{ field = "status", is = {statuses} }}]
retention    = {{ term = "P1Y", from = "due_on", after = "retract" }}
key          = {{ pseudonym = "loan_id" }}
fields       = {{ patron = {{ from = "branch" }}, status = {{ from = "status" }}, email = {{ from = "patron.email" }} }}
"#
    );
    fs::write(folder.path().join(format!("recipients/{name}.toml")), recipient).unwrap();
    let (former, _) = RECIPIENTS[1 - served];
    let action = ACTIONS[action];
    let zeef = folder.path().join("zeef.toml");
    let text = fs::read_to_string(&zeef).unwrap();
    let section = format!("\n[former.{former}]\ntopics = [\"{TOPIC}\"]\nwhat = \"{action}\"\n");
    fs::write(&zeef, text + &section).unwrap();
    let policy = load_folder(folder.path()).unwrap();
    let key = new_key("shared", b"the-key-that-both-names-have-0123");
    let key_of = |_: &str| Some(Pseudonymiser::new(&key));
    let is_meant = |one: &zeef::policy::recipient::Recipient| one.name == name;
    let lane = Lane::compile("main", &policy, is_meant, key_of, CompileOptions::default());
    Arc::new(lane.unwrap())
}

fn cached_lane((served, action): Config) -> Arc<Lane> {
    static CACHE: [OnceLock<Arc<Lane>>; 4] = [const { OnceLock::new() }; 4];
    let place = served * 2 + action;
    Arc::clone(CACHE[place].get_or_init(|| compile_lane((served, action))))
}

#[derive(Clone, Debug)]
enum Step {
    /// A message of a source, under a patron's key.
    Push(&'static str, String, Option<String>),
    Switch(Config),
    Restart,
}

/// A patron that has this e-mail address.
fn patron(number: usize, email: usize) -> Step {
    let id = format!("p{number}");
    let value = format!(
        r#"{{"patron_id":"{id}","library":"NL-A","kind":"person","surname":"Berg","membership":{{"id":"M","status":"active"}},"email":"berg{email}@example.org"}}"#
    );
    Step::Push("patron", id, Some(value))
}

/// A loan, whose branch says whose it is.
fn loan(number: usize, loan: usize, status: &str) -> Step {
    let id = format!("p{number}");
    let value = format!(
        r#"{{"patron_id":"{id}","library":"NL-A","loan_id":"{id}-{loan}","status":"{status}","branch":"{id}","due_on":"2026-06-01"}}"#
    );
    Step::Push("loan", id, Some(value))
}

fn erasure(number: usize) -> Step {
    Step::Push("patron", format!("p{number}"), None)
}

/// A deployment that goes from name to name, and what its topic has to hold.
struct RenamedDeployment {
    setup: DeploymentSetup,
    deployment: InMemoryDeployment,
    config: Config,
    /// Every message so far, with its time.
    messages: Vec<(i64, Step)>,
    now_ms: i64,
    /// What the served recipient has, and what the other keeps.
    served: ValuesByKey,
    kept: ValuesByKey,
}

impl RenamedDeployment {
    fn new(setup: DeploymentSetup, config: Config) -> Self {
        let lanes = vec![cached_lane(config)];
        RenamedDeployment {
            setup,
            deployment: InMemoryDeployment::of_lanes(setup, START_MS, lanes),
            config,
            messages: Vec::new(),
            now_ms: START_MS,
            served: ValuesByKey::new(),
            kept: ValuesByKey::new(),
        }
    }

    fn push(deployment: &mut InMemoryDeployment, (at_ms, step): &(i64, Step)) {
        if let Step::Push(source, key, value) = step {
            deployment.set_arrival_time(*at_ms);
            let value = value.as_deref().map(str::as_bytes);
            deployment.push_message(source, 0, Some(key.as_bytes()), value);
        }
    }

    /// What the topic would have if the served recipient had always been the only one.
    fn outputs_of_served_alone(&self) -> ValuesByKey {
        let lanes = vec![cached_lane(self.config)];
        let mut alone = InMemoryDeployment::of_lanes(DeploymentSetup::DEFAULT, self.now_ms, lanes);
        for message in &self.messages {
            Self::push(&mut alone, message);
        }
        alone.run_to_end().expect("a run to the end");
        topic_of(&alone)
    }

    fn play(&mut self, step: &Step) {
        self.now_ms += DAY_MS;
        self.deployment.set_clock(self.now_ms);
        let mut erased = BTreeSet::new();
        match step {
            Step::Push(_, id, value) => {
                let message = (self.now_ms, step.clone());
                Self::push(&mut self.deployment, &message);
                self.messages.push(message);
                erased.extend(value.is_none().then(|| id.clone()));
            }
            Step::Switch(config) => {
                if config.0 != self.config.0 {
                    self.kept = std::mem::take(&mut self.served);
                }
                self.config = *config;
                self.deployment.own_lanes = Some(vec![cached_lane(*config)]);
                self.deployment.restart();
            }
            Step::Restart => self.deployment.restart(),
        }
        self.deployment.run_to_end().expect("a run to the end");
        self.served = self.outputs_of_served_alone();
        let is_retracted = ACTIONS[self.config.1] == "retract";
        let served = &self.served;
        self.kept.retain(|key, value| {
            let value: serde_json::Value = serde_json::from_slice(value).expect("an output");
            let is_erased = erased.contains(value["patron"].as_str().expect("a patron"));
            !is_retracted && !is_erased && !served.contains_key(key)
        });
    }

    /// Checks the topic, and that the state says the same of it.
    fn check(&self) -> Result<(), String> {
        let mut wanted = self.kept.clone();
        wanted.extend(self.served.clone());
        let found = topic_of(&self.deployment);
        if found != wanted {
            let show = |values: &ValuesByKey| -> BTreeMap<String, String> {
                let text = |value: &Vec<u8>| String::from_utf8_lossy(value).into_owned();
                values.iter().map(|(key, value)| (key.clone(), text(value))).collect()
            };
            return Err(format!("{:#?} instead of {:#?}", show(&found), show(&wanted)));
        }
        self.deployment.check_state()?;
        // A new name sends what lies there once more.
        self.deployment.check_nothing_sent_twice(|_| true)
    }
}

fn topic_of(deployment: &InMemoryDeployment) -> ValuesByKey {
    let mut values = ValuesByKey::new();
    for output in deployment.published_to(TOPIC) {
        let key = String::from_utf8(output.key.expect("a key")).expect("text");
        match output.value {
            Some(value) => values.insert(key, value),
            None => values.remove(&key),
        };
    }
    values
}

/// Plays steps, and returns after which of them the topic was wrong.
fn play(setup: DeploymentSetup, first: Config, steps: &[Step]) -> Result<(), String> {
    let mut renamed = RenamedDeployment::new(setup, first);
    for (index, step) in steps.iter().enumerate() {
        renamed.play(step);
        renamed.check().map_err(|error| {
            let setup = renamed.setup;
            format!("after {:#?} of {first:?}, {setup:?}: {error}", &steps[..=index])
        })?;
    }
    Ok(())
}

const READER_KEEPS_LENDER: Config = (0, 0);
const LENDER_KEEPS_READER: Config = (1, 0);
const LENDER_RETRACTS_READER: Config = (1, 1);

/// What was kept under the former name, and is then to go, takes nothing from the served one.
#[test]
fn retraction_from_a_former_name_leaves_what_is_served_there() {
    let steps = [
        patron(0, 1),
        loan(0, 0, "open"),
        loan(0, 1, "lost"),
        Step::Switch(LENDER_KEEPS_READER),
        Step::Switch(LENDER_RETRACTS_READER),
        Step::Restart,
        loan(0, 0, "overdue"),
    ];
    let setup = DeploymentSetup::DEFAULT;
    play(setup, READER_KEEPS_LENDER, &steps).unwrap();
    let mut renamed = RenamedDeployment::new(setup, READER_KEEPS_LENDER);
    let mut lens = Vec::new();
    for step in &steps {
        renamed.play(step);
        lens.push(topic_of(&renamed.deployment).len());
    }
    assert_eq!(lens, [0, 1, 2, 2, 1, 1, 1]);
}

/// What is kept under the former name goes with its patron, and does not reach its next holder.
#[test]
fn what_a_former_name_keeps_ends_with_its_patron() {
    let steps = [
        patron(0, 1),
        loan(0, 0, "open"),
        loan(0, 1, "lost"),
        Step::Switch(LENDER_KEEPS_READER),
        patron(0, 2),
        erasure(0),
        patron(0, 3),
        loan(0, 0, "open"),
        loan(0, 1, "open"),
        Step::Switch(LENDER_RETRACTS_READER),
    ];
    play(DeploymentSetup::DEFAULT, READER_KEEPS_LENDER, &steps).unwrap();
}

/// Earlier versions noted one message for both names. That is made good, whatever comes next.
#[test]
fn state_with_one_message_for_two_names_is_made_good() {
    let ends: [&[Step]; 3] = [
        &[Step::Switch(LENDER_RETRACTS_READER)],
        &[loan(0, 0, "overdue"), Step::Switch(LENDER_RETRACTS_READER)],
        &[erasure(0), patron(0, 2), loan(0, 0, "open"), Step::Switch(LENDER_RETRACTS_READER)],
    ];
    for end in ends {
        let setup = DeploymentSetup::DEFAULT;
        let mut renamed = RenamedDeployment::new(setup, READER_KEEPS_LENDER);
        [patron(0, 1), loan(0, 0, "open")].iter().for_each(|step| renamed.play(step));
        let mut lane = compile_lane(LENDER_KEEPS_READER);
        Arc::get_mut(&mut lane).expect("the only one").has_outputs_by_owner = true;
        renamed.deployment.own_lanes = Some(vec![lane]);
        renamed.deployment.restart();
        renamed.deployment.run_to_end().expect("a run to the end");
        let row = renamed.deployment.published_to("zeef.state.main");
        let has_both = |row: &Vec<u8>| {
            let row = String::from_utf8_lossy(row);
            RECIPIENTS.iter().all(|(name, _)| row.contains(&format!(r#""{name}":{{"#)))
        };
        assert!(row.iter().filter_map(|row| row.value.as_ref()).any(has_both));
        renamed.play(&Step::Switch(LENDER_KEEPS_READER));
        for step in end {
            renamed.play(step);
            assert_eq!(topic_of(&renamed.deployment), renamed.served, "{step:?}");
            renamed.deployment.check_state().unwrap();
        }
    }
}

fn random_step(rng: &mut TestRng) -> Step {
    let number = rng.below(PATRONS);
    match rng.below(20) {
        0..=8 => loan(
            number,
            rng.below(3),
            rng.pick_str(&["open", "open", "lost", "overdue", "returned"]),
        ),
        9..=12 => patron(number, rng.below(3)),
        13 => erasure(number),
        14..=17 => Step::Switch((rng.below(2), rng.below(2))),
        _ => Step::Restart,
    }
}

#[test]
fn renamed_recipient_has_what_it_alone_would_have() {
    for seed in 0..25 {
        let mut rng = TestRng::new(seed);
        let first: Vec<Step> = (0..PATRONS).map(|number| patron(number, 0)).collect();
        let later = (0..25).map(|_| random_step(&mut rng));
        let steps: Vec<Step> = first.into_iter().chain(later).collect();
        let setup = DeploymentSetup {
            batch_records: *rng.pick(&[1, 3, 20_000]),
            fail_every: *rng.pick(&[None, Some(2)]),
            rebalance_every: *rng.pick(&[None, Some(5)]),
            ..DeploymentSetup::DEFAULT
        };
        play(setup, (rng.below(2), rng.below(2)), &steps).unwrap_or_else(|error| {
            panic!("seed {seed}: {error}");
        });
    }
}
