//! The admin address: `/metrics`, `/health/live` and `/health/ready` over HTTP.
//!
//! Shows numbers and states, and can change nothing.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use super::health::Health;
use super::metrics::Metrics;

/// What the address serves.
pub struct AdminState {
    pub metrics: Arc<Metrics>,
    pub health: Health,
}

/// Returns what is served.
pub fn routes(state: AdminState) -> Router {
    Router::new()
        .route("/", get(list_paths))
        .route("/metrics", get(serve_metrics))
        .route("/health/live", get(serve_live))
        .route("/health/ready", get(serve_ready))
        .with_state(Arc::new(state))
}

async fn list_paths() -> &'static str {
    concat!(
        "zeef ",
        env!("CARGO_PKG_VERSION"),
        "\n\n",
        "/metrics        metrics for Prometheus\n",
        "/health/live    200 while the process runs\n",
        "/health/ready   200 while every lane works, otherwise 503 with the reason\n",
    )
}

async fn serve_metrics(State(state): State<Arc<AdminState>>) -> impl IntoResponse {
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    state.metrics.set_ready(state.health.is_ready());
    ([(CONTENT_TYPE, TEXT)], state.metrics.render())
}

async fn serve_live() -> &'static str {
    "live\n"
}

async fn serve_ready(State(state): State<Arc<AdminState>>) -> impl IntoResponse {
    let status =
        if state.health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, state.health.report())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpStream as Stream};
    use std::time::{Duration, Instant};

    use tokio::net::TcpListener;
    use tokio::runtime::Runtime;

    use super::super::http::{ConnectionLimits, serve};
    use super::*;

    const LONG_TIMEOUT: Duration = Duration::from_secs(60);

    /// Serves with these limits for as long as the runtime exists.
    fn start_server(bounds: ConnectionLimits) -> (Runtime, SocketAddr) {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let shown = AdminState {
            metrics: Arc::new(Metrics::new("test").unwrap()),
            health: Health::default(),
        };
        runtime.spawn(serve(listener, routes(shown), bounds, std::future::pending()));
        (runtime, address)
    }

    fn connect(address: SocketAddr) -> Stream {
        let stream = Stream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG_TIMEOUT)).unwrap();
        stream
    }

    /// Returns the answer to `GET path` of a client that would keep the connection open.
    fn http_get(address: SocketAddr, path: &str) -> String {
        let mut stream = connect(address);
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        read_until_closed(&mut stream)
    }

    /// Reads until the other side closes the connection.
    fn read_until_closed(stream: &mut Stream) -> String {
        let mut answer = Vec::new();
        // An abort is a close, too.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn admin_lists_every_path_and_serves_one_request_per_connection() {
        let (_runtime, address) = start_server(ConnectionLimits::default());
        let list = http_get(address, "/");
        let paths = ["/metrics", "/health/live", "/health/ready"];
        for path in paths {
            assert!(list.contains(path), "{list}");
            assert!(http_get(address, path).starts_with("HTTP/1.1 200"), "{path}");
        }
        assert!(http_get(address, "/metrics").contains("\nzeef_ready 1\n"));
        assert!(http_get(address, "/nothing").starts_with("HTTP/1.1 404"));
    }

    #[test]
    fn admin_answers_requests_beside_many_idle_connections() {
        let bounds = ConnectionLimits {
            max_connections: 32,
            header_timeout: LONG_TIMEOUT,
            total_timeout: LONG_TIMEOUT,
        };
        let (_runtime, address) = start_server(bounds);
        let mut idle: Vec<Stream> = (0..200).map(|_| connect(address)).collect();
        assert!(http_get(address, "/health/ready").starts_with("HTTP/1.1 200"));
        // Only as many as allowed stay open.
        let kept = idle.split_off(idle.len() - (bounds.max_connections - 1));
        for stream in &mut idle {
            assert_eq!(read_until_closed(stream), "");
        }
        for stream in &kept {
            stream.set_nonblocking(true).unwrap();
            let read = stream.peek(&mut [0]).unwrap_err();
            assert_eq!(read.kind(), std::io::ErrorKind::WouldBlock);
        }
    }

    #[track_caller]
    fn check_connection_is_closed(bounds: ConnectionLimits, act: impl FnOnce(&mut Stream)) {
        let (_runtime, address) = start_server(bounds);
        let mut stream = connect(address);
        let started = Instant::now();
        act(&mut stream);
        read_until_closed(&mut stream);
        let took = started.elapsed();
        let bound = bounds.header_timeout.min(bounds.total_timeout);
        assert!(took >= bound / 2 && took < LONG_TIMEOUT / 2, "{took:?}");
    }

    #[test]
    fn admin_closes_connection_without_complete_header() {
        let short = Duration::from_millis(300);
        let by_header = ConnectionLimits {
            header_timeout: short,
            total_timeout: LONG_TIMEOUT,
            ..ConnectionLimits::default()
        };
        let in_all = ConnectionLimits {
            header_timeout: LONG_TIMEOUT,
            total_timeout: short,
            ..ConnectionLimits::default()
        };
        for bounds in [by_header, in_all] {
            check_connection_is_closed(bounds, |_| {});
            check_connection_is_closed(bounds, |stream| {
                stream.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
            });
            // A byte now and then gains no time.
            check_connection_is_closed(bounds, |stream| {
                for byte in b"GET /metrics HTTP/1.1\r\nHost: somebody" {
                    if stream.write_all(&[*byte]).is_err() {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
    }
}
