//! Asks a server over HTTP or HTTPS: one request, one answer, within a time.
//!
//! For what comes once in a while: each request has a connection of its own.

use std::pin::Pin;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use openssl::ssl::{Ssl, SslConnector, SslMethod, SslVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::config::settings::{ServerLogin, ServerSettings, ServerUrl};

/// A larger answer is not read: a schema of a megabyte, with its quotes escaped.
const ANSWER_BYTES_MAX: usize = 2 << 20;
/// How often a request looks whether it is still wanted.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What to ask.
#[derive(Clone, Debug, Default)]
pub struct HttpRequest<'a> {
    /// What follows the path of the server's address; may be empty.
    pub path: &'a str,
    /// The media types of answers that are understood.
    pub accepted: &'static str,
    /// What is posted, with its media type; `None` gets.
    pub content: Option<(&'static str, Vec<u8>)>,
}

/// An answer that was read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Asks one server.
#[derive(Debug)]
pub struct HttpClient {
    server: ServerSettings,
}

impl HttpClient {
    #[must_use]
    pub fn new(server: ServerSettings) -> HttpClient {
        HttpClient { server }
    }

    /// The address without the login.
    #[must_use]
    pub fn address(&self) -> String {
        self.server.url.to_string()
    }

    /// How long an answer may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.server.timeout
    }

    /// Waits for the answer. Blocks; must not be called on a thread of tokio.
    ///
    /// # Errors
    ///
    /// Why there is no answer; never a login.
    pub fn ask(&self, request: HttpRequest<'_>) -> Result<HttpAnswer, String> {
        self.ask_within(self.server.timeout, request, || true)
    }

    /// As [`ask`](Self::ask), within another time and while it `is_wanted`.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub fn ask_within(
        &self,
        timeout: Duration,
        request: HttpRequest<'_>,
        is_wanted: impl Fn() -> bool,
    ) -> Result<HttpAnswer, String> {
        let request = self.complete(request)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let unwanted = async {
            while is_wanted() {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        let answer = runtime.block_on(async {
            tokio::select! {
                answer = tokio::time::timeout(timeout, self.send(request)) => answer
                    .unwrap_or_else(|_| Err(format!("no answer within {} s", timeout.as_secs()))),
                () = unwanted => Err("stopped before there was an answer".to_owned()),
            }
        });
        // A name that is still being looked up would be waited for.
        runtime.shutdown_background();
        answer
    }

    fn complete(&self, asked: HttpRequest<'_>) -> Result<Request<Full<Bytes>>, String> {
        let path = match [&self.server.url.path, asked.path].concat() {
            path if path.is_empty() => "/".to_owned(),
            path => path,
        };
        let (mut request, body) = match asked.content {
            Some((kind, body)) => (Request::post(path).header(CONTENT_TYPE, kind), body),
            None => (Request::get(path), Vec::new()),
        };
        request = request.header(HOST, self.server.url.authority()).header(ACCEPT, asked.accepted);
        if let Some(login) = &self.server.login {
            request = request.header(AUTHORIZATION, authorization(login)?);
        }
        request.body(Full::from(body)).map_err(|error| error.to_string())
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<HttpAnswer, String> {
        let ServerUrl { host, port, is_https, .. } = &self.server.url;
        let stream = TcpStream::connect((host.as_str(), *port)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        if !is_https {
            return exchange(stream, request).await;
        }
        let ssl = self.configure_tls().map_err(|error| format!("TLS: {error}"))?;
        let mut stream = SslStream::new(ssl, stream).map_err(|error| format!("TLS: {error}"))?;
        let connected = Pin::new(&mut stream).connect().await;
        connected.map_err(|error| format!("TLS: {error}"))?;
        exchange(stream, request).await
    }

    /// Checks the certificate, by the system's authorities or those of the settings, and its name.
    fn configure_tls(&self) -> Result<Ssl, openssl::error::ErrorStack> {
        let mut connector = SslConnector::builder(SslMethod::tls_client())?;
        connector.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        match &self.server.ca_file {
            Some(file) => connector.set_ca_file(file)?,
            // The OpenSSL that is built along does not know where the system has them.
            None => {
                let system = openssl_probe::probe();
                if let Some(file) = system.cert_file {
                    connector.set_ca_file(file)?;
                }
            }
        }
        connector.build().configure()?.into_ssl(&self.server.url.host)
    }
}

/// Says what a status means that is no success; `login` names the setting of the login.
#[must_use]
pub fn describe_status(status: u16, login: &str) -> String {
    match status {
        401 | 403 => format!("it answers {status}: look at {login}"),
        300..=399 => format!("it answers {status}: have `url` name the place that it leads to"),
        _ => format!("it answers {status}"),
    }
}

/// Reads the secret of a login.
fn authorization(login: &ServerLogin) -> Result<HeaderValue, String> {
    let bytes = match login {
        ServerLogin::Basic { user, password } => {
            let password = password.read().map_err(|error| error.to_string())?;
            let both = [user.as_bytes(), b":", password.expose()].concat();
            format!("Basic {}", STANDARD.encode(both)).into_bytes()
        }
        ServerLogin::Bearer(token) => {
            let token = token.read().map_err(|error| error.to_string())?;
            [b"Bearer ", token.expose()].concat()
        }
    };
    // The error would not show the bytes; neither does this text.
    let value = HeaderValue::from_bytes(&bytes);
    let mut value = value.map_err(|_| "the login cannot stand in a header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<HttpAnswer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    // Ends with the runtime, at the latest.
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes().to_vec();
    Ok(HttpAnswer { status, body })
}
