//! Whether anybody listens at the brokers' addresses: known in a moment, where
//! librdkafka asks again and again and says so late.
//!
//! It opens a connection and closes it again; nothing is sent.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The port of an address that names none, as librdkafka has it.
const PORT: u16 = 9092;

/// What was found at the brokers' addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Somebody listens at one of them at least.
    Reached,
    /// Nobody listens at any of them: what is wrong with each.
    Nobody(Vec<Unreached>),
    /// Nobody answered in time: it is not known.
    Unknown,
}

/// An address at which nobody listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreached {
    pub address: String,
    pub why: Why,
}

/// Why an address cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    Refused,
    /// Its host has no address.
    UnknownHost,
    Other(String),
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = &self.address;
        match &self.why {
            Why::Refused => write!(f, "nobody listens on {address}"),
            Why::UnknownHost => write!(f, "nobody knows the host of {address}"),
            Why::Other(text) => write!(f, "{address} cannot be reached: {text}"),
        }
    }
}

/// Looks at all addresses of a list `host:port,host:port` at once, for `wait` at most.
#[must_use]
pub fn look(brokers: &str, wait: Duration) -> Reach {
    let addresses: Vec<&str> = brokers
        .split(',')
        .map(str::trim)
        .filter(|address| !address.is_empty())
        .collect();
    let (sender, found) = mpsc::channel();
    let mut threads = 0;
    for address in &addresses {
        let (sender, address) = (sender.clone(), (*address).to_owned());
        // A name that is looked up for long is left behind.
        let spawned = thread::Builder::new()
            .name("reach".to_owned())
            .spawn(move || {
                let reached = connect(&address, wait);
                let _ = sender.send(reached.map_err(|why| Unreached { address, why }));
            });
        threads += usize::from(spawned.is_ok());
    }
    let until = Instant::now() + wait;
    let mut unreached = Vec::new();
    while unreached.len() < threads {
        match found.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Ok(())) => return Reach::Reached,
            Ok(Err(why)) => unreached.push(why),
            Err(_) => return Reach::Unknown,
        }
    }
    unreached.sort_by(|one, other| one.address.cmp(&other.address));
    match unreached.len() < addresses.len() || unreached.is_empty() {
        true => Reach::Unknown,
        false => Reach::Nobody(unreached),
    }
}

/// Connects to one address, or to any other that its name stands for.
fn connect(address: &str, wait: Duration) -> Result<(), Why> {
    let (host, port) = host_and_port(address);
    let found: Vec<SocketAddr> = match (host, port).to_socket_addrs() {
        Ok(found) => found.collect(),
        Err(_) => return Err(Why::UnknownHost),
    };
    let mut why = Why::UnknownHost;
    for one in found {
        match TcpStream::connect_timeout(&one, wait) {
            Ok(_) => return Ok(()),
            Err(error) => why = reason(&error),
        }
    }
    Err(why)
}

fn reason(error: &io::Error) -> Why {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Why::Refused,
        _ => Why::Other(error.to_string()),
    }
}

/// Takes an address apart: `[PROTOCOL://]HOST[:PORT]`, an IPv6 address in brackets.
fn host_and_port(address: &str) -> (&str, u16) {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().unwrap_or(PORT)),
        _ => (address, PORT),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    (bare.unwrap_or(host), port)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const WAIT: Duration = Duration::from_secs(10);

    /// A port at which nobody listens.
    fn free() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    }

    #[test]
    fn an_address_is_taken_apart_as_librdkafka_does() {
        for (address, want) in [
            ("kafka:9093", ("kafka", 9093)),
            ("kafka", ("kafka", 9092)),
            ("SASL_SSL://kafka:9094", ("kafka", 9094)),
            ("[::1]:9095", ("::1", 9095)),
            ("[::1]", ("::1", 9092)),
        ] {
            assert_eq!(host_and_port(address), want, "{address}");
        }
    }

    #[test]
    fn one_that_listens_is_enough_and_each_that_does_not_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listens = listener.local_addr().unwrap().to_string();
        let (one, other) = (free(), free());
        assert_eq!(look(&format!("{one}, {listens}"), WAIT), Reach::Reached);
        let Reach::Nobody(found) = look(&format!("{one},{other}"), WAIT) else {
            panic!("expected nobody");
        };
        let mut want = [&one, &other].map(|one| format!("nobody listens on {one}"));
        want.sort();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, want);
        assert_eq!(look("", WAIT), Reach::Unknown);
    }
}
