//! Checks at once whether anything listens at the brokers' addresses, where librdkafka
//! would retry for long.
//!
//! Opens a connection and closes it again; sends nothing.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The port of an address that names none, as in librdkafka.
const DEFAULT_PORT: u16 = 9092;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// At least one of them accepts connections.
    Reached,
    /// None of them does.
    NobodyListens(Vec<UnreachableAddress>),
    /// No answer in time.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreachableAddress {
    pub address: String,
    pub failure: ConnectFailure,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    Refused,
    /// The host has no address.
    UnknownHost,
    Other(String),
}

impl fmt::Display for UnreachableAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = &self.address;
        match &self.failure {
            ConnectFailure::Refused => write!(f, "nobody listens on {address}"),
            ConnectFailure::UnknownHost => write!(f, "nobody knows the host of {address}"),
            ConnectFailure::Other(text) => write!(f, "{address} cannot be reached: {text}"),
        }
    }
}

/// Checks all addresses of a list `host:port,host:port` at once, for `wait` at most.
#[must_use]
pub fn probe_brokers(brokers: &str, wait: Duration) -> Reachability {
    let addresses: Vec<&str> =
        brokers.split(',').map(str::trim).filter(|address| !address.is_empty()).collect();
    let (sender, found) = mpsc::channel();
    let mut threads = 0;
    for address in &addresses {
        let (sender, address) = (sender.clone(), (*address).to_owned());
        // A slow name lookup is left behind.
        let spawned = thread::Builder::new().name("reach".to_owned()).spawn(move || {
            let reached = connect(&address, wait);
            let _ =
                sender.send(reached.map_err(|why| UnreachableAddress { address, failure: why }));
        });
        threads += usize::from(spawned.is_ok());
    }
    let until = Instant::now() + wait;
    let mut unreached = Vec::new();
    while unreached.len() < threads {
        match found.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Ok(())) => return Reachability::Reached,
            Ok(Err(why)) => unreached.push(why),
            Err(_) => return Reachability::Unknown,
        }
    }
    unreached.sort_by(|one, other| one.address.cmp(&other.address));
    match unreached.len() < addresses.len() || unreached.is_empty() {
        true => Reachability::Unknown,
        false => Reachability::NobodyListens(unreached),
    }
}

/// Connects to any address that the name resolves to.
fn connect(address: &str, wait: Duration) -> Result<(), ConnectFailure> {
    let (host, port) = parse_host_and_port(address);
    let found: Vec<SocketAddr> = match (host, port).to_socket_addrs() {
        Ok(found) => found.collect(),
        Err(_) => return Err(ConnectFailure::UnknownHost),
    };
    let mut why = ConnectFailure::UnknownHost;
    for one in found {
        match TcpStream::connect_timeout(&one, wait) {
            Ok(_) => return Ok(()),
            Err(error) => why = connect_failure(&error),
        }
    }
    Err(why)
}

fn connect_failure(error: &io::Error) -> ConnectFailure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectFailure::Refused,
        _ => ConnectFailure::Other(error.to_string()),
    }
}

/// Splits `[PROTOCOL://]HOST[:PORT]`, with an IPv6 address in brackets.
fn parse_host_and_port(address: &str) -> (&str, u16) {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().unwrap_or(DEFAULT_PORT)),
        _ => (address, DEFAULT_PORT),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    (bare.unwrap_or(host), port)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

    /// Returns a port at which nothing listens.
    fn unused_address() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    }

    #[test]
    fn broker_address_is_parsed_as_librdkafka_does() {
        for (address, want) in [
            ("kafka:9093", ("kafka", 9093)),
            ("kafka", ("kafka", 9092)),
            ("SASL_SSL://kafka:9094", ("kafka", 9094)),
            ("[::1]:9095", ("::1", 9095)),
            ("[::1]", ("::1", 9092)),
        ] {
            assert_eq!(parse_host_and_port(address), want, "{address}");
        }
    }

    #[test]
    fn brokers_are_reachable_if_one_listens_else_each_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listens = listener.local_addr().unwrap().to_string();
        let (one, other) = (unused_address(), unused_address());
        assert_eq!(
            probe_brokers(&format!("{one}, {listens}"), WAIT_TIMEOUT),
            Reachability::Reached
        );
        let Reachability::NobodyListens(found) =
            probe_brokers(&format!("{one},{other}"), WAIT_TIMEOUT)
        else {
            panic!("expected nobody");
        };
        let mut want = [&one, &other].map(|one| format!("nobody listens on {one}"));
        want.sort();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, want);
        assert_eq!(probe_brokers("", WAIT_TIMEOUT), Reachability::Unknown);
    }
}
