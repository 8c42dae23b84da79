//! Recipients that move to another lane: what they have goes with them.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::state::carry::{Shelf, Written, carry};
use crate::engine::state::text::TextError;
use crate::policy::Loaded;
use crate::policy::former::recipient_of;
use crate::policy::settings::MAIN_LANE;
use crate::transport::continuity::{Fingerprinter, Mark};

/// One recipient that moves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Move {
    pub name: String,
    pub from: String,
    pub to: String,
}

/// What is to be done about one partition of all states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rearranged {
    /// By recipient: how many outputs it has there.
    pub moves: BTreeMap<Move, u64>,
    /// By lane.
    pub writes: BTreeMap<String, Written>,
}

/// Returns the lane that a name of a lane's state belongs to.
fn home<'a>(loaded: &'a Loaded, lane: &'a str, name: &str) -> Option<&'a str> {
    let lanes = &loaded.daemon.lanes;
    let recipient = recipient_of(name);
    let mut serving = lanes
        .iter()
        .filter(|one| one.recipients.iter().any(|own| own == recipient));
    if let Some(serving) = serving.next() {
        return Some(&serving.name);
    }
    let named = |wanted: &str| lanes.iter().find(|one| one.name == wanted);
    let found = named(lane).or_else(|| named(MAIN_LANE));
    found.or(lanes.first()).map(|lane| &*lane.name)
}

/// Whether somebody has something by a lane's mark that belongs to another lane.
#[must_use]
pub fn is_needed(loaded: &Loaded, lane: &str, mark: &Mark) -> bool {
    let strays = |name: &String| home(loaded, lane, name).is_some_and(|home| home != lane);
    mark.has.keys().any(strays)
}

/// Moves everybody in one partition to where the config has them. `shelves` are by
/// lane, and are what is written afterwards.
///
/// # Errors
///
/// [`TextError`] for a row that cannot be read.
pub fn rearrange(
    loaded: &Loaded,
    prints: &Fingerprinter,
    shelves: &mut BTreeMap<String, Shelf>,
) -> Result<Rearranged, TextError> {
    let mut done = Rearranged::default();
    let lanes: Vec<String> = shelves.keys().cloned().collect();
    for from in &lanes {
        let mut goes = BTreeMap::<String, BTreeSet<String>>::new();
        for name in shelves[from].names() {
            if let Some(to) = home(loaded, from, &name).filter(|to| to != from) {
                goes.entry(to.to_owned()).or_default().insert(name);
            }
        }
        for (to, names) in goes {
            let mut one = shelves.remove(from).unwrap_or_default();
            let mut other = shelves.remove(&to).unwrap_or_default();
            for name in &names {
                let has = one.mark().and_then(|mark| mark.has.get(name));
                let count = has.into_iter().flatten().map(|(_, count)| count).sum();
                let moved = Move {
                    name: name.clone(),
                    from: from.clone(),
                    to: to.clone(),
                };
                done.moves.insert(moved, count);
            }
            let (left, come) = carry(prints, (&mut one, &mut other), &names)?;
            done.writes.entry(from.clone()).or_default().extend(left);
            done.writes.entry(to.clone()).or_default().extend(come);
            shelves.insert(from.clone(), one);
            shelves.insert(to, other);
        }
    }
    done.writes.retain(|_, written| !written.is_empty());
    Ok(done)
}
