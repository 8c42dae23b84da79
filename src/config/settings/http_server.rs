//! Servers that zeef asks over HTTP: where they are, and who asks.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Number, SecretSource, read_secret_of_key, read_section, set_integer};
use crate::config::document::TomlTable;

/// A server that answers at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    pub url: ServerUrl,
    pub login: Option<ServerLogin>,
    /// Certificates that the server's is checked by; `None` for those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// The address of a server; without a login, so that it can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    pub is_https: bool,
    /// Without the brackets of IPv6.
    pub host: String,
    pub port: u16,
    /// The path, as `/apis/ccompat/v7`; may be empty.
    pub path: String,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerLogin {
    Basic { user: String, password: SecretSource },
    Bearer(SecretSource),
}

impl ServerUrl {
    /// Reads `http://HOST:PORT/PATH` or `https://...`; `None` if it is none, or has more in it.
    #[must_use]
    pub fn parse(text: &str) -> Option<ServerUrl> {
        let (is_https, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://")?),
        };
        if rest.contains(['?', '#', '@']) || !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let default_port = if is_https { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let (host, port) = bracketed.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, port.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = port.map_or(Some(default_port), |port| port.parse().ok())?;
        let (host, path) = (host.to_owned(), path.to_owned());
        (!host.is_empty()).then_some(ServerUrl { is_https, host, port, path })
    }

    /// The address below which paths are put.
    #[must_use]
    pub fn without_trailing_slash(mut self) -> ServerUrl {
        self.path.truncate(self.path.trim_end_matches('/').len());
        self
    }

    /// Whether nobody between can read or change what is sent: by TLS, or on this machine.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        let is_loopback = |host: &str| host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.is_https || self.host == "localhost" || is_loopback(&self.host)
    }

    /// The host and port, as a request names them.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// How long an answer may take, if the table does not say it.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn read_timeout(table: &TomlTable<'_>) -> Duration {
    let mut seconds = DEFAULT_TIMEOUT.as_secs();
    let number = Number("timeout_seconds", 1..=60, "how long an answer may take");
    set_integer(table, number, &mut seconds);
    Duration::from_secs(seconds)
}

const EXPECTED_WEBHOOK: &str = "an address as \"https://example.org/checkpoints\", without a login \
                                or a query; http to this machine alone";

/// Reads where each checkpoint is posted to; `None` if there is no such table, or a wrong one.
pub(super) fn read_webhook(parent: &TomlTable<'_>, folder: &Path) -> Option<ServerSettings> {
    const TITLE: &str = "where each checkpoint is posted to: `url`, and if needed `token`";
    read_section(parent, "webhook", TITLE, |table, settings| {
        table.require_key("url", EXPECTED_WEBHOOK, None);
        let url = table.string("url", EXPECTED_WEBHOOK).and_then(|at| {
            let url = ServerUrl::parse(&at.value).filter(ServerUrl::is_protected);
            if url.is_none() {
                // Not quoted: it may hold a password.
                table.report_mistake(at.line, "`url`, which is no such address", EXPECTED_WEBHOOK);
            }
            url
        });
        let token = read_secret_of_key(table, "token", folder);
        if let Some(warning) = token.as_ref().and_then(SecretSource::permission_warning) {
            table.report_mistake(table.line_of_key("token"), warning, "a file of its owner alone");
        }
        let ca_file =
            table.string("ca_file", "a file with the certificates that sign the server's");
        let timeout = read_timeout(table);
        *settings = url.map(|url| ServerSettings {
            url,
            login: token.map(ServerLogin::Bearer),
            ca_file: ca_file.map(|file| folder.join(file.value)),
            timeout,
        });
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::document::read_toml;

    #[track_caller]
    fn check_url(text: &str, want: Option<&str>) {
        let found = ServerUrl::parse(text).map(|url| url.to_string());
        assert_eq!(found.as_deref(), want, "{text}");
    }

    #[test]
    fn server_url_has_scheme_host_and_path_alone() {
        check_url("http://127.0.0.1:8081", Some("http://127.0.0.1:8081"));
        check_url("https://registry.example.org/", Some("https://registry.example.org:443/"));
        check_url("http://[::1]:8081/apis/v7", Some("http://[::1]:8081/apis/v7"));
        check_url("http://registry.example.org", Some("http://registry.example.org:80"));
        for wrong in [
            "registry.example.org:8081",
            "ftp://registry.example.org",
            "http://user:word@registry.example.org",
            "http://registry.example.org?x=1",
            "http://registry.example.org:port",
            "http://:8081",
            "http://[registry]:8081",
            "http://registry example.org",
        ] {
            check_url(wrong, None);
        }
    }

    #[test]
    fn server_url_is_protected_by_tls_or_on_this_machine() {
        for (text, want) in [
            ("https://example.org", true),
            ("http://127.0.0.1:8080/a", true),
            ("http://[::1]:8080", true),
            ("http://localhost", true),
            ("http://example.org", false),
            ("http://127.example.org", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(ServerUrl::parse(text).unwrap().is_protected(), want, "{text}");
        }
    }

    fn read(text: &str, folder: &Path) -> (Option<ServerSettings>, Vec<String>) {
        let mut mistakes = Vec::new();
        let text = format!("[webhook]\n{text}");
        let settings =
            read_toml("zeef.toml", &text, &mut mistakes, |root| read_webhook(root, folder));
        (settings.flatten(), mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn webhook_has_an_address_that_keeps_its_path_and_a_token() {
        let text = "url = \"https://example.org/hook/\"\ntoken = { file = \"token\" }\n\
                    ca_file = \"ca.pem\"\ntimeout_seconds = 3";
        let (settings, mistakes) = read(text, Path::new("config"));
        assert_eq!(mistakes, Vec::<String>::new());
        let settings = settings.unwrap();
        assert_eq!(settings.url.to_string(), "https://example.org:443/hook/");
        let token = SecretSource::File("config/token".into());
        assert_eq!(settings.login, Some(ServerLogin::Bearer(token)));
        assert_eq!(settings.ca_file, Some("config/ca.pem".into()));
        assert_eq!(settings.timeout, Duration::from_secs(3));
    }

    #[test]
    fn webhook_that_would_show_its_token_or_is_misspelt_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let check = |text: &str, want: &str| {
            let (_, mistakes) = read(text, folder.path());
            assert_eq!(mistakes.len(), 1, "{text}: {mistakes:?}");
            assert!(mistakes[0].contains(want), "{text}: {mistakes:?}");
            assert!(!mistakes[0].contains("CANARY"), "{mistakes:?}");
        };
        check("url = \"http://example.org/CANARY\"", "http to this machine alone");
        check("url = \"https://zeef:CANARY@example.org\"", "without a login");
        check("url = \"https://example.org/?key=CANARY\"", "without a login");
        check(
            "url = \"https://example.org\"\ntoken = \"CANARY\"",
            "the secret `token` in the file itself",
        );
        check("timeout_seconds = 3", "`url`");
        check("url = \"https://example.org\"\ntimeout_seconds = 61", "timeout_seconds");
        check("url = \"https://example.org\"\ntokn = { env = \"A\" }", "did you mean `token`?");
        let token = folder.path().join("token");
        fs::write(&token, "CANARY").unwrap();
        let text = "url = \"https://example.org\"\ntoken = { file = \"token\" }";
        for mode in [0o600, 0o400] {
            fs::set_permissions(&token, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(text, folder.path()).1, Vec::<String>::new());
        }
        for mode in [0o640, 0o604] {
            fs::set_permissions(&token, fs::Permissions::from_mode(mode)).unwrap();
            check(text, "others than its owner may read this secret");
        }
    }
}
