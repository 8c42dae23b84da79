//! A story played on a site, and held against the world after each run.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::reference::golden;
use crate::site::{Setup, Site, Values};
use crate::story::{self, Step};
use crate::world::{Answers, Has, RowId, World};

/// How a story ended.
pub struct Played {
    pub values: BTreeMap<String, Values>,
    /// The keys for which the rules left more than one answer on the way.
    pub open: BTreeSet<(&'static str, String)>,
}

/// Plays a story to its end.
///
/// # Errors
///
/// The first difference, and the number of the step that showed it.
pub fn play(steps: &[Step], setup: Setup) -> Result<Played, String> {
    let played = catch_unwind(AssertUnwindSafe(|| Stage::new(setup).play(steps)));
    played.unwrap_or_else(|_| Err("it panicked".to_owned()))
}

struct Stage {
    setup: Setup,
    site: Site,
    world: World,
    unread: bool,
    open: BTreeSet<(&'static str, String)>,
}

impl Stage {
    fn new(setup: Setup) -> Self {
        Stage {
            setup,
            site: Site::new(setup, story::START_MS),
            world: World::new(
                crate::recipients(false),
                golden::KEY,
                (story::START_MS, setup.partitions),
            ),
            unread: false,
            open: BTreeSet::new(),
        }
    }

    fn play(mut self, steps: &[Step]) -> Result<Played, String> {
        for (number, step) in steps.iter().enumerate() {
            let done = self.step(step);
            done.map_err(|difference| format!("at step {number}: {difference}"))?;
        }
        let recipients = crate::recipients(false);
        let forgets = |name: &str| {
            let mut forgetting = recipients.iter().filter(|one| one.retention.forget);
            forgetting.any(|one| one.name == name)
        };
        self.site.check_silence(forgets)?;
        Ok(Played {
            values: self.site.values(),
            open: self.open,
        })
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Push {
                source,
                key,
                value,
                came_ms,
            } => {
                let key = key.as_deref().map(str::as_bytes);
                let last = key.and_then(<[u8]>::last).copied();
                let partition = i32::from(last.unwrap_or_default()) % self.setup.partitions;
                let value = value.as_deref().map(str::as_bytes);
                self.site.set_time(*came_ms);
                self.site.push(source, partition, key, value);
                self.world.push(source, partition, (key, value), *came_ms);
                self.unread = true;
            }
            Step::Clock(now_ms) => {
                self.site.set_clock(*now_ms);
                self.world.set_clock(*now_ms);
            }
            Step::Restart => self.site.restart(),
            Step::Policy(changed) => {
                self.site.changed = *changed;
                self.site.restart();
                self.world.set_policy(*changed, crate::recipients(*changed));
            }
            Step::Cut(source) if !self.unread => {
                for partition in 0..self.setup.partitions {
                    self.site.each(source, |transport, source| {
                        transport.cut(source, partition, i64::MAX);
                    });
                    self.world.cut(source, partition);
                }
            }
            Step::Cut(_) => {}
            Step::Compact => self.site.each("patron", |transport, source| {
                transport.compact(source);
            }),
            Step::Vanish => {
                self.site.each("patron", |transport, source| {
                    transport.compact(source).drop_nulls(source);
                });
                self.site.restart();
                self.world.lose_nulls();
            }
            Step::Run => self.run()?,
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), String> {
        self.site.run()?;
        let open = hold(&mut self.world, self.site.values())?;
        self.open.extend(open);
        self.unread = false;
        self.site.check_state()?;
        self.site.check_numbers()?;
        for patron_id in self.world.gone() {
            if let Some(found) = self.site.search(&story::traces_of(patron_id)) {
                return Err(format!("{patron_id} is erased, and still in {found}"));
            }
        }
        Ok(())
    }
}

/// Holds what all recipients have against the world; gives the keys for which
/// the rules leave more than one answer.
///
/// # Errors
///
/// The first difference.
pub fn hold(
    world: &mut World,
    mut values: BTreeMap<String, Values>,
) -> Result<Vec<(&'static str, String)>, String> {
    let mut open = Vec::new();
    for (recipient, rows) in world.answers() {
        let values = values.remove(recipient).unwrap_or_default();
        compare(world, recipient, &rows, values)?;
        let several = rows.values().filter(|answers| answers.len() > 1);
        let keys = several.flatten().flatten().map(|has| has.key.clone());
        open.extend(keys.map(|key| (recipient, key)));
    }
    world.settled();
    Ok(open)
}

fn compare(
    world: &mut World,
    recipient: &'static str,
    rows: &BTreeMap<RowId, Answers>,
    mut values: Values,
) -> Result<(), String> {
    for (id, answers) in rows {
        let fits = |has: &&Has| values.get(&has.key) == Some(&has.value);
        let has = answers.iter().flatten().find(fits).cloned();
        match &has {
            Some(has) => drop(values.remove(&has.key)),
            None if answers.contains(&None) => {}
            None => {
                let wanted: Vec<String> = answers.iter().flatten().map(shown).collect();
                let found: Vec<Option<String>> = answers
                    .iter()
                    .flatten()
                    .map(|has| values.get(&has.key).map(|value| lossy(value)))
                    .collect();
                return Err(format!(
                    "{recipient} of {id:?}: {wanted:?}, found {found:?}"
                ));
            }
        }
        world.found(recipient, id, has);
    }
    if let Some((key, value)) = values.first_key_value() {
        let value = lossy(value);
        return Err(format!("{recipient} should not have {key} {value}"));
    }
    Ok(())
}

fn shown(has: &Has) -> String {
    format!("{} {}", has.key, lossy(&has.value))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Leaves out of a story what does not matter to how it fails.
pub fn shrink(steps: &[Step], fails: impl Fn(&[Step]) -> bool) -> Vec<Step> {
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
