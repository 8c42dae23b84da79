//! `zeef ledger serve`: the read interface of Logboek Dataverwerkingen over HTTP.
//!
//! Requests are answered one after another, on this thread: each has its line in the audit first, and
//! reads of the ledger what was added since the one before it. HTTP itself has a thread of its own.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::follow::LedgerFollower;
use super::read::LedgerReader;
use crate::cli::arguments::LedgerServeArguments;
use crate::cli::audit::{AuditedAction, Auditor};
use crate::cli::command_target::DataLocation;
use crate::cli::exit::{CliFailure, Exit};
use crate::cli::logging;
use crate::cli::screen::Screen;
use crate::config::secret::SecretSource;
use crate::daemon::http::{ConnectionLimits, serve};
use crate::daemon::signals::{StopLimit, stop_on_signal};
use crate::ledger::answer::PatronScope;
use crate::ledger::confidential::ConfidentialRecipients;
use crate::ledger::read_api::{API_VERSION, DataSubject, ReadQuestion};
use crate::transport::StopSignal;

const PATH: &str = "/processing-activities";
/// The longest body of a request.
const BODY_BYTES_MAX: usize = 16 << 10;
/// The shortest token.
const TOKEN_BYTES_MIN: usize = 32;
/// How many requests may wait for those before them.
const WAITING_MAX: usize = 8;
/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
const STOP_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Serves until a signal.
///
/// # Errors
///
/// A wrong config or command line, no token, or an address that cannot be listened on.
pub(super) fn run(arguments: &LedgerServeArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let LedgerServeArguments { source, listen, token_file, tls_proxy } = arguments;
    if !listen.ip().is_loopback() && tls_proxy.is_none() {
        let text = format!(
            "{listen} can be reached from elsewhere, and this is no TLS: listen on 127.0.0.1, or name \
             the proxy before it that has TLS with --tls-proxy"
        );
        return Err(CliFailure::Usage(text).into());
    }
    let token = SecretSource::File(token_file.clone()).read();
    let token = token.map_err(|error| CliFailure::Config(error.to_string()))?;
    if token.expose().len() < TOKEN_BYTES_MIN {
        let text = format!("the token must have at least {TOKEN_BYTES_MIN} bytes");
        return Err(CliFailure::Config(text).into());
    }
    LedgerReader::with_reader(source, |reader| {
        if !reader.loaded.daemon.ledger.is_enabled {
            let text = "there is nothing to serve: `enabled = true` in [ledger] of zeef.toml";
            return Err(CliFailure::Config(text.to_owned()).into());
        }
        Auditor::new(reader.loaded, &source.operator)?;
        if let DataLocation::Directory(_) = reader.location {
            logging::start(reader.loaded.daemon.log, source.log);
        }
        let mut ledger = LedgerFollower::new(reader)?;
        // What is wrong with it is told again when somebody asks.
        if let Err(error) = ledger.update() {
            tracing::error!("the ledger cannot be answered from: {error:#}");
        }
        let (questions, asked) = sync_channel(WAITING_MAX);
        let state = ServeState { token_digest: Sha256::digest(token.expose()).into(), questions };
        let server = Server::start(*listen, state)?;
        writeln!(screen, "listening on http://{}{PATH}", server.address)?;
        screen.flush()?;
        answer_questions((reader, &mut ledger), &asked, &server.stop);
        server.runtime.shutdown_timeout(STOP_POLL_INTERVAL);
        Ok(Exit::Success)
    })
}

/// Answers one after another until a stop is requested.
fn answer_questions(
    (reader, ledger): (&LedgerReader<'_>, &mut LedgerFollower<'_>),
    asked: &Receiver<PendingQuestion>,
    stop: &StopSignal,
) {
    while !stop.is_requested() {
        match asked.recv_timeout(STOP_POLL_INTERVAL) {
            // Nobody waits for the answer any more: nothing is looked up.
            Ok(pending) if pending.answer.is_closed() => {}
            Ok(PendingQuestion { question, answer }) => {
                let found = find_lines((reader, ledger), &question);
                if let Err(error) = &found {
                    tracing::error!("a request cannot be answered: {error:#}");
                }
                // The client may be gone.
                let _ = answer.send(found.map_err(|_| NotAnswered));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Writes the look-up into the audit, and returns the lines that are asked for.
fn find_lines(
    (reader, ledger): (&LedgerReader<'_>, &mut LedgerFollower<'_>),
    question: &ReadQuestion,
) -> anyhow::Result<Vec<Value>> {
    let keys = reader.ledger_keys()?;
    let (patron_hash, subject) = match &question.subject {
        DataSubject::PatronId(id) => (Some(reader.state_keys()?.patron_hash(id).0), None),
        DataSubject::Reference(reference) => (None, Some(reference.as_str())),
    };
    let patron = patron_hash.map(|hash| (hash, &keys));
    reader.record_audit(AuditedAction { words: "ledger serve", subject, patron })?;
    let (lines, register) = ledger.update()?;
    let now = jiff::Timestamp::now().as_second();
    let left_out = ConfidentialRecipients::at(now, &reader.loaded.policy, register);
    let scope = PatronScope { register, keys: &keys, patron_hash, left_out: &left_out };
    Ok(lines.find_lines(question, &scope))
}

/// A question, and where its answer goes.
struct PendingQuestion {
    question: ReadQuestion,
    answer: oneshot::Sender<Result<Vec<Value>, NotAnswered>>,
}

/// Why is for the log alone.
struct NotAnswered;

/// What all requests share.
struct ServeState {
    /// Digests are compared: how long that takes says nothing of the token.
    token_digest: [u8; 32],
    questions: SyncSender<PendingQuestion>,
}

/// The HTTP server, until it is dropped.
struct Server {
    runtime: Runtime,
    address: std::net::SocketAddr,
    stop: StopSignal,
}

impl Server {
    fn start(listen: std::net::SocketAddr, state: ServeState) -> anyhow::Result<Server> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("failed to start the runtime")?;
        let listener = runtime.block_on(TcpListener::bind(listen));
        let listener = listener.with_context(|| format!("failed to listen on {listen}"))?;
        let address = listener.local_addr()?;
        let limits =
            ConnectionLimits { total_timeout: REQUEST_TIMEOUT, ..ConnectionLimits::default() };
        runtime.spawn(serve(listener, routes(state), limits, std::future::pending()));
        let stop = StopSignal::default();
        runtime.spawn(stop_on_signal(
            stop.clone(),
            Some(StopLimit::with_exit_code(Exit::Success.code())),
        ));
        Ok(Server { runtime, address, stop })
    }
}

fn routes(state: ServeState) -> Router {
    let not_found = || async { problem(StatusCode::NOT_FOUND, "there is nothing at this path") };
    let not_allowed =
        || async { problem(StatusCode::METHOD_NOT_ALLOWED, "only POST is answered here") };
    Router::new()
        .route(PATH, post(list_processing_activities))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::new(state))
}

async fn list_processing_activities(
    State(state): State<Arc<ServeState>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if !state.is_authorised(&headers) {
        let mut refused = problem(StatusCode::UNAUTHORIZED, "a bearer token is needed");
        refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return refused;
    }
    let Ok(body) = body else {
        return problem(StatusCode::BAD_REQUEST, "the body cannot be read, or is too long");
    };
    let question = match ReadQuestion::parse(&body) {
        Ok(question) => question,
        Err(detail) => return problem(StatusCode::BAD_REQUEST, &detail),
    };
    let (answer, answered) = oneshot::channel();
    if state.questions.try_send(PendingQuestion { question, answer }).is_err() {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait: try again later");
    }
    match answered.await {
        Ok(Ok(lines)) => {
            let text = json!({ "processingActivities": lines }).to_string();
            respond(StatusCode::OK, "application/json", text)
        }
        Ok(Err(NotAnswered)) | Err(_) => problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the ledger, or its audit, cannot be read or written now",
        ),
    }
}

impl ServeState {
    fn is_authorised(&self, headers: &HeaderMap) -> bool {
        const SCHEME: &str = "bearer ";
        let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = value.and_then(|value| {
            let (scheme, token) = value.split_at_checked(SCHEME.len())?;
            scheme.eq_ignore_ascii_case(SCHEME).then_some(token.trim())
        });
        token.is_some_and(|token| {
            let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
            digest == self.token_digest
        })
    }
}

/// Says what is wrong, as RFC 9457 has it.
fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({ "status": status.as_u16(), "title": title, "detail": detail });
    respond(status, "application/problem+json", body.to_string())
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let headers = [(CONTENT_TYPE.as_str(), content_type), ("API-Version", API_VERSION)];
    (status, headers, body).into_response()
}
