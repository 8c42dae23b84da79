//! Signals: which of them end the process.

use std::process::exit;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::transport::StopSignal;

/// Exit code of a process that does not wait for its batch.
const EXIT_INTERRUPTED: i32 = 130;

/// How long a stop may take on Kafka. What is not committed then is decided again.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// How long after a signal the process ends, and how if it has to be ended then.
#[derive(Clone, Copy, Debug)]
pub struct StopLimit {
    after: Duration,
    exit_code: u8,
}

impl StopLimit {
    #[must_use]
    pub fn with_exit_code(exit_code: u8) -> Self {
        StopLimit { after: STOP_TIMEOUT, exit_code }
    }

    /// Ends the process after this time, whatever its threads wait for: librdkafka has calls that
    /// last until the broker is back.
    fn start(self) -> std::io::Result<()> {
        let thread = std::thread::Builder::new().name("stop limit".to_owned());
        let ended = thread.spawn(move || {
            std::thread::sleep(self.after);
            tracing::warn!(
                seconds = self.after.as_secs(),
                "stopped without waiting any longer: what is not committed is decided again"
            );
            exit(self.exit_code.into());
        });
        ended.map(drop)
    }
}

/// Requests a stop at the first SIGTERM or SIGINT, which ends within `limit` if there is one; the
/// second one ends the process at once.
pub async fn stop_on_signal(stop: StopSignal, limit: Option<StopLimit>) {
    let (Some(mut terminate), Some(mut interrupt)) =
        (install_handler(SignalKind::terminate()), install_handler(SignalKind::interrupt()))
    else {
        return;
    };
    for times in 1.. {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if times > 1 {
            exit(EXIT_INTERRUPTED);
        }
        tracing::info!("stop requested: finishing the batch first");
        stop.request();
        if let Some(Err(error)) = limit.map(StopLimit::start) {
            tracing::warn!(%error, "the stop has no limit");
        }
    }
}

/// Ignores SIGHUP, with a log line each time: nothing is reloaded while a process runs.
/// Install it before anything connects.
///
/// # Errors
///
/// The handler cannot be installed, or its thread not be spawned.
pub fn ignore_hangups() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let guard = runtime.enter();
    let hangup = install_handler(SignalKind::hangup());
    drop(guard);
    let thread = std::thread::Builder::new().name("hangup".to_owned());
    thread.spawn(move || {
        runtime.block_on(async move {
            let Some(mut hangup) = hangup else { return };
            while hangup.recv().await.is_some() {
                tracing::warn!("SIGHUP is ignored: a changed config counts from the next start on");
            }
        });
    })?;
    Ok(())
}

fn install_handler(kind: SignalKind) -> Option<Signal> {
    let installed = signal(kind);
    installed.inspect_err(|error| tracing::error!(%error, "cannot install signal handlers")).ok()
}
