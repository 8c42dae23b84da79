//! Asks a registry over HTTP or HTTPS: one request, one answer, within a time.
//!
//! For schemas that come once in a while: each request has a connection of its own.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::http::request::Builder;
use hyper_util::rt::TokioIo;
use openssl::ssl::{Ssl, SslConnector, SslMethod, SslVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::config::settings::{RegistryLogin, RegistryUrl, SchemaRegistrySettings};

/// A larger answer is not read: a schema of a megabyte, with its quotes escaped.
const ANSWER_BYTES_MAX: usize = 2 << 20;
const SENT: &str = "application/vnd.schemaregistry.v1+json";
const ACCEPTED: &str = "application/vnd.schemaregistry.v1+json, application/json";

/// An answer that was read whole.
#[derive(Debug)]
pub(super) struct HttpAnswer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Whom to ask, and how.
#[derive(Debug)]
pub(super) struct HttpClient {
    url: RegistryUrl,
    login: Option<RegistryLogin>,
    ca_file: Option<PathBuf>,
    timeout: Duration,
}

impl HttpClient {
    pub(super) fn new(url: &RegistryUrl, settings: &SchemaRegistrySettings) -> HttpClient {
        HttpClient {
            url: url.clone(),
            login: settings.login.clone(),
            ca_file: settings.ca_file.clone(),
            timeout: settings.timeout,
        }
    }

    /// The address without the login.
    pub(super) fn address(&self) -> String {
        self.url.to_string()
    }

    /// Gets `path` below the registry's address. Blocks; must not be called on a thread of tokio.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub(super) fn get(&self, path: &str) -> Result<HttpAnswer, String> {
        self.ask(Request::get(self.path_of(path)), String::new())
    }

    /// Posts a JSON text to `path`, as [`get`](Self::get) gets.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub(super) fn post(&self, path: &str, body: String) -> Result<HttpAnswer, String> {
        self.ask(Request::post(self.path_of(path)).header(CONTENT_TYPE, SENT), body)
    }

    fn path_of(&self, path: &str) -> String {
        format!("{}{path}", self.url.path)
    }

    fn ask(&self, request: Builder, body: String) -> Result<HttpAnswer, String> {
        let request = self.complete(request, body)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let answer = runtime
            .block_on(async { tokio::time::timeout(self.timeout, self.send(request)).await });
        // A name that is still being looked up would be waited for.
        runtime.shutdown_background();
        answer.unwrap_or_else(|_| Err(format!("no answer within {} s", self.timeout.as_secs())))
    }

    fn complete(&self, request: Builder, body: String) -> Result<Request<Full<Bytes>>, String> {
        let mut request = request.header(HOST, self.url.authority()).header(ACCEPT, ACCEPTED);
        if let Some(login) = &self.login {
            request = request.header(AUTHORIZATION, authorization(login)?);
        }
        request.body(Full::from(body)).map_err(|error| error.to_string())
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<HttpAnswer, String> {
        let RegistryUrl { host, port, is_https, .. } = &self.url;
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

    /// Checks the certificate, by the system's authorities or those of the setting, and its name.
    fn configure_tls(&self) -> Result<Ssl, openssl::error::ErrorStack> {
        let mut connector = SslConnector::builder(SslMethod::tls_client())?;
        connector.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        match &self.ca_file {
            Some(file) => connector.set_ca_file(file)?,
            // The OpenSSL that is built along does not know where the system has them.
            None => {
                let system = openssl_probe::probe();
                if let Some(file) = system.cert_file {
                    connector.set_ca_file(file)?;
                }
            }
        }
        connector.build().configure()?.into_ssl(&self.url.host)
    }
}

/// Reads the secret of a login.
fn authorization(login: &RegistryLogin) -> Result<HeaderValue, String> {
    let bytes = match login {
        RegistryLogin::Basic { user, password } => {
            let password = password.read().map_err(|error| error.to_string())?;
            let both = [user.as_bytes(), b":", password.expose()].concat();
            format!("Basic {}", STANDARD.encode(both)).into_bytes()
        }
        RegistryLogin::Bearer(token) => {
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
