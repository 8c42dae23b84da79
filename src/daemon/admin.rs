//! The admin address: `/metrics`, `/health/live` and `/health/ready`, over HTTP.
//!
//! It shows numbers and states, and can change nothing. Whoever connects to it takes
//! nothing from the lanes: connections are few and short, each serves one request, and
//! where there are too many the oldest one is closed.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::health::Health;
use super::metrics::Metrics;

/// What the address shows.
pub struct Shown {
    pub metrics: Arc<Metrics>,
    pub health: Health,
}

/// How much of the process connections may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many may be open at a time.
    pub connections: usize,
    /// How long a request's header may take to come.
    pub header: Duration,
    /// How long one may be open.
    pub in_all: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            connections: 32,
            header: Duration::from_secs(5),
            in_all: Duration::from_secs(10),
        }
    }
}

/// How long it is waited after no connection could be taken, as where the process has
/// no file descriptors left.
const RETRY: Duration = Duration::from_millis(500);

/// Serves until `shutdown` is done.
pub async fn serve(
    listener: TcpListener,
    shown: Shown,
    bounds: Bounds,
    shutdown: impl Future<Output = ()>,
) {
    let routes = routes(shown);
    let mut connections = Connections::default();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connections.open(stream, routes.clone(), bounds),
                Err(error) => {
                    tracing::warn!(%error, "no connection to the admin address can be taken");
                    sleep(RETRY).await;
                }
            },
        }
    }
}

/// The connections that may be open, oldest first.
#[derive(Default)]
struct Connections(VecDeque<AbortHandle>);

impl Connections {
    /// Serves one more; where there are too many already the oldest one is closed: it
    /// is the one that asks for nothing.
    fn open(&mut self, stream: TcpStream, routes: Router, bounds: Bounds) {
        self.0.retain(|connection| !connection.is_finished());
        while self.0.len() >= bounds.connections.max(1) {
            if let Some(oldest) = self.0.pop_front() {
                oldest.abort();
            }
        }
        let connection = tokio::spawn(answer(stream, routes, bounds));
        self.0.push_back(connection.abort_handle());
    }
}

/// Serves one request.
async fn answer(stream: TcpStream, routes: Router, bounds: Bounds) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    // Whoever goes away, or asks for something strange, is nobody's concern.
    let _ = timeout(bounds.in_all, connection).await;
}

fn routes(shown: Shown) -> Router {
    Router::new()
        .route("/", get(paths))
        .route("/metrics", get(metrics))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .with_state(Arc::new(shown))
}

async fn paths() -> &'static str {
    concat!(
        "zeef ",
        env!("CARGO_PKG_VERSION"),
        "\n\n",
        "/metrics        numbers, for Prometheus\n",
        "/health/live    200 while the process runs\n",
        "/health/ready   200 while every lane works; else 503, and why\n",
    )
}

async fn metrics(State(shown): State<Arc<Shown>>) -> impl IntoResponse {
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    shown.metrics.ready(shown.health.ready());
    ([(CONTENT_TYPE, TEXT)], shown.metrics.render())
}

async fn live() -> &'static str {
    "live\n"
}

async fn ready(State(shown): State<Arc<Shown>>) -> impl IntoResponse {
    let status = if shown.health.ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, shown.health.report())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpStream as Stream};
    use std::time::Instant;

    use tokio::runtime::Runtime;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Serves with these bounds for as long as the runtime is there.
    fn serving(bounds: Bounds) -> (Runtime, SocketAddr) {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let shown = Shown {
            metrics: Arc::new(Metrics::new("test").unwrap()),
            health: Health::default(),
        };
        runtime.spawn(serve(listener, shown, bounds, std::future::pending()));
        (runtime, address)
    }

    fn connect(address: SocketAddr) -> Stream {
        let stream = Stream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// The answer to `GET path` of a client that would keep the connection.
    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = connect(address);
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        rest(&mut stream)
    }

    /// What comes until the other side closes the connection.
    fn rest(stream: &mut Stream) -> String {
        let mut answer = Vec::new();
        // An abort is a close, too.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn every_path_is_listed_and_each_connection_serves_one_request() {
        let (_runtime, address) = serving(Bounds::default());
        let list = get(address, "/");
        let paths = ["/metrics", "/health/live", "/health/ready"];
        for path in paths {
            assert!(list.contains(path), "{list}");
            assert!(get(address, path).starts_with("HTTP/1.1 200"), "{path}");
        }
        assert!(get(address, "/metrics").contains("\nzeef_ready 1\n"));
        assert!(get(address, "/nothing").starts_with("HTTP/1.1 404"));
    }

    #[test]
    fn whoever_asks_is_served_however_many_do_not() {
        let bounds = Bounds {
            connections: 32,
            header: LONG,
            in_all: LONG,
        };
        let (_runtime, address) = serving(bounds);
        let mut idle: Vec<Stream> = (0..200).map(|_| connect(address)).collect();
        assert!(get(address, "/health/ready").starts_with("HTTP/1.1 200"));
        // Only as many as there may be are left open: all others are closed.
        let kept = idle.split_off(idle.len() - (bounds.connections - 1));
        for stream in &mut idle {
            assert_eq!(rest(stream), "");
        }
        for stream in &kept {
            stream.set_nonblocking(true).unwrap();
            let read = stream.peek(&mut [0]).unwrap_err();
            assert_eq!(read.kind(), std::io::ErrorKind::WouldBlock);
        }
    }

    #[track_caller]
    fn check_closed(bounds: Bounds, act: impl FnOnce(&mut Stream)) {
        let (_runtime, address) = serving(bounds);
        let mut stream = connect(address);
        let started = Instant::now();
        act(&mut stream);
        rest(&mut stream);
        let took = started.elapsed();
        let bound = bounds.header.min(bounds.in_all);
        assert!(took >= bound / 2 && took < LONG / 2, "{took:?}");
    }

    #[test]
    fn a_connection_is_closed_whose_header_does_not_come() {
        let short = Duration::from_millis(300);
        let by_header = Bounds {
            header: short,
            in_all: LONG,
            ..Bounds::default()
        };
        let in_all = Bounds {
            header: LONG,
            in_all: short,
            ..Bounds::default()
        };
        for bounds in [by_header, in_all] {
            check_closed(bounds, |_| {});
            check_closed(bounds, |stream| {
                stream.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
            });
            // A byte now and then gains no time.
            check_closed(bounds, |stream| {
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
