//! A demand says itself whether its patron may be told of it: what is told is as if the others had
//! never been there, and who asks for the recipient finds all of them.

use std::collections::BTreeMap;

use serde_json::Value;
use zeef::engine::memory::deliveries::given::{GivenOutput, parse_given_outputs};
use zeef::ledger::answer::{PatronScope, PatronSearch, RecipientQuestion, RecipientSummary};
use zeef::ledger::block::Block;
use zeef::ledger::confidential::ConfidentialRecipients;
use zeef::ledger::line_index::LineIndex;
use zeef::ledger::read_api::ReadQuestion;
use zeef::ledger::retractions::RetractionTracker;
use zeef::policy::Policy;
use zeef::policy::acknowledgement::AcknowledgementRule;
use zeef::policy::form::Date;
use zeef::policy::term::Term;
use zeef::transport::memory::PublishedOutput;
use zeef_test_kit::deployment::{DeploymentSetup, InMemoryDeployment, cached_policy, ledger_keys};
use zeef_test_kit::rng::TestRng;
use zeef_test_kit::scenario::START_MS;
use zeef_test_kit::worker::state_keys;

use super::outputs::check_lane;
use super::{blocks_of, register_of, value_of};

const HOUR_MS: i64 = 3_600_000;
const PATRONS: [&str; 2] = ["p1", "p2"];
const RECIPIENTS: [&str; 2] = ["legal-demand", "demand-report"];

/// One version of a demand of a patron.
#[derive(Clone, Copy, Debug)]
struct Version {
    demand: usize,
    is_granted: bool,
    is_gone: bool,
    /// What it says of itself, as JSON.
    confidential: Option<&'static str>,
    fields: &'static str,
}

impl Version {
    fn patron(&self) -> &'static str {
        PATRONS[self.demand % PATRONS.len()]
    }

    fn to_json(self) -> String {
        let Version { demand, is_granted, is_gone, confidential, fields } = self;
        let ids = format!(
            r#""demand_id":"v{demand}","patron_id":"{}","library":"NL-AmrBKW""#,
            self.patron()
        );
        if is_gone {
            return format!(r#"{{{ids},"gone":true}}"#);
        }
        let decision = if is_granted { "granted" } else { "refused" };
        let confidential =
            confidential.map(|value| format!(r#","confidential":{value}"#)).unwrap_or_default();
        format!(
            r#"{{{ids},"authority":"politie","law_article":"126nd Sv","manner":"written","fields":{fields},"received_at":"2025-11-03T09:00:00Z","team_leader":"T. Leider","advice":{{"by":"fg","at":"2025-11-04T10:00:00Z","advice":"grant"}},"decision":{{"by":"d","role":"directeur","at":"2025-11-05T11:00:00Z","decision":"{decision}","legal_duty":true}}{confidential}}}"#
        )
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Demand(Version),
    /// The patron of this index has another name.
    Patron(usize, usize),
}

fn generate_steps(seed: u64) -> Vec<Step> {
    let mut rng = TestRng::new(seed);
    let says = [None, Some("true"), Some("false"), Some("false"), Some("\"false\""), Some("null")];
    let fields = [r#"["surname"]"#, r#"["surname","email"]"#, r#"["email"]"#];
    let demand = |rng: &mut TestRng| {
        Step::Demand(Version {
            demand: rng.below(4),
            is_granted: rng.below(4) > 0,
            is_gone: rng.below(8) == 0,
            confidential: says[rng.below(says.len())],
            fields: fields[rng.below(fields.len())],
        })
    };
    (0..24)
        .map(|number| match rng.below(6) {
            0 => Step::Patron(rng.below(PATRONS.len()), number),
            _ => demand(&mut rng),
        })
        .collect()
}

/// Whether each demand is told, as its last version says with which something was given or taken.
fn told_demands(steps: &[Step]) -> BTreeMap<usize, bool> {
    // Whether the recipients have it, and what its last version says.
    let mut states = BTreeMap::<usize, (bool, bool)>::new();
    let mut told = BTreeMap::new();
    for step in steps {
        let Step::Demand(version) = step else {
            continue;
        };
        let (had, was_told) = states.get(&version.demand).copied().unwrap_or_default();
        let has = version.is_granted && !version.is_gone;
        let is_told =
            if version.is_gone { was_told } else { version.confidential == Some("false") };
        if had || has {
            told.insert(version.demand, is_told);
        }
        states.insert(version.demand, (has, is_told));
    }
    told
}

fn patron_json(id: &str, number: usize) -> String {
    format!(
        r#"{{"patron_id":"{id}","library":"NL-AmrBKW","kind":"person","surname":"Berg{number}","email":"lid@example.org","membership":{{"id":"M","status":"active"}}}}"#
    )
}

/// Plays the steps, an hour each, but for those of demands that are not wanted.
fn play(
    setup: DeploymentSetup,
    steps: &[Step],
    is_wanted: impl Fn(usize) -> bool,
) -> InMemoryDeployment {
    let setup = DeploymentSetup { has_ledger: true, ..setup };
    let mut deployment = InMemoryDeployment::new(setup, START_MS);
    let push = |deployment: &mut InMemoryDeployment, source: &str, id: &str, value: &str| {
        deployment.push_message(source, 0, Some(id.as_bytes()), Some(value.as_bytes()));
    };
    for id in PATRONS {
        push(&mut deployment, "patron", id, &patron_json(id, 0));
    }
    deployment.run_to_end().expect("a run to the end");
    for (hour, step) in (1..).zip(steps) {
        deployment.set_clock(START_MS + hour * HOUR_MS);
        match step {
            Step::Demand(version) if is_wanted(version.demand) => {
                push(&mut deployment, "demand", version.patron(), &version.to_json());
            }
            Step::Demand(_) => {}
            Step::Patron(patron, number) => {
                let id = PATRONS[*patron];
                push(&mut deployment, "patron", id, &patron_json(id, *number));
            }
        }
        deployment.run_to_end().expect("a run to the end");
        // What a row says is read again.
        if hour % 7 == 0 {
            deployment.restart();
        }
    }
    deployment.run_to_end().expect("a run to the end");
    deployment
}

/// The scenarios' policy, whose recipients of demands acknowledge.
fn policy() -> Policy {
    let mut policy = cached_policy(false).clone();
    for one in policy.recipients.iter_mut().filter(|one| RECIPIENTS.contains(&&*one.name)) {
        assert!(one.confidentiality.is_some() && one.told_unless.is_some(), "{}", one.name);
        one.acknowledgement = Some(AcknowledgementRule {
            topic: format!("ack.{}", one.name),
            within: Term::parse("P7D").unwrap(),
            since: Date::parse("2000-01-01").unwrap(),
        });
    }
    policy
}

/// The last rows of a lane's state.
fn rows_of(outputs: &[PublishedOutput]) -> BTreeMap<&[u8], &[u8]> {
    let rows = outputs.iter().filter(|one| one.topic.starts_with("zeef.state."));
    let mut last = BTreeMap::new();
    for row in rows {
        match (&row.key, &row.value) {
            (Some(key), Some(value)) => drop(last.insert(&**key, &**value)),
            (Some(key), None) => drop(last.remove(&**key)),
            (None, _) => {}
        }
    }
    last
}

/// All that a patron is told of recipients of demands: what they have, what was given and taken, the
/// answer of the read interface, and the open retractions.
fn told_of(id: &str, outputs: &[PublishedOutput], policy: &Policy) -> Vec<String> {
    let (keys, register) = (ledger_keys(), register_of(outputs));
    let hash = state_keys().patron_hash(id);
    let left_out = ConfidentialRecipients::at(START_MS / 1_000, policy, &register);
    let scope = PatronScope {
        register: &register,
        keys: &keys,
        patron_hash: Some(hash.0),
        left_out: &left_out,
    };
    let mut search = PatronSearch::new(scope);
    let mut index = LineIndex::default();
    let tracker = RetractionTracker::of_policy(policy, keys.clone()).unwrap();
    let mut tracker = tracker.without(&left_out).unwrap().with_only_patron(hash.0);
    for output in blocks_of(outputs) {
        let block: Block<'_> = serde_json::from_slice(value_of(output)).unwrap();
        search.add_block(&block);
        index.add_block(&block).unwrap();
        tracker.add_block(&block);
    }
    let rows = rows_of(outputs);
    let given = rows.values().flat_map(|row| parse_given_outputs(row, hash).unwrap());
    let given: Vec<GivenOutput> =
        given.filter(|one| RECIPIENTS.contains(&&*one.recipient)).collect();
    let is_told = |one: &&GivenOutput| !left_out.has_record(&one.recipient, one.is_told);
    let hidden = given.iter().filter(|one| !is_told(one));
    search.finish(hidden.map(|one| (&*one.topic, &*one.key)));
    let mut told = Vec::new();
    for one in given.iter().filter(is_told) {
        told.push(format!("{one:?} {:?}", search.find_given(&one.topic, one.key.as_bytes())));
    }
    told.sort();
    let of_demands = |activity: &str| RECIPIENTS.iter().any(|name| activity.contains(*name));
    let events = search.events.iter().filter(|event| of_demands(&event.activity));
    told.extend(events.map(|event| format!("{event:?}")));
    let body = format!(
        r#"{{"dpl.core.data_subject_id":"{id}","dpl.core.data_subject_id_type":"patron"}}"#
    );
    for mut line in index.find_lines(&ReadQuestion::parse(body.as_bytes()).unwrap(), &scope) {
        // These are made of the numbers of batch and line.
        for name in ["traceId", "spanId"] {
            line[name] = Value::Null;
        }
        let text = line.to_string();
        told.extend(of_demands(&text).then_some(text));
    }
    for (name, asked) in tracker.recipients() {
        let mut open: Vec<String> = asked.open().map(|one| format!("{name}: {one:?}")).collect();
        open.sort();
        told.extend(open);
    }
    told
}

/// How many outputs a recipient had, as who asks for the recipient is told.
fn count_received(outputs: &[PublishedOutput]) -> usize {
    let register = register_of(outputs);
    let mut summary = RecipientSummary::default();
    let question =
        RecipientQuestion { recipient: RECIPIENTS[0], from: 0, until: i64::MAX, field: None };
    for output in blocks_of(outputs) {
        let block: Block<'_> = serde_json::from_slice(value_of(output)).unwrap();
        summary.add_block(question, &block, &register);
    }
    summary.outputs.len()
}

#[test]
fn confidential_demand_is_in_nothing_that_its_patron_is_told() {
    let policy = policy();
    let setups = [
        DeploymentSetup::DEFAULT,
        DeploymentSetup {
            fail_every: Some(3),
            rebalance_every: Some(5),
            ..DeploymentSetup::DEFAULT
        },
    ];
    let (mut shown, mut hidden) = (0, 0);
    for seed in 0..8 {
        let steps = generate_steps(seed);
        let told = told_demands(&steps);
        let is_told = |demand: usize| told.get(&demand) == Some(&true);
        let setup = setups[usize::from(seed % 2 == 1)];
        let with = play(setup, &steps, |_| true).lanes_with_outputs().remove(0);
        let without = play(setup, &steps, is_told).lanes_with_outputs().remove(0);
        check_lane(&with.0, &with.1);
        assert_eq!(count_received(&with.1), told.len(), "{seed}");
        for (place, id) in PATRONS.iter().enumerate() {
            let said = told_of(id, &with.1, &policy);
            assert_eq!(said, told_of(id, &without.1, &policy), "{seed} {id} {steps:#?}");
            let own = told.iter().filter(|(demand, _)| *demand % PATRONS.len() == place);
            let own: Vec<bool> = own.map(|(_, is_told)| *is_told).collect();
            assert_eq!(said.is_empty(), !own.contains(&true), "{seed} {id} {said:#?}");
            shown += own.iter().filter(|is_told| **is_told).count();
            hidden += own.iter().filter(|is_told| !**is_told).count();
        }
    }
    assert!(shown > 5 && hidden > 5, "{shown} {hidden}");
}

fn version(confidential: &'static str) -> Version {
    let (is_granted, is_gone, fields) = (true, false, r#"["surname"]"#);
    Version { demand: 0, is_granted, is_gone, confidential: Some(confidential), fields }
}

#[test]
fn demand_that_is_confidential_no_more_is_told_from_then_on() {
    let policy = policy();
    let steps = ["true", "true", "false"].map(|says| Step::Demand(version(says)));
    let played = play(DeploymentSetup::DEFAULT, &steps, |_| true);
    let (lane, outputs) = played.lanes_with_outputs().remove(0);
    let counts = check_lane(&lane, &outputs);
    let told = told_of("p1", &outputs, &policy);
    let since = (START_MS + 3 * HOUR_MS) / 1_000;
    let events: Vec<&String> = told.iter().filter(|one| one.starts_with("PatronEvent")).collect();
    assert_eq!(events.len(), 2, "{told:#?}");
    for event in events {
        assert!(event.contains(&format!("time: {since}")) && event.contains("Correct"), "{event}");
    }
    assert!(told[0].contains(&format!("first: {since}")), "{told:#?}");
    // It went out again so that the ledger says so, to each recipient of demands.
    assert_eq!(counts.get(&zeef::ledger::Operation::Correct), Some(&2), "{counts:?}");
}

/// The lines of another year name the output by another hash: the state says which they are.
#[test]
fn demand_that_is_confidential_since_another_year_is_told_no_more() {
    const NEW_YEAR_MS: i64 = 1_798_761_600_000; // 2027-01-01T00:00:00Z
    let policy = policy();
    let setup = DeploymentSetup { has_ledger: true, ..DeploymentSetup::DEFAULT };
    let mut deployment = InMemoryDeployment::new(setup, NEW_YEAR_MS - HOUR_MS);
    let decided = |says| version(says).to_json().replace("2025-11", "2026-11");
    let mut told = Vec::new();
    for (at_ms, says) in [(NEW_YEAR_MS - HOUR_MS, "false"), (NEW_YEAR_MS + HOUR_MS, "true")] {
        deployment.set_clock(at_ms);
        if says == "false" {
            let patron = patron_json("p1", 0);
            deployment.push_message("patron", 0, Some(b"p1"), Some(patron.as_bytes()));
        }
        deployment.push_message("demand", 0, Some(b"p1"), Some(decided(says).as_bytes()));
        deployment.run_to_end().expect("a run to the end");
        let (_, outputs) = deployment.lanes_with_outputs().remove(0);
        let said = told_of("p1", &outputs, &policy);
        told.push(said.iter().filter(|one| !one.starts_with('{')).count());
    }
    // What two recipients have, and got; then nothing.
    assert_eq!(told, [4, 0]);
}
