//! HTTP that cannot starve what runs beside it: connections are few and short, each serves one
//! request, and if there are too many the oldest is closed.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// Limits on connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    pub max_connections: usize,
    /// How long a request's header may take.
    pub header_timeout: Duration,
    /// How long a connection may stay open.
    pub total_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits {
            max_connections: 32,
            header_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(10),
        }
    }
}

/// Pause after a failed accept, for instance without free file descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(500);

/// Serves until `shutdown` completes.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    limits: ConnectionLimits,
    shutdown: impl Future<Output = ()>,
) {
    let mut connections = OpenConnections::default();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connections.serve_connection(stream, routes.clone(), limits),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            },
        }
    }
}

/// The open connections, oldest first.
#[derive(Default)]
struct OpenConnections(VecDeque<AbortHandle>);

impl OpenConnections {
    /// Serves one more connection. Closes the oldest one if there are too many.
    fn serve_connection(&mut self, stream: TcpStream, routes: Router, limits: ConnectionLimits) {
        self.0.retain(|connection| !connection.is_finished());
        while self.0.len() >= limits.max_connections.max(1) {
            if let Some(oldest) = self.0.pop_front() {
                oldest.abort();
            }
        }
        let connection = tokio::spawn(serve_request(stream, routes, limits));
        self.0.push_back(connection.abort_handle());
    }
}

async fn serve_request(stream: TcpStream, routes: Router, limits: ConnectionLimits) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    // Errors of a client are of no interest.
    let _ = timeout(limits.total_timeout, connection).await;
}
