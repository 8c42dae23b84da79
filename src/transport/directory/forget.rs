//! Makes a lane of a directory start over on purpose.
//!
//! What its recipients have stays, and zeef no longer knows of it.

use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;

use super::committed::{CommittedFile, DirectoryCommit};
use super::disk::RealDisk;
use super::layout::Layout;
use super::store::Store;
use super::{DirectorySettings, lock_directory, to_fault};
use crate::message::Fault;
use crate::transport::file::{FileError, ensure_folder};

/// What a lane forgot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForgetOutcome {
    /// The mark was unusable and was recreated: all lanes start over.
    pub is_mark_reset: bool,
    /// The length of the state in bytes.
    pub state_bytes: u64,
}

/// Removes a lane's positions and the state with this topic. Outputs stay, and are appended
/// to.
///
/// # Errors
///
/// [`Fault::Fenced`] if a process uses the directory, [`Fault::Stop`] if the disk refuses.
pub fn forget_lane(
    settings: DirectorySettings,
    lane: &str,
    state: &str,
) -> Result<ForgetOutcome, Fault> {
    let layout = Layout::new(&settings.root, settings.group_read);
    for state in [false, true] {
        ensure_folder(layout.folder(state), layout.folder_mode(state)).map_err(to_fault)?;
    }
    let lock = lock_directory(&layout.lock_path(), &settings.root)?;
    let settings = Arc::new(settings);
    let open = || Store::open(Arc::clone(&settings), layout.clone(), Box::new(RealDisk));
    let (mut store, mark) = match open() {
        Ok(store) if !store.is_new => (store, false),
        Ok(store) => (store, true),
        Err(fault) => {
            if matches!(
                CommittedFile::read(&layout.committed_path(), None),
                Ok(CommittedFile::PreviousFormat(_))
            ) {
                return Err(fault);
            }
            rename_unusable(&layout).map_err(to_fault)?;
            (open()?, true)
        }
    };
    let path = layout.written_path(state, true);
    let state_bytes = super::layout::file_length(&path).map_err(to_fault)?;
    let mut committed = store.next_commit();
    committed.lanes.remove(lane);
    committed.state.remove(state);
    if committed.lanes.is_empty() {
        committed.runs = None;
    }
    if mark {
        adopt_outputs(&layout, &mut committed).map_err(to_fault)?;
    }
    store.disk.remove(&path).map_err(to_fault)?;
    store.commit_journal(&super::journal::Journal { committed, ..Default::default() })?;
    drop(lock);
    Ok(ForgetOutcome { is_mark_reset: mark, state_bytes })
}

/// Keeps an unusable mark and journal under other names.
fn rename_unusable(layout: &Layout) -> Result<(), FileError> {
    for path in [layout.committed_path(), layout.journal_path()] {
        let mut aside = path.clone().into_os_string();
        aside.push(".unusable");
        match fs::rename(&path, &aside) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            renamed => renamed.map_err(FileError::wrap("rename", &path))?,
        }
    }
    Ok(())
}

/// Takes the outputs as they are.
fn adopt_outputs(layout: &Layout, committed: &mut DirectoryCommit) -> Result<(), FileError> {
    for (name, length) in layout.list_files(false)? {
        if length > 0 {
            committed.outputs.insert(name, length);
        }
    }
    Ok(())
}
