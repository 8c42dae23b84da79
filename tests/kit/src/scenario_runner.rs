//! Plays a scenario on a deployment and compares it with the model after each run.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use zeef::engine::lane::Lane;
use zeef::policy::recipient::RetentionAction;
use zeef::transport::memory::PublishedOutput;

use crate::convergence_model::{ConvergenceModel, PossibleOutputs, RecipientOutput, RecordId};
use crate::deployment::{DeploymentSetup, InMemoryDeployment, ValuesByKey, cached_policy};
use crate::scenario::{self, ScenarioStep};

/// How a scenario ended.
pub struct ScenarioResult {
    pub values: BTreeMap<String, ValuesByKey>,
    /// The keys for which the rules left more than one answer on the way.
    pub ambiguous_keys: BTreeSet<(&'static str, String)>,
    /// The lanes with all that they committed, if they write a ledger.
    pub lanes: Vec<(Arc<Lane>, Vec<PublishedOutput>)>,
}

/// Plays a scenario to its end; returns the first difference as an error, with the number
/// of its step.
pub fn run_scenario(
    steps: &[ScenarioStep],
    setup: DeploymentSetup,
) -> Result<ScenarioResult, String> {
    let played = catch_unwind(AssertUnwindSafe(|| ScenarioRun::new(setup).run_steps(steps)));
    played.unwrap_or_else(|_| Err("it panicked".to_owned()))
}

struct ScenarioRun {
    setup: DeploymentSetup,
    deployment: InMemoryDeployment,
    model: ConvergenceModel,
    has_unread: bool,
    ambiguous_keys: BTreeSet<(&'static str, String)>,
}

impl ScenarioRun {
    fn new(setup: DeploymentSetup) -> Self {
        ScenarioRun {
            setup,
            deployment: InMemoryDeployment::new(setup, scenario::START_MS),
            model: ConvergenceModel::new(scenario::START_MS),
            has_unread: false,
            ambiguous_keys: BTreeSet::new(),
        }
    }

    fn run_steps(mut self, steps: &[ScenarioStep]) -> Result<ScenarioResult, String> {
        for (number, step) in steps.iter().enumerate() {
            let done = self.apply_step(step);
            done.map_err(|difference| format!("at step {number}: {difference}"))?;
        }
        let forgets = |name: &str| {
            let recipient = cached_policy(false).recipient(name);
            recipient.is_some_and(|one| one.retention.after == RetentionAction::Forget)
        };
        self.deployment.check_nothing_sent_twice(forgets)?;
        Ok(ScenarioResult {
            values: self.deployment.outputs_by_recipient(),
            ambiguous_keys: self.ambiguous_keys,
            lanes: match self.setup.has_ledger {
                true => self.deployment.lanes_with_outputs(),
                false => Vec::new(),
            },
        })
    }

    fn apply_step(&mut self, step: &ScenarioStep) -> Result<(), String> {
        match step {
            ScenarioStep::PushMessage { source, key, value, arrived_ms: came_ms } => {
                let key = key.as_deref().map(str::as_bytes);
                let last = key.and_then(<[u8]>::last).copied();
                // A source without keys has one partition.
                let last = last.filter(|_| *source != "question").unwrap_or_default();
                let partition = i32::from(last) % self.setup.partitions;
                let value = value.as_deref().map(str::as_bytes);
                self.deployment.set_arrival_time(*came_ms);
                self.deployment.push_message(source, partition, key, value);
                self.model.push_message(source, partition, (key, value), *came_ms);
                self.has_unread = true;
            }
            ScenarioStep::SetClock(now_ms) => {
                self.deployment.set_clock(*now_ms);
                self.model.set_clock(*now_ms);
            }
            ScenarioStep::Restart => self.deployment.restart(),
            ScenarioStep::SwitchPolicy(changed) => {
                self.deployment.uses_changed_policy = *changed;
                self.deployment.restart();
                self.model.set_policy(*changed);
            }
            ScenarioStep::TruncateSource(source) if !self.has_unread => {
                for partition in 0..self.setup.partitions {
                    self.deployment.for_each_source(source, |transport, source| {
                        transport.delete_below(source, partition, i64::MAX);
                    });
                    self.model.truncate(source, partition);
                }
            }
            ScenarioStep::TruncateSource(_) => {}
            ScenarioStep::CompactPatrons => {
                self.deployment.for_each_source("patron", |transport, source| {
                    transport.compact(source);
                })
            }
            ScenarioStep::DropPatronNulls => {
                self.deployment.for_each_source("patron", |transport, source| {
                    transport.compact(source).drop_tombstones(source);
                });
                self.deployment.restart();
                self.model.drop_nulls();
            }
            ScenarioStep::RunToEnd => self.run_and_compare()?,
        }
        Ok(())
    }

    fn run_and_compare(&mut self) -> Result<(), String> {
        self.deployment.run_to_end()?;
        let open = compare_with_model(&mut self.model, self.deployment.outputs_by_recipient())?;
        self.ambiguous_keys.extend(open);
        self.has_unread = false;
        self.deployment.check_state()?;
        self.deployment.check_counters()?;
        for patron_id in self.model.erased_patron_ids() {
            if let Some(found) = self.deployment.find_text(&scenario::traces_of(patron_id)) {
                return Err(format!("{patron_id} is erased, and still in {found}"));
            }
        }
        // What only grants of an erased patron name, or withdrawn ones, is in no memory; nor is
        // the patron's own id.
        let named = self.model.named_patron_ids();
        let memory = self.deployment.patrons_in_memory();
        // A record that was refused since has the id, too.
        let is_named = |id: &&str| {
            named.contains(*id) || self.deployment.is_unreadable(id, self.setup.partitions)
        };
        let mut erased = self.model.erased_patron_ids().filter(|id| !is_named(id));
        if let Some(id) = erased.find(|id| memory.contains(&format!("{id:?}"))) {
            return Err(format!("{id} is erased, and a worker still holds its id"));
        }
        match self.deployment.named_patron_ids().difference(&named).next() {
            Some(id) => Err(format!("a worker still holds {id}, which no consent names")),
            None => Ok(()),
        }
    }
}

/// Compares what all recipients have with the model; returns the keys for which the
/// rules leave more than one answer, or the first difference as an error.
pub fn compare_with_model(
    model: &mut ConvergenceModel,
    values: BTreeMap<String, ValuesByKey>,
) -> Result<Vec<(&'static str, String)>, String> {
    compare_recipients_with_model(model, values, |_| true)
}

/// As [`compare_with_model`], of the recipients that there are.
pub fn compare_recipients_with_model(
    model: &mut ConvergenceModel,
    mut values: BTreeMap<String, ValuesByKey>,
    is_there: impl Fn(&str) -> bool,
) -> Result<Vec<(&'static str, String)>, String> {
    let mut open = Vec::new();
    for (recipient, rows) in model.possible_outputs() {
        if !is_there(recipient) {
            continue;
        }
        let values = values.remove(recipient).unwrap_or_default();
        compare_recipient(model, recipient, &rows, values)?;
        let several = rows.values().filter(|answers| answers.len() > 1);
        let keys = several.flatten().flatten().map(|output| output.key.clone());
        open.extend(keys.map(|key| (recipient, key)));
    }
    model.finish_run();
    Ok(open)
}

fn compare_recipient(
    model: &mut ConvergenceModel,
    recipient: &'static str,
    rows: &BTreeMap<RecordId, PossibleOutputs>,
    mut values: ValuesByKey,
) -> Result<(), String> {
    for (id, answers) in rows {
        let fits = |output: &&RecipientOutput| values.get(&output.key) == Some(&output.value);
        let output = answers.iter().flatten().find(fits).cloned();
        match &output {
            Some(output) => drop(values.remove(&output.key)),
            None if answers.contains(&None) => {}
            None => {
                let wanted: Vec<String> = answers.iter().flatten().map(describe).collect();
                let found: Vec<Option<String>> = answers
                    .iter()
                    .flatten()
                    .map(|output| values.get(&output.key).map(|value| lossy(value)))
                    .collect();
                return Err(format!("{recipient} of {id:?}: {wanted:?}, found {found:?}"));
            }
        }
        model.set_found_output(recipient, id, output);
    }
    if let Some((key, value)) = values.first_key_value() {
        let value = lossy(value);
        return Err(format!("{recipient} should not have {key} {value}"));
    }
    Ok(())
}

fn describe(output: &RecipientOutput) -> String {
    format!("{} {}", output.key, lossy(&output.value))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Drops the steps of a scenario that are not needed for it to fail.
pub fn shrink_steps(
    steps: &[ScenarioStep],
    fails: impl Fn(&[ScenarioStep]) -> bool,
) -> Vec<ScenarioStep> {
    let mut steps = steps.to_vec();
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            if fails(&fewer) {
                steps = fewer;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    steps
}
