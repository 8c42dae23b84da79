//! What every recipient has, whatever happened on the way: the engine against the last
//! state of the sources.
//!
//! A normal run plays a few hundred scenarios, `.ci/run` a thousand. More of them, from
//! another seed:
//!
//! ```text
//! STORIES=5000 SEED=7 cargo test --test convergence
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test ends where something is not as expected"
)]
#![allow(unreachable_pub, reason = "modules of one test binary")]

mod cases;
mod directory_runs;
mod gone;
mod hold_limits;
mod loss_guard;
mod periods;
mod record_identity;
mod refill;
mod renamed;

use std::collections::BTreeSet;

use zeef::policy::catalogue::Role;
use zeef::policy::reason::Reason;
use zeef::policy::recipient::{ExpiryAction, OutputValue, Recipient, RetentionAction};
use zeef_test_kit::convergence_model::ConvergenceModel;
use zeef_test_kit::deployment::cached_policy;
use zeef_test_kit::deployment::{DeploymentSetup, LaneLayout, ValuesByKey};
use zeef_test_kit::parallel::map_parallel;
use zeef_test_kit::scenario;
use zeef_test_kit::scenario::ScenarioStep;
use zeef_test_kit::scenario_runner::{ScenarioResult, run_scenario, shrink_steps};

/// Plays a scenario on the model alone, which goes on from its last answer.
fn play_on_model(steps: &[ScenarioStep], seen_outcomes: &mut BTreeSet<String>) {
    let mut model = ConvergenceModel::new(scenario::START_MS);
    let mut unread = false;
    for step in steps {
        match step {
            ScenarioStep::PushMessage { source, key, value, arrived_ms } => {
                let key = key.as_deref().map(str::as_bytes);
                let value = value.as_deref().map(str::as_bytes);
                model.push_message(source, 0, (key, value), *arrived_ms);
                unread = true;
            }
            ScenarioStep::SetClock(now_ms) => model.set_clock(*now_ms),
            ScenarioStep::RunToEnd => {
                for (recipient, rows) in model.possible_outputs() {
                    for (id, answers) in rows {
                        if answers.len() > 1 {
                            seen_outcomes.insert(format!("{recipient} several answers"));
                        }
                        let answer = answers.into_iter().next_back().flatten();
                        model.set_found_output(recipient, &id, answer);
                    }
                }
                model.finish_run();
                unread = false;
            }
            ScenarioStep::TruncateSource(source) if !unread => model.truncate(source, 0),
            ScenarioStep::DropPatronNulls => model.drop_nulls(),
            ScenarioStep::SwitchPolicy(changed) => model.set_policy(*changed),
            ScenarioStep::TruncateSource(_)
            | ScenarioStep::Restart
            | ScenarioStep::CompactPatrons => {}
        }
    }
    seen_outcomes.append(&mut model.seen_outcomes);
}

/// What needs several rare events in one story, so that `tests/rules/` holds it instead.
const RARE_OUTCOMES: &[&str] = &[
    "acquisitions lapsed",
    "acquisitions retracted for lapsed",
    "city-monitoring consent_unreadable",
    "deurwaarder-rrn retracted for record_gone",
    "deurwaarder-rrn source_gone",
    "direct-debit retracted for agreement_lapsed",
    "ido-referral source_gone",
    "ill-slip source_gone",
    "marketing consent_unreadable",
    "panel lapsed",
    "panel retracted for lapsed",
    "panel retracted for objection",
    "payment-terminal retracted for malformed",
    "reminder retracted for record_gone",
    "reminder source_gone",
];

/// The stories must reach every recipient and every reason, or they prove little.
#[test]
fn scenarios_reach_every_recipient_and_reason() {
    let seen_outcomes = map_parallel(0..1_600, |seed| {
        let mut seen_outcomes = BTreeSet::new();
        play_on_model(&scenario::generate_scenario(seed, 40), &mut seen_outcomes);
        seen_outcomes
    });
    let seen_outcomes: BTreeSet<String> = seen_outcomes.into_iter().flatten().collect();
    let mut missing = Vec::new();
    let mut want = |what: String| {
        if !seen_outcomes.contains(&what) && !RARE_OUTCOMES.contains(&&*what) {
            missing.push(what);
        }
    };
    let policy = cached_policy(false);
    for recipient in &policy.recipients {
        let name = &recipient.name;
        let source = &policy.record_kinds[recipient.source_kind_index];
        let of_patron = source.role == Role::Patron;
        let has_patrons = source.is_keyed_by_patron && recipient.without_patron.is_none();
        let mut outcomes = vec!["released", "malformed", "retracted for malformed"];
        if has_patrons {
            outcomes.extend(["patron_erased", "retracted for patron_erased"]);
        }
        if recipient.outlives_membership.is_none() && has_patrons {
            outcomes.push("patron_lapsed");
        }
        if recipient.is_stopped_by_objections() && has_patrons {
            outcomes.extend(["objection", "objection_unreadable"]);
            outcomes.extend(["retracted for objection"]);
            outcomes.extend(["consent_unreadable"]);
        }
        if recipient.is_for_named_patrons() {
            outcomes.extend(["no_consent", "retracted for no_consent", "consent_unreadable"]);
            outcomes.extend(["retracted for consent_unreadable", "retracted for condition"]);
        }
        if !of_patron && has_patrons {
            outcomes.extend(["held", "retracted for held"]);
        }
        if !of_patron {
            outcomes.push("has of a source that is cut");
        }
        if source.gone_path.is_some() {
            outcomes.push("record_gone");
            if recipient.thinned.is_none() {
                outcomes.push("retracted for record_gone");
            }
        }
        if recipient.conditions.iter().any(|one| one.refusal_reason == Reason::Condition) {
            outcomes.extend(["condition", "retracted for condition"]);
        }
        if !of_patron && has_patrons && !source.allows_other_library {
            outcomes.push("library_conflict");
        }
        if !of_patron && has_patrons && recipient.consent.is_none() {
            outcomes.push("source_gone");
        }
        if recipient.consent.is_some() {
            outcomes.extend(["no_consent", "consent_unreadable"]);
            outcomes.extend(["retracted for no_consent"]);
        }
        // Whose membership must not have ended fails that condition first.
        let mut conditions = recipient.conditions.iter();
        let of_membership = ["membership.status", "membership.ends_on"];
        if conditions.any(|one| of_membership.contains(&&*one.field.path)) {
            outcomes.retain(|outcome| *outcome != "patron_lapsed");
        } else if recipient.retention.after == RetentionAction::Retract {
            outcomes.extend(["lapsed", "retracted for lapsed"]);
        }
        if recipient.agreement.as_ref().is_some_and(|paper| paper.after == ExpiryAction::Retract) {
            outcomes.extend(["retracted for agreement_lapsed"]);
        }
        for outcome in outcomes {
            want(format!("{name} {outcome}"));
        }
    }
    for what in [
        "own-marketing objection_marketing",
        "own-marketing released against marketing",
        "consent refused unclear",
        "consent refused null_value",
        "objection refused unclear",
        "objection refused null_value",
        "own-marketing released by a policy",
        "own-circle released by a policy",
        "own-written released by a policy",
        "own-keeper released by a policy",
        "own-returner released by a policy",
        "own-joined released by a policy",
        "own-timed condition",
        "own-timed retracted for condition",
        "visitor released by a policy",
        "own-circle library",
        "own-keeper kept",
        "own-keeper agreement_lapsed",
        "own-national retracted for authorisation_lapsed",
        "deurwaarder stages",
        "ido-referral special_words",
        "ido-referral must_not_exist",
        "ido-referral retracted for must_not_exist",
        "legal-demand party_unlisted",
        "legal-demand stages",
        "demand-report stages",
        "ido-output retracted for miskeyed",
        "ido-output retracted for personal_data",
        "ido-output retracted for unlisted_field",
        "statistics period_open",
        "statistics waits for its period",
        "statistics taken back before its period",
        "own-circle loan_history_off",
        "own-circle retracted for loan_history_off",
        "own-thinned retracted for record_gone",
        "own-thinned released by a policy",
        "own-thinned thinned",
        "statistics thinned",
        "statistics forgotten",
        "statistics forgotten still",
        "statistics forgotten and erased",
        "statistics several answers",
        "own-keeper several answers",
        "erasure",
        "consent refused malformed",
        "patron refused identifier",
        "patron refused not_json",
        "loan refused miskeyed",
    ] {
        want(what.to_owned());
    }
    assert!(missing.is_empty(), "never happened: {missing:#?}");
}

fn env_number(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |text| text.parse().expect("a number"))
}

/// The seeds of one test: a share of all stories, and no other's.
fn seeds(share: u64) -> impl Iterator<Item = u64> {
    let count = env_number("STORIES", 240) * share / 100;
    let first = env_number("SEED", 1) * 1_000_000 + share * 10_000;
    first..first + count.max(1)
}

/// Plays a story, and tells a short one that fails alike where it does.
#[track_caller]
fn play_or_shrink(seed: u64, steps: &[ScenarioStep], setup: DeploymentSetup) -> ScenarioResult {
    match run_scenario(steps, setup) {
        Ok(played) => played,
        Err(difference) => {
            let short = shrink_steps(steps, |fewer| run_scenario(fewer, setup).is_err());
            let still = run_scenario(&short, setup).err().unwrap_or_default();
            let lines: Vec<String> = short.iter().map(|step| format!("{step:?}")).collect();
            let lines = lines.join("\n");
            panic!("seed {seed}, {setup:?}\n{difference}\nin short:\n{lines}\n{still}");
        }
    }
}

/// Both readers have the same, but where the rules leave it open.
#[track_caller]
fn check_same_outputs(seed: u64, one: &ScenarioResult, other: &ScenarioResult) {
    check_same_outputs_of(seed, one, other, |_| true);
}

/// The same of some recipients.
#[track_caller]
fn check_same_outputs_of(
    seed: u64,
    one: &ScenarioResult,
    other: &ScenarioResult,
    wanted: fn(&Recipient) -> bool,
) {
    let nothing = ValuesByKey::new();
    for recipient in cached_policy(false).recipients.iter().filter(|one| wanted(one)) {
        let name = recipient.name.as_str();
        let values = [one, other].map(|played| played.values.get(name).unwrap_or(&nothing));
        let keys: BTreeSet<&String> = values.iter().flat_map(|values| values.keys()).collect();
        for key in keys {
            let place = (name, key.clone());
            if !one.ambiguous_keys.contains(&place) && !other.ambiguous_keys.contains(&place) {
                assert_eq!(values[0].get(key), values[1].get(key), "seed {seed}, {name} {key}");
            }
        }
    }
}

#[test]
fn convergence_holds_for_random_scenarios() {
    let setups = [
        DeploymentSetup::DEFAULT,
        DeploymentSetup {
            partitions: 3,
            batch_records: 3,
            poll_records: 2,
            ..DeploymentSetup::DEFAULT
        },
        DeploymentSetup { batch_records: 5, fail_every: Some(3), ..DeploymentSetup::DEFAULT },
        DeploymentSetup {
            partitions: 2,
            batch_records: 4,
            poll_records: 3,
            rebalance_every: Some(5),
            ..DeploymentSetup::DEFAULT
        },
        DeploymentSetup {
            partitions: 2,
            batch_records: 5,
            interrupt_at: Some(2),
            ..DeploymentSetup::DEFAULT
        },
    ];
    for (place, seed) in seeds(60).enumerate() {
        play_or_shrink(seed, &scenario::generate_scenario(seed, 40), setups[place % setups.len()]);
    }
}

#[test]
fn convergence_is_independent_of_interleaving() {
    for seed in seeds(10) {
        // When a record is first decided may matter, so time stands still.
        let steps = scenario::run_before_clock_steps(&scenario::generate_scenario(seed, 40));
        let other = scenario::reinterleave_sources(seed, &steps);
        let one = play_or_shrink(seed, &steps, DeploymentSetup::DEFAULT);
        let other = play_or_shrink(seed, &other, DeploymentSetup::DEFAULT);
        // What waits for its period when its source loses it was published on one way
        // and not on the other: the model holds each way by itself.
        check_same_outputs_of(seed, &one, &other, |recipient| recipient.period.is_none());
    }
}

#[test]
fn convergence_is_independent_of_batch_size() {
    for seed in seeds(11) {
        let steps = scenario::generate_scenario(seed, 40);
        let one = play_or_shrink(seed, &steps, DeploymentSetup::DEFAULT);
        for batch in [1, 4] {
            let setup = DeploymentSetup { batch_records: batch, ..DeploymentSetup::DEFAULT };
            check_same_outputs(seed, &one, &play_or_shrink(seed, &steps, setup));
        }
    }
}

/// Whether outputs of a recipient are made of several records of a patron.
fn keeps_records(name: &str) -> bool {
    let found = cached_policy(false).recipients.iter().find(|one| one.name == name);
    let mut fields = found.iter().flat_map(|one| &one.output_fields);
    fields.any(|field| matches!(field.value, OutputValue::Summary(_)))
}

#[test]
fn convergence_is_independent_of_lanes() {
    for seed in seeds(7) {
        let steps = scenario::generate_scenario(seed, 40);
        let one = play_or_shrink(seed, &steps, DeploymentSetup::DEFAULT);
        for layout in [LaneLayout::TwoLanes, LaneLayout::LanePerRecipient] {
            let setup = DeploymentSetup { layout, ..DeploymentSetup::DEFAULT };
            let other = play_or_shrink(seed, &steps, setup);
            // Also where the rules leave it open: it is the same engine. But a lane that keeps
            // records notices that their source lost some only when it is assigned anew.
            let is_cut = steps.iter().any(|step| matches!(step, ScenarioStep::TruncateSource(_)));
            let same = |name: &str| !(is_cut && keeps_records(name));
            for (recipient, values) in one.values.iter().filter(|(name, _)| same(name)) {
                assert_eq!(other.values.get(recipient), Some(values), "seed {seed}, {recipient}");
            }
        }
    }
}
