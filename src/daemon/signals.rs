//! Signals: which of them end the process.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::transport::StopSignal;

/// Exit code of a process that does not wait for its batch.
const EXIT_INTERRUPTED: i32 = 130;

/// Requests a stop at the first SIGTERM or SIGINT; the second one ends the process at once.
pub async fn stop_on_signal(stop: StopSignal) {
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
            std::process::exit(EXIT_INTERRUPTED);
        }
        tracing::info!("stop requested: finishing the batch first");
        stop.request();
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
