//! Copies of the newest checkpoint outside: in a file, and at a server that each one is posted to.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;

use crate::config::settings::CheckpointSettings;
use crate::http::{HttpClient, HttpRequest, describe_status};
use crate::ledger::checkpoint::note::{Checkpoint, open_note};
use crate::ledger::checkpoint::{CheckpointMaker, CheckpointMessage};
use crate::message::Fault;
use crate::transport::StopSignal;
use crate::transport::file::{FileMode, replace_file};

const JSON: &str = "application/json";

/// A place outside that keeps the newest checkpoint.
#[derive(Debug)]
pub enum CheckpointCopy {
    File(PathBuf),
    /// What is there cannot be read back.
    Webhook(Webhook),
}

/// A server that checkpoints are posted to.
#[derive(Debug)]
pub struct Webhook {
    client: HttpClient,
    /// The number of the last one that it took from this process; 0 if it took none yet.
    delivered: AtomicU64,
}

/// A checkpoint that is to be kept.
#[derive(Clone, Copy)]
pub(super) struct NewestCheckpoint<'a> {
    /// How many there are with it.
    pub(super) number: u64,
    /// The exact text of the message.
    pub(super) message: &'a [u8],
}

/// How long keeping a copy may take.
#[derive(Clone, Copy)]
pub(super) struct CopyLimit<'a> {
    pub(super) at_most: Duration,
    /// Ends an attempt early.
    pub(super) stop: &'a StopSignal,
}

impl CheckpointCopy {
    /// Returns the copies that the settings ask for.
    #[must_use]
    pub fn of_settings(settings: &CheckpointSettings) -> Vec<CheckpointCopy> {
        let file = settings.copy.clone().map(CheckpointCopy::File);
        let webhook = settings.webhook.clone().map(|server| {
            let client = HttpClient::new(server);
            CheckpointCopy::Webhook(Webhook { client, delivered: AtomicU64::new(0) })
        });
        file.into_iter().chain(webhook).collect()
    }

    /// What metrics call it.
    pub(super) fn label(&self) -> &'static str {
        match self {
            CheckpointCopy::File(_) => "file",
            CheckpointCopy::Webhook(_) => "webhook",
        }
    }

    /// Returns the file that a start can compare with; `None` if what is kept there cannot be read
    /// back.
    pub(super) fn comparable_file(&self) -> Option<&Path> {
        match self {
            CheckpointCopy::File(path) => Some(path),
            CheckpointCopy::Webhook(_) => None,
        }
    }

    /// Keeps a checkpoint, unless it or a newer one is there.
    ///
    /// # Errors
    ///
    /// It is not there; the text names the place, and holds no secret.
    pub(super) fn keep(
        &self,
        newest: NewestCheckpoint<'_>,
        maker: &CheckpointMaker,
        limit: CopyLimit<'_>,
    ) -> anyhow::Result<()> {
        match self {
            CheckpointCopy::File(path) => replace_older(path, newest, maker),
            CheckpointCopy::Webhook(webhook) => webhook.deliver(newest, limit),
        }
    }
}

impl Webhook {
    /// Posts a checkpoint, unless it was the last one.
    fn deliver(&self, newest: NewestCheckpoint<'_>, limit: CopyLimit<'_>) -> anyhow::Result<()> {
        if self.delivered.load(Ordering::Relaxed) == newest.number {
            return Ok(());
        }
        let content = Some((JSON, newest.message.to_vec()));
        let request = HttpRequest { path: "", accepted: "*/*", content };
        let timeout = self.client.timeout().min(limit.at_most);
        let answer = self.client.ask_within(timeout, request, || !limit.stop.is_requested());
        let failed = match answer {
            Ok(answer) if (200..300).contains(&answer.status) => {
                self.delivered.store(newest.number, Ordering::Relaxed);
                return Ok(());
            }
            Ok(answer) => {
                describe_status(answer.status, "`token` of `webhook` in [ledger.checkpoints]")
            }
            Err(why) => why,
        };
        anyhow::bail!("webhook {}: {failed}", self.client.address())
    }
}

/// Returns the checkpoint in a file; `None` if there is none yet.
///
/// # Errors
///
/// [`Fault::Stop`] if it is no checkpoint of this ledger; others if the file cannot be read.
pub(super) fn read_copy(
    path: &Path,
    maker: &CheckpointMaker,
) -> anyhow::Result<Option<Checkpoint>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("failed to read {}", path.display()));
        }
    };
    let opened = open_note(&text, maker.signer.origin(), &maker.keys);
    let unusable = |error| Fault::stop(format!("{}: {error}", path.display()));
    Ok(Some(opened.map_err(unusable)?))
}

/// Replaces the copy in a file by a newer checkpoint. A newer copy stays: another process wrote it.
fn replace_older(
    path: &Path,
    newest: NewestCheckpoint<'_>,
    maker: &CheckpointMaker,
) -> anyhow::Result<()> {
    if read_copy(path, maker)?.is_some_and(|copy| copy.size >= newest.number) {
        return Ok(());
    }
    let message: CheckpointMessage = serde_json::from_slice(newest.message)?;
    Ok(replace_file(path, FileMode::for_file(false), message.checkpoint.as_bytes())?)
}
