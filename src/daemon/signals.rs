//! Signals: which of them end the process, and which do not.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::transport::Stop;

/// The exit code of a process that does not wait for its batch.
const INTERRUPTED: i32 = 130;

/// Asks for a stop with the first SIGTERM or SIGINT; the second one ends the process
/// at once.
pub(super) async fn stop_when_asked(stop: Stop) {
    let (Some(mut terminate), Some(mut interrupt)) = (
        install(SignalKind::terminate()),
        install(SignalKind::interrupt()),
    ) else {
        return;
    };
    for times in 1.. {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if times > 1 {
            std::process::exit(INTERRUPTED);
        }
        tracing::info!("asked to stop: the batch is finished first");
        stop.ask();
    }
}

/// Ignores SIGHUP, with a line in the log each time: nothing is loaded again while a
/// process runs. Holds from before anything connects to the end of the process.
///
/// # Errors
///
/// There is no thread for it.
pub fn ignore_hangups() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let guard = runtime.enter();
    let hangup = install(SignalKind::hangup());
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

fn install(kind: SignalKind) -> Option<Signal> {
    let installed = signal(kind);
    installed
        .inspect_err(|error| tracing::error!(%error, "cannot install signal handlers"))
        .ok()
}
