//! A lane that begins anew, on purpose.
//!
//! What its recipients have stays where it is, and nobody knows of it any more.

use std::fs;
use std::sync::Arc;

use super::committed::{Committed, Found};
use super::disk::RealDisk;
use super::layout::Layout;
use super::store::Store;
use super::{DirectorySettings, lock, stop};
use crate::transport::Fault;
use crate::transport::file::{Failure, make_folder};

/// What a lane forgot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// The mark itself could not be used, and was made anew: all lanes begin anew.
    pub mark: bool,
    /// How long the state was, in bytes.
    pub state_bytes: u64,
}

/// Makes a lane of a directory begin anew: without its positions, and without the
/// state with this topic. Outputs stay as they are, and go on behind what they
/// have.
///
/// # Errors
///
/// [`Fault::Twin`] where a process uses the directory, [`Fault::Stop`] where the
/// disk refuses.
pub fn forget(settings: DirectorySettings, lane: &str, state: &str) -> Result<Forgotten, Fault> {
    let layout = Layout::new(&settings.root, settings.group_read);
    for state in [false, true] {
        make_folder(layout.folder(state), layout.folder_mode(state)).map_err(stop)?;
    }
    let lock = lock(&layout.lock(), &settings.root)?;
    let settings = Arc::new(settings);
    let open = || Store::open(Arc::clone(&settings), layout.clone(), Box::new(RealDisk));
    let (mut store, mark) = match open() {
        Ok(store) if !store.new => (store, false),
        Ok(store) => (store, true),
        Err(fault) => {
            if matches!(Found::read(&layout.committed(), None), Ok(Found::Older(_))) {
                return Err(fault);
            }
            set_aside(&layout).map_err(stop)?;
            (open()?, true)
        }
    };
    let path = layout.written(state, true);
    let state_bytes = super::layout::length_of(&path).map_err(stop)?;
    let mut committed = store.next();
    committed.lanes.remove(lane);
    committed.state.remove(state);
    if mark {
        take_outputs(&layout, &mut committed).map_err(stop)?;
    }
    store.disk.remove(&path).map_err(stop)?;
    store.carry_out(&super::journal::Journal {
        committed,
        ..Default::default()
    })?;
    drop(lock);
    Ok(Forgotten { mark, state_bytes })
}

/// Keeps a mark and a journal that cannot be used under other names.
fn set_aside(layout: &Layout) -> Result<(), Failure> {
    for path in [layout.committed(), layout.journal()] {
        if path.exists() {
            let mut aside = path.clone().into_os_string();
            aside.push(".unusable");
            fs::rename(&path, &aside).map_err(Failure::to("rename", &path))?;
        }
    }
    Ok(())
}

/// Takes the outputs for what they are.
fn take_outputs(layout: &Layout, committed: &mut Committed) -> Result<(), Failure> {
    for (name, length) in layout.files(false)? {
        if length > 0 {
            committed.outputs.insert(name, length);
        }
    }
    Ok(())
}
